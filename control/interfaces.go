package control

import (
	"net"
	"slices"

	"ffwd/conf"
	"ffwd/packet"
	"ffwd/pipeline"
	"ffwd/pmd"
)

// topology is what a configuration's ports are to the pipeline. It does not
// change while the switch runs.
type topology struct {
	ports      []*pmd.Port          // physical, in the configuration's order
	interfaces []pipeline.Interface // by interface index; 0 is none
	zones      []uint16             // conntrack zone by interface index
	maps       []pipeline.PortMap   // by physical port
	byPort     [][]uint16           // interface indices by physical port
	index      map[string]uint16    // interface index by name
	vrfs       []int                // numbers of the VRFs; their order is that of the tables
}

// openPorts opens every device of the configuration.
func (s *Switch) openPorts(c *conf.Config) error {
	workers := len(c.Workers.Cores)
	for i := range c.Ports {
		p := &c.Ports[i]
		if p.IsVLAN() {
			continue
		}
		pc := pmd.PortConfig{
			Name: p.Name, Device: p.Device, MTUBytes: deviceMTU(c, p),
			RxQueues: queues(p.RxQueues, workers), TxQueues: workers, DeviceTxQueues: p.TxQueues,
			RxDesc: p.RxDescriptors, TxDesc: p.TxDescriptors,
			Promiscuous: p.Promiscuous || hasOtherMACs(c, p),
			Checksums:   c.CT.Enabled && c.CT.Checksum,
		}
		if !p.MAC.IsZero() {
			pc.MAC = net.HardwareAddr(p.MAC[:])
		}
		port, err := s.runtime.Open(pc)
		if err != nil {
			return err
		}
		s.undoOnHost(port.RestoreInterface)
		s.undo(port.Close)
		s.ports = append(s.ports, port)
	}
	return nil
}

// startPorts lets packets flow: links come up, RSS can be verified.
func (s *Switch) startPorts() error {
	for _, p := range s.ports {
		if err := p.Start(); err != nil {
			return err
		}
		s.log.Info("port started", "port", p.Name(), "driver", p.Driver(), "mac", p.MAC().String(),
			"mtu", p.MTU(), "rx_queues", len(p.RxQueues()), "symmetric_rss", p.SymmetricRSS())
	}
	return nil
}

// deviceMTU is the device's: the largest of its own and its sub-ports'.
func deviceMTU(c *conf.Config, p *conf.Port) int {
	mtu := p.MTU
	for i := range c.Ports {
		if sub := &c.Ports[i]; sub.Parent == p.Name {
			mtu = max(mtu, sub.MTU)
		}
	}
	return mtu
}

// hasOtherMACs tells whether a sub-port has a MAC that the device would filter out.
func hasOtherMACs(c *conf.Config, p *conf.Port) bool {
	return slices.ContainsFunc(c.Ports, func(sub conf.Port) bool {
		return sub.Parent == p.Name && !sub.MAC.IsZero() && sub.MAC != p.MAC
	})
}

// buildInterfaces numbers ports and sub-ports from 1 in the configuration's
// order.
func (s *Switch) buildInterfaces(c *conf.Config) {
	t := &s.topology
	t.vrfs = vrfsOf(c)
	t.index = make(map[string]uint16, len(c.Ports))
	t.interfaces = make([]pipeline.Interface, 1, 1+len(c.Ports))
	t.zones = make([]uint16, 1, 1+len(c.Ports))
	t.maps = make([]pipeline.PortMap, len(t.ports))
	t.byPort = make([][]uint16, len(t.ports))
	for i := range c.Ports {
		p := &c.Ports[i]
		index := uint16(1 + i)
		t.index[p.Name] = index
		device := p.Name
		if p.IsVLAN() {
			device = p.Parent
		}
		port := slices.IndexFunc(t.ports, func(o *pmd.Port) bool { return o.Name() == device })
		vrf := uint16(slices.Index(t.vrfs, p.VRF))
		t.interfaces = append(t.interfaces, makeInterface(p, uint16(port), vrf, t.ports[port].MAC()))
		// Tables of different VRFs may hold the same addresses: their flows differ.
		t.zones = append(t.zones, vrf)
		t.byPort[port] = append(t.byPort[port], index)
		addToMap(&t.maps[port], p.VLAN, index)
	}
}

// addToMap makes frames with the tag, 0 for none, the interface's.
func addToMap(m *pipeline.PortMap, vlan int, index uint16) {
	if vlan == 0 {
		m.Untagged = index
		return
	}
	if m.VLANs == nil {
		m.VLANs = new([4096]uint16)
	}
	m.VLANs[vlan] = index
}

func makeInterface(p *conf.Port, port, vrf uint16, deviceMAC net.HardwareAddr) pipeline.Interface {
	mac := p.MAC
	if mac.IsZero() {
		mac = conf.MAC(deviceMAC)
	}
	in := pipeline.Interface{
		Name: p.Name, Port: port, VLAN: uint16(p.VLAN), MAC: packet.MAC48(mac), MTU: uint16(p.MTU), VRF: vrf,
		Promiscuous: p.Promiscuous, Stealth: p.Stealth, Options: optionsPolicy(p.Options),
		ReversePath: reversePath[p.ReversePath], Redirects: p.Redirects,
	}
	giveAddresses(&in, p.Addresses)
	return in
}

var reversePath = map[conf.ReversePath]pipeline.ReversePathMode{
	conf.ReversePathStrict: pipeline.ReversePathStrict,
	conf.ReversePathLoose:  pipeline.ReversePathLoose,
}

func optionsPolicy(o conf.IPOptions) pipeline.OptionsPolicy {
	switch o {
	case conf.OptionsDrop:
		return pipeline.OptionsDrop
	case conf.OptionsForward:
		return pipeline.OptionsForward
	}
	return pipeline.OptionsPunt
}

// vrfsOf lists the VRFs that ports or routes name, in ascending order.
func vrfsOf(c *conf.Config) []int {
	var vrfs []int
	for i := range c.Ports {
		vrfs = append(vrfs, c.Ports[i].VRF)
	}
	for r := range c.AllRoutes() {
		if !slices.Contains(vrfs, r.VRF) {
			vrfs = append(vrfs, r.VRF)
		}
	}
	slices.Sort(vrfs)
	return slices.Compact(vrfs)
}

package pmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"ffwd/bindings"
)

// Open probes the device, configures it as far as it goes along, and returns the port,
// stopped. On failure nothing is left behind, and the error is one line that begins
// with the port's name.
func (r *Runtime) Open(c PortConfig) (*Port, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := r.open(c)
	if err != nil {
		return nil, fmt.Errorf("port %s: %w", c.Name, err)
	}
	r.ports = append(r.ports, p)
	return p, nil
}

func (r *Runtime) open(c PortConfig) (*Port, error) {
	if r.closed {
		return nil, errors.New("the runtime is closed")
	}
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	if c.MTUBytes > r.options.MaxMTUBytes {
		return nil, fmt.Errorf("mtu: %d is above %d, the largest that the mbufs were made for", c.MTUBytes, r.options.MaxMTUBytes)
	}
	dev, err := parseDevice(c.Device)
	if err != nil {
		return nil, err
	}
	for _, other := range r.ports {
		switch {
		case other.name == c.Name:
			return nil, refusal{"a port of that name is open", fs.ErrExist}
		case other.device.name == dev.name:
			// DPDK would say yes, and hand out the same port twice.
			return nil, refusal{fmt.Sprintf("device %s is port %s already: give each its own number, as in net_pcap0, net_pcap1", dev.name, other.name), fs.ErrExist}
		}
	}
	for _, other := range r.late {
		if other.device.name == dev.name {
			return nil, refusal{fmt.Sprintf("device %s was port %s, and %s keeps it until the process ends: take another number", dev.name, other.name, dev.driver.name), fs.ErrExist}
		}
	}
	if err := dev.check(r.options.HugePages); err != nil {
		return nil, err
	}
	if dev.driver.tune != nil {
		dev.args = dev.driver.tune(dev.args, c.MTUBytes)
	}
	claim, err := dev.claim()
	if err != nil {
		return nil, err
	}
	p, err := r.probe(c, dev)
	if err != nil {
		if dev.driver.bindsOnce && slices.Contains(r.bound, claim.index) {
			err = refusal{fmt.Sprintf("interface %s was a port of this process already, and %s binds one once in the life of a process: start another",
				dev.kernelInterface(), dev.driver.name), err}
		}
		return nil, errors.Join(err, claim.release())
	}
	p.claim = claim
	return p, nil
}

// probe takes the device and undoes it if the configuration fails.
func (r *Runtime) probe(c PortConfig, dev device) (*Port, error) {
	id, ok := bindings.PortByName(dev.name) // a PCI device may be there from the start
	if !ok {
		if err := bindings.ProbeDevice(dev.String()); err != nil {
			return nil, fmt.Errorf("open %s: %w", dev, dev.explain(err))
		}
		if id, ok = bindings.PortByName(dev.name); !ok {
			return nil, fmt.Errorf("open %s: it was probed, but no DPDK driver made a port of it: %s", dev, dev.hint())
		}
	}
	p := &Port{name: c.Name, device: dev, id: id, runtime: r, config: c}
	var err error
	if p.info, err = id.Info(); err != nil {
		return nil, errors.Join(err, id.Close())
	}
	if err := p.configure(); err != nil {
		p.freeQueues()
		if dev.driver.kernelInterface && os.Geteuid() != 0 {
			err = fmt.Errorf("%w: run as root or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF", err)
		}
		return nil, errors.Join(err, id.Close(), bindings.RemoveDevice(p.info.Device), p.RestoreInterface())
	}
	return p, nil
}

// forget takes a closed port off the list, or notes that its device is still there.
func (r *Runtime) forget(p *Port) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.device.driver.unguarded {
		r.late = append(r.late, p)
	}
	if p.device.driver.bindsOnce {
		r.bound = append(r.bound, p.claim.index)
	}
	r.ports = slices.DeleteFunc(r.ports, func(other *Port) bool { return other == p })
}

// configure brings a probed device to the state from which it can start.
func (p *Port) configure() error {
	pool, err := p.rxPool()
	if err != nil {
		return err
	}
	if p.info.MinRxBufferBytes > pool.FrameBytes() {
		return fmt.Errorf("the device needs buffers of %d bytes, mbufs have %d: raise the data room to %d",
			p.info.MinRxBufferBytes, pool.FrameBytes(), p.info.MinRxBufferBytes+bindings.Headroom)
	}
	if err := p.device.checkFrames(pool.FrameBytes()); err != nil {
		return err
	}
	nRx := min(p.config.RxQueues, p.info.MaxRxQueues)
	nTx := min(p.config.TxQueues, p.info.MaxTxQueues)
	if most := p.config.DeviceTxQueues; most > 0 {
		nTx = min(nTx, most)
	}
	if p.device.driver.equalQueues {
		nRx = min(nRx, nTx)
		nTx = nRx
	}
	if nRx == 0 || nTx == 0 {
		return fmt.Errorf("the device offers %d rx and %d tx queues: both are needed", p.info.MaxRxQueues, p.info.MaxTxQueues)
	}
	if err := p.configureDevice(nRx, nTx); err != nil {
		return err
	}
	if err := p.setupQueues(nRx, nTx, pool); err != nil {
		return err
	}
	p.makeQueues(nRx, nTx, p.config.TxQueues, pool)
	for _, step := range []func() error{p.setMTU, p.setAddress, p.receiveMulticast} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// rxPool returns the pool that the port's receive queues take their mbufs from.
func (p *Port) rxPool() (*Pool, error) {
	if !p.device.driver.ownPool {
		return p.runtime.Pool(p.id.Socket()), nil
	}
	dataRoom := kernelDataRoomFor(p.config.MTUBytes)
	if need := bindings.MbufBytes(dataRoom); need > os.Getpagesize() {
		return nil, fmt.Errorf("%s needs mbufs within a page of %d bytes, an mtu of %d makes them %d: lower its mtu (1500 fits)",
			p.device.driver.name, os.Getpagesize(), p.config.MTUBytes, need)
	}
	return p.runtime.addKernelPool(p.device.name, p.id.Socket(), dataRoom)
}

func (p *Port) configureDevice(nRx, nTx int) error {
	conf := bindings.PortConf{
		RxQueues: nRx,
		TxQueues: nTx,
		MTUBytes: min(p.config.MTUBytes, p.deviceMTU()),
	}
	conf.RxOffloads = rxOffloads(p.info, p.config.Checksums)
	conf.RSSTypes, conf.RSSKey = rssConf(p.info, nRx)
	p.rssKey = conf.RSSKey
	err := p.id.Configure(conf)
	if err != nil && conf.RSSTypes != 0 {
		// The key may be what it does not like. Any spreading beats none.
		conf.RSSKey, p.rssKey = nil, nil
		err = p.id.Configure(conf)
	}
	return err
}

// rxOffloads is what the device is to verify. Software devices would compute it, on the
// worker's time. A virtio device that is asked for TCP and UDP takes this for leave to hand
// over, unfinished, what guests on its host leave to hardware (VIRTIO_NET_F_GUEST_CSUM).
func rxOffloads(info bindings.DeviceInfo, checksums bool) uint64 {
	wanted := bindings.RxOffloadIPv4Cksum
	switch {
	case info.Bus == "vdev":
		return 0
	case checksums && info.Driver != "net_virtio":
		wanted |= bindings.RxOffloadUDPCksum | bindings.RxOffloadTCPCksum
	}
	return info.RxOffloads & wanted
}

// deviceMTU is the largest MTU that DPDK lets this device be configured with.
func (p *Port) deviceMTU() int {
	limit := p.info.MaxMTU
	if p.info.MaxRxPacketBytes > 0 {
		limit = min(limit, p.info.MaxRxPacketBytes-p.info.FrameOverheadBytes)
	}
	return limit
}

func (p *Port) setupQueues(nRx, nTx int, pool *Pool) error {
	rxDesc, txDesc, err := p.id.AdjustDescriptors(p.config.RxDesc, p.config.TxDesc)
	if err != nil {
		return err
	}
	for i := range nRx {
		if err := p.id.SetupRxQueue(i, rxDesc, pool.mempool); err != nil {
			return err
		}
	}
	for i := range nTx {
		if err := p.id.SetupTxQueue(i, txDesc); err != nil {
			return err
		}
	}
	return nil
}

// setMTU makes the device take frames of the configured MTU.
func (p *Port) setMTU() error {
	mtu := p.config.MTUBytes
	if iface := p.device.kernelInterface(); iface != "" {
		// DPDK believes packet sockets to end at 1500 bytes. The interface knows better.
		if err := p.lendMTU(iface); err != nil {
			return fmt.Errorf("mtu: %d: %w", mtu, err)
		}
		return nil
	}
	if mtu > p.deviceMTU() {
		return fmt.Errorf("mtu: %d is above %d, the most that %s offers", mtu, p.deviceMTU(), p.info.Driver)
	}
	if err := p.id.SetMTU(mtu); err != nil && !errors.Is(err, bindings.ErrNotSupported) {
		return fmt.Errorf("mtu: %w", err)
	}
	return nil // a device without an MTU takes what comes
}

// setAddress gives the device the configured MAC. Where the device cannot have it, the
// switch alone knows it, and the device receives everything.
func (p *Port) setAddress() error {
	promiscuous := p.config.Promiscuous
	p.mac = p.config.MAC
	var err error
	if p.mac == nil {
		if p.mac, err = p.id.MAC(); err != nil {
			return err
		}
	} else if err = p.lendMAC(); errors.Is(err, bindings.ErrNotSupported) {
		promiscuous = true
	} else if err != nil {
		return err
	}
	if promiscuous == p.id.Promiscuous() {
		return nil
	}
	err = p.id.SetPromiscuous(promiscuous)
	if errors.Is(err, bindings.ErrNotSupported) && p.info.Bus == "vdev" {
		return nil // it has no filter: everything arrives anyway
	}
	p.promiscuous = promiscuous && err == nil
	return err
}

// receiveMulticast opens the device's filter to all multicast: a solicitation of an
// IPv6 neighbour goes to such an address, what routing daemons say too, and which groups
// the twin of the port joins, the device does not hear of.
func (p *Port) receiveMulticast() error {
	iface := p.device.kernelInterface()
	switch {
	case p.id.Promiscuous():
		return nil
	case iface != "":
		return p.lendAllMulticast(iface)
	case p.info.Bus == "vdev":
		return nil // it has no filter
	}
	err := p.id.SetAllMulticast(true)
	if errors.Is(err, bindings.ErrNotSupported) {
		err = p.id.SetPromiscuous(true)
	}
	return err
}

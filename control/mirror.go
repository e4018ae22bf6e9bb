package control

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"ffwd/conf"
	"ffwd/fib"
	"ffwd/pipeline"
	"ffwd/slowpath"
)

// openMirror makes the tables follow the kernel, and returns when they have what
// it has now. Source: SP-2.
func (s *Switch) openMirror(c *conf.Config) error {
	if s.slow == nil {
		return nil
	}
	config := slowpath.MirrorConfig{
		Netns: s.slow.Netns(), Tables: s.tables, Kernel: map[uint32]uint16{},
		Own: map[uint16][]netip.Prefix{}, Static: s.pinned(c), OnAddresses: s.setAddresses, Log: s.log,
	}
	for _, m := range c.SlowPath.Mirror {
		if vrf := slices.Index(s.vrfs, m.VRF); vrf >= 0 {
			config.Kernel[uint32(m.Table)] = uint16(vrf)
		}
	}
	for _, t := range s.slow.Twins() {
		iface := t.Iface()
		config.Twins = append(config.Twins, slowpath.MirroredTwin{Iface: iface, Table: s.interfaces[iface].VRF, Name: t.Name()})
		config.Own[iface] = c.Ports[iface-1].Addresses
	}
	var err error
	if s.mirror, err = slowpath.OpenMirror(s.startBy, config); err != nil {
		return fmt.Errorf("slow path: %w", err)
	}
	s.undo(s.mirror.Close)
	s.resolver, err = slowpath.OpenResolver(slowpath.ResolverConfig{
		Netns: s.slow.Netns(), Mirror: s.mirror, Workers: len(c.Workers.Cores),
		Index: func(iface uint16) int { return s.slow.Twin(iface).Index() },
		Used:  s.neighboursUsed,
	})
	if err != nil {
		return fmt.Errorf("slow path: %w", err)
	}
	s.undo(s.resolver.Close)
	status := s.mirror.Status()
	s.log.Info("kernel mirrored", "routes", status.Routes[slowpath.Installed], "addresses", status.Addresses, "neighbours", status.Neighbours)
	return nil
}

// startResolver makes the kernel look for what workers ask for. It asks workers for
// counters, and so begins after them and ends before.
func (s *Switch) startResolver(*conf.Config) error {
	if s.resolver != nil {
		s.resolver.Start()
		s.undo(func() error {
			s.resolver.Stop()
			return nil
		})
	}
	return nil
}

// pinned are the configuration's neighbours as the mirror knows them.
func (s *Switch) pinned(c *conf.Config) map[slowpath.Neighbour]fib.MAC {
	all := map[slowpath.Neighbour]fib.MAC{}
	for at, mac := range s.neighbours(c) {
		all[slowpath.Neighbour{Iface: at.iface, Addr: at.addr}] = mac
	}
	return all
}

// neighboursUsed returns for each neighbour how many packets went by it. Source: SP-3.
func (s *Switch) neighboursUsed(list []slowpath.Neighbour) []uint64 {
	sums := make([]uint64, len(list))
	keys := make([][]fib.Counter, len(s.tables)) // by table, and whose they are
	owners := make([][]int, len(s.tables))
	for i, n := range list {
		vrf := s.interfaces[n.Iface].VRF
		of, err := s.tables[vrf].CountersVia(n.Iface, n.Addr)
		if err != nil {
			continue // the interface is gone, and its neighbours with it
		}
		for _, k := range of {
			keys[vrf], owners[vrf] = append(keys[vrf], k), append(owners[vrf], i)
		}
	}
	for vrf := range keys {
		counts, _ := s.routeCounts(vrf, keys[vrf]) // a worker that is stuck uses no neighbour
		for k, count := range counts {
			sums[owners[vrf][k]] += count.Packets
		}
	}
	return sums
}

// setAddresses makes an interface answer from its addresses, some of which the
// kernel told. The interfaces that workers read are not written: they get others.
func (s *Switch) setAddresses(iface uint16, addresses []netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot := *s.snapshot.Load()
	snapshot.Interfaces = slices.Clone(snapshot.Interfaces)
	giveAddresses(&snapshot.Interfaces[iface], addresses)
	snapshot.Prepare()
	s.snapshot.Store(&snapshot)
}

// giveAddresses makes an interface answer from these addresses.
func giveAddresses(in *pipeline.Interface, addresses []netip.Prefix) {
	in.Addresses, in.Addr4, in.Addr6, in.LinkLocal6 = nil, [4]byte{}, [16]byte{}, [16]byte{}
	for _, a := range addresses {
		in.Addresses = append(in.Addresses, a)
		switch addr := a.Addr(); {
		case addr.Is4() && in.Addr4 == [4]byte{}:
			in.Addr4 = addr.As4()
		case addr.Is6() && !addr.IsLinkLocalUnicast() && in.Addr6 == [16]byte{}:
			in.Addr6 = addr.As16() // an error about a packet from afar needs an address known there
		case addr.Is6() && addr.IsLinkLocalUnicast() && in.LinkLocal6 == [16]byte{}:
			in.LinkLocal6 = addr.As16()
		}
	}
}

// MirrorStatus answers GET /v1/mirror: what the tables have of the kernel.
type MirrorStatus struct {
	On         bool                    `json:"on"`
	Because    string                  `json:"because,omitempty"` // why it is off
	Netns      string                  `json:"netns"`             // "": our own
	Tables     []conf.Mirror           `json:"tables"`
	Routes     map[string]int          `json:"routes"` // of the kernel, by what became of them
	Addresses  int                     `json:"addresses"`
	Neighbours int                     `json:"neighbours"`
	Refused    int                     `json:"neighbours_refused"`
	Feeds      []slowpath.FeedStatus   `json:"feeds"`
	Resolver   slowpath.ResolverStatus `json:"resolver"`
}

func (s *Switch) getMirror(*http.Request) (any, error) { return s.mirrorStatus(), nil }

func (s *Switch) mirrorStatus() MirrorStatus {
	c := s.Config()
	status := MirrorStatus{On: s.mirror != nil, Because: s.slowOff, Netns: c.SlowPath.Netns, Tables: c.SlowPath.Mirror,
		Routes: map[string]int{}, Feeds: []slowpath.FeedStatus{}}
	if s.mirror == nil {
		return status
	}
	now := s.mirror.Status()
	for outcome, n := range now.Routes {
		status.Routes[outcome.String()] = n
	}
	status.Addresses, status.Neighbours, status.Refused, status.Feeds = now.Addresses, now.Neighbours, now.Refused, now.Feeds[:]
	status.Resolver = s.resolver.Status()
	return status
}

// protocolNames are those of rtnetlink(7) and of the daemons that users know.
// Source: include/uapi/linux/rtnetlink.h, RTPROT_*.
var protocolNames = map[uint8]string{
	1: "redirect", 2: "kernel", 3: "boot", 4: "static", 8: "gated", 9: "ra", 10: "mrt", 11: "zebra", 12: "bird",
	13: "dnrouted", 14: "xorp", 15: "ntk", 16: "dhcp", 17: "mrouted", 18: "keepalived", 42: "babel", 84: "ovn",
	99: "openr", 186: "bgp", 187: "isis", 188: "ospf", 189: "rip", 192: "eigrp",
}

func protocolName(protocol uint8) string {
	if name, known := protocolNames[protocol]; known {
		return name
	}
	return fmt.Sprint(protocol)
}

// Metrics of the mirror, none without a slow path.
var (
	metricMirrorRoutes     = desc("mirror_routes", "Kernel routes, by what became of them; only installed and connected ones are in the tables.", "outcome")
	metricMirrorNeighbours = desc("mirror_neighbours", "Neighbours taken over from the kernel.")
	metricMirrorAddresses  = desc("mirror_addresses", "Addresses taken over from the kernel.")
	metricMirrorMessages   = desc("mirror_messages_total", "Notifications read.", "feed")
	metricMirrorResyncs    = desc("mirror_resyncs_total", "Dumps after the first.", "feed")
	metricMirrorAudits     = desc("mirror_audits_total", "Times that the mirror was compared with the kernel unasked.", "feed")
	metricMirrorCorrected  = desc("mirror_corrected_total", "Entries of the tables that an audit found wrong and put right: none, where the kernel tells all and the mirror understands it.", "feed")
	metricMirrorOverruns   = desc("mirror_overruns_total", "Times that notifications were lost.", "feed")
	metricMirrorReopens    = desc("mirror_reopens_total", "Sockets that failed and were opened again.", "feed")
	metricAsked            = desc("neighbours_asked_total", "Neighbours that workers asked for.")
	metricRefreshed        = desc("neighbours_refreshed_total", "Stale neighbours that were in use and so probed.")
	metricForgotten        = desc("neighbours_silent_total", "Neighbours that did not answer.")
	metricAskErrors        = desc("neighbours_errors_total", "Questions that the kernel refused.")
)

func (out sender) mirror(m MirrorStatus) {
	if !m.On {
		return
	}
	for outcome, n := range m.Routes {
		out.gauge(metricMirrorRoutes, float64(n), outcome)
	}
	out.gauge(metricMirrorNeighbours, float64(m.Neighbours))
	out.gauge(metricMirrorAddresses, float64(m.Addresses))
	for _, f := range m.Feeds {
		out.counter(metricMirrorMessages, f.Messages, f.Name)
		out.counter(metricMirrorResyncs, f.Resyncs, f.Name)
		out.counter(metricMirrorAudits, f.Audits, f.Name)
		out.counter(metricMirrorCorrected, f.Corrected, f.Name)
		out.counter(metricMirrorOverruns, f.Overruns, f.Name)
		out.counter(metricMirrorReopens, f.Reopens, f.Name)
	}
	out.counter(metricAsked, m.Resolver.Asked)
	out.counter(metricRefreshed, m.Resolver.Refreshed)
	out.counter(metricForgotten, m.Resolver.Forgotten)
	out.counter(metricAskErrors, m.Resolver.Errors)
}

package control

import (
	"fmt"
	"net/http"

	"ffwd/conf"
	"ffwd/packet"
	"ffwd/pipeline"
	"ffwd/slowpath"
)

// openSlowPath makes the ports' twins in the host kernel, where it is wanted and
// allowed. Source: SP-1, SP-5.
func (s *Switch) openSlowPath(c *conf.Config) error {
	if c.SlowPath.Enabled == conf.SlowPathOff {
		s.slowOff = "slow_path.enabled is off"
		return nil
	}
	if err := slowpath.Allowed(); err != nil {
		if c.SlowPath.Enabled == conf.SlowPathOn {
			return fmt.Errorf("slow_path.enabled: on, but %w", err)
		}
		s.slowOff = err.Error()
		s.log.Warn("no slow path: the kernel gets no packets, and only configured neighbours are known", "because", err)
		return nil
	}
	s.dispatch = pipeline.Dispatch{Snapshot: &s.snapshot, Secret: &s.secret, Workers: len(c.Workers.Cores), Spread: s.spread}
	config := slowpath.Config{
		Netns: c.SlowPath.Netns, Workers: len(c.Workers.Cores), Owner: s.dispatch.Owner, Log: s.log,
	}
	for i := range c.Ports {
		p := &c.Ports[i]
		in := &s.interfaces[s.index[p.Name]]
		config.FrameBytes = max(config.FrameBytes, p.MTU+packet.EthernetLen+2*packet.VLANTagLen)
		config.Twins = append(config.Twins, slowpath.TwinConfig{
			Iface: s.index[p.Name], Name: p.TAPName(), MAC: macOf(in.MAC), MTUBytes: p.MTU, Addresses: p.Addresses,
		})
	}
	var err error
	if s.slow, err = slowpath.Open(config); err != nil {
		return fmt.Errorf("slow path: %w", err)
	}
	s.undo(s.slow.Close)
	if err := s.silencePorts(c); err != nil {
		return fmt.Errorf("slow path: %w", err)
	}
	s.slow.Start()
	s.tell(c)
	s.log.Info("slow path", "twins", len(config.Twins), "netns", c.SlowPath.Netns)
	return nil
}

// silencePorts keeps the kernel off the interfaces that ports stand on. Only now
// it has an address to answer for; in a namespace without twins it has none.
func (s *Switch) silencePorts(c *conf.Config) error {
	if c.SlowPath.Netns != "" {
		return nil
	}
	for _, p := range s.ports {
		name := p.KernelInterface()
		if name == "" {
			continue
		}
		restore, err := slowpath.Silence(name)
		if err != nil {
			return err
		}
		s.undoOnHost(restore)
	}
	return nil
}

// tell gives the kernel the routes and neighbours of the configuration.
func (s *Switch) tell(c *conf.Config) {
	if s.slow == nil {
		return
	}
	tables := make(map[int]int, len(c.SlowPath.Mirror)) // the kernel's by VRF
	for _, m := range c.SlowPath.Mirror {
		tables[m.VRF] = m.Table
	}
	var routes []slowpath.ToldRoute
	for r := range c.AllRoutes() {
		table, mirrored := tables[r.VRF]
		if !mirrored || r.Type != conf.RouteUnicast {
			continue // the fast path answers for what leads nowhere before the kernel sees it
		}
		route := slowpath.ToldRoute{Table: table, Prefix: r.Prefix}
		for _, h := range r.NextHops() {
			route.Hops = append(route.Hops, slowpath.ToldHop{Via: h.Via, Iface: s.index[h.Port], Weight: h.Weight})
		}
		routes = append(routes, route)
	}
	neighbours := make([]slowpath.ToldNeighbour, len(c.Neighbours))
	for i := range c.Neighbours {
		n := &c.Neighbours[i]
		neighbours[i] = slowpath.ToldNeighbour{Iface: s.index[n.Port], Addr: n.Address, MAC: n.MAC}
	}
	s.slow.Tell(routes, neighbours)
}

// wireSlowPath gives a worker its ends of the rings.
func (s *Switch) wireSlowPath(to *pipeline.Config) {
	if s.slow != nil {
		to.Punts, to.Kernel = s.slow.Sink(to.Index), s.slow.Source(to.Index)
		to.Resolver = s.resolver.Asker(to.Index)
	}
}

// setTwinLinks makes the links of a port's twins that of the port.
func (s *Switch) setTwinLinks(port int, up bool) {
	if s.slow == nil {
		return
	}
	for _, iface := range s.byPort[port] {
		if err := s.slow.Twin(iface).SetCarrier(up); err != nil {
			s.log.Error("link of the twin cannot be set", "port", s.interfaces[iface].Name, "error", err)
		}
	}
}

// twinSample is one reading of a twin.
type twinSample struct {
	stats slowpath.TwinStats
	index int
}

func (s *Switch) countTwins() []twinSample {
	if s.slow == nil {
		return nil
	}
	twins := s.slow.Twins()
	list := make([]twinSample, len(twins))
	for i, t := range twins {
		list[i] = twinSample{t.Stats(), t.Index()}
	}
	return list
}

// twinReports makes the twins' part of a report.
func (s *Switch) twinReports(from, to []twinSample) []TwinReport {
	list := make([]TwinReport, len(to))
	for i := range to {
		var a slowpath.TwinStats
		if i < len(from) {
			a = from[i].stats
		}
		b, t := &to[i].stats, s.slow.Twins()[i]
		list[i] = TwinReport{
			Port: s.interfaces[t.Iface()].Name, TAP: t.Name(), Index: to[i].index,
			ToKernel: b.ToKernel - a.ToKernel, ToKernelBytes: b.ToKernelBytes - a.ToKernelBytes, Refused: b.Refused - a.Refused,
			FromKernel: b.FromKernel - a.FromKernel, FromKernelBytes: b.FromKernelBytes - a.FromKernelBytes,
			Overflow: b.Overflow - a.Overflow, Oversized: b.Oversized - a.Oversized, Remade: b.Remade - a.Remade,
		}
	}
	return list
}

// PuntList answers GET /v1/punts: what passed between the workers and the host
// kernel.
type PuntList struct {
	On         bool         `json:"on"`
	Because    string       `json:"because,omitempty"` // why it is off
	Netns      string       `json:"netns"`             // "": our own
	FromKernel uint64       `json:"from_kernel"`
	Punts      []PuntStatus `json:"punts"` // every reason that had a packet
	Twins      []TwinReport `json:"twins"`
}

// PuntStatus is what became of the packets of one punt reason.
type PuntStatus struct {
	Reason  string `json:"reason"`
	Punted  uint64 `json:"punted"`
	Limited uint64 `json:"limited"` // above its rate
	Full    uint64 `json:"full"`    // the ring to the kernel was full
	Dropped uint64 `json:"dropped"` // for it: there is no slow path, or the port says so
}

func (s *Switch) getPunts(*http.Request) (any, error) {
	r := s.Report()
	list := PuntList{
		On: s.slow != nil, Because: s.slowOff, Netns: s.Config().SlowPath.Netns,
		FromKernel: r.FromKernel, Punts: []PuntStatus{}, Twins: r.Twins,
	}
	for reason := packet.FirstPunt; reason < packet.NumReasons; reason++ {
		p := PuntStatus{reason.String(), r.punts[reason], r.puntsLimited[reason], r.puntsFull[reason], r.drops[reason]}
		if p.Punted+p.Limited+p.Full+p.Dropped > 0 {
			list.Punts = append(list.Punts, p)
		}
	}
	return list, nil
}

// puntRates translates the configuration's rates.
func puntRates(c *conf.PuntRates) pipeline.PuntRates {
	return pipeline.PuntRates{
		pipeline.BudgetNeighbour: c.Neighbour,
		pipeline.BudgetRouting:   c.Routing,
		pipeline.BudgetLocal:     c.Local,
		pipeline.BudgetMulticast: c.Multicast,
		pipeline.BudgetOptions:   c.Options,
		pipeline.BudgetExtension: c.Extension,
		pipeline.BudgetEtherType: c.EtherType,
		pipeline.BudgetRoute:     c.SlowRoute,
	}
}

package control

import (
	"fmt"

	"ffwd/conf"
	"ffwd/packet"
	"ffwd/pipeline"
	"ffwd/slowpath"
)

// openSlowPath makes the ports' twins in the host kernel, where it is wanted and
// allowed. Source: SP-1, SP-5.
func (s *Switch) openSlowPath(c *conf.Config) error {
	if c.SlowPath.Enabled == conf.SlowPathOff {
		return nil
	}
	if err := slowpath.Allowed(); err != nil {
		if c.SlowPath.Enabled == conf.SlowPathOn {
			return fmt.Errorf("slow_path.enabled: on, but %w", err)
		}
		s.log.Warn("no slow path: the kernel gets no packets, and only configured neighbours are known", "because", err)
		return nil
	}
	s.dispatch = pipeline.Dispatch{Snapshot: &s.snapshot, Secret: &s.secret, Workers: len(c.Workers.Cores)}
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
	s.slow.Start()
	s.log.Info("slow path", "twins", len(config.Twins), "netns", c.SlowPath.Netns)
	return nil
}

// wireSlowPath gives a worker its ends of the rings.
func (s *Switch) wireSlowPath(to *pipeline.Config) {
	if s.slow != nil {
		to.Punts, to.Kernel = s.slow.Sink(to.Index), s.slow.Source(to.Index)
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

// puntRates translates the configuration's rates.
func puntRates(c *conf.PuntRates) pipeline.PuntRates {
	return pipeline.PuntRates{
		pipeline.BudgetNeighbour:  c.Neighbour,
		pipeline.BudgetRouting:    c.Routing,
		pipeline.BudgetLocal:      c.Local,
		pipeline.BudgetMulticast:  c.Multicast,
		pipeline.BudgetOptions:    c.Options,
		pipeline.BudgetExtension:  c.Extension,
		pipeline.BudgetEtherType:  c.EtherType,
		pipeline.BudgetUnresolved: c.Unresolved,
		pipeline.BudgetRoute:      c.SlowRoute,
	}
}

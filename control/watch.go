package control

import (
	"context"
	"sync"
	"time"

	"ffwd/conf"
	"ffwd/pmd"
)

const (
	// linkInterval is how often links are read. Reading costs a system call for
	// devices on kernel interfaces and less for others.
	linkInterval = 50 * time.Millisecond
	// reclaimInterval is how long a worker gets to pass a quiescent state before
	// it is asked again.
	reclaimInterval = 10 * time.Millisecond
)

// watch starts the goroutines that look after links, the epoch and timeout policies.
func (s *Switch) watch(*conf.Config) error {
	for i := range s.ports {
		s.checkLink(i, true)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.watchLinks(ctx) })
	running.Go(func() { s.reclaim(ctx) })
	running.Go(func() { s.drainPolicies(ctx) })
	running.Go(func() { s.watchFilling(ctx) })
	s.undo(func() error {
		cancel()
		return within(stopTimeout, "what looks after links and memory", running.Wait)
	})
	return nil
}

func (s *Switch) watchLinks(ctx context.Context) {
	tick := time.NewTicker(linkInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for i := range s.ports {
				s.checkLink(i, false)
			}
		}
	}
}

// checkLink reads a port's link and, when it changed, tells the tables: its next
// hops turn unreachable or come back. Source: FF-16.
func (s *Switch) checkLink(port int, first bool) {
	p := s.ports[port]
	link, err := p.Link()
	if err != nil {
		link = pmd.Link{} // what cannot be asked cannot be relied on
	}
	s.linkMu.Lock()
	before := s.links[port]
	s.links[port] = link
	s.linkMu.Unlock()
	if link == before && !first {
		return
	}
	// First the word to the path itself, which waits for nothing: sets of equal hops
	// pass over the port from the next packet on, even while a table is being loaded.
	for _, iface := range s.byPort[port] {
		s.tableOf(iface).SetCarrier(iface, link.Up)
	}
	s.log.Info("link", "port", p.Name(), "up", link.Up, "speed_mbit", link.SpeedMbit)
	if err != nil {
		s.log.Error("link cannot be read", "port", p.Name(), "error", err)
	}
	s.setTwinLinks(port, link.Up)
	for _, iface := range s.byPort[port] {
		if err := s.tableOf(iface).SetLink(iface, link.Up); err != nil {
			s.log.Error("link cannot be set", "port", p.Name(), "error", err)
		}
	}
}

// link returns a port's link as last seen.
func (s *Switch) link(port int) pmd.Link {
	s.linkMu.Lock()
	defer s.linkMu.Unlock()
	return s.links[port]
}

// reclaim frees what was retired once every worker has passed. It sleeps while
// nothing waits.
func (s *Switch) reclaim(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.epoch.bell:
		}
		for waiting := 1; waiting > 0; {
			if _, waiting = s.epoch.Reclaim(); waiting == 0 {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(reclaimInterval):
			}
		}
	}
}

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
		if !s.readLink(i) {
			s.log.Info("link", "port", s.ports[i].Name(), "up", false)
		}
		s.settleLink(i, s.link(i).Up)
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

// watchLinks looks at the links, and leaves to another goroutine what may wait for a table that
// is being loaded: so the path knows of a second port that is lost meanwhile.
func (s *Switch) watchLinks(ctx context.Context) {
	tick, changed := time.NewTicker(linkInterval), make(chan struct{}, 1)
	defer tick.Stop()
	var settling sync.WaitGroup
	settling.Go(func() { s.settleLinks(ctx, changed) })
	defer settling.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for i := range s.ports {
				if !s.readLink(i) {
					continue
				}
				select {
				case changed <- struct{}{}:
				default: // it will look anyway
				}
			}
		}
	}
}

// readLink reads a port's link and tells the path itself, which waits for nothing: sets of
// equal hops pass over a lost port from the next packet on. It tells whether the link is
// another than before. Source: FF-16.
func (s *Switch) readLink(port int) (changed bool) {
	p := s.ports[port]
	link, err := p.Link()
	if err != nil {
		link = pmd.Link{} // what cannot be asked cannot be relied on
	}
	s.linkMu.Lock()
	before := s.links[port]
	s.links[port] = link
	s.linkMu.Unlock()
	if link == before {
		return false
	}
	s.setCarrier(port, link.Up)
	s.log.Info("link", "port", p.Name(), "up", link.Up, "speed_mbit", link.SpeedMbit)
	if err != nil {
		s.log.Error("link cannot be read", "port", p.Name(), "error", err)
	}
	return true
}

func (s *Switch) setCarrier(port int, up bool) {
	for _, iface := range s.byPort[port] {
		s.tableOf(iface).SetCarrier(iface, up)
	}
}

// settleLinks tells the tables of links that changed.
func (s *Switch) settleLinks(ctx context.Context, changed <-chan struct{}) {
	settled := make([]bool, len(s.ports))
	for i := range settled {
		settled[i] = s.link(i).Up
		s.settleLink(i, settled[i]) // it may have changed since watch settled it
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		for i := range settled {
			if up := s.link(i).Up; up != settled[i] {
				s.settleLink(i, up)
				settled[i] = up
			}
		}
	}
}

// settleLink tells the tables of a port's link: its next hops turn unreachable or come back.
// Source: FF-16.
func (s *Switch) settleLink(port int, up bool) {
	s.setTwinLinks(port, up)
	for _, iface := range s.byPort[port] {
		if err := s.tableOf(iface).SetLink(iface, up); err != nil {
			s.log.Error("link cannot be set", "port", s.ports[port].Name(), "error", err)
		}
	}
	if now := s.link(port).Up; now != up {
		s.setCarrier(port, now) // SetLink has told the path what was
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

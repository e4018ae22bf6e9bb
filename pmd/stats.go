package pmd

import "ffwd/bindings"

// Stats are a port's counters since it was started: the device's own, and what this
// package did with what the device handed over.
type Stats struct {
	bindings.Stats

	RxLinearized uint64 // chained frames gathered into one mbuf
	RxOversized  uint64 // chained frames freed: longer than an mbuf
}

// Stats reads the port's counters.
func (p *Port) Stats() (Stats, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == closed {
		return Stats{}, p.fail("stats", errClosed)
	}
	device, err := p.id.Stats()
	if err != nil {
		return Stats{}, p.fail("stats", err)
	}
	s := Stats{Stats: device}
	for _, q := range p.rx {
		s.RxLinearized += q.q.Linearized()
		s.RxOversized += q.q.Oversized()
	}
	return s, nil
}

// XStats reads the driver's extended counters by name.
func (p *Port) XStats() (map[string]uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == closed {
		return nil, p.fail("xstats", errClosed)
	}
	stats, err := p.id.XStats()
	if err != nil {
		return nil, p.fail("xstats", err)
	}
	return stats, nil
}

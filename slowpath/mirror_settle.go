package slowpath

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"ffwd/fib"
)

const (
	// batchUpdates is how many routes the FIB gets at once: its control side is
	// locked meanwhile, for a few milliseconds.
	batchUpdates = 4096
	// retryInterval is how often routes that the FIB refused are tried again.
	retryInterval = 30 * time.Second
	// sparseSets is how many sets of hops may lie idle between two sweeps.
	sparseSets = 4096
)

// Serials of what has no hops; those of sets of hops come behind.
const (
	serialBlackhole = 1 + iota
	serialUnreachable
	serialProhibit
	serialLocal
	firstSerial
)

// settle makes the FIB follow the view, unless the mirror is to stop meanwhile.
func (m *routeMirror) settle() (changes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes = 0
	covered, changed := m.addresses.settle(&m.twins)
	m.view.dirty = append(m.view.dirty, covered...) // whose routes an address hides or uncovers
	for _, key := range m.view.dirty {
		m.decide(key)
		if len(m.updates) < batchUpdates {
			continue
		}
		m.apply()
		select {
		case <-m.stopping:
			return m.changes
		default:
		}
	}
	m.apply()
	m.view.dirty = m.view.dirty[:0]
	return m.changes + changed
}

// decide compares what a prefix should have with what it has, and queues the
// update that makes it so.
func (m *routeMirror) decide(key routeKey) {
	r := m.view.routes[key]
	want, route := m.choose(key, r)
	if want == r.set {
		m.forget(key, r)
		return
	}
	if r.set.outcome == Refused || r.set.outcome == Full {
		tried := r.set
		tried.outcome = Installed
		if want == tried {
			return // until it is tried anew
		}
	}
	switch {
	case want.outcome == Installed:
		m.queue(key, fib.Update{Route: route})
	case r.set.outcome == Installed:
		m.queue(key, fib.Update{Route: route, Delete: true})
		m.room = true
	}
	m.mark(key, r, want)
}

// queue adds an update, which apply will make.
func (m *routeMirror) queue(key routeKey, u fib.Update) {
	m.updates, m.keys = append(m.updates, u), append(m.keys, key)
	m.changes++
}

// mark notes what was made of a route.
func (m *routeMirror) mark(key routeKey, r route, now applied) {
	m.counts[r.set.outcome]--
	m.counts[now.outcome]++
	r.set = now
	m.view.routes[key] = r
	m.forget(key, r)
}

// forget drops a prefix that neither the kernel nor the FIB has.
func (m *routeMirror) forget(key routeKey, r route) {
	if r.best.kind == 0 && r.set == (applied{}) {
		delete(m.view.routes, key)
	}
}

// choose finds the first route of a prefix that is usable, as the kernel does.
func (m *routeMirror) choose(key routeKey, r route) (applied, fib.Route) {
	route := fib.Route{Prefix: key.prefix(), Learned: true}
	if r.best.kind == 0 {
		return applied{}, route
	}
	first := m.weigh(key, r.best, &route)
	if first.outcome == Installed || first.outcome == Connected || !r.more {
		return first, route
	}
	for _, c := range m.view.others[key] {
		if next := m.weigh(key, c, &route); next.outcome == Installed || next.outcome == Connected {
			return next, route
		}
	}
	return first, route
}

// weigh says what one of the kernel's routes is to the FIB.
func (m *routeMirror) weigh(key routeKey, c candidate, to *fib.Route) applied {
	kind, _ := kindOf(c.kind)
	a := applied{protocol: c.protocol, outcome: Installed}
	to.Type, to.Hops, to.MTUBytes, to.Protocol = kind, nil, 0, c.protocol
	switch kind {
	case fib.RouteBlackhole:
		a.serial = serialBlackhole
	case fib.RouteUnreachable:
		a.serial = serialUnreachable
	case fib.RouteProhibit:
		a.serial = serialProhibit
	case fib.RoutePunt:
		a.serial = serialLocal
		a.outcome = m.weighLocal(key, c)
	default:
		s := m.hops.sets[c.hops]
		a.serial, a.outcome = s.serial, s.outcome
		to.Type, to.Hops = s.route, s.resolution.hops
		if to.Type == fib.Unicast {
			to.MTUBytes, a.mtuBytes = int(c.mtuBytes), c.mtuBytes
		}
		if c.protocol == unix.RTPROT_KERNEL && m.addresses.covers(key) {
			a.outcome = Connected
		}
	}
	if a.outcome != Installed {
		a.serial, a.mtuBytes = 0, 0
	}
	return a
}

// weighLocal tells an address on one of our ports, which is in the FIB by itself,
// from what else the router takes for its own.
func (m *routeMirror) weighLocal(key routeKey, c candidate) Outcome {
	if m.addresses.covers(key) {
		return Connected
	}
	for _, h := range m.hops.sets[c.hops].hops {
		if _, vrf, ours := m.twins.byIndex(h.ifIndex); ours && vrf != key.vrf {
			return OtherVRF
		}
	}
	return Installed
}

// apply makes the queued updates. A batch is all or nothing: when it fails, its
// updates are made one by one, to find those that cannot be.
func (m *routeMirror) apply() {
	if len(m.updates) == 0 {
		return
	}
	byTable := make([][]fib.Update, len(m.tables))
	for i, key := range m.keys {
		byTable[key.vrf] = append(byTable[key.vrf], m.updates[i])
	}
	for vrf, updates := range byTable {
		if len(updates) == 0 || m.tables[vrf].Apply(updates) == nil {
			continue
		}
		for _, u := range updates {
			if err := m.tables[vrf].Apply([]fib.Update{u}); err != nil {
				m.refuse(keyOf(uint16(vrf), u.Route.Prefix), u, err)
			}
		}
	}
	m.updates, m.keys = m.updates[:0], m.keys[:0]
}

// refuse notes a route that the FIB does not take, which must not leave another
// in its place.
func (m *routeMirror) refuse(key routeKey, u fib.Update, err error) {
	if u.Delete {
		return // it was never there
	}
	_ = m.tables[key.vrf].Apply([]fib.Update{{Route: u.Route, Delete: true}})
	r := m.view.routes[key]
	now := r.set
	now.outcome = Refused
	if errors.Is(err, fib.ErrFull) {
		now.outcome = Full
	}
	m.mark(key, r, now)
	if !m.fullNoted {
		m.fullNoted = true
		m.log.Error("a kernel route is not in the FIB; more may follow, see: ffwd show mirror", "error", err)
	}
}

// tend tries again what the FIB refused, and drops hops that nothing uses.
func (m *routeMirror) tend() {
	m.mu.Lock()
	failed := m.counts[Refused] + m.counts[Full]
	again := failed > 0 && (m.room || time.Since(m.tried) >= retryInterval)
	if failed == 0 {
		m.fullNoted = false
	}
	if again {
		m.room, m.tried = false, time.Now()
		for key, r := range m.view.routes {
			if r.set.outcome == Refused || r.set.outcome == Full {
				now := r.set
				now.serial = 0
				m.mark(key, r, now)
				m.view.dirty = append(m.view.dirty, key)
			}
		}
	}
	if len(m.hops.sets) > m.idle+sparseSets {
		m.sweepHops()
	}
	m.mu.Unlock()
	if again {
		m.settle()
	}
}

// sweepHops drops the sets of hops that no route names.
func (m *routeMirror) sweepHops() {
	used := map[hopSetID]struct{}{}
	for _, r := range m.view.routes {
		used[r.best.hops] = struct{}{}
	}
	for _, others := range m.view.others {
		for _, c := range others {
			used[c.hops] = struct{}{}
		}
	}
	m.hops.sweep(used)
	m.idle = len(m.hops.sets)
}

func (m *routeMirror) status(s *MirrorStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Routes = map[Outcome]int{}
	for o := Installed; o < numOutcomes; o++ {
		s.Routes[o] = m.counts[o]
	}
	s.Addresses = len(m.addresses.installed)
}

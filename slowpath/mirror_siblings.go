package slowpath

import (
	"slices"

	"golang.org/x/sys/unix"
)

// IPv6 routes of one prefix and metric that have gateways are one route of
// several hops: an added one joins those that are there and is told with all of
// them, and a deleted one is told alone. Source: fib6_add_rt2node and
// fib6_del_route in net/ipv6/ip6_fib.c.

// add6 enters an IPv6 route as the kernel did. A replacement takes the place of
// the first of its metric that has gateways as it has, or none as it has none;
// failing that, of the first.
func (m *routeMirror) add6(key routeKey, c candidate, flags uint16) {
	if flags&unix.NLM_F_REPLACE != 0 {
		m.view.add(key, c, instead, func(old candidate) bool { return m.viaGateways(old.hops) == m.viaGateways(c.hops) })
	} else if !m.widen(key, c) {
		m.view.add(key, c, atBack, nil)
	}
}

// widen puts a route in the place of that whose hops it has and more, and reports
// whether there was one.
func (m *routeMirror) widen(key routeKey, c candidate) bool {
	list := m.view.list(key)
	for i, old := range list {
		if m.siblings(old, c) && containsAll(m.hops.sets[c.hops].hops, m.hops.sets[old.hops].hops) {
			c.protocol = old.protocol // each hop has its own; listings show the first's
			list[i] = c
			m.view.store(key, list)
			return true
		}
	}
	return false
}

// narrow takes the hops of a deleted route out of the one that has them.
func (m *routeMirror) narrow(key routeKey, c candidate) {
	list := m.view.list(key)
	for i, old := range list {
		if !m.siblings(old, c) {
			continue
		}
		all, gone := m.hops.sets[old.hops].hops, m.hops.sets[c.hops].hops
		if !containsAll(all, gone) {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(all), func(h kernelHop) bool { return containsAll(gone, []kernelHop{h}) })
		if len(left) == 0 {
			list = slices.Delete(list, i, i+1)
		} else {
			list[i].hops = m.hops.intern(key.vrf, 0, left, &m.twins)
		}
		m.view.store(key, list)
		return
	}
}

// mixed tells whether a metric has more than one route besides siblings. Their
// order in the kernel's list, where siblings need not stand together, cannot be
// followed then; such routes are a mistake more than a use.
func (m *routeMirror) mixed(key routeKey, metric uint32) bool {
	if !m.view.routes[key].more {
		return false
	}
	n := 0
	for _, c := range m.view.list(key) {
		if c.metric == metric {
			n++
		}
	}
	return n > 1
}

// siblings tells whether two routes of a prefix are one for the kernel.
func (m *routeMirror) siblings(a, b candidate) bool {
	return a.metric == b.metric && a.kind == unix.RTN_UNICAST && b.kind == unix.RTN_UNICAST &&
		m.viaGateways(a.hops) && m.viaGateways(b.hops)
}

func (m *routeMirror) viaGateways(id hopSetID) bool {
	s := m.hops.sets[id]
	if s == nil {
		return false
	}
	hops := s.hops
	return len(hops) > 0 && !slices.ContainsFunc(hops, func(h kernelHop) bool { return !h.via.IsValid() })
}

// containsAll compares hops by gateway and device, as the kernel does.
func containsAll(all, some []kernelHop) bool {
	return !slices.ContainsFunc(some, func(s kernelHop) bool {
		return !slices.ContainsFunc(all, func(h kernelHop) bool { return h.via == s.via && h.ifIndex == s.ifIndex })
	})
}

package slowpath

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"
)

// IPv6 routes of one prefix and metric that have gateways are one route of
// several hops: an added one joins those that are there and is told with all of
// them, and a deleted one is told alone. Source: fib6_add_rt2node and
// fib6_del_route in net/ipv6/ip6_fib.c.

// add6 enters an IPv6 route as the kernel did. A replacement takes the place of
// the first of its metric that has gateways as it has, or none as it has none;
// failing that, of the first. It reports what routeView.add does.
func (m *routeMirror) add6(key routeKey, c candidate, flags uint16) (clear bool) {
	if flags&unix.NLM_F_REPLACE != 0 {
		return m.view.add(key, c, instead, func(old candidate) bool { return m.viaGateways(old.hops) == m.viaGateways(c.hops) })
	}
	return m.widen(key, c) || m.view.add(key, c, atBack, nil)
}

// sortHops gives the hops of an IPv6 route one order: a notification begins with
// those that are new, and a dump with the oldest.
func sortHops(hops []kernelHop) {
	slices.SortFunc(hops, func(a, b kernelHop) int {
		return cmp.Or(a.via.Compare(b.via), cmp.Compare(a.ifIndex, b.ifIndex))
	})
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

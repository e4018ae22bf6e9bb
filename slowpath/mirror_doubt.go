package slowpath

// doubt notes whether the kernel's list of a prefix's routes can be other than the
// view has it after a notification about a route of a metric, and asks for a dump if
// that cannot be told otherwise. clear is what routeView.add reports; nor is it clear
// which of two is meant that look alike to us.
//
// IPv6 routes of one metric of which some have gateways and some have none are a
// mistake more than a use. Where they stand in the list is not told, and even a dump
// leaves out those that stand between routes with gateways, which it shows as one. So
// each notification about such a prefix asks for a dump, and goes on to while siblings
// may hide another. Source: fib6_add_rt2node and fib6_dump_node in net/ipv6/ip6_fib.c.
//
// A notification that is told anew by a dump names what came, and not what it was
// instead of or ahead of: with several routes of a metric it may have meant another.
func (m *routeMirror) doubt(key routeKey, metric uint32, clear bool) {
	if key.is4 {
		clear = true // the kernel does not have the same IPv4 route twice
	}
	if (!clear || m.view.crowded(key, metric)) && (m.replay || !key.is4) {
		m.doubtful[key] = struct{}{}
	}
	if _, is := m.doubtful[key]; is && (m.replay || !key.is4) {
		m.unsure = true
	}
}

// reviewDoubts adds after a dump to what that makes doubtful: prefixes of several
// routes of a metric, now or in the view of before, to which the notifications that
// wait may belong; and of the doubts of before those that no dump can settle, of IPv6
// prefixes while siblings may hide what the dump does not show.
func (m *routeMirror) reviewDoubts(old map[routeKey]struct{}, before *routeView) {
	for key := range old {
		if m.replay || !key.is4 && m.hasSiblings(key) {
			m.doubtful[key] = struct{}{}
		}
	}
	for _, v := range [...]*routeView{before, &m.view} {
		for key := range v.others {
			for _, c := range v.others[key] {
				if v.crowded(key, c.metric) {
					m.doubtful[key] = struct{}{}
					break
				}
			}
		}
	}
	m.replay = true
}

// hasSiblings reports whether an IPv6 prefix has a route of several gateways.
func (m *routeMirror) hasSiblings(key routeKey) bool {
	for _, c := range m.view.list(key) {
		if s := m.hops.sets[c.hops]; s != nil && len(s.hops) > 1 {
			return true
		}
	}
	return false
}

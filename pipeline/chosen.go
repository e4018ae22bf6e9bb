package pipeline

import (
	"ffwd/fib"
	"ffwd/packet"
)

// choose puts next hops that rules chose in the place of those that the lookup found, so
// that all that follows, from counters to neighbours, is as for any route. It costs a
// burst without such packets nothing.
//
// Source: FF-6. Design: docs/decisions/0014-next-hops-of-rules.md.
func (r *routeBatch) choose(b *packet.Burst, table *fib.Table) {
	lines := table.Lines()
	for i, at := range r.at[:r.n] {
		if p := &b.Pkts[at]; p.Via != 0 {
			r.adjacencies[i] = table.IndexOf(chosen(p, table, &lines[r.adjacencies[i]]))
		}
	}
}

// chosen is the adjacency that a rule chose for a packet, or the route's where that cannot
// be used, or where the packet is ours.
func chosen(p *packet.Packet, table *fib.Table, route *fib.Adjacency) *fib.Adjacency {
	if route.Kind == fib.Local || route.Kind == fib.Broadcast {
		return route
	}
	if a := table.Usable(fib.NextHopID(p.Via)); a != nil {
		return a
	}
	return route
}

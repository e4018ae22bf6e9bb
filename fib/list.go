package fib

import (
	"cmp"
	"net/netip"
	"slices"
)

// Origin tells why a prefix is in the table.
type Origin string

const (
	OriginLocal     Origin = "local"     // an interface's address or its subnet's broadcast
	OriginConnected Origin = "connected" // an interface's subnet
	OriginRoute     Origin = "route"     // Add
	OriginLearned   Origin = "learned"   // Add, with Route.Learned
	OriginNeighbour Origin = "neighbour" // SetNeighbour
)

// RouteInfo is one line of `ffwd show routes`.
type RouteInfo struct {
	Prefix   netip.Prefix
	Origin   Origin
	Protocol uint8 // OriginLearned: Route.Protocol
	MTUBytes int   // Route.MTUBytes
	Kind     Kind  // Forward for any unicast route with gateways, resolved or not
	NextHop  NextHopID
	Hops     []HopInfo
	Shadows  bool // a route of the same prefix waits behind this one
	Shadowed bool // waits behind another of the same prefix
	Counter  Counter
	Shared   bool // Counter counts for other prefixes too
}

// HopInfo is one way of a route, as packets find it now.
type HopInfo struct {
	Via     netip.Addr // invalid: no gateway
	Iface   uint16
	Weight  int
	State   Kind // Forward, Glean (not resolved), Unreachable (link down), Local, Broadcast
	MAC     MAC  // State Forward
	Buckets int  // flows it has now, in 1/256; 0 for a route with one hop
	Counter Counter
	Shared  bool // as in RouteInfo
}

// Route tells what the longest match for an address is, as `ffwd show routes --to` asks.
func (t *Table) Route(addr netip.Addr) (RouteInfo, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, l, ok := t.rib.LookupPrefixLPM(hostPrefix(addr))
	if !ok {
		return RouteInfo{}, false
	}
	return t.info(p, l), true
}

func (t *Table) info(p netip.Prefix, l layers) RouteInfo {
	id := l.best()
	r := RouteInfo{Prefix: p, NextHop: id, Shadows: l.route != 0 && l.route != id || l.learned != 0 && l.learned != id}
	switch {
	case l.neighbour != 0:
		r.Origin = OriginNeighbour
	case l.own != 0:
		r.Origin = OriginLocal
		if slices.ContainsFunc(t.claims[p], func(c claim) bool { return c.hop == id && c.rank <= rankConnected }) {
			r.Origin = OriginConnected
		}
	case l.route != 0:
		r.Origin = OriginRoute
	default:
		r.Origin, r.Protocol = OriginLearned, l.protocol
	}
	return t.ways(r)
}

// shadowed is a route that waits behind another of its prefix.
func (t *Table) shadowed(p netip.Prefix, l layers, learned bool) RouteInfo {
	r := RouteInfo{Prefix: p, NextHop: l.of(learned), Origin: OriginRoute, Shadowed: true}
	if learned {
		r.Origin, r.Protocol = OriginLearned, l.protocol
	}
	return t.ways(r)
}

// ways completes a route with what its next hop is.
func (t *Table) ways(r RouteInfo) RouteInfo {
	id := r.NextHop
	r.Counter, r.Shared = t.counter(id), true
	if id.fixed() {
		r.Kind = t.adjacencies[id].Kind
		return r
	}
	h := t.byID[id]
	r.Kind, r.Shared = h.key.kind, h.refs > 1
	if h.key.kind.pathless() {
		return r
	}
	first := h
	if h.group != nil {
		first = h.group.members[0].hop
	}
	r.MTUBytes = int(first.key.mtu)
	if h.group == nil {
		r.Hops = []HopInfo{t.hopInfo(h, 1)}
		return r
	}
	for i, m := range h.group.members {
		hop := t.hopInfo(m.hop, m.weight)
		for _, now := range h.group.now {
			if int(now) == i {
				hop.Buckets++
			}
		}
		r.Hops = append(r.Hops, hop)
	}
	return r
}

func (t *Table) hopInfo(h *nextHop, weight int) HopInfo {
	a := t.Resolve(h.id)
	info := HopInfo{Via: h.key.gw, Iface: h.iface, Weight: weight, State: a.Kind, Counter: Counter{h.id, h.age}, Shared: h.refs > 1}
	if a.Kind == Forward {
		info.MAC = MAC(a.L2[:6])
	}
	return info
}

// NeighbourInfo is a neighbour that an interface knows.
type NeighbourInfo struct {
	Iface uint16
	Addr  netip.Addr
	MAC   MAC
}

// Neighbours lists the neighbours by interface and address.
func (t *Table) Neighbours() []NeighbourInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []NeighbourInfo
	for index, i := range t.ifaces {
		for addr, mac := range i.neighbours {
			out = append(out, NeighbourInfo{index, addr, mac})
		}
	}
	slices.SortFunc(out, func(a, b NeighbourInfo) int {
		return cmp.Or(cmp.Compare(a.Iface, b.Iface), a.Addr.Compare(b.Addr))
	})
	return out
}

// Stats counts what a Table holds. Groups, NextHops and Adjacencies include what
// was retired and waits for the epoch.
type Stats struct {
	Prefixes4, Prefixes6 int
	Groups4, Groups6     int
	NextHops             int
	Adjacencies          int
	ECMPGroups           int
	Bounds               Options // what the table was made with
	MappedBytes          int64   // address space; pages that were never touched are not in memory
	TableBytes           int64   // of lookup structures in use: touched roots are not counted, groups and adjacencies are
}

// Stats reports the table's size. It does not wait for a change that is under way, which
// for a million routes takes long.
func (t *Table) Stats() Stats {
	s := Stats{
		Prefixes4:   int(t.prefixes[0].Load()),
		Prefixes6:   int(t.prefixes[1].Load()),
		Groups4:     t.v4.pool.used(),
		Groups6:     t.v6.pool.used(),
		NextHops:    t.ids.used(),
		Adjacencies: t.lines.used(),
		ECMPGroups:  t.ecmp.used(),
		Bounds:      t.opts,
		MappedBytes: t.mappedBytes,
	}
	s.TableBytes = int64(s.Groups4+s.Groups6)*4*groupSize +
		int64(s.NextHops)*4 + int64(s.Adjacencies)*int64(adjacencyBytes) + int64(s.ECMPGroups)*4*groupBuckets
	return s
}

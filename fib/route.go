package fib

import (
	"fmt"
	"net/netip"
)

// RouteType says what a configured route does.
type RouteType uint8

const (
	Unicast          RouteType = iota // forwards over Hops
	RouteBlackhole                    // drops silently
	RouteUnreachable                  // answers with ICMP unreachable
	RouteProhibit                     // answers with ICMP prohibited
	RoutePunt                         // goes to the slow path, which alone knows the way
)

var routeTypeNames = [...]string{"unicast", "blackhole", "unreachable", "prohibit", "punt"}

// String gives the word of the configuration.
func (r RouteType) String() string {
	if int(r) < len(routeTypeNames) {
		return routeTypeNames[r]
	}
	return fmt.Sprintf("RouteType(%d)", uint8(r))
}

// Hop is one way of a unicast route.
type Hop struct {
	// Via is the gateway; invalid: destinations are neighbours on Iface. A
	// route to IPv4 may have an IPv6 gateway (RFC 8950), not the reverse.
	Via netip.Addr
	// Iface is the egress interface; 0: the one whose subnet has Via. Given
	// with Via, the gateway is taken to be on that link, subnet or not.
	Iface uint16
	// Weight is the share among the hops, 1 to 256; 0 is 1.
	Weight int
}

// Route is a configured route, or one learnt from a routing protocol. One prefix
// has at most one of each in a Table, of which the configured one forwards:
// choosing among several learnt ones is the caller's.
type Route struct {
	Prefix   netip.Prefix
	Type     RouteType
	Hops     []Hop // Unicast: 1 to MaxHops; other types: none
	MTUBytes int   // Unicast: largest packet, 68 (IPv6: 1280) to 65535, if the interface's is not less; 0: the interface's
	Learned  bool
	Counters bool  // configured: next hops of its own, which count for nobody else (FF-12)
	Protocol uint8 // who a learnt route is from, for listings: see rtm_protocol in rtnetlink(7)
}

// Add installs a route or replaces the one of its origin that its prefix has;
// ECMP flows stay with the hops that both have. Connected subnets, broadcasts and our own addresses
// of equal length win over it, and it takes effect when they go. Errors name the
// route and wrap ErrPrefix, ErrRoute, ErrGateway, ErrNoInterface or ErrFull.
func (t *Table) Add(r Route) error {
	t.begin()
	defer t.commit()
	id, err := t.prepare(&r)
	if err != nil {
		return err
	}
	return t.setRoute(&r, id)
}

// Hold takes a reference to the next hops of a route that is in no table: packets go by
// them because a rule says so. They follow links, neighbours and subnets as those of
// routes do. Errors are those of Add, and do not name the prefix, which is for all of its
// family. Source: FF-6.
func (t *Table) Hold(r Route) (NextHopID, error) {
	t.begin()
	defer t.commit()
	return t.nextHops(&r)
}

// Release gives back what Hold took. Workers may still go by it until they have passed a
// quiescent state.
func (t *Table) Release(id NextHopID) {
	t.begin()
	defer t.commit()
	t.release(id)
}

// Delete removes the configured route of a prefix. Errors wrap ErrPrefix or ErrNotFound.
func (t *Table) Delete(p netip.Prefix) error {
	t.begin()
	defer t.commit()
	r := Route{Prefix: p}
	if err := t.checkDelete(&r); err != nil {
		return err
	}
	return t.setRoute(&r, 0)
}

func (t *Table) checkDelete(r *Route) error {
	p := r.Prefix
	if err := checkPrefix(p); err != nil {
		return fmt.Errorf("fib: route %v: %w", p, err)
	}
	if l, _ := t.rib.Get(p); l.of(r.Learned) == 0 {
		return fmt.Errorf("fib: route %v: %w", p, ErrNotFound)
	}
	return nil
}

// setRoute makes id, whose reference it takes over, the next hop of r's prefix
// and origin; 0 removes.
func (t *Table) setRoute(r *Route, id NextHopID) error {
	var old NextHopID
	p := r.Prefix
	err := t.edit(p, func(l *layers) { old = l.set(r, id) })
	if err != nil {
		t.release(id)
		return fmt.Errorf("fib: route %v: %w", p, err)
	}
	t.release(old)
	return nil
}

// prepare checks a route and takes a reference to its next hop. Nothing is
// painted yet.
func (t *Table) prepare(r *Route) (NextHopID, error) {
	err := checkPrefix(r.Prefix)
	if err == nil {
		err = r.checkMTU()
	}
	if err == nil {
		var id NextHopID
		if id, err = t.nextHops(r); err == nil {
			return id, nil
		}
	}
	return 0, fmt.Errorf("fib: route %v: %w", r.Prefix, err)
}

// nextHops takes a reference to the next hop of a route with a good prefix.
func (t *Table) nextHops(r *Route) (NextHopID, error) {
	switch {
	case r.Learned && r.Counters:
		return 0, fmt.Errorf("%w: counters of its own are for a configured route", ErrRoute)
	case r.Type != Unicast && len(r.Hops) > 0:
		return 0, fmt.Errorf("%w: %v has hops", ErrRoute, r.Type)
	case r.Type != Unicast:
		return t.prepareType(r)
	case len(r.Hops) == 0 || len(r.Hops) > MaxHops:
		return 0, fmt.Errorf("%w: %d hops are not in 1..%d", ErrRoute, len(r.Hops), MaxHops)
	case len(r.Hops) == 1: // nearly all routes, a million at a time
		return t.prepareHop(r, &r.Hops[0])
	}
	members := make([]member, 0, len(r.Hops))
	for i := range r.Hops {
		id, err := t.prepareHop(r, &r.Hops[i])
		if err != nil {
			t.releaseAll(members)
			return 0, err
		}
		members = append(members, member{hop: t.byID[id], weight: max(1, r.Hops[i].Weight)})
	}
	before, _ := t.rib.Get(r.Prefix)
	return t.acquireGroup(members, before.of(r.Learned))
}

// checkMTU wants an MTU that the route's family allows. Source: RFC 791, RFC 8200
// section 5.
func (r *Route) checkMTU() error {
	least := 68
	if r.Prefix.Addr().Is6() {
		least = 1280
	}
	switch {
	case r.MTUBytes == 0:
		return nil
	case r.Type != Unicast:
		return fmt.Errorf("%w: %v has an mtu", ErrRoute, r.Type)
	case r.MTUBytes < least || r.MTUBytes > 65535:
		return fmt.Errorf("%w: mtu %d is not in %d..65535", ErrRoute, r.MTUBytes, least)
	}
	return nil
}

// typeIDs are the next hops of routes without hops.
var typeIDs = map[RouteType]NextHopID{
	RouteBlackhole: BlackholeID, RouteUnreachable: UnreachableID, RouteProhibit: ProhibitID, RoutePunt: PuntID,
}

// prepareType takes a reference to the next hop of a route without hops.
func (t *Table) prepareType(r *Route) (NextHopID, error) {
	id, known := typeIDs[r.Type]
	switch {
	case !known:
		return 0, fmt.Errorf("%w: type %v", ErrRoute, r.Type)
	case r.Counters:
		return t.acquire(hopKey{kind: t.adjacencies[id].Kind, owner: r.Prefix})
	}
	return id, nil
}

// prepareHop finds the interface of a hop, and takes a reference to its next hop.
func (t *Table) prepareHop(r *Route, h *Hop) (NextHopID, error) {
	key := hopKey{kind: Forward, iface: h.Iface, mtu: uint16(r.MTUBytes), gw: h.Via}
	if r.Counters {
		key.owner = r.Prefix
	}
	if h.Weight < 0 || h.Weight > groupBuckets {
		return 0, fmt.Errorf("%w: weight %d is not in 1..%d", ErrRoute, h.Weight, groupBuckets)
	}
	if !h.Via.IsValid() {
		if h.Iface == 0 {
			return 0, fmt.Errorf("%w: a hop has neither gateway nor interface", ErrRoute)
		}
		if _, err := t.iface(h.Iface); err != nil {
			return 0, fmt.Errorf("via interface %d: %w", h.Iface, ErrNoInterface)
		}
		key.kind = Glean
		return t.acquire(key)
	}
	err := t.checkGateway(r.Prefix, h)
	var id NextHopID
	if err == nil {
		id, err = t.acquire(key)
	}
	if err != nil {
		return 0, fmt.Errorf("via %v: %w", h.Via, err)
	}
	return id, nil
}

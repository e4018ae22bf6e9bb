package slowpath

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"ffwd/fib"
)

// routeKey is a prefix of a VRF, without a pointer in it: the garbage collector
// does not look into a map of a million of them.
type routeKey struct {
	addr [16]byte
	bits uint8
	is4  bool
	vrf  uint16 // index among the tables
}

func keyOf(vrf uint16, p netip.Prefix) routeKey {
	return routeKey{addr: p.Addr().As16(), bits: uint8(p.Bits()), is4: p.Addr().Is4(), vrf: vrf}
}

func (k *routeKey) prefix() netip.Prefix {
	a := netip.AddrFrom16(k.addr)
	if k.is4 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, int(k.bits))
}

// candidate is one route of the kernel to a prefix.
type candidate struct {
	metric   uint32
	hops     hopSetID
	variant  uint32 // tells apart what is alike to us
	mtuBytes uint16 // of its own; 0: none
	protocol uint8  // RTPROT_*
	kind     uint8  // RTN_*
}

// route is all that is known of a prefix: what the kernel has, and what of it is
// in the FIB.
type route struct {
	best candidate // kind 0: none
	more bool      // others are in view.others
	set  applied
}

// applied is what was last made of a route.
type applied struct {
	serial   uint32 // of the hop set's resolution; 0: nothing is in the FIB
	mtuBytes uint16
	protocol uint8
	outcome  Outcome
}

// routeView is the kernel's routes as dumps and notifications told them. A
// prefix has a list of them, of which the kernel takes the first: by metric, and
// among equals in the order that insertions, appends and replacements made.
type routeView struct {
	routes map[routeKey]route
	others map[routeKey][]candidate // all but the best, in order
	dirty  []routeKey               // to be looked at again
}

func newRouteView() routeView {
	return routeView{routes: map[routeKey]route{}, others: map[routeKey][]candidate{}}
}

// list returns the candidates of a prefix, the first of which is the kernel's
// choice.
func (v *routeView) list(key routeKey) []candidate {
	r := v.routes[key]
	if r.best.kind == 0 {
		return nil
	}
	list := []candidate{r.best}
	if r.more {
		list = append(list, v.others[key]...)
	}
	return list
}

// store makes list the candidates of a prefix.
func (v *routeView) store(key routeKey, list []candidate) {
	r := v.routes[key]
	r.best, r.more = candidate{}, len(list) > 1
	if len(list) > 0 {
		r.best = list[0]
	}
	if r.more {
		v.others[key] = list[1:]
	} else {
		delete(v.others, key)
	}
	v.routes[key] = r
	v.dirty = append(v.dirty, key)
}

// place is where among those of its metric a new route goes.
type place uint8

const (
	atFront place = iota
	atBack
	instead // of the first of them that alike accepts
)

// add enters a route as the kernel did. It reports whether there is no doubt what
// that was: one that replaces others of which none is alike may be instead of one
// that we do not know.
func (v *routeView) add(key routeKey, c candidate, at place, alike func(candidate) bool) (clear bool) {
	if v.routes[key].best.kind == 0 { // as nearly always
		r := v.routes[key]
		r.best = c
		v.routes[key] = r
		v.dirty = append(v.dirty, key)
		return true
	}
	list := v.list(key)
	first, behind := 0, 0
	for i, other := range list {
		if other.metric < c.metric {
			first = i + 1
		}
		if other.metric <= c.metric {
			behind = i + 1
		}
	}
	clear = true
	switch {
	case slices.Contains(list, c): // told twice: by a dump, and by what led to it
		return true
	case at == instead && first < behind:
		i := slices.IndexFunc(list[first:behind], alike)
		clear = i >= 0
		list[first+max(0, i)] = c
	case at == atFront:
		list = slices.Insert(list, first, c)
	default:
		list = slices.Insert(list, behind, c)
	}
	v.store(key, list)
	return clear
}

// crowded reports whether a metric has more than one route.
func (v *routeView) crowded(key routeKey, metric uint32) bool {
	if !v.routes[key].more {
		return false
	}
	n := 0
	for _, c := range v.list(key) {
		if c.metric == metric {
			n++
		}
	}
	return n > 1
}

// remove takes a route out as the kernel did, and reports whether it was there.
func (v *routeView) remove(key routeKey, c candidate) bool {
	list := v.list(key)
	i := slices.Index(list, c)
	if i < 0 {
		return false
	}
	v.store(key, slices.Delete(list, i, i+1))
	return true
}

// succeed takes over from the view of before what is in the FIB, and marks all
// that differs between the two.
func (v *routeView) succeed(before *routeView) {
	v.dirty = v.dirty[:0]
	for key, old := range before.routes {
		now, there := v.routes[key]
		now.set = old.set
		if there || old.set != (applied{}) {
			v.routes[key] = now
		}
	}
	for key := range v.routes {
		v.dirty = append(v.dirty, key)
	}
}

// kindOf says what a type of kernel route is to us; false: nothing.
func kindOf(rtn uint8) (fib.RouteType, bool) {
	switch rtn {
	case unix.RTN_UNICAST:
		return fib.Unicast, true
	case unix.RTN_BLACKHOLE:
		return fib.RouteBlackhole, true
	case unix.RTN_UNREACHABLE, unix.RTN_THROW: // no table comes behind ours
		return fib.RouteUnreachable, true
	case unix.RTN_PROHIBIT:
		return fib.RouteProhibit, true
	case unix.RTN_LOCAL, unix.RTN_BROADCAST, unix.RTN_ANYCAST: // the router's, though no address of our ports brings it
		return fib.RoutePunt, true
	}
	return 0, false
}

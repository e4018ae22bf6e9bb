package fib

import (
	"iter"
	"net/netip"
)

// pageSteps is how many prefixes are listed at a time while the control side
// waits: some hundred microseconds.
const pageSteps = 256

// Page lists up to most prefixes, in order: IPv4 before IPv6, then by address and
// length. Of each it gives the route that packets take, and then those that wait
// behind it. within limits the prefixes to one and what is below it; the zero
// Prefix gives all. after is the last prefix of the page before, which may be gone
// by now; the zero Prefix starts. end tells that nothing follows.
//
// Routes may come and go between two pages: one that stays is listed once. The
// control side waits for one page, so most should be small.
func (t *Table) Page(within, after netip.Prefix, most int) (page []RouteInfo, end bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	page = make([]RouteInfo, 0, most)
	for p, l := range t.behind(within, after) {
		if most--; most < 0 {
			return page, false
		}
		page = append(page, t.info(p, l))
		for _, learned := range [...]bool{false, true} {
			if id := l.of(learned); id != 0 && id != l.best() {
				page = append(page, t.shadowed(p, l, learned))
			}
		}
	}
	return page, true
}

// Routes calls yield for every route, in Page's order, until it returns false. It
// goes by pages: the control side waits for none of it longer than for a few
// hundred routes, and yield may call the table.
func (t *Table) Routes(yield func(RouteInfo) bool) {
	var after netip.Prefix
	for end := false; !end; {
		var page []RouteInfo
		page, end = t.Page(netip.Prefix{}, after, pageSteps)
		for _, r := range page {
			if !yield(r) {
				return
			}
			after = r.Prefix
		}
	}
}

// behind gives what the RIB has within a prefix and behind another, in order.
func (t *Table) behind(within, after netip.Prefix) iter.Seq2[netip.Prefix, layers] {
	roots := everything
	if within.IsValid() {
		roots = []netip.Prefix{within.Masked()}
	}
	return func(yield func(netip.Prefix, layers) bool) {
		for _, root := range roots {
			for p := range tails(root, after) {
				for q, l := range t.rib.Subnets(p) {
					if q != after && !yield(q, l) {
						return
					}
				}
			}
		}
	}
}

var everything = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// tails gives, in order, the disjoint prefixes whose subnets are those of root
// that come behind after: after itself, which precedes what is below it, and then
// at each bit on the way up to root the other branch, where it is the higher one.
// What covers after has come before it.
func tails(root, after netip.Prefix) iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		switch {
		case !after.IsValid() || precedes(after, root):
			yield(root)
			return
		case after.Addr().Is4() != root.Addr().Is4() || !root.Contains(after.Addr()):
			return // root has come before
		case !yield(after):
			return
		}
		addr := after.Addr().AsSlice()
		for bits := after.Bits(); bits > root.Bits(); bits-- {
			at, bit := (bits-1)/8, byte(0x80)>>((bits-1)%8)
			if addr[at]&bit != 0 {
				addr[at] &^= bit // a lower branch, whose other one has come before
				continue
			}
			addr[at] |= bit
			a, _ := netip.AddrFromSlice(addr)
			if !yield(netip.PrefixFrom(a, bits).Masked()) {
				return
			}
			addr[at] &^= bit
		}
	}
}

// precedes tells whether a comes before b in a listing.
func precedes(a, b netip.Prefix) bool {
	if c := a.Addr().Compare(b.Addr()); c != 0 { // IPv4 before IPv6
		return c < 0
	}
	return a.Bits() < b.Bits()
}

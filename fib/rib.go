package fib

import (
	"fmt"
	"net/netip"
	"slices"
)

// layers are the next hops that different origins want for one prefix. What is
// ours (local address, broadcast, connected subnet) wins over a configured
// route of equal length, and that over a learnt one. A neighbour is no route: it is here only while the
// longest of those says that its address is on the link, and refines that.
type layers struct {
	own, route, learned, neighbour NextHopID

	protocol uint8 // of learned, Route.Protocol
}

// best is the one that is painted, 0 when the prefix is empty.
func (l layers) best() NextHopID {
	if l.neighbour != 0 {
		return l.neighbour
	}
	return l.routed()
}

// routed is best without the neighbour.
func (l layers) routed() NextHopID {
	switch {
	case l.own != 0:
		return l.own
	case l.route != 0:
		return l.route
	}
	return l.learned
}

// set makes id the next hop of the origin that r has, and returns the one it had.
func (l *layers) set(r *Route, id NextHopID) (old NextHopID) {
	if !r.Learned {
		old, l.route = l.route, id
		return old
	}
	old, l.learned = l.learned, id
	if l.protocol = r.Protocol; id == 0 {
		l.protocol = 0
	}
	return old
}

// of is the next hop that one origin wants.
func (l layers) of(learned bool) NextHopID {
	if learned {
		return l.learned
	}
	return l.route
}

// keyOf is the trie's view of a prefix.
func keyOf(p netip.Prefix) (k key) {
	if p.Addr().Is4() {
		a := p.Addr().As4()
		copy(k.addr[:], a[:])
	} else {
		k.addr = p.Addr().As16()
	}
	k.bits = p.Bits()
	return k
}

func (t *Table) trieOf(p netip.Prefix) *trie {
	if p.Addr().Is4() {
		return &t.v4
	}
	return &t.v6
}

// hostPrefix is the /32 or /128 of an address.
func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// checkPrefix wants a prefix in canonical form: the RIB would quietly mask it,
// and an operator who writes 10.0.0.1/8 has mistaken something.
func checkPrefix(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return fmt.Errorf("%w: not a prefix", ErrPrefix)
	case p.Addr().Is4In6():
		return fmt.Errorf("%w: IPv4-mapped", ErrPrefix)
	case p != p.Masked():
		return fmt.Errorf("%w: bits are set below the length, %v is meant?", ErrPrefix, p.Masked())
	}
	return nil
}

// room is how many more prefixes of p's family the RIB takes.
func (t *Table) room(p netip.Prefix) int {
	if p.Addr().Is4() {
		return t.opts.MaxRoutes4 - t.rib.Size4()
	}
	return t.opts.MaxRoutes6 - t.rib.Size6()
}

// fullOf is the ErrFull of p's family.
func (t *Table) fullOf(p netip.Prefix) error {
	if p.Addr().Is4() {
		return full("IPv4 prefixes", t.opts.MaxRoutes4)
	}
	return full("IPv6 prefixes", t.opts.MaxRoutes6)
}

// setLayers makes l what the RIB has for p, which was old, and paints the
// difference. References are the caller's. Only a prefix that was empty can give
// ErrFull.
func (t *Table) setLayers(p netip.Prefix, old, l layers) error {
	if l == old {
		return nil
	}
	k, trie := keyOf(p), t.trieOf(p)
	switch id := l.best(); {
	case old.best() == 0:
		if t.room(p) <= 0 {
			return t.fullOf(p)
		}
		if err := trie.insert(&k, id); err != nil {
			return err
		}
	case id == 0:
		t.rib.Delete(p)
		t.countPrefixes()
		parent, bits := t.covering(p)
		trie.remove(&k, parent, bits, &t.grave)
		return nil
	case id != old.best():
		trie.replace(&k, id)
	}
	t.rib.Insert(p, l)
	t.countPrefixes()
	return nil
}

// countPrefixes notes for Stats how many there are.
func (t *Table) countPrefixes() {
	t.prefixes[0].Store(int32(t.rib.Size4()))
	t.prefixes[1].Store(int32(t.rib.Size6()))
}

// covering is the next hop and length of the longest prefix that covers p, which
// is not in the RIB itself. The default route is left to the trie.
func (t *Table) covering(p netip.Prefix) (NextHopID, int) {
	q, l, ok := t.rib.LookupPrefixLPM(p)
	if !ok || q.Bits() == 0 {
		return 0, 0
	}
	return l.best(), q.Bits()
}

// edit changes the layers of one prefix, and notes what hangs on it for
// settleHosts: the host routes of neighbours that the prefix hides or uncovers.
func (t *Table) edit(p netip.Prefix, change func(*layers)) error {
	before := t.onLink(p)
	old, _ := t.rib.Get(p)
	l := old
	change(&l)
	if err := t.setLayers(p, old, l); err != nil {
		return err
	}
	if t.hosts.Size() > 0 && (p.IsSingleIP() || before != 0 || t.onLink(p) != 0) {
		t.reviews = append(t.reviews, p)
	}
	return nil
}

// settleHosts reviews the host entries under the prefixes that changed. It comes
// after the last change of an operation: a host entry takes memory, and must not
// take what was counted for a route.
func (t *Table) settleHosts() {
	for i, p := range t.reviews {
		t.breathe(i)
		t.reviewHosts(p)
	}
	t.reviews = t.reviews[:0]
}

// onLink is the interface whose subnet p lies in by the longest match, 0 when it
// lies in none.
func (t *Table) onLink(p netip.Prefix) uint16 {
	if t.hosts.Size() == 0 {
		return 0
	}
	l, ok := t.rib.LookupPrefix(p)
	if !ok {
		return 0
	}
	if h := t.glean(l); h != nil {
		return h.iface
	}
	return 0
}

// glean is the next hop of l if its destinations are neighbours, nil otherwise.
func (t *Table) glean(l layers) *nextHop {
	if h := t.byID[l.routed()]; h != nil && h.key.kind == Glean {
		return h
	}
	return nil
}

// rank orders the claims that interfaces have on one prefix.
type rank uint8

const (
	rankScope     rank = iota + 1 // link-local space, never routed
	rankConnected                 // the subnet
	rankBroadcast                 // its first and last address
	rankLocal                     // our address
)

// claim is one interface address's wish for a prefix. Two addresses of a subnet
// both claim it, and it holds until both are gone.
type claim struct {
	rank    rank
	hop     NextHopID
	address netip.Prefix // whose claim it is
}

// addClaim installs a claim and takes over the reference in it, also when it
// fails.
func (t *Table) addClaim(p netip.Prefix, c claim) error {
	old := t.claims[p]
	err := t.setClaims(p, append(slices.Clip(old), c))
	if err != nil {
		t.release(c.hop)
	}
	return err
}

// dropClaim takes a claim and its reference back. That cannot fail.
func (t *Table) dropClaim(p netip.Prefix, c claim) {
	left := slices.Clone(t.claims[p])
	if i := slices.Index(left, c); i >= 0 {
		if t.setClaims(p, slices.Delete(left, i, i+1)) != nil {
			panic("fib: removing a claim needs no room")
		}
		t.release(c.hop)
	}
}

// setClaims makes the highest, among equals the earliest, claim the own layer.
func (t *Table) setClaims(p netip.Prefix, claims []claim) error {
	var top claim
	for _, c := range claims {
		if c.rank > top.rank {
			top = c
		}
	}
	if err := t.edit(p, func(l *layers) { l.own = top.hop }); err != nil {
		return err
	}
	if len(claims) == 0 {
		delete(t.claims, p)
	} else {
		t.claims[p] = claims
	}
	return nil
}

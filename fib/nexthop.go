package fib

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
)

// hopKey is what makes two next hops the same one. gw is invalid for anything
// but Forward.
type hopKey struct {
	kind  Kind   // Forward for a gateway or neighbour, resolved or not; Glean, Local, Broadcast
	iface uint16 // 0 with Forward: the one whose subnet has gw, whichever that is
	mtu   uint16 // of the route; 0: the interface's alone counts
	gw    netip.Addr
	owner netip.Prefix // the configured route that alone uses it, to be counted by itself; invalid: shared
}

// follows tells whether the interface is found by the gateway's subnet.
func (k hopKey) follows() bool { return k.kind == Forward && k.iface == 0 }

// nextHop is the control side of a NextHopID: shared by all routes, neighbours
// and groups that mean the same, and counted.
type nextHop struct {
	id    NextHopID
	key   hopKey
	iface uint16 // where it leads now: key's, or that of the gateway's subnet; 0 is none
	refs  int
	age   uint32
	line  uint32 // its own adjacency, kept while the slot points elsewhere
	group *group // Kind Group only
	in    map[*nextHop]struct{}

	viaAt, followAt int // its places in iface.via and Table.followers
}

// hopList is hops over one gateway, in no order. Each knows its place, to leave without being
// looked for: routes that are counted by themselves have a hop each, and may be many.
type hopList []*nextHop

// with adds a hop; at is where it notes its place.
func (l hopList) with(h *nextHop, at *int) hopList {
	*at = len(l)
	return append(l, h)
}

// without removes the hop whose place is at; note tells where a hop notes it.
func (l hopList) without(at int, note func(*nextHop) *int) hopList {
	last := len(l) - 1
	l[at] = l[last]
	*note(l[at]) = at
	l[last] = nil
	return l[:last]
}

func viaPlace(h *nextHop) *int    { return &h.viaAt }
func followPlace(h *nextHop) *int { return &h.followAt }

// sameWay tells whether packets go the same way by both, whoever counts them.
func (h *nextHop) sameWay(o *nextHop) bool {
	k := h.key
	k.owner, k.mtu = o.key.owner, o.key.mtu
	return k == o.key
}

// pathless are the kinds of next hops that no interface concerns.
func (k Kind) pathless() bool {
	return k == Blackhole || k == Unreachable || k == Prohibit || k == Punt
}

// fixed are the next hops without an object.
func (id NextHopID) fixed() bool { return id < fixedIDs }

// acquire takes a reference to the next hop of a key, made on first use.
func (t *Table) acquire(k hopKey) (NextHopID, error) {
	if h := t.hops[k]; h != nil {
		h.refs++
		return h.id, nil
	}
	h, err := t.newHop(k)
	if err != nil {
		return 0, err
	}
	t.hops[k] = h
	at := k.iface
	if k.follows() {
		at = t.home(k.gw)
		old, _ := t.followers.Get(hostPrefix(k.gw))
		t.followers.Insert(hostPrefix(k.gw), old.with(h, &h.followAt))
	}
	t.attach(h, at)
	t.adjacencies[h.line] = t.build(h)
	t.point(h)
	return h.id, nil
}

// newHop takes an ID and an adjacency line, with one reference.
func (t *Table) newHop(k hopKey) (*nextHop, error) {
	id, ok := t.ids.take()
	if !ok {
		return nil, full("next hops", t.opts.NextHops)
	}
	line, ok := t.takeLine()
	if !ok {
		t.ids.give(id)
		return nil, t.linesFull()
	}
	t.age++
	h := &nextHop{id: NextHopID(id), key: k, refs: 1, age: t.age, line: line}
	t.byID[h.id] = h
	return h, nil
}

// takeLine takes an adjacency line, and tells the workers how far the lines reach.
func (t *Table) takeLine() (line uint32, ok bool) {
	if line, ok = t.lines.take(); ok && line >= t.reach.Load() {
		t.reach.Store(line + 1)
	}
	return line, ok
}

// linesFull is the ErrFull of adjacencies, of which there are two for each next
// hop: one to serve and one to wait for the epoch.
func (t *Table) linesFull() error { return full("adjacencies", 2*t.opts.NextHops) }

// release gives a reference back. The last one retires ID and adjacency; no
// route and no bucket leads there any more.
func (t *Table) release(id NextHopID) {
	if id.fixed() {
		return
	}
	h := t.byID[id]
	if h.refs--; h.refs > 0 {
		return
	}
	delete(t.byID, id)
	t.grave.bury(&t.ids, uint32(id))
	t.grave.bury(&t.lines, h.line)
	if h.group != nil {
		t.dissolve(h)
		return
	}
	delete(t.hops, h.key)
	if h.key.follows() {
		t.unfollow(h)
	}
	t.attach(h, 0)
}

// usable tells whether packets can go to the hop: its interface is there and up.
// What is ours stays ours when the link goes (RFC 1122 3.3.4.2, weak model).
func (t *Table) usable(h *nextHop) bool {
	if h.group != nil {
		return h.group.live > 0
	}
	if h.key.kind.pathless() {
		return true
	}
	i := t.ifaces[h.iface]
	if i == nil {
		return false
	}
	switch h.key.kind {
	case Local, Broadcast:
		return i.present
	}
	return i.present && i.up
}

// point makes the ID answer with its own adjacency or, while the hop is not
// usable, as unreachable. The store publishes the adjacency written before it.
func (t *Table) point(h *nextHop) {
	line := uint32(UnreachableID)
	if t.usable(h) {
		line = h.line
	}
	atomic.StoreUint32(&t.slots[h.id], line)
}

// refreshAll is refresh of all the hops, or of none with ErrFull.
func (t *Table) refreshAll(hops []*nextHop) error {
	if len(hops) > t.lines.available() {
		return t.linesFull()
	}
	for _, h := range hops {
		if err := t.refresh(h); err != nil {
			return err
		}
	}
	return nil
}

// refresh publishes what is known of the hop now in a new adjacency and retires
// the old one: all routes over it follow at once. ErrFull leaves the old one.
func (t *Table) refresh(h *nextHop) error {
	line, ok := t.takeLine()
	if !ok {
		return t.linesFull()
	}
	t.adjacencies[line] = t.build(h)
	old := h.line
	h.line = line
	t.point(h)
	t.grave.bury(&t.lines, old)
	return nil
}

// build is the adjacency of a hop as interface and neighbour are now.
func (t *Table) build(h *nextHop) Adjacency {
	k := h.key
	if h.group != nil {
		return Adjacency{Kind: Group, ID: h.id, age: h.age, bucket: h.group.first}
	}
	i := t.ifaces[h.iface]
	if i == nil { // of a kind without a path, or point sees to it that nobody finds it
		return Adjacency{Kind: k.kind, ID: h.id, age: h.age}
	}
	a := Adjacency{Kind: k.kind, ID: h.id, age: h.age, Iface: h.iface, MTUBytes: uint16(i.MTUBytes), L2Len: l2Untagged}
	if k.mtu != 0 {
		a.MTUBytes = min(a.MTUBytes, k.mtu)
	}
	copy(a.L2[6:], i.MAC[:])
	if i.VLAN != 0 {
		a.L2Len = l2Tagged
		binary.BigEndian.PutUint16(a.L2[12:], tpid8021Q)
		binary.BigEndian.PutUint16(a.L2[14:], i.VLAN)
	}
	if k.gw.Is4() {
		a.Family = 4
	} else if k.gw.Is6() {
		a.Family = 6
	}
	copy(a.gateway[:], k.gw.AsSlice())
	if k.kind == Forward {
		mac, known := i.neighbours[k.gw]
		if !known {
			a.Kind = Glean
		}
		copy(a.L2[:6], mac[:])
	}
	return a
}

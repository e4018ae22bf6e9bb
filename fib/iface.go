package fib

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
)

// Interface is what next hops need to know of an egress interface.
type Interface struct {
	Index    uint16 // from 1; 0 means "none" everywhere
	MAC      MAC    // source of what we send
	VLAN     uint16 // ID of the 802.1Q tag we send with, 1 to 4094; 0: untagged
	MTUBytes int    // largest network packet: 68 (RFC 791) to 65535
}

// iface is the control side of an interface. It outlives RemoveInterface while
// hops still name it, and is unusable then.
type iface struct {
	Interface
	present    bool
	up         bool
	hops       map[*nextHop]struct{}
	via        map[netip.Addr]hopList // the Forward ones among hops, by gateway
	neighbours map[netip.Addr]MAC
	addresses  []netip.Prefix
}

func (i Interface) validate() error {
	switch {
	case i.Index == 0:
		return fmt.Errorf("%w: index 0 means none", ErrInterface)
	case i.VLAN > 4094:
		return fmt.Errorf("%w: vlan %d is not in 1..4094", ErrInterface, i.VLAN)
	case i.MTUBytes < 68 || i.MTUBytes > 65535:
		return fmt.Errorf("%w: mtu %d is not in 68..65535", ErrInterface, i.MTUBytes)
	}
	return nil
}

// SetInterface adds an interface, up, or changes MAC, tag and MTU of one that is
// there: its adjacencies follow, no route is touched. Errors wrap ErrInterface
// or ErrFull.
func (t *Table) SetInterface(in Interface) error {
	t.begin()
	defer t.commit()
	if err := in.validate(); err != nil {
		return fmt.Errorf("fib: interface %d: %w", in.Index, err)
	}
	i := t.ifaces[in.Index]
	switch {
	case i == nil:
		i = newIface()
		t.ifaces[in.Index] = i
	case i.present && i.Interface == in:
		return nil
	case len(i.hops) > t.lines.available():
		return fmt.Errorf("fib: interface %d: %w", in.Index, t.linesFull())
	}
	if !i.present {
		i.present, i.up = true, true
		t.SetCarrier(in.Index, true)
	}
	i.Interface = in
	if err := t.refreshAll(slices.Collect(maps.Keys(i.hops))); err != nil {
		return fmt.Errorf("fib: interface %d: %w", in.Index, err)
	}
	t.repoint(i)
	return nil
}

// RemoveInterface takes an interface with its addresses and neighbours away.
// Routes over it stay, unreachable, until they are deleted; a new interface of
// the same index, or the subnet of their gateway, revives them. Errors wrap
// ErrNoInterface or ErrFull.
func (t *Table) RemoveInterface(ifIndex uint16) error {
	t.begin()
	defer t.commit()
	i, err := t.iface(ifIndex)
	if err != nil {
		return err
	}
	if err := t.roomToFollow(i.addresses); err != nil {
		return fmt.Errorf("fib: interface %d: %w", ifIndex, err)
	}
	for _, a := range i.addresses {
		t.dropAddress(i, a)
	}
	i.addresses = nil
	for _, addr := range slices.Collect(maps.Keys(i.neighbours)) {
		t.forget(i, addr)
	}
	i.present, i.up = false, false
	t.repoint(i)
	t.discard(i)
	return nil
}

func newIface() *iface {
	return &iface{hops: map[*nextHop]struct{}{}, via: map[netip.Addr]hopList{}, neighbours: map[netip.Addr]MAC{}}
}

// discard forgets an interface that is gone and that no hop names any more.
func (t *Table) discard(i *iface) {
	if !i.present && len(i.hops) == 0 {
		delete(t.ifaces, i.Index)
	}
}

// SetLink tells whether an interface can send. Its next hops turn unreachable or
// come back, and ECMP groups move the buckets concerned, whatever the number of
// routes; our addresses on it stay ours. Errors wrap ErrNoInterface.
// Source: FF-16.
func (t *Table) SetLink(ifIndex uint16, up bool) error {
	t.begin()
	defer t.commit()
	i, err := t.iface(ifIndex)
	if err != nil {
		return err
	}
	i.up = up
	t.SetCarrier(ifIndex, up)
	t.repoint(i)
	return nil
}

// repoint makes every hop of the interface, and every group one is in, answer by
// the interface's state. It takes no memory and cannot fail.
func (t *Table) repoint(i *iface) {
	for h := range i.hops {
		t.point(h)
	}
	t.rebalanceOf(maps.Keys(i.hops))
}

// rebalanceOf rebalances every group that one of the hops is in, once.
func (t *Table) rebalanceOf(hops iter.Seq[*nextHop]) {
	groups := map[*nextHop]struct{}{}
	for h := range hops {
		maps.Copy(groups, h.in)
	}
	for h := range groups {
		t.rebalance(h)
	}
}

func (t *Table) iface(ifIndex uint16) (*iface, error) {
	if i := t.ifaces[ifIndex]; i != nil && i.present {
		return i, nil
	}
	return nil, fmt.Errorf("fib: interface %d: %w", ifIndex, ErrNoInterface)
}

// AddAddress gives an interface an address with its subnet: a local entry for
// the address, the connected subnet, and what else of the subnet is not a host.
// They win over configured routes of equal length, and routes whose gateway is in
// the subnet and that name no interface go there. Errors wrap ErrNoInterface,
// ErrPrefix, ErrExists or ErrFull. Source: FF-5.
func (t *Table) AddAddress(ifIndex uint16, address netip.Prefix) error {
	t.begin()
	defer t.commit()
	i, err := t.iface(ifIndex)
	if err != nil {
		return err
	}
	if err := t.addAddress(i, address); err != nil {
		return fmt.Errorf("fib: interface %d: address %v: %w", ifIndex, address, err)
	}
	return nil
}

func (t *Table) addAddress(i *iface, address netip.Prefix) error {
	a := address.Addr()
	switch {
	case !address.IsValid() || a.Is4In6() || a.IsUnspecified() || a.IsMulticast():
		return fmt.Errorf("%w: not an address of a host", ErrPrefix)
	case address.Bits() == 0:
		return fmt.Errorf("%w: a subnet of everything", ErrPrefix)
	case slices.Contains(i.addresses, address):
		return ErrExists
	}
	entries := entriesOf(i.Index, address)
	undo := func(n int, err error) error {
		for _, done := range entries[:n] {
			t.uninstall(done)
		}
		return err
	}
	for n, e := range entries {
		if err := t.install(e); err != nil {
			return undo(n, err)
		}
	}
	if err := t.roomToFollow([]netip.Prefix{address}); err != nil {
		return undo(len(entries), err)
	}
	i.addresses = append(i.addresses, address)
	t.follow(address)
	return nil
}

// RemoveAddress undoes AddAddress. Routes whose gateway was in the subnet and that
// name no interface go where another subnet has the gateway, and are unreachable
// while none has. Errors wrap ErrNoInterface, ErrNotFound or ErrFull.
func (t *Table) RemoveAddress(ifIndex uint16, address netip.Prefix) error {
	t.begin()
	defer t.commit()
	i, err := t.iface(ifIndex)
	if err != nil {
		return err
	}
	n := slices.Index(i.addresses, address)
	if n < 0 {
		return fmt.Errorf("fib: interface %d: address %v: %w", ifIndex, address, ErrNotFound)
	}
	if err := t.roomToFollow([]netip.Prefix{address}); err != nil {
		return fmt.Errorf("fib: interface %d: address %v: %w", ifIndex, address, err)
	}
	i.addresses = slices.Delete(i.addresses, n, n+1)
	t.dropAddress(i, address)
	return nil
}

func (t *Table) dropAddress(i *iface, address netip.Prefix) {
	for _, e := range entriesOf(i.Index, address) {
		t.uninstall(e)
	}
	t.follow(address)
}

// ownEntry is one prefix that an interface address brings.
type ownEntry struct {
	prefix  netip.Prefix
	rank    rank
	key     hopKey // kind Blackhole: the fixed next hop
	address netip.Prefix
}

// entriesOf lists what an address brings.
//
// The last address of an IPv4 subnet is its broadcast, unless it is a /31 (RFC 3021)
// or /32. The first is a host's like any other: the custom of 4.2BSD, which RFC 1812
// 5.3.5 lets a router have or not, is dead, and Linux does without since 5.14. The first
// of an IPv6 subnet is the routers' anycast address, ours too (RFC 4291 2.6.1), unless
// it is a /127 (RFC 6164) or /128. IPv6 link-local space is on every link and
// must not be forwarded (RFC 4291 2.5.6), so that nothing of it is routed but
// our own address.
func entriesOf(ifIndex uint16, address netip.Prefix) []ownEntry {
	a, subnet := address.Addr(), address.Masked()
	own := func(kind Kind) hopKey { return hopKey{kind: kind, iface: ifIndex} }
	out := []ownEntry{{hostPrefix(a), rankLocal, own(Local), address}}
	if a.Is6() && a.IsLinkLocalUnicast() {
		return append(out, ownEntry{linkLocal6, rankScope, own(Blackhole), address})
	}
	if address.IsSingleIP() {
		return out
	}
	out = append(out, ownEntry{subnet, rankConnected, own(Glean), address})
	if address.Bits() == a.BitLen()-1 {
		return out
	}
	if a.Is6() {
		return append(out, ownEntry{hostPrefix(subnet.Addr()), rankLocal, own(Local), address})
	}
	return append(out, ownEntry{hostPrefix(lastAddr(subnet)), rankBroadcast, own(Broadcast), address})
}

// PrefixesOf lists the prefixes that an address of an interface brings, see AddAddress.
func PrefixesOf(address netip.Prefix) (list []netip.Prefix) {
	for _, e := range entriesOf(0, address) {
		list = append(list, e.prefix)
	}
	return list
}

var linkLocal6 = netip.MustParsePrefix("fe80::/10")

// lastAddr is the highest address of an IPv4 prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(a)
}

func (t *Table) install(e ownEntry) error {
	id := BlackholeID
	if e.key.kind != Blackhole {
		var err error
		if id, err = t.acquire(e.key); err != nil {
			return err
		}
	}
	if err := t.addClaim(e.prefix, claim{e.rank, id, e.address}); err != nil {
		return err
	}
	if e.rank == rankConnected {
		t.connected.Insert(e.prefix)
	}
	return nil
}

func (t *Table) uninstall(e ownEntry) {
	id := BlackholeID
	if e.key.kind != Blackhole {
		id = t.hops[e.key].id
	}
	t.dropClaim(e.prefix, claim{e.rank, id, e.address})
	if e.rank == rankConnected && !slices.ContainsFunc(t.claims[e.prefix], isConnected) {
		t.connected.Delete(e.prefix)
	}
}

func isConnected(c claim) bool { return c.rank == rankConnected }

package fib

import (
	"fmt"
	"net/netip"
	"slices"
)

// checkGateway says what is wrong with the gateway of a hop: it must be a host
// other than us, and on a link that is named or connected now.
func (t *Table) checkGateway(p netip.Prefix, h *Hop) error {
	switch {
	case !isHost(h.Via):
		return fmt.Errorf("%w: not an address of a host", ErrGateway)
	case p.Addr().Is6() && h.Via.Is4():
		return fmt.Errorf("%w: IPv4 for a route to IPv6", ErrGateway)
	case t.ours(h.Via):
		return fmt.Errorf("%w: it is our own or a broadcast address", ErrGateway)
	case h.Iface != 0:
		if _, err := t.iface(h.Iface); err != nil {
			return fmt.Errorf("on interface %d: %w", h.Iface, ErrNoInterface)
		}
	case t.home(h.Via) == 0:
		return fmt.Errorf("%w: it is on no connected subnet and no interface is given", ErrGateway)
	}
	return nil
}

// ours tells whether an address is one of our own or a broadcast address.
func (t *Table) ours(a netip.Addr) bool {
	return slices.ContainsFunc(t.claims[hostPrefix(a)], func(c claim) bool { return c.rank >= rankBroadcast })
}

// home is the interface whose subnet has a gateway, by the longest match, 0 when
// none has or when the address has become ours.
func (t *Table) home(gw netip.Addr) uint16 {
	subnet, ok := t.connected.LookupPrefixLPM(hostPrefix(gw))
	if !ok || t.ours(gw) {
		return 0
	}
	claims := t.claims[subnet]
	return t.byID[claims[slices.IndexFunc(claims, isConnected)].hop].iface
}

// attach makes ifIndex the interface a hop leads to, 0 for none.
func (t *Table) attach(h *nextHop, ifIndex uint16) {
	if i := t.ifaces[h.iface]; i != nil {
		delete(i.hops, h)
		if h.key.kind == Forward {
			left := i.via[h.key.gw].without(h.viaAt, viaPlace)
			if i.via[h.key.gw] = left; len(left) == 0 {
				delete(i.via, h.key.gw)
			}
		}
		t.discard(i)
	}
	h.iface = ifIndex
	if i := t.ifaces[ifIndex]; i != nil {
		i.hops[h] = struct{}{}
		if h.key.kind == Forward {
			i.via[h.key.gw] = i.via[h.key.gw].with(h, &h.viaAt)
		}
	}
}

// unfollow forgets a hop that follows its gateway's subnet.
func (t *Table) unfollow(h *nextHop) {
	at := hostPrefix(h.key.gw)
	all, _ := t.followers.Get(at)
	left := all.without(h.followAt, followPlace)
	if len(left) == 0 {
		t.followers.Delete(at)
	} else {
		t.followers.Insert(at, left)
	}
}

// roomToFollow tells whether all hops that follow a gateway in one of the
// addresses' subnets can be given new adjacencies.
func (t *Table) roomToFollow(addresses []netip.Prefix) error {
	n := 0
	for _, a := range addresses {
		for _, hops := range t.followers.Subnets(a.Masked()) {
			n += len(hops)
		}
	}
	if n > t.lines.available() {
		return t.linesFull()
	}
	return nil
}

// follow takes the hops whose gateway is in the subnet of an address that came or
// went to the interface that has the gateway now, whatever the number of routes
// over them. The caller has asked roomToFollow.
func (t *Table) follow(address netip.Prefix) {
	var moved []*nextHop
	for _, hops := range t.followers.Subnets(address.Masked()) {
		for _, h := range hops {
			if t.home(h.key.gw) != h.iface {
				moved = append(moved, h)
			}
		}
	}
	for _, h := range moved {
		t.attach(h, t.home(h.key.gw))
		if h.iface == 0 {
			t.point(h)
		} else if err := t.refresh(h); err != nil {
			panic("fib: no adjacency left although they were counted")
		}
	}
	t.rebalanceOf(slices.Values(moved))
}

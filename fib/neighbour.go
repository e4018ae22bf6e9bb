package fib

import (
	"fmt"
	"net/netip"
	"slices"
)

// SetNeighbour says that addr on an interface has this MAC: the adjacency of
// the neighbour changes under every route that uses it as gateway, by one store,
// and an address inside the interface's subnet becomes a host entry that
// forwards. Errors wrap ErrNoInterface, ErrPrefix or ErrFull.
func (t *Table) SetNeighbour(ifIndex uint16, addr netip.Addr, mac MAC) error {
	t.begin()
	defer t.commit()
	if err := t.setNeighbour(ifIndex, addr, mac); err != nil {
		return fmt.Errorf("fib: neighbour %v on interface %d: %w", addr, ifIndex, err)
	}
	return nil
}

func (t *Table) setNeighbour(ifIndex uint16, addr netip.Addr, mac MAC) error {
	i := t.ifaces[ifIndex]
	if i == nil || !i.present {
		return ErrNoInterface
	}
	if !isHost(addr) {
		return fmt.Errorf("%w: not an address of a host", ErrPrefix)
	}
	old, known := i.neighbours[addr]
	if known && old == mac {
		return nil
	}
	i.neighbours[addr] = mac
	if err := t.refreshAll(i.via[addr]); err != nil {
		if known {
			i.neighbours[addr] = old
		} else {
			delete(i.neighbours, addr)
		}
		return err
	}
	if known {
		return nil
	}
	host := hostPrefix(addr)
	n, _ := t.hosts.Get(host)
	t.hosts.Insert(host, n+1)
	if err := t.reviewHost(host); err != nil {
		t.forget(i, addr)
		return err
	}
	return nil
}

// DeleteNeighbour says that the MAC of addr is not known any more. Routes over
// it ask for it again (Glean). Errors wrap ErrNoInterface, ErrNotFound or
// ErrFull, after which the old MAC still serves.
func (t *Table) DeleteNeighbour(ifIndex uint16, addr netip.Addr) error {
	t.begin()
	defer t.commit()
	i, err := t.iface(ifIndex)
	if err != nil {
		return err
	}
	mac, known := i.neighbours[addr]
	if !known {
		return fmt.Errorf("fib: neighbour %v on interface %d: %w", addr, ifIndex, ErrNotFound)
	}
	delete(i.neighbours, addr)
	if err := t.refreshAll(t.outliving(i, addr)); err != nil {
		i.neighbours[addr] = mac
		return fmt.Errorf("fib: neighbour %v on interface %d: %w", addr, ifIndex, err)
	}
	t.dropHost(addr)
	return nil
}

// outliving are the hops via addr that more than the neighbour's own host entry
// refers to.
func (t *Table) outliving(i *iface, addr netip.Addr) []*nextHop {
	l, _ := t.rib.Get(hostPrefix(addr))
	own := t.byID[l.neighbour]
	if own == nil || own.refs > 1 || !slices.Contains(i.via[addr], own) {
		return i.via[addr]
	}
	return slices.DeleteFunc(slices.Clone(i.via[addr]), func(h *nextHop) bool { return h == own })
}

// forget is DeleteNeighbour for an interface that is going, where a stale
// adjacency does no harm: it turns unreachable.
func (t *Table) forget(i *iface, addr netip.Addr) {
	delete(i.neighbours, addr)
	t.dropHost(addr)
	_ = t.refreshAll(i.via[addr]) // ErrFull: SetInterface builds them anew before they are used
}

// dropHost takes one interface's word for a neighbour out of the count.
func (t *Table) dropHost(addr netip.Addr) {
	host := hostPrefix(addr)
	if n, _ := t.hosts.Get(host); n > 1 {
		t.hosts.Insert(host, n-1)
	} else {
		t.hosts.Delete(host)
	}
	_ = t.reviewHost(host) // ErrFull: another interface's word for it finds no room either
}

// reviewHosts looks again at the neighbours within p after p's route changed.
// A host entry that has no room is left out: its subnet's glean entry answers.
func (t *Table) reviewHosts(p netip.Prefix) {
	var hosts []netip.Prefix
	for h := range t.hosts.Subnets(p) {
		hosts = append(hosts, h)
	}
	for _, h := range hosts {
		_ = t.reviewHost(h)
	}
}

// reviewHost gives a neighbour its host entry if the longest route to it, not
// counting neighbours, is the subnet of an interface that knows it, and takes it
// away otherwise: a neighbour must not attract what a route sends elsewhere.
// After ErrFull it has none.
func (t *Table) reviewHost(host netip.Prefix) error {
	old, _ := t.rib.Get(host)
	want, full := t.neighbourHop(t.subnetOf(host, old), host.Addr())
	l := old
	l.neighbour = want
	if err := t.setLayers(host, old, l); err != nil {
		t.release(want)
		return err
	}
	t.release(old.neighbour)
	return full
}

// neighbourHop takes a reference to the next hop of a neighbour that is on link by
// another, whose MTU is the neighbour's too; 0 if the interface does not know it.
func (t *Table) neighbourHop(by *nextHop, addr netip.Addr) (NextHopID, error) {
	if by == nil {
		return 0, nil
	}
	i := t.ifaces[by.iface]
	if i == nil || !i.present {
		return 0, nil
	}
	if _, known := i.neighbours[addr]; !known {
		return 0, nil
	}
	return t.acquire(hopKey{kind: Forward, iface: by.iface, mtu: by.key.mtu, gw: addr})
}

// subnetOf is the next hop by which a host is a neighbour, that of its longest
// route, nil when there is none.
func (t *Table) subnetOf(host netip.Prefix, l layers) *nextHop {
	if l.routed() != 0 {
		return t.glean(l)
	}
	for p, l := range t.rib.Supernets(host) { // longest first
		if p != host {
			return t.glean(l)
		}
	}
	return nil
}

// isHost tells whether an address can be a neighbour's or a gateway's.
func isHost(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}

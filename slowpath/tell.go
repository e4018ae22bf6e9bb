package slowpath

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ToldRoute is a configured route that the kernel is told too: it answers hosts
// behind it, and forwards what is punted.
type ToldRoute struct {
	Table  int // of the kernel
	Prefix netip.Prefix
	Hops   []ToldHop
}

// ToldHop is one next hop of a ToldRoute, by the twin of an interface.
type ToldHop struct {
	Via    netip.Addr // zero: on link
	Iface  uint16     // 0: the one whose subnet has Via
	Weight int        // 1 to 256
}

// ToldNeighbour is a configured neighbour that the kernel is told too: it may be
// one that answers nobody.
type ToldNeighbour struct {
	Iface uint16
	Addr  netip.Addr
	MAC   [6]byte
}

// fact is a route or a neighbour. It is done for the kernel of a handle; index
// gives the kernel's index of an interface's twin, 0 while it is gone.
type fact interface {
	add(h *netlink.Handle, index func(iface uint16) int) error
	remove(h *netlink.Handle, index func(iface uint16) int) error
	uses(iface uint16) bool
}

// factKey tells what the kernel can have only one of: a prefix in a table, or an
// address on an interface.
type factKey struct {
	table  int
	prefix netip.Prefix
	iface  uint16
}

// teller tells the kernel what the configuration has. It works in the background,
// because there may be much of it and each fact takes a system call, and tells
// it again to a twin that was made again, with which the kernel forgot it.
type teller struct {
	ns    *Netns
	index func(iface uint16) int
	log   *slog.Logger
	bell  chan struct{}

	mu   sync.Mutex
	want map[factKey]fact
	told map[factKey]fact // what the kernel has of it, or had
	last string           // the failure that was logged last
}

func newTeller(ns *Netns, index func(uint16) int, log *slog.Logger) *teller {
	return &teller{ns: ns, index: index, log: log, bell: make(chan struct{}, 1), told: map[factKey]fact{}}
}

// Tell makes the kernel have these routes and neighbours, and none that an earlier
// call gave and this one does not. It returns at once.
func (s *SlowPath) Tell(routes []ToldRoute, neighbours []ToldNeighbour) {
	want := make(map[factKey]fact, len(routes)+len(neighbours))
	for i := range routes {
		r := &routes[i]
		want[factKey{table: r.Table, prefix: r.Prefix}] = r
	}
	for i := range neighbours {
		n := &neighbours[i]
		want[factKey{prefix: netip.PrefixFrom(n.Addr, n.Addr.BitLen()), iface: n.Iface}] = n
	}
	s.teller.mu.Lock()
	s.teller.want = want
	s.teller.mu.Unlock()
	s.teller.ring()
}

func (t *teller) ring() {
	select {
	case t.bell <- struct{}{}:
	default: // rung already
	}
}

// forget notes that the kernel forgot what went by a twin.
func (t *teller) forget(iface uint16) {
	t.mu.Lock()
	maps.DeleteFunc(t.told, func(_ factKey, f fact) bool { return f.uses(iface) })
	t.mu.Unlock()
	t.ring()
}

// run tells until ctx ends. What was told goes with the twins.
func (t *teller) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.bell:
			t.report(t.catchUp(ctx))
		}
	}
}

// report logs a failure once: it is tried again with whatever comes next.
func (t *teller) report(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != t.last {
		t.log.Warn("the kernel does not take all of the configuration", "error", err)
	}
	t.last = text
}

// catchUp tells the kernel what it has not been told, and returns the first thing
// that it did not take.
func (t *teller) catchUp(ctx context.Context) error {
	h, err := t.ns.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	var failed error
	note := func(key factKey, f fact, err error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		switch {
		case err != nil && failed == nil:
			failed = err
		case err == nil && f == nil:
			delete(t.told, key)
		case err == nil:
			t.told[key] = f
		}
	}
	t.mu.Lock()
	want, told := t.want, maps.Clone(t.told)
	t.mu.Unlock()
	for key, f := range told { // first: an address may move to another twin
		if _, stays := want[key]; !stays && ctx.Err() == nil {
			err := f.remove(h, t.index)
			if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
				err = nil // gone already
			}
			note(key, nil, err)
		}
	}
	for key, f := range want {
		if told[key] != f && ctx.Err() == nil {
			note(key, f, f.add(h, t.index))
		}
	}
	return failed
}

// RouteProtocol is the origin by which our routes are known in the kernel
// (rtm_protocol of rtnetlink(7)); no routing daemon uses the number.
const RouteProtocol = 102

// toldMetric lets a configured route win over those of routing daemons, as it does
// in the fast path, and lose against one that the operator gave the kernel.
const toldMetric = 1

func (r *ToldRoute) uses(iface uint16) bool {
	for i := range r.Hops {
		if of := r.Hops[i].Iface; of == iface || of == 0 {
			return true
		}
	}
	return false
}

// netlink translates the route. A hop by a twin that is gone is left out; it is
// told again when the twin is back.
func (r *ToldRoute) netlink(index func(uint16) int) *netlink.Route {
	out := &netlink.Route{Dst: ipNet(r.Prefix), Table: r.Table, Protocol: RouteProtocol, Priority: toldMetric}
	for _, hop := range r.Hops {
		n := &netlink.NexthopInfo{Hops: hop.Weight - 1}
		if hop.Iface != 0 {
			n.Flags = int(netlink.FLAG_ONLINK)
			if n.LinkIndex = index(hop.Iface); n.LinkIndex == 0 {
				continue
			}
		}
		switch {
		case !hop.Via.IsValid():
			n.Flags = 0
		case hop.Via.Is4() == r.Prefix.Addr().Is4():
			n.Gw = hop.Via.AsSlice()
		default:
			n.Via = &netlink.Via{AddrFamily: familyOf(hop.Via), Addr: hop.Via.AsSlice()}
		}
		out.MultiPath = append(out.MultiPath, n)
	}
	if len(out.MultiPath) == 1 {
		n := out.MultiPath[0]
		out.LinkIndex, out.Gw, out.Via, out.Flags, out.MultiPath = n.LinkIndex, n.Gw, n.Via, n.Flags, nil
		if n.Gw == nil && n.Via == nil && r.Prefix.Addr().Is4() {
			out.Scope = netlink.SCOPE_LINK
		}
	}
	return out
}

func (r *ToldRoute) add(h *netlink.Handle, index func(uint16) int) error {
	out := r.netlink(index)
	if out.LinkIndex == 0 && out.Gw == nil && out.Via == nil && out.MultiPath == nil {
		return nil // every twin is gone
	}
	if err := h.RouteReplace(out); err != nil {
		return fmt.Errorf("route %s: %w", r.Prefix, err)
	}
	return nil
}

func (r *ToldRoute) remove(h *netlink.Handle, _ func(uint16) int) error {
	err := h.RouteDel(&netlink.Route{
		Dst: ipNet(r.Prefix), Table: r.Table, Protocol: RouteProtocol, Priority: toldMetric,
		Scope: netlink.SCOPE_NOWHERE, // whatever its scope
	})
	if err != nil {
		return fmt.Errorf("remove route %s: %w", r.Prefix, err)
	}
	return nil
}

func (n *ToldNeighbour) uses(iface uint16) bool { return n.Iface == iface }

func (n *ToldNeighbour) netlink(index func(uint16) int) *netlink.Neigh {
	return &netlink.Neigh{
		LinkIndex: index(n.Iface), Family: familyOf(n.Addr), State: netlink.NUD_PERMANENT,
		IP: n.Addr.AsSlice(), HardwareAddr: n.MAC[:],
	}
}

func (n *ToldNeighbour) add(h *netlink.Handle, index func(uint16) int) error {
	if err := h.NeighSet(n.netlink(index)); err != nil {
		return fmt.Errorf("neighbour %s: %w", n.Addr, err)
	}
	return nil
}

func (n *ToldNeighbour) remove(h *netlink.Handle, index func(uint16) int) error {
	if err := h.NeighDel(n.netlink(index)); err != nil {
		return fmt.Errorf("remove neighbour %s: %w", n.Addr, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

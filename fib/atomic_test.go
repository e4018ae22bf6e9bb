package fib

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"testing"
)

// exact is the bounds that a table needs for what it holds and no more, but for
// spare groups and prefixes.
func exact(tab *Table, o Options, spareGroups, sparePrefixes int) Options {
	s := tab.Stats()
	o.Groups4, o.MaxRoutes4 = s.Groups4+spareGroups, s.Prefixes4+sparePrefixes
	return o
}

// A batch that fits is applied whole although the neighbours it uncovers would
// take what was counted for it; a neighbour without room is answered by its
// subnet.
func TestBatchAtTheBoundIsAllOrNone(t *testing.T) { // FF-5
	const hidden = 4 // neighbours behind a route that the batch replaces
	batch := func() []Update {
		updates := []Update{{Route: Route{Prefix: pfx("192.0.2.0/25"), Hops: []Hop{{Iface: 1}}}}}
		for i := range 3 {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 25)
			updates = append(updates, Update{Route: Route{Prefix: p, Type: RouteBlackhole}})
		}
		return updates
	}
	fill := func(t *testing.T, o Options) *Table {
		tab := newTable(t, o)
		must(t, tab.SetInterface(Interface{Index: 1, MAC: macA, MTUBytes: 1500}),
			tab.AddAddress(1, pfx("192.0.2.1/24")),
			tab.Add(Route{Prefix: pfx("192.0.2.0/25"), Type: RouteBlackhole}))
		for i := range hidden {
			must(t, tab.SetNeighbour(1, netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}), macN))
		}
		return tab
	}
	base := fill(t, small())
	for spare := range 6 {
		for _, bound := range []string{"prefixes", "groups"} {
			t.Run(fmt.Sprintf("%s/spare=%d", bound, spare), func(t *testing.T) {
				o := exact(base, small(), spare, 1000)
				if bound == "prefixes" {
					o = exact(base, small(), 1000, spare)
				}
				tab := fill(t, o)
				before := picture(tab)
				err := tab.Apply(batch())
				if spare < 3 {
					if after := picture(tab); !errors.Is(err, ErrFull) || !maps.Equal(before, after) {
						t.Fatalf("%v, want ErrFull and nothing changed:\n%v\n%v", err, before, after)
					}
					return
				}
				must(t, err)
				for i := range 3 {
					if k := adj(tab, fmt.Sprintf("10.%d.0.1", i)).Kind; k != Blackhole {
						t.Errorf("route %d of the batch: %v", i, k)
					}
				}
				forwarded := 0
				for i := range hidden {
					switch k := adj(tab, fmt.Sprintf("192.0.2.%d", 10+i)).Kind; k {
					case Forward:
						forwarded++
					case Glean:
					default:
						t.Errorf("neighbour %d: %v", i, k)
					}
				}
				if want := min(hidden, spare-3); bound == "prefixes" && forwarded != want {
					t.Errorf("%d neighbours have entries, want %d", forwarded, want)
				}
			})
		}
	}
}

// An interface changes whole or not at all when adjacencies are short.
func TestInterfaceChangeIsAllOrNone(t *testing.T) {
	late := &lateRetirer{}
	o := small()
	o.NextHops, o.Retirer = 24, late
	tab := newTable(t, o)
	late.table = tab
	worker := late.join() // holds everything back
	must(t, tab.SetInterface(Interface{Index: 1, MAC: macA, MTUBytes: 1500}), tab.AddAddress(1, pfx("192.0.2.1/24")))
	for i := range 10 {
		must(t, tab.SetNeighbour(1, netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}), macN))
	}
	mtus := func() (at [10]uint16) {
		for i := range at {
			at[i] = adj(tab, fmt.Sprintf("192.0.2.%d", 10+i)).MTUBytes
		}
		return at
	}
	mtu := 1500
	var err error
	for err == nil {
		before := mtus()
		if err = tab.SetInterface(Interface{Index: 1, MAC: macA, MTUBytes: mtu + 1}); err == nil {
			mtu++
			continue
		}
		if after := mtus(); !errors.Is(err, ErrFull) || after != before {
			t.Fatalf("%v, want ErrFull and %v, got %v", err, before, after)
		}
	}
	if mtu == 1500 {
		t.Error("never changed")
	}
	worker.quiescent()
	late.reclaim()
	must(t, tab.SetInterface(Interface{Index: 1, MAC: macA, MTUBytes: 68}))
	for i, got := range mtus() {
		if got != 68 {
			t.Errorf("neighbour %d: mtu %d", i, got)
		}
	}
}

// A route that names a gateway and no interface goes where the gateway's subnet
// is; one that names the interface stays.
func TestRoutesFollowTheirGatewaysSubnet(t *testing.T) {
	tab := twoPorts(t, small())
	gw := ip("192.0.2.9")
	must(t, tab.SetNeighbour(1, gw, macN), tab.SetNeighbour(2, gw, macM),
		tab.Add(Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Via: gw}}}),
		tab.Add(Route{Prefix: pfx("11.0.0.0/8"), Hops: []Hop{{Via: gw, Iface: 1}}}),
		tab.Add(Route{Prefix: pfx("12.0.0.0/8"), Hops: []Hop{{Via: gw}, {Via: ip("198.51.100.9")}}}))
	want := func(when, addr string, kind Kind, iface uint16, mac MAC) {
		t.Helper()
		if a := adj(tab, addr); a.Kind != kind || kind != Unreachable && (a.Iface != iface || MAC(a.L2[:6]) != mac) {
			t.Errorf("%s: %s: %v on %d to %v, want %v on %d to %v", when, addr, a.Kind, a.Iface, MAC(a.L2[:6]), kind, iface, mac)
		}
	}
	share := func(when string, gone bool) {
		t.Helper()
		r, _ := tab.Route(ip("12.0.0.1"))
		if lost := r.Hops[0].Buckets == 0 || r.Hops[1].Buckets == 0; len(r.Hops) != 2 || lost != gone {
			t.Errorf("%s: hops %+v", when, r.Hops)
		}
	}
	want("at first", "10.0.0.1", Forward, 1, macN)
	share("at first", false)
	must(t, tab.RemoveAddress(1, pfx("192.0.2.1/24")))
	want("subnet gone", "10.0.0.1", Unreachable, 0, MAC{})
	want("subnet gone", "11.0.0.1", Forward, 1, macN)
	share("subnet gone", true)
	must(t, tab.AddAddress(2, pfx("192.0.2.3/25")))
	want("subnet elsewhere", "10.0.0.1", Forward, 2, macM)
	want("subnet elsewhere", "11.0.0.1", Forward, 1, macN)
	share("subnet elsewhere", false)
	must(t, tab.AddAddress(1, pfx("192.0.2.5/28")))
	want("longer subnet", "10.0.0.1", Forward, 1, macN)
	must(t, tab.AddAddress(2, pfx("192.0.2.9/32")))
	want("gateway became ours", "10.0.0.1", Unreachable, 0, MAC{})
	must(t, tab.RemoveAddress(2, pfx("192.0.2.9/32")), tab.RemoveInterface(1))
	want("interface gone", "10.0.0.1", Forward, 2, macM)
	want("interface gone", "11.0.0.1", Unreachable, 0, MAC{})
}

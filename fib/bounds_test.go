package fib

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"ffwd/mem"
)

// picture is all that a table answers, for comparison.
func picture(tab *Table) map[string]string {
	out := map[string]string{}
	tab.Routes(func(r RouteInfo) bool {
		out[r.Prefix.String()] = fmt.Sprintf("%+v", r)
		return true
	})
	s := tab.Stats()
	out["stats"] = fmt.Sprintf("%+v", s)
	for _, a := range []string{"10.0.0.1", "10.0.1.1", "10.9.9.9", "192.0.2.9", "2001:db8::1"} {
		out[a] = fmt.Sprint(find(tab, ip(a)))
	}
	return out
}

// Every bound refuses with ErrFull and leaves the table as it was.
func TestFullTableRefusesAndIsUnchanged(t *testing.T) {
	hop := []Hop{{Via: ip("192.0.2.9")}}
	tests := []struct {
		name   string
		change func(*Options)
		op     func(*Table) error
	}{
		{"routes", func(o *Options) { o.MaxRoutes4 = 4 }, func(tab *Table) error {
			return tab.Add(Route{Prefix: pfx("10.9.0.0/16"), Hops: hop})
		}},
		{"groups", func(o *Options) { o.Groups4 = 4 }, func(tab *Table) error {
			return tab.Add(Route{Prefix: pfx("10.9.0.0/25"), Hops: hop})
		}},
		{"groups6", func(o *Options) { o.Groups6 = 12 }, func(tab *Table) error {
			return tab.Add(Route{Prefix: pfx("2001:db8:9::9/128"), Type: RouteBlackhole})
		}},
		{"next hops", func(o *Options) { o.NextHops = int(fixedIDs) + 4 }, func(tab *Table) error {
			return tab.Add(Route{Prefix: pfx("10.9.0.0/16"), Hops: []Hop{{Via: ip("192.0.2.10")}}})
		}},
		{"next hops for an address", func(o *Options) { o.NextHops = int(fixedIDs) + 4 }, func(tab *Table) error {
			return tab.AddAddress(2, pfx("198.51.100.1/24"))
		}},
		{"next hops for a neighbour", func(o *Options) { o.NextHops = int(fixedIDs) + 4 }, func(tab *Table) error {
			return tab.SetNeighbour(1, ip("192.0.2.10"), macM)
		}},
		{"ECMP groups", func(o *Options) { o.ECMPGroups = 1 }, func(tab *Table) error {
			must(t, tab.Add(Route{Prefix: pfx("10.0.0.0/16"), Hops: []Hop{{Via: ip("192.0.2.9")}, {Via: ip("192.0.2.11")}}}))
			return tab.Add(Route{Prefix: pfx("10.0.0.0/16"), Hops: []Hop{{Via: ip("192.0.2.9")}, {Via: ip("192.0.2.12")}}})
		}},
		{"batch", func(o *Options) { o.Groups4 = 5 }, func(tab *Table) error {
			return tab.Apply([]Update{{Route: Route{Prefix: pfx("10.9.0.0/24"), Hops: hop}},
				{Route: Route{Prefix: pfx("10.0.1.0/25")}, Delete: true},
				{Route: Route{Prefix: pfx("10.9.0.0/25"), Hops: hop}},
				{Route: Route{Prefix: pfx("10.9.0.0/26"), Hops: hop}},
				{Route: Route{Prefix: pfx("10.9.1.0/25"), Hops: hop}}})
		}},
		{"set", func(o *Options) { o.MaxRoutes4 = 6 }, func(tab *Table) error {
			return tab.SetRoutes([]Route{{Prefix: pfx("10.7.0.0/16"), Hops: hop}, {Prefix: pfx("10.8.0.0/16"), Hops: hop}, {Prefix: pfx("10.9.0.0/16"), Hops: hop}})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := small()
			tt.change(&o)
			tab := newTable(t, o)
			must(t, tab.SetInterface(Interface{Index: 1, MAC: macA, MTUBytes: 1500}),
				tab.SetInterface(Interface{Index: 2, MAC: macB, MTUBytes: 1500}))
			seed(t, tab, hop, tt.name)
			before := picture(tab)
			err := tt.op(tab)
			if !errors.Is(err, ErrFull) {
				t.Fatalf("%v, want ErrFull", err)
			}
			if tt.name == "ECMP groups" { // its set-up is in op
				return
			}
			if after := picture(tab); !maps.Equal(before, after) {
				t.Errorf("changed:\n%v\n%v", before, after)
			}
		})
	}
}

// seed fills a table to just below the bounds of the test above: 1 address (3
// prefixes, 2 groups), and one route.
func seed(t *testing.T, tab *Table, hop []Hop, name string) {
	must(t, tab.AddAddress(1, pfx("192.0.2.1/24")))
	switch name {
	case "next hops", "next hops for an address", "next hops for a neighbour":
		must(t, tab.Add(Route{Prefix: pfx("10.0.0.0/16"), Hops: hop})) // local, glean, broadcast, gateway
	case "groups6":
		must(t, tab.Add(Route{Prefix: pfx("2001:db8::/48"), Type: RouteBlackhole}))
	case "groups":
		must(t, tab.Add(Route{Prefix: pfx("10.0.0.0/25"), Hops: hop}), tab.Add(Route{Prefix: pfx("10.0.1.0/25"), Hops: hop}),
			tab.Add(Route{Prefix: pfx("10.0.2.0/25"), Hops: hop}))
	case "batch":
		must(t, tab.Add(Route{Prefix: pfx("10.0.0.0/25"), Hops: hop}), tab.Add(Route{Prefix: pfx("10.0.1.0/25"), Hops: hop}),
			tab.Add(Route{Prefix: pfx("10.0.2.0/25"), Hops: hop}))
	default:
		must(t, tab.Add(Route{Prefix: pfx("10.0.0.0/16"), Hops: hop}))
	}
}

// Wrong routes are refused, by the name of what is wrong.
func TestWrongRoutesAreRefused(t *testing.T) {
	tab := twoPorts(t, small())
	tests := []struct {
		route Route
		want  error
		text  string
	}{
		{Route{}, ErrPrefix, "not a prefix"},
		{Route{Prefix: pfx("10.0.0.1/8"), Type: RouteBlackhole}, ErrPrefix, "10.0.0.0/8"},
		{Route{Prefix: netip.PrefixFrom(ip("::ffff:10.0.0.0"), 104), Type: RouteBlackhole}, ErrPrefix, "mapped"},
		{Route{Prefix: pfx("10.0.0.0/8")}, ErrRoute, "0 hops"},
		{Route{Prefix: pfx("10.0.0.0/8"), Hops: make([]Hop, MaxHops+1)}, ErrRoute, "129 hops"},
		{Route{Prefix: pfx("10.0.0.0/8"), Type: 9}, ErrRoute, "RouteType(9)"},
		{Route{Prefix: pfx("10.0.0.0/8"), Type: RouteBlackhole, Hops: []Hop{{Iface: 1}}}, ErrRoute, "has hops"},
		{Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{}}}, ErrRoute, "neither"},
		{Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Iface: 1, Weight: 257}}}, ErrRoute, "257"},
		{Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Iface: 1, Weight: -1}}}, ErrRoute, "-1"},
		{Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Iface: 9}}}, ErrNoInterface, "interface 9"},
		{Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Iface: 9, Via: ip("192.0.2.9")}}}, ErrNoInterface, "interface 9"},
		{Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Via: ip("203.0.113.9")}}}, ErrGateway, "10.0.0.0/8: via 203.0.113.9"},
		{Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Via: ip("fe80::9")}}}, ErrGateway, "fe80::9"},
		{Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Via: ip("192.0.2.1")}}}, ErrGateway, "our own"},
		{Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Via: ip("192.0.2.255")}}}, ErrGateway, "broadcast"},
		{Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Via: ip("224.0.0.1"), Iface: 1}}}, ErrGateway, "224.0.0.1"},
		{Route{Prefix: pfx("2001:db8:f::/48"), Hops: []Hop{{Via: ip("192.0.2.9")}}}, ErrGateway, "IPv4 for a route to IPv6"},
		{Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Via: ip("192.0.2.9")}, {Via: ip("203.0.113.9")}}}, ErrGateway, "203.0.113.9"},
	}
	before := picture(tab)
	for _, tt := range tests {
		err := tab.Add(tt.route)
		if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.text) {
			t.Errorf("%+v: %v, want %v and %q", tt.route, err, tt.want, tt.text)
		}
	}
	if after := picture(tab); !maps.Equal(before, after) {
		t.Errorf("changed:\n%v\n%v", before, after)
	}
}

// The rest of the control side's errors.
func TestWrongCallsAreRefused(t *testing.T) {
	tab := twoPorts(t, small())
	tests := []struct {
		name string
		err  error
		want error
	}{
		{"index 0", tab.SetInterface(Interface{MTUBytes: 1500}), ErrInterface},
		{"mtu 67", tab.SetInterface(Interface{Index: 3, MTUBytes: 67}), ErrInterface},
		{"mtu 65536", tab.SetInterface(Interface{Index: 3, MTUBytes: 65536}), ErrInterface},
		{"vlan 4095", tab.SetInterface(Interface{Index: 3, MTUBytes: 68, VLAN: 4095}), ErrInterface},
		{"no interface", tab.AddAddress(3, pfx("10.0.0.1/24")), ErrNoInterface},
		{"address twice", tab.AddAddress(1, pfx("192.0.2.1/24")), ErrExists},
		{"multicast address", tab.AddAddress(1, pfx("224.0.0.1/24")), ErrPrefix},
		{"unspecified address", tab.AddAddress(1, pfx("0.0.0.0/24")), ErrPrefix},
		{"subnet of everything", tab.AddAddress(1, pfx("10.0.0.1/0")), ErrPrefix},
		{"no address", tab.AddAddress(1, netip.Prefix{}), ErrPrefix},
		{"other address", tab.RemoveAddress(1, pfx("192.0.2.2/24")), ErrNotFound},
		{"no route", tab.Delete(pfx("10.0.0.0/8")), ErrNotFound},
		{"not a route", tab.Delete(pfx("192.0.2.0/24")), ErrNotFound},
		{"neighbour nowhere", tab.SetNeighbour(3, ip("10.0.0.1"), macN), ErrNoInterface},
		{"neighbour multicast", tab.SetNeighbour(1, ip("ff02::1"), macN), ErrPrefix},
		{"remove twice", tab.RemoveInterface(3), ErrNoInterface},
		{"batch with both", tab.Apply([]Update{{Route: Route{Prefix: pfx("10.0.0.0/8")}, Delete: true}}), ErrNotFound},
	}
	for _, tt := range tests {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, tt.err, tt.want)
		}
	}
	if _, err := New(Options{}); !errors.Is(err, ErrOptions) {
		t.Errorf("New: %v, want ErrOptions", err)
	}
}

// A reload installs the difference and leaves the rest alone.
func TestSetRoutesAppliesTheDifference(t *testing.T) {
	tab := twoPorts(t, small())
	hop := []Hop{{Via: ip("192.0.2.9")}}
	must(t, tab.SetRoutes([]Route{{Prefix: pfx("10.0.0.0/8"), Hops: hop}, {Prefix: pfx("11.0.0.0/25"), Type: RouteBlackhole}}))
	keep := find(tab, ip("10.0.0.1"))
	must(t, tab.SetRoutes([]Route{{Prefix: pfx("10.0.0.0/8"), Hops: hop}, {Prefix: pfx("12.0.0.0/8"), Type: RouteProhibit}}))
	if got := find(tab, ip("10.0.0.1")); got != keep {
		t.Errorf("an unchanged route got next hop %d, had %d", got, keep)
	}
	if k := adj(tab, "11.0.0.1").Kind; k != None {
		t.Errorf("a route that went: %v", k)
	}
	if k := adj(tab, "12.0.0.1").Kind; k != Prohibit {
		t.Errorf("a route that came: %v", k)
	}
	if k := adj(tab, "192.0.2.1").Kind; k != Local {
		t.Errorf("our address: %v", k)
	}
	before := picture(tab)
	bad := []Route{{Prefix: pfx("13.0.0.0/8"), Type: RouteProhibit}, {Prefix: pfx("14.0.0.0/8"), Hops: []Hop{{Via: ip("1.1.1.1")}}}}
	if err := tab.SetRoutes(bad); !errors.Is(err, ErrGateway) {
		t.Errorf("%v, want ErrGateway", err)
	}
	if after := picture(tab); !maps.Equal(before, after) {
		t.Errorf("a refused set changed the table:\n%v\n%v", before, after)
	}
	if err := tab.SetRoutes(append(bad[:1:1], bad[0])); !errors.Is(err, ErrRoute) {
		t.Errorf("twice: %v, want ErrRoute", err)
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	tab, _ := fan(t, 1, 1)
	must(t, tab.Add(Route{Prefix: pfx("10.0.0.0/25"), Type: RouteBlackhole}),
		tab.Add(Route{Prefix: pfx("2001:db8::1/128"), Type: RouteBlackhole}))
	six := ip("2001:db8::1").As16()
	allocs := testing.AllocsPerRun(100, func() {
		dst4, dst6 := [chunk]uint32{0: 10 << 24, 1: 10<<24 | 200}, [chunk]*[16]byte{}
		for i := range dst6 {
			dst6[i] = &six
		}
		var at [chunk]AdjacencyIndex
		tab.ResolveBatch6(dst6[:], at[:])
		tab.ResolveBatch4(dst4[:], at[:])
		sink += uint32(tab.Member(tab.Adjacency(at[1]), 77).MTUBytes)
		sink += uint32(tab.Select(tab.Resolve(tab.Lookup4(1)), 5)) + uint32(tab.Lookup6(&six))
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
}

// An empty table costs its address space and next to no memory.
func TestEmptyTableIsSmall(t *testing.T) {
	tab := newTable(t, DefaultOptions())
	s := tab.Stats()
	if s.TableBytes > 4096 || s.MappedBytes < 128<<20 {
		t.Errorf("%+v", s)
	}
	if tab.opts.Pages != mem.Transparent {
		t.Errorf("the default takes %v pages", tab.opts.Pages)
	}
}

// Where the lines that wait for the epoch leave too few for all hops that a subnet takes along, it is refused, and
// nothing has moved; each hop alone would find one.
func TestSubnetWithoutRoomForItsHops(t *testing.T) {
	tab, late := newLateTable(t)
	worker := late.join()
	must(t, tab.SetInterface(Interface{Index: 1, MAC: macA, MTUBytes: 1500}), tab.SetInterface(Interface{Index: 2, MAC: macB, MTUBytes: 1500}),
		tab.AddAddress(1, pfx("10.9.0.1/24")))
	const hops = 100
	for i := range hops {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{20, 0, 0, byte(i)}), 32)
		must(t, tab.Add(Route{Prefix: p, Hops: []Hop{{Via: netip.AddrFrom4([4]byte{10, 9, 0, byte(2 + i)})}}}))
	}
	for n := 0; tab.lines.available() > hops/2; n++ {
		must(t, tab.SetNeighbour(1, ip("10.9.0.2"), MAC{2, byte(n)}))
	}
	if err := tab.AddAddress(2, pfx("10.9.0.1/25")); !errors.Is(err, ErrFull) {
		t.Fatalf("AddAddress: %v", err)
	}
	if err := tab.RemoveAddress(1, pfx("10.9.0.1/24")); !errors.Is(err, ErrFull) {
		t.Fatalf("RemoveAddress: %v", err)
	}
	if r, ok := tab.Route(ip("20.0.0.7")); !ok || r.Hops[0].Iface != 1 {
		t.Errorf("the route is %+v", r)
	}
	worker.quiescent()
	late.reclaim()
	must(t, tab.AddAddress(2, pfx("10.9.0.1/25")))
	if r, ok := tab.Route(ip("20.0.0.7")); !ok || r.Hops[0].Iface != 2 {
		t.Errorf("the route is %+v", r)
	}
	checkHopLists(t, tab)
}

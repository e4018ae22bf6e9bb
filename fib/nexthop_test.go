package fib

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// The link header a rewriter copies, with and without a tag.
func TestAdjacencyHoldsTheLinkHeader(t *testing.T) {
	tab := twoPorts(t, small())
	must(t, tab.SetNeighbour(1, ip("192.0.2.9"), macN), tab.SetNeighbour(2, ip("198.51.100.9"), macM))
	tests := []struct {
		addr  string
		l2    []byte
		l2Len uint8
		mtu   uint16
	}{
		{"192.0.2.9", []byte{2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 0xa, 0, 0, 0, 0}, 14, 1500},
		{"198.51.100.9", []byte{2, 0, 0, 0, 1, 2, 2, 0, 0, 0, 0, 0xb, 0x81, 0, 0, 100}, 18, 9000},
	}
	for _, tt := range tests {
		a := adj(tab, tt.addr)
		if !bytes.Equal(a.L2[:], tt.l2) || a.L2Len != tt.l2Len || a.MTUBytes != tt.mtu {
			t.Errorf("%s: % x, %d bytes, mtu %d; want % x, %d, %d", tt.addr, a.L2, a.L2Len, a.MTUBytes, tt.l2, tt.l2Len, tt.mtu)
		}
	}
	must(t, tab.SetInterface(Interface{Index: 2, MAC: macA, MTUBytes: 1280}))
	if a := adj(tab, "198.51.100.9"); a.MTUBytes != 1280 || a.L2Len != 14 || MAC(a.L2[6:12]) != macA || MAC(a.L2[:6]) != macM {
		t.Errorf("after SetInterface: %+v", a)
	}
}

// A route that shares its next hop with the neighbour's own host entry asks for the
// neighbour again when that is gone.
func TestNeighbourGoesUnderItsRoute(t *testing.T) {
	tab := twoPorts(t, small())
	must(t, tab.SetNeighbour(1, ip("192.0.2.9"), macN),
		tab.Add(Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Via: ip("192.0.2.9"), Iface: 1}}}))
	for _, mac := range []MAC{macN, macM} {
		must(t, tab.SetNeighbour(1, ip("192.0.2.9"), mac))
		if route, host := adj(tab, "10.1.1.1"), adj(tab, "192.0.2.9"); route != host || route.Kind != Forward || MAC(route.L2[:6]) != mac {
			t.Fatalf("route %+v, host %+v", route, host)
		}
		must(t, tab.DeleteNeighbour(1, ip("192.0.2.9")))
		if route, host := adj(tab, "10.1.1.1"), adj(tab, "192.0.2.9"); route.Kind != Glean || host.Kind != Glean {
			t.Fatalf("without the neighbour: route %+v, host %+v", route, host)
		}
	}
}

// One store moves every route over a neighbour; the old line stays readable.
func TestNeighbourChangeReachesEveryRoute(t *testing.T) {
	late := &lateRetirer{}
	o := small()
	o.Retirer = late
	tab := twoPorts(t, o)
	late.table = tab
	worker := late.join()
	for i := range 100 {
		must(t, tab.Add(Route{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16), Hops: []Hop{{Via: ip("192.0.2.9")}}}))
	}
	check := func(kind Kind, mac MAC) {
		t.Helper()
		for i := range 100 {
			a := tab.Resolve(find(tab, netip.AddrFrom4([4]byte{10, byte(i), 1, 1})))
			if a.Kind != kind || MAC(a.L2[:6]) != mac {
				t.Fatalf("10.%d.0.0/16: %v %v, want %v %v", i, a.Kind, MAC(a.L2[:6]), kind, mac)
			}
		}
	}
	check(Glean, MAC{})
	must(t, tab.SetNeighbour(1, ip("192.0.2.9"), macN))
	check(Forward, macN)
	held := adj(tab, "10.0.0.1")
	must(t, tab.SetNeighbour(1, ip("192.0.2.9"), macM))
	check(Forward, macM)
	late.reclaim()
	if MAC(held.L2[:6]) != macN {
		t.Errorf("the adjacency a worker holds was written: %+v", held)
	}
	worker.quiescent()
	late.reclaim()
	if held.Kind == Forward {
		t.Errorf("the old adjacency was not freed after the quiescent state")
	}
	must(t, tab.DeleteNeighbour(1, ip("192.0.2.9")))
	check(Glean, MAC{})
	if err := tab.DeleteNeighbour(1, ip("192.0.2.9")); !errors.Is(err, ErrNotFound) {
		t.Errorf("second delete: %v, want ErrNotFound", err)
	}
}

// A neighbour is no route: it must not attract what a longer or equal route
// sends elsewhere, whichever came first.
func TestNeighbourDoesNotOverrideRoutes(t *testing.T) {
	tab := twoPorts(t, small())
	must(t, tab.SetNeighbour(2, ip("198.51.100.2"), macM))
	want := func(addr string, kind Kind, iface uint16) {
		t.Helper()
		if a := adj(tab, addr); a.Kind != kind || a.Iface != iface {
			t.Errorf("%s: %v on %d, want %v on %d", addr, a.Kind, a.Iface, kind, iface)
		}
	}
	must(t, tab.SetNeighbour(1, ip("192.0.2.200"), macN))
	want("192.0.2.200", Forward, 1)
	must(t, tab.Add(Route{Prefix: pfx("192.0.2.128/25"), Hops: []Hop{{Via: ip("198.51.100.2")}}}))
	want("192.0.2.200", Forward, 2)
	must(t, tab.SetNeighbour(1, ip("192.0.2.201"), macN))
	want("192.0.2.201", Forward, 2)
	must(t, tab.Delete(pfx("192.0.2.128/25")))
	want("192.0.2.200", Forward, 1)
	want("192.0.2.201", Forward, 1)
	must(t, tab.Add(Route{Prefix: pfx("192.0.2.200/32"), Type: RouteBlackhole}))
	want("192.0.2.200", Blackhole, 0)
	must(t, tab.Delete(pfx("192.0.2.200/32")))
	want("192.0.2.200", Forward, 1)
	must(t, tab.AddAddress(2, pfx("192.0.2.200/32")))
	want("192.0.2.200", Local, 2)
	must(t, tab.RemoveAddress(2, pfx("192.0.2.200/32")))
	want("192.0.2.200", Forward, 1)
	must(t, tab.RemoveAddress(1, pfx("192.0.2.1/24")))
	want("192.0.2.200", None, 0)
	must(t, tab.AddAddress(1, pfx("192.0.2.1/24")))
	want("192.0.2.200", Forward, 1)
}

// What is ours wins at equal length, and the route takes over when it goes.
func TestOwnEntriesWinAtEqualLength(t *testing.T) { // FF-5
	tab := twoPorts(t, small())
	must(t, tab.Add(Route{Prefix: pfx("192.0.2.0/24"), Type: RouteBlackhole}),
		tab.Add(Route{Prefix: pfx("192.0.2.1/32"), Type: RouteProhibit}))
	if k := adj(tab, "192.0.2.1").Kind; k != Local {
		t.Errorf("our address: %v", k)
	}
	if k := adj(tab, "192.0.2.5").Kind; k != Glean {
		t.Errorf("our subnet: %v", k)
	}
	must(t, tab.AddAddress(1, pfx("192.0.2.2/24")), tab.RemoveAddress(1, pfx("192.0.2.1/24")))
	if k := adj(tab, "192.0.2.255").Kind; k != Broadcast {
		t.Errorf("broadcast that the second address still claims: %v", k)
	}
	must(t, tab.RemoveAddress(1, pfx("192.0.2.2/24")))
	for addr, want := range map[string]Kind{"192.0.2.1": Prohibit, "192.0.2.5": Blackhole, "192.0.2.255": Blackhole} {
		if k := adj(tab, addr).Kind; k != want {
			t.Errorf("%s after the addresses went: %v, want %v", addr, k, want)
		}
	}
}

// A dead link is unreachable at once, what is ours stays, and all comes back.
func TestLinkDownFlipsNextHops(t *testing.T) { // FF-16, FF-8
	tab := twoPorts(t, small())
	must(t, tab.SetNeighbour(1, ip("192.0.2.9"), macN),
		tab.Add(Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Via: ip("192.0.2.9")}}}))
	kinds := func() [4]Kind {
		return [4]Kind{adj(tab, "10.1.1.1").Kind, adj(tab, "192.0.2.9").Kind, adj(tab, "192.0.2.7").Kind, adj(tab, "192.0.2.1").Kind}
	}
	up, down := [4]Kind{Forward, Forward, Glean, Local}, [4]Kind{Unreachable, Unreachable, Unreachable, Local}
	if got := kinds(); got != up {
		t.Errorf("up: %v, want %v", got, up)
	}
	must(t, tab.SetLink(1, false))
	if got := kinds(); got != down {
		t.Errorf("down: %v, want %v", got, down)
	}
	must(t, tab.SetNeighbour(1, ip("192.0.2.9"), macM)) // learnt while down
	if got := kinds(); got != down {
		t.Errorf("still down: %v, want %v", got, down)
	}
	must(t, tab.SetLink(1, true))
	if got := kinds(); got != up {
		t.Errorf("up again: %v, want %v", got, up)
	}
	if mac := MAC(adj(tab, "10.1.1.1").L2[:6]); mac != macM {
		t.Errorf("mac %v, want %v", mac, macM)
	}
	must(t, tab.RemoveInterface(1))
	if k := adj(tab, "10.1.1.1").Kind; k != Unreachable {
		t.Errorf("route over a removed interface: %v", k)
	}
	if k := adj(tab, "192.0.2.1").Kind; k != None {
		t.Errorf("address of a removed interface: %v", k)
	}
	if err := tab.SetLink(1, true); !errors.Is(err, ErrNoInterface) {
		t.Errorf("SetLink: %v, want ErrNoInterface", err)
	}
	must(t, tab.SetInterface(Interface{Index: 1, MAC: macA, MTUBytes: 1500}))
	if k := adj(tab, "10.1.1.1").Kind; k != Unreachable {
		t.Errorf("route over the interface that came back without the gateway's subnet: %v", k)
	}
	must(t, tab.AddAddress(1, pfx("192.0.2.7/25")))
	if k := adj(tab, "10.1.1.1").Kind; k != Glean {
		t.Errorf("route whose gateway is on a subnet again: %v", k)
	}
}

// Hops over one gateway, some of them counted for their route alone, come and go in any order, and the gateway's
// subnet from one interface to the other: each list has the hops that lead there and no others.
func TestHopsOfAGateway(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	tab := twoPorts(t, small())
	gateways := []netip.Addr{ip("192.0.2.9"), ip("192.0.2.10"), ip("203.0.113.9")}
	moving := pfx("203.0.113.1/24")
	on := uint16(1)
	must(t, tab.AddAddress(on, moving))
	for step := range 3000 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(40))}), 32)
		switch rng.IntN(8) {
		case 0:
			must(t, tab.RemoveAddress(on, moving))
			on = 3 - on
			must(t, tab.AddAddress(on, moving))
		case 1:
			_ = tab.DeleteNeighbour(on, gateways[2])
		case 2:
			must(t, tab.SetNeighbour(on, gateways[2], MAC{2, byte(step)}))
		case 3, 4:
			_ = tab.Delete(p)
		default:
			h := Hop{Via: gateways[rng.IntN(len(gateways))]}
			if h.Via != gateways[2] && rng.IntN(2) == 0 {
				h.Iface = 1
			}
			must(t, tab.Add(Route{Prefix: p, Hops: []Hop{h}, Counters: rng.IntN(3) > 0}))
		}
		checkHopLists(t, tab)
	}
}

func checkHopLists(t *testing.T, tab *Table) {
	t.Helper()
	listed, following := 0, 0
	for index, i := range tab.ifaces {
		for gw, hops := range i.via {
			for at, h := range hops {
				if h.viaAt != at || h.iface != index || h.key.gw != gw || tab.byID[h.id] != h {
					t.Fatalf("place %d of %v on %d: %+v", at, gw, index, h)
				}
				listed++
			}
		}
	}
	for gw, hops := range tab.followers.All() {
		for at, h := range hops {
			if h.followAt != at || h.key.gw != gw.Addr() || !h.key.follows() || tab.byID[h.id] != h {
				t.Fatalf("follower %d of %v: %+v", at, gw, h)
			}
			following++
		}
	}
	for _, h := range tab.byID {
		if h.key.kind == Forward && h.iface != 0 {
			listed--
		}
		if h.key.follows() {
			following--
		}
	}
	if listed != 0 || following != 0 {
		t.Fatalf("%d listed by interface and %d followers too many", listed, following)
	}
}

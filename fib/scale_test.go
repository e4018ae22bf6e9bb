package fib

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// scale is how many routes the tests below load: what the switch is to hold, or
// a part of it under the race detector.
func scale() (routes4, routes6 int) {
	if testing.Short() || shortestPainted > 0 {
		return 50_000, 20_000
	}
	return 2_000_000, 300_000
}

// Two million IPv4 and 300 thousand IPv6 routes load with the defaults, answer as
// the RIB does, and leave nothing when they go. FF-5, FF-16.
func TestTwoFullTablesLoad(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	n4, n6 := scale()
	prefixes := append(internet4(rng, n4), internet6(rng, n6)...)
	tab := loaded(t, prefixes)
	empty := tab.Stats()
	if got := empty.Prefixes4 + empty.Prefixes6; got < n4+n6 {
		t.Fatalf("%d prefixes, want %d", got, n4+n6)
	}
	disagree := func() (wrong int) {
		for range 100_000 {
			p := prefixes[rng.IntN(len(prefixes))]
			a := p.Addr().AsSlice()
			binary.BigEndian.PutUint16(a[2:], uint16(rng.Uint32())) // inside or beside
			addr, _ := netip.AddrFromSlice(a)
			l, _ := tab.rib.Lookup(addr)
			if find(tab, addr) != l.best() {
				wrong++
			}
		}
		return wrong
	}
	if n := disagree(); n > 0 {
		t.Errorf("%d of 100000 answers are not the RIB's", n)
	}
	rng.Shuffle(len(prefixes), func(i, j int) { prefixes[i], prefixes[j] = prefixes[j], prefixes[i] })
	half := len(prefixes) / 2
	for _, p := range prefixes[:half] {
		must(t, tab.Delete(p))
	}
	if n := disagree(); n > 0 {
		t.Errorf("half of the routes deleted: %d of 100000 answers are not the RIB's", n)
	}
	must(t, tab.SetRoutes(nil), tab.RemoveInterface(1))
	s := tab.Stats()
	if s.Prefixes4+s.Prefixes6+s.Groups4+s.Groups6 != 0 || s.NextHops != int(fixedIDs) || s.Adjacencies != int(fixedIDs) {
		t.Errorf("an empty table holds %+v", s)
	}
}

// Routes over a million gateways, none of which answers, take what the bound
// allows; the rest is refused by name, and what was there goes on. FF-8.
func TestManyNextHopsAreBounded(t *testing.T) {
	o := small()
	o.MaxRoutes4, o.NextHops = 1<<21, 4096
	tab := newTable(t, o)
	must(t, tab.SetInterface(Interface{Index: 1, MAC: macA, MTUBytes: 1500}),
		tab.AddAddress(1, pfx("192.0.2.1/24")), tab.SetNeighbour(1, ip("192.0.2.9"), macN),
		tab.Add(Route{Prefix: pfx("172.16.0.0/12"), Hops: []Hop{{Via: ip("192.0.2.9")}}}))
	before := tab.Stats()
	const floods = 1_000_000
	at := func(i int) (netip.Prefix, netip.Addr) {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 20<<24+uint32(i)<<8)
		b := [16]byte{0: 0xfd}
		binary.BigEndian.PutUint32(b[12:], uint32(i))
		return netip.PrefixFrom(netip.AddrFrom4(a), 24), netip.AddrFrom16(b)
	}
	var in, refused int
	for i := range floods {
		p, gw := at(i)
		switch err := tab.Add(Route{Prefix: p, Hops: []Hop{{Via: gw, Iface: 1}}}); {
		case err == nil:
			in++
		case errors.Is(err, ErrFull):
			if refused++; refused == 1 && err.Error() != "fib: route "+p.String()+": via "+gw.String()+": table full: no room beyond 4096 next hops" {
				t.Errorf("%v", err)
			}
		default:
			t.Fatal(err)
		}
	}
	if want := o.NextHops - before.NextHops; in != want || refused != floods-want {
		t.Errorf("%d taken and %d refused, want %d taken", in, refused, want)
	}
	if a := adj(tab, "172.16.0.1"); a.Kind != Forward {
		t.Errorf("the good route: %v", a.Kind)
	}
	for i := range in {
		p, _ := at(i)
		must(t, tab.Delete(p))
	}
	if after := tab.Stats(); after != before {
		t.Errorf("%+v, was %+v", after, before)
	}
}

// As many neighbours as a flood claims: the bound holds, and a route's gateway
// that was there before keeps its MAC.
func TestNeighbourFloodIsBounded(t *testing.T) {
	o := small()
	tab := twoPorts(t, o)
	must(t, tab.SetNeighbour(1, ip("2001:db8:1::9"), macN),
		tab.Add(Route{Prefix: pfx("2001:db8:f::/48"), Hops: []Hop{{Via: ip("2001:db8:1::9")}}}))
	rng := rand.New(rand.NewPCG(1, 1))
	refused := 0
	for range 20_000 {
		a := ip("2001:db8:1::").As16()
		binary.BigEndian.PutUint64(a[8:], rng.Uint64())
		err := tab.SetNeighbour(1, netip.AddrFrom16(a), macM)
		if err != nil && !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		if err != nil {
			refused++
		}
	}
	if s := tab.Stats(); refused == 0 || len(tab.Neighbours()) > o.NextHops || s.Groups6 > o.Groups6 {
		t.Errorf("%d refused: %+v", refused, s)
	}
	if a := adj(tab, "2001:db8:f::1"); a.Kind != Forward || MAC(a.L2[:6]) != macN {
		t.Errorf("the good route: %v %v", a.Kind, MAC(a.L2[:6]))
	}
}

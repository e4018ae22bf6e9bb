package fib

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// oracle is the routing table nobody can get wrong: a list, scanned.
type oracle map[netip.Prefix]NextHopID

func (o oracle) lookup(a netip.Addr) NextHopID {
	best, id := -1, NoRoute
	for p, v := range o {
		if p.Contains(a) && p.Bits() > best {
			best, id = p.Bits(), v
		}
	}
	return id
}

// edges are the addresses where a wrong prefix length shows: first-1, first,
// last, last+1.
func edges(p netip.Prefix) []netip.Addr {
	first := p.Addr().AsSlice()
	last := append([]byte(nil), first...)
	for bit := p.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	lo, _ := netip.AddrFromSlice(first)
	hi, _ := netip.AddrFromSlice(last)
	out := []netip.Addr{lo, hi}
	for _, a := range []netip.Addr{lo.Prev(), hi.Next()} {
		if a.IsValid() {
			out = append(out, a)
		}
	}
	return out
}

// agree compares table and oracle at the edges of every prefix given.
func agree(t rapid.TB, tab *Table, o oracle, prefixes map[netip.Prefix]struct{}) {
	for p := range prefixes {
		for _, a := range edges(p) {
			if got, want := find(tab, a), o.lookup(a); got != want {
				t.Fatalf("%v, an edge of %v: next hop %d, want %d", a, p, got, want)
			}
		}
	}
}

// prefixIn draws prefixes that meet often: the address bits are few.
func prefixIn(v6 bool) *rapid.Generator[netip.Prefix] {
	return rapid.Custom(func(t *rapid.T) netip.Prefix {
		size := 4
		if v6 {
			size = 16
		}
		// Lengths 1 to 7 take milliseconds to paint: TestEveryPrefixLength has them.
		bits := rapid.IntRange(7, size*8).Draw(t, "bits")
		if bits == 7 {
			bits = 0
		}
		a := make([]byte, size)
		for i := range a {
			a[i] = rapid.SampledFrom([]byte{0, 0, 0, 1, 0x7f, 0x80, 0xff}).Draw(t, "byte")
		}
		addr, _ := netip.AddrFromSlice(a)
		return netip.PrefixFrom(addr, bits).Masked()
	}).Filter(func(p netip.Prefix) bool { return !p.Addr().Is4In6() }) // refused as a prefix
}

// Random adds, replacements and deletes against the list, with freed groups
// poisoned at once. FF-5.
func TestTableAgreesWithLinearScan(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("v6=%v", v6), func(t *testing.T) {
			tab, late := newLateTable(t)
			must(t, tab.SetInterface(Interface{Index: 1, MTUBytes: 1500}))
			rapid.Check(t, func(rt *rapid.T) { againstOracle(rt, tab, late, prefixIn(v6)) })
			if s := tab.Stats(); s.Prefixes4+s.Prefixes6+s.Groups4+s.Groups6 != 0 || s.NextHops != int(fixedIDs) {
				t.Errorf("an empty table holds %+v", s)
			}
		})
	}
}

func againstOracle(rt *rapid.T, tab *Table, late *lateRetirer, prefixes *rapid.Generator[netip.Prefix]) {
	model := oracle{}
	touched := map[netip.Prefix]struct{}{}
	types := []RouteType{RouteBlackhole, RouteUnreachable, RouteProhibit}
	defer func() {
		for p := range model {
			must2(rt, tab.Delete(p))
		}
		late.reclaim()
	}()
	for range rapid.IntRange(1, 60).Draw(rt, "steps") {
		p := prefixes.Draw(rt, "prefix")
		touched[p] = struct{}{}
		if _, there := model[p]; there && rapid.Bool().Draw(rt, "delete") {
			must2(rt, tab.Delete(p))
			delete(model, p)
		} else if n := rapid.IntRange(0, 3).Draw(rt, "type"); n < 3 {
			must2(rt, tab.Add(Route{Prefix: p, Type: types[n]}))
			model[p] = []NextHopID{BlackholeID, UnreachableID, ProhibitID}[n]
		} else {
			must2(rt, tab.Add(Route{Prefix: p, Hops: []Hop{{Iface: 1, Via: gatewayNo(rapid.IntRange(1, 9).Draw(rt, "gateway"))}}}))
			l, _ := tab.rib.Get(p)
			model[p] = l.route
		}
		late.reclaim()
	}
	agree(rt, tab, model, touched)
}

func gatewayNo(n int) netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(n)}) }

func must2(t rapid.TB, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// Each length nested in the one before, added in both orders and taken away in
// both: the lookups in between see every level.
func TestEveryPrefixLength(t *testing.T) {
	for _, base := range []string{"170.85.170.85", "2001:db8:aa55:aa55:aa55:aa55:aa55:aa55"} {
		for _, shortFirst := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/shortFirst=%v", base, shortFirst), func(t *testing.T) {
				tab, late := newLateTable(t)
				must(t, tab.SetInterface(Interface{Index: 1, MTUBytes: 1500}))
				nested(t, tab, late, ip(base), shortFirst)
			})
		}
	}
}

func nested(t *testing.T, tab *Table, late *lateRetirer, a netip.Addr, shortFirst bool) {
	model := oracle{}
	touched := map[netip.Prefix]struct{}{}
	at := func(i int) netip.Prefix {
		if !shortFirst {
			i = a.BitLen() - i
		}
		p, _ := a.Prefix(i)
		return p
	}
	skip := func(i int) bool { bits := at(i).Bits(); return bits > 0 && bits < shortestPainted }
	gw := netip.AddrFrom16([16]byte{0: 0xfd})
	for i := range a.BitLen() + 1 {
		if skip(i) {
			continue
		}
		p := at(i)
		gw = gw.Next()
		must(t, tab.Add(Route{Prefix: p, Hops: []Hop{{Via: gw, Iface: 1}}}))
		l, _ := tab.rib.Get(p)
		model[p] = l.route
		touched[p] = struct{}{}
		if i%8 == 0 {
			agree(t, tab, model, touched)
		}
	}
	agree(t, tab, model, touched)
	for i := range a.BitLen() + 1 {
		if skip(i) {
			continue
		}
		must(t, tab.Delete(at(i)))
		late.reclaim()
		delete(model, at(i))
		if i%8 == 0 || i > a.BitLen()-8 {
			agree(t, tab, model, touched)
		}
	}
	if s := tab.Stats(); s.Groups4+s.Groups6 != 0 {
		t.Errorf("%d groups left", s.Groups4+s.Groups6)
	}
}

// A batch is cut and compacted in the lookup: every length of batch gives what
// the single lookups give, whatever mix of levels the addresses need, in assembly where
// the processor can and without. FF-5.
func TestBatchEqualsSingle(t *testing.T) {
	batchEqualsSingle(t)
	if vector {
		vector = false
		defer func() { vector = true }()
		batchEqualsSingle(t)
	}
}

func batchEqualsSingle(t *testing.T) {
	tab := newTable(t, small())
	must(t, tab.Add(Route{Prefix: pfx("0.0.0.0/0"), Type: RouteProhibit}),
		tab.Add(Route{Prefix: pfx("10.0.0.0/8"), Type: RouteBlackhole}),
		tab.Add(Route{Prefix: pfx("10.0.1.128/25"), Type: RouteUnreachable}),
		tab.Add(Route{Prefix: pfx("2001:db8::/32"), Type: RouteBlackhole}),
		tab.Add(Route{Prefix: pfx("2001:db8:0:1::/64"), Type: RouteUnreachable}),
		tab.Add(Route{Prefix: pfx("2001:db8:0:1::7/128"), Type: RouteProhibit}))
	const most = 3*chunk + 1
	var dst4 [most]uint32
	var six [most][16]byte
	var dst6 [most]*[16]byte
	sixes := []string{"2001:db8::", "2001:db8:0:1::", "2001:db8:0:1::7", "::", "2001:db8:0:1::6"}
	// A prefix at the end of each level, and addresses that part from it there.
	deep := ip("3ffe:1122:3344:5566:7788:99aa:bbcc:ddee").As16()
	types := []RouteType{RouteBlackhole, RouteUnreachable, RouteProhibit}
	for level := 3; level <= 16; level++ {
		p, _ := netip.AddrFrom16(deep).Prefix(8 * level)
		must(t, tab.Add(Route{Prefix: p, Type: types[level%3]}))
		beside := deep
		beside[level-1] ^= 0x81
		sixes = append(sixes, netip.AddrFrom16(beside).String())
	}
	sixes = append(sixes, netip.AddrFrom16(deep).String())
	for i := range most {
		dst4[i] = 10<<24 | uint32(i*37)
		six[i] = ip(sixes[i*7%len(sixes)]).As16()
		dst6[i] = &six[i]
	}
	for n := range most + 1 {
		out4, out6 := make([]AdjacencyIndex, n+1), make([]AdjacencyIndex, n+1)
		out4[n], out6[n] = poison, poison
		tab.ResolveBatch4(dst4[:n], out4)
		tab.ResolveBatch6(dst6[:n], out6)
		for i := range n {
			if want := tab.Resolve(tab.Lookup4(dst4[i])); tab.Adjacency(out4[i]) != want {
				t.Fatalf("batch of %d: %d: place %d, want that of %v", n, i, out4[i], want)
			}
			if want := tab.Resolve(tab.Lookup6(dst6[i])); tab.Adjacency(out6[i]) != want {
				t.Fatalf("batch of %d: %d: place %d, want that of %v", n, i, out6[i], want)
			}
		}
		if out4[n] != poison || out6[n] != poison {
			t.Fatalf("batch of %d wrote past its end", n)
		}
	}
}

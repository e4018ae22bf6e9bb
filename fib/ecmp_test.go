package fib

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// fan is a table with a default route over one gateway per interface 1..n.
func fan(t testing.TB, weights ...int) (*Table, []Hop) {
	tab := newTable(t, small())
	var hops []Hop
	for i, w := range weights {
		index := uint16(i + 1)
		gw := netip.AddrFrom4([4]byte{192, 0, byte(index), 9})
		must(t, tab.SetInterface(Interface{Index: index, MAC: macA, MTUBytes: 1500}),
			tab.AddAddress(index, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(index), 1}), 24)),
			tab.SetNeighbour(index, gw, macN))
		hops = append(hops, Hop{Via: gw, Weight: w})
	}
	must(t, tab.Add(Route{Prefix: pfx("0.0.0.0/0"), Hops: hops}))
	return tab, hops
}

const flows = 1 << 14

// paths is the egress interface of each flow to 203.0.113.1.
func paths(tab *Table) [flows]uint16 {
	rng := rand.New(rand.NewPCG(7, 7))
	var out [flows]uint16
	group := adj(tab, "203.0.113.1")
	for i := range out {
		out[i] = tab.Member(group, rng.Uint32()).Iface
	}
	return out
}

func share(p [flows]uint16, iface uint16) float64 {
	n := 0
	for _, i := range p {
		if i == iface {
			n++
		}
	}
	return float64(n) / flows
}

func TestGroupKeepsWeights(t *testing.T) { // FF-16
	for _, weights := range [][]int{{1, 1}, {1, 1, 1}, {3, 1}, {5, 3, 2, 1}, {256, 1}, {1, 1, 1, 1, 1, 1, 1}} {
		tab, _ := fan(t, weights...)
		total := 0
		for _, w := range weights {
			total += w
		}
		p := paths(tab)
		r, ok := tab.Route(ip("203.0.113.1"))
		if !ok || len(r.Hops) != len(weights) {
			t.Fatalf("%v: listed as %+v", weights, r)
		}
		for i, w := range weights {
			want := float64(w) / float64(total)
			if got := share(p, uint16(i+1)); got < want-0.015 || got > want+0.015 {
				t.Errorf("%v: member %d has %.3f of the flows, want %.3f", weights, i, got, want)
			}
			exact := want * groupBuckets
			if got := float64(r.Hops[i].Buckets); got < exact-1 || got > exact+1 {
				t.Errorf("%v: member %d has %v buckets, want %.1f within one", weights, i, got, exact)
			}
		}
	}
}

// A member that goes moves its own flows only, and they are spread by weight
// over the rest; when it comes back all is as before.
func TestGroupMovesOnlyTheLostMembersFlows(t *testing.T) { // FF-16
	tab, _ := fan(t, 2, 1, 1, 1)
	before := paths(tab)
	must(t, tab.SetLink(2, false))
	without := paths(tab)
	for i := range before {
		if before[i] != 2 && without[i] != before[i] {
			t.Fatalf("flow %d moved from live %d to %d", i, before[i], without[i])
		}
		if without[i] == 2 {
			t.Fatalf("flow %d goes to a dead link", i)
		}
	}
	for iface, want := range map[uint16]float64{1: 0.5, 3: 0.25, 4: 0.25} {
		if got := share(without, iface); got < want-0.02 || got > want+0.02 {
			t.Errorf("interface %d has %.3f, want %.3f", iface, got, want)
		}
	}
	must(t, tab.SetLink(3, false))
	two := paths(tab)
	for i := range before {
		if without[i] != 3 && two[i] != without[i] {
			t.Fatalf("flow %d moved from live %d to %d", i, without[i], two[i])
		}
	}
	must(t, tab.SetLink(2, true), tab.SetLink(3, true))
	if paths(tab) != before {
		t.Errorf("flows did not return")
	}
	for i := range uint16(4) {
		must(t, tab.SetLink(i+1, false))
	}
	if k := adj(tab, "203.0.113.1").Kind; k != Unreachable { // FF-8
		t.Errorf("no member left: %v, want unreachable", k)
	}
	must(t, tab.SetLink(4, true))
	if got := share(paths(tab), 4); got != 1 {
		t.Errorf("the only member has %.3f", got)
	}
}

// The path alone passes over a dead port; control has not done anything yet.
func TestCarrierLossMovesFlowsAtOnce(t *testing.T) { // FF-16
	tab, _ := fan(t, 1, 1, 1)
	before := paths(tab)
	tab.SetCarrier(2, false)
	for i, iface := range paths(tab) {
		if iface == 2 || before[i] != 2 && iface != before[i] {
			t.Fatalf("flow %d: %d, was %d", i, iface, before[i])
		}
	}
	tab.SetCarrier(2, true)
	if paths(tab) != before {
		t.Errorf("flows did not return")
	}
}

// Replacing a route keeps flows with the hops that stay.
func TestReplacedGroupKeepsFlows(t *testing.T) { // FF-16
	tab, hops := fan(t, 1, 1, 1, 1)
	before := paths(tab)
	must(t, tab.Add(Route{Prefix: pfx("0.0.0.0/0"), Hops: hops[1:]}))
	for i, iface := range paths(tab) {
		if before[i] != 1 && iface != before[i] {
			t.Fatalf("flow %d moved from %d to %d", i, before[i], iface)
		}
	}
	must(t, tab.Add(Route{Prefix: pfx("0.0.0.0/0"), Hops: hops[3:]}))
	if a := adj(tab, "203.0.113.1"); a.Kind != Forward || a.Iface != 4 {
		t.Fatalf("one hop: %v on %d", a.Kind, a.Iface)
	}
	must(t, tab.Add(Route{Prefix: pfx("0.0.0.0/0"), Hops: hops[2:]}))
	if got := share(paths(tab), 4); got < 0.48 || got > 0.52 {
		t.Errorf("two hops: %.3f", got)
	}
	kept := paths(tab)
	must(t, tab.Add(Route{Prefix: pfx("0.0.0.0/0"), Hops: hops[2:], Counters: true})) // the same ways, counted apart
	if paths(tab) != kept {
		t.Error("flows moved because the route is counted")
	}
	must(t, tab.Delete(pfx("0.0.0.0/0")))
	if s := tab.Stats(); s.ECMPGroups != 0 {
		t.Errorf("%d groups left", s.ECMPGroups)
	}
}

// Equal hops are one with the sum of the weights; equal sets are one group.
func TestGroupsAreShared(t *testing.T) {
	tab, hops := fan(t, 1, 1)
	must(t, tab.Add(Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{hops[1], hops[0]}}),
		tab.Add(Route{Prefix: pfx("11.0.0.0/8"), Hops: []Hop{hops[0], hops[0], hops[1]}}),
		tab.Add(Route{Prefix: pfx("12.0.0.0/8"), Hops: []Hop{hops[0], hops[0]}}))
	if a, b := find(tab, ip("10.0.0.1")), find(tab, ip("203.0.113.1")); a != b {
		t.Errorf("two groups for one set: %d and %d", a, b)
	}
	r, _ := tab.Route(ip("11.0.0.1"))
	if len(r.Hops) != 2 || r.Hops[0].Weight+r.Hops[1].Weight != 3 {
		t.Errorf("merged hops: %+v", r.Hops)
	}
	if k := adj(tab, "12.0.0.1").Kind; k != Forward {
		t.Errorf("a set of one: %v", k)
	}
}

// FF-16: the buckets are shared out to the last, none to nobody, and each member's share is its weight's to within
// one bucket where that is more than the one that is certain.
func TestQuotas(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := &group{}
		total := 0
		for range rapid.IntRange(2, MaxHops).Draw(rt, "members") {
			w := rapid.SampledFrom([]int{1, 1, 2, 3, 10, 100, 255, 256, 512}).Draw(rt, "weight")
			g.members = append(g.members, member{weight: w})
			total += w
		}
		sum := 0
		for i, q := range g.quotas() {
			sum += q
			if exact := float64(groupBuckets*g.members[i].weight) / float64(total); q < 1 || float64(q) > exact+2 {
				rt.Errorf("member %d of weight %d of %d has %d buckets", i, g.members[i].weight, total, q)
			}
		}
		if sum != groupBuckets {
			rt.Errorf("%d buckets", sum)
		}
	})
}

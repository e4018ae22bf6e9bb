package fib

import (
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Pages of every size, put together, are the sorted list of what is there, within
// any prefix and from any prefix on, also one that is not in the table.
func TestPagesAreTheSortedList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tab := newTable(t, small())
		some := rapid.OneOf(prefixIn(false), prefixIn(true))
		all := rapid.SliceOfNDistinct(some, 0, 40, rapid.ID).Draw(rt, "routes")
		for _, p := range all {
			must2(rt, tab.Add(Route{Prefix: p, Type: RouteBlackhole}))
		}
		within := rapid.OneOf(rapid.Just(netip.Prefix{}), some).Draw(rt, "within")
		after := rapid.OneOf(rapid.Just(netip.Prefix{}), some).Draw(rt, "after")
		size := rapid.IntRange(1, 8).Draw(rt, "size")

		want := slices.DeleteFunc(slices.Clone(all), func(p netip.Prefix) bool {
			outside := within.IsValid() && (within.Bits() > p.Bits() || !within.Contains(p.Addr()))
			return outside || after.IsValid() && !precedes(after, p)
		})
		slices.SortFunc(want, func(a, b netip.Prefix) int {
			if precedes(a, b) {
				return -1
			}
			return 1
		})
		var got []netip.Prefix
		for from, end := after, false; !end; {
			var page []RouteInfo
			page, end = tab.Page(within, from, size)
			if len(page) > size || len(page) < size && !end {
				rt.Fatalf("a page of %d, want %d", len(page), size)
			}
			for _, r := range page {
				got, from = append(got, r.Prefix), r.Prefix
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("within %v after %v:\n%v, want\n%v", within, after, got, want)
		}
	})
}

// The table can be called, and changed, while it is listed: what stays is listed
// once, and the listing ends.
func TestListingLetsOthersIn(t *testing.T) {
	tab := newTable(t, small())
	const n = 5 * pageSteps
	for i := range n {
		must(t, tab.Add(Route{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24), Type: RouteBlackhole}))
	}
	seen := map[netip.Prefix]int{}
	for r := range tab.Routes {
		seen[r.Prefix]++
		if r.Prefix.Addr().As4()[2]%2 == 0 {
			must(t, tab.Delete(r.Prefix)) // the cursor itself goes now and then
		}
		if len(seen) == 1 {
			must(t, tab.Add(Route{Prefix: pfx("192.0.2.0/24"), Type: RouteBlackhole}))
		}
	}
	if len(seen) != n+1 {
		t.Errorf("%d prefixes listed, want %d", len(seen), n+1)
	}
	for p, times := range seen {
		if times != 1 {
			t.Errorf("%v listed %d times", p, times)
		}
	}
}

// Whoever lists the table waits for a step of a change, not for all of it, and sees a route
// before or after its own.
func TestListingDoesNotWaitForAChange(t *testing.T) {
	const n = 100_000
	routes := make([]Route, n)
	for i := range routes {
		routes[i] = Route{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(16 + i>>16), byte(i >> 8), byte(i), 0}), 24), Type: RouteBlackhole}
	}
	for range 10 { // the change may end between the page and the look at the size
		tab := newTable(t, OptionsFor(n, 10, 100))
		done := make(chan error)
		go func() { done <- tab.SetRoutes(routes) }()
		for tab.Stats().Prefixes4 == 0 {
			runtime.Gosched()
		}
		page, _ := tab.Page(netip.Prefix{}, netip.Prefix{}, 1)
		during := tab.Stats().Prefixes4 < n
		must(t, <-done)
		if during && len(page) == 1 && page[0].Prefix == routes[0].Prefix && page[0].Kind == Blackhole {
			return
		}
	}
	t.Error("listing waited for the whole change")
}

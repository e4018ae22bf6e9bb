package fib

import "testing"

// FF-12: packets count for the next hop that they were sent to, one by one and by the burst, and for nobody who had
// its ID before; what is looked up again later does not count.
func TestCounts(t *testing.T) {
	tab := twoPorts(t, small())
	must(t, tab.SetNeighbour(1, ip("192.0.2.9"), macN), tab.SetNeighbour(2, ip("198.51.100.9"), macM))
	c, err := tab.NewCounts()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	one, other := adj(tab, "192.0.2.9"), adj(tab, "198.51.100.9")
	a, b := tab.IndexOf(one), tab.IndexOf(other)
	c.AddBurst(tab.Lines(), nil, nil)
	c.AddBurst(tab.Lines(), []AdjacencyIndex{a, a, a}, []uint16{100, 200, 400})
	c.AddBurst(tab.Lines(), []AdjacencyIndex{b, a, b, b}, []uint16{1, 1000, 2, 4})
	c.AddBurst(tab.Lines(), []AdjacencyIndex{a, b, a}, []uint16{10, 8, 20})
	c.Add(other, 5, 16)
	c.Take(one, 1, 400)
	want := func(what string, k Counter, n Count) {
		t.Helper()
		if got := c.Read(k); got != n {
			t.Errorf("%s: %+v, want %+v", what, got, n)
		}
	}
	first := tab.counter(one.ID)
	want("the first", first, Count{5, 1330})
	want("the other", tab.counter(other.ID), Count{9, 31})
	if sum := c.Read(first).Plus(Count{1, 2}); sum != (Count{6, 1332}) {
		t.Errorf("the sum is %+v", sum)
	}
	want("nobody", Counter{id: NextHopID(len(c.slots)), age: 1}, Count{})

	// The neighbour goes, and another one gets its ID.
	gone := *one
	must(t, tab.DeleteNeighbour(1, ip("192.0.2.9")), tab.SetNeighbour(1, ip("192.0.2.10"), macN))
	next := adj(tab, "192.0.2.10")
	if next.ID != gone.ID {
		t.Fatalf("another ID, %d for %d", next.ID, gone.ID)
	}
	want("the next before it counts", tab.counter(next.ID), Count{})
	c.Take(next, 1, 1)
	want("what was not counted", tab.counter(next.ID), Count{})
	c.AddBurst(tab.Lines(), []AdjacencyIndex{b, tab.IndexOf(next)}, []uint16{0, 7})
	want("the next", tab.counter(next.ID), Count{1, 7})
	want("the first behind it", first, Count{})
	c.Add(&gone, 1, 1)
	want("the next behind a late packet of the first", tab.counter(next.ID), Count{})
}

// Whose counters they are: a next hop's alone, or of several routes.
func TestSharedCounters(t *testing.T) {
	tab := twoPorts(t, small())
	for n, p := range []string{"10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"} {
		must(t, tab.Add(Route{Prefix: pfx(p), Hops: []Hop{{Via: ip("192.0.2.9")}}}))
		r, _ := tab.Route(ip("10.1.1.1"))
		if r.Shared != (n > 0) || r.Hops[0].Shared != (n > 0) {
			t.Errorf("%d routes: shared %v, hop %v", n+1, r.Shared, r.Hops[0].Shared)
		}
	}
	must(t, tab.Add(Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Via: ip("192.0.2.9")}}, Counters: true}))
	if r, _ := tab.Route(ip("10.1.1.1")); r.Shared || r.Hops[0].Shared {
		t.Errorf("counted by itself, and shared: %+v", r)
	}
}

package fib

import (
	"errors"
	"testing"
)

// A configured route wins over a learnt one of its prefix, whichever came first;
// the other waits, is listed, and takes over when the first one goes.
func TestConfiguredRouteWinsOverLearnt(t *testing.T) {
	static := Route{Prefix: pfx("10.0.0.0/8"), Type: RouteProhibit}
	learnt := Route{Prefix: static.Prefix, Type: RoutePunt, Learned: true, Protocol: 12}
	for name, order := range map[string][2]Route{"static first": {static, learnt}, "learnt first": {learnt, static}} {
		t.Run(name, func(t *testing.T) {
			tab := newTable(t, small())
			must(t, tab.Add(order[0]), tab.Add(order[1]))
			wants := func(kinds ...Kind) {
				t.Helper()
				var listed []RouteInfo
				for r := range tab.Routes {
					listed = append(listed, r)
				}
				if len(listed) != len(kinds) {
					t.Fatalf("%d routes are listed, want %d: %+v", len(listed), len(kinds), listed)
				}
				for i, r := range listed {
					if r.Kind != kinds[i] || r.Shadowed != (i > 0) || r.Shadows != (i == 0 && len(kinds) > 1) {
						t.Errorf("route %d is %+v, want %v", i, r, kinds[i])
					}
					if r.Kind == Punt && (r.Origin != OriginLearned || r.Protocol != 12) {
						t.Errorf("the learnt route is of %s, protocol %d", r.Origin, r.Protocol)
					}
				}
				now := None
				if len(kinds) > 0 {
					now = kinds[0]
				}
				if a := tab.Resolve(tab.Lookup4(10 << 24)); a.Kind != now {
					t.Errorf("packets find %v, want %v", a.Kind, now)
				}
			}
			wants(Prohibit, Punt)
			must(t, tab.Delete(static.Prefix))
			wants(Punt)
			must(t, tab.Add(static))
			must(t, tab.SetRoutes(nil)) // of configured routes
			wants(Punt)
			gone := []Update{{Route: learnt, Delete: true}}
			must(t, tab.Add(static), tab.Apply(gone))
			wants(Prohibit)
			if err := tab.Apply(gone); !errors.Is(err, ErrNotFound) {
				t.Errorf("deleted twice: %v", err)
			}
			must(t, tab.Delete(static.Prefix))
			wants()
			if s := tab.Stats(); s.Prefixes4 != 0 || s.NextHops != int(fixedIDs) {
				t.Errorf("an empty table holds %+v", s)
			}
		})
	}
}

// A learnt route of connected neighbours makes host entries as an address does.
func TestLearntOnLinkRouteHasHosts(t *testing.T) {
	tab := newTable(t, small())
	must(t, tab.SetInterface(Interface{Index: 1, MTUBytes: 1500}),
		tab.Add(Route{Prefix: pfx("10.1.0.0/16"), Hops: []Hop{{Iface: 1}}, Learned: true}),
		tab.SetNeighbour(1, ip("10.1.2.3"), MAC{2, 0, 0, 0, 0, 9}))
	if a := tab.Resolve(tab.Lookup4(10<<24 | 1<<16 | 2<<8 | 3)); a.Kind != Forward || a.L2[5] != 9 {
		t.Errorf("the neighbour is %v", a.Kind)
	}
	must(t, tab.Apply([]Update{{Route: Route{Prefix: pfx("10.1.0.0/16"), Learned: true}, Delete: true}}))
	if id := tab.Lookup4(10<<24 | 1<<16 | 2<<8 | 3); id != NoRoute {
		t.Errorf("after its route went, the neighbour is next hop %d", id)
	}
}

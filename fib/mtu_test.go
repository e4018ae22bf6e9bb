package fib

import (
	"errors"
	"fmt"
	"testing"
)

// A route's MTU holds for its packets alone, over gateways, over several, and to
// neighbours that are on link by it; the interface's holds where it is less, and
// follows the interface. SP-2, FF-9
func TestMTUOfARoute(t *testing.T) {
	tab := newTable(t, small())
	must(t,
		tab.SetInterface(Interface{Index: 1, MAC: MAC{2, 1}, MTUBytes: 1500}),
		tab.SetInterface(Interface{Index: 2, MAC: MAC{2, 2}, MTUBytes: 1400}),
		tab.AddAddress(1, pfx("10.1.0.1/24")), tab.AddAddress(2, pfx("10.2.0.1/24")),
		tab.SetNeighbour(1, ip("10.1.0.2"), MAC{2, 12}), tab.SetNeighbour(2, ip("10.2.0.2"), MAC{2, 22}),
		tab.Add(Route{Prefix: pfx("10.9.0.0/16"), Hops: []Hop{{Via: ip("10.1.0.2")}}, MTUBytes: 1300}),
		tab.Add(Route{Prefix: pfx("10.8.0.0/16"), Hops: []Hop{{Via: ip("10.1.0.2")}}}),
		tab.Add(Route{Prefix: pfx("10.7.0.0/16"), Hops: []Hop{{Via: ip("10.1.0.2")}}, MTUBytes: 9000}),
		tab.Add(Route{Prefix: pfx("10.6.0.0/16"), Hops: []Hop{{Via: ip("10.1.0.2")}, {Via: ip("10.2.0.2")}}, MTUBytes: 1450, Learned: true}),
		tab.Add(Route{Prefix: pfx("10.5.0.0/16"), Hops: []Hop{{Iface: 1}}, MTUBytes: 1200}),
		tab.SetNeighbour(1, ip("10.5.0.2"), MAC{2, 52}),
	)
	wants := func(address string, want ...uint16) {
		t.Helper()
		a, got := tab.Resolve(find(tab, ip(address))), map[uint16]bool{}
		for hash := range uint32(64) {
			m := tab.Member(a, hash*0x9e3779b9)
			if m.Kind != Forward && m.Kind != Glean {
				t.Fatalf("%s is %v", address, m.Kind)
			}
			got[m.MTUBytes] = true
		}
		for _, mtu := range want {
			if !got[mtu] || len(got) != len(want) {
				t.Errorf("%s has an mtu of %v, want %v", address, got, want)
			}
		}
	}
	wants("10.9.0.1", 1300)
	wants("10.8.0.1", 1500)
	wants("10.1.0.2", 1500)
	wants("10.7.0.1", 1500)
	wants("10.6.0.1", 1450, 1400)
	wants("10.5.0.1", 1200) // to be resolved
	wants("10.5.0.2", 1200)
	for _, listed := range []struct {
		to   string
		want int
	}{{"10.9.0.1", 1300}, {"10.8.0.1", 0}, {"10.7.0.1", 9000}, {"10.6.0.1", 1450}, {"10.5.0.1", 1200}} {
		if r, _ := tab.Route(ip(listed.to)); r.MTUBytes != listed.want {
			t.Errorf("%s is listed with an mtu of %d, want %d", listed.to, r.MTUBytes, listed.want)
		}
	}
	must(t, tab.SetInterface(Interface{Index: 1, MAC: MAC{2, 1}, MTUBytes: 1250}))
	wants("10.9.0.1", 1250)
	wants("10.5.0.2", 1200)
	must(t, tab.SetInterface(Interface{Index: 1, MAC: MAC{2, 1}, MTUBytes: 1500}),
		tab.Add(Route{Prefix: pfx("10.9.0.0/16"), Hops: []Hop{{Via: ip("10.1.0.2")}}, MTUBytes: 1350}),
		tab.Add(Route{Prefix: pfx("10.5.0.0/16"), Hops: []Hop{{Iface: 1}}}))
	wants("10.9.0.1", 1350)
	wants("10.5.0.2", 1500)
	must(t, tab.DeleteNeighbour(1, ip("10.1.0.2")))
	wants("10.9.0.1", 1350)
}

// SP-2
func TestMTUOfARouteIsChecked(t *testing.T) {
	tab := newTable(t, small())
	must(t, tab.SetInterface(Interface{Index: 1, MTUBytes: 1500}))
	for _, c := range []struct {
		route Route
		ok    bool
	}{
		{Route{Prefix: pfx("10.9.0.0/16"), Hops: []Hop{{Iface: 1}}, MTUBytes: 67}, false},
		{Route{Prefix: pfx("10.9.0.0/16"), Hops: []Hop{{Iface: 1}}, MTUBytes: 68}, true},
		{Route{Prefix: pfx("10.9.0.0/16"), Hops: []Hop{{Iface: 1}}, MTUBytes: 65535}, true},
		{Route{Prefix: pfx("10.9.0.0/16"), Hops: []Hop{{Iface: 1}}, MTUBytes: 65536}, false},
		{Route{Prefix: pfx("10.9.0.0/16"), Hops: []Hop{{Iface: 1}}, MTUBytes: -1}, false},
		{Route{Prefix: pfx("2001:db8::/32"), Hops: []Hop{{Iface: 1}}, MTUBytes: 1279}, false},
		{Route{Prefix: pfx("2001:db8::/32"), Hops: []Hop{{Iface: 1}}, MTUBytes: 1280}, true},
		{Route{Prefix: pfx("10.9.0.0/16"), Type: RouteBlackhole, MTUBytes: 1300}, false},
	} {
		t.Run(fmt.Sprintf("%v %v %d", c.route.Prefix, c.route.Type, c.route.MTUBytes), func(t *testing.T) {
			if err := tab.Add(c.route); c.ok != (err == nil) || err != nil && !errors.Is(err, ErrRoute) {
				t.Errorf("%v", err)
			}
		})
	}
}

package fib

import (
	"errors"
	"net/netip"
	"testing"
)

func small() Options {
	return Options{MaxRoutes4: 10000, MaxRoutes6: 10000, Groups4: 2000, Groups6: 8000, NextHops: 1000, ECMPGroups: 64}
}

func newTable(t testing.TB, o Options) *Table {
	t.Helper()
	tab, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tab.Close(); err != nil {
			t.Error(err)
		}
	})
	return tab
}

// must fails the test at once on an error of its set-up.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func ip(s string) netip.Addr    { return netip.MustParseAddr(s) }

// find looks an address up by itself, and the way a worker does, by a batch of one.
func find(tab *Table, a netip.Addr) (id NextHopID) {
	var at [1]AdjacencyIndex
	if a.Is4() {
		b := a.As4()
		dst := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		id = tab.Lookup4(dst)
		tab.ResolveBatch4([]uint32{dst}, at[:])
	} else {
		b := a.As16()
		id = tab.Lookup6(&b)
		tab.ResolveBatch6([]*[16]byte{&b}, at[:])
	}
	if &tab.Lines()[at[0]] != tab.Resolve(id) {
		panic("Lookup and ResolveBatch differ")
	}
	return id
}

// adj is the adjacency of an address.
func adj(tab *Table, addr string) *Adjacency { return tab.Resolve(find(tab, ip(addr))) }

var (
	macA = MAC{2, 0, 0, 0, 0, 0xa}
	macB = MAC{2, 0, 0, 0, 0, 0xb}
	macN = MAC{2, 0, 0, 0, 1, 1}
	macM = MAC{2, 0, 0, 0, 1, 2}
)

// twoPorts is a router between 192.0.2.0/24 and 198.51.100.0/24, which is tagged.
func twoPorts(t testing.TB, o Options) *Table {
	tab := newTable(t, o)
	must(t,
		tab.SetInterface(Interface{Index: 1, MAC: macA, MTUBytes: 1500}),
		tab.SetInterface(Interface{Index: 2, MAC: macB, VLAN: 100, MTUBytes: 9000}),
		tab.AddAddress(1, pfx("192.0.2.1/24")),
		tab.AddAddress(2, pfx("198.51.100.1/24")),
		tab.AddAddress(1, pfx("2001:db8:1::1/64")),
		tab.AddAddress(2, pfx("2001:db8:2::1/64")),
		tab.AddAddress(1, pfx("fe80::1/64")),
		tab.AddAddress(2, pfx("fe80::1/64")))
	return tab
}

func TestOneLookupAnswersEverything(t *testing.T) {
	tab := twoPorts(t, small())
	must(t,
		tab.AddAddress(2, pfx("203.0.113.1/32")),
		tab.AddAddress(2, pfx("203.0.113.4/31")),
		tab.Add(Route{Prefix: pfx("10.0.0.0/8"), Hops: []Hop{{Via: ip("192.0.2.9")}}}),
		tab.Add(Route{Prefix: pfx("10.1.0.0/16"), Type: RouteBlackhole}),
		tab.Add(Route{Prefix: pfx("10.2.0.0/16"), Type: RouteUnreachable}),
		tab.Add(Route{Prefix: pfx("10.3.0.0/16"), Type: RouteProhibit}),
		tab.Add(Route{Prefix: pfx("10.4.0.0/16"), Hops: []Hop{{Iface: 2}}}),
		tab.Add(Route{Prefix: pfx("10.5.0.0/16"), Hops: []Hop{{Via: ip("2001:db8:2::9")}}}),
		tab.Add(Route{Prefix: pfx("2001:db8:f::/48"), Hops: []Hop{{Via: ip("fe80::9"), Iface: 2}}}),
		tab.SetNeighbour(1, ip("192.0.2.9"), macN),
		tab.SetNeighbour(2, ip("fe80::9"), macM))
	tests := []struct {
		name, addr string
		kind       Kind
		iface      uint16
		gateway    string
	}{
		{"our address", "192.0.2.1", Local, 1, ""},
		{"our address without a subnet", "203.0.113.1", Local, 2, ""},
		{"our other address", "2001:db8:2::1", Local, 2, ""},
		{"link-local, whichever port", "fe80::1", Local, 1, ""},
		{"link-local of others, RFC 4291 2.5.6", "fe80::2", Blackhole, 0, ""},
		{"subnet broadcast", "192.0.2.255", Broadcast, 1, ""},
		{"the subnet's first address, as Linux has it", "198.51.100.0", Glean, 2, ""},
		{"subnet-router anycast, RFC 4291 2.6.1", "2001:db8:1::", Local, 1, ""},
		{"no broadcast in IPv6", "2001:db8:1::ffff:ffff:ffff:ffff", Glean, 1, ""},
		{"no broadcast in a /31, RFC 3021", "203.0.113.5", Glean, 2, ""},
		{"our address in a /31", "203.0.113.4", Local, 2, ""},
		{"connected, not resolved", "192.0.2.77", Glean, 1, ""},
		{"connected, resolved", "192.0.2.9", Forward, 1, "192.0.2.9"},
		{"routed", "10.0.0.1", Forward, 1, "192.0.2.9"},
		{"routed over link-local", "2001:db8:f::1", Forward, 2, "fe80::9"},
		{"IPv4 over IPv6, RFC 8950", "10.5.0.1", Glean, 2, "2001:db8:2::9"},
		{"blackhole", "10.1.0.1", Blackhole, 0, ""},
		{"unreachable", "10.2.0.1", Unreachable, 0, ""},
		{"prohibit", "10.3.0.1", Prohibit, 0, ""},
		{"on link by route", "10.4.0.1", Glean, 2, ""},
		{"no route", "11.0.0.1", None, 0, ""},
		{"no route", "2001:db8::", None, 0, ""},
	}
	for _, tt := range tests { // FF-5
		t.Run(tt.name+" "+tt.addr, func(t *testing.T) {
			a := adj(tab, tt.addr)
			if a.Kind != tt.kind || a.Iface != tt.iface {
				t.Errorf("%v on interface %d, want %v on %d", a.Kind, a.Iface, tt.kind, tt.iface)
			}
			if gw := a.Gateway(); gw.IsValid() != (tt.gateway != "") || gw.IsValid() && gw != ip(tt.gateway) {
				t.Errorf("gateway %v, want %q", gw, tt.gateway)
			}
		})
	}
}

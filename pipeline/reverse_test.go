package pipeline

import (
	"net/netip"
	"testing"

	"ffwd/fib"
	"ffwd/packet"

	"github.com/gopacket/gopacket/layers"
)

// FF-15: which sources a port takes in each mode. Source: RFC 3704 2.2 (strict), 2.4
// (loose); the kernel's fib_validate_source for our own and broadcast addresses.
func TestReversePath(t *testing.T) {
	for _, tc := range []struct {
		name, src     string
		strict, loose bool // passes
	}{
		{"a neighbour", "10.1.1.2", true, true},
		{"a neighbour that is not resolved", "10.1.1.77", true, true},
		{"behind a router there", "172.16.1.9", true, true},
		{"another port's subnet", "10.2.2.2", false, true},
		{"behind a router elsewhere", "172.17.1.9", false, true},
		{"equal ways, one of them there", "172.18.1.9", true, true},
		{"equal ways, none of them there", "172.19.1.9", false, true},
		{"a way that only the kernel has", "172.20.1.9", false, true},
		{"no route", "100.64.0.1", false, false},
		{"our own address", "10.1.1.1", false, false},
		{"our own address elsewhere", "10.2.2.1", false, false},
		{"the subnet's broadcast", "10.1.1.255", false, false},
		{"a blackhole", "192.0.2.1", false, false},
		{"unreachable", "198.51.100.1", false, false},
		{"prohibited", "203.0.113.1", false, false},
		{"IPv6: a neighbour", "fd01:1::2", true, true},
		{"IPv6: another port's subnet", "fd01:2::2", false, true},
		{"IPv6: behind a router there", "fd16::9", true, true},
		{"IPv6: no route", "fd99::1", false, false},
		{"IPv6: our own address", "fd01:1::1", false, false},
	} {
		for mode, want := range map[ReversePathMode]bool{ReversePathOff: true, ReversePathStrict: tc.strict, ReversePathLoose: tc.loose} {
			w := newWorld(t)
			w.routeBehind()
			w.snapshot.Interfaces[ifLAN].ReversePath = mode
			w.publish()
			src := netip.MustParseAddr(tc.src)
			var f []byte
			if src.Is4() {
				f = frame(ip4(src, b4, layers.IPProtocolUDP), udp(1, 2), data(8))
			} else {
				f = frame(ip6(src, b6, layers.IPProtocolUDP), udp(1, 2), data(8))
			}
			passed := len(w.send(0, f)[1]) == 1
			if passed != want || (w.drops(packet.ReversePath) == 1) == want {
				t.Errorf("%s, mode %d: passed %v, %d counted", tc.name, mode, passed, w.drops(packet.ReversePath))
			}
			if flows := w.worker.Table().Flows4 + w.worker.Table().Flows6; !want && flows != 0 {
				t.Errorf("%s, mode %d: %d flows of what was dropped", tc.name, mode, flows)
			}
		}
	}
}

// routeBehind adds routes over next hops, both ports' and some of them equal.
func (w *world) routeBehind() {
	lan, wan := fib.Hop{Via: a4, Iface: ifLAN, Weight: 1}, fib.Hop{Via: b4, Iface: ifWAN, Weight: 1}
	other := fib.Hop{Via: netip.MustParseAddr("10.2.2.3"), Iface: ifWAN, Weight: 3}
	for prefix, hops := range map[string][]fib.Hop{
		"172.16.0.0/16": {lan}, "172.17.0.0/16": {wan}, "172.18.0.0/16": {lan, wan}, "172.19.0.0/16": {wan, other},
		"fd16::/64": {{Via: a6, Iface: ifLAN, Weight: 1}},
	} {
		if err := w.table.Add(fib.Route{Prefix: netip.MustParsePrefix(prefix), Hops: hops}); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.table.Add(fib.Route{Prefix: netip.MustParsePrefix("172.20.0.0/16"), Type: fib.RoutePunt}); err != nil {
		w.t.Fatal(err)
	}
}

// FF-15: with a default route every source has a way, so that loose lets all of them
// pass, and strict those of the port that it leads to.
func TestReversePathByDefault(t *testing.T) {
	for port, want := range map[int][2]bool{0: {false, true}, 1: {true, true}} { // strict, loose
		for i, mode := range []ReversePathMode{ReversePathStrict, ReversePathLoose} {
			w := newWorld(t)
			if err := w.table.Add(fib.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Hops: []fib.Hop{{Via: b4, Iface: ifWAN, Weight: 1}}}); err != nil {
				t.Fatal(err)
			}
			for in := range w.snapshot.Interfaces {
				w.snapshot.Interfaces[in].ReversePath = mode
			}
			w.publish()
			src := netip.MustParseAddr("8.8.8.8")
			f := frame(ip4(src, b4, layers.IPProtocolUDP), udp(1, 2), data(8))
			if port == 1 {
				f = back(ip4(src, a4, layers.IPProtocolUDP), udp(1, 2), data(8))
			}
			if passed := len(w.send(port, f)[1-port]) == 1; passed != want[i] {
				t.Errorf("port %d, mode %d: passed %v", port, mode, passed)
			}
		}
	}
}

// FF-15: what is no host's yet, or on its link only, is not asked for a way.
func TestReversePathExempts(t *testing.T) {
	w := newWorld(t)
	w.snapshot.Interfaces[ifLAN].ReversePath = ReversePathStrict
	w.publish()
	any, all := netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("255.255.255.255")
	w.send(0, frame(ip4(any, all, layers.IPProtocolUDP), udp(68, 67), data(8)),
		frame(ip6(netip.MustParseAddr("fe80::2"), netip.MustParseAddr("fd01:1::1"), layers.IPProtocolUDP), udp(1, 2), data(8)))
	if n := w.drops(packet.ReversePath); n != 0 {
		t.Errorf("%d dropped", n)
	}
}

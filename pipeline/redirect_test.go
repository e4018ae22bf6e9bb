package pipeline

import (
	"bytes"
	"net/netip"
	"testing"

	"ffwd/fib"
	"ffwd/packet"

	"github.com/gopacket/gopacket/layers"
)

// hairpin is a world in which 172.16/16 and fd16::/64 are behind another router on A's
// subnet, 10.1.1.3, fd01:1::3 and fe80::3, and redirects are on.
func hairpin(t *testing.T, options ...option) *world {
	w := newWorld(t, options...)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	must(w.table.AddAddress(ifLAN, p("fe80::1/64")))
	for hop, prefix := range map[string]string{"10.1.1.3": "172.16.0.0/16", "fe80::3": "fd16::/64", "fd01:1::3": "fd17::/64"} {
		must(w.table.SetNeighbour(ifLAN, a(hop), macB))
		must(w.table.Add(fib.Route{Prefix: p(prefix), Hops: []fib.Hop{{Via: a(hop), Iface: ifLAN, Weight: 1}}}))
	}
	in := &w.snapshot.Interfaces[ifLAN]
	in.Redirects, in.LinkLocal6 = true, a("fe80::1").As16()
	in.Addresses = []netip.Prefix{p("10.1.1.1/24"), p("fd01:1::1/64"), p("fe80::1/64")}
	w.publish()
	return w
}

// FF-11: the packet goes on, and its sender learns the next hop; the quote is what it
// sent, with the TTL it gave. Source: RFC 792, RFC 1812 5.2.7.2.
func TestRedirect(t *testing.T) {
	w := hairpin(t)
	f := frame(ip4(a4, netip.MustParseAddr("172.16.0.9"), layers.IPProtocolUDP), udp(1, 2), data(20))
	out := w.send(0, f)
	if len(out[0]) != 2 {
		t.Fatalf("%d frames left", len(out[0]))
	}
	forwarded, redirect := decode(t, out[0][0]), decode(t, out[0][1])
	if forwarded.Layer(layers.LayerTypeUDP) == nil {
		forwarded, redirect = redirect, forwarded
	}
	if ip := forwarded.NetworkLayer().(*layers.IPv4); ip.TTL != 63 {
		t.Errorf("forwarded with TTL %d", ip.TTL)
	}
	icmp := redirect.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	gateway := netip.AddrFrom4([4]byte{byte(icmp.Id >> 8), byte(icmp.Id), byte(icmp.Seq >> 8), byte(icmp.Seq)})
	if icmp.TypeCode != layers.CreateICMPv4TypeCode(5, 1) || gateway.String() != "10.1.1.3" || !bytes.Equal(icmp.Payload, f[14:]) {
		t.Errorf("%v to %v about %x", icmp.TypeCode, gateway, icmp.Payload)
	}
	if flow := redirect.NetworkLayer().NetworkFlow(); flow.Src().String() != "10.1.1.1" || flow.Dst().String() != "10.1.1.2" {
		t.Errorf("sent %v", flow)
	}
	if c, _ := w.worker.Counters(); c.FastForwarded != 1 || c.Errors != 1 {
		t.Errorf("%d forwarded, %d errors", c.FastForwarded, c.Errors)
	}
}

// FF-11, FF-14: the IPv6 twin. Source: RFC 4861 4.5, 4.6.3, 8.2.
func TestRedirect6(t *testing.T) {
	for _, tc := range []struct{ dst, target string }{
		{"fd16::9", "fe80::3"},
		{"fd17::9", ""},            // the next hop's link-local address is not known
		{"fd01:1::3", "fd01:1::3"}, // a neighbour of the sender
		{"fd01:1::77", ""},         // one that is not resolved is not forwarded to
	} {
		w := hairpin(t)
		f := frame(ip6(a6, netip.MustParseAddr(tc.dst), layers.IPProtocolUDP), udp(1, 2), data(1400))
		out := w.send(0, f)
		var redirect []byte
		for _, o := range out[0] {
			if o[14+6] == packet.ProtoICMPv6 && o[14+40] == 137 {
				redirect = o
			}
		}
		if (redirect != nil) != (tc.target != "") {
			t.Errorf("%s: %d frames, redirect %v", tc.dst, len(out[0]), redirect != nil)
		}
		if redirect == nil {
			continue
		}
		ip := decode(t, redirect).NetworkLayer().(*layers.IPv6)
		body := redirect[14+40:]
		target, about := netip.AddrFrom16([16]byte(body[8:24])), netip.AddrFrom16([16]byte(body[24:40]))
		if ip.SrcIP.String() != "fe80::1" || ip.DstIP.String() != "fd01:1::2" || ip.HopLimit != 255 || target.String() != tc.target || about.String() != tc.dst {
			t.Errorf("%s: from %v to %v, hop limit %d: %v for %v", tc.dst, ip.SrcIP, ip.DstIP, ip.HopLimit, target, about)
		}
		if address := body[40:48]; address[0] != 2 || address[1] != 1 || !bytes.Equal(address[2:], macB[:]) { // RFC 4861 4.5: "SHOULD be included"
			t.Errorf("%s: the target's link address is %x", tc.dst, address)
		}
		option := body[48:]
		if option[0] != 4 || int(option[1])*8 != len(option) || len(redirect) > 14+1280 || len(redirect) < 14+1272 || !bytes.Equal(option[8:], f[14:14+len(option)-8]) {
			t.Errorf("%s: option %d of %d bytes in %d", tc.dst, option[0], int(option[1])*8, len(redirect))
		}
	}
}

// FF-11: when no redirect is sent.
func TestNoRedirect(t *testing.T) {
	dst := netip.MustParseAddr("172.16.0.9")
	plain := frame(ip4(a4, dst, layers.IPProtocolUDP), udp(1, 2), data(8))
	withOptions := ip4(a4, dst, layers.IPProtocolUDP)
	withOptions.Options = []layers.IPv4Option{{OptionType: 131, OptionLength: 7, OptionData: []byte{4, 1, 2, 3, 4}}, {OptionType: 1}}
	later := ip4(a4, dst, layers.IPProtocolUDP)
	later.FragOffset = 5
	for name, tc := range map[string]struct {
		frame []byte
		edit  func(*Snapshot)
	}{
		"off":                  {plain, func(s *Snapshot) { s.Interfaces[ifLAN].Redirects = false }},
		"out another way":      {udp4(8), func(*Snapshot) {}},
		"from behind a router": {frame(ip4(netip.MustParseAddr("172.16.5.5"), dst, layers.IPProtocolUDP), udp(1, 2), data(8)), func(*Snapshot) {}},
		"to another subnet": {plain, func(s *Snapshot) {
			s.Interfaces[ifLAN].Addresses = []netip.Prefix{netip.MustParsePrefix("10.1.1.2/32")}
		}},
		"with a source route":    {frame(withOptions, udp(1, 2), data(8)), func(s *Snapshot) { s.Interfaces[ifLAN].Options = OptionsForward }},
		"about a later fragment": {frame(later, data(8)), func(*Snapshot) {}},
		"about an ICMP error":    {frame(ip4(a4, dst, layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 1)}, data(28)), func(*Snapshot) {}},
		"above the rate":         {plain, func(s *Snapshot) { s.ErrorRate = 0 }},
		"IPv6 without a link-local address": {frame(ip6(a6, netip.MustParseAddr("fd16::9"), layers.IPProtocolUDP), udp(1, 2), data(8)),
			func(s *Snapshot) { s.Interfaces[ifLAN].LinkLocal6 = [16]byte{} }},
	} {
		w := hairpin(t, stateless) // a later fragment does not wait for the first
		tc.edit(&w.snapshot)
		w.publish()
		if out := w.send(0, tc.frame); len(out[0])+len(out[1]) != 1 {
			t.Errorf("%s: %d frames left", name, len(out[0])+len(out[1]))
		}
	}
}

// FF-10: fragmentation needed and packet too big quote the TTL that the sender gave,
// whether the next hop's link address is known or not. Source: RFC 1812 4.3.2.3.
func TestQuoteIsOriginal(t *testing.T) {
	for _, to := range [][2]netip.Addr{{b4, b6}, {s4, s6}} {
		for _, stealth := range []bool{false, true} {
			checkQuotes(t, to, stealth)
		}
	}
}

func checkQuotes(t *testing.T, to [2]netip.Addr, stealth bool) {
	w := newWorld(t)
	w.setMTU(1280)
	w.snapshot.Interfaces[ifLAN].Stealth = stealth
	w.publish()
	ip := ip4(a4, to[0], layers.IPProtocolUDP)
	ip.Flags = layers.IPv4DontFragment
	v4 := frame(ip, udp(1, 2), data(1300))
	v6 := frame(ip6(a6, to[1], layers.IPProtocolUDP), udp(1, 2), data(1300))
	out := w.send(0, v4, v6)
	if len(out[0]) != 2 {
		t.Fatalf("%d answers", len(out[0]))
	}
	if q := out[0][0][14+28:]; !bytes.Equal(q, v4[14:14+len(q)]) {
		t.Errorf("to %v, stealth %v: quoted %x", to[0], stealth, q[:20])
	}
	if q := out[0][1][14+48:]; !bytes.Equal(q, v6[14:14+len(q)]) {
		t.Errorf("to %v, stealth %v: quoted %x", to[1], stealth, q[:40])
	}
}

// An error quotes the whole header and 8 bytes more, where that is longer than what the
// link to the sender takes in one piece, too. FF-10, FF-3. Source: RFC 792.
func TestQuoteOfLongHeader(t *testing.T) {
	for mtu := 68; mtu <= 100; mtu++ {
		w := newWorld(t)
		w.setMTU(68)
		in := &w.snapshot.Interfaces[ifLAN]
		in.MTU, in.Options = uint16(mtu), OptionsForward
		w.publish()
		f := withRawOptions(bytes.Repeat([]byte{optionNoOp}, 40))
		h := (*packet.IPv4)(f[14:])
		h.SetFragField(packet.IPv4DontFragment)
		h.UpdateChecksum(f[14 : 14+60])
		out := w.send(0, f)
		if len(out[0]) != 1 || w.drops(packet.CannotFragment) != 1 {
			t.Fatalf("mtu %d: %d answers", mtu, len(out[0]))
		}
		if q := out[0][0][14+28:]; len(q) < 60+8 || !bytes.Equal(q, f[14:14+len(q)]) {
			t.Errorf("mtu %d: quoted %x", mtu, q)
		}
	}
}

// FF-3: a port that forwards options passes well-formed lists as they are, and answers
// others with the place of the fault. Source: RFC 1812 5.2.7.3, RFC 792 (pointer).
func TestOptionsForward(t *testing.T) {
	for _, tc := range []struct {
		options []byte
		pointer int // 0: forwarded
	}{
		{[]byte{1, 1, 1, 0}, 0},
		{[]byte{7, 3, 4, 0}, 0},
		{[]byte{0x94, 4, 0, 0}, 0},
		{[]byte{0, 7, 1, 1}, 0}, // behind the end
		{[]byte{7, 4, 5, 0}, 0},
		{[]byte{7, 0, 0, 0}, 21},
		{[]byte{7, 1, 0, 0}, 21},
		{[]byte{7, 5, 0, 0}, 21},
		{[]byte{1, 1, 7, 3}, 23},
		{[]byte{1, 1, 1, 7}, 23}, // its length is missing
		{[]byte{7, 3, 4, 1, 0x83, 5, 4, 0}, 25},
	} {
		w := newWorld(t)
		w.snapshot.Interfaces[ifLAN].Options = OptionsForward
		w.publish()
		f := withRawOptions(tc.options)
		out := w.send(0, f)
		if tc.pointer == 0 {
			if len(out[1]) != 1 || !bytes.Equal(out[1][0][14+20:], f[14+20:]) {
				t.Errorf("%v: not forwarded as it was", tc.options)
			}
			continue
		}
		if len(out[0]) != 1 || w.drops(packet.BadOptions) != 1 {
			t.Fatalf("%v: %d answers", tc.options, len(out[0]))
		}
		icmp := decode(t, out[0][0]).Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		if icmp.TypeCode != layers.CreateICMPv4TypeCode(12, 0) || int(icmp.Id>>8) != tc.pointer || !bytes.Equal(icmp.Payload, f[14:]) {
			t.Errorf("%v: %v pointer %d", tc.options, icmp.TypeCode, icmp.Id>>8)
		}
	}
}

// withRawOptions is a datagram from A to B with these octets of options.
func withRawOptions(options []byte) []byte {
	f := frame(ip4(a4, b4, layers.IPProtocolUDP), udp(1, 2), data(8))
	out := append(bytes.Clone(f[:34]), options...)
	out = append(out, f[34:]...)
	h := (*packet.IPv4)(out[14:])
	h[0] = 0x40 | uint8(5+len(options)/4)
	h.SetTotalLen(len(out) - 14)
	h.UpdateChecksum(out[14 : 34+len(options)])
	return out
}

// FuzzOptions feeds arbitrary option octets to a port that forwards: what is found bad
// lies in the options, and what is not is a list that ends where the header does.
func FuzzOptions(f *testing.F) {
	f.Add([]byte{7, 3, 4, 0})
	f.Add([]byte{1, 1, 7, 3})
	f.Fuzz(func(t *testing.T, options []byte) {
		options = append(options, 0, 0, 0)[:min(len(options)+3, 40)&^3]
		header := append(make([]byte, 20), options...)
		if at, bad := badOption(header); bad && (at < 20 || at >= len(header)) {
			t.Fatalf("a fault at %d of %d", at, len(header))
		}
	})
}

package pipeline

import (
	"bytes"
	"net/netip"
	"testing"

	"ffwd/fib"
	"ffwd/packet"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// FF-1, FF-7, FF-14: what leaves is what came with a new link header and a TTL
// less one, nothing else.
func TestForward(t *testing.T) {
	for name, in := range map[string][]byte{"IPv4": udp4(100), "IPv6": udp6(100)} {
		w := newWorld(t)
		padded := append(bytes.Clone(in), 0xee, 0xee, 0xee) // FF-2: bytes past the total length are trimmed
		out := w.send(0, padded)
		if len(out[1]) != 1 || len(out[0]) != 0 {
			t.Fatalf("%s: %d frames left by wan, %d by lan", name, len(out[1]), len(out[0]))
		}
		got := decode(t, out[1][0])
		eth := got.LinkLayer().(*layers.Ethernet)
		if !bytes.Equal(eth.SrcMAC, macWAN[:]) || !bytes.Equal(eth.DstMAC, macB[:]) {
			t.Errorf("%s: %v to %v", name, eth.SrcMAC, eth.DstMAC)
		}
		want := bytes.Clone(in)
		copy(want, out[1][0][:12])
		if name == "IPv4" {
			want[14+8]--
			copy(want[14+10:], out[1][0][14+10:14+12]) // decode verified it
		} else {
			want[14+7]--
		}
		if !bytes.Equal(out[1][0], want) {
			t.Errorf("%s:\n got %x\nwant %x", name, out[1][0], want)
		}
	}
}

// FF-7, FF-14: TTL 0 and 1 are answered, 2 passes.
func TestTTL(t *testing.T) {
	for _, ttl := range []uint8{0, 1, 2, 255} {
		for _, v6 := range []bool{false, true} {
			w := newWorld(t)
			var f []byte
			if v6 {
				f = udp6(10)
				f[14+7] = ttl
			} else {
				ip := ip4(a4, b4, layers.IPProtocolUDP)
				ip.TTL = ttl
				f = frame(ip, udp(1, 2), data(10))
			}
			out := w.send(0, f)
			if forwarded := len(out[1]) == 1; forwarded != (ttl > 1) {
				t.Errorf("TTL %d, IPv6 %v: forwarded %v", ttl, v6, forwarded)
			}
			if ttl > 1 {
				continue
			}
			if len(out[0]) != 1 {
				t.Fatalf("TTL %d, IPv6 %v: %d answers", ttl, v6, len(out[0]))
			}
			answer := decode(t, out[0][0])
			if v6 {
				icmp := answer.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
				if icmp.TypeCode != layers.CreateICMPv6TypeCode(layers.ICMPv6TypeTimeExceeded, 0) || !bytes.Equal(icmp.Payload[4:], f[14:14+58]) {
					t.Errorf("answer %v quotes %x", icmp.TypeCode, icmp.Payload)
				}
				continue
			}
			icmp := answer.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
			if icmp.TypeCode != layers.CreateICMPv4TypeCode(layers.ICMPv4TypeTimeExceeded, 0) || !bytes.Equal(icmp.Payload, f[14:14+38]) {
				t.Errorf("answer %v quotes %x", icmp.TypeCode, icmp.Payload)
			}
		}
	}
}

// FF-7: a stealth port neither checks nor decrements.
func TestStealth(t *testing.T) {
	w := newWorld(t)
	w.snapshot.Interfaces[ifLAN].Stealth = true
	w.publish()
	ip := ip4(a4, b4, layers.IPProtocolUDP)
	ip.TTL = 1
	if out := w.send(0, frame(ip, udp(1, 2), data(1))); len(out[1]) != 1 || out[1][0][14+8] != 1 {
		t.Fatalf("%x", out)
	}
}

// FF-5, FF-8: one lookup answers what becomes of a packet; the sender is told.
func TestRouteKinds(t *testing.T) {
	addr := netip.MustParseAddr
	for _, tc := range []struct {
		dst    netip.Addr
		reason packet.Reason
		answer layers.ICMPv4TypeCode
	}{
		{addr("10.1.1.1"), packet.PuntLocal, 0},
		{addr("10.2.2.1"), packet.PuntLocal, 0},
		{addr("10.2.2.255"), packet.PuntMulticast, 0},
		{addr("10.2.2.77"), packet.NoNeighbour, layers.CreateICMPv4TypeCode(3, 1)},
		{addr("192.0.2.1"), packet.Blackhole, 0},
		{addr("198.51.100.1"), packet.Unreachable, layers.CreateICMPv4TypeCode(3, 1)},
		{addr("203.0.113.1"), packet.Prohibited, layers.CreateICMPv4TypeCode(3, 13)},
		{addr("100.64.0.1"), packet.NoRoute, layers.CreateICMPv4TypeCode(3, 0)},
	} {
		w := newWorld(t)
		out := w.send(0, frame(ip4(a4, tc.dst, layers.IPProtocolUDP), udp(1, 2), data(8)))
		if w.drops(tc.reason) != 1 {
			t.Errorf("%v: not counted as %v", tc.dst, tc.reason)
		}
		if tc.answer == 0 {
			if len(out[0]) != 0 {
				t.Errorf("%v: answered", tc.dst)
			}
			continue
		}
		if len(out[0]) != 1 {
			t.Fatalf("%v: %d answers", tc.dst, len(out[0]))
		}
		answer := decode(t, out[0][0])
		if got := answer.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4).TypeCode; got != tc.answer {
			t.Errorf("%v: %v, want %v", tc.dst, got, tc.answer)
		}
		if src := answer.NetworkLayer().(*layers.IPv4).SrcIP.String(); src != "10.1.1.1" {
			t.Errorf("%v: answered from %v", tc.dst, src)
		}
	}
}

// FF-8, FF-14: the codes of IPv6 are those of Linux. Source: RFC 4443 3.1; ip6_pkt_discard
// and ip6_pkt_prohibit in net/ipv6/route.c.
func TestRouteKinds6(t *testing.T) {
	for _, tc := range []struct {
		kind   fib.RouteType
		reason packet.Reason
		answer layers.ICMPv6TypeCode
	}{
		{fib.RouteUnreachable, packet.Unreachable, layers.CreateICMPv6TypeCode(1, 0)},
		{fib.RouteProhibit, packet.Prohibited, layers.CreateICMPv6TypeCode(1, 1)},
		{fib.RouteBlackhole, packet.Blackhole, 0},
	} {
		w := newWorld(t)
		if err := w.table.Add(fib.Route{Prefix: netip.MustParsePrefix("2001:db8::/32"), Type: tc.kind}); err != nil {
			t.Fatal(err)
		}
		out := w.send(0, frame(ip6(a6, netip.MustParseAddr("2001:db8::1"), layers.IPProtocolUDP), udp(1, 2), data(8)))
		if w.drops(tc.reason) != 1 {
			t.Errorf("not counted as %v", tc.reason)
		}
		var got layers.ICMPv6TypeCode
		if len(out[0]) == 1 {
			got = decode(t, out[0][0]).Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6).TypeCode
		}
		if got != tc.answer {
			t.Errorf("%v: %v, want %v", tc.reason, got, tc.answer)
		}
	}
}

// FF-10: what no ICMP error is sent about.
func TestNeverAnswered(t *testing.T) {
	expired := func(proto layers.IPProtocol) *layers.IPv4 {
		ip := ip4(a4, b4, proto)
		ip.TTL = 1
		return ip
	}
	icmp := func(t uint8) *layers.ICMPv4 { return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(t, 0)} }
	later := expired(layers.IPProtocolUDP)
	later.FragOffset = 100
	broadcast := frame(expired(layers.IPProtocolUDP), udp(1, 2), data(8))
	copy(broadcast, bytes.Repeat([]byte{0xff}, 6))
	v6 := ip6(a6, b6, layers.IPProtocolICMPv6)
	v6.HopLimit = 1
	for name, f := range map[string][]byte{
		"about an ICMP error":      frame(expired(layers.IPProtocolICMPv4), icmp(3), data(28)),
		"about a redirect":         frame(expired(layers.IPProtocolICMPv4), icmp(5), data(28)),
		"about a later fragment":   frame(later, data(64)),
		"about a broadcast frame":  broadcast,
		"about an ICMPv6 error":    frame(v6, &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(1, 0)}, data(48)),
		"about ICMP of no bytes":   frame(expired(layers.IPProtocolICMPv4)),
		"about ICMPv6 of no bytes": frame(v6),
		"to a source with no host": frame(func() gopacket.SerializableLayer { ip := expired(17); ip.SrcIP = []byte{10, 2, 2, 255}; return ip }(), udp(1, 2), data(8)),
	} {
		w := newWorld(t, stateless) // a later fragment does not wait for the first
		if out := w.send(0, f); len(out[0])+len(out[1]) != 0 {
			t.Errorf("%s: %d frames left", name, len(out[0])+len(out[1]))
		}
	}
	w := newWorld(t)
	if out := w.send(0, frame(expired(layers.IPProtocolICMPv4), icmp(8), data(28))); len(out[0]) != 1 {
		t.Error("an expired echo request was not answered")
	}
}

// FF-10: a bucket lets through a tenth of a second's at once, exactly, at least one; then as
// many as the time since gives. A rate of 0 lets nothing through.
func TestBucket(t *testing.T) {
	for _, tc := range []struct{ rate, atOnce, later int }{{100, 10, 5}, {1, 1, 0}, {0, 0, 0}, {20, 2, 1}} {
		var b bucket
		const now, later = 1_000_000, 51_000_000 // 50 ms
		for i, at := range []int64{now, later} {
			n := 0
			for b.allow(tc.rate, at) {
				n++
			}
			if want := [...]int{tc.atOnce, tc.later}[i]; n != want {
				t.Errorf("rate %d: %d at %d ns, want %d", tc.rate, n, at, want)
			}
		}
	}
}

// FF-10: errors are limited per second; the packets are dropped all the same.
func TestErrorRate(t *testing.T) {
	w := newWorld(t)
	w.snapshot.ErrorRate = 50
	w.publish()
	ip := ip4(a4, b4, layers.IPProtocolUDP)
	ip.TTL = 1
	f := frame(ip, udp(1, 2), data(8))
	answers := 0
	for range 100 {
		answers += len(w.send(0, f)[0])
	}
	if answers < 5 || answers > 20 || w.drops(packet.TTLExpired) != 100 {
		t.Fatalf("%d answers to %d packets", answers, w.drops(packet.TTLExpired))
	}
}

// FF-2: frames of a sub-port carry its tag in and out; others' tags are unknown.
func TestVLAN(t *testing.T) {
	inner := ip4(netip.MustParseAddr("10.7.7.2"), b4, layers.IPProtocolUDP)
	tagged := func(id uint16) []byte {
		tag := &layers.Dot1Q{VLANIdentifier: id, Type: layers.EthernetTypeIPv4}
		return serialise(ether(macA, macLAN, tag), tag, inner, udp(1, 2), data(20))
	}
	w := newWorld(t)
	out := w.send(0, tagged(7), tagged(8), tagged(0))
	if len(out[1]) != 2 || w.drops(packet.UnknownVLAN) != 1 {
		t.Fatalf("%d left, %d of an unknown VLAN", len(out[1]), w.drops(packet.UnknownVLAN))
	}
	decode(t, out[1][0])
	if out[1][0][12] != 8 || out[1][0][13] != 0 {
		t.Errorf("the tag is still there: %x", out[1][0][:20])
	}
	// And back, into the tag.
	out = w.send(1, back(ip4(b4, netip.MustParseAddr("10.7.7.2"), layers.IPProtocolUDP), udp(2, 1), data(20)))
	if len(out[0]) != 1 {
		t.Fatal("nothing came back")
	}
	tag := decode(t, out[0][0]).Layer(layers.LayerTypeDot1Q)
	if tag == nil || tag.(*layers.Dot1Q).VLANIdentifier != 7 {
		t.Fatalf("no tag 7 in %x", out[0][0][:20])
	}
	// A device that takes the tag out says so in the mbuf.
	w.rx[0].flags, w.rx[0].tci = packet.RxVLANStripped, 7
	f := serialise(ether(macA, macLAN, inner), inner, udp(1, 2), data(20))
	if out = w.send(0, f); len(out[1]) != 1 {
		t.Fatal("a stripped tag was not seen")
	}
	w.rx[0].tci = 9
	if w.send(0, f); w.drops(packet.UnknownVLAN) != 2 {
		t.Fatal("an unknown stripped tag was not seen")
	}
}

// A device that is full: what it does not take is freed and counted.
func TestTransmitFull(t *testing.T) {
	w := newWorld(t)
	w.tx[1].room = 3
	var frames [][]byte
	for range 10 {
		frames = append(frames, udp4(10))
	}
	if out := w.send(0, frames...); len(out[1]) != 3 || w.drops(packet.TxFull) != 7 {
		t.Fatalf("%d sent, %d counted", len(out[1]), w.drops(packet.TxFull))
	}
	c, _ := w.worker.Counters()
	if p := c.Ports[1]; p.TxPackets != 3 || p.TxDropped != 7 || p.TxBytes != 3*(14+20+8+10) {
		t.Fatalf("%+v", p)
	}
}

package pipeline

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"ffwd/fib"
	"ffwd/packet"
	"ffwd/policy"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// linkLocals makes the world's LAN ports routers with link-local addresses, beside routes
// that would lead answers astray.
func linkLocals(t *testing.T) *world {
	w := newWorld(t)
	for _, r := range []fib.Route{
		{Prefix: netip.MustParsePrefix("::/0"), Hops: []fib.Hop{{Via: b6}}},
		{Prefix: netip.MustParsePrefix("2001:db8::/32"), Type: fib.RouteUnreachable},
	} {
		if err := w.table.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{ifLAN, ifTag} {
		w.snapshot.Interfaces[i].LinkLocal6 = netip.MustParseAddr("fe80::1").As16()
	}
	w.publish()
	return w
}

// FF-10, FF-14: a sender with a link-local address is told too, by the link that it is on and
// from the address that the port has there. Source: RFC 4443 2.2 and 3.1, RFC 4291 2.5.6;
// icmp6_send and ip6_forward in Linux, which answers all of these alike.
func TestErrorsToLinkLocal(t *testing.T) {
	const beyondScope, noRoute, expired = 1<<8 | 2, 1 << 8, 3 << 8
	for _, tc := range []struct {
		name   string
		dst    string
		hops   uint8
		vlan   uint16
		reason packet.Reason
		want   uint16 // type and code
	}{
		{"leaves its link", b6.String(), 64, 0, packet.Martian, beyondScope},
		{"leaves its link with a tag", b6.String(), 64, 7, packet.Martian, beyondScope},
		{"has no hop left", b6.String(), 1, 0, packet.Martian, expired},
		{"has no hop left on its link", a6.String(), 1, 0, packet.TTLExpired, expired},
		{"has no route", "2001:db8::1", 64, 0, packet.Unreachable, noRoute},
		{"has no route with a tag", "2001:db8::1", 64, 7, packet.Unreachable, noRoute},
	} {
		w := linkLocals(t)
		ip := ip6(netip.MustParseAddr("fe80::2"), netip.MustParseAddr(tc.dst), layers.IPProtocolUDP)
		ip.HopLimit = tc.hops
		content := []gopacket.SerializableLayer{ip, udp(1, 2), data(10)}
		if tc.vlan != 0 {
			content = append([]gopacket.SerializableLayer{&layers.Dot1Q{VLANIdentifier: tc.vlan, Type: layers.EthernetTypeIPv6}}, content...)
		}
		out := w.send(0, frame(content...))
		if w.drops(tc.reason) != 1 {
			t.Errorf("%s: not counted as %v", tc.name, tc.reason)
		}
		if len(out[0]) != 1 || len(out[1]) != 0 {
			t.Errorf("%s: %d answers, %d by the other port", tc.name, len(out[0]), len(out[1]))
			continue
		}
		answer := decode(t, out[0][0])
		link, l3 := answer.LinkLayer().(*layers.Ethernet), answer.NetworkLayer().(*layers.IPv6)
		if !bytes.Equal(link.DstMAC, macA[:]) || !bytes.Equal(link.SrcMAC, macLAN[:]) {
			t.Errorf("%s: answered from %v to %v", tc.name, link.SrcMAC, link.DstMAC)
		}
		if !l3.SrcIP.Equal(net.ParseIP("fe80::1")) || !l3.DstIP.Equal(ip.SrcIP) {
			t.Errorf("%s: answered from %v to %v", tc.name, l3.SrcIP, l3.DstIP)
		}
		if got := uint16(answer.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6).TypeCode); got != tc.want {
			t.Errorf("%s: %#04x, want %#04x", tc.name, got, tc.want)
		}
		tag, _ := answer.Layer(layers.LayerTypeDot1Q).(*layers.Dot1Q)
		if (tag != nil) != (tc.vlan != 0) || tag != nil && tag.VLANIdentifier != tc.vlan {
			t.Errorf("%s: tag %v", tc.name, tag)
		}
	}
}

// FF-6: a segment from a link-local address is reset on its link.
func TestResetToLinkLocal(t *testing.T) {
	w := rejecting(t, policy.TCPReset)
	out := w.send(0, frame(ip6(netip.MustParseAddr("fe80::2"), netip.MustParseAddr("fe80::1"), layers.IPProtocolTCP), &layers.TCP{SYN: true}))
	if len(out[0]) != 1 || len(out[1]) != 0 {
		t.Fatalf("%d resets, %d by the other port", len(out[0]), len(out[1]))
	}
	reset := decode(t, out[0][0])
	if to := reset.LinkLayer().(*layers.Ethernet).DstMAC; !bytes.Equal(to, macA[:]) || !reset.Layer(layers.LayerTypeTCP).(*layers.TCP).RST {
		t.Errorf("%v", reset)
	}
}

// FF-10: no error goes to a link-local source from a port without such an address, nor to a
// frame whose source is no station.
func TestNoErrorToLinkLocal(t *testing.T) {
	f := frame(ip6(netip.MustParseAddr("fe80::2"), netip.MustParseAddr("2001:db8::1"), layers.IPProtocolUDP), udp(1, 2), data(10))
	group := bytes.Clone(f)
	group[6] |= 1
	w := linkLocals(t)
	if out := w.send(0, group); len(out[0])+len(out[1]) != 0 {
		t.Error("a frame from a group was answered")
	}
	w.snapshot.Interfaces[ifLAN].LinkLocal6 = [16]byte{}
	w.publish()
	if out := w.send(0, f); len(out[0])+len(out[1]) != 0 {
		t.Errorf("answered without an address: %x", out)
	}
}

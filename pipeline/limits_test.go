package pipeline

import (
	"net/netip"
	"testing"

	"ffwd/fib"
	"ffwd/packet"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// FF-9: a fragment that ends beyond 65535 must not be cut into pieces whose offset wraps.
func TestFragmentBeyondTheLargestDatagram(t *testing.T) {
	w := newWorld(t, stateless)
	w.setMTU(576)
	ip := ip4(a4, b4, layers.IPProtocolUDP)
	ip.FragOffset = 8180
	out := w.send(0, frame(ip, data(1400)))
	for _, f := range out[1] {
		h := (*packet.IPv4)(f[14:])
		t.Logf("field %#04x offset %d len %d", h.FragField(), int(h.FragField()&packet.IPv4OffsetMask)*8, h.TotalLen())
		if off := int(h.FragField()&packet.IPv4OffsetMask) * 8; off < 8180*8 {
			t.Errorf("a piece at offset %d, before the fragment it was cut from at %d", off, 8180*8)
		}
	}
}

// FF-10, RFC 4443 2.4 (e.2): no error about a redirect.
func TestNoErrorAboutRedirect(t *testing.T) {
	w := newWorld(t)
	if err := w.table.Add(fib.Route{Prefix: netip.MustParsePrefix("2001:db8::/32"), Type: fib.RouteUnreachable}); err != nil {
		t.Fatal(err)
	}
	red := append([]byte{137, 0, 0, 0}, make([]byte, 40)...)
	out := w.send(0, frame(ip6(a6, netip.MustParseAddr("2001:db8::1"), layers.IPProtocolICMPv6), gopacket.Payload(red)))
	if len(out[0]) != 0 {
		t.Errorf("an ICMPv6 error about a redirect")
	}
}

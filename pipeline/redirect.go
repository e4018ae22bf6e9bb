package pipeline

import (
	"encoding/binary"
	"net/netip"

	"ffwd/fib"
	"ffwd/packet"
)

// Redirect finds packets that go back to the link they came from, to a next hop that
// their sender could have asked itself. They are forwarded all the same; the output
// tells the sender. Where a rule chose, the sender is told nothing: it would send all that
// goes to the destination that way, and the rule meant only some. Nor where addresses are
// translated: the sender does not know where its packets go.
//
// Needs:  Route, TTL.
// Writes: Answer Redirect.
// Source: FF-11; RFC 1812 5.2.7.2, RFC 4861 8.2.
type Redirect struct{ *context }

// Process looks at the burst.
func (s *Redirect) Process(b *packet.Burst) {
	s.redirects = 0
	if !s.snap.redirects {
		return
	}
	for i := range b.Live() {
		p := &b.Pkts[i]
		if p.Egress != p.Ingress || p.Via != 0 || p.Translation != 0 || p.Verdict != packet.Continue && p.Verdict != packet.Fragment {
			continue
		}
		in := &s.snap.Interfaces[p.Ingress]
		if in.Redirects && !hasOptions(p) && in.sharesSubnet(p) {
			p.Answer = packet.Redirect
			s.redirects++
		}
	}
}

// hasOptions tells whether an IPv4 packet may name its own way: a source route is not
// ours to shorten. Source: RFC 1812 5.2.7.2.
func hasOptions(p *packet.Packet) bool {
	return !p.Is(packet.IsIPv6) && p.L4 > packet.IPv4HeaderLen
}

// sharesSubnet tells whether the packet's sender and its next hop are in one subnet of
// the interface. An IPv6 router is known to hosts by its link-local address only.
func (in *Interface) sharesSubnet(p *packet.Packet) bool {
	if fromLinkLocal(p) {
		return false // by now the link header does not tell where it came from
	}
	src, hop := sourceOf(p), nextHopOf(p)
	if p.Is(packet.IsIPv6) && (in.LinkLocal6 == [16]byte{} || hop != destinationOf(p) && !hop.IsLinkLocalUnicast()) {
		return false
	}
	for _, subnet := range in.Addresses {
		if subnet.Contains(src) && (subnet.Contains(hop) || hop.IsLinkLocalUnicast()) {
			return true
		}
	}
	return false
}

func sourceOf(p *packet.Packet) netip.Addr {
	if p.Is(packet.IsIPv6) {
		return netip.AddrFrom16(*p.IPv6().Src())
	}
	return netip.AddrFrom4([4]byte(p.IPv4()[12:16]))
}

func destinationOf(p *packet.Packet) netip.Addr {
	if p.Is(packet.IsIPv6) {
		return netip.AddrFrom16(*p.IPv6().Dst())
	}
	return netip.AddrFrom4([4]byte(p.IPv4()[16:20]))
}

// nextHopOf returns the neighbour that a routed packet goes to.
func nextHopOf(p *packet.Packet) netip.Addr {
	if hop := (*fib.Adjacency)(p.NextHop).Gateway(); hop.IsValid() {
		return hop
	}
	return destinationOf(p)
}

// tellSenders adds the redirects about packets of the burst that leave.
func (w *Worker) tellSenders(b *packet.Burst) {
	for i := range b.Live() {
		p := &b.Pkts[i]
		if p.Answer == packet.Redirect && (p.Verdict == packet.Transmit || p.Verdict == packet.Fragment) {
			w.answer(p, b.NowNs)
		}
	}
	w.redirects = 0
}

// Options of neighbour discovery. Source: RFC 4861 4.6.
const (
	ndTargetAddress = 2 // the link address of the target, in one unit
	ndAddressOption = 8
	ndRedirected    = 4 // the packet that is redirected, in units of 8 bytes
	ndOptionHeader  = 8
	redirect6Header = icmpHeader + 2*16 + ndAddressOption // target, destination and the target's link address behind it
	ndHopLimit      = 255                                 // proof that no router forwarded it
)

// buildRedirect6 writes an ICMPv6 redirect about p into e.
//
//	0 type 137, code 0, checksum   4 reserved   8 target   24 destination   40 options
//
// Source: RFC 4861 4.5 and 8.2.
func buildRedirect6(e, p *packet.Packet, in *Interface) {
	quote := p.Network()
	quote = quote[:min(len(quote), maxError6-packet.IPv6HeaderLen-redirect6Header-ndOptionHeader)&^7]
	length := redirect6Header + ndOptionHeader + len(quote)
	l3 := makeRoom(e, packet.EtherIPv6, packet.IPv6HeaderLen+length)
	h := (*packet.IPv6)(l3)
	*h = packet.IPv6{0: 6 << 4, 6: packet.ProtoICMPv6, 7: ndHopLimit}
	binary.BigEndian.PutUint16(h[4:], uint16(length))
	*h.Src(), *h.Dst() = in.LinkLocal6, *p.IPv6().Src()
	icmp := l3[packet.IPv6HeaderLen:]
	*(*[icmpHeader]byte)(icmp) = [icmpHeader]byte{packet.ICMPv6Redirect}
	target := nextHopOf(p).As16()
	copy(icmp[8:], target[:])
	copy(icmp[24:], p.IPv6().Dst()[:])
	address := icmp[redirect6Header-ndAddressOption:]
	address[0], address[1] = ndTargetAddress, 1
	copy(address[2:ndAddressOption], (*fib.Adjacency)(p.NextHop).L2[:6])
	option := icmp[redirect6Header:]
	*(*[ndOptionHeader]byte)(option) = [ndOptionHeader]byte{ndRedirected, uint8((ndOptionHeader + len(quote)) / 8)}
	quoteOriginal(option[ndOptionHeader:], quote, p, in)
	sum := packet.Sum(h.PseudoSum(packet.ProtoICMPv6, length), icmp)
	binary.BigEndian.PutUint16(icmp[2:], ^packet.Fold(sum))
	e.L4, e.Proto, e.Flags = packet.IPv6HeaderLen, packet.ProtoICMPv6, packet.IsIPv6
}

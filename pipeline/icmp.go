package pipeline

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"ffwd/packet"
)

// Sizes of ICMP errors, in bytes of L3.
const (
	maxError4  = 576  // RFC 1812 4.3.2.3
	maxError6  = 1280 // RFC 4443 2.4 (c)
	icmpHeader = 8
	quotedL4   = 8 // RFC 792: of what follows the quoted header, at least
	errorTTL   = 64

	// An error has the type of service of the packet that it is about, and internetwork
	// control for its precedence. Source: RFC 1812 4.3.2.5; RFC 1349 section 3.
	errorPrecedence = 0xc0
	typeOfService   = 0x1e
)

// errorCode is an Answer on the wire: type and code per family.
// Source: RFC 792, RFC 1812 5.2.7.1, RFC 4443 section 3.
var errorCode = [packet.NumAnswers]struct{ type4, code4, type6, code6 uint8 }{
	packet.TimeExceeded:     {packet.ICMPTimeExceeded, 0, packet.ICMPv6TimeExceeded, 0},
	packet.NetUnreachable:   {packet.ICMPUnreachable, 0, packet.ICMPv6Unreachable, 0},
	packet.HostUnreachable:  {packet.ICMPUnreachable, 1, packet.ICMPv6Unreachable, 3},
	packet.AdminProhibited:  {packet.ICMPUnreachable, 13, packet.ICMPv6Unreachable, 1},
	packet.TooBig:           {packet.ICMPUnreachable, 4, packet.ICMPv6TooBig, 0},
	packet.PortUnreachable:  {packet.ICMPUnreachable, 3, packet.ICMPv6Unreachable, 4},
	packet.Redirect:         {packet.ICMPRedirect, 1, packet.ICMPv6Redirect, 0}, // for the host: RFC 1812 5.2.7.2
	packet.ParameterProblem: {packet.ICMPParameterProblem, 0, 0, 0},             // IPv4 only
	packet.BeyondScope:      {0, 0, packet.ICMPv6Unreachable, 2},                // IPv6 only
}

// answer adds what answers a rejected packet to w.errors, if there may be an answer.
// The packet itself stays as it is, or becomes again what it was if it was translated.
// Source: FF-6 to FF-10, FF-14.
func (w *Worker) answer(p *packet.Packet, nowNs int64) {
	in := &w.snap.Interfaces[p.Ingress]
	if p.Translation != 0 && !w.table.Restore(p) { // its sender knows no other destination
		return
	}
	if p.Answer == packet.BeyondScope && p.IPv6().HopLimit() <= 1 && !in.Stealth {
		p.Answer = packet.TimeExceeded // that comes first, as in Linux
	}
	if fromLinkLocal(p) && (*packet.Ethernet)(p.Data).Src()&packet.MACGroupBit != 0 {
		return // no station
	}
	may := p.Answer == packet.TCPReset && mayReset(p) ||
		p.Answer != packet.TCPReset && mayAnswer(p) && in.answers(p)
	if !may || w.errors.N == len(w.errors.Pkts) {
		return
	}
	if !w.limits[p.Answer].allow(w.snap.ErrorRate, nowNs) {
		w.counter.ErrorsLimited++
		return
	}
	if !w.config.Pool.Alloc(unsafe.Pointer(&w.scratch[0]), 1) {
		return
	}
	w.counter.Created++
	e := &w.errors.Pkts[w.errors.N]
	w.errors.N++
	*e = packet.Packet{Head: packet.Head{L3: packet.EthernetLen, Verdict: packet.Continue}, Mbuf: w.scratch[0], Ingress: p.Ingress}
	if p.Answer == packet.TCPReset {
		w.counter.Resets++
		buildReset(e, p)
	} else {
		w.counter.Errors++
		buildError(e, p, in)
	}
	if fromLinkLocal(p) {
		straightBack(e, p, in)
	}
}

// buildError writes the ICMP error about p into e.
func buildError(e, p *packet.Packet, in *Interface) {
	switch {
	case !p.Is(packet.IsIPv6):
		buildError4(e, p, in)
	case p.Answer == packet.Redirect:
		buildRedirect6(e, p, in)
	default:
		buildError6(e, p, in)
	}
}

// answers reports whether the interface has an address to answer from.
func (in *Interface) answers(p *packet.Packet) bool {
	switch {
	case fromLinkLocal(p):
		return in.LinkLocal6 != [16]byte{}
	case p.Is(packet.IsIPv6):
		return in.answer6 != [16]byte{}
	}
	return in.answer4 != [4]byte{}
}

// sourceFor returns the interface's address that an error to a host comes from: one of
// the host's subnet if there is one, else the first, or that of another port; the link-local
// one for a host's link-local address. Source: FF-10; RFC 1812 4.3.2.4, RFC 4443 2.2, RFC 6724 section 5.
func (in *Interface) sourceFor(host netip.Addr) netip.Addr {
	for _, a := range in.Addresses {
		if a.Contains(host) && !a.Addr().IsLinkLocalUnicast() {
			return a.Addr()
		}
	}
	switch {
	case host.Is4():
		return netip.AddrFrom4(in.answer4)
	case host.IsLinkLocalUnicast():
		return netip.AddrFrom16(in.LinkLocal6)
	}
	return netip.AddrFrom16(in.answer6)
}

// mayAnswer holds the cases in which no ICMP error is sent, as far as the packet
// alone tells. A source that is no single host was a martian, or has a route
// that is not Forward. Source: FF-10; RFC 1812 4.3.2.7, RFC 4443 2.4 (e).
func mayAnswer(p *packet.Packet) bool {
	if p.Flags&(packet.LaterFragment|packet.LinkMulticast) != 0 {
		return false
	}
	l4 := p.Transport()
	switch {
	case p.Is(packet.IsIPv6):
		return p.Proto != packet.ProtoICMPv6 || len(l4) > 0 && l4[0] >= 128 && l4[0] != packet.ICMPv6Redirect
	case p.Proto == packet.ProtoICMP:
		return len(l4) > 0 && !isError4(l4[0])
	}
	return true
}

// isError4 reports whether an ICMP type is an error: unreachable, source quench,
// redirect, time exceeded, parameter problem. Source: RFC 1122 3.2.2.
func isError4(t uint8) bool { return t == 3 || t == 4 || t == 5 || t == 11 || t == 12 }

// buildError4 writes an ICMP error about p into e. It fits the link to the sender where
// header and 8 bytes of the packet do, which are quoted in any case. Source: RFC 792.
func buildError4(e, p *packet.Packet, in *Interface) {
	const headers = packet.IPv4HeaderLen + icmpHeader
	quote := p.Network()
	room := max(int(in.MTU)-headers, int(p.L4)+quotedL4)
	quote = quote[:min(len(quote), maxError4-headers, room)]
	l3 := makeRoom(e, packet.EtherIPv4, headers+len(quote))
	h := (*packet.IPv4)(l3)
	*h = packet.IPv4{0: 0x45, 1: errorPrecedence | p.Network()[1]&typeOfService, 8: errorTTL, 9: packet.ProtoICMP}
	h.SetTotalLen(len(l3))
	from := in.sourceFor(sourceOf(p)).As4()
	copy(h[12:16], from[:])
	copy(h[16:20], p.IPv4()[12:16])
	h.UpdateChecksum(h[:])
	code := errorCode[p.Answer]
	icmp := l3[packet.IPv4HeaderLen:]
	copy(icmp, []byte{code.type4, code.code4, 0, 0, 0, 0, 0, 0})
	switch p.Answer {
	case packet.TooBig:
		binary.BigEndian.PutUint16(icmp[6:], p.MTU) // RFC 1191 section 4
	case packet.ParameterProblem:
		icmp[4] = uint8(p.MTU) // RFC 792: pointer
	case packet.Redirect:
		hop := nextHopOf(p).As4()
		copy(icmp[4:], hop[:])
	}
	quoteOriginal(icmp[icmpHeader:], quote, p, in)
	binary.BigEndian.PutUint16(icmp[2:], packet.Checksum(icmp))
	e.L4, e.Proto = packet.IPv4HeaderLen, packet.ProtoICMP
}

// buildError6 writes an ICMPv6 error about p into e.
func buildError6(e, p *packet.Packet, in *Interface) {
	const headers = packet.IPv6HeaderLen + icmpHeader
	quote := p.Network()
	quote = quote[:min(len(quote), maxError6-headers)]
	l3 := makeRoom(e, packet.EtherIPv6, headers+len(quote))
	h := (*packet.IPv6)(l3)
	*h = packet.IPv6{0: 6 << 4, 6: packet.ProtoICMPv6, 7: errorTTL}
	binary.BigEndian.PutUint16(h[4:], uint16(len(l3)-packet.IPv6HeaderLen))
	*h.Src(), *h.Dst() = in.sourceFor(sourceOf(p)).As16(), *p.IPv6().Src()
	code := errorCode[p.Answer]
	icmp := l3[packet.IPv6HeaderLen:]
	copy(icmp, []byte{code.type6, code.code6, 0, 0, 0, 0, 0, 0})
	if p.Answer == packet.TooBig {
		binary.BigEndian.PutUint32(icmp[4:], uint32(p.MTU))
	}
	quoteOriginal(icmp[icmpHeader:], quote, p, in)
	sum := packet.Sum(h.PseudoSum(packet.ProtoICMPv6, len(icmp)), icmp)
	binary.BigEndian.PutUint16(icmp[2:], ^packet.Fold(sum))
	e.L4, e.Proto, e.Flags = packet.IPv6HeaderLen, packet.ProtoICMPv6, packet.IsIPv6
}

// quoteOriginal copies the beginning of a packet as it came in: what is found behind the
// TTL stage has lost a hop already, which its sender must not see. Source: RFC 1812 4.3.2.3.
func quoteOriginal(to, quote []byte, p *packet.Packet, in *Interface) {
	copy(to, quote)
	if in.Stealth || p.Answer != packet.TooBig && p.Answer != packet.Redirect {
		return
	}
	if p.Is(packet.IsIPv6) {
		to[7]++
		return
	}
	to[8]++
	(*packet.IPv4)(to).UpdateChecksum(to[:p.L4])
}

// makeRoom makes e a frame with n bytes of network packet and returns those.
func makeRoom(e *packet.Packet, etherType uint16, n int) []byte {
	frame := reserve(e.Mbuf, packet.EthernetLen+n)
	binary.BigEndian.PutUint16(frame[12:], etherType)
	e.Data, e.DataOff, e.Len = unsafe.Pointer(&frame[0]), e.Mbuf.DataOff, uint16(len(frame))
	return frame[packet.EthernetLen:]
}

package ct

import (
	"encoding/binary"

	"ffwd/packet"
)

// which is an end of a packet's header.
type which int

const (
	theSrc which = iota
	theDst
)

// headers are those of a packet, or of one that an ICMP error quotes.
type headers struct {
	l3    []byte
	l4    []byte // what there is of it: nothing of a later fragment, little of a quote
	proto uint8
	ipv6  bool
}

func headersOf(p *packet.Packet) headers {
	h := headers{l3: p.Network(), proto: p.Proto, ipv6: p.Is(packet.IsIPv6)}
	if !p.Is(packet.LaterFragment) {
		h.l4 = p.Transport()
	}
	return h
}

// address returns the bytes of an address in the header.
func (h *headers) address(s which) []byte {
	if h.ipv6 {
		return h.l3[8+16*s:][:16]
	}
	return h.l3[12+4*s:][:4]
}

// Offsets in transport headers. Source: RFC 9293 3.1, RFC 768, RFC 3828, RFC 4340 5.1, RFC 792.
const (
	none         = -1
	protoUDPLite = 136
	protoDCCP    = 33
	icmpID       = 4
)

// checksumAt returns the offset of a transport checksum that covers the pseudo-header, or
// of ICMP none of it; none for protocols that have no such checksum. That of SCTP is a CRC
// of the whole packet alone, see setEnd.
func (h *headers) checksumAt() int {
	at := none
	switch h.proto {
	case packet.ProtoTCP:
		at = 16
	case packet.ProtoUDP, protoUDPLite, protoDCCP:
		at = 6
	case packet.ProtoICMP, packet.ProtoICMPv6:
		at = 2
	}
	if at+2 > len(h.l4) {
		return none
	}
	return at
}

// portAt returns the offset of what is the port of an end: of an ICMP query it is the
// identifier, at the asking end alone.
func (h *headers) portAt(s which) int {
	switch h.proto {
	case packet.ProtoTCP, packet.ProtoUDP, packet.ProtoSCTP:
		if len(h.l4) >= 4 {
			return 2 * int(s)
		}
	case packet.ProtoICMP, packet.ProtoICMPv6:
		if len(h.l4) < icmpID+2 {
			return none
		}
		asking := theSrc
		if queryOf(h.proto, h.l4[0]).answer {
			asking = theDst
		}
		if s == asking {
			return icmpID
		}
	}
	return none
}

// set writes an end and corrects the checksums by the difference. What is there already
// changes nothing. Source: RFC 1624, RFC 3022 4.1 and 4.2.
func (h *headers) set(s which, to *endpoint) {
	acc := h.readdress(s, &to.addr)
	if h.proto == packet.ProtoICMP { // its checksum covers no addresses
		acc = 0
	}
	if port := h.portAt(s); port != none {
		var with [2]byte
		binary.LittleEndian.PutUint16(with[:], to.portLE)
		acc = packet.Replace(acc, h.l4[port:port+2], with[:])
	}
	sum := h.checksumAt()
	if acc == 0 || sum == none {
		return
	}
	field := h.l4[sum : sum+2]
	optional := h.proto == packet.ProtoUDP
	if optional && field[0]|field[1] == 0 { // there is none. Source: RFC 768, RFC 6935
		return
	}
	packet.Adjust(field, acc)
	if optional && field[0]|field[1] == 0 {
		field[0], field[1] = 0xff, 0xff
	}
}

// setEnd writes an end of a packet into its header, and what is known of its ports. It
// returns false if that cannot be done: SCTP's checksum covers all of a packet, and of one in
// fragments not all is there. In a quote it is left: nobody has all of what it covers.
func setEnd(p *packet.Packet, s which, to *endpoint) bool {
	h := headersOf(p)
	if at := h.portAt(s); h.proto == packet.ProtoSCTP && at != none && binary.LittleEndian.Uint16(h.l4[at:]) != to.portLE {
		if p.Is(packet.IsFragment) || len(h.l4) < sctpHeaderLen {
			return false
		}
		packet.ReplaceSCTP(h.l4, at, [2]byte{uint8(to.portLE), uint8(to.portLE >> 8)})
	}
	h.set(s, to)
	shift := 16 * s
	p.PortsLE = p.PortsLE&^(0xffff<<shift) | uint32(to.portLE)<<shift
	return true
}

// quotedHeaders returns the headers that an ICMP error quotes, which readQuote has passed.
func quotedHeaders(p *packet.Packet, q *quote) headers {
	inner := p.Transport()[icmpHeaderLen:]
	return headers{l3: inner, l4: q.l4, proto: q.proto, ipv6: p.Is(packet.IsIPv6)}
}

// translateQuote makes an ICMP error one about the packet that its destination sent: the
// one it quotes had been translated. The reporter's own address is left to translateReporter,
// so that the rules of hook out see who it is. Source: CT-4, FF-6; RFC 5508 4.2 and 4.3.
func (t *Table) translateQuote(p *packet.Packet, flow uint32) {
	var q quote
	if !readQuote(p, &q) {
		return // as it was when its flow was found
	}
	sent := t.way(flow, p.Translation, directionOf(p)^1)
	inner, outer := quotedHeaders(p, &q), headersOf(p)
	inner.set(theSrc, &sent.src)
	inner.set(theDst, &sent.dst)
	outer.readdress(theDst, &sent.src.addr)
	sealError(p)
}

// translateReporter hides the address that the flow hides, if the error comes from it or
// from behind it.
func (t *Table) translateReporter(p *packet.Packet) {
	dir := directionOf(p)
	flow := t.twin(p.Translation).flow
	came, sent := t.way(flow, p.Translation, dir), t.way(flow, p.Translation, dir^1)
	if came.src.addr == sent.dst.addr {
		return
	}
	outer := headersOf(p)
	outer.readdress(theSrc, &sent.dst.addr)
	sealError(p)
}

// readdress writes an address alone, and returns what that takes for packet.Adjust.
func (h *headers) readdress(s which, to *[16]byte) uint64 {
	at := h.address(s)
	acc := packet.Replace(0, at, to[:len(at)])
	if !h.ipv6 {
		packet.Adjust(h.l3[10:12], acc)
	}
	return acc
}

// sealError computes the checksum of an ICMP error anew. It was right, see readQuote.
func sealError(p *packet.Packet) {
	message := p.Transport()
	message[2], message[3] = 0, 0
	sum := uint64(0)
	if p.Is(packet.IsIPv6) {
		sum = p.IPv6().PseudoSum(packet.ProtoICMPv6, len(message))
	}
	binary.BigEndian.PutUint16(message[2:], ^packet.Fold(packet.Sum(sum, message)))
}

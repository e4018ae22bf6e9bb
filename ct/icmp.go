package ct

import (
	"encoding/binary"
	"unsafe"

	"ffwd/packet"
)

// quoted marks in Key1 the key that an ICMP error has from the packet it quotes:
// it leads to that packet's flow, and is no flow's own.
const quoted = 1 << 7

// query is what an ICMP type is to the tracker: the type of the request whose
// exchange it belongs to, and whether it is the answer.
type query struct {
	request uint8
	known   bool
	answer  bool
}

// queries4 and queries6 are the exchanges that have an identifier.
// Source: RFC 792, RFC 950, RFC 4443, RFC 4620.
var (
	queries4 = exchanges([2]uint8{8, 0}, [2]uint8{13, 14}, [2]uint8{15, 16}, [2]uint8{17, 18})
	queries6 = exchanges([2]uint8{128, 129}, [2]uint8{139, 140})
)

func exchanges(pairs ...[2]uint8) (t [256]query) {
	for _, p := range pairs {
		t[p[0]] = query{request: p[0], known: true}
		t[p[1]] = query{request: p[0], known: true, answer: true}
	}
	return t
}

// QueryPorts returns what stands for the ports of an ICMP query or answer, as
// packet.Packet.PortsLE has them: at the asking end the identifier, at the other
// the request's type and the code. ok is false for any other message. icmp is its
// first 8 bytes.
func QueryPorts(proto uint8, icmp *[8]byte) (portsLE uint32, ok bool) {
	q := queryOf(proto, icmp[0])
	id, what := uint32(binary.LittleEndian.Uint16(icmp[4:])), uint32(q.request)|uint32(icmp[1])<<8
	if q.answer {
		return what | id<<16, q.known
	}
	return id | what<<16, q.known
}

func queryOf(proto, icmpType uint8) *query {
	if proto == packet.ProtoICMP {
		return &queries4[icmpType]
	}
	return &queries6[icmpType]
}

// isError reports whether an ICMP message quotes a packet. Source: RFC 1122 3.2.2,
// RFC 4443 2.1.
func isError(proto, icmpType uint8) bool {
	if proto == packet.ProtoICMP {
		return icmpType == 3 || icmpType == 4 || icmpType == 5 || icmpType == 11 || icmpType == 12
	}
	return icmpType < 128
}

// withoutState are ICMPv6 messages that are no part of any exchange between two
// hosts: multicast listener, neighbour and multicast router discovery. A redirect
// comes from a router alone, and is no business of one. Source: RFC 4861, RFC 3810,
// RFC 4286.
func withoutState(proto, icmpType uint8) bool {
	switch icmpType {
	case 130, 131, 132, 133, 134, 135, 136, 143, 151, 152:
		return proto == packet.ProtoICMPv6
	}
	return false
}

const (
	icmpHeaderLen = 8
	quotedL4      = 8 // RFC 792: the header and 8 bytes more
)

// quote is the start of a packet that an ICMP error carries.
type quote struct {
	proto    uint8
	portsLE  uint32
	src, dst []byte
	l4       []byte
}

// Quotes reports whether a packet has the key of another that it quotes, and has not been
// looked up yet.
func Quotes(p *packet.Packet) bool { return p.Key1&quoted != 0 }

// readQuote finds the packet that an ICMP error quotes. It returns false for an
// error that is cut short, quotes no start of a packet that can have a flow, has
// not gone to that packet's sender, or has a wrong checksum, its own or in the
// IPv4 header it quotes. Source: CT-4; RFC 1812 4.3.2, RFC 5927 section 4.
func readQuote(p *packet.Packet, q *quote) bool {
	message := p.Transport()
	if len(message) < icmpHeaderLen {
		return false
	}
	inner := message[icmpHeaderLen:]
	var header int
	if p.Is(packet.IsIPv6) {
		if len(inner) < packet.IPv6HeaderLen+quotedL4 || inner[0]>>4 != 6 || packet.Fold(packet.Sum(p.IPv6().PseudoSum(packet.ProtoICMPv6, len(message)), message)) != 0xffff {
			return false
		}
		h := (*packet.IPv6)(inner)
		q.src, q.dst = h.Src()[:], h.Dst()[:]
		if q.proto, header = quotedTransport(inner); header == 0 || *p.IPv6().Dst() != *h.Src() {
			return false
		}
	} else {
		if len(inner) < packet.IPv4HeaderLen || inner[0]>>4 != 4 || packet.Checksum(message) != 0 {
			return false
		}
		h := (*packet.IPv4)(inner)
		header = h.HeaderLen()
		if header < packet.IPv4HeaderLen || len(inner) < header+quotedL4 || packet.Checksum(inner[:header]) != 0 ||
			h.FragField()&packet.IPv4OffsetMask != 0 || h.TotalLen() < header+quotedL4 || p.IPv4().Dst() != h.Src() {
			return false
		}
		q.proto, q.src, q.dst = h.Proto(), inner[12:16], inner[16:20]
	}
	q.l4 = inner[header:]
	switch q.proto {
	case packet.ProtoTCP, packet.ProtoUDP, packet.ProtoSCTP:
		q.portsLE = binary.LittleEndian.Uint32(q.l4)
	case packet.ProtoICMP, packet.ProtoICMPv6:
		ports, known := QueryPorts(q.proto, (*[8]byte)(q.l4))
		if !known {
			return false
		}
		q.portsLE = ports
	}
	return true
}

// quotedTransport finds the transport header in what there is of an IPv6 packet. at is 0 if
// there are no 8 bytes of it, as in a later fragment. Source: RFC 8200 section 4.
func quotedTransport(inner []byte) (proto uint8, at int) {
	proto, at = inner[6], packet.IPv6HeaderLen
	for at+quotedL4 <= len(inner) {
		size := 8 + 8*int(inner[at+1])
		switch proto {
		case packet.ProtoHopByHop, packet.ProtoRouting, packet.ProtoDstOpts:
		case packet.ProtoFragment:
			const offset = 0xfff8
			if size = 8; binary.BigEndian.Uint16(inner[at+2:])&offset != 0 {
				return proto, 0
			}
		default:
			return proto, at
		}
		proto, at = inner[at], at+size
	}
	return proto, 0
}

// quoteKey gives an ICMP error the key of the flow it is about. KeySwapped is that of
// the quoted packet.
func (s *Secret) quoteKey(p *packet.Packet, zone uint16) {
	var q quote
	if !readQuote(p, &q) {
		p.Flags |= packet.Broken
		return
	}
	o := oneWay{src: endpoint{portLE: uint16(q.portsLE)}, dst: endpoint{portLE: uint16(q.portsLE >> 16)}}
	copy(o.src.addr[:], q.src)
	copy(o.dst.addr[:], q.dst)
	k, hash, swapped := s.keyOf(&o, q.proto, zone, p.Is(packet.IsIPv6))
	if swapped {
		p.Flags |= packet.KeySwapped
	}
	p.Key0, p.Key1, p.Hash = k.k0, k.k1|quoted, hash
}

// relate ties an ICMP error to the flow it quotes: related, or invalid if there is
// none, or the segment it quotes was never sent. The flow is not refreshed. The
// error has no flow of its own, so rules judge it anew, with the flow's mark.
func (t *Table) relate(p *packet.Packet) {
	p.Key1 &^= quoted
	entry := t.findQuoted(p)
	// The quoted packet left us: its reverse is what its receiver sends.
	flow, dir, ok := t.owner(entry, !p.Is(packet.KeySwapped))
	if flow == 0 || !ok {
		t.refuse(p)
		return
	}
	f, quotedDir := t.flow(flow), dir^1
	if f.proto() == packet.ProtoTCP && !t.inFlight(p, flow, quotedDir) {
		t.refuse(p)
		return
	}
	t.Related++
	p.State, p.CtMark, p.Translation = packet.CtRelated, f.mark, t.translation(flow)
	if quotedDir == Original {
		p.Flags |= packet.ReplyDir
	}
}

// findQuoted is find by the addresses of the quoted packet.
func (t *Table) findQuoted(p *packet.Packet) uint32 {
	if !p.Is(packet.IsIPv6) {
		return t.find(p)
	}
	whole := *p // the same packet, as if its network header were the quoted one
	whole.Data = unsafe.Pointer(&p.Transport()[icmpHeaderLen])
	whole.L3 = 0
	return t.find(&whole)
}

// inFlight reports whether a quoted segment is one that its sender sent, and not long
// ago. Source: RFC 5927 4.1.
func (t *Table) inFlight(p *packet.Packet, flow uint32, dir int) bool {
	var q quote
	w := t.window(flow)
	from, to := &w.side[dir], &w.side[dir^1]
	if from.maxWin == 0 || t.settings.Liberal || w.side[Original].more&connLiberal != 0 {
		return true
	}
	if !readQuote(p, &q) {
		return false
	}
	seq := binary.BigEndian.Uint32(q.l4[4:])
	return !after(seq, from.end) && after(seq, from.end-max(to.window(), maxAckLag)-1)
}

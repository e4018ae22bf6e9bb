package ct

import (
	"encoding/binary"

	"ffwd/packet"
)

// segment is a TCP segment as the tracker sees it. Source: RFC 9293 3.1.
type segment struct {
	seq, ack uint32
	end      uint32 // seq and the length in sequence space; SYN and FIN count one each
	sack     uint32 // the right edge of what is acknowledged, selectively too
	win      uint16 // as on the wire, unscaled
	flags    uint8
	kind     kind
	options  []byte
}

// kind is what a segment means to the state machine. Of several flags the first
// in this order decides.
type kind uint8

const (
	segRst kind = iota
	segSyn
	segSynAck
	segFin
	segAck
	numKinds
)

// Flags of tcpFlagsPlain do not count for what a segment means.
const (
	tcpPsh = 0x08
	tcpUrg = 0x20
	tcpEce = 0x40
	tcpCwr = 0x80

	tcpFlagsPlain = tcpPsh | tcpEce | tcpCwr
)

// validFlags has a bit for each combination of FIN, SYN, RST, ACK and URG that an
// endpoint may send. The others are scans: a segment on a connection has ACK set
// unless it is the first SYN or a RST, and opens or closes it, not both.
const validFlags = uint64(1<<packet.TCPSyn |
	1<<(packet.TCPSyn|tcpUrg) |
	1<<(packet.TCPSyn|packet.TCPAck) |
	1<<packet.TCPRst |
	1<<(packet.TCPRst|packet.TCPAck) |
	1<<(packet.TCPFin|packet.TCPAck) |
	1<<(packet.TCPFin|packet.TCPAck|tcpUrg) |
	1<<packet.TCPAck |
	1<<(packet.TCPAck|tcpUrg))

const tcpHeaderLen = 20

// parseSegment reads a segment's header. It returns false for one whose header is
// cut short or whose flags no endpoint sends together.
func parseSegment(p *packet.Packet, s *segment) bool {
	l4 := p.Transport()
	if len(l4) < tcpHeaderLen {
		return false
	}
	header := int(l4[12]>>4) * 4
	flags := l4[13] &^ tcpFlagsPlain
	if header < tcpHeaderLen || header > len(l4) || validFlags>>flags&1 == 0 {
		return false
	}
	be := binary.BigEndian
	s.seq, s.ack, s.win = be.Uint32(l4[4:]), be.Uint32(l4[8:]), be.Uint16(l4[14:])
	s.sack, s.flags, s.options = s.ack, flags, l4[tcpHeaderLen:header]
	s.end = s.seq + uint32(len(l4)-header) + uint32(flags>>1&1) + uint32(flags&1)
	switch {
	case flags&packet.TCPRst != 0:
		s.kind = segRst
	case flags&packet.TCPSyn != 0:
		if s.kind = segSyn; flags&packet.TCPAck != 0 {
			s.kind = segSynAck
		}
	case flags&packet.TCPFin != 0:
		s.kind = segFin
	default:
		s.kind = segAck
	}
	return true
}

// TCP options. Source: IANA TCP parameters; RFC 7323, RFC 2018.
const (
	optionEnd         = 0
	optionNoOp        = 1
	optionWindowScale = 3
	optionSackOK      = 4
	optionSack        = 5

	maxScale = 14 // RFC 7323 2.3
)

// walkOptions calls visit with each option's kind and value. A malformed list
// ends early.
func walkOptions(o []byte, visit func(option byte, value []byte)) {
	for len(o) > 0 && o[0] != optionEnd {
		if o[0] == optionNoOp {
			o = o[1:]
			continue
		}
		if len(o) < 2 || int(o[1]) < 2 || int(o[1]) > len(o) {
			return
		}
		visit(o[0], o[2:o[1]])
		o = o[o[1]:]
	}
}

// offers reads what a SYN offers: its window scale, -1 for none, and whether it
// takes selective acknowledgements.
func (s *segment) offers() (scale int, sackOK bool) {
	scale = -1
	walkOptions(s.options, func(option byte, value []byte) {
		switch {
		case option == optionWindowScale && len(value) == 1:
			scale = min(int(value[0]), maxScale)
		case option == optionSackOK && len(value) == 0:
			sackOK = true
		}
	})
	return scale, sackOK
}

// readSack moves sack to the right edge of the rightmost selective block.
func (s *segment) readSack() {
	walkOptions(s.options, func(option byte, value []byte) {
		if option != optionSack || len(value)%8 != 0 {
			return
		}
		for ; len(value) >= 8; value = value[8:] {
			if right := binary.BigEndian.Uint32(value[4:]); after(right, s.sack) {
				s.sack = right
			}
		}
	})
}

// after reports whether sequence number a comes after b, on the circle of 2^32.
// Source: RFC 9293 3.4.
func after(a, b uint32) bool { return int32(b-a) < 0 }

package pipeline

import (
	"encoding/binary"

	"ffwd/packet"
)

// tcpHeaderLen is a TCP header without options. Source: RFC 9293 3.1.
const tcpHeaderLen = 20

// mayReset tells whether a TCP reset may answer the packet: it is a whole segment, to
// one host, and no reset itself. Source: FF-6; RFC 9293 3.5.2.
func mayReset(p *packet.Packet) bool {
	if p.Proto != packet.ProtoTCP || p.Flags&(packet.IsFragment|packet.LinkMulticast|packet.Broken) != 0 {
		return false
	}
	l4 := p.Transport()
	offset := dataOffset(l4)
	return offset >= tcpHeaderLen && offset <= len(l4) && l4[13]&packet.TCPRst == 0
}

// dataOffset is the bytes of a TCP header.
func dataOffset(l4 []byte) int { return int(l4[12]>>4) * 4 }

// buildReset writes into e what a host with no such connection answers the segment p:
// where p acknowledges something, a reset in the sequence it expects, else one that
// acknowledges all that p sent. It comes from p's destination, as rules that reject stand
// in its place.
//
//	0 source port  2 destination port  4 sequence  8 acknowledgement
//	12 data offset 13 flags 14 window 16 checksum 18 urgent pointer
//
// Source: FF-6; RFC 9293 3.5.2, groups 1 and 2.
func buildReset(e, p *packet.Packet) {
	from := p.Transport()
	var l4 []byte
	var sum uint64
	if p.Is(packet.IsIPv6) {
		l3 := makeRoom(e, packet.EtherIPv6, packet.IPv6HeaderLen+tcpHeaderLen)
		h := (*packet.IPv6)(l3)
		*h = packet.IPv6{0: 6 << 4, 5: tcpHeaderLen, 6: packet.ProtoTCP, 7: errorTTL}
		*h.Src(), *h.Dst() = *p.IPv6().Dst(), *p.IPv6().Src()
		e.L4, e.Flags = packet.IPv6HeaderLen, packet.IsIPv6
		l4, sum = l3[packet.IPv6HeaderLen:], h.PseudoSum(packet.ProtoTCP, tcpHeaderLen)
	} else {
		l3 := makeRoom(e, packet.EtherIPv4, packet.IPv4HeaderLen+tcpHeaderLen)
		h := (*packet.IPv4)(l3)
		*h = packet.IPv4{0: 0x45, 6: packet.IPv4DontFragment >> 8, 8: errorTTL, 9: packet.ProtoTCP}
		h.SetTotalLen(len(l3))
		copy(h[12:16], p.IPv4()[16:20])
		copy(h[16:20], p.IPv4()[12:16])
		h.UpdateChecksum(h[:])
		e.L4 = packet.IPv4HeaderLen
		l4, sum = l3[packet.IPv4HeaderLen:], packet.Sum(packet.ProtoTCP+tcpHeaderLen, h[12:20])
	}
	e.Proto = packet.ProtoTCP
	*(*[tcpHeaderLen]byte)(l4) = [tcpHeaderLen]byte{12: tcpHeaderLen / 4 << 4, 13: packet.TCPRst}
	copy(l4[0:2], from[2:4])
	copy(l4[2:4], from[0:2])
	if flags := from[13]; flags&packet.TCPAck != 0 {
		copy(l4[4:8], from[8:12])
	} else {
		length := len(from) - dataOffset(from) + int(flags&packet.TCPFin) + int(flags&packet.TCPSyn)/packet.TCPSyn
		binary.BigEndian.PutUint32(l4[8:], binary.BigEndian.Uint32(from[4:])+uint32(length))
		l4[13] |= packet.TCPAck
	}
	binary.BigEndian.PutUint16(l4[16:], ^packet.Fold(packet.Sum(sum, l4)))
}

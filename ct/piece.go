package ct

import (
	"encoding/binary"
	"math/bits"

	"ffwd/packet"
)

// datagramKey tells the fragments of one datagram from all others. Source: RFC 791 2.3,
// RFC 8200 4.5, where the protocol does not count.
type datagramKey struct {
	src, dst [16]byte
	id       uint32
	where    uint32 // VRF and zone
	proto    uint8  // 0 of IPv6
	family   uint8
}

// piece is what a fragment's header says of its place in the datagram.
type piece struct {
	offset, length int // bytes
	header         int // IPv4: of the network header, which counts towards the largest datagram
	id             uint32
	more           bool
}

// maxPayload is the longest payload of a datagram in bytes, an IPv4 header included.
const maxPayload = 65535

// readPiece reads the fragment field or header of a fragment. It returns false for an
// extension chain in which there is none.
func readPiece(p *packet.Packet) (f piece, ok bool) {
	if p.Flags&packet.IsIPv6 == 0 {
		h := p.IPv4()
		field := h.FragField()
		f = piece{
			offset: 8 * int(field&packet.IPv4OffsetMask), length: p.L3Len() - h.HeaderLen(), header: h.HeaderLen(),
			id: uint32(binary.BigEndian.Uint16(h[4:])), more: field&packet.IPv4MoreFragments != 0,
		}
		return f, true
	}
	whole := p.Network()
	next, at := p.IPv6().NextHeader(), packet.IPv6HeaderLen
	for at+8 <= len(whole) {
		size := 8 + 8*int(whole[at+1])
		switch next {
		case packet.ProtoFragment:
			field := binary.BigEndian.Uint16(whole[at+2:])
			f = piece{
				offset: int(field &^ 7), length: len(whole) - at - 8,
				id: binary.BigEndian.Uint32(whole[at+4:]), more: field&1 != 0,
			}
			return f, true
		case packet.ProtoHopByHop, packet.ProtoRouting, packet.ProtoDstOpts:
		case packet.ProtoAH:
			size = 4 * (int(whole[at+1]) + 2)
		default:
			return f, false
		}
		next, at = whole[at], at+size
	}
	return f, false
}

// malformed reports whether no sender makes such a fragment: an empty one, one that ends
// beyond the largest datagram, or one in the middle that does not end on a multiple of 8.
// Source: RFC 791 3.1, RFC 8200 4.5.
func (f *piece) malformed() bool {
	return f.length <= 0 || f.more && f.length%8 != 0 || f.header+f.offset+f.length > maxPayload
}

func (f *piece) span() span {
	return span{uint16(f.offset / 8), uint16((f.offset + f.length + 7) / 8)}
}

// datagramOf returns the key of a fragment's datagram.
func datagramOf(p *packet.Packet, f *piece, where uint32) (k datagramKey) {
	k.id, k.where = f.id, where
	if p.Is(packet.IsIPv6) {
		h := p.IPv6()
		k.src, k.dst, k.family = *h.Src(), *h.Dst(), family6
		return k
	}
	h := p.IPv4()
	copy(k.src[:4], h[12:16])
	copy(k.dst[:4], h[16:20])
	k.proto, k.family = p.Proto, family4
	return k
}

// FragmentHome returns the keyed hash that tells which worker keeps what is known of a
// fragment's datagram, see Owner: of the addresses, in no order, and of where, as given to
// Fragments.Take. Any worker may call it. Source: CT-5, CT-8.
func (s *Secret) FragmentHome(p *packet.Packet, where uint32) uint64 {
	if p.Is(packet.IsIPv6) {
		low, high := p.IPv6().Src(), p.IPv6().Dst()
		if behind(low, high, 0) != 0 {
			low, high = high, low
		}
		return s.hash(s.digest(low, high), uint64(where)<<8|family6)
	}
	ends := binary.LittleEndian.Uint64(p.IPv4()[12:])
	return s.hash(min(ends, bits.RotateLeft64(ends, 32)), uint64(where)<<8|family4)
}

// FirstKey gives a first fragment the key of its flow, as Tuples does for a whole packet.
// It returns false for one that shows too little of its L4 header for it. An ICMP message
// that is no query has no flow: only of the whole could be told what it is about. It is
// marked invalid. Any worker may call it. Source: CT-5; RFC 1858, RFC 7112.
func (s *Secret) FirstKey(p *packet.Packet, zone uint16) (ok bool) {
	if p.Is(packet.Broken) {
		return false
	}
	switch p.Proto {
	case packet.ProtoTCP, packet.ProtoUDP, packet.ProtoSCTP:
		p.Flags |= packet.HasPorts
	case packet.ProtoICMP, packet.ProtoICMPv6:
		ports, known := QueryPorts(p.Proto, (*[8]byte)(p.Transport()))
		if !known {
			p.Flags |= packet.Broken
			return true
		}
		p.PortsLE = ports
		p.Flags |= packet.HasPorts
	}
	if p.Is(packet.IsIPv6) {
		s.key6(&p.Head, zone)
	} else {
		s.tuple4(p, zone)
	}
	return true
}

// FlowFold returns the exclusive or of the 16-bit words, in host order, of the addresses
// of a packet with a key, and of its ports if it is of TCP or UDP: what a device's
// symmetric hash is made of. Of an ICMP error it is that of the packet it quotes.
// Any worker may call it. Source: CT-1.
func FlowFold(p *packet.Packet) uint16 {
	x := p.Key0
	if p.Is(packet.IsIPv6) {
		h := p.Network()
		if p.Key1&quoted != 0 {
			h = p.Transport()[icmpHeaderLen:]
		}
		le := binary.LittleEndian
		x = le.Uint64(h[8:]) ^ le.Uint64(h[16:]) ^ le.Uint64(h[24:]) ^ le.Uint64(h[32:])
	}
	if proto := (key{p.Key0, p.Key1}).proto(); proto == packet.ProtoTCP || proto == packet.ProtoUDP {
		x ^= p.Key1 >> 32
	}
	x ^= x >> 32
	return bits.ReverseBytes16(uint16(x>>16 ^ x))
}

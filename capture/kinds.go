package capture

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"ffwd/packet"
)

// Kinds that a caller may have to leave out.
const (
	// KindOversize needs more than one mbuf of DPDK's default size.
	KindOversize Kind = "oversize"
	// KindRandomHeader and KindRandomFrame meet a fate that nobody can foretell.
	KindRandomHeader Kind = "random_header"
	KindRandomFrame  Kind = "random_frame"
)

// OversizeBytes is the length of an oversize frame: above any jumbo MTU.
const OversizeBytes = 12000

// Reasons of kinds that are not dropped or punted for sure.
const (
	forwarded  = packet.NumReasons
	unforeseen = packet.NumReasons + 1
)

// kind is a row of the table: a good datagram is prepared, built, and spoiled.
type kind struct {
	name    Kind
	ipv6    bool
	reason  packet.Reason
	prepare func(d *datagram, random *rand.Rand)
	spoil   func(b []byte, random *rand.Rand) []byte
}

// Offsets in an untagged frame.
const (
	atL3   = packet.EthernetLen
	atL4v4 = atL3 + packet.IPv4HeaderLen
	atL4v6 = atL3 + packet.IPv6HeaderLen
)

var kinds = []kind{
	// The link layer.
	{name: "ethernet_truncated", reason: packet.FrameTooShort, spoil: cutBelow(1, packet.EthernetLen)},
	{name: "other_mac", reason: packet.NotOurMAC, spoil: setByte(5, 0xee)},
	{name: "vlan_unknown", reason: packet.UnknownVLAN, prepare: func(d *datagram, random *rand.Rand) { d.vlan = 2 + random.IntN(4092) }},
	{name: "vlan_reserved", reason: packet.UnknownVLAN, prepare: func(d *datagram, _ *rand.Rand) { d.vlan = 4095 }},
	{name: "vlan_truncated", reason: packet.FrameTooShort,
		prepare: func(d *datagram, _ *rand.Rand) { d.vlan = 2 }, spoil: cutBelow(atL3, atL3+packet.VLANTagLen)},
	{name: "arp", reason: packet.PuntARP, spoil: arpRequest},
	{name: "ethertype_unknown", reason: packet.PuntEtherType, spoil: set16(12, 0x88b5)}, // IEEE 802 local experimental

	// IPv4 header fields. Source: RFC 1812 5.2.2.
	{name: "ipv4_truncated", reason: packet.FrameTooShort, spoil: cutBelow(atL3, atL4v4)},
	{name: "ipv4_version", reason: packet.BadVersion, spoil: func(b []byte, random *rand.Rand) []byte {
		b[atL3] = b[atL3]&15 | byte(5+random.IntN(11))<<4
		return b
	}},
	{name: "ipv4_ihl_below_5", reason: packet.BadHeaderLength, spoil: func(b []byte, random *rand.Rand) []byte {
		b[atL3] = 4<<4 | byte(random.IntN(5))
		return b
	}},
	{name: "ipv4_ihl_beyond_frame", reason: packet.BadHeaderLength, spoil: func(b []byte, _ *rand.Rand) []byte {
		b[atL3] = 4<<4 | 15
		return b[:atL4v4+8]
	}},
	{name: "ipv4_length_below_header", reason: packet.BadTotalLength, spoil: func(b []byte, random *rand.Rand) []byte {
		return resum(set16(atL3+2, uint16(random.IntN(packet.IPv4HeaderLen)))(b, random))
	}},
	{name: "ipv4_length_beyond_frame", reason: packet.BadTotalLength, spoil: func(b []byte, random *rand.Rand) []byte {
		return resum(set16(atL3+2, uint16(len(b)-atL3+1+random.IntN(1000)))(b, random))
	}},
	{name: "ipv4_checksum", reason: packet.BadChecksum, spoil: func(b []byte, random *rand.Rand) []byte {
		b[atL3+10+random.IntN(2)] ^= 1 << random.IntN(8)
		return b
	}},

	// Martians. Source: RFC 1812 5.3.7, RFC 4291 2.5.
	{name: "ipv4_src_multicast", reason: packet.Martian, prepare: from("224.0.0.9")},
	{name: "ipv4_src_broadcast", reason: packet.Martian, prepare: from("255.255.255.255")},
	{name: "ipv4_src_class_e", reason: packet.Martian, prepare: from("240.0.0.1")},
	{name: "ipv4_src_loopback", reason: packet.Martian, prepare: from("127.0.0.1")},
	{name: "ipv4_src_zero", reason: packet.Martian, prepare: from("0.0.0.0")},
	{name: "ipv4_dst_zero", reason: packet.Martian, prepare: to("0.0.0.0")},
	{name: "ipv4_dst_loopback", reason: packet.Martian, prepare: to("127.0.0.1")},
	{name: "ipv4_dst_class_e", reason: packet.Martian, prepare: to("240.0.0.1")},
	{name: "ipv6_src_multicast", ipv6: true, reason: packet.Martian, prepare: from("ff02::1")},
	{name: "ipv6_src_loopback", ipv6: true, reason: packet.Martian, prepare: from("::1")},
	{name: "ipv6_src_unspecified", ipv6: true, reason: packet.Martian, prepare: from("::")},
	{name: "ipv6_dst_loopback", ipv6: true, reason: packet.Martian, prepare: to("::1")},
	{name: "ipv6_dst_unspecified", ipv6: true, reason: packet.Martian, prepare: to("::")},
	{name: "ipv4_dst_multicast", reason: packet.PuntMulticast, prepare: to("224.0.0.5")},
	{name: "ipv4_dst_broadcast", reason: packet.PuntMulticast, prepare: to("255.255.255.255")},
	{name: "ipv6_dst_multicast", ipv6: true, reason: packet.PuntMulticast, prepare: to("ff02::5")},

	// Options and fragments. Source: RFC 791 3.1 and 3.2, RFC 1858.
	{name: "ipv4_option_nop", reason: packet.PuntOptions, prepare: options(1, 1, 1, 0)},
	{name: "ipv4_option_router_alert", reason: packet.PuntOptions, prepare: options(148, 4, 0, 0)},
	{name: "ipv4_option_source_route", reason: packet.PuntOptions, prepare: options(131, 7, 4, 192, 0, 2, 1, 0)},
	{name: "ipv4_option_overlong", reason: packet.PuntOptions, prepare: options(7, 255, 4, 0)},
	{name: "ipv4_fragment_first", reason: forwarded, spoil: fragment(packet.IPv4MoreFragments)},
	{name: "ipv4_fragment_middle", reason: forwarded, spoil: fragment(packet.IPv4MoreFragments | 185)},
	{name: "ipv4_fragment_last", reason: forwarded, spoil: fragment(370)},
	{name: "ipv4_fragment_offset_1", reason: forwarded, spoil: fragment(1)},
	{name: "ipv4_fragment_beyond_64k", reason: forwarded, spoil: fragment(packet.IPv4OffsetMask)},
	{name: "ipv4_fragment_and_df", reason: forwarded, spoil: fragment(packet.IPv4MoreFragments | packet.IPv4DontFragment)},

	// The transport header is the end hosts' to check; conntrack may find it invalid.
	{name: "udp_checksum", reason: forwarded, spoil: func(b []byte, _ *rand.Rand) []byte { b[atL4v4+6] ^= 0x10; return b }},
	{name: "udp_length", reason: forwarded, spoil: set16(atL4v4+4, 0xffff)},
	{name: "udp_truncated", reason: forwarded, spoil: func(b []byte, random *rand.Rand) []byte {
		b = b[:atL4v4+random.IntN(udpHeaderLen)]
		return resum(set16(atL3+2, uint16(len(b)-atL3))(b, random))
	}},

	// IPv6 header fields and extension chains. Source: RFC 8200 sections 3 and 4.
	{name: "ipv6_truncated", ipv6: true, reason: packet.FrameTooShort, spoil: cutBelow(atL3, atL4v6)},
	{name: "ipv6_version", ipv6: true, reason: packet.BadVersion, spoil: setByte(atL3, 0x40)},
	{name: "ipv6_length_beyond_frame", ipv6: true, reason: packet.BadTotalLength, spoil: func(b []byte, random *rand.Rand) []byte {
		return set16(atL3+4, uint16(len(b)-atL4v6+1+random.IntN(1000)))(b, random)
	}},
	{name: "ipv6_hop_by_hop", ipv6: true, reason: packet.PuntExtension, spoil: chain(packet.ProtoHopByHop)},
	{name: "ipv6_chain_known", ipv6: true, reason: forwarded, spoil: chain(packet.ProtoDstOpts, packet.ProtoRouting)},
	{name: "ipv6_chain_endless", ipv6: true, reason: packet.PuntExtension, spoil: chain(repeated(packet.ProtoDstOpts, 20)...)},
	{name: "ipv6_chain_cut_short", ipv6: true, reason: packet.PuntExtension, spoil: chainBeyondPacket},
	{name: "ipv6_fragment", ipv6: true, reason: forwarded, spoil: fragment6},

	// Size and noise.
	{name: KindOversize, reason: packet.RxOversized,
		prepare: func(d *datagram, _ *rand.Rand) { d.payload = make([]byte, OversizeBytes-atL4v4-udpHeaderLen) }},
	{name: KindRandomHeader, reason: unforeseen, spoil: func(b []byte, random *rand.Rand) []byte { return noise(b, atL3, random) }},
	{name: KindRandomFrame, reason: unforeseen, spoil: func(b []byte, random *rand.Rand) []byte {
		return noise(b[:1+random.IntN(len(b))], 0, random)
	}},
}

func from(addr string) func(*datagram, *rand.Rand) {
	a := netip.MustParseAddr(addr)
	return func(d *datagram, _ *rand.Rand) { d.Src = netip.AddrPortFrom(a, d.Src.Port()) }
}

func to(addr string) func(*datagram, *rand.Rand) {
	a := netip.MustParseAddr(addr)
	return func(d *datagram, _ *rand.Rand) { d.Dst = netip.AddrPortFrom(a, d.Dst.Port()) }
}

func options(bytes ...byte) func(*datagram, *rand.Rand) {
	return func(d *datagram, _ *rand.Rand) { d.options = bytes }
}

func setByte(at int, v byte) func([]byte, *rand.Rand) []byte {
	return func(b []byte, _ *rand.Rand) []byte { b[at] = v; return b }
}

func set16(at int, v uint16) func([]byte, *rand.Rand) []byte {
	return func(b []byte, _ *rand.Rand) []byte { binary.BigEndian.PutUint16(b[at:], v); return b }
}

// cutBelow leaves at least shortest bytes of the frame and fewer than limit.
func cutBelow(shortest, limit int) func([]byte, *rand.Rand) []byte {
	return func(b []byte, random *rand.Rand) []byte { return b[:shortest+random.IntN(limit-shortest)] }
}

// resum makes the IPv4 header's checksum right again, so that only what was
// broken on purpose is.
func resum(b []byte) []byte { finishIPv4(b[atL3:]); return b }

// fragment sets the fragment field: flags, and offset in units of 8 bytes. The
// payload of one with more to come is a multiple of 8 bytes.
func fragment(field uint16) func([]byte, *rand.Rand) []byte {
	return func(b []byte, random *rand.Rand) []byte {
		b = b[:atL4v4+(len(b)-atL4v4)/8*8]
		set16(atL3+2, uint16(len(b)-atL3))(b, random)
		return resum(set16(atL3+6, field)(b, random))
	}
}

// insertAfterIPv6 puts extension headers behind the IPv6 header, the first of type next.
func insertAfterIPv6(b []byte, next byte, headers []byte) []byte {
	rest := append([]byte(nil), b[atL4v6:]...)
	b = append(append(b[:atL4v6], headers...), rest...)
	b[atL3+6] = next
	binary.BigEndian.PutUint16(b[atL3+4:], uint16(len(b)-atL4v6))
	return b
}

// chain inserts 8-byte extension headers of the given types, each holding padding
// (a routing header: no segments left).
func chain(types ...byte) func([]byte, *rand.Rand) []byte {
	return func(b []byte, _ *rand.Rand) []byte {
		var headers []byte
		for i := range types {
			next := byte(packet.ProtoUDP)
			if i+1 < len(types) {
				next = types[i+1]
			}
			body := [6]byte{1, 4} // PadN. Source: RFC 8200 4.2
			if types[i] == packet.ProtoRouting {
				body = [6]byte{253} // experimental type. Source: RFC 4727
			}
			headers = append(append(headers, next, 0), body[:]...)
		}
		return insertAfterIPv6(b, types[0], headers)
	}
}

func repeated(v byte, n int) []byte {
	list := make([]byte, n)
	for i := range list {
		list[i] = v
	}
	return list
}

// chainBeyondPacket says that the options go on behind the end of the packet.
func chainBeyondPacket(b []byte, random *rand.Rand) []byte {
	b = chain(packet.ProtoDstOpts)(b, random)
	b[atL4v6+1] = 255
	return b
}

// fragment6 makes the packet the middle of a larger one.
func fragment6(b []byte, random *rand.Rand) []byte {
	b = b[:atL4v6+(len(b)-atL4v6)/8*8]
	offsetAndMore := uint16(1448 | 1)
	h := []byte{packet.ProtoUDP, 0, byte(offsetAndMore >> 8), byte(offsetAndMore)}
	return insertAfterIPv6(b, packet.ProtoFragment, binary.BigEndian.AppendUint32(h, random.Uint32()))
}

func noise(b []byte, first int, random *rand.Rand) []byte {
	for i := first; i < len(b); i++ {
		b[i] = byte(random.Uint32())
	}
	return b
}

// arpRequest turns the frame into a broadcast question for an address. Source: RFC 826.
func arpRequest(b []byte, random *rand.Rand) []byte {
	src := MAC(b[6:12])
	asked := malformedDst4.As4()
	asked[3] = byte(1 + random.IntN(254))
	return appendARP(b[:0], src, malformedSrc4.As4(), asked)
}

// appendARP appends a broadcast ARP request.
func appendARP(b []byte, src MAC, sender, asked [4]byte) []byte {
	b = appendEthernet(b, MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, src, 0, packet.EtherARP)
	b = append(b, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, request
	b = append(b, src[:]...)
	b = append(b, sender[:]...)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = append(b, asked[:]...)
	return append(b, make([]byte, max(0, packet.MinFrameData-len(b)))...)
}

package packet

import "encoding/binary"

// Ethernet and VLAN. Source: IEEE 802.3 clause 3, IEEE 802.1Q clause 9.
const (
	EthernetLen  = 14
	VLANTagLen   = 4
	EtherIPv4    = 0x0800
	EtherARP     = 0x0806
	EtherVLAN    = 0x8100
	EtherIPv6    = 0x86dd
	EtherSlow    = 0x8809 // LACP and other slow protocols. Source: IEEE 802.3 annex 57A
	EtherLLDP    = 0x88cc // IEEE 802.1AB
	MaxLength    = 1500   // up to here the field is a length and an LLC header follows. Source: IEEE 802.3 3.2.6
	VLANIDMask   = 0x0fff
	MinFrameData = 60 // smallest frame on the wire, without its checksum
)

// IP protocols. Source: IANA protocol numbers.
const (
	ProtoHopByHop = 0
	ProtoICMP     = 1
	ProtoTCP      = 6
	ProtoUDP      = 17
	ProtoRouting  = 43
	ProtoFragment = 44
	ProtoGRE      = 47
	ProtoAH       = 51
	ProtoICMPv6   = 58
	ProtoDstOpts  = 60
	ProtoIGMP     = 2
	ProtoEIGRP    = 88
	ProtoOSPF     = 89
	ProtoPIM      = 103
	ProtoVRRP     = 112
	ProtoSCTP     = 132
)

// Ethernet is the 14-byte link header.
//
//	0 destination   6 source   12 ethertype
type Ethernet [EthernetLen]byte

// EtherType returns the ethertype, host order.
func (h *Ethernet) EtherType() uint16 { return binary.BigEndian.Uint16(h[12:]) }

// Dst returns the destination address as a 48-bit number, most significant byte first.
func (h *Ethernet) Dst() uint64 { return binary.BigEndian.Uint64(h[0:]) >> 16 }

// Src returns the source address as Dst does the destination.
func (h *Ethernet) Src() uint64 { return binary.BigEndian.Uint64(h[4:]) & (1<<48 - 1) }

// MAC48 returns mac as a 48-bit number, as Ethernet.Dst does.
func MAC48(mac [6]byte) uint64 {
	return uint64(mac[0])<<40 | uint64(mac[1])<<32 | uint64(mac[2])<<24 | uint64(mac[3])<<16 | uint64(mac[4])<<8 | uint64(mac[5])
}

// MACGroupBit is set in the 48-bit number of a broadcast or multicast address.
const MACGroupBit = 1 << 40

// IPv4HeaderLen is the length of an IPv4 header without options.
const IPv4HeaderLen = 20

// IPv4 is the fixed part of an IPv4 header. Source: RFC 791 3.1.
//
//	 0 version/IHL  1 TOS       2 total length
//	 4 identification           6 flags and fragment offset
//	 8 TTL          9 protocol 10 header checksum
//	12 source address
//	16 destination address
type IPv4 [IPv4HeaderLen]byte

// Flags of the fragment field, host order. Source: RFC 791 3.1.
const (
	IPv4DontFragment  = 0x4000
	IPv4MoreFragments = 0x2000
	IPv4OffsetMask    = 0x1fff // in units of 8 bytes
)

// HeaderLen returns the header length in bytes, options included.
func (h *IPv4) HeaderLen() int { return int(h[0]&15) * 4 }

// TotalLen returns the total length field in bytes.
func (h *IPv4) TotalLen() int { return int(binary.BigEndian.Uint16(h[2:])) }

// SetTotalLen sets the total length field.
func (h *IPv4) SetTotalLen(n int) { binary.BigEndian.PutUint16(h[2:], uint16(n)) }

// FragField returns flags and fragment offset, host order.
func (h *IPv4) FragField() uint16 { return binary.BigEndian.Uint16(h[6:]) }

// SetFragField sets flags and fragment offset.
func (h *IPv4) SetFragField(v uint16) { binary.BigEndian.PutUint16(h[6:], v) }

// TTL returns the time to live.
func (h *IPv4) TTL() uint8 { return h[8] }

// Proto returns the protocol.
func (h *IPv4) Proto() uint8 { return h[9] }

// Src returns the source address, host order.
func (h *IPv4) Src() uint32 { return binary.BigEndian.Uint32(h[12:]) }

// Dst returns the destination address, host order.
func (h *IPv4) Dst() uint32 { return binary.BigEndian.Uint32(h[16:]) }

// IPv6HeaderLen is the length of an IPv6 header.
const IPv6HeaderLen = 40

// IPv6 is an IPv6 header. Source: RFC 8200 section 3.
//
//	 0 version, traffic class, flow label
//	 4 payload length   6 next header   7 hop limit
//	 8 source address
//	24 destination address
type IPv6 [IPv6HeaderLen]byte

// PayloadLen returns the payload length in bytes.
func (h *IPv6) PayloadLen() int { return int(binary.BigEndian.Uint16(h[4:])) }

// NextHeader returns the type of the header that follows.
func (h *IPv6) NextHeader() uint8 { return h[6] }

// HopLimit returns the hop limit.
func (h *IPv6) HopLimit() uint8 { return h[7] }

// Src returns the source address.
func (h *IPv6) Src() *[16]byte { return (*[16]byte)(h[8:24]) }

// Dst returns the destination address.
func (h *IPv6) Dst() *[16]byte { return (*[16]byte)(h[24:40]) }

// TCP flag bits, byte 13 of the TCP header. Source: RFC 9293 3.1.
const (
	TCPFin = 0x01
	TCPSyn = 0x02
	TCPRst = 0x04
	TCPAck = 0x10
)

// ICMP types. Source: IANA ICMP and ICMPv6 parameters.
const (
	ICMPEchoReply        = 0
	ICMPUnreachable      = 3
	ICMPRedirect         = 5
	ICMPEchoRequest      = 8
	ICMPTimeExceeded     = 11
	ICMPParameterProblem = 12
	ICMPv6Unreachable    = 1
	ICMPv6TooBig         = 2
	ICMPv6TimeExceeded   = 3
	ICMPv6EchoRequest    = 128
	ICMPv6EchoReply      = 129
	ICMPv6RouterSol      = 133 // the first of neighbour discovery's. Source: RFC 4861 section 4
	ICMPv6Redirect       = 137 // the last
)

package capture

import (
	"encoding/binary"
	"net/netip"

	"ffwd/packet"
)

// MAC is an Ethernet address.
type MAC [6]byte

// The addresses of frames whose Spec names none, and of Malformed and Demo.
var (
	// DefaultDstMAC is the address that DPDK gives its first net_pcap port.
	DefaultDstMAC = MAC{0x02, 'p', 'c', 'a', 'p', 0x00}

	// DefaultSrcMAC is locally administered and nobody's.
	DefaultSrcMAC = MAC{0x02, 0x00, 0x00, 0x00, 0x00, 0x01}
)

// Tuple names one direction of a flow. For ICMP both ports are the echo identifier.
type Tuple struct {
	Protocol uint8 // IP protocol number
	Src, Dst netip.AddrPort
}

// Reversed is the tuple of the answers.
func (t Tuple) Reversed() Tuple { return Tuple{Protocol: t.Protocol, Src: t.Dst, Dst: t.Src} }

// Flags of a TCP segment beyond those the packet package knows. Source: RFC 9293 3.1.
const tcpPsh = 0x08

// datagram is a well-formed frame in the making.
type datagram struct {
	Tuple
	dstMAC, srcMAC MAC
	vlan           int // 0: untagged
	ttl            uint8
	id             uint16 // IPv4 identification, or the echo's sequence number
	tcpFlags       uint8
	seq, ack       uint32
	icmpType       uint8
	options        []byte // IPv4 options, a multiple of 4 bytes
	payload        []byte
}

const (
	udpHeaderLen  = 8
	tcpHeaderLen  = 20
	icmpHeaderLen = 8
	defaultTTL    = 64
)

// headerBytes is the length of everything before the payload.
func headerBytes(protocol uint8, ipv6, vlan bool) int {
	n := packet.EthernetLen + packet.IPv4HeaderLen
	if ipv6 {
		n += packet.IPv6HeaderLen - packet.IPv4HeaderLen
	}
	if vlan {
		n += packet.VLANTagLen
	}
	if protocol == packet.ProtoTCP {
		return n + tcpHeaderLen
	}
	return n + udpHeaderLen // an echo header has as many
}

// appendTo appends the frame, checksums included, without padding.
func (d *datagram) appendTo(b []byte) []byte {
	ipv6 := d.Src.Addr().Is6()
	etherType := uint16(packet.EtherIPv4)
	if ipv6 {
		etherType = packet.EtherIPv6
	}
	b = appendEthernet(b, d.dstMAC, d.srcMAC, d.vlan, etherType)
	l3 := len(b)
	if ipv6 {
		b = d.appendIPv6(b)
	} else {
		b = d.appendIPv4(b)
	}
	l4 := len(b)
	b = d.appendTransport(b)
	b = append(b, d.payload...)
	finishTransport(b[l4:], d.Protocol, ipv6, d.Src.Addr(), d.Dst.Addr())
	if ipv6 {
		binary.BigEndian.PutUint16(b[l3+4:], uint16(len(b)-l4))
	} else {
		binary.BigEndian.PutUint16(b[l3+2:], uint16(len(b)-l3))
		finishIPv4(b[l3:])
	}
	return b
}

func appendEthernet(b []byte, dst, src MAC, vlan int, etherType uint16) []byte {
	b = append(b, dst[:]...)
	b = append(b, src[:]...)
	if vlan != 0 {
		b = binary.BigEndian.AppendUint16(b, packet.EtherVLAN)
		b = binary.BigEndian.AppendUint16(b, uint16(vlan))
	}
	return binary.BigEndian.AppendUint16(b, etherType)
}

func (d *datagram) appendIPv4(b []byte) []byte {
	src, dst := d.Src.Addr().As4(), d.Dst.Addr().As4()
	words := (packet.IPv4HeaderLen + len(d.options)) / 4
	b = append(b, 4<<4|byte(words), 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, d.id)
	b = append(b, 0, 0, d.hops(), d.Protocol, 0, 0)
	b = append(b, src[:]...)
	b = append(b, dst[:]...)
	return append(b, d.options...)
}

func (d *datagram) appendIPv6(b []byte) []byte {
	src, dst := d.Src.Addr().As16(), d.Dst.Addr().As16()
	b = append(b, 6<<4, 0, 0, 0, 0, 0, d.Protocol, d.hops())
	b = append(b, src[:]...)
	return append(b, dst[:]...)
}

func (d *datagram) hops() uint8 {
	if d.ttl == 0 {
		return defaultTTL
	}
	return d.ttl
}

func (d *datagram) appendTransport(b []byte) []byte {
	be := binary.BigEndian
	switch d.Protocol {
	case packet.ProtoUDP:
		b = be.AppendUint16(b, d.Src.Port())
		b = be.AppendUint16(b, d.Dst.Port())
		b = be.AppendUint16(b, uint16(udpHeaderLen+len(d.payload)))
		return append(b, 0, 0)
	case packet.ProtoTCP:
		b = be.AppendUint16(b, d.Src.Port())
		b = be.AppendUint16(b, d.Dst.Port())
		b = be.AppendUint32(b, d.seq)
		b = be.AppendUint32(b, d.ack)
		b = append(b, tcpHeaderLen/4<<4, d.tcpFlags)
		return append(b, 0xff, 0xff, 0, 0, 0, 0) // window, checksum, urgent pointer
	}
	b = append(b, d.icmpType, 0, 0, 0)
	b = be.AppendUint16(b, d.Src.Port())
	return be.AppendUint16(b, d.id)
}

// finishIPv4 sets the checksum of the header at the start of b.
func finishIPv4(b []byte) {
	header := b[:int(b[0]&15)*4]
	header[10], header[11] = 0, 0
	binary.BigEndian.PutUint16(header[10:], packet.Checksum(header))
}

// finishTransport sets the checksum of a whole transport segment.
// Source: RFC 768, RFC 9293 3.1, RFC 792, RFC 4443 2.3, RFC 8200 8.1.
func finishTransport(segment []byte, protocol uint8, ipv6 bool, src, dst netip.Addr) {
	at := 16 // TCP
	switch protocol {
	case packet.ProtoUDP:
		at = 6
	case packet.ProtoICMP, packet.ProtoICMPv6:
		at = 2
	}
	segment[at], segment[at+1] = 0, 0
	acc := uint64(0)
	if protocol != packet.ProtoICMP {
		acc = pseudoHeader(ipv6, src, dst) + uint64(protocol) + uint64(len(segment))
	}
	sum := ^packet.Fold(packet.Sum(acc, segment))
	if sum == 0 && protocol == packet.ProtoUDP {
		sum = 0xffff // zero stands for no checksum
	}
	binary.BigEndian.PutUint16(segment[at:], sum)
}

// pseudoHeader sums the addresses.
func pseudoHeader(ipv6 bool, src, dst netip.Addr) uint64 {
	if ipv6 {
		s, d := src.As16(), dst.As16()
		return packet.Sum(packet.Sum(0, s[:]), d[:])
	}
	s, d := src.As4(), dst.As4()
	return packet.Sum(packet.Sum(0, s[:]), d[:])
}

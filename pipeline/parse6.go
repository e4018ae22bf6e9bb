package pipeline

import (
	"encoding/binary"
	"unsafe"

	"ffwd/packet"
)

// maxExtensions is how many extension headers we follow before leaving the
// packet to the slow path.
const maxExtensions = 8

// parsePlain6 is parsePlain for IPv6, among the frames that parsePlain left: whole TCP
// or UDP without extension headers. The general way takes three times as long
// (BenchmarkParse).
func parsePlain6(pkts []packet.Packet, mac uint64) (plain int) {
	le := binary.LittleEndian
	mac = packet.MACBytes(mac)
	for i := range pkts {
		p := &pkts[i]
		if int(p.Len) < len(packet.PlainFrame6{}) || p.Verdict == packet.Continue {
			continue
		}
		f := (*packet.PlainFrame6)(p.Data)
		payload, proto := binary.BigEndian.Uint16(f[18:]), f[20]
		if !f.Plain(mac) || !packet.IsWhole6(payload, p.Len-packet.EthernetLen-packet.IPv6HeaderLen, proto) ||
			p.Mbuf.OlFlags&packet.RxVLANStripped != 0 {
			continue
		}
		p.Len = packet.EthernetLen + packet.IPv6HeaderLen + payload
		p.L4, p.Proto = packet.IPv6HeaderLen, proto
		p.PortsLE = le.Uint32(f[54:])
		p.Flags, p.Verdict = packet.HasPorts|packet.IsIPv6, packet.Continue
		if proto == packet.ProtoUDP && !packet.IsWholeUDP(binary.BigEndian.Uint16(f[58:]), payload) {
			p.Flags |= packet.Broken
		}
		plain++
	}
	return plain
}

// ipv6 checks an IPv6 header and finds its transport header.
// Source: FF-14; RFC 8200 section 3, RFC 4291 2.5 and 2.7.
func (s *Parse) ipv6(p *packet.Packet) {
	room := p.L3Len()
	if room < packet.IPv6HeaderLen {
		p.DropFor(packet.FrameTooShort)
		return
	}
	h := p.IPv6()
	if h[0]>>4 != 6 {
		p.DropFor(packet.BadVersion)
		return
	}
	total := packet.IPv6HeaderLen + h.PayloadLen()
	if total > room {
		p.DropFor(packet.BadTotalLength)
		return
	}
	p.Flags |= packet.IsIPv6
	p.Len = uint16(p.L3) + uint16(total)
	p.L4 = packet.IPv6HeaderLen
	p.Proto = h.NextHeader()
	src, dst := h.Src(), h.Dst()
	group := dst[0] == 0xff || p.Flags&packet.LinkMulticast != 0
	switch {
	case src[0] == 0xff || loopback6(src) || unspecified6(dst) || loopback6(dst) || unspecified6(src) && !group ||
		mapped6(src) || mapped6(dst):
		p.DropFor(packet.Martian)
		return
	case isDiscovery(p):
		if p.PuntFor(packet.PuntDiscovery); !group && !linkLocal6(dst) {
			p.PuntLater(packet.PuntDiscovery) // if it is for us
		}
		return
	case group:
		p.PuntFor(packet.PuntMulticast)
		return
	}
	p.Verdict = packet.Continue
	if linkLocal6(dst) {
		p.PuntLater(packet.PuntLocal)
	}
	switch p.Proto {
	case packet.ProtoTCP, packet.ProtoUDP, packet.ProtoICMPv6:
	default:
		if !extensions(p, h, total) {
			p.PuntLater(packet.PuntExtension)
			p.Flags |= packet.Broken // nobody can tell what it is of
			return
		}
	}
	transport(p)
}

// isDiscovery reports whether a packet is neighbour discovery from this link:
// nobody further away can send one with this hop limit. No rule is asked about
// it, because without it there is no link.
// Source: RFC 4861 section 4 and 6.1.1, 7.1.
func isDiscovery(p *packet.Packet) bool {
	const onLink = 255
	h, icmp := p.IPv6(), p.Transport()
	return p.Proto == packet.ProtoICMPv6 && h.HopLimit() == onLink && len(icmp) > 0 &&
		icmp[0] >= packet.ICMPv6RouterSol && icmp[0] <= packet.ICMPv6Redirect
}

// extensions walks to the transport header. Hop-by-hop options are the slow
// path's. It returns false for a chain that is too long or cut short.
func extensions(p *packet.Packet, h *packet.IPv6, total int) bool {
	whole := unsafe.Slice((*byte)(unsafe.Pointer(h)), total)
	at := packet.IPv6HeaderLen
	for range maxExtensions {
		switch p.Proto {
		case packet.ProtoHopByHop:
			p.PuntLater(packet.PuntExtension)
		case packet.ProtoRouting, packet.ProtoDstOpts, packet.ProtoFragment, packet.ProtoAH:
		default:
			p.L4 = uint8(min(at, 255))
			return at <= 255
		}
		if at+8 > total {
			return false
		}
		size := 8 + 8*int(whole[at+1])
		switch p.Proto {
		case packet.ProtoFragment: // its second byte is reserved. Source: RFC 8200 4.5
			size = 8
			if frag := binary.BigEndian.Uint16(whole[at+2:]); frag&0xfff9 != 0 {
				p.Flags |= packet.IsFragment
				if frag&0xfff8 != 0 {
					p.Flags |= packet.LaterFragment
					p.Proto, p.L4 = whole[at], uint8(min(at+size, 255))
					return at+size <= 255
				}
			}
		case packet.ProtoAH: // counts 4-byte words. Source: RFC 4302 2.2
			size = 4 * (int(whole[at+1]) + 2)
		}
		if at+size > total {
			return false
		}
		p.Proto, at = whole[at], at+size
	}
	return false
}

func unspecified6(a *[16]byte) bool {
	return binary.LittleEndian.Uint64(a[:])|binary.LittleEndian.Uint64(a[8:]) == 0
}

// mapped6 tells an IPv4-mapped address, ::ffff:0:0/96, which is for use within a host.
// Source: RFC 6890 table 20.
func mapped6(a *[16]byte) bool {
	return binary.LittleEndian.Uint64(a[:]) == 0 && binary.BigEndian.Uint32(a[8:]) == 0xffff
}

func loopback6(a *[16]byte) bool {
	return binary.BigEndian.Uint64(a[:]) == 0 && binary.BigEndian.Uint64(a[8:]) == 1
}

func linkLocal6(a *[16]byte) bool { return a[0] == 0xfe && a[1]&0xc0 == 0x80 }

package pipeline

import (
	"encoding/binary"
	"unsafe"

	"ffwd/ct"
	"ffwd/packet"
)

// Parse checks frames from the wire and finds their headers.
//
// Needs:  the mbufs received.
// Writes: every field that describes the frame; Verdict Continue when it may be forwarded.
// Drops:  frame_too_short, not_our_mac, unknown_vlan, bad_version, bad_header_length,
//
//	bad_total_length, bad_checksum, martian, tiny_fragment; bad_options with an ICMP error.
//
// Punts:  arp, ethertype, multicast, discovery; once the rules have seen them,
//
//	see Divert: options, extension, local (IPv6 link-local), discovery.
//
// Source: FF-2 to FF-4, FF-14; RFC 1812 5.2.2 and 5.3.7, RFC 8200.
type Parse struct{ *context }

// Process parses the burst, in passes: what is known of every frame, the plain
// frames of either family, the others.
func (s *Parse) Process(b *packet.Burst) {
	ports := &s.snap.Ports[s.port]
	bytes := b.Load(s.received[:b.N], ports.Untagged)
	s.counters.Ports[s.port].RxBytes += bytes
	pkts := b.Live()
	mac := s.snap.Interfaces[ports.Untagged].MAC
	plain := parsePlain(pkts, mac)
	if plain == len(pkts) {
		return
	}
	if plain += parsePlain6(pkts, mac); plain == len(pkts) {
		return
	}
	for i := range pkts {
		if p := &pkts[i]; p.Verdict != packet.Continue {
			s.frame(p, ports)
			b.Divert = b.Divert || p.Diverted()
			b.Strays = b.Strays || p.Flags&packet.IsFragment != 0
		}
	}
}

// parsePlain parses the frames that nearly all frames are: whole TCP or UDP over
// IPv4 without tag or options, for our unicast address. It makes all checks that
// frame makes, at a third of the cost (BenchmarkParse), and leaves a frame as it
// is when any of them fails or it is of another kind. It returns how many were
// plain.
func parsePlain(pkts []packet.Packet, mac uint64) (plain int) {
	le := binary.LittleEndian
	mac = packet.MACBytes(mac)
	for i := range pkts {
		p := &pkts[i]
		if int(p.Len) < len(packet.PlainFrame4{}) {
			continue
		}
		f, flags := (*packet.PlainFrame4)(p.Data), p.Mbuf.OlFlags
		total, proto := binary.BigEndian.Uint16(f[16:]), f[23]
		if !f.Plain(mac) || !packet.IsWhole4(total, p.Len-packet.EthernetLen, proto) ||
			flags&(packet.RxVLANStripped|packet.RxIPCksumBad) != 0 ||
			flags&packet.RxIPCksumGood == 0 && !(*packet.IPv4)(f[packet.EthernetLen:]).ChecksumOK() {
			continue
		}
		p.Len = packet.EthernetLen + total
		p.L4, p.Proto = packet.IPv4HeaderLen, proto
		p.PortsLE = le.Uint32(f[34:])
		p.Flags, p.Verdict = packet.HasPorts, packet.Continue
		if proto == packet.ProtoUDP && !packet.IsWholeUDP(binary.BigEndian.Uint16(f[38:]), total-packet.IPv4HeaderLen) {
			p.Flags |= packet.Broken
		}
		plain++
	}
	return plain
}

// frame handles the link header and branches on the network protocol.
func (s *Parse) frame(p *packet.Packet, ports *PortMap) {
	if p.Len < packet.EthernetLen {
		p.DropFor(packet.FrameTooShort)
		return
	}
	eth := (*packet.Ethernet)(p.Data)
	etherType := eth.EtherType()
	if etherType == packet.EtherVLAN || p.Mbuf.OlFlags&packet.RxVLANStripped != 0 {
		var ok bool
		if etherType, ok = s.tag(p, ports, etherType); !ok {
			return
		}
	}
	in := &s.snap.Interfaces[p.Ingress]
	if dst := eth.Dst(); dst != in.MAC {
		if dst&packet.MACGroupBit != 0 {
			p.Flags |= packet.LinkMulticast
		} else if !in.Promiscuous {
			p.DropFor(packet.NotOurMAC)
			return
		}
	}
	switch etherType {
	case packet.EtherIPv4:
		s.ipv4(p, in)
	case packet.EtherIPv6:
		s.ipv6(p)
	case packet.EtherARP:
		p.PuntFor(packet.PuntARP)
	default:
		p.PuntFor(packet.PuntEtherType)
	}
}

// network parses an IP packet that somebody we trust made. It leaves Verdict
// Continue only where conntrack may look at it.
func (s *Parse) network(p *packet.Packet, in *Interface) {
	etherType := (*[2]byte)(unsafe.Add(p.Data, uintptr(p.L3)-2))
	switch binary.BigEndian.Uint16(etherType[:]) {
	case packet.EtherIPv4:
		s.ipv4(p, in)
	case packet.EtherIPv6:
		s.ipv6(p)
	}
}

// tag finds the VLAN sub-port. The tag is in the frame, or the device took it
// out and left it in the mbuf.
func (s *Parse) tag(p *packet.Packet, ports *PortMap, etherType uint16) (inner uint16, ok bool) {
	tci := p.Mbuf.VlanTCI
	if etherType == packet.EtherVLAN && p.Mbuf.OlFlags&packet.RxVLANStripped == 0 {
		if p.Len < packet.EthernetLen+packet.VLANTagLen {
			p.DropFor(packet.FrameTooShort)
			return 0, false
		}
		tag := (*[4]byte)(unsafe.Add(p.Data, packet.EthernetLen))
		tci, etherType = binary.BigEndian.Uint16(tag[:]), binary.BigEndian.Uint16(tag[2:])
		p.L3 += packet.VLANTagLen
	}
	if p.Ingress = ports.tagged(tci & packet.VLANIDMask); p.Ingress == 0 {
		p.DropFor(packet.UnknownVLAN)
		return 0, false
	}
	return etherType, true
}

// ipv4 does RFC 1812's checks in the order of the cheapest rejection, and trims
// the link layer's padding.
func (s *Parse) ipv4(p *packet.Packet, in *Interface) {
	room := p.L3Len()
	if room < packet.IPv4HeaderLen {
		p.DropFor(packet.FrameTooShort)
		return
	}
	h := p.IPv4()
	p.L4 = packet.IPv4HeaderLen
	if h[0] != 0x45 && !unusual(p, h, room) {
		return
	}
	total := h.TotalLen()
	if total < int(p.L4) || total > room {
		p.DropFor(packet.BadTotalLength)
		return
	}
	if !checksumOK(p, h) {
		p.DropFor(packet.BadChecksum)
		return
	}
	p.Len = uint16(p.L3) + uint16(total)
	if packet.Martian4[h[12]]|packet.Martian4[h[16]] != 0 && !unicast(p, h) {
		return
	}
	p.Proto = h.Proto()
	if frag := h.FragField(); frag&(packet.IPv4MoreFragments|packet.IPv4OffsetMask) != 0 {
		p.Flags |= packet.IsFragment
		if frag&packet.IPv4OffsetMask != 0 {
			p.Flags |= packet.LaterFragment
			if frag&packet.IPv4OffsetMask == 1 && p.Proto == packet.ProtoTCP {
				p.DropFor(packet.TinyFragment) // would overwrite the flags that were checked. Source: RFC 3128
				return
			}
		}
	}
	if p.Flags&packet.LinkMulticast != 0 {
		p.PuntFor(packet.PuntMulticast)
		return
	}
	p.Verdict = packet.Continue
	if p.L4 > packet.IPv4HeaderLen && !options(p, in.Options) {
		return
	}
	transport(p)
}

// unusual checks version and length of a header that is not 20 bytes long.
func unusual(p *packet.Packet, h *packet.IPv4, room int) bool {
	switch n := h.HeaderLen(); {
	case h[0]>>4 != 4:
		p.DropFor(packet.BadVersion)
	case n < packet.IPv4HeaderLen || n > room:
		p.DropFor(packet.BadHeaderLength)
	default:
		p.L4 = uint8(n)
		return true
	}
	return false
}

// checksumOK verifies the header checksum unless the NIC has done so.
func checksumOK(p *packet.Packet, h *packet.IPv4) bool {
	switch p.Mbuf.OlFlags & packet.RxIPCksumMask {
	case packet.RxIPCksumGood:
		return true
	case packet.RxIPCksumBad:
		return false
	}
	if p.L4 == packet.IPv4HeaderLen {
		return h.ChecksumOK()
	}
	return packet.Checksum(unsafe.Slice((*byte)(unsafe.Pointer(h)), p.L4)) == 0
}

// unicast looks at unusual addresses. It leaves group destinations to the slow
// path and drops the rest, except 0/8 as a destination, which is routed like any
// address. Source: FF-4; RFC 1812 5.3.7, RFC 1122 3.2.1.3.
func unicast(p *packet.Packet, h *packet.IPv4) bool {
	if packet.Martian4[h[12]] != 0 {
		if h.Src() == 0 && (h.Dst() == 0xffffffff || h[16]>>4 == 14) {
			p.PuntFor(packet.PuntMulticast) // DHCP: a host that has no address yet
			return false
		}
		p.DropFor(packet.Martian)
		return false
	}
	switch dst := h.Dst(); {
	case dst == 0 || h[16] == 127 || h[16] >= 240 && dst != 0xffffffff:
		p.DropFor(packet.Martian)
	case h[16] >= 224:
		p.PuntFor(packet.PuntMulticast)
	default:
		return true
	}
	return false
}

// transport finds the ports, or what an ICMP query has in their place. A header that is cut short,
// in a tiny first fragment too, is marked, and a UDP header whose length cannot be. The latter's
// ports are the rules' to see all the same: some hosts take such a packet. Source: RFC 1858
// section 3, RFC 2675 section 4.
func transport(p *packet.Packet) {
	if p.Flags&packet.LaterFragment != 0 {
		return
	}
	size := p.L3Len() - int(p.L4)
	l4 := unsafe.Add(p.Data, uintptr(p.L3)+uintptr(p.L4))
	var need int
	switch p.Proto {
	case packet.ProtoTCP:
		need = 20
	case packet.ProtoUDP, packet.ProtoICMP, packet.ProtoICMPv6:
		need = 8
	case packet.ProtoSCTP:
		need = 12
	default:
		return
	}
	if size < need {
		p.Flags |= packet.Broken
		return
	}
	h := (*[8]byte)(l4)
	switch p.Proto {
	case packet.ProtoICMP, packet.ProtoICMPv6:
		ports, ok := ct.QueryPorts(p.Proto, h)
		if !ok {
			return
		}
		p.PortsLE = ports
	default:
		p.PortsLE = binary.LittleEndian.Uint32(h[0:])
	}
	if p.Flags&packet.IsFragment != 0 { // a first one: it shows its ports to the rules, but has no flow yet
		return
	}
	p.Flags |= packet.HasPorts
	if p.Proto == packet.ProtoUDP && !packet.IsWholeUDP(binary.BigEndian.Uint16(h[4:]), uint16(size)) {
		p.Flags |= packet.Broken
	}
}

package pipeline

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"ffwd/packet"
)

// gap is a frame that came before the run's at-th, and is not of it.
type gap struct {
	mbuf *packet.Mbuf
	at   int
}

// gather makes the run the plain frames of a family, which it moves to the front of mbufs, and
// the gaps what was between them. Frames of the other family it returns instead, if both may
// be there.
func (s *Express) gather(mbufs []*packet.Mbuf, ipv6, both bool) (others []*packet.Mbuf) {
	received := &s.counter.Ports[s.port].RxBytes
	mac := packet.MACBytes(s.snap.Interfaces[s.snap.Ports[s.port].Untagged].MAC)
	s.ipv6, s.plain, s.gap, s.last, s.marked, s.protocols = ipv6, 0, 0, 0, false, 0
	for {
		n, bytes, protocols := s.find(mbufs, mac)
		s.plain += n
		s.protocols |= protocols
		*received += bytes
		if s.plain == len(mbufs) {
			s.keepBehindGaps()
			return others
		}
		if other := otherFamily(ipv6); both && etherType(mbufs[s.plain]) == other {
			mbufs, others = s.part(mbufs, s.plain, other)
			both = false
			continue
		}
		to := s.plain + 1
		if s.breaks++; s.breaks > maxBreaks {
			to = len(mbufs)
		}
		for _, m := range mbufs[s.plain:to] {
			s.gaps[s.last] = gap{m, s.plain}
			s.last++
		}
		mbufs = append(mbufs[:s.plain], mbufs[to:]...)
	}
}

// find finds plain frames of the run's family, behind those that it has.
func (s *Express) find(mbufs []*packet.Mbuf, mac uint64) (n int, bytes uint64, protocols uint8) {
	if s.ipv6 {
		return s.run.Plain6(mbufs, s.plain, mac)
	}
	return s.run.Plain4(mbufs, s.plain, mac)
}

// keepBehindGaps marks what must not pass the gaps.
func (s *Express) keepBehindGaps() {
	for _, g := range s.gaps[:s.last] {
		if lead, may := s.mayLead(g.mbuf); may && g.at < s.plain {
			s.keepBehind(lead, g.at)
		}
	}
}

// otherFamily is the ethertype of the family that is not the one told.
func otherFamily(ipv6 bool) uint16 {
	if ipv6 {
		return packet.EtherIPv4
	}
	return packet.EtherIPv6
}

// part puts the frames of a family among those from the at-th on behind all others. No flow
// has packets of both families, so none of its packets passes another.
func (s *Express) part(mbufs []*packet.Mbuf, at int, family uint16) (others, parted []*packet.Mbuf) {
	n, rest := at, s.rest[:0]
	for _, m := range mbufs[at:] {
		if etherType(m) == family {
			rest = append(rest, m)
			continue
		}
		mbufs[n] = m
		n++
	}
	copy(mbufs[n:], rest)
	return mbufs[:n], mbufs[n:]
}

// network returns the ethertype of a frame, 0 of a runt, and the offset of its network header.
// It looks behind a priority tag, which leaves a frame in the untagged network.
func network(m *packet.Mbuf) (etherType, l3 uint16) {
	if m.DataLen < packet.EthernetLen {
		return 0, packet.EthernetLen
	}
	etherType, l3 = (*packet.Ethernet)(m.Data()).EtherType(), packet.EthernetLen
	if etherType == packet.EtherVLAN && m.DataLen >= packet.EthernetLen+packet.VLANTagLen {
		tag := (*[packet.VLANTagLen]byte)(unsafe.Add(m.Data(), packet.EthernetLen))
		if binary.BigEndian.Uint16(tag[:])&packet.VLANIDMask == 0 {
			return binary.BigEndian.Uint16(tag[2:]), packet.EthernetLen + packet.VLANTagLen
		}
	}
	return etherType, l3
}

func etherType(m *packet.Mbuf) uint16 {
	t, _ := network(m)
	return t
}

// keepBehind marks what follows a frame, from the run's at-th on, between the same two hosts:
// it may be of the same flow, and must not pass it.
func (s *Express) keepBehind(frame unsafe.Pointer, at int) {
	const hosts4, hosts6 = packet.EthernetLen + 12, packet.EthernetLen + 8
	heads := s.run.Heads[at:s.plain]
	if s.ipv6 {
		src, dst := *(*[16]byte)(unsafe.Add(frame, hosts6)), *(*[16]byte)(unsafe.Add(frame, hosts6+16))
		for i := range heads {
			a, b := *(*[16]byte)(unsafe.Add(heads[i].Data, hosts6)), *(*[16]byte)(unsafe.Add(heads[i].Data, hosts6+16))
			if a == src && b == dst || a == dst && b == src {
				heads[i].Verdict, s.marked = packet.Drop, true
			}
		}
		return
	}
	hosts := func(frame unsafe.Pointer) uint64 {
		return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(frame, hosts4))[:])
	}
	ends := hosts(frame)
	turned := bits.RotateLeft64(ends, 32)
	for i := range heads {
		if h := hosts(heads[i].Data); h == ends || h == turned {
			heads[i].Verdict, s.marked = packet.Drop, true
		}
	}
}

// mayLead tells whether a frame that is not plain may be of a flow that plain ones are of, and
// where its addresses are: as far behind lead as those of a frame without a tag. Those with one
// of a VLAN came in by another interface.
func (s *Express) mayLead(m *packet.Mbuf) (lead unsafe.Pointer, may bool) {
	family, l3 := network(m)
	lead = unsafe.Add(m.Data(), int(l3)-packet.EthernetLen)
	f := (*packet.PlainFrame6)(lead) // no more of it is read than there is
	switch length := int(m.DataLen - l3); {
	case s.ipv6:
		return lead, family == packet.EtherIPv6 && length >= packet.IPv6HeaderLen && f[20] != packet.ProtoICMPv6
	case family != packet.EtherIPv4 || length < packet.IPv4HeaderLen:
		return nil, false
	}
	return lead, f[23] == packet.ProtoTCP || f[23] == packet.ProtoUDP
}

package pipeline

import (
	"encoding/binary"
	"unsafe"

	"ffwd/packet"
)

// fromLinkLocal tells whether a packet's sender is known on its link only: no table has a
// route back to it. Source: RFC 4291 2.5.6.
func fromLinkLocal(p *packet.Packet) bool {
	return p.Is(packet.IsIPv6) && linkLocal6(p.IPv6().Src())
}

// straightBack addresses an answer e to the station whose frame brought p, by the
// interface that it came in by: the way back to a link-local source. The link header of p
// is as it was received, which it is until Rewrite. Source: FF-10; RFC 4443 2.2.
func straightBack(e, p *packet.Packet, in *Interface) {
	var tag int
	if in.VLAN != 0 {
		tag = packet.VLANTagLen
	}
	m := e.Mbuf
	m.DataOff -= uint16(tag)
	e.Data, e.DataOff = unsafe.Add(e.Data, -tag), m.DataOff
	e.L3, e.Len = e.L3+uint8(tag), e.Len+uint16(tag)
	link := unsafe.Slice((*byte)(e.Data), packet.EthernetLen+tag) // the ethertype is there
	binary.BigEndian.PutUint64(link[0:], (*packet.Ethernet)(p.Data).Src()<<16)
	binary.BigEndian.PutUint32(link[6:], uint32(in.MAC>>16))
	binary.BigEndian.PutUint16(link[10:], uint16(in.MAC))
	if tag != 0 {
		binary.BigEndian.PutUint32(link[12:], packet.EtherVLAN<<16|uint32(in.VLAN))
	}
	seal(m, e.Len)
	e.Egress, e.Verdict = p.Ingress, packet.Transmit
}

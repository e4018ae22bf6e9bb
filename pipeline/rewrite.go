package pipeline

import (
	"unsafe"

	"ffwd/fib"
	"ffwd/packet"
)

// Rewrite writes the link header of the next hop in front of the network header
// and gives the frame its final place and length in the mbuf.
//
// Needs:  Route, MTU.
// Writes: the link header; Data, L3, Len; the mbuf's offset and lengths; Verdict Transmit.
// Source: FF-1; RFC 894, IEEE 802.1Q.
type Rewrite struct{}

// Process rewrites packets that leave whole or in fragments.
func (*Rewrite) Process(b *packet.Burst) {
	pkts := b.Live()
	for i := range pkts {
		p := &pkts[i]
		switch p.Verdict {
		case packet.Continue:
			p.Verdict = packet.Transmit
		case packet.Fragment:
		default:
			continue
		}
		a := (*fib.Adjacency)(p.NextHop)
		// The ethertype stands before the network header already, whether the
		// frame came with a tag or without.
		l3 := unsafe.Add(p.Data, uintptr(p.L3))
		if a.L2Len == packet.EthernetLen {
			*(*[12]byte)(unsafe.Add(l3, -packet.EthernetLen)) = [12]byte(a.L2[:12])
		} else {
			*(*[16]byte)(unsafe.Add(l3, -packet.EthernetLen-packet.VLANTagLen)) = a.L2
		}
		m := p.Mbuf
		if p.L3 != a.L2Len { // with a tag in, without one out, or the other way
			shift := int(p.L3) - int(a.L2Len) // how far the frame's start moves
			p.Data, p.L3, p.Len = unsafe.Add(p.Data, shift), a.L2Len, p.Len-uint16(shift)
			p.DataOff += uint16(shift)
			m.DataOff = p.DataOff
		}
		seal(m, p.Len)
	}
}

// seal tells an mbuf that it is one frame of n bytes, and the device that no offload is
// asked for.
//
// Only written: the mbuf may have left the nearest cache since Parse, and a store does not
// wait for it.
func seal(m *packet.Mbuf, n uint16) {
	m.PacketType, m.PktLen, m.DataLen, m.OlFlags = 0, uint32(n), n, 0
}

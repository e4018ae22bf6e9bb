package pipeline

import (
	"encoding/binary"
	"unsafe"

	"ffwd/packet"
	"ffwd/policy"
)

// copier transmits copies of packets: the worker, for the stages.
type copier interface {
	copyOut(p *packet.Packet, to uint16)
}

// tee gives a copy of the packet to a listener, a port, or both. Source: VQ-6.
func (s *Policy) tee(b *packet.Burst, p *packet.Packet, rules *policy.Ruleset, rule int, e *policy.Effect) {
	if s.queues != nil && !e.Mirror.Only {
		var q packet.Queueing
		s.queueing(&q, p, rules, rule, e)
		s.queues.Copy(p, q, b.NowNs)
	}
	if e.Mirror.To != 0 {
		s.copier.copyOut(p, e.Mirror.To)
	}
}

// copyOut transmits a copy of a packet on an interface's port, as the packet was received:
// its link header, with the tag that the device may have taken off, and what lies behind
// the network packet. One that a listener has rewritten is copied as the listener wrote it.
//
// Nothing goes back to the port that it came from. A packet that finds no buffer, or is
// longer than the port's MTU, has no copy, and goes on all the same. What the device
// does not take is dropped as tx_full, as any frame.
// Source: VQ-6.
func (w *Worker) copyOut(p *packet.Packet, to uint16) {
	out, m := &w.snap.Interfaces[to], p.Mbuf
	if out.Port == w.snap.Interfaces[p.Ingress].Port || int(m.DataLen)-int(p.L3) > int(out.MTU) ||
		!w.config.Pool.Alloc(unsafe.Pointer(&w.scratch[0]), 1) {
		w.counter.MirrorsLost++
		return
	}
	w.counter.Created++
	w.counter.Mirrored++
	c := w.scratch[0]
	w.scratch[0] = nil
	whole := unsafe.Slice((*byte)(m.Data()), m.DataLen)
	if m.OlFlags&packet.RxVLANStripped == 0 {
		copy(reserve(c, len(whole)), whole)
		w.transmit(out.Port, c)
		return
	}
	const addresses = packet.EthernetLen - 2
	c.DataOff -= packet.VLANTagLen // of the headroom: the frame may be as long as its buffer
	frame := reserve(c, packet.VLANTagLen+len(whole))
	copy(frame, whole[:addresses])
	binary.BigEndian.PutUint16(frame[addresses:], packet.EtherVLAN)
	binary.BigEndian.PutUint16(frame[addresses+2:], m.VlanTCI)
	copy(frame[addresses+packet.VLANTagLen:], whole[addresses:])
	w.transmit(out.Port, c)
}

package pipeline

import (
	"encoding/binary"
	"unsafe"

	"ffwd/packet"
)

// FrameSource gives frames that the host kernel sent, for the interface they are
// to leave by. Peek returns the oldest one, valid until Pop, and nil when there
// is none.
type FrameSource interface {
	Peek() (iface uint16, frame []byte)
	Pop()
}

// inject transmits what the kernel sent: of a poll's burst of frames those that can be.
//
// No rule sees these packets: what the router itself says is not filtered. But
// their flows are tracked, so that the answers to them are established.
// Source: SP-1.
func (w *Worker) inject(nowNs int64) {
	b := &w.burst
	b.N, b.NowNs = 0, nowNs
	for range w.config.Burst {
		iface, frame := w.config.Kernel.Peek()
		if frame == nil {
			break
		}
		w.adopt(iface, frame)
		w.config.Kernel.Pop()
	}
	if b.N == 0 {
		return
	}
	if w.table != nil {
		w.trackKernel(b)
	}
	for i := range b.Live() {
		p := &b.Pkts[i]
		if p.Translation != 0 && !(w.table.Destination(p) && w.table.Source(p)) { // it answers what was sent to another address
			p.DropFor(w.table.Refusal())
			w.discard(p)
			continue
		}
		w.transmit(w.snap.Interfaces[p.Egress].Port, p.Mbuf)
	}
}

// adopt makes a frame from the kernel a packet of the burst: tagged for a VLAN
// sub-port, and as long as a frame must be.
func (w *Worker) adopt(iface uint16, frame []byte) {
	w.counter.Created++
	w.counter.FromKernel++
	in := &w.snap.Interfaces[iface]
	const addresses = packet.EthernetLen - 2
	link := addresses
	if in.VLAN != 0 {
		link += packet.VLANTagLen
	}
	if len(frame) < packet.EthernetLen {
		w.counter.Drops[packet.FrameTooShort]++
		return
	}
	if !w.config.Pool.Alloc(unsafe.Pointer(&w.scratch[0]), 1) {
		w.counter.Drops[packet.NoBuffers]++
		return
	}
	m := w.scratch[0]
	whole := link + len(frame) - addresses
	length := max(whole, packet.MinFrameData)
	if length > int(m.BufLen)-int(m.DataOff) {
		w.counter.Drops[packet.TxOversized]++
		w.release(m)
		return
	}
	to := reserve(m, length)
	copy(to, frame[:addresses])
	if in.VLAN != 0 {
		binary.BigEndian.PutUint16(to[addresses:], packet.EtherVLAN)
		binary.BigEndian.PutUint16(to[addresses+2:], in.VLAN)
	}
	copy(to[link:], frame[addresses:])
	clear(to[whole:])
	b := &w.burst
	b.Pkts[b.N] = packet.Packet{
		Head: packet.Head{Data: unsafe.Pointer(&to[0]), Len: uint16(whole), L3: uint8(link + 2)},
		Mbuf: m, DataOff: m.DataOff, Ingress: iface, Egress: iface,
	}
	b.N++
}

// trackKernel joins the packets to their flows, or begins flows with them. What
// Parse would leave alone has none. The table may be full: the packet goes out
// all the same, because a router must answer whoever looks after it. The kernel sends the
// fragments of a datagram in their order.
func (w *Worker) trackKernel(b *packet.Burst) {
	for i := range b.Live() {
		p := &b.Pkts[i]
		w.parse.network(p, &w.snap.Interfaces[p.Ingress])
		if p.Flags&(packet.IsFragment|packet.LaterFragment) == packet.IsFragment && p.Verdict == packet.Continue {
			w.secret.FirstKey(p, w.snap.Zones[p.Ingress])
		}
		if p.Is(packet.IsFragment) && p.Verdict == packet.Continue {
			w.sent[p.Ingress].Follow(p)
		}
	}
	w.stages[stageTuple].Process(b)
	w.stages[stageConntrack].Process(b)
	for i := range b.Live() {
		if p := &b.Pkts[i]; p.Verdict == packet.Continue && p.Flow == 0 && p.State == packet.CtNew {
			p.Priority = true // nobody else would keep the router's own connections alive
			w.table.Confirm(p, b.NowNs, w.snap.Timeouts)
		}
	}
}

package pipeline

import (
	"unsafe"

	"ffwd/packet"
)

// txBuffer gathers mbufs for one call into the device, or into the pool.
type txBuffer struct {
	queue TxQueue
	mbufs []*packet.Mbuf
	n     int
	bytes uint64 // of the frames gathered
}

// output acts on the verdicts: the one place where packets leave the pipeline, but for the
// plain ones that went by the lane.
// Whatever the stages did, each mbuf has exactly one new owner afterwards.
func (w *Worker) output(b *packet.Burst) {
	w.errors.N = 0
	if w.redirects > 0 {
		w.tellSenders(b)
	}
	w.dispose(b, 1)
	if w.errors.N > 0 {
		w.errors.NowNs = b.NowNs
		if w.holder != nil {
			w.holder.final = false // that was about the packets which the errors are about
		}
		w.sendErrors()
	}
}

// sendErrors sends the ICMP errors in w.errors. They are routed like any packet,
// but never answered.
func (w *Worker) sendErrors() {
	for _, stage := range [...]int{stageRoute, stageNeighbour, stageMTU, stageRewrite} {
		w.stages[stage].Process(&w.errors)
	}
	for i := range w.errors.Live() {
		p := &w.errors.Pkts[i]
		if p.Mbuf.PacketType = ownFrame; p.Verdict == packet.Reject {
			p.DropFor(packet.ErrorSuppressed)
		}
	}
	w.dispose(&w.errors, 0)
}

// dispose acts on every verdict of the burst. Each packet that leaves counts as credit
// fast forwarded ones.
func (w *Worker) dispose(b *packet.Burst, credit uint64) {
	pkts := b.Live()
	if len(pkts) > 0 && w.forward(pkts, credit) {
		return
	}
	interfaces := w.snap.Interfaces
	whole := uint64(0)
	for i := range pkts {
		p := &pkts[i]
		if p.Verdict != packet.Transmit {
			w.settle(i, p, b.NowNs, credit)
			continue
		}
		port := interfaces[p.Egress].Port
		t := &w.tx[port]
		t.bytes += uint64(p.Len)
		t.mbufs[t.n] = p.Mbuf
		if t.n++; t.n == len(t.mbufs) {
			w.send(port)
		}
		whole++
	}
	w.counter.FastForwarded += whole * credit
}

// forward queues a burst all of which is transmitted by one interface, as is the rule for
// what one queue receives in one poll, and tells whether it is one. The general loop waits
// for the buffer's length, which it wrote for the packet before; this one has it in a
// register (3 cycles per packet less). What it wrote beyond that length is nobody's.
func (w *Worker) forward(pkts []packet.Packet, credit uint64) bool {
	if pkts[0].Verdict != packet.Transmit {
		return false
	}
	egress := pkts[0].Egress
	port := w.snap.Interfaces[egress].Port
	t := &w.tx[port]
	if t.n+len(pkts) > len(t.mbufs) {
		w.send(port)
	}
	bytes := uint64(0)
	room := t.mbufs[t.n:][:len(pkts)]
	for i := range pkts {
		p := &pkts[i]
		if p.Verdict != packet.Transmit || p.Egress != egress {
			return false
		}
		room[i] = p.Mbuf
		bytes += uint64(p.Len)
	}
	t.bytes += bytes
	if t.n += len(pkts); t.n == len(t.mbufs) {
		w.send(port)
	}
	w.counter.FastForwarded += uint64(len(pkts)) * credit
	return true
}

// settle acts on every verdict but Transmit. i is the packet's place in its burst.
func (w *Worker) settle(i int, p *packet.Packet, nowNs int64, credit uint64) {
	switch p.Verdict {
	case packet.Fragment:
		w.fragment(p, credit)
	case packet.Held:
	case packet.Reject:
		w.answer(p, nowNs)
		w.discard(p)
	case packet.Punt:
		w.punt(p, nowNs)
	case packet.Await:
		w.hold(p, nowNs, credit)
	case packet.Queue:
		w.enqueue(p, &w.queued[i], nowNs)
	default:
		w.discard(p)
	}
}

// discard drops a packet for its reason.
func (w *Worker) discard(p *packet.Packet) {
	if !faults || p.Reason != packet.BadTotalLength {
		w.counter.Drops[p.Reason]++
	}
	if p.Translation != 0 {
		w.table.ReleaseTranslation(p)
	}
	if !faults || p.Reason != packet.BadChecksum {
		w.release(p.Mbuf)
	}
}

// release gives an mbuf back to its pool, at the latest at the next flush.
func (w *Worker) release(m *packet.Mbuf) {
	g := &w.garbage
	g.mbufs[g.n] = m
	if g.n++; g.n == len(g.mbufs) {
		w.empty(g)
	}
}

func (w *Worker) empty(g *txBuffer) {
	w.config.Pool.Free(unsafe.Pointer(&g.mbufs[0]), g.n)
	g.n = 0
}

// ownFrame in an mbuf's packet type tells frames that do not stand for a packet that was
// received, and so were not counted as fast forwarded. Devices do not read it on the way
// out; Rewrite clears it in all others.
const ownFrame = 1

// transmit queues a finished frame that stands for no received packet on a physical port.
func (w *Worker) transmit(port uint16, m *packet.Mbuf) { w.queue(port, m, ownFrame) }

// queue queues a finished frame on a physical port.
func (w *Worker) queue(port uint16, m *packet.Mbuf, packetType uint32) {
	m.PacketType = packetType
	t := &w.tx[port]
	t.mbufs[t.n] = m
	t.bytes += uint64(m.PktLen)
	if t.n++; t.n == len(t.mbufs) {
		w.send(port)
	}
}

// send gives the gathered frames to the device and frees those it does not take.
func (w *Worker) send(port uint16) {
	t := &w.tx[port]
	sent := t.queue.Tx(unsafe.Pointer(&t.mbufs[0]), t.n)
	for _, m := range t.mbufs[sent:t.n] {
		t.bytes -= uint64(m.PktLen)
		if m.PacketType != ownFrame {
			w.counter.FastForwarded-- // counted when it was queued, where that costs nothing
		}
		w.counter.Drops[packet.TxFull]++
		w.release(m)
	}
	c := &w.counter.Ports[port]
	c.TxPackets += uint64(sent)
	c.TxBytes += t.bytes
	c.TxDropped += uint64(t.n - sent)
	w.counter.Transmitted += uint64(sent)
	t.n, t.bytes = 0, 0
}

// flush empties all buffers at the end of a poll.
func (w *Worker) flush() {
	for port := range w.tx {
		if w.tx[port].n > 0 {
			w.send(uint16(port))
		}
	}
	if w.garbage.n > 0 {
		w.empty(&w.garbage)
	}
}

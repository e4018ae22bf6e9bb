package queue

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"ffwd/packet"
	"ffwd/queue/wire"
)

// lane is one worker's part of one queue: the packets that wait, and its rings to the
// listener of the moment. The worker's thread only.
type lane struct {
	*Queue
	held
	worker *Worker
	stats  Stats

	bound  *binding      // that the rings belong to; nil: nobody, or one that was given up
	latest *binding      // in Queue.binding when last looked at
	out    wire.Producer // packets
	in     wire.Consumer // verdicts

	sweep      uint64 // every packet up to this id is being decided
	sweeping   wire.Verdict
	cause      packet.QueueCause
	progressNs int64  // when the listener last did something, or had nothing to do
	consumed   uint64 // how far it had read the packets then
	stalled    bool
	wokenNs    int64
	owed       bool // a wake-up that came too soon after the one before
}

const (
	// wakeInterval bounds the system calls that a listener costs a worker.
	wakeInterval = 50_000 // ns
	// maxMoves bounds how often listeners may send one packet in a circle.
	maxMoves = 8
)

// rebind follows the listeners that come and go. A packet that waits for one that went
// leaves by its rule's policy.
//
// Whatever is about to use the listener's memory looks here first, in the same poll: what
// an earlier poll found may be unmapped, for between the two the worker was quiescent.
func (l *lane) rebind() {
	b := l.binding.Load()
	if b == l.latest || l.worker.stopping {
		return
	}
	l.abandon(packet.CauseNoListener)
	l.bound, l.latest, l.stalled, l.owed = b, b, false, false
	if b != nil {
		l.out, l.in = b.layout.SwitchLane(b.packets, b.verdicts, l.worker.index)
		l.progressNs, l.consumed = l.worker.nowNs, 0
	}
}

// abandon lets everything that waits go by its rule's policy.
func (l *lane) abandon(cause packet.QueueCause) {
	l.sweep, l.cause, l.sweeping = l.sequence<<16|0xffff, cause, wire.Verdict{}
}

// giveUp stops listening to a listener that broke the rules, for good.
func (l *lane) giveUp(why error) {
	l.stats.Broken++
	l.bound.fail(why)
	l.bound = nil
	l.abandon(packet.CauseNoListener)
}

// push makes a packet wait, and tells the listener. It returns false when the queue is
// full.
func (l *lane) push(p *packet.Packet, q *packet.Queueing, atNs int64) bool {
	size := p.L3Len()
	if l.stalled || !l.room(size) {
		return false
	}
	rec := l.reserve(size)
	if rec == nil {
		return false
	}
	s := l.add(p, q)
	s.atNs = atNs
	l.write(rec, p, q, s.id, 0)
	if l.packets == 1 {
		l.progressNs = l.worker.nowNs
	}
	return true
}

// room tells whether the budgets allow one more packet of so many bytes to wait.
func (l *lane) room(size int) bool { return l.packets < l.MaxPackets && l.bytes+size <= l.MaxBytes }

// reserve returns room for a packet of so many bytes in the ring, or nil.
func (l *lane) reserve(size int) []byte {
	rec, err := l.out.Reserve(wire.PacketRecord(l.copied(size)))
	if err != nil {
		l.giveUp(err)
	}
	return rec
}

// copied returns how many bytes of a packet the listener sees.
func (l *lane) copied(size int) int {
	if most := int(l.bound.copy.Load()); most > 0 {
		return min(size, most)
	}
	return size
}

// write tells the listener of a packet. rec was made for as much of it as it is to see.
func (l *lane) write(rec []byte, p *packet.Packet, q *packet.Queueing, id uint64, flags uint8) {
	if p.Is(packet.IsIPv6) {
		flags |= wire.FlagIPv6
	}
	if p.Is(packet.ReplyDir) {
		flags |= wire.FlagReply
	}
	if q.Options&packet.QueueDivert != 0 {
		flags |= wire.FlagDivert
	}
	m := wire.Packet{
		Flags: flags, Queue: l.Number, ID: id, Flow: l.worker.flowID(p), ReceivedNs: l.worker.nowNs + l.worker.offset,
		Mark: p.Mark, CtMark: p.CtMark, InPort: p.Ingress, OutPort: p.Egress, Zone: q.Zone,
		Hook: q.Hook, State: uint8(p.State), Length: uint32(p.L3Len()), Worker: uint16(l.worker.index),
	}
	if q.Hook == 0 {
		m.OutPort = 0
	}
	m.Put(rec, p.Network()[:min(len(rec)-wire.PacketHeader, l.copied(p.L3Len()))])
}

// wake publishes what was written and wakes the listener if it sleeps.
func (l *lane) wake(nowNs int64) {
	if l.bound == nil || !l.owed && !l.out.Pending() {
		return
	}
	l.out.Publish()
	l.owed = false
	if l.bound.sleeping.Load() == 0 {
		return
	}
	if nowNs-l.wokenNs < wakeInterval {
		l.owed = true
		return
	}
	if l.bound.sleeping.Swap(0) != 0 {
		l.wokenNs = nowNs
		l.stats.Wakes++
		// The counter is never read, and not full before the sun burns out. A raw
		// call, since the scheduler need not know of one that cannot wait.
		one := uint64(1)
		_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(l.bound.wake), uintptr(unsafe.Pointer(&one)), 8)
	}
}

// advance makes packets ready for up to budget verdicts, and lets those go that waited
// for too long.
func (l *lane) advance(nowNs int64, budget int) {
	for ; budget > 0; budget-- {
		if l.sweep != 0 {
			if l.oldest == 0 || l.slots[l.oldest].id > l.sweep {
				l.sweep = 0
				continue
			}
			l.settle(&l.slots[l.oldest], l.sweeping, nil, l.cause)
			continue
		}
		if l.bound == nil || !l.read(nowNs) {
			break
		}
	}
	if l.bound != nil {
		if l.sweep == 0 { // a verdict for many is read when it is done
			l.in.Release()
		}
		l.watch(nowNs)
	}
	limit := nowNs - int64(l.Timeout)
	for ; budget > 0 && l.oldest != 0 && l.slots[l.oldest].atNs < limit; budget-- {
		l.settle(&l.slots[l.oldest], wire.Verdict{}, nil, packet.CauseExpired)
	}
}

// read takes one verdict from the ring; false when there is none.
func (l *lane) read(nowNs int64) bool {
	rec, err := l.in.Next()
	if rec == nil {
		if err != nil {
			l.giveUp(err)
		}
		return false
	}
	v, data, err := wire.ParseVerdict(rec)
	if err != nil {
		l.giveUp(err)
		return false
	}
	l.progressNs, l.stalled = nowNs, false
	if v.Flags&wire.UpTo != 0 {
		l.sweep, l.sweeping, l.cause = min(v.ID, l.sequence<<16|0xffff), v, packet.CauseVerdict
		return true
	}
	s := l.find(v.ID)
	if s == nil {
		l.stats.Unknown++
		return true
	}
	l.settle(s, v, data, packet.CauseVerdict)
	return true
}

// watch finds out whether the listener still does anything.
func (l *lane) watch(nowNs int64) {
	if l.packets == 0 && !l.stalled {
		l.progressNs = nowNs
		return
	}
	idle := nowNs - l.progressNs
	if idle < int64(l.Stall)/4 { // its cache line is left alone as long as it answers
		return
	}
	if at := l.out.Consumed(); at != l.consumed {
		l.consumed, l.progressNs, l.stalled = at, nowNs, false
		return
	}
	if idle >= int64(l.Stall) && !l.stalled {
		l.stalled = true
		l.stats.Stalls++
		l.abandon(packet.CauseExpired)
	}
}

// settle decides what becomes of a packet that waits, for one verdict as for many, and
// for none.
func (l *lane) settle(s *slot, v wire.Verdict, data []byte, cause packet.QueueCause) {
	s.Cause = cause
	switch cause {
	case packet.CauseVerdict:
		l.apply(s, v, data)
	case packet.CauseNoListener:
		l.policy(s, packet.QueueBypass, packet.OutcomeBypassed)
	case packet.CauseExpired:
		l.policy(s, packet.QueueFailOpen, packet.OutcomeFailedOpen)
	}
	l.decide(s)
}

// policy applies the flag of the packet's rule.
func (l *lane) policy(s *slot, flag uint8, accepted packet.QueueOutcome) {
	if s.Options&flag != 0 {
		s.Decision = packet.QueueAccept
		l.stats.Outcomes[accepted]++
		return
	}
	s.Decision = packet.QueueDrop
	l.stats.Outcomes[packet.OutcomeExpired]++
}

var decisions = [...]packet.QueueDecision{
	wire.Drop: packet.QueueDrop, wire.Accept: packet.QueueAccept, wire.Repeat: packet.QueueRepeat,
	wire.Move: packet.QueueAccept, wire.Take: packet.QueueTake,
}

// apply does what a verdict asks for.
func (l *lane) apply(s *slot, v wire.Verdict, data []byte) {
	l.stats.Latency.Add(l.worker.nowNs - s.atNs)
	l.stats.Verdicts++
	s.Decision = decisions[v.Action]
	if v.Flags&wire.SetMark != 0 {
		s.Mark, s.NewMark = v.Mark, true
	}
	if v.Flags&wire.SetCtMark != 0 {
		s.CtMark, s.NewCtMark = v.CtMark, true
	}
	if v.Action == wire.Move {
		s.moving, s.to = true, v.Queue
	}
	if v.Flags&wire.Rewrite != 0 && !rewrite(&s.Released, data) {
		l.stats.TooLong++
		s.Decision, s.moving = packet.QueueDrop, false
	}
}

// rewrite copies a network packet into the mbuf, in the place of the one that is there.
func rewrite(r *packet.Released, data []byte) bool {
	m, at := r.Mbuf, int(r.DataOff)+int(r.L3)
	if at+len(data) > int(m.BufLen) { // which is below 64 KiB, and so is the length then
		return false
	}
	copy(unsafe.Slice((*byte)(unsafe.Add(m.BufAddr, at)), len(data)), data)
	r.Len = uint16(int(r.L3) + len(data))
	m.DataLen, m.PktLen = r.Len, uint32(r.Len)
	r.Rewritten = true
	return true
}

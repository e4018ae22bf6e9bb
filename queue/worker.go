package queue

import (
	"math/bits"

	"golang.org/x/sys/unix"

	"ffwd/packet"
	"ffwd/queue/wire"
)

// Worker is one poll loop's part of all queues. Its methods belong to that loop's
// thread.
type Worker struct {
	set      *Set
	index    int
	lanes    []lane
	turn     int // the lane that Release begins with
	salt     [2]uint64
	nowNs    int64 // of the call under way
	offset   int64 // CLOCK_MONOTONIC minus the worker's clock
	offsetNs int64 // when that was found out
	stopping bool
}

// NewWorker makes the part of the poll loop with this index. Salt, a secret, keeps what
// listeners see of a flow from telling them what its hash is, and senders from choosing whose
// packets theirs wait with.
func (s *Set) NewWorker(index int, salt [2]uint64) *Worker {
	w := &Worker{set: s, index: index, salt: salt, lanes: make([]lane, len(s.queues))}
	for i, q := range s.queues {
		w.lanes[i] = lane{Queue: q, held: newHeld(q.MaxPackets, salt), worker: w}
	}
	return w
}

// Push gives a packet to a queue. Held: it waits there, and its mbuf is not the
// caller's any more. Continue: it goes on without a verdict, by its rule's bypass or
// fail_open. Drop: it does not. Source: VQ-1.
func (w *Worker) Push(p *packet.Packet, q packet.Queueing, nowNs int64) packet.Verdict {
	w.nowNs = nowNs
	at := w.set.index[q.Queue]
	if at == 0 {
		return packet.Drop // rules name no queue that is not configured
	}
	return w.lanes[at-1].offer(p, &q, nowNs)
}

// offer is push with the rule's policy for what cannot wait for a verdict. What the policy
// lets pass still waits for those that came before it, as long as they have not all left:
// there may be more of them than one Release takes. Source: VQ-1.
func (l *lane) offer(p *packet.Packet, q *packet.Queueing, atNs int64) packet.Verdict {
	l.rebind()
	l.stats.Offered++
	flag, outcome := uint8(packet.QueueBypass), packet.OutcomeBypassed
	cause := packet.CauseNoListener
	if l.bound != nil {
		if l.push(p, q, atNs) {
			return packet.Held
		}
		if l.bound != nil { // it was not given up in this moment
			flag, outcome, cause = packet.QueueFailOpen, packet.OutcomeFailedOpen, packet.CauseExpired
		}
	}
	if leaving := l.packets > 0 && (l.bound == nil || l.stalled); leaving && q.Options&flag != 0 {
		if l.room(p.L3Len()) {
			l.add(p, q).atNs = atNs
			l.abandon(cause)
			return packet.Held
		}
		flag, outcome = packet.QueueFailOpen, packet.OutcomeFailedOpen
	}
	if q.Options&flag == 0 {
		l.stats.Outcomes[packet.OutcomeRefused]++
		return packet.Drop
	}
	l.stats.Outcomes[outcome]++
	return packet.Continue
}

// Copy gives the listener of a queue a copy of a packet, for which nobody waits, and
// tells whether there was room. Source: VQ-6.
func (w *Worker) Copy(p *packet.Packet, q packet.Queueing, nowNs int64) bool {
	w.nowNs = nowNs
	at := w.set.index[q.Queue]
	if at == 0 {
		return false
	}
	l := &w.lanes[at-1]
	if l.rebind(); l.bound != nil && !l.stalled {
		if rec := l.reserve(p.L3Len()); rec != nil {
			l.write(rec, p, &q, 0, wire.FlagTee)
			l.stats.Copies++
			return true
		}
	}
	l.stats.CopiesLost++
	return false
}

// Release stores packets that come back at dst, each with what is to become of it, and
// returns how many. Call it once per poll, also to follow listeners that come and go.
//
// The work of one call is bounded by len(dst), whatever listeners send.
func (w *Worker) Release(dst []packet.Released, nowNs int64) int {
	w.nowNs = nowNs
	if nowNs-w.offsetNs > offsetLife || w.offsetNs == 0 {
		w.adjust(nowNs)
	}
	n := 0
	for i := range w.lanes {
		at := w.turn + i
		if at >= len(w.lanes) {
			at -= len(w.lanes)
		}
		l := &w.lanes[at]
		l.rebind()
		if l.bound != nil || l.packets > 0 {
			n += w.drain(l, dst[n:], nowNs)
		}
	}
	if w.turn++; w.turn >= len(w.lanes) {
		w.turn = 0
	}
	return n
}

// drain takes what one lane has ready.
func (w *Worker) drain(l *lane, dst []packet.Released, nowNs int64) (n int) {
	if l.first == 0 {
		l.advance(nowNs, len(dst))
	}
	for n < len(dst) {
		s := l.take()
		if s == nil {
			break
		}
		if s.moving && w.move(l, s) {
			continue
		}
		dst[n] = s.Released
		n++
	}
	return n
}

// move gives a packet to another queue. It returns false when the packet comes back
// instead, with the decision for that.
func (w *Worker) move(l *lane, s *slot) bool {
	s.moving, s.Cause = false, packet.CauseVerdict
	to := w.set.index[s.to]
	if to == 0 || s.moves >= maxMoves {
		l.stats.Outcomes[packet.OutcomeDropped]++
		s.Decision, s.Cause = packet.QueueDrop, packet.CauseExpired // counted
		return false
	}
	l.stats.Outcomes[packet.OutcomeMoved]++
	p, q, atNs, moves := s.Packet, s.Queueing, s.atNs, s.moves+1
	q.Queue = s.to
	target := &w.lanes[to-1]
	switch target.offer(&p, &q, atNs) {
	case packet.Held:
		target.slots[target.newest].moves = moves
		return true
	case packet.Continue:
		s.Decision = packet.QueueAccept
	default:
		s.Decision = packet.QueueDrop
	}
	s.Queue, s.Cause = q.Queue, packet.CauseNoListener // counted by the other queue
	return false
}

// Flush publishes what was pushed since the last call and wakes listeners that sleep.
// Call it once per poll, after the last Push.
func (w *Worker) Flush(nowNs int64) {
	for i := range w.lanes {
		w.lanes[i].wake(nowNs)
	}
}

// Count notes what became of a packet that Release gave with CauseVerdict.
func (w *Worker) Count(queue uint16, o packet.QueueOutcome) {
	if at := w.set.index[queue]; at != 0 {
		w.lanes[at-1].stats.Outcomes[o]++
	}
}

// Held returns how many packets wait in all queues.
func (w *Worker) Held() (n int) {
	for i := range w.lanes {
		n += w.lanes[i].packets
	}
	return n
}

// Drain lets everything that waits go by its rule's policy, for good: the worker stops.
// The packets come by Release.
func (w *Worker) Drain() {
	w.stopping = true
	for i := range w.lanes {
		w.lanes[i].bound = nil
		w.lanes[i].abandon(packet.CauseNoListener)
	}
}

// offsetLife is how long the difference of two clocks is taken to stay.
const offsetLife = 1_000_000_000 // ns

func (w *Worker) adjust(nowNs int64) {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) == nil {
		w.offset = t.Nano() - nowNs
	}
	w.offsetNs = max(nowNs, 1)
}

// flowID returns what a listener sees of a packet's flow: the same for all of its
// packets in both directions, and 0 for a packet without one. It does not tell the
// hash, by which one could make flows collide. Source: VQ-2, CT-8.
func (w *Worker) flowID(p *packet.Packet) uint64 {
	if p.Key1 == 0 {
		return 0
	}
	hi, lo := bits.Mul64(p.Hash^w.salt[0], p.Hash^w.salt[1]|1)
	return max(1, hi^lo)
}

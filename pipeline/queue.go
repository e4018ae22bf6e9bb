package pipeline

import (
	"ffwd/ct"
	"ffwd/packet"
	"ffwd/policy"
)

// VerdictQueues are the queues to listeners in other processes, one worker's part of
// them. No method waits, locks or allocates. Source: VQ-1 to VQ-6.
type VerdictQueues interface {
	// Push gives a packet to a queue. Held: the mbuf is the queue's now. Continue: the
	// packet goes on without a verdict. Drop: it does not.
	Push(p *packet.Packet, q packet.Queueing, nowNs int64) packet.Verdict
	// Copy gives a listener a copy, for which nobody waits.
	Copy(p *packet.Packet, q packet.Queueing, nowNs int64) bool
	// Release stores packets that come back, with their mbufs, and returns how many.
	// It is called once per poll.
	Release(dst []packet.Released, nowNs int64) int
	// Flush tells listeners of what was pushed. It is called once per poll.
	Flush(nowNs int64)
	// Count notes what became of a packet that Release gave with CauseVerdict.
	Count(queue uint16, o packet.QueueOutcome)
	// Held returns how many packets wait.
	Held() int
	// Drain lets all of them come back: the worker stops.
	Drain()
}

// waits is what a worker needs for packets in queues.
type waits struct {
	queued   [packet.MaxBurst]packet.Queueing // by place in the burst
	released [packet.MaxBurst]packet.Released
	resume   [packet.MaxBurst]resumption
	passed   [packet.MaxBurst]packet.Released // that nobody decides: they go on at once
	n        int
}

// judgement says how a hook judges a packet that comes back from a queue.
type judgement struct {
	after    int  // the rules behind this one are asked; -1: all
	skip     bool // it has passed the hook
	listened bool // its listener let it pass: it is given to no queue again
}

// fromFirst is how a packet is judged that did not come from a queue.
var fromFirst = judgement{after: -1}

// again asks all rules about a packet that its listener let pass: they may be others
// than those that gave it to the listener.
var again = judgement{after: -1, listened: true}

// resumption is what a packet is that comes back from a queue, by place in the burst.
type resumption struct {
	hooks       [2]judgement
	egress      uint16 // when it was queued at hook out
	reevaluated bool
	joined      bool // a flow that another packet confirmed while this one waited
}

// enqueue marks a packet for a listener.
func (s *Policy) enqueue(i int, p *packet.Packet, rules *policy.Ruleset, rule int, e *policy.Effect) {
	p.Verdict = packet.Queue
	if p.Flow != 0 {
		p.CtMark = s.table.Flow(p.Flow).Mark() // for the listener; the flow's own stays what counts
	}
	s.queueing(&s.queued[i], p, rules, rule, e)
}

// queueing writes what a listener is told of why the packet comes.
func (s *Policy) queueing(q *packet.Queueing, p *packet.Packet, rules *policy.Ruleset, rule int, e *policy.Effect) {
	q.Rule, q.Generation = uint32(rule), rules.Generation()
	q.Queue, q.Zone, q.Hook = e.Queue.Of(uint64(flowHash(p))), s.snap.Zones[p.Ingress], uint8(s.hook)
	options := uint8(0)
	if e.Queue.Bypass {
		options = packet.QueueBypass
	}
	if e.Queue.FailOpen {
		options |= packet.QueueFailOpen
	}
	if e.Queue.Divert {
		options |= packet.QueueDivert
	}
	q.Options = options
}

// judgeAgain judges a burst that comes back from queues. Nothing that flows remember is
// asked: the packet stands at another place of the rules than they.
func (s *Policy) judgeAgain(b *packet.Burst, rules *policy.Ruleset) {
	for i := range b.Live() {
		p, r := &b.Pkts[i], &s.resume[i]
		if p.Verdict != packet.Continue {
			continue
		}
		b.Chosen = b.Chosen || p.Via != 0
		j := r.hooks[s.hook]
		if j.skip && s.hook == ct.HookOut && p.Egress != r.egress {
			j, r.reevaluated = again, true
		}
		if !j.skip {
			s.forgetSource(p)
			s.ask(rules, b, i, j)
		}
	}
}

// enqueue gives a packet to its queue, or lets it go on without.
func (w *Worker) enqueue(p *packet.Packet, q *packet.Queueing, nowNs int64) {
	v := packet.Drop
	if w.queues != nil {
		w.holdPolicy(p)
		if v = w.queues.Push(p, *q, nowNs); v != packet.Held {
			w.releasePolicy(p)
		}
	}
	switch v {
	case packet.Held:
		w.counter.Held++
	case packet.Continue:
		t := w.waits
		t.passed[t.n] = packet.Released{Packet: *p, Queueing: *q, Decision: packet.QueueAccept, Cause: packet.CauseNoListener}
		t.n++
	default:
		p.DropFor(packet.QueueRefused)
		w.discard(p)
	}
}

// holdPolicy keeps the timeout policy of a packet that may wait, as long as its flow is
// not confirmed. Source: TO-4.
func (w *Worker) holdPolicy(p *packet.Packet) {
	if w.table != nil {
		w.table.HoldPolicy(p)
	}
}

// releasePolicy ends what holdPolicy began.
func (w *Worker) releasePolicy(p *packet.Packet) {
	if w.table != nil {
		w.table.ReleasePolicy(p.Policy)
	}
}

// passOn takes packets that nobody decides further, behind the hook or the rule that
// gave them to a queue. It ends, because each time they stand further on.
func (w *Worker) passOn(nowNs int64) {
	for t := w.waits; t.n > 0; {
		n := t.n
		t.n = 0
		w.bringBack(t.passed[:n], packet.WaitNone, nowNs)
	}
}

// reinject takes what comes back from queues through the rest of the pipeline, and
// returns how many packets that were.
func (w *Worker) reinject(nowNs int64) int {
	t := w.waits
	n := w.queues.Release(t.released[:], nowNs)
	w.counter.Held -= uint64(n)
	if n > 0 {
		w.bringBack(t.released[:n], packet.WaitQueue, nowNs)
		w.count(t.released[:n])
		for i := range t.released[:n] { // their flows are confirmed, or never will be
			w.releasePolicy(&t.released[i].Packet)
		}
		w.passOn(nowNs)
	}
	w.queues.Flush(nowNs)
	return n
}

// bringBack makes a burst of released packets and carries it from the hook on. What
// changed while they waited is looked at again: flow, route, and the rules if they are
// others now. Source: VQ-3, VQ-4.
func (w *Worker) bringBack(list []packet.Released, waited packet.Wait, nowNs int64) {
	b, t := &w.burst, w.waits
	b.N, b.NowNs, b.Divert, b.Translated = len(list), nowNs, false, false
	for i := range list {
		r, p := &list[i], &b.Pkts[i]
		*p = r.Packet
		p.NextHop, p.Verdict, p.Waited = nil, packet.Continue, max(p.Waited, waited)
		t.resume[i] = resumption{egress: r.Egress}
		w.prepare(p, r, &t.resume[i], nowNs)
		b.Divert, b.Translated = b.Divert || p.Diverted(), b.Translated || p.Translation != 0
	}
	w.resume = t.resume[:len(list)]
	w.through(stagePolicyIn)
	w.resume = nil
}

// prepare does what was decided for one packet, and says where it goes on.
func (w *Worker) prepare(p *packet.Packet, r *packet.Released, to *resumption, nowNs int64) {
	switch {
	case r.Decision == packet.QueueTake:
		w.counter.Punts[packet.PuntTaken]++
		w.forgetTranslation(p)
		w.release(p.Mbuf)
		p.Verdict = packet.Held
		return
	case r.Decision == packet.QueueDrop && r.Cause == packet.CauseVerdict:
		p.DropFor(packet.QueueVerdict)
		return
	case r.Decision == packet.QueueDrop:
		p.DropFor(packet.QueueExpired)
		return
	case r.Rewritten && !w.parseAgain(p), !w.putBack(p):
		return
	}
	if w.table != nil {
		to.joined = w.table.Return(p, nowNs, w.snap.Timeouts)
		if p.Flow != 0 && r.NewCtMark {
			w.table.SetMark(p.Flow, r.CtMark)
		}
	}
	to.hooks = [2]judgement{ct.HookIn: fromFirst, ct.HookOut: fromFirst}
	same := r.Generation == w.snap.Rules.Generation()
	if r.Hook == uint8(ct.HookOut) {
		to.hooks[ct.HookIn] = judgement{skip: true}
	}
	switch here := &to.hooks[r.Hook]; {
	case r.Decision == packet.QueueRepeat:
		if r.Hook == uint8(ct.HookIn) {
			p.Via = 0
		}
	case r.Options&packet.QueueDivert != 0:
		*here = judgement{after: int(r.Rule)}
	default:
		*here = judgement{skip: true}
	}
	if !same {
		to.reevaluated = true
		p.Limits, p.Priority, p.Via = [2]uint8{}, false, 0 // other rules say that now
		w.forgetTranslation(p)
		to.hooks[r.Hook] = again
		if r.Hook == uint8(ct.HookOut) {
			to.hooks[ct.HookIn] = again
		}
		if r.Decision == packet.QueueRepeat {
			to.hooks[r.Hook] = fromFirst
		}
	}
}

// parseAgain finds the headers of a rewritten packet, with all the checks that one from
// a wire has to pass. One that belongs to another flow than before belongs to none: the
// other flow may be another worker's. An ICMP error stays related, whatever it quotes now, and
// what was invalid is no better, as with Linux: they never had a flow of their own.
func (w *Worker) parseAgain(p *packet.Packet) bool {
	key0, key1, swapped, reply := p.Key0, p.Key1, p.Flags&packet.KeySwapped, p.Flags&packet.ReplyDir
	p.Verdict, p.Reason = packet.Drop, packet.Unfinished
	p.Mbuf.OlFlags &^= packet.RxIPCksumMask | packet.RxL4CksumMask // they are about the packet that was
	way := p.Flags & (packet.KeySwapped | packet.ReplyDir)
	p.Flags, p.PortsLE, p.Proto, p.L4 = 0, 0, 0, 0
	w.parse.network(p, &w.snap.Interfaces[p.Ingress])
	if p.Verdict != packet.Continue {
		if p.Reason == packet.Unfinished { // neither of the families that the frame may have
			p.DropFor(packet.BadVersion)
		}
		return false
	}
	known := w.restoreRewritten(p, way)
	lone := &w.errors // idle between two outputs
	lone.N, lone.Pkts[0] = 1, *p
	lone.Pkts[0].Key0, lone.Pkts[0].Key1, lone.Pkts[0].Hash = 0, 0, 0
	w.stages[stageTuple].Process(lone)
	if first := &lone.Pkts[0]; w.table != nil && first.Flags&(packet.IsFragment|packet.LaterFragment) == packet.IsFragment {
		w.secret.FirstKey(first, w.snap.Zones[p.Ingress])
	}
	*p = lone.Pkts[0]
	if p.State == packet.CtRelated || p.State == packet.CtInvalid {
		if p.Key0, p.Key1 = 0, 0; p.Translation != 0 {
			p.Key0, p.Key1 = key0, key1 // its translation is known by them
		}
		p.Flags |= reply
		return true
	}
	if !known || p.Key0 != key0 || p.Key1 != key1 || p.Flags&packet.KeySwapped != swapped {
		if p.Translation != 0 {
			w.table.ReleaseTranslation(p)
		}
		p.Key0, p.Key1, p.Hash, p.Flow, p.State = 0, 0, 0, 0, packet.CtUntracked
	}
	return true
}

// count tells the queues what became of the packets that their listeners decided. It
// is for the burst that has just been carried.
func (w *Worker) count(list []packet.Released) {
	for i := range list {
		r, p, back := &list[i], &w.burst.Pkts[i], &w.waits.resume[i]
		if back.reevaluated {
			w.queues.Count(r.Queue, packet.OutcomeReevaluated)
		}
		if r.Cause == packet.CauseVerdict {
			w.queues.Count(r.Queue, outcome(r, p, back))
		}
	}
}

func outcome(r *packet.Released, p *packet.Packet, back *resumption) packet.QueueOutcome {
	switch p.Verdict {
	case packet.Transmit, packet.Fragment, packet.Punt, packet.Await:
		if back.joined {
			return packet.OutcomeJoined
		}
		return packet.OutcomeConfirmed
	case packet.Queue:
		return packet.OutcomeMoved
	}
	switch {
	case r.Decision == packet.QueueTake:
		return packet.OutcomeTaken
	case p.Reason == packet.QueueVerdict || p.Reason == packet.PolicyIn || p.Reason == packet.PolicyOut:
		return packet.OutcomeDropped
	}
	return packet.OutcomeStale
}

package pipeline

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"ffwd/ct"
	"ffwd/fib"
	"ffwd/packet"
)

// Resolver asks for the link address of a neighbour. Ask reports whether the
// question was taken; it neither waits nor allocates. The answer is a change of
// the routing table.
type Resolver interface {
	Ask(iface uint16, addr netip.Addr) bool
}

// Bounds on what waits, per worker.
//
// A neighbour's queue takes what somebody begins to talk with: all fragments of the
// largest datagram over a link of 1,280 bytes or more, which are 53, or the first
// segments of some connections. Once half of all places are taken it takes 16, as
// FreeBSD does (net.link.ether.inet.maxhold), so that a few silent neighbours leave
// room for others. Linux holds what fits in 208 KiB, which for many neighbours would be
// more than a pool has. When a queue is full its oldest packet goes, because the latest
// is to be kept (RFC 1122 2.3.2.2).
//
// The time is a little longer than that in which Linux gives up, which is three
// questions, a second apart, each late by up to the grain of its timers: whoever
// asks again when told that the host is unreachable makes the kernel ask again,
// which it does not while it still waits for its last question's answer.
const (
	maxHeld       = 512 // packets
	maxTargets    = 256 // neighbours
	heldPerTarget = 64  // while less than half of maxHeld is taken
	heldWhenTight = 16  // from then on
	holdNs        = 3_300_000_000
	holdCheckNs   = 2_000       // for each neighbour, between two looks whether they are known: 2 % of the time
	askAgainNs    = 500_000_000 // between two questions for one neighbour, which somebody may flush meanwhile

	targetBuckets = 512
	noIndex       = ^uint16(0)
)

// held is a packet that waits.
type held struct {
	packet     packet.Packet
	generation uint32 // of the rules that let it pass
	credit     uint64 // see dispose: 0 for what the switch made itself
	next       uint16
}

// waitingFor is the packets that wait for one neighbour, oldest first.
type waitingFor struct {
	target
	vrf         uint16
	first, last uint16 // of held
	n           uint16 // 0: this element is free
	next        uint16 // in the bucket, or among the free ones
	askNs       int64  // when to ask again
	deadlineNs  int64
}

// holder keeps packets until their neighbour is known. It is one worker's, made
// once.
type holder struct {
	resolver Resolver
	closed   bool // the worker stops: nothing waits any more
	final    bool // the packets under way have waited long enough
	seed     uint64

	targets  int
	packets  int
	nextNs   int64 // when to look again
	freeHeld uint16
	freeFor  uint16
	buckets  [targetBuckets]uint16
	waiting  [maxTargets]waitingFor
	held     [maxHeld]held
	resume   [heldPerTarget]resumption
	policies [heldPerTarget]uint16 // timeout policies that the packets of resume refer to
}

func newHolder(r Resolver) *holder {
	h := &holder{resolver: r, seed: rand.Uint64() | 1}
	for i := range h.buckets {
		h.buckets[i] = noIndex
	}
	for i := range h.waiting {
		h.waiting[i].next = uint16(i) + 1
	}
	for i := range h.held {
		h.held[i].next = uint16(i) + 1
	}
	h.waiting[maxTargets-1].next, h.held[maxHeld-1].next = noIndex, noIndex
	return h
}

// bucket hashes by a seed of this worker, so that nobody chooses addresses that
// all meet in one.
func (h *holder) bucket(t target) *uint16 {
	a := t.addr.As16()
	le := binary.LittleEndian
	x := (le.Uint64(a[:])^uint64(t.iface))*h.seed ^ le.Uint64(a[8:])
	x = (x ^ x>>32) * h.seed
	return &h.buckets[x>>32%targetBuckets]
}

// find returns the place of what waits for a neighbour.
func (h *holder) find(t target) uint16 {
	i := *h.bucket(t)
	for i != noIndex && h.waiting[i].target != t {
		i = h.waiting[i].next
	}
	return i
}

// begin makes a place for what waits for a neighbour, and asks for it.
func (h *holder) begin(t target, vrf uint16, nowNs int64) uint16 {
	i := h.freeFor
	if i == noIndex {
		return noIndex
	}
	f, bucket := &h.waiting[i], h.bucket(t)
	h.freeFor = f.next
	*f = waitingFor{target: t, vrf: vrf, first: noIndex, last: noIndex, next: *bucket, deadlineNs: nowNs + holdNs}
	*bucket = i
	h.targets++
	h.ask(f, nowNs)
	return i
}

// ask asks for a neighbour. A question that is not taken is put again at the next
// look.
func (h *holder) ask(f *waitingFor, nowNs int64) {
	if h.resolver.Ask(f.iface, f.addr) {
		f.askNs = nowNs + askAgainNs
	}
}

// end gives a place back. What waited there has been taken out.
func (h *holder) end(i uint16) {
	f := &h.waiting[i]
	at := h.bucket(f.target)
	for *at != i {
		at = &h.waiting[*at].next
	}
	*at, f.next, f.n = f.next, h.freeFor, 0
	h.freeFor = i
	h.targets--
}

// take takes the oldest packet out. Its place may be used again at the next put.
func (h *holder) take(f *waitingFor) *held {
	i := f.first
	e := &h.held[i]
	f.first = e.next
	f.n--
	h.packets--
	e.next, h.freeHeld = h.freeHeld, i
	return e
}

// put adds a packet as the latest.
func (h *holder) put(f *waitingFor, e held) {
	i := h.freeHeld
	h.freeHeld = h.held[i].next
	e.next = noIndex
	h.held[i] = e
	if f.n == 0 {
		f.first = i
	} else {
		h.held[f.last].next = i
	}
	f.last = i
	f.n++
	h.packets++
}

// share is how many packets may wait for one neighbour now.
func (h *holder) share() uint16 {
	if h.packets < maxHeld/2 {
		return heldPerTarget
	}
	return heldWhenTight
}

// hold keeps a packet until its neighbour is known. Beyond a bound a packet is
// dropped without an answer: whoever sends that many is not to be told more.
func (w *Worker) hold(p *packet.Packet, nowNs int64, credit uint64) {
	h := w.holder
	t := targetOf(p, (*fib.Adjacency)(p.NextHop))
	i := h.find(t)
	if i == noIndex && h.freeHeld != noIndex {
		i = h.begin(t, w.snap.Interfaces[p.Ingress].VRF, nowNs)
	}
	if i == noIndex {
		w.discard(p)
		return
	}
	f := &h.waiting[i]
	if f.n >= h.share() || h.freeHeld == noIndex {
		w.evict(f)
	}
	w.holdPolicy(p)
	h.put(f, held{packet: *p, generation: w.snap.Rules.Generation(), credit: credit})
	w.counter.Held++
}

// evict drops the oldest packet that waits for a neighbour.
func (w *Worker) evict(f *waitingFor) {
	p := &w.holder.take(f).packet
	w.counter.Held--
	w.releasePolicy(p)
	w.discard(p)
}

// review lets packets go whose neighbour is known, and those that have waited in
// vain. It comes before what was received, and as soon as it can be: packets that find
// the neighbour known would overtake those that wait for it.
func (w *Worker) review(nowNs int64) {
	h := w.holder
	if h.targets == 0 || nowNs < h.nextNs {
		return
	}
	h.nextNs = nowNs + int64(h.targets)*holdCheckNs
	for i := range h.waiting {
		f := &h.waiting[i]
		if f.n == 0 {
			continue
		}
		if nowNs >= f.askNs {
			h.ask(f, nowNs)
		}
		if h.final = nowNs >= f.deadlineNs; h.final || w.known(f) {
			w.letGo(uint16(i), nowNs)
		}
		h.final = false
	}
}

// known tells whether the oldest packet does not wait for this neighbour any more.
func (w *Worker) known(f *waitingFor) bool {
	oldest := &w.holder.held[f.first]
	p, table := &oldest.packet, w.snap.Tables[f.vrf]
	var id fib.NextHopID
	if p.Is(packet.IsIPv6) {
		id = table.Lookup6(p.IPv6().Dst())
	} else {
		id = table.Lookup4(p.IPv4().Dst())
	}
	a := table.Resolve(id)
	if p.Via != 0 {
		if oldest.generation != w.snap.Rules.Generation() {
			return true // other rules choose now
		}
		a = chosen(p, table, a)
	}
	a = table.Member(a, flowHash(p))
	return a.Kind != fib.Glean || targetOf(p, a) != f.target
}

// letGo takes all packets that wait for a neighbour through the rest of the
// pipeline. What changed meanwhile is looked at again: flow, route, and the rules
// if they are others now.
func (w *Worker) letGo(i uint16, nowNs int64) {
	h, b := w.holder, &w.burst
	b.N, b.NowNs, b.Divert, b.Translated = 0, nowNs, false, false
	w.errors.N, w.errors.NowNs, w.errors.Divert = 0, nowNs, false
	for f := &h.waiting[i]; f.n > 0; {
		e := h.take(f)
		w.counter.Held--
		p := e.packet
		p.NextHop, p.Verdict, p.Reason = nil, packet.Continue, packet.Unfinished
		p.Waited = packet.WaitNeighbour
		if e.credit == 0 {
			w.errors.Pkts[w.errors.N] = p
			w.errors.N++
			continue
		}
		to := &h.resume[b.N]
		*to = resumption{egress: p.Egress}
		if e.generation == w.snap.Rules.Generation() {
			to.hooks = [2]judgement{ct.HookIn: {skip: true}, ct.HookOut: {skip: true}}
		} else {
			to.hooks = [2]judgement{ct.HookIn: fromFirst, ct.HookOut: fromFirst}
			p.Limits, p.Priority, p.Via = [2]uint8{}, false, 0 // other rules say that now
		}
		if w.putBack(&p) && w.table != nil {
			w.table.Return(&p, nowNs, w.snap.Timeouts)
		}
		if e.generation != w.snap.Rules.Generation() {
			w.forgetTranslation(&p)
		}
		b.Translated = b.Translated || p.Translation != 0
		h.policies[b.N] = p.Policy
		b.Pkts[b.N] = p
		b.N++
	}
	h.end(i)
	if w.errors.N > 0 {
		w.sendErrors()
	}
	if b.N > 0 {
		going := b.N
		w.resume = h.resume[:going]
		w.through(stagePolicyIn)
		w.resume = nil
		if w.table != nil {
			for _, policy := range h.policies[:going] { // their flows are confirmed, or never will be
				w.table.ReleasePolicy(policy)
			}
		}
	}
	if w.waits != nil {
		w.passOn(nowNs)
	}
}

// dropHeld ends the waiting for good.
func (w *Worker) dropHeld() {
	h := w.holder
	h.closed = true
	for i := range h.waiting {
		f := &h.waiting[i]
		if f.n == 0 {
			continue
		}
		for f.n > 0 {
			w.evict(f)
		}
		h.end(uint16(i))
	}
	w.flush()
}

package ct

import (
	"math/rand/v2"

	"ffwd/packet"
)

// Fragments gives every fragment the flow of its datagram, which only the first one
// tells. That one's ports are remembered for those behind it; those before it wait for it.
// Nothing is reassembled: each goes on as it came.
//
// All memory is taken at once. Datagrams are of two classes, each with its own bounds, so
// that a flood of one leaves the other alone: waiting ones, of which packets are held, and
// known ones, of which there is only this memory. Where a bound is reached the oldest of
// the same class gives way, of the same source first.
//
// One worker's. Source: CT-5; RFC 791, RFC 815, RFC 5722, RFC 8200 4.5.
// Design: docs/decisions/0013-virtual-reassembly.md.
type Fragments struct {
	FragmentStats
	limits FragmentLimits
	seed   uint64

	datagrams []datagram // 0 is none
	sources   []source   // 0 is none
	held      []heldPacket
	buckets   []uint32 // of datagrams
	origins   []uint32 // of sources

	freeDatagram, freeSource, freeHeld uint32

	lists [2][numClasses]list // by family and class, oldest first
	known int                 // datagrams of class classKnown
	out   queue               // packets that are to leave
	round uint32              // counts how often all of them have left

	heldPackets, heldBytes int // of waiting datagrams
}

// FragmentLimits bound what one worker keeps of fragments. Source: CT-5.
type FragmentLimits struct {
	Datagrams, SourceDatagrams int // whose first fragment has been seen: of all, and of one source
	Packets, SourcePackets     int // held
	Bytes, SourceBytes         int // of them
}

// DefaultFragmentLimits hold some two hundred datagrams in flight of each of many sources,
// and the largest datagram of Ethernet twice over out of order of each of eight.
func DefaultFragmentLimits() FragmentLimits {
	return FragmentLimits{
		Datagrams: 4096, SourceDatagrams: 256, Packets: 1024, SourcePackets: 128,
		Bytes: 1 << 20, SourceBytes: 1 << 17,
	}
}

// DefaultFragmentTimeouts are Linux's for IPv4 and the 60 seconds of RFC 8200 4.5.
func DefaultFragmentTimeouts() FragmentTimeouts {
	return FragmentTimeouts{IPv4: 30_000_000_000, IPv6: 60_000_000_000}
}

// FragmentTimeouts are how long a datagram may take to become whole, in nanoseconds.
type FragmentTimeouts struct{ IPv4, IPv6 int64 }

// FragmentStats are written by the worker that owns the fragments.
type FragmentStats struct {
	Datagrams uint64 // that are not whole, now
	Held      uint64 // packets, now
	HeldBytes uint64
	Completed uint64 // datagrams that became whole
	Evicted   uint64 // that gave way to others
	TimedOut  uint64
}

// maxFragments is how many pieces a datagram may come in: the largest at an MTU of 276.
const maxFragments = 256

// class says which bounds a datagram counts against.
type class uint8

const (
	classWaiting class = iota // for its first fragment
	classKnown                // or refused: nothing is held of it
	numClasses
)

// datagram is what is known of one that is not whole.
type datagram struct {
	datagramKey
	source  uint32 // of sources
	next    uint32 // in its bucket, or among the free ones
	place   [2]links
	packets queue // held, in the order of their arrival

	flowKey  [2]uint64
	flowHash uint64
	portsLE  uint32
	flags    uint8 // of the first fragment, those that all are to have
	l4       uint8 // protocol, from the first fragment

	class   class
	refused packet.Reason // why all of it is dropped; 0: it is not
	round   uint32        // in which packets of it are in out: those behind them queue up there too
	count   uint16        // fragments seen
	end     int           // bytes of payload; 0: not known yet
	sinceNs int64         // of its class
	seen    pieces
}

// flowFlags are the flags of a first fragment that those behind it get.
const flowFlags = packet.HasPorts | packet.KeySwapped | packet.Broken

// NewFragments makes the memory of a worker. Limits must be at least 1.
func NewFragments(l FragmentLimits) *Fragments {
	l.SourceBytes = min(l.SourceBytes, l.Bytes)
	n := l.Datagrams + l.Packets + 2 // each waiting one holds a packet but the latest; and index 0
	t := &Fragments{
		limits: l, seed: rand.Uint64() | 1,
		datagrams: make([]datagram, n), sources: make([]source, n),
		held:    make([]heldPacket, l.Packets+packet.MaxBurst+2),
		buckets: make([]uint32, buckets(n)), origins: make([]uint32, buckets(n)), round: 1,
		freeDatagram: 1, freeSource: 1, freeHeld: 1,
	}
	for i := range t.datagrams {
		t.datagrams[i].next, t.sources[i].next = uint32(i+1)%uint32(n), uint32(i+1)%uint32(n)
	}
	for i := range t.held {
		t.held[i].next = uint32(i+1) % uint32(len(t.held))
	}
	return t
}

// buckets returns a power of two that is not less than n.
func buckets(n int) int {
	size := 1
	for size < n {
		size *= 2
	}
	return size
}

// Take decides about a fragment that the worker has received, or been handed.
//
// Its verdict stays Continue when its flow is known: it has its key now, or none and is
// marked for one that can have none. Held: its mbuf is here until Next gives it back. Drop
// has one of the reasons for fragments. A packet whose fragment header cannot be found is
// left as it is. where tells apart datagrams that are alike, by VRF and zone.
// Between two calls of Next at most packet.MaxBurst fragments may be taken.
func (t *Fragments) Take(p *packet.Packet, s *Secret, zone uint16, where uint32, nowNs int64) {
	f, ok := readPiece(p)
	first := p.Flags&packet.LaterFragment == 0
	switch {
	case !ok, !first && p.Is(packet.Broken):
		return
	case f.malformed():
		p.DropFor(packet.FragmentMalformed)
		return
	case int(p.Len) > t.limits.SourceBytes:
		p.DropFor(packet.FragmentSource)
		return
	}
	k := datagramOf(p, &f, where)
	if first && !s.FirstKey(p, zone) {
		t.refuseTiny(&k, p, nowNs)
		return
	}
	i := t.find(&k)
	if i == 0 {
		i = t.begin(&k, nowNs)
	}
	d := &t.datagrams[i]
	if d.refused != 0 {
		p.DropFor(d.refused)
		return
	}
	switch why := d.enter(&f); {
	case why == packet.FragmentDuplicate:
		p.DropFor(why)
		return
	case why != 0:
		t.refuse(i, why, nowNs)
		p.DropFor(why)
		return
	case first:
		t.learn(i, p, nowNs)
	case d.class == classWaiting:
		t.hold(i, p)
		return
	default:
		d.give(p)
		if d.round == t.round { // what waited must not be overtaken
			t.put(&t.out, p)
			p.Verdict = packet.Held
		}
	}
	if d.end > 0 && d.seen.whole(uint16((d.end+7)/8)) {
		t.Completed++
		t.forget(i)
	}
}

// enter enters a fragment among those before it, and returns why it may not be.
func (d *datagram) enter(f *piece) packet.Reason {
	end := f.offset + f.length
	part := f.span()
	switch {
	case f.more && d.end > 0 && end > d.end, !f.more && d.end > 0 && end != d.end,
		!f.more && part.to < d.seen.end():
		return packet.FragmentOverlap
	}
	switch d.seen.add(part) {
	case duplicate:
		return packet.FragmentDuplicate
	case overlaps:
		return packet.FragmentOverlap
	case scattered:
		return packet.FragmentPieces
	}
	if d.count++; d.count > maxFragments {
		return packet.FragmentPieces
	}
	if !f.more {
		d.end = end
	}
	return 0
}

// give makes a fragment one of the flow that the first one told.
func (d *datagram) give(p *packet.Packet) {
	p.Key0, p.Key1, p.Hash = d.flowKey[0], d.flowKey[1], d.flowHash
	p.PortsLE, p.Proto = d.portsLE, d.l4
	p.Flags |= d.flags
}

// know notes what give gives, from the first fragment.
func (d *datagram) know(p *packet.Packet) {
	d.flowKey, d.flowHash = [2]uint64{p.Key0, p.Key1}, p.Hash
	d.portsLE, d.flags, d.l4 = p.PortsLE, p.Flags&flowFlags, p.Proto
}

// learn notes the flow of a datagram, whose first fragment is p, and lets go those that
// waited for it.
func (t *Fragments) learn(i uint32, p *packet.Packet, nowNs int64) {
	t.datagrams[i].know(p)
	t.release(i, packet.Unfinished)
	t.settle(i, nowNs)
}

// refuse drops what is held of a datagram, and remembers to drop the rest of it.
// Source: RFC 5722 section 4.
func (t *Fragments) refuse(i uint32, why packet.Reason, nowNs int64) {
	d := &t.datagrams[i]
	d.refused = why
	t.release(i, why)
	t.settle(i, nowNs)
}

// refuseTiny refuses a datagram whose first fragment is too short to be judged.
func (t *Fragments) refuseTiny(k *datagramKey, p *packet.Packet, nowNs int64) {
	i := t.find(k)
	if i == 0 {
		i = t.begin(k, nowNs)
	}
	t.refuse(i, packet.TinyFragment, nowNs)
	p.DropFor(packet.TinyFragment)
}

// expireStep is how many datagrams a poll may give up.
const expireStep = 64

// Expire gives up datagrams that have not become whole in time, a bounded number.
func (t *Fragments) Expire(nowNs int64, after FragmentTimeouts) {
	if t.Datagrams == 0 {
		return
	}
	budget := expireStep
	for family, lives := range [2]int64{after.IPv4, after.IPv6} {
		for c := range t.lists[family] {
			for i := t.lists[family][c].first; i != 0 && nowNs-t.datagrams[i].sinceNs >= lives; i = t.lists[family][c].first {
				if budget--; budget < 0 {
					return
				}
				t.TimedOut++
				t.release(i, packet.FragmentTimeout)
				t.forget(i)
			}
		}
	}
}

// Clear gives up all datagrams: the worker stops.
func (t *Fragments) Clear() {
	for family := range t.lists {
		for c := range t.lists[family] {
			for i := t.lists[family][c].first; i != 0; i = t.lists[family][c].first {
				t.release(i, packet.FragmentTimeout)
				t.forget(i)
			}
		}
	}
}

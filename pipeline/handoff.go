package pipeline

import (
	"sync/atomic"

	"ffwd/ct"
	"ffwd/packet"
)

// Handoff is a bounded ring that carries parsed packets from one worker to the
// worker that owns their flow. One producer, one consumer.
type Handoff struct {
	slots []packet.Packet
	mask  uint32

	_    [64]byte
	tail atomic.Uint32 // next slot to fill; written by the producer
	_    [60]byte
	head atomic.Uint32 // next slot to empty; written by the consumer
	_    [60]byte
}

// NewHandoff makes a ring; slots must be a power of two.
func NewHandoff(slots int) *Handoff {
	return &Handoff{slots: make([]packet.Packet, slots), mask: uint32(slots - 1)}
}

// Len returns how many packets are in the ring. Consumer, or when both sides have ended:
// to anybody else one end may move between the two looks.
func (h *Handoff) Len() int { return int(h.tail.Load() - h.head.Load()) }

// take moves up to room packets into the burst. Consumer only.
//
// Loading tail before the slots and storing head after them (both sequentially
// consistent) keeps a slot from being read before it is written and from being
// overwritten before it is read.
func (h *Handoff) take(b *packet.Burst, room int) {
	head := h.head.Load()
	n := min(int(h.tail.Load()-head), room)
	if b.N = n; n == 0 {
		return
	}
	reasons, flags := packet.Unfinished, uint8(0)
	for i := range n {
		b.Pkts[i] = h.slots[(head+uint32(i))&h.mask]
		reasons |= b.Pkts[i].Reason
		flags |= b.Pkts[i].Flags
	}
	b.Divert, b.Strays = reasons != packet.Unfinished, flags&packet.IsFragment != 0
	h.head.Store(head + uint32(n))
}

// Steer hands packets over to the worker that owns their flow, where the device
// cannot: by a symmetric hash over bounded rings. Packets without a key stay. No device
// can where fragments and ICMP errors are concerned, see FlowFold.
//
// Needs:  Tuple.
// Writes: Verdict Held.
// Drops:  handoff_full.
// Source: CT-1; FF-1.
type Steer struct {
	*context
	self   int
	rings  []*Handoff       // by owner; nil for self
	fill   []uint32         // private tails, published once per burst
	ports  []bool           // by physical port: false where the device does it
	spread func(uint16) int // see Config.Spread
}

// Process hands over the packets of the burst that others own.
func (s *Steer) Process(b *packet.Burst) {
	all := s.ports[s.port]
	if !all && !b.Strays {
		return
	}
	for i := range b.Live() {
		p := &b.Pkts[i]
		if p.Verdict == packet.Continue && p.Key1 != 0 && (all || isStray(p)) {
			s.handOver(p, s.owner(p))
		}
	}
	for owner, ring := range s.rings {
		if ring != nil && ring.tail.Load() != s.fill[owner] {
			ring.tail.Store(s.fill[owner])
		}
	}
}

// isStray reports whether a device may have led a packet with a key to another worker
// than those of its flow: it sees no ports in fragments, and other addresses in ICMP errors.
func isStray(p *packet.Packet) bool { return p.Is(packet.IsFragment) || ct.Quotes(p) }

// owner returns the worker that owns the packet's flow.
func (s *Steer) owner(p *packet.Packet) int {
	if s.spread != nil {
		return s.spread(ct.FlowFold(p))
	}
	return ct.Owner(p.Hash, len(s.rings))
}

// owns tells whether this worker owns the flow of packets with this hash and ct.FlowFold.
func (s *Steer) owns(hash uint64, fold uint16) bool {
	if s.spread != nil {
		return s.spread(fold) == s.self
	}
	return ct.Owner(hash, len(s.rings)) == s.self
}

// handOver puts a packet into the ring that leads to another worker, and returns false
// when that is this one. Process makes the other see it.
func (s *Steer) handOver(p *packet.Packet, to int) bool {
	if to == s.self {
		return false
	}
	ring, at := s.rings[to], s.fill[to]
	if at-ring.head.Load() > ring.mask {
		p.DropFor(packet.HandoffFull)
		return true
	}
	ring.slots[at&ring.mask] = *p
	s.fill[to] = at + 1
	p.Verdict = packet.Held
	s.counters.HandedOver++
	return true
}

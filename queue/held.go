package queue

import (
	"encoding/binary"
	"math/bits"

	"ffwd/packet"
)

// slot is one packet that waits. Slots are linked by their index, and 0 is none.
type slot struct {
	packet.Released
	id    uint64 // sequence 48 | slot 16: ids grow with time, and a stale one fits no slot
	atNs  int64  // when it was queued first
	order uint64 // packets with the same leave in the order they came

	older, newer   uint16 // of all that wait; newer also links the free and the ready
	before, behind uint16 // of those with the same order
	chain          uint16 // next flow in the bucket
	state          slotState
	moving         bool // to another queue
	moves          uint8
	to             uint16 // that queue
	size           uint32 // bytes it counts for in the budget
}

type slotState uint8

const (
	free    slotState = iota
	waiting           // for a verdict
	decided           // for those of its flow that came before it
	ready             // to be taken by Release
)

// held is the table of the packets that wait, of one worker and queue. All of its
// memory is made at start.
type held struct {
	salt           [2]uint64
	slots          []slot   // [0] is none
	buckets        []uint16 // by order: the newest packet of each flow that waits
	free           uint16
	oldest, newest uint16
	first, last    uint16 // ready
	sequence       uint64
	packets, bytes int // in slots that are not free
}

func newHeld(n int, salt [2]uint64) held {
	buckets := 64
	for buckets < 2*n {
		buckets *= 2
	}
	h := held{salt: salt, slots: make([]slot, n+1), buckets: make([]uint16, buckets)}
	for i := n; i > 0; i-- {
		h.slots[i].newer, h.free = h.free, uint16(i)
	}
	return h
}

// orderOf returns what packets that must keep their order have in common: a flow and a
// direction, or the addresses of a packet that has no flow. Whoever sends chooses those, so
// they are keyed: nobody's packets wait behind others', or in one long chain, by choice.
func (h *held) orderOf(p *packet.Packet) uint64 {
	const spread = 0x9e3779b97f4a7c15 // 2^64 / phi
	if p.Key1 != 0 {
		return p.Hash ^ uint64(p.Flags&packet.KeySwapped)*spread
	}
	le := binary.LittleEndian
	if !p.Is(packet.IsIPv6) {
		return h.mix(le.Uint64(p.IPv4()[12:]), 0)
	}
	a := p.IPv6()
	return h.mix(le.Uint64(a[8:]), le.Uint64(a[16:])) ^ bits.RotateLeft64(h.mix(le.Uint64(a[24:]), le.Uint64(a[32:])), 32)
}

func (h *held) mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^h.salt[0], b^h.salt[1])
	return hi ^ lo
}

func (h *held) bucket(order uint64) *uint16 {
	return &h.buckets[(order^order>>32)&uint64(len(h.buckets)-1)]
}

// add puts a packet at the end and returns its slot, or nil when there is none.
//
// It sets field by field: a composite literal is built aside and copied, and the copy waits
// for its own stores.
func (h *held) add(p *packet.Packet, q *packet.Queueing) *slot {
	i := h.free
	if i == 0 {
		return nil
	}
	s := &h.slots[i]
	h.free = s.newer
	h.sequence++
	s.Packet, s.Queueing = *p, *q
	s.NextHop = nil // valid in this poll only
	s.Decision, s.Cause, s.Rewritten, s.NewMark, s.NewCtMark = packet.QueueDrop, packet.CauseVerdict, false, false, false
	s.id, s.order, s.size = h.sequence<<16|uint64(i), h.orderOf(p), uint32(p.L3Len())
	s.older, s.newer, s.before, s.behind, s.chain = h.newest, 0, 0, 0, 0
	s.state, s.moving, s.moves = waiting, false, 0
	if h.newest != 0 {
		h.slots[h.newest].newer = i
	} else {
		h.oldest = i
	}
	h.newest = i
	h.follow(s, i)
	h.packets++
	h.bytes += int(s.size)
	return s
}

// follow makes the packet the newest of its flow.
func (h *held) follow(s *slot, i uint16) {
	at := h.bucket(s.order)
	for *at != 0 && h.slots[*at].order != s.order {
		at = &h.slots[*at].chain
	}
	if last := *at; last != 0 {
		s.before, s.chain = last, h.slots[last].chain
		h.slots[last].behind = i
	}
	*at = i
}

// find returns the packet that waits under an id, or nil.
func (h *held) find(id uint64) *slot {
	i := int(id & 0xffff)
	if i == 0 || i >= len(h.slots) {
		return nil
	}
	if s := &h.slots[i]; s.id == id && s.state == waiting {
		return s
	}
	return nil
}

// decide marks a packet that waits, and lets it go if it is its turn, with those behind
// it that only waited for it. One that ends here passes nobody, and goes at once.
func (h *held) decide(s *slot) {
	s.state = decided
	if s.before != 0 && (s.Decision != packet.QueueDrop && s.Decision != packet.QueueTake) {
		return
	}
	for {
		next := h.leave(s)
		if next == 0 {
			return
		}
		if s = &h.slots[next]; s.before != 0 || s.state != decided {
			return
		}
	}
}

// leave moves a packet to the ready ones and returns the one behind it in its flow.
func (h *held) leave(s *slot) uint16 {
	i := uint16(s.id)
	if s.older != 0 {
		h.slots[s.older].newer = s.newer
	} else {
		h.oldest = s.newer
	}
	if s.newer != 0 {
		h.slots[s.newer].older = s.older
	} else {
		h.newest = s.older
	}
	if s.before != 0 {
		h.slots[s.before].behind = s.behind
	}
	if s.behind != 0 {
		h.slots[s.behind].before = s.before
	} else { // it was the newest, which the bucket leads to
		at := h.bucket(s.order)
		for *at != i {
			at = &h.slots[*at].chain
		}
		if *at = s.chain; s.before != 0 {
			h.slots[s.before].chain, *at = s.chain, s.before
		}
	}
	s.state, s.newer = ready, 0
	if h.last != 0 {
		h.slots[h.last].newer = i
	} else {
		h.first = i
	}
	h.last = i
	return s.behind
}

// take removes the first packet that is ready, or returns nil. It is valid until the
// next add.
func (h *held) take() *slot {
	i := h.first
	if i == 0 {
		return nil
	}
	s := &h.slots[i]
	if h.first = s.newer; h.first == 0 {
		h.last = 0
	}
	h.packets--
	h.bytes -= int(s.size)
	s.state, s.newer, h.free = free, h.free, i
	return s
}

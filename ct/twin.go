package ct

import (
	"math/bits"
	"unsafe"

	"ffwd/mem"
	"ffwd/packet"
)

// twin is what a flow with translated addresses has in the index beside itself: the tuple
// of its reply direction. It lies behind the flows and is read like one by the passes of
// the lookup, to which it is a flow that is neither settled nor in any state of TCP. 64 bytes.
//
// Until its flow is confirmed it is a packet's, not in the index yet, and says where that
// packet goes. Design: docs/decisions/0016-address-translation.md.
type twin struct {
	key             // of the reply direction
	ends  addresses // IPv6: of the reply direction, in key order. A packet's: where that was going (low), and goes (high)
	flow  uint32    // 0: it is a packet's, or nobody's
	next  uint32    // of the same list, or among the free ones
	rule  uint32    // a packet's: what SetSource noted
	port  uint16    // a packet's: the destination port that it goes to, as on the wire. Else 0: a flow has its policy there
	_     State     // none
	flags uint8     // origSwapped: packets of the reply direction have KeySwapped set
}

// Their fields lie where the loops of the lookup look for those of a flow.
const (
	_ = -(unsafe.Sizeof(twin{}) ^ unsafe.Sizeof(Flow{}))
	_ = -(unsafe.Offsetof(twin{}.port) ^ unsafe.Offsetof(Flow{}.policy))
	_ = -(unsafe.Offsetof(twin{}.flags) ^ unsafe.Offsetof(Flow{}.flags))
)

// twins are the twins of a table that are free, and how to find those in use by their flows.
type twins struct {
	released, fresh, end uint32 // as freeList
	cursor               uint32 // where the search for one that may yield goes on
	heads                []uint32
	shift                int
}

// twinHeads is how many lists the twins are in: a power of two, no less than there are twins.
func twinHeads(n int) int { return 1 << bits.Len(uint(max(1, n)-1)) }

func (w *twins) init(heads unsafe.Pointer, first uint32, n int) {
	w.fresh, w.end, w.cursor = first, first+uint32(n), first
	w.heads = unsafe.Slice((*uint32)(heads), twinHeads(n))
	w.shift = 64 - bits.Len(uint(len(w.heads)-1))
}

// head returns the list of the twin of a flow.
func (w *twins) head(flow uint32) *uint32 { return &w.heads[w.slot(flow)] }

// slot is the number of that list.
func (w *twins) slot(flow uint32) uint32 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 / phi
	return uint32(uint64(flow) * odd >> w.shift)
}

func (t *Table) twin(i uint32) *twin { return (*twin)(unsafe.Pointer(t.flow(i))) }

// translation returns the twin of a flow, or 0.
func (t *Table) translation(flow uint32) uint32 {
	if t.flow(flow).flags&translated == 0 {
		return 0
	}
	i := *t.twins.head(flow)
	for t.twin(i).flow != flow {
		i = t.twin(i).next
	}
	return i
}

// prefetchTranslated asks the cache for the flows of the twins among candidates, and for the
// twins of the flows that have one, which are found by way of a list. Each pass is over the
// burst, so that its misses overlap.
func (t *Table) prefetchTranslated(candidates []uint32) {
	const last = packet.MaxBurst - 1
	flows, lists := 0, 0
	var slots [packet.MaxBurst]uint32
	for _, c := range candidates {
		if c >= t.firstTwin {
			t.lines[flows&last] = t.twin(c).flow
			flows++
		} else if t.flow(c).flags&translated != 0 {
			slots[lists&last] = t.twins.slot(c)
			lists++
		}
	}
	mem.Prefetch(t.flowBase, unsafe.Sizeof(Flow{}), &t.lines[0], flows)
	heads := t.twins.heads
	mem.Prefetch(unsafe.Pointer(&heads[0]), unsafe.Sizeof(heads[0]), &slots[0], lists)
	for i, slot := range slots[:lists] {
		t.lines[i] = heads[slot]
	}
	mem.Prefetch(t.flowBase, unsafe.Sizeof(twin{}), &t.lines[0], lists)
}

// owner returns the flow that an entry of the index leads to, and the direction of a
// packet with the entry's key. ok is false if the packet is of neither: of a translated
// flow's two tuples each is only one direction's.
func (t *Table) owner(entry uint32, keySwapped bool) (flow uint32, dir int, ok bool) {
	if entry < t.firstTwin {
		f := t.flow(entry)
		dir = f.direction(keySwapped)
		return entry, dir, f.flags&translated == 0 || dir == Original
	}
	w := t.twin(entry)
	return w.flow, Reply, keySwapped == (w.flags&origSwapped != 0)
}

// same compares the addresses of a packet, which has the key of an entry that is no IPv4
// flow, with those of the entry.
func (t *Table) same(p *packet.Packet, entry uint32) bool {
	if entry < t.firstTwin {
		return t.sameEnds(&p.Head, entry)
	}
	if !p.Is(packet.IsIPv6) {
		return true // the key has them
	}
	low, high := ends(p)
	return t.twin(entry).ends == addresses{*low, *high}
}

// takeTwin returns a free twin for a packet, or 0.
func (t *Table) takeTwin() uint32 {
	w := &t.twins
	i := w.released
	switch {
	case i != 0:
		w.released = t.twin(i).next
	case w.fresh < w.end:
		i = w.fresh
		w.fresh++
	case t.yieldTwin():
		return t.takeTwin()
	default:
		return 0
	}
	*t.twin(i) = twin{}
	t.Translations++
	return i
}

// yieldProbes is how many twins are looked at for one that may yield.
const yieldProbes = 64

// yieldTwin deletes a flow that was never answered, or whose connection has ended, so that
// its twin is free: a flood of new connections does not keep all others out. Source: CT-7.
func (t *Table) yieldTwin() bool {
	w := &t.twins
	first := t.firstTwin
	if first == w.end {
		return false
	}
	for range yieldProbes {
		i := w.cursor
		if w.cursor++; w.cursor == w.end {
			w.cursor = first
		}
		if flow := t.twin(i).flow; flow != 0 && t.flow(flow).mayYield() {
			t.EarlyDropped++
			t.Delete(flow)
			return true
		}
	}
	return false
}

// freeTwin gives a twin back that is no flow's any more, or was none's.
func (t *Table) freeTwin(i uint32) {
	*t.twin(i) = twin{next: t.twins.released}
	t.twins.released = i
	t.Translations--
}

// pair makes a packet's twin, whose reply tuple has been chosen, that of a flow.
func (t *Table) pair(flow, i uint32) {
	w, head := t.twin(i), t.twins.head(flow)
	w.flow, w.next, w.rule, w.port = flow, *head, 0, 0
	*head = i
	t.enter(t.secret.hash(w.k0, w.k1), i)
}

// part ends what pair began.
func (t *Table) part(flow uint32) {
	at := t.twins.head(flow)
	for t.twin(*at).flow != flow {
		at = &t.twin(*at).next
	}
	i := *at
	w := t.twin(i)
	*at = w.next
	t.remove(t.secret.hash(w.k0, w.k1), i)
	t.freeTwin(i)
}

package ct

// Expiry is a hierarchical timing wheel of three levels with 256 slots each;
// every flow is in the list of one slot. A packet only writes its flow's
// deadline. When a slot's time has passed, each of its flows is looked at once:
// expired, or moved to the slot of its deadline as it is now. So a busy flow is
// looked at once per timeout, not once per packet.
//
//	level 0: slots of 2^7 ticks (0.13 s), 34 s in all
//	level 1: slots of 2^15 ticks (34 s), 2.4 hours
//	level 2: slots of 2^23 ticks (2.4 hours), 26 days
//
// A flow expires at most one slot of level 0 after its deadline.
const (
	levels      = 3
	levelBits   = 8
	levelSlots  = 1 << levelBits
	slotTicks   = 7 // log2 of the ticks in a slot of level 0
	cursorWidth = 32 - slotTicks
)

type wheel struct {
	cursor  uint32 // slot of level 0, counted from tick 0, that is drained next
	cascade int    // levels above 0 still to drain at this cursor
	heads   [levels * levelSlots]uint32
}

// slotsAhead returns how many slots lie between two slot numbers of a counter
// that wraps after width bits.
func slotsAhead(from, to uint32, width int) uint32 {
	return (to - from) & (1<<width - 1)
}

// slotOf returns the list for a deadline, seen from the cursor.
func (w *wheel) slotOf(deadline uint32) uint16 {
	at, now := deadline>>slotTicks, w.cursor
	for level := range levels - 1 {
		width := cursorWidth - level*levelBits
		if slotsAhead(now, at, width) < levelSlots {
			return uint16(level*levelSlots) + uint16(at%levelSlots)
		}
		at, now = at>>levelBits, now>>levelBits
	}
	return (levels-1)*levelSlots + uint16(at%levelSlots)
}

// schedule puts a flow into the list of a deadline's slot, its own or an earlier one.
func (t *Table) schedule(flow, deadline uint32) {
	if int32(deadline-t.wheel.cursor<<slotTicks) < 0 { // already past: next slot to be drained
		deadline = t.wheel.cursor << slotTicks
	}
	slot := t.wheel.slotOf(deadline)
	head := &t.wheel.heads[slot]
	c := &t.cold[flow]
	c.prev, c.next, c.slot = 0, *head, c.slot&^slotMask|slot
	if *head != 0 {
		t.cold[*head].prev = flow
	}
	*head = flow
}

// unschedule takes a flow out of its slot's list.
func (t *Table) unschedule(flow uint32) {
	c := &t.cold[flow]
	if c.prev != 0 {
		t.cold[c.prev].next = c.next
	} else {
		t.wheel.heads[c.slot&slotMask] = c.next
	}
	if c.next != 0 {
		t.cold[c.next].prev = c.prev
	}
}

// Expire removes flows whose deadline has passed and returns how many.
//
// It takes at most budget steps, a step being one flow looked at or one slot
// passed, and goes on where it stopped at the next call. Owner worker only, once
// per poll. Source: CT-9.
func (t *Table) Expire(nowNs int64, budget int) int {
	w := &t.wheel
	now := Tick(nowNs)
	t.latestNs = nowNs
	expired := 0
	for budget > 0 && int32(now>>slotTicks<<slotTicks-w.cursor<<slotTicks) > 0 {
		list := &w.heads[w.draining()]
		for ; *list != 0 && budget > 0; budget-- {
			flow := *list
			if f := t.flow(flow); int32(f.deadline-now) <= 0 {
				t.Delete(flow)
				expired++
			} else {
				f.flags &^= early
				t.unschedule(flow)
				t.schedule(flow, f.deadline)
			}
		}
		if *list != 0 {
			break
		}
		w.advance()
		budget--
	}
	t.Expired += uint64(expired)
	return expired
}

// draining returns the list to drain at the cursor: the higher levels' first,
// where the cursor enters a new slot of theirs.
func (w *wheel) draining() uint32 {
	level := uint32(w.cascade)
	return level*levelSlots + w.cursor>>(level*levelBits)%levelSlots
}

// advance goes to the next list: a lower level at this cursor, or the next cursor.
func (w *wheel) advance() {
	if w.cascade > 0 {
		w.cascade--
		return
	}
	w.cursor = (w.cursor + 1) & (1<<cursorWidth - 1)
	for at := w.cursor; w.cascade < levels-1 && at%levelSlots == 0; at >>= levelBits {
		w.cascade++
	}
}

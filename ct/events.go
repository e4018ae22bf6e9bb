package ct

import "sync/atomic"

// EventKind is what happened to a flow.
type EventKind uint8

// The kinds, as conntrack prints them.
const (
	EventNew     EventKind = iota // confirmed
	EventUpdate                   // its state, its mark, or whether it was answered or is assured, changed
	EventDestroy                  // expired, deleted, or replaced by a new connection
)

// String returns the kind's one word.
func (k EventKind) String() string { return [...]string{"NEW", "UPDATE", "DESTROY"}[k] }

// Event is one change of one flow, and what the flow was right after it.
type Event struct {
	Kind EventKind
	Flow Info
}

// Events is a bounded ring that carries a table's events to one reader: one
// producer, the table's worker, and one consumer. What finds no room is lost and
// counted; no worker waits. Source: CT-10.
type Events struct {
	slots []Event
	mask  uint32
	lost  atomic.Uint64

	_    [64]byte
	tail atomic.Uint32 // next slot to fill
	_    [60]byte
	head atomic.Uint32 // next slot to empty
}

// NewEvents makes a ring; slots must be a power of two.
func NewEvents(slots int) *Events {
	return &Events{slots: make([]Event, slots), mask: uint32(slots - 1)}
}

// Lost returns how many events found no room since the ring was made.
func (e *Events) Lost() uint64 { return e.lost.Load() }

// Take calls visit with each event that waits, oldest first, until it returns
// false. Consumer only.
func (e *Events) Take(visit func(*Event) bool) {
	head, tail := e.head.Load(), e.tail.Load()
	for more := true; more && head != tail; head++ {
		more = visit(&e.slots[head&e.mask])
		e.head.Store(head + 1)
	}
}

// MaxReaders bounds the rings of one table: a worker fills all of them.
const MaxReaders = 8

// Report makes the table put its events into e too from now on. It returns false if
// MaxReaders have theirs already. Owner worker only.
func (t *Table) Report(e *Events) bool {
	if t.numReaders == MaxReaders {
		return false
	}
	t.readers[t.numReaders] = e
	t.numReaders++
	return true
}

// Silence ends what Report began, if it did. Owner worker only.
func (t *Table) Silence(e *Events) {
	for i, r := range t.readers[:t.numReaders] {
		if r == e {
			t.numReaders--
			t.readers[i], t.readers[t.numReaders] = t.readers[t.numReaders], nil
			return
		}
	}
}

// tell puts an event into every ring. Each loses and counts for itself.
func (t *Table) tell(kind EventKind, flow uint32) {
	if t.numReaders == 0 {
		return
	}
	event := Event{kind, t.Info(flow, t.latestNs)}
	for _, e := range t.readers[:t.numReaders] {
		e.put(&event)
	}
}

// put is the producer's.
func (e *Events) put(event *Event) {
	tail := e.tail.Load()
	if tail-e.head.Load() > e.mask {
		e.lost.Add(1)
		return
	}
	e.slots[tail&e.mask] = *event
	e.tail.Store(tail + 1)
}

// SetMark changes the mark of a connection, unless it has ended: a packet of it may be in the
// same burst as what ended it. Owner worker only. Source: CT-10.
func (t *Table) SetMark(flow uint32, mark uint32) {
	if f := t.flow(flow); mark != f.mark && f.k1 != 0 {
		f.SetMark(mark)
		t.tell(EventUpdate, flow)
	}
}

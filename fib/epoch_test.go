package fib

import (
	"sync"
	"sync/atomic"
	"testing"

	"ffwd/epoch"
)

// poison is what freed memory is filled with: a group index, next hop and bucket
// beyond every table, and an adjacency of no kind.
const poison = 0xffffffff

// lateRetirer is a Retirer with real quiescent states that frees as late as the
// readers allow and then poisons: all that is free and was used before.
type lateRetirer struct {
	mu      sync.Mutex
	table   *Table
	readers []*reader
	global  atomic.Uint64
	queue   []retired
	freed   int
}

// newLateTable makes a small table whose memory is freed late, and poisoned then.
func newLateTable(t testing.TB) (*Table, *lateRetirer) {
	t.Helper()
	late := &lateRetirer{}
	o := small()
	o.Retirer = late
	late.table = newTable(t, o)
	return late.table, late
}

type retired struct {
	epoch uint64
	free  func()
}

// reader is one worker's place: it is quiescent at the moments it says so.
type reader struct {
	seen atomic.Uint64
	of   *lateRetirer
}

func (l *lateRetirer) join() *reader {
	r := &reader{of: l}
	r.quiescent()
	l.mu.Lock()
	l.readers = append(l.readers, r)
	l.mu.Unlock()
	return r
}

func (r *reader) quiescent() { r.seen.Store(r.of.global.Load()) }

func (l *lateRetirer) Retire(free func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, retired{l.global.Add(1), free})
}

// reclaim frees and poisons what all readers have passed.
func (l *lateRetirer) reclaim() {
	l.mu.Lock()
	passed := l.global.Load()
	for _, r := range l.readers {
		passed = min(passed, r.seen.Load())
	}
	var ready []retired
	for len(l.queue) > 0 && l.queue[0].epoch <= passed {
		ready, l.queue = append(ready, l.queue[0]), l.queue[1:]
	}
	l.mu.Unlock()
	if l.table == nil {
		l.table = new(Table) // nothing to poison
	}
	mark := l.table.marks()
	for _, r := range ready {
		r.free()
	}
	l.freed += len(ready)
	l.table.poisonSince(mark)
}

// domain is the production epoch, with memory poisoned as it is freed. Retire and
// reclaim are called by one goroutine, the control side's.
type domain struct {
	epoch.Domain
	table *Table
	freed int
}

// reclaim frees and poisons what all members have passed.
func (d *domain) reclaim() {
	mark := d.table.marks()
	n, _ := d.Reclaim()
	d.freed += n
	d.table.poisonSince(mark)
}

// freeMarks are the lengths of a table's free lists.
type freeMarks [5]int

func (t *Table) pools() [5]*pool {
	return [5]*pool{&t.v4.pool, &t.v6.pool, &t.lines, &t.ids, &t.ecmp}
}

func (t *Table) marks() (m freeMarks) {
	for i, p := range t.pools() {
		m[i] = len(p.free)
	}
	return m
}

// poisonSince overwrites what was freed since the marks were taken, with plain
// stores, so that the race detector sees a reader that is still there. Nothing
// may have been taken from the pools since.
func (t *Table) poisonSince(m freeMarks) {
	fill := func(words []uint32) {
		for i := range words {
			words[i] = poison
		}
	}
	for _, g := range t.v4.pool.free[m[0]:] {
		fill(t.v4.group(g))
	}
	for _, g := range t.v6.pool.free[m[1]:] {
		fill(t.v6.group(g))
	}
	for _, i := range t.lines.free[m[2]:] {
		t.adjacencies[i] = Adjacency{Kind: 0xee, ID: poison}
	}
	for _, i := range t.ids.free[m[3]:] {
		t.slots[i] = poison
	}
	for _, i := range t.ecmp.free[m[4]:] {
		fill(t.buckets[i*groupBuckets:][:groupBuckets])
	}
}

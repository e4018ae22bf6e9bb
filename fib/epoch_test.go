package fib

import (
	"sync"
	"sync/atomic"
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
	for _, r := range ready {
		r.free()
	}
	l.freed += len(ready)
	if len(ready) > 0 && l.table != nil {
		l.table.poisonFree()
	}
}

// poisonFree overwrites everything that is on a free list, with plain stores, so
// that the race detector sees a reader that is still there.
func (t *Table) poisonFree() {
	for _, tr := range []*trie{&t.v4, &t.v6} {
		for _, g := range tr.pool.free {
			slots := tr.group(g)
			for i := range slots {
				slots[i] = poison
			}
		}
	}
	for _, i := range t.lines.free {
		a := &t.adjacencies[i]
		*a = Adjacency{Kind: 0xee, ID: poison}
	}
	for _, i := range t.ids.free {
		t.slots[i] = poison
	}
	for _, i := range t.ecmp.free {
		run := t.buckets[i*groupBuckets:][:groupBuckets]
		for b := range run {
			run[b] = poison
		}
	}
}

package fib

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"ffwd/mem"
)

// chunk is how many packets a batch lookup has in flight: the largest burst the
// caches are asked for at once. Larger batches are cut.
const chunk = 64

// ResolveBatch4 looks up a burst of IPv4 addresses in host order: out[i] is where
// the adjacency for dst[i] is, and its cache line is on its way. out is at least as
// long as dst. Workers.
func (t *Table) ResolveBatch4(dst []uint32, out []AdjacencyIndex) {
	for len(dst) > 0 {
		n := min(len(dst), chunk)
		t.resolve4(dst[:n], out[:n])
		dst, out = dst[n:], out[n:]
	}
}

// resolve4Plain looks up at most chunk addresses.
//
// It works in passes over them, so that their cache misses overlap: the root's entries are
// prefetched, then read, and those that are final are turned into places of adjacencies at
// once; the others go level by level.

func (t *Table) resolve4Plain(dst []uint32, out []AdjacencyIndex) {
	out = out[:len(dst)]
	var w walk
	root, slots, dflt := (*[1 << rootBits]uint32)(t.v4.root), t.slots, t.v4.dflt.Load()
	mem.PrefetchUpper24(unsafe.Pointer(root), &dst[0], len(dst))
	n := 0
	for i, a := range dst { // branch-free: which packets go deeper is not predictable
		e := atomic.LoadUint32(&root[a>>groupBits])
		out[i] = place(slots, dflt, e)
		w.at[n&(chunk-1)], w.slot[n&(chunk-1)] = uint8(i), e<<groupBits|a&(groupSize-1)
		n += int(e >> 31)
	}
	groups := t.v4.prefetch(&w, n)
	for j, i := range w.at[:n] { // nothing is longer than /32: these are final
		out[i] = place(slots, dflt, atomic.LoadUint32(&groups[w.slot[j]]))
	}
	t.prefetch(out)
}

// ResolveBatch6 is ResolveBatch4 for IPv6 addresses in wire order, given by their
// places in the packets' headers.
func (t *Table) ResolveBatch6(dst []*[16]byte, out []AdjacencyIndex) {
	for len(dst) > 0 {
		n := min(len(dst), chunk)
		t.resolve6(dst[:n], out[:n])
		dst, out = dst[n:], out[n:]
	}
}

func (t *Table) resolve6Plain(dst []*[16]byte, out []AdjacencyIndex) {
	out = out[:len(dst)]
	var w walk
	root := (*[1 << rootBits]uint32)(t.v6.root)
	for i, a := range dst {
		w.slot[i&(chunk-1)] = binary.BigEndian.Uint32(a[:])
	}
	mem.PrefetchUpper24(unsafe.Pointer(root), &w.slot[0], len(dst))
	all := uint32(0)
	for i := range out {
		e := atomic.LoadUint32(&root[w.slot[i&(chunk-1)]>>groupBits])
		w.entry[i&(chunk-1)] = e
		all |= e
	}
	if all&isGroup != 0 {
		n := 0
		for i, a := range dst { // branch-free: which packets go deeper is not predictable
			e := w.entry[i&(chunk-1)]
			w.at[n&(chunk-1)], w.slot[n&(chunk-1)] = uint8(i), e<<groupBits|uint32(a[rootBits/8])
			n += int(e >> 31)
		}
		for level := rootBits/8 + 1; n > 0; level++ {
			n = t.v6.step(&w, n, dst, level)
		}
	}
	slots, dflt := t.slots, t.v6.dflt.Load()
	for i := range out { // once, behind all levels: most packets pass several
		out[i] = place(slots, dflt, w.entry[i&(chunk-1)])
	}
	t.prefetch(out)
}

// walk is the part of a burst that has not reached its final entry: packet at[j] reads
// slot[j] of the groups next. entry is the latest one of every packet, for IPv6.
type walk struct {
	slot  [chunk]uint32
	entry [chunk]uint32
	at    [chunk]uint8
}

// place is where the adjacency of a final entry is. For an entry that leads to a group it
// is that of the default route, until the walk has come to its end. All arithmetic:
// which entries are final is not predictable.
func place(slots []uint32, dflt, e uint32) AdjacencyIndex {
	id := e & idMask &^ uint32(int32(e)>>31)
	id |= dflt & uint32(int32(id-1)>>31) // if it is 0
	return AdjacencyIndex(atomic.LoadUint32(&slots[id]))
}

// prefetch asks the cache for the slots of the first n packets of a walk.
func (t *trie) prefetch(w *walk, n int) (groups []uint32) {
	mem.Prefetch(unsafe.Pointer(unsafe.SliceData(t.groups)), 4, &w.slot[0], n)
	return t.groups
}

// step reads one level of groups for the first n packets of the walk, and
// keeps in the walk the ones that lead on, by byte level of their address. It
// returns how many those are. One pass does both: the byte is loaded for a packet
// that has arrived too, which costs less than to ask.
func (t *trie) step(w *walk, n int, dst []*[16]byte, level int) int {
	groups, left := t.prefetch(w, n), 0
	for j, i := range w.at[:n] {
		e := atomic.LoadUint32(&groups[w.slot[j]])
		w.entry[i&(chunk-1)] = e
		w.at[left&(chunk-1)], w.slot[left&(chunk-1)] = i, e<<groupBits|uint32(dst[i][level&15]) // the shift drops isGroup
		left += int(e >> 31)
	}
	return left
}

// nearLines is how many adjacencies stay in the near caches by themselves: 64 KiB.
const nearLines = 1 << 10

// prefetch asks the cache for adjacencies, where there are many.
func (t *Table) prefetch(at []AdjacencyIndex) {
	if t.reach.Load() <= nearLines {
		return
	}
	mem.Prefetch(unsafe.Pointer(unsafe.SliceData(t.adjacencies)), uintptr(adjacencyBytes), (*uint32)(&at[0]), len(at))
}

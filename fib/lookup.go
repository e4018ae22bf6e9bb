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

// Lookup4 returns the next hop of an IPv4 address in host order, NoRoute if no
// prefix covers it. Workers and control side.
func (t *Table) Lookup4(dst uint32) NextHopID {
	e := atomic.LoadUint32(&t.v4.root[dst>>groupBits])
	if e&isGroup != 0 {
		e = atomic.LoadUint32(&t.v4.groups[e<<groupBits|dst&(groupSize-1)]) // the shift drops isGroup
	}
	return t.v4.answer(e)
}

// Lookup6 is Lookup4 for an IPv6 address in wire order.
func (t *Table) Lookup6(dst *[16]byte) NextHopID {
	e := atomic.LoadUint32(&t.v6.root[binary.BigEndian.Uint32(dst[:])>>(32-rootBits)])
	for level := rootBits / 8; e&isGroup != 0; level++ {
		e = atomic.LoadUint32(&t.v6.groups[e<<groupBits|uint32(dst[level&15])])
	}
	return t.v6.answer(e)
}

// answer turns a final entry into what a lookup returns.
func (t *trie) answer(e uint32) NextHopID {
	id := e & idMask
	if id == 0 {
		id = t.dflt.Load()
	}
	return NextHopID(id)
}

// LookupBatch4 looks up a burst of IPv4 addresses in host order: out[i] is the
// next hop of dst[i]. out is at least as long as dst. Workers and control side.
func (t *Table) LookupBatch4(dst []uint32, out []NextHopID) {
	out = out[:len(dst)]
	for len(dst) > chunk {
		t.batch4(dst[:chunk], out[:chunk])
		dst, out = dst[chunk:], out[chunk:]
	}
	t.batch4(dst, out)
}

func (t *Table) batch4(dst []uint32, out []NextHopID) {
	if len(dst) > 0 {
		t.walk4(dst, out)
		t.v4.finish(out)
	}
}

// walk4 finds the final entries of at most chunk addresses.
func (t *Table) walk4(dst []uint32, out []NextHopID) {
	out = out[:len(dst)]
	for i, a := range dst {
		out[i] = NextHopID(a >> groupBits)
	}
	t.v4.prefetchRoot(out)
	deeper := t.v4.loadRoot(out)
	if deeper {
		var walk walk
		n := 0
		for i, e := range out { // branch-free: which packets go deeper is not predictable
			walk.at[n&(chunk-1)] = uint32(i)
			walk.slot[n&(chunk-1)] = uint32(e)<<groupBits | dst[i]&(groupSize-1)
			n += int(e >> 31)
		}
		t.v4.prefetchGroups(&walk, n)
		for j, i := range walk.at[:n] { // nothing is longer than /32: these are final
			out[i] = NextHopID(atomic.LoadUint32(&t.v4.groups[walk.slot[j]]))
		}
	}
}

// LookupBatch6 is LookupBatch4 for IPv6 addresses in wire order, given by their
// places in the packets' headers.
func (t *Table) LookupBatch6(dst []*[16]byte, out []NextHopID) {
	out = out[:len(dst)]
	for len(dst) > chunk {
		t.batch6(dst[:chunk], out[:chunk])
		dst, out = dst[chunk:], out[chunk:]
	}
	t.batch6(dst, out)
}

func (t *Table) batch6(dst []*[16]byte, out []NextHopID) {
	if len(dst) > 0 {
		t.walk6(dst, out)
		t.v6.finish(out)
	}
}

// walk6 is walk4 for IPv6 addresses.
func (t *Table) walk6(dst []*[16]byte, out []NextHopID) {
	out = out[:len(dst)]
	for i, a := range dst {
		out[i] = NextHopID(binary.BigEndian.Uint32(a[:]) >> (32 - rootBits))
	}
	t.v6.prefetchRoot(out)
	if t.v6.loadRoot(out) {
		var walk walk
		n := 0
		for i, e := range out {
			walk.at[n&(chunk-1)] = uint32(i)
			walk.slot[n&(chunk-1)] = uint32(e)<<groupBits | uint32(dst[i][rootBits/8])
			n += int(e >> 31)
		}
		for level := rootBits/8 + 1; n > 0; level++ {
			n = t.v6.step(&walk, n, dst, level, out)
		}
	}
}

// walk is the part of a burst that has not reached its final entry: packet at[j]
// reads slot[j] of the groups next.
type walk struct {
	at   [chunk]uint32
	slot [chunk]uint32
}

// prefetchRoot takes root indices in out.
func (t *trie) prefetchRoot(out []NextHopID) {
	mem.Prefetch(unsafe.Pointer(unsafe.SliceData(t.root)), 4, (*uint32)(&out[0]), len(out))
}

// loadRoot replaces the root indices in out by their entries and tells whether
// any of them leads to a group.
func (t *trie) loadRoot(out []NextHopID) bool {
	root := (*[1 << rootBits]uint32)(t.root)
	var all uint32
	for i, r := range out {
		e := atomic.LoadUint32(&root[r&(1<<rootBits-1)])
		out[i] = NextHopID(e)
		all |= e
	}
	return all&isGroup != 0
}

func (t *trie) prefetchGroups(w *walk, n int) {
	mem.Prefetch(unsafe.Pointer(unsafe.SliceData(t.groups)), 4, &w.slot[0], n)
}

// step reads one level of groups for the first n packets of the walk into out, and
// keeps in the walk the ones that lead on, by byte level of their address. It
// returns how many those are. One pass does both: the byte is loaded for a packet
// that has arrived too, which costs less than to ask.
func (t *trie) step(w *walk, n int, dst []*[16]byte, level int, out []NextHopID) int {
	t.prefetchGroups(w, n)
	left := 0
	for j, i := range w.at[:n] {
		e := atomic.LoadUint32(&t.groups[w.slot[j]])
		out[i] = NextHopID(e)
		w.at[left&(chunk-1)] = i
		w.slot[left&(chunk-1)] = e<<groupBits | uint32(dst[i][level&15])
		left += int(e >> 31)
	}
	return left
}

// finish turns the final entries in out into next hops.
func (t *trie) finish(out []NextHopID) {
	dflt := NextHopID(t.dflt.Load())
	for i, e := range out {
		id := e & idMask
		if id == 0 {
			id = dflt
		}
		out[i] = id
	}
}

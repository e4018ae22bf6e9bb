package fib

import (
	"unsafe"

	"ffwd/mem"
)

// Straight tells how many packets of a burst, the first ones, are just forwarded: packet i is of
// sizes[i] bytes without link header, goes by at[i], fits its MTU and leaves untagged. It also
// tells whether they all have one next hop, and whether they leave by one interface. at is as
// long as sizes, and not empty. Workers. Source: FF-1, FF-9.
func (t *Table) Straight(at []AdjacencyIndex, sizes []uint16) (n int, oneHop, oneWay bool) {
	return straight(t.adjacencies, at[:len(sizes)], sizes)
}

// straightPlain is straight in Go.
func straightPlain(lines []Adjacency, at []AdjacencyIndex, sizes []uint16) (n int, oneHop, oneWay bool) {
	latest, most := ^at[0], uint16(0) // of the next hop before: most that go one way come together
	hops, differ := AdjacencyIndex(0), uint16(0)
	for i, size := range sizes {
		if at[i] != latest {
			if a := &lines[at[i]]; a.Kind != Forward || a.L2Len != l2Untagged {
				break
			}
			latest, most = at[i], lines[at[i]].MTUBytes
		}
		if size > most {
			break
		}
		n++
		hops |= latest ^ at[0]
		differ |= lines[latest].Iface ^ lines[at[0]].Iface
	}
	return n, hops == 0, differ == 0
}

// Expect4 asks the cache for what a lookup of the addresses reads first, where there are more
// routes than the near caches hold by themselves. Workers.
func (t *Table) Expect4(dst []uint32) {
	if len(dst) > 0 && t.prefixes[0].Load() > nearLines {
		mem.PrefetchUpper24(unsafe.Pointer(unsafe.SliceData(t.v4.root)), &dst[0], len(dst))
	}
}

//go:build !race

package fib

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// vector tells whether the processor has what the loops in vector_amd64.s are made of. Tests
// turn it off.
var vector = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasBMI1 && cpu.X86.HasBMI2

// vectorLeast is how many packets pay for lanes that stay empty.
const vectorLeast = 6

// resolve4 looks up at most chunk addresses: sixteen at a time where the processor can,
// a gather for each level. The misses of several gathers overlap without a pass that
// prefetches, and what a level costs is a third (docs/decisions/0003-fib.md).
func (t *Table) resolve4(dst []uint32, out []AdjacencyIndex) {
	if !vector || len(dst) < vectorLeast {
		t.resolve4Plain(dst, out)
		return
	}
	resolve4x16(unsafe.SliceData(t.v4.root), unsafe.SliceData(t.v4.groups), unsafe.SliceData(t.slots), t.v4.dflt.Load(),
		&dst[0], &out[0], len(dst))
	t.prefetch(out)
}

// resolve6 is resolve4 for IPv6.
func (t *Table) resolve6(dst []*[16]byte, out []AdjacencyIndex) {
	if !vector || len(dst) < vectorLeast {
		t.resolve6Plain(dst, out)
		return
	}
	resolve6x16(unsafe.SliceData(t.v6.root), unsafe.SliceData(t.v6.groups), unsafe.SliceData(t.slots), t.v6.dflt.Load(),
		&dst[0], &out[0], len(dst))
	t.prefetch(out)
}

// resolve4x16 stores the places of the adjacencies of n addresses, n being at least 1.
//
//go:noescape
func resolve4x16(root, groups, slots *uint32, dflt uint32, dst *uint32, out *AdjacencyIndex, n int)

// resolve6x16 is resolve4x16 for addresses in wire order.
//
//go:noescape
func resolve6x16(root, groups, slots *uint32, dflt uint32, dst **[16]byte, out *AdjacencyIndex, n int)

// straight is Straight for the lines of a table.
func straight(lines []Adjacency, at []AdjacencyIndex, sizes []uint16) (n int, oneHop, oneWay bool) {
	if !vector {
		return straightPlain(lines, at, sizes)
	}
	n, hops, ways := straight16(&lines[0], &at[0], &sizes[0], len(sizes))
	return n, hops == 0, ways == 0
}

// straight16 takes n packets, n being at least 1. In hops and ways a bit is set for each place
// in sixteen where some packet taken has another next hop than the first one, or leaves by
// another interface.
//
//go:noescape
func straight16(lines *Adjacency, at *AdjacencyIndex, sizes *uint16, n int) (taken int, hops, ways uint32)

// What it knows of an Adjacency: what differs does not compile.
var (
	_ [unsafe.Sizeof(Adjacency{})]struct{}            = [64]struct{}{}
	_ [unsafe.Offsetof(Adjacency{}.Kind)]struct{}     = [0]struct{}{}
	_ [unsafe.Offsetof(Adjacency{}.L2Len)]struct{}    = [1]struct{}{}
	_ [unsafe.Offsetof(Adjacency{}.MTUBytes)]struct{} = [2]struct{}{}
	_ [unsafe.Offsetof(Adjacency{}.Iface)]struct{}    = [4]struct{}{}
	_ [int(Forward) | l2Untagged<<8]struct{}          = [0x0e01]struct{}{}
)

//go:build !amd64 || race

package fib

// vector is not for processors without the assembly, nor for the race detector, which
// sees what Go reads.
var vector = false

func (t *Table) resolve4(dst []uint32, out []AdjacencyIndex)    { t.resolve4Plain(dst, out) }
func (t *Table) resolve6(dst []*[16]byte, out []AdjacencyIndex) { t.resolve6Plain(dst, out) }

func straight(lines []Adjacency, at []AdjacencyIndex, sizes []uint16) (n int, oneHop, oneWay bool) {
	return straightPlain(lines, at, sizes)
}

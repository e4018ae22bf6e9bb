package fib

import (
	"math/rand/v2"
	"testing"
)

// Assembly and Go take the same packets and say the same of their next hops; both stop where a
// packet is the first that is tagged, does not fit, or is not forwarded. FF-1, FF-9
func TestStraight(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	lines := make([]Adjacency, 300)
	said := map[[2]bool]int{}
	short := 0
	for round := range 20_000 {
		for i := range lines {
			lines[i] = Adjacency{Kind: Forward, L2Len: l2Untagged, MTUBytes: 1500, Iface: uint16(1 + rng.IntN(2)*rng.IntN(2)), Family: uint8(rng.IntN(7)), ID: NextHopID(rng.Uint32())}
			switch rng.IntN(400) {
			case 0:
				lines[i].Kind = Kind(rng.IntN(int(Punt) + 1))
			case 1:
				lines[i].L2Len = l2Tagged
			case 2:
				lines[i].MTUBytes = uint16(rng.Uint32())
			}
		}
		at, sizes := make([]AdjacencyIndex, 1+rng.IntN(80)), make([]uint16, 80)
		sizes = sizes[:len(at)]
		hops, from := 1+rng.IntN(1+round%4), rng.IntN(len(lines)-4)
		for i := range at {
			at[i], sizes[i] = AdjacencyIndex(from+rng.IntN(hops)), 1500
			switch rng.IntN(300) {
			case 0:
				at[i] = AdjacencyIndex(rng.IntN(len(lines)))
			case 1:
				sizes[i] = 1501
			case 2:
				sizes[i] = uint16(rng.Uint32())
			}
		}
		want := len(at)
		for i := len(at) - 1; i >= 0; i-- {
			if a := lines[at[i]]; a.Kind != Forward || a.L2Len != l2Untagged || sizes[i] > a.MTUBytes {
				want = i
			}
		}
		oneHop, oneWay := true, true
		for _, j := range at[:want] {
			oneHop = oneHop && j == at[0]
			oneWay = oneWay && lines[j].Iface == lines[at[0]].Iface
		}
		for name, straight := range map[string]func([]Adjacency, []AdjacencyIndex, []uint16) (int, bool, bool){"go": straightPlain, "straight": straight} {
			if n, hop, way := straight(lines, at, sizes); n != want || hop != oneHop || way != oneWay {
				t.Fatalf("%s: %d of %d straight, one hop %v, one way %v; want %d, %v, %v", name, n, len(at), hop, way, want, oneHop, oneWay)
			}
		}
		said[[2]bool{oneHop, oneWay}]++
		if want < len(at) {
			short++
		}
	}
	if short < 1000 || said[[2]bool{true, true}] < 1000 || said[[2]bool{false, true}] < 1000 || said[[2]bool{false, false}] < 1000 {
		t.Errorf("%d runs ended early; one hop, one way: %v", short, said)
	}
}

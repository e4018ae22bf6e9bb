package pipeline

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"ffwd/fib"
	"ffwd/packet"
)

// Runs of every length are rewritten as the Go version does it, frame and mbuf, and nothing
// beside them. The checksum's corners are among what is random. FF-7, FF-14
func TestRunsAreRewrittenAlike(t *testing.T) {
	w := newWorld(t)
	l := &lane{Worker: w.worker}
	rng := rand.New(rand.NewPCG(5, 6))
	lines := make([]fib.Adjacency, 9)
	for i := range lines {
		for j := range lines[i].L2 {
			lines[i].L2[j] = byte(rng.Uint32())
		}
	}
	mbufs := w.pool.all[:packet.MaxBurst]
	buffer := func(m *packet.Mbuf) []byte { return unsafe.Slice((*byte)(m.BufAddr), headroom+128) }
	for round := range 3000 {
		n := 1 + rng.IntN(70)
		if round%100 == 0 {
			n = packet.MaxBurst
		}
		l.ipv6 = rng.IntN(2) == 0
		var before [][]byte
		was := make([]packet.Mbuf, n)
		for i, m := range mbufs[:n] {
			b := buffer(m)
			for j := range b {
				b[j] = byte(rng.Uint32())
			}
			f := b[headroom:]
			f[14+7], f[14+8] = 2+byte(rng.IntN(254)), 2+byte(rng.IntN(254))
			if rng.IntN(4) == 0 {
				f[24], f[25] = 0xfd+byte(rng.IntN(3)), 0xfe+byte(rng.IntN(2)) // the checksum, near all ones
			}
			m.DataOff, m.OlFlags, m.PacketType, m.PktLen, m.DataLen = headroom, rng.Uint64(), rng.Uint32(), rng.Uint32(), uint16(rng.Uint32())
			l.run.Heads[i].Data, l.run.Size[i], l.to[i] = m.Data(), uint16(rng.Uint32N(2000)), fib.AdjacencyIndex(rng.IntN(len(lines)))
			before, was[i] = append(before, slices.Clone(b)), *m
		}
		got := l.rewrite(mbufs[:n], lines)
		var after [][]byte
		is := make([]packet.Mbuf, n)
		for i, m := range mbufs[:n] {
			after, is[i] = append(after, slices.Clone(buffer(m))), *m
			copy(buffer(m), before[i])
			*m = was[i]
		}
		if want := l.rewritePlain(mbufs[:n], lines); got != want {
			t.Fatalf("%d bytes, want %d", got, want)
		}
		for i, m := range mbufs[:n] {
			if !bytes.Equal(after[i], buffer(m)) || is[i] != *m {
				t.Fatalf("packet %d of %d, IPv6 %v: %+v\n%x\nwant %+v\n%x", i, n, l.ipv6, is[i], after[i], *m, buffer(m))
			}
		}
	}
}

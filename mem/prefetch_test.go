package mem

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

// Every tail length, and addresses that are not mapped: a prefetch never faults.
func TestPrefetchTakesAnyAddress(t *testing.T) {
	var idx [70]uint32
	for i := range idx {
		idx[i] = rand.Uint32()
	}
	for n := -1; n <= len(idx); n++ {
		Prefetch(unsafe.Pointer(&idx), 1<<20, &idx[0], n)
		PrefetchUpper24(unsafe.Pointer(&idx), &idx[0], n)
	}
	Prefetch(nil, 0, nil, 0)
	PrefetchUpper24(nil, nil, 0)
}

func TestPrefetchDoesNotAllocate(t *testing.T) {
	got := testing.AllocsPerRun(100, func() {
		var idx [64]uint32
		Prefetch(unsafe.Pointer(&idx), 4, &idx[0], len(idx))
		PrefetchUpper24(unsafe.Pointer(&idx), &idx[0], len(idx))
	})
	if got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

// BenchmarkRandomLines reads one line of a 256 MiB table per packet, burst 64,
// the way a flow table is read: the address is known early and the line decides
// a branch. "touch" is a load in place of the prefetch.
func BenchmarkRandomLines(b *testing.B) {
	const lines = 256 << 20 / 64
	r, err := Map(lines*64, Transparent)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	table := Slice[[16]uint32](r, lines)
	for i := range table {
		table[i] = [16]uint32{rand.Uint32(), rand.Uint32()}
	}
	order := make([]uint32, 1<<20)
	for i := range order {
		order[i] = rand.Uint32N(lines)
	}
	passes := map[string]func(idx []uint32) uint32{
		"none":     func([]uint32) uint32 { return 0 },
		"prefetch": func(idx []uint32) uint32 { Prefetch(r.Base(), 64, &idx[0], len(idx)); return 0 },
		"touch": func(idx []uint32) (sum uint32) {
			for _, i := range idx {
				sum += table[i][0]
			}
			return sum
		},
	}
	for _, name := range []string{"none", "touch", "prefetch"} {
		pass := passes[name]
		b.Run(name, func(b *testing.B) {
			const burst = 64
			var sum uint32
			at := 0
			for b.Loop() {
				idx := order[at : at+burst]
				at = (at + burst) & (len(order) - 1)
				sum += pass(idx)
				for _, i := range idx {
					sum += hash(&table[i])
				}
			}
			sink = sum
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/burst, "ns/pkt")
		})
	}
}

var sink uint32

// hash stands for the work of a flow table's hit: a data-dependent branch that
// the predictor cannot know, and some arithmetic.
//
//go:noinline
func hash(line *[16]uint32) uint32 {
	x := line[0]
	if line[1]&1 != 0 {
		x = x*2654435761 ^ x>>15
	}
	return x * (line[2] | 1)
}

package queue

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Every duration is in the one bucket that holds it, and no bucket is wider than an
// eighth of what is in it. Source: VQ-7
func TestBuckets(t *testing.T) {
	for v := range uint64(1 << 16) {
		i := bucketOf(v)
		low := uint64(0)
		if i > 0 {
			low = upper(i - 1)
		}
		if v < low || v >= upper(i) {
			t.Fatalf("%d is in bucket %d, [%d, %d)", v, i, low, upper(i))
		}
		if width := upper(i) - low; width > 1 && width*8 > low {
			t.Fatalf("bucket %d, [%d, %d), is too wide", i, low, upper(i))
		}
	}
	if i := bucketOf(1 << 62); i != histogramBuckets-1 {
		t.Error(i)
	}
}

// Quantiles are those of a sorted list, rounded up by an eighth at most. Source: VQ-7
func TestQuantiles(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	r := rand.New(rand.NewPCG(1, 2))
	var list []time.Duration
	for range 10_000 {
		d := time.Duration(r.ExpFloat64() * 1e6)
		h.Add(int64(d))
		list = append(list, d)
	}
	slices.Sort(list)
	for _, q := range []float64{0, 0.01, 0.5, 0.99, 0.9999} {
		want, got := list[int(q*float64(len(list)))], h.Quantile(q)
		if got < want*7/8 || got > want*9/8+2 {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	below := 0
	for _, d := range list {
		if d < 1<<20 {
			below++
		}
	}
	if n := h.Below(1 << 20); n != uint64(below) || h.Count() != 10_000 {
		t.Errorf("%d of %d below, want %d", n, h.Count(), below)
	}
}

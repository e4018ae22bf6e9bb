package control

import (
	"testing"

	"ffwd/queue"
)

// The buckets of a histogram are those of powers of two, and add up, whatever was counted.
// Source: VQ-7
func TestLatencyBuckets(t *testing.T) {
	var h queue.Histogram
	if r := latencyReport(&h); len(r.Buckets) != 0 || r.Max != 0 {
		t.Errorf("%+v", r)
	}
	for _, ns := range []int64{0, 1, 1000, 1023, 1024, 5e6, 1 << 40, 1 << 62} {
		h.Add(ns)
	}
	want := []LatencyBucket{{1e-9, 1}, {2e-9, 1}, {1.024e-6, 2}, {2.048e-6, 1}, {8.388608e-3, 1}, {4398.046511104, 2}}
	got := latencyReport(&h).Buckets
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("bucket %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

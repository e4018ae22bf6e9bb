package clock

import (
	"testing"
	"time"
)

// The clock keeps pace with the system's monotonic clock and never runs backwards.
func TestKeepsPace(t *testing.T) {
	c := New()
	t0, n0 := time.Now(), c.Now()
	last := n0
	for time.Since(t0) < 100*time.Millisecond {
		now := c.Now()
		if now < last {
			t.Fatalf("ran backwards: %d after %d", now, last)
		}
		last = now
	}
	want, got := float64(time.Since(t0)), float64(c.Now()-n0)
	if got < 0.99*want || got > 1.01*want {
		t.Fatalf("%.0f ns passed, clock says %.0f", want, got)
	}
	if c.Hz() < 1e6 {
		t.Fatalf("%.0f Hz", c.Hz())
	}
}

func TestFallbackWithoutCounter(t *testing.T) {
	origin := time.Now()
	c := &Clock{mult: 1 << 32, hz: 1e9, cycles: func() uint64 { return uint64(time.Since(origin)) }}
	a := c.Now()
	if b := c.Now(); b < a || b > a+int64(time.Second) {
		t.Fatalf("%d after %d", b, a)
	}
	if c.Ns(5) != 5 {
		t.Fatal("a fallback cycle is a nanosecond")
	}
}

func BenchmarkNow(b *testing.B) {
	c := New()
	for b.Loop() {
		c.Now()
	}
}

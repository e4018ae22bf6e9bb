package clock

import (
	"math/bits"
	"os"
	"strings"
	"time"
)

// calibration is how long the counter is compared with the system's clock at
// start; 20 ms give an error below 10 parts in a million.
const calibration = 20 * time.Millisecond

// Clock turns cycles into nanoseconds.
type Clock struct {
	start  uint64 // cycles at New
	mult   uint64 // nanoseconds per cycle, scaled by 2^32
	hz     float64
	cycles func() uint64
}

// New calibrates a clock; it takes 20 ms.
func New() *Clock {
	c := &Clock{cycles: Cycles}
	if !reliable() {
		origin := time.Now()
		c.cycles = func() uint64 { return uint64(time.Since(origin)) }
		c.mult, c.hz = 1<<32, 1e9
		c.start = c.cycles()
		return c
	}
	t0, c0 := time.Now(), Cycles()
	time.Sleep(calibration)
	t1, c1 := time.Now(), Cycles()
	ns, cycles := uint64(t1.Sub(t0)), c1-c0
	hi, lo := bits.Mul64(ns, 1<<32)
	c.mult, _ = bits.Div64(hi, lo, cycles)
	c.hz = float64(cycles) / (float64(ns) / 1e9)
	c.start = c0
	return c
}

// Cycles reads the counter this clock was made from.
func (c *Clock) Cycles() uint64 {
	if c.mult == 1<<32 {
		return c.cycles()
	}
	return Cycles()
}

// Now returns monotonic nanoseconds since New.
func (c *Clock) Now() int64 { return c.At(c.Cycles()) }

// At returns the time of a reading of Cycles, as Now would have.
func (c *Clock) At(cycles uint64) int64 { return c.Ns(cycles - c.start) }

// Ns turns a number of cycles into nanoseconds.
func (c *Clock) Ns(cycles uint64) int64 {
	hi, lo := bits.Mul64(cycles, c.mult)
	return int64(hi<<32 | lo>>32)
}

// Hz returns cycles per second.
func (c *Clock) Hz() float64 { return c.hz }

// reliable reports whether the counter runs at one rate in every power state
// and on every core, as the kernel judged.
func reliable() bool {
	if !hasCounter {
		return false
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return false
	}
	return !counterNeedsFlag || strings.Contains(string(info), "constant_tsc")
}

package control

import (
	"context"
	"sync"
	"time"

	"ffwd/conf"
	"ffwd/ct"
)

// filling is how fast the flow tables grow: flows created less those that ended, per
// second, as a moving average. Source: CT-7.
type filling struct {
	mu     sync.Mutex
	at     time.Time
	used   [][2]float64 // by worker: IPv4, IPv6
	growth [][2]float64 // flows per second
}

// The average forgets with fillMemory; it is taken every fillInterval.
const (
	fillInterval = time.Second
	fillMemory   = 5 * time.Second
)

// watchFilling looks at the tables until ctx ends.
func (s *Switch) watchFilling(ctx context.Context) {
	if len(s.workers) == 0 || s.workers[0].Table() == nil {
		return
	}
	tick := time.NewTicker(fillInterval)
	defer tick.Stop()
	for {
		if used, err := s.flowsUsed(); err == nil { // else a worker is stuck, and says nothing of its table
			s.filling.observe(time.Now(), used)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// flowsUsed asks each worker how many flows it has.
func (s *Switch) flowsUsed() ([][2]float64, error) {
	used := make([][2]float64, len(s.workers))
	for i, w := range s.workers {
		if err := w.Do(func() { used[i] = flowsIn(&w.Table().Stats) }); err != nil {
			return nil, err
		}
	}
	return used, nil
}

func flowsIn(t *ct.Stats) [2]float64 { return [2]float64{float64(t.Flows4), float64(t.Flows6)} }

// observe takes the flows in the tables at a time into the average.
func (f *filling) observe(at time.Time, used [][2]float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	elapsed := at.Sub(f.at)
	first := f.growth == nil
	if first {
		f.growth = make([][2]float64, len(used))
	}
	if !first && elapsed > 0 {
		weight := float64(min(elapsed, fillMemory)) / float64(fillMemory)
		for i := range used {
			for family := range used[i] {
				now := (used[i][family] - f.used[i][family]) / elapsed.Seconds()
				f.growth[i][family] += weight * (now - f.growth[i][family])
			}
		}
	}
	f.at, f.used = at, used
}

// until returns after how many seconds the first table will have no more room than
// reserve, or nil.
func (f *filling) until(used [][2]float64, size [2]float64, reserve float64) *float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var soonest *float64
	note := func(seconds float64) {
		if soonest == nil || seconds < *soonest {
			soonest = &seconds
		}
	}
	for i := range used {
		for family, n := range used[i] {
			left := size[family] - reserve - n
			switch {
			case left <= 0:
				note(0)
			case i < len(f.growth) && f.growth[i][family] > slowest:
				note(left / f.growth[i][family])
			}
		}
	}
	return soonest
}

// slowest is what counts as growth: a flow in a quarter of an hour.
const slowest = 1e-3

func (s *Switch) secondsUntilFull(c *conf.CT, workers []workerSample) *float64 {
	if !c.Enabled {
		return nil
	}
	used := make([][2]float64, len(workers))
	for i := range workers {
		used[i] = flowsIn(&workers[i].flows)
	}
	return s.filling.until(used, [2]float64{float64(c.MaxFlows), float64(c.MaxFlowsIPv6)}, float64(c.Reserve))
}

package pipeline

import (
	"errors"
	"fmt"

	"ffwd/fib"
)

// openCounts makes the worker's counters of next hops, one set per table.
func (w *Worker) openCounts() error {
	for _, table := range w.snap.Tables {
		counts, err := table.NewCounts()
		if err != nil {
			return fmt.Errorf("pipeline: worker %d: %w", w.config.Index, err)
		}
		w.counts = append(w.counts, counts)
	}
	return nil
}

func (w *Worker) closeCounts() error {
	var errs []error
	for _, c := range w.counts {
		errs = append(errs, c.Close())
	}
	w.counts = nil
	return errors.Join(errs...)
}

// countStep is how many counters the worker reads between two polls: each may be
// a cache miss.
const countStep = 64

// AddRouteCounts adds what the worker has counted for keys of the VRF's table to
// the elements of sum, or returns ErrStuck. Any goroutine may call it.
func (w *Worker) AddRouteCounts(vrf int, keys []fib.Counter, sum []fib.Count) error {
	for len(keys) > 0 {
		n := min(len(keys), countStep)
		err := w.Do(func() {
			for i, k := range keys[:n] {
				sum[i] = sum[i].Plus(w.counts[vrf].Read(k))
			}
		})
		if err != nil {
			return err
		}
		keys, sum = keys[n:], sum[n:]
	}
	return nil
}

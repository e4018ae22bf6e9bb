package control

import (
	"context"

	"ffwd/ct"
)

// Bounds of what reading flows costs a worker and the reader.
const (
	flowStep  = 64   // table entries that a worker looks at between two polls, as many as packets in a burst
	flowSteps = 64   // steps that one request to a worker may take
	flowBatch = 1024 // flows that one request may bring
)

// flowReader reads the workers' flows, batch by batch. Flows may come and go in between;
// one that stays is read once. Source: CT-9, CT-10.
type flowReader struct {
	s      *Switch
	filter *ct.Filter
	at     int    // the worker that the next batch is of
	from   uint32 // and the entry of its table where it begins
	batch  []ct.Info
}

// readFlows returns a reader of all flows that a filter chooses.
func (s *Switch) readFlows(filter *ct.Filter) *flowReader {
	return &flowReader{s: s, filter: filter, batch: make([]ct.Info, 0, flowBatch)}
}

// ended reports whether all has been read.
func (r *flowReader) ended() bool { return r.at >= len(r.s.workers) }

// next returns the next flows, at least one unless it ends, and whose they are. They are
// the caller's until the next call.
func (r *flowReader) next(ctx context.Context, most int) (worker int, flows []ct.Info, err error) {
	most = min(most, flowBatch)
	for r.batch = r.batch[:0]; len(r.batch) == 0 && !r.ended(); {
		if worker = r.at; r.s.workers[worker].Table() != nil {
			r.from, err = r.s.walk(ctx, r.s.workers[worker], r.from, r.filter, func(_ uint32, f *ct.Info) bool {
				r.batch = append(r.batch, *f)
				return len(r.batch) < most
			})
		}
		if err != nil {
			return worker, nil, err
		}
		if r.from == 0 {
			r.at++
		}
	}
	return worker, r.batch, nil
}

// eachFlow visits every flow that the filter chooses, on the thread of its worker.
func (s *Switch) eachFlow(ctx context.Context, filter *ct.Filter, visit func(t *ct.Table, i uint32)) (n uint64, err error) {
	for _, w := range s.workers {
		from := uint32(0)
		for more := w.Table() != nil; more; more = from != 0 {
			from, err = s.walk(ctx, w, from, filter, func(i uint32, _ *ct.Info) bool {
				n++
				visit(w.Table(), i)
				return true
			})
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// walk goes some steps through a worker's table, on its thread, and visits the flows that
// the filter chooses until visit, which must not allocate, returns false. It returns where
// to go on, 0 at the end. A flow whose time has passed is none any more, although the wheel
// has not come by.
func (s *Switch) walk(ctx context.Context, w *worker, from uint32, filter *ct.Filter, visit func(i uint32, f *ct.Info) bool) (uint32, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var flow ct.Info // here: the worker must not allocate
	table, steps, more, now := w.Table(), 0, true, int64(0)
	look := func(i uint32) bool {
		if flow = table.Info(i, now); flow.Expires > 0 && filter.Match(&flow) {
			more = visit(i, &flow)
		}
		return more
	}
	err := w.DoInSteps(func() bool {
		now = s.clock.Now()
		from = table.Walk(from, flowStep, look)
		steps++
		return more && from != 0 && steps < flowSteps
	})
	return from, err
}

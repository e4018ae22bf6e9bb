package control

import (
	"runtime/debug"
	"runtime/metrics"
	"time"

	"ffwd/ct"
	"ffwd/pipeline"
	"ffwd/pmd"
	"ffwd/queue"
)

// sample is one reading of every counter of the switch. Each worker's counters
// are of one instant between two of its polls; the workers are read one after
// the other.
type sample struct {
	at      time.Time
	workers []workerSample
	ports   []pmd.Stats // by physical port
	pools   []PoolReport
	twins   []twinSample  // of every interface, in the order of the configuration
	queues  []queue.Stats // of verdicts, by place in the configuration
	heap    heapSample
}

type workerSample struct {
	counters pipeline.Counters
	flows    ct.Stats
	queues   []queue.Stats // as above, this worker's
	stuck    bool          // the rest is as it was when the worker last answered
}

// heapSample is what the Go runtime did so far. Nothing in it stops the world
// to be read, which runtime.ReadMemStats would.
type heapSample struct {
	allocs      uint64 // objects
	collections int64
	pause       time.Duration
}

// read returns a sample of now, or the last one once the workers have ended.
func (s *Switch) read() sample {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.final != nil {
		return *s.final
	}
	return s.count()
}

// seal takes the last sample: ports and pools may go afterwards.
func (s *Switch) seal() sample {
	s.reading.Lock()
	defer s.reading.Unlock()
	last := s.count()
	s.final = &last
	return last
}

// count reads all counters. The caller holds reading.
func (s *Switch) count() sample {
	out := sample{
		heap:    readHeap(),
		workers: make([]workerSample, len(s.workers)),
		ports:   make([]pmd.Stats, len(s.ports)),
	}
	out.queues = make([]queue.Stats, len(s.queues.Queues()))
	for i, w := range s.workers {
		w.read(&s.seen[i], len(out.queues))
		out.workers[i] = s.seen[i]
		for q := range s.seen[i].queues {
			out.queues[q].Add(&s.seen[i].queues[q])
		}
	}
	out.at = time.Now()
	for i, p := range s.ports {
		// A device that cannot be asked shows zeros; our own counters do not need it.
		out.ports[i], _ = p.Stats()
	}
	for _, p := range s.runtime.Pools() {
		out.pools = append(out.pools, PoolReport{Name: p.Name(), Size: p.Size(), Available: p.Available()})
	}
	out.twins = s.countTwins()
	return out
}

// read brings a sample of the worker up to date, in short steps between its polls. One
// that is stuck keeps what it said last.
func (w *worker) read(last *workerSample, queues int) {
	now := workerSample{queues: make([]queue.Stats, queues)}
	err := w.Read(&now.counters, &now.flows)
	for i := 0; i < queues && err == nil; i++ {
		err = w.Do(func() { w.queues.Stats(i, &now.queues[i]) })
	}
	if last.stuck = err != nil; !last.stuck {
		*last = now
	}
}

func readHeap() heapSample {
	objects := [...]metrics.Sample{
		{Name: "/gc/heap/allocs:objects"},
		{Name: "/gc/heap/tiny/allocs:objects"},
	}
	metrics.Read(objects[:])
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	h := heapSample{collections: gc.NumGC, pause: gc.PauseTotal}
	for _, o := range objects {
		h.allocs += o.Value.Uint64()
	}
	return h
}

// Mark is a point in time that a Report can start from.
type Mark struct{ sample sample }

// Origin returns the Mark before the first packet.
func (s *Switch) Origin() Mark { return Mark{s.origin} }

// Mark reads all counters, for ReportSince.
func (s *Switch) Mark() Mark { return Mark{s.read()} }

// Report returns all counters since Start. While workers run, it waits for each
// of them to finish a poll.
func (s *Switch) Report() Report { return s.report(s.origin, s.read()) }

// ReportSince returns the counters since a Mark; what is a level and not a
// count (flows, pools, links) is as of now.
func (s *Switch) ReportSince(m Mark) Report { return s.report(m.sample, s.read()) }

// ReportBetween returns the counters from one Mark to a later one.
func (s *Switch) ReportBetween(from, to Mark) Report { return s.report(from.sample, to.sample) }

// Received returns the packets received since Start, for less than a Report.
func (s *Switch) Received() (n uint64) {
	s.reading.Lock()
	defer s.reading.Unlock()
	for i, w := range s.workers {
		last := &s.seen[i]
		_ = w.Read(&last.counters, &last.flows) // of a worker that is stuck, what it had last
		n += last.counters.Received
	}
	return n
}

package queue

import (
	"math/bits"
	"time"

	"ffwd/packet"
)

// Stats are one worker's figures of one queue, written by it alone. Offered is at every
// moment the sum of the outcomes, but for OutcomeReevaluated, and of what waits; what
// Release has given and Count has not heard of is on its way.
type Stats struct {
	Offered    uint64 // packets that a rule, or another queue, sent here
	Outcomes   [packet.NumQueueOutcomes]uint64
	Verdicts   uint64 // decided by the listener
	Unknown    uint64 // verdicts for packets that do not wait any more, or never did
	TooLong    uint64 // rewritten packets that no mbuf holds; they were dropped
	Copies     uint64
	CopiesLost uint64 // because nobody listens, or its ring was full
	Stalls     uint64
	Broken     uint64 // listeners given up because they broke the protocol
	Wakes      uint64
	Latency    Histogram // between queued and decided
	Packets    int       // that wait
	Bytes      int
}

// Add adds other's figures.
func (s *Stats) Add(other *Stats) {
	for _, f := range [...]struct{ to, from *uint64 }{
		{&s.Offered, &other.Offered}, {&s.Verdicts, &other.Verdicts}, {&s.Unknown, &other.Unknown},
		{&s.TooLong, &other.TooLong}, {&s.Copies, &other.Copies}, {&s.CopiesLost, &other.CopiesLost},
		{&s.Stalls, &other.Stalls}, {&s.Broken, &other.Broken}, {&s.Wakes, &other.Wakes},
	} {
		*f.to += *f.from
	}
	for i, n := range other.Outcomes {
		s.Outcomes[i] += n
	}
	for i, n := range other.Latency.counts {
		s.Latency.counts[i] += n
	}
	s.Latency.sum += other.Latency.sum
	s.Packets += other.Packets
	s.Bytes += other.Bytes
}

// Since returns the figures since an earlier reading; what waits is as of now.
func (s *Stats) Since(earlier *Stats) Stats {
	d, e := *s, *earlier
	for _, f := range [...]struct{ from, less *uint64 }{
		{&d.Offered, &e.Offered}, {&d.Verdicts, &e.Verdicts}, {&d.Unknown, &e.Unknown},
		{&d.TooLong, &e.TooLong}, {&d.Copies, &e.Copies}, {&d.CopiesLost, &e.CopiesLost},
		{&d.Stalls, &e.Stalls}, {&d.Broken, &e.Broken}, {&d.Wakes, &e.Wakes}, {&d.Latency.sum, &e.Latency.sum},
	} {
		*f.from -= *f.less
	}
	for i, n := range e.Outcomes {
		d.Outcomes[i] -= n
	}
	for i, n := range e.Latency.counts {
		d.Latency.counts[i] -= n
	}
	return d
}

// Stats copies the figures of the queue at a place of Set.Queues. Call it on the
// worker's thread, between two polls, or when it has ended.
func (w *Worker) Stats(queue int, to *Stats) {
	l := &w.lanes[queue]
	*to = l.stats
	to.Packets, to.Bytes = l.packets, l.bytes
}

// Histogram counts durations in buckets that grow by an eighth to a quarter: eight for
// each power of two nanoseconds. One writer.
type Histogram struct {
	counts [histogramBuckets]uint64
	sum    uint64 // ns
}

const (
	subBits          = 3
	histogramBuckets = (40 - subBits + 1) << subBits // up to 2^40 ns, 18 minutes
)

// Add counts a duration in nanoseconds; less than 0 counts as 0.
func (h *Histogram) Add(ns int64) {
	v := uint64(max(ns, 0))
	h.sum += v
	h.counts[bucketOf(v)]++
}

// bucketOf returns the bucket of a value: itself below 8, else the power of two and the
// three bits behind the first.
func bucketOf(v uint64) int {
	n := bits.Len64(v)
	if n <= subBits {
		return int(v)
	}
	shift := n - subBits - 1
	return min(shift<<subBits+int(v>>shift), histogramBuckets-1)
}

// upper returns the first value behind a bucket.
func upper(bucket int) uint64 {
	if bucket < 1<<(subBits+1) {
		return uint64(bucket) + 1
	}
	shift := bucket>>subBits - 1
	return uint64(bucket&(1<<subBits-1)+1<<subBits+1) << shift
}

// Count returns how many durations were counted.
func (h *Histogram) Count() (n uint64) {
	for _, c := range h.counts {
		n += c
	}
	return n
}

// Sum returns the sum of all durations.
func (h *Histogram) Sum() time.Duration { return time.Duration(h.sum) }

// Quantile returns a duration that a share q of all did not exceed, rounded up to the
// end of its bucket, and 0 when there were none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := min(uint64(q*float64(h.Count())), max(h.Count(), 1)-1)
	for i, c := range h.counts {
		if c > rank {
			return time.Duration(upper(i))
		}
		rank -= c
	}
	return 0
}

// Below returns how many durations were shorter than d, which is exact for powers of two.
func (h *Histogram) Below(d time.Duration) (n uint64) {
	for _, c := range h.counts[:bucketOf(uint64(max(d, 0)))] {
		n += c
	}
	return n
}

package control

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ffwd/conf"
	"ffwd/packet"
	"ffwd/pipeline"
	"ffwd/queue"
)

// buildQueues makes the verdict queues. Nobody listens yet. Source: VQ-1.
func (s *Switch) buildQueues(c *conf.Config) (err error) {
	var options []queue.Options
	for i := range c.Queues {
		q := &c.Queues[i]
		options = append(options, queue.Options{
			Number: uint16(q.Number), MaxPackets: q.MaxPackets, MaxBytes: q.MaxBytes, CopyBytes: q.CopyBytes,
			Timeout: time.Duration(q.Timeout), Stall: time.Duration(q.Stall),
		})
	}
	if s.queues, err = queue.NewSet(options, len(c.Workers.Cores)); err != nil {
		return fmt.Errorf("queues: %w", err)
	}
	return nil
}

// wireQueues gives a worker its part of the queues.
func (s *Switch) wireQueues(w *worker, to *pipeline.Config) {
	if len(s.queues.Queues()) == 0 {
		return
	}
	var salt [16]byte
	rand.Read(salt[:]) // never fails, by its documentation
	w.queues = s.queues.NewWorker(to.Index, [2]uint64{binary.LittleEndian.Uint64(salt[:]), binary.LittleEndian.Uint64(salt[8:])})
	to.Queues = w.queues
}

// serveQueues lets listeners in. Source: VQ-5.
func (s *Switch) serveQueues(c *conf.Config) error {
	if len(s.queues.Queues()) == 0 {
		return nil
	}
	socket, ok := s.listeners.queues.(*net.UnixListener)
	if !ok {
		return fmt.Errorf("control.queue_socket: a listener of type %T", s.listeners.queues)
	}
	s.undo(queue.Serve(s.queues, socket, s.epoch, s.log).Close)
	s.log.Info("queue socket open", "path", c.Control.QueueSocket)
	return nil
}

// QueueReport is one verdict queue. Packets, Bytes, Listening and PID are as of now, the
// rest counts. Offered is the sum of the outcomes, but for "reevaluated", and of Packets.
type QueueReport struct {
	Number     int               `json:"number"`
	Listening  bool              `json:"listening"`
	PID        int               `json:"pid,omitempty"` // of the listener
	Packets    int               `json:"packets"`       // that wait
	Bytes      int               `json:"bytes"`
	Offered    uint64            `json:"offered"` // packets that rules, or other queues, sent here
	Outcomes   map[string]uint64 `json:"outcomes"`
	Verdicts   uint64            `json:"verdicts"` // packets that the listener decided
	Unknown    uint64            `json:"unknown"`  // verdicts for packets that did not wait
	TooLong    uint64            `json:"too_long"` // rewritten packets that no buffer holds
	Copies     uint64            `json:"copies"`
	CopiesLost uint64            `json:"copies_lost"`
	Stalls     uint64            `json:"stalls"`
	Broken     uint64            `json:"broken"` // listeners sent away because they broke the protocol
	Latency    LatencyReport     `json:"latency"`

	histogram queue.Histogram
}

// LatencyReport says how long packets waited for their listener's verdict, in seconds.
type LatencyReport struct {
	Mean float64 `json:"mean_s"`
	P50  float64 `json:"p50_s"`
	P90  float64 `json:"p90_s"`
	P99  float64 `json:"p99_s"`
	Max  float64 `json:"max_s"`

	// Buckets are how many waited less than a time and no less than the one before it,
	// powers of two in nanoseconds; those that none falls into are left out.
	Buckets []LatencyBucket `json:"buckets"`
}

// LatencyBucket counts packets that waited less than a time, in seconds.
type LatencyBucket struct {
	Under   float64 `json:"under_s"`
	Packets uint64  `json:"packets"`
}

// latencyReport sums a histogram up.
func latencyReport(h *queue.Histogram) LatencyReport {
	r := LatencyReport{
		Mean: ratio(h.Sum().Seconds(), float64(h.Count())), P50: h.Quantile(0.5).Seconds(),
		P90: h.Quantile(0.9).Seconds(), P99: h.Quantile(0.99).Seconds(), Max: h.Quantile(1).Seconds(),
		Buckets: []LatencyBucket{},
	}
	before, all := uint64(0), h.Count()
	for ns := time.Duration(1); before < all; ns <<= 1 {
		n := h.Below(ns)
		if ns > time.Hour { // longer than the histogram tells apart
			n = all
		}
		if n > before {
			r.Buckets = append(r.Buckets, LatencyBucket{ns.Seconds(), n - before})
		}
		before = n
	}
	return r
}

// addQueues adds the queues' part to a report.
func (s *Switch) addQueues(r *Report, from, to []queue.Stats) {
	for i, q := range s.queues.Queues() {
		st := to[i]
		if i < len(from) {
			st = to[i].Since(&from[i])
		}
		h := &st.Latency
		report := QueueReport{
			Number: int(q.Number), Listening: q.Listening(), PID: q.Listener(), Packets: st.Packets, Bytes: st.Bytes,
			Offered: st.Offered, Outcomes: map[string]uint64{}, Verdicts: st.Verdicts, Unknown: st.Unknown,
			TooLong: st.TooLong, Copies: st.Copies, CopiesLost: st.CopiesLost, Stalls: st.Stalls, Broken: st.Broken,
			Latency:   latencyReport(h),
			histogram: *h,
		}
		for o, n := range st.Outcomes {
			report.Outcomes[packet.QueueOutcome(o).String()] = n
		}
		r.Queues = append(r.Queues, report)
	}
}

// QueueList answers GET /v1/queues.
type QueueList struct {
	Queues []QueueReport `json:"queues"`
}

func (s *Switch) getQueues(*http.Request) (any, error) {
	list := QueueList{Queues: []QueueReport{}}
	list.Queues = append(list.Queues, s.Report().Queues...)
	return list, nil
}

// Metrics of a verdict queue.
var (
	metricQueueListening = desc("queue_listening", "1 if the queue has a listener.", "queue")
	metricQueuePackets   = desc("queue_packets", "Packets that wait.", "queue")
	metricQueueBytes     = desc("queue_bytes", "Bytes of packets that wait.", "queue")
	metricQueueOffered   = desc("queue_offered_packets_total", "Packets that rules or other queues sent here.", "queue")
	metricQueueOutcomes  = desc("queue_outcomes_total", "What became of packets; reevaluated counts besides the others.", "queue", "outcome")
	metricQueueUnknown   = desc("queue_unknown_verdicts_total", "Verdicts for packets that did not wait.", "queue")
	metricQueueTooLong   = desc("queue_too_long_total", "Rewritten packets that no buffer holds.", "queue")
	metricQueueCopies    = desc("queue_copies_total", "Copies that the listener got.", "queue")
	metricQueueLost      = desc("queue_copies_lost_total", "Copies for which nobody listened or the ring had no room.", "queue")
	metricQueueStalls    = desc("queue_stalls_total", "Times the listener did nothing for too long.", "queue")
	metricQueueBroken    = desc("queue_broken_listeners_total", "Listeners sent away because they broke the protocol.", "queue")
	metricQueueLatency   = desc("queue_latency_seconds", "Time between queued and decided by the listener.", "queue")
)

func (out sender) queue(q *QueueReport) {
	label := fmt.Sprint(q.Number)
	out.gauge(metricQueueListening, asGauge(q.Listening), label)
	out.gauge(metricQueuePackets, float64(q.Packets), label)
	out.gauge(metricQueueBytes, float64(q.Bytes), label)
	out.counter(metricQueueOffered, q.Offered, label)
	for outcome, n := range q.Outcomes {
		out.counter(metricQueueOutcomes, n, label, outcome)
	}
	out.counter(metricQueueUnknown, q.Unknown, label)
	out.counter(metricQueueTooLong, q.TooLong, label)
	out.counter(metricQueueCopies, q.Copies, label)
	out.counter(metricQueueLost, q.CopiesLost, label)
	out.counter(metricQueueStalls, q.Stalls, label)
	out.counter(metricQueueBroken, q.Broken, label)
	buckets := map[float64]uint64{}
	for ns := time.Duration(1 << 12); ns <= 1<<33; ns <<= 1 { // 4 us to 9 s
		buckets[ns.Seconds()] = q.histogram.Below(ns)
	}
	out <- prometheus.MustNewConstHistogram(metricQueueLatency, q.histogram.Count(), q.histogram.Sum().Seconds(), buckets, label)
}

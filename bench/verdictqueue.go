package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"
)

// queueReport is one verdict queue of a report.
type queueReport struct {
	Offered  uint64            `json:"offered"`
	Verdicts uint64            `json:"verdicts"`
	Outcomes map[string]uint64 `json:"outcomes"`
	Latency  struct {
		P50 float64 `json:"p50_s"`
		P99 float64 `json:"p99_s"`
	} `json:"latency"`
}

// Verdicts are the figures of a verdict queue. Source: VQ-1, VQ-7.
type Verdicts struct {
	PerS         float64 `json:"per_s"`         // verdicts per second, the queue full all the time
	UnqueuedLoss float64 `json:"unqueued_loss"` // share of the packets lost meanwhile that no rule queued
	HalfPerS     float64 `json:"half_per_s"`    // verdicts per second of the second run, about half as many
	HalfP50      float64 `json:"half_p50_s"`    // between queued and decided, in that run
	HalfP99      float64 `json:"half_p99_s"`
}

// saturating is the share of the flows that a rule queues to fill the queue: a half, so
// that there is other traffic to look at.
const saturating = 1

// verdictQueue measures one queue with `ffwd queue listen` as its listener: full, with
// half of the traffic; then with as little as makes about half as many verdicts.
func (p *processes) verdictQueue(ctx context.Context, v variant, s *setup) (sample, error) {
	v.queueSocket = filepath.Join(p.dir, "queue.sock")
	v.queuedBits = saturating
	full, err := p.queued(ctx, v, s)
	if err != nil {
		return sample{}, err
	}
	figures, err := full.verdicts()
	if err != nil {
		return sample{}, err
	}
	in, _ := full.passed()
	rate := float64(in) / full.DurationS
	v.queuedBits = max(saturating, int(math.Round(math.Log2(rate/(figures.PerS/2)))))
	half, err := p.queued(ctx, v, s)
	if err != nil {
		return sample{}, err
	}
	if len(half.Queues) != 1 || half.Queues[0].Verdicts == 0 {
		return sample{}, errors.New("no verdicts at half load")
	}
	q := &half.Queues[0]
	figures.HalfPerS, figures.HalfP50, figures.HalfP99 = float64(q.Verdicts)/half.DurationS, q.Latency.P50, q.Latency.P99
	return sample{mpps: rate / 1e6, verdicts: figures, allocsPerPacket: full.AllocsPerPacket}, nil
}

// passed returns what came in and what left.
func (r *report) passed() (in, out uint64) {
	for _, port := range r.Ports {
		switch port.Name {
		case sourcePort:
			in = port.RxPackets
		case sinkPort:
			out = port.TxPackets
		}
	}
	return in, out
}

// verdicts sums up a run with a full queue.
func (r *report) verdicts() (*Verdicts, error) {
	in, out := r.passed()
	if len(r.Queues) != 1 || r.DurationS <= 0 {
		return nil, fmt.Errorf("a report of %d queues and %.3f s", len(r.Queues), r.DurationS)
	}
	q := &r.Queues[0]
	accepted := q.Outcomes["confirmed"] + q.Outcomes["joined"]
	if q.Verdicts == 0 || in <= q.Offered || out < accepted {
		return nil, fmt.Errorf("%d verdicts, %d of %d packets queued, %d left; dropped: %s", q.Verdicts, q.Offered, in, out, listed(r.Drops))
	}
	unqueued := float64(in - q.Offered)
	return &Verdicts{
		PerS:         float64(q.Verdicts) / r.DurationS,
		UnqueuedLoss: max(0, 1-float64(out-accepted)/unqueued),
	}, nil
}

// queued runs the switch and a listener beside it.
func (p *processes) queued(ctx context.Context, v variant, s *setup) (*report, error) {
	path := filepath.Join(p.dir, "ffwd.toml")
	if err := writeConfig(path, v, s); err != nil {
		return nil, err
	}
	defer os.Remove(path)
	limit := startLimit + s.warmup + s.duration + stopLimit
	cmd, cancel := command(ctx, limit, p.ffwdPath, "run", "-c", path, "--warmup", s.warmup.String(), "--duration", s.duration.String(), "--json")
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for done := false; !done; { // the socket is there when the switch is
		select {
		case err := <-ended:
			return nil, fmt.Errorf("%w: %s", errors.Join(errors.New("ended before anybody listened"), err), complaint(stderr.String()))
		case <-time.After(5 * time.Millisecond):
			_, err := os.Stat(v.queueSocket)
			done = err == nil
		}
	}
	listener, stop := command(ctx, limit, p.ffwdPath, "queue", "listen", "--queue-socket", v.queueSocket, "--accept")
	defer stop()
	if err := listener.Start(); err != nil {
		return nil, errors.Join(err, <-ended)
	}
	err := <-ended
	_ = listener.Wait() // the switch sent it away, which is an error to it
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, complaint(stderr.String()))
	}
	r := new(report)
	if err := json.Unmarshal(stdout.Bytes(), r); err != nil {
		return nil, fmt.Errorf("report of %s run: %w", p.ffwdPath, err)
	}
	return r, nil
}

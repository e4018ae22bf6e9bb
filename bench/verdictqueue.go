package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
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
	PerS         float64 `json:"per_s"`         // verdicts per second, as many packets queued as the worker and the listener can do
	UnqueuedLoss float64 `json:"unqueued_loss"` // share of the packets lost meanwhile that no rule queued; the worst repetition's
	HalfPerS     float64 `json:"half_per_s"`    // verdicts per second of another run, about half as many
	HalfP50      float64 `json:"half_p50_s"`    // between queued and decided, in that run
	HalfP99      float64 `json:"half_p99_s"`
}

// Shares of the flows that a rule queues, in parts of allShares.
const (
	allShares  = 64
	saturating = allShares / 2 // fills the queue, and leaves other traffic to look at
)

// Half the load is looked for by changing the share, in so many runs at most. A run within
// the tolerance ends the search; the nearest one counts.
const (
	halfRuns      = 4
	halfTolerance = 0.1
)

// verdictQueue measures one queue with `ffwd queue listen` as its listener: with half of
// the traffic, which is more than it can do; then with as little as makes half as many
// verdicts. The source is not slowed by what happens to its packets: whatever time the
// worker does not spend on the queue goes to packets that are not queued.
func (p *processes) verdictQueue(ctx context.Context, v variant, s *setup) (sample, error) {
	v.queueSocket = filepath.Join(p.dir, "queue.sock")
	v.queuedShare = saturating
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
	want, off := figures.PerS/2, math.Inf(1)
	for run := 0; run < halfRuns && off > halfTolerance; run++ {
		v.queuedShare = nextShare(v.queuedShare, rate, want)
		r, err := p.queued(ctx, v, s)
		if err != nil {
			return sample{}, err
		}
		if len(r.Queues) != 1 || r.Queues[0].Verdicts == 0 {
			return sample{}, errors.New("no verdicts at half load")
		}
		in, _ := r.passed()
		rate = float64(in) / r.DurationS
		q := &r.Queues[0]
		perS := float64(q.Verdicts) / r.DurationS
		if miss := math.Abs(perS/want - 1); miss < off {
			off = miss
			figures.HalfPerS, figures.HalfP50, figures.HalfP99 = perS, q.Latency.P50, q.Latency.P99
		}
	}
	return sample{mpps: float64(in) / full.DurationS / 1e6, verdicts: figures, allocsPerPacket: full.AllocsPerPacket}, nil
}

// nextShare is the share of the flows that will make so many verdicts per second, if the
// packets that come are as many as with the share before. They will be more when fewer
// are queued, so that the search comes near from above.
func nextShare(share int, perS, want float64) int {
	next := int(math.Round(allShares * want / perS))
	if next == share { // that was not it
		next--
	}
	return min(max(next, 1), allShares-1)
}

// ofRepetitions sums up several runs.
func ofRepetitions(samples []sample) *Verdicts {
	var list []*Verdicts
	for _, s := range samples {
		if s.verdicts != nil {
			list = append(list, s.verdicts)
		}
	}
	if len(list) == 0 {
		return nil
	}
	of := func(value func(*Verdicts) float64) []float64 {
		var values []float64
		for _, v := range list {
			values = append(values, value(v))
		}
		return values
	}
	return &Verdicts{
		PerS:         median(of(func(v *Verdicts) float64 { return v.PerS })),
		UnqueuedLoss: slices.Max(of(func(v *Verdicts) float64 { return v.UnqueuedLoss })),
		HalfPerS:     median(of(func(v *Verdicts) float64 { return v.HalfPerS })),
		HalfP50:      median(of(func(v *Verdicts) float64 { return v.HalfP50 })),
		HalfP99:      median(of(func(v *Verdicts) float64 { return v.HalfP99 })),
	}
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
	if err := startBeside(listener, s.cores); err != nil {
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

// startBeside starts a child on the processors that the workers leave over, if there are
// some: on a worker's it would take turns with it.
func startBeside(child *exec.Cmd, workers []int) error {
	runtime.LockOSThread() // the child has the affinity of the thread that starts it
	defer runtime.UnlockOSThread()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("affinity: %w", err)
	}
	rest := all
	for _, core := range workers {
		rest.Clear(core)
	}
	if rest.Count() > 0 {
		if err := unix.SchedSetaffinity(0, &rest); err != nil {
			return fmt.Errorf("affinity: %w", err)
		}
	}
	return errors.Join(child.Start(), unix.SchedSetaffinity(0, &all))
}

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// report is what `ffwd run --json` prints at its end, as far as it is needed here.
// Counts and rates are those of the measured time, without the warm-up.
type report struct {
	DurationS float64 `json:"duration_s"`
	Workers   []struct {
		Packets uint64  `json:"packets"`
		Stages  []Stage `json:"stages"`
	} `json:"workers"`
	Ports []struct {
		Name      string `json:"name"`
		RxPackets uint64 `json:"rx_packets"`
		TxPackets uint64 `json:"tx_packets"`
	} `json:"ports"`
	Drops map[string]uint64 `json:"drops"`
	Punts map[string]uint64 `json:"punts"`
	Flows struct {
		Created           uint64  `json:"created"`
		TableBytesPerFlow float64 `json:"table_bytes_per_flow"`
	} `json:"flows"`
	Queues          []queueReport `json:"queues"`
	AllocsPerPacket *float64      `json:"allocs_per_packet"`
}

// lossLimit is the share of packets that may be missing at the sink: counters are
// read one after the other, while packets pass.
const lossLimit = 0.01

// ffwd measures one configuration of the switch.
func (p *processes) ffwd(ctx context.Context, v variant, s *setup) (sample, error) {
	if v.scenario == verdictQueue {
		return p.verdictQueue(ctx, v, s)
	}
	path := filepath.Join(p.dir, "ffwd.toml")
	if err := writeConfig(path, v, s); err != nil {
		return sample{}, err
	}
	defer os.Remove(path)
	warmup := s.warmup
	if s.replies && !v.stateless {
		warmup = max(warmup, establishing)
	}
	cmd, cancel := command(ctx, startLimit+warmup+s.duration+stopLimit, p.ffwdPath,
		"run", "-c", path, "--warmup", warmup.String(), "--duration", s.duration.String(), "--json")
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); ctx.Err() != nil {
		return sample{}, ctx.Err()
	} else if err != nil {
		return sample{}, fmt.Errorf("%w: %s", err, complaint(stderr.String()))
	}
	var r report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return sample{}, fmt.Errorf("report of %s run: %w", p.ffwdPath, err)
	}
	m, err := r.sample()
	if v.egressMTU > 0 && err == nil { // packets that came, not the fragments that left
		m.mpps /= m.outPerIn
	}
	return m, err
}

// sample checks that the report is one of a switch that forwarded, and sums it up.
func (r *report) sample() (sample, error) {
	in, out := r.passed()
	if r.DurationS <= 0 || len(r.Workers) == 0 || in == 0 {
		return sample{}, fmt.Errorf("it received %d packets in %.3f s with %d workers", in, r.DurationS, len(r.Workers))
	}
	if float64(out) < float64(in)*(1-lossLimit) {
		return sample{}, fmt.Errorf("it forwarded %d of %d packets; dropped: %s; punted: %s", out, in, listed(r.Drops), listed(r.Punts))
	}
	return sample{
		mpps:              float64(out) / r.DurationS / 1e6,
		outPerIn:          float64(out) / float64(in),
		stages:            r.stages(),
		newFlowsPerS:      float64(r.Flows.Created) / r.DurationS / float64(len(r.Workers)),
		newFlowShare:      float64(r.Flows.Created) / float64(in),
		allocsPerPacket:   r.AllocsPerPacket,
		tableBytesPerFlow: r.Flows.TableBytesPerFlow,
	}, nil
}

// stages is the mean of the workers; all have the same stages.
func (r *report) stages() []Stage {
	var mean []Stage
	for i, stage := range r.Workers[0].Stages {
		sum, n := 0.0, 0
		for _, w := range r.Workers {
			if i < len(w.Stages) {
				sum, n = sum+w.Stages[i].CyclesPerPacket, n+1
			}
		}
		mean = append(mean, Stage{stage.Name, sum / float64(n)})
	}
	return mean
}

// listed writes counts as "no_route 12, martian 3".
func listed(counts map[string]uint64) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if n := counts[name]; n > 0 {
			words = append(words, fmt.Sprintf("%s %d", name, n))
		}
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

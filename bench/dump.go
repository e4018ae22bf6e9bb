package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// dump is the scenario that lists, counts and deletes resident flows while others are
// forwarded: no request of control's may stop a worker. Source: CT-9.
const dump = "ct-dump"

// dumpSizes are the numbers of resident flows, and dumpTraffic that of the flows whose
// packets are forwarded meanwhile.
var dumpSizes = []int{1_000_000, 10_000_000}

const (
	dumpTraffic = 1_000
	dumpLimit   = 10 * time.Minute // of one listing
)

// Dump is what listing, counting and deleting did to forwarding.
type Dump struct {
	Listed     uint64    `json:"listed"`
	ListS      float64   `json:"list_s"`
	Counted    uint64    `json:"counted"`
	CountS     float64   `json:"count_s"`
	Deleted    uint64    `json:"deleted"`
	DeleteS    float64   `json:"delete_s"`
	MppsBefore float64   `json:"mpps_before"` // the row's own is that meanwhile
	GapsBefore []PollGap `json:"gaps_before"`
	GapsDuring []PollGap `json:"gaps_during"`
}

// PollGap is a bucket of the histogram of times between two polls.
type PollGap struct {
	BelowS float64 `json:"below_s"` // 0: no bound
	Polls  uint64  `json:"polls"`
}

// polls counts all of a histogram.
func polls(gaps []PollGap) (n uint64) {
	for _, g := range gaps {
		n += g.Polls
	}
	return n
}

// dumpReport is what the running switch says.
type dumpReport struct {
	DurationS float64 `json:"duration_s"`
	Flows     struct {
		IPv4    uint64 `json:"ipv4"`
		Created uint64 `json:"created"`
		Expired uint64 `json:"expired"`

		TableBytes uint64 `json:"table_bytes"`
	} `json:"flows"`
	Workers []struct {
		Gaps []PollGap `json:"poll_gaps"`
	} `json:"workers"`
	Ports []struct {
		Name      string `json:"name"`
		TxPackets uint64 `json:"tx_packets"`
	} `json:"ports"`
}

// since returns what was sent after an earlier report, in millions a second, and the
// gaps in between.
func (r *dumpReport) since(before *dumpReport) (mpps float64, gaps []PollGap) {
	for i := range r.Ports {
		if r.Ports[i].Name == sinkPort {
			mpps = float64(r.Ports[i].TxPackets-before.Ports[i].TxPackets) / (r.DurationS - before.DurationS) / 1e6
		}
	}
	gaps = slices.Clone(r.Workers[0].Gaps)
	for i := range gaps {
		gaps[i].Polls -= before.Workers[0].Gaps[i].Polls
	}
	return mpps, gaps
}

// dump lists, counts and deletes.
func (p *processes) dump(ctx context.Context, c *child, n int, socket string, s *setup) (m sample, err error) {
	var reports [3]dumpReport // after the warm-up, before the dump, after it
	ask := reporter(socket)
	if err := errors.Join(c.pass(s.warmup), ask(&reports[0]), c.pass(s.duration), ask(&reports[1])); err != nil {
		return m, err
	}
	d := &Dump{}
	half := fmt.Sprintf("%s/%d", clientNet.Addr(), clientNet.Bits()+1)
	for _, step := range []struct {
		seconds *float64
		flows   *uint64
		args    []string
	}{
		{&d.ListS, &d.Listed, []string{"list"}},
		{&d.CountS, &d.Counted, []string{"count"}},
		{&d.DeleteS, &d.Deleted, []string{"delete", "--src", half}},
	} {
		begun := time.Now()
		if *step.flows, err = p.ctCommand(ctx, append(append([]string{"ct"}, step.args...), "--socket", socket)); err != nil {
			return m, err
		}
		*step.seconds = time.Since(begun).Seconds()
	}
	if err := ask(&reports[2]); err != nil {
		return m, err
	}
	if d.Listed < uint64(n) || d.Counted < uint64(n) || d.Deleted < uint64(n)/3 {
		return m, fmt.Errorf("of %d flows %d were listed, %d counted, %d deleted", n, d.Listed, d.Counted, d.Deleted)
	}
	d.MppsBefore, d.GapsBefore = reports[1].since(&reports[0])
	m.mpps, d.GapsDuring = reports[2].since(&reports[1])
	m.dump = d
	return m, nil
}

// ctCommand runs a sub-command and returns its lines, or the number it printed.
func (p *processes) ctCommand(ctx context.Context, args []string) (uint64, error) {
	cmd, cancel := command(ctx, dumpLimit, p.ffwdPath, args...)
	defer cancel()
	var lines lineCounter
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &lines, &stderr
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("ffwd %s: %w: %s", strings.Join(args[:2], " "), err, complaint(stderr.String()))
	}
	if args[1] == "list" {
		return lines.n, nil
	}
	number, _, _ := strings.Cut(strings.TrimSpace(lines.last), " ")
	return strconv.ParseUint(number, 10, 64)
}

// lineCounter counts lines, and keeps the latest piece of the text.
type lineCounter struct {
	n    uint64
	last string
}

func (l *lineCounter) Write(b []byte) (int, error) {
	l.n += uint64(bytes.Count(b, []byte("\n")))
	l.last = string(b)
	return len(b), nil
}

// reporter returns a function that asks a switch for its counters.
func reporter(socket string) func(*dumpReport) error {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	client := http.Client{Timeout: stopLimit, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	return func(r *dumpReport) error {
		answer, err := client.Get("http://ffwd/v1/report")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		*r = dumpReport{}
		if err := json.NewDecoder(answer.Body).Decode(r); err != nil {
			return err
		}
		if len(r.Workers) != 1 || len(r.Workers[0].Gaps) == 0 {
			return fmt.Errorf("a report of %d workers", len(r.Workers))
		}
		return nil
	}
}

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// resident is a scenario with so many flows in the table that stay, while others pass by.
type resident struct {
	scenario string
	flows    int
}

// residentsOf returns what was asked for; none unless its scenario is named.
func residentsOf(o *Options) (list []resident) {
	for _, of := range []struct {
		scenario string
		sizes    []int
	}{{dump, dumpSizes}, {expiry, expirySizes}} {
		if !slices.Contains(o.Scenarios, of.scenario) {
			continue
		}
		for _, n := range sizesOf(o, of.sizes, largestResident) {
			list = append(list, resident{of.scenario, n})
		}
	}
	return list
}

func (r resident) contender(s *setup, by runner) *contender {
	c := &contender{row: Result{Scenario: r.scenario, Flows: r.flows, Routes: 1, Workers: 1}}
	c.once = func(ctx context.Context) (sample, error) { return by.resident(ctx, r, s) }
	return c
}

// resident fills the table from one capture, which is read once, plays another for ever, and
// measures.
func (p *processes) resident(ctx context.Context, r resident, s *setup) (m sample, err error) {
	c := captures{dir: p.dir, seed: p.seed}
	fill, err := c.make(load{flows: r.flows, workers: 1})
	if err != nil {
		return m, err
	}
	defer c.remove(fill)
	traffic := *s
	traffic.load = load{flows: dumpTraffic, replies: true, workers: 1}
	v := variant{scenario: r.scenario, routes: 1, maxFlows: r.flows + 2*dumpTraffic, unreplied: time.Hour,
		fill: fill[0], controlSocket: filepath.Join(p.dir, "ffwd.sock")}
	measure := p.dump
	if r.scenario == expiry {
		traffic.load, measure = load{flows: expiryTraffic, workers: 1, tcp: true}, p.expiry
		v.maxFlows, v.brief = r.flows+2*expiryTraffic, expiryBrief
	}
	if traffic.files, err = c.make(traffic.load); err != nil {
		return m, err
	}
	path := filepath.Join(p.dir, "ffwd.toml")
	if err := writeConfig(path, v, &traffic); err != nil {
		return m, err
	}
	defer os.Remove(path)
	cmd, cancel := command(ctx, startLimit+s.warmup+s.duration+3*dumpLimit+stopLimit, p.ffwdPath, "run", "-c", path, "--json")
	defer cancel()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	child, err := start(cmd)
	if err != nil {
		return m, err
	}
	if err = awaitFlows(ctx, child, r.flows, v.controlSocket); err == nil {
		m, err = measure(ctx, child, r.flows, v.controlSocket, s)
	}
	err = errors.Join(err, child.Process.Signal(syscall.SIGTERM), child.finish(stopLimit))
	if err != nil {
		err = fmt.Errorf("%w: %s", err, complaint(stderr.String()))
	}
	return m, err
}

// awaitFlows returns when a switch has filled its table, for which it has time by its size.
func awaitFlows(ctx context.Context, c *child, n int, socket string) error {
	var now dumpReport
	limit := startLimit + time.Duration(n)*10*time.Microsecond
	ask := reporter(socket)
	for begun := time.Now(); now.Flows.IPv4 < uint64(n); {
		if err := errors.Join(c.pass(50*time.Millisecond), ctx.Err()); err != nil {
			return err
		}
		if err := ask(&now); time.Since(begun) > limit {
			return errors.Join(err, fmt.Errorf("after %v there are %d of %d flows", limit, now.Flows.IPv4, n))
		}
	}
	return nil
}

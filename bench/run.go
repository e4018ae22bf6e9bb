package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// setup is what both programs are given for one load.
type setup struct {
	load
	files    []string // one capture per rx queue
	cores    []int    // one worker each
	huge     bool
	dataRoom int
	warmup   time.Duration
	duration time.Duration
}

// spareMbufs are those in flight and in the workers' caches, on top of the captures'.
const spareMbufs = 8192

func (s *setup) mbufs() int { return s.packets() + spareMbufs }

// runner runs one program once. Errors are one line with the program's own words.
type runner interface {
	testpmd(ctx context.Context, mode string, s *setup) (sample, error)
	ffwd(ctx context.Context, v variant, s *setup) (sample, error)
}

// Run measures what the options ask for and returns the rows in the order of the
// catalogue. A load or configuration that fails is left out and its error joined to
// the others'; the rows of the rest are returned along with it. Cancelling ctx
// ends the run, and its processes, within seconds.
func Run(ctx context.Context, o Options) ([]Result, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := o.findCommands(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, "ffwd-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer os.RemoveAll(dir)
	p := &processes{testpmdPath: o.Testpmd, ffwdPath: o.Ffwd, dir: dir}
	return run(ctx, o, p, captures{dir: dir, seed: o.Seed}, systemHugePages())
}

// run is Run with its surroundings as arguments.
func run(ctx context.Context, o Options, r runner, c captures, pages hugePages) (results []Result, err error) {
	groups := selectGroups(catalogue(), o.Scenarios, o.Flows, len(o.Cores))
	if len(groups) == 0 {
		return nil, fmt.Errorf("bench: nothing to measure: no scenario has flows %v and runs on %d cores", o.Flows, len(o.Cores))
	}
	huge, restore, err := pages.prepare(&o, largestPool(groups, &o))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, restore()) }()

	var errs []error
	steps := newSteps(&o, groups)
	for _, g := range groups {
		s := &setup{load: g.load, cores: o.Cores[:g.workers], huge: huge, dataRoom: o.DataRoomBytes, warmup: o.Warmup, duration: o.Duration}
		if s.files, err = c.make(g.load); err != nil {
			return results, errors.Join(append(errs, err)...)
		}
		rows, err := measure(ctx, g, s, r, o.Repetitions, steps)
		results, errs = append(results, rows...), append(errs, err)
		c.remove(s.files)
		if ctx.Err() != nil {
			break // measure has said so
		}
	}
	steps.finish()
	compareWorkers(results)
	return results, errors.Join(errs...)
}

// contender is one program in one configuration, with what it did so far.
type contender struct {
	row     Result
	once    func(ctx context.Context) (sample, error)
	samples []sample
	err     error // the first; it is not run again
}

func (c *contender) title() string {
	title := fmt.Sprintf("%s: %d flows", c.row.Scenario, c.row.Flows)
	if c.row.Routes > 0 {
		title += fmt.Sprintf(", routes: %d", c.row.Routes)
	}
	return title + fmt.Sprintf(", workers: %d", c.row.Workers)
}

// measure runs everything of a group in turn, as often as asked.
func measure(ctx context.Context, g group, s *setup, r runner, repetitions int, steps *steps) ([]Result, error) {
	list := contenders(g, s, r)
	for rep := range repetitions {
		for _, c := range list {
			steps.next(fmt.Sprintf("%s, %d of %d", c.title(), rep+1, repetitions))
			if c.err != nil || list[0].err != nil || ctx.Err() != nil {
				continue // nothing to compare with
			}
			m, err := c.once(ctx)
			if err != nil {
				c.err = fmt.Errorf("bench: %s: %w", c.title(), err)
				continue
			}
			c.samples = append(c.samples, m)
		}
	}
	var rows []Result
	var errs []error
	for _, c := range list {
		errs = append(errs, c.err)
		if c.err == nil && len(c.samples) == repetitions {
			rows = append(rows, summarize(c.row, c.samples))
		}
	}
	if err := ctx.Err(); err != nil {
		errs = append(errs, err)
	}
	if len(rows) > 0 && rows[0].Scenario == ioFloor {
		compareWithFloor(rows)
	} else {
		rows = nil
	}
	return rows, errors.Join(errs...)
}

// contenders are testpmd's floor, which comes first, its macswap, and our variants.
func contenders(g group, s *setup, r runner) []*contender {
	base := Result{Flows: g.flows, Workers: g.workers, HugePages: s.huge}
	var list []*contender
	for _, t := range []struct{ scenario, mode string }{{ioFloor, "io"}, {macswap, "macswap"}} {
		c := &contender{row: base, once: func(ctx context.Context) (sample, error) { return r.testpmd(ctx, t.mode, s) }}
		c.row.Scenario = t.scenario
		list = append(list, c)
	}
	for _, v := range g.variants {
		c := &contender{row: base, once: func(ctx context.Context) (sample, error) { return r.ffwd(ctx, v, s) }}
		c.row.Scenario, c.row.Routes, c.row.Bar = v.scenario, v.routes, v.barNs
		list = append(list, c)
	}
	return list
}

// steps counts measurements for the progress display.
type steps struct {
	done, total int
	tell        func(done, total int, next string)
}

func newSteps(o *Options, groups []group) *steps {
	s := &steps{tell: o.Progress}
	for _, g := range groups {
		s.total += o.Repetitions * (2 + len(g.variants))
	}
	return s
}

func (s *steps) next(what string) {
	if s.tell != nil {
		s.tell(s.done, s.total, what)
	}
	s.done++
}

// finish tells that nothing is left to do.
func (s *steps) finish() {
	if s.tell != nil {
		s.tell(s.total, s.total, "")
	}
}

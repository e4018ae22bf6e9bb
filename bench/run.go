package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// setup is what both programs are given for one load.
type setup struct {
	load
	files    []string // one capture per rx queue
	cores    []int    // one worker each
	huge     bool
	tablesMB int // of the program that needs most for its tables; 0: as ffwd
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
	peer(ctx context.Context, of peer, s *setup) (sample, error)
	flowTable(ctx context.Context, entries int, s *setup) (tableSample, error)
	hash(ctx context.Context, entries int, s *setup) (tableSample, error)
	ffwd(ctx context.Context, v variant, s *setup) (sample, error)
	resident(ctx context.Context, of resident, s *setup) (sample, error)
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
	p := &processes{testpmdPath: o.Testpmd, ffwdPath: o.Ffwd, dir: dir, seed: o.Seed}
	if o.Peers {
		if o.Progress != nil {
			o.Progress(0, 1, "compiling the peers")
		}
		if p.programs, err = buildPeers(ctx, &o, dir); err != nil {
			return nil, err
		}
	}
	return run(ctx, o, p, captures{dir: dir, seed: o.Seed}, systemHugePages())
}

func chosen(o *Options) []group {
	groups := selectGroups(catalogue(), o.Scenarios, o.Flows, len(o.Cores))
	for i := range groups {
		for j := range groups[i].variants {
			v := &groups[i].variants[j]
			v.peers = slices.DeleteFunc(slices.Clone(v.peers), func(p peer) bool { return !o.Peers || p.name == ovsCt && !o.OVS })
		}
	}
	return groups
}

// run is Run with its surroundings as arguments.
func run(ctx context.Context, o Options, r runner, c captures, pages hugePages) (results []Result, err error) {
	groups, tables, residents := chosen(&o), tablesOf(&o), residentsOf(&o)
	if len(groups)+len(tables)+len(residents) == 0 {
		return nil, fmt.Errorf("bench: nothing to measure: no scenario has flows %v and runs on %d cores, or it needs peers", o.Flows, len(o.Cores))
	}
	huge, restore, err := pages.prepare(&o, largestPool(groups, tables, &o))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, restore()) }()

	var errs []error
	steps := newSteps(&o, groups, tables)
	steps.total += o.Repetitions * len(residents)
	for _, g := range groups {
		s := &setup{load: g.load, cores: o.Cores[:g.workers], huge: huge, dataRoom: o.DataRoomBytes, warmup: o.Warmup, duration: o.Duration}
		if s.files, err = c.make(g.load); err != nil {
			return results, errors.Join(append(errs, err)...)
		}
		rows, err := measure(ctx, contenders(g, s, r, o.Peers), o.Repetitions, steps)
		results, errs = append(results, rows...), append(errs, err)
		c.remove(s.files)
		if ctx.Err() != nil {
			return results, errors.Join(errs...) // measure has said so
		}
	}
	for _, n := range tables {
		s := &setup{load: load{flows: n, workers: 1}, cores: o.Cores[:1], huge: huge, duration: o.Duration}
		rows, err := measure(ctx, tableContenders(n, s, r), o.Repetitions, steps)
		results, errs = append(results, rows...), append(errs, err)
		if ctx.Err() != nil {
			return results, errors.Join(errs...)
		}
	}
	for _, of := range residents { // in ordinary pages: few mbufs, and a table that takes what there is
		s := &setup{load: load{flows: of.flows, workers: 1}, cores: o.Cores[:1], dataRoom: o.DataRoomBytes, warmup: o.Warmup, duration: o.Duration}
		rows, err := measure(ctx, []*contender{of.contender(s, r)}, o.Repetitions, steps)
		results, errs = append(results, rows...), append(errs, err)
		if ctx.Err() != nil {
			return results, errors.Join(errs...)
		}
	}
	steps.finish()
	compareWorkers(results)
	return results, errors.Join(errs...)
}

// contender is one program in one configuration, with what it did so far.
type contender struct {
	row     Result
	self    peer   // what it is, if it is a peer
	peers   []peer // that do the work of it
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
func measure(ctx context.Context, list []*contender, repetitions int, steps *steps) ([]Result, error) {
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
	var measured []*contender
	var errs []error
	for i, c := range list {
		errs = append(errs, c.err)
		if c.err == nil && len(c.samples) == repetitions {
			rows, measured = append(rows, summarize(c.row, c.samples)), append(measured, c)
		} else if i == 0 {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		errs = append(errs, err)
	}
	if len(rows) > 0 {
		compareWithFloor(rows)
		compareWithPeers(rows, measured)
	}
	return rows, errors.Join(errs...)
}

// contenders are testpmd's floor, which comes first, its macswap, and our variants;
// with peers each variant with its own, in place of macswap.
func contenders(g group, s *setup, r runner, peers bool) []*contender {
	base := Result{Flows: g.flows, Workers: g.workers, HugePages: s.huge}
	var list []*contender
	for _, t := range []struct{ scenario, mode string }{{ioFloor, "io"}, {macswap, "macswap"}} {
		if peers && t.mode != "io" {
			continue
		}
		c := &contender{row: base, once: func(ctx context.Context) (sample, error) { return r.testpmd(ctx, t.mode, s) }}
		c.row.Scenario = t.scenario
		list = append(list, c)
	}
	for _, v := range g.variants {
		c := &contender{row: base, once: func(ctx context.Context) (sample, error) { return r.ffwd(ctx, v, s) }}
		c.row.Scenario, c.row.Routes, c.row.Bar = v.scenario, v.routes, v.barNs
		c.peers = v.peers
		list = append(list, c)
		for _, of := range v.peers {
			if slices.ContainsFunc(list, func(other *contender) bool { return other.self == of }) {
				continue // is there for another variant
			}
			c := &contender{row: base, self: of, once: func(ctx context.Context) (sample, error) { return r.peer(ctx, of, s) }}
			c.row.Scenario, c.row.Routes = of.name, of.routes
			list = append(list, c)
		}
	}
	return list
}

// steps counts measurements for the progress display.
type steps struct {
	done, total int
	tell        func(done, total int, next string)
}

func newSteps(o *Options, groups []group, tables []int) *steps {
	s := &steps{tell: o.Progress}
	for _, g := range groups {
		s.total += o.Repetitions * len(contenders(g, &setup{}, nil, o.Peers))
	}
	for _, n := range tables {
		s.total += o.Repetitions * len(tableContenders(n, &setup{}, &processes{}))
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

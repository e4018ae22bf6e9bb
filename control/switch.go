package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ffwd/clock"
	"ffwd/conf"
	"ffwd/ct"
	"ffwd/epoch"
	"ffwd/fib"
	"ffwd/pipeline"
	"ffwd/pmd"
	"ffwd/policy"
	"ffwd/queue"
	"ffwd/slowpath"
)

// What Stop finds wrong, but for ErrInterrupted, are bugs of ours or of a driver, never the user's.
var (
	// ErrLeak: an mbuf did not come back to its pool.
	ErrLeak = errors.New("mbuf leak")
	// ErrConservation: received + created is not transmitted + dropped + punted + held.
	ErrConservation = errors.New("packet conservation violated")
	// ErrInterrupted: Start was told to end. Everything is as it was before.
	ErrInterrupted = errors.New("interrupted while starting")
	// ErrStuck: a worker does not come back from a poll. What it uses is left as it is.
	ErrStuck = pipeline.ErrStuck
)

// Switch is a running switch. Its methods may be called from any goroutine.
type Switch struct {
	topology
	log     *slog.Logger
	clock   *clock.Clock
	runtime *pmd.Runtime
	epoch   retirer
	tables  []*fib.Table // by place in vrfs
	started time.Time

	snapshot atomic.Pointer[pipeline.Snapshot] // workers read it, Reload stores it
	group    *pipeline.Group
	queues   *queue.Set // of verdicts; has none where none is configured
	workers  []*worker
	steered  []bool                // by physical port
	spread   func(fold uint16) int // see pipeline.Config

	slow     *slowpath.SlowPath // nil: there is none
	mirror   *slowpath.Mirror   // as above
	resolver *slowpath.Resolver // as above
	slowOff  string             // why
	dispatch pipeline.Dispatch
	secret   ct.Secret // of the hash of flows

	mu        sync.Mutex // held by Reload, for as long as it takes to fill tables; guards source
	running   atomic.Pointer[running]
	reloading sync.Mutex // held while a client's document is parsed and applied
	documents documents  // that clients send
	source    string     // file that a reload without a document reads

	origin  sample         // counters at start
	reading sync.Mutex     // held while counters are read; guards final and seen
	seen    []workerSample // the latest of each worker
	final   *sample        // counters after the last packet; nil while workers run

	policies      *ct.Policies
	boundPolicies []uint16      // of the ruleset that workers see, by rule; guarded by mu
	heldPolicies  []uint16      // its references; guarded by mu
	ruleHops      heldHops      // as above
	drainBell     chan struct{} // rung when a policy may have been deleted

	limits  map[string]uint8 // numbers of the rules' limits on connections; guarded by mu
	tallies ct.Tallies
	filling filling

	tableBytes uint64 // of all flow tables

	linkMu sync.Mutex
	links  []pmd.Link // by physical port, as last seen

	listeners listeners

	steps    []step // how to take down what is up, in the order it came up
	stopOnce sync.Once
	stopErr  error
	stopBy   context.Context // bounds the wait for workers
	startBy  context.Context // ends a start
}

// running is a configuration and the ruleset made of it. Whoever reads it does not wait for
// a reload that is under way.
type running struct {
	config *conf.Config
	rules  *policy.Ruleset
}

// Start brings up a switch with this configuration, which Validate has passed. When ctx
// ends meanwhile it goes no further, and returns ErrInterrupted; afterwards ctx means nothing.
//
// The error is one line, or one per fault, that says what is wrong and what to
// do; nothing is left behind. DPDK starts once per process, so a second Start in
// a process fails.
func Start(ctx context.Context, c *conf.Config, log *slog.Logger) (*Switch, error) {
	s := newSwitch(log)
	s.startBy = ctx
	return s.start(c, s.takeSockets, s.startRuntime, s.assemble, s.begin)
}

func newSwitch(log *slog.Logger) *Switch {
	return &Switch{log: log, epoch: newRetirer(), drainBell: make(chan struct{}, 1), secret: ct.NewSecret(),
		stopBy: context.Background(), startBy: context.Background()}
}

// start takes steps in turn. When one fails, those before it are undone.
func (s *Switch) start(c *conf.Config, steps ...func(*conf.Config) error) (*Switch, error) {
	err := s.inTurn(c, steps...)
	switch {
	case err == nil:
		return s, nil
	case s.startBy.Err() != nil: // whatever failed did so for that
		return nil, cmp.Or(s.unwind(), ErrInterrupted)
	}
	return nil, errors.Join(err, s.unwind())
}

// startRuntime keeps the process off the workers' cores and brings up DPDK.
func (s *Switch) startRuntime(c *conf.Config) error {
	cores, err := readAffinity(c.Workers.Cores)
	if err != nil {
		return err
	}
	if err := cores.keepOff(); err != nil {
		return err
	}
	s.undo(cores.restore)
	if s.runtime, err = startRuntime(c, cores); err != nil {
		return err
	}
	s.undo(s.runtime.Close)
	return nil
}

// assemble makes everything. Nothing forwards yet.
func (s *Switch) assemble(c *conf.Config) error {
	s.undo(s.checkPools) // runs when ports and workers are gone
	s.undo(raiseProcs(len(c.Workers.Cores)))
	s.clock = clock.New()
	s.running.Store(&running{config: c})
	return s.inTurn(c, s.openPorts, s.build, s.openSlowPath, s.openMirror, s.buildQueues, s.buildWorkers)
}

// begin lets packets in, and then clients.
func (s *Switch) begin(c *conf.Config) error {
	return s.inTurn(c, s.runWorkers, s.startResolver, s.watch, s.serveQueues, s.serve)
}

// inTurn takes steps until one fails or the start is interrupted.
func (s *Switch) inTurn(c *conf.Config, steps ...func(*conf.Config) error) error {
	for _, step := range steps {
		if err := s.startBy.Err(); err != nil {
			return err
		}
		if err := step(c); err != nil {
			return err
		}
	}
	return nil
}

// build makes everything that workers read.
func (s *Switch) build(c *conf.Config) error {
	s.buildInterfaces(c)
	s.links = make([]pmd.Link, len(s.ports)) // until watch looks; a report before that finds them down
	if err := s.buildTables(c); err != nil {
		return err
	}
	limits, err := s.planLimits(c)
	if err != nil {
		return err
	}
	s.limits = limits.numbers
	rules, err := s.buildRules(c, limits)
	if err != nil {
		return err
	}
	snapshot := &pipeline.Snapshot{
		Interfaces:       s.interfaces,
		Zones:            s.zones,
		Ports:            s.maps,
		Tables:           s.tables,
		Rules:            rules,
		Timeouts:         s.policies.Timeouts(),
		Tracking:         tracking(&c.CT, limits),
		FragmentTimeouts: fragmentTimeouts(c),
		ErrorRate:        c.ICMP.ErrorRate,
		PuntRates:        puntRates(&c.SlowPath.Rates),
	}
	snapshot.Prepare()
	s.snapshot.Store(snapshot)
	s.running.Store(&running{c, rules})
	if err := s.startPorts(); err != nil {
		return err
	}
	s.steered = steering(c, s.topology)
	s.spread = spreading(s.topology, s.steered)
	return nil
}

// Config returns the configuration that runs now. It is not to be written.
func (s *Switch) Config() *conf.Config { return s.running.Load().config }

// stopTimeout bounds the wait for workers to drain, and that for clients.
const stopTimeout = 2 * time.Second

// Stop takes the switch down: workers drain first, then everything goes in the
// reverse order of Start. ctx may shorten the two seconds that workers get.
//
// Errors wrap ErrLeak, ErrConservation or ErrStuck, or are those of what could
// not be closed. A second Stop returns the same.
func (s *Switch) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		s.stopBy = ctx
		s.stopErr = s.unwind()
	})
	return s.stopErr
}

// undo adds a step of taking down.
func (s *Switch) undo(do func() error) { s.steps = append(s.steps, step{do: do}) }

// undoOnHost adds one that gives the host back a setting of its own, whether workers have
// ended or not.
func (s *Switch) undoOnHost(do func() error) { s.steps = append(s.steps, step{do, true}) }

// unwind takes down what is up. When something does not end, whatever it uses stays, and
// what is left is for the next call; but the host is given back what was changed of it.
func (s *Switch) unwind() error {
	var errs []error
	for len(s.steps) > 0 {
		last := len(s.steps) - 1
		err := s.steps[last].do()
		errs = append(errs, err)
		if errors.Is(err, ErrStuck) {
			break
		}
		s.steps = s.steps[:last]
	}
	for i, step := range slices.Backward(s.steps) {
		if step.ofHost {
			errs = append(errs, step.do())
			s.steps = slices.Delete(s.steps, i, i+1)
		}
	}
	return errors.Join(errs...)
}

// step is one step of taking down.
type step struct {
	do     func() error
	ofHost bool // it touches nothing that workers use
}

// within waits for what uses the switch, and gives up when that does not end: what it
// uses has to stay then.
func within(limit time.Duration, what string, wait func()) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		wait()
	}()
	select {
	case <-ended:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("%w: %s did not end in time", ErrStuck, what)
	}
}

// checkPools reports mbufs that did not come back.
func (s *Switch) checkPools() error {
	var errs []error
	for _, p := range s.runtime.Pools() {
		if missing := p.Size() - p.Available(); missing != 0 {
			errs = append(errs, fmt.Errorf("%w: %d of %d mbufs of pool %s are missing", ErrLeak, missing, p.Size(), p.Name()))
		}
	}
	return errors.Join(errs...)
}

// retirer is the epoch's domain with a bell: what is retired is reclaimed soon
// after, and nobody has to look while nothing is.
type retirer struct {
	*epoch.Domain
	bell chan struct{}
}

func newRetirer() retirer {
	return retirer{&epoch.Domain{}, make(chan struct{}, 1)}
}

// Retire implements fib.Retirer.
func (r retirer) Retire(free func()) {
	r.Domain.Retire(free)
	select {
	case r.bell <- struct{}{}:
	default: // rung already
	}
}

// newTable maps a worker's flow table.
func (s *Switch) newTable(c *conf.Config, secret *ct.Secret) (*ct.Table, error) {
	table, err := ct.New(ct.Options{
		MaxFlows: c.CT.MaxFlows, MaxFlowsIPv6: c.CT.MaxFlowsIPv6,
		Translations: min(c.CT.MaxTranslations, c.CT.MaxFlows+c.CT.MaxFlowsIPv6),
		Secret:       *secret, Huge: tablePages(c), StartNs: s.clock.Now(), Policies: s.policies, Tallies: &s.tallies,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: lower ct.max_flows, ct.max_flows_ipv6 or ct.max_translations", err)
	}
	s.undo(table.Close)
	s.tableBytes += uint64(table.Bytes())
	return table, nil
}

package control

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"ffwd/conf"
	"ffwd/epoch"
	"ffwd/mem"
	"ffwd/pipeline"
	"ffwd/pmd"
	"ffwd/queue"
)

// worker is a pipeline.Worker with what control knows of it.
type worker struct {
	*pipeline.Worker
	core    int
	member  *epoch.Member
	queues  *queue.Worker // nil: there are none
	entered chan struct{} // closed when it polls
	ended   chan struct{} // closed when its thread is done
	err     error         // why it did not start; read after ended
}

// buildWorkers makes the workers with their flow tables. Nothing runs yet.
func (s *Switch) buildWorkers(c *conf.Config) error {
	n := len(c.Workers.Cores)
	s.group = pipeline.NewGroup(n, c.Workers.HandoffRing)
	s.seen = make([]workerSample, n)
	for i, core := range c.Workers.Cores {
		w := &worker{core: core, member: s.epoch.Join(), entered: make(chan struct{}), ended: make(chan struct{})}
		pc, err := s.wire(c, i, w)
		if err != nil {
			return err
		}
		if w.Worker, err = pipeline.NewWorker(pc); err != nil {
			return err
		}
		s.undo(w.Close)
		s.workers = append(s.workers, w)
	}
	return nil
}

// wire says what a worker is made of: its part of everything there is.
func (s *Switch) wire(c *conf.Config, index int, w *worker) (pipeline.Config, error) {
	pc := pipeline.Config{
		Index: index, Burst: c.Workers.Burst, Snapshot: &s.snapshot, Secret: &s.secret,
		Clock: s.clock, Epoch: w.member, Pool: s.poolOf(w.core), Group: s.group, Steered: s.steered,
		Enter: func() error { return s.enter(w) }, Leave: s.runtime.UnregisterThread,
	}
	s.wireSlowPath(&pc)
	s.wireQueues(w, &pc)
	for port, p := range s.ports {
		for q, queue := range p.RxQueues() {
			if q%len(c.Workers.Cores) == index {
				pc.Rx = append(pc.Rx, pipeline.Receive{Port: uint16(port), Queue: queue})
			}
		}
		pc.Tx = append(pc.Tx, p.TxQueues()[index])
	}
	var err error
	if c.CT.Enabled {
		pc.Table, err = s.newTable(c, &s.secret)
		pc.Fragments, pc.Spread = fragmentLimits(c), s.spread
	}
	return pc, err
}

// steering tells the ports whose packets are handed over in software, so that
// both directions of a flow come to one worker.
//
// Hardware is relied on only if every port spreads flows alike: its hash is not
// ours, so a flow that came in by such a port and went back by another would meet
// two workers. Source: CT-1.
func steering(c *conf.Config, t topology) []bool {
	workers := len(c.Workers.Cores)
	steered := make([]bool, len(t.ports))
	if workers < 2 {
		return steered
	}
	spreads := make([]spread, len(t.ports))
	for i, p := range t.ports {
		spreads[i] = spread{p.SymmetricRSS(), len(p.RxQueues()), p.RETASize()}
	}
	hardware := alike(spreads, workers)
	for i, p := range t.ports {
		switch c.Ports[int(t.maps[i].Untagged)-1].Steering {
		case conf.SteeringSoftware:
			steered[i] = true
		case conf.SteeringAuto:
			// Without flows nobody cares who has a packet, as long as all have some.
			anyWillDo := !c.CT.Enabled && len(p.RxQueues()) >= workers
			steered[i] = !hardware && !anyWillDo
		}
	}
	return steered
}

// spread is how a port's hardware gives packets to queues.
type spread struct {
	symmetric    bool
	queues, reta int // entries of its redirection table
}

// alike tells whether a flow's hash leads to the same worker on every port: entry
// hash mod reta of the table, whose queue is that modulo the queues. With tables of
// different sizes that is the same only if the queues divide both.
func alike(ports []spread, workers int) bool {
	for _, p := range ports {
		if !p.symmetric || p.queues != workers || p.reta != ports[0].reta && (p.reta%workers != 0 || ports[0].reta%workers != 0) {
			return false
		}
	}
	return true
}

// poolOf returns the mbuf pool next to a core.
func (s *Switch) poolOf(core int) pipeline.Pool { return s.runtime.Pool(pmd.CoreSocket(core)) }

// tablePages is what flow tables are made of: reserved huge pages only where
// DPDK was not told to do without.
func tablePages(c *conf.Config) mem.Huge {
	if c.EAL.HugePages == conf.HugeOff {
		return mem.Transparent
	}
	return mem.Hugetlb
}

// enter makes the calling, locked thread the worker's.
func (s *Switch) enter(w *worker) error {
	if err := pin(w.core); err != nil {
		return err
	}
	if err := s.runtime.RegisterThread(); err != nil {
		return err
	}
	close(w.entered)
	return nil
}

// runWorkers starts the workers and returns when all of them poll.
func (s *Switch) runWorkers(*conf.Config) error {
	s.undo(s.stopWorkers)
	s.started = time.Now()
	s.origin = s.read()
	for _, w := range s.workers {
		go w.run()
	}
	for i, w := range s.workers {
		select {
		case <-w.entered:
		case <-w.ended:
			if w.err != nil { // without one it ended because of another's
				return fmt.Errorf("worker %d: %w", i, w.err)
			}
		}
	}
	s.log.Info("workers started", "cores", s.Config().Workers.Cores)
	return nil
}

// run is the worker's thread. It stays locked, so the thread and its affinity
// end with it.
func (w *worker) run() {
	runtime.LockOSThread()
	w.err = w.Run()
	close(w.ended)
}

// abortTimeout is what workers get to leave without another that is stuck.
const abortTimeout = 200 * time.Millisecond

// stopWorkers lets the workers drain, takes the last sample, and checks it.
func (s *Switch) stopWorkers() error {
	s.group.Stop()
	ctx, cancel := context.WithTimeout(s.stopBy, stopTimeout)
	defer cancel()
	if err := s.awaitEnd(ctx); err != nil {
		s.group.Abort() // the others wait for the one that is stuck
		ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
		defer cancel()
		if err := s.awaitEnd(ctx); err != nil {
			return err
		}
	}
	for _, w := range s.workers {
		w.member.Leave()
	}
	for waiting := 1; waiting > 0; { // every member has left: one round frees all
		_, waiting = s.epoch.Reclaim()
	}
	return s.checkConservation(s.seal())
}

// awaitEnd waits for all workers to end, and names those that do not.
func (s *Switch) awaitEnd(ctx context.Context) error {
	var late []error
	for i, w := range s.workers {
		select {
		case <-w.ended:
			continue
		default:
		}
		select {
		case <-w.ended:
		case <-ctx.Done():
			late = append(late, fmt.Errorf("%w: worker %d on core %d did not end in time", ErrStuck, i, w.core))
		}
	}
	return errors.Join(late...)
}

// checkConservation holds every worker's counters, and their sum with nothing
// left between workers, against FF-12.
func (s *Switch) checkConservation(last sample) error {
	for i := range last.workers {
		c := &last.workers[i].counters
		in := c.Received + c.Created + c.TakenOver
		out := c.Transmitted + c.Dropped() + c.Punted() + c.HandedOver + c.Held
		if in != out {
			return fmt.Errorf("%w: worker %d: received %d + created %d + taken over %d = %d, transmitted %d + dropped %d + punted %d + handed over %d = %d",
				ErrConservation, i, c.Received, c.Created, c.TakenOver, in, c.Transmitted, c.Dropped(), c.Punted(), c.HandedOver, out)
		}
	}
	r := s.report(s.origin, last)
	if r.Held != 0 || s.group.Backlog() != 0 {
		return fmt.Errorf("%w: %d packets are held after the end, %d in handoff rings", ErrConservation, r.Held, s.group.Backlog())
	}
	return nil
}

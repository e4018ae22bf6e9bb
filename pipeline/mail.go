package pipeline

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"ffwd/ct"
)

// ErrStuck tells that the worker does not come back from a poll. Nothing may be taken from under
// it until it does.
var ErrStuck = errors.New("worker stuck")

// mailPatience is how long Do waits for a worker that runs. A poll takes microseconds; on
// a crowded machine the worker's thread may have to wait for its core, but not this long.
const mailPatience = time.Second

// mailbox is how control has things done between two polls.
type mailbox struct {
	turn    chan struct{} // of capacity 1: who has put something in may post
	post    atomic.Pointer[request]
	running atomic.Bool   // changed with the turn
	stopped chan struct{} // closed when the worker runs no more
}

func newMailbox() mailbox {
	return mailbox{turn: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// request is something that control wants done between two polls, in as many steps as it
// has, one a poll.
type request struct {
	step  func() (more bool)
	taken atomic.Bool   // while the worker is at a step, or by DoInSteps to have the rest left undone
	steps atomic.Uint32 // done so far
	done  chan struct{}
}

// begin says that the worker looks at its mail from now on.
func (m *mailbox) begin() {
	m.turn <- struct{}{} // nobody runs a request in the worker's place any more
	m.running.Store(true)
	<-m.turn
}

// end says that it does not any more.
func (m *mailbox) end() {
	m.running.Store(false)
	close(m.stopped)
}

// answer does a step of what control wants. A request that nobody waits for any more is left
// undone. Only the worker calls it, and only when there is a request.
func (m *mailbox) answer() {
	r := m.post.Load()
	switch {
	case !r.taken.CompareAndSwap(false, true):
		m.post.Store(nil)
	case r.step():
		r.steps.Add(1)
		r.taken.Store(false)
	default:
		m.post.Store(nil)
		close(r.done)
	}
}

// Do runs f on the worker's thread between two polls, or here when the worker
// does not run, and returns when it has run. f sees a consistent state and must
// be short: the worker's packets wait for it. Any goroutine may call it.
//
// It returns ErrStuck when the worker does not look at its mail for mailPatience, and at
// once when it has not looked since that happened before; then f does not run, not even
// later, so that what it uses is the caller's again.
func (w *Worker) Do(f func()) error {
	return w.DoInSteps(func() bool { f(); return false })
}

// DoInSteps is Do for what would be too long between two polls: step runs once after each
// poll until it returns false. The caller is woken once for all of them, which costs more
// than a short step does. When it returns ErrStuck some steps may have been done.
// Source: CT-9.
func (w *Worker) DoInSteps(step func() (more bool)) error {
	m := &w.mail
	patience := time.NewTimer(mailPatience)
	defer patience.Stop()
	select {
	case m.turn <- struct{}{}:
	case <-patience.C:
		return w.stuck()
	}
	defer func() { <-m.turn }()
	r := &request{step: step, done: make(chan struct{})}
	if !m.running.Load() {
		r.finish()
		return nil
	}
	if !m.post.CompareAndSwap(nil, r) { // what was withdrawn still lies there
		return w.stuck()
	}
	for before := uint32(0); ; {
		select {
		case <-r.done:
			return nil
		case <-m.stopped:
			if r.taken.CompareAndSwap(false, true) { // the worker left before the end
				r.finish()
			}
			return nil
		case <-patience.C:
			steps := r.steps.Load()
			if steps == before && r.taken.CompareAndSwap(false, true) {
				return w.stuck()
			}
			before = steps // it goes on, or is at a step, which is short
			patience.Reset(mailPatience)
		}
	}
}

// finish does the steps that are left in the caller's thread.
func (r *request) finish() {
	for more := true; more; {
		more = r.step()
	}
}

func (w *Worker) stuck() error {
	return fmt.Errorf("%w: worker %d does not come back from its poll", ErrStuck, w.config.Index)
}

// Read makes c and flows a consistent copy of the worker's counters. When it returns
// ErrStuck, they are as they were.
func (w *Worker) Read(c *Counters, flows *ct.Stats) error {
	ports := make([]PortCounters, len(w.counter.Ports)) // here: the worker must not allocate
	return w.Do(func() {
		copy(ports, w.counter.Ports)
		*c = w.counter
		c.Ports = ports
		if w.reassembly != nil {
			c.Reassembly = w.reassembly.store.FragmentStats
		}
		if w.table != nil {
			*flows = w.table.Stats
		}
	})
}

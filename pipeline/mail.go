package pipeline

import (
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ffwd/ct"
)

// ErrStuck tells that the worker does not come back from a poll. Nothing may be taken from under
// it until it does.
var ErrStuck = errors.New("worker stuck")

// mailbox is how control has things done between two polls.
type mailbox struct {
	turn    chan struct{} // of capacity 1: who has put something in may post
	post    atomic.Pointer[request]
	running atomic.Bool   // changed with the turn
	stopped chan struct{} // closed when the worker runs no more
	thread  atomic.Int32  // ID of the worker's, 0: none yet
	steps   atomic.Uint64 // done for anybody
}

func newMailbox() mailbox {
	return mailbox{turn: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// request is something that control wants done between two polls, in as many steps as it
// has, one a poll.
type request struct {
	step  func() (more bool)
	taken atomic.Bool // while the worker is at a step, or by DoInSteps to have the rest left undone
	done  chan struct{}
}

// begin says that the worker looks at its mail from now on.
func (m *mailbox) begin() {
	m.thread.Store(int32(unix.Gettid()))
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
		m.steps.Add(1)
		r.taken.Store(false)
	default:
		m.steps.Add(1)
		m.post.Store(nil)
		close(r.done)
	}
}

// Do runs f on the worker's thread between two polls, or here when the worker
// does not run, and returns when it has run. f sees a consistent state and must
// be short: the worker's packets wait for it. Any goroutine may call it.
//
// It returns ErrStuck when the worker does not look at its mail for long, see patience, and
// at once when it has not looked since that happened before; then f does not run, not even
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
	looks := time.NewTicker(lookEvery)
	defer looks.Stop()
	p := newPatience(func() (bool, time.Duration) { return lookAtThread(m.thread.Load()) }, m.steps.Load)
	for mine := false; !mine; {
		select {
		case m.turn <- struct{}{}:
			mine = true
		case <-looks.C:
			if p.ends() {
				return p.err(w.config.Index)
			}
		}
	}
	defer func() { <-m.turn }()
	r := &request{step: step, done: make(chan struct{})}
	if !m.running.Load() {
		m.finish(r)
		return nil
	}
	if !m.post.CompareAndSwap(nil, r) { // what was withdrawn still lies there
		return p.err(w.config.Index)
	}
	for p.anew(); ; {
		select {
		case <-r.done:
			return nil
		case <-m.stopped:
			if r.taken.CompareAndSwap(false, true) { // the worker left before the end
				m.finish(r)
			}
			return nil
		case <-looks.C:
			if p.ends() && r.taken.CompareAndSwap(false, true) { // else it is at a step, which is short
				return p.err(w.config.Index)
			}
		}
	}
}

// finish does the steps that are left in the caller's thread.
func (m *mailbox) finish(r *request) {
	for more := true; more; m.steps.Add(1) {
		more = r.step()
	}
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

package pipeline

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// generous is how long a machine that others use may take for what takes it a second alone.
const generous = 20 * time.Second

// stickingRx is a receive queue in which a worker stays when it is told to.
type stickingRx struct {
	stick   atomic.Bool
	inside  chan struct{} // closed when a worker is in it
	release chan struct{} // closed to let it go
}

func newStickingRx() *stickingRx {
	return &stickingRx{inside: make(chan struct{}), release: make(chan struct{})}
}

func (q *stickingRx) Rx(unsafe.Pointer, int) int {
	if q.stick.CompareAndSwap(true, false) {
		close(q.inside)
		<-q.release
	}
	return 0
}

// sticking is a worker that runs, and its queue.
func sticking(t *testing.T) (*Worker, *stickingRx, *Group) {
	q := newStickingRx()
	w := newWorld(t, func(c *Config, _ *world) {
		c.Rx = []Receive{{Queue: q}}
		c.Enter, c.Leave = func() error { return nil }, func() {}
	})
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		ended <- w.worker.Run()
	}()
	group := w.worker.config.Group
	t.Cleanup(func() {
		group.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w.worker, q, group
}

// Who asks a worker that is stuck is told so, the first after a while and the others at
// once; what they wanted is never done. When it comes back, it answers again.
//
// Source: CT-9.
func TestStuckWorkerIsNotWaitedFor(t *testing.T) {
	w, q, _ := sticking(t)
	if err := w.Do(func() {}); err != nil {
		t.Fatal(err)
	}
	q.stick.Store(true)
	<-q.inside
	late := func() { t.Error("done although nobody waits any more") }
	for i, atMost := range []time.Duration{generous, lookEvery * stuckLooks / 2, lookEvery * stuckLooks / 2} {
		start := time.Now()
		if err := w.Do(late); !errors.Is(err, ErrStuck) {
			t.Fatalf("%v is no ErrStuck", err)
		}
		if took := time.Since(start); took > atMost {
			t.Errorf("call %d took %v", i, took)
		}
	}
	close(q.release)
	for ran := false; !ran; {
		if err := w.Do(func() { ran = true }); err != nil && !errors.Is(err, ErrStuck) {
			t.Fatal(err)
		}
	}
}

// Many at once wait for a stuck worker no longer than one does.
func TestManyAskAStuckWorker(t *testing.T) {
	w, q, _ := sticking(t)
	q.stick.Store(true)
	<-q.inside
	start := time.Now()
	answers := make(chan error)
	const callers = 50
	for range callers {
		go func() { answers <- w.Do(func() { t.Error("done") }) }()
	}
	for range callers {
		if err := <-answers; !errors.Is(err, ErrStuck) {
			t.Errorf("%v is no ErrStuck", err)
		}
	}
	if took := time.Since(start); took > generous {
		t.Errorf("%d callers took %v", callers, took)
	}
	close(q.release)
}

// Requests while workers come and go are done exactly once each, wherever.
func TestRequestsAreDoneOnce(t *testing.T) {
	for range 20 {
		w, _, group := sticking(t)
		asked, done := 100, 0
		for i := range asked {
			if err := w.Do(func() { done++ }); err != nil {
				t.Fatal(err)
			}
			if i == asked/2 {
				group.Stop()
			}
		}
		if done != asked {
			t.Fatalf("%d of %d done", done, asked)
		}
	}
}

// What is done in steps is done one step a poll, in order, and to its end when the worker
// leaves in between; when it sticks in between, the rest is left undone.
//
// Source: CT-9.
func TestRequestsInSteps(t *testing.T) {
	w, q, group := sticking(t)
	for begun := false; !begun; {
		if err := w.Do(func() { begun = w.counter.Polls > 0 }); err != nil {
			t.Fatal(err)
		}
	}
	var polls []uint64
	step := func() bool {
		polls = append(polls, w.counter.Polls)
		return len(polls) < 50
	}
	if err := w.DoInSteps(step); err != nil || len(polls) != 50 {
		t.Fatalf("%d steps, %v", len(polls), err)
	}
	for i := range polls {
		if polls[i] != polls[0]+uint64(i) {
			t.Fatalf("steps in the polls %v", polls)
		}
	}
	done := 0
	err := w.DoInSteps(func() bool {
		done++
		q.stick.Store(done == 10) // in the next poll, before its step
		return true
	})
	if !errors.Is(err, ErrStuck) || done != 10 {
		t.Errorf("after %d steps: %v", done, err)
	}
	close(q.release)
	for err = ErrStuck; errors.Is(err, ErrStuck); {
		err = w.Do(func() {})
	}
	if err != nil || done != 10 {
		t.Fatalf("%d steps after it gave up: %v", done, err)
	}
	done = 0
	if err := w.DoInSteps(func() bool {
		if done++; done == 10 {
			group.Stop()
		}
		return done < 1000
	}); err != nil || done != 1000 {
		t.Errorf("%d steps of a worker that left: %v", done, err)
	}
}

// The workers of a group that is aborted leave without the one that is stuck.
func TestAbortLeavesTheStuckBehind(t *testing.T) {
	w := pair(t, 64)
	q := newStickingRx()
	q.stick.Store(true)
	ended := [2]chan error{make(chan error, 1), make(chan error, 1)}
	for i := range w {
		c := &w[i].worker.config
		c.Enter, c.Leave = func() error { return nil }, func() {}
		c.Rx = nil
		if i == 0 {
			c.Rx = []Receive{{Queue: q}}
		}
		go func() { ended[i] <- w[i].worker.Run() }()
	}
	<-q.inside
	group := w[0].worker.config.Group
	group.Stop()
	select {
	case <-ended[1]:
		t.Fatal("it left before all had stopped to receive")
	default:
	}
	group.Abort()
	if err := <-ended[1]; err != nil {
		t.Error(err)
	}
	close(q.release)
	if err := <-ended[0]; err != nil {
		t.Error(err)
	}
}

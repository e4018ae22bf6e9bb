package pipeline

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What control makes of a worker that does not look at its mail: stuck after a second if it
// had time for a poll or wants none, after five if its core is not given to it, and never as
// long as it does what anybody asked for. Source: CT-9
func TestPatience(t *testing.T) {
	type looks struct {
		runnable bool
		cpu      time.Duration // more, by each look
		steps    uint64        // more, before each look
	}
	for name, c := range map[string]struct {
		looks looks
		want  int // looks until it ends; 0: never
	}{
		"asleep in a driver":   {looks{false, 0, 0}, stuckLooks},
		"spins in a driver":    {looks{true, lookEvery, 0}, stuckLooks + 1},
		"gets no time":         {looks{true, 0, 0}, starvedLooks},
		"gets hardly any time": {looks{true, time.Millisecond, 0}, starvedLooks},
		"works for others":     {looks{false, 0, 1}, 0},
	} {
		var now looks
		p := newPatience(func() (bool, time.Duration) { now.cpu += c.looks.cpu; return c.looks.runnable, now.cpu },
			func() uint64 { return now.steps })
		ended := 0
		for i := 1; i <= 10*starvedLooks && ended == 0; i++ {
			now.steps += c.looks.steps
			if p.ends() {
				ended = i
			}
		}
		if ended != c.want {
			t.Errorf("%s: ends with look %d, want %d", name, ended, c.want)
		}
	}
}

// One that goes on late has all patience again.
func TestPatienceBeginsAnew(t *testing.T) {
	steps := uint64(0)
	p := newPatience(func() (bool, time.Duration) { return false, 0 }, func() uint64 { return steps })
	for range 3 {
		for range stuckLooks - 1 {
			if p.ends() {
				t.Fatal("it ended although there was a step")
			}
		}
		steps++
		if p.ends() {
			t.Fatal("it ended with a step")
		}
	}
}

// What the kernel says of threads that spin, that wait, and that are not there.
func TestLookAtThread(t *testing.T) {
	var id [2]atomic.Int32
	var over atomic.Bool
	wait := make(chan struct{})
	work := [2]func(){
		func() {
			for !over.Load() {
			}
		},
		func() { <-wait },
	}
	ended := make(chan struct{})
	for i := range id {
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends too
			id[i].Store(int32(unix.Gettid()))
			work[i]()
			ended <- struct{}{}
		}()
	}
	defer func() { over.Store(true); close(wait); <-ended; <-ended }()
	look := func(i int) (bool, time.Duration) { return lookAtThread(id[i].Load()) }
	for end := time.Now().Add(generous); ; runtime.Gosched() {
		spins, cpu := look(0)
		waits, none := look(1)
		if spins && cpu > runsAtLeast && !waits && none < cpu {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("one that spins: %v, %v; one that waits: %v, %v", spins, cpu, waits, none)
		}
	}
	for _, id := range []int32{0, -1, 1 << 30} {
		if runnable, cpu := lookAtThread(id); runnable || cpu != 0 {
			t.Errorf("thread %d: %v, %v", id, runnable, cpu)
		}
	}
}

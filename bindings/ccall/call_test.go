//go:build amd64

package ccall_test

import (
	"io"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"testing"

	"ffwd/bindings"
)

// Calls give C its argument and Go the result while stacks grow and move, the garbage is
// collected, goroutines are preempted and a profiler sends signals into the C code.
func TestCallsAmongSignals(t *testing.T) {
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		t.Fatal(err)
	}
	defer pprof.StopCPUProfile()
	var calls atomic.Int64
	var all sync.WaitGroup
	for g := range 2 * runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := range 200 {
				if got := deep(t, 10*(i%40), i); got != i+1 {
					t.Errorf("goroutine %d: %d, want %d", g, got, i+1)
					return
				}
				for j := range 1000 {
					if got := bindings.Echo(j); got != j+1 {
						t.Errorf("goroutine %d: %d, want %d", g, got, j+1)
						return
					}
					calls.Add(1)
				}
				runtime.Gosched()
			}
		})
	}
	stop := make(chan struct{})
	collected := make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				collected <- n
				return
			default:
				runtime.GC()
			}
		}
	}()
	all.Wait()
	close(stop)
	if n := <-collected; n == 0 {
		t.Error("nothing was collected meanwhile")
	}
	if want := int64(2 * runtime.GOMAXPROCS(0) * 200 * 1000); calls.Load() != want {
		t.Errorf("%d calls, want %d", calls.Load(), want)
	}
}

// deep calls C at the bottom of a stack that has to grow for it.
func deep(t *testing.T, depth, x int) int {
	var room [256]byte
	room[x%len(room)] = 1
	if depth > 0 {
		return deep(t, depth-1, x) + int(room[(x+1)%len(room)])
	}
	return bindings.Echo(x)
}

func BenchmarkCall(b *testing.B) {
	for b.Loop() {
		bindings.Echo(1)
	}
}

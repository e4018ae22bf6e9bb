package epoch

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestNothingIsFreedBeforeEveryOnlineMemberPassed(t *testing.T) {
	var d Domain
	a, b, idle := d.Join(), d.Join(), d.Join()
	a.Online()
	b.Online()
	freed := false
	d.Retire(func() { freed = true })
	steps := []struct {
		name string
		do   func()
		want bool
	}{
		{"nobody has passed", func() {}, false},
		{"one has passed", a.Quiescent, false},
		{"a newcomer counts only from now on", func() { d.Join().Online() }, false},
		{"an idle member comes and goes", func() { idle.Online(); idle.Offline() }, false},
		{"both have passed", b.Quiescent, true},
	}
	for _, s := range steps {
		s.do()
		d.Reclaim()
		if freed != s.want {
			t.Fatalf("%s: freed is %v", s.name, freed)
		}
	}
	if d.Lag() != 0 {
		t.Fatal("lag with nothing retired")
	}
}

// A member that was offline for a while in which nothing was retired holds back again.
func TestBackOnlineHoldsBack(t *testing.T) {
	var d Domain
	m := d.Join()
	m.Online()
	m.Offline()
	m.Online()
	freed := false
	d.Retire(func() { freed = true })
	if d.Reclaim(); freed {
		t.Fatal("freed under an online member")
	}
	m.Quiescent()
	if d.Reclaim(); !freed {
		t.Fatal("not freed though the member has passed")
	}
}

func TestStalledWorkerShowsInLagAndLeavingReleases(t *testing.T) {
	var d Domain
	m := d.Join()
	m.Online()
	freed := 0
	for range 10 {
		d.Retire(func() { freed++ })
	}
	if _, waiting := d.Reclaim(); waiting != 10 || freed != 0 || d.Lag() <= 0 {
		t.Fatalf("waiting %d freed %d lag %v", waiting, freed, d.Lag())
	}
	m.Offline()
	m.Leave()
	if n, waiting := d.Reclaim(); n != 10 || waiting != 0 || freed != 10 {
		t.Fatalf("freed %d (%d) waiting %d", n, freed, waiting)
	}
}

// Readers chase a published pointer while control replaces it and poisons what
// it retired: a reader that ever sees poison was given freed memory.
func TestReadersNeverSeeFreedMemory(t *testing.T) {
	const poison = 0xdead
	type object struct{ value uint64 }
	var d Domain
	var current atomic.Pointer[object]
	current.Store(&object{1})
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		m := d.Join()
		wg.Add(1)
		go func() {
			defer wg.Done()
			m.Online()
			for !stop.Load() {
				o := current.Load()
				for range 4 {
					if o.value == poison { // a data race too, under -race, if freed early
						t.Error("read freed memory")
						return
					}
					runtime.Gosched()
				}
				m.Quiescent()
			}
			m.Offline()
		}()
	}
	for i := range uint64(5000) {
		old := current.Swap(&object{i + 2})
		d.Retire(func() { old.value = poison })
		d.Reclaim()
		runtime.Gosched()
	}
	stop.Store(true)
	wg.Wait()
	if _, waiting := d.Reclaim(); waiting != 0 {
		t.Fatalf("%d objects leaked", waiting)
	}
}

func BenchmarkQuiescent(b *testing.B) {
	var d Domain
	m := d.Join()
	m.Online()
	for b.Loop() {
		m.Quiescent()
	}
}

package control

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// affinity is which cores this process may use, as it was before Start.
type affinity struct {
	allowed unix.CPUSet
	workers []int
}

// readAffinity notes the process's cores and checks that every worker's core is
// among them.
func readAffinity(workers []int) (*affinity, error) {
	a := &affinity{workers: workers}
	if err := unix.SchedGetaffinity(os.Getpid(), &a.allowed); err != nil {
		return nil, fmt.Errorf("read cpu affinity: %w", err)
	}
	for i, core := range workers {
		if !a.allowed.IsSet(core) {
			return nil, fmt.Errorf("workers.cores[%d]: core %d does not exist or is not for this process: choose among %v, or see taskset and cgroup cpusets",
				i, core, cores(&a.allowed))
		}
	}
	return a, nil
}

// others returns the cores without a worker, for everything that must not
// disturb one. Where every core has a worker it returns all of them.
func (a *affinity) others() []int {
	all := cores(&a.allowed)
	rest := slices.DeleteFunc(slices.Clone(all), func(core int) bool { return slices.Contains(a.workers, core) })
	if len(rest) == 0 {
		return all
	}
	return rest
}

// keepOff moves every thread of the process to the cores without workers.
// Threads that the Go runtime starts later inherit it; a worker moves its own
// thread to its core.
func (a *affinity) keepOff() error {
	var set unix.CPUSet
	for _, core := range a.others() {
		set.Set(core)
	}
	return moveThreads(&set)
}

// restore undoes keepOff.
func (a *affinity) restore() error { return moveThreads(&a.allowed) }

func moveThreads(set *unix.CPUSet) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			continue
		}
		if err := unix.SchedSetaffinity(tid, set); err != nil && !errors.Is(err, unix.ESRCH) { // ended meanwhile
			return fmt.Errorf("set cpu affinity of thread %d: %w", tid, err)
		}
	}
	return nil
}

// pin moves the calling thread, which the caller has locked, to one core.
func pin(core int) error {
	var set unix.CPUSet
	set.Set(core)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to core %d: %w", core, err)
	}
	return nil
}

func cores(set *unix.CPUSet) []int {
	list := make([]int, 0, set.Count())
	for core := 0; len(list) < set.Count(); core++ {
		if set.IsSet(core) {
			list = append(list, core)
		}
	}
	return list
}

// raiseProcs gives the Go scheduler a processor for each worker, which never
// lets go of it, beside those for everything else. It returns how to undo it.
func raiseProcs(workers int) (undo func() error) {
	before := runtime.GOMAXPROCS(workers + max(2, runtime.NumCPU()))
	return func() error {
		runtime.GOMAXPROCS(before)
		return nil
	}
}

package pipeline

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// How long control waits for a worker that does not look at its mail. A poll takes
// microseconds. Looks are counted, not time: one that comes late, because the machine gives
// this process nothing or sleeps, is one all the same.
const (
	lookEvery    = 100 * time.Millisecond
	stuckLooks   = 10 // of a worker that runs, or waits for something
	starvedLooks = 50 // of one that would run if its core were given to it
)

// runsAtLeast is how much time on its core tells that a worker is in a poll that does not
// end, not before the next one.
const runsAtLeast = 50 * time.Millisecond

// patience is one caller's wait for a worker. It starts anew whenever the worker does
// something that it was asked for, for whomever: others may wait as well, and a request may
// have many steps.
type patience struct {
	look    func() (runnable bool, cpu time.Duration) // at the worker's thread
	steps   func() uint64                             // that the worker has done
	seen    uint64                                    // of them
	cpu     time.Duration                             // at the first look
	idle    int                                       // looks at one that had time, or wanted none
	starved int                                       // the others
}

func newPatience(look func() (bool, time.Duration), steps func() uint64) patience {
	p := patience{look: look, steps: steps}
	p.anew()
	return p
}

func (p *patience) anew() {
	p.seen, p.idle, p.starved = p.steps(), 0, 0
}

// ends takes another look, and reports whether it was the last.
func (p *patience) ends() bool {
	if p.steps() != p.seen {
		p.anew()
		return false
	}
	runnable, cpu := p.look()
	if p.idle+p.starved == 0 {
		p.cpu = cpu
	}
	if runnable && cpu-p.cpu < runsAtLeast {
		p.starved++
	} else {
		p.idle++
	}
	return p.idle >= stuckLooks || p.idle+p.starved >= starvedLooks
}

// err says what keeps the worker.
func (p *patience) err(worker int) error {
	if p.starved > p.idle {
		return fmt.Errorf("%w: worker %d gets no time on its core: does something else run there?", ErrStuck, worker)
	}
	return fmt.Errorf("%w: worker %d does not come back from its poll", ErrStuck, worker)
}

// lookAtThread tells whether a thread of this process runs or would run if it could, and how
// long it has run. Of a thread that is not there, or cannot be seen, it says neither.
func lookAtThread(id int32) (runnable bool, cpu time.Duration) {
	const perThread, scheduled = 4, 2 // CPUCLOCK_PERTHREAD_MASK and CPUCLOCK_SCHED of the kernel's clock IDs
	var ts unix.Timespec
	if id == 0 || unix.ClockGettime(^id<<3|perThread|scheduled, &ts) != nil {
		return false, 0
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", id)) // ID (name) state ...
	_, state, found := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte{' '})
	if err != nil || !found {
		return false, 0
	}
	return bytes.HasPrefix(state, []byte{'R'}), time.Duration(ts.Nano())
}

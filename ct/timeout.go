package ct

import (
	"sync/atomic"
	"time"
	"unsafe"
)

const stateMask = 31 // NumStates fits: Timeouts has as many, which drops a bounds check

// Timeouts holds, for every state, how many ticks a flow in it lives after its
// latest packet.
//
// Workers are given the protocols' defaults with the timeout policies' rows behind
// them (Policies.Timeouts), or a set alone, when no flow has a policy.
type Timeouts [stateMask + 1]uint32

// MaxTimeout is the longest timeout: deadlines are compared by the sign of a
// 32-bit difference of ticks.
const MaxTimeout = 24 * 24 * time.Hour

// DefaultTimeouts are the defaults of Linux's trackers.
func DefaultTimeouts() *Timeouts { return NewTimeouts(nil) }

// NewTimeouts builds a set from durations, each at most MaxTimeout. A state left
// out has its default.
func NewTimeouts(of map[State]time.Duration) *Timeouts {
	var t Timeouts
	for s := range NumStates {
		idle, given := of[s]
		if !given {
			idle = states[s].idle
		}
		t[s] = max(1, uint32(idle>>tickShift))
	}
	t[UDPAnswered] = t[UDPUnreplied]
	return &t
}

// of returns the row of a policy, 0 for none; t is the row of the defaults.
func (t *Timeouts) of(policy uint16) *Timeouts {
	return (*Timeouts)(unsafe.Add(unsafe.Pointer(t), uintptr(policy)*unsafe.Sizeof(*t)))
}

// at returns the timeout of a state. Control may be changing it (TO-2); the load is
// one like any other on the machines we run on.
func (t *Timeouts) at(state State) uint32 { return atomic.LoadUint32(&t[state&stateMask]) }

// set changes a row under the eyes of workers, who see each value whole.
func (t *Timeouts) set(to *Timeouts) {
	for s := range t {
		atomic.StoreUint32(&t[s], to[s])
	}
}

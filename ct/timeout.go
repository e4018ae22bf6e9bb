package ct

import "time"

const stateMask = 31 // NumStates fits: Timeouts has as many, which drops a bounds check

// Timeouts holds, for every state, how many ticks a flow in it lives after its
// latest packet. Immutable once workers can see it.
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

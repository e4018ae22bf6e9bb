package ct

import "time"

// Timeouts holds, for every state, how many ticks a flow in it lives after its
// latest packet. Immutable once workers can see it.
type Timeouts [stateMask + 1]uint32

// DefaultTimeouts are the defaults of Linux's trackers.
func DefaultTimeouts() *Timeouts {
	return NewTimeouts(map[State]time.Duration{
		UDPUnreplied:   30 * time.Second,
		UDPReplied:     120 * time.Second,
		ICMPQuery:      30 * time.Second,
		ICMPv6Query:    30 * time.Second,
		TCPSynSent:     120 * time.Second,
		TCPSynRecv:     60 * time.Second,
		TCPEstablished: 5 * 24 * time.Hour,
		TCPFinWait:     120 * time.Second,
		TCPCloseWait:   60 * time.Second,
		TCPLastAck:     30 * time.Second,
		TCPTimeWait:    120 * time.Second,
		TCPClose:       10 * time.Second,
	})
}

// NewTimeouts builds a set from durations, each at most 24 days. A state left
// out lives 600 s, the generic tracker's default.
func NewTimeouts(of map[State]time.Duration) *Timeouts {
	var t Timeouts
	for s := range t {
		t[s] = uint32(600 * time.Second >> tickShift)
	}
	for s, d := range of {
		t[s] = max(1, uint32(d>>tickShift))
	}
	return &t
}

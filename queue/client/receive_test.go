package client

import (
	"testing"
	"time"
)

// Receive looks for packets as long as they come quickly; where little comes it sleeps at
// once, and the first wait that looking would have ended makes it look again. Source: VQ-7
func TestLookingFollowsTheTraffic(t *testing.T) {
	l := &Listener{opts: options{spin: 40 * time.Microsecond}, window: 40 * time.Microsecond}
	for range 10 {
		l.adapt(time.Millisecond)
	}
	if l.window != 0 {
		t.Errorf("after long waits it looks for %v", l.window)
	}
	if l.adapt(40 * time.Microsecond); l.window != 40*time.Microsecond {
		t.Errorf("after a short wait it looks for %v", l.window)
	}
	if l.adapt(41 * time.Microsecond); l.window != 20*time.Microsecond {
		t.Errorf("after a wait that was too long it looks for %v", l.window)
	}
}

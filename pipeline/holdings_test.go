package pipeline

import (
	"testing"

	"ffwd/packet"
)

// The buffers that NewWorker makes are all in the sum, and what waits for neighbours.
// FF-9, SP-3
func TestMbufsInHand(t *testing.T) {
	const burst, mtu = 64, 1500
	one, two := MbufsInHand(1, burst, mtu), MbufsInHand(2, burst, mtu)
	if two-one != packet.MaxBurst {
		t.Errorf("a port more takes %d mbufs more, want its buffer of %d", two-one, packet.MaxBurst)
	}
	if least := burst + 3*packet.MaxBurst + maxHeld + mtu/8; one < least {
		t.Errorf("%d mbufs, want %d at least", one, least)
	}
	if a, b := MbufsInHand(1, burst, 1<<20), MbufsInHand(1, burst, 1<<21); a != b {
		t.Errorf("the pieces of a packet are not bounded: %d, %d", a, b)
	}
}

package wire

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// Layout is the shape of the two shared memories of a queue, as Welcome tells it.
//
// Packets: for each worker a block of 128 + PacketRing bytes; we alone write it.
//
//	0 tail of the packet ring 64    64 head of the verdict ring 64    128 the packet ring
//
// Verdicts: 64 bytes, then for each worker a block of 128 + VerdictRing bytes.
//
//	 0 sleeping 32
//	64 + worker * (128 + VerdictRing):
//	 0 head of the packet ring 64    64 tail of the verdict ring 64    128 the verdict ring
type Layout struct {
	Workers     int
	PacketRing  int // bytes, a power of two
	VerdictRing int // bytes, a power of two
}

const (
	line      = 64
	laneHead  = 2 * line
	minRing   = 4 << 10
	maxRing   = 1 << 30
	maxLanes  = 256
	maxMemory = 1 << 36
)

// RingBytes returns the size of a ring that holds at least n bytes.
func RingBytes(n int) int { return max(minRing, 1<<bits.Len(uint(n-1))) }

// Check tells whether the layout is one that could be: it may come from the other side.
func (l Layout) Check() error {
	ring := func(n int) bool { return n >= minRing && n <= maxRing && n&(n-1) == 0 }
	if l.Workers < 1 || l.Workers > maxLanes || !ring(l.PacketRing) || !ring(l.VerdictRing) ||
		l.Workers*(l.PacketRing+l.VerdictRing) > maxMemory {
		return fmt.Errorf("queue memory of %d workers with rings of %d and %d bytes: impossible", l.Workers, l.PacketRing, l.VerdictRing)
	}
	return nil
}

// PacketBytes returns the size of the memory for packets.
func (l Layout) PacketBytes() int { return l.Workers * (laneHead + l.PacketRing) }

// VerdictBytes returns the size of the memory for verdicts.
func (l Layout) VerdictBytes() int { return line + l.Workers*(laneHead+l.VerdictRing) }

// Lane is one worker's part of the two memories.
type lane struct {
	packetTail, packetHead   *atomic.Uint64
	verdictTail, verdictHead *atomic.Uint64
	packets, verdicts        []byte
}

func (l Layout) lane(packets, verdicts []byte, worker int) lane {
	p := packets[worker*(laneHead+l.PacketRing):][:laneHead+l.PacketRing]
	v := verdicts[line+worker*(laneHead+l.VerdictRing):][:laneHead+l.VerdictRing]
	at := func(b []byte, off int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&b[off])) }
	return lane{
		packetTail: at(p, 0), verdictHead: at(p, line), packets: p[laneHead:],
		packetHead: at(v, 0), verdictTail: at(v, line), verdicts: v[laneHead:],
	}
}

// SwitchLane returns a worker's ends of its lane: packets out, verdicts in.
func (l Layout) SwitchLane(packets, verdicts []byte, worker int) (Producer, Consumer) {
	n := l.lane(packets, verdicts, worker)
	return Producer{data: n.packets, tail: n.packetTail, head: n.packetHead},
		Consumer{data: n.verdicts, tail: n.verdictTail, head: n.verdictHead}
}

// ListenerLane returns the listener's ends: packets in, verdicts out.
//
// The memory for packets is read-only for a listener, and so it cannot say there how
// far it has read; both of its positions are in the memory for verdicts.
func (l Layout) ListenerLane(packets, verdicts []byte, worker int) (Consumer, Producer) {
	n := l.lane(packets, verdicts, worker)
	return Consumer{data: n.packets, tail: n.packetTail, head: n.packetHead},
		Producer{data: n.verdicts, tail: n.verdictTail, head: n.verdictHead}
}

// Sleeping returns the flag by which the listener asks to be woken. The listener sets
// it, then looks at the rings once more, then waits; who clears it owes a wake-up.
func Sleeping(verdicts []byte) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&verdicts[0]))
}

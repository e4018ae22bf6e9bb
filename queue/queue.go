package queue

import (
	"fmt"
	"sync/atomic"
	"time"

	"ffwd/queue/wire"
)

// Options describe one queue. The limits are those of each worker.
type Options struct {
	Number     uint16
	MaxPackets int           // waiting at once, 1 to MaxPackets
	MaxBytes   int           // of network packets waiting at once
	CopyBytes  int           // of each packet that the listener sees; 0: all
	Timeout    time.Duration // a packet waits; at least a millisecond
	Stall      time.Duration // without any verdict, until the listener counts as gone
}

// Bounds of Options.
const (
	MaxPackets = 1 << 15 // a slot's number has 16 bits in an id
	MaxBytes   = 256 << 20
)

// check tells what is wrong. conf has found the same, with file and line, before.
func (o *Options) check() error {
	if o.MaxPackets < 1 || o.MaxPackets > MaxPackets || o.MaxBytes < 1 || o.MaxBytes > MaxBytes ||
		o.CopyBytes < 0 || o.Timeout < time.Millisecond || o.Stall < time.Millisecond {
		return fmt.Errorf("queue %d: limits out of range: %+v", o.Number, *o)
	}
	return nil
}

// Queue is what all workers and the server know of one queue.
type Queue struct {
	Options
	binding atomic.Pointer[binding] // nil: nobody listens
	claimed atomic.Bool             // by a listener that is there, or whose memory is not gone yet
}

// layout returns the shape of the memory a listener shares with so many workers. The
// packet ring holds whatever the budgets allow to wait, so that it is full only for a
// listener that does not read.
func (q *Queue) layout(workers int) wire.Layout {
	bytes := q.MaxBytes
	if q.CopyBytes > 0 {
		bytes = min(bytes, q.MaxPackets*q.CopyBytes)
	}
	// A record's header and padding, and the end of the ring that the largest
	// record does not fit in.
	packets := wire.RingBytes(q.MaxPackets*wire.PacketRecord(wire.Unit-1) + bytes + maxFrame)
	// Verdicts: one for each packet, or some that rewrite their packets.
	verdicts := wire.RingBytes(max(2*q.MaxPackets*wire.VerdictHeader, 4*maxFrame))
	return wire.Layout{Workers: workers, PacketRing: packets, VerdictRing: verdicts}
}

// maxFrame is the largest network packet an mbuf can hold here, in bytes.
const maxFrame = 1 << 16

// Set is the queues of a switch.
type Set struct {
	queues  []*Queue
	index   [1 << 16]uint16 // by number: place in queues + 1
	workers int
}

// NewSet makes the queues, with which nobody has to do yet, for so many workers.
func NewSet(options []Options, workers int) (*Set, error) {
	s := &Set{workers: workers}
	for _, o := range options {
		if err := o.check(); err != nil {
			return nil, err
		}
		if s.index[o.Number] != 0 {
			return nil, fmt.Errorf("queue %d: twice", o.Number)
		}
		s.queues = append(s.queues, &Queue{Options: o})
		s.index[o.Number] = uint16(len(s.queues))
		if err := s.queues[len(s.queues)-1].layout(workers).Check(); err != nil {
			return nil, fmt.Errorf("queue %d: %w", o.Number, err)
		}
	}
	return s, nil
}

// Lookup returns a queue by its number, or nil.
func (s *Set) Lookup(number uint16) *Queue {
	if i := s.index[number]; i != 0 {
		return s.queues[i-1]
	}
	return nil
}

// Queues returns all queues, in the order they were given. It is not to be written.
func (s *Set) Queues() []*Queue { return s.queues }

// Listening tells whether the queue has a listener now. Any thread may ask.
func (q *Queue) Listening() bool { return q.binding.Load() != nil }

// Listener returns the process that listens, or 0.
func (q *Queue) Listener() int {
	if b := q.binding.Load(); b != nil {
		return b.pid
	}
	return 0
}

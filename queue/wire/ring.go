package wire

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"unsafe"
)

// Unit is what every record's length is a multiple of, and its place in the ring too.
const Unit = 32

// kindSkip fills the end of a ring where the next record does not fit in one piece.
const kindSkip = 0

// ErrCorrupt is what every Corrupt is.
var ErrCorrupt = errors.New("the other side broke the protocol")

// Corrupt says what the other side of a ring did that it may not. The values are made once,
// so that a worker can return them.
type Corrupt struct{ what string }

// Error says what was wrong.
func (c *Corrupt) Error() string { return "queue ring: " + ErrCorrupt.Error() + ": " + c.what }

// Is makes each an ErrCorrupt.
func (c *Corrupt) Is(target error) bool { return target == ErrCorrupt }

var (
	badHead   = &Corrupt{"the head is no multiple of 32, went back, or is beyond the tail"}
	badTail   = &Corrupt{"the tail is no multiple of 32, went back, or is further from the head than the ring is long"}
	badLength = &Corrupt{"the length of a record is 0, no multiple of 32, or reaches beyond the tail or the end of the ring"}
	badFiller = &Corrupt{"a record of kind 0 that begins the ring, or does not reach to its end"}
	badPacket = &Corrupt{"a packet's record of another kind or worker, or shorter than its packet"}

	badAction  = &Corrupt{"a verdict with an action or flag that does not exist"}
	badZero    = &Corrupt{"a verdict with something where zero must be"}
	badRewrite = &Corrupt{"a verdict whose packet is longer than the record, or there without flag 8, missing with it, or for many"}
)

// Producer writes records into a ring. Positions count bytes since the ring was made
// and never wrap; the place in the ring is the position modulo its size.
type Producer struct {
	data []byte
	tail *atomic.Uint64 // ours to write
	head *atomic.Uint64 // the consumer's, so not to be trusted
	next uint64         // end of what was reserved and written
	seen uint64         // head when last read
}

// Consumer reads records from a ring.
type Consumer struct {
	data []byte
	tail *atomic.Uint64 // the producer's, so not to be trusted
	head *atomic.Uint64 // ours to write
	next uint64         // end of what was read
	end  uint64         // tail when last read
}

// Reserve returns room for a record of n bytes, a multiple of Unit, or nil when the
// ring is full. What is written there leaves with the next Publish.
func (p *Producer) Reserve(n int) ([]byte, error) {
	size := uint64(len(p.data))
	at := p.next & (size - 1)
	need := uint64(n)
	if at+need > size {
		need += size - at
	}
	if need > size {
		return nil, nil
	}
	if p.next+need-p.seen > size {
		head := p.head.Load()
		// It may have gone forward, and not past what was written.
		if head-p.seen > p.next-p.seen || head%Unit != 0 {
			return nil, badHead
		}
		p.seen = head
		if p.next+need-head > size {
			return nil, nil
		}
	}
	if need != uint64(n) {
		binary.LittleEndian.PutUint64(p.data[at:], size-at|kindSkip<<32)
		p.next += size - at
		at = 0
	}
	p.next += uint64(n)
	return p.data[at : at+uint64(n) : at+uint64(n)], nil
}

// Publish lets the consumer see the records. The store is sequentially consistent:
// records are visible before it, and a look at the consumer's sleeping flag comes
// after it.
func (p *Producer) Publish() {
	if p.tail.Load() != p.next {
		p.tail.Store(p.next)
	}
}

// Pending tells whether there are records that were not published.
func (p *Producer) Pending() bool { return p.tail.Load() != p.next }

// Consumed returns how far the consumer has read, as far as it is to be believed.
func (p *Producer) Consumed() uint64 { return p.head.Load() }

// Next returns the next record, or nil when there is none. The record lies in memory
// that the other side may change at any time, but for its length, which is that of the
// slice: read each value once.
func (c *Consumer) Next() ([]byte, error) {
	size := uint64(len(c.data))
	for {
		if c.next == c.end {
			tail := c.tail.Load()
			if tail == c.next {
				return nil, nil
			}
			if tail-c.next > size || tail%Unit != 0 {
				return nil, badTail
			}
			c.end = tail
		}
		at := c.next & (size - 1)
		word := (*atomic.Uint64)(unsafe.Pointer(&c.data[at])).Load()
		n, kind := uint64(uint32(word)), uint8(word>>32)
		if n == 0 || n%Unit != 0 || n > c.end-c.next || n > size-at {
			return nil, badLength
		}
		if kind == kindSkip && (at == 0 || n != size-at) { // else one could send nothing but these
			return nil, badFiller
		}
		c.next += n
		if kind != kindSkip {
			return c.data[at : at+n : at+n], nil
		}
	}
}

// Tail returns how far the producer has written, as far as it is to be believed.
func (c *Consumer) Tail() uint64 { return c.tail.Load() }

// Behind tells whether records up to a tail were not released yet. Any thread may ask. A tail
// that cannot be is behind everything.
func (c *Consumer) Behind(tail uint64) bool {
	n := tail - c.head.Load()
	return n != 0 && n <= uint64(len(c.data))
}

// Release gives the room of all records that Next returned back to the producer. It
// may not be read any more.
func (c *Consumer) Release() {
	if c.head.Load() != c.next {
		c.head.Store(c.next)
	}
}

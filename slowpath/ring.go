package slowpath

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"ffwd/mem"
)

// slotHeaderBytes stand before each frame in a ring: interface, length.
const slotHeaderBytes = 8

// ring is a bounded queue of frames: slots of one size, outside the Go heap. One
// producer, one consumer.
//
//	0 iface uint16    2 unused    4 length uint32    8 frame
type ring struct {
	region    *mem.Region
	slotBytes int
	mask      uint32

	_    [64]byte
	tail atomic.Uint32 // next slot to fill; written by the producer
	_    [60]byte
	head atomic.Uint32 // next slot to empty; written by the consumer
	_    [60]byte
}

type slotHeader struct {
	iface  uint16
	_      uint16
	length uint32
}

// newRing maps a ring of slots, a power of two, for frames of up to frameBytes.
// Memory is touched where frames have been.
func newRing(slots, frameBytes int) (*ring, error) {
	const line = 64
	slotBytes := (slotHeaderBytes + frameBytes + line - 1) &^ (line - 1)
	region, err := mem.Map(slots*slotBytes, mem.Plain)
	if err != nil {
		return nil, fmt.Errorf("slow path ring of %d frames: %w", slots, err)
	}
	return &ring{region: region, slotBytes: slotBytes, mask: uint32(slots - 1)}, nil
}

func (r *ring) close() error { return r.region.Close() }

// length returns how many frames are in the ring. Consumer only: to anybody else one
// end may move between the two looks.
func (r *ring) length() int { return int(r.tail.Load() - r.head.Load()) }

func (r *ring) slot(at uint32) (*slotHeader, []byte) {
	slot := unsafe.Add(r.region.Base(), uintptr(at&r.mask)*uintptr(r.slotBytes))
	frame := unsafe.Slice((*byte)(unsafe.Add(slot, slotHeaderBytes)), r.slotBytes-slotHeaderBytes)
	return (*slotHeader)(slot), frame
}

// push adds a frame, given in two pieces, and reports whether there was room for
// it beside reserve free slots. Producer only.
//
// The slot is written before tail, and head is read before the slot is written:
// atomics are sequentially consistent, so a frame is whole when it is seen, and
// gone when it is overwritten.
func (r *ring) push(iface uint16, first, second []byte, reserve uint32) bool {
	at := r.tail.Load()
	length := len(first) + len(second)
	if at-r.head.Load()+reserve > r.mask || length > r.slotBytes-slotHeaderBytes {
		return false
	}
	header, frame := r.slot(at)
	header.iface, header.length = iface, uint32(length)
	copy(frame[copy(frame, first):], second)
	r.tail.Store(at + 1)
	return true
}

// peek returns the oldest frame, valid until pop, and nil when there is none.
// Consumer only.
func (r *ring) peek() (iface uint16, frame []byte) {
	at := r.head.Load()
	if at == r.tail.Load() {
		return 0, nil
	}
	header, room := r.slot(at)
	return header.iface, room[:header.length]
}

// pop removes the frame that peek returned. Consumer only.
func (r *ring) pop() { r.head.Store(r.head.Load() + 1) }

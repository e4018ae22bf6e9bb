package pipeline

import (
	"errors"
	"sync"
	"unsafe"

	"ffwd/packet"
)

// Doubles of queues and pools for single tests.

var errEnter = errors.New("no such core")

// locked, lockedRx and lockedTx let two workers share the tests' pool.
type (
	locked struct {
		mu   *sync.Mutex
		pool Pool
	}
	lockedRx struct {
		mu    *sync.Mutex
		queue RxQueue
	}
	lockedTx struct {
		mu    *sync.Mutex
		queue TxQueue
	}
)

func (l locked) Alloc(dst unsafe.Pointer, n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pool.Alloc(dst, n)
}

func (l locked) Free(src unsafe.Pointer, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pool.Free(src, n)
}

func (l lockedRx) Rx(dst unsafe.Pointer, max int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.Rx(dst, max)
}

func (l lockedTx) Tx(src unsafe.Pointer, n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.Tx(src, n)
}

// preloaded gives one frame per burst and allocates nothing.
type preloaded struct {
	pool  *testPool
	frame []byte
}

func (q *preloaded) Rx(dst unsafe.Pointer, _ int) int {
	if !q.pool.Alloc(dst, 1) {
		return 0
	}
	m := *(**packet.Mbuf)(dst)
	copy(unsafe.Slice((*byte)(m.Data()), bufferBytes-headroom), q.frame)
	m.PktLen, m.DataLen = uint32(len(q.frame)), uint16(len(q.frame))
	return 1
}

// freeing swallows frames.
type freeing struct{ pool *testPool }

func (q freeing) Tx(src unsafe.Pointer, n int) int { q.pool.Free(src, n); return n }

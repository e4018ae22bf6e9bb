package bindings

/*
#include <stdlib.h>
#include <string.h>
#include "shim_burst.h"

static inline void *ffwd_zalloc(size_t size) {
	void *p = NULL;
	if (posix_memalign(&p, RTE_CACHE_LINE_SIZE, size) != 0)
		return NULL;
	return memset(p, 0, size);
}
static inline struct ffwd_rxq *ffwd_rxq_new(uint16_t port, uint16_t queue, struct rte_mempool *pool, const bool *gate) {
	struct ffwd_rxq *q = ffwd_zalloc(sizeof *q);
	if (q != NULL) {
		q->port = port;
		q->queue = queue;
		q->pool = pool;
		q->gate = gate;
	}
	return q;
}
static inline struct ffwd_txq *ffwd_txq_new(uint16_t port, uint16_t queue, rte_spinlock_t *lock, const bool *gate) {
	struct ffwd_txq *q = ffwd_zalloc(sizeof *q);
	if (q != NULL) {
		q->port = port;
		q->queue = queue;
		q->lock = lock;
		q->gate = gate;
	}
	return q;
}
static inline rte_spinlock_t *ffwd_lock_new(void) { return ffwd_zalloc(RTE_CACHE_LINE_SIZE); }

#cgo noescape ffwd_alloc_bulk
#cgo nocallback ffwd_alloc_bulk
#cgo noescape ffwd_free_bulk
#cgo nocallback ffwd_free_bulk
*/
import "C"

import (
	"sync/atomic"
	"unsafe"
)

// The functions that are called without cgo, see call.
var (
	rxBurst = C.ffwd_rx_burst_entry()
	txBurst = C.ffwd_tx_burst_entry()
	echo    = C.ffwd_echo_entry()
)

// RxQueue is one receive queue of a port, in C memory.
type RxQueue struct{ c *C.struct_ffwd_rxq }

// NewRxQueue returns the handle of a queue that the port was configured with. pool is
// that of the queue. Gate{} means none.
func NewRxQueue(port PortID, queue int, pool *Mempool, gate Gate) RxQueue {
	return RxQueue{C.ffwd_rxq_new(C.uint16_t(port), C.uint16_t(queue), pool.c, gate.c)}
}

// Burst receives up to n (at most 65535) mbufs into dst, an array of *mbuf outside
// Go's heap, and returns how many. Every mbuf has one segment, in a buffer of its own
// that nobody else holds. Owner worker only.
func (q RxQueue) Burst(dst unsafe.Pointer, n int) int {
	q.c.array, q.c.n = C.uintptr_t(uintptr(dst)), C.uint16_t(n)
	return int(call(rxBurst, unsafe.Pointer(q.c)))
}

// Linearized returns how many frames were chained, or in a buffer that is not the
// mbuf's own, and were gathered or copied. Any thread.
func (q RxQueue) Linearized() uint64 { return atomic.LoadUint64((*uint64)(&q.c.linearized)) }

// Oversized returns how many of those were freed because they do not fit one segment,
// or because there was no mbuf for the copy. Any thread.
func (q RxQueue) Oversized() uint64 { return atomic.LoadUint64((*uint64)(&q.c.oversized)) }

// Free gives the handle's memory back.
func (q RxQueue) Free() { C.free(unsafe.Pointer(q.c)) }

// TxLock is a spinlock in C memory for device queues that workers share.
type TxLock struct{ c *C.rte_spinlock_t }

// NewTxLock returns an open lock.
func NewTxLock() TxLock { return TxLock{C.ffwd_lock_new()} }

// Free gives the lock's memory back.
func (l TxLock) Free() { C.free(unsafe.Pointer(l.c)) }

// TxQueue is one worker's handle on a transmit queue of a port, in C memory.
type TxQueue struct{ c *C.struct_ffwd_txq }

// NewTxQueue returns a handle of a queue that the port was configured with. With a
// lock, several handles may stand for one device queue; TxLock{} and Gate{} mean none.
func NewTxQueue(port PortID, queue int, lock TxLock, gate Gate) TxQueue {
	return TxQueue{C.ffwd_txq_new(C.uint16_t(port), C.uint16_t(queue), lock.c, gate.c)}
}

// Burst sends n (at most 65535) mbufs of src, an array of *mbuf outside Go's heap,
// and returns how many the device took; the others are still the caller's. It asks
// again a few times as long as the device takes some. Owner worker only.
func (q TxQueue) Burst(src unsafe.Pointer, n int) int {
	q.c.array, q.c.n = C.uintptr_t(uintptr(src)), C.uint16_t(n)
	return int(call(txBurst, unsafe.Pointer(q.c)))
}

// Free gives the handle's memory back.
func (q TxQueue) Free() { C.free(unsafe.Pointer(q.c)) }

// AllocBulk takes n reset mbufs of the pool into dst, an array of *mbuf outside Go's
// heap. All or none: false means the pool has not that many. Registered threads
// are served from their cache.
func (p *Mempool) AllocBulk(dst unsafe.Pointer, n int) bool {
	return C.ffwd_alloc_bulk(p.c, dst, C.uint(n)) == 0
}

// FreeBulk returns n mbufs of src, an array of *mbuf outside Go's heap, each to the
// pool it came from.
func FreeBulk(src unsafe.Pointer, n int) { C.ffwd_free_bulk(src, C.uint(n)) }

// Echo has C return x plus 1: what a call costs, by the way that bursts go.
func Echo(x int) int {
	number := C.int(x)
	return int(call(echo, unsafe.Pointer(&number)))
}

// NewMbufArray returns an array of n mbuf pointers in C memory, all nil, to be given
// back with FreeMbufArray.
func NewMbufArray(n int) unsafe.Pointer {
	return C.calloc(C.size_t(n), C.size_t(unsafe.Sizeof(uintptr(0))))
}

// FreeMbufArray gives the memory of NewMbufArray back.
func FreeMbufArray(array unsafe.Pointer) { C.free(array) }

package pmd

import (
	"unsafe"

	"ffwd/bindings"
)

// RxQueue is one receive queue of a port. It belongs to one worker.
type RxQueue struct {
	q     bindings.RxQueue
	port  *Port
	index int
}

// Rx receives up to max frames into dst, an array of *packet.Mbuf outside Go's heap
// with room for max (at most 65535), and returns how many. The mbufs are the
// caller's, each in one segment of its own: a frame that is chained, or in somebody
// else's buffer, is gathered there, or freed and counted as rx_oversized if it does not
// fit.
//
// Owner worker only, on a started port. It never blocks.
func (q *RxQueue) Rx(dst unsafe.Pointer, max int) int { return q.q.Burst(dst, max) }

// Index returns the queue's number on its port, from 0.
func (q *RxQueue) Index() int { return q.index }

// Port returns the port of the queue.
func (q *RxQueue) Port() *Port { return q.port }

// TxQueue is one worker's way out of a port.
type TxQueue struct {
	q      bindings.TxQueue
	port   *Port
	index  int
	shared bool
}

// Tx sends the n (at most 65535) frames of src, an array of *packet.Mbuf outside Go's
// heap, and returns how many the device took. Those are DPDK's; the others, at the
// end of the array, are still the caller's, who counts and frees them.
//
// Owner worker only, on a started port. A shared queue spins while another worker
// is sending on the same device queue.
func (q *TxQueue) Tx(src unsafe.Pointer, n int) int { return q.q.Burst(src, n) }

// Shared reports whether other TxQueues stand for the same device queue, so that
// every Tx takes a lock.
func (q *TxQueue) Shared() bool { return q.shared }

// Index returns the queue's number among the port's TxQueues, from 0.
func (q *TxQueue) Index() int { return q.index }

// Port returns the port of the queue.
func (q *TxQueue) Port() *Port { return q.port }

// makeQueues makes the handles of a configured port: one RxQueue for each of nRx
// device queues, and wanted TxQueues over nTx device queues, with a lock on each
// device queue that serves more than one.
func (p *Port) makeQueues(nRx, nTx, wanted int, pool *Pool) {
	if p.device.driver.unguarded {
		p.gate = bindings.NewGate()
	}
	for i := range nRx {
		p.rx = append(p.rx, &RxQueue{q: bindings.NewRxQueue(p.id, i, pool.mempool, p.gate), port: p, index: i})
	}
	p.nTx = nTx
	locks := make([]bindings.TxLock, nTx)
	for i := range max(wanted-nTx, 0) {
		if i < nTx {
			locks[i] = bindings.NewTxLock()
			p.locks = append(p.locks, locks[i])
		}
	}
	for i := range max(wanted, nTx) {
		lock := locks[i%nTx]
		p.tx = append(p.tx, &TxQueue{
			q:      bindings.NewTxQueue(p.id, i%nTx, lock, p.gate),
			port:   p,
			index:  i,
			shared: lock != bindings.TxLock{},
		})
	}
}

func (p *Port) freeQueues() {
	for _, q := range p.rx {
		q.q.Free()
	}
	for _, q := range p.tx {
		q.q.Free()
	}
	for _, lock := range p.locks {
		lock.Free()
	}
	p.gate.Free()
	p.rx, p.tx, p.locks, p.gate = nil, nil, nil, bindings.Gate{}
}

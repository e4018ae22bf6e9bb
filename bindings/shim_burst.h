/* The hot calls: ethdev's and mbuf's static inline functions, one call per burst. */
#ifndef FFWD_SHIM_BURST_H
#define FFWD_SHIM_BURST_H

#include <stdint.h>

#include <rte_branch_prediction.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_spinlock.h>

#include "shim_gate.h"

/*
 * A receive queue as its worker holds it. The counters have that one writer. array and n are
 * the arguments of the next burst, a number because Go looks at every pointer it stores.
 */
struct ffwd_rxq {
	uint16_t port;
	uint16_t queue;
	uint16_t n;
	uintptr_t array; /* of struct rte_mbuf * */
	struct rte_mempool *pool; /* where copies are made */
	const bool *gate;    /* NULL: bursts need not pass it */
	uint64_t linearized; /* frames gathered into one segment of their own */
	uint64_t oversized;  /* frames freed: they do not fit one segment */
} __rte_cache_aligned;

/* A transmit queue as one worker holds it, likewise; several may share one device queue. */
struct ffwd_txq {
	uint16_t port;
	uint16_t queue;
	uint16_t n;
	uintptr_t array;
	rte_spinlock_t *lock; /* NULL: the device queue is this worker's alone */
	const bool *gate; /* as in ffwd_rxq */
} __rte_cache_aligned;

/* A relaxed store is enough: a reader wants a value that was once true, not an order. */
static inline void
ffwd_count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

/*
 * Whether the worker may do with an mbuf what it likes: one segment, in a buffer of
 * its own that nobody else holds. It writes in front of the frame and clears
 * ol_flags, and with them the bits that say whose an attached buffer is.
 */
static inline int
ffwd_is_plain(const struct rte_mbuf *m)
{
	return m->nb_segs == 1 && RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1;
}

/* Make frames plain, free those that do not fit one segment, close the gaps. */
static __rte_noinline uint16_t
ffwd_rx_flatten(struct ffwd_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		if (!ffwd_is_plain(m)) {
			if (!RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) != 1) {
				struct rte_mbuf *copy = rte_pktmbuf_copy(m, q->pool, 0, UINT32_MAX);
				rte_pktmbuf_free(m);
				m = copy;
			}
			if (m == NULL || rte_pktmbuf_linearize(m) != 0) {
				ffwd_count(&q->oversized);
				rte_pktmbuf_free(m);
				continue;
			}
			ffwd_count(&q->linearized);
		}
		pkts[kept++] = m;
	}
	return kept;
}

/* The two calls of every burst, by ccall: one argument, and no lock whose holder may wait for Go. */
static int
ffwd_rx_burst(void *queue)
{
	struct ffwd_rxq *q = queue;
	struct rte_mbuf **pkts = (struct rte_mbuf **)q->array;
	uint16_t got;
	uint64_t odd = 0;

	if (unlikely(q->gate != NULL) && !ffwd_gate_enter(q->gate))
		return 0;
	got = rte_eth_rx_burst(q->port, q->queue, pkts, q->n);
	if (unlikely(q->gate != NULL))
		ffwd_gate_leave();

	/* The driver has just written these cache lines. As ffwd_is_plain, without branches. */
	for (uint16_t i = 0; i < got; i++) {
		const struct rte_mbuf *m = pkts[i];
		odd |= (uint64_t)(m->nb_segs ^ 1) | (uint64_t)(m->refcnt ^ 1) |
		       (m->ol_flags & (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL));
	}
	if (unlikely(odd != 0))
		got = ffwd_rx_flatten(q, pkts, got);
	return got;
}

/* A driver that takes a part of a burst often takes more at once: ask a few times. */
#define FFWD_TX_TRIES 8

static int
ffwd_tx_burst(void *queue)
{
	struct ffwd_txq *q = queue;
	struct rte_mbuf **pkts = (struct rte_mbuf **)q->array;
	uint16_t n = q->n, sent;

	if (unlikely(q->gate != NULL) && !ffwd_gate_enter(q->gate))
		return 0;
	if (unlikely(q->lock != NULL))
		rte_spinlock_lock(q->lock);
	sent = rte_eth_tx_burst(q->port, q->queue, pkts, n);
	for (int tries = 1; unlikely(sent < n) && tries < FFWD_TX_TRIES; tries++) {
		uint16_t more = rte_eth_tx_burst(q->port, q->queue, pkts + sent, n - sent);
		if (more == 0)
			break;
		sent += more;
	}
	if (unlikely(q->lock != NULL))
		rte_spinlock_unlock(q->lock);
	if (unlikely(q->gate != NULL))
		ffwd_gate_leave();
	return sent;
}

static inline int
ffwd_alloc_bulk(struct rte_mempool *pool, void *array, unsigned n)
{
	return rte_pktmbuf_alloc_bulk(pool, array, n);
}

static inline void
ffwd_free_bulk(void *array, unsigned n)
{
	rte_pktmbuf_free_bulk(array, n);
}

/* What a call costs, and whether it arrives. */
static int
ffwd_echo(void *number)
{
	return *(int *)number + 1;
}

static inline void *ffwd_rx_burst_entry(void) { return (void *)ffwd_rx_burst; }
static inline void *ffwd_tx_burst_entry(void) { return (void *)ffwd_tx_burst; }
static inline void *ffwd_echo_entry(void) { return (void *)ffwd_echo; }

/* For processors without ccall. */
static inline int ffwd_call(uintptr_t fn, uintptr_t arg) { return ((int (*)(void *))fn)((void *)arg); }

#endif

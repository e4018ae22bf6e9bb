/* Keeping bursts and a driver's handlers on DPDK's interrupt thread apart. */
#ifndef FFWD_SHIM_GATE_H
#define FFWD_SHIM_GATE_H

#include <stdbool.h>

#include <rte_branch_prediction.h>
#include <rte_rwlock.h>

/*
 * net_memif unmaps the rings that it shares with its peer as soon as the peer is gone, in
 * a handler, whether a worker is in the midst of a burst on them or not. So its handlers
 * hold this lock to write, and bursts on its ports hold it to read.
 */
extern rte_rwlock_t ffwd_gate;

/* For a burst on a port that is open; else there is nothing to leave. */
static inline bool
ffwd_gate_enter(const bool *open)
{
	rte_rwlock_read_lock(&ffwd_gate);
	if (likely(*open))
		return true;
	rte_rwlock_read_unlock(&ffwd_gate);
	return false;
}

static inline void
ffwd_gate_leave(void)
{
	rte_rwlock_read_unlock(&ffwd_gate);
}

#endif

/* Putting DPDK's interrupt thread to rest before its memory goes. */
#ifndef FFWD_SHIM_INTR_H
#define FFWD_SHIM_INTR_H

/*
 * Let the interrupt thread finish what it is at, and hold it for ever. 0, or -errno
 * when it does not come within a second.
 */
int ffwd_intr_park(void);

#endif

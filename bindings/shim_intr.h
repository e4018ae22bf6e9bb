/* Getting along with DPDK's interrupt thread, which runs the drivers' handlers. */
#ifndef FFWD_SHIM_INTR_H
#define FFWD_SHIM_INTR_H

#include <stdint.h>

/*
 * Let the interrupt thread finish what it is at, and hold it for ever. 0, or -errno
 * when it does not come within a second. Once is enough.
 */
int ffwd_intr_park(void);

/* rte_eth_dev_stop on the interrupt thread, between its other handlers. */
int ffwd_intr_stop_port(uint16_t port);

#endif

/* Getting along with DPDK's interrupt thread, which runs the drivers' handlers. */
#ifndef FFWD_SHIM_INTR_H
#define FFWD_SHIM_INTR_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Let the interrupt thread finish what it is at, and hold it for ever. 0, or -errno
 * when it does not come within a second. Once is enough.
 */
int ffwd_intr_park(void);

/*
 * Stop a port, or stop it if it runs and start it, on the interrupt thread between its
 * other handlers and with no burst under way. open says afterwards whether it runs.
 */
int ffwd_intr_stop_port(uint16_t port, bool *open);
int ffwd_intr_restart_port(uint16_t port, bool *open);

#endif

/* What DPDK logs, kept in a ring of lines instead of spilt on the terminal. */
#ifndef FFWD_SHIM_LOG_H
#define FFWD_SHIM_LOG_H

#include <stddef.h>
#include <stdint.h>

#define FFWD_LOG_LINES 256
#define FFWD_LOG_WIDTH 240 /* longer lines are cut */

/* Point rte_log at the ring. Once, before rte_eal_init. 0 or -errno. */
int ffwd_log_capture(void);

/*
 * Between the two, C's stdout and stderr are the ring too: the EAL's usage text,
 * getopt's complaints and libbpf's chatter do not pass through rte_log. The file
 * descriptors stay as they are, so Go's output is not touched. Not reentrant.
 */
void ffwd_stdio_capture(void);
void ffwd_stdio_release(void);

/*
 * Between the two, a call that ends the process (rte_exit, rte_panic, exit from an
 * option's handler) does so with one line on the terminal and status 1.
 */
void ffwd_guard_exit(void);
void ffwd_unguard_exit(void);

/* Number of lines ever logged: the sequence number of the next one. */
uint64_t ffwd_log_seq(void);

/*
 * Copy line seq into text and its RTE_LOG_* level into level. Returns its length,
 * or -1 if that line was overwritten or is not there yet.
 */
int ffwd_log_line(uint64_t seq, char text[FFWD_LOG_WIDTH], uint32_t *level);

#endif

#define ALLOW_EXPERIMENTAL_API /* rte_intr_instance_*, in use by every driver */
#include "shim_intr.h"
#include "shim_gate.h"

#include <errno.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <rte_alarm.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>

static sem_t parked;
static int at_rest;

static void
on_event(void *arg)
{
	(void)arg;
	sem_post(&parked);
	for (;;)
		pause();
}

/*
 * Called under the lock of all control calls, so that at_rest needs no other.
 * An event of our own, not an alarm: rte_eal_cleanup waits for the alarms' handler
 * to return.
 */
int
ffwd_intr_park(void)
{
	struct rte_intr_handle *handle;
	struct timespec deadline;
	int fd, ret;

	if (at_rest)
		return 0;
	handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
	fd = eventfd(1, EFD_CLOEXEC); /* readable at once */
	if (handle == NULL || fd < 0)
		return -ENOMEM;
	sem_init(&parked, 0, 0);
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += 1;
	if (rte_intr_fd_set(handle, fd) != 0 || rte_intr_type_set(handle, RTE_INTR_HANDLE_EXT) != 0)
		return -rte_errno;
	ret = rte_intr_callback_register(handle, on_event, NULL);
	while (ret == 0 && sem_timedwait(&parked, &deadline) != 0) {
		if (errno != EINTR)
			ret = -errno;
	}
	at_rest = ret == 0;
	return ret;
}

struct call {
	int (*what)(uint16_t port, bool *open);
	uint16_t port;
	bool *open;
	int ret, err;
	sem_t done;
};

/* Alarms run on the interrupt thread. */
static void
on_call(void *arg)
{
	struct call *c = arg;

	c->ret = c->what(c->port, c->open);
	c->err = rte_errno;
	sem_post(&c->done);
}

static int
call(int (*what)(uint16_t, bool *), uint16_t port, bool *open)
{
	struct call c = {.what = what, .port = port, .open = open};
	int ret;

	if (at_rest)
		return what(port, open);
	sem_init(&c.done, 0, 0);
	ret = rte_eal_alarm_set(1, on_call, &c);
	if (ret < 0)
		return ret;
	while (sem_wait(&c.done) != 0)
		; /* interrupted by a signal; c must outlive the alarm */
	rte_errno = c.err;
	return c.ret;
}

static int
stop(uint16_t port, bool *open)
{
	int ret;

	rte_rwlock_write_lock(&ffwd_gate);
	*open = false;
	ret = rte_eth_dev_stop(port);
	rte_rwlock_write_unlock(&ffwd_gate);
	return ret;
}

static int
restart(uint16_t port, bool *open)
{
	int ret;

	rte_rwlock_write_lock(&ffwd_gate);
	ret = rte_eth_dev_stop(port);
	if (ret == 0)
		ret = rte_eth_dev_start(port);
	*open = ret == 0;
	rte_rwlock_write_unlock(&ffwd_gate);
	return ret;
}

int
ffwd_intr_stop_port(uint16_t port, bool *open)
{
	return call(stop, port, open);
}

int
ffwd_intr_restart_port(uint16_t port, bool *open)
{
	return call(restart, port, open);
}

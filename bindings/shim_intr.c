#define ALLOW_EXPERIMENTAL_API /* rte_intr_instance_*, in use by every driver */
#include "shim_intr.h"

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

struct stop {
	uint16_t port;
	int ret;
	sem_t done;
};

/* Alarms run on the interrupt thread. */
static void
on_stop(void *arg)
{
	struct stop *s = arg;

	s->ret = rte_eth_dev_stop(s->port);
	sem_post(&s->done);
}

int
ffwd_intr_stop_port(uint16_t port)
{
	struct stop s = {.port = port};
	int ret;

	if (at_rest)
		return rte_eth_dev_stop(port);
	sem_init(&s.done, 0, 0);
	ret = rte_eal_alarm_set(1, on_stop, &s);
	if (ret < 0)
		return ret;
	while (sem_wait(&s.done) != 0)
		; /* interrupted by a signal; s must outlive the alarm */
	return s.ret;
}

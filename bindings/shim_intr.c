#define ALLOW_EXPERIMENTAL_API /* rte_intr_instance_*, in use by every driver */
#include "shim_intr.h"

#include <errno.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_interrupts.h>

static sem_t parked;

static void
on_event(void *arg)
{
	(void)arg;
	sem_post(&parked);
	for (;;)
		pause();
}

/*
 * An event of our own, not an alarm: rte_eal_cleanup waits for the alarms' handler
 * to return.
 */
int
ffwd_intr_park(void)
{
	struct rte_intr_handle *handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
	struct timespec deadline;
	int fd = eventfd(1, EFD_CLOEXEC); /* readable at once */
	int ret;

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
	return ret;
}

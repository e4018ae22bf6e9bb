#define _GNU_SOURCE /* dladdr, RTLD_NEXT */
#include "shim_gate.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include <rte_interrupts.h>

rte_rwlock_t ffwd_gate;

/*
 * The functions below stand in front of the EAL's of the same names: the dynamic linker
 * finds a program's own first. In place of net_memif's handlers they register ones that
 * go through the gate. A handler is known again by its function and its argument, so each
 * function that is met, of which net_memif has two, gets a place and a function here.
 */
#define PLACES 4

static rte_intr_callback_fn handlers[PLACES];

static void
handle(int place, void *arg)
{
	rte_rwlock_write_lock(&ffwd_gate);
	handlers[place](arg);
	rte_rwlock_write_unlock(&ffwd_gate);
}

static void handle0(void *arg) { handle(0, arg); }
static void handle1(void *arg) { handle(1, arg); }
static void handle2(void *arg) { handle(2, arg); }
static void handle3(void *arg) { handle(3, arg); }

static const rte_intr_callback_fn gated[PLACES] = {handle0, handle1, handle2, handle3};

static bool
needs_gate(rte_intr_callback_fn cb)
{
	Dl_info in;

	return dladdr((void *)cb, &in) != 0 && strstr(in.dli_fname, "librte_net_memif") != NULL;
}

/*
 * What is registered for cb, or would be. The driver registers its first handler, the
 * listener's or a client's, under the lock of all control calls, and others from there.
 */
static rte_intr_callback_fn
registered(rte_intr_callback_fn cb)
{
	for (int i = 0; i < PLACES; i++) {
		rte_intr_callback_fn none = NULL;
		if (__atomic_compare_exchange_n(&handlers[i], &none, cb, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) || none == cb)
			return gated[i];
	}
	return NULL;
}

static rte_intr_callback_fn
behind_gate(rte_intr_callback_fn cb)
{
	return needs_gate(cb) ? registered(cb) : cb;
}

static void *
eal(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

int
rte_intr_callback_register(const struct rte_intr_handle *handle, rte_intr_callback_fn cb, void *arg)
{
	int (*next)(const struct rte_intr_handle *, rte_intr_callback_fn, void *) = eal("rte_intr_callback_register");
	rte_intr_callback_fn fn = behind_gate(cb);

	return fn == NULL ? -ENOSPC : next(handle, fn, arg);
}

int
rte_intr_callback_unregister(const struct rte_intr_handle *handle, rte_intr_callback_fn cb, void *arg)
{
	int (*next)(const struct rte_intr_handle *, rte_intr_callback_fn, void *) = eal("rte_intr_callback_unregister");

	return next(handle, behind_gate(cb), arg);
}

int
rte_intr_callback_unregister_pending(const struct rte_intr_handle *handle, rte_intr_callback_fn cb, void *arg,
				     rte_intr_unregister_callback_fn then)
{
	int (*next)(const struct rte_intr_handle *, rte_intr_callback_fn, void *, rte_intr_unregister_callback_fn) =
		eal("rte_intr_callback_unregister_pending");

	return next(handle, behind_gate(cb), arg, then);
}

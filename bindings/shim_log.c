#define _GNU_SOURCE
#include "shim_log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <rte_log.h>

struct line {
	uint32_t level;
	uint32_t length;
	char text[FFWD_LOG_WIDTH];
};

/* A stream that feeds the ring. level 0: ask rte_log for the message's own. */
struct source {
	uint32_t level;
	FILE *stream;
	struct line partial; /* the line that has not seen its newline yet */
};

static struct {
	pthread_mutex_t lock;
	uint64_t seq;
	struct line lines[FFWD_LOG_LINES];
} ring = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct source from_log;
static struct source from_stderr = {.level = RTE_LOG_ERR};
static struct source from_stdout = {.level = RTE_LOG_DEBUG};

static FILE *saved_stdout, *saved_stderr;

static void
flush_line(struct source *s)
{
	if (s->partial.length == 0)
		return;
	ring.lines[ring.seq % FFWD_LOG_LINES] = s->partial;
	ring.seq++;
	s->partial.length = 0;
}

static ssize_t
ring_write(void *cookie, const char *data, size_t n)
{
	struct source *s = cookie;
	uint32_t level = s->level != 0 ? s->level : (uint32_t)rte_log_cur_msg_loglevel();

	pthread_mutex_lock(&ring.lock);
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '\n') {
			flush_line(s);
			continue;
		}
		s->partial.level = level;
		if (s->partial.length < FFWD_LOG_WIDTH)
			s->partial.text[s->partial.length++] = data[i];
	}
	pthread_mutex_unlock(&ring.lock);
	return (ssize_t)n;
}

static FILE *
open_source(struct source *s)
{
	if (s->stream == NULL) {
		s->stream = fopencookie(s, "w", (cookie_io_functions_t){.write = ring_write});
		if (s->stream != NULL)
			setvbuf(s->stream, NULL, _IOLBF, 0);
	}
	return s->stream;
}

int
ffwd_log_capture(void)
{
	if (open_source(&from_log) == NULL || open_source(&from_stderr) == NULL ||
	    open_source(&from_stdout) == NULL)
		return -errno;
	return rte_openlog_stream(from_log.stream) == 0 ? 0 : -EINVAL;
}

void
ffwd_stdio_capture(void)
{
#ifdef __GLIBC__ /* elsewhere the two are constants */
	saved_stdout = stdout;
	saved_stderr = stderr;
	stdout = from_stdout.stream;
	stderr = from_stderr.stream;
#endif
}

void
ffwd_stdio_release(void)
{
#ifdef __GLIBC__
	stdout = saved_stdout;
	stderr = saved_stderr;
	fflush(from_stdout.stream);
	fflush(from_stderr.stream);
#endif
}

static volatile sig_atomic_t guarded;
static struct sigaction before_guard;

/*
 * The last line logged is the reason. Runs in a signal handler or from exit, so it
 * takes no lock; nothing else of this process logs through DPDK while it starts.
 */
static void
report_and_exit(void)
{
	static const char head[] = "start eal: DPDK ended the process: ";
	const struct line *last = &ring.lines[(ring.seq - 1) % FFWD_LOG_LINES];
	ssize_t ignored;

	ignored = write(STDERR_FILENO, head, sizeof head - 1);
	if (ring.seq > 0)
		ignored = write(STDERR_FILENO, last->text, last->length);
	ignored = write(STDERR_FILENO, "\n", 1);
	(void)ignored;
	_exit(1);
}

static void
on_exit_call(void)
{
	if (guarded)
		report_and_exit();
}

static void
on_abort(int signal)
{
	(void)signal;
	report_and_exit();
}

void
ffwd_guard_exit(void)
{
	/* SA_ONSTACK: the Go runtime's rule for handlers that C installs. */
	struct sigaction abort_action = {.sa_handler = on_abort, .sa_flags = SA_ONSTACK};

	atexit(on_exit_call);
	sigaction(SIGABRT, &abort_action, &before_guard);
	guarded = 1;
}

void
ffwd_unguard_exit(void)
{
	guarded = 0;
	sigaction(SIGABRT, &before_guard, NULL);
}

uint64_t
ffwd_log_seq(void)
{
	pthread_mutex_lock(&ring.lock);
	uint64_t seq = ring.seq;
	pthread_mutex_unlock(&ring.lock);
	return seq;
}

int
ffwd_log_line(uint64_t seq, char text[FFWD_LOG_WIDTH], uint32_t *level)
{
	int length = -1;

	pthread_mutex_lock(&ring.lock);
	if (seq < ring.seq && ring.seq - seq <= FFWD_LOG_LINES) {
		const struct line *l = &ring.lines[seq % FFWD_LOG_LINES];
		memcpy(text, l->text, l->length);
		*level = l->level;
		length = (int)l->length;
	}
	pthread_mutex_unlock(&ring.lock);
	return length;
}

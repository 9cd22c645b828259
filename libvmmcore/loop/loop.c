/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* loop: sources, steps and ends. The timers are in timer.c. */
#include "loop/loop-internal.h"

#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>

#include "base/util.h"

/* How many events one step takes from the kernel at most. */
#define MAX_EVENTS 32

static int on_wakeup(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	vmm_base_eventfd_clear(source->fd, NULL);
	return 0;
}

static int on_timerfd(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	/* The expired timers run at the end of the step; this only clears the descriptor. */
	vmm_base_eventfd_clear(source->fd, NULL);
	source->loop->armed_nsec = 0;
	return 0;
}

static void list_append(struct vmm_loop_source *source)
{
	struct vmm_loop *loop = source->loop;

	source->prev = loop->last;
	if (loop->last)
		loop->last->next = source;
	else
		loop->first = source;
	loop->last = source;
}

static void list_remove(struct vmm_loop_source *source)
{
	struct vmm_loop *loop = source->loop;

	if (source->prev)
		source->prev->next = source->next;
	else
		loop->first = source->next;
	if (source->next)
		source->next->prev = source->prev;
	else
		loop->last = source->prev;
}

static int source_new(struct vmm_loop *loop, enum source_kind kind, vmm_loop_callback callback,
	void *userdata, struct vmm_loop_source **ret_source)
{
	struct vmm_loop_source *source = malloc(sizeof(*source));

	if (!source)
		return -ENOMEM;
	*source = (struct vmm_loop_source){
		.loop = loop,
		.kind = kind,
		.fd = -EBADF,
		.callback = callback,
		.userdata = userdata,
	};
	list_append(source);
	*ret_source = source;
	return 0;
}

DEFINE_POINTER_CLEANUP(struct vmm_loop_source, vmm_loop_source_free);

static int source_watch(struct vmm_loop_source *source, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	if (epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	source->fd = fd;
	return 0;
}

static int add_owned_fd(struct vmm_loop *loop, int fd, vmm_loop_callback callback, void *userdata,
	struct vmm_loop_source **ret_source)
{
	CLEANUP(vmm_loop_source_free_p) struct vmm_loop_source *source = NULL;
	CLEANUP(close_p) int owned_fd = fd;
	int r;

	r = source_new(loop, SOURCE_EVENT, callback, userdata, &source);
	if (r < 0)
		return r;
	r = source_watch(source, owned_fd, EPOLLIN);
	if (r < 0)
		return r;
	TAKE_FD(owned_fd);
	*ret_source = TAKE_PTR(source);
	return 0;
}

DEFINE_POINTER_CLEANUP(struct vmm_loop, vmm_loop_free);

int vmm_loop_new(struct vmm_loop **ret_loop)
{
	CLEANUP(vmm_loop_free_p) struct vmm_loop *loop = malloc(sizeof(*loop));
	int fd, r;

	if (!loop)
		return -ENOMEM;
	*loop = (struct vmm_loop){ .epoll_fd = -EBADF };
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return -errno;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	r = add_owned_fd(loop, fd, on_wakeup, NULL, &loop->wakeup);
	if (r < 0)
		return r;
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	r = add_owned_fd(loop, fd, on_timerfd, NULL, &loop->timerfd);
	if (r < 0)
		return r;
	*ret_loop = TAKE_PTR(loop);
	return 0;
}

struct vmm_loop *vmm_loop_free(struct vmm_loop *loop)
{
	if (!loop)
		return NULL;
	while (loop->first)
		vmm_loop_source_free(loop->first);
	vmm_base_close(loop->epoll_fd);
	free(loop->timers);
	free(loop);
	return NULL;
}

int vmm_loop_fd(const struct vmm_loop *loop)
{
	return loop->epoll_fd;
}

int vmm_loop_add_fd(struct vmm_loop *loop, int fd, uint32_t events, vmm_loop_callback callback,
	void *userdata, struct vmm_loop_source **ret_source)
{
	CLEANUP(vmm_loop_source_free_p) struct vmm_loop_source *source = NULL;
	int r;

	r = source_new(loop, SOURCE_FD, callback, userdata, &source);
	if (r < 0)
		return r;
	r = source_watch(source, fd, events);
	if (r < 0)
		return r;
	*ret_source = TAKE_PTR(source);
	return 0;
}

int vmm_loop_source_set_events(struct vmm_loop_source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	assert(source->kind == SOURCE_FD);
	if (epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) < 0)
		return -errno;
	return 0;
}

int vmm_loop_add_timer(struct vmm_loop *loop, vmm_loop_callback callback, void *userdata,
	struct vmm_loop_source **ret_source)
{
	int r;

	r = vmm_loop_timers_reserve(loop);
	if (r < 0)
		return r;
	r = source_new(loop, SOURCE_TIMER, callback, userdata, ret_source);
	if (r < 0)
		return r;
	loop->n_timer_sources++;
	return 0;
}

int vmm_loop_add_event(struct vmm_loop *loop, vmm_loop_callback callback, void *userdata,
	struct vmm_loop_source **ret_source)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	return add_owned_fd(loop, fd, callback, userdata, ret_source);
}

void vmm_loop_event_signal(struct vmm_loop_source *source)
{
	assert(source->kind == SOURCE_EVENT);
	vmm_base_eventfd_signal(source->fd);
}

struct vmm_loop_source *vmm_loop_source_free(struct vmm_loop_source *source)
{
	struct vmm_loop *loop;

	if (!source)
		return NULL;
	loop = source->loop;
	if (source->fd >= 0)
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	if (source->kind == SOURCE_EVENT)
		vmm_base_close(source->fd);
	if (source->kind == SOURCE_TIMER)
		vmm_loop_timer_forget(source);
	/* What this step already took from the kernel must not reach a freed source. */
	for (unsigned int i = 0; i < loop->n_pending; i++)
		if (loop->pending[i].data.ptr == source)
			loop->pending[i].data.ptr = NULL;
	list_remove(source);
	free(source);
	return NULL;
}

static int wait_events(struct vmm_loop *loop, struct epoll_event *events, uint64_t timeout_nsec)
{
	struct timespec timeout = {
		.tv_sec = (time_t)(timeout_nsec / UINT64_C(1000000000)),
		.tv_nsec = (long)(timeout_nsec % UINT64_C(1000000000)),
	};
	int n;

	n = epoll_pwait2(loop->epoll_fd, events, MAX_EVENTS,
		timeout_nsec == UINT64_MAX ? NULL : &timeout, NULL);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n;
}

int vmm_loop_step(struct vmm_loop *loop, uint64_t timeout_nsec)
{
	struct epoll_event events[MAX_EVENTS];
	int n, r, n_called = 0, result = 0;

	assert(!loop->pending);
	r = vmm_loop_timers_arm(loop);
	if (r < 0)
		return r;
	n = wait_events(loop, events, timeout_nsec);
	if (n < 0)
		return n;

	loop->pending = events;
	loop->n_pending = (unsigned int)n;
	for (int i = 0; i < n; i++) {
		struct vmm_loop_source *source = events[i].data.ptr;
		uint32_t what = events[i].events;

		if (!source)
			continue;
		if (source->kind == SOURCE_EVENT) {
			vmm_base_eventfd_clear(source->fd, NULL);
			what = 0;
		}
		r = source->callback(source, what, source->userdata);
		if (source != loop->wakeup && source != loop->timerfd)
			n_called++;
		if (r < 0 && result == 0)
			result = r;
	}
	loop->pending = NULL;
	loop->n_pending = 0;

	r = vmm_loop_timers_run(loop, &n_called);
	if (r < 0 && result == 0)
		result = r;
	return result < 0 ? result : n_called;
}

int vmm_loop_run(struct vmm_loop *loop)
{
	for (;;) {
		int r;

		if (__atomic_load_n(&loop->quitting, __ATOMIC_ACQUIRE)) {
			r = loop->quit_result;
			__atomic_store_n(&loop->quitting, false, __ATOMIC_RELAXED);
			return r;
		}
		r = vmm_loop_step(loop, UINT64_MAX);
		if (r < 0)
			return r;
	}
}

void vmm_loop_quit(struct vmm_loop *loop, int result)
{
	assert(result >= 0);
	loop->quit_result = result;
	/* Pairs with the acquire in vmm_loop_run(): who sees the flag sees the result. */
	__atomic_store_n(&loop->quitting, true, __ATOMIC_RELEASE);
	vmm_loop_event_signal(loop->wakeup);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-blk: how an I/O thread begins and ends. */
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>

#include "virtio-blk/blk-internal.h"

static int watch(struct blk_thread *thread, int fd, uint32_t events, uint32_t tag)
{
	struct epoll_event event = { .events = events, .data.u32 = tag };

	if (epoll_ctl(thread->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	return 0;
}

int blk_thread_init(struct blk_thread *thread)
{
	struct blk_queue *queue;
	int r;

	thread->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (thread->epoll_fd < 0)
		return -errno;
	thread->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (thread->wake_fd < 0)
		return -errno;
	thread->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (thread->timer_fd < 0)
		return -errno;
	r = watch(thread, thread->wake_fd, EPOLLIN, BLK_TAG_WAKE);
	if (r < 0)
		return r;
	r = watch(thread, thread->timer_fd, EPOLLIN, BLK_TAG_TIMER);
	if (r < 0)
		return r;
	for (unsigned int i = 0; (queue = blk_thread_queue(thread, i)); i++) {
		r = watch(thread, vmm_virtio_kick_fd(thread->blk->device, queue->index),
			EPOLLIN | EPOLLET, queue->index);
		if (r < 0)
			return r;
	}
	return 0;
}

static int start_backend(struct blk_thread *thread)
{
	const struct vmm_blk_backend *backend = &thread->blk->backend;
	int r;

	if (backend->ops->thread_start) {
		r = backend->ops->thread_start(
			backend->userdata, thread->index, &thread->backend_fd);
		if (r < 0)
			return r;
	}
	thread->has_backend = true;
	if (thread->backend_fd >= 0 && backend->ops->reap)
		return watch(thread, thread->backend_fd, EPOLLIN | EPOLLET, BLK_TAG_BACKEND);
	return 0;
}

static void stop_backend(struct blk_thread *thread)
{
	const struct vmm_blk_backend *backend = &thread->blk->backend;

	if (thread->has_backend && backend->ops->thread_stop)
		backend->ops->thread_stop(backend->userdata, thread->index);
	thread->has_backend = false;
}

static void *thread_main(void *userdata)
{
	struct blk_thread *thread = userdata;
	struct vmm_virtio_blk *blk = thread->blk;
	int r;

	/* Before the hook, which may choose another name. */
	prctl(PR_SET_NAME, "virtio-blk");
	r = start_backend(thread);
	if (r >= 0 && blk->hook.start)
		r = blk->hook.start(blk->hook.userdata, VMM_BLK_THREAD_IO);
	thread->start_result = r;
	sem_post(&thread->started);
	if (r >= 0 && blk_thread_run(thread) < 0) {
		/* The host refused what it always grants. No request can end any more. */
		vmm_virtio_lock(blk->device, thread->index);
		vmm_virtio_fail(blk->device);
		vmm_virtio_unlock(blk->device, thread->index);
	}
	stop_backend(thread);
	return NULL;
}

int blk_thread_start(struct blk_thread *thread)
{
	int r;

	if (thread->blk->no_threads)
		return start_backend(thread);

	r = vmm_base_thread_start(&thread->thread, thread_main, thread);
	if (r < 0)
		return r;
	thread->has_thread = true;
	while (sem_wait(&thread->started) < 0)
		;
	return thread->start_result;
}

void blk_thread_finish(struct blk_thread *thread)
{
	__atomic_store_n(&thread->stopping, true, __ATOMIC_RELEASE);
	__atomic_store_n(&thread->cancel_wanted, true, __ATOMIC_RELEASE);
	if (thread->has_thread) {
		blk_thread_wake(thread);
		pthread_join(thread->thread, NULL);
	} else if (thread->has_backend) {
		blk_thread_run(thread);
		stop_backend(thread);
	}
	/* Who completed the last request may not have left vmm_blk_complete() yet. */
	while (__atomic_load_n(&thread->n_completing, __ATOMIC_ACQUIRE) > 0)
		sched_yield();
	vmm_base_close(thread->timer_fd);
	vmm_base_close(thread->wake_fd);
	vmm_base_close(thread->epoll_fd);
	sem_destroy(&thread->started);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-blk: the I/O threads. A thread serves its queues in rounds:
 *
 *   under the data lock    what ended is pushed, new chains are popped and parsed
 *   without it             those go to the back end, which may end them at once
 *
 * so no lock is held while a disk works. A round without work is followed by a short look at
 * the rings, as long as that has paid, and then by sleep. Kicks are edge-triggered in epoll: the
 * eventfd is never read.
 */
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

#include "virtio-blk/blk-internal.h"

/* Chains that one queue has popped before others get their turn and their interrupt. */
#define BATCH 16

/* Rounds of process() of one call, so that the caller's loop sees other devices too. */
#define MAX_ROUNDS 16

/* Work that comes within this time after falling asleep would have been worth a look. */
#define WORTH_POLLING_NSEC UINT64_C(300000)
#define MAX_POLL_PENALTY 64
#define PAUSES_A_LOOK 16

static inline void cpu_pause(void)
{
	__builtin_ia32_pause();
}

static bool flag_take(bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_RELAXED) &&
	       __atomic_exchange_n(flag, false, __ATOMIC_ACQUIRE);
}

void blk_thread_wake(struct blk_thread *thread)
{
	/*
	 * Pairs with the exchange in go_to_sleep(): either it sees what was stored before this
	 * call, or this sees it asleep.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&thread->asleep, __ATOMIC_RELAXED) &&
		__atomic_exchange_n(&thread->asleep, false, __ATOMIC_RELAXED))
		vmm_base_eventfd_signal(thread->wake_fd);
}

void vmm_blk_complete(struct vmm_blk_io *io, int result)
{
	struct blk_request *request = io->owner;
	struct blk_thread *thread = request->queue->thread;
	struct vmm_blk_io *head = __atomic_load_n(&thread->completed, __ATOMIC_RELAXED);

	/* Once the request is on the list the thread may end: it waits for this to be 0. */
	__atomic_add_fetch(&thread->n_completing, 1, __ATOMIC_ACQUIRE);
	io->result = result;
	do {
		io->next = head;
	} while (!__atomic_compare_exchange_n(
		&thread->completed, &head, io, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
	blk_thread_wake(thread);
	__atomic_sub_fetch(&thread->n_completing, 1, __ATOMIC_RELEASE);
}

static bool take_completions(struct blk_thread *thread)
{
	struct vmm_blk_io *io, *in_order = NULL;

	if (!__atomic_load_n(&thread->completed, __ATOMIC_RELAXED))
		return false;
	/* Pairs with the release in vmm_blk_complete(). */
	io = __atomic_exchange_n(&thread->completed, NULL, __ATOMIC_ACQUIRE);
	while (io) {
		struct vmm_blk_io *next = io->next;

		io->next = in_order;
		in_order = io;
		io = next;
	}
	while (in_order) {
		io = in_order;
		in_order = io->next;
		blk_request_completed(io->owner, io->result);
	}
	return true;
}

void blk_queue_check_drained(struct blk_queue *queue)
{
	struct vmm_virtio_blk *blk = queue->blk;

	if (queue->n_in_flight > 0)
		return;
	for (unsigned int i = 0; i < BLK_N_DRAINS; i++) {
		if (!queue->drain[i])
			continue;
		queue->drain[i] = false;
		if (__atomic_sub_fetch(&blk->n_draining[i], 1, __ATOMIC_ACQ_REL) > 0)
			continue;
		if (i == BLK_DRAIN_RESET)
			vmm_virtio_reset_done(blk->device);
		else
			vmm_virtio_pause_done(blk->device);
	}
	if (queue->drain_queue) {
		queue->drain_queue = false;
		vmm_virtio_queue_reset_done(blk->device, queue->index);
	}
}

/* Under the data lock. */
static void push_ended(struct blk_queue *queue)
{
	struct vmm_virtqueue *virtqueue;
	struct blk_request *request;

	if (!queue->ended)
		return;
	virtqueue = vmm_virtio_queue_finishing(queue->blk->device, queue->index);
	while ((request = queue->ended)) {
		queue->ended = request->next;
		if (virtqueue)
			blk_request_push(request, virtqueue);
		request->next = queue->free;
		queue->free = request;
		queue->n_in_flight--;
	}
	queue->ended_tail = &queue->ended;
	if (virtqueue) {
		vmm_virtqueue_flush(virtqueue);
		vmm_virtio_notify(queue->blk->device, queue->index);
	}
	blk_queue_check_drained(queue);
}

/* A request that is free, still in the list of those; NULL where all are in use. */
static struct blk_request *peek_free(struct blk_queue *queue)
{
	struct blk_request *request = queue->free;

	/* Slots are touched one by one as the driver comes to need more of them. */
	if (!request && queue->n_slots < queue->blk->queue_size) {
		request = (void *)(queue->requests + queue->stride * queue->n_slots++);
		request->queue = queue;
		request->io.owner = request;
		queue->free = request;
	}
	return request;
}

/* The ring where chains may be popped from it now, under the data lock; else NULL. */
static struct vmm_virtqueue *live_virtqueue(struct blk_queue *queue)
{
	struct vmm_virtqueue *virtqueue = vmm_virtio_queue(queue->blk->device, queue->index);

	return virtqueue && !vmm_virtqueue_fault(virtqueue) ? virtqueue : NULL;
}

/* Whether the limits admit the request now. Else the thread knows when to come back. */
static bool admit(struct blk_thread *thread, const struct blk_request *request, bool submits)
{
	struct vmm_virtio_blk *blk = thread->blk;
	uint64_t until_nsec;

	if (!__atomic_load_n(&blk->limited, __ATOMIC_RELAXED))
		return true;
	pthread_mutex_lock(&blk->limiter_lock);
	until_nsec = vmm_ratelimit_take(&blk->limiter, 1,
		submits ? blk_request_limited_bytes(request) : 0, vmm_base_now_nsec());
	pthread_mutex_unlock(&blk->limiter_lock);
	if (until_nsec == 0)
		return true;
	thread->limited_until_nsec = until_nsec;
	blk_count(&thread->counters.n_limited, 1);
	return false;
}

/*
 * Under the data lock: pops up to BATCH chains. Those for the back end come back in batch, the
 * others have ended. Returns how many were popped in all.
 */
static unsigned int pop_batch(
	struct blk_queue *queue, struct blk_request **batch, unsigned int *ret_n_batch)
{
	struct vmm_virtio_blk *blk = queue->blk;
	struct vmm_virtqueue *virtqueue = live_virtqueue(queue);
	unsigned int n_batch = 0, n_popped = 0;
	int r = 1;

	*ret_n_batch = 0;
	if (!virtqueue)
		return 0;
	if (!queue->unnotified) {
		vmm_virtqueue_disable_notifications(virtqueue);
		queue->unnotified = true;
	}
	while (n_popped < BATCH) {
		struct blk_request *request = peek_free(queue);
		enum blk_parsed parsed;

		if (!request)
			break;
		r = vmm_virtqueue_pop(virtqueue, request->iov, blk->queue_size + BLK_SPARE_IOVECS,
			&request->chain);
		if (r <= 0)
			break;
		parsed = blk_request_parse(request);
		if (parsed == BLK_PARSED_BROKEN) {
			vmm_virtqueue_break(
				virtqueue, "a block request has no room for its status");
			r = -VMM_EGUEST;
			break;
		}
		if (!admit(queue->thread, request, parsed == BLK_PARSED_SUBMIT)) {
			vmm_virtqueue_undo_pop(virtqueue, &request->chain);
			break;
		}
		queue->free = request->next;
		queue->n_in_flight++;
		n_popped++;
		if (parsed == BLK_PARSED_SUBMIT)
			batch[n_batch++] = request;
		else
			blk_queue_add_ended(queue, request);
	}
	if (r == -ENOBUFS)
		vmm_virtqueue_break(virtqueue, "a block request lies in too many pieces");
	if (r < 0)
		vmm_virtio_fail(blk->device);
	*ret_n_batch = n_batch;
	return n_popped;
}

/* The back end has all that was submitted: now it may begin, and some may have ended. */
static void commit(struct blk_thread *thread)
{
	const struct vmm_blk_backend *backend = &thread->blk->backend;

	if (backend->ops->commit)
		backend->ops->commit(backend->userdata, thread->index);
	if (backend->ops->reap && thread->n_in_flight > 0)
		backend->ops->reap(backend->userdata, thread->index);
}

/* Serves a queue once. Whether there was anything to do. */
static bool serve_queue(struct blk_queue *queue)
{
	struct blk_thread *thread = queue->thread;
	struct vmm_virtio_device *device = queue->blk->device;
	struct blk_request *batch[BATCH];
	unsigned int n_batch = 0, n_popped = 0;
	bool pushed = queue->ended != NULL;

	vmm_virtio_lock(device, queue->index);
	push_ended(queue);
	if (!thread->limited_until_nsec && !__atomic_load_n(&thread->stopping, __ATOMIC_RELAXED))
		n_popped = pop_batch(queue, batch, &n_batch);
	vmm_virtio_unlock(device, queue->index);

	for (unsigned int i = 0; i < n_batch; i++)
		blk_request_submit(batch[i]);
	if (n_batch > 0)
		commit(thread);
	/* Without a chain there is nothing more to find until a kick, or until limits allow. */
	queue->pending = n_popped > 0;
	return pushed || n_popped > 0;
}

static void all_pending(struct blk_thread *thread)
{
	struct blk_queue *queue;

	for (unsigned int i = 0; (queue = blk_thread_queue(thread, i)); i++)
		queue->pending = true;
}

/* One round over everything. Whether there was anything to do. */
static bool round_of_work(struct blk_thread *thread)
{
	const struct vmm_blk_backend *backend = &thread->blk->backend;
	struct blk_queue *queue;
	bool worked;

	if (flag_take(&thread->limits_changed)) {
		thread->limited_until_nsec = 0;
		all_pending(thread);
	}
	if (flag_take(&thread->cancel_wanted) && backend->ops->cancel) {
		backend->ops->cancel(backend->userdata, thread->index);
		commit(thread);
	}
	worked = take_completions(thread);
	if (worked)
		commit(thread);
	for (unsigned int i = 0; (queue = blk_thread_queue(thread, i)); i++) {
		if (flag_take(&queue->kicked))
			queue->pending = true;
		if (queue->pending || queue->ended)
			worked |= serve_queue(queue);
	}
	return worked;
}

/* Whether a queue that is not limited has chains. */
static bool rings_have_work(struct blk_thread *thread)
{
	struct vmm_virtio_device *device = thread->blk->device;
	struct blk_queue *queue;
	bool found = false;

	if (thread->limited_until_nsec)
		return false;
	for (unsigned int i = 0; (queue = blk_thread_queue(thread, i)); i++) {
		struct vmm_virtqueue *virtqueue;

		if (!queue->unnotified)
			continue;
		vmm_virtio_lock(device, queue->index);
		virtqueue = live_virtqueue(queue);
		if (virtqueue && peek_free(queue) && !vmm_virtqueue_is_empty(virtqueue)) {
			queue->pending = true;
			found = true;
		}
		vmm_virtio_unlock(device, queue->index);
	}
	return found;
}

static bool others_want_something(struct blk_thread *thread)
{
	struct blk_queue *queue;

	if (__atomic_load_n(&thread->completed, __ATOMIC_RELAXED) ||
		__atomic_load_n(&thread->stopping, __ATOMIC_RELAXED) ||
		__atomic_load_n(&thread->cancel_wanted, __ATOMIC_RELAXED) ||
		__atomic_load_n(&thread->limits_changed, __ATOMIC_RELAXED))
		return true;
	for (unsigned int i = 0; (queue = blk_thread_queue(thread, i)); i++)
		if (__atomic_load_n(&queue->kicked, __ATOMIC_RELAXED))
			return true;
	return false;
}

/* Looks for work for a moment. Whether there is any. */
static bool poll_rings(struct blk_thread *thread)
{
	const struct vmm_blk_backend *backend = &thread->blk->backend;
	uint64_t start_nsec;

	if (!thread->polling || thread->limited_until_nsec)
		return false;
	start_nsec = vmm_base_now_nsec();
	do {
		for (unsigned int i = 0; i < PAUSES_A_LOOK; i++)
			cpu_pause();
		if (thread->n_in_flight > 0 && backend->ops->reap)
			backend->ops->reap(backend->userdata, thread->index);
		if (others_want_something(thread) || rings_have_work(thread)) {
			thread->n_poll_failures = 0;
			thread->poll_penalty = 1;
			return true;
		}
	} while (vmm_base_now_nsec() - start_nsec < thread->blk->poll_nsec);
	if (++thread->n_poll_failures >= 2) {
		thread->polling = false;
		thread->n_poll_failures = 0;
		thread->poll_skip = thread->poll_penalty;
		thread->poll_penalty =
			MIN(thread->poll_penalty * 2, (unsigned int)MAX_POLL_PENALTY);
	}
	return false;
}

/* A wake-up so soon after falling asleep suggests to look a little longer the next time. */
static void learn_from_sleep(struct blk_thread *thread, uint64_t slept_nsec)
{
	if (thread->polling || thread->blk->poll_nsec == 0 || slept_nsec > WORTH_POLLING_NSEC)
		return;
	if (thread->poll_skip > 0)
		thread->poll_skip--;
	else
		thread->polling = true;
}

/* Asks the driver for kicks. Whether chains came in between. */
static bool enable_notifications(struct blk_thread *thread)
{
	struct vmm_virtio_device *device = thread->blk->device;
	struct blk_queue *queue;
	bool found = false;

	if (thread->limited_until_nsec)
		return false;
	for (unsigned int i = 0; (queue = blk_thread_queue(thread, i)); i++) {
		struct vmm_virtqueue *virtqueue;

		if (!queue->unnotified)
			continue;
		vmm_virtio_lock(device, queue->index);
		queue->unnotified = false;
		virtqueue = live_virtqueue(queue);
		if (virtqueue && vmm_virtqueue_enable_notifications(virtqueue)) {
			queue->pending = true;
			found = true;
		}
		vmm_virtio_unlock(device, queue->index);
	}
	return found;
}

static int arm_timer(struct blk_thread *thread)
{
	uint64_t until_nsec = MIN(thread->limited_until_nsec, (uint64_t)INT64_MAX);
	struct itimerspec spec = { 0 };

	if (until_nsec == 0)
		return 0;
	spec.it_value.tv_sec = (time_t)(until_nsec / 1000000000);
	spec.it_value.tv_nsec = (long)(until_nsec % 1000000000);
	if (timerfd_settime(thread->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
		return -errno;
	return 0;
}

/* Waits for events and marks what they are about. A negative errno of the host. */
static int wait_events(struct blk_thread *thread, int timeout_msec)
{
	const struct vmm_blk_backend *backend = &thread->blk->backend;
	struct epoll_event events[16];
	int n;

	n = epoll_wait(thread->epoll_fd, events, ARRAY_SIZE(events), timeout_msec);
	__atomic_store_n(&thread->asleep, false, __ATOMIC_RELAXED);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		switch (events[i].data.u32) {
		case BLK_TAG_WAKE:
			vmm_base_eventfd_clear(thread->wake_fd, NULL);
			break;
		case BLK_TAG_TIMER:
			vmm_base_eventfd_clear(thread->timer_fd, NULL);
			thread->limited_until_nsec = 0;
			all_pending(thread);
			break;
		case BLK_TAG_BACKEND:
			backend->ops->reap(backend->userdata, thread->index);
			break;
		default:
			thread->blk->queues[events[i].data.u32].pending = true;
			break;
		}
	}
	return n;
}

static int sleep_until_work(struct blk_thread *thread)
{
	uint64_t start_nsec;
	int r;

	r = arm_timer(thread);
	if (r < 0)
		return r;
	__atomic_store_n(&thread->asleep, true, __ATOMIC_RELAXED);
	/* Pairs with the fence in blk_thread_wake(). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (others_want_something(thread)) {
		__atomic_store_n(&thread->asleep, false, __ATOMIC_RELAXED);
		return 0;
	}
	start_nsec = vmm_base_now_nsec();
	r = wait_events(thread, -1);
	blk_count(&thread->counters.n_wakeups, 1);
	learn_from_sleep(thread, vmm_base_now_nsec() - start_nsec);
	return r;
}

/* The thread ends when it is told to and its requests have ended. */
static bool may_end(struct blk_thread *thread)
{
	struct blk_queue *queue;

	if (!__atomic_load_n(&thread->stopping, __ATOMIC_ACQUIRE) || thread->n_in_flight > 0)
		return false;
	for (unsigned int i = 0; (queue = blk_thread_queue(thread, i)); i++)
		if (queue->ended)
			return false;
	return true;
}

int blk_thread_run(struct blk_thread *thread)
{
	while (!may_end(thread)) {
		int r;

		if (round_of_work(thread) || poll_rings(thread) || enable_notifications(thread))
			continue;
		if (__atomic_load_n(&thread->stopping, __ATOMIC_RELAXED))
			r = thread->n_in_flight ? wait_events(thread, 1) : 0;
		else
			r = sleep_until_work(thread);
		if (r < 0)
			return r;
	}
	return 0;
}

int blk_thread_process(struct blk_thread *thread)
{
	int r;

	r = wait_events(thread, 0);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < MAX_ROUNDS; i++) {
		if (round_of_work(thread) || enable_notifications(thread))
			continue;
		r = arm_timer(thread);
		if (r < 0)
			return r;
		__atomic_store_n(&thread->asleep, true, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (!others_want_something(thread))
			return 0;
		__atomic_store_n(&thread->asleep, false, __ATOMIC_RELAXED);
	}
	/* More to do: the descriptor stays readable. */
	vmm_base_eventfd_signal(thread->wake_fd);
	return 0;
}

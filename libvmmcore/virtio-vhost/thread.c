/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vhost: the device's thread. It brings together what the driver wants (want_...) and what
 * is there: a back end, or none. Everything that may take its time is done here, without a lock.
 */
#include "virtio-vhost/vhost-internal.h"

#include <poll.h>

#define NSEC_PER_MSEC UINT64_C(1000000)
#define CHANNEL_NSEC (10 * NSEC_PER_MSEC)
#define DEFAULT_RETRY_NSEC (100 * NSEC_PER_MSEC)

void thread_wake(struct vmm_virtio_vhost *vhost)
{
	vmm_base_eventfd_signal(vhost->wake_fd);
}

static bool is_connected(const struct vmm_virtio_vhost *vhost)
{
	return vhost->user || vhost->n_pairs > 0;
}

static void note(struct vmm_virtio_vhost *vhost, int error)
{
	pthread_mutex_lock(&vhost->lock);
	vhost->status.connected = is_connected(vhost);
	vhost->status.failed = vhost->is_failed;
	if (error < 0)
		vhost->status.last_error = error;
	pthread_mutex_unlock(&vhost->lock);
}

static void tell(struct vmm_virtio_vhost *vhost)
{
	if (vhost->config.changed)
		vhost->config.changed(vhost->config.userdata, is_connected(vhost));
}

/* There is no back end for the driver, and none will come in time. */
static void fail(struct vmm_virtio_vhost *vhost)
{
	vhost->deadline_nsec = 0;
	vhost->is_failed = true;
	vmm_virtio_lock(vhost->device, 0);
	vmm_virtio_fail(vhost->device);
	vmm_virtio_unlock(vhost->device, 0);
	note(vhost, 0);
}

static uint64_t retry_nsec(const struct vmm_virtio_vhost *vhost)
{
	return vhost->config.retry_nsec ? vhost->config.retry_nsec : DEFAULT_RETRY_NSEC;
}

/* The back end is gone, or no longer wanted. */
static void lose(struct vmm_virtio_vhost *vhost, int error)
{
	uint64_t now_nsec = vmm_base_now_nsec();

	if (vhost->n_pairs > 0) {
		/* The kernel does not come back with anything else. */
		kernel_stop(vhost);
		note(vhost, error);
		fail(vhost);
		return;
	}
	session_take_up(vhost);
	session_disconnect(vhost);
	vhost->retry_nsec = now_nsec + (error == 0 ? 0 : retry_nsec(vhost));
	if (vhost->is_wanted && vhost->deadline_nsec == 0 && !vhost->is_failed)
		vhost->deadline_nsec = now_nsec + vhost->config.reconnect_nsec;
	note(vhost, error);
	tell(vhost);
}

static void start(struct vmm_virtio_vhost *vhost)
{
	int r = vhost->n_pairs > 0 ? kernel_start(vhost) : session_start(vhost);

	if (r < 0) {
		lose(vhost, r);
		return;
	}
	vhost->deadline_nsec = 0;
}

static void stop(struct vmm_virtio_vhost *vhost)
{
	int r;

	if (vhost->n_pairs > 0) {
		r = kernel_stop(vhost);
		note(vhost, r);
	} else if (vhost->user) {
		r = session_stop(vhost);
		if (r < 0)
			lose(vhost, r);
	}
}

static void connect_again(struct vmm_virtio_vhost *vhost)
{
	uint64_t now_nsec = vmm_base_now_nsec();
	int r;

	if (now_nsec < vhost->retry_nsec)
		return;
	r = session_connect(vhost);
	if (r == 0)
		r = session_read_config(vhost);
	if (r < 0) {
		session_disconnect(vhost);
		vhost->retry_nsec = now_nsec + retry_nsec(vhost);
		note(vhost, r);
		return;
	}
	pthread_mutex_lock(&vhost->lock);
	vhost->status.n_connected++;
	pthread_mutex_unlock(&vhost->lock);
	note(vhost, 0);
	tell(vhost);
}

static void forget(struct vmm_virtio_vhost *vhost)
{
	session_forget_inflight(vhost);
	kernel_forget(vhost);
	for (unsigned int i = 0; i < vhost->n_queues; i++) {
		vhost->queues[i].state = (struct vmm_virtqueue_state){ 0 };
		if (vhost->relayed)
			relay_forget(&vhost->queues[i]);
	}
}

static bool is_drained(struct vmm_virtio_vhost *vhost)
{
	bool is_empty = true;

	vmm_virtio_lock(vhost->device, 0);
	for (unsigned int i = 0; i < vhost->n_queues; i++)
		is_empty = is_empty && relay_is_empty(&vhost->queues[i]);
	vmm_virtio_unlock(vhost->device, 0);
	return is_empty;
}

static void finish_reset(struct vmm_virtio_vhost *vhost)
{
	vhost->is_resetting = false;
	vhost->deadline_nsec = 0;
	if (vhost->is_running)
		stop(vhost);
	vhost->is_failed = false;
	vmm_virtio_lock(vhost->device, 0);
	forget(vhost);
	vmm_virtio_unlock(vhost->device, 0);
	note(vhost, 0);
	vmm_virtio_reset_done(vhost->device);
}

static uint64_t timeout_nsec(const struct vmm_virtio_vhost *vhost)
{
	return vhost->config.timeout_nsec ? vhost->config.timeout_nsec
					  : VMM_VHOST_USER_TIMEOUT_NSEC;
}

/*
 * Relayed: what is in flight ends first, since not every back end waits for that when it gives its
 * rings back, and would write into memory that has another use then.
 */
static void reset(struct vmm_virtio_vhost *vhost)
{
	vhost->is_wanted = vhost->is_draining = false;
	if (vhost->relayed && vhost->is_running) {
		vhost->is_resetting = true;
		vhost->deadline_nsec = vmm_base_now_nsec() + timeout_nsec(vhost);
		return;
	}
	finish_reset(vhost);
}

static void advance_reset(struct vmm_virtio_vhost *vhost)
{
	bool is_late = vmm_base_now_nsec() >= vhost->deadline_nsec;

	if (vhost->is_running && !is_late && !is_drained(vhost))
		return;
	if (vhost->is_running && is_late)
		lose(vhost, -ETIMEDOUT);
	finish_reset(vhost);
}

static void pause_device(struct vmm_virtio_vhost *vhost)
{
	if (vhost->relayed) {
		vhost->is_draining = true;
		return;
	}
	vhost->is_wanted = false;
	if (vhost->is_running)
		stop(vhost);
	vmm_virtio_pause_done(vhost->device);
}

/* What the driver and the monitor asked for. False: the end. */
static bool take_wishes(struct vmm_virtio_vhost *vhost)
{
	bool want_reset, want_pause, want_quit, want_run;

	pthread_mutex_lock(&vhost->lock);
	want_reset = TAKE(vhost->want_reset, false);
	want_pause = TAKE(vhost->want_pause, false);
	want_run = TAKE(vhost->want_run, false);
	want_quit = vhost->want_quit;
	for (unsigned int i = 0; want_run && i < vhost->n_queues; i++)
		vhost->queues[i].driver = vhost->queues[i].activated;
	pthread_mutex_unlock(&vhost->lock);
	/* A reset ends a pause that waits, and a driver starts anew only after its reset. */
	if (want_reset)
		reset(vhost);
	if (want_pause && !want_reset)
		pause_device(vhost);
	if (want_run) {
		vhost->is_wanted = true;
		vhost->is_draining = false;
		if (!is_connected(vhost) && vhost->deadline_nsec == 0 && !vhost->is_failed)
			vhost->deadline_nsec = vmm_base_now_nsec() + vhost->config.reconnect_nsec;
	}
	return !want_quit;
}

static bool forwards(const struct vmm_virtio_vhost *vhost)
{
	/* A disk that failed takes requests, to refuse them. */
	return vhost->relayed && vhost->is_wanted && !vhost->is_draining &&
	       (vhost->is_running ||
		       (vhost->is_failed && vhost->config.device_type == VMM_VHOST_BLK));
}

static bool is_control(const struct vmm_virtio_vhost *vhost, const struct vhost_queue *queue)
{
	return vhost->has_control && queue->index == vhost->control_queue;
}

static void serve_queue(struct vmm_virtio_vhost *vhost, struct vhost_queue *queue, bool called)
{
	int r;

	if (!queue->driver.is_enabled)
		return;
	if (is_control(vhost, queue)) {
		vmm_virtio_process(vhost->device, queue->index);
		return;
	}
	if (!vhost->relayed) {
		if (called && vmm_base_eventfd_clear(queue->call_fd, NULL) == 0)
			vmm_virtio_interrupt(vhost->device, queue->index);
		return;
	}
	if (vhost->is_failed) {
		if (forwards(vhost))
			relay_fail(vhost, queue);
		return;
	}
	if (!vhost->is_running)
		return;
	if (called) {
		r = relay_return(vhost, queue);
		if (r < 0) {
			lose(vhost, r);
			return;
		}
	}
	if (forwards(vhost))
		relay_forward(vhost, queue);
}

/* Brings the back end to where the driver wants it, as far as that goes now. */
static void advance(struct vmm_virtio_vhost *vhost)
{
	bool was_failed = vhost->is_failed;

	if (!is_connected(vhost))
		connect_again(vhost);
	if (is_connected(vhost) && vhost->is_wanted && !vhost->is_running && !vhost->is_failed)
		start(vhost);
	if (vhost->user && session_write_config(vhost) < 0)
		lose(vhost, -ECONNRESET);
	if (vhost->is_resetting)
		advance_reset(vhost);
	if (vhost->is_wanted && vhost->deadline_nsec && !vhost->is_running &&
		vmm_base_now_nsec() >= vhost->deadline_nsec)
		fail(vhost);
	if (vhost->is_failed && !was_failed)
		for (unsigned int i = 0; i < vhost->n_queues; i++)
			serve_queue(vhost, &vhost->queues[i], false);
	if (vhost->is_draining && (vhost->is_failed || is_drained(vhost))) {
		vhost->is_draining = vhost->is_wanted = false;
		if (vhost->is_running)
			stop(vhost);
		vmm_virtio_pause_done(vhost->device);
	}
}

/* What poll() waits for: fixed places, then two for each queue. */
enum { POLL_WAKE, POLL_USER, POLL_CHANNEL, POLL_QUEUES };
#define MAX_POLLS (POLL_QUEUES + 2 * VMM_VHOST_USER_MAX_QUEUES)

static unsigned int fill_polls(struct vmm_virtio_vhost *vhost, struct pollfd *polls)
{
	bool look = vhost->user && vmm_base_now_nsec() >= vhost->channel_nsec;
	unsigned int n = POLL_QUEUES;

	polls[POLL_WAKE] = (struct pollfd){ .fd = vhost->wake_fd, .events = POLLIN };
	polls[POLL_USER] = (struct pollfd){
		.fd = vhost->user ? vmm_vhost_user_fd(vhost->user) : -1,
		.events = POLLIN,
	};
	polls[POLL_CHANNEL] = (struct pollfd){
		.fd = look ? vmm_vhost_user_channel_fd(vhost->user) : -1,
		.events = POLLIN,
	};
	for (unsigned int i = 0; i < vhost->n_queues; i++) {
		const struct vhost_queue *queue = &vhost->queues[i];
		bool kick =
			queue->driver.is_enabled && (forwards(vhost) || is_control(vhost, queue));

		polls[n++] = (struct pollfd){
			.fd = vhost->is_running ? queue->call_fd : -1,
			.events = POLLIN,
		};
		polls[n++] = (struct pollfd){
			.fd = kick ? vmm_virtio_kick_fd(vhost->device, i) : -1,
			.events = POLLIN,
		};
	}
	return n;
}

static int timeout_msec(const struct vmm_virtio_vhost *vhost)
{
	uint64_t now_nsec = vmm_base_now_nsec(), next = UINT64_MAX;

	if (!is_connected(vhost) && vhost->config.connect &&
		(vhost->config.reconnect_nsec > 0 || vhost->deadline_nsec))
		next = MIN(next, vhost->retry_nsec);
	if (vhost->deadline_nsec)
		next = MIN(next, vhost->deadline_nsec);
	if (vhost->user && vhost->channel_nsec > now_nsec)
		next = MIN(next, vhost->channel_nsec);
	if (next == UINT64_MAX)
		return -1;
	if (next <= now_nsec)
		return 0;
	return (int)MIN((next - now_nsec) / NSEC_PER_MSEC + 1, (uint64_t)3600000);
}

static void step(struct vmm_virtio_vhost *vhost)
{
	struct pollfd polls[MAX_POLLS];
	unsigned int n = fill_polls(vhost, polls);

	if (poll(polls, n, timeout_msec(vhost)) <= 0)
		return;
	if (polls[POLL_WAKE].revents)
		vmm_base_eventfd_clear(vhost->wake_fd, NULL);
	if (polls[POLL_CHANNEL].revents && vhost->user) {
		vhost->channel_nsec = vmm_base_now_nsec() + CHANNEL_NSEC;
		if (session_process_channel(vhost) < 0)
			lose(vhost, -EPROTO);
	}
	for (unsigned int i = 0; i < vhost->n_queues; i++) {
		struct pollfd *of_queue = &polls[POLL_QUEUES + 2 * i];

		if (of_queue[0].revents || of_queue[1].revents)
			serve_queue(vhost, &vhost->queues[i], of_queue[0].revents);
	}
	/* Last: what it completed before it went has been looked at. */
	if (polls[POLL_USER].revents && vhost->user) {
		if (vhost->relayed)
			for (unsigned int i = 0; i < vhost->n_queues; i++)
				if (vhost->queues[i].is_started)
					relay_return(vhost, &vhost->queues[i]);
		lose(vhost, -ECONNRESET);
	}
}

static void *run(void *userdata)
{
	struct vmm_virtio_vhost *vhost = userdata;
	int r = 0;

	if (vhost->config.thread_start)
		r = vhost->config.thread_start(vhost->config.userdata);
	vhost->start_result = r;
	sem_post(&vhost->started);
	if (r < 0)
		return NULL;
	while (take_wishes(vhost)) {
		advance(vhost);
		step(vhost);
	}
	if (vhost->is_running)
		stop(vhost);
	return NULL;
}

int thread_start(struct vmm_virtio_vhost *vhost)
{
	int r = vmm_base_thread_start(&vhost->thread, run, vhost);

	if (r < 0)
		return r;
	vhost->has_thread = true;
	while (sem_wait(&vhost->started) < 0)
		;
	return MIN(vhost->start_result, 0);
}

void thread_stop(struct vmm_virtio_vhost *vhost)
{
	if (!vhost->has_thread)
		return;
	pthread_mutex_lock(&vhost->lock);
	vhost->want_quit = true;
	pthread_mutex_unlock(&vhost->lock);
	thread_wake(vhost);
	pthread_join(vhost->thread, NULL);
	vhost->has_thread = false;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vhost-user-backend: life, and the loop of one front end. Contract: vhost-user-backend.h. */
#include "vhost-user-backend/backend-internal.h"

#include <poll.h>
#include <sys/eventfd.h>

/* socket, stop, configuration; two for each queue */
enum { POLL_SOCKET, POLL_STOP, POLL_CONFIG, POLL_QUEUES };

DEFINE_POINTER_CLEANUP(struct vmm_vhost_user_backend, vmm_vhost_user_backend_free);

int vmm_vhost_user_backend_new(const struct vmm_vhost_user_backend_config *config,
	struct vmm_vhost_user_backend **ret_backend)
{
	CLEANUP(vmm_vhost_user_backend_free_p) struct vmm_vhost_user_backend *backend = NULL;
	unsigned int n_queues;
	int r;

	if (!config->device || !config->mem || vmm_mem_n_regions(config->mem) > 0)
		return -EINVAL;
	n_queues = vmm_virtio_n_queues(config->device);
	if (n_queues > VMM_VHOST_USER_MAX_QUEUES)
		return -EINVAL;
	backend = calloc(1, sizeof(*backend) + n_queues * sizeof(backend->queues[0]));
	if (!backend)
		return -ENOMEM;
	backend->device = config->device;
	backend->mem = config->mem;
	backend->serve_queues = config->serve_queues;
	backend->hidden_features = config->hidden_features;
	backend->timeout_nsec =
		config->timeout_nsec ? config->timeout_nsec : VMM_VHOST_USER_TIMEOUT_NSEC;
	backend->stop_fd = config->stop_fd > 0 ? config->stop_fd : -EBADF;
	backend->socket_fd = backend->channel_fd = -EBADF;
	backend->config_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	backend->paused_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (backend->config_fd < 0 || backend->paused_fd < 0)
		return -errno;
	while (backend->n_queues < n_queues) {
		r = backend_queue_init(&backend->queues[backend->n_queues]);
		if (r < 0)
			return r;
		backend->n_queues++;
	}
	r = vmm_virtio_remote_new(config->device, backend->config_fd, &backend->remote);
	if (r < 0)
		return r;
	*ret_backend = TAKE_PTR(backend);
	return 0;
}

struct vmm_vhost_user_backend *vmm_vhost_user_backend_free(struct vmm_vhost_user_backend *backend)
{
	if (!backend)
		return NULL;
	vmm_virtio_remote_free(backend->remote);
	for (unsigned int i = 0; i < backend->n_queues; i++) {
		vmm_base_close(backend->queues[i].kick_fd);
		vmm_base_close(backend->queues[i].call_fd);
	}
	vmm_base_close(backend->channel_fd);
	vmm_base_close(backend->config_fd);
	vmm_base_close(backend->paused_fd);
	free(backend);
	return NULL;
}

static void on_paused(void *userdata)
{
	struct vmm_vhost_user_backend *backend = userdata;

	vmm_base_eventfd_signal(backend->paused_fd);
}

int backend_pause(struct vmm_vhost_user_backend *backend)
{
	struct pollfd poll_fd = { .fd = backend->paused_fd, .events = POLLIN };
	int r = vmm_virtio_pause(backend->device, on_paused, backend);

	if (r <= 0)
		return r;
	/* Requests in flight end, or the device is broken: nothing else can be done with it. */
	while (poll(&poll_fd, 1, -1) < 0)
		if (errno != EINTR)
			return -errno;
	vmm_base_eventfd_clear(backend->paused_fd, NULL);
	return 0;
}

void backend_resume(struct vmm_vhost_user_backend *backend)
{
	vmm_virtio_resume(backend->device);
}

void backend_reset_device(struct vmm_vhost_user_backend *backend)
{
	vmm_virtio_reset(backend->device);
	vmm_virtio_wait_reset(backend->device);
	backend->has_features = false;
}

void backend_reset(struct vmm_vhost_user_backend *backend)
{
	backend_reset_device(backend);
	for (unsigned int i = 0; i < backend->n_queues; i++)
		backend_queue_forget(&backend->queues[i]);
}

/* As before the first front end. */
static void forget(struct vmm_vhost_user_backend *backend)
{
	backend_reset(backend);
	backend_remove_all(backend);
	backend->features = backend->protocol_features = 0;
	backend->channel_fd = vmm_base_close(backend->channel_fd);
	backend->socket_fd = -EBADF;
	vmm_base_eventfd_clear(backend->config_fd, NULL);
}

static uint64_t deadline(const struct vmm_vhost_user_backend *backend)
{
	return vmm_base_now_nsec() + backend->timeout_nsec;
}

/* Receives and answers one message. */
static int exchange(struct vmm_vhost_user_backend *backend)
{
	struct vmm_vhost_user_message message, reply = { 0 };
	bool acknowledges = backend->protocol_features & VMM_VHOST_USER_PROTOCOL_REPLY_ACK;
	int r, result;

	r = vmm_vhost_user_receive(
		backend->socket_fd, VMM_VHOST_USER_REQUEST, deadline(backend), &message);
	if (r < 0)
		return r;
	result = backend_handle(backend, &message, &reply);
	if (!reply.request && acknowledges && (message.flags & VMM_VHOST_USER_FLAG_NEED_REPLY)) {
		reply.request = message.request;
		reply.size_bytes = sizeof(reply.payload.number);
		reply.payload.number = result < 0;
	} else if (result < 0) {
		/* It would go on as if that had been done. */
		r = -EPROTO;
	}
	vmm_vhost_user_message_finish(&message);
	if (r < 0 || !reply.request)
		return r;
	reply.flags = VMM_VHOST_USER_FLAG_REPLY;
	return vmm_vhost_user_send(backend->socket_fd, &reply, deadline(backend));
}

/* A front end that does not read its channel has none. */
static void tell_config_change(struct vmm_vhost_user_backend *backend)
{
	const struct vmm_vhost_user_message message = {
		.request = VMM_VHOST_USER_BACKEND_CONFIG_CHANGE,
	};

	vmm_base_eventfd_clear(backend->config_fd, NULL);
	if (backend->channel_fd >= 0 && vmm_vhost_user_send(backend->channel_fd, &message, 0) < 0)
		backend->channel_fd = vmm_base_close(backend->channel_fd);
}

static unsigned int fill_polls(const struct vmm_vhost_user_backend *backend, struct pollfd *polls)
{
	unsigned int n = POLL_QUEUES;

	polls[POLL_SOCKET] = (struct pollfd){ .fd = backend->socket_fd, .events = POLLIN };
	polls[POLL_STOP] = (struct pollfd){ .fd = backend->stop_fd, .events = POLLIN };
	polls[POLL_CONFIG] = (struct pollfd){ .fd = backend->config_fd, .events = POLLIN };
	for (unsigned int i = 0; i < backend->n_queues; i++) {
		const struct backend_queue *queue = &backend->queues[i];

		polls[n++] = (struct pollfd){
			.fd = queue->is_live ? queue->kick_fd : -1,
			.events = POLLIN,
		};
		polls[n++] = (struct pollfd){
			.fd = queue->is_live && backend->serve_queues
				      ? vmm_virtio_kick_fd(backend->device, i)
				      : -1,
			.events = POLLIN,
		};
	}
	return n;
}

/* 1: to be stopped. */
static int step(struct vmm_vhost_user_backend *backend)
{
	struct pollfd polls[POLL_QUEUES + 2 * VMM_VHOST_USER_MAX_QUEUES];
	unsigned int n = fill_polls(backend, polls);

	if (poll(polls, n, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	if (polls[POLL_STOP].revents)
		return 1;
	if (polls[POLL_CONFIG].revents)
		tell_config_change(backend);
	for (unsigned int i = 0; i < backend->n_queues; i++) {
		struct backend_queue *queue = &backend->queues[i];

		if (polls[POLL_QUEUES + 2 * i].revents & POLLIN)
			backend_queue_kicked(backend, queue);
		else if (polls[POLL_QUEUES + 2 * i].revents)
			queue->kick_fd = vmm_base_close(queue->kick_fd);
		/* The guest's fault is told by the queue itself, the host's by NEEDS_RESET. */
		if (polls[POLL_QUEUES + 2 * i + 1].revents)
			vmm_virtio_process(backend->device, i);
	}
	return polls[POLL_SOCKET].revents ? exchange(backend) : 0;
}

int vmm_vhost_user_backend_serve(struct vmm_vhost_user_backend *backend, int socket_fd)
{
	int r;

	backend->socket_fd = socket_fd;
	do {
		r = step(backend);
	} while (r == 0);
	forget(backend);
	/* The end of a connection is the usual end. */
	return r == 1 || r == -ECONNRESET ? 0 : r;
}

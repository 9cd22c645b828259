/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost-user-backend: rings. One runs when the front end has told its place, given its kick and
 * enabled it, in whatever order; it is checked then, by virtqueue.
 */
#include "vhost-user-backend/backend-internal.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

struct backend_queue *backend_queue(struct vmm_vhost_user_backend *backend, uint64_t index)
{
	return index < backend->n_queues ? &backend->queues[index] : NULL;
}

static unsigned int index_of(
	const struct vmm_vhost_user_backend *backend, const struct backend_queue *queue)
{
	return (unsigned int)(queue - backend->queues);
}

/* A pipe without a reader would be a signal to us, and a file is no signal to anybody. */
static bool may_be_eventfd(int fd)
{
	struct stat st;
	int flags;

	if (fstat(fd, &st) < 0 || (st.st_mode & S_IFMT) != 0)
		return false;
	/* Nor is anyone to wait for room in its counter. */
	flags = fcntl(fd, F_GETFL);
	return flags >= 0 && (flags & O_ACCMODE) == O_RDWR &&
	       fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

int backend_queue_init(struct backend_queue *queue)
{
	*queue = (struct backend_queue){ .kick_fd = -EBADF };
	queue->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return queue->call_fd < 0 ? -errno : 0;
}

int backend_queue_set_call(struct backend_queue *queue, int fd)
{
	CLEANUP(close_p) int nobody = -EBADF;

	if (fd < 0) {
		nobody = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		fd = nobody;
	} else if (!may_be_eventfd(fd)) {
		return -EINVAL;
	}
	if (fd < 0 || dup3(fd, queue->call_fd, O_CLOEXEC) < 0)
		return -errno;
	return 0;
}

void backend_queue_forget(struct backend_queue *queue)
{
	int call_fd = queue->call_fd;

	backend_queue_set_call(queue, -EBADF);
	vmm_base_close(queue->kick_fd);
	*queue = (struct backend_queue){ .kick_fd = -EBADF, .call_fd = call_fd };
}

int backend_queue_set_kick(
	struct vmm_vhost_user_backend *backend, struct backend_queue *queue, int fd)
{
	CLEANUP(close_p) int copy = -EBADF;

	if (fd >= 0) {
		if (!may_be_eventfd(fd))
			return -EINVAL;
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (copy < 0)
			return -errno;
	}
	vmm_base_close(queue->kick_fd);
	queue->kick_fd = TAKE_FD(copy);
	queue->has_kick = true;
	/* Without protocol features there is no other way to enable it. */
	if (!(backend->features & VMM_VHOST_USER_F_PROTOCOL_FEATURES))
		queue->is_enabled = true;
	return backend_queue_update(backend, queue);
}

int backend_queue_stop(struct vmm_vhost_user_backend *backend, struct backend_queue *queue)
{
	int r;

	if (!queue->is_live)
		return 0;
	r = backend_pause(backend);
	if (r < 0)
		return r;
	r = vmm_virtio_remote_queue_stop(backend->remote, index_of(backend, queue), &queue->state);
	queue->is_live = false;
	backend_resume(backend);
	return r;
}

static int start(struct vmm_vhost_user_backend *backend, struct backend_queue *queue)
{
	struct vmm_virtqueue_config config = { .size = queue->size };
	int r;

	if (!backend_find(backend, queue->addr.desc_user_address, &config.desc_gpa) ||
		!backend_find(backend, queue->addr.avail_user_address, &config.driver_gpa) ||
		!backend_find(backend, queue->addr.used_user_address, &config.device_gpa))
		return -EINVAL;
	if (!backend->has_features) {
		r = vmm_virtio_remote_start(
			backend->remote, backend->features & ~VMM_VHOST_USER_F_PROTOCOL_FEATURES);
		if (r < 0)
			return r;
		backend->has_features = true;
	}
	r = vmm_virtio_remote_queue_start(
		backend->remote, index_of(backend, queue), &config, &queue->state, queue->call_fd);
	if (r == 0)
		queue->is_live = true;
	return r;
}

int backend_queue_update(struct vmm_vhost_user_backend *backend, struct backend_queue *queue)
{
	bool may_run = queue->has_addr && queue->has_kick && queue->is_enabled;

	if (may_run == queue->is_live)
		return 0;
	return may_run ? start(backend, queue) : backend_queue_stop(backend, queue);
}

void backend_queue_kicked(struct vmm_vhost_user_backend *backend, struct backend_queue *queue)
{
	unsigned int index = index_of(backend, queue);

	vmm_base_eventfd_clear(queue->kick_fd, NULL);
	vmm_base_eventfd_signal(vmm_virtio_kick_fd(backend->device, index));
}

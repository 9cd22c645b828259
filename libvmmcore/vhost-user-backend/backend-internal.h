/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost-user-backend: what its files share. backend.c: life and loop; requests.c: what a front
 * end asks; memory.c: its memory; queues.c: its rings.
 */
#ifndef VMM_BACKEND_INTERNAL_H
#define VMM_BACKEND_INTERNAL_H

#include <vmmcore/vhost-user-backend.h>

#include "base/util.h"

struct backend_queue {
	/* As the front end said; unchecked, the queue's start checks. */
	uint32_t size;
	struct vmm_vhost_user_vring_addr addr;
	struct vmm_virtqueue_state state;
	bool has_addr;
	bool has_kick;
	bool is_enabled;

	int kick_fd; /* owned; -EBADF: none */
	/* Owned. One number for ever, since the device may be signalling it: others are put on it.
	 */
	int call_fd;
	bool is_live;
};

struct vmm_vhost_user_backend {
	struct vmm_virtio_device *device; /* borrowed */
	struct vmm_virtio_remote *remote; /* owned */
	struct vmm_mem *mem;              /* borrowed */
	bool serve_queues;
	uint64_t hidden_features, timeout_nsec;
	int stop_fd;   /* borrowed */
	int config_fd; /* owned */
	int paused_fd; /* owned */

	/* Of the front end that is served. */
	int socket_fd;  /* borrowed */
	int channel_fd; /* owned */
	uint64_t features, protocol_features;
	bool has_features; /* the device has been started with them */
	struct vmm_vhost_user_region regions[VMM_VHOST_USER_BACKEND_SLOTS];
	unsigned int n_regions;

	unsigned int n_queues;
	struct backend_queue queues[];
};

/* Handles one request. *ret_reply is sent where it has a request; fds in it are borrowed. */
int backend_handle(struct vmm_vhost_user_backend *backend, struct vmm_vhost_user_message *message,
	struct vmm_vhost_user_message *ret_reply);

/* Nothing is in flight, and no queue is served, until backend_resume(). */
int backend_pause(struct vmm_vhost_user_backend *backend);
void backend_resume(struct vmm_vhost_user_backend *backend);

/* No queue is live. */
void backend_reset_device(struct vmm_vhost_user_backend *backend);
/* The device, its queues and features as at first; memory stays. */
void backend_reset(struct vmm_vhost_user_backend *backend);

/* memory.c: takes the files out of the message. The device is paused. */
int backend_add_region(
	struct vmm_vhost_user_backend *backend, const struct vmm_vhost_user_region *region, int fd);
int backend_remove_region(
	struct vmm_vhost_user_backend *backend, const struct vmm_vhost_user_region *region);
void backend_remove_all(struct vmm_vhost_user_backend *backend);
/* The guest's address of one of the front end's. */
bool backend_find(
	const struct vmm_vhost_user_backend *backend, uint64_t user_address, uint64_t *ret_gpa);

/* queues.c: 0, or why the front end's wish cannot be done. */
struct backend_queue *backend_queue(struct vmm_vhost_user_backend *backend, uint64_t index);
int backend_queue_update(struct vmm_vhost_user_backend *backend, struct backend_queue *queue);
int backend_queue_stop(struct vmm_vhost_user_backend *backend, struct backend_queue *queue);
int backend_queue_set_kick(
	struct vmm_vhost_user_backend *backend, struct backend_queue *queue, int fd);
int backend_queue_set_call(struct backend_queue *queue, int fd);
int backend_queue_init(struct backend_queue *queue);
void backend_queue_forget(struct backend_queue *queue);
void backend_queue_kicked(struct vmm_vhost_user_backend *backend, struct backend_queue *queue);

#endif

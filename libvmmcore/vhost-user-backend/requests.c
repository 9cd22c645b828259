/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost-user-backend: requests. Their form has been checked by vhost-user; what they say is checked
 * here. A handler returns 0, or why it did not do what it was asked.
 */
#include "vhost-user-backend/backend-internal.h"

#include <string.h>

#define PROTOCOL_FEATURES                                                                          \
	(VMM_VHOST_USER_PROTOCOL_MQ | VMM_VHOST_USER_PROTOCOL_REPLY_ACK |                          \
		VMM_VHOST_USER_PROTOCOL_BACKEND_REQ | VMM_VHOST_USER_PROTOCOL_CONFIG |             \
		VMM_VHOST_USER_PROTOCOL_RESET_DEVICE |                                             \
		VMM_VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS)

#define CONFIG_HEAD offsetof(struct vmm_vhost_user_device_config, bytes)

static int answer(struct vmm_vhost_user_message *reply, uint32_t request, uint64_t number)
{
	reply->request = request;
	reply->size_bytes = sizeof(number);
	reply->payload.number = number;
	return 0;
}

static uint64_t offered(const struct vmm_vhost_user_backend *backend)
{
	uint64_t features = vmm_virtio_remote_offered(backend->remote);

	/* A queue's reset has no message. */
	features &= ~(backend->hidden_features | VMM_VIRTIO_F_RING_RESET);
	return features | VMM_VHOST_USER_F_PROTOCOL_FEATURES;
}

static int set_features(struct vmm_vhost_user_backend *backend, uint64_t features)
{
	if (features & ~offered(backend))
		return -EINVAL;
	if (features == backend->features)
		return 0;
	/* A front end stops its rings before it takes other features. */
	for (unsigned int i = 0; i < backend->n_queues; i++)
		if (backend->queues[i].is_live)
			return -EBUSY;
	/* Eventfds stay: front ends give some of them only once. */
	backend_reset_device(backend);
	backend->features = features;
	return 0;
}

static int set_protocol_features(struct vmm_vhost_user_backend *backend, uint64_t features)
{
	if (features & ~PROTOCOL_FEATURES)
		return -EINVAL;
	backend->protocol_features = features;
	return 0;
}

static int set_table(struct vmm_vhost_user_backend *backend, struct vmm_vhost_user_message *message)
{
	const struct vmm_vhost_user_mem_table *table = &message->payload.table;
	int r = 0;

	backend_remove_all(backend);
	for (uint32_t i = 0; i < table->n_regions && r == 0; i++)
		r = backend_add_region(backend, &table->regions[i], message->fds[i]);
	return r;
}

static int change_memory(
	struct vmm_vhost_user_backend *backend, struct vmm_vhost_user_message *message)
{
	const struct vmm_vhost_user_region *region = &message->payload.reg.region;
	int r = backend_pause(backend);

	if (r < 0)
		return r;
	if (message->request == VMM_VHOST_USER_SET_MEM_TABLE)
		r = set_table(backend, message);
	else if (message->request == VMM_VHOST_USER_ADD_MEM_REG)
		r = backend_add_region(backend, region, message->fds[0]);
	else
		r = backend_remove_region(backend, region);
	/* Also after a failure: queues whose memory is gone are not to go on. */
	vmm_virtio_remote_memory_changed(backend->remote);
	backend_resume(backend);
	return r;
}

static int get_config(struct vmm_vhost_user_backend *backend,
	const struct vmm_vhost_user_message *message, struct vmm_vhost_user_message *reply)
{
	struct vmm_vhost_user_device_config *config = &reply->payload.config;
	uint32_t n_bytes = vmm_virtio_remote_config_bytes(backend->remote);

	*config = (struct vmm_vhost_user_device_config){
		.offset = message->payload.config.offset,
		.size_bytes = message->payload.config.size_bytes,
	};
	if (config->offset < n_bytes)
		vmm_virtio_remote_read_config(backend->remote, config->offset, config->bytes,
			MIN(config->size_bytes, n_bytes - config->offset));
	reply->request = message->request;
	reply->size_bytes = (uint32_t)CONFIG_HEAD + config->size_bytes;
	return 0;
}

static int set_ring(
	struct vmm_vhost_user_backend *backend, const struct vmm_vhost_user_message *message)
{
	/* The index is the first member of both. */
	struct backend_queue *queue = backend_queue(backend, message->payload.state.index);
	uint32_t num = message->payload.state.num;

	if (!queue)
		return -EINVAL;
	if (message->request == VMM_VHOST_USER_SET_VRING_ENABLE) {
		if (num > 1)
			return -EINVAL;
		queue->is_enabled = num;
		return backend_queue_update(backend, queue);
	}
	if (queue->is_live)
		/* Front ends say again where the ring is when the dirty log begins or ends. */
		return message->request == VMM_VHOST_USER_SET_VRING_ADDR &&
				       memcmp(&queue->addr, &message->payload.addr,
					       sizeof(queue->addr)) == 0
			       ? 0
			       : -EBUSY;
	switch (message->request) {
	case VMM_VHOST_USER_SET_VRING_NUM:
		queue->size = num;
		return 0;
	case VMM_VHOST_USER_SET_VRING_BASE:
		queue->state.avail = (uint16_t)num;
		/* Packed: two positions. Split: what is used is what was taken, at a start. */
		queue->state.used = backend->features & VMM_VIRTIO_F_RING_PACKED
					    ? (uint16_t)(num >> 16)
					    : (uint16_t)num;
		return 0;
	default:
		queue->addr = message->payload.addr;
		queue->has_addr = true;
		return backend_queue_update(backend, queue);
	}
}

static int get_base(struct vmm_vhost_user_backend *backend,
	const struct vmm_vhost_user_message *message, struct vmm_vhost_user_message *reply)
{
	struct backend_queue *queue = backend_queue(backend, message->payload.state.index);
	int r;

	if (!queue)
		return -EINVAL;
	r = backend_queue_stop(backend, queue);
	if (r < 0)
		return r;
	reply->request = message->request;
	reply->size_bytes = sizeof(reply->payload.state);
	reply->payload.state.index = message->payload.state.index;
	reply->payload.state.num = queue->state.avail;
	if (backend->features & VMM_VIRTIO_F_RING_PACKED)
		reply->payload.state.num |= (uint32_t)queue->state.used << 16;
	/* It starts again with its next kick. */
	queue->has_kick = false;
	queue->kick_fd = vmm_base_close(queue->kick_fd);
	return 0;
}

static int set_eventfd(
	struct vmm_vhost_user_backend *backend, const struct vmm_vhost_user_message *message)
{
	uint64_t number = message->payload.number;
	struct backend_queue *queue = backend_queue(backend, number & VMM_VHOST_USER_VRING_INDEX);
	int fd = message->n_fds > 0 ? message->fds[0] : -EBADF;

	if (!queue)
		return -EINVAL;
	if (message->request == VMM_VHOST_USER_SET_VRING_KICK)
		return backend_queue_set_kick(backend, queue, fd);
	if (message->request == VMM_VHOST_USER_SET_VRING_CALL)
		return backend_queue_set_call(queue, fd);
	/* Errors of a ring are not told that way. */
	return 0;
}

int backend_handle(struct vmm_vhost_user_backend *backend, struct vmm_vhost_user_message *message,
	struct vmm_vhost_user_message *reply)
{
	switch (message->request) {
	case VMM_VHOST_USER_GET_FEATURES:
		return answer(reply, message->request, offered(backend));
	case VMM_VHOST_USER_SET_FEATURES:
		return set_features(backend, message->payload.number);
	case VMM_VHOST_USER_GET_PROTOCOL_FEATURES:
		return answer(reply, message->request, PROTOCOL_FEATURES);
	case VMM_VHOST_USER_SET_PROTOCOL_FEATURES:
		return set_protocol_features(backend, message->payload.number);
	case VMM_VHOST_USER_GET_QUEUE_NUM:
		return answer(reply, message->request, backend->n_queues);
	case VMM_VHOST_USER_GET_MAX_MEM_SLOTS:
		return answer(reply, message->request, VMM_VHOST_USER_BACKEND_SLOTS);
	case VMM_VHOST_USER_SET_OWNER:
		return 0;
	case VMM_VHOST_USER_RESET_OWNER:
	case VMM_VHOST_USER_RESET_DEVICE:
		backend_reset(backend);
		return 0;
	case VMM_VHOST_USER_SET_MEM_TABLE:
	case VMM_VHOST_USER_ADD_MEM_REG:
	case VMM_VHOST_USER_REM_MEM_REG:
		return change_memory(backend, message);
	case VMM_VHOST_USER_SET_VRING_NUM:
	case VMM_VHOST_USER_SET_VRING_BASE:
	case VMM_VHOST_USER_SET_VRING_ADDR:
	case VMM_VHOST_USER_SET_VRING_ENABLE:
		return set_ring(backend, message);
	case VMM_VHOST_USER_GET_VRING_BASE:
		return get_base(backend, message, reply);
	case VMM_VHOST_USER_SET_VRING_KICK:
	case VMM_VHOST_USER_SET_VRING_CALL:
	case VMM_VHOST_USER_SET_VRING_ERR:
		return set_eventfd(backend, message);
	case VMM_VHOST_USER_GET_CONFIG:
		return get_config(backend, message, reply);
	case VMM_VHOST_USER_SET_CONFIG:
		vmm_virtio_remote_write_config(backend->remote, message->payload.config.offset,
			message->payload.config.bytes, message->payload.config.size_bytes);
		return 0;
	case VMM_VHOST_USER_SET_BACKEND_REQ_FD:
		vmm_base_close(backend->channel_fd);
		backend->channel_fd = TAKE_FD(message->fds[0]);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

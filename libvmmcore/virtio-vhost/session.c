/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vhost: one vhost-user back end, from its connection to its end. Each function but
 * session_connect() fails as a whole: whoever called it disconnects.
 */
#include "virtio-vhost/vhost-internal.h"

#include <string.h>

uint64_t vhost_back_features(const struct vmm_virtio_vhost *vhost)
{
	uint64_t features = vmm_virtio_features(vhost->device);

	/* Ours, not the back end's: what the relay's own ring has is decided there. */
	if (vhost->relayed) {
		features &= ~(VMM_VIRTIO_RING_FEATURES | VMM_VIRTIO_F_IN_ORDER);
		features |= VMM_VIRTIO_F_INDIRECT_DESC;
	}
	return features & ~vhost->config.extra_features;
}

int session_connect(struct vmm_virtio_vhost *vhost)
{
	struct vmm_vhost_user_config config = { .timeout_nsec = vhost->config.timeout_nsec };
	CLEANUP(close_p) int fd = vhost->config.connect(vhost->config.userdata);

	if (fd < 0)
		return TAKE(fd, -EBADF);
	config.fd = fd;
	return vmm_vhost_user_new(&config, &vhost->user);
}

void session_disconnect(struct vmm_virtio_vhost *vhost)
{
	vhost->user = vmm_vhost_user_free(vhost->user);
	for (unsigned int i = 0; i < vhost->n_queues; i++)
		vhost->queues[i].is_started = false;
	vhost->is_running = false;
}

void session_forget_inflight(struct vmm_virtio_vhost *vhost)
{
	vhost->inflight.fd = vmm_base_close(vhost->inflight.fd);
}

int session_read_config(struct vmm_virtio_vhost *vhost)
{
	uint8_t bytes[VMM_VHOST_USER_CONFIG_BYTES];
	size_t n = vhost->config_size_bytes;
	bool changed;
	int r;

	if (!vhost->config_is_theirs)
		return 0;
	r = vmm_vhost_user_get_config(vhost->user, 0, bytes, n);
	if (r < 0)
		return r;
	/* The number of queues is what this device has. */
	if (vhost->config.device_type == VMM_VHOST_BLK) {
		uint16_t n_queues = (uint16_t)vhost->n_queues;

		memcpy(bytes + BLK_CONFIG_NUM_QUEUES, &n_queues, sizeof(n_queues));
	}
	if (!vhost->device) {
		memcpy(vhost->config_space, bytes, n);
		return 0;
	}
	vmm_virtio_config_begin(vhost->device);
	changed = memcmp(vhost->config_space, bytes, n) != 0;
	if (changed)
		memcpy(vhost->config_space, bytes, n);
	vmm_virtio_config_end(vhost->device, changed);
	return changed;
}

int session_write_config(struct vmm_virtio_vhost *vhost)
{
	uint8_t bytes[VMM_VHOST_USER_CONFIG_BYTES];
	size_t begin, end;

	pthread_mutex_lock(&vhost->lock);
	begin = vhost->written_begin;
	end = vhost->written_end;
	vhost->written_begin = vhost->written_end = 0;
	if (begin < end)
		memcpy(bytes, vhost->config_space + begin, end - begin);
	pthread_mutex_unlock(&vhost->lock);
	if (begin >= end || !vhost->config_is_theirs)
		return 0;
	return vmm_vhost_user_set_config(vhost->user, (uint32_t)begin, bytes, end - begin);
}

static int share_memory(struct vmm_virtio_vhost *vhost)
{
	struct vmm_mem_region regions[VMM_MEM_MAX_REGIONS + 1];
	size_t n = vmm_mem_n_regions(vhost->mem);

	for (size_t i = 0; i < n; i++)
		vmm_mem_get_region(vhost->mem, i, &regions[i]);
	if (vhost->relayed)
		regions[n++] = vhost->relay_region;
	return vmm_vhost_user_set_memory(vhost->user, regions, n);
}

static int share_inflight(struct vmm_virtio_vhost *vhost)
{
	int r;

	if (vhost->relayed || !(vmm_vhost_user_protocol_features(vhost->user) &
				      VMM_VHOST_USER_PROTOCOL_INFLIGHT_SHMFD))
		return 0;
	if (vhost->inflight.fd < 0) {
		r = vmm_vhost_user_get_inflight(vhost->user, (uint16_t)vhost->n_queues,
			(uint16_t)vhost->queue_size, &vhost->inflight);
		if (r < 0)
			return r;
	}
	return vmm_vhost_user_set_inflight(vhost->user, &vhost->inflight);
}

/*
 * Direct, after a back end went without a word: what it had used is what was done. The inflight
 * region says what is left of the rest; without one, that is all that is available.
 */
static void take_up(struct vmm_virtio_vhost *vhost, struct vhost_queue *queue)
{
	struct vmm_le16 index = { 0 };

	/* The ring was checked when it was activated; where it is no memory now, 0 will do. */
	vmm_mem_read(vhost->mem, queue->driver.config.device_gpa + 2, &index, sizeof(index));
	queue->state.avail = queue->state.used = vmm_le16_get(index);
}

static int start_queue(struct vmm_virtio_vhost *vhost, struct vhost_queue *queue)
{
	struct vmm_vhost_user_queue config = {
		.config = queue->driver.config,
		.state = queue->state,
		.kick_fd = vmm_virtio_kick_fd(vhost->device, queue->index),
		.call_fd = queue->driver.interrupt_fd >= 0 ? queue->driver.interrupt_fd
							   : queue->call_fd,
	};
	unsigned int n;
	int r;

	if (vhost->relayed) {
		vmm_virtio_lock(vhost->device, queue->index);
		n = relay_restart(queue);
		vmm_virtio_unlock(vhost->device, queue->index);
		pthread_mutex_lock(&vhost->lock);
		vhost->status.n_resubmitted += n;
		pthread_mutex_unlock(&vhost->lock);
		config.config = relay_config(queue);
		config.state = (struct vmm_virtqueue_state){ 0 };
		config.kick_fd = queue->relay_kick_fd;
		config.call_fd = queue->call_fd;
	}
	r = vmm_vhost_user_start(vhost->user, queue->index, &config);
	if (r < 0)
		return r;
	queue->is_started = true;
	/* Whatever is available is looked at; an interrupt that got lost is made up for. */
	vmm_base_eventfd_signal(config.kick_fd);
	vmm_base_eventfd_signal(config.call_fd);
	return 0;
}

int session_start(struct vmm_virtio_vhost *vhost)
{
	uint64_t features = vhost_back_features(vhost);
	int r;

	r = vmm_vhost_user_set_features(vhost->user, features);
	if (r < 0)
		return r;
	r = session_read_config(vhost);
	if (r < 0)
		return r;
	r = session_write_config(vhost);
	if (r < 0)
		return r;
	r = share_memory(vhost);
	if (r < 0)
		return r;
	r = share_inflight(vhost);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < vhost->n_queues; i++) {
		struct vhost_queue *queue = &vhost->queues[i];

		if (!queue->driver.is_enabled)
			continue;
		r = start_queue(vhost, queue);
		if (r < 0)
			return r;
	}
	if (vmm_vhost_user_protocol_features(vhost->user) & VMM_VHOST_USER_PROTOCOL_STATUS) {
		r = vmm_vhost_user_set_status(vhost->user,
			VMM_VIRTIO_STATUS_ACKNOWLEDGE | VMM_VIRTIO_STATUS_DRIVER |
				VMM_VIRTIO_STATUS_FEATURES_OK | VMM_VIRTIO_STATUS_DRIVER_OK);
		if (r < 0)
			return r;
	}
	vhost->is_running = true;
	return 0;
}

int session_stop(struct vmm_virtio_vhost *vhost)
{
	int r;

	for (unsigned int i = 0; i < vhost->n_queues; i++) {
		struct vhost_queue *queue = &vhost->queues[i];

		if (!queue->is_started)
			continue;
		r = vmm_vhost_user_stop(vhost->user, i, &queue->state);
		if (r < 0)
			return r;
		queue->is_started = false;
	}
	vhost->is_running = false;
	if (vmm_vhost_user_protocol_features(vhost->user) & VMM_VHOST_USER_PROTOCOL_STATUS)
		return vmm_vhost_user_set_status(vhost->user, 0);
	return 0;
}

int session_process_channel(struct vmm_virtio_vhost *vhost)
{
	int r = vmm_vhost_user_channel_process(vhost->user);

	/* A channel that ended takes nothing else with it. */
	return r > 0 ? session_read_config(vhost) : 0;
}

void session_take_up(struct vmm_virtio_vhost *vhost)
{
	for (unsigned int i = 0; i < vhost->n_queues && !vhost->relayed; i++)
		if (vhost->queues[i].is_started)
			take_up(vhost, &vhost->queues[i]);
}

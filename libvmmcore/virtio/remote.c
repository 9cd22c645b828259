/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio: the transport of drivers elsewhere. It has no registers: each function is what a driver
 * does by several of them. Contract: virtio.h.
 */
#include "virtio/virtio-internal.h"

struct vmm_virtio_remote {
	struct vmm_virtio_device *device; /* borrowed */
};

static void on_activated(void *transport)
{
}

static void on_reset(void *transport)
{
	struct vmm_virtio_remote *remote = transport;

	for (unsigned int i = 0; i < remote->device->n_queues; i++)
		__atomic_store_n(&remote->device->queues[i].interrupt_fd, -EBADF, __ATOMIC_SEQ_CST);
}

static const struct virtio_transport_ops transport_ops = {
	.activated = on_activated,
	.reset = on_reset,
};

int vmm_virtio_remote_new(
	struct vmm_virtio_device *device, int config_fd, struct vmm_virtio_remote **ret_remote)
{
	CLEANUP(free_p) struct vmm_virtio_remote *remote = malloc(sizeof(*remote));
	int r;

	if (!remote)
		return -ENOMEM;
	*remote = (struct vmm_virtio_remote){ .device = device };
	virtio_control_lock(device);
	r = virtio_attach(device, &transport_ops, remote);
	if (r == 0)
		__atomic_store_n(&device->config_fd, config_fd, __ATOMIC_SEQ_CST);
	virtio_control_unlock(device);
	if (r < 0)
		return r;
	*ret_remote = TAKE_PTR(remote);
	return 0;
}

struct vmm_virtio_remote *vmm_virtio_remote_free(struct vmm_virtio_remote *remote)
{
	if (!remote)
		return NULL;
	virtio_control_lock(remote->device);
	virtio_detach(remote->device);
	virtio_control_unlock(remote->device);
	free(remote);
	return NULL;
}

uint64_t vmm_virtio_remote_offered(const struct vmm_virtio_remote *remote)
{
	return remote->device->offered;
}

int vmm_virtio_remote_start(struct vmm_virtio_remote *remote, uint64_t features)
{
	struct vmm_virtio_device *device = remote->device;
	uint8_t status = VMM_VIRTIO_STATUS_ACKNOWLEDGE | VMM_VIRTIO_STATUS_DRIVER;
	int r = -VMM_EGUEST;

	virtio_control_lock(device);
	if (!device->resetting && vmm_virtio_status(device) == 0) {
		virtio_set_status(device, status);
		virtio_set_driver_features(device, 0, (uint32_t)features);
		virtio_set_driver_features(device, 1, (uint32_t)(features >> 32));
		status |= VMM_VIRTIO_STATUS_FEATURES_OK;
		virtio_set_status(device, status);
		if (vmm_virtio_status(device) == status) {
			virtio_set_status(device, status | VMM_VIRTIO_STATUS_DRIVER_OK);
			r = device->activated ? 0 : -EIO;
		} else {
			/* Nothing has begun, so the reset is over at once. */
			virtio_set_status(device, 0);
		}
	}
	virtio_control_unlock(device);
	return r;
}

static int start_queue(struct vmm_virtio_device *device, struct virtio_queue *queue,
	const struct vmm_virtqueue_config *config, const struct vmm_virtqueue_state *state)
{
	int r;

	if (!device->activated || queue->enabled || config->size > queue->max_size)
		return -VMM_EGUEST;
	queue->config = *config;
	queue->config.features = vmm_virtio_features(device);
	/*
	 * The configuration space (seg_max of a disk) was made for the largest queue, and who has
	 * it may choose a smaller one: Linux then sends tables that are longer than its queue.
	 */
	queue->config.max_indirect = queue->max_size;
	r = vmm_virtqueue_activate(queue->vq, &queue->config, state);
	if (r == 0 && device->ops->queue_enable) {
		r = device->ops->queue_enable(device->userdata, virtio_queue_index(device, queue));
		if (r < 0)
			vmm_virtqueue_deactivate(queue->vq);
	}
	if (r < 0)
		return r;
	queue->enabled = true;
	queue->live = true;
	vmm_base_eventfd_signal(queue->kick_fd);
	return 0;
}

int vmm_virtio_remote_queue_start(struct vmm_virtio_remote *remote, unsigned int queue_index,
	const struct vmm_virtqueue_config *config, const struct vmm_virtqueue_state *state,
	int interrupt_fd)
{
	struct vmm_virtio_device *device = remote->device;
	struct virtio_queue *queue;
	int r = -VMM_EGUEST;

	virtio_control_lock(device);
	queue = virtio_select(device, queue_index);
	if (queue) {
		virtio_lock_all(device);
		r = start_queue(device, queue, config, state);
		if (r == 0)
			__atomic_store_n(&queue->interrupt_fd, interrupt_fd, __ATOMIC_SEQ_CST);
		virtio_unlock_all(device);
	}
	virtio_control_unlock(device);
	return r;
}

int vmm_virtio_remote_queue_stop(struct vmm_virtio_remote *remote, unsigned int queue_index,
	struct vmm_virtqueue_state *ret_state)
{
	struct vmm_virtio_device *device = remote->device;
	struct virtio_queue *queue;
	int r = -VMM_EGUEST;

	if (!vmm_virtio_is_paused(device))
		return -EBUSY;
	virtio_control_lock(device);
	queue = virtio_select(device, queue_index);
	if (queue && queue->enabled) {
		virtio_lock_all(device);
		*ret_state = vmm_virtqueue_get_state(queue->vq);
		queue->live = false;
		vmm_virtqueue_deactivate(queue->vq);
		/* Nothing is in flight, so this is over at once. */
		if (device->ops->queue_reset)
			device->ops->queue_reset(device->userdata, queue_index);
		__atomic_store_n(&queue->interrupt_fd, -EBADF, __ATOMIC_SEQ_CST);
		virtio_unlock_all(device);
		queue->config = (struct vmm_virtqueue_config){ .size = queue->max_size };
		queue->enabled = false;
		r = 0;
	}
	virtio_control_unlock(device);
	return r;
}

int vmm_virtio_remote_memory_changed(struct vmm_virtio_remote *remote)
{
	struct vmm_virtio_device *device = remote->device;

	if (!vmm_virtio_is_paused(device))
		return -EBUSY;
	virtio_control_lock(device);
	virtio_lock_all(device);
	for (unsigned int i = 0; i < device->n_queues; i++)
		if (device->queues[i].live)
			vmm_virtqueue_forget_memory(device->queues[i].vq);
	virtio_unlock_all(device);
	virtio_control_unlock(device);
	return 0;
}

void vmm_virtio_remote_read_config(
	struct vmm_virtio_remote *remote, uint32_t offset, void *data, size_t size)
{
	virtio_control_lock(remote->device);
	virtio_read_config(remote->device, offset, data, size);
	virtio_control_unlock(remote->device);
}

void vmm_virtio_remote_write_config(
	struct vmm_virtio_remote *remote, uint32_t offset, const void *data, size_t size)
{
	virtio_control_lock(remote->device);
	virtio_write_config(remote->device, offset, data, size);
	virtio_control_unlock(remote->device);
}

uint32_t vmm_virtio_remote_config_bytes(const struct vmm_virtio_remote *remote)
{
	return remote->device->config_size_bytes;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio: the driver's side of the core: status, features, queue set-up, reset (VIRTIO 1.2, 2.1
 * to 2.6, 3.1). Called by the transports, see virtio-internal.h.
 */
#include "virtio/virtio-internal.h"

#include <string.h>

static uint8_t get_status(const struct vmm_virtio_device *device)
{
	return __atomic_load_n(&device->status, __ATOMIC_ACQUIRE);
}

static void store_status(struct vmm_virtio_device *device, uint8_t status)
{
	__atomic_store_n(&device->status, status, __ATOMIC_SEQ_CST);
}

static bool has_feature(const struct vmm_virtio_device *device, uint64_t feature)
{
	return vmm_virtio_features(device) & feature;
}

/* Everything is as after power-on (2.4.2). Nothing of the device is in flight. */
static void finish_reset(struct vmm_virtio_device *device)
{
	device->resetting = false;
	device->activated = false;
	device->driver_features = 0;
	__atomic_store_n(&device->features, 0, __ATOMIC_SEQ_CST);
	for (unsigned int i = 0; i < device->n_queues; i++) {
		struct virtio_queue *queue = &device->queues[i];

		queue->config = (struct vmm_virtqueue_config){ .size = queue->max_size };
		queue->enabled = false;
		queue->was_reset = false;
		queue->resetting = false;
		__atomic_store_n(&queue->reset_done, false, __ATOMIC_SEQ_CST);
	}
	if (device->transport_ops)
		device->transport_ops->reset(device->transport);
	__atomic_store_n(&device->isr, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&device->needs_reset, false, __ATOMIC_SEQ_CST);
	/* Last: a driver that reads 0 finds all the rest done. */
	store_status(device, 0);
}

void virtio_control_lock(struct vmm_virtio_device *device)
{
	bool done;

	pthread_mutex_lock(&device->control);
	if (!device->resetting)
		return;
	pthread_mutex_lock(&device->done_lock);
	done = device->reset_done;
	pthread_mutex_unlock(&device->done_lock);
	if (done)
		finish_reset(device);
}

void virtio_control_unlock(struct vmm_virtio_device *device)
{
	pthread_mutex_unlock(&device->control);
}

int virtio_attach(
	struct vmm_virtio_device *device, const struct virtio_transport_ops *ops, void *transport)
{
	if (device->transport_ops)
		return -EBUSY;
	device->transport_ops = ops;
	device->transport = transport;
	return 0;
}

void virtio_detach(struct vmm_virtio_device *device)
{
	device->transport_ops = NULL;
	device->transport = NULL;
	__atomic_store_n(&device->config_fd, -EBADF, __ATOMIC_SEQ_CST);
	for (unsigned int i = 0; i < device->n_queues; i++) {
		device->queues[i].vector = NO_VECTOR;
		__atomic_store_n(&device->queues[i].interrupt_fd, -EBADF, __ATOMIC_SEQ_CST);
	}
}

/* Returns 1 where requests are in flight still. */
static int begin_reset(struct vmm_virtio_device *device)
{
	int r = 0;

	if (device->resetting)
		return 1;
	pthread_mutex_lock(&device->done_lock);
	device->reset_done = false;
	pthread_mutex_unlock(&device->done_lock);

	/* Who holds a data lock ends first; who takes one later finds no live queue. */
	virtio_lock_all(device);
	for (unsigned int i = 0; i < device->n_queues; i++) {
		struct virtio_queue *queue = &device->queues[i];

		queue->live = false;
		vmm_virtqueue_deactivate(queue->vq);
	}
	if (device->activated && device->ops->reset)
		r = device->ops->reset(device->userdata);
	virtio_unlock_all(device);

	if (r > 0) {
		device->resetting = true;
		return 1;
	}
	finish_reset(device);
	vmm_virtio_pause_done(device);
	return 0;
}

int vmm_virtio_reset(struct vmm_virtio_device *device)
{
	int r;

	virtio_control_lock(device);
	r = begin_reset(device);
	virtio_control_unlock(device);
	return r;
}

void vmm_virtio_wait_reset(struct vmm_virtio_device *device)
{
	bool resetting;

	for (;;) {
		virtio_control_lock(device);
		resetting = device->resetting;
		virtio_control_unlock(device);
		if (!resetting)
			return;
		pthread_mutex_lock(&device->done_lock);
		while (!device->reset_done)
			pthread_cond_wait(&device->done_cond, &device->done_lock);
		pthread_mutex_unlock(&device->done_lock);
	}
}

/* 2.2.2: what was not offered is refused, and so is what this device cannot do without. */
static bool features_are_acceptable(const struct vmm_virtio_device *device)
{
	uint64_t features = device->driver_features;

	return (features & ~device->offered) == 0 && (features & VMM_VIRTIO_F_VERSION_1);
}

/* With all data locks held. */
static int activate_queue(struct vmm_virtio_device *device, struct virtio_queue *queue)
{
	struct vmm_virtqueue_config config = queue->config;

	config.features = vmm_virtio_features(device);
	return vmm_virtqueue_activate(queue->vq, &config, NULL);
}

static void make_live(struct virtio_queue *queue)
{
	queue->live = true;
	/* Whatever was made available before counts as kicked. */
	vmm_base_eventfd_signal(queue->kick_fd);
}

static void activate(struct vmm_virtio_device *device)
{
	int r = 0;

	virtio_lock_all(device);
	for (unsigned int i = 0; i < device->n_queues && r == 0; i++)
		if (device->queues[i].enabled)
			r = activate_queue(device, &device->queues[i]);
	if (r == 0 && device->ops->activate)
		r = device->ops->activate(device->userdata);
	store_status(device, get_status(device) | VMM_VIRTIO_STATUS_DRIVER_OK);
	if (r < 0) {
		/* All or nothing: no queue is served of a device that did not start. */
		for (unsigned int i = 0; i < device->n_queues; i++)
			vmm_virtqueue_deactivate(device->queues[i].vq);
		virtio_unlock_all(device);
		vmm_virtio_fail(device);
		return;
	}
	device->activated = true;
	for (unsigned int i = 0; i < device->n_queues; i++)
		if (device->queues[i].enabled)
			make_live(&device->queues[i]);
	virtio_unlock_all(device);
	if (device->transport_ops)
		device->transport_ops->activated(device->transport);
}

int virtio_set_status(struct vmm_virtio_device *device, uint8_t value)
{
	uint8_t status = get_status(device), set;

	if (value == 0)
		return begin_reset(device);
	if (device->resetting)
		return 0;

	/* A driver can only add bits (2.1.1), and NEEDS_RESET is not its. */
	set = value & (uint8_t) ~(status | VMM_VIRTIO_STATUS_NEEDS_RESET);
	if ((set & VMM_VIRTIO_STATUS_FEATURES_OK) && features_are_acceptable(device))
		__atomic_store_n(&device->features, device->driver_features, __ATOMIC_SEQ_CST);
	else
		set &= (uint8_t)~VMM_VIRTIO_STATUS_FEATURES_OK;
	status |= set & (uint8_t)~VMM_VIRTIO_STATUS_DRIVER_OK;
	store_status(device, status);

	if (set & VMM_VIRTIO_STATUS_DRIVER_OK) {
		if (status & VMM_VIRTIO_STATUS_FEATURES_OK) {
			activate(device);
		} else {
			store_status(device, status | VMM_VIRTIO_STATUS_DRIVER_OK);
			vmm_virtio_fail(device);
		}
	}
	return 0;
}

static uint32_t half_of(uint64_t features, uint32_t select)
{
	return select > 1 ? 0 : (uint32_t)(features >> (32 * select));
}

uint32_t virtio_offered_features(const struct vmm_virtio_device *device, uint32_t select)
{
	return half_of(device->offered, select);
}

uint32_t virtio_driver_features(const struct vmm_virtio_device *device, uint32_t select)
{
	return half_of(device->driver_features, select);
}

void virtio_set_driver_features(
	struct vmm_virtio_device *device, uint32_t select, uint32_t features)
{
	unsigned int shift = 32 * select;

	if (select > 1 || device->resetting || (get_status(device) & VMM_VIRTIO_STATUS_FEATURES_OK))
		return;
	device->driver_features &= ~(UINT64_C(0xffffffff) << shift);
	device->driver_features |= (uint64_t)features << shift;
}

struct virtio_queue *virtio_select(struct vmm_virtio_device *device, uint32_t index)
{
	return index < device->n_queues ? &device->queues[index] : NULL;
}

bool virtio_queue_is_configurable(
	const struct vmm_virtio_device *device, const struct virtio_queue *queue)
{
	uint8_t status = get_status(device);

	if (!queue || device->resetting || queue->enabled || queue->resetting)
		return false;
	/* Once the driver is ready only a queue that it reset may be set up anew (2.6.1). */
	return !(status & VMM_VIRTIO_STATUS_DRIVER_OK) || queue->was_reset;
}

void virtio_queue_set_size(
	struct vmm_virtio_device *device, struct virtio_queue *queue, uint32_t size)
{
	if (!virtio_queue_is_configurable(device, queue) || size == 0 || size > queue->max_size)
		return;
	queue->config.size = size;
}

void virtio_queue_set_address(struct vmm_virtio_device *device, struct virtio_queue *queue,
	uint64_t *address, unsigned int half, uint32_t value)
{
	unsigned int shift = 32 * half;

	if (!virtio_queue_is_configurable(device, queue))
		return;
	*address &= ~(UINT64_C(0xffffffff) << shift);
	*address |= (uint64_t)value << shift;
}

void virtio_queue_enable(struct vmm_virtio_device *device, struct virtio_queue *queue)
{
	unsigned int index;
	int r;

	if (!virtio_queue_is_configurable(device, queue))
		return;
	queue->enabled = true;
	if (!device->activated)
		return;

	/* A queue comes back after its reset while the device runs. */
	index = virtio_queue_index(device, queue);
	queue->was_reset = false;
	virtio_lock_all(device);
	r = activate_queue(device, queue);
	if (r == 0 && device->ops->queue_enable)
		r = device->ops->queue_enable(device->userdata, index);
	if (r == 0)
		make_live(queue);
	else
		vmm_virtqueue_deactivate(queue->vq);
	virtio_unlock_all(device);
	if (r < 0)
		vmm_virtio_fail(device);
	else if (device->transport_ops)
		device->transport_ops->activated(device->transport);
}

static void finish_queue_reset(struct virtio_queue *queue)
{
	queue->config = (struct vmm_virtqueue_config){ .size = queue->max_size };
	queue->enabled = false;
	queue->resetting = false;
	queue->was_reset = true;
}

void virtio_queue_reset(struct vmm_virtio_device *device, struct virtio_queue *queue)
{
	int r = 0;

	if (!queue || !queue->enabled || queue->resetting || device->resetting ||
		!device->activated || !has_feature(device, VMM_VIRTIO_F_RING_RESET))
		return;
	__atomic_store_n(&queue->reset_done, false, __ATOMIC_SEQ_CST);
	virtio_lock_all(device);
	queue->live = false;
	vmm_virtqueue_deactivate(queue->vq);
	if (device->ops->queue_reset)
		r = device->ops->queue_reset(device->userdata, virtio_queue_index(device, queue));
	virtio_unlock_all(device);
	if (r > 0)
		queue->resetting = true;
	else
		finish_queue_reset(queue);
}

void virtio_queue_reset_poll(struct vmm_virtio_device *device, struct virtio_queue *queue)
{
	if (queue->resetting && __atomic_load_n(&queue->reset_done, __ATOMIC_ACQUIRE))
		finish_queue_reset(queue);
}

void virtio_read_config(struct vmm_virtio_device *device, uint64_t offset, void *data, size_t size)
{
	uint64_t end;

	if (__builtin_add_overflow(offset, size, &end) || end > device->config_size_bytes) {
		memset(data, 0xff, size);
		return;
	}
	if (device->ops->read_config)
		device->ops->read_config(device->userdata, (uint32_t)offset, data, size);
	else
		memcpy(data, (const uint8_t *)device->config_space + offset, size);
}

void virtio_write_config(
	struct vmm_virtio_device *device, uint64_t offset, const void *data, size_t size)
{
	uint64_t end;

	if (__builtin_add_overflow(offset, size, &end) || end > device->config_size_bytes)
		return;
	if (device->ops->write_config && !device->resetting)
		device->ops->write_config(device->userdata, (uint32_t)offset, data, size);
}

void virtio_kick(struct vmm_virtio_device *device, uint32_t index)
{
	/* Not before DRIVER_OK: the device may not be used then (3.1.1). */
	if (index < device->n_queues && (get_status(device) & VMM_VIRTIO_STATUS_DRIVER_OK))
		vmm_base_eventfd_signal(device->queues[index].kick_fd);
}

void virtio_doorbell_bind(struct virtio_queue *queue, const struct vmm_virtio_doorbell *doorbell,
	const struct vmm_virtio_doorbell_ops *ops, void *userdata)
{
	if (!ops || queue->bound)
		return;
	/* Where this fails the access comes to the transport, which signals by itself. */
	if (ops->bind(userdata, doorbell) < 0)
		return;
	queue->doorbell = *doorbell;
	queue->bound = true;
}

void virtio_doorbell_unbind(
	struct virtio_queue *queue, const struct vmm_virtio_doorbell_ops *ops, void *userdata)
{
	if (!queue->bound)
		return;
	queue->bound = false;
	ops->unbind(userdata, &queue->doorbell);
}

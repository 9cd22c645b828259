/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio: a device's side of the core: queues, interrupts, configuration changes, pause. The
 * driver's side is in control.c. Contract: virtio.h.
 */
#include "virtio/virtio-internal.h"

#include <string.h>
#include <sys/eventfd.h>

static int check_config(const struct vmm_virtio_device_config *config)
{
	if (config->n_queues == 0 || config->n_queues > VMM_VIRTIO_MAX_QUEUES)
		return -EINVAL;
	if (config->config_size_bytes > VMM_VIRTIO_MAX_CONFIG_BYTES)
		return -EINVAL;
	if (config->config_size_bytes > 0 && !config->config_space && !config->ops->read_config)
		return -EINVAL;
	if (!config->mem || !config->ops || !config->ops->process || !config->queue_sizes)
		return -EINVAL;
	for (unsigned int i = 0; i < config->n_queues; i++) {
		uint16_t size = config->queue_sizes[i];

		if (size == 0 || size > VMM_VIRTQUEUE_MAX_SIZE || (size & (size - 1)) != 0)
			return -EINVAL;
	}
	return 0;
}

DEFINE_POINTER_CLEANUP(struct vmm_virtio_device, vmm_virtio_device_free);

int vmm_virtio_device_new(
	const struct vmm_virtio_device_config *config, struct vmm_virtio_device **ret_device)
{
	CLEANUP(vmm_virtio_device_free_p) struct vmm_virtio_device *device = NULL;
	int r;

	if (!config->ops)
		return -EINVAL;
	r = check_config(config);
	if (r < 0)
		return r;
	device = malloc(sizeof(*device) + config->n_queues * sizeof(device->queues[0]));
	if (!device)
		return -ENOMEM;
	*device = (struct vmm_virtio_device){
		.device_type = config->device_type,
		.pci_class_code = config->pci_class_code,
		.offered = config->features | VMM_VIRTIO_F_VERSION_1,
		.n_queues = config->n_queues,
		.lock_per_queue = config->lock_per_queue,
		.config_space = config->config_space,
		.config_size_bytes = config->config_size_bytes,
		.ops = config->ops,
		.userdata = config->userdata,
		.mem = config->mem,
		.config_fd = -EBADF,
	};
	pthread_mutex_init(&device->control, NULL);
	pthread_mutex_init(&device->done_lock, NULL);
	pthread_cond_init(&device->done_cond, NULL);
	for (unsigned int i = 0; i < device->n_queues; i++) {
		struct virtio_queue *queue = &device->queues[i];

		*queue = (struct virtio_queue){
			.max_size = config->queue_sizes[i],
			.kick_fd = -EBADF,
			.interrupt_fd = -EBADF,
			.vector = NO_VECTOR,
			.config.size = config->queue_sizes[i],
		};
		pthread_mutex_init(&queue->own_lock, NULL);
		queue->lock = &device->queues[config->lock_per_queue ? i : 0].own_lock;
	}
	for (unsigned int i = 0; i < device->n_queues; i++) {
		struct virtio_queue *queue = &device->queues[i];

		queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (queue->kick_fd < 0)
			return -errno;
		r = vmm_virtqueue_new(config->mem, &queue->vq);
		if (r < 0)
			return r;
	}
	*ret_device = TAKE_PTR(device);
	return 0;
}

struct vmm_virtio_device *vmm_virtio_device_free(struct vmm_virtio_device *device)
{
	if (!device)
		return NULL;
	assert(!device->transport_ops);
	for (unsigned int i = 0; i < device->n_queues; i++) {
		struct virtio_queue *queue = &device->queues[i];

		vmm_virtqueue_free(queue->vq);
		vmm_base_close(queue->kick_fd);
		pthread_mutex_destroy(&queue->own_lock);
	}
	pthread_cond_destroy(&device->done_cond);
	pthread_mutex_destroy(&device->done_lock);
	pthread_mutex_destroy(&device->control);
	free(device);
	return NULL;
}

uint16_t vmm_virtio_device_type(const struct vmm_virtio_device *device)
{
	return device->device_type;
}

unsigned int vmm_virtio_n_queues(const struct vmm_virtio_device *device)
{
	return device->n_queues;
}

int vmm_virtio_kick_fd(const struct vmm_virtio_device *device, unsigned int queue_index)
{
	assert(queue_index < device->n_queues);
	return device->queues[queue_index].kick_fd;
}

void vmm_virtio_lock(struct vmm_virtio_device *device, unsigned int queue_index)
{
	assert(queue_index < device->n_queues);
	pthread_mutex_lock(device->queues[queue_index].lock);
}

void vmm_virtio_unlock(struct vmm_virtio_device *device, unsigned int queue_index)
{
	pthread_mutex_unlock(device->queues[queue_index].lock);
}

struct vmm_virtqueue *vmm_virtio_queue(struct vmm_virtio_device *device, unsigned int queue_index)
{
	if (__atomic_load_n(&device->pause_state, __ATOMIC_ACQUIRE) != RUNNING)
		return NULL;
	return vmm_virtio_queue_finishing(device, queue_index);
}

struct vmm_virtqueue *vmm_virtio_queue_finishing(
	struct vmm_virtio_device *device, unsigned int queue_index)
{
	struct virtio_queue *queue = &device->queues[queue_index];

	assert(queue_index < device->n_queues);
	return queue->live ? queue->vq : NULL;
}

int vmm_virtio_process(struct vmm_virtio_device *device, unsigned int queue_index)
{
	struct virtio_queue *queue = &device->queues[queue_index];
	struct vmm_virtqueue *vq;
	int r = 0;

	assert(queue_index < device->n_queues);
	/* Before the look at the ring: a kick that comes after it is not lost. */
	vmm_base_eventfd_clear(queue->kick_fd, NULL);

	pthread_mutex_lock(queue->lock);
	vq = vmm_virtio_queue(device, queue_index);
	/* Nothing comes out of a broken queue: it waits for the reset. */
	if (vq && !vmm_virtqueue_fault(vq)) {
		r = device->ops->process(device->userdata, queue_index, vq);
		vmm_virtio_notify(device, queue_index);
		if (r < 0)
			vmm_virtio_fail(device);
		else if (r > 0)
			vmm_base_eventfd_signal(queue->kick_fd);
	}
	pthread_mutex_unlock(queue->lock);
	return r < 0 ? r : 0;
}

void vmm_virtio_notify(struct vmm_virtio_device *device, unsigned int queue_index)
{
	if (vmm_virtqueue_should_notify(device->queues[queue_index].vq))
		vmm_virtio_interrupt(device, queue_index);
}

/* On MMIO, and on PCI without a vector, the driver looks at the interrupt status first. */
static void interrupt(struct vmm_virtio_device *device, int fd, uint32_t isr)
{
	__atomic_fetch_or(&device->isr, isr, __ATOMIC_SEQ_CST);
	if (fd >= 0)
		vmm_base_eventfd_signal(fd);
}

void vmm_virtio_interrupt(struct vmm_virtio_device *device, unsigned int queue_index)
{
	struct virtio_queue *queue = &device->queues[queue_index];

	assert(queue_index < device->n_queues);
	interrupt(device, __atomic_load_n(&queue->interrupt_fd, __ATOMIC_ACQUIRE), ISR_QUEUE);
}

static void config_interrupt(struct vmm_virtio_device *device)
{
	/* Not before the driver is ready for it: VIRTIO 1.2, 2.1.2. */
	if (!(__atomic_load_n(&device->status, __ATOMIC_ACQUIRE) & VMM_VIRTIO_STATUS_DRIVER_OK))
		return;
	interrupt(device, __atomic_load_n(&device->config_fd, __ATOMIC_ACQUIRE), ISR_CONFIG);
}

void vmm_virtio_fail(struct vmm_virtio_device *device)
{
	/* Told once: a driver that goes on kicking gets no storm of interrupts. */
	if (__atomic_exchange_n(&device->needs_reset, true, __ATOMIC_SEQ_CST))
		return;
	config_interrupt(device);
	if (device->failed)
		device->failed(device->failed_userdata);
}

void vmm_virtio_set_failed(
	struct vmm_virtio_device *device, void (*failed)(void *userdata), void *userdata)
{
	device->failed = failed;
	device->failed_userdata = userdata;
}

void vmm_virtio_withhold(struct vmm_virtio_device *device, uint64_t features)
{
	device->offered &= ~features | VMM_VIRTIO_F_VERSION_1;
}

uint64_t vmm_virtio_features(const struct vmm_virtio_device *device)
{
	return __atomic_load_n(&device->features, __ATOMIC_ACQUIRE);
}

uint8_t vmm_virtio_status(const struct vmm_virtio_device *device)
{
	uint8_t status = __atomic_load_n(&device->status, __ATOMIC_ACQUIRE);

	if (__atomic_load_n(&device->needs_reset, __ATOMIC_ACQUIRE))
		status |= VMM_VIRTIO_STATUS_NEEDS_RESET;
	return status;
}

bool vmm_virtio_is_active(const struct vmm_virtio_device *device)
{
	return vmm_virtio_status(device) & VMM_VIRTIO_STATUS_DRIVER_OK;
}

void vmm_virtio_config_begin(struct vmm_virtio_device *device)
{
	virtio_control_lock(device);
}

void vmm_virtio_config_end(struct vmm_virtio_device *device, bool changed)
{
	if (changed) {
		__atomic_fetch_add(&device->generation, 1, __ATOMIC_SEQ_CST);
		config_interrupt(device);
	}
	virtio_control_unlock(device);
}

int vmm_virtio_queue_config(struct vmm_virtio_device *device, unsigned int queue_index,
	struct vmm_virtqueue_config *ret_config)
{
	const struct virtio_queue *queue = &device->queues[queue_index];

	if (queue_index >= device->n_queues)
		return -EINVAL;
	if (!queue->enabled)
		return -ENOENT;
	*ret_config = queue->config;
	ret_config->features = vmm_virtio_features(device);
	return 0;
}

int vmm_virtio_queue_interrupt_fd(const struct vmm_virtio_device *device, unsigned int queue_index)
{
	const struct virtio_queue *queue = &device->queues[queue_index];

	assert(queue_index < device->n_queues);
	/* Without a vector of its own the interrupt status has to be set as well. */
	if (queue->vector == NO_VECTOR)
		return -EBADF;
	return __atomic_load_n(&queue->interrupt_fd, __ATOMIC_ACQUIRE);
}

static void pause_complete(struct vmm_virtio_device *device)
{
	void (*paused)(void *userdata);
	void *userdata;
	int expected = PAUSING;

	pthread_mutex_lock(&device->done_lock);
	if (!__atomic_compare_exchange_n(&device->pause_state, &expected, PAUSED, false,
		    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		pthread_mutex_unlock(&device->done_lock);
		return;
	}
	paused = TAKE_PTR(device->paused);
	userdata = device->paused_userdata;
	pthread_mutex_unlock(&device->done_lock);
	if (paused)
		paused(userdata);
}

void vmm_virtio_pause_done(struct vmm_virtio_device *device)
{
	pause_complete(device);
}

void vmm_virtio_reset_done(struct vmm_virtio_device *device)
{
	pthread_mutex_lock(&device->done_lock);
	device->reset_done = true;
	pthread_cond_broadcast(&device->done_cond);
	pthread_mutex_unlock(&device->done_lock);
	/* Nothing is in flight now, which is also what a pause may be waiting for. */
	pause_complete(device);
}

void vmm_virtio_queue_reset_done(struct vmm_virtio_device *device, unsigned int queue_index)
{
	assert(queue_index < device->n_queues);
	pthread_mutex_lock(&device->done_lock);
	__atomic_store_n(&device->queues[queue_index].reset_done, true, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&device->done_cond);
	pthread_mutex_unlock(&device->done_lock);
}

void virtio_lock_all(struct vmm_virtio_device *device)
{
	unsigned int n = device->lock_per_queue ? device->n_queues : 1;

	for (unsigned int i = 0; i < n; i++)
		pthread_mutex_lock(&device->queues[i].own_lock);
}

void virtio_unlock_all(struct vmm_virtio_device *device)
{
	unsigned int n = device->lock_per_queue ? device->n_queues : 1;

	while (n-- > 0)
		pthread_mutex_unlock(&device->queues[n].own_lock);
}

int vmm_virtio_pause(struct vmm_virtio_device *device, void (*done)(void *userdata), void *userdata)
{
	int r = 0;

	virtio_control_lock(device);
	if (__atomic_load_n(&device->pause_state, __ATOMIC_ACQUIRE) != RUNNING) {
		virtio_control_unlock(device);
		return -EALREADY;
	}
	pthread_mutex_lock(&device->done_lock);
	device->paused = done;
	device->paused_userdata = userdata;
	pthread_mutex_unlock(&device->done_lock);

	virtio_lock_all(device);
	__atomic_store_n(&device->pause_state, PAUSING, __ATOMIC_SEQ_CST);
	if (device->resetting)
		r = 1; /* its end is the end of all that is in flight */
	else if (device->activated && device->ops->pause)
		r = device->ops->pause(device->userdata);

	pthread_mutex_lock(&device->done_lock);
	if (r == 1 && device->resetting && device->reset_done)
		r = 0; /* it ended while we looked */
	if (r <= 0 && __atomic_load_n(&device->pause_state, __ATOMIC_ACQUIRE) == PAUSING) {
		device->paused = NULL;
		__atomic_store_n(&device->pause_state, r < 0 ? RUNNING : PAUSED, __ATOMIC_SEQ_CST);
	}
	pthread_mutex_unlock(&device->done_lock);
	virtio_unlock_all(device);
	virtio_control_unlock(device);
	return r;
}

bool vmm_virtio_is_paused(const struct vmm_virtio_device *device)
{
	return __atomic_load_n(&device->pause_state, __ATOMIC_ACQUIRE) == PAUSED;
}

void vmm_virtio_resume(struct vmm_virtio_device *device)
{
	virtio_control_lock(device);
	virtio_lock_all(device);
	if (__atomic_load_n(&device->pause_state, __ATOMIC_ACQUIRE) != RUNNING) {
		__atomic_store_n(&device->pause_state, RUNNING, __ATOMIC_SEQ_CST);
		if (device->activated && !device->resetting && device->ops->resume)
			device->ops->resume(device->userdata);
		/* Kicks that came while paused were cleared: look at every queue once. */
		for (unsigned int i = 0; i < device->n_queues; i++)
			if (device->queues[i].live)
				vmm_base_eventfd_signal(device->queues[i].kick_fd);
	}
	virtio_unlock_all(device);
	virtio_control_unlock(device);
}

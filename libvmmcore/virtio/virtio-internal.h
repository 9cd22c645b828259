/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The device core as the transports see it. A transport decodes register accesses and calls the
 * virtio_...() functions below between virtio_control_lock() and virtio_control_unlock().
 */
#ifndef VMM_VIRTIO_INTERNAL_H
#define VMM_VIRTIO_INTERNAL_H

#include <pthread.h>

#include <vmmcore/virtio.h>

#include "base/util.h"

#define ISR_QUEUE 1u
#define ISR_CONFIG 2u
#define NO_VECTOR 0xffff

struct virtio_queue {
	/* Constant. */
	uint16_t max_size;
	int kick_fd;              /* owned, never blocks */
	struct vmm_virtqueue *vq; /* owned; what it points to: data lock */
	pthread_mutex_t *lock;    /* the data lock: own_lock, or the first queue's */
	pthread_mutex_t own_lock;

	/* Registers: control lock. */
	struct vmm_virtqueue_config config;
	bool enabled;   /* the driver made it ready; from then on config does not change */
	bool was_reset; /* since DRIVER_OK: may be enabled again */
	bool resetting; /* queue reset is under way */
	uint16_t vector;
	struct vmm_virtio_doorbell doorbell;
	bool bound; /* doorbell is bound */

	/* Data lock. */
	bool live;

	/* Atomic. */
	bool reset_done; /* the device finished the queue reset */
	int interrupt_fd;
};

enum pause_state {
	RUNNING,
	PAUSING,
	PAUSED,
};

/* Called with the control lock held. */
struct virtio_transport_ops {
	/* Queues may have become enabled: bind doorbells. */
	void (*activated)(void *transport);
	/* The transport's own registers go back to their state after power-on. */
	void (*reset)(void *transport);
};

struct vmm_virtio_device {
	/* Constant. */
	uint16_t device_type;
	uint32_t pci_class_code;
	uint64_t offered;
	uint16_t n_queues;
	bool lock_per_queue;
	const void *config_space;
	uint32_t config_size_bytes;
	const struct vmm_virtio_ops *ops;
	void *userdata;
	struct vmm_mem *mem;
	void (*failed)(void *userdata); /* may be NULL */
	void *failed_userdata;
	const struct virtio_transport_ops *transport_ops; /* NULL: on no transport */
	void *transport;

	/* Control lock. */
	pthread_mutex_t control;
	uint64_t driver_features; /* as written so far */
	bool activated;           /* ops->activate succeeded, and no reset since */
	bool resetting;           /* reset under way, reset_done may have become true */

	/* Atomic. */
	uint8_t status;
	bool needs_reset;
	uint64_t features; /* negotiated */
	uint32_t generation;
	uint32_t isr;
	int config_fd; /* configuration change interrupt, -EBADF: none */
	int pause_state;

	/* Under done_lock, which is a leaf: nothing is locked under it. */
	pthread_mutex_t done_lock;
	pthread_cond_t done_cond;
	bool reset_done;
	void (*paused)(void *userdata);
	void *paused_userdata;

	struct virtio_queue queues[];
};

/* Locks, and finishes a reset that the device has completed meanwhile. */
void virtio_control_lock(struct vmm_virtio_device *device);
void virtio_control_unlock(struct vmm_virtio_device *device);

/* All of the following: with the control lock held, but for virtio_kick(). */
int virtio_attach(
	struct vmm_virtio_device *device, const struct virtio_transport_ops *ops, void *transport);
void virtio_detach(struct vmm_virtio_device *device);

/* Returns 1 where this began a reset that is not over yet. */
int virtio_set_status(struct vmm_virtio_device *device, uint8_t status);
uint32_t virtio_offered_features(const struct vmm_virtio_device *device, uint32_t select);
uint32_t virtio_driver_features(const struct vmm_virtio_device *device, uint32_t select);
void virtio_set_driver_features(
	struct vmm_virtio_device *device, uint32_t select, uint32_t features);

/* The selected queue, or NULL. */
struct virtio_queue *virtio_select(struct vmm_virtio_device *device, uint32_t index);

/* Where the driver may still configure it. NULL is allowed and gives false. */
bool virtio_queue_is_configurable(
	const struct vmm_virtio_device *device, const struct virtio_queue *queue);
void virtio_queue_set_size(
	struct vmm_virtio_device *device, struct virtio_queue *queue, uint32_t size);
/* Replaces half (0: low, 1: high) of an address. */
void virtio_queue_set_address(struct vmm_virtio_device *device, struct virtio_queue *queue,
	uint64_t *address, unsigned int half, uint32_t value);
void virtio_queue_enable(struct vmm_virtio_device *device, struct virtio_queue *queue);
/* Begins a queue reset; queue->resetting tells whether it is under way still. */
void virtio_queue_reset(struct vmm_virtio_device *device, struct virtio_queue *queue);
void virtio_queue_reset_poll(struct vmm_virtio_device *device, struct virtio_queue *queue);

void virtio_read_config(struct vmm_virtio_device *device, uint64_t offset, void *data, size_t size);
void virtio_write_config(
	struct vmm_virtio_device *device, uint64_t offset, const void *data, size_t size);

/* A kick that took the way through the transport. No lock. */
void virtio_kick(struct vmm_virtio_device *device, uint32_t index);

/* The data locks of all queues, in their order. */
void virtio_lock_all(struct vmm_virtio_device *device);
void virtio_unlock_all(struct vmm_virtio_device *device);

/* Binds the doorbell of a queue unless it is bound; unbinds it where it is. */
void virtio_doorbell_bind(struct virtio_queue *queue, const struct vmm_virtio_doorbell *doorbell,
	const struct vmm_virtio_doorbell_ops *ops, void *userdata);
void virtio_doorbell_unbind(
	struct virtio_queue *queue, const struct vmm_virtio_doorbell_ops *ops, void *userdata);

static inline unsigned int virtio_queue_index(
	const struct vmm_virtio_device *device, const struct virtio_queue *queue)
{
	return (unsigned int)(queue - device->queues);
}

#endif

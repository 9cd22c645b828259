/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio: what all virtio devices share (VIRTIO 1.2, 2 and 3) and the transports that carry
 * them: virtio-mmio (4.2, version 2) and virtio-pci (4.1, modern). A device is written once,
 * against vmm_virtio_ops, and knows neither its transport nor KVM nor an event loop.
 *
 * How to write a device
 *
 * Give vmm_virtio_device_new() what the device offers: features, queues, configuration space,
 * and operations. Of those only process() is needed. It is called with a queue that is live,
 * under that queue's data lock, when the driver kicked it, and serves it as virtqueue.h shows.
 *
 * Somebody (a loop, or a thread of the device) waits for vmm_virtio_kick_fd() and then calls
 * vmm_virtio_process(). A device that does something without a kick (a packet came, a timer, a
 * request completed) does
 *
 *	vmm_virtio_lock(device, i);
 *	queue = vmm_virtio_queue(device, i);       NULL: not running now, come back after a kick
 *	if (queue) {
 *		... pop, push ...
 *		vmm_virtio_notify(device, i);
 *	}
 *	vmm_virtio_unlock(device, i);
 *
 * Nothing else touches a queue or guest memory, so a device whose requests begin and end inside
 * one lock is safe against reset, queue reset and pause by construction. The core resets under
 * the same locks: once it holds one, vmm_virtio_queue() gives NULL.
 *
 * A device with requests in flight between two calls (io_uring, a thread pool) also has reset(),
 * pause() and, where it offers VMM_VIRTIO_F_RING_RESET, queue_reset(). Each returns 0 where
 * nothing is in flight any more, or 1, and then calls the matching vmm_virtio_..._done() as soon
 * as that is so. Until then the device's status does not read 0 (PCI) or the driver's write
 * waits (MMIO). A request that ends after reset() finds vmm_virtio_queue_finishing() NULL and
 * is dropped; one that ends while pausing still gets its queue from there and is pushed.
 *
 * activate(), reset(), queue_reset(), pause() and resume() are called with all data locks held,
 * so what they share with process() needs no lock of the device's own.
 *
 * Locks and their order: pci bridge, control lock of the device, data locks in ascending
 * order. By default all queues of a device share one data lock (then "data lock" i and j are the
 * same, and it is not recursive); with lock_per_queue each has its own, for devices that serve
 * queues in several threads.
 *
 *   | function                               | may be called                                   |
 *   |----------------------------------------|-------------------------------------------------|
 *   | vmm_virtio_process, _pause, _resume,   | any thread, no lock of this device held         |
 *   |   _config_begin, _config_end           |                                                 |
 *   | vmm_virtio_queue, _queue_finishing,    | under the queue's data lock                     |
 *   |   _notify, _fail                       |                                                 |
 *   | vmm_virtio_reset_done, _pause_done,    | any thread, under data locks or none, never     |
 *   |   _queue_reset_done                    |   from inside the operation that returned 1     |
 *   | vmm_virtio_features, _kick_fd,         | any thread, any lock                            |
 *   |   _interrupt, _is_active               |                                                 |
 *
 * Hostile inputs and what happens:
 *
 *   | input                                              | result                            |
 *   |----------------------------------------------------|-----------------------------------|
 *   | register access of a wrong size or alignment       | reads all ones, writes vanish     |
 *   | unknown register                                   | reads 0, writes vanish            |
 *   | queue_select out of range                          | size reads 0, writes vanish       |
 *   | features that were not offered, or no VERSION_1    | FEATURES_OK stays clear           |
 *   | features after FEATURES_OK                         | vanish                            |
 *   | DRIVER_OK without FEATURES_OK                      | NEEDS_RESET                       |
 *   | clearing status bits other than by 0               | vanishes                          |
 *   | queue size above the device's, or no power of two  | vanishes, or NEEDS_RESET when used|
 *   | queue registers after DRIVER_OK or queue_enable    | vanish                            |
 *   | ring that virtqueue refuses                        | NEEDS_RESET                       |
 *   | ring broken while running                          | that queue stops, NEEDS_RESET     |
 *   | kick of a queue that is not there or not live      | vanishes                          |
 *   | configuration access beyond its size               | reads all ones, writes vanish     |
 *   | any write while a reset is under way               | vanishes, or waits for it         |
 *   | MSI-X vector that there is not                     | reads back as NO_VECTOR           |
 *
 * Threads: see the table. Register accesses come from any thread through the bus.
 */
#ifndef VMMCORE_VIRTIO_H
#define VMMCORE_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/bus.h>
#include <vmmcore/mem.h>
#include <vmmcore/pci.h>
#include <vmmcore/virtqueue.h>

VMM_BEGIN_DECLS

#define VMM_VIRTIO_MAX_QUEUES 1024
#define VMM_VIRTIO_MAX_CONFIG_BYTES 2048

/* Feature bits that belong to no device type (VIRTIO 1.2, 6); the others are in virtqueue.h. */
#define VMM_VIRTIO_F_VERSION_1 (UINT64_C(1) << 32)
#define VMM_VIRTIO_F_ACCESS_PLATFORM (UINT64_C(1) << 33)
#define VMM_VIRTIO_F_RING_RESET (UINT64_C(1) << 40)

/* Device status (VIRTIO 1.2, 2.1). */
#define VMM_VIRTIO_STATUS_ACKNOWLEDGE 1
#define VMM_VIRTIO_STATUS_DRIVER 2
#define VMM_VIRTIO_STATUS_DRIVER_OK 4
#define VMM_VIRTIO_STATUS_FEATURES_OK 8
#define VMM_VIRTIO_STATUS_NEEDS_RESET 64
#define VMM_VIRTIO_STATUS_FAILED 128

struct vmm_virtio_device;

/* All but process may be NULL. userdata is the one of the config. */
struct vmm_virtio_ops {
	/*
	 * Serves a live queue, under its data lock. Returns 0; 1 where it stopped early and wants
	 * to be called again; -VMM_EGUEST or a negative errno: the device then needs a reset.
	 */
	int (*process)(void *userdata, unsigned int queue_index, struct vmm_virtqueue *queue);

	/*
	 * The driver set DRIVER_OK. vmm_virtio_features() and the queues are final, nothing was
	 * processed yet. Negative: the device needs a reset.
	 */
	int (*activate)(void *userdata);

	/* The driver reset the device, or one queue. 0, or 1: _done() follows. */
	int (*reset)(void *userdata);
	int (*queue_reset)(void *userdata, unsigned int queue_index);

	/* A queue that was reset is live again. Negative: the device needs a reset. */
	int (*queue_enable)(void *userdata, unsigned int queue_index);

	/* process() is called no more. 0, or 1: _done() follows when nothing is in flight. */
	int (*pause)(void *userdata);
	void (*resume)(void *userdata);

	/*
	 * The device's configuration space, instead of config->config_space: under the control
	 * lock. offset + size lies within config_size_bytes. Without write_config it is
	 * read-only.
	 */
	void (*read_config)(void *userdata, uint32_t offset, void *data, size_t size);
	void (*write_config)(void *userdata, uint32_t offset, const void *data, size_t size);
};

struct vmm_virtio_device_config {
	uint16_t device_type;        /* VIRTIO 1.2, 5: 1 net, 2 block, 3 console, 4 entropy... */
	uint32_t pci_class_code;     /* 24 bits; 0: a class that fits no other */
	uint64_t features;           /* offered; VERSION_1 is added */
	uint16_t n_queues;           /* 1 to VMM_VIRTIO_MAX_QUEUES */
	const uint16_t *queue_sizes; /* n_queues maxima, powers of two; copied */
	bool lock_per_queue;
	/*
	 * Bytes that a read of configuration space gives, little-endian, and their number.
	 * Borrowed; changed by the device only between vmm_virtio_config_begin() and _end().
	 */
	const void *config_space;
	uint32_t config_size_bytes;
	struct vmm_mem *mem;              /* borrowed, outlives the device */
	const struct vmm_virtio_ops *ops; /* borrowed */
	void *userdata;                   /* borrowed */
};

/*
 * Ring features that every device may add to what it offers: INDIRECT_DESC, EVENT_IDX,
 * RING_PACKED. RING_RESET needs queue_reset() of devices that have requests in flight, and
 * IN_ORDER a device that pushes in the order in which it popped.
 */
#define VMM_VIRTIO_RING_FEATURES                                                                   \
	(VMM_VIRTIO_F_INDIRECT_DESC | VMM_VIRTIO_F_EVENT_IDX | VMM_VIRTIO_F_RING_PACKED)
/* All of them: of a device that answers each request before the next. */
#define VMM_VIRTIO_IN_ORDER_FEATURES                                                               \
	(VMM_VIRTIO_RING_FEATURES | VMM_VIRTIO_F_RING_RESET | VMM_VIRTIO_F_IN_ORDER)

/* -EINVAL, -ENOMEM, errno of eventfd. */
VMM_PUBLIC int vmm_virtio_device_new(
	const struct vmm_virtio_device_config *config, struct vmm_virtio_device **ret_device);

/* Its transport is gone, nobody is in process() and nothing is in flight. NULL to NULL. */
VMM_PUBLIC struct vmm_virtio_device *vmm_virtio_device_free(struct vmm_virtio_device *device);

VMM_PUBLIC uint16_t vmm_virtio_device_type(const struct vmm_virtio_device *device);
VMM_PUBLIC unsigned int vmm_virtio_n_queues(const struct vmm_virtio_device *device);

/* The eventfd that becomes readable when the driver kicked the queue. Borrowed. */
VMM_PUBLIC int vmm_virtio_kick_fd(const struct vmm_virtio_device *device, unsigned int queue_index);

/*
 * Clears the kick and serves the queue: process(), then an interrupt if the driver wants one.
 * Does nothing where the queue is not live. Returns 0, or what process() failed with, for the
 * monitor to report: the device has been told to fail already.
 */
VMM_PUBLIC int vmm_virtio_process(struct vmm_virtio_device *device, unsigned int queue_index);

VMM_PUBLIC void vmm_virtio_lock(struct vmm_virtio_device *device, unsigned int queue_index);
VMM_PUBLIC void vmm_virtio_unlock(struct vmm_virtio_device *device, unsigned int queue_index);

/* The queue where it is live and the device not paused, or NULL. */
VMM_PUBLIC struct vmm_virtqueue *vmm_virtio_queue(
	struct vmm_virtio_device *device, unsigned int queue_index);

/* The same, also while the device is pausing or paused: only to push what was popped before. */
VMM_PUBLIC struct vmm_virtqueue *vmm_virtio_queue_finishing(
	struct vmm_virtio_device *device, unsigned int queue_index);

/* Interrupts the driver where it wants that for what was pushed. */
VMM_PUBLIC void vmm_virtio_notify(struct vmm_virtio_device *device, unsigned int queue_index);

/* Interrupts the driver for this queue without asking. One write, no lock. */
VMM_PUBLIC void vmm_virtio_interrupt(struct vmm_virtio_device *device, unsigned int queue_index);

/*
 * The device cannot go on: sets NEEDS_RESET and interrupts the driver. A queue that is broken
 * stays so, the others go on until the driver resets.
 */
VMM_PUBLIC void vmm_virtio_fail(struct vmm_virtio_device *device);

/*
 * For the monitor, before the device is on a transport: failed() is called each time that
 * NEEDS_RESET is set, whoever's fault that is. In any thread, with locks of the device held: it
 * only wakes somebody up.
 */
VMM_PUBLIC void vmm_virtio_set_failed(
	struct vmm_virtio_device *device, void (*failed)(void *userdata), void *userdata);

/* For the monitor, before the device is on a transport: these features are not offered. */
VMM_PUBLIC void vmm_virtio_withhold(struct vmm_virtio_device *device, uint64_t features);

/* Negotiated; 0 before FEATURES_OK. */
VMM_PUBLIC uint64_t vmm_virtio_features(const struct vmm_virtio_device *device);

/* Between DRIVER_OK and the next reset. */
VMM_PUBLIC bool vmm_virtio_is_active(const struct vmm_virtio_device *device);

/* The device status as the driver would read it. */
VMM_PUBLIC uint8_t vmm_virtio_status(const struct vmm_virtio_device *device);

/*
 * Around a change of configuration space that the device makes itself: holds the control lock,
 * so that drivers never read half of it. changed: the generation goes up and the driver gets a
 * configuration change interrupt.
 */
VMM_PUBLIC void vmm_virtio_config_begin(struct vmm_virtio_device *device);
VMM_PUBLIC void vmm_virtio_config_end(struct vmm_virtio_device *device, bool changed);

VMM_PUBLIC void vmm_virtio_reset_done(struct vmm_virtio_device *device);
VMM_PUBLIC void vmm_virtio_queue_reset_done(
	struct vmm_virtio_device *device, unsigned int queue_index);
VMM_PUBLIC void vmm_virtio_pause_done(struct vmm_virtio_device *device);

/*
 * Stops the device for a while: no queue is served and, once it is paused, nothing is in flight.
 * Returns 0 where it is, or 1: done(userdata) is called later, once, in the thread in which the
 * last request ended. done may be NULL. Pausing twice is -EALREADY.
 */
VMM_PUBLIC int vmm_virtio_pause(
	struct vmm_virtio_device *device, void (*done)(void *userdata), void *userdata);
VMM_PUBLIC bool vmm_virtio_is_paused(const struct vmm_virtio_device *device);

/* Goes on, and serves what was made available since. No effect where it is not paused. */
VMM_PUBLIC void vmm_virtio_resume(struct vmm_virtio_device *device);

/*
 * For queues that are served elsewhere (vhost): in activate(), what the driver configured, and
 * the eventfd that interrupts it, or -EBADF where that takes more than a signal (MMIO).
 */
VMM_PUBLIC int vmm_virtio_queue_config(struct vmm_virtio_device *device, unsigned int queue_index,
	struct vmm_virtqueue_config *ret_config);
VMM_PUBLIC int vmm_virtio_queue_interrupt_fd(
	const struct vmm_virtio_device *device, unsigned int queue_index);

/*
 * Where a guest's write is a kick: the monitor binds the eventfd to it (KVM: an ioeventfd), so
 * that a kick does not leave the kernel. A transport works without, and where bind fails: then it
 * signals fd itself. Called in any thread with locks held: neither may call this block. The same
 * values come with unbind.
 */
struct vmm_virtio_doorbell {
	uint64_t gpa;    /* on the MMIO bus */
	uint32_t length; /* of the write; 0: any */
	bool has_match;  /* only writes of the value match */
	uint64_t match;
	int fd; /* borrowed, outlives the binding */
};

struct vmm_virtio_doorbell_ops {
	int (*bind)(void *userdata, const struct vmm_virtio_doorbell *doorbell);
	void (*unbind)(void *userdata, const struct vmm_virtio_doorbell *doorbell);
};

/* virtio-mmio: 0x200 bytes and more, one edge-triggered interrupt. */
struct vmm_virtio_mmio;

#define VMM_VIRTIO_MMIO_BYTES 4096

struct vmm_virtio_mmio_config {
	struct vmm_bus *bus; /* borrowed */
	uint64_t gpa;        /* VMM_VIRTIO_MMIO_BYTES there */
	int irq_fd;          /* borrowed: an eventfd, one signal an edge (KVM: an irqfd) */
	const struct vmm_virtio_doorbell_ops *doorbell_ops; /* borrowed, may be NULL */
	void *userdata;                                     /* borrowed, for doorbell_ops */
};

/* The device is borrowed and outlives its one transport. -EBUSY, -EINVAL, -ENOMEM, vmm_bus_add() */
VMM_PUBLIC int vmm_virtio_mmio_new(struct vmm_virtio_device *device,
	const struct vmm_virtio_mmio_config *config, struct vmm_virtio_mmio **ret_mmio);

/*
 * Takes the device off the bus; it is not reset: its owner pauses or resets it first with
 * vmm_virtio_reset(). See bus.h about accesses that are still running. NULL to NULL.
 */
VMM_PUBLIC struct vmm_virtio_mmio *vmm_virtio_mmio_free(struct vmm_virtio_mmio *mmio);

/* virtio-pci: a function with an MSI-X vector for each queue and one for configuration. */
struct vmm_virtio_pci;

struct vmm_virtio_pci_config {
	struct vmm_pci_bus *bus; /* borrowed */
	unsigned int slot;       /* 1 to 31, or VMM_PCI_SLOT_ANY */
	uint16_t max_vectors;    /* 0: as many as there are queues, and one */
	struct vmm_msi msi;
	const struct vmm_virtio_doorbell_ops *doorbell_ops; /* borrowed, may be NULL */
	void *userdata;                                     /* borrowed, for doorbell_ops */
};

/* The device is borrowed and outlives its one transport. -EBUSY, -ENOMEM, vmm_pci_bus_add() */
VMM_PUBLIC int vmm_virtio_pci_new(struct vmm_virtio_device *device,
	const struct vmm_virtio_pci_config *config, struct vmm_virtio_pci **ret_pci);
VMM_PUBLIC struct vmm_virtio_pci *vmm_virtio_pci_free(struct vmm_virtio_pci *pci);

/* The slot it is in, and its function. */
VMM_PUBLIC unsigned int vmm_virtio_pci_slot(const struct vmm_virtio_pci *pci);
VMM_PUBLIC struct vmm_pci_function *vmm_virtio_pci_function(struct vmm_virtio_pci *pci);

/*
 * For a driver that is no guest of this program: the other side of vhost-user, say. A transport
 * without registers: queues come and go one by one, each where the driver's ring stands. What
 * the driver says needs no check beforehand. Any thread, no lock of the device held.
 */
struct vmm_virtio_remote;

/*
 * The device is borrowed and outlives its one transport. config_fd is signalled when the
 * configuration changed, borrowed, -EBADF: none. -EBUSY, -ENOMEM
 */
VMM_PUBLIC int vmm_virtio_remote_new(
	struct vmm_virtio_device *device, int config_fd, struct vmm_virtio_remote **ret_remote);
/* As vmm_virtio_mmio_free(). */
VMM_PUBLIC struct vmm_virtio_remote *vmm_virtio_remote_free(struct vmm_virtio_remote *remote);

VMM_PUBLIC uint64_t vmm_virtio_remote_offered(const struct vmm_virtio_remote *remote);

/* From reset to DRIVER_OK, with no queue yet. -VMM_EGUEST: features that the device refuses. */
VMM_PUBLIC int vmm_virtio_remote_start(struct vmm_virtio_remote *remote, uint64_t features);

/*
 * A queue begins at *state (config->features are those negotiated). interrupt_fd: borrowed until
 * the queue is stopped or the device reset, -EBADF: none. -VMM_EGUEST: the ring is refused, or
 * runs already, or there is none such; the device needs no reset for that.
 */
VMM_PUBLIC int vmm_virtio_remote_queue_start(struct vmm_virtio_remote *remote,
	unsigned int queue_index, const struct vmm_virtqueue_config *config,
	const struct vmm_virtqueue_state *state, int interrupt_fd);

/* While the device is paused (-EBUSY): nothing is in flight. -VMM_EGUEST: it does not run. */
VMM_PUBLIC int vmm_virtio_remote_queue_stop(struct vmm_virtio_remote *remote,
	unsigned int queue_index, struct vmm_virtqueue_state *ret_state);

/* While the device is paused: memory regions changed. Queues that have none now are broken. */
VMM_PUBLIC int vmm_virtio_remote_memory_changed(struct vmm_virtio_remote *remote);

/* As registers: beyond the end reads give ones, writes vanish. */
VMM_PUBLIC void vmm_virtio_remote_read_config(
	struct vmm_virtio_remote *remote, uint32_t offset, void *data, size_t size);
VMM_PUBLIC void vmm_virtio_remote_write_config(
	struct vmm_virtio_remote *remote, uint32_t offset, const void *data, size_t size);
VMM_PUBLIC uint32_t vmm_virtio_remote_config_bytes(const struct vmm_virtio_remote *remote);

/*
 * Resets the device from the host's side, as a driver's write of 0 does (machine reset, unplug).
 * 0, or 1 where requests are in flight: vmm_virtio_wait_reset() waits for them.
 */
VMM_PUBLIC int vmm_virtio_reset(struct vmm_virtio_device *device);

/* Waits until no reset is under way. Not in a thread that must run for that to happen. */
VMM_PUBLIC void vmm_virtio_wait_reset(struct vmm_virtio_device *device);

VMM_END_DECLS

#endif

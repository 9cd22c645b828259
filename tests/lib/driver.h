/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * driver: a virtio driver for tests, over the registers of virtio-mmio (VIRTIO 1.2, 4.2.2) and
 * the rings of vring.h. It owns the memory, the bus and the transport; the device under test is
 * made between driver_init() and driver_attach().
 *
 * Guest memory is two regions of DRIVER_RAM_BYTES that are adjacent for the guest and not for
 * the host, so that buffers may cross. Rings lie at the start of the first.
 */
#ifndef VMM_TESTS_DRIVER_H
#define VMM_TESTS_DRIVER_H

#include <vmmcore/bus.h>
#include <vmmcore/mem.h>
#include <vmmcore/virtio.h>

#include "lib/vring.h"

#define DRIVER_RAM_BYTES (UINT64_C(16) << 20)
#define DRIVER_DATA_GPA (UINT64_C(4) << 20) /* free for buffers from here on */
#define DRIVER_MAX_QUEUES 8

struct driver {
	struct vmm_mem *mem;
	struct vmm_bus *bus;
	struct vmm_virtio_device *device; /* borrowed */
	struct vmm_virtio_mmio *mmio;
	int irq_fd;
	uint8_t *ram;
	uint64_t features; /* negotiated */
	struct vring rings[DRIVER_MAX_QUEUES];
};

void driver_init(struct driver *driver);
/* The same with memory that another process can map. */
void driver_init_shared(struct driver *driver);
void driver_attach(struct driver *driver, struct vmm_virtio_device *device);

/* Takes the device off the bus: it may be freed then. */
void driver_detach(struct driver *driver);
void driver_finish(struct driver *driver);

uint32_t driver_read(struct driver *driver, uint32_t reg);
void driver_write(struct driver *driver, uint32_t reg, uint32_t value);
uint8_t driver_status(struct driver *driver);
void driver_config_read(struct driver *driver, uint32_t offset, void *data, size_t size);
void driver_config_write(struct driver *driver, uint32_t offset, uint8_t value);

uint64_t driver_offered(struct driver *driver);

/* Reset to DRIVER_OK: negotiates what of wanted is offered, queues of size. False: refused. */
bool driver_start(
	struct driver *driver, uint64_t wanted, unsigned int n_queues, uint16_t queue_size);

/* Sets up and enables one queue. */
void driver_set_up_queue(struct driver *driver, unsigned int index, uint16_t size);

void driver_reset(struct driver *driver);
void driver_kick(struct driver *driver, unsigned int queue);

/* One chain, made available and kicked if the device wants that; returns its id. */
uint16_t driver_add(struct driver *driver, unsigned int queue, const struct vring_buffer *buffers,
	size_t n, uint64_t indirect_gpa);

/* Waits until a chain is used, a minute at most. False: it was not. */
bool driver_wait_used(
	struct driver *driver, unsigned int queue, uint32_t *ret_id, uint32_t *ret_len);

/*
 * For a second, again and again a chain of one buffer and, some microseconds later, another, so
 * that the second ones come at every moment of what the device does when it finds nothing more: its
 * last look, its asking for a kick. How many there were; 0: one was not served.
 */
unsigned int driver_hammer(
	struct driver *driver, unsigned int queue, const struct vring_buffer *buffer);

/* Waits for an interrupt; false after timeout_msec. Acknowledges and returns its status. */
bool driver_wait_interrupt(struct driver *driver, int timeout_msec, uint32_t *ret_status);

/* Guest memory at gpa, which does not cross from one region to the other. */
void *driver_pointer(struct driver *driver, uint64_t gpa, uint64_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vdriver: the transport half of a virtio driver, for tests, over virtio-mmio or virtio-pci, as
 * VIRTIO 1.2, 3.1 and 4 tell a driver to behave. Knows only a machine (machine.h).
 */
#ifndef VMM_TESTS_VDRIVER_H
#define VMM_TESTS_VDRIVER_H

#include "lib/machine.h"
#include "lib/vring.h"

#define ACKNOWLEDGE 1
#define DRIVER 2
#define DRIVER_OK 4
#define FEATURES_OK 8
#define NEEDS_RESET 64
#define FAILED 128

#define F_INDIRECT (UINT64_C(1) << 28)
#define F_EVENT_IDX (UINT64_C(1) << 29)
#define F_VERSION_1 (UINT64_C(1) << 32)
#define F_PACKED (UINT64_C(1) << 34)
#define F_IN_ORDER (UINT64_C(1) << 35)
#define F_RING_RESET (UINT64_C(1) << 40)

#define VDRIVER_MAX_QUEUES 8
#define VDRIVER_NO_VECTOR 0xffff
/* The data of MSI-X messages: of the configuration vector, of queue i. */
#define VDRIVER_CONFIG_MESSAGE 32
#define VDRIVER_QUEUE_MESSAGE(i) (33 + (i))

/* How long a wait lasts before it is given up. */
extern uint64_t vdriver_wait_nsec;

struct vdriver {
	struct machine *machine;
	bool pci;
	uint64_t config; /* of the function, in the ECAM */
	uint64_t common; /* virtio-mmio: all registers */
	uint64_t isr;
	uint64_t notify;
	uint64_t device; /* the device's configuration space */
	uint32_t device_bytes;
	uint32_t notify_multiplier;
	uint64_t msix_table;
	uint64_t msix_pba;
	unsigned int msix_cap; /* offset */
	unsigned int n_vectors;
	unsigned int window_cap; /* offset of the configuration access capability, 0: none */
	uint64_t features;
	struct vring *rings[VDRIVER_MAX_QUEUES];
	uint64_t next_gpa; /* memory from here on is free */
};

/* Finds the device. False where there is none. */
bool vdriver_probe_mmio(struct vdriver *driver, struct machine *machine);
bool vdriver_probe_pci(struct vdriver *driver, struct machine *machine, unsigned int slot);
void vdriver_finish(struct vdriver *driver);

uint8_t vdriver_status(struct vdriver *driver);
/* Waits for bits of the status. False where that takes longer than vdriver_wait_nsec. */
bool vdriver_wait_status(struct vdriver *driver, uint8_t bits);
void vdriver_set_status(struct vdriver *driver, uint8_t status);
/* Writes 0 and waits until the status reads so. False where that takes longer than seconds. */
bool vdriver_reset(struct vdriver *driver);
uint64_t vdriver_offered(struct vdriver *driver);
void vdriver_set_features(struct vdriver *driver, uint64_t features);
uint32_t vdriver_generation(struct vdriver *driver);
uint8_t vdriver_isr(struct vdriver *driver); /* and acknowledges */

void vdriver_select(struct vdriver *driver, uint16_t queue);
uint32_t vdriver_queue_max(struct vdriver *driver);
void vdriver_set_queue_size(struct vdriver *driver, uint32_t size);
void vdriver_set_queue_addresses(
	struct vdriver *driver, uint64_t desc, uint64_t avail, uint64_t used);
void vdriver_enable_queue(struct vdriver *driver, uint32_t value);
uint32_t vdriver_queue_enabled(struct vdriver *driver);
void vdriver_reset_queue(struct vdriver *driver);
uint32_t vdriver_queue_resetting(struct vdriver *driver);
void vdriver_kick(struct vdriver *driver, uint16_t queue);

/* Interrupts since the last call, by queue and for the configuration. */
unsigned int vdriver_queue_interrupts(struct vdriver *driver, uint16_t queue);
unsigned int vdriver_config_interrupts(struct vdriver *driver);

/* PCI: maps a vector to a message and unmasks it; MSI-X as a whole; what the queue reads back. */
void vdriver_msix_entry(struct vdriver *driver, unsigned int vector, uint32_t message, bool masked);
void vdriver_msix_enable(struct vdriver *driver, bool on);
uint16_t vdriver_set_queue_vector(struct vdriver *driver, uint16_t vector);
uint16_t vdriver_set_config_vector(struct vdriver *driver, uint16_t vector);

/*
 * The whole way of 3.1.1: reset, features & wanted, a ring of size entries (0: the maximum) for
 * each of n_queues, vectors, DRIVER_OK. False where the device does not come along.
 */
bool vdriver_start(struct vdriver *driver, uint64_t wanted, unsigned int n_queues, uint16_t size);
/* The steps of it, for tests that leave the way. */
bool vdriver_negotiate(struct vdriver *driver, uint64_t wanted);
void vdriver_make_ring(struct vdriver *driver, uint16_t queue, uint16_t size);
void vdriver_program_queue(struct vdriver *driver, uint16_t queue);

/* Memory for buffers, aligned to 16. */
uint64_t vdriver_alloc(struct vdriver *driver, uint64_t bytes);

/* Adds a chain, kicks where the device wants that, waits until one is used. send: its id. */
bool vdriver_transfer(struct vdriver *driver, uint16_t queue, const struct vring_buffer *buffers,
	size_t n, uint32_t *ret_len);
uint16_t vdriver_send(
	struct vdriver *driver, uint16_t queue, const struct vring_buffer *buffers, size_t n);
bool vdriver_wait_used(struct vdriver *driver, uint16_t queue, uint32_t *ret_id, uint32_t *ret_len);

#endif

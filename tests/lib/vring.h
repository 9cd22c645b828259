/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vring: the driver's side of a virtqueue, for tests: split and packed (VIRTIO 1.2, 2.7, 2.8). It
 * knows only memory, given as a pointer to guest address 0, and is written independently of the
 * device's side. Tests may write whatever they like behind it.
 */
#ifndef VMM_TESTS_VRING_H
#define VMM_TESTS_VRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VRING_NEXT 1
#define VRING_WRITE 2
#define VRING_INDIRECT 4
#define VRING_AVAIL 0x80
#define VRING_USED 0x8000

struct vring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct vring_packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};

struct vring_used_elem {
	uint32_t id;
	uint32_t len;
};

struct vring_buffer {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

struct vring {
	uint8_t *ram; /* of guest address 0 */
	bool packed;
	uint16_t size;
	uint64_t desc_gpa;
	uint64_t driver_gpa;
	uint64_t device_gpa;
	uint64_t end_gpa; /* first byte behind the ring */

	/* split */
	struct vring_desc *desc;
	uint16_t *avail; /* flags, idx, ring[], used_event */
	uint16_t *used;  /* flags, idx, elements as four halves each, avail_event */
	uint16_t avail_idx;
	uint16_t last_used;
	uint16_t next_desc;

	/* packed */
	struct vring_packed_desc *ring;
	uint16_t *driver_event; /* off_wrap, flags */
	uint16_t *device_event;
	uint16_t next_avail;
	bool avail_wrap;
	uint16_t next_used;
	bool used_wrap;
	uint16_t n_slots[32768]; /* by id */
	uint16_t next_id;
};

/* Lays a cleared ring out in memory from gpa on (page aligned). */
void vring_init(struct vring *ring, uint8_t *ram, uint64_t gpa, uint16_t size, bool packed);

/* Makes a chain available at once and returns its id (split: the head). */
uint16_t vring_add(struct vring *ring, const struct vring_buffer *buffers, size_t n);

/* The same through an indirect table, written at table_gpa. */
uint16_t vring_add_indirect(
	struct vring *ring, const struct vring_buffer *buffers, size_t n, uint64_t table_gpa);

/* Takes the next used chain. False where there is none. */
bool vring_get_used(struct vring *ring, uint32_t *ret_id, uint32_t *ret_len);

/* Split: makes head available as it stands. */
void vring_offer(struct vring *ring, uint16_t head);

/* What the driver says about interrupts, and what it is told about kicks. */
void vring_set_interrupts(struct vring *ring, bool on);
void vring_set_used_event(struct vring *ring, uint16_t index, bool wrap);
/* A full barrier, between what this side tells and what it asks. */
void vring_fence(void);
bool vring_kick_wanted(struct vring *ring, bool event_idx, uint16_t n_added);

#endif

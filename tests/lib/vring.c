/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "lib/vring.h"

#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
/* Accesses are atomic by themselves, so what ThreadSanitizer does not see of a fence is no race. */
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wtsan"
#endif

void vring_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static uint16_t load(const uint16_t *field)
{
	return __atomic_load_n(field, __ATOMIC_SEQ_CST);
}

static void store(uint16_t *field, uint16_t value)
{
	__atomic_store_n(field, value, __ATOMIC_SEQ_CST);
}

void vring_init(struct vring *ring, uint8_t *ram, uint64_t gpa, uint16_t size, bool packed)
{
	uint64_t desc_bytes = (uint64_t)size * 16;

	memset(ring, 0, sizeof(*ring));
	ring->ram = ram;
	ring->packed = packed;
	ring->size = size;
	ring->desc_gpa = gpa;
	ring->driver_gpa = gpa + desc_bytes;
	if (packed) {
		ring->device_gpa = ring->driver_gpa + 4;
		ring->end_gpa = ring->device_gpa + 4;
	} else {
		ring->device_gpa = (ring->driver_gpa + 6 + 2 * (uint64_t)size + 3) & ~UINT64_C(3);
		ring->end_gpa = ring->device_gpa + 6 + 8 * (uint64_t)size;
	}
	ring->end_gpa = (ring->end_gpa + 4095) & ~UINT64_C(4095);
	memset(ram + gpa, 0, ring->end_gpa - gpa);

	ring->desc = (void *)(ram + ring->desc_gpa);
	ring->ring = (void *)(ram + ring->desc_gpa);
	ring->avail = (void *)(ram + ring->driver_gpa);
	ring->used = (void *)(ram + ring->device_gpa);
	ring->driver_event = (void *)(ram + ring->driver_gpa);
	ring->device_event = (void *)(ram + ring->device_gpa);
	ring->avail_wrap = true;
	ring->used_wrap = true;
}

void vring_offer(struct vring *ring, uint16_t head)
{
	store(&ring->avail[2 + ring->avail_idx % ring->size], head);
	ring->avail_idx++;
	store(&ring->avail[1], ring->avail_idx);
}

static uint16_t add_split(struct vring *ring, const struct vring_buffer *buffers, size_t n)
{
	uint16_t head = ring->next_desc;

	for (size_t i = 0; i < n; i++) {
		uint16_t index = ring->next_desc;
		bool last = i + 1 == n;

		ring->next_desc = (uint16_t)((index + 1) % ring->size);
		ring->desc[index] = (struct vring_desc){
			.addr = buffers[i].gpa,
			.len = buffers[i].len,
			.flags = (uint16_t)((buffers[i].write ? VRING_WRITE : 0) |
					    (last ? 0 : VRING_NEXT)),
			.next = last ? 0 : ring->next_desc,
		};
	}
	vring_offer(ring, head);
	return head;
}

static uint16_t avail_flags(bool wrap)
{
	return wrap ? VRING_AVAIL : VRING_USED;
}

static void packed_write(struct vring *ring, uint16_t at, bool wrap, uint64_t gpa, uint32_t len,
	uint16_t id, uint16_t flags)
{
	struct vring_packed_desc *desc = &ring->ring[at];

	/* The device may look at any time: each field is one store. */
	__atomic_store_n(&desc->addr, gpa, __ATOMIC_RELAXED);
	__atomic_store_n(&desc->len, len, __ATOMIC_RELAXED);
	__atomic_store_n(&desc->id, id, __ATOMIC_RELAXED);
	store(&desc->flags, flags | avail_flags(wrap));
}

static void packed_step(struct vring *ring, uint16_t *at, bool *wrap)
{
	if (++*at == ring->size) {
		*at = 0;
		*wrap = !*wrap;
	}
}

static uint16_t add_packed(struct vring *ring, const struct vring_buffer *buffers, size_t n)
{
	uint16_t id = ring->next_id, first = ring->next_avail;
	bool first_wrap = ring->avail_wrap;
	uint16_t at = first;
	bool wrap = first_wrap;

	ring->next_id = (uint16_t)((id + 1) % ring->size);
	ring->n_slots[id] = (uint16_t)n;
	packed_step(ring, &at, &wrap);
	for (size_t i = 1; i < n; i++) {
		packed_write(ring, at, wrap, buffers[i].gpa, buffers[i].len, id,
			(buffers[i].write ? VRING_WRITE : 0) | (i + 1 < n ? VRING_NEXT : 0));
		packed_step(ring, &at, &wrap);
	}
	packed_write(ring, first, first_wrap, buffers[0].gpa, buffers[0].len, id,
		(buffers[0].write ? VRING_WRITE : 0) | (n > 1 ? VRING_NEXT : 0));
	ring->next_avail = at;
	ring->avail_wrap = wrap;
	return id;
}

uint16_t vring_add(struct vring *ring, const struct vring_buffer *buffers, size_t n)
{
	return ring->packed ? add_packed(ring, buffers, n) : add_split(ring, buffers, n);
}

uint16_t vring_add_indirect(
	struct vring *ring, const struct vring_buffer *buffers, size_t n, uint64_t table_gpa)
{
	struct vring_desc *table = (void *)(ring->ram + table_gpa);
	struct vring_packed_desc *packed_table = (void *)table;
	uint32_t bytes = (uint32_t)(n * 16);
	uint16_t index = ring->next_desc, id = ring->next_id;

	for (size_t i = 0; i < n; i++) {
		uint16_t write = buffers[i].write ? VRING_WRITE : 0;

		if (ring->packed)
			packed_table[i] = (struct vring_packed_desc){
				.addr = buffers[i].gpa,
				.len = buffers[i].len,
				.flags = write,
			};
		else
			table[i] = (struct vring_desc){
				.addr = buffers[i].gpa,
				.len = buffers[i].len,
				.flags = (uint16_t)(write | (i + 1 < n ? VRING_NEXT : 0)),
				.next = (uint16_t)(i + 1),
			};
	}
	if (ring->packed) {
		ring->next_id = (uint16_t)((id + 1) % ring->size);
		ring->n_slots[id] = 1;
		packed_write(ring, ring->next_avail, ring->avail_wrap, table_gpa, bytes, id,
			VRING_INDIRECT);
		packed_step(ring, &ring->next_avail, &ring->avail_wrap);
		return id;
	}
	ring->next_desc = (uint16_t)((index + 1) % ring->size);
	ring->desc[index] = (struct vring_desc){
		.addr = table_gpa,
		.len = bytes,
		.flags = VRING_INDIRECT,
	};
	vring_offer(ring, index);
	return index;
}

static bool get_packed(struct vring *ring, uint32_t *ret_id, uint32_t *ret_len)
{
	struct vring_packed_desc *desc = &ring->ring[ring->next_used];
	uint16_t flags = load(&desc->flags);
	bool avail = flags & VRING_AVAIL, used = flags & VRING_USED;
	uint16_t n;

	if (avail != ring->used_wrap || used != ring->used_wrap)
		return false;
	*ret_id = desc->id;
	*ret_len = flags & VRING_WRITE ? desc->len : 0;
	n = desc->id < ring->size ? ring->n_slots[desc->id] : 1;
	while (n-- > 0)
		packed_step(ring, &ring->next_used, &ring->used_wrap);
	return true;
}

bool vring_get_used(struct vring *ring, uint32_t *ret_id, uint32_t *ret_len)
{
	struct vring_used_elem *elem;

	if (ring->packed)
		return get_packed(ring, ret_id, ret_len);
	if (load(&ring->used[1]) == ring->last_used)
		return false;
	elem = (void *)&ring->used[2];
	elem += ring->last_used % ring->size;
	*ret_id = elem->id;
	*ret_len = elem->len;
	ring->last_used++;
	return true;
}

void vring_set_interrupts(struct vring *ring, bool on)
{
	if (ring->packed)
		store(&ring->driver_event[1], on ? 0 : 1);
	else
		store(&ring->avail[0], on ? 0 : 1);
}

void vring_set_used_event(struct vring *ring, uint16_t index, bool wrap)
{
	if (ring->packed) {
		store(&ring->driver_event[0], (uint16_t)(index | (wrap ? 0x8000 : 0)));
		store(&ring->driver_event[1], 2);
	} else {
		store(&ring->avail[2 + ring->size], index);
	}
}

bool vring_kick_wanted(struct vring *ring, bool event_idx, uint16_t n_added)
{
	vring_fence();
	if (ring->packed) {
		uint16_t flags = load(&ring->device_event[1]);
		uint16_t off_wrap = load(&ring->device_event[0]);
		uint16_t event = off_wrap & 0x7fff;

		if (flags != 2)
			return flags == 0;
		if ((off_wrap >> 15) != ring->avail_wrap)
			event = (uint16_t)(event - ring->size);
		return (uint16_t)(ring->next_avail - event - 1) < n_added;
	}
	if (!event_idx)
		return !(load(&ring->used[0]) & 1);
	return (uint16_t)(ring->avail_idx - load(&ring->used[2 + 4 * ring->size]) - 1) < n_added;
}

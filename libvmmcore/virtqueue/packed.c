/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Packed rings: VIRTIO 1.2, 2.8. One ring of descriptors, in which a wrap counter on each side
 * tells whose an entry is. A chain takes consecutive entries; its used entry is written over the
 * oldest entries that were popped, and the following ones of its length are skipped.
 */
#include "virtqueue/virtqueue-internal.h"

int packed_map(struct vmm_virtqueue *queue)
{
	const struct vmm_virtqueue_config *config = &queue->config;
	uint64_t ring_bytes = queue->size * sizeof(struct packed_desc);
	uint64_t event_bytes = sizeof(struct packed_event);

	/* Alignments: 2.8, the table of virtqueue parts. */
	queue->pack.ring = vmm_mem_pointer(queue->mem, config->desc_gpa, ring_bytes, 16, true);
	queue->pack.driver = vmm_mem_pointer(queue->mem, config->driver_gpa, event_bytes, 4, false);
	queue->pack.device = vmm_mem_pointer(queue->mem, config->device_gpa, event_bytes, 4, true);
	if (!queue->pack.ring)
		queue->fault = "descriptor ring not in memory";
	else if (!queue->pack.driver)
		queue->fault = "driver event suppression not in memory";
	else if (!queue->pack.device)
		queue->fault = "device event suppression not in memory";
	else
		return 0;
	return -VMM_EGUEST;
}

void packed_start(struct vmm_virtqueue *queue, const struct vmm_virtqueue_state *state)
{
	queue->avail_wrap = true;
	queue->used_wrap = true;
	if (state) {
		queue->next_avail = (uint16_t)((state->avail & ~WRAP_BIT) % queue->size);
		queue->avail_wrap = state->avail & WRAP_BIT;
		queue->next_used = (uint16_t)((state->used & ~WRAP_BIT) % queue->size);
		queue->used_wrap = state->used & WRAP_BIT;
	}
	queue->next_fill = queue->next_used;
	queue->fill_wrap = queue->used_wrap;
}

/* n is at most the queue size. */
static void advance(struct vmm_virtqueue *queue, uint16_t *offset, bool *wrap, uint32_t n)
{
	uint32_t next = *offset + n;

	if (next >= queue->size) {
		next -= queue->size;
		*wrap = !*wrap;
	}
	*offset = (uint16_t)next;
}

static bool is_available(uint16_t flags, bool wrap)
{
	bool avail = flags & DESC_F_AVAIL;
	bool used = flags & DESC_F_USED;

	return avail == wrap && used != wrap;
}

static ALWAYS_INLINE int finish(struct vmm_virtqueue *queue, const struct walk *walk,
	uint32_t n_slots, uint16_t id, struct vmm_virtqueue_chain *ret_chain)
{
	int r;

	r = walk_end(queue, walk, ret_chain);
	if (r < 0)
		return r;
	ret_chain->id = id;
	ret_chain->n_descriptors = (uint16_t)n_slots;
	advance(queue, &queue->next_avail, &queue->avail_wrap, n_slots);
	queue->n_in_flight++;
	queue->n_in_flight_slots += n_slots;
	return 1;
}

/* All entries of the table belong to the chain; of their flags only WRITE counts (2.8.7). */
static __attribute__((noinline)) int pop_indirect(struct vmm_virtqueue *queue, struct walk walk,
	struct desc_copy desc, struct vmm_virtqueue_chain *ret_chain)
{
	struct indirect_table table;
	int r;

	if ((desc.fourth & DESC_F_NEXT) || walk.n_walked > 1)
		return virtqueue_fault(queue, "indirect descriptor in a chain");
	r = virtqueue_indirect_table(queue, desc, &table);
	if (r < 0)
		return r;
	if (table.n > queue->max_indirect)
		return virtqueue_fault(queue, "chain longer than the queue");
	for (uint32_t i = 0; i < table.n; i++) {
		struct desc_copy entry;

		r = indirect_read(queue, &table, i, &entry);
		if (r < 0)
			return r;
		r = walk_add(queue, &walk, entry.addr, entry.len, entry.fourth & DESC_F_WRITE);
		if (r < 0)
			return r;
	}
	return finish(queue, &walk, 1, desc.third, ret_chain);
}

/* A chain of any form. desc is a copy of its first entry. */
static __attribute__((noinline)) int pop_chain(struct vmm_virtqueue *queue, struct iovec *iov,
	size_t n_iov, struct vmm_virtqueue_chain *ret_chain, struct desc_copy desc)
{
	struct walk walk = walk_begin(iov, n_iov);
	uint32_t index = queue->next_avail;
	int r;

	for (;;) {
		/* A chain may not reach into entries that the device still has. */
		if (queue->n_in_flight_slots + walk.n_walked >= queue->size)
			return virtqueue_fault(queue, "chain longer than the queue");
		walk.n_walked++;
		if (desc.fourth & DESC_F_INDIRECT)
			return pop_indirect(queue, walk, desc, ret_chain);
		r = walk_add(queue, &walk, desc.addr, desc.len, desc.fourth & DESC_F_WRITE);
		if (r < 0)
			return r;
		if (!(desc.fourth & DESC_F_NEXT))
			return finish(queue, &walk, walk.n_walked, desc.third, ret_chain);
		if (++index == queue->size)
			index = 0;
		desc = desc_load(&queue->pack.ring[index]);
	}
}

int packed_pop(struct vmm_virtqueue *queue, struct iovec *iov, size_t n_iov,
	struct vmm_virtqueue_chain *ret_chain)
{
	struct desc_copy desc = desc_load_acquire(&queue->pack.ring[queue->next_avail]);

	if (!is_available(desc.fourth, queue->avail_wrap))
		return 0;
	if ((desc.fourth & (DESC_F_NEXT | DESC_F_INDIRECT)) ||
		queue->n_in_flight_slots >= queue->size ||
		!single(queue, iov, n_iov, desc.addr, desc.len, desc.fourth & DESC_F_WRITE,
			ret_chain))
		return pop_chain(queue, iov, n_iov, ret_chain, desc);
	ret_chain->id = desc.third;
	advance(queue, &queue->next_avail, &queue->avail_wrap, 1);
	queue->n_in_flight++;
	queue->n_in_flight_slots++;
	return 1;
}

void packed_undo(struct vmm_virtqueue *queue, uint16_t n_slots)
{
	assert(queue->n_in_flight_slots >= n_slots);
	queue->n_in_flight_slots -= n_slots;
	if (queue->next_avail < n_slots) {
		queue->next_avail = (uint16_t)(queue->next_avail + queue->size - n_slots);
		queue->avail_wrap = !queue->avail_wrap;
	} else {
		queue->next_avail = (uint16_t)(queue->next_avail - n_slots);
	}
}

void packed_fill(struct vmm_virtqueue *queue, uint16_t id, uint16_t n_slots, uint32_t len)
{
	struct packed_desc *desc = &queue->pack.ring[queue->next_fill];
	uint16_t flags = queue->fill_wrap ? DESC_F_AVAIL | DESC_F_USED : 0;

	assert(queue->n_in_flight_slots >= n_slots);
	queue->n_in_flight_slots -= n_slots;
	/* The length counts only where the flag says that something was written (2.8.4). */
	if (len > 0)
		flags |= DESC_F_WRITE;
	desc->id = vmm_le16_make(id);
	desc->len = vmm_le32_make(len);

	/* The driver looks at entries in order: the first one's flags show all the others. */
	if (queue->n_filled == 0)
		queue->first_flags = flags;
	else
		ring_store(&desc->flags, flags);
	queue->n_filled++;
	queue->n_filled_slots += n_slots;
	advance(queue, &queue->next_fill, &queue->fill_wrap, n_slots);
}

void packed_flush(struct vmm_virtqueue *queue)
{
	ring_store_release(&queue->pack.ring[queue->next_used].flags, queue->first_flags);
	queue->next_used = queue->next_fill;
	queue->used_wrap = queue->fill_wrap;
	queue->n_unsignalled += queue->n_filled_slots;
	queue->n_filled_slots = 0;
	queue->n_filled = 0;
}

bool packed_is_empty(struct vmm_virtqueue *queue)
{
	return !is_available(
		ring_load(&queue->pack.ring[queue->next_avail].flags), queue->avail_wrap);
}

bool packed_should_notify(struct vmm_virtqueue *queue, uint32_t n_new)
{
	uint16_t off_wrap, event;

	switch (ring_load_acquire(&queue->pack.driver->flags)) {
	case EVENT_F_DISABLE:
		return false;
	case EVENT_F_DESC:
		if (queue->event_idx)
			break;
		return true;
	default:
		return true;
	}
	/* Once around the ring: every event was passed. */
	if (n_new > queue->size)
		return true;
	off_wrap = ring_load(&queue->pack.driver->off_wrap);
	event = off_wrap & ~WRAP_BIT;
	if ((bool)(off_wrap & WRAP_BIT) != queue->used_wrap)
		event = (uint16_t)(event - queue->size);
	return event_passed(event, queue->next_used, (uint16_t)(queue->next_used - n_new));
}

void packed_set_notifications(struct vmm_virtqueue *queue, bool enable)
{
	struct packed_event *device = queue->pack.device;

	if (!enable) {
		ring_store(&device->flags, EVENT_F_DISABLE);
		return;
	}
	if (!queue->event_idx) {
		ring_store(&device->flags, EVENT_F_ENABLE);
		return;
	}
	ring_store(&device->off_wrap,
		(uint16_t)(queue->next_avail | (queue->avail_wrap ? WRAP_BIT : 0)));
	/* The driver reads the flags first: they must not come before what they qualify. */
	ring_store_release(&device->flags, EVENT_F_DESC);
}

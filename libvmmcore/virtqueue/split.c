/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Split rings: VIRTIO 1.2, 2.7. The queue size is a power of two, indexes run freely.
 */
#include "virtqueue/virtqueue-internal.h"

/* The driver's and the device's events lie behind the rings, with or without the feature. */
static struct vmm_le16 *used_event(struct vmm_virtqueue *queue)
{
	return &queue->split.avail->ring[queue->size];
}

static struct vmm_le16 *avail_event(struct vmm_virtqueue *queue)
{
	return (struct vmm_le16 *)&queue->split.used->ring[queue->size];
}

int split_map(struct vmm_virtqueue *queue)
{
	const struct vmm_virtqueue_config *config = &queue->config;
	uint64_t event_bytes = queue->event_idx ? sizeof(struct vmm_le16) : 0;
	uint64_t desc_bytes = queue->size * sizeof(struct split_desc);
	uint64_t avail_bytes =
		sizeof(struct split_avail) + queue->size * sizeof(struct vmm_le16) + event_bytes;
	uint64_t used_bytes = sizeof(struct split_used) +
			      queue->size * sizeof(struct split_used_elem) + event_bytes;

	/* Alignments: 2.7, the table of virtqueue parts. */
	queue->split.desc = vmm_mem_pointer(queue->mem, config->desc_gpa, desc_bytes, 16, false);
	queue->split.avail = vmm_mem_pointer(queue->mem, config->driver_gpa, avail_bytes, 2, false);
	queue->split.used = vmm_mem_pointer(queue->mem, config->device_gpa, used_bytes, 4, true);
	if (!queue->split.desc)
		queue->fault = "descriptor table not in memory";
	else if (!queue->split.avail)
		queue->fault = "available ring not in memory";
	else if (!queue->split.used)
		queue->fault = "used ring not in memory";
	else
		return 0;
	return -VMM_EGUEST;
}

void split_start(struct vmm_virtqueue *queue, const struct vmm_virtqueue_state *state)
{
	if (state) {
		queue->next_avail = state->avail;
		queue->next_used = state->used;
	}
	queue->avail_idx = queue->next_avail;
}

/*
 * Looks for new buffers. Returns 1, 0 or -VMM_EGUEST. The acquire makes all visible that the
 * driver wrote before the index: ring entries, descriptors, buffers.
 */
static int refresh_avail(struct vmm_virtqueue *queue)
{
	uint16_t idx = ring_load_acquire(&queue->split.avail->idx);
	uint16_t n = (uint16_t)(idx - queue->next_avail);

	if (n == 0)
		return 0;
	if (n > queue->size)
		return virtqueue_fault(queue, "available index beyond the queue size");
	queue->avail_idx = idx;
	return 1;
}

static ALWAYS_INLINE int finish(struct vmm_virtqueue *queue, const struct walk *walk, uint16_t head,
	struct vmm_virtqueue_chain *ret_chain)
{
	int r;

	r = walk_end(queue, walk, ret_chain);
	if (r < 0)
		return r;
	ret_chain->id = head;
	ret_chain->n_descriptors = 1; /* of the available ring */
	queue->next_avail++;
	queue->n_in_flight++;
	return 1;
}

/* The rest of a chain lies in an indirect table, which desc describes. */
static __attribute__((noinline)) int pop_indirect(struct vmm_virtqueue *queue, struct walk walk,
	struct desc_copy desc, uint16_t head, struct vmm_virtqueue_chain *ret_chain)
{
	struct indirect_table table;
	uint32_t index = 0;
	int r;

	if (desc.third & DESC_F_NEXT)
		return virtqueue_fault(queue, "indirect descriptor with a next");
	r = virtqueue_indirect_table(queue, desc, &table);
	if (r < 0)
		return r;
	for (;;) {
		struct desc_copy entry;

		if (index >= table.n)
			return virtqueue_fault(queue, "next beyond the indirect table");
		if (walk.n_walked++ >= queue->max_indirect)
			return virtqueue_fault(queue, "chain longer than the queue");
		r = indirect_read(queue, &table, index, &entry);
		if (r < 0)
			return r;
		if (entry.third & DESC_F_INDIRECT)
			return virtqueue_fault(queue, "indirect descriptor in an indirect table");
		r = walk_add(queue, &walk, entry.addr, entry.len, entry.third & DESC_F_WRITE);
		if (r < 0)
			return r;
		if (!(entry.third & DESC_F_NEXT))
			return finish(queue, &walk, head, ret_chain);
		index = entry.fourth;
	}
}

/* A chain of any form. desc is a copy of its head, whose index is in ret_chain->id already. */
static __attribute__((noinline)) int pop_chain(struct vmm_virtqueue *queue, struct iovec *iov,
	size_t n_iov, struct vmm_virtqueue_chain *ret_chain, struct desc_copy desc)
{
	struct walk walk = walk_begin(iov, n_iov);
	uint16_t head = ret_chain->id;

	for (;;) {
		int r;

		/* The indirect descriptor itself does not count as part of the chain. */
		if (desc.third & DESC_F_INDIRECT)
			return pop_indirect(queue, walk, desc, head, ret_chain);
		/* Each other descriptor does, so a loop ends here as well. */
		if (walk.n_walked++ >= queue->size)
			return virtqueue_fault(queue, "chain longer than the queue");
		r = walk_add(queue, &walk, desc.addr, desc.len, desc.third & DESC_F_WRITE);
		if (r < 0)
			return r;
		if (!(desc.third & DESC_F_NEXT))
			return finish(queue, &walk, head, ret_chain);
		if (desc.fourth >= queue->size)
			return virtqueue_fault(queue, "descriptor index beyond the queue size");
		desc = desc_load(&queue->split.desc[desc.fourth]);
	}
}

int split_pop(struct vmm_virtqueue *queue, struct iovec *iov, size_t n_iov,
	struct vmm_virtqueue_chain *ret_chain)
{
	struct desc_copy desc;
	uint16_t head;
	int r;

	if (queue->next_avail == queue->avail_idx) {
		r = refresh_avail(queue);
		if (r <= 0)
			return r;
	}
	if (UNLIKELY(queue->n_in_flight >= queue->size))
		return virtqueue_fault(queue, "more chains in flight than the queue has entries");

	head = ring_load(&queue->split.avail->ring[queue->next_avail & (queue->size - 1)]);
	if (UNLIKELY(head >= queue->size))
		return virtqueue_fault(queue, "descriptor index beyond the queue size");
	desc = desc_load(&queue->split.desc[head]);
	ret_chain->id = head;

	if ((desc.third & (DESC_F_NEXT | DESC_F_INDIRECT)) ||
		!single(queue, iov, n_iov, desc.addr, desc.len, desc.third & DESC_F_WRITE,
			ret_chain))
		return pop_chain(queue, iov, n_iov, ret_chain, desc);
	queue->next_avail++;
	queue->n_in_flight++;
	return 1;
}

bool split_is_empty(struct vmm_virtqueue *queue)
{
	return ring_load(&queue->split.avail->idx) == queue->next_avail;
}

bool split_should_notify(struct vmm_virtqueue *queue, uint32_t n_new)
{
	if (!queue->event_idx)
		return !(ring_load(&queue->split.avail->flags) & AVAIL_F_NO_INTERRUPT);
	/* Once around all indexes: every event was passed. */
	if (n_new > UINT16_MAX)
		return true;
	return event_passed(ring_load(used_event(queue)), queue->next_used,
		(uint16_t)(queue->next_used - n_new));
}

void split_set_notifications(struct vmm_virtqueue *queue, bool enable)
{
	if (!queue->event_idx)
		ring_store(&queue->split.used->flags, enable ? 0 : USED_F_NO_NOTIFY);
	else if (enable)
		ring_store(avail_event(queue), queue->next_avail);
	/* An event index that is not moved on asks for no more kicks by itself. */
}

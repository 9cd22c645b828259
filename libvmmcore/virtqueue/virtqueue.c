/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The life of a queue, and what does not depend on the ring's format. Contract: virtqueue.h.
 */
#include "virtqueue/virtqueue-internal.h"

#include <string.h>

int vmm_virtqueue_new(struct vmm_mem *mem, struct vmm_virtqueue **ret_queue)
{
	struct vmm_virtqueue *queue = malloc(sizeof(*queue));

	if (!queue)
		return -ENOMEM;
	*queue = (struct vmm_virtqueue){ .mem = mem };
	*ret_queue = queue;
	return 0;
}

struct vmm_virtqueue *vmm_virtqueue_free(struct vmm_virtqueue *queue)
{
	free(queue);
	return NULL;
}

static int map_rings(struct vmm_virtqueue *queue)
{
	memset(queue->regions, 0, sizeof(queue->regions));
	return queue->packed ? packed_map(queue) : split_map(queue);
}

static int refuse(struct vmm_virtqueue *queue, const char *reason)
{
	queue->fault = reason;
	return -VMM_EGUEST;
}

int vmm_virtqueue_activate(struct vmm_virtqueue *queue, const struct vmm_virtqueue_config *config,
	const struct vmm_virtqueue_state *state)
{
	int r;

	*queue = (struct vmm_virtqueue){
		.mem = queue->mem,
		.config = *config,
		.size = config->size,
		.max_indirect = MAX(config->size, config->max_indirect),
		.packed = config->features & VMM_VIRTIO_F_RING_PACKED,
		.event_idx = config->features & VMM_VIRTIO_F_EVENT_IDX,
		.indirect = config->features & VMM_VIRTIO_F_INDIRECT_DESC,
	};

	if (config->size == 0 || config->size > VMM_VIRTQUEUE_MAX_SIZE)
		return refuse(queue, "queue size out of range");
	if (config->max_indirect > VMM_VIRTQUEUE_MAX_SIZE)
		return refuse(queue, "indirect tables out of range");
	if (!queue->packed && (config->size & (config->size - 1)) != 0)
		return refuse(queue, "queue size is not a power of two");
	r = map_rings(queue);
	if (r < 0)
		return r;

	queue->mode = queue->packed ? MODE_PACKED : MODE_SPLIT;
	if (queue->packed)
		packed_start(queue, state);
	else
		split_start(queue, state);
	vmm_virtqueue_enable_notifications(queue);
	return 0;
}

void vmm_virtqueue_deactivate(struct vmm_virtqueue *queue)
{
	*queue = (struct vmm_virtqueue){ .mem = queue->mem, .fault = queue->fault };
}

bool vmm_virtqueue_is_active(const struct vmm_virtqueue *queue)
{
	return queue->mode != MODE_INACTIVE;
}

uint32_t vmm_virtqueue_size(const struct vmm_virtqueue *queue)
{
	return vmm_virtqueue_is_active(queue) ? queue->size : 0;
}

/* Active and not broken. */
static bool is_running(const struct vmm_virtqueue *queue)
{
	return queue->mode == MODE_SPLIT || queue->mode == MODE_PACKED;
}

int virtqueue_fault(struct vmm_virtqueue *queue, const char *reason)
{
	queue->mode = MODE_BROKEN;
	queue->fault = reason;
	return -VMM_EGUEST;
}

void vmm_virtqueue_break(struct vmm_virtqueue *queue, const char *reason)
{
	if (is_running(queue))
		virtqueue_fault(queue, reason);
}

const char *vmm_virtqueue_fault(const struct vmm_virtqueue *queue)
{
	return queue->fault;
}

int vmm_virtqueue_forget_memory(struct vmm_virtqueue *queue)
{
	if (queue->mode == MODE_INACTIVE)
		return 0;
	if (map_rings(queue) < 0) {
		/* The old pointers may lead nowhere now: nothing may follow them. */
		const char *reason = queue->fault;

		vmm_virtqueue_deactivate(queue);
		queue->fault = reason;
		return -VMM_EGUEST;
	}
	return 0;
}

/* The region that holds gpa goes into the cache. False where there is none to be cached. */
static bool cache_region(struct vmm_virtqueue *queue, uint64_t gpa)
{
	size_t n = vmm_mem_n_regions(queue->mem);

	for (size_t i = 0; i < n; i++) {
		struct vmm_mem_region region;

		if (vmm_mem_get_region(queue->mem, i, &region) < 0)
			return false;
		if (gpa < region.gpa || gpa - region.gpa >= region.size_bytes)
			continue;
		if (region.read_only)
			return false;
		queue->regions[1] = queue->regions[0];
		queue->regions[0] = (struct region_cache){
			.gpa = region.gpa,
			.size_bytes = region.size_bytes,
			.host = region.host,
		};
		return true;
	}
	return false;
}

/* A pointer to a range that lies in one region that may be written, or NULL. */
static void *map_contiguous(struct vmm_virtqueue *queue, uint64_t gpa, uint64_t len)
{
	struct region_cache *regions = queue->regions;

	if (!region_has(&regions[0], gpa - regions[0].gpa, len)) {
		if (region_has(&regions[1], gpa - regions[1].gpa, len)) {
			/* Buffers near each other come one after the other. */
			struct region_cache other = regions[0];

			regions[0] = regions[1];
			regions[1] = other;
		} else if (!cache_region(queue, gpa) ||
			   !region_has(&regions[0], gpa - regions[0].gpa, len)) {
			return NULL;
		}
	}
	return regions[0].host + (gpa - regions[0].gpa);
}

int virtqueue_map_slowly(struct vmm_virtqueue *queue, uint64_t gpa, uint32_t len, bool writing,
	struct iovec *iov, size_t n_iov)
{
	void *host;
	int r;

	if (len == 0)
		return 0;
	host = map_contiguous(queue, gpa, len);
	if (host) {
		if (n_iov == 0)
			return -ENOBUFS;
		*iov = (struct iovec){ .iov_base = host, .iov_len = len };
		return 1;
	}
	r = vmm_mem_iovec(queue->mem, gpa, len, writing, iov, n_iov);
	if (r == -VMM_EGUEST)
		return virtqueue_fault(queue, "buffer outside memory");
	return r;
}

int virtqueue_indirect_table(
	struct vmm_virtqueue *queue, struct desc_copy desc, struct indirect_table *ret_table)
{
	const uint8_t *host;

	if (!queue->indirect)
		return virtqueue_fault(queue, "indirect descriptor without the feature");
	if (desc.len == 0 || desc.len % sizeof(struct split_desc) != 0)
		return virtqueue_fault(queue, "indirect table of a bad length");

	host = map_contiguous(queue, desc.addr, desc.len);
	if (!host && vmm_mem_check(queue->mem, desc.addr, desc.len, false) < 0)
		return virtqueue_fault(queue, "indirect table outside memory");
	if (!IS_ALIGNED((uintptr_t)host, sizeof(uint64_t)))
		host = NULL;
	*ret_table = (struct indirect_table){
		.host = host,
		.gpa = desc.addr,
		.n = desc.len / (uint32_t)sizeof(struct split_desc),
	};
	return 0;
}

int virtqueue_indirect_read_slowly(struct vmm_virtqueue *queue, const struct indirect_table *table,
	uint32_t index, struct desc_copy *ret_desc)
{
	uint64_t offset = (uint64_t)index * sizeof(struct split_desc);

	/* The table was checked as a whole: gpa + offset does not wrap. */
	if (vmm_mem_read(queue->mem, table->gpa + offset, ret_desc, sizeof(*ret_desc)) < 0)
		return virtqueue_fault(queue, "indirect table outside memory");
	return 0;
}

int vmm_virtqueue_pop(struct vmm_virtqueue *queue, struct iovec *iov, size_t n_iov,
	struct vmm_virtqueue_chain *ret_chain)
{
	if (queue->mode == MODE_SPLIT)
		return split_pop(queue, iov, n_iov, ret_chain);
	if (queue->mode == MODE_PACKED)
		return packed_pop(queue, iov, n_iov, ret_chain);
	return queue->mode == MODE_BROKEN ? -VMM_EGUEST : 0;
}

void vmm_virtqueue_undo_pop(struct vmm_virtqueue *queue, const struct vmm_virtqueue_chain *chain)
{
	if (queue->mode == MODE_INACTIVE)
		return;
	assert(queue->n_in_flight > 0);
	queue->n_in_flight--;
	if (queue->packed)
		packed_undo(queue, chain->n_descriptors);
	else
		queue->next_avail--;
}

bool vmm_virtqueue_is_empty(struct vmm_virtqueue *queue)
{
	if (!is_running(queue))
		return true;
	return queue->packed ? packed_is_empty(queue) : split_is_empty(queue);
}

uint32_t vmm_virtqueue_n_in_flight(const struct vmm_virtqueue *queue)
{
	return queue->n_in_flight;
}

void vmm_virtqueue_fill(struct vmm_virtqueue *queue, const struct vmm_virtqueue_chain *chain,
	uint32_t written_bytes)
{
	if (queue->mode == MODE_INACTIVE)
		return;
	assert(queue->n_in_flight > 0);
	queue->n_in_flight--;
	if (queue->packed) {
		packed_fill(queue, chain->id, chain->n_descriptors, written_bytes);
	} else {
		uint16_t index = (uint16_t)(queue->next_used + queue->n_filled);
		struct split_used_elem *elem = &queue->split.used->ring[index & (queue->size - 1)];

		/* Made visible by the release store of the index in flush. */
		*elem = (struct split_used_elem){
			.id = vmm_le32_make(chain->id),
			.len = vmm_le32_make(written_bytes),
		};
		queue->n_filled++;
	}
}

void vmm_virtqueue_flush(struct vmm_virtqueue *queue)
{
	if (queue->n_filled == 0)
		return;
	if (queue->packed) {
		packed_flush(queue);
		return;
	}
	queue->next_used = (uint16_t)(queue->next_used + queue->n_filled);
	queue->n_unsignalled += queue->n_filled;
	queue->n_filled = 0;
	ring_store_release(&queue->split.used->idx, queue->next_used);
}

void vmm_virtqueue_push(struct vmm_virtqueue *queue, const struct vmm_virtqueue_chain *chain,
	uint32_t written_bytes)
{
	vmm_virtqueue_fill(queue, chain, written_bytes);
	vmm_virtqueue_flush(queue);
}

bool vmm_virtqueue_should_notify(struct vmm_virtqueue *queue)
{
	uint32_t n_new = queue->n_unsignalled;

	if (queue->mode == MODE_INACTIVE || n_new == 0)
		return false;
	queue->n_unsignalled = 0;

	/* Our used index before the driver's event or flag, which it may just be changing. */
	ring_fence();
	return queue->packed ? packed_should_notify(queue, n_new)
			     : split_should_notify(queue, n_new);
}

void vmm_virtqueue_disable_notifications(struct vmm_virtqueue *queue)
{
	if (queue->mode == MODE_INACTIVE)
		return;
	if (queue->packed)
		packed_set_notifications(queue, false);
	else
		split_set_notifications(queue, false);
}

bool vmm_virtqueue_enable_notifications(struct vmm_virtqueue *queue)
{
	if (!is_running(queue))
		return false;
	if (queue->packed)
		packed_set_notifications(queue, true);
	else
		split_set_notifications(queue, true);

	/* Our request before the look at the ring: what it misses, the driver kicks for. */
	ring_fence();
	return !vmm_virtqueue_is_empty(queue);
}

struct vmm_virtqueue_state vmm_virtqueue_get_state(const struct vmm_virtqueue *queue)
{
	struct vmm_virtqueue_state state = {
		.avail = queue->next_avail,
		.used = queue->next_used,
	};

	if (queue->packed) {
		state.avail |= queue->avail_wrap ? WRAP_BIT : 0;
		state.used |= queue->used_wrap ? WRAP_BIT : 0;
	}
	return state;
}

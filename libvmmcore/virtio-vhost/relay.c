/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vhost: the relay. Chains are taken out of the guest's ring by virtqueue, which checks
 * them, and put into a split ring (VIRTIO 1.2, 2.7) of ours as indirect tables that point to the
 * same buffers. The back end is the device of that ring, and this file its driver.
 */
#include "virtio-vhost/vhost-internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#define DESC_F_NEXT 1
#define DESC_F_WRITE 2
#define DESC_F_INDIRECT 4
#define USED_F_NO_NOTIFY 1
#define SPARE_ENTRIES 64
#define BUDGET 256
#define BLK_S_IOERR 1

/* Above any memory that a guest has, below what some back ends take for a sign. */
#define RELAY_GPA (UINT64_C(1) << 50)

static_assert(sizeof(struct relay_desc) == 16, "VIRTIO 1.2, 2.7.5");
static_assert(sizeof(struct relay_used) == 8, "VIRTIO 1.2, 2.7.8");

/* The parts of a queue in the shared memory, in bytes. */
struct layout {
	size_t avail, used, tables, total;
};

static struct layout layout_of(unsigned int size, uint32_t n_table)
{
	struct layout layout;

	layout.avail = size * sizeof(struct relay_desc);
	layout.used = ALIGN_UP(layout.avail + 6 + 2 * (size_t)size, (size_t)64);
	layout.tables = ALIGN_UP(layout.used + 6 + 8 * (size_t)size, (size_t)4096);
	layout.total = ALIGN_UP(
		layout.tables + (size_t)size * n_table * sizeof(struct relay_desc), (size_t)4096);
	return layout;
}

static int init_queue(struct vmm_virtio_vhost *vhost, struct vhost_queue *queue,
	const struct layout *layout, uint8_t *host)
{
	struct relay *relay = &queue->relay;

	relay->size = vhost->queue_size;
	relay->n_table = vhost->queue_size + SPARE_ENTRIES;
	relay->gpa = RELAY_GPA + queue->index * (uint64_t)layout->total;
	relay->desc = (struct relay_desc *)host;
	relay->avail = (uint16_t *)(host + layout->avail);
	relay->used = (uint16_t *)(host + layout->used);
	relay->tables = (struct relay_desc *)(host + layout->tables);
	relay->slots = calloc(relay->size, sizeof(relay->slots[0]));
	relay->iov = calloc(relay->n_table, sizeof(relay->iov[0]));
	relay->free_slots = calloc(relay->size, sizeof(relay->free_slots[0]));
	if (!relay->slots || !relay->iov || !relay->free_slots)
		return -ENOMEM;
	relay_forget(queue);
	return 0;
}

int relay_new(struct vmm_virtio_vhost *vhost)
{
	struct layout layout = layout_of(vhost->queue_size, vhost->queue_size + SPARE_ENTRIES);
	struct vmm_mem_region *region = &vhost->relay_region;
	int r;

	region->gpa = RELAY_GPA;
	region->size_bytes = layout.total * vhost->n_queues;
	region->fd = memfd_create("vmm-relay", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (region->fd < 0)
		return -errno;
	if (ftruncate(region->fd, (off_t)region->size_bytes) < 0)
		return -errno;
	if (fcntl(region->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	region->host =
		mmap(NULL, region->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, 0);
	if (region->host == MAP_FAILED) {
		region->host = NULL;
		return -errno;
	}
	for (unsigned int i = 0; i < vhost->n_queues; i++) {
		r = init_queue(vhost, &vhost->queues[i], &layout,
			(uint8_t *)region->host + i * layout.total);
		if (r < 0)
			return r;
	}
	return 0;
}

void relay_free(struct vmm_virtio_vhost *vhost)
{
	struct vmm_mem_region *region = &vhost->relay_region;

	for (unsigned int i = 0; vhost->queues && i < vhost->n_queues; i++) {
		struct relay *relay = &vhost->queues[i].relay;

		free(relay->slots);
		free(relay->iov);
		free(relay->free_slots);
	}
	if (region->host)
		munmap(region->host, region->size_bytes);
	vmm_base_close(region->fd);
}

void relay_forget(struct vhost_queue *queue)
{
	struct relay *relay = &queue->relay;

	relay->n_free = 0;
	for (unsigned int i = relay->size; i-- > 0;) {
		relay->slots[i].order = 0;
		relay->free_slots[relay->n_free++] = (uint16_t)i;
	}
}

bool relay_is_empty(const struct vhost_queue *queue)
{
	return queue->relay.n_free == queue->relay.size;
}

struct vmm_virtqueue_config relay_config(const struct vhost_queue *queue)
{
	const struct relay *relay = &queue->relay;
	const uint8_t *start = (const uint8_t *)relay->desc;

	return (struct vmm_virtqueue_config){
		.size = relay->size,
		.desc_gpa = relay->gpa,
		.driver_gpa = relay->gpa + (uint64_t)((const uint8_t *)relay->avail - start),
		.device_gpa = relay->gpa + (uint64_t)((const uint8_t *)relay->used - start),
	};
}

/* Makes a slot available; it is seen by the next store of the index. */
static void offer(struct relay *relay, unsigned int slot)
{
	relay->avail[2 + relay->avail_index % relay->size] = (uint16_t)slot;
	relay->avail_index++;
}

/* 2.7.13.3: the entries, then the index. Pairs with the back end's reading it. */
static void publish(struct relay *relay)
{
	__atomic_store_n(&relay->avail[1], relay->avail_index, __ATOMIC_RELEASE);
}

unsigned int relay_restart(struct vhost_queue *queue)
{
	struct relay *relay = &queue->relay;
	unsigned int n = 0;

	relay->avail_index = relay->used_index = 0;
	memset(relay->avail, 0, 4);
	memset(relay->used, 0, 4);
	/* In the order in which they came: the smallest that is larger than the one before. */
	for (uint64_t before = 0;;) {
		const struct relay_slot *next = NULL;

		for (unsigned int i = 0; i < relay->size; i++) {
			const struct relay_slot *slot = &relay->slots[i];

			if (slot->order > before && (!next || slot->order < next->order))
				next = slot;
		}
		if (!next)
			break;
		before = next->order;
		offer(relay, (unsigned int)(next - relay->slots));
		n++;
	}
	publish(relay);
	return n;
}

/* The guest's address of memory that virtqueue found in a region, and how far that goes. */
static bool find_gpa(
	const struct vmm_mem *mem, const void *host, uint64_t *ret_gpa, uint64_t *ret_bytes)
{
	struct vmm_mem_region region;

	for (size_t i = 0; vmm_mem_get_region(mem, i, &region) == 0; i++) {
		uint64_t offset = (uintptr_t)host - (uintptr_t)region.host;

		if (offset < region.size_bytes) {
			*ret_gpa = region.gpa + offset;
			*ret_bytes = region.size_bytes - offset;
			return true;
		}
	}
	return false;
}

struct table_end {
	uint32_t n;
	uint64_t last_gpa; /* of the last byte */
};

static bool add_entries(struct vmm_virtio_vhost *vhost, struct relay *relay,
	struct relay_desc *table, const struct iovec *iov, uint32_t n_iov, uint16_t flags,
	struct table_end *end)
{
	for (uint32_t i = 0; i < n_iov; i++) {
		for (size_t done = 0; done < iov[i].iov_len;) {
			uint64_t gpa, bytes;

			if (end->n == relay->n_table ||
				!find_gpa(vhost->mem, (char *)iov[i].iov_base + done, &gpa, &bytes))
				return false;
			bytes = MIN(bytes, (uint64_t)(iov[i].iov_len - done));
			table[end->n] = (struct relay_desc){
				.gpa = vmm_le64_make(gpa),
				.len = vmm_le32_make((uint32_t)bytes),
				.flags = vmm_le16_make(flags | DESC_F_NEXT),
				.next = vmm_le16_make((uint16_t)(end->n + 1)),
			};
			end->n++;
			end->last_gpa = gpa + bytes - 1;
			done += bytes;
		}
	}
	return true;
}

/* False where the chain has more pieces than a table. */
static bool add_chain(struct vmm_virtio_vhost *vhost, struct relay *relay,
	const struct vmm_virtqueue_chain *chain)
{
	unsigned int slot = relay->free_slots[relay->n_free - 1];
	struct relay_desc *table = &relay->tables[(size_t)slot * relay->n_table];
	uint64_t table_offset = (uint64_t)((uint8_t *)table - (uint8_t *)relay->desc);
	struct table_end end = { 0 };

	if (!add_entries(vhost, relay, table, chain->readable, chain->n_readable, 0, &end) ||
		!add_entries(vhost, relay, table, chain->writable, chain->n_writable, DESC_F_WRITE,
			&end) ||
		end.n == 0)
		return false;
	table[end.n - 1].flags.v &= (uint16_t)~DESC_F_NEXT;
	relay->desc[slot] = (struct relay_desc){
		.gpa = vmm_le64_make(relay->gpa + table_offset),
		.len = vmm_le32_make(end.n * (uint32_t)sizeof(struct relay_desc)),
		.flags = vmm_le16_make(DESC_F_INDIRECT),
	};
	relay->slots[slot] = (struct relay_slot){
		.chain = *chain,
		.order = ++relay->next_order,
		.status_gpa = end.last_gpa,
	};
	relay->n_free--;
	offer(relay, slot);
	return true;
}

/* As many as BUDGET. 1: there may be more. */
static int forward_some(
	struct vmm_virtio_vhost *vhost, struct vhost_queue *queue, struct vmm_virtqueue *virtqueue)
{
	struct relay *relay = &queue->relay;
	struct vmm_virtqueue_chain chain;
	int r;

	for (unsigned int n = 0; n < BUDGET; n++) {
		r = vmm_virtqueue_pop(virtqueue, relay->iov, relay->n_table, &chain);
		if (r == -ENOBUFS) {
			vmm_virtqueue_break(virtqueue, "a request lies in too many pieces");
			return -VMM_EGUEST;
		}
		if (r <= 0)
			return r;
		/* A slot is free: no more are in flight than the guest's ring has entries. */
		if (relay->n_free == 0 || !add_chain(vhost, relay, &chain)) {
			vmm_virtqueue_break(virtqueue, "an empty request, or too many pieces");
			return -VMM_EGUEST;
		}
	}
	return 1;
}

static int forward_locked(
	struct vmm_virtio_vhost *vhost, struct vhost_queue *queue, struct vmm_virtqueue *virtqueue)
{
	struct relay *relay = &queue->relay;
	uint16_t before = relay->avail_index;
	int r;

	do {
		vmm_virtqueue_disable_notifications(virtqueue);
		r = forward_some(vhost, queue, virtqueue);
	} while (r == 0 && vmm_virtqueue_enable_notifications(virtqueue));
	if (relay->avail_index != before) {
		publish(relay);
		/* The index before the look at the flags, as 2.7.13.4.1 has it. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (!(__atomic_load_n(&relay->used[0], __ATOMIC_RELAXED) & USED_F_NO_NOTIFY))
			vmm_base_eventfd_signal(queue->relay_kick_fd);
	}
	return r;
}

int relay_forward(struct vmm_virtio_vhost *vhost, struct vhost_queue *queue)
{
	int kick_fd = vmm_virtio_kick_fd(vhost->device, queue->index), r = 0;
	struct vmm_virtqueue *virtqueue;

	vmm_base_eventfd_clear(kick_fd, NULL);
	vmm_virtio_lock(vhost->device, queue->index);
	virtqueue = vmm_virtio_queue(vhost->device, queue->index);
	if (virtqueue && !vmm_virtqueue_fault(virtqueue)) {
		r = forward_locked(vhost, queue, virtqueue);
		if (r < 0)
			vmm_virtio_fail(vhost->device);
		else if (r > 0)
			vmm_base_eventfd_signal(kick_fd);
	}
	vmm_virtio_unlock(vhost->device, queue->index);
	return r < 0 ? r : 0;
}

static void end_slot(struct vhost_queue *queue, unsigned int slot)
{
	queue->relay.slots[slot].order = 0;
	queue->relay.free_slots[queue->relay.n_free++] = (uint16_t)slot;
}

static int return_locked(
	struct vmm_virtio_vhost *vhost, struct vhost_queue *queue, struct vmm_virtqueue *virtqueue)
{
	struct relay *relay = &queue->relay;
	uint16_t end = __atomic_load_n(&relay->used[1], __ATOMIC_ACQUIRE);
	int r = 0;

	/* Not one of them is believed where there are more than are in flight. */
	if ((uint16_t)(end - relay->used_index) > relay->size - relay->n_free)
		return -EPROTO;
	while (relay->used_index != end) {
		struct relay_used used;
		struct relay_slot *slot;
		uint64_t written;

		memcpy(&used, &relay->used[2 + 4 * (relay->used_index % relay->size)],
			sizeof(used));
		if (vmm_le32_get(used.id) >= relay->size ||
			relay->slots[vmm_le32_get(used.id)].order == 0) {
			r = -EPROTO;
			break;
		}
		relay->used_index++;
		slot = &relay->slots[vmm_le32_get(used.id)];
		written = MIN((uint64_t)vmm_le32_get(used.len), slot->chain.writable_bytes);
		if (virtqueue)
			vmm_virtqueue_fill(virtqueue, &slot->chain, (uint32_t)written);
		end_slot(queue, vmm_le32_get(used.id));
	}
	if (virtqueue) {
		vmm_virtqueue_flush(virtqueue);
		vmm_virtio_notify(vhost->device, queue->index);
	}
	return r;
}

int relay_return(struct vmm_virtio_vhost *vhost, struct vhost_queue *queue)
{
	int r;

	vmm_base_eventfd_clear(queue->call_fd, NULL);
	vmm_virtio_lock(vhost->device, queue->index);
	r = return_locked(vhost, queue, vmm_virtio_queue_finishing(vhost->device, queue->index));
	vmm_virtio_unlock(vhost->device, queue->index);
	return r;
}

void relay_fail(struct vmm_virtio_vhost *vhost, struct vhost_queue *queue)
{
	struct relay *relay = &queue->relay;
	struct vmm_virtqueue *virtqueue;
	const uint8_t status = BLK_S_IOERR;

	/* Takes what is available too, into slots: nobody looks at our ring any more. */
	relay_forward(vhost, queue);
	vmm_virtio_lock(vhost->device, queue->index);
	virtqueue = vmm_virtio_queue_finishing(vhost->device, queue->index);
	for (unsigned int i = 0; i < relay->size; i++) {
		const struct relay_slot *slot = &relay->slots[i];

		if (slot->order == 0)
			continue;
		if (virtqueue) {
			if (slot->chain.writable_bytes > 0)
				vmm_mem_write(vhost->mem, slot->status_gpa, &status, 1);
			vmm_virtqueue_fill(
				virtqueue, &slot->chain, slot->chain.writable_bytes == 1);
		}
		end_slot(queue, i);
	}
	if (virtqueue) {
		vmm_virtqueue_flush(virtqueue);
		vmm_virtio_notify(vhost->device, queue->index);
	}
	vmm_virtio_unlock(vhost->device, queue->index);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-balloon: what the guest tells about its memory: statistics (VIRTIO 1.2, 5.5.6.3) and
 * hints of free pages (5.5.6.5).
 *
 * The driver leaves one buffer of statistics in the queue; that the device uses it means that it
 * asks for new ones. The buffer is read and stays in the queue until then, so nothing is in
 * flight in between.
 */
#include <string.h>

#include "virtio-balloon/balloon-internal.h"

#define MAX_STATS 64

/* As it lies in the buffer: 10 bytes. */
struct stat_entry {
	struct vmm_le16 tag;
	struct vmm_le16 value[4];
};
static_assert(sizeof(struct stat_entry) == 10, "virtio_balloon_stat");

static void parse_stats(
	const struct vmm_virtqueue_chain *chain, struct vmm_balloon_stats *ret_stats)
{
	struct stat_entry entries[MAX_STATS];
	struct vmm_balloon_stats stats;
	uint64_t *const by_tag[] = {
		&stats.swap_in_bytes,
		&stats.swap_out_bytes,
		&stats.major_faults,
		&stats.minor_faults,
		&stats.free_bytes,
		&stats.total_bytes,
		&stats.available_bytes,
		&stats.disk_caches_bytes,
		&stats.hugetlb_allocations,
		&stats.hugetlb_failures,
	};
	size_t n = vmm_virtqueue_chain_read(chain, 0, entries, sizeof(entries));

	memset(&stats, 0xff, sizeof(stats));
	for (size_t i = 0; i < n / sizeof(entries[0]); i++) {
		uint16_t tag = vmm_le16_get(entries[i].tag);
		uint64_t value = 0;

		for (unsigned int j = 0; j < 4; j++)
			value |= (uint64_t)vmm_le16_get(entries[i].value[j]) << (16 * j);
		if (tag < ARRAY_SIZE(by_tag))
			*by_tag[tag] = value;
	}
	*ret_stats = stats;
}

int balloon_take_stats(struct vmm_virtio_balloon *balloon, struct vmm_virtqueue *queue)
{
	struct vmm_virtqueue_chain chain;
	int r;

	r = balloon_pop(balloon, queue, &chain);
	if (r <= 0)
		return r;
	if (!balloon->stats_taken) {
		parse_stats(&chain, &balloon->stats);
		balloon->has_stats = true;
		balloon->stats_taken = true;
		/* The first comes unasked, and says nothing yet. */
		if (balloon->stats_outstanding && balloon->ops && balloon->ops->stats)
			balloon->ops->stats(balloon->userdata, &balloon->stats);
		balloon->stats_outstanding = false;
	}
	vmm_virtqueue_undo_pop(queue, &chain);
	return 0;
}

int vmm_virtio_balloon_request_stats(struct vmm_virtio_balloon *balloon)
{
	struct vmm_virtqueue_chain chain;
	struct vmm_virtqueue *queue = NULL;
	unsigned int index;
	int r = -EOPNOTSUPP;

	vmm_virtio_lock(balloon->device, 0);
	index = balloon->queue_of[BALLOON_STATS];
	if (index < BALLOON_N_ROLES)
		queue = vmm_virtio_queue(balloon->device, index);
	if (queue && balloon->stats_outstanding) {
		r = -EBUSY;
	} else if (queue) {
		r = balloon_pop(balloon, queue, &chain);
		if (r > 0) {
			balloon->stats_outstanding = true;
			balloon->stats_taken = false;
			vmm_virtqueue_push(queue, &chain, 0);
			vmm_virtio_notify(balloon->device, index);
			/* The answer is one more buffer, and has to be kicked for. */
			vmm_virtqueue_enable_notifications(queue);
			r = 0;
		} else if (r == 0) {
			r = -EOPNOTSUPP;
		} else {
			vmm_virtio_fail(balloon->device);
		}
	}
	vmm_virtio_unlock(balloon->device, 0);
	return r;
}

static void tell_hints(struct vmm_virtio_balloon *balloon, const struct vmm_virtqueue_chain *chain)
{
	for (uint32_t i = 0; i < chain->n_writable; i++) {
		struct iovec rest = chain->writable[i];
		uint64_t gpa, length;

		while (rest.iov_len > 0 && (length = balloon_find_gpa(balloon, &rest, &gpa)) > 0) {
			balloon->ops->hinted(balloon->userdata, gpa, length);
			rest.iov_base = (char *)rest.iov_base + length;
			rest.iov_len -= length;
		}
	}
}

static void take_hint(struct vmm_virtio_balloon *balloon, const struct vmm_virtqueue_chain *chain)
{
	bool wanted = balloon->ops && balloon->ops->hinted;
	uint32_t asked = __atomic_load_n(&balloon->hint_command, __ATOMIC_ACQUIRE);
	struct vmm_le32 command;

	if (vmm_virtqueue_chain_read(chain, 0, &command, sizeof(command)) == sizeof(command)) {
		bool was_active = balloon->hints_active;

		/* The pages that follow are for the request that it names, if that is the last. */
		balloon->hints_active =
			asked >= BALLOON_CMD_FIRST && vmm_le32_get(command) == asked;
		if (was_active && vmm_le32_get(command) == BALLOON_CMD_STOP && wanted)
			balloon->ops->hinted(balloon->userdata, 0, 0);
		return;
	}
	if (balloon->hints_active && asked >= BALLOON_CMD_FIRST && wanted)
		tell_hints(balloon, chain);
}

int balloon_take_hints(struct vmm_virtio_balloon *balloon, struct vmm_virtqueue *queue)
{
	struct vmm_virtqueue_chain chain;
	int r;

	do {
		vmm_virtqueue_disable_notifications(queue);
		for (unsigned int n = 0;; n++) {
			r = balloon_pop(balloon, queue, &chain);
			if (r < 0)
				return r;
			if (r == 0)
				break;
			take_hint(balloon, &chain);
			vmm_virtqueue_push(queue, &chain, 0);
			if (n + 1 == BALLOON_BUDGET_CHAINS)
				return 1;
		}
	} while (vmm_virtqueue_enable_notifications(queue));
	return 0;
}

static void set_hint_command(struct vmm_virtio_balloon *balloon, uint32_t command)
{
	balloon->space.hint_command = vmm_le32_make(command);
	__atomic_store_n(&balloon->hint_command, command, __ATOMIC_RELEASE);
}

int vmm_virtio_balloon_request_hints(struct vmm_virtio_balloon *balloon)
{
	if (!vmm_virtio_is_active(balloon->device) ||
		!(vmm_virtio_features(balloon->device) & BALLOON_F_FREE_PAGE_HINT))
		return -EOPNOTSUPP;
	vmm_virtio_config_begin(balloon->device);
	if (++balloon->last_command < BALLOON_CMD_FIRST)
		balloon->last_command = BALLOON_CMD_FIRST;
	set_hint_command(balloon, balloon->last_command);
	vmm_virtio_config_end(balloon->device, true);
	return 0;
}

void vmm_virtio_balloon_end_hints(struct vmm_virtio_balloon *balloon)
{
	vmm_virtio_config_begin(balloon->device);
	set_hint_command(balloon, BALLOON_CMD_DONE);
	vmm_virtio_config_end(balloon->device, true);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-balloon: the device: queues, configuration space (VIRTIO 1.2, 5.5.4) and life. */
#include <string.h>

#include "virtio-balloon/balloon-internal.h"

#define DEVICE_TYPE_BALLOON 5
#define PCI_CLASS_OTHER_MEMORY 0x058000

int balloon_pop(struct vmm_virtio_balloon *balloon, struct vmm_virtqueue *queue,
	struct vmm_virtqueue_chain *ret_chain)
{
	int r = vmm_virtqueue_pop(queue, balloon->iov, BALLOON_N_IOVECS, ret_chain);

	if (r != -ENOBUFS)
		return r;
	vmm_virtqueue_break(queue, "a balloon request lies in too many pieces");
	return -VMM_EGUEST;
}

static int op_process(void *userdata, unsigned int index, struct vmm_virtqueue *queue)
{
	struct vmm_virtio_balloon *balloon = userdata;

	switch (balloon->roles[index]) {
	case BALLOON_INFLATE:
		return balloon_inflate(balloon, queue);
	case BALLOON_DEFLATE:
		return balloon_deflate(balloon, queue);
	case BALLOON_STATS:
		return balloon_take_stats(balloon, queue);
	case BALLOON_HINTS:
		return balloon_take_hints(balloon, queue);
	case BALLOON_REPORTING:
		return balloon_report(balloon, queue);
	case BALLOON_N_ROLES:
		break;
	}
	/* A queue that means nothing without its feature. */
	vmm_virtqueue_disable_notifications(queue);
	return 0;
}

static bool negotiated(const struct vmm_virtio_balloon *balloon, enum balloon_role role)
{
	static const uint64_t features[BALLOON_N_ROLES] = {
		[BALLOON_STATS] = BALLOON_F_STATS_VQ,
		[BALLOON_HINTS] = BALLOON_F_FREE_PAGE_HINT,
		[BALLOON_REPORTING] = BALLOON_F_PAGE_REPORTING,
	};

	return features[role] == 0 || (vmm_virtio_features(balloon->device) & features[role]);
}

/*
 * Which queue does what. The specification gives each role a fixed index, but Linux counts on
 * without a gap where a feature was not negotiated. A queue that is enabled where the fixed index
 * belongs to no negotiated feature tells which way the driver counts.
 */
static void find_roles(struct vmm_virtio_balloon *balloon)
{
	struct vmm_virtqueue_config config;
	bool without_gaps = false;
	unsigned int index = 0;

	for (unsigned int i = 0; i < BALLOON_N_ROLES; i++) {
		balloon->roles[i] = BALLOON_N_ROLES;
		balloon->queue_of[i] = BALLOON_N_ROLES;
		if (!negotiated(balloon, (enum balloon_role)i) &&
			vmm_virtio_queue_config(balloon->device, i, &config) == 0)
			without_gaps = true;
	}
	for (unsigned int role = 0; role < BALLOON_N_ROLES; role++) {
		if (!negotiated(balloon, (enum balloon_role)role))
			continue;
		if (!without_gaps)
			index = role;
		balloon->roles[index] = (enum balloon_role)role;
		balloon->queue_of[role] = index;
		index++;
	}
}

static int op_activate(void *userdata)
{
	find_roles(userdata);
	return 0;
}

static int op_reset(void *userdata)
{
	struct vmm_virtio_balloon *balloon = userdata;

	/* The guest begins anew: all of its memory is its own again. */
	if (balloon->n_given > 0)
		memset(balloon->given, 0, (size_t)((balloon->n_map_pages + 63) / 64 * 8));
	balloon->n_given = 0;
	balloon->stats_outstanding = false;
	balloon->stats_taken = false;
	balloon->has_stats = false;
	balloon->hints_active = false;
	for (unsigned int i = 0; i < BALLOON_N_ROLES; i++)
		balloon->queue_of[i] = BALLOON_N_ROLES;
	balloon->space.actual = vmm_le32_make(0);
	balloon->space.hint_command = vmm_le32_make(BALLOON_CMD_STOP);
	__atomic_store_n(&balloon->actual, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&balloon->hint_command, BALLOON_CMD_STOP, __ATOMIC_RELAXED);
	return 0;
}

static int op_queue_reset(void *userdata, unsigned int index)
{
	struct vmm_virtio_balloon *balloon = userdata;

	if (balloon->roles[index] == BALLOON_STATS) {
		balloon->stats_outstanding = false;
		balloon->stats_taken = false;
	}
	if (balloon->roles[index] == BALLOON_HINTS)
		balloon->hints_active = false;
	return 0;
}

/* The driver's member: actual. poison_value is one only with PAGE_POISON, which is not offered. */
static void op_write_config(void *userdata, uint32_t offset, const void *data, size_t size)
{
	struct vmm_virtio_balloon *balloon = userdata;
	struct balloon_config_space written = balloon->space;
	uint32_t actual;

	memcpy((char *)&written + offset, data, size);
	balloon->space.actual = written.actual;
	actual = vmm_le32_get(written.actual);
	if (__atomic_exchange_n(&balloon->actual, actual, __ATOMIC_RELAXED) == actual)
		return;
	vmm_virtio_lock(balloon->device, 0);
	if (balloon->ops && balloon->ops->changed)
		balloon->ops->changed(
			balloon->userdata, MIN((uint64_t)actual * VMM_BALLOON_PAGE_BYTES,
						   vmm_mem_size_bytes(balloon->mem)));
	vmm_virtio_unlock(balloon->device, 0);
}

static const struct vmm_virtio_ops device_ops = {
	.process = op_process,
	.activate = op_activate,
	.reset = op_reset,
	.queue_reset = op_queue_reset,
	.write_config = op_write_config,
};

static int target_pages(
	const struct vmm_mem *mem, uint64_t target_bytes, struct vmm_le32 *ret_n_pages)
{
	uint64_t n_pages = target_bytes / VMM_BALLOON_PAGE_BYTES;

	if (target_bytes > vmm_mem_size_bytes(mem) || n_pages > UINT32_MAX)
		return -EINVAL;
	*ret_n_pages = vmm_le32_make((uint32_t)n_pages);
	return 0;
}

static int make_map(struct vmm_virtio_balloon *balloon)
{
	struct vmm_mem_region region;

	for (size_t i = 0; vmm_mem_get_region(balloon->mem, i, &region) >= 0; i++)
		balloon->n_map_pages = (region.gpa + region.size_bytes) / VMM_BALLOON_PAGE_BYTES;
	/* Page numbers are 32 bits wide. */
	balloon->n_map_pages = MIN(balloon->n_map_pages, UINT64_C(1) << 32);
	balloon->given = calloc((size_t)((balloon->n_map_pages + 63) / 64 + 1), 8);
	return balloon->given ? 0 : -ENOMEM;
}

static int new_device(
	struct vmm_virtio_balloon *balloon, const struct vmm_virtio_balloon_config *config)
{
	uint16_t queue_sizes[BALLOON_N_ROLES];
	struct vmm_virtio_device_config device = {
		.device_type = DEVICE_TYPE_BALLOON,
		.pci_class_code = PCI_CLASS_OTHER_MEMORY,
		.features = VMM_VIRTIO_RING_FEATURES | VMM_VIRTIO_F_RING_RESET |
			    BALLOON_F_STATS_VQ | BALLOON_F_FREE_PAGE_HINT,
		.n_queues = BALLOON_N_ROLES,
		.queue_sizes = queue_sizes,
		.config_space = &balloon->space,
		.config_size_bytes = sizeof(balloon->space),
		.mem = config->mem,
		.ops = &device_ops,
		.userdata = balloon,
	};

	for (unsigned int i = 0; i < BALLOON_N_ROLES; i++)
		queue_sizes[i] = BALLOON_QUEUE_SIZE;
	if (!config->no_deflate_on_oom)
		device.features |= BALLOON_F_DEFLATE_ON_OOM;
	if (!config->no_reporting)
		device.features |= BALLOON_F_PAGE_REPORTING;
	return vmm_virtio_device_new(&device, &balloon->device);
}

DEFINE_POINTER_CLEANUP(struct vmm_virtio_balloon, vmm_virtio_balloon_free);

int vmm_virtio_balloon_new(
	const struct vmm_virtio_balloon_config *config, struct vmm_virtio_balloon **ret_balloon)
{
	CLEANUP(vmm_virtio_balloon_free_p) struct vmm_virtio_balloon *balloon = NULL;
	int r;

	if (!config->mem)
		return -EINVAL;
	balloon = calloc(1, sizeof(*balloon));
	if (!balloon)
		return -ENOMEM;
	balloon->mem = config->mem;
	balloon->ops = config->ops;
	balloon->userdata = config->userdata;
	balloon->last_command = BALLOON_CMD_DONE;
	for (unsigned int i = 0; i < BALLOON_N_ROLES; i++) {
		balloon->roles[i] = BALLOON_N_ROLES;
		balloon->queue_of[i] = BALLOON_N_ROLES;
	}
	r = target_pages(config->mem, config->target_bytes, &balloon->space.n_pages);
	if (r < 0)
		return r;
	r = make_map(balloon);
	if (r < 0)
		return r;
	r = new_device(balloon, config);
	if (r < 0)
		return r;
	*ret_balloon = TAKE_PTR(balloon);
	return 0;
}

struct vmm_virtio_balloon *vmm_virtio_balloon_free(struct vmm_virtio_balloon *balloon)
{
	if (!balloon)
		return NULL;
	vmm_virtio_device_free(balloon->device);
	free(balloon->given);
	free(balloon);
	return NULL;
}

struct vmm_virtio_device *vmm_virtio_balloon_device(struct vmm_virtio_balloon *balloon)
{
	return balloon->device;
}

int vmm_virtio_balloon_set_target(struct vmm_virtio_balloon *balloon, uint64_t target_bytes)
{
	struct vmm_le32 n_pages;
	bool changed;
	int r;

	r = target_pages(balloon->mem, target_bytes, &n_pages);
	if (r < 0)
		return r;
	vmm_virtio_config_begin(balloon->device);
	changed = vmm_le32_get(balloon->space.n_pages) != vmm_le32_get(n_pages);
	balloon->space.n_pages = n_pages;
	vmm_virtio_config_end(balloon->device, changed);
	return 0;
}

void vmm_virtio_balloon_get_status(
	struct vmm_virtio_balloon *balloon, struct vmm_virtio_balloon_status *ret_status)
{
	uint64_t actual = __atomic_load_n(&balloon->actual, __ATOMIC_RELAXED);
	uint32_t n_pages;

	vmm_virtio_config_begin(balloon->device);
	n_pages = vmm_le32_get(balloon->space.n_pages);
	vmm_virtio_config_end(balloon->device, false);
	vmm_virtio_lock(balloon->device, 0);
	*ret_status = (struct vmm_virtio_balloon_status){
		.target_bytes = (uint64_t)n_pages * VMM_BALLOON_PAGE_BYTES,
		.actual_bytes =
			MIN(actual * VMM_BALLOON_PAGE_BYTES, vmm_mem_size_bytes(balloon->mem)),
		.inflated_bytes = balloon->n_given * VMM_BALLOON_PAGE_BYTES,
		.reported_bytes = balloon->reported_bytes,
		.n_bad_pages = balloon->n_bad_pages,
		.n_failed = balloon->n_failed,
		.has_stats = balloon->has_stats,
		.stats = balloon->stats,
	};
	vmm_virtio_unlock(balloon->device, 0);
}

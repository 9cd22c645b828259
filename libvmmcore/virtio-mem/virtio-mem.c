/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-mem: a map of plugged blocks, and the four requests about it (VIRTIO 1.2, 5.15.6). The
 * map is under the data lock; the configuration space, whose plugged_size follows it, is read and
 * written in whole words, so that a driver that reads it meanwhile sees the old or the new.
 */
#include <vmmcore/virtio-mem.h>

#include <string.h>

#include "base/util.h"

#define DEVICE_TYPE_MEM 24
#define PCI_CLASS_OTHER_MEMORY 0x058000
#define QUEUE_SIZE 64
#define N_IOVECS (QUEUE_SIZE + 16)
#define BUDGET 16
#define DEFAULT_BLOCK_BYTES (UINT64_C(2) << 20)

enum request_type {
	REQUEST_PLUG = 0,
	REQUEST_UNPLUG = 1,
	REQUEST_UNPLUG_ALL = 2,
	REQUEST_STATE = 3,
};

enum answer_type {
	ANSWER_ACK = 0,
	ANSWER_NACK = 1,
	ANSWER_BUSY = 2,
	ANSWER_ERROR = 3,
};

enum block_state {
	STATE_PLUGGED = 0,
	STATE_UNPLUGGED = 1,
	STATE_MIXED = 2,
};

struct config_space {
	struct vmm_le64 block_size;
	struct vmm_le16 node_id;
	uint8_t padding[6];
	struct vmm_le64 addr;
	struct vmm_le64 region_size;
	struct vmm_le64 usable_region_size;
	struct vmm_le64 plugged_size;
	struct vmm_le64 requested_size;
};
static_assert(sizeof(struct config_space) == 56, "virtio_mem_config");

struct request {
	struct vmm_le16 type;
	struct vmm_le16 padding[3];
	struct vmm_le64 gpa;
	struct vmm_le16 n_blocks;
	struct vmm_le16 more_padding[3];
};
static_assert(sizeof(struct request) == 24, "virtio_mem_req");

struct answer {
	struct vmm_le16 type;
	struct vmm_le16 padding[3];
	struct vmm_le16 state;
};
static_assert(sizeof(struct answer) == 10, "virtio_mem_resp");

struct vmm_virtio_mem {
	struct vmm_virtio_device *device; /* owned */
	struct vmm_mem *mem;              /* borrowed */
	void (*changed)(void *userdata, uint64_t plugged_bytes);
	void *userdata;
	uint64_t gpa, block_bytes, n_blocks;
	struct config_space space;

	/* under the data lock */
	uint8_t *plugged; /* owned: one a block */
	uint64_t n_plugged;
	uint64_t n_requested;
	struct iovec iov[N_IOVECS];
};

static void set_word(struct vmm_le64 *word, uint64_t value)
{
	__atomic_store_n(&word->v, value, __ATOMIC_RELAXED);
}

static void tell_plugged(struct vmm_virtio_mem *vm)
{
	set_word(&vm->space.plugged_size, vm->n_plugged * vm->block_bytes);
	if (vm->changed)
		vm->changed(vm->userdata, vm->n_plugged * vm->block_bytes);
}

static void set_plugged(struct vmm_virtio_mem *vm, uint64_t first, uint64_t n, bool plugged)
{
	memset(vm->plugged + first, plugged, (size_t)n);
	if (plugged)
		vm->n_plugged += n;
	else
		vm->n_plugged -= n;
	tell_plugged(vm);
}

static enum block_state state_of(const struct vmm_virtio_mem *vm, uint64_t first, uint64_t n)
{
	for (uint64_t i = 1; i < n; i++)
		if (vm->plugged[first + i] != vm->plugged[first])
			return STATE_MIXED;
	return vm->plugged[first] ? STATE_PLUGGED : STATE_UNPLUGGED;
}

static enum answer_type plug(struct vmm_virtio_mem *vm, uint64_t first, uint64_t n)
{
	if (state_of(vm, first, n) != STATE_UNPLUGGED)
		return ANSWER_ERROR;
	if (vm->n_plugged + n > vm->n_requested)
		return ANSWER_NACK;
	set_plugged(vm, first, n, true);
	return ANSWER_ACK;
}

static enum answer_type unplug(struct vmm_virtio_mem *vm, uint64_t first, uint64_t n)
{
	if (state_of(vm, first, n) != STATE_PLUGGED)
		return ANSWER_ERROR;
	if (vmm_mem_discard(vm->mem, vm->gpa + first * vm->block_bytes, n * vm->block_bytes) < 0)
		return ANSWER_BUSY;
	set_plugged(vm, first, n, false);
	return ANSWER_ACK;
}

static enum answer_type unplug_all(struct vmm_virtio_mem *vm)
{
	if (vm->n_plugged == 0)
		return ANSWER_ACK;
	if (vmm_mem_discard(vm->mem, vm->gpa, vm->n_blocks * vm->block_bytes) < 0)
		return ANSWER_BUSY;
	memset(vm->plugged, false, (size_t)vm->n_blocks);
	vm->n_plugged = 0;
	tell_plugged(vm);
	return ANSWER_ACK;
}

/* The blocks of a request; false where it does not name any. */
static bool find_blocks(const struct vmm_virtio_mem *vm, const struct request *request,
	uint64_t *ret_first, uint64_t *ret_n)
{
	uint64_t gpa = vmm_le64_get(request->gpa), n = vmm_le16_get(request->n_blocks);

	if (n == 0 || gpa < vm->gpa || !IS_ALIGNED(gpa - vm->gpa, vm->block_bytes))
		return false;
	*ret_first = (gpa - vm->gpa) / vm->block_bytes;
	*ret_n = n;
	return *ret_first < vm->n_blocks && n <= vm->n_blocks - *ret_first;
}

static struct answer handle(struct vmm_virtio_mem *vm, const struct request *request)
{
	enum block_state state = STATE_PLUGGED;
	enum answer_type type = ANSWER_ERROR;
	uint64_t first, n;

	if (vmm_le16_get(request->type) == REQUEST_UNPLUG_ALL) {
		type = unplug_all(vm);
	} else if (find_blocks(vm, request, &first, &n)) {
		switch (vmm_le16_get(request->type)) {
		case REQUEST_PLUG:
			type = plug(vm, first, n);
			break;
		case REQUEST_UNPLUG:
			type = unplug(vm, first, n);
			break;
		case REQUEST_STATE:
			type = ANSWER_ACK;
			state = state_of(vm, first, n);
			break;
		}
	}
	return (struct answer){
		.type = vmm_le16_make((uint16_t)type),
		.state = vmm_le16_make((uint16_t)state),
	};
}

static int serve(struct vmm_virtio_mem *vm, struct vmm_virtqueue *queue)
{
	struct vmm_virtqueue_chain chain;
	struct request request;
	struct answer answer;
	int r;

	for (unsigned int i = 0; i < BUDGET; i++) {
		r = vmm_virtqueue_pop(queue, vm->iov, N_IOVECS, &chain);
		if (r == 0)
			return 0;
		if (r > 0 && (chain.writable_bytes < sizeof(answer) ||
				     vmm_virtqueue_chain_read(&chain, 0, &request,
					     sizeof(request)) < sizeof(request)))
			r = -ENOBUFS;
		if (r == -ENOBUFS) {
			vmm_virtqueue_break(queue, "a memory request is too short, or in pieces");
			r = -VMM_EGUEST;
		}
		if (r < 0)
			return r;
		answer = handle(vm, &request);
		vmm_virtqueue_chain_write(&chain, 0, &answer, sizeof(answer));
		vmm_virtqueue_push(queue, &chain, sizeof(answer));
	}
	return 1;
}

static int op_process(void *userdata, unsigned int queue_index, struct vmm_virtqueue *queue)
{
	int r;

	do {
		vmm_virtqueue_disable_notifications(queue);
		r = serve(userdata, queue);
	} while (r == 0 && vmm_virtqueue_enable_notifications(queue));
	return r;
}

static const struct vmm_virtio_ops device_ops = {
	.process = op_process,
};

static int take_region(struct vmm_virtio_mem *vm, const struct vmm_virtio_mem_config *config)
{
	struct vmm_mem_region region;

	vm->block_bytes = config->block_bytes ? config->block_bytes : DEFAULT_BLOCK_BYTES;
	if (vm->block_bytes & (vm->block_bytes - 1) || vm->block_bytes < VMM_MEM_PAGE_BYTES)
		return -EINVAL;
	if (vmm_mem_find_region(config->mem, config->gpa, &region) < 0)
		return -EINVAL;
	vm->gpa = region.gpa;
	vm->n_blocks = region.size_bytes / vm->block_bytes;
	if (region.read_only || !IS_ALIGNED(region.gpa, vm->block_bytes) ||
		!IS_ALIGNED(region.size_bytes, vm->block_bytes) ||
		vm->n_blocks > VMM_VIRTIO_MEM_MAX_BLOCKS ||
		!IS_ALIGNED(config->requested_bytes, vm->block_bytes) ||
		config->requested_bytes > region.size_bytes)
		return -EINVAL;
	vm->n_requested = config->requested_bytes / vm->block_bytes;
	vm->plugged = calloc((size_t)vm->n_blocks, 1);
	if (!vm->plugged)
		return -ENOMEM;
	vm->space = (struct config_space){
		.block_size = vmm_le64_make(vm->block_bytes),
		.addr = vmm_le64_make(vm->gpa),
		.region_size = vmm_le64_make(region.size_bytes),
		.usable_region_size = vmm_le64_make(region.size_bytes),
		.requested_size = vmm_le64_make(config->requested_bytes),
	};
	return 0;
}

DEFINE_POINTER_CLEANUP(struct vmm_virtio_mem, vmm_virtio_mem_free);

int vmm_virtio_mem_new(
	const struct vmm_virtio_mem_config *config, struct vmm_virtio_mem **ret_virtio_mem)
{
	static const uint16_t queue_sizes[] = { QUEUE_SIZE };
	CLEANUP(vmm_virtio_mem_free_p) struct vmm_virtio_mem *vm = NULL;
	struct vmm_virtio_device_config device = {
		.device_type = DEVICE_TYPE_MEM,
		.pci_class_code = PCI_CLASS_OTHER_MEMORY,
		.features = VMM_VIRTIO_IN_ORDER_FEATURES,
		.n_queues = 1,
		.queue_sizes = queue_sizes,
		.config_size_bytes = sizeof(struct config_space),
		.mem = config->mem,
		.ops = &device_ops,
	};
	int r;

	if (!config->mem)
		return -EINVAL;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	vm->mem = config->mem;
	vm->changed = config->changed;
	vm->userdata = config->userdata;
	r = take_region(vm, config);
	if (r < 0)
		return r;
	device.config_space = &vm->space;
	device.userdata = vm;
	r = vmm_virtio_device_new(&device, &vm->device);
	if (r < 0)
		return r;
	*ret_virtio_mem = TAKE_PTR(vm);
	return 0;
}

struct vmm_virtio_mem *vmm_virtio_mem_free(struct vmm_virtio_mem *vm)
{
	if (!vm)
		return NULL;
	vmm_virtio_device_free(vm->device);
	free(vm->plugged);
	free(vm);
	return NULL;
}

struct vmm_virtio_device *vmm_virtio_mem_device(struct vmm_virtio_mem *vm)
{
	return vm->device;
}

int vmm_virtio_mem_request(struct vmm_virtio_mem *vm, uint64_t requested_bytes)
{
	bool changed;

	if (!IS_ALIGNED(requested_bytes, vm->block_bytes) ||
		requested_bytes / vm->block_bytes > vm->n_blocks)
		return -EINVAL;
	vmm_virtio_config_begin(vm->device);
	vmm_virtio_lock(vm->device, 0);
	changed = vm->n_requested != requested_bytes / vm->block_bytes;
	vm->n_requested = requested_bytes / vm->block_bytes;
	set_word(&vm->space.requested_size, requested_bytes);
	vmm_virtio_unlock(vm->device, 0);
	vmm_virtio_config_end(vm->device, changed);
	return 0;
}

void vmm_virtio_mem_get_status(struct vmm_virtio_mem *vm, struct vmm_virtio_mem_status *ret_status)
{
	vmm_virtio_lock(vm->device, 0);
	*ret_status = (struct vmm_virtio_mem_status){
		.region_bytes = vm->n_blocks * vm->block_bytes,
		.requested_bytes = vm->n_requested * vm->block_bytes,
		.plugged_bytes = vm->n_plugged * vm->block_bytes,
	};
	vmm_virtio_unlock(vm->device, 0);
}

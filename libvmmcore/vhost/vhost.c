/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vhost: the ioctls of linux/vhost.h. Contract: vhost.h. */
#include <vmmcore/vhost.h>

#include <fcntl.h>
#include <linux/vhost.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/util.h"

#define MAX_QUEUES 64
#define DESC_BYTES 16
#define CID_MIN 3
#define CID_MAX (UINT64_C(0xffffffff) - 1)

struct vmm_vhost {
	int fd;              /* owned */
	struct vmm_mem *mem; /* borrowed */
	unsigned int n_queues;
	uint64_t offered;
	bool has_log;
	bool packed; /* of the features that were set */
};

/* The one place that reads errno: 0 or more, or a negative errno. */
static int control(const struct vmm_vhost *vhost, unsigned long request, void *argument)
{
	int r = ioctl(vhost->fd, request, argument);

	return r < 0 ? -errno : r;
}

DEFINE_POINTER_CLEANUP(struct vmm_vhost, vmm_vhost_free);

int vmm_vhost_new(const struct vmm_vhost_config *config, struct vmm_vhost **ret_vhost)
{
	CLEANUP(vmm_vhost_free_p) struct vmm_vhost *vhost = NULL;
	int r;

	if (!config->mem || config->n_queues == 0 || config->n_queues > MAX_QUEUES)
		return -EINVAL;
	vhost = malloc(sizeof(*vhost));
	if (!vhost)
		return -ENOMEM;
	*vhost = (struct vmm_vhost){
		.fd = -EBADF,
		.mem = config->mem,
		.n_queues = config->n_queues,
	};
	vhost->fd = fcntl(config->fd, F_DUPFD_CLOEXEC, 3);
	if (vhost->fd < 0)
		return -errno;
	r = control(vhost, VHOST_SET_OWNER, NULL);
	if (r < 0)
		return r;
	r = control(vhost, VHOST_GET_FEATURES, &vhost->offered);
	if (r < 0)
		return r;
	*ret_vhost = TAKE_PTR(vhost);
	return 0;
}

struct vmm_vhost *vmm_vhost_free(struct vmm_vhost *vhost)
{
	if (!vhost)
		return NULL;
	/*
	 * Closing alone is no end where somebody else has a copy of the descriptor. Each of the
	 * two is for one kind of device and has no effect on the other.
	 */
	if (vhost->fd >= 0) {
		vmm_vhost_vsock_set_running(vhost, false);
		control(vhost, VHOST_RESET_OWNER, NULL);
	}
	vmm_base_close(vhost->fd);
	free(vhost);
	return NULL;
}

uint64_t vmm_vhost_features(const struct vmm_vhost *vhost)
{
	return vhost->offered;
}

int vmm_vhost_set_features(struct vmm_vhost *vhost, uint64_t features)
{
	int r;

	if (features & ~vhost->offered)
		return -ENOTSUP;
	r = control(vhost, VHOST_SET_FEATURES, &features);
	if (r < 0)
		return r;
	vhost->packed = features & VMM_VIRTIO_F_RING_PACKED;
	return 0;
}

int vmm_vhost_set_memory(struct vmm_vhost *vhost)
{
	CLEANUP(free_p) struct vhost_memory *memory = NULL;
	size_t n = vmm_mem_n_regions(vhost->mem);

	memory = calloc(1, sizeof(*memory) + n * sizeof(memory->regions[0]));
	if (!memory)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct vmm_mem_region region;

		vmm_mem_get_region(vhost->mem, i, &region);
		/* The kernel has no flag for read-only memory: it would just write there. */
		if (region.read_only)
			continue;
		memory->regions[memory->nregions++] = (struct vhost_memory_region){
			.guest_phys_addr = region.gpa,
			.memory_size = region.size_bytes,
			.userspace_addr = (uintptr_t)region.host,
		};
	}
	return control(vhost, VHOST_SET_MEM_TABLE, memory);
}

/*
 * The three parts of a ring as host pointers: VIRTIO 1.2, 2.7 and 2.8. They are in one region
 * each, and the kernel goes no further than their sizes.
 */
static int map_ring(const struct vmm_vhost *vhost, const struct vmm_virtqueue_config *config,
	struct vhost_vring_addr *addr)
{
	uint64_t n = config->size;
	uint64_t driver_bytes = vhost->packed ? 4 : 4 + 2 * n + 2;
	uint64_t device_bytes = vhost->packed ? 4 : 4 + 8 * n + 2;
	void *desc, *driver, *device;

	if (n == 0 || n > VMM_VIRTQUEUE_MAX_SIZE || (!vhost->packed && (n & (n - 1)) != 0))
		return -VMM_EGUEST;
	desc = vmm_mem_pointer(vhost->mem, config->desc_gpa, n * DESC_BYTES, 16, true);
	driver = vmm_mem_pointer(vhost->mem, config->driver_gpa, driver_bytes, 2, true);
	device = vmm_mem_pointer(vhost->mem, config->device_gpa, device_bytes, 4, true);
	if (!desc || !driver || !device)
		return -VMM_EGUEST;
	addr->desc_user_addr = (uintptr_t)desc;
	addr->avail_user_addr = (uintptr_t)driver;
	addr->used_user_addr = (uintptr_t)device;
	addr->log_guest_addr = config->device_gpa;
	return 0;
}

static int set_file(struct vmm_vhost *vhost, unsigned long request, unsigned int index, int fd)
{
	struct vhost_vring_file file = { .index = index, .fd = fd < 0 ? VHOST_FILE_UNBIND : fd };

	if (index >= vhost->n_queues)
		return -EINVAL;
	return control(vhost, request, &file);
}

int vmm_vhost_start(
	struct vmm_vhost *vhost, unsigned int index, const struct vmm_vhost_queue *queue)
{
	struct vhost_vring_addr addr = { .index = index };
	struct vhost_vring_state state = { .index = index };
	int r;

	if (index >= vhost->n_queues || queue->kick_fd < 0 || (queue->log_used && !vhost->has_log))
		return -EINVAL;
	r = map_ring(vhost, &queue->config, &addr);
	if (r < 0)
		return r;
	if (queue->log_used)
		addr.flags |= 1u << VHOST_VRING_F_LOG;

	state.num = queue->config.size;
	r = control(vhost, VHOST_SET_VRING_NUM, &state);
	if (r < 0)
		return r;
	/* Packed rings: both positions with their wrap counters. Split: the available index. */
	state.num = queue->state.avail;
	if (vhost->packed)
		state.num |= (uint32_t)queue->state.used << 16;
	r = control(vhost, VHOST_SET_VRING_BASE, &state);
	if (r < 0)
		return r;
	r = control(vhost, VHOST_SET_VRING_ADDR, &addr);
	if (r < 0)
		return r;
	r = set_file(vhost, VHOST_SET_VRING_ERR, index, queue->error_fd);
	if (r < 0)
		return r;
	r = set_file(vhost, VHOST_SET_VRING_CALL, index, queue->call_fd);
	if (r < 0)
		return r;
	/* Last: it looks at the ring. */
	return set_file(vhost, VHOST_SET_VRING_KICK, index, queue->kick_fd);
}

int vmm_vhost_stop(
	struct vmm_vhost *vhost, unsigned int index, struct vmm_virtqueue_state *ret_state)
{
	struct vhost_vring_state state = { .index = index };
	int r, ended = 0;

	if (index >= vhost->n_queues)
		return -EINVAL;
	r = control(vhost, VHOST_GET_VRING_BASE, &state);
	/* Also where that failed: no guest's event reaches the kernel's queue any more. */
	for (unsigned int i = 0; i < 3; i++) {
		static const unsigned long requests[] = { VHOST_SET_VRING_KICK,
			VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR };
		int s = set_file(vhost, requests[i], index, -EBADF);

		if (s < 0 && ended == 0)
			ended = s;
	}
	if (r < 0)
		return r;
	ret_state->avail = (uint16_t)state.num;
	/* Nothing is in flight in a queue without its back end. */
	ret_state->used = vhost->packed ? (uint16_t)(state.num >> 16) : (uint16_t)state.num;
	return ended;
}

int vmm_vhost_set_call(struct vmm_vhost *vhost, unsigned int index, int call_fd)
{
	return set_file(vhost, VHOST_SET_VRING_CALL, index, call_fd);
}

int vmm_vhost_net_set_backend(struct vmm_vhost *vhost, unsigned int index, int tap_fd)
{
	return set_file(vhost, VHOST_NET_SET_BACKEND, index, tap_fd);
}

int vmm_vhost_vsock_set_cid(struct vmm_vhost *vhost, uint64_t cid)
{
	/* 0 to 2 and the last one name hypervisor, local, host and any. */
	if (cid < CID_MIN || cid > CID_MAX)
		return -EINVAL;
	return control(vhost, VHOST_VSOCK_SET_GUEST_CID, &cid);
}

int vmm_vhost_vsock_set_running(struct vmm_vhost *vhost, bool running)
{
	int value = running;

	return control(vhost, VHOST_VSOCK_SET_RUNNING, &value);
}

size_t vmm_vhost_log_bytes(const struct vmm_mem *mem)
{
	struct vmm_mem_region last;
	size_t n = vmm_mem_n_regions(mem);
	uint64_t n_pages;

	if (n == 0 || vmm_mem_get_region(mem, n - 1, &last) < 0)
		return 0;
	/* Regions are sorted, and their ends do not wrap. */
	n_pages = (last.gpa + last.size_bytes - 1) / VMM_VHOST_LOG_PAGE_BYTES + 1;
	return ALIGN_UP(n_pages / 8 + (n_pages % 8 != 0), sizeof(uint64_t));
}

int vmm_vhost_set_log(struct vmm_vhost *vhost, uint8_t *log, size_t n_bytes)
{
	uint64_t base = (uintptr_t)log;
	int r;

	if (log && n_bytes < vmm_vhost_log_bytes(vhost->mem))
		return -EINVAL;
	r = control(vhost, VHOST_SET_LOG_BASE, &base);
	if (r < 0)
		return r;
	vhost->has_log = log != NULL;
	return 0;
}

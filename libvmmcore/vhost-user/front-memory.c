/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost-user: the guest's memory and rings as the back end is told of them. A ring is named by
 * "user addresses", and those are guest addresses here: one address space less to mix up, and
 * the back end learns nothing about ours.
 */
#include "vhost-user/front.h"

#include <sys/stat.h>

static struct vmm_vhost_user_region describe(const struct vmm_mem_region *region)
{
	return (struct vmm_vhost_user_region){
		.gpa = region->gpa,
		.size_bytes = region->size_bytes,
		.user_address = region->gpa,
		.mmap_offset = region->fd_offset,
	};
}

/* fd is not compared: a region is another one where its place in the guest or file is. */
static bool same_region(const struct vmm_mem_region *a, const struct vmm_mem_region *b)
{
	return a->gpa == b->gpa && a->size_bytes == b->size_bytes && a->host == b->host &&
	       a->fd_offset == b->fd_offset;
}

static bool has_region(
	const struct vmm_mem_region *regions, size_t n, const struct vmm_mem_region *region)
{
	for (size_t i = 0; i < n; i++)
		if (same_region(&regions[i], region))
			return true;
	return false;
}

static int change_slot(
	struct vmm_vhost_user *user, uint32_t request, const struct vmm_mem_region *region)
{
	struct vmm_vhost_user_message message = {
		.request = request,
		.size_bytes = sizeof(message.payload.reg),
		.payload.reg = { .region = describe(region) },
	};

	if (request == VMM_VHOST_USER_ADD_MEM_REG) {
		message.fds[0] = region->fd;
		message.n_fds = 1;
	}
	return front_request(user, &message);
}

/* Those that are gone first, so that their places are free. */
static int change_slots(struct vmm_vhost_user *user, const struct vmm_mem_region *regions, size_t n)
{
	int r;

	if (n > user->max_slots)
		return -ENOSPC;
	for (size_t i = user->n_regions; i-- > 0;) {
		if (has_region(regions, n, &user->regions[i]))
			continue;
		r = change_slot(user, VMM_VHOST_USER_REM_MEM_REG, &user->regions[i]);
		if (r < 0)
			return r;
		user->regions[i] = user->regions[--user->n_regions];
	}
	for (size_t i = 0; i < n; i++) {
		if (has_region(user->regions, user->n_regions, &regions[i]))
			continue;
		r = change_slot(user, VMM_VHOST_USER_ADD_MEM_REG, &regions[i]);
		if (r < 0)
			return r;
		user->regions[user->n_regions++] = regions[i];
	}
	return 0;
}

static int send_table(struct vmm_vhost_user *user, const struct vmm_mem_region *regions, size_t n)
{
	struct vmm_vhost_user_message message = { .request = VMM_VHOST_USER_SET_MEM_TABLE };
	struct vmm_vhost_user_mem_table *table = &message.payload.table;
	uint64_t features;
	int r;

	if (n > VMM_VHOST_USER_TABLE_REGIONS)
		return -ENOSPC;
	for (size_t i = 0; i < n; i++) {
		table->regions[i] = describe(&regions[i]);
		message.fds[i] = regions[i].fd;
	}
	table->n_regions = (uint32_t)n;
	message.n_fds = (unsigned int)n;
	message.size_bytes = (uint32_t)((uint8_t *)&table->regions[n] - (uint8_t *)table);
	r = front_request(user, &message);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		user->regions[i] = regions[i];
	user->n_regions = n;
	/* Without acknowledgements, the answer to another request shows that this one is done. */
	if (!front_has(user, VMM_VHOST_USER_PROTOCOL_REPLY_ACK))
		return front_ask_number(user, VMM_VHOST_USER_GET_FEATURES, &features);
	return 0;
}

int vmm_vhost_user_set_memory(
	struct vmm_vhost_user *user, const struct vmm_mem_region *regions, size_t n_regions)
{
	struct vmm_mem_region shared[VMM_MEM_MAX_REGIONS];
	size_t n = 0;

	for (size_t i = 0; i < n_regions; i++) {
		if (regions[i].read_only)
			continue;
		if (regions[i].fd < 0)
			return -EINVAL;
		if (n == VMM_MEM_MAX_REGIONS)
			return -ENOSPC;
		shared[n++] = regions[i];
	}
	if (front_has(user, VMM_VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS))
		return change_slots(user, shared, n);
	return send_table(user, shared, n);
}

/* Within one region: a back end turns the address into one pointer. */
static bool is_shared(
	const struct vmm_vhost_user *user, uint64_t gpa, uint64_t n_bytes, uint64_t alignment)
{
	if (!IS_ALIGNED(gpa, alignment))
		return false;
	for (size_t i = 0; i < user->n_regions; i++) {
		const struct vmm_mem_region *region = &user->regions[i];

		if (gpa >= region->gpa && gpa - region->gpa <= region->size_bytes &&
			n_bytes <= region->size_bytes - (gpa - region->gpa))
			return true;
	}
	return false;
}

/* VIRTIO 1.2, 2.7 and 2.8 */
static bool ring_is_shared(
	const struct vmm_vhost_user *user, const struct vmm_virtqueue_config *config)
{
	bool packed = config->features & VMM_VIRTIO_F_RING_PACKED;
	uint64_t n = config->size;

	if (n == 0 || n > VMM_VIRTQUEUE_MAX_SIZE || (!packed && (n & (n - 1)) != 0))
		return false;
	return is_shared(user, config->desc_gpa, n * 16, 16) &&
	       is_shared(user, config->driver_gpa, packed ? 4 : 6 + 2 * n, 2) &&
	       is_shared(user, config->device_gpa, packed ? 4 : 6 + 8 * n, 4);
}

static int send_state(
	struct vmm_vhost_user *user, uint32_t request, unsigned int index, uint32_t num)
{
	struct vmm_vhost_user_message message = {
		.request = request,
		.size_bytes = sizeof(message.payload.state),
		.payload.state = { .index = index, .num = num },
	};

	return front_request(user, &message);
}

static int send_eventfd(struct vmm_vhost_user *user, uint32_t request, unsigned int index, int fd)
{
	struct vmm_vhost_user_message message = {
		.request = request,
		.size_bytes = sizeof(message.payload.number),
		.payload.number = index,
	};

	if (fd < 0) {
		message.payload.number |= VMM_VHOST_USER_VRING_NO_FD;
	} else {
		message.fds[0] = fd;
		message.n_fds = 1;
	}
	return front_request(user, &message);
}

int vmm_vhost_user_start(
	struct vmm_vhost_user *user, unsigned int index, const struct vmm_vhost_user_queue *queue)
{
	const struct vmm_virtqueue_config *config = &queue->config;
	struct vmm_vhost_user_message addr = {
		.request = VMM_VHOST_USER_SET_VRING_ADDR,
		.size_bytes = sizeof(addr.payload.addr),
		.payload.addr = {
			.index = index,
			.desc_user_address = config->desc_gpa,
			.avail_user_address = config->driver_gpa,
			.used_user_address = config->device_gpa,
			.log_gpa = config->device_gpa,
		},
	};
	uint32_t base = queue->state.avail;
	int r;

	if (index >= user->max_queues || queue->kick_fd < 0)
		return -EINVAL;
	if (!ring_is_shared(user, config))
		return -VMM_EGUEST;
	if (config->features & VMM_VIRTIO_F_RING_PACKED)
		base |= (uint32_t)queue->state.used << 16;
	r = send_state(user, VMM_VHOST_USER_SET_VRING_NUM, index, config->size);
	if (r < 0)
		return r;
	r = send_state(user, VMM_VHOST_USER_SET_VRING_BASE, index, base);
	if (r < 0)
		return r;
	r = front_request(user, &addr);
	if (r < 0)
		return r;
	r = send_eventfd(user, VMM_VHOST_USER_SET_VRING_CALL, index, queue->call_fd);
	if (r < 0)
		return r;
	/* A queue starts with its kick; one that has no features to negotiate is enabled by it. */
	r = send_eventfd(user, VMM_VHOST_USER_SET_VRING_KICK, index, queue->kick_fd);
	if (r < 0 || !(user->offered & VMM_VHOST_USER_F_PROTOCOL_FEATURES))
		return r;
	return send_state(user, VMM_VHOST_USER_SET_VRING_ENABLE, index, 1);
}

int vmm_vhost_user_stop(
	struct vmm_vhost_user *user, unsigned int index, struct vmm_virtqueue_state *ret_state)
{
	struct vmm_vhost_user_message reply, message = {
		.request = VMM_VHOST_USER_GET_VRING_BASE,
		.size_bytes = sizeof(message.payload.state),
		.payload.state = { .index = index },
	};
	int r;

	if (index >= user->max_queues)
		return -EINVAL;
	r = front_ask(user, &message, &reply);
	if (r < 0)
		return r;
	if (reply.payload.state.index != index) {
		user->is_lost = true;
		return -EPROTO;
	}
	/* Split: the high half is not used, and nothing is in flight. */
	ret_state->avail = (uint16_t)reply.payload.state.num;
	ret_state->used = reply.payload.state.num > UINT16_MAX
				  ? (uint16_t)(reply.payload.state.num >> 16)
				  : (uint16_t)reply.payload.state.num;
	return 0;
}

int vmm_vhost_user_set_call(struct vmm_vhost_user *user, unsigned int index, int call_fd)
{
	if (index >= user->max_queues)
		return -EINVAL;
	return send_eventfd(user, VMM_VHOST_USER_SET_VRING_CALL, index, call_fd);
}

/* The file is the back end's: whatever it says of it has to be so, or the queues would end. */
static int check_area(int fd, const struct vmm_vhost_user_inflight_area *area)
{
	struct stat st;
	uint64_t end;

	if (area->mmap_size_bytes == 0 ||
		__builtin_add_overflow(area->mmap_offset, area->mmap_size_bytes, &end))
		return -EPROTO;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || end > (uint64_t)st.st_size)
		return -EPROTO;
	return 0;
}

int vmm_vhost_user_get_inflight(struct vmm_vhost_user *user, uint16_t n_queues, uint16_t queue_size,
	struct vmm_vhost_user_inflight *ret_inflight)
{
	struct vmm_vhost_user_message reply, message = {
		.request = VMM_VHOST_USER_GET_INFLIGHT_FD,
		.size_bytes = sizeof(message.payload.inflight),
		.payload.inflight = { .n_queues = n_queues, .queue_size = queue_size },
	};
	int r;

	if (!front_has(user, VMM_VHOST_USER_PROTOCOL_INFLIGHT_SHMFD))
		return -EOPNOTSUPP;
	r = front_ask(user, &message, &reply);
	if (r < 0)
		return r;
	if (reply.n_fds == 0)
		return -EREMOTEIO;
	r = check_area(reply.fds[0], &reply.payload.inflight);
	if (r < 0) {
		vmm_vhost_user_message_finish(&reply);
		return r;
	}
	ret_inflight->area = reply.payload.inflight;
	/* Of these the next back end hears from us, so they are what we asked for. */
	ret_inflight->area.n_queues = n_queues;
	ret_inflight->area.queue_size = queue_size;
	ret_inflight->fd = TAKE_FD(reply.fds[0]);
	return 0;
}

int vmm_vhost_user_set_inflight(
	struct vmm_vhost_user *user, const struct vmm_vhost_user_inflight *inflight)
{
	struct vmm_vhost_user_message message = {
		.request = VMM_VHOST_USER_SET_INFLIGHT_FD,
		.size_bytes = sizeof(message.payload.inflight),
		.payload.inflight = inflight->area,
		.fds = { inflight->fd },
		.n_fds = 1,
	};

	if (!front_has(user, VMM_VHOST_USER_PROTOCOL_INFLIGHT_SHMFD))
		return -EOPNOTSUPP;
	return front_request(user, &message);
}

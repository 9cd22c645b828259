/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vhost with a back end of this program: a thread for each connection, which does what it is
 * told to do wrong. Back ends of others are in tests/vhost.
 */
#include <vmmcore/virtio-vhost.h>

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "lib/driver.h"
#include "unit.h"

#define MSEC_NSEC UINT64_C(1000000)
#define SECOND_NSEC UINT64_C(1000000000)
#define DEVICE_TYPE 42
#define BUFFER_BYTES 64
#define MAX_BACKS 64
#define MAX_REGIONS 8

enum misdeed {
	NOTHING_WRONG,
	USES_OTHER,     /* completes what is not in flight */
	USES_OUTSIDE,   /* ... and what is no descriptor */
	USES_TWICE,     /* everything, and then again */
	USES_TOO_MUCH,  /* index far ahead */
	USES_TOO_LONG,  /* says that it wrote 4 GiB */
	NEVER_USES,     /* and dies when it is told to */
	HANGS_AT_START, /* no answer to SET_FEATURES */
	HANGS_AT_STOP,  /* no answer to GET_VRING_BASE */
	REFUSES_MEMORY,
	LOSES_FEATURES,
	FLOODS, /* the channel */
};

struct back {
	int fd, channel_fd, call_fd, kick_fd;
	enum misdeed misdeed;
	pthread_t thread;
	struct {
		struct vmm_vhost_user_region region;
		uint8_t *host;
	} regions[MAX_REGIONS];
	unsigned int n_regions;
	struct vmm_vhost_user_vring_addr addr;
	uint32_t size, base;
	uint16_t avail, used;
	ino_t inflight; /* of the file that it was given */
	unsigned int n_get_config, n_get_inflight;
};

/* The plan: what the n-th back end does. */
static struct {
	enum misdeed misdeeds[MAX_BACKS];
	uint64_t features, protocol_features;
	bool refuse; /* connections */
	struct back backs[MAX_BACKS];
	unsigned int n; /* atomic */
	uint64_t config;
} plan;

static struct driver driver;
static struct vmm_virtio_vhost *vhost;

static uint8_t *back_find(struct back *back, uint64_t address, bool is_user)
{
	for (unsigned int i = 0; i < back->n_regions; i++) {
		const struct vmm_vhost_user_region *region = &back->regions[i].region;
		uint64_t start = is_user ? region->user_address : region->gpa;

		if (address - start < region->size_bytes)
			return back->regions[i].host + (address - start);
	}
	return NULL;
}

static void back_map(struct back *back, const struct vmm_vhost_user_region *region, int fd)
{
	back->regions[back->n_regions].region = *region;
	back->regions[back->n_regions++].host = mmap(NULL, region->size_bytes,
		PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)region->mmap_offset);
}

static void back_unmap(struct back *back)
{
	while (back->n_regions > 0) {
		back->n_regions--;
		munmap(back->regions[back->n_regions].host,
			back->regions[back->n_regions].region.size_bytes);
	}
}

static void back_put_used(struct back *back, uint32_t id, uint32_t len)
{
	uint8_t *used = back_find(back, back->addr.used_user_address, true);
	uint32_t entry[2] = { id, len };

	memcpy(used + 4 + 8 * (back->used % back->size), entry, sizeof(entry));
	back->used++;
	__atomic_store_n((uint16_t *)(used + 2), back->used, __ATOMIC_RELEASE);
}

/* Fills what the driver wants filled, and says so; or not. */
static void back_serve(struct back *back)
{
	uint16_t *avail = (uint16_t *)back_find(back, back->addr.avail_user_address, true);
	uint8_t *desc = back_find(back, back->addr.desc_user_address, true);
	uint8_t *used = back_find(back, back->addr.used_user_address, true);

	vmm_base_eventfd_clear(back->kick_fd, NULL);
	if (!avail || !desc || !used)
		return;
	while (back->avail != __atomic_load_n(&avail[1], __ATOMIC_ACQUIRE)) {
		uint16_t head = avail[2 + back->avail % back->size];
		struct vring_desc table, entry;

		back->avail++;
		if (back->misdeed == NEVER_USES)
			continue;
		memcpy(&table, desc + head * 16, sizeof(table));
		entry = table;
		if (table.flags & VRING_INDIRECT)
			memcpy(&entry, back_find(back, table.addr, false), sizeof(entry));
		memset(back_find(back, entry.addr, false), 0x5a, entry.len);
		if (back->misdeed == USES_OTHER)
			head = (uint16_t)((head + 1) % back->size);
		if (back->misdeed == USES_TOO_MUCH)
			back->used = (uint16_t)(back->used + 1000);
		back_put_used(back, back->misdeed == USES_OUTSIDE ? 0xdead0000u : head,
			back->misdeed == USES_TOO_LONG ? UINT32_MAX : entry.len);
		if (back->misdeed == USES_TWICE)
			back_put_used(back, head, entry.len);
	}
	vmm_base_eventfd_signal(back->call_fd);
}

static void back_flood(struct back *back)
{
	const struct vmm_vhost_user_message message = { .request = 2 };

	while (back->channel_fd >= 0 && vmm_vhost_user_send(back->channel_fd, &message, 0) == 0)
		;
}

static void back_answer(struct back *back, struct vmm_vhost_user_message *reply, size_t size)
{
	reply->flags = VMM_VHOST_USER_FLAG_REPLY;
	reply->size_bytes = (uint32_t)size;
	(void)vmm_vhost_user_send(back->fd, reply, vmm_base_now_nsec() + SECOND_NSEC);
}

static void back_answer_number(struct back *back, uint32_t request, uint64_t number)
{
	struct vmm_vhost_user_message reply = { .request = request, .payload.number = number };

	back_answer(back, &reply, sizeof(number));
}

static void back_answer_inflight(struct back *back, struct vmm_vhost_user_message *reply)
{
	int fd = memfd_create("inflight", MFD_CLOEXEC);

	if (ftruncate(fd, 4096) < 0)
		abort();
	reply->payload.inflight.mmap_size_bytes = 4096;
	reply->fds[0] = fd;
	reply->n_fds = 1;
	back_answer(back, reply, sizeof(reply->payload.inflight));
	close(fd);
}

/* What is only noted. */
static void back_note(struct back *back, struct vmm_vhost_user_message *message)
{
	struct stat st;

	switch (message->request) {
	case VMM_VHOST_USER_SET_BACKEND_REQ_FD:
		back->channel_fd = TAKE_FD(message->fds[0]);
		break;
	case VMM_VHOST_USER_SET_MEM_TABLE:
		back_unmap(back);
		for (unsigned int i = 0; i < message->n_fds; i++)
			back_map(back, &message->payload.table.regions[i], message->fds[i]);
		break;
	case VMM_VHOST_USER_SET_VRING_NUM:
		back->size = message->payload.state.num;
		break;
	case VMM_VHOST_USER_SET_VRING_BASE:
		back->base = message->payload.state.num;
		back->avail = back->used = (uint16_t)back->base;
		break;
	case VMM_VHOST_USER_SET_VRING_ADDR:
		back->addr = message->payload.addr;
		break;
	case VMM_VHOST_USER_SET_VRING_CALL:
		vmm_base_close(back->call_fd);
		back->call_fd = message->n_fds > 0 ? TAKE_FD(message->fds[0]) : -EBADF;
		break;
	case VMM_VHOST_USER_SET_VRING_KICK:
		vmm_base_close(back->kick_fd);
		back->kick_fd = TAKE_FD(message->fds[0]);
		break;
	case VMM_VHOST_USER_SET_INFLIGHT_FD:
		if (fstat(message->fds[0], &st) == 0)
			back->inflight = st.st_ino;
		break;
	default:
		break;
	}
}

static void back_handle(struct back *back, struct vmm_vhost_user_message *message)
{
	struct vmm_vhost_user_message reply = {
		.request = message->request,
		.payload = message->payload,
	};
	uint64_t features = plan.features;

	if (back->misdeed == LOSES_FEATURES)
		features &= ~(VMM_VIRTIO_F_INDIRECT_DESC | 1);
	switch (message->request) {
	case VMM_VHOST_USER_GET_FEATURES:
		back_answer_number(back, message->request, features);
		return;
	case VMM_VHOST_USER_GET_PROTOCOL_FEATURES:
		back_answer_number(back, message->request, plan.protocol_features);
		return;
	case VMM_VHOST_USER_GET_QUEUE_NUM:
		back_answer_number(back, message->request, 1);
		return;
	case VMM_VHOST_USER_GET_CONFIG:
		__atomic_fetch_add(&back->n_get_config, 1, __ATOMIC_SEQ_CST);
		memset(reply.payload.config.bytes, 0, sizeof(reply.payload.config.bytes));
		memcpy(reply.payload.config.bytes, &plan.config, sizeof(plan.config));
		back_answer(back, &reply, 12 + reply.payload.config.size_bytes);
		return;
	case VMM_VHOST_USER_GET_INFLIGHT_FD:
		back->n_get_inflight++;
		back_answer_inflight(back, &reply);
		return;
	case VMM_VHOST_USER_GET_VRING_BASE:
		if (back->misdeed == HANGS_AT_STOP)
			return;
		back->kick_fd = vmm_base_close(back->kick_fd);
		reply.payload.state.num = back->avail;
		back_answer(back, &reply, sizeof(reply.payload.state));
		return;
	default:
		break;
	}
	back_note(back, message);
	if (back->misdeed == HANGS_AT_START && message->request == VMM_VHOST_USER_SET_FEATURES)
		return;
	if (message->flags & VMM_VHOST_USER_FLAG_NEED_REPLY)
		back_answer_number(back, message->request,
			back->misdeed == REFUSES_MEMORY &&
				message->request == VMM_VHOST_USER_SET_MEM_TABLE);
}

static void *back_run(void *userdata)
{
	struct back *back = userdata;
	struct vmm_vhost_user_message message;
	uint8_t byte;

	for (;;) {
		ssize_t n = recv(back->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

		if (n == 0)
			break;
		if (n > 0) {
			if (vmm_vhost_user_receive(back->fd, VMM_VHOST_USER_REQUEST,
				    vmm_base_now_nsec() + SECOND_NSEC, &message) < 0)
				break;
			back_handle(back, &message);
			vmm_vhost_user_message_finish(&message);
			continue;
		}
		if (back->kick_fd >= 0 && back->size > 0)
			back_serve(back);
		if (back->misdeed == FLOODS)
			back_flood(back);
		usleep(200);
	}
	shutdown(back->fd, SHUT_RDWR);
	return NULL;
}

static int connect_back(void *userdata)
{
	unsigned int n = plan.n;
	struct back *back = &plan.backs[n];
	int fds[2];

	if (plan.refuse || n == MAX_BACKS - 1)
		return -ECONNREFUSED;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	back->fd = fds[0];
	back->channel_fd = back->call_fd = back->kick_fd = -EBADF;
	back->misdeed = plan.misdeeds[n];
	if (pthread_create(&back->thread, NULL, back_run, back) != 0)
		abort();
	__atomic_store_n(&plan.n, n + 1, __ATOMIC_SEQ_CST);
	return fds[1];
}

static void set_up(void)
{
	memset(&plan, 0, sizeof(plan));
	plan.features = VMM_VHOST_USER_F_PROTOCOL_FEATURES | VMM_VIRTIO_F_VERSION_1 |
			VMM_VIRTIO_F_INDIRECT_DESC | 1;
	plan.protocol_features = VMM_VHOST_USER_PROTOCOL_MQ | VMM_VHOST_USER_PROTOCOL_REPLY_ACK |
				 VMM_VHOST_USER_PROTOCOL_CONFIG |
				 VMM_VHOST_USER_PROTOCOL_BACKEND_REQ;
	driver_init_shared(&driver);
}

static void tear_down(void)
{
	driver_detach(&driver);
	vhost = vmm_virtio_vhost_free(vhost);
	for (unsigned int i = 0; i < plan.n; i++) {
		struct back *back = &plan.backs[i];

		shutdown(back->fd, SHUT_RDWR);
		pthread_join(back->thread, NULL);
		back_unmap(back);
		close(back->fd);
		vmm_base_close(back->channel_fd);
		vmm_base_close(back->call_fd);
		vmm_base_close(back->kick_fd);
	}
	driver_finish(&driver);
}

static struct vmm_virtio_vhost_config good_config(void)
{
	return (struct vmm_virtio_vhost_config){
		.mem = driver.mem,
		.device_type = DEVICE_TYPE,
		.connect = connect_back,
		.reconnect_nsec = 20 * SECOND_NSEC,
		.retry_nsec = 5 * MSEC_NSEC,
		.timeout_nsec = 100 * MSEC_NSEC,
	};
}

static void make(const struct vmm_virtio_vhost_config *config)
{
	ck_assert_int_eq(vmm_virtio_vhost_new(config, &vhost), 0);
	driver_attach(&driver, vmm_virtio_vhost_device(vhost));
}

static struct vmm_virtio_vhost_status get_status(void)
{
	struct vmm_virtio_vhost_status status;

	vmm_virtio_vhost_get_status(vhost, &status);
	return status;
}

/* One buffer to be filled. Returns what the device said that it wrote. */
static uint32_t fill_one(void)
{
	struct vring_buffer buffer = { DRIVER_DATA_GPA, BUFFER_BYTES, true };
	uint8_t *data = driver_pointer(&driver, DRIVER_DATA_GPA, BUFFER_BYTES + 1);
	uint32_t len;

	memset(data, 0, BUFFER_BYTES + 1);
	driver_add(&driver, 0, &buffer, 1, 0);
	ck_assert(driver_wait_used(&driver, 0, NULL, &len));
	ck_assert_uint_eq(data[BUFFER_BYTES - 1], 0x5a);
	ck_assert_uint_eq(data[BUFFER_BYTES], 0);
	return len;
}

static void wait_for_needs_reset(void)
{
	while (!(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET))
		usleep(1000);
}

/* The first back end does it, the second does what the first should have. */
static const enum misdeed survived[] = { NOTHING_WRONG, USES_OTHER, USES_OUTSIDE, USES_TWICE,
	USES_TOO_MUCH, USES_TOO_LONG, HANGS_AT_START, REFUSES_MEMORY };

START_TEST(test_misdeed_is_survived)
{
	struct vmm_virtio_vhost_config config = good_config();

	plan.misdeeds[0] = survived[_i];
	make(&config);
	ck_assert(get_status().relayed);
	ck_assert(driver_start(&driver, VMM_VIRTIO_F_INDIRECT_DESC, 1, 16));
	for (unsigned int i = 0; i < 50; i++)
		ck_assert_uint_eq(fill_one(), BUFFER_BYTES);
	/* Lengths are cut, all else is the end of that back end. */
	if (survived[_i] != NOTHING_WRONG && survived[_i] != USES_TOO_LONG) {
		ck_assert_uint_eq(get_status().n_connected, 2);
		ck_assert_int_lt(get_status().last_error, 0);
	} else {
		ck_assert_uint_eq(get_status().n_connected, 1);
	}
	ck_assert_uint_eq(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET, 0);
}
END_TEST

START_TEST(test_requests_go_to_the_next)
{
	struct vmm_virtio_vhost_config config = good_config();
	uint32_t id;

	plan.misdeeds[0] = plan.misdeeds[1] = NEVER_USES;
	make(&config);
	ck_assert(driver_start(&driver, VMM_VIRTIO_F_INDIRECT_DESC, 1, 16));
	for (unsigned int i = 0; i < 8; i++) {
		struct vring_buffer buffer = { DRIVER_DATA_GPA + i * 4096, BUFFER_BYTES, true };

		driver_add(&driver, 0, &buffer, 1, 0);
	}
	for (unsigned int n = 0; n < 2; n++) {
		while (__atomic_load_n(&plan.n, __ATOMIC_SEQ_CST) == n ||
			__atomic_load_n(&plan.backs[n].avail, __ATOMIC_SEQ_CST) < 8)
			usleep(1000);
		shutdown(plan.backs[n].fd, SHUT_RDWR);
		while (get_status().n_connected < n + 2)
			usleep(1000);
	}
	/* All of them, in their order, by the third. */
	for (uint32_t i = 0; i < 8; i++) {
		ck_assert(driver_wait_used(&driver, 0, &id, NULL));
		ck_assert_uint_eq(id, i);
	}
	ck_assert_uint_eq(get_status().n_resubmitted, 16);
}
END_TEST

START_TEST(test_reset_does_not_wait_for_one_that_hangs)
{
	struct vmm_virtio_vhost_config config = good_config();
	uint64_t begin_nsec;

	config.rings = _i ? VMM_VHOST_RINGS_DIRECT : VMM_VHOST_RINGS_RELAYED;
	plan.misdeeds[0] = HANGS_AT_STOP;
	make(&config);
	ck_assert(driver_start(&driver, 0, 1, 16));
	fill_one();
	begin_nsec = vmm_base_now_nsec();
	driver_reset(&driver);
	ck_assert_uint_lt(vmm_base_now_nsec() - begin_nsec, 5 * SECOND_NSEC);
	ck_assert_int_eq(get_status().last_error, -ETIMEDOUT);
	/* The next one serves it. */
	ck_assert(driver_start(&driver, 0, 1, 16));
	fill_one();
	ck_assert_uint_eq(get_status().n_connected, 2);
}
END_TEST

START_TEST(test_reset_with_requests_that_never_end)
{
	struct vmm_virtio_vhost_config config = good_config();
	struct vring_buffer buffer = { DRIVER_DATA_GPA, BUFFER_BYTES, true };

	plan.misdeeds[0] = NEVER_USES;
	make(&config);
	ck_assert(driver_start(&driver, 0, 1, 16));
	driver_add(&driver, 0, &buffer, 1, 0);
	while (__atomic_load_n(&plan.n, __ATOMIC_SEQ_CST) == 0 ||
		__atomic_load_n(&plan.backs[0].avail, __ATOMIC_SEQ_CST) == 0)
		usleep(1000);
	ck_assert(driver_start(&driver, 0, 1, 16));
	/* Cut off, and what it had is forgotten. */
	ck_assert_int_eq(get_status().last_error, -ETIMEDOUT);
	fill_one();
	ck_assert_uint_eq(get_status().n_resubmitted, 0);
}
END_TEST

START_TEST(test_fewer_features_are_not_taken)
{
	struct vmm_virtio_vhost_config config = good_config();

	config.reconnect_nsec = 200 * MSEC_NSEC;
	for (unsigned int i = 1; i < MAX_BACKS; i++)
		plan.misdeeds[i] = LOSES_FEATURES;
	make(&config);
	ck_assert(driver_start(&driver, 1, 1, 16));
	fill_one();
	shutdown(plan.backs[0].fd, SHUT_RDWR);
	wait_for_needs_reset();
	ck_assert_int_eq(get_status().last_error, -ENOTSUP);
}
END_TEST

START_TEST(test_nobody_comes_back)
{
	struct vmm_virtio_vhost_config config = good_config();
	uint64_t begin_nsec;

	config.reconnect_nsec = 200 * MSEC_NSEC;
	make(&config);
	ck_assert(driver_start(&driver, 0, 1, 16));
	fill_one();
	plan.refuse = true;
	begin_nsec = vmm_base_now_nsec();
	shutdown(plan.backs[0].fd, SHUT_RDWR);
	wait_for_needs_reset();
	ck_assert_uint_ge(vmm_base_now_nsec() - begin_nsec, 200 * MSEC_NSEC);
	ck_assert(get_status().failed);
	ck_assert(!get_status().connected);
	driver_reset(&driver);
	plan.refuse = false;
	ck_assert(driver_start(&driver, 0, 1, 16));
	fill_one();
	ck_assert(!get_status().failed);
}
END_TEST

START_TEST(test_pause)
{
	struct vmm_virtio_vhost_config config = good_config();
	struct vring_buffer buffer = { DRIVER_DATA_GPA, BUFFER_BYTES, true };

	config.rings = _i ? VMM_VHOST_RINGS_DIRECT : VMM_VHOST_RINGS_RELAYED;
	make(&config);
	ck_assert(driver_start(&driver, 0, 1, 16));
	for (unsigned int i = 0; i < 3; i++) {
		fill_one();
		vmm_virtio_pause(vmm_virtio_vhost_device(vhost), NULL, NULL);
		while (!vmm_virtio_is_paused(vmm_virtio_vhost_device(vhost)))
			usleep(1000);
		driver_add(&driver, 0, &buffer, 1, 0);
		usleep(20000);
		ck_assert(!vring_get_used(&driver.rings[0], &(uint32_t){ 0 }, &(uint32_t){ 0 }));
		vmm_virtio_resume(vmm_virtio_vhost_device(vhost));
		ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
	}
}
END_TEST

START_TEST(test_inflight_region_goes_to_the_next)
{
	struct vmm_virtio_vhost_config config = good_config();

	plan.protocol_features |= VMM_VHOST_USER_PROTOCOL_INFLIGHT_SHMFD;
	make(&config);
	ck_assert(!get_status().relayed);
	ck_assert(driver_start(&driver, 0, 1, 16));
	for (unsigned int i = 0; i < 5; i++)
		fill_one();
	shutdown(plan.backs[0].fd, SHUT_RDWR);
	while (get_status().n_connected < 2)
		usleep(1000);
	fill_one();
	ck_assert_uint_ne(plan.backs[0].inflight, 0);
	ck_assert_uint_eq(plan.backs[1].inflight, plan.backs[0].inflight);
	ck_assert_uint_eq(plan.backs[0].n_get_inflight, 1);
	ck_assert_uint_eq(plan.backs[1].n_get_inflight, 0);
	ck_assert_uint_eq(plan.backs[1].base, 5);
	/* Another start, another region. */
	ck_assert(driver_start(&driver, 0, 1, 16));
	fill_one();
	ck_assert_uint_eq(plan.backs[1].n_get_inflight, 1);
	ck_assert_uint_eq(plan.backs[1].base, 0);
}
END_TEST

START_TEST(test_channel)
{
	struct vmm_virtio_vhost_config config = good_config();
	uint64_t value;
	unsigned int n;

	plan.misdeeds[0] = FLOODS;
	make(&config);
	ck_assert(driver_start(&driver, 0, 1, 16));
	fill_one();
	plan.config = 0x123456789abcdef;
	do {
		driver_config_read(&driver, 0, &value, sizeof(value));
		usleep(1000);
	} while (value != plan.config);
	/* However many messages there are, they are looked at now and then. */
	n = __atomic_load_n(&plan.backs[0].n_get_config, __ATOMIC_SEQ_CST);
	usleep(300000);
	ck_assert_uint_le(__atomic_load_n(&plan.backs[0].n_get_config, __ATOMIC_SEQ_CST) - n, 100);
	fill_one();
}
END_TEST

START_TEST(test_bad_configs)
{
	struct vmm_virtio_vhost_config config = good_config();
	struct vmm_mem_config private_memory = {
		.gpa = UINT64_C(1) << 32,
		.size_bytes = 4096,
		.backing = VMM_MEM_ANONYMOUS,
	};

	config.queue_size = 100;
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), -EINVAL);
	config.queue_size = 2048;
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), -EINVAL);
	config = good_config();
	config.n_queues = 65;
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), -EINVAL);
	config.n_queues = 2; /* the back end has one */
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), -EINVAL);
	config = good_config();
	memset(config.tag, 'x', sizeof(config.tag));
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), -EINVAL);
	config = good_config();
	config.mem = NULL;
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), -EINVAL);
	config = good_config();
	plan.refuse = true;
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), -ECONNREFUSED);
	plan.refuse = false;
	plan.features &= ~VMM_VIRTIO_F_VERSION_1;
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), -ENOTSUP);
	ck_assert_int_eq(vmm_mem_add(driver.mem, &private_memory), 0);
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), -EINVAL);
	/* No descriptor of a vhost device. */
	config.connect = NULL;
	config.device_type = VMM_VHOST_NET;
	config.vhost_fds[0] = -EBADF;
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), -EBADF);
	ck_assert_ptr_null(vhost);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio-vhost");
	TCase *tcase = unit_case(suite, "virtio-vhost");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_loop_test(tcase, test_misdeed_is_survived, 0, ARRAY_SIZE(survived));
	tcase_add_test(tcase, test_requests_go_to_the_next);
	tcase_add_loop_test(tcase, test_reset_does_not_wait_for_one_that_hangs, 0, 2);
	tcase_add_test(tcase, test_reset_with_requests_that_never_end);
	tcase_add_test(tcase, test_fewer_features_are_not_taken);
	tcase_add_test(tcase, test_nobody_comes_back);
	tcase_add_loop_test(tcase, test_pause, 0, 2);
	tcase_add_test(tcase, test_inflight_region_goes_to_the_next);
	tcase_add_test(tcase, test_channel);
	tcase_add_test(tcase, test_bad_configs);
	return unit_run(suite);
}

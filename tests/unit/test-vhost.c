/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost: what the kernel is asked, without a kernel: this program has an ioctl() of its own that
 * writes down what it got. tests/vhost/test-kernel.c has the same calls on the real devices.
 */
#include <vmmcore/vhost.h>

#include <fcntl.h>
#include <linux/vhost.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/util.h"
#include "unit.h"

#define RAM_BYTES (UINT64_C(1) << 20)
#define FEATURES (VMM_VIRTIO_F_EVENT_IDX | VMM_VHOST_F_LOG_ALL | (UINT64_C(1) << 32))

#define MAX_CALLS 64

static struct call {
	unsigned long request;
	struct vhost_vring_state state;
	struct vhost_vring_addr addr;
	struct vhost_vring_file file;
	uint64_t number;
	int integer;
	struct {
		struct vhost_memory head;
		struct vhost_memory_region regions[8];
	} memory;
} calls[MAX_CALLS];
static unsigned int n_calls;
static unsigned long failing;
static int failure;
static uint64_t offered = FEATURES;
static uint32_t base_answer;

int ioctl(int fd, unsigned long request, ...)
{
	struct call *call = &calls[n_calls++];
	va_list arguments;
	void *data;

	ck_assert_uint_lt(n_calls, MAX_CALLS);
	ck_assert_int_ge(fd, 0);
	va_start(arguments, request);
	data = va_arg(arguments, void *);
	va_end(arguments);
	*call = (struct call){ .request = request };
	if (request == failing) {
		errno = failure;
		return -1;
	}
	switch (request) {
	case VHOST_GET_FEATURES:
		memcpy(data, &offered, sizeof(offered));
		break;
	case VHOST_SET_FEATURES:
	case VHOST_VSOCK_SET_GUEST_CID:
	case VHOST_SET_LOG_BASE:
		memcpy(&call->number, data, sizeof(call->number));
		break;
	case VHOST_VSOCK_SET_RUNNING:
		memcpy(&call->integer, data, sizeof(call->integer));
		break;
	case VHOST_SET_MEM_TABLE:
		memcpy(&call->memory.head, data, sizeof(call->memory.head));
		memcpy(call->memory.regions, ((struct vhost_memory *)data)->regions,
			call->memory.head.nregions * sizeof(call->memory.regions[0]));
		break;
	case VHOST_SET_VRING_NUM:
	case VHOST_SET_VRING_BASE:
	case VHOST_GET_VRING_BASE:
		memcpy(&call->state, data, sizeof(call->state));
		if (request == VHOST_GET_VRING_BASE)
			((struct vhost_vring_state *)data)->num = base_answer;
		break;
	case VHOST_SET_VRING_ADDR:
		memcpy(&call->addr, data, sizeof(call->addr));
		break;
	case VHOST_SET_VRING_KICK:
	case VHOST_SET_VRING_CALL:
	case VHOST_SET_VRING_ERR:
	case VHOST_NET_SET_BACKEND:
		memcpy(&call->file, data, sizeof(call->file));
		break;
	default:
		break;
	}
	return 0;
}

static const struct call *find(unsigned long request)
{
	const struct call *found = NULL;

	for (unsigned int i = 0; i < n_calls; i++)
		if (calls[i].request == request)
			found = &calls[i];
	ck_assert_ptr_nonnull(found);
	return found;
}

static struct vmm_mem *mem;
static struct vmm_vhost *vhost;

static void add_region(uint64_t gpa, bool read_only)
{
	struct vmm_mem_config config = {
		.gpa = gpa,
		.size_bytes = RAM_BYTES,
		.backing = VMM_MEM_ANONYMOUS,
		.read_only = read_only,
	};

	ck_assert_int_eq(vmm_mem_add(mem, &config), 0);
}

static void set_up(void)
{
	struct vmm_vhost_config config = { .n_queues = 2 };

	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	add_region(0, false);
	add_region(UINT64_C(4) << 30, false);
	config.mem = mem;
	config.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(config.fd, 0);
	ck_assert_int_eq(vmm_vhost_new(&config, &vhost), 0);
	vmm_base_close(config.fd);
	n_calls = 0;
}

static void tear_down(void)
{
	failing = 0;
	n_calls = 0;
	vmm_vhost_free(vhost);
	find(VHOST_RESET_OWNER);
	vmm_mem_free(mem);
}

static struct vmm_vhost_queue good_queue(void)
{
	return (struct vmm_vhost_queue){
		.config = {
			.size = 256,
			.desc_gpa = 0x1000,
			.driver_gpa = 0x3000,
			.device_gpa = 0x4000,
		},
		.state = { .avail = 7, .used = 7 },
		.kick_fd = 100,
		.call_fd = 101,
		.error_fd = -EBADF,
	};
}

START_TEST(test_new_takes_the_device_over)
{
	struct vmm_vhost_config config = { .n_queues = 2, .mem = mem, .fd = -EBADF };
	struct vmm_vhost *other = NULL;

	ck_assert_uint_eq(vmm_vhost_features(vhost), FEATURES);
	ck_assert_int_eq(vmm_vhost_new(&config, &other), -EBADF);
	config.n_queues = 0;
	ck_assert_int_eq(vmm_vhost_new(&config, &other), -EINVAL);
	config.n_queues = 65;
	ck_assert_int_eq(vmm_vhost_new(&config, &other), -EINVAL);
	config.n_queues = 2;
	config.fd = 0;
	failing = VHOST_SET_OWNER;
	failure = EBUSY;
	ck_assert_int_eq(vmm_vhost_new(&config, &other), -EBUSY);
	ck_assert_ptr_null(other);
}
END_TEST

START_TEST(test_features_that_were_not_offered)
{
	ck_assert_int_eq(vmm_vhost_set_features(vhost, VMM_VIRTIO_F_RING_PACKED), -ENOTSUP);
	ck_assert_uint_eq(n_calls, 0);
	ck_assert_int_eq(vmm_vhost_set_features(vhost, VMM_VIRTIO_F_EVENT_IDX), 0);
	ck_assert_uint_eq(find(VHOST_SET_FEATURES)->number, VMM_VIRTIO_F_EVENT_IDX);
}
END_TEST

START_TEST(test_memory_table)
{
	const struct call *call;

	/* The kernel would write into memory that it takes for ordinary. */
	add_region(UINT64_C(8) << 30, true);
	ck_assert_int_eq(vmm_vhost_set_memory(vhost), 0);
	call = find(VHOST_SET_MEM_TABLE);
	ck_assert_uint_eq(call->memory.head.nregions, 2);
	for (unsigned int i = 0; i < 2; i++) {
		struct vmm_mem_region region;

		vmm_mem_get_region(mem, i, &region);
		ck_assert_uint_eq(call->memory.regions[i].guest_phys_addr, region.gpa);
		ck_assert_uint_eq(call->memory.regions[i].memory_size, RAM_BYTES);
		ck_assert_uint_eq(call->memory.regions[i].userspace_addr, (uintptr_t)region.host);
		ck_assert_uint_eq(call->memory.regions[i].flags_padding, 0);
	}
	failing = VHOST_SET_MEM_TABLE;
	failure = E2BIG;
	ck_assert_int_eq(vmm_vhost_set_memory(vhost), -E2BIG);
}
END_TEST

START_TEST(test_start)
{
	static const unsigned long order[] = { VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE,
		VHOST_SET_VRING_ADDR, VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL,
		VHOST_SET_VRING_KICK };
	struct vmm_vhost_queue queue = good_queue();
	const struct vhost_vring_addr *addr;

	ck_assert_int_eq(vmm_vhost_start(vhost, 1, &queue), 0);
	ck_assert_uint_eq(n_calls, ARRAY_SIZE(order));
	for (unsigned int i = 0; i < n_calls; i++)
		ck_assert_uint_eq(calls[i].request, order[i]);
	ck_assert_uint_eq(find(VHOST_SET_VRING_NUM)->state.index, 1);
	ck_assert_uint_eq(find(VHOST_SET_VRING_NUM)->state.num, 256);
	ck_assert_uint_eq(find(VHOST_SET_VRING_BASE)->state.num, 7);
	addr = &find(VHOST_SET_VRING_ADDR)->addr;
	ck_assert_uint_eq(addr->index, 1);
	ck_assert_uint_eq(addr->flags, 0);
	ck_assert_uint_eq(
		addr->desc_user_addr, (uintptr_t)vmm_mem_pointer(mem, 0x1000, 4096, 16, true));
	ck_assert_uint_eq(addr->avail_user_addr - addr->desc_user_addr, 0x2000);
	ck_assert_uint_eq(addr->used_user_addr - addr->desc_user_addr, 0x3000);
	ck_assert_int_eq(find(VHOST_SET_VRING_ERR)->file.fd, -1);
	ck_assert_int_eq(find(VHOST_SET_VRING_CALL)->file.fd, 101);
	ck_assert_int_eq(find(VHOST_SET_VRING_KICK)->file.fd, 100);
	ck_assert_int_eq(vmm_vhost_set_call(vhost, 1, -EBADF), 0);
	ck_assert_int_eq(find(VHOST_SET_VRING_CALL)->file.fd, -1);
}
END_TEST

/* A queue, or what is wrong with it. */
START_TEST(test_hostile_queues)
{
	const struct {
		uint32_t size;
		uint64_t desc_gpa, driver_gpa, device_gpa;
	} table[] = {
		{ 0, 0x1000, 0x3000, 0x4000 },
		{ 255, 0x1000, 0x3000, 0x4000 },
		{ 65536, 0, 0x3000, 0x4000 },
		{ UINT32_MAX, 0x1000, 0x3000, 0x4000 },
		{ 256, 0x1008, 0x3000, 0x4000 },
		{ 256, 0x1000, 0x3001, 0x4000 },
		{ 256, 0x1000, 0x3000, 0x4002 },
		{ 256, RAM_BYTES - 4096 + 16, 0x3000, 0x4000 },
		{ 256, 0x1000, RAM_BYTES - 512, 0x4000 },
		{ 256, 0x1000, 0x3000, RAM_BYTES - 2048 },
		{ 256, RAM_BYTES, 0x3000, 0x4000 },
		{ 256, UINT64_MAX - 15, 0x3000, 0x4000 },
		{ 256, 0x1000, UINT64_MAX - 1, 0x4000 },
		{ 256, 0x1000, 0x3000, UINT64_MAX - 3 },
		{ 32768, RAM_BYTES - 32768 * 16 + 16, 0x3000, 0x4000 },
	};
	struct vmm_vhost_queue queue;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		queue = good_queue();
		queue.config.size = table[i].size;
		queue.config.desc_gpa = table[i].desc_gpa;
		queue.config.driver_gpa = table[i].driver_gpa;
		queue.config.device_gpa = table[i].device_gpa;
		ck_assert_int_eq(vmm_vhost_start(vhost, 0, &queue), -VMM_EGUEST);
		ck_assert_uint_eq(n_calls, 0);
	}
	queue = good_queue();
	ck_assert_int_eq(vmm_vhost_start(vhost, 2, &queue), -EINVAL);
	queue.kick_fd = -EBADF;
	ck_assert_int_eq(vmm_vhost_start(vhost, 0, &queue), -EINVAL);
	queue = good_queue();
	queue.log_used = true;
	ck_assert_int_eq(vmm_vhost_start(vhost, 0, &queue), -EINVAL);
	ck_assert_uint_eq(n_calls, 0);
}
END_TEST

START_TEST(test_start_fails_with_the_kernel)
{
	static const unsigned long requests[] = { VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE,
		VHOST_SET_VRING_ADDR, VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK };
	struct vmm_vhost_queue queue = good_queue();

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		failing = requests[i];
		failure = EFAULT;
		ck_assert_int_eq(vmm_vhost_start(vhost, 0, &queue), -EFAULT);
	}
}
END_TEST

START_TEST(test_stop)
{
	struct vmm_virtqueue_state state = { 0 };

	base_answer = 4711;
	ck_assert_int_eq(vmm_vhost_stop(vhost, 1, &state), 0);
	ck_assert_uint_eq(state.avail, 4711);
	ck_assert_uint_eq(state.used, 4711);
	ck_assert_int_eq(find(VHOST_SET_VRING_KICK)->file.fd, -1);
	ck_assert_int_eq(find(VHOST_SET_VRING_CALL)->file.fd, -1);
	ck_assert_int_eq(vmm_vhost_stop(vhost, 2, &state), -EINVAL);
	failing = VHOST_GET_VRING_BASE;
	failure = EIO;
	n_calls = 0;
	ck_assert_int_eq(vmm_vhost_stop(vhost, 0, &state), -EIO);
	/* It is taken off its eventfds all the same. */
	ck_assert_int_eq(find(VHOST_SET_VRING_KICK)->file.fd, -1);
}
END_TEST

START_TEST(test_packed)
{
	struct vmm_vhost_queue queue = good_queue();
	struct vmm_virtqueue_state state;

	offered |= VMM_VIRTIO_F_RING_PACKED;
	tear_down();
	set_up();
	ck_assert_int_eq(vmm_vhost_set_features(vhost, VMM_VIRTIO_F_RING_PACKED), 0);
	queue.config.size = 100;
	queue.state = (struct vmm_virtqueue_state){ .avail = 0x8005, .used = 0x0063 };
	ck_assert_int_eq(vmm_vhost_start(vhost, 0, &queue), 0);
	ck_assert_uint_eq(find(VHOST_SET_VRING_BASE)->state.num, 0x00638005);
	base_answer = 0x80070003;
	ck_assert_int_eq(vmm_vhost_stop(vhost, 0, &state), 0);
	ck_assert_uint_eq(state.avail, 3);
	ck_assert_uint_eq(state.used, 0x8007);
}
END_TEST

START_TEST(test_net_and_vsock)
{
	static const uint64_t bad_cids[] = { 0, 1, 2, UINT32_MAX, UINT64_C(1) << 32, UINT64_MAX };

	ck_assert_int_eq(vmm_vhost_net_set_backend(vhost, 1, 55), 0);
	ck_assert_int_eq(find(VHOST_NET_SET_BACKEND)->file.fd, 55);
	ck_assert_uint_eq(find(VHOST_NET_SET_BACKEND)->file.index, 1);
	ck_assert_int_eq(vmm_vhost_net_set_backend(vhost, 0, -EBADF), 0);
	ck_assert_int_eq(find(VHOST_NET_SET_BACKEND)->file.fd, -1);
	ck_assert_int_eq(vmm_vhost_net_set_backend(vhost, 2, 55), -EINVAL);

	for (size_t i = 0; i < ARRAY_SIZE(bad_cids); i++)
		ck_assert_int_eq(vmm_vhost_vsock_set_cid(vhost, bad_cids[i]), -EINVAL);
	ck_assert_int_eq(vmm_vhost_vsock_set_cid(vhost, 3), 0);
	ck_assert_uint_eq(find(VHOST_VSOCK_SET_GUEST_CID)->number, 3);
	failing = VHOST_VSOCK_SET_GUEST_CID;
	failure = EADDRINUSE;
	ck_assert_int_eq(vmm_vhost_vsock_set_cid(vhost, 4), -EADDRINUSE);
	ck_assert_int_eq(vmm_vhost_vsock_set_running(vhost, true), 0);
	ck_assert_int_eq(find(VHOST_VSOCK_SET_RUNNING)->integer, 1);
}
END_TEST

START_TEST(test_log)
{
	struct vmm_vhost_queue queue = good_queue();
	size_t n_bytes = vmm_vhost_log_bytes(mem);
	uint8_t log[8];

	/* 4 GiB and 1 MiB, a bit a page. */
	ck_assert_uint_eq(n_bytes, ((UINT64_C(4) << 30) + RAM_BYTES) / 4096 / 8);
	ck_assert_int_eq(vmm_vhost_set_log(vhost, log, n_bytes - 1), -EINVAL);
	ck_assert_int_eq(vmm_vhost_set_log(vhost, log, n_bytes), 0);
	ck_assert_uint_eq(find(VHOST_SET_LOG_BASE)->number, (uintptr_t)log);
	queue.log_used = true;
	ck_assert_int_eq(vmm_vhost_start(vhost, 0, &queue), 0);
	ck_assert_uint_eq(find(VHOST_SET_VRING_ADDR)->addr.flags, 1);
	ck_assert_uint_eq(find(VHOST_SET_VRING_ADDR)->addr.log_guest_addr, 0x4000);
	ck_assert_int_eq(vmm_vhost_set_log(vhost, NULL, 0), 0);
	ck_assert_int_eq(vmm_vhost_start(vhost, 0, &queue), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vhost");
	TCase *tcase = unit_case(suite, "vhost");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, test_new_takes_the_device_over);
	tcase_add_test(tcase, test_features_that_were_not_offered);
	tcase_add_test(tcase, test_memory_table);
	tcase_add_test(tcase, test_start);
	tcase_add_test(tcase, test_hostile_queues);
	tcase_add_test(tcase, test_start_fails_with_the_kernel);
	tcase_add_test(tcase, test_stop);
	tcase_add_test(tcase, test_packed);
	tcase_add_test(tcase, test_net_and_vsock);
	tcase_add_test(tcase, test_log);
	return unit_run(suite);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vhost with the kernel's queues, without that kernel: this program has an ioctl() of its
 * own, with vhosts and taps behind it that remember what they were told. What the real ones do is
 * in tests/vhost/test-kernel.c.
 */
#include <vmmcore/virtio-vhost.h>

#include <dirent.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"
#include "fake-kernel.h"
#include "lib/driver.h"
#include "unit.h"

#define N_PAIRS FAKE_PAIRS
#define CONTROL (2 * N_PAIRS)

#define NET_F_MAC (UINT64_C(1) << 5)
#define NET_F_CTRL_VQ (UINT64_C(1) << 17)
#define NET_F_MQ (UINT64_C(1) << 22)
static struct driver driver;
static struct vmm_virtio_vhost *vhost;
static const uint8_t mac[] = { 2, 0, 0, 0, 0, 1 };
static struct vmm_virtio_vhost_config config;
static unsigned int n_open;

static unsigned int count_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void set_up(void)
{
	driver_init(&driver);
	config = (struct vmm_virtio_vhost_config){
		.mem = driver.mem,
		.device_type = VMM_VHOST_NET,
		.config_space = mac,
		.config_size_bytes = sizeof(mac),
		.extra_features = NET_F_MAC,
		.n_pairs = N_PAIRS,
	};
	for (unsigned int i = 0; i < N_PAIRS; i++) {
		config.vhost_fds[i] = memfd_create("vhost", MFD_CLOEXEC);
		config.tap_fds[i] = memfd_create("tap", MFD_CLOEXEC);
		fake_kernel_add(i, config.vhost_fds[i], config.tap_fds[i]);
	}
	n_open = count_open();
}

static void make(void)
{
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), 0);
	driver_attach(&driver, vmm_virtio_vhost_device(vhost));
}

static void tear_down(void)
{
	driver_detach(&driver);
	vhost = vmm_virtio_vhost_free(vhost);
	driver_finish(&driver);
	for (unsigned int i = 0; i < N_PAIRS; i++) {
		close(config.vhost_fds[i]);
		close(config.tap_fds[i]);
	}
}

static unsigned int n_attached(void)
{
	unsigned int n = 0;

	fake_kernel_lock();
	for (unsigned int i = 0; i < N_PAIRS; i++)
		n += fake_taps[i].is_attached;
	/* The first ones. */
	for (unsigned int i = 0; i < n; i++)
		ck_assert(fake_taps[i].is_attached);
	fake_kernel_unlock();
	return n;
}

/* Pairs whose both queues run, each with its own queue of the tap, and the first ones. */
static unsigned int n_running(void)
{
	unsigned int n = 0;

	fake_kernel_lock();
	while (n < N_PAIRS && fake_vhosts[n].backends[0] && fake_vhosts[n].backends[1]) {
		ck_assert_uint_eq(fake_vhosts[n].backends[0], fake_taps[n].inode);
		ck_assert_uint_eq(fake_vhosts[n].backends[1], fake_taps[n].inode);
		n++;
	}
	for (unsigned int i = n; i < N_PAIRS; i++)
		ck_assert(!fake_vhosts[i].backends[0] && !fake_vhosts[i].backends[1]);
	fake_kernel_unlock();
	return n;
}

/* The device's thread does what it is told when it comes to that. */
static void wait_running(unsigned int n)
{
	for (int i = 0; i < 10000; i++) {
		fake_kernel_lock();
		bool is_done = true;

		for (unsigned int pair = 0; pair < N_PAIRS; pair++)
			for (unsigned int j = 0; j < 2; j++)
				is_done = is_done &&
					  (fake_vhosts[pair].backends[j] != 0) == (pair < n);
		fake_kernel_unlock();
		if (is_done)
			break;
		usleep(1000);
	}
	ck_assert_uint_eq(n_running(), n);
}

static void start(uint64_t features, unsigned int n_queues)
{
	ck_assert(driver_start(&driver, features, n_queues, 64));
}

/* Sends a command of n bytes, in pieces of piece bytes, and returns the answer. */
static uint8_t command_on(unsigned int queue, const uint8_t *bytes, size_t n, size_t piece)
{
	uint8_t *data = driver_pointer(&driver, DRIVER_DATA_GPA, 256);
	struct vring_buffer buffers[16];
	size_t n_buffers = 0;
	uint32_t len;

	memcpy(data, bytes, n);
	data[128] = 0xee;
	for (size_t at = 0; at < n; at += piece)
		buffers[n_buffers++] = (struct vring_buffer){
			.gpa = DRIVER_DATA_GPA + at,
			.len = (uint32_t)MIN(piece, n - at),
		};
	buffers[n_buffers++] =
		(struct vring_buffer){ .gpa = DRIVER_DATA_GPA + 128, .len = 1, .write = true };
	driver_add(&driver, queue, buffers, n_buffers, 0);
	ck_assert(driver_wait_used(&driver, queue, NULL, &len));
	ck_assert_uint_eq(len, 1);
	return data[128];
}

static uint8_t set_pairs(uint8_t n)
{
	const uint8_t bytes[] = { 4, 0, n, 0 };

	return command_on(CONTROL, bytes, sizeof(bytes), sizeof(bytes));
}

#define MULTI (NET_F_MAC | NET_F_CTRL_VQ | NET_F_MQ)

START_TEST(test_each_pair_has_its_vhost)
{
	uint8_t space[10];

	make();
	/* Frames go to the one pair that there is at first. */
	ck_assert_uint_eq(n_attached(), 1);
	ck_assert_uint_eq(driver_offered(&driver) & MULTI, MULTI);
	for (uint32_t i = 0; i < sizeof(space); i++)
		driver_config_read(&driver, i, &space[i], 1);
	ck_assert_mem_eq(space, mac, sizeof(mac));
	ck_assert_uint_eq(space[8], N_PAIRS);
	ck_assert_uint_eq(space[9], 0);
	start(MULTI | VMM_VIRTIO_F_EVENT_IDX, CONTROL + 1);
	wait_running(N_PAIRS);
	ck_assert_uint_eq(n_attached(), 1);
	for (unsigned int i = 0; i < N_PAIRS; i++) {
		ck_assert(fake_vhosts[i].is_owned);
		ck_assert_uint_eq(
			fake_vhosts[i].features, VMM_VIRTIO_F_VERSION_1 | VMM_VIRTIO_F_EVENT_IDX);
		ck_assert_uint_eq(fake_vhosts[i].n_regions, 2);
		for (unsigned int j = 0; j < 2; j++) {
			const struct vring *ring = &driver.rings[2 * i + j];

			ck_assert(fake_vhosts[i].has_kick[j]);
			ck_assert_uint_eq(fake_vhosts[i].desc[j],
				(uintptr_t)driver_pointer(&driver, ring->desc_gpa, 1));
		}
	}
}
END_TEST

START_TEST(test_one_pair_has_no_control_queue)
{
	config.n_pairs = _i;
	make();
	ck_assert_uint_eq(driver_offered(&driver) & MULTI, NET_F_MAC);
	ck_assert_uint_eq(vmm_virtio_n_queues(vmm_virtio_vhost_device(vhost)), 2);
	start(MULTI, 2);
	wait_running(1);
	ck_assert(!fake_vhosts[1].is_owned);
}
END_TEST

START_TEST(test_number_of_pairs)
{
	static const uint8_t numbers[] = { 3, 1, 2, 3, 3, 2, 1, 1 };

	make();
	/* With an event index a driver kicks for a second command only when it was asked anew. */
	start(MULTI | (_i ? VMM_VIRTIO_F_EVENT_IDX : 0), CONTROL + 1);
	wait_running(N_PAIRS);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		ck_assert_uint_eq(set_pairs(numbers[i]), 0);
		ck_assert_uint_eq(n_attached(), numbers[i]);
	}
}
END_TEST

static const struct {
	size_t n, piece;
	uint8_t bytes[16];
	uint8_t answer;
} commands[] = {
	{ 4, 1, { 4, 0, 3, 0 }, 0 },
	{ 4, 3, { 4, 0, 1, 0 }, 0 },
	{ 4, 4, { 4, 0, 0, 0 }, 1 },
	{ 4, 4, { 4, 0, 4, 0 }, 1 },
	{ 4, 4, { 4, 0, 1, 1 }, 1 },
	{ 4, 4, { 4, 0, 0xff, 0xff }, 1 },
	{ 4, 4, { 4, 1, 3, 0 }, 1 },
	{ 4, 4, { 4, 0xff, 3, 0 }, 1 },
	{ 4, 4, { 0, 0, 3, 0 }, 1 },
	{ 4, 4, { 0xff, 0, 3, 0 }, 1 },
	{ 8, 8, { 1, 1, 2, 0, 0, 0, 0, 2 }, 1 },
	{ 3, 3, { 4, 0, 3 }, 1 },
	{ 2, 1, { 4, 0 }, 1 },
	{ 1, 1, { 4 }, 1 },
	{ 0, 1, {}, 1 },
	{ 5, 5, { 4, 0, 3, 0, 0 }, 1 },
	{ 14, 1, { 4, 0, 3, 0 }, 1 },
};

START_TEST(test_command)
{
	unsigned int n = commands[_i].answer == 0 ? commands[_i].bytes[2] : 2;

	make();
	start(MULTI, CONTROL + 1);
	ck_assert_uint_eq(set_pairs(2), 0);
	ck_assert_uint_eq(
		command_on(CONTROL, commands[_i].bytes, commands[_i].n, commands[_i].piece),
		commands[_i].answer);
	ck_assert_uint_eq(n_attached(), n);
	/* It goes on. */
	ck_assert_uint_eq(set_pairs(3), 0);
	ck_assert_uint_eq(n_attached(), 3);
}
END_TEST

START_TEST(test_command_without_an_answer)
{
	struct vring_buffer buffer = { .gpa = DRIVER_DATA_GPA, .len = 4 };

	make();
	start(MULTI, CONTROL + 1);
	wait_running(N_PAIRS);
	driver_add(&driver, CONTROL, &buffer, 1, 0);
	for (int i = 0; i < 10000; i++) {
		if (driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET)
			break;
		usleep(1000);
	}
	ck_assert(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET);
	start(MULTI, CONTROL + 1);
	ck_assert_uint_eq(set_pairs(2), 0);
}
END_TEST

/* Without MQ the control queue is the third (5.1.2), and its ring no network's. */
START_TEST(test_control_queue_of_one_pair)
{
	static const uint8_t bytes[] = { 4, 0, 1, 0 };

	make();
	start(NET_F_MAC | NET_F_CTRL_VQ, 3);
	wait_running(1);
	ck_assert_uint_eq(command_on(2, bytes, sizeof(bytes), sizeof(bytes)), 1);
	ck_assert_uint_eq(n_attached(), 1);
	ck_assert(!fake_vhosts[1].has_kick[0]);
	/* Neither feature: the third queue is nobody's. */
	start(NET_F_MAC, 3);
	wait_running(1);
	driver_kick(&driver, 2);
	ck_assert(!fake_vhosts[1].has_kick[0]);
}
END_TEST

START_TEST(test_reset_begins_with_one_pair)
{
	make();
	for (int i = 0; i < 3; i++) {
		start(MULTI, CONTROL + 1);
		wait_running(N_PAIRS);
		ck_assert_uint_eq(n_attached(), 1);
		ck_assert_uint_eq(set_pairs(3), 0);
		driver_reset(&driver);
		ck_assert_uint_eq(n_running(), 0);
		for (unsigned int j = 0; j < N_PAIRS; j++)
			ck_assert(!fake_vhosts[j].has_kick[0] && !fake_vhosts[j].has_kick[1]);
	}
	start(NET_F_MAC, 2);
	wait_running(1);
	ck_assert_uint_eq(n_attached(), 1);
}
END_TEST

START_TEST(test_pause_keeps_the_pairs)
{
	make();
	start(MULTI, CONTROL + 1);
	wait_running(N_PAIRS);
	ck_assert_uint_eq(set_pairs(2), 0);
	ck_assert_int_ge(vmm_virtio_pause(driver.device, NULL, NULL), 0);
	wait_running(0);
	vmm_virtio_resume(driver.device);
	wait_running(N_PAIRS);
	ck_assert_uint_eq(n_attached(), 2);
	ck_assert_uint_eq(fake_vhosts[2].bases[1], 5);
	ck_assert_uint_eq(set_pairs(3), 0);
}
END_TEST

/* As when it is detached from a machine: nothing of it is open, and nothing runs. */
START_TEST(test_free_leaves_nothing)
{
	make();
	if (_i > 0)
		start(MULTI, CONTROL + 1);
	if (_i > 1)
		ck_assert_uint_eq(set_pairs(3), 0);
	driver_detach(&driver);
	vhost = vmm_virtio_vhost_free(vhost);
	ck_assert_uint_eq(count_open(), n_open);
	ck_assert_uint_eq(n_running(), 0);
	for (unsigned int i = 0; i < N_PAIRS; i++)
		ck_assert(!fake_vhosts[i].is_owned);
}
END_TEST

START_TEST(test_new_fails_with_the_kernel)
{
	static const char *const requests[] = { "VHOST_SET_OWNER", "VHOST_GET_FEATURES",
		"TUNSETVNETHDRSZ", "TUNSETQUEUE" };

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		fake_kernel_fail(requests[i], 1);
		ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), -EIO);
		ck_assert_ptr_null(vhost);
		ck_assert_uint_eq(count_open(), n_open);
		for (unsigned int j = 0; j < N_PAIRS; j++)
			ck_assert(!fake_vhosts[j].is_owned);
	}
}
END_TEST

/* The device fails as a whole: with half of its queues it would lose frames for ever. */
START_TEST(test_start_fails_with_the_kernel)
{
	static const char *const requests[] = { "VHOST_SET_FEATURES", "VHOST_SET_MEM_TABLE",
		"VHOST_SET_VRING_ADDR", "VHOST_SET_VRING_KICK", "VHOST_NET_SET_BACKEND" };
	struct vmm_virtio_vhost_status status;

	make();
	fake_kernel_fail(requests[_i], 2);
	driver_start(&driver, MULTI, CONTROL + 1, 64);
	do
		vmm_virtio_vhost_get_status(vhost, &status);
	while (!status.failed);
	ck_assert_int_eq(status.last_error, -EIO);
	ck_assert(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET);
	ck_assert_uint_eq(n_running(), 0);
	fake_kernel_fail(NULL, 0);
	start(MULTI, CONTROL + 1);
	wait_running(N_PAIRS);
}
END_TEST

START_TEST(test_tap_that_does_not_attach)
{
	make();
	start(MULTI, CONTROL + 1);
	wait_running(N_PAIRS);
	fake_kernel_fail("TUNSETQUEUE", 2);
	ck_assert_uint_eq(set_pairs(3), 1);
	fake_kernel_fail(NULL, 0);
	ck_assert_uint_eq(set_pairs(1), 0);
	ck_assert_uint_eq(n_attached(), 1);
	ck_assert_uint_eq(set_pairs(3), 0);
	ck_assert_uint_eq(n_attached(), 3);
}
END_TEST

START_TEST(test_bad_configs)
{
	config.n_pairs = VMM_VHOST_MAX_PAIRS + 1;
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), -EINVAL);
	config.n_pairs = 2;
	config.device_type = VMM_VHOST_VSOCK;
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), -EINVAL);
	config.device_type = VMM_VHOST_BLK;
	config.n_pairs = 1;
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), -EINVAL);
	ck_assert_ptr_null(vhost);
	ck_assert_uint_eq(count_open(), n_open);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio-vhost and the kernel");
	TCase *tcase = unit_case(suite, "kernel");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, test_each_pair_has_its_vhost);
	tcase_add_loop_test(tcase, test_one_pair_has_no_control_queue, 0, 2);
	tcase_add_loop_test(tcase, test_number_of_pairs, 0, 2);
	tcase_add_loop_test(tcase, test_command, 0, ARRAY_SIZE(commands));
	tcase_add_test(tcase, test_command_without_an_answer);
	tcase_add_test(tcase, test_control_queue_of_one_pair);
	tcase_add_test(tcase, test_reset_begins_with_one_pair);
	tcase_add_test(tcase, test_pause_keeps_the_pairs);
	tcase_add_loop_test(tcase, test_free_leaves_nothing, 0, 3);
	tcase_add_test(tcase, test_new_fails_with_the_kernel);
	tcase_add_loop_test(tcase, test_start_fails_with_the_kernel, 0, 5);
	tcase_add_test(tcase, test_tap_that_does_not_attach);
	tcase_add_test(tcase, test_bad_configs);
	return unit_run(suite);
}

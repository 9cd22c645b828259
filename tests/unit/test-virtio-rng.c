/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <poll.h>
#include <string.h>

#include <vmmcore/virtio-rng.h>

#include "base/util.h"
#include "lib/driver.h"
#include "unit.h"

#define DATA DRIVER_DATA_GPA

static struct driver driver;
static struct vmm_virtio_rng *rng;

static void start(const struct vmm_ratelimit_config *limits, uint64_t features)
{
	struct vmm_virtio_rng_config config = { 0 };

	driver_init(&driver);
	config.mem = driver.mem;
	if (limits)
		config.limits = *limits;
	ck_assert_int_eq(vmm_virtio_rng_new(&config, &rng), 0);
	driver_attach(&driver, vmm_virtio_rng_device(rng));
	ck_assert(driver_start(&driver, features, 1, 64));
}

static void teardown(void)
{
	driver_detach(&driver);
	rng = vmm_virtio_rng_free(rng);
	driver_finish(&driver);
}

static int process(void)
{
	return vmm_virtio_process(vmm_virtio_rng_device(rng), 0);
}

static uint32_t get(const struct vring_buffer *buffers, size_t n)
{
	uint32_t len = 0;

	driver_add(&driver, 0, buffers, n, 0);
	ck_assert_int_eq(process(), 0);
	ck_assert(vring_get_used(&driver.rings[0], &(uint32_t){ 0 }, &len));
	return len;
}

static bool all_bytes_differ_from(uint64_t gpa, uint32_t size, uint8_t byte)
{
	const uint8_t *bytes = driver_pointer(&driver, gpa, size);
	uint32_t n = 0;

	for (uint32_t i = 0; i < size; i++)
		n += bytes[i] == byte;
	/* Of random bytes about one in 256 is the same. */
	return n < size / 16;
}

static const uint64_t rings[] = {
	0,
	VMM_VIRTIO_F_EVENT_IDX | VMM_VIRTIO_F_INDIRECT_DESC,
	VMM_VIRTIO_F_RING_PACKED,
};

START_TEST(buffers_are_filled)
{
	struct vring_buffer one = { DATA, 2048, true };
	struct vring_buffer pieces[4] = {
		{ DATA, 100, true },
		{ DATA + 8192, 1, true },
		{ DRIVER_RAM_BYTES - 300, 600, true },
		{ DATA + 4096, 700, true },
	};

	start(NULL, rings[_i]);
	ck_assert_uint_eq(get(&one, 1), 2048);
	ck_assert(all_bytes_differ_from(DATA, 2048, 0));
	ck_assert_uint_eq(driver.ram[DATA + 2048], 0);
	memset(driver.ram + DATA, 0, 2048);
	ck_assert_uint_eq(get(pieces, 4), 1401);
	ck_assert(all_bytes_differ_from(DATA, 100, 0));
	ck_assert_uint_eq(driver.ram[DATA + 100], 0);
	ck_assert(all_bytes_differ_from(DRIVER_RAM_BYTES - 300, 300, 0));
	ck_assert(all_bytes_differ_from(DRIVER_RAM_BYTES, 300, 0));
	ck_assert(all_bytes_differ_from(DATA + 4096, 700, 0));
	teardown();
}
END_TEST

START_TEST(large_buffer_is_filled_in_part)
{
	struct vring_buffer large = { DATA, 1 << 20, true };
	unsigned int n_touched = 0;

	start(NULL, rings[_i]);
	ck_assert_uint_eq(get(&large, 1), VMM_RNG_MAX_REQUEST_BYTES);
	ck_assert(all_bytes_differ_from(DATA, VMM_RNG_MAX_REQUEST_BYTES, 0));
	for (uint32_t i = VMM_RNG_MAX_REQUEST_BYTES; i < 1 << 20; i++)
		n_touched += driver.ram[DATA + i] != 0;
	ck_assert_uint_eq(n_touched, 0);
	teardown();
}
END_TEST

START_TEST(readable_part_is_left_alone)
{
	struct vring_buffer buffers[2] = { { DATA, 64, false }, { DATA + 64, 64, true } };

	start(NULL, rings[_i]);
	ck_assert_uint_eq(get(buffers, 2), 64);
	for (uint32_t i = 0; i < 64; i++)
		ck_assert_uint_eq(driver.ram[DATA + i], 0);
	teardown();
}
END_TEST

START_TEST(buffer_without_room_breaks_the_queue_until_reset)
{
	struct vring_buffer readable = { DATA, 64, false };
	struct vring_buffer writable = { DATA, 64, true };

	start(NULL, rings[_i]);
	driver_add(&driver, 0, &readable, 1, 0);
	ck_assert_int_eq(process(), -VMM_EGUEST);
	ck_assert(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET);
	ck_assert(driver_start(&driver, rings[_i], 1, 64));
	ck_assert_uint_eq(get(&writable, 1), 64);
	teardown();
}
END_TEST

/* However many requests there are, one call serves a bounded number and says that it will go on. */
START_TEST(many_requests_are_served_in_turns)
{
	struct vring_buffer one = { DATA, 16, true };
	uint32_t id, len;
	int n = 0;

	start(NULL, rings[_i]);
	for (int i = 0; i < 50; i++)
		vring_add(&driver.rings[0], &one, 1);
	driver_kick(&driver, 0);
	for (int calls = 0; calls < 10; calls++) {
		struct pollfd poll_fd = {
			.fd = vmm_virtio_kick_fd(vmm_virtio_rng_device(rng), 0),
			.events = POLLIN,
		};
		int n_call = 0;

		if (poll(&poll_fd, 1, 0) == 0)
			break;
		ck_assert_int_eq(process(), 0);
		while (vring_get_used(&driver.rings[0], &id, &len))
			n_call++;
		ck_assert_int_le(n_call, 16);
		n += n_call;
	}
	ck_assert_int_eq(n, 50);
	teardown();
}
END_TEST

START_TEST(limits_hold)
{
	struct vmm_ratelimit_config limits = { .bytes = { .rate = 10000, .burst = 100 } };
	struct vring_buffer one = { DATA, 100, true };
	uint64_t start_nsec;
	uint32_t id, len;
	int n = 0;

	start(&limits, rings[_i]);
	start_nsec = vmm_base_now_nsec();
	for (int i = 0; i < 5; i++)
		driver_add(&driver, 0, &one, 1, 0);
	ck_assert_int_eq(process(), 0);
	while (n < 5) {
		struct pollfd poll_fd = { .fd = vmm_virtio_rng_fd(rng), .events = POLLIN };

		while (vring_get_used(&driver.rings[0], &id, &len))
			n++;
		if (n == 5)
			break;
		ck_assert_int_eq(poll(&poll_fd, 1, 5000), 1);
		ck_assert_int_eq(vmm_virtio_rng_process(rng), 0);
	}
	ck_assert_uint_ge(vmm_base_now_nsec() - start_nsec, 40000000);

	/* Lifted, what waits goes on at once. */
	limits.bytes.rate = 1;
	ck_assert_int_eq(vmm_virtio_rng_set_limits(rng, &limits), 0);
	driver_add(&driver, 0, &one, 1, 0);
	driver_kick(&driver, 0);
	ck_assert_int_eq(process(), 0);
	ck_assert(!vring_get_used(&driver.rings[0], &id, &len));
	ck_assert_int_eq(vmm_virtio_rng_set_limits(rng, NULL), 0);
	ck_assert_int_eq(vmm_virtio_rng_process(rng), 0);
	ck_assert(vring_get_used(&driver.rings[0], &id, &len));
	limits.bytes.rate = UINT64_MAX;
	ck_assert_int_eq(vmm_virtio_rng_set_limits(rng, &limits), -EINVAL);
	teardown();
}
END_TEST

START_TEST(bad_configurations)
{
	struct vmm_virtio_rng_config config = { 0 };

	ck_assert_int_eq(vmm_virtio_rng_new(&config, &rng), -EINVAL);
	driver_init(&driver);
	config.mem = driver.mem;
	config.limits.ops.rate = UINT64_MAX;
	ck_assert_int_eq(vmm_virtio_rng_new(&config, &rng), -EINVAL);
	driver_finish(&driver);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio-rng");
	TCase *tcase = unit_case(suite, "virtio-rng");

	tcase_add_loop_test(tcase, buffers_are_filled, 0, ARRAY_SIZE(rings));
	tcase_add_loop_test(tcase, large_buffer_is_filled_in_part, 0, ARRAY_SIZE(rings));
	tcase_add_loop_test(tcase, readable_part_is_left_alone, 0, ARRAY_SIZE(rings));
	tcase_add_loop_test(
		tcase, buffer_without_room_breaks_the_queue_until_reset, 0, ARRAY_SIZE(rings));
	tcase_add_loop_test(tcase, many_requests_are_served_in_turns, 0, ARRAY_SIZE(rings));
	tcase_add_loop_test(tcase, limits_hold, 0, ARRAY_SIZE(rings));
	tcase_add_test(tcase, bad_configurations);
	return unit_run(suite);
}

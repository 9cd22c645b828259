/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <vmmcore/virtio-mem.h>

#include "base/util.h"
#include "lib/driver.h"
#include "unit.h"

#define DATA DRIVER_DATA_GPA
#define BLOCK (UINT64_C(2) << 20)
#define REGION_GPA (UINT64_C(256) << 20)
#define N_BLOCKS 8

enum {
	PLUG,
	UNPLUG,
	UNPLUG_ALL,
	STATE,
};
enum {
	ACK,
	NACK,
	BUSY,
	ERROR,
};

static struct driver driver;
static struct vmm_virtio_mem *virtio_mem;
static struct vmm_virtio_mem_status status;
static uint64_t changed_to;

static void on_changed(void *userdata, uint64_t plugged_bytes)
{
	changed_to = plugged_bytes;
}

static void start(uint64_t features)
{
	struct vmm_mem_config region = { .gpa = REGION_GPA, .size_bytes = N_BLOCKS * BLOCK };
	struct vmm_virtio_mem_config config = {
		.gpa = REGION_GPA,
		.requested_bytes = 4 * BLOCK,
		.changed = on_changed,
	};

	changed_to = 0;
	driver_init(&driver);
	ck_assert_int_eq(vmm_mem_add(driver.mem, &region), 0);
	config.mem = driver.mem;
	ck_assert_int_eq(vmm_virtio_mem_new(&config, &virtio_mem), 0);
	driver_attach(&driver, vmm_virtio_mem_device(virtio_mem));
	ck_assert(driver_start(&driver, features, 1, 16));
}

static void teardown(void)
{
	driver_detach(&driver);
	virtio_mem = vmm_virtio_mem_free(virtio_mem);
	driver_finish(&driver);
}

/* Returns the answer's type; its state goes to *ret_state. */
static uint16_t ask_gpa(uint16_t type, uint64_t gpa, uint16_t n, uint16_t *ret_state)
{
	struct vring_buffer buffers[2] = { { DATA, 24, false }, { DATA + 64, 10, true } };
	uint8_t request[24] = { 0 };
	uint16_t answer;
	uint32_t len;

	memcpy(request, &type, 2);
	memcpy(request + 8, &gpa, 8);
	memcpy(request + 16, &n, 2);
	memcpy(driver.ram + DATA, request, 24);
	driver_add(&driver, 0, buffers, 2, 0);
	ck_assert_int_eq(vmm_virtio_process(vmm_virtio_mem_device(virtio_mem), 0), 0);
	ck_assert(vring_get_used(&driver.rings[0], &(uint32_t){ 0 }, &len));
	ck_assert_uint_eq(len, 10);
	memcpy(&answer, driver.ram + DATA + 64, 2);
	if (ret_state)
		memcpy(ret_state, driver.ram + DATA + 72, 2);
	return answer;
}

static uint16_t ask(uint16_t type, unsigned int block, uint16_t n)
{
	return ask_gpa(type, REGION_GPA + block * BLOCK, n, NULL);
}

static uint16_t state(unsigned int block, uint16_t n)
{
	uint16_t result;

	ck_assert_uint_eq(ask_gpa(STATE, REGION_GPA + block * BLOCK, n, &result), ACK);
	return result;
}

static uint64_t config_word(uint32_t offset)
{
	uint64_t value;

	driver_config_read(&driver, offset, &value, 8);
	return value;
}

static const uint64_t rings[] = {
	0,
	VMM_VIRTIO_F_EVENT_IDX | VMM_VIRTIO_F_INDIRECT_DESC,
	VMM_VIRTIO_F_RING_PACKED,
};

START_TEST(plug_and_unplug)
{
	start(rings[_i]);
	ck_assert_uint_eq(config_word(0), BLOCK);
	ck_assert_uint_eq(config_word(16), REGION_GPA);
	ck_assert_uint_eq(config_word(24), N_BLOCKS * BLOCK);
	ck_assert_uint_eq(config_word(32), N_BLOCKS * BLOCK);
	ck_assert_uint_eq(config_word(40), 0);
	ck_assert_uint_eq(config_word(48), 4 * BLOCK);

	ck_assert_uint_eq(state(0, N_BLOCKS), 1);
	ck_assert_uint_eq(ask(PLUG, 2, 3), ACK);
	ck_assert_uint_eq(config_word(40), 3 * BLOCK);
	ck_assert_uint_eq(changed_to, 3 * BLOCK);
	ck_assert_uint_eq(state(2, 3), 0);
	ck_assert_uint_eq(state(1, 2), 2);
	ck_assert_uint_eq(state(5, 3), 1);
	/* One more is requested, two are not. */
	ck_assert_uint_eq(ask(PLUG, 5, 2), NACK);
	ck_assert_uint_eq(ask(PLUG, 7, 1), ACK);
	ck_assert_uint_eq(ask(PLUG, 0, 1), NACK);
	ck_assert_uint_eq(ask(UNPLUG, 3, 1), ACK);
	ck_assert_uint_eq(state(3, 1), 1);
	vmm_virtio_mem_get_status(virtio_mem, &status);
	ck_assert_uint_eq(status.plugged_bytes, 3 * BLOCK);
	ck_assert_uint_eq(status.requested_bytes, 4 * BLOCK);
	ck_assert_uint_eq(status.region_bytes, N_BLOCKS * BLOCK);

	/* It stays over a reset of the device, and goes when the driver says so. */
	ck_assert(driver_start(&driver, rings[_i], 1, 16));
	ck_assert_uint_eq(config_word(40), 3 * BLOCK);
	ck_assert_uint_eq(ask(UNPLUG_ALL, 0, 0), ACK);
	ck_assert_uint_eq(ask(UNPLUG_ALL, 0, 0), ACK);
	ck_assert_uint_eq(config_word(40), 0);
	ck_assert_uint_eq(changed_to, 0);
	ck_assert_uint_eq(state(0, N_BLOCKS), 1);
	teardown();
}
END_TEST

static uint64_t region_pages_in_use(void)
{
	struct vmm_mem_region region;
	struct stat st;

	ck_assert_int_eq(vmm_mem_get_region(driver.mem, 2, &region), 0);
	ck_assert_uint_eq(region.gpa, REGION_GPA);
	ck_assert_int_eq(fstat(region.fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

START_TEST(unplugged_memory_goes_back_to_the_host)
{
	start(rings[_i]);
	ck_assert_uint_eq(ask(PLUG, 0, 4), ACK);
	ck_assert_int_eq(vmm_mem_fill(driver.mem, REGION_GPA, 0x55, 4 * BLOCK), 0);
	ck_assert_uint_eq(region_pages_in_use(), 4 * BLOCK);
	ck_assert_uint_eq(ask(UNPLUG, 1, 2), ACK);
	ck_assert_uint_eq(region_pages_in_use(), 2 * BLOCK);
	ck_assert_uint_eq(ask(UNPLUG_ALL, 0, 0), ACK);
	ck_assert_uint_eq(region_pages_in_use(), 0);
	teardown();
}
END_TEST

START_TEST(hostile_requests)
{
	static const struct {
		uint16_t type;
		uint64_t gpa;
		uint16_t n;
	} rows[] = {
		{ PLUG, REGION_GPA, 0 },
		{ PLUG, REGION_GPA - BLOCK, 1 },
		{ PLUG, REGION_GPA + 4096, 1 },
		{ PLUG, REGION_GPA + N_BLOCKS * BLOCK, 1 },
		{ PLUG, REGION_GPA + 7 * BLOCK, 2 },
		{ PLUG, REGION_GPA, UINT16_MAX },
		{ PLUG, 0, 1 },
		{ PLUG, UINT64_MAX - BLOCK + 1, 1 },
		{ UNPLUG, UINT64_MAX, UINT16_MAX },
		{ UNPLUG, REGION_GPA + BLOCK, 1 },
		{ UNPLUG, REGION_GPA, 2 },
		{ PLUG, REGION_GPA, 1 },
		{ STATE, REGION_GPA, N_BLOCKS + 1 },
		{ 4, REGION_GPA, 1 },
		{ UINT16_MAX, REGION_GPA, 1 },
	};

	start(rings[_i]);
	ck_assert_uint_eq(ask(PLUG, 0, 1), ACK);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		ck_assert_uint_eq(ask_gpa(rows[i].type, rows[i].gpa, rows[i].n, NULL), ERROR);
	ck_assert_uint_eq(config_word(40), BLOCK);
	teardown();
}
END_TEST

START_TEST(short_requests_break_the_queue_until_reset)
{
	static const struct vring_buffer bad[][2] = {
		{ { DATA, 23, false }, { DATA + 64, 10, true } },
		{ { DATA, 24, false }, { DATA + 64, 9, true } },
	};

	start(rings[_i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		driver_add(&driver, 0, bad[i], 2, 0);
		ck_assert_int_eq(
			vmm_virtio_process(vmm_virtio_mem_device(virtio_mem), 0), -VMM_EGUEST);
		ck_assert(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET);
		ck_assert(driver_start(&driver, rings[_i], 1, 16));
	}
	ck_assert_uint_eq(ask(PLUG, 0, 1), ACK);
	teardown();
}
END_TEST

START_TEST(new_request_tells_the_driver)
{
	uint32_t interrupt;

	start(rings[_i]);
	while (driver_wait_interrupt(&driver, 0, NULL))
		;
	ck_assert_int_eq(vmm_virtio_mem_request(virtio_mem, 6 * BLOCK), 0);
	ck_assert(driver_wait_interrupt(&driver, 1000, &interrupt));
	ck_assert(interrupt & 2);
	ck_assert_uint_eq(config_word(48), 6 * BLOCK);
	ck_assert_uint_eq(ask(PLUG, 0, 6), ACK);
	ck_assert_int_eq(vmm_virtio_mem_request(virtio_mem, 6 * BLOCK), 0);
	ck_assert(!driver_wait_interrupt(&driver, 20, &interrupt) || !(interrupt & 2));
	ck_assert_int_eq(vmm_virtio_mem_request(virtio_mem, BLOCK + 1), -EINVAL);
	ck_assert_int_eq(vmm_virtio_mem_request(virtio_mem, (N_BLOCKS + 1) * BLOCK), -EINVAL);
	teardown();
}
END_TEST

START_TEST(bad_configurations)
{
	static const struct vmm_virtio_mem_config rows[] = {
		{ .gpa = REGION_GPA + BLOCK },
		{ .gpa = REGION_GPA, .block_bytes = 2048 },
		{ .gpa = REGION_GPA, .block_bytes = 3 * 4096 },
		{ .gpa = REGION_GPA, .block_bytes = UINT64_C(1) << 40 },
		{ .gpa = REGION_GPA, .requested_bytes = 4096 },
		{ .gpa = REGION_GPA, .requested_bytes = (N_BLOCKS + 1) * BLOCK },
	};
	struct vmm_mem_config region = { .gpa = REGION_GPA, .size_bytes = N_BLOCKS * BLOCK };
	struct vmm_virtio_mem_config config = { .gpa = REGION_GPA };

	ck_assert_int_eq(vmm_virtio_mem_new(&config, &virtio_mem), -EINVAL);
	driver_init(&driver);
	ck_assert_int_eq(vmm_mem_add(driver.mem, &region), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		config = rows[i];
		config.mem = driver.mem;
		ck_assert_int_eq(vmm_virtio_mem_new(&config, &virtio_mem), -EINVAL);
	}
	driver_finish(&driver);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio-mem");
	TCase *tcase = unit_case(suite, "virtio-mem");
	const int n = ARRAY_SIZE(rings);

	tcase_add_loop_test(tcase, plug_and_unplug, 0, n);
	tcase_add_loop_test(tcase, unplugged_memory_goes_back_to_the_host, 0, n);
	tcase_add_loop_test(tcase, hostile_requests, 0, n);
	tcase_add_loop_test(tcase, short_requests_break_the_queue_until_reset, 0, n);
	tcase_add_loop_test(tcase, new_request_tells_the_driver, 0, n);
	tcase_add_test(tcase, bad_configurations);
	return unit_run(suite);
}

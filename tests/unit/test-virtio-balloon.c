/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <vmmcore/virtio-balloon.h>

#include "base/util.h"
#include "lib/driver.h"
#include "unit.h"

#define PAGE UINT64_C(4096)
#define DATA DRIVER_DATA_GPA
#define FREE_GPA (UINT64_C(8) << 20) /* pages that the tests give away */
#define FREE_PAGE (FREE_GPA / PAGE)
#define ALL_PAGES ((uint32_t)(2 * DRIVER_RAM_BYTES / PAGE))

/* VIRTIO 1.2, 5.5.3 */
#define STATS_VQ (1 << 1)
#define FREE_PAGE_HINT (1 << 3)
#define REPORTING (1 << 5)
#define ALL_FEATURES 0xfe

static struct driver driver;
static struct vmm_virtio_balloon *balloon;
static struct vmm_virtio_balloon_status status;

/* What the callbacks saw. */
static unsigned int n_stats, n_hints, n_hint_ends;
static struct vmm_balloon_stats stats;
static uint64_t changed_to, hinted_gpa, hinted_bytes;

static void on_stats(void *userdata, const struct vmm_balloon_stats *new_stats)
{
	n_stats++;
	stats = *new_stats;
}

static void on_changed(void *userdata, uint64_t actual_bytes)
{
	changed_to = actual_bytes;
}

static void on_hinted(void *userdata, uint64_t gpa, uint64_t length_bytes)
{
	if (length_bytes == 0) {
		n_hint_ends++;
		return;
	}
	n_hints++;
	hinted_gpa = gpa;
	hinted_bytes += length_bytes;
}

static const struct vmm_balloon_ops ops = {
	.stats = on_stats,
	.changed = on_changed,
	.hinted = on_hinted,
};

static const uint64_t rings[] = {
	0,
	VMM_VIRTIO_F_EVENT_IDX | VMM_VIRTIO_F_INDIRECT_DESC,
	VMM_VIRTIO_F_RING_PACKED | VMM_VIRTIO_F_EVENT_IDX,
};

static void start(uint64_t features, unsigned int n_queues)
{
	struct vmm_virtio_balloon_config config = { .ops = &ops };

	n_stats = n_hints = n_hint_ends = 0;
	changed_to = hinted_gpa = hinted_bytes = 0;
	driver_init(&driver);
	config.mem = driver.mem;
	ck_assert_int_eq(vmm_virtio_balloon_new(&config, &balloon), 0);
	driver_attach(&driver, vmm_virtio_balloon_device(balloon));
	ck_assert(driver_start(&driver, features, n_queues, 16));
}

static void teardown(void)
{
	driver_detach(&driver);
	balloon = vmm_virtio_balloon_free(balloon);
	driver_finish(&driver);
}

static int process(unsigned int queue)
{
	return vmm_virtio_process(vmm_virtio_balloon_device(balloon), queue);
}

static bool used(unsigned int queue)
{
	return vring_get_used(&driver.rings[queue], &(uint32_t){ 0 }, &(uint32_t){ 0 });
}

static void give(unsigned int queue, const void *data, uint32_t size)
{
	struct vring_buffer buffer = { DATA, size, false };

	memcpy(driver.ram + DATA, data, size);
	driver_add(&driver, queue, &buffer, 1, 0);
	ck_assert_int_eq(process(queue), 0);
}

static void send_pages(unsigned int queue, const uint32_t *pages, uint32_t n)
{
	give(queue, pages, n * (uint32_t)sizeof(pages[0]));
	ck_assert(used(queue));
}

/* Fills pages that the tests give away, so that a page that went reads as zero. */
static void fill(void)
{
	memset(driver.ram + FREE_GPA, 0x77, 1 << 20);
}

static bool page_is_gone(uint64_t page)
{
	const uint8_t *bytes = driver_pointer(&driver, page * PAGE, PAGE);

	for (uint64_t i = 0; i < PAGE; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static void get_status(void)
{
	vmm_virtio_balloon_get_status(balloon, &status);
}

START_TEST(given_pages_go_back_to_the_host)
{
	static const uint32_t pages[] = {
		FREE_PAGE + 1, FREE_PAGE + 2, FREE_PAGE + 3, /* up */
		FREE_PAGE + 9, FREE_PAGE + 8,                /* down */
		FREE_PAGE + 20, FREE_PAGE + 20,              /* twice */
	};
	unsigned char resident[32];

	start(rings[_i] | ALL_FEATURES, 5);
	fill();
	send_pages(0, pages, ARRAY_SIZE(pages));
	ck_assert_int_eq(mincore(driver.ram + FREE_GPA, 32 * PAGE, resident), 0);
	for (uint32_t i = 0; i < 32; i++) {
		bool gone = (i >= 1 && i <= 3) || i == 8 || i == 9 || i == 20;

		ck_assert_int_eq(resident[i] & 1, !gone);
		ck_assert_int_eq(page_is_gone(FREE_PAGE + i), gone);
	}
	get_status();
	ck_assert_uint_eq(status.inflated_bytes, 6 * PAGE);
	ck_assert_uint_eq(status.n_failed, 0);
	send_pages(1, pages, 2);
	send_pages(1, pages, 2);
	get_status();
	ck_assert_uint_eq(status.inflated_bytes, 4 * PAGE);
	driver_reset(&driver);
	get_status();
	ck_assert_uint_eq(status.inflated_bytes, 0);
	teardown();
}
END_TEST

START_TEST(pages_that_are_no_memory_are_ignored)
{
	static const uint32_t pages[] = { ALL_PAGES, UINT32_MAX, FREE_PAGE, 0x80000000 };
	static const uint8_t odd[7] = { 0 };

	start(rings[_i] | ALL_FEATURES, 5);
	fill();
	send_pages(0, pages, ARRAY_SIZE(pages));
	ck_assert(page_is_gone(FREE_PAGE));
	ck_assert(!page_is_gone(FREE_PAGE + 1));
	send_pages(1, pages, ARRAY_SIZE(pages));
	get_status();
	ck_assert_uint_eq(status.n_bad_pages, 6);
	ck_assert_uint_eq(status.inflated_bytes, 0);
	/* The deflate queue, so that page 0 with the rings stays. */
	give(1, odd, sizeof(odd));
	ck_assert(used(1));
	ck_assert(!(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET));
	teardown();
}
END_TEST

START_TEST(overlong_list_breaks_the_queue_until_reset)
{
	struct vring_buffer buffer = { DATA, 1 << 20, false };

	start(rings[_i] | ALL_FEATURES, 5);
	driver_add(&driver, 0, &buffer, 1, 0);
	ck_assert_int_eq(process(0), -VMM_EGUEST);
	ck_assert(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET);
	ck_assert(driver_start(&driver, rings[_i] | ALL_FEATURES, 5, 16));
	send_pages(0, &(uint32_t){ FREE_PAGE }, 1);
	teardown();
}
END_TEST

START_TEST(target_and_actual)
{
	uint32_t value, interrupt;

	start(rings[_i] | ALL_FEATURES, 5);
	while (driver_wait_interrupt(&driver, 0, NULL))
		;
	ck_assert_int_eq(vmm_virtio_balloon_set_target(balloon, 5 * PAGE + 100), 0);
	ck_assert(driver_wait_interrupt(&driver, 1000, &interrupt));
	ck_assert(interrupt & 2);
	driver_config_read(&driver, 0, &value, 4);
	ck_assert_uint_eq(value, 5);
	ck_assert_int_eq(vmm_virtio_balloon_set_target(balloon, 5 * PAGE), 0);
	ck_assert(!driver_wait_interrupt(&driver, 20, NULL));
	ck_assert_int_eq(vmm_virtio_balloon_set_target(balloon, 2 * DRIVER_RAM_BYTES + 1), -EINVAL);

	driver_config_write(&driver, 4, 3);
	ck_assert_uint_eq(changed_to, 3 * PAGE);
	get_status();
	ck_assert_uint_eq(status.target_bytes, 5 * PAGE);
	ck_assert_uint_eq(status.actual_bytes, 3 * PAGE);
	/* More than there is, as a guest says whose count went below zero. */
	driver_config_write(&driver, 7, 0xff);
	get_status();
	ck_assert_uint_eq(status.actual_bytes, 2 * DRIVER_RAM_BYTES);
	ck_assert_uint_eq(changed_to, 2 * DRIVER_RAM_BYTES);
	/* The target is not the driver's. */
	driver_config_write(&driver, 12, 0xaa);
	driver_config_read(&driver, 12, &value, 4);
	ck_assert_uint_eq(value, 0);
	driver_config_write(&driver, 0, 77);
	driver_config_read(&driver, 0, &value, 4);
	ck_assert_uint_eq(value, 5);
	teardown();
}
END_TEST

static uint32_t add_stat(uint8_t *at, uint16_t tag, uint64_t value)
{
	memcpy(at, &tag, 2);
	memcpy(at + 2, &value, 8);
	return 10;
}

START_TEST(statistics_on_request)
{
	uint8_t bytes[200];
	uint32_t n = 0;

	start(rings[_i] | ALL_FEATURES, 5);
	ck_assert_int_eq(vmm_virtio_balloon_request_stats(balloon), -EOPNOTSUPP);
	n += add_stat(bytes + n, 4, 1000);
	/* The first comes unasked. */
	give(2, bytes, n);
	ck_assert(!used(2));
	ck_assert_uint_eq(n_stats, 0);
	for (uint64_t round = 1; round < 40; round++) {
		ck_assert_int_eq(vmm_virtio_balloon_request_stats(balloon), 0);
		ck_assert_int_eq(vmm_virtio_balloon_request_stats(balloon), -EBUSY);
		ck_assert(used(2));
		n = add_stat(bytes, 4, 2000 + round);
		n += add_stat(bytes + n, 99, 7);
		n += add_stat(bytes + n, 9, UINT64_C(1) << 63);
		give(2, bytes, n + 3);
		ck_assert_uint_eq(n_stats, round);
		ck_assert_uint_eq(stats.free_bytes, 2000 + round);
		ck_assert_uint_eq(stats.hugetlb_failures, UINT64_C(1) << 63);
		ck_assert_uint_eq(stats.total_bytes, UINT64_MAX);
		/* A kick without a new buffer is no answer. */
		ck_assert_int_eq(process(2), 0);
		ck_assert_uint_eq(n_stats, round);
	}
	get_status();
	ck_assert(status.has_stats);
	ck_assert_uint_eq(status.stats.free_bytes, 2039);
	driver_reset(&driver);
	ck_assert_int_eq(vmm_virtio_balloon_request_stats(balloon), -EOPNOTSUPP);
	teardown();
}
END_TEST

START_TEST(reported_pages_go_back_to_the_host)
{
	struct vring_buffer buffers[2] = {
		{ FREE_GPA, 65536, true },
		{ DRIVER_RAM_BYTES - 2 * PAGE, 4 * PAGE, true },
	};

	start(rings[_i] | ALL_FEATURES, 5);
	fill();
	memset(driver_pointer(&driver, DRIVER_RAM_BYTES, 4 * PAGE), 1, 4 * PAGE);
	driver_add(&driver, 4, buffers, 2, 0);
	ck_assert_int_eq(process(4), 0);
	ck_assert(used(4));
	for (uint64_t i = 0; i < 16; i++)
		ck_assert(page_is_gone(FREE_PAGE + i));
	ck_assert(!page_is_gone(FREE_PAGE + 16));
	ck_assert(page_is_gone(DRIVER_RAM_BYTES / PAGE));
	ck_assert(page_is_gone(DRIVER_RAM_BYTES / PAGE + 1));
	ck_assert(!page_is_gone(DRIVER_RAM_BYTES / PAGE + 2));
	get_status();
	ck_assert_uint_eq(status.reported_bytes, 20 * PAGE);
	ck_assert_uint_eq(status.inflated_bytes, 0);
	teardown();
}
END_TEST

START_TEST(hints_are_told_and_nothing_is_discarded)
{
	struct vring_buffer pages = { FREE_GPA, 65536, true };
	uint32_t command;

	start(rings[_i] | ALL_FEATURES, 5);
	fill();
	ck_assert_int_eq(vmm_virtio_balloon_request_hints(balloon), 0);
	driver_config_read(&driver, 8, &command, 4);
	ck_assert_uint_ge(command, 2);

	/* Pages of no request, and of an old one. */
	driver_add(&driver, 3, &pages, 1, 0);
	ck_assert_int_eq(process(3), 0);
	ck_assert(used(3));
	give(3, &(uint32_t){ command + 1 }, 4);
	ck_assert(used(3));
	driver_add(&driver, 3, &pages, 1, 0);
	ck_assert_int_eq(process(3), 0);
	ck_assert(used(3));
	ck_assert_uint_eq(n_hints, 0);

	give(3, &command, 4);
	ck_assert(used(3));
	driver_add(&driver, 3, &pages, 1, 0);
	ck_assert_int_eq(process(3), 0);
	ck_assert(used(3));
	ck_assert_uint_eq(n_hints, 1);
	ck_assert_uint_eq(hinted_gpa, FREE_GPA);
	ck_assert_uint_eq(hinted_bytes, 65536);
	ck_assert_uint_eq(n_hint_ends, 0);
	give(3, &(uint32_t){ 0 }, 4);
	ck_assert(used(3));
	ck_assert_uint_eq(n_hint_ends, 1);
	vmm_virtio_balloon_end_hints(balloon);
	driver_config_read(&driver, 8, &command, 4);
	ck_assert_uint_eq(command, 1);
	ck_assert(!page_is_gone(FREE_PAGE));
	driver_reset(&driver);
	ck_assert_int_eq(vmm_virtio_balloon_request_hints(balloon), -EOPNOTSUPP);
	teardown();
}
END_TEST

/* The queue of free page reporting, by the specification and as Linux counts. */
START_TEST(queues_with_and_without_gaps)
{
	static const struct {
		uint64_t features;
		unsigned int n_queues, reporting;
	} rows[] = {
		{ STATS_VQ | FREE_PAGE_HINT | REPORTING, 5, 4 },
		{ STATS_VQ | REPORTING, 4, 3 },
		{ FREE_PAGE_HINT | REPORTING, 4, 3 },
		{ REPORTING, 3, 2 },
	};
	struct vring_buffer buffer = { FREE_GPA, PAGE, true };

	start(0, 2);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		ck_assert(driver_start(&driver, rows[i].features, rows[i].n_queues, 16));
		fill();
		driver_add(&driver, rows[i].reporting, &buffer, 1, 0);
		ck_assert_int_eq(process(rows[i].reporting), 0);
		ck_assert(used(rows[i].reporting));
		ck_assert(page_is_gone(FREE_PAGE));
	}
	/* With gaps: only the queues that belong to a feature are set up. */
	driver_reset(&driver);
	ck_assert(driver_start(&driver, REPORTING, 2, 16));
	driver_reset(&driver);
	driver_write(&driver, 0x070, 3);
	driver_write(&driver, 0x024, 0);
	driver_write(&driver, 0x020, REPORTING);
	driver_write(&driver, 0x024, 1);
	driver_write(&driver, 0x020, 1);
	driver_write(&driver, 0x070, 11);
	driver_set_up_queue(&driver, 0, 16);
	driver_set_up_queue(&driver, 1, 16);
	driver_set_up_queue(&driver, 4, 16);
	driver_write(&driver, 0x070, 15);
	fill();
	driver_add(&driver, 4, &buffer, 1, 0);
	ck_assert_int_eq(process(4), 0);
	ck_assert(used(4));
	ck_assert(page_is_gone(FREE_PAGE));
	teardown();
}
END_TEST

START_TEST(features_follow_the_configuration)
{
	struct vmm_virtio_balloon_config config = {
		.no_deflate_on_oom = true,
		.no_reporting = true,
		.target_bytes = 3 * PAGE,
	};
	uint32_t n_pages;

	ck_assert_int_eq(vmm_virtio_balloon_new(&config, &balloon), -EINVAL);
	driver_init(&driver);
	config.mem = driver.mem;
	ck_assert_int_eq(vmm_virtio_balloon_new(&config, &balloon), 0);
	driver_attach(&driver, vmm_virtio_balloon_device(balloon));
	ck_assert_uint_eq(driver_offered(&driver) & 0xffff, STATS_VQ | FREE_PAGE_HINT);
	driver_config_read(&driver, 0, &n_pages, 4);
	ck_assert_uint_eq(n_pages, 3);
	driver_detach(&driver);
	balloon = vmm_virtio_balloon_free(balloon);
	config.target_bytes = 2 * DRIVER_RAM_BYTES + PAGE;
	ck_assert_int_eq(vmm_virtio_balloon_new(&config, &balloon), -EINVAL);
	driver_finish(&driver);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio-balloon");
	TCase *tcase = unit_case(suite, "virtio-balloon");
	const int n = ARRAY_SIZE(rings);

	tcase_add_loop_test(tcase, given_pages_go_back_to_the_host, 0, n);
	tcase_add_loop_test(tcase, pages_that_are_no_memory_are_ignored, 0, n);
	tcase_add_loop_test(tcase, overlong_list_breaks_the_queue_until_reset, 0, n);
	tcase_add_loop_test(tcase, target_and_actual, 0, n);
	tcase_add_loop_test(tcase, statistics_on_request, 0, n);
	tcase_add_loop_test(tcase, reported_pages_go_back_to_the_host, 0, n);
	tcase_add_loop_test(tcase, hints_are_told_and_nothing_is_discarded, 0, n);
	tcase_add_test(tcase, queues_with_and_without_gaps);
	tcase_add_test(tcase, features_follow_the_configuration);
	return unit_run(suite);
}

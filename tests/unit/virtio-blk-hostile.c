/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-blk: requests and files that are not as they should be, over files with each engine. */
#include <unistd.h>

#include "base/util.h"
#include "virtio-blk-fixture.h"

START_TEST(hostile_ranges)
{
	static const struct {
		uint32_t type;
		struct blk_range range;
		uint8_t status;
	} rows[] = {
		{ BLK_DISCARD, { 0, 8, 1 }, BLK_UNSUPP },
		{ BLK_DISCARD, { 0, 8, 2 }, BLK_UNSUPP },
		{ BLK_WRITE_ZEROES, { 0, 8, 2 }, BLK_UNSUPP },
		{ BLK_WRITE_ZEROES, { 0, 8, 0x80000001 }, BLK_UNSUPP },
		{ BLK_WRITE_ZEROES, { DISK_SECTORS, 1, 0 }, BLK_IOERR },
		{ BLK_WRITE_ZEROES, { DISK_SECTORS - 1, 2, 0 }, BLK_IOERR },
		{ BLK_WRITE_ZEROES, { UINT64_MAX, 1, 0 }, BLK_IOERR },
		{ BLK_WRITE_ZEROES, { UINT64_MAX - 7, 8, 0 }, BLK_IOERR },
		{ BLK_WRITE_ZEROES, { UINT64_MAX / 512, 8, 0 }, BLK_IOERR },
		{ BLK_WRITE_ZEROES, { 0, UINT32_MAX, 0 }, BLK_IOERR },
		{ BLK_DISCARD, { UINT64_MAX, UINT32_MAX, 0 }, BLK_IOERR },
		{ BLK_DISCARD, { DISK_SECTORS + 1, 0, 0 }, BLK_IOERR },
		{ BLK_DISCARD, { DISK_SECTORS, 0, 0 }, BLK_OK },
	};
	struct blk_range many[33] = { { 0 } };
	struct vring_buffer data = { DATA, 15, false };

	start_variant(_i);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		ck_assert_int_eq(
			blk_ranges(&driver, rows[i].type, &rows[i].range, 1), rows[i].status);
	ck_assert_int_eq(blk_ranges(&driver, BLK_DISCARD, many, 32), BLK_OK);
	ck_assert_int_eq(blk_ranges(&driver, BLK_DISCARD, many, 33), BLK_IOERR);
	ck_assert_int_eq(blk_ranges(&driver, BLK_DISCARD, many, 0), BLK_IOERR);
	ck_assert_int_eq(blk_do(&driver, BLK_DISCARD, 0, &data, 1, NULL), BLK_IOERR);
	data.len = 17;
	ck_assert_int_eq(blk_do(&driver, BLK_DISCARD, 0, &data, 1, NULL), BLK_IOERR);
	/* One bad range among good ones: nothing is done. */
	many[0] = (struct blk_range){ 0, 8, 0 };
	many[1] = (struct blk_range){ DISK_SECTORS, 8, 0 };
	ck_assert_int_eq(blk_ranges(&driver, BLK_WRITE_ZEROES, many, 2), BLK_IOERR);
	check_disk_is(0, DISK_BYTES, false);
	ck_assert_int_eq(blk_read(&driver, 0, DATA, 512), BLK_OK);
	teardown();
}
END_TEST

START_TEST(hostile_requests)
{
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t len;
		uint8_t status;
	} rows[] = {
		{ BLK_IN, DISK_SECTORS, 512, BLK_IOERR },
		{ BLK_IN, DISK_SECTORS - 1, 1024, BLK_IOERR },
		{ BLK_IN, DISK_SECTORS - 1, 512, BLK_OK },
		{ BLK_IN, UINT64_MAX, 512, BLK_IOERR },
		{ BLK_IN, UINT64_MAX / 512 + 1, 512, BLK_IOERR },
		{ BLK_IN, UINT64_C(1) << 63, 512, BLK_IOERR },
		{ BLK_IN, 0, 511, BLK_IOERR },
		{ BLK_IN, 0, 513, BLK_IOERR },
		{ BLK_IN, 0, 1, BLK_IOERR },
		{ BLK_OUT, DISK_SECTORS, 512, BLK_IOERR },
		{ BLK_OUT, UINT64_MAX - 1, 1024, BLK_IOERR },
		{ BLK_OUT, 1, 100, BLK_IOERR },
		{ 2, 0, 512, BLK_UNSUPP },
		{ 14, 0, 512, BLK_UNSUPP },
		{ 0x80000000, 0, 512, BLK_UNSUPP },
		{ 0xffffffff, UINT64_MAX, 512, BLK_UNSUPP },
	};

	start_variant(_i);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vring_buffer data = { DATA, rows[i].len, rows[i].type != BLK_OUT };

		ck_assert_int_eq(blk_do(&driver, rows[i].type, rows[i].sector, &data, 1, NULL),
			rows[i].status);
	}
	ck_assert_int_eq(blk_do(&driver, BLK_IN, 0, NULL, 0, NULL), BLK_OK);
	ck_assert_int_eq(blk_do(&driver, BLK_IN, DISK_SECTORS + 1, NULL, 0, NULL), BLK_IOERR);
	check_disk_is(0, DISK_BYTES, false);
	teardown();
}
END_TEST

START_TEST(short_header_is_an_error_of_the_request)
{
	struct vring_buffer buffers[2] = { { DATA, 15, false }, { DATA2, 1, true } };
	struct vring_buffer only_status = { DATA2, 1, true };

	start_variant(_i);
	driver.ram[DATA2] = BLK_NO_STATUS;
	driver_add(&driver, 0, buffers, 2, 0);
	ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
	ck_assert_int_eq(driver.ram[DATA2], BLK_IOERR);
	driver.ram[DATA2] = BLK_NO_STATUS;
	driver_add(&driver, 0, &only_status, 1, 0);
	ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
	ck_assert_int_eq(driver.ram[DATA2], BLK_IOERR);
	ck_assert_int_eq(blk_read(&driver, 0, DATA, 512), BLK_OK);
	teardown();
}
END_TEST

START_TEST(no_room_for_a_status_breaks_the_queue_until_reset)
{
	struct vring_buffer buffers[2] = { { DATA, 16, false }, { DATA2, 512, false } };

	start_variant(_i);
	driver_add(&driver, 0, buffers, 2, 0);
	for (int i = 0; i < 10000 && !(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET); i++)
		usleep(1000);
	ck_assert(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET);
	ck_assert(driver_start(&driver, variants[_i].features, 1, 64));
	ck_assert_int_eq(blk_read(&driver, 0, DATA, 512), BLK_OK);
	teardown();
}
END_TEST

START_TEST(file_that_shrinks_gives_errors)
{
	start_variant(_i);
	ck_assert_int_eq(ftruncate(disk_fd, 8192), 0);
	ck_assert_int_eq(blk_read(&driver, 0, DATA, 8192), BLK_OK);
	ck_assert_int_eq(blk_read(&driver, 15, DATA, 1024), BLK_IOERR);
	ck_assert_int_eq(blk_read(&driver, 16, DATA, 512), BLK_IOERR);
	ck_assert_int_eq(blk_read(&driver, 0, DATA, 512), BLK_OK);
	teardown();
}
END_TEST

void add_hostile_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, hostile_ranges, 0, N_VARIANTS);
	tcase_add_loop_test(tcase, hostile_requests, 0, N_VARIANTS);
	tcase_add_loop_test(tcase, short_header_is_an_error_of_the_request, 0, N_VARIANTS);
	tcase_add_loop_test(
		tcase, no_room_for_a_status_breaks_the_queue_until_reset, 0, N_VARIANTS);
	tcase_add_loop_test(tcase, file_that_shrinks_gives_errors, 0, N_VARIANTS);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The device over files, with each engine, on split and on packed rings. What happens while
 * requests are in flight is in virtio-blk-life.c, hostile requests in virtio-blk-hostile.c.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../libvmmcore/examples/ramdisk.h"
#include "base/util.h"
#include "virtio-blk-fixture.h"
#include "virtio-blk-life.h"

START_TEST(reads_and_writes)
{
	static const uint32_t sizes[] = { 512, 4096, 65536, 1 << 20 };
	struct vmm_virtio_blk_status status;

	start_variant(_i);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint8_t *data = driver_pointer(&driver, DATA, sizes[i]);
		uint64_t sector = 3 + i * 11;

		memset(data, 0, sizes[i]);
		ck_assert_int_eq(blk_read(&driver, sector, DATA, sizes[i]), BLK_OK);
		check_disk(sector * 512, sizes[i], data);
		for (uint32_t j = 0; j < sizes[i]; j++)
			data[j] = (uint8_t)(j / 512 + i);
		ck_assert_int_eq(blk_write(&driver, sector, DATA, sizes[i]), BLK_OK);
		check_disk(sector * 512, sizes[i], data);
		ck_assert_int_eq(blk_read(&driver, sector, DATA2, sizes[i]), BLK_OK);
		ck_assert_mem_eq(driver.ram + DATA2, data, sizes[i]);
	}
	ck_assert_int_eq(blk_do(&driver, BLK_FLUSH, 0, NULL, 0, NULL), BLK_OK);
	vmm_virtio_blk_get_status(blk, &status);
	ck_assert_str_eq(status.engine, variants[_i].engine);
	ck_assert_uint_eq(status.n_reads, 8);
	ck_assert_uint_eq(status.n_writes, 4);
	ck_assert_uint_eq(status.n_flushes, 1);
	ck_assert_uint_eq(status.written_bytes, 512 + 4096 + 65536 + (1 << 20));
	ck_assert_uint_eq(status.n_failed, 0);
	ck_assert_uint_eq(status.capacity_bytes, DISK_BYTES);
	teardown();
}
END_TEST

/* Header, data and status are the driver's to cut as it likes (VIRTIO 1.2, 2.7.4). */
START_TEST(scatter_gather_of_any_shape)
{
	static const uint32_t cuts[] = { 1, 3, 512, 509, 4095, 17, 1000 };

	start_variant(_i);
	for (int indirect = 0; indirect < 2; indirect++) {
		for (uint64_t base = 0; base < 2; base++) {
			/* The second time across the two regions of memory. */
			uint64_t gpa = base ? DRIVER_RAM_BYTES - 5000 : DATA;
			uint64_t at = gpa;
			struct vring_buffer data[60];
			uint32_t total = 0, n = 0;

			while (total < 16384) {
				uint32_t cut = MIN(cuts[n % ARRAY_SIZE(cuts)], 16384 - total);

				data[n++] = (struct vring_buffer){ at, cut, true };
				total += cut;
				at += cut;
			}
			ck_assert_uint_lt(n, ARRAY_SIZE(data));
			blk_start(&driver, 0, 0, BLK_IN, 77, data, n, indirect);
			ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
			ck_assert_int_eq(*blk_status(&driver, 0), BLK_OK);
			for (uint32_t i = 0; i < 16384; i++) {
				uint8_t *byte = driver_pointer(&driver, gpa + i, 1);

				ck_assert_int_eq(*byte, pattern(77 * 512 + i));
				*byte = (uint8_t)(i * 3 + base);
			}
			for (uint32_t i = 0; i < n; i++)
				data[i].write = false;
			blk_start(&driver, 0, 0, BLK_OUT, 77, data, n, indirect);
			ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
			ck_assert_int_eq(*blk_status(&driver, 0), BLK_OK);
			for (uint32_t i = 0; i < 16384; i += 4096) {
				uint8_t expected[4096];

				for (uint32_t j = 0; j < 4096; j++)
					expected[j] = (uint8_t)((i + j) * 3 + base);
				check_disk(77 * 512 + i, 4096, expected);
			}
			for (uint64_t i = 0; i < 16384; i++) {
				uint8_t byte = pattern(77 * 512 + i);

				ck_assert_int_eq(
					pwrite(disk_fd, &byte, 1, (off_t)(77 * 512 + i)), 1);
			}
		}
	}
	teardown();
}
END_TEST

/* The last writable byte is the status, wherever the data before it ends. */
START_TEST(status_may_share_a_descriptor_with_data)
{
	struct blk_header header = { .type = BLK_IN, .sector = 9 };
	struct vring_buffer buffers[3] = {
		{ DATA, 7, false },
		{ DATA + 7, 9, false },
		{ DATA2, 513, true },
	};
	uint32_t len;

	start_variant(_i);
	memcpy(driver.ram + DATA, &header, sizeof(header));
	driver.ram[DATA2 + 512] = BLK_NO_STATUS;
	driver_add(&driver, 0, buffers, 3, 0);
	ck_assert(driver_wait_used(&driver, 0, NULL, &len));
	ck_assert_uint_eq(len, 513);
	ck_assert_int_eq(driver.ram[DATA2 + 512], BLK_OK);
	for (uint32_t i = 0; i < 512; i++)
		ck_assert_int_eq(driver.ram[DATA2 + i], pattern(9 * 512 + i));
	teardown();
}
END_TEST

START_TEST(many_requests_in_flight)
{
	uint32_t id, len;

	start_variant(_i);
	for (int round = 0; round < 50; round++) {
		for (unsigned int i = 0; i < 16; i++) {
			struct vring_buffer data = { DATA + i * 4096, 4096, true };

			memset(driver.ram + data.gpa, 0, 4096);
			blk_start(&driver, 0, i, BLK_IN, (round * 16 + i) % 1000 * 8, &data, 1,
				false);
		}
		for (unsigned int i = 0; i < 16; i++) {
			ck_assert(driver_wait_used(&driver, 0, &id, &len));
			ck_assert_uint_eq(len, 4097);
		}
		for (unsigned int i = 0; i < 16; i++) {
			uint64_t offset = (round * 16 + i) % 1000 * 4096;

			ck_assert_int_eq(*blk_status(&driver, i), BLK_OK);
			for (uint32_t j = 0; j < 4096; j += 101)
				ck_assert_int_eq(
					driver.ram[DATA + i * 4096 + j], pattern(offset + j));
		}
	}
	teardown();
}
END_TEST

START_TEST(id_is_the_serial)
{
	struct vring_buffer data = { DATA, 20, true };
	uint32_t len;

	start_variant(_i);
	ck_assert_int_eq(blk_do(&driver, BLK_GET_ID, 0, &data, 1, &len), BLK_OK);
	ck_assert_uint_eq(len, 21);
	ck_assert_mem_eq(driver.ram + DATA, "abcdefghijklmnopqrst", 20);
	memset(driver.ram + DATA, 'x', 20);
	data.len = 5;
	ck_assert_int_eq(blk_do(&driver, BLK_GET_ID, 0, &data, 1, &len), BLK_OK);
	ck_assert_mem_eq(driver.ram + DATA, "abcdexxx", 8);
	teardown();
}
END_TEST

START_TEST(discard_and_write_zeroes)
{
	static const struct blk_range ranges[] = { { 16, 8, 0 }, { 64, 200, 0 }, { 800, 0, 0 } };
	static const struct blk_range unmap[] = { { 1024, 1111, 1 }, { 4096, 1, 1 } };

	start_variant(_i);
	ck_assert_int_eq(blk_ranges(&driver, BLK_WRITE_ZEROES, ranges, 3), BLK_OK);
	check_disk_is(0, 16 * 512, false);
	check_disk_is(16 * 512, 8 * 512, true);
	check_disk_is(24 * 512, 40 * 512, false);
	check_disk_is(64 * 512, 200 * 512, true);
	check_disk_is(264 * 512, 760 * 512, false);
	ck_assert_int_eq(blk_ranges(&driver, BLK_WRITE_ZEROES, unmap, 2), BLK_OK);
	check_disk_is(1024 * 512, 1111 * 512, true);
	check_disk_is(2135 * 512, 1961 * 512, false);
	check_disk_is(4096 * 512, 512, true);
	check_disk_is(4097 * 512, 512, false);
	/* What is discarded may read as anything: here the file gets a hole. */
	ck_assert_int_eq(
		blk_ranges(&driver, BLK_DISCARD, &(struct blk_range){ 5000, 80, 0 }, 1), BLK_OK);
	check_disk_is(4999 * 512, 512, false);
	check_disk_is(5000 * 512, 80 * 512, true);
	check_disk_is(5080 * 512, 512, false);
	teardown();
}
END_TEST

START_TEST(configuration_space)
{
	struct vmm_virtio_blk_config config = {
		.n_queues = 4,
		.n_threads = 2,
		.queue_size = 128,
	};
	struct vmm_blk_file_config file_config = { 0 };
	uint64_t capacity;
	uint32_t value;
	uint16_t half;

	disk_fd = make_disk(false, DISK_BYTES);
	start_with(&file_config, &config, UINT64_MAX);
	driver_config_read(&driver, 0, &capacity, 8);
	ck_assert_uint_eq(capacity, DISK_SECTORS);
	driver_config_read(&driver, 12, &value, 4);
	ck_assert_uint_eq(value, 126);
	driver_config_read(&driver, 20, &value, 4);
	ck_assert_uint_eq(value, 512);
	driver_config_read(&driver, 34, &half, 2);
	ck_assert_uint_eq(half, 4);
	driver_config_read(&driver, 40, &value, 4);
	ck_assert_uint_eq(value, 32);
	/* VIRTIO_BLK_F_: SEG_MAX, BLK_SIZE, FLUSH, TOPOLOGY, WCE, MQ, DISCARD, WRITE_ZEROES. */
	ck_assert_uint_eq(driver.features & 0xffffff, 0x7e44);
	teardown();
}
END_TEST

START_TEST(larger_blocks_and_no_discard)
{
	struct vmm_virtio_blk_config config = { .logical_block_bytes = 4096, .no_discard = true };
	struct vmm_blk_file_config file_config = { 0 };
	uint32_t value;

	disk_fd = make_disk(false, DISK_BYTES);
	start_with(&file_config, &config, UINT64_MAX);
	driver_config_read(&driver, 20, &value, 4);
	ck_assert_uint_eq(value, 4096);
	/* VIRTIO_BLK_F_: SEG_MAX, BLK_SIZE, FLUSH, TOPOLOGY, WCE. */
	ck_assert_uint_eq(driver.features & 0xffffff, 0xe44);
	/* A file that no longer is whole blocks is not taken anew. */
	ck_assert_int_eq(ftruncate(disk_fd, DISK_BYTES + 512), 0);
	ck_assert_int_eq(vmm_virtio_blk_resize(blk), -EDOM);
	ck_assert_int_eq(ftruncate(disk_fd, DISK_BYTES + 4096), 0);
	ck_assert_int_ge(vmm_virtio_blk_resize(blk), 0);
	config.mem = driver.mem;
	config.backend = vmm_blk_file_backend(file);
	config.logical_block_bytes = 1024;
	ck_assert_int_eq(vmm_virtio_blk_new(&config, &(struct vmm_virtio_blk *){ NULL }), -EINVAL);
	teardown();
}
END_TEST

START_TEST(read_only_disk)
{
	struct vmm_virtio_blk_config config = { .read_only = _i == 0 };
	struct vmm_blk_file_config file_config = { .read_only = _i == 1 };
	struct blk_range range = { 0, 8, 0 };

	disk_fd = make_disk(false, DISK_BYTES);
	start_with(&file_config, &config, UINT64_MAX);
	ck_assert(driver.features & (1 << 5));
	ck_assert_uint_eq(driver.features & (3 << 13), 0);
	ck_assert_int_eq(blk_read(&driver, 0, DATA, 4096), BLK_OK);
	ck_assert_int_eq(blk_write(&driver, 0, DATA, 4096), BLK_IOERR);
	ck_assert_int_eq(blk_ranges(&driver, BLK_DISCARD, &range, 1), BLK_UNSUPP);
	ck_assert_int_eq(blk_ranges(&driver, BLK_WRITE_ZEROES, &range, 1), BLK_UNSUPP);
	check_disk_is(0, DISK_BYTES, false);
	teardown();
}
END_TEST

START_TEST(resize_tells_the_driver)
{
	uint32_t status;
	uint64_t capacity;

	start_variant(0);
	while (driver_wait_interrupt(&driver, 0, NULL))
		;
	ck_assert_int_eq(vmm_virtio_blk_resize(blk), 0);
	ck_assert(!driver_wait_interrupt(&driver, 20, NULL));
	ck_assert_int_eq(ftruncate(disk_fd, DISK_BYTES * 2), 0);
	ck_assert_int_eq(blk_read(&driver, DISK_SECTORS, DATA, 512), BLK_IOERR);
	while (driver_wait_interrupt(&driver, 0, NULL))
		;
	ck_assert_int_eq(vmm_virtio_blk_resize(blk), 0);
	ck_assert(driver_wait_interrupt(&driver, 1000, &status));
	ck_assert(status & 2);
	driver_config_read(&driver, 0, &capacity, 8);
	ck_assert_uint_eq(capacity, DISK_SECTORS * 2);
	ck_assert_int_eq(blk_read(&driver, DISK_SECTORS, DATA, 512), BLK_OK);
	ck_assert_int_eq(ftruncate(disk_fd, DISK_BYTES + 1), 0);
	ck_assert_int_eq(vmm_virtio_blk_resize(blk), -EDOM);
	driver_config_read(&driver, 0, &capacity, 8);
	ck_assert_uint_eq(capacity, DISK_SECTORS * 2);
	teardown();
}
END_TEST

START_TEST(direct_io_of_any_alignment)
{
	struct vmm_virtio_blk_config config = { 0 };
	struct vmm_blk_file_config file_config = {
		.engine = _i ? VMM_BLK_ENGINE_THREADS : VMM_BLK_ENGINE_AUTO,
	};
	static const uint64_t shifts[] = { 0, 512, 1, 100 };
	unsigned int n_wrong = 0;

	disk_fd = make_disk(true, DISK_BYTES);
	if (fcntl(disk_fd, F_SETFL, O_DIRECT) < 0)
		exit(77);
	start_with(&file_config, &config, UINT64_MAX & ~VMM_VIRTIO_F_RING_PACKED);
	for (size_t i = 0; i < ARRAY_SIZE(shifts); i++) {
		uint8_t *data = driver_pointer(&driver, DATA + shifts[i], 262144);

		ck_assert_int_eq(blk_read(&driver, 64, DATA + shifts[i], 262144), BLK_OK);
		for (uint32_t j = 0; j < 262144; j++) {
			n_wrong += data[j] != (uint8_t)(pattern(64 * 512 + j) + i);
			data[j]++;
		}
		ck_assert_uint_eq(n_wrong, 0);
		ck_assert_int_eq(blk_write(&driver, 64, DATA + shifts[i], 262144), BLK_OK);
	}
	teardown();
}
END_TEST

START_TEST(files_that_are_no_disks)
{
	struct vmm_blk_file_config config = { .fd = -1 };
	int pipe_fds[2];

	ck_assert_int_eq(vmm_blk_file_new(&config, &file), -EBADF);
	config.fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	config.read_only = true;
	ck_assert_int_eq(vmm_blk_file_new(&config, &file), -EISDIR);
	close(config.fd);
	config.fd = open("/tmp", O_PATH | O_CLOEXEC);
	ck_assert_int_eq(vmm_blk_file_new(&config, &file), -EBADF);
	close(config.fd);
	config.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(vmm_blk_file_new(&config, &file), -ENOTBLK);
	close(config.fd);
	ck_assert_int_eq(pipe(pipe_fds), 0);
	config.fd = pipe_fds[0];
	ck_assert_int_eq(vmm_blk_file_new(&config, &file), -ENOTBLK);
	close(pipe_fds[0]);
	close(pipe_fds[1]);

	config.read_only = false;
	config.fd = memfd_create("disk", MFD_CLOEXEC);
	ck_assert_int_eq(vmm_blk_file_new(&config, &file), -ENODATA);
	ck_assert_int_eq(ftruncate(config.fd, 513), 0);
	ck_assert_int_eq(vmm_blk_file_new(&config, &file), -EDOM);
	ck_assert_int_eq(ftruncate(config.fd, 1024), 0);
	config.n_workers = 1000;
	ck_assert_int_eq(vmm_blk_file_new(&config, &file), -EINVAL);
	config.n_workers = 0;
	ck_assert_int_eq(vmm_blk_file_new(&config, &file), 0);
	file = vmm_blk_file_free(file);
	close(config.fd);

	config.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(vmm_blk_file_new(&config, &file), -EROFS);
	close(config.fd);
}
END_TEST

/* The host refuses io_uring, as many do: threads do the work, and status says so. */
START_TEST(without_io_uring_threads_do_the_work)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(filter), .filter = filter };
	struct vmm_blk_file_config file_config = {
		.engine = _i ? VMM_BLK_ENGINE_IO_URING : VMM_BLK_ENGINE_AUTO,
		.no_inline = true,
	};
	struct vmm_virtio_blk_config config = { .n_queues = 2, .n_threads = 2 };
	struct vmm_virtio_blk_status status;

	/* Each test is a process of its own. */
	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
	disk_fd = make_disk(false, DISK_BYTES);
	start_with(&file_config, &config, UINT64_MAX);
	vmm_virtio_blk_get_status(blk, &status);
	ck_assert_str_eq(status.engine, "threads");
	memset(driver.ram + DATA, 0x33, 4096);
	ck_assert_int_eq(blk_write(&driver, 8, DATA, 4096), BLK_OK);
	ck_assert_int_eq(blk_read(&driver, 8, DATA2, 4096), BLK_OK);
	ck_assert_mem_eq(driver.ram + DATA2, driver.ram + DATA, 4096);
	teardown();
}
END_TEST

/* The example of a back end of one's own, as it stands in libvmmcore/examples. */
START_TEST(ramdisk_example)
{
	struct vmm_virtio_blk_config config = { 0 };
	struct blk_range range = { 8, 16, 0 };
	struct ramdisk *disk;

	driver_init(&driver);
	ck_assert_int_eq(ramdisk_new(DISK_BYTES, &disk), 0);
	config.mem = driver.mem;
	config.backend = ramdisk_backend(disk);
	ck_assert_int_eq(vmm_virtio_blk_new(&config, &blk), 0);
	driver_attach(&driver, vmm_virtio_blk_device(blk));
	ck_assert(driver_start(&driver, UINT64_MAX, 1, 64));

	memset(driver.ram + DATA, 0x5a, 65536);
	ck_assert_int_eq(blk_write(&driver, 0, DATA, 65536), BLK_OK);
	ck_assert_int_eq(blk_ranges(&driver, BLK_WRITE_ZEROES, &range, 1), BLK_OK);
	ck_assert_int_eq(blk_do(&driver, BLK_FLUSH, 0, NULL, 0, NULL), BLK_OK);
	ck_assert_int_eq(blk_read(&driver, 0, DATA2, 65536), BLK_OK);
	for (uint32_t i = 0; i < 65536; i++)
		ck_assert_int_eq(driver.ram[DATA2 + i], i / 512 >= 8 && i / 512 < 24 ? 0 : 0x5a);
	ck_assert_int_eq(blk_read(&driver, DISK_SECTORS - 1, DATA, 1024), BLK_IOERR);

	driver_detach(&driver);
	blk = vmm_virtio_blk_free(blk);
	ramdisk_free(disk);
	driver_finish(&driver);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio-blk");
	TCase *tcase = unit_case(suite, "virtio-blk");

	tcase_add_loop_test(tcase, reads_and_writes, 0, N_VARIANTS);
	tcase_add_loop_test(tcase, scatter_gather_of_any_shape, 0, N_VARIANTS);
	tcase_add_loop_test(tcase, status_may_share_a_descriptor_with_data, 0, N_VARIANTS);
	tcase_add_loop_test(tcase, many_requests_in_flight, 0, N_VARIANTS);
	tcase_add_loop_test(tcase, id_is_the_serial, 0, N_VARIANTS);
	tcase_add_loop_test(tcase, discard_and_write_zeroes, 0, N_VARIANTS);
	add_hostile_tests(tcase);
	tcase_add_test(tcase, configuration_space);
	tcase_add_test(tcase, larger_blocks_and_no_discard);
	tcase_add_loop_test(tcase, read_only_disk, 0, 2);
	tcase_add_test(tcase, resize_tells_the_driver);
	tcase_add_loop_test(tcase, direct_io_of_any_alignment, 0, 2);
	tcase_add_test(tcase, files_that_are_no_disks);
	if (!getenv("CK_FORK") || strcmp(getenv("CK_FORK"), "no") != 0)
		tcase_add_loop_test(tcase, without_io_uring_threads_do_the_work, 0, 2);
	tcase_add_test(tcase, ramdisk_example);
	add_life_tests(unit_case(suite, "life"));
	return unit_run(suite);
}

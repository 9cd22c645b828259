/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of virtio-blk over files share. */
#include "virtio-blk-fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"

struct driver driver;
struct vmm_blk_file *file;
struct vmm_virtio_blk *blk;
int disk_fd = -1;

const struct variant variants[N_VARIANTS] = {
	{ .engine = "io_uring" },
	{ .engine = "io_uring", .file = { .no_inline = true }, .on_disk = true },
	{ .engine = "threads",
		.file = { .no_inline = true, .engine = VMM_BLK_ENGINE_THREADS },
		.features = VMM_VIRTIO_F_RING_PACKED },
	{ .engine = "threads",
		.file = { .engine = VMM_BLK_ENGINE_THREADS, .n_workers = 1 },
		.features = VMM_VIRTIO_F_EVENT_IDX,
		.on_disk = true },
	{ .engine = "io_uring",
		.file = { .engine = VMM_BLK_ENGINE_IO_URING, .no_inline = true },
		.features = VMM_VIRTIO_F_RING_PACKED | VMM_VIRTIO_F_EVENT_IDX },
};

uint8_t pattern(uint64_t offset)
{
	return (uint8_t)(offset * 31 + offset / 512 * 7 + offset / 65536);
}

int make_disk(bool on_disk, uint64_t size)
{
	int fd;

	if (on_disk) {
		FILE *temporary = tmpfile();

		ck_assert_ptr_nonnull(temporary);
		fd = dup(fileno(temporary));
		fclose(temporary);
	} else {
		fd = memfd_create("disk", MFD_CLOEXEC);
	}
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	for (uint64_t at = 0; at < size; at += 65536) {
		uint8_t bytes[65536];
		size_t n = MIN(size - at, (uint64_t)sizeof(bytes));

		for (size_t i = 0; i < n; i++)
			bytes[i] = pattern(at + i);
		ck_assert_int_eq(pwrite(fd, bytes, n, (off_t)at), (ssize_t)n);
	}
	return fd;
}

void start_with(const struct vmm_blk_file_config *file_config,
	const struct vmm_virtio_blk_config *blk_config, uint64_t features)
{
	struct vmm_blk_file_config with_fd = *file_config;
	struct vmm_virtio_blk_config with_mem = *blk_config;

	driver_init(&driver);
	with_fd.fd = disk_fd;
	ck_assert_int_eq(vmm_blk_file_new(&with_fd, &file), 0);
	with_mem.mem = driver.mem;
	with_mem.backend = vmm_blk_file_backend(file);
	ck_assert_int_eq(vmm_virtio_blk_new(&with_mem, &blk), 0);
	driver_attach(&driver, vmm_virtio_blk_device(blk));
	ck_assert(driver_start(
		&driver, features, MAX(blk_config->n_queues, 1u), blk_config->queue_size ?: 64));
}

void start_variant(int i)
{
	struct vmm_virtio_blk_config config = { .serial = "abcdefghijklmnopqrst" };

	disk_fd = make_disk(variants[i].on_disk, DISK_BYTES);
	start_with(&variants[i].file, &config,
		variants[i].features | UINT64_C(0xffffff) | VMM_VIRTIO_F_INDIRECT_DESC);
}

void teardown(void)
{
	driver_detach(&driver);
	blk = vmm_virtio_blk_free(blk);
	file = vmm_blk_file_free(file);
	driver_finish(&driver);
	disk_fd = vmm_base_close(disk_fd);
}

void check_disk(uint64_t offset, uint64_t size, const uint8_t *expected)
{
	uint8_t *bytes = malloc(size);

	ck_assert_int_eq(pread(disk_fd, bytes, size, (off_t)offset), (ssize_t)size);
	ck_assert_mem_eq(bytes, expected, size);
	free(bytes);
}

void check_disk_is(uint64_t offset, uint64_t size, bool zero)
{
	uint8_t *expected = calloc(1, size);

	for (uint64_t i = 0; !zero && i < size; i++)
		expected[i] = pattern(offset + i);
	check_disk(offset, size, expected);
	free(expected);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmmcore/mem.h>

#include "base/util.h"
#include "unit.h"

#define PAGE UINT64_C(4096)

/* Two adjacent regions, a hole, and a read-only one. */
#define LOW_GPA UINT64_C(0x10000)
#define NEXT_GPA UINT64_C(0x14000)
#define ROM_GPA UINT64_C(0x20000)

static struct vmm_mem *mem;

static void add(uint64_t gpa, uint64_t size, enum vmm_mem_backing backing, bool read_only)
{
	struct vmm_mem_config config = {
		.gpa = gpa,
		.size_bytes = size,
		.backing = backing,
		.read_only = read_only,
	};

	ck_assert_int_eq(vmm_mem_add(mem, &config), 0);
}

static void setup(void)
{
	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	add(NEXT_GPA, 2 * PAGE, VMM_MEM_ANONYMOUS, false);
	add(LOW_GPA, 4 * PAGE, VMM_MEM_MEMFD, false);
	add(ROM_GPA, PAGE, VMM_MEM_MEMFD, true);
}

static void teardown(void)
{
	mem = vmm_mem_free(mem);
}

static const struct {
	uint64_t gpa, length;
	bool writing;
	int result;
} ranges[] = {
	{ LOW_GPA, 0, true, 0 },
	{ UINT64_MAX, 0, true, 0 },
	{ 0, 0, false, 0 },
	{ LOW_GPA, 1, true, 0 },
	{ LOW_GPA, 4 * PAGE, true, 0 },
	{ LOW_GPA, 6 * PAGE, true, 0 },
	{ LOW_GPA, 6 * PAGE + 1, true, -VMM_EGUEST },
	{ LOW_GPA - 1, 1, false, -VMM_EGUEST },
	{ LOW_GPA - 1, 2, false, -VMM_EGUEST },
	{ NEXT_GPA + 2 * PAGE, 1, false, -VMM_EGUEST },
	{ NEXT_GPA + 2 * PAGE - 1, 1, false, 0 },
	{ NEXT_GPA + 2 * PAGE - 1, 2, false, -VMM_EGUEST },
	{ LOW_GPA, UINT64_MAX, false, -VMM_EGUEST },
	{ LOW_GPA, UINT64_MAX - LOW_GPA, false, -VMM_EGUEST },
	{ LOW_GPA, UINT64_MAX - LOW_GPA + 1, false, -VMM_EGUEST },
	{ UINT64_MAX, 1, false, -VMM_EGUEST },
	{ UINT64_MAX - 3, 8, false, -VMM_EGUEST },
	{ ROM_GPA, PAGE, false, 0 },
	{ ROM_GPA, 1, true, -VMM_EGUEST },
	{ ROM_GPA - 1, 2, false, -VMM_EGUEST },
	{ ROM_GPA + PAGE, 1, false, -VMM_EGUEST },
};

START_TEST(hostile_ranges)
{
	struct iovec iov[8];
	int r;

	r = vmm_mem_check(mem, ranges[_i].gpa, ranges[_i].length, ranges[_i].writing);
	ck_assert_int_eq(r, ranges[_i].result);
	r = vmm_mem_iovec(mem, ranges[_i].gpa, ranges[_i].length, ranges[_i].writing, iov, 8);
	ck_assert_int_eq(r < 0 ? r : 0, ranges[_i].result);
	if (ranges[_i].result < 0) {
		char byte = 1;

		if (ranges[_i].writing)
			ck_assert_int_eq(vmm_mem_fill(mem, ranges[_i].gpa, 0xff, ranges[_i].length),
				-VMM_EGUEST);
		else
			ck_assert_int_eq(
				vmm_mem_read(mem, ranges[_i].gpa, &byte, ranges[_i].length),
				-VMM_EGUEST);
		ck_assert_ptr_null(vmm_mem_pointer(
			mem, ranges[_i].gpa, ranges[_i].length, 1, ranges[_i].writing));
	}
}
END_TEST

START_TEST(copies_cross_regions)
{
	uint8_t out[64], in[64];

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)i;
	ck_assert_int_eq(vmm_mem_write(mem, NEXT_GPA - 20, out, sizeof(out)), 0);
	ck_assert_int_eq(vmm_mem_read(mem, NEXT_GPA - 20, in, sizeof(in)), 0);
	ck_assert_mem_eq(in, out, sizeof(in));
	ck_assert_int_eq(vmm_mem_fill(mem, NEXT_GPA - 20, 7, 40), 0);
	ck_assert_int_eq(vmm_mem_read(mem, NEXT_GPA - 20, in, sizeof(in)), 0);
	ck_assert_int_eq(in[0], 7);
	ck_assert_int_eq(in[39], 7);
	ck_assert_int_eq(in[40], 40);
}
END_TEST

START_TEST(failed_write_writes_nothing)
{
	uint8_t out[2 * PAGE], in = 0xaa;

	memset(out, 0x55, sizeof(out));
	ck_assert_int_eq(vmm_mem_write(mem, NEXT_GPA + PAGE, out, sizeof(out)), -VMM_EGUEST);
	ck_assert_int_eq(vmm_mem_read(mem, NEXT_GPA + PAGE, &in, 1), 0);
	ck_assert_int_eq(in, 0);
}
END_TEST

START_TEST(words_at_each_alignment)
{
	for (uint64_t offset = 0; offset < 8; offset++) {
		uint64_t out = UINT64_C(0x1122334455667788) + offset, in = 0;

		for (size_t length = 1; length <= 8; length++) {
			in = 0;
			ck_assert_int_eq(vmm_mem_write(mem, LOW_GPA + offset, &out, length), 0);
			ck_assert_int_eq(vmm_mem_read(mem, LOW_GPA + offset, &in, length), 0);
			ck_assert_int_eq(memcmp(&in, &out, length), 0);
		}
	}
}
END_TEST

/* With a byte on each side that stays, at each alignment, in one region and across two. */
START_TEST(copies_of_each_length)
{
	uint8_t data[132], back[134], expected[134];

	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i + 1);
	for (size_t length = 0; length <= sizeof(data); length++) {
		for (uint64_t gpa = NEXT_GPA - 80; gpa < NEXT_GPA + 16; gpa++) {
			ck_assert_int_eq(vmm_mem_fill(mem, gpa - 1, 0xee, length + 2), 0);
			ck_assert_int_eq(vmm_mem_write(mem, gpa, data, length), 0);
			memset(expected, 0xee, length + 2);
			memcpy(expected + 1, data, length);
			ck_assert_int_eq(vmm_mem_read(mem, gpa - 1, back, length + 2), 0);
			ck_assert_mem_eq(back, expected, length + 2);
			memset(back, 0xdd, sizeof(back));
			ck_assert_int_eq(vmm_mem_read(mem, gpa, back + 1, length), 0);
			ck_assert_mem_eq(back + 1, data, length);
			ck_assert_uint_eq(back[0], 0xdd);
			ck_assert_uint_eq(back[length + 1], 0xdd);
		}
	}
}
END_TEST

START_TEST(iovec_splits_and_joins)
{
	struct iovec iov[2];
	struct vmm_mem_region low;

	ck_assert_int_eq(vmm_mem_iovec(mem, LOW_GPA, 6 * PAGE, true, iov, 2), 2);
	ck_assert_uint_eq(iov[0].iov_len + iov[1].iov_len, 6 * PAGE);
	ck_assert_int_eq(vmm_mem_iovec(mem, LOW_GPA, 6 * PAGE, true, iov, 1), -ENOBUFS);
	ck_assert_int_eq(vmm_mem_iovec(mem, LOW_GPA, 7 * PAGE, true, iov, 1), -VMM_EGUEST);
	ck_assert_int_eq(vmm_mem_iovec(mem, LOW_GPA, 0, true, iov, 0), 0);
	ck_assert_int_eq(vmm_mem_get_region(mem, 0, &low), 0);
	ck_assert_int_eq(vmm_mem_iovec(mem, LOW_GPA + 5, 10, true, iov, 1), 1);
	ck_assert_ptr_eq(iov[0].iov_base, (uint8_t *)low.host + 5);
}
END_TEST

START_TEST(pointers_stay_in_one_region)
{
	struct vmm_mem_region low;

	ck_assert_int_eq(vmm_mem_get_region(mem, 0, &low), 0);
	ck_assert_ptr_eq(
		vmm_mem_pointer(mem, LOW_GPA + 16, 16, 16, true), (uint8_t *)low.host + 16);
	ck_assert_ptr_null(vmm_mem_pointer(mem, LOW_GPA + 8, 16, 16, true));
	ck_assert_ptr_null(vmm_mem_pointer(mem, NEXT_GPA - 8, 16, 8, true));
	ck_assert_int_eq(vmm_mem_find_region(mem, LOW_GPA, &low), 0);
	ck_assert_uint_eq(low.gpa, LOW_GPA);
	ck_assert_int_eq(vmm_mem_find_region(mem, LOW_GPA + PAGE, &low), -ENOENT);
	ck_assert_ptr_null(vmm_mem_pointer(mem, ROM_GPA, 16, 8, true));
	ck_assert_ptr_nonnull(vmm_mem_pointer(mem, ROM_GPA, 16, 8, false));
}
END_TEST

static const struct {
	struct vmm_mem_config config;
	int result;
} configs[] = {
	{ { .gpa = 0, .size_bytes = 0 }, -EINVAL },
	{ { .gpa = 0, .size_bytes = PAGE - 1 }, -EINVAL },
	{ { .gpa = 1, .size_bytes = PAGE }, -EINVAL },
	{ { .gpa = 0, .size_bytes = UINT64_C(1) << 63 }, -EINVAL },
	{ { .gpa = UINT64_MAX - PAGE + 1, .size_bytes = PAGE }, -EINVAL },
	{ { .gpa = UINT64_MAX - 2 * PAGE + 1, .size_bytes = 2 * PAGE }, -EINVAL },
	{ { .gpa = 0, .size_bytes = PAGE, .huge_page_bytes = 8192 }, -EINVAL },
	{ { .gpa = 0, .size_bytes = PAGE, .huge_page_bytes = 2 << 20 }, -EINVAL },
	{ { .gpa = 0, .size_bytes = PAGE, .fd_offset = PAGE }, -EINVAL },
	{ { .gpa = 0, .size_bytes = PAGE, .backing = (enum vmm_mem_backing)7 }, -EINVAL },
	{ { .gpa = 0, .size_bytes = PAGE, .backing = VMM_MEM_FILE, .fd = -1 }, -EBADF },
	{ { .gpa = LOW_GPA, .size_bytes = PAGE }, -EEXIST },
	{ { .gpa = LOW_GPA - PAGE, .size_bytes = 2 * PAGE }, -EEXIST },
	{ { .gpa = LOW_GPA + PAGE, .size_bytes = PAGE }, -EEXIST },
	{ { .gpa = 0, .size_bytes = 64 * PAGE }, -EEXIST },
	{ { .gpa = LOW_GPA - PAGE, .size_bytes = PAGE }, 0 },
	{ { .gpa = ROM_GPA + PAGE, .size_bytes = PAGE }, 0 },
};

START_TEST(hostile_configs)
{
	size_t before = vmm_mem_n_regions(mem);

	ck_assert_int_eq(vmm_mem_add(mem, &configs[_i].config), configs[_i].result);
	ck_assert_uint_eq(vmm_mem_n_regions(mem), before + (configs[_i].result == 0));
}
END_TEST

START_TEST(table_is_bounded)
{
	struct vmm_mem_config config = { .size_bytes = PAGE };

	for (size_t i = vmm_mem_n_regions(mem); i < VMM_MEM_MAX_REGIONS; i++) {
		config.gpa = UINT64_C(0x100000) + i * 2 * PAGE;
		ck_assert_int_eq(vmm_mem_add(mem, &config), 0);
	}
	config.gpa = UINT64_C(0x10000000);
	ck_assert_int_eq(vmm_mem_add(mem, &config), -ENOSPC);
	ck_assert_int_eq(vmm_mem_remove(mem, ROM_GPA), 0);
	ck_assert_int_eq(vmm_mem_remove(mem, ROM_GPA), -ENOENT);
	ck_assert_int_eq(vmm_mem_add(mem, &config), 0);
}
END_TEST

START_TEST(files_back_regions)
{
	CLEANUP(close_p) int fd = memfd_create("file", MFD_CLOEXEC);
	struct vmm_mem_config config = {
		.gpa = UINT64_C(0x100000),
		.size_bytes = 2 * PAGE,
		.backing = VMM_MEM_FILE,
		.fd = fd,
		.fd_offset = PAGE,
	};
	char text[6] = "";

	ck_assert_int_eq(ftruncate(fd, 3 * PAGE - 1), 0);
	ck_assert_int_eq(vmm_mem_add(mem, &config), -EINVAL);
	ck_assert_int_eq(ftruncate(fd, 3 * PAGE), 0);
	ck_assert_int_eq(vmm_mem_add(mem, &config), 0);
	ck_assert_int_eq(vmm_mem_write(mem, config.gpa, "hello", 6), 0);
	ck_assert_int_eq(vmm_base_pread_full(fd, text, 6, PAGE), 0);
	ck_assert_str_eq(text, "hello");
	config.gpa = UINT64_C(0x200000);
	config.fd_offset = UINT64_MAX - PAGE + 1;
	ck_assert_int_eq(vmm_mem_add(mem, &config), -EINVAL);
}
END_TEST

START_TEST(memfd_keeps_its_size)
{
	struct vmm_mem_region low;

	ck_assert_int_eq(vmm_mem_get_region(mem, 0, &low), 0);
	ck_assert_int_lt(ftruncate(low.fd, 0), 0);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(fcntl(low.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}
END_TEST

START_TEST(host_and_guest_agree_modulo_2m)
{
	struct vmm_mem_region region;

	add(UINT64_C(0x40001000), UINT64_C(8) << 20, VMM_MEM_MEMFD, false);
	ck_assert_int_eq(vmm_mem_get_region(mem, vmm_mem_n_regions(mem) - 1, &region), 0);
	ck_assert_uint_eq((uintptr_t)region.host % (2 << 20), region.gpa % (2 << 20));
}
END_TEST

START_TEST(discard_gives_pages_back)
{
	struct vmm_mem_region low;
	struct stat st;
	uint8_t byte = 1;

	ck_assert_int_eq(vmm_mem_fill(mem, LOW_GPA, 0x11, 6 * PAGE), 0);
	ck_assert_int_eq(vmm_mem_get_region(mem, 0, &low), 0);
	ck_assert_int_eq(fstat(low.fd, &st), 0);
	ck_assert_int_eq(st.st_blocks, 4 * 8);
	/* Half pages at both ends stay. */
	ck_assert_int_eq(vmm_mem_discard(mem, LOW_GPA + 100, 5 * PAGE), 0);
	ck_assert_int_eq(fstat(low.fd, &st), 0);
	ck_assert_int_eq(st.st_blocks, 1 * 8);
	ck_assert_int_eq(vmm_mem_read(mem, LOW_GPA + PAGE - 1, &byte, 1), 0);
	ck_assert_int_eq(byte, 0x11);
	ck_assert_int_eq(vmm_mem_read(mem, LOW_GPA + PAGE, &byte, 1), 0);
	ck_assert_int_eq(byte, 0);
	ck_assert_int_eq(vmm_mem_read(mem, NEXT_GPA, &byte, 1), 0);
	ck_assert_int_eq(byte, 0);
	ck_assert_int_eq(vmm_mem_read(mem, NEXT_GPA + PAGE, &byte, 1), 0);
	ck_assert_int_eq(byte, 0x11);
	ck_assert_int_eq(vmm_mem_discard(mem, ROM_GPA, PAGE), -VMM_EGUEST);
}
END_TEST

START_TEST(reads_files_into_the_guest)
{
	CLEANUP(close_p) int fd = memfd_create("file", MFD_CLOEXEC);
	uint8_t data[2 * PAGE], byte;

	memset(data, 0x42, sizeof(data));
	ck_assert_int_eq(vmm_base_write_full(fd, data, sizeof(data)), 0);
	ck_assert_int_eq(vmm_mem_pread_from(mem, NEXT_GPA - PAGE, 2 * PAGE, fd, 0), 0);
	ck_assert_int_eq(vmm_mem_read(mem, NEXT_GPA + PAGE - 1, &byte, 1), 0);
	ck_assert_int_eq(byte, 0x42);
	ck_assert_int_eq(vmm_mem_pread_from(mem, LOW_GPA, 2 * PAGE, fd, 1), -ENODATA);
	ck_assert_int_eq(vmm_mem_pread_from(mem, ROM_GPA, PAGE, fd, 0), -VMM_EGUEST);
	ck_assert_int_eq(vmm_mem_pread_from(mem, LOW_GPA, PAGE, -1, 0), -EBADF);
}
END_TEST

/* Whether the map of this process from start to end asks for large pages ("hg" in smaps). */
static bool asks_for_large_pages(const void *start, const void *end)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	char line[512], flags[512];
	uintptr_t from, to;
	bool here = false, found = false;

	ck_assert_ptr_nonnull(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
			here = from == (uintptr_t)start && to == (uintptr_t)end;
		else if (here && sscanf(line, "VmFlags: %511[^\n]", flags) == 1)
			found = strstr(flags, "hg");
	}
	fclose(smaps);
	return found;
}

/* Large pages for what is written whole, and for nothing beside it. */
START_TEST(reads_large_files_into_large_pages)
{
	const uint64_t mib = UINT64_C(1) << 20, gpa = 64 * mib;
	CLEANUP(close_p) int fd = memfd_create("file", MFD_CLOEXEC);
	uint8_t *host;

	if (access("/sys/kernel/mm/transparent_hugepage", F_OK) < 0)
		return;
	ck_assert_int_eq(ftruncate(fd, (off_t)(6 * mib)), 0);
	add(gpa, 12 * mib, VMM_MEM_ANONYMOUS, false);
	host = vmm_mem_pointer(mem, gpa, 12 * mib, 1, true);
	ck_assert_ptr_nonnull(host);
	/* From 3 to 9 MiB: the pages at 4 and 6 are whole. */
	ck_assert_int_eq(vmm_mem_pread_from(mem, gpa + 3 * mib, 6 * mib, fd, 0), 0);
	ck_assert(asks_for_large_pages(host + 4 * mib, host + 8 * mib));
	ck_assert(!asks_for_large_pages(host, host + 4 * mib));
	ck_assert(!asks_for_large_pages(host + 8 * mib, host + 12 * mib));
}
END_TEST

START_TEST(dirty_log_marks_and_clears)
{
	uint64_t bits[1];

	ck_assert_int_eq(vmm_mem_dirty_log_take(mem, LOW_GPA, bits, 1), -EINVAL);
	ck_assert_int_eq(vmm_mem_dirty_log_start(mem), 0);
	ck_assert_int_eq(vmm_mem_dirty_log_start(mem), -EALREADY);
	ck_assert_int_eq(vmm_mem_dirty_log_take(mem, LOW_GPA + PAGE, bits, 1), -ENOENT);
	ck_assert_int_eq(vmm_mem_dirty_log_take(mem, LOW_GPA, bits, 0), -ENOBUFS);
	ck_assert_int_eq(vmm_mem_fill(mem, NEXT_GPA - 1, 1, 2), 0);
	vmm_mem_mark_dirty(mem, LOW_GPA + PAGE, 1);
	vmm_mem_mark_dirty(mem, UINT64_C(0x30000), PAGE);
	vmm_mem_mark_dirty(mem, LOW_GPA, 0);
	ck_assert_int_eq(vmm_mem_dirty_log_take(mem, LOW_GPA, bits, 1), 2);
	ck_assert_uint_eq(bits[0], 0xa);
	ck_assert_int_eq(vmm_mem_dirty_log_take(mem, NEXT_GPA, bits, 1), 1);
	ck_assert_uint_eq(bits[0], 0x1);
	ck_assert_int_eq(vmm_mem_dirty_log_take(mem, LOW_GPA, bits, 1), 0);
	add(UINT64_C(0x100000), PAGE, VMM_MEM_ANONYMOUS, false);
	ck_assert_int_eq(vmm_mem_fill(mem, UINT64_C(0x100000), 1, 1), 0);
	ck_assert_int_eq(vmm_mem_dirty_log_take(mem, UINT64_C(0x100000), bits, 1), 1);
	vmm_mem_dirty_log_stop(mem);
	ck_assert_int_eq(vmm_mem_dirty_log_take(mem, LOW_GPA, bits, 1), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mem");
	TCase *tcase = unit_case(suite, "mem");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, hostile_ranges, 0, ARRAY_SIZE(ranges));
	tcase_add_test(tcase, copies_cross_regions);
	tcase_add_test(tcase, failed_write_writes_nothing);
	tcase_add_test(tcase, words_at_each_alignment);
	tcase_add_test(tcase, copies_of_each_length);
	tcase_add_test(tcase, iovec_splits_and_joins);
	tcase_add_test(tcase, pointers_stay_in_one_region);
	tcase_add_loop_test(tcase, hostile_configs, 0, ARRAY_SIZE(configs));
	tcase_add_test(tcase, table_is_bounded);
	tcase_add_test(tcase, files_back_regions);
	tcase_add_test(tcase, memfd_keeps_its_size);
	tcase_add_test(tcase, host_and_guest_agree_modulo_2m);
	tcase_add_test(tcase, discard_gives_pages_back);
	tcase_add_test(tcase, reads_files_into_the_guest);
	tcase_add_test(tcase, reads_large_files_into_large_pages);
	tcase_add_test(tcase, dirty_log_marks_and_clears);
	return unit_run(suite);
}

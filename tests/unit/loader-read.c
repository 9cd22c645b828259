/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* loader: files so large that several threads read them. */
#include <dirent.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "loader-files.h"
#include "loader/loader-internal.h"

#define FILE_BYTES (18 * MIB + 12345)
#define GPA (20 * MIB + 0x5000)

/* No two words of it are the same, so that each part must come from its own place. */
static int large_file(void)
{
	int fd = memfd_create("large", MFD_CLOEXEC);
	uint64_t words[512];

	for (uint64_t offset = 0; offset < FILE_BYTES; offset += sizeof(words)) {
		for (uint64_t i = 0; i < ARRAY_SIZE(words); i++)
			words[i] = offset + i;
		ck_assert_int_eq(write(fd, words, sizeof(words)), sizeof(words));
	}
	ck_assert_int_eq(ftruncate(fd, FILE_BYTES), 0);
	return fd;
}

static bool arrived(uint64_t gpa, uint64_t length_bytes, int fd, uint64_t offset)
{
	const uint8_t *host = vmm_mem_pointer(mem, gpa, length_bytes, 1, false);
	uint8_t expected[4096];

	for (uint64_t at = 0; at < length_bytes; at += sizeof(expected)) {
		size_t n = MIN(sizeof(expected), length_bytes - at);

		if (!host || pread(fd, expected, n, (off_t)(offset + at)) != (ssize_t)n ||
			memcmp(host + at, expected, n) != 0)
			return false;
	}
	return true;
}

static unsigned int count_threads(void)
{
	DIR *directory = opendir("/proc/self/task");
	unsigned int n = 0;

	ck_assert_ptr_nonnull(directory);
	while (readdir(directory))
		n++;
	closedir(directory);
	return n;
}

/* Who joins a thread may be ahead of the kernel, which has yet to take it off its list. */
static void await_threads(unsigned int n)
{
	for (int i = 0; i < 5000 && count_threads() != n; i++)
		usleep(1000);
	ck_assert_uint_eq(count_threads(), n);
}

START_TEST(large_reads_arrive_whole)
{
	static const struct {
		uint64_t gpa, length_bytes, offset;
	} cases[] = {
		{ GPA, FILE_BYTES, 0 },
		{ GPA, FILE_BYTES - 77, 77 },
		{ 20 * MIB, 16 * MIB, 1 },
		{ 22 * MIB - 1, 8 * MIB, 5 },
		{ GPA, 8 * MIB - 1, 3 },
		{ GPA, 1, FILE_BYTES - 1 },
	};
	CLEANUP(close_p) int fd = large_file();
	unsigned int n_threads = count_threads();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const uint8_t mark[2] = { 0xa5, 0xa5 };
		uint64_t end = cases[i].gpa + cases[i].length_bytes;

		ck_assert_int_eq(vmm_mem_fill(mem, 0, 0, MEMORY_BYTES), 0);
		ck_assert_int_eq(vmm_mem_write(mem, cases[i].gpa - 2, mark, 2), 0);
		ck_assert_int_eq(vmm_mem_write(mem, end, mark, 2), 0);
		ck_assert_int_eq(vmm_loader_read_memory(mem, cases[i].gpa, cases[i].length_bytes,
					 fd, cases[i].offset),
			0);
		ck_assert_msg(arrived(cases[i].gpa, cases[i].length_bytes, fd, cases[i].offset),
			"case %zu", i);
		check_memory(cases[i].gpa - 2, mark, 2);
		check_memory(end, mark, 2);
		await_threads(n_threads);
	}
}
END_TEST

START_TEST(large_reads_that_fail_say_why)
{
	CLEANUP(close_p) int fd = large_file();
	CLEANUP(close_p) int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned int n_threads = count_threads();

	/* What is missing is the last part's, or all parts'. */
	ck_assert_int_eq(vmm_loader_read_memory(mem, GPA, FILE_BYTES, fd, 1), -ENODATA);
	ck_assert_int_eq(vmm_loader_read_memory(mem, GPA, FILE_BYTES, fd, FILE_BYTES), -ENODATA);
	ck_assert_int_eq(vmm_loader_read_memory(mem, GPA, FILE_BYTES, -1, 0), -EBADF);
	ck_assert_int_eq(vmm_loader_read_memory(mem, GPA, FILE_BYTES, directory, 0), -EISDIR);
	ck_assert_int_eq(
		vmm_loader_read_memory(mem, MEMORY_BYTES - FILE_BYTES + 1, FILE_BYTES, fd, 0),
		-VMM_EGUEST);
	ck_assert_int_eq(vmm_loader_read_memory(mem, GPA, UINT64_MAX, fd, 0), -VMM_EGUEST);
	await_threads(n_threads);
}
END_TEST

/* As one who may have no process more. */
static int read_without_threads(int fd)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_NPROC, &none) < 0 || (geteuid() == 0 && setuid(65534) < 0))
		return 2;
	if (vmm_loader_read_memory(mem, GPA, FILE_BYTES, fd, 0) < 0)
		return 3;
	return arrived(GPA, FILE_BYTES, fd, 0) ? 0 : 4;
}

START_TEST(no_thread_to_be_had_is_no_failure)
{
	CLEANUP(close_p) int fd = large_file();
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(read_without_threads(fd));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

void add_large_reads(Suite *suite)
{
	TCase *large = unit_case(suite, "large reads");

	tcase_add_checked_fixture(large, setup, teardown);
	tcase_add_test(large, large_reads_arrive_whole);
	tcase_add_test(large, large_reads_that_fail_say_why);
	tcase_add_test(large, no_thread_to_be_had_is_no_failure);
}

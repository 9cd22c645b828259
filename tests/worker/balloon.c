/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * How long it takes until memory that a guest (tests/guest/balloon.c) does not need is the host's
 * again, by inflating and by free page reporting: what of that is the device's, as this guest has
 * nothing else to do. VMMD_BALLOON_MIB: how much (128); the five seconds are for a GiB, and for
 * pages that a guest gives in some order, as Linux does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "test-worker.h"

#define REST_BYTES (UINT64_C(32) << 20) /* where the guest itself is */
#define HUGE_BYTES (UINT64_C(2) << 20)
#define HUGE_POOL "/proc/sys/vm/nr_hugepages"
#define SPREAD_KIB 1024 /* what else of a worker comes and goes meanwhile */
#define SECOND_NSEC UINT64_C(1000000000)
#define LIMIT_NSEC (5 * SECOND_NSEC)
#define SCATTERED_LIMIT_NSEC (30 * SECOND_NSEC) /* each page is a call of the host's kernel */

static const struct {
	const char *name;
	bool is_scattered;
	uint32_t flags;
	uint64_t huge_page_bytes;
} rows[] = {
	{ "anonymous memory", false, 0, 0 },
	{ "anonymous memory, scattered pages", true, 0, 0 },
	{ "memfd", false, VMM_SPEC_SHARED_MEMORY, 0 },
	{ "memfd, scattered pages", true, VMM_SPEC_SHARED_MEMORY, 0 },
	/* These go when all pages of one were given. */
	{ "huge pages", false, 0, HUGE_BYTES },
	{ "memfd of huge pages, scattered", true, VMM_SPEC_SHARED_MEMORY, HUGE_BYTES },
};
#define N_SMALL_ROWS 4

static uint64_t memory_mib(void)
{
	const char *variable = getenv("VMMD_BALLOON_MIB");

	return variable ? strtoul(variable, NULL, 10) : 128;
}

/* Forgets what the guest has said before. */
static void await_guest(const char *text)
{
	worker_await_output(&worker, "\n");
	worker_await_output(&worker, text);
	worker.n_output = 0;
	memset(worker.output, 0, sizeof(worker.output));
}

/* Until nine tenths of it are back, and then all of it. */
static void await_memory(int i, const char *how, long before_kib, long all_kib)
{
	uint64_t limit_nsec = rows[i].is_scattered ? SCATTERED_LIMIT_NSEC : LIMIT_NSEC;
	uint64_t begin_nsec = vmm_base_now_nsec(), took_nsec;

	ck_assert_int_gt(before_kib, all_kib);
	do {
		usleep(2000);
		took_nsec = vmm_base_now_nsec() - begin_nsec;
		ck_assert_msg(took_nsec < limit_nsec, "%s: not back, %s: %ld of %ld KiB",
			rows[i].name, how, before_kib - resident_kib(worker.pid), all_kib);
	} while (resident_kib(worker.pid) > before_kib - all_kib * 9 / 10);
	printf("%s: 90 %% of %ld MiB %s after %.3f s\n", rows[i].name, all_kib >> 10, how,
		(double)took_nsec / SECOND_NSEC);
	await_guest(how);
	ck_assert_int_lt(resident_kib(worker.pid), before_kib - all_kib + SPREAD_KIB);
}

static void memory_of(int control_fd, struct vmm_control_memory *ret_memory)
{
	struct vmm_control_message reply;

	ck_assert_int_eq(worker_request(&worker, control_fd, VMM_CONTROL_GET_MEMORY, NULL, 0,
				 -EBADF, &reply),
		0);
	*ret_memory = reply.memory;
}

START_TEST(memory_comes_back)
{
	uint64_t mib = memory_mib();
	long all_kib = (long)(mib << 10), before_kib;
	struct vmm_control_memory memory;
	int fd;

	spin_after();
	worker_prepare(&worker, &guest);
	worker_take_kernel(&worker, "BALLOON_ELF");
	worker.spec.transport = VMM_TRANSPORT_MMIO;
	worker.spec.memory_bytes = (mib << 20) + REST_BYTES;
	worker.spec.huge_page_bytes = rows[_i].huge_page_bytes;
	worker.spec.flags |= VMM_SPEC_BALLOON | rows[_i].flags;
	snprintf(worker.spec.command_line, sizeof(worker.spec.command_line), "%lu%s", mib,
		rows[_i].is_scattered ? " scattered" : "");
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	fd = worker_connect(&worker);
	await_guest("used");

	before_kib = resident_kib(worker.pid);
	ck_assert_int_eq(set_memory(fd, REST_BYTES), 0);
	await_memory(_i, "inflated", before_kib, all_kib);
	memory_of(fd, &memory);
	ck_assert_uint_eq(memory.balloon_bytes, mib << 20);

	ck_assert_int_eq(set_memory(fd, (mib << 20) + REST_BYTES), 0);
	await_guest("used");
	before_kib = resident_kib(worker.pid);
	ck_assert_int_eq(set_memory(fd, (mib << 20) + REST_BYTES - 4096), 0);
	await_memory(_i, "reported", before_kib, all_kib);
	memory_of(fd, &memory);
	ck_assert_uint_eq(memory.balloon_bytes, 0);
	ck_assert_uint_eq(memory.reported_bytes, mib << 20);
	ck_assert_int_eq(set_memory(fd, (mib << 20) + REST_BYTES), 0);
	await_guest("empty");
}
END_TEST

static TCase *balloon_case(Suite *suite, const char *name)
{
	TCase *tcase = unit_case(suite, name);

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	return tcase;
}

void add_balloon_cases(Suite *suite)
{
	tcase_add_loop_test(balloon_case(suite, "balloon"), memory_comes_back, 0, N_SMALL_ROWS);
}

void add_huge_page_cases(Suite *suite)
{
	tcase_add_loop_test(balloon_case(suite, "huge pages"), memory_comes_back, N_SMALL_ROWS,
		ARRAY_SIZE(rows));
}

static long read_pool(void)
{
	FILE *file = fopen(HUGE_POOL, "re");
	long n = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%ld", &n) != 1)
		n = -1;
	fclose(file);
	return n;
}

void resize_huge_pages(long n)
{
	FILE *file = fopen(HUGE_POOL, "we");

	if (!file)
		return;
	fprintf(file, "%ld\n", n);
	fclose(file);
}

long reserve_huge_pages(void)
{
	long before = read_pool();
	long after = before + (long)(((memory_mib() << 20) + REST_BYTES) / HUGE_BYTES);

	if (before < 0)
		return -1;
	resize_huge_pages(after);
	if (read_pool() == after)
		return before;
	resize_huge_pages(before);
	return -1;
}

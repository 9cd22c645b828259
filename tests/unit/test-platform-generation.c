/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* platform: the generation ID and vmclock, which are memory. Part of test-platform. */
#include <string.h>

#include <vmmcore/platform.h>

#include "base/util.h"
#include "unit.h"

void add_generation_tests(Suite *suite);

static struct vmm_mem *mem;

static void setup_mem(void)
{
	struct vmm_mem_config config = { .size_bytes = 1 << 20, .backing = VMM_MEM_ANONYMOUS };

	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	ck_assert_int_eq(vmm_mem_add(mem, &config), 0);
}

static void teardown_mem(void)
{
	mem = vmm_mem_free(mem);
}

static uint64_t get(uint64_t gpa, size_t length)
{
	uint64_t value = 0;

	ck_assert_int_eq(vmm_mem_read(mem, gpa, &value, length), 0);
	return value;
}

START_TEST(vmgenid_is_written)
{
	static const uint8_t id[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
	uint8_t first[16], second[16];

	ck_assert_int_eq(vmm_vmgenid_write(mem, 0x1008, id), 0);
	ck_assert_int_eq(vmm_mem_read(mem, 0x1008, first, 16), 0);
	ck_assert_mem_eq(first, id, 16);
	ck_assert_int_eq(vmm_vmgenid_write(mem, 0x1008, NULL), 0);
	ck_assert_int_eq(vmm_mem_read(mem, 0x1008, first, 16), 0);
	ck_assert_int_eq(vmm_vmgenid_write(mem, 0x1008, NULL), 0);
	ck_assert_int_eq(vmm_mem_read(mem, 0x1008, second, 16), 0);
	ck_assert_mem_ne(first, second, 16);
	ck_assert_int_eq(vmm_vmgenid_write(mem, 0x1ff8, id), -EINVAL);
	ck_assert_int_eq(vmm_vmgenid_write(mem, 0x1004, id), -EINVAL);
	ck_assert_int_eq(vmm_vmgenid_write(mem, 0x100000, id), -VMM_EGUEST);
}
END_TEST

/* The time that a guest makes of a TSC value, in nanoseconds, as linux/vmclock-abi.h says. */
static uint64_t vmclock_nsec(uint64_t gpa, uint64_t tsc)
{
	unsigned __int128 t = (unsigned __int128)(tsc - get(gpa + 40, 8)) * get(gpa + 48, 8);

	t >>= get(gpa + 39, 1);
	t += get(gpa + 80, 8);
	t += (unsigned __int128)get(gpa + 72, 8) << 64;
	return (uint64_t)(t >> 64) * 1000000000 +
	       (uint64_t)((unsigned __int128)(uint64_t)t * 1000000000 >> 64);
}

START_TEST(vmclock_tells_the_time)
{
	static const uint64_t frequencies[] = { 1000, 1024, 1025, 1000000000, 2999999999,
		UINT64_C(1) << 32, UINT64_C(5123456789) };
	struct vmm_vmclock_config config = { .mem = mem, .gpa = 0x2000, .has_time = true };
	struct vmm_vmclock *vmclock;

	ck_assert_int_eq(vmm_mem_fill(mem, 0x2000, 0xff, 4096), 0);
	ck_assert_int_eq(vmm_vmclock_new(&config, &vmclock), 0);
	ck_assert_uint_eq(get(0x2000, 8), UINT64_C(0x10004b4c4356));
	ck_assert_uint_eq(get(0x2008, 4), 0x00010001);
	ck_assert_uint_eq(get(0x2000 + 34, 1), 4); /* unreliable: not set yet */
	ck_assert_uint_eq(get(0x2ff8, 8), 0);
	for (size_t i = 0; i < ARRAY_SIZE(frequencies); i++) {
		struct vmm_vmclock_time time = {
			.tsc = UINT64_C(0x123456789abcd),
			.tsc_hz = frequencies[i],
			.time_nsec = UINT64_C(1700000000987654321),
			.max_error_nsec = 5000,
			.is_synchronized = i & 1,
		};
		int64_t error;

		ck_assert_int_eq(vmm_vmclock_set_time(vmclock, &time), 0);
		ck_assert_uint_eq(get(0x200c, 4), 2 * (i + 1));
		ck_assert_uint_eq(get(0x2000 + 34, 1), i & 1 ? 2 : 3);
		ck_assert_uint_eq(get(0x2000 + 24, 8), 1 << 6 | 1 << 8);
		ck_assert_uint_eq(get(0x2000 + 96, 8), 5000);
		ck_assert_int_le(
			llabs((long long)(vmclock_nsec(0x2000, time.tsc) - time.time_nsec)), 1);
		/* A day later. */
		error = (int64_t)(vmclock_nsec(0x2000, time.tsc + 86400 * time.tsc_hz) -
				  time.time_nsec - UINT64_C(86400000000000));
		ck_assert_int_le(llabs(error), 50);
	}
	ck_assert_int_eq(vmm_vmclock_set_time(vmclock, NULL), 0);
	ck_assert_uint_eq(get(0x2000 + 34, 1), 4);
	ck_assert_ptr_null(vmm_vmclock_free(vmclock));
}
END_TEST

START_TEST(vmclock_tells_of_disruptions)
{
	struct vmm_vmclock_config config = { .mem = mem, .gpa = 0x2000 };
	struct vmm_vmclock_time time = { .tsc_hz = 1000000000 };
	struct vmm_vmclock *vmclock;
	uint64_t marker, generation;

	ck_assert_int_eq(vmm_vmclock_new(&config, &vmclock), 0);
	ck_assert_uint_eq(get(0x200a, 1), 0xff); /* no counter */
	marker = get(0x2010, 8);
	generation = get(0x2000 + 104, 8);
	ck_assert_int_eq(vmm_vmclock_disrupt(vmclock, false), 0);
	ck_assert_uint_ne(get(0x2010, 8), marker);
	ck_assert_uint_eq(get(0x2000 + 104, 8), generation);
	marker = get(0x2010, 8);
	ck_assert_int_eq(vmm_vmclock_disrupt(vmclock, true), 0);
	ck_assert_uint_ne(get(0x2010, 8), marker);
	ck_assert_uint_ne(get(0x2000 + 104, 8), generation);
	ck_assert_uint_eq(get(0x200c, 4), 4);
	ck_assert_int_eq(vmm_vmclock_set_time(vmclock, &time), -EINVAL);
	vmm_vmclock_free(vmclock);

	config.gpa = 0x2008;
	ck_assert_int_eq(vmm_vmclock_new(&config, &vmclock), -EINVAL);
	config.gpa = 0x100000;
	ck_assert_int_eq(vmm_vmclock_new(&config, &vmclock), -VMM_EGUEST);
	config = (struct vmm_vmclock_config){ .mem = mem, .has_time = true };
	ck_assert_int_eq(vmm_vmclock_new(&config, &vmclock), 0);
	time.tsc_hz = 999;
	ck_assert_int_eq(vmm_vmclock_set_time(vmclock, &time), -EINVAL);
	vmm_vmclock_free(vmclock);
	ck_assert_ptr_null(vmm_vmclock_free(NULL));
}
END_TEST

void add_generation_tests(Suite *suite)
{
	TCase *tcase = unit_case(suite, "generation");

	tcase_add_checked_fixture(tcase, setup_mem, teardown_mem);
	tcase_add_test(tcase, vmgenid_is_written);
	tcase_add_test(tcase, vmclock_tells_the_time);
	tcase_add_test(tcase, vmclock_tells_of_disruptions);
}

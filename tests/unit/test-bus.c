/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <vmmcore/bus.h>

#include "base/util.h"
#include "unit.h"

static struct vmm_bus *bus;
static uint64_t last_offset;
static size_t last_length;
static uint8_t last_data[8];

static void setup(void)
{
	ck_assert_int_eq(vmm_bus_new(&bus), 0);
	last_offset = UINT64_MAX;
	last_length = 0;
}

static void teardown(void)
{
	bus = vmm_bus_free(bus);
}

static void record_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	last_offset = offset;
	last_length = length;
	memset(data, (int)(intptr_t)userdata, length);
}

static void record_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	last_offset = offset;
	last_length = length;
	memcpy(last_data, data, length);
}

static const struct vmm_bus_ops recorder = { .read = record_read, .write = record_write };
static const struct vmm_bus_ops nothing = { 0 };

static int add(uint64_t base, uint64_t size, intptr_t tag)
{
	struct vmm_bus_range range = {
		.base = base,
		.size = size,
		.ops = &recorder,
		.userdata = (void *)tag,
	};

	return vmm_bus_add(bus, &range);
}

START_TEST(reaches_the_device_with_its_offset)
{
	uint32_t value = 0;

	ck_assert_int_eq(add(0x3f8, 8, 0x22), 0);
	ck_assert(vmm_bus_read(bus, 0x3fa, &value, 2));
	ck_assert_uint_eq(value, 0x2222);
	ck_assert_uint_eq(last_offset, 2);
	ck_assert_uint_eq(last_length, 2);
	value = 0x12345678;
	ck_assert(vmm_bus_write(bus, 0x3f8, &value, 4));
	ck_assert_uint_eq(last_offset, 0);
	ck_assert_int_eq(memcmp(last_data, &value, 4), 0);
}
END_TEST

/* Ranges are [0x100, 0x110) and [2^64 - 0x11, 2^64 - 1). */
static const struct {
	uint64_t address;
	size_t length;
	bool reached;
} accesses[] = {
	{ 0x100, 1, true },
	{ 0x10f, 1, true },
	{ 0x108, 8, true },
	{ 0x109, 8, false },
	{ 0x10f, 2, false },
	{ 0x110, 1, false },
	{ 0xff, 1, false },
	{ 0xff, 2, false },
	{ 0, 1, false },
	{ 0x100, 0, false },
	{ 0x100, 3, true },
	{ UINT64_MAX, 1, false },
	{ UINT64_MAX, 8, false },
	{ UINT64_MAX - 0x10, 8, true },
	{ UINT64_MAX - 8, 8, true },
	{ UINT64_MAX - 7, 8, false },
};

START_TEST(hostile_accesses)
{
	uint64_t value = 0;

	ck_assert_int_eq(add(0x100, 0x10, 0), 0);
	ck_assert_int_eq(add(UINT64_MAX - 0x10, 0x10, 0), 0);
	ck_assert_int_eq(vmm_bus_read(bus, accesses[_i].address, &value, accesses[_i].length),
		accesses[_i].reached);
	for (size_t i = 0; i < 8; i++)
		ck_assert_uint_eq((uint8_t)(value >> (8 * i)),
			!accesses[_i].reached && i < accesses[_i].length ? 0xff : 0);
	last_offset = UINT64_MAX;
	ck_assert_int_eq(vmm_bus_write(bus, accesses[_i].address, &value, accesses[_i].length),
		accesses[_i].reached);
	ck_assert_int_eq(last_offset != UINT64_MAX, accesses[_i].reached);
}
END_TEST

START_TEST(longer_than_any_access)
{
	uint8_t data[16] = { 0 };

	ck_assert_int_eq(add(0, 0x1000, 0), 0);
	ck_assert(!vmm_bus_read(bus, 0, data, sizeof(data)));
	ck_assert_uint_eq(data[15], 0xff);
	ck_assert(!vmm_bus_write(bus, 0, data, sizeof(data)));
}
END_TEST

START_TEST(ops_may_be_absent)
{
	struct vmm_bus_range range = { .base = 0x80, .size = 1, .ops = &nothing };
	uint8_t value = 0;

	ck_assert_int_eq(vmm_bus_add(bus, &range), 0);
	ck_assert(vmm_bus_read(bus, 0x80, &value, 1));
	ck_assert_uint_eq(value, 0xff);
	ck_assert(vmm_bus_write(bus, 0x80, &value, 1));
}
END_TEST

START_TEST(overlaps_and_bad_ranges)
{
	struct vmm_bus_range no_ops = { .base = 0x500, .size = 1 };

	ck_assert_int_eq(add(0x100, 0x10, 1), 0);
	ck_assert_int_eq(add(0x110, 0x10, 2), 0);
	ck_assert_int_eq(add(0xf0, 0x10, 3), 0);
	ck_assert_int_eq(add(0x100, 0x10, 4), -EEXIST);
	ck_assert_int_eq(add(0x10f, 1, 4), -EEXIST);
	ck_assert_int_eq(add(0xe0, 0x11, 4), -EEXIST);
	ck_assert_int_eq(add(0, 0x1000, 4), -EEXIST);
	ck_assert_int_eq(add(0x11f, 2, 4), -EEXIST);
	ck_assert_int_eq(add(0x200, 0, 4), -EINVAL);
	ck_assert_int_eq(add(UINT64_MAX, 1, 4), -EINVAL);
	ck_assert_int_eq(add(2, UINT64_MAX, 4), -EINVAL);
	ck_assert_int_eq(vmm_bus_add(bus, &no_ops), -EINVAL);
}
END_TEST

START_TEST(table_is_bounded_and_reusable)
{
	uint8_t value;

	for (uint64_t i = 0; i < VMM_BUS_MAX_RANGES; i++)
		ck_assert_int_eq(add((i * 7919 % VMM_BUS_MAX_RANGES) * 16, 16, 1), 0);
	ck_assert_int_eq(add(VMM_BUS_MAX_RANGES * 16, 16, 1), -ENOSPC);
	for (uint64_t i = 0; i < VMM_BUS_MAX_RANGES; i++) {
		ck_assert_int_eq(vmm_bus_remove(bus, i * 16), 0);
		ck_assert_int_eq(vmm_bus_remove(bus, i * 16), -ENOENT);
		ck_assert(!vmm_bus_read(bus, i * 16, &value, 1));
	}
	ck_assert_int_eq(add(0, 16, 1), 0);
}
END_TEST

static bool stop;

static void *move_ranges(void *userdata)
{
	for (uint64_t i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
		uint64_t base = 0x100 + i % 16 * 0x20;

		ck_assert_int_eq(add(base, 0x10, 0x33), 0);
		ck_assert_int_eq(vmm_bus_remove(bus, base), 0);
	}
	return NULL;
}

START_TEST(readers_see_whole_entries)
{
	pthread_t writer;

	/* One range below and one above those that move: both must be found at all times. */
	ck_assert_int_eq(add(0x10, 0x10, 0x11), 0);
	ck_assert_int_eq(add(0x1000, 0x10, 0x44), 0);
	stop = false;
	ck_assert_int_eq(pthread_create(&writer, NULL, move_ranges, NULL), 0);
	for (int i = 0; i < 20000; i++) {
		uint8_t value = 0;

		ck_assert(vmm_bus_read(bus, 0x1f, &value, 1));
		ck_assert_uint_eq(value, 0x11);
		ck_assert(vmm_bus_read(bus, 0x1000, &value, 1));
		ck_assert_uint_eq(value, 0x44);
		if (vmm_bus_read(bus, 0x100 + (uint64_t)i % 16 * 0x20, &value, 1))
			ck_assert_uint_eq(value, 0x33);
		else
			ck_assert_uint_eq(value, 0xff);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	ck_assert_int_eq(pthread_join(writer, NULL), 0);
}
END_TEST

START_TEST(irq_eventfd_signals_rising_edges)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct vmm_irq_eventfd edge;
	struct vmm_irq line, nowhere = { 0 };
	uint64_t count;

	vmm_irq_eventfd_init(&edge, fd);
	line = vmm_irq_eventfd_line(&edge);
	ck_assert_int_eq(vmm_irq_set_level(&line, false), 0);
	ck_assert_int_eq(vmm_base_eventfd_clear(fd, &count), -EAGAIN);
	ck_assert_int_eq(vmm_irq_set_level(&line, true), 0);
	ck_assert_int_eq(vmm_irq_set_level(&line, true), 0);
	ck_assert_int_eq(vmm_irq_set_level(&line, false), 0);
	ck_assert_int_eq(vmm_irq_set_level(&line, true), 0);
	ck_assert_int_eq(vmm_base_eventfd_clear(fd, &count), 0);
	ck_assert_uint_eq(count, 2);
	ck_assert_int_eq(vmm_irq_set_level(&nowhere, true), 0);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bus");
	TCase *tcase = unit_case(suite, "bus");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, reaches_the_device_with_its_offset);
	tcase_add_loop_test(tcase, hostile_accesses, 0, ARRAY_SIZE(accesses));
	tcase_add_test(tcase, longer_than_any_access);
	tcase_add_test(tcase, ops_may_be_absent);
	tcase_add_test(tcase, overlaps_and_bad_ranges);
	tcase_add_test(tcase, table_is_bounded_and_reusable);
	tcase_add_test(tcase, readers_see_whole_entries);
	tcase_add_test(tcase, irq_eventfd_signals_rising_edges);
	return unit_run(suite);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <string.h>

#include "harness.h"
#include "unit/unit.h"

struct access {
	char kind; /* P, M: port, memory */
	bool is_write;
	uint64_t offset;
	size_t length;
	uint64_t value;
};

static struct access accesses[64];
static size_t n_accesses;
static unsigned int n_string;

static void record(char kind, bool is_write, uint64_t offset, const void *data, size_t length)
{
	struct access *access = &accesses[n_accesses++];

	ck_assert_uint_lt(n_accesses, ARRAY_SIZE(accesses));
	*access = (struct access){ kind, is_write, offset, length, 0 };
	if (data)
		memcpy(&access->value, data, length);
}

/* The fourth and later reads of one byte are those of the string instruction. */
static void pio_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	static const uint8_t ones[8] = { 255, 255, 255, 255, 255, 255, 255, 255 };

	ck_assert_msg(memcmp(data, ones, length) == 0, "a read does not arrive as all ones");
	record('P', false, offset, NULL, length);
	memset(data, n_accesses > 6 ? 0xa0 + (int)n_string++ : 0x5a, length);
}

static void pio_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	record('P', true, offset, data, length);
}

static void mmio_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	record('M', false, offset, NULL, length);
	memset(data, 0x5a, length);
}

static void mmio_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	record('M', true, offset, data, length);
}

START_TEST(each_size_arrives_once_and_in_order)
{
	static const struct vmm_bus_ops pio_ops = { pio_read, pio_write };
	static const struct vmm_bus_ops mmio_ops = { mmio_read, mmio_write };
	static const struct vmm_bus_range pio_range = { 0x1000, 0x10, &pio_ops, NULL };
	static const struct vmm_bus_range mmio_range = { 0xd0000000, 0x1000, &mmio_ops, NULL };
	static const struct access expected[] = {
		{ 'P', true, 0, 1, 0x11 },
		{ 'P', true, 1, 2, 0x2222 },
		{ 'P', true, 3, 4, 0x44444444 },
		{ 'P', false, 0, 1, 0 },
		{ 'P', false, 0, 2, 0 },
		{ 'P', false, 0, 4, 0 },
		{ 'P', false, 0, 1, 0 },
		{ 'P', false, 0, 1, 0 },
		{ 'P', false, 0, 1, 0 },
		{ 'P', false, 0, 1, 0 },
		{ 'P', false, 0, 1, 0 },
		{ 'P', false, 0, 1, 0 },
		{ 'P', false, 0, 1, 0 },
		{ 'P', false, 0, 1, 0 },
		{ 'P', true, 0, 2, 0xa1a0 },
		{ 'P', true, 0, 2, 0xa3a2 },
		{ 'P', true, 0, 2, 0xa5a4 },
		{ 'P', true, 0, 2, 0xa7a6 },
		{ 'M', true, 0, 1, 0x11 },
		{ 'M', true, 2, 2, 0x2222 },
		{ 'M', true, 4, 4, 0x44444444 },
		{ 'M', true, 8, 8, 0x8888888888888888 },
		{ 'M', false, 0, 1, 0 },
		{ 'M', false, 0, 2, 0 },
		{ 'M', false, 0, 4, 0 },
		{ 'M', false, 0, 8, 0 },
	};
	struct guest_config config = { .name = "exits" };
	struct guest guest;

	guest_init(&guest, &config);
	ck_assert_int_eq(vmm_bus_add(guest.pio, &pio_range), 0);
	ck_assert_int_eq(vmm_bus_add(guest.mmio, &mmio_range), 0);
	guest_start(&guest);
	ck_assert_int_eq(guest_wait(&guest), 0);
	guest_finish(&guest);

	for (size_t i = 0; i < MIN(n_accesses, ARRAY_SIZE(expected)); i++) {
		const struct access *a = &accesses[i], *b = &expected[i];

		ck_assert_msg(a->kind == b->kind && a->is_write == b->is_write &&
				      a->offset == b->offset && a->length == b->length &&
				      a->value == b->value,
			"access %zu: %c %d 0x%llx %zu 0x%llx", i, a->kind, a->is_write,
			(unsigned long long)a->offset, a->length, (unsigned long long)a->value);
	}
	ck_assert_uint_eq(n_accesses, ARRAY_SIZE(expected));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("exits");
	TCase *tcase = unit_case(suite, "exits");

	guest_need_kvm();
	tcase_add_test(tcase, each_size_arrives_once_and_in_order);
	return unit_run(suite);
}

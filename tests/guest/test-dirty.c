/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "harness.h"
#include "unit/unit.h"

#define N_PAGES (GUEST_MEMORY_BYTES / 4096)
#define N_WORDS (N_PAGES / 64)

/* What the guest is to write before it asks again, and the log as it should be then. */
static const uint32_t pages[] = { 0x1000, 0x1001, 0x1fff, 0x800, 0x1000 };

struct feed {
	struct guest *guest;
	bool is_manual;
	size_t next;
	unsigned int n_rounds;
};

static bool is_set(const uint64_t *bitmap, uint32_t page)
{
	return bitmap[page / 64] >> page % 64 & 1;
}

static void expect_log(struct feed *feed, bool expected)
{
	static uint64_t bitmap[N_WORDS];

	memset(bitmap, 0, sizeof(bitmap));
	ck_assert_int_eq(vmm_vm_dirty_log_get(feed->guest->vm, 0, bitmap, N_WORDS), 0);
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		ck_assert_msg(is_set(bitmap, pages[i]) == expected, "round %u: page 0x%x",
			feed->n_rounds, pages[i]);
	ck_assert(!is_set(bitmap, 0x1002));
	ck_assert(!is_set(bitmap, 0x1ffe));
	if (expected && feed->is_manual) {
		/* The log stays until it is cleared, and only what is named is cleared. */
		static uint64_t some[N_WORDS];

		memset(some, 0, sizeof(some));
		some[0x1000 / 64] = 1;
		ck_assert_int_eq(
			vmm_vm_dirty_log_clear(feed->guest->vm, 0, 0, (uint32_t)N_PAGES, some), 0);
		ck_assert_int_eq(vmm_vm_dirty_log_get(feed->guest->vm, 0, some, N_WORDS), 0);
		ck_assert(!is_set(some, 0x1000));
		ck_assert(is_set(some, 0x1001));
		ck_assert_int_eq(
			vmm_vm_dirty_log_clear(feed->guest->vm, 0, 0, (uint32_t)N_PAGES, some), 0);
	}
}

/* Runs in the vCPU's thread. */
static void feed_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	struct feed *feed = userdata;
	uint32_t page = 0;

	if (feed->next == ARRAY_SIZE(pages)) {
		expect_log(feed, true);
		expect_log(feed, false);
		feed->next = 0;
		feed->n_rounds++;
	}
	if (feed->n_rounds < 3)
		page = pages[feed->next++];
	memcpy(data, &page, length);
}

START_TEST(log_has_what_the_guest_wrote)
{
	static const struct vmm_bus_ops ops = { .read = feed_read };
	struct guest_config config = { .name = "dirty", .dirty_log = true, .manual_dirty_log = _i };
	struct guest guest;
	struct feed feed = { .guest = &guest, .is_manual = _i };
	struct vmm_bus_range range = { 0x1000, 4, &ops, &feed };
	uint64_t bitmap[N_WORDS];

	guest_init(&guest, &config);
	ck_assert_int_eq(vmm_bus_add(guest.pio, &range), 0);
	guest_start(&guest);
	ck_assert_int_eq(guest_wait(&guest), 0);
	ck_assert_uint_eq(feed.n_rounds, 3);

	ck_assert_int_eq(vmm_vm_dirty_log_get(guest.vm, 0, bitmap, N_WORDS - 1), -ENOBUFS);
	ck_assert_int_eq(vmm_vm_dirty_log_get(guest.vm, 1, bitmap, N_WORDS), -ENOENT);
	ck_assert_int_eq(vmm_vm_dirty_log_get(guest.vm, UINT32_MAX, bitmap, N_WORDS), -EINVAL);
	ck_assert_int_eq(vmm_vm_dirty_log_clear(guest.vm, UINT32_MAX, 0, (uint32_t)N_PAGES, bitmap),
		-EINVAL);
	guest_finish(&guest);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dirty");
	TCase *tcase = unit_case(suite, "dirty");

	guest_need_kvm();
	tcase_add_loop_test(tcase, log_has_what_the_guest_wrote, 0, 2);
	return unit_run(suite);
}

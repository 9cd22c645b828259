/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <errno.h>
#include <unistd.h>

#include "harness.h"
#include "unit/unit.h"

static unsigned int n_writes;

static void count_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	n_writes++;
}

START_TEST(writes_signal_by_place_size_and_value)
{
	static const struct vmm_bus_ops ops = { .write = count_write };
	static const struct vmm_bus_range mmio = { 0xd0000000, 0x1000, &ops, NULL };
	static const struct vmm_bus_range pio = { 0x1000, 0x10, &ops, NULL };
	static const struct {
		struct vmm_vm_ioeventfd what;
		unsigned int expected;
	} cases[] = {
		/* One value of one size; another value; all sizes; a port with a value. */
		{ { .address = 0xd0000000,
			  .length_bytes = 4,
			  .has_datamatch = true,
			  .datamatch = 1 },
			7 },
		{ { .address = 0xd0000000,
			  .length_bytes = 4,
			  .has_datamatch = true,
			  .datamatch = 9 },
			0 },
		{ { .address = 0xd0000000, .length_bytes = 2 }, 7 },
		{ { .address = 0xd0000004 }, 14 },
		{ { .address = 0x1000,
			  .length_bytes = 2,
			  .pio = true,
			  .has_datamatch = true,
			  .datamatch = 3 },
			7 },
	};
	struct guest_config config = { .name = "ioeventfd" };
	struct guest guest;
	int fds[ARRAY_SIZE(cases)];

	guest_init(&guest, &config);
	ck_assert_int_eq(vmm_bus_add(guest.mmio, &mmio), 0);
	ck_assert_int_eq(vmm_bus_add(guest.pio, &pio), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vmm_vm_ioeventfd what = cases[i].what;

		what.fd = fds[i] = make_eventfd();
		ck_assert_int_eq(vmm_vm_ioeventfd_assign(guest.vm, &what), 0);
		ck_assert_int_eq(vmm_vm_ioeventfd_assign(guest.vm, &what), -EEXIST);
	}
	guest_start(&guest);
	ck_assert_int_eq(guest_wait(&guest), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t count = take_eventfd(fds[i]);

		ck_assert_msg(
			count == cases[i].expected, "case %zu: %llu", i, (unsigned long long)count);
	}
	/* What matched nothing made exits: the value 2 and the port's 4. */
	ck_assert_uint_eq(n_writes, 14);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vmm_vm_ioeventfd what = cases[i].what;

		what.fd = fds[i];
		ck_assert_int_eq(vmm_vm_ioeventfd_deassign(guest.vm, &what), 0);
		ck_assert_int_eq(vmm_vm_ioeventfd_deassign(guest.vm, &what), -ENOENT);
		close(fds[i]);
	}
	guest_finish(&guest);
}
END_TEST

START_TEST(deassigned_makes_exits)
{
	static const struct vmm_bus_ops ops = { .write = count_write };
	static const struct vmm_bus_range mmio = { 0xd0000000, 0x1000, &ops, NULL };
	struct guest_config config = { .name = "ioeventfd" };
	struct vmm_vm_ioeventfd what = { .address = 0xd0000004 };
	struct vmm_vm_ioeventfd wrong = { .has_datamatch = true };
	struct guest guest;

	guest_init(&guest, &config);
	ck_assert_int_eq(vmm_bus_add(guest.mmio, &mmio), 0);
	what.fd = make_eventfd();
	ck_assert_int_eq(vmm_vm_ioeventfd_assign(guest.vm, &what), 0);
	ck_assert_int_eq(vmm_vm_ioeventfd_deassign(guest.vm, &what), 0);
	ck_assert_int_eq(vmm_vm_ioeventfd_assign(guest.vm, &wrong), -EINVAL);
	guest_start(&guest);
	ck_assert_int_eq(guest_wait(&guest), 0);
	ck_assert_uint_eq(take_eventfd(what.fd), 0);
	ck_assert_uint_eq(n_writes, 35);
	close(what.fd);
	guest_finish(&guest);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ioeventfd");
	TCase *tcase = unit_case(suite, "ioeventfd");

	guest_need_kvm();
	tcase_add_test(tcase, writes_signal_by_place_size_and_value);
	tcase_add_test(tcase, deassigned_makes_exits);
	return unit_run(suite);
}

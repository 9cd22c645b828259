/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "harness.h"
#include "unit/unit.h"

START_TEST(exit_port_ends_with_its_value)
{
	ck_assert_int_eq(guest_run(&(struct guest_config){ .name = "end", .cmdline = "x" }), 42);
	ck_assert_int_eq(guest_run(&(struct guest_config){ .name = "end", .cmdline = "" }), 0);
}
END_TEST

START_TEST(exception_is_the_guests_own)
{
	ck_assert_int_eq(
		guest_run(&(struct guest_config){ .name = "end", .cmdline = "i" }), 0x40 + 6);
}
END_TEST

START_TEST(triple_fault_is_a_shutdown)
{
	ck_assert_int_eq(
		guest_run(&(struct guest_config){ .name = "end", .cmdline = "t" }), GUEST_SHUTDOWN);
}
END_TEST

START_TEST(halted_guest_is_stopped_by_a_kick)
{
	struct guest_config config = { .name = "end", .cmdline = "h" };
	struct guest guest;

	guest_init(&guest, &config);
	guest_start(&guest);
	usleep(50000);
	ck_assert_int_eq(guest.status, GUEST_RUNS);
	/* A halted vCPU sleeps in the kernel: it makes no exits. */
	ck_assert_uint_lt(guest.vcpus[0].n_exits, 5);
	guest_stop(&guest);
	ck_assert_int_eq(guest.status, GUEST_STOPPED);
	guest_finish(&guest);
}
END_TEST

START_TEST(many_vms_come_and_go)
{
	int before = open_descriptors();

	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(
			guest_run(&(struct guest_config){ .name = "end", .cmdline = "x" }), 42);
	ck_assert_int_eq(open_descriptors(), before);
}
END_TEST

START_TEST(several_vms_run_at_once)
{
	struct guest_config config = { .name = "end", .cmdline = "x" };
	struct guest *guests = calloc(8, sizeof(*guests));

	for (int i = 0; i < 8; i++)
		guest_init(&guests[i], &config);
	for (int i = 0; i < 8; i++)
		guest_start(&guests[i]);
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(guest_wait(&guests[i]), 42);
	for (int i = 0; i < 8; i++)
		guest_finish(&guests[i]);
	free(guests);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("end");
	TCase *tcase = unit_case(suite, "end");

	guest_need_kvm();
	tcase_add_test(tcase, exit_port_ends_with_its_value);
	tcase_add_test(tcase, exception_is_the_guests_own);
	tcase_add_test(tcase, triple_fault_is_a_shutdown);
	tcase_add_test(tcase, halted_guest_is_stopped_by_a_kick);
	tcase_add_test(tcase, many_vms_come_and_go);
	tcase_add_test(tcase, several_vms_run_at_once);
	return unit_run(suite);
}

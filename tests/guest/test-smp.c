/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <stdio.h>

#include "harness.h"
#include "unit/unit.h"

static const unsigned int counts[] = { 1, 2, 4, 16, 64 };

START_TEST(all_cpus_come_up_and_count)
{
	char number[8];
	struct guest_config config = {
		.name = "smp",
		.n_vcpus = counts[_i],
		.cmdline = number,
	};

	snprintf(number, sizeof(number), "%u", counts[_i]);
	ck_assert_int_eq(guest_run(&config), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("smp");
	TCase *tcase = unit_case(suite, "smp");

	guest_need_kvm();
	tcase_add_loop_test(tcase, all_cpus_come_up_and_count, 0, ARRAY_SIZE(counts));
	return unit_run(suite);
}

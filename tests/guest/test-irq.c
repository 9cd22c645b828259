/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <errno.h>
#include <unistd.h>

#include "harness.h"
#include "unit/unit.h"

#define MSI_ADDRESS UINT64_C(0xfee00000)

static struct guest guest;

static void setup(void)
{
	struct guest_config config = { .name = "irq" };

	guest_init(&guest, &config);
	guest_start(&guest);
	guest_wait_marks(&guest, 1);
}

static void teardown(void)
{
	guest_finish(&guest);
}

/* Waits for one more mark: the vector, and how often it came. */
static void expect(unsigned int n_marks, unsigned int vector, unsigned int count)
{
	ck_assert_uint_eq(guest_wait_marks(&guest, 1 + n_marks), vector << 16 | count);
}

static void expect_nothing_more(unsigned int n_marks)
{
	usleep(20000);
	ck_assert_uint_eq(guest.n_marks, 1 + n_marks);
}

START_TEST(irqfd_raises_a_pin)
{
	int fd = make_eventfd();

	ck_assert_int_eq(vmm_vm_irqfd_assign(guest.vm, fd, 5), 0);
	for (unsigned int i = 1; i <= 50; i++) {
		ck_assert_int_eq(vmm_base_eventfd_signal(fd), 0);
		expect(i, 0x21, i);
	}
	ck_assert_int_eq(vmm_vm_irqfd_assign(guest.vm, fd, 5), -EBUSY);
	ck_assert_int_eq(vmm_vm_irqfd_deassign(guest.vm, fd, 5), 0);
	ck_assert_int_eq(vmm_base_eventfd_signal(fd), 0);
	expect_nothing_more(50);
	/* What was signalled meanwhile comes with the next assignment. */
	ck_assert_int_eq(vmm_vm_irqfd_assign(guest.vm, fd, 5), 0);
	expect(51, 0x21, 51);
	close(fd);
}
END_TEST

START_TEST(line_raises_a_pin)
{
	ck_assert_int_eq(vmm_vm_set_irq(guest.vm, 5, true), 0);
	expect(1, 0x21, 1);
	ck_assert_int_eq(vmm_vm_set_irq(guest.vm, 5, true), 0);
	expect_nothing_more(1);
	ck_assert_int_eq(vmm_vm_set_irq(guest.vm, 5, false), 0);
	ck_assert_int_eq(vmm_vm_set_irq(guest.vm, 5, true), 0);
	expect(2, 0x21, 2);
	ck_assert_int_eq(vmm_vm_set_irq(guest.vm, VMM_VM_N_IOAPIC_PINS, true), -EINVAL);
	ck_assert_int_eq(vmm_vm_set_irq(guest.vm, UINT32_MAX, true), -EINVAL);
}
END_TEST

START_TEST(level_is_sampled_again_when_the_guest_is_done)
{
	int fd = make_eventfd(), resample_fd = make_eventfd();

	ck_assert_int_eq(vmm_vm_irqfd_assign_resample(guest.vm, fd, -1, 6), -EBADF);
	ck_assert_int_eq(vmm_vm_irqfd_assign_resample(guest.vm, fd, resample_fd, 6), 0);
	for (unsigned int i = 1; i <= 10; i++) {
		ck_assert_int_eq(vmm_base_eventfd_signal(fd), 0);
		wait_eventfd(resample_fd);
		ck_assert_uint_eq(take_eventfd(resample_fd), 1);
		expect(i, 0x22, i);
	}
	close(fd);
	close(resample_fd);
}
END_TEST

START_TEST(msi_is_bound_rerouted_and_unbound)
{
	int fd = make_eventfd();

	ck_assert_int_eq(vmm_vm_msi_bind(guest.vm, fd, MSI_ADDRESS, 0x23), 0);
	ck_assert_int_eq(vmm_base_eventfd_signal(fd), 0);
	expect(1, 0x23, 1);
	ck_assert_int_eq(vmm_vm_msi_bind(guest.vm, fd, MSI_ADDRESS, 0x24), 0);
	ck_assert_int_eq(vmm_base_eventfd_signal(fd), 0);
	expect(2, 0x24, 1);
	ck_assert_int_eq(vmm_vm_msi_unbind(guest.vm, fd), 0);
	ck_assert_int_eq(vmm_vm_msi_unbind(guest.vm, fd), 0);
	ck_assert_int_eq(vmm_base_eventfd_signal(fd), 0);
	expect_nothing_more(2);
	ck_assert_int_eq(vmm_vm_msi_bind(guest.vm, fd, MSI_ADDRESS, 0x24), 0);
	expect(3, 0x24, 2);
	vmm_vm_msi_forget(guest.vm, fd);
	vmm_vm_msi_forget(guest.vm, fd);
	ck_assert_int_eq(vmm_base_eventfd_signal(fd), 0);
	expect_nothing_more(3);
	close(fd);
}
END_TEST

START_TEST(each_msi_keeps_its_own_route)
{
	int fds[200];
	unsigned int n = 0, n_23 = 0, n_24 = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = make_eventfd();
		ck_assert_int_eq(vmm_vm_msi_bind(guest.vm, fds[i], MSI_ADDRESS, 0x23 + i % 2), 0);
	}
	/* Holes in the table, filled by others. */
	for (size_t i = 0; i < ARRAY_SIZE(fds); i += 3)
		vmm_vm_msi_forget(guest.vm, fds[i]);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i += 6)
		ck_assert_int_eq(vmm_vm_msi_bind(guest.vm, fds[i], MSI_ADDRESS, 0x24), 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		ck_assert_int_eq(vmm_base_eventfd_signal(fds[i]), 0);
		if (i % 3 == 0 && i % 6 != 0) {
			expect_nothing_more(n);
			continue;
		}
		n++;
		if (i % 6 == 0 || i % 2 == 1)
			expect(n, 0x24, ++n_24);
		else
			expect(n, 0x23, ++n_23);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		vmm_vm_msi_forget(guest.vm, fds[i]);
		close(fds[i]);
	}
}
END_TEST

START_TEST(msi_gsi_of_ones_own)
{
	int fd = make_eventfd();
	int gsi = vmm_vm_msi_alloc(guest.vm);

	ck_assert_int_ge(gsi, VMM_VM_N_IOAPIC_PINS);
	ck_assert_int_eq(vmm_vm_msi_route(guest.vm, (uint32_t)gsi, MSI_ADDRESS, 0x23), 0);
	ck_assert_int_eq(vmm_vm_irqfd_assign(guest.vm, fd, (uint32_t)gsi), 0);
	ck_assert_int_eq(vmm_base_eventfd_signal(fd), 0);
	expect(1, 0x23, 1);
	ck_assert_int_eq(vmm_vm_irqfd_deassign(guest.vm, fd, (uint32_t)gsi), 0);
	vmm_vm_msi_free(guest.vm, (uint32_t)gsi);
	ck_assert_int_eq(vmm_vm_msi_route(guest.vm, (uint32_t)gsi, MSI_ADDRESS, 0x23), -EINVAL);
	ck_assert_int_eq(vmm_vm_msi_route(guest.vm, 5, MSI_ADDRESS, 0x23), -EINVAL);
	ck_assert_int_eq(vmm_vm_msi_route(guest.vm, UINT32_MAX, MSI_ADDRESS, 0x23), -EINVAL);
	vmm_vm_msi_free(guest.vm, UINT32_MAX);
	close(fd);
}
END_TEST

START_TEST(msi_table_has_an_end)
{
	int n = 0, gsi;

	while ((gsi = vmm_vm_msi_alloc(guest.vm)) >= 0) {
		ck_assert_int_lt(gsi, 4096);
		n++;
	}
	ck_assert_int_eq(gsi, -ENOSPC);
	ck_assert_int_gt(n, 2048);
	/* The last one works. */
	ck_assert_int_eq(vmm_vm_msi_route(guest.vm, VMM_VM_N_IOAPIC_PINS + (uint32_t)n - 1,
				 MSI_ADDRESS, 0x23),
		0);
}
END_TEST

START_TEST(msi_is_sent_at_once)
{
	ck_assert_int_eq(vmm_vm_signal_msi(guest.vm, MSI_ADDRESS, 0x24), 1);
	expect(1, 0x24, 1);
	/* To an APIC id that is not there. */
	ck_assert_int_eq(vmm_vm_signal_msi(guest.vm, MSI_ADDRESS | 77 << 12, 0x24), 0);
	expect_nothing_more(1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("irq");
	TCase *tcase = unit_case(suite, "irq");

	guest_need_kvm();
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, irqfd_raises_a_pin);
	tcase_add_test(tcase, line_raises_a_pin);
	tcase_add_test(tcase, level_is_sampled_again_when_the_guest_is_done);
	tcase_add_test(tcase, msi_is_bound_rerouted_and_unbound);
	tcase_add_test(tcase, each_msi_keeps_its_own_route);
	tcase_add_test(tcase, msi_gsi_of_ones_own);
	tcase_add_test(tcase, msi_table_has_an_end);
	tcase_add_test(tcase, msi_is_sent_at_once);
	return unit_run(suite);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Registers of the two transports, in ways that drivers rarely use them. */
#include "virtio-fixture.h"

START_TEST(mmio_odd_accesses)
{
	static const unsigned int reserved[] = { 0x018, 0x040, 0x048, 0x054, 0x0f0 };
	struct machine *m = &machine.machine;

	make(false, false);
	ck_assert_uint_eq(machine_read8(m, MACHINE_MMIO_GPA), 0xff);
	ck_assert_uint_eq(machine_read16(m, MACHINE_MMIO_GPA), 0xffff);
	ck_assert_uint_eq(machine_read64(m, MACHINE_MMIO_GPA), UINT64_MAX);
	ck_assert_uint_eq(machine_read32(m, MACHINE_MMIO_GPA + 2), UINT32_MAX);
	ck_assert_uint_eq(machine_read32(m, MACHINE_MMIO_GPA), 0x74726976);
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
		machine_write32(m, MACHINE_MMIO_GPA + reserved[i], UINT32_MAX);
		ck_assert_uint_eq(machine_read32(m, MACHINE_MMIO_GPA + reserved[i]), 0);
	}
	ck_assert_uint_eq(machine_read32(m, MACHINE_MMIO_GPA + 0xb0), UINT32_MAX);
	vdriver_set_status(&driver, ACKNOWLEDGE);
	machine_write8(m, MACHINE_MMIO_GPA + 0x70, 0);
	machine_write64(m, MACHINE_MMIO_GPA + 0x70, 0);
	machine_write32(m, MACHINE_MMIO_GPA + 0x70, 0x100);
	ck_assert_uint_eq(vdriver_status(&driver), ACKNOWLEDGE);
	/* Feature words that there are not. */
	machine_write32(m, MACHINE_MMIO_GPA + 0x14, 2);
	ck_assert_uint_eq(machine_read32(m, MACHINE_MMIO_GPA + 0x10), 0);
	machine_write32(m, MACHINE_MMIO_GPA + 0x24, UINT32_MAX);
	machine_write32(m, MACHINE_MMIO_GPA + 0x20, UINT32_MAX);
	ck_assert(vdriver_start(&driver, 0, N_QUEUES, 0));
}
END_TEST

START_TEST(pci_odd_accesses)
{
	struct machine *m = &machine.machine;

	make(true, false);
	ck_assert_uint_eq(machine_read8(m, driver.common), 0xff);
	ck_assert_uint_eq(machine_read16(m, driver.common + 0x14), 0xffff);
	ck_assert_uint_eq(machine_read32(m, driver.common + 0x12), UINT32_MAX);
	ck_assert_uint_eq(machine_read16(m, driver.common + 0x12), N_QUEUES);
	ck_assert_uint_eq(machine_read32(m, driver.common + 0x40), 0);
	ck_assert_uint_eq(machine_read32(m, driver.notify), 0);
	ck_assert_uint_eq(machine_read32(m, driver.isr + 4), 0);
	vdriver_set_status(&driver, ACKNOWLEDGE);
	machine_write16(m, driver.common + 0x14, 0);
	machine_write32(m, driver.common + 0x14, 0);
	ck_assert_uint_eq(vdriver_status(&driver), ACKNOWLEDGE);
	/* 64-bit fields in one piece, too. */
	vdriver_select(&driver, 0);
	machine_write64(m, driver.common + 0x20, UINT64_C(0x123456789abcdef0));
	ck_assert_uint_eq(machine_read64(m, driver.common + 0x20), UINT64_C(0x123456789abcdef0));
	ck_assert_uint_eq(machine_read32(m, driver.common + 0x24), 0x12345678);
}
END_TEST

START_TEST(pci_vectors)
{
	make(true, false);
	ck_assert_uint_eq(driver.n_vectors, N_QUEUES + 1);
	vdriver_select(&driver, 0);
	ck_assert_uint_eq(vdriver_set_queue_vector(&driver, 3), 3);
	ck_assert_uint_eq(vdriver_set_queue_vector(&driver, 4), VDRIVER_NO_VECTOR);
	ck_assert_uint_eq(vdriver_set_queue_vector(&driver, 0xfffe), VDRIVER_NO_VECTOR);
	ck_assert_uint_eq(vdriver_set_config_vector(&driver, 0), 0);
	ck_assert_uint_eq(vdriver_set_config_vector(&driver, 4), VDRIVER_NO_VECTOR);
	/* A device whose queues share one vector. */
	ck_assert(vdriver_start(&driver, 0, N_QUEUES, 0));
	for (uint16_t q = 0; q < N_QUEUES; q++) {
		vdriver_select(&driver, q);
		ck_assert_uint_eq(vdriver_set_queue_vector(&driver, 1), 1);
	}
	vdriver_msix_entry(&driver, 1, 99, false);
	for (uint16_t q = 0; q < N_QUEUES; q++)
		expect_echo(q, "shared");
	ck_assert_uint_eq(machine.machine.ops->interrupts(&machine.machine, 99), N_QUEUES);
	/* Without a vector the driver may look at the interrupt status. */
	vdriver_isr(&driver);
	vdriver_select(&driver, 0);
	vdriver_set_queue_vector(&driver, VDRIVER_NO_VECTOR);
	expect_echo(0, "polled");
	ck_assert_uint_eq(machine.machine.ops->interrupts(&machine.machine, 99), 0);
	ck_assert_uint_eq(vdriver_isr(&driver), 1);
	ck_assert_uint_eq(vdriver_isr(&driver), 0);
}
END_TEST

START_TEST(pci_masked_vector_stays_pending)
{
	struct machine *m = &machine.machine;

	make(true, false);
	ck_assert(vdriver_start(&driver, 0, N_QUEUES, 0));
	vdriver_msix_entry(&driver, 2, VDRIVER_QUEUE_MESSAGE(1), true);
	ck_assert_uint_eq(machine_read32(m, driver.msix_pba), 0);
	expect_echo(1, "masked");
	ck_assert_uint_eq(vdriver_queue_interrupts(&driver, 1), 0);
	ck_assert_uint_eq(machine_read32(m, driver.msix_pba), 1u << 2);
	ck_assert_uint_eq(machine_read64(m, driver.msix_pba), 1u << 2);
	machine_write32(m, driver.msix_pba, 0);
	machine_write32(m, driver.msix_table + 2 * 16 + 12, 0);
	ck_assert_uint_eq(vdriver_queue_interrupts(&driver, 1), 1);
	ck_assert_uint_eq(machine_read32(m, driver.msix_pba), 0);
	/* The whole function. */
	machine_write16(m, driver.config + driver.msix_cap + 2, 0xc000);
	expect_echo(1, "masked");
	ck_assert_uint_eq(vdriver_queue_interrupts(&driver, 1), 0);
	machine_write16(m, driver.config + driver.msix_cap + 2, 0x8000);
	ck_assert_uint_eq(vdriver_queue_interrupts(&driver, 1), 1);
}
END_TEST

START_TEST(pci_bar_moves_with_its_doorbells)
{
	struct machine *m = &machine.machine;
	uint64_t old = 0, command = 0;

	make(true, false);
	ck_assert(vdriver_start(&driver, 0, N_QUEUES, 0));
	ck_assert_uint_eq(machine.n_doorbells, N_QUEUES);
	old = driver.common;
	command = driver.config + 4;
	machine_write16(m, command, 0);
	ck_assert_uint_eq(machine.n_doorbells, 0);
	ck_assert_uint_eq(machine_read8(m, driver.common + 0x14), 0xff);
	machine_write32(m, driver.config + 0x10, 0xc8000000);
	machine_write16(m, command, 6);
	ck_assert_uint_eq(machine.n_doorbells, N_QUEUES);
	driver.common += 0xc8000000 - old;
	driver.notify += 0xc8000000 - old;
	expect_echo(0, "moved");
}
END_TEST

START_TEST(pci_window_into_the_bar)
{
	struct machine *m = &machine.machine;
	uint64_t cap;

	make(true, false);
	ck_assert_uint_ne(driver.window_cap, 0);
	cap = driver.config + driver.window_cap;
	machine_write8(m, cap + 4, 0);
	machine_write32(m, cap + 8, 0x14);
	machine_write32(m, cap + 12, 1);
	machine_write8(m, cap + 16, ACKNOWLEDGE);
	ck_assert_uint_eq(vdriver_status(&driver), ACKNOWLEDGE);
	ck_assert_uint_eq(machine_read8(m, cap + 16), ACKNOWLEDGE);
	/* Accesses that lead nowhere: other BAR, length, alignment, beyond the end. */
	for (int i = 0; i < 5; i++) {
		machine_write8(m, cap + 4, i == 0 ? 1 : 0);
		machine_write32(m, cap + 8, i == 2 ? 0x15 : i == 3 ? 0x4000 : 0x14);
		machine_write32(m, cap + 12, i == 1 ? 3 : i == 2 ? 2 : i == 4 ? UINT32_MAX : 1);
		machine_write32(m, cap + 16, 0);
		machine_read32(m, cap + 16);
		ck_assert_uint_eq(vdriver_status(&driver), ACKNOWLEDGE);
	}
	machine_write32(m, cap + 8, UINT32_MAX);
	machine_write32(m, cap + 12, 4);
	machine_read32(m, cap + 16);
}
END_TEST

void add_register_tests(TCase *tcase)
{
	tcase_add_test(tcase, mmio_odd_accesses);
	tcase_add_test(tcase, pci_odd_accesses);
	tcase_add_test(tcase, pci_vectors);
	tcase_add_test(tcase, pci_masked_vector_stays_pending);
	tcase_add_test(tcase, pci_bar_moves_with_its_doorbells);
	tcase_add_test(tcase, pci_window_into_the_bar);
}

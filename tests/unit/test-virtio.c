/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "virtio-fixture.h"

START_TEST(device_works)
{
	start(_i);
	ck_assert_int_eq(echo.n_activate, 1);
	ck_assert_uint_eq(echo.features_at_activate, driver.features);
	for (int round = 0; round < 300; round++) {
		driver.next_gpa = 0x80000;
		for (uint16_t q = 0; q < N_QUEUES; q++)
			expect_echo(q, "hello, device");
	}
	for (uint16_t q = 0; driver.pci && q < N_QUEUES; q++)
		ck_assert_uint_gt(vdriver_queue_interrupts(&driver, q), 0);
	if (!driver.pci) {
		ck_assert_uint_gt(vdriver_queue_interrupts(&driver, 0), 0);
		ck_assert_uint_eq(vdriver_isr(&driver), 1);
		ck_assert_uint_eq(vdriver_isr(&driver), 0);
	}
	ck_assert_uint_eq(vdriver_config_interrupts(&driver), 0);
	ck_assert_uint_eq(machine.n_doorbells, N_QUEUES);
}
END_TEST

START_TEST(device_works_without_doorbells)
{
	make(_i & 1, false);
	machine.no_doorbells = true;
	ck_assert(vdriver_start(&driver, ring_features(_i), N_QUEUES, 0));
	for (uint16_t q = 0; q < N_QUEUES; q++)
		expect_echo(q, "hello, device");
	ck_assert_uint_eq(machine.n_doorbells, 0);
}
END_TEST

START_TEST(work_offered_before_driver_ok_is_served)
{
	struct vring_buffer buffer = { 0x80000, 4, false };
	uint32_t id, len;

	make(_i & 1, false);
	ck_assert(vdriver_negotiate(&driver, ring_features(_i)));
	vdriver_make_ring(&driver, 0, 16);
	vdriver_program_queue(&driver, 0);
	vring_add(driver.rings[0], &buffer, 1);
	vdriver_kick(&driver, 0);
	machine.machine.ops->run(&machine.machine);
	ck_assert_int_eq(echo.n_processed, 0);
	vdriver_set_status(&driver, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	ck_assert(vdriver_wait_used(&driver, 0, &id, &len));
}
END_TEST

START_TEST(features_are_checked)
{
	uint64_t offered;

	make(_i & 1, false);
	offered = vdriver_offered(&driver);
	ck_assert_uint_eq(offered, VMM_VIRTIO_RING_FEATURES | F_RING_RESET | F_VERSION_1 | 0x5);

	/* One that was not offered; no VERSION_1. */
	for (int bad = 0; bad < 2; bad++) {
		ck_assert(vdriver_reset(&driver));
		vdriver_set_status(&driver, ACKNOWLEDGE | DRIVER);
		vdriver_set_features(&driver, bad ? F_VERSION_1 | 2 : 1);
		vdriver_set_status(&driver, ACKNOWLEDGE | DRIVER | FEATURES_OK);
		ck_assert_uint_eq(vdriver_status(&driver), ACKNOWLEDGE | DRIVER);
		ck_assert_uint_eq(vmm_virtio_features(echo.device), 0);
		/* The driver may try again. */
		vdriver_set_features(&driver, F_VERSION_1 | 4);
		vdriver_set_status(&driver, ACKNOWLEDGE | DRIVER | FEATURES_OK);
		ck_assert(vdriver_status(&driver) & FEATURES_OK);
		/* And may not change its mind. */
		vdriver_set_features(&driver, F_VERSION_1);
		ck_assert_uint_eq(vmm_virtio_features(echo.device), F_VERSION_1 | 4);
	}
}
END_TEST

START_TEST(driver_ok_without_features_ok_needs_reset)
{
	make(_i & 1, false);
	ck_assert(vdriver_reset(&driver));
	vdriver_set_status(&driver, ACKNOWLEDGE | DRIVER | DRIVER_OK);
	ck_assert(vdriver_status(&driver) & NEEDS_RESET);
	ck_assert_int_eq(echo.n_activate, 0);
	ck_assert(vdriver_start(&driver, ring_features(_i), N_QUEUES, 0));
}
END_TEST

START_TEST(status_bits_cannot_be_cleared)
{
	start(_i);
	vdriver_set_status(&driver, ACKNOWLEDGE);
	ck_assert_uint_eq(vdriver_status(&driver), ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	vdriver_set_status(&driver, ACKNOWLEDGE | NEEDS_RESET);
	ck_assert(!(vdriver_status(&driver) & NEEDS_RESET));
	vdriver_set_status(&driver, FAILED);
	ck_assert(vdriver_status(&driver) & FAILED);
	ck_assert_int_eq(echo.n_activate, 1);
}
END_TEST

START_TEST(queue_registers_are_frozen)
{
	start(_i);
	vdriver_select(&driver, 1);
	vdriver_set_queue_size(&driver, 2);
	vdriver_set_queue_addresses(&driver, UINT64_MAX, UINT64_MAX, UINT64_MAX);
	vdriver_enable_queue(&driver, 1);
	expect_echo(1, "frozen");
	vdriver_enable_queue(&driver, 0);
	ck_assert_uint_eq(vdriver_queue_enabled(&driver), 1);
	expect_echo(1, "frozen");
}
END_TEST

START_TEST(queue_that_was_not_set_up_stays_away)
{
	make(_i & 1, false);
	ck_assert(vdriver_start(&driver, ring_features(_i), 2, 0));
	vdriver_select(&driver, 2);
	vdriver_make_ring(&driver, 2, 4);
	vdriver_program_queue(&driver, 2);
	ck_assert_uint_eq(vdriver_queue_enabled(&driver), 0);
	vdriver_kick(&driver, 2);
	machine.machine.ops->run(&machine.machine);
	ck_assert_int_eq(echo.n_processed, 0);
}
END_TEST

START_TEST(queue_select_out_of_range)
{
	static const uint16_t wrong[] = { N_QUEUES, 0x100, 0xffff };

	start(_i);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		vdriver_select(&driver, wrong[i]);
		ck_assert_uint_eq(vdriver_queue_max(&driver), 0);
		ck_assert_uint_eq(vdriver_queue_enabled(&driver), 0);
		vdriver_set_queue_size(&driver, 4);
		vdriver_set_queue_addresses(&driver, 0, 0, 0);
		vdriver_enable_queue(&driver, 1);
		vdriver_reset_queue(&driver);
		ck_assert_uint_eq(vdriver_queue_enabled(&driver), 0);
		if (driver.pci)
			ck_assert_uint_eq(vdriver_set_queue_vector(&driver, 0), VDRIVER_NO_VECTOR);
		else
			vdriver_kick(&driver, wrong[i]);
	}
	expect_echo(0, "fine");
}
END_TEST

static void expect_needs_reset(void)
{
	ck_assert(vdriver_status(&driver) & NEEDS_RESET);
	ck_assert_uint_eq(vdriver_config_interrupts(&driver), 1);
	if (!driver.pci)
		ck_assert(vdriver_isr(&driver) & 2);
}

START_TEST(bad_ring_address_needs_reset)
{
	make(_i & 1, false);
	ck_assert(vdriver_negotiate(&driver, ring_features(_i)));
	if (driver.pci) {
		vdriver_msix_enable(&driver, true);
		vdriver_msix_entry(&driver, 0, VDRIVER_CONFIG_MESSAGE, false);
		vdriver_set_config_vector(&driver, 0);
	}
	vdriver_select(&driver, 0);
	vdriver_set_queue_addresses(&driver, RAM_BYTES, 0x2000, 0x3000);
	vdriver_enable_queue(&driver, 1);
	vdriver_set_status(&driver, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	expect_needs_reset();
	ck_assert_int_eq(echo.n_activate, 0);
	ck_assert_ptr_null(vmm_virtio_queue(echo.device, 0));
	ck_assert(vdriver_start(&driver, ring_features(_i), N_QUEUES, 0));
	expect_echo(0, "again");
}
END_TEST

START_TEST(failed_activation_needs_reset)
{
	make(_i & 1, false);
	echo.fail_activate = -EIO;
	ck_assert(!vdriver_start(&driver, ring_features(_i), N_QUEUES, 0));
	expect_needs_reset();
	for (unsigned int q = 0; q < N_QUEUES; q++)
		ck_assert_ptr_null(vmm_virtio_queue(echo.device, q));
	echo.fail_activate = 0;
	ck_assert(vdriver_start(&driver, ring_features(_i), N_QUEUES, 0));
	expect_echo(0, "again");
}
END_TEST

static void count_failure(void *userdata)
{
	++*(unsigned int *)userdata;
}

START_TEST(broken_ring_stops_that_queue_only)
{
	struct vring_buffer buffer = { RAM_BYTES, 4, false };
	unsigned int n_failures = 0;

	start(_i);
	vmm_virtio_set_failed(echo.device, count_failure, &n_failures);
	vdriver_send(&driver, 1, &buffer, 1);
	machine.machine.ops->run(&machine.machine);
	expect_needs_reset();
	expect_echo(0, "others go on");
	vdriver_config_interrupts(&driver);
	/* More of the same tells nobody anything. */
	for (int i = 0; i < 100; i++) {
		vdriver_kick(&driver, 1);
		machine.machine.ops->run(&machine.machine);
	}
	ck_assert_uint_eq(vdriver_config_interrupts(&driver), 0);
	ck_assert_uint_eq(n_failures, 1);
	ck_assert(vdriver_start(&driver, ring_features(_i), N_QUEUES, 0));
	ck_assert(!(vdriver_status(&driver) & NEEDS_RESET));
	expect_echo(1, "again");
}
END_TEST

START_TEST(what_is_withheld_is_not_offered)
{
	uint64_t offered;

	start(_i);
	offered = vdriver_offered(&driver);
	vmm_virtio_withhold(echo.device, VMM_VIRTIO_F_RING_PACKED | VMM_VIRTIO_F_VERSION_1);
	ck_assert_uint_eq(vdriver_offered(&driver), offered & ~VMM_VIRTIO_F_RING_PACKED);
	ck_assert(offered & VMM_VIRTIO_F_RING_PACKED);
}
END_TEST

START_TEST(failing_device_needs_reset)
{
	start(_i);
	echo.fail_process = -EIO;
	vdriver_kick(&driver, 0);
	ck_assert_int_eq(vmm_virtio_process(echo.device, 0), -EIO);
	expect_needs_reset();
}
END_TEST

START_TEST(device_that_stops_early_is_called_again)
{
	struct vring_buffer buffer = { 0x80000, 4, false };
	struct pollfd pollfd;

	start(_i);
	/* What the start of the device signalled. */
	machine.machine.ops->run(&machine.machine);
	pollfd = (struct pollfd){ vmm_virtio_kick_fd(echo.device, 0), POLLIN, 0 };
	echo.budget = 2;
	for (int i = 0; i < 5; i++)
		vring_add(driver.rings[0], &buffer, 1);
	ck_assert_int_eq(vmm_virtio_process(echo.device, 0), 0);
	ck_assert_int_eq(echo.n_processed, 2);
	ck_assert_int_eq(poll(&pollfd, 1, 0), 1);
	machine.machine.ops->run(&machine.machine);
	ck_assert_int_eq(echo.n_processed, 5);
	ck_assert_int_eq(poll(&pollfd, 1, 0), 0);
}
END_TEST

START_TEST(config_space)
{
	struct machine *m = &machine.machine;
	uint32_t generation;

	make(_i & 1, false);
	ck_assert_uint_eq(machine_read8(m, driver.device + 1), 0x11);
	ck_assert_uint_eq(machine_read16(m, driver.device + 2), 0x1312);
	ck_assert_uint_eq(machine_read32(m, driver.device + 4), 0x17161514);
	ck_assert_uint_eq(machine_read64(m, driver.device), UINT64_C(0x1716151413121110));
	/* Beyond, across the end, misaligned. */
	ck_assert_uint_eq(machine_read8(m, driver.device + 10), 0xff);
	ck_assert_uint_eq(machine_read32(m, driver.device + 8), UINT32_MAX);
	ck_assert_uint_eq(machine_read64(m, driver.device + 8), UINT64_MAX);
	ck_assert_uint_eq(machine_read16(m, driver.device + 1), 0xffff);
	ck_assert_uint_eq(machine_read16(m, driver.device + 0x800), 0xffff);
	machine_write32(m, driver.device + 8, 0);
	machine_write8(m, driver.device + 10, 0);
	machine_write16(m, driver.device + 2, 0xabcd);
	ck_assert_uint_eq(machine_read16(m, driver.device + 2), 0xabcd);
	ck_assert_uint_eq(machine_read16(m, driver.device + 8), 0x1918);

	ck_assert(vdriver_start(&driver, ring_features(_i), N_QUEUES, 0));
	generation = vdriver_generation(&driver);
	vmm_virtio_config_begin(echo.device);
	echo.config[0] = 0x77;
	vmm_virtio_config_end(echo.device, true);
	ck_assert_uint_ne(vdriver_generation(&driver), generation);
	ck_assert_uint_eq(vdriver_config_interrupts(&driver), 1);
	generation = vdriver_generation(&driver);
	vmm_virtio_config_begin(echo.device);
	vmm_virtio_config_end(echo.device, false);
	ck_assert_uint_eq(vdriver_generation(&driver), generation);
	ck_assert_uint_eq(vdriver_config_interrupts(&driver), 0);
}
END_TEST

START_TEST(no_config_interrupt_before_driver_ok)
{
	make(_i & 1, false);
	ck_assert(vdriver_negotiate(&driver, 0));
	if (driver.pci) {
		vdriver_msix_enable(&driver, true);
		vdriver_msix_entry(&driver, 0, VDRIVER_CONFIG_MESSAGE, false);
		vdriver_set_config_vector(&driver, 0);
	}
	vmm_virtio_config_begin(echo.device);
	vmm_virtio_config_end(echo.device, true);
	ck_assert_uint_eq(vdriver_config_interrupts(&driver), 0);
	ck_assert_uint_eq(vdriver_isr(&driver), 0);
}
END_TEST

START_TEST(one_transport_only)
{
	struct vmm_virtio_mmio_config config = { .bus = NULL, .gpa = 0xd8000000, .irq_fd = 0 };
	struct vmm_virtio_mmio *mmio = NULL;

	make(_i & 1, false);
	config.bus = machine.mmio;
	ck_assert_int_eq(vmm_virtio_mmio_new(echo.device, &config, &mmio), -EBUSY);
	ck_assert_ptr_null(mmio);
	ck_assert(vdriver_start(&driver, 0, N_QUEUES, 0));
}
END_TEST

START_TEST(bad_device_configuration)
{
	static const uint16_t good_size[] = { 4 }, bad_size[] = { 3 };
	const struct vmm_virtio_device_config good = {
		.device_type = 1,
		.n_queues = 1,
		.queue_sizes = good_size,
		.ops = &echo_ops,
		.mem = (struct vmm_mem *)&echo,
	};
	struct vmm_virtio_device_config bad[5];
	struct vmm_virtio_device *device = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good;
	bad[0].n_queues = 0;
	bad[1].n_queues = VMM_VIRTIO_MAX_QUEUES + 1;
	bad[2].queue_sizes = bad_size;
	bad[3].config_size_bytes = 4;
	bad[4].mem = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_int_eq(vmm_virtio_device_new(&bad[i], &device), -EINVAL);
	ck_assert_ptr_null(device);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio");
	TCase *t = unit_case(suite, "driver");

	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_loop_test(t, device_works, 0, 8);
	tcase_add_loop_test(t, device_works_without_doorbells, 0, 4);
	tcase_add_loop_test(t, work_offered_before_driver_ok_is_served, 0, 4);
	tcase_add_loop_test(t, features_are_checked, 0, 2);
	tcase_add_loop_test(t, driver_ok_without_features_ok_needs_reset, 0, 2);
	tcase_add_loop_test(t, status_bits_cannot_be_cleared, 0, 2);
	tcase_add_loop_test(t, queue_registers_are_frozen, 0, 4);
	tcase_add_loop_test(t, queue_that_was_not_set_up_stays_away, 0, 4);
	tcase_add_loop_test(t, queue_select_out_of_range, 0, 2);
	tcase_add_loop_test(t, bad_ring_address_needs_reset, 0, 4);
	tcase_add_loop_test(t, failed_activation_needs_reset, 0, 2);
	tcase_add_loop_test(t, broken_ring_stops_that_queue_only, 0, 4);
	tcase_add_loop_test(t, failing_device_needs_reset, 0, 2);
	tcase_add_loop_test(t, what_is_withheld_is_not_offered, 0, 2);
	tcase_add_loop_test(t, device_that_stops_early_is_called_again, 0, 4);
	tcase_add_loop_test(t, config_space, 0, 2);
	tcase_add_loop_test(t, no_config_interrupt_before_driver_ok, 0, 2);
	tcase_add_loop_test(t, one_transport_only, 0, 2);

	t = unit_case(suite, "resets");
	tcase_add_checked_fixture(t, NULL, teardown);
	add_reset_tests(t);

	t = unit_case(suite, "registers");
	tcase_add_checked_fixture(t, NULL, teardown);
	add_register_tests(t);

	t = unit_case(suite, "arguments");
	tcase_add_test(t, bad_device_configuration);
	return unit_run(suite);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Resets of devices and of queues, and pauses: what waits for requests in flight. */
#include "virtio-fixture.h"

START_TEST(reset_brings_everything_back)
{
	for (int round = 0; round < 3; round++) {
		if (round == 0)
			start(_i);
		else
			ck_assert(vdriver_start(&driver, ring_features(_i), N_QUEUES, 16));
		expect_echo(0, "once more");
		ck_assert(vdriver_reset(&driver));
		ck_assert_int_eq(echo.n_reset, round + 1);
		ck_assert_uint_eq(vmm_virtio_features(echo.device), 0);
		for (uint16_t q = 0; q < N_QUEUES; q++) {
			vdriver_select(&driver, q);
			ck_assert_uint_eq(vdriver_queue_enabled(&driver), 0);
			ck_assert_uint_eq(vdriver_queue_max(&driver), queue_sizes[q]);
			ck_assert_ptr_null(vmm_virtio_queue(echo.device, q));
		}
		/* Nobody works on the old ring any more. */
		echo.n_processed = 0;
		vring_add(driver.rings[0], &(struct vring_buffer){ 0x80000, 4, false }, 1);
		vdriver_kick(&driver, 0);
		machine.machine.ops->run(&machine.machine);
		ck_assert_int_eq(echo.n_processed, 0);
	}
}
END_TEST

START_TEST(reset_waits_for_requests_in_flight)
{
	struct vring_buffer buffer = { 0x80000, 4, true };
	uint32_t id, len;

	make(true, _i & 4);
	ck_assert(vdriver_start(&driver, ring_features(_i), N_QUEUES, 0));
	echo.hold = true;
	vdriver_send(&driver, 1, &buffer, 1);
	machine.machine.ops->run(&machine.machine);
	ck_assert(echo.is_held);
	vdriver_set_status(&driver, 0);
	ck_assert_uint_ne(vdriver_status(&driver), 0);
	/* All that a driver may try meanwhile vanishes. */
	vdriver_set_status(&driver, ACKNOWLEDGE | DRIVER);
	vdriver_set_features(&driver, F_VERSION_1);
	vdriver_select(&driver, 0);
	vdriver_enable_queue(&driver, 1);
	vdriver_set_queue_vector(&driver, 1);
	vdriver_set_status(&driver, 0);
	ck_assert_uint_ne(vdriver_status(&driver), 0);
	end_held();
	ck_assert_uint_eq(vdriver_status(&driver), 0);
	ck_assert(!vring_get_used(driver.rings[1], &id, &len));
	ck_assert_int_eq(echo.n_reset, 1);
	echo.hold = false;
	ck_assert(vdriver_start(&driver, ring_features(_i), N_QUEUES, 0));
	expect_echo(1, "after");
}
END_TEST

static void *end_held_later(void *arg)
{
	poll(NULL, 0, 50);
	end_held();
	return NULL;
}

START_TEST(mmio_reset_lasts_until_it_is_over)
{
	struct vring_buffer buffer = { 0x80000, 4, true };
	pthread_t thread;

	make(false, _i & 4);
	ck_assert(vdriver_start(&driver, ring_features(_i), N_QUEUES, 0));
	echo.hold = true;
	vdriver_send(&driver, 1, &buffer, 1);
	machine.machine.ops->run(&machine.machine);
	ck_assert(echo.is_held);
	ck_assert_int_eq(pthread_create(&thread, NULL, end_held_later, NULL), 0);
	vdriver_set_status(&driver, 0);
	ck_assert(!echo.is_held);
	ck_assert_uint_eq(vdriver_status(&driver), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

START_TEST(host_can_reset)
{
	start(_i);
	expect_echo(0, "x");
	ck_assert_int_eq(vmm_virtio_reset(echo.device), 0);
	vmm_virtio_wait_reset(echo.device);
	ck_assert_uint_eq(vdriver_status(&driver), 0);
	ck_assert(!vmm_virtio_is_active(echo.device));
}
END_TEST

START_TEST(queue_can_be_reset_alone)
{
	start(_i);
	for (int round = 0; round < 3; round++) {
		expect_echo(1, "before");
		expect_echo(2, "before");
		vdriver_select(&driver, 1);
		vdriver_reset_queue(&driver);
		ck_assert_uint_eq(vdriver_queue_resetting(&driver), 0);
		ck_assert_uint_eq(vdriver_queue_enabled(&driver), 0);
		ck_assert_int_eq(echo.n_queue_reset, round + 1);
		expect_echo(2, "the other one");
		driver.next_gpa = 0x40000;
		vdriver_make_ring(&driver, 1, 4);
		vdriver_program_queue(&driver, 1);
		ck_assert_uint_eq(vdriver_queue_enabled(&driver), 1);
		ck_assert_int_eq(echo.n_queue_enable, round + 1);
		expect_echo(1, "after");
	}
	ck_assert_int_eq(echo.n_activate, 1);
	ck_assert_uint_eq(vdriver_status(&driver), ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}
END_TEST

START_TEST(queue_reset_waits_for_requests_in_flight)
{
	struct vring_buffer buffer = { 0x80000, 4, true };
	uint32_t id, len;

	start(_i);
	echo.hold = true;
	vdriver_send(&driver, 1, &buffer, 1);
	machine.machine.ops->run(&machine.machine);
	ck_assert(echo.is_held);
	vdriver_select(&driver, 1);
	vdriver_reset_queue(&driver);
	ck_assert_uint_eq(vdriver_queue_resetting(&driver), 1);
	vdriver_enable_queue(&driver, 1);
	ck_assert_uint_eq(vdriver_queue_resetting(&driver), 1);
	end_held();
	ck_assert_uint_eq(vdriver_queue_resetting(&driver), 0);
	ck_assert_uint_eq(vdriver_queue_enabled(&driver), 0);
	ck_assert(!vring_get_used(driver.rings[1], &id, &len));
}
END_TEST

START_TEST(queue_reset_needs_the_feature)
{
	make(_i & 1, false);
	ck_assert(vdriver_start(&driver, ring_features(_i), N_QUEUES, 0));
	vdriver_select(&driver, 1);
	vdriver_reset_queue(&driver);
	ck_assert_uint_eq(vdriver_queue_enabled(&driver), 1);
	ck_assert_int_eq(echo.n_queue_reset, 0);
	expect_echo(1, "still here");
}
END_TEST

static int n_paused;

static void count_paused(void *userdata)
{
	n_paused++;
}

START_TEST(pause_and_resume)
{
	struct vring_buffer buffer = { 0x80000, 4, false };
	uint32_t id, len;

	n_paused = 0;
	start(_i);
	expect_echo(0, "before");
	ck_assert_int_eq(vmm_virtio_pause(echo.device, count_paused, NULL), 0);
	ck_assert(vmm_virtio_is_paused(echo.device));
	ck_assert_int_eq(n_paused, 0);
	ck_assert_int_eq(vmm_virtio_pause(echo.device, NULL, NULL), -EALREADY);
	echo.n_processed = 0;
	vdriver_send(&driver, 0, &buffer, 1);
	machine.machine.ops->run(&machine.machine);
	ck_assert_int_eq(echo.n_processed, 0);
	vmm_virtio_resume(echo.device);
	ck_assert(vdriver_wait_used(&driver, 0, &id, &len));
	ck_assert_int_eq(echo.n_pause, 1);
	ck_assert_int_eq(echo.n_resume, 1);
	vmm_virtio_resume(echo.device);
	ck_assert_int_eq(echo.n_resume, 1);
}
END_TEST

START_TEST(pause_waits_for_requests_in_flight)
{
	struct vring_buffer buffer = { 0x80000, 4, false };
	uint32_t id, len;

	n_paused = 0;
	start(_i);
	echo.hold = true;
	vdriver_send(&driver, 0, &buffer, 1);
	machine.machine.ops->run(&machine.machine);
	ck_assert_int_eq(vmm_virtio_pause(echo.device, count_paused, NULL), 1);
	ck_assert(!vmm_virtio_is_paused(echo.device));
	end_held();
	ck_assert(vmm_virtio_is_paused(echo.device));
	ck_assert_int_eq(n_paused, 1);
	/* What was in flight did reach the driver. */
	ck_assert(vring_get_used(driver.rings[0], &id, &len));
	echo.hold = false;
	vmm_virtio_resume(echo.device);
	expect_echo(0, "after");
}
END_TEST

START_TEST(reset_ends_a_pause_that_waits)
{
	struct vring_buffer buffer = { 0x80000, 4, false };

	n_paused = 0;
	make(true, false);
	ck_assert(vdriver_start(&driver, ring_features(_i), N_QUEUES, 0));
	echo.hold = true;
	vdriver_send(&driver, 0, &buffer, 1);
	machine.machine.ops->run(&machine.machine);
	ck_assert_int_eq(vmm_virtio_pause(echo.device, count_paused, NULL), 1);
	vdriver_set_status(&driver, 0);
	end_held();
	ck_assert(vmm_virtio_is_paused(echo.device));
	ck_assert_int_eq(n_paused, 1);
	ck_assert_uint_eq(vdriver_status(&driver), 0);
}
END_TEST

/* A thread of the device serves while another, a vCPU, resets and starts it again. */
static bool stop_serving;

static void *serve(void *arg)
{
	struct pollfd pollfds[N_QUEUES];

	for (unsigned int q = 0; q < N_QUEUES; q++)
		pollfds[q] = (struct pollfd){ vmm_virtio_kick_fd(echo.device, q), POLLIN, 0 };
	while (!__atomic_load_n(&stop_serving, __ATOMIC_ACQUIRE)) {
		poll(pollfds, N_QUEUES, 1);
		/* Without looking whether there was a kick: that must not matter. */
		for (unsigned int q = 0; q < N_QUEUES; q++)
			vmm_virtio_process(echo.device, q);
	}
	return NULL;
}

START_TEST(reset_against_processing)
{
	struct vring_buffer buffers[] = { { 0x80000, 8, false }, { 0x80100, 8, true } };
	uint8_t *byte;
	pthread_t thread;
	uint32_t len;

	make(_i & 1, _i & 4);
	machine.own_threads = true;
	stop_serving = false;
	byte = machine.machine.ram + buffers[1].gpa;
	ck_assert_int_eq(pthread_create(&thread, NULL, serve, NULL), 0);
	for (int round = 0; round < 150; round++) {
		ck_assert(vdriver_start(&driver, ring_features(_i) | F_RING_RESET, N_QUEUES, 16));
		if (round % 3 == 0)
			ck_assert(vdriver_transfer(&driver, 0, buffers, 2, &len));
		if (round % 5 == 0) {
			vdriver_select(&driver, 1);
			vdriver_reset_queue(&driver);
			vdriver_make_ring(&driver, 1, 4);
			vdriver_program_queue(&driver, 1);
		}
		if (round % 7 == 0) {
			ck_assert_int_eq(vmm_virtio_pause(echo.device, NULL, NULL), 0);
			vmm_virtio_resume(echo.device);
		}
		for (uint16_t q = 0; q < N_QUEUES; q++)
			for (int i = 0; i < 2; i++) /* what the smallest ring holds */
				vdriver_send(&driver, q, buffers, 2);
		ck_assert(vdriver_reset(&driver));
		/* Nothing writes guest memory from here on: ThreadSanitizer would see it. */
		*byte = (uint8_t)round;
	}
	__atomic_store_n(&stop_serving, true, __ATOMIC_RELEASE);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

void add_reset_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, reset_brings_everything_back, 0, 8);
	tcase_add_loop_test(tcase, reset_waits_for_requests_in_flight, 0, 8);
	tcase_add_loop_test(tcase, mmio_reset_lasts_until_it_is_over, 0, 8);
	tcase_add_loop_test(tcase, host_can_reset, 0, 4);
	tcase_add_loop_test(tcase, queue_can_be_reset_alone, 0, 8);
	tcase_add_loop_test(tcase, queue_reset_waits_for_requests_in_flight, 0, 4);
	tcase_add_loop_test(tcase, queue_reset_needs_the_feature, 0, 4);
	tcase_add_loop_test(tcase, pause_and_resume, 0, 8);
	tcase_add_loop_test(tcase, pause_waits_for_requests_in_flight, 0, 8);
	tcase_add_loop_test(tcase, reset_ends_a_pause_that_waits, 0, 4);
	tcase_add_loop_test(tcase, reset_against_processing, 0, 8);
}

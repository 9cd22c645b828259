/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-blk: what happens while requests are in flight: reset, queue reset, pause, limits,
 * threads. The back end here holds each request until the test lets it go.
 */
#include "virtio-blk-life.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <vmmcore/virtio-blk.h>

#include "base/util.h"
#include "lib/blk-driver.h"

#define DISK_BYTES (UINT64_C(1) << 20)
#define DATA DRIVER_DATA_GPA

static struct driver driver;
static struct vmm_virtio_blk *blk;

static struct held {
	pthread_mutex_t lock;
	struct vmm_blk_io *ios[256];
	unsigned int n;
	unsigned int n_cancels, n_submits;
	uint32_t flags; /* of the last */
	bool at_once;   /* do not hold */
	int result;
} held;

static int held_geometry(void *userdata, struct vmm_blk_geometry *ret_geometry)
{
	*ret_geometry = (struct vmm_blk_geometry){
		.capacity_bytes = DISK_BYTES,
		.write_zeroes = true,
	};
	return 0;
}

static int held_submit(void *userdata, struct vmm_blk_io *io)
{
	int r = VMM_BLK_PENDING;

	pthread_mutex_lock(&held.lock);
	held.n_submits++;
	held.flags = io->flags;
	if (held.at_once)
		r = held.result;
	else
		held.ios[held.n++] = io;
	pthread_mutex_unlock(&held.lock);
	return r;
}

static void held_cancel(void *userdata, unsigned int thread)
{
	__atomic_add_fetch(&held.n_cancels, 1, __ATOMIC_RELAXED);
}

static const struct vmm_blk_ops held_ops = {
	.geometry = held_geometry,
	.submit = held_submit,
	.cancel = held_cancel,
};

static unsigned int n_held(void)
{
	unsigned int n;

	pthread_mutex_lock(&held.lock);
	n = held.n;
	pthread_mutex_unlock(&held.lock);
	return n;
}

static void wait_held(unsigned int n)
{
	for (int i = 0; i < 10000 && n_held() != n; i++)
		usleep(1000);
	ck_assert_uint_eq(n_held(), n);
}

/* The device has begun to reset: it asked for what is in flight to end. */
static void wait_cancelled(void)
{
	for (int i = 0; i < 10000 && !__atomic_load_n(&held.n_cancels, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
	ck_assert_uint_ge(held.n_cancels, 1);
}

/* Lets one request go, as a disk that writes data would. False: there is none. */
static bool try_release(int result)
{
	struct vmm_blk_io *io = NULL;

	pthread_mutex_lock(&held.lock);
	if (held.n > 0)
		io = held.ios[--held.n];
	pthread_mutex_unlock(&held.lock);
	if (!io)
		return false;
	for (uint32_t i = 0; io->op == VMM_BLK_READ && i < io->n_iov; i++)
		memset(io->iov[i].iov_base, 0xab, io->iov[i].iov_len);
	vmm_blk_complete(io, result);
	return true;
}

static void release(int result)
{
	ck_assert(try_release(result));
}

static void new_device(const struct vmm_virtio_blk_config *config)
{
	struct vmm_virtio_blk_config with_mem = *config;

	held = (struct held){ .lock = PTHREAD_MUTEX_INITIALIZER };
	driver_init(&driver);
	with_mem.mem = driver.mem;
	with_mem.backend.ops = &held_ops;
	ck_assert_int_eq(vmm_virtio_blk_new(&with_mem, &blk), 0);
	driver_attach(&driver, vmm_virtio_blk_device(blk));
}

static void setup_with(const struct vmm_virtio_blk_config *config, uint64_t features)
{
	new_device(config);
	ck_assert(driver_start(&driver, features, MAX(config->n_queues, 1u), 64));
}

static void setup(void)
{
	struct vmm_virtio_blk_config config = { 0 };

	setup_with(&config, UINT64_MAX & ~VMM_VIRTIO_F_RING_PACKED);
}

static void teardown(void)
{
	driver_detach(&driver);
	blk = vmm_virtio_blk_free(blk);
	driver_finish(&driver);
}

static void start_reads(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct vring_buffer data = { DATA + i * 4096, 4096, true };

		blk_start(&driver, 0, i, BLK_IN, i * 8, &data, 1, false);
	}
}

static void check_untouched(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		ck_assert_int_eq(*blk_status(&driver, i), BLK_NO_STATUS);
	ck_assert(!vring_get_used(&driver.rings[0], &(uint32_t){ 0 }, &(uint32_t){ 0 }));
}

static void *wait_for_reset(void *userdata)
{
	driver_reset(&driver);
	__atomic_store_n((bool *)userdata, true, __ATOMIC_RELEASE);
	return NULL;
}

START_TEST(reset_waits_for_requests_and_drops_them)
{
	pthread_t thread;
	bool done = false;

	setup();
	start_reads(5);
	wait_held(5);
	pthread_create(&thread, NULL, wait_for_reset, &done);
	wait_cancelled();
	for (unsigned int i = 5; i > 0; i--) {
		usleep(5000);
		ck_assert(!__atomic_load_n(&done, __ATOMIC_ACQUIRE));
		release(0);
	}
	pthread_join(thread, NULL);
	ck_assert(done);
	/* Neither statuses nor the used ring: the driver may have reused all of it. */
	check_untouched(5);

	ck_assert(driver_start(&driver, UINT64_MAX, 1, 64));
	held.at_once = true;
	ck_assert_int_eq(blk_read(&driver, 0, DATA, 512), BLK_OK);
	teardown();
}
END_TEST

START_TEST(reset_without_requests_is_immediate)
{
	setup();
	driver_write(&driver, 0x070, 0);
	ck_assert_int_eq(driver_status(&driver), 0);
	teardown();
}
END_TEST

static unsigned int n_paused;

static void on_paused(void *userdata)
{
	__atomic_add_fetch(&n_paused, 1, __ATOMIC_RELEASE);
}

START_TEST(pause_waits_for_requests_and_resume_goes_on)
{
	struct vmm_virtio_device *device;

	setup();
	device = vmm_virtio_blk_device(blk);
	n_paused = 0;
	start_reads(3);
	wait_held(3);
	ck_assert_int_eq(vmm_virtio_pause(device, on_paused, NULL), 1);
	/* What comes now has to wait. */
	blk_start(&driver, 0, 3, BLK_FLUSH, 0, NULL, 0, false);
	usleep(20000);
	ck_assert_uint_eq(held.n_submits, 3);
	release(0);
	release(-EIO);
	usleep(5000);
	ck_assert_uint_eq(__atomic_load_n(&n_paused, __ATOMIC_ACQUIRE), 0);
	release(0);
	for (int i = 0; i < 10000 && !__atomic_load_n(&n_paused, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
	ck_assert_uint_eq(n_paused, 1);
	ck_assert(vmm_virtio_is_paused(device));
	/* They completed: a pause loses nothing. */
	for (unsigned int i = 0; i < 3; i++)
		ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
	ck_assert_int_eq(*blk_status(&driver, 1), BLK_IOERR);
	ck_assert_int_eq(*blk_status(&driver, 0), BLK_OK);
	ck_assert_int_eq(*blk_status(&driver, 3), BLK_NO_STATUS);
	ck_assert_uint_eq(held.n_submits, 3);

	vmm_virtio_resume(device);
	wait_held(1);
	release(0);
	ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
	ck_assert_int_eq(*blk_status(&driver, 3), BLK_OK);
	teardown();
}
END_TEST

START_TEST(reset_while_pausing)
{
	struct vmm_virtio_device *device;
	pthread_t thread;
	bool done = false;

	setup();
	device = vmm_virtio_blk_device(blk);
	n_paused = 0;
	start_reads(2);
	wait_held(2);
	ck_assert_int_eq(vmm_virtio_pause(device, on_paused, NULL), 1);
	pthread_create(&thread, NULL, wait_for_reset, &done);
	wait_cancelled();
	release(0);
	usleep(5000);
	ck_assert(!__atomic_load_n(&done, __ATOMIC_ACQUIRE));
	release(0);
	pthread_join(thread, NULL);
	for (int i = 0; i < 10000 && !__atomic_load_n(&n_paused, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
	ck_assert_uint_eq(n_paused, 1);
	check_untouched(2);
	vmm_virtio_resume(device);
	ck_assert(driver_start(&driver, UINT64_MAX, 1, 64));
	held.at_once = true;
	ck_assert_int_eq(blk_read(&driver, 0, DATA, 512), BLK_OK);
	teardown();
}
END_TEST

START_TEST(free_waits_for_requests)
{
	setup();
	start_reads(3);
	wait_held(3);
	vmm_virtio_reset(driver.device);
	driver.mmio = vmm_virtio_mmio_free(driver.mmio);
	driver.device = NULL;
	while (n_held() > 0)
		release(0);
	blk = vmm_virtio_blk_free(blk);
	check_untouched(3);
	driver_finish(&driver);
}
END_TEST

/* In the I/O thread. */
static _Atomic unsigned int n_told, told_op;
static _Atomic int told_error;

static void on_failed(void *userdata, enum vmm_blk_op op, int error)
{
	ck_assert_ptr_eq(userdata, &held);
	n_told++;
	told_op = op;
	told_error = error;
}

START_TEST(results_become_statuses)
{
	static const struct {
		int result;
		uint8_t status;
	} rows[] = {
		{ 0, BLK_OK },
		{ -EIO, BLK_IOERR },
		{ -ENOSPC, BLK_IOERR },
		{ -EFAULT, BLK_IOERR },
		{ -EOPNOTSUPP, BLK_UNSUPP },
	};
	struct vmm_virtio_blk_config config = { .failed = on_failed, .failed_userdata = &held };
	struct vmm_virtio_blk_status status;

	setup_with(&config, UINT64_MAX & ~VMM_VIRTIO_F_RING_PACKED);
	for (int at_once = 0; at_once < 2; at_once++) {
		held.at_once = at_once;
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			held.result = rows[i].result;
			start_reads(1);
			if (!at_once) {
				wait_held(1);
				release(rows[i].result);
			}
			ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
			ck_assert_int_eq(*blk_status(&driver, 0), rows[i].status);
		}
	}
	vmm_virtio_blk_get_status(blk, &status);
	ck_assert_uint_eq(status.n_failed, 8);
	/* Not of what is not supported. */
	ck_assert_uint_eq(n_told, 6);
	ck_assert_uint_eq(told_op, VMM_BLK_READ);
	ck_assert_int_eq(told_error, -EFAULT);
	ck_assert_str_eq(status.engine, "custom");
	ck_assert(!(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET));
	teardown();
}
END_TEST

/* VIRTIO 1.2, 5.2.6.2: without FLUSH, or with the cache off, a write is durable when it ends. */
START_TEST(cache_modes)
{
	const uint64_t flush = 1 << 9, wce = 1 << 11;
	struct vmm_virtio_blk_config config = { 0 };
	uint8_t byte;

	for (int write_through = 0; write_through < 2; write_through++) {
		config.write_through = write_through;
		setup_with(&config, flush | wce);
		held.at_once = true;
		driver_config_read(&driver, 32, &byte, 1);
		ck_assert_int_eq(byte, !write_through);
		for (int i = 0; i < 3; i++) {
			uint8_t writeback = (uint8_t)(i & 1);

			driver_config_write(&driver, 32, writeback);
			driver_config_read(&driver, 32, &byte, 1);
			ck_assert_int_eq(byte, writeback);
			ck_assert_int_eq(blk_write(&driver, 0, DATA, 512), BLK_OK);
			ck_assert_uint_eq(held.flags, writeback ? 0 : VMM_BLK_DURABLE);
		}
		/* Other bytes are not the driver's to change. */
		driver_config_write(&driver, 0, 0xff);
		driver_config_read(&driver, 0, &byte, 1);
		ck_assert_int_eq(byte, 0);

		ck_assert(driver_start(&driver, flush, 1, 64));
		ck_assert_int_eq(blk_write(&driver, 0, DATA, 512), BLK_OK);
		ck_assert_uint_eq(held.flags, write_through ? VMM_BLK_DURABLE : 0);
		driver_config_write(&driver, 32, 1);
		ck_assert_int_eq(blk_write(&driver, 0, DATA, 512), BLK_OK);
		ck_assert_uint_eq(held.flags, write_through ? VMM_BLK_DURABLE : 0);

		ck_assert(driver_start(&driver, 0, 1, 64));
		ck_assert_int_eq(blk_write(&driver, 0, DATA, 512), BLK_OK);
		ck_assert_uint_eq(held.flags, VMM_BLK_DURABLE);
		teardown();
	}
}
END_TEST

START_TEST(other_queues_go_on_while_one_is_reset)
{
	struct vmm_virtio_blk_config config = { .n_queues = 2, .n_threads = 2 };
	struct vring_buffer data = { DATA, 512, true };

	setup_with(&config, VMM_VIRTIO_F_RING_RESET);
	ck_assert(driver.features & VMM_VIRTIO_F_RING_RESET);
	start_reads(2);
	wait_held(2);
	driver_write(&driver, 0x030, 0);
	driver_write(&driver, 0x0c0, 1);
	ck_assert_uint_eq(driver_read(&driver, 0x0c0), 1);

	blk_start(&driver, 1, 7, BLK_IN, 0, &data, 1, false);
	wait_held(3);
	release(0);
	ck_assert(driver_wait_used(&driver, 1, NULL, NULL));
	ck_assert_int_eq(*blk_status(&driver, 7), BLK_OK);

	driver_write(&driver, 0x030, 0);
	ck_assert_uint_eq(driver_read(&driver, 0x0c0), 1);
	release(0);
	release(0);
	for (int i = 0; i < 10000 && driver_read(&driver, 0x0c0) != 0; i++)
		usleep(1000);
	ck_assert_uint_eq(driver_read(&driver, 0x0c0), 0);
	check_untouched(2);
	driver_set_up_queue(&driver, 0, 32);
	held.at_once = true;
	ck_assert_int_eq(blk_read(&driver, 0, DATA, 512), BLK_OK);
	teardown();
}
END_TEST

/*
 * Each request ends when the bucket admits it: never before, and not much later (the machine may
 * be busy: how much later is for the bench to measure).
 */
START_TEST(limits_hold_to_the_moment)
{
	struct vmm_virtio_blk_config config = {
		.limits.ops = { .rate = 500, .burst = 1 },
		.no_threads = _i == 1,
	};
	uint64_t start_nsec, elapsed_nsec;
	struct vmm_virtio_blk_status status;
	unsigned int n_used = 0;

	setup_with(&config, UINT64_MAX & ~VMM_VIRTIO_F_RING_PACKED);
	held.at_once = true;
	start_nsec = vmm_base_now_nsec();
	start_reads(16);
	for (unsigned int i = 0; i < 2; i++)
		for (unsigned int j = 0; j < 16; j++) {
			uint32_t id, len;

			while (!vring_get_used(&driver.rings[0], &id, &len)) {
				struct pollfd poll_fd = {
					.fd = vmm_virtio_blk_fd(blk),
					.events = POLLIN,
				};

				if (!config.no_threads) {
					sched_yield();
					continue;
				}
				poll(&poll_fd, 1, 1000);
				ck_assert_int_eq(vmm_virtio_blk_process(blk), 0);
			}
			n_used++;
			if (i == 0)
				start_reads(1);
		}
	elapsed_nsec = vmm_base_now_nsec() - start_nsec;
	ck_assert_uint_eq(n_used, 32);
	ck_assert_uint_ge(elapsed_nsec, UINT64_C(31) * 2000000);
	ck_assert_uint_lt(elapsed_nsec, UINT64_C(31) * 2000000 + 2000000000);
	vmm_virtio_blk_get_status(blk, &status);
	ck_assert_uint_ge(status.n_limited, 16);
	teardown();
}
END_TEST

START_TEST(lifted_limit_lets_waiting_requests_go)
{
	struct vmm_virtio_blk_config config = {
		.limits.bytes = { .rate = 1, .burst = 1 },
	};

	setup_with(&config, UINT64_MAX & ~VMM_VIRTIO_F_RING_PACKED);
	held.at_once = true;
	start_reads(3);
	ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
	usleep(20000);
	ck_assert_uint_eq(held.n_submits, 1);
	ck_assert_int_eq(vmm_virtio_blk_set_limits(blk, NULL), 0);
	ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
	ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
	config.limits.ops.rate = UINT64_MAX;
	ck_assert_int_eq(vmm_virtio_blk_set_limits(blk, &config.limits), -EINVAL);
	teardown();
}
END_TEST

START_TEST(limited_device_can_be_reset_and_freed)
{
	struct vmm_virtio_blk_config config = {
		.limits.ops = { .rate = 1, .period_nsec = UINT64_C(3600000000000), .burst = 1 },
	};

	setup_with(&config, UINT64_MAX & ~VMM_VIRTIO_F_RING_PACKED);
	held.at_once = true;
	start_reads(3);
	ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
	driver_reset(&driver);
	ck_assert(driver_start(&driver, 0, 1, 64));
	start_reads(1);
	teardown();
}
END_TEST

START_TEST(idle_device_never_wakes_up)
{
	struct vmm_virtio_blk_status before, after;

	setup();
	held.at_once = true;
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(blk_read(&driver, 0, DATA, 512), BLK_OK);
	usleep(50000);
	vmm_virtio_blk_get_status(blk, &before);
	usleep(300000);
	vmm_virtio_blk_get_status(blk, &after);
	ck_assert_uint_eq(before.n_wakeups, after.n_wakeups);
	teardown();
}
END_TEST

/* With the event index far ahead no interrupt comes; when it is reached, one does. */
START_TEST(interrupts_follow_the_event_index)
{
	setup();
	held.at_once = true;
	ck_assert(driver.features & VMM_VIRTIO_F_EVENT_IDX);
	vring_set_used_event(&driver.rings[0], 9, true);
	while (driver_wait_interrupt(&driver, 0, NULL))
		;
	for (int i = 0; i < 9; i++)
		ck_assert_int_eq(blk_read(&driver, 0, DATA, 512), BLK_OK);
	ck_assert(!driver_wait_interrupt(&driver, 50, NULL));
	ck_assert_int_eq(blk_read(&driver, 0, DATA, 512), BLK_OK);
	ck_assert(driver_wait_interrupt(&driver, 2000, NULL));
	teardown();
}
END_TEST

static int refuse_thread(void *userdata, enum vmm_blk_thread_kind kind)
{
	return kind == VMM_BLK_THREAD_IO ? -EPERM : 0;
}

START_TEST(thread_hook_can_refuse)
{
	struct vmm_virtio_blk_config config = {
		.backend.ops = &held_ops,
		.hook.start = refuse_thread,
	};

	driver_init(&driver);
	config.mem = driver.mem;
	ck_assert_int_eq(vmm_virtio_blk_new(&config, &blk), -EPERM);
	driver_finish(&driver);
}
END_TEST

START_TEST(bad_configurations)
{
	static const struct vmm_virtio_blk_config rows[] = {
		{ .n_queues = VMM_BLK_MAX_QUEUES + 1 },
		{ .queue_size = 100 },
		{ .queue_size = 2 },
		{ .queue_size = 2048 },
		{ .n_threads = 2 },
		{ .n_queues = 2, .n_threads = 3 },
		{ .n_queues = 2, .n_threads = 2, .no_threads = true },
		{ .limits.ops.rate = UINT64_MAX },
	};
	struct vmm_virtio_blk_config config = { 0 };

	driver_init(&driver);
	ck_assert_int_eq(vmm_virtio_blk_new(&config, &blk), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		config = rows[i];
		config.mem = driver.mem;
		config.backend.ops = &held_ops;
		ck_assert_int_eq(vmm_virtio_blk_new(&config, &blk), -EINVAL);
	}
	driver_finish(&driver);
}
END_TEST

static void *release_all(void *userdata)
{
	while (!__atomic_load_n((bool *)userdata, __ATOMIC_ACQUIRE))
		if (!try_release(0))
			sched_yield();
	return NULL;
}

/* Requests end in other threads while the driver resets, pauses and goes on at any moment. */
START_TEST(resets_and_pauses_at_any_moment)
{
	struct vmm_virtio_blk_config config = { .n_queues = 3, .n_threads = 2 };
	struct vmm_virtio_device *device;
	pthread_t threads[2];
	bool stop = false;
	unsigned int seed = 1;

	new_device(&config);
	device = vmm_virtio_blk_device(blk);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, release_all, &stop);
	for (int round = 0; round < 300; round++) {
		uint64_t packed = round & 1 ? VMM_VIRTIO_F_RING_PACKED : 0;

		ck_assert(driver_start(&driver, packed | VMM_VIRTIO_F_EVENT_IDX, 3, 64));
		for (unsigned int i = 0; i < 12; i++) {
			struct vring_buffer data = { DATA + i * 4096, 4096, i & 1 };

			blk_start(&driver, i % 3, i, i & 1 ? BLK_IN : BLK_OUT, i * 8, &data, 1,
				false);
		}
		/* Without giving the CPU away each time, which takes long on a busy machine. */
		for (unsigned int n = (unsigned int)rand_r(&seed) % 1000; n > 0; n--)
			__builtin_ia32_pause();
		if (round % 8 == 0)
			sched_yield();
		if (round % 3 == 0) {
			vmm_virtio_pause(device, NULL, NULL);
			sched_yield();
			vmm_virtio_resume(device);
		}
		if (round % 4 == 0)
			for (unsigned int i = 0; i < 12; i++)
				ck_assert(driver_wait_used(&driver, i % 3, NULL, NULL));
	}
	driver_reset(&driver);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(n_held(), 0);
	teardown();
}
END_TEST

void add_life_tests(TCase *tcase)
{
	tcase_add_test(tcase, reset_waits_for_requests_and_drops_them);
	tcase_add_test(tcase, reset_without_requests_is_immediate);
	tcase_add_test(tcase, pause_waits_for_requests_and_resume_goes_on);
	tcase_add_test(tcase, reset_while_pausing);
	tcase_add_test(tcase, free_waits_for_requests);
	tcase_add_test(tcase, results_become_statuses);
	tcase_add_test(tcase, cache_modes);
	tcase_add_test(tcase, other_queues_go_on_while_one_is_reset);
	tcase_add_loop_test(tcase, limits_hold_to_the_moment, 0, 2);
	tcase_add_test(tcase, lifted_limit_lets_waiting_requests_go);
	tcase_add_test(tcase, limited_device_can_be_reset_and_freed);
	tcase_add_test(tcase, idle_device_never_wakes_up);
	tcase_add_test(tcase, interrupts_follow_the_event_index);
	tcase_add_test(tcase, thread_hook_can_refuse);
	tcase_add_test(tcase, bad_configurations);
	tcase_add_test(tcase, resets_and_pauses_at_any_moment);
}

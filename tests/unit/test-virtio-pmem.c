/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmmcore/virtio-pmem.h>

#include "base/util.h"
#include "lib/driver.h"
#include "unit.h"

#define DATA DRIVER_DATA_GPA
#define PMEM_GPA (UINT64_C(256) << 20)
#define PMEM_BYTES (UINT64_C(4) << 20)

static struct driver driver;
static struct vmm_virtio_pmem *pmem;
static int file_fd;

/* The program's own fdatasync, which the block under test calls: a disk that can be held. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int n_calls, n_running;
	bool hold;
	int error;
} disk = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

int fdatasync(int fd)
{
	int r;

	pthread_mutex_lock(&disk.lock);
	disk.n_calls++;
	disk.n_running++;
	pthread_cond_broadcast(&disk.changed);
	while (disk.hold)
		pthread_cond_wait(&disk.changed, &disk.lock);
	disk.n_running--;
	r = disk.error;
	pthread_mutex_unlock(&disk.lock);
	errno = r;
	return r ? -1 : 0;
}

static void hold(bool on)
{
	pthread_mutex_lock(&disk.lock);
	disk.hold = on;
	pthread_cond_broadcast(&disk.changed);
	pthread_mutex_unlock(&disk.lock);
}

static void wait_running(void)
{
	pthread_mutex_lock(&disk.lock);
	while (disk.n_running == 0)
		pthread_cond_wait(&disk.changed, &disk.lock);
	pthread_mutex_unlock(&disk.lock);
}

static void start(uint64_t features)
{
	struct vmm_mem_config region = {
		.gpa = PMEM_GPA,
		.size_bytes = PMEM_BYTES,
		.backing = VMM_MEM_FILE,
	};
	struct vmm_virtio_pmem_config config = { .gpa = PMEM_GPA };

	disk.n_calls = 0;
	disk.error = 0;
	driver_init(&driver);
	file_fd = memfd_create("pmem", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(file_fd, PMEM_BYTES), 0);
	region.fd = file_fd;
	ck_assert_int_eq(vmm_mem_add(driver.mem, &region), 0);
	config.mem = driver.mem;
	ck_assert_int_eq(vmm_virtio_pmem_new(&config, &pmem), 0);
	driver_attach(&driver, vmm_virtio_pmem_device(pmem));
	ck_assert(driver_start(&driver, features, 1, 64));
}

static void teardown(void)
{
	driver_detach(&driver);
	pmem = vmm_virtio_pmem_free(pmem);
	driver_finish(&driver);
	close(file_fd);
}

static void request(unsigned int slot, uint32_t type)
{
	uint64_t gpa = DATA + slot * UINT64_C(16);
	struct vring_buffer buffers[2] = { { gpa, 4, false }, { gpa + 4, 4, true } };

	memcpy(driver.ram + gpa, &type, 4);
	memset(driver.ram + gpa + 4, 0xee, 4);
	driver_add(&driver, 0, buffers, 2, 0);
}

static uint32_t answer(unsigned int slot)
{
	uint32_t value;

	memcpy(&value, driver.ram + DATA + slot * UINT64_C(16) + 4, 4);
	return value;
}

static const uint64_t rings[] = {
	0,
	VMM_VIRTIO_F_EVENT_IDX | VMM_VIRTIO_F_INDIRECT_DESC,
	VMM_VIRTIO_F_RING_PACKED,
};

START_TEST(memory_is_where_the_device_says)
{
	uint64_t place[2];
	char text[5];

	start(rings[_i]);
	driver_config_read(&driver, 0, &place[0], 8);
	driver_config_read(&driver, 8, &place[1], 8);
	ck_assert_uint_eq(place[0], PMEM_GPA);
	ck_assert_uint_eq(place[1], PMEM_BYTES);
	ck_assert_int_eq(vmm_mem_write(driver.mem, PMEM_GPA + 4096, "there", 5), 0);
	ck_assert_int_eq(pread(file_fd, text, 5, 4096), 5);
	ck_assert_mem_eq(text, "there", 5);
	teardown();
}
END_TEST

START_TEST(flush_is_answered)
{
	uint32_t len;

	start(rings[_i]);
	for (unsigned int i = 1; i < 100; i++) {
		request(0, 0);
		ck_assert(driver_wait_used(&driver, 0, NULL, &len));
		ck_assert_uint_eq(len, 4);
		ck_assert_uint_eq(answer(0), 0);
		ck_assert_uint_eq(disk.n_calls, i);
	}
	disk.error = EIO;
	request(0, 0);
	ck_assert(driver_wait_used(&driver, 0, NULL, &len));
	ck_assert_uint_eq(answer(0), 1);
	disk.error = 0;
	request(0, 7);
	ck_assert(driver_wait_used(&driver, 0, NULL, &len));
	ck_assert_uint_eq(answer(0), 1);
	ck_assert(!(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET));
	teardown();
}
END_TEST

START_TEST(flushes_that_wait_share_one)
{
	start(rings[_i]);
	hold(true);
	request(0, 0);
	wait_running();
	for (unsigned int i = 1; i < 20; i++)
		request(i, 0);
	hold(false);
	for (unsigned int i = 0; i < 20; i++)
		ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
	for (unsigned int i = 0; i < 20; i++)
		ck_assert_uint_eq(answer(i), 0);
	ck_assert_uint_eq(disk.n_calls, 2);
	teardown();
}
END_TEST

static void *let_go(void *userdata)
{
	usleep(20000);
	*(bool *)userdata = true;
	hold(false);
	return NULL;
}

START_TEST(reset_waits_for_a_flush_and_drops_it)
{
	pthread_t thread;
	bool let = false;

	start(rings[_i]);
	hold(true);
	request(0, 0);
	wait_running();
	pthread_create(&thread, NULL, let_go, &let);
	driver_reset(&driver);
	ck_assert(let);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(answer(0), 0xeeeeeeee);
	ck_assert(driver_start(&driver, rings[_i], 1, 64));
	request(1, 0);
	ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
	teardown();
}
END_TEST

static void on_paused(void *userdata)
{
	__atomic_store_n((bool *)userdata, true, __ATOMIC_RELEASE);
}

START_TEST(pause_waits_for_a_flush_and_resume_goes_on)
{
	struct vmm_virtio_device *device;
	bool paused = false;

	start(rings[_i]);
	device = vmm_virtio_pmem_device(pmem);
	hold(true);
	request(0, 0);
	wait_running();
	ck_assert_int_eq(vmm_virtio_pause(device, on_paused, &paused), 1);
	request(1, 0);
	usleep(10000);
	ck_assert(!__atomic_load_n(&paused, __ATOMIC_ACQUIRE));
	hold(false);
	ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
	for (int i = 0; i < 10000 && !__atomic_load_n(&paused, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
	ck_assert(paused);
	ck_assert_uint_eq(answer(1), 0xeeeeeeee);
	vmm_virtio_resume(device);
	ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
	ck_assert_uint_eq(answer(1), 0);
	teardown();
}
END_TEST

START_TEST(short_requests_break_the_queue_until_reset)
{
	static const struct vring_buffer bad[][2] = {
		{ { DATA, 3, false }, { DATA + 8, 4, true } },
		{ { DATA, 4, false }, { DATA + 8, 3, true } },
	};

	start(rings[_i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		driver_add(&driver, 0, bad[i], 2, 0);
		for (int j = 0; j < 10000; j++) {
			if (driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET)
				break;
			usleep(1000);
		}
		ck_assert(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET);
		ck_assert(driver_start(&driver, rings[_i], 1, 64));
	}
	request(0, 0);
	ck_assert(driver_wait_used(&driver, 0, NULL, NULL));
	teardown();
}
END_TEST

static int refuse(void *userdata)
{
	return -EPERM;
}

START_TEST(bad_configurations)
{
	struct vmm_virtio_pmem_config config = { .gpa = PMEM_GPA };
	struct vmm_mem_config region = {
		.gpa = PMEM_GPA + 4096,
		.size_bytes = PMEM_BYTES,
		.backing = VMM_MEM_MEMFD,
	};

	ck_assert_int_eq(vmm_virtio_pmem_new(&config, &pmem), -EINVAL);
	driver_init(&driver);
	config.mem = driver.mem;
	/* No region there, one without a file, one that is not aligned. */
	ck_assert_int_eq(vmm_virtio_pmem_new(&config, &pmem), -EINVAL);
	config.gpa = 0;
	ck_assert_int_eq(vmm_virtio_pmem_new(&config, &pmem), -EINVAL);
	ck_assert_int_eq(vmm_mem_add(driver.mem, &region), 0);
	config.gpa = PMEM_GPA + 4096;
	ck_assert_int_eq(vmm_virtio_pmem_new(&config, &pmem), -EINVAL);
	ck_assert_int_eq(vmm_mem_remove(driver.mem, region.gpa), 0);
	region.gpa = PMEM_GPA;
	ck_assert_int_eq(vmm_mem_add(driver.mem, &region), 0);
	config.gpa = PMEM_GPA;
	config.thread_start = refuse;
	ck_assert_int_eq(vmm_virtio_pmem_new(&config, &pmem), -EPERM);
	driver_finish(&driver);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio-pmem");
	TCase *tcase = unit_case(suite, "virtio-pmem");
	const int n = ARRAY_SIZE(rings);

	tcase_add_loop_test(tcase, memory_is_where_the_device_says, 0, n);
	tcase_add_loop_test(tcase, flush_is_answered, 0, n);
	tcase_add_loop_test(tcase, flushes_that_wait_share_one, 0, n);
	tcase_add_loop_test(tcase, reset_waits_for_a_flush_and_drops_it, 0, n);
	tcase_add_loop_test(tcase, pause_waits_for_a_flush_and_resume_goes_on, 0, n);
	tcase_add_loop_test(tcase, short_requests_break_the_queue_until_reset, 0, n);
	tcase_add_test(tcase, bad_configurations);
	return unit_run(suite);
}

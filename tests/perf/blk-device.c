/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * blk-device FILE [ENGINE]: what the block device itself reaches, without a guest: a driver in
 * this process that polls its used ring, over virtio-mmio and a split ring. Random 4 KiB reads
 * and writes at depth 1 and 32, sequential 128 KiB. One line a run: thousand requests a second,
 * GB/s, how long a request takes, CPU time of the device's own thread a request, wake-ups.
 * ENGINE: auto, io_uring, threads; with "+engine" appended nothing is done in the I/O thread
 * itself, with "+direct" the file is opened with O_DIRECT.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <vmmcore/virtio-blk.h>

#include "base/util.h"
#include "lib/blk-driver.h"

#define RUN_NSEC UINT64_C(700000000)
#define QUEUE_SIZE 256

static struct driver driver;
static struct vmm_virtio_blk *blk;
static uint64_t n_sectors;

static void start_one(unsigned int slot, bool is_write, uint32_t size, uint64_t sector)
{
	struct vring_buffer data = {
		.gpa = DRIVER_DATA_GPA + slot * (uint64_t)size,
		.len = size,
		.write = !is_write,
	};

	blk_start(&driver, 0, slot, is_write ? BLK_OUT : BLK_IN, sector, &data, 1, false);
}

static unsigned long long number_in(const char *task, const char *name)
{
	unsigned long long number = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%.16s/%s", task, name);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%llu", &number) != 1)
		number = 0;
	fclose(file);
	return number;
}

static bool is_device_thread(const char *task)
{
	char path[64], name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm", task);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(name, sizeof(name), file))
		name[0] = '\0';
	fclose(file);
	return strcmp(name, "virtio-blk\n") == 0;
}

/* CPU time of the device's own thread, in nanoseconds: says more than time on a busy machine. */
static uint64_t device_cpu_nsec(void)
{
	uint64_t nsec = 0;
	struct dirent *entry;
	DIR *tasks = opendir("/proc/self/task");

	while (tasks && (entry = readdir(tasks)))
		if (is_device_thread(entry->d_name))
			nsec += number_in(entry->d_name, "schedstat");
	if (tasks)
		closedir(tasks);
	return nsec;
}

static void run(const char *name, unsigned int depth, bool is_write, uint32_t size, bool random)
{
	uint32_t sectors = size / 512, id, len;
	uint64_t n_blocks = n_sectors / sectors, next = 0, seed = 88172645463325252, n = 0;
	struct vmm_virtio_blk_status before, after;
	uint64_t start_nsec, now_nsec, cpu_nsec;
	unsigned int slots[QUEUE_SIZE] = { 0 };
	unsigned int n_started = 0;

	vmm_virtio_blk_get_status(blk, &before);
	if (!driver_start(&driver, VMM_VIRTIO_F_EVENT_IDX | (1 << 9) | (1 << 11), 1, QUEUE_SIZE))
		abort();
	/* The driver polls: no interrupts. */
	vring_set_used_event(&driver.rings[0], 0x8000, true);
	cpu_nsec = device_cpu_nsec();
	now_nsec = start_nsec = vmm_base_now_nsec();
	while (n < n_started || now_nsec - start_nsec < RUN_NSEC) {
		bool ending = now_nsec - start_nsec >= RUN_NSEC;

		while (!ending && n_started - n < depth) {
			unsigned int slot = n_started % depth;

			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			slots[n_started % QUEUE_SIZE] = slot;
			start_one(slot, is_write, size,
				(random ? seed % n_blocks : next++ % n_blocks) * sectors);
			n_started++;
		}
		while (vring_get_used(&driver.rings[0], &id, &len)) {
			if (*blk_status(&driver, slots[n % QUEUE_SIZE]) == BLK_IOERR)
				abort();
			n++;
		}
		vring_set_used_event(&driver.rings[0], (uint16_t)(n + 0x8000), true);
		now_nsec = vmm_base_now_nsec();
	}
	cpu_nsec = device_cpu_nsec() - cpu_nsec;
	vmm_virtio_blk_get_status(blk, &after);
	printf("%-20s %7.1f k/s %6.2f GB/s %8.2f us %6.2f us CPU %7llu wake-ups of %llu\n", name,
		n * 1e6 / (now_nsec - start_nsec), n * 1.0 * size / (now_nsec - start_nsec),
		(now_nsec - start_nsec) / 1e3 / n * depth, cpu_nsec / 1e3 / n,
		(unsigned long long)(after.n_wakeups - before.n_wakeups), (unsigned long long)n);
}

int main(int argc, char **argv)
{
	struct vmm_blk_file_config file_config = { 0 };
	struct vmm_virtio_blk_config config = { .queue_size = QUEUE_SIZE };
	struct vmm_virtio_blk_status status;
	const char *engine = argc > 2 ? argv[2] : "auto";
	struct vmm_blk_file *file;
	int r;

	if (argc < 2) {
		fprintf(stderr, "usage: blk-device FILE [ENGINE]\n");
		return EXIT_FAILURE;
	}
	file_config.fd =
		open(argv[1], O_RDWR | O_CLOEXEC | (strstr(engine, "direct") ? O_DIRECT : 0));
	if (strncmp(engine, "threads", 7) == 0)
		file_config.engine = VMM_BLK_ENGINE_THREADS;
	file_config.no_inline = strstr(engine, "+engine") != NULL;
	r = vmm_blk_file_new(&file_config, &file);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-r));
		return EXIT_FAILURE;
	}
	driver_init(&driver);
	config.mem = driver.mem;
	config.backend = vmm_blk_file_backend(file);
	r = vmm_virtio_blk_new(&config, &blk);
	if (r < 0) {
		fprintf(stderr, "device: %s\n", strerror(-r));
		return EXIT_FAILURE;
	}
	driver_attach(&driver, vmm_virtio_blk_device(blk));
	vmm_virtio_blk_get_status(blk, &status);
	n_sectors = status.capacity_bytes / 512;
	printf("%s, engine %s\n", argv[1], status.engine);
	run("read 4k depth 1", 1, false, 4096, true);
	run("read 4k depth 32", 32, false, 4096, true);
	run("write 4k depth 1", 1, true, 4096, true);
	run("write 4k depth 32", 32, true, 4096, true);
	run("read 128k depth 8", 8, false, 131072, false);
	run("write 128k depth 8", 8, true, 131072, false);
	driver_detach(&driver);
	vmm_virtio_blk_free(blk);
	vmm_blk_file_free(file);
	driver_finish(&driver);
	return EXIT_SUCCESS;
}

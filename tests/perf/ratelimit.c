/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * ratelimit SECONDS: what the rate limits of a block device admit, and when. A driver in this
 * process keeps 16 requests of 4 KiB in flight for SECONDS, and halfway the limit doubles. Five
 * limits of bytes, five of operations. One line a limit: name; error of the rate in percent, before
 * and after the step; microseconds by which the latest request of the 99 % earliest and the
 * latest of all completed after a bucket with no other cost would have admitted it.
 *
 * The bucket is computed here, in floating point, and not by the library. A request counts as late
 * from its time up to the last look at the ring that did not show it: that long it was late for
 * sure, whatever the scheduler did to this process.
 *
 * All of it runs with real-time priority where that may be had, so that what else a machine does
 * is not measured; the driver looks at the ring each 50 us and sleeps in between.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include <vmmcore/virtio-blk.h>

#include "base/util.h"
#include "lib/blk-driver.h"

#define QUEUE_SIZE 256
#define DEPTH 16
#define REQUEST_BYTES 4096
#define DISK_BYTES (1 << 20)
#define MAX_REQUESTS (UINT32_C(1) << 20)

struct limit {
	const char *name;
	bool bytes;
	double rate; /* a second */
};

static const struct limit limits[] = {
	{ "bytes 1 MiB/s", true, 1 << 20 },
	{ "bytes 4 MiB/s", true, 4 << 20 },
	{ "bytes 16 MiB/s", true, 16 << 20 },
	{ "bytes 64 MiB/s", true, 64 << 20 },
	{ "bytes 128 MiB/s", true, 128 << 20 },
	{ "ops 100/s", false, 100 },
	{ "ops 1000/s", false, 1000 },
	{ "ops 5000/s", false, 5000 },
	{ "ops 10000/s", false, 10000 },
	{ "ops 40000/s", false, 40000 },
};

struct completion {
	double seen_nsec;     /* by the look that showed it */
	double not_seen_nsec; /* by the last look that did not */
};

static struct completion completions[MAX_REQUESTS];
static double late[MAX_REQUESTS];
static struct driver driver;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "ratelimit: %s failed\n", what);
	exit(EXIT_FAILURE);
}

static struct vmm_ratelimit_config config_of(const struct limit *limit, double factor)
{
	struct vmm_ratelimit_config config = { 0 };
	uint64_t rate = (uint64_t)(limit->rate * factor);

	if (limit->bytes)
		config.bytes.rate = rate;
	else
		config.ops.rate = rate;
	return config;
}

static void start_one(unsigned int slot)
{
	struct vring_buffer data = {
		.gpa = DRIVER_DATA_GPA + slot * (uint64_t)REQUEST_BYTES,
		.len = REQUEST_BYTES,
		.write = true,
	};

	blk_start(&driver, 0, slot, BLK_IN, slot * (REQUEST_BYTES / 512), &data, 1, false);
}

/* Returns the number of requests that completed. */
static size_t drive(struct vmm_virtio_blk *blk, const struct limit *limit, double half_nsec,
	double *ret_start, double *ret_step)
{
	struct vmm_ratelimit_config doubled = config_of(limit, 2);
	double start = (double)vmm_base_now_nsec(), before = start, now = start, step = 0;
	const struct timespec nap = { .tv_nsec = 50000 };
	size_t n_started = 0, n = 0;
	uint32_t id, len;

	while (now < start + 2 * half_nsec) {
		while (n_started - n < DEPTH)
			start_one(n_started++ % DEPTH);
		if (step == 0 && now >= start + half_nsec) {
			step = (double)vmm_base_now_nsec();
			must(vmm_virtio_blk_set_limits(blk, &doubled) == 0, "change");
		}
		now = (double)vmm_base_now_nsec();
		while (n < n_started && vring_get_used(&driver.rings[0], &id, &len)) {
			must(n < MAX_REQUESTS, "room");
			completions[n++] = (struct completion){ now, before };
		}
		vring_set_used_event(&driver.rings[0], (uint16_t)(n + 0x8000), true);
		before = now;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	}
	*ret_start = start;
	*ret_step = step;
	return n;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* What a bucket of 10 ms admits, from full on, and how late each request was. */
static void judge(const struct limit *limit, size_t n, double start, double step, double end)
{
	double cost = limit->bytes ? REQUEST_BYTES : 1;
	double rate = limit->rate / 1e9, burst = MAX(limit->rate / 100, 1.0), level = burst;
	double at = start, admitted[2] = { 0 }, ideal[2] = { burst, 0 }, errors[2];
	bool stepped = false;

	for (size_t i = 0; i < n; i++) {
		double due = at + (level < cost ? (cost - level) / rate : 0);

		if (!stepped && due > step) {
			level += (step - at) * rate;
			stepped = true;
			rate *= 2;
			at = step;
			due = at + (level < cost ? (cost - level) / rate : 0);
		}
		level += (due - at) * rate - cost;
		at = due;
		late[i] = MAX(completions[i].not_seen_nsec - due, 0.0);
		admitted[completions[i].seen_nsec > step] += cost;
	}
	ideal[0] += (step - start) * limit->rate / 1e9;
	ideal[1] += (end - step) * limit->rate * 2 / 1e9;
	for (unsigned int i = 0; i < 2; i++)
		errors[i] = (admitted[i] / ideal[i] - 1) * 100;
	qsort(late, n, sizeof(late[0]), by_value);
	printf("%s: %.3f %.3f %.1f %.1f\n", limit->name, errors[0], errors[1],
		n > 0 ? late[n - 1 - n / 100] / 1e3 : 0, n > 0 ? late[n - 1] / 1e3 : 0);
}

static void measure(const struct limit *limit, double half_nsec)
{
	struct vmm_blk_file_config file_config = {
		.fd = memfd_create("disk", MFD_CLOEXEC),
	};
	struct vmm_virtio_blk_config config = {
		.queue_size = QUEUE_SIZE,
		.limits = config_of(limit, 1),
	};
	struct vmm_virtio_blk *blk;
	struct vmm_blk_file *file;
	double start, step;
	size_t n;

	must(file_config.fd >= 0 && ftruncate(file_config.fd, DISK_BYTES) == 0, "disk");
	must(vmm_blk_file_new(&file_config, &file) == 0, "file");
	driver_init(&driver);
	config.mem = driver.mem;
	config.backend = vmm_blk_file_backend(file);
	must(vmm_virtio_blk_new(&config, &blk) == 0, "device");
	driver_attach(&driver, vmm_virtio_blk_device(blk));
	must(driver_start(&driver, VMM_VIRTIO_F_EVENT_IDX, 1, QUEUE_SIZE), "driver");
	/* The driver polls: no interrupts. */
	vring_set_used_event(&driver.rings[0], 0x8000, true);
	n = drive(blk, limit, half_nsec, &start, &step);
	judge(limit, n, start, step, (double)vmm_base_now_nsec());
	driver_detach(&driver);
	vmm_virtio_blk_free(blk);
	vmm_blk_file_free(file);
	driver_finish(&driver);
	close(file_config.fd);
}

int main(int argc, char **argv)
{
	const struct sched_param priority = { .sched_priority = 1 };
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 0;

	if (seconds <= 0 || seconds > 60) {
		fprintf(stderr, "usage: ratelimit SECONDS\n");
		return EXIT_FAILURE;
	}
	prctl(PR_SET_TIMERSLACK, 1);
	/* Threads that are made from now on have it, too. */
	if (sched_setscheduler(0, SCHED_FIFO, &priority) < 0)
		fprintf(stderr, "ratelimit: without real-time priority: %s\n", strerror(errno));
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		measure(&limits[i], seconds * 1e9 / 2);
	return EXIT_SUCCESS;
}

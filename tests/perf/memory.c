/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * perf: what guest memory costs in its own process: checked copies of 64 bytes and 64 KiB beside
 * memcpy() of as much at the same addresses, and taking the dirty bitmap of 4 GiB, in rounds that
 * take turns. Prints a line a figure: name, nanoseconds, median and lowest of the rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmmcore/mem.h>

#include "base/util.h"

#define RAM_BYTES (UINT64_C(16) << 20)
#define LOG_BYTES (UINT64_C(4) << 30)
#define N_COPY_ROUNDS 2001
#define N_LOG_ROUNDS 301
#define N_DIRTY 1024

static double samples[4][N_COPY_ROUNDS];

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "memory: %s failed\n", what);
	exit(EXIT_FAILURE);
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void report(const char *name, double *values, size_t n)
{
	qsort(values, n, sizeof(values[0]), by_value);
	printf("%s %.2f %.2f\n", name, values[n / 2], values[0]);
}

/* The compiler shall neither join copies nor leave one out. */
static void touch(void *data)
{
	__asm__ volatile("" : : "r"(data) : "memory");
}

static void copy(struct vmm_mem *mem, size_t size, unsigned int n_copies, const char *label)
{
	char *host = vmm_mem_pointer(mem, 0, RAM_BYTES, 1, true);
	size_t n_places = RAM_BYTES / 4 / size;
	char name[64], *data = malloc(size);

	must(host && data, "memory");
	memset(data, 1, size);
	if (n_places > 64)
		n_places = 64; /* stays in the cache: the check shall show, not the memory */
	for (unsigned int round = 0; round < N_COPY_ROUNDS; round++) {
		double start = (double)vmm_base_now_nsec(), now;

		for (unsigned int i = 0; i < n_copies; i++) {
			must(vmm_mem_read(mem, i % n_places * size, data, size) == 0, "read");
			touch(data);
		}
		now = (double)vmm_base_now_nsec();
		samples[0][round] = (now - start) / n_copies;
		start = now;
		for (unsigned int i = 0; i < n_copies; i++) {
			memcpy(data, host + i % n_places * size, size);
			touch(data);
		}
		now = (double)vmm_base_now_nsec();
		samples[1][round] = (now - start) / n_copies;
		start = now;
		for (unsigned int i = 0; i < n_copies; i++) {
			touch(data);
			must(vmm_mem_write(mem, i % n_places * size, data, size) == 0, "write");
		}
		now = (double)vmm_base_now_nsec();
		samples[2][round] = (now - start) / n_copies;
		start = now;
		for (unsigned int i = 0; i < n_copies; i++) {
			touch(data);
			memcpy(host + i % n_places * size, data, size);
			touch(host);
		}
		samples[3][round] = ((double)vmm_base_now_nsec() - start) / n_copies;
	}
	for (unsigned int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "%s-%s-%s", i % 2 ? "memcpy" : "mem",
			i < 2 ? "read" : "write", label);
		report(name, samples[i], N_COPY_ROUNDS);
	}
	free(data);
}

/* A bitmap of a million pages of which a thousand are dirty, and one that is clean. */
static void dirty_log(struct vmm_mem *mem)
{
	size_t n_words = LOG_BYTES / VMM_MEM_PAGE_BYTES / 64;
	uint64_t *words = calloc(n_words, sizeof(words[0]));

	must(words != NULL, "bitmap");
	must(vmm_mem_dirty_log_start(mem) == 0, "log");
	for (unsigned int round = 0; round < N_LOG_ROUNDS; round++) {
		uint64_t start;

		for (uint64_t i = 0; i < N_DIRTY; i++)
			vmm_mem_mark_dirty(mem, i * (LOG_BYTES / N_DIRTY), 1);
		start = vmm_base_now_nsec();
		must(vmm_mem_dirty_log_take(mem, 0, words, n_words) == N_DIRTY, "take");
		samples[0][round] = (double)(vmm_base_now_nsec() - start);
		start = vmm_base_now_nsec();
		must(vmm_mem_dirty_log_take(mem, 0, words, n_words) == 0, "take");
		samples[1][round] = (double)(vmm_base_now_nsec() - start);
	}
	report("mem-dirty-1024-of-4GiB", samples[0], N_LOG_ROUNDS);
	report("mem-dirty-none-of-4GiB", samples[1], N_LOG_ROUNDS);
	vmm_mem_dirty_log_stop(mem);
	free(words);
}

int main(void)
{
	const struct vmm_mem_config ram = { .size_bytes = RAM_BYTES, .prefault = true };
	const struct vmm_mem_config large = { .size_bytes = LOG_BYTES };
	struct vmm_mem *mem;

	must(vmm_mem_new(&mem) == 0 && vmm_mem_add(mem, &ram) == 0, "memory");
	copy(mem, 64, 1000, "64");
	copy(mem, 65536, 10, "65536");
	vmm_mem_free(mem);
	must(vmm_mem_new(&mem) == 0 && vmm_mem_add(mem, &large) == 0, "memory");
	dirty_log(mem);
	vmm_mem_free(mem);
	return EXIT_SUCCESS;
}

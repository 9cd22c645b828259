/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * perf: what a virtqueue costs in its own process: pop of chains of 1, 4 and 16 descriptors, and
 * push, split and packed. A batch of chains is laid out as a driver leaves it, then popped, then
 * pushed; making them available is not measured. Prints a line a figure: name, nanoseconds for
 * one operation, median and lowest of the rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vmmcore/virtqueue.h>

#include "lib/vring.h"

#define RAM_BYTES (UINT64_C(16) << 20)
#define DATA_GPA (UINT64_C(1) << 20)
#define QUEUE_SIZE 256
#define N_ROUNDS 20001

static uint64_t now_nsec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "virtqueue: %s failed\n", what);
	exit(EXIT_FAILURE);
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void report(const char *format, const char *what, unsigned int n, double *samples)
{
	qsort(samples, N_ROUNDS, sizeof(samples[0]), by_value);
	printf("virtqueue-%s-%s-%u %.2f %.2f\n", format, what, n, samples[N_ROUNDS / 2],
		samples[0]);
}

static void measure(
	struct vmm_virtqueue *queue, struct vring *ring, unsigned int n_descriptors, bool indirect)
{
	static double pops[N_ROUNDS], pushes[N_ROUNDS];
	static struct vmm_virtqueue_chain chains[QUEUE_SIZE];
	static struct iovec iov[QUEUE_SIZE * 16];
	struct vring_buffer buffers[16];
	unsigned int n_chains = indirect ? QUEUE_SIZE / 16 : QUEUE_SIZE / n_descriptors;
	const char *format = ring->packed ? "packed" : "split";
	uint32_t id, len;

	for (unsigned int round = 0; round < N_ROUNDS; round++) {
		uint64_t start, middle, end;

		for (unsigned int i = 0; i < n_chains; i++) {
			for (unsigned int d = 0; d < n_descriptors; d++)
				buffers[d] = (struct vring_buffer){
					DATA_GPA + 0x1000 * (i * n_descriptors + d), 0x1000, d > 0
				};
			if (indirect)
				vring_add_indirect(
					ring, buffers, n_descriptors, DATA_GPA / 2 + 0x1000 * i);
			else
				vring_add(ring, buffers, n_descriptors);
		}
		start = now_nsec();
		for (unsigned int i = 0; i < n_chains; i++)
			must(vmm_virtqueue_pop(queue, iov + n_descriptors * i, n_descriptors,
				     &chains[i]) == 1,
				"pop");
		middle = now_nsec();
		for (unsigned int i = 0; i < n_chains; i++)
			vmm_virtqueue_push(queue, &chains[i], 1);
		end = now_nsec();
		for (unsigned int i = 0; i < n_chains; i++)
			must(vring_get_used(ring, &id, &len), "used");
		pops[round] = (double)(middle - start) / n_chains;
		pushes[round] = (double)(end - middle) / n_chains;
	}
	report(format, indirect ? "pop-indirect" : "pop", n_descriptors, pops);
	if (n_descriptors == 1)
		report(format, "push", n_descriptors, pushes);
}

int main(void)
{
	static const unsigned int sizes[] = { 1, 4, 16 };
	static struct vring ring;
	const struct vmm_mem_config region = { .size_bytes = RAM_BYTES, .prefault = true };
	struct vmm_virtqueue *queue;
	struct vmm_mem *mem;

	must(vmm_mem_new(&mem) == 0 && vmm_mem_add(mem, &region) == 0, "memory");
	must(vmm_virtqueue_new(mem, &queue) == 0, "queue");
	for (int packed = 0; packed < 2; packed++) {
		struct vmm_virtqueue_config config = {
			.size = QUEUE_SIZE,
			.features = VMM_VIRTIO_F_INDIRECT_DESC | VMM_VIRTIO_F_EVENT_IDX |
				    (packed ? VMM_VIRTIO_F_RING_PACKED : 0),
		};

		vring_init(&ring, vmm_mem_pointer(mem, 0, RAM_BYTES, 1, true), 0x1000, QUEUE_SIZE,
			packed);
		config.desc_gpa = ring.desc_gpa;
		config.driver_gpa = ring.driver_gpa;
		config.device_gpa = ring.device_gpa;
		must(vmm_virtqueue_activate(queue, &config, NULL) == 0, "activate");
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			measure(queue, &ring, sizes[i], false);
		measure(queue, &ring, 16, true);
	}
	vmm_virtqueue_free(queue);
	vmm_mem_free(mem);
	return EXIT_SUCCESS;
}

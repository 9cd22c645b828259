/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * ring: the last bytes that a guest wrote to its console. Positions are byte counts since the
 * start and never go back, so that any number of readers each keep their own; a reader that is
 * too slow loses the oldest bytes and is told how many. Takes no memory after its birth.
 *
 * Threads: any thread may write (vCPUs do), any may read.
 */
#ifndef VMMD_WORKER_RING_H
#define VMMD_WORKER_RING_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct ring {
	pthread_mutex_t lock;
	uint8_t *data; /* owned */
	size_t size;   /* a power of two */
	uint64_t head; /* position behind the newest byte */
};

/* size is a power of two. -ENOMEM. */
int ring_init(struct ring *ring, size_t size);
void ring_finish(struct ring *ring);

void ring_write(struct ring *ring, const void *data, size_t n_bytes);

/*
 * Copies what follows *position, at most n_bytes, and moves *position behind it. Returns how
 * many that were, 0 at the newest; *ret_lost is how many were overwritten before they were read.
 */
size_t ring_read(
	struct ring *ring, uint64_t *position, void *data, size_t n_bytes, uint64_t *ret_lost);

/* Positions: of the oldest byte that is there, and behind the newest. */
uint64_t ring_oldest(struct ring *ring);
uint64_t ring_newest(struct ring *ring);

#endif

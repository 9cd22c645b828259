/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* ring: see ring.h. */
#include "worker/ring.h"

#include <string.h>

#include "base/util.h"

int ring_init(struct ring *ring, size_t size)
{
	assert(size > 0 && (size & (size - 1)) == 0);
	*ring = (struct ring){ .lock = PTHREAD_MUTEX_INITIALIZER, .size = size };
	ring->data = malloc(size);
	return ring->data ? 0 : -ENOMEM;
}

void ring_finish(struct ring *ring)
{
	free(ring->data);
	ring->data = NULL;
}

static uint64_t oldest(const struct ring *ring)
{
	return ring->head > ring->size ? ring->head - ring->size : 0;
}

void ring_write(struct ring *ring, const void *data, size_t n_bytes)
{
	const uint8_t *bytes = data;
	size_t offset, n_first;

	pthread_mutex_lock(&ring->lock);
	if (n_bytes > ring->size) {
		ring->head += n_bytes - ring->size;
		bytes += n_bytes - ring->size;
		n_bytes = ring->size;
	}
	offset = ring->head & (ring->size - 1);
	n_first = MIN(n_bytes, ring->size - offset);
	memcpy(ring->data + offset, bytes, n_first);
	memcpy(ring->data, bytes + n_first, n_bytes - n_first);
	ring->head += n_bytes;
	pthread_mutex_unlock(&ring->lock);
}

size_t ring_read(
	struct ring *ring, uint64_t *position, void *data, size_t n_bytes, uint64_t *ret_lost)
{
	uint64_t first;
	size_t offset, n, n_first;

	pthread_mutex_lock(&ring->lock);
	first = MAX(*position, oldest(ring));
	assert(first <= ring->head);
	*ret_lost = first - *position;
	n = MIN(n_bytes, ring->head - first);
	offset = first & (ring->size - 1);
	n_first = MIN(n, ring->size - offset);
	memcpy(data, ring->data + offset, n_first);
	memcpy((uint8_t *)data + n_first, ring->data, n - n_first);
	pthread_mutex_unlock(&ring->lock);
	*position = first + n;
	return n;
}

uint64_t ring_oldest(struct ring *ring)
{
	uint64_t position;

	pthread_mutex_lock(&ring->lock);
	position = oldest(ring);
	pthread_mutex_unlock(&ring->lock);
	return position;
}

uint64_t ring_newest(struct ring *ring)
{
	uint64_t position;

	pthread_mutex_lock(&ring->lock);
	position = ring->head;
	pthread_mutex_unlock(&ring->lock);
	return position;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-balloon: what its files share. balloon.c: the device; pages.c: pages that come and go;
 * stats.c: statistics and hints. Members are under the one data lock of the device, those of the
 * configuration space under the control lock.
 */
#ifndef VMM_BALLOON_INTERNAL_H
#define VMM_BALLOON_INTERNAL_H

#include <vmmcore/virtio-balloon.h>

#include "base/util.h"

/* VIRTIO 1.2, 5.5.3 */
#define BALLOON_F_STATS_VQ (UINT64_C(1) << 1)
#define BALLOON_F_DEFLATE_ON_OOM (UINT64_C(1) << 2)
#define BALLOON_F_FREE_PAGE_HINT (UINT64_C(1) << 3)
#define BALLOON_F_PAGE_REPORTING (UINT64_C(1) << 5)

#define BALLOON_QUEUE_SIZE 128
#define BALLOON_N_IOVECS (BALLOON_QUEUE_SIZE + 64)

/* What one call gives back and how many chains it takes before others have their turn. */
#define BALLOON_BUDGET_BYTES (UINT64_C(256) << 20)
#define BALLOON_BUDGET_PAGES 4096
#define BALLOON_BUDGET_CHAINS 16

/* 5.5.6.3 */
#define BALLOON_CMD_STOP 0
#define BALLOON_CMD_DONE 1
#define BALLOON_CMD_FIRST 2

/* 5.5.2 */
enum balloon_role {
	BALLOON_INFLATE,
	BALLOON_DEFLATE,
	BALLOON_STATS,
	BALLOON_HINTS,
	BALLOON_REPORTING,
	BALLOON_N_ROLES,
};

struct balloon_config_space {
	struct vmm_le32 n_pages;
	struct vmm_le32 actual;
	struct vmm_le32 hint_command;
	struct vmm_le32 poison_value;
};
static_assert(sizeof(struct balloon_config_space) == 16, "virtio_balloon_config");

struct vmm_virtio_balloon {
	struct vmm_virtio_device *device; /* owned */
	struct vmm_mem *mem;              /* borrowed */
	const struct vmm_balloon_ops *ops;
	void *userdata;

	struct balloon_config_space space; /* under the control lock */
	uint32_t actual;                   /* atomic: of the configuration space */
	uint32_t last_command;             /* of hints, under the control lock */
	uint32_t hint_command;             /* atomic: what the guest was asked last */

	enum balloon_role roles[BALLOON_N_ROLES]; /* by queue; final at activation */
	unsigned int queue_of[BALLOON_N_ROLES];   /* by role; BALLOON_N_ROLES: none */

	uint64_t *given; /* owned: a bit a page that was given and not taken back */
	uint64_t n_map_pages;
	uint64_t n_given;

	uint64_t reported_bytes, n_bad_pages, n_failed;
	bool stats_outstanding; /* the guest was asked */
	bool stats_taken;       /* what lies in the queue was read already */
	bool has_stats;
	struct vmm_balloon_stats stats;
	bool hints_active; /* the guest is naming pages for hint_command */

	struct iovec iov[BALLOON_N_IOVECS];
};

/* As vmm_virtio_ops.process of a queue of that role. */
int balloon_inflate(struct vmm_virtio_balloon *balloon, struct vmm_virtqueue *queue);
int balloon_deflate(struct vmm_virtio_balloon *balloon, struct vmm_virtqueue *queue);
int balloon_report(struct vmm_virtio_balloon *balloon, struct vmm_virtqueue *queue);
int balloon_take_stats(struct vmm_virtio_balloon *balloon, struct vmm_virtqueue *queue);
int balloon_take_hints(struct vmm_virtio_balloon *balloon, struct vmm_virtqueue *queue);

/* Pops, and breaks the queue where a chain has too many pieces. As vmm_virtqueue_pop(). */
int balloon_pop(struct vmm_virtio_balloon *balloon, struct vmm_virtqueue *queue,
	struct vmm_virtqueue_chain *ret_chain);

/*
 * The guest addresses of a piece of guest memory: up to the end of its region. Returns its
 * length, 0 where it is not guest memory (any more).
 */
uint64_t balloon_find_gpa(
	const struct vmm_virtio_balloon *balloon, const struct iovec *iov, uint64_t *ret_gpa);

#endif

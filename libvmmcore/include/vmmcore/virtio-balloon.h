/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-balloon: the traditional memory balloon of VIRTIO 1.2, 5.5: memory that the guest does
 * not need goes back to the host.
 *
 * Three ways lead there. The host sets a target, and the guest gives pages (inflate) or takes
 * them back (deflate, also by itself when it runs out of memory, if it may). The guest reports
 * pages as they become free (free page reporting). And it names its free pages when asked
 * (hinting): these are only told to the caller, who may leave them out of a copy of the
 * memory; they are never discarded, because the guest may use them again at any moment.
 *
 * Pages are given back through vmm_mem_discard(): anonymous memory, memfds and huge pages alike
 * (a huge page when the guest has given all of it).
 *
 * The caller serves the queues as of any device (vmm_virtio_kick_fd(), vmm_virtio_process()).
 *
 * Hostile inputs and what happens:
 *
 *   | input                                            | result                               |
 *   |--------------------------------------------------|--------------------------------------|
 *   | page that is not memory                          | ignored and counted                  |
 *   | page given twice, or taken back without giving   | counted once, or not                 |
 *   | list of pages that is no multiple of 4 bytes     | the rest is ignored                  |
 *   | pages without end                                | served in turns                      |
 *   | statistics of unknown tags, short, or repeated   | ignored, or the last one counts      |
 *   | actual larger than the memory                    | reads back so; status is bounded     |
 *   | the driver counts its queues without gaps where  | understood: Linux does               |
 *   |   a feature was not negotiated                   |                                      |
 *
 * Threads: any. Callbacks are called with the data lock held: they call nothing of this block.
 */
#ifndef VMMCORE_VIRTIO_BALLOON_H
#define VMMCORE_VIRTIO_BALLOON_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/mem.h>
#include <vmmcore/virtio.h>

VMM_BEGIN_DECLS

#define VMM_BALLOON_PAGE_BYTES 4096

/* VIRTIO 1.2, 5.5.6.3. Those that the guest did not give are UINT64_MAX. */
struct vmm_balloon_stats {
	uint64_t swap_in_bytes;
	uint64_t swap_out_bytes;
	uint64_t major_faults;
	uint64_t minor_faults;
	uint64_t free_bytes;
	uint64_t total_bytes;
	uint64_t available_bytes;
	uint64_t disk_caches_bytes;
	uint64_t hugetlb_allocations;
	uint64_t hugetlb_failures;
};

/* Each may be NULL. */
struct vmm_balloon_ops {
	/* New statistics, see vmm_virtio_balloon_request_stats(). */
	void (*stats)(void *userdata, const struct vmm_balloon_stats *stats);

	/* The guest says how much of the target it has reached. */
	void (*changed)(void *userdata, uint64_t actual_bytes);

	/* The guest named a free range; and, with length 0, that there are no more. */
	void (*hinted)(void *userdata, uint64_t gpa, uint64_t length_bytes);
};

/* Zero is the default of each member but mem. */
struct vmm_virtio_balloon_config {
	struct vmm_mem *mem;   /* borrowed, outlives the device; regions are there already */
	uint64_t target_bytes; /* rounded down to pages */
	bool no_deflate_on_oom;
	bool no_reporting;
	const struct vmm_balloon_ops *ops; /* borrowed, may be NULL */
	void *userdata;                    /* borrowed */
};

struct vmm_virtio_balloon;

/* -EINVAL where the target is larger than the memory, -ENOMEM, errno of eventfd. */
VMM_PUBLIC int vmm_virtio_balloon_new(
	const struct vmm_virtio_balloon_config *config, struct vmm_virtio_balloon **ret_balloon);

/* The transport is gone. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_virtio_balloon *vmm_virtio_balloon_free(struct vmm_virtio_balloon *balloon);

/* For a transport, process, pause and resume. Borrowed. */
VMM_PUBLIC struct vmm_virtio_device *vmm_virtio_balloon_device(struct vmm_virtio_balloon *balloon);

/* How much memory the guest should do without. -EINVAL where that is more than there is. */
VMM_PUBLIC int vmm_virtio_balloon_set_target(
	struct vmm_virtio_balloon *balloon, uint64_t target_bytes);

/*
 * Asks the guest for statistics. 0; -EBUSY while an answer is outstanding; -EOPNOTSUPP where it
 * does not give any (now).
 */
VMM_PUBLIC int vmm_virtio_balloon_request_stats(struct vmm_virtio_balloon *balloon);

/*
 * Asks the guest for its free pages. 0, or -EOPNOTSUPP where it does not name any (now). The
 * guest keeps them for that purpose until vmm_virtio_balloon_end_hints().
 */
VMM_PUBLIC int vmm_virtio_balloon_request_hints(struct vmm_virtio_balloon *balloon);
VMM_PUBLIC void vmm_virtio_balloon_end_hints(struct vmm_virtio_balloon *balloon);

struct vmm_virtio_balloon_status {
	uint64_t target_bytes;
	uint64_t actual_bytes;   /* what the guest says; at most its memory */
	uint64_t inflated_bytes; /* what it has really given and not taken back */
	uint64_t reported_bytes; /* given back by free page reporting, ever */
	uint64_t n_bad_pages;    /* that were no memory */
	uint64_t n_failed;       /* ranges that the host could not give back */
	bool has_stats;
	struct vmm_balloon_stats stats; /* the last */
};

VMM_PUBLIC void vmm_virtio_balloon_get_status(
	struct vmm_virtio_balloon *balloon, struct vmm_virtio_balloon_status *ret_status);

VMM_END_DECLS

#endif

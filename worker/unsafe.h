/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * unsafe: a back end of a drive in which a flush ends at once, for disks that nobody needs after
 * a crash of the host. All else is the back end behind it.
 *
 * Threads: as the back end behind it.
 */
#ifndef VMMD_WORKER_UNSAFE_H
#define VMMD_WORKER_UNSAFE_H

#include <vmmcore/virtio-blk.h>

/* Embedded in its owner, which outlives the drive. */
struct unsafe_backend {
	struct vmm_blk_backend inner;
	struct vmm_blk_ops ops;
};

/* The back end to give to the drive. Operations that inner does not have stay absent. */
struct vmm_blk_backend unsafe_wrap(struct unsafe_backend *unsafe, struct vmm_blk_backend inner);

#endif

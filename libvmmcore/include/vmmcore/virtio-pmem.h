/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-pmem: a file as persistent memory of the guest (VIRTIO 1.3, 5.19; in Linux since 5.3).
 * The file is a region of guest memory (VMM_MEM_FILE), which the caller adds before; the
 * device tells the guest where it is and makes what was written there durable on request.
 *
 * Flushes are done in a thread of the device, one fdatasync for all that were asked for while
 * the one before was running, so that a slow disk delays no vCPU and no other device.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                          | result                              |
 *   |------------------------------------------------|-------------------------------------|
 *   | request or answer of less than 4 bytes, or in  | the queue breaks, NEEDS_RESET       |
 *   |   more than VMM_PMEM_MAX_PIECES pieces         |                                     |
 *   | request of another type                        | answered with an error              |
 *   | flushes without end                            | one fdatasync for up to 64 of them  |
 *   | reset, queue reset, pause while one runs       | completes when it ended             |
 *
 * Threads: one of _new() and _free() at a time.
 */
#ifndef VMMCORE_VIRTIO_PMEM_H
#define VMMCORE_VIRTIO_PMEM_H

#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/mem.h>
#include <vmmcore/virtio.h>

VMM_BEGIN_DECLS

#define VMM_PMEM_MAX_PIECES 16

/* Linux maps it with 2 MiB pages and needs that alignment of address and size. */
#define VMM_PMEM_ALIGNMENT (UINT64_C(2) << 20)

struct vmm_virtio_pmem;

struct vmm_virtio_pmem_config {
	struct vmm_mem *mem; /* borrowed, outlives the device */
	uint64_t gpa;        /* where a region with a file starts, which outlives the device */

	/*
	 * Called in the device's thread before it does anything for a guest, so that a monitor can
	 * close its sandbox; a negative result makes vmm_virtio_pmem_new() fail with that. May be
	 * NULL.
	 */
	int (*thread_start)(void *userdata);
	void *userdata; /* borrowed */
};

/*
 * -EINVAL where no region with a file starts at gpa, or where it is not aligned; -ENOMEM; errno of
 * epoll, eventfd and pthread_create.
 */
VMM_PUBLIC int vmm_virtio_pmem_new(
	const struct vmm_virtio_pmem_config *config, struct vmm_virtio_pmem **ret_pmem);

/* The transport is gone. Waits for a flush that runs. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_virtio_pmem *vmm_virtio_pmem_free(struct vmm_virtio_pmem *pmem);

/* For a transport, pause and resume. Borrowed. */
VMM_PUBLIC struct vmm_virtio_device *vmm_virtio_pmem_device(struct vmm_virtio_pmem *pmem);

VMM_END_DECLS

#endif

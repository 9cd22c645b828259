/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-mem: memory that is plugged and unplugged while the guest runs (VIRTIO 1.2, 5.15). A
 * region of guest memory, which the caller adds before, is divided into blocks; the guest plugs
 * as many as the host requests, and gives blocks back when that is less. Memory of a region
 * costs the host nothing until it is used, and what is unplugged is discarded.
 *
 * Blocks that are not plugged can still be touched by a guest that breaks the rules
 * (VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE is not offered): the whole region is what such a guest
 * can make the host pay for, unless something outside, a cgroup for instance, bounds it.
 *
 * Plugged memory stays plugged over a reset of the device, as the specification wants.
 *
 * The caller serves queue 0 as of any device (vmm_virtio_kick_fd(), vmm_virtio_process()).
 *
 * Hostile inputs and what happens:
 *
 *   | input                                           | result                                |
 *   |-------------------------------------------------|---------------------------------------|
 *   | request or answer too short                     | the queue breaks, NEEDS_RESET         |
 *   | unknown type                                    | answered with an error                |
 *   | address outside the region, not on a block,     | answered with an error                |
 *   |   no blocks, blocks behind the end, wrap-around |                                       |
 *   | plug of what is plugged, unplug of what is not  | answered with an error, nothing done  |
 *   | plug of more than is requested                  | refused                               |
 *
 * Threads: any.
 */
#ifndef VMMCORE_VIRTIO_MEM_H
#define VMMCORE_VIRTIO_MEM_H

#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/mem.h>
#include <vmmcore/virtio.h>

VMM_BEGIN_DECLS

#define VMM_VIRTIO_MEM_MAX_BLOCKS (1u << 20)

struct vmm_virtio_mem;

struct vmm_virtio_mem_config {
	struct vmm_mem *mem;      /* borrowed, outlives the device */
	uint64_t gpa;             /* where a region starts, which outlives the device */
	uint64_t block_bytes;     /* a power of two, at least a page; 0: 2 MiB */
	uint64_t requested_bytes; /* at first; whole blocks */

	/* The guest has now this much plugged. With the data lock held; may be NULL. */
	void (*changed)(void *userdata, uint64_t plugged_bytes);
	void *userdata; /* borrowed */
};

/*
 * -EINVAL where no region starts at gpa, or it is read-only, or is not whole blocks, or has too
 * many of them; -ENOMEM; errno of eventfd.
 */
VMM_PUBLIC int vmm_virtio_mem_new(
	const struct vmm_virtio_mem_config *config, struct vmm_virtio_mem **ret_virtio_mem);

/* The transport is gone. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_virtio_mem *vmm_virtio_mem_free(struct vmm_virtio_mem *virtio_mem);

/* For a transport, process, pause and resume. Borrowed. */
VMM_PUBLIC struct vmm_virtio_device *vmm_virtio_mem_device(struct vmm_virtio_mem *virtio_mem);

/* How much the guest should have. -EINVAL: no whole blocks, or more than the region. */
VMM_PUBLIC int vmm_virtio_mem_request(struct vmm_virtio_mem *virtio_mem, uint64_t requested_bytes);

struct vmm_virtio_mem_status {
	uint64_t region_bytes;
	uint64_t requested_bytes;
	uint64_t plugged_bytes;
};

VMM_PUBLIC void vmm_virtio_mem_get_status(
	struct vmm_virtio_mem *virtio_mem, struct vmm_virtio_mem_status *ret_status);

VMM_END_DECLS

#endif

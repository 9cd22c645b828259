/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * memory: how much of it a running guest has: a virtio-balloon takes some away, and a virtio-mem
 * device plugs some on top of what the machine started with. Either may be missing.
 *
 * With prefaulted memory the guest's free pages stay where they are: who asks for those wants
 * no page fault later.
 *
 * Threads: the machine's loop.
 */
#ifndef VMMD_WORKER_MEMORY_H
#define VMMD_WORKER_MEMORY_H

#include <stdatomic.h>
#include <stdint.h>
#include <vmmcore/virtio-balloon.h>
#include <vmmcore/virtio-mem.h>

#include "worker/protocol.h"

struct machine;

struct memory {
	struct vmm_virtio_balloon *balloon; /* borrowed; may be NULL */
	struct vmm_virtio_mem *hotplug;     /* borrowed; may be NULL */
	uint64_t target_bytes;
	_Atomic uint64_t stats_nsec; /* when the last statistics came */
};

/* Part of the phase "drives". */
int memory_add_devices(struct machine *machine);

/* Also asks the guest for statistics, which are there the next time. */
void memory_get(struct machine *machine, struct vmm_control_memory *ret_memory);

/* See struct vmm_control_memory_target. -EINVAL, -ERANGE, -EOPNOTSUPP: nothing has changed. */
int memory_set(struct machine *machine, uint64_t target_bytes);

#endif

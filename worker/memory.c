/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* memory: see memory.h. */
#include "worker/memory.h"

#include <errno.h>

#include "base/util.h"
#include "worker/machine.h"

#define BLOCK_BYTES (UINT64_C(2) << 20)

static void on_stats(void *userdata, const struct vmm_balloon_stats *stats)
{
	struct memory *memory = userdata;

	atomic_store(&memory->stats_nsec, vmm_base_now_nsec());
}

static const struct vmm_balloon_ops balloon_ops = { .stats = on_stats };

static uint64_t block_bytes(const struct machine *machine)
{
	return MAX(BLOCK_BYTES, machine->spec->huge_page_bytes);
}

static int add_balloon(struct machine *machine)
{
	struct machine_virtio *virtio = machine_new_virtio(machine, "balloon");
	struct vmm_virtio_balloon_config config = {
		.mem = machine->mem,
		.target_bytes = machine->spec->balloon_bytes,
		.no_reporting = machine->spec->flags & VMM_SPEC_PREFAULT,
		.ops = &balloon_ops,
		.userdata = &machine->memory,
	};
	int r;

	r = vmm_virtio_balloon_new(&config, &virtio->balloon);
	if (r < 0)
		return machine_fail_host(machine, r, "balloon");
	machine->memory.balloon = virtio->balloon;
	virtio->device = vmm_virtio_balloon_device(virtio->balloon);
	r = machine_serve_queues(virtio);
	return r < 0 ? machine_fail_host(machine, r, "balloon")
		     : machine_add_transport(machine, virtio);
}

static int add_hotplug(struct machine *machine)
{
	struct machine_virtio *virtio = machine_new_virtio(machine, "hotplug-memory");
	struct vmm_virtio_mem_config config = {
		.mem = machine->mem,
		.gpa = machine->hotplug_gpa,
		.block_bytes = block_bytes(machine),
	};
	int r;

	r = vmm_virtio_mem_new(&config, &virtio->hotplug);
	if (r < 0)
		return machine_fail_host(machine, r, "hotplug memory");
	machine->memory.hotplug = virtio->hotplug;
	virtio->device = vmm_virtio_mem_device(virtio->hotplug);
	r = machine_serve_queues(virtio);
	return r < 0 ? machine_fail_host(machine, r, "hotplug memory")
		     : machine_add_transport(machine, virtio);
}

int memory_add_devices(struct machine *machine)
{
	const struct vmm_spec *spec = machine->spec;
	int r;

	machine->memory.target_bytes = spec->memory_bytes - spec->balloon_bytes;
	if (spec->flags & VMM_SPEC_BALLOON) {
		r = add_balloon(machine);
		if (r != 0)
			return r;
	}
	return spec->hotplug_bytes > 0 ? add_hotplug(machine) : 0;
}

void memory_get(struct machine *machine, struct vmm_control_memory *ret_memory)
{
	struct memory *memory = &machine->memory;
	struct vmm_virtio_balloon_status balloon = { .has_stats = false };
	struct vmm_virtio_mem_status hotplug = { .plugged_bytes = 0 };
	struct vmm_balloon_stats *stats = &balloon.stats;

	if (memory->balloon) {
		vmm_virtio_balloon_get_status(memory->balloon, &balloon);
		/* Busy, or the guest gives none: then there are only older ones. */
		vmm_virtio_balloon_request_stats(memory->balloon);
	}
	if (memory->hotplug)
		vmm_virtio_mem_get_status(memory->hotplug, &hotplug);
	if (!balloon.has_stats)
		*stats = (struct vmm_balloon_stats){ UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
			UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX };
	*ret_memory = (struct vmm_control_memory){
		.flags = (memory->balloon ? VMM_MEMORY_BALLOON : 0) |
			 (memory->hotplug ? VMM_MEMORY_HOTPLUG : 0),
		.base_bytes = machine->spec->memory_bytes,
		.maximum_bytes = machine->spec->memory_bytes + machine->spec->hotplug_bytes,
		.target_bytes = memory->target_bytes,
		.balloon_bytes = balloon.inflated_bytes,
		.plugged_bytes = hotplug.plugged_bytes,
		.reported_bytes = balloon.reported_bytes,
		.stats_usec = balloon.has_stats ? atomic_load(&memory->stats_nsec) / 1000 : 0,
		.free_bytes = stats->free_bytes,
		.available_bytes = stats->available_bytes,
		.total_bytes = stats->total_bytes,
		.disk_caches_bytes = stats->disk_caches_bytes,
		.swap_in_bytes = stats->swap_in_bytes,
		.swap_out_bytes = stats->swap_out_bytes,
		.major_faults = stats->major_faults,
		.minor_faults = stats->minor_faults,
	};
}

int memory_set(struct machine *machine, uint64_t target_bytes)
{
	struct memory *memory = &machine->memory;
	uint64_t base_bytes = machine->spec->memory_bytes;
	uint64_t plug_bytes = target_bytes > base_bytes ? target_bytes - base_bytes : 0;
	uint64_t balloon_bytes = target_bytes < base_bytes ? base_bytes - target_bytes : 0;
	int r = 0;

	if ((plug_bytes > 0 && !memory->hotplug) || (balloon_bytes > 0 && !memory->balloon))
		return -EOPNOTSUPP;
	if (plug_bytes > machine->spec->hotplug_bytes)
		return -ERANGE;
	if (!IS_ALIGNED(target_bytes, VMM_BALLOON_PAGE_BYTES) ||
		!IS_ALIGNED(plug_bytes, block_bytes(machine)))
		return -EINVAL;
	if (memory->balloon)
		r = vmm_virtio_balloon_set_target(memory->balloon, balloon_bytes);
	if (r == 0 && memory->hotplug)
		r = vmm_virtio_mem_request(memory->hotplug, plug_bytes);
	if (r == 0)
		memory->target_bytes = target_bytes;
	return r;
}

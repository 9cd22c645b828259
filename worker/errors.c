/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * errors: requests that a drive's file has failed, told to clients: at most one event a drive and
 * second, with the last error. Their number is in the drive's counters.
 */
#include <string.h>

#include "base/util.h"
#include "worker/machine.h"

#define BETWEEN_NSEC UINT64_C(1000000000)

void machine_drive_failed(void *userdata, enum vmm_blk_op op, int error)
{
	struct machine_virtio *virtio = userdata;

	/* Once until the loop has looked, so that failing requests do not keep it busy. */
	if (atomic_exchange(&virtio->block_error, error) == 0)
		vmm_loop_event_signal(virtio->machine->failed);
}

/* When to look again, or 0. */
static uint64_t tell(struct machine_virtio *virtio, uint64_t now_nsec)
{
	struct machine *machine = virtio->machine;
	int error;

	if (atomic_load(&virtio->block_error) == 0)
		return 0;
	if (now_nsec < virtio->next_error_nsec)
		return virtio->next_error_nsec;
	error = atomic_exchange(&virtio->block_error, 0);
	virtio->next_error_nsec = now_nsec + BETWEEN_NSEC;
	control_event(machine, VMM_EVENT_BLOCK_ERROR, -error, virtio->id);
	return 0;
}

static int on_failed(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct machine *machine = userdata;
	uint64_t now_nsec = vmm_base_now_nsec(), next_nsec = 0;

	for (size_t i = 0; i < machine->n_virtio; i++) {
		uint64_t due_nsec = 0;

		if (machine_virtio_is_live(&machine->virtio[i]))
			due_nsec = tell(&machine->virtio[i], now_nsec);
		if (due_nsec != 0 && (next_nsec == 0 || due_nsec < next_nsec))
			next_nsec = due_nsec;
	}
	vmm_loop_timer_set(machine->failed_timer, next_nsec);
	return 0;
}

int machine_watch_errors(struct machine *machine)
{
	int r;

	r = vmm_loop_add_event(machine->loop, on_failed, machine, &machine->failed);
	return r < 0 ? r
		     : vmm_loop_add_timer(
			       machine->loop, on_failed, machine, &machine->failed_timer);
}

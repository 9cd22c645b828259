/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * errors: what goes wrong in devices, told in the loop's thread, and with a bound on how often.
 * Requests that a drive's file has failed: at most one event a drive and second, with the last
 * error; their number is in the drive's counters. A device that needs a reset by its guest: one
 * line in the log and one event a device and minute; what else it breaks by then is not told.
 */
#include <string.h>

#include "base/util.h"
#include "worker/machine.h"

#define BETWEEN_NSEC UINT64_C(1000000000)
#define BETWEEN_BROKEN_NSEC UINT64_C(60000000000)

void machine_drive_failed(void *userdata, enum vmm_blk_op op, int error)
{
	struct machine_virtio *virtio = userdata;

	/* Once until the loop has looked, so that failing requests do not keep it busy. */
	if (atomic_exchange(&virtio->block_error, error) == 0)
		vmm_loop_event_signal(virtio->machine->failed);
}

void machine_device_broken(void *userdata)
{
	struct machine_virtio *virtio = userdata;

	if (!atomic_exchange(&virtio->broken, true))
		vmm_loop_event_signal(virtio->machine->failed);
}

/* The device has told the guest already, and others go on. */
static void tell_broken(struct machine_virtio *virtio, uint64_t now_nsec)
{
	struct machine *machine = virtio->machine;

	if (!atomic_exchange(&virtio->broken, false) || now_nsec < virtio->next_broken_nsec)
		return;
	virtio->next_broken_nsec = now_nsec + BETWEEN_BROKEN_NSEC;
	log_message(&machine->log, LOG_PRIORITY_WARNING,
		(struct log_about){
			.id = LOG_ID_DEVICE, .event = "device-broken", .device = virtio->id },
		"Device %s needs a reset by the guest.", virtio->id);
	control_event(machine, VMM_EVENT_DEVICE_BROKEN, 0, virtio->id);
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

		if (!machine_virtio_is_live(&machine->virtio[i]))
			continue;
		tell_broken(&machine->virtio[i], now_nsec);
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

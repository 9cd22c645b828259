/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* hotplug: the loop's side: requests, what the guest says, and what the builder has done. */
#include "worker/hotplug.h"

#include <string.h>

#include "base/util.h"
#include "worker/machine.h"

/* A guest that is not up yet, or has missed it, is asked again. */
#define ASK_AGAIN_NSEC UINT64_C(2000000000)

static const char *kind_name(const struct machine_virtio *virtio)
{
	return virtio->kind == VMM_DEVICE_DRIVE     ? "Drive"
	       : virtio->kind == VMM_DEVICE_NETWORK ? "Network"
						    : "Share";
}

/* Once, and not where nobody waits. */
static void tell_waiter(struct machine_virtio *virtio, int result, const char *text)
{
	struct control_waiter waiter = TAKE(virtio->plug.waiter, (struct control_waiter){});

	if (waiter.client)
		control_answer_waiter(&waiter, result, text);
}

static void set_timer(struct machine *machine)
{
	uint64_t next_nsec = 0;

	for (size_t i = 0; i < machine->n_virtio; i++) {
		const struct hotplug_device *plug = &machine->virtio[i].plug;
		uint64_t due_nsec = MIN(plug->ask_nsec, plug->deadline_nsec);

		if (plug->state == HOTPLUG_LEAVING && (next_nsec == 0 || due_nsec < next_nsec))
			next_nsec = due_nsec;
	}
	vmm_loop_timer_set(machine->hotplug.timer, next_nsec);
}

/* ---- coming ---- */

static int new_device(struct machine *machine, const char *id, enum vmm_device_kind kind,
	const struct control_waiter *waiter, struct machine_virtio **ret_virtio,
	const char **ret_text)
{
	struct machine_virtio *virtio;

	if (!machine->hotplug.started) {
		*ret_text = "the MMIO transport cannot attach or detach while the machine runs";
		return -EOPNOTSUPP;
	}
	if (machine->life.state != VMM_STATE_RUNNING) {
		*ret_text = "the machine is not running";
		return -EBUSY;
	}
	if (machine_find_any(machine, id, kind)) {
		*ret_text = kind == VMM_DEVICE_DRIVE ? "there is a drive of that name"
						     : "there is a network of that name";
		return -EEXIST;
	}
	virtio = machine_new_virtio(machine, id);
	if (!virtio) {
		*ret_text = "there are too many devices";
		return -ENOSPC;
	}
	virtio->kind = kind;
	virtio->plug.state = HOTPLUG_COMING;
	virtio->plug.attached = true;
	virtio->plug.waiter = *waiter;
	*ret_virtio = virtio;
	return 0;
}

static void take_fds(struct machine_virtio *virtio, struct vmm_control_fds *fds)
{
	virtio->plug.fds = *fds;
	fds->n_fds = 0;
}

int hotplug_attach_drive(struct machine *machine, const struct vmm_spec_drive *spec,
	struct vmm_control_fds *fds, const struct control_waiter *waiter, const char **ret_text)
{
	struct machine_virtio *virtio;
	int r;

	if (spec->flags & VMM_DRIVE_PMEM) {
		*ret_text = "persistent memory cannot be attached while the machine runs";
		return -EOPNOTSUPP;
	}
	if (spec->flags & VMM_DRIVE_VHOST_USER) {
		*ret_text = "a drive with a back end cannot be attached while the machine runs";
		return -EOPNOTSUPP;
	}
	r = new_device(machine, spec->id, VMM_DEVICE_DRIVE, waiter, &virtio, ret_text);
	if (r < 0)
		return r;
	virtio->plug.drive = *spec;
	take_fds(virtio, fds);
	plug_order(virtio, HOTPLUG_BUILD);
	return 0;
}

int hotplug_attach_network(struct machine *machine, const struct vmm_spec_network *spec,
	struct vmm_control_fds *fds, const struct control_waiter *waiter, const char **ret_text)
{
	struct machine_virtio *virtio;
	int r;

	if (spec->vhost_fds[0] != 0) {
		*ret_text = "a network with a back end cannot be attached while the machine runs";
		return -EOPNOTSUPP;
	}
	r = new_device(machine, spec->id, VMM_DEVICE_NETWORK, waiter, &virtio, ret_text);
	if (r < 0)
		return r;
	virtio->plug.network = *spec;
	take_fds(virtio, fds);
	plug_order(virtio, HOTPLUG_BUILD);
	return 0;
}

static void has_come(struct machine_virtio *virtio)
{
	struct hotplug_device *plug = &virtio->plug;
	struct machine *machine = virtio->machine;

	if (plug->result < 0) {
		tell_waiter(virtio, plug->result, plug->text);
		virtio->kind = VMM_DEVICE_NONE;
		plug->state = HOTPLUG_FREE;
		return;
	}
	plug->state = HOTPLUG_PRESENT;
	plug->slot = vmm_virtio_pci_slot(virtio->pci);
	vmm_ged_pci_plug(machine->ged, plug->slot);
	log_message(&machine->log, LOG_PRIORITY_INFO,
		(struct log_about){
			.id = LOG_ID_ATTACHED, .event = "attached", .device = virtio->id },
		"%s %s was attached.", kind_name(virtio), virtio->id);
	tell_waiter(virtio, 0, NULL);
	control_event(machine, VMM_EVENT_DEVICE_ATTACHED, (int32_t)virtio->kind, virtio->id);
}

/* ---- going ---- */

static void remove_device(struct machine_virtio *virtio, bool forced)
{
	virtio->plug.state = HOTPLUG_GOING;
	virtio->plug.forced = forced;
	plug_order(virtio, HOTPLUG_REMOVE);
}

static void has_gone(struct machine_virtio *virtio)
{
	struct hotplug_device *plug = &virtio->plug;
	struct machine *machine = virtio->machine;
	enum vmm_device_kind kind = virtio->kind;

	/* The slot is empty by now: a guest that looks finds that out. */
	if (plug->forced)
		vmm_ged_pci_gone(machine->ged, plug->slot);
	log_message(&machine->log, LOG_PRIORITY_INFO,
		(struct log_about){
			.id = LOG_ID_DETACHED, .event = "detached", .device = virtio->id },
		plug->forced ? "%s %s was taken away from the guest." : "%s %s was detached.",
		kind_name(virtio), virtio->id);
	tell_waiter(virtio, 0, NULL);
	virtio->kind = VMM_DEVICE_NONE;
	plug->state = HOTPLUG_FREE;
	control_event(machine, VMM_EVENT_DEVICE_DETACHED, (int32_t)kind, virtio->id);
}

int hotplug_detach(struct machine *machine, const struct vmm_control_detach *detach,
	const struct control_waiter *waiter, const char **ret_text)
{
	struct machine_virtio *virtio = machine_find_any(machine, detach->id, detach->kind);
	bool force = detach->flags & VMM_DETACH_FORCE;
	uint64_t now_nsec = vmm_base_now_nsec();
	struct hotplug_device *plug;

	if (!machine->hotplug.started) {
		*ret_text = "the MMIO transport cannot attach or detach while the machine runs";
		return -EOPNOTSUPP;
	}
	if (!virtio) {
		*ret_text = detach->kind == VMM_DEVICE_DRIVE ? "there is no such drive"
							     : "there is no such network";
		return -ENODEV;
	}
	if (virtio->pmem) {
		*ret_text = "persistent memory cannot be detached while the machine runs";
		return -EOPNOTSUPP;
	}
	plug = &virtio->plug;
	/* What waits for the guest may be cut short; what is in the builder's hands is not. */
	if (plug->state == HOTPLUG_COMING || plug->state == HOTPLUG_GOING ||
		(plug->state == HOTPLUG_LEAVING && !force)) {
		*ret_text = "it is being attached or detached";
		return -EALREADY;
	}
	if (machine->life.state == VMM_STATE_PAUSED || machine->life.state == VMM_STATE_ENDED) {
		*ret_text = "the machine is not running";
		return -EBUSY;
	}
	if (plug->state == HOTPLUG_LEAVING)
		tell_waiter(virtio, -ECANCELED, "somebody takes it away by force");
	plug->waiter = *waiter;
	plug->force = force;
	plug->state = HOTPLUG_LEAVING;
	plug->deadline_nsec = now_nsec + detach->timeout_usec * 1000;
	plug->ask_nsec = now_nsec + ASK_AGAIN_NSEC;
	if (detach->timeout_usec == 0)
		remove_device(virtio, true);
	else
		vmm_ged_pci_unplug(machine->ged, plug->slot);
	set_timer(machine);
	return 0;
}

static void check_leaving(struct machine_virtio *virtio, uint64_t now_nsec)
{
	struct hotplug_device *plug = &virtio->plug;

	if (now_nsec >= plug->deadline_nsec) {
		if (plug->force) {
			remove_device(virtio, true);
			return;
		}
		plug->state = HOTPLUG_PRESENT;
		tell_waiter(virtio, -ETIMEDOUT, "the guest has not given it up in time");
		return;
	}
	if (now_nsec >= plug->ask_nsec) {
		plug->ask_nsec = now_nsec + ASK_AGAIN_NSEC;
		vmm_ged_pci_unplug(virtio->machine->ged, plug->slot);
	}
}

static int on_timer(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct machine *machine = userdata;
	uint64_t now_nsec = vmm_base_now_nsec();

	for (size_t i = 0; i < machine->n_virtio; i++)
		if (machine->virtio[i].plug.state == HOTPLUG_LEAVING)
			check_leaving(&machine->virtio[i], now_nsec);
	set_timer(machine);
	return 0;
}

void hotplug_ejected(struct machine *machine, unsigned int slot)
{
	atomic_fetch_or(&machine->hotplug.ejected, UINT32_C(1) << slot);
	vmm_loop_event_signal(machine->hotplug.done);
}

/* ---- what others have done ---- */

static bool take_done(struct machine_virtio *virtio)
{
	struct hotplug *hotplug = &virtio->machine->hotplug;
	bool done;

	pthread_mutex_lock(&hotplug->lock);
	done = virtio->plug.order == HOTPLUG_DONE;
	if (done)
		virtio->plug.order = HOTPLUG_NO_ORDER;
	pthread_mutex_unlock(&hotplug->lock);
	return done;
}

static int on_done(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct machine *machine = userdata;
	uint32_t ejected = atomic_exchange(&machine->hotplug.ejected, 0);

	for (size_t i = 0; i < machine->n_virtio; i++) {
		struct machine_virtio *virtio = &machine->virtio[i];
		struct hotplug_device *plug = &virtio->plug;

		/* A guest may give up a device that nobody has asked it for. */
		if (machine_virtio_is_live(virtio) && (ejected >> plug->slot & 1))
			remove_device(virtio, false);
		if ((plug->state == HOTPLUG_COMING || plug->state == HOTPLUG_GOING) &&
			take_done(virtio)) {
			if (plug->state == HOTPLUG_COMING)
				has_come(virtio);
			else
				has_gone(virtio);
		}
	}
	set_timer(machine);
	return 0;
}

/* ---- the start ---- */

static bool may_go(const struct machine_virtio *virtio)
{
	return virtio->kind != VMM_DEVICE_NONE && virtio->pci && !virtio->pmem;
}

uint32_t hotplug_slots(struct machine *machine)
{
	uint32_t slots = ~vmm_pci_bus_slots(machine->pci);

	for (size_t i = 0; i < machine->n_virtio; i++)
		if (may_go(&machine->virtio[i]))
			slots |= UINT32_C(1) << vmm_virtio_pci_slot(machine->virtio[i].pci);
	return slots & ~UINT32_C(1);
}

int hotplug_register(struct machine *machine)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < machine->n_virtio; i++) {
		struct machine_virtio *virtio = &machine->virtio[i];

		if (!may_go(virtio))
			continue;
		virtio->plug.slot = vmm_virtio_pci_slot(virtio->pci);
		r = vmm_ged_pci_occupy(machine->ged, virtio->plug.slot);
	}
	return r;
}

int hotplug_start(struct machine *machine)
{
	struct hotplug *hotplug = &machine->hotplug;
	int r;

	if (!machine->pci)
		return 0;
	r = vmm_loop_add_event(machine->loop, on_done, machine, &hotplug->done);
	if (r == 0)
		r = vmm_loop_add_timer(machine->loop, on_timer, machine, &hotplug->timer);
	if (r == 0)
		r = plug_start(machine);
	if (r < 0)
		return machine_fail_host(machine, r, "the thread that attaches devices");
	hotplug->started = true;
	return 0;
}

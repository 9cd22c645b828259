/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* limits: drives and networks as clients see them, and changes of their limits. */
#include <string.h>

#include "base/util.h"
#include "worker/machine.h"

struct machine_virtio *machine_find_any(
	struct machine *machine, const char *id, enum vmm_device_kind kind)
{
	for (size_t i = 0; i < machine->n_virtio; i++) {
		struct machine_virtio *virtio = &machine->virtio[i];

		if (virtio->plug.state != HOTPLUG_FREE && virtio->kind == kind &&
			strcmp(virtio->id, id) == 0)
			return virtio;
	}
	return NULL;
}

static struct machine_virtio *find_live(
	struct machine *machine, const char *id, enum vmm_device_kind kind)
{
	struct machine_virtio *virtio = machine_find_any(machine, id, kind);

	return virtio && machine_virtio_is_live(virtio) ? virtio : NULL;
}

struct machine_virtio *machine_find_drive(struct machine *machine, const char *id)
{
	return find_live(machine, id, VMM_DEVICE_DRIVE);
}

struct machine_virtio *machine_find_network(struct machine *machine, const char *id)
{
	return find_live(machine, id, VMM_DEVICE_NETWORK);
}

/* ---- limits ---- */

/* members: of this bucket, from bit 0. A rate that goes takes its bursts with it. */
static int change_bucket(
	struct vmm_spec_bucket *bucket, const struct vmm_spec_bucket *to, uint32_t members)
{
	if (members & VMM_RATE_BYTES)
		bucket->rate_per_second = to->rate_per_second;
	if ((members & VMM_RATE_BYTES) && to->rate_per_second == 0) {
		bucket->burst = 0;
		bucket->one_time_burst = 0;
	}
	if (members & VMM_RATE_BYTES_BURST)
		bucket->burst = to->burst;
	if (members & VMM_RATE_BYTES_ONE_TIME)
		bucket->one_time_burst = to->one_time_burst;
	if (bucket->rate_per_second == 0 && (bucket->burst != 0 || bucket->one_time_burst != 0))
		return -EINVAL;
	return 0;
}

static int change_rate(struct vmm_spec_rate *rate, const struct vmm_spec_rate *to, uint32_t members)
{
	static_assert(VMM_RATE_OPS == VMM_RATE_BYTES << 3, "both buckets have the same bits");
	int r = change_bucket(&rate->bytes, &to->bytes, members);

	return r < 0 ? r : change_bucket(&rate->ops, &to->ops, members >> 3);
}

int machine_set_rate(struct machine_virtio *virtio, const struct vmm_control_set_rate *set)
{
	struct vmm_ratelimit_config limits[2];
	struct vmm_spec_rate rate[2];
	int r;

	memcpy(rate, virtio->rate, sizeof(rate));
	for (size_t i = 0; i < ARRAY_SIZE(rate); i++) {
		r = change_rate(&rate[i], &set->rate[i], set->members >> (i * VMM_RATE_SECOND));
		if (r < 0)
			return r;
		limits[i] = machine_limits(&rate[i]);
	}
	if (virtio->backend.vhost)
		return -EOPNOTSUPP;
	if (virtio->blk)
		r = vmm_virtio_blk_set_limits(virtio->blk, &limits[0]);
	else
		r = vmm_virtio_net_set_limits(virtio->net, &limits[0], &limits[1]);
	if (r >= 0)
		memcpy(virtio->rate, rate, sizeof(rate));
	return r;
}

/* ---- what there is ---- */

static void describe_drive(const struct machine_virtio *virtio, struct vmm_control_device *device)
{
	struct vmm_virtio_blk_status status;

	vmm_virtio_blk_get_status(virtio->blk, &status);
	if (strcmp(status.engine, "io_uring") == 0)
		device->engine = VMM_ENGINE_IO_URING;
	else if (strcmp(status.engine, "threads") == 0)
		device->engine = VMM_ENGINE_THREADS;
	if (virtio->drive->flags & VMM_DRIVE_READ_ONLY)
		device->flags |= VMM_DEVICE_READ_ONLY;
	if (status.n_limited > 0)
		device->flags |= VMM_DEVICE_LIMITED;
	device->size_bytes = status.capacity_bytes;
	device->in_ops = status.n_reads;
	device->in_bytes = status.read_bytes;
	device->out_ops = status.n_writes;
	device->out_bytes = status.written_bytes;
	device->errors = status.n_failed;
}

static void describe_network(const struct machine_virtio *virtio, struct vmm_control_device *device)
{
	struct vmm_virtio_net_status status;

	vmm_virtio_net_get_status(virtio->net, &status);
	if (!status.link_up || status.backend_failed)
		device->flags |= VMM_DEVICE_LINK_DOWN;
	if (status.n_limited > 0)
		device->flags |= VMM_DEVICE_LIMITED;
	device->in_ops = status.n_received;
	device->in_bytes = status.received_bytes;
	device->out_ops = status.n_transmitted;
	device->out_bytes = status.transmitted_bytes;
	device->errors = status.n_receive_dropped + status.n_transmit_dropped;
}

static void describe(const struct machine_virtio *virtio, struct vmm_control_device *device)
{
	if (virtio->backend.vhost) {
		backend_describe(virtio, device);
	} else if (virtio->pmem) {
		device->flags |= VMM_DEVICE_PMEM;
		device->size_bytes = virtio->pmem_bytes;
	} else if (virtio->kind == VMM_DEVICE_DRIVE) {
		describe_drive(virtio, device);
	} else {
		describe_network(virtio, device);
	}
	if (vmm_virtio_status(virtio->device) & VMM_VIRTIO_STATUS_NEEDS_RESET)
		device->flags |= VMM_DEVICE_BROKEN;
	memcpy(device->rate, virtio->rate, sizeof(device->rate));
}

void machine_get_device(
	struct machine *machine, uint32_t index, struct vmm_control_device *ret_device)
{
	struct vmm_control_device device = {};

	for (size_t i = index; i < machine->n_virtio; i++) {
		const struct machine_virtio *virtio = &machine->virtio[i];

		if (virtio->plug.state == HOTPLUG_FREE || virtio->kind == VMM_DEVICE_NONE)
			continue;
		device.kind = virtio->kind;
		memcpy(device.id, virtio->id, sizeof(device.id));
		device.next = (uint32_t)i + 1;
		device.state = virtio->plug.state == HOTPLUG_PRESENT  ? VMM_DEVICE_PRESENT
			       : virtio->plug.state == HOTPLUG_COMING ? VMM_DEVICE_COMING
								      : VMM_DEVICE_LEAVING;
		if (virtio->plug.attached)
			device.flags |= VMM_DEVICE_ATTACHED;
		device.slot = virtio->plug.slot;
		/* The rest is the builder's for now. */
		if (machine_virtio_is_live(virtio))
			describe(virtio, &device);
		break;
	}
	*ret_device = device;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * net: the network devices of a machine. Each has a loop and a thread of its own, so that a busy
 * network delays neither the control socket nor another device.
 */
#include <string.h>

#include "base/util.h"
#include "worker/machine.h"

static int add_backend(struct machine_virtio *virtio, const struct vmm_spec_network *spec,
	const struct vmm_control_fds *fds, bool later, struct vmm_net_backend *ret_backend)
{
	struct machine *machine = virtio->machine;
	int taps[VMM_SPEC_MAX_TAPS];
	int r;

	if (spec->stream_fd != 0) {
		r = vmm_net_stream_new(fds->fds[spec->stream_fd - 1], &virtio->stream);
		if (r < 0)
			return machine_fail_host(machine, r, "network %s", spec->id);
		*ret_backend = vmm_net_stream_backend(virtio->stream);
		return 0;
	}
	for (uint32_t i = 0; i < spec->n_taps; i++)
		taps[i] = fds->fds[spec->tap_fds[i] - 1];
	r = vmm_net_tap_new(taps, spec->n_taps, &virtio->tap);
	if (r == -EBADFD)
		return machine_fail_config(
			machine, "network %s: a descriptor is no tap of the right kind", spec->id);
	if (r < 0)
		return machine_fail_host(machine, r, "network %s: its tap", spec->id);
	/* A ring cannot be made any more, see hotplug.h; a host that refuses one goes without. */
	if (!later)
		vmm_net_tap_use_rings(virtio->tap);
	*ret_backend = vmm_net_tap_backend(virtio->tap);
	return 0;
}

int machine_build_network(struct machine_virtio *virtio, const struct vmm_spec_network *spec,
	const struct vmm_control_fds *fds, bool later)
{
	struct machine *machine = virtio->machine;
	struct vmm_virtio_net_config config = {
		.mem = machine->mem,
		.loops = &virtio->loop,
		.n_loops = 1,
		.n_pairs = MAX(spec->n_taps, 1u),
		.queue_size = spec->queue_size,
		.mtu = spec->mtu,
		.receive_limits = machine_limits(&spec->receive_rate),
		.transmit_limits = machine_limits(&spec->transmit_rate),
	};
	int r;

	virtio->kind = VMM_DEVICE_NETWORK;
	virtio->rate[0] = spec->receive_rate;
	virtio->rate[1] = spec->transmit_rate;
	memcpy(config.mac, spec->mac, sizeof(config.mac));
	r = add_backend(virtio, spec, fds, later, &config.backend);
	if (r != 0)
		return r;
	r = vmm_loop_new(&virtio->loop);
	if (r == 0)
		r = vmm_virtio_net_new(&config, &virtio->net);
	if (r < 0)
		return machine_fail_host(machine, r, "network %s", spec->id);
	virtio->device = vmm_virtio_net_device(virtio->net);
	r = machine_add_transport(machine, virtio);
	if (r != 0)
		return r;
	r = machine_start_thread(virtio, SANDBOX_NET, "net");
	return r < 0 ? machine_fail_host(machine, r, "network %s: its thread", spec->id) : 0;
}

/* The next descriptor of the hand-over for a device, and its index for it. */
static void move_fd(struct machine *machine, uint32_t *index, struct vmm_control_fds *fds)
{
	if (*index == 0)
		return;
	fds->fds[fds->n_fds++] = machine_take_fd(machine, *index);
	*index = (uint32_t)fds->n_fds;
}

int machine_add_network(struct machine *machine, const struct vmm_spec_network *spec)
{
	struct machine_virtio *virtio = machine_new_virtio(machine, spec->id);
	CLEANUP(vmm_control_fds_finish) struct vmm_control_fds fds = {};
	struct vmm_spec_network copy = *spec;

	for (uint32_t i = 0; i < copy.n_taps; i++)
		move_fd(machine, &copy.tap_fds[i], &fds);
	move_fd(machine, &copy.stream_fd, &fds);
	return machine_build_network(virtio, &copy, &fds, false);
}

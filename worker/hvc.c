/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * hvc: a virtio-console as the machine's console. Its output goes into the ring of console.h, which
 * takes all of it; the block's own ring stays empty.
 */
#include <errno.h>
#include <sys/epoll.h>

#include "base/util.h"
#include "worker/machine.h"

static size_t sink(void *userdata, unsigned int port, const void *data, size_t size)
{
	struct machine *machine = userdata;

	console_output(&machine->console, data, size);
	return size;
}

static void room(void *userdata, unsigned int port)
{
	struct machine *machine = userdata;

	console_input_ready(&machine->console);
}

static const struct vmm_console_ops console_ops = { .sink = sink, .room = room };

static size_t feed(void *userdata, const uint8_t *data, size_t n_bytes)
{
	return vmm_virtio_console_send(userdata, 0, data, n_bytes);
}

static int on_due(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct machine_virtio *virtio = userdata;

	vmm_virtio_console_process(virtio->console);
	return 0;
}

static struct machine_virtio *find_console(struct machine *machine)
{
	for (size_t i = 0; i < machine->n_virtio; i++)
		if (machine->virtio[i].console)
			return &machine->virtio[i];
	return NULL;
}

int machine_resize_console(struct machine *machine, const struct vmm_control_console *size)
{
	struct machine_virtio *virtio = find_console(machine);

	if (!virtio)
		return -EOPNOTSUPP;
	if (size->id != 0 && !console_writes(&machine->console, size->id))
		return -ENOENT;
	vmm_virtio_console_resize(virtio->console, 0, size->columns, size->rows);
	return 0;
}

int machine_add_console(struct machine *machine)
{
	struct machine_virtio *virtio = machine_new_virtio(machine, "console");
	struct vmm_console_port_config port = {
		.is_console = true,
		.ring_bytes = 4096,
		.ops = &console_ops,
		.userdata = machine,
	};
	struct vmm_virtio_console_config config = {
		.mem = machine->mem,
		.n_ports = 1,
		.ports = &port,
		.limits = machine_limits(&machine->spec->console_rate),
	};
	int r;

	r = vmm_virtio_console_new(&config, &virtio->console);
	if (r < 0)
		return machine_fail_host(machine, r, "console");
	virtio->device = vmm_virtio_console_device(virtio->console);
	r = machine_serve_queues(virtio);
	if (r == 0)
		r = vmm_loop_add_fd(machine->loop, vmm_virtio_console_fd(virtio->console), EPOLLIN,
			on_due, virtio, &virtio->due);
	if (r < 0)
		return machine_fail_host(machine, r, "console");
	console_set_feed(&machine->console, feed, virtio->console);
	return machine_add_transport(machine, virtio);
}

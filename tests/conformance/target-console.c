/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-console with three ports. */
#include <stdio.h>
#include <stdlib.h>

#include <vmmcore/virtio-console.h>

#include "lib/vmm-machine.h"
#include "target-console.h"
#include "targets.h"

#define RAM_BYTES (UINT64_C(16) << 20)

static struct vmm_machine machine;
static unsigned int n_opened;
static struct vmm_virtio_console *console;
static uint64_t cursors[CONSOLE_PORTS];
static bool is_open[CONSOLE_PORTS];
static char last_sent[32];

static void guest_opened(void *userdata, unsigned int port, bool open)
{
	is_open[port] = open;
}

static const struct vmm_console_ops ops = { .guest_opened = guest_opened };

static struct machine *open_console(bool pci)
{
	static const struct vmm_console_port_config ports[CONSOLE_PORTS] = {
		{ .ops = &ops },
		{ .name = CONSOLE_NAME, .ops = &ops },
		{ .disconnected = true, .ops = &ops },
	};
	struct vmm_virtio_console_config config = {
		.n_ports = CONSOLE_PORTS,
		.ports = ports,
		.columns = CONSOLE_COLUMNS,
		.rows = CONSOLE_ROWS,
	};

	vmm_machine_init(&machine, RAM_BYTES);
	/* Both ways that a kick can take. */
	machine.no_doorbells = n_opened++ % 2;
	config.mem = machine.mem;
	if (vmm_virtio_console_new(&config, &console) < 0) {
		fprintf(stderr, "virtio-console cannot be made\n");
		exit(EXIT_FAILURE);
	}
	vmm_machine_attach(&machine, vmm_virtio_console_device(console), pci);
	memset(cursors, 0, sizeof(cursors));
	memset(is_open, 0, sizeof(is_open));
	return &machine.machine;
}

/* A line of output of port 0, another each time. */
static size_t request(struct conf *c, struct vring_buffer *buffers)
{
	static unsigned int n;

	snprintf(last_sent, sizeof(last_sent), "line %010u of the output\n", n++);
	c->gpas[0] = vdriver_alloc(&c->d, sizeof(last_sent));
	memcpy(c->m->ram + c->gpas[0], last_sent, sizeof(last_sent));
	buffers[0] = (struct vring_buffer){ c->gpas[0], sizeof(last_sent), false };
	return 1;
}

static bool verify(struct conf *c, uint32_t len)
{
	char data[2 * sizeof(last_sent)] = "";
	size_t n;

	c->n_done++;
	/* Of all that was put out in the meantime it is the end. */
	do {
		memmove(data, data + sizeof(last_sent), sizeof(last_sent));
		n = vmm_virtio_console_read(
			console, 0, &cursors[0], data + sizeof(last_sent), sizeof(last_sent), NULL);
	} while (n == sizeof(last_sent));
	return len == 0 && memcmp(data + n, last_sent, sizeof(last_sent)) == 0;
}

static bool got(unsigned int port, const void *data, size_t size)
{
	char bytes[4096];

	return size <= sizeof(bytes) &&
	       vmm_virtio_console_read(console, port, &cursors[port], bytes, size, NULL) == size &&
	       memcmp(bytes, data, size) == 0;
}

static bool host(unsigned int event, const void *data, size_t size)
{
	const uint8_t *bytes = data;
	uint16_t cells[2];

	switch (event) {
	case CONSOLE_HOST_GOT:
		return got(bytes[0], bytes + 1, size - 1);
	case CONSOLE_HOST_SEND:
		return vmm_virtio_console_send(console, bytes[0], bytes + 1, size - 1) == size - 1;
	case CONSOLE_HOST_RESIZE:
		memcpy(cells, bytes + 1, sizeof(cells));
		vmm_virtio_console_resize(console, bytes[0], cells[0], cells[1]);
		return true;
	case CONSOLE_HOST_CONNECT:
		vmm_virtio_console_connect(console, bytes[0], bytes[1]);
		return true;
	case CONSOLE_HOST_IS_OPEN:
		return is_open[bytes[0]];
	default:
		return false;
	}
}

static void change_config(void)
{
	static uint16_t columns = CONSOLE_COLUMNS;

	vmm_virtio_console_resize(console, 0, ++columns, CONSOLE_ROWS);
}

const struct target target_console = {
	.name = "console",
	.type = 3,
	.n_queues = 2 * (CONSOLE_PORTS + 1),
	.work_queue = 1,
	.config_bytes = 12,
	.features = 0xffffff,
	.open = open_console,
	.request = request,
	.verify = verify,
	.change_config = change_config,
	.host = host,
};

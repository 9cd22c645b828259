/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* fuzz: virtio-console with three ports: two with rings, one with a sink that takes what it likes.
 */
#include <vmmcore/virtio-console.h>

#include "device-script.h"

#define N_PORTS 3

static struct vmm_virtio_console *console;
static size_t sink_takes;

static size_t sink(void *userdata, unsigned int port, const void *data, size_t size)
{
	FUZZ_CHECK(port == 1 && size > 0);
	return sink_takes < size ? sink_takes : size;
}

static const struct vmm_console_ops sink_ops = { .sink = sink };

static void process(void)
{
	struct vmm_virtio_device *device = vmm_virtio_console_device(console);

	for (unsigned int i = 0; i < 2 * (N_PORTS + 1); i++) {
		int r = vmm_virtio_process(device, i);

		FUZZ_CHECK(r == 0 || r == -VMM_EGUEST);
	}
}

static void read_all(unsigned int port)
{
	uint64_t cursor = 0, lost;
	char data[100];
	size_t n, total = 0;

	while ((n = vmm_virtio_console_read(console, port, &cursor, data, sizeof(data), &lost)) > 0)
		total += n;
	FUZZ_CHECK(total <= 256);
}

static void event(uint8_t code, uint8_t arg)
{
	static const uint8_t input[256];
	struct vmm_ratelimit_config limits = { .bytes = { .rate = 1 + arg * UINT64_C(100) } };

	switch (code % 8) {
	case 0:
		read_all(0);
		read_all(2);
		break;
	case 1:
		FUZZ_CHECK(vmm_virtio_console_send(console, arg % N_PORTS, input, arg) <= arg);
		break;
	case 2:
		vmm_virtio_console_connect(console, arg % N_PORTS, arg & 0x80);
		break;
	case 3:
		vmm_virtio_console_resize(console, arg % N_PORTS, arg, 25);
		break;
	case 4:
		sink_takes = arg;
		break;
	case 5:
		vmm_virtio_console_writable(console, 1);
		break;
	case 6:
		FUZZ_CHECK(vmm_virtio_console_set_limits(console, arg ? &limits : NULL) == 0);
		break;
	case 7:
		vmm_virtio_console_process(console);
		break;
	}
}

static const struct fuzz_device device = {
	.n_queues = 2 * (N_PORTS + 1),
	.queue_size = 16,
	.process = process,
	.event = event,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vmm_console_port_config ports[N_PORTS] = {
		{ .ring_bytes = 256 },
		{ .name = "agent", .ops = &sink_ops },
		{ .name = "log", .ring_bytes = 100, .disconnected = true },
	};

	if (!console) {
		struct driver *driver = fuzz_driver();
		struct vmm_virtio_console_config config = {
			.mem = driver->mem,
			.n_ports = N_PORTS,
			.ports = ports,
		};

		FUZZ_CHECK(vmm_virtio_console_new(&config, &console) == 0);
		driver_attach(driver, vmm_virtio_console_device(console));
	}
	sink_takes = SIZE_MAX;
	vmm_virtio_console_set_limits(console, NULL);
	vmm_virtio_console_process(console);
	fuzz_device_run(&device, data, size);
	return 0;
}

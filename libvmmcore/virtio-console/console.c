/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-console: the device: its ports, queues, configuration space (VIRTIO 1.2, 5.3.4) and life.
 */
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>

#include "virtio-console/console-internal.h"

#define DEVICE_TYPE_CONSOLE 3
#define PCI_CLASS_OTHER_COMMUNICATION 0x078000
#define DEFAULT_RING_BYTES 65536

int console_set_timer(struct vmm_virtio_console *console, uint64_t deadline_nsec)
{
	struct itimerspec spec = { 0 };

	deadline_nsec = MIN(deadline_nsec, (uint64_t)INT64_MAX);
	spec.it_value.tv_sec = (time_t)(deadline_nsec / 1000000000);
	spec.it_value.tv_nsec = (long)(deadline_nsec % 1000000000);
	if (timerfd_settime(console->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
		return -errno;
	return 0;
}

static int op_process(void *userdata, unsigned int index, struct vmm_virtqueue *queue)
{
	struct vmm_virtio_console *console = userdata;
	struct console_port *port;

	if (index == CONSOLE_CONTROL_RECEIVE)
		return console_control_receive(console, queue);
	if (index == CONSOLE_CONTROL_TRANSMIT)
		return console_control_transmit(console, queue);
	port = &console->ports[index < 2 ? 0 : index / 2 - 1];
	if (index & 1)
		return console_port_transmit(port, queue);
	return console_port_receive(port, queue);
}

static int op_activate(void *userdata)
{
	struct vmm_virtio_console *console = userdata;

	console->multiport = vmm_virtio_features(console->device) & CONSOLE_F_MULTIPORT;
	return 0;
}

static int op_reset(void *userdata)
{
	struct vmm_virtio_console *console = userdata;

	for (unsigned int i = 0; i < console->n_ports; i++) {
		struct console_port *port = &console->ports[i];
		bool was_open = port->guest_open;

		port->taken = 0;
		port->pending = 0;
		port->ready = false;
		port->guest_open = false;
		if (was_open && port->ops && port->ops->guest_opened)
			port->ops->guest_opened(port->userdata, port->index, false);
	}
	console->multiport = false;
	return 0;
}

static int op_queue_reset(void *userdata, unsigned int index)
{
	struct vmm_virtio_console *console = userdata;

	if ((index & 1) && index != CONSOLE_CONTROL_TRANSMIT)
		console->ports[index < 2 ? 0 : index / 2 - 1].taken = 0;
	return 0;
}

/* 5.3.4: a byte that is written here is put out even before there are queues. */
static void op_write_config(void *userdata, uint32_t offset, const void *data, size_t size)
{
	struct vmm_virtio_console *console = userdata;
	struct console_port *port = &console->ports[0];
	const uint8_t *byte = data;

	if (offset != offsetof(struct console_config_space, emergency_write) || size == 0)
		return;
	vmm_virtio_lock(console->device, 0);
	if (port->ops && port->ops->sink) {
		port->ops->sink(port->userdata, 0, byte, 1);
	} else {
		console_ring_put(port, byte, 1);
		if (port->ops && port->ops->output)
			port->ops->output(port->userdata, 0);
	}
	vmm_virtio_unlock(console->device, 0);
}

static const struct vmm_virtio_ops device_ops = {
	.process = op_process,
	.activate = op_activate,
	.reset = op_reset,
	.queue_reset = op_queue_reset,
	.write_config = op_write_config,
};

static int init_port(struct vmm_virtio_console *console, unsigned int index,
	const struct vmm_console_port_config *config)
{
	struct console_port *port = &console->ports[index];

	if (config->ring_bytes > VMM_CONSOLE_MAX_RING_BYTES ||
		(config->name && strlen(config->name) > VMM_CONSOLE_MAX_NAME))
		return -EINVAL;
	*port = (struct console_port){
		.console = console,
		.index = index,
		.is_console = config->is_console || index == 0,
		.ops = config->ops,
		.userdata = config->userdata,
		.ring_bytes = config->ring_bytes ? config->ring_bytes : DEFAULT_RING_BYTES,
		.connected = !config->disconnected,
	};
	if (config->name)
		strcpy(port->name, config->name);
	if (config->ops && config->ops->sink)
		port->ring_bytes = 1;
	port->ring = malloc(port->ring_bytes);
	return port->ring ? 0 : -ENOMEM;
}

static int new_device(struct vmm_virtio_console *console, struct vmm_mem *mem)
{
	uint16_t queue_sizes[2 * (VMM_CONSOLE_MAX_PORTS + 1)];
	struct vmm_virtio_device_config config = {
		.device_type = DEVICE_TYPE_CONSOLE,
		.pci_class_code = PCI_CLASS_OTHER_COMMUNICATION,
		.features = VMM_VIRTIO_RING_FEATURES | VMM_VIRTIO_F_RING_RESET |
			    VMM_VIRTIO_F_IN_ORDER | CONSOLE_F_SIZE | CONSOLE_F_MULTIPORT |
			    CONSOLE_F_EMERG_WRITE,
		.n_queues = (uint16_t)(2 * (console->n_ports + 1)),
		.queue_sizes = queue_sizes,
		.config_space = &console->space,
		.config_size_bytes = sizeof(console->space),
		.mem = mem,
		.ops = &device_ops,
		.userdata = console,
	};

	for (unsigned int i = 0; i < config.n_queues; i++)
		queue_sizes[i] = CONSOLE_QUEUE_SIZE;
	return vmm_virtio_device_new(&config, &console->device);
}

DEFINE_POINTER_CLEANUP(struct vmm_virtio_console, vmm_virtio_console_free);

int vmm_virtio_console_new(
	const struct vmm_virtio_console_config *config, struct vmm_virtio_console **ret_console)
{
	static const struct vmm_console_port_config default_port;
	CLEANUP(vmm_virtio_console_free_p) struct vmm_virtio_console *console = NULL;
	unsigned int n_ports = MAX(config->n_ports, 1u);
	int r;

	if (!config->mem || n_ports > VMM_CONSOLE_MAX_PORTS || (!config->ports && n_ports > 1))
		return -EINVAL;
	console = calloc(1, sizeof(*console) + n_ports * sizeof(console->ports[0]));
	if (!console)
		return -ENOMEM;
	console->n_ports = n_ports;
	console->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (console->timer_fd < 0)
		return -errno;
	for (unsigned int i = 0; i < n_ports; i++) {
		r = init_port(console, i, config->ports ? &config->ports[i] : &default_port);
		if (r < 0)
			return r;
	}
	console->ports[0].columns = config->columns;
	console->ports[0].rows = config->rows;
	console->space = (struct console_config_space){
		.columns = vmm_le16_make(config->columns),
		.rows = vmm_le16_make(config->rows),
		.max_n_ports = vmm_le32_make(n_ports),
	};
	r = vmm_ratelimit_init(&console->limiter, &config->limits, vmm_base_now_nsec());
	if (r < 0)
		return r;
	r = new_device(console, config->mem);
	if (r < 0)
		return r;
	*ret_console = TAKE_PTR(console);
	return 0;
}

struct vmm_virtio_console *vmm_virtio_console_free(struct vmm_virtio_console *console)
{
	if (!console)
		return NULL;
	vmm_virtio_device_free(console->device);
	for (unsigned int i = 0; i < console->n_ports; i++)
		free(console->ports[i].ring);
	vmm_base_close(console->timer_fd);
	free(console);
	return NULL;
}

struct vmm_virtio_device *vmm_virtio_console_device(struct vmm_virtio_console *console)
{
	return console->device;
}

void vmm_virtio_console_connect(
	struct vmm_virtio_console *console, unsigned int index, bool connected)
{
	struct console_port *port;

	assert(index < console->n_ports);
	port = &console->ports[index];
	vmm_virtio_lock(console->device, 0);
	if (port->connected != connected) {
		port->connected = connected;
		if (port->ready)
			port->pending |= CONSOLE_PENDING_OPEN;
		console_control_flush(console);
	}
	vmm_virtio_unlock(console->device, 0);
}

void vmm_virtio_console_resize(
	struct vmm_virtio_console *console, unsigned int index, uint16_t columns, uint16_t rows)
{
	struct console_port *port;
	bool changed;

	assert(index < console->n_ports);
	port = &console->ports[index];
	if (index == 0) {
		/* Control before data: the order of the locks. */
		vmm_virtio_config_begin(console->device);
		changed = vmm_le16_get(console->space.columns) != columns ||
			  vmm_le16_get(console->space.rows) != rows;
		console->space.columns = vmm_le16_make(columns);
		console->space.rows = vmm_le16_make(rows);
		vmm_virtio_config_end(console->device, changed);
	}
	vmm_virtio_lock(console->device, 0);
	if (port->columns != columns || port->rows != rows) {
		port->columns = columns;
		port->rows = rows;
		if (port->ready)
			port->pending |= CONSOLE_PENDING_RESIZE;
		console_control_flush(console);
	}
	vmm_virtio_unlock(console->device, 0);
}

int vmm_virtio_console_fd(const struct vmm_virtio_console *console)
{
	return console->timer_fd;
}

int vmm_virtio_console_process(struct vmm_virtio_console *console)
{
	int r = 0;

	vmm_base_eventfd_clear(console->timer_fd, NULL);
	vmm_virtio_lock(console->device, 0);
	console->limited_until_nsec = 0;
	vmm_virtio_unlock(console->device, 0);
	for (unsigned int i = 0; i < console->n_ports; i++) {
		int result = vmm_virtio_process(console->device, console_transmit_queue(i));

		if (result < 0 && r == 0)
			r = result;
	}
	return r;
}

int vmm_virtio_console_set_limits(
	struct vmm_virtio_console *console, const struct vmm_ratelimit_config *limits)
{
	uint64_t now_nsec = vmm_base_now_nsec();
	int r;

	vmm_virtio_lock(console->device, 0);
	r = vmm_ratelimit_update(&console->limiter, limits, now_nsec);
	/* The deadline that output waits for is void: ask again at once. */
	if (r >= 0)
		r = console_set_timer(console, now_nsec);
	vmm_virtio_unlock(console->device, 0);
	return r;
}

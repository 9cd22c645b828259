/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-console: control messages (VIRTIO 1.2, 5.3.6.2). What the guest has to be told is kept as
 * flags of the port, not as a list of messages, so a guest that asks often and never gives
 * buffers costs nothing.
 */
#include <string.h>

#include "virtio-console/console-internal.h"

#define BUDGET 64

enum event {
	EVENT_DEVICE_READY = 0,
	EVENT_DEVICE_ADD = 1,
	EVENT_DEVICE_REMOVE = 2,
	EVENT_PORT_READY = 3,
	EVENT_CONSOLE_PORT = 4,
	EVENT_RESIZE = 5,
	EVENT_PORT_OPEN = 6,
	EVENT_PORT_NAME = 7,
};

struct message {
	struct vmm_le32 id;
	struct vmm_le16 event;
	struct vmm_le16 value;
};
static_assert(sizeof(struct message) == 8, "virtio_console_control");

struct resize {
	struct vmm_le16 columns;
	struct vmm_le16 rows;
};

struct outgoing {
	struct message message;
	char more[VMM_CONSOLE_MAX_NAME + 1];
	size_t size;
};

/* The first thing that is pending for a port, as a message; its flag. */
static unsigned int make_message(const struct console_port *port, struct outgoing *ret)
{
	unsigned int flag = port->pending & -port->pending;
	struct resize resize = {
		.columns = vmm_le16_make(port->columns),
		.rows = vmm_le16_make(port->rows),
	};
	enum event event = EVENT_DEVICE_ADD;
	uint16_t value = 1;
	size_t more = 0;

	switch ((enum console_pending)flag) {
	case CONSOLE_PENDING_ADD:
		break;
	case CONSOLE_PENDING_CONSOLE:
		event = EVENT_CONSOLE_PORT;
		break;
	case CONSOLE_PENDING_NAME:
		event = EVENT_PORT_NAME;
		more = strlen(port->name);
		memcpy(ret->more, port->name, more);
		break;
	case CONSOLE_PENDING_RESIZE:
		event = EVENT_RESIZE;
		more = sizeof(resize);
		memcpy(ret->more, &resize, more);
		break;
	case CONSOLE_PENDING_OPEN:
		event = EVENT_PORT_OPEN;
		value = port->connected;
		break;
	}
	ret->message = (struct message){
		.id = vmm_le32_make(port->index),
		.event = vmm_le16_make((uint16_t)event),
		.value = vmm_le16_make(value),
	};
	ret->size = sizeof(ret->message) + more;
	return flag;
}

/* 1: sent; 0: no buffer; or as process(). A buffer that is too small gets what fits. */
static int send_message(struct vmm_virtio_console *console, struct vmm_virtqueue *queue,
	const struct outgoing *outgoing)
{
	struct vmm_virtqueue_chain chain;
	size_t n;
	int r;

	r = vmm_virtqueue_pop(queue, console->iov, CONSOLE_N_IOVECS, &chain);
	if (r == -ENOBUFS) {
		vmm_virtqueue_break(queue, "a console buffer lies in too many pieces");
		return -VMM_EGUEST;
	}
	if (r <= 0)
		return r;
	n = vmm_virtqueue_chain_write(&chain, 0, &outgoing->message, sizeof(outgoing->message));
	n += vmm_virtqueue_chain_write(&chain, sizeof(outgoing->message), outgoing->more,
		outgoing->size - sizeof(outgoing->message));
	if (n == 0) {
		vmm_virtqueue_break(queue, "a console buffer has no room for a byte");
		return -VMM_EGUEST;
	}
	vmm_virtqueue_push(queue, &chain, (uint32_t)n);
	return 1;
}

/* 0: all is sent or no buffer is left; or as process(). */
static int send_pending(struct vmm_virtio_console *console, struct vmm_virtqueue *queue)
{
	for (unsigned int i = 0; i < console->n_ports; i++) {
		struct console_port *port = &console->ports[i];

		while (port->pending) {
			struct outgoing outgoing;
			unsigned int flag = make_message(port, &outgoing);
			int r = send_message(console, queue, &outgoing);

			if (r <= 0)
				return r;
			port->pending &= ~flag;
		}
	}
	return 0;
}

static bool any_pending(const struct vmm_virtio_console *console)
{
	for (unsigned int i = 0; i < console->n_ports; i++)
		if (console->ports[i].pending)
			return true;
	return false;
}

int console_control_receive(struct vmm_virtio_console *console, struct vmm_virtqueue *queue)
{
	int r;

	vmm_virtqueue_disable_notifications(queue);
	do {
		r = send_pending(console, queue);
		if (r < 0)
			return r;
	} while (any_pending(console) && vmm_virtqueue_enable_notifications(queue));
	return 0;
}

void console_control_flush(struct vmm_virtio_console *console)
{
	struct vmm_virtqueue *queue = vmm_virtio_queue(console->device, CONSOLE_CONTROL_RECEIVE);

	if (!console->multiport || !queue)
		return;
	if (console_control_receive(console, queue) < 0)
		vmm_virtio_fail(console->device);
	vmm_virtio_notify(console->device, CONSOLE_CONTROL_RECEIVE);
}

static void set_guest_open(struct console_port *port, bool open)
{
	if (port->guest_open == open)
		return;
	port->guest_open = open;
	if (port->ops && port->ops->guest_opened)
		port->ops->guest_opened(port->userdata, port->index, open);
	if (open && port->wants_room) {
		port->wants_room = false;
		if (port->ops && port->ops->room)
			port->ops->room(port->userdata, port->index);
	}
}

static void port_ready(struct console_port *port, bool ready)
{
	port->ready = ready;
	if (!ready)
		return;
	if (port->is_console)
		port->pending |= CONSOLE_PENDING_CONSOLE;
	if (port->name[0])
		port->pending |= CONSOLE_PENDING_NAME;
	if (port->columns && port->rows)
		port->pending |= CONSOLE_PENDING_RESIZE;
	if (port->connected)
		port->pending |= CONSOLE_PENDING_OPEN;
}

static void handle(struct vmm_virtio_console *console, const struct message *message)
{
	uint32_t id = vmm_le32_get(message->id);
	bool value = vmm_le16_get(message->value) != 0;

	if (vmm_le16_get(message->event) == EVENT_DEVICE_READY) {
		for (unsigned int i = 0; value && i < console->n_ports; i++)
			console->ports[i].pending |= CONSOLE_PENDING_ADD;
		return;
	}
	if (id >= console->n_ports)
		return;
	switch (vmm_le16_get(message->event)) {
	case EVENT_PORT_READY:
		port_ready(&console->ports[id], value);
		break;
	case EVENT_PORT_OPEN:
		set_guest_open(&console->ports[id], value);
		break;
	}
}

int console_control_transmit(struct vmm_virtio_console *console, struct vmm_virtqueue *queue)
{
	struct vmm_virtqueue_chain chain;
	struct message message;
	unsigned int n = 0;
	int r;

	do {
		vmm_virtqueue_disable_notifications(queue);
		while ((r = vmm_virtqueue_pop(queue, console->iov, CONSOLE_N_IOVECS, &chain)) > 0) {
			if (vmm_virtqueue_chain_read(&chain, 0, &message, sizeof(message)) ==
				sizeof(message))
				handle(console, &message);
			vmm_virtqueue_push(queue, &chain, 0);
			if (++n == BUDGET)
				break;
		}
		if (r == -ENOBUFS) {
			vmm_virtqueue_break(queue, "a console message lies in too many pieces");
			r = -VMM_EGUEST;
		}
	} while (r == 0 && n < BUDGET && vmm_virtqueue_enable_notifications(queue));
	console_control_flush(console);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-console: the bytes of a port: output to its sink or ring, input into guest buffers. */
#include <string.h>

#include "virtio-console/console-internal.h"

/* Of one call: then the others have their turn. */
#define BUDGET_BYTES 65536
#define BUDGET_CHAINS 64

void console_ring_put(struct console_port *port, const uint8_t *data, size_t size)
{
	/* Only the end of it can stay. */
	if (size > port->ring_bytes) {
		port->n_output += size - port->ring_bytes;
		data += size - port->ring_bytes;
		size = port->ring_bytes;
	}
	while (size > 0) {
		size_t at = (size_t)(port->n_output % port->ring_bytes);
		size_t n = MIN(size, port->ring_bytes - at);

		memcpy(port->ring + at, data, n);
		port->n_output += n;
		data += n;
		size -= n;
	}
}

size_t vmm_virtio_console_read(struct vmm_virtio_console *console, unsigned int index,
	uint64_t *cursor, void *data, size_t size, uint64_t *ret_n_lost)
{
	struct console_port *port;
	uint8_t *to = data;
	uint64_t oldest, lost = 0;
	size_t done = 0;

	assert(index < console->n_ports);
	port = &console->ports[index];
	vmm_virtio_lock(console->device, 0);
	oldest = port->n_output - MIN(port->n_output, (uint64_t)port->ring_bytes);
	if (*cursor < oldest) {
		lost = oldest - *cursor;
		*cursor = oldest;
	}
	while (done < size && *cursor < port->n_output) {
		size_t at = (size_t)(*cursor % port->ring_bytes);
		size_t n = MIN(size - done, port->ring_bytes - at);

		n = MIN(n, (size_t)(port->n_output - *cursor));
		memcpy(to + done, port->ring + at, n);
		done += n;
		*cursor += n;
	}
	vmm_virtio_unlock(console->device, 0);
	if (ret_n_lost)
		*ret_n_lost = lost;
	return done;
}

/* Returns how much of the piece was put out. */
static size_t put_out(struct console_port *port, const uint8_t *data, size_t size)
{
	if (port->ops && port->ops->sink) {
		size_t n = port->ops->sink(port->userdata, port->index, data, size);

		return MIN(n, size);
	}
	console_ring_put(port, data, size);
	if (port->ops && port->ops->output)
		port->ops->output(port->userdata, port->index);
	return size;
}

static bool admit(struct vmm_virtio_console *console, size_t size)
{
	if (!vmm_ratelimit_active(&console->limiter))
		return true;
	console->limited_until_nsec =
		vmm_ratelimit_take(&console->limiter, 1, size, vmm_base_now_nsec());
	return console->limited_until_nsec == 0;
}

enum progress {
	WHOLE,   /* the chain is done */
	STOPPED, /* the sink or the limits take no more for now */
	BUDGET,  /* there is more, and it is the others' turn */
};

/* Puts out a chain from where it stopped the last time. */
static enum progress put_out_chain(
	struct console_port *port, const struct vmm_virtqueue_chain *chain, size_t *budget)
{
	struct vmm_virtio_console *console = port->console;

	while (port->taken < chain->readable_bytes) {
		size_t n, done;

		if (*budget == 0)
			return BUDGET;
		n = vmm_virtqueue_chain_read(
			chain, port->taken, console->piece, MIN(sizeof(console->piece), *budget));
		if (!admit(console, n))
			return STOPPED;
		done = put_out(port, console->piece, n);
		port->taken += done;
		*budget -= done;
		if (done < n) {
			vmm_ratelimit_give_back(&console->limiter, done ? 0 : 1, n - done);
			return STOPPED;
		}
	}
	port->taken = 0;
	return WHOLE;
}

/* Returns 0: nothing more; 1: again; 2: wait for the sink or the limits; or as process(). */
static int transmit_chains(struct console_port *port, struct vmm_virtqueue *queue)
{
	struct vmm_virtio_console *console = port->console;
	struct vmm_virtqueue_chain chain;
	size_t budget = BUDGET_BYTES;
	enum progress progress;
	int r;

	for (unsigned int i = 0; i < BUDGET_CHAINS; i++) {
		r = vmm_virtqueue_pop(queue, console->iov, CONSOLE_N_IOVECS, &chain);
		if (r == -ENOBUFS) {
			vmm_virtqueue_break(queue, "console output lies in too many pieces");
			return -VMM_EGUEST;
		}
		if (r <= 0)
			return r;
		progress = put_out_chain(port, &chain, &budget);
		if (progress == WHOLE) {
			vmm_virtqueue_push(queue, &chain, 0);
			continue;
		}
		/* It is offered again, and goes on behind what was taken. */
		vmm_virtqueue_undo_pop(queue, &chain);
		return progress == BUDGET ? 1 : 2;
	}
	return 1;
}

int console_port_transmit(struct console_port *port, struct vmm_virtqueue *queue)
{
	struct vmm_virtio_console *console = port->console;
	int r;

	do {
		vmm_virtqueue_disable_notifications(queue);
		if (console->limited_until_nsec)
			return 0;
		r = transmit_chains(port, queue);
		if (r == 2)
			return console->limited_until_nsec
				       ? console_set_timer(console, console->limited_until_nsec)
				       : 0;
		if (r != 0)
			return r;
	} while (vmm_virtqueue_enable_notifications(queue));
	return 0;
}

int console_port_receive(struct console_port *port, struct vmm_virtqueue *queue)
{
	/* Buffers that nobody waits for are no news. */
	vmm_virtqueue_disable_notifications(queue);
	if (!port->wants_room)
		return 0;
	if (vmm_virtqueue_is_empty(queue) && !vmm_virtqueue_enable_notifications(queue))
		return 0;
	port->wants_room = false;
	if (port->ops && port->ops->room)
		port->ops->room(port->userdata, port->index);
	return 0;
}

/* Under the data lock. Returns how many bytes went into guest buffers. */
static size_t fill_buffers(
	struct console_port *port, struct vmm_virtqueue *queue, const uint8_t *data, size_t size)
{
	struct vmm_virtio_console *console = port->console;
	struct vmm_virtqueue_chain chain;
	size_t done = 0;
	int r = 0;

	while (done < size) {
		size_t n;

		r = vmm_virtqueue_pop(queue, console->iov, CONSOLE_N_IOVECS, &chain);
		if (r <= 0)
			break;
		n = vmm_virtqueue_chain_write(&chain, 0, data + done, size - done);
		if (n == 0) {
			vmm_virtqueue_break(queue, "a console buffer has no room for a byte");
			r = -VMM_EGUEST;
			break;
		}
		vmm_virtqueue_push(queue, &chain, (uint32_t)n);
		done += n;
	}
	if (r == -ENOBUFS)
		vmm_virtqueue_break(queue, "a console buffer lies in too many pieces");
	if (r < 0)
		vmm_virtio_fail(console->device);
	return done;
}

size_t vmm_virtio_console_send(
	struct vmm_virtio_console *console, unsigned int index, const void *data, size_t size)
{
	const uint8_t *bytes = data;
	struct console_port *port;
	struct vmm_virtqueue *queue;
	size_t done = 0;

	assert(index < console->n_ports);
	port = &console->ports[index];
	vmm_virtio_lock(console->device, 0);
	queue = vmm_virtio_queue(console->device, console_receive_queue(index));
	/* With several ports one that is no terminal takes input while a program has it open. */
	if (queue && (!console->multiport || port->guest_open || port->is_console)) {
		do {
			done += fill_buffers(port, queue, bytes + done, size - done);
		} while (done < size && !vmm_virtqueue_fault(queue) &&
			 vmm_virtqueue_enable_notifications(queue));
		vmm_virtio_notify(console->device, console_receive_queue(index));
	}
	port->wants_room = done < size;
	vmm_virtio_unlock(console->device, 0);
	return done;
}

int vmm_virtio_console_writable(struct vmm_virtio_console *console, unsigned int index)
{
	assert(index < console->n_ports);
	return vmm_virtio_process(console->device, console_transmit_queue(index));
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-console: the console device of VIRTIO 1.2, 5.3: one console or several ports, each a
 * stream of bytes both ways.
 *
 * What the guest writes goes to the port's sink, a function that may take less than it is given,
 * and then the guest waits; or, without one, into the port's ring: the last ring_bytes of output,
 * which any number of readers read at their own pace, each with a cursor that starts at 0. So one
 * who comes late is shown what was there before. A reader that falls behind by more than the
 * ring misses what was overwritten, and its cursor says how much.
 *
 * What goes to the guest is given to vmm_virtio_console_send(), by one writer at a time, which
 * takes as much as the guest has room for.
 *
 * The caller serves the queues as of any device (vmm_virtio_kick_fd(), vmm_virtio_process()), and
 * waits for vmm_virtio_console_fd() where it sets limits.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                       | result                                    |
 *   |---------------------------------------------|-------------------------------------------|
 *   | output without end                          | served in pieces and turns; limits hold   |
 *   | a chain of gigabytes                        | the same: it is taken a piece at a time   |
 *   | output while nobody reads                   | the ring keeps its size                   |
 *   | transmit with writable, receive with        | the other part is not used                |
 *   |   readable descriptors                      |                                           |
 *   | receive buffer without a writable byte      | the queue breaks, NEEDS_RESET             |
 *   | control message that is short, of an unknown| ignored                                   |
 *   |   kind, or about a port that there is not   |                                           |
 *   | DEVICE_READY or PORT_READY again and again  | the answers are one set of flags a port   |
 *   | no control buffers                          | the flags wait                            |
 *
 * Threads: any. Callbacks are called with the data lock held, so they call nothing of this block
 * and take no lock under which something of this block is called; they signal an event.
 */
#ifndef VMMCORE_VIRTIO_CONSOLE_H
#define VMMCORE_VIRTIO_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/mem.h>
#include <vmmcore/ratelimit.h>
#include <vmmcore/virtio.h>

VMM_BEGIN_DECLS

#define VMM_CONSOLE_MAX_PORTS 31
#define VMM_CONSOLE_MAX_NAME 63
#define VMM_CONSOLE_MAX_RING_BYTES (16u << 20)

/* Each may be NULL. */
struct vmm_console_ops {
	/*
	 * Takes output of the guest. Returns how many bytes it took, 0 to size; where it is less,
	 * the guest waits for vmm_virtio_console_writable(). NULL: the ring takes it.
	 */
	size_t (*sink)(void *userdata, unsigned int port, const void *data, size_t size);

	/* There is new output in the ring. */
	void (*output)(void *userdata, unsigned int port);

	/* The guest has room again, after a send that was not taken whole. */
	void (*room)(void *userdata, unsigned int port);

	/* A program in the guest opened or closed the port. */
	void (*guest_opened)(void *userdata, unsigned int port, bool open);
};

struct vmm_console_port_config {
	const char *name;                  /* copied; the guest's name for it; NULL: none */
	bool is_console;                   /* a terminal (hvc) in the guest; port 0 always is */
	bool disconnected;                 /* at first; see vmm_virtio_console_connect() */
	uint32_t ring_bytes;               /* 0: 64 KiB */
	const struct vmm_console_ops *ops; /* borrowed, may be NULL */
	void *userdata;                    /* borrowed */
};

struct vmm_virtio_console_config {
	struct vmm_mem *mem;                         /* borrowed, outlives the device */
	unsigned int n_ports;                        /* 0: 1 */
	const struct vmm_console_port_config *ports; /* n_ports; NULL: one with defaults */
	uint16_t columns, rows;                      /* of port 0; 0: unknown */
	struct vmm_ratelimit_config limits; /* of all output: an operation is at most 4 KiB */
};

struct vmm_virtio_console;

/* -EINVAL, -ENOMEM, errno of eventfd and timerfd_create. */
VMM_PUBLIC int vmm_virtio_console_new(
	const struct vmm_virtio_console_config *config, struct vmm_virtio_console **ret_console);

/* The transport is gone. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_virtio_console *vmm_virtio_console_free(struct vmm_virtio_console *console);

/* For a transport, process, pause and resume. Borrowed. */
VMM_PUBLIC struct vmm_virtio_device *vmm_virtio_console_device(struct vmm_virtio_console *console);

/*
 * Copies output from *cursor on, which is a count of all bytes that the port ever put out. Returns
 * how many bytes were copied; *ret_n_lost (may be NULL): how many the ring no longer had. *cursor
 * then stands behind both. 0: there is no more for now.
 */
VMM_PUBLIC size_t vmm_virtio_console_read(struct vmm_virtio_console *console, unsigned int port,
	uint64_t *cursor, void *data, size_t size, uint64_t *ret_n_lost);

/*
 * Gives the guest input. Returns how many bytes it took: less than size where it has no room, is
 * not running, or has not opened the port; room() says when to try again.
 */
VMM_PUBLIC size_t vmm_virtio_console_send(
	struct vmm_virtio_console *console, unsigned int port, const void *data, size_t size);

/* The sink of the port takes output again. 0, or what vmm_virtio_process() gives. */
VMM_PUBLIC int vmm_virtio_console_writable(struct vmm_virtio_console *console, unsigned int port);

/* Tells the guest whether there is somebody at the other end. */
VMM_PUBLIC void vmm_virtio_console_connect(
	struct vmm_virtio_console *console, unsigned int port, bool connected);

/* The size of the terminal. */
VMM_PUBLIC void vmm_virtio_console_resize(
	struct vmm_virtio_console *console, unsigned int port, uint16_t columns, uint16_t rows);

/* Readable when output that the limits held back is due: then call process. Borrowed. */
VMM_PUBLIC int vmm_virtio_console_fd(const struct vmm_virtio_console *console);
VMM_PUBLIC int vmm_virtio_console_process(struct vmm_virtio_console *console);

/* NULL: no limits. -EINVAL changes nothing. In effect at once. */
VMM_PUBLIC int vmm_virtio_console_set_limits(
	struct vmm_virtio_console *console, const struct vmm_ratelimit_config *limits);

VMM_END_DECLS

#endif

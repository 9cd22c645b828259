/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-console: what its files share. console.c: the device; port.c: the bytes of the ports;
 * control.c: the messages about them. All members are under the one data lock of the device,
 * except those of the configuration space, which are under the control lock.
 */
#ifndef VMM_CONSOLE_INTERNAL_H
#define VMM_CONSOLE_INTERNAL_H

#include <vmmcore/virtio-console.h>

#include "base/util.h"

/* VIRTIO 1.2, 5.3.3 */
#define CONSOLE_F_SIZE (UINT64_C(1) << 0)
#define CONSOLE_F_MULTIPORT (UINT64_C(1) << 1)
#define CONSOLE_F_EMERG_WRITE (UINT64_C(1) << 2)

#define CONSOLE_QUEUE_SIZE 64
#define CONSOLE_N_IOVECS (CONSOLE_QUEUE_SIZE + 16)
#define CONSOLE_PIECE_BYTES 4096

/* 5.3.2: the queues of port 0, of control, and of the other ports. */
#define CONSOLE_CONTROL_RECEIVE 2
#define CONSOLE_CONTROL_TRANSMIT 3

struct console_config_space {
	struct vmm_le16 columns;
	struct vmm_le16 rows;
	struct vmm_le32 max_n_ports;
	struct vmm_le32 emergency_write;
};
static_assert(sizeof(struct console_config_space) == 12, "virtio_console_config");

/* What the guest has still to be told about a port, in this order. */
enum console_pending {
	CONSOLE_PENDING_ADD = 1 << 0,
	CONSOLE_PENDING_CONSOLE = 1 << 1,
	CONSOLE_PENDING_NAME = 1 << 2,
	CONSOLE_PENDING_RESIZE = 1 << 3,
	CONSOLE_PENDING_OPEN = 1 << 4,
};

struct console_port {
	struct vmm_virtio_console *console;
	unsigned int index;
	char name[VMM_CONSOLE_MAX_NAME + 1];
	bool is_console;
	const struct vmm_console_ops *ops; /* borrowed, may be NULL */
	void *userdata;                    /* borrowed */

	/* output: the ring holds the last bytes up to n_output */
	uint8_t *ring; /* owned */
	size_t ring_bytes;
	uint64_t n_output;
	uint64_t taken; /* bytes of the chain that comes next that were put out already */

	bool connected;
	uint16_t columns, rows;
	bool wants_room; /* a send was not taken whole */
	bool ready;      /* the driver said so */
	bool guest_open;
	unsigned int pending; /* enum console_pending */
};

struct vmm_virtio_console {
	struct vmm_virtio_device *device; /* owned */
	struct console_config_space space;
	int timer_fd; /* owned */
	struct vmm_ratelimit limiter;
	uint64_t limited_until_nsec; /* 0: not limited */
	bool multiport;              /* negotiated */
	struct iovec iov[CONSOLE_N_IOVECS];
	uint8_t piece[CONSOLE_PIECE_BYTES];
	unsigned int n_ports;
	struct console_port ports[]; /* n_ports */
};

static inline unsigned int console_receive_queue(unsigned int port)
{
	return port == 0 ? 0 : 2 + 2 * port;
}

static inline unsigned int console_transmit_queue(unsigned int port)
{
	return console_receive_queue(port) + 1;
}

/* Puts bytes into the ring. */
void console_ring_put(struct console_port *port, const uint8_t *data, size_t size);

/* As vmm_virtio_ops.process, of a port's transmit queue and of its receive queue. */
int console_port_transmit(struct console_port *port, struct vmm_virtqueue *queue);
int console_port_receive(struct console_port *port, struct vmm_virtqueue *queue);

/* As vmm_virtio_ops.process, of the two control queues. */
int console_control_transmit(struct vmm_virtio_console *console, struct vmm_virtqueue *queue);
int console_control_receive(struct vmm_virtio_console *console, struct vmm_virtqueue *queue);

/* Tells the guest what is pending, as far as it gave buffers for that. */
void console_control_flush(struct vmm_virtio_console *console);

int console_set_timer(struct vmm_virtio_console *console, uint64_t deadline_nsec);

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * serial: a 16550A UART (National PC16550D), as COM1 of a PC or as eight registers in MMIO.
 *
 * Transmitter: empty at all times. A byte that the guest writes is handed to ops->write in the
 * thread that wrote it, and nothing of it stays here, so output without end takes no memory.
 *
 * Receiver: a FIFO of 16 bytes as the guest sees it, behind it a queue of
 * VMM_SERIAL_QUEUE_BYTES. vmm_serial_receive() takes what fits and says how much that was;
 * once the guest has made room, ops->receive_ready says so. So pasted input is not lost.
 *
 * The baud rate, parity and stop bits are registers that hold what was written and do nothing
 * else. CTS, DSR and DCD are set, RI is not. The interrupt is not gated by OUT2. Input is held back
 * while the guest does not listen: MCR written without RTS, receive interrupt off.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                        | result                                  |
 *   |----------------------------------------------|-----------------------------------------|
 *   | output as fast as the guest can              | one ops->write a byte, no memory        |
 *   | guest that never reads                       | the queue fills, the host keeps the rest|
 *   | more than 16 bytes written in loopback       | overrun error in LSR, the byte is lost  |
 *   | access wider than a register                 | low byte of a write; reads give the     |
 *   |                                              | register and all ones above it          |
 *   | offset between registers (shift > 0)         | reads all ones, writes vanish           |
 *   | several vCPUs at once                        | serialized                              |
 *
 * Threads: vmm_serial_receive(), vmm_serial_receive_room() and vmm_serial_receive_break() may be
 * called from any thread. To free, see bus.h about threads that are still in the device.
 */
#ifndef VMMCORE_SERIAL_H
#define VMMCORE_SERIAL_H

#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/bus.h>

VMM_BEGIN_DECLS

#define VMM_SERIAL_QUEUE_BYTES 4096
#define VMM_SERIAL_COM1_PORT 0x3f8
#define VMM_SERIAL_COM1_GSI 4

struct vmm_serial;

/* No lock is held during a callback. None may free the object. */
struct vmm_serial_ops {
	/*
	 * The guest wrote these bytes (one a call in most cases). In the vCPU's thread, so it
	 * must not block: what it cannot pass on it queues within bounds, or drops. May be
	 * NULL: output vanishes.
	 */
	void (*write)(void *userdata, const uint8_t *data, size_t n_bytes);

	/*
	 * There is room again after vmm_serial_receive() took less than it was offered, or
	 * vmm_serial_receive_room() was 0. In the vCPU's thread. May be NULL. It may call
	 * vmm_serial_receive().
	 */
	void (*receive_ready)(void *userdata);
};

struct vmm_serial_config {
	struct vmm_bus *bus; /* borrowed, outlives the device */
	uint64_t base;
	unsigned int register_shift;      /* registers are 1 << register_shift apart; at most 3 */
	struct vmm_irq irq;               /* set_level is called with the device's lock held */
	const struct vmm_serial_ops *ops; /* borrowed, outlives the device */
	void *userdata;                   /* borrowed */
};

/* Makes a UART and adds it to the bus. -EINVAL, -ENOMEM, and what vmm_bus_add() gives. */
VMM_PUBLIC int vmm_serial_new(
	const struct vmm_serial_config *config, struct vmm_serial **ret_serial);

/* Takes it off the bus and frees it. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_serial *vmm_serial_free(struct vmm_serial *serial);

/*
 * Input for the guest. Returns how many of the n_bytes were taken, 0 to n_bytes; where it is
 * fewer, ops->receive_ready will be called once half the queue is free.
 */
VMM_PUBLIC size_t vmm_serial_receive(
	struct vmm_serial *serial, const uint8_t *data, size_t n_bytes);

/*
 * How many bytes vmm_serial_receive() would take now. Where that is 0, ops->receive_ready will be
 * called as well: so one can read from a source what there is room for, and wait when there is
 * none.
 */
VMM_PUBLIC size_t vmm_serial_receive_room(struct vmm_serial *serial);

/* A break condition on the line, behind the input so far. 0, or -EAGAIN while the queue is full. */
VMM_PUBLIC int vmm_serial_receive_break(struct vmm_serial *serial);

VMM_END_DECLS

#endif

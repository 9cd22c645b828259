/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * bus: how accesses reach devices and how devices reach the interrupt controller. Neither side
 * knows KVM: a monitor, a simulator or a test stands between.
 *
 * An address space (one for port I/O, one for MMIO) is a vmm_bus: a table of ranges, each with
 * its read and write functions. What nobody claims reads as all ones and swallows writes, as on
 * a PC.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                   | result                                      |
 *   |-----------------------------------------|---------------------------------------------|
 *   | access to an address nobody claims      | reads all ones, writes vanish               |
 *   | access that crosses the end of a range  | the same: no device sees a part             |
 *   | access that wraps around 2^64           | the same                                    |
 *   | length other than 1 to 8                | the same (up to VMM_BUS_MAX_ACCESS_BYTES)   |
 *   | misaligned access                       | passed on: the device decides               |
 *
 * Threads: any thread may access a bus while another adds or removes ranges. An access that
 * began before vmm_bus_remove() returned may still be running in the device afterwards: before
 * the device is freed, whoever frees it makes sure that each accessing thread has left the bus
 * since (for vCPU threads: kick each one and wait for its answer).
 */
#ifndef VMMCORE_BUS_H
#define VMMCORE_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>

VMM_BEGIN_DECLS

#define VMM_BUS_MAX_RANGES 512
#define VMM_BUS_MAX_ACCESS_BYTES 8

struct vmm_bus;

/*
 * Called in the accessing thread (a vCPU's, as a rule), for several vCPUs at once. offset is
 * from the start of the range; offset + length lies inside it. length is 1 to
 * VMM_BUS_MAX_ACCESS_BYTES. data of a read arrives filled with 0xff; both may be NULL (then
 * reads give all ones and writes vanish).
 */
struct vmm_bus_ops {
	void (*read)(void *userdata, uint64_t offset, void *data, size_t length);
	void (*write)(void *userdata, uint64_t offset, const void *data, size_t length);
};

struct vmm_bus_range {
	uint64_t base;
	uint64_t size;                 /* base + size does not exceed 2^64 - 1 */
	const struct vmm_bus_ops *ops; /* borrowed, outlives the range */
	void *userdata;                /* borrowed, outlives the range */
};

/* An address space in which nothing is claimed. -ENOMEM. */
VMM_PUBLIC int vmm_bus_new(struct vmm_bus **ret_bus);

/* Its ranges go with it, what they lead to does not. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_bus *vmm_bus_free(struct vmm_bus *bus);

/* Copies *range. -EINVAL for size 0 or a wrap, -EEXIST where it overlaps, -ENOSPC. */
VMM_PUBLIC int vmm_bus_add(struct vmm_bus *bus, const struct vmm_bus_range *range);

/* Removes the range that starts at base. -ENOENT. */
VMM_PUBLIC int vmm_bus_remove(struct vmm_bus *bus, uint64_t base);

/* Returns true where a device was reached. A read fills data in either case. */
VMM_PUBLIC bool vmm_bus_read(struct vmm_bus *bus, uint64_t address, void *data, size_t length);
VMM_PUBLIC bool vmm_bus_write(
	struct vmm_bus *bus, uint64_t address, const void *data, size_t length);

/*
 * An interrupt line as a device sees it. set_level may be called from any thread, and again
 * with the same level. Returns 0 or a negative errno of the host, which devices pass on.
 */
struct vmm_irq_ops {
	int (*set_level)(void *userdata, bool level);
};

struct vmm_irq {
	const struct vmm_irq_ops *ops; /* borrowed; NULL: a line that leads nowhere */
	void *userdata;                /* borrowed */
};

/* Does nothing where irq->ops is NULL. */
VMM_PUBLIC int vmm_irq_set_level(const struct vmm_irq *irq, bool level);

/*
 * A line that leads to an eventfd, for edge-triggered inputs: a change from low to high adds
 * one to it. To be given to KVM as an irqfd. Embedded in its owner, which outlives the line.
 */
struct vmm_irq_eventfd {
	int fd;        /* borrowed */
	uint8_t level; /* private, atomic */
};

VMM_PUBLIC void vmm_irq_eventfd_init(struct vmm_irq_eventfd *irq, int fd);
VMM_PUBLIC struct vmm_irq vmm_irq_eventfd_line(struct vmm_irq_eventfd *irq);

/*
 * Message-signalled interrupts as a function of a device sees them: it owns one eventfd a
 * vector, and says to what message a signal on it leads. The monitor binds the two (KVM: an
 * irqfd on a GSI with an MSI route), so that a signal costs one write and no lock.
 */
struct vmm_msi_message {
	uint64_t address;
	uint32_t data;
};

struct vmm_msi_ops {
	/*
	 * From now on a signal on fd is delivered as *message; NULL: no delivery (masked or
	 * disabled), fd then keeps what is signalled and the device looks after pending bits.
	 * Called in the thread that wrote the register, never twice at once for one vector.
	 * Returns 0 or a negative errno of the host.
	 */
	int (*set_route)(
		void *userdata, unsigned int vector, int fd, const struct vmm_msi_message *message);

	/* fd is closed after this: forget it. Its last route was NULL. May be NULL. */
	void (*release)(void *userdata, unsigned int vector, int fd);
};

struct vmm_msi {
	const struct vmm_msi_ops *ops; /* borrowed */
	void *userdata;                /* borrowed */
};

VMM_END_DECLS

#endif

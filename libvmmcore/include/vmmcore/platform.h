/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * platform: the small devices of a PC that a guest expects or that tell about it: pvpanic, the
 * CMOS clock, the keyboard controller (reset, ctrl-alt-del), a debug port, the VM generation ID
 * and vmclock.
 *
 * Each is made by vmm_NAME_new(), which adds it to a bus, and ended by vmm_NAME_free(), which
 * takes it off. None needs another. The power button, sleep and reset registers are in acpi.h.
 *
 * Hostile inputs and what happens, for all of them:
 *
 *   | input                                     | result                                     |
 *   |-------------------------------------------|--------------------------------------------|
 *   | access wider than a register              | low byte of a write; reads give the        |
 *   |                                           | register and all ones above it             |
 *   | register or command that does not exist   | reads 0 or all ones, writes vanish         |
 *   | dates that do not exist in the clock      | kept as written, normalised by calendar    |
 *   |                                           | arithmetic; the host's clock is not touched|
 *   | events, resets, debug bytes without end   | one callback each, nothing is stored       |
 *   | several vCPUs at once                     | serialized                                 |
 *
 * Callbacks are called in the vCPU's thread, with no lock held. They must not block and must not
 * free the object; the vCPU goes on when one returns, and who wants it stopped sees to that.
 *
 * Threads: new and free in the thread that owns the bus (see bus.h about freeing); functions that
 * act on a device from any thread.
 */
#ifndef VMMCORE_PLATFORM_H
#define VMMCORE_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/bus.h>
#include <vmmcore/mem.h>

VMM_BEGIN_DECLS

/*
 * pvpanic: one port by which the guest says that it panicked (event) or that a crash kernel has
 * taken over (crash loaded).
 */
#define VMM_PVPANIC_PORT 0x505

enum vmm_pvpanic_event {
	VMM_PVPANIC_PANICKED = 1 << 0,
	VMM_PVPANIC_CRASH_LOADED = 1 << 1,
};

struct vmm_pvpanic;

struct vmm_pvpanic_ops {
	/* events: bits of enum vmm_pvpanic_event, at least one. */
	void (*event)(void *userdata, unsigned int events);
};

struct vmm_pvpanic_config {
	struct vmm_bus *bus;               /* port I/O; borrowed, outlives the device */
	uint16_t port;                     /* 0: VMM_PVPANIC_PORT */
	const struct vmm_pvpanic_ops *ops; /* borrowed, outlives the device */
	void *userdata;                    /* borrowed */
};

/* Makes one and adds it to the bus. -EINVAL, -ENOMEM, and what vmm_bus_add() gives. */
VMM_PUBLIC int vmm_pvpanic_new(
	const struct vmm_pvpanic_config *config, struct vmm_pvpanic **ret_pvpanic);
/* Takes it off the bus and frees it. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_pvpanic *vmm_pvpanic_free(struct vmm_pvpanic *pvpanic);

/*
 * The clock of a PC (MC146818A with century, registers 0x00 to 0x7f) at ports 0x70 and 0x71. It
 * follows the host's clock in UTC; a guest that sets it sets its own offset. No interrupts.
 */
#define VMM_RTC_PORT 0x70
#define VMM_RTC_CENTURY_REGISTER 0x32

struct vmm_rtc;

struct vmm_rtc_ops {
	/* The time, in nanoseconds since 1970 in UTC. */
	int64_t (*now_nsec)(void *userdata);
};

struct vmm_rtc_config {
	struct vmm_bus *bus;           /* port I/O; borrowed, outlives the device */
	const struct vmm_rtc_ops *ops; /* borrowed, outlives the device; NULL: CLOCK_REALTIME */
	void *userdata;                /* borrowed */
};

/* Makes one and adds it to the bus. -EINVAL, -ENOMEM, and what vmm_bus_add() gives. */
VMM_PUBLIC int vmm_rtc_new(const struct vmm_rtc_config *config, struct vmm_rtc **ret_rtc);
/* Takes it off the bus and frees it. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_rtc *vmm_rtc_free(struct vmm_rtc *rtc);

/*
 * The keyboard controller at ports 0x60 and 0x64: reset of the machine by command 0xfe, and a
 * keyboard that answers its driver and can press ctrl-alt-del. There is no mouse.
 */
#define VMM_I8042_DATA_PORT 0x60
#define VMM_I8042_COMMAND_PORT 0x64
#define VMM_I8042_GSI 1

struct vmm_i8042;

struct vmm_i8042_ops {
	/* The guest pulsed the reset line. */
	void (*reset)(void *userdata);
};

struct vmm_i8042_config {
	struct vmm_bus *bus;             /* port I/O; borrowed, outlives the device */
	struct vmm_irq irq;              /* set_level is called with the device's lock held */
	const struct vmm_i8042_ops *ops; /* borrowed, outlives the device */
	void *userdata;                  /* borrowed */
};

/* Makes one and adds it to the bus. -EINVAL, -ENOMEM, and what vmm_bus_add() gives. */
VMM_PUBLIC int vmm_i8042_new(const struct vmm_i8042_config *config, struct vmm_i8042 **ret_i8042);
/* Takes it off the bus and frees it. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_i8042 *vmm_i8042_free(struct vmm_i8042 *i8042);

/*
 * Presses and releases ctrl-alt-del. 0, -ENOTCONN where the guest has not enabled its keyboard,
 * -EAGAIN while it has not read what was pressed before, or a negative errno of the line.
 */
VMM_PUBLIC int vmm_i8042_ctrl_alt_del(struct vmm_i8042 *i8042);

/*
 * A debug port of one byte (0x80: POST codes): hands each byte to the callback, reads as what
 * was written last.
 */
#define VMM_DEBUG_PORT 0x80

struct vmm_debug_port;

struct vmm_debug_port_ops {
	/* May be NULL. */
	void (*write)(void *userdata, uint8_t byte);
};

struct vmm_debug_port_config {
	struct vmm_bus *bus;                  /* port I/O; borrowed, outlives the device */
	uint16_t port;                        /* 0: VMM_DEBUG_PORT */
	const struct vmm_debug_port_ops *ops; /* borrowed, outlives the device; NULL: a sink */
	void *userdata;                       /* borrowed */
};

/* Makes one and adds it to the bus. -EINVAL, -ENOMEM, and what vmm_bus_add() gives. */
VMM_PUBLIC int vmm_debug_port_new(
	const struct vmm_debug_port_config *config, struct vmm_debug_port **ret_port);
/* Takes it off the bus and frees it. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_debug_port *vmm_debug_port_free(struct vmm_debug_port *port);

/*
 * The VM generation ID (Microsoft, "Virtual Machine Generation ID", 2012): 16 bytes in memory that
 * change when the machine goes on from an earlier state, so that guests seed their randomness
 * anew. Where they lie is said in vmm_acpi_config; the guest does not use that memory otherwise.
 *
 * Writes it. gpa is aligned to 8 and the ID does not cross the end of a page. id NULL: a random
 * one. Afterwards VMM_GED_VMGENID is raised, unless the guest has not run yet. 0, -EINVAL,
 * -VMM_EGUEST, or the errno of getrandom().
 */
#define VMM_VMGENID_BYTES 16

VMM_PUBLIC int vmm_vmgenid_write(
	struct vmm_mem *mem, uint64_t gpa, const uint8_t id[VMM_VMGENID_BYTES]);

/*
 * vmclock (linux/vmclock-abi.h, version 1): a page in memory that tells when the guest's time or
 * its whole state was disrupted, and, where the monitor knows, the exact time that belongs to a
 * value of the guest's TSC. The guest reads it under a sequence count.
 */
#define VMM_VMCLOCK_BYTES 4096

struct vmm_vmclock;

struct vmm_vmclock_config {
	struct vmm_mem *mem; /* borrowed, outlives the clock */
	uint64_t gpa;        /* VMM_VMCLOCK_BYTES there, aligned to that */
	bool has_time;       /* vmm_vmclock_set_time() will be called */
};

/* Writes the page. -EINVAL, -ENOMEM, -VMM_EGUEST. */
VMM_PUBLIC int vmm_vmclock_new(
	const struct vmm_vmclock_config *config, struct vmm_vmclock **ret_vmclock);
/* Leaves the page as it is. Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_vmclock *vmm_vmclock_free(struct vmm_vmclock *vmclock);

struct vmm_vmclock_time {
	uint64_t tsc;            /* as the guest would have read it */
	uint64_t tsc_hz;         /* at least 1000 */
	uint64_t time_nsec;      /* UTC since 1970 at that moment, no smeared leap seconds */
	uint64_t max_error_nsec; /* of time_nsec; 0: unknown */
	bool is_synchronized;    /* the host's clock is */
};

/* NULL: the time is not known any more. -EINVAL, -VMM_EGUEST. */
VMM_PUBLIC int vmm_vmclock_set_time(
	struct vmm_vmclock *vmclock, const struct vmm_vmclock_time *time);

/*
 * The TSC went through a step (paused for long, moved): what the guest knew of it is void. With
 * restored, the whole machine went on from an earlier state. The time is not known any more.
 * Afterwards VMM_GED_VMCLOCK is raised. -VMM_EGUEST.
 */
VMM_PUBLIC int vmm_vmclock_disrupt(struct vmm_vmclock *vmclock, bool restored);

VMM_END_DECLS

#endif

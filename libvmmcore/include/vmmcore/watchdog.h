/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * watchdog: the watchdog timer of the Intel 6300ESB (I/O Controller Hub datasheet, chapter 16), a
 * PCI function that Linux knows as i6300esb. The guest's driver reloads it now and then; where
 * it does not, two stages run out one after the other, and after the second ops->expired is
 * called.
 *
 * The timer is a descriptor that becomes readable when a stage runs out; then
 * vmm_watchdog_process() is to be called. There is no interrupt after the first stage.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                        | result                                  |
 *   |----------------------------------------------|-----------------------------------------|
 *   | write without the unlock sequence            | vanishes                                |
 *   | change of mode while locked                  | vanishes                                |
 *   | preload of 0                                 | runs out at once                        |
 *   | free running with short stages               | at most one expired a process() call,   |
 *   |                                              | a stage lasts VMM_WATCHDOG_MIN_NSEC     |
 *   | access of another size or alignment          | reads all ones, writes vanish           |
 *
 * Threads: registers from any thread; vmm_watchdog_process() in one thread; pause, resume and
 * reset in any. To free, see bus.h.
 */
#ifndef VMMCORE_WATCHDOG_H
#define VMMCORE_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

#include <vmmcore/base.h>
#include <vmmcore/pci.h>

VMM_BEGIN_DECLS

#define VMM_WATCHDOG_MIN_NSEC UINT64_C(1000000)

struct vmm_watchdog;

struct vmm_watchdog_ops {
	/*
	 * The guest has hung. In vmm_watchdog_process(), no lock held; may not free the object.
	 * The timer has stopped, unless the guest chose the free running mode.
	 */
	void (*expired)(void *userdata);
};

struct vmm_watchdog_config {
	struct vmm_pci_bus *bus; /* borrowed, outlives the device */
	unsigned int slot;       /* 1 to 31, or VMM_PCI_SLOT_ANY */
	bool has_expired;        /* tells the guest that it was the reason of its reset */
	const struct vmm_watchdog_ops *ops; /* borrowed, outlives the device */
	void *userdata;                     /* borrowed */
};

/* -EINVAL, -ENOMEM, errno of timerfd_create(), and what vmm_pci_bus_add() gives. */
VMM_PUBLIC int vmm_watchdog_new(
	const struct vmm_watchdog_config *config, struct vmm_watchdog **ret_watchdog);

/* Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_watchdog *vmm_watchdog_free(struct vmm_watchdog *watchdog);

VMM_PUBLIC unsigned int vmm_watchdog_slot(const struct vmm_watchdog *watchdog);

/* Readable when vmm_watchdog_process() is to be called. Borrowed. */
VMM_PUBLIC int vmm_watchdog_fd(const struct vmm_watchdog *watchdog);

/* 0, also where nothing was due, or the errno of timerfd_settime(). */
VMM_PUBLIC int vmm_watchdog_process(struct vmm_watchdog *watchdog);

/* The timer stands still while the machine does, and goes on where it stood. */
VMM_PUBLIC int vmm_watchdog_pause(struct vmm_watchdog *watchdog);
VMM_PUBLIC int vmm_watchdog_resume(struct vmm_watchdog *watchdog);

VMM_END_DECLS

#endif

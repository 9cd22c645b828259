/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * life: what happens when somebody wants a VM to stop, and what its end means. Logic only: it
 * is told what happened and when, and answers what to do; it touches nothing itself.
 *
 * A stop presses the ACPI power button at once and again each LIFE_PRESS_NSEC, since a press
 * before the guest listens is lost, and LIFE_N_PRESSES later ctrl-alt-del, which guests without
 * ACPI understand; then a reset of the guest counts as its power-off. A second stop is hard. A
 * reboot that the host wants is ctrl-alt-del.
 *
 *   | end                          | exit status |
 *   |------------------------------|-------------|
 *   | power-off, hard stop         | 0           |
 *   | reset (not during a stop)    | 133         |
 *   | panic, triple fault, watchdog| 70          |
 *   | host failure                 | 1           |
 *
 * The first end counts.
 *
 * Threads: one (the loop's).
 */
#ifndef VMMD_WORKER_LIFE_H
#define VMMD_WORKER_LIFE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/protocol.h"

#define LIFE_PRESS_NSEC UINT64_C(10000000000)
/* As long as a systemd in the guest may take for its own stop (90 s). */
#define LIFE_N_PRESSES 10

enum life_action {
	LIFE_NOTHING = 0,
	LIFE_PRESS_BUTTON = 1 << 0,
	LIFE_CTRL_ALT_DEL = 1 << 1,
	LIFE_RESUME = 1 << 2, /* a paused guest hears nothing */
	LIFE_FINISH = 1 << 3, /* the VM is over: see exit_status */
};

struct life {
	enum vmm_state state;
	enum vmm_end end;
	bool stopping;
	bool rebooting;
	uint32_t n_presses;
	uint64_t next_nsec; /* when life_tick() is due; 0: never */
};

void life_init(struct life *life);

/* Each returns enum life_action bits. */
unsigned int life_run(struct life *life);
unsigned int life_stop(struct life *life, enum vmm_how how, uint64_t now_nsec);
unsigned int life_reboot(struct life *life, enum vmm_how how, uint64_t now_nsec);
unsigned int life_button(struct life *life);
unsigned int life_tick(struct life *life, uint64_t now_nsec);
unsigned int life_end(struct life *life, enum vmm_end end);

/* -EALREADY, -EBUSY (it is stopping or over). */
int life_pause(struct life *life);
int life_resume(struct life *life);

int life_exit_status(const struct life *life);

/* For STATUS= and people. */
void life_text(const struct life *life, char *text, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* life: see life.h. */
#include "worker/life.h"

#include <errno.h>
#include <stdio.h>

#include "base/util.h"

void life_init(struct life *life)
{
	*life = (struct life){ .state = VMM_STATE_BUILDING };
}

unsigned int life_run(struct life *life)
{
	if (life->state == VMM_STATE_BUILDING)
		life->state = VMM_STATE_RUNNING;
	return LIFE_NOTHING;
}

unsigned int life_end(struct life *life, enum vmm_end end)
{
	if (life->state == VMM_STATE_ENDED)
		return LIFE_NOTHING;
	/* Who asked for a stop and had only ctrl-alt-del to do it with wants no new start. */
	if (end == VMM_END_REBOOT && life->stopping && !life->rebooting)
		end = VMM_END_POWEROFF;
	life->state = VMM_STATE_ENDED;
	life->end = end;
	life->next_nsec = 0;
	return LIFE_FINISH;
}

static unsigned int leave_pause(struct life *life)
{
	return life->state == VMM_STATE_PAUSED ? LIFE_RESUME : LIFE_NOTHING;
}

unsigned int life_stop(struct life *life, enum vmm_how how, uint64_t now_nsec)
{
	unsigned int actions = LIFE_NOTHING;

	if (life->state == VMM_STATE_ENDED)
		return LIFE_NOTHING;
	if (how == VMM_HOW_HARD || life->state == VMM_STATE_BUILDING || life->stopping)
		return life_end(life, VMM_END_STOPPED);
	actions = leave_pause(life);
	life->state = VMM_STATE_STOPPING;
	life->stopping = true;
	life->rebooting = false;
	life->n_presses = 1;
	life->next_nsec = now_nsec + LIFE_PRESS_NSEC;
	return actions | LIFE_PRESS_BUTTON;
}

unsigned int life_reboot(struct life *life, enum vmm_how how, uint64_t now_nsec)
{
	unsigned int actions;

	if (life->state == VMM_STATE_ENDED)
		return LIFE_NOTHING;
	if (how == VMM_HOW_HARD)
		return life_end(life, VMM_END_REBOOT);
	if (life->stopping || life->state == VMM_STATE_BUILDING)
		return LIFE_NOTHING;
	actions = leave_pause(life);
	life->state = VMM_STATE_STOPPING;
	life->rebooting = true;
	life->next_nsec = now_nsec + LIFE_PRESS_NSEC;
	return actions | LIFE_CTRL_ALT_DEL;
}

unsigned int life_button(struct life *life)
{
	if (life->state == VMM_STATE_ENDED || life->state == VMM_STATE_BUILDING)
		return LIFE_NOTHING;
	return LIFE_PRESS_BUTTON;
}

unsigned int life_tick(struct life *life, uint64_t now_nsec)
{
	if (life->next_nsec == 0 || now_nsec < life->next_nsec)
		return LIFE_NOTHING;
	life->next_nsec = now_nsec + LIFE_PRESS_NSEC;
	if (life->rebooting)
		return LIFE_CTRL_ALT_DEL;
	if (life->n_presses < LIFE_N_PRESSES) {
		life->n_presses++;
		return LIFE_PRESS_BUTTON;
	}
	return LIFE_CTRL_ALT_DEL;
}

int life_pause(struct life *life)
{
	if (life->state == VMM_STATE_PAUSED)
		return -EALREADY;
	if (life->state != VMM_STATE_RUNNING)
		return -EBUSY;
	life->state = VMM_STATE_PAUSED;
	return 0;
}

int life_resume(struct life *life)
{
	if (life->state != VMM_STATE_PAUSED)
		return life->state == VMM_STATE_RUNNING ? -EALREADY : -EBUSY;
	life->state = VMM_STATE_RUNNING;
	return 0;
}

int life_exit_status(const struct life *life)
{
	return vmm_worker_exit_status(life->end);
}

static const char *end_text(enum vmm_end end)
{
	switch (end) {
	case VMM_END_POWEROFF:
		return "guest powered off";
	case VMM_END_REBOOT:
		return "guest reboots";
	case VMM_END_PANIC:
		return "guest panicked";
	case VMM_END_TRIPLE_FAULT:
		return "guest crashed (triple fault)";
	case VMM_END_WATCHDOG:
		return "guest hung (its watchdog expired)";
	case VMM_END_STOPPED:
		return "stopped hard";
	default:
		return "failed";
	}
}

void life_text(const struct life *life, char *text, size_t size)
{
	switch (life->state) {
	case VMM_STATE_BUILDING:
		snprintf(text, size, "building the machine");
		break;
	case VMM_STATE_RUNNING:
		snprintf(text, size, "running");
		break;
	case VMM_STATE_PAUSED:
		snprintf(text, size, "paused");
		break;
	case VMM_STATE_STOPPING:
		if (life->rebooting)
			snprintf(text, size, "asked the guest to reboot");
		else
			snprintf(text, size, "asked the guest to power off (%u of %u)",
				life->n_presses, LIFE_N_PRESSES);
		break;
	default:
		snprintf(text, size, "%s", end_text(life->end));
		break;
	}
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * sweep: takes away the links of machines that have ended (netdev.h), which no descriptor does: at
 * each end, after a detach, and when vmmd starts, for what ended while there was none. A
 * short-lived child does it, and only where there is a link that might have to go: the loop never
 * waits.
 *
 * A failure is not told: the next sweep finds what is left.
 */
#ifndef VMMD_SWEEP_H
#define VMMD_SWEEP_H

#include "manager.h"

/* What belongs to no machine that runs or starts. */
void sweep_ended(struct manager *manager);

/* One network of a machine that goes on: it was detached, or has not come. */
void sweep_network(struct manager *manager, const char *machine, const char *network);

/* What a machine, whose worker is connected to, does not have any more: it was detached while there
 * was no vmmd, or the one there was ended over it. */
void sweep_machine(struct machine *machine);

#endif

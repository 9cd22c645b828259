/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * idle: vmmd ends by itself when no machine runs and nobody has asked anything for a while; its
 * socket and its bus name start it again. Only where systemd holds both.
 */
#ifndef VMMD_IDLE_H
#define VMMD_IDLE_H

#include "bus.h"

struct idle {
	struct bus *bus;        /* borrowed, outlives us */
	sd_event_source *timer; /* owned */
	uint64_t usec;
	uint64_t seen_calls;
	bool leaving; /* the name is given back */
};

/* After bus_connect(). usec: how long nothing has to happen; it ends within twice that. */
int idle_start(struct idle *idle, struct bus *bus, uint64_t usec);
void idle_finish(struct idle *idle);

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * backend: the vhost-user back ends of a machine that runs. A worker connects to nothing: when the
 * back end of a drive, network or share has gone, it asks for a new connection to it, and what the
 * .vm file, as it is now, names for that device is connected to in a child (resources.h) and handed
 * over.
 *
 * A worker may ask as it likes: one question of a machine is looked after at a time, and at most
 * one in BACKEND_NSEC; others are refused at once, and a worker asks again.
 */
#ifndef VMMD_BACKEND_H
#define VMMD_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "log.h"

#define BACKEND_NSEC UINT64_C(20000000)

struct machine;
struct vmm_control_backend_request;

/* What a machine may still ask for. Zero is a good start. */
struct backend_budget {
	bool is_busy; /* a child looks after a question */
	uint64_t next_nsec;
	struct log_limit limit;
};

/* Answers through the machine's control connection, now or later. */
void backend_is_asked_for(
	struct machine *machine, const struct vmm_control_backend_request *request);

#endif

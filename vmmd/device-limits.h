/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* device-limits: the names that limits of drives and networks have for clients. */
#ifndef VMMD_DEVICE_LIMITS_H
#define VMMD_DEVICE_LIMITS_H

#include "worker/protocol.h"

/*
 * Adds a limit by its name. -ENOENT: there is no such; -EINVAL: one of a network among those of a
 * drive, or the other way round; -ERANGE; -EEXIST: named twice.
 */
int device_limits_add(struct vmm_control_set_rate *set, const char *name, uint64_t value);

/* Calls with each limit that is not 0. Stops at a negative result and returns it. */
int device_limits_each(enum vmm_device_kind kind, const struct vmm_spec_rate rate[2],
	int (*call)(void *userdata, const char *name, uint64_t value), void *userdata);

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* stats: what machines use, as vmmd counts it: for top and metrics. */
#ifndef VMMCTL_STATS_H
#define VMMCTL_STATS_H

#include "ctl.h"

/*
 * All machines, or those of names (NULL: all): an array of objects as ctl_machines() gives, each
 * with "Stats", an object of counters, and "Devices", an array of objects with "Type", "Name" and
 * counters; both are empty for one that does not run. 0, or tells and returns the failure.
 */
int stats_read(struct ctl *ctl, char **names, struct value *ret);

/* A counter of the machine; the sum of a counter over its devices of a type. */
uint64_t stats_counter(const struct value *machine, const char *key);
uint64_t stats_devices(const struct value *machine, const char *type, const char *key);

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * resources: what a worker is given. A short-lived child opens the files and devices that a
 * machine's configuration names, and hands back descriptors or the one reason why not: a path
 * on a dead file server holds up the child, never vmmd. Disks come with open file description
 * locks, which live as long as the worker.
 */
#ifndef VMMD_RESOURCES_H
#define VMMD_RESOURCES_H

#include "machine.h"

enum {
	RESOURCES_TIMEOUT_SEC = 20,
	RESOURCES_MAX_CHILDREN = 64,
	/* kvm, kernel, initrd, drives, a tap a network */
	RESOURCES_MAX_FDS = 3 + CONFIG_MAX_DRIVES + CONFIG_MAX_NETWORKS,
};

enum resources_mode {
	RESOURCES_CHECK, /* look only: nothing is locked or made, no descriptor comes back */
	RESOURCES_TAKE,
	RESOURCES_TAKE_DEVICES, /* drives and networks only */
};

/*
 * Descriptors in the order kvm, kernel, initrd (where there is one), drives, networks. Those
 * that the callback leaves here are closed when it returns.
 */
struct resources_result {
	int error;        /* 0, or negative */
	int exit_status;  /* with an error: what the worker is to end with */
	const char *text; /* with an error: one line */
	int fds[RESOURCES_MAX_FDS];
	size_t n_fds;
};

typedef void (*resources_done_t)(void *userdata, struct resources_result *result);

struct resources_request;

/*
 * machine has a configuration. done is called once, later, unless the request is cancelled.
 * *ret is valid until then. -VMMD_E_LIMITS_EXCEEDED.
 */
int resources_open(struct machine *machine, enum resources_mode mode, resources_done_t done,
	void *userdata, struct resources_request **ret);
/* The same for any configuration, which is not looked at again. */
int resources_open_config(struct manager *manager, const struct vm_config *config,
	enum resources_mode mode, resources_done_t done, void *userdata,
	struct resources_request **ret);
void resources_cancel(struct resources_request *request);

/* In the child: all the opening. 0 and fds, or a negative error with text and exit status.
 * Public for the unit test. */
int resources_take(const struct vm_config *config, enum resources_mode mode,
	struct resources_result *result, char *text, size_t text_size);

#endif

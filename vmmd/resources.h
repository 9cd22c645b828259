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
	/* kvm, kernel, initrd, vsock, drives, a network's taps and vhosts, shares */
	RESOURCES_MAX_FDS = 4 + CONFIG_MAX_DRIVES + 2 * CONFIG_MAX_PAIRS * CONFIG_MAX_NETWORKS +
			    CONFIG_MAX_SHARES,
	/* How long a drive's lock, which ends a moment after the worker that had it. */
	RESOURCES_LOCK_PATIENCE_MSEC = 2000,
	/* How long a back end that is not there yet is waited for: at a start, and later. */
	RESOURCES_START_PATIENCE_MSEC = 5000,
	RESOURCES_AGAIN_PATIENCE_MSEC = 300,
};

enum resources_mode {
	RESOURCES_CHECK, /* look only: nothing is locked or made, no descriptor comes back */
	RESOURCES_TAKE,
	RESOURCES_TAKE_DEVICES, /* drives and networks only */
	RESOURCES_TAKE_BACKEND, /* a new connection to the back end of one device only */
};

/* What a child is to do. */
struct resources_order {
	enum resources_mode mode;
	/* Where the units of back ends have their sockets; NULL: there are no units. */
	const char *backend_dir;
	unsigned int lock_patience_msec; /* for a drive that is locked */
	const char *run_dir;             /* see tap_open() */
	/* TAKE_BACKEND: which device. */
	enum vmm_device_kind kind;
	const char *device;
};

/*
 * Descriptors in the order kvm, kernel, initrd (where there is one), drives, networks (a tap, and
 * its vhost where that is asked for), shares. Those that the callback leaves here are closed when
 * it returns.
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
/* A connection to the back end of one device, which machine's configuration is to have. */
int resources_open_backend(struct machine *machine, enum vmm_device_kind kind, const char *device,
	resources_done_t done, void *userdata, struct resources_request **ret);
void resources_cancel(struct resources_request *request);
/* As vmmd ends: all that are left come to nothing, and whoever waits for one lets go of it. */
void resources_end(struct manager *manager);
/* Whether something is being opened for the machine of that name. */
bool resources_is_opening(const struct manager *manager, const char *name);

/* In the child: all the opening. 0 and fds, or a negative error with text and exit status.
 * Public for the unit test. */
int resources_take(const struct vm_config *config, const struct resources_order *order,
	struct resources_result *result, char *text, size_t text_size);

/* resources-backend.c: a connection to a unix socket, which is waited for. Negative errno; -EXDEV:
 * by a link that links.h forbids. */
int backend_connect(const char *path, unsigned int patience_msec, int *ret_fd);
/* vmm-KIND@MACHINE:DEVICE is the unit that serves a device; and where it listens. */
const char *backend_unit_kind(enum vmm_device_kind kind);
int backend_unit_socket(const char *dir, enum vmm_device_kind kind, const char *machine,
	const char *device, char *path, size_t size);

#endif

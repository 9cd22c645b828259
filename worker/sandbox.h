/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * sandbox: what the worker gives up before it looks at anything that a guest or its files could
 * have written. Complete by itself: it does not rely on the unit it runs in.
 *
 *   | what                   | how                                                          |
 *   |------------------------|--------------------------------------------------------------|
 *   | stray descriptors      | closed: only those of the list stay                          |
 *   | new privileges         | PR_SET_NO_NEW_PRIVS                                          |
 *   | files                  | as root: an empty tmpfs, read-only, as root directory; and   |
 *   |                        | Landlock without a rule, where the kernel has it             |
 *   | IPC, hostname, cgroups | as root: namespaces of its own                               |
 *   | network                | as root: an empty namespace, its own or the one that vmmd    |
 *   |                        | keeps for its workers: no socket can be made there, and no   |
 *   |                        | other worker's reached, where Landlock knows scopes          |
 *   | other processes        | a namespace of its own, which vmmd makes (--spawn=direct)    |
 *   | identity               | as root: the uid and gid of the spec, no groups, in a user   |
 *   |                        | namespace that knows no user of the host                     |
 *   | capabilities           | none in any set, checked afterwards                          |
 *   | memory                 | not dumpable, no core file                                   |
 *   | system calls           | a filter for each kind of thread, policy/seccomp             |
 *
 * Under its unit systemd has done the first part (its own root, user and namespaces) and a
 * worker that is not root cannot: then those steps are left out.
 *
 * Environment: VMMD_SECCOMP=kill (default), errno or log says what happens to a denied call.
 *
 * Threads: sandbox_enter_thread() in the thread it is about, all else in the main thread while it
 * is the only one.
 */
#ifndef VMMD_WORKER_SANDBOX_H
#define VMMD_WORKER_SANDBOX_H

#include <stdint.h>
#include <vmmcore/seccomp.h>

struct machine;

enum sandbox_thread {
	SANDBOX_LOOP = 0,
	SANDBOX_VCPU,
	SANDBOX_IO,
	SANDBOX_NET,
	SANDBOX_PLUG, /* makes and frees devices */
	SANDBOX_VSOCK,
	SANDBOX_VHOST,
	SANDBOX_N_THREADS,
};

struct sandbox {
	enum vmm_seccomp_mode mode;
	int netns_fd; /* owned; -EBADF: a network namespace is made */
};

/* Reads the environment. -EINVAL: VMMD_SECCOMP is none of its values. */
int sandbox_init(struct sandbox *sandbox);

/* The phase: all of the table but the last row. */
int sandbox_enter(struct machine *machine);

/* The last row, for the calling thread. Needs no memory. */
int sandbox_enter_thread(const struct sandbox *sandbox, enum sandbox_thread kind);

/* The phase: the loop's thread, when all others exist. */
int sandbox_seal(struct machine *machine);

#endif

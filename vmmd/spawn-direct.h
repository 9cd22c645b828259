/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* spawn-direct: what its two files share. */
#ifndef VMMD_SPAWN_DIRECT_H
#define VMMD_SPAWN_DIRECT_H

#include "machine.h"
#include "notify-socket.h"

/* manager->spawn */
struct direct {
	struct manager *manager;      /* borrowed */
	struct notify_socket *notify; /* owned; NULL: none */
	char notify_path[128];
	int netns_fd; /* owned; the network of all workers; -EBADF: each makes its own */
};

/* When pid was started, in clock ticks since boot: with pid, it names a process for good. */
int direct_process_start(pid_t pid, uint64_t *ret);

/* A uid that no other machine's worker has; the same each time unless two names meet. */
uid_t direct_choose_uid(struct machine *machine);

#endif

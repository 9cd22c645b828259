/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* spawn-direct: a worker as a process: its user, its identity. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "spawn-direct.h"

enum {
	/* systemd's range for DynamicUser=: nobody else uses it. */
	FIRST_UID = 61184,
	LAST_UID = 65519,
};

/* When pid was started, in clock ticks since boot: field 22 of /proc/PID/stat. */
int direct_process_start(pid_t pid, uint64_t *ret)
{
	CLEANUP(close_p) int fd = -EBADF;
	char path[32], text[1024], *at;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = 0;
	/* The second field is the name, which may hold anything; 3 begins behind its ')'. */
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at && sscanf(at, " %" SCNu64, ret) == 1 ? 0 : -EBADMSG;
}

/* One that no other machine has; the same each time unless two names meet. */
uid_t direct_choose_uid(struct machine *machine)
{
	struct manager *manager = machine->manager;
	uint32_t n_uids = LAST_UID - FIRST_UID + 1, hash = 5381;

	for (const char *c = machine->name; *c; c++)
		hash = hash * 33 + (unsigned char)*c;
	for (uint32_t i = 0; i < n_uids; i++) {
		uid_t uid = FIRST_UID + (hash + i) % n_uids;
		bool taken = false;

		for (size_t j = 0; j < manager->n_machines && !taken; j++)
			taken = manager->machines[j] != machine &&
				manager->machines[j]->handed.uid == uid;
		if (!taken)
			return uid;
	}
	return LAST_UID;
}

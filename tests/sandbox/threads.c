/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* threads: see threads.h. */
#include "threads.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../unit/unit.h"
#include "base/util.h"

int thread_kind(pid_t pid, pid_t tid, char kind[THREAD_KIND_SIZE])
{
	CLEANUP(close_p) int fd = -EBADF;
	char path[64];
	ssize_t n;

	if (pid == tid) {
		strcpy(kind, "loop");
		return 0;
	}
	snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, kind, THREAD_KIND_SIZE - 1);
	if (n < 0)
		return -errno;
	kind[n] = '\0';
	kind[strcspn(kind, " \n")] = '\0';
	return 0;
}

pid_t find_thread(pid_t pid, const char *wanted)
{
	char path[64], kind[THREAD_KIND_SIZE];
	struct dirent *entry;
	pid_t found = 0;
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	directory = opendir(path);
	ck_assert_ptr_nonnull(directory);
	while (found == 0 && (entry = readdir(directory))) {
		pid_t tid = atoi(entry->d_name);

		if (tid > 0 && thread_kind(pid, tid, kind) == 0 && strcmp(kind, wanted) == 0)
			found = tid;
	}
	closedir(directory);
	return found;
}

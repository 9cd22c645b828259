/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* threads: see threads.h. */
#include "threads.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../worker/test-worker.h"
#include "base/util.h"

static int open_tap(void)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ioctl(fd, TUNSETIFF, &request), 0);
	return fd;
}

void start_full_machine(const char *const *environment)
{
	int disk = memfd_create("disk", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(disk, 1 << 20), 0);
	guest_spin(&guest);
	worker_prepare(&worker, &guest);
	worker.spec.n_cpus = 2;
	worker.spec.uid = worker.spec.gid = 65533;
	add_drive(disk);
	add_network(open_tap());
	worker.spec.flags = VMM_SPEC_RNG;
	worker_exec(&worker, environment);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
}

void check_killed(pid_t tid)
{
	/* Its main thread is a child, and was waited for as the one that made the call. */
	if (tid == worker.pid)
		worker.pid = -1;
	else
		ck_assert_int_eq(worker_wait(&worker), 1000 + SIGSYS);
}

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

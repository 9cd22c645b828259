/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* spawn-direct: a worker as a process: its user, its environment, its identity. */
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "spawn-direct.h"
#include "worker/protocol.h"

enum {
	/* systemd's range for DynamicUser=: nobody else uses it. */
	FIRST_UID = 61184,
	LAST_UID = 65519,
	BROKER_FD = 3,
	NETNS_FD = 4,
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

/*
 * fork(), into a namespace of processes of its own: a worker sees no other and can name none.
 * Without the right to make one it shares ours.
 */
pid_t direct_fork(void)
{
	long pid = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);

	return pid < 0 && errno == EPERM ? fork() : (pid_t)pid;
}

_Noreturn void direct_exec(struct manager *manager, const char *name, int broker_fd, int log_fd)
{
	const struct direct *direct = manager->spawn;
	const char *worker = manager->worker, *mode = getenv("VMMD_SECCOMP");
	char broker[32], notify[sizeof(direct->notify_path) + 16], seccomp[64];
	char netns[32];
	char *argv[5] = { (char *)worker, broker };
	char *env[3] = {};
	size_t n_argv = 2, n_env = 0;
	int netns_fd = -EBADF;
	sigset_t mask;
	int null_fd;

	setsid();
	signal(SIGTERM, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	/* As the first of its namespace it would never see what it does not yet handle. */
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0)
		_exit(VMM_WORKER_EXIT_FAILURE);
	if (log_fd >= 0 && (dup2(log_fd, STDOUT_FILENO) < 0 || dup2(log_fd, STDERR_FILENO) < 0))
		_exit(VMM_WORKER_EXIT_FAILURE);
	if (log_fd < 0 && dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		_exit(VMM_WORKER_EXIT_FAILURE);
	/* Out of the way of the numbers to come. */
	if (direct->netns_fd >= 0) {
		netns_fd = fcntl(direct->netns_fd, F_DUPFD_CLOEXEC, NETNS_FD + 1);
		if (netns_fd < 0)
			_exit(VMM_WORKER_EXIT_FAILURE);
	}
	if (dup2(broker_fd, BROKER_FD) < 0 || fcntl(BROKER_FD, F_SETFD, 0) < 0)
		_exit(VMM_WORKER_EXIT_FAILURE);
	snprintf(broker, sizeof(broker), "--broker-fd=%d", BROKER_FD);
	if (netns_fd >= 0) {
		if (dup2(netns_fd, NETNS_FD) < 0)
			_exit(VMM_WORKER_EXIT_FAILURE);
		snprintf(netns, sizeof(netns), "--netns-fd=%d", NETNS_FD);
		argv[n_argv++] = netns;
	}
	argv[n_argv] = (char *)name;
	close_range(netns_fd >= 0 ? NETNS_FD + 1 : BROKER_FD + 1, ~0u, 0);
	snprintf(notify, sizeof(notify), "NOTIFY_SOCKET=%s", direct->notify_path);
	if (direct->notify)
		env[n_env++] = notify;
	/* For developers: what is not allowed is logged. Nothing else of our environment. */
	snprintf(seccomp, sizeof(seccomp), "VMMD_SECCOMP=%s", mode ? mode : "");
	if (mode)
		env[n_env++] = seccomp;
	execve(worker, argv, env);
	dprintf(STDERR_FILENO, "%s: %s\n", worker, strerror(errno));
	_exit(VMM_WORKER_EXIT_FAILURE);
}

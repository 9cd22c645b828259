/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* start: see start.h. */
#include "worker/start.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "worker/protocol.h"

enum {
	BROKER_FD = 3,
	NETNS_FD = 4,
	STACK_BYTES = 64 << 10,
};

/* What the child needs, made before it is: it has its parent's memory until it is the worker. */
struct prepared {
	const struct worker_start *start;
	char broker[32], netns[32], notify[256], seccomp[64];
	char *argv[5], *env[3];
};

static int prepare(const struct worker_start *start, struct prepared *prepared)
{
	const char *mode = getenv("VMMD_SECCOMP");
	size_t n_argv = 0, n_env = 0;

	*prepared = (struct prepared){ .start = start };
	prepared->argv[n_argv++] = (char *)start->program;
	snprintf(prepared->broker, sizeof(prepared->broker), "--broker-fd=%d", BROKER_FD);
	prepared->argv[n_argv++] = prepared->broker;
	if (start->netns_fd >= 0) {
		snprintf(prepared->netns, sizeof(prepared->netns), "--netns-fd=%d", NETNS_FD);
		prepared->argv[n_argv++] = prepared->netns;
	}
	prepared->argv[n_argv++] = (char *)start->name;
	if (start->notify_path) {
		if ((size_t)snprintf(prepared->notify, sizeof(prepared->notify), "NOTIFY_SOCKET=%s",
			    start->notify_path) >= sizeof(prepared->notify))
			return -ENAMETOOLONG;
		prepared->env[n_env++] = prepared->notify;
	}
	/* For developers: what is not allowed is logged. Nothing else of our environment. */
	if (mode) {
		snprintf(prepared->seccomp, sizeof(prepared->seccomp), "VMMD_SECCOMP=%s", mode);
		prepared->env[n_env++] = prepared->seccomp;
	}
	return 0;
}

/* Signals: none that somebody handles reaches the child, which has the parent's memory. */
static void reset_signals(void)
{
	sigset_t mask;

	signal(SIGTERM, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	/* As the first of its namespace it would never see what it does not yet handle. */
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_SETMASK, &mask, NULL);
}

static int move_fds(const struct worker_start *start)
{
	int null_fd, output_fd = start->output_fd, error_fd = start->error_fd, netns_fd = -EBADF;

	/* Out of the way of the numbers to come. */
	if (start->netns_fd >= 0) {
		netns_fd = fcntl(start->netns_fd, F_DUPFD_CLOEXEC, NETNS_FD + 1);
		if (netns_fd < 0)
			return -errno;
	}
	null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 ||
		dup2(output_fd >= 0 ? output_fd : STDERR_FILENO, STDOUT_FILENO) < 0)
		return -errno;
	if (error_fd >= 0 && dup2(error_fd, STDERR_FILENO) < 0)
		return -errno;
	if (dup2(start->broker_fd, BROKER_FD) < 0 || fcntl(BROKER_FD, F_SETFD, 0) < 0)
		return -errno;
	if (netns_fd >= 0 && dup2(netns_fd, NETNS_FD) < 0)
		return -errno;
	return close_range(netns_fd >= 0 ? NETNS_FD + 1 : BROKER_FD + 1, ~0u, 0) < 0 ? -errno : 0;
}

static int child_main(void *userdata)
{
	struct prepared *prepared = userdata;
	int r;

	setsid();
	r = move_fds(prepared->start);
	reset_signals();
	if (r == 0) {
		execve(prepared->start->program, prepared->argv, prepared->env);
		r = -errno;
	}
	dprintf(STDERR_FILENO, "%s: %s\n", prepared->start->program, strerror(-r));
	_exit(VMM_WORKER_EXIT_FAILURE);
}

int worker_start(const struct worker_start *start, pid_t *ret_pid)
{
	CLEANUP(free_p) char *stack = NULL;
	struct prepared prepared;
	sigset_t all, before;
	pid_t pid;
	int r;

	r = prepare(start, &prepared);
	if (r < 0)
		return r;
	stack = malloc(STACK_BYTES);
	if (!stack)
		return -ENOMEM;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	/* A namespace of processes: it sees no other and can name none. Without the right, ours. */
	pid = clone(child_main, stack + STACK_BYTES,
		CLONE_VM | CLONE_VFORK | CLONE_NEWPID | SIGCHLD, &prepared);
	if (pid < 0 && errno == EPERM)
		pid = clone(child_main, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD,
			&prepared);
	r = pid < 0 ? -errno : 0;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (r == 0)
		*ret_pid = pid;
	return r;
}

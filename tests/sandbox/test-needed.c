/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Each rule of each policy is needed: by what the suites named on the command line, as PROGRAM or
 * PROGRAM:CASE, let the shipped worker do, or for the reason that stands in never-needed. The
 * worker is started by way of watched.c, so all of its calls are seen here before its own filters
 * see them, whoever starts it, and how often it is started.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "needs.h"

#define MAX_WORKERS 64
#define MAX_THREADS 1024

struct thread {
	pid_t tid;
	bool is_seen, is_known;
	unsigned int n_first; /* filters that it came with */
	const struct policy_file *files[2];
};

/* Descriptors of notifications; a worker's, and all that it forks. */
static struct worker {
	int fd;
	unsigned int n_outer; /* filters around the worker's own */
	struct thread threads[MAX_THREADS];
} * workers[MAX_WORKERS];

static uint64_t n_calls, n_workers;
static char directory[] = P_tmpdir "/vmmd-needed-XXXXXX";

static void __attribute__((noreturn)) give_up(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

/* ---- threads ---- */

static const struct policy_file *file_of(const char *kind)
{
	for (size_t i = 0; i < n_policy_files; i++)
		if (strcmp(policy_files[i].kind, kind) == 0)
			return &policy_files[i];
	fprintf(stderr, "a filtered thread that is named \"%s\" as no policy\n", kind);
	exit(EXIT_FAILURE);
}

/* False: it has ended meanwhile. */
static bool read_status(pid_t tid, char kind[16], unsigned int *ret_n_filters)
{
	char path[64], text[2048], *line;
	CLEANUP(close_p) int fd = -EBADF;
	pid_t tgid;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	if (sscanf(text, "Name: %15s", kind) != 1 || !(line = strstr(text, "\nTgid:")) ||
		sscanf(line, " Tgid: %d", &tgid) != 1 ||
		!(line = strstr(text, "\nSeccomp_filters:")) ||
		sscanf(line, " Seccomp_filters: %u", ret_n_filters) != 1)
		return false;
	if (tid == tgid)
		strcpy(kind, "loop");
	return true;
}

static struct thread *find_thread_of(struct worker *worker, pid_t tid)
{
	struct thread *thread, *free_slot = NULL;

	for (thread = worker->threads; thread < worker->threads + MAX_THREADS; thread++) {
		if (thread->tid == tid)
			return thread;
		if (thread->tid == 0 && !free_slot)
			free_slot = thread;
	}
	if (!free_slot)
		give_up("too many threads");
	*free_slot = (struct thread){ .tid = tid };
	return free_slot;
}

/*
 * Which filters decide about a thread's calls. What the main thread makes takes one of its own, and
 * what the plugging thread makes another on top of that thread's.
 */
static struct thread *look_at(struct worker *worker, pid_t tid)
{
	struct thread *thread = find_thread_of(worker, tid);
	unsigned int n_filters, n_own;
	char kind[16];

	if (thread->is_known || !read_status(tid, kind, &n_filters))
		return thread;
	if (worker->n_outer == 0)
		worker->n_outer = n_filters;
	n_own = n_filters - worker->n_outer;
	if (!thread->is_seen)
		thread->n_first = n_own;
	thread->is_seen = true;
	if (n_own > thread->n_first) {
		thread->files[thread->n_first] = file_of(kind);
		thread->is_known = true;
	} else if (n_own > 0) {
		thread->files[0] = file_of("plug");
	}
	return thread;
}

static void take_call(struct worker *worker)
{
	struct seccomp_notif call = {};
	struct seccomp_notif_resp answer = {};
	struct thread *thread;

	if (ioctl(worker->fd, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0) {
		if (errno != ENOENT && errno != EINTR)
			give_up("reading a call");
		return;
	}
	thread = look_at(worker, (pid_t)call.pid);
	for (size_t i = 0; i < ARRAY_SIZE(thread->files); i++)
		if (thread->files[i])
			needs_count(thread->files[i], (uint64_t)call.data.nr,
				(const uint64_t *)call.data.args);
	n_calls++;
	/* Its number may be another thread's soon. */
	if (call.data.nr == SYS_exit)
		*thread = (struct thread){};
	answer.id = call.id;
	answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	if (ioctl(worker->fd, SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0 && errno != ENOENT)
		give_up("letting a call go on");
}

/* ---- workers ---- */

static int listen_here(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", directory);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, MAX_WORKERS) < 0)
		give_up(address.sun_path);
	return fd;
}

static int receive_fd(int socket_fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {};
	char byte;
	struct iovec iovec = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &iovec,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	int fd;

	if (recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC) != 1 ||
		control.header.cmsg_len != CMSG_LEN(sizeof(int)))
		return -EBADF;
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return fd;
}

static void take_worker(int listen_fd)
{
	CLEANUP(close_p) int socket_fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	int fd = socket_fd < 0 ? -EBADF : receive_fd(socket_fd);
	size_t i = 0;

	/* One that ended before it had given it. */
	if (fd < 0)
		return;
	while (i < MAX_WORKERS && workers[i])
		i++;
	if (i == MAX_WORKERS)
		give_up("too many workers");
	workers[i] = calloc(1, sizeof(*workers[i]));
	if (!workers[i])
		give_up("memory");
	workers[i]->fd = fd;
	n_workers++;
}

static void drop_worker(size_t i)
{
	vmm_base_close(workers[i]->fd);
	free(workers[i]);
	workers[i] = NULL;
}

/* Until the process has ended and so have its workers. */
static void watch(int listen_fd, int process_fd)
{
	struct pollfd fds[MAX_WORKERS + 2];
	bool has_ended = false;
	size_t n_left;

	do {
		fds[0] = (struct pollfd){ .fd = listen_fd, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = has_ended ? -1 : process_fd, .events = POLLIN };
		for (size_t i = 0; i < MAX_WORKERS; i++)
			fds[2 + i] = (struct pollfd){ .fd = workers[i] ? workers[i]->fd : -1,
				.events = POLLIN };
		/* A worker may outlive who started it for a moment, and no longer. */
		if (poll(fds, ARRAY_SIZE(fds), has_ended ? 5000 : -1) == 0) {
			errno = EBUSY;
			give_up("a worker was left behind");
		}
		has_ended |= fds[1].revents != 0;
		if (fds[0].revents)
			take_worker(listen_fd);
		n_left = 0;
		for (size_t i = 0; i < MAX_WORKERS; i++) {
			if (fds[2 + i].revents & POLLIN)
				take_call(workers[i]);
			else if (fds[2 + i].revents)
				drop_worker(i);
			n_left += workers[i] != NULL;
		}
	} while (!has_ended || n_left > 0);
}

/* "PROGRAM:CASE". Its exit status. */
static int run(int listen_fd, char *what)
{
	char *only = strchr(what, ':');
	pid_t pid;
	int status, fd;

	if (only)
		*only++ = '\0';
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		give_up("fork");
	if (pid == 0) {
		if (only)
			setenv("CK_RUN_CASE", only, 1);
		execl(what, what, NULL);
		give_up(what);
	}
	fd = pidfd_open(pid, 0);
	if (fd < 0)
		give_up("pidfd_open");
	watch(listen_fd, fd);
	close(fd);
	if (waitpid(pid, &status, 0) != pid)
		give_up("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

static void prepare(void)
{
	char path[128];

	if (!mkdtemp(directory) || chmod(directory, 0755) < 0)
		give_up(directory);
	snprintf(path, sizeof(path), "%s/worker", directory);
	if (symlink(getenv("REAL_WORKER"), path) < 0)
		give_up(path);
	snprintf(path, sizeof(path), "%s/vmmd-worker", directory);
	if (symlink(getenv("WATCHED_WORKER"), path) < 0 || setenv("VMMD_WORKER", path, 1) < 0)
		give_up(path);
}

static void clean(void)
{
	static const char *const names[] = { "worker", "vmmd-worker", "socket" };
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
	rmdir(directory);
}

int main(int argc, char **argv)
{
	bool all_called = true;
	int listen_fd;

	if (geteuid() != 0 || access("/dev/kvm", R_OK | W_OK) < 0) {
		puts("skipped: needs root and /dev/kvm");
		return 77;
	}
	policies_load(getenv("POLICY_DIR"));
	needs_load(getenv("POLICY_DIR"), getenv("NEVER_NEEDED"));
	prepare();
	listen_fd = listen_here();
	for (int i = 1; i < argc; i++) {
		uint64_t before = n_calls, since_nsec = vmm_base_now_nsec();
		int status = run(listen_fd, argv[i]);

		/* What fails here fails by itself too, and is that suite's matter. */
		printf("%s: exit status %d, %llu calls, %.1f s\n", argv[i], status,
			(unsigned long long)(n_calls - before),
			(double)(vmm_base_now_nsec() - since_nsec) / 1e9);
		/* But one without a worker has shown nothing. */
		all_called &= n_calls > before;
	}
	clean();
	printf("%llu workers\n", (unsigned long long)n_workers);
	if (!needs_report() || !all_called)
		return EXIT_FAILURE;
	puts("1 passed, 0 failed, 0 skipped");
	return EXIT_SUCCESS;
}

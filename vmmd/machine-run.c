/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * machine: the directory RUN_DIR/machine/NAME of a running one: its sockets, and what its worker
 * was given, so that a vmmd that starts later knows it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/util.h"
#include "control.h"
#include "machine.h"

enum {
	BACKLOG = 64,
	MAX_STATE_BYTES = 512,
};

/* The path of a file there; "" for the directory. False when it is too long. */
static bool run_path(const struct machine *machine, const char *file, char *path, size_t size)
{
	int n = snprintf(path, size, "%s/machine/%s%s%s", machine->manager->run_dir, machine->name,
		file[0] ? "/" : "", file);

	return n > 0 && (size_t)n < size;
}

int machine_make_run_dir(struct machine *machine)
{
	char path[4096];

	if (!run_path(machine, "", path, sizeof(path)))
		return -ENAMETOOLONG;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

void machine_remove_run_dir(struct machine *machine)
{
	static const char *const files[] = { "control", "vsock", "state", "state.new" };
	char path[4096];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (run_path(machine, files[i], path, sizeof(path)))
			unlink(path);
	if (run_path(machine, "", path, sizeof(path)))
		rmdir(path);
}

int machine_save_handed(struct machine *machine)
{
	const struct machine_handed *handed = &machine->handed;
	CLEANUP(close_p) int fd = -EBADF;
	char path[4096], new_path[4096], text[MAX_STATE_BYTES];
	int n, r;

	if (!run_path(machine, "state", path, sizeof(path)) ||
		!run_path(machine, "state.new", new_path, sizeof(new_path)))
		return -ENAMETOOLONG;
	n = snprintf(text, sizeof(text),
		"Fingerprint=%" PRIx64 "\nCPUs=%" PRIu32 "\nMemory=%" PRIu64 "\nRestarts=%" PRIu32
		"\nPID=%d\nStart=%" PRIu64 "\nUID=%u\nSince=%" PRIu64 " %" PRIu64 "\n",
		handed->fingerprint, handed->n_cpus, handed->memory_bytes, handed->n_restarts,
		(int)handed->pid, handed->pid_start, (unsigned)handed->uid, handed->since_usec,
		handed->since_monotonic_usec);
	fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = vmm_base_write_full(fd, text, (size_t)n);
	if (r < 0)
		return r;
	return rename(new_path, path) < 0 ? -errno : 0;
}

int machine_load_handed(struct machine *machine)
{
	struct machine_handed handed = { .valid = true };
	CLEANUP(close_p) int fd = -EBADF;
	char path[4096], text[MAX_STATE_BYTES];
	unsigned uid;
	ssize_t n;
	int pid;

	if (!run_path(machine, "state", path, sizeof(path)))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = 0;
	if (sscanf(text,
		    "Fingerprint=%" SCNx64 "\nCPUs=%" SCNu32 "\nMemory=%" SCNu64
		    "\nRestarts=%" SCNu32 "\nPID=%d\nStart=%" SCNu64 "\nUID=%u\nSince=%" SCNu64
		    " %" SCNu64,
		    &handed.fingerprint, &handed.n_cpus, &handed.memory_bytes, &handed.n_restarts,
		    &pid, &handed.pid_start, &uid, &handed.since_usec,
		    &handed.since_monotonic_usec) != 9)
		return -EBADMSG;
	handed.pid = pid;
	handed.uid = uid;
	machine->handed = handed;
	machine_changed(machine, MACHINE_CHANGED_CONFIG);
	return 0;
}

/*
 * sun_path is short. The directory is opened, and the socket is named through /proc/self/fd, so
 * that any RUN_DIR will do.
 */
static int socket_address(
	struct machine *machine, const char *file, struct sockaddr_un *address, int *ret_dir_fd)
{
	char path[4096];
	int fd;

	if (!run_path(machine, "", path, sizeof(path)))
		return -ENAMETOOLONG;
	fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", fd, file);
	*ret_dir_fd = fd;
	return 0;
}

static int listen_at(struct machine *machine, const char *file, int type, int *ret_fd)
{
	CLEANUP(close_p) int dir_fd = -EBADF, fd = -EBADF;
	struct sockaddr_un address;
	int r;

	r = machine_make_run_dir(machine);
	if (r < 0)
		return r;
	r = socket_address(machine, file, &address, &dir_fd);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlinkat(dir_fd, file, 0);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int machine_listen_control(struct machine *machine, int *ret_fd)
{
	char path[4096];

	/* Of a worker before: this one may have no vsock. */
	if (run_path(machine, "vsock", path, sizeof(path)))
		unlink(path);
	return listen_at(machine, "control", SOCK_SEQPACKET, ret_fd);
}

int machine_listen_vsock(struct machine *machine, int *ret_fd)
{
	return listen_at(machine, "vsock", SOCK_STREAM, ret_fd);
}

/* Never waits: EAGAIN where the worker's queue of clients is full. */
static int connect_to(struct machine *machine, const char *file, int type, int *ret_fd)
{
	CLEANUP(close_p) int dir_fd = -EBADF, fd = -EBADF;
	struct sockaddr_un address;
	int r;

	r = socket_address(machine, file, &address, &dir_fd);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int machine_connect_control(struct machine *machine)
{
	CLEANUP(close_p) int fd = -EBADF;
	int r;

	machine->control = control_free(machine->control);
	r = connect_to(machine, "control", SOCK_SEQPACKET, &fd);
	return r < 0 ? r : control_new(machine, &fd, &machine->control);
}

int machine_connect_vsock(struct machine *machine, int *ret_fd)
{
	return connect_to(machine, "vsock", SOCK_STREAM, ret_fd);
}

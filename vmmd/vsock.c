/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vsock: see vsock.h. */
#include "vsock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/util.h"
#include "control.h"
#include "hash.h"

uint32_t vsock_default_cid(const char *name)
{
	uint64_t hash = hash_text(HASH_BEGIN, name);

	/* 0 to 2 and 2^32 - 1 are reserved; below 2^31 it is short to read. */
	return 3 + (uint32_t)((hash >> 32 ^ hash) % ((UINT32_C(1) << 31) - 3));
}

bool vsock_budget_take(struct vsock_budget *budget, uint64_t now_usec)
{
	const uint64_t cost_usec = UINT64_C(1000000) / VSOCK_RATE;
	uint64_t full_usec = MAX(budget->full_usec, now_usec);

	if (full_usec - now_usec > cost_usec * (VSOCK_BURST - 1))
		return false;
	budget->full_usec = full_usec + cost_usec;
	return true;
}

/* One step of a path that ends at no link and in no other file system. */
static int open_step(int dir_fd, const char *name)
{
	CLEANUP(close_p) int fd = -EBADF;
	struct statx found;

	if (strcmp(name, "..") == 0)
		return -EXDEV;
	fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &found) < 0)
		return -errno;
	if (S_ISLNK(found.stx_mode))
		return -ELOOP;
	if (found.stx_attributes & STATX_ATTR_MOUNT_ROOT)
		return -EXDEV;
	return TAKE_FD(fd);
}

/*
 * A path below /run, as a descriptor. Links and mounts could lead to where an open may hang. By
 * steps, as openat2() has gone where a unit has RestrictSUIDSGID=.
 */
static int open_below_run(char *path)
{
	CLEANUP(close_p) int fd = open("/run", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *rest = NULL;

	if (fd < 0)
		return -errno;
	for (char *name = strtok_r(path, "/", &rest); name; name = strtok_r(NULL, "/", &rest)) {
		int next_fd = open_step(fd, name);

		if (next_fd < 0)
			return next_fd;
		vmm_base_close(fd);
		fd = next_fd;
	}
	return TAKE_FD(fd);
}

static int find_host_port(const char *host_ports, uint32_t port, char *path, size_t path_size)
{
	const char *found;
	uint32_t number;
	size_t length;
	int r;

	while ((r = config_next_host_port(&host_ports, &number, &found, &length)) > 0) {
		if (number != port)
			continue;
		if (length >= path_size)
			return -ENAMETOOLONG;
		memcpy(path, found, length);
		path[length] = 0;
		return 0;
	}
	return r < 0 ? r : -EACCES;
}

int vsock_connect_host(const char *host_ports, uint32_t port, bool seqpacket, int *ret_fd)
{
	CLEANUP(close_p) int path_fd = -EBADF, fd = -EBADF;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char path[256];
	int r;

	r = find_host_port(host_ports, port, path, sizeof(path));
	if (r < 0)
		return r;
	path_fd = open_below_run(path);
	if (path_fd < 0)
		return path_fd;
	fd = socket(AF_UNIX,
		(seqpacket ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", path_fd);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int connect_for(
	struct machine *machine, const struct vmm_control_vsock_request *request, int *ret_fd)
{
	const struct vm_config *config = machine->config;

	if (!vsock_budget_take(&machine->vsock, vmm_base_now_nsec() / 1000))
		return -EBUSY;
	if (!config || !config->vsock.enabled.value || !config->vsock.host_ports.value)
		return -EACCES;
	return vsock_connect_host(
		config->vsock.host_ports.value, request->port, request->seqpacket != 0, ret_fd);
}

void vsock_guest_asks(struct machine *machine, const struct vmm_control_vsock_request *request)
{
	struct vmm_control_vsock_answer answer = { .id = request->id };
	struct log_about about = { .name = machine->name, .pid = machine->leader };
	CLEANUP(close_p) int fd = -EBADF;
	int r;

	r = connect_for(machine, request, &fd);
	if (r < 0 && log_limit_ok(&machine->vsock.limit))
		log_line(LOG_INFO, &about, "the guest may not connect to vsock port %u: %s",
			request->port,
			r == -EACCES  ? "it is not among its HostPorts="
			: r == -EBUSY ? "too many in too short a time"
				      : strerror(-r));
	/* Where that fails, the worker gives up by itself after a moment. */
	control_request(machine->control,
		r < 0 ? VMM_CONTROL_REFUSE_VSOCK : VMM_CONTROL_CONNECT_VSOCK, &answer,
		sizeof(answer), fd, NULL, NULL);
}

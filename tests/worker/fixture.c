/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The fixture of all cases, and what several of them do. */
#include "test-worker.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/util.h"

struct worker worker;
struct guest guest;

void setup(void)
{
	guest = (struct guest){ .size = 0 };
	worker = (struct worker){ .pid = -1 };
}

void teardown(void)
{
	if (worker.directory[0])
		worker_finish(&worker);
}

void spin_after(void)
{
	guest_spin(&guest);
}

void add_drive(int fd)
{
	struct vmm_spec_drive *drive = &worker.spec.drives[worker.spec.n_drives++];

	strcpy(drive->id, "root");
	drive->fd = worker_add_fd(&worker, fd);
}

void add_network(int fd)
{
	struct vmm_spec_network *net = &worker.spec.networks[worker.spec.n_networks++];

	strcpy(net->id, "lan");
	net->mac[0] = 2;
	net->n_taps = 1;
	net->tap_fds[0] = worker_add_fd(&worker, fd);
}

int listen_somewhere(struct sockaddr_un *ret_address, socklen_t *ret_length)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*ret_length = sizeof(sa_family_t);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)ret_address, *ret_length), 0);
	*ret_length = sizeof(*ret_address);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)ret_address, ret_length), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	return fd;
}

long resident_kib(pid_t pid)
{
	char path[64], line[256];
	long kib = -1, huge_kib = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "VmRSS: %ld", &kib) != 1)
			sscanf(line, "HugetlbPages: %ld", &huge_kib);
	}
	fclose(file);
	return kib + huge_kib;
}

int set_memory(int control_fd, uint64_t bytes)
{
	struct vmm_control_memory_target target = { .bytes = bytes };
	struct vmm_control_message reply;

	return worker_request(&worker, control_fd, VMM_CONTROL_SET_MEMORY, &target, sizeof(target),
		-EBADF, &reply);
}

int open_console(int control_fd, uint32_t flags, int expected)
{
	struct vmm_control_console console = { .flags = flags };
	struct vmm_control_message reply;
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(worker_request(&worker, control_fd, VMM_CONTROL_OPEN_CONSOLE, &console,
				 sizeof(console), pair[1], &reply),
		expected);
	ck_assert(expected != 0 || reply.console.id != 0);
	vmm_base_close(pair[1]);
	return pair[0];
}

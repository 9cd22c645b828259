/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* full-machine: see full-machine.h. */
#include "full-machine.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "../worker/test-worker.h"

static int open_tap(void)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ioctl(fd, TUNSETIFF, &request), 0);
	return fd;
}

/* A network whose back end has answered what its features are before it is asked, and waits. */
static void add_backend(void)
{
	static const struct {
		uint32_t request, flags, size;
		uint64_t features;
	} __attribute__((packed)) answer = {
		.request = 1, /* GET_FEATURES */
		.flags = 1 | 1 << 2,
		.size = 8,
		.features = UINT64_C(1) << 32, /* VIRTIO_F_VERSION_1 */
	};
	struct vmm_spec_network *network = &worker.spec.networks[worker.spec.n_networks];
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(write(fds[1], &answer, sizeof(answer)), sizeof(answer));
	worker.spec.network_backends[worker.spec.n_networks++].fd = worker_add_fd(&worker, fds[0]);
	*network = (struct vmm_spec_network){ .id = "user", .mac = { 2 } };
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
	add_backend();
	worker.spec.flags = VMM_SPEC_RNG | VMM_SPEC_SHARED_MEMORY;
	worker.spec.vsock_cid = 3;
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

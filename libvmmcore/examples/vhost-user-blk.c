/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost-user-blk SOCKET IMAGE [QUEUES]: a disk for a guest of another program, QEMU say, over
 * vhost-user. Serves one front end after the other until SIGTERM. Started by a socket unit it takes
 * the socket from there, and SOCKET is not looked at. To build: cc -o vhost-user-blk
 * vhost-user-blk.c $(pkg-config --cflags --libs vmmcore)
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <vmmcore/vhost-user-backend.h>
#include <vmmcore/virtio-blk.h>

#define FIRST_PASSED_FD 3

static int check(int r, const char *what)
{
	if (r < 0) {
		fprintf(stderr, "vhost-user-blk: %s: %s\n", what, strerror(-r));
		exit(EXIT_FAILURE);
	}
	return r;
}

static int check_errno(int r, const char *what)
{
	return check(r < 0 ? -errno : r, what);
}

static int listen_on(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *pid = getenv("LISTEN_PID"), *n_fds = getenv("LISTEN_FDS");
	int fd;

	if (pid && n_fds && atoi(pid) == getpid() && atoi(n_fds) == 1) {
		check_errno(fcntl(FIRST_PASSED_FD, F_SETFD, FD_CLOEXEC), "passed socket");
		return FIRST_PASSED_FD;
	}
	if (strlen(path) >= sizeof(address.sun_path))
		check(-ENAMETOOLONG, path);
	strcpy(address.sun_path, path);
	fd = check_errno(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
	unlink(path);
	check_errno(bind(fd, (const struct sockaddr *)&address, sizeof(address)), path);
	check_errno(listen(fd, 4), path);
	return fd;
}

/* A readable descriptor instead of death. */
static int end_by_signal(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	return check_errno(signalfd(-1, &signals, SFD_CLOEXEC), "signalfd");
}

int main(int argc, char **argv)
{
	struct vmm_mem *mem;
	struct vmm_blk_file *file;
	struct vmm_virtio_blk *blk;
	struct vmm_vhost_user_backend *backend;
	int listen_fd, r;

	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: vhost-user-blk SOCKET IMAGE [QUEUES]\n");
		return EXIT_FAILURE;
	}
	int stop_fd = end_by_signal();
	struct vmm_blk_file_config file_config = {
		.fd = check_errno(open(argv[2], O_RDWR | O_CLOEXEC), argv[2]),
	};
	check(vmm_mem_new(&mem), "memory");
	check(vmm_blk_file_new(&file_config, &file), argv[2]);
	struct vmm_virtio_blk_config blk_config = {
		.mem = mem,
		.backend = vmm_blk_file_backend(file),
		.n_queues = argc > 3 ? (unsigned int)atoi(argv[3]) : 1,
	};
	check(vmm_virtio_blk_new(&blk_config, &blk), "disk");
	struct vmm_vhost_user_backend_config config = {
		.device = vmm_virtio_blk_device(blk),
		.mem = mem,
		.stop_fd = stop_fd,
	};
	check(vmm_vhost_user_backend_new(&config, &backend), "back end");

	listen_fd = listen_on(argv[1]);
	for (;;) {
		struct pollfd polls[] = { { stop_fd, POLLIN, 0 }, { listen_fd, POLLIN, 0 } };
		int fd;

		if (poll(polls, 2, -1) < 0 && errno != EINTR)
			break;
		if (polls[0].revents)
			break;
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		r = vmm_vhost_user_backend_serve(backend, fd);
		if (r < 0)
			fprintf(stderr, "vhost-user-blk: front end: %s\n", strerror(-r));
		close(fd);
	}
	vmm_vhost_user_backend_free(backend);
	vmm_virtio_blk_free(blk);
	vmm_blk_file_free(file);
	vmm_mem_free(mem);
	return EXIT_SUCCESS;
}

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

	if (pid && n_fds && atoi(pid) == getpid() && atoi(n_fds) == 1)
		return FIRST_PASSED_FD;
	check(strlen(path) < sizeof(address.sun_path) ? 0 : -ENAMETOOLONG, path);
	strcpy(address.sun_path, path);
	fd = check_errno(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
	unlink(path);
	check_errno(bind(fd, (const struct sockaddr *)&address, sizeof(address)), path);
	check_errno(listen(fd, 4), path);
	return fd;
}

int main(int argc, char **argv)
{
	struct vmm_virtio_blk_config blk_config = { .n_queues = 1 };
	struct vmm_vhost_user_backend_config config = { .stop_fd = -1 };
	struct vmm_blk_file_config file_config = { .fd = -1 };
	struct vmm_vhost_user_backend *backend;
	struct vmm_virtio_blk *blk;
	struct vmm_blk_file *file;
	int listen_fd, fd;
	sigset_t signals;

	check(argc == 3 || argc == 4 ? 0 : -EINVAL, "SOCKET IMAGE [QUEUES]");
	/* A readable descriptor instead of death; before there are threads. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	config.stop_fd = check_errno(signalfd(-1, &signals, SFD_CLOEXEC), "signalfd");

	file_config.fd = check_errno(open(argv[2], O_RDWR | O_CLOEXEC), argv[2]);
	check(vmm_blk_file_new(&file_config, &file), argv[2]);
	check(vmm_mem_new(&config.mem), "memory");
	blk_config.mem = config.mem;
	blk_config.backend = vmm_blk_file_backend(file);
	blk_config.n_queues = argc > 3 ? (unsigned int)atoi(argv[3]) : 1;
	check(vmm_virtio_blk_new(&blk_config, &blk), "disk");
	config.device = vmm_virtio_blk_device(blk);
	check(vmm_vhost_user_backend_new(&config, &backend), "back end");

	listen_fd = listen_on(argv[1]);
	struct pollfd polls[] = { { config.stop_fd, POLLIN, 0 }, { listen_fd, POLLIN, 0 } };
	while (poll(polls, 2, -1) > 0 && !polls[0].revents) {
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0 && vmm_vhost_user_backend_serve(backend, fd) < 0)
			fprintf(stderr, "vhost-user-blk: a front end broke off\n");
		close(fd);
	}
	vmm_vhost_user_backend_free(backend);
	vmm_virtio_blk_free(blk);
	vmm_blk_file_free(file);
	vmm_mem_free(config.mem);
	return EXIT_SUCCESS;
}

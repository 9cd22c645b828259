/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vmmd-serve: runs the server of a drive or share once vmmd has seen what it is going to serve; see
 * serve.h. It takes one connection of the socket that systemd passes, shows what is mounted at PATH
 * there, and becomes the parent of the program of its arguments, which has as descriptor 3 a
 * listening socket of its own, with the one connection that vmmd was given.
 *
 * It ends with the program; and when vmmd connects again, as the connection before is over then:
 * the unit is started anew for that, with what is mounted by then. Not every server ends with its
 * connection.
 */
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/util.h"
#include "worker/message.h"

enum { SERVER_FD = SD_LISTEN_FDS_START };

static int failed(const char *what)
{
	fprintf(stderr, "vmmd-serve: %s: %s\n", what, strerror(errno));
	return -1;
}

/*
 * A listening socket with a connection in its queue. The kernel names it, in a network namespace
 * that the unit has for itself: nobody else connects to it.
 */
static int make_listener(int *ret_listen_fd, int *ret_connection_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t size = sizeof(address.sun_family);
	CLEANUP(close_p) int listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CLEANUP(close_p) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (listen_fd < 0 || fd < 0 || bind(listen_fd, (struct sockaddr *)&address, size) < 0)
		return failed("a socket");
	size = sizeof(address);
	if (listen(listen_fd, 1) < 0 ||
		getsockname(listen_fd, (struct sockaddr *)&address, &size) < 0 ||
		connect(fd, (struct sockaddr *)&address, size) < 0)
		return failed("a connection");
	*ret_listen_fd = TAKE_FD(listen_fd);
	*ret_connection_fd = TAKE_FD(fd);
	return 0;
}

static int take_conversation(int listen_fd)
{
	int fd;

	do
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	return fd < 0 ? failed("vmmd's connection") : fd;
}

/* Shows what path is. 0: vmmd wants it served, over what comes back. */
static int show(int listen_fd, const char *path, int *ret_server_fd)
{
	const struct serve_offer offer = { .magic = SERVE_MAGIC, .version = SERVE_VERSION };
	CLEANUP(close_p) int conversation_fd = take_conversation(listen_fd);
	CLEANUP(close_p) int server_fd = -EBADF, connection_fd = -EBADF, mounted_fd = -EBADF;
	int fds[SERVE_N_FDS];
	char answer;
	ssize_t n;

	if (conversation_fd < 0)
		return -1;
	mounted_fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (mounted_fd < 0)
		return failed(path);
	if (make_listener(&server_fd, &connection_fd) < 0)
		return -1;
	fds[SERVE_FD_MOUNTED] = mounted_fd;
	fds[SERVE_FD_CONNECTION] = connection_fd;
	if (vmm_message_send(conversation_fd, 0, &offer, sizeof(offer), NULL, 0, fds, SERVE_N_FDS) <
		0)
		return failed("vmmd's connection");
	do
		n = recv(conversation_fd, &answer, sizeof(answer), 0);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(answer) || answer != SERVE_GO) {
		fprintf(stderr,
			"vmmd-serve: vmmd does not want what is mounted at %s to be served\n",
			path);
		return -1;
	}
	*ret_server_fd = TAKE_FD(server_fd);
	return 0;
}

static volatile pid_t server;

/* Whom systemd ends is this process alone, where KillMode= says so. */
static void on_terminate(int number)
{
	kill(server, SIGTERM);
}

/* Returns only when the program does not start. */
static int become(int server_fd, const sigset_t *signals, char **argv)
{
	/* It has its own socket in the place of the unit's; all others are O_CLOEXEC. */
	if (dup2(server_fd, SERVER_FD) < 0) {
		failed("its socket");
		return EXIT_FAILURE;
	}
	sigprocmask(SIG_SETMASK, signals, NULL);
	execvp(argv[0], argv);
	failed(argv[0]);
	return EXIT_FAILURE;
}

/* As the program has ended: systemd takes some signals for a good end. */
static int end_as(int status)
{
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	signal(WTERMSIG(status), SIG_DFL);
	raise(WTERMSIG(status));
	return 128 + WTERMSIG(status);
}

/* Until the program ends, or is no longer wanted. */
static int follow(int listen_fd)
{
	CLEANUP(close_p) int pidfd = pidfd_open(server, 0);
	struct pollfd polls[] = {
		{ .fd = pidfd, .events = POLLIN },
		{ .fd = listen_fd, .events = POLLIN },
	};
	bool unwanted;
	int status;

	if (pidfd < 0) {
		failed("the server");
		return EXIT_FAILURE;
	}
	while (poll(polls, ARRAY_SIZE(polls), -1) < 0)
		if (errno != EINTR) {
			failed("poll");
			return EXIT_FAILURE;
		}
	unwanted = !polls[0].revents;
	if (unwanted)
		kill(server, SIGTERM);
	while (waitpid(server, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_FAILURE;
	return unwanted ? EXIT_SUCCESS : end_as(status);
}

/* With the unit's socket out of the place where the program has its own. */
static int take_socket(void)
{
	int fd;

	if (sd_listen_fds(true) != 1 ||
		sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_STREAM, 1) <= 0) {
		fputs("vmmd-serve: it needs one listening unix stream socket from systemd\n",
			stderr);
		return -1;
	}
	fd = fcntl(SD_LISTEN_FDS_START, F_DUPFD_CLOEXEC, SERVER_FD + 1);
	return fd < 0 ? failed("the unit's socket") : fd;
}

int main(int argc, char **argv)
{
	CLEANUP(close_p) int listen_fd = -EBADF, server_fd = -EBADF;
	const struct sigaction forward = { .sa_handler = on_terminate };
	sigset_t terminate, before;

	if (argc < 3 || argv[1][0] != '/') {
		fputs("usage: vmmd-serve PATH PROGRAM [ARGUMENT...]\n", stderr);
		return EXIT_FAILURE;
	}
	listen_fd = take_socket();
	if (listen_fd < 0 || show(listen_fd, argv[1], &server_fd) < 0)
		return EXIT_FAILURE;
	sigemptyset(&terminate);
	sigaddset(&terminate, SIGTERM);
	sigprocmask(SIG_BLOCK, &terminate, &before);
	server = fork();
	if (server < 0) {
		failed("fork");
		return EXIT_FAILURE;
	}
	if (server == 0)
		return become(server_fd, &before, argv + 2);
	server_fd = vmm_base_close(server_fd);
	sigaction(SIGTERM, &forward, NULL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return follow(listen_fd);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vmmd-accept: accepts one connection of the socket that systemd passes, and becomes the program
 * of its arguments, which has the connection as descriptor 3: for programs that take a connection
 * (passt --fd) and no listening socket, in units of which each instance serves one.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

static int failed(const char *what)
{
	fprintf(stderr, "vmmd-accept: %s: %s\n", what, strerror(errno));
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	int fd;

	if (argc < 2) {
		fputs("usage: vmmd-accept PROGRAM [ARGUMENT...]\n", stderr);
		return EXIT_FAILURE;
	}
	if (sd_listen_fds(true) != 1 ||
		sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_STREAM, 1) <= 0) {
		fputs("vmmd-accept: it needs one listening unix stream socket from systemd\n",
			stderr);
		return EXIT_FAILURE;
	}
	do
		fd = accept(SD_LISTEN_FDS_START, NULL, NULL);
	while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	/* The program neither has the listening socket, nor a copy of the connection. */
	if (fd < 0 || dup2(fd, SD_LISTEN_FDS_START) < 0 || close(fd) < 0)
		return failed("the connection");
	execvp(argv[1], argv + 1);
	return failed(argv[1]);
}

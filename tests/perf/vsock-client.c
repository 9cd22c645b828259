/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vsock-client ADDRESS WHAT N: the host's side of the bench guest's vsock server
 * (guest/vsock.c). ADDRESS is the path of a socket that takes "CONNECT PORT", or the CID of a guest
 * that the host's kernel serves. Prints the nanoseconds that it took:
 *
 *	send N         N bytes to the guest in calls of 64 KiB, until it has said that all came
 *	receive N      N bytes from the guest in calls of 64 KiB
 *	pingpong N     one byte there and back, N times
 *	connections N  N connections, one after another, that all stay, and then one byte there and
 *back on each: prints the time of the first part
 */
#include <inttypes.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/util.h"

#define PORT_SINK 1
#define PORT_SOURCE 2
#define PORT_ECHO 3
#define CALL_BYTES 65536
#define MAX_CONNECTIONS 4096

static const char *address;
static uint8_t data[CALL_BYTES];

_Noreturn static void fail(const char *what)
{
	fprintf(stderr, "vsock-client: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static void send_all(int fd, const void *bytes, size_t size)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = send(fd, (const uint8_t *)bytes + at, size - at, MSG_NOSIGNAL);

		if (n < 0)
			fail("sending");
		at += (size_t)n;
	}
}

static size_t receive_some(int fd, size_t most)
{
	ssize_t n = recv(fd, data, most, 0);

	if (n == 0)
		errno = ECONNRESET;
	if (n <= 0)
		fail("receiving");
	return (size_t)n;
}

static int connect_path(uint32_t port)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char line[32];

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", address);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		fail(address);
	snprintf(line, sizeof(line), "CONNECT %" PRIu32 "\n", port);
	send_all(fd, line, strlen(line));
	/* "OK HOSTPORT"; what follows belongs to the guest. */
	do {
		receive_some(fd, 1);
		if (data[0] == 'E')
			fail("the guest refused");
	} while (data[0] != '\n');
	return fd;
}

static int connect_port(uint32_t port)
{
	struct sockaddr_vm to = { .svm_family = AF_VSOCK, .svm_port = port };
	int fd;

	if (address[0] == '/')
		return connect_path(port);
	to.svm_cid = (uint32_t)strtoul(address, NULL, 10);
	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		fail(address);
	return fd;
}

static uint64_t send_stream(uint64_t n)
{
	int fd = connect_port(PORT_SINK);
	uint64_t start = vmm_base_now_nsec();

	send_all(fd, &n, sizeof(n));
	for (uint64_t left = n; left > 0; left -= MIN(left, (uint64_t)CALL_BYTES))
		send_all(fd, data, MIN(left, (uint64_t)CALL_BYTES));
	receive_some(fd, 1);
	return vmm_base_now_nsec() - start;
}

static uint64_t receive_stream(uint64_t n)
{
	int fd = connect_port(PORT_SOURCE);
	uint64_t start = vmm_base_now_nsec();

	send_all(fd, &n, sizeof(n));
	for (uint64_t left = n; left > 0;)
		left -= receive_some(fd, MIN(left, (uint64_t)CALL_BYTES));
	return vmm_base_now_nsec() - start;
}

static void ping_pong(int fd)
{
	send_all(fd, "x", 1);
	receive_some(fd, 1);
	if (data[0] != 'x')
		fail("another byte came back");
}

static uint64_t ping_pongs(uint64_t n)
{
	int fd = connect_port(PORT_ECHO);
	uint64_t start = vmm_base_now_nsec();

	for (uint64_t i = 0; i < n; i++)
		ping_pong(fd);
	return vmm_base_now_nsec() - start;
}

static uint64_t connections(uint64_t n)
{
	struct rlimit limit = { MAX_CONNECTIONS + 64, MAX_CONNECTIONS + 64 };
	static int fds[MAX_CONNECTIONS];
	uint64_t start, taken;

	if (n > MAX_CONNECTIONS || setrlimit(RLIMIT_NOFILE, &limit) < 0)
		fail("so many connections");
	start = vmm_base_now_nsec();
	for (uint64_t i = 0; i < n; i++)
		fds[i] = connect_port(PORT_ECHO);
	taken = vmm_base_now_nsec() - start;
	for (uint64_t i = 0; i < n; i++)
		ping_pong(fds[i]);
	return taken;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		uint64_t (*measure)(uint64_t n);
	} kinds[] = {
		{ "send", send_stream },
		{ "receive", receive_stream },
		{ "pingpong", ping_pongs },
		{ "connections", connections },
	};
	uint64_t n = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;

	for (size_t i = 0; n > 0 && i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(argv[2], kinds[i].name) != 0)
			continue;
		address = argv[1];
		printf("%" PRIu64 "\n", kinds[i].measure(n));
		return EXIT_SUCCESS;
	}
	fprintf(stderr, "usage: vsock-client ADDRESS send|receive|pingpong|connections N\n");
	return EXIT_FAILURE;
}

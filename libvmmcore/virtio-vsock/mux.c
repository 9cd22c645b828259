/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vsock: clients of a unix socket that want to reach the guest. Each says "CONNECT PORT\n"
 * and reads "OK HOSTPORT\n" when the guest has accepted; from then on it is the connection.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/util.h"
#include "virtio-vsock/vsock-internal.h"

#define MAX_CLIENTS 64
#define MAX_LINE_BYTES 32
#define LINE_NSEC (UINT64_C(5) * UINT64_C(1000000000))

struct client {
	struct vmm_vsock_mux *mux;      /* borrowed */
	struct vmm_loop_source *source; /* owned; NULL: the place is free, or the guest is asked */
	int fd;                         /* owned, until the device has it */
	int asked_fd;                   /* borrowed: the device's, while the guest is asked */
	uint32_t host_port;
	bool is_asking;
	uint64_t deadline_nsec;
	size_t length;
	char line[MAX_LINE_BYTES];
};

struct vmm_vsock_mux {
	struct vmm_virtio_vsock *vsock; /* borrowed */
	int fd;                         /* owned */
	struct vmm_loop_source *source; /* owned */
	struct vmm_loop_source *timer;  /* owned */
	unsigned int n_clients;
	struct client clients[MAX_CLIENTS];
};

static void listen_again(struct vmm_vsock_mux *mux)
{
	vmm_loop_source_set_events(mux->source, mux->n_clients < MAX_CLIENTS ? EPOLLIN : 0);
}

static void client_finish(struct client *client)
{
	struct vmm_vsock_mux *mux = client->mux;

	client->source = vmm_loop_source_free(client->source);
	client->fd = vmm_base_close(client->fd);
	client->is_asking = false;
	client->mux = NULL;
	mux->n_clients--;
	listen_again(mux);
}

static void on_opened(void *userdata, bool established)
{
	struct client *client = userdata;
	char text[32];
	int length;

	if (established) {
		length = snprintf(text, sizeof(text), "OK %u\n", client->host_port);
		/* A fresh socket has room for it; a client that is gone will be noticed. */
		if (send(client->asked_fd, text, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			shutdown(client->asked_fd, SHUT_RDWR);
	}
	client_finish(client);
}

/* The port of "CONNECT PORT\n", or -EPROTO. */
static int64_t parse_line(const char *line, size_t length)
{
	static const char verb[] = "CONNECT ";
	size_t at = sizeof(verb) - 1;
	uint64_t port = 0;

	if (length < at + 2 || memcmp(line, verb, at) != 0)
		return -EPROTO;
	for (; at < length - 1; at++) {
		if (line[at] < '0' || line[at] > '9')
			return -EPROTO;
		port = port * 10 + (uint64_t)(line[at] - '0');
		if (port > UINT32_MAX)
			return -EPROTO;
	}
	return (int64_t)port;
}

static void ask_guest(struct client *client, uint32_t port)
{
	int fd = TAKE_FD(client->fd);

	client->source = vmm_loop_source_free(client->source);
	client->asked_fd = fd;
	client->is_asking = true;
	/* on_opened() may run before this returns, with the place free again: look no more. */
	if (vmm_virtio_vsock_open(client->mux->vsock, port, VMM_VSOCK_STREAM, fd, on_opened, client,
		    &client->host_port) < 0)
		client_finish(client);
}

/* Reads the line and not a byte more: what follows is for the guest. */
static int on_client(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct client *client = userdata;
	char *end;
	ssize_t n;

	n = recv(client->fd, client->line + client->length, MAX_LINE_BYTES - client->length,
		MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n > 0) {
		size_t take = (size_t)n;

		end = memchr(client->line + client->length, '\n', (size_t)n);
		if (end)
			take = (size_t)(end + 1 - (client->line + client->length));
		n = recv(client->fd, client->line + client->length, take, MSG_DONTWAIT);
		if (n == (ssize_t)take) {
			int64_t port;

			client->length += take;
			if (!end && client->length < MAX_LINE_BYTES)
				return 0;
			port = end ? parse_line(client->line, client->length) : -EPROTO;
			if (port >= 0) {
				ask_guest(client, (uint32_t)port);
				return 0;
			}
		}
	}
	client_finish(client);
	return 0;
}

static void set_timer(struct vmm_vsock_mux *mux)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < MAX_CLIENTS; i++)
		if (mux->clients[i].source)
			next = MIN(next, mux->clients[i].deadline_nsec);
	vmm_loop_timer_set(mux->timer, next == UINT64_MAX ? 0 : next);
}

static int on_timer(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct vmm_vsock_mux *mux = userdata;
	uint64_t now = vmm_base_now_nsec();

	for (size_t i = 0; i < MAX_CLIENTS; i++)
		if (mux->clients[i].source && mux->clients[i].deadline_nsec <= now)
			client_finish(&mux->clients[i]);
	set_timer(mux);
	return 0;
}

static int on_listen(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct vmm_vsock_mux *mux = userdata;
	struct client *client = mux->clients;
	int fd;

	while (client->mux)
		client++;
	fd = accept4(mux->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return 0;
	*client = (struct client){
		.mux = mux,
		.fd = fd,
		.deadline_nsec = vmm_base_now_nsec() + LINE_NSEC,
	};
	mux->n_clients++;
	if (vmm_loop_add_fd(mux->vsock->loop, fd, EPOLLIN, on_client, client, &client->source) < 0)
		client_finish(client);
	listen_again(mux);
	set_timer(mux);
	return 0;
}

DEFINE_POINTER_CLEANUP(struct vmm_vsock_mux, vmm_vsock_mux_free);

int vmm_vsock_mux_new(struct vmm_virtio_vsock *vsock, int listen_fd, struct vmm_vsock_mux **ret_mux)
{
	CLEANUP(vmm_vsock_mux_free_p) struct vmm_vsock_mux *mux = calloc(1, sizeof(*mux));
	int flags, r;

	if (!mux)
		return -ENOMEM;
	mux->vsock = vsock;
	mux->fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 3);
	if (mux->fd < 0)
		return -errno;
	flags = fcntl(mux->fd, F_GETFL);
	if (flags < 0 || fcntl(mux->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	r = vmm_loop_add_timer(vsock->loop, on_timer, mux, &mux->timer);
	if (r < 0)
		return r;
	r = vmm_loop_add_fd(vsock->loop, mux->fd, EPOLLIN, on_listen, mux, &mux->source);
	if (r < 0)
		return r;
	*ret_mux = TAKE_PTR(mux);
	return 0;
}

struct vmm_vsock_mux *vmm_vsock_mux_free(struct vmm_vsock_mux *mux)
{
	if (!mux)
		return NULL;
	for (size_t i = 0; i < MAX_CLIENTS; i++) {
		struct client *client = &mux->clients[i];

		if (!client->mux)
			continue;
		if (client->is_asking)
			vmm_vsock_cancel(mux->vsock, client);
		else
			client_finish(client);
	}
	vmm_loop_source_free(mux->source);
	vmm_loop_source_free(mux->timer);
	vmm_base_close(mux->fd);
	free(mux);
	return NULL;
}

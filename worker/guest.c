/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* guest: the connections, see guest.h. */
#include "worker/guest.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/util.h"

static void drop(struct guest_client *client)
{
	client->source = vmm_loop_source_free(client->source);
	client->fd = vmm_base_close(client->fd);
}

static void take_message(struct guest_client *client)
{
	struct guest *guest = client->guest;
	bool changed = guest_parse(&guest->facts, client->data, client->n_data);

	client->n_data = 0;
	guest->n_messages++;
	if (changed)
		guest->changed(guest->userdata);
}

/* A stream's message ends with it; one of a sequence is whole. */
static int on_client(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct guest_client *client = userdata;
	ssize_t n = read(
		client->fd, client->data + client->n_data, GUEST_MESSAGE_BYTES - client->n_data);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n > 0)
		client->n_data += (size_t)n;
	if (n > 0 && client->n_data < GUEST_MESSAGE_BYTES)
		return 0;
	/* One that is too long says nothing. */
	if (n == 0)
		take_message(client);
	drop(client);
	return 0;
}

static struct guest_client *find_slot(struct guest *guest)
{
	struct guest_client *first = &guest->clients[0];

	for (size_t i = 0; i < ARRAY_SIZE(guest->clients); i++) {
		struct guest_client *client = &guest->clients[i];

		if (client->fd < 0)
			return client;
		if (client->number < first->number)
			first = client;
	}
	drop(first);
	return first;
}

int guest_connect(struct guest *guest, bool seqpacket)
{
	struct guest_client *client = find_slot(guest);
	CLEANUP(close_p) int theirs = -EBADF;
	int pair[2], r;

	if (socketpair(AF_UNIX,
		    (seqpacket ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		    pair) < 0)
		return -errno;
	theirs = pair[1];
	client->n_data = 0;
	client->number = ++guest->n_clients;
	client->fd = pair[0];
	r = vmm_loop_add_fd(guest->loop, client->fd, EPOLLIN, on_client, client, &client->source);
	if (r < 0) {
		client->fd = vmm_base_close(client->fd);
		return r;
	}
	return TAKE_FD(theirs);
}

void guest_init(
	struct guest *guest, struct vmm_loop *loop, void (*changed)(void *userdata), void *userdata)
{
	for (size_t i = 0; i < ARRAY_SIZE(guest->clients); i++)
		guest->clients[i] = (struct guest_client){
			.guest = guest,
			.fd = -EBADF,
			.data = guest->messages[i],
		};
	guest->loop = loop;
	guest->n_clients = guest->n_messages = 0;
	guest->facts = (struct guest_facts){ .ready = false };
	guest->changed = changed;
	guest->userdata = userdata;
}

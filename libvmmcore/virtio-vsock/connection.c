/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-vsock: the table of connections, who owes the guest a packet, and time limits. */
#include <sys/epoll.h>

#include "base/util.h"
#include "virtio-vsock/vsock-internal.h"

#define NSEC_PER_SEC UINT64_C(1000000000)

static uint32_t index_of(struct vmm_virtio_vsock *vsock, const struct connection *connection)
{
	return (uint32_t)(connection - vsock->connections);
}

static uint32_t *bucket(struct vmm_virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	/* The guest chooses the ports: a multiplication keeps neighbours apart, no more. */
	uint64_t key = (uint64_t)guest_port << 32 | host_port;

	return &vsock->hash[key * UINT64_C(0x9e3779b97f4a7c15) >> 40 & vsock->hash_mask];
}

struct connection *vmm_vsock_find(
	struct vmm_virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	uint32_t at = *bucket(vsock, guest_port, host_port);

	while (at) {
		struct connection *connection = &vsock->connections[at - 1];

		if (connection->guest_port == guest_port && connection->host_port == host_port)
			return connection;
		at = connection->next_hash;
	}
	return NULL;
}

uint64_t vmm_vsock_id(struct vmm_virtio_vsock *vsock, const struct connection *connection)
{
	return (uint64_t)connection->generation << 32 | index_of(vsock, connection);
}

struct connection *vmm_vsock_by_id(struct vmm_virtio_vsock *vsock, uint64_t id)
{
	uint32_t index = (uint32_t)id;
	struct connection *connection;

	if (index >= vsock->n_ever_used)
		return NULL;
	connection = &vsock->connections[index];
	if (connection->state == STATE_FREE || connection->generation != id >> 32)
		return NULL;
	return connection;
}

struct connection *vmm_vsock_add(struct vmm_virtio_vsock *vsock, uint32_t guest_port,
	uint32_t host_port, enum vmm_vsock_type type)
{
	struct connection *connection;
	uint32_t *head;

	if (vsock->first_free) {
		connection = &vsock->connections[vsock->first_free - 1];
		vsock->first_free = connection->next_hash;
	} else if (vsock->n_ever_used < vsock->n_connections_room) {
		connection = &vsock->connections[vsock->n_ever_used++];
	} else {
		return NULL;
	}
	head = bucket(vsock, guest_port, host_port);
	*connection = (struct connection){
		.type = type,
		.guest_port = guest_port,
		.host_port = host_port,
		.fd = -EBADF,
		.generation = connection->generation + 1,
		.next_hash = *head,
		.batch = 1,
	};
	*head = index_of(vsock, connection) + 1;
	__atomic_store_n(&vsock->n_connections, vsock->n_connections + 1, __ATOMIC_RELAXED);
	return connection;
}

static void owing_remove(struct vmm_virtio_vsock *vsock, struct connection *connection)
{
	uint32_t *link = &vsock->first_owing;
	uint32_t previous = 0;

	if (!connection->is_owing)
		return;
	while (*link != index_of(vsock, connection) + 1) {
		previous = *link;
		link = &vsock->connections[*link - 1].next_owing;
	}
	*link = connection->next_owing;
	if (vsock->last_owing == index_of(vsock, connection) + 1)
		vsock->last_owing = previous;
	connection->is_owing = false;
}

/* The socket is closed, and with it leaves the epoll set. */
void vmm_vsock_remove(struct vmm_virtio_vsock *vsock, struct connection *connection)
{
	uint32_t *link = bucket(vsock, connection->guest_port, connection->host_port);
	vmm_vsock_opened opened = connection->opened;
	void *userdata = connection->userdata;

	while (*link != index_of(vsock, connection) + 1)
		link = &vsock->connections[*link - 1].next_hash;
	*link = connection->next_hash;
	owing_remove(vsock, connection);
	vsock->n_starved -= connection->is_starved;
	if (connection->is_watched)
		epoll_ctl(vsock->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
	vmm_base_close(connection->fd);
	vmm_vsock_give_up_ring(vsock, connection);
	connection->state = STATE_FREE;
	connection->fd = -EBADF;
	connection->opened = NULL;
	connection->next_hash = vsock->first_free;
	vsock->first_free = index_of(vsock, connection) + 1;
	__atomic_store_n(&vsock->n_connections, vsock->n_connections - 1, __ATOMIC_RELAXED);
	if (opened)
		opened(userdata, false);
}

void vmm_vsock_remove_all(struct vmm_virtio_vsock *vsock)
{
	for (uint32_t i = 0; i < vsock->n_ever_used; i++)
		if (vsock->connections[i].state != STATE_FREE)
			vmm_vsock_remove(vsock, &vsock->connections[i]);
}

/* Ephemeral ports: 2^31 and up, one after another, so that a port is not soon used again. */
uint32_t vmm_vsock_unused_host_port(struct vmm_virtio_vsock *vsock, uint32_t guest_port)
{
	uint32_t port;

	do
		port = UINT32_C(0x80000000) | vsock->next_host_port++;
	while (port == UINT32_MAX || vmm_vsock_find(vsock, guest_port, port));
	return port;
}

void vmm_vsock_owe(struct vmm_virtio_vsock *vsock, struct connection *connection, uint8_t what)
{
	uint32_t link = index_of(vsock, connection) + 1;

	connection->owed |= what;
	if (connection->is_owing)
		return;
	connection->is_owing = true;
	connection->next_owing = 0;
	if (vsock->last_owing)
		vsock->connections[vsock->last_owing - 1].next_owing = link;
	else
		vsock->first_owing = link;
	vsock->last_owing = link;
}

/* Takes the first of those that owe out of the list, or NULL. */
struct connection *vmm_vsock_next_owing(struct vmm_virtio_vsock *vsock)
{
	struct connection *connection;

	if (!vsock->first_owing)
		return NULL;
	connection = &vsock->connections[vsock->first_owing - 1];
	owing_remove(vsock, connection);
	return connection;
}

/* How many bytes the guest can take. */
uint32_t vmm_vsock_credit(const struct connection *connection)
{
	uint32_t in_flight = connection->sent - connection->guest_fwd_cnt;

	return in_flight < connection->guest_buf_alloc ? connection->guest_buf_alloc - in_flight
						       : 0;
}

/* Has the socket's events in the epoll set as the connection's state asks for. */
void vmm_vsock_watch(struct vmm_virtio_vsock *vsock, struct connection *connection)
{
	struct epoll_event event = { .data.u64 = vmm_vsock_id(vsock, connection) };

	if (connection->fd < 0)
		return;
	if (connection->state == STATE_ESTABLISHED) {
		if (!connection->host_eof && !connection->is_starved &&
			!(connection->guest_shutdown & SHUTDOWN_RECEIVE) &&
			vmm_vsock_credit(connection) >= MAX(connection->need, UINT32_C(1)))
			event.events |= EPOLLIN;
		if (connection->out_bytes > 0)
			event.events |= EPOLLOUT;
	}
	if (connection->is_watched && event.events == connection->watched_events)
		return;
	/*
	 * A hang-up is reported whether asked for or not: a socket of which nothing is wanted
	 * leaves the set, so that it does not wake anybody up for nothing.
	 */
	if (event.events == 0) {
		if (connection->is_watched)
			epoll_ctl(vsock->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
		connection->is_watched = false;
		return;
	}
	if (epoll_ctl(vsock->epoll_fd, connection->is_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
		    connection->fd, &event) < 0) {
		connection->host_eof = true;
		return;
	}
	connection->is_watched = true;
	connection->watched_events = event.events;
}

/* Sets it where it is not set to something earlier. */
void vmm_vsock_set_timer(struct vmm_virtio_vsock *vsock, uint64_t deadline_nsec)
{
	if (vsock->timer_nsec != 0 && vsock->timer_nsec <= deadline_nsec)
		return;
	vsock->timer_nsec = deadline_nsec;
	vmm_loop_timer_set(vsock->timer, deadline_nsec);
}

void vmm_vsock_set_deadline(
	struct vmm_virtio_vsock *vsock, struct connection *connection, uint64_t seconds)
{
	connection->deadline_nsec = seconds > 0 ? vmm_base_now_nsec() + seconds * NSEC_PER_SEC : 0;
	if (seconds > 0)
		vmm_vsock_set_timer(vsock, connection->deadline_nsec);
}

/* The timer fired: ends what took too long, and sets it for what is next. */
void vmm_vsock_expire(struct vmm_virtio_vsock *vsock)
{
	uint64_t now = vmm_base_now_nsec(), next = UINT64_MAX;

	vsock->timer_nsec = 0;
	for (uint32_t i = 0; i < vsock->n_ever_used; i++) {
		struct connection *connection = &vsock->connections[i];

		if (connection->state == STATE_FREE || connection->deadline_nsec == 0)
			continue;
		if (connection->deadline_nsec <= now)
			vmm_vsock_abort(vsock, connection);
		else
			next = MIN(next, connection->deadline_nsec);
	}
	if (next != UINT64_MAX)
		vmm_vsock_set_timer(vsock, next);
}

void vmm_vsock_starve(struct vmm_virtio_vsock *vsock, struct connection *connection)
{
	vsock->n_starved += !connection->is_starved;
	connection->is_starved = true;
	vmm_vsock_watch(vsock, connection);
}

/* Buffers came, or a limit admits something again: the starved ones are looked at anew. */
void vmm_vsock_feed(struct vmm_virtio_vsock *vsock)
{
	for (uint32_t i = 0; vsock->n_starved > 0 && i < vsock->n_ever_used; i++) {
		struct connection *connection = &vsock->connections[i];

		if (connection->state == STATE_FREE || !connection->is_starved)
			continue;
		connection->is_starved = false;
		vsock->n_starved--;
		vmm_vsock_watch(vsock, connection);
	}
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * forward: what vmm-proxy@NAME.service runs: takes the connections of the sockets that systemd
 * passes, starts or resumes the machine on the first, forwards each into the guest by vsock, and
 * pauses or stops the machine and ends when there has been none for a while. The sockets stay with
 * systemd, so the next connection begins anew.
 *
 * A client is answered by nobody but the guest: until that listens, what the client sends waits in
 * its socket. At most MAX_CONNECTIONS are served at a time, more wait in the sockets' queues.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "base/util.h"
#include "guest.h"
#include "relay.h"

#define RETRY_NSEC UINT64_C(50000000)
/* For how long a guest that boots is waited for. */
#define PATIENCE_NSEC UINT64_C(120000000000)

enum {
	MAX_CONNECTIONS = 256,
	MAX_SOCKETS = 16,
};

enum connection_state {
	CONNECTION_NONE,
	CONNECTION_WAITS, /* until retry_nsec */
	CONNECTION_ASKS,  /* the guest has not answered */
	CONNECTION_RELAYS,
};

struct connection {
	enum connection_state state;
	int client_fd, guest_fd; /* owned */
	uint64_t retry_nsec, deadline_nsec;
	struct relay *relay; /* owned */
};

struct forward {
	struct ctl *ctl;
	const char *name;
	uint32_t port;
	int n_sockets;
	size_t n_connections;
	uint64_t idle_nsec; /* since when there is no connection */
	struct connection connections[MAX_CONNECTIONS];
	struct pollfd polls[MAX_SOCKETS + MAX_CONNECTIONS * RELAY_POLLS];
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	ended = number;
}

/* ---- the machine ---- */

static int call_for_job(struct forward *forward, const char *member, const char *how)
{
	struct jobs jobs = {};
	sd_bus_message *reply = NULL;
	const char *path;
	int r = jobs_begin(forward->ctl, &jobs);

	if (r >= 0 && strcmp(member, "StopMachine") == 0)
		r = ctl_call(forward->ctl, forward->name, member, &reply, "sstt", forward->name,
			how, UINT64_C(0), UINT64_C(0));
	else if (r >= 0)
		r = ctl_call(forward->ctl, forward->name, member, &reply, "sst", forward->name, how,
			UINT64_C(0));
	if (r >= 0)
		r = sd_bus_message_read(reply, "o", &path);
	if (r >= 0) {
		jobs_add(&jobs, path, forward->name);
		r = jobs_wait(forward->ctl, &jobs) == EXIT_SUCCESS ? 0 : -EIO;
	}
	sd_bus_message_unref(reply);
	jobs_finish(&jobs);
	return r;
}

/* Brings the machine to where its guest runs, or will. */
static int wake(struct forward *forward)
{
	struct value machine = {};
	const char *state;
	int r = ctl_machine(forward->ctl, forward->name, &machine, NULL);

	if (r < 0)
		return r;
	state = value_get_string(&machine, "State");
	if (strcmp(state, "paused") == 0)
		r = ctl_call(forward->ctl, forward->name, "ResumeMachine", NULL, "st",
			forward->name, UINT64_C(0));
	else if (strcmp(state, "running") != 0)
		r = call_for_job(forward, "StartMachine", "replace");
	value_finish(&machine);
	return r;
}

static void rest(struct forward *forward)
{
	const char *how = forward->ctl->on_idle;

	if (strcmp(how, "stop") == 0)
		call_for_job(forward, "StopMachine", "auto");
	else if (strcmp(how, "pause") == 0)
		ctl_call(forward->ctl, forward->name, "PauseMachine", NULL, "st", forward->name,
			UINT64_C(0));
}

/* ---- connections ---- */

static void close_connection(struct forward *forward, struct connection *connection)
{
	vmm_base_close(connection->client_fd);
	vmm_base_close(connection->guest_fd);
	free(connection->relay);
	*connection = (struct connection){ .client_fd = -EBADF, .guest_fd = -EBADF };
	if (--forward->n_connections == 0)
		forward->idle_nsec = vmm_base_now_nsec();
}

static void ask_guest(struct forward *forward, struct connection *connection, uint64_t now_nsec)
{
	int r = guest_ask(forward->ctl, forward->name, forward->port, true, &connection->guest_fd);

	connection->state = r < 0 ? CONNECTION_WAITS : CONNECTION_ASKS;
	connection->retry_nsec = now_nsec + RETRY_NSEC;
}

static void accept_client(struct forward *forward, int listen_fd)
{
	struct connection *connection = forward->connections;
	CLEANUP(close_p) int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	uint64_t now = vmm_base_now_nsec();

	if (fd < 0)
		return;
	/* The first may find it asleep. Where it cannot be woken, the client sees the end. */
	if (forward->n_connections == 0 && wake(forward) < 0)
		return;
	while (connection->state != CONNECTION_NONE)
		connection++;
	*connection = (struct connection){
		.client_fd = TAKE_FD(fd),
		.guest_fd = -EBADF,
		.deadline_nsec = now + PATIENCE_NSEC,
	};
	forward->n_connections++;
	ask_guest(forward, connection, now);
}

static void read_answer(struct forward *forward, struct connection *connection, uint64_t now_nsec)
{
	int r = guest_read_answer(connection->guest_fd);

	if (r < 0) {
		connection->guest_fd = vmm_base_close(connection->guest_fd);
		connection->state = CONNECTION_WAITS;
		connection->retry_nsec = now_nsec + RETRY_NSEC;
	} else if (r > 0) {
		connection->relay = must_alloc(malloc(sizeof(*connection->relay)));
		relay_begin(connection->relay, connection->client_fd, connection->client_fd,
			connection->guest_fd);
		connection->state = CONNECTION_RELAYS;
	}
}

static void step(struct forward *forward, struct connection *connection, uint64_t now_nsec)
{
	if (connection->state == CONNECTION_WAITS && now_nsec >= connection->retry_nsec)
		ask_guest(forward, connection, now_nsec);
	if (connection->state == CONNECTION_ASKS)
		read_answer(forward, connection, now_nsec);
	if (connection->state == CONNECTION_RELAYS) {
		if (!relay_step(connection->relay))
			close_connection(forward, connection);
	} else if (connection->state != CONNECTION_NONE && now_nsec >= connection->deadline_nsec) {
		ctl_error("%s: nothing in the guest has answered at vsock port %u", forward->name,
			forward->port);
		close_connection(forward, connection);
	}
}

/* ---- the loop ---- */

/* Fills polls and says how many, and for how long to wait. */
static nfds_t fill_polls(struct forward *forward, uint64_t now_nsec, int *ret_msec)
{
	uint64_t until_nsec = now_nsec + UINT64_C(1000000000);
	nfds_t n = 0;

	for (int i = 0; i < forward->n_sockets; i++)
		forward->polls[n++] = (struct pollfd){
			.fd = forward->n_connections < MAX_CONNECTIONS ? SD_LISTEN_FDS_START + i
								       : -1,
			.events = POLLIN,
		};
	for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
		const struct connection *connection = &forward->connections[i];

		if (connection->state == CONNECTION_WAITS)
			until_nsec = MIN(until_nsec, connection->retry_nsec);
		if (connection->state == CONNECTION_ASKS)
			forward->polls[n++] =
				(struct pollfd){ .fd = connection->guest_fd, .events = POLLIN };
		if (connection->state == CONNECTION_RELAYS) {
			relay_poll(connection->relay, &forward->polls[n]);
			n += RELAY_POLLS;
		}
	}
	*ret_msec = until_nsec > now_nsec ? (int)((until_nsec - now_nsec) / 1000000) + 1 : 0;
	return n;
}

static bool is_idle(const struct forward *forward, uint64_t now_nsec)
{
	/* The last one may have ended after now was read. */
	return forward->n_connections == 0 && forward->ctl->idle_usec > 0 &&
	       now_nsec >= forward->idle_nsec + forward->ctl->idle_usec * 1000;
}

static void serve(struct forward *forward)
{
	uint64_t now = vmm_base_now_nsec();

	forward->idle_nsec = now;
	while (!ended && !is_idle(forward, now)) {
		int msec;
		nfds_t n = fill_polls(forward, now, &msec);

		if (poll(forward->polls, n, msec) < 0 && errno != EINTR)
			return;
		for (int i = 0; i < forward->n_sockets; i++)
			if (forward->polls[i].fd >= 0 && forward->polls[i].revents)
				accept_client(forward, forward->polls[i].fd);
		now = vmm_base_now_nsec();
		for (size_t i = 0; i < MAX_CONNECTIONS; i++)
			if (forward->connections[i].state != CONNECTION_NONE)
				step(forward, &forward->connections[i], now);
		/* vmmd's signals are of no interest, but must not pile up. */
		while (sd_bus_process(forward->ctl->bus, NULL) > 0)
			;
	}
	/* Ended from outside, it leaves the machine as it is. */
	if (!ended)
		rest(forward);
}

static int check_sockets(struct forward *forward)
{
	forward->n_sockets = sd_listen_fds(true);
	if (forward->n_sockets < 1 || forward->n_sockets > MAX_SOCKETS) {
		ctl_error("it needs 1 to %d sockets from systemd, see vmm-proxy@.service(8)",
			MAX_SOCKETS);
		return -EINVAL;
	}
	for (int i = 0; i < forward->n_sockets; i++) {
		int fd = SD_LISTEN_FDS_START + i;

		if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0 ||
			fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
			ctl_error("socket %d is no listening stream socket", i + 1);
			return -EINVAL;
		}
	}
	return 0;
}

int verb_forward(struct ctl *ctl, char **arguments)
{
	struct forward *forward = must_alloc(calloc(1, sizeof(*forward)));
	struct sigaction action = { .sa_handler = on_signal };
	char *end;
	unsigned long port = strtoul(arguments[1], &end, 10);
	int status = EXIT_FAILURE;

	*forward = (struct forward){ .ctl = ctl, .port = (uint32_t)port };
	for (size_t i = 0; i < MAX_CONNECTIONS; i++)
		forward->connections[i] =
			(struct connection){ .client_fd = -EBADF, .guest_fd = -EBADF };
	forward->name = ctl_machine_name(arguments[0]);
	if (arguments[1][0] < '0' || arguments[1][0] > '9' || *end != '\0' || port > UINT32_MAX) {
		ctl_error("%s: a port is a number from 0 to %u", arguments[1], UINT32_MAX);
	} else if (strcmp(ctl->on_idle, "pause") != 0 && strcmp(ctl->on_idle, "stop") != 0 &&
		   strcmp(ctl->on_idle, "nothing") != 0) {
		ctl_error("--on-idle=%s: it is pause, stop or nothing", ctl->on_idle);
	} else if (forward->name && check_sockets(forward) == 0 && ctl_connect(ctl) == 0) {
		sigaction(SIGTERM, &action, NULL);
		sigaction(SIGINT, &action, NULL);
		signal(SIGPIPE, SIG_IGN);
		sd_notify(false, "READY=1");
		serve(forward);
		status = EXIT_SUCCESS;
	}
	for (size_t i = 0; i < MAX_CONNECTIONS; i++)
		if (forward->connections[i].state != CONNECTION_NONE)
			close_connection(forward, &forward->connections[i]);
	free(forward);
	return status;
}

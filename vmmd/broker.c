/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* broker: connections, from accept to the hand-over; see broker.h. */
#include "broker.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <systemd/sd-login.h>
#include <time.h>

#include "base/util.h"
#include "error.h"
#include "log.h"
#include "machine.h"
#include "resources.h"
#include "spawn.h"
#include "spec-fill.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

#define SEND_NSEC (UINT64_C(100) * 1000 * 1000)

struct connection {
	struct broker *broker; /* borrowed, outlives us */
	struct connection *next;
	char name[VMM_NAME_SIZE]; /* of the machine whose unit the peer runs in */
	struct peer peer;         /* owned: pidfd */
	bool adopted;             /* made by us: no questions */
	bool serving;             /* it is a worker */
	bool may_try_again;       /* refused, it is no worker's fault */
	uint64_t fingerprint;     /* of the configuration that its resources are opened for */
	int fd;                   /* owned */
	sd_event_source *io;      /* owned */
	sd_event_source *timer;   /* owned */
	void *authentication;     /* the spawner's handle */
	struct resources_request *resources; /* owned */
};

struct broker {
	struct manager *manager;        /* borrowed, outlives us */
	int listen_fd;                  /* owned */
	sd_event_source *listen_source; /* owned */
	sd_event_source *retry_timer;   /* owned */
	struct connection *connections; /* owned */
	unsigned n_connections;
	struct log_limit limit;
};

static void connection_free(struct connection *connection)
{
	struct broker *broker = connection->broker;

	for (struct connection **at = &broker->connections; *at; at = &(*at)->next)
		if (*at == connection) {
			*at = connection->next;
			broker->n_connections--;
			break;
		}
	if (connection->authentication)
		broker->manager->spawner->authenticate_cancel(connection->authentication);
	resources_cancel(connection->resources);
	sd_event_source_disable_unref(connection->io);
	sd_event_source_disable_unref(connection->timer);
	vmm_base_close(connection->fd);
	vmm_base_close(connection->peer.pidfd);
	free(connection);
}

/* A peer that is no worker of ours. It learns no more than that. */
__attribute__((format(printf, 2, 3))) static void refuse_peer(
	struct connection *connection, const char *format, ...)
{
	struct log_about about = { .id = LOG_ID_PEER_REFUSED, .event = "peer-refused" };
	char text[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (log_limit_ok(&connection->broker->limit))
		log_line(LOG_WARNING, &about, "refused a peer on the broker (pid %d, uid %u): %s",
			(int)connection->peer.pid, (unsigned)connection->peer.uid, text);
	vmm_broker_send_refused(connection->fd,
		connection->may_try_again ? VMM_WORKER_EXIT_FAILURE : VMM_WORKER_EXIT_CONFIG,
		"vmmd does not know this process as a worker");
	connection_free(connection);
}

/* A worker that cannot be served: it prints the text, which reaches its unit's log. */
static void refuse_worker(struct connection *connection, int exit_status, const char *text)
{
	struct machine *machine = manager_find(connection->broker->manager, connection->name);
	struct log_about about = {
		.name = connection->name,
		.id = LOG_ID_START_FAILED,
		.event = "refused",
		.pid = connection->peer.pid,
	};

	log_line(LOG_ERR, &about, "not started: %s", text);
	if (machine)
		machine_set_status(machine, "%s", text);
	vmm_broker_send_refused(connection->fd, exit_status, text);
	connection_free(connection);
}

/* ---- the hand-over ---- */

static int hand_over(struct connection *connection, struct machine *machine,
	struct resources_result *result, char *text, size_t text_size)
{
	CLEANUP(free_p) struct vmm_spec *spec = malloc(sizeof(*spec));
	CLEANUP(close_p) int control_fd = -EBADF, vsock_fd = -EBADF;
	int fds[VMM_HANDOVER_MAX_FDS];
	size_t n_fds;
	int r;

	if (!spec)
		return -ENOMEM;
	r = machine_listen_control(machine, &control_fd);
	if (r < 0)
		return r;
	if (machine->config->vsock.enabled.value && !machine->config->vsock.vhost.value)
		r = machine_listen_vsock(machine, &vsock_fd);
	if (r < 0)
		return r;
	n_fds = spec_fill(spec, machine, result,
		&(struct spec_sockets){ .control_fd = control_fd, .vsock_fd = vsock_fd }, fds);
	r = vmm_spec_check(spec, sizeof(*spec), n_fds, text, text_size);
	if (r < 0)
		return r;
	r = vmm_broker_send_handover(connection->fd, spec, fds, n_fds, SEND_NSEC);
	if (r < 0)
		return r;

	machine->handed.valid = true;
	machine->handed.fingerprint = machine->config->fingerprint;
	machine->last_fingerprint = machine->handed.fingerprint;
	machine->handed.memory_bytes = spec->memory_bytes;
	machine->handed.n_cpus = spec->n_cpus;
	machine_changed(machine, MACHINE_CHANGED_CONFIG);
	r = machine_save_handed(machine);
	if (r < 0)
		log_warning("%s: cannot keep its state: %s", machine->name, strerror(-r));
	/* Waits in the socket's queue until the worker accepts. */
	r = machine_connect_control(machine);
	if (r < 0)
		log_warning("%s: no control connection: %s", machine->name, strerror(-r));
	return 0;
}

static void serve(struct connection *connection);

static void resources_done(void *userdata, struct resources_result *result)
{
	struct connection *connection = userdata;
	struct machine *machine = manager_find(connection->broker->manager, connection->name);
	char text[VMM_TEXT_SIZE] = "";
	int r;

	connection->resources = NULL;
	if (!machine || !machine->config) {
		refuse_worker(connection, VMM_WORKER_EXIT_FAILURE, "its configuration has gone");
		return;
	}
	if (result->error < 0) {
		refuse_worker(connection, result->exit_status, result->text);
		return;
	}
	if (machine->config->fingerprint != connection->fingerprint) {
		/* Read anew meanwhile: what was opened is of another machine. */
		serve(connection);
		return;
	}
	machine_log_warnings(machine);
	r = hand_over(connection, machine, result, text, sizeof(text));
	if (r < 0) {
		if (!text[0])
			snprintf(text, sizeof(text), "hand-over failed: %s", strerror(-r));
		refuse_worker(connection, VMM_WORKER_EXIT_FAILURE, text);
		return;
	}
	connection_free(connection);
}

/* The peer is the worker of its machine. */
static void serve(struct connection *connection)
{
	struct manager *manager = connection->broker->manager;
	struct machine *machine;
	int r;

	if (!connection->serving) {
		connection->serving = true;
		sd_event_source_set_enabled(connection->io, SD_EVENT_OFF);
		sd_event_source_set_time_relative(
			connection->timer, UINT64_C(1000000) * BROKER_TOTAL_SEC);
	}
	r = manager_ensure(manager, connection->name, &machine);
	/* What counts is the file as it is now. */
	if (r >= 0)
		r = machine_load(machine);
	if (r < 0) {
		refuse_worker(connection, VMM_WORKER_EXIT_FAILURE, "vmmd is out of memory");
		return;
	}
	if (!machine->defined) {
		refuse_worker(connection, VMM_WORKER_EXIT_CONFIG,
			"no .vm file of its name in /etc/vmm, /run/vmm or /usr/lib/vmm");
		return;
	}
	if (machine->config_error) {
		refuse_worker(connection, VMM_WORKER_EXIT_CONFIG, machine->config_error);
		return;
	}
	machine_set_status(machine, "%s", "");
	connection->fingerprint = machine->config->fingerprint;
	r = resources_open(
		machine, RESOURCES_TAKE, resources_done, connection, &connection->resources);
	if (r < 0)
		refuse_worker(connection, VMM_WORKER_EXIT_FAILURE,
			r == -VMMD_E_LIMITS_EXCEEDED ? "too many machines start at once"
						     : strerror(-r));
}

static void authenticated(void *userdata, int error, const char *text)
{
	struct connection *connection = userdata;

	connection->authentication = NULL;
	if (error < 0) {
		connection->may_try_again = error != -EPERM;
		refuse_peer(connection, "not the main process of vmm@%s.service: %s",
			connection->name, text ? text : strerror(-error));
		return;
	}
	/* With a descriptor of the process, it is certain that all answers were about it. */
	if (connection->peer.pidfd >= 0 &&
		pidfd_send_signal(connection->peer.pidfd, 0, NULL, 0) < 0 && errno == ESRCH) {
		refuse_peer(connection, "it has ended");
		return;
	}
	serve(connection);
}

static void authenticate(struct connection *connection)
{
	struct manager *manager = connection->broker->manager;
	struct machine *machine;
	void *handle;
	int r;

	r = manager_ensure(manager, connection->name, &machine);
	if (r < 0) {
		refuse_peer(connection, "no room for another machine");
		return;
	}
	sd_event_source_set_enabled(connection->io, SD_EVENT_OFF);
	/* authenticated() may free the connection before this returns: then there is no handle. */
	handle = manager->spawner->authenticate(
		machine, &connection->peer, authenticated, connection);
	if (handle)
		connection->authentication = handle;
}

static int on_hello(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct connection *connection = userdata;
	struct vmm_broker_hello hello;
	int r;

	r = vmm_broker_receive_hello(connection->fd, &hello);
	if (r == -EAGAIN)
		return 0;
	if (r == -ECONNRESET) {
		connection_free(connection);
		return 0;
	}
	if (r < 0) {
		refuse_peer(connection, "not a worker's greeting: %s", strerror(-r));
		return 0;
	}
	if (strcmp(hello.name, connection->name) != 0) {
		refuse_peer(connection, "vmm@%s.service says that it is \"%s\"", connection->name,
			hello.name);
		return 0;
	}
	if (connection->adopted)
		serve(connection);
	else
		authenticate(connection);
	return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct connection *connection = userdata;

	if (connection->serving) {
		refuse_worker(
			connection, VMM_WORKER_EXIT_FAILURE, "its resources took too long to open");
		return 0;
	}
	connection->may_try_again = true;
	refuse_peer(connection, "too slow");
	return 0;
}

/* ---- connections ---- */

static int connection_new(struct broker *broker, int *fd, struct connection **ret)
{
	sd_event *event = broker->manager->event;
	struct connection *connection = malloc(sizeof(*connection));
	int r;

	if (!connection)
		return -ENOMEM;
	*connection = (struct connection){
		.broker = broker,
		.fd = TAKE_FD(*fd),
		.peer = { .pidfd = -EBADF },
	};
	r = sd_event_add_io(event, &connection->io, connection->fd, EPOLLIN, on_hello, connection);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &connection->timer, CLOCK_MONOTONIC,
			UINT64_C(1000000) * BROKER_HELLO_SEC, 10000, on_deadline, connection);
	connection->next = broker->connections;
	broker->connections = connection;
	broker->n_connections++;
	if (r < 0) {
		connection_free(connection);
		return r;
	}
	*ret = connection;
	return 0;
}

/* The machine whose unit pid runs in. */
static int machine_of_pid(pid_t pid, char name[VMM_NAME_SIZE])
{
	CLEANUP(free_p) char *unit = NULL;
	int r;

	r = sd_pid_get_unit(pid, &unit);
	if (r < 0)
		return r;
	return machine_name_of_unit(unit, name) ? 0 : -ENXIO;
}

static void new_peer(struct broker *broker, int *fd)
{
	struct connection *connection;
	struct ucred cred;
	socklen_t size = sizeof(cred);
	int pidfd = -EBADF, r;

	r = connection_new(broker, fd, &connection);
	if (r < 0) {
		log_error("broker: %s", strerror(-r));
		return;
	}
	if (getsockopt(connection->fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0 ||
		cred.pid <= 0) {
		refuse_peer(connection, "no credentials");
		return;
	}
	connection->peer.pid = cred.pid;
	connection->peer.uid = cred.uid;
	size = sizeof(pidfd);
	if (getsockopt(connection->fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
		connection->peer.pidfd = pidfd;
	/* At once: strangers take no place that workers need. */
	r = machine_of_pid(cred.pid, connection->name);
	if (r < 0) {
		refuse_peer(connection, "not in a unit of a machine");
	} else if (broker->n_connections > BROKER_MAX_CONNECTIONS) {
		connection->may_try_again = true;
		refuse_peer(connection, "more than %d at once", BROKER_MAX_CONNECTIONS);
	}
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct broker *broker = userdata;

	broker->retry_timer = sd_event_source_unref(broker->retry_timer);
	return sd_event_source_set_enabled(broker->listen_source, SD_EVENT_ON);
}

static int on_connect(sd_event_source *source, int listen_fd, uint32_t events, void *userdata)
{
	struct broker *broker = userdata;
	CLEANUP(close_p) int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0) {
		new_peer(broker, &fd);
		return 0;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return 0;
	/* No descriptors, no memory: they wait in the queue meanwhile. */
	log_error("broker: %s", strerror(errno));
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return sd_event_add_time_relative(broker->manager->event, &broker->retry_timer,
		CLOCK_MONOTONIC, 100 * 1000, 10000, on_retry, broker);
}

bool broker_is_busy(const struct broker *broker)
{
	return broker->n_connections > 0;
}

int broker_adopt(struct broker *broker, struct machine *machine, int *fd)
{
	struct connection *connection;
	int r;

	r = connection_new(broker, fd, &connection);
	if (r < 0)
		return r;
	connection->adopted = true;
	connection->peer.pid = machine->leader;
	memcpy(connection->name, machine->name, sizeof(connection->name));
	return 0;
}

int broker_new(struct manager *manager, int *listen_fd, struct broker **ret)
{
	struct broker *broker = malloc(sizeof(*broker));
	int r = 0;

	if (!broker)
		return -ENOMEM;
	*broker = (struct broker){ .manager = manager, .listen_fd = TAKE_FD(*listen_fd) };
	if (broker->listen_fd >= 0)
		r = sd_event_add_io(manager->event, &broker->listen_source, broker->listen_fd,
			EPOLLIN, on_connect, broker);
	if (r < 0) {
		broker_free(broker);
		return r;
	}
	*ret = broker;
	return 0;
}

struct broker *broker_free(struct broker *broker)
{
	if (!broker)
		return NULL;
	while (broker->connections)
		connection_free(broker->connections);
	sd_event_source_disable_unref(broker->listen_source);
	sd_event_source_disable_unref(broker->retry_timer);
	vmm_base_close(broker->listen_fd);
	free(broker);
	return NULL;
}

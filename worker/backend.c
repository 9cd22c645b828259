/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* backend: see backend.h. */
#include "worker/backend.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/util.h"
#include "worker/machine.h"

#define NSEC_PER_MSEC UINT64_C(1000000)
#define ASK_AGAIN_NSEC (200 * NSEC_PER_MSEC)
/* vmmd has a child try for a moment. */
#define ANSWER_NSEC (10000 * NSEC_PER_MSEC)

/* VIRTIO 1.2, 5.1.3 */
#define NET_F_MAC (UINT64_C(1) << 5)

/* ---- in the device's thread ---- */

static int enter_thread(void *userdata)
{
	struct machine_virtio *virtio = userdata;
	char name[16];

	snprintf(name, sizeof(name), "vhost %.9s", virtio->id);
	prctl(PR_SET_NAME, name);
	return sandbox_enter_thread(&virtio->machine->sandbox, SANDBOX_VHOST);
}

static int take_connection(void *userdata)
{
	struct machine_virtio *virtio = userdata;
	struct backend *backend = &virtio->backend;
	int fd;

	pthread_mutex_lock(&backend->lock);
	fd = TAKE_FD(backend->fd);
	backend->wanted = fd < 0;
	pthread_mutex_unlock(&backend->lock);
	if (fd >= 0)
		return fd;
	vmm_loop_event_signal(virtio->machine->backends);
	return -EAGAIN;
}

static void on_changed(void *userdata, bool connected)
{
	struct machine_virtio *virtio = userdata;
	struct backend *backend = &virtio->backend;

	pthread_mutex_lock(&backend->lock);
	backend->is_connected = connected;
	pthread_mutex_unlock(&backend->lock);
	vmm_loop_event_signal(virtio->machine->backends);
}

/* ---- the loop's side ---- */

/*
 * Who serves the device, and where that says what is wrong with it: a program that does not start
 * is seen from here as a connection that ends.
 */
static void name_server(const struct machine_virtio *virtio, char *text, size_t size)
{
	bool is_share = virtio->kind == VMM_DEVICE_SHARE;

	if (virtio->backend.has_unit)
		snprintf(text, size, "%s (journalctl -u vmm-%s@%s:%s.service says why)",
			is_share ? "virtiofsd" : "qemu-storage-daemon",
			is_share ? "share" : "drive", virtio->machine->name, virtio->id);
	else
		snprintf(text, size, "the back end at its socket (its own log says why)");
}

static void say_changed(struct machine_virtio *virtio, bool connected)
{
	struct machine *machine = virtio->machine;

	virtio->backend.said_connected = connected;
	log_message(&machine->log, connected ? LOG_PRIORITY_INFO : LOG_PRIORITY_WARNING,
		(struct log_about){ .id = LOG_ID_BACKEND,
			.event = connected ? "backend-back" : "backend-gone",
			.device = virtio->id },
		"The back end of %s %s", virtio->id,
		connected ? "is there again." : "has gone; its requests wait.");
	control_event(machine, connected ? VMM_EVENT_BACKEND_BACK : VMM_EVENT_BACKEND_GONE,
		(int32_t)virtio->kind, virtio->id);
}

/* The device has told the guest already, and errors.c tells clients. */
static void check_failed(struct machine_virtio *virtio)
{
	struct machine *machine = virtio->machine;
	struct vmm_virtio_vhost_status status;
	char server[160];

	vmm_virtio_vhost_get_status(virtio->backend.vhost, &status);
	if (status.failed == virtio->backend.said_failed)
		return;
	virtio->backend.said_failed = status.failed;
	if (!status.failed)
		return;
	name_server(virtio, server, sizeof(server));
	log_message(&machine->log, LOG_PRIORITY_ERROR,
		(struct log_about){
			.id = LOG_ID_BACKEND, .event = "backend-failed", .device = virtio->id },
		"Device %s has failed: %s has not come back in time.", virtio->id, server);
}

static void ask(struct machine_virtio *virtio, uint64_t now_nsec)
{
	struct backend *backend = &virtio->backend;
	struct machine *machine = virtio->machine;
	struct vmm_control_backend_request request = { .kind = virtio->kind };

	if (now_nsec < backend->ask_nsec)
		return;
	request.id = ++machine->last_backend_question;
	memcpy(request.device, virtio->id, sizeof(request.device));
	if (control_ask_backend(machine, &request)) {
		backend->question = request.id;
		backend->ask_nsec = now_nsec + ANSWER_NSEC;
	} else {
		backend->ask_nsec = now_nsec + ASK_AGAIN_NSEC;
	}
}

static int on_backends(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct machine *machine = userdata;
	uint64_t now_nsec = vmm_base_now_nsec();

	for (size_t i = 0; i < machine->n_virtio; i++) {
		struct machine_virtio *virtio = &machine->virtio[i];
		struct backend *backend = &virtio->backend;
		bool wanted, connected;

		if (!machine_virtio_is_live(virtio) || !backend->vhost || !backend->is_user)
			continue;
		pthread_mutex_lock(&backend->lock);
		wanted = TAKE(backend->wanted, false);
		connected = backend->is_connected;
		pthread_mutex_unlock(&backend->lock);
		if (connected != backend->said_connected)
			say_changed(virtio, connected);
		check_failed(virtio);
		if (wanted)
			ask(virtio, now_nsec);
	}
	return 0;
}

int backend_answer(struct machine *machine, uint64_t id, int fd)
{
	CLEANUP(close_p) int owned_fd = fd < 0 ? -EBADF : fd;
	struct backend *backend = NULL;
	struct stat status;

	for (size_t i = 0; i < machine->n_virtio; i++)
		if (machine_virtio_is_live(&machine->virtio[i]) &&
			machine->virtio[i].backend.vhost &&
			machine->virtio[i].backend.question == id)
			backend = &machine->virtio[i].backend;
	if (!backend || id == 0)
		return -ENOENT;
	backend->question = 0;
	backend->ask_nsec = vmm_base_now_nsec() + ASK_AGAIN_NSEC;
	if (owned_fd < 0)
		return 0;
	if (fstat(owned_fd, &status) < 0 || !S_ISSOCK(status.st_mode))
		return -ENOTSOCK;
	pthread_mutex_lock(&backend->lock);
	vmm_base_close(backend->fd);
	backend->fd = TAKE_FD(owned_fd);
	pthread_mutex_unlock(&backend->lock);
	return 0;
}

int backend_start(struct machine *machine)
{
	int r = vmm_loop_add_event(machine->loop, on_backends, machine, &machine->backends);

	return r < 0 ? machine_fail_host(machine, r, "back ends") : 0;
}

void backend_describe(const struct machine_virtio *virtio, struct vmm_control_device *device)
{
	const struct backend *backend = &virtio->backend;
	struct vmm_virtio_vhost_status status;

	vmm_virtio_vhost_get_status(backend->vhost, &status);
	device->flags |= backend->is_user ? VMM_DEVICE_VHOST_USER : VMM_DEVICE_VHOST;
	if (!status.connected)
		device->flags |= VMM_DEVICE_DISCONNECTED;
	if (status.failed)
		device->flags |= VMM_DEVICE_FAILED;
	if (backend->is_user)
		device->in_ops = status.n_connected;
}

/* ---- the devices ---- */

/* In words for who wrote the .vm file. */
static int fail(const struct machine_virtio *virtio, const char *what, int r)
{
	struct machine *machine = virtio->machine;
	char server[160];

	name_server(virtio, server, sizeof(server));
	switch (r) {
	case -ENOTSUP:
		return machine_fail_config(machine,
			"%s %s: its back end lacks what a guest needs of it", what, virtio->id);
	case -EPROTO:
		return machine_fail_config(machine,
			"%s %s: what its socket leads to is no vhost-user back end of that kind",
			what, virtio->id);
	case -ECONNRESET:
	case -EPIPE:
		return machine_fail_host(
			machine, r, "%s %s: %s has ended the connection", what, virtio->id, server);
	case -ETIMEDOUT:
		return machine_fail_host(
			machine, r, "%s %s: %s does not answer", what, virtio->id, server);
	default:
		return machine_fail_host(machine, r, "%s %s: its back end", what, virtio->id);
	}
}

/* fd is a connection; a copy of it is kept. */
static int add_user(struct machine_virtio *virtio, const char *what, bool has_unit,
	struct vmm_virtio_vhost_config *config, int fd, uint32_t reconnect_msec)
{
	struct machine *machine = virtio->machine;
	struct backend *backend = &virtio->backend;
	int r;

	*backend = (struct backend){ .fd = -EBADF, .is_user = true, .has_unit = has_unit };
	pthread_mutex_init(&backend->lock, NULL);
	backend->is_connected = backend->said_connected = true;
	backend->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (backend->fd < 0)
		return machine_fail_host(machine, -errno, "%s %s", what, virtio->id);
	config->mem = machine->mem;
	config->connect = take_connection;
	config->changed = on_changed;
	config->thread_start = enter_thread;
	config->userdata = virtio;
	config->reconnect_nsec = reconnect_msec * NSEC_PER_MSEC;
	r = vmm_virtio_vhost_new(config, &backend->vhost);
	if (r < 0)
		return fail(virtio, what, r);
	virtio->device = vmm_virtio_vhost_device(backend->vhost);
	return machine_add_transport(machine, virtio);
}

int backend_add_drive(struct machine *machine, const struct vmm_spec_drive *drive,
	const struct vmm_spec_backend *backend)
{
	struct machine_virtio *virtio = machine_new_virtio(machine, drive->id);
	CLEANUP(close_p) int fd = machine_take_fd(machine, drive->fd);
	struct vmm_virtio_vhost_config config = {
		.device_type = VMM_VHOST_BLK,
		.n_queues = drive->n_queues,
		.queue_size = drive->queue_size,
	};

	virtio->kind = VMM_DEVICE_DRIVE;
	virtio->drive = drive;
	return add_user(virtio, "drive", drive->flags & VMM_DRIVE_UNIT, &config, fd,
		backend->reconnect_msec);
}

/* What the kernel serves: a network, or the vsock. */
static int add_kernel(
	struct machine_virtio *virtio, const char *what, struct vmm_virtio_vhost_config *config)
{
	struct machine *machine = virtio->machine;
	struct backend *backend = &virtio->backend;
	int r;

	*backend = (struct backend){ .fd = -EBADF };
	pthread_mutex_init(&backend->lock, NULL);
	config->mem = machine->mem;
	config->thread_start = enter_thread;
	config->userdata = virtio;
	r = vmm_virtio_vhost_new(config, &backend->vhost);
	if (r == -ENOTTY)
		return machine_fail_config(machine, "%s: its vhost is none", what);
	if (r == -EADDRINUSE)
		return machine_fail_config(machine, "%s: its CID is in use on this host", what);
	if (r < 0)
		return machine_fail_host(machine, r, "%s: vhost", what);
	virtio->device = vmm_virtio_vhost_device(backend->vhost);
	return machine_add_transport(machine, virtio);
}

static void close_all(const int *fds, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		vmm_base_close(fds[i]);
}

static int add_kernel_network(struct machine_virtio *virtio, struct vmm_virtio_vhost_config *config,
	const struct vmm_spec_network *network)
{
	struct machine *machine = virtio->machine;
	char what[64];
	int r;

	static_assert(VMM_SPEC_MAX_TAPS <= VMM_VHOST_MAX_PAIRS, "a pair each");
	snprintf(what, sizeof(what), "network %s", virtio->id);
	config->n_pairs = network->n_taps;
	for (unsigned int i = 0; i < network->n_taps; i++) {
		config->vhost_fds[i] = machine_take_fd(machine, network->vhost_fds[i]);
		config->tap_fds[i] = machine_take_fd(machine, network->tap_fds[i]);
	}
	r = add_kernel(virtio, what, config);
	/* It has duplicates. */
	close_all(config->vhost_fds, network->n_taps);
	close_all(config->tap_fds, network->n_taps);
	return r;
}

int backend_add_vsock(struct machine *machine)
{
	CLEANUP(close_p) int fd = machine_take_fd(machine, machine->spec->vsock_vhost_fd);
	struct vmm_virtio_vhost_config config = {
		.device_type = VMM_VHOST_VSOCK,
		.vhost_fds = { fd },
		.cid = machine->spec->vsock_cid,
	};

	return add_kernel(machine_new_virtio(machine, "vsock"), "vsock", &config);
}

int backend_add_network(struct machine *machine, const struct vmm_spec_network *network,
	const struct vmm_spec_backend *backend)
{
	struct machine_virtio *virtio = machine_new_virtio(machine, network->id);
	CLEANUP(close_p) int fd = machine_take_fd(machine, backend->fd);
	struct vmm_virtio_vhost_config config = {
		.device_type = VMM_VHOST_NET,
		.queue_size = network->queue_size,
		.config_space = network->mac,
		.config_size_bytes = sizeof(network->mac),
		.extra_features = NET_F_MAC,
	};

	virtio->kind = VMM_DEVICE_NETWORK;
	if (fd < 0)
		return add_kernel_network(virtio, &config, network);
	return add_user(virtio, "network", false, &config, fd, backend->reconnect_msec);
}

int backend_add_share(struct machine *machine, const struct vmm_spec_share *share)
{
	struct machine_virtio *virtio = machine_new_virtio(machine, share->id);
	CLEANUP(close_p) int fd = machine_take_fd(machine, share->fd);
	struct vmm_virtio_vhost_config config = {
		.device_type = VMM_VHOST_FS,
		.queue_size = share->queue_size,
	};

	static_assert(sizeof(share->id) <= sizeof(config.tag), "each name is a tag");
	snprintf(config.tag, sizeof(config.tag), "%s", share->id);
	virtio->kind = VMM_DEVICE_SHARE;
	return add_user(
		virtio, "share", share->flags & VMM_SHARE_UNIT, &config, fd, share->reconnect_msec);
}

void backend_free(struct machine_virtio *virtio)
{
	struct backend *backend = &virtio->backend;

	if (!backend->vhost)
		return;
	backend->vhost = vmm_virtio_vhost_free(backend->vhost);
	backend->fd = vmm_base_close(backend->fd);
	pthread_mutex_destroy(&backend->lock);
}

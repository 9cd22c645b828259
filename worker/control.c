/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* control: see control.h. */
#include "worker/control.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/util.h"
#include "worker/machine.h"

/* How many requests of one client are answered before the others get their turn. */
#define MAX_REQUESTS 16

static void drop_client(struct control_client *client)
{
	client->source = vmm_loop_source_free(client->source);
	client->fd = vmm_base_close(client->fd);
	client->waiting.id = 0;
}

static void reply(struct control_client *client, const struct vmm_control_header *request,
	const void *payload, size_t size)
{
	if (vmm_control_send_reply(client->fd, request, payload, size) < 0)
		drop_client(client);
}

static void refuse(struct control_client *client, const struct vmm_control_header *request,
	int result, const char *text)
{
	if (vmm_control_send_failure(client->fd, request, result, text) < 0)
		drop_client(client);
}

/* result 0 or a negative errno. */
static void answer(struct control_client *client, const struct vmm_control_header *request,
	int result, const char *text)
{
	if (result < 0)
		refuse(client, request, result, text);
	else
		reply(client, request, NULL, 0);
}

/* ---- requests ---- */

static void get_status(struct control_client *client, const struct vmm_control_message *message)
{
	struct machine *machine = client->machine;
	struct vmm_control_status status = {
		.state = machine->life.state,
		.end = machine->life.end,
		.n_cpus = machine->spec->n_cpus,
		.transport = machine->spec->transport,
		.n_drives = machine->spec->n_drives,
		.n_networks = machine->spec->n_networks,
		.n_consoles = console_n_clients(&machine->console),
		.n_button_presses = machine->life.n_presses,
		.memory_bytes = machine->spec->memory_bytes,
		.start_usec = machine->start_nsec / 1000,
		.ready_usec = machine->ready_nsec / 1000,
	};

	machine_text(machine, status.text, sizeof(status.text));
	reply(client, &message->header, &status, sizeof(status));
}

static void pause_machine(struct control_client *client, const struct vmm_control_message *message)
{
	int r;

	if (client->waiting.id != 0) {
		refuse(client, &message->header, -EALREADY, "a pause is under way");
		return;
	}
	r = machine_pause(client->machine);
	if (r == 1) {
		client->waiting = message->header;
		return;
	}
	answer(client, &message->header, r,
		r == -EALREADY ? "the machine is paused" : "the machine cannot be paused now");
}

static void open_console(struct control_client *client, const struct vmm_control_message *message,
	struct vmm_control_fds *fds)
{
	struct machine *machine = client->machine;
	struct vmm_control_console console = message->console;
	int r;

	r = console_attach(&machine->console, fds->fds[0], console.flags, &console.id);
	if (r < 0) {
		refuse(client, &message->header, r,
			r == -EBUSY    ? "somebody writes to the console already"
			: r == -EUSERS ? "too many are attached to the console"
				       : "the descriptor is no socket or terminal");
		return;
	}
	fds->fds[0] = -EBADF;
	reply(client, &message->header, &console, sizeof(console));
}

/* A disk. */
static struct machine_virtio *need_drive(
	struct control_client *client, const struct vmm_control_header *request, const char *id)
{
	struct machine_virtio *virtio = machine_find_drive(client->machine, id);

	if (!virtio) {
		refuse(client, request, -ENODEV, "there is no such drive");
		return NULL;
	}
	if (virtio->pmem) {
		refuse(client, request, -EOPNOTSUPP, "the drive is persistent memory");
		return NULL;
	}
	if (!virtio->blk) {
		refuse(client, request, -EOPNOTSUPP, "that is for the drive's back end to know");
		return NULL;
	}
	return virtio;
}

static void set_rate(struct control_client *client, const struct vmm_control_message *message)
{
	const struct vmm_control_set_rate *set = &message->set_rate;
	struct machine_virtio *virtio;

	if (set->kind == VMM_DEVICE_DRIVE)
		virtio = machine_find_drive(client->machine, set->id);
	else
		virtio = machine_find_network(client->machine, set->id);
	if (!virtio)
		refuse(client, &message->header, -ENODEV,
			set->kind == VMM_DEVICE_DRIVE ? "there is no such drive"
						      : "there is no such network");
	else if (virtio->pmem)
		refuse(client, &message->header, -EOPNOTSUPP, "persistent memory has no limits");
	else
		answer(client, &message->header, machine_set_rate(virtio, set),
			virtio->backend.vhost
				? "it is served by a back end, which alone could have limits"
				: "a burst without a rate, or a limit that is out of range");
}

static void get_device(struct control_client *client, const struct vmm_control_message *message)
{
	struct vmm_control_device device;

	machine_get_device(client->machine, message->index.index, &device);
	reply(client, &message->header, &device, sizeof(device));
}

static void resize_drive(struct control_client *client, const struct vmm_control_message *message)
{
	struct machine_virtio *virtio = need_drive(client, &message->header, message->drive.id);
	struct vmm_virtio_blk_status status;
	int r;

	if (!virtio)
		return;
	/* The file was resized by whoever owns it; the worker changes no file's size. */
	r = vmm_virtio_blk_resize(virtio->blk);
	vmm_virtio_blk_get_status(virtio->blk, &status);
	if (r >= 0 && message->drive.size_bytes != 0 &&
		message->drive.size_bytes != status.capacity_bytes)
		r = -ERANGE;
	answer(client, &message->header, MIN(r, 0), "the file does not have that size");
}

static void get_drive(struct control_client *client, const struct vmm_control_message *message)
{
	struct machine_virtio *virtio = need_drive(client, &message->header, message->drive.id);
	struct vmm_control_drive_stats stats = { .id = "" };
	struct vmm_virtio_blk_status status;

	if (!virtio)
		return;
	vmm_virtio_blk_get_status(virtio->blk, &status);
	memcpy(stats.id, message->drive.id, sizeof(stats.id));
	if (strcmp(status.engine, "io_uring") == 0)
		stats.engine = VMM_ENGINE_IO_URING;
	else if (strcmp(status.engine, "threads") == 0)
		stats.engine = VMM_ENGINE_THREADS;
	stats.flags = virtio->drive->flags;
	stats.size_bytes = status.capacity_bytes;
	stats.read_ops = status.n_reads;
	stats.read_bytes = status.read_bytes;
	stats.write_ops = status.n_writes;
	stats.write_bytes = status.written_bytes;
	stats.flush_ops = status.n_flushes;
	stats.errors = status.n_failed;
	reply(client, &message->header, &stats, sizeof(stats));
}

static void get_stats(struct control_client *client, const struct vmm_control_message *message)
{
	struct vcpus *vcpus = &client->machine->vcpus;
	struct vmm_control_stats stats = {
		.time_usec = vmm_base_now_nsec() / 1000,
		.n_cpus = vcpus->n_vcpus,
	};

	for (uint32_t i = 0; i < vcpus->n_vcpus; i++)
		stats.exits[i] =
			atomic_load_explicit(&vcpus->vcpus[i].n_exits, memory_order_relaxed);
	reply(client, &message->header, &stats, sizeof(stats));
}

static void get_memory(struct control_client *client, const struct vmm_control_message *message)
{
	struct vmm_control_memory memory;

	memory_get(client->machine, &memory);
	reply(client, &message->header, &memory, sizeof(memory));
}

static void set_memory(struct control_client *client, const struct vmm_control_message *message)
{
	int r = memory_set(client->machine, message->memory_target.bytes);

	answer(client, &message->header, r,
		r == -EOPNOTSUPP ? "the machine has no balloon, or no memory to plug, for that"
		: r == -ERANGE   ? "that is more than the machine can have"
				 : "that is not whole pages, or blocks of 2 MiB or a huge page");
}

void control_answer_waiter(const struct control_waiter *waiter, int result, const char *text)
{
	if (waiter->client->fd >= 0 && waiter->client->serial == waiter->serial)
		answer(waiter->client, &waiter->header, result, text);
}

/* Attach and detach: they are answered when it is done, or refused. */
static void plug(struct control_client *client, const struct vmm_control_message *message,
	struct vmm_control_fds *fds)
{
	const struct control_waiter waiter = {
		.client = client,
		.serial = client->serial,
		.header = message->header,
	};
	struct machine *machine = client->machine;
	const char *text = "";
	int r;

	switch (message->header.type) {
	case VMM_CONTROL_ATTACH_DRIVE:
		r = hotplug_attach_drive(machine, &message->attach_drive, fds, &waiter, &text);
		break;
	case VMM_CONTROL_ATTACH_NETWORK:
		r = hotplug_attach_network(machine, &message->attach_network, fds, &waiter, &text);
		break;
	default:
		r = hotplug_detach(machine, &message->detach, &waiter, &text);
		break;
	}
	if (r < 0)
		refuse(client, &message->header, r, text);
}

/* What the worker has asked for: a connection, or that there is none. */
static void settle(struct control_client *client, const struct vmm_control_message *message,
	struct vmm_control_fds *fds)
{
	const struct vmm_control_header *header = &message->header;
	struct machine *machine = client->machine;

	switch (header->type) {
	case VMM_CONTROL_CONNECT_VSOCK:
		answer(client, header,
			vsock_answer(
				&machine->vsock, message->vsock_answer.id, TAKE_FD(fds->fds[0])),
			"the guest no longer waits for it, or it is no socket");
		break;
	case VMM_CONTROL_REFUSE_VSOCK:
		answer(client, header,
			vsock_answer(&machine->vsock, message->vsock_answer.id, -ECONNREFUSED),
			"the guest no longer waits for it");
		break;
	case VMM_CONTROL_CONNECT_BACKEND:
		answer(client, header,
			backend_answer(machine, message->backend_answer.id, TAKE_FD(fds->fds[0])),
			"the device no longer waits for it, or it is no socket");
		break;
	default:
		answer(client, header, backend_answer(machine, message->backend_answer.id, -EBADF),
			"the device no longer waits for it");
		break;
	}
}

static void handle(struct control_client *client, const struct vmm_control_message *message,
	struct vmm_control_fds *fds)
{
	const struct vmm_control_header *header = &message->header;
	struct machine *machine = client->machine;

	switch (header->type) {
	case VMM_CONTROL_GET_STATUS:
		get_status(client, message);
		break;
	case VMM_CONTROL_PAUSE:
		pause_machine(client, message);
		break;
	case VMM_CONTROL_RESUME:
		answer(client, header, machine_resume(machine), "the machine is not paused");
		break;
	case VMM_CONTROL_POWER_BUTTON:
		answer(client, header, machine_press_button(machine),
			"the button cannot be pressed now");
		break;
	case VMM_CONTROL_CTRL_ALT_DEL:
		answer(client, header, machine_ctrl_alt_del(machine),
			"the guest has no keyboard that listens");
		break;
	case VMM_CONTROL_STOP:
		/* Answered first: a hard stop leaves no time for it. */
		answer(client, header, 0, NULL);
		machine_stop(machine, message->how.how);
		break;
	case VMM_CONTROL_REBOOT:
		answer(client, header, 0, NULL);
		machine_reboot(machine, message->how.how);
		break;
	case VMM_CONTROL_OPEN_CONSOLE:
		open_console(client, message, fds);
		break;
	case VMM_CONTROL_RESIZE_CONSOLE:
		answer(client, header, machine_resize_console(machine, &message->console),
			"a serial console has no size");
		break;
	case VMM_CONTROL_SET_RATE:
		set_rate(client, message);
		break;
	case VMM_CONTROL_GET_DEVICE:
		get_device(client, message);
		break;
	case VMM_CONTROL_ATTACH_DRIVE:
	case VMM_CONTROL_ATTACH_NETWORK:
	case VMM_CONTROL_DETACH:
		plug(client, message, fds);
		break;
	case VMM_CONTROL_RESIZE_DRIVE:
		resize_drive(client, message);
		break;
	case VMM_CONTROL_GET_DRIVE:
		get_drive(client, message);
		break;
	case VMM_CONTROL_GET_STATS:
		get_stats(client, message);
		break;
	case VMM_CONTROL_GET_MEMORY:
		get_memory(client, message);
		break;
	case VMM_CONTROL_SET_MEMORY:
		set_memory(client, message);
		break;
	case VMM_CONTROL_CONNECT_VSOCK:
	case VMM_CONTROL_REFUSE_VSOCK:
	case VMM_CONTROL_CONNECT_BACKEND:
	case VMM_CONTROL_REFUSE_BACKEND:
		settle(client, message, fds);
		break;
	default:
		refuse(client, header, -EOPNOTSUPP, "not supported");
		break;
	}
}

static int on_client(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct control_client *client = userdata;
	struct vmm_control_message message;
	int r;

	for (int i = 0; i < MAX_REQUESTS && client->fd >= 0; i++) {
		CLEANUP(vmm_control_fds_finish) struct vmm_control_fds fds = {};

		r = vmm_control_receive_request(client->fd, &message, &fds);
		if (r == -EAGAIN)
			return 0;
		if (r == -EOPNOTSUPP) {
			refuse(client, &message.header, r,
				"this machine's worker is older and does not know that");
			continue;
		}
		if (r < 0) {
			drop_client(client);
			return 0;
		}
		handle(client, &message, &fds);
	}
	return 0;
}

/* ---- connections ---- */

static struct control_client *find_slot(struct control *control)
{
	for (size_t i = 0; i < ARRAY_SIZE(control->clients); i++)
		if (control->clients[i].fd < 0)
			return &control->clients[i];
	return NULL;
}

/* Whether one has waited. */
static bool accept_client(struct machine *machine)
{
	struct control_client *client = find_slot(&machine->control);
	CLEANUP(close_p) int fd = -EBADF;
	int r;

	/* Without room it is closed at once, so that who connects learns it. */
	fd = accept4(machine->control.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return false;
	if (!client)
		return true;
	*client = (struct control_client){
		.machine = machine,
		.fd = -EBADF,
		.serial = ++machine->control.last_serial,
	};
	r = vmm_loop_add_fd(machine->loop, fd, EPOLLIN, on_client, client, &client->source);
	if (r >= 0)
		client->fd = TAKE_FD(fd);
	return true;
}

static int on_listener(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	accept_client(userdata);
	return 0;
}

int control_check_listener(int fd, int expected_type)
{
	socklen_t size = sizeof(int);
	int type, listening;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
		return -errno;
	size = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0)
		return -errno;
	return type == expected_type && listening ? 0 : -EPROTOTYPE;
}

int control_start(struct machine *machine)
{
	struct control *control = &machine->control;
	int r;

	*control = (struct control){ .listen_fd = machine_fd(machine, machine->spec->control_fd) };
	for (size_t i = 0; i < ARRAY_SIZE(control->clients); i++)
		control->clients[i].fd = -EBADF;
	if (control->listen_fd < 0)
		return 0;
	r = control_check_listener(control->listen_fd, SOCK_SEQPACKET);
	if (r == 0 && fcntl(control->listen_fd, F_SETFL, O_NONBLOCK) < 0)
		r = -errno;
	if (r == 0)
		r = vmm_loop_add_fd(machine->loop, control->listen_fd, EPOLLIN, on_listener,
			machine, &control->listener);
	/* vmmd has connected already, and is to hear of a guest that ends at once. */
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(control->clients); i++)
		if (!accept_client(machine))
			break;
	return r < 0 ? machine_fail_host(machine, r, "control socket") : 0;
}

/* Whether anybody is there who gets it. */
static bool send_to_all(struct machine *machine, uint32_t type, const void *payload, size_t size)
{
	struct control *control = &machine->control;
	bool sent = false;

	for (size_t i = 0; i < ARRAY_SIZE(control->clients); i++) {
		struct control_client *client = &control->clients[i];

		if (client->fd < 0)
			continue;
		if (vmm_control_notify(client->fd, type, payload, size) < 0)
			drop_client(client);
		else
			sent = true;
	}
	return sent;
}

void control_event(struct machine *machine, enum vmm_event kind, int32_t value, const char *text)
{
	struct vmm_control_event event = {
		.event = kind,
		.state = machine->life.state,
		.end = machine->life.end,
		.value = value,
		.time_usec = vmm_base_now_nsec() / 1000,
	};

	if (text)
		strncpy(event.text, text, sizeof(event.text) - 1);
	send_to_all(machine, VMM_CONTROL_EVENT, &event, sizeof(event));
}

bool control_ask_vsock(struct machine *machine, const struct vmm_control_vsock_request *request)
{
	return send_to_all(machine, VMM_CONTROL_VSOCK_REQUEST, request, sizeof(*request));
}

bool control_ask_backend(struct machine *machine, const struct vmm_control_backend_request *request)
{
	return send_to_all(machine, VMM_CONTROL_BACKEND_REQUEST, request, sizeof(*request));
}

void control_paused(struct machine *machine, int result)
{
	struct control *control = &machine->control;

	for (size_t i = 0; i < ARRAY_SIZE(control->clients); i++) {
		struct control_client *client = &control->clients[i];
		struct vmm_control_header header = client->waiting;

		if (client->fd < 0 || header.id == 0)
			continue;
		client->waiting.id = 0;
		answer(client, &header, result, "the pause was given up");
	}
}

void control_stop(struct machine *machine)
{
	struct control *control = &machine->control;

	control->listener = vmm_loop_source_free(control->listener);
	for (size_t i = 0; i < ARRAY_SIZE(control->clients); i++)
		if (control->clients[i].fd >= 0)
			drop_client(&control->clients[i]);
}

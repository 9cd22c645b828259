/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vsock: see vsock.h. */
#include "worker/vsock.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/util.h"
#include "worker/machine.h"

/* ---- in the device's thread ---- */

static int on_connect(void *userdata, const struct vmm_vsock_request *request)
{
	struct vsock *vsock = userdata;
	bool has_room;

	pthread_mutex_lock(&vsock->lock);
	has_room = vsock->n_waiting < ARRAY_SIZE(vsock->waiting);
	if (has_room) {
		size_t at = (vsock->first_waiting + vsock->n_waiting) % ARRAY_SIZE(vsock->waiting);

		vsock->waiting[at] = (struct vsock_request){
			.request = *request,
			.deadline_nsec = vmm_base_now_nsec() + VSOCK_PATIENCE_NSEC,
		};
		vsock->n_waiting++;
	}
	pthread_mutex_unlock(&vsock->lock);
	if (!has_room)
		return -ECONNREFUSED;
	vmm_loop_event_signal(vsock->wants);
	return VMM_VSOCK_PENDING;
}

static const struct vmm_vsock_ops device_ops = { .connect = on_connect };

static void end_probe(struct vsock *vsock, enum vsock_probe result)
{
	pthread_mutex_lock(&vsock->lock);
	vsock->probe = result;
	pthread_mutex_unlock(&vsock->lock);
	vmm_loop_event_signal(vsock->wants);
}

static void on_opened(void *userdata, bool established)
{
	end_probe(userdata, established ? VSOCK_PROBE_ANSWERED : VSOCK_PROBE_REFUSED);
}

static void open_probe(struct vsock *vsock, int fd)
{
	uint32_t host_port;

	if (vmm_virtio_vsock_open(vsock->device, vsock->awaited_port, VMM_VSOCK_STREAM, fd,
		    on_opened, vsock, &host_port) < 0)
		end_probe(vsock, VSOCK_PROBE_REFUSED);
}

static int on_answered(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct vsock *vsock = userdata;
	struct vsock_answer answers[ARRAY_SIZE(vsock->answers)];
	int probe_fd;
	size_t n;

	pthread_mutex_lock(&vsock->lock);
	probe_fd = TAKE_FD(vsock->probe_fd);
	n = TAKE(vsock->n_answers, 0);
	for (size_t i = 0; i < n; i++)
		answers[i] = vsock->answers[i];
	pthread_mutex_unlock(&vsock->lock);
	/* It takes the socket over, also where the guest has given up meanwhile. */
	for (size_t i = 0; i < n; i++)
		vmm_virtio_vsock_answer(vsock->device, answers[i].id, answers[i].fd);
	if (probe_fd >= 0)
		open_probe(vsock, probe_fd);
	return 0;
}

/* ---- in the machine's loop ---- */

static void give_answer(struct vsock *vsock, uint64_t id, int fd)
{
	bool has_room;

	pthread_mutex_lock(&vsock->lock);
	has_room = vsock->n_answers < ARRAY_SIZE(vsock->answers);
	if (has_room)
		vsock->answers[vsock->n_answers++] = (struct vsock_answer){ .id = id, .fd = fd };
	pthread_mutex_unlock(&vsock->lock);
	if (has_room)
		vmm_loop_event_signal(vsock->answered);
	else
		vmm_base_close(fd);
}

/* The next that is not too late. */
static bool next_waiting(struct vsock *vsock, uint64_t now_nsec, struct vsock_request *ret_next)
{
	bool found = false;

	pthread_mutex_lock(&vsock->lock);
	while (!found && vsock->n_waiting > 0) {
		*ret_next = vsock->waiting[vsock->first_waiting];
		vsock->first_waiting = (vsock->first_waiting + 1) % ARRAY_SIZE(vsock->waiting);
		vsock->n_waiting--;
		found = ret_next->deadline_nsec > now_nsec;
	}
	pthread_mutex_unlock(&vsock->lock);
	return found;
}

/* A place for another question; those that were never answered are given up. */
static struct vsock_request *free_place(struct vsock *vsock, uint64_t now_nsec)
{
	for (size_t i = 0; i < ARRAY_SIZE(vsock->asked); i++)
		if (vsock->asked[i].deadline_nsec <= now_nsec)
			return &vsock->asked[i];
	return NULL;
}

static void ask(struct vsock *vsock)
{
	uint64_t now_nsec = vmm_base_now_nsec();
	struct vsock_request *place, next;

	while ((place = free_place(vsock, now_nsec)) && next_waiting(vsock, now_nsec, &next)) {
		/* What the guest's systemd says of itself stays here. */
		if (next.request.port == GUEST_NOTIFY_PORT) {
			give_answer(vsock, next.request.id,
				guest_connect(&vsock->machine->guest,
					next.request.type == VMM_VSOCK_SEQPACKET));
			continue;
		}
		struct vmm_control_vsock_request question = {
			.id = next.request.id,
			.port = next.request.port,
			.guest_port = next.request.guest_port,
			.seqpacket = next.request.type == VMM_VSOCK_SEQPACKET,
		};

		if (control_ask_vsock(vsock->machine, &question))
			*place = next;
		else
			give_answer(vsock, question.id, -ECONNREFUSED);
	}
}

/* ---- a port that is awaited ---- */

/* Our end is closed at once: that the guest has taken the connection is all there is to know. */
static int on_retry(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct vsock *vsock = userdata;
	bool is_busy = false;
	int pair[2];

	vmm_loop_timer_set(vsock->retry, vmm_base_now_nsec() + VSOCK_RETRY_NSEC);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return 0;
	vmm_base_close(pair[0]);
	pthread_mutex_lock(&vsock->lock);
	is_busy = vsock->probe != VSOCK_PROBE_NONE;
	if (!is_busy) {
		vsock->probe = VSOCK_PROBE_ASKED;
		vsock->probe_fd = pair[1];
	}
	pthread_mutex_unlock(&vsock->lock);
	if (is_busy)
		vmm_base_close(pair[1]);
	else
		vmm_loop_event_signal(vsock->answered);
	return 0;
}

static void take_probe(struct vsock *vsock)
{
	enum vsock_probe probe;

	pthread_mutex_lock(&vsock->lock);
	probe = vsock->probe;
	if (probe > VSOCK_PROBE_ASKED)
		vsock->probe = VSOCK_PROBE_NONE;
	pthread_mutex_unlock(&vsock->lock);
	if (probe != VSOCK_PROBE_ANSWERED || !vsock->port_answers)
		return;
	vmm_loop_timer_set(vsock->retry, 0);
	TAKE_PTR(vsock->port_answers)(vsock->machine);
}

int vsock_await_port(
	struct machine *machine, uint32_t port, void (*answers)(struct machine *machine))
{
	struct vsock *vsock = &machine->vsock;
	int r;

	r = vmm_loop_add_timer(machine->loop, on_retry, vsock, &vsock->retry);
	if (r < 0)
		return r;
	vsock->awaited_port = port;
	vsock->port_answers = answers;
	vmm_loop_timer_set(vsock->retry, vmm_base_now_nsec() + VSOCK_RETRY_NSEC);
	return 0;
}

void vsock_forget_port(struct vsock *vsock)
{
	vsock->port_answers = NULL;
	if (vsock->retry)
		vmm_loop_timer_set(vsock->retry, 0);
}

static int on_wants(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	take_probe(userdata);
	ask(userdata);
	return 0;
}

int vsock_answer(struct vsock *vsock, uint64_t id, int fd)
{
	CLEANUP(close_p) int owned_fd = fd < 0 ? -EBADF : fd;
	struct vsock_request *place = NULL;
	struct stat status;

	for (size_t i = 0; i < ARRAY_SIZE(vsock->asked); i++)
		if (vsock->asked[i].deadline_nsec != 0 && vsock->asked[i].request.id == id)
			place = &vsock->asked[i];
	if (!place)
		return -ENOENT;
	if (fd >= 0 && (fstat(fd, &status) < 0 || !S_ISSOCK(status.st_mode)))
		return -ENOTSOCK;
	place->deadline_nsec = 0;
	give_answer(vsock, id, fd >= 0 ? TAKE_FD(owned_fd) : fd);
	ask(vsock);
	return 0;
}

/* ---- the phase ---- */

static int add_sources(struct vsock *vsock, struct vmm_loop *loop)
{
	int r;

	r = vmm_loop_add_event(vsock->machine->loop, on_wants, vsock, &vsock->wants);
	return r < 0 ? r : vmm_loop_add_event(loop, on_answered, vsock, &vsock->answered);
}

int vsock_add(struct machine *machine)
{
	const struct vmm_spec *spec = machine->spec;
	struct vsock *vsock = &machine->vsock;
	struct machine_virtio *virtio = machine_new_virtio(machine, "vsock");
	struct vmm_virtio_vsock_config config = {
		.mem = machine->mem,
		.guest_cid = spec->vsock_cid,
		.ops = &device_ops,
		.userdata = vsock,
		.receive_limits = machine_limits(&spec->vsock_receive_rate),
		.transmit_limits = machine_limits(&spec->vsock_transmit_rate),
	};
	int r;

	if (spec->vsock_listen_fd != 0 &&
		control_check_listener(machine_fd(machine, spec->vsock_listen_fd), SOCK_STREAM) < 0)
		return machine_fail_config(
			machine, "vsock: the descriptor is no listening stream socket");
	*vsock = (struct vsock){
		.machine = machine,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.probe_fd = -EBADF,
	};
	r = vmm_loop_new(&virtio->loop);
	config.loop = virtio->loop;
	if (r == 0)
		r = add_sources(vsock, virtio->loop);
	if (r == 0)
		r = vmm_virtio_vsock_new(&config, &vsock->device);
	if (r == 0 && spec->vsock_listen_fd != 0)
		r = vmm_vsock_mux_new(
			vsock->device, machine_fd(machine, spec->vsock_listen_fd), &vsock->mux);
	if (r < 0)
		return machine_fail_host(machine, r, "vsock");
	virtio->device = vmm_virtio_vsock_device(vsock->device);
	r = machine_add_transport(machine, virtio);
	if (r != 0)
		return r;
	r = machine_start_thread(virtio, SANDBOX_VSOCK, "vsock");
	return r < 0 ? machine_fail_host(machine, r, "vsock: its thread") : 0;
}

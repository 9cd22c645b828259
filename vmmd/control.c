/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* control: vmmd's end of a worker's control socket; see control.h. */
#include "control.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "base/util.h"
#include "error.h"
#include "log.h"

#define ANSWER_USEC (UINT64_C(10) * 1000 * 1000)

/* Messages handled in one turn of the loop: a worker that talks on end delays nobody. */
enum {
	MESSAGES_A_TURN = 32,
};

struct request {
	uint64_t id; /* 0: free */
	bool is_query;
	uint64_t deadline_usec;
	control_done_t done; /* may be NULL */
	void *userdata;
};

struct control {
	struct machine *machine; /* borrowed, outlives us */
	int fd;                  /* owned */
	uint64_t last_id;
	struct request requests[CONTROL_MAX_REQUESTS];
	sd_event_source *io;    /* owned */
	sd_event_source *timer; /* owned */
	sd_event_source *lost;  /* owned: the end is told from the loop, not from a request */
};

static void complete(struct request *request, int error, const struct vmm_control_message *message)
{
	struct request done = TAKE(*request, (struct request){});

	if (done.done)
		done.done(done.userdata, error, message);
}

struct control *control_free(struct control *control)
{
	if (!control)
		return NULL;
	sd_event_source_disable_unref(control->io);
	sd_event_source_disable_unref(control->timer);
	sd_event_source_disable_unref(control->lost);
	vmm_base_close(control->fd);
	for (size_t i = 0; i < CONTROL_MAX_REQUESTS; i++)
		if (control->requests[i].id != 0)
			complete(&control->requests[i], -ECONNRESET, NULL);
	free(control);
	return NULL;
}

static int on_lost(sd_event_source *source, void *userdata)
{
	struct control *control = userdata;

	machine_control_lost(control->machine);
	return 0;
}

static void cut_off(struct control *control, int error, const char *why)
{
	if (error != -ECONNRESET) {
		struct log_about about = { .name = control->machine->name,
			.pid = control->machine->leader };

		log_line(LOG_WARNING, &about, "control connection cut: %s: %s", why,
			strerror(-error));
	}
	sd_event_source_set_enabled(control->io, SD_EVENT_OFF);
	if (!control->lost && sd_event_add_defer(control->machine->manager->event, &control->lost,
				      on_lost, control) >= 0)
		sd_event_source_set_priority(control->lost, SD_EVENT_PRIORITY_IMPORTANT);
}

/* The timer stands at the earliest deadline. */
static void set_timer(struct control *control)
{
	uint64_t earliest = UINT64_MAX;

	for (size_t i = 0; i < CONTROL_MAX_REQUESTS; i++)
		if (control->requests[i].id != 0)
			earliest = MIN(earliest, control->requests[i].deadline_usec);
	if (earliest == UINT64_MAX) {
		sd_event_source_set_enabled(control->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(control->timer, earliest);
	sd_event_source_set_enabled(control->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	cut_off(userdata, -ETIMEDOUT, "no answer");
	return 0;
}

static void got_message(struct control *control, const struct vmm_control_message *message)
{
	if (message->header.type == VMM_CONTROL_EVENT) {
		machine_control_event(control->machine, &message->event);
		return;
	}
	if (message->header.type == VMM_CONTROL_VSOCK_REQUEST) {
		vsock_guest_asks(control->machine, &message->vsock_request);
		return;
	}
	if (message->header.type == VMM_CONTROL_BACKEND_REQUEST) {
		backend_is_asked_for(control->machine, &message->backend_request);
		return;
	}
	for (size_t i = 0; i < CONTROL_MAX_REQUESTS; i++) {
		if (control->requests[i].id == 0 || control->requests[i].id != message->header.id)
			continue;
		complete(&control->requests[i], message->header.result, message);
		set_timer(control);
		return;
	}
	cut_off(control, -EBADMSG, "an answer that nobody asked for");
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct control *control = userdata;
	struct machine *machine = control->machine;

	for (int i = 0; i < MESSAGES_A_TURN; i++) {
		struct vmm_control_message message;
		int r = vmm_control_receive_answer(control->fd, &message);

		if (r == -EAGAIN)
			return 0;
		if (r == -EOPNOTSUPP)
			continue; /* news of a newer worker */
		if (r < 0) {
			cut_off(control, r, "bad message");
			return 0;
		}
		got_message(control, &message);
		/* What a message leads to may end the connection. */
		if (machine->control != control || control->lost)
			return 0;
	}
	return 0;
}

void control_drain(struct control *control)
{
	if (!control->lost)
		on_io(control->io, control->fd, EPOLLIN, control);
}

static void got_status(void *userdata, int error, const struct vmm_control_message *message)
{
	struct machine *machine = userdata;

	if (error == 0)
		machine_control_status(machine, &message->status);
}

int control_new(struct machine *machine, int *fd, struct control **ret)
{
	sd_event *event = machine->manager->event;
	struct control *control = malloc(sizeof(*control));
	int r;

	if (!control)
		return -ENOMEM;
	*control = (struct control){ .machine = machine, .fd = TAKE_FD(*fd) };
	r = sd_event_add_io(event, &control->io, control->fd, EPOLLIN, on_io, control);
	if (r >= 0)
		r = sd_event_add_time(
			event, &control->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, control);
	if (r >= 0)
		r = sd_event_source_set_enabled(control->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = control_request(
			control, VMM_CONTROL_GET_STATUS, NULL, 0, -EBADF, got_status, machine);
	if (r < 0) {
		control_free(control);
		return r;
	}
	*ret = control;
	return 0;
}

int control_call(struct control *control, const struct control_call *call)
{
	uint64_t timeout_usec = call->timeout_usec ? call->timeout_usec : ANSWER_USEC;
	struct request *request = NULL;
	size_t n_queries = 0;
	int r;

	if (control->lost)
		return -ECONNRESET;
	for (size_t i = 0; i < CONTROL_MAX_REQUESTS; i++) {
		if (control->requests[i].id == 0)
			request = &control->requests[i];
		else
			n_queries += control->requests[i].is_query;
	}
	if (!request || (call->is_query && n_queries >= CONTROL_MAX_QUERIES))
		return -VMMD_E_LIMITS_EXCEEDED;
	r = vmm_control_send_request(control->fd, call->type, control->last_id + 1, call->payload,
		call->size, call->fds, call->n_fds);
	if (r < 0)
		return r;
	*request = (struct request){
		.id = ++control->last_id,
		.is_query = call->is_query,
		.deadline_usec = vmm_base_now_nsec() / 1000 + timeout_usec,
		.done = call->done,
		.userdata = call->userdata,
	};
	set_timer(control);
	return 0;
}

int control_request(struct control *control, uint32_t type, const void *payload, size_t size,
	int fd, control_done_t done, void *userdata)
{
	const struct control_call call = {
		.type = type,
		.payload = payload,
		.size = size,
		.fds = &fd,
		.n_fds = fd >= 0 ? 1 : 0,
		.done = done,
		.userdata = userdata,
	};

	return control_call(control, &call);
}

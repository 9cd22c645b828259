/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* requests: how a method call waits for the worker's answer, and becomes one of its own. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "control.h"
#include "error.h"
#include "requests.h"

int request_keep(struct bus *bus, sd_bus_message *message, bool is_query, sd_bus_error *error)
{
	if (bus->n_requests >= (is_query ? BUS_MAX_OPEN_REQUESTS : BUS_MAX_REQUESTS))
		return bus_error_set(
			error, -VMMD_E_LIMITS_EXCEEDED, strdup("too many requests at a time"));
	bus->n_requests++;
	sd_bus_message_ref(message);
	return 0;
}

void request_drop(struct bus *bus, sd_bus_message *message)
{
	bus->n_requests--;
	sd_bus_message_unref(message);
}

void request_free(struct request *request)
{
	request_drop(request->bus, request->message);
	sd_bus_message_unref(request->reply);
	vmm_base_close(request->master_fd);
	free(request);
}

int method_running_machine(
	struct bus *bus, const char *name, struct machine **ret, sd_bus_error *error)
{
	struct machine *machine;
	char *text = NULL;
	int r;

	r = manager_get(bus->manager, name, &machine, &text);
	if (r < 0)
		return bus_error_set(error, r, text);
	if (!machine_is_active(machine) || !machine->control) {
		if (asprintf(&text, "%s is not running", name) < 0)
			text = NULL;
		return bus_error_set(error, -VMMD_E_MACHINE_NOT_RUNNING, text);
	}
	*ret = machine;
	return 0;
}

static int request_make(struct bus *bus, sd_bus_message *message, const struct machine *machine,
	bool is_query, struct request **ret, sd_bus_error *error)
{
	struct request *request;
	int r;

	r = request_keep(bus, message, is_query, error);
	if (r < 0)
		return r;
	request = malloc(sizeof(*request));
	if (!request) {
		request_drop(bus, message);
		return -ENOMEM;
	}
	*request = (struct request){
		.bus = bus,
		.message = message,
		.leader = machine->leader,
		.is_query = is_query,
		.master_fd = -EBADF,
	};
	snprintf(request->name, sizeof(request->name), "%s", machine->name);
	*ret = request;
	return 0;
}

int request_new(struct bus *bus, sd_bus_message *message, const struct machine *machine,
	struct request **ret, sd_bus_error *error)
{
	return request_make(bus, message, machine, false, ret, error);
}

int request_to_worker(struct bus *bus, sd_bus_message *message, const char *name,
	struct machine **ret_machine, struct request **ret, sd_bus_error *error)
{
	int r;

	r = method_running_machine(bus, name, ret_machine, error);
	return r < 0 ? r : request_make(bus, message, *ret_machine, false, ret, error);
}

int request_query_worker(struct bus *bus, sd_bus_message *message, struct machine **ret_machine,
	struct request **ret, sd_bus_error *error)
{
	char buffer[VMM_NAME_SIZE];
	const char *name;
	int r;

	r = method_machine_name(bus, message, buffer, &name, error);
	if (r >= 0)
		r = method_running_machine(bus, name, ret_machine, error);
	return r < 0 ? r : request_make(bus, message, *ret_machine, true, ret, error);
}

void request_fail(struct request *request, int code, const char *text)
{
	CLEANUP(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

	bus_error_set(&error, code, text && text[0] ? strdup(text) : NULL);
	sd_bus_reply_method_error(request->message, &error);
}

/* What the worker's errors are called on the bus. */
static int worker_error(int error)
{
	switch (error) {
	case -ENODEV:
		return -VMMD_E_NO_SUCH_DEVICE;
	case -EEXIST:
		return -VMMD_E_DEVICE_EXISTS;
	case -ETIMEDOUT:
	case -EALREADY:
		return -VMMD_E_DEVICE_BUSY;
	case -EBUSY:
		return -VMMD_E_MACHINE_BUSY;
	case -ENOSPC:
		return -VMMD_E_LIMITS_EXCEEDED;
	case -EOPNOTSUPP:
		return -VMMD_E_NOT_SUPPORTED;
	case -ERANGE:
		return -EINVAL;
	default:
		return error;
	}
}

void request_refused(struct request *request, int error, const struct vmm_control_message *reply)
{
	if (reply)
		request_fail(request, worker_error(error), reply->text);
	else
		request_fail(
			request, error == -ECONNRESET ? -VMMD_E_MACHINE_NOT_RUNNING : error, NULL);
}

static int reply(struct request *request, const struct vmm_control_message *answer)
{
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	int r;

	r = sd_bus_message_new_method_return(request->message, &message);
	if (r >= 0 && request->replier)
		r = request->replier(message, request, answer);
	return r < 0 ? r : sd_bus_send(NULL, message, NULL);
}

void request_done(void *userdata, int error, const struct vmm_control_message *answer)
{
	struct request *request = userdata;
	int r;

	if (error < 0) {
		request_refused(request, error, answer);
	} else {
		r = reply(request, answer);
		if (r < 0)
			request_fail(request, r, NULL);
	}
	request_free(request);
}

int request_ask_worker(struct request *request, struct machine *machine,
	const struct control_call *what, method_replier replier, sd_bus_error *error)
{
	struct control_call call = *what;
	int r;

	request->replier = replier;
	call.is_query = request->is_query;
	call.done = request_done;
	call.userdata = request;
	r = control_call(machine->control, &call);
	if (r < 0) {
		request_free(request);
		return bus_error_set(error, r, NULL);
	}
	return 1;
}

int method_ask_worker(struct bus *bus, sd_bus_message *message, const char *name, uint32_t type,
	const void *payload, size_t size, method_replier replier, sd_bus_error *error)
{
	const struct control_call call = { .type = type, .payload = payload, .size = size };
	struct machine *machine = NULL;
	struct request *request;
	int r;

	r = request_to_worker(bus, message, name, &machine, &request, error);
	return r < 0 ? r : request_ask_worker(request, machine, &call, replier, error);
}

int method_query_worker(sd_bus_message *message, struct bus *bus, uint32_t type,
	method_replier replier, sd_bus_error *error)
{
	const struct control_call call = { .type = type };
	struct machine *machine = NULL;
	struct request *request;
	int r;

	r = request_query_worker(bus, message, &machine, &request, error);
	return r < 0 ? r : request_ask_worker(request, machine, &call, replier, error);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * methods-devices: what the Manager and the Machine both offer for drives and networks of a machine
 * that runs. The worker knows them; vmmd asks it each time and keeps nothing.
 */
#include <string.h>

#include "base/util.h"
#include "control.h"
#include "device-limits.h"
#include "error.h"
#include "requests.h"

/* A worker may say anything; a list has an end all the same. */
enum {
	MAX_DEVICES = VMM_SPEC_MAX_DRIVES + VMM_SPEC_MAX_NETWORKS + VMM_SPEC_MAX_SHARES,
};

/* A device's name, which the worker would drop us for if it were too long. */
int device_check_id(const char *id, sd_bus_error *error)
{
	size_t n = strlen(id);

	if (n > 0 && n < VMM_DEVICE_ID_SIZE)
		return 0;
	return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
		"\"%.64s\" is not the name of a drive or network", id);
}

/* ---- limits ---- */

static int read_limits(
	sd_bus_message *message, struct vmm_control_set_rate *set, sd_bus_error *error)
{
	const char *name;
	uint64_t value;
	int r;

	r = sd_bus_message_enter_container(message, 'a', "{st}");
	while (r >= 0 && (r = sd_bus_message_read(message, "{st}", &name, &value)) > 0) {
		switch (device_limits_add(set, name, value)) {
		case 0:
			break;
		case -ENOENT:
			return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
				"There is no limit \"%.64s\"", name);
		case -EINVAL:
			return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
				"%s is not for %s", name,
				set->kind == VMM_DEVICE_DRIVE ? "drives" : "networks");
		case -EEXIST:
			return sd_bus_error_setf(
				error, SD_BUS_ERROR_INVALID_ARGS, "%s is given twice", name);
		default:
			return sd_bus_error_setf(
				error, SD_BUS_ERROR_INVALID_ARGS, "%s is too large", name);
		}
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(message);
	if (r >= 0 && set->members == 0)
		return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "No limit is named");
	return r;
}

int method_set_limits(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct vmm_control_set_rate set = {};
	struct bus *bus = userdata;
	char buffer[VMM_NAME_SIZE];
	const char *name, *id;
	uint64_t flags;
	int r;

	r = method_machine_name(bus, message, buffer, &name, error);
	if (r >= 0)
		r = sd_bus_message_read(message, "s", &id);
	if (r >= 0)
		r = device_check_id(id, error);
	if (r >= 0)
		r = read_limits(message, &set, error);
	if (r >= 0)
		r = sd_bus_message_read(message, "t", &flags);
	if (r >= 0)
		r = method_check_flags(flags, 0, error);
	if (r < 0)
		return r;
	memcpy(set.id, id, strlen(id));
	r = polkit_check(
		bus, message, ACTION_MANAGE_MACHINES, name, "set-limits", method_set_limits, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	return method_ask_worker(
		bus, message, name, VMM_CONTROL_SET_RATE, &set, sizeof(set), NULL, error);
}

/* ---- size ---- */

int method_resize_drive(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct vmm_control_drive drive = {};
	struct bus *bus = userdata;
	char buffer[VMM_NAME_SIZE];
	const char *name, *id;
	int r;

	r = method_arguments(bus, message, buffer, &name, error, "st", &id, &drive.size_bytes);
	if (r >= 0)
		r = device_check_id(id, error);
	if (r < 0)
		return r;
	memcpy(drive.id, id, strlen(id));
	r = polkit_check(bus, message, ACTION_MANAGE_MACHINES, name, "resize-drive",
		method_resize_drive, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	return method_ask_worker(
		bus, message, name, VMM_CONTROL_RESIZE_DRIVE, &drive, sizeof(drive), NULL, error);
}

/* ---- the list ---- */

static int append_entry(void *userdata, const char *name, uint64_t value)
{
	return sd_bus_message_append(userdata, "{sv}", name, "t", value);
}

static int append_text(sd_bus_message *reply, const char *name, const char *text)
{
	return sd_bus_message_append(reply, "{sv}", name, "s", text);
}

static int append_bool(sd_bus_message *reply, const char *name, bool yes)
{
	return sd_bus_message_append(reply, "{sv}", name, "b", (int)yes);
}

/* Who serves the queues, where the machine itself does not. The counters are with them. */
static int append_backend(sd_bus_message *reply, const struct vmm_control_device *device)
{
	bool is_user = device->flags & VMM_DEVICE_VHOST_USER;
	int r;

	r = append_text(reply, "Backend", is_user ? "vhost-user" : "vhost");
	if (r >= 0)
		r = append_bool(reply, "Connected", !(device->flags & VMM_DEVICE_DISCONNECTED));
	if (r >= 0)
		r = append_bool(reply, "Failed", device->flags & VMM_DEVICE_FAILED);
	if (r >= 0 && is_user)
		r = append_entry(reply, "Connections", device->in_ops);
	return r;
}

static int append_drive(sd_bus_message *reply, const struct vmm_control_device *device)
{
	static const char *const engines[VMM_ENGINE_COUNT] = {
		[VMM_ENGINE_AUTO] = "",
		[VMM_ENGINE_THREADS] = "threads",
		[VMM_ENGINE_IO_URING] = "io_uring",
	};
	int r;

	r = append_text(reply, "Device", device->flags & VMM_DEVICE_PMEM ? "pmem" : "disk");
	if (r >= 0)
		r = append_entry(reply, "Size", device->size_bytes);
	if (r < 0 || (device->flags & VMM_DEVICE_PMEM))
		return r;
	r = append_bool(reply, "ReadOnly", device->flags & VMM_DEVICE_READ_ONLY);
	if (r >= 0)
		r = append_text(reply, "Engine", engines[device->engine]);
	if (r >= 0)
		r = append_entry(reply, "ReadOperations", device->in_ops);
	if (r >= 0)
		r = append_entry(reply, "ReadBytes", device->in_bytes);
	if (r >= 0)
		r = append_entry(reply, "WriteOperations", device->out_ops);
	if (r >= 0)
		r = append_entry(reply, "WriteBytes", device->out_bytes);
	return r < 0 ? r : append_entry(reply, "Errors", device->errors);
}

static int append_network(sd_bus_message *reply, const struct vmm_control_device *device)
{
	int r;

	r = append_text(reply, "Link", device->flags & VMM_DEVICE_LINK_DOWN ? "down" : "up");
	if (r >= 0)
		r = append_entry(reply, "ReceivedFrames", device->in_ops);
	if (r >= 0)
		r = append_entry(reply, "ReceivedBytes", device->in_bytes);
	if (r >= 0)
		r = append_entry(reply, "TransmittedFrames", device->out_ops);
	if (r >= 0)
		r = append_entry(reply, "TransmittedBytes", device->out_bytes);
	return r < 0 ? r : append_entry(reply, "DroppedFrames", device->errors);
}

static int append_properties(sd_bus_message *reply, const struct vmm_control_device *device)
{
	static const char *const states[VMM_DEVICE_STATE_COUNT] = {
		[VMM_DEVICE_PRESENT] = "present",
		[VMM_DEVICE_COMING] = "coming",
		[VMM_DEVICE_LEAVING] = "leaving",
	};
	int r;

	r = append_text(reply, "State", states[device->state]);
	if (r >= 0)
		r = append_bool(reply, "Attached", device->flags & VMM_DEVICE_ATTACHED);
	if (r >= 0)
		r = sd_bus_message_append(reply, "{sv}", "Slot", "u", device->slot);
	if (r >= 0)
		r = append_bool(reply, "Limited", device->flags & VMM_DEVICE_LIMITED);
	if (r >= 0)
		r = append_bool(reply, "Broken", device->flags & VMM_DEVICE_BROKEN);
	if (r >= 0)
		r = device->flags & (VMM_DEVICE_VHOST_USER | VMM_DEVICE_VHOST)
			    ? append_backend(reply, device)
		    : device->kind == VMM_DEVICE_DRIVE   ? append_drive(reply, device)
		    : device->kind == VMM_DEVICE_NETWORK ? append_network(reply, device)
							 : 0;
	return r < 0 ? r : device_limits_each(device->kind, device->rate, append_entry, reply);
}

static int append_device(sd_bus_message *reply, const struct vmm_control_device *device)
{
	static const char *const kinds[VMM_DEVICE_KIND_COUNT] = {
		[VMM_DEVICE_DRIVE] = "drive",
		[VMM_DEVICE_NETWORK] = "network",
		[VMM_DEVICE_SHARE] = "share",
	};
	int r;

	/* What the worker calls it was checked for its end only; the bus refuses all but UTF-8. */
	for (const char *c = device->id; *c; c++)
		if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
			return -EBADMSG;
	r = sd_bus_message_open_container(reply, 'r', "ssa{sv}");
	if (r >= 0)
		r = sd_bus_message_append(reply, "ss", kinds[device->kind], device->id);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "{sv}");
	if (r >= 0)
		r = append_properties(reply, device);
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

static void got_device(void *userdata, int error, const struct vmm_control_message *message);

static int ask_device(struct request *request, struct machine *machine, uint32_t index)
{
	struct vmm_control_index payload = { .index = index };
	const struct control_call call = {
		.type = VMM_CONTROL_GET_DEVICE,
		.payload = &payload,
		.size = sizeof(payload),
		.is_query = true,
		.done = got_device,
		.userdata = request,
	};

	return control_call(machine->control, &call);
}

/* 1: another one was asked for; 0: the list is complete. */
static int take_device(struct request *request, const struct vmm_control_device *device)
{
	struct machine *machine = manager_find(request->bus->manager, request->name);
	int r;

	if (device->kind == VMM_DEVICE_NONE)
		return 0;
	if (++request->count > MAX_DEVICES)
		return -VMMD_E_WORKER;
	r = append_device(request->reply, device);
	if (r < 0)
		return r;
	if (!machine || !machine->control)
		return -VMMD_E_MACHINE_NOT_RUNNING;
	r = ask_device(request, machine, device->next);
	return r < 0 ? r : 1;
}

static void got_device(void *userdata, int error, const struct vmm_control_message *message)
{
	struct request *request = userdata;
	int r;

	if (error < 0) {
		request_refused(request, error, message);
		request_free(request);
		return;
	}
	r = take_device(request, &message->device);
	if (r > 0)
		return;
	if (r == 0)
		r = sd_bus_message_close_container(request->reply);
	if (r >= 0)
		r = sd_bus_send(NULL, request->reply, NULL);
	if (r < 0)
		request_fail(request, r, NULL);
	request_free(request);
}

int method_list_devices(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	struct machine *machine;
	struct request *request;
	int r;

	r = request_query_worker(bus, message, &machine, &request, error);
	if (r < 0)
		return r;
	r = sd_bus_message_new_method_return(message, &request->reply);
	if (r >= 0)
		r = sd_bus_message_open_container(request->reply, 'a', "(ssa{sv})");
	if (r >= 0)
		r = ask_device(request, machine, 0);
	if (r < 0) {
		request_free(request);
		return bus_error_set(error, r, NULL);
	}
	return 1;
}

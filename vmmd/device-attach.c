/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * device-attach: drives and networks that come and go while a machine runs. What comes is described
 * by the keys of its section in vmm.vm(5), opened in a child like what a machine starts with, and
 * handed to the worker, which answers when it is there.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "control.h"
#include "device-limits.h"
#include "error.h"
#include "requests.h"
#include "resources.h"
#include "spec-fill.h"
#include "sweep.h"

/* Stands where a file's name is in messages; cut off again. */
#define ORIGIN "attach"

enum {
	DETACH_FORCE = 1,
	MAX_SETTINGS = 32,
};

/* One may have to wait for a removal that waits for a disk. */
#define ATTACH_USEC (UINT64_C(60) * 1000 * 1000)
#define DETACH_MORE_USEC (UINT64_C(60) * 1000 * 1000)

struct attach {
	struct request *request;  /* owned */
	struct vm_config *config; /* owned: with this device alone */
	enum vmm_device_kind kind;
};

static struct attach *attach_free(struct attach *attach)
{
	if (!attach)
		return NULL;
	vm_config_free(attach->config);
	free(attach);
	return NULL;
}

static const char *section_of(enum vmm_device_kind kind)
{
	return kind == VMM_DEVICE_DRIVE ? "Drive" : "Network";
}

/* Without the place in a file that there is not. */
static const char *without_origin(const char *text)
{
	const char *colon = strstr(text, ": ");

	return strncmp(text, ORIGIN, strlen(ORIGIN)) == 0 && colon ? colon + 2 : text;
}

/* ---- what the caller says ---- */

/* Neither may begin another line. */
static bool setting_is_good(const char *key, const char *value)
{
	size_t n = strlen(value);

	if (!key[0] || strcmp(key, "Name") == 0)
		return false;
	for (const char *c = key; *c; c++)
		if (!isalnum((unsigned char)*c))
			return false;
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < 0x20)
			return false;
	return n == 0 || value[n - 1] != '\\';
}

static int write_settings(sd_bus_message *message, enum vmm_device_kind kind, const char *id,
	FILE *f, sd_bus_error *error)
{
	const char *key, *value;
	unsigned int n = 0;
	int r;

	/* What a machine must have, and nobody opens. */
	fprintf(f, "[Boot]\nKernel=/\n[%s]\nName=%s\n", section_of(kind), id);
	r = sd_bus_message_enter_container(message, 'a', "(ss)");
	while (r >= 0 && (r = sd_bus_message_read(message, "(ss)", &key, &value)) > 0) {
		if (!setting_is_good(key, value) || ++n > MAX_SETTINGS)
			return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
				"\"%.64s\" is not a setting for a [%s]", key, section_of(kind));
		fprintf(f, "%s=%s\n", key, value);
	}
	return r < 0 ? r : sd_bus_message_exit_container(message);
}

/* A warning is about something that does not count; who types it now wants to know. */
static int check_messages(const struct config_messages *messages, sd_bus_error *error)
{
	static const char ignored[] = ", ignored";
	const struct config_message *first;
	char *text, *word;

	if (messages->n_items == 0)
		return 0;
	first = config_messages_first_error(messages);
	if (!first)
		first = &messages->items[0];
	if (asprintf(&text, "%s%s%s", first->key, first->key[0] ? ": " : "", first->text) < 0)
		text = NULL;
	/* In a file it would be; here nothing is done. */
	word = text ? strstr(text, ignored) : NULL;
	if (word)
		memmove(word, word + strlen(ignored), strlen(word + strlen(ignored)) + 1);
	return bus_error_set(error, -VMMD_E_BAD_CONFIGURATION, text);
}

/*
 * A back end maps the guest's memory, which is made for that when the machine starts or not at all,
 * and the kernel's vhost and the threads of both are set up before the sandbox closes.
 */
static int check_can_come(const struct vm_config *config, sd_bus_error *error)
{
	const struct config_drive *drive = config->n_drives > 0 ? &config->drives[0] : NULL;
	const struct config_network *network = config->n_networks > 0 ? &config->networks[0] : NULL;
	const char *key = NULL,
		   *why = "who serves it shares the guest's memory, which only a start "
			  "prepares";
	char *text;

	if ((drive && drive->socket.value) || (network && network->socket.value))
		key = "Socket";
	else if (drive && config_drive_has_unit(drive))
		key = "Format";
	else if (network && network->vhost.value)
		key = "Vhost";
	if (network && network->user.value) {
		key = "User";
		why = "its unit is made of the .vm file";
	}
	if (!key)
		return 0;
	if (asprintf(&text, "[%s] %s=: %s: put it into the .vm file and restart the machine",
		    drive ? "Drive" : "Network", key, why) < 0)
		text = NULL;
	return bus_error_set(error, -VMMD_E_NOT_SUPPORTED, text);
}

static int read_settings(sd_bus_message *message, const char *machine, enum vmm_device_kind kind,
	const char *id, struct vm_config **ret, sd_bus_error *error)
{
	CLEANUP(config_messages_finish) struct config_messages messages = {};
	CLEANUP(free_p) char *text = NULL;
	struct vm_config *config = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	int r;

	if (!f)
		return -ENOMEM;
	r = write_settings(message, kind, id, f, error);
	if (fclose(f) != 0 && r >= 0)
		r = -ENOMEM;
	if (r < 0)
		return r;
	r = config_load_text(text, size, ORIGIN, machine, &messages, &config);
	if (r == -EBADMSG || r >= 0) {
		int bad = check_messages(&messages, error);

		r = bad < 0 ? bad : r;
	}
	if (r >= 0)
		r = check_can_come(config, error);
	if (r < 0) {
		vm_config_free(config);
		return r;
	}
	*ret = config;
	return 0;
}

/* ---- attach ---- */

/* What does not end with its descriptors. */
static void take_back(const struct attach *attach)
{
	const struct vm_config *config = attach->config;

	if (attach->kind == VMM_DEVICE_NETWORK && config->networks[0].macvtap.value)
		sweep_network(attach->request->bus->manager, config->name,
			config->networks[0].name.value);
}

static void attached(void *userdata, int error, const struct vmm_control_message *answer)
{
	struct attach *attach = userdata;

	if (error < 0)
		take_back(attach);
	request_done(attach->request, error, answer);
	attach_free(attach);
}

/* With 0, attach is attached()'s. */
static int hand_over(
	struct attach *attach, const struct machine *machine, const struct resources_result *result)
{
	struct control_call call = {
		.fds = result->fds,
		.n_fds = result->n_fds,
		.timeout_usec = ATTACH_USEC,
		.done = attached,
		.userdata = attach,
	};
	struct vmm_spec_network network;
	struct vmm_spec_drive drive;

	if (attach->kind == VMM_DEVICE_DRIVE) {
		spec_fill_drive(&drive, &attach->config->drives[0], 1);
		call.type = VMM_CONTROL_ATTACH_DRIVE;
		call.payload = &drive;
		call.size = sizeof(drive);
	} else {
		spec_fill_network(&network, attach->config->name, &attach->config->networks[0], 1);
		call.type = VMM_CONTROL_ATTACH_NETWORK;
		call.payload = &network;
		call.size = sizeof(network);
	}
	return control_call(machine->control, &call);
}

static void opened(void *userdata, struct resources_result *result)
{
	struct attach *attach = userdata;
	struct request *request = attach->request;
	struct machine *machine = manager_find(request->bus->manager, request->name);
	int r;

	if (result->error < 0) {
		request_fail(request, result->error, without_origin(result->text));
	} else {
		/* Not for another one that has come meanwhile. */
		r = -VMMD_E_MACHINE_NOT_RUNNING;
		if (machine && machine->control && machine->leader == request->leader)
			r = hand_over(attach, machine, result);
		if (r >= 0)
			return;
		take_back(attach);
		request_fail(request, r, NULL);
	}
	request_free(request);
	attach_free(attach);
}

/* Takes over config. */
static int open_device(struct bus *bus, sd_bus_message *message, const char *name,
	enum vmm_device_kind kind, struct vm_config *config, sd_bus_error *error)
{
	struct resources_request *resources;
	struct attach *attach = malloc(sizeof(*attach));
	struct machine *machine;
	int r;

	if (!attach) {
		vm_config_free(config);
		return -ENOMEM;
	}
	*attach = (struct attach){ .config = config, .kind = kind };
	r = request_to_worker(bus, message, name, &machine, &attach->request, error);
	if (r < 0) {
		attach_free(attach);
		return r;
	}
	r = resources_open_config(
		bus->manager, config, RESOURCES_TAKE_DEVICES, opened, attach, &resources);
	if (r < 0) {
		request_free(attach->request);
		attach_free(attach);
		return bus_error_set(error, r, NULL);
	}
	return 1;
}

static int attach_device(sd_bus_message *message, struct bus *bus, enum vmm_device_kind kind,
	const char *verb, sd_bus_message_handler_t handler, sd_bus_error *error)
{
	struct vm_config *config = NULL;
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
		r = read_settings(message, name, kind, id, &config, error);
	if (r >= 0)
		r = sd_bus_message_read(message, "t", &flags);
	if (r >= 0)
		r = method_check_flags(flags, 0, error);
	/* It names files and bridges of the host, as a .vm file does. */
	if (r >= 0)
		r = polkit_check(bus, message, ACTION_MANAGE_CONFIG, name, verb, handler, error);
	if (r <= 0) {
		vm_config_free(config);
		return r < 0 ? r : 1;
	}
	return open_device(bus, message, name, kind, config, error);
}

int method_attach_drive(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	return attach_device(
		message, userdata, VMM_DEVICE_DRIVE, "attach-drive", method_attach_drive, error);
}

int method_attach_network(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	return attach_device(message, userdata, VMM_DEVICE_NETWORK, "attach-network",
		method_attach_network, error);
}

/* ---- detach ---- */

static int detach_device(sd_bus_message *message, struct bus *bus, enum vmm_device_kind kind,
	const char *verb, sd_bus_message_handler_t handler, sd_bus_error *error)
{
	struct vmm_control_detach detach = { .kind = kind };
	struct control_call call = {
		.type = VMM_CONTROL_DETACH,
		.payload = &detach,
		.size = sizeof(detach),
	};
	char buffer[VMM_NAME_SIZE];
	struct machine *machine;
	struct request *request;
	const char *name, *id;
	uint64_t flags;
	int r;

	r = method_machine_name(bus, message, buffer, &name, error);
	if (r >= 0)
		r = sd_bus_message_read(message, "stt", &id, &detach.timeout_usec, &flags);
	if (r >= 0)
		r = device_check_id(id, error);
	if (r >= 0)
		r = method_check_flags(flags, DETACH_FORCE, error);
	if (r < 0)
		return r;
	if (detach.timeout_usec > VMM_CONTROL_MAX_TIMEOUT_USEC ||
		(detach.timeout_usec == 0 && !(flags & DETACH_FORCE)))
		return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
			"The time to wait is more than 0 and at most an hour");
	memcpy(detach.id, id, strlen(id));
	if (flags & DETACH_FORCE)
		detach.flags |= VMM_DETACH_FORCE;
	r = polkit_check(bus, message, ACTION_MANAGE_MACHINES, name, verb, handler, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = request_to_worker(bus, message, name, &machine, &request, error);
	if (r < 0)
		return r;
	call.timeout_usec = detach.timeout_usec + DETACH_MORE_USEC;
	return request_ask_worker(request, machine, &call, NULL, error);
}

int method_detach_drive(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	return detach_device(
		message, userdata, VMM_DEVICE_DRIVE, "detach-drive", method_detach_drive, error);
}

int method_detach_network(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	return detach_device(message, userdata, VMM_DEVICE_NETWORK, "detach-network",
		method_detach_network, error);
}

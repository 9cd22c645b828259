/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* bus: the connection, calls with error messages for people, and the polkit agent. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/util.h"
#include "config.h"
#include "ctl.h"

/* A person may be typing a password meanwhile. */
#define CALL_TIMEOUT_USEC UINT64_C(120000000)

int ctl_connect(struct ctl *ctl)
{
	int r;

	if (ctl->bus)
		return 0;
	if (ctl->host)
		r = sd_bus_open_system_remote(&ctl->bus, ctl->host);
	else
		r = sd_bus_open_system(&ctl->bus);
	if (r >= 0)
		r = sd_bus_set_allow_interactive_authorization(ctl->bus, ctl->ask_password);
	if (r >= 0)
		r = sd_bus_set_method_call_timeout(ctl->bus, CALL_TIMEOUT_USEC);
	if (r < 0) {
		ctl_error("the system bus%s%s cannot be reached: %s", ctl->host ? " of " : "",
			ctl->host ? ctl->host : "", strerror(-r));
		return r;
	}
	return 0;
}

/* The agent says through a pipe that it is there; that pipe's end does too. */
void ctl_open_agent(struct ctl *ctl)
{
	CLEANUP(close_p) int read_fd = -EBADF;
	CLEANUP(close_p) int write_fd = -EBADF;
	pid_t parent = getpid();
	int fds[2];

	if (ctl->agent_pid > 0 || !ctl->ask_password || ctl->host || geteuid() == 0 ||
		!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	read_fd = fds[0];
	write_fd = fds[1];
	ctl->agent_pid = fork();
	if (ctl->agent_pid == 0) {
		CLEANUP(free_p) char *option = must_printf("--notify-fd=%d", write_fd);

		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent || fcntl(write_fd, F_SETFD, 0) < 0)
			_exit(EXIT_FAILURE);
		execlp("pkttyagent", "pkttyagent", option, "--fallback", NULL);
		_exit(EXIT_FAILURE);
	}
	if (ctl->agent_pid < 0)
		return;
	write_fd = vmm_base_close(write_fd);
	while (poll(&(struct pollfd){ .fd = read_fd, .events = POLLIN }, 1, 5000) < 0 &&
		errno == EINTR)
		;
}

void ctl_finish(struct ctl *ctl)
{
	if (ctl->agent_pid > 0) {
		kill(ctl->agent_pid, SIGTERM);
		kill(ctl->agent_pid, SIGCONT);
		while (waitpid(ctl->agent_pid, NULL, 0) < 0 && errno == EINTR)
			;
		ctl->agent_pid = 0;
	}
	ctl->bus = sd_bus_flush_close_unref(ctl->bus);
}

/* A name like the one that does not exist. NULL: none. */
static char *suggest_machine(struct ctl *ctl, const char *name)
{
	sd_bus_message *reply = NULL;
	struct value list = {};
	char *names = NULL, *nearest = NULL;
	size_t size;
	FILE *stream;

	if (sd_bus_call_method(ctl->bus, VMMD_NAME, VMMD_PATH, VMMD_MANAGER, "ListMachines", NULL,
		    &reply, NULL) < 0 ||
		value_read(reply, &list) < 0) {
		sd_bus_message_unref(reply);
		return NULL;
	}
	stream = must_alloc(open_memstream(&names, &size));
	for (size_t i = 0; i < list.n_items; i++) {
		if (list.items[i].n_items > 0 && list.items[i].items[0].type == VALUE_STRING)
			fprintf(stream, "%s ", list.items[i].items[0].string);
	}
	if (fclose(stream) == 0)
		nearest = nearest_word(name, names);
	free(names);
	value_finish(&list);
	sd_bus_message_unref(reply);
	return nearest;
}

int ctl_bus_error(struct ctl *ctl, const char *what, const sd_bus_error *error, int r)
{
	const char *colon = what ? ": " : "";
	bool lost = r == -ENOTCONN || r == -ECONNRESET || r == -EPIPE;
	const char *text = lost                      ? "the connection to the bus is lost"
			   : error && error->message ? error->message
						     : strerror(-r);

	what = what ? what : "";
	if (sd_bus_error_has_names(error, SD_BUS_ERROR_SERVICE_UNKNOWN,
		    SD_BUS_ERROR_NAME_HAS_NO_OWNER,
		    "org.freedesktop.DBus.Error.Spawn.ServiceNotFound",
		    "org.freedesktop.DBus.Error.Spawn.ChildExited",
		    "org.freedesktop.DBus.Error.TimedOut", /* of the start of a service */
		    "org.freedesktop.systemd1.NoSuchUnit")) {
		ctl_error("%s%svmmd does not run and cannot be started (%s)\n"
			  "See systemctl status vmmd.service.",
			what, colon, text);
	} else if (sd_bus_error_has_name(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED)) {
		ctl_error("%s%sthis needs authentication, which could not be asked for; "
			  "try it as root",
			what, colon);
	} else if (sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED)) {
		ctl_error("%s%sthis is not permitted (%s)", what, colon, text);
	} else if (sd_bus_error_has_names(error, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_TIMEOUT,
			   SD_BUS_ERROR_DISCONNECTED)) {
		ctl_error("%s%svmmd went away before it answered (%s)", what, colon, text);
	} else if (sd_bus_error_has_names(
			   error, "org.vmmd1.NoSuchJob", SD_BUS_ERROR_UNKNOWN_OBJECT)) {
		ctl_error("%s%sthere is no such job; it may be done", what, colon);
	} else if (sd_bus_error_has_name(error, "org.vmmd1.NoSuchMachine") && *what != '\0') {
		CLEANUP(free_p) char *nearest = suggest_machine(ctl, what);

		/* One without a file is listed as long as its unit has failed. */
		if (nearest && strcmp(nearest, what) != 0)
			ctl_error("%s: there is no such machine. Did you mean %s?", what, nearest);
		else
			ctl_error("%s: there is no such machine: no %s.vm in /etc/vmm, /run/vmm or "
				  "/usr/lib/vmm",
				what, what);
	} else if (strncmp(text, what, strlen(what)) == 0 && text[strlen(what)] == ' ') {
		ctl_error("%s", text);
	} else {
		ctl_error("%s%s%s", what, colon, text);
	}
	return r < 0 ? r : -EIO;
}

int ctl_send(struct ctl *ctl, const char *what, sd_bus_message *message, int r)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;

	if (r >= 0)
		r = sd_bus_call(ctl->bus, message, 0, &error, NULL);
	if (r < 0)
		ctl_bus_error(ctl, what, &error, r);
	sd_bus_message_unref(message);
	sd_bus_error_free(&error);
	return r < 0 ? r : 0;
}

static int call(struct ctl *ctl, const char *what, const char *service, const char *path,
	const char *interface, const char *member, sd_bus_message **ret_reply, const char *types,
	va_list args)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *message = NULL;
	int r;

	r = ctl_connect(ctl);
	if (r < 0)
		return r;
	r = sd_bus_message_new_method_call(ctl->bus, &message, service, path, interface, member);
	if (r >= 0 && types && *types != '\0')
		r = sd_bus_message_appendv(message, types, args);
	if (r >= 0)
		r = sd_bus_call(ctl->bus, message, 0, &error, ret_reply);
	if (r < 0 && ctl->harmless && sd_bus_error_has_name(&error, ctl->harmless)) {
		ctl_note(ctl, "%s", error.message);
		r = -EALREADY;
	} else if (r < 0) {
		ctl_bus_error(ctl, what, &error, r);
	}
	sd_bus_message_unref(message);
	sd_bus_error_free(&error);
	return r < 0 ? r : 0;
}

int ctl_call(struct ctl *ctl, const char *what, const char *member, sd_bus_message **ret_reply,
	const char *types, ...)
{
	va_list args;
	int r;

	va_start(args, types);
	r = call(ctl, what, VMMD_NAME, VMMD_PATH, VMMD_MANAGER, member, ret_reply, types, args);
	va_end(args);
	return r;
}

int ctl_call_to(struct ctl *ctl, const char *what, const char *service, const char *path,
	const char *interface, const char *member, sd_bus_message **ret_reply, const char *types,
	...)
{
	va_list args;
	int r;

	va_start(args, types);
	r = call(ctl, what, service, path, interface, member, ret_reply, types, args);
	va_end(args);
	return r;
}

int ctl_properties(struct ctl *ctl, const char *what, const char *service, const char *path,
	const char *interface, bool quietly, struct value *ret)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *reply = NULL;
	int r;

	r = ctl_connect(ctl);
	if (r < 0)
		return r;
	r = sd_bus_call_method(ctl->bus, service, path, "org.freedesktop.DBus.Properties", "GetAll",
		&error, &reply, "s", interface);
	if (r >= 0)
		r = value_read(reply, ret);
	if (r < 0 && !quietly)
		ctl_bus_error(ctl, what, &error, r);
	sd_bus_message_unref(reply);
	sd_bus_error_free(&error);
	return r < 0 ? r : 0;
}

int ctl_machine(struct ctl *ctl, const char *name, struct value *ret, char **ret_path)
{
	sd_bus_message *reply = NULL;
	const char *path;
	int r;

	r = ctl_call(ctl, name, "GetMachine", &reply, "s", name);
	if (r < 0)
		return r;
	r = sd_bus_message_read(reply, "o", &path);
	if (r < 0)
		ctl_bus_error(ctl, name, NULL, r);
	else
		r = ctl_properties(ctl, name, VMMD_NAME, path, VMMD_MACHINE, false, ret);
	if (r >= 0 && ret_path)
		*ret_path = must_strdup(path);
	sd_bus_message_unref(reply);
	return r < 0 ? r : 0;
}

int ctl_verify(struct ctl *ctl, const char *name, struct value *ret)
{
	sd_bus_message *message = NULL, *reply = NULL;
	int r;

	if (!ctl->bus && (ctl->host || sd_bus_open_system(&ctl->bus) < 0))
		return -ENOTCONN;
	r = sd_bus_message_new_method_call(
		ctl->bus, &message, VMMD_NAME, VMMD_PATH, VMMD_MANAGER, "VerifyMachine");
	if (r >= 0)
		r = sd_bus_message_append(message, "s", name);
	if (r >= 0)
		r = sd_bus_message_set_allow_interactive_authorization(message, false);
	if (r >= 0)
		r = sd_bus_call(ctl->bus, message, 0, NULL, &reply);
	if (r >= 0)
		r = sd_bus_message_has_signature(reply, "a(ssuss)") > 0 ? value_read(reply, ret)
									: -EBADMSG;
	sd_bus_message_unref(message);
	sd_bus_message_unref(reply);
	return r;
}

char *ctl_config_root(const struct ctl *ctl)
{
	sd_bus_message *message = NULL, *reply = NULL;
	sd_bus *bus = NULL;
	const char *root = "";
	char *result;
	int r;

	if (*ctl->root != '\0')
		return must_strdup(ctl->root);
	r = sd_bus_open_system(&bus);
	if (r >= 0)
		r = sd_bus_message_new_method_call(bus, &message, VMMD_NAME, VMMD_PATH,
			"org.freedesktop.DBus.Properties", "Get");
	if (r >= 0)
		r = sd_bus_message_append(message, "ss", VMMD_MANAGER, "Root");
	if (r >= 0)
		r = sd_bus_message_set_auto_start(message, false);
	if (r >= 0)
		r = sd_bus_call(bus, message, 0, NULL, &reply);
	if (r < 0 || sd_bus_message_read(reply, "v", "s", &root) < 0)
		root = "";
	result = must_strdup(root);
	sd_bus_message_unref(message);
	sd_bus_message_unref(reply);
	sd_bus_flush_close_unref(bus);
	return result;
}

void ctl_reload_systemd(struct ctl *ctl)
{
	/* Where vmmd starts workers itself there is no systemd to tell. */
	if (sd_bus_get_name_creds(ctl->bus, SYSTEMD_NAME, 0, NULL) < 0)
		return;
	if ((geteuid() == 0 || ctl->host) &&
		sd_bus_call_method(ctl->bus, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER, "Reload",
			NULL, NULL, NULL) >= 0)
		return;
	ctl_note(ctl, "[Unit], [Service] and [Install] sections count after systemctl "
		      "daemon-reload.");
}

static int compare_machines(const void *a, const void *b)
{
	return strcmp(value_get_string(a, "Name"), value_get_string(b, "Name"));
}

int ctl_machines(struct ctl *ctl, struct value *ret)
{
	sd_bus_message *reply = NULL;
	struct value objects = {};
	int r;

	r = ctl_call_to(ctl, NULL, VMMD_NAME, VMMD_PATH, "org.freedesktop.DBus.ObjectManager",
		"GetManagedObjects", &reply, NULL);
	if (r < 0)
		return r;
	r = value_read(reply, &objects);
	sd_bus_message_unref(reply);
	if (r < 0)
		return ctl_bus_error(ctl, NULL, NULL, r);
	*ret = value_array();
	for (size_t i = 0; i < objects.n_items; i++) {
		const struct value *machine = value_get(&objects.items[i], VMMD_MACHINE);

		if (machine)
			value_append(ret, value_copy(machine));
	}
	value_finish(&objects);
	if (ret->n_items > 0)
		qsort(ret->items, ret->n_items, sizeof(*ret->items), compare_machines);
	return 0;
}

const char *ctl_machine_name(char *argument)
{
	char *name = argument;
	char *end = strstr(name, ".service");

	if (strncmp(name, "vmm@", 4) == 0) {
		name += 4;
		if (end && strcmp(end, ".service") == 0)
			*end = '\0';
	}
	if (config_name_valid(name))
		return name;
	ctl_error("\"%s\" is no machine's name: it has 1 to %d of a-z, 0-9 and -, and - is neither "
		  "first nor last",
		name, CONFIG_MAX_NAME);
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* unit: enable and disable: systemd's own, on the machine's unit. */
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "config.h"
#include "ctl.h"

/* Takes the names in arguments to units of which each has a machine. NULL after telling. */
static char **unit_names(struct ctl *ctl, char **arguments, bool must_exist)
{
	size_t n = 0;
	char **units;

	while (arguments[n])
		n++;
	units = must_alloc(calloc(n + 1, sizeof(*units)));
	for (size_t i = 0; i < n; i++) {
		const char *name = ctl_machine_name(arguments[i]);

		/* Enabling what does not exist would fail at the next boot only. */
		if (!name ||
			(must_exist && ctl_call(ctl, name, "GetMachine", NULL, "s", name) < 0)) {
			for (size_t j = 0; j < i; j++)
				free(units[j]);
			free(units);
			return NULL;
		}
		memmove(arguments[i], name, strlen(name) + 1);
		units[i] = must_printf("vmm@%s.service", arguments[i]);
	}
	return units;
}

static void print_changes(const struct ctl *ctl, sd_bus_message *reply, bool enable)
{
	const char *kind, *link, *target;

	if (enable && sd_bus_message_skip(reply, "b") < 0)
		return;
	if (sd_bus_message_enter_container(reply, 'a', "(sss)") < 0)
		return;
	while (sd_bus_message_read(reply, "(sss)", &kind, &link, &target) > 0) {
		if (strcmp(kind, "symlink") == 0)
			ctl_note(ctl, "Created symlink %s -> %s.", link, target);
		else if (strcmp(kind, "unlink") == 0)
			ctl_note(ctl, "Removed %s.", link);
	}
}

static int change(struct ctl *ctl, char **units, bool enable)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *message = NULL, *reply = NULL;
	int r;

	r = ctl_connect(ctl);
	if (r < 0)
		return r;
	/* The file's [Install] section counts, also when it has just been written. */
	if (enable)
		ctl_reload_systemd(ctl);
	r = sd_bus_message_new_method_call(ctl->bus, &message, SYSTEMD_NAME, SYSTEMD_PATH,
		SYSTEMD_MANAGER, enable ? "EnableUnitFiles" : "DisableUnitFiles");
	if (r >= 0)
		r = sd_bus_message_append_strv(message, units);
	if (r >= 0)
		r = sd_bus_message_append(message, "b", ctl->runtime);
	if (r >= 0 && enable)
		r = sd_bus_message_append(message, "b", false);
	if (r >= 0)
		r = sd_bus_call(ctl->bus, message, 0, &error, &reply);
	if (sd_bus_error_has_names(
		    &error, SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
		ctl_error("there is no systemd here that could %s it", ctl->verb);
	else if (r < 0)
		ctl_bus_error(ctl, NULL, &error, r);
	else
		print_changes(ctl, reply, enable);
	sd_bus_message_unref(message);
	sd_bus_message_unref(reply);
	sd_bus_error_free(&error);
	if (r >= 0)
		ctl_reload_systemd(ctl);
	return r;
}

/* A property of the machine's unit, the caller's. NULL where there is no systemd. */
static char *unit_property(struct ctl *ctl, const char *unit, const char *property)
{
	CLEANUP(free_p) char *path = NULL;
	char *value = NULL;

	if (sd_bus_path_encode(SYSTEMD_PATH "/unit", unit, &path) < 0 ||
		sd_bus_get_property_string(ctl->bus, SYSTEMD_NAME, path,
			"org.freedesktop.systemd1.Unit", property, NULL, &value) < 0)
		return NULL;
	return value;
}

static bool needs_reload(struct ctl *ctl, const char *unit)
{
	CLEANUP(free_p) char *path = NULL;
	int needed = 0;

	return sd_bus_path_encode(SYSTEMD_PATH "/unit", unit, &path) >= 0 &&
	       sd_bus_get_property_trivial(ctl->bus, SYSTEMD_NAME, path,
		       "org.freedesktop.systemd1.Unit", "NeedDaemonReload", NULL, 'b',
		       &needed) >= 0 &&
	       needed;
}

/* Whether a file is newer than the drop-in that was made of it; on this host only. */
static bool is_newer(const struct ctl *ctl, const char *unit, const char *path)
{
	CLEANUP(free_p)
	char *dropin = must_printf("/run/systemd/generator/%s.d/10-vm-file.conf", unit);
	struct stat made, file;

	return !ctl->host && stat(dropin, &made) == 0 && stat(path, &file) == 0 &&
	       (file.st_mtim.tv_sec > made.st_mtim.tv_sec ||
		       (file.st_mtim.tv_sec == made.st_mtim.tv_sec &&
			       file.st_mtim.tv_nsec > made.st_mtim.tv_nsec));
}

/* Whether the file has something to tell systemd; of another host's it is not known. */
static bool has_unit_sections(const struct ctl *ctl, const char *name)
{
	CLEANUP(config_messages_finish) struct config_messages messages = {};
	struct vm_config *config = NULL;
	bool found = false;

	if (ctl->host || config_load("", name, &messages, &config) < 0)
		return false;
	for (size_t i = 0; i < CONFIG_N_PASS_SECTIONS; i++)
		found = found || config->pass[i].n_lines > 0;
	vm_config_free(config);
	return found;
}

void ctl_warn_stale(struct ctl *ctl, const char *name)
{
	CLEANUP(free_p) char *unit = must_printf("vmm@%s.service", name);
	CLEANUP(free_p) char *source = unit_property(ctl, unit, "SourcePath");
	struct value machine = {};
	const char *path;
	bool stale;

	if (!source || ctl_machine(ctl, name, &machine, NULL) < 0)
		return;
	path = value_get_string(&machine, "ConfigPath");
	if (*path == '\0')
		stale = false;
	else if (strcmp(source, path) != 0)
		stale = has_unit_sections(ctl, name);
	else
		stale = needs_reload(ctl, unit) || is_newer(ctl, unit, path);
	if (stale)
		ctl_note(ctl,
			"warning: systemd has not read %s as it is now: [Unit], [Service] and "
			"[Install]\nsections count after vmmctl reload, or systemctl "
			"daemon-reload.",
			path);
	value_finish(&machine);
}

static int enable_or_disable(struct ctl *ctl, char **arguments, bool enable)
{
	char **units;
	int r;

	ctl_open_agent(ctl);
	units = unit_names(ctl, arguments, enable);
	if (!units)
		return EXIT_FAILURE;
	r = change(ctl, units, enable);
	for (size_t i = 0; units[i]; i++)
		free(units[i]);
	free(units);
	if (r < 0)
		return EXIT_FAILURE;
	if (!ctl->now)
		return EXIT_SUCCESS;
	ctl->verb = enable ? "start" : "stop";
	return enable ? verb_start(ctl, arguments) : verb_stop(ctl, arguments);
}

/* Whether a machine of that name is there still: files in other directories define some. */
static bool is_gone(struct ctl *ctl, const char *name)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	bool gone;

	sd_bus_call_method(ctl->bus, VMMD_NAME, VMMD_PATH, VMMD_MANAGER, "GetMachine", &error, NULL,
		"s", name);
	gone = sd_bus_error_has_name(&error, "org.vmmd1.NoSuchMachine");
	sd_bus_error_free(&error);
	return gone;
}

int ctl_disable_undefined(struct ctl *ctl, const char *name)
{
	CLEANUP(free_p) char *unit = must_printf("vmm@%s.service", name);
	sd_bus_message *reply = NULL;
	const char *state;
	bool enabled;

	if (!is_gone(ctl, name) ||
		sd_bus_call_method(ctl->bus, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER,
			"GetUnitFileState", NULL, &reply, "s", unit) < 0)
		return 0;
	enabled = sd_bus_message_read(reply, "s", &state) >= 0 && strcmp(state, "enabled") == 0;
	sd_bus_message_unref(reply);
	return enabled ? change(ctl, (char *[]){ unit, NULL }, false) : 0;
}

int verb_enable(struct ctl *ctl, char **arguments)
{
	return enable_or_disable(ctl, arguments, true);
}

int verb_disable(struct ctl *ctl, char **arguments)
{
	return enable_or_disable(ctl, arguments, false);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* mock-vmmd: calls that change machines. A line is printed for each. */
#include "mock-vmmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int reply_job(sd_bus_message *message, struct machine *machine, const char *state)
{
	unsigned job = ++last_job;
	bool fails = strcmp(machine->name, "broken") == 0 && strcmp(state, "running") == 0;
	char path[64];

	snprintf(path, sizeof(path), MANAGER_PATH "/job/%u", job);
	/* db's signal comes before the reply that names the job. */
	if (strcmp(machine->name, "db") == 0) {
		set_state(machine, state);
		end_job(job, machine->name, "done");
	} else {
		do_later(machine, strcmp(machine->name, "late") == 0 ? 300 : 10,
			fails ? "failed" : state, fails ? "failed" : "done", job);
	}
	return sd_bus_reply_method_return(message, "o", path);
}

int on_start(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct machine *machine;
	const char *mode;
	uint64_t flags;
	int r = get_touchable(message, &machine, error);

	if (r >= 0)
		r = sd_bus_message_read(message, "st", &mode, &flags);
	if (r < 0)
		return r;
	printf("start %s mode=%s flags=%d\n", machine->name, mode, (int)flags);
	return reply_job(message, machine, "running");
}

int on_stop(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct machine *machine;
	const char *how;
	uint64_t timeout, flags;
	int r = get_touchable(message, &machine, error);

	if (r >= 0)
		r = sd_bus_message_read(message, "stt", &how, &timeout, &flags);
	if (r < 0)
		return r;
	if (machine->leader == 0)
		return sd_bus_error_setf(
			error, "org.vmmd1.MachineNotRunning", "%s is not running", machine->name);
	printf("stop %s how=%s timeout=%d flags=%d\n", machine->name, how, (int)timeout,
		(int)flags);
	return reply_job(message, machine, "inactive");
}

int on_reboot(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct machine *machine;
	const char *how;
	uint64_t flags;
	int r = get_touchable(message, &machine, error);

	if (r >= 0)
		r = sd_bus_message_read(message, "st", &how, &flags);
	if (r < 0)
		return r;
	if (machine->leader == 0)
		return sd_bus_error_setf(
			error, "org.vmmd1.MachineNotRunning", "%s is not running", machine->name);
	printf("reboot %s how=%s flags=%d\n", machine->name, how, (int)flags);
	return reply_job(message, machine, "running");
}

int on_simple(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	const char *member = sd_bus_message_get_member(message);
	struct machine *machine;
	int r = get_touchable(message, &machine, error);

	if (r < 0)
		return r;
	printf("%s %s\n", member, machine->name);
	if (strcmp(member, "UndefineMachine") == 0 && machine->leader > 0)
		return sd_bus_error_set(error, "org.vmmd1.MachineBusy", "The machine runs.");
	return sd_bus_reply_method_return(message, NULL);
}

int on_set_limits(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct machine *machine;
	const char *device, *key;
	uint64_t value;
	int r = get_touchable(message, &machine, error);

	if (r >= 0)
		r = sd_bus_message_read(message, "s", &device);
	if (r < 0)
		return r;
	printf("SetMachineLimits %s %s", machine->name, device);
	r = sd_bus_message_enter_container(message, 'a', "{st}");
	while (r >= 0 && (r = sd_bus_message_read(message, "{st}", &key, &value)) > 0)
		printf(" %s=%" PRIu64, key, value);
	putchar('\n');
	return r < 0 ? r : sd_bus_reply_method_return(message, NULL);
}

int on_resize(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct machine *machine;
	const char *drive;
	uint64_t size;
	int r = get_touchable(message, &machine, error);

	if (r >= 0)
		r = sd_bus_message_read(message, "st", &drive, &size);
	if (r < 0)
		return r;
	printf("ResizeMachineDrive %s %s %" PRIu64 "\n", machine->name, drive, size);
	if (strcmp(drive, "root") != 0)
		return sd_bus_error_set(error, "org.vmmd1.NoSuchDevice", "there is no such drive");
	return sd_bus_reply_method_return(message, NULL);
}

int on_attach(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct machine *machine;
	const char *device, *key, *value;
	int r = get_touchable(message, &machine, error);

	if (r >= 0)
		r = sd_bus_message_read(message, "s", &device);
	if (r < 0)
		return r;
	printf("%s %s %s", sd_bus_message_get_member(message), machine->name, device);
	r = sd_bus_message_enter_container(message, 'a', "(ss)");
	while (r >= 0 && (r = sd_bus_message_read(message, "(ss)", &key, &value)) > 0)
		printf(" %s=%s", key, value);
	putchar('\n');
	return r < 0 ? r : sd_bus_reply_method_return(message, NULL);
}

int on_detach(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct machine *machine;
	uint64_t timeout_usec, flags;
	const char *device;
	int r = get_touchable(message, &machine, error);

	if (r >= 0)
		r = sd_bus_message_read(message, "stt", &device, &timeout_usec, &flags);
	if (r < 0)
		return r;
	printf("%s %s %s timeout=%" PRIu64 " flags=%" PRIu64 "\n",
		sd_bus_message_get_member(message), machine->name, device, timeout_usec, flags);
	if (strcmp(device, "busy") == 0)
		return sd_bus_error_set(
			error, "org.vmmd1.DeviceBusy", "the guest has not given it up in time");
	return sd_bus_reply_method_return(message, NULL);
}

int on_kill(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct machine *machine;
	const char *whom;
	int number, r = get_touchable(message, &machine, error);
	uint64_t flags;

	if (r >= 0)
		r = sd_bus_message_read(message, "sit", &whom, &number, &flags);
	if (r < 0)
		return r;
	printf("kill %s whom=%s signal=%d\n", machine->name, whom, number);
	return sd_bus_reply_method_return(message, NULL);
}

static void print_file(int fd)
{
	char text[4096];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[n < 0 ? 0 : n] = '\0';
	printf("<<<\n%s>>>\n", text);
}

int on_define(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	const char *name;
	uint64_t flags;
	int fd, r = sd_bus_message_read(message, "sht", &name, &fd, &flags);

	if (r < 0)
		return r;
	if (find(name) && !(flags & 1))
		return sd_bus_error_setf(error, "org.vmmd1.MachineExists",
			"The machine %s is defined already.", name);
	printf("define %s flags=%d\n", name, (int)flags);
	print_file(fd);
	return sd_bus_reply_method_return(message, "o", add(name, false)->path);
}

int on_run(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct machine *machine;
	const char *name;
	char path[64];
	uint64_t flags;
	int fd, r = sd_bus_message_read(message, "sht", &name, &fd, &flags);

	if (r < 0)
		return r;
	if (find(name))
		return sd_bus_error_setf(
			error, "org.vmmd1.MachineExists", "The machine %s is there already.", name);
	printf("run %s flags=%d\n", name, (int)flags);
	print_file(fd);
	machine = add(name, true);
	do_later(machine, 10, "running", "done", ++last_job);
	snprintf(path, sizeof(path), MANAGER_PATH "/job/%u", last_job);
	return sd_bus_reply_method_return(message, "oo", machine->path, path);
}

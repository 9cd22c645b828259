/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * methods: what the Manager and the Machine both offer. Each checks its arguments, then the
 * caller, then does it. Runs a second time where polkit had to be asked.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>

#include "base/util.h"
#include "bus.h"
#include "control.h"
#include "error.h"
#include "job.h"
#include "requests.h"
#include "spawn.h"

int method_machine_name(struct bus *bus, sd_bus_message *message, char buffer[VMM_NAME_SIZE],
	const char **ret_name, sd_bus_error *error)
{
	CLEANUP(free_p) char *label = NULL;
	const char *path = sd_bus_message_get_path(message), *name;
	int r;

	if (strcmp(path, BUS_PATH) == 0) {
		r = sd_bus_message_read(message, "s", &name);
		if (r < 0)
			return r;
	} else {
		r = sd_bus_path_decode(path, BUS_MACHINES, &label);
		if (r < 0)
			return r;
		name = r > 0 ? label : "";
	}
	if (!config_name_valid(name)) {
		char *text;

		if (asprintf(&text, "there is no machine \"%.64s\"", name) < 0)
			text = NULL;
		return bus_error_set(error, -VMMD_E_NO_SUCH_MACHINE, text);
	}
	snprintf(buffer, VMM_NAME_SIZE, "%s", name);
	*ret_name = buffer;
	return 0;
}

int method_check_flags(uint64_t flags, uint64_t known, sd_bus_error *error)
{
	if (flags & ~known)
		return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "Unknown flags: 0x%jx",
			(uintmax_t)(flags & ~known));
	return 0;
}

int method_arguments(struct bus *bus, sd_bus_message *message, char buffer[VMM_NAME_SIZE],
	const char **ret_name, sd_bus_error *error, const char *types, ...)
{
	uint64_t flags;
	va_list list;
	int r = method_machine_name(bus, message, buffer, ret_name, error);

	if (r >= 0 && types) {
		va_start(list, types);
		r = sd_bus_message_readv(message, types, list);
		va_end(list);
	}
	if (r >= 0)
		r = sd_bus_message_read(message, "t", &flags);
	return r < 0 ? r : method_check_flags(flags, 0, error);
}

/* After a request for a job: it is kept where that went well. */
static int job_requested(
	struct bus *bus, sd_bus_message *message, int r, char *text, sd_bus_error *error)
{
	if (r >= 0)
		return 1;
	request_drop(bus, message);
	return bus_error_set(error, r, text);
}

int method_start(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	char buffer[VMM_NAME_SIZE], *text = NULL;
	const char *name, *mode;
	bool replace;
	int r;

	r = method_arguments(bus, message, buffer, &name, error, "s", &mode);
	if (r < 0)
		return r;
	replace = mode[0] == 0 || strcmp(mode, "replace") == 0;
	if (!replace && strcmp(mode, "fail") != 0)
		return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
			"\"%.32s\" is no mode: it is replace or fail", mode);
	r = polkit_check(bus, message, ACTION_MANAGE_MACHINES, name, "start", method_start, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = request_keep(bus, message, false, error);
	if (r < 0)
		return r;
	r = manager_start_machine(bus->manager, name, replace, message, &text);
	return job_requested(bus, message, r, text, error);
}

static int read_how(const char *text, enum stop_how *ret)
{
	static const char *const names[] = {
		[STOP_AUTO] = "auto",
		[STOP_ACPI] = "acpi",
		[STOP_CAD] = "cad",
		[STOP_FORCE] = "force",
	};

	*ret = STOP_AUTO;
	if (!text[0])
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum stop_how)i;
			return 0;
		}
	return -EINVAL;
}

int method_stop(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	char buffer[VMM_NAME_SIZE], *text = NULL;
	const char *name, *how_name;
	uint64_t timeout_usec;
	enum stop_how how;
	int r;

	r = method_arguments(bus, message, buffer, &name, error, "st", &how_name, &timeout_usec);
	if (r < 0)
		return r;
	if (read_how(how_name, &how) < 0)
		return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
			"Unknown way to stop \"%.32s\": auto, acpi, cad or force", how_name);
	r = polkit_check(bus, message, ACTION_MANAGE_MACHINES, name, "stop", method_stop, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = request_keep(bus, message, false, error);
	if (r < 0)
		return r;
	r = manager_stop_machine(bus->manager, name, how, timeout_usec, message, &text);
	return job_requested(bus, message, r, text, error);
}

int method_reboot(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	char buffer[VMM_NAME_SIZE], *text = NULL;
	const char *name, *how_name;
	enum stop_how how;
	int r;

	r = method_arguments(bus, message, buffer, &name, error, "s", &how_name);
	if (r < 0)
		return r;
	if (read_how(how_name, &how) < 0 || (how != STOP_AUTO && how != STOP_FORCE))
		return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
			"Unknown way to reboot \"%.32s\": auto or force", how_name);
	r = polkit_check(
		bus, message, ACTION_MANAGE_MACHINES, name, "reboot", method_reboot, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = request_keep(bus, message, false, error);
	if (r < 0)
		return r;
	r = manager_reboot_machine(bus->manager, name, how == STOP_FORCE, message, &text);
	return job_requested(bus, message, r, text, error);
}

static int simple_request(sd_bus_message *message, struct bus *bus, const char *verb, uint32_t type,
	sd_bus_message_handler_t handler, sd_bus_error *error)
{
	char buffer[VMM_NAME_SIZE];
	const char *name;
	int r;

	r = method_arguments(bus, message, buffer, &name, error, NULL);
	if (r < 0)
		return r;
	r = polkit_check(bus, message, ACTION_MANAGE_MACHINES, name, verb, handler, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	return method_ask_worker(bus, message, name, type, NULL, 0, NULL, error);
}

int method_pause(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	return simple_request(message, userdata, "pause", VMM_CONTROL_PAUSE, method_pause, error);
}

int method_resume(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	return simple_request(
		message, userdata, "resume", VMM_CONTROL_RESUME, method_resume, error);
}

/* ---- counters ---- */

/* Pages that are resident, as bytes; 0 where the process has gone. */
static uint64_t read_resident_bytes(pid_t pid)
{
	unsigned long long pages = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%*u %llu", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The time of all its threads, the guest's included. */
static uint64_t read_cpu_nsec(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
		return 0;
	return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

static int append_stats(sd_bus_message *reply, const struct request *request,
	const struct vmm_control_message *answer)
{
	const struct vmm_control_stats *stats = &answer->stats;
	uint64_t exits = 0;
	char key[32];
	int r;

	for (uint32_t i = 0; i < stats->n_cpus; i++)
		exits += stats->exits[i];
	r = sd_bus_message_open_container(reply, 'a', "{st}");
	if (r >= 0)
		r = sd_bus_message_append(reply, "{st}{st}{st}{st}", "TimestampMonotonic",
			stats->time_usec, "CPUUsageNSec", read_cpu_nsec(request->leader),
			"MemoryResident", read_resident_bytes(request->leader), "Exits", exits);
	for (uint32_t i = 0; r >= 0 && i < stats->n_cpus; i++) {
		snprintf(key, sizeof(key), "VCPU%uExits", i);
		r = sd_bus_message_append(reply, "{st}", key, stats->exits[i]);
	}
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

int method_get_stats(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	return method_query_worker(message, userdata, VMM_CONTROL_GET_STATS, append_stats, error);
}

/* ---- kill ---- */

static void kill_done(void *userdata, int error, const char *text)
{
	struct request *request = userdata;

	if (error < 0)
		request_fail(request, error == -ESRCH ? -VMMD_E_MACHINE_NOT_RUNNING : error, text);
	else
		sd_bus_reply_method_return(request->message, NULL);
	request_free(request);
}

int method_kill(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	char buffer[VMM_NAME_SIZE];
	struct machine *machine;
	struct request *request;
	const char *name, *whom;
	char *text = NULL;
	int32_t signal;
	bool all;
	int r;

	r = method_arguments(bus, message, buffer, &name, error, "si", &whom, &signal);
	if (r < 0)
		return r;
	all = strcmp(whom, "all") == 0;
	if (!all && whom[0] && strcmp(whom, "leader") != 0)
		return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
			"\"%.32s\" cannot be signalled: it is leader or all", whom);
	if (signal < 1 || signal > SIGRTMAX)
		return sd_bus_error_setf(
			error, SD_BUS_ERROR_INVALID_ARGS, "%d is not a signal", signal);
	r = polkit_check(bus, message, ACTION_MANAGE_MACHINES, name, "kill", method_kill, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = manager_get(bus->manager, name, &machine, &text);
	if (r >= 0 && !machine_is_active(machine)) {
		r = -VMMD_E_MACHINE_NOT_RUNNING;
		if (asprintf(&text, "%s is not running", name) < 0)
			text = NULL;
	}
	if (r < 0)
		return bus_error_set(error, r, text);
	r = request_new(bus, message, machine, &request, error);
	if (r < 0)
		return r;
	bus->manager->spawner->kill(machine, all, signal, kill_done, request);
	return 1;
}

/* ---- console ---- */

static void console_done(void *userdata, int error, const struct vmm_control_message *reply)
{
	struct request *request = userdata;

	if (error == -EBUSY)
		request_fail(request, -VMMD_E_CONSOLE_BUSY, NULL);
	else if (error < 0)
		request_refused(request, error, reply);
	else
		sd_bus_reply_method_return(
			request->message, "hs", request->master_fd, request->path);
	request_free(request);
}

/* A pseudo terminal that passes all bytes as they are. The worker gets one side and the client
 * the other: vmmd relays nothing. */
static int open_terminal(int *ret_master, int *ret_slave, char *path, size_t path_size)
{
	CLEANUP(close_p) int master = -EBADF, slave = -EBADF;
	struct termios modes;

	master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || unlockpt(master) < 0)
		return -errno;
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (slave < 0)
		return -errno;
	if (tcgetattr(slave, &modes) < 0)
		return -errno;
	cfmakeraw(&modes);
	if (tcsetattr(slave, TCSANOW, &modes) < 0)
		return -errno;
	if (ptsname_r(master, path, path_size) != 0)
		return -errno;
	*ret_master = TAKE_FD(master);
	*ret_slave = TAKE_FD(slave);
	return 0;
}

int method_open_console(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct bus *bus = userdata;
	struct vmm_control_console console = {};
	CLEANUP(close_p) int slave_fd = -EBADF;
	char buffer[VMM_NAME_SIZE];
	struct machine *machine;
	struct request *request;
	const char *name;
	uint64_t flags;
	int r;

	static_assert(
		VMM_CONSOLE_STEAL == 1 && VMM_CONSOLE_READ_ONLY == 2 && VMM_CONSOLE_REPLAY == 4,
		"the bus has the same bits");

	r = method_machine_name(bus, message, buffer, &name, error);
	if (r >= 0)
		r = sd_bus_message_read(message, "t", &flags);
	if (r >= 0)
		r = method_check_flags(flags, VMM_CONSOLE_FLAGS, error);
	if (r < 0)
		return r;
	r = polkit_check(
		bus, message, ACTION_CONSOLE, name, "open-console", method_open_console, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = request_to_worker(bus, message, name, &machine, &request, error);
	if (r < 0)
		return r;
	r = open_terminal(&request->master_fd, &slave_fd, request->path, sizeof(request->path));
	console.flags = (uint32_t)flags;
	if (r >= 0)
		r = control_request(machine->control, VMM_CONTROL_OPEN_CONSOLE, &console,
			sizeof(console), slave_fd, console_done, request);
	if (r < 0) {
		request_free(request);
		return bus_error_set(error, r, NULL);
	}
	return 1;
}

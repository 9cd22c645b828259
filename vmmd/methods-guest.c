/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* methods-guest: what the Manager and the Machine both offer to talk with a guest: connections by
 * vsock, the size of its console, its memory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "error.h"
#include "requests.h"

/* A connection that waits for the guest: the client reads the answer itself. */
static int ask_for_port(struct machine *machine, uint32_t port, int *ret_fd)
{
	CLEANUP(close_p) int fd = -EBADF;
	char line[32];
	int length, r;

	r = machine_connect_vsock(machine, &fd);
	if (r < 0)
		return r;
	length = snprintf(line, sizeof(line), "CONNECT %u\n", port);
	/* A fresh socket has room for it. */
	if (send(fd, line, (size_t)length, MSG_NOSIGNAL) != length)
		return -ECONNRESET;
	if (fcntl(fd, F_SETFL, 0) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int method_connect_vsock(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	CLEANUP(close_p) int fd = -EBADF;
	struct bus *bus = userdata;
	char buffer[VMM_NAME_SIZE];
	struct machine *machine;
	const char *name;
	uint32_t port;
	int r;

	r = method_arguments(bus, message, buffer, &name, error, "u", &port);
	if (r < 0)
		return r;
	r = polkit_check(
		bus, message, ACTION_CONSOLE, name, "connect-vsock", method_connect_vsock, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = method_running_machine(bus, name, &machine, error);
	if (r < 0)
		return r;
	r = ask_for_port(machine, port, &fd);
	if (r == -ENOENT)
		return bus_error_set(error, -VMMD_E_NOT_SUPPORTED,
			strdup("the machine has no vsock, or one that the host's kernel serves "
			       "(Vhost=yes): AF_VSOCK and its CID reach that"));
	if (r == -EAGAIN)
		return bus_error_set(error, -VMMD_E_LIMITS_EXCEEDED,
			strdup("too many connections wait for the guest"));
	return r < 0 ? bus_error_set(error, r, NULL) : sd_bus_reply_method_return(message, "h", fd);
}

int method_resize_console(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct vmm_control_console console = {};
	struct bus *bus = userdata;
	char buffer[VMM_NAME_SIZE];
	const char *name;
	int r;

	r = method_arguments(
		bus, message, buffer, &name, error, "qq", &console.rows, &console.columns);
	if (r < 0)
		return r;
	r = polkit_check(
		bus, message, ACTION_CONSOLE, name, "resize-console", method_resize_console, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	return method_ask_worker(bus, message, name, VMM_CONTROL_RESIZE_CONSOLE, &console,
		sizeof(console), NULL, error);
}

/* ---- memory ---- */

static int append_memory(sd_bus_message *reply, const struct request *request,
	const struct vmm_control_message *answer)
{
	const struct vmm_control_memory *memory = &answer->memory;
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{ "Base", memory->base_bytes },
		{ "Maximum", memory->maximum_bytes },
		{ "Target", memory->target_bytes },
		{ "Balloon", memory->balloon_bytes },
		{ "Plugged", memory->plugged_bytes },
		{ "Reported", memory->reported_bytes },
		{ "StatsTimestampMonotonic", memory->stats_usec ? memory->stats_usec : UINT64_MAX },
		{ "Free", memory->free_bytes },
		{ "Available", memory->available_bytes },
		{ "Total", memory->total_bytes },
		{ "DiskCaches", memory->disk_caches_bytes },
		{ "SwapIn", memory->swap_in_bytes },
		{ "SwapOut", memory->swap_out_bytes },
		{ "MajorFaults", memory->major_faults },
		{ "MinorFaults", memory->minor_faults },
	};
	int r;

	r = sd_bus_message_open_container(reply, 'a', "{st}");
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(rows); i++)
		if (rows[i].value != UINT64_MAX)
			r = sd_bus_message_append(reply, "{st}", rows[i].name, rows[i].value);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

int method_get_memory(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	return method_query_worker(message, userdata, VMM_CONTROL_GET_MEMORY, append_memory, error);
}

int method_set_memory(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct vmm_control_memory_target target;
	struct bus *bus = userdata;
	char buffer[VMM_NAME_SIZE];
	const char *name;
	int r;

	r = method_arguments(bus, message, buffer, &name, error, "t", &target.bytes);
	if (r < 0)
		return r;
	r = polkit_check(
		bus, message, ACTION_MANAGE_MACHINES, name, "set-memory", method_set_memory, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	return method_ask_worker(
		bus, message, name, VMM_CONTROL_SET_MEMORY, &target, sizeof(target), NULL, error);
}

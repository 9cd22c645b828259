/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* methods: what the Manager and the Machine offer for the devices of a machine that runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "bus.h"
#include "error.h"

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
	uint64_t flags;
	uint32_t port;
	int r;

	r = method_machine_name(bus, message, buffer, &name, error);
	if (r >= 0)
		r = sd_bus_message_read(message, "ut", &port, &flags);
	if (r >= 0)
		r = method_check_flags(flags, 0, error);
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
		return bus_error_set(
			error, -VMMD_E_NOT_SUPPORTED, strdup("the machine has no vsock"));
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
	struct machine *machine;
	const char *name;
	uint64_t flags;
	int r;

	r = method_machine_name(bus, message, buffer, &name, error);
	if (r >= 0)
		r = sd_bus_message_read(message, "qqt", &console.rows, &console.columns, &flags);
	if (r >= 0)
		r = method_check_flags(flags, 0, error);
	if (r < 0)
		return r;
	r = polkit_check(
		bus, message, ACTION_CONSOLE, name, "resize-console", method_resize_console, error);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = method_running_machine(bus, name, &machine, error);
	return r < 0 ? r
		     : method_ask_worker(bus, message, machine, VMM_CONTROL_RESIZE_CONSOLE,
			       &console, sizeof(console), error);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* mock-vmmd: what lies inside of machines: consoles, counters, devices, vsock ports. */
#include "mock-vmmd.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"

/* A guest that echoes in capitals, says the size of its terminal when it reads "size", and powers
 * off or crashes when it reads "off" or "crash". */
static int on_console_input(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct machine *machine = userdata;
	char line[256];
	ssize_t n = read(fd, line, sizeof(line) - 1);

	if (n <= 0 || machine->slave_fd != fd) {
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		return 0;
	}
	line[n] = '\0';
	if (strstr(line, "size")) {
		struct winsize size = {};

		ioctl(fd, TIOCGWINSZ, &size);
		dprintf(fd, "%d x %d\r\n", size.ws_col, size.ws_row);
		return 0;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (line[i] >= 'a' && line[i] <= 'z')
			line[i] = (char)(line[i] - 'a' + 'A');
	}
	vmm_base_write_full(fd, line, (size_t)n);
	if (strstr(line, "CRASH")) {
		machine->result = "guest-panic";
		machine->exit_status = 70;
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		do_later(machine, 50, "failed", "", 0);
	} else if (strstr(line, "OFF")) {
		dprintf(fd, "powers off\r\n");
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		do_later(machine, 50, "inactive", "", 0);
	}
	return 0;
}

static int on_reboot_again(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct machine *machine = userdata;

	sd_event_source_unref(source);
	machine->slave_fd = vmm_base_close(machine->slave_fd);
	machine->state = "starting";
	machine->restarts++;
	changed(machine);
	do_later(machine, 200, "running", "", 0);
	return 0;
}

static int on_crash(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct machine *machine = userdata;

	sd_event_source_unref(source);
	dprintf(machine->slave_fd, "Kernel panic\r\n");
	machine->result = "guest-panic";
	machine->exit_status = 70;
	set_state(machine, "failed");
	return 0;
}

int on_console(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct machine *machine;
	struct termios raw;
	sd_event_source *source;
	char path[64];
	uint64_t flags;
	int master, r = get_touchable(message, &machine, error);

	if (r >= 0)
		r = sd_bus_message_read(message, "t", &flags);
	if (r < 0)
		return r;
	if (strcmp(machine->state, "running") != 0)
		return sd_bus_error_setf(
			error, "org.vmmd1.MachineNotRunning", "%s is not running", machine->name);
	printf("console %s flags=%d\n", machine->name, (int)flags);
	cfmakeraw(memset(&raw, 0, sizeof(raw)));
	raw.c_cflag |= CS8 | CREAD;
	r = openpty(&master, &machine->slave_fd, path, &raw, NULL);
	assert(r == 0);
	fcntl(machine->slave_fd, F_SETFD, FD_CLOEXEC);
	if (flags & 4)
		dprintf(machine->slave_fd, "so far\r\n");
	if (strcmp(machine->name, "crash") != 0)
		sd_event_add_io(event, NULL, machine->slave_fd, EPOLLIN, on_console_input, machine);
	else if (machine->restarts == 1)
		sd_event_add_time_relative(
			event, &source, CLOCK_MONOTONIC, 200000, 0, on_reboot_again, machine);
	else
		sd_event_add_time_relative(
			event, &source, CLOCK_MONOTONIC, 200000, 0, on_crash, machine);
	r = sd_bus_reply_method_return(message, "hs", master, path);
	close(master);
	return r;
}

/* Counters that grow by a fixed amount with each question. */
int on_stats(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	static uint64_t n;
	struct machine *machine;
	const char *name;
	int r = sd_bus_message_read(message, "s", &name);

	if (r >= 0)
		r = get_machine(name, &machine, error);
	if (r < 0)
		return r;
	if (machine->leader == 0)
		return sd_bus_error_setf(
			error, "org.vmmd1.MachineNotRunning", "%s is not running", name);
	if (strcmp(name, "web") == 0)
		n++;
	return sd_bus_reply_method_return(message, "a{st}", 6, "TimestampMonotonic", n * 1000000,
		"CPUUsageNSec", n * 250000000, "MemoryResident", UINT64_C(3) << 20, "Exits",
		n * 1000, "VCPU0Exits", n * 600, "VCPU1Exits", n * 400);
}

int on_devices(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	static uint64_t n;
	const char *name;
	int r = sd_bus_message_read(message, "s", &name);

	if (r < 0)
		return r;
	if (strcmp(name, "odd") == 0)
		return sd_bus_reply_method_return(message, "a(ssa{sv})", 2, "drive", "root", 7,
			"State", "s", "present", "Attached", "b", 0, "Size", "t", UINT64_C(8) << 30,
			"ReadBytes", "t", UINT64_C(70) << 20, "WriteBytes", "t", UINT64_C(5) << 20,
			"BandwidthLimit", "t", UINT64_C(20) << 20, "IOPSLimit", "t", UINT64_C(500),
			"network", "lan", 5, "State", "s", "leaving", "Attached", "b", 1, "Link",
			"s", "up", "ReceivedBytes", "t", UINT64_C(1000), "TransmittedBytes", "t",
			UINT64_C(2000));
	if (strcmp(name, "web") != 0)
		return sd_bus_reply_method_return(message, "a(ssa{sv})", 0);
	n++;
	return sd_bus_reply_method_return(message, "a(ssa{sv})", 2, "drive", "root", 3, "ReadBytes",
		"t", n * 4096, "WriteBytes", "t", n * 1048576, "Errors", "t", UINT64_C(0),
		"network", "net0", 2, "ReceivedBytes", "t", n * 2048, "TransmittedBytes", "t",
		n * 1024);
}

/* Port 7 gives back what it gets, and ends when its peer does. */
static int on_echo(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	char text[4096];
	ssize_t n = read(fd, text, sizeof(text));

	if (n > 0 && vmm_base_write_full(fd, text, (size_t)n) == 0)
		return 0;
	close(fd);
	sd_event_source_disable_unref(source);
	return 0;
}

/* Port 7 accepts, 9 the third time only, 5 never says anything, 3 says nonsense, others refuse. */
int on_connect(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	static unsigned n_tries;
	struct machine *machine;
	sd_event_source *source;
	uint64_t flags;
	uint32_t port;
	int fds[2], r = get_touchable(message, &machine, error);

	if (r >= 0)
		r = sd_bus_message_read(message, "ut", &port, &flags);
	if (r < 0)
		return r;
	if (strcmp(machine->state, "running") != 0)
		return sd_bus_error_setf(
			error, "org.vmmd1.MachineNotRunning", "%s is not running", machine->name);
	r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
	assert(r == 0);
	printf("connect %s %u\n", machine->name, port);
	/* web has sshd. */
	if (port == 7 || (port == 22 && strcmp(machine->name, "web") == 0) ||
		(port == 9 && ++n_tries % 3 == 0)) {
		dprintf(fds[1], "OK 1024\n");
		sd_event_add_io(event, &source, fds[1], EPOLLIN, on_echo, NULL);
	} else if (port == 3) {
		dprintf(fds[1], "NONSENSE\n");
		close(fds[1]);
	} else if (port != 5) {
		close(fds[1]);
	}
	r = sd_bus_reply_method_return(message, "h", fds[0]);
	close(fds[0]);
	return r;
}

int on_memory(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct machine *machine;
	int r = get_touchable(message, &machine, error);

	if (r < 0)
		return r;
	return sd_bus_reply_method_return(message, "a{st}", 2, "Base", machine->memory, "Target",
		machine->target > 0 ? machine->target : machine->memory);
}

int on_set_memory(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct machine *machine;
	uint64_t flags;
	int r = get_touchable(message, &machine, error);

	if (r >= 0)
		r = sd_bus_message_read(message, "tt", &machine->target, &flags);
	if (r < 0)
		return r;
	printf("memory %s %ju flags=%d\n", machine->name, (uintmax_t)machine->target, (int)flags);
	return sd_bus_reply_method_return(message, NULL);
}

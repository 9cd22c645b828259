/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The worker as a whole, on this machine's /dev/kvm, with bare-metal guests: how it ends, what it
 * refuses, what its control socket and its console do, and what is left of its privileges.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <vmmcore/platform.h>

#include "../unit/unit.h"
#include "base/util.h"
#include "harness.h"

static struct worker worker;
static struct guest guest;

static void setup(void)
{
	guest = (struct guest){ .size = 0 };
	worker = (struct worker){ .pid = -1 };
}

static void teardown(void)
{
	if (worker.directory[0])
		worker_finish(&worker);
}

/* ---- ends ---- */

static void spin_after(void)
{
	guest_spin(&guest);
}

static void end_poweroff(void)
{
	guest_poweroff(&guest);
}

static void end_reset(void)
{
	guest_reset(&guest);
}

static void end_i8042_reset(void)
{
	guest_outb(&guest, VMM_I8042_COMMAND_PORT, 0xfe);
	spin_after();
}

static void end_panic(void)
{
	guest_panic(&guest);
}

static void end_triple_fault(void)
{
	guest_triple_fault(&guest);
}

static const struct {
	void (*make)(void);
	int status;
	const char *said;
} ends[] = {
	{ end_poweroff, 0, "The guest powered off." },
	{ end_reset, 133, "The guest reboots." },
	{ end_i8042_reset, 133, "The guest reboots." },
	{ end_panic, 70, "The guest panicked." },
	{ end_triple_fault, 70, "triple fault" },
};

START_TEST(guest_ends)
{
	guest_print(&guest, "hello \x1b[1mworld\x1b[0m\r\nand no end");
	ends[_i].make();
	worker_start(&worker, &guest);
	ck_assert_int_eq(worker_wait(&worker), ends[_i].status);
	ck_assert_msg(strstr(worker.output, ends[_i].said), "%s", worker.output);
	ck_assert_msg(strstr(worker.output, "hello world\n"), "%s", worker.output);
	ck_assert_msg(strstr(worker.output, "and no end\n"), "%s", worker.output);
	ck_assert_ptr_nonnull(strstr(worker.notified, "STOPPING=1"));
}
END_TEST

START_TEST(stop_presses_the_button)
{
	guest_wait_button(&guest, 1);
	guest_poweroff(&guest);
	worker_start(&worker, &guest);
	kill(worker.pid, SIGTERM);
	ck_assert_int_eq(worker_wait(&worker), 0);
	ck_assert_ptr_nonnull(strstr(worker.notified, "STATUS=asked the guest to power off"));
	ck_assert_msg(strstr(worker.output, "The guest powered off."), "%s", worker.output);
}
END_TEST

START_TEST(machinectl_poweroff)
{
	guest_wait_button(&guest, 1);
	guest_poweroff(&guest);
	worker_start(&worker, &guest);
	kill(worker.pid, SIGRTMIN + 4);
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

START_TEST(second_stop_is_hard)
{
	spin_after();
	worker_start(&worker, &guest);
	kill(worker.pid, SIGTERM);
	worker_await_notify(&worker, "STOPPING=1");
	kill(worker.pid, SIGTERM);
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

START_TEST(machinectl_reboot_is_ctrl_alt_del)
{
	guest_wait_ctrl_alt_del(&guest);
	guest_print(&guest, "seen\n");
	guest_reset(&guest);
	worker_start(&worker, &guest);
	usleep(200000);
	kill(worker.pid, SIGINT);
	ck_assert_int_eq(worker_wait(&worker), 133);
	ck_assert_ptr_nonnull(strstr(worker.output, "seen"));
}
END_TEST

START_TEST(reload_changes_nothing)
{
	guest_wait_button(&guest, 1);
	guest_poweroff(&guest);
	worker_start(&worker, &guest);
	kill(worker.pid, SIGHUP);
	kill(worker.pid, SIGTERM);
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

START_TEST(several_cpus)
{
	guest_print(&guest, "up\n");
	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	worker.spec.n_cpus = 4;
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

START_TEST(memory_above_the_hole)
{
	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	worker.spec.memory_bytes = UINT64_C(5) << 30;
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

START_TEST(watchdog_is_fed)
{
	static const char *const environment[] = { "WATCHDOG_USEC=300000", NULL };

	spin_after();
	worker_prepare(&worker, &guest);
	worker_exec(&worker, environment);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	worker_await_notify(&worker, "WATCHDOG=1");
}
END_TEST

/* ---- refusals ---- */

static int open_text(const char *text)
{
	int fd = memfd_create("text", MFD_CLOEXEC);

	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	return fd;
}

static void add_drive(int fd)
{
	struct vmm_spec_drive *drive = &worker.spec.drives[worker.spec.n_drives++];

	strcpy(drive->id, "root");
	drive->fd = worker_add_fd(&worker, fd);
}

static void replace_kernel(int fd)
{
	close(worker.fds[worker.spec.kernel_fd]);
	worker.fds[worker.spec.kernel_fd] = fd;
}

static void bad_kernel(void)
{
	replace_kernel(open_text("this is no kernel"));
}

static void empty_kernel(void)
{
	replace_kernel(open_text(""));
}

static void directory_kernel(void)
{
	replace_kernel(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static void large_initrd(void)
{
	int fd = memfd_create("initrd", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, 64 << 20), 0);
	worker.spec.initrd_fd = worker_add_fd(&worker, fd);
}

static void empty_initrd(void)
{
	worker.spec.initrd_fd = worker_add_fd(&worker, open_text(""));
}

static void no_kvm(void)
{
	close(worker.fds[worker.spec.kvm_fd]);
	worker.fds[worker.spec.kvm_fd] = open("/dev/null", O_RDWR | O_CLOEXEC);
}

static void too_much_memory(void)
{
	worker.spec.memory_bytes = UINT64_C(1) << 40;
}

static void no_memory(void)
{
	worker.spec.memory_bytes = 0;
}

static void too_many_cpus(void)
{
	worker.spec.n_cpus = 65;
}

static void add_network(int fd)
{
	struct vmm_spec_network *net = &worker.spec.networks[worker.spec.n_networks++];

	strcpy(net->id, "lan");
	net->mac[0] = 2;
	net->n_taps = 1;
	net->tap_fds[0] = worker_add_fd(&worker, fd);
}

static void network_no_tap(void)
{
	add_network(open("/dev/null", O_RDWR | O_CLOEXEC));
}

static void network_vhost(void)
{
	add_network(open("/dev/null", O_RDWR | O_CLOEXEC));
	worker.spec.networks[0].vhost_fds[0] =
		worker_add_fd(&worker, open("/dev/null", O_RDWR | O_CLOEXEC));
}

static void with_vsock(void)
{
	worker.spec.vsock_cid = 3;
}

static void empty_drive(void)
{
	add_drive(open_text(""));
}

static void odd_drive(void)
{
	add_drive(open_text("0123456789"));
}

static void directory_drive(void)
{
	add_drive(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	worker.spec.drives[0].flags = VMM_DRIVE_READ_ONLY;
}

static void read_only_drive(void)
{
	char path[64];
	int fd = memfd_create("disk", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	add_drive(open(path, O_RDONLY | O_CLOEXEC));
	close(fd);
}

static void character_drive(void)
{
	add_drive(open("/dev/zero", O_RDWR | O_CLOEXEC));
}

static void unused_fd(void)
{
	worker_add_fd(&worker, open_text("x"));
}

static const struct {
	void (*break_it)(void);
	const char *said;
} refusals[] = {
	{ bad_kernel, "kernel" },
	{ empty_kernel, "kernel" },
	{ directory_kernel, "kernel" },
	{ large_initrd, "initrd" },
	{ empty_initrd, "initrd" },
	{ no_kvm, "KVM" },
	{ too_much_memory, "memory" },
	{ no_memory, "memory" },
	{ too_many_cpus, "CPUs" },
	{ network_no_tap, "network lan: a descriptor is no tap" },
	{ network_vhost, "network lan: this worker has no vhost" },
	{ with_vsock, "vsock" },
	{ empty_drive, "drive root: is empty" },
	{ odd_drive, "drive root: its size" },
	{ directory_drive, "drive root: is a directory" },
	{ read_only_drive, "drive root: is not open for writing" },
	{ character_drive, "drive root: is neither" },
	{ unused_fd, "used by nothing" },
};

START_TEST(config_errors)
{
	const char *end;

	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	refusals[_i].break_it();
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	ck_assert_msg(worker_wait(&worker) == 78, "%s", worker.output);
	ck_assert_msg(strstr(worker.output, refusals[_i].said), "%s", worker.output);
	ck_assert_ptr_null(strstr(worker.notified, "READY=1"));
	/* One line. */
	end = strchr(worker.output, '\n');
	ck_assert(end && end[1] == '\0');
}
END_TEST

START_TEST(broker_refuses)
{
	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	worker_exec(&worker, NULL);
	ck_assert_int_eq(
		vmm_broker_send_refused(worker.broker_fd, 78, "/etc/vmm/test.vm:7: no such disk"),
		0);
	ck_assert_int_eq(worker_wait(&worker), 78);
	ck_assert_str_eq(worker.output, "vmmd-worker: test: /etc/vmm/test.vm:7: no such disk\n");
}
END_TEST

START_TEST(broker_goes_away)
{
	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	worker_exec(&worker, NULL);
	worker.broker_fd = vmm_base_close(worker.broker_fd);
	ck_assert_int_eq(worker_wait(&worker), 1);
	ck_assert_ptr_nonnull(strstr(worker.output, "vmmd"));
}
END_TEST

START_TEST(broker_sends_another_spec)
{
	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	strcpy(worker.spec.name, "other");
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	ck_assert_int_eq(worker_wait(&worker), 78);
	ck_assert_ptr_nonnull(strstr(worker.output, "another machine"));
}
END_TEST

/* ---- control ---- */

START_TEST(control_status)
{
	struct vmm_control_message reply;
	int fd;

	guest_wait_button(&guest, 1);
	guest_poweroff(&guest);
	worker_start(&worker, &guest);
	fd = worker_connect(&worker);
	ck_assert_int_eq(
		worker_request(&worker, fd, VMM_CONTROL_GET_STATUS, NULL, 0, -EBADF, &reply), 0);
	ck_assert_uint_eq(reply.status.state, VMM_STATE_RUNNING);
	ck_assert_uint_eq(reply.status.memory_bytes, 32 << 20);
	ck_assert_uint_eq(reply.status.n_cpus, 1);
	ck_assert_uint_gt(reply.status.ready_usec, reply.status.start_usec);
	ck_assert_str_eq(reply.status.text, "running");
	ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_POWER_BUTTON), 0);
	worker_await_event(fd, VMM_EVENT_POWERED_OFF, &reply);
	ck_assert_uint_eq(reply.event.end, VMM_END_POWEROFF);
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

static uint64_t guest_progress(int console, int n_msec)
{
	char data[65536];
	uint64_t n_bytes = 0;
	ssize_t n;

	for (int i = 0; i < n_msec / 10; i++) {
		usleep(10000);
		while ((n = recv(console, data, sizeof(data), MSG_DONTWAIT)) > 0)
			n_bytes += (uint64_t)n;
	}
	return n_bytes;
}

static int open_console(int control_fd, uint32_t flags, int expected)
{
	struct vmm_control_console console = { .flags = flags };
	struct vmm_control_message reply;
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(worker_request(&worker, control_fd, VMM_CONTROL_OPEN_CONSOLE, &console,
				 sizeof(console), pair[1], &reply),
		expected);
	ck_assert(expected != 0 || reply.console.id != 0);
	vmm_base_close(pair[1]);
	return pair[0];
}

START_TEST(control_pause_and_resume)
{
	struct vmm_control_message reply;
	int fd, console;

	guest_print_for_ever(&guest, 'x');
	worker_start(&worker, &guest);
	fd = worker_connect(&worker);
	console = open_console(fd, 0, 0);
	ck_assert_uint_gt(guest_progress(console, 200), 0);
	ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_PAUSE), 0);
	guest_progress(console, 100);
	ck_assert_uint_eq(guest_progress(console, 300), 0);
	ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_PAUSE), -EALREADY);
	ck_assert_int_eq(
		worker_request(&worker, fd, VMM_CONTROL_GET_STATUS, NULL, 0, -EBADF, &reply), 0);
	ck_assert_uint_eq(reply.status.state, VMM_STATE_PAUSED);
	ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_RESUME), 0);
	ck_assert_uint_gt(guest_progress(console, 200), 0);
	ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_RESUME), -EALREADY);
	/* A hard stop ends a paused machine, too. */
	ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_PAUSE), 0);
	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_STOP,
				 &(struct vmm_control_how){ .how = VMM_HOW_HARD },
				 sizeof(struct vmm_control_how), -EBADF, &reply),
		0);
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

START_TEST(stop_of_a_paused_guest)
{
	int fd;

	guest_wait_button(&guest, 1);
	guest_poweroff(&guest);
	worker_start(&worker, &guest);
	fd = worker_connect(&worker);
	ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_PAUSE), 0);
	kill(worker.pid, SIGTERM);
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

START_TEST(control_drive)
{
	struct vmm_control_drive drive = { .id = "root" };
	struct vmm_control_drive_rate rate = { .id = "root", .rate.ops.rate_per_second = 100 };
	struct vmm_control_message reply;
	int disk = memfd_create("disk", MFD_CLOEXEC);
	int fd;

	ck_assert_int_eq(ftruncate(disk, 1 << 20), 0);
	spin_after();
	worker_prepare(&worker, &guest);
	add_drive(fcntl(disk, F_DUPFD_CLOEXEC, 0));
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	fd = worker_connect(&worker);
	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_GET_DRIVE, &drive, sizeof(drive),
				 -EBADF, &reply),
		0);
	ck_assert_uint_eq(reply.drive_stats.size_bytes, 1 << 20);
	ck_assert_uint_ne(reply.drive_stats.engine, VMM_ENGINE_AUTO);

	/* Its owner makes the file larger; the worker is told, and checks the size. */
	ck_assert_int_eq(ftruncate(disk, 3 << 20), 0);
	drive.size_bytes = 2 << 20;
	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_RESIZE_DRIVE, &drive,
				 sizeof(drive), -EBADF, &reply),
		-ERANGE);
	drive.size_bytes = 3 << 20;
	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_RESIZE_DRIVE, &drive,
				 sizeof(drive), -EBADF, &reply),
		0);
	drive.size_bytes = 0;
	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_GET_DRIVE, &drive, sizeof(drive),
				 -EBADF, &reply),
		0);
	ck_assert_uint_eq(reply.drive_stats.size_bytes, 3 << 20);
	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_SET_DRIVE_RATE, &rate,
				 sizeof(rate), -EBADF, &reply),
		0);
	/* Pause and resume go through the drive, too. */
	ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_PAUSE), 0);
	ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_RESUME), 0);
	vmm_base_close(disk);
}
END_TEST

START_TEST(control_hard_reboot)
{
	struct vmm_control_how how = { .how = VMM_HOW_HARD };
	struct vmm_control_message reply;

	spin_after();
	worker_start(&worker, &guest);
	ck_assert_int_eq(worker_request(&worker, worker_connect(&worker), VMM_CONTROL_REBOOT, &how,
				 sizeof(how), -EBADF, &reply),
		0);
	ck_assert_int_eq(worker_wait(&worker), 133);
}
END_TEST

START_TEST(control_refuses_nonsense)
{
	char data[100] = "nonsense";
	int fds[VMM_CONTROL_MAX_CLIENTS + 1];
	int fd;

	spin_after();
	worker_start(&worker, &guest);
	/* Who speaks nonsense is dropped. */
	fd = worker_connect(&worker);
	ck_assert_int_eq(send(fd, data, sizeof(data), 0), sizeof(data));
	ck_assert_int_eq(read(fd, data, sizeof(data)), 0);
	vmm_base_close(fd);
	/* There is room for so many, and the next is dropped. */
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = worker_connect(&worker);
	for (size_t i = 0; i < VMM_CONTROL_MAX_CLIENTS; i++)
		ck_assert_int_eq(worker_ask(&worker, fds[i], VMM_CONTROL_POWER_BUTTON), 0);
	ck_assert_int_le(read(fds[VMM_CONTROL_MAX_CLIENTS], data, sizeof(data)), 0);
	/* A drive that there is not. */
	struct vmm_control_drive drive = { .id = "none" };
	struct vmm_control_message reply;

	ck_assert_int_eq(worker_request(&worker, fds[0], VMM_CONTROL_GET_DRIVE, &drive,
				 sizeof(drive), -EBADF, &reply),
		-ENODEV);
}
END_TEST

START_TEST(control_slow_reader_is_dropped)
{
	char data[2000];
	int fd, other;
	ssize_t n;

	spin_after();
	worker_start(&worker, &guest);
	fd = worker_connect(&worker);
	other = worker_connect(&worker);
	/* Each pause and resume is two events to fd, which reads none of them. */
	for (int i = 0; i < 400; i++) {
		ck_assert_int_eq(worker_ask(&worker, other, VMM_CONTROL_PAUSE), 0);
		ck_assert_int_eq(worker_ask(&worker, other, VMM_CONTROL_RESUME), 0);
	}
	do {
		n = read(fd, data, sizeof(data));
	} while (n > 0);
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(worker_ask(&worker, other, VMM_CONTROL_PAUSE), 0);
}
END_TEST

/* ---- console ---- */

START_TEST(console_echo)
{
	char data[256];
	int control, console;

	guest_print(&guest, "before");
	guest_echo(&guest);
	guest_poweroff(&guest);
	worker_start(&worker, &guest);
	control = worker_connect(&worker);
	console = open_console(control, VMM_CONSOLE_REPLAY, 0);
	await_text(console, data, sizeof(data), "before");
	ck_assert_int_eq(write(console, "ping pong", 9), 9);
	await_text(console, data, sizeof(data), "ping pong");
	ck_assert_int_eq(write(console, "", 1), 1);
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

START_TEST(console_one_writer_many_readers)
{
	char data[256];
	int control, writer, reader, thief;

	guest_echo(&guest);
	guest_poweroff(&guest);
	worker_start(&worker, &guest);
	control = worker_connect(&worker);
	writer = open_console(control, 0, 0);
	vmm_base_close(open_console(control, 0, -EBUSY));
	reader = open_console(control, VMM_CONSOLE_READ_ONLY, 0);
	ck_assert_int_eq(write(reader, "ignored", 7), 7);
	ck_assert_int_eq(write(writer, "seen", 4), 4);
	await_text(reader, data, sizeof(data), "seen");
	ck_assert_ptr_null(strstr(data, "ignored"));
	await_text(writer, data, sizeof(data), "seen");

	thief = open_console(control, VMM_CONSOLE_STEAL, 0);
	ck_assert_int_eq(read(writer, data, sizeof(data)), 0);
	ck_assert_int_eq(write(thief, "stolen", 6), 6);
	await_text(reader, data, sizeof(data), "stolen");
}
END_TEST

START_TEST(console_on_a_pty)
{
	struct vmm_control_console console = { .rows = 24, .columns = 80 };
	struct vmm_control_message reply;
	char data[256];
	int control, master, slave;

	guest_echo(&guest);
	guest_poweroff(&guest);
	worker_start(&worker, &guest);
	control = worker_connect(&worker);
	master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_eq(grantpt(master), 0);
	ck_assert_int_eq(unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(slave, 0);
	ck_assert_int_eq(worker_request(&worker, control, VMM_CONTROL_OPEN_CONSOLE, &console,
				 sizeof(console), master, &reply),
		0);
	vmm_base_close(master);
	ck_assert_int_eq(write(slave, "over the pty\n", 13), 13);
	await_text(slave, data, sizeof(data), "over the pty");
	console.id = reply.console.id;
	ck_assert_int_eq(worker_request(&worker, control, VMM_CONTROL_RESIZE_CONSOLE, &console,
				 sizeof(console), -EBADF, &reply),
		-EOPNOTSUPP);
	/* The other end goes: the worker takes note, and there is room for the next writer. */
	vmm_base_close(slave);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(worker_request(&worker, control, VMM_CONTROL_GET_STATUS, NULL, 0,
					 -EBADF, &reply),
			0);
		if (reply.status.n_consoles == 0)
			break;
		usleep(10000);
	}
	ck_assert_uint_eq(reply.status.n_consoles, 0);
}
END_TEST

START_TEST(console_limits)
{
	int control;

	spin_after();
	worker_start(&worker, &guest);
	control = worker_connect(&worker);
	for (int i = 0; i < 16; i++)
		open_console(control, VMM_CONSOLE_READ_ONLY, 0);
	open_console(control, VMM_CONSOLE_READ_ONLY, -EUSERS);

	struct vmm_control_console console = { .flags = 0 };
	struct vmm_control_message reply;
	int file = memfd_create("file", MFD_CLOEXEC);

	ck_assert_int_eq(worker_request(&worker, control, VMM_CONTROL_OPEN_CONSOLE, &console,
				 sizeof(console), file, &reply),
		-ENOTTY);
}
END_TEST

static long resident_kib(pid_t pid)
{
	char path[64], line[256];
	long kib = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	fclose(file);
	return kib;
}

START_TEST(console_flood_is_bounded)
{
	char data[65536];
	long before_kib;
	int control, slow, console;

	guest_echo(&guest);
	guest_flood(&guest, 'f', 80000);
	guest_print(&guest, "\nflooded\n");
	guest_echo(&guest);
	guest_poweroff(&guest);
	worker_start(&worker, &guest);
	control = worker_connect(&worker);
	console = open_console(control, 0, 0);
	slow = open_console(control, VMM_CONSOLE_READ_ONLY, 0);
	before_kib = resident_kib(worker.pid);
	ck_assert_int_eq(write(console, "", 1), 1);
	/* slow does not read; the guest goes on all the same, and nothing grows. */
	worker_await_output(&worker, "flooded");
	ck_assert_int_lt(resident_kib(worker.pid), before_kib + 300);
	/* What is left in the ring is there for who comes late. */
	vmm_base_close(slow);
	slow = open_console(control, VMM_CONSOLE_READ_ONLY | VMM_CONSOLE_REPLAY, 0);
	await_text(slow, data, sizeof(data), "flooded");
	ck_assert_ptr_nonnull(strstr(data, "ffff"));
}
END_TEST

START_TEST(console_paste_is_not_lost)
{
	static char sent[20000], got[20001];
	size_t n_sent = 0, n_got = 0;
	int control, console;
	ssize_t n;

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (char)('a' + i % 26);
	guest_echo(&guest);
	guest_poweroff(&guest);
	worker_start(&worker, &guest);
	control = worker_connect(&worker);
	console = open_console(control, 0, 0);
	fcntl(console, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 2000 && n_got < sizeof(sent); i++) {
		n = write(console, sent + n_sent, sizeof(sent) - n_sent);
		if (n > 0)
			n_sent += (size_t)n;
		n = read(console, got + n_got, sizeof(sent) - n_got);
		if (n > 0)
			n_got += (size_t)n;
		else
			usleep(10000);
	}
	ck_assert_uint_eq(n_got, sizeof(sent));
	ck_assert_int_eq(memcmp(sent, got, sizeof(sent)), 0);
}
END_TEST

/* ---- sandbox ---- */

static void read_file(const char *path, char *data, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	ck_assert_msg(fd >= 0, "%s", path);
	n = read(fd, data, size - 1);
	ck_assert_int_ge(n, 0);
	data[n] = '\0';
	vmm_base_close(fd);
}

static int open_tap(void)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ioctl(fd, TUNSETIFF, &request), 0);
	return fd;
}

START_TEST(sandbox_of_each_thread)
{
	char path[300], data[8192];
	struct dirent *entry;
	int n_threads = 0;
	DIR *directory;

	spin_after();
	worker_prepare(&worker, &guest);
	worker.spec.n_cpus = 2;
	worker.spec.uid = worker.spec.gid = 65533;
	int disk = memfd_create("disk", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(disk, 1 << 20), 0);
	add_drive(disk);
	add_network(open_tap());
	worker.spec.flags = VMM_SPEC_RNG;
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");

	snprintf(path, sizeof(path), "/proc/%d/task", worker.pid);
	directory = opendir(path);
	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", worker.pid, entry->d_name);
		read_file(path, data, sizeof(data));
		ck_assert_msg(strstr(data, "Seccomp:\t2\n"), "%s", data);
		ck_assert_msg(strstr(data, "NoNewPrivs:\t1\n"), "%s", data);
		ck_assert_msg(strstr(data, "Uid:\t65533\t65533\t65533\t65533\n"), "%s", data);
		ck_assert_msg(strstr(data, "Gid:\t65533\t65533\t65533\t65533\n"), "%s", data);
		ck_assert_msg(strstr(data, "Groups:\t \n"), "%s", data);
		ck_assert_msg(strstr(data, "CapPrm:\t0000000000000000\n"), "%s", data);
		ck_assert_msg(strstr(data, "CapEff:\t0000000000000000\n"), "%s", data);
		ck_assert_msg(strstr(data, "CapInh:\t0000000000000000\n"), "%s", data);
		ck_assert_msg(strstr(data, "CapBnd:\t0000000000000000\n"), "%s", data);
		ck_assert_msg(strstr(data, "CapAmb:\t0000000000000000\n"), "%s", data);
		n_threads++;
	}
	closedir(directory);
	/* The loop's, two vCPUs, at least one of the drive's, the network's. */
	ck_assert_int_ge(n_threads, 5);

	/* Its root is empty and read-only. */
	snprintf(path, sizeof(path), "/proc/%d/root", worker.pid);
	directory = opendir(path);
	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory)))
		ck_assert_msg(entry->d_name[0] == '.', "%s", entry->d_name);
	closedir(directory);
	snprintf(path, sizeof(path), "/proc/%d/root/file", worker.pid);
	ck_assert_int_eq(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600), -1);
	ck_assert_int_eq(errno, EROFS);
	snprintf(path, sizeof(path), "/proc/%d/limits", worker.pid);
	read_file(path, data, sizeof(data));
	ck_assert_ptr_nonnull(strstr(data, "Max core file size        0                    0 "));
}
END_TEST

START_TEST(stray_descriptors_are_closed)
{
	char path[300], target[300];
	struct dirent *entry;
	DIR *directory;
	int stray = open("/etc/passwd", O_RDONLY); /* inherited: not close-on-exec */
	ssize_t n;

	ck_assert_int_ge(fcntl(stray, F_DUPFD, 500), 500);
	spin_after();
	worker_start(&worker, &guest);
	snprintf(path, sizeof(path), "/proc/%d/fd", worker.pid);
	directory = opendir(path);
	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory))) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", worker.pid, entry->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		ck_assert_msg(!strstr(target, "passwd"), "%s is %s", entry->d_name, target);
	}
	closedir(directory);
	close(stray);
}
END_TEST

/* ---- the program ---- */

START_TEST(size_and_memory)
{
	struct stat status;
	const char *stripped = getenv("VMMD_WORKER_STRIPPED");
	int fd;

	if (stripped) {
		ck_assert_int_eq(stat(stripped, &status), 0);
		ck_assert_int_le(status.st_size, 1258291);
	}
	guest_print(&guest, "up");
	guest_echo(&guest);
	worker_prepare(&worker, &guest);
	worker.spec.memory_bytes = 128 << 20;
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	fd = open_console(worker_connect(&worker), VMM_CONSOLE_REPLAY, 0);
	await_text(fd, worker.output, sizeof(worker.output), "up");
	/* All of it, with the few pages that this guest touches. */
	if (stripped)
		ck_assert_int_lt(resident_kib(worker.pid), 3 << 10);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("worker");
	TCase *tcase;

	if (access("/dev/kvm", R_OK | W_OK) != 0) {
		puts("skipped: no /dev/kvm");
		return 77;
	}
	if (geteuid() != 0) {
		puts("skipped: not root");
		return 77;
	}
	tcase = unit_case(suite, "ends");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, guest_ends, 0, ARRAY_SIZE(ends));
	tcase_add_test(tcase, stop_presses_the_button);
	tcase_add_test(tcase, machinectl_poweroff);
	tcase_add_test(tcase, second_stop_is_hard);
	tcase_add_test(tcase, machinectl_reboot_is_ctrl_alt_del);
	tcase_add_test(tcase, reload_changes_nothing);
	tcase_add_test(tcase, several_cpus);
	tcase_add_test(tcase, memory_above_the_hole);
	tcase_add_test(tcase, watchdog_is_fed);
	tcase = unit_case(suite, "refusals");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, config_errors, 0, ARRAY_SIZE(refusals));
	tcase_add_test(tcase, broker_refuses);
	tcase_add_test(tcase, broker_goes_away);
	tcase_add_test(tcase, broker_sends_another_spec);
	tcase = unit_case(suite, "control");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, control_status);
	tcase_add_test(tcase, control_pause_and_resume);
	tcase_add_test(tcase, stop_of_a_paused_guest);
	tcase_add_test(tcase, control_drive);
	tcase_add_test(tcase, control_hard_reboot);
	tcase_add_test(tcase, control_refuses_nonsense);
	tcase_add_test(tcase, control_slow_reader_is_dropped);
	tcase = unit_case(suite, "console");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, console_echo);
	tcase_add_test(tcase, console_one_writer_many_readers);
	tcase_add_test(tcase, console_on_a_pty);
	tcase_add_test(tcase, console_limits);
	tcase_add_test(tcase, console_flood_is_bounded);
	tcase_add_test(tcase, console_paste_is_not_lost);
	tcase = unit_case(suite, "sandbox");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, sandbox_of_each_thread);
	tcase_add_test(tcase, stray_descriptors_are_closed);
	tcase = unit_case(suite, "program");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, size_and_memory);
	return unit_run(suite);
}

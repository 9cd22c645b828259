/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Drives and networks that come and go while the guest runs. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/util.h"
#include "test-worker.h"
#include "worker/message.h"

static int make_disk(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	return fd;
}

static int attach_drive(int control_fd, const char *id, int disk)
{
	struct vmm_spec_drive drive = { .fd = 1 };
	struct vmm_control_message reply;

	snprintf(drive.id, sizeof(drive.id), "%s", id);
	return worker_request(
		&worker, control_fd, VMM_CONTROL_ATTACH_DRIVE, &drive, sizeof(drive), disk, &reply);
}

static int attach_network(int control_fd, const char *id, int socket_fd)
{
	struct vmm_spec_network network = { .mac = { 2 }, .stream_fd = 1 };
	struct vmm_control_message reply;

	snprintf(network.id, sizeof(network.id), "%s", id);
	return worker_request(&worker, control_fd, VMM_CONTROL_ATTACH_NETWORK, &network,
		sizeof(network), socket_fd, &reply);
}

static int detach(int control_fd, const char *id, uint32_t kind, uint32_t flags,
	uint64_t timeout_usec, struct vmm_control_message *ret_reply)
{
	struct vmm_control_detach request = {
		.kind = kind, .flags = flags, .timeout_usec = timeout_usec
	};

	snprintf(request.id, sizeof(request.id), "%s", id);
	return worker_request(&worker, control_fd, VMM_CONTROL_DETACH, &request, sizeof(request),
		-EBADF, ret_reply);
}

static unsigned int n_devices(int control_fd, struct vmm_control_device *ret_last)
{
	struct vmm_control_index request = {};
	struct vmm_control_message reply;
	unsigned int n = 0;

	for (;;) {
		ck_assert_int_eq(worker_request(&worker, control_fd, VMM_CONTROL_GET_DEVICE,
					 &request, sizeof(request), -EBADF, &reply),
			0);
		if (reply.device.kind == VMM_DEVICE_NONE)
			return n;
		if (ret_last)
			*ret_last = reply.device;
		request.index = reply.device.next;
		n++;
	}
}

/* KVM has threads of its own in the process that uses it. */
static bool is_of_kernel(const char *directory, const char *task)
{
	char path[512], name[16] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/%s/comm", directory, task);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, name, sizeof(name) - 1) < 0)
		name[0] = '\0';
	vmm_base_close(fd);
	return strncmp(name, "kvm-", 4) == 0;
}

/* Of the worker. */
static unsigned int count(const char *what)
{
	const struct dirent *entry;
	char path[64];
	unsigned int n = 0;
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%d/%s", worker.pid, what);
	directory = opendir(path);
	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory)))
		n += entry->d_name[0] != '.' && !is_of_kernel(path, entry->d_name);
	closedir(directory);
	return n;
}

/* The kernel needs a moment to forget a thread that has been joined. */
static void expect_count(const char *what, unsigned int n)
{
	for (int i = 0; i < 200 && count(what) != n; i++)
		usleep(10000);
	ck_assert_uint_eq(count(what), n);
}

static int start(void)
{
	int fd;

	spin_after();
	worker_start(&worker, &guest);
	fd = worker_connect(&worker);
	/* It has been accepted. */
	ck_assert_uint_eq(n_devices(fd, NULL), 0);
	return fd;
}

START_TEST(attach_and_take_away)
{
	struct vmm_control_device device;
	struct vmm_control_message reply;
	int fd = start(), disk = make_disk();
	unsigned int n_fds = count("fd"), n_threads = count("task");

	ck_assert_uint_eq(n_devices(fd, NULL), 0);
	ck_assert_int_eq(attach_drive(fd, "data", disk), 0);
	ck_assert_uint_eq(n_devices(fd, &device), 1);
	ck_assert_str_eq(device.id, "data");
	ck_assert_uint_eq(device.kind, VMM_DEVICE_DRIVE);
	ck_assert_uint_eq(device.flags, VMM_DEVICE_ATTACHED);
	ck_assert_uint_eq(device.state, VMM_DEVICE_PRESENT);
	ck_assert_uint_eq(device.engine, VMM_ENGINE_THREADS);
	ck_assert_uint_gt(device.slot, 0);
	ck_assert_uint_eq(device.size_bytes, 1 << 20);
	ck_assert_int_eq(attach_drive(fd, "data", disk), -EEXIST);

	/* This guest knows nothing of PCI: it never gives it up. */
	ck_assert_int_eq(detach(fd, "data", VMM_DEVICE_DRIVE, 0, 300000, &reply), -ETIMEDOUT);
	ck_assert_uint_eq(n_devices(fd, &device), 1);
	ck_assert_uint_eq(device.state, VMM_DEVICE_PRESENT);
	ck_assert_int_eq(detach(fd, "data", VMM_DEVICE_DRIVE, VMM_DETACH_FORCE, 300000, &reply), 0);
	ck_assert_uint_eq(n_devices(fd, NULL), 0);
	expect_count("fd", n_fds);
	expect_count("task", n_threads);
	ck_assert_int_eq(
		detach(fd, "data", VMM_DEVICE_DRIVE, VMM_DETACH_FORCE, 0, &reply), -ENODEV);
	close(disk);
}
END_TEST

START_TEST(attach_network_and_pause)
{
	struct vmm_control_device device;
	struct vmm_control_message reply;
	int fd = start(), sockets[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	ck_assert_int_eq(attach_network(fd, "lan", sockets[0]), 0);
	ck_assert_uint_eq(n_devices(fd, &device), 1);
	ck_assert_uint_eq(device.kind, VMM_DEVICE_NETWORK);
	/* A drive and a network may have one name. */
	ck_assert_int_eq(attach_drive(fd, "lan", sockets[0]), -EINVAL);
	ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_PAUSE), 0);
	ck_assert_int_eq(attach_network(fd, "other", sockets[0]), -EBUSY);
	ck_assert_int_eq(
		detach(fd, "lan", VMM_DEVICE_NETWORK, VMM_DETACH_FORCE, 0, &reply), -EBUSY);
	ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_RESUME), 0);
	ck_assert_int_eq(detach(fd, "lan", VMM_DEVICE_DRIVE, VMM_DETACH_FORCE, 0, &reply), -ENODEV);
	ck_assert_int_eq(detach(fd, "lan", VMM_DEVICE_NETWORK, VMM_DETACH_FORCE, 0, &reply), 0);
	/* Its other end learns it. */
	close(sockets[0]);
	ck_assert_int_eq(recv(sockets[1], &device, 1, 0), 0);
	close(sockets[1]);
}
END_TEST

/* What is wrong with a file is said, and leaves nothing behind. */
START_TEST(attach_what_is_no_drive)
{
	int fd = start(), disk = make_disk(), pair[2];
	unsigned int n_fds = count("fd"), n_threads = count("task");

	ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
	ck_assert_int_eq(attach_drive(fd, "data", pair[0]), -EINVAL);
	ck_assert_int_eq(ftruncate(disk, 0), 0);
	ck_assert_int_eq(attach_drive(fd, "data", disk), -EINVAL);
	ck_assert_int_eq(ftruncate(disk, 1000), 0);
	ck_assert_int_eq(attach_drive(fd, "data", disk), -EINVAL);
	ck_assert_int_eq(attach_network(fd, "lan", disk), -EIO);
	ck_assert_uint_eq(n_devices(fd, NULL), 0);
	expect_count("fd", n_fds);
	expect_count("task", n_threads);
	ck_assert_int_eq(ftruncate(disk, 1024), 0);
	ck_assert_int_eq(attach_drive(fd, "data", disk), 0);
	ck_assert_uint_eq(n_devices(fd, NULL), 1);
	close(disk);
}
END_TEST

START_TEST(slots_run_out)
{
	struct vmm_control_message reply;
	int fd = start(), disk = make_disk(), n = 0, r;
	unsigned int n_fds = count("fd");
	char id[32];

	do {
		snprintf(id, sizeof(id), "disk%d", n);
		r = attach_drive(fd, id, disk);
	} while (r == 0 && ++n < 64);
	ck_assert_int_eq(r, -EINVAL);
	ck_assert_int_ge(n, 24);
	ck_assert_int_le(n, 31);
	while (n-- > 0) {
		snprintf(id, sizeof(id), "disk%d", n);
		ck_assert_int_eq(detach(fd, id, VMM_DEVICE_DRIVE, VMM_DETACH_FORCE, 0, &reply), 0);
	}
	expect_count("fd", n_fds);
	close(disk);
}
END_TEST

/* Asked, it gives up what came; each time the place is free again. */
START_TEST(guest_gives_up)
{
	struct vmm_control_message message;
	int disk = make_disk(), fd, events, console;
	char text[1024];

	guest_hotplug(&guest);
	worker_start(&worker, &guest);
	fd = worker_connect(&worker);
	events = worker_connect(&worker);
	console = open_console(fd, 0, 0);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(attach_drive(fd, "data", disk), 0);
		worker_await_event(events, VMM_EVENT_DEVICE_ATTACHED, &message);
		ck_assert_str_eq(message.event.text, "data");
		ck_assert_int_eq(message.event.value, VMM_DEVICE_DRIVE);
		ck_assert_int_eq(detach(fd, "data", VMM_DEVICE_DRIVE, 0, 10000000, &message), 0);
		worker_await_event(events, VMM_EVENT_DEVICE_DETACHED, &message);
	}
	await_text(console, text, sizeof(text), "+-+-");
	ck_assert_uint_eq(n_devices(fd, NULL), 0);
	close(disk);
}
END_TEST

START_TEST(guest_gives_up_unasked)
{
	struct vmm_control_message message;
	int fd;

	guest_echo(&guest);
	guest_eject_all(&guest);
	guest_print(&guest, "ejected\n");
	guest_spin(&guest);
	worker_prepare(&worker, &guest);
	add_drive(make_disk());
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	fd = worker_connect(&worker);
	ck_assert_uint_eq(n_devices(fd, NULL), 1);
	ck_assert_int_eq(write(open_console(fd, 0, 0), "", 1), 1);
	worker_await_event(fd, VMM_EVENT_DEVICE_DETACHED, &message);
	ck_assert_str_eq(message.event.text, "root");
	ck_assert_uint_eq(n_devices(fd, NULL), 0);
	worker_await_output(&worker, "ejected");
}
END_TEST

/* The locks of a file that was there from the start go with it, too. */
START_TEST(lock_goes_with_the_drive)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct vmm_control_message reply;
	char path[64];
	int disk = make_disk(), other, fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
	other = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(fcntl(disk, F_OFD_SETLK, &lock), 0);
	ck_assert_int_lt(fcntl(other, F_OFD_SETLK, &lock), 0);
	spin_after();
	worker_prepare(&worker, &guest);
	add_drive(disk);
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	for (size_t i = 0; i < ARRAY_SIZE(worker.fds); i++)
		if (worker.fds[i] == disk)
			worker.fds[i] = vmm_base_close(disk);
	fd = worker_connect(&worker);
	ck_assert_int_lt(fcntl(other, F_OFD_SETLK, &lock), 0);
	ck_assert_int_eq(detach(fd, "root", VMM_DEVICE_DRIVE, VMM_DETACH_FORCE, 0, &reply), 0);
	/* The kernel takes a ring apart a little later, and it has the file. */
	for (int i = 0; i < 200 && fcntl(other, F_OFD_SETLK, &lock) < 0; i++)
		usleep(10000);
	ck_assert_int_eq(fcntl(other, F_OFD_SETLK, &lock), 0);
	close(other);
}
END_TEST

START_TEST(nothing_leaks)
{
	struct vmm_control_message reply;
	int fd = start(), disk = make_disk(), sockets[2];
	unsigned int n_fds = 0, n_threads = 0;
	long kib = 0;

	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
		ck_assert_int_eq(attach_drive(fd, "data", disk), 0);
		ck_assert_int_eq(attach_network(fd, "lan", sockets[0]), 0);
		ck_assert_int_eq(
			detach(fd, "data", VMM_DEVICE_DRIVE, VMM_DETACH_FORCE, 0, &reply), 0);
		ck_assert_int_eq(
			detach(fd, "lan", VMM_DEVICE_NETWORK, VMM_DETACH_FORCE, 0, &reply), 0);
		close(sockets[0]);
		close(sockets[1]);
		if (i == 9) {
			n_fds = count("fd");
			n_threads = count("task");
			kib = resident_kib(worker.pid);
		}
	}
	expect_count("fd", n_fds);
	expect_count("task", n_threads);
	/* A sanitizer keeps what was freed for a while. */
	if (getenv("VMMD_WORKER_STRIPPED"))
		ck_assert_int_le(resident_kib(worker.pid), kib + 64);
	close(disk);
}
END_TEST

/* A client that goes away meanwhile is not answered, and nor is the one that has its place. */
START_TEST(client_goes_away)
{
	struct vmm_control_detach request = {
		.id = "data", .kind = VMM_DEVICE_DRIVE, .timeout_usec = 200000
	};
	struct vmm_control_message message;
	int fd = start(), disk = make_disk(), other;

	ck_assert_int_eq(attach_drive(fd, "data", disk), 0);
	ck_assert_int_eq(vmm_control_send_request(
				 fd, VMM_CONTROL_DETACH, 77, &request, sizeof(request), NULL, 0),
		0);
	usleep(50000);
	close(fd);
	other = worker_connect(&worker);
	ck_assert_int_eq(worker_ask(&worker, other, VMM_CONTROL_POWER_BUTTON), 0);
	ck_assert_int_eq(
		vmm_message_wait(other, POLLIN, vmm_message_deadline(500000000)), -ETIMEDOUT);
	ck_assert_int_eq(vmm_control_receive_answer(other, &message), -EAGAIN);
	ck_assert_uint_eq(n_devices(other, NULL), 1);
	close(disk);
}
END_TEST

START_TEST(mmio_has_none)
{
	struct vmm_control_message reply;
	int fd, disk = make_disk();

	spin_after();
	worker_prepare(&worker, &guest);
	worker.spec.transport = VMM_TRANSPORT_MMIO;
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	fd = worker_connect(&worker);
	ck_assert_int_eq(attach_drive(fd, "data", disk), -EOPNOTSUPP);
	ck_assert_int_eq(detach(fd, "data", VMM_DEVICE_DRIVE, 0, 1000, &reply), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(reply.text, "MMIO"));
	close(disk);
}
END_TEST

void add_hotplug_cases(Suite *suite)
{
	TCase *tcase = unit_case(suite, "hotplug");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, attach_and_take_away);
	tcase_add_test(tcase, attach_network_and_pause);
	tcase_add_test(tcase, attach_what_is_no_drive);
	tcase_add_test(tcase, slots_run_out);
	tcase_add_test(tcase, guest_gives_up);
	tcase_add_test(tcase, guest_gives_up_unasked);
	tcase_add_test(tcase, lock_goes_with_the_drive);
	tcase_add_test(tcase, nothing_leaks);
	tcase_add_test(tcase, client_goes_away);
	tcase_add_test(tcase, mmio_has_none);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The worker's control socket. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/util.h"
#include "test-worker.h"
#include "worker/message.h"

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
	/* It is ready before it has run its first instruction. */
	reply.stats.exits[0] = 0;
	for (int i = 0; i < 1000 && reply.stats.exits[0] == 0; i++) {
		usleep(10000);
		ck_assert_int_eq(
			worker_request(&worker, fd, VMM_CONTROL_GET_STATS, NULL, 0, -EBADF, &reply),
			0);
	}
	ck_assert_uint_eq(reply.stats.n_cpus, 1);
	ck_assert_uint_gt(reply.stats.exits[0], 0);
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
	struct vmm_control_message reply;
	int disk = memfd_create("disk", MFD_CLOEXEC);
	int fd;

	ck_assert_int_eq(ftruncate(disk, 1 << 20), 0);
	spin_after();
	worker_prepare(&worker, &guest);
	add_drive(fcntl(disk, F_DUPFD_CLOEXEC, 0));
	worker.spec.drives[0].cache = (uint32_t)_i;
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
	/* Pause and resume go through the drive, too. */
	ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_PAUSE), 0);
	ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_RESUME), 0);
	vmm_base_close(disk);
}
END_TEST

static int set_rate(int fd, struct vmm_control_set_rate set)
{
	struct vmm_control_message reply;

	return worker_request(&worker, fd, VMM_CONTROL_SET_RATE, &set, sizeof(set), -EBADF, &reply);
}

static void get_device(int fd, uint32_t index, struct vmm_control_device *ret_device)
{
	struct vmm_control_index request = { .index = index };
	struct vmm_control_message reply;

	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_GET_DEVICE, &request,
				 sizeof(request), -EBADF, &reply),
		0);
	*ret_device = reply.device;
}

START_TEST(control_limits)
{
	int disk = memfd_create("disk", MFD_CLOEXEC), fd;
	int sockets[2];
	struct vmm_control_device device;

	ck_assert_int_eq(ftruncate(disk, 1 << 20), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	spin_after();
	worker_prepare(&worker, &guest);
	add_drive(disk);
	worker.spec.drives[0].rate.ops.rate_per_second = 1000;
	worker.spec.n_networks = 1;
	worker.spec.networks[0] = (struct vmm_spec_network){
		.id = "lan",
		.mac = { 2 },
		.stream_fd = worker_add_fd(&worker, sockets[0]),
	};
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	fd = worker_connect(&worker);

	/* One member changes, the others stay. */
	ck_assert_int_eq(set_rate(fd,
				 (struct vmm_control_set_rate){
					 .id = "root",
					 .kind = VMM_DEVICE_DRIVE,
					 .members = VMM_RATE_BYTES | VMM_RATE_BYTES_BURST,
					 .rate[0].bytes = { 1 << 20, 2 << 20, 0 },
				 }),
		0);
	get_device(fd, 0, &device);
	ck_assert_uint_eq(device.kind, VMM_DEVICE_DRIVE);
	ck_assert_str_eq(device.id, "root");
	ck_assert_uint_eq(device.size_bytes, 1 << 20);
	ck_assert_uint_eq(device.rate[0].ops.rate_per_second, 1000);
	ck_assert_uint_eq(device.rate[0].bytes.rate_per_second, 1 << 20);
	ck_assert_uint_eq(device.rate[0].bytes.burst, 2 << 20);
	/* A rate that goes takes its burst with it. */
	ck_assert_int_eq(set_rate(fd,
				 (struct vmm_control_set_rate){
					 .id = "root",
					 .kind = VMM_DEVICE_DRIVE,
					 .members = VMM_RATE_BYTES,
				 }),
		0);
	get_device(fd, 0, &device);
	ck_assert_uint_eq(device.rate[0].bytes.burst, 0);
	ck_assert_uint_eq(device.rate[0].ops.rate_per_second, 1000);
	/* No burst without a rate, and then nothing has changed. */
	ck_assert_int_eq(set_rate(fd,
				 (struct vmm_control_set_rate){
					 .id = "root",
					 .kind = VMM_DEVICE_DRIVE,
					 .members = VMM_RATE_OPS | VMM_RATE_BYTES_BURST,
					 .rate[0].ops.rate_per_second = 5,
					 .rate[0].bytes.burst = 1,
				 }),
		-EINVAL);
	get_device(fd, device.next, &device);
	ck_assert_uint_eq(device.kind, VMM_DEVICE_NETWORK);
	ck_assert_str_eq(device.id, "lan");
	ck_assert_int_eq(
		set_rate(fd,
			(struct vmm_control_set_rate){
				.id = "lan",
				.kind = VMM_DEVICE_NETWORK,
				.members = VMM_RATE_BYTES | VMM_RATE_OPS << VMM_RATE_SECOND,
				.rate[0].bytes.rate_per_second = 70000,
				.rate[1].ops.rate_per_second = 80,
			}),
		0);
	get_device(fd, 1, &device);
	ck_assert_uint_eq(device.rate[0].bytes.rate_per_second, 70000);
	ck_assert_uint_eq(device.rate[1].ops.rate_per_second, 80);
	get_device(fd, device.next, &device);
	ck_assert_uint_eq(device.kind, VMM_DEVICE_NONE);
	get_device(fd, UINT32_MAX, &device);
	ck_assert_uint_eq(device.kind, VMM_DEVICE_NONE);
	/* The kinds have names of their own. */
	ck_assert_int_eq(set_rate(fd,
				 (struct vmm_control_set_rate){
					 .id = "lan",
					 .kind = VMM_DEVICE_DRIVE,
					 .members = VMM_RATE_OPS,
				 }),
		-ENODEV);
	close(sockets[1]);
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

/* A newer vmmd asks for what this worker does not know: it is told so, and goes on. */
START_TEST(control_refuses_the_unknown)
{
	static const struct {
		uint32_t type;
		uint32_t size;
	} requests[] = { { VMM_CONTROL_COUNT, 0 }, { 0x00abcdef, 100 }, { VMM_CONTROL_PAUSE, 8 } };
	struct vmm_control_message sent = {}, reply;
	int control, null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	spin_after();
	worker_start(&worker, &guest);
	control = worker_connect(&worker);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		sent.header = (struct vmm_control_header){
			.magic = VMM_PROTOCOL_MAGIC,
			.version = VMM_CONTROL_VERSION,
			.type = requests[i].type,
			.size = requests[i].size,
			.id = 1000 + i,
		};
		ck_assert_int_eq(vmm_message_send(control, 0, &sent,
					 sizeof(sent.header) + sent.header.size, NULL, 0, &null, 1),
			0);
		do
			ck_assert_int_ge(recv(control, &reply, sizeof(reply), 0),
				(ssize_t)sizeof(reply.header));
		while (reply.header.type == VMM_CONTROL_EVENT);
		ck_assert_uint_eq(reply.header.type, requests[i].type | VMM_CONTROL_REPLY);
		ck_assert_uint_eq(reply.header.id, sent.header.id);
		ck_assert_int_eq(reply.header.result, -EOPNOTSUPP);
		ck_assert_ptr_nonnull(strstr(reply.text, "older"));
		ck_assert_int_eq(worker_ask(&worker, control, VMM_CONTROL_GET_STATUS), 0);
	}
	vmm_base_close(null);
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

void add_control_cases(Suite *suite)
{
	TCase *tcase = unit_case(suite, "control");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, control_status);
	tcase_add_test(tcase, control_pause_and_resume);
	tcase_add_test(tcase, stop_of_a_paused_guest);
	tcase_add_loop_test(tcase, control_drive, 0, VMM_CACHE_COUNT);
	tcase_add_test(tcase, control_limits);
	tcase_add_test(tcase, control_hard_reboot);
	tcase_add_test(tcase, control_refuses_nonsense);
	tcase_add_test(tcase, control_refuses_the_unknown);
	tcase_add_test(tcase, control_slow_reader_is_dropped);
}

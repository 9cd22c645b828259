/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Devices in a worker that runs, as far as they need no driver in the guest. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/util.h"
#include "test-worker.h"

/* As long as the guest has no driver, who wants to reach it is told at once. */
START_TEST(vsock_without_a_driver)
{
	struct sockaddr_un address;
	socklen_t length;
	char byte;

	spin_after();
	worker_prepare(&worker, &guest);
	worker.spec.transport = (uint32_t)_i;
	worker.spec.vsock_cid = 3;
	worker.spec.vsock_listen_fd = worker_add_fd(&worker, listen_somewhere(&address, &length));
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	for (int i = 0; i < 100; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, length), 0);
		ck_assert_int_eq(send(fd, "CONNECT 22\n", 11, MSG_NOSIGNAL), 11);
		ck_assert_int_eq(read(fd, &byte, 1), 0);
		vmm_base_close(fd);
	}
	ck_assert_int_eq(worker_ask(&worker, worker_connect(&worker), VMM_CONTROL_PAUSE), 0);
}
END_TEST

/* Answers to questions that nobody has asked; what came with them is closed. */
START_TEST(vsock_answers_out_of_the_blue)
{
	struct vmm_control_vsock_answer answer = { .id = 1 };
	struct vmm_control_message reply;
	int pair[2], fd;
	char byte;

	spin_after();
	worker_prepare(&worker, &guest);
	worker.spec.vsock_cid = _i ? 3 : 0;
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	fd = worker_connect(&worker);
	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_REFUSE_VSOCK, &answer,
				 sizeof(answer), -EBADF, &reply),
		-ENOENT);
	answer.id = 0;
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_CONNECT_VSOCK, &answer,
					 sizeof(answer), pair[1], &reply),
			-ENOENT);
		vmm_base_close(pair[1]);
		ck_assert_int_eq(read(pair[0], &byte, 1), 0);
		vmm_base_close(pair[0]);
	}
}
END_TEST

/* What is asked for is kept, whether or not a driver is there to follow. */
START_TEST(memory_targets)
{
	struct vmm_control_message reply;
	int fd;

	spin_after();
	worker_prepare(&worker, &guest);
	worker.spec.transport = (uint32_t)_i;
	worker.spec.flags |= VMM_SPEC_BALLOON;
	worker.spec.hotplug_bytes = 64 << 20;
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	fd = worker_connect(&worker);
	ck_assert_int_eq(set_memory(fd, 16 << 20), 0);
	ck_assert_int_eq(set_memory(fd, (16 << 20) + 1), -EINVAL);
	ck_assert_int_eq(set_memory(fd, 33 << 20), -EINVAL);
	ck_assert_int_eq(set_memory(fd, 98 << 20), -ERANGE);
	ck_assert_int_eq(set_memory(fd, UINT64_MAX), -ERANGE);
	ck_assert_int_eq(
		worker_request(&worker, fd, VMM_CONTROL_GET_MEMORY, NULL, 0, -EBADF, &reply), 0);
	ck_assert_uint_eq(reply.memory.flags, VMM_MEMORY_BALLOON | VMM_MEMORY_HOTPLUG);
	ck_assert_uint_eq(reply.memory.base_bytes, 32 << 20);
	ck_assert_uint_eq(reply.memory.maximum_bytes, 96 << 20);
	ck_assert_uint_eq(reply.memory.target_bytes, 16 << 20);
	ck_assert_uint_eq(reply.memory.balloon_bytes, 0);
	ck_assert_uint_eq(reply.memory.plugged_bytes, 0);
	ck_assert_uint_eq(reply.memory.free_bytes, UINT64_MAX);
	ck_assert_int_eq(set_memory(fd, 96 << 20), 0);
	ck_assert_int_eq(set_memory(fd, 0), 0);
	/* What is only there to be plugged costs nothing. */
	ck_assert_int_lt(resident_kib(worker.pid), 16 << 10);
}
END_TEST

START_TEST(memory_without_devices)
{
	int fd;

	spin_after();
	worker_start(&worker, &guest);
	fd = worker_connect(&worker);
	ck_assert_int_eq(set_memory(fd, 16 << 20), -EOPNOTSUPP);
	ck_assert_int_eq(set_memory(fd, 64 << 20), -EOPNOTSUPP);
	ck_assert_int_eq(set_memory(fd, 32 << 20), 0);
}
END_TEST

/* One of each, paused and resumed, and ended from inside. */
START_TEST(all_devices)
{
	struct vmm_control_console size = { .rows = 50, .columns = 132 };
	struct vmm_control_message reply;
	char text[4096];
	int fd, console, pmem;

	guest_print(&guest, "on the serial port");
	guest_wait_button(&guest, 1);
	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	worker.spec.transport = (uint32_t)_i;
	worker.spec.flags |= VMM_SPEC_BALLOON | VMM_SPEC_RNG | VMM_SPEC_VIRTIO_CONSOLE;
	if (_i == VMM_TRANSPORT_PCI)
		worker.spec.flags |= VMM_SPEC_WATCHDOG;
	worker.spec.hotplug_bytes = 64 << 20;
	worker.spec.vsock_cid = 3;
	pmem = memfd_create("pmem", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(pmem, 4 << 20), 0);
	add_drive(pmem);
	worker.spec.drives[0].flags = VMM_DRIVE_PMEM;
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	fd = worker_connect(&worker);
	/* The console is another device, and still shows what the serial port got. */
	console = open_console(fd, VMM_CONSOLE_REPLAY, 0);
	await_text(console, text, sizeof(text), "on the serial port");
	ck_assert_int_eq(send(console, "nobody reads this", 17, 0), 17);
	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_RESIZE_CONSOLE, &size,
				 sizeof(size), -EBADF, &reply),
		0);
	size.id = 77;
	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_RESIZE_CONSOLE, &size,
				 sizeof(size), -EBADF, &reply),
		-ENOENT);
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_PAUSE), 0);
		ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_RESUME), 0);
	}
	ck_assert_int_eq(worker_ask(&worker, fd, VMM_CONTROL_POWER_BUTTON), 0);
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

/* A guest that writes there, and flushes: it is in the file. */
START_TEST(persistent_memory)
{
	struct vmm_control_index index = {};
	struct vmm_control_drive drive = { .id = "root" };
	struct vmm_control_set_rate rate = {
		.id = "root",
		.kind = VMM_DEVICE_DRIVE,
		.members = VMM_RATE_OPS,
	};
	struct vmm_control_message reply;
	char path[128], text[9] = "";
	int fd, pmem;

	spin_after();
	worker_prepare(&worker, &guest);
	worker_take_kernel(&worker, "PMEM_ELF");
	worker.spec.transport = VMM_TRANSPORT_MMIO;
	snprintf(path, sizeof(path), "%s/pmem", worker.directory);
	pmem = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(pmem, 0);
	unlink(path);
	ck_assert_int_eq(ftruncate(pmem, 4 << 20), 0);
	ck_assert_int_eq(pwrite(pmem, "the host", 8, 0), 8);
	add_drive(dup(pmem));
	worker.spec.drives[0].flags = VMM_DRIVE_PMEM;
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	worker_await_output(&worker, "\n");
	if (!strstr(worker.output, "FAILED"))
		worker_await_output(&worker, "flushed");
	ck_assert_msg(!strstr(worker.output, "FAILED"), "%s", worker.output);
	ck_assert_int_eq(pread(pmem, text, 8, 0), 8);
	ck_assert_str_eq(text, "he guest");
	ck_assert_int_eq(pread(pmem, text, 8, (4 << 20) - 8), 8);
	ck_assert_str_eq(text, " its end");

	/* It is in the list, and what it has not is refused. */
	fd = worker_connect(&worker);
	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_GET_DEVICE, &index, sizeof(index),
				 -EBADF, &reply),
		0);
	ck_assert_str_eq(reply.device.id, "root");
	ck_assert_uint_eq(reply.device.kind, VMM_DEVICE_DRIVE);
	ck_assert_uint_eq(reply.device.flags, VMM_DEVICE_PMEM);
	ck_assert_uint_eq(reply.device.size_bytes, 4 << 20);
	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_RESIZE_DRIVE, &drive,
				 sizeof(drive), -EBADF, &reply),
		-EOPNOTSUPP);
	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_GET_DRIVE, &drive, sizeof(drive),
				 -EBADF, &reply),
		-EOPNOTSUPP);
	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_SET_RATE, &rate, sizeof(rate),
				 -EBADF, &reply),
		-EOPNOTSUPP);
	close(pmem);
}
END_TEST

void add_device_cases(Suite *suite)
{
	TCase *tcase = unit_case(suite, "devices");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, vsock_without_a_driver, 0, VMM_TRANSPORT_COUNT);
	tcase_add_loop_test(tcase, vsock_answers_out_of_the_blue, 0, 2);
	tcase_add_loop_test(tcase, memory_targets, 0, VMM_TRANSPORT_COUNT);
	tcase_add_test(tcase, memory_without_devices);
	tcase_add_loop_test(tcase, all_devices, 0, VMM_TRANSPORT_COUNT);
	tcase_add_test(tcase, persistent_memory);
}

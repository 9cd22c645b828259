/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The worker's console: clients, and what a guest can do to them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"
#include "test-worker.h"

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

/* More lines than the log takes in a second, and then a guest that hangs. */
START_TEST(console_last_lines_arrive)
{
	size_t n_lines = 0;

	for (int i = 0; i < 450; i++)
		guest_print(&guest, "x\n");
	guest_print(&guest, "the last words\n");
	spin_after();
	worker_start(&worker, &guest);
	worker_await_output(&worker, "the last words");
	for (const char *c = worker.output; (c = strstr(c, "x\n")); c++)
		n_lines++;
	ck_assert_uint_eq(n_lines, 450);
	ck_assert_ptr_null(strstr(worker.output, "lost"));
}
END_TEST

/* ReadyText=: not before the guest has written it, in pieces if it likes. */
START_TEST(console_says_ready)
{
	char data[256];
	int control, console;

	guest_print(&guest, "boots... log");
	guest_echo(&guest);
	guest_poweroff(&guest);
	worker_prepare(&worker, &guest);
	worker.spec.ready = VMM_READY_GUEST;
	strcpy(worker.spec.ready_text, "login:");
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "EXTEND_TIMEOUT_USEC=");
	control = worker_connect(&worker);
	console = open_console(control, VMM_CONSOLE_REPLAY, 0);
	await_text(console, data, sizeof(data), "log");
	ck_assert_ptr_null(strstr(worker.notified, "READY=1"));
	worker_await_notify(&worker, "STATUS=running, guest boots");
	ck_assert_int_eq(write(console, "in: ", 4), 4);
	worker_await_notify(&worker, "READY=1");
	worker_await_output(&worker, "has written");
	ck_assert_int_eq(write(console, "", 1), 1);
	ck_assert_int_eq(worker_wait(&worker), 0);
}
END_TEST

void add_console_cases(Suite *suite)
{
	TCase *tcase = unit_case(suite, "console");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, console_echo);
	tcase_add_test(tcase, console_one_writer_many_readers);
	tcase_add_test(tcase, console_on_a_pty);
	tcase_add_test(tcase, console_limits);
	tcase_add_test(tcase, console_flood_is_bounded);
	tcase_add_test(tcase, console_last_lines_arrive);
	tcase_add_test(tcase, console_says_ready);
	tcase_add_test(tcase, console_paste_is_not_lost);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* dbus: files that are missing, odd, in use, or do not open. */
#include "life.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "harness.h"

START_TEST(test_missing_files)
{
	DBusConnection *bus = bus_open_watching();
	static const char error[] = "org.vmmd1.BadConfiguration";
	CLEANUP(free_p) char *odd = NULL, *missing = NULL, *dir = NULL, *much = NULL;
	CLEANUP(free_p) char *more = NULL;
	const char *name = "disks";

	put_file("odd.raw", "123");
	ck_assert_int_gt(asprintf(&more, "[Drive]\nName=d\nPath=%s/odd.raw\n", env_root), 0);
	put_machine("disks", "", more);
	call_fails(bus, error, &odd, MANAGER, MANAGER_I, "StartMachine", STRING(name),
		STRING(empty), U64(none), END);
	ck_assert_msg(strstr(odd, "etc/vmm/disks.vm:9: [Drive] Path=: ") &&
			      strstr(odd, "has 3 bytes, which are not whole sectors of 512"),
		"%s", odd);
	put_machine("disks", "", "[Drive]\nName=d\nPath=/nonexistent/d\n");
	call_fails(bus, error, &missing, MANAGER, MANAGER_I, "StartMachine", STRING(name),
		STRING(empty), U64(none), END);
	ck_assert_msg(
		strstr(missing, "\"/nonexistent/d\": No such file or directory"), "%s", missing);
	put_machine("disks", "", "[Drive]\nName=d\nPath=/etc\n");
	call_fails(bus, error, &dir, MANAGER, MANAGER_I, "StartMachine", STRING(name),
		STRING(empty), U64(none), END);
	ck_assert_msg(strstr(dir, "\"/etc\" is a directory"), "%s", dir);
	put_machine("disks", "", "[Machine]\nMemory=1T\n");
	call_fails(bus, error, &much, MANAGER, MANAGER_I, "StartMachine", STRING(name),
		STRING(empty), U64(none), END);
	ck_assert_msg(strstr(much, "1048576 MiB, more than the "), "%s", much);
	expect_string(bus, "disks", "StatusText", much);
	expect_string(bus, "disks", "State", "inactive");
	ck_assert(!file_exists("run/vmmd/machine/disks"));
	bus_close(bus);
}
END_TEST

START_TEST(test_disk_lock)
{
	DBusConnection *bus = bus_open_watching();
	CLEANUP(free_p) char *text = NULL, *more = NULL, *reader = NULL;
	const char *second = "locksecond";
	char sector[513];

	memset(sector, 'x', 512);
	sector[512] = 0;
	put_file("shared.raw", sector);
	ck_assert_int_gt(asprintf(&more, "[Drive]\nName=d\nPath=%s/shared.raw\n", env_root), 0);
	ck_assert_int_gt(asprintf(&reader, "%sReadOnly=yes\n", more), 0);
	put_machine("lockfirst", "", more);
	put_machine("locksecond", "", more);
	start_machine(bus, "lockfirst", "done");
	call_fails(bus, "org.vmmd1.BadConfiguration", &text, MANAGER, MANAGER_I, "StartMachine",
		STRING(second), STRING(empty), U64(none), END);
	ck_assert_msg(
		strstr(text, "shared.raw\" is in use by another machine or program"), "%s", text);
	/* A reader beside a writer would see a torn disk. */
	put_machine("locksecond", "", reader);
	call_fails(bus, "org.vmmd1.BadConfiguration", NULL, MANAGER, MANAGER_I, "StartMachine",
		STRING(second), STRING(empty), U64(none), END);
	/* The lock goes with the worker; readers share. */
	stop_machine(bus, "lockfirst", "force", "done");
	put_machine("lockfirst", "", reader);
	start_machine(bus, "lockfirst", "done");
	start_machine(bus, "locksecond", "done");
	/* A reboot does not meet its own lock. */
	reboot_machine(bus, "lockfirst", "auto");
	stop_machine(bus, "lockfirst", "", "done");
	stop_machine(bus, "locksecond", "", "done");
	bus_close(bus);
}
END_TEST

/* A file that does not open. Everything else goes on meanwhile. */
START_TEST(test_file_that_hangs)
{
	DBusConnection *bus = bus_open_watching();
	DBusPendingCall *pending;
	DBusMessage *reply;
	const char *name = "hangs", *text = NULL;
	int fd;

	fd = put_hanging_machine(name);
	put_machine("meanwhile", "", "");
	pending = call_async(bus, MANAGER, MANAGER_I, "StartMachine", STRING(name), STRING(empty),
		U64(none), END);
	start_machine(bus, "meanwhile", "done");
	stop_machine(bus, "meanwhile", "", "done");
	expect_string(bus, "hangs", "State", "inactive");
	dbus_pending_call_block(pending);
	reply = dbus_pending_call_steal_reply(pending);
	ck_assert(dbus_message_get_args(reply, NULL, DBUS_TYPE_STRING, &text, END));
	ck_assert_ptr_nonnull(dbus_message_get_error_name(reply));
	ck_assert_str_eq(
		text, "a file or device of hangs does not open: no answer within 20 seconds");
	dbus_message_unref(reply);
	dbus_pending_call_unref(pending);
	close(fd);
	bus_close(bus);
}
END_TEST

void add_resource_tests(TCase *tcase)
{
	tcase_add_test(tcase, test_missing_files);
	tcase_add_test(tcase, test_disk_lock);
	tcase_add_test(tcase, test_file_that_hangs);
}

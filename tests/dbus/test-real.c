/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * dbus: the shipped worker with bare-metal guests under vmmd, on this host's /dev/kvm: what a guest
 * does is what clients see.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/util.h"
#include "guests.h"
#include "harness.h"
#include "unit.h"

/* A machine NAME whose kernel is guest. */
static void put_guest(const char *name, const struct guest *guest, const char *more)
{
	CLEANUP(free_p) char *path = NULL, *file = NULL, *text = NULL;
	char buffer[65536];
	int in = guest_open(guest), out;
	ssize_t n;

	ck_assert_int_gt(asprintf(&path, "%s/%s.elf", env_root, name), 0);
	out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ck_assert_int_ge(out, 0);
	n = pread(in, buffer, sizeof(buffer), 0);
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(vmm_base_write_full(out, buffer, (size_t)n), 0);
	close(in);
	close(out);
	ck_assert_int_gt(asprintf(&file, "etc/vmm/%s.vm", name), 0);
	ck_assert_int_gt(
		asprintf(&text, "[Machine]\nMemory=16M\n[Boot]\nKernel=%s\n%s", path, more), 0);
	put_file(file, text);
}

START_TEST(test_console_and_poweroff)
{
	DBusConnection *bus = bus_open_watching();
	struct guest guest = {};
	char path[64];
	struct stat st;
	int fd;

	guest_print(&guest, "hello\n");
	guest_echo(&guest);
	guest_poweroff(&guest);
	put_guest("echo", &guest, "");
	start_machine(bus, "echo", "done");
	expect_string(bus, "echo", "GuestState", "running");
	/* Not root, and not another machine's user. */
	snprintf(path, sizeof(path), "/proc/%u", get_uint(bus, "echo", "Leader"));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_ge(st.st_uid, 61184);
	ck_assert_uint_le(st.st_uid, 65519);
	fd = open_console(bus, "echo", CONSOLE_REPLAY);
	expect_text(fd, "hello");
	ck_assert_int_eq(write(fd, "ping", 4), 4);
	expect_text(fd, "ping");
	/* A byte of 0, and it powers off. */
	ck_assert_int_eq(write(fd, "", 1), 1);
	wait_state(bus, "echo", "inactive");
	expect_string(bus, "echo", "Result", "success");
	close(fd);
	bus_close(bus);
}
END_TEST

/* What GetMachineStats says of key; 0 where it says nothing. */
static dbus_uint64_t get_stat(DBusConnection *bus, const char *name, const char *key)
{
	DBusMessage *reply = call(bus, MANAGER, MANAGER_I, "GetMachineStats", STRING(name), END);
	DBusMessageIter iter, array, entry;
	dbus_uint64_t number = 0;

	ck_assert_str_eq(dbus_message_get_signature(reply), "a{st}");
	dbus_message_iter_init(reply, &iter);
	dbus_message_iter_recurse(&iter, &array);
	for (; dbus_message_iter_get_arg_type(&array) == DBUS_TYPE_DICT_ENTRY;
		dbus_message_iter_next(&array)) {
		const char *found;

		dbus_message_iter_recurse(&array, &entry);
		dbus_message_iter_get_basic(&entry, &found);
		dbus_message_iter_next(&entry);
		if (strcmp(found, key) == 0)
			dbus_message_iter_get_basic(&entry, &number);
	}
	dbus_message_unref(reply);
	return number;
}

START_TEST(test_stats)
{
	DBusConnection *bus = bus_open_watching();
	dbus_uint64_t exits, cpu;
	struct guest guest = {};
	const char *name = "count", *nobody = "nobody";

	guest_print_for_ever(&guest, 'x');
	put_guest("count", &guest, "");
	call_fails(bus, "org.vmmd1.MachineNotRunning", NULL, MANAGER, MANAGER_I, "GetMachineStats",
		STRING(name), END);
	call_fails(bus, "org.vmmd1.NoSuchMachine", NULL, MANAGER, MANAGER_I, "GetMachineStats",
		STRING(nobody), END);
	start_machine(bus, "count", "done");
	exits = get_stat(bus, "count", "Exits");
	cpu = get_stat(bus, "count", "CPUUsageNSec");
	/* Each letter is an exit; a busy host may take its time. */
	for (int i = 0; i < 200 && get_stat(bus, "count", "VCPU0Exits") <= exits; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 50 * 1000 * 1000 }, NULL);
	ck_assert_uint_gt(get_stat(bus, "count", "VCPU0Exits"), exits);
	ck_assert_uint_gt(get_stat(bus, "count", "CPUUsageNSec"), cpu);
	ck_assert_uint_gt(get_stat(bus, "count", "MemoryResident"), 64 << 10);
	ck_assert_uint_eq(get_stat(bus, "count", "VCPU1Exits"), 0);
	stop_machine(bus, "count", "force", "done");
	bus_close(bus);
}
END_TEST

START_TEST(test_stop_and_pause)
{
	DBusConnection *bus = bus_open_watching();
	struct guest guest = {};
	const char *name = "button";

	guest_wait_button(&guest, 1);
	guest_poweroff(&guest);
	put_guest("button", &guest, "");
	start_machine(bus, "button", "done");
	call_ok(bus, MANAGER, MANAGER_I, "PauseMachine", STRING(name), U64(none), END);
	wait_state(bus, "button", "paused");
	call_ok(bus, MANAGER, MANAGER_I, "ResumeMachine", STRING(name), U64(none), END);
	wait_state(bus, "button", "running");
	stop_machine(bus, "button", "auto", "done");
	start_machine(bus, "button", "done");
	stop_machine(bus, "button", "acpi", "done");
	start_machine(bus, "button", "done");
	stop_machine(bus, "button", "force", "done");
	expect_string(bus, "button", "State", "inactive");
	expect_string(bus, "button", "Result", "success");
	bus_close(bus);
}
END_TEST

START_TEST(test_guest_reboots)
{
	DBusConnection *bus = bus_open_watching();
	dbus_uint32_t leader;
	struct guest guest = {};
	int fd;

	guest_print(&guest, "up\n");
	guest_echo(&guest);
	guest_reset(&guest);
	put_guest("reset", &guest, "");
	start_machine(bus, "reset", "done");
	leader = get_uint(bus, "reset", "Leader");
	fd = open_console(bus, "reset", CONSOLE_REPLAY);
	expect_text(fd, "up");
	ck_assert_int_eq(write(fd, "", 1), 1);
	for (int i = 0; i < 500 && get_uint(bus, "reset", "NRestarts") == 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
	ck_assert_uint_eq(get_uint(bus, "reset", "NRestarts"), 1);
	wait_state(bus, "reset", "running");
	ck_assert_uint_ne(get_uint(bus, "reset", "Leader"), leader);
	stop_machine(bus, "reset", "force", "done");
	close(fd);
	bus_close(bus);
}
END_TEST

START_TEST(test_crashes)
{
	DBusConnection *bus = bus_open_watching();
	struct guest panic = {}, triple = {};
	const char *names[] = { "panic", "triple" };
	const char *results[] = { "guest-panic", "triple-fault" };

	guest_panic(&panic);
	guest_triple_fault(&triple);
	put_guest("panic", &panic, "");
	put_guest("triple", &triple, "");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		call_ok(bus, MANAGER, MANAGER_I, "StartMachine", STRING(names[i]), STRING(empty),
			U64(none), END);
		wait_state(bus, names[i], "failed");
		ck_assert_int_eq(get_int(bus, names[i], "ExitStatus"), 70);
		expect_string(bus, names[i], "Result", results[i]);
	}
	bus_close(bus);
}
END_TEST

/* What only the worker can find wrong comes back with the place where it was written. */
START_TEST(test_bad_kernel)
{
	DBusConnection *bus = bus_open_watching();
	CLEANUP(free_p) char *status = NULL;

	put_machine("nokernel", "", "");
	start_machine(bus, "nokernel", "failed");
	wait_state(bus, "nokernel", "failed");
	expect_string(bus, "nokernel", "Result", "configuration");
	ck_assert_int_eq(get_int(bus, "nokernel", "ExitStatus"), 78);
	status = get_string(bus, "nokernel", "StatusText");
	ck_assert_msg(
		strstr(status, "/etc/vmm/nokernel.vm:5: [Boot] Kernel=: kernel: "), "%s", status);
	bus_close(bus);
}
END_TEST

/* With a drive "root" of a megabyte in a file, and the rest of its section. */
static void put_drive_guest(const char *name, char **ret_path)
{
	CLEANUP(free_p) char *file = NULL, *more = NULL;
	struct guest guest = {};

	guest_print(&guest, "up\n");
	guest_spin(&guest);
	ck_assert_int_gt(asprintf(&file, "%s.raw", name), 0);
	put_file(file, "");
	ck_assert_int_gt(asprintf(ret_path, "%s/%s", env_root, file), 0);
	ck_assert_int_eq(truncate(*ret_path, 1 << 20), 0);
	ck_assert_int_gt(
		asprintf(&more, "[Drive]\nName=root\nPath=%s\nIOPSLimit=1000\n", *ret_path), 0);
	put_guest(name, &guest, more);
}

/* The error's name, "" for success; the caller's. */
static char *set_limit(DBusConnection *bus, const char *name, const char *device, const char *key,
	dbus_uint64_t value)
{
	DBusMessage *message =
		dbus_message_new_method_call(NAME, MANAGER, MANAGER_I, "SetMachineLimits");
	DBusError error = DBUS_ERROR_INIT;
	DBusMessageIter iter, array, entry;
	DBusMessage *reply;
	char *said;

	dbus_message_iter_init_append(message, &iter);
	dbus_message_iter_append_basic(&iter, DBUS_TYPE_STRING, &name);
	dbus_message_iter_append_basic(&iter, DBUS_TYPE_STRING, &device);
	dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "{st}", &array);
	dbus_message_iter_open_container(&array, DBUS_TYPE_DICT_ENTRY, NULL, &entry);
	dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &key);
	dbus_message_iter_append_basic(&entry, DBUS_TYPE_UINT64, &value);
	dbus_message_iter_close_container(&array, &entry);
	dbus_message_iter_close_container(&iter, &array);
	dbus_message_iter_append_basic(&iter, DBUS_TYPE_UINT64, &none);
	reply = dbus_connection_send_with_reply_and_block(bus, message, 10000, &error);
	dbus_message_unref(message);
	said = strdup(reply ? "" : error.name);
	if (reply)
		dbus_message_unref(reply);
	dbus_error_free(&error);
	return said;
}

/* A number among the properties of a device; 0 where there is none. */
static dbus_uint64_t get_device(
	DBusConnection *bus, const char *name, const char *device, const char *key)
{
	DBusMessage *reply = call(bus, MANAGER, MANAGER_I, "ListMachineDevices", STRING(name), END);
	DBusMessageIter iter, devices, members, entries, entry, variant;
	dbus_uint64_t value = 0;

	ck_assert(dbus_message_iter_init(reply, &iter));
	dbus_message_iter_recurse(&iter, &devices);
	for (; dbus_message_iter_get_arg_type(&devices) == DBUS_TYPE_STRUCT;
		dbus_message_iter_next(&devices)) {
		const char *text;

		dbus_message_iter_recurse(&devices, &members);
		dbus_message_iter_next(&members);
		dbus_message_iter_get_basic(&members, &text);
		if (strcmp(text, device) != 0)
			continue;
		dbus_message_iter_next(&members);
		dbus_message_iter_recurse(&members, &entries);
		for (; dbus_message_iter_get_arg_type(&entries) == DBUS_TYPE_DICT_ENTRY;
			dbus_message_iter_next(&entries)) {
			dbus_message_iter_recurse(&entries, &entry);
			dbus_message_iter_get_basic(&entry, &text);
			dbus_message_iter_next(&entry);
			dbus_message_iter_recurse(&entry, &variant);
			if (strcmp(text, key) == 0 &&
				dbus_message_iter_get_arg_type(&variant) == DBUS_TYPE_UINT64)
				dbus_message_iter_get_basic(&variant, &value);
		}
	}
	dbus_message_unref(reply);
	return value;
}

static void expect_limit(DBusConnection *bus, const char *device, const char *key,
	dbus_uint64_t value, const char *error)
{
	CLEANUP(free_p) char *said = set_limit(bus, "limits", device, key, value);

	ck_assert_str_eq(said, error);
}

START_TEST(test_limits_and_size)
{
	static const char *const invalid = "org.freedesktop.DBus.Error.InvalidArgs";
	DBusConnection *bus = bus_open_watching();
	CLEANUP(free_p) char *path = NULL;
	const char *name = "limits", *drive = "root", *other = "other";
	dbus_uint64_t size = 3 << 20;

	put_drive_guest(name, &path);
	start_machine(bus, name, "done");
	ck_assert_uint_eq(get_device(bus, name, "root", "IOPSLimit"), 1000);
	ck_assert_uint_eq(get_device(bus, name, "root", "Size"), 1 << 20);
	expect_limit(bus, "root", "BandwidthLimit", 1 << 20, "");
	expect_limit(bus, "root", "IOPSLimit", 50, "");
	ck_assert_uint_eq(get_device(bus, name, "root", "IOPSLimit"), 50);
	ck_assert_uint_eq(get_device(bus, name, "root", "BandwidthLimit"), 1 << 20);
	expect_limit(bus, "root", "BandwidthLimit", 0, "");
	ck_assert_uint_eq(get_device(bus, name, "root", "BandwidthLimit"), 0);
	expect_limit(bus, "root", "BandwidthBurst", 5, invalid);
	expect_limit(bus, "root", "Nonsense", 5, invalid);
	expect_limit(bus, "root", "IOPSLimit", UINT64_MAX, invalid);
	expect_limit(bus, "root", "ReceivePacketLimit", 5, "org.vmmd1.NoSuchDevice");
	expect_limit(bus, "other", "IOPSLimit", 5, "org.vmmd1.NoSuchDevice");
	expect_limit(bus, "a-name-that-is-longer-than-any-device-has", "IOPSLimit", 5, invalid);

	ck_assert_int_eq(truncate(path, 3 << 20), 0);
	ck_assert_uint_eq(get_device(bus, name, "root", "Size"), 1 << 20);
	call_fails(bus, "org.vmmd1.NoSuchDevice", NULL, MANAGER, MANAGER_I, "ResizeMachineDrive",
		STRING(name), STRING(other), U64(none), U64(none), END);
	call_ok(bus, MANAGER, MANAGER_I, "ResizeMachineDrive", STRING(name), STRING(drive),
		U64(size), U64(none), END);
	ck_assert_uint_eq(get_device(bus, name, "root", "Size"), 3 << 20);
	size = 1 << 20;
	call_fails(bus, invalid, NULL, MANAGER, MANAGER_I, "ResizeMachineDrive", STRING(name),
		STRING(drive), U64(size), U64(none), END);
	stop_machine(bus, name, "force", "done");
	call_fails(bus, "org.vmmd1.MachineNotRunning", NULL, MANAGER, MANAGER_I,
		"ListMachineDevices", STRING(name), END);
	bus_close(bus);
}
END_TEST

/* AttachMachineDrive or AttachMachineNetwork with up to two settings; the error's name. */
static char *attach(DBusConnection *bus, const char *member, const char *name, const char *device,
	const char *const settings[4], char **ret_text)
{
	DBusMessage *message = dbus_message_new_method_call(NAME, MANAGER, MANAGER_I, member);
	DBusError error = DBUS_ERROR_INIT;
	DBusMessageIter iter, array, entry;
	DBusMessage *reply;
	char *said;

	dbus_message_iter_init_append(message, &iter);
	dbus_message_iter_append_basic(&iter, DBUS_TYPE_STRING, &name);
	dbus_message_iter_append_basic(&iter, DBUS_TYPE_STRING, &device);
	dbus_message_iter_open_container(&iter, DBUS_TYPE_ARRAY, "(ss)", &array);
	for (size_t i = 0; i < 4 && settings[i]; i += 2) {
		dbus_message_iter_open_container(&array, DBUS_TYPE_STRUCT, NULL, &entry);
		dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &settings[i]);
		dbus_message_iter_append_basic(&entry, DBUS_TYPE_STRING, &settings[i + 1]);
		dbus_message_iter_close_container(&array, &entry);
	}
	dbus_message_iter_close_container(&iter, &array);
	dbus_message_iter_append_basic(&iter, DBUS_TYPE_UINT64, &none);
	reply = dbus_connection_send_with_reply_and_block(bus, message, 20000, &error);
	dbus_message_unref(message);
	said = strdup(reply ? "" : error.name);
	if (ret_text)
		*ret_text = strdup(reply ? "" : error.message);
	if (reply)
		dbus_message_unref(reply);
	dbus_error_free(&error);
	return said;
}

static void expect_attach(DBusConnection *bus, const char *member, const char *device,
	const char *const settings[4], const char *error, const char *text)
{
	CLEANUP(free_p) char *said = NULL, *said_text = NULL;

	said = attach(bus, member, "plug", device, settings, &said_text);
	ck_assert_msg(strcmp(said, error) == 0, "%s: %s", said, said_text);
	ck_assert_msg(strstr(said_text, text), "%s", said_text);
}

static unsigned int count_fds(pid_t pid)
{
	char path[64];
	unsigned int n = 0;
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	directory = opendir(path);
	ck_assert_ptr_nonnull(directory);
	while (readdir(directory))
		n++;
	closedir(directory);
	return n;
}

START_TEST(test_attach_and_detach)
{
	static const char *const bad = "org.vmmd1.BadConfiguration";
	static const char *const never = "org.vmmd1.NotSupportedByGuest";
	const char *const drive = "AttachMachineDrive", *name = "plug", *data = "data";
	DBusConnection *bus = bus_open_watching();
	CLEANUP(free_p) char *root = NULL, *path = NULL;
	dbus_uint64_t second = 1000000, force = 1;
	unsigned int n_worker_fds = 0, n_fds = 0;
	struct guest guest = {};
	pid_t leader;

	put_drive_guest(name, &root);
	guest_hotplug(&guest);
	put_guest(name, &guest, "");
	put_file("data.raw", "");
	ck_assert_int_gt(asprintf(&path, "%s/data.raw", env_root), 0);
	ck_assert_int_eq(truncate(path, 1 << 20), 0);
	start_machine(bus, name, "done");
	leader = (pid_t)get_uint(bus, name, "Leader");

	const char *const good[4] = { "Path", path, "IOPSLimit", "700" };

	for (int i = 0; i < 20; i++) {
		expect_attach(bus, drive, "data", good, "", "");
		call_ok(bus, MANAGER, MANAGER_I, "DetachMachineDrive", STRING(name), STRING(data),
			U64(second), U64(none), END);
		if (i == 2) {
			n_worker_fds = count_fds(leader);
			n_fds = count_fds(env_vmmd_pid());
		}
	}
	ck_assert_uint_eq(count_fds(leader), n_worker_fds);
	ck_assert_uint_eq(count_fds(env_vmmd_pid()), n_fds);

	expect_attach(bus, drive, "data", good, "", "");
	ck_assert_uint_eq(get_device(bus, name, "data", "IOPSLimit"), 700);
	ck_assert_uint_eq(get_device(bus, name, "data", "Size"), 1 << 20);
	/* By the same rules as at the start. */
	expect_attach(bus, drive, "data", good, bad, "in use");
	expect_attach(bus, drive, "two", good, bad, "in use by another machine");
	expect_attach(bus, drive, "two", (const char *const[4]){ "Path", "/nonexistent" }, bad,
		"[Drive] Path=: \"/nonexistent\": No such file");
	expect_attach(bus, drive, "two", (const char *const[4]){ "Path", "/" }, bad, "a directory");
	expect_attach(bus, drive, "two", (const char *const[4]){}, bad, "is required");
	expect_attach(bus, drive, "two", (const char *const[4]){ "Path", path, "Pth", "x" }, bad,
		"[Drive] Pth=: unknown key; did you mean Path=");
	expect_attach(bus, drive, "two", (const char *const[4]){ "Path", "/x\n[Boot]" },
		"org.freedesktop.DBus.Error.InvalidArgs", "setting");
	expect_attach(bus, drive, "two", (const char *const[4]){ "Path", path, "Name", "x" },
		"org.freedesktop.DBus.Error.InvalidArgs", "setting");
	expect_attach(bus, drive, "a/b", good, bad, "[Drive] Name=");
	expect_attach(bus, "AttachMachineNetwork", "lan",
		(const char *const[4]){ "Bridge", "no-such-br0" }, bad, "[Network]");
	/* What shares the guest's memory only comes with a start. */
	expect_attach(bus, drive, "two", (const char *const[4]){ "Socket", "/x" }, never,
		"[Drive] Socket=: who serves it");
	expect_attach(bus, drive, "two", (const char *const[4]){ "Path", path, "Format", "qcow2" },
		never, "[Drive] Format=: who serves it");
	expect_attach(bus, "AttachMachineNetwork", "lan", (const char *const[4]){ "Socket", "/x" },
		never, "[Network] Socket=: who serves it");
	expect_attach(bus, "AttachMachineNetwork", "lan", (const char *const[4]){ "Vhost", "yes" },
		never, "[Network] Vhost=: who serves it");

	dbus_message_unref(wait_signal(bus, MACHINE_I, "DeviceAttached"));
	call_ok(bus, MANAGER, MANAGER_I, "DetachMachineDrive", STRING(name), STRING(data),
		U64(none), U64(force), END);
	dbus_message_unref(wait_signal(bus, MACHINE_I, "DeviceDetached"));
	call_fails(bus, "org.vmmd1.NoSuchDevice", NULL, MANAGER, MANAGER_I, "DetachMachineDrive",
		STRING(name), STRING(data), U64(second), U64(none), END);
	call_fails(bus, "org.freedesktop.DBus.Error.InvalidArgs", NULL, MANAGER, MANAGER_I,
		"DetachMachineDrive", STRING(name), STRING(data), U64(none), U64(none), END);
	stop_machine(bus, name, "force", "done");
	bus_close(bus);
}
END_TEST

START_TEST(test_nothing_left)
{
	expect_nothing_left();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dbus-real");
	TCase *tcase = unit_case(suite, "real");

	if (geteuid() != 0 || !DBUS_DAEMON[0] || access("/dev/kvm", R_OK | W_OK) < 0) {
		puts("skipped: needs root, dbus-daemon and /dev/kvm");
		return 77;
	}
	env_worker = getenv("VMMD_WORKER") ? getenv("VMMD_WORKER") : REAL_WORKER;
	tcase_set_timeout(tcase, 60);
	tcase_add_unchecked_fixture(tcase, env_start, env_stop);
	tcase_add_test(tcase, test_console_and_poweroff);
	tcase_add_test(tcase, test_stats);
	tcase_add_test(tcase, test_stop_and_pause);
	tcase_add_test(tcase, test_guest_reboots);
	tcase_add_test(tcase, test_crashes);
	tcase_add_test(tcase, test_bad_kernel);
	tcase_add_test(tcase, test_limits_and_size);
	tcase_add_test(tcase, test_attach_and_detach);
	tcase_add_test(tcase, test_nothing_left);
	return unit_run(suite);
}

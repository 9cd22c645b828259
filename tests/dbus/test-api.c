/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* dbus: what org.vmmd1 offers: introspection, looking, files, errors. Needs no KVM. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "harness.h"
#include "introspect.h"
#include "unit.h"

static const char good[] = "[Boot]\nKernel=/k\n";

/* ---- introspection ---- */

static char *read_all(const char *path)
{
	char *text = calloc(1, 1 << 16);
	FILE *f = fopen(path, "r");

	ck_assert_msg(f, "%s", path);
	ck_assert_uint_gt(fread(text, 1, (1 << 16) - 1, f), 0);
	fclose(f);
	return text;
}

static void compare_interface(DBusConnection *bus, const char *object, const char *interface)
{
	CLEANUP(free_p) char *path = NULL, *file = NULL, *expected = NULL, *actual = NULL;
	const char *xml;
	DBusMessage *reply;

	ck_assert_int_gt(asprintf(&path, "%s/%s.xml", DBUS_INTERFACES, interface), 0);
	file = read_all(path);
	expected = introspect_interface(file, interface);
	reply = call(bus, object, "org.freedesktop.DBus.Introspectable", "Introspect", END);
	ck_assert(dbus_message_get_args(reply, NULL, STRING(xml), END));
	actual = introspect_interface(xml, interface);
	ck_assert_ptr_nonnull(expected);
	ck_assert_ptr_nonnull(actual);
	ck_assert_uint_gt(strlen(expected), 100);
	ck_assert_str_eq(actual, expected);
	dbus_message_unref(reply);
}

START_TEST(test_introspection)
{
	DBusConnection *bus = bus_open();

	put_machine("intro", "", "");
	call_ok(bus, MANAGER, MANAGER_I, "Reload", END);
	compare_interface(bus, MANAGER, MANAGER_I);
	compare_interface(bus, MANAGER "/machine/intro", MACHINE_I);
	bus_close(bus);
}
END_TEST

/* ---- looking ---- */

START_TEST(test_list)
{
	DBusConnection *bus = bus_open();
	DBusMessageIter iter, array, entry;
	DBusMessage *reply;
	const char *last = "";
	unsigned n = 0;

	put_machine("lista", "", "");
	put_machine("listb", "", "");
	call_ok(bus, MANAGER, MANAGER_I, "Reload", END);
	reply = call(bus, MANAGER, MANAGER_I, "ListMachines", END);
	ck_assert_str_eq(dbus_message_get_signature(reply), "a(ssssuo)");
	dbus_message_iter_init(reply, &iter);
	dbus_message_iter_recurse(&iter, &array);
	for (; dbus_message_iter_get_arg_type(&array) == DBUS_TYPE_STRUCT;
		dbus_message_iter_next(&array)) {
		const char *name, *state;

		dbus_message_iter_recurse(&array, &entry);
		dbus_message_iter_get_basic(&entry, &name);
		dbus_message_iter_next(&entry);
		dbus_message_iter_get_basic(&entry, &state);
		ck_assert_int_lt(strcmp(last, name), 0);
		last = name;
		if (strncmp(name, "list", 4) == 0)
			n++;
	}
	ck_assert_uint_eq(n, 2);
	dbus_message_unref(reply);
	expect_string(bus, "lista", "State", "inactive");
	expect_string(bus, "lista", "Description", "the machine lista");
	expect_string(bus, "lista", "Unit", "vmm@lista.service");
	ck_assert_uint_eq(get_uint(bus, "lista", "CPUs"), 1);
	bus_close(bus);
}
END_TEST

START_TEST(test_object_manager)
{
	DBusConnection *bus = bus_open();
	DBusMessageIter iter, array, entry;
	DBusMessage *reply;
	bool found = false;

	put_machine("managed", "", "");
	call_ok(bus, MANAGER, MANAGER_I, "Reload", END);
	reply = call(bus, MANAGER, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", END);
	ck_assert_str_eq(dbus_message_get_signature(reply), "a{oa{sa{sv}}}");
	dbus_message_iter_init(reply, &iter);
	dbus_message_iter_recurse(&iter, &array);
	for (; dbus_message_iter_get_arg_type(&array) == DBUS_TYPE_DICT_ENTRY;
		dbus_message_iter_next(&array)) {
		const char *path;

		dbus_message_iter_recurse(&array, &entry);
		dbus_message_iter_get_basic(&entry, &path);
		found = found || strcmp(path, MANAGER "/machine/managed") == 0;
	}
	ck_assert(found);
	dbus_message_unref(reply);
	bus_close(bus);
}
END_TEST

START_TEST(test_describe)
{
	DBusConnection *bus = bus_open();
	DBusMessage *reply;
	const char *json;

	put_machine("json", "a\\\"b", "[Drive]\nName=d\nPath=/d\n");
	call_ok(bus, MANAGER, MANAGER_I, "Reload", END);
	reply = call(bus, MANAGER "/machine/json", MACHINE_I, "Describe", END);
	ck_assert(dbus_message_get_args(reply, NULL, STRING(json), END));
	ck_assert_ptr_nonnull(strstr(json, "\"commandLine\":\"a\\\\\\\"b\""));
	ck_assert_ptr_nonnull(strstr(json, "\"drives\":[{\"name\":\"d\",\"path\":\"/d\""));
	dbus_message_unref(reply);
	reply = call(bus, MANAGER, MANAGER_I, "Describe", END);
	ck_assert(dbus_message_get_args(reply, NULL, STRING(json), END));
	ck_assert_ptr_nonnull(strstr(json, "\"spawner\":\"direct\""));
	dbus_message_unref(reply);
	bus_close(bus);
}
END_TEST

START_TEST(test_reload_signals)
{
	DBusConnection *bus = bus_open();
	DBusMessage *signal;
	const char *name, *path;
	char file[128];

	watch_signals(bus);
	put_machine("coming", "", "");
	call_ok(bus, MANAGER, MANAGER_I, "Reload", END);
	signal = wait_signal(bus, MANAGER_I, "MachineNew");
	ck_assert(dbus_message_get_args(
		signal, NULL, STRING(name), DBUS_TYPE_OBJECT_PATH, &path, END));
	ck_assert_str_eq(name, "coming");
	ck_assert_str_eq(path, MANAGER "/machine/coming");
	dbus_message_unref(signal);
	snprintf(file, sizeof(file), "%s/etc/vmm/coming.vm", env_root);
	ck_assert_int_eq(unlink(file), 0);
	call_ok(bus, MANAGER, MANAGER_I, "Reload", END);
	signal = wait_signal(bus, MANAGER_I, "MachineRemoved");
	dbus_message_unref(signal);
	wait_gone(bus, "coming");
	bus_close(bus);
}
END_TEST

/* A file that is put there or goes is seen without a Reload. */
START_TEST(test_watch)
{
	DBusConnection *bus = bus_open();
	DBusMessage *signal;
	char file[128];

	watch_signals(bus);
	put_machine("watched", "", "");
	signal = wait_signal(bus, MANAGER_I, "MachineNew");
	dbus_message_unref(signal);
	expect_string(bus, "watched", "State", "inactive");
	snprintf(file, sizeof(file), "%s/etc/vmm/watched.vm", env_root);
	ck_assert_int_eq(unlink(file), 0);
	signal = wait_signal(bus, MANAGER_I, "MachineRemoved");
	dbus_message_unref(signal);
	bus_close(bus);
}
END_TEST

/* ---- errors ---- */

START_TEST(test_arguments)
{
	static const char invalid[] = "org.freedesktop.DBus.Error.InvalidArgs";
	static const char missing[] = "org.vmmd1.NoSuchMachine";
	static const char *const names[] = { "nosuch", "", "A", "..", "../../etc/passwd", "a b",
		"abcdefghijklmnopqrstuvwxyz01", "vm@x" };
	DBusConnection *bus = bus_open();
	const char *name = "args", *wrong = "wrong", *mode = "fail", *leader = "leader";
	dbus_uint64_t flag = 1, high = UINT64_C(1) << 63;
	dbus_int32_t signals[] = { 0, -1, 65, INT32_MAX, 9 };

	put_machine("args", "", "");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		call_fails(bus, missing, NULL, MANAGER, MANAGER_I, "GetMachine", STRING(names[i]),
			END);
		call_fails(bus, missing, NULL, MANAGER, MANAGER_I, "StartMachine", STRING(names[i]),
			STRING(mode), U64(none), END);
		call_fails(bus, missing, NULL, MANAGER, MANAGER_I, "StopMachine", STRING(names[i]),
			STRING(empty), U64(none), U64(none), END);
		call_fails(bus, missing, NULL, MANAGER, MANAGER_I, "UndefineMachine",
			STRING(names[i]), U64(none), END);
		call_fails(bus, missing, NULL, MANAGER, MANAGER_I, "VerifyMachine",
			STRING(names[i]), END);
	}
	call_fails(bus, invalid, NULL, MANAGER, MANAGER_I, "StartMachine", STRING(name),
		STRING(wrong), U64(none), END);
	call_fails(bus, invalid, NULL, MANAGER, MANAGER_I, "StartMachine", STRING(name),
		STRING(mode), U64(flag), END);
	call_fails(bus, invalid, NULL, MANAGER, MANAGER_I, "StopMachine", STRING(name),
		STRING(wrong), U64(none), U64(none), END);
	call_fails(bus, invalid, NULL, MANAGER, MANAGER_I, "RebootMachine", STRING(name),
		STRING(wrong), U64(none), END);
	call_fails(bus, invalid, NULL, MANAGER, MANAGER_I, "PauseMachine", STRING(name), U64(high),
		END);
	call_fails(bus, invalid, NULL, MANAGER, MANAGER_I, "KillMachine", STRING(name),
		STRING(wrong), I32(signals[4]), U64(none), END);
	for (size_t i = 0; i < 4; i++)
		call_fails(bus, invalid, NULL, MANAGER, MANAGER_I, "KillMachine", STRING(name),
			STRING(leader), I32(signals[i]), U64(none), END);
	/* A signature that is not the method's. */
	call_fails(bus, invalid, NULL, MANAGER, MANAGER_I, "StartMachine", U64(none), END);
	bus_close(bus);
}
END_TEST

START_TEST(test_not_running)
{
	static const char error[] = "org.vmmd1.MachineNotRunning";
	DBusConnection *bus = bus_open();
	const char *name = "idle", *leader = "leader";
	dbus_int32_t signal = 9;

	put_machine("idle", "", "");
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "StopMachine", STRING(name), STRING(empty),
		U64(none), U64(none), END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "RebootMachine", STRING(name),
		STRING(empty), U64(none), END);
	call_fails(
		bus, error, NULL, MANAGER, MANAGER_I, "PauseMachine", STRING(name), U64(none), END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "ResumeMachine", STRING(name), U64(none),
		END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "KillMachine", STRING(name),
		STRING(leader), I32(signal), U64(none), END);
	call_fails(bus, error, NULL, MANAGER, MANAGER_I, "OpenMachineConsole", STRING(name),
		U64(none), END);
	call_fails(bus, error, NULL, MANAGER "/machine/idle", MACHINE_I, "Pause", U64(none), END);
	bus_close(bus);
}
END_TEST

START_TEST(test_no_such_object)
{
	static const char *const paths[] = { MANAGER "/machine/none", MANAGER "/machine/_",
		MANAGER "/job/1", MANAGER "/job/01", MANAGER "/job/x", MANAGER "/job/4294967296" };
	static const char unknown[] = "org.freedesktop.DBus.Error.UnknownObject";
	DBusConnection *bus = bus_open();
	const char *interface = MACHINE_I;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		bool job = strstr(paths[i], "/job/");

		call_fails(bus, unknown, NULL, paths[i], job ? JOB_I : MACHINE_I,
			job ? "Cancel" : "Describe", END);
		call_fails(bus, unknown, NULL, paths[i], PROPERTIES_I, "GetAll", STRING(interface),
			END);
	}
	bus_close(bus);
}
END_TEST

/* ---- files ---- */

static int good_fd(void)
{
	return text_fd(good, strlen(good));
}

START_TEST(test_define)
{
	DBusConnection *bus = bus_open();
	CLEANUP(free_p) char *text = NULL, *path = NULL;
	const char *name = "defined";
	dbus_uint64_t replace = 1;
	struct stat st;
	int fd = good_fd();

	call_ok(bus, MANAGER, MANAGER_I, "DefineMachine", STRING(name), FD(fd), U64(none), END);
	ck_assert_int_gt(asprintf(&path, "%s/etc/vmm/defined.vm", env_root), 0);
	text = read_all(path);
	ck_assert_str_eq(text, good);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0644);
	expect_string(bus, "defined", "ConfigPath", path);
	call_fails(bus, "org.vmmd1.MachineExists", NULL, MANAGER, MANAGER_I, "DefineMachine",
		STRING(name), FD(fd), U64(none), END);
	call_ok(bus, MANAGER, MANAGER_I, "DefineMachine", STRING(name), FD(fd), U64(replace), END);
	ck_assert(!file_exists("etc/vmm/.defined.vm.new"));
	call_ok(bus, MANAGER, MANAGER_I, "UndefineMachine", STRING(name), U64(none), END);
	ck_assert(!file_exists("etc/vmm/defined.vm"));
	wait_gone(bus, "defined");
	close(fd);
	bus_close(bus);
}
END_TEST

static void define_fails(
	DBusConnection *bus, const char *name, int fd, const char *error, const char *expected_text)
{
	CLEANUP(free_p) char *text = NULL, *file = NULL;

	call_fails(bus, error, &text, MANAGER, MANAGER_I, "DefineMachine", STRING(name), FD(fd),
		U64(none), END);
	if (expected_text)
		ck_assert_msg(strstr(text, expected_text), "%s", text);
	ck_assert_int_gt(asprintf(&file, "etc/vmm/%s.vm", name), 0);
	ck_assert(!file_exists(file));
	close(fd);
}

START_TEST(test_define_bad)
{
	static const char bad[] = "org.vmmd1.BadConfiguration";
	static const char invalid[] = "org.freedesktop.DBus.Error.InvalidArgs";
	static char large[256 * 1024 + 1];
	DBusConnection *bus = bus_open();
	const char *name = "badfile";
	dbus_uint64_t flag = 4;
	int pipes[2], fd = good_fd();

	memset(large, '#', sizeof(large));
	define_fails(bus, "badfile", text_fd("[Boot]\nKernel=k\n", 16), bad,
		"etc/vmm/badfile.vm:2: [Boot] Kernel=: \"k\" is not an absolute path");
	define_fails(bus, "badfile", text_fd("", 0), bad, "Kernel=: is required");
	define_fails(bus, "badfile", text_fd("\177ELF\0\0", 6), bad, "not a text file");
	define_fails(bus, "badfile", text_fd(large, sizeof(large)), invalid, "larger than 262144");
	define_fails(bus, "badfile", open("/", O_RDONLY | O_CLOEXEC), invalid, "Not a memfd");
	/* A file may be one whose server never answers. */
	define_fails(bus, "badfile", open("/proc/version", O_RDONLY | O_CLOEXEC), invalid,
		"Not a memfd");
	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	close(pipes[1]);
	define_fails(bus, "badfile", pipes[0], invalid, "Not a memfd");
	define_fails(
		bus, "badfile", open("/dev/zero", O_RDONLY | O_CLOEXEC), invalid, "Not a memfd");
	define_fails(bus, "../escape", good_fd(), invalid, "not a machine's name");
	define_fails(bus, "Big", good_fd(), invalid, "not a machine's name");
	call_fails(bus, invalid, NULL, MANAGER, MANAGER_I, "DefineMachine", STRING(name), FD(fd),
		U64(flag), END);
	close(fd);
	bus_close(bus);
}
END_TEST

/* The messages as "SEVERITY FILE:LINE KEY TEXT\n". */
static char *messages_of(DBusMessage *reply)
{
	DBusMessageIter iter, array, entry;
	char *all = strdup("");

	ck_assert_str_eq(dbus_message_get_signature(reply), "a(ssuss)");
	dbus_message_iter_init(reply, &iter);
	dbus_message_iter_recurse(&iter, &array);
	for (; dbus_message_iter_get_arg_type(&array) == DBUS_TYPE_STRUCT;
		dbus_message_iter_next(&array)) {
		CLEANUP(free_p) char *before = all;
		const char *texts[5];
		dbus_uint32_t line = 0;

		dbus_message_iter_recurse(&array, &entry);
		for (int i = 0; i < 5; i++, dbus_message_iter_next(&entry)) {
			if (i == 2)
				dbus_message_iter_get_basic(&entry, &line);
			else
				dbus_message_iter_get_basic(&entry, &texts[i]);
		}
		ck_assert_int_gt(asprintf(&all, "%s%s %s:%u %s %s\n", before, texts[0], texts[1],
					 line, texts[3], texts[4]),
			0);
	}
	dbus_message_unref(reply);
	return all;
}

START_TEST(test_verify)
{
	DBusConnection *bus = bus_open();
	CLEANUP(free_p) char *text = NULL, *warned = NULL;
	const char *name = "check";
	static const char wrong[] = "[Machine]\nMemroy=1G\nCPUs=0\n[Boot]\nKernel=/k\n";
	int fd = text_fd(wrong, strlen(wrong));

	text = messages_of(
		call(bus, MANAGER, MANAGER_I, "VerifyConfig", STRING(name), FD(fd), END));
	ck_assert_str_eq(text,
		"warning check.vm:2 [Machine] Memroy= unknown key, ignored; did you mean Memory=?\n"
		"error check.vm:3 [Machine] CPUs= \"0\" is not between 1 and 64\n");
	close(fd);
	ck_assert(!file_exists("etc/vmm/check.vm"));
	put_machine("check", "", "[Boot]\nKernal=/x\nInitrd=/nonexistent/initrd\n");
	warned = messages_of(call(bus, MANAGER, MANAGER_I, "VerifyMachine", STRING(name), END));
	ck_assert_ptr_nonnull(strstr(warned, ":8 [Boot] Kernal= unknown key"));
	ck_assert_msg(strstr(warned, "\"/nonexistent/initrd\": No such file") ||
			      strstr(warned, "/dev/kvm"),
		"%s", warned);
	bus_close(bus);
}
END_TEST

START_TEST(test_bad_machine)
{
	DBusConnection *bus = bus_open();
	CLEANUP(free_p) char *text = NULL;
	const char *name = "broken";

	put_file("etc/vmm/broken.vm", "[Machine]\nMemory=0\n[Boot]\nKernel=/k\n");
	call_fails(bus, "org.vmmd1.BadConfiguration", &text, MANAGER, MANAGER_I, "StartMachine",
		STRING(name), STRING(empty), U64(none), END);
	ck_assert_ptr_nonnull(strstr(
		text, "/etc/vmm/broken.vm:2: [Machine] Memory=: \"0\" is too little: at least 1M"));
	expect_string(bus, "broken", "StatusText", text);
	expect_string(bus, "broken", "Result", "configuration");
	expect_string(bus, "broken", "State", "inactive");
	ck_assert_int_eq(get_int(bus, "broken", "ExitStatus"), 78);
	ck_assert(!file_exists("run/vmmd/machine/broken"));
	bus_close(bus);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dbus-api");
	TCase *tcase = unit_case(suite, "api");

	if (geteuid() != 0 || !DBUS_DAEMON[0]) {
		puts("skipped: needs root and dbus-daemon");
		return 77;
	}
	tcase_set_timeout(tcase, 60);
	tcase_add_unchecked_fixture(tcase, env_start, env_stop);
	tcase_add_test(tcase, test_introspection);
	tcase_add_test(tcase, test_list);
	tcase_add_test(tcase, test_object_manager);
	tcase_add_test(tcase, test_describe);
	tcase_add_test(tcase, test_reload_signals);
	tcase_add_test(tcase, test_watch);
	tcase_add_test(tcase, test_arguments);
	tcase_add_test(tcase, test_not_running);
	tcase_add_test(tcase, test_no_such_object);
	tcase_add_test(tcase, test_define);
	tcase_add_test(tcase, test_define_bad);
	tcase_add_test(tcase, test_verify);
	tcase_add_test(tcase, test_bad_machine);
	return unit_run(suite);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * dbus: machines whose drive a vhost-user back end serves, under vmmd on this host's /dev/kvm: the
 * example of this project and qemu-storage-daemon, killed under load and started again, and one
 * that never comes back. The guest writes and reads back all the time (tests/guest/verify.c).
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "harness.h"
#include "tests/vhost/peer.h"
#include "unit.h"

#define DISK_BYTES (4 << 20)
#define N_KILLS 3

static struct peer peer;
static DBusConnection *bus;
static int console_fd;
static char image[96];

/* ---- back ends ---- */

static const char *const *example_arguments(void)
{
	static const char *argv[4];

	argv[0] = VHOST_USER_BLK;
	argv[1] = peer.socket;
	argv[2] = image;
	return argv;
}

static const char *const *qemu_arguments(void)
{
	static const char *argv[8];
	static char file[160], export_[240];

	snprintf(file, sizeof(file), "driver=file,node-name=f,filename=%s", image);
	snprintf(export_, sizeof(export_),
		"type=vhost-user-blk,id=e,node-name=f,addr.type=unix,addr.path=%s,writable=on",
		peer.socket);
	argv[0] = "qemu-storage-daemon";
	argv[1] = "--blockdev";
	argv[2] = file;
	argv[3] = "--export";
	argv[4] = export_;
	return argv;
}

static const struct {
	const char *program;
	const char *const *(*arguments)(void);
} backends[] = {
	{ VHOST_USER_BLK, example_arguments },
	{ "qemu-storage-daemon", qemu_arguments },
};

/* ---- the machine ---- */

static void setup(void)
{
	int fd;

	env_start();
	peer_init(&peer);
	snprintf(image, sizeof(image), "%s/image", peer.folder);
	fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, DISK_BYTES), 0);
	close(fd);
	bus = bus_open();
	watch_signals(bus);
	console_fd = -EBADF;
}

static void teardown(void)
{
	console_fd = vmm_base_close(console_fd);
	bus_close(bus);
	peer_finish(&peer);
	expect_nothing_left();
	env_stop();
}

static void put_verifier(const char *name, const char *more)
{
	CLEANUP(free_p) char *file = NULL, *text = NULL;

	ck_assert_int_gt(asprintf(&file, "etc/vmm/%s.vm", name), 0);
	ck_assert_int_gt(asprintf(&text,
				 "[Machine]\nMemory=16M\nTransport=mmio\n[Boot]\nKernel=%s\n"
				 "[Drive]\nName=disk\nSocket=%s\n%s",
				 getenv("VERIFY_ELF"), peer.socket, more),
		0);
	put_file(file, text);
}

/* Reads on until text came n times; fails where the guest complains of its disk before. */
static void expect_times(const char *text, unsigned int n)
{
	char seen[8192] = "";
	size_t size = 0;

	while (n > 0) {
		struct pollfd p = { .fd = console_fd, .events = POLLIN };
		ssize_t got;

		ck_assert_msg(poll(&p, 1, 20000) == 1, "not seen: %s; but: %s", text, seen);
		got = read(console_fd, seen + size, 1);
		ck_assert_msg(got == 1, "ended before %s: %s", text, seen);
		seen[++size] = 0;
		if (strstr(seen, text)) {
			n--;
			seen[size = 0] = 0;
		}
		ck_assert_msg(!strstr(seen, "WRONG") && !strstr(seen, "FAILED"), "%s", seen);
		ck_assert_msg(!strstr(seen, "IOERR") || strcmp(text, "RESET") == 0, "%s", seen);
		ck_assert_msg(!strstr(seen, "RESET"), "%s", seen);
		if (size == sizeof(seen) - 1)
			seen[size = 0] = 0;
	}
}

/* What ListMachineDevices says of the disk: a number, or a truth. */
static dbus_uint64_t get_disk(const char *name, const char *key)
{
	DBusMessage *reply = call(bus, MANAGER, MANAGER_I, "ListMachineDevices", STRING(name), END);
	DBusMessageIter iter, devices, members, entries, entry, variant;
	dbus_uint64_t value = UINT64_MAX;
	const char *text;

	ck_assert(dbus_message_iter_init(reply, &iter));
	dbus_message_iter_recurse(&iter, &devices);
	dbus_message_iter_recurse(&devices, &members);
	dbus_message_iter_next(&members);
	dbus_message_iter_get_basic(&members, &text);
	ck_assert_str_eq(text, "disk");
	dbus_message_iter_next(&members);
	dbus_message_iter_recurse(&members, &entries);
	for (; dbus_message_iter_get_arg_type(&entries) == DBUS_TYPE_DICT_ENTRY;
		dbus_message_iter_next(&entries)) {
		dbus_bool_t yes;

		dbus_message_iter_recurse(&entries, &entry);
		dbus_message_iter_get_basic(&entry, &text);
		dbus_message_iter_next(&entry);
		dbus_message_iter_recurse(&entry, &variant);
		if (strcmp(text, key) != 0)
			continue;
		if (dbus_message_iter_get_arg_type(&variant) == DBUS_TYPE_BOOLEAN) {
			dbus_message_iter_get_basic(&variant, &yes);
			value = yes;
		} else {
			dbus_message_iter_get_basic(&variant, &value);
		}
	}
	dbus_message_unref(reply);
	return value;
}

static void await_disk(const char *name, const char *key, dbus_uint64_t wanted)
{
	for (int i = 0; i < 200 && get_disk(name, key) != wanted; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	ck_assert_uint_eq(get_disk(name, key), wanted);
}

START_TEST(test_killed_under_load)
{
	const char *name = "killed", *other = "org.vmmd1.NotSupportedByGuest", *disk = "disk";

	if (!peer_exists(backends[_i].program))
		return;
	put_verifier(name, "ReconnectSec=20\n");
	peer_start(&peer, backends[_i].arguments());
	start_machine(bus, name, "done");
	console_fd = open_console(bus, name, CONSOLE_REPLAY);
	expect_times("go", 1);
	for (unsigned int i = 0; i < N_KILLS; i++) {
		ck_assert_uint_eq(get_disk(name, "Connections"), i + 1);
		expect_times(".", 3);
		peer_kill(&peer);
		await_disk(name, "Connected", 0);
		/* Now and then the manager is another one too. */
		if (i == 1) {
			env_kill_vmmd();
			env_start_vmmd();
			bus_close(bus);
			bus = bus_open();
			watch_signals(bus);
		}
		peer_start(&peer, backends[_i].arguments());
		await_disk(name, "Connected", 1);
	}
	expect_times(".", 3);
	ck_assert_uint_eq(get_disk(name, "Connections"), N_KILLS + 1);
	ck_assert_uint_eq(get_disk(name, "Failed"), 0);
	call_fails(bus, other, NULL, MANAGER, MANAGER_I, "ResizeMachineDrive", STRING(name),
		STRING(disk), U64(none), U64(none), END);
	stop_machine(bus, name, "force", "done");
}
END_TEST

START_TEST(test_never_comes_back)
{
	const char *name = "gone";

	put_verifier(name, "ReconnectSec=1\n");
	peer_start(&peer, example_arguments());
	start_machine(bus, name, "done");
	console_fd = open_console(bus, name, CONSOLE_REPLAY);
	expect_times(".", 2);
	peer_kill(&peer);
	expect_times("RESET", 1);
	await_disk(name, "Failed", 1);
	ck_assert_uint_eq(get_disk(name, "Broken"), 1);
	/* The machine goes on. */
	expect_string(bus, name, "State", "running");
	stop_machine(bus, name, "force", "done");
}
END_TEST

static void expect_refusal(const char *name, const char *said, const char *more)
{
	static const char *const error = "org.vmmd1.BadConfiguration", *mode = "replace";
	CLEANUP(free_p) char *text = NULL;

	call_fails(bus, error, &text, MANAGER, MANAGER_I, "StartMachine", STRING(name),
		STRING(mode), U64(none), END);
	ck_assert_msg(strstr(text, said) && strstr(text, more), "%s", text);
}

/* What a start says of a socket that is none, and of what needs a unit where there are none. */
START_TEST(test_refused)
{
	CLEANUP(free_p) char *text = NULL;

	put_verifier("refused", "");
	close(open(peer.socket, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	expect_refusal("refused", "[Drive] Socket=", "is no socket");
	ck_assert_int_gt(asprintf(&text,
				 "[Machine]\nMemory=16M\n[Boot]\nKernel=%s\n"
				 "[Share]\nTag=data\nPath=/tmp\n",
				 getenv("VERIFY_ELF")),
		0);
	put_file("etc/vmm/share.vm", text);
	expect_refusal("share", "[Share] Path=", "without systemd");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dbus-backends");
	TCase *tcase = unit_case(suite, "backends");

	if (geteuid() != 0 || !DBUS_DAEMON[0] || access("/dev/kvm", R_OK | W_OK) < 0) {
		puts("skipped: needs root, dbus-daemon and /dev/kvm");
		return 77;
	}
	env_worker = getenv("VMMD_WORKER") ? getenv("VMMD_WORKER") : REAL_WORKER;
	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, test_killed_under_load, 0, ARRAY_SIZE(backends));
	tcase_add_test(tcase, test_never_comes_back);
	tcase_add_test(tcase, test_refused);
	return unit_run(suite);
}

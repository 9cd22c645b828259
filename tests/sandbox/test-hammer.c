/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest that hammers its devices beside vmmd: its worker lives and stays within its memory,
 * vmmd has next to nothing to do with it, and another machine still answers. What was measured
 * is printed. VMMD_HAMMER_SEC: for how long (6).
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../dbus/harness.h"
#include "../unit/unit.h"
#include "base/util.h"
#include "spinning.h"

#define MEMORY_KIB (64 << 10)
/* Above the guest's memory: the worker itself, its rings and what devices allocate. */
#ifdef SANITIZED
#define MAX_WORKER_KIB (1 << 20)
#else
#define MAX_WORKER_KIB (16 << 10)
#endif

/* User and system time of a process, in milliseconds. */
static unsigned long cpu_msec(pid_t pid)
{
	unsigned long user, system;
	char path[64], text[1024];
	FILE *file;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	ck_assert_msg(file != NULL, "%d has gone", pid);
	n = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[n] = '\0';
	ck_assert_int_eq(
		sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			&user, &system),
		2);
	return (user + system) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
}

static unsigned long peak_kib(pid_t pid)
{
	unsigned long kib = 0;
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	ck_assert_msg(file != NULL, "%d has gone", pid);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "VmHWM: %lu", &kib) == 1)
			break;
	fclose(file);
	return kib;
}

static void start_hammer(DBusConnection *bus)
{
	CLEANUP(free_p) char *text = NULL, *path = NULL;
	FILE *disk;

	ck_assert_int_gt(asprintf(&path, "%s/hammer.raw", env_root), 0);
	disk = fopen(path, "we");
	ck_assert_ptr_nonnull(disk);
	ck_assert_int_eq(ftruncate(fileno(disk), 1 << 20), 0);
	fclose(disk);
	ck_assert_int_gt(
		asprintf(&text,
			"[Machine]\nMemory=%dM\n[Boot]\nKernel=%s\n[Drive]\nName=root\nPath=%s\n",
			MEMORY_KIB >> 10, getenv("HAMMER_ELF"), path),
		0);
	put_file("etc/vmm/hammer.vm", text);
	start_machine(bus, "hammer", "done");
}

/* Counts what the hammer prints until the time is over. */
static size_t watch_console(DBusConnection *bus, unsigned int sec)
{
	uint64_t until = vmm_base_now_nsec() + sec * UINT64_C(1000000000);
	const char *name = "hammer", *path;
	dbus_uint64_t flags = 0;
	DBusMessage *reply = call(bus, MANAGER, MANAGER_I, "OpenMachineConsole", DBUS_TYPE_STRING,
		&name, DBUS_TYPE_UINT64, &flags, DBUS_TYPE_INVALID);
	size_t n_bytes = 0;
	char data[4096];
	int fd;

	ck_assert(dbus_message_get_args(
		reply, NULL, DBUS_TYPE_UNIX_FD, &fd, DBUS_TYPE_STRING, &path, DBUS_TYPE_INVALID));
	dbus_message_unref(reply);
	while (vmm_base_now_nsec() < until) {
		struct pollfd pollfd = { .fd = fd, .events = POLLIN };
		ssize_t n = poll(&pollfd, 1, 100) == 1 ? read(fd, data, sizeof(data)) : 0;

		if (n > 0)
			n_bytes += (size_t)n;
	}
	close(fd);
	return n_bytes;
}

START_TEST(test_hammer)
{
	const char *sec_text = getenv("VMMD_HAMMER_SEC");
	unsigned int sec = sec_text ? (unsigned int)atoi(sec_text) : 6;
	unsigned long vmmd_before, vmmd_msec, worker_before, worker_msec;
	uint64_t begin, msec;
	size_t n_bytes;
	pid_t vmmd_pid, worker_pid;

	start_spinning("other");
	start_hammer(spinning_bus);
	vmmd_pid = env_vmmd_pid();
	worker_pid = (pid_t)get_uint(spinning_bus, "hammer", "Leader");
	vmmd_before = cpu_msec(vmmd_pid);
	worker_before = cpu_msec(worker_pid);
	begin = vmm_base_now_nsec();
	n_bytes = watch_console(spinning_bus, sec);
	vmmd_msec = cpu_msec(vmmd_pid) - vmmd_before;
	worker_msec = cpu_msec(worker_pid) - worker_before;
	msec = (vmm_base_now_nsec() - begin) / 1000000;
	printf("hammering for %u s: vmmd took %lu ms of CPU, the worker %lu ms and %lu KiB at most, "
	       "its console said %zu bytes\n",
		sec, vmmd_msec, worker_msec, peak_kib(worker_pid), n_bytes);
	/* It did work, and none of it became vmmd's. */
	ck_assert_uint_gt(n_bytes, 100);
	ck_assert_uint_le(vmmd_msec, MAX(msec / 100, UINT64_C(10)));
	ck_assert_uint_lt(peak_kib(worker_pid), MEMORY_KIB + MAX_WORKER_KIB);
	expect_string(spinning_bus, "hammer", "State", "running");
	expect_string(spinning_bus, "other", "State", "running");
	ck_assert_int_eq((pid_t)get_uint(spinning_bus, "hammer", "Leader"), worker_pid);
	/* Both still answer, as does vmmd. */
	call_ok(spinning_bus, MANAGER "/machine/other", MACHINE_I, "Pause", DBUS_TYPE_UINT64,
		&(dbus_uint64_t){ 0 }, DBUS_TYPE_INVALID);
	wait_state(spinning_bus, "other", "paused");
	call_ok(spinning_bus, MANAGER "/machine/hammer", MACHINE_I, "Pause", DBUS_TYPE_UINT64,
		&(dbus_uint64_t){ 0 }, DBUS_TYPE_INVALID);
	wait_state(spinning_bus, "hammer", "paused");
	stop_machine(spinning_bus, "hammer", "force", "done");
	stop_machine(spinning_bus, "other", "force", "done");
	bus_close(spinning_bus);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sandbox-hammer");
	TCase *tcase = unit_case(suite, "hammer");

	env_worker = REAL_WORKER;
	tcase_set_timeout(tcase, 600);
	tcase_add_unchecked_fixture(tcase, env_start, env_stop);
	tcase_add_test(tcase, test_hammer);
	return unit_run(suite);
}

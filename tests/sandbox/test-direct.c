/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A worker that vmmd --spawn=direct started, seen from outside while its machine runs: what
 * /proc says of each layer of its sandbox; and what the machine's log says when one of its
 * threads makes a system call that it may not make.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "../dbus/harness.h"
#include "../unit/unit.h"
#include "../worker/guests.h"
#include "base/util.h"
#include "inject.h"
#include "spinning.h"
#include "threads.h"

#define RECORD_TRIES 4
#define RECORD_PAUSE_SEC 6

static void read_text(const char *name, char *data, size_t size)
{
	char path[300];
	size_t length = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", spinning_pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	while ((n = read(fd, data + length, size - length - 1)) > 0)
		length += (size_t)n;
	data[length] = '\0';
	close(fd);
}

static void expect_line(const char *text, const char *line)
{
	ck_assert_msg(strstr(text, line) != NULL, "no \"%s\" in:\n%s", line, text);
}

static bool is_mount(const char *path)
{
	struct statx stx;

	ck_assert_int_eq(statx(AT_FDCWD, path, 0, 0, &stx), 0);
	return stx.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

START_TEST(test_namespaces)
{
	static const char *const kinds[] = { "pid", "mnt", "net", "ipc", "uts", "cgroup", "user" };
	/* The kernel makes no user namespace for a process in a chroot. */
	const bool has_user = is_mount("/");
	char path[64], ours[64], theirs[64];
	static char text[4096];
	ssize_t n;

	start_spinning("spaces");
	for (size_t i = 0; i < ARRAY_SIZE(kinds) - !has_user; i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i]);
		n = readlink(path, ours, sizeof(ours) - 1);
		ck_assert_int_gt(n, 0);
		ours[n] = '\0';
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", spinning_pid, kinds[i]);
		n = readlink(path, theirs, sizeof(theirs) - 1);
		ck_assert_int_gt(n, 0);
		theirs[n] = '\0';
		ck_assert_msg(strcmp(ours, theirs) != 0, "%s is shared", ours);
	}
	/* It knows no user of the host, and is alone among processes. */
	read_text("uid_map", text, sizeof(text));
	if (has_user)
		ck_assert_str_eq(text, "");
	read_text("status", text, sizeof(text));
	snprintf(path, sizeof(path), "NSpid:\t%d\t1\n", spinning_pid);
	expect_line(text, path);
	/* Its network is a loopback interface and no route. */
	read_text("net/dev", text, sizeof(text));
	expect_line(text, " lo:");
	ck_assert_msg(strrchr(text, ':') == strstr(text, " lo:") + 3, "%s", text);
	read_text("net/route", text, sizeof(text));
	ck_assert_msg(strcspn(text, "\n") + 1 >= strlen(text), "%s", text);
	stop_machine(spinning_bus, "spaces", "force", "done");
	bus_close(spinning_bus);
}
END_TEST

START_TEST(test_rights)
{
	static const char *const lines[] = { "NoNewPrivs:\t1\n", "Seccomp:\t2\n",
		"CapInh:\t0000000000000000\n", "CapPrm:\t0000000000000000\n",
		"CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n",
		"CapAmb:\t0000000000000000\n", "Groups:\t \n" };
	char path[300], uids[64];
	static char text[8192];
	struct dirent *entry;
	unsigned int n = 0;
	struct stat st;
	DIR *tasks;

	start_spinning("rights");
	snprintf(path, sizeof(path), "/proc/%d", spinning_pid);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_ge(st.st_uid, 61184);
	ck_assert_uint_le(st.st_uid, 65519);
	snprintf(uids, sizeof(uids), "Uid:\t%u\t%u\t%u\t%u\n", st.st_uid, st.st_uid, st.st_uid,
		st.st_uid);
	snprintf(path, sizeof(path), "/proc/%d/task", spinning_pid);
	tasks = opendir(path);
	ck_assert_ptr_nonnull(tasks);
	while ((entry = readdir(tasks))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "task/%s/status", entry->d_name);
		read_text(path, text, sizeof(text));
		for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
			expect_line(text, lines[i]);
		expect_line(text, uids);
		n++;
	}
	closedir(tasks);
	/* The loop's, two vCPUs, the drive's. */
	ck_assert_uint_ge(n, 4);
	/* Of what is not dumpable all of /proc belongs to root. */
	snprintf(path, sizeof(path), "/proc/%d/mem", spinning_pid);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_uid, 0);
	read_text("limits", text, sizeof(text));
	expect_line(text, "Max core file size        0                    0 ");
	stop_machine(spinning_bus, "rights", "force", "done");
	bus_close(spinning_bus);
}
END_TEST

START_TEST(test_files)
{
	static const char *const allowed[] = { "/dev/kvm", "anon_inode:", "pipe:[", "socket:[",
		"/memfd:", "/dev/null" };
	char path[600], target[512], disk[300];
	struct dirent *entry;
	unsigned int n = 0;
	DIR *directory;

	start_spinning("files");
	snprintf(disk, sizeof(disk), "%s/files.", env_root);
	snprintf(path, sizeof(path), "/proc/%d/fd", spinning_pid);
	directory = opendir(path);
	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory))) {
		bool is_known = false;
		ssize_t size;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", spinning_pid, entry->d_name);
		size = readlink(path, target, sizeof(target) - 1);
		ck_assert_int_gt(size, 0);
		target[size] = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
			is_known |= strncmp(target, allowed[i], strlen(allowed[i])) == 0;
		/* Its kernel and its disk; and vmmd's standard error, which it shares. */
		is_known |= strncmp(target, disk, strlen(disk)) == 0;
		is_known |= atoi(entry->d_name) <= STDERR_FILENO;
		ck_assert_msg(is_known, "descriptor %s is %s", entry->d_name, target);
		n++;
	}
	closedir(directory);
	ck_assert_uint_gt(n, 8);

	snprintf(path, sizeof(path), "/proc/%d/root", spinning_pid);
	directory = opendir(path);
	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory)))
		ck_assert_msg(entry->d_name[0] == '.', "%s", entry->d_name);
	closedir(directory);
	snprintf(path, sizeof(path), "/proc/%d/root/file", spinning_pid);
	ck_assert_int_eq(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600), -1);
	ck_assert_int_eq(errno, EROFS);
	stop_machine(spinning_bus, "files", "force", "done");
	bus_close(spinning_bus);
}
END_TEST

/*
 * The guest's 16 MiB are in a mapping that no core file would have. It may be one with what can be
 * plugged, where the two lie side by side; nothing else is that large.
 */
START_TEST(test_memory)
{
	static char text[1 << 20];
	unsigned int n_found = 0;
	unsigned long kib = 0;
	char *line, *rest = text, rights[8];

	start_spinning("memory");
	read_text("smaps", text, sizeof(text));
	while ((line = strsep(&rest, "\n"))) {
		if (sscanf(line, "%*x-%*x %7s", rights) == 1)
			ck_assert_msg(
				rights[1] != 'w' || rights[2] != 'x', "to write and run: %s", line);
		sscanf(line, "Size: %lu kB", &kib);
		if (strncmp(line, "VmFlags:", 8) == 0 && kib >= 16 << 10 && strstr(line, " wr ")) {
			expect_line(line, " dd");
			n_found++;
		}
	}
	ck_assert_uint_ge(n_found, 1);
	stop_machine(spinning_bus, "memory", "force", "done");
	bus_close(spinning_bus);
}
END_TEST

/* Makes the machine's first vCPU open a file; the log's text about it, as far as it was said. */
static char *kill_by_open(const char *name)
{
	const uint64_t arguments[6] = { (uint64_t)AT_FDCWD, 0, O_RDONLY };
	struct inject inject;
	int64_t value;
	char *log;

	ck_assert_int_eq(inject_begin(&inject, spinning_pid, find_thread(spinning_pid, "vcpu")), 0);
	ck_assert_int_eq(inject_call(&inject, SYS_openat, arguments, &value), INJECT_SIGSYS);
	wait_state(spinning_bus, name, "failed");
	for (int i = 0; i < 100; i++) {
		log = env_log();
		if (strstr(log, "system call that it may not make"))
			return log;
		free(log);
		usleep(100000);
	}
	ck_abort_msg("the log says nothing of it");
}

START_TEST(test_death_is_explained)
{
	const char *expected = "a system call that it may not make: openat (257)";
	CLEANUP(free_p) char *status = NULL;
	bool is_found = false;

	/* The kernel writes few such records in a row: where it has left this one out, later. */
	for (int i = 0; i < RECORD_TRIES && !is_found; i++) {
		char *log, *line;

		start_spinning("killed");
		log = kill_by_open("killed");
		line = strstr(log, "killed: its thread \"vcpu ");
		is_found = line && strstr(line, expected);
		ck_assert_msg(is_found || strstr(log, "has no audit record"), "%s", log);
		free(log);
		expect_string(spinning_bus, "killed", "Result", "signal");
		ck_assert_int_eq(get_int(spinning_bus, "killed", "ExitStatus"), -SIGSYS);
		if (is_found)
			status = get_string(spinning_bus, "killed", "StatusText");
		else
			sleep(RECORD_PAUSE_SEC);
		bus_close(spinning_bus);
	}
	ck_assert_msg(is_found, "the kernel had no record of any of %d", RECORD_TRIES);
	expect_line(status, expected);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sandbox-direct");
	TCase *tcase = unit_case(suite, "direct");

	env_worker = REAL_WORKER;
	tcase_set_timeout(tcase, 120);
	tcase_add_unchecked_fixture(tcase, env_start, env_stop);
	tcase_add_test(tcase, test_namespaces);
	tcase_add_test(tcase, test_rights);
	tcase_add_test(tcase, test_files);
	tcase_add_test(tcase, test_memory);
	tcase_add_test(tcase, test_death_is_explained);
	return unit_run(suite);
}

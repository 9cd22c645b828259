/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What is left of the worker's privileges. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/util.h"
#include "test-worker.h"

static void read_file(const char *path, char *data, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	ck_assert_msg(fd >= 0, "%s", path);
	n = read(fd, data, size - 1);
	ck_assert_int_ge(n, 0);
	data[n] = '\0';
	vmm_base_close(fd);
}

static int open_tap(void)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ioctl(fd, TUNSETIFF, &request), 0);
	return fd;
}

START_TEST(sandbox_of_each_thread)
{
	char path[300], data[8192];
	struct dirent *entry;
	int n_threads = 0;
	DIR *directory;

	spin_after();
	worker_prepare(&worker, &guest);
	worker.spec.n_cpus = 2;
	worker.spec.uid = worker.spec.gid = 65533;
	int disk = memfd_create("disk", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(disk, 1 << 20), 0);
	add_drive(disk);
	add_network(open_tap());
	worker.spec.flags = VMM_SPEC_RNG;
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");

	snprintf(path, sizeof(path), "/proc/%d/task", worker.pid);
	directory = opendir(path);
	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", worker.pid, entry->d_name);
		read_file(path, data, sizeof(data));
		ck_assert_msg(strstr(data, "Seccomp:\t2\n"), "%s", data);
		ck_assert_msg(strstr(data, "NoNewPrivs:\t1\n"), "%s", data);
		ck_assert_msg(strstr(data, "Uid:\t65533\t65533\t65533\t65533\n"), "%s", data);
		ck_assert_msg(strstr(data, "Gid:\t65533\t65533\t65533\t65533\n"), "%s", data);
		ck_assert_msg(strstr(data, "Groups:\t \n"), "%s", data);
		ck_assert_msg(strstr(data, "CapPrm:\t0000000000000000\n"), "%s", data);
		ck_assert_msg(strstr(data, "CapEff:\t0000000000000000\n"), "%s", data);
		ck_assert_msg(strstr(data, "CapInh:\t0000000000000000\n"), "%s", data);
		ck_assert_msg(strstr(data, "CapBnd:\t0000000000000000\n"), "%s", data);
		ck_assert_msg(strstr(data, "CapAmb:\t0000000000000000\n"), "%s", data);
		n_threads++;
	}
	closedir(directory);
	/* The loop's, two vCPUs, at least one of the drive's, the network's. */
	ck_assert_int_ge(n_threads, 5);

	/* Its root is empty and read-only. */
	snprintf(path, sizeof(path), "/proc/%d/root", worker.pid);
	directory = opendir(path);
	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory)))
		ck_assert_msg(entry->d_name[0] == '.', "%s", entry->d_name);
	closedir(directory);
	snprintf(path, sizeof(path), "/proc/%d/root/file", worker.pid);
	ck_assert_int_eq(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600), -1);
	ck_assert_int_eq(errno, EROFS);
	snprintf(path, sizeof(path), "/proc/%d/limits", worker.pid);
	read_file(path, data, sizeof(data));
	ck_assert_ptr_nonnull(strstr(data, "Max core file size        0                    0 "));
}
END_TEST

START_TEST(stray_descriptors_are_closed)
{
	char path[300], target[300];
	struct dirent *entry;
	DIR *directory;
	int stray = open("/etc/passwd", O_RDONLY); /* inherited: not close-on-exec */
	ssize_t n;

	ck_assert_int_ge(fcntl(stray, F_DUPFD, 500), 500);
	spin_after();
	worker_start(&worker, &guest);
	snprintf(path, sizeof(path), "/proc/%d/fd", worker.pid);
	directory = opendir(path);
	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory))) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", worker.pid, entry->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		ck_assert_msg(!strstr(target, "passwd"), "%s is %s", entry->d_name, target);
	}
	closedir(directory);
	close(stray);
}
END_TEST

void add_sandbox_cases(Suite *suite)
{
	TCase *tcase = unit_case(suite, "sandbox");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, sandbox_of_each_thread);
	tcase_add_test(tcase, stray_descriptors_are_closed);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Credentials of the worker's unit, as the guest finds them in its memory. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "test-worker.h"
#include "worker/credentials.h"

#define DUMP_GPA 0xf0000
#define DUMP_BYTES 4096

static char directory[64];
static char variable[96];

static void make_directory(void)
{
	strcpy(directory, "/tmp/vmmd-credentials.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(variable, sizeof(variable), "CREDENTIALS_DIRECTORY=%s", directory);
}

static void put(const char *name, const void *data, size_t size)
{
	CLEANUP(free_p) char *path = NULL;
	int fd;

	ck_assert_int_gt(asprintf(&path, "%s/%s", directory, name), 0);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0400);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(vmm_base_write_full(fd, data, size), 0);
	close(fd);
}

static void take(const char *name)
{
	CLEANUP(free_p) char *path = NULL;

	ck_assert_int_gt(asprintf(&path, "%s/%s", directory, name), 0);
	unlink(path);
}

/* All that the guest prints. */
static void read_dump(int console, char data[DUMP_BYTES])
{
	size_t fill = 0;

	while (fill < DUMP_BYTES) {
		struct pollfd in = { .fd = console, .events = POLLIN };
		ssize_t n;

		ck_assert_int_eq(poll(&in, 1, 20000), 1);
		n = read(console, data + fill, DUMP_BYTES - fill);
		ck_assert_int_gt(n, 0);
		fill += (size_t)n;
	}
}

static void expect_string(const char *data, const char *string)
{
	/* With the NUL that ends it. */
	ck_assert_msg(memmem(data, DUMP_BYTES, string, strlen(string) + 1), "%s", string);
}

START_TEST(credentials_reach_the_guest)
{
	static const uint8_t uuid[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
	/* As printed; the first three fields are swapped in the table (SMBIOS 3.3, 7.2.1). */
	static const uint8_t swapped[] = { 4, 3, 2, 1, 6, 5, 8, 7, 9, 10, 11, 12, 13, 14, 15, 16 };
	const char *const environment[] = { variable, NULL };
	char data[DUMP_BYTES];
	int control, console;

	make_directory();
	put("ssh.authorized_keys.root", "ssh-ed25519 AAAA me", 19);
	put("secret", "\0\1\2", 3);
	guest_dump(&guest, DUMP_GPA, DUMP_BYTES);
	spin_after();
	worker_prepare(&worker, &guest);
	memcpy(worker.spec.uuid, uuid, sizeof(uuid));
	worker_exec(&worker, environment);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	control = worker_connect(&worker);
	console = open_console(control, VMM_CONSOLE_REPLAY, 0);
	read_dump(console, data);
	expect_string(data, "io.systemd.credential:ssh.authorized_keys.root=ssh-ed25519 AAAA me");
	expect_string(data, "io.systemd.credential.binary:secret=AAEC");
	expect_string(data, "io.systemd.credential:system.hostname=test");
	ck_assert_ptr_nonnull(memmem(data, DUMP_BYTES, swapped, sizeof(swapped)));
	/* Nothing of it is told. */
	ck_assert_ptr_null(strstr(worker.output, "AAAA"));
	ck_assert_ptr_null(strstr(worker.notified, "AAAA"));
	take("ssh.authorized_keys.root");
	take("secret");
	rmdir(directory);
}
END_TEST

START_TEST(credentials_too_many)
{
	static const char large[CREDENTIALS_MAX_BYTES];
	const char *const environment[] = { variable, NULL };

	make_directory();
	put("large", large, sizeof(large));
	guest_spin(&guest);
	worker_prepare(&worker, &guest);
	worker_exec(&worker, environment);
	worker_hand_over(&worker);
	ck_assert_int_eq(worker_wait(&worker), VMM_WORKER_EXIT_CONFIG);
	ck_assert_ptr_nonnull(strstr(worker.output, "credential large: with it"));
	take("large");
	rmdir(directory);
}
END_TEST

void add_credentials_cases(Suite *suite)
{
	TCase *tcase = unit_case(suite, "credentials");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, credentials_reach_the_guest);
	tcase_add_test(tcase, credentials_too_many);
}

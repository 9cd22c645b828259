/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest that is an attacker (tests/guest/hostile.c), in a worker that runs: it plays its faults,
 * and then hammers. Its disks and its machine go on, and the worker's memory, log and time have a
 * bound.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "test-worker.h"

#define DISK_BYTES (1 << 20)

static void add_disk(const char *id)
{
	struct vmm_spec_drive *drive = &worker.spec.drives[worker.spec.n_drives++];
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", worker.directory, id);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, DISK_BYTES), 0);
	unlink(path);
	strcpy(drive->id, id);
	drive->fd = worker_add_fd(&worker, fd);
}

static void *drain(void *userdata)
{
	char bytes[4096];
	int fd = *(int *)userdata;

	while (read(fd, bytes, sizeof(bytes)) > 0)
		;
	return NULL;
}

/* Whose other side takes all that comes. */
static void add_drained_network(void)
{
	struct vmm_spec_network *network = &worker.spec.networks[worker.spec.n_networks++];
	static int pair[2];
	pthread_t thread;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	strcpy(network->id, "lan");
	network->mac[0] = 2;
	network->stream_fd = worker_add_fd(&worker, pair[1]);
	ck_assert_int_eq(pthread_create(&thread, NULL, drain, &pair[0]), 0);
	pthread_detach(thread);
}

/* What the worker's first thread, its loop, has used: in clock ticks. */
static unsigned long loop_ticks(void)
{
	char path[64], line[512], *after_name;
	unsigned long user = 0, system = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", worker.pid, worker.pid);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), file));
	fclose(file);
	after_name = strrchr(line, ')');
	ck_assert_ptr_nonnull(after_name);
	ck_assert_int_eq(
		sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			&system),
		2);
	return user + system;
}

static unsigned int count(const char *text, const char *what)
{
	unsigned int n = 0;

	while ((text = strstr(text, what))) {
		n++;
		text++;
	}
	return n;
}

static void await(const char *text)
{
	worker_await_output(&worker, text);
	if (strstr(worker.output, "FAILED"))
		ck_abort_msg("%s", worker.output);
}

static bool is_broken(int control_fd, uint32_t index)
{
	struct vmm_control_index request = { .index = index };
	struct vmm_control_message reply;

	ck_assert_int_eq(worker_request(&worker, control_fd, VMM_CONTROL_GET_DEVICE, &request,
				 sizeof(request), -EBADF, &reply),
		0);
	ck_assert_uint_eq(reply.device.next, index + 1);
	return reply.device.flags & VMM_DEVICE_BROKEN;
}

START_TEST(hostile_guest_hurts_only_itself)
{
	unsigned long ticks;
	size_t n_output;
	long before_kib;
	int control;

	spin_after();
	worker_prepare(&worker, &guest);
	worker_take_kernel(&worker, "HOSTILE_ELF");
	worker.spec.transport = (uint32_t)_i;
	worker.spec.flags |= VMM_SPEC_RNG;
	worker.spec.vsock_cid = 3;
	add_disk("root");
	add_disk("data");
	add_drained_network();
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	await("attacks over");
	/* All of them, on each. */
	ck_assert_uint_eq(count(worker.output, " of 2\n"), 16);
	ck_assert_uint_eq(count(worker.output, " of 1\n"), 15);
	ck_assert_uint_eq(count(worker.output, " of 19\n"), 17);
	before_kib = resident_kib(worker.pid);
	n_output = worker.n_output;
	control = worker_connect(&worker);
	await("hammered");
	/* Some 70 broken rings and 3000 kicks later. */
	ck_assert_int_lt(resident_kib(worker.pid), before_kib + 512);
	ck_assert_uint_lt(worker.n_output, n_output + 4096);
	ck_assert_uint_ge(count(worker.output, "Device root needs a reset"), 1);
	ck_assert_uint_le(count(worker.output, "needs a reset"), 20);
	ck_assert_uint_eq(count(worker.output, "Device data needs a reset"), 0);
	ck_assert(is_broken(control, 0));
	ck_assert(!is_broken(control, 1));
	/* The guest rests, with a device that is broken: nothing goes round and round. */
	ticks = loop_ticks();
	usleep(500000);
	ck_assert_uint_le(loop_ticks(), ticks + 5);
	ck_assert_int_eq(worker_ask(&worker, control, VMM_CONTROL_PAUSE), 0);
	ck_assert_int_eq(worker_ask(&worker, control, VMM_CONTROL_RESUME), 0);
}
END_TEST

void add_hostile_cases(Suite *suite)
{
	TCase *tcase = unit_case(suite, "hostile");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 240);
	tcase_add_loop_test(tcase, hostile_guest_hurts_only_itself, 0, VMM_TRANSPORT_COUNT);
}

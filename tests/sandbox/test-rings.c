/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * io_uring as the way around the filters: the threads of a drive and of a tap own a ring, so code
 * that runs in them can submit what it likes. Entries are written into the shipped worker's own
 * rings and submitted by its own threads: a read of the disk comes back with its bytes, which shows
 * that the others reach the kernel too, and whatever is not of a disk, or tap, is refused.
 */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "../worker/test-worker.h"
#include "base/util.h"
#include "full-machine.h"
#include "inject.h"
#include "threads.h"

/* As the worker makes them: what the offsets in a ring are depends on its size. */
static const struct kind {
	const char *name, *thread;
	unsigned int sq_entries, cq_entries, flags;
	uint8_t sqe_flags;
	uint8_t operations[8];
	size_t n_operations;
} kinds[] = {
	{ "drive", "io", 64, 512,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IOSQE_FIXED_FILE,
		{ IORING_OP_READ, IORING_OP_READV, IORING_OP_WRITE, IORING_OP_WRITEV,
			IORING_OP_FSYNC, IORING_OP_FALLOCATE, IORING_OP_ASYNC_CANCEL },
		7 },
	{ "tap", "net", 32, 64, 0, 0, { IORING_OP_WRITEV, IORING_OP_ASYNC_CANCEL }, 2 },
};

#define MAX_RINGS 4

static struct inject inject;
static const struct kind *kind;
static struct io_uring_params params;
static uint64_t rings;
static uint64_t entries[MAX_RINGS]; /* of all rings: see submit() */
static unsigned int n_entries;
static int ring_fd;
static uint64_t room; /* for paths and data, below the thread's stack */

/* The offsets, from a ring of the same shape. */
static void learn_offsets(void)
{
	const unsigned int flags[] = { kind->flags, 0 };
	long fd = -1;

	for (size_t i = 0; fd < 0 && i < ARRAY_SIZE(flags); i++) {
		params = (struct io_uring_params){
			.flags = flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE,
			.cq_entries = kind->cq_entries,
		};
		fd = syscall(SYS_io_uring_setup, kind->sq_entries, &params);
	}
	ck_assert_msg(fd >= 0, "io_uring: %s", strerror(errno));
	close((int)fd);
}

static bool is_a(int fd, const char *what)
{
	char path[300], target[512];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", worker.pid, fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = '\0';
	return strstr(target, what) != NULL;
}

/* By the size of its completion queue, which the kernel tells. */
static bool is_of_kind(int fd)
{
	char path[300], line[512];
	unsigned int mask = 0;
	FILE *info;

	if (!is_a(fd, "[io_uring]"))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", worker.pid, fd);
	info = fopen(path, "re");
	ck_assert_ptr_nonnull(info);
	while (fgets(line, sizeof(line), info) && sscanf(line, "CqMask: %x", &mask) != 1)
		;
	fclose(info);
	return mask == kind->cq_entries - 1;
}

/* Where the worker has mapped its ring, and the descriptor's number. */
static void find_ring(void)
{
	size_t bytes = MAX(params.sq_off.array + params.sq_entries * sizeof(unsigned int),
		params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe));
	unsigned long long first, last, offset;
	char path[300], line[512];
	FILE *maps;

	rings = n_entries = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", worker.pid);
	maps = fopen(path, "re");
	ck_assert_ptr_nonnull(maps);
	while (fgets(line, sizeof(line), maps)) {
		if (!strstr(line, "[io_uring]") ||
			sscanf(line, "%llx-%llx %*s %llx", &first, &last, &offset) != 3)
			continue;
		if (offset == IORING_OFF_SQ_RING && last - first - bytes < 4096)
			rings = first;
		if (offset == IORING_OFF_SQES && n_entries < MAX_RINGS)
			entries[n_entries++] = first;
	}
	fclose(maps);
	ck_assert_msg(rings != 0 && n_entries > 0, "the worker has no ring of a %s", kind->name);
	for (ring_fd = 0; ring_fd < 1024; ring_fd++)
		if (is_of_kind(ring_fd))
			return;
	ck_abort_msg("the worker has no descriptor of the ring of its %s", kind->name);
}

static uint32_t load(uint64_t address)
{
	uint32_t value;

	ck_assert_int_eq(inject_read(&inject, address, &value, sizeof(value)), 0);
	return value;
}

/*
 * One entry; returns the result of its completion. It is written into the entries of all rings,
 * of which the others are not told.
 */
static int32_t submit(const struct io_uring_sqe *sqe)
{
	uint32_t tail = load(rings + params.sq_off.tail), slot = tail & (kind->sq_entries - 1);
	uint32_t seen = load(rings + params.cq_off.tail);
	const uint64_t arguments[6] = { (uint64_t)ring_fd, 1, 1, IORING_ENTER_GETEVENTS, 0, 0 };
	struct io_uring_cqe cqe;
	int64_t value = 0;

	for (unsigned int i = 0; i < n_entries; i++)
		ck_assert_int_eq(
			inject_write(&inject, entries[i] + slot * sizeof(*sqe), sqe, sizeof(*sqe)),
			0);
	tail++;
	ck_assert_int_eq(inject_write(&inject, rings + params.sq_off.tail, &tail, sizeof(tail)), 0);
	ck_assert_int_eq(
		inject_call(&inject, SYS_io_uring_enter, arguments, &value), INJECT_RETURNED);
	ck_assert_msg(value == 1, "io_uring_enter: %lld", (long long)value);
	ck_assert_uint_eq(load(rings + params.cq_off.tail), seen + 1);
	ck_assert_int_eq(
		inject_read(&inject,
			rings + params.cq_off.cqes + (seen & (kind->cq_entries - 1)) * sizeof(cqe),
			&cqe, sizeof(cqe)),
		0);
	seen++;
	ck_assert_int_eq(inject_write(&inject, rings + params.cq_off.head, &seen, sizeof(seen)), 0);
	ck_assert_uint_eq(cqe.user_data, sqe->user_data);
	return cqe.res;
}

static void begin(const struct kind *of_kind)
{
	static const char path[] = "/";
	pid_t tid;

	kind = of_kind;
	learn_offsets();
	start_full_machine(NULL);
	find_ring();
	tid = find_thread(worker.pid, kind->thread);
	ck_assert_int_gt(tid, 0);
	ck_assert_int_eq(inject_begin(&inject, worker.pid, tid), 0);
	room = (inject.registers.rsp - 4096) & ~UINT64_C(63);
	ck_assert_int_eq(inject_write(&inject, room, path, sizeof(path)), 0);
}

/* The control: without it, all refusals could be of something else. */
START_TEST(disk_is_read)
{
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_READ,
		.flags = IOSQE_FIXED_FILE,
		.fd = 0,
		.addr = 0,
		.len = 512,
		.user_data = 0x1234,
	};
	char byte = 'x';

	begin(&kinds[0]);
	sqe.addr = room;
	ck_assert_int_eq(inject_write(&inject, room, &byte, 1), 0);
	ck_assert_int_eq(submit(&sqe), 512);
	/* The disk is empty: zeroes are what came. */
	ck_assert_int_eq(inject_read(&inject, room, &byte, 1), 0);
	ck_assert_int_eq(byte, 0);
	inject_end(&inject);
}
END_TEST

/* The same for a network: a tap that is down refuses each frame with EIO, as no other file does. */
START_TEST(tap_is_written_to)
{
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_WRITEV,
		.len = 1,
		.user_data = 0x1234,
	};
	struct iovec iov;

	begin(&kinds[1]);
	while (!is_a(sqe.fd, "/dev/net/tun"))
		ck_assert_int_lt(++sqe.fd, 1024);
	iov = (struct iovec){ (void *)(uintptr_t)(room + 64), 80 };
	ck_assert_int_eq(inject_write(&inject, room, &iov, sizeof(iov)), 0);
	sqe.addr = room;
	ck_assert_int_eq(submit(&sqe), -EIO);
	inject_end(&inject);
}
END_TEST

/* Every operation that there is or will be, but those that the ring is for. */
START_TEST(other_operations_are_refused)
{
	unsigned int n = 0;

	begin(&kinds[_i]);
	for (unsigned int opcode = 0; opcode < 256; opcode++) {
		struct io_uring_sqe sqe = {
			.opcode = (uint8_t)opcode,
			.flags = kind->sqe_flags,
			.addr = room,
			.len = 0,
			.user_data = opcode,
		};
		int32_t result;

		if (memchr(kind->operations, (int)opcode, kind->n_operations))
			continue;
		result = submit(&sqe);
		/* -EINVAL: the kernel does not know it. */
		ck_assert_msg(result == -EACCES || (result == -EINVAL && opcode > IORING_OP_LINKAT),
			"operation %u: %d", opcode, result);
		n += result == -EACCES;
	}
	inject_end(&inject);
	printf("%u operations of io_uring are refused on the ring of a %s\n", n, kind->name);
	ck_assert_uint_gt(n, 30);
}
END_TEST

/* Nothing that makes threads in the kernel, or a frame wait for another. */
START_TEST(flags_are_refused)
{
	begin(&kinds[1]);
	for (unsigned int flags = 1; flags < 32; flags++) {
		struct io_uring_sqe sqe = {
			.opcode = IORING_OP_WRITEV,
			.flags = (uint8_t)flags,
			.addr = room,
			.user_data = flags,
		};

		ck_assert_int_eq(submit(&sqe), -EACCES);
	}
	inject_end(&inject);
}
END_TEST

/* What the ring of a drive may do it may do with the disk alone, by its number in the ring. */
START_TEST(other_files_are_refused)
{
	static const uint8_t flags[] = { 0, IOSQE_ASYNC, IOSQE_IO_LINK, IOSQE_IO_DRAIN };

	begin(&kinds[0]);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		for (int fd = 0; fd < 8; fd++) {
			struct io_uring_sqe sqe = {
				.opcode = IORING_OP_READ,
				.flags = flags[i],
				.fd = fd,
				.addr = room,
				.len = 1,
				.user_data = (uint64_t)fd,
			};

			ck_assert_int_eq(submit(&sqe), -EACCES);
		}
	for (int index = 1; index < 8; index++) {
		struct io_uring_sqe sqe = {
			.opcode = IORING_OP_READ,
			.flags = IOSQE_FIXED_FILE,
			.fd = index,
			.addr = room,
			.len = 1,
			.user_data = (uint64_t)index,
		};

		ck_assert_int_eq(submit(&sqe), -EBADF);
	}
	inject_end(&inject);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sandbox-rings");
	TCase *tcase = unit_case(suite, "rings");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, disk_is_read);
	tcase_add_test(tcase, tap_is_written_to);
	tcase_add_loop_test(tcase, other_operations_are_refused, 0, ARRAY_SIZE(kinds));
	tcase_add_test(tcase, flags_are_refused);
	tcase_add_test(tcase, other_files_are_refused);
	return unit_run(suite);
}

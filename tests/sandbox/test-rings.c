/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * io_uring as the way around the filters: a drive's thread owns a ring, so code that runs in it
 * can submit what it likes. Entries are written into the shipped worker's own ring and submitted
 * by its own thread: a read of the disk comes back with its bytes, which shows that the others
 * reach the kernel too, and whatever is not of a disk is refused.
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

/* As the worker makes it: what the offsets in a ring are depends on its size. */
#define SQ_ENTRIES 64
#define CQ_ENTRIES 512

static struct inject inject;
static struct io_uring_params params;
static uint64_t rings, entries;
static int ring_fd;
static uint64_t room; /* for paths and data, below the thread's stack */

/* The offsets, from a ring of the same shape. */
static void learn_offsets(void)
{
	static const unsigned int flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	long fd = -1;

	for (size_t i = 0; fd < 0 && i < ARRAY_SIZE(flags); i++) {
		params = (struct io_uring_params){
			.flags = flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE,
			.cq_entries = CQ_ENTRIES,
		};
		fd = syscall(SYS_io_uring_setup, SQ_ENTRIES, &params);
	}
	ck_assert_msg(fd >= 0, "io_uring: %s", strerror(errno));
	close((int)fd);
}

/* Where the worker has mapped its ring, and the descriptor's number. */
static void find_ring(void)
{
	unsigned long long first, last, offset;
	char path[300], line[512];
	FILE *maps;

	rings = entries = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", worker.pid);
	maps = fopen(path, "re");
	ck_assert_ptr_nonnull(maps);
	while (fgets(line, sizeof(line), maps)) {
		if (!strstr(line, "[io_uring]") ||
			sscanf(line, "%llx-%llx %*s %llx", &first, &last, &offset) != 3)
			continue;
		if (offset == IORING_OFF_SQ_RING)
			rings = first;
		else if (offset == IORING_OFF_SQES)
			entries = first;
	}
	fclose(maps);
	ck_assert_msg(rings != 0 && entries != 0, "the worker has no ring");
	for (ring_fd = 0; ring_fd < 1024; ring_fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", worker.pid, ring_fd);
		n = readlink(path, line, sizeof(line) - 1);
		if (n > 0) {
			line[n] = '\0';
			if (strstr(line, "[io_uring]"))
				return;
		}
	}
	ck_abort_msg("the worker has no descriptor of its ring");
}

static uint32_t load(uint64_t address)
{
	uint32_t value;

	ck_assert_int_eq(inject_read(&inject, address, &value, sizeof(value)), 0);
	return value;
}

/* One entry; returns the result of its completion. */
static int32_t submit(const struct io_uring_sqe *sqe)
{
	uint32_t tail = load(rings + params.sq_off.tail), slot = tail & (SQ_ENTRIES - 1);
	uint32_t seen = load(rings + params.cq_off.tail);
	const uint64_t arguments[6] = { (uint64_t)ring_fd, 1, 1, IORING_ENTER_GETEVENTS, 0, 0 };
	struct io_uring_cqe cqe;
	int64_t value = 0;

	ck_assert_int_eq(
		inject_write(&inject, entries + slot * sizeof(*sqe), sqe, sizeof(*sqe)), 0);
	tail++;
	ck_assert_int_eq(inject_write(&inject, rings + params.sq_off.tail, &tail, sizeof(tail)), 0);
	ck_assert_int_eq(
		inject_call(&inject, SYS_io_uring_enter, arguments, &value), INJECT_RETURNED);
	ck_assert_msg(value == 1, "io_uring_enter: %lld", (long long)value);
	ck_assert_uint_eq(load(rings + params.cq_off.tail), seen + 1);
	ck_assert_int_eq(
		inject_read(&inject,
			rings + params.cq_off.cqes + (seen & (CQ_ENTRIES - 1)) * sizeof(cqe), &cqe,
			sizeof(cqe)),
		0);
	seen++;
	ck_assert_int_eq(inject_write(&inject, rings + params.cq_off.head, &seen, sizeof(seen)), 0);
	ck_assert_uint_eq(cqe.user_data, sqe->user_data);
	return cqe.res;
}

static void begin(void)
{
	static const char path[] = "/";
	pid_t tid;

	learn_offsets();
	start_full_machine(NULL);
	find_ring();
	tid = find_thread(worker.pid, "io");
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

	begin();
	sqe.addr = room;
	ck_assert_int_eq(inject_write(&inject, room, &byte, 1), 0);
	ck_assert_int_eq(submit(&sqe), 512);
	/* The disk is empty: zeroes are what came. */
	ck_assert_int_eq(inject_read(&inject, room, &byte, 1), 0);
	ck_assert_int_eq(byte, 0);
	inject_end(&inject);
}
END_TEST

/* Every operation that there is or will be, but those of a disk. */
START_TEST(other_operations_are_refused)
{
	static const uint8_t of_disks[] = { IORING_OP_READ, IORING_OP_READV, IORING_OP_WRITE,
		IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE, IORING_OP_ASYNC_CANCEL };
	unsigned int n = 0;

	begin();
	for (unsigned int opcode = 0; opcode < 256; opcode++) {
		struct io_uring_sqe sqe = {
			.opcode = (uint8_t)opcode,
			.flags = IOSQE_FIXED_FILE,
			.addr = room,
			.len = 0,
			.user_data = opcode,
		};
		int32_t result;

		if (memchr(of_disks, (int)opcode, sizeof(of_disks)))
			continue;
		result = submit(&sqe);
		/* -EINVAL: the kernel does not know it. */
		ck_assert_msg(result == -EACCES || (result == -EINVAL && opcode > IORING_OP_LINKAT),
			"operation %u: %d", opcode, result);
		n += result == -EACCES;
	}
	inject_end(&inject);
	printf("%u operations of io_uring are refused\n", n);
	ck_assert_uint_gt(n, 30);
}
END_TEST

/* What a ring may do it may do with the disk alone, by its number in the ring. */
START_TEST(other_files_are_refused)
{
	static const uint8_t flags[] = { 0, IOSQE_ASYNC, IOSQE_IO_LINK, IOSQE_IO_DRAIN };

	begin();
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
	tcase_add_test(tcase, other_operations_are_refused);
	tcase_add_test(tcase, other_files_are_refused);
	return unit_run(suite);
}

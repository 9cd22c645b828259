/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <vmmcore/uring.h>

#include "base/util.h"
#include "unit.h"

#define N_ENTRIES 8

static struct vmm_uring *ring;
static int fd;

static const uint8_t transfers[] = { IORING_OP_READ, IORING_OP_WRITE, IORING_OP_ASYNC_CANCEL };

static struct vmm_uring_config base_config(void)
{
	return (struct vmm_uring_config){
		.fd = fd,
		.operations = transfers,
		.n_operations = ARRAY_SIZE(transfers),
		.sq_entries = N_ENTRIES,
		.cq_entries = 2 * N_ENTRIES,
	};
}

static void setup(void)
{
	ring = NULL;
	fd = memfd_create("uring", MFD_CLOEXEC);
	ck_assert_int_ge(fd, 0);
}

static void teardown(void)
{
	vmm_uring_free(ring);
	close(fd);
}

static void make(const struct vmm_uring_config *config)
{
	ck_assert_int_eq(vmm_uring_new(config, &ring), 0);
}

static struct io_uring_sqe *get(uint8_t opcode, uint64_t user_data)
{
	struct io_uring_sqe *sqe = vmm_uring_get(ring);

	ck_assert_ptr_nonnull(sqe);
	sqe->opcode = opcode;
	sqe->user_data = user_data;
	return sqe;
}

static void put_write(const void *data, uint32_t size, uint64_t offset, uint64_t user_data)
{
	struct io_uring_sqe *sqe = get(IORING_OP_WRITE, user_data);

	sqe->addr = (uintptr_t)data;
	sqe->len = size;
	sqe->off = offset;
	vmm_uring_put(ring);
}

/* The result of the one completion that there has to be. */
static int32_t result_of(uint64_t expected_user_data)
{
	uint64_t user_data;
	int32_t result;

	vmm_uring_collect(ring);
	ck_assert_int_eq(vmm_uring_wait(ring), 0);
	ck_assert(vmm_uring_pop(ring, &user_data, &result));
	ck_assert_uint_eq(user_data, expected_user_data);
	return result;
}

START_TEST(many_entries_are_done_in_their_order)
{
	struct vmm_uring_config config = base_config();
	char content[N_ENTRIES + 1] = { 0 };

	config.one_thread = _i == 1;
	make(&config);
	/* More rounds than the indices have entries: they run on. */
	for (unsigned int round = 0; round < 100; round++) {
		for (unsigned int i = 0; i < N_ENTRIES; i++)
			put_write(&"abcdefgh"[i], 1, i, i);
		ck_assert_uint_eq(vmm_uring_n_unsubmitted(ring), N_ENTRIES);
		ck_assert_ptr_null(vmm_uring_get(ring));
		ck_assert_int_eq(vmm_uring_submit(ring), 0);
		ck_assert_uint_eq(vmm_uring_n_unsubmitted(ring), 0);
		for (unsigned int i = 0; i < N_ENTRIES; i++) {
			ck_assert_int_eq(vmm_uring_wait(ring), 0);
			ck_assert_int_eq(result_of(i), 1);
		}
	}
	ck_assert_int_eq(pread(fd, content, N_ENTRIES, 0), N_ENTRIES);
	ck_assert_str_eq(content, "abcdefgh");
}
END_TEST

START_TEST(a_withdrawn_entry_is_never_done)
{
	struct vmm_uring_config config = base_config();
	uint64_t user_data;
	int32_t result;

	make(&config);
	put_write("a", 1, 0, 1);
	put_write("b", 1, 0, 2);
	ck_assert(vmm_uring_withdraw(ring, &user_data));
	ck_assert_uint_eq(user_data, 2);
	ck_assert_int_eq(vmm_uring_submit(ring), 0);
	ck_assert_int_eq(vmm_uring_wait(ring), 0);
	ck_assert_int_eq(result_of(1), 1);
	ck_assert(!vmm_uring_withdraw(ring, &user_data));
	ck_assert(!vmm_uring_pop(ring, &user_data, &result));
}
END_TEST

/* Whatever an entry says: operations that were not named, and files that are not the ring's. */
START_TEST(nothing_but_what_was_named_is_done)
{
	struct vmm_uring_config config = base_config();
	char byte;

	make(&config);
	for (unsigned int opcode = 0; opcode < 256; opcode++) {
		if (memchr(transfers, (int)opcode, sizeof(transfers)))
			continue;
		get((uint8_t)opcode, opcode);
		vmm_uring_put(ring);
		ck_assert_int_eq(vmm_uring_submit(ring), 0);
		ck_assert_int_lt(result_of(opcode), 0);
	}
	for (int other = 0; other < 4; other++) {
		struct io_uring_sqe *sqe = get(IORING_OP_READ, 7);

		sqe->flags = 0;
		sqe->fd = other == 0 ? fd : other;
		sqe->addr = (uintptr_t)&byte;
		sqe->len = 1;
		vmm_uring_put(ring);
		ck_assert_int_eq(vmm_uring_submit(ring), 0);
		ck_assert_int_eq(result_of(7), -EACCES);

		sqe = get(IORING_OP_READ, 8);
		sqe->fd = other + 1;
		sqe->addr = (uintptr_t)&byte;
		sqe->len = 1;
		vmm_uring_put(ring);
		ck_assert_int_eq(vmm_uring_submit(ring), 0);
		ck_assert_int_eq(result_of(8), -EBADF);
	}
}
END_TEST

/* Without a file of its own: any descriptor, and nothing that makes threads or waits for others. */
START_TEST(without_a_file_entries_name_descriptors)
{
	static const uint8_t flags[] = { IOSQE_FIXED_FILE, IOSQE_IO_DRAIN, IOSQE_IO_LINK,
		IOSQE_IO_HARDLINK, IOSQE_ASYNC };
	struct vmm_uring_config config = base_config();

	config.fd = -EBADF;
	make(&config);
	for (size_t i = 0; i <= ARRAY_SIZE(flags); i++) {
		struct io_uring_sqe *sqe = get(IORING_OP_WRITE, i);

		if (i < ARRAY_SIZE(flags))
			sqe->flags = flags[i];
		sqe->fd = fd;
		sqe->addr = (uintptr_t) "a";
		sqe->len = 1;
		vmm_uring_put(ring);
		ck_assert_int_eq(vmm_uring_submit(ring), 0);
		ck_assert_int_eq(result_of(i), i < ARRAY_SIZE(flags) ? -EACCES : 1);
	}
	get(IORING_OP_NOP, 1);
	vmm_uring_put(ring);
	ck_assert_int_eq(vmm_uring_submit(ring), 0);
	ck_assert_int_eq(result_of(1), -EACCES);
}
END_TEST

/* What is done at once says nothing; what is done later signals. */
START_TEST(the_event_is_of_what_is_done_later)
{
	struct vmm_uring_config config = base_config();
	char byte = 0;
	uint64_t value;
	int pair[2];
	struct io_uring_sqe *sqe;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	config.fd = pair[0];
	config.with_event = true;
	config.one_thread = _i == 1;
	make(&config);
	put_write("a", 1, 0, 1);
	ck_assert_int_eq(vmm_uring_submit(ring), 0);
	ck_assert_int_eq(result_of(1), 1);
	ck_assert_int_eq(read(vmm_uring_event_fd(ring), &value, sizeof(value)), -1);

	sqe = get(IORING_OP_READ, 2);
	sqe->addr = (uintptr_t)&byte;
	sqe->len = 1;
	vmm_uring_put(ring);
	ck_assert_int_eq(vmm_uring_submit(ring), 0);
	ck_assert_int_eq(write(pair[1], "z", 1), 1);
	ck_assert_int_eq(read(vmm_uring_event_fd(ring), &value, sizeof(value)), sizeof(value));
	ck_assert_int_eq(result_of(2), 1);
	ck_assert_int_eq(byte, 'z');
	close(pair[0]);
	close(pair[1]);
}
END_TEST

START_TEST(what_waits_is_cancelled)
{
	struct vmm_uring_config config = base_config();
	struct io_uring_sqe *sqe;
	int pair[2];
	char byte;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	config.fd = pair[0];
	make(&config);
	sqe = get(IORING_OP_READ, 1);
	sqe->addr = (uintptr_t)&byte;
	sqe->len = 1;
	vmm_uring_put(ring);
	ck_assert_int_eq(vmm_uring_submit(ring), 0);
	sqe = get(IORING_OP_ASYNC_CANCEL, 2);
	sqe->addr = 1;
	vmm_uring_put(ring);
	ck_assert_int_eq(vmm_uring_submit(ring), 0);
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t user_data;
		int32_t result;

		ck_assert_int_eq(vmm_uring_wait(ring), 0);
		ck_assert(vmm_uring_pop(ring, &user_data, &result));
		ck_assert_int_eq(result, user_data == 1 ? -ECANCELED : 0);
	}
	close(pair[0]);
	close(pair[1]);
}
END_TEST

START_TEST(bad_configurations_are_refused)
{
	struct vmm_uring_config config = base_config();

	make(&config);
	ring = vmm_uring_free(ring);

	config.n_operations = 0;
	ck_assert_int_eq(vmm_uring_new(&config, &ring), -EINVAL);
	config.n_operations = VMM_URING_MAX_OPERATIONS + 1;
	ck_assert_int_eq(vmm_uring_new(&config, &ring), -EINVAL);
	config = base_config();
	config.fd = 1 << 30;
	ck_assert_int_eq(vmm_uring_new(&config, &ring), -EBADF);
	config = base_config();
	config.sq_entries = 0;
	ck_assert_int_eq(vmm_uring_new(&config, &ring), -EINVAL);
	config = base_config();
	config.cq_entries = 1;
	ck_assert_int_eq(vmm_uring_new(&config, &ring), -EINVAL);
	ck_assert_ptr_null(ring);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("uring");
	TCase *tcase = unit_case(suite, "uring");

	/* A host that refuses io_uring has nothing to be tested here. */
	if (syscall(SYS_io_uring_setup, 0, NULL) < 0 && (errno == EPERM || errno == ENOSYS))
		return 77;
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, many_entries_are_done_in_their_order, 0, 2);
	tcase_add_test(tcase, a_withdrawn_entry_is_never_done);
	tcase_add_test(tcase, nothing_but_what_was_named_is_done);
	tcase_add_test(tcase, without_a_file_entries_name_descriptors);
	tcase_add_loop_test(tcase, the_event_is_of_what_is_done_later, 0, 2);
	tcase_add_test(tcase, what_waits_is_cancelled);
	tcase_add_test(tcase, bad_configurations_are_refused);
	return unit_run(suite);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <vmmcore/base.h>

#include "base/util.h"
#include "unit.h"

START_TEST(close_keeps_errno_and_takes_negative)
{
	int fd = dup(0);

	errno = EPROTO;
	fd = vmm_base_close(fd);
	ck_assert_int_eq(fd, -EBADF);
	ck_assert_int_eq(vmm_base_close(fd), -EBADF);
	ck_assert_int_eq(errno, EPROTO);
}
END_TEST

START_TEST(cleanup_closes_unless_taken)
{
	int fd = dup(0), taken;

	{
		CLEANUP(close_p) int owned = fd;

		taken = TAKE_FD(owned);
	}
	ck_assert_int_ge(fcntl(taken, F_GETFD), 0);
	{
		CLEANUP(close_p) int owned = taken;

		(void)owned;
	}
	ck_assert_int_lt(fcntl(taken, F_GETFD), 0);
}
END_TEST

START_TEST(reads_whole_or_says_nodata)
{
	char buffer[8];
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_eq(vmm_base_write_full(fd, "abcdef", 6), 0);
	ck_assert_int_eq(vmm_base_pread_full(fd, buffer, 3, 2), 0);
	ck_assert_int_eq(memcmp(buffer, "cde", 3), 0);
	ck_assert_int_eq(vmm_base_pread_full(fd, buffer, 8, 2), -ENODATA);
	ck_assert_int_eq(vmm_base_pread_full(fd, buffer, 8, UINT64_MAX - 3), -EOVERFLOW);
	ck_assert_int_eq(vmm_base_pread_full(fd, buffer, 8, INT64_MAX), -EOVERFLOW);
	ck_assert_int_eq(vmm_base_pread_full(-1, buffer, 1, 0), -EBADF);
	lseek(fd, 4, SEEK_SET);
	ck_assert_int_eq(vmm_base_read_full(fd, buffer, 2), 0);
	ck_assert_int_eq(vmm_base_read_full(fd, buffer, 1), -ENODATA);
	close(fd);
}
END_TEST

START_TEST(eventfd_counts_and_saturates)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t count, most = UINT64_MAX - 1;

	ck_assert_int_eq(vmm_base_eventfd_clear(fd, &count), -EAGAIN);
	ck_assert_int_eq(vmm_base_eventfd_signal(fd), 0);
	ck_assert_int_eq(vmm_base_eventfd_signal(fd), 0);
	ck_assert_int_eq(vmm_base_eventfd_clear(fd, &count), 0);
	ck_assert_uint_eq(count, 2);
	ck_assert_int_eq(vmm_base_write_full(fd, &most, sizeof(most)), 0);
	ck_assert_int_eq(vmm_base_eventfd_signal(fd), 0);
	ck_assert_int_eq(vmm_base_eventfd_signal(-1), -EBADF);
	close(fd);
}
END_TEST

static void *look_at_thread(void *userdata)
{
	size_t *ret_stack_bytes = userdata;
	pthread_attr_t attributes;
	sigset_t blocked;

	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	pthread_getattr_np(pthread_self(), &attributes);
	pthread_attr_getstacksize(&attributes, ret_stack_bytes);
	pthread_attr_destroy(&attributes);
	return sigismember(&blocked, SIGUSR1) && sigismember(&blocked, SIGTERM) ? userdata : NULL;
}

START_TEST(threads_are_small_and_handle_no_signal)
{
	size_t stack_bytes = 0;
	pthread_t thread;
	sigset_t blocked;
	void *result;

	ck_assert_int_eq(vmm_base_thread_start(&thread, look_at_thread, &stack_bytes), 0);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_ptr_eq(result, &stack_bytes);
	ck_assert_uint_le(stack_bytes, VMM_BASE_STACK_BYTES);
	/* And the caller's are as before. */
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	ck_assert(!sigismember(&blocked, SIGUSR1));
}
END_TEST

START_TEST(alignment)
{
	ck_assert_uint_eq(ALIGN_UP(UINT64_C(1), 4096), 4096);
	ck_assert_uint_eq(ALIGN_UP(UINT64_C(4096), 4096), 4096);
	ck_assert_uint_eq(ALIGN_DOWN(UINT64_C(0x100000fff), 4096), UINT64_C(0x100000000));
	ck_assert(IS_ALIGNED(8192, 4096) && !IS_ALIGNED(8193, 4096));
}
END_TEST

START_TEST(wire_types_have_their_size)
{
	ck_assert_uint_eq(sizeof(struct vmm_le16), 2);
	ck_assert_uint_eq(sizeof(struct vmm_le32), 4);
	ck_assert_uint_eq(sizeof(struct vmm_le64), 8);
	ck_assert_uint_eq(vmm_le64_get(vmm_le64_make(UINT64_C(0x0123456789abcdef))),
		UINT64_C(0x0123456789abcdef));
	ck_assert_uint_eq(vmm_le32_get(vmm_le32_make(0x01234567)), 0x01234567);
	ck_assert_uint_eq(vmm_le16_get(vmm_le16_make(0x0123)), 0x0123);
	ck_assert_str_eq(vmm_version(), VMM_VERSION);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base");
	TCase *tcase = unit_case(suite, "base");

	tcase_add_test(tcase, close_keeps_errno_and_takes_negative);
	tcase_add_test(tcase, cleanup_closes_unless_taken);
	tcase_add_test(tcase, reads_whole_or_says_nodata);
	tcase_add_test(tcase, eventfd_counts_and_saturates);
	tcase_add_test(tcase, threads_are_small_and_handle_no_signal);
	tcase_add_test(tcase, alignment);
	tcase_add_test(tcase, wire_types_have_their_size);
	return unit_run(suite);
}

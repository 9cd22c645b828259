/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Devices in a worker that runs, as far as they need no driver in the guest. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/util.h"
#include "test-worker.h"

/* A listening stream socket with an address that the kernel chooses. */
static int listen_somewhere(struct sockaddr_un *ret_address, socklen_t *ret_length)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*ret_length = sizeof(sa_family_t);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)ret_address, *ret_length), 0);
	*ret_length = sizeof(*ret_address);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)ret_address, ret_length), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	return fd;
}

/* As long as the guest has no driver, who wants to reach it is told at once. */
START_TEST(vsock_without_a_driver)
{
	struct sockaddr_un address;
	socklen_t length;
	char byte;

	spin_after();
	worker_prepare(&worker, &guest);
	worker.spec.transport = (uint32_t)_i;
	worker.spec.vsock_cid = 3;
	worker.spec.vsock_listen_fd = worker_add_fd(&worker, listen_somewhere(&address, &length));
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	for (int i = 0; i < 100; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, length), 0);
		ck_assert_int_eq(send(fd, "CONNECT 22\n", 11, MSG_NOSIGNAL), 11);
		ck_assert_int_eq(read(fd, &byte, 1), 0);
		vmm_base_close(fd);
	}
	ck_assert_int_eq(worker_ask(&worker, worker_connect(&worker), VMM_CONTROL_PAUSE), 0);
}
END_TEST

/* Answers to questions that nobody has asked; what came with them is closed. */
START_TEST(vsock_answers_out_of_the_blue)
{
	struct vmm_control_vsock_answer answer = { .id = 1 };
	struct vmm_control_message reply;
	int pair[2], fd;
	char byte;

	spin_after();
	worker_prepare(&worker, &guest);
	worker.spec.vsock_cid = _i ? 3 : 0;
	worker_exec(&worker, NULL);
	worker_hand_over(&worker);
	worker_await_notify(&worker, "READY=1");
	fd = worker_connect(&worker);
	ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_REFUSE_VSOCK, &answer,
				 sizeof(answer), -EBADF, &reply),
		-ENOENT);
	answer.id = 0;
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		ck_assert_int_eq(worker_request(&worker, fd, VMM_CONTROL_CONNECT_VSOCK, &answer,
					 sizeof(answer), pair[1], &reply),
			-ENOENT);
		vmm_base_close(pair[1]);
		ck_assert_int_eq(read(pair[0], &byte, 1), 0);
		vmm_base_close(pair[0]);
	}
}
END_TEST

void add_device_cases(Suite *suite)
{
	TCase *tcase = unit_case(suite, "devices");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, vsock_without_a_driver, 0, VMM_TRANSPORT_COUNT);
	tcase_add_loop_test(tcase, vsock_answers_out_of_the_blue, 0, 2);
}

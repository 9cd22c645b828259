/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vhost-user: messages of every kind and every way to break them. */
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "vhost-user-fixture.h"

#define REQUEST VMM_VHOST_USER_REQUEST
#define REPLY VMM_VHOST_USER_REPLY
#define CHANNEL VMM_VHOST_USER_CHANNEL_REQUEST

/* Messages, the bytes and descriptors that are sent of them, and what becomes of that. */
static const struct {
	enum vmm_vhost_user_kind kind;
	struct raw raw;
	unsigned int n_fds;
	int result;
} messages[] = {
	{ REQUEST, { 1, 1, 0, { 0 } }, 0, 0 },
	{ REQUEST, { 1, 9, 0, { 0 } }, 0, 0 },
	/* versions and flags */
	{ REQUEST, { 1, 0, 0, { 0 } }, 0, -EPROTO },
	{ REQUEST, { 1, 2, 0, { 0 } }, 0, -EPROTO },
	{ REQUEST, { 1, 3, 0, { 0 } }, 0, -EPROTO },
	{ REQUEST, { 1, 5, 0, { 0 } }, 0, -EPROTO },
	{ REQUEST, { 1, 0x11, 0, { 0 } }, 0, -EPROTO },
	{ REQUEST, { 1, 0x80000001, 0, { 0 } }, 0, -EPROTO },
	{ REPLY, { 1, 1, 8, { 0 } }, 0, -EPROTO },
	{ REPLY, { 1, 5, 8, { 0 } }, 0, 0 },
	{ REPLY, { 1, 13, 8, { 0 } }, 0, 0 },
	/* requests that there are not */
	{ REQUEST, { 0, 1, 0, { 0 } }, 0, -EPROTO },
	{ REQUEST, { 22, 1, 8, { 0 } }, 0, -EPROTO },
	{ REQUEST, { 41, 1, 0, { 0 } }, 0, -EPROTO },
	{ REQUEST, { UINT32_MAX, 1, 0, { 0 } }, 0, -EPROTO },
	{ REPLY, { 0, 5, 8, { 0 } }, 0, -EPROTO },
	{ REPLY, { 1000, 5, 8, { 0 } }, 0, -EPROTO },
	/* sizes */
	{ REQUEST, { 1, 1, 1, { 0 } }, 0, -EPROTO },
	{ REQUEST, { 2, 1, 4, { 0 } }, 0, -EPROTO },
	{ REQUEST, { 2, 1, 16, { 0 } }, 0, -EPROTO },
	{ REQUEST, { 2, 1, UINT32_MAX, { 0 } }, 0, -EPROTO },
	{ REQUEST, { 9, 1, 39, { 0 } }, 0, -EPROTO },
	{ REQUEST, { 24, 1, 12 + 257, { 0, 257 } }, 0, -EPROTO },
	{ REPLY, { 1, 5, 0, { 0 } }, 0, -EPROTO },
	{ REPLY, { 11, 5, 7, { 0 } }, 0, -EPROTO },
	{ REPLY, { 2, 5, 9, { 0 } }, 0, -EPROTO },
	/* descriptors */
	{ REQUEST, { 1, 1, 0, { 0 } }, 1, -EPROTO },
	{ REQUEST, { 21, 1, 0, { 0 } }, 0, -EPROTO },
	{ REQUEST, { 21, 1, 0, { 0 } }, 1, 0 },
	{ REQUEST, { 21, 1, 0, { 0 } }, 2, -EPROTO },
	{ REQUEST, { 21, 1, 0, { 0 } }, 8, -EPROTO },
	{ REQUEST, { 21, 1, 0, { 0 } }, 9, -EPROTO },
	{ REQUEST, { 21, 1, 0, { 0 } }, 32, -EPROTO },
	{ REPLY, { 1, 5, 8, { 0 } }, 1, -EPROTO },
	{ REPLY, { 31, 5, 24, { 0 } }, 2, -EPROTO },
	{ REPLY, { 31, 5, 20, { 0 } }, 1, 0 },
	{ REPLY, { 31, 5, 24, { 0 } }, 0, 0 },
	/* kicks */
	{ REQUEST, { 12, 1, 8, { 3 } }, 1, 0 },
	{ REQUEST, { 12, 1, 8, { 3 } }, 0, -EPROTO },
	{ REQUEST, { 12, 1, 8, { 0x103 } }, 0, 0 },
	{ REQUEST, { 12, 1, 8, { 0x103 } }, 1, -EPROTO },
	{ REQUEST, { 13, 1, 8, { 0x203 } }, 1, -EPROTO },
	{ REQUEST, { 13, 1, 8, { 3, 1 } }, 1, -EPROTO },
	/* memory tables */
	{ REQUEST, { 5, 1, 8, { 0 } }, 0, 0 },
	{ REQUEST, { 5, 1, 8 + 32, { 1 } }, 1, 0 },
	{ REQUEST, { 5, 1, 8 + 8 * 32, { 8 } }, 8, 0 },
	{ REQUEST, { 5, 1, 8 + 32, { 1 } }, 0, -EPROTO },
	{ REQUEST, { 5, 1, 8 + 32, { 1 } }, 2, -EPROTO },
	{ REQUEST, { 5, 1, 8 + 32, { 2 } }, 2, -EPROTO },
	{ REQUEST, { 5, 1, 8 + 64, { 1 } }, 1, -EPROTO },
	{ REQUEST, { 5, 1, 8 + 32, { UINT32_MAX } }, 1, -EPROTO },
	{ REQUEST, { 5, 1, 8 + 31, { 1 } }, 1, -EPROTO },
	{ REQUEST, { 5, 1, 8 + 9 * 32, { 9 } }, 8, -EPROTO },
	{ REQUEST, { 37, 1, 40, { 0 } }, 1, 0 },
	{ REQUEST, { 37, 1, 40, { 0 } }, 0, -EPROTO },
	{ REQUEST, { 38, 1, 40, { 0 } }, 0, 0 },
	/* configuration */
	{ REQUEST, { 24, 1, 12 + 60, { 0, 60 } }, 0, 0 },
	{ REQUEST, { 24, 1, 12, { 0, 60 } }, 0, 0 },
	{ REQUEST, { 24, 1, 12 + 60, { 0, 61 } }, 0, -EPROTO },
	{ REQUEST, { 24, 1, 12, { 0, 257 } }, 0, -EPROTO },
	{ REQUEST, { 25, 1, 12, { 0, 60 } }, 0, -EPROTO },
	{ REQUEST, { 25, 1, 12 + 4, { 0, 4 } }, 0, 0 },
	{ REPLY, { 24, 5, 0, { 0 } }, 0, 0 },
	{ REPLY, { 24, 5, 4, { 0 } }, 0, -EPROTO },
	{ REPLY, { 24, 5, 12 + 4, { 0, 8 } }, 0, -EPROTO },
	/* the channel */
	{ CHANNEL, { 2, 1, 0, { 0 } }, 0, 0 },
	{ CHANNEL, { 2, 1, 0, { 0 } }, 1, -EPROTO },
	{ CHANNEL, { 2, 1, 8, { 0 } }, 0, -EPROTO },
	{ CHANNEL, { 1, 1, 32, { 0 } }, 0, -EPROTO },
	{ CHANNEL, { 3, 1, 24, { 0 } }, 1, -EPROTO },
	{ CHANNEL, { UINT32_MAX, 1, 0, { 0 } }, 0, -EPROTO },
	{ VMM_VHOST_USER_CHANNEL_REPLY, { 2, 5, 8, { 0 } }, 0, 0 },
	{ VMM_VHOST_USER_CHANNEL_REPLY, { 2, 1, 8, { 0 } }, 0, -EPROTO },
	{ VMM_VHOST_USER_CHANNEL_REPLY, { 3, 5, 8, { 0 } }, 0, -EPROTO },
	{ (enum vmm_vhost_user_kind)77, { 1, 1, 0, { 0 } }, 0, -EPROTO },
};

START_TEST(test_messages)
{
	struct vmm_vhost_user_message message = { 0 };
	unsigned int n_before = n_open_fds();
	uint32_t size = messages[_i].raw.size;
	int fds[2], r;

	pair(fds);
	send_raw(fds[0], &messages[_i].raw, 12 + MIN(size, (uint32_t)sizeof(messages[_i].raw) - 12),
		messages[_i].n_fds);
	r = vmm_vhost_user_receive(fds[1], messages[_i].kind, soon(), &message);
	ck_assert_int_eq(r, messages[_i].result);
	if (r == 0) {
		ck_assert_uint_eq(message.request, messages[_i].raw.request);
		ck_assert_uint_eq(message.n_fds, messages[_i].n_fds);
		ck_assert_mem_eq(&message.payload, messages[_i].raw.payload, size);
		vmm_vhost_user_message_finish(&message);
	}
	close(fds[0]);
	close(fds[1]);
	/* Whatever came is closed. */
	ck_assert_uint_eq(n_open_fds(), n_before);
}
END_TEST

START_TEST(test_pieces_and_ends)
{
	const struct raw raw = { 9, 1, 40, { 1 } };
	struct vmm_vhost_user_message message;
	int fds[2], r;

	/* Byte after byte is a message all the same... */
	pair(fds);
	for (size_t i = 0; i < 52; i++)
		send_raw(fds[0], (const char *)&raw + i, 1, 0);
	ck_assert_int_eq(vmm_vhost_user_receive(fds[1], REQUEST, soon(), &message), 0);
	/* ... a descriptor in its middle is one too many... */
	send_raw(fds[0], &raw, 20, 0);
	send_raw(fds[0], (const char *)&raw + 20, 32, 1);
	ck_assert_int_eq(vmm_vhost_user_receive(fds[1], REQUEST, soon(), &message), -EPROTO);
	/* ... and one that does not go on comes to an end. */
	send_raw(fds[0], &raw, 20, 0);
	r = vmm_vhost_user_receive(fds[1], REQUEST, vmm_base_now_nsec() + 20000000, &message);
	ck_assert_int_eq(r, -ETIMEDOUT);
	send_raw(fds[0], &raw, 11, 0);
	close(fds[0]);
	ck_assert_int_eq(vmm_vhost_user_receive(fds[1], REQUEST, soon(), &message), -ECONNRESET);
	close(fds[1]);
}
END_TEST

START_TEST(test_send_to_nobody_and_to_one_who_does_not_read)
{
	struct vmm_vhost_user_message message = {
		.request = VMM_VHOST_USER_SET_MEM_TABLE,
		.size_bytes = sizeof(message.payload.table),
	};
	int fds[2], r = 0;

	pair(fds);
	for (unsigned int i = 0; i < 100000 && r == 0; i++)
		r = vmm_vhost_user_send(fds[0], &message, vmm_base_now_nsec() + 10000000);
	ck_assert_int_eq(r, -ETIMEDOUT);
	close(fds[1]);
	r = vmm_vhost_user_send(fds[0], &message, soon());
	ck_assert_int_eq(r, -ECONNRESET);
	close(fds[0]);
}
END_TEST

void add_message_tests(Suite *suite)
{
	TCase *tcase = unit_case(suite, "messages");

	tcase_add_loop_test(tcase, test_messages, 0, ARRAY_SIZE(messages));
	tcase_add_test(tcase, test_pieces_and_ends);
	tcase_add_test(tcase, test_send_to_nobody_and_to_one_who_does_not_read);
}

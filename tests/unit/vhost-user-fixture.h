/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the tests of vhost-user share: bytes and descriptors as they come, and a back end, a thread
 * of this program, that answers, and that answers wrongly where it is told to.
 */
#ifndef VMM_TESTS_VHOST_USER_FIXTURE_H
#define VMM_TESTS_VHOST_USER_FIXTURE_H

#include <pthread.h>
#include <stdint.h>

#include <vmmcore/vhost-user.h>

#include "unit.h"

struct raw {
	uint32_t request, flags, size;
	uint32_t payload[80];
};

/* In two seconds, as a deadline. */
uint64_t soon(void);
unsigned int n_open_fds(void);
void pair(int fds[2]);
/* Bytes as they come, with descriptors of /dev/null. */
void send_raw(int fd, const void *data, size_t size, unsigned int n_fds);

enum misdeed {
	NOTHING_WRONG,
	REFUSE,      /* an acknowledgement that is not 0 */
	HANG_UP,     /* instead of an answer */
	KEEP_SILENT, /* instead of an answer */
	WRONG_REQUEST,
	WRONG_INDEX,
	WRONG_SIZE,
	EMPTY,
	SHORT_FILE,
	WRAPPING,
	NO_FILE,
};

extern struct back {
	int fd;
	int channel;
	pthread_t thread;
	uint64_t features, protocol_features, n_queues, n_slots;
	uint32_t bad_request;
	enum misdeed misdeed;

	/* What it was told. */
	struct {
		uint32_t request;
		unsigned int n_fds;
		struct vmm_vhost_user_message message;
	} log[256];
	unsigned int n_log;
} back;

/* A back end that can do everything, and has not been started; it does misdeed on bad_request. */
void back_init(void);
/* Its thread begins, and the front end's socket is returned. */
int back_start(void);
/* It ends when its peer hangs up. */
void back_finish(void);
/* What it was told of that request: the last time, and how often. */
const struct vmm_vhost_user_message *last(uint32_t request);
unsigned int count(uint32_t request);

#define ALL_PROTOCOL                                                                               \
	(VMM_VHOST_USER_PROTOCOL_MQ | VMM_VHOST_USER_PROTOCOL_REPLY_ACK |                          \
		VMM_VHOST_USER_PROTOCOL_BACKEND_REQ | VMM_VHOST_USER_PROTOCOL_CONFIG |             \
		VMM_VHOST_USER_PROTOCOL_INFLIGHT_SHMFD | VMM_VHOST_USER_PROTOCOL_RESET_DEVICE |    \
		VMM_VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS | VMM_VHOST_USER_PROTOCOL_STATUS)

/* vhost-user-messages.c */
void add_message_tests(Suite *suite);

#endif

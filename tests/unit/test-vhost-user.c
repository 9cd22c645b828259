/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost-user: messages of every kind and every way to break them, and the front end against a back
 * end of this program: a thread that answers, and that answers wrongly where it is told to.
 */
#include <vmmcore/vhost-user.h>

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/util.h"
#include "unit.h"

#define SECOND_NSEC UINT64_C(1000000000)
#define RAM_BYTES (UINT64_C(2) << 20)

static unsigned int n_open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static uint64_t soon(void)
{
	return vmm_base_now_nsec() + 2 * SECOND_NSEC;
}

/* Bytes as they come, with descriptors of /dev/null. */
static void send_raw(int fd, const void *data, size_t size, unsigned int n_fds)
{
	union {
		char bytes[CMSG_SPACE(32 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)data, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (n_fds > 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		for (unsigned int i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &null, sizeof(int));
	}
	ck_assert_int_eq(sendmsg(fd, &msg, MSG_NOSIGNAL), (ssize_t)size);
	close(null);
}

struct raw {
	uint32_t request, flags, size;
	uint32_t payload[80];
};

static void pair(int fds[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

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

/* The back end. */

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

static struct {
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

static void answer(struct vmm_vhost_user_message *reply, size_t size)
{
	reply->flags = VMM_VHOST_USER_FLAG_REPLY;
	reply->size_bytes = (uint32_t)size;
	(void)vmm_vhost_user_send(back.fd, reply, soon());
}

static void answer_number(uint32_t request, uint64_t number)
{
	struct vmm_vhost_user_message reply = { .request = request, .payload.number = number };

	answer(&reply, 8);
}

static void answer_inflight(struct vmm_vhost_user_message *reply, enum misdeed misdeed)
{
	int fd = memfd_create("inflight", MFD_CLOEXEC);

	reply->payload.inflight.mmap_size_bytes = misdeed == EMPTY ? 0 : 8192;
	reply->payload.inflight.mmap_offset = misdeed == WRAPPING ? UINT64_MAX - 4096 : 0;
	if (ftruncate(fd, misdeed == SHORT_FILE ? 8191 : 8192) < 0)
		abort();
	reply->fds[0] = fd;
	reply->n_fds = misdeed == NO_FILE ? 0 : 1;
	answer(reply, sizeof(reply->payload.inflight));
	close(fd);
}

/* False: the end. */
static bool serve(struct vmm_vhost_user_message *message)
{
	bool bad = message->request == back.bad_request;
	enum misdeed misdeed = bad ? back.misdeed : NOTHING_WRONG;
	struct vmm_vhost_user_message reply = {
		.request = message->request + (misdeed == WRONG_REQUEST),
		.payload = message->payload,
	};

	if (misdeed == HANG_UP)
		return false;
	if (misdeed == KEEP_SILENT)
		return true;
	switch (message->request) {
	case VMM_VHOST_USER_GET_FEATURES:
		answer_number(reply.request, back.features);
		return true;
	case VMM_VHOST_USER_GET_PROTOCOL_FEATURES:
		answer_number(reply.request, back.protocol_features);
		return true;
	case VMM_VHOST_USER_GET_QUEUE_NUM:
		answer_number(reply.request, back.n_queues);
		return true;
	case VMM_VHOST_USER_GET_MAX_MEM_SLOTS:
		answer_number(reply.request, back.n_slots);
		return true;
	case VMM_VHOST_USER_GET_STATUS:
		answer_number(reply.request, misdeed == WRONG_SIZE ? 256 : 15);
		return true;
	case VMM_VHOST_USER_GET_VRING_BASE:
		reply.payload.state.num = 4711;
		reply.payload.state.index += misdeed == WRONG_INDEX;
		answer(&reply, 8);
		return true;
	case VMM_VHOST_USER_GET_CONFIG:
		memset(reply.payload.config.bytes, 0xc5, sizeof(reply.payload.config.bytes));
		reply.payload.config.size_bytes -= misdeed == WRONG_SIZE;
		reply.payload.config.offset += misdeed == WRONG_INDEX;
		answer(&reply, misdeed == EMPTY ? 0 : 12 + reply.payload.config.size_bytes);
		return true;
	case VMM_VHOST_USER_GET_INFLIGHT_FD:
		answer_inflight(&reply, misdeed);
		return true;
	case VMM_VHOST_USER_SET_BACKEND_REQ_FD:
		back.channel = TAKE_FD(message->fds[0]);
		break;
	default:
		break;
	}
	if (message->flags & VMM_VHOST_USER_FLAG_NEED_REPLY)
		answer_number(reply.request, misdeed == REFUSE);
	return true;
}

static void *run_back(void *unused)
{
	struct vmm_vhost_user_message message;
	bool go_on = true;

	while (go_on && vmm_vhost_user_receive(back.fd, REQUEST, UINT64_MAX, &message) == 0) {
		unsigned int n = back.n_log;

		if (n < ARRAY_SIZE(back.log)) {
			back.log[n].request = message.request;
			back.log[n].n_fds = message.n_fds;
			back.log[n].message = message;
			__atomic_store_n(&back.n_log, n + 1, __ATOMIC_RELEASE);
		}
		go_on = serve(&message);
		vmm_vhost_user_message_finish(&message);
	}
	shutdown(back.fd, SHUT_RDWR);
	return unused;
}

#define ALL_PROTOCOL                                                                               \
	(VMM_VHOST_USER_PROTOCOL_MQ | VMM_VHOST_USER_PROTOCOL_REPLY_ACK |                          \
		VMM_VHOST_USER_PROTOCOL_BACKEND_REQ | VMM_VHOST_USER_PROTOCOL_CONFIG |             \
		VMM_VHOST_USER_PROTOCOL_INFLIGHT_SHMFD | VMM_VHOST_USER_PROTOCOL_RESET_DEVICE |    \
		VMM_VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS | VMM_VHOST_USER_PROTOCOL_STATUS)

static struct vmm_vhost_user *user;
static struct vmm_mem *mem;
static struct vmm_mem_region regions[4];
static unsigned int fds_before;

static void set_up(void)
{
	memset(&back, 0, sizeof(back));
	back.fd = back.channel = -EBADF;
	back.features = VMM_VHOST_USER_F_PROTOCOL_FEATURES | VMM_VIRTIO_F_EVENT_IDX |
			VMM_VIRTIO_F_RING_PACKED | (UINT64_C(1) << 32);
	/* Also what we do not know, and must not take. */
	back.protocol_features = ALL_PROTOCOL | (UINT64_C(1) << 8) | (UINT64_C(1) << 63);
	back.n_queues = 4;
	back.n_slots = 3;
	fds_before = n_open_fds();
	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	for (unsigned int i = 0; i < 4; i++) {
		struct vmm_mem_config config = { .gpa = i * RAM_BYTES, .size_bytes = RAM_BYTES };

		ck_assert_int_eq(vmm_mem_add(mem, &config), 0);
	}
	for (unsigned int i = 0; i < 4; i++)
		vmm_mem_get_region(mem, i, &regions[i]);
}

static int start(uint64_t timeout_nsec)
{
	struct vmm_vhost_user_config config = { .timeout_nsec = timeout_nsec };
	int fds[2], r;

	pair(fds);
	back.fd = fds[0];
	ck_assert_int_eq(pthread_create(&back.thread, NULL, run_back, NULL), 0);
	config.fd = fds[1];
	r = vmm_vhost_user_new(&config, &user);
	close(fds[1]);
	return r;
}

static void tear_down(void)
{
	user = vmm_vhost_user_free(user);
	if (back.fd >= 0) {
		pthread_join(back.thread, NULL);
		close(back.fd);
	}
	vmm_base_close(back.channel);
	vmm_mem_free(mem);
	ck_assert_uint_eq(n_open_fds(), fds_before);
}

static const struct vmm_vhost_user_message *last(uint32_t request)
{
	for (unsigned int i = __atomic_load_n(&back.n_log, __ATOMIC_ACQUIRE); i-- > 0;)
		if (back.log[i].request == request)
			return &back.log[i].message;
	ck_abort_msg("request %u was not sent", request);
	return NULL;
}

static unsigned int count(uint32_t request)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < __atomic_load_n(&back.n_log, __ATOMIC_ACQUIRE); i++)
		n += back.log[i].request == request;
	return n;
}

static struct vmm_vhost_user_queue good_queue(void)
{
	return (struct vmm_vhost_user_queue){
		.config = {
			.size = 128,
			.desc_gpa = 0x1000,
			.driver_gpa = 0x2000,
			.device_gpa = 0x3000,
		},
		.state = { .avail = 9, .used = 9 },
		.kick_fd = 0,
		.call_fd = 0,
	};
}

START_TEST(test_negotiation)
{
	ck_assert_int_eq(start(0), 0);
	ck_assert_uint_eq(
		vmm_vhost_user_features(user), back.features & ~VMM_VHOST_USER_F_PROTOCOL_FEATURES);
	ck_assert_uint_eq(vmm_vhost_user_protocol_features(user), ALL_PROTOCOL);
	ck_assert_uint_eq(last(VMM_VHOST_USER_SET_PROTOCOL_FEATURES)->payload.number, ALL_PROTOCOL);
	ck_assert_uint_eq(vmm_vhost_user_max_queues(user), 4);
	ck_assert_int_eq(vmm_vhost_user_set_features(user, UINT64_C(1) << 40), -ENOTSUP);
	ck_assert_int_eq(vmm_vhost_user_set_features(user, VMM_VIRTIO_F_EVENT_IDX), 0);
	ck_assert_uint_eq(last(VMM_VHOST_USER_SET_FEATURES)->payload.number,
		VMM_VIRTIO_F_EVENT_IDX | VMM_VHOST_USER_F_PROTOCOL_FEATURES);
	ck_assert_int_eq(vmm_vhost_user_reset_device(user), 0);
	ck_assert_int_eq(vmm_vhost_user_set_status(user, 15), 0);
	ck_assert_int_eq(vmm_vhost_user_get_status(user), 15);
}
END_TEST

START_TEST(test_back_end_without_anything)
{
	struct vmm_vhost_user_queue queue = good_queue();
	struct vmm_virtqueue_state state;
	struct vmm_vhost_user_inflight inflight = { .fd = 0 };
	uint8_t bytes[8];

	back.features = UINT64_C(1) << 32;
	ck_assert_int_eq(start(0), 0);
	ck_assert_uint_eq(vmm_vhost_user_protocol_features(user), 0);
	ck_assert_int_eq(vmm_vhost_user_channel_fd(user), -EBADF);
	ck_assert_int_eq(vmm_vhost_user_channel_process(user), 0);
	ck_assert_int_eq(vmm_vhost_user_get_config(user, 0, bytes, 8), -EOPNOTSUPP);
	ck_assert_int_eq(vmm_vhost_user_set_config(user, 0, bytes, 8), -EOPNOTSUPP);
	ck_assert_int_eq(vmm_vhost_user_reset_device(user), -EOPNOTSUPP);
	ck_assert_int_eq(vmm_vhost_user_set_status(user, 1), -EOPNOTSUPP);
	ck_assert_int_eq(vmm_vhost_user_get_status(user), -EOPNOTSUPP);
	ck_assert_int_eq(vmm_vhost_user_get_inflight(user, 1, 128, &inflight), -EOPNOTSUPP);
	ck_assert_int_eq(vmm_vhost_user_set_inflight(user, &inflight), -EOPNOTSUPP);
	/* As a table, and without acknowledgements. */
	ck_assert_int_eq(vmm_vhost_user_set_memory(user, regions, 4), 0);
	ck_assert_uint_eq(last(VMM_VHOST_USER_SET_MEM_TABLE)->n_fds, 4);
	ck_assert_uint_eq(last(VMM_VHOST_USER_SET_MEM_TABLE)->payload.table.n_regions, 4);
	ck_assert_int_eq(vmm_vhost_user_start(user, 0, &queue), 0);
	ck_assert_int_eq(vmm_vhost_user_stop(user, 0, &state), 0);
	ck_assert_uint_eq(count(VMM_VHOST_USER_SET_VRING_ENABLE), 0);
}
END_TEST

START_TEST(test_memory_slots)
{
	struct vmm_mem_region other[4];

	ck_assert_int_eq(start(0), 0);
	ck_assert_int_eq(vmm_vhost_user_set_memory(user, regions, 4), -ENOSPC);
	ck_assert_int_eq(vmm_vhost_user_set_memory(user, regions, 3), 0);
	ck_assert_uint_eq(count(VMM_VHOST_USER_ADD_MEM_REG), 3);
	ck_assert_uint_eq(last(VMM_VHOST_USER_ADD_MEM_REG)->payload.reg.region.gpa, 2 * RAM_BYTES);
	/* Nothing changed, nothing is said. */
	ck_assert_int_eq(vmm_vhost_user_set_memory(user, regions, 3), 0);
	ck_assert_uint_eq(count(VMM_VHOST_USER_ADD_MEM_REG), 3);
	/* One goes, one comes; read-only memory is not shared. */
	memcpy(other, regions, sizeof(other));
	other[1] = regions[3];
	other[3] = regions[1];
	other[3].read_only = true;
	ck_assert_int_eq(vmm_vhost_user_set_memory(user, other, 4), 0);
	ck_assert_uint_eq(count(VMM_VHOST_USER_ADD_MEM_REG), 4);
	ck_assert_uint_eq(count(VMM_VHOST_USER_REM_MEM_REG), 1);
	ck_assert_uint_eq(last(VMM_VHOST_USER_REM_MEM_REG)->payload.reg.region.gpa, RAM_BYTES);
	ck_assert_uint_eq(last(VMM_VHOST_USER_ADD_MEM_REG)->payload.reg.region.gpa, 3 * RAM_BYTES);
	other[0].fd = -EBADF;
	ck_assert_int_eq(vmm_vhost_user_set_memory(user, other, 1), -EINVAL);
}
END_TEST

START_TEST(test_queue)
{
	static const uint32_t order[] = { VMM_VHOST_USER_SET_VRING_NUM,
		VMM_VHOST_USER_SET_VRING_BASE, VMM_VHOST_USER_SET_VRING_ADDR,
		VMM_VHOST_USER_SET_VRING_CALL, VMM_VHOST_USER_SET_VRING_KICK,
		VMM_VHOST_USER_SET_VRING_ENABLE };
	struct vmm_vhost_user_queue queue = good_queue();
	struct vmm_virtqueue_state state;
	unsigned int before;

	ck_assert_int_eq(start(0), 0);
	ck_assert_int_eq(vmm_vhost_user_start(user, 0, &queue), -VMM_EGUEST);
	ck_assert_int_eq(vmm_vhost_user_set_memory(user, regions, 2), 0);
	before = back.n_log;
	queue.call_fd = -EBADF;
	ck_assert_int_eq(vmm_vhost_user_start(user, 3, &queue), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(order); i++)
		ck_assert_uint_eq(back.log[before + i].request, order[i]);
	ck_assert_uint_eq(last(VMM_VHOST_USER_SET_VRING_BASE)->payload.state.num, 9);
	ck_assert_uint_eq(last(VMM_VHOST_USER_SET_VRING_CALL)->payload.number, 0x103);
	ck_assert_uint_eq(last(VMM_VHOST_USER_SET_VRING_KICK)->payload.number, 3);
	ck_assert_uint_eq(last(VMM_VHOST_USER_SET_VRING_ADDR)->payload.addr.desc_user_address,
		queue.config.desc_gpa);
	ck_assert_int_eq(vmm_vhost_user_stop(user, 3, &state), 0);
	ck_assert_uint_eq(state.avail, 4711);
	ck_assert_uint_eq(state.used, 4711);
	ck_assert_int_eq(vmm_vhost_user_start(user, 4, &queue), -EINVAL);
	ck_assert_int_eq(vmm_vhost_user_stop(user, 4, &state), -EINVAL);
	queue.config.features = VMM_VIRTIO_F_RING_PACKED;
	queue.config.size = 100;
	queue.state = (struct vmm_virtqueue_state){ .avail = 0x8003, .used = 0x8001 };
	ck_assert_int_eq(vmm_vhost_user_start(user, 0, &queue), 0);
	ck_assert_uint_eq(last(VMM_VHOST_USER_SET_VRING_BASE)->payload.state.num, 0x80018003);
}
END_TEST

START_TEST(test_hostile_rings)
{
	static const struct {
		uint32_t size;
		uint64_t desc_gpa, driver_gpa, device_gpa;
	} table[] = {
		{ 0, 0x1000, 0x2000, 0x3000 },
		{ 100, 0x1000, 0x2000, 0x3000 },
		{ 65536, 0x1000, 0x2000, 0x3000 },
		{ 128, 0x1001, 0x2000, 0x3000 },
		{ 128, 0x1000, 0x2001, 0x3000 },
		{ 128, 0x1000, 0x2000, 0x3002 },
		{ 128, 2 * RAM_BYTES, 0x2000, 0x3000 },
		{ 128, RAM_BYTES - 1024, 0x2000, 0x3000 }, /* across two regions */
		{ 128, 2 * RAM_BYTES - 2032, 0x2000, 0x3000 },
		{ 128, 0x1000, 2 * RAM_BYTES - 260, 0x3000 },
		{ 128, 0x1000, 0x2000, 2 * RAM_BYTES - 1028 },
		{ 128, UINT64_MAX - 15, 0x2000, 0x3000 },
	};
	unsigned int n;

	ck_assert_int_eq(start(0), 0);
	ck_assert_int_eq(vmm_vhost_user_set_memory(user, regions, 2), 0);
	n = back.n_log;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct vmm_vhost_user_queue queue = good_queue();

		queue.config.size = table[i].size;
		queue.config.desc_gpa = table[i].desc_gpa;
		queue.config.driver_gpa = table[i].driver_gpa;
		queue.config.device_gpa = table[i].device_gpa;
		ck_assert_int_eq(vmm_vhost_user_start(user, 0, &queue), -VMM_EGUEST);
	}
	ck_assert_uint_eq(back.n_log, n);
}
END_TEST

START_TEST(test_config)
{
	uint8_t bytes[VMM_VHOST_USER_CONFIG_BYTES] = { 0 };

	ck_assert_int_eq(start(0), 0);
	ck_assert_int_eq(vmm_vhost_user_get_config(user, 4, bytes, 8), 0);
	ck_assert_uint_eq(bytes[7], 0xc5);
	ck_assert_uint_eq(bytes[8], 0);
	ck_assert_int_eq(vmm_vhost_user_get_config(user, 0, bytes, sizeof(bytes)), 0);
	ck_assert_int_eq(vmm_vhost_user_get_config(user, 0, bytes, 0), -EINVAL);
	ck_assert_int_eq(vmm_vhost_user_get_config(user, 0, bytes, sizeof(bytes) + 1), -EINVAL);
	ck_assert_int_eq(vmm_vhost_user_set_config(user, 32, "x", 1), 0);
	ck_assert_uint_eq(last(VMM_VHOST_USER_SET_CONFIG)->payload.config.offset, 32);
	ck_assert_uint_eq(last(VMM_VHOST_USER_SET_CONFIG)->payload.config.bytes[0], 'x');
	ck_assert_int_eq(vmm_vhost_user_set_config(user, 0, bytes, 257), -EINVAL);
}
END_TEST

START_TEST(test_inflight)
{
	struct vmm_vhost_user_inflight inflight = { .fd = -EBADF };

	ck_assert_int_eq(start(0), 0);
	ck_assert_int_eq(vmm_vhost_user_get_inflight(user, 2, 128, &inflight), 0);
	ck_assert_int_ge(inflight.fd, 0);
	ck_assert_uint_eq(inflight.area.mmap_size_bytes, 8192);
	ck_assert_int_eq(vmm_vhost_user_set_inflight(user, &inflight), 0);
	ck_assert_uint_eq(last(VMM_VHOST_USER_SET_INFLIGHT_FD)->payload.inflight.queue_size, 128);
	close(inflight.fd);
}
END_TEST

/* One request, one misdeed, and what the caller hears. The front end is of use after it, or not. */
static const struct {
	uint32_t request;
	enum misdeed misdeed;
	int result;
	bool is_of_use;
} misdeeds[] = {
	{ VMM_VHOST_USER_SET_FEATURES, REFUSE, -EREMOTEIO, true },
	{ VMM_VHOST_USER_SET_FEATURES, HANG_UP, -ECONNRESET, false },
	{ VMM_VHOST_USER_SET_FEATURES, KEEP_SILENT, -ETIMEDOUT, false },
	{ VMM_VHOST_USER_SET_FEATURES, WRONG_REQUEST, -EPROTO, false },
	{ VMM_VHOST_USER_ADD_MEM_REG, REFUSE, -EREMOTEIO, true },
	{ VMM_VHOST_USER_ADD_MEM_REG, HANG_UP, -ECONNRESET, false },
	{ VMM_VHOST_USER_SET_VRING_NUM, REFUSE, -EREMOTEIO, true },
	{ VMM_VHOST_USER_SET_VRING_BASE, REFUSE, -EREMOTEIO, true },
	{ VMM_VHOST_USER_SET_VRING_ADDR, REFUSE, -EREMOTEIO, true },
	{ VMM_VHOST_USER_SET_VRING_CALL, REFUSE, -EREMOTEIO, true },
	{ VMM_VHOST_USER_SET_VRING_KICK, REFUSE, -EREMOTEIO, true },
	{ VMM_VHOST_USER_SET_VRING_KICK, HANG_UP, -ECONNRESET, false },
	{ VMM_VHOST_USER_SET_VRING_ENABLE, REFUSE, -EREMOTEIO, true },
	{ VMM_VHOST_USER_GET_VRING_BASE, WRONG_INDEX, -EPROTO, false },
	{ VMM_VHOST_USER_GET_VRING_BASE, KEEP_SILENT, -ETIMEDOUT, false },
	{ VMM_VHOST_USER_GET_CONFIG, EMPTY, -EREMOTEIO, true },
	{ VMM_VHOST_USER_GET_CONFIG, WRONG_SIZE, -EPROTO, false },
	{ VMM_VHOST_USER_GET_CONFIG, WRONG_INDEX, -EPROTO, false },
	{ VMM_VHOST_USER_GET_INFLIGHT_FD, NO_FILE, -EREMOTEIO, true },
	{ VMM_VHOST_USER_GET_INFLIGHT_FD, EMPTY, -EPROTO, true },
	{ VMM_VHOST_USER_GET_INFLIGHT_FD, SHORT_FILE, -EPROTO, true },
	{ VMM_VHOST_USER_GET_INFLIGHT_FD, WRAPPING, -EPROTO, true },
	{ VMM_VHOST_USER_GET_STATUS, WRONG_SIZE, -EPROTO, false },
	{ VMM_VHOST_USER_GET_STATUS, WRONG_REQUEST, -EPROTO, false },
};

/* All that a device does in its life: the first failure, or 0. */
static int live(void)
{
	struct vmm_vhost_user_queue queue = good_queue();
	struct vmm_vhost_user_inflight inflight = { .fd = -EBADF };
	struct vmm_virtqueue_state state;
	uint8_t bytes[8];
	int r;

	r = vmm_vhost_user_get_config(user, 0, bytes, sizeof(bytes));
	if (r == 0)
		r = vmm_vhost_user_set_features(user, 0);
	if (r == 0)
		r = vmm_vhost_user_set_memory(user, regions, 2);
	if (r == 0)
		r = vmm_vhost_user_get_inflight(user, 1, 128, &inflight);
	if (r == 0)
		r = vmm_vhost_user_set_inflight(user, &inflight);
	vmm_base_close(inflight.fd);
	if (r == 0)
		r = vmm_vhost_user_start(user, 0, &queue);
	if (r == 0)
		r = vmm_vhost_user_get_status(user);
	if (r >= 0)
		r = vmm_vhost_user_stop(user, 0, &state);
	return r;
}

START_TEST(test_misdeeds)
{
	back.bad_request = misdeeds[_i].request;
	back.misdeed = misdeeds[_i].misdeed;
	ck_assert_int_eq(start(SECOND_NSEC / 20), 0);
	ck_assert_int_eq(live(), misdeeds[_i].result);
	ck_assert_int_eq(vmm_vhost_user_reset_device(user), misdeeds[_i].is_of_use ? 0 : -ENOTCONN);
	/* And once it behaves. */
	if (misdeeds[_i].is_of_use) {
		back.misdeed = NOTHING_WRONG;
		ck_assert_int_eq(live(), 0);
	}
}
END_TEST

static const struct {
	uint32_t request;
	enum misdeed misdeed;
	int result;
} bad_greetings[] = {
	{ VMM_VHOST_USER_GET_FEATURES, HANG_UP, -ECONNRESET },
	{ VMM_VHOST_USER_GET_FEATURES, KEEP_SILENT, -ETIMEDOUT },
	{ VMM_VHOST_USER_GET_FEATURES, WRONG_REQUEST, -EPROTO },
	{ VMM_VHOST_USER_GET_PROTOCOL_FEATURES, HANG_UP, -ECONNRESET },
	{ VMM_VHOST_USER_GET_QUEUE_NUM, WRONG_REQUEST, -EPROTO },
	{ VMM_VHOST_USER_GET_MAX_MEM_SLOTS, KEEP_SILENT, -ETIMEDOUT },
	{ VMM_VHOST_USER_SET_BACKEND_REQ_FD, REFUSE, -EREMOTEIO },
	{ VMM_VHOST_USER_SET_OWNER, REFUSE, -EREMOTEIO },
};

START_TEST(test_bad_greetings)
{
	back.bad_request = bad_greetings[_i].request;
	back.misdeed = bad_greetings[_i].misdeed;
	ck_assert_int_eq(start(SECOND_NSEC / 20), bad_greetings[_i].result);
	ck_assert_ptr_null(user);
}
END_TEST

START_TEST(test_no_queues)
{
	back.n_queues = 0;
	ck_assert_int_eq(start(0), -EPROTO);
}
END_TEST

START_TEST(test_channel)
{
	struct vmm_vhost_user_message message = {
		.request = VMM_VHOST_USER_BACKEND_CONFIG_CHANGE,
		.flags = VMM_VHOST_USER_FLAG_NEED_REPLY,
	};
	struct vmm_vhost_user_message reply;
	const struct raw bad = { 3, 1, 24, { 0 } };

	ck_assert_int_eq(start(0), 0);
	ck_assert_int_eq(vmm_vhost_user_channel_process(user), 0);
	ck_assert_int_eq(vmm_vhost_user_send(back.channel, &message, soon()), 0);
	ck_assert_int_eq(vmm_vhost_user_channel_process(user), 1);
	ck_assert_int_eq(
		vmm_vhost_user_receive(back.channel, VMM_VHOST_USER_CHANNEL_REPLY, soon(), &reply),
		0);
	ck_assert_uint_eq(reply.payload.number, 0);
	/* One a call, however many there are. */
	message.flags = 0;
	ck_assert_int_eq(vmm_vhost_user_send(back.channel, &message, soon()), 0);
	ck_assert_int_eq(vmm_vhost_user_send(back.channel, &message, soon()), 0);
	ck_assert_int_eq(vmm_vhost_user_channel_process(user), 1);
	ck_assert_int_eq(vmm_vhost_user_channel_process(user), 1);
	ck_assert_int_eq(vmm_vhost_user_channel_process(user), 0);
	send_raw(back.channel, &bad, 12 + 24, 1);
	ck_assert_int_eq(vmm_vhost_user_channel_process(user), -EPROTO);
	ck_assert_int_eq(vmm_vhost_user_channel_fd(user), -EBADF);
	/* Only the channel is gone. */
	ck_assert_int_eq(live(), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vhost-user");
	TCase *tcase = unit_case(suite, "messages");

	tcase_add_loop_test(tcase, test_messages, 0, ARRAY_SIZE(messages));
	tcase_add_test(tcase, test_pieces_and_ends);
	tcase_add_test(tcase, test_send_to_nobody_and_to_one_who_does_not_read);

	tcase = unit_case(suite, "front end");
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, test_negotiation);
	tcase_add_test(tcase, test_back_end_without_anything);
	tcase_add_test(tcase, test_memory_slots);
	tcase_add_test(tcase, test_queue);
	tcase_add_test(tcase, test_hostile_rings);
	tcase_add_test(tcase, test_config);
	tcase_add_test(tcase, test_inflight);
	tcase_add_loop_test(tcase, test_misdeeds, 0, ARRAY_SIZE(misdeeds));
	tcase_add_loop_test(tcase, test_bad_greetings, 0, ARRAY_SIZE(bad_greetings));
	tcase_add_test(tcase, test_no_queues);
	tcase_add_test(tcase, test_channel);
	return unit_run(suite);
}

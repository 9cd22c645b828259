/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of vhost-user share. */
#include "vhost-user-fixture.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"

#define SECOND_NSEC UINT64_C(1000000000)

unsigned int n_open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

uint64_t soon(void)
{
	return vmm_base_now_nsec() + 2 * SECOND_NSEC;
}

void send_raw(int fd, const void *data, size_t size, unsigned int n_fds)
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

void pair(int fds[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

struct back back;

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

	while (go_on && vmm_vhost_user_receive(
				back.fd, VMM_VHOST_USER_REQUEST, UINT64_MAX, &message) == 0) {
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

void back_init(void)
{
	memset(&back, 0, sizeof(back));
	back.fd = back.channel = -EBADF;
	back.features = VMM_VHOST_USER_F_PROTOCOL_FEATURES | VMM_VIRTIO_F_EVENT_IDX |
			VMM_VIRTIO_F_RING_PACKED | (UINT64_C(1) << 32);
	/* Also what the front end does not know, and must not take. */
	back.protocol_features = ALL_PROTOCOL | (UINT64_C(1) << 8) | (UINT64_C(1) << 63);
	back.n_queues = 4;
	back.n_slots = 3;
}

int back_start(void)
{
	int fds[2];

	pair(fds);
	back.fd = fds[0];
	ck_assert_int_eq(pthread_create(&back.thread, NULL, run_back, NULL), 0);
	return fds[1];
}

void back_finish(void)
{
	if (back.fd >= 0) {
		pthread_join(back.thread, NULL);
		close(back.fd);
	}
	vmm_base_close(back.channel);
}

const struct vmm_vhost_user_message *last(uint32_t request)
{
	for (unsigned int i = __atomic_load_n(&back.n_log, __ATOMIC_ACQUIRE); i-- > 0;)
		if (back.log[i].request == request)
			return &back.log[i].message;
	ck_abort_msg("request %u was not sent", request);
	return NULL;
}

unsigned int count(uint32_t request)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < __atomic_load_n(&back.n_log, __ATOMIC_ACQUIRE); i++)
		n += back.log[i].request == request;
	return n;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vhost-user: the front end's requests and the back end's channel. Contract: vhost-user.h. */
#include "vhost-user/front.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#define KNOWN_PROTOCOL_FEATURES                                                                    \
	(VMM_VHOST_USER_PROTOCOL_MQ | VMM_VHOST_USER_PROTOCOL_REPLY_ACK |                          \
		VMM_VHOST_USER_PROTOCOL_BACKEND_REQ | VMM_VHOST_USER_PROTOCOL_CONFIG |             \
		VMM_VHOST_USER_PROTOCOL_INFLIGHT_SHMFD | VMM_VHOST_USER_PROTOCOL_RESET_DEVICE |    \
		VMM_VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS | VMM_VHOST_USER_PROTOCOL_STATUS)

static uint64_t deadline(const struct vmm_vhost_user *user)
{
	return vmm_base_now_nsec() + user->timeout_nsec;
}

/* After this nobody knows what the next bytes on the socket belong to. */
static int lost(struct vmm_vhost_user *user, int r)
{
	user->is_lost = true;
	return r;
}

static int send_message(struct vmm_vhost_user *user, const struct vmm_vhost_user_message *message)
{
	int r;

	if (user->is_lost)
		return -ENOTCONN;
	r = vmm_vhost_user_send(user->fd, message, deadline(user));
	return r < 0 ? lost(user, r) : 0;
}

static int receive_reply(
	struct vmm_vhost_user *user, uint32_t request, struct vmm_vhost_user_message *ret_reply)
{
	struct vmm_vhost_user_message reply;
	int r;

	r = vmm_vhost_user_receive(user->fd, VMM_VHOST_USER_REPLY, deadline(user), &reply);
	if (r < 0)
		return lost(user, r);
	if (reply.request != request) {
		vmm_vhost_user_message_finish(&reply);
		return lost(user, -EPROTO);
	}
	*ret_reply = reply;
	return 0;
}

int front_ask(struct vmm_vhost_user *user, struct vmm_vhost_user_message *message,
	struct vmm_vhost_user_message *ret_reply)
{
	int r = send_message(user, message);

	return r < 0 ? r : receive_reply(user, message->request, ret_reply);
}

int front_request(struct vmm_vhost_user *user, struct vmm_vhost_user_message *message)
{
	struct vmm_vhost_user_message reply;
	int r;

	if (!front_has(user, VMM_VHOST_USER_PROTOCOL_REPLY_ACK))
		return send_message(user, message);
	message->flags |= VMM_VHOST_USER_FLAG_NEED_REPLY;
	r = front_ask(user, message, &reply);
	if (r < 0)
		return r;
	return reply.payload.number == 0 ? 0 : -EREMOTEIO;
}

int front_ask_number(struct vmm_vhost_user *user, uint32_t request, uint64_t *ret_number)
{
	struct vmm_vhost_user_message message = { .request = request }, reply;
	int r = front_ask(user, &message, &reply);

	if (r < 0)
		return r;
	*ret_number = reply.payload.number;
	return 0;
}

int front_send_number(struct vmm_vhost_user *user, uint32_t request, uint64_t number)
{
	struct vmm_vhost_user_message message = {
		.request = request,
		.size_bytes = sizeof(number),
		.payload.number = number,
	};

	return front_request(user, &message);
}

static int open_channel(struct vmm_vhost_user *user)
{
	struct vmm_vhost_user_message message = {
		.request = VMM_VHOST_USER_SET_BACKEND_REQ_FD,
		.n_fds = 1,
	};
	int fds[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	message.fds[0] = fds[1];
	r = front_request(user, &message);
	vmm_base_close(fds[1]);
	user->channel_fd = fds[0];
	return r;
}

static int negotiate(struct vmm_vhost_user *user, uint64_t wanted)
{
	uint64_t number;
	int r;

	r = front_ask_number(user, VMM_VHOST_USER_GET_FEATURES, &user->offered);
	if (r < 0)
		return r;
	if (user->offered & VMM_VHOST_USER_F_PROTOCOL_FEATURES) {
		r = front_ask_number(user, VMM_VHOST_USER_GET_PROTOCOL_FEATURES, &number);
		if (r < 0)
			return r;
		number &= wanted;
		/* That message itself is not acknowledged yet. */
		r = front_send_number(user, VMM_VHOST_USER_SET_PROTOCOL_FEATURES, number);
		if (r < 0)
			return r;
		user->protocol_features = number;
	}
	if (front_has(user, VMM_VHOST_USER_PROTOCOL_MQ)) {
		r = front_ask_number(user, VMM_VHOST_USER_GET_QUEUE_NUM, &number);
		if (r < 0)
			return r;
		if (number == 0)
			return lost(user, -EPROTO);
		user->max_queues = (unsigned int)MIN(number, (uint64_t)VMM_VHOST_USER_MAX_QUEUES);
	}
	if (front_has(user, VMM_VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS)) {
		r = front_ask_number(user, VMM_VHOST_USER_GET_MAX_MEM_SLOTS, &user->max_slots);
		if (r < 0)
			return r;
	}
	if (front_has(user, VMM_VHOST_USER_PROTOCOL_BACKEND_REQ)) {
		r = open_channel(user);
		if (r < 0)
			return r;
	}
	return front_request(
		user, &(struct vmm_vhost_user_message){ .request = VMM_VHOST_USER_SET_OWNER });
}

DEFINE_POINTER_CLEANUP(struct vmm_vhost_user, vmm_vhost_user_free);

int vmm_vhost_user_new(const struct vmm_vhost_user_config *config, struct vmm_vhost_user **ret_user)
{
	CLEANUP(vmm_vhost_user_free_p) struct vmm_vhost_user *user = malloc(sizeof(*user));
	uint64_t wanted = KNOWN_PROTOCOL_FEATURES;
	int r;

	if (!user)
		return -ENOMEM;
	*user = (struct vmm_vhost_user){
		.channel_fd = -EBADF,
		.timeout_nsec =
			config->timeout_nsec ? config->timeout_nsec : VMM_VHOST_USER_TIMEOUT_NSEC,
		.max_queues = VMM_VHOST_USER_MAX_QUEUES,
	};
	user->fd = fcntl(config->fd, F_DUPFD_CLOEXEC, 3);
	if (user->fd < 0)
		return -errno;
	if (config->protocol_features)
		wanted &= config->protocol_features;
	r = negotiate(user, wanted);
	if (r < 0)
		return r;
	*ret_user = TAKE_PTR(user);
	return 0;
}

struct vmm_vhost_user *vmm_vhost_user_free(struct vmm_vhost_user *user)
{
	if (!user)
		return NULL;
	vmm_base_close(user->channel_fd);
	/* Also where somebody else has a copy of the descriptor, the back end sees an end. */
	if (user->fd >= 0)
		shutdown(user->fd, SHUT_RDWR);
	vmm_base_close(user->fd);
	free(user);
	return NULL;
}

int vmm_vhost_user_fd(const struct vmm_vhost_user *user)
{
	return user->fd;
}

uint64_t vmm_vhost_user_features(const struct vmm_vhost_user *user)
{
	return user->offered & ~VMM_VHOST_USER_F_PROTOCOL_FEATURES;
}

uint64_t vmm_vhost_user_protocol_features(const struct vmm_vhost_user *user)
{
	return user->protocol_features;
}

unsigned int vmm_vhost_user_max_queues(const struct vmm_vhost_user *user)
{
	return user->max_queues;
}

int vmm_vhost_user_set_features(struct vmm_vhost_user *user, uint64_t features)
{
	if (features & ~vmm_vhost_user_features(user))
		return -ENOTSUP;
	features |= user->offered & VMM_VHOST_USER_F_PROTOCOL_FEATURES;
	return front_send_number(user, VMM_VHOST_USER_SET_FEATURES, features);
}

int vmm_vhost_user_get_config(struct vmm_vhost_user *user, uint32_t offset, void *data, size_t size)
{
	struct vmm_vhost_user_message message = { .request = VMM_VHOST_USER_GET_CONFIG };
	struct vmm_vhost_user_device_config *config = &message.payload.config;
	struct vmm_vhost_user_message reply;
	int r;

	if (!front_has(user, VMM_VHOST_USER_PROTOCOL_CONFIG))
		return -EOPNOTSUPP;
	if (size == 0 || size > VMM_VHOST_USER_CONFIG_BYTES)
		return -EINVAL;
	config->offset = offset;
	config->size_bytes = (uint32_t)size;
	message.size_bytes = (uint32_t)(offsetof(__typeof__(*config), bytes) + size);
	r = front_ask(user, &message, &reply);
	if (r < 0)
		return r;
	if (reply.size_bytes == 0)
		return -EREMOTEIO;
	if (reply.payload.config.size_bytes != size || reply.payload.config.offset != offset)
		return lost(user, -EPROTO);
	memcpy(data, reply.payload.config.bytes, size);
	return 0;
}

int vmm_vhost_user_set_config(
	struct vmm_vhost_user *user, uint32_t offset, const void *data, size_t size)
{
	struct vmm_vhost_user_message message = { .request = VMM_VHOST_USER_SET_CONFIG };
	struct vmm_vhost_user_device_config *config = &message.payload.config;

	if (!front_has(user, VMM_VHOST_USER_PROTOCOL_CONFIG))
		return -EOPNOTSUPP;
	if (size == 0 || size > VMM_VHOST_USER_CONFIG_BYTES)
		return -EINVAL;
	config->offset = offset;
	config->size_bytes = (uint32_t)size;
	memcpy(config->bytes, data, size);
	message.size_bytes = (uint32_t)(offsetof(__typeof__(*config), bytes) + size);
	return front_request(user, &message);
}

int vmm_vhost_user_reset_device(struct vmm_vhost_user *user)
{
	if (!front_has(user, VMM_VHOST_USER_PROTOCOL_RESET_DEVICE))
		return -EOPNOTSUPP;
	return front_request(
		user, &(struct vmm_vhost_user_message){ .request = VMM_VHOST_USER_RESET_DEVICE });
}

int vmm_vhost_user_set_status(struct vmm_vhost_user *user, uint8_t status)
{
	if (!front_has(user, VMM_VHOST_USER_PROTOCOL_STATUS))
		return -EOPNOTSUPP;
	return front_send_number(user, VMM_VHOST_USER_SET_STATUS, status);
}

int vmm_vhost_user_get_status(struct vmm_vhost_user *user)
{
	uint64_t number;
	int r;

	if (!front_has(user, VMM_VHOST_USER_PROTOCOL_STATUS))
		return -EOPNOTSUPP;
	r = front_ask_number(user, VMM_VHOST_USER_GET_STATUS, &number);
	if (r < 0)
		return r;
	return number <= UINT8_MAX ? (int)number : lost(user, -EPROTO);
}

int vmm_vhost_user_channel_fd(const struct vmm_vhost_user *user)
{
	return user->channel_fd;
}

/* A message that began has to be there soon, and the answer has to fit into the socket. */
static int channel_exchange(struct vmm_vhost_user *user)
{
	struct vmm_vhost_user_message message, reply = { 0 };
	int r;

	r = vmm_vhost_user_receive(
		user->channel_fd, VMM_VHOST_USER_CHANNEL_REQUEST, deadline(user), &message);
	if (r < 0)
		return r;
	if (message.flags & VMM_VHOST_USER_FLAG_NEED_REPLY) {
		if (!front_has(user, VMM_VHOST_USER_PROTOCOL_REPLY_ACK))
			return -EPROTO;
		reply.request = message.request;
		reply.flags = VMM_VHOST_USER_FLAG_REPLY;
		reply.size_bytes = sizeof(reply.payload.number);
		r = vmm_vhost_user_send(user->channel_fd, &reply, 0);
		if (r < 0)
			return r;
	}
	return 1;
}

int vmm_vhost_user_channel_process(struct vmm_vhost_user *user)
{
	uint8_t byte;
	ssize_t n;
	int r;

	if (user->channel_fd < 0)
		return 0;
	n = recv(user->channel_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	r = channel_exchange(user);
	if (r < 0)
		user->channel_fd = vmm_base_close(user->channel_fd);
	return r;
}

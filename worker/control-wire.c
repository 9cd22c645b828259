/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* control-wire: the messages on a control connection, both sides; see protocol.h. */
#include "worker/protocol.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "worker/message.h"

static_assert(sizeof(struct vmm_control_header) == 32, "wire layout");
static_assert(sizeof(struct vmm_control_message) == VMM_CONTROL_MAX_SIZE, "wire layout");
static_assert(sizeof(struct vmm_control_status) == 184, "wire layout");
static_assert(sizeof(struct vmm_control_how) == 8, "wire layout");
static_assert(sizeof(struct vmm_control_console) == 16, "wire layout");
static_assert(sizeof(struct vmm_control_drive) == 40, "wire layout");
static_assert(sizeof(struct vmm_control_drive_rate) == 80, "wire layout");
static_assert(sizeof(struct vmm_control_drive_stats) == 96, "wire layout");
static_assert(sizeof(struct vmm_control_event) == 152, "wire layout");
static_assert(sizeof(struct vmm_control_stats) == 528, "wire layout");
static_assert(sizeof(struct vmm_control_vsock_request) == 24, "wire layout");
static_assert(sizeof(struct vmm_control_vsock_answer) == 8, "wire layout");
static_assert(sizeof(struct vmm_control_memory) == 128, "wire layout");
static_assert(sizeof(struct vmm_control_memory_target) == 8, "wire layout");

/* Sizes of the payloads of a request and of a reply that says success. */
static const struct {
	uint16_t request;
	uint16_t reply;
	uint16_t n_fds;
} types[VMM_CONTROL_COUNT] = {
	[VMM_CONTROL_GET_STATUS] = { 0, sizeof(struct vmm_control_status), 0 },
	[VMM_CONTROL_PAUSE] = { 0, 0, 0 },
	[VMM_CONTROL_RESUME] = { 0, 0, 0 },
	[VMM_CONTROL_POWER_BUTTON] = { 0, 0, 0 },
	[VMM_CONTROL_CTRL_ALT_DEL] = { 0, 0, 0 },
	[VMM_CONTROL_STOP] = { sizeof(struct vmm_control_how), 0, 0 },
	[VMM_CONTROL_REBOOT] = { sizeof(struct vmm_control_how), 0, 0 },
	[VMM_CONTROL_OPEN_CONSOLE] = { sizeof(struct vmm_control_console),
		sizeof(struct vmm_control_console), 1 },
	[VMM_CONTROL_RESIZE_CONSOLE] = { sizeof(struct vmm_control_console), 0, 0 },
	[VMM_CONTROL_SET_DRIVE_RATE] = { sizeof(struct vmm_control_drive_rate), 0, 0 },
	[VMM_CONTROL_RESIZE_DRIVE] = { sizeof(struct vmm_control_drive), 0, 0 },
	[VMM_CONTROL_GET_DRIVE] = { sizeof(struct vmm_control_drive),
		sizeof(struct vmm_control_drive_stats), 0 },
	[VMM_CONTROL_GET_STATS] = { 0, sizeof(struct vmm_control_stats), 0 },
	[VMM_CONTROL_CONNECT_VSOCK] = { sizeof(struct vmm_control_vsock_answer), 0, 1 },
	[VMM_CONTROL_GET_MEMORY] = { 0, sizeof(struct vmm_control_memory), 0 },
	[VMM_CONTROL_SET_MEMORY] = { sizeof(struct vmm_control_memory_target), 0, 0 },
	[VMM_CONTROL_REFUSE_VSOCK] = { sizeof(struct vmm_control_vsock_answer), 0, 0 },
};

/* The parts that every message has. What follows the payload in *ret_message is zero. */
static int decode_common(
	const void *data, size_t size, size_t max_payload, struct vmm_control_message *ret_message)
{
	struct vmm_control_header header;

	if (size < sizeof(header))
		return -EBADMSG;
	memcpy(&header, data, sizeof(header));
	if (header.magic != VMM_PROTOCOL_MAGIC)
		return -EBADMSG;
	if (header.version != VMM_PROTOCOL_VERSION)
		return -EPROTONOSUPPORT;
	if (header.reserved != 0 || header.size > max_payload ||
		size != sizeof(header) + header.size)
		return -EBADMSG;
	memset(ret_message, 0, sizeof(*ret_message));
	memcpy(ret_message, data, size);
	return 0;
}

static bool device_id_ends(const char *id)
{
	return id[0] && vmm_message_string_ends(id, VMM_DEVICE_ID_SIZE);
}

static bool bucket_is_valid(const struct vmm_spec_bucket *bucket)
{
	if (bucket->rate_per_second == 0)
		return bucket->burst == 0 && bucket->one_time_burst == 0;
	return bucket->rate_per_second <= INT64_MAX && bucket->burst <= INT64_MAX &&
	       bucket->one_time_burst <= INT64_MAX;
}

static bool console_is_valid(const struct vmm_control_console *console)
{
	return (console->flags & ~VMM_CONSOLE_FLAGS) == 0 && console->reserved == 0;
}

static bool request_is_valid(const struct vmm_control_message *message)
{
	switch (message->header.type) {
	case VMM_CONTROL_STOP:
	case VMM_CONTROL_REBOOT:
		return message->how.how < VMM_HOW_COUNT && message->how.reserved == 0;
	case VMM_CONTROL_OPEN_CONSOLE:
		return console_is_valid(&message->console) && message->console.id == 0;
	case VMM_CONTROL_RESIZE_CONSOLE:
		return console_is_valid(&message->console) && message->console.flags == 0;
	case VMM_CONTROL_SET_DRIVE_RATE:
		return device_id_ends(message->drive_rate.id) &&
		       bucket_is_valid(&message->drive_rate.rate.bytes) &&
		       bucket_is_valid(&message->drive_rate.rate.ops);
	case VMM_CONTROL_RESIZE_DRIVE:
		return device_id_ends(message->drive.id);
	case VMM_CONTROL_GET_DRIVE:
		return device_id_ends(message->drive.id) && message->drive.size_bytes == 0;
	default:
		return true;
	}
}

int vmm_control_decode_request(
	const void *data, size_t size, size_t n_fds, struct vmm_control_message *ret_message)
{
	const struct vmm_control_header *header = &ret_message->header;
	int r;

	r = decode_common(data, size, sizeof(ret_message->bytes), ret_message);
	if (r < 0)
		return r;
	if (header->type == 0 || header->type >= VMM_CONTROL_COUNT || header->id == 0 ||
		header->result != 0)
		return -EBADMSG;
	if (header->size != types[header->type].request || n_fds != types[header->type].n_fds)
		return -EBADMSG;
	return request_is_valid(ret_message) ? 0 : -EBADMSG;
}

static bool event_is_valid(const struct vmm_control_event *event)
{
	return event->event > 0 && event->event < VMM_EVENT_COUNT &&
	       event->state < VMM_STATE_COUNT && event->end < VMM_END_COUNT &&
	       vmm_message_string_ends(event->text, sizeof(event->text));
}

static bool stats_are_valid(const struct vmm_control_stats *stats)
{
	if (stats->n_cpus > ARRAY_SIZE(stats->exits) || stats->reserved != 0)
		return false;
	for (size_t i = stats->n_cpus; i < ARRAY_SIZE(stats->exits); i++)
		if (stats->exits[i] != 0)
			return false;
	return true;
}

/* What comes without a request. */
static bool news_is_valid(const struct vmm_control_message *message)
{
	const struct vmm_control_vsock_request *request = &message->vsock_request;

	if (message->header.id != 0 || message->header.result != 0)
		return false;
	if (message->header.type == VMM_CONTROL_EVENT)
		return message->header.size == sizeof(message->event) &&
		       event_is_valid(&message->event);
	return message->header.size == sizeof(*request) && request->seqpacket <= 1 &&
	       request->reserved == 0;
}

static bool reply_is_valid(uint32_t type, const struct vmm_control_message *message)
{
	const struct vmm_control_status *status = &message->status;

	switch (type) {
	case VMM_CONTROL_GET_STATUS:
		return status->state < VMM_STATE_COUNT && status->end < VMM_END_COUNT &&
		       status->transport < VMM_TRANSPORT_COUNT &&
		       vmm_message_string_ends(status->text, sizeof(status->text));
	case VMM_CONTROL_GET_MEMORY:
		return (message->memory.flags & ~VMM_MEMORY_FLAGS) == 0 &&
		       message->memory.reserved == 0;
	case VMM_CONTROL_OPEN_CONSOLE:
		return console_is_valid(&message->console) && message->console.id != 0;
	case VMM_CONTROL_GET_DRIVE:
		return device_id_ends(message->drive_stats.id) &&
		       message->drive_stats.engine < VMM_ENGINE_COUNT &&
		       (message->drive_stats.flags & ~VMM_DRIVE_FLAGS) == 0;
	case VMM_CONTROL_GET_STATS:
		return stats_are_valid(&message->stats);
	default:
		return true;
	}
}

int vmm_control_decode_answer(
	const void *data, size_t size, size_t n_fds, struct vmm_control_message *ret_message)
{
	const struct vmm_control_header *header = &ret_message->header;
	uint32_t type;
	int r;

	if (n_fds != 0)
		return -EBADMSG;
	r = decode_common(data, size, sizeof(ret_message->bytes), ret_message);
	if (r < 0)
		return r;
	if (header->type == VMM_CONTROL_EVENT || header->type == VMM_CONTROL_VSOCK_REQUEST)
		return news_is_valid(ret_message) ? 0 : -EBADMSG;

	type = header->type & ~VMM_CONTROL_REPLY;
	if (!(header->type & VMM_CONTROL_REPLY) || type == 0 || type >= VMM_CONTROL_COUNT)
		return -EBADMSG;
	if (header->id == 0 || header->result > 0 || header->result < -4095)
		return -EBADMSG;
	if (header->result < 0) {
		if (header->size != sizeof(ret_message->text))
			return -EBADMSG;
		return vmm_message_string_ends(ret_message->text, sizeof(ret_message->text))
			       ? 0
			       : -EBADMSG;
	}
	if (header->size != types[type].reply)
		return -EBADMSG;
	return reply_is_valid(type, ret_message) ? 0 : -EBADMSG;
}

static int send_message(int socket_fd, uint32_t type, uint64_t id, int result, const void *payload,
	size_t payload_size, int fd)
{
	struct vmm_control_header header = {
		.magic = VMM_PROTOCOL_MAGIC,
		.version = VMM_PROTOCOL_VERSION,
		.type = type,
		.size = payload_size,
		.id = id,
		.result = result,
	};

	if (payload_size > VMM_CONTROL_MAX_SIZE - sizeof(header))
		return -EMSGSIZE;
	return vmm_message_send(socket_fd, MSG_DONTWAIT, &header, sizeof(header), payload,
		payload_size, &fd, fd >= 0 ? 1 : 0);
}

int vmm_control_send_request(
	int socket_fd, uint32_t type, uint64_t id, const void *payload, size_t payload_size, int fd)
{
	if (type == 0 || type >= VMM_CONTROL_COUNT || id == 0 ||
		payload_size != types[type].request || (fd >= 0) != (types[type].n_fds == 1))
		return -EINVAL;
	return send_message(socket_fd, type, id, 0, payload, payload_size, fd);
}

int vmm_control_send_reply(int socket_fd, const struct vmm_control_header *request,
	const void *payload, size_t payload_size)
{
	assert(request->type < VMM_CONTROL_COUNT && payload_size == types[request->type].reply);
	return send_message(socket_fd, request->type | VMM_CONTROL_REPLY, request->id, 0, payload,
		payload_size, -EBADF);
}

int vmm_control_send_failure(
	int socket_fd, const struct vmm_control_header *request, int result, const char *text)
{
	char copy[VMM_TEXT_SIZE] = "";

	strncpy(copy, text, sizeof(copy) - 1);
	return send_message(socket_fd, request->type | VMM_CONTROL_REPLY, request->id, result, copy,
		sizeof(copy), -EBADF);
}

int vmm_control_send_event(int socket_fd, const struct vmm_control_event *event)
{
	return send_message(socket_fd, VMM_CONTROL_EVENT, 0, 0, event, sizeof(*event), -EBADF);
}

int vmm_control_send_vsock_request(int socket_fd, const struct vmm_control_vsock_request *request)
{
	return send_message(
		socket_fd, VMM_CONTROL_VSOCK_REQUEST, 0, 0, request, sizeof(*request), -EBADF);
}

int vmm_control_receive_request(int socket_fd, struct vmm_control_message *ret_message, int *ret_fd)
{
	CLEANUP(close_p) int fd = -EBADF;
	uint8_t data[VMM_CONTROL_MAX_SIZE];
	size_t size, n_fds;
	int r;

	r = vmm_message_receive(socket_fd, MSG_DONTWAIT, data, sizeof(data), &size, &fd, 1, &n_fds);
	if (r < 0)
		return r;
	r = vmm_control_decode_request(data, size, n_fds, ret_message);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int vmm_control_receive_answer(int socket_fd, struct vmm_control_message *ret_message)
{
	uint8_t data[VMM_CONTROL_MAX_SIZE];
	size_t size, n_fds;
	int r;

	r = vmm_message_receive(
		socket_fd, MSG_DONTWAIT, data, sizeof(data), &size, NULL, 0, &n_fds);
	if (r < 0)
		return r;
	return vmm_control_decode_answer(data, size, n_fds, ret_message);
}

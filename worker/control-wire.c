/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* control-wire: the messages on a control connection, both sides; see protocol.h. */
#include "worker/control-wire.h"

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
static_assert(sizeof(struct vmm_control_set_rate) == 136, "wire layout");
static_assert(sizeof(struct vmm_control_index) == 8, "wire layout");
static_assert(sizeof(struct vmm_control_device) == 200, "wire layout");
static_assert(sizeof(struct vmm_control_detach) == 48, "wire layout");
static_assert(
	sizeof(struct vmm_spec_network) <= VMM_CONTROL_MAX_SIZE - sizeof(struct vmm_control_header),
	"fits");
static_assert(sizeof(struct vmm_control_drive_stats) == 96, "wire layout");
static_assert(sizeof(struct vmm_control_event) == 152, "wire layout");
static_assert(sizeof(struct vmm_control_stats) == 528, "wire layout");
static_assert(sizeof(struct vmm_control_vsock_request) == 24, "wire layout");
static_assert(sizeof(struct vmm_control_vsock_answer) == 8, "wire layout");
static_assert(sizeof(struct vmm_control_backend_request) == 48, "wire layout");
static_assert(sizeof(struct vmm_control_backend_answer) == 8, "wire layout");
static_assert(sizeof(struct vmm_control_memory) == 128, "wire layout");
static_assert(sizeof(struct vmm_control_memory_target) == 8, "wire layout");

/* Sizes of the payloads of a request and of a reply that says success. */
static const struct {
	uint16_t request;
	uint16_t reply;
	uint16_t n_fds;   /* at least, */
	uint16_t max_fds; /* and at most, where that is more */
} types[VMM_CONTROL_COUNT] = {
	[VMM_CONTROL_GET_STATUS] = { .reply = sizeof(struct vmm_control_status) },
	[VMM_CONTROL_STOP] = { .request = sizeof(struct vmm_control_how) },
	[VMM_CONTROL_REBOOT] = { .request = sizeof(struct vmm_control_how) },
	[VMM_CONTROL_OPEN_CONSOLE] = { sizeof(struct vmm_control_console),
		sizeof(struct vmm_control_console), 1, 1 },
	[VMM_CONTROL_RESIZE_CONSOLE] = { .request = sizeof(struct vmm_control_console) },
	[VMM_CONTROL_SET_RATE] = { .request = sizeof(struct vmm_control_set_rate) },
	[VMM_CONTROL_RESIZE_DRIVE] = { .request = sizeof(struct vmm_control_drive) },
	[VMM_CONTROL_GET_DRIVE] = { .request = sizeof(struct vmm_control_drive),
		.reply = sizeof(struct vmm_control_drive_stats) },
	[VMM_CONTROL_GET_DEVICE] = { .request = sizeof(struct vmm_control_index),
		.reply = sizeof(struct vmm_control_device) },
	[VMM_CONTROL_ATTACH_DRIVE] = { sizeof(struct vmm_spec_drive), 0, 1, 1 },
	[VMM_CONTROL_ATTACH_NETWORK] = { sizeof(struct vmm_spec_network), 0, 1,
		VMM_CONTROL_MAX_FDS },
	[VMM_CONTROL_DETACH] = { .request = sizeof(struct vmm_control_detach) },
	[VMM_CONTROL_GET_STATS] = { .reply = sizeof(struct vmm_control_stats) },
	[VMM_CONTROL_CONNECT_VSOCK] = { sizeof(struct vmm_control_vsock_answer), 0, 1, 1 },
	[VMM_CONTROL_REFUSE_VSOCK] = { .request = sizeof(struct vmm_control_vsock_answer) },
	[VMM_CONTROL_CONNECT_BACKEND] = { sizeof(struct vmm_control_backend_answer), 0, 1, 1 },
	[VMM_CONTROL_REFUSE_BACKEND] = { .request = sizeof(struct vmm_control_backend_answer) },
	[VMM_CONTROL_GET_MEMORY] = { .reply = sizeof(struct vmm_control_memory) },
	[VMM_CONTROL_SET_MEMORY] = { .request = sizeof(struct vmm_control_memory_target) },
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
	if (header.version != VMM_CONTROL_VERSION)
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

/* Each bucket by itself is for who changes one: he knows what the others are. */
static bool set_rate_is_valid(const struct vmm_control_set_rate *set)
{
	const struct vmm_spec_bucket *buckets[] = { &set->rate[0].bytes, &set->rate[0].ops,
		&set->rate[1].bytes, &set->rate[1].ops };
	uint32_t known = VMM_RATE_MEMBERS;

	if (set->kind == VMM_DEVICE_NETWORK)
		known |= VMM_RATE_MEMBERS << VMM_RATE_SECOND;
	else if (set->kind != VMM_DEVICE_DRIVE)
		return false;
	if (!device_id_ends(set->id) || set->members == 0 || (set->members & ~known))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(buckets); i++) {
		const uint64_t members[] = { buckets[i]->rate_per_second, buckets[i]->burst,
			buckets[i]->one_time_burst };

		for (size_t j = 0; j < ARRAY_SIZE(members); j++) {
			bool counts = set->members >> (i * ARRAY_SIZE(members) + j) & 1;

			if (members[j] > INT64_MAX || (!counts && members[j] != 0))
				return false;
		}
	}
	return true;
}

static bool detach_is_valid(const struct vmm_control_detach *detach)
{
	return device_id_ends(detach->id) && detach->kind > VMM_DEVICE_NONE &&
	       detach->kind < VMM_DEVICE_KIND_COUNT && (detach->flags & ~VMM_DETACH_FLAGS) == 0 &&
	       detach->timeout_usec <= VMM_CONTROL_MAX_TIMEOUT_USEC &&
	       (detach->timeout_usec > 0 || (detach->flags & VMM_DETACH_FORCE));
}

static bool device_is_valid(const struct vmm_control_device *device)
{
	static const struct vmm_control_device none;

	if (device->kind == VMM_DEVICE_NONE)
		return memcmp(device, &none, sizeof(none)) == 0;
	return device->kind < VMM_DEVICE_KIND_COUNT && device_id_ends(device->id) &&
	       device->state < VMM_DEVICE_STATE_COUNT && (device->flags & ~VMM_DEVICE_FLAGS) == 0 &&
	       device->engine < VMM_ENGINE_COUNT && device->next > 0 &&
	       bucket_is_valid(&device->rate[0].bytes) && bucket_is_valid(&device->rate[0].ops) &&
	       bucket_is_valid(&device->rate[1].bytes) && bucket_is_valid(&device->rate[1].ops);
}

static bool console_is_valid(const struct vmm_control_console *console)
{
	return (console->flags & ~VMM_CONSOLE_FLAGS) == 0 && console->reserved == 0;
}

static bool request_is_valid(const struct vmm_control_message *message, size_t n_fds)
{
	char text[VMM_TEXT_SIZE];

	switch (message->header.type) {
	case VMM_CONTROL_STOP:
	case VMM_CONTROL_REBOOT:
		return message->how.how < VMM_HOW_COUNT && message->how.reserved == 0;
	case VMM_CONTROL_OPEN_CONSOLE:
		return console_is_valid(&message->console) && message->console.id == 0;
	case VMM_CONTROL_RESIZE_CONSOLE:
		return console_is_valid(&message->console) && message->console.flags == 0;
	case VMM_CONTROL_SET_RATE:
		return set_rate_is_valid(&message->set_rate);
	case VMM_CONTROL_GET_DEVICE:
		return message->index.reserved == 0;
	case VMM_CONTROL_ATTACH_DRIVE:
		return vmm_spec_check_drive(
			       &message->attach_drive, n_fds + 1, text, sizeof(text)) == 0;
	case VMM_CONTROL_ATTACH_NETWORK:
		return vmm_spec_check_network(
			       &message->attach_network, n_fds + 1, text, sizeof(text)) == 0;
	case VMM_CONTROL_DETACH:
		return detach_is_valid(&message->detach);
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
	if (header->type == 0 || (header->type & VMM_CONTROL_REPLY) || header->id == 0 ||
		header->result != 0)
		return -EBADMSG;
	if (header->type >= VMM_CONTROL_COUNT || header->size != types[header->type].request)
		return -EOPNOTSUPP;
	if (n_fds < types[header->type].n_fds || n_fds > types[header->type].max_fds)
		return -EBADMSG;
	return request_is_valid(ret_message, n_fds) ? 0 : -EBADMSG;
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

static bool backend_request_is_valid(const struct vmm_control_backend_request *request)
{
	return request->id != 0 && device_id_ends(request->device) &&
	       request->kind > VMM_DEVICE_NONE && request->kind < VMM_DEVICE_KIND_COUNT &&
	       request->reserved == 0;
}

/* What comes without a request. */
static int check_news(const struct vmm_control_message *message)
{
	const struct vmm_control_vsock_request *vsock = &message->vsock_request;
	const struct vmm_control_header *header = &message->header;

	if (header->id != 0 || header->result != 0)
		return -EBADMSG;
	switch (header->type) {
	case VMM_CONTROL_EVENT:
		if (header->size != sizeof(message->event) ||
			message->event.event >= VMM_EVENT_COUNT)
			return -EOPNOTSUPP;
		return event_is_valid(&message->event) ? 0 : -EBADMSG;
	case VMM_CONTROL_VSOCK_REQUEST:
		if (header->size != sizeof(*vsock))
			return -EOPNOTSUPP;
		return vsock->seqpacket <= 1 && vsock->reserved == 0 ? 0 : -EBADMSG;
	case VMM_CONTROL_BACKEND_REQUEST:
		if (header->size != sizeof(message->backend_request))
			return -EOPNOTSUPP;
		return backend_request_is_valid(&message->backend_request) ? 0 : -EBADMSG;
	default:
		return -EOPNOTSUPP;
	}
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
	case VMM_CONTROL_GET_DEVICE:
		return device_is_valid(&message->device);
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
	if (!(header->type & VMM_CONTROL_REPLY))
		return header->type >= VMM_CONTROL_EVENT ? check_news(ret_message) : -EBADMSG;

	type = header->type & ~VMM_CONTROL_REPLY;
	if (type == 0 || type >= VMM_CONTROL_COUNT)
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
	size_t payload_size, const int *fds, size_t n_fds)
{
	struct vmm_control_header header = {
		.magic = VMM_PROTOCOL_MAGIC,
		.version = VMM_CONTROL_VERSION,
		.type = type,
		.size = payload_size,
		.id = id,
		.result = result,
	};

	if (payload_size > VMM_CONTROL_MAX_SIZE - sizeof(header))
		return -EMSGSIZE;
	return vmm_message_send(socket_fd, MSG_DONTWAIT, &header, sizeof(header), payload,
		payload_size, fds, n_fds);
}

int vmm_control_send_request(int socket_fd, uint32_t type, uint64_t id, const void *payload,
	size_t payload_size, const int *fds, size_t n_fds)
{
	if (type == 0 || type >= VMM_CONTROL_COUNT || id == 0 ||
		payload_size != types[type].request || n_fds < types[type].n_fds ||
		n_fds > types[type].max_fds)
		return -EINVAL;
	return send_message(socket_fd, type, id, 0, payload, payload_size, fds, n_fds);
}

int vmm_control_send_reply(int socket_fd, const struct vmm_control_header *request,
	const void *payload, size_t payload_size)
{
	assert(request->type < VMM_CONTROL_COUNT && payload_size == types[request->type].reply);
	return send_message(socket_fd, request->type | VMM_CONTROL_REPLY, request->id, 0, payload,
		payload_size, NULL, 0);
}

int vmm_control_send_failure(
	int socket_fd, const struct vmm_control_header *request, int result, const char *text)
{
	char copy[VMM_TEXT_SIZE] = "";

	strncpy(copy, text, sizeof(copy) - 1);
	return send_message(socket_fd, request->type | VMM_CONTROL_REPLY, request->id, result, copy,
		sizeof(copy), NULL, 0);
}

int vmm_control_notify(int socket_fd, uint32_t type, const void *payload, size_t payload_size)
{
	return send_message(socket_fd, type, 0, 0, payload, payload_size, NULL, 0);
}

void vmm_control_fds_finish(struct vmm_control_fds *fds)
{
	for (size_t i = 0; i < fds->n_fds; i++)
		fds->fds[i] = vmm_base_close(fds->fds[i]);
	fds->n_fds = 0;
}

int vmm_control_receive_request(
	int socket_fd, struct vmm_control_message *ret_message, struct vmm_control_fds *ret_fds)
{
	CLEANUP(vmm_control_fds_finish) struct vmm_control_fds fds = {};
	uint8_t data[VMM_CONTROL_MAX_SIZE];
	size_t size;
	int r;

	r = vmm_message_receive(socket_fd, MSG_DONTWAIT, data, sizeof(data), &size, fds.fds,
		ARRAY_SIZE(fds.fds), &fds.n_fds);
	if (r < 0)
		return r;
	r = vmm_control_decode_request(data, size, fds.n_fds, ret_message);
	if (r < 0)
		return r;
	*ret_fds = fds;
	fds.n_fds = 0;
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

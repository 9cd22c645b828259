/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* worker-protocol: requests, replies and events of the control socket, and their hostile kin. */
#include "worker-protocol-fixture.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/util.h"
#include "worker/message.h"
#include "worker/protocol.h"

START_TEST(control_round_trip)
{
	struct vmm_control_message message;
	struct vmm_control_console console = { .flags = VMM_CONSOLE_REPLAY, .rows = 24 };
	struct vmm_control_event event = { .event = VMM_EVENT_READY, .text = "hello" };
	struct vmm_control_fds got;
	int fd = open_null();

	ck_assert_int_eq(vmm_control_send_request(pair[0], VMM_CONTROL_OPEN_CONSOLE, 7, &console,
				 sizeof(console), &fd, 1),
		0);
	ck_assert_int_eq(vmm_control_receive_request(pair[1], &message, &got), 0);
	ck_assert_uint_eq(got.n_fds, 1);
	ck_assert_int_ge(got.fds[0], 0);
	ck_assert_uint_eq(message.console.flags, VMM_CONSOLE_REPLAY);
	ck_assert_uint_eq(message.console.rows, 24);
	vmm_control_fds_finish(&got);
	vmm_base_close(fd);

	message.console.id = 3;
	ck_assert_int_eq(vmm_control_send_reply(pair[1], &message.header, &message.console,
				 sizeof(message.console)),
		0);
	ck_assert_int_eq(vmm_control_receive_answer(pair[0], &message), 0);
	ck_assert_uint_eq(message.header.type, VMM_CONTROL_OPEN_CONSOLE | VMM_CONTROL_REPLY);
	ck_assert_uint_eq(message.header.id, 7);
	ck_assert_uint_eq(message.console.id, 3);

	message.header.type = VMM_CONTROL_PAUSE;
	ck_assert_int_eq(vmm_control_send_failure(pair[1], &message.header, -EBUSY, "no"), 0);
	ck_assert_int_eq(vmm_control_receive_answer(pair[0], &message), 0);
	ck_assert_int_eq(message.header.result, -EBUSY);
	ck_assert_str_eq(message.text, "no");

	ck_assert_int_eq(vmm_control_notify(pair[1], VMM_CONTROL_EVENT, &event, sizeof(event)), 0);
	ck_assert_int_eq(vmm_control_receive_answer(pair[0], &message), 0);
	ck_assert_str_eq(message.event.text, "hello");
	ck_assert_int_eq(vmm_control_receive_answer(pair[0], &message), -EAGAIN);
}
END_TEST

/* The least that a request of this type is let through with. */
static void fill_request(uint32_t type, struct vmm_control_message *message)
{
	memset(message, 0, sizeof(*message));
	message->header = (struct vmm_control_header){
		.magic = VMM_PROTOCOL_MAGIC,
		.version = VMM_CONTROL_VERSION,
		.type = type,
		.id = 1,
	};
	switch (type) {
	case VMM_CONTROL_SET_RATE:
		message->set_rate = (struct vmm_control_set_rate){
			.id = "root", .kind = VMM_DEVICE_DRIVE, .members = VMM_RATE_OPS
		};
		break;
	case VMM_CONTROL_RESIZE_DRIVE:
	case VMM_CONTROL_GET_DRIVE:
		strcpy(message->drive.id, "root");
		break;
	case VMM_CONTROL_ATTACH_DRIVE:
		message->attach_drive = (struct vmm_spec_drive){ .id = "data", .fd = 1 };
		break;
	case VMM_CONTROL_ATTACH_NETWORK:
		message->attach_network =
			(struct vmm_spec_network){ .id = "lan", .n_taps = 1, .tap_fds = { 1 } };
		break;
	case VMM_CONTROL_DETACH:
		message->detach = (struct vmm_control_detach){
			.id = "data", .kind = VMM_DEVICE_DRIVE, .timeout_usec = 1
		};
		break;
	default:
		break;
	}
}

static const size_t device_requests[] = {
	[VMM_CONTROL_SET_RATE] = sizeof(struct vmm_control_set_rate),
	[VMM_CONTROL_GET_DEVICE] = sizeof(struct vmm_control_index),
	[VMM_CONTROL_ATTACH_DRIVE] = sizeof(struct vmm_spec_drive),
	[VMM_CONTROL_ATTACH_NETWORK] = sizeof(struct vmm_spec_network),
	[VMM_CONTROL_DETACH] = sizeof(struct vmm_control_detach),
};

#define DEVICES_TABLE(X)                                                                           \
	X(rate_none, SET_RATE, 0, m->set_rate.members = 0)                                         \
	X(rate_unknown, SET_RATE, 0, m->set_rate.members = 1 << 12)                                \
	X(rate_not_of_drive, SET_RATE, 0, m->set_rate.members = VMM_RATE_OPS << VMM_RATE_SECOND)   \
	X(rate_kind, SET_RATE, 0, m->set_rate.kind = 0)                                            \
	X(rate_kind_high, SET_RATE, 0, m->set_rate.kind = 4)                                       \
	X(rate_id, SET_RATE, 0, m->set_rate.id[0] = 0)                                             \
	X(rate_id_end, SET_RATE, 0, memset(m->set_rate.id, 'a', 32))                               \
	X(rate_huge, SET_RATE, 0, m->set_rate.rate[0].ops.rate_per_second = UINT64_MAX)            \
	X(rate_uncounted, SET_RATE, 0, m->set_rate.rate[0].bytes.burst = 1)                        \
	X(rate_second, SET_RATE, 0, m->set_rate.rate[1].ops.rate_per_second = 1)                   \
	X(index_reserved, GET_DEVICE, 0, m->index.reserved = 1)                                    \
	X(drive_no_fd, ATTACH_DRIVE, 0, (void)0)                                                   \
	X(drive_two_fds, ATTACH_DRIVE, 2, (void)0)                                                 \
	X(drive_other_fd, ATTACH_DRIVE, 1, m->attach_drive.fd = 2)                                 \
	X(drive_unnamed_fd, ATTACH_DRIVE, 1, m->attach_drive.fd = 0)                               \
	X(drive_id, ATTACH_DRIVE, 1, strcpy(m->attach_drive.id, "a/b"))                            \
	X(drive_id_end, ATTACH_DRIVE, 1, memset(m->attach_drive.id, 'a', 32))                      \
	X(drive_cache, ATTACH_DRIVE, 1, m->attach_drive.cache = VMM_CACHE_COUNT)                   \
	X(drive_flags, ATTACH_DRIVE, 1, m->attach_drive.flags = 1u << 31)                          \
	X(drive_serial, ATTACH_DRIVE, 1, memset(m->attach_drive.serial, 'a', 21))                  \
	X(drive_queue, ATTACH_DRIVE, 1, m->attach_drive.queue_size = 3)                            \
	X(drive_rate, ATTACH_DRIVE, 1, m->attach_drive.rate.ops.burst = 1)                         \
	X(net_no_fd, ATTACH_NETWORK, 0, (void)0)                                                   \
	X(net_fd_left, ATTACH_NETWORK, 2, (void)0)                                                 \
	X(net_fd_twice, ATTACH_NETWORK, 1, m->attach_network.n_taps = 2,                           \
		m->attach_network.tap_fds[1] = 1)                                                  \
	X(net_fd_range, ATTACH_NETWORK, 1, m->attach_network.tap_fds[0] = UINT32_MAX)              \
	X(net_taps, ATTACH_NETWORK, 1, m->attach_network.n_taps = UINT32_MAX)                      \
	X(net_mac, ATTACH_NETWORK, 1, m->attach_network.mac[0] = 1)                                \
	X(net_id, ATTACH_NETWORK, 1, m->attach_network.id[0] = 0)                                  \
	X(detach_kind, DETACH, 0, m->detach.kind = 0)                                              \
	X(detach_kind_high, DETACH, 0, m->detach.kind = UINT32_MAX)                                \
	X(detach_flags, DETACH, 0, m->detach.flags = 2)                                            \
	X(detach_never, DETACH, 0, m->detach.timeout_usec = 0)                                     \
	X(detach_ages, DETACH, 0, m->detach.timeout_usec = UINT64_MAX)                             \
	X(detach_id, DETACH, 0, memset(m->detach.id, 0xff, 32))

#define DEVICES_BREAK(name_, type_, n_fds_, ...)                                                   \
	static void device_##name_(struct vmm_control_message *m)                                  \
	{                                                                                          \
		(void)m, __VA_ARGS__;                                                              \
	}
DEVICES_TABLE(DEVICES_BREAK)

static const struct {
	const char *name;
	uint32_t type;
	size_t n_fds;
	void (*break_it)(struct vmm_control_message *message);
} hostile_devices[] = {
#define DEVICES_ROW(name_, type_, n_fds_, ...)                                                     \
	{ #name_, VMM_CONTROL_##type_, n_fds_, device_##name_ },
	DEVICES_TABLE(DEVICES_ROW)
};

START_TEST(control_hostile_devices)
{
	struct vmm_control_message sent, message;
	uint32_t type = hostile_devices[_i].type;
	size_t size = device_requests[type];

	fill_request(type, &sent);
	sent.header.size = (uint32_t)size;
	/* Good but for what the row says. */
	ck_assert_int_eq(
		vmm_control_decode_request(&sent, sizeof(sent.header) + size,
			type == VMM_CONTROL_ATTACH_DRIVE || type == VMM_CONTROL_ATTACH_NETWORK,
			&message),
		0);
	hostile_devices[_i].break_it(&sent);
	ck_assert_msg(vmm_control_decode_request(&sent, sizeof(sent.header) + size,
			      hostile_devices[_i].n_fds, &message) == -EBADMSG,
		"%s was let through", hostile_devices[_i].name);
}
END_TEST

/* A worker that says it is another kind of device than there is. */
START_TEST(control_hostile_device_reply)
{
	const struct vmm_control_device good = {
		.id = "root", .kind = VMM_DEVICE_DRIVE, .next = 1, .engine = VMM_ENGINE_THREADS
	};
	struct vmm_control_device bad[8];
	struct vmm_control_message sent = {}, message;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good;
	bad[0].kind = VMM_DEVICE_KIND_COUNT;
	bad[1].state = VMM_DEVICE_STATE_COUNT;
	bad[2].flags = 1u << 31;
	bad[3].engine = VMM_ENGINE_COUNT;
	bad[4].next = 0; /* the same again and again */
	bad[5].kind = VMM_DEVICE_NONE;
	memset(bad[6].id, 'a', sizeof(bad[6].id));
	bad[7].rate[1].ops.burst = 1;
	sent.header = (struct vmm_control_header){
		.magic = VMM_PROTOCOL_MAGIC,
		.version = VMM_CONTROL_VERSION,
		.type = VMM_CONTROL_GET_DEVICE | VMM_CONTROL_REPLY,
		.id = 1,
		.size = sizeof(good),
	};
	sent.device = good;
	ck_assert_int_eq(
		vmm_control_decode_answer(&sent, sizeof(sent.header) + sizeof(good), 0, &message),
		0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		sent.device = bad[i];
		ck_assert_msg(vmm_control_decode_answer(&sent, sizeof(sent.header) + sizeof(good),
				      0, &message) == -EBADMSG,
			"%zu", i);
	}
}
END_TEST

/* A worker that asks for the back end of what there cannot be. */
START_TEST(control_hostile_backend_request)
{
	const struct vmm_control_backend_request good = {
		.id = 7, .device = "data", .kind = VMM_DEVICE_SHARE
	};
	struct vmm_control_backend_request bad[6];
	struct vmm_control_message message;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good;
	bad[0].id = 0;
	bad[1].kind = VMM_DEVICE_NONE;
	bad[2].kind = VMM_DEVICE_KIND_COUNT;
	bad[3].device[0] = 0;
	memset(bad[4].device, 'a', sizeof(bad[4].device));
	bad[5].reserved = 1;
	ck_assert_int_eq(
		vmm_control_notify(pair[1], VMM_CONTROL_BACKEND_REQUEST, &good, sizeof(good)), 0);
	ck_assert_int_eq(vmm_control_receive_answer(pair[0], &message), 0);
	ck_assert_uint_eq(message.header.type, VMM_CONTROL_BACKEND_REQUEST);
	ck_assert_str_eq(message.backend_request.device, "data");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(vmm_control_notify(pair[1], VMM_CONTROL_BACKEND_REQUEST, &bad[i],
					 sizeof(bad[i])),
			0);
		ck_assert_msg(vmm_control_receive_answer(pair[0], &message) == -EBADMSG, "%zu", i);
	}
}
END_TEST

START_TEST(control_hostile)
{
	static const uint32_t sizes[] = { 0, 1, 8, 16, 40, 48, sizeof(struct vmm_spec_drive),
		sizeof(struct vmm_spec_network), 1024 - 32, 1024, UINT32_MAX };
	struct vmm_control_message message, sent;
	int n_good = 0;

	/* Every type with every size and every number of descriptors: only one is right. */
	for (uint32_t type = 0; type <= VMM_CONTROL_COUNT; type++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			for (size_t n_fds = 0; n_fds < 3; n_fds++) {
				fill_request(type, &sent);
				sent.header.size = sizes[i];
				n_good += vmm_control_decode_request(&sent,
						  MIN(sizes[i] + sizeof(sent.header), sizeof(sent)),
						  n_fds, &message) == 0;
			}
	ck_assert_int_eq(n_good, VMM_CONTROL_COUNT - 1);

	/* A descriptor with a request that takes none is refused and closed. */
	sent.header.type = VMM_CONTROL_PAUSE;
	sent.header.size = 0;
	struct vmm_control_fds got = {};
	int fd = open_null();
	unsigned int n_before = count_fds();

	ck_assert_int_eq(
		vmm_message_send(pair[0], 0, &sent, sizeof(sent.header), NULL, 0, &fd, 1), 0);
	ck_assert_int_eq(vmm_control_receive_request(pair[1], &message, &got), -EBADMSG);
	ck_assert_uint_eq(got.n_fds, 0);
	ck_assert_uint_eq(count_fds(), n_before);
	vmm_base_close(fd);
}
END_TEST

/* What a newer peer may say: the one asks an older worker, the other tells an older vmmd. */
static const struct {
	const char *name;
	uint32_t type;
	uint32_t size;
	uint64_t id;
	int32_t result;
	uint32_t event;
	int request; /* how it is read as a request, */
	int answer;  /* and as an answer or news */
} unknown[] = {
	{ "the next type", VMM_CONTROL_COUNT, 0, 1, 0, 0, -EOPNOTSUPP, -EBADMSG },
	{ "a far type", 0x7fffffff, 64, 1, 0, 0, -EOPNOTSUPP, -EBADMSG },
	{ "a longer payload", VMM_CONTROL_STOP, 16, 1, 0, 0, -EOPNOTSUPP, -EBADMSG },
	{ "a payload where there was none", VMM_CONTROL_PAUSE, 8, 1, 0, 0, -EOPNOTSUPP, -EBADMSG },
	{ "no type", 0, 0, 1, 0, 0, -EBADMSG, -EBADMSG },
	{ "a request without an id", VMM_CONTROL_COUNT, 0, 0, 0, 0, -EBADMSG, -EBADMSG },
	{ "a request with a result", VMM_CONTROL_COUNT, 0, 1, -1, 0, -EBADMSG, -EBADMSG },
	{ "a reply", VMM_CONTROL_COUNT | VMM_CONTROL_REPLY, 0, 1, 0, 0, -EBADMSG, -EBADMSG },
	{ "a new event", VMM_CONTROL_EVENT, sizeof(struct vmm_control_event), 0, 0, VMM_EVENT_COUNT,
		-EBADMSG, -EOPNOTSUPP },
	{ "a longer event", VMM_CONTROL_EVENT, sizeof(struct vmm_control_event) + 8, 0, 0,
		VMM_EVENT_READY, -EBADMSG, -EOPNOTSUPP },
	{ "no event", VMM_CONTROL_EVENT, sizeof(struct vmm_control_event), 0, 0, 0, -EBADMSG,
		-EBADMSG },
	{ "other news", VMM_CONTROL_VSOCK_REQUEST + 1, 40, 0, 0, 0, -EBADMSG, -EOPNOTSUPP },
	{ "other news with an id", VMM_CONTROL_VSOCK_REQUEST + 1, 40, 1, 0, 0, -EOPNOTSUPP,
		-EBADMSG },
};

START_TEST(control_unknown)
{
	struct vmm_control_message sent = {}, message;
	size_t size = sizeof(sent.header) + unknown[_i].size;

	sent.header = (struct vmm_control_header){
		.magic = VMM_PROTOCOL_MAGIC,
		.version = VMM_CONTROL_VERSION,
		.type = unknown[_i].type,
		.size = unknown[_i].size,
		.id = unknown[_i].id,
		.result = unknown[_i].result,
	};
	sent.event.event = unknown[_i].event;
	ck_assert_msg(
		vmm_control_decode_request(&sent, size, 2, &message) == unknown[_i].request &&
			vmm_control_decode_answer(&sent, size, 0, &message) == unknown[_i].answer,
		"%s", unknown[_i].name);
	/* What is too short for what it says is no message of anybody's. */
	ck_assert_int_eq(vmm_control_decode_request(&sent, size - 1, 0, &message), -EBADMSG);
	ck_assert_int_eq(vmm_control_decode_answer(&sent, size - 1, 0, &message), -EBADMSG);
}
END_TEST

/* Counters of more CPUs than it says, or than there can be. */
START_TEST(control_stats_hostile)
{
	struct vmm_control_message sent = {
		.header = {
			.magic = VMM_PROTOCOL_MAGIC,
			.version = VMM_CONTROL_VERSION,
			.type = VMM_CONTROL_GET_STATS | VMM_CONTROL_REPLY,
			.size = sizeof(sent.stats),
			.id = 1,
		},
		.stats = { .n_cpus = 2, .exits = { 1, UINT64_MAX } },
	};
	size_t size = sizeof(sent.header) + sizeof(sent.stats);
	struct vmm_control_message message;

	ck_assert_int_eq(vmm_control_decode_answer(&sent, size, 0, &message), 0);
	ck_assert_uint_eq(message.stats.exits[1], UINT64_MAX);
	ck_assert_int_eq(vmm_control_decode_answer(&sent, size - 8, 0, &message), -EBADMSG);
	ck_assert_int_eq(vmm_control_decode_answer(&sent, size, 1, &message), -EBADMSG);
	sent.stats.n_cpus = 1;
	ck_assert_int_eq(vmm_control_decode_answer(&sent, size, 0, &message), -EBADMSG);
	sent.stats.n_cpus = VMM_SPEC_MAX_CPUS + 1;
	ck_assert_int_eq(vmm_control_decode_answer(&sent, size, 0, &message), -EBADMSG);
	sent.stats.n_cpus = VMM_SPEC_MAX_CPUS;
	ck_assert_int_eq(vmm_control_decode_answer(&sent, size, 0, &message), 0);
	sent.stats.reserved = 1;
	ck_assert_int_eq(vmm_control_decode_answer(&sent, size, 0, &message), -EBADMSG);
}
END_TEST

START_TEST(control_full_socket)
{
	struct vmm_control_event event = { .event = VMM_EVENT_READY };
	int r;

	for (int i = 0; i < 100000; i++) {
		r = vmm_control_notify(pair[1], VMM_CONTROL_EVENT, &event, sizeof(event));
		if (r < 0)
			break;
	}
	ck_assert_int_eq(r, -EAGAIN);
	pair[0] = vmm_base_close(pair[0]);
	ck_assert_int_eq(
		vmm_control_notify(pair[1], VMM_CONTROL_EVENT, &event, sizeof(event)), -EPIPE);
}
END_TEST

void add_control_tests(Suite *suite)
{
	TCase *tcase = unit_case(suite, "control");

	tcase_add_checked_fixture(tcase, open_pair, close_pair);
	tcase_add_test(tcase, control_round_trip);
	tcase_add_test(tcase, control_hostile);
	tcase_add_loop_test(tcase, control_unknown, 0, ARRAY_SIZE(unknown));
	tcase_add_test(tcase, control_stats_hostile);
	tcase_add_loop_test(tcase, control_hostile_devices, 0, ARRAY_SIZE(hostile_devices));
	tcase_add_test(tcase, control_hostile_device_reply);
	tcase_add_test(tcase, control_hostile_backend_request);
	tcase_add_test(tcase, control_full_socket);
}

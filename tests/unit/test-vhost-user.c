/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost-user: the front end against a back end of this program. Messages alone are in
 * vhost-user-messages.c.
 */
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "vhost-user-fixture.h"

#define SECOND_NSEC UINT64_C(1000000000)
#define RAM_BYTES (UINT64_C(2) << 20)

static struct vmm_vhost_user *user;
static struct vmm_mem *mem;
static struct vmm_mem_region regions[4];
static unsigned int fds_before;

static void set_up(void)
{
	back_init();
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
	struct vmm_vhost_user_config config = { .fd = back_start(), .timeout_nsec = timeout_nsec };
	int r = vmm_vhost_user_new(&config, &user);

	close(config.fd);
	return r;
}

static void tear_down(void)
{
	user = vmm_vhost_user_free(user);
	back_finish();
	vmm_mem_free(mem);
	ck_assert_uint_eq(n_open_fds(), fds_before);
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
	TCase *tcase;

	add_message_tests(suite);
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

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vhost-user-backend: an entropy device served to this program, which is a front end by hand: it
 * sends what it likes, and looks at the acknowledgement.
 */
#include <vmmcore/vhost-user-backend.h>
#include <vmmcore/virtio-rng.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "lib/vring.h"
#include "unit.h"

#define SECOND_NSEC UINT64_C(1000000000)
#define RAM_BYTES (UINT64_C(2) << 20)
#define USER_ADDRESS UINT64_C(0x7f0000000000)
#define QUEUE_SIZE 16
#define PROTOCOL                                                                                   \
	(VMM_VHOST_USER_PROTOCOL_MQ | VMM_VHOST_USER_PROTOCOL_REPLY_ACK |                          \
		VMM_VHOST_USER_PROTOCOL_CONFIG | VMM_VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS |     \
		VMM_VHOST_USER_PROTOCOL_RESET_DEVICE)
#define FEATURES (VMM_VHOST_USER_F_PROTOCOL_FEATURES | VMM_VIRTIO_F_VERSION_1)

static struct vmm_mem *mem;
static struct vmm_virtio_rng *rng;
static struct vmm_vhost_user_backend *backend;
static pthread_t thread;
static int front_fd = -EBADF, back_fd = -EBADF;
static int serve_result;
static int ram_fd, short_fd, kick_fd, call_fd, pipe_fds[2];
static uint8_t *ram;
static struct vring ring;

static void *serve(void *unused)
{
	serve_result = vmm_vhost_user_backend_serve(backend, back_fd);
	return unused;
}

static void begin(void)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	front_fd = fds[0];
	back_fd = fds[1];
	ck_assert_int_eq(pthread_create(&thread, NULL, serve, NULL), 0);
}

/* The front end goes; what serving it came to. */
static int end(void)
{
	front_fd = vmm_base_close(front_fd);
	pthread_join(thread, NULL);
	back_fd = vmm_base_close(back_fd);
	/* Whatever it was: as new. */
	ck_assert_uint_eq(vmm_mem_n_regions(mem), 0);
	ck_assert_uint_eq(vmm_virtio_status(vmm_virtio_rng_device(rng)), 0);
	return serve_result;
}

static void set_up(void)
{
	struct vmm_virtio_rng_config rng_config = { 0 };
	struct vmm_vhost_user_backend_config config = {
		.serve_queues = true,
		.timeout_nsec = SECOND_NSEC / 10,
	};

	ram_fd = memfd_create("ram", MFD_CLOEXEC);
	short_fd = memfd_create("short", MFD_CLOEXEC);
	kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	ck_assert_int_eq(ftruncate(ram_fd, (off_t)RAM_BYTES), 0);
	ck_assert_int_eq(ftruncate(short_fd, 4096), 0);
	ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	rng_config.mem = config.mem = mem;
	ck_assert_int_eq(vmm_virtio_rng_new(&rng_config, &rng), 0);
	config.device = vmm_virtio_rng_device(rng);
	ck_assert_int_eq(vmm_vhost_user_backend_new(&config, &backend), 0);
	begin();
}

static void tear_down(void)
{
	if (front_fd >= 0)
		end();
	vmm_vhost_user_backend_free(backend);
	vmm_virtio_rng_free(rng);
	vmm_mem_free(mem);
	munmap(ram, RAM_BYTES);
	close(ram_fd);
	close(short_fd);
	close(kick_fd);
	close(call_fd);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static uint64_t soon(void)
{
	return vmm_base_now_nsec() + 5 * SECOND_NSEC;
}

static struct vmm_vhost_user_message ask(struct vmm_vhost_user_message message)
{
	struct vmm_vhost_user_message reply;

	ck_assert_int_eq(vmm_vhost_user_send(front_fd, &message, soon()), 0);
	ck_assert_int_eq(vmm_vhost_user_receive(front_fd, VMM_VHOST_USER_REPLY, soon(), &reply), 0);
	ck_assert_uint_eq(reply.request, message.request);
	return reply;
}

/* True: it was done. */
static bool request(struct vmm_vhost_user_message message)
{
	message.flags |= VMM_VHOST_USER_FLAG_NEED_REPLY;
	return ask(message).payload.number == 0;
}

static bool send_number(uint32_t what, uint64_t number)
{
	return request((struct vmm_vhost_user_message){
		.request = what,
		.size_bytes = 8,
		.payload.number = number,
	});
}

static bool send_state(uint32_t what, uint32_t index, uint32_t num)
{
	return request((struct vmm_vhost_user_message){
		.request = what,
		.size_bytes = 8,
		.payload.state = { index, num },
	});
}

static bool send_eventfd(uint32_t what, uint64_t index, int fd)
{
	return request((struct vmm_vhost_user_message){
		.request = what,
		.size_bytes = 8,
		.payload.number = fd < 0 ? index | VMM_VHOST_USER_VRING_NO_FD : index,
		.fds = { fd },
		.n_fds = fd >= 0,
	});
}

static bool send_region(
	uint32_t what, uint64_t gpa, uint64_t size, uint64_t user, uint64_t offset, int fd)
{
	return request((struct vmm_vhost_user_message){
		.request = what,
		.size_bytes = sizeof(struct vmm_vhost_user_mem_reg),
		.payload.reg.region = { gpa, size, user, offset },
		.fds = { fd },
		.n_fds = fd >= 0,
	});
}

static bool send_addr(uint32_t index, uint64_t desc, uint64_t avail, uint64_t used)
{
	return request((struct vmm_vhost_user_message){
		.request = VMM_VHOST_USER_SET_VRING_ADDR,
		.size_bytes = sizeof(struct vmm_vhost_user_vring_addr),
		.payload.addr = {
			.index = index,
			.desc_user_address = desc,
			.avail_user_address = avail,
			.used_user_address = used,
		},
	});
}

/* Up to where rings can be set up. */
static void greet(uint64_t features)
{
	struct vmm_vhost_user_message protocol = {
		.request = VMM_VHOST_USER_SET_PROTOCOL_FEATURES,
		.size_bytes = 8,
		.payload.number = PROTOCOL,
	};

	ck_assert_int_eq(vmm_vhost_user_send(front_fd, &protocol, soon()), 0);
	ck_assert(send_number(VMM_VHOST_USER_SET_FEATURES, features));
	ck_assert(send_region(VMM_VHOST_USER_ADD_MEM_REG, 0, RAM_BYTES, USER_ADDRESS, 0, ram_fd));
}

/* All of it but for enabling. */
static void set_up_ring(bool packed, uint32_t base)
{
	vring_init(&ring, ram, 0, QUEUE_SIZE, packed);
	ck_assert(send_state(VMM_VHOST_USER_SET_VRING_NUM, 0, QUEUE_SIZE));
	ck_assert(send_state(VMM_VHOST_USER_SET_VRING_BASE, 0, base));
	ck_assert(send_addr(0, USER_ADDRESS + ring.desc_gpa, USER_ADDRESS + ring.driver_gpa,
		USER_ADDRESS + ring.device_gpa));
	ck_assert(send_eventfd(VMM_VHOST_USER_SET_VRING_CALL, 0, call_fd));
	ck_assert(send_eventfd(VMM_VHOST_USER_SET_VRING_KICK, 0, kick_fd));
}

static void get_random(void)
{
	const struct vring_buffer buffer = { 0x10000, 64, true };
	struct pollfd poll_fd = { .fd = call_fd, .events = POLLIN };
	uint32_t id, len;
	unsigned int n = 0;

	memset(ram + 0x10000, 0, 64);
	vring_add(&ring, &buffer, 1);
	vmm_base_eventfd_signal(kick_fd);
	ck_assert_int_eq(poll(&poll_fd, 1, 5000), 1);
	vmm_base_eventfd_clear(call_fd, NULL);
	ck_assert(vring_get_used(&ring, &id, &len));
	ck_assert_uint_eq(len, 64);
	for (unsigned int i = 0; i < 64; i++)
		n += ram[0x10000 + i] != 0;
	ck_assert_uint_gt(n, 32);
}

static uint32_t get_base(void)
{
	return ask((struct vmm_vhost_user_message){
			   .request = VMM_VHOST_USER_GET_VRING_BASE,
			   .size_bytes = 8,
		   })
		.payload.state.num;
}

START_TEST(test_queue_starts_stops_and_goes_on)
{
	bool packed = _i;

	for (unsigned int round = 0; round < 2; round++) {
		uint32_t base;

		greet(FEATURES | (packed ? VMM_VIRTIO_F_RING_PACKED : 0));
		set_up_ring(packed, packed ? 0x80008000 : 0);
		ck_assert(send_state(VMM_VHOST_USER_SET_VRING_ENABLE, 0, 1));
		for (unsigned int i = 0; i < 5; i++)
			get_random();
		base = get_base();
		ck_assert_uint_eq(base, packed ? 0x80058005 : 5);
		ck_assert(send_state(VMM_VHOST_USER_SET_VRING_BASE, 0, base));
		ck_assert(send_eventfd(VMM_VHOST_USER_SET_VRING_KICK, 0, kick_fd));
		get_random();
		/* Disabled it takes nothing, and has lost nothing when it is enabled again. */
		ck_assert(send_state(VMM_VHOST_USER_SET_VRING_ENABLE, 0, 0));
		vmm_base_eventfd_signal(kick_fd);
		ck_assert(send_state(VMM_VHOST_USER_SET_VRING_ENABLE, 0, 1));
		get_random();
		/* The next front end finds all as new. */
		ck_assert_int_eq(end(), 0);
		begin();
	}
}
END_TEST

START_TEST(test_memory_comes_and_goes)
{
	greet(FEATURES);
	set_up_ring(false, 0);
	ck_assert(send_state(VMM_VHOST_USER_SET_VRING_ENABLE, 0, 1));
	get_random();
	/* Another region while it runs; then its own goes: the queue breaks, nothing else does. */
	ck_assert(send_region(VMM_VHOST_USER_ADD_MEM_REG, RAM_BYTES, RAM_BYTES,
		USER_ADDRESS + RAM_BYTES, 0, ram_fd));
	get_random();
	ck_assert(send_region(VMM_VHOST_USER_REM_MEM_REG, 0, RAM_BYTES, USER_ADDRESS, 0, -EBADF));
	vmm_base_eventfd_signal(kick_fd);
	get_base();
	ck_assert(!send_state(VMM_VHOST_USER_SET_VRING_ENABLE, 1, 1));
	ck_assert(
		request((struct vmm_vhost_user_message){ .request = VMM_VHOST_USER_RESET_DEVICE }));
	ck_assert_int_eq(end(), 0);
}
END_TEST

START_TEST(test_hostile_regions)
{
	const struct {
		uint64_t gpa, size, user, offset;
		int fd;
	} table[] = {
		{ RAM_BYTES, 0, 0, 0, ram_fd },
		{ RAM_BYTES, 100, 0, 0, ram_fd },
		{ RAM_BYTES, RAM_BYTES + 4096, 0, 0, ram_fd },
		{ RAM_BYTES, 4096, 0, RAM_BYTES, ram_fd },
		{ RAM_BYTES, 4096, 0, UINT64_MAX - 4095, ram_fd },
		{ RAM_BYTES, RAM_BYTES, 0, 0, short_fd },
		{ RAM_BYTES, 4096, 0, 0, pipe_fds[0] },
		{ RAM_BYTES, 4096, 0, 0, kick_fd },
		{ RAM_BYTES - 4096, 8192, 0, 0, ram_fd }, /* overlaps */
		{ 0, RAM_BYTES, USER_ADDRESS, 0, ram_fd },
		{ UINT64_MAX - 4095, 8192, 0, 0, ram_fd },
		{ RAM_BYTES, 4096, UINT64_MAX - 100, 0, ram_fd },
		{ RAM_BYTES, UINT64_MAX - 4095, 0, 0, ram_fd },
	};

	greet(FEATURES);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		ck_assert_msg(!send_region(VMM_VHOST_USER_ADD_MEM_REG, table[i].gpa, table[i].size,
				      table[i].user, table[i].offset, table[i].fd),
			"region %zu", i);
	ck_assert(!send_region(VMM_VHOST_USER_REM_MEM_REG, 0, 4096, USER_ADDRESS, 0, -EBADF));
	/* As many as there are slots. */
	for (uint64_t i = 1; i < VMM_VHOST_USER_BACKEND_SLOTS; i++)
		ck_assert(send_region(VMM_VHOST_USER_ADD_MEM_REG, RAM_BYTES + i * 4096, 4096,
			USER_ADDRESS + RAM_BYTES + i * 4096, i * 4096, ram_fd));
	ck_assert(!send_region(VMM_VHOST_USER_ADD_MEM_REG, 64 * RAM_BYTES, 4096,
		USER_ADDRESS + 64 * RAM_BYTES, 0, ram_fd));
}
END_TEST

START_TEST(test_hostile_rings)
{
	const uint64_t a = USER_ADDRESS;
	const struct {
		uint32_t size;
		uint64_t desc, avail, used;
	} table[] = {
		{ 0, a, a + 0x1000, a + 0x2000 },
		{ 3, a, a + 0x1000, a + 0x2000 },
		{ 32768, a, a + 0x1000, a + 0x2000 },
		{ 65536, a, a + 0x1000, a + 0x2000 },
		{ UINT32_MAX, a, a + 0x1000, a + 0x2000 },
		{ 16, 0, a + 0x1000, a + 0x2000 },
		{ 16, a, 0x1000, a + 0x2000 },
		{ 16, a, a + 0x1000, 0x2000 },
		{ 16, a + 8, a + 0x1000, a + 0x2000 },
		{ 16, a, a + 0x1001, a + 0x2000 },
		{ 16, a, a + 0x1000, a + 0x2002 },
		{ 16, a + RAM_BYTES - 128, a + 0x1000, a + 0x2000 },
		{ 16, a, a + RAM_BYTES - 4, a + 0x2000 },
		{ 16, a, a + 0x1000, a + RAM_BYTES - 8 },
		{ 16, UINT64_MAX - 15, a + 0x1000, a + 0x2000 },
	};

	greet(FEATURES);
	ck_assert(send_eventfd(VMM_VHOST_USER_SET_VRING_KICK, 0, kick_fd));
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		ck_assert(send_state(VMM_VHOST_USER_SET_VRING_NUM, 0, table[i].size));
		ck_assert(send_addr(0, table[i].desc, table[i].avail, table[i].used));
		ck_assert_msg(!send_state(VMM_VHOST_USER_SET_VRING_ENABLE, 0, 1), "ring %zu", i);
		ck_assert(send_state(VMM_VHOST_USER_SET_VRING_ENABLE, 0, 0));
	}
	/* And after all of that one that is right. */
	set_up_ring(false, 0);
	ck_assert(send_state(VMM_VHOST_USER_SET_VRING_ENABLE, 0, 1));
	get_random();
	/* While it runs nothing of it changes. */
	ck_assert(!send_state(VMM_VHOST_USER_SET_VRING_NUM, 0, 8));
	ck_assert(!send_state(VMM_VHOST_USER_SET_VRING_BASE, 0, 8));
	ck_assert(!send_addr(0, a, a + 0x1000, a + 0x2000));
	ck_assert(!send_number(VMM_VHOST_USER_SET_FEATURES, FEATURES | VMM_VIRTIO_F_EVENT_IDX));
	get_random();
}
END_TEST

START_TEST(test_refusals)
{
	static const uint32_t of_queue[] = { VMM_VHOST_USER_SET_VRING_NUM,
		VMM_VHOST_USER_SET_VRING_BASE, VMM_VHOST_USER_SET_VRING_ENABLE };

	greet(FEATURES);
	for (size_t i = 0; i < ARRAY_SIZE(of_queue); i++) {
		ck_assert(!send_state(of_queue[i], 1, 1));
		ck_assert(!send_state(of_queue[i], UINT32_MAX, 1));
	}
	ck_assert(!send_state(VMM_VHOST_USER_SET_VRING_ENABLE, 0, 2));
	ck_assert(!send_addr(1, 0, 0, 0));
	ck_assert(!send_eventfd(VMM_VHOST_USER_SET_VRING_KICK, 1, kick_fd));
	ck_assert(!send_eventfd(VMM_VHOST_USER_SET_VRING_CALL, 255, call_fd));
	/* Neither a pipe that may have no reader nor a file. */
	ck_assert(!send_eventfd(VMM_VHOST_USER_SET_VRING_CALL, 0, pipe_fds[1]));
	ck_assert(!send_eventfd(VMM_VHOST_USER_SET_VRING_KICK, 0, ram_fd));
	ck_assert(!send_number(VMM_VHOST_USER_SET_FEATURES, FEATURES | (UINT64_C(1) << 50)));
	ck_assert(!send_number(VMM_VHOST_USER_SET_FEATURES, FEATURES | VMM_VHOST_USER_F_LOG_ALL));
	ck_assert(!send_number(VMM_VHOST_USER_SET_PROTOCOL_FEATURES, UINT64_C(1) << 8));
	ck_assert(!send_number(VMM_VHOST_USER_SET_STATUS, 15));
	/* The device has no configuration space: it reads as 0. */
	ck_assert_uint_eq(ask((struct vmm_vhost_user_message){
				      .request = VMM_VHOST_USER_GET_CONFIG,
				      .size_bytes = 12 + 8,
				      .payload.config = { .offset = UINT32_MAX, .size_bytes = 8 },
			      })
				  .payload.config.bytes[0],
		0);
	ck_assert_int_eq(end(), 0);
}
END_TEST

START_TEST(test_ends)
{
	struct vmm_vhost_user_message bad = {
		.request = VMM_VHOST_USER_SET_VRING_NUM,
		.size_bytes = 8,
		.payload.state = { 99, 1 },
	};
	const uint32_t unknown[3] = { 4711, 1, 0 };

	/* Refused without a wish to hear of it, unknown, and half of a message. */
	greet(FEATURES);
	ck_assert_int_eq(vmm_vhost_user_send(front_fd, &bad, soon()), 0);
	ck_assert_int_eq(end(), -EPROTO);
	begin();
	ck_assert_int_eq(write(front_fd, unknown, sizeof(unknown)), sizeof(unknown));
	ck_assert_int_eq(end(), -EPROTO);
	begin();
	ck_assert_int_eq(write(front_fd, unknown, 4), 4);
	pthread_join(thread, NULL);
	ck_assert_int_eq(serve_result, -ETIMEDOUT);
	ck_assert_int_eq(pthread_create(&thread, NULL, serve, NULL), 0);
	ck_assert_int_eq(end(), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vhost-user-backend");
	TCase *tcase = unit_case(suite, "vhost-user-backend");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_loop_test(tcase, test_queue_starts_stops_and_goes_on, 0, 2);
	tcase_add_test(tcase, test_memory_comes_and_goes);
	tcase_add_test(tcase, test_hostile_regions);
	tcase_add_test(tcase, test_hostile_rings);
	tcase_add_test(tcase, test_refusals);
	tcase_add_test(tcase, test_ends);
	return unit_run(suite);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include <vmmcore/virtio-console.h>

#include "base/util.h"
#include "lib/driver.h"
#include "unit.h"

#define DATA DRIVER_DATA_GPA
#define MULTIPORT (1 << 1)

static struct driver driver;
static struct vmm_virtio_console *console;

/* What the callbacks saw. */
static char sunk[1 << 20];
static size_t n_sunk, sink_takes;
static unsigned int n_room, n_output, opened[3];

static size_t sink(void *userdata, unsigned int port, const void *data, size_t size)
{
	size_t n = MIN(size, sink_takes);

	sink_takes -= n;
	if (n_sunk + n <= sizeof(sunk))
		memcpy(sunk + n_sunk, data, n);
	n_sunk += n;
	return n;
}

static void output(void *userdata, unsigned int port)
{
	n_output++;
}

static void room(void *userdata, unsigned int port)
{
	n_room++;
}

static void guest_opened(void *userdata, unsigned int port, bool open)
{
	opened[port] = open;
}

static const struct vmm_console_ops ring_ops = {
	.output = output,
	.room = room,
	.guest_opened = guest_opened,
};
static const struct vmm_console_ops sink_ops = { .sink = sink, .room = room };

static void start(const struct vmm_virtio_console_config *config, uint64_t features)
{
	struct vmm_virtio_console_config with_mem = *config;

	n_sunk = n_room = n_output = 0;
	sink_takes = SIZE_MAX;
	memset(opened, 0, sizeof(opened));
	driver_init(&driver);
	with_mem.mem = driver.mem;
	ck_assert_int_eq(vmm_virtio_console_new(&with_mem, &console), 0);
	driver_attach(&driver, vmm_virtio_console_device(console));
	ck_assert(driver_start(&driver, features, 2 * (MAX(config->n_ports, 1u) + 1), 32));
}

static void teardown(void)
{
	driver_detach(&driver);
	console = vmm_virtio_console_free(console);
	driver_finish(&driver);
}

static int process(unsigned int queue)
{
	return vmm_virtio_process(vmm_virtio_console_device(console), queue);
}

static bool used(unsigned int queue, uint32_t *ret_len)
{
	return vring_get_used(&driver.rings[queue], &(uint32_t){ 0 }, ret_len);
}

static void put(unsigned int queue, const char *text)
{
	struct vring_buffer buffer = { DATA, (uint32_t)strlen(text), false };
	uint32_t len;

	memcpy(driver.ram + DATA, text, buffer.len);
	driver_add(&driver, queue, &buffer, 1, 0);
	ck_assert_int_eq(process(queue), 0);
	ck_assert(used(queue, &len));
	ck_assert_uint_eq(len, 0);
}

static void check_reads(unsigned int port, uint64_t *cursor, const char *expected)
{
	char data[256];
	size_t n = vmm_virtio_console_read(console, port, cursor, data, sizeof(data), NULL);

	ck_assert_uint_eq(n, strlen(expected));
	ck_assert_mem_eq(data, expected, n);
}

static const uint64_t rings[] = {
	0,
	VMM_VIRTIO_F_EVENT_IDX | VMM_VIRTIO_F_INDIRECT_DESC,
	VMM_VIRTIO_F_RING_PACKED,
};

START_TEST(late_reader_is_shown_what_was_before)
{
	struct vmm_console_port_config port = { .ops = &ring_ops };
	struct vmm_virtio_console_config config = { .n_ports = 1, .ports = &port };
	uint64_t first = 0, late = 0;

	start(&config, rings[_i]);
	check_reads(0, &first, "");
	put(1, "one ");
	check_reads(0, &first, "one ");
	put(1, "two");
	check_reads(0, &first, "two");
	check_reads(0, &late, "one two");
	check_reads(0, &late, "");
	ck_assert_uint_eq(n_output, 2);
	teardown();
}
END_TEST

START_TEST(ring_keeps_its_size_and_says_what_was_lost)
{
	struct vmm_console_port_config port = { .ring_bytes = 10 };
	struct vmm_virtio_console_config config = { .n_ports = 1, .ports = &port };
	uint64_t cursor = 0, lost;
	char data[20];

	start(&config, rings[_i]);
	put(1, "0123456789abcdefghijklmno");
	ck_assert_uint_eq(vmm_virtio_console_read(console, 0, &cursor, data, 4, &lost), 4);
	ck_assert_uint_eq(lost, 15);
	ck_assert_mem_eq(data, "fghi", 4);
	put(1, "pqrs");
	ck_assert_uint_eq(vmm_virtio_console_read(console, 0, &cursor, data, 20, &lost), 10);
	ck_assert_uint_eq(lost, 0);
	ck_assert_mem_eq(data, "jklmnopqrs", 10);
	ck_assert_uint_eq(cursor, 29);
	teardown();
}
END_TEST

START_TEST(guest_waits_for_a_slow_sink)
{
	struct vmm_console_port_config port = { .ops = &sink_ops };
	struct vmm_virtio_console_config config = { .n_ports = 1, .ports = &port };
	struct vring_buffer buffers[2] = { { DATA, 6, false }, { DATA + 6, 5, false } };
	uint32_t len;

	start(&config, rings[_i]);
	memcpy(driver.ram + DATA, "hello world", 11);
	sink_takes = 4;
	driver_add(&driver, 1, buffers, 2, 0);
	ck_assert_int_eq(process(1), 0);
	ck_assert(!used(1, &len));
	ck_assert_uint_eq(n_sunk, 4);
	sink_takes = 3;
	ck_assert_int_eq(vmm_virtio_console_writable(console, 0), 0);
	ck_assert(!used(1, &len));
	sink_takes = SIZE_MAX;
	ck_assert_int_eq(vmm_virtio_console_writable(console, 0), 0);
	ck_assert(used(1, &len));
	ck_assert_uint_eq(n_sunk, 11);
	ck_assert_mem_eq(sunk, "hello world", 11);
	put(1, "!");
	ck_assert_uint_eq(n_sunk, 12);
	teardown();
}
END_TEST

START_TEST(reset_forgets_half_of_a_chain)
{
	struct vmm_console_port_config port = { .ops = &sink_ops };
	struct vmm_virtio_console_config config = { .n_ports = 1, .ports = &port };
	struct vring_buffer buffer = { DATA, 11, false };

	start(&config, rings[_i]);
	sink_takes = 4;
	driver_add(&driver, 1, &buffer, 1, 0);
	ck_assert_int_eq(process(1), 0);
	ck_assert(driver_start(&driver, rings[_i], 4, 32));
	sink_takes = SIZE_MAX;
	n_sunk = 0;
	put(1, "new start");
	ck_assert_uint_eq(n_sunk, 9);
	ck_assert_mem_eq(sunk, "new start", 9);
	teardown();
}
END_TEST

START_TEST(long_output_is_taken_in_turns)
{
	struct vmm_console_port_config port = { .ops = &sink_ops };
	struct vmm_virtio_console_config config = { .n_ports = 1, .ports = &port };
	struct vring_buffer buffer = { DATA, 1000000, false };
	unsigned int n_calls = 0;
	uint32_t len;

	start(&config, rings[_i]);
	for (uint32_t i = 0; i < buffer.len; i++)
		driver.ram[DATA + i] = (uint8_t)(i * 7 + i / 4096);
	driver_add(&driver, 1, &buffer, 1, 0);
	while (!used(1, &len)) {
		size_t before = n_sunk;

		ck_assert_int_eq(process(1), 0);
		ck_assert_uint_le(n_sunk - before, 65536);
		ck_assert_uint_lt(n_calls++, 20);
	}
	ck_assert_uint_eq(n_sunk, buffer.len);
	ck_assert_mem_eq(sunk, driver.ram + DATA, buffer.len);
	teardown();
}
END_TEST

START_TEST(input_waits_for_room)
{
	struct vmm_console_port_config port = { .ops = &ring_ops };
	struct vmm_virtio_console_config config = { .n_ports = 1, .ports = &port };
	struct vring_buffer buffers[2] = { { DATA, 3, true }, { DATA + 100, 4, true } };
	uint32_t len;

	start(&config, rings[_i]);
	ck_assert_int_eq(process(0), 0);
	ck_assert_uint_eq(vmm_virtio_console_send(console, 0, "abcdefghijk", 11), 0);
	driver_add(&driver, 0, &buffers[0], 1, 0);
	ck_assert_int_eq(process(0), 0);
	ck_assert_uint_eq(n_room, 1);
	ck_assert_uint_eq(vmm_virtio_console_send(console, 0, "abcdefghijk", 11), 3);
	ck_assert(used(0, &len));
	ck_assert_uint_eq(len, 3);
	ck_assert_mem_eq(driver.ram + DATA, "abc", 3);
	driver_add(&driver, 0, buffers, 2, 0);
	driver_add(&driver, 0, buffers, 1, 0);
	ck_assert_int_eq(process(0), 0);
	ck_assert_uint_eq(n_room, 2);
	ck_assert_uint_eq(vmm_virtio_console_send(console, 0, "defghijk", 8), 8);
	ck_assert(used(0, &len));
	ck_assert_uint_eq(len, 7);
	ck_assert(used(0, &len));
	ck_assert_uint_eq(len, 1);
	ck_assert_mem_eq(driver.ram + DATA, "kef", 3);
	ck_assert_mem_eq(driver.ram + DATA + 100, "ghij", 4);
	/* While nobody waits buffers are no news. */
	driver_add(&driver, 0, &buffers[0], 1, 0);
	ck_assert_int_eq(process(0), 0);
	ck_assert_uint_eq(n_room, 2);
	ck_assert_uint_eq(vmm_virtio_console_send(console, 0, "x", 1), 1);
	teardown();
}
END_TEST

static const struct vmm_console_port_config three_ports[] = {
	{ .ops = &ring_ops },
	{ .name = "org.example.agent", .ops = &ring_ops },
	{ .name = "log", .ops = &ring_ops, .disconnected = true, .is_console = true },
};
static const struct vmm_virtio_console_config three = {
	.n_ports = 3,
	.ports = three_ports,
	.columns = 80,
	.rows = 25,
};

struct message {
	uint32_t id;
	uint16_t event, value;
	char more[40];
};

static void tell(uint32_t id, uint16_t event, uint16_t value)
{
	struct message message = { id, event, value, "" };
	struct vring_buffer buffer = { DATA, 8, false };
	uint32_t len;

	memcpy(driver.ram + DATA, &message, 8);
	driver_add(&driver, 3, &buffer, 1, 0);
	ck_assert_int_eq(process(3), 0);
	ck_assert(used(3, &len));
}

static void give_control_buffers(unsigned int n)
{
	static unsigned int next;

	while (n-- > 0) {
		struct vring_buffer buffer = { DATA + 4096 + next++ % 32 * 64, 64, true };

		driver_add(&driver, 2, &buffer, 1, 0);
	}
	ck_assert_int_eq(process(2), 0);
}

/* The next message to the driver, which lies where its buffer was. */
static void expect(uint32_t id, uint16_t event, uint16_t value, const void *more, size_t n_more)
{
	static unsigned int next;
	struct message message;
	uint32_t len;

	ck_assert(used(2, &len));
	memcpy(&message, driver.ram + DATA + 4096 + next++ % 32 * 64, sizeof(message));
	ck_assert_uint_eq(message.id, id);
	ck_assert_uint_eq(message.event, event);
	ck_assert_uint_eq(message.value, value);
	ck_assert_uint_eq(len, 8 + n_more);
	ck_assert_mem_eq(message.more, more, n_more);
}

/* VIRTIO 1.2, 5.3.5: READY, ADD; then a port's READY and all that is to know about it. */
START_TEST(ports_are_announced)
{
	const uint16_t size[2] = { 80, 25 }, new_size[2] = { 132, 50 };
	uint32_t max_n_ports;
	uint64_t cursor = 0;

	start(&three, rings[_i] | MULTIPORT);
	driver_config_read(&driver, 4, &max_n_ports, 4);
	ck_assert_uint_eq(max_n_ports, 3);
	/* Buffers come late: nothing is lost. */
	tell(0, 0, 1);
	give_control_buffers(20);
	for (unsigned int i = 0; i < 3; i++)
		expect(i, 1, 1, "", 0);
	tell(0, 3, 1);
	expect(0, 4, 1, "", 0);
	expect(0, 5, 1, size, 4);
	expect(0, 6, 1, "", 0);
	tell(1, 3, 1);
	expect(1, 7, 1, "org.example.agent", 17);
	expect(1, 6, 1, "", 0);
	tell(2, 3, 1);
	expect(2, 4, 1, "", 0);
	expect(2, 7, 1, "log", 3);
	vmm_virtio_console_connect(console, 2, true);
	expect(2, 6, 1, "", 0);
	vmm_virtio_console_connect(console, 1, false);
	expect(1, 6, 0, "", 0);
	vmm_virtio_console_resize(console, 0, 132, 50);
	expect(0, 5, 1, new_size, 4);
	vmm_virtio_console_resize(console, 0, 132, 50);

	tell(1, 6, 1);
	ck_assert_uint_eq(opened[1], 1);
	put(5, "from the agent");
	check_reads(1, &cursor, "from the agent");
	driver_reset(&driver);
	ck_assert_uint_eq(opened[1], 0);
	teardown();
}
END_TEST

START_TEST(port_takes_input_only_while_open)
{
	struct vring_buffer buffer = { DATA + 8192, 16, true };
	uint32_t len;

	start(&three, rings[_i] | MULTIPORT);
	driver_add(&driver, 4, &buffer, 1, 0);
	ck_assert_uint_eq(vmm_virtio_console_send(console, 1, "hi", 2), 0);
	tell(1, 6, 1);
	ck_assert_uint_eq(n_room, 1);
	ck_assert_uint_eq(vmm_virtio_console_send(console, 1, "hi", 2), 2);
	ck_assert(used(4, &len));
	ck_assert_uint_eq(len, 2);
	ck_assert_mem_eq(driver.ram + DATA + 8192, "hi", 2);
	teardown();
}
END_TEST

START_TEST(hostile_control_messages)
{
	struct vring_buffer shorter = { DATA, 7, false };
	uint32_t len;

	start(&three, rings[_i] | MULTIPORT);
	for (uint16_t event = 0; event < 10; event++) {
		tell(3, event, 1);
		tell(UINT32_MAX, event, 1);
	}
	tell(0, 0xffff, 1);
	driver_add(&driver, 3, &shorter, 1, 0);
	ck_assert_int_eq(process(3), 0);
	ck_assert(used(3, &len));
	/* Asked a thousand times, told once. */
	for (int i = 0; i < 1000; i++) {
		tell(0, 0, 1);
		tell(1, 3, 1);
	}
	give_control_buffers(20);
	for (int i = 0; i < 5; i++)
		ck_assert(used(2, &len));
	ck_assert(!used(2, &len));
	ck_assert(!(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET));
	teardown();
}
END_TEST

START_TEST(input_buffer_without_room_breaks_the_queue_until_reset)
{
	struct vmm_virtio_console_config config = { 0 };
	struct vring_buffer readable = { DATA, 16, false };

	start(&config, rings[_i]);
	driver_add(&driver, 0, &readable, 1, 0);
	ck_assert_uint_eq(vmm_virtio_console_send(console, 0, "x", 1), 0);
	ck_assert(driver_status(&driver) & VMM_VIRTIO_STATUS_NEEDS_RESET);
	ck_assert(driver_start(&driver, rings[_i], 2, 32));
	put(1, "fine");
	teardown();
}
END_TEST

START_TEST(size_in_configuration_space)
{
	struct vmm_virtio_console_config config = { .columns = 100, .rows = 40 };
	uint16_t size[2];
	uint32_t status;

	start(&config, UINT64_C(1) << 0);
	driver_config_read(&driver, 0, &size[0], 2);
	driver_config_read(&driver, 2, &size[1], 2);
	ck_assert_uint_eq(size[0], 100);
	ck_assert_uint_eq(size[1], 40);
	while (driver_wait_interrupt(&driver, 0, NULL))
		;
	vmm_virtio_console_resize(console, 0, 120, 40);
	ck_assert(driver_wait_interrupt(&driver, 1000, &status));
	ck_assert(status & 2);
	driver_config_read(&driver, 0, &size[0], 2);
	ck_assert_uint_eq(size[0], 120);
	teardown();
}
END_TEST

START_TEST(emergency_write)
{
	struct vmm_virtio_console_config config = { 0 };
	uint64_t cursor = 0;

	start(&config, 0);
	driver_reset(&driver);
	driver_config_write(&driver, 8, 'P');
	driver_config_write(&driver, 8, '!');
	driver_config_write(&driver, 0, 'x');
	check_reads(0, &cursor, "P!");
	teardown();
}
END_TEST

START_TEST(limits_hold)
{
	struct vmm_virtio_console_config config = {
		.limits.bytes = { .rate = 1000, .burst = 10 },
	};
	struct vring_buffer buffer = { DATA, 10, false };
	uint64_t start_nsec, cursor = 0;
	uint32_t len;
	int n = 0;

	start(&config, rings[_i]);
	memcpy(driver.ram + DATA, "0123456789", 10);
	start_nsec = vmm_base_now_nsec();
	for (int i = 0; i < 5; i++)
		driver_add(&driver, 1, &buffer, 1, 0);
	ck_assert_int_eq(process(1), 0);
	for (;;) {
		struct pollfd poll_fd = {
			.fd = vmm_virtio_console_fd(console),
			.events = POLLIN,
		};

		while (used(1, &len))
			n++;
		if (n == 5)
			break;
		ck_assert_int_eq(poll(&poll_fd, 1, 5000), 1);
		ck_assert_int_eq(vmm_virtio_console_process(console), 0);
	}
	ck_assert_uint_ge(vmm_base_now_nsec() - start_nsec, 40000000);
	check_reads(0, &cursor, "01234567890123456789012345678901234567890123456789");
	teardown();
}
END_TEST

START_TEST(bad_configurations)
{
	static const struct vmm_console_port_config large_ring = {
		.ring_bytes = VMM_CONSOLE_MAX_RING_BYTES + 1,
	};
	static const struct vmm_console_port_config long_name = {
		.name = "0123456789012345678901234567890123456789012345678901234567890123",
	};
	struct vmm_virtio_console_config config = { 0 };

	ck_assert_int_eq(vmm_virtio_console_new(&config, &console), -EINVAL);
	driver_init(&driver);
	config.mem = driver.mem;
	config.n_ports = 2;
	ck_assert_int_eq(vmm_virtio_console_new(&config, &console), -EINVAL);
	config.n_ports = 1;
	config.ports = &large_ring;
	ck_assert_int_eq(vmm_virtio_console_new(&config, &console), -EINVAL);
	config.ports = &long_name;
	ck_assert_int_eq(vmm_virtio_console_new(&config, &console), -EINVAL);
	config.ports = three_ports;
	config.n_ports = VMM_CONSOLE_MAX_PORTS + 1;
	ck_assert_int_eq(vmm_virtio_console_new(&config, &console), -EINVAL);
	config.n_ports = 3;
	config.limits.ops.rate = UINT64_MAX;
	ck_assert_int_eq(vmm_virtio_console_new(&config, &console), -EINVAL);
	driver_finish(&driver);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio-console");
	TCase *tcase = unit_case(suite, "virtio-console");
	const int n = ARRAY_SIZE(rings);

	tcase_add_loop_test(tcase, late_reader_is_shown_what_was_before, 0, n);
	tcase_add_loop_test(tcase, ring_keeps_its_size_and_says_what_was_lost, 0, n);
	tcase_add_loop_test(tcase, guest_waits_for_a_slow_sink, 0, n);
	tcase_add_loop_test(tcase, reset_forgets_half_of_a_chain, 0, n);
	tcase_add_loop_test(tcase, long_output_is_taken_in_turns, 0, n);
	tcase_add_loop_test(tcase, input_waits_for_room, 0, n);
	tcase_add_loop_test(tcase, ports_are_announced, 0, n);
	tcase_add_loop_test(tcase, port_takes_input_only_while_open, 0, n);
	tcase_add_loop_test(tcase, hostile_control_messages, 0, n);
	tcase_add_loop_test(tcase, input_buffer_without_room_breaks_the_queue_until_reset, 0, n);
	tcase_add_test(tcase, size_in_configuration_space);
	tcase_add_test(tcase, emergency_write);
	tcase_add_loop_test(tcase, limits_hold, 0, n);
	tcase_add_test(tcase, bad_configurations);
	return unit_run(suite);
}

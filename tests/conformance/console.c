/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-console, 5.3. */
#include "conformance.h"
#include "target-console.h"

#define F_SIZE (UINT64_C(1) << 0)
#define F_MULTIPORT (UINT64_C(1) << 1)
#define F_EMERG_WRITE (UINT64_C(1) << 2)

/* 5.3.2: queues. */
#define CONTROL_IN 2
#define CONTROL_OUT 3
#define IN(port) ((uint16_t)((port) == 0 ? 0 : 2 + 2 * (port)))
#define OUT(port) ((uint16_t)(IN(port) + 1))

enum event {
	DEVICE_READY = 0,
	PORT_ADD = 1,
	PORT_REMOVE = 2,
	PORT_READY = 3,
	CONSOLE_PORT = 4,
	RESIZE = 5,
	PORT_OPEN = 6,
	PORT_NAME = 7,
};

struct control {
	uint32_t id;
	uint16_t event;
	uint16_t value;
};

struct message {
	struct control control;
	uint32_t more; /* bytes behind it */
	uint8_t data[64];
};

#define N_ROOMS 32
#define ROOM_BYTES 64

/* Of control messages, by the id of their chain. */
static uint64_t rooms[65536];

static void offer_room(struct conf *c)
{
	struct vring_buffer buffer = { vdriver_alloc(&c->d, ROOM_BYTES), ROOM_BYTES, true };

	rooms[vdriver_send(&c->d, CONTROL_IN, &buffer, 1)] = buffer.gpa;
}

static void begin_without(struct conf *c, uint64_t features)
{
	uint64_t wanted = (F_SIZE | F_MULTIPORT | F_EMERG_WRITE) & ~features;

	if (c->packed) {
		needs(c, F_PACKED, "packed ring");
		wanted |= F_PACKED;
	}
	CHECK(vdriver_start(&c->d, wanted, wanted & F_MULTIPORT ? 2 * (CONSOLE_PORTS + 1) : 2, 64));
	for (unsigned int i = 0; wanted & F_MULTIPORT && i < N_ROOMS; i++)
		offer_room(c);
}

static void say(struct conf *c, uint32_t id, enum event event, uint16_t value)
{
	struct control control = { id, (uint16_t)event, value };
	struct vring_buffer buffer = { vdriver_alloc(&c->d, sizeof(control)), sizeof(control),
		false };
	uint32_t len;

	memcpy(c->m->ram + buffer.gpa, &control, sizeof(control));
	CHECK(vdriver_transfer(&c->d, CONTROL_OUT, &buffer, 1, &len));
	CHECK(len == 0);
}

static struct message hear(struct conf *c)
{
	struct message message;
	uint32_t id, len;

	CHECK(vdriver_wait_used(&c->d, CONTROL_IN, &id, &len));
	CHECK(len >= sizeof(message.control) && len <= ROOM_BYTES);
	memcpy(&message.control, c->m->ram + rooms[id], sizeof(message.control));
	message.more = len - (uint32_t)sizeof(message.control);
	memcpy(message.data, c->m->ram + rooms[id] + sizeof(message.control), message.more);
	return message;
}

static struct message hear_event(struct conf *c, uint32_t id, enum event event)
{
	struct message message = hear(c);

	CHECK(message.control.id == id && message.control.event == event);
	return message;
}

static void expect_silence(struct conf *c)
{
	uint32_t id, len;

	settle(c);
	CHECK(!vring_get_used(c->d.rings[CONTROL_IN], &id, &len));
}

static void find_ports(struct conf *c)
{
	say(c, 0, DEVICE_READY, 1);
	for (uint32_t i = 0; i < CONSOLE_PORTS; i++)
		hear_event(c, i, PORT_ADD);
}

/* All that is said about a port until nothing more comes. */
static bool says(struct conf *c, uint32_t port, enum event event, struct message *ret_message)
{
	bool found = false;
	uint32_t id, len;

	settle(c);
	while (vring_get_used(c->d.rings[CONTROL_IN], &id, &len)) {
		struct message message;

		memcpy(&message.control, c->m->ram + rooms[id], sizeof(message.control));
		message.more = len - (uint32_t)sizeof(message.control);
		memcpy(message.data, c->m->ram + rooms[id] + sizeof(message.control), message.more);
		CHECK(message.control.id == port);
		if (message.control.event == event) {
			CHECK(!found);
			found = true;
			*ret_message = message;
		}
	}
	return found;
}

static void put_out(struct conf *c, unsigned int port, const char *text)
{
	struct vring_buffer buffer = { vdriver_alloc(&c->d, strlen(text)), (uint32_t)strlen(text),
		false };
	uint32_t len;

	memcpy(c->m->ram + buffer.gpa, text, buffer.len);
	CHECK(vdriver_transfer(&c->d, OUT(port), &buffer, 1, &len));
	CHECK(len == 0);
}

static bool host(struct conf *c, enum console_host event, uint8_t port, const void *data, size_t n)
{
	uint8_t bytes[128];

	bytes[0] = port;
	if (n > 0)
		memcpy(bytes + 1, data, n);
	return c->target->host(event, bytes, 1 + n);
}

static uint64_t offer_input(struct conf *c, unsigned int port, uint32_t size)
{
	struct vring_buffer buffer = { vdriver_alloc(&c->d, size + 16), size, true };

	memset(c->m->ram + buffer.gpa, 0, size + 16);
	vdriver_send(&c->d, IN(port), &buffer, 1);
	return buffer.gpa;
}

/* ---- cases ---- */

static void queues_of_all_ports(struct conf *c)
{
	for (uint16_t i = 0; i < 2 * (CONSOLE_PORTS + 1); i++) {
		vdriver_select(&c->d, i);
		CHECK(vdriver_queue_max(&c->d) > 0);
	}
	vdriver_select(&c->d, 2 * (CONSOLE_PORTS + 1));
	CHECK(vdriver_queue_max(&c->d) == 0);
}

static void one_port_without_multiport(struct conf *c)
{
	begin_without(c, F_MULTIPORT);
	put_out(c, 0, "plain");
	CHECK(host(c, CONSOLE_HOST_GOT, 0, "plain", 5));
	offer_input(c, 0, 10);
	CHECK(host(c, CONSOLE_HOST_SEND, 0, "in", 2));
}

static void size_and_ports(struct conf *c)
{
	CHECK(machine_read16(c->m, c->d.device) == CONSOLE_COLUMNS);
	CHECK(machine_read16(c->m, c->d.device + 2) == CONSOLE_ROWS);
	CHECK(machine_read32(c->m, c->d.device + 4) == CONSOLE_PORTS);
}

static void size_is_read_only(struct conf *c)
{
	begin_without(c, 0);
	machine_write16(c->m, c->d.device, 7);
	machine_write16(c->m, c->d.device + 2, 7);
	machine_write32(c->m, c->d.device + 4, 7);
	size_and_ports(c);
}

static void emergency_write(struct conf *c)
{
	needs(c, F_EMERG_WRITE, "emergency write");
	/* Before there is any queue. */
	CHECK(vdriver_negotiate(&c->d, F_EMERG_WRITE));
	machine_write32(c->m, c->d.device + 8, 'E');
	CHECK(host(c, CONSOLE_HOST_GOT, 0, "E", 1));
	begin_without(c, 0);
	machine_write32(c->m, c->d.device + 8, 'F');
	CHECK(host(c, CONSOLE_HOST_GOT, 0, "F", 1));
}

static void resize_changes_the_configuration(struct conf *c)
{
	static const uint16_t cells[2] = { 132, 43 };

	begin_without(c, F_MULTIPORT);
	vdriver_config_interrupts(&c->d);
	host(c, CONSOLE_HOST_RESIZE, 0, cells, sizeof(cells));
	settle(c);
	CHECK(machine_read16(c->m, c->d.device) == 132);
	CHECK(machine_read16(c->m, c->d.device + 2) == 43);
	CHECK(vdriver_config_interrupts(&c->d) == 1);
}

static void ports_are_added(struct conf *c)
{
	begin_without(c, 0);
	expect_silence(c);
	find_ports(c);
	expect_silence(c);
}

static void not_ready(struct conf *c)
{
	begin_without(c, 0);
	say(c, 0, DEVICE_READY, 0);
	expect_silence(c);
	find_ports(c);
	say(c, 1, PORT_READY, 0);
	expect_silence(c);
}

static void the_console_port(struct conf *c)
{
	struct message message;

	begin_without(c, 0);
	find_ports(c);
	say(c, 0, PORT_READY, 1);
	CHECK(says(c, 0, CONSOLE_PORT, &message));
	CHECK(message.control.value == 1);
	say(c, 1, PORT_READY, 1);
	CHECK(!says(c, 1, CONSOLE_PORT, &message));
}

static void size_by_message(struct conf *c)
{
	static const uint16_t cells[2] = { 100, 50 };
	struct message message;
	uint16_t said[2];

	begin_without(c, 0);
	find_ports(c);
	say(c, 0, PORT_READY, 1);
	CHECK(says(c, 0, RESIZE, &message));
	CHECK(message.more == sizeof(said));
	memcpy(said, message.data, sizeof(said));
	CHECK(said[0] == CONSOLE_COLUMNS && said[1] == CONSOLE_ROWS);
	host(c, CONSOLE_HOST_RESIZE, 0, cells, sizeof(cells));
	CHECK(says(c, 0, RESIZE, &message));
	memcpy(said, message.data, sizeof(said));
	CHECK(said[0] == 100 && said[1] == 50);
	host(c, CONSOLE_HOST_RESIZE, 0, cells, sizeof(cells));
	expect_silence(c);
}

static void names(struct conf *c)
{
	struct message message;

	begin_without(c, 0);
	find_ports(c);
	say(c, 1, PORT_READY, 1);
	CHECK(says(c, 1, PORT_NAME, &message));
	CHECK(message.more == strlen(CONSOLE_NAME));
	CHECK(memcmp(message.data, CONSOLE_NAME, message.more) == 0);
	say(c, 2, PORT_READY, 1);
	CHECK(!says(c, 2, PORT_NAME, &message));
}

static void host_opens_and_closes(struct conf *c)
{
	struct message message;

	begin_without(c, 0);
	find_ports(c);
	say(c, 1, PORT_READY, 1);
	CHECK(says(c, 1, PORT_OPEN, &message) && message.control.value == 1);
	say(c, 2, PORT_READY, 1);
	CHECK(!says(c, 2, PORT_OPEN, &message));
	host(c, CONSOLE_HOST_CONNECT, 2, "\1", 1);
	CHECK(says(c, 2, PORT_OPEN, &message) && message.control.value == 1);
	host(c, CONSOLE_HOST_CONNECT, 2, "\0", 1);
	CHECK(says(c, 2, PORT_OPEN, &message) && message.control.value == 0);
	host(c, CONSOLE_HOST_CONNECT, 2, "\0", 1);
	expect_silence(c);
}

static void guest_opens_and_closes(struct conf *c)
{
	begin_without(c, 0);
	find_ports(c);
	say(c, 1, PORT_OPEN, 1);
	CHECK(host(c, CONSOLE_HOST_IS_OPEN, 1, NULL, 0));
	CHECK(!host(c, CONSOLE_HOST_IS_OPEN, 2, NULL, 0));
	say(c, 1, PORT_OPEN, 0);
	CHECK(!host(c, CONSOLE_HOST_IS_OPEN, 1, NULL, 0));
	say(c, 1, PORT_OPEN, 1);
	CHECK(vdriver_reset(&c->d));
	settle(c);
	CHECK(!host(c, CONSOLE_HOST_IS_OPEN, 1, NULL, 0));
}

static void output_of_each_port(struct conf *c)
{
	begin_without(c, 0);
	put_out(c, 0, "zero");
	put_out(c, 1, "one");
	put_out(c, 2, "tw");
	put_out(c, 2, "o");
	CHECK(host(c, CONSOLE_HOST_GOT, 0, "zero", 4));
	CHECK(host(c, CONSOLE_HOST_GOT, 1, "one", 3));
	CHECK(host(c, CONSOLE_HOST_GOT, 2, "two", 3));
}

static void input_of_each_port(struct conf *c)
{
	uint32_t id, len;

	begin_without(c, 0);
	find_ports(c);
	for (unsigned int port = 0; port < CONSOLE_PORTS; port++) {
		uint64_t gpa;

		say(c, port, PORT_OPEN, 1);
		gpa = offer_input(c, port, 40);
		CHECK(host(c, CONSOLE_HOST_SEND, (uint8_t)port, "input", 5));
		CHECK(vdriver_wait_used(&c->d, IN(port), &id, &len));
		CHECK(len == 5 && memcmp(c->m->ram + gpa, "input", 6) == 0);
	}
}

static void input_in_several_buffers(struct conf *c)
{
	uint32_t id, len;
	uint64_t first, second;

	begin_without(c, F_MULTIPORT);
	first = offer_input(c, 0, 4);
	second = offer_input(c, 0, 8);
	CHECK(host(c, CONSOLE_HOST_SEND, 0, "abcdef", 6));
	CHECK(vdriver_wait_used(&c->d, 0, &id, &len) && len == 4);
	CHECK(vdriver_wait_used(&c->d, 0, &id, &len) && len == 2);
	CHECK(memcmp(c->m->ram + first, "abcd", 5) == 0);
	CHECK(memcmp(c->m->ram + second, "ef", 3) == 0);
}

static void closed_ports_get_nothing(struct conf *c)
{
	uint32_t id, len;

	begin_without(c, 0);
	find_ports(c);
	offer_input(c, 1, 40);
	CHECK(!host(c, CONSOLE_HOST_SEND, 1, "early", 5));
	settle(c);
	CHECK(!vring_get_used(c->d.rings[IN(1)], &id, &len));
}

static void unknown_messages_are_ignored(struct conf *c)
{
	struct vring_buffer buffer;
	uint32_t len;

	begin_without(c, 0);
	say(c, CONSOLE_PORTS, PORT_READY, 1);
	say(c, UINT32_MAX, PORT_OPEN, 1);
	say(c, 0, (enum event)99, 1);
	buffer = (struct vring_buffer){ vdriver_alloc(&c->d, 8), 7, false };
	memset(c->m->ram + buffer.gpa, 0, 8);
	c->m->ram[buffer.gpa + 6] = 1; /* DEVICE_READY, if it were whole */
	CHECK(vdriver_transfer(&c->d, CONTROL_OUT, &buffer, 1, &len));
	expect_silence(c);
	find_ports(c);
}

static void messages_wait_for_buffers(struct conf *c)
{
	CHECK(vdriver_start(
		&c->d, F_MULTIPORT | (c->packed ? F_PACKED : 0), 2 * (CONSOLE_PORTS + 1), 64));
	say(c, 0, DEVICE_READY, 1);
	settle(c);
	offer_room(c);
	hear_event(c, 0, PORT_ADD);
	expect_silence(c);
	offer_room(c);
	offer_room(c);
	hear_event(c, 1, PORT_ADD);
	hear_event(c, 2, PORT_ADD);
}

/* 5.3.6.1: the driver puts no readable part into a receive buffer; it is not written. */
static void buffer_without_room(struct conf *c)
{
	struct vring_buffer buffer;

	begin_without(c, F_MULTIPORT);
	buffer = (struct vring_buffer){ vdriver_alloc(&c->d, 16), 16, false };
	memset(c->m->ram + buffer.gpa, 0x77, 16);
	vdriver_send(&c->d, 0, &buffer, 1);
	host(c, CONSOLE_HOST_SEND, 0, "x", 1);
	settle(c);
	for (unsigned int i = 0; i < 16; i++)
		CHECK(c->m->ram[buffer.gpa + i] == 0x77);
	expect_needs_reset(c);
	recovers(c);
}

#define CONSOLE(clause, text, run)                                                                 \
	{                                                                                          \
		clause, text, run, ANY, 3                                                          \
	}

static const struct conf_case cases[] = {
	CONSOLE("5.3.2", "two queues a port, and two for control", queues_of_all_ports),
	CONSOLE("5.3.3", "one port without multiport", one_port_without_multiport),
	CONSOLE("5.3.4", "the size and the number of ports", size_and_ports),
	CONSOLE("5.3.4", "the size is read-only", size_is_read_only),
	CONSOLE("5.3.4", "emergency write", emergency_write),
	CONSOLE("5.3.4", "a resize changes the configuration", resize_changes_the_configuration),
	CONSOLE("5.3.5", "ports are added when the driver is ready", ports_are_added),
	CONSOLE("5.3.5", "a driver that is not ready hears nothing", not_ready),
	CONSOLE("5.3.6", "output of each port", output_of_each_port),
	CONSOLE("5.3.6", "input of each port", input_of_each_port),
	CONSOLE("5.3.6", "input in several buffers", input_in_several_buffers),
	CONSOLE("5.3.6.1", "a closed port gets no input", closed_ports_get_nothing),
	CONSOLE("5.3.6.1", "a receive buffer without room", buffer_without_room),
	CONSOLE("5.3.6.2", "the port of the console", the_console_port),
	CONSOLE("5.3.6.2", "the size by message", size_by_message),
	CONSOLE("5.3.6.2", "names", names),
	CONSOLE("5.3.6.2", "the host opens and closes", host_opens_and_closes),
	CONSOLE("5.3.6.2", "the driver opens and closes", guest_opens_and_closes),
	CONSOLE("5.3.6.2", "unknown messages are ignored", unknown_messages_are_ignored),
	CONSOLE("5.3.6.2", "messages wait for buffers", messages_wait_for_buffers),
};

const struct conf_group console_group = CONF_GROUP(cases);

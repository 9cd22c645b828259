/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * platform: the keyboard controller (Intel 8042 as in the IBM PS/2) with a keyboard at its first
 * port and nothing at its second. Complete enough that a driver finds it at once and gets an
 * answer to each command, and no further: nobody types here, but ctrl-alt-del must arrive.
 *
 * What is to be read at port 0x60 is the controller's own answer, else the head of the keyboard's
 * queue. The interrupt falls with each byte that is read and rises for the next one, so that an
 * edge-triggered input sees one edge a byte.
 */
#include <pthread.h>
#include <string.h>

#include <vmmcore/platform.h>

#include "base/util.h"

enum {
	STATUS_OUTPUT_FULL = 0x01,
	STATUS_SYSTEM = 0x04,
	STATUS_COMMAND = 0x08,
	STATUS_UNLOCKED = 0x10,

	/* The controller's command byte. */
	CTR_KEYBOARD_IRQ = 0x01,
	CTR_SYSTEM = 0x04,
	CTR_KEYBOARD_OFF = 0x10,
	CTR_AUX_OFF = 0x20,
	CTR_TRANSLATE = 0x40,

	COMMAND_READ_CTR = 0x20,
	COMMAND_WRITE_CTR = 0x60,
	COMMAND_AUX_OFF = 0xa7,
	COMMAND_AUX_ON = 0xa8,
	COMMAND_AUX_TEST = 0xa9,
	COMMAND_SELF_TEST = 0xaa,
	COMMAND_KEYBOARD_TEST = 0xab,
	COMMAND_KEYBOARD_OFF = 0xad,
	COMMAND_KEYBOARD_ON = 0xae,
	COMMAND_READ_INPUT = 0xc0,
	COMMAND_READ_OUTPUT = 0xd0,
	COMMAND_WRITE_OUTPUT = 0xd1,
	COMMAND_WRITE_KEYBOARD = 0xd2,
	COMMAND_WRITE_AUX = 0xd3,
	COMMAND_TO_AUX = 0xd4,
	COMMAND_PULSE = 0xf0, /* to 0xff; bit 0 clear: the reset line */

	OUTPUT_NO_RESET = 0x01,
	OUTPUT_A20 = 0x02,

	KEYBOARD_LEDS = 0xed,
	KEYBOARD_ECHO = 0xee,
	KEYBOARD_SCAN_SET = 0xf0,
	KEYBOARD_GET_ID = 0xf2,
	KEYBOARD_RATE = 0xf3,
	KEYBOARD_ENABLE = 0xf4,
	KEYBOARD_DISABLE = 0xf5,
	KEYBOARD_DEFAULTS = 0xf6,
	KEYBOARD_RESET = 0xff,

	ANSWER_TEST_PASSED = 0x55,
	ANSWER_AUX_STUCK = 0x01,
	ANSWER_ACK = 0xfa,
	ANSWER_RESEND = 0xfe,
	ANSWER_BAT_PASSED = 0xaa,

	QUEUE_BYTES = 32,
};

struct vmm_i8042 {
	struct vmm_i8042_config config;

	pthread_mutex_t lock; /* of all below */
	uint8_t ctr;
	uint8_t last_read;
	bool last_was_command;    /* which port was written last */
	uint8_t command;          /* waits for its data; 0: none */
	uint8_t keyboard_command; /* the same of the keyboard */
	bool enabled;             /* the guest enabled scanning */
	bool answer_full;
	uint8_t answer; /* of the controller */
	unsigned int queue_head;
	unsigned int n_queue;
	uint8_t queue[QUEUE_BYTES]; /* of the keyboard */
};

static bool keyboard_full(const struct vmm_i8042 *c)
{
	return c->n_queue > 0 && !(c->ctr & CTR_KEYBOARD_OFF);
}

static int update_irq(struct vmm_i8042 *c)
{
	return vmm_irq_set_level(&c->config.irq, (c->ctr & CTR_KEYBOARD_IRQ) && keyboard_full(c));
}

static void answer(struct vmm_i8042 *c, uint8_t value)
{
	c->answer = value;
	c->answer_full = true;
}

/* What does not fit is lost, as in a keyboard. */
static void queue_push(struct vmm_i8042 *c, uint8_t value)
{
	if (c->n_queue == QUEUE_BYTES)
		return;
	c->queue[(c->queue_head + c->n_queue) % QUEUE_BYTES] = value;
	c->n_queue++;
}

static uint8_t data_read(struct vmm_i8042 *c)
{
	if (c->answer_full) {
		c->answer_full = false;
		c->last_read = c->answer;
	} else if (keyboard_full(c)) {
		c->last_read = c->queue[c->queue_head];
		c->queue_head = (c->queue_head + 1) % QUEUE_BYTES;
		c->n_queue--;
		(void)vmm_irq_set_level(&c->config.irq, false);
	}
	return c->last_read;
}

static uint8_t status_read(const struct vmm_i8042 *c)
{
	uint8_t status = STATUS_UNLOCKED;

	if (c->answer_full || keyboard_full(c))
		status |= STATUS_OUTPUT_FULL;
	if (c->ctr & CTR_SYSTEM)
		status |= STATUS_SYSTEM;
	if (c->last_was_command)
		status |= STATUS_COMMAND;
	return status;
}

static void keyboard_write_parameter(struct vmm_i8042 *c, uint8_t value)
{
	uint8_t command = c->keyboard_command;

	c->keyboard_command = 0;
	queue_push(c, ANSWER_ACK);
	/* Asked for its scan code set: it is always set 2, which the controller translates. */
	if (command == KEYBOARD_SCAN_SET && value == 0)
		queue_push(c, c->ctr & CTR_TRANSLATE ? 0x41 : 0x02);
}

static void keyboard_write(struct vmm_i8042 *c, uint8_t value)
{
	/* Writing to the keyboard enables its port. */
	c->ctr &= (uint8_t)~CTR_KEYBOARD_OFF;
	if (c->keyboard_command && value < KEYBOARD_LEDS) {
		keyboard_write_parameter(c, value);
		return;
	}
	c->keyboard_command = 0;
	switch (value) {
	case KEYBOARD_LEDS:
	case KEYBOARD_SCAN_SET:
	case KEYBOARD_RATE:
		c->keyboard_command = value;
		queue_push(c, ANSWER_ACK);
		break;
	case KEYBOARD_ECHO:
		queue_push(c, KEYBOARD_ECHO);
		break;
	case KEYBOARD_GET_ID:
		queue_push(c, ANSWER_ACK);
		queue_push(c, 0xab);
		queue_push(c, c->ctr & CTR_TRANSLATE ? 0x41 : 0x83);
		break;
	case KEYBOARD_ENABLE:
		c->enabled = true;
		c->n_queue = 0;
		queue_push(c, ANSWER_ACK);
		break;
	case KEYBOARD_DISABLE:
	case KEYBOARD_DEFAULTS:
		c->enabled = value == KEYBOARD_DEFAULTS ? c->enabled : false;
		queue_push(c, ANSWER_ACK);
		break;
	case KEYBOARD_RESET:
		c->enabled = false;
		c->n_queue = 0;
		queue_push(c, ANSWER_ACK);
		queue_push(c, ANSWER_BAT_PASSED);
		break;
	default:
		queue_push(c, ANSWER_RESEND);
		break;
	}
}

/* Returns true where the reset line was pulled. */
static bool data_write(struct vmm_i8042 *c, uint8_t value)
{
	uint8_t command = c->command;

	c->command = 0;
	c->last_was_command = false;
	switch (command) {
	case 0:
		keyboard_write(c, value);
		return false;
	case COMMAND_WRITE_CTR:
		c->ctr = value;
		return false;
	case COMMAND_WRITE_OUTPUT:
		return !(value & OUTPUT_NO_RESET);
	case COMMAND_WRITE_KEYBOARD:
		queue_push(c, value);
		return false;
	case COMMAND_WRITE_AUX:
		/* There is no second port: not the echo, and no time to be lost in waiting. */
		answer(c, 0);
		return false;
	default:
		return false; /* to the second port, where nobody listens */
	}
}

/* Returns true where the reset line was pulled. */
static bool command_write(struct vmm_i8042 *c, uint8_t command)
{
	c->last_was_command = true;
	c->command = 0;
	switch (command) {
	case COMMAND_READ_CTR:
		answer(c, c->ctr);
		break;
	case COMMAND_WRITE_CTR:
	case COMMAND_WRITE_OUTPUT:
	case COMMAND_WRITE_KEYBOARD:
	case COMMAND_WRITE_AUX:
	case COMMAND_TO_AUX:
		c->command = command;
		break;
	case COMMAND_AUX_OFF:
		c->ctr |= CTR_AUX_OFF;
		break;
	case COMMAND_AUX_ON:
		c->ctr &= (uint8_t)~CTR_AUX_OFF;
		break;
	case COMMAND_AUX_TEST:
		answer(c, ANSWER_AUX_STUCK);
		break;
	case COMMAND_SELF_TEST:
		c->ctr |= CTR_SYSTEM;
		answer(c, ANSWER_TEST_PASSED);
		break;
	case COMMAND_KEYBOARD_TEST:
	case COMMAND_READ_INPUT:
		answer(c, 0);
		break;
	case COMMAND_KEYBOARD_OFF:
		c->ctr |= CTR_KEYBOARD_OFF;
		break;
	case COMMAND_KEYBOARD_ON:
		c->ctr &= (uint8_t)~CTR_KEYBOARD_OFF;
		break;
	case COMMAND_READ_OUTPUT:
		answer(c, OUTPUT_NO_RESET | OUTPUT_A20);
		break;
	default:
		return command >= COMMAND_PULSE && !(command & 1);
	}
	return false;
}

static void i8042_read(void *userdata, bool is_status, void *data)
{
	struct vmm_i8042 *c = userdata;
	uint8_t value;

	pthread_mutex_lock(&c->lock);
	value = is_status ? status_read(c) : data_read(c);
	(void)update_irq(c);
	pthread_mutex_unlock(&c->lock);
	memcpy(data, &value, 1);
}

static void i8042_write(void *userdata, bool is_command, const void *data)
{
	struct vmm_i8042 *c = userdata;
	uint8_t value;
	bool reset;

	memcpy(&value, data, 1);
	pthread_mutex_lock(&c->lock);
	reset = is_command ? command_write(c, value) : data_write(c, value);
	(void)update_irq(c);
	pthread_mutex_unlock(&c->lock);
	if (reset && c->config.ops && c->config.ops->reset)
		c->config.ops->reset(c->config.userdata);
}

static void read_60(void *userdata, uint64_t offset, void *data, size_t length)
{
	i8042_read(userdata, false, data);
}

static void write_60(void *userdata, uint64_t offset, const void *data, size_t length)
{
	i8042_write(userdata, false, data);
}

static void read_64(void *userdata, uint64_t offset, void *data, size_t length)
{
	i8042_read(userdata, true, data);
}

static void write_64(void *userdata, uint64_t offset, const void *data, size_t length)
{
	i8042_write(userdata, true, data);
}

static const struct vmm_bus_ops data_ops = { .read = read_60, .write = write_60 };
static const struct vmm_bus_ops command_ops = { .read = read_64, .write = write_64 };

static int add_ports(struct vmm_i8042 *c)
{
	struct vmm_bus_range data = {
		.base = VMM_I8042_DATA_PORT,
		.size = 1,
		.ops = &data_ops,
		.userdata = c,
	};
	struct vmm_bus_range command = {
		.base = VMM_I8042_COMMAND_PORT,
		.size = 1,
		.ops = &command_ops,
		.userdata = c,
	};
	int r;

	r = vmm_bus_add(c->config.bus, &data);
	if (r < 0)
		return r;
	r = vmm_bus_add(c->config.bus, &command);
	if (r < 0)
		vmm_bus_remove(c->config.bus, VMM_I8042_DATA_PORT);
	return r;
}

int vmm_i8042_new(const struct vmm_i8042_config *config, struct vmm_i8042 **ret_i8042)
{
	struct vmm_i8042 *c;
	int r;

	if (!config->bus)
		return -EINVAL;
	c = malloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = (struct vmm_i8042){
		.config = *config,
		.ctr = CTR_SYSTEM | CTR_AUX_OFF | CTR_TRANSLATE,
	};
	pthread_mutex_init(&c->lock, NULL);
	r = add_ports(c);
	if (r < 0) {
		pthread_mutex_destroy(&c->lock);
		free(c);
		return r;
	}
	*ret_i8042 = c;
	return 0;
}

struct vmm_i8042 *vmm_i8042_free(struct vmm_i8042 *c)
{
	if (!c)
		return NULL;
	vmm_bus_remove(c->config.bus, VMM_I8042_DATA_PORT);
	vmm_bus_remove(c->config.bus, VMM_I8042_COMMAND_PORT);
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

int vmm_i8042_ctrl_alt_del(struct vmm_i8042 *c)
{
	/* Press control, alt, delete; release them in the opposite order. */
	static const uint8_t set1[] = { 0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d };
	static const uint8_t set2[] = { 0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0, 0x71, 0xf0, 0x11, 0xf0,
		0x14 };
	const uint8_t *codes;
	size_t n_codes;
	int r;

	pthread_mutex_lock(&c->lock);
	if (c->ctr & CTR_TRANSLATE) {
		codes = set1;
		n_codes = sizeof(set1);
	} else {
		codes = set2;
		n_codes = sizeof(set2);
	}
	if (!c->enabled || (c->ctr & CTR_KEYBOARD_OFF)) {
		r = -ENOTCONN;
	} else if (c->n_queue > 0) {
		r = -EAGAIN;
	} else {
		for (size_t i = 0; i < n_codes; i++)
			queue_push(c, codes[i]);
		r = update_irq(c);
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: all devices at ports, on one bus: serial, GED, pvpanic, clock, keyboard controller, debug
 * port. The input is a script of accesses by the guest and acts of the host, 8 bytes each.
 * Checked: output comes out byte by byte, on the debug port as well, input arrives whole and in
 * order while the guest only reads it, slots are ejected only when they are occupied, and no line
 * is left high without a cause that the guest can find.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <vmmcore/acpi.h>
#include <vmmcore/platform.h>
#include <vmmcore/serial.h>

#include "fuzz.h"

struct step {
	uint8_t what;
	uint8_t length;
	uint16_t port;
	uint32_t value;
};

static struct vmm_bus *bus;
static struct vmm_serial *serial;
static struct vmm_ged *ged;
static struct vmm_i8042 *keyboard;
static size_t n_output;
static uint32_t occupied;
static int64_t clock_nsec;
static int debug_value; /* last written; -1: none since */
static bool levels[3];

static int set_level(void *userdata, bool level)
{
	*(bool *)userdata = level;
	return 0;
}

static const struct vmm_irq_ops irq_ops = { .set_level = set_level };

static void on_output(void *userdata, const uint8_t *data, size_t n_bytes)
{
	n_output += n_bytes;
}

static void on_ready(void *userdata)
{
	FUZZ_CHECK(vmm_serial_receive_room(serial) >= VMM_SERIAL_QUEUE_BYTES / 2);
}

static void nothing(void *userdata)
{
}

static void on_eject(void *userdata, unsigned int slot)
{
	FUZZ_CHECK(slot > 0 && slot < VMM_ACPI_MAX_PCI_SLOTS);
	FUZZ_CHECK(occupied >> slot & 1);
	occupied &= ~(UINT32_C(1) << slot);
}

static void on_event(void *userdata, unsigned int events)
{
	FUZZ_CHECK(events >= 1 && events <= 3);
}

static void on_debug(void *userdata, uint8_t value)
{
	debug_value = value;
}

static int64_t now(void *userdata)
{
	return clock_nsec;
}

static const struct vmm_serial_ops serial_ops = { .write = on_output, .receive_ready = on_ready };
static const struct vmm_ged_ops ged_ops = {
	.power_off = nothing,
	.reset = nothing,
	.pci_eject = on_eject,
};
static const struct vmm_pvpanic_ops pvpanic_ops = { .event = on_event };
static const struct vmm_rtc_ops rtc_ops = { .now_nsec = now };
static const struct vmm_debug_port_ops debug_ops = { .write = on_debug };
static const struct vmm_i8042_ops i8042_ops = { .reset = nothing };

/* The ports of the devices, so that most accesses reach one. */
static uint16_t choose_port(uint16_t port)
{
	static const uint16_t bases[] = { 0x3f8, 0x3f8, VMM_GED_PORT, VMM_GED_PORT + 8, 0x70, 0x60,
		0x64, 0x80 };

	if (port & 0x8000)
		return port;
	if ((port & 0x7f00) == 0x7f00)
		return VMM_PVPANIC_PORT;
	return (uint16_t)(bases[port >> 8 & 7] + (port & 0x0f));
}

static void access_port(const struct step *step)
{
	uint16_t port = choose_port(step->port);
	size_t length = (size_t)(step->length % 8) + 1, before = n_output;
	uint64_t value = step->value;

	if (step->what & 1) {
		debug_value = -1;
		vmm_bus_write(bus, port, &value, length);
		FUZZ_CHECK(debug_value < 0 ||
			   (port == VMM_DEBUG_PORT && debug_value == (uint8_t)value));
		FUZZ_CHECK(n_output - before <= 1);
	} else {
		vmm_bus_read(bus, port, &value, length);
	}
}

/* A slot that is taken from the start, or that is empty all of a sudden. */
static void come_or_go(unsigned int slot)
{
	bool is_there = slot < 32 && (occupied >> slot & 1);

	if (is_there) {
		FUZZ_CHECK(vmm_ged_pci_occupy(ged, slot) == -EEXIST);
		FUZZ_CHECK(vmm_ged_pci_gone(ged, slot) == 0);
		occupied &= ~(UINT32_C(1) << slot);
	} else if (vmm_ged_pci_occupy(ged, slot) == 0) {
		occupied |= UINT32_C(1) << slot;
	} else {
		FUZZ_CHECK(vmm_ged_pci_gone(ged, slot) == -EINVAL);
	}
}

static void act(const struct step *step)
{
	uint8_t data[64];
	size_t room;

	switch (step->what >> 1 & 7) {
	case 0:
		memset(data, (int)step->value, sizeof(data));
		room = vmm_serial_receive_room(serial);
		FUZZ_CHECK(room <= VMM_SERIAL_QUEUE_BYTES);
		FUZZ_CHECK(vmm_serial_receive(serial, data, step->length % 65) ==
			   (room < step->length % 65U ? room : step->length % 65U));
		break;
	case 1:
		vmm_serial_receive_break(serial);
		break;
	case 2:
		vmm_ged_raise(ged, step->value);
		break;
	case 3:
		if (vmm_ged_pci_plug(ged, step->length) == 0)
			occupied |= UINT32_C(1) << step->length;
		break;
	case 4:
		FUZZ_CHECK((vmm_ged_pci_unplug(ged, step->length) == 0) ==
			   (step->length < 32 && (occupied >> step->length & 1)));
		break;
	case 5:
		vmm_i8042_ctrl_alt_del(keyboard);
		break;
	case 7:
		if (step->value & 1)
			come_or_go(step->length);
		break;
	default:
		/* Up to 73 years at a time, also backwards; the sum wraps. */
		clock_nsec = (int64_t)((uint64_t)clock_nsec +
				       (uint64_t)(int32_t)step->value * UINT64_C(1073741824));
		break;
	}
}

/* A handler that serves what it finds must come to an end, and leave each line low. */
static void serve(void)
{
	uint32_t value = 0;

	vmm_bus_read(bus, VMM_GED_PORT + 4, &value, 4);
	FUZZ_CHECK(!levels[1]);
	for (int i = 0; levels[2]; i++) {
		FUZZ_CHECK(i < 64);
		vmm_bus_read(bus, 0x60, &value, 1);
	}
	value = 0x03; /* no divisor latch in the way */
	vmm_bus_write(bus, 0x3f8 + 3, &value, 1);
	for (int i = 0; levels[0]; i++) {
		FUZZ_CHECK(i < 2 * VMM_SERIAL_QUEUE_BYTES);
		for (unsigned int reg = 0; reg < 8; reg++)
			vmm_bus_read(bus, 0x3f8 + reg, &value, 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmm_serial_config serial_config = {
		.base = 0x3f8,
		.irq = { &irq_ops, &levels[0] },
		.ops = &serial_ops,
	};
	struct vmm_ged_config ged_config = { .irq = { &irq_ops, &levels[1] }, .ops = &ged_ops };
	struct vmm_i8042_config i8042_config = {
		.irq = { &irq_ops, &levels[2] },
		.ops = &i8042_ops,
	};
	struct vmm_pvpanic_config pvpanic_config = { .ops = &pvpanic_ops };
	struct vmm_rtc_config rtc_config = { .ops = &rtc_ops };
	struct vmm_debug_port_config debug_config = { .ops = &debug_ops };
	struct vmm_debug_port *debug_port;
	struct vmm_pvpanic *pvpanic;
	struct vmm_rtc *rtc;
	struct step step;

	memset(levels, 0, sizeof(levels));
	n_output = 0;
	occupied = 0;
	clock_nsec = INT64_C(1700000000000000000);
	FUZZ_CHECK(vmm_bus_new(&bus) == 0);
	serial_config.bus = ged_config.bus = i8042_config.bus = bus;
	pvpanic_config.bus = rtc_config.bus = debug_config.bus = bus;
	FUZZ_CHECK(vmm_serial_new(&serial_config, &serial) == 0);
	FUZZ_CHECK(vmm_ged_new(&ged_config, &ged) == 0);
	FUZZ_CHECK(vmm_i8042_new(&i8042_config, &keyboard) == 0);
	FUZZ_CHECK(vmm_pvpanic_new(&pvpanic_config, &pvpanic) == 0);
	FUZZ_CHECK(vmm_rtc_new(&rtc_config, &rtc) == 0);
	FUZZ_CHECK(vmm_debug_port_new(&debug_config, &debug_port) == 0);

	for (size_t at = 0; at + sizeof(step) <= size; at += sizeof(step)) {
		memcpy(&step, data + at, sizeof(step));
		if (step.what < 0xc0)
			access_port(&step);
		else
			act(&step);
	}
	serve();

	vmm_debug_port_free(debug_port);
	vmm_rtc_free(rtc);
	vmm_pvpanic_free(pvpanic);
	vmm_i8042_free(keyboard);
	vmm_ged_free(ged);
	vmm_serial_free(serial);
	vmm_bus_free(bus);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* devices: the serial port, the platform's small devices and the PCI bridge of a machine. */
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/util.h"
#include "worker/machine.h"

/* ---- callbacks, in vCPU threads ---- */

static void serial_write(void *userdata, const uint8_t *data, size_t n_bytes)
{
	struct machine *machine = userdata;

	console_output(&machine->console, data, n_bytes);
}

static void serial_receive_ready(void *userdata)
{
	struct machine *machine = userdata;

	console_input_ready(&machine->console);
}

/* In the loop's thread. */
static size_t serial_feed(void *userdata, const uint8_t *data, size_t n_bytes)
{
	struct machine *machine = userdata;

	return vmm_serial_receive(machine->serial, data, n_bytes);
}

static void power_off(void *userdata)
{
	machine_post(userdata, MACHINE_POWERED_OFF);
}

static void reset(void *userdata)
{
	machine_post(userdata, MACHINE_RESET);
}

static void pci_eject(void *userdata, unsigned int slot)
{
	hotplug_ejected(userdata, slot);
}

static void panic_event(void *userdata, unsigned int events)
{
	/* A crash kernel that has taken over ends the VM itself, when it has written its dump. */
	if (events & VMM_PVPANIC_PANICKED)
		machine_post(userdata, MACHINE_PANICKED);
}

static const struct vmm_serial_ops serial_ops = {
	.write = serial_write,
	.receive_ready = serial_receive_ready,
};
static const struct vmm_ged_ops ged_ops = {
	.power_off = power_off,
	.reset = reset,
	.pci_eject = pci_eject,
};
static const struct vmm_i8042_ops i8042_ops = { .reset = reset };
static const struct vmm_pvpanic_ops pvpanic_ops = { .event = panic_event };

static void watchdog_expired(void *userdata)
{
	struct machine *machine = userdata;

	machine_post(machine, machine->spec->watchdog_action == VMM_WATCHDOG_FAIL
				      ? MACHINE_HUNG_FAIL
				      : MACHINE_HUNG);
}

static const struct vmm_watchdog_ops watchdog_ops = { .expired = watchdog_expired };

/* ---- the phase ---- */

static int add_line(
	struct machine *machine, struct machine_line *line, uint32_t gsi, struct vmm_irq *ret_irq)
{
	int r;

	line->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (line->fd < 0)
		return -errno;
	vmm_irq_eventfd_init(&line->irq, line->fd);
	r = vmm_vm_irqfd_assign(machine->vm, line->fd, gsi);
	if (r < 0)
		return r;
	*ret_irq = vmm_irq_eventfd_line(&line->irq);
	return 0;
}

static int add_serial(struct machine *machine)
{
	struct vmm_serial_config config = {
		.bus = machine->pio,
		.base = VMM_SERIAL_COM1_PORT,
		.ops = &serial_ops,
		.userdata = machine,
	};
	int r;

	r = add_line(machine, &machine->serial_line, VMM_SERIAL_COM1_GSI, &config.irq);
	if (r < 0)
		return r;
	r = vmm_serial_new(&config, &machine->serial);
	if (r < 0)
		return r;
	return console_init(&machine->console,
		&(struct console_config){
			.loop = machine->loop,
			.log = &machine->log,
			.feed = serial_feed,
			.feed_userdata = machine,
			.ring_bytes = machine->spec->console_ring_bytes,
			.no_lines = machine->spec->flags & VMM_SPEC_NO_CONSOLE_LOG,
			.lines_per_second = machine->spec->log_lines_per_second,
		});
}

static int add_ged(struct machine *machine)
{
	struct vmm_ged_config config = {
		.bus = machine->pio,
		.port = VMM_GED_PORT,
		.ops = &ged_ops,
		.userdata = machine,
	};
	int r;

	r = add_line(machine, &machine->ged_line, VMM_GED_GSI, &config.irq);
	return r < 0 ? r : vmm_ged_new(&config, &machine->ged);
}

static int add_i8042(struct machine *machine)
{
	struct vmm_i8042_config config = {
		.bus = machine->pio,
		.ops = &i8042_ops,
		.userdata = machine,
	};
	int r;

	r = add_line(machine, &machine->i8042_line, VMM_I8042_GSI, &config.irq);
	return r < 0 ? r : vmm_i8042_new(&config, &machine->i8042);
}

static int add_rest(struct machine *machine)
{
	int r;

	r = vmm_rtc_new(&(struct vmm_rtc_config){ .bus = machine->pio }, &machine->rtc);
	if (r < 0)
		return r;
	r = vmm_pvpanic_new(
		&(struct vmm_pvpanic_config){
			.bus = machine->pio,
			.ops = &pvpanic_ops,
			.userdata = machine,
		},
		&machine->pvpanic);
	if (r < 0 || machine->spec->transport != VMM_TRANSPORT_PCI)
		return r;
	return vmm_pci_bus_new(
		&(struct vmm_pci_bus_config){
			.mmio = machine->mmio,
			.pio = machine->pio,
			.ecam_gpa = MACHINE_ECAM_GPA,
			.window32_gpa = MACHINE_PCI_WINDOW_GPA,
			.window32_bytes = MACHINE_PCI_WINDOW_BYTES,
		},
		&machine->pci);
}

static int on_watchdog_due(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	return vmm_watchdog_process(userdata);
}

static int add_watchdog(struct machine *machine)
{
	struct vmm_watchdog_config config = {
		.bus = machine->pci,
		.slot = VMM_PCI_SLOT_ANY,
		.ops = &watchdog_ops,
		.userdata = machine,
	};
	int r;

	if (!(machine->spec->flags & VMM_SPEC_WATCHDOG))
		return 0;
	r = vmm_watchdog_new(&config, &machine->guest_watchdog);
	if (r < 0)
		return r;
	return vmm_loop_add_fd(machine->loop, vmm_watchdog_fd(machine->guest_watchdog), EPOLLIN,
		on_watchdog_due, machine->guest_watchdog, &machine->guest_watchdog_due);
}

int machine_add_platform(struct machine *machine)
{
	static const struct {
		const char *what;
		int (*add)(struct machine *machine);
	} steps[] = {
		{ "serial port", add_serial },
		{ "event device", add_ged },
		{ "keyboard controller", add_i8042 },
		{ "platform devices", add_rest },
		{ "watchdog", add_watchdog },
	};
	int r;

	r = vmm_bus_new(&machine->pio);
	if (r == 0)
		r = vmm_bus_new(&machine->mmio);
	if (r < 0)
		return machine_fail_host(machine, r, "making the buses");
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		r = steps[i].add(machine);
		if (r < 0)
			return machine_fail_host(machine, r, "adding the %s", steps[i].what);
	}
	return 0;
}

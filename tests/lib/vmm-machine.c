/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "lib/vmm-machine.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CONTAINER(m) ((struct vmm_machine *)(m)) /* machine is its first member */

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "vmm-machine: %s: %s\n", what, strerror(-r));
	exit(EXIT_FAILURE);
}

static uint64_t take(int fd)
{
	uint64_t count = 0;

	if (fd < 0 || read(fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
		return 0;
	return count;
}

static void put(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		must(-errno, "eventfd");
}

static void do_read(struct machine *machine, uint64_t gpa, void *data, size_t size)
{
	vmm_bus_read(CONTAINER(machine)->mmio, gpa, data, size);
}

/* As KVM: a write that matches a doorbell signals it and goes no further. */
static void do_write(struct machine *machine, uint64_t gpa, const void *data, size_t size)
{
	struct vmm_machine *m = CONTAINER(machine);
	uint64_t value = 0;

	memcpy(&value, data, size);
	for (unsigned int i = 0; i < m->n_doorbells; i++) {
		const struct vmm_virtio_doorbell *bell = &m->doorbells[i];

		if (bell->gpa == gpa && (bell->length == 0 || bell->length == size) &&
			(!bell->has_match || bell->match == value)) {
			put(bell->fd);
			return;
		}
	}
	vmm_bus_write(m->mmio, gpa, data, size);
}

static unsigned int interrupts(struct machine *machine, uint32_t number)
{
	struct vmm_machine *m = CONTAINER(machine);
	unsigned int n;

	m->counts[MACHINE_MMIO_IRQ] += (unsigned int)take(m->irq_fd);
	for (unsigned int i = 0; i < VMM_MACHINE_MAX_VECTORS; i++) {
		uint32_t data = m->vectors[i].message.data;
		uint64_t count;

		if (!m->vectors[i].routed)
			continue;
		count = take(m->vectors[i].fd);
		if (m->vectors[i].message.address == MACHINE_MSI_GPA &&
			data < VMM_MACHINE_MAX_NUMBERS)
			m->counts[data] += (unsigned int)count;
	}
	if (number >= VMM_MACHINE_MAX_NUMBERS)
		return 0;
	n = m->counts[number];
	m->counts[number] = 0;
	return n;
}

static void run(struct machine *machine)
{
	struct vmm_machine *m = CONTAINER(machine);
	bool any = true;

	if (m->own_threads && !m->run_more)
		usleep(50);
	for (int rounds = 0; any && !m->own_threads && m->device && rounds < 1000; rounds++) {
		any = false;
		for (unsigned int i = 0; i < vmm_virtio_n_queues(m->device); i++) {
			struct pollfd pollfd = {
				.fd = vmm_virtio_kick_fd(m->device, i),
				.events = POLLIN,
			};

			if (poll(&pollfd, 1, 0) == 1) {
				vmm_virtio_process(m->device, i);
				any = true;
			}
		}
	}
	if (m->run_more)
		m->run_more(m->userdata);
}

static const struct machine_ops ops = {
	.read = do_read,
	.write = do_write,
	.interrupts = interrupts,
	.run = run,
};

static int bind_doorbell(void *userdata, const struct vmm_virtio_doorbell *doorbell)
{
	struct vmm_machine *m = userdata;

	if (m->no_doorbells || m->n_doorbells == VMM_MACHINE_MAX_DOORBELLS)
		return -ENOSPC;
	m->doorbells[m->n_doorbells++] = *doorbell;
	return 0;
}

static void unbind_doorbell(void *userdata, const struct vmm_virtio_doorbell *doorbell)
{
	struct vmm_machine *m = userdata;

	for (unsigned int i = 0; i < m->n_doorbells; i++)
		if (m->doorbells[i].gpa == doorbell->gpa && m->doorbells[i].fd == doorbell->fd) {
			m->doorbells[i] = m->doorbells[--m->n_doorbells];
			return;
		}
	must(-ENOENT, "unbind of a doorbell that is not bound");
}

static const struct vmm_virtio_doorbell_ops doorbell_ops = {
	.bind = bind_doorbell,
	.unbind = unbind_doorbell,
};

static int set_route(
	void *userdata, unsigned int vector, int fd, const struct vmm_msi_message *message)
{
	struct vmm_machine *m = userdata;

	if (vector >= VMM_MACHINE_MAX_VECTORS)
		return -ENOSPC;
	m->vectors[vector].routed = message != NULL;
	m->vectors[vector].fd = fd;
	if (message)
		m->vectors[vector].message = *message;
	return 0;
}

static void release(void *userdata, unsigned int vector, int fd)
{
	struct vmm_machine *m = userdata;

	if (vector < VMM_MACHINE_MAX_VECTORS && m->vectors[vector].routed)
		must(-EBUSY, "a vector was released while it was routed");
}

static const struct vmm_msi_ops msi_ops = { .set_route = set_route, .release = release };

void vmm_machine_init(struct vmm_machine *m, uint64_t ram_bytes)
{
	const struct vmm_mem_config ram = { .gpa = 0, .size_bytes = ram_bytes };
	struct vmm_pci_bus_config pci = {
		.ecam_gpa = MACHINE_ECAM_GPA,
		.window32_gpa = 0xc0000000,
		.window32_bytes = 0x10000000,
		.window64_gpa = UINT64_C(1) << 36,
		.window64_bytes = UINT64_C(1) << 36,
	};

	*m = (struct vmm_machine){ .machine.ops = &ops, .irq_fd = -EBADF };
	must(vmm_mem_new(&m->mem), "memory");
	must(vmm_mem_add(m->mem, &ram), "memory");
	m->machine.ram = vmm_mem_pointer(m->mem, 0, ram_bytes, 1, true);
	m->machine.ram_bytes = ram_bytes;
	must(vmm_bus_new(&m->mmio), "bus");
	must(vmm_bus_new(&m->pio), "bus");
	pci.mmio = m->mmio;
	pci.pio = m->pio;
	must(vmm_pci_bus_new(&pci, &m->pci_bus), "pci");
	m->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	must(m->irq_fd < 0 ? -errno : 0, "eventfd");
}

void vmm_machine_attach(struct vmm_machine *m, struct vmm_virtio_device *device, bool pci)
{
	const struct vmm_virtio_pci_config pci_config = {
		.bus = m->pci_bus,
		.slot = VMM_MACHINE_SLOT,
		.msi = { &msi_ops, m },
		.doorbell_ops = &doorbell_ops,
		.userdata = m,
	};
	const struct vmm_virtio_mmio_config mmio_config = {
		.bus = m->mmio,
		.gpa = MACHINE_MMIO_GPA,
		.irq_fd = m->irq_fd,
		.doorbell_ops = &doorbell_ops,
		.userdata = m,
	};

	m->device = device;
	if (pci)
		must(vmm_virtio_pci_new(device, &pci_config, &m->pci_transport), "virtio-pci");
	else
		must(vmm_virtio_mmio_new(device, &mmio_config, &m->mmio_transport), "virtio-mmio");
}

void vmm_machine_detach(struct vmm_machine *m)
{
	m->pci_transport = vmm_virtio_pci_free(m->pci_transport);
	m->mmio_transport = vmm_virtio_mmio_free(m->mmio_transport);
	if (m->n_doorbells > 0)
		must(-EBUSY, "a doorbell is bound still");
	m->device = NULL;
}

void vmm_machine_finish(struct vmm_machine *m)
{
	vmm_machine_detach(m);
	vmm_pci_bus_free(m->pci_bus);
	vmm_bus_free(m->pio);
	vmm_bus_free(m->mmio);
	vmm_mem_free(m->mem);
	if (m->irq_fd >= 0)
		close(m->irq_fd);
	*m = (struct vmm_machine){ .irq_fd = -EBADF };
}

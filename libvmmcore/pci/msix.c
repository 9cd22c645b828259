/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * pci: MSI-X (PCI Local Bus 3.0, 6.8.2). A vector is an eventfd. While the vector is unmasked
 * somebody else (KVM, by an irqfd) takes signals off it and sends the message; while it is masked
 * the signal stays in the eventfd, and that is the pending bit.
 */
#include "pci/pci-internal.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
	ENTRY_ADDRESS_LOW,
	ENTRY_ADDRESS_HIGH,
	ENTRY_DATA,
	ENTRY_CONTROL,
};

/* The table in the lower half of the BAR, pending bits in the upper. */
static uint64_t half_bytes(unsigned int n_vectors)
{
	uint64_t half = 2048;

	while (half < (uint64_t)n_vectors * MSIX_ENTRY_BYTES)
		half *= 2;
	return half;
}

uint64_t pci_msix_bar_bytes(unsigned int n_vectors)
{
	return 2 * half_bytes(n_vectors);
}

int pci_msix_init(struct vmm_pci_function *function, const struct vmm_pci_function_config *config)
{
	struct msix *msix = &function->msix;
	uint8_t data[12] = { 0 }, writable[12] = { 0 };
	int r;

	msix->vectors = calloc(config->n_vectors, sizeof(msix->vectors[0]));
	if (!msix->vectors)
		return -ENOMEM;
	msix->n_vectors = config->n_vectors;
	msix->msi = config->msi;
	msix->pba_offset = (uint32_t)half_bytes(config->n_vectors);
	for (unsigned int i = 0; i < msix->n_vectors; i++)
		msix->vectors[i] = (struct msix_vector){
			.fd = -EBADF,
			.entry[ENTRY_CONTROL] = MSIX_VECTOR_MASK,
		};
	for (unsigned int i = 0; i < msix->n_vectors; i++) {
		msix->vectors[i].fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (msix->vectors[i].fd < 0)
			return -errno;
	}

	config_set16(data, MSIX_CONTROL, (uint16_t)(msix->n_vectors - 1));
	config_set16(writable, MSIX_CONTROL, MSIX_ENABLE | MSIX_FUNCTION_MASK);
	config_set32(data, 4, config->msix_bar);
	config_set32(data, 8, msix->pba_offset | config->msix_bar);
	r = vmm_pci_add_capability(function, CAP_MSIX, data, writable, sizeof(data));
	if (r < 0)
		return r;
	msix->capability = (unsigned int)r;
	return 0;
}

/* Tells where the vector leads now, if that has changed. With the MSI-X lock held. */
static void update_vector(struct msix *msix, unsigned int index)
{
	struct msix_vector *vector = &msix->vectors[index];
	const struct vmm_msi_message message = {
		.address = (uint64_t)vector->entry[ENTRY_ADDRESS_HIGH] << 32 |
			   vector->entry[ENTRY_ADDRESS_LOW],
		.data = vector->entry[ENTRY_DATA],
	};
	bool wanted = msix->enabled && !msix->masked &&
		      !(vector->entry[ENTRY_CONTROL] & MSIX_VECTOR_MASK);

	if (!msix->msi.ops)
		return;
	if (!wanted) {
		if (vector->routed)
			msix->msi.ops->set_route(msix->msi.userdata, index, vector->fd, NULL);
		vector->routed = false;
		return;
	}
	if (vector->routed && vector->message.address == message.address &&
		vector->message.data == message.data)
		return;
	/* Where the host has no route left the vector stays pending, and the next write retries. */
	vector->routed =
		msix->msi.ops->set_route(msix->msi.userdata, index, vector->fd, &message) >= 0;
	vector->message = message;
}

void pci_msix_finish(struct vmm_pci_function *function)
{
	struct msix *msix = &function->msix;

	pci_msix_reset(function);
	for (unsigned int i = 0; i < msix->n_vectors; i++) {
		int fd = msix->vectors[i].fd;

		if (fd >= 0 && msix->msi.ops && msix->msi.ops->release)
			msix->msi.ops->release(msix->msi.userdata, i, fd);
		vmm_base_close(fd);
	}
	free(msix->vectors);
	msix->vectors = NULL;
	msix->n_vectors = 0;
}

void pci_msix_control_changed(struct vmm_pci_function *function)
{
	struct msix *msix = &function->msix;
	uint16_t control = config_get16(function, msix->capability + MSIX_CONTROL);

	pthread_mutex_lock(&msix->lock);
	msix->enabled = control & MSIX_ENABLE;
	msix->masked = control & MSIX_FUNCTION_MASK;
	for (unsigned int i = 0; i < msix->n_vectors; i++)
		update_vector(msix, i);
	pthread_mutex_unlock(&msix->lock);
}

void pci_msix_reset(struct vmm_pci_function *function)
{
	struct msix *msix = &function->msix;

	if (msix->n_vectors == 0)
		return;
	config_set16(
		function->config, msix->capability + MSIX_CONTROL, (uint16_t)(msix->n_vectors - 1));
	pthread_mutex_lock(&msix->lock);
	for (unsigned int i = 0; i < msix->n_vectors; i++) {
		memset(msix->vectors[i].entry, 0, sizeof(msix->vectors[i].entry));
		msix->vectors[i].entry[ENTRY_CONTROL] = MSIX_VECTOR_MASK;
	}
	pthread_mutex_unlock(&msix->lock);
	pci_msix_control_changed(function);
}

int vmm_pci_msix_fd(const struct vmm_pci_function *function, unsigned int vector)
{
	/* Constant from the function's birth on: no lock. */
	if (vector >= function->msix.n_vectors)
		return -EBADF;
	return function->msix.vectors[vector].fd;
}

static uint32_t pending_bits(struct msix *msix, uint32_t first)
{
	uint32_t bits = 0;

	for (uint32_t i = 0; i < 32 && first + i < msix->n_vectors; i++) {
		const struct msix_vector *vector = &msix->vectors[first + i];
		struct pollfd pollfd = { .fd = vector->fd, .events = POLLIN };

		if (!vector->routed && poll(&pollfd, 1, 0) == 1)
			bits |= UINT32_C(1) << i;
	}
	return bits;
}

static uint32_t read_dword(struct msix *msix, uint64_t offset)
{
	uint64_t index = offset / MSIX_ENTRY_BYTES;

	if (index < msix->n_vectors)
		return msix->vectors[index].entry[offset % MSIX_ENTRY_BYTES / 4];
	if (offset >= msix->pba_offset && (offset - msix->pba_offset) * 8 < msix->n_vectors)
		return pending_bits(msix, (uint32_t)(offset - msix->pba_offset) * 8);
	return 0;
}

static bool is_aligned_access(uint64_t offset, size_t length)
{
	return (length == 4 || length == 8) && IS_ALIGNED(offset, length);
}

static void msix_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	struct vmm_pci_function *function = userdata;
	struct msix *msix = &function->msix;

	if (!is_aligned_access(offset, length))
		return;
	pthread_mutex_lock(&msix->lock);
	for (size_t i = 0; i < length; i += 4) {
		uint32_t value = read_dword(msix, offset + i);

		memcpy((uint8_t *)data + i, &value, sizeof(value));
	}
	pthread_mutex_unlock(&msix->lock);
}

static void msix_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	struct vmm_pci_function *function = userdata;
	struct msix *msix = &function->msix;
	uint64_t index = offset / MSIX_ENTRY_BYTES;

	if (!is_aligned_access(offset, length) || index >= msix->n_vectors)
		return;
	pthread_mutex_lock(&msix->lock);
	for (size_t i = 0; i < length; i += 4) {
		uint64_t field = (offset + i) % MSIX_ENTRY_BYTES / 4;
		uint32_t value;

		memcpy(&value, (const uint8_t *)data + i, sizeof(value));
		msix->vectors[index].entry[field] =
			field == ENTRY_CONTROL ? value & MSIX_VECTOR_MASK : value;
	}
	update_vector(msix, (unsigned int)index);
	pthread_mutex_unlock(&msix->lock);
}

const struct vmm_bus_ops pci_msix_bus_ops = { .read = msix_read, .write = msix_write };

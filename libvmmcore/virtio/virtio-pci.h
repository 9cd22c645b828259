/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-pci: the transport, and its common configuration block. */
#ifndef VMM_VIRTIO_PCI_H
#define VMM_VIRTIO_PCI_H

#include "virtio/virtio-internal.h"

/* Up to and including queue_reset (VIRTIO 1.2, 4.1.4.3). */
#define VIRTIO_PCI_COMMON_BYTES 0x3c

struct vmm_virtio_pci {
	struct vmm_virtio_device *device;                   /* borrowed */
	struct vmm_pci_function *function;                  /* owned */
	const struct vmm_virtio_doorbell_ops *doorbell_ops; /* borrowed, may be NULL */
	void *userdata;
	unsigned int slot;
	unsigned int window_cap; /* offset of the configuration access capability */
	bool attached;

	/* Control lock of the device. */
	bool mapped; /* BAR 0 */
	uint64_t gpa;
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint16_t queue_select;
	uint16_t config_vector;
};

/* With the control lock held. Accesses are aligned and of 1, 2, 4 or 8 bytes. */
void virtio_pci_common_read(
	struct vmm_virtio_pci *pci, unsigned int offset, void *data, size_t length);
void virtio_pci_common_write(
	struct vmm_virtio_pci *pci, unsigned int offset, const void *data, size_t length);
void virtio_pci_common_reset(struct vmm_virtio_pci *pci);

#endif

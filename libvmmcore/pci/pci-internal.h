/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * pci: the bridge, a function, and its MSI-X vectors. Locks: the bridge's, then a function's
 * MSI-X lock, which is a leaf but for the calls into vmm_msi_ops.
 */
#ifndef VMM_PCI_INTERNAL_H
#define VMM_PCI_INTERNAL_H

#include <pthread.h>

#include <vmmcore/pci.h>

#include "base/util.h"

/* Configuration space, type 0 (PCI Local Bus 3.0, 6.1). */
#define CONFIG_BYTES 256
#define PCI_VENDOR_ID 0x00
#define PCI_DEVICE_ID 0x02
#define PCI_COMMAND 0x04
#define PCI_STATUS 0x06
#define PCI_REVISION 0x08
#define PCI_CLASS 0x09
#define PCI_CACHE_LINE 0x0c
#define PCI_BAR0 0x10
#define PCI_SUBSYSTEM_VENDOR 0x2c
#define PCI_SUBSYSTEM 0x2e
#define PCI_CAPABILITIES 0x34
#define PCI_INTERRUPT_LINE 0x3c
#define PCI_FIRST_CAPABILITY 0x40

#define PCI_COMMAND_MEMORY 0x0002
#define PCI_COMMAND_MASTER 0x0004
#define PCI_COMMAND_INTX_OFF 0x0400
#define PCI_STATUS_CAPABILITIES 0x0010
#define PCI_BAR_64 0x4
#define PCI_BAR_PREFETCH 0x8
#define PCI_BAR_FLAGS 0xf

#define CAP_MSIX 0x11
#define MSIX_CONTROL 2 /* from the start of the capability */
#define MSIX_ENABLE 0x8000
#define MSIX_FUNCTION_MASK 0x4000
#define MSIX_ENTRY_BYTES 16
#define MSIX_VECTOR_MASK 1u

struct bar {
	struct vmm_pci_bar spec;
	bool mapped;
	uint64_t gpa; /* while mapped */
};

struct msix_vector {
	int fd;            /* owned */
	uint32_t entry[4]; /* address low, high, data, control */
	bool routed;
	struct vmm_msi_message message; /* while routed */
};

struct msix {
	pthread_mutex_t lock;
	unsigned int n_vectors;
	unsigned int capability; /* offset */
	uint32_t pba_offset;
	bool enabled;
	bool masked; /* the whole function */
	struct vmm_msi msi;
	struct msix_vector *vectors; /* owned */
};

struct vmm_pci_function {
	struct vmm_pci_bus *bus; /* NULL: on none */
	unsigned int slot;
	uint8_t config[CONFIG_BYTES];
	uint8_t writable[CONFIG_BYTES];
	unsigned int next_capability; /* where the next one goes */
	unsigned int last_capability; /* offset of the byte that links to the next one */
	struct bar bars[VMM_PCI_N_BARS];
	struct msix msix;
	const struct vmm_pci_ops *ops; /* never NULL */
	void *userdata;
};

struct vmm_pci_bus {
	struct vmm_pci_bus_config config;
	pthread_mutex_t lock;
	struct vmm_pci_function *slots[VMM_PCI_N_SLOTS]; /* borrowed, but for slot 0 */
	struct vmm_pci_function *host_bridge;            /* owned */
	uint32_t port_address;                           /* 0xcf8 */
	bool has_ports;
	bool has_ecam;
};

static inline uint16_t config_get16(const struct vmm_pci_function *function, unsigned int offset)
{
	return (uint16_t)(function->config[offset] | function->config[offset + 1] << 8);
}

static inline uint32_t config_get32(const struct vmm_pci_function *function, unsigned int offset)
{
	return (uint32_t)config_get16(function, offset) |
	       (uint32_t)config_get16(function, offset + 2) << 16;
}

static inline void config_set16(uint8_t *bytes, unsigned int offset, uint16_t value)
{
	bytes[offset] = (uint8_t)value;
	bytes[offset + 1] = (uint8_t)(value >> 8);
}

static inline void config_set32(uint8_t *bytes, unsigned int offset, uint32_t value)
{
	config_set16(bytes, offset, (uint16_t)value);
	config_set16(bytes, offset + 2, (uint16_t)(value >> 16));
}

/* function.c. With the bridge's lock held, but for pci_bar_address(). */
void pci_config_read(
	struct vmm_pci_function *function, unsigned int offset, void *data, unsigned int length);
void pci_config_write(struct vmm_pci_function *function, unsigned int offset, const void *data,
	unsigned int length);
uint64_t pci_bar_address(const struct vmm_pci_function *function, unsigned int bar);
void pci_bar_set_address(struct vmm_pci_function *function, unsigned int bar, uint64_t gpa);
/* Maps and unmaps what the registers say. Returns true where something was unmapped. */
bool pci_update_bars(struct vmm_pci_function *function);
void pci_unmap_bars(struct vmm_pci_function *function);

/* bus.c: maps BARs of any function that had to wait for another one to move. */
void pci_retry_bars(struct vmm_pci_bus *bus);
bool pci_in_window(const struct vmm_pci_bus *bus, uint64_t gpa, uint64_t size_bytes);

/* msix.c */
extern const struct vmm_bus_ops pci_msix_bus_ops;
uint64_t pci_msix_bar_bytes(unsigned int n_vectors);
int pci_msix_init(struct vmm_pci_function *function, const struct vmm_pci_function_config *config);
void pci_msix_finish(struct vmm_pci_function *function);
/* The capability's control word was written, or decoding of vectors has to start over. */
void pci_msix_control_changed(struct vmm_pci_function *function);
void pci_msix_reset(struct vmm_pci_function *function);

#endif

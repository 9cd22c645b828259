/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* spec-fill: a machine's configuration as the spec that its worker gets. */
#ifndef VMMD_SPEC_FILL_H
#define VMMD_SPEC_FILL_H

#include "machine.h"
#include "resources.h"

/* Listening ones. vsock_fd only counts where the machine has a vsock. */
struct spec_sockets {
	int control_fd;
	int vsock_fd;
};

/*
 * machine has a configuration, and result the descriptors for it. Writes spec and the
 * descriptors in the order that it numbers them by, from fds[1] on; all stay the caller's.
 * Returns their number, the spec's own place 0 included.
 */
size_t spec_fill(struct vmm_spec *spec, const struct machine *machine,
	const struct resources_result *result, const struct spec_sockets *sockets,
	int fds[VMM_HANDOVER_MAX_FDS]);

/* The machine's UUID; where this host has no id of its own, it stays as it is. */
void spec_fill_uuid(uint8_t uuid[16], const char *name);

/* One device, whose descriptor has that index. */
void spec_fill_drive(
	struct vmm_spec_drive *to, const struct config_drive *drive, uint32_t fd_index);
void spec_fill_network(struct vmm_spec_network *to, const char *machine,
	const struct config_network *network, uint32_t fd_index);

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * dropin: the texts of the drop-ins that bring a .vm file to its unit, vmm@NAME.service, and its
 * drives, shares and networks to theirs: vmm-drive@NAME:DRIVE.service, vmm-share@NAME:TAG.service
 * and vmm-network@NAME:NETWORK.service.
 *
 * Threads: no state; any thread.
 */
#ifndef VMM_GENERATOR_DROPIN_H
#define VMM_GENERATOR_DROPIN_H

#include <stdio.h>

#include "config.h"

/* What a drop-in is called in vmm@NAME.service.d. It sorts before what `systemctl edit` makes,
 * so that an administrator has the last word. */
#define DROPIN_NAME "10-vm-file.conf"

/*
 * Writes the drop-in of a .vm file to stream, whose error indicator the caller looks at.
 *
 * path: the .vm file, as it is called on the running system. config: what it says, NULL when it
 * cannot be used; the drop-in then names the file and what is wrong, and the start fails with the
 * same words when vmmd reads the file. n_root: so many bytes at the start of config's paths are
 * the directory that stands for the system's root.
 */
void dropin_write(FILE *stream, const char *path, const struct vm_config *config,
	const struct config_messages *messages, size_t n_root);

/* The same for a drive with Format= and a share with Path=: what its server gets to see. */
void dropin_write_drive(FILE *stream, const char *path, const struct config_drive *drive);
void dropin_write_share(FILE *stream, const char *path, const struct config_share *share);

/* The same for a network of machine with User=yes: who passt is, and the ports that it forwards. */
void dropin_write_network(
	FILE *stream, const char *path, const char *machine, const struct config_network *network);

#endif

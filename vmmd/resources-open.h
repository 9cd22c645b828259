/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * resources-open: what the files of the opening share. All of it runs in the child, and what fails
 * says so itself, by opener_refuse().
 */
#ifndef VMMD_RESOURCES_OPEN_H
#define VMMD_RESOURCES_OPEN_H

#include <sys/stat.h>

#include "resources.h"

struct opener {
	const struct vm_config *config;
	const struct resources_order *order;
	enum resources_mode mode;
	struct resources_result *result;
	char *text;
	size_t text_size;
	/* Links that were made, which do not end with what is closed when something fails. */
	int links[CONFIG_MAX_NETWORKS];
	size_t n_links;
};

/* What is wrong, after "FILE:LINE: KEY: ". Returns error. */
int opener_refuse(struct opener *opener, int error, const char *key, struct config_where where,
	const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The next descriptor of the result; *fd is taken. */
void opener_add_fd(struct opener *opener, int *fd);

/* "is a directory", and so on. */
const char *opener_file_type(mode_t mode);

/* Refuses path for what links_check() said of it, r. */
int opener_judge_links(
	struct opener *opener, const char *key, struct config_where where, const char *path, int r);

/* ---- resources-served.c: what another process serves ---- */

/* A connection to the socket at path; unit: whose socket it is, NULL where it is no unit of ours.
 */
int opener_connect(struct opener *opener, const char *key, struct config_where where,
	const char *path, const char *unit);

/* Those of units of ours: a drive with Format=, a share, a network with User=. */
int opener_take_image(struct opener *opener, const struct config_drive *drive);
int opener_take_share(struct opener *opener, const struct config_share *share);
int opener_take_user_network(struct opener *opener, const struct config_network *network);

#endif

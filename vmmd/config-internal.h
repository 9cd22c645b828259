/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config: what its files share. */
#ifndef VMMD_CONFIG_INTERNAL_H
#define VMMD_CONFIG_INTERNAL_H

#include <stdarg.h>

#include "config.h"

const struct config_section *config_section_find(const char *name);
const struct config_key *config_key_find(const struct config_section *section, const char *name);

/* A name of the table that text may have been meant for, NULL when none is near. */
const char *config_section_guess(const char *text);
const char *config_key_guess(const struct config_section *section, const char *text);

bool config_type_is_string(enum config_type type);

/* Members of a section's struct by their key. */
struct config_string *config_string_at(void *section, const struct config_key *key);
struct config_number *config_number_at(void *section, const struct config_key *key);
struct config_where *config_where_at(void *section, const struct config_key *key);

/*
 * Checks text against the key's type and limits. 0 and one of the results, -EBADMSG and
 * *ret_reason (the caller's) where the text is wrong, -ENOMEM.
 */
int config_value_parse(const struct config_key *key, const char *text, char **ret_string,
	uint64_t *ret_number, char **ret_reason);

bool config_text_is_utf8(const char *text, size_t size);

/* Sizes as people write them: "512M". buffer holds 32 bytes. */
const char *config_format_size(uint64_t bytes, char *buffer);

/* Adds one file's text to config. -EBADMSG only where nothing more can be read from it; other
 * errors of the text are messages. */
int config_parse_text(struct vm_config *config, unsigned file, const char *text, size_t size,
	struct config_messages *messages);

/* After the last file: defaults, what is missing, what contradicts. */
int config_complete(struct vm_config *config, struct config_messages *messages);

/* config_messages_add() with the arguments of format in a list. */
int config_messages_vadd(struct config_messages *messages, enum config_severity severity,
	const char *file, unsigned line, const char *key, const char *format, va_list ap)
	__attribute__((format(printf, 6, 0)));

/* What all checks of a whole configuration are given, and where they say what is wrong. A check
 * returns 0 also where it has found something; what it returns below 0 is -ENOMEM. */
struct config_checker {
	const struct vm_config *config;
	struct config_messages *messages;
};

/* Adds an error in what was written at where. key: "[Section] Key=", or "[Section]". */
int config_refuse(const struct config_checker *checker, struct config_where where, const char *key,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

/* config-backend.c: devices that somebody else serves. */
int config_check_backends(const struct config_checker *checker);

/* Refuses, with text, what only a disk that the machine serves itself can have. */
int config_check_engine_keys(
	const struct config_checker *checker, const struct config_drive *drive, const char *text);

/* config-network.c: of which kind a network is. */
int config_check_network_kind(
	const struct config_checker *checker, const struct config_network *network);

/* config-forward.c: Forward= of a network. */
int config_check_forwards(
	const struct config_checker *checker, const struct config_network *network);

/* A new, empty one. */
int config_new(const char *name, struct vm_config **ret);
int config_add_file(struct vm_config *config, const char *path);
void config_drive_finish(struct config_drive *drive);
void config_network_finish(struct config_network *network);
void config_share_finish(struct config_share *share);

#endif

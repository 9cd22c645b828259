/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config-fixture: what the tests of config share: messages as text, and a least text. */
#ifndef VMM_TESTS_CONFIG_FIXTURE_H
#define VMM_TESTS_CONFIG_FIXTURE_H

#include <string.h>

#include "base/util.h"
#include "config.h"
#include "unit.h"

/* What every text needs to be complete. */
#define BOOT "[Boot]\nKernel=/k\n"

/* A line each, "E " or "W " before it; the caller's. */
static inline char *messages_text(struct config_messages *messages)
{
	char *all = strdup("");

	for (size_t i = 0; i < messages->n_items; i++) {
		CLEANUP(free_p) char *line = NULL, *before = all;

		ck_assert_int_eq(config_message_format(&messages->items[i], &line), 0);
		ck_assert_int_ge(
			asprintf(&all, "%s%s%s\n", before,
				messages->items[i].severity == CONFIG_ERROR ? "E " : "W ", line),
			0);
	}
	return all;
}

static inline void config_free_p(struct vm_config **config)
{
	vm_config_free(*config);
}

/* config-files.c: the cases that read a tree of files. */
void config_files_add(Suite *suite);

#endif

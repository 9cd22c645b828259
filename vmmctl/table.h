/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * table: rows of text in columns, as systemctl prints them: a heading in capitals, underlined on a
 * terminal, columns as wide as their widest cell, "-" for an empty one, the last column cut to the
 * terminal's width unless all of it is asked for.
 */
#ifndef VMMCTL_TABLE_H
#define VMMCTL_TABLE_H

#include "ctl.h"

enum { TABLE_MAX_COLUMNS = 10 };

struct table {
	const char *const *headings; /* borrowed; n_columns of them */
	size_t n_columns;
	uint32_t right; /* bit set of columns that are aligned to the right */
	struct table_cell {
		char *text;        /* owned, escaped */
		const char *color; /* borrowed, "" for none */
	} * cells;                 /* owned; n_columns a row */
	size_t n_cells;
};

/* Cells are added from left to right, row after row. Control characters in text are escaped. */
void table_add(struct table *table, const char *color, const char *text);
void table_print(const struct table *table, const struct ctl *ctl, FILE *stream);
void table_finish(struct table *table);

/* Columns that text takes on a terminal. */
size_t text_width(const char *text);

#endif

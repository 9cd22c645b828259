/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* table: see table.h. */
#include <limits.h>
#include <string.h>
#include <wchar.h>

#include "base/util.h"
#include "table.h"
#include "value.h"

void table_add(struct table *table, const char *color, const char *text)
{
	char *escaped = NULL;
	size_t size;
	FILE *stream = must_alloc(open_memstream(&escaped, &size));

	print_escaped(stream, *text != '\0' ? text : "-");
	if (fclose(stream) != 0)
		must_alloc(NULL);
	table->cells =
		must_alloc(reallocarray(table->cells, table->n_cells + 1, sizeof(*table->cells)));
	table->cells[table->n_cells++] = (struct table_cell){ must_alloc(escaped), color };
}

void table_finish(struct table *table)
{
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cells[i].text);
	free(table->cells);
	table->cells = NULL;
	table->n_cells = 0;
}

/* One character: its size in bytes and its width in columns. */
static size_t next_character(const char *text, size_t *ret_width)
{
	mbstate_t state = {};
	wchar_t c;
	size_t size = mbrtowc(&c, text, MB_LEN_MAX, &state);
	int width;

	if (size == 0 || size > MB_LEN_MAX) {
		*ret_width = 1;
		return 1;
	}
	width = wcwidth(c);
	*ret_width = width < 0 ? 1 : (size_t)width;
	return size;
}

size_t text_width(const char *text)
{
	size_t sum = 0, width;

	while (*text != '\0') {
		text += next_character(text, &width);
		sum += width;
	}
	return sum;
}

/* Prints as much of text as fits into n columns, with dots where it is cut. */
static void print_cut(FILE *stream, const char *text, size_t n)
{
	size_t sum = 0, width, size;

	if (text_width(text) <= n) {
		fputs(text, stream);
		return;
	}
	while (*text != '\0') {
		size = next_character(text, &width);
		if (sum + width + 3 > n)
			break;
		fwrite(text, 1, size, stream);
		text += size;
		sum += width;
	}
	fputs("...", stream);
}

static void print_row(const struct table *table, const struct ctl *ctl, const size_t *widths,
	const struct table_cell *cells, FILE *stream)
{
	size_t limit = ctl->full ? 0 : ctl->columns, used = 0;

	for (size_t i = 0; i < table->n_columns; i++) {
		const char *color = ctl->colors ? cells[i].color : "";
		size_t padding = widths[i] - text_width(cells[i].text);
		bool last = i + 1 == table->n_columns;

		if (table->right & 1u << i)
			fprintf(stream, "%*s", (int)padding, "");
		fputs(color, stream);
		/* Room for a few words is wanted, or cutting is of no use. */
		if (last && limit > used + 8)
			print_cut(stream, cells[i].text, limit - used);
		else
			fputs(cells[i].text, stream);
		if (*color != '\0')
			fputs(COLOR_OFF, stream);
		if (!last && !(table->right & 1u << i))
			fprintf(stream, "%*s", (int)padding, "");
		if (!last)
			fputc(' ', stream);
		used += widths[i] + 1;
	}
	fputc('\n', stream);
}

void table_print(const struct table *table, const struct ctl *ctl, FILE *stream)
{
	size_t widths[TABLE_MAX_COLUMNS] = {};

	assert(table->n_columns <= TABLE_MAX_COLUMNS);
	assert(table->n_cells % table->n_columns == 0);
	for (size_t i = 0; i < table->n_columns; i++)
		widths[i] = ctl->legend ? text_width(table->headings[i]) : 0;
	for (size_t i = 0; i < table->n_cells; i++) {
		size_t column = i % table->n_columns;

		widths[column] = MAX(widths[column], text_width(table->cells[i].text));
	}
	if (ctl->legend) {
		struct table_cell headings[TABLE_MAX_COLUMNS];

		for (size_t i = 0; i < table->n_columns; i++)
			headings[i] =
				(struct table_cell){ (char *)table->headings[i], COLOR_UNDERLINE };
		print_row(table, ctl, widths, headings, stream);
	}
	for (size_t i = 0; i < table->n_cells; i += table->n_columns)
		print_row(table, ctl, widths, &table->cells[i], stream);
}

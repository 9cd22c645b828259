/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* introspect: enough of an XML reader for what D-Bus introspection uses. */
#include "introspect.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

struct tag {
	char name[32];
	char attributes[512]; /* as written */
	bool closing;
};

/* The next tag from *at on; comments, declarations and text are passed over. */
static bool next_tag(const char **at, struct tag *tag)
{
	for (;;) {
		const char *open = strchr(*at, '<'), *close;
		size_t n;

		if (!open)
			return false;
		if (strncmp(open, "<!--", 4) == 0) {
			close = strstr(open, "-->");
			if (!close)
				return false;
			*at = close + 3;
			continue;
		}
		close = strchr(open, '>');
		if (!close)
			return false;
		*at = close + 1;
		if (open[1] == '!' || open[1] == '?')
			continue;
		tag->closing = open[1] == '/';
		open += tag->closing ? 2 : 1;
		n = strcspn(open, " \t\n/>");
		snprintf(tag->name, sizeof(tag->name), "%.*s", (int)n, open);
		open += n;
		snprintf(tag->attributes, sizeof(tag->attributes), "%.*s",
			open < close ? (int)(close - open) : 0, open);
		return true;
	}
}

static void attribute(const struct tag *tag, const char *name, char *value, size_t size)
{
	char start[64];
	const char *at;

	snprintf(start, sizeof(start), " %s=\"", name);
	at = strstr(tag->attributes, start);
	value[0] = 0;
	if (at) {
		at += strlen(start);
		snprintf(value, size, "%.*s", (int)strcspn(at, "\""), at);
	}
}

static void write_tag(FILE *f, const struct tag *tag)
{
	static const char *const order[] = { "name", "type", "direction", "access", "value" };
	bool member = strcmp(tag->name, "arg") != 0 && strcmp(tag->name, "annotation") != 0;
	char value[256];

	fprintf(f, "%s%s", member ? "\n" : " / ", tag->name);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		attribute(tag, order[i], value, sizeof(value));
		/* An argument of a signal has no other direction. */
		if (value[0] && !(strcmp(order[i], "direction") == 0 && strcmp(value, "out") == 0))
			fprintf(f, " %s=%s", order[i], value);
	}
}

char *introspect_interface(const char *xml, const char *interface)
{
	char *text = NULL, name[256];
	bool inside = false;
	struct tag tag;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	while (next_tag(&xml, &tag)) {
		if (strcmp(tag.name, "interface") == 0) {
			attribute(&tag, "name", name, sizeof(name));
			inside = !tag.closing && strcmp(name, interface) == 0;
			if (inside)
				fprintf(f, "interface %s", name);
		} else if (inside && !tag.closing) {
			write_tag(f, &tag);
		}
	}
	fclose(f);
	if (size == 0) {
		free(text);
		return NULL;
	}
	return text;
}

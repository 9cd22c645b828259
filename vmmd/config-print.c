/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config: the table of keys as people read it, and make-man. */
#include <string.h>

#include "base/util.h"
#include "config-internal.h"

const char *config_type_name(enum config_type type)
{
	switch (type) {
	case CONFIG_TYPE_STRING:
		return "text";
	case CONFIG_TYPE_WORDS:
		return "words";
	case CONFIG_TYPE_PATH:
		return "absolute path";
	case CONFIG_TYPE_NAME:
		return "name";
	case CONFIG_TYPE_IFNAME:
		return "interface name";
	case CONFIG_TYPE_MAC:
		return "hardware address";
	case CONFIG_TYPE_NUMBER:
		return "number";
	case CONFIG_TYPE_SIZE:
		return "size";
	case CONFIG_TYPE_BOOL:
		return "yes or no";
	case CONFIG_TYPE_CHOICE:
		return "choice";
	}
	return "?";
}

static void print_key(FILE *stream, const struct config_key *key)
{
	char low[32], high[32];

	fprintf(stream, "%s= (%s", key->name, config_type_name(key->type));
	if (key->type == CONFIG_TYPE_NUMBER)
		fprintf(stream, ", %ju to %ju", (uintmax_t)key->minimum, (uintmax_t)key->maximum);
	if (key->type == CONFIG_TYPE_SIZE)
		fprintf(stream, ", %s to %s", config_format_size(key->minimum, low),
			config_format_size(key->maximum, high));
	for (size_t i = 0; key->choices && key->choices[i]; i++)
		fprintf(stream, "%s%s", i > 0 ? " | " : ": ", key->choices[i]);
	if (key->fallback)
		fprintf(stream, ", default %s", key->fallback);
	fprintf(stream, "%s)\n    %s\n", key->required ? ", required" : "", key->doc);
}

void config_keys_print(FILE *stream)
{
	size_t n;
	const struct config_section *sections = config_sections(&n);

	for (size_t i = 0; i < n; i++) {
		if (sections[i].n_keys > 0)
			fprintf(stream, "%s[%s]\n", i > 0 ? "\n" : "", sections[i].name);
		for (size_t j = 0; j < sections[i].n_keys; j++)
			print_key(stream, &sections[i].keys[j]);
	}
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config: a network is of one kind: what excludes what among the keys that say of which. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "config-internal.h"

__attribute__((format(printf, 5, 6))) static int say(const struct vm_config *config,
	struct config_messages *messages, const struct config_string *string, const char *key,
	const char *format, ...)
{
	char name[64], text[256];
	va_list ap;

	snprintf(name, sizeof(name), "[Network] %s=", key);
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	return config_messages_add(messages, CONFIG_ERROR,
		config->files[string->where.file < config->n_files ? string->where.file : 0],
		string->where.line, name, "%s", text);
}

int config_check_network_kind(const struct vm_config *config, const struct config_network *network,
	struct config_messages *messages)
{
	const struct {
		const char *key;
		const struct config_string *string;
	} kinds[] = {
		{ "Bridge", &network->bridge },
		{ "Zone", &network->zone },
		{ "MACVTap", &network->macvtap },
	};
	int r = 0;

	if (network->zone.value && strlen(network->zone.value) > CONFIG_MAX_ZONE)
		r = say(config, messages, &network->zone, "Zone",
			"\"%s\" is longer than %d characters", network->zone.value,
			CONFIG_MAX_ZONE);
	/* Bridge= with User= or Socket= is told where those are. */
	for (size_t i = 1; r >= 0 && i < ARRAY_SIZE(kinds); i++) {
		const struct config_string *string = kinds[i].string;

		if (!string->value)
			continue;
		for (size_t j = 0; r >= 0 && j < i; j++)
			if (kinds[j].string->value)
				r = say(config, messages, string, kinds[i].key,
					"excludes %s=", kinds[j].key);
		if (r >= 0 && network->user.value)
			r = say(config, messages, string, kinds[i].key, "excludes User=");
		if (r >= 0 && network->socket.value)
			r = say(config, messages, string, kinds[i].key, "excludes Socket=");
	}
	return r;
}

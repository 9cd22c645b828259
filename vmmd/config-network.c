/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config: a network is of one kind: what excludes what among the keys that say of which. */
#include "base/util.h"
#include "config-internal.h"

static int exclude(const struct vm_config *config, struct config_messages *messages,
	const struct config_string *string, const char *key, const char *other)
{
	char name[64];

	snprintf(name, sizeof(name), "[Network] %s=", key);
	return config_messages_add(messages, CONFIG_ERROR,
		config->files[string->where.file < config->n_files ? string->where.file : 0],
		string->where.line, name, "excludes %s=", other);
}

int config_check_network_kind(const struct vm_config *config, const struct config_network *network,
	struct config_messages *messages)
{
	const struct {
		const char *key;
		const struct config_string *string;
	} kinds[] = {
		{ "Bridge", &network->bridge },
		{ "MACVTap", &network->macvtap },
	};
	int r = 0;

	/* Bridge= with User= or Socket= is told where those are. */
	for (size_t i = 1; r >= 0 && i < ARRAY_SIZE(kinds); i++) {
		const struct config_string *string = kinds[i].string;

		if (!string->value)
			continue;
		for (size_t j = 0; r >= 0 && j < i; j++)
			if (kinds[j].string->value)
				r = exclude(config, messages, string, kinds[i].key, kinds[j].key);
		if (r >= 0 && network->user.value)
			r = exclude(config, messages, string, kinds[i].key, "User");
		if (r >= 0 && network->socket.value)
			r = exclude(config, messages, string, kinds[i].key, "Socket");
	}
	return r;
}

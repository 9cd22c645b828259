/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config: a network is of one kind: what excludes what among the keys that say of which. */
#include <string.h>

#include "base/util.h"
#include "config-internal.h"

int config_check_network_kind(
	const struct config_checker *checker, const struct config_network *network)
{
	const struct {
		const char *key;
		const struct config_string *string;
	} kinds[] = {
		{ "[Network] Bridge=", &network->bridge },
		{ "[Network] Zone=", &network->zone },
		{ "[Network] MACVTap=", &network->macvtap },
	};
	int r = 0;

	if (network->zone.value && strlen(network->zone.value) > CONFIG_MAX_ZONE)
		r = config_refuse(checker, network->zone.where,
			"[Network] Zone=", "\"%s\" is longer than %d characters",
			network->zone.value, CONFIG_MAX_ZONE);
	/* Bridge= with User= or Socket= is told where those are. */
	for (size_t i = 1; r >= 0 && i < ARRAY_SIZE(kinds); i++) {
		const struct config_string *string = kinds[i].string;

		if (!string->value)
			continue;
		for (size_t j = 0; r >= 0 && j < i; j++)
			if (kinds[j].string->value)
				r = config_refuse(checker, string->where, kinds[i].key,
					"excludes %s", strchr(kinds[j].key, ' ') + 1);
		if (r >= 0 && network->user.value)
			r = config_refuse(checker, string->where, kinds[i].key, "excludes User=");
		if (r >= 0 && network->socket.value)
			r = config_refuse(checker, string->where, kinds[i].key, "excludes Socket=");
	}
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* guest: the messages, see guest.h. */
#include <string.h>

#include "base/util.h"
#include "worker/guest.h"

/* Copies what is text; true when it is another one. */
static bool set_text(char *target, size_t size, const char *value, size_t n)
{
	char text[GUEST_NAME_SIZE] = "";

	n = MIN(n, size - 1);
	for (size_t i = 0; i < n; i++)
		text[i] = value[i] > ' ' && value[i] < 0x7f ? value[i] : '?';
	if (strncmp(target, text, size) == 0)
		return false;
	memcpy(target, text, size);
	return true;
}

static bool has_key(
	const char *line, size_t size, const char *key, const char **ret_value, size_t *ret_n)
{
	size_t n = strlen(key);

	if (size <= n || memcmp(line, key, n) != 0 || line[n] != '=')
		return false;
	*ret_value = line + n + 1;
	*ret_n = size - n - 1;
	return true;
}

bool guest_parse(struct guest_facts *facts, const char *data, size_t size)
{
	bool changed = false;

	while (size > 0) {
		const char *end = memchr(data, '\n', size), *value;
		size_t line = end ? (size_t)(end - data) : size, n;

		if (has_key(data, line, "READY", &value, &n) && n == 1 && *value == '1') {
			changed = changed || !facts->ready;
			facts->ready = true;
		} else if (has_key(data, line, "X_SYSTEMD_HOSTNAME", &value, &n)) {
			changed |= set_text(facts->hostname, sizeof(facts->hostname), value, n);
		} else if (has_key(data, line, "X_SYSTEMD_SHUTDOWN", &value, &n)) {
			changed |= set_text(facts->shutdown, sizeof(facts->shutdown), value, n);
		}
		size -= line + (end ? 1 : 0);
		data += line + (end ? 1 : 0);
	}
	return changed;
}

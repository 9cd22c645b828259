/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config: values: sizes, booleans, paths, names; each with the reason why it is refused. */
#include <inttypes.h>
#include <limits.h>
#include <net/if.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"
#include "config-internal.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

bool config_name_valid(const char *name)
{
	size_t n = strlen(name);

	if (n < 1 || n > CONFIG_MAX_NAME)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool inside = i > 0 && i + 1 < n;

		if (!is_lower(name[i]) && !is_digit(name[i]) && !(inside && name[i] == '-'))
			return false;
	}
	return true;
}

/* Decimal digits only; no sign, no blanks. Advances *text. */
static int parse_digits(const char **text, uint64_t *ret)
{
	const char *at = *text;
	uint64_t value = 0;

	if (!is_digit(*at))
		return -EINVAL;
	for (; is_digit(*at); at++)
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
			return -ERANGE;
	*text = at;
	*ret = value;
	return 0;
}

int config_parse_size(const char *text, uint64_t *ret_bytes)
{
	static const char suffixes[] = "KMGT";
	uint64_t value;
	int r = parse_digits(&text, &value);

	if (r < 0)
		return r;
	if (*text) {
		const char *suffix = strchr(suffixes, *text);

		if (!suffix || text[1])
			return -EINVAL;
		for (const char *s = suffixes; s <= suffix; s++)
			if (__builtin_mul_overflow(value, 1024, &value))
				return -ERANGE;
	}
	*ret_bytes = value;
	return 0;
}

const char *config_format_size(uint64_t bytes, char *buffer)
{
	static const char suffixes[] = "KMGT";
	char suffix[2] = "";

	for (const char *s = suffixes; *s && bytes > 0 && bytes % 1024 == 0; s++) {
		bytes /= 1024;
		suffix[0] = *s;
	}
	snprintf(buffer, 32, "%" PRIu64 "%s", bytes, suffix);
	return buffer;
}

int config_parse_bool(const char *text, bool *ret)
{
	static const char *const words[][2] = {
		{ "no", "yes" },
		{ "false", "true" },
		{ "off", "on" },
		{ "0", "1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		for (size_t j = 0; j < 2; j++)
			if (strcasecmp(text, words[i][j]) == 0) {
				*ret = j == 1;
				return 0;
			}
	return -EINVAL;
}

bool config_text_is_utf8(const char *text, size_t size)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t i = 0;

	while (i < size) {
		uint32_t code;
		unsigned n;

		if (s[i] < 0x80) {
			i++;
			continue;
		}
		if (s[i] >= 0xc2 && s[i] <= 0xdf) {
			n = 1;
			code = s[i] & 0x1f;
		} else if (s[i] >= 0xe0 && s[i] <= 0xef) {
			n = 2;
			code = s[i] & 0x0f;
		} else if (s[i] >= 0xf0 && s[i] <= 0xf4) {
			n = 3;
			code = s[i] & 0x07;
		} else {
			return false;
		}
		if (size - i <= n)
			return false;
		for (unsigned j = 1; j <= n; j++) {
			if ((s[i + j] & 0xc0) != 0x80)
				return false;
			code = code << 6 | (s[i + j] & 0x3f);
		}
		/* Overlong forms, surrogates, beyond Unicode. */
		if ((n == 2 && code < 0x800) || (n == 3 && code < 0x10000) || code > 0x10ffff ||
			(code >= 0xd800 && code <= 0xdfff))
			return false;
		i += n + 1;
	}
	return true;
}

__attribute__((format(printf, 2, 3))) static int refuse(char **ret_reason, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vasprintf(ret_reason, format, ap);
	va_end(ap);
	if (n < 0) {
		*ret_reason = NULL;
		return -ENOMEM;
	}
	return -EBADMSG;
}

/* Of values that are shown in a message: no more than this many bytes of them. */
#define SHOWN "%.64s"

static int check_path(const char *text, char **ret_reason)
{
	size_t n = strlen(text);

	if (text[0] != '/')
		return refuse(ret_reason, "\"" SHOWN "\" is not an absolute path", text);
	if (n >= PATH_MAX)
		return refuse(ret_reason, "the path is longer than %d bytes", PATH_MAX - 1);
	if (n > 1 && text[n - 1] == '/')
		return refuse(ret_reason, "\"" SHOWN "\" names a directory", text);
	for (const char *at = text; at; at = strchr(at + 1, '/')) {
		size_t part = strcspn(at + 1, "/");

		if ((part == 1 && at[1] == '.') || (part == 2 && at[1] == '.' && at[2] == '.'))
			return refuse(ret_reason, "\"" SHOWN "\" has . or .. in it", text);
	}
	return 0;
}

/* 20 bytes: what a virtio block device has for its identifier. */
static int check_name(const char *text, char **ret_reason)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		if (!is_lower(text[i]) && !is_digit(text[i]) &&
			(i == 0 || (text[i] != '-' && text[i] != '_')))
			return refuse(ret_reason,
				"\"" SHOWN
				"\" is not a name: a-z, 0-9, and after the first - and _",
				text);
	if (n > 20)
		return refuse(ret_reason, "\"" SHOWN "\" is longer than 20 characters", text);
	return 0;
}

static int check_ifname(const char *text, char **ret_reason)
{
	if (strlen(text) >= IFNAMSIZ || strpbrk(text, "/: \t") || strcmp(text, ".") == 0 ||
		strcmp(text, "..") == 0)
		return refuse(ret_reason, "\"" SHOWN "\" is not a network interface's name", text);
	return 0;
}

static int check_mac(const char *text, char **ret_reason)
{
	unsigned byte[6];
	int n = -1;

	if (strlen(text) != 17 ||
		sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &byte[0], &byte[1], &byte[2], &byte[3],
			&byte[4], &byte[5], &n) != 6 ||
		n != 17 || strspn(text, "0123456789abcdefABCDEF:") != 17)
		return refuse(ret_reason,
			"\"" SHOWN "\" is not an address of the form 52:54:00:12:34:56", text);
	if (byte[0] & 1)
		return refuse(ret_reason, "\"" SHOWN "\" is a group address", text);
	if (!(byte[0] | byte[1] | byte[2] | byte[3] | byte[4] | byte[5]))
		return refuse(ret_reason, "\"" SHOWN "\" is all zeroes", text);
	return 0;
}

static int check_limits(
	const struct config_key *key, const char *text, uint64_t value, char **ret_reason)
{
	char limit[32];

	if (key->type == CONFIG_TYPE_SIZE) {
		if (value < key->minimum)
			return refuse(ret_reason, "\"" SHOWN "\" is too little: at least %s", text,
				config_format_size(key->minimum, limit));
		if (value > key->maximum)
			return refuse(ret_reason, "\"" SHOWN "\" is too much: at most %s", text,
				config_format_size(key->maximum, limit));
		if (key->multiple && value % key->multiple != 0)
			return refuse(ret_reason, "\"" SHOWN "\" is not a multiple of %s", text,
				config_format_size(key->multiple, limit));
		return 0;
	}
	if (value < key->minimum || value > key->maximum)
		return refuse(ret_reason, "\"" SHOWN "\" is not between %" PRIu64 " and %" PRIu64,
			text, key->minimum, key->maximum);
	return 0;
}

static int parse_choice(
	const struct config_key *key, const char *text, uint64_t *ret_number, char **ret_reason)
{
	char list[128] = "";
	size_t n = 0;

	for (size_t i = 0; key->choices[i]; i++) {
		if (strcmp(key->choices[i], text) == 0) {
			*ret_number = i;
			return 0;
		}
		n += (size_t)snprintf(
			list + n, sizeof(list) - n, "%s%s", n > 0 ? ", " : "", key->choices[i]);
		assert(n < sizeof(list));
	}
	return refuse(ret_reason, "\"" SHOWN "\" is none of %s", text, list);
}

static int parse_number(
	const struct config_key *key, const char *text, uint64_t *ret_number, char **ret_reason)
{
	const char *at = text;
	bool yes;
	int r;

	switch (key->type) {
	case CONFIG_TYPE_BOOL:
		if (config_parse_bool(text, &yes) < 0)
			return refuse(ret_reason, "\"" SHOWN "\" is neither yes nor no", text);
		*ret_number = yes;
		return 0;
	case CONFIG_TYPE_CHOICE:
		return parse_choice(key, text, ret_number, ret_reason);
	case CONFIG_TYPE_SIZE:
		r = config_parse_size(text, ret_number);
		if (r == -EINVAL)
			return refuse(ret_reason,
				"\"" SHOWN "\" is not a size: a number, then K, M, G, T or nothing",
				text);
		break;
	default:
		r = parse_digits(&at, ret_number);
		if (r == 0 && *at)
			r = -EINVAL;
		if (r == -EINVAL)
			return refuse(ret_reason, "\"" SHOWN "\" is not a number", text);
		break;
	}
	if (r == -ERANGE)
		return refuse(ret_reason, "\"" SHOWN "\" does not fit into 64 bits", text);
	return check_limits(key, text, *ret_number, ret_reason);
}

int config_value_parse(const struct config_key *key, const char *text, char **ret_string,
	uint64_t *ret_number, char **ret_reason)
{
	int r = 0;

	if (!config_type_is_string(key->type))
		return parse_number(key, text, ret_number, ret_reason);

	if (strlen(text) > CONFIG_MAX_VALUE_BYTES)
		return refuse(
			ret_reason, "the value is longer than %d bytes", CONFIG_MAX_VALUE_BYTES);
	if (key->type == CONFIG_TYPE_PATH)
		r = check_path(text, ret_reason);
	else if (key->type == CONFIG_TYPE_NAME)
		r = check_name(text, ret_reason);
	else if (key->type == CONFIG_TYPE_IFNAME)
		r = check_ifname(text, ret_reason);
	else if (key->type == CONFIG_TYPE_MAC)
		r = check_mac(text, ret_reason);
	if (r < 0)
		return r;
	*ret_string = strdup(text);
	return *ret_string ? 0 : -ENOMEM;
}

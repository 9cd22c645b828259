/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config: what is found in the table of sections and keys, and what may have been meant by a name
 * that is not. */
#include <string.h>

#include "base/util.h"
#include "config-internal.h"

bool config_drive_has_unit(const struct config_drive *drive)
{
	return drive->path.value && drive->format.value != CONFIG_FORMAT_RAW;
}

bool config_share_has_unit(const struct config_share *share)
{
	return share->path.value;
}

const struct config_section *config_section_find(const char *name)
{
	size_t n;
	const struct config_section *sections = config_sections(&n);

	for (size_t i = 0; i < n; i++)
		if (strcmp(sections[i].name, name) == 0)
			return &sections[i];
	return NULL;
}

const struct config_key *config_key_find(const struct config_section *section, const char *name)
{
	for (size_t i = 0; i < section->n_keys; i++)
		if (strcmp(section->keys[i].name, name) == 0)
			return &section->keys[i];
	return NULL;
}

enum {
	GUESS_MAX_LENGTH = 32,
};

static unsigned char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c - 'A' + 'a') : (unsigned char)c;
}

/* Edit distance without regard to case; GUESS_MAX_LENGTH for what is too long to be meant. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[GUESS_MAX_LENGTH + 1];
	size_t n_a = strlen(a), n_b = strlen(b);

	if (n_a > GUESS_MAX_LENGTH || n_b > GUESS_MAX_LENGTH)
		return GUESS_MAX_LENGTH;
	for (size_t j = 0; j <= n_b; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= n_a; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= n_b; j++) {
			unsigned above = row[j];
			unsigned same = lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1;
			unsigned one_more = MIN(above, row[j - 1]) + 1;

			row[j] = MIN(one_more, diagonal + same);
			diagonal = above;
		}
	}
	return row[n_b];
}

/* A guess is better than none when at most a third of it, and one letter always, is wrong. */
static bool better(const char *text, const char *candidate, unsigned *best)
{
	unsigned d = distance(text, candidate);

	if (d >= *best || d > MAX(1u, (unsigned)strlen(candidate) / 3))
		return false;
	*best = d;
	return true;
}

const char *config_section_guess(const char *text)
{
	unsigned best = GUESS_MAX_LENGTH;
	const char *guess = NULL;
	size_t n;
	const struct config_section *sections = config_sections(&n);

	for (size_t i = 0; i < n; i++)
		if (better(text, sections[i].name, &best))
			guess = sections[i].name;
	return guess;
}

const char *config_key_guess(const struct config_section *section, const char *text)
{
	unsigned best = GUESS_MAX_LENGTH;
	const char *guess = NULL;

	for (size_t i = 0; i < section->n_keys; i++)
		if (better(text, section->keys[i].name, &best))
			guess = section->keys[i].name;
	return guess;
}

bool config_type_is_string(enum config_type type)
{
	switch (type) {
	case CONFIG_TYPE_STRING:
	case CONFIG_TYPE_WORDS:
	case CONFIG_TYPE_PATH:
	case CONFIG_TYPE_NAME:
	case CONFIG_TYPE_IFNAME:
	case CONFIG_TYPE_MAC:
		return true;
	case CONFIG_TYPE_NUMBER:
	case CONFIG_TYPE_SIZE:
	case CONFIG_TYPE_BOOL:
	case CONFIG_TYPE_CHOICE:
		return false;
	}
	return false;
}

struct config_string *config_string_at(void *section, const struct config_key *key)
{
	assert(config_type_is_string(key->type));
	return (void *)((char *)section + key->offset);
}

struct config_number *config_number_at(void *section, const struct config_key *key)
{
	assert(!config_type_is_string(key->type));
	return (void *)((char *)section + key->offset);
}

struct config_where *config_where_at(void *section, const struct config_key *key)
{
	return config_type_is_string(key->type) ? &config_string_at(section, key)->where
						: &config_number_at(section, key)->where;
}

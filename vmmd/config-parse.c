/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * config: the text of one file into struct vm_config. Lines, continuations, sections,
 * assignments. A repeated section is read into a scratch object and joins the configuration
 * when it ends.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/util.h"
#include "config-internal.h"

struct parser {
	struct vm_config *config;         /* borrowed */
	struct config_messages *messages; /* borrowed */
	const char *path;
	unsigned file;
	unsigned line; /* of the first part of the line in hand */
	unsigned n_sections;
	const struct config_section *section; /* NULL: none yet, or an unknown one */
	bool skip;                            /* in an unknown section */
	struct config_drive drive;            /* the repeated section in hand */
	struct config_network network;
	struct config_share share;
};

__attribute__((format(printf, 4, 5))) static int say(struct parser *parser,
	enum config_severity severity, const char *key, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = config_messages_vadd(
		parser->messages, severity, parser->path, parser->line, key, format, ap);
	va_end(ap);
	return r;
}

/* "[Section] Key=", cut where a file has absurd names. */
struct label {
	char text[96];
};

static struct label label(const char *section, const char *key)
{
	struct label l;

	if (key)
		snprintf(l.text, sizeof(l.text), "[%.40s] %.40s=", section, key);
	else
		snprintf(l.text, sizeof(l.text), "[%.40s]", section);
	return l;
}

static bool is_section(const struct parser *parser, const char *name)
{
	return strcmp(parser->section->name, name) == 0;
}

/* The struct that the section's keys are members of. */
static void *section_target(struct parser *parser)
{
	if (!parser->section->repeated)
		return (char *)parser->config + parser->section->offset;
	if (is_section(parser, "Drive"))
		return &parser->drive;
	return is_section(parser, "Network") ? (void *)&parser->network : (void *)&parser->share;
}

/* Moves what the section in hand has set over what an earlier file gave. */
static void take_set(const struct config_section *section, void *from, void *to)
{
	for (size_t i = 0; i < section->n_keys; i++) {
		const struct config_key *key = &section->keys[i];

		if (config_where_at(from, key)->line == 0)
			continue;
		if (config_type_is_string(key->type)) {
			struct config_string *target = config_string_at(to, key);

			free(target->value);
			*target = TAKE(*config_string_at(from, key), (struct config_string){});
		} else {
			*config_number_at(to, key) = *config_number_at(from, key);
		}
	}
}

static int too_many(struct parser *parser, const char *section, unsigned line, int limit)
{
	return config_messages_add(parser->messages, CONFIG_ERROR, parser->path, line,
		label(section, NULL).text, "more than %d of these sections", limit);
}

static int duplicate(
	struct parser *parser, const char *section, unsigned line, const char *name, unsigned first)
{
	return config_messages_add(parser->messages, CONFIG_ERROR, parser->path, line,
		label(section, strcmp(section, "Share") == 0 ? "Tag" : "Name").text,
		"\"%s\" is already the name of the one in line %u", name, first);
}

static int end_drive(struct parser *parser)
{
	struct vm_config *config = parser->config;
	struct config_drive *drive = &parser->drive, *drives;

	for (size_t i = 0; drive->name.value && i < config->n_drives; i++) {
		struct config_drive *other = &config->drives[i];

		if (!other->name.value || strcmp(other->name.value, drive->name.value) != 0)
			continue;
		if (other->where.file == parser->file)
			return duplicate(parser, "Drive", drive->name.where.line, drive->name.value,
				other->where.line);
		take_set(parser->section, drive, other);
		return 0;
	}
	if (config->n_drives >= CONFIG_MAX_DRIVES)
		return too_many(parser, "Drive", drive->where.line, CONFIG_MAX_DRIVES);
	drives = reallocarray(config->drives, config->n_drives + 1, sizeof(*drives));
	if (!drives)
		return -ENOMEM;
	config->drives = drives;
	drives[config->n_drives++] = TAKE(*drive, (struct config_drive){});
	return 0;
}

static int end_network(struct parser *parser)
{
	struct vm_config *config = parser->config;
	struct config_network *network = &parser->network, *networks;

	for (size_t i = 0; network->name.value && i < config->n_networks; i++) {
		struct config_network *other = &config->networks[i];

		if (!other->name.value || strcmp(other->name.value, network->name.value) != 0)
			continue;
		if (other->where.file == parser->file)
			return duplicate(parser, "Network", network->name.where.line,
				network->name.value, other->where.line);
		take_set(parser->section, network, other);
		return 0;
	}
	if (config->n_networks >= CONFIG_MAX_NETWORKS)
		return too_many(parser, "Network", network->where.line, CONFIG_MAX_NETWORKS);
	networks = reallocarray(config->networks, config->n_networks + 1, sizeof(*networks));
	if (!networks)
		return -ENOMEM;
	config->networks = networks;
	networks[config->n_networks++] = TAKE(*network, (struct config_network){});
	return 0;
}

static int end_share(struct parser *parser)
{
	struct vm_config *config = parser->config;
	struct config_share *share = &parser->share, *shares;

	for (size_t i = 0; share->tag.value && i < config->n_shares; i++) {
		struct config_share *other = &config->shares[i];

		if (!other->tag.value || strcmp(other->tag.value, share->tag.value) != 0)
			continue;
		if (other->where.file == parser->file)
			return duplicate(parser, "Share", share->tag.where.line, share->tag.value,
				other->where.line);
		take_set(parser->section, share, other);
		return 0;
	}
	if (config->n_shares >= CONFIG_MAX_SHARES)
		return too_many(parser, "Share", share->where.line, CONFIG_MAX_SHARES);
	shares = reallocarray(config->shares, config->n_shares + 1, sizeof(*shares));
	if (!shares)
		return -ENOMEM;
	config->shares = shares;
	shares[config->n_shares++] = TAKE(*share, (struct config_share){});
	return 0;
}

static int end_section(struct parser *parser)
{
	int r = 0;

	if (parser->section && parser->section->repeated) {
		if (is_section(parser, "Drive"))
			r = end_drive(parser);
		else if (is_section(parser, "Network"))
			r = end_network(parser);
		else
			r = end_share(parser);
		config_drive_finish(&parser->drive);
		config_network_finish(&parser->network);
		config_share_finish(&parser->share);
	}
	parser->section = NULL;
	return r;
}

static int begin_section(struct parser *parser, char *line)
{
	struct config_where where = { parser->file, parser->line };
	const char *guess;
	size_t n = strlen(line);
	int r;

	r = end_section(parser);
	if (r < 0)
		return r;
	parser->skip = true;
	if (line[n - 1] != ']' || n < 3)
		return say(
			parser, CONFIG_ERROR, "", "a line that begins with [ must be a [Section]");
	line[n - 1] = 0;
	line++;
	if (++parser->n_sections > CONFIG_MAX_SECTIONS) {
		r = say(parser, CONFIG_ERROR, "", "more than %d sections", CONFIG_MAX_SECTIONS);
		return r < 0 ? r : -EBADMSG;
	}
	parser->section = config_section_find(line);
	if (!parser->section) {
		/* X- is free for notes of other programs. */
		if (strncmp(line, "X-", 2) == 0)
			return 0;
		guess = config_section_guess(line);
		return say(parser, CONFIG_WARNING, label(line, NULL).text,
			guess ? "unknown section, ignored; did you mean [%s]?"
			      : "unknown section, ignored",
			guess);
	}
	parser->skip = false;
	parser->drive.where = where;
	parser->network.where = where;
	parser->share.where = where;
	return 0;
}

/* Another line of [Unit], [Service] or [Install]. */
static int pass_line(struct parser *parser, const char *line)
{
	struct vm_config *config = parser->config;
	struct config_pass *pass = &config->pass[parser->section->pass];
	struct config_line *lines, added = { .where = { parser->file, parser->line } };
	size_t total = 0;

	for (size_t i = 0; i < CONFIG_N_PASS_SECTIONS; i++)
		total += config->pass[i].n_lines;
	if (total >= CONFIG_MAX_LINES)
		return say(parser, CONFIG_ERROR, label(parser->section->name, NULL).text,
			"more than %d lines in [Unit], [Service] and [Install] together",
			CONFIG_MAX_LINES);
	added.text = strdup(line);
	if (!added.text)
		return -ENOMEM;
	lines = reallocarray(pass->lines, pass->n_lines + 1, sizeof(*lines));
	if (!lines) {
		free(added.text);
		return -ENOMEM;
	}
	pass->lines = lines;
	lines[pass->n_lines++] = added;
	return 0;
}

/* Several CommandLine= are one, with blanks between. */
static int join_words(struct config_string *target, char *value)
{
	CLEANUP(free_p) char *added = value;
	char *joined;

	if (!target->value) {
		target->value = TAKE_PTR(added);
		return 0;
	}
	if (asprintf(&joined, "%s %s", target->value, added) < 0)
		return -ENOMEM;
	free(target->value);
	target->value = joined;
	return 0;
}

static int set_value(struct parser *parser, const struct config_key *key, const char *text)
{
	struct label name = label(parser->section->name, key->name);
	void *target = section_target(parser);
	struct config_where *where = config_where_at(target, key);
	CLEANUP(free_p) char *reason = NULL;
	char *string = NULL;
	uint64_t number = 0;
	int r;

	if (key->type != CONFIG_TYPE_WORDS && where->line > 0 && where->file == parser->file) {
		r = say(parser, CONFIG_WARNING, name.text, "given again; line %u no longer counts",
			where->line);
		if (r < 0)
			return r;
	}
	/* An empty value takes back what was set before; a default, if there is one, steps in. */
	if (!*text && !config_type_is_string(key->type) && key->fallback)
		text = key->fallback;
	if (*text) {
		r = config_value_parse(key, text, &string, &number, &reason);
		if (r == -EBADMSG)
			return say(parser, CONFIG_ERROR, name.text, "%s", reason);
		if (r < 0)
			return r;
	}
	*where = (struct config_where){ parser->file, parser->line };
	if (!config_type_is_string(key->type)) {
		config_number_at(target, key)->value = number;
		return 0;
	}
	if (key->type == CONFIG_TYPE_WORDS && string)
		return join_words(config_string_at(target, key), string);
	free(config_string_at(target, key)->value);
	config_string_at(target, key)->value = string;
	return 0;
}

static char *strip(char *text)
{
	size_t n;

	text += strspn(text, " \t");
	n = strlen(text);
	while (n > 0 && strchr(" \t\r", text[n - 1]))
		text[--n] = 0;
	return text;
}

static int assignment(struct parser *parser, char *line)
{
	const struct config_key *key;
	const char *guess;
	char *equals, *name, *value;

	if (parser->skip)
		return 0;
	if (!parser->section)
		return say(parser, CONFIG_ERROR, "", "before the first [Section]");
	equals = strchr(line, '=');
	if (!equals || equals == line)
		return say(parser, CONFIG_ERROR, label(parser->section->name, NULL).text,
			"\"%.64s\" is not of the form Key=Value", line);
	if (parser->section->pass != CONFIG_N_PASS_SECTIONS)
		return pass_line(parser, line);
	*equals = 0;
	name = strip(line);
	value = strip(equals + 1);
	key = config_key_find(parser->section, name);
	if (key)
		return set_value(parser, key, value);
	if (strncmp(name, "X-", 2) == 0)
		return 0;
	guess = config_key_guess(parser->section, name);
	return say(parser, CONFIG_WARNING, label(parser->section->name, name).text,
		guess ? "unknown key, ignored; did you mean %s=?" : "unknown key, ignored", guess);
}

static int logical_line(struct parser *parser, char *line)
{
	line = strip(line);
	if (!*line)
		return 0;
	return *line == '[' ? begin_section(parser, line) : assignment(parser, line);
}

/* A fault for which nothing of the file is used. */
static int give_up(struct parser *parser, const char *reason)
{
	int r = say(parser, CONFIG_ERROR, "", "%s", reason);

	return r < 0 ? r : -EBADMSG;
}

static int check_bytes(struct parser *parser, const char *line, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)line[i];

		if (c == 0)
			return give_up(parser, "a NUL byte: this is not a text file");
		if (c == 0x7f || (c < 0x20 && c != '\t' && !(c == '\r' && i + 1 == size)))
			return give_up(parser, "a control character: this is not a text file");
	}
	if (!config_text_is_utf8(line, size))
		return give_up(parser, "not UTF-8");
	return 0;
}

static int parse_lines(struct parser *parser, const char *text, size_t size)
{
	CLEANUP(free_p) char *joined = malloc(CONFIG_MAX_LINE_BYTES + 1);
	size_t n_joined = 0;
	unsigned line = 0;
	bool more = false;
	int r;

	if (!joined)
		return -ENOMEM;
	/* A byte order mark is no text. */
	if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3;
		size -= 3;
	}
	while (size > 0) {
		const char *end = memchr(text, '\n', size);
		size_t n = end ? (size_t)(end - text) : size, used = n, blank = 0;

		line++;
		if (!more)
			parser->line = line;
		r = check_bytes(parser, text, n);
		if (r < 0)
			return r;
		while (used > 0 && strchr(" \t\r", text[used - 1]))
			used--;
		/* The text ends without a NUL. */
		while (blank < used && (text[blank] == ' ' || text[blank] == '\t'))
			blank++;
		if (blank < used && (text[blank] == '#' || text[blank] == ';')) {
			/* A comment, which does not end a continued line. */
		} else {
			more = used > 0 && text[used - 1] == '\\';
			if (more)
				used--;
			if (used + 1 > CONFIG_MAX_LINE_BYTES - n_joined)
				return give_up(parser, "a line that is too long");
			memcpy(joined + n_joined, text, used);
			n_joined += used;
			joined[n_joined] = 0;
			if (more) {
				joined[n_joined++] = ' ';
			} else {
				n_joined = 0;
				r = logical_line(parser, joined);
				if (r < 0)
					return r;
			}
		}
		text += end ? n + 1 : n;
		size -= end ? n + 1 : n;
	}
	if (more) {
		joined[n_joined] = 0;
		return logical_line(parser, joined);
	}
	return 0;
}

int config_parse_text(struct vm_config *config, unsigned file, const char *text, size_t size,
	struct config_messages *messages)
{
	struct parser parser = {
		.config = config,
		.messages = messages,
		.path = config->files[file],
		.file = file,
	};
	int r, end;

	r = parse_lines(&parser, text, size);
	end = end_section(&parser);
	return r < 0 ? r : end;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* value: see value.h. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/util.h"
#include "value.h"

/* More than the bus itself lets a message nest. */
enum { VALUE_MAX_DEPTH = 70 };

void *must_alloc(void *pointer)
{
	if (!pointer) {
		fputs("vmmctl: out of memory\n", stderr);
		exit(EXIT_FAILURE);
	}
	return pointer;
}

char *must_strdup(const char *string)
{
	return must_alloc(strdup(string));
}

char *must_printf(const char *format, ...)
{
	va_list args;
	char *text;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	return must_alloc(n < 0 ? NULL : text);
}

void print_escaped(FILE *stream, const char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = *text;

		if (c < 0x20 || c == 0x7f)
			fprintf(stream, "\\x%02x", c);
		else
			fputc(c, stream);
	}
}

void value_finish(struct value *value)
{
	if (value->type == VALUE_STRING)
		free(value->string);
	for (size_t i = 0; i < value->n_items; i++) {
		value_finish(&value->items[i]);
		if (value->keys)
			free(value->keys[i]);
	}
	free(value->items);
	free(value->keys);
	*value = (struct value){};
}

struct value value_string(const char *string)
{
	return (struct value){ .type = VALUE_STRING, .string = must_strdup(string) };
}

struct value value_unsigned(uint64_t number)
{
	return (struct value){ .type = VALUE_UNSIGNED, .unsigned_number = number };
}

struct value value_bool(bool boolean)
{
	return (struct value){ .type = VALUE_BOOL, .boolean = boolean };
}

struct value value_array(void)
{
	return (struct value){ .type = VALUE_ARRAY };
}

struct value value_object(void)
{
	return (struct value){ .type = VALUE_OBJECT };
}

struct value value_copy(const struct value *value)
{
	struct value copy = *value;

	if (value->type == VALUE_STRING)
		copy.string = must_strdup(value->string);
	copy.items = NULL;
	copy.keys = NULL;
	copy.n_items = 0;
	for (size_t i = 0; i < value->n_items; i++) {
		if (value->type == VALUE_OBJECT)
			value_set(&copy, value->keys[i], value_copy(&value->items[i]));
		else
			value_append(&copy, value_copy(&value->items[i]));
	}
	return copy;
}

struct value *value_append(struct value *array, struct value item)
{
	assert(array->type == VALUE_ARRAY || array->type == VALUE_OBJECT);
	array->items =
		must_alloc(reallocarray(array->items, array->n_items + 1, sizeof(*array->items)));
	array->items[array->n_items] = item;
	return &array->items[array->n_items++];
}

struct value *value_set(struct value *object, const char *key, struct value item)
{
	assert(object->type == VALUE_OBJECT);
	for (size_t i = 0; i < object->n_items; i++) {
		if (strcmp(object->keys[i], key) == 0) {
			value_finish(&object->items[i]);
			object->items[i] = item;
			return &object->items[i];
		}
	}
	object->keys =
		must_alloc(reallocarray(object->keys, object->n_items + 1, sizeof(*object->keys)));
	object->keys[object->n_items] = must_strdup(key);
	return value_append(object, item);
}

const struct value *value_get(const struct value *object, const char *key)
{
	if (object->type != VALUE_OBJECT)
		return NULL;
	for (size_t i = 0; i < object->n_items; i++) {
		if (strcmp(object->keys[i], key) == 0)
			return &object->items[i];
	}
	return NULL;
}

const char *value_get_string(const struct value *object, const char *key)
{
	const struct value *value = value_get(object, key);

	return value && value->type == VALUE_STRING ? value->string : "";
}

uint64_t value_get_unsigned(const struct value *object, const char *key)
{
	const struct value *value = value_get(object, key);

	return value && value->type == VALUE_UNSIGNED ? value->unsigned_number : 0;
}

int64_t value_get_signed(const struct value *object, const char *key)
{
	const struct value *value = value_get(object, key);

	return value && value->type == VALUE_SIGNED ? value->number : 0;
}

bool value_get_bool(const struct value *object, const char *key)
{
	const struct value *value = value_get(object, key);

	return value && value->type == VALUE_BOOL && value->boolean;
}

static int read_basic(sd_bus_message *message, char type, struct value *ret)
{
	union {
		uint8_t u8;
		int16_t i16;
		uint16_t u16;
		int32_t i32;
		uint32_t u32;
		int64_t i64;
		uint64_t u64;
		double real;
		int boolean;
		const char *string;
	} basic = {};
	int r;

	if (!strchr("ybnqiuxtdsog", type))
		return -EBADMSG;
	r = sd_bus_message_read_basic(message, type, &basic);
	if (r < 0)
		return r;
	switch (type) {
	case 'b':
		*ret = value_bool(basic.boolean);
		break;
	case 'n':
		*ret = (struct value){ .type = VALUE_SIGNED, .number = basic.i16 };
		break;
	case 'i':
		*ret = (struct value){ .type = VALUE_SIGNED, .number = basic.i32 };
		break;
	case 'x':
		*ret = (struct value){ .type = VALUE_SIGNED, .number = basic.i64 };
		break;
	case 'y':
		*ret = value_unsigned(basic.u8);
		break;
	case 'q':
		*ret = value_unsigned(basic.u16);
		break;
	case 'u':
		*ret = value_unsigned(basic.u32);
		break;
	case 't':
		*ret = value_unsigned(basic.u64);
		break;
	case 'd':
		*ret = (struct value){ .type = VALUE_DOUBLE, .real = basic.real };
		break;
	default:
		*ret = value_string(basic.string);
		break;
	}
	return 0;
}

static int read_value(sd_bus_message *message, unsigned depth, struct value *ret);

/* One {key value}; keys are strings here. */
static int read_entry(
	sd_bus_message *message, const char *contents, unsigned depth, struct value *object)
{
	struct value item = {};
	const char *key;
	int r;

	if (!strchr("sog", contents[0]))
		return -EBADMSG;
	r = sd_bus_message_enter_container(message, SD_BUS_TYPE_DICT_ENTRY, contents);
	if (r < 0)
		return r;
	r = sd_bus_message_read_basic(message, contents[0], &key);
	if (r >= 0)
		r = read_value(message, depth, &item);
	if (r < 0)
		return r;
	value_set(object, key, item);
	return sd_bus_message_exit_container(message);
}

static int read_container(sd_bus_message *message, char type, const char *contents, unsigned depth,
	struct value *value)
{
	bool dictionary = type == SD_BUS_TYPE_ARRAY && contents[0] == SD_BUS_TYPE_DICT_ENTRY_BEGIN;
	int r;

	*value = dictionary ? value_object() : value_array();
	r = sd_bus_message_enter_container(message, type, contents);
	if (r < 0)
		return r;
	while ((r = sd_bus_message_at_end(message, 0)) == 0) {
		if (dictionary) {
			const char *entry;
			char entry_type;

			r = sd_bus_message_peek_type(message, &entry_type, &entry);
			if (r > 0)
				r = read_entry(message, entry, depth, value);
		} else {
			struct value item = {};

			r = read_value(message, depth, &item);
			if (r >= 0)
				value_append(value, item);
		}
		if (r < 0)
			return r;
	}
	return r < 0 ? r : sd_bus_message_exit_container(message);
}

/* The depth of the message bounds the recursion. */
static int read_value(sd_bus_message *message, unsigned depth, struct value *ret)
{
	struct value value = {};
	const char *contents;
	char type;
	int r;

	if (depth >= VALUE_MAX_DEPTH)
		return -EBADMSG;
	r = sd_bus_message_peek_type(message, &type, &contents);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	if (type == SD_BUS_TYPE_VARIANT) {
		r = sd_bus_message_enter_container(message, type, contents);
		if (r >= 0)
			r = read_value(message, depth + 1, &value);
		if (r >= 0)
			r = sd_bus_message_exit_container(message);
	} else if (type == SD_BUS_TYPE_ARRAY || type == SD_BUS_TYPE_STRUCT) {
		r = read_container(message, type, contents, depth + 1, &value);
	} else {
		r = read_basic(message, type, &value);
	}
	if (r < 0) {
		value_finish(&value);
		return r;
	}
	*ret = value;
	return 0;
}

int value_read(sd_bus_message *message, struct value *ret)
{
	return read_value(message, 0, ret);
}

/* The length of the character that text begins with, 0 where its bytes are no UTF-8. */
static size_t utf8_length(const char *text)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char c = (unsigned char)*text;
	size_t n = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 0xe ? 3 : c >> 3 == 0x1e ? 4 : 0;
	uint32_t character = n > 0 ? c & (n == 1 ? 0x7fu : 0x7fu >> n) : 0;

	for (size_t i = 1; i < n; i++) {
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			return 0;
		character = character << 6 | ((unsigned char)text[i] & 0x3f);
	}
	if (n > 1 && (character < least[n] || character > 0x10ffff || character >> 11 == 0x1b))
		return 0;
	return n;
}

/* What is no text, such as the name of a file may be, is shown by U+FFFD: JSON has only UTF-8. */
static void print_json_string(FILE *stream, const char *string)
{
	size_t n;

	fputc('"', stream);
	for (; *string != '\0'; string += n > 0 ? n : 1) {
		unsigned char c = *string;

		n = utf8_length(string);
		if (c == '"' || c == '\\')
			fprintf(stream, "\\%c", c);
		else if (c == '\n')
			fputs("\\n", stream);
		else if (c == '\t')
			fputs("\\t", stream);
		else if (c < 0x20 || c == 0x7f)
			fprintf(stream, "\\u%04x", c);
		else if (n == 0)
			fputs("\\ufffd", stream);
		else
			fwrite(string, 1, n, stream);
	}
	fputc('"', stream);
}

static void print_json_line(FILE *stream, bool pretty, unsigned depth)
{
	if (pretty)
		fprintf(stream, "\n%*s", (int)depth * 8, "");
}

static void print_json(FILE *stream, const struct value *value, bool pretty, unsigned depth)
{
	switch (value->type) {
	case VALUE_NULL:
		fputs("null", stream);
		return;
	case VALUE_BOOL:
		fputs(value->boolean ? "true" : "false", stream);
		return;
	case VALUE_SIGNED:
		fprintf(stream, "%" PRIi64, value->number);
		return;
	case VALUE_UNSIGNED:
		fprintf(stream, "%" PRIu64, value->unsigned_number);
		return;
	case VALUE_DOUBLE:
		if (__builtin_isfinite(value->real))
			fprintf(stream, "%.17g", value->real);
		else
			fputs("null", stream);
		return;
	case VALUE_STRING:
		print_json_string(stream, value->string);
		return;
	case VALUE_ARRAY:
	case VALUE_OBJECT:
		break;
	}
	fputc(value->type == VALUE_OBJECT ? '{' : '[', stream);
	for (size_t i = 0; i < value->n_items; i++) {
		if (i > 0)
			fputc(',', stream);
		print_json_line(stream, pretty, depth + 1);
		if (value->type == VALUE_OBJECT) {
			print_json_string(stream, value->keys[i]);
			fputs(pretty ? ": " : ":", stream);
		}
		print_json(stream, &value->items[i], pretty, depth + 1);
	}
	if (value->n_items > 0)
		print_json_line(stream, pretty, depth);
	fputc(value->type == VALUE_OBJECT ? '}' : ']', stream);
}

void value_print_json(FILE *stream, const struct value *value, bool pretty)
{
	print_json(stream, value, pretty, 0);
	fputc('\n', stream);
}

void value_print_plain(FILE *stream, const struct value *value)
{
	switch (value->type) {
	case VALUE_BOOL:
		fputs(value->boolean ? "yes" : "no", stream);
		break;
	case VALUE_STRING:
		print_escaped(stream, value->string);
		break;
	case VALUE_ARRAY:
		for (size_t i = 0; i < value->n_items; i++) {
			if (i > 0)
				fputc(' ', stream);
			value_print_plain(stream, &value->items[i]);
		}
		break;
	case VALUE_OBJECT:
		for (size_t i = 0; i < value->n_items; i++) {
			fprintf(stream, "%s%s=", i > 0 ? " " : "", value->keys[i]);
			value_print_plain(stream, &value->items[i]);
		}
		break;
	case VALUE_NULL:
		break;
	default:
		print_json(stream, value, false, 0);
	}
}

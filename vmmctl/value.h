/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * value: what a bus message says, as a tree that can be looked things up in and printed as JSON or
 * as plain text. Out of memory ends the program.
 *
 * Threads: no state; an object belongs to one thread at a time.
 */
#ifndef VMMCTL_VALUE_H
#define VMMCTL_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <systemd/sd-bus.h>

enum value_type {
	VALUE_NULL,
	VALUE_BOOL,
	VALUE_SIGNED,
	VALUE_UNSIGNED,
	VALUE_DOUBLE,
	VALUE_STRING,
	VALUE_ARRAY,
	VALUE_OBJECT,
};

/* {} is null. */
struct value {
	enum value_type type;
	union {
		bool boolean;
		int64_t number;
		uint64_t unsigned_number;
		double real;
		char *string; /* owned */
	};
	char **keys;         /* owned; objects only */
	struct value *items; /* owned; arrays and objects */
	size_t n_items;
};

void value_finish(struct value *value);

struct value value_string(const char *string);
struct value value_unsigned(uint64_t number);
struct value value_bool(bool boolean);
struct value value_array(void);
struct value value_object(void);
struct value value_copy(const struct value *value);

/* These take item over and return where it lies until the next call. */
struct value *value_append(struct value *array, struct value item);
struct value *value_set(struct value *object, const char *key, struct value item);

/* Members of an object. What is not there, or of another type, is NULL, "", 0 and false. */
const struct value *value_get(const struct value *object, const char *key);
const char *value_get_string(const struct value *object, const char *key);
uint64_t value_get_unsigned(const struct value *object, const char *key);
int64_t value_get_signed(const struct value *object, const char *key);
bool value_get_bool(const struct value *object, const char *key);

/*
 * Reads one complete value at the message's cursor. An array of dictionary entries is an object, a
 * structure an array, a variant what it holds. A negative errno; -EBADMSG where it is nested too
 * deeply or has a type that cannot be shown.
 */
int value_read(sd_bus_message *message, struct value *ret);

void value_print_json(FILE *stream, const struct value *value, bool pretty);

/* As the right side of KEY=VALUE: words of an array are separated by blanks. */
void value_print_plain(FILE *stream, const struct value *value);

/* Never return NULL. */
void *must_alloc(void *pointer);
char *must_strdup(const char *string);
char *must_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Control characters as \xNN: text of others must not drive the terminal. */
void print_escaped(FILE *stream, const char *text);

#endif

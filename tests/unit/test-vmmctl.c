/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vmmctl: values, their JSON, sizes and durations. What verbs print, tests/api/vmmctl.golden has.
 */
#include <string.h>

#include "base/util.h"
#include "ctl.h"
#include "unit.h"

static void expect_json(const struct value *value, const char *expected)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(stream);
	value_print_json(stream, value, false);
	ck_assert_int_eq(fclose(stream), 0);
	ck_assert_str_eq(text, expected);
	free(text);
}

START_TEST(json_text)
{
	struct value object = value_object(), list = value_array();

	expect_json(&object, "{}\n");
	value_append(&list, value_string("a\"b\\c\n\t\001\x7f\xc3\xa4"));
	value_append(&list, value_unsigned(UINT64_MAX));
	value_append(&list, (struct value){ .type = VALUE_SIGNED, .number = INT64_MIN });
	value_append(&list, value_bool(true));
	value_append(&list, (struct value){ .type = VALUE_DOUBLE, .real = 0.5 });
	value_append(&list, (struct value){ .type = VALUE_DOUBLE, .real = __builtin_nan("") });
	value_append(&list, (struct value){});
	value_set(&object, "list", list);
	value_set(&object, "key", value_unsigned(1));
	value_set(&object, "key", value_string("set again"));
	expect_json(&object, "{\"list\":[\"a\\\"b\\\\c\\n\\t\\u0001\\u007f\xc3\xa4\","
			     "18446744073709551615,-9223372036854775808,true,0.5,null,null],"
			     "\"key\":\"set again\"}\n");
	value_finish(&object);
}
END_TEST

START_TEST(members)
{
	struct value object = value_object(), copy;

	value_set(&object, "text", value_string("x"));
	value_set(&object, "number", value_unsigned(7));
	value_set(&object, "negative", (struct value){ .type = VALUE_SIGNED, .number = -9 });
	copy = value_copy(&object);
	value_finish(&object);
	ck_assert_str_eq(value_get_string(&copy, "text"), "x");
	ck_assert_uint_eq(value_get_unsigned(&copy, "number"), 7);
	ck_assert_int_eq(value_get_signed(&copy, "negative"), -9);
	/* What is not there, or is something else. */
	ck_assert_str_eq(value_get_string(&copy, "number"), "");
	ck_assert_uint_eq(value_get_unsigned(&copy, "text"), 0);
	ck_assert_int_eq(value_get_signed(&copy, "number"), 0);
	ck_assert(!value_get_bool(&copy, "text"));
	ck_assert_ptr_null(value_get(&copy, "nothing"));
	ck_assert_ptr_null(value_get(&(const struct value){}, "nothing"));
	value_finish(&copy);
}
END_TEST

START_TEST(names)
{
	struct value machine = value_object(), job = value_array(), json;

	value_set(&machine, "GuestState", value_bool(false));
	value_set(&machine, "CPUs", value_unsigned(2));
	value_set(&machine, "NRestarts", value_unsigned(3));
	value_append(&job, value_unsigned(0));
	value_append(&job, value_string("/"));
	value_set(&machine, "Job", job);
	json = machine_to_json(&machine);
	expect_json(&json, "{\"guestState\":false,\"cpus\":2,\"nRestarts\":3,\"job\":null}\n");
	value_finish(&json);
	value_finish(&machine);
}
END_TEST

START_TEST(sizes)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = {
		{ 0, "0B" },
		{ 1023, "1023B" },
		{ 1024, "1K" },
		{ 1536, "1.5K" },
		{ UINT64_C(512) << 20, "512M" },
		{ (UINT64_C(1) << 40) - 1, "1023.9G" },
		{ UINT64_MAX, "15.9E" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *text = format_bytes(rows[i].bytes);

		ck_assert_str_eq(text, rows[i].text);
		free(text);
	}
}
END_TEST

START_TEST(durations)
{
	static const struct {
		uint64_t usec;
		const char *text;
	} rows[] = {
		{ 0, "0ms" },
		{ 999999, "999ms" },
		{ 1000000, "1s" },
		{ 61000000, "1min 1s" },
		{ 3600000000, "1h" },
		{ 3661000000, "1h 1min" },
		{ 90061000000, "1d 1h" },
		{ 86400000000 * 400, "400d" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *text = format_duration(rows[i].usec);

		ck_assert_str_eq(text, rows[i].text);
		free(text);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vmmctl");
	TCase *tcase = unit_case(suite, "vmmctl");

	tcase_add_test(tcase, json_text);
	tcase_add_test(tcase, members);
	tcase_add_test(tcase, names);
	tcase_add_test(tcase, sizes);
	tcase_add_test(tcase, durations);
	return unit_run(suite);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The parts of the worker that are logic only: ring, lines, life, unsafe. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "unit.h"
#include "worker/credentials.h"
#include "worker/guest.h"
#include "worker/life.h"
#include "worker/lines.h"
#include "worker/ring.h"
#include "worker/unsafe.h"

#define SECOND UINT64_C(1000000000)

/* ---- ring ---- */

START_TEST(ring_keeps_the_last_bytes)
{
	struct ring ring;
	char data[32];
	uint64_t position = 0, lost;

	ck_assert_int_eq(ring_init(&ring, 16), 0);
	ring_write(&ring, "0123456789", 10);
	ck_assert_uint_eq(ring_read(&ring, &position, data, 4, &lost), 4);
	ck_assert_int_eq(memcmp(data, "0123", 4), 0);
	ck_assert_uint_eq(lost, 0);
	ring_write(&ring, "abcdefghij", 10);
	ck_assert_uint_eq(ring_read(&ring, &position, data, sizeof(data), &lost), 16);
	ck_assert_uint_eq(lost, 0);
	ck_assert_int_eq(memcmp(data, "456789abcdefghij", 16), 0);
	ck_assert_uint_eq(ring_read(&ring, &position, data, sizeof(data), &lost), 0);

	ring_write(&ring, "KLMNOPQRSTUVWXYZ+", 17);
	ck_assert_uint_eq(ring_read(&ring, &position, data, sizeof(data), &lost), 16);
	ck_assert_uint_eq(lost, 1);
	ck_assert_int_eq(memcmp(data, "LMNOPQRSTUVWXYZ+", 16), 0);

	ring_write(&ring, "a much longer text than the ring", 32);
	position = 0;
	ck_assert_uint_eq(ring_read(&ring, &position, data, 8, &lost), 8);
	ck_assert_int_eq(memcmp(data, "xt than ", 8), 0);
	ck_assert_uint_eq(ring_newest(&ring), 10 + 10 + 17 + 32);
	ck_assert_uint_eq(ring_oldest(&ring), 10 + 10 + 17 + 16);
	ring_finish(&ring);
}
END_TEST

/* ---- credentials ---- */

START_TEST(credentials_as_strings)
{
	static const struct {
		const char *name, *value;
		size_t size;
		const char *string; /* NULL: refused */
	} rows[] = {
		{ "a.b", "text\n\tmore", 10, "io.systemd.credential:a.b=text\n\tmore" },
		{ "empty", "", 0, "io.systemd.credential.binary:empty=" },
		{ "nul", "a\0", 2, "io.systemd.credential.binary:nul=YQA=" },
		{ "one", "\xff", 1, "io.systemd.credential.binary:one=/w==" },
		{ "three", "\xff\xfe\xfd", 3, "io.systemd.credential.binary:three=//79" },
		{ "escape", "\033[m", 3, "io.systemd.credential.binary:escape=G1tt" },
		{ "", "x", 1, NULL },
		{ ".hidden", "x", 1, NULL },
		{ "a=b", "x", 1, NULL },
		{ "a:b", "x", 1, NULL },
		{ "a b", "x", 1, NULL },
		{ "a\n", "x", 1, NULL },
	};
	struct credentials credentials = {};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int r = credentials_add(&credentials, rows[i].name, rows[i].value, rows[i].size);

		ck_assert_int_eq(r, rows[i].string ? 0 : -EINVAL);
		if (r == 0)
			ck_assert_str_eq(credentials.strings[n++], rows[i].string);
	}
	ck_assert_uint_eq(credentials.n_strings, n);
	ck_assert(credentials_has(&credentials, "nul"));
	ck_assert(!credentials_has(&credentials, "nu"));
	ck_assert(!credentials_has(&credentials, "null"));
	credentials_finish(&credentials);
	ck_assert_uint_eq(credentials.n_strings, 0);
}
END_TEST

START_TEST(credentials_have_limits)
{
	static char value[CREDENTIALS_MAX_BYTES + 1];
	struct credentials credentials = {};
	char name[16];

	memset(value, 'x', sizeof(value));
	ck_assert_int_eq(credentials_add(&credentials, "a", value, sizeof(value)), -E2BIG);
	ck_assert_int_eq(credentials_add(&credentials, "a", value, SIZE_MAX), -E2BIG);
	ck_assert_int_eq(credentials_add(&credentials, "a", value, 50000), 0);
	ck_assert_int_eq(credentials_add(&credentials, "b", value, 12000), -E2BIG);
	memset(value, 1, 10000);
	/* A third more as base64. */
	ck_assert_int_eq(credentials_add(&credentials, "b", value, 9000), -E2BIG);
	ck_assert_int_eq(credentials_add(&credentials, "b", value, 6000), 0);
	credentials_finish(&credentials);
	for (int i = 0; i < CREDENTIALS_MAX; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		ck_assert_int_eq(credentials_add(&credentials, name, "x", 1), 0);
	}
	ck_assert_int_eq(credentials_add(&credentials, "more", "x", 1), -E2BIG);
	credentials_finish(&credentials);
}
END_TEST

/* ---- guest ---- */

START_TEST(guest_says_what_it_is)
{
	static const char up[] = "STATUS=x\nX_SYSTEMD_HOSTNAME=we b\x01.example\nREADY=1";
	static const char *const ignored[] = { "READY=2", "READY=11", "READY", "=", "", "\n\n",
		"XREADY=1", "READY=1x" };
	struct guest_facts facts = {};
	char large[300];

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		ck_assert(!guest_parse(&facts, ignored[i], strlen(ignored[i])));
	ck_assert(!facts.ready);
	ck_assert(guest_parse(&facts, up, strlen(up)));
	ck_assert(facts.ready);
	ck_assert_str_eq(facts.hostname, "we?b?.example");
	/* Nothing new. */
	ck_assert(!guest_parse(&facts, up, strlen(up)));
	ck_assert(guest_parse(&facts, "X_SYSTEMD_SHUTDOWN=reboot", 25));
	ck_assert_str_eq(facts.shutdown, "reboot");
	memset(large, 'a', sizeof(large));
	memcpy(large, "X_SYSTEMD_SHUTDOWN=", 19);
	ck_assert(guest_parse(&facts, large, sizeof(large)));
	ck_assert_uint_eq(strlen(facts.shutdown), sizeof(facts.shutdown) - 1);
	memcpy(large, "X_SYSTEMD_HOSTNAME=", 19);
	ck_assert(guest_parse(&facts, large, sizeof(large)));
	ck_assert_uint_eq(strlen(facts.hostname), GUEST_NAME_SIZE - 1);
}
END_TEST

static unsigned n_changes;

static void count_change(void *userdata)
{
	n_changes++;
}

START_TEST(guest_connections)
{
	static struct guest guest;
	static char flood[GUEST_MESSAGE_BYTES + 1];
	int fds[GUEST_MAX_CLIENTS + 1];
	struct vmm_loop *loop;
	char c;

	ck_assert_int_eq(vmm_loop_new(&loop), 0);
	guest_init(&guest, loop, count_change, NULL);
	fds[0] = guest_connect(&guest, false);
	ck_assert_int_ge(fds[0], 0);
	/* In pieces; it counts when it is whole. */
	ck_assert_int_eq(write(fds[0], "REA", 3), 3);
	ck_assert_int_ge(vmm_loop_step(loop, 0), 0);
	ck_assert_int_eq(write(fds[0], "DY=1\n", 5), 5);
	ck_assert_int_ge(vmm_loop_step(loop, 0), 0);
	ck_assert(!guest.facts.ready);
	close(fds[0]);
	ck_assert_int_ge(vmm_loop_step(loop, 0), 0);
	ck_assert(guest.facts.ready);
	ck_assert_uint_eq(n_changes, 1);
	/* Too long: it is closed and says nothing. */
	memcpy(flood, "X_SYSTEMD_HOSTNAME=a\n", 21);
	fds[0] = guest_connect(&guest, true);
	ck_assert_int_eq(write(fds[0], flood, GUEST_MESSAGE_BYTES), GUEST_MESSAGE_BYTES);
	ck_assert_int_ge(vmm_loop_step(loop, 0), 0);
	ck_assert_int_eq(read(fds[0], &c, 1), 0);
	ck_assert_str_eq(guest.facts.hostname, "");
	close(fds[0]);
	/* More than it keeps: the first has to go. */
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = guest_connect(&guest, false);
		ck_assert_int_ge(fds[i], 0);
	}
	ck_assert_int_eq(read(fds[0], &c, 1), 0);
	ck_assert_int_eq(read(fds[1], &c, 1), -1);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	vmm_loop_free(loop);
}
END_TEST

/* ---- lines ---- */

static char out[8192];
static size_t n_lines;
static bool is_full;

static bool collect(void *userdata, const char *line)
{
	if (is_full)
		return false;
	n_lines++;
	strncat(out, line, sizeof(out) - strlen(out) - 1);
	strncat(out, "|", sizeof(out) - strlen(out) - 1);
	return true;
}

static const struct {
	const char *in;
	const char *out;
} cleaned[] = {
	{ "plain\n", "plain|" },
	{ "no end", "" },
	{ "dos\r\n\r\n", "dos|" },
	{ "a\r\r\nb\n", "a|b|" },
	{ "\n\n\n", "" },
	{ "\x1b[1;31mred\x1b[0m text\n", "red text|" },
	{ "\x1b]0;title\x07shown\n", "shown|" },
	{ "\x1b]0;title\x1b\\shown\n", "shown|" },
	{ "\x1bPq#0;2\x1b\\after dcs\n", "after dcs|" },
	{ "\x1b(Bcharset\x1b=keypad\n", "charsetkeypad|" },
	{ "\x1b[?2004h\x1b[6n$ \n", "$ |" },
	{ "10%\r20%\r100%\n", "100%|" },
	{ "a long line\rab\x1b[K\n", "ab|" },
	{ "abcd\rXY\n", "XYcd|" },
	{ "abc\b\bX\n", "aXc|" },
	{ "\b\b\bx\n", "x|" },
	{ "tab\there\n", "tab\there|" },
	{ "bell\a null ctrl\x01\x02 del\x7f\n", "bell null ctrl del|" },
	{ "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\n",
		"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80|" },
	{ "bad \xff\xfe \xc3( \xe2\x82\n", "bad ?? ?( ??|" },
	{ "overlong \xc0\xaf \xe0\x80\xaf\n", "overlong ?? ???|" },
	{ "surrogate \xed\xa0\x80 beyond \xf4\x90\x80\x80\n", "surrogate ??? beyond ????|" },
	{ "c1 \xc2\x9b"
	  "31m\n",
		"c1 ??31m|" },
	{ "unfinished \x1b[12;\nnext\n", "unfinished |next|" },
	{ "unfinished \x1b]0;title\nnext\n", "unfinished |next|" },
	{ "cancel \x1b[12\x18!\n", "cancel !|" },
	{ "\x1b\x1b\x1b[mx\n", "x|" },
};

START_TEST(lines_are_clean)
{
	struct lines lines;

	/* At once, and byte by byte. */
	for (int step = 0; step < 2; step++) {
		size_t length = strlen(cleaned[_i].in);

		out[0] = '\0';
		lines_init(&lines, collect, NULL, 0);
		if (step == 0)
			lines_feed(&lines, cleaned[_i].in, length, 0);
		else
			for (size_t i = 0; i < length; i++)
				lines_feed(&lines, cleaned[_i].in + i, 1, 0);
		ck_assert_str_eq(out, cleaned[_i].out);
	}
}
END_TEST

START_TEST(lines_are_bounded)
{
	static char input[3000];
	struct lines lines;

	memset(input, 'x', sizeof(input));
	out[0] = '\0';
	n_lines = 0;
	lines_init(&lines, collect, NULL, 0);
	lines_feed(&lines, input, sizeof(input), 0);
	lines_flush(&lines);
	ck_assert_uint_eq(n_lines, 3);
	ck_assert_uint_eq(strlen(out), sizeof(input) + 3);
}
END_TEST

START_TEST(lines_have_a_rate)
{
	struct lines lines;

	out[0] = '\0';
	lines_init(&lines, collect, NULL, 2);
	ck_assert_uint_eq(lines_feed(&lines, "a\nb\nc\nd\n", 8, SECOND), 5);
	ck_assert_uint_eq(lines_feed(&lines, "\nd\n", 3, SECOND + 1), 0);
	ck_assert(!lines_note(&lines, "note", SECOND + 2));
	ck_assert_str_eq(out, "a|b|");
	ck_assert(lines_note(&lines, "note", 2 * SECOND));
	ck_assert_uint_eq(lines_feed(&lines, "\nd\n", 3, 2 * SECOND), 2);
	ck_assert_str_eq(out, "a|b|note|c|");
	/* At the end there is none. */
	lines_flush(&lines);
	ck_assert_str_eq(out, "a|b|note|c|d|");
}
END_TEST

START_TEST(lines_wait_for_room)
{
	static char input[LINES_MAX_BYTES + 1];
	struct lines lines;

	out[0] = '\0';
	lines_init(&lines, collect, NULL, 0);
	is_full = true;
	ck_assert_uint_eq(lines_feed(&lines, "one\x1b[1m\ntwo\n", 12, 0), 7);
	ck_assert_uint_eq(lines_feed(&lines, "\ntwo\n", 5, 0), 0);
	is_full = false;
	ck_assert_uint_eq(lines_feed(&lines, "\ntwo\n", 5, 0), 5);
	ck_assert_str_eq(out, "one|two|");
	/* Also where a line is too long. */
	memset(input, 'x', sizeof(input));
	is_full = true;
	ck_assert_uint_eq(lines_feed(&lines, input, sizeof(input), 0), LINES_MAX_BYTES);
	is_full = false;
	out[0] = '\0';
	ck_assert_uint_eq(lines_feed(&lines, "y\n", 2, 0), 2);
	ck_assert_uint_eq(strlen(out), LINES_MAX_BYTES + 3);
	ck_assert_str_eq(out + LINES_MAX_BYTES, "|y|");
}
END_TEST

/* ---- life ---- */

static struct life running(void)
{
	struct life life;

	life_init(&life);
	life_run(&life);
	return life;
}

START_TEST(life_of_a_guest)
{
	static const struct {
		enum vmm_end end;
		int status;
	} rows[] = {
		{ VMM_END_POWEROFF, 0 },
		{ VMM_END_REBOOT, 133 },
		{ VMM_END_PANIC, 70 },
		{ VMM_END_TRIPLE_FAULT, 70 },
		{ VMM_END_STOPPED, 0 },
		{ VMM_END_HOST_FAILURE, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct life life = running();

		ck_assert_uint_eq(life_end(&life, rows[i].end), LIFE_FINISH);
		ck_assert_int_eq(life_exit_status(&life), rows[i].status);
		/* The first end counts, and nothing follows it. */
		ck_assert_uint_eq(life_end(&life, VMM_END_HOST_FAILURE), LIFE_NOTHING);
		ck_assert_uint_eq(life_stop(&life, VMM_HOW_HARD, 1), LIFE_NOTHING);
		ck_assert_uint_eq(life_reboot(&life, VMM_HOW_HARD, 1), LIFE_NOTHING);
		ck_assert_uint_eq(life_button(&life), LIFE_NOTHING);
		ck_assert_uint_eq(life_tick(&life, UINT64_MAX), LIFE_NOTHING);
		ck_assert_int_eq(life_pause(&life), -EBUSY);
		ck_assert_int_eq(life_exit_status(&life), rows[i].status);
	}
}
END_TEST

START_TEST(life_stop_presses_again)
{
	struct life life = running();
	uint64_t now = 5 * SECOND;

	ck_assert_uint_eq(life_stop(&life, VMM_HOW_GRACEFUL, now), LIFE_PRESS_BUTTON);
	ck_assert_uint_eq(life_tick(&life, now + LIFE_PRESS_NSEC - 1), LIFE_NOTHING);
	for (int i = 1; i < LIFE_N_PRESSES; i++) {
		now += LIFE_PRESS_NSEC;
		ck_assert_uint_eq(life.next_nsec, now);
		ck_assert_uint_eq(life_tick(&life, now), LIFE_PRESS_BUTTON);
	}
	for (int i = 0; i < 3; i++) {
		now += LIFE_PRESS_NSEC;
		ck_assert_uint_eq(life_tick(&life, now), LIFE_CTRL_ALT_DEL);
	}
	/* What ctrl-alt-del makes of a stop is no reboot. */
	ck_assert_uint_eq(life_end(&life, VMM_END_REBOOT), LIFE_FINISH);
	ck_assert_int_eq(life_exit_status(&life), 0);
}
END_TEST

START_TEST(life_second_stop_is_hard)
{
	struct life life = running();

	life_stop(&life, VMM_HOW_GRACEFUL, 1);
	ck_assert_uint_eq(life_stop(&life, VMM_HOW_GRACEFUL, 2), LIFE_FINISH);
	ck_assert_int_eq(life.end, VMM_END_STOPPED);
	ck_assert_int_eq(life_exit_status(&life), 0);
}
END_TEST

START_TEST(life_stop_wakes_a_paused_guest)
{
	struct life life = running();

	ck_assert_int_eq(life_pause(&life), 0);
	ck_assert_int_eq(life_pause(&life), -EALREADY);
	ck_assert_uint_eq(life_stop(&life, VMM_HOW_GRACEFUL, 1), LIFE_RESUME | LIFE_PRESS_BUTTON);
	ck_assert_int_eq(life_pause(&life), -EBUSY);
	ck_assert_int_eq(life_resume(&life), -EBUSY);
}
END_TEST

START_TEST(life_reboot_and_then_stop)
{
	struct life life = running();

	ck_assert_uint_eq(life_reboot(&life, VMM_HOW_GRACEFUL, 1), LIFE_CTRL_ALT_DEL);
	ck_assert_uint_eq(life_tick(&life, 1 + LIFE_PRESS_NSEC), LIFE_CTRL_ALT_DEL);
	ck_assert_uint_eq(life_stop(&life, VMM_HOW_GRACEFUL, 2), LIFE_PRESS_BUTTON);
	ck_assert_uint_eq(life_reboot(&life, VMM_HOW_GRACEFUL, 3), LIFE_NOTHING);
	ck_assert_uint_eq(life_end(&life, VMM_END_REBOOT), LIFE_FINISH);
	ck_assert_int_eq(life.end, VMM_END_POWEROFF);

	life = running();
	life_reboot(&life, VMM_HOW_GRACEFUL, 1);
	life_end(&life, VMM_END_REBOOT);
	ck_assert_int_eq(life_exit_status(&life), 133);
	life = running();
	ck_assert_uint_eq(life_reboot(&life, VMM_HOW_HARD, 1), LIFE_FINISH);
	ck_assert_int_eq(life_exit_status(&life), 133);
}
END_TEST

START_TEST(life_stop_while_building)
{
	struct life life;

	life_init(&life);
	ck_assert_uint_eq(life_stop(&life, VMM_HOW_GRACEFUL, 1), LIFE_FINISH);
	ck_assert_int_eq(life_exit_status(&life), 0);
}
END_TEST

/* ---- unsafe ---- */

static struct vmm_blk_io *submitted;
static unsigned int n_commits;

static int fake_geometry(void *userdata, struct vmm_blk_geometry *ret_geometry)
{
	ck_assert_ptr_eq(userdata, &submitted);
	ret_geometry->capacity_bytes = 4096;
	return 0;
}

static int fake_submit(void *userdata, struct vmm_blk_io *io)
{
	ck_assert_ptr_eq(userdata, &submitted);
	submitted = io;
	return -ENOSPC;
}

static void fake_commit(void *userdata, unsigned int thread)
{
	ck_assert_ptr_eq(userdata, &submitted);
	ck_assert_uint_eq(thread, 3);
	n_commits++;
}

START_TEST(unsafe_leaves_flushes_out)
{
	static const struct vmm_blk_ops ops = {
		.geometry = fake_geometry,
		.submit = fake_submit,
		.commit = fake_commit,
	};
	struct vmm_blk_io flush = { .op = VMM_BLK_FLUSH };
	struct vmm_blk_io write = { .op = VMM_BLK_WRITE, .flags = VMM_BLK_DURABLE };
	struct vmm_blk_geometry geometry = { .capacity_bytes = 0 };
	struct unsafe_backend unsafe;
	struct vmm_blk_backend backend;

	backend = unsafe_wrap(
		&unsafe, (struct vmm_blk_backend){ .ops = &ops, .userdata = &submitted });
	ck_assert_int_eq(backend.ops->submit(backend.userdata, &flush), 0);
	ck_assert_ptr_null(submitted);
	ck_assert_int_eq(backend.ops->submit(backend.userdata, &write), -ENOSPC);
	ck_assert_ptr_eq(submitted, &write);
	ck_assert_uint_eq(write.flags, 0);
	ck_assert_int_eq(backend.ops->geometry(backend.userdata, &geometry), 0);
	ck_assert_uint_eq(geometry.capacity_bytes, 4096);
	backend.ops->commit(backend.userdata, 3);
	ck_assert_uint_eq(n_commits, 1);
	ck_assert_ptr_null(backend.ops->reap);
	ck_assert_ptr_null(backend.ops->engine);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("worker-logic");
	TCase *tcase = unit_case(suite, "ring");

	tcase_add_test(tcase, guest_says_what_it_is);
	tcase_add_test(tcase, guest_connections);
	tcase_add_test(tcase, credentials_as_strings);
	tcase_add_test(tcase, credentials_have_limits);
	tcase_add_test(tcase, ring_keeps_the_last_bytes);
	tcase = unit_case(suite, "lines");
	tcase_add_loop_test(tcase, lines_are_clean, 0, ARRAY_SIZE(cleaned));
	tcase_add_test(tcase, lines_are_bounded);
	tcase_add_test(tcase, lines_have_a_rate);
	tcase_add_test(tcase, lines_wait_for_room);
	tcase = unit_case(suite, "unsafe");
	tcase_add_test(tcase, unsafe_leaves_flushes_out);
	tcase = unit_case(suite, "life");
	tcase_add_test(tcase, life_of_a_guest);
	tcase_add_test(tcase, life_stop_presses_again);
	tcase_add_test(tcase, life_second_stop_is_hard);
	tcase_add_test(tcase, life_stop_wakes_a_paused_guest);
	tcase_add_test(tcase, life_reboot_and_then_stop);
	tcase_add_test(tcase, life_stop_while_building);
	return unit_run(suite);
}

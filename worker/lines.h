/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * lines: makes plain lines of text for a log out of what a guest writes to its terminal.
 *
 * Escape sequences (ECMA-48: CSI, OSC, DCS and their like) and control characters are taken out.
 * A line is what a terminal would show when it ends: carriage return, backspace and
 * erase-to-end-of-line act as they do there, so a progress bar becomes its last state. Invalid
 * UTF-8 becomes '?', so that the journal takes every line for text. Lines are bounded: a longer
 * one comes in pieces. So is their rate: what is beyond it is not taken yet.
 *
 * Threads: one at a time.
 */
#ifndef VMMD_WORKER_LINES_H
#define VMMD_WORKER_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINES_MAX_BYTES 1024

enum lines_state {
	LINES_TEXT = 0,
	LINES_ESCAPE,       /* after ESC */
	LINES_CSI,          /* after ESC [ */
	LINES_INTERMEDIATE, /* after ESC and a byte from 0x20 to 0x2f */
	LINES_STRING,       /* in OSC, DCS, SOS, PM, APC: up to BEL or ESC \ */
	LINES_STRING_ESCAPE,
};

/* line is NUL-terminated, printable UTF-8 and tabs. false: there is no room for it now. */
typedef bool (*lines_emit)(void *userdata, const char *line);

struct lines {
	lines_emit emit;
	void *userdata;
	uint32_t max_per_second; /* 0: no limit */

	enum lines_state state;
	char line[LINES_MAX_BYTES + 1];
	size_t length;
	size_t column;
	uint64_t second; /* in which n_in_second lines were let through */
	uint32_t n_in_second;
};

void lines_init(struct lines *lines, lines_emit emit, void *userdata, uint32_t max_per_second);

/*
 * now_nsec is on any clock that does not go back. Returns how many bytes were taken: fewer than
 * n_bytes where a line ends that cannot be emitted now. The rest is to be fed again later.
 */
size_t lines_feed(struct lines *lines, const void *data, size_t n_bytes, uint64_t now_nsec);

/* Emits text, which is not the guest's, as a line that counts for the rate. false: not now. */
bool lines_note(struct lines *lines, const char *text, uint64_t now_nsec);

/* Emits the line that has no end yet, if there is one and there is room for it. */
void lines_flush(struct lines *lines);

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* lines: see lines.h. */
#include "worker/lines.h"

#include <string.h>

#include "base/util.h"

#define ESC 0x1b
#define BEL 0x07

void lines_init(struct lines *lines, lines_emit emit, void *userdata, uint32_t max_per_second)
{
	*lines = (struct lines){
		.emit = emit,
		.userdata = userdata,
		.max_per_second = max_per_second,
	};
}

/*
 * The length of the UTF-8 sequence at data (RFC 3629: no overlong form, no surrogate, up to
 * U+10FFFF), or 0 where it is none, or stands for a control character.
 */
static size_t utf8_length(const uint8_t *data, size_t n_bytes)
{
	uint32_t code, min;
	size_t n;

	if (data[0] < 0x80)
		return 1;
	if (data[0] >= 0xc2 && data[0] <= 0xdf) {
		n = 2;
		code = data[0] & 0x1f;
		min = 0xa0; /* U+0080 to U+009F are controls */
	} else if ((data[0] & 0xf0) == 0xe0) {
		n = 3;
		code = data[0] & 0x0f;
		min = 0x800;
	} else if (data[0] >= 0xf0 && data[0] <= 0xf4) {
		n = 4;
		code = data[0] & 0x07;
		min = 0x10000;
	} else {
		return 0;
	}
	if (n > n_bytes)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((data[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (data[i] & 0x3f);
	}
	if (code < min || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return n;
}

static void make_valid(char *line, size_t length)
{
	size_t n;

	for (size_t i = 0; i < length; i += n) {
		n = utf8_length((const uint8_t *)line + i, length - i);
		if (n == 0) {
			line[i] = '?';
			n = 1;
		}
	}
}

/* Emits what is within the rate. */
static bool emit(struct lines *lines, const char *text, uint64_t now_nsec)
{
	uint64_t second = now_nsec / 1000000000;

	if (second != lines->second) {
		lines->second = second;
		lines->n_in_second = 0;
	}
	if (lines->max_per_second > 0 && lines->n_in_second >= lines->max_per_second)
		return false;
	if (!lines->emit(lines->userdata, text))
		return false;
	lines->n_in_second++;
	return true;
}

/* false: the line is still there, and nothing has changed. */
static bool end_line(struct lines *lines, uint64_t now_nsec)
{
	if (lines->length > 0) {
		lines->line[lines->length] = '\0';
		make_valid(lines->line, lines->length);
		if (!emit(lines, lines->line, now_nsec))
			return false;
	}
	lines->length = 0;
	lines->column = 0;
	return true;
}

static bool put(struct lines *lines, uint8_t byte, uint64_t now_nsec)
{
	if (lines->column == LINES_MAX_BYTES && !end_line(lines, now_nsec))
		return false;
	lines->line[lines->column++] = (char)byte;
	lines->length = MAX(lines->length, lines->column);
	return true;
}

static bool feed_text(struct lines *lines, uint8_t byte, uint64_t now_nsec)
{
	switch (byte) {
	case ESC:
		lines->state = LINES_ESCAPE;
		break;
	case '\n':
	case '\v':
	case '\f':
		return end_line(lines, now_nsec);
	case '\r':
		lines->column = 0;
		break;
	case '\b':
		if (lines->column > 0)
			lines->column--;
		break;
	default:
		if (byte == '\t' || (byte >= 0x20 && byte != 0x7f))
			return put(lines, byte, now_nsec);
		break;
	}
	return true;
}

static void feed_escape(struct lines *lines, uint8_t byte)
{
	if (byte == '[')
		lines->state = LINES_CSI;
	else if (byte == ']' || byte == 'P' || byte == 'X' || byte == '^' || byte == '_')
		lines->state = LINES_STRING;
	else if (byte >= 0x20 && byte <= 0x2f)
		lines->state = LINES_INTERMEDIATE;
	else if (byte != ESC)
		lines->state = LINES_TEXT;
}

/* false: not taken. */
static bool feed_byte(struct lines *lines, uint8_t byte, uint64_t now_nsec)
{
	/* CAN and SUB end any sequence; so does a line's end, lest a stray ESC eats the log. */
	if (lines->state != LINES_TEXT && (byte == 0x18 || byte == 0x1a)) {
		lines->state = LINES_TEXT;
		return true;
	}
	if (lines->state != LINES_TEXT && byte == '\n')
		lines->state = LINES_TEXT;

	switch (lines->state) {
	case LINES_TEXT:
		return feed_text(lines, byte, now_nsec);
	case LINES_ESCAPE:
		feed_escape(lines, byte);
		break;
	case LINES_CSI:
		/* Parameters and intermediates are 0x20 to 0x3f, the final byte ends it. */
		if (byte == 'K' && lines->column < lines->length)
			lines->length = lines->column;
		if (byte == ESC)
			lines->state = LINES_ESCAPE;
		else if (byte >= 0x40)
			lines->state = LINES_TEXT;
		break;
	case LINES_INTERMEDIATE:
		if (byte == ESC)
			lines->state = LINES_ESCAPE;
		else if (byte >= 0x30)
			lines->state = LINES_TEXT;
		break;
	case LINES_STRING:
		if (byte == BEL)
			lines->state = LINES_TEXT;
		else if (byte == ESC)
			lines->state = LINES_STRING_ESCAPE;
		break;
	case LINES_STRING_ESCAPE:
		if (byte == '\\')
			lines->state = LINES_TEXT;
		else if (byte != ESC)
			lines->state = LINES_STRING;
		break;
	}
	return true;
}

size_t lines_feed(struct lines *lines, const void *data, size_t n_bytes, uint64_t now_nsec)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < n_bytes; i++)
		if (!feed_byte(lines, bytes[i], now_nsec))
			return i;
	return n_bytes;
}

bool lines_note(struct lines *lines, const char *text, uint64_t now_nsec)
{
	return emit(lines, text, now_nsec);
}

void lines_flush(struct lines *lines)
{
	lines->max_per_second = 0;
	end_line(lines, 0);
}

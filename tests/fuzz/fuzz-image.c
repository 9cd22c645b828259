/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: image: the input is a byte, which chooses the format, and an image. What is let through
 * names no other file where a server of that format would look for one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "image.h"

#define SECTOR_BYTES 512

static bool begins_with(const uint8_t *image, size_t size, const char *magic)
{
	return size >= 4 && memcmp(image, magic, 4) == 0;
}

/* Up to a zero, as a server reads text. */
static bool names(const uint8_t *image, size_t size, size_t at, const char *word)
{
	size_t n;

	if (at >= size)
		return false;
	n = strnlen((const char *)image + at, size - at);
	return memmem(image + at, n, word, strlen(word));
}

static uint8_t byte(const uint8_t *image, size_t size, size_t at)
{
	return at < size ? image[at] : 0;
}

static void check_accepted(const uint8_t *image, size_t size, enum config_format format)
{
	switch (format) {
	case CONFIG_FORMAT_QCOW2:
		if (!begins_with(image, size, "QFI\xfb"))
			break;
		for (size_t at = 8; at < 16; at++)
			FUZZ_CHECK(byte(image, size, at) == 0);
		if (byte(image, size, 4) == 0 && byte(image, size, 5) == 0 &&
			byte(image, size, 6) == 0 && byte(image, size, 7) == 3)
			FUZZ_CHECK((byte(image, size, 79) & 4) == 0);
		break;
	case CONFIG_FORMAT_QED:
		if (begins_with(image, size, "QED\0"))
			FUZZ_CHECK((byte(image, size, 16) & 1) == 0);
		break;
	case CONFIG_FORMAT_VMDK:
		if (begins_with(image, size, "KDMV") || begins_with(image, size, "COWD"))
			FUZZ_CHECK(!names(image, size, SECTOR_BYTES, "parentFileNameHint"));
		else
			FUZZ_CHECK(!names(image, size, 0, "createType"));
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum config_format format;
	const char *what = NULL;
	int fd, r;

	if (size == 0)
		return 0;
	format = data[0] % CONFIG_N_FORMATS;
	fd = memfd_create("image", MFD_CLOEXEC);
	FUZZ_CHECK(fd >= 0);
	FUZZ_CHECK(write(fd, data + 1, size - 1) == (ssize_t)(size - 1));
	r = image_check(fd, format, &what);
	FUZZ_CHECK(r == 0 || r == -EMLINK);
	FUZZ_CHECK((r == -EMLINK) == (what != NULL));
	if (r == 0)
		check_accepted(data + 1, size - 1, format);
	close(fd);
	return 0;
}

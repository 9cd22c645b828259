/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * image: see image.h. Formats: docs/interop/qcow2.txt and qed_spec.txt of QEMU; "Virtual Disk
 * Format 5.0" of VMware, as QEMU's block/vmdk.c reads it. QEMU knows no images in several files of
 * the others (vdi, vhdx, vpc).
 */
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"

enum {
	HEAD_SIZE = 512,
	/* QEMU reads no more of one that is a file, and less of one in an image. */
	TEXT_SIZE = 1 << 20,
	SECTOR_SIZE = 512,
};

static const char backing_file[] = "has a backing file";
static const char data_file[] = "has its data in another file";

static uint64_t big(const uint8_t *at, size_t n)
{
	uint64_t value = 0;

	for (size_t i = 0; i < n; i++)
		value = value << 8 | at[i];
	return value;
}

static uint64_t little(const uint8_t *at, size_t n)
{
	uint64_t value = 0;

	for (size_t i = n; i > 0; i--)
		value = value << 8 | at[i - 1];
	return value;
}

static const char *check_qcow2(const uint8_t *head)
{
	enum { VERSION = 4, BACKING = 8, INCOMPATIBLE = 72, EXTERNAL_DATA = 1 << 2 };

	if (memcmp(head, "QFI\xfb", 4) != 0)
		return NULL;
	if (big(head + BACKING, 8) != 0)
		return backing_file;
	if (big(head + VERSION, 4) >= 3 && (big(head + INCOMPATIBLE, 8) & EXTERNAL_DATA))
		return data_file;
	return NULL;
}

static const char *check_qed(const uint8_t *head)
{
	enum { FEATURES = 16, BACKING = 1 << 0 };

	if (memcmp(head, "QED\0", 4) != 0)
		return NULL;
	return little(head + FEATURES, 8) & BACKING ? backing_file : NULL;
}

/* Has the text at offset word, in whatever case? 0, 1, -errno. */
static int text_has(int fd, uint64_t offset, const char *word)
{
	CLEANUP(free_p) char *text = malloc(TEXT_SIZE);
	ssize_t n;

	if (offset > INT64_MAX)
		return 0;
	if (!text)
		return -ENOMEM;
	n = pread(fd, text, TEXT_SIZE - 1, (off_t)offset);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return strcasestr(text, word) != NULL;
}

/* The sparse kinds have a descriptor; QEMU takes all else for one. */
static int check_vmdk(int fd, const uint8_t *head, const char **ret_what)
{
	enum { CAPACITY = 12, DESCRIPTOR = 28 };
	static const char parent[] = "parentFileNameHint";
	const bool is_hosted = memcmp(head, "KDMV", 4) == 0;
	uint64_t offset;
	int r;

	if (!is_hosted && memcmp(head, "COWD", 4) != 0) {
		/* Its extents are files of their own. */
		r = text_has(fd, 0, "createType");
		*ret_what = r > 0 ? data_file : NULL;
		return r;
	}
	/* QEMU looks for the parent there, wherever the header says that the descriptor is. */
	r = text_has(fd, SECTOR_SIZE, parent);
	if (r == 0 && is_hosted &&
		!__builtin_mul_overflow(little(head + DESCRIPTOR, 8), SECTOR_SIZE, &offset) &&
		offset > 0) {
		r = text_has(fd, offset, parent);
		/* Then it is as one that is a file. */
		if (r == 0 && little(head + CAPACITY, 8) == 0) {
			*ret_what = data_file;
			return 1;
		}
	}
	*ret_what = r > 0 ? backing_file : NULL;
	return r;
}

int image_check(int fd, enum config_format format, const char **ret_what)
{
	CLEANUP(close_p) int image_fd = -EBADF;
	uint8_t head[HEAD_SIZE] = {};
	const char *what = NULL;
	char path[32];
	int r;

	/* A descriptor of O_PATH reads nothing; this way leads to the same file and no other. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	image_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (image_fd < 0 || pread(image_fd, head, sizeof(head), 0) < 0)
		return -errno;
	switch (format) {
	case CONFIG_FORMAT_QCOW2:
		what = check_qcow2(head);
		break;
	case CONFIG_FORMAT_QED:
		what = check_qed(head);
		break;
	case CONFIG_FORMAT_VMDK:
		r = check_vmdk(image_fd, head, &what);
		if (r < 0)
			return r;
		break;
	default:
		break;
	}
	if (!what)
		return 0;
	*ret_what = what;
	return -EMLINK;
}

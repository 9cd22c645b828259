/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * image: see image.h. Formats: docs/interop/qcow2.txt and qed_spec.txt of QEMU; "Virtual Disk
 * Format 5.0" of VMware. QEMU knows no images in several files of the others (vdi, vhdx, vpc).
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
	/* QEMU reads no more of it. */
	DESCRIPTOR_SIZE = 64 << 10,
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

/* NULL without memory. */
static const char *check_descriptor(int fd, uint64_t offset)
{
	CLEANUP(free_p) char *text = malloc(DESCRIPTOR_SIZE + 1);
	ssize_t n;

	if (!text)
		return NULL;
	n = offset > INT64_MAX ? 0 : pread(fd, text, DESCRIPTOR_SIZE, (off_t)offset);
	text[MAX(n, 0)] = '\0';
	return strcasestr(text, "parentFileNameHint") ? backing_file : NULL;
}

static const char *check_vmdk(int fd, const uint8_t *head)
{
	enum { DESCRIPTOR = 28 };
	uint64_t offset;

	/* Its extents are files of their own. */
	if (memcmp(head, "# Disk DescriptorFile", 21) == 0)
		return data_file;
	if (memcmp(head, "KDMV", 4) != 0)
		return NULL;
	if (__builtin_mul_overflow(little(head + DESCRIPTOR, 8), SECTOR_SIZE, &offset))
		return NULL;
	return offset == 0 ? NULL : check_descriptor(fd, offset);
}

int image_check(int fd, enum config_format format, const char **ret_what)
{
	CLEANUP(close_p) int image_fd = -EBADF;
	uint8_t head[HEAD_SIZE] = {};
	const char *what = NULL;
	char path[32];

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
		what = check_vmdk(image_fd, head);
		break;
	default:
		break;
	}
	if (!what)
		return 0;
	*ret_what = what;
	return -EMLINK;
}

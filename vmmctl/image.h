/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * image: disk images of machines: raw files ROOT/var/lib/vmm/NAME.raw. vmmctl works on them itself,
 * with the rights of who runs it; vmmd and machines know them as files only.
 *
 * An image gets its name when it is whole and on the disk, so a name always stands for a whole
 * image. Until then it is a file without a name, which goes with the process that makes it, or,
 * where the file system has none, one that is removed on failure and on signals.
 */
#ifndef VMMCTL_IMAGE_H
#define VMMCTL_IMAGE_H

#include "ctl.h"

#define IMAGE_DIRECTORY "/var/lib/vmm"
#define IMAGE_SUFFIX ".raw"

enum {
	IMAGE_MAX_NAME = 200,
	IMAGE_SECTOR_BYTES = 512,
};

/* ---- image-file.c ---- */

/* The image's name in an argument, "web" of "web.raw" too. NULL after telling that it is none. */
char *image_name(const char *argument);

/* Its path; the caller's. */
char *image_path(const struct ctl *ctl, const char *name);

/* An image that is being made. */
struct new_image {
	int directory_fd; /* owned */
	int fd;           /* owned */
	char *file_name;  /* owned: in the directory */
	char *temporary;  /* owned: where the file system has no files without a name */
};
#define NEW_IMAGE_NONE ((struct new_image){ .directory_fd = -EBADF, .fd = -EBADF })

/* 0, or tells and returns the failure; then nothing is left. */
int new_image_begin(const struct ctl *ctl, const char *name, struct new_image *image);
/* A further file that nobody sees, beside it. */
int new_image_scratch(const struct new_image *image);
/* Brings it to whole sectors, or to size_bytes if that is not 0, to the disk and to its name. */
int new_image_end(struct new_image *image, uint64_t size_bytes);
void new_image_finish(struct new_image *image);

/* How far something is; a bar on stderr where that is a terminal. {} counts nothing. */
struct progress {
	const char *what; /* borrowed */
	bool shown;
	uint64_t total, done;
	uint64_t start_nsec, drawn_nsec;
};
void progress_begin(
	struct progress *progress, const struct ctl *ctl, const char *what, uint64_t total);
void progress_set(struct progress *progress, uint64_t done);
void progress_end(struct progress *progress);

/* After SIGINT, SIGTERM or SIGHUP once image_catch_signals() was called. */
void image_catch_signals(void);
bool image_interrupted(void);

/* Writes data at offset but for blocks of zeros, which stay holes. */
int image_write(int fd, const uint8_t *data, size_t size, uint64_t offset);

/* All of from, a regular file: shared blocks where the file system can, else without its holes. */
int image_copy(int from_fd, int to_fd, struct progress *progress);

/* Whether a machine or another program has the image locked. */
bool image_locked(int fd);

/* ---- image-import.c, image.c ---- */

/* Tells of a new image, or prints it as JSON. An exit status. */
int image_tell(const struct ctl *ctl, const char *name, const char *what);

#endif

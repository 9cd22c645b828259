/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * image: does an image of a format name other files, of which its own is only a part? Those are
 * served by nobody: the image's owner would say which of the host's files a guest gets.
 */
#ifndef VMMD_IMAGE_H
#define VMMD_IMAGE_H

#include "config.h"

/*
 * Reads the head of the image that fd, which may be of O_PATH, is. 0; -EMLINK: it has a backing
 * file, or its data elsewhere, *ret_what says which; or another negative errno. One that is not of
 * format, or broken, is for its server to refuse.
 */
int image_check(int fd, enum config_format format, const char **ret_what);

#endif

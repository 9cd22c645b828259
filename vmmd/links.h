/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * links: may a path of a .vm file lead where it does? Who can write a directory on the way can put
 * a symbolic link there, and vmmd, which may open all, would hand out what that leads to. So a link
 * of anybody but root leads to what its own owner has only: files, directories, sockets.
 */
#ifndef VMMD_LINKS_H
#define VMMD_LINKS_H

#include <sys/stat.h>

/*
 * After path was opened: 0; -EXDEV: a link on the way is of somebody who is neither root nor the
 * file's owner; -ESTALE: the path leads to another file by now; or another negative errno.
 */
int links_check(const char *path, const struct stat *opened);

/* Are two descriptors, of O_PATH or not, of one file? 0; -ESTALE; or another negative errno. Who
 * holds both knows that neither's inode is another's by now. */
int links_same(int fd, int other_fd);

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * credentials: what the unit's LoadCredential=, SetCredential= and their encrypted forms hold, for
 * the system in the guest: as OEM strings of its SMBIOS tables, from which systemd (252 and later)
 * takes system credentials; see systemd.system-credentials(7).
 *
 * They are read from $CREDENTIALS_DIRECTORY, which systemd makes for the unit, before the sandbox
 * is entered, and stand in no argument, property, environment or log. What guests get is limited by
 * what Linux maps of the tables, and by their place below 1 MiB:
 *
 *   | input                                          | result                                |
 *   |------------------------------------------------|---------------------------------------|
 *   | no directory                                   | no credentials                        |
 *   | more than CREDENTIALS_MAX, or more bytes       | -E2BIG, text says the limit           |
 *   | a file that is no regular one                  | is left out                           |
 *   | a name with '=' or bytes that are not printable| -EINVAL, text says the name           |
 *   | a value that is text                           | io.systemd.credential:NAME=VALUE      |
 *   | any other value: NUL, control characters, empty| io.systemd.credential.binary:, base64 |
 *
 * Threads: any, before the guest runs.
 */
#ifndef VMMD_WORKER_CREDENTIALS_H
#define VMMD_WORKER_CREDENTIALS_H

#include <stddef.h>

#define CREDENTIALS_MAX 256
/* Of all strings together; the other structures take less than 1 KiB of the 64 KiB there are. */
#define CREDENTIALS_MAX_BYTES (60 * 1024)

/* {} is none. */
struct credentials {
	char *strings[CREDENTIALS_MAX + 1]; /* owned */
	size_t n_strings;
	size_t n_bytes;
};

/* Adds one. 0, -EINVAL, -E2BIG, -ENOMEM. */
int credentials_add(
	struct credentials *credentials, const char *name, const void *value, size_t size);

/* Whether one of that name is there. */
int credentials_has(const struct credentials *credentials, const char *name);

/*
 * Adds all of a directory; NULL is none. A negative errno, with a line in text that names the
 * file; never its contents.
 */
int credentials_read(
	struct credentials *credentials, const char *path, char *text, size_t text_size);

/* Overwrites what it holds, then frees it. */
void credentials_finish(struct credentials *credentials);

#endif

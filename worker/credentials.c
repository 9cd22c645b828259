/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* credentials: see credentials.h. */
#include "worker/credentials.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"

#define TEXT_PREFIX "io.systemd.credential:"
#define BINARY_PREFIX "io.systemd.credential.binary:"

static bool name_is_good(const char *name)
{
	if (*name == '\0' || *name == '.')
		return false;
	for (const unsigned char *c = (const unsigned char *)name; *c; c++)
		if (*c <= ' ' || *c >= 0x7f || *c == '=' || *c == ':')
			return false;
	return true;
}

/* Characters that go through a string of the tables as they are. */
static bool is_text(const uint8_t *value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if ((value[i] < ' ' && value[i] != '\n' && value[i] != '\t') || value[i] >= 0x7f)
			return false;
	return size > 0;
}

/* RFC 4648. */
static void encode_base64(char *out, const uint8_t *value, size_t size)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789+/";

	for (size_t i = 0; i < size; i += 3) {
		size_t n = MIN(size - i, (size_t)3);
		uint32_t bits = (uint32_t)value[i] << 16;

		if (n > 1)
			bits |= (uint32_t)value[i + 1] << 8;
		if (n > 2)
			bits |= value[i + 2];
		*out++ = digits[bits >> 18];
		*out++ = digits[bits >> 12 & 63];
		*out++ = n > 1 ? digits[bits >> 6 & 63] : '=';
		*out++ = n > 2 ? digits[bits & 63] : '=';
	}
	*out = '\0';
}

int credentials_add(
	struct credentials *credentials, const char *name, const void *value, size_t size)
{
	size_t n_bytes, n_head;
	const char *prefix;
	char *string;
	bool text;

	if (!name_is_good(name))
		return -EINVAL;
	/* Before anything looks at it. */
	if (credentials->n_strings >= CREDENTIALS_MAX || size > CREDENTIALS_MAX_BYTES)
		return -E2BIG;
	text = is_text(value, size);
	prefix = text ? TEXT_PREFIX : BINARY_PREFIX;
	n_head = strlen(prefix) + strlen(name) + 1;
	n_bytes = n_head + (text ? size : (size + 2) / 3 * 4) + 1;
	if (n_bytes > CREDENTIALS_MAX_BYTES - credentials->n_bytes)
		return -E2BIG;
	string = malloc(n_bytes);
	if (!string)
		return -ENOMEM;
	snprintf(string, n_bytes, "%s%s=", prefix, name);
	if (text) {
		memcpy(string + n_head, value, size);
		string[n_head + size] = '\0';
	} else {
		encode_base64(string + n_head, value, size);
	}
	credentials->strings[credentials->n_strings++] = string;
	credentials->n_bytes += n_bytes;
	return 0;
}

int credentials_has(const struct credentials *credentials, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < credentials->n_strings; i++) {
		const char *colon = strchr(credentials->strings[i], ':');

		if (strncmp(colon + 1, name, n) == 0 && colon[1 + n] == '=')
			return true;
	}
	return false;
}

static int read_one(struct credentials *credentials, int directory_fd, const char *name)
{
	CLEANUP(close_p)
	int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	uint8_t *value;
	size_t size;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	if (st.st_size > CREDENTIALS_MAX_BYTES)
		return -E2BIG;
	size = (size_t)st.st_size;
	value = malloc(size + 1);
	if (!value)
		return -ENOMEM;
	r = vmm_base_pread_full(fd, value, size, 0);
	if (r == 0)
		r = credentials_add(credentials, name, value, size);
	explicit_bzero(value, size + 1);
	free(value);
	return r;
}

int credentials_read(
	struct credentials *credentials, const char *path, char *text, size_t text_size)
{
	struct dirent **entries = NULL;
	int n, fd, r = 0;

	if (!path || *path != '/')
		return 0;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	/* Sorted: a guest finds them in the same order each time. */
	n = fd < 0 ? -1 : scandir(path, &entries, NULL, alphasort);
	if (n < 0) {
		r = -errno;
		snprintf(
			text, text_size, "the unit's credentials cannot be read: %s", strerror(-r));
		vmm_base_close(fd);
		return r;
	}
	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;

		if (r == 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
			r = read_one(credentials, fd, name);
			if (r == -E2BIG)
				snprintf(text, text_size,
					"credential %s: with it they are more than %d or take more "
					"than %d bytes, and no more fit into a guest's SMBIOS "
					"tables",
					name, CREDENTIALS_MAX, CREDENTIALS_MAX_BYTES);
			else if (r < 0)
				snprintf(text, text_size, "credential %s: %s", name,
					r == -EINVAL ? "its name cannot be passed to a guest"
						     : strerror(-r));
		}
		free(entries[i]);
	}
	free(entries);
	close(fd);
	return r;
}

void credentials_finish(struct credentials *credentials)
{
	for (size_t i = 0; i < credentials->n_strings; i++) {
		explicit_bzero(credentials->strings[i], strlen(credentials->strings[i]));
		free(credentials->strings[i]);
	}
	*credentials = (struct credentials){};
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* links: see links.h. */
#include "links.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

/* As many as the kernel follows in one path. */
#define MAX_LINKS 40

struct walk {
	int fd;              /* owned: where it is */
	char rest[PATH_MAX]; /* the way from there */
	unsigned int n_links;
	uid_t owners[MAX_LINKS]; /* of links, but for root's */
	size_t n_owners;
};

static int begin(struct walk *walk)
{
	vmm_base_close(walk->fd);
	walk->fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return walk->fd < 0 ? -errno : 0;
}

/* The link's text comes in place of its name. */
static int follow(struct walk *walk, int link_fd, const char *rest, uid_t owner)
{
	char target[PATH_MAX];
	size_t n_rest = strlen(rest);
	ssize_t n = readlinkat(link_fd, "", target, sizeof(target));

	if (n < 0)
		return -errno;
	if (++walk->n_links > MAX_LINKS)
		return -ELOOP;
	if (n == 0 || (size_t)n + 1 + n_rest >= sizeof(walk->rest))
		return -ENAMETOOLONG;
	if (owner != 0)
		walk->owners[walk->n_owners++] = owner;
	/* rest lies in walk->rest. */
	memmove(walk->rest + n + 1, rest, n_rest + 1);
	memcpy(walk->rest, target, (size_t)n);
	walk->rest[n] = '/';
	return target[0] == '/' ? begin(walk) : 0;
}

/* One name further; 0: there is none. */
static int step(struct walk *walk)
{
	CLEANUP(close_p) int fd = -EBADF;
	struct stat st;
	char name[NAME_MAX + 1], *at = walk->rest + strspn(walk->rest, "/");
	size_t n = strcspn(at, "/");
	int r;

	if (n == 0)
		return 0;
	if (n > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, at, n);
	name[n] = '\0';
	fd = openat(walk->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode)) {
		r = follow(walk, fd, at + n, st.st_uid);
		return r < 0 ? r : 1;
	}
	memmove(walk->rest, at + n, strlen(at + n) + 1);
	vmm_base_close(walk->fd);
	walk->fd = TAKE_FD(fd);
	return 1;
}

int links_check(const char *path, const struct stat *opened)
{
	struct walk walk = { .fd = -EBADF };
	struct stat st;
	int r;

	if (path[0] != '/' || strlen(path) >= sizeof(walk.rest))
		return -EINVAL;
	strcpy(walk.rest, path);
	r = begin(&walk);
	while (r >= 0 && (r = step(&walk)) > 0)
		;
	if (r == 0 && fstat(walk.fd, &st) < 0)
		r = -errno;
	vmm_base_close(walk.fd);
	if (r < 0)
		return r;
	if (st.st_dev != opened->st_dev || st.st_ino != opened->st_ino)
		return -ESTALE;
	for (size_t i = 0; i < walk.n_owners; i++)
		if (walk.owners[i] != opened->st_uid)
			return -EXDEV;
	return 0;
}

/* What a file system calls fd, whatever its numbers say. Zero bytes: it calls it nothing. */
static void get_handle(int fd, struct file_handle *handle)
{
	int mount_id;

	handle->handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(fd, "", handle, &mount_id, AT_EMPTY_PATH) < 0)
		*handle = (struct file_handle){};
}

int links_same(int fd, int other_fd)
{
	union {
		struct file_handle handle;
		unsigned char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} one = {}, other = {};
	struct stat st, other_st;

	if (fstat(fd, &st) < 0 || fstat(other_fd, &other_st) < 0)
		return -errno;
	if (st.st_dev != other_st.st_dev || st.st_ino != other_st.st_ino ||
		(st.st_mode & S_IFMT) != (other_st.st_mode & S_IFMT))
		return -ESTALE;
	get_handle(fd, &one.handle);
	get_handle(other_fd, &other.handle);
	return memcmp(&one, &other, sizeof(one)) == 0 ? 0 : -ESTALE;
}

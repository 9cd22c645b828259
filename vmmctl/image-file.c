/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* image-file: making of images, copies, progress; see image.h. */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/util.h"
#include "image.h"

#define COPY_BYTES (1u << 20)
/* A hole must be a block of the file system at least to save anything. */
#define HOLE_BYTES 4096u
#define DRAW_NSEC UINT64_C(100000000)

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = number;
}

void image_catch_signals(void)
{
	/* No SA_RESTART: what waits is to notice. */
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

bool image_interrupted(void)
{
	return interrupted != 0;
}

char *image_name(const char *argument)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t size = strlen(argument), suffix = strlen(IMAGE_SUFFIX);

	if (size > suffix && strcmp(argument + size - suffix, IMAGE_SUFFIX) == 0)
		size -= suffix;
	if (size == 0 || size > IMAGE_MAX_NAME || strspn(argument, allowed) < size ||
		strchr("._-", argument[0])) {
		ctl_error(
			"\"%s\" is no image's name: it has letters, digits, '.', '_' and '-', and "
			"begins with a letter or digit",
			argument);
		return NULL;
	}
	return must_alloc(strndup(argument, size));
}

char *image_path(const struct ctl *ctl, const char *name)
{
	return must_printf("%s" IMAGE_DIRECTORY "/%s" IMAGE_SUFFIX, ctl->root, name);
}

/* ---- new images ---- */

static int open_directory(const struct ctl *ctl, int *ret_fd)
{
	CLEANUP(free_p) char *path = must_printf("%s" IMAGE_DIRECTORY, ctl->root);

	/* As the tmpfiles of the package make it. */
	if (mkdir(path, 0711) < 0 && errno != EEXIST && errno != EACCES) {
		ctl_error("%s: %m", path);
		return -errno;
	}
	*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd < 0) {
		ctl_error("%s: %m%s", path, errno == EACCES ? "; try it as root" : "");
		return -errno;
	}
	return 0;
}

int new_image_scratch(const struct new_image *image)
{
	CLEANUP(free_p) char *path = must_printf("/proc/self/fd/%d", image->directory_fd);
	int fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

/* A file with a name, for file systems that have no others. */
static int open_temporary(struct new_image *image)
{
	image->temporary = must_printf(".%s.%d", image->file_name, (int)getpid());
	image->fd = openat(image->directory_fd, image->temporary,
		O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return image->fd < 0 ? -errno : 0;
}

int new_image_begin(const struct ctl *ctl, const char *name, struct new_image *image)
{
	int r;

	*image = NEW_IMAGE_NONE;
	r = open_directory(ctl, &image->directory_fd);
	if (r < 0)
		return r;
	image->file_name = must_printf("%s" IMAGE_SUFFIX, name);
	/* Said before the work; linkat() decides. */
	if (faccessat(image->directory_fd, image->file_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		ctl_error("%s: there is such an image; vmmctl remove-image %s removes it", name,
			name);
		new_image_finish(image);
		return -EEXIST;
	}
	image->fd = new_image_scratch(image);
	r = image->fd < 0 ? image->fd : 0;
	if (r == -EOPNOTSUPP || r == -EISDIR || r == -EINVAL || r == -ENOENT)
		r = open_temporary(image);
	if (r < 0) {
		ctl_error("%s%s: %s%s", ctl->root, IMAGE_DIRECTORY, strerror(-r),
			r == -EACCES || r == -EPERM ? "; try it as root" : "");
		new_image_finish(image);
	}
	return r;
}

int new_image_end(struct new_image *image, uint64_t size_bytes)
{
	CLEANUP(free_p) char *path = must_printf("/proc/self/fd/%d", image->fd);
	struct stat st;
	int r;

	if (fstat(image->fd, &st) < 0)
		return -errno;
	if (st.st_size == 0)
		return -ENODATA;
	if (size_bytes == 0)
		size_bytes = ALIGN_UP((uint64_t)st.st_size, (uint64_t)IMAGE_SECTOR_BYTES);
	if (size_bytes < (uint64_t)st.st_size)
		return -ERANGE;
	if (ftruncate(image->fd, (off_t)size_bytes) < 0 || fsync(image->fd) < 0)
		return -errno;
	if (image_interrupted())
		return -EINTR;
	if (image->temporary)
		r = linkat(image->directory_fd, image->temporary, image->directory_fd,
			image->file_name, 0);
	else
		r = linkat(
			AT_FDCWD, path, image->directory_fd, image->file_name, AT_SYMLINK_FOLLOW);
	if (r < 0 || fsync(image->directory_fd) < 0)
		return -errno;
	return 0;
}

void new_image_finish(struct new_image *image)
{
	if (image->temporary)
		unlinkat(image->directory_fd, image->temporary, 0);
	vmm_base_close(image->fd);
	vmm_base_close(image->directory_fd);
	free(image->file_name);
	free(image->temporary);
	*image = NEW_IMAGE_NONE;
}

/* ---- progress ---- */

void progress_begin(
	struct progress *progress, const struct ctl *ctl, const char *what, uint64_t total)
{
	*progress = (struct progress){
		.what = what,
		.shown = !ctl->quiet && isatty(STDERR_FILENO),
		.total = total,
		.start_nsec = vmm_base_now_nsec(),
	};
}

void progress_set(struct progress *progress, uint64_t done)
{
	enum { WIDTH = 30 };
	static const char full[WIDTH + 1] = "==============================";
	uint64_t now = vmm_base_now_nsec();
	double part;
	int n;

	progress->done = done;
	if (!progress->shown || now - progress->drawn_nsec < DRAW_NSEC)
		return;
	progress->drawn_nsec = now;
	part = progress->total > 0 ? MIN((double)done / (double)progress->total, 1.0) : 0;
	n = (int)(part * WIDTH);
	fprintf(stderr, "\r%s [%.*s%*s] %3d%%  %3" PRIu64 " s\033[K", progress->what, n, full,
		WIDTH - n, "", (int)(part * 100), (now - progress->start_nsec) / 1000000000);
	fflush(stderr);
}

void progress_end(struct progress *progress)
{
	if (progress->shown && progress->drawn_nsec > 0)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}

/* ---- copies ---- */

static bool all_zero(const uint8_t *data, size_t size)
{
	return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

static int write_at(int fd, const uint8_t *data, size_t size, uint64_t offset)
{
	while (size > 0) {
		ssize_t n = pwrite(fd, data, size, (off_t)offset);

		if (n < 0 && (errno != EINTR || image_interrupted()))
			return -errno;
		if (n <= 0)
			continue;
		data += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int image_write(int fd, const uint8_t *data, size_t size, uint64_t offset)
{
	/* Runs of blocks that hold anything are written at once. */
	for (size_t i = 0; i < size;) {
		size_t begin = i;
		int r;

		while (i < size && !all_zero(data + i, MIN(size - i, HOLE_BYTES)))
			i += MIN(size - i, HOLE_BYTES);
		r = write_at(fd, data + begin, i - begin, offset + begin);
		if (r < 0)
			return r;
		i += MIN(size - i, HOLE_BYTES);
	}
	return 0;
}

int image_copy(int from_fd, int to_fd, struct progress *progress)
{
	CLEANUP(free_p) uint8_t *buffer = NULL;
	off_t offset = 0, data;
	struct stat st;
	int r;

	if (fstat(from_fd, &st) < 0)
		return -errno;
	if (ioctl(to_fd, FICLONE, from_fd) == 0)
		return 0;
	if (ftruncate(to_fd, st.st_size) < 0)
		return -errno;
	buffer = must_alloc(malloc(COPY_BYTES));
	while (offset < st.st_size) {
		ssize_t n;

		if (image_interrupted())
			return -EINTR;
		/* Past the holes; a file system that knows none says where we are. */
		data = lseek(from_fd, offset, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			break;
		if (data > offset)
			offset = data;
		n = pread(from_fd, buffer, (size_t)MIN((off_t)COPY_BYTES, st.st_size - offset),
			offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		/* Somebody makes it shorter: no whole copy. */
		if (n == 0)
			return -ESTALE;
		r = image_write(to_fd, buffer, (size_t)n, (uint64_t)offset);
		if (r < 0)
			return r;
		offset += n;
		progress_set(progress, (uint64_t)offset);
	}
	return 0;
}

bool image_locked(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * image-import: an image out of a file of a format that is named or has its extension. A file's
 * content never says what it is: then whoever wrote it, a guest too, would choose how it is read.
 *
 * A qcow2 file may name others, which qemu-img would read with our rights: its header is looked at
 * before anything else reads it, and one that names any is refused. See the QEMU project's
 * specification of qcow2, "Header".
 */
#include <endian.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/util.h"
#include "config.h"
#include "image.h"

#define PIPE_BYTES (1u << 18)

enum format {
	FORMAT_RAW,
	FORMAT_QCOW2,
};

static const struct compression {
	const char *extension;
	const char *program;
} compressions[] = {
	{ "xz", "xz" },
	{ "gz", "gzip" },
	{ "zst", "zstd" },
	{ "bz2", "bzip2" },
};

static const struct {
	const char *extension;
	enum format format;
} formats[] = {
	{ "raw", FORMAT_RAW },
	{ "img", FORMAT_RAW },
	{ "qcow2", FORMAT_QCOW2 },
};

struct import {
	const struct ctl *ctl;
	const char *path;
	int fd;         /* owned: the source */
	struct stat st; /* of it, before anything is read */
	enum format format;
	const struct compression *compression; /* NULL: none */
	struct new_image image;
	struct progress progress;
};

/* Cuts ".xz" and the like off *name, which it then ends. */
static const struct compression *find_compression(char *name)
{
	char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < ARRAY_SIZE(compressions); i++) {
		if (strcmp(dot + 1, compressions[i].extension) == 0) {
			*dot = '\0';
			return &compressions[i];
		}
	}
	return NULL;
}

/* The same for ".qcow2". */
static int find_format(char *name, enum format *ret)
{
	char *dot = strrchr(name, '.');
	const char *word = dot ? dot + 1 : name;

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (strcmp(word, formats[i].extension) != 0)
			continue;
		*ret = formats[i].format;
		if (dot)
			*dot = '\0';
		return 0;
	}
	return -EINVAL;
}

/* From the option, else from the file's name, of which ret_name is what is left. */
static int choose_format(struct import *import, char **ret_name)
{
	const struct ctl *ctl = import->ctl;
	const char *slash = strrchr(import->path, '/');
	CLEANUP(free_p) char *name = must_strdup(slash ? slash + 1 : import->path);
	const struct compression *compression = find_compression(name);
	enum format format = FORMAT_RAW;
	int r = find_format(name, &format);

	import->compression = compression;
	import->format = format;
	if (ctl->format) {
		CLEANUP(free_p) char *words = must_printf(".%s", ctl->format);

		/* "qcow2.xz" says both; "qcow2" leaves the compression to the file's name. */
		compression = find_compression(words);
		if (compression)
			import->compression = compression;
		if (find_format(words, &import->format) < 0 || *words != '\0') {
			ctl_error(
				"--format=%s: it is raw or qcow2, with .xz, .gz, .zst or .bz2 behind "
				"it where the file is compressed",
				ctl->format);
			return -EINVAL;
		}
	} else if (r < 0 && access(import->path, F_OK) < 0) {
		r = -errno;
		ctl_error("%s: %m", import->path);
		return r;
	} else if (r < 0) {
		ctl_error("%s: its name does not say what format it has; --format=raw or "
			  "--format=qcow2 does",
			import->path);
		return -EINVAL;
	}
	*ret_name = TAKE_PTR(name);
	return 0;
}

/* ---- programs ---- */

/*
 * Runs words[0]; its stdin is in_fd, its stdout the other end of *ret_fd, and it keeps the n
 * descriptors of kept. It ends with us.
 */
static int start_program(
	const char *const *words, int in_fd, const int *kept, size_t n, pid_t *ret_pid, int *ret_fd)
{
	pid_t parent = getpid(), pid;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		signal(SIGPIPE, SIG_DFL);
		if (getppid() != parent || dup2(in_fd, STDIN_FILENO) < 0 ||
			dup2(fds[1], STDOUT_FILENO) < 0)
			_exit(126);
		for (size_t i = 0; i < n; i++)
			fcntl(kept[i], F_SETFD, 0);
		execvp(words[0], (char *const *)words);
		_exit(127);
	}
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return -errno;
	}
	*ret_pid = pid;
	*ret_fd = fds[0];
	return 0;
}

/* Ends it first where the work has failed already. */
static int wait_program(const char *name, pid_t pid, int result)
{
	int status = 0;

	if (result < 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (result < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return result;
	if (image_interrupted())
		return -EINTR;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		ctl_error("%s is needed for this and cannot be run; is it installed?", name);
	else
		ctl_error("%s failed", name);
	return -ECANCELED;
}

/* What comes out of in_fd into out_fd, from its start, without blocks of zeros. */
static int write_stream(struct import *import, int in_fd, int out_fd)
{
	CLEANUP(free_p) uint8_t *buffer = must_alloc(malloc(PIPE_BYTES));
	uint64_t offset = 0;
	size_t fill = 0;
	bool end = false;
	int r;

	while (!end) {
		ssize_t n = read(in_fd, buffer + fill, PIPE_BYTES - fill);

		if (image_interrupted())
			return -EINTR;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		end = n == 0;
		fill += (size_t)n;
		if (fill < PIPE_BYTES && !end)
			continue;
		r = image_write(out_fd, buffer, fill, offset);
		if (r < 0)
			return r;
		offset += fill;
		fill = 0;
		/* The decompressor reads through the same open file. */
		if (import->st.st_size > 0)
			progress_set(&import->progress,
				(uint64_t)MAX(lseek(import->fd, 0, SEEK_CUR), (off_t)0));
	}
	return ftruncate(out_fd, (off_t)offset) < 0 ? -errno : 0;
}

static int decompress(struct import *import, int out_fd)
{
	const char *words[] = { import->compression->program, "-dc", NULL };
	CLEANUP(close_p) int fd = -EBADF;
	pid_t pid = -1;
	int r;

	r = start_program(words, import->fd, NULL, 0, &pid, &fd);
	if (r < 0)
		return r;
	r = write_stream(import, fd, out_fd);
	return wait_program(words[0], pid, r);
}

/* ---- qcow2 ---- */

/* Refuses what names other files. */
static int check_qcow2(const struct import *import, int fd, uint64_t *ret_size)
{
	struct {
		uint32_t magic, version;
		uint64_t backing_offset;
		uint32_t backing_size, cluster_bits;
		uint64_t size;
		uint8_t rest[40];
		uint64_t incompatible;
	} header = {};
	const char *wrong = NULL;
	int r;

	static_assert(offsetof(__typeof__(header), incompatible) == 72, "as specified");
	r = vmm_base_pread_full(fd, &header, sizeof(header), 0);
	if (r < 0 && r != -ENODATA)
		return r;
	if (be32toh(header.magic) != 0x514649fb)
		wrong = "it is no qcow2 image";
	else if (be32toh(header.version) != 2 && be32toh(header.version) != 3)
		wrong = "it is qcow2 of a version that is not known";
	else if (header.backing_offset != 0)
		wrong = "it builds on another image; make it whole with qemu-img rebase first";
	else if (be32toh(header.version) == 3 && be64toh(header.incompatible) & 4)
		wrong = "its data is in another file";
	if (wrong) {
		ctl_error("%s: %s", import->path, wrong);
		return -ECANCELED;
	}
	*ret_size = be64toh(header.size);
	return 0;
}

/* Follows qemu-img, which writes "(12.34/100%)" over and over. */
static int follow_percent(struct import *import, int fd)
{
	char text[128];
	size_t fill = 0;

	for (;;) {
		ssize_t n = read(fd, text + fill, sizeof(text) - 1 - fill);
		const char *bracket;

		if (image_interrupted())
			return -EINTR;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		fill += (size_t)n;
		text[fill] = '\0';
		bracket = strrchr(text, '(');
		if (bracket && strchr(bracket, '/'))
			progress_set(
				&import->progress, (uint64_t)(strtod(bracket + 1, NULL) * 100));
		if (fill > sizeof(text) / 2)
			fill = 0;
	}
}

static int convert(struct import *import, int from_fd)
{
	CLEANUP(free_p) char *from = must_printf("/proc/self/fd/%d", from_fd);
	CLEANUP(free_p) char *to = must_printf("/proc/self/fd/%d", import->image.fd);
	/* -n: into the file that is there, which is all zero. */
	const char *words[] = { "qemu-img", "convert", "-p", "-n", "--target-is-zero", "-f",
		"qcow2", "-O", "raw", from, to, NULL };
	const int kept[] = { from_fd, import->image.fd };
	CLEANUP(close_p) int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	CLEANUP(close_p) int fd = -EBADF;
	uint64_t size;
	pid_t pid = -1;
	int r;

	r = check_qcow2(import, from_fd, &size);
	if (r < 0)
		return r;
	if (size == 0 || size > INT64_MAX - IMAGE_SECTOR_BYTES)
		return size == 0 ? -ENODATA : -EFBIG;
	if (ftruncate(import->image.fd, (off_t)size) < 0)
		return -errno;
	r = start_program(words, null_fd, kept, ARRAY_SIZE(kept), &pid, &fd);
	if (r < 0)
		return r;
	progress_begin(&import->progress, import->ctl, "Converting", 10000);
	r = follow_percent(import, fd);
	return wait_program("qemu-img", pid, r);
}

/* ---- the verb ---- */

static int import_qcow2(struct import *import)
{
	CLEANUP(close_p) int scratch_fd = -EBADF;
	int r;

	if (!import->compression && S_ISREG(import->st.st_mode))
		return convert(import, import->fd);
	scratch_fd = new_image_scratch(&import->image);
	if (scratch_fd < 0)
		return scratch_fd;
	r = import->compression ? decompress(import, scratch_fd)
				: write_stream(import, import->fd, scratch_fd);
	return r < 0 ? r : convert(import, scratch_fd);
}

static int import_raw(struct import *import)
{
	if (import->compression)
		return decompress(import, import->image.fd);
	if (S_ISREG(import->st.st_mode))
		return image_copy(import->fd, import->image.fd, &import->progress);
	return write_stream(import, import->fd, import->image.fd);
}

static int open_source(struct import *import)
{
	if (strcmp(import->path, "-") == 0)
		import->fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	else
		import->fd = open(import->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (import->fd < 0 || fstat(import->fd, &import->st) < 0)
		return -errno;
	return S_ISDIR(import->st.st_mode) ? -EISDIR : 0;
}

/* What was looked at must be what was read. */
static int check_unchanged(const struct import *import)
{
	struct stat st;

	if (!S_ISREG(import->st.st_mode))
		return 0;
	if (fstat(import->fd, &st) < 0)
		return -errno;
	return st.st_ctim.tv_sec == import->st.st_ctim.tv_sec &&
			       st.st_ctim.tv_nsec == import->st.st_ctim.tv_nsec
		       ? 0
		       : -ESTALE;
}

static int import_image(struct import *import, const char *name, uint64_t size)
{
	int r = new_image_begin(import->ctl, name, &import->image);

	if (r < 0)
		return -ECANCELED;
	progress_begin(&import->progress, import->ctl, "Importing", (uint64_t)import->st.st_size);
	r = import->format == FORMAT_QCOW2 ? import_qcow2(import) : import_raw(import);
	progress_end(&import->progress);
	if (r == 0)
		r = check_unchanged(import);
	if (r == 0)
		r = new_image_end(&import->image, size);
	new_image_finish(&import->image);
	return r;
}

int verb_import_image(struct ctl *ctl, char **arguments)
{
	struct import import = { .ctl = ctl, .path = arguments[0], .fd = -EBADF };
	CLEANUP(free_p) char *base = NULL;
	CLEANUP(free_p) char *name = NULL;
	uint64_t size = 0;
	int r;

	if (ctl->host) {
		ctl_error("images are imported on their own host; use ssh %s vmmctl import-image",
			ctl->host);
		return EXIT_FAILURE;
	}
	if (choose_format(&import, &base) < 0)
		return EXIT_FAILURE;
	if (ctl->size &&
		(config_parse_size(ctl->size, &size) < 0 || size % IMAGE_SECTOR_BYTES != 0)) {
		ctl_error("--size=%s: it is a size of whole sectors, such as 10G", ctl->size);
		return EXIT_FAILURE;
	}
	if (!arguments[1] && strcmp(import.path, "-") == 0) {
		ctl_error("an image from stdin needs a name: vmmctl import-image - NAME");
		return EXIT_FAILURE;
	}
	name = image_name(arguments[1] ? arguments[1] : base);
	if (!name)
		return EXIT_FAILURE;
	image_catch_signals();
	r = open_source(&import);
	if (r == 0)
		r = import_image(&import, name, size);
	vmm_base_close(import.fd);
	if (r == -ERANGE)
		ctl_error("%s: it is larger than --size=%s", import.path, ctl->size);
	else if (r == -EINTR)
		ctl_error("interrupted; nothing is left of %s", name);
	else if (r == -ENODATA)
		ctl_error("%s: it is empty", import.path);
	else if (r == -ESTALE)
		ctl_error("%s: it has changed while it was read", import.path);
	else if (r < 0 && r != -ECANCELED)
		ctl_error("%s: %s", import.path, strerror(-r));
	return r < 0 ? EXIT_FAILURE : image_tell(ctl, name, "Imported");
}

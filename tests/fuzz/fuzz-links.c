/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: links: directories, files and symbolic links as the input says, and a path through them.
 * The kernel resolves it too: links_check() ends where that does, and refuses what is reached by
 * links of somebody else and by none of the owner's and root's. links_same() knows what is there.
 *
 * The input is lines, each a letter and what belongs to it, relative to a directory of its own:
 *   d NAME            a directory
 *   f NAME            a file
 *   l NAME TARGET     a link; @ at the beginning of TARGET stands for that directory
 *   o NAME TARGET     the same, of another owner than the files
 *   p PATH            the path, the last line
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuzz.h"
#include "links.h"

enum { MAX_ENTRIES = 64, OTHER_UID = 65534 };

struct tree {
	char root[64];
	int fd;
	char *made[MAX_ENTRIES]; /* names in it, in their order */
	bool is_dir[MAX_ENTRIES];
	size_t n_made;
	bool has_others;
};

/* A name of one step, or of more below directories that were made: never out of the tree. */
static bool is_inside(const char *name)
{
	return name[0] != '\0' && name[0] != '/' && strlen(name) < 200 && !strstr(name, "..");
}

static void made(struct tree *tree, const char *name, bool is_dir)
{
	tree->made[tree->n_made] = strdup(name);
	FUZZ_CHECK(tree->made[tree->n_made]);
	tree->is_dir[tree->n_made++] = is_dir;
}

static void make_link(struct tree *tree, const char *name, const char *target, bool is_others)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s%s", target[0] == '@' ? tree->root : "",
		target + (target[0] == '@'));
	if (symlinkat(full, tree->fd, name) < 0)
		return;
	made(tree, name, false);
	/* Only root can give it away; then its owner is that of the files. */
	if (is_others && fchownat(tree->fd, name, OTHER_UID, OTHER_UID, AT_SYMLINK_NOFOLLOW) == 0)
		tree->has_others = true;
}

/* False: a name leads out of the tree by a link. openat2() keeps what is made inside. */
static bool parent_is_inside(const struct tree *tree, const char *name)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	const char *slash = strrchr(name, '/');
	char parent[256];
	int fd;

	if (!slash)
		return true;
	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - name), name);
	fd = (int)syscall(SYS_openat2, tree->fd, parent, &how, sizeof(how));
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* Links there are none for others to follow: they lead to what the process has open. */
static bool is_magic(const char *path)
{
	return strstr(path, "proc") || strstr(path, "dev");
}

static void obey(struct tree *tree, char *line)
{
	char *name = strlen(line) > 2 ? line + 2 : line + strlen(line), *target = strchr(name, ' ');
	int fd;

	if (target)
		*target++ = '\0';
	if (tree->n_made >= MAX_ENTRIES || !is_inside(name) || !parent_is_inside(tree, name))
		return;
	if (line[0] == 'd' && mkdirat(tree->fd, name, 0700) == 0)
		made(tree, name, true);
	if ((line[0] == 'l' || line[0] == 'o') && target && *target != '\0' && !is_magic(target))
		make_link(tree, name, target, line[0] == 'o');
	if (line[0] != 'f')
		return;
	fd = openat(tree->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0) {
		close(fd);
		made(tree, name, false);
	}
}

static void look(const struct tree *tree, const char *name)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	struct stat st = {}, foreign;
	char path[PATH_MAX];
	int fd, r;

	snprintf(path, sizeof(path), "%s/%s", tree->root, name);
	if (stat(path, &st) < 0) {
		FUZZ_CHECK(links_check(path, &st) < 0);
		return;
	}
	r = links_check(path, &st);
	FUZZ_CHECK(r == 0 || r == -EXDEV);
	FUZZ_CHECK(r == 0 || tree->has_others);
	/* By no link at all: whoever else has some. */
	fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	FUZZ_CHECK(fd >= 0 || errno == ELOOP);
	FUZZ_CHECK(r == 0 || fd < 0);
	/* Of files of a third owner, only root's links may tell. */
	foreign = st;
	foreign.st_uid = OTHER_UID + 1;
	FUZZ_CHECK(links_check(path, &foreign) <= 0);
	FUZZ_CHECK(r == 0 || links_check(path, &foreign) == -EXDEV);
	FUZZ_CHECK(fd < 0 || links_check(path, &foreign) == 0);
	/* What was opened is not what is there. */
	foreign = st;
	foreign.st_ino++;
	FUZZ_CHECK(links_check(path, &foreign) == -ESTALE);
	if (fd < 0)
		return;
	FUZZ_CHECK(fstat(tree->fd, &foreign) == 0);
	FUZZ_CHECK(links_same(fd, fd) == 0);
	FUZZ_CHECK((links_same(fd, tree->fd) == 0) ==
		   (st.st_dev == foreign.st_dev && st.st_ino == foreign.st_ino));
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tree tree = { .root = "/tmp/fuzz-links-XXXXXX" };
	char *text, *rest = NULL;

	if (size > 8192)
		return 0;
	text = strndup((const char *)data, size);
	FUZZ_CHECK(text && mkdtemp(tree.root));
	tree.fd = open(tree.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_CHECK(tree.fd >= 0);
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (line[0] == 'p' && strlen(line) > 2 && strlen(line) < PATH_MAX - 128 &&
			!is_magic(line))
			look(&tree, line + 2);
		else
			obey(&tree, line);
	}
	while (tree.n_made > 0) {
		tree.n_made--;
		FUZZ_CHECK(unlinkat(tree.fd, tree.made[tree.n_made],
				   tree.is_dir[tree.n_made] ? AT_REMOVEDIR : 0) == 0);
		free(tree.made[tree.n_made]);
	}
	close(tree.fd);
	FUZZ_CHECK(rmdir(tree.root) == 0);
	free(text);
	return 0;
}

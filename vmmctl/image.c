/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* image: the verbs that list, clone and remove images; see image.h. */
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "config.h"
#include "image.h"
#include "table.h"

/* What machines name as their drives. */
struct users {
	struct user {
		dev_t device;
		ino_t inode;
		char *machine; /* owned */
	} * items;             /* owned */
	size_t n_items;
};

static void users_finish(struct users *users)
{
	for (size_t i = 0; i < users->n_items; i++)
		free(users->items[i].machine);
	free(users->items);
}

static void add_user(struct users *users, const char *machine, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return;
	users->items =
		must_alloc(reallocarray(users->items, users->n_items + 1, sizeof(*users->items)));
	users->items[users->n_items++] =
		(struct user){ st.st_dev, st.st_ino, must_strdup(machine) };
}

/* Of all machines whose files can be read. */
static struct users find_users(const struct ctl *ctl)
{
	CLEANUP(config_messages_finish) struct config_messages messages = {};
	struct users users = {};
	char **names = NULL;
	size_t n = 0;

	if (config_list(ctl->root, &messages, &names, &n) < 0)
		return users;
	for (size_t i = 0; i < n; i++) {
		CLEANUP(config_messages_finish) struct config_messages ignored = {};
		struct vm_config *config = NULL;

		if (config_load(ctl->root, names[i], &ignored, &config) < 0)
			continue;
		for (size_t j = 0; j < config->n_drives; j++)
			add_user(&users, names[i], config->drives[j].path.value);
		vm_config_free(config);
	}
	config_names_free(names, n);
	return users;
}

static struct value machines_of(const struct users *users, const struct stat *st)
{
	struct value list = value_array();

	for (size_t i = 0; i < users->n_items; i++)
		if (users->items[i].device == st->st_dev && users->items[i].inode == st->st_ino)
			value_append(&list, value_string(users->items[i].machine));
	return list;
}

/* An object with what is known of an image. Negative where it is none. */
static int describe(
	const struct ctl *ctl, const struct users *users, const char *name, struct value *ret)
{
	CLEANUP(free_p) char *path = image_path(ctl, name);
	/* O_NONBLOCK: a name may stand for anything. */
	CLEANUP(close_p)
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*ret = value_object();
	value_set(ret, "name", value_string(name));
	value_set(ret, "path", value_string(path));
	value_set(ret, "size", value_unsigned((uint64_t)st.st_size));
	value_set(ret, "usage", value_unsigned((uint64_t)st.st_blocks * 512));
	value_set(ret, "timestamp",
		value_unsigned((uint64_t)st.st_mtim.tv_sec * 1000000 +
			       (uint64_t)st.st_mtim.tv_nsec / 1000));
	value_set(ret, "locked", value_bool(image_locked(fd)));
	value_set(ret, "machines", machines_of(users, &st));
	return 0;
}

int image_tell(const struct ctl *ctl, const char *name, const char *what)
{
	CLEANUP(users_finish) struct users users = {};
	CLEANUP(free_p) char *size = NULL;
	struct value image = {};
	int r;

	if (ctl->json != JSON_OFF)
		users = find_users(ctl);
	r = describe(ctl, &users, name, &image);
	if (r < 0) {
		ctl_error("%s: %s", name, strerror(-r));
		return EXIT_FAILURE;
	}
	size = format_bytes(value_get_unsigned(&image, "size"));
	if (ctl->json != JSON_OFF)
		ctl_print_json(ctl, &image);
	else if (!ctl->quiet)
		printf("%s %s: %s, %s\n", what, name, value_get_string(&image, "path"), size);
	value_finish(&image);
	return EXIT_SUCCESS;
}

static int is_image(const struct dirent *entry)
{
	size_t size = strlen(entry->d_name), suffix = strlen(IMAGE_SUFFIX);

	return size > suffix && entry->d_name[0] != '.' &&
	       strcmp(entry->d_name + size - suffix, IMAGE_SUFFIX) == 0;
}

static void add_row(struct table *table, const struct value *image)
{
	const struct value *machines = value_get(image, "machines");
	CLEANUP(free_p) char *size = format_bytes(value_get_unsigned(image, "size"));
	CLEANUP(free_p) char *usage = format_bytes(value_get_unsigned(image, "usage"));
	CLEANUP(free_p) char *time = format_time(value_get_unsigned(image, "timestamp"));
	char *text = NULL;
	size_t text_size;
	FILE *stream = must_alloc(open_memstream(&text, &text_size));

	value_print_plain(stream, machines);
	if (fclose(stream) != 0)
		must_alloc(NULL);
	table_add(table, "", value_get_string(image, "name"));
	table_add(table, "", size);
	table_add(table, "", usage);
	table_add(table, "", time);
	table_add(table, "", value_get_bool(image, "locked") ? "yes" : "no");
	table_add(table, "", text);
	free(text);
}

static bool matches(const char *name, char **patterns)
{
	if (!patterns[0])
		return true;
	for (; *patterns; patterns++)
		if (fnmatch(*patterns, name, 0) == 0)
			return true;
	return false;
}

static void print_images(const struct ctl *ctl, const struct value *list)
{
	static const char *const headings[] = { "NAME", "SIZE", "USAGE", "CHANGED", "LOCKED",
		"MACHINES" };
	struct table table = {
		.headings = headings, .n_columns = ARRAY_SIZE(headings), .right = 1u << 1 | 1u << 2
	};

	for (size_t i = 0; i < list->n_items; i++)
		add_row(&table, &list->items[i]);
	if (list->n_items > 0) {
		table_print(&table, ctl, stdout);
		if (ctl->legend && !ctl->quiet)
			printf("\n%zu image%s listed.\n", list->n_items,
				list->n_items == 1 ? "" : "s");
	} else if (ctl->legend && !ctl->quiet) {
		puts("No images. vmmctl import-image makes one of a file.");
	}
	table_finish(&table);
}

static int refuse_host(const struct ctl *ctl)
{
	if (!ctl->host)
		return 0;
	ctl_error("images are files of their host; use ssh %s vmmctl %s", ctl->host, ctl->verb);
	return -EINVAL;
}

int verb_list_images(struct ctl *ctl, char **arguments)
{
	CLEANUP(users_finish) struct users users = {};
	CLEANUP(free_p) char *directory = must_printf("%s" IMAGE_DIRECTORY, ctl->root);
	struct value list = value_array();
	struct dirent **entries = NULL;
	int n;

	if (refuse_host(ctl) < 0)
		return EXIT_FAILURE;
	n = scandir(directory, &entries, is_image, alphasort);
	if (n < 0 && errno != ENOENT) {
		ctl_error("%s: %m%s", directory, errno == EACCES ? "; try it as root" : "");
		return EXIT_FAILURE;
	}
	users = find_users(ctl);
	for (int i = 0; i < n; i++) {
		struct value image;

		entries[i]->d_name[strlen(entries[i]->d_name) - strlen(IMAGE_SUFFIX)] = '\0';
		if (matches(entries[i]->d_name, arguments) &&
			describe(ctl, &users, entries[i]->d_name, &image) == 0)
			value_append(&list, image);
		free(entries[i]);
	}
	free(entries);
	ctl_open_pager(ctl);
	if (ctl->json != JSON_OFF)
		ctl_print_json(ctl, &list);
	else
		print_images(ctl, &list);
	value_finish(&list);
	return EXIT_SUCCESS;
}

/* ---- clone ---- */

/* Opens an image under a lock that keeps machines from writing it, or from using it at all. */
static int open_locked(const struct ctl *ctl, const char *name, bool alone, int *ret_fd)
{
	CLEANUP(free_p) char *path = image_path(ctl, name);
	CLEANUP(close_p)
	int fd = open(
		path, (alone ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
	struct flock lock = { .l_type = alone ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET };
	struct stat st;

	if (fd < 0 && errno == ENOENT) {
		ctl_error("%s: there is no such image; vmmctl list-images lists them", name);
		return -ENOENT;
	}
	if (fd < 0 || fstat(fd, &st) < 0) {
		ctl_error("%s: %m%s", name, errno == EACCES ? "; try it as root" : "");
		return -errno;
	}
	if (!S_ISREG(st.st_mode)) {
		ctl_error("%s: it is no regular file", name);
		return -EINVAL;
	}
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		ctl_error("%s: a machine that runs uses it", name);
		return -EBUSY;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int clone_image(const struct ctl *ctl, const char *from, const char *to, uint64_t size)
{
	CLEANUP(close_p) int from_fd = -EBADF;
	CLEANUP(new_image_finish) struct new_image image = NEW_IMAGE_NONE;
	struct progress progress;
	struct stat st;
	int r;

	if (open_locked(ctl, from, false, &from_fd) < 0 || new_image_begin(ctl, to, &image) < 0 ||
		fstat(from_fd, &st) < 0)
		return -ECANCELED;
	image_catch_signals();
	progress_begin(&progress, ctl, "Cloning", (uint64_t)st.st_size);
	r = image_copy(from_fd, image.fd, &progress);
	progress_end(&progress);
	return r < 0 ? r : new_image_end(&image, size);
}

int verb_clone(struct ctl *ctl, char **arguments)
{
	CLEANUP(free_p) char *from = image_name(arguments[0]);
	CLEANUP(free_p) char *to = image_name(arguments[1]);
	uint64_t size = 0;
	int r;

	if (!from || !to || refuse_host(ctl) < 0)
		return EXIT_FAILURE;
	if (ctl->size &&
		(config_parse_size(ctl->size, &size) < 0 || size % IMAGE_SECTOR_BYTES != 0)) {
		ctl_error("--size=%s: it is a size of whole sectors, such as 10G", ctl->size);
		return EXIT_FAILURE;
	}
	r = clone_image(ctl, from, to, size);
	if (r == -ERANGE)
		ctl_error("%s: it is larger than --size=%s", from, ctl->size);
	else if (r == -EINTR)
		ctl_error("interrupted; nothing is left of %s", to);
	else if (r < 0 && r != -ECANCELED)
		ctl_error("%s: %s", to, strerror(-r));
	return r < 0 ? EXIT_FAILURE : image_tell(ctl, to, "Cloned");
}

/* ---- remove ---- */

static int remove_image(const struct ctl *ctl, const struct users *users, const char *name)
{
	CLEANUP(free_p) char *path = image_path(ctl, name);
	CLEANUP(close_p) int fd = -EBADF;
	struct value machines;
	struct stat st;
	int r = 0;

	/* The lock is held until it is gone: no machine takes it meanwhile. */
	if (open_locked(ctl, name, true, &fd) < 0 || fstat(fd, &st) < 0)
		return -EBUSY;
	machines = machines_of(users, &st);
	if (machines.n_items > 0 && !ctl->force) {
		ctl_error("%s: machine %s has it as a drive; --force removes it all the same", name,
			machines.items[0].string);
		r = -EBUSY;
	}
	value_finish(&machines);
	if (r == 0 && unlink(path) < 0) {
		ctl_error("%s: %m", name);
		r = -errno;
	}
	if (r == 0)
		ctl_note(ctl, "Removed %s.", name);
	return r;
}

int verb_remove_image(struct ctl *ctl, char **arguments)
{
	CLEANUP(users_finish) struct users users = {};
	int status = EXIT_SUCCESS;

	if (refuse_host(ctl) < 0)
		return EXIT_FAILURE;
	users = find_users(ctl);
	for (; *arguments; arguments++) {
		CLEANUP(free_p) char *name = image_name(*arguments);

		if (!name || remove_image(ctl, &users, name) < 0)
			status = EXIT_FAILURE;
	}
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config: finding the files of a machine, reading them in their order, checking the whole. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "config-internal.h"
#include "hash.h"

/* From the strongest to the weakest. */
static const char *const directories[] = { "/etc/vmm", "/run/vmm", "/usr/lib/vmm" };

static void close_dir_p(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

int config_new(const char *name, struct vm_config **ret)
{
	struct vm_config *config = calloc(1, sizeof(*config));

	if (!config)
		return -ENOMEM;
	config->fingerprint = HASH_BEGIN;
	config->name = strdup(name);
	if (!config->name) {
		free(config);
		return -ENOMEM;
	}
	*ret = config;
	return 0;
}

void config_drive_finish(struct config_drive *drive)
{
	free(drive->name.value);
	free(drive->path.value);
	free(drive->socket.value);
	free(drive->serial.value);
	*drive = (struct config_drive){};
}

void config_network_finish(struct config_network *network)
{
	free(network->name.value);
	free(network->bridge.value);
	free(network->zone.value);
	free(network->macvtap.value);
	free(network->forward.value);
	free(network->socket.value);
	free(network->mac.value);
	*network = (struct config_network){};
}

void config_share_finish(struct config_share *share)
{
	free(share->tag.value);
	free(share->path.value);
	free(share->socket.value);
	*share = (struct config_share){};
}

struct vm_config *vm_config_free(struct vm_config *config)
{
	if (!config)
		return NULL;
	free(config->name);
	for (size_t i = 0; i < config->n_files; i++)
		free(config->files[i]);
	free(config->files);
	free(config->machine.description.value);
	free(config->machine.ready_text.value);
	free(config->boot.kernel.value);
	free(config->boot.initrd.value);
	free(config->boot.command_line.value);
	free(config->vsock.host_ports.value);
	for (size_t i = 0; i < config->n_drives; i++)
		config_drive_finish(&config->drives[i]);
	free(config->drives);
	for (size_t i = 0; i < config->n_networks; i++)
		config_network_finish(&config->networks[i]);
	free(config->networks);
	for (size_t i = 0; i < config->n_shares; i++)
		config_share_finish(&config->shares[i]);
	free(config->shares);
	for (size_t i = 0; i < CONFIG_N_PASS_SECTIONS; i++) {
		for (size_t j = 0; j < config->pass[i].n_lines; j++)
			free(config->pass[i].lines[j].text);
		free(config->pass[i].lines);
	}
	free(config);
	return NULL;
}

static void config_free_p(struct vm_config **config)
{
	vm_config_free(*config);
}

int config_add_file(struct vm_config *config, const char *path)
{
	char **files = reallocarray(config->files, config->n_files + 1, sizeof(*files));

	if (!files)
		return -ENOMEM;
	config->files = files;
	files[config->n_files] = strdup(path);
	if (!files[config->n_files])
		return -ENOMEM;
	config->n_files++;
	return 0;
}

static void fingerprint_add(struct vm_config *config, const char *data, size_t size)
{
	/* One step more than there are bytes keeps "a","bc" from being "ab","c". */
	config->fingerprint = hash_step(hash_bytes(config->fingerprint, data, size), 0x100);
}

int config_read_fd(int fd, char **ret_text, size_t *ret_size)
{
	CLEANUP(free_p) char *text = NULL;
	struct stat st;
	size_t size = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -ENOTSUP;
	if (st.st_size > CONFIG_MAX_FILE_BYTES)
		return -EFBIG;
	/* It may grow meanwhile: the limit is that of the buffer, whatever fstat said. */
	text = malloc(CONFIG_MAX_FILE_BYTES + 2);
	if (!text)
		return -ENOMEM;
	while (size <= CONFIG_MAX_FILE_BYTES) {
		ssize_t n = pread(fd, text + size, CONFIG_MAX_FILE_BYTES + 1 - size, (off_t)size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		size += (size_t)n;
	}
	if (size > CONFIG_MAX_FILE_BYTES)
		return -EFBIG;
	text[size] = 0;
	*ret_text = TAKE_PTR(text);
	*ret_size = size;
	return 0;
}

/* A file of which nothing is known: what else could be said of it is not its fault. */
static int unreadable(struct config_messages *messages, const char *path, const char *why)
{
	int r = config_messages_add(messages, CONFIG_ERROR, path, 0, NULL, "%s", why);

	return r < 0 ? r : -EBADMSG;
}

static void too_large(char *why, size_t size)
{
	snprintf(why, size, "the file is larger than %d bytes", CONFIG_MAX_FILE_BYTES);
}

/* Adds file number config->n_files - 1 from fd. A fault in its text is a message and success,
 * one that nobody can read a message and -EBADMSG. */
static int add_fd(struct vm_config *config, int fd, struct config_messages *messages)
{
	unsigned file = (unsigned)config->n_files - 1;
	const char *path = config->files[file];
	CLEANUP(free_p) char *text = NULL;
	char why[128];
	size_t size;
	int r;

	r = config_read_fd(fd, &text, &size);
	if (r == -ENOMEM)
		return r;
	if (r == -EFBIG)
		too_large(why, sizeof(why));
	else if (r == -EISDIR || r == -ENOTSUP)
		snprintf(why, sizeof(why), "%s",
			r == -EISDIR ? "this is a directory" : "this is not a regular file");
	else if (r < 0)
		snprintf(why, sizeof(why), "cannot be read: %s", strerror(-r));
	if (r < 0)
		return unreadable(messages, path, why);
	fingerprint_add(config, path, strlen(path));
	fingerprint_add(config, text, size);
	r = config_parse_text(config, file, text, size, messages);
	return r == -EBADMSG ? 0 : r;
}

static int add_path(struct vm_config *config, const char *path, struct config_messages *messages)
{
	CLEANUP(close_p) int fd = -EBADF;
	char why[128];
	int r;

	r = config_add_file(config, path);
	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		snprintf(why, sizeof(why), "cannot be opened: %s", strerror(errno));
		return unreadable(messages, path, why);
	}
	return add_fd(config, fd, messages);
}

/* /dev/null, by link, hides what weaker directories hold. */
static bool is_masked(const char *path)
{
	struct stat st, null;

	return stat(path, &st) == 0 && stat("/dev/null", &null) == 0 && S_ISCHR(st.st_mode) &&
	       st.st_rdev == null.st_rdev;
}

int config_find(const char *root, const char *name, char **ret_path)
{
	if (!config_name_valid(name))
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		CLEANUP(free_p) char *path = NULL;
		struct stat st;

		if (asprintf(&path, "%s%s/%s.vm", root ? root : "", directories[i], name) < 0) {
			path = NULL;
			return -ENOMEM;
		}
		if (lstat(path, &st) < 0)
			continue;
		if (is_masked(path))
			return -ENOENT;
		*ret_path = TAKE_PTR(path);
		return 0;
	}
	return -ENOENT;
}

/* A sorted list of strings, each of its own. */
struct names {
	char **items; /* owned */
	size_t n;
};

static void names_finish(struct names *names)
{
	config_names_free(names->items, names->n);
	*names = (struct names){};
}

void config_names_free(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

/* 1 when it was new, 0 when it was there. */
static int names_add(struct names *names, const char *name, size_t limit)
{
	size_t low = 0, high = names->n;
	char **items, *copy;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = strcmp(names->items[middle], name);

		if (c == 0)
			return 0;
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (names->n >= limit)
		return -E2BIG;
	copy = strdup(name);
	items = copy ? reallocarray(names->items, names->n + 1, sizeof(*items)) : NULL;
	if (!items) {
		free(copy);
		return -ENOMEM;
	}
	names->items = items;
	memmove(&items[low + 1], &items[low], (names->n - low) * sizeof(*items));
	items[low] = copy;
	names->n++;
	return 1;
}

static bool has_suffix(const char *text, const char *suffix)
{
	size_t n = strlen(text), m = strlen(suffix);

	return n > m && strcmp(text + n - m, suffix) == 0;
}

/* The names of a directory's entries that end in suffix and do not begin with a dot. */
static int scan(const char *path, const char *suffix, size_t limit, struct names *names)
{
	CLEANUP(close_dir_p) DIR *dir = opendir(path);
	struct dirent *entry;
	int r;

	if (!dir)
		return errno == ENOMEM ? -ENOMEM : 0;
	while ((errno = 0, entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || !has_suffix(entry->d_name, suffix))
			continue;
		r = names_add(names, entry->d_name, limit);
		if (r < 0)
			return r;
	}
	return -errno;
}

static int add_dropins(struct vm_config *config, const char *root, struct config_messages *messages)
{
	CLEANUP(names_finish) struct names names = {};
	char path[4096];
	struct stat st;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		snprintf(path, sizeof(path), "%s%s/%s.vm.d", root, directories[i], config->name);
		r = scan(path, ".conf", CONFIG_MAX_DROPINS, &names);
		if (r == -E2BIG)
			return config_messages_add(messages, CONFIG_ERROR, path, 0, NULL,
				"more than %d drop-ins", CONFIG_MAX_DROPINS);
		if (r < 0)
			return r;
	}
	for (size_t n = 0; n < names.n; n++) {
		for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
			snprintf(path, sizeof(path), "%s%s/%s.vm.d/%s", root, directories[i],
				config->name, names.items[n]);
			if (lstat(path, &st) == 0)
				break;
		}
		if (is_masked(path))
			continue;
		r = add_path(config, path, messages);
		if (r < 0)
			return r;
	}
	return 0;
}

static int finish_load(struct vm_config **config, struct config_messages *messages,
	size_t errors_before, struct vm_config **ret)
{
	int r = config_complete(*config, messages);

	if (r < 0)
		return r;
	if (messages->n_errors > errors_before)
		return -EBADMSG;
	*ret = TAKE_PTR(*config);
	return 0;
}

static int bad_name(const char *name, struct config_messages *messages)
{
	int r = config_messages_add(messages, CONFIG_ERROR, name, 0, NULL,
		"not a machine's name: a-z, 0-9 and inside also -, at most %d characters",
		CONFIG_MAX_NAME);

	return r < 0 ? r : -EINVAL;
}

int config_load(const char *root, const char *name, struct config_messages *messages,
	struct vm_config **ret)
{
	CLEANUP(config_free_p) struct vm_config *config = NULL;
	CLEANUP(free_p) char *path = NULL;
	size_t errors_before = messages->n_errors;
	size_t n_root;
	int r;

	root = root ? root : "";
	n_root = strlen(root);
	if (n_root > 3072)
		return -ENAMETOOLONG;
	r = config_find(root, name, &path);
	if (r == -EINVAL)
		return bad_name(name, messages);
	if (r < 0)
		return r;
	r = config_new(name, &config);
	if (r < 0)
		return r;
	config->transient = strncmp(path + n_root, "/run/", 5) == 0;
	r = add_path(config, path, messages);
	if (r < 0)
		return r;
	r = add_dropins(config, root, messages);
	if (r < 0)
		return r;
	return finish_load(&config, messages, errors_before, ret);
}

int config_load_fd(int fd, const char *path, const char *name, struct config_messages *messages,
	struct vm_config **ret)
{
	CLEANUP(config_free_p) struct vm_config *config = NULL;
	size_t errors_before = messages->n_errors;
	int r;

	if (!config_name_valid(name))
		return bad_name(name, messages);
	r = config_new(name, &config);
	if (r < 0)
		return r;
	r = config_add_file(config, path);
	if (r < 0)
		return r;
	r = add_fd(config, fd, messages);
	if (r < 0)
		return r;
	return finish_load(&config, messages, errors_before, ret);
}

int config_load_text(const char *text, size_t size, const char *path, const char *name,
	struct config_messages *messages, struct vm_config **ret)
{
	CLEANUP(config_free_p) struct vm_config *config = NULL;
	size_t errors_before = messages->n_errors;
	char why[128];
	int r;

	if (!config_name_valid(name))
		return bad_name(name, messages);
	r = config_new(name, &config);
	if (r < 0)
		return r;
	r = config_add_file(config, path);
	if (r < 0)
		return r;
	fingerprint_add(config, path, strlen(path));
	fingerprint_add(config, text, size);
	if (size > CONFIG_MAX_FILE_BYTES) {
		too_large(why, sizeof(why));
		return unreadable(messages, path, why);
	}
	r = config_parse_text(config, 0, text, size, messages);
	if (r < 0 && r != -EBADMSG)
		return r;
	return finish_load(&config, messages, errors_before, ret);
}

int config_list(
	const char *root, struct config_messages *messages, char ***ret_names, size_t *ret_n)
{
	CLEANUP(names_finish) struct names names = {};
	char path[4096];
	int r;

	root = root ? root : "";
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		CLEANUP(names_finish) struct names files = {};

		snprintf(path, sizeof(path), "%s%s", root, directories[i]);
		r = scan(path, ".vm", CONFIG_MAX_MACHINES, &files);
		for (size_t j = 0; r >= 0 && j < files.n; j++) {
			CLEANUP(free_p) char *file = NULL, *found = NULL;
			char *name = files.items[j];

			if (asprintf(&file, "%s/%s", path, name) < 0) {
				file = NULL;
				return -ENOMEM;
			}
			name[strlen(name) - 3] = 0;
			r = config_find(root, name, &found);
			if (r == -EINVAL)
				r = config_messages_add(messages, CONFIG_WARNING, file, 0, NULL,
					"ignored: the file's name is not a machine's name, which has a-z, "
					"0-9 and inside also -, at most %d characters",
					CONFIG_MAX_NAME);
			else if (r == -ENOENT) /* masked */
				r = 0;
			else if (r == 0)
				r = names_add(&names, name, CONFIG_MAX_MACHINES);
		}
		if (r == -E2BIG)
			r = config_messages_add(messages, CONFIG_WARNING, path, 0, NULL,
				"more than %d machines: the rest is ignored", CONFIG_MAX_MACHINES);
		if (r < 0)
			return r;
	}
	*ret_names = names.items;
	*ret_n = names.n;
	names = (struct names){};
	return 0;
}

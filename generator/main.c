/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * vmm-generator: a systemd.generator(7) that brings .vm files to their units. For each NAME.vm it
 * writes one drop-in for vmm@NAME.service, and one for each unit that serves a drive, share or
 * network of it; never a whole unit: a generated unit could not be enabled.
 *
 * It runs early and on each daemon-reload: no bus, no syslog, it writes to the directory that it is
 * given and logs to the kernel's buffer. A file that cannot be used still gets its drop-in, so that
 * a start fails and says why instead of there being no such unit. --dry-run prints the drop-ins
 * and the messages, and fails when a file cannot be used.
 */
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>

#include "base/util.h"
#include "dropin.h"

/* vmm-drive@MACHINE:DRIVE.service and shorter ones. */
#define UNIT_NAME_SIZE 128

struct generator {
	const char *root; /* borrowed: what stands for /, "" for the system's own */
	bool dry_run;
	int directory_fd; /* owned; where the drop-ins go */
	int kmsg_fd;      /* owned; negative: messages go to stderr */
	bool broken;      /* a file cannot be used */
};

static void say(const struct generator *generator, int priority, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void say(const struct generator *generator, int priority, const char *format, ...)
{
	char text[900], record[960]; /* a record of the kernel's buffer has up to 1 KiB */
	va_list args;
	int n;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *c = text; *c != '\0'; c++) {
		if (*c == '\n')
			*c = ' ';
	}
	n = snprintf(record, sizeof(record), "<%d>vmm-generator[%d]: %s\n", LOG_DAEMON | priority,
		(int)getpid(), text);
	/* One write is one record. dprintf() fails here, as the buffer cannot be sought in. */
	if (generator->kmsg_fd < 0 || write(generator->kmsg_fd, record, (size_t)n) < 0)
		fprintf(stderr, "vmm-generator: %s\n", text);
}

static void say_messages(const struct generator *generator, const struct config_messages *messages)
{
	for (size_t i = 0; i < messages->n_items; i++) {
		const struct config_message *message = &messages->items[i];
		CLEANUP(free_p) char *text = NULL;

		if (config_message_format(message, &text) < 0)
			continue;
		if (message->severity == CONFIG_ERROR)
			say(generator, LOG_ERR, "%s", text);
		else
			say(generator, LOG_WARNING, "warning: %s", text);
	}
}

/* Puts text into directory_fd/UNIT.d/DROPIN_NAME, all at once or not at all. */
static int put_dropin(int directory_fd, const char *unit, const char *text, size_t size)
{
	CLEANUP(close_p) int unit_fd = -EBADF;
	CLEANUP(close_p) int fd = -EBADF;
	char directory[UNIT_NAME_SIZE + sizeof(".d")];
	char temporary[64];
	int r;

	snprintf(directory, sizeof(directory), "%s.d", unit);
	if (mkdirat(directory_fd, directory, 0755) < 0 && errno != EEXIST)
		return -errno;
	unit_fd = openat(directory_fd, directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (unit_fd < 0)
		return -errno;

	snprintf(temporary, sizeof(temporary), ".#%s.%d", DROPIN_NAME, (int)getpid());
	fd = openat(unit_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	r = vmm_base_write_full(fd, text, size);
	if (r == 0 && renameat(unit_fd, temporary, unit_fd, DROPIN_NAME) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(unit_fd, temporary, 0);
	return r;
}

/* A drop-in while it is written. */
struct draft {
	FILE *stream; /* NULL: no memory for it */
	char *text;   /* owned */
	size_t size;
};

static void draft_open(struct draft *draft)
{
	*draft = (struct draft){};
	draft->stream = open_memstream(&draft->text, &draft->size);
}

/* Ends the draft: the drop-in of unit is in its place, or shown. */
static int draft_put(const struct generator *generator, struct draft *draft, const char *unit)
{
	bool failed = !draft->stream || ferror(draft->stream);
	int r = 0;

	if (draft->stream && fclose(draft->stream) != 0)
		failed = true;
	if (failed)
		r = -ENOMEM;
	else if (generator->dry_run)
		printf("# %s.d/%s\n%s\n", unit, DROPIN_NAME, draft->text);
	else
		r = put_dropin(generator->directory_fd, unit, draft->text, draft->size);
	free(draft->text);
	return r;
}

/* Of the drives, networks and shares that have units of their own. */
static int generate_backends(
	const struct generator *generator, const char *path, const struct vm_config *config)
{
	char unit[UNIT_NAME_SIZE];
	struct draft draft;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < config->n_drives; i++) {
		if (!config_drive_has_unit(&config->drives[i]))
			continue;
		draft_open(&draft);
		if (draft.stream)
			dropin_write_drive(draft.stream, path, &config->drives[i]);
		snprintf(unit, sizeof(unit), "vmm-drive@%s:%s.service", config->name,
			config->drives[i].name.value);
		r = draft_put(generator, &draft, unit);
	}
	for (size_t i = 0; r >= 0 && i < config->n_networks; i++) {
		if (!config->networks[i].user.value)
			continue;
		draft_open(&draft);
		if (draft.stream)
			dropin_write_network(
				draft.stream, path, config->name, &config->networks[i]);
		snprintf(unit, sizeof(unit), "vmm-network@%s:%s.service", config->name,
			config->networks[i].name.value);
		r = draft_put(generator, &draft, unit);
	}
	for (size_t i = 0; r >= 0 && i < config->n_shares; i++) {
		if (!config_share_has_unit(&config->shares[i]))
			continue;
		draft_open(&draft);
		if (draft.stream)
			dropin_write_share(draft.stream, path, &config->shares[i]);
		snprintf(unit, sizeof(unit), "vmm-share@%s:%s.service", config->name,
			config->shares[i].tag.value);
		r = draft_put(generator, &draft, unit);
	}
	return r;
}

/* 0 also for a file that cannot be used. */
static int generate(struct generator *generator, const char *name)
{
	struct config_messages messages = {};
	struct vm_config *config = NULL;
	size_t n_root = strlen(generator->root);
	CLEANUP(free_p) char *path = NULL;
	char unit[UNIT_NAME_SIZE];
	struct draft draft;
	int r;

	r = config_find(generator->root, name, &path);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = config_load(generator->root, name, &messages, &config);
	if (r < 0 && r != -ENOMEM) {
		if (messages.n_errors == 0)
			config_messages_add(&messages, CONFIG_ERROR, path, 0, NULL,
				"it cannot be read: %s", strerror(-r));
		generator->broken = true;
		r = 0;
	}
	if (r >= 0) {
		draft_open(&draft);
		if (draft.stream)
			dropin_write(draft.stream, path + n_root, config, &messages, n_root);
		snprintf(unit, sizeof(unit), "vmm@%s.service", name);
		r = draft_put(generator, &draft, unit);
	}
	if (r >= 0 && config)
		r = generate_backends(generator, path + n_root, config);

	say_messages(generator, &messages);
	config_messages_finish(&messages);
	vm_config_free(config);
	return r;
}

/* Goes on after a failure, so that one VM's trouble is not another's. Returns the first. */
static int generate_all(struct generator *generator)
{
	struct config_messages messages = {};
	char **names = NULL;
	size_t n_names = 0;
	int result;

	result = config_list(generator->root, &messages, &names, &n_names);
	say_messages(generator, &messages);
	config_messages_finish(&messages);
	if (result < 0) {
		say(generator, LOG_ERR, "the .vm files cannot be listed: %s", strerror(-result));
		return result;
	}
	for (size_t i = 0; i < n_names; i++) {
		int r = generate(generator, names[i]);

		if (r < 0) {
			say(generator, LOG_ERR, "no drop-in for %s: %s", names[i], strerror(-r));
			result = result < 0 ? result : r;
		}
	}
	config_names_free(names, n_names);
	return result;
}

static int usage(FILE *stream)
{
	fputs("vmm-generator [--root=DIR] NORMAL-DIR [EARLY-DIR LATE-DIR]\n"
	      "vmm-generator [--root=DIR] --dry-run\n"
	      "\n"
	      "Writes a drop-in for vmm@NAME.service for each NAME.vm. systemd runs it.\n"
	      "\n"
	      "  -h --help     Show this\n"
	      "     --version  Show the version\n"
	      "     --root=DIR Look for etc/vmm, run/vmm and usr/lib/vmm below DIR\n"
	      "     --dry-run  Print what would be written; fail when a file cannot be used\n",
		stream);
	return stream == stdout ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ "root", required_argument, NULL, 'r' },
		{ "dry-run", no_argument, NULL, 'n' },
		{},
	};
	struct generator generator = { .root = "", .directory_fd = -EBADF, .kmsg_fd = -EBADF };
	int c, n_directories, r;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		switch (c) {
		case 'h':
			return usage(stdout);
		case 'v':
			printf("vmm-generator %s\n", VMM_VERSION);
			return EXIT_SUCCESS;
		case 'r':
			generator.root = optarg;
			break;
		case 'n':
			generator.dry_run = true;
			break;
		default:
			return usage(stderr);
		}
	}
	n_directories = argc - optind;
	if (generator.dry_run ? n_directories != 0 : n_directories != 1 && n_directories != 3)
		return usage(stderr);

	if (!generator.dry_run) {
		umask(0022);
		generator.directory_fd = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (generator.directory_fd < 0) {
			fprintf(stderr, "vmm-generator: %s: %s\n", argv[optind], strerror(errno));
			return EXIT_FAILURE;
		}
		/* Only systemd's own run belongs into the kernel's log. */
		if (*generator.root == '\0' && !isatty(STDERR_FILENO))
			generator.kmsg_fd = open("/dev/kmsg", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	}
	r = generate_all(&generator);
	vmm_base_close(generator.directory_fd);
	vmm_base_close(generator.kmsg_fd);
	if (r == 0 && fflush(stdout) != 0)
		r = -errno;
	return r < 0 || (generator.dry_run && generator.broken) ? EXIT_FAILURE : EXIT_SUCCESS;
}

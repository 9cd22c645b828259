/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config-verbs: cat and verify, which read files and need no vmmd; define and undefine. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"
#include "config.h"
#include "ctl.h"

static void config_free_p(struct vm_config **config)
{
	vm_config_free(*config);
}

int print_messages(
	const struct ctl *ctl, const struct config_messages *messages, struct value *json)
{
	for (size_t i = 0; i < messages->n_items; i++) {
		const struct config_message *message = &messages->items[i];
		bool is_error = message->severity == CONFIG_ERROR;
		CLEANUP(free_p) char *text = NULL;

		if (json) {
			struct value object = value_object();

			value_set(
				&object, "severity", value_string(is_error ? "error" : "warning"));
			value_set(&object, "file", value_string(message->file));
			value_set(&object, "line", value_unsigned(message->line));
			value_set(&object, "key", value_string(message->key));
			value_set(&object, "text", value_string(message->text));
			value_append(json, object);
			continue;
		}
		if (config_message_format(message, &text) < 0)
			must_alloc(NULL);
		if (is_error)
			ctl_error("%s", text);
		else
			ctl_note(ctl, "warning: %s", text);
	}
	return messages->n_errors > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

char *name_of_file(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	size_t n = strlen(base);

	if (n > 3 && strcmp(base + n - 3, ".vm") == 0)
		n -= 3;
	return must_alloc(strndup(base, n));
}

/* stdin may be a pipe: as much as a .vm file may have, and one byte more to see that it has too
 * many. */
static int read_stdin(char **ret, size_t *ret_size)
{
	char *text = must_alloc(malloc(CONFIG_MAX_FILE_BYTES + 2));
	size_t size = 0;

	while (size <= CONFIG_MAX_FILE_BYTES) {
		ssize_t n = read(STDIN_FILENO, text + size, CONFIG_MAX_FILE_BYTES + 1 - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			free(text);
			return -errno;
		}
		if (n == 0)
			break;
		size += (size_t)n;
	}
	text[size] = '\0';
	*ret = text;
	*ret_size = size;
	return size > CONFIG_MAX_FILE_BYTES ? -EFBIG : 0;
}

int read_text(const char *path, char **ret, size_t *ret_size)
{
	CLEANUP(close_p) int fd = -EBADF;
	int r;

	if (strcmp(path, "-") == 0) {
		r = read_stdin(ret, ret_size);
	} else {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		r = fd < 0 ? -errno : config_read_fd(fd, ret, ret_size);
	}
	if (r < 0)
		ctl_error("%s: %s", path, strerror(-r));
	return r;
}

int text_to_fd(const char *text, size_t size)
{
	CLEANUP(close_p) int fd = memfd_create("vm", MFD_CLOEXEC);
	int r;

	r = fd < 0 ? -errno : vmm_base_write_full(fd, text, size);
	if (r < 0) {
		ctl_error("the configuration cannot be passed on: %s", strerror(-r));
		return r;
	}
	return TAKE_FD(fd);
}

/* Copies a file of a machine to stdout under its name, or to json. */
static int cat_file(const struct ctl *ctl, const char *name, const char *path, bool is_first,
	struct value *json)
{
	CLEANUP(free_p) char *text = NULL;
	size_t size;

	if (read_text(path, &text, &size) < 0)
		return EXIT_FAILURE;
	if (json) {
		struct value object = value_object();

		value_set(&object, "name", value_string(name));
		value_set(&object, "path", value_string(path));
		value_set(&object, "text", value_string(text));
		value_append(json, object);
		return EXIT_SUCCESS;
	}
	if (!is_first)
		putchar('\n');
	printf("%s# %s%s\n", ctl->colors ? COLOR_BOLD : "", path, ctl->colors ? COLOR_OFF : "");
	fwrite(text, 1, size, stdout);
	if (size > 0 && text[size - 1] != '\n')
		putchar('\n');
	return EXIT_SUCCESS;
}

static int cat_machine(const struct ctl *ctl, const char *root, const char *name, bool is_first,
	struct value *json)
{
	CLEANUP(config_free_p) struct vm_config *config = NULL;
	CLEANUP(config_messages_finish) struct config_messages messages = {};
	CLEANUP(free_p) char *path = NULL;
	int r, status = EXIT_SUCCESS;

	r = config_find(root, name, &path);
	if (r < 0) {
		ctl_error("%s: there is no %s.vm in %s/etc/vmm, %s/run/vmm or %s/usr/lib/vmm", name,
			name, root, root, root);
		return EXIT_FAILURE;
	}
	r = config_load(root, name, &messages, &config);
	if (r == 0) {
		for (size_t i = 0; i < config->n_files; i++)
			status = MAX(status,
				cat_file(ctl, name, config->files[i], is_first && i == 0, json));
		return status;
	}
	/* What is broken is shown all the more. */
	status = cat_file(ctl, name, path, is_first, json);
	print_messages(ctl, &messages, NULL);
	return status;
}

int verb_cat(struct ctl *ctl, char **arguments)
{
	struct value list = value_array(), *json = ctl->json != JSON_OFF ? &list : NULL;
	CLEANUP(free_p) char *root = NULL;
	int status = EXIT_SUCCESS;

	if (ctl->host) {
		ctl_error("cat reads files of this host; use ssh %s vmmctl cat", ctl->host);
		return EXIT_FAILURE;
	}
	root = ctl_config_root(ctl);
	ctl_open_pager(ctl);
	for (size_t i = 0; arguments[i]; i++) {
		const char *name = ctl_machine_name(arguments[i]);

		status = MAX(
			status, name ? cat_machine(ctl, root, name, i == 0, json) : EXIT_FAILURE);
	}
	if (json)
		ctl_print_json(ctl, json);
	value_finish(&list);
	return status;
}

/* A file by its path. Its name matters only where it is that of a machine. */
static int verify_file(const char *path, struct config_messages *messages)
{
	CLEANUP(config_free_p) struct vm_config *config = NULL;
	CLEANUP(free_p) char *name = name_of_file(path);
	CLEANUP(free_p) char *text = NULL;
	size_t size;

	/* Which read_text() has told of. */
	if (read_text(path, &text, &size) < 0)
		return -ECANCELED;
	if (strcmp(path, "-") == 0)
		return config_load_text(text, size, "stdin", "stdin", messages, &config);
	return config_load_text(text, size, path, name, messages, &config);
}

/*
 * What vmmd says of a machine that is defined here: it also looks whether the files and devices
 * can be had. False where it cannot be asked, or must not say.
 */
static bool verify_by_vmmd(struct ctl *ctl, const char *name, struct config_messages *messages)
{
	struct value list = {};

	if (*ctl->root != '\0' || ctl_verify(ctl, name, &list) < 0)
		return false;
	for (size_t i = 0; i < list.n_items; i++) {
		const struct value *item = list.items[i].items;
		enum config_severity severity;

		/* s severity, s file, u line, s key, s text */
		severity = strcmp(item[0].string, "error") == 0 ? CONFIG_ERROR : CONFIG_WARNING;
		if (config_messages_add(messages, severity, item[1].string,
			    (unsigned)item[2].unsigned_number, item[3].string, "%s",
			    item[4].string) < 0)
			must_alloc(NULL);
	}
	value_finish(&list);
	return true;
}

static int verify(struct ctl *ctl, const char *argument, struct value *json)
{
	CLEANUP(config_messages_finish) struct config_messages messages = {};
	CLEANUP(config_free_p) struct vm_config *config = NULL;
	size_t size = strlen(argument);
	int r, status;

	if (strchr(argument, '/') || strcmp(argument, "-") == 0 ||
		(size > 3 && strcmp(argument + size - 3, ".vm") == 0))
		r = verify_file(argument, &messages);
	else if (config_name_valid(argument) && verify_by_vmmd(ctl, argument, &messages))
		r = messages.n_errors > 0 ? -EBADMSG : 0;
	else
		r = config_load(ctl->root, argument, &messages, &config);
	if (r == -ENOENT && messages.n_errors == 0 && !strchr(argument, '/'))
		ctl_error("%s: there is no such machine; a file is named with a slash or .vm",
			argument);
	else if (r < 0 && messages.n_errors == 0 && r != -ECANCELED)
		ctl_error("%s: %s", argument, strerror(-r));
	status = print_messages(ctl, &messages, json);
	if (r < 0)
		return EXIT_FAILURE;
	if (!json && status == EXIT_SUCCESS && !ctl->quiet)
		printf("%s: ok\n", argument);
	return status;
}

/* One row of the table, for programs. */
static struct value key_value(const struct config_section *section, const struct config_key *key)
{
	bool has_limits = key->type == CONFIG_TYPE_NUMBER || key->type == CONFIG_TYPE_SIZE;
	struct value object = value_object(), choices = value_array();

	value_set(&object, "section", value_string(section->name));
	value_set(&object, "key", value_string(key->name));
	value_set(&object, "type", value_string(config_type_name(key->type)));
	value_set(&object, "required", value_bool(key->required));
	value_set(
		&object, "default", key->fallback ? value_string(key->fallback) : (struct value){});
	if (has_limits) {
		value_set(&object, "minimum", value_unsigned(key->minimum));
		value_set(&object, "maximum", value_unsigned(key->maximum));
	}
	for (size_t i = 0; key->choices && key->choices[i]; i++)
		value_append(&choices, value_string(key->choices[i]));
	if (key->choices)
		value_set(&object, "choices", choices);
	else
		value_finish(&choices);
	value_set(&object, "description", value_string(key->doc));
	return object;
}

static void print_keys(const struct ctl *ctl)
{
	struct value list = value_array();
	size_t n;
	const struct config_section *sections = config_sections(&n);

	if (ctl->json == JSON_OFF) {
		config_keys_print(stdout);
		return;
	}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < sections[i].n_keys; j++)
			value_append(&list, key_value(&sections[i], &sections[i].keys[j]));
	ctl_print_json(ctl, &list);
	value_finish(&list);
}

int verb_verify(struct ctl *ctl, char **arguments)
{
	CLEANUP(config_messages_finish) struct config_messages messages = {};
	struct value list = value_array(), *json = ctl->json != JSON_OFF ? &list : NULL;
	int status = EXIT_SUCCESS;
	char **names = NULL;
	size_t n = 0;

	if (ctl->keys) {
		print_keys(ctl);
		return EXIT_SUCCESS;
	}
	if (arguments[0]) {
		for (; *arguments; arguments++)
			status = MAX(status, verify(ctl, *arguments, json));
	} else if (config_list(ctl->root, &messages, &names, &n) < 0) {
		ctl_error("the .vm files cannot be listed");
		status = EXIT_FAILURE;
	} else {
		print_messages(ctl, &messages, json);
		for (size_t i = 0; i < n; i++)
			status = MAX(status, verify(ctl, names[i], json));
		config_names_free(names, n);
	}
	if (json)
		ctl_print_json(ctl, json);
	value_finish(&list);
	return status;
}

int verb_define(struct ctl *ctl, char **arguments)
{
	CLEANUP(config_messages_finish) struct config_messages messages = {};
	CLEANUP(config_free_p) struct vm_config *config = NULL;
	const char *path = arguments[0], *name = NULL;
	CLEANUP(free_p) char *file_name = NULL;
	CLEANUP(free_p) char *text = NULL;
	CLEANUP(close_p) int fd = -EBADF;
	size_t size;

	if (!arguments[1] && strcmp(path, "-") == 0) {
		ctl_error("a file from stdin needs a name: vmmctl define - NAME");
		return EXIT_FAILURE;
	}
	file_name = arguments[1] ? must_strdup(arguments[1]) : name_of_file(path);
	name = ctl_machine_name(file_name);
	if (!name || read_text(path, &text, &size) < 0)
		return EXIT_FAILURE;
	/* All that is wrong, with the name of the file that the person has; vmmd says one. */
	if (config_load_text(text, size, strcmp(path, "-") == 0 ? "stdin" : path, name, &messages,
		    &config) == -ENOMEM)
		must_alloc(NULL);
	if (print_messages(ctl, &messages, NULL) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	fd = text_to_fd(text, size);
	if (fd < 0)
		return EXIT_FAILURE;
	ctl_open_agent(ctl);
	if (ctl_call(ctl, name, "DefineMachine", NULL, "sht", name, fd,
		    (uint64_t)(ctl->replace ? 1 : 0)) < 0)
		return EXIT_FAILURE;
	ctl_note(ctl, "Defined machine %s.", name);
	ctl_reload_systemd(ctl);
	return EXIT_SUCCESS;
}

int verb_undefine(struct ctl *ctl, char **arguments)
{
	int status = EXIT_SUCCESS;

	ctl_open_agent(ctl);
	for (; *arguments; arguments++) {
		const char *name = ctl_machine_name(*arguments);

		if (!name ||
			ctl_call(ctl, name, "UndefineMachine", NULL, "st", name, UINT64_C(0)) < 0) {
			status = EXIT_FAILURE;
			continue;
		}
		ctl_note(ctl, "Removed the definition of machine %s.", name);
		if (ctl_disable_undefined(ctl, name) < 0)
			status = EXIT_FAILURE;
	}
	if (ctl->bus)
		ctl_reload_systemd(ctl);
	return status;
}

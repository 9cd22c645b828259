/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* run: makes a .vm file of the command line, has vmmd run it, attaches to it, and ends with it. */
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>

#include "base/util.h"
#include "config.h"
#include "ctl.h"
#include "image.h"

/* In messages, the name of what no file says. */
static const char command_line[] = "command line";

static void config_free_p(struct vm_config **config)
{
	vm_config_free(*config);
}

/* A value must neither begin a line of its own nor take in the one that follows. */
static int check_value(const char *option, const char *value)
{
	size_t n = strlen(value);

	if (strpbrk(value, "\n\r")) {
		ctl_error("--%s: there is a line break in it", option);
		return -EINVAL;
	}
	while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
		n--;
	if (n > 0 && value[n - 1] == '\\') {
		ctl_error("--%s: \"%s\" ends in a backslash, which no value can", option, value);
		return -EINVAL;
	}
	return 0;
}

static int add_setting(FILE *stream, const char *option, const char *key, const char *value)
{
	int r = check_value(option, value);

	if (r == 0)
		fprintf(stream, "%s=%s\n", key, value);
	return r;
}

/* A path of this host, absolute and with what it names there. */
static int add_path(
	const struct ctl *ctl, FILE *stream, const char *option, const char *key, const char *path)
{
	char absolute[PATH_MAX];
	int r;

	if (ctl->host)
		return add_setting(stream, option, key, path);
	r = check_value(option, path);
	if (r < 0)
		return r;
	if (!realpath(path, absolute)) {
		ctl_error("--%s=%s: %m", option, path);
		return -errno;
	}
	return add_setting(stream, option, key, absolute);
}

/* How much of text may be a key. */
static size_t key_length(const char *text)
{
	return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
}

/* Where the ",KEY=VALUE" or ",FLAG" begins that follows text, or its end. flag may be NULL. */
static size_t word_length(const char *text, const char *flag)
{
	size_t n = 0;

	for (;;) {
		const char *key;
		size_t n_key;

		n += strcspn(text + n, ",");
		if (text[n] == '\0')
			return n;
		key = text + n + 1;
		n_key = key_length(key);
		if (n_key > 0 && key[n_key] == '=')
			return n;
		if (flag && n_key == strlen(flag) && strncmp(key, flag, n_key) == 0 &&
			(key[n_key] == '\0' || key[n_key] == ','))
			return n;
		n++;
	}
}

/* What follows a drive's file or stands in place of a network's bridge: ",KEY=VALUE..." */
static int add_keys(FILE *stream, const char *option, const char *flag, const char *list)
{
	int r = 0;

	while (r == 0 && *list == ',') {
		size_t n = word_length(list + 1, flag);
		CLEANUP(free_p) char *word = must_alloc(strndup(list + 1, n));
		char *value = word + key_length(word);

		if (*value == '=') {
			*value = '\0';
			r = add_setting(stream, option, word, value + 1);
		} else if (flag && strcmp(word, flag) == 0) {
			r = add_setting(stream, option, "ReadOnly", "yes");
		} else {
			ctl_error("--%s: \"%s\" is not of the form KEY=VALUE", option, word);
			r = -EINVAL;
		}
		list += 1 + n;
	}
	return r;
}

/* One --set: SECTION.KEY=VALUE or SECTION:NAME.KEY=VALUE, borrowed from the option. */
struct setting {
	const char *section, *name, *rest;
	size_t n_section, n_name; /* no name: 0 */
};

static bool split_setting(const char *text, struct setting *ret)
{
	size_t n = strcspn(text, ".="), n_section = strcspn(text, ":.=");
	size_t n_key = text[n] == '.' ? strcspn(text + n + 1, "=") : 0;
	size_t n_brackets = strcspn(text, "[]");
	bool is_named = n_section < n;

	*ret = (struct setting){
		.section = text,
		.n_section = n_section,
		.name = is_named ? text + n_section + 1 : text + n,
		.n_name = is_named ? n - n_section - 1 : 0,
		.rest = text + n + 1,
	};
	/* With # or ; it would be a comment. */
	return n_section > 0 && n_key > 0 && ret->rest[n_key] == '=' &&
	       (!is_named || ret->n_name > 0) && n_brackets > n + n_key &&
	       !strchr("#; \t", *ret->rest);
}

/* Whether it may stand several times, each with a name. */
static bool section_has_name(const char *section)
{
	size_t n;
	const struct config_section *sections = config_sections(&n);

	for (size_t i = 0; i < n; i++) {
		if (strcmp(sections[i].name, section) == 0)
			return sections[i].repeated;
	}
	return false;
}

static bool is_of_section(const struct setting *setting, const char *section, const char *name)
{
	return setting->n_name == strlen(name) && setting->n_section == strlen(section) &&
	       strncmp(setting->section, section, setting->n_section) == 0 &&
	       strncmp(setting->name, name, setting->n_name) == 0;
}

/* What --set says of the section that has just been written, from the i-th on. */
static void add_settings_of(
	const struct ctl *ctl, FILE *stream, size_t i, const char *section, const char *name)
{
	struct setting setting;

	for (; i < ctl->settings.n_items; i++) {
		if (split_setting(ctl->settings.items[i], &setting) &&
			is_of_section(&setting, section, name))
			fprintf(stream, "%s\n", setting.rest);
	}
}

/* Whether one of n_items options has made that section: they are named by their number. */
static bool is_numbered(const char *name, const char *prefix, size_t n_items)
{
	char text[32];

	for (size_t i = 0; i < n_items; i++) {
		snprintf(text, sizeof(text), "%s%zu", prefix, i);
		if (strcmp(text, name) == 0)
			return true;
	}
	return false;
}

/* Whether an option or an earlier --set has made that section, with all that --set says of it. */
static bool is_written(const struct ctl *ctl, size_t i, const char *section, const char *name)
{
	struct setting before;

	if (strcmp(section, "Drive") == 0 && is_numbered(name, "drive", ctl->drives.n_items))
		return true;
	if (strcmp(section, "Network") == 0 && is_numbered(name, "net", ctl->networks.n_items))
		return true;
	while (i-- > 0) {
		if (split_setting(ctl->settings.items[i], &before) &&
			is_of_section(&before, section, name))
			return true;
	}
	return false;
}

static int add_set(const struct ctl *ctl, FILE *stream, size_t i)
{
	CLEANUP(free_p) char *section = NULL;
	CLEANUP(free_p) char *name = NULL;
	const char *text = ctl->settings.items[i];
	struct setting setting;
	int r;

	r = check_value("set", text);
	if (r < 0)
		return r;
	if (!split_setting(text, &setting)) {
		ctl_error("--set=%s: it is SECTION.KEY=VALUE or SECTION:NAME.KEY=VALUE", text);
		return -EINVAL;
	}
	section = must_alloc(strndup(setting.section, setting.n_section));
	name = must_alloc(strndup(setting.name, setting.n_name));
	if (*name == '\0') {
		fprintf(stream, "\n[%s]\n%s\n", section, setting.rest);
	} else if (!section_has_name(section)) {
		ctl_error("--set=%s: only the sections Drive, Network and Share have names", text);
		return -EINVAL;
	} else if (!is_written(ctl, i, section, name)) {
		fprintf(stream, "\n[%s]\n%s=%s\n", section,
			strcmp(section, "Share") == 0 ? "Tag" : "Name", name);
		add_settings_of(ctl, stream, i, section, name);
	}
	return 0;
}

static int add_drive(const struct ctl *ctl, FILE *stream, size_t number)
{
	static const char flag[] = "ro";
	const char *option = ctl->drives.items[number];
	size_t n = word_length(option, flag);
	CLEANUP(free_p) char *path = must_alloc(strndup(option, n));
	char name[32];
	int r;

	/* A word that is no file here may be the name of an image. */
	if (!ctl->host && !strchr(path, '/') && access(path, F_OK) < 0) {
		CLEANUP(free_p) char *image = image_path(ctl, path);

		if (access(image, F_OK) == 0) {
			free(path);
			path = TAKE_PTR(image);
		}
	}
	snprintf(name, sizeof(name), "drive%zu", number);
	fprintf(stream, "\n[Drive]\nName=%s\n", name);
	r = add_path(ctl, stream, "drive", "Path", path);
	if (r == 0)
		r = add_keys(stream, "drive", flag, option + n);
	if (r == 0)
		add_settings_of(ctl, stream, 0, "Drive", name);
	return r;
}

/* A bridge or keys. */
static int add_network(const struct ctl *ctl, FILE *stream, size_t number)
{
	CLEANUP(free_p) char *keys = must_printf(",%s", ctl->networks.items[number]);
	char name[32];
	int r;

	snprintf(name, sizeof(name), "net%zu", number);
	fprintf(stream, "\n[Network]\nName=%s\n", name);
	if (word_length(keys, NULL) == 0) {
		r = add_keys(stream, "network", NULL, keys);
	} else {
		size_t n = word_length(keys + 1, NULL);
		CLEANUP(free_p) char *bridge = must_alloc(strndup(keys + 1, n));

		r = add_setting(stream, "network", "Bridge", bridge);
		if (r == 0)
			r = add_keys(stream, "network", NULL, keys + 1 + n);
	}
	if (r == 0)
		add_settings_of(ctl, stream, 0, "Network", name);
	return r;
}

static int add_options(const struct ctl *ctl, FILE *stream)
{
	int r = 0;

	if (ctl->cpus || ctl->memory)
		fputs("\n[Machine]\n", stream);
	if (ctl->cpus)
		r = add_setting(stream, "cpus", "CPUs", ctl->cpus);
	if (r == 0 && ctl->memory)
		r = add_setting(stream, "memory", "Memory", ctl->memory);
	if (ctl->kernel || ctl->initrd || ctl->append)
		fputs("\n[Boot]\n", stream);
	if (r == 0 && ctl->kernel)
		r = add_path(ctl, stream, "kernel", "Kernel", ctl->kernel);
	if (r == 0 && ctl->initrd)
		r = add_path(ctl, stream, "initrd", "Initrd", ctl->initrd);
	if (r == 0 && ctl->append)
		r = add_setting(stream, "append", "CommandLine", ctl->append);
	for (size_t i = 0; r == 0 && i < ctl->drives.n_items; i++)
		r = add_drive(ctl, stream, i);
	for (size_t i = 0; r == 0 && i < ctl->networks.n_items; i++)
		r = add_network(ctl, stream, i);
	for (size_t i = 0; r == 0 && i < ctl->settings.n_items; i++)
		r = add_set(ctl, stream, i);
	return r;
}

/* The whole file, and how many of its lines are those of file. *ret is the caller's, also on
 * failure. */
static int make_text(const struct ctl *ctl, const char *file, char **ret, size_t *ret_size,
	unsigned *ret_n_file_lines)
{
	CLEANUP(free_p) char *base = NULL;
	size_t size = 0;
	FILE *stream;
	int r;

	if (file && read_text(file, &base, &size) < 0)
		return -EINVAL;
	stream = must_alloc(open_memstream(ret, ret_size));
	*ret_n_file_lines = 0;
	for (size_t i = 0; i < size; i++)
		*ret_n_file_lines += base[i] == '\n';
	if (base)
		fwrite(base, 1, size, stream);
	/* A last line that is not ended could go on in what follows. */
	if (size > 0 && base[size - 1] != '\n') {
		fputc('\n', stream);
		++*ret_n_file_lines;
	}
	r = add_options(ctl, stream);
	if (fclose(stream) != 0)
		must_alloc(NULL);
	return r;
}

/* What stands behind the file's own lines, the options have said. */
static void name_origin(struct config_messages *messages, unsigned n_file_lines)
{
	for (size_t i = 0; i < messages->n_items; i++) {
		struct config_message *message = &messages->items[i];

		if (message->line <= n_file_lines)
			continue;
		free(message->file);
		message->file = must_strdup(command_line);
		message->line = 0;
	}
}

static char *make_name(const struct ctl *ctl, const char *file)
{
	uint32_t number;

	if (ctl->name)
		return must_strdup(ctl->name);
	if (file && strcmp(file, "-") != 0)
		return name_of_file(file);
	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		number = (uint32_t)getpid();
	return must_printf("run-%08x", number);
}

/*
 * What the machine's last words were, when it did not start. One that its unit would try again and
 * again is stopped: nobody waits for it any more.
 */
static void give_up(const struct ctl *ctl, const struct watch *watch)
{
	const char *text = value_get_string(&watch->machine, "StatusText");
	bool has_failed = strcmp(value_get_string(&watch->machine, "State"), "failed") == 0;

	ctl_error("%s: it did not start%s%s", watch->name, *text != '\0' ? ": " : "", text);
	/* The answer is waited for: vmmd asks the bus who we are. */
	if (!has_failed)
		sd_bus_call_method(ctl->bus, VMMD_NAME, VMMD_PATH, VMMD_MANAGER, "StopMachine",
			NULL, NULL, "sstt", watch->name, "force", UINT64_C(0), UINT64_C(0));
	/* It is listed no longer, but for one whose unit has failed. */
	if (!ctl->host && access("/run/systemd/system", F_OK) < 0)
		ctl_note(ctl, "See the log of vmmd.");
	else if (has_failed)
		hint_at_log(ctl, watch->name);
	else
		ctl_note(ctl, "See \"journalctl -xeu vmm@%s.service\".", watch->name);
}

/*
 * Signals while the machine starts: they are to stop it, and not to leave it behind. The first one
 * during the call that makes it is noted, and a second one ends the program: somebody may be asked
 * for a password. After that they are blocked and read, as the console does.
 */
static volatile sig_atomic_t was_signalled;

static const int stop_signals[] = { SIGINT, SIGTERM, SIGHUP };

static void note_signal(int number)
{
	was_signalled = 1;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = note_signal, .sa_flags = (int)SA_RESETHAND };

	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++) {
		struct sigaction before;

		/* nohup */
		if (sigaction(stop_signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(stop_signals[i], &action, NULL);
	}
}

static void release_signals(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++) {
		struct sigaction now;

		if (sigaction(stop_signals[i], NULL, &now) == 0 && now.sa_handler == note_signal)
			signal(stop_signals[i], SIG_DFL);
	}
}

/* The descriptor to read them from, or a negative errno. */
static int block_stop_signals(sigset_t *ret_before)
{
	sigset_t signals;
	int fd;

	sigemptyset(&signals);
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
		sigaddset(&signals, stop_signals[i]);
	fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0 || sigprocmask(SIG_BLOCK, &signals, ret_before) < 0)
		return -errno;
	return fd;
}

static void ask_to_stop(struct ctl *ctl, const char *name, const char *how)
{
	ctl_note(ctl, "Stopping %s.", name);
	sd_bus_call_method_async(ctl->bus, NULL, VMMD_NAME, VMMD_PATH, VMMD_MANAGER, "StopMachine",
		NULL, NULL, "sstt", name, how, UINT64_C(0), UINT64_C(0));
}

/* Until something comes from vmmd or by a signal. */
static int wait_for_start(struct ctl *ctl, const char *name, int signal_fd)
{
	struct pollfd fds[2] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = sd_bus_get_fd(ctl->bus), .events = (short)sd_bus_get_events(ctl->bus) },
	};
	struct signalfd_siginfo info;

	if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
		return errno == EINTR ? 0 : -errno;
	if (read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
		ask_to_stop(ctl, name, was_signalled ? "force" : "auto");
		was_signalled = 1;
	}
	return 0;
}

/* Starts it and waits for the start: 0, or a negative errno after telling. */
static int start(struct ctl *ctl, struct watch *watch, int fd, int *ret_signal_fd, sigset_t *before)
{
	sd_bus_message *reply = NULL;
	struct jobs jobs = {};
	const char *path;
	int r;

	catch_signals();
	r = jobs_begin(ctl, &jobs);
	if (r == 0)
		r = ctl_call(ctl, watch->name, "RunTransientMachine", &reply, "sht", watch->name,
			fd, UINT64_C(0));
	if (r == 0) {
		r = sd_bus_message_read(reply, "oo", NULL, &path);
		if (r < 0)
			ctl_bus_error(ctl, watch->name, NULL, r);
		else
			jobs_add(&jobs, path, watch->name);
	}
	*ret_signal_fd = block_stop_signals(before);
	if (r >= 0 && was_signalled)
		ask_to_stop(ctl, watch->name, "auto");
	while (r >= 0 && jobs.n_pending > 0 && !jobs.lost) {
		r = sd_bus_process(ctl->bus, NULL);
		if (r == 0)
			r = wait_for_start(ctl, watch->name, *ret_signal_fd);
		if (r < 0)
			ctl_bus_error(ctl, watch->name, NULL, r);
	}
	if (r >= 0 && jobs.n_pending == 0 && strcmp(jobs.items[0].result, "done") != 0) {
		if (!was_signalled)
			give_up(ctl, watch);
		r = -EIO;
	}
	sd_bus_message_unref(reply);
	jobs_finish(&jobs);
	return r < 0 ? r : 0;
}

static int run(struct ctl *ctl, const char *name, int fd)
{
	enum console_end end = CONSOLE_FAILED;
	CLEANUP(close_p) int signal_fd = -EBADF;
	struct watch watch = {};
	sigset_t before;
	int r;

	ctl_open_agent(ctl);
	sigprocmask(SIG_SETMASK, NULL, &before);
	r = watch_begin(ctl, &watch, name);
	if (r == 0)
		r = start(ctl, &watch, fd, &signal_fd, &before);
	if (r == 0 && ctl->detach && !was_signalled) {
		ctl_note(ctl, "Machine %s runs.", name);
	} else if (r == 0) {
		end = console_attach(ctl, &watch, true);
		if (end == CONSOLE_DETACHED)
			ctl_note(ctl,
				"It goes on: vmmctl console %s attaches again, vmmctl stop %s ends "
				"it.",
				name, name);
		else if (end == CONSOLE_FAILED)
			r = -EIO;
	}
	release_signals();
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (end == CONSOLE_ENDED)
		r = watch_wait(ctl, &watch);
	watch_finish(&watch);
	return r < 0 ? EXIT_FAILURE : r;
}

int verb_run(struct ctl *ctl, char **arguments)
{
	CLEANUP(config_messages_finish) struct config_messages messages = {};
	CLEANUP(config_free_p) struct vm_config *config = NULL;
	CLEANUP(free_p) char *argument = make_name(ctl, arguments[0]);
	CLEANUP(close_p) int fd = -EBADF;
	CLEANUP(free_p) char *text = NULL;
	const char *name = ctl_machine_name(argument);
	unsigned n_file_lines;
	size_t size = 0;

	if (!name || make_text(ctl, arguments[0], &text, &size, &n_file_lines) < 0)
		return EXIT_FAILURE;
	if (config_load_text(text, size, arguments[0] ? arguments[0] : command_line, name,
		    &messages, &config) == -ENOMEM)
		must_alloc(NULL);
	name_origin(&messages, n_file_lines);
	if (print_messages(ctl, &messages, NULL) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	for (size_t i = 0; config && i < CONFIG_N_PASS_SECTIONS; i++) {
		if (config->pass[i].n_lines > 0) {
			ctl_note(ctl,
				"warning: [Unit], [Service] and [Install] sections do not count "
				"in a machine that is run; systemctl set-property does");
			break;
		}
	}
	if (ctl->dry_run) {
		fwrite(text, 1, size, stdout);
		return EXIT_SUCCESS;
	}
	fd = text_to_fd(text, size);
	return fd < 0 ? EXIT_FAILURE : run(ctl, name, fd);
}

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

static void config_free_p(struct vm_config **config)
{
	vm_config_free(*config);
}

/* A value must not begin a line of its own. */
static int add_setting(FILE *stream, const char *option, const char *key, const char *value)
{
	if (strpbrk(value, "\n\r")) {
		ctl_error("--%s: there is a line break in it", option);
		return -EINVAL;
	}
	fprintf(stream, "%s=%s\n", key, value);
	return 0;
}

/* A path of this host, absolute and with what it names there. */
static int add_path(
	const struct ctl *ctl, FILE *stream, const char *option, const char *key, const char *path)
{
	char absolute[PATH_MAX];

	if (ctl->host)
		return add_setting(stream, option, key, path);
	if (!realpath(path, absolute)) {
		ctl_error("--%s=%s: %m", option, path);
		return -errno;
	}
	return add_setting(stream, option, key, absolute);
}

static int add_drive(const struct ctl *ctl, FILE *stream, size_t number)
{
	CLEANUP(free_p) char *path = must_strdup(ctl->drives.items[number]);
	size_t size = strlen(path);
	bool read_only = size > 3 && strcmp(path + size - 3, ",ro") == 0;
	int r;

	if (read_only)
		path[size - 3] = '\0';
	/* A word that is no file here may be the name of an image. */
	if (!ctl->host && !strchr(path, '/') && access(path, F_OK) < 0) {
		CLEANUP(free_p) char *image = image_path(ctl, path);

		if (access(image, F_OK) == 0) {
			free(path);
			path = TAKE_PTR(image);
		}
	}
	fprintf(stream, "\n[Drive]\nName=drive%zu\n", number);
	r = add_path(ctl, stream, "drive", "Path", path);
	if (r == 0 && read_only)
		r = add_setting(stream, "drive", "ReadOnly", "yes");
	return r;
}

/* SECTION.KEY=VALUE */
static int add_set(FILE *stream, const char *setting)
{
	size_t section = strcspn(setting, ".="), key = strcspn(setting, "=");

	if (section == 0 || setting[section] != '.' || setting[key] != '=' || key == section + 1 ||
		strpbrk(setting, "\n\r[]")) {
		ctl_error("--set=%s: it is SECTION.KEY=VALUE", setting);
		return -EINVAL;
	}
	fprintf(stream, "\n[%.*s]\n%s\n", (int)section, setting, setting + section + 1);
	return 0;
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
	for (size_t i = 0; r == 0 && i < ctl->networks.n_items; i++) {
		fprintf(stream, "\n[Network]\nName=net%zu\n", i);
		r = add_setting(stream, "network", "Bridge", ctl->networks.items[i]);
	}
	for (size_t i = 0; r == 0 && i < ctl->settings.n_items; i++)
		r = add_set(stream, ctl->settings.items[i]);
	return r;
}

/* The whole file. *ret is the caller's, also on failure. */
static int make_text(const struct ctl *ctl, const char *file, char **ret, size_t *ret_size)
{
	CLEANUP(free_p) char *base = NULL;
	size_t size = 0;
	FILE *stream;
	int r;

	if (file && read_text(file, &base, &size) < 0)
		return -EINVAL;
	stream = must_alloc(open_memstream(ret, ret_size));
	if (base)
		fwrite(base, 1, size, stream);
	r = add_options(ctl, stream);
	if (fclose(stream) != 0)
		must_alloc(NULL);
	return r;
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

/* What the machine's last words were, when it did not start. */
static void tell_failure(const struct ctl *ctl, const struct watch *watch)
{
	const char *text = value_get_string(&watch->machine, "StatusText");

	ctl_error("%s: it did not start%s%s", watch->name, *text != '\0' ? ": " : "", text);
	hint_at_log(ctl, watch->name);
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
			tell_failure(ctl, watch);
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
	size_t size = 0;

	if (!name || make_text(ctl, arguments[0], &text, &size) < 0)
		return EXIT_FAILURE;
	if (config_load_text(text, size, arguments[0] ? arguments[0] : "command line", name,
		    &messages, &config) == -ENOMEM)
		must_alloc(NULL);
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

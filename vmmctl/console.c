/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * console: stdin and stdout on one side, the master of a pseudo terminal on the other, whose slave
 * the worker has. The terminal is in raw mode meanwhile and is restored on every way out. A reboot
 * closes the pseudo terminal; a new one is opened when the machine runs again.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/util.h"
#include "ctl.h"

enum {
	ESCAPE = 0x1d, /* ^] */
	ESCAPE_COUNT = 3,
	ESCAPE_MSEC = 1000,
	REOPEN_MSEC = 200,
	DRAIN_MSEC = 300,
	/* What may wait for a guest that does not read. */
	INPUT_BYTES = 64 * 1024,
};

/* OpenMachineConsole's flags */
enum {
	OPEN_STEAL = 1,
	OPEN_READ_ONLY = 2,
	OPEN_REPLAY = 4,
};

struct console {
	struct ctl *ctl;     /* borrowed */
	struct watch *watch; /* borrowed */
	int terminal_fd;     /* owned; negative between two boots */
	int signal_fd;       /* owned */
	bool input_is_tty, output_is_tty;
	bool input_open;  /* stdin has not ended */
	bool opened_once; /* later opens replay nothing */
	bool saw_escape_sequence;
	bool is_run; /* by us: signals stop it, and it may have ended before it was attached to */
	int signal;  /* that ends the program; 0: none */
	unsigned n_stops;
	uint64_t ended_nsec; /* when the machine was seen to have ended; 0: not yet */
	unsigned n_escapes;
	uint64_t escape_nsec; /* of the first of them */
	size_t n_input;
	char input[INPUT_BYTES];
};

/* Restored at exit too, as running out of memory ends the program anywhere. */
static struct termios saved_mode;
static bool mode_saved;

static void restore_mode(void)
{
	if (mode_saved)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_mode);
	mode_saved = false;
}

static void set_raw_mode(void)
{
	struct termios raw;

	if (!mode_saved) {
		if (tcgetattr(STDIN_FILENO, &saved_mode) < 0)
			return;
		mode_saved = true;
		atexit(restore_mode);
	}
	raw = saved_mode;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

static void pass_size(const struct console *console)
{
	struct winsize size;

	if (console->terminal_fd < 0)
		return;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 &&
		ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
		return;
	ioctl(console->terminal_fd, TIOCSWINSZ, &size);
	/* A serial port has no size, and says so: nothing to tell of. */
	sd_bus_call_method_async(console->ctl->bus, NULL, VMMD_NAME, VMMD_PATH, VMMD_MANAGER,
		"ResizeMachineConsole", NULL, NULL, "sqqt", console->watch->name, size.ws_row,
		size.ws_col, UINT64_C(0));
}

/* 1: open. 0: not now, as the machine does not run. Negative: told of. */
static int open_terminal(struct console *console)
{
	struct ctl *ctl = console->ctl;
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *reply = NULL;
	uint64_t flags = 0;
	int r, fd;

	if (ctl->steal)
		flags |= OPEN_STEAL;
	if (ctl->read_only)
		flags |= OPEN_READ_ONLY;
	if (!ctl->no_replay || console->opened_once)
		flags |= OPEN_REPLAY;
	r = sd_bus_call_method(ctl->bus, VMMD_NAME, VMMD_PATH, VMMD_MANAGER, "OpenMachineConsole",
		&error, &reply, "st", console->watch->name, flags);
	if (r >= 0)
		r = sd_bus_message_read(reply, "h", &fd);
	if (r >= 0) {
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		r = fd < 0 ? -errno : 1;
	}
	if (r >= 0) {
		int mode = fcntl(fd, F_GETFL);

		fcntl(fd, F_SETFL, mode | O_NONBLOCK);
		console->terminal_fd = fd;
		console->opened_once = true;
		pass_size(console);
	} else if ((console->opened_once || console->is_run) &&
		   sd_bus_error_has_names(&error, "org.vmmd1.MachineNotRunning",
			   "org.vmmd1.MachineBusy", "org.vmmd1.NoSuchMachine",
			   SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NO_REPLY)) {
		r = 0;
	} else {
		ctl_bus_error(ctl, console->watch->name, &error, r);
	}
	sd_bus_message_unref(reply);
	sd_bus_error_free(&error);
	return r;
}

static void close_terminal(struct console *console)
{
	console->terminal_fd = vmm_base_close(console->terminal_fd);
	console->n_input = 0;
}

/* Whether the escape sequence is complete with this byte. */
static bool is_escape(struct console *console, char byte)
{
	uint64_t now = vmm_base_now_nsec();

	if (byte != ESCAPE) {
		console->n_escapes = 0;
		return false;
	}
	if (console->n_escapes > 0 && now - console->escape_nsec > ESCAPE_MSEC * UINT64_C(1000000))
		console->n_escapes = 0;
	if (console->n_escapes++ == 0)
		console->escape_nsec = now;
	return console->n_escapes == ESCAPE_COUNT;
}

/* A terminal is always read, so that the escape sequence works with a guest that does not read;
 * what does not fit is lost then. A pipe waits. */
static bool read_input(struct console *console, enum console_end *ret_end)
{
	char bytes[4096];
	size_t room = INPUT_BYTES - console->n_input;
	ssize_t n;

	n = read(STDIN_FILENO, bytes,
		console->input_is_tty ? sizeof(bytes) : MIN(sizeof(bytes), room));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) {
		console->input_open = false;
		if (!console->input_is_tty)
			return true;
		*ret_end = CONSOLE_DETACHED;
		return false;
	}
	for (ssize_t i = 0; i < n && console->input_is_tty; i++) {
		if (is_escape(console, bytes[i])) {
			*ret_end = CONSOLE_DETACHED;
			return false;
		}
	}
	if (console->ctl->read_only || console->terminal_fd < 0)
		return true;
	n = (ssize_t)MIN((size_t)n, room);
	memcpy(console->input + console->n_input, bytes, (size_t)n);
	console->n_input += (size_t)n;
	return true;
}

static void write_input(struct console *console)
{
	ssize_t n = write(console->terminal_fd, console->input, console->n_input);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		close_terminal(console);
	if (n <= 0)
		return;
	memmove(console->input, console->input + n, console->n_input - (size_t)n);
	console->n_input -= (size_t)n;
}

static bool read_output(struct console *console, enum console_end *ret_end)
{
	char bytes[16384];
	ssize_t n = read(console->terminal_fd, bytes, sizeof(bytes));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) {
		close_terminal(console);
		return true;
	}
	console->saw_escape_sequence |= memchr(bytes, '\033', (size_t)n) != NULL;
	if (vmm_base_write_full(STDOUT_FILENO, bytes, (size_t)n) < 0) {
		*ret_end = CONSOLE_DETACHED;
		return false;
	}
	return true;
}

static void ask_to_stop(struct console *console)
{
	const char *how = console->n_stops++ == 0 ? "auto" : "force";

	if (!console->ctl->quiet)
		dprintf(STDERR_FILENO, "%sStopping %s%s%s\n", console->input_is_tty ? "\r" : "",
			console->watch->name,
			console->n_stops > 1 ? " at once." : "; a second signal does so at once.",
			console->input_is_tty ? "\r" : "");
	sd_bus_call_method_async(console->ctl->bus, NULL, VMMD_NAME, VMMD_PATH, VMMD_MANAGER,
		"StopMachine", NULL, NULL, "sstt", console->watch->name, how, UINT64_C(0),
		UINT64_C(0));
}

static bool read_signal(struct console *console, enum console_end *ret_end)
{
	struct signalfd_siginfo info;

	if (read(console->signal_fd, &info, sizeof(info)) != sizeof(info))
		return true;
	switch (info.ssi_signo) {
	case SIGCONT:
		if (console->input_is_tty)
			set_raw_mode();
		pass_size(console);
		return true;
	case SIGWINCH:
		pass_size(console);
		return true;
	default:
		if (console->is_run) {
			ask_to_stop(console);
			return true;
		}
		console->signal = (int)info.ssi_signo;
		*ret_end = CONSOLE_DETACHED;
		return false;
	}
}

/* Between two boots, and when the machine has ended. */
static bool look_after(struct console *console, enum console_end *ret_end)
{
	const char *state;
	int r, status;

	if (console->watch->renewed && watch_refresh(console->ctl, console->watch) < 0) {
		*ret_end = CONSOLE_FAILED;
		return false;
	}
	if (watch_has_ended(console->watch, &status)) {
		uint64_t now = vmm_base_now_nsec();

		if (console->ended_nsec == 0)
			console->ended_nsec = now;
		*ret_end = CONSOLE_ENDED;
		/* What it said last may still be on its way. */
		return console->terminal_fd >= 0 &&
		       now - console->ended_nsec < DRAIN_MSEC * UINT64_C(1000000);
	}
	console->ended_nsec = 0;
	state = value_get_string(&console->watch->machine, "State");
	if (console->terminal_fd >= 0 ||
		(strcmp(state, "running") != 0 && strcmp(state, "paused") != 0))
		return true;
	r = open_terminal(console);
	if (r < 0)
		*ret_end = CONSOLE_FAILED;
	return r >= 0;
}

static bool process_bus(struct console *console, enum console_end *ret_end)
{
	int r;

	do
		r = sd_bus_process(console->ctl->bus, NULL);
	while (r > 0);
	if (r < 0) {
		ctl_bus_error(console->ctl, console->watch->name, NULL, r);
		*ret_end = CONSOLE_FAILED;
		return false;
	}
	return look_after(console, ret_end);
}

/* Waits for the next thing and does it; false: the end. */
static bool step(struct console *console, enum console_end *ret_end)
{
	bool room = console->input_is_tty || console->n_input < INPUT_BYTES;
	/* A pipe's input is kept for the machine while it reboots. */
	bool wanted = console->input_is_tty || console->terminal_fd >= 0;
	struct pollfd fds[4] = {
		{ .fd = console->signal_fd, .events = POLLIN },
		{ .fd = sd_bus_get_fd(console->ctl->bus),
			.events = (short)sd_bus_get_events(console->ctl->bus) },
		{ .fd = console->input_open && room && wanted ? STDIN_FILENO : -1,
			.events = POLLIN },
		{ .fd = console->terminal_fd,
			.events = (short)(POLLIN | (console->n_input > 0 ? POLLOUT : 0)) },
	};
	int timeout;

	if (!process_bus(console, ret_end))
		return false;
	timeout = console->ended_nsec > 0 || console->terminal_fd < 0 ? REOPEN_MSEC : -1;
	/* Opening it again may have read from the bus. */
	fds[1].events = (short)sd_bus_get_events(console->ctl->bus);
	if (fds[3].fd != console->terminal_fd)
		return true;
	if (poll(fds, ARRAY_SIZE(fds), timeout) < 0)
		return errno == EINTR;
	if (fds[0].revents && !read_signal(console, ret_end))
		return false;
	if (fds[2].revents && !read_input(console, ret_end))
		return false;
	if (console->terminal_fd >= 0 && fds[3].revents & POLLOUT)
		write_input(console);
	if (console->terminal_fd >= 0 && fds[3].revents & (POLLIN | POLLHUP | POLLERR))
		return read_output(console, ret_end);
	return true;
}

static int block_signals(sigset_t *ret_before)
{
	sigset_t signals;
	int fd;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGQUIT);
	sigaddset(&signals, SIGWINCH);
	sigaddset(&signals, SIGCONT);
	fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0 || sigprocmask(SIG_BLOCK, &signals, ret_before) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	return fd;
}

static void say_goodbye(const struct console *console, enum console_end end)
{
	/* The guest may have left the terminal in any state. */
	if (console->output_is_tty && console->saw_escape_sequence) {
		static const char reset[] = "\033[!p\033[?2004l\033[?1000l";

		vmm_base_write_full(STDOUT_FILENO, reset, sizeof(reset) - 1);
	}
	if (!console->input_is_tty)
		return;
	if (end == CONSOLE_DETACHED)
		ctl_note(console->ctl, "\nLeft the console of machine %s.", console->watch->name);
	else if (end == CONSOLE_ENDED)
		ctl_note(console->ctl, "\nMachine %s has ended.", console->watch->name);
}

enum console_end console_attach(struct ctl *ctl, struct watch *watch, bool is_run)
{
	enum console_end end = CONSOLE_FAILED;
	struct console *console = must_alloc(calloc(1, sizeof(*console)));
	sigset_t before;
	int number;

	console->ctl = ctl;
	console->watch = watch;
	console->terminal_fd = -EBADF;
	console->input_is_tty = isatty(STDIN_FILENO) == 1;
	console->output_is_tty = isatty(STDOUT_FILENO) == 1;
	console->input_open = true;
	console->is_run = is_run;
	console->signal_fd = block_signals(&before);
	if (console->signal_fd < 0) {
		ctl_error("signals cannot be read: %s", strerror(-console->signal_fd));
		free(console);
		return CONSOLE_FAILED;
	}
	if (open_terminal(console) >= 0) {
		if (console->input_is_tty) {
			ctl_note(ctl,
				"Connected to machine %s. Press ^] three times within 1s to "
				"leave.",
				watch->name);
			fflush(stderr);
			set_raw_mode();
		}
		while (step(console, &end))
			;
	}
	restore_mode();
	say_goodbye(console, end);
	close_terminal(console);
	vmm_base_close(console->signal_fd);
	number = console->signal;
	free(console);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (number != 0) {
		ctl_finish(ctl);
		/* A shell ignores some for what it starts in the background; this one was heeded.
		 */
		signal(number, SIG_DFL);
		raise(number);
	}
	return end;
}

int verb_console(struct ctl *ctl, char **arguments)
{
	const char *name = ctl_machine_name(arguments[0]);
	struct watch watch = {};
	enum console_end end = CONSOLE_FAILED;

	if (!name)
		return EXIT_FAILURE;
	ctl_open_agent(ctl);
	if (watch_begin(ctl, &watch, name) >= 0 && watch_refresh(ctl, &watch) >= 0)
		end = console_attach(ctl, &watch, false);
	watch_finish(&watch);
	return end == CONSOLE_FAILED ? EXIT_FAILURE : EXIT_SUCCESS;
}

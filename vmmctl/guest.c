/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * guest: ssh, exec, cp and proxy: into the guest without a network. ssh and scp do the work; they
 * get their connection from "vmmctl proxy", as for ssh vmm/NAME by the snippet of ssh_config. Which
 * machine is at the other end is vmmd's word, so its host key is not asked for. The connection is
 * made before they are started: what is in its way is said once, by vmmctl, and a password can be
 * asked for.
 */
#include "guest.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "handover.h"
#include "relay.h"

/* Between two tries with --timeout=. */
#define RETRY_NSEC UINT64_C(200000000)
/* How long a guest may think about one. */
#define ANSWER_NSEC UINT64_C(10000000000)
/* As ssh's own failures: another status is that of the command in the guest. */
#define FAILED 255

int guest_ask(struct ctl *ctl, const char *name, uint32_t port, bool quietly, int *ret_fd)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *reply = NULL;
	int fd, r;

	r = ctl_connect(ctl);
	if (r < 0)
		return r;
	r = sd_bus_call_method(ctl->bus, VMMD_NAME, VMMD_PATH, VMMD_MANAGER, "ConnectMachineVsock",
		&error, &reply, "sut", name, port, UINT64_C(0));
	if (r >= 0)
		r = sd_bus_message_read(reply, "h", &fd);
	if (r >= 0) {
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		r = fd < 0 ? -errno : 0;
	}
	if (r >= 0 && fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		r = -errno;
		close(fd);
	}
	if (r >= 0)
		*ret_fd = fd;
	else if (!quietly)
		ctl_bus_error(ctl, name, &error, r);
	sd_bus_message_unref(reply);
	sd_bus_error_free(&error);
	return r < 0 ? r : 0;
}

/* Byte after byte: what follows the line is the connection's. */
int guest_read_answer(int fd)
{
	char line[32];
	ssize_t size = recv(fd, line, sizeof(line), MSG_PEEK);
	char *end;

	if (size < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (size == 0)
		return -ECONNREFUSED;
	end = memchr(line, '\n', (size_t)size);
	if (!end)
		return size == sizeof(line) ? -EBADMSG : 0;
	if (size < 3 || memcmp(line, "OK ", 3) != 0)
		return -EBADMSG;
	return recv(fd, line, (size_t)(end - line) + 1, 0) < 0 ? -errno : 1;
}

/* Waits for the guest. */
static int await_answer(int fd, uint64_t deadline_nsec)
{
	for (;;) {
		uint64_t now = vmm_base_now_nsec();
		int r = guest_read_answer(fd);

		if (r != 0)
			return r < 0 ? r : 0;
		if (now >= deadline_nsec)
			return -ETIMEDOUT;
		/* Half a line makes it readable too: no busy loop. */
		poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1,
			(int)MIN((deadline_nsec - now) / 1000000 + 1, UINT64_C(1000)));
	}
}

static void tell_refused(const char *name, uint32_t port, int error)
{
	if (error == -ETIMEDOUT)
		ctl_error(
			"%s: the guest does not answer at vsock port %u; it may not be up yet, or "
			"have no vsock driver",
			name, port);
	else if (port == GUEST_SSH_PORT)
		ctl_error(
			"%s: no sshd in the guest listens at vsock port 22.\n"
			"A guest with systemd 256 or later and sshd listens by itself; others need "
			"a socket unit:\nsee INTO THE GUEST in vmmctl(1).",
			name);
	else
		ctl_error("%s: nothing in the guest listens at vsock port %u", name, port);
}

static int connect_guest(struct ctl *ctl, const char *name, uint32_t port, int *ret_fd)
{
	uint64_t end_nsec = vmm_base_now_nsec() + ctl->timeout_usec * 1000;
	int r;

	for (;;) {
		CLEANUP(close_p) int fd = -EBADF;
		uint64_t now;

		r = guest_ask(ctl, name, port, false, &fd);
		if (r < 0)
			return r;
		now = vmm_base_now_nsec();
		r = await_answer(fd, MAX(end_nsec, now + ANSWER_NSEC));
		if (r == 0) {
			*ret_fd = TAKE_FD(fd);
			return 0;
		}
		if (now + RETRY_NSEC >= end_nsec)
			break;
		poll(NULL, 0, (int)(RETRY_NSEC / 1000000));
	}
	tell_refused(name, port, r);
	return r;
}

/* ---- proxy ---- */

static int pass_fd(int fd)
{
	int r;

	/* Whoever gets it expects it to block. */
	r = fcntl(fd, F_SETFL, 0) < 0 ? -errno : handover_send(STDOUT_FILENO, fd);
	if (r < 0)
		ctl_error(
			"--fdpass: stdout is no socket that takes a descriptor: %s", strerror(-r));
	return r;
}

static int relay_stdio(int fd)
{
	struct relay *relay = must_alloc(malloc(sizeof(*relay)));
	int flags[2] = { fcntl(STDIN_FILENO, F_GETFL), fcntl(STDOUT_FILENO, F_GETFL) };
	struct pollfd polls[RELAY_POLLS];

	signal(SIGPIPE, SIG_IGN);
	fcntl(STDIN_FILENO, F_SETFL, flags[0] | O_NONBLOCK);
	fcntl(STDOUT_FILENO, F_SETFL, flags[1] | O_NONBLOCK);
	relay_begin(relay, STDIN_FILENO, STDOUT_FILENO, fd);
	do {
		relay_poll(relay, polls);
		poll(polls, ARRAY_SIZE(polls), -1);
	} while (relay_step(relay));
	/* They may be another program's terminal too. */
	fcntl(STDIN_FILENO, F_SETFL, flags[0]);
	fcntl(STDOUT_FILENO, F_SETFL, flags[1]);
	free(relay);
	return EXIT_SUCCESS;
}

int verb_proxy(struct ctl *ctl, char **arguments)
{
	/* As ssh vmm/web has it. */
	char *argument = arguments[0] + (strncmp(arguments[0], "vmm/", 4) == 0 ? 4 : 0);
	const char *name = ctl_machine_name(argument);
	CLEANUP(close_p) int fd = -EBADF;
	unsigned long port;
	char *end;

	if (!name)
		return EXIT_FAILURE;
	port = strtoul(arguments[1], &end, 10);
	if (arguments[1][0] < '0' || arguments[1][0] > '9' || *end != '\0' || port > UINT32_MAX) {
		ctl_error("%s: a port is a number from 0 to %u", arguments[1], UINT32_MAX);
		return EXIT_FAILURE;
	}
	if (ctl->fdpass && port == GUEST_SSH_PORT)
		fd = handover_take(name);
	if (fd < 0) {
		ctl_open_agent(ctl);
		if (connect_guest(ctl, name, (uint32_t)port, &fd) < 0)
			return EXIT_FAILURE;
	}
	if (ctl->fdpass)
		return pass_fd(fd) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	return relay_stdio(fd);
}

/* ---- ssh, exec, cp ---- */

struct command {
	char *words[512]; /* owned */
	size_t n;
};

static void add(struct command *command, const char *word)
{
	if (command->n + 1 < ARRAY_SIZE(command->words))
		command->words[command->n++] = must_strdup(word);
}

static void command_finish(struct command *command)
{
	for (size_t i = 0; i < command->n; i++)
		free(command->words[i]);
}

/* The program and how it reaches machines. */
static void begin_command(struct command *command, const struct ctl *ctl, const char *program)
{
	char *proxy = must_printf("ProxyCommand=vmmctl --no-ask-password --timeout=%.1f --fdpass "
				  "proxy %%h %d",
		(double)ctl->timeout_usec / 1e6, GUEST_SSH_PORT);
	static const char *const options[] = { "ProxyUseFdpass=yes", "CheckHostIP=no",
		"StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null",
		"GlobalKnownHostsFile=/dev/null", "LogLevel=ERROR" };

	*command = (struct command){};
	add(command, program);
	add(command, "-o");
	add(command, proxy);
	free(proxy);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		add(command, "-o");
		add(command, options[i]);
	}
}

/* Connects to the guest of USER@NAME and becomes the program. Comes back when it cannot. */
static void run_command(struct ctl *ctl, struct command *command, const char *login)
{
	const char *name = strchr(login, '@') + 1;
	CLEANUP(close_p) int fd = -EBADF;

	if (command->n + 1 >= ARRAY_SIZE(command->words)) {
		ctl_error("too many arguments");
		return;
	}
	ctl_open_agent(ctl);
	if (connect_guest(ctl, name, GUEST_SSH_PORT, &fd) < 0)
		return;
	ctl_finish(ctl);
	handover_offer(name, fd);
	execvp(command->words[0], command->words);
	ctl_error("%s is needed for this and cannot be run: %m", command->words[0]);
}

/* "root@web" of "web", "me@web" of itself. NULL after telling. The result lasts. */
static char *login_of(const struct ctl *ctl, char *argument)
{
	char *at = strchr(argument, '@');
	const char *user = "root";
	const char *name;

	if (ctl->host) {
		ctl_error("this works on the machines of this host; use ssh -t %s vmmctl %s",
			ctl->host, ctl->verb);
		return NULL;
	}
	/* vmm@web is the unit's name. */
	if (at && strncmp(argument, "vmm@", 4) != 0) {
		*at = '\0';
		user = argument;
		argument = at + 1;
	}
	name = ctl_machine_name(argument);
	if (!name)
		return NULL;
	if (*user == '-' || *user == '\0') {
		ctl_error("\"%s\" is no user's name", user);
		return NULL;
	}
	return must_printf("%s@%s", user, name);
}

int verb_ssh(struct ctl *ctl, char **arguments)
{
	char *login = login_of(ctl, arguments[0]);
	struct command command;

	if (!login)
		return FAILED;
	begin_command(&command, ctl, "ssh");
	add(&command, login);
	for (size_t i = 1; arguments[i]; i++)
		add(&command, arguments[i]);
	run_command(ctl, &command, login);
	command_finish(&command);
	free(login);
	return FAILED;
}

/* A word as the guest's shell is to see it. */
static void quote(FILE *stream, const char *word)
{
	fputc('\'', stream);
	for (; *word != '\0'; word++) {
		if (*word == '\'')
			fputs("'\\''", stream);
		else
			fputc(*word, stream);
	}
	fputc('\'', stream);
}

int verb_exec(struct ctl *ctl, char **arguments)
{
	char *login = login_of(ctl, arguments[0]), *line = NULL;
	struct command command;
	size_t size;
	FILE *stream;

	if (!login)
		return FAILED;
	stream = must_alloc(open_memstream(&line, &size));
	for (size_t i = 1; arguments[i]; i++) {
		if (i > 1)
			fputc(' ', stream);
		quote(stream, arguments[i]);
	}
	if (fclose(stream) != 0)
		must_alloc(NULL);
	begin_command(&command, ctl, "ssh");
	/* A terminal there where there is one here. */
	add(&command, isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? "-t" : "-T");
	add(&command, login);
	add(&command, "--");
	add(&command, line);
	free(line);
	run_command(ctl, &command, login);
	command_finish(&command);
	free(login);
	return FAILED;
}

/* "root@web:/etc/hosts" of "web:/etc/hosts"; what has no machine is a file here. */
static char *copy_operand(const struct ctl *ctl, char *argument, bool *ret_is_remote)
{
	char *colon = strchr(argument, ':'), *slash = strchr(argument, '/'), *login, *operand;

	if (!colon || (slash && slash < colon))
		return must_printf("%s%s", *argument == '-' ? "./" : "", argument);
	*colon = '\0';
	login = login_of(ctl, argument);
	*ret_is_remote = true;
	operand = login ? must_printf("%s:%s", login, colon + 1) : NULL;
	free(login);
	return operand;
}

int verb_cp(struct ctl *ctl, char **arguments)
{
	struct command command;
	char *first = NULL;

	begin_command(&command, ctl, "scp");
	add(&command, "-pr");
	if (ctl->quiet)
		add(&command, "-q");
	add(&command, "--");
	for (size_t i = 0; arguments[i]; i++) {
		bool is_remote = false;
		char *operand = copy_operand(ctl, arguments[i], &is_remote);

		if (!operand)
			goto finish;
		add(&command, operand);
		if (is_remote && !first)
			first = must_alloc(strndup(operand, strcspn(operand, ":")));
		free(operand);
	}
	if (first)
		run_command(ctl, &command, first);
	else
		ctl_error("one of the files must be a machine's, as in web:/etc/hosts");
finish:
	command_finish(&command);
	free(first);
	return EXIT_FAILURE;
}

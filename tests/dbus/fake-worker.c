/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fake-worker: speaks a worker's side of the protocol and runs no guest, so that the daemon can
 * be shown every end and every misbehaviour a worker is capable of. Words of the machine's
 * CommandLine= choose:
 *
 *   exit=N        ends with N once it is ready
 *   slow          is never ready
 *   shy           ends with 70 when somebody asks for its console
 *   deaf          does not follow the power button and SIGTERM
 *   silent        answers no request
 *   mute          answers no question for counters, memory and devices
 *   garbage       answers with bytes that are no message
 *   flood         sends events without end
 *   impostor      greets as another machine
 *   broken        fails each request with a text that is not printable
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "base/util.h"
#include "worker/protocol.h"

struct fake {
	const char *name;
	const char *words;
	struct vmm_handover handover;
	int listen_fd;
	int clients[VMM_CONTROL_MAX_CLIENTS];
	int console_fd;
	uint32_t state;
	uint32_t end;
	bool ready;
};

static bool has(const struct fake *fake, const char *word)
{
	return strstr(fake->words, word) != NULL;
}

static uint64_t now_usec(void)
{
	return vmm_base_now_nsec() / 1000;
}

static void send_event(struct fake *fake, uint32_t kind, const char *text)
{
	struct vmm_control_event event = {
		.event = kind,
		.state = fake->state,
		.end = fake->end,
		.time_usec = now_usec(),
	};

	snprintf(event.text, sizeof(event.text), "%s", text);
	for (size_t i = 0; i < ARRAY_SIZE(fake->clients); i++)
		if (fake->clients[i] >= 0)
			vmm_control_notify(
				fake->clients[i], VMM_CONTROL_EVENT, &event, sizeof(event));
}

_Noreturn static void leave(struct fake *fake, uint32_t end, int status)
{
	fake->state = VMM_STATE_ENDED;
	fake->end = end;
	send_event(fake, VMM_EVENT_STATE, "");
	exit(status);
}

static void get_status(struct fake *fake, int fd, const struct vmm_control_header *header)
{
	struct vmm_control_status status = {
		.state = fake->state,
		.end = fake->end,
		.n_cpus = fake->handover.spec->n_cpus,
		.memory_bytes = fake->handover.spec->memory_bytes,
		.n_drives = fake->handover.spec->n_drives,
		.ready_usec = fake->ready ? now_usec() : 0,
	};

	snprintf(status.text, sizeof(status.text), "fake of %s", fake->name);
	vmm_control_send_reply(fd, header, &status, sizeof(status));
}

static void open_console(
	struct fake *fake, int fd, int console_fd, const struct vmm_control_message *message)
{
	struct vmm_control_console console = message->console;
	char text[64];

	if (has(fake, "shy"))
		leave(fake, VMM_END_PANIC, VMM_WORKER_EXIT_CRASH);
	if (console_fd < 0) {
		vmm_control_send_failure(fd, &message->header, -EBADF, "no terminal");
		return;
	}
	if (fake->console_fd >= 0 && !(console.flags & VMM_CONSOLE_STEAL)) {
		vmm_control_send_failure(fd, &message->header, -EBUSY, "taken");
		vmm_base_close(console_fd);
		return;
	}
	vmm_base_close(fake->console_fd);
	fake->console_fd = console_fd;
	console.id = 1;
	vmm_control_send_reply(fd, &message->header, &console, sizeof(console));
	snprintf(text, sizeof(text), "console of %s\n", fake->name);
	vmm_base_write_full(console_fd, text, strlen(text));
}

static void answer(struct fake *fake, int fd, const struct vmm_control_message *message, int passed)
{
	const struct vmm_control_header *header = &message->header;

	if (header->type != VMM_CONTROL_GET_STATUS && has(fake, "broken")) {
		vmm_control_send_failure(fd, header, -EIO, "\xff\xfe\x01 no");
		return;
	}
	switch (header->type) {
	case VMM_CONTROL_GET_STATUS:
		get_status(fake, fd, header);
		break;
	case VMM_CONTROL_PAUSE:
	case VMM_CONTROL_RESUME:
		fake->state =
			header->type == VMM_CONTROL_PAUSE ? VMM_STATE_PAUSED : VMM_STATE_RUNNING;
		vmm_control_send_reply(fd, header, NULL, 0);
		send_event(fake, VMM_EVENT_STATE, "");
		break;
	case VMM_CONTROL_POWER_BUTTON:
	case VMM_CONTROL_CTRL_ALT_DEL:
		vmm_control_send_reply(fd, header, NULL, 0);
		if (!has(fake, "deaf"))
			leave(fake, VMM_END_POWEROFF, VMM_WORKER_EXIT_POWEROFF);
		break;
	case VMM_CONTROL_STOP:
		vmm_control_send_reply(fd, header, NULL, 0);
		leave(fake, VMM_END_STOPPED, VMM_WORKER_EXIT_POWEROFF);
	case VMM_CONTROL_REBOOT:
		vmm_control_send_reply(fd, header, NULL, 0);
		if (!has(fake, "deaf") || message->how.how == VMM_HOW_HARD)
			leave(fake, VMM_END_REBOOT, VMM_WORKER_EXIT_REBOOT);
		break;
	case VMM_CONTROL_OPEN_CONSOLE:
		open_console(fake, fd, passed, message);
		return;
	default:
		vmm_control_send_failure(fd, header, -EOPNOTSUPP, "not by a fake");
	}
	vmm_base_close(passed);
}

static void serve_client(struct fake *fake, int *client)
{
	static const char garbage[] = "this is no message of the control protocol";
	struct vmm_control_message message;
	CLEANUP(vmm_control_fds_finish) struct vmm_control_fds passed = {};
	int r;

	r = vmm_control_receive_request(*client, &message, &passed);
	if (r == -EAGAIN)
		return;
	if (r < 0) {
		*client = vmm_base_close(*client);
		return;
	}
	if (has(fake, "garbage") && message.header.type != VMM_CONTROL_GET_STATUS) {
		send(*client, garbage, sizeof(garbage), MSG_NOSIGNAL);
		return;
	}
	if (has(fake, "silent") && message.header.type != VMM_CONTROL_GET_STATUS)
		return;
	if (has(fake, "mute") && (message.header.type == VMM_CONTROL_GET_STATS ||
					 message.header.type == VMM_CONTROL_GET_MEMORY ||
					 message.header.type == VMM_CONTROL_GET_DEVICE))
		return;
	answer(fake, *client, &message, passed.n_fds > 0 ? TAKE_FD(passed.fds[0]) : -EBADF);
}

static void new_client(struct fake *fake)
{
	int fd = accept4(fake->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (size_t i = 0; fd >= 0 && i < ARRAY_SIZE(fake->clients); i++)
		if (fake->clients[i] < 0) {
			fake->clients[i] = fd;
			return;
		}
	vmm_base_close(fd);
}

/* What the terminal sends comes back. */
static void echo(struct fake *fake)
{
	char text[256];
	ssize_t n = read(fake->console_fd, text, sizeof(text));

	if (n > 0)
		vmm_base_write_full(fake->console_fd, text, (size_t)n);
	else if (n == 0 || errno != EAGAIN)
		fake->console_fd = vmm_base_close(fake->console_fd);
}

static void become_ready(struct fake *fake)
{
	const char *status = strstr(fake->words, "exit=");

	if (has(fake, "slow"))
		return;
	fake->state = VMM_STATE_RUNNING;
	fake->ready = true;
	send_event(fake, VMM_EVENT_READY, "");
	if (status) {
		int number = atoi(status + 5);

		leave(fake, number == VMM_WORKER_EXIT_REBOOT ? VMM_END_REBOOT : VMM_END_POWEROFF,
			number);
	}
}

static void loop(struct fake *fake, int signal_fd)
{
	for (;;) {
		struct pollfd polls[3 + VMM_CONTROL_MAX_CLIENTS] = {
			{ .fd = fake->listen_fd, .events = POLLIN },
			{ .fd = signal_fd, .events = POLLIN },
			{ .fd = fake->console_fd, .events = POLLIN },
		};

		for (size_t i = 0; i < ARRAY_SIZE(fake->clients); i++)
			polls[3 + i] = (struct pollfd){ .fd = fake->clients[i], .events = POLLIN };
		poll(polls, ARRAY_SIZE(polls), has(fake, "flood") ? 0 : -1);
		if (has(fake, "flood"))
			send_event(fake, VMM_EVENT_STATE, "flood");
		if (polls[1].revents && !has(fake, "deaf"))
			leave(fake, VMM_END_POWEROFF, VMM_WORKER_EXIT_POWEROFF);
		if (polls[1].revents) {
			struct signalfd_siginfo info;

			if (read(signal_fd, &info, sizeof(info)) < 0)
				perror("signalfd");
		}
		if (polls[2].revents)
			echo(fake);
		for (size_t i = 0; i < ARRAY_SIZE(fake->clients); i++)
			if (polls[3 + i].revents)
				serve_client(fake, &fake->clients[i]);
		if (polls[0].revents) {
			new_client(fake);
			if (!fake->ready)
				become_ready(fake);
		}
	}
}

int main(int argc, char *argv[])
{
	struct fake fake = { .console_fd = -EBADF, .words = "" };
	sigset_t signals;
	int broker_fd, r;

	if (argc < 3 || argc > 4 || sscanf(argv[1], "--broker-fd=%d", &broker_fd) != 1)
		return 64;
	fake.name = argv[argc - 1];
	for (size_t i = 0; i < ARRAY_SIZE(fake.clients); i++)
		fake.clients[i] = -EBADF;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	/* Its name says so: what it is told to do is known only after the greeting. */
	r = vmm_broker_send_hello(
		broker_fd, strcmp(fake.name, "impostor") == 0 ? "web" : fake.name);
	if (r >= 0)
		r = vmm_broker_receive_handover(
			broker_fd, fake.name, UINT64_C(30000000000), &fake.handover);
	if (r < 0) {
		fprintf(stderr, "fake-worker: %s %s\n", strerror(-r), fake.handover.text);
		return VMM_WORKER_EXIT_FAILURE;
	}
	if (fake.handover.refused) {
		fprintf(stderr, "fake-worker: refused: %s\n", fake.handover.text);
		return fake.handover.exit_status;
	}
	fake.words = fake.handover.spec->command_line;
	fake.listen_fd = fake.handover.fds[fake.handover.spec->control_fd];
	loop(&fake, signalfd(-1, &signals, SFD_CLOEXEC));
	return 0;
}

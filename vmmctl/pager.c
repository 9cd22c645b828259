/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* pager: long output on a terminal goes through less, as that of systemctl does. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/util.h"
#include "ctl.h"

static const char *pager_command(void)
{
	const char *command = getenv("SYSTEMD_PAGER");

	return command ? command : getenv("PAGER");
}

static void run_pager(const char *command)
{
	const char *options = getenv("SYSTEMD_LESS"), *secure = getenv("SYSTEMD_PAGERSECURE");
	/* A person who may run this as root alone must get no shell out of the pager. */
	bool restricted = secure ? strcmp(secure, "0") != 0 && strcmp(secure, "no") != 0 &&
					   strcmp(secure, "false") != 0
				 : getenv("SUDO_UID") || geteuid() != getuid();

	signal(SIGINT, SIG_DFL);
	setenv("LESS", options ? options : "FRSXMK", 1);
	if (restricted)
		setenv("LESSSECURE", "1", 1);
	else if (command)
		execl("/bin/sh", "sh", "-c", command, NULL);
	execlp("less", "less", NULL);
	/* Not more, which wants a key pressed behind three lines as well. */
	execlp("cat", "cat", NULL);
	_exit(EXIT_FAILURE);
}

void ctl_open_pager(struct ctl *ctl)
{
	const char *command = pager_command();
	int fds[2];

	if (!ctl->pager || ctl->pager_pid > 0 || isatty(STDOUT_FILENO) != 1 ||
		(command && (*command == '\0' || strcmp(command, "cat") == 0)))
		return;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	ctl->pager_pid = fork();
	if (ctl->pager_pid == 0) {
		dup2(fds[0], STDIN_FILENO);
		run_pager(command);
	}
	if (ctl->pager_pid > 0) {
		/* ^C is the pager's; a person who leaves it early is no failure. */
		signal(SIGINT, SIG_IGN);
		dup2(fds[1], STDOUT_FILENO);
	}
	vmm_base_close(fds[0]);
	vmm_base_close(fds[1]);
}

void ctl_close_pager(struct ctl *ctl)
{
	if (ctl->pager_pid <= 0)
		return;
	fclose(stdout);
	while (waitpid(ctl->pager_pid, NULL, 0) < 0 && errno == EINTR)
		;
	ctl->pager_pid = 0;
}

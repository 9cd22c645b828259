/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * edit: a copy of the machine's file goes to an editor; what comes back is checked and handed to
 * vmmd, which puts it into /etc/vmm. A faulty file goes back to the editor if the person wants, and
 * nothing that was written is thrown away unsaid.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#include "base/util.h"
#include "config.h"
#include "ctl.h"

static void config_free_p(struct vm_config **config)
{
	vm_config_free(*config);
}

/* Runs the editor and waits; 0 when it ended well. */
static int run_editor(const char *path)
{
	static const char *const variables[] = { "SYSTEMD_EDITOR", "EDITOR", "VISUAL" };
	static const char *const programs[] = { "editor", "nano", "vim", "vi" };
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
			const char *program = getenv(variables[i]);

			/* It may have options. */
			if (program && *program != '\0') {
				CLEANUP(free_p) char *command = must_printf("%s \"$1\"", program);

				execl("/bin/sh", "sh", "-c", command, "sh", path, NULL);
				_exit(127);
			}
		}
		for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
			execlp(programs[i], programs[i], path, NULL);
		_exit(127);
	}
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		ctl_error("there is no editor; set $EDITOR");
	else
		ctl_error("the editor failed, nothing is changed");
	return -ECANCELED;
}

static bool wants_again(void)
{
	char answer[16];

	if (!isatty(STDIN_FILENO))
		return false;
	fputs("Edit it again? [Y/n] ", stderr);
	return fgets(answer, sizeof(answer), stdin) && answer[0] != 'n' && answer[0] != 'N';
}

/* Edits the copy at path until it is good: 1 good, 0 unchanged, negative: given up. */
static int edit_copy(const struct ctl *ctl, const char *name, const char *path, const char *before,
	char **ret_text, size_t *ret_size)
{
	for (;;) {
		CLEANUP(config_messages_finish) struct config_messages messages = {};
		CLEANUP(config_free_p) struct vm_config *config = NULL;
		CLEANUP(free_p) char *text = NULL;
		size_t size;
		int r;

		r = run_editor(path);
		if (r == 0)
			r = read_text(path, &text, &size);
		if (r < 0)
			return r;
		if (strlen(text) == size && strcmp(text, before) == 0)
			return 0;
		if (config_load_text(text, size, path, name, &messages, &config) == -ENOMEM)
			must_alloc(NULL);
		if (print_messages(ctl, &messages, NULL) == EXIT_SUCCESS) {
			*ret_text = TAKE_PTR(text);
			*ret_size = size;
			return 1;
		}
		if (!wants_again())
			return -EBADMSG;
	}
}

int verb_edit(struct ctl *ctl, char **arguments)
{
	const char *name = ctl_machine_name(arguments[0]);
	CLEANUP(free_p) char *root = NULL;
	CLEANUP(free_p) char *original = NULL;
	CLEANUP(free_p) char *before = NULL;
	CLEANUP(free_p) char *after = NULL;
	CLEANUP(close_p) int copy_fd = -EBADF;
	CLEANUP(close_p) int fd = -EBADF;
	char path[] = "/tmp/vmmctl-XXXXXX.vm";
	size_t size = 0;
	int r;

	if (!name)
		return EXIT_FAILURE;
	if (ctl->host) {
		ctl_error("edit works on this host's files only");
		return EXIT_FAILURE;
	}
	root = ctl_config_root(ctl);
	r = config_find(root, name, &original);
	if (r < 0) {
		ctl_error("%s: there is no such machine; vmmctl define makes one", name);
		return EXIT_FAILURE;
	}
	if (read_text(original, &before, &size) < 0)
		return EXIT_FAILURE;
	copy_fd = mkostemps(path, 3, O_CLOEXEC);
	r = copy_fd < 0 ? -errno : vmm_base_write_full(copy_fd, before, size);
	if (r < 0) {
		ctl_error("%s: %s", path, strerror(-r));
		return EXIT_FAILURE;
	}
	r = edit_copy(ctl, name, path, before, &after, &size);
	if (r > 0) {
		fd = text_to_fd(after, size);
		ctl_open_agent(ctl);
		r = fd < 0 ? fd
			   : ctl_call(ctl, name, "DefineMachine", NULL, "sht", name, fd,
				     UINT64_C(1));
		if (r == 0)
			ctl_reload_systemd(ctl);
		if (r == 0)
			ctl_note(ctl,
				"Changed machine %s. It counts from its next start or reboot.",
				name);
	} else if (r == 0) {
		ctl_note(ctl, "Nothing is changed.");
	}
	if (r == -ECANCELED || r >= 0)
		unlink(path);
	else
		ctl_note(ctl, "What was written is in %s.", path);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* killed: see killed.h. */
#include "killed.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <vmmcore/seccomp.h>

#include "base/util.h"
#include "log.h"
#include "machine.h"
#include "manager.h"
#include "resources.h"

/* A record is there a moment after the death, or not at all: the kernel limits their rate. */
#define TRIES 15
#define PAUSE_USEC 200000
#define CHILD_SEC 20
/* Pids come again: what is older is not of this process. */
#define MAX_AGE_USEC (UINT64_C(60) * 1000 * 1000)
#define MAX_ENTRIES 500

struct killed {
	struct manager *manager; /* borrowed */
	char name[VMM_NAME_SIZE];
	int fd; /* owned: the child's answer */
};

/* ---- records ---- */

/* The value of " key=" in text, as long as it has no space; 0 characters where it is not there. */
static size_t find_field(const char *text, const char *key, const char **ret_value)
{
	size_t length = strlen(key);

	for (const char *at = strstr(text, key); at; at = strstr(at + 1, key))
		if ((at == text || at[-1] == ' ') && at[length] == '=') {
			*ret_value = at + length + 1;
			return strcspn(*ret_value, " \n");
		}
	return 0;
}

static bool find_number(const char *text, const char *key, int64_t *ret)
{
	const char *value;
	char *end;
	size_t n = find_field(text, key, &value);

	if (n == 0 || !isdigit((unsigned char)*value))
		return false;
	errno = 0;
	*ret = strtoll(value, &end, 10);
	return errno == 0 && end == value + n;
}

/* The kernel writes a name in quotes, or in hexadecimal digits where that could mislead. */
static bool find_name(const char *text, const char *key, char *name, size_t size)
{
	const char *value;
	size_t n = find_field(text, key, &value), length = 0;

	if (n == 0)
		return false;
	if (*value == '"') {
		for (size_t i = 1; i < n && value[i] != '"' && length < size - 1; i++)
			name[length++] = value[i];
	} else {
		unsigned int byte;

		for (size_t i = 0; i + 1 < n && length < size - 1; i += 2) {
			if (!isxdigit((unsigned char)value[i]) ||
				sscanf(value + i, "%2x", &byte) != 1)
				return false;
			name[length++] = (char)byte;
		}
	}
	name[length] = '\0';
	for (size_t i = 0; i < length; i++)
		if (name[i] < ' ' || name[i] > '~')
			name[i] = '?';
	return length > 0;
}

bool killed_parse(const char *text, pid_t pid, struct killed_record *ret)
{
	struct killed_record record = {};
	int64_t number;

	/* The journal has the type's name in front, the kernel its number. */
	if (!strstr(text, "SECCOMP ") && !strstr(text, "type=1326 "))
		return false;
	if (!find_number(text, "pid", &number) || number != pid)
		return false;
	if (!find_number(text, "sig", &number) || number != SIGSYS)
		return false;
	if (!find_number(text, "syscall", &record.call) ||
		!find_name(text, "comm", record.thread, sizeof(record.thread)))
		return false;
	*ret = record;
	return true;
}

/* ---- the child ---- */

static uint64_t now_usec(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* /dev/kmsg: "priority,sequence,usec since boot,flags;text", a record a read. */
static bool search_kernel_log(pid_t pid, struct killed_record *ret)
{
	CLEANUP(close_p) int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	uint64_t now = now_usec(CLOCK_MONOTONIC);
	char text[8192];
	bool found = false;
	ssize_t n;

	if (fd < 0)
		return false;
	while ((n = read(fd, text, sizeof(text) - 1)) >= 0 || errno == EPIPE) {
		uint64_t usec;

		if (n <= 0)
			continue;
		text[n] = '\0';
		if (sscanf(text, "%*u,%*u,%" SCNu64, &usec) == 1 && usec + MAX_AGE_USEC >= now)
			found |= killed_parse(text, pid, ret);
	}
	return found;
}

/* Backwards from the newest entry that matches. */
static bool search_matches(sd_journal *journal, pid_t pid, struct killed_record *ret)
{
	uint64_t now = now_usec(CLOCK_REALTIME), usec;
	char text[4096];
	const void *data;
	size_t size;

	if (sd_journal_seek_tail(journal) < 0)
		return false;
	for (int i = 0; i < MAX_ENTRIES && sd_journal_previous(journal) > 0; i++) {
		if (sd_journal_get_realtime_usec(journal, &usec) < 0 || usec + MAX_AGE_USEC < now)
			return false;
		if (sd_journal_get_data(journal, "MESSAGE", &data, &size) < 0)
			continue;
		size = MIN(size, sizeof(text) - 1);
		memcpy(text, data, size);
		text[size] = '\0';
		if (killed_parse(text + MIN(size, strlen("MESSAGE=")), pid, ret))
			return true;
	}
	return false;
}

static bool search_journal(pid_t pid, struct killed_record *ret)
{
	sd_journal *journal = NULL;
	bool found = false;

	if (sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM) < 0)
		return false;
	if (sd_journal_add_match(journal, "_TRANSPORT=audit", 0) >= 0 &&
		sd_journal_add_match(journal, "_AUDIT_TYPE=1326", 0) >= 0)
		found = search_matches(journal, pid, ret);
	sd_journal_flush_matches(journal);
	if (!found && sd_journal_add_match(journal, "_TRANSPORT=kernel", 0) >= 0)
		found = search_matches(journal, pid, ret);
	sd_journal_close(journal);
	return found;
}

_Noreturn static void child(pid_t pid, int fd)
{
	struct killed_record record = {};
	sigset_t none;

	sigemptyset(&none);
	signal(SIGTERM, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	alarm(CHILD_SEC);
	if (fd != 3 && dup3(fd, 3, O_CLOEXEC) < 0)
		_exit(1);
	close_range(4, ~0u, 0);
	for (int i = 0; i < TRIES; i++) {
		if (search_kernel_log(pid, &record) || search_journal(pid, &record)) {
			if (write(3, &record, sizeof(record)) != sizeof(record))
				_exit(1);
			break;
		}
		usleep(PAUSE_USEC);
	}
	_exit(0);
}

/* ---- vmmd ---- */

static void killed_free(void *userdata)
{
	struct killed *killed = userdata;

	vmm_base_close(killed->fd);
	free(killed);
}

static void say(struct manager *manager, const char *name, const struct killed_record *record)
{
	struct log_about about = { .name = name, .id = LOG_ID_KILLED, .event = "killed" };
	struct machine *machine = manager_find(manager, name);
	char text[256];

	if (record) {
		const char *call = record->call >= 0 && record->call <= UINT32_MAX
					   ? vmm_seccomp_call_name((unsigned int)record->call)
					   : NULL;

		snprintf(text, sizeof(text),
			"its thread \"%s\" was killed for a system call that it may not make: "
			"%s%s%" PRId64 "%s",
			record->thread, call ? call : "number ", call ? " (" : "", record->call,
			call ? ")" : "");
	} else {
		snprintf(text, sizeof(text),
			"a thread of it was killed for a system call that it may not make; the kernel "
			"has no audit record of which");
	}
	log_line(LOG_ERR, &about, "%s", text);
	/* Unless it runs again by now. */
	if (machine && !machine_is_active(machine))
		machine_set_status(machine, "%s", text);
}

static int on_answer(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct killed *killed = userdata;
	struct killed_record record;
	ssize_t n = read(fd, &record, sizeof(record));

	say(killed->manager, killed->name, n == sizeof(record) ? &record : NULL);
	/* The loop's own reference was the last. */
	sd_event_source_set_floating(source, false);
	return 0;
}

static int on_child(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct manager *manager = userdata;

	manager->n_children--;
	sd_event_source_unref(source);
	return 0;
}

/* The object belongs to the source, and that to the loop. */
static int wait_for_answer(struct manager *manager, const char *name, int *fd)
{
	struct killed *killed = malloc(sizeof(*killed));
	sd_event_source *io;
	int r;

	if (!killed)
		return -ENOMEM;
	*killed = (struct killed){ .manager = manager, .fd = TAKE_FD(*fd) };
	memcpy(killed->name, name, sizeof(killed->name));
	r = sd_event_add_io(manager->event, &io, killed->fd, EPOLLIN, on_answer, killed);
	if (r < 0) {
		killed_free(killed);
		return r;
	}
	sd_event_source_set_destroy_callback(io, killed_free);
	sd_event_source_set_floating(io, true);
	sd_event_source_unref(io);
	return 0;
}

static int start(struct manager *manager, const char *name, pid_t about_pid)
{
	CLEANUP(close_p) int ours = -EBADF, theirs = -EBADF;
	sd_event_source *reaper;
	int ends[2], r;
	pid_t pid;

	if (manager->n_children >= RESOURCES_MAX_CHILDREN)
		return -EAGAIN;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	ours = ends[0];
	theirs = ends[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		child(about_pid, theirs);
	r = sd_event_add_child(manager->event, &reaper, pid, WEXITED, on_child, manager);
	if (r < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return r;
	}
	manager->n_children++;
	return wait_for_answer(manager, name, &ours);
}

void killed_explain(struct machine *machine)
{
	if (start(machine->manager, machine->name, machine->last_leader) < 0)
		say(machine->manager, machine->name, NULL);
}

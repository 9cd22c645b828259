/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* resources: the child and what it hands back; see resources.h. */
#include "resources.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/util.h"
#include "error.h"
#include "log.h"
#include "spawn.h"
#include "worker/message.h"

/* What the child says, in one message with the descriptors. */
struct answer {
	int32_t error;
	int32_t exit_status;
	uint32_t n_fds;
	uint32_t reserved;
	char text[VMM_TEXT_SIZE];
};

struct resources_request {
	struct manager *manager; /* borrowed */
	struct resources_request *next;
	char name[VMM_NAME_SIZE];
	resources_done_t done;
	void *userdata;
	int fd;                 /* owned */
	int pidfd;              /* owned */
	sd_event_source *io;    /* owned */
	sd_event_source *timer; /* owned */
};

static void request_free(struct resources_request *request)
{
	for (struct resources_request **at = &request->manager->requests; *at; at = &(*at)->next)
		if (*at == request) {
			*at = request->next;
			break;
		}
	sd_event_source_disable_unref(request->io);
	sd_event_source_disable_unref(request->timer);
	vmm_base_close(request->fd);
	vmm_base_close(request->pidfd);
	free(request);
}

bool resources_is_opening(const struct manager *manager, const char *name)
{
	for (const struct resources_request *at = manager->requests; at; at = at->next)
		if (strcmp(at->name, name) == 0)
			return true;
	return false;
}

void resources_cancel(struct resources_request *request)
{
	if (!request)
		return;
	pidfd_send_signal(request->pidfd, SIGKILL, NULL, 0);
	request_free(request);
}

/* Frees the request, then tells. */
static void complete(struct resources_request *request, struct resources_result *result)
{
	resources_done_t done = request->done;
	void *userdata = request->userdata;

	request_free(request);
	done(userdata, result);
	for (size_t i = 0; i < result->n_fds; i++)
		vmm_base_close(result->fds[i]);
}

static void complete_failure(struct resources_request *request, int error, const char *text)
{
	struct resources_result result = {
		.error = error,
		.exit_status = VMM_WORKER_EXIT_FAILURE,
		.text = text,
	};

	complete(request, &result);
}

void resources_end(struct manager *manager)
{
	while (manager->requests) {
		pidfd_send_signal(manager->requests->pidfd, SIGKILL, NULL, 0);
		complete_failure(manager->requests, -ECANCELED, "vmmd ends");
	}
}

static int on_answer(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct resources_request *request = userdata;
	struct resources_result result = {};
	struct answer answer;
	size_t size;
	int r;

	r = vmm_message_receive(request->fd, MSG_DONTWAIT, &answer, sizeof(answer), &size,
		result.fds, ARRAY_SIZE(result.fds), &result.n_fds);
	if (r == -EAGAIN)
		return 0;
	if (r < 0) {
		complete_failure(request, r, "the helper that opens files and devices has died");
		return 0;
	}
	assert(size == sizeof(answer) && answer.n_fds == result.n_fds);
	result.error = answer.error;
	result.exit_status = answer.exit_status;
	result.text = answer.text;
	complete(request, &result);
	return 0;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct resources_request *request = userdata;
	char text[VMM_TEXT_SIZE];

	snprintf(text, sizeof(text),
		"a file or device of %s does not open: no answer within %d seconds", request->name,
		RESOURCES_TIMEOUT_SEC);
	pidfd_send_signal(request->pidfd, SIGKILL, NULL, 0);
	complete_failure(request, -ETIMEDOUT, text);
	return 0;
}

static int on_child(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct manager *manager = userdata;

	manager->n_children--;
	/* It was the event loop's own, which ends it where vmmd ends before the child. */
	return sd_event_source_set_floating(source, false);
}

/* Never returns. Descriptors of vmmd are closed first: a child that hangs holds no lock and
 * no connection. */
_Noreturn static void child(
	const struct vm_config *config, const struct resources_order *order, int fd)
{
	struct resources_result result;
	struct answer answer = {};
	sigset_t none;

	sigemptyset(&none);
	signal(SIGTERM, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (fd != 3 && dup3(fd, 3, O_CLOEXEC) < 0)
		_exit(1);
	close_range(4, ~0u, 0);
	resources_take(config, order, &result, answer.text, sizeof(answer.text));
	answer.error = result.error;
	answer.exit_status = result.exit_status;
	answer.n_fds = (uint32_t)result.n_fds;
	vmm_message_send(
		3, MSG_NOSIGNAL, &answer, sizeof(answer), NULL, 0, result.fds, result.n_fds);
	_exit(0);
}

static int watch(struct resources_request *request, pid_t pid)
{
	struct manager *manager = request->manager;
	int r;

	r = sd_event_add_child(manager->event, NULL, pid, WEXITED, on_child, manager);
	if (r < 0)
		return r;
	manager->n_children++;
	r = sd_event_add_io(manager->event, &request->io, request->fd, EPOLLIN, on_answer, request);
	if (r < 0)
		return r;
	return sd_event_add_time_relative(manager->event, &request->timer, CLOCK_MONOTONIC,
		UINT64_C(1000000) * RESOURCES_TIMEOUT_SEC, 10000, on_timeout, request);
}

static int open_order(struct manager *manager, const struct vm_config *config,
	const struct resources_order *order, resources_done_t done, void *userdata,
	struct resources_request **ret)
{
	CLEANUP(close_p) int ours = -EBADF, theirs = -EBADF;
	struct resources_request *request;
	int pair[2], r;
	pid_t pid;

	if (manager->n_children >= RESOURCES_MAX_CHILDREN)
		return -VMMD_E_LIMITS_EXCEEDED;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	request = malloc(sizeof(*request));
	if (!request)
		return -ENOMEM;
	*request = (struct resources_request){
		.manager = manager,
		.done = done,
		.userdata = userdata,
		.fd = TAKE_FD(ours),
		.pidfd = -EBADF,
	};
	snprintf(request->name, sizeof(request->name), "%s", config->name);
	request->next = manager->requests;
	manager->requests = request;
	pid = fork();
	if (pid < 0) {
		r = -errno;
		request_free(request);
		return r;
	}
	if (pid == 0)
		child(config, order, theirs);
	/* It is not reaped before the loop runs: the pid is still its own. */
	request->pidfd = pidfd_open(pid, 0);
	r = request->pidfd < 0 ? -errno : watch(request, pid);
	if (r < 0) {
		kill(pid, SIGKILL);
		request_free(request);
		return r;
	}
	*ret = request;
	return 0;
}

/* The sockets of units are where their units are: beside a systemd. */
static const char *backend_dir(const struct manager *manager, char *path, size_t size)
{
	if (manager->spawner != &spawner_systemd)
		return NULL;
	snprintf(path, size, "%s/backend", manager->run_dir);
	return path;
}

int resources_open_config(struct manager *manager, const struct vm_config *config,
	enum resources_mode mode, resources_done_t done, void *userdata,
	struct resources_request **ret)
{
	char path[PATH_MAX];
	const struct resources_order order = {
		.mode = mode,
		.backend_dir = backend_dir(manager, path, sizeof(path)),
		.lock_patience_msec = RESOURCES_LOCK_PATIENCE_MSEC,
		.run_dir = manager->run_dir,
	};

	return open_order(manager, config, &order, done, userdata, ret);
}

int resources_open(struct machine *machine, enum resources_mode mode, resources_done_t done,
	void *userdata, struct resources_request **ret)
{
	return resources_open_config(machine->manager, machine->config, mode, done, userdata, ret);
}

int resources_open_backend(struct machine *machine, enum vmm_device_kind kind, const char *device,
	resources_done_t done, void *userdata, struct resources_request **ret)
{
	struct manager *manager = machine->manager;
	char path[PATH_MAX];
	const struct resources_order order = {
		.mode = RESOURCES_TAKE_BACKEND,
		.backend_dir = backend_dir(manager, path, sizeof(path)),
		.lock_patience_msec = RESOURCES_LOCK_PATIENCE_MSEC,
		.run_dir = manager->run_dir,
		.kind = kind,
		.device = device,
	};

	/* Guests whose back ends die keep no machine from starting. */
	if (manager->n_children >= RESOURCES_MAX_CHILDREN / 2)
		return -VMMD_E_LIMITS_EXCEEDED;
	return open_order(manager, machine->config, &order, done, userdata, ret);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* harness: see harness.h. */
#include "harness.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/util.h"
#include "worker/message.h"

#define PATIENCE_NSEC UINT64_C(40000000000)
#define BROKER_NUMBER 100

static void await_readable(int fd, uint64_t deadline_nsec, const char *what)
{
	ck_assert_msg(
		vmm_message_wait(fd, POLLIN, deadline_nsec) == 0, "waited in vain for: %s", what);
}

static int listen_control(struct worker *worker)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/control", worker->directory);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	return fd;
}

/* Abstract, so that nothing is left behind; the address is chosen by the kernel. */
static int listen_notify(char *name, size_t size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t length = sizeof(sa_family_t);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
	length = sizeof(address);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	snprintf(name, size, "NOTIFY_SOCKET=@%.*s",
		(int)(length - offsetof(struct sockaddr_un, sun_path) - 1), address.sun_path + 1);
	return fd;
}

uint32_t worker_add_fd(struct worker *worker, int fd)
{
	ck_assert_int_ge(fd, 0);
	worker->fds[worker->spec.n_fds] = fd;
	return worker->spec.n_fds++;
}

void worker_prepare(struct worker *worker, const struct guest *guest)
{
	*worker = (struct worker){ .pid = -1, .directory = "/tmp/vmmd-test-worker.XXXXXX" };
	ck_assert_ptr_nonnull(mkdtemp(worker->directory));
	vmm_spec_init(&worker->spec, "test");
	worker->spec.memory_bytes = 32 << 20;
	worker->spec.n_cpus = 1;
	worker->fds[0] = -EBADF;
	worker->spec.kvm_fd = worker_add_fd(worker, open("/dev/kvm", O_RDWR | O_CLOEXEC));
	worker->spec.kernel_fd = worker_add_fd(worker, guest_open(guest));
	worker->spec.control_fd = worker_add_fd(worker, listen_control(worker));
	worker->broker_fd = worker->notify_fd = worker->output_fd = -EBADF;
}

void worker_take_kernel(struct worker *worker, const char *variable)
{
	const char *path = getenv(variable);

	ck_assert_ptr_nonnull(path);
	vmm_base_close(worker->fds[worker->spec.kernel_fd]);
	worker->fds[worker->spec.kernel_fd] = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(worker->fds[worker->spec.kernel_fd], 0);
}

#define SECCOMP_LOAD(member)                                                                       \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, member))
#define SECCOMP_IF(value, otherwise) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (otherwise))

/* KVM_CHECK_EXTENSION of that capability answers 0, from here on and in what is executed. */
static void hide_capability(int capability)
{
	struct sock_filter filter[] = {
		SECCOMP_LOAD(nr),
		SECCOMP_IF(__NR_ioctl, 5),
		SECCOMP_LOAD(args[1]),
		SECCOMP_IF(KVM_CHECK_EXTENSION, 3),
		SECCOMP_LOAD(args[2]),
		SECCOMP_IF((uint32_t)capability, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(filter), .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(126);
}

static void exec_worker(
	int broker_fd, int output_fd, const char *const *environment, int missing_capability)
{
	char number[32];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(output_fd, STDOUT_FILENO);
	dup2(output_fd, STDERR_FILENO);
	dup2(broker_fd, BROKER_NUMBER);
	for (; *environment; environment++)
		putenv((char *)*environment);
	if (missing_capability)
		hide_capability(missing_capability);
	snprintf(number, sizeof(number), "--broker-fd=%d", BROKER_NUMBER);
	execl(getenv("VMMD_WORKER"), "vmmd-worker", number, "test", NULL);
	_exit(127);
}

void worker_exec(struct worker *worker, const char *const *environment)
{
	const char *variables[16];
	char notify_name[128];
	int broker[2], output[2];
	size_t n = 0;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, broker), 0);
	ck_assert_int_eq(pipe2(output, O_CLOEXEC), 0);
	worker->notify_fd = listen_notify(notify_name, sizeof(notify_name));
	variables[n++] = notify_name;
	while (environment && *environment)
		variables[n++] = *environment++;
	variables[n] = NULL;

	worker->pid = fork();
	ck_assert_int_ge(worker->pid, 0);
	if (worker->pid == 0)
		exec_worker(broker[1], output[1], variables, worker->missing_capability);
	vmm_base_close(broker[1]);
	vmm_base_close(output[1]);
	worker->broker_fd = broker[0];
	worker->output_fd = output[0];
}

void worker_hand_over(struct worker *worker)
{
	struct vmm_broker_hello hello;

	await_readable(worker->broker_fd, vmm_message_deadline(PATIENCE_NSEC), "HELLO");
	ck_assert_int_eq(vmm_broker_receive_hello(worker->broker_fd, &hello), 0);
	ck_assert_str_eq(hello.name, "test");
	ck_assert_int_eq(vmm_broker_send_handover(worker->broker_fd, &worker->spec, worker->fds,
				 worker->spec.n_fds, PATIENCE_NSEC),
		0);
	for (size_t i = 1; i < worker->spec.n_fds; i++)
		worker->fds[i] = vmm_base_close(worker->fds[i]);
}

void worker_start(struct worker *worker, const struct guest *guest)
{
	worker_prepare(worker, guest);
	worker_exec(worker, NULL);
	worker_hand_over(worker);
	worker_await_notify(worker, "READY=1");
}

/* Takes what was notified and written so far, waiting for more until the deadline. */
static bool collect(struct worker *worker, uint64_t deadline_nsec)
{
	struct pollfd fds[2] = {
		{ .fd = worker->notify_fd, .events = POLLIN },
		{ .fd = worker->output_fd, .events = POLLIN },
	};
	uint64_t now_nsec = vmm_base_now_nsec();
	size_t length = strlen(worker->notified);
	ssize_t n;

	if (now_nsec >= deadline_nsec)
		return false;
	poll(fds, 2, (int)((deadline_nsec - now_nsec) / 1000000) + 1);
	/* Whatever is there, lest the end of the output hides it. */
	while ((n = recv(worker->notify_fd, worker->notified + length,
			sizeof(worker->notified) - length - 2, MSG_DONTWAIT)) > 0) {
		strcpy(worker->notified + length + n, "\n");
		length += (size_t)n + 1;
	}
	if (fds[1].revents & (POLLIN | POLLHUP)) {
		n = read(worker->output_fd, worker->output + worker->n_output,
			sizeof(worker->output) - worker->n_output - 1);
		if (n <= 0)
			return false;
		worker->n_output += (size_t)n;
	}
	return true;
}

void worker_await_notify(struct worker *worker, const char *text)
{
	uint64_t deadline_nsec = vmm_message_deadline(PATIENCE_NSEC);

	while (!strstr(worker->notified, text))
		ck_assert_msg(collect(worker, deadline_nsec), "no %s; notified: %s; output: %s",
			text, worker->notified, worker->output);
}

void worker_await_output(struct worker *worker, const char *text)
{
	uint64_t deadline_nsec = vmm_message_deadline(PATIENCE_NSEC);

	while (!strstr(worker->output, text))
		ck_assert_msg(collect(worker, deadline_nsec), "no \"%s\" in the output: %s", text,
			worker->output);
}

int worker_wait(struct worker *worker)
{
	uint64_t deadline_nsec = vmm_message_deadline(PATIENCE_NSEC);
	int status;

	/* Its end closes the pipe. */
	while (collect(worker, deadline_nsec))
		;
	for (int i = 0; i < 200; i++) {
		if (waitpid(worker->pid, &status, WNOHANG) == worker->pid) {
			worker->pid = -1;
			return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
		}
		usleep(20000);
	}
	ck_abort_msg("the worker does not end; output: %s", worker->output);
}

int worker_connect(struct worker *worker)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/control", worker->directory);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

int worker_request(struct worker *worker, int socket_fd, uint32_t type, const void *payload,
	size_t size, int fd, struct vmm_control_message *ret_reply)
{
	uint64_t deadline_nsec = vmm_message_deadline(PATIENCE_NSEC);
	uint64_t id = ++worker->next_id;

	ck_assert_int_eq(
		vmm_control_send_request(socket_fd, type, id, payload, size, &fd, fd >= 0 ? 1 : 0),
		0);
	do {
		await_readable(socket_fd, deadline_nsec, "a reply");
		ck_assert_int_eq(vmm_control_receive_answer(socket_fd, ret_reply), 0);
	} while (ret_reply->header.type == VMM_CONTROL_EVENT);
	ck_assert_uint_eq(ret_reply->header.type, type | VMM_CONTROL_REPLY);
	ck_assert_uint_eq(ret_reply->header.id, id);
	return ret_reply->header.result;
}

int worker_ask(struct worker *worker, int socket_fd, uint32_t type)
{
	struct vmm_control_message reply;

	return worker_request(worker, socket_fd, type, NULL, 0, -EBADF, &reply);
}

void worker_await_event(int socket_fd, uint32_t event, struct vmm_control_message *ret_message)
{
	uint64_t deadline_nsec = vmm_message_deadline(PATIENCE_NSEC);

	do {
		await_readable(socket_fd, deadline_nsec, "an event");
		ck_assert_int_eq(vmm_control_receive_answer(socket_fd, ret_message), 0);
	} while (
		ret_message->header.type != VMM_CONTROL_EVENT || ret_message->event.event != event);
}

void worker_finish(struct worker *worker)
{
	char path[128];

	if (worker->pid > 0) {
		kill(worker->pid, SIGKILL);
		waitpid(worker->pid, NULL, 0);
		while (collect(worker, vmm_message_deadline(PATIENCE_NSEC)))
			;
	}
	/* What a build with sanitizers found, however the worker ended. */
	ck_assert_msg(
		!strstr(worker->output, "Sanitizer") && !strstr(worker->output, "runtime error"),
		"%s", worker->output);
	vmm_base_close(worker->broker_fd);
	vmm_base_close(worker->notify_fd);
	vmm_base_close(worker->output_fd);
	snprintf(path, sizeof(path), "%s/control", worker->directory);
	unlink(path);
	rmdir(worker->directory);
}

void await_text(int fd, char *buffer, size_t size, const char *text)
{
	uint64_t deadline_nsec = vmm_message_deadline(PATIENCE_NSEC);
	size_t length = 0;
	ssize_t n;

	buffer[0] = '\0';
	while (!strstr(buffer, text)) {
		ck_assert_msg(vmm_message_wait(fd, POLLIN, deadline_nsec) == 0, "no \"%s\" in: %s",
			text, buffer);
		n = read(fd, buffer + length, size - length - 1);
		ck_assert_msg(n > 0, "the end before \"%s\" in: %s", text, buffer);
		length += (size_t)n;
		buffer[length] = '\0';
	}
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* broker: the hand-over between vmmd and a worker, both sides; see protocol.h. */
#include "worker/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/util.h"
#include "worker/message.h"

#define SPEC_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static_assert(sizeof(struct vmm_broker_hello) == 48, "wire layout");
static_assert(sizeof(struct vmm_broker_answer) == 544, "wire layout");

static int decode_prefix(const uint32_t prefix[4], size_t size)
{
	if (prefix[0] != VMM_PROTOCOL_MAGIC)
		return -EBADMSG;
	if (prefix[1] != VMM_PROTOCOL_VERSION)
		return -EPROTONOSUPPORT;
	return prefix[3] == size ? 0 : -EBADMSG;
}

/* A message of that size; what stands in it is not looked at. */
static int decode_message(const void *data, size_t size, void *ret_message, size_t message_size)
{
	uint32_t prefix[4];
	int r;

	if (size < sizeof(prefix))
		return -EBADMSG;
	memcpy(prefix, data, sizeof(prefix));
	r = decode_prefix(prefix, size);
	if (r < 0)
		return r;
	if (size != message_size)
		return -EBADMSG;
	memcpy(ret_message, data, message_size);
	return 0;
}

int vmm_broker_decode_hello(const void *data, size_t size, struct vmm_broker_hello *ret_hello)
{
	struct vmm_broker_hello hello;
	int r = decode_message(data, size, &hello, sizeof(hello));

	if (r < 0)
		return r;
	if (hello.type != VMM_BROKER_HELLO || hello.reserved != 0)
		return -EBADMSG;
	if (!vmm_message_string_ends(hello.name, sizeof(hello.name)) ||
		!vmm_name_is_valid(hello.name))
		return -EBADMSG;
	*ret_hello = hello;
	return 0;
}

static int check_answer(const struct vmm_broker_answer *answer)
{
	if (answer->reserved != 0)
		return -EBADMSG;
	if (!vmm_message_string_ends(answer->text, sizeof(answer->text)))
		return -EBADMSG;
	switch (answer->type) {
	case VMM_BROKER_HANDOVER:
		if (answer->n_fds < 1 || answer->n_fds > VMM_HANDOVER_MAX_FDS)
			return -EBADMSG;
		if (answer->first_fd != 0 || answer->exit_status != 0 || answer->text[0])
			return -EBADMSG;
		return 0;
	case VMM_BROKER_MORE_FDS:
		if (answer->n_fds < 1 || answer->n_fds > VMM_MESSAGE_MAX_FDS)
			return -EBADMSG;
		if (answer->first_fd < 1 || answer->first_fd >= VMM_HANDOVER_MAX_FDS)
			return -EBADMSG;
		return answer->exit_status != 0 || answer->text[0] ? -EBADMSG : 0;
	case VMM_BROKER_REFUSED:
		if (answer->n_fds != 0 || answer->first_fd != 0)
			return -EBADMSG;
		if (answer->exit_status < 1 || answer->exit_status > 255)
			return -EBADMSG;
		for (const char *c = answer->text; *c; c++)
			if ((unsigned char)*c < 0x20 || *c == 0x7f)
				return -EBADMSG;
		return answer->text[0] ? 0 : -EBADMSG;
	default:
		return -EBADMSG;
	}
}

int vmm_broker_decode_answer(const void *data, size_t size, struct vmm_broker_answer *ret_answer)
{
	struct vmm_broker_answer answer;
	int r = decode_message(data, size, &answer, sizeof(answer));

	if (r < 0)
		return r;
	r = check_answer(&answer);
	if (r < 0)
		return r;
	*ret_answer = answer;
	return 0;
}

int vmm_broker_receive_hello(int socket_fd, struct vmm_broker_hello *ret_hello)
{
	struct vmm_broker_hello data;
	size_t size, n_fds = 0;
	int r;

	r = vmm_message_receive(
		socket_fd, MSG_DONTWAIT, &data, sizeof(data), &size, NULL, 0, &n_fds);
	if (r < 0)
		return r;
	return vmm_broker_decode_hello(&data, size, ret_hello);
}

int vmm_broker_send_hello(int socket_fd, const char *name)
{
	struct vmm_broker_hello hello = {
		.magic = VMM_PROTOCOL_MAGIC,
		.version = VMM_PROTOCOL_VERSION,
		.type = VMM_BROKER_HELLO,
		.size = sizeof(hello),
	};

	if (!vmm_name_is_valid(name))
		return -EINVAL;
	memcpy(hello.name, name, strlen(name));
	return vmm_message_send(socket_fd, 0, &hello, sizeof(hello), NULL, 0, NULL, 0);
}

static int new_spec_memfd(const struct vmm_spec *spec)
{
	CLEANUP(close_p) int fd = -EBADF;
	int r;

	fd = memfd_create("vmm-spec", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	r = vmm_base_write_full(fd, spec, sizeof(*spec));
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, SPEC_SEALS) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static struct vmm_broker_answer new_answer(uint32_t type)
{
	return (struct vmm_broker_answer){
		.magic = VMM_PROTOCOL_MAGIC,
		.version = VMM_PROTOCOL_VERSION,
		.type = type,
		.size = sizeof(struct vmm_broker_answer),
	};
}

/* Sends all of one answer, waiting for room until the deadline. */
static int send_answer(int socket_fd, const struct vmm_broker_answer *answer, const int *fds,
	size_t n_fds, uint64_t deadline_nsec)
{
	int r;

	for (;;) {
		r = vmm_message_send(
			socket_fd, MSG_DONTWAIT, answer, sizeof(*answer), NULL, 0, fds, n_fds);
		if (r != -EAGAIN)
			return r;
		r = vmm_message_wait(socket_fd, POLLOUT, deadline_nsec);
		if (r < 0)
			return r;
	}
}

int vmm_broker_send_handover(int socket_fd, const struct vmm_spec *spec, const int *fds,
	size_t n_fds, uint64_t timeout_nsec)
{
	CLEANUP(close_p) int spec_fd = -EBADF;
	uint64_t deadline_nsec = vmm_message_deadline(timeout_nsec);
	struct vmm_broker_answer answer;
	size_t n, done;
	int all[VMM_HANDOVER_MAX_FDS];
	int r;

	if (n_fds < 1 || n_fds > VMM_HANDOVER_MAX_FDS || spec->n_fds != n_fds)
		return -EINVAL;
	spec_fd = new_spec_memfd(spec);
	if (spec_fd < 0)
		return spec_fd;
	memcpy(all, fds, n_fds * sizeof(*fds));
	all[0] = spec_fd;

	for (done = 0; done < n_fds; done += n) {
		n = MIN(n_fds - done, (size_t)VMM_MESSAGE_MAX_FDS);
		answer = new_answer(done == 0 ? VMM_BROKER_HANDOVER : VMM_BROKER_MORE_FDS);
		answer.n_fds = done == 0 ? n_fds : n;
		answer.first_fd = done;
		r = send_answer(socket_fd, &answer, all + done, n, deadline_nsec);
		if (r < 0)
			return r;
	}
	return 0;
}

int vmm_broker_send_refused(int socket_fd, int exit_status, const char *text)
{
	struct vmm_broker_answer answer = new_answer(VMM_BROKER_REFUSED);

	if (exit_status < 1 || exit_status > 255)
		return -EINVAL;
	answer.exit_status = exit_status;
	snprintf(answer.text, sizeof(answer.text), "%s", *text ? text : "refused without a reason");
	for (char *c = answer.text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return vmm_message_send(socket_fd, MSG_DONTWAIT, &answer, sizeof(answer), NULL, 0, NULL, 0);
}

void vmm_handover_finish(struct vmm_handover *handover)
{
	for (size_t i = 0; i < handover->n_fds; i++)
		handover->fds[i] = vmm_base_close(handover->fds[i]);
	handover->n_fds = 0;
	free(handover->spec);
	handover->spec = NULL;
}

static void drop_fds(struct vmm_handover *handover)
{
	for (size_t i = 0; i < handover->n_fds; i++)
		handover->fds[i] = vmm_base_close(handover->fds[i]);
	handover->n_fds = 0;
}

static int fail(struct vmm_handover *handover, int result, const char *text)
{
	snprintf(handover->text, sizeof(handover->text), "%s", text);
	return result;
}

/* One message. Its descriptors are appended, and what was there before stays there. */
static int receive_answer(int socket_fd, uint64_t deadline_nsec, struct vmm_handover *handover,
	struct vmm_broker_answer *ret_answer, size_t *ret_n_fds)
{
	struct vmm_broker_answer data;
	size_t size, n_fds = 0;
	size_t room = MIN(ARRAY_SIZE(handover->fds) - handover->n_fds, (size_t)VMM_MESSAGE_MAX_FDS);
	int r;

	do {
		r = vmm_message_wait(socket_fd, POLLIN, deadline_nsec);
		if (r < 0)
			return r;
		r = vmm_message_receive(socket_fd, MSG_DONTWAIT, &data, sizeof(data), &size,
			handover->fds + handover->n_fds, room, &n_fds);
	} while (r == -EAGAIN);
	if (r < 0)
		return r;
	handover->n_fds += n_fds;
	*ret_n_fds = n_fds;
	return vmm_broker_decode_answer(&data, size, ret_answer);
}

static int receive_all(int socket_fd, uint64_t deadline_nsec, struct vmm_handover *handover)
{
	struct vmm_broker_answer answer;
	size_t n_wanted, n_fds, n_before;
	int r;

	r = receive_answer(socket_fd, deadline_nsec, handover, &answer, &n_fds);
	if (r < 0)
		return r;
	if (answer.type == VMM_BROKER_REFUSED) {
		if (n_fds > 0)
			return fail(handover, -EBADMSG, "a refusal with descriptors");
		handover->refused = true;
		handover->exit_status = answer.exit_status;
		snprintf(handover->text, sizeof(handover->text), "%s", answer.text);
		return 0;
	}
	if (answer.type != VMM_BROKER_HANDOVER)
		return fail(handover, -EBADMSG, "the first message is no hand-over");
	n_wanted = answer.n_fds;
	if (n_fds < 1 || n_fds > n_wanted)
		return fail(handover, -EBADMSG, "wrong number of descriptors");

	while (handover->n_fds < n_wanted) {
		n_before = handover->n_fds;
		r = receive_answer(socket_fd, deadline_nsec, handover, &answer, &n_fds);
		if (r < 0)
			return r;
		if (answer.type != VMM_BROKER_MORE_FDS || answer.first_fd != n_before ||
			answer.n_fds != n_fds || n_fds < 1 || handover->n_fds > n_wanted)
			return fail(handover, -EBADMSG, "wrong number of descriptors");
	}
	return 0;
}

static int read_spec(struct vmm_handover *handover, const char *name)
{
	CLEANUP(free_p) struct vmm_spec *spec = NULL;
	struct stat status;
	int seals, r;

	seals = fcntl(handover->fds[0], F_GET_SEALS);
	if (seals < 0 || (seals & SPEC_SEALS) != SPEC_SEALS)
		return fail(handover, -EBADMSG, "the specification is not sealed");
	if (fstat(handover->fds[0], &status) < 0)
		return -errno;
	if (status.st_size != sizeof(*spec))
		return fail(handover, -EBADMSG, "the specification has the wrong size");
	spec = malloc(sizeof(*spec));
	if (!spec)
		return -ENOMEM;
	r = vmm_base_pread_full(handover->fds[0], spec, sizeof(*spec), 0);
	if (r < 0)
		return r;
	r = vmm_spec_check(
		spec, sizeof(*spec), handover->n_fds, handover->text, sizeof(handover->text));
	if (r < 0)
		return r;
	if (strcmp(spec->name, name) != 0)
		return fail(handover, -EBADMSG, "the specification is for another machine");
	handover->spec = TAKE_PTR(spec);
	handover->fds[0] = vmm_base_close(handover->fds[0]);
	return 0;
}

int vmm_broker_receive_handover(
	int socket_fd, const char *name, uint64_t timeout_nsec, struct vmm_handover *ret_handover)
{
	uint64_t deadline_nsec = vmm_message_deadline(timeout_nsec);
	int r;

	*ret_handover = (struct vmm_handover){ .n_fds = 0 };
	for (size_t i = 0; i < ARRAY_SIZE(ret_handover->fds); i++)
		ret_handover->fds[i] = -EBADF;

	r = receive_all(socket_fd, deadline_nsec, ret_handover);
	if (r == 0 && !ret_handover->refused)
		r = read_spec(ret_handover, name);
	if (r < 0)
		drop_fds(ret_handover);
	return r;
}

enum vmm_worker_exit vmm_worker_exit_status(uint32_t end)
{
	switch (end) {
	case VMM_END_POWEROFF:
	case VMM_END_STOPPED:
		return VMM_WORKER_EXIT_POWEROFF;
	case VMM_END_REBOOT:
		return VMM_WORKER_EXIT_REBOOT;
	case VMM_END_PANIC:
	case VMM_END_TRIPLE_FAULT:
	case VMM_END_WATCHDOG:
		return VMM_WORKER_EXIT_CRASH;
	default:
		return VMM_WORKER_EXIT_FAILURE;
	}
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* notify-socket: what workers of direct spawn say by sd_notify(3); see notify-socket.h. */
#include "notify-socket.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/util.h"

enum {
	MAX_BYTES = 4096,
	MESSAGES_A_TURN = 64,
};

struct notify_socket {
	int fd;              /* owned */
	sd_event_source *io; /* owned */
	notify_line_t line;
	void *userdata;
};

/* Descriptors that come along are closed; a message that is cut is dropped. */
static ssize_t receive(int fd, char *text, size_t size, pid_t *ret_pid)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(16 * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = text, .iov_len = size - 1 };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*ret_pid = 0;
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS) {
			struct ucred cred;

			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
			*ret_pid = cred.pid;
		} else if (c->cmsg_type == SCM_RIGHTS) {
			size_t n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

			for (size_t i = 0; i < n_fds; i++) {
				int passed;

				memcpy(&passed, CMSG_DATA(c) + i * sizeof(int), sizeof(passed));
				vmm_base_close(passed);
			}
		}
	}
	text[n] = 0;
	if (message.msg_flags & MSG_TRUNC)
		*ret_pid = 0;
	return n;
}

void notify_socket_drain(struct notify_socket *socket)
{
	char text[MAX_BYTES];
	pid_t pid;

	for (int i = 0; i < MESSAGES_A_TURN && receive(socket->fd, text, sizeof(text), &pid) >= 0;
		i++) {
		char *rest = text, *line;

		while (pid > 0 && (line = strsep(&rest, "\n")))
			if (*line)
				socket->line(socket->userdata, pid, line);
	}
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	notify_socket_drain(userdata);
	return 0;
}

int notify_socket_new(sd_event *event, const char *path, notify_line_t line, void *userdata,
	struct notify_socket **ret)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct notify_socket *s;
	int yes = 1, r = 0;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	s = malloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct notify_socket){ .line = line, .userdata = userdata };
	s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(path);
	/* Workers connect before they become other users. */
	if (s->fd < 0 || setsockopt(s->fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) < 0 ||
		bind(s->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		chmod(path, 0600) < 0)
		r = -errno;
	if (r >= 0)
		r = sd_event_add_io(event, &s->io, s->fd, EPOLLIN, on_io, s);
	if (r < 0) {
		notify_socket_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct notify_socket *notify_socket_free(struct notify_socket *socket)
{
	if (!socket)
		return NULL;
	sd_event_source_disable_unref(socket->io);
	vmm_base_close(socket->fd);
	free(socket);
	return NULL;
}

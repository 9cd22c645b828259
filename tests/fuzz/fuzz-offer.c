/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: what vmmd-serve, or who took its place, offers to vmmd. The input is messages, each of
 *   a byte: the number of descriptors (0 to 7)
 *   a byte for each: 0 the file that vmmd has looked at, 1 another, 2 a directory, 3 a socket
 *   a byte: the number of bytes of data (0 to 63)
 *   those, xor an offer that is right
 * A connection comes only of an offer of its own form that shows the very file; and whatever came,
 * no descriptor of it is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuzz.h"
#include "serve.h"

enum { MAX_FDS = 7, MAX_BYTES = 63, MAX_MESSAGES = 4, PATIENCE_MSEC = 20 };

struct message {
	uint8_t kinds[MAX_FDS];
	size_t n_fds;
	uint8_t data[MAX_BYTES];
	size_t size;
};

static struct {
	int listen_fd;
	int file_fds[4]; /* by kind */
	char path[108];
	struct message messages[MAX_MESSAGES];
	size_t n_messages;
	bool was_told; /* to go on */
} peer = { .listen_fd = -EBADF };

static void parse(const uint8_t *data, size_t size)
{
	static const struct serve_offer offer = { SERVE_MAGIC, SERVE_VERSION };

	for (peer.n_messages = 0; peer.n_messages < MAX_MESSAGES && size > 0; peer.n_messages++) {
		struct message *message = &peer.messages[peer.n_messages];

		*message = (struct message){ .n_fds = *data++ % (MAX_FDS + 1) };
		size--;
		for (size_t i = 0; i < message->n_fds && size > 0; i++, size--)
			message->kinds[i] = *data++ % 4;
		memcpy(message->data, &offer, sizeof(offer));
		message->size = size > 0 ? *data % (MAX_BYTES + 1) : 0;
		if (size > 0)
			data++, size--;
		for (size_t i = 0; i < message->size && size > 0; i++, size--)
			message->data[i] ^= *data++;
	}
}

static void send_one(int fd, struct message *message)
{
	union {
		struct cmsghdr header; /* aligns */
		char space[CMSG_SPACE(MAX_FDS * sizeof(int))];
	} control = {};
	struct iovec iov = { message->data, message->size };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	if (message->n_fds > 0) {
		header.msg_control = control.space;
		header.msg_controllen = CMSG_SPACE(message->n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&header);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(message->n_fds * sizeof(int));
		for (size_t i = 0; i < message->n_fds; i++)
			memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &peer.file_fds[message->kinds[i]],
				sizeof(int));
	}
	sendmsg(fd, &header, MSG_NOSIGNAL);
}

static void *play(void *unused)
{
	int fd = accept4(peer.listen_fd, NULL, NULL, SOCK_CLOEXEC);
	char answer;

	FUZZ_CHECK(fd >= 0);
	for (size_t i = 0; i < peer.n_messages; i++)
		send_one(fd, &peer.messages[i]);
	shutdown(fd, SHUT_WR);
	peer.was_told = recv(fd, &answer, 1, 0) == 1 && answer == SERVE_GO;
	close(fd);
	return NULL;
}

static void listen_somewhere(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), P_tmpdir "/fuzz-offer-%d",
		(int)getpid());
	strcpy(peer.path, address.sun_path);
	unlink(peer.path);
	peer.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FUZZ_CHECK(peer.listen_fd >= 0);
	FUZZ_CHECK(bind(peer.listen_fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	FUZZ_CHECK(listen(peer.listen_fd, 4) == 0);
}

static void remove_socket(void)
{
	unlink(peer.path);
}

static void set_up(void)
{
	listen_somewhere();
	atexit(remove_socket);
	peer.file_fds[0] = memfd_create("judged", MFD_CLOEXEC);
	peer.file_fds[1] = memfd_create("other", MFD_CLOEXEC);
	peer.file_fds[2] = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	peer.file_fds[3] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	for (size_t i = 0; i < 4; i++)
		FUZZ_CHECK(peer.file_fds[i] >= 0);
}

/* The stream begins with an offer, with whose bytes, or the last of them, the two descriptors come.
 */
static void check_offer(void)
{
	const struct serve_offer offer = { SERVE_MAGIC, SERVE_VERSION };
	const struct message *shows = NULL;
	uint8_t stream[sizeof(offer)];
	size_t size = 0;

	for (size_t i = 0; i < peer.n_messages && size < sizeof(stream) && !shows; i++) {
		const struct message *message = &peer.messages[i];

		for (size_t k = 0; k < message->size && size < sizeof(stream); k++)
			stream[size++] = message->data[k];
		if (message->size > 0 && message->n_fds > 0)
			shows = message;
	}
	FUZZ_CHECK(size == sizeof(offer) && memcmp(stream, &offer, sizeof(offer)) == 0);
	FUZZ_CHECK(shows && shows->n_fds == SERVE_N_FDS && shows->kinds[SERVE_FD_MOUNTED] == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = -EBADF, next, r;
	pthread_t thread;

	if (peer.listen_fd < 0)
		set_up();
	parse(data, size);
	next = dup(0);
	FUZZ_CHECK(next >= 0);
	close(next);
	FUZZ_CHECK(pthread_create(&thread, NULL, play, NULL) == 0);
	r = served_connect(peer.path, peer.file_fds[0], PATIENCE_MSEC, PATIENCE_MSEC, &fd);
	FUZZ_CHECK(r <= 0);
	FUZZ_CHECK((r == 0) == (fd >= 0));
	if (fd >= 0)
		close(fd);
	pthread_join(thread, NULL);
	if (r == 0) {
		FUZZ_CHECK(peer.was_told);
		check_offer();
	}
	FUZZ_CHECK(dup(0) == next && close(next) == 0);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* serve: vmmd's side, in the child that opens; see serve.h. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/util.h"
#include "links.h"
#include "resources.h"
#include "serve.h"
#include "worker/message.h"

static int receive_offer(int conversation_fd, uint64_t deadline_nsec, int fds[SERVE_N_FDS])
{
	struct serve_offer offer;
	size_t size, n_fds;
	int r;

	r = vmm_message_wait(conversation_fd, POLLIN, deadline_nsec);
	if (r >= 0)
		r = vmm_message_receive(conversation_fd, MSG_DONTWAIT, &offer, sizeof(offer), &size,
			fds, SERVE_N_FDS, &n_fds);
	if (r < 0)
		return r;
	if (size == sizeof(offer) && offer.magic == SERVE_MAGIC && offer.version == SERVE_VERSION &&
		n_fds == SERVE_N_FDS)
		return 0;
	for (size_t i = 0; i < n_fds; i++)
		fds[i] = vmm_base_close(fds[i]);
	return -EPROTO;
}

int served_connect(const char *socket, int judged_fd, unsigned int socket_patience_msec,
	unsigned int patience_msec, int *ret_fd)
{
	CLEANUP(close_p) int conversation_fd = -EBADF, mounted_fd = -EBADF, connection_fd = -EBADF;
	static const char go = SERVE_GO;
	int fds[SERVE_N_FDS], r;

	r = backend_connect(socket, socket_patience_msec, &conversation_fd);
	if (r < 0)
		return r;
	r = receive_offer(
		conversation_fd, vmm_message_deadline(patience_msec * UINT64_C(1000000)), fds);
	if (r < 0)
		return r;
	mounted_fd = fds[SERVE_FD_MOUNTED];
	connection_fd = fds[SERVE_FD_CONNECTION];
	r = links_same(judged_fd, mounted_fd);
	if (r < 0)
		return r;
	r = vmm_message_send(conversation_fd, MSG_DONTWAIT, &go, sizeof(go), NULL, 0, NULL, 0);
	if (r < 0)
		return r == -EPIPE ? -ECONNRESET : r;
	*ret_fd = TAKE_FD(connection_fd);
	return 0;
}

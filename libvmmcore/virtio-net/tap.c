/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-net: taps (Linux' Documentation/networking/tuntap.rst), one descriptor a pair. */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "base/util.h"
#include "virtio-net/net-internal.h"

struct vmm_net_tap {
	unsigned int n_fds;
	unsigned int n_attached;
	int fds[VMM_NET_MAX_PAIRS];                 /* owned */
	struct net_uring *rings[VMM_NET_MAX_PAIRS]; /* owned; NULL: a call a frame */
};

static int check_tap(int fd, bool several)
{
	struct ifreq request = { 0 };
	short need = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;

	if (several)
		need |= IFF_MULTI_QUEUE;
	if (ioctl(fd, TUNGETIFF, &request) < 0)
		return errno == ENOTTY || errno == EBADFD || errno == EINVAL ? -EBADFD : -errno;
	return (request.ifr_flags & need) == need ? 0 : -EBADFD;
}

static int tap_prepare(int fd)
{
	int header_bytes = VMM_NET_HEADER_BYTES;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	if (ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) < 0)
		return -errno;
	if (ioctl(fd, TUNSETOFFLOAD, 0) < 0)
		return -errno;
	return 0;
}

DEFINE_POINTER_CLEANUP(struct vmm_net_tap, vmm_net_tap_free);

int vmm_net_tap_new(const int *fds, unsigned int n_fds, struct vmm_net_tap **ret_tap)
{
	CLEANUP(vmm_net_tap_free_p) struct vmm_net_tap *tap = NULL;

	if (n_fds == 0 || n_fds > VMM_NET_MAX_PAIRS)
		return -EINVAL;
	tap = malloc(sizeof(*tap));
	if (!tap)
		return -ENOMEM;
	*tap = (struct vmm_net_tap){ .n_attached = n_fds };
	for (unsigned int i = 0; i < n_fds; i++) {
		int r = check_tap(fds[i], n_fds > 1);

		if (r < 0)
			return r;
		r = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (r < 0)
			return -errno;
		tap->fds[tap->n_fds++] = r;
		r = tap_prepare(tap->fds[i]);
		if (r < 0)
			return r;
	}
	*ret_tap = TAKE_PTR(tap);
	return 0;
}

struct vmm_net_tap *vmm_net_tap_free(struct vmm_net_tap *tap)
{
	if (!tap)
		return NULL;
	for (unsigned int i = 0; i < tap->n_fds; i++) {
		vmm_net_uring_free(tap->rings[i]);
		vmm_base_close(tap->fds[i]);
	}
	free(tap);
	return NULL;
}

int vmm_net_tap_use_rings(struct vmm_net_tap *tap)
{
	int r = 0;

	for (unsigned int i = 0; i < tap->n_fds && r >= 0; i++)
		if (!tap->rings[i])
			r = vmm_net_uring_new(tap->fds[i], &tap->rings[i]);
	return r;
}

static ssize_t tap_receive(void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov)
{
	struct vmm_net_tap *tap = userdata;
	ssize_t n;

	do
		n = readv(tap->fds[pair], iov, (int)n_iov);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int tap_send(void *userdata, unsigned int pair, const struct iovec *iov, size_t n_iov)
{
	struct vmm_net_tap *tap = userdata;
	ssize_t n;

	do
		n = writev(tap->fds[pair], iov, (int)n_iov);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* What does not go through the ring goes a call a frame, and waits where it has to. */
static size_t tap_send_many(
	void *userdata, unsigned int pair, struct vmm_net_frame *frames, size_t n_frames)
{
	struct vmm_net_tap *tap = userdata;
	size_t n = 0;

	if (tap->rings[pair])
		n = vmm_net_uring_send(tap->rings[pair], frames, n_frames);
	for (; n < n_frames; n++) {
		frames[n].result = tap_send(userdata, pair, frames[n].iov, frames[n].n_iov);
		if (frames[n].result == -EAGAIN)
			break;
	}
	return n;
}

static int tap_fd(void *userdata, unsigned int pair)
{
	struct vmm_net_tap *tap = userdata;

	return pair < tap->n_fds ? tap->fds[pair] : -EBADF;
}

static unsigned int tap_offloads(void *userdata)
{
	return VMM_NET_ALL_OFFLOADS;
}

static int tap_set_offloads(void *userdata, unsigned int offloads)
{
	struct vmm_net_tap *tap = userdata;
	unsigned int flags = 0;

	if (offloads & VMM_NET_CSUM) {
		flags |= TUN_F_CSUM;
		if (offloads & VMM_NET_TSO4)
			flags |= TUN_F_TSO4;
		if (offloads & VMM_NET_TSO6)
			flags |= TUN_F_TSO6;
		if (offloads & VMM_NET_ECN && flags & (TUN_F_TSO4 | TUN_F_TSO6))
			flags |= TUN_F_TSO_ECN;
	}
	/* It is the interface's setting; each attached descriptor reaches it. */
	return ioctl(tap->fds[0], TUNSETOFFLOAD, (unsigned long)flags) < 0 ? -errno : 0;
}

static int tap_set_pairs(void *userdata, unsigned int n_pairs)
{
	struct vmm_net_tap *tap = userdata;

	while (tap->n_attached < n_pairs) {
		struct ifreq request = { .ifr_flags = IFF_ATTACH_QUEUE };

		if (ioctl(tap->fds[tap->n_attached], TUNSETQUEUE, &request) < 0)
			return -errno;
		tap->n_attached++;
	}
	while (tap->n_attached > n_pairs) {
		struct ifreq request = { .ifr_flags = IFF_DETACH_QUEUE };

		if (ioctl(tap->fds[tap->n_attached - 1], TUNSETQUEUE, &request) < 0)
			return -errno;
		tap->n_attached--;
	}
	return 0;
}

static const struct vmm_net_ops tap_ops = {
	.receive = tap_receive,
	.send = tap_send,
	.fd = tap_fd,
	.offloads = tap_offloads,
	.set_offloads = tap_set_offloads,
	.set_pairs = tap_set_pairs,
	.send_many = tap_send_many,
};

struct vmm_net_backend vmm_net_tap_backend(struct vmm_net_tap *tap)
{
	return (struct vmm_net_backend){ .ops = &tap_ops, .userdata = tap };
}

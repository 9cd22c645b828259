/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* fake-kernel: see fake-kernel.h. */
#include "fake-kernel.h"

#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/util.h"

/* A queue is detached without failure. */
#define ATTACH "IFF_ATTACH_QUEUE"

/* Of virtio: indirect descriptors, event indices, version 1. */
#define VHOST_FEATURES (UINT64_C(1) << 28 | UINT64_C(1) << 29 | UINT64_C(1) << 32)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long failing; /* of the pair below */
static unsigned int failing_pair;
static bool failing_attach_only;

struct fake_vhost fake_vhosts[FAKE_PAIRS];
struct fake_tap fake_taps[FAKE_PAIRS];

static const struct {
	const char *name;
	unsigned long request;
} requests[] = {
#define REQUEST(name)                                                                              \
	{                                                                                          \
#name, name                                                                        \
	}
	REQUEST(VHOST_SET_OWNER),
	REQUEST(VHOST_GET_FEATURES),
	REQUEST(VHOST_SET_FEATURES),
	REQUEST(VHOST_SET_MEM_TABLE),
	REQUEST(VHOST_SET_VRING_ADDR),
	REQUEST(VHOST_SET_VRING_KICK),
	REQUEST(VHOST_NET_SET_BACKEND),
	REQUEST(TUNSETVNETHDRSZ),
	REQUEST(TUNSETQUEUE),
#undef REQUEST
	{ ATTACH, TUNSETQUEUE },
};

void fake_kernel_lock(void)
{
	pthread_mutex_lock(&lock);
}

void fake_kernel_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

static ino_t inode_of(int fd)
{
	struct stat status;

	return fd >= 0 && fstat(fd, &status) == 0 ? status.st_ino : 0;
}

void fake_kernel_add(unsigned int pair, int vhost_fd, int tap_fd)
{
	fake_vhosts[pair] = (struct fake_vhost){ .inode = inode_of(vhost_fd) };
	fake_taps[pair] = (struct fake_tap){ .inode = inode_of(tap_fd), .is_attached = true };
}

void fake_kernel_fail(const char *request, unsigned int pair)
{
	fake_kernel_lock();
	failing = 0;
	failing_pair = pair;
	failing_attach_only = request && strcmp(request, ATTACH) == 0;
	for (size_t i = 0; request && i < ARRAY_SIZE(requests); i++)
		if (strcmp(requests[i].name, request) == 0)
			failing = requests[i].request;
	fake_kernel_unlock();
	if (request && !failing)
		abort();
}

static int vhost_ioctl(struct fake_vhost *vhost, unsigned long request, void *data)
{
	const struct vhost_vring_file *file = data;
	const struct vhost_vring_state *state = data;
	const struct vhost_vring_addr *addr = data;
	const uint64_t features = VHOST_FEATURES;

	switch (request) {
	case VHOST_SET_OWNER:
		vhost->is_owned = true;
		break;
	case VHOST_RESET_OWNER:
		vhost->is_owned = false;
		break;
	case VHOST_GET_FEATURES:
		memcpy(data, &features, sizeof(features));
		break;
	case VHOST_SET_FEATURES:
		memcpy(&vhost->features, data, sizeof(vhost->features));
		break;
	case VHOST_SET_MEM_TABLE:
		vhost->n_regions = ((const struct vhost_memory *)data)->nregions;
		break;
	case VHOST_SET_VRING_BASE:
		vhost->bases[state->index % 2] = state->num;
		break;
	case VHOST_GET_VRING_BASE:
		((struct vhost_vring_state *)data)->num = 5;
		break;
	case VHOST_SET_VRING_ADDR:
		vhost->desc[addr->index % 2] = addr->desc_user_addr;
		break;
	case VHOST_SET_VRING_KICK:
		vhost->has_kick[file->index % 2] = file->fd >= 0;
		break;
	case VHOST_NET_SET_BACKEND:
		vhost->backends[file->index % 2] = inode_of(file->fd);
		break;
	case VHOST_SET_VRING_NUM:
	case VHOST_SET_VRING_CALL:
	case VHOST_SET_VRING_ERR:
		break;
	default:
		errno = ENOTTY;
		return -1;
	}
	return 0;
}

static int tap_ioctl(struct fake_tap *tap, unsigned long request, void *data)
{
	switch (request) {
	case TUNSETVNETHDRSZ:
	case TUNSETOFFLOAD:
		return 0;
	case TUNSETQUEUE:
		tap->is_attached = ((struct ifreq *)data)->ifr_flags & IFF_ATTACH_QUEUE;
		return 0;
	default:
		errno = ENOTTY;
		return -1;
	}
}

static bool is_failing(unsigned int pair, unsigned long request, const void *data)
{
	return request == failing && pair == failing_pair &&
	       (!failing_attach_only || ((const struct ifreq *)data)->ifr_flags & IFF_ATTACH_QUEUE);
}

int ioctl(int fd, unsigned long request, ...)
{
	ino_t inode = inode_of(fd);
	va_list arguments;
	void *data;
	int r = -1;

	va_start(arguments, request);
	data = va_arg(arguments, void *);
	va_end(arguments);
	errno = ENOTTY;
	fake_kernel_lock();
	for (unsigned int i = 0; inode && i < FAKE_PAIRS; i++) {
		bool is_vhost = fake_vhosts[i].inode == inode;

		if (!is_vhost && fake_taps[i].inode != inode)
			continue;
		if (is_failing(i, request, data))
			errno = EIO;
		else
			r = is_vhost ? vhost_ioctl(&fake_vhosts[i], request, data)
				     : tap_ioctl(&fake_taps[i], request, data);
	}
	fake_kernel_unlock();
	return r;
}

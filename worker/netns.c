/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* netns: see netns.h. */
#include "worker/netns.h"

#include <fcntl.h>
#include <sched.h>

#include "base/util.h"

struct making {
	int fd;
	int result;
};

/* In a thread that ends then: whatever happens, the caller stays where it is. */
static void *make(void *userdata)
{
	struct making *making = userdata;

	if (unshare(CLONE_NEWNET) == 0)
		making->fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (making->fd < 0)
		making->result = -errno;
	return NULL;
}

int vmm_netns_new(int *ret_fd)
{
	struct making making = { .fd = -EBADF };
	pthread_t thread;
	int r;

	r = vmm_base_thread_start(&thread, make, &making);
	if (r < 0)
		return r;
	pthread_join(thread, NULL);
	if (making.fd < 0)
		return making.result;
	*ret_fd = making.fd;
	return 0;
}

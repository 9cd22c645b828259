/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* unsafe: see unsafe.h. */
#include "worker/unsafe.h"

#include <stddef.h>

static int geometry(void *userdata, struct vmm_blk_geometry *ret_geometry)
{
	struct unsafe_backend *unsafe = userdata;

	return unsafe->inner.ops->geometry(unsafe->inner.userdata, ret_geometry);
}

static int submit(void *userdata, struct vmm_blk_io *io)
{
	struct unsafe_backend *unsafe = userdata;

	if (io->op == VMM_BLK_FLUSH)
		return 0;
	io->flags &= ~VMM_BLK_DURABLE;
	return unsafe->inner.ops->submit(unsafe->inner.userdata, io);
}

static void commit(void *userdata, unsigned int thread)
{
	struct unsafe_backend *unsafe = userdata;

	unsafe->inner.ops->commit(unsafe->inner.userdata, thread);
}

static int thread_start(void *userdata, unsigned int thread, int *ret_fd)
{
	struct unsafe_backend *unsafe = userdata;

	return unsafe->inner.ops->thread_start(unsafe->inner.userdata, thread, ret_fd);
}

static void thread_stop(void *userdata, unsigned int thread)
{
	struct unsafe_backend *unsafe = userdata;

	unsafe->inner.ops->thread_stop(unsafe->inner.userdata, thread);
}

static void reap(void *userdata, unsigned int thread)
{
	struct unsafe_backend *unsafe = userdata;

	unsafe->inner.ops->reap(unsafe->inner.userdata, thread);
}

static void cancel(void *userdata, unsigned int thread)
{
	struct unsafe_backend *unsafe = userdata;

	unsafe->inner.ops->cancel(unsafe->inner.userdata, thread);
}

static const char *engine(void *userdata)
{
	struct unsafe_backend *unsafe = userdata;

	return unsafe->inner.ops->engine(unsafe->inner.userdata);
}

struct vmm_blk_backend unsafe_wrap(struct unsafe_backend *unsafe, struct vmm_blk_backend inner)
{
	const struct vmm_blk_ops *ops = inner.ops;

	*unsafe = (struct unsafe_backend){
		.inner = inner,
		.ops = {
			.geometry = geometry,
			.submit = submit,
			.commit = ops->commit ? commit : NULL,
			.thread_start = ops->thread_start ? thread_start : NULL,
			.thread_stop = ops->thread_stop ? thread_stop : NULL,
			.reap = ops->reap ? reap : NULL,
			.cancel = ops->cancel ? cancel : NULL,
			.engine = ops->engine ? engine : NULL,
		},
	};
	return (struct vmm_blk_backend){ .ops = &unsafe->ops, .userdata = unsafe };
}

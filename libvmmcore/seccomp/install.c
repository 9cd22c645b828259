/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * seccomp: installation of a compiled filter: all that a program needs that carries its filters
 * with it. Nothing here allocates: threads install their own filter when they begin.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/util.h"
#include "seccomp/policy.h"

static int set_filter(const struct sock_filter *filter, size_t n_filter, bool all_threads)
{
	struct sock_fprog program = {
		.len = (unsigned short)n_filter,
		.filter = (struct sock_filter *)filter, /* the kernel only reads it */
	};
	unsigned int flags = all_threads ? SECCOMP_FILTER_FLAG_TSYNC : 0;
	long r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	if (r < 0)
		return -errno;
	/* The ID of a thread that could not follow: nothing was installed. */
	return r > 0 ? -ESRCH : 0;
}

/* Apart, as the copy takes 32 KiB of stack. */
__attribute__((noinline)) static int set_filter_mode(const struct sock_filter *filter,
	size_t n_filter, enum vmm_seccomp_mode mode, bool all_threads)
{
	struct sock_filter copy[BPF_MAXINSNS];

	memcpy(copy, filter, n_filter * sizeof(copy[0]));
	copy[n_filter - 1].k = vmm_seccomp_mode_action(mode);
	return set_filter(copy, n_filter, all_threads);
}

int vmm_seccomp_install(const struct sock_filter *filter, size_t n_filter,
	enum vmm_seccomp_mode mode, bool all_threads)
{
	const struct sock_filter *last;

	if (n_filter < 2 || n_filter > BPF_MAXINSNS)
		return -EINVAL;
	last = &filter[n_filter - 1];
	if (last->code != (BPF_RET | BPF_K) || last->k != vmm_seccomp_mode_action(VMM_SECCOMP_KILL))
		return -EINVAL;
	if (mode == VMM_SECCOMP_KILL)
		return set_filter(filter, n_filter, all_threads);
	return set_filter_mode(filter, n_filter, mode, all_threads);
}

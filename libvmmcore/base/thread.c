/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* base: threads that blocks make for themselves. */
#include <signal.h>

#include "base/util.h"

int vmm_base_thread_start(pthread_t *ret_thread, void *(*thread_main)(void *), void *userdata)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int r;

	r = pthread_attr_init(&attributes);
	if (r != 0)
		return -r;
	r = pthread_attr_setstacksize(&attributes, VMM_BASE_STACK_BYTES);
	if (r == 0) {
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		r = pthread_create(ret_thread, &attributes, thread_main, userdata);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	pthread_attr_destroy(&attributes);
	return -r;
}

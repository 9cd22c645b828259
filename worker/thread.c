/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* thread: threads that run the loop of one device. */
#include <pthread.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "base/util.h"
#include "worker/machine.h"

static void *thread_main(void *userdata)
{
	struct machine_virtio *virtio = userdata;
	char name[16];
	int r;

	snprintf(name, sizeof(name), "%s %.11s", virtio->thread_name, virtio->id);
	prctl(PR_SET_NAME, name);
	r = sandbox_enter_thread(&virtio->machine->sandbox, virtio->thread_kind);
	virtio->thread_result = r;
	pthread_barrier_wait(&virtio->barrier);
	if (r == 0)
		vmm_loop_run(virtio->loop);
	return NULL;
}

int machine_start_thread(struct machine_virtio *virtio, enum sandbox_thread kind, const char *name)
{
	int r;

	virtio->thread_kind = kind;
	virtio->thread_name = name;
	r = pthread_barrier_init(&virtio->barrier, NULL, 2);
	if (r != 0)
		return -r;
	r = vmm_base_thread_start(&virtio->thread, thread_main, virtio);
	if (r < 0)
		return r;
	virtio->has_thread = true;
	pthread_barrier_wait(&virtio->barrier);
	return virtio->thread_result;
}

void machine_stop_thread(struct machine_virtio *virtio)
{
	if (!virtio->has_thread)
		return;
	vmm_loop_quit(virtio->loop, 0);
	pthread_join(virtio->thread, NULL);
	pthread_barrier_destroy(&virtio->barrier);
	virtio->has_thread = false;
}

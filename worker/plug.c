/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* plug: the builder's thread; see hotplug.h. One device after the other. */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/util.h"
#include "worker/machine.h"

/* How often a vCPU is looked at that has been kicked, and when it is kicked again. */
#define LOOK_NSEC 200000
#define LOOKS_A_KICK 50

/* ---- building ---- */

static int build(struct machine_virtio *virtio)
{
	struct hotplug_device *plug = &virtio->plug;
	struct machine *machine = virtio->machine;
	int status;

	if (virtio->kind == VMM_DEVICE_DRIVE)
		status = machine_build_drive(
			virtio, &plug->drive, plug->fds.fds[plug->drive.fd - 1], true);
	else
		status = machine_build_network(virtio, &plug->network, &plug->fds, true);
	if (status == 0)
		return 0;
	/* In the words that a start would have failed with; the machine itself goes on. */
	memcpy(plug->text, machine->failure, sizeof(plug->text));
	machine->failure[0] = '\0';
	return status == VMM_WORKER_EXIT_CONFIG ? -EINVAL : -EIO;
}

/* ---- taking apart ---- */

/* A vCPU that began an access before the device left the bus may still be in it: see bus.h. */
static void wait_for_vcpu(struct machine *machine, struct vmm_vcpu *vcpu)
{
	uint32_t before = vmm_vcpu_n_answers(vcpu);
	unsigned int n_looks = 0;

	/* One that runs no more is not in the bus either, and answers no more. */
	while (vmm_vcpu_n_answers(vcpu) == before &&
		!atomic_load_explicit(&machine->over, memory_order_acquire)) {
		if (n_looks++ % LOOKS_A_KICK == 0)
			vmm_vcpu_kick(vcpu);
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_NSEC }, NULL);
	}
}

static void leave_bus(struct machine_virtio *virtio)
{
	struct machine *machine = virtio->machine;

	if (!virtio->pci)
		return;
	vmm_pci_bus_remove(vmm_virtio_pci_function(virtio->pci));
	for (uint32_t i = 0; i < machine->vcpus.n_vcpus; i++)
		wait_for_vcpu(machine, machine->vcpus.vcpus[i].vcpu);
}

static void take_apart(struct machine_virtio *virtio)
{
	leave_bus(virtio);
	machine_stop_thread(virtio);
	if (virtio->pci) {
		if (vmm_virtio_reset(virtio->device) > 0)
			vmm_virtio_wait_reset(virtio->device);
		virtio->pci = vmm_virtio_pci_free(virtio->pci);
	}
	virtio->blk = vmm_virtio_blk_free(virtio->blk);
	virtio->file = vmm_blk_file_free(virtio->file);
	virtio->net = vmm_virtio_net_free(virtio->net);
	virtio->tap = vmm_net_tap_free(virtio->tap);
	virtio->stream = vmm_net_stream_free(virtio->stream);
	backend_free(virtio);
	virtio->loop = vmm_loop_free(virtio->loop);
	virtio->device = NULL;
}

/* ---- the thread ---- */

static void carry_out(struct machine_virtio *virtio, enum hotplug_order order)
{
	struct hotplug_device *plug = &virtio->plug;

	plug->result = 0;
	plug->text[0] = '\0';
	if (order == HOTPLUG_BUILD)
		plug->result = build(virtio);
	if (order == HOTPLUG_REMOVE || plug->result < 0)
		take_apart(virtio);
	/* The devices have copies of those that they need. */
	vmm_control_fds_finish(&plug->fds);
}

/* Looks at no device while there is no order: most machines never touch those pages. */
static struct machine_virtio *find_order(struct machine *machine, enum hotplug_order *ret_order)
{
	if (machine->hotplug.n_orders == 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(machine->virtio); i++) {
		enum hotplug_order order = machine->virtio[i].plug.order;

		if (order == HOTPLUG_BUILD || order == HOTPLUG_REMOVE) {
			machine->hotplug.n_orders--;
			*ret_order = order;
			return &machine->virtio[i];
		}
	}
	return NULL;
}

static void *thread_main(void *userdata)
{
	struct machine *machine = userdata;
	struct hotplug *hotplug = &machine->hotplug;
	struct machine_virtio *virtio;
	enum hotplug_order order;

	prctl(PR_SET_NAME, "plug");
	pthread_mutex_lock(&hotplug->start_lock);
	hotplug->start_result = sandbox_enter_thread(&machine->sandbox, SANDBOX_PLUG);
	pthread_cond_signal(&hotplug->sealed);
	pthread_mutex_unlock(&hotplug->start_lock);
	if (hotplug->start_result < 0)
		return NULL;

	pthread_mutex_lock(&hotplug->lock);
	for (;;) {
		virtio = find_order(machine, &order);
		if (!virtio) {
			pthread_cond_wait(&hotplug->wanted, &hotplug->lock);
			continue;
		}
		pthread_mutex_unlock(&hotplug->lock);
		carry_out(virtio, order);
		pthread_mutex_lock(&hotplug->lock);
		virtio->plug.order = HOTPLUG_DONE;
		vmm_loop_event_signal(hotplug->done);
	}
	return NULL;
}

int plug_start(struct machine *machine)
{
	struct hotplug *hotplug = &machine->hotplug;
	int r;

	pthread_mutex_init(&hotplug->lock, NULL);
	pthread_cond_init(&hotplug->wanted, NULL);
	pthread_mutex_init(&hotplug->start_lock, NULL);
	pthread_cond_init(&hotplug->sealed, NULL);
	hotplug->start_result = 1;
	r = vmm_base_thread_start(&hotplug->builder, thread_main, machine);
	if (r < 0)
		return r;
	pthread_mutex_lock(&hotplug->start_lock);
	while (hotplug->start_result > 0)
		pthread_cond_wait(&hotplug->sealed, &hotplug->start_lock);
	r = hotplug->start_result;
	pthread_mutex_unlock(&hotplug->start_lock);
	return r;
}

void plug_order(struct machine_virtio *virtio, enum hotplug_order order)
{
	struct hotplug *hotplug = &virtio->machine->hotplug;

	pthread_mutex_lock(&hotplug->lock);
	virtio->plug.order = order;
	hotplug->n_orders++;
	pthread_cond_signal(&hotplug->wanted);
	pthread_mutex_unlock(&hotplug->lock);
}

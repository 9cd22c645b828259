/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vcpu: see vcpu.h. */
#include "worker/vcpu.h"

#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/util.h"
#include "worker/machine.h"

/* Far more than the deepest device access needs; only what is touched is resident. */
/* How long a pause waits for vCPUs that are inside a device, as in a reset with requests in flight.
 */
#define SYNC_NSEC UINT64_C(1000000000)

static void fail(struct vcpu *vcpu, int result, const char *step)
{
	vcpu->result = result;
	vcpu->failed_step = step;
}

/* One exit. Returns false where the thread has nothing more to run. */
static bool handle_exit(struct vcpu *vcpu, const struct vmm_vcpu_exit *exit)
{
	struct machine *machine = vcpu->machine;

	switch (exit->reason) {
	case VMM_EXIT_PIO_READ:
		vmm_bus_read(machine->pio, exit->address, exit->data, exit->length_bytes);
		return true;
	case VMM_EXIT_PIO_WRITE:
		vmm_bus_write(machine->pio, exit->address, exit->data, exit->length_bytes);
		return true;
	case VMM_EXIT_MMIO_READ:
		vmm_bus_read(machine->mmio, exit->address, exit->data, exit->length_bytes);
		return true;
	case VMM_EXIT_MMIO_WRITE:
		vmm_bus_write(machine->mmio, exit->address, exit->data, exit->length_bytes);
		return true;
	case VMM_EXIT_KICK:
	case VMM_EXIT_HLT:
		return true;
	case VMM_EXIT_SHUTDOWN:
		machine_post(machine, MACHINE_TRIPLE_FAULT);
		return false;
	case VMM_EXIT_SYSTEM_EVENT:
		if (exit->detail[0] == KVM_SYSTEM_EVENT_RESET)
			machine_post(machine, MACHINE_RESET);
		else if (exit->detail[0] == KVM_SYSTEM_EVENT_CRASH)
			machine_post(machine, MACHINE_PANICKED);
		else
			machine_post(machine, MACHINE_POWERED_OFF);
		return false;
	case VMM_EXIT_INTERNAL_ERROR:
		vcpu->last_exit = *exit;
		fail(vcpu, 0, "KVM cannot run its code");
		machine_post(machine, MACHINE_CANNOT_RUN);
		return false;
	default:
		vcpu->last_exit = *exit;
		fail(vcpu, 0, "an exit that nobody expects");
		machine_post(machine, MACHINE_VCPU_FAILED);
		return false;
	}
}

static void run(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;
	struct vmm_vcpu_exit exit;
	bool goes_on = true;
	int r;

	while (goes_on) {
		r = vmm_vcpu_run(vcpu->vcpu, &exit);
		/* No other thread writes it: no locked instruction is needed. */
		atomic_store_explicit(&vcpu->n_exits,
			atomic_load_explicit(&vcpu->n_exits, memory_order_relaxed) + 1,
			memory_order_relaxed);
		if (r < 0) {
			fail(vcpu, r, "running it");
			machine_post(machine, MACHINE_VCPU_FAILED);
			return;
		}
		goes_on = handle_exit(vcpu, &exit) &&
			  !atomic_load_explicit(&machine->over, memory_order_acquire);
	}
}

static int prepare(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;
	struct vmm_vcpu_config config = {
		.n_vcpus = machine->vcpus.n_vcpus,
		.entry = vmm_vcpu_id(vcpu->vcpu) == 0 ? &machine->entry : NULL,
	};
	char name[16];
	int r;

	snprintf(name, sizeof(name), "vcpu %u", vmm_vcpu_id(vcpu->vcpu));
	prctl(PR_SET_NAME, name);
	r = vmm_vcpu_setup(vcpu->vcpu, &config);
	if (r < 0) {
		fail(vcpu, r, "setting it up");
		return r;
	}
	r = vmm_vcpu_attach(vcpu->vcpu, 0);
	if (r < 0) {
		fail(vcpu, r, "attaching its thread");
		return r;
	}
	r = sandbox_enter_thread(&machine->sandbox, SANDBOX_VCPU);
	if (r < 0)
		fail(vcpu, r, "closing its sandbox");
	return r;
}

static void *thread_main(void *userdata)
{
	struct vcpu *vcpu = userdata;
	struct vcpus *vcpus = &vcpu->machine->vcpus;
	int r;

	r = prepare(vcpu);
	pthread_mutex_lock(&vcpus->lock);
	vcpu->at_gate = true;
	pthread_cond_signal(&vcpus->changed);
	pthread_mutex_unlock(&vcpus->lock);
	/* The gate is inside: the vCPU was paused before this thread began. */
	if (r == 0)
		run(vcpu);
	vmm_vcpu_detach(vcpu->vcpu);
	return NULL;
}

static int start_thread(struct vcpu *vcpu)
{
	int r = vmm_base_thread_start(&vcpu->thread, thread_main, vcpu);

	vcpu->has_thread = r == 0;
	return r;
}

int vcpus_start(struct machine *machine)
{
	struct vcpus *vcpus = &machine->vcpus;
	int r;

	pthread_mutex_init(&vcpus->lock, NULL);
	pthread_cond_init(&vcpus->changed, NULL);
	vcpus->n_vcpus = machine->spec->n_cpus;
	r = vmm_kvm_install_kick_handler(0);
	if (r < 0)
		return machine_fail_host(machine, r, "CPUs: installing the signal handler");

	for (uint32_t i = 0; i < vcpus->n_vcpus; i++) {
		struct vcpu *vcpu = &vcpus->vcpus[i];

		*vcpu = (struct vcpu){ .machine = machine };
		r = vmm_vcpu_new(machine->vm, i, &vcpu->vcpu);
		if (r < 0)
			return machine_fail_host(machine, r, "CPU %u: creating it", i);
		vmm_vcpu_pause(vcpu->vcpu);
	}
	for (uint32_t i = 0; i < vcpus->n_vcpus; i++) {
		r = start_thread(&vcpus->vcpus[i]);
		if (r < 0)
			return machine_fail_host(machine, r, "CPU %u: starting its thread", i);
	}

	pthread_mutex_lock(&vcpus->lock);
	for (uint32_t i = 0; i < vcpus->n_vcpus; i++)
		while (!vcpus->vcpus[i].at_gate)
			pthread_cond_wait(&vcpus->changed, &vcpus->lock);
	pthread_mutex_unlock(&vcpus->lock);
	for (uint32_t i = 0; i < vcpus->n_vcpus; i++) {
		struct vcpu *vcpu = &vcpus->vcpus[i];

		if (vcpu->result < 0)
			return machine_fail_host(
				machine, vcpu->result, "CPU %u: %s", i, vcpu->failed_step);
	}
	return 0;
}

void vcpus_open_gate(struct machine *machine)
{
	for (uint32_t i = 0; i < machine->vcpus.n_vcpus; i++)
		vmm_vcpu_resume(machine->vcpus.vcpus[i].vcpu);
}

int vcpus_pause(struct machine *machine)
{
	struct vcpus *vcpus = &machine->vcpus;
	uint64_t deadline_nsec = vmm_base_now_nsec() + SYNC_NSEC;
	uint64_t now_nsec;
	int r, result = 0;

	/* All are told before any is waited for. */
	for (uint32_t i = 0; i < vcpus->n_vcpus; i++)
		vmm_vcpu_pause(vcpus->vcpus[i].vcpu);
	for (uint32_t i = 0; i < vcpus->n_vcpus; i++) {
		now_nsec = vmm_base_now_nsec();
		r = vmm_vcpu_sync(vcpus->vcpus[i].vcpu,
			now_nsec < deadline_nsec ? deadline_nsec - now_nsec : 0);
		if (r < 0)
			result = r;
	}
	return result;
}

void vcpus_resume(struct machine *machine)
{
	for (uint32_t i = 0; i < machine->vcpus.n_vcpus; i++)
		vmm_vcpu_resume(machine->vcpus.vcpus[i].vcpu);
}

void vcpus_join(struct machine *machine)
{
	struct vcpus *vcpus = &machine->vcpus;

	for (uint32_t i = 0; i < vcpus->n_vcpus; i++)
		if (vcpus->vcpus[i].has_thread)
			vmm_vcpu_kick(vcpus->vcpus[i].vcpu);
	for (uint32_t i = 0; i < vcpus->n_vcpus; i++) {
		if (!vcpus->vcpus[i].has_thread)
			continue;
		pthread_join(vcpus->vcpus[i].thread, NULL);
		vcpus->vcpus[i].has_thread = false;
	}
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * perf: what the library adds to an exit: a loop of exits with vmm_vcpu_run() and a bus of 16
 * devices, less the same loop with KVM_RUN and nothing else, in rounds that take turns. Prints a
 * line a figure: name, nanoseconds an exit, median and lowest of the rounds.
 */
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#include <vmmcore/bus.h>
#include <vmmcore/kvm.h>

#define RAM_BYTES 0x10000
#define CODE_GPA 0x1000
#define N_DEVICES 16
#define N_ROUNDS 1501
#define N_EXITS 40

/* 32-bit code, as a PVH kernel starts. Each loops over one access. */
static const uint8_t port_code[] = { 0x66, 0xba, 0xf0, 0x01, 0xee, 0xeb, 0xfd };
static const uint8_t memory_code[] = { 0xbb, 0x00, 0xf0, 0x00, 0xd0, 0x89, 0x03, 0xeb, 0xfc };

static struct vmm_vcpu *vcpu;
static struct vmm_bus *bus;
static double empty[N_ROUNDS], with_dispatch[N_ROUNDS], added[N_ROUNDS];

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "exits: %s failed\n", what);
	exit(EXIT_FAILURE);
}

static double now_nsec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void ignore(void *userdata, uint64_t offset, const void *data, size_t length)
{
}

static double run_empty(const struct kvm_run *run, uint32_t exit_reason)
{
	double start = now_nsec();

	for (int i = 0; i < N_EXITS; i++)
		must(ioctl(vmm_vcpu_fd(vcpu), KVM_RUN, NULL) == 0 &&
				run->exit_reason == exit_reason,
			"KVM_RUN");
	return (now_nsec() - start) / N_EXITS;
}

static double run_dispatch(void)
{
	double start = now_nsec();

	for (int i = 0; i < N_EXITS; i++) {
		struct vmm_vcpu_exit exit;

		must(vmm_vcpu_run(vcpu, &exit) == 0, "run");
		switch (exit.reason) {
		case VMM_EXIT_PIO_WRITE:
		case VMM_EXIT_MMIO_WRITE:
			must(vmm_bus_write(bus, exit.address, exit.data, exit.length_bytes), "bus");
			break;
		default:
			must(0, "exit");
		}
	}
	return (now_nsec() - start) / N_EXITS;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void report(const char *what, const char *which, double *samples)
{
	qsort(samples, N_ROUNDS, sizeof(samples[0]), by_value);
	printf("exits-%s-%s %.1f %.1f\n", what, which, samples[N_ROUNDS / 2], samples[0]);
}

static void measure(struct vmm_kvm *kvm, const char *what, const uint8_t *code, size_t size_bytes,
	uint64_t device_base, uint32_t exit_reason)
{
	static const struct vmm_bus_ops ops = { .write = ignore };
	struct vmm_x86_entry entry = {
		.code_selector = 8, .data_selector = 16, .tss_selector = 24, .rip = CODE_GPA
	};
	struct vmm_vcpu_config config = { .entry = &entry };
	struct vmm_vm_memory slot = { .size_bytes = RAM_BYTES };
	struct kvm_run *run;
	struct vmm_vm *vm;

	slot.host =
		mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(slot.host != MAP_FAILED, "memory");
	memcpy((char *)slot.host + CODE_GPA, code, size_bytes);
	must(vmm_vm_new(kvm, NULL, &vm) == 0 && vmm_vm_set_memory(vm, &slot) == 0, "VM");
	must(vmm_vm_create_irqchip(vm, false) == 0, "irqchip");
	must(vmm_vcpu_new(vm, 0, &vcpu) == 0 && vmm_vcpu_setup(vcpu, &config) == 0, "vCPU");
	must(vmm_vcpu_attach(vcpu, 0) == 0, "attach");
	run = mmap(NULL, sizeof(*run), PROT_READ, MAP_SHARED, vmm_vcpu_fd(vcpu), 0);
	must(run != MAP_FAILED, "kvm_run");
	must(vmm_bus_new(&bus) == 0, "bus");
	for (uint64_t i = 0; i < N_DEVICES; i++) {
		struct vmm_bus_range range = { device_base + 0x10 * i, 0x10, &ops, NULL };

		must(vmm_bus_add(bus, &range) == 0, "device");
	}

	for (int i = 0; i < N_ROUNDS; i++) {
		empty[i] = run_empty(run, exit_reason);
		with_dispatch[i] = run_dispatch();
		added[i] = with_dispatch[i] - empty[i];
	}
	report(what, "empty", empty);
	report(what, "with-dispatch", with_dispatch);
	/* The median of the differences; a lowest difference means nothing. */
	qsort(added, N_ROUNDS, sizeof(added[0]), by_value);
	printf("exits-%s-added %.1f %.1f\n", what, added[N_ROUNDS / 2],
		with_dispatch[0] - empty[0]);

	munmap(run, sizeof(*run));
	vmm_vcpu_detach(vcpu);
	vmm_vcpu_free(vcpu);
	vmm_vm_free(vm);
	vmm_bus_free(bus);
	munmap(slot.host, RAM_BYTES);
}

int main(void)
{
	struct vmm_kvm *kvm;

	if (vmm_kvm_open(NULL, &kvm, NULL) < 0) {
		fprintf(stderr, "exits: no /dev/kvm\n");
		return 77;
	}
	must(vmm_kvm_install_kick_handler(0) == 0, "signal");
	measure(kvm, "port", port_code, sizeof(port_code), 0x100, KVM_EXIT_IO);
	measure(kvm, "memory", memory_code, sizeof(memory_code), 0xd000ef10, KVM_EXIT_MMIO);
	vmm_kvm_free(kvm);
	return EXIT_SUCCESS;
}

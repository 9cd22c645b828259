/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What vCPUs are given, and KVMs that lack something. Such a KVM is the real one behind an ioctl()
 * of this program's own, which libvmmcore's archives call instead of libc's.
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"
#include "unit/unit.h"

static int missing_capability;
static int api_version = KVM_API_VERSION;
static bool refuses_msrs;
static bool has_no_tsc_deadline;
static unsigned int n_routing_changes;

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	unsigned long argument;

	va_start(arguments, request);
	argument = va_arg(arguments, unsigned long);
	va_end(arguments);
	if (request == KVM_GET_API_VERSION)
		return api_version;
	if (request == KVM_CHECK_EXTENSION && missing_capability &&
		argument == (unsigned long)missing_capability)
		return 0;
	if (request == KVM_CHECK_EXTENSION && has_no_tsc_deadline &&
		argument == KVM_CAP_TSC_DEADLINE_TIMER)
		return 0;
	if (request == KVM_SET_MSRS && refuses_msrs)
		return 0;
	if (request == KVM_SET_GSI_ROUTING)
		n_routing_changes++;
	return (int)syscall(SYS_ioctl, fd, request, argument);
}

/* ---- the system ---- */

START_TEST(what_is_no_kvm_is_refused)
{
	struct vmm_kvm *kvm = NULL;
	const char *missing = "";
	int fd;

	ck_assert_int_eq(vmm_kvm_new(-1, &kvm, &missing), -EBADF);
	ck_assert_ptr_null(missing);
	ck_assert_int_eq(vmm_kvm_open("/nonexistent/kvm", &kvm, NULL), -ENOENT);
	ck_assert_int_eq(vmm_kvm_open("/", &kvm, NULL), -EISDIR);

	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	api_version = KVM_API_VERSION + 1;
	ck_assert_int_eq(vmm_kvm_new(fd, &kvm, &missing), -ENODEV);
	api_version = KVM_API_VERSION;
	/* It answers nothing else, so the first capability is missing. */
	ck_assert_int_eq(vmm_kvm_new(fd, &kvm, &missing), -EOPNOTSUPP);
	ck_assert_str_eq(missing, "KVM_CAP_USER_MEMORY");
	ck_assert_ptr_null(kvm);
	ck_assert_int_eq(close(fd), 0);
}
END_TEST

START_TEST(missing_capability_is_named)
{
	static const struct {
		int number;
		const char *name;
	} cases[] = {
		{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
		{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
		{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING" },
		{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH" },
	};
	int before = open_descriptors();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vmm_kvm *kvm = NULL;
		const char *missing = NULL;

		missing_capability = cases[i].number;
		ck_assert_int_eq(vmm_kvm_open(NULL, &kvm, &missing), -EOPNOTSUPP);
		ck_assert_str_eq(missing, cases[i].name);
		ck_assert_int_eq(vmm_kvm_open(NULL, &kvm, NULL), -EOPNOTSUPP);
		ck_assert_ptr_null(kvm);
	}
	ck_assert_int_eq(open_descriptors(), before);
}
END_TEST

START_TEST(callers_descriptor_stays_its_own)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct vmm_kvm *kvm;

	ck_assert_int_eq(vmm_kvm_new(fd, &kvm, NULL), 0);
	ck_assert_int_gt(vmm_kvm_capability(kvm, KVM_CAP_USER_MEMORY), 0);
	ck_assert_int_eq(vmm_kvm_capability(kvm, -1), 0);
	ck_assert_uint_ge(vmm_kvm_max_vcpus(kvm), 64);
	ck_assert_uint_le(vmm_kvm_max_vcpus(kvm), VMM_VM_MAX_VCPUS);
	kvm = vmm_kvm_free(kvm);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_ptr_null(vmm_kvm_free(NULL));
	ck_assert_ptr_null(vmm_vm_free(NULL));
	ck_assert_ptr_null(vmm_vcpu_free(NULL));
}
END_TEST

/* ---- the VM ---- */

static struct vmm_kvm *kvm;
static struct vmm_vm *vm;

static void setup(void)
{
	ck_assert_int_eq(vmm_kvm_open(NULL, &kvm, NULL), 0);
	ck_assert_int_eq(vmm_vm_new(kvm, NULL, &vm), 0);
}

static void teardown(void)
{
	vm = vmm_vm_free(vm);
	kvm = vmm_kvm_free(kvm);
}

START_TEST(bad_slots_are_refused)
{
	char *host =
		mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct {
		struct vmm_vm_memory memory;
		int expected;
	} cases[] = {
		{ { 0, 0, 0x4000, host, false, false }, 0 },
		{ { 1, 0x3000, 0x1000, host, false, false }, -EEXIST },
		{ { 1, 0x4000, 0x1000, host, true, false }, 0 },
		{ { VMM_VM_MAX_SLOTS, 0x8000, 0x1000, host, false, false }, -EINVAL },
		{ { UINT32_MAX, 0x8000, 0x1000, host, false, false }, -EINVAL },
		{ { 2, 0x8001, 0x1000, host, false, false }, -EINVAL },
		{ { 2, 0x8000, 0x1001, host, false, false }, -EINVAL },
		{ { 2, 0x8000, 0x1000, host + 1, false, false }, -EINVAL },
		{ { 2, UINT64_MAX - 0xfff, 0x2000, host, false, false }, -EINVAL },
		{ { 2, 0x8000, UINT64_MAX - 0xfff, host, false, false }, -EINVAL },
		{ { 1, 0x4000, 0, NULL, false, false }, 0 },
		{ { 1, 0x4000, 0, NULL, false, false }, -EINVAL },
		{ { 2, 0x4000, 0x1000, host, false, false }, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = vmm_vm_set_memory(vm, &cases[i].memory);

		ck_assert_msg(r == cases[i].expected, "case %zu: %d", i, r);
	}
}
END_TEST

START_TEST(bad_vcpus_are_refused)
{
	static const struct {
		struct vmm_vcpu_config config;
		int expected;
	} cases[] = {
		{ { 0, 0, 0, NULL }, -EINVAL }, /* one vCPU, and this is the second */
		{ { 2, 0, 0, NULL }, 0 },
		{ { VMM_VM_MAX_VCPUS + 1, 0, 0, NULL }, -EINVAL },
		{ { UINT32_MAX, 0, 0, NULL }, -EINVAL },
		{ { 4, 2, 2, NULL }, 0 },
		{ { 6, 3, 2, NULL }, -EINVAL },
		{ { 6, 2, 3, NULL }, 0 },
		{ { 12, 2, 3, NULL }, -EINVAL }, /* sockets of 6: gaps in the APIC ids */
		{ { 4, 8, 1, NULL }, -EINVAL },
		{ { 4, 1, UINT32_MAX, NULL }, -EINVAL },
		{ { 4, UINT32_MAX, 1, NULL }, -EINVAL },
	};
	struct vmm_vcpu *vcpu, *other;

	ck_assert_int_eq(vmm_vm_create_irqchip(vm, true), 0);
	ck_assert_int_eq(vmm_vcpu_new(vm, vmm_kvm_max_vcpus(kvm), &vcpu), -EINVAL);
	ck_assert_int_eq(vmm_vcpu_new(vm, UINT32_MAX, &vcpu), -EINVAL);
	ck_assert_int_eq(vmm_vcpu_new(vm, 1, &vcpu), 0);
	ck_assert_int_eq(vmm_vcpu_new(vm, 1, &other), -EEXIST);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = vmm_vcpu_setup(vcpu, &cases[i].config);

		ck_assert_msg(r == cases[i].expected, "case %zu: %d", i, r);
	}
	vmm_vcpu_free(vcpu);
}
END_TEST

START_TEST(refused_msr_is_no_failure)
{
	static const struct vmm_msr msrs[] = {
		{ 0x4b564dff, 1 },      /* nobody's */
		{ 0xc0000102, 0x1234 }, /* KERNEL_GS_BASE */
	};
	struct vmm_vcpu_config config = { .n_vcpus = 1 };
	struct vmm_vcpu *vcpu;
	uint64_t value;

	ck_assert_int_eq(vmm_vm_create_irqchip(vm, false), 0);
	ck_assert_int_eq(vmm_vcpu_new(vm, 0, &vcpu), 0);
	refuses_msrs = true;
	ck_assert_int_eq(vmm_vcpu_setup(vcpu, &config), 0);
	ck_assert_int_eq(vmm_vcpu_set_msrs(vcpu, msrs, 2), 2);
	refuses_msrs = false;
	ck_assert_int_eq(vmm_vcpu_setup(vcpu, &config), 0);
	ck_assert_int_eq(vmm_vcpu_set_msrs(vcpu, msrs, 2), 1);
	ck_assert_int_eq(vmm_vcpu_get_msr(vcpu, 0xc0000102, &value), 0);
	ck_assert_uint_eq(value, 0x1234);
	ck_assert_int_eq(vmm_vcpu_get_msr(vcpu, 0x4b564dff, &value), -ENOENT);
	vmm_vcpu_free(vcpu);
}
END_TEST

START_TEST(route_that_does_not_change_costs_nothing)
{
	int fds[2] = { make_eventfd(), make_eventfd() };

	ck_assert_int_eq(vmm_vm_create_irqchip(vm, false), 0);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(vmm_vm_msi_bind(vm, fds[0], 0xfee00000, 0x40), 0);
		ck_assert_int_eq(vmm_vm_msi_bind(vm, fds[1], 0xfee01000, 0x41), 0);
		ck_assert_int_eq(vmm_vm_msi_unbind(vm, fds[0]), 0);
	}
	ck_assert_uint_eq(n_routing_changes, 2);
	ck_assert_int_eq(vmm_vm_msi_bind(vm, fds[0], 0xfee00000, 0x42), 0);
	ck_assert_uint_eq(n_routing_changes, 3);
	ck_assert_int_eq(vmm_vm_msi_bind(vm, -1, 0xfee00000, 0x42), -EBADF);
	/* What is no eventfd leaves nothing behind. */
	ck_assert_int_eq(vmm_vm_msi_bind(vm, 0, 0xfee00000, 0x42), -EINVAL);
	ck_assert_int_eq(vmm_vm_msi_unbind(vm, 0), 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* ---- what a guest sees ---- */

struct seen {
	uint32_t leaf_1[4], leaf_b[3][4], leaf_4[4], signature[4], leaf_0[4], name[3][4], lint[2];
	uint32_t unused[22];
};

static_assert(sizeof(struct seen) == 256, "as setup.c writes it");

START_TEST(cpuid_tells_each_vcpu_its_place)
{
	static const unsigned int counts[] = { 1, 2, 4, 6 };
	struct guest_config config = { .name = "setup", .n_vcpus = counts[_i % 4] };
	char number[] = { (char)('0' + counts[_i % 4]), '\0' };
	unsigned int bits = counts[_i % 4] == 1   ? 0
			    : counts[_i % 4] == 2 ? 1
			    : counts[_i % 4] == 4 ? 2
						  : 3;
	uint32_t name[3][4];
	struct guest guest;

	for (unsigned int i = 0; i < 3; i++)
		__cpuid(0x80000002 + i, name[i][0], name[i][1], name[i][2], name[i][3]);
	has_no_tsc_deadline = _i >= 4;
	config.cmdline = number;
	guest_init(&guest, &config);
	guest_start(&guest);
	ck_assert_int_eq(guest_wait(&guest), 0);
	for (unsigned int id = 0; id < config.n_vcpus; id++) {
		struct seen seen;

		ck_assert_int_eq(
			vmm_mem_read(guest.mem, 0x1800000 + id * sizeof(seen), &seen, sizeof(seen)),
			0);
		ck_assert_uint_eq(seen.leaf_1[1] >> 24, id);
		ck_assert_uint_eq(seen.leaf_1[1] >> 16 & 0xff, 1u << bits);
		ck_assert_uint_eq(seen.leaf_1[2] >> 31, 1);
		ck_assert_uint_eq(seen.leaf_1[2] >> 24 & 1, !has_no_tsc_deadline);
		/* Some hosts set it for a single one, too. */
		if (config.n_vcpus > 1)
			ck_assert_uint_eq(seen.leaf_1[3] >> 28 & 1, 1);
		ck_assert_int_eq(memcmp(&seen.signature[1], "KVMKVMKVM\0\0", 12), 0);
		ck_assert_int_eq(memcmp(seen.name, name, sizeof(name)), 0);
		if (id == 0) {
			ck_assert_uint_eq(seen.lint[0] & 0x700, 0x700);
			ck_assert_uint_eq(seen.lint[1] & 0x700, 0x400);
		}
		if (seen.leaf_0[0] < 0xb)
			continue;
		/* One thread a core, so the first level has no bits. */
		ck_assert_uint_eq(seen.leaf_b[0][0] & 0x1f, 0);
		ck_assert_uint_eq(seen.leaf_b[0][1], 1);
		ck_assert_uint_eq(seen.leaf_b[0][2] >> 8, 1);
		ck_assert_uint_eq(seen.leaf_b[1][0] & 0x1f, bits);
		ck_assert_uint_eq(seen.leaf_b[1][1], config.n_vcpus);
		ck_assert_uint_eq(seen.leaf_b[1][2] >> 8, 2);
		ck_assert_uint_eq(seen.leaf_b[2][1], 0);
		for (int i = 0; i < 3; i++)
			ck_assert_uint_eq(seen.leaf_b[i][3], id);
	}
	guest_finish(&guest);
}
END_TEST

START_TEST(registers_come_with_the_exit_where_asked)
{
	struct guest_config config = { .name = "exits" };
	struct vmm_x86_regs regs, again;
	struct vmm_vcpu_exit exit;
	struct vmm_vcpu *vcpu;
	struct guest guest;

	guest_init(&guest, &config);
	vcpu = guest.vcpus[0].vcpu;
	ck_assert_int_eq(vmm_vcpu_get_regs(vcpu, &regs), 0);
	ck_assert_uint_eq(regs.rbx, VMM_LAYOUT_PVH_INFO_GPA);
	ck_assert_int_eq(vmm_vcpu_sync_regs(vcpu, true), 0);
	ck_assert_int_eq(vmm_vcpu_attach(vcpu, 0), 0);
	ck_assert_int_eq(vmm_vcpu_run(vcpu, &exit), 0);
	ck_assert_int_eq(exit.reason, VMM_EXIT_PIO_WRITE);
	ck_assert_int_eq(vmm_vcpu_get_regs(vcpu, &regs), 0);
	ck_assert_uint_eq(regs.rax & 0xff, *(uint8_t *)exit.data);
	ck_assert_int_eq(vmm_vcpu_sync_regs(vcpu, false), 0);
	ck_assert_int_eq(vmm_vcpu_get_regs(vcpu, &again), 0);
	ck_assert_int_eq(memcmp(&regs, &again, sizeof(regs)), 0);
	regs.rax = 0x1122334455667788;
	ck_assert_int_eq(vmm_vcpu_set_regs(vcpu, &regs), 0);
	ck_assert_int_eq(vmm_vcpu_get_regs(vcpu, &again), 0);
	ck_assert_uint_eq(again.rax, regs.rax);
	vmm_vcpu_detach(vcpu);
	guest_finish(&guest);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("setup");
	TCase *system_case = unit_case(suite, "system");
	TCase *vm_case = unit_case(suite, "vm");
	TCase *guest_case = unit_case(suite, "guest");

	guest_need_kvm();
	tcase_add_test(system_case, what_is_no_kvm_is_refused);
	tcase_add_test(system_case, missing_capability_is_named);
	tcase_add_test(system_case, callers_descriptor_stays_its_own);
	tcase_add_checked_fixture(vm_case, setup, teardown);
	tcase_add_test(vm_case, bad_slots_are_refused);
	tcase_add_test(vm_case, bad_vcpus_are_refused);
	tcase_add_test(vm_case, refused_msr_is_no_failure);
	tcase_add_test(vm_case, route_that_does_not_change_costs_nothing);
	tcase_add_loop_test(guest_case, cpuid_tells_each_vcpu_its_place, 0, 8);
	tcase_add_test(guest_case, registers_come_with_the_exit_where_asked);
	return unit_run(suite);
}

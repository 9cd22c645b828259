/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A guest that restarts as a PC did before there was a reset register: it goes to the firmware's
 * first instruction in real mode. What acpi put there resets the machine through the GED.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <vmmcore/acpi.h>
#include <vmmcore/kvm.h>

#include "base/util.h"
#include "harness.h"
#include "unit/unit.h"

static struct vmm_kvm *kvm;
static struct vmm_vm *vm;
static struct vmm_vcpu *vcpu;
static struct vmm_mem *mem;
static struct vmm_bus *bus;
static struct vmm_ged *ged;
static unsigned int n_resets;

static void on_reset(void *userdata)
{
	n_resets++;
}

static void setup(void)
{
	static const struct vmm_ged_ops ops = { .reset = on_reset };
	struct vmm_mem_config memory = { .size_bytes = 1 << 20 };
	struct vmm_acpi_config acpi = { .n_cpus = 1, .ged_port = 0x620, .ged_gsi = VMM_GED_GSI };
	struct vmm_ged_config config = { .port = 0x620, .ops = &ops };
	struct vmm_acpi_tables tables;
	struct vmm_mem_region region;

	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	ck_assert_int_eq(vmm_mem_add(mem, &memory), 0);
	ck_assert_int_eq(vmm_acpi_build(mem, &acpi, &tables), 0);
	ck_assert_int_eq(vmm_mem_get_region(mem, 0, &region), 0);
	ck_assert_int_eq(vmm_bus_new(&bus), 0);
	config.bus = bus;
	ck_assert_int_eq(vmm_ged_new(&config, &ged), 0);
	ck_assert_int_eq(vmm_kvm_open(NULL, &kvm, NULL), 0);
	ck_assert_int_eq(vmm_vm_new(kvm, NULL, &vm), 0);
	ck_assert_int_eq(vmm_vm_set_memory(vm,
				 &(struct vmm_vm_memory){
					 .size_bytes = region.size_bytes,
					 .host = region.host,
				 }),
		0);
	ck_assert_int_eq(vmm_vcpu_new(vm, 0, &vcpu), 0);
}

static void teardown(void)
{
	vcpu = vmm_vcpu_free(vcpu);
	vm = vmm_vm_free(vm);
	kvm = vmm_kvm_free(kvm);
	ged = vmm_ged_free(ged);
	bus = vmm_bus_free(bus);
	mem = vmm_mem_free(mem);
}

/* As after "ljmpw $0xf000, $0xfff0". A vCPU without further setup is in real mode. */
static void go_to_firmware(void)
{
	struct vmm_x86_regs regs = { .rip = 0xfff0, .rflags = 2 };
	struct kvm_sregs sregs;

	ck_assert_int_eq(ioctl(vmm_vcpu_fd(vcpu), KVM_GET_SREGS, &sregs), 0);
	ck_assert_uint_eq(sregs.cr0 & 1, 0);
	sregs.cs.selector = 0xf000;
	sregs.cs.base = 0xf0000;
	ck_assert_int_eq(ioctl(vmm_vcpu_fd(vcpu), KVM_SET_SREGS, &sregs), 0);
	ck_assert_int_eq(vmm_vcpu_set_regs(vcpu, &regs), 0);
}

START_TEST(firmware_entry_in_real_mode_resets)
{
	struct vmm_vcpu_exit exit;

	go_to_firmware();
	ck_assert_int_eq(vmm_kvm_install_kick_handler(0), 0);
	ck_assert_int_eq(vmm_vcpu_attach(vcpu, 0), 0);
	ck_assert_int_eq(vmm_vcpu_run(vcpu, &exit), 0);
	ck_assert_int_eq(exit.reason, VMM_EXIT_PIO_WRITE);
	ck_assert(vmm_bus_write(bus, exit.address, exit.data, exit.length_bytes));
	ck_assert_uint_eq(n_resets, 1);
	/* Whoever does not stop it then finds it halted. */
	ck_assert_int_eq(vmm_vcpu_run(vcpu, &exit), 0);
	ck_assert_int_eq(exit.reason, VMM_EXIT_HLT);
	vmm_vcpu_detach(vcpu);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("reset-vector");
	TCase *tcase = unit_case(suite, "reset-vector");

	guest_need_kvm();
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, firmware_entry_in_real_mode_resets);
	return unit_run(suite);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* build: the phases that make the VM itself: memory, KVM, tables, kernel. See machine.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <vmmcore/smbios.h>

#include "base/util.h"
#include "worker/machine.h"

static void say(struct machine *machine, const char *format, va_list arguments)
{
	vsnprintf(machine->failure, sizeof(machine->failure), format, arguments);
}

int machine_fail_config(struct machine *machine, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(machine, format, arguments);
	va_end(arguments);
	return VMM_WORKER_EXIT_CONFIG;
}

int machine_fail_host(struct machine *machine, int error, const char *format, ...)
{
	va_list arguments;
	size_t length;

	va_start(arguments, format);
	say(machine, format, arguments);
	va_end(arguments);
	length = strlen(machine->failure);
	snprintf(machine->failure + length, sizeof(machine->failure) - length, ": %s",
		error == -VMM_EGUEST ? "outside of guest memory" : strerror(-error));
	return VMM_WORKER_EXIT_FAILURE;
}

int machine_fd(const struct machine *machine, uint32_t index)
{
	/* vmm_spec_check() compared each index with n_fds. */
	return index == 0 ? -EBADF : machine->handover.fds[index];
}

int machine_take_fd(struct machine *machine, uint32_t index)
{
	return index == 0 ? -EBADF : TAKE_FD(machine->handover.fds[index]);
}

int machine_check_support(struct machine *machine)
{
	const struct vmm_spec *spec = machine->spec;

	if ((spec->flags & VMM_SPEC_WATCHDOG) && spec->transport != VMM_TRANSPORT_PCI)
		return machine_fail_config(machine, "watchdog: it is a PCI device");
	if (spec->n_cpus > VMM_ACPI_MAX_CPUS)
		return machine_fail_config(
			machine, "CPUs: %u are more than %u", spec->n_cpus, VMM_ACPI_MAX_CPUS);
	return 0;
}

int machine_read_credentials(struct machine *machine)
{
	struct credentials *credentials = &machine->credentials;
	char notify[40];
	int r;

	snprintf(notify, sizeof(notify), "vsock-stream:2:%u", GUEST_NOTIFY_PORT);

	r = credentials_read(credentials, getenv("CREDENTIALS_DIRECTORY"), machine->failure,
		sizeof(machine->failure));
	if (r < 0)
		return VMM_WORKER_EXIT_CONFIG;
	/* What a guest without a name of its own is called, from systemd 254 on. */
	if (!credentials_has(credentials, "system.hostname"))
		r = credentials_add(
			credentials, "system.hostname", machine->name, strlen(machine->name));
	/* Where its systemd, from 253 on, says how it is doing. */
	if (r >= 0 && machine->spec->vsock_cid != 0 && machine->spec->vsock_vhost_fd == 0 &&
		!credentials_has(credentials, "vmm.notify_socket"))
		r = credentials_add(credentials, "vmm.notify_socket", notify, strlen(notify));
	return r < 0 ? machine_fail_host(machine, r, "credentials") : 0;
}

static int check_host_memory(struct machine *machine)
{
	struct sysinfo info;
	uint64_t total_bytes;

	if (sysinfo(&info) < 0)
		return machine_fail_host(machine, -errno, "memory: asking for the host's");
	total_bytes = ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
	if (machine->spec->memory_bytes > total_bytes)
		return machine_fail_config(machine,
			"memory: %llu MiB are more than the host's %llu MiB",
			(unsigned long long)machine->spec->memory_bytes >> 20,
			(unsigned long long)total_bytes >> 20);
	return 0;
}

static int add_region(struct machine *machine, uint64_t gpa, uint64_t size_bytes)
{
	const struct vmm_spec *spec = machine->spec;
	struct vmm_mem_config config = {
		.gpa = gpa,
		.size_bytes = size_bytes,
		.backing = spec->flags & VMM_SPEC_SHARED_MEMORY ? VMM_MEM_MEMFD : VMM_MEM_ANONYMOUS,
		.huge_page_bytes = spec->huge_page_bytes,
		.transparent_huge = spec->flags & VMM_SPEC_TRANSPARENT_HUGE,
		.prefault = (spec->flags & VMM_SPEC_PREFAULT) &&
			    (gpa == 0 || gpa != machine->hotplug_gpa),
	};
	int r;

	r = vmm_mem_add(machine->mem, &config);
	if (r == -ENOMEM && (config.prefault || config.huge_page_bytes != 0))
		return machine_fail_config(machine,
			"memory: the host has not %llu MiB of %spages free",
			(unsigned long long)size_bytes >> 20,
			config.huge_page_bytes ? "huge " : "");
	if (r < 0)
		return machine_fail_host(machine, r, "memory: mapping %llu MiB",
			(unsigned long long)size_bytes >> 20);
	return 0;
}

/* Behind all that is, or may become, RAM. */
static int add_pmem(struct machine *machine, uint64_t end_gpa)
{
	uint64_t gpa = ALIGN_UP(MAX(end_gpa, machine->hotplug_gpa + machine->spec->hotplug_bytes),
		MACHINE_HOTPLUG_ALIGNMENT);
	int r;

	for (uint32_t i = 0; i < machine->spec->n_drives; i++) {
		const struct vmm_loader_range *range = &machine->pmem[machine->n_pmem];

		if (!(machine->spec->drives[i].flags & VMM_DRIVE_PMEM))
			continue;
		r = machine_map_pmem(machine, &machine->spec->drives[i], gpa);
		if (r != 0)
			return r;
		gpa = ALIGN_UP(range->gpa + range->size_bytes, MACHINE_HOTPLUG_ALIGNMENT);
	}
	return 0;
}

int machine_add_memory(struct machine *machine)
{
	uint64_t low_bytes = MIN(machine->spec->memory_bytes, VMM_LAYOUT_GAP_GPA);
	uint64_t high_bytes = machine->spec->memory_bytes - low_bytes;
	int r;

	r = check_host_memory(machine);
	if (r != 0)
		return r;
	r = vmm_mem_new(&machine->mem);
	if (r < 0)
		return machine_fail_host(machine, r, "memory");
	if (machine->spec->flags & VMM_SPEC_PREFAULT)
		notify_send(&machine->notify, "EXTEND_TIMEOUT_USEC=300000000");
	r = add_region(machine, 0, low_bytes);
	if (r == 0 && high_bytes > 0)
		r = add_region(machine, VMM_LAYOUT_HIGH_RAM_GPA, high_bytes);
	if (r == 0 && machine->spec->hotplug_bytes > 0) {
		machine->hotplug_gpa =
			ALIGN_UP(VMM_LAYOUT_HIGH_RAM_GPA + high_bytes, MACHINE_HOTPLUG_ALIGNMENT);
		r = add_region(machine, machine->hotplug_gpa, machine->spec->hotplug_bytes);
	}
	return r != 0 ? r : add_pmem(machine, VMM_LAYOUT_HIGH_RAM_GPA + high_bytes);
}

/* Slots before the interrupt controllers and vCPUs: then KVM waits for nobody. */
static int add_slots(struct machine *machine)
{
	struct vmm_mem_region region;
	int r;

	for (size_t i = 0; i < vmm_mem_n_regions(machine->mem); i++) {
		r = vmm_mem_get_region(machine->mem, i, &region);
		if (r < 0)
			return r;
		r = vmm_vm_set_memory(machine->vm, &(struct vmm_vm_memory){
							   .slot = i,
							   .gpa = region.gpa,
							   .size_bytes = region.size_bytes,
							   .host = region.host,
							   .read_only = region.read_only,
						   });
		if (r < 0)
			return r;
	}
	return 0;
}

int machine_create_vm(struct machine *machine)
{
	const char *missing;
	int r;

	r = vmm_kvm_new(machine_fd(machine, machine->spec->kvm_fd), &machine->kvm, &missing);
	if (r == -EOPNOTSUPP && missing)
		return machine_fail_config(machine, "KVM: the host's has no %s", missing);
	if (r == -ENOTTY || r == -ENODEV)
		return machine_fail_config(machine, "KVM: the descriptor is not /dev/kvm");
	if (r < 0)
		return machine_fail_host(machine, r, "KVM");
	if (machine->spec->n_cpus > vmm_kvm_max_vcpus(machine->kvm))
		return machine_fail_config(machine, "CPUs: %u are more than KVM's %u",
			machine->spec->n_cpus, vmm_kvm_max_vcpus(machine->kvm));
	r = vmm_vm_new(machine->kvm, NULL, &machine->vm);
	if (r < 0)
		return machine_fail_host(machine, r, "KVM: creating the VM");
	r = add_slots(machine);
	if (r < 0)
		return machine_fail_host(machine, r, "KVM: adding the memory");
	r = vmm_vm_create_irqchip(machine->vm, false);
	if (r < 0)
		return machine_fail_host(machine, r, "KVM: creating the interrupt controllers");
	return 0;
}

static int write_smbios(struct machine *machine)
{
	static const uint8_t no_uuid[16];
	struct vmm_smbios_config config = {
		.n_cpus = machine->spec->n_cpus,
		.memory_bytes = machine->spec->memory_bytes,
		.uuid_set = memcmp(machine->spec->uuid, no_uuid, sizeof(no_uuid)) != 0,
	};
	struct vmm_smbios_tables tables;
	int r;

	memcpy(config.uuid, machine->spec->uuid, sizeof(config.uuid));
	config.oem_strings = (const char *const *)machine->credentials.strings;
	config.n_oem_strings = machine->credentials.n_strings;
	r = vmm_smbios_build(machine->mem, &config, &tables);
	/* The guest has them now, the worker needs them no more. */
	credentials_finish(&machine->credentials);
	return r;
}

/* A start is a new generation: whatever state the disks are in, its randomness is its own. */
static int write_generation(struct machine *machine)
{
	int r;

	r = vmm_vmgenid_write(machine->mem, MACHINE_VMGENID_GPA, NULL);
	return r < 0 ? r
		     : vmm_vmclock_new(&(struct vmm_vmclock_config){ .mem = machine->mem,
					       .gpa = MACHINE_VMCLOCK_GPA },
			       &machine->vmclock);
}

int machine_write_tables(struct machine *machine)
{
	const struct vmm_acpi_serial serial = {
		.port = VMM_SERIAL_COM1_PORT,
		.gsi = VMM_SERIAL_COM1_GSI,
	};
	struct vmm_acpi_pci pci = {
		.ecam_gpa = MACHINE_ECAM_GPA,
		.mmio32_gpa = MACHINE_PCI_WINDOW_GPA,
		.mmio32_size_bytes = MACHINE_PCI_WINDOW_BYTES,
	};
	struct vmm_acpi_virtio_mmio mmio[MACHINE_MAX_VIRTIO];
	struct vmm_acpi_config config = {
		.n_cpus = machine->spec->n_cpus,
		.ged_port = VMM_GED_PORT,
		.ged_gsi = VMM_GED_GSI,
		.serials = &serial,
		.n_serials = 1,
		.virtio_mmio = mmio,
		.pci = machine->pci ? &pci : NULL,
		.pvpanic_port = VMM_PVPANIC_PORT,
		.rtc = true,
		.i8042 = true,
		.vmgenid_gpa = MACHINE_VMGENID_GPA,
		.vmclock_gpa = MACHINE_VMCLOCK_GPA,
	};
	struct vmm_acpi_tables tables;
	int r;

	if (machine->pci) {
		pci.hotplug_slots = hotplug_slots(machine);
		r = hotplug_register(machine);
		if (r < 0)
			return machine_fail_host(machine, r, "slots that can be plugged");
	}
	r = write_generation(machine);
	if (r < 0)
		return machine_fail_host(machine, r, "writing the generation");

	for (size_t i = 0; i < machine->n_virtio; i++) {
		const struct machine_virtio *virtio = &machine->virtio[i];

		if (!virtio->mmio)
			continue;
		mmio[config.n_virtio_mmio++] = (struct vmm_acpi_virtio_mmio){
			.base_gpa = virtio->mmio_gpa,
			.size_bytes = VMM_VIRTIO_MMIO_BYTES,
			.gsi = virtio->gsi,
		};
	}
	r = vmm_acpi_build(machine->mem, &config, &tables);
	if (r < 0)
		return machine_fail_host(machine, r, "writing the ACPI tables");
	machine->rsdp_gpa = tables.rsdp_gpa;
	r = write_smbios(machine);
	if (r < 0)
		return machine_fail_host(machine, r, "writing the SMBIOS tables");
	return 0;
}

/* The loader names what is wrong in a kernel's file; what file that is, only the caller knows. */
static const char *loader_prefix(const char *text)
{
	static const char *const complete[] = { "initrd", "command line", "kernel" };

	for (size_t i = 0; i < ARRAY_SIZE(complete); i++)
		if (strncmp(text, complete[i], strlen(complete[i])) == 0)
			return "";
	return "kernel: ";
}

/* What the guest's memory map says beside its RAM, or does not say. */
static size_t collect_ranges(
	const struct machine *machine, struct vmm_loader_range ranges[2 + VMM_SPEC_MAX_PMEM])
{
	size_t n = 0;

	if (machine->pci)
		ranges[n++] = (struct vmm_loader_range){
			.gpa = MACHINE_ECAM_GPA,
			.size_bytes = VMM_PCI_ECAM_BYTES,
			.type = VMM_LOADER_RESERVED,
		};
	if (machine->spec->hotplug_bytes > 0)
		ranges[n++] = (struct vmm_loader_range){
			.gpa = machine->hotplug_gpa,
			.size_bytes = machine->spec->hotplug_bytes,
			.type = VMM_LOADER_LEFT_OUT,
		};
	for (size_t i = 0; i < machine->n_pmem; i++)
		ranges[n++] = machine->pmem[i];
	return n;
}

int machine_load_kernel(struct machine *machine)
{
	const struct vmm_spec *spec = machine->spec;
	struct vmm_loader_range ranges[2 + VMM_SPEC_MAX_PMEM];
	struct vmm_loader_config config = {
		.kernel_fd = machine_fd(machine, spec->kernel_fd),
		.has_initrd = spec->initrd_fd != 0,
		.initrd_fd = machine_fd(machine, spec->initrd_fd),
		.cmdline = spec->command_line,
		.rsdp_gpa = machine->rsdp_gpa,
		.reserved = ranges,
		.n_reserved = collect_ranges(machine, ranges),
	};
	struct vmm_loader_result result;
	struct vmm_loader_error error;
	int r;

	r = vmm_loader_load(machine->mem, &config, &result, &error);
	switch (r) {
	case 0:
		machine->entry = result.entry;
		return 0;
	case -ENOEXEC:
	case -ERANGE:
	case -EINVAL:
	case -E2BIG:
		return machine_fail_config(machine, "%s%s", loader_prefix(error.text), error.text);
	default:
		return machine_fail_host(machine, r, "%s%s", loader_prefix(error.text), error.text);
	}
}

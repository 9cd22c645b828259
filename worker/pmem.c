/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * pmem: drives that the guest sees as persistent memory: their file is mapped behind its RAM, and a
 * virtio-pmem device carries out its flushes.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/util.h"
#include "worker/machine.h"

static int enter_thread(void *userdata)
{
	struct machine_virtio *virtio = userdata;
	char name[16];

	snprintf(name, sizeof(name), "io %.12s", virtio->id);
	prctl(PR_SET_NAME, name);
	return sandbox_enter_thread(&virtio->machine->sandbox, SANDBOX_IO);
}

int machine_map_pmem(struct machine *machine, const struct vmm_spec_drive *drive, uint64_t gpa)
{
	struct vmm_mem_config config = {
		.gpa = gpa,
		.backing = VMM_MEM_FILE,
		.fd = machine_fd(machine, drive->fd),
	};
	struct stat status;
	int r;

	if (fstat(config.fd, &status) < 0)
		return machine_fail_host(machine, -errno, "drive %s", drive->id);
	if (!S_ISREG(status.st_mode))
		return machine_fail_config(
			machine, "drive %s: persistent memory is a regular file", drive->id);
	if (status.st_size <= 0 || !IS_ALIGNED((uint64_t)status.st_size, VMM_PMEM_ALIGNMENT) ||
		(uint64_t)status.st_size > VMM_SPEC_MAX_MEMORY_BYTES)
		return machine_fail_config(machine,
			"drive %s: persistent memory is whole 2 MiB, and its file has %lld bytes",
			drive->id, (long long)status.st_size);
	config.size_bytes = (uint64_t)status.st_size;
	r = vmm_mem_add(machine->mem, &config);
	if (r == -EACCES)
		return machine_fail_config(
			machine, "drive %s: is not open for reading and writing", drive->id);
	if (r < 0)
		return machine_fail_host(machine, r, "drive %s: mapping it", drive->id);
	machine->pmem[machine->n_pmem++] = (struct vmm_loader_range){
		.gpa = gpa,
		.size_bytes = config.size_bytes,
		.type = VMM_LOADER_LEFT_OUT,
	};
	return 0;
}

int machine_add_pmem(struct machine *machine, const struct vmm_spec_drive *drive,
	const struct vmm_loader_range *range)
{
	struct machine_virtio *virtio = machine_new_virtio(machine, drive->id);
	struct vmm_virtio_pmem_config config = {
		.mem = machine->mem,
		.gpa = range->gpa,
		.thread_start = enter_thread,
		.userdata = virtio,
	};
	int r;

	virtio->kind = VMM_DEVICE_DRIVE;
	virtio->drive = drive;
	virtio->pmem_bytes = range->size_bytes;
	r = vmm_virtio_pmem_new(&config, &virtio->pmem);
	if (r < 0)
		return machine_fail_host(machine, r, "drive %s", drive->id);
	virtio->device = vmm_virtio_pmem_device(virtio->pmem);
	return machine_add_transport(machine, virtio);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio: the virtio devices of a machine, each on its transport, and what binds them to KVM. */
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include "base/util.h"
#include "worker/machine.h"

/* IOAPIC pins that nothing else uses: edges cannot be shared, so this is how many fit. */
static const uint8_t mmio_gsis[] = { 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
	23 };

/* ---- KVM behind the transports; see virtio.h and pci.h for the threads ---- */

static int doorbell_bind(void *userdata, const struct vmm_virtio_doorbell *doorbell)
{
	struct machine *machine = userdata;

	return vmm_vm_ioeventfd_assign(machine->vm, &(struct vmm_vm_ioeventfd){
							    .fd = doorbell->fd,
							    .address = doorbell->gpa,
							    .length_bytes = doorbell->length,
							    .has_datamatch = doorbell->has_match,
							    .datamatch = doorbell->match,
						    });
}

static void doorbell_unbind(void *userdata, const struct vmm_virtio_doorbell *doorbell)
{
	struct machine *machine = userdata;

	vmm_vm_ioeventfd_deassign(machine->vm, &(struct vmm_vm_ioeventfd){
						       .fd = doorbell->fd,
						       .address = doorbell->gpa,
						       .length_bytes = doorbell->length,
						       .has_datamatch = doorbell->has_match,
						       .datamatch = doorbell->match,
					       });
}

static int msi_set_route(
	void *userdata, unsigned int vector, int fd, const struct vmm_msi_message *message)
{
	struct machine *machine = userdata;

	if (!message)
		return vmm_vm_msi_unbind(machine->vm, fd);
	return vmm_vm_msi_bind(machine->vm, fd, message->address, message->data);
}

static const struct vmm_virtio_doorbell_ops doorbell_ops = {
	.bind = doorbell_bind,
	.unbind = doorbell_unbind,
};
static const struct vmm_msi_ops msi_ops = { .set_route = msi_set_route };

static int add_mmio(struct machine *machine, struct machine_virtio *virtio, size_t index)
{
	int r;

	if (index >= ARRAY_SIZE(mmio_gsis))
		return machine_fail_config(machine,
			"%s: the MMIO transport has room for %zu devices only", virtio->id,
			ARRAY_SIZE(mmio_gsis));
	virtio->gsi = mmio_gsis[index];
	virtio->mmio_gpa = MACHINE_MMIO_GPA + index * VMM_VIRTIO_MMIO_BYTES;
	virtio->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (virtio->irq_fd < 0)
		return machine_fail_host(machine, -errno, "%s: interrupt", virtio->id);
	r = vmm_vm_irqfd_assign(machine->vm, virtio->irq_fd, virtio->gsi);
	if (r < 0)
		return machine_fail_host(machine, r, "%s: interrupt", virtio->id);
	r = vmm_virtio_mmio_new(virtio->device,
		&(struct vmm_virtio_mmio_config){
			.bus = machine->mmio,
			.gpa = virtio->mmio_gpa,
			.irq_fd = virtio->irq_fd,
			.doorbell_ops = &doorbell_ops,
			.userdata = machine,
		},
		&virtio->mmio);
	return r < 0 ? machine_fail_host(machine, r, "%s: MMIO transport", virtio->id) : 0;
}

int machine_add_transport(struct machine *machine, struct machine_virtio *virtio)
{
	size_t index = (size_t)(virtio - machine->virtio);
	int r;

	vmm_virtio_set_failed(virtio->device, machine_device_broken, virtio);
	if (machine->spec->flags & VMM_SPEC_SPLIT_RINGS)
		vmm_virtio_withhold(virtio->device, VMM_VIRTIO_F_RING_PACKED);
	if (!machine->pci)
		return add_mmio(machine, virtio, index);
	r = vmm_virtio_pci_new(virtio->device,
		&(struct vmm_virtio_pci_config){
			.bus = machine->pci,
			.slot = VMM_PCI_SLOT_ANY,
			.msi = { .ops = &msi_ops, .userdata = machine },
			.doorbell_ops = &doorbell_ops,
			.userdata = machine,
		},
		&virtio->pci);
	if (r == -ENOSPC)
		return machine_fail_config(machine, "%s: the PCI bus is full", virtio->id);
	return r < 0 ? machine_fail_host(machine, r, "%s: PCI transport", virtio->id) : 0;
}

struct machine_virtio *machine_new_virtio(struct machine *machine, const char *id)
{
	struct machine_virtio *virtio = NULL;

	/* The builder looks at orders of all of them. */
	pthread_mutex_lock(&machine->hotplug.lock);
	for (size_t i = 0; i < machine->n_virtio && !virtio; i++)
		if (machine->virtio[i].plug.state == HOTPLUG_FREE)
			virtio = &machine->virtio[i];
	if (!virtio && machine->n_virtio < ARRAY_SIZE(machine->virtio))
		virtio = &machine->virtio[machine->n_virtio++];
	if (virtio) {
		*virtio = (struct machine_virtio){
			.machine = machine,
			.irq_fd = -EBADF,
			.plug.state = HOTPLUG_PRESENT,
		};
		snprintf(virtio->id, sizeof(virtio->id), "%s", id);
	}
	pthread_mutex_unlock(&machine->hotplug.lock);
	return virtio;
}

bool machine_virtio_is_live(const struct machine_virtio *virtio)
{
	return virtio->plug.state == HOTPLUG_PRESENT || virtio->plug.state == HOTPLUG_LEAVING;
}

/* ---- block ---- */

static int enter_io_thread(void *userdata, enum vmm_blk_thread_kind kind)
{
	struct machine_virtio *virtio = userdata;
	char name[16];

	snprintf(name, sizeof(name), "io %.12s", virtio->id);
	prctl(PR_SET_NAME, name);
	return sandbox_enter_thread(&virtio->machine->sandbox, SANDBOX_IO);
}

static struct vmm_ratelimit_bucket_config make_bucket(const struct vmm_spec_bucket *bucket)
{
	return (struct vmm_ratelimit_bucket_config){
		.rate = bucket->rate_per_second,
		.burst = bucket->burst,
		.one_time_burst = bucket->one_time_burst,
	};
}

struct vmm_ratelimit_config machine_limits(const struct vmm_spec_rate *rate)
{
	return (struct vmm_ratelimit_config){
		.ops = make_bucket(&rate->ops),
		.bytes = make_bucket(&rate->bytes),
	};
}

/* What a file can be wrong in is for the administrator to put right. */
static int fail_drive(struct machine *machine, const char *id, int r)
{
	switch (r) {
	case -EISDIR:
		return machine_fail_config(machine, "drive %s: is a directory", id);
	case -ENOTBLK:
		return machine_fail_config(
			machine, "drive %s: is neither a regular file nor a block device", id);
	case -EROFS:
		return machine_fail_config(machine, "drive %s: is not open for writing", id);
	case -EACCES:
		return machine_fail_config(machine, "drive %s: is not open for reading", id);
	case -ENODATA:
		return machine_fail_config(machine, "drive %s: is empty", id);
	case -EDOM:
		return machine_fail_config(
			machine, "drive %s: its size is no multiple of its blocks", id);
	default:
		return machine_fail_host(machine, r, "drive %s", id);
	}
}

int machine_build_drive(
	struct machine_virtio *virtio, const struct vmm_spec_drive *drive, int fd, bool later)
{
	static const enum vmm_blk_engine engines[VMM_ENGINE_COUNT] = {
		[VMM_ENGINE_AUTO] = VMM_BLK_ENGINE_AUTO,
		[VMM_ENGINE_THREADS] = VMM_BLK_ENGINE_THREADS,
		[VMM_ENGINE_IO_URING] = VMM_BLK_ENGINE_IO_URING,
	};
	struct machine *machine = virtio->machine;
	struct vmm_blk_thread_hook hook = { .start = enter_io_thread, .userdata = virtio };
	struct vmm_blk_file_config file_config = {
		.fd = fd,
		.read_only = drive->flags & VMM_DRIVE_READ_ONLY,
		/* A ring cannot be made any more, see hotplug.h. */
		.engine = later ? VMM_BLK_ENGINE_THREADS : engines[drive->engine],
		.hook = hook,
	};
	struct vmm_virtio_blk_config blk_config = {
		.mem = machine->mem,
		.read_only = drive->flags & VMM_DRIVE_READ_ONLY,
		.write_through = drive->cache == VMM_CACHE_WRITE_THROUGH,
		.no_discard = !(drive->flags & VMM_DRIVE_DISCARD),
		.logical_block_bytes = drive->block_bytes,
		.n_queues = drive->n_queues,
		.queue_size = drive->queue_size,
		.limits = machine_limits(&drive->rate),
		.hook = hook,
		.failed = machine_drive_failed,
		.failed_userdata = virtio,
	};
	int r;

	virtio->kind = VMM_DEVICE_DRIVE;
	virtio->drive = drive;
	virtio->rate[0] = drive->rate;
	snprintf(blk_config.serial, sizeof(blk_config.serial), "%.20s",
		drive->serial[0] ? drive->serial : drive->id);
	r = vmm_blk_file_new(&file_config, &virtio->file);
	if (r < 0)
		return fail_drive(machine, drive->id, r);
	blk_config.backend = vmm_blk_file_backend(virtio->file);
	if (drive->cache == VMM_CACHE_UNSAFE)
		blk_config.backend = unsafe_wrap(&virtio->unsafe, blk_config.backend);
	r = vmm_virtio_blk_new(&blk_config, &virtio->blk);
	if (r < 0)
		return fail_drive(machine, drive->id, r);
	virtio->device = vmm_virtio_blk_device(virtio->blk);
	return machine_add_transport(machine, virtio);
}

static int add_drive(struct machine *machine, const struct vmm_spec_drive *drive)
{
	struct machine_virtio *virtio = machine_new_virtio(machine, drive->id);
	/* The device makes a copy: when that is closed, the file is free for others. */
	CLEANUP(close_p) int fd = machine_take_fd(machine, drive->fd);

	return machine_build_drive(virtio, drive, fd, false);
}

/* ---- what the machine's loop serves ---- */

static int on_kick(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct machine_queue *queue = userdata;

	vmm_virtio_process(queue->virtio->device, queue->index);
	return 0;
}

int machine_serve_queues(struct machine_virtio *virtio)
{
	unsigned int n = vmm_virtio_n_queues(virtio->device);
	int r = 0;

	assert(n <= ARRAY_SIZE(virtio->queues));
	for (unsigned int i = 0; r == 0 && i < n; i++) {
		struct machine_queue *queue = &virtio->queues[i];

		*queue = (struct machine_queue){ .virtio = virtio, .index = i };
		r = vmm_loop_add_fd(virtio->machine->loop, vmm_virtio_kick_fd(virtio->device, i),
			EPOLLIN, on_kick, queue, &queue->source);
	}
	return r;
}

/* ---- entropy ---- */

static int on_rng_due(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct machine_virtio *virtio = userdata;

	vmm_virtio_rng_process(virtio->rng);
	return 0;
}

static int add_rng(struct machine *machine)
{
	struct machine_virtio *virtio = machine_new_virtio(machine, "rng");
	struct vmm_virtio_rng_config config = {
		.mem = machine->mem,
		.limits = machine_limits(&machine->spec->rng_rate),
	};
	int r;

	r = vmm_virtio_rng_new(&config, &virtio->rng);
	if (r < 0)
		return machine_fail_host(machine, r, "rng");
	virtio->device = vmm_virtio_rng_device(virtio->rng);
	r = machine_serve_queues(virtio);
	if (r == 0)
		r = vmm_loop_add_fd(machine->loop, vmm_virtio_rng_fd(virtio->rng), EPOLLIN,
			on_rng_due, virtio, &virtio->due);
	return r < 0 ? machine_fail_host(machine, r, "rng")
		     : machine_add_transport(machine, virtio);
}

int machine_add_virtio(struct machine *machine)
{
	int r;

	r = backend_start(machine);
	if (r != 0)
		return r;
	for (uint32_t i = 0, n_pmem = 0; i < machine->spec->n_drives; i++) {
		const struct vmm_spec_drive *drive = &machine->spec->drives[i];

		if (drive->flags & VMM_DRIVE_PMEM)
			r = machine_add_pmem(machine, drive, &machine->pmem[n_pmem++]);
		else if (drive->flags & VMM_DRIVE_VHOST_USER)
			r = backend_add_drive(machine, drive, &machine->spec->drive_backends[i]);
		else
			r = add_drive(machine, drive);
		if (r != 0)
			return r;
	}
	for (uint32_t i = 0; i < machine->spec->n_networks; i++) {
		const struct vmm_spec_network *network = &machine->spec->networks[i];
		const struct vmm_spec_backend *backend = &machine->spec->network_backends[i];

		if (backend->fd != 0 || network->vhost_fds[0] != 0)
			r = backend_add_network(machine, network, backend);
		else
			r = machine_add_network(machine, network);
		if (r != 0)
			return r;
	}
	for (uint32_t i = 0; i < machine->spec->n_shares; i++) {
		r = backend_add_share(machine, &machine->spec->shares[i]);
		if (r != 0)
			return r;
	}
	if (machine->spec->flags & VMM_SPEC_RNG) {
		r = add_rng(machine);
		if (r != 0)
			return r;
	}
	if (machine->spec->flags & VMM_SPEC_VIRTIO_CONSOLE) {
		r = machine_add_console(machine);
		if (r != 0)
			return r;
	}
	r = memory_add_devices(machine);
	if (r != 0)
		return r;
	if (machine->spec->vsock_vhost_fd != 0)
		return backend_add_vsock(machine);
	return machine->spec->vsock_cid != 0 ? vsock_add(machine) : 0;
}

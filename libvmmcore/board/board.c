/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* board: the VM and its memory, interrupt lines and messages, doorbells. */
#include "board/board-internal.h"

#include <sys/eventfd.h>

struct vmm_board *vmm_board_free(struct vmm_board *board)
{
	if (!board)
		return NULL;
	vmm_board_stop(board);
	for (uint32_t i = 0; i < board->n_vcpus; i++)
		vmm_vcpu_free(board->vcpus[i].vcpu);
	vmm_vm_free(board->vm);
	for (size_t i = 0; i < ARRAY_SIZE(board->lines); i++)
		vmm_base_close(board->lines[i].fd);
	vmm_bus_free(board->pio);
	vmm_bus_free(board->mmio);
	pthread_mutex_destroy(&board->lines_lock);
	free(board->vcpus);
	free(board);
	return NULL;
}

DEFINE_POINTER_CLEANUP(struct vmm_board, vmm_board_free);

static int map_memory(struct vmm_board *board, struct vmm_mem *mem)
{
	for (uint32_t i = 0; i < vmm_mem_n_regions(mem); i++) {
		struct vmm_vm_memory slot = { .slot = i };
		struct vmm_mem_region region;
		int r;

		r = vmm_mem_get_region(mem, i, &region);
		if (r < 0)
			return r;
		slot.gpa = region.gpa;
		slot.size_bytes = region.size_bytes;
		slot.host = region.host;
		slot.read_only = region.read_only;
		r = vmm_vm_set_memory(board->vm, &slot);
		if (r < 0)
			return r;
	}
	return 0;
}

static int make_vm(struct vmm_board *board, const struct vmm_board_config *config)
{
	int r;

	r = vmm_vm_new(config->kvm, NULL, &board->vm);
	if (r < 0)
		return r;
	/* Before interrupt controllers and vCPUs: see kvm.h. */
	r = map_memory(board, config->mem);
	if (r < 0)
		return r;
	r = vmm_vm_create_irqchip(board->vm, false);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < board->n_vcpus; i++) {
		board->vcpus[i].board = board;
		r = vmm_vcpu_new(board->vm, i, &board->vcpus[i].vcpu);
		if (r < 0)
			return r;
	}
	r = vmm_bus_new(&board->pio);
	if (r < 0)
		return r;
	return vmm_bus_new(&board->mmio);
}

int vmm_board_new(const struct vmm_board_config *config, struct vmm_board **ret_board)
{
	CLEANUP(vmm_board_free_p) struct vmm_board *board = NULL;
	int r;

	if (!config->kvm || !config->mem || config->n_vcpus > VMM_VM_MAX_VCPUS)
		return -EINVAL;
	board = malloc(sizeof(*board));
	if (!board)
		return -ENOMEM;
	*board = (struct vmm_board){
		.config = *config,
		.lines_lock = PTHREAD_MUTEX_INITIALIZER,
	};
	for (size_t i = 0; i < ARRAY_SIZE(board->lines); i++)
		board->lines[i].fd = -EBADF;
	board->n_vcpus = config->n_vcpus ? config->n_vcpus : 1;
	board->vcpus = calloc(board->n_vcpus, sizeof(board->vcpus[0]));
	if (!board->vcpus) {
		board->n_vcpus = 0;
		return -ENOMEM;
	}
	r = make_vm(board, config);
	if (r < 0)
		return r;
	*ret_board = TAKE_PTR(board);
	return 0;
}

struct vmm_vm *vmm_board_vm(struct vmm_board *board)
{
	return board->vm;
}

struct vmm_bus *vmm_board_pio(struct vmm_board *board)
{
	return board->pio;
}

struct vmm_bus *vmm_board_mmio(struct vmm_board *board)
{
	return board->mmio;
}

static int open_line_locked(struct vmm_board *board, uint32_t gsi)
{
	CLEANUP(close_p) int fd = -EBADF;
	int r;

	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	r = vmm_vm_irqfd_assign(board->vm, fd, gsi);
	if (r < 0)
		return r;
	board->lines[gsi].fd = TAKE_FD(fd);
	vmm_irq_eventfd_init(&board->lines[gsi], board->lines[gsi].fd);
	return board->lines[gsi].fd;
}

int vmm_board_irq_fd(struct vmm_board *board, uint32_t gsi)
{
	int fd;

	if (gsi >= ARRAY_SIZE(board->lines))
		return -EINVAL;
	pthread_mutex_lock(&board->lines_lock);
	fd = board->lines[gsi].fd;
	if (fd < 0)
		fd = open_line_locked(board, gsi);
	pthread_mutex_unlock(&board->lines_lock);
	return fd;
}

int vmm_board_irq(struct vmm_board *board, uint32_t gsi, struct vmm_irq *ret_irq)
{
	int fd = vmm_board_irq_fd(board, gsi);

	if (fd < 0)
		return fd;
	*ret_irq = vmm_irq_eventfd_line(&board->lines[gsi]);
	return 0;
}

static int set_route(
	void *userdata, unsigned int vector, int fd, const struct vmm_msi_message *message)
{
	struct vmm_board *board = userdata;

	if (!message)
		return vmm_vm_msi_unbind(board->vm, fd);
	return vmm_vm_msi_bind(board->vm, fd, message->address, message->data);
}

struct vmm_msi vmm_board_msi(struct vmm_board *board)
{
	static const struct vmm_msi_ops ops = { .set_route = set_route };

	return (struct vmm_msi){ &ops, board };
}

static struct vmm_vm_ioeventfd ioeventfd_of(const struct vmm_virtio_doorbell *doorbell)
{
	return (struct vmm_vm_ioeventfd){
		.fd = doorbell->fd,
		.address = doorbell->gpa,
		.length_bytes = doorbell->length,
		.has_datamatch = doorbell->has_match,
		.datamatch = doorbell->match,
	};
}

static int bind_doorbell(void *userdata, const struct vmm_virtio_doorbell *doorbell)
{
	struct vmm_vm_ioeventfd what = ioeventfd_of(doorbell);
	struct vmm_board *board = userdata;

	return vmm_vm_ioeventfd_assign(board->vm, &what);
}

static void unbind_doorbell(void *userdata, const struct vmm_virtio_doorbell *doorbell)
{
	struct vmm_vm_ioeventfd what = ioeventfd_of(doorbell);
	struct vmm_board *board = userdata;

	vmm_vm_ioeventfd_deassign(board->vm, &what);
}

const struct vmm_virtio_doorbell_ops *vmm_board_doorbells(void)
{
	static const struct vmm_virtio_doorbell_ops ops = {
		.bind = bind_doorbell,
		.unbind = unbind_doorbell,
	};

	return &ops;
}

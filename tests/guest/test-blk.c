/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmmcore/board.h>
#include <vmmcore/virtio-blk.h>

#include "guest.h"
#include "harness.h"
#include "unit/unit.h"

#define DEVICE_GPA 0xd0000000
#define DISK_BYTES (64 * 512)

static _Atomic int status = GUEST_RUNS;

static void write_exit(void *userdata, uint64_t offset, const void *data, size_t length)
{
	status = *(const uint8_t *)data;
}

static struct vmm_board *make_board(struct vmm_kvm *kvm, struct vmm_mem *mem)
{
	static const struct vmm_bus_ops exit_ops = { .write = write_exit };
	static const struct vmm_bus_range exit_range = { PORT_EXIT, 1, &exit_ops, NULL };
	struct vmm_board_config config = { .kvm = kvm, .mem = mem };
	struct vmm_board *board;

	ck_assert_int_eq(vmm_board_new(&config, &board), 0);
	ck_assert_int_eq(vmm_bus_add(vmm_board_pio(board), &exit_range), 0);
	return board;
}

static void start(struct vmm_board *board, struct vmm_mem *mem)
{
	struct vmm_loader_config config = { 0 };
	struct vmm_loader_error error;
	struct vmm_loader_result result;
	char path[4096];
	int r;

	snprintf(path, sizeof(path), "%s/blk.elf", getenv("GUEST_DIR"));
	config.kernel_fd = open(path, O_RDONLY | O_CLOEXEC);
	r = vmm_loader_load(mem, &config, &result, &error);
	ck_assert_msg(r == 0, "%s: %s", path, error.text);
	close(config.kernel_fd);
	ck_assert_int_eq(vmm_board_start(board, &result.entry), 0);
}

/* Kicks are signals in the kernel, or exits where the transport has nobody to bind them. */
START_TEST(guest_drives_a_disk)
{
	bool with_doorbells = _i & 1;
	struct vmm_blk_file_config file_config = {
		.fd = memfd_create("disk", MFD_CLOEXEC),
		.engine = _i & 2 ? VMM_BLK_ENGINE_THREADS : VMM_BLK_ENGINE_AUTO,
	};
	struct vmm_virtio_blk_config config = { .serial = "test" };
	struct vmm_virtio_mmio_config transport_config = { .gpa = DEVICE_GPA };
	struct vmm_virtio_blk_status blk_status;
	struct vmm_virtio_mmio *transport;
	struct vmm_virtio_blk *blk;
	struct vmm_blk_file *file;
	struct vmm_board *board;
	struct vmm_kvm *kvm;
	struct vmm_mem *mem;
	uint8_t found[DISK_BYTES];

	ck_assert_int_eq(ftruncate(file_config.fd, DISK_BYTES), 0);
	ck_assert_int_eq(vmm_kvm_open(NULL, &kvm, NULL), 0);
	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	ck_assert_int_eq(vmm_loader_add_ram(mem, GUEST_MEMORY_BYTES, NULL), 0);
	board = make_board(kvm, mem);
	ck_assert_int_eq(vmm_blk_file_new(&file_config, &file), 0);
	config.mem = mem;
	config.backend = vmm_blk_file_backend(file);
	ck_assert_int_eq(vmm_virtio_blk_new(&config, &blk), 0);
	transport_config.bus = vmm_board_mmio(board);
	transport_config.irq_fd = vmm_board_irq_fd(board, 5);
	transport_config.doorbell_ops = with_doorbells ? vmm_board_doorbells() : NULL;
	transport_config.userdata = board;
	ck_assert_int_eq(
		vmm_virtio_mmio_new(vmm_virtio_blk_device(blk), &transport_config, &transport), 0);

	start(board, mem);
	for (int tries = 0; status == GUEST_RUNS && tries < 20000; tries++)
		usleep(1000);
	ck_assert_int_eq(status, 0);
	vmm_virtio_blk_get_status(blk, &blk_status);
	ck_assert_uint_eq(blk_status.n_writes, 4 * 4);
	ck_assert_uint_ge(blk_status.n_reads, 4 * 4);
	ck_assert_uint_eq(blk_status.n_flushes, 4);
	ck_assert_uint_eq(blk_status.n_failed, 4 * 3);

	vmm_board_stop(board);
	vmm_virtio_mmio_free(transport);
	vmm_virtio_blk_free(blk);
	vmm_blk_file_free(file);
	vmm_board_free(board);
	vmm_mem_free(mem);
	vmm_kvm_free(kvm);

	ck_assert_int_eq(vmm_base_pread_full(file_config.fd, found, sizeof(found), 0), 0);
	for (unsigned int i = 0; i < sizeof(found); i++) {
		unsigned int request = i / 1024, at = i % 1024;

		ck_assert_uint_eq(found[i], request < 4 ? (uint8_t)(request + at * 3) : 0);
	}
	close(file_config.fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("blk");
	TCase *tcase = unit_case(suite, "blk");

	guest_need_kvm();
	tcase_add_loop_test(tcase, guest_drives_a_disk, 0, 4);
	return unit_run(suite);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * tinyvmm KERNEL ROOTFS VCPUS MEMORY [INITRD]: a monitor made of libvmmcore and nothing else. It
 * boots Linux from a virtio disk, its serial console on the terminal, until the guest powers off.
 * MEMORY is in MiB. To build: cc -o tinyvmm tinyvmm.c $(pkg-config --cflags --libs vmmcore)
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

#include <vmmcore/acpi.h>
#include <vmmcore/board.h>
#include <vmmcore/loader.h>
#include <vmmcore/loop.h>
#include <vmmcore/serial.h>
#include <vmmcore/virtio-blk.h>

#define DISK_GPA VMM_LAYOUT_GAP_GPA
#define DISK_GSI 5

static struct vmm_loop *loop;
static struct vmm_serial *serial;
static struct vmm_loop_source *terminal, *room;

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "tinyvmm: %s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

static int check(int r, const char *what)
{
	if (r < 0)
		fail(what, strerror(-r));
	return r;
}

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	return check(fd < 0 ? -errno : fd, path);
}

/* The serial port: output goes out at once, input waits until there is room for it. */
static void write_output(void *userdata, const uint8_t *data, size_t n_bytes)
{
	if (write(STDOUT_FILENO, data, n_bytes) < 0)
		vmm_loop_quit(loop, EXIT_FAILURE);
}

static void has_room(void *userdata)
{
	vmm_loop_event_signal(room);
}

static int listen_again(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	return terminal ? vmm_loop_source_set_events(terminal, EPOLLIN) : 0;
}

static int read_input(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	static uint8_t data[VMM_SERIAL_QUEUE_BYTES];
	size_t n_room = vmm_serial_receive_room(serial);
	ssize_t n = n_room ? read(STDIN_FILENO, data, n_room) : 0;

	if (n_room == 0)
		return vmm_loop_source_set_events(source, 0);
	if (n > 0)
		vmm_serial_receive(serial, data, (size_t)n);
	else
		terminal = vmm_loop_source_free(source);
	return 0;
}

static void make_console(struct vmm_board *board)
{
	static const struct vmm_serial_ops ops = { write_output, has_room };
	struct vmm_serial_config tty = { vmm_board_pio(board), VMM_SERIAL_COM1_PORT, .ops = &ops };

	check(vmm_board_irq(board, VMM_SERIAL_COM1_GSI, &tty.irq), "console");
	check(vmm_serial_new(&tty, &serial), "console");
	check(vmm_loop_add_event(loop, listen_again, NULL, &room), "console");
	/* Input that is a file has no events, and is left alone. */
	vmm_loop_add_fd(loop, STDIN_FILENO, EPOLLIN, read_input, NULL, &terminal);
}

static void make_disk(struct vmm_board *board, struct vmm_mem *mem, const char *path)
{
	struct vmm_blk_file_config file_config = { .fd = open_file(path, O_RDWR) };
	struct vmm_virtio_mmio_config transport_config = { vmm_board_mmio(board), DISK_GPA,
		check(vmm_board_irq_fd(board, DISK_GSI), "disk"), vmm_board_doorbells(), board };
	struct vmm_virtio_blk_config config = { .mem = mem };
	struct vmm_virtio_mmio *transport;
	struct vmm_virtio_blk *disk;
	struct vmm_blk_file *file;

	check(vmm_blk_file_new(&file_config, &file), path);
	config.backend = vmm_blk_file_backend(file);
	check(vmm_virtio_blk_new(&config, &disk), path);
	check(vmm_virtio_mmio_new(vmm_virtio_blk_device(disk), &transport_config, &transport),
		"disk");
}

static void guest_ended(void *userdata)
{
	vmm_loop_quit(loop, EXIT_SUCCESS);
}

/* What the guest finds by ACPI, and its way to say that it powers off. */
static void make_tables(struct vmm_board *board, struct vmm_mem *mem, unsigned int n_vcpus)
{
	static const struct vmm_ged_ops ops = { .power_off = guest_ended, .reset = guest_ended };
	struct vmm_acpi_serial com1 = { VMM_SERIAL_COM1_PORT, VMM_SERIAL_COM1_GSI };
	struct vmm_acpi_virtio_mmio disk = { DISK_GPA, VMM_VIRTIO_MMIO_BYTES, DISK_GSI };
	struct vmm_acpi_config config = { .n_cpus = n_vcpus, .ged_port = VMM_GED_PORT };
	struct vmm_ged_config ged_config = { .bus = vmm_board_pio(board), .ops = &ops };
	struct vmm_acpi_tables tables;
	struct vmm_ged *ged;

	config.ged_gsi = VMM_GED_GSI;
	config.serials = &com1;
	config.n_serials = 1;
	config.virtio_mmio = &disk;
	config.n_virtio_mmio = 1;
	check(vmm_board_irq(board, VMM_GED_GSI, &ged_config.irq), "power button");
	check(vmm_ged_new(&ged_config, &ged), "power button");
	check(vmm_acpi_build(mem, &config, &tables), "ACPI tables");
}

static struct vmm_x86_entry *load(struct vmm_mem *mem, const char *kernel, const char *initrd)
{
	struct vmm_loader_config config = {
		.kernel_fd = open_file(kernel, O_RDONLY),
		.has_initrd = initrd,
		.initrd_fd = initrd ? open_file(initrd, O_RDONLY) : -1,
		.cmdline = "console=ttyS0 root=/dev/vda rw",
		.rsdp_gpa = VMM_ACPI_TABLES_GPA,
	};
	static struct vmm_loader_result result;
	struct vmm_loader_error error;

	if (vmm_loader_load(mem, &config, &result, &error) < 0)
		fail(kernel, error.text);
	return &result.entry;
}

static void vcpu_stopped(void *userdata, uint32_t id, int error, const struct vmm_vcpu_exit *exit)
{
	fprintf(stderr, "tinyvmm: vCPU %u stopped\r\n", id);
	vmm_loop_quit(loop, EXIT_FAILURE);
}

int main(int argc, char **argv)
{
	static const struct vmm_board_ops ops = { .stopped = vcpu_stopped };
	struct vmm_board_config config = { .ops = &ops };
	struct vmm_x86_entry *entry;
	struct vmm_board *board;
	struct termios before = { 0 }, raw;
	int status;

	if (argc < 5)
		fail("usage", "tinyvmm KERNEL ROOTFS VCPUS MEMORY [INITRD]");
	config.n_vcpus = (uint32_t)atoi(argv[3]);
	check(vmm_mem_new(&config.mem), "memory");
	check(vmm_loader_add_ram(config.mem, strtoull(argv[4], NULL, 10) << 20, NULL), "memory");
	check(vmm_kvm_open(NULL, &config.kvm, NULL), "/dev/kvm");
	check(vmm_board_new(&config, &board), "virtual machine");
	check(vmm_loop_new(&loop), "event loop");
	make_console(board);
	make_disk(board, config.mem, argv[2]);
	make_tables(board, config.mem, config.n_vcpus);
	entry = load(config.mem, argv[1], argv[5]);
	/* Where standard input is no terminal this does nothing. */
	tcgetattr(STDIN_FILENO, &before);
	raw = before;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	check(vmm_board_start(board, entry), "vCPUs");
	status = check(vmm_loop_run(loop), "event loop");
	vmm_board_stop(board);
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
	return status;
}

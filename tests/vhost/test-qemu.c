/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The back end of the examples with QEMU as its front end. QEMU runs no guest: the tests' own
 * driver (vdriver.h) stands in for one, and does its accesses to QEMU's vhost-user-blk-pci through
 * the qtest protocol, with the guest's memory mapped here as well.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/util.h"
#include "lib/vdriver.h"
#include "peer.h"
#include "unit.h"

#define RAM_BYTES (UINT64_C(64) << 20)
#define DISK_BYTES (UINT64_C(16) << 20)
#define BLOCK_BYTES 65536
#define N_BLOCKS ((unsigned int)(DISK_BYTES / BLOCK_BYTES))
#define QEMU "qemu-system-x86_64"

/* Where the BARs of the one function are put. */
#define BAR1_GPA 0xc0000000
#define BAR4_GPA 0xc1000000

static struct {
	struct machine machine;
	struct peer peer;
	int fd;
	FILE *answers;
} qemu;
static struct peer ours;
static struct vdriver driver;
static char image[128];

/*
 * Firmware that does nothing: a CPU that is stopped would keep virtio from running, and QEMU's
 * accelerator without CPUs is not in every package.
 */
static void make_firmware(const char *path)
{
	static uint8_t firmware[65536];
	static const uint8_t code[] = { 0xfa, 0xf4, 0xeb, 0xfd }; /* cli; hlt; jmp to hlt */
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	memcpy(firmware + sizeof(firmware) - 16, code, sizeof(code));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, firmware, sizeof(firmware)), sizeof(firmware));
	close(fd);
}

/* One command of qtest: "OK", or "OK VALUE". */
static uint64_t ask(const char *command, uint64_t address, uint64_t value, bool has_value)
{
	unsigned long long answer = 0;
	char line[256];
	int n;

	if (has_value)
		n = snprintf(line, sizeof(line), "%s 0x%llx 0x%llx\n", command,
			(unsigned long long)address, (unsigned long long)value);
	else
		n = snprintf(
			line, sizeof(line), "%s 0x%llx\n", command, (unsigned long long)address);
	ck_assert_int_eq(write(qemu.fd, line, (size_t)n), n);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), qemu.answers));
	ck_assert_msg(strncmp(line, "OK", 2) == 0, "%s: %s", command, line);
	sscanf(line, "OK %llx", &answer);
	return answer;
}

static char size_letter(size_t size)
{
	return size == 1 ? 'b' : size == 2 ? 'w' : size == 4 ? 'l' : 'q';
}

static void do_read(struct machine *machine, uint64_t gpa, void *data, size_t size)
{
	char command[8];
	uint64_t value;

	snprintf(command, sizeof(command), "read%c", size_letter(size));
	value = ask(command, gpa, 0, false);
	memcpy(data, &value, size);
}

static void do_write(struct machine *machine, uint64_t gpa, const void *data, size_t size)
{
	char command[8];
	uint64_t value = 0;

	memcpy(&value, data, size);
	snprintf(command, sizeof(command), "write%c", size_letter(size));
	ask(command, gpa, value, true);
}

static unsigned int interrupts(struct machine *machine, uint32_t number)
{
	return 0; /* an MSI that no CPU is there to take */
}

static void run(struct machine *machine)
{
	usleep(100);
}

static const struct machine_ops machine_ops = {
	.read = do_read,
	.write = do_write,
	.interrupts = interrupts,
	.run = run,
};

static void start_qemu(void)
{
	char ram[128], bios[128], backend[256], chardev[160], qtest[160];
	const char *argv[] = { QEMU, "-machine", "q35,memory-backend=ram,accel=tcg", "-m", "64M",
		"-bios", bios, "-nodefaults", "-display", "none", "-object", backend, "-chardev",
		chardev, "-device",
		"vhost-user-blk-pci,chardev=c,addr=3,disable-legacy=on,num-queues=2,"
		"queue-size=128",
		"-qtest", qtest, "-qtest-log", "/dev/null", NULL };
	uint64_t config = MACHINE_ECAM_GPA + ((uint64_t)MACHINE_PCI_SLOT << 15);
	int fd;

	peer_init(&qemu.peer);
	snprintf(ram, sizeof(ram), "%s/ram", qemu.peer.folder);
	snprintf(bios, sizeof(bios), "%s/firmware", qemu.peer.folder);
	make_firmware(bios);
	snprintf(backend, sizeof(backend),
		"memory-backend-file,id=ram,size=64M,share=on,mem-path=%s", ram);
	snprintf(chardev, sizeof(chardev), "socket,id=c,path=%s", ours.socket);
	snprintf(qtest, sizeof(qtest), "unix:%s,server=on,wait=off", qemu.peer.socket);
	fd = open(ram, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)RAM_BYTES), 0);
	qemu.machine.ops = &machine_ops;
	qemu.machine.ram_bytes = RAM_BYTES;
	qemu.machine.ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(qemu.machine.ram, MAP_FAILED);
	close(fd);

	peer_start(&qemu.peer, argv);
	qemu.fd = peer_wait_connect(&qemu.peer);
	ck_assert_int_ge(qemu.fd, 0);
	qemu.answers = fdopen(dup(qemu.fd), "r");
	ck_assert_ptr_nonnull(qemu.answers);

	/* What firmware does: the window of the configuration space, and the BARs. */
	ask("outl", 0xcf8, 0x80000060, true);
	ask("outl", 0xcfc, MACHINE_ECAM_GPA | 1, true);
	machine_write32(&qemu.machine, config + 0x14, BAR1_GPA);
	machine_write32(&qemu.machine, config + 0x20, BAR4_GPA);
	machine_write32(&qemu.machine, config + 0x24, 0);
	ck_assert(vdriver_probe_pci(&driver, &qemu.machine, MACHINE_PCI_SLOT));
	driver.next_gpa = 0x100000;
}

static void stop_qemu(void)
{
	vdriver_finish(&driver);
	peer_finish(&qemu.peer);
	if (qemu.answers)
		fclose(qemu.answers);
	qemu.answers = NULL;
	qemu.fd = vmm_base_close(qemu.fd);
	munmap(qemu.machine.ram, RAM_BYTES);
}

static void set_up(void)
{
	const char *argv[] = { getenv("VHOST_USER_BLK"), ours.socket, image, "2", NULL };
	int fd;

	qemu.fd = -EBADF;
	peer_init(&ours);
	snprintf(image, sizeof(image), "%s/disk.raw", ours.folder);
	fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)DISK_BYTES), 0);
	close(fd);
	peer_start(&ours, argv);
	fd = peer_wait_connect(&ours);
	ck_assert_int_ge(fd, 0);
	close(fd);
	start_qemu();
}

static void tear_down(void)
{
	/* Whatever its front ends did: it is there, and ends when it is told to. */
	int status = 0;

	stop_qemu();
	ck_assert_int_eq(waitpid(ours.pid, &status, WNOHANG), 0);
	ck_assert_int_eq(kill(ours.pid, SIGTERM), 0);
	ck_assert_int_eq(waitpid(ours.pid, &status, 0), ours.pid);
	ck_assert_int_eq(status, 0);
	ours.pid = 0;
	peer_finish(&ours);
}

struct request {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

static uint32_t word(unsigned int block, unsigned int at)
{
	return (block + 1) * 2654435761u + at;
}

static void fill(uint32_t *words, unsigned int block)
{
	for (unsigned int i = 0; i < BLOCK_BYTES / 4; i++)
		words[i] = word(block, i);
}

static bool is_filled(const uint32_t *words, unsigned int block)
{
	for (unsigned int i = 0; i < BLOCK_BYTES / 4; i++)
		if (words[i] != word(block, i))
			return false;
	return true;
}

/* The data are at data_gpa. Returns the status of the request. */
static uint8_t request(uint16_t queue, uint32_t type, unsigned int block, uint64_t data_gpa)
{
	uint64_t header = data_gpa + BLOCK_BYTES, status = header + sizeof(struct request);
	struct vring_buffer buffers[] = {
		{ header, sizeof(struct request), false },
		{ data_gpa, BLOCK_BYTES, type == 0 },
		{ status, 1, true },
	};
	uint32_t len;

	*(struct request *)(qemu.machine.ram + header) = (struct request){
		.type = type,
		.sector = (uint64_t)block * BLOCK_BYTES / 512,
	};
	qemu.machine.ram[status] = 0xee;
	ck_assert(vdriver_transfer(&driver, queue, buffers, 3, &len));
	return qemu.machine.ram[status];
}

START_TEST(test_disk)
{
	uint64_t features = _i ? F_INDIRECT | F_EVENT_IDX : 0;
	uint64_t data = 0x1000000, capacity;
	int fd;

	ck_assert(vdriver_start(&driver, features, 2, 64));
	qemu.machine.ops->read(&qemu.machine, driver.device, &capacity, sizeof(capacity));
	ck_assert_uint_eq(capacity, DISK_BYTES / 512);
	for (unsigned int i = 0; i < N_BLOCKS; i++) {
		fill((uint32_t *)(qemu.machine.ram + data), i);
		ck_assert_uint_eq(request(i % 2, 1, i, data), 0);
	}
	/* After a reset and in another order. */
	ck_assert(vdriver_start(&driver, features, 2, 128));
	for (unsigned int i = N_BLOCKS; i-- > 0;) {
		memset(qemu.machine.ram + data, 0, BLOCK_BYTES);
		ck_assert_uint_eq(request(i % 2, 0, i, data), 0);
		ck_assert(is_filled((uint32_t *)(qemu.machine.ram + data), i));
	}
	/* Beyond the end. */
	ck_assert_uint_eq(request(0, 0, N_BLOCKS, data), 1);

	fd = open(image, O_RDONLY | O_CLOEXEC);
	for (unsigned int i = 0; i < N_BLOCKS; i++) {
		static uint32_t block[BLOCK_BYTES / 4];

		ck_assert_int_eq(
			pread(fd, block, sizeof(block), (off_t)i * BLOCK_BYTES), sizeof(block));
		ck_assert(is_filled(block, i));
	}
	close(fd);
}
END_TEST

/* QEMU is killed with requests in flight, and another finds the disk in order. */
START_TEST(test_front_end_vanishes)
{
	uint64_t data = 0x1000000;

	for (unsigned int round = 0; round < 5; round++) {
		ck_assert(vdriver_start(&driver, F_EVENT_IDX, 2, 128));
		fill((uint32_t *)(qemu.machine.ram + data), round);
		ck_assert_uint_eq(request(0, 1, round, data), 0);
		for (unsigned int i = 0; i < 16; i++) {
			uint64_t gpa = data + (1 + i) * 2 * BLOCK_BYTES;
			uint64_t header = gpa + BLOCK_BYTES;
			struct vring_buffer buffers[] = {
				{ header, sizeof(struct request), false },
				{ gpa, BLOCK_BYTES, false },
				{ header + sizeof(struct request), 1, true },
			};

			*(struct request *)(qemu.machine.ram + header) = (struct request){
				.type = 1,
				.sector = (uint64_t)(100 + i) * BLOCK_BYTES / 512,
			};
			vdriver_send(&driver, 1, buffers, 3);
		}
		stop_qemu();
		start_qemu();
	}
	ck_assert(vdriver_start(&driver, 0, 2, 128));
	for (unsigned int round = 0; round < 5; round++) {
		ck_assert_uint_eq(request(1, 0, round, data), 0);
		ck_assert(is_filled((uint32_t *)(qemu.machine.ram + data), round));
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("QEMU as front end");
	TCase *tcase = unit_case(suite, "vhost-user-blk of the examples");

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!peer_exists(QEMU) || !getenv("VHOST_USER_BLK"))
		return 77;
	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_loop_test(tcase, test_disk, 0, 2);
	tcase_add_test(tcase, test_front_end_vanishes);
	return unit_run(suite);
}

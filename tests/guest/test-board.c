/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* board: the guests of the other tests on a board instead of the harness' own loop. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <vmmcore/board.h>

#include "guest.h"
#include "harness.h"
#include "unit/unit.h"

#define SECOND_NSEC UINT64_C(1000000000)
#define COUNTER_GPA 0x1800000

static struct vmm_kvm *kvm;
static struct vmm_mem *mem;
static struct vmm_board *board;
static _Atomic int status = GUEST_RUNS;
static _Atomic uint32_t last_mark;
static _Atomic int n_marks, n_stopped, stop_reason, stop_error, n_thread_starts;
static int thread_start_result;

static void write_exit(void *userdata, uint64_t offset, const void *data, size_t length)
{
	status = *(const uint8_t *)data;
}

static void write_mark(void *userdata, uint64_t offset, const void *data, size_t length)
{
	memcpy((void *)&last_mark, data, sizeof(last_mark));
	n_marks++;
}

static int thread_start(void *userdata, uint32_t vcpu_id)
{
	n_thread_starts++;
	return thread_start_result;
}

static void stopped(void *userdata, uint32_t vcpu_id, int error, const struct vmm_vcpu_exit *exit)
{
	stop_error = error;
	stop_reason = exit ? (int)exit->reason : -1;
	n_stopped++;
}

static void make(uint32_t n_vcpus)
{
	static const struct vmm_bus_ops exit_ops = { .write = write_exit };
	static const struct vmm_bus_ops mark_ops = { .write = write_mark };
	static const struct vmm_bus_range exit_range = { PORT_EXIT, 1, &exit_ops, NULL };
	static const struct vmm_bus_range mark_range = { PORT_MARK, 4, &mark_ops, NULL };
	static const struct vmm_board_ops ops = { thread_start, stopped };
	struct vmm_board_config config = { .n_vcpus = n_vcpus, .ops = &ops };

	ck_assert_int_eq(vmm_kvm_open(NULL, &kvm, NULL), 0);
	ck_assert_int_eq(vmm_mem_new(&mem), 0);
	ck_assert_int_eq(vmm_loader_add_ram(mem, GUEST_MEMORY_BYTES, NULL), 0);
	config.kvm = kvm;
	config.mem = mem;
	ck_assert_int_eq(vmm_board_new(&config, &board), 0);
	ck_assert_int_eq(vmm_bus_add(vmm_board_pio(board), &exit_range), 0);
	ck_assert_int_eq(vmm_bus_add(vmm_board_pio(board), &mark_range), 0);
}

static int start(const char *name, const char *cmdline)
{
	struct vmm_loader_config config = { .cmdline = cmdline };
	struct vmm_loader_error error;
	struct vmm_loader_result result;
	char path[4096];
	int r;

	snprintf(path, sizeof(path), "%s/%s.elf", getenv("GUEST_DIR"), name);
	config.kernel_fd = open(path, O_RDONLY | O_CLOEXEC);
	r = vmm_loader_load(mem, &config, &result, &error);
	ck_assert_msg(r == 0, "%s: %s", path, error.text);
	close(config.kernel_fd);
	return vmm_board_start(board, &result.entry);
}

static void finish(void)
{
	board = vmm_board_free(board);
	mem = vmm_mem_free(mem);
	kvm = vmm_kvm_free(kvm);
}

/* Waits 10 seconds at most. */
#define WAIT(condition)                                                                            \
	do {                                                                                       \
		for (int tries_ = 0; !(condition); tries_++) {                                     \
			ck_assert_msg(tries_ < 10000, "not in time: " #condition);                 \
			usleep(1000);                                                              \
		}                                                                                  \
	} while (0)

START_TEST(all_vcpus_run)
{
	make(4);
	ck_assert_int_eq(start("smp", "4"), 0);
	ck_assert_int_eq(start("smp", "4"), -EALREADY);
	WAIT(status == 0);
	ck_assert_int_eq(n_thread_starts, 4);
	finish();
	ck_assert_int_eq(n_stopped, 0);
}
END_TEST

START_TEST(triple_fault_is_told)
{
	make(1);
	ck_assert_int_eq(start("end", "t"), 0);
	WAIT(n_stopped == 1);
	ck_assert_int_eq(stop_error, 0);
	ck_assert_int_eq(stop_reason, VMM_EXIT_SHUTDOWN);
	finish();
}
END_TEST

START_TEST(thread_that_may_not_start_is_told)
{
	make(2);
	thread_start_result = -EPERM;
	ck_assert_int_eq(start("smp", "2"), 0);
	WAIT(n_stopped == 2);
	ck_assert_int_eq(stop_error, -EPERM);
	ck_assert_int_eq(stop_reason, -1);
	ck_assert_int_eq(status, GUEST_RUNS);
	finish();
}
END_TEST

static uint64_t counter(void)
{
	uint64_t value;

	ck_assert_int_eq(vmm_mem_read(mem, COUNTER_GPA, &value, sizeof(value)), 0);
	return value;
}

START_TEST(pause_holds_all)
{
	uint64_t before;

	make(1);
	ck_assert_int_eq(vmm_board_pause(board, 0), 0);
	ck_assert_int_eq(start("kick", "count"), 0);
	usleep(5000);
	ck_assert_uint_eq(counter(), 0);
	vmm_board_resume(board);
	WAIT(counter() > 0);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(vmm_board_pause(board, 5 * SECOND_NSEC), 0);
		before = counter();
		usleep(1000);
		ck_assert_uint_eq(counter(), before);
		vmm_board_resume(board);
		WAIT(counter() > before);
	}
	/* A paused board ends, too. */
	ck_assert_int_eq(vmm_board_pause(board, 5 * SECOND_NSEC), 0);
	finish();
}
END_TEST

START_TEST(lines_and_messages_arrive)
{
	struct vmm_msi_message message = { 0xfee00000, 0x23 };
	struct vmm_irq irq, same;
	struct vmm_msi msi;
	int fd = make_eventfd();

	make(1);
	ck_assert_int_eq(vmm_board_irq(board, VMM_VM_N_IOAPIC_PINS, &irq), -EINVAL);
	ck_assert_int_eq(vmm_board_irq(board, 5, &irq), 0);
	ck_assert_int_eq(vmm_board_irq(board, 5, &same), 0);
	ck_assert_ptr_eq(irq.userdata, same.userdata);
	ck_assert_int_eq(vmm_board_irq_fd(board, 5), vmm_board_irq_fd(board, 5));
	msi = vmm_board_msi(board);
	ck_assert_int_eq(start("irq", ""), 0);
	WAIT(n_marks == 1);

	ck_assert_int_eq(vmm_irq_set_level(&irq, true), 0);
	WAIT(last_mark == (0x21 << 16 | 1));
	ck_assert_int_eq(vmm_irq_set_level(&irq, true), 0);
	ck_assert_int_eq(vmm_irq_set_level(&irq, false), 0);
	ck_assert_int_eq(vmm_irq_set_level(&irq, true), 0);
	WAIT(last_mark == (0x21 << 16 | 2));

	ck_assert_int_eq(msi.ops->set_route(msi.userdata, 0, fd, &message), 0);
	ck_assert_int_eq(vmm_base_eventfd_signal(fd), 0);
	WAIT(last_mark == (0x23 << 16 | 1));
	ck_assert_int_eq(msi.ops->set_route(msi.userdata, 0, fd, NULL), 0);
	ck_assert_int_eq(vmm_base_eventfd_signal(fd), 0);
	usleep(20000);
	ck_assert_int_eq(n_marks, 4);
	message.data = 0x24;
	ck_assert_int_eq(msi.ops->set_route(msi.userdata, 0, fd, &message), 0);
	WAIT(last_mark == (0x24 << 16 | 1));
	close(fd);
	finish();
}
END_TEST

START_TEST(doorbell_signals_without_an_exit)
{
	const struct vmm_virtio_doorbell_ops *ops = vmm_board_doorbells();
	struct vmm_virtio_doorbell doorbell = {
		.gpa = 0xd0000000, .length = 4, .fd = make_eventfd()
	};
	struct vmm_virtio_doorbell matching = { .gpa = 0xd0000004, .has_match = true };

	make(1);
	doorbell.fd = make_eventfd();
	ck_assert_int_eq(ops->bind(board, &doorbell), 0);
	ck_assert_int_eq(ops->bind(board, &doorbell), -EEXIST);
	ck_assert_int_eq(ops->bind(board, &matching), -EINVAL);
	ck_assert_int_eq(start("ioeventfd", ""), 0);
	WAIT(status == 0);
	ck_assert_uint_eq(take_eventfd(doorbell.fd), 14);
	ops->unbind(board, &doorbell);
	ck_assert_int_eq(ops->bind(board, &doorbell), 0);
	finish();
	close(doorbell.fd);
}
END_TEST

START_TEST(bad_boards_are_refused)
{
	struct vmm_board_config config = { .n_vcpus = 1 };
	int before;

	ck_assert_int_eq(vmm_board_new(&config, &board), -EINVAL);
	ck_assert_ptr_null(vmm_board_free(NULL));
	before = open_descriptors();
	make(1);
	finish();
	/* Never started, and with more vCPUs than there are APIC ids. */
	make(VMM_VM_MAX_VCPUS);
	config = (struct vmm_board_config){ kvm, mem, .n_vcpus = VMM_VM_MAX_VCPUS + 1 };
	ck_assert_int_eq(vmm_board_new(&config, &board), -EINVAL);
	finish();
	ck_assert_int_eq(open_descriptors(), before);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("board");
	TCase *tcase = unit_case(suite, "board");

	guest_need_kvm();
	tcase_add_test(tcase, all_vcpus_run);
	tcase_add_test(tcase, triple_fault_is_told);
	tcase_add_test(tcase, thread_that_may_not_start_is_told);
	tcase_add_test(tcase, pause_holds_all);
	tcase_add_test(tcase, lines_and_messages_arrive);
	tcase_add_test(tcase, doorbell_signals_without_an_exit);
	tcase_add_test(tcase, bad_boards_are_refused);
	return unit_run(suite);
}

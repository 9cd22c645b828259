/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "unit/unit.h"

#define COUNTER_GPA 0x1800000
#define SECOND_NSEC UINT64_C(1000000000)

static struct guest guest;
static struct vmm_vcpu *vcpu;

/* What kicks are to make known to the vCPU's thread, and what it has seen. */
static _Atomic uint64_t wanted, seen;

static void see(struct guest_vcpu *which)
{
	seen = wanted;
}

static void start(const char *mode)
{
	struct guest_config config = { .name = "kick", .cmdline = mode };

	guest_init(&guest, &config);
	guest.on_kick = see;
	vcpu = guest.vcpus[0].vcpu;
	guest_start(&guest);
	guest_wait_marks(&guest, 1);
}

static uint64_t counter(void)
{
	uint64_t value;

	ck_assert_int_eq(vmm_mem_read(guest.mem, COUNTER_GPA, &value, sizeof(value)), 0);
	return value;
}

static bool wait_seen(uint64_t value)
{
	uint64_t deadline = vmm_base_now_nsec() + 5 * SECOND_NSEC;

	while (seen < value) {
		if (vmm_base_now_nsec() > deadline)
			return false;
		sched_yield();
	}
	return true;
}

static const char *const modes[] = { "port", "memory", "halt", "count" };

START_TEST(no_kick_is_lost)
{
	unsigned int state = 1;

	start(modes[_i]);
	for (uint64_t i = 1; i <= 400; i++) {
		wanted = i;
		vmm_vcpu_kick(vcpu);
		ck_assert_msg(
			wait_seen(i), "%s: kick %llu is lost", modes[_i], (unsigned long long)i);
		/* At any time of a run: within it, and on the way in and out. */
		for (unsigned int spin = (unsigned int)rand_r(&state) % 3000; spin; spin--)
			__asm__ volatile("");
	}
	guest_finish(&guest);
}
END_TEST

static void *kick_often(void *userdata)
{
	for (int i = 0; i < 1000; i++) {
		wanted++;
		vmm_vcpu_kick(vcpu);
	}
	return NULL;
}

START_TEST(no_kick_of_several_threads_is_lost)
{
	pthread_t threads[4];

	start(modes[_i]);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, kick_often, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	ck_assert(wait_seen(4 * 1000));
	guest_finish(&guest);
}
END_TEST

START_TEST(kick_before_the_first_run_counts)
{
	struct guest_config config = { .name = "kick", .cmdline = "halt" };

	guest_init(&guest, &config);
	guest.on_kick = see;
	wanted = 1;
	vmm_vcpu_kick(guest.vcpus[0].vcpu);
	ck_assert_int_eq(vmm_vcpu_sync(guest.vcpus[0].vcpu, SECOND_NSEC), 0);
	guest_start(&guest);
	ck_assert(wait_seen(1));
	guest_wait_marks(&guest, 1);
	guest_finish(&guest);
}
END_TEST

START_TEST(paused_vcpu_stands_still)
{
	uint64_t before;

	start("count");
	for (int i = 0; i < 20; i++) {
		vmm_vcpu_pause(vcpu);
		vmm_vcpu_pause(vcpu);
		ck_assert_int_eq(vmm_vcpu_sync(vcpu, 5 * SECOND_NSEC), 0);
		before = counter();
		usleep(2000);
		ck_assert_uint_eq(counter(), before);

		/* Kicks are answered, and it stays paused. */
		ck_assert_int_eq(vmm_vcpu_sync(vcpu, 5 * SECOND_NSEC), 0);
		wanted++;
		vmm_vcpu_kick(vcpu);
		ck_assert(wait_seen(wanted));
		vmm_vcpu_resume(vcpu);
		usleep(2000);
		ck_assert_uint_eq(counter(), before);

		vmm_vcpu_resume(vcpu);
		for (int tries = 0; counter() == before; tries++) {
			ck_assert_int_lt(tries, 5000);
			usleep(1000);
		}
	}
	guest_finish(&guest);
}
END_TEST

START_TEST(paused_vcpu_uses_no_time)
{
	struct timespec before, after;
	clockid_t clock;

	start("count");
	vmm_vcpu_pause(vcpu);
	ck_assert_int_eq(vmm_vcpu_sync(vcpu, 5 * SECOND_NSEC), 0);
	usleep(10000);
	ck_assert_int_eq(pthread_getcpuclockid(guest.vcpus[0].thread, &clock), 0);
	clock_gettime(clock, &before);
	usleep(50000);
	clock_gettime(clock, &after);
	ck_assert(before.tv_sec == after.tv_sec && before.tv_nsec == after.tv_nsec);
	/* A paused one ends, too. */
	guest_finish(&guest);
}
END_TEST

static _Atomic bool is_gone;
static _Atomic int n_late;
static _Atomic uint64_t n_writes;

static void device_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	for (int i = 0; i < 200; i++)
		if (is_gone)
			n_late++;
	n_writes++;
}

START_TEST(after_sync_nobody_is_in_a_removed_device)
{
	static const struct vmm_bus_ops ops = { .write = device_write };
	static const struct vmm_bus_range range = { 0x1000, 1, &ops, NULL };

	start("port");
	for (int i = 0; i < 300; i++) {
		uint64_t before = n_writes;

		is_gone = false;
		ck_assert_int_eq(vmm_bus_add(guest.pio, &range), 0);
		while (n_writes == before)
			sched_yield();
		ck_assert_int_eq(vmm_bus_remove(guest.pio, range.base), 0);
		ck_assert_int_eq(vmm_vcpu_sync(vcpu, 5 * SECOND_NSEC), 0);
		is_gone = true;
	}
	usleep(1000);
	ck_assert_int_eq(n_late, 0);
	guest_finish(&guest);
}
END_TEST

static _Atomic bool is_blocked, may_go_on;

static void block(void *userdata, uint64_t offset, const void *data, size_t length)
{
	is_blocked = true;
	while (!may_go_on)
		usleep(100);
}

START_TEST(sync_says_when_a_thread_does_not_answer)
{
	static const struct vmm_bus_ops ops = { .write = block };
	static const struct vmm_bus_range range = { 0x1000, 1, &ops, NULL };
	uint32_t n_answers;

	start("port");
	ck_assert_int_eq(vmm_bus_add(guest.pio, &range), 0);
	while (!is_blocked)
		usleep(100);
	n_answers = vmm_vcpu_n_answers(vcpu);
	ck_assert_int_eq(vmm_vcpu_sync(vcpu, 20000000), -ETIMEDOUT);
	ck_assert_uint_eq(vmm_vcpu_n_answers(vcpu), n_answers);
	may_go_on = true;
	ck_assert_int_eq(vmm_vcpu_sync(vcpu, UINT64_MAX), 0);
	ck_assert_uint_gt(vmm_vcpu_n_answers(vcpu), n_answers);
	guest_finish(&guest);
}
END_TEST

START_TEST(attach_is_checked)
{
	struct guest_config config = { .name = "kick", .cmdline = "halt" };

	start("halt");
	ck_assert_int_eq(vmm_vcpu_attach(vcpu, 0), -EBUSY);
	guest_finish(&guest);

	guest_init(&guest, &config);
	vcpu = guest.vcpus[0].vcpu;
	ck_assert_int_eq(vmm_vcpu_attach(vcpu, SIGRTMIN + 3), -EINVAL);
	ck_assert_int_eq(vmm_vcpu_attach(vcpu, 100000), -EINVAL);
	ck_assert_int_eq(vmm_kvm_install_kick_handler(SIGRTMIN + 3), 0);
	ck_assert_int_eq(vmm_vcpu_attach(vcpu, SIGRTMIN + 3), 0);
	ck_assert_int_eq(vmm_vcpu_attach(vcpu, SIGRTMIN + 3), 0);
	/* Nobody to wait for: this is the thread itself. */
	ck_assert_int_eq(vmm_vcpu_sync(vcpu, SECOND_NSEC), 0);
	vmm_vcpu_detach(vcpu);
	guest_finish(&guest);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kick");
	TCase *tcase = unit_case(suite, "kick");

	guest_need_kvm();
	tcase_add_loop_test(tcase, no_kick_is_lost, 0, ARRAY_SIZE(modes));
	tcase_add_loop_test(tcase, no_kick_of_several_threads_is_lost, 0, ARRAY_SIZE(modes));
	tcase_add_test(tcase, kick_before_the_first_run_counts);
	tcase_add_test(tcase, paused_vcpu_stands_still);
	tcase_add_test(tcase, paused_vcpu_uses_no_time);
	tcase_add_test(tcase, after_sync_nobody_is_in_a_removed_device);
	tcase_add_test(tcase, sync_says_when_a_thread_does_not_answer);
	tcase_add_test(tcase, attach_is_checked);
	return unit_run(suite);
}

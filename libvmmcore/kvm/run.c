/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * kvm: running a vCPU, and getting it out of there: kicks, pauses.
 *
 * No kick is lost. A kicker sets run->immediate_exit and then signals the thread. The signal
 * ends a KVM_RUN that is under way; one that has not begun sees immediate_exit and comes back at
 * once. Only the vCPU's thread clears immediate_exit, when it is about to answer: a kick that
 * comes after that is the next answer's.
 *
 * Ordering: the request (immediate_exit), tid, n_pauses, wake_seq, n_answers and n_waiting are
 * accessed with sequential consistency: each hand-shake below is of the form "write mine, then
 * read yours" on both sides. None of it is touched by a run without kicks but for one load.
 */
#include "kvm/kvm-internal.h"

#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

static void do_nothing(int signal_number)
{
}

static int kick_signal_or_default(int signal_number)
{
	return signal_number > 0 ? signal_number : SIGRTMIN;
}

int vmm_kvm_install_kick_handler(int signal_number)
{
	struct sigaction action = { .sa_handler = do_nothing };

	/* Without SA_RESTART: KVM_RUN is to come back. */
	if (sigaction(kick_signal_or_default(signal_number), &action, NULL) < 0)
		return -errno;
	return 0;
}

int vmm_vcpu_attach(struct vmm_vcpu *vcpu, int kick_signal)
{
	struct sigaction action;
	sigset_t set;
	int expected = 0;
	int r;

	kick_signal = kick_signal_or_default(kick_signal);
	if (sigaction(kick_signal, NULL, &action) < 0)
		return -errno;
	if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN)
		return -EINVAL;
	sigemptyset(&set);
	sigaddset(&set, kick_signal);
	r = pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (r != 0)
		return -r;
	/* A kicker reads kick_signal only after it has seen tid. */
	if (atomic_load(&vcpu->tid) == 0)
		vcpu->kick_signal = kick_signal;
	if (!atomic_compare_exchange_strong(&vcpu->tid, &expected, gettid()))
		return expected == gettid() ? 0 : -EBUSY;
	return 0;
}

static void futex_wake_all(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* Returns when *word is no longer value, on a signal, after the timeout, or for no reason. */
static void futex_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *timeout)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout, NULL, 0);
}

static void answer(struct vmm_vcpu *vcpu)
{
	atomic_fetch_add(&vcpu->n_answers, 1);
	if (atomic_load(&vcpu->n_waiting) > 0)
		futex_wake_all(&vcpu->n_answers);
}

void vmm_vcpu_detach(struct vmm_vcpu *vcpu)
{
	atomic_store(&vcpu->tid, 0);
	answer(vcpu);
}

/* True where a kick was pending; it is answered now. */
static bool take_kick(struct vmm_vcpu *vcpu)
{
	if (!__atomic_exchange_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST))
		return false;
	answer(vcpu);
	return true;
}

void vmm_vcpu_kick(struct vmm_vcpu *vcpu)
{
	int tid;

	/* Who set it before us has signalled or is about to. */
	if (__atomic_exchange_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST))
		return;
	/* For a thread that is held by a pause and just about to sleep. */
	atomic_fetch_add(&vcpu->wake_seq, 1);
	tid = atomic_load(&vcpu->tid);
	/* A thread that is gone since, or another with its number, comes to no harm. */
	if (tid != 0 && tid != gettid())
		syscall(SYS_tgkill, getpid(), tid, vcpu->kick_signal);
}

void vmm_vcpu_pause(struct vmm_vcpu *vcpu)
{
	atomic_fetch_add(&vcpu->n_pauses, 1);
	vmm_vcpu_kick(vcpu);
}

void vmm_vcpu_resume(struct vmm_vcpu *vcpu)
{
	uint32_t before = atomic_fetch_sub(&vcpu->n_pauses, 1);

	assert(before > 0);
	if (before != 1)
		return;
	atomic_fetch_add(&vcpu->wake_seq, 1);
	futex_wake_all(&vcpu->wake_seq);
}

/* Sleeps until the pause ends (false) or a kick comes (true). */
static bool hold(struct vmm_vcpu *vcpu)
{
	/* Refused where the guest does not use KVM's clock: it has no lock-up to be told of. */
	if (!vcpu->pause_was_told)
		kvm_ioctl_number(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
	vcpu->pause_was_told = true;
	for (;;) {
		uint32_t seq = atomic_load(&vcpu->wake_seq);

		if (take_kick(vcpu))
			return true;
		if (atomic_load(&vcpu->n_pauses) == 0) {
			vcpu->pause_was_told = false;
			return false;
		}
		futex_wait(&vcpu->wake_seq, seq, NULL);
	}
}

uint32_t vmm_vcpu_n_answers(const struct vmm_vcpu *vcpu)
{
	return atomic_load(&vcpu->n_answers);
}

int vmm_vcpu_sync(struct vmm_vcpu *vcpu, uint64_t timeout_nsec)
{
	uint64_t deadline_nsec;
	uint32_t before;
	int r = 0;

	if (__builtin_add_overflow(vmm_base_now_nsec(), timeout_nsec, &deadline_nsec))
		deadline_nsec = UINT64_MAX;
	atomic_fetch_add(&vcpu->n_waiting, 1);
	/*
	 * Pairs with the increment in answer(): what the caller wrote comes before this load, so a
	 * thread that counts up from this value sees it. That also holds where the count answers
	 * an earlier kick: the thread was then in no access, after the caller's writes.
	 */
	before = atomic_load(&vcpu->n_answers);
	vmm_vcpu_kick(vcpu);
	while (atomic_load(&vcpu->n_answers) == before) {
		uint64_t now_nsec = vmm_base_now_nsec();
		int tid = atomic_load(&vcpu->tid);
		struct timespec timeout;

		if (tid == 0 || tid == gettid())
			break;
		if (now_nsec >= deadline_nsec) {
			r = -ETIMEDOUT;
			break;
		}
		timeout.tv_sec = (time_t)((deadline_nsec - now_nsec) / UINT64_C(1000000000));
		timeout.tv_nsec = (long)((deadline_nsec - now_nsec) % UINT64_C(1000000000));
		futex_wait(&vcpu->n_answers, before, &timeout);
	}
	atomic_fetch_sub(&vcpu->n_waiting, 1);
	return r;
}

static void give_io_item(struct vmm_vcpu *vcpu, struct vmm_vcpu_exit *exit)
{
	const struct kvm_run *run = vcpu->run;

	exit->reason = run->io.direction == KVM_EXIT_IO_IN ? VMM_EXIT_PIO_READ : VMM_EXIT_PIO_WRITE;
	exit->address = run->io.port;
	exit->length_bytes = run->io.size;
	exit->data = vcpu->next_item;
	vcpu->next_item += run->io.size;
	vcpu->n_items_left--;
}

static void decode_io(struct vmm_vcpu *vcpu, struct vmm_vcpu_exit *exit)
{
	struct kvm_run *run = vcpu->run;

	vcpu->next_item = (uint8_t *)run + run->io.data_offset;
	vcpu->n_items_left = run->io.count;
	if (run->io.direction == KVM_EXIT_IO_IN)
		memset(vcpu->next_item, 0xff, (size_t)run->io.size * run->io.count);
	give_io_item(vcpu, exit);
}

static void decode_mmio(struct kvm_run *run, struct vmm_vcpu_exit *exit)
{
	exit->address = run->mmio.phys_addr;
	exit->length_bytes = run->mmio.len;
	exit->data = run->mmio.data;
	if (run->mmio.is_write) {
		exit->reason = VMM_EXIT_MMIO_WRITE;
	} else {
		exit->reason = VMM_EXIT_MMIO_READ;
		memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
	}
}

static void decode_rare(const struct kvm_run *run, struct vmm_vcpu_exit *exit)
{
	exit->detail[0] = run->exit_reason;
	exit->detail[1] = exit->detail[2] = exit->detail[3] = 0;
	switch (run->exit_reason) {
	case KVM_EXIT_HLT:
		exit->reason = VMM_EXIT_HLT;
		break;
	case KVM_EXIT_SHUTDOWN:
		exit->reason = VMM_EXIT_SHUTDOWN;
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		exit->reason = VMM_EXIT_SYSTEM_EVENT;
		exit->detail[0] = run->system_event.type;
		for (uint32_t i = 0; i < MIN(run->system_event.ndata, 3u); i++)
			exit->detail[1 + i] = run->system_event.data[i];
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		exit->reason = VMM_EXIT_INTERNAL_ERROR;
		exit->detail[0] = run->internal.suberror;
		for (uint32_t i = 0; i < MIN(run->internal.ndata, 3u); i++)
			exit->detail[1 + i] = run->internal.data[i];
		break;
	case KVM_EXIT_FAIL_ENTRY:
		exit->reason = VMM_EXIT_FAIL_ENTRY;
		exit->detail[0] = run->fail_entry.hardware_entry_failure_reason;
		break;
	default:
		exit->reason = VMM_EXIT_UNKNOWN;
		break;
	}
}

int vmm_vcpu_run(struct vmm_vcpu *vcpu, struct vmm_vcpu_exit *ret_exit)
{
	struct kvm_run *run = vcpu->run;

	assert(atomic_load_explicit(&vcpu->tid, memory_order_relaxed) != 0);
	if (vcpu->n_items_left > 0) {
		give_io_item(vcpu, ret_exit);
		return 0;
	}
	for (;;) {
		if (atomic_load_explicit(&vcpu->n_pauses, memory_order_relaxed) > 0 && hold(vcpu)) {
			ret_exit->reason = VMM_EXIT_KICK;
			return 0;
		}
		if (ioctl(vcpu->fd, KVM_RUN, NULL) >= 0)
			break;
		/* EAGAIN: an application processor that was woken and has to be run again. */
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
		vcpu->regs_are_synced = false;
		if (take_kick(vcpu)) {
			ret_exit->reason = VMM_EXIT_KICK;
			return 0;
		}
	}

	vcpu->regs_are_synced = vcpu->sync_regs;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		decode_io(vcpu, ret_exit);
		break;
	case KVM_EXIT_MMIO:
		decode_mmio(run, ret_exit);
		break;
	default:
		decode_rare(run, ret_exit);
		break;
	}
	return 0;
}

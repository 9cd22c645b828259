/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define WAIT_SECONDS 20

void guest_need_kvm(void)
{
	if (access("/dev/kvm", R_OK | W_OK) < 0) {
		fprintf(stderr, "/dev/kvm: %s\n", strerror(errno));
		exit(77);
	}
}

static void end(struct guest *guest, int status)
{
	pthread_mutex_lock(&guest->lock);
	if (guest->status == GUEST_RUNS)
		guest->status = status;
	pthread_cond_broadcast(&guest->changed);
	pthread_mutex_unlock(&guest->lock);
}

static void exit_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	end(userdata, *(const uint8_t *)data);
}

static void mark_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	struct guest *guest = userdata;

	pthread_mutex_lock(&guest->lock);
	if (guest->n_marks < MAX_MARKS && length == sizeof(uint32_t))
		memcpy(&guest->marks[guest->n_marks++], data, length);
	pthread_cond_broadcast(&guest->changed);
	pthread_mutex_unlock(&guest->lock);
}

static const struct vmm_bus_ops exit_ops = { .write = exit_write };
static const struct vmm_bus_ops mark_ops = { .write = mark_write };

static void load(struct guest *guest, const struct guest_config *config)
{
	const char *directory = getenv("GUEST_DIR");
	struct vmm_loader_config loader_config = { .cmdline = config->cmdline };
	struct vmm_loader_error error;
	struct vmm_loader_result result;
	char path[4096];
	int r;

	snprintf(path, sizeof(path), "%s/%s.elf", directory ? directory : ".", config->name);
	loader_config.kernel_fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(loader_config.kernel_fd >= 0, "%s: %s", path, strerror(errno));
	r = vmm_loader_load(guest->mem, &loader_config, &result, &error);
	ck_assert_msg(r == 0, "%s: %s", path, error.text);
	close(loader_config.kernel_fd);

	for (unsigned int i = 0; i < guest->n_vcpus; i++) {
		struct vmm_vcpu_config vcpu_config = {
			.n_vcpus = guest->n_vcpus,
			.entry = i == 0 ? &result.entry : NULL,
		};

		guest->vcpus[i].guest = guest;
		ck_assert_int_eq(vmm_vcpu_new(guest->vm, i, &guest->vcpus[i].vcpu), 0);
		ck_assert_int_eq(vmm_vcpu_setup(guest->vcpus[i].vcpu, &vcpu_config), 0);
	}
}

void guest_init(struct guest *guest, const struct guest_config *config)
{
	struct vmm_mem_config mem_config = {
		.size_bytes = GUEST_MEMORY_BYTES,
		.backing = VMM_MEM_ANONYMOUS,
	};
	struct vmm_vm_config vm_config = { .manual_dirty_log = config->manual_dirty_log };
	struct vmm_bus_range exit_range = { PORT_EXIT, 1, &exit_ops, guest };
	struct vmm_bus_range mark_range = { PORT_MARK, 4, &mark_ops, guest };
	struct vmm_vm_memory slot = { .dirty_log = config->dirty_log };
	struct vmm_mem_region region;
	const char *missing;

	*guest = (struct guest){
		.n_vcpus = config->n_vcpus ? config->n_vcpus : 1,
		.status = GUEST_RUNS,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};
	ck_assert_int_eq(vmm_kvm_open(NULL, &guest->kvm, &missing), 0);
	ck_assert_int_eq(vmm_vm_new(guest->kvm, &vm_config, &guest->vm), 0);
	ck_assert_int_eq(vmm_mem_new(&guest->mem), 0);
	ck_assert_int_eq(vmm_mem_add(guest->mem, &mem_config), 0);
	ck_assert_int_eq(vmm_mem_get_region(guest->mem, 0, &region), 0);
	slot.size_bytes = region.size_bytes;
	slot.host = region.host;
	ck_assert_int_eq(vmm_vm_set_memory(guest->vm, &slot), 0);
	if (!config->without_irqchip)
		ck_assert_int_eq(vmm_vm_create_irqchip(guest->vm, false), 0);
	ck_assert_int_eq(vmm_bus_new(&guest->pio), 0);
	ck_assert_int_eq(vmm_bus_new(&guest->mmio), 0);
	ck_assert_int_eq(vmm_bus_add(guest->pio, &exit_range), 0);
	ck_assert_int_eq(vmm_bus_add(guest->pio, &mark_range), 0);
	ck_assert_int_eq(vmm_kvm_install_kick_handler(0), 0);
	load(guest, config);
}

static bool handle(struct guest_vcpu *vcpu, const struct vmm_vcpu_exit *exit)
{
	struct guest *guest = vcpu->guest;
	struct vmm_x86_regs regs = { 0 };

	if (exit->reason == VMM_EXIT_KICK)
		vcpu->n_kicks++;
	else
		vcpu->n_exits++;
	if (exit->reason == VMM_EXIT_KICK && guest->on_kick)
		guest->on_kick(vcpu);
	switch (exit->reason) {
	case VMM_EXIT_KICK:
		return !guest->is_stopping;
	case VMM_EXIT_PIO_READ:
		vmm_bus_read(guest->pio, exit->address, exit->data, exit->length_bytes);
		return true;
	case VMM_EXIT_PIO_WRITE:
		vmm_bus_write(guest->pio, exit->address, exit->data, exit->length_bytes);
		return true;
	case VMM_EXIT_MMIO_READ:
		vmm_bus_read(guest->mmio, exit->address, exit->data, exit->length_bytes);
		return true;
	case VMM_EXIT_MMIO_WRITE:
		vmm_bus_write(guest->mmio, exit->address, exit->data, exit->length_bytes);
		return true;
	case VMM_EXIT_SHUTDOWN:
		end(guest, GUEST_SHUTDOWN);
		return false;
	default:
		vmm_vcpu_get_regs(vcpu->vcpu, &regs);
		fprintf(stderr, "vCPU %u: exit %d, detail 0x%llx 0x%llx 0x%llx, rip 0x%llx\n",
			vmm_vcpu_id(vcpu->vcpu), exit->reason, (unsigned long long)exit->detail[0],
			(unsigned long long)exit->detail[1], (unsigned long long)exit->detail[2],
			(unsigned long long)regs.rip);
		guest->run_result = -EPROTO;
		end(guest, -EPROTO);
		return false;
	}
}

static void *vcpu_thread(void *userdata)
{
	struct guest_vcpu *vcpu = userdata;
	struct vmm_vcpu_exit exit;
	int r = vmm_vcpu_attach(vcpu->vcpu, 0);

	while (r == 0) {
		r = vmm_vcpu_run(vcpu->vcpu, &exit);
		if (r < 0) {
			vcpu->guest->run_result = r;
			end(vcpu->guest, r);
		} else if (!handle(vcpu, &exit)) {
			break;
		}
	}
	vmm_vcpu_detach(vcpu->vcpu);
	return NULL;
}

void guest_start(struct guest *guest)
{
	for (unsigned int i = 0; i < guest->n_vcpus; i++) {
		struct guest_vcpu *vcpu = &guest->vcpus[i];

		ck_assert_int_eq(pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu), 0);
		vcpu->is_started = true;
	}
}

/* Called with the lock held; false where nothing changed in time. */
static bool wait_change(struct guest *guest, const struct timespec *deadline)
{
	return pthread_cond_timedwait(&guest->changed, &guest->lock, deadline) == 0;
}

static struct timespec deadline_from_now(void)
{
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += WAIT_SECONDS;
	return deadline;
}

int guest_wait(struct guest *guest)
{
	struct timespec deadline = deadline_from_now();
	int status;

	pthread_mutex_lock(&guest->lock);
	while (guest->status == GUEST_RUNS && wait_change(guest, &deadline))
		;
	status = guest->status;
	pthread_mutex_unlock(&guest->lock);
	return status;
}

uint32_t guest_wait_marks(struct guest *guest, unsigned int n)
{
	struct timespec deadline = deadline_from_now();
	unsigned int n_marks;
	uint32_t last;
	int status;

	pthread_mutex_lock(&guest->lock);
	while (guest->n_marks < n && guest->status == GUEST_RUNS && wait_change(guest, &deadline))
		;
	n_marks = guest->n_marks;
	last = n_marks ? guest->marks[n_marks - 1] : 0;
	status = guest->status;
	pthread_mutex_unlock(&guest->lock);
	ck_assert_msg(n_marks >= n, "%u marks of %u, status %d", n_marks, n, status);
	return last;
}

void guest_stop(struct guest *guest)
{
	guest->is_stopping = true;
	for (unsigned int i = 0; i < guest->n_vcpus; i++) {
		struct guest_vcpu *vcpu = &guest->vcpus[i];

		if (!vcpu->is_started)
			continue;
		vmm_vcpu_kick(vcpu->vcpu);
		ck_assert_int_eq(pthread_join(vcpu->thread, NULL), 0);
		vcpu->is_started = false;
	}
	end(guest, GUEST_STOPPED);
}

void guest_finish(struct guest *guest)
{
	guest_stop(guest);
	for (unsigned int i = 0; i < guest->n_vcpus; i++)
		guest->vcpus[i].vcpu = vmm_vcpu_free(guest->vcpus[i].vcpu);
	guest->vm = vmm_vm_free(guest->vm);
	guest->kvm = vmm_kvm_free(guest->kvm);
	guest->pio = vmm_bus_free(guest->pio);
	guest->mmio = vmm_bus_free(guest->mmio);
	guest->mem = vmm_mem_free(guest->mem);
	ck_assert_int_eq(guest->run_result, 0);
}

int guest_run(const struct guest_config *config)
{
	struct guest guest;
	int status;

	guest_init(&guest, config);
	guest_start(&guest);
	status = guest_wait(&guest);
	guest_finish(&guest);
	return status;
}

int open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(directory);
	while (readdir(directory))
		n++;
	closedir(directory);
	return n;
}

int make_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	ck_assert_int_ge(fd, 0);
	return fd;
}

uint64_t take_eventfd(int fd)
{
	uint64_t count = 0;
	int r = vmm_base_eventfd_clear(fd, &count);

	ck_assert(r == 0 || r == -EAGAIN);
	return count;
}

void wait_eventfd(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	ck_assert_int_eq(poll(&poll_fd, 1, 10000), 1);
}

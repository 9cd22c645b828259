/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * watchdog: the registers of the 6300ESB's watchdog, and its timer. Sections are those of the
 * Intel 6300ESB I/O Controller Hub datasheet (300641), chapter 16.
 *
 * Configuration space holds the mode, a BAR of 16 bytes the two preload values and the reload
 * register, whose writes count only after 0x80 and 0x86 were written to it.
 *
 * Locks: callbacks of pci come with the bridge's lock held and take ours; we never call pci
 * with ours held.
 */
#include <pthread.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>

#include <vmmcore/watchdog.h>

#include "base/util.h"

enum {
	VENDOR_INTEL = 0x8086,
	DEVICE_6300ESB_WATCHDOG = 0x25ab,
	CLASS_SYSTEM_PERIPHERAL = 0x088000,
	BAR_BYTES = 16,

	/* §16.4: configuration space */
	CONFIG_REGISTERS = 0x60,
	CONFIG_MODE = 0x60, /* 2 bytes */
	CONFIG_LOCK = 0x68, /* 1 byte */
	CONFIG_REGISTERS_BYTES = 12,

	MODE_1_MHZ = 1 << 2,
	MODE_NO_REBOOT = 1 << 5,
	MODE_WRITABLE = 0x27,
	LOCK_LOCKED = 1 << 0,
	LOCK_ENABLED = 1 << 1,
	LOCK_FREE_RUNNING = 1 << 2,
	LOCK_WRITABLE = 0x07,

	/* §16.5: memory space */
	REG_PRELOAD1 = 0x00,
	REG_PRELOAD2 = 0x04,
	REG_INTERRUPT = 0x08,
	REG_RELOAD = 0x0c,

	RELOAD_UNLOCK1 = 0x80,
	RELOAD_UNLOCK2 = 0x86,
	RELOAD_RELOAD = 1 << 8,
	RELOAD_TIMED_OUT = 1 << 9,
	PRELOAD_MASK = 0xfffff,

	PCI_HZ = 33000000,
};

#define NSEC_PER_SEC UINT64_C(1000000000)

struct vmm_watchdog {
	struct vmm_watchdog_config config;
	struct vmm_pci_function *function; /* owned */
	unsigned int slot;
	int timer_fd; /* owned */

	pthread_mutex_t lock; /* of all below */
	uint16_t mode;
	uint8_t lock_register;
	uint32_t preload[2];
	bool timed_out;
	unsigned int n_unlocked; /* steps of the sequence that were seen */
	unsigned int stage;      /* 1 or 2; 0: stopped */
	uint64_t deadline_nsec;  /* of the stage */
	bool paused;
	uint64_t left_nsec; /* while paused: of the stage */
};

static int set_timer(struct vmm_watchdog *w, uint64_t deadline_nsec)
{
	struct itimerspec spec = {
		.it_value.tv_sec = (time_t)(deadline_nsec / NSEC_PER_SEC),
		.it_value.tv_nsec = (long)(deadline_nsec % NSEC_PER_SEC),
	};

	return timerfd_settime(w->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0 ? -errno : 0;
}

static int stop(struct vmm_watchdog *w)
{
	w->stage = 0;
	w->deadline_nsec = 0;
	return set_timer(w, 0);
}

/* §16.5.1: the preload value is what stands in front of 15 bits of a counter, or of 5. */
static int start(struct vmm_watchdog *w, unsigned int stage)
{
	uint64_t ticks = (uint64_t)w->preload[stage - 1] << (w->mode & MODE_1_MHZ ? 5 : 15);
	uint64_t nsec = MAX(ticks * NSEC_PER_SEC / PCI_HZ, VMM_WATCHDOG_MIN_NSEC);

	w->stage = stage;
	w->left_nsec = nsec;
	if (w->paused)
		return 0;
	w->deadline_nsec = vmm_base_now_nsec() + nsec;
	return set_timer(w, w->deadline_nsec);
}

static void lock_written(struct vmm_watchdog *w, uint8_t value)
{
	bool was_enabled = w->lock_register & LOCK_ENABLED;

	if (w->lock_register & LOCK_LOCKED)
		return;
	w->lock_register = value & LOCK_WRITABLE;
	/* A timer that cannot be set is a watchdog that never barks: nothing to tell a guest. */
	if (!was_enabled && (w->lock_register & LOCK_ENABLED))
		(void)start(w, 1);
	else if (was_enabled && !(w->lock_register & LOCK_ENABLED))
		(void)stop(w);
}

static void config_written(void *userdata, unsigned int offset, unsigned int length)
{
	struct vmm_watchdog *w = userdata;
	uint8_t *bytes = vmm_pci_config_bytes(w->function);

	pthread_mutex_lock(&w->lock);
	if (offset < CONFIG_MODE + 2 && CONFIG_MODE < offset + length)
		w->mode = (uint16_t)(bytes[CONFIG_MODE] | bytes[CONFIG_MODE + 1] << 8);
	if (offset <= CONFIG_LOCK && CONFIG_LOCK < offset + length) {
		lock_written(w, bytes[CONFIG_LOCK]);
		bytes[CONFIG_LOCK] = w->lock_register;
	}
	pthread_mutex_unlock(&w->lock);
}

static const struct vmm_pci_ops pci_ops = {
	.config_written = config_written,
};

static void bar_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	struct vmm_watchdog *w = userdata;
	uint32_t value;

	if (!IS_ALIGNED(offset, sizeof(value)) || length > sizeof(value))
		return;
	pthread_mutex_lock(&w->lock);
	switch (offset) {
	case REG_PRELOAD1:
	case REG_PRELOAD2:
		value = w->preload[offset == REG_PRELOAD2];
		break;
	case REG_RELOAD:
		value = w->timed_out ? RELOAD_TIMED_OUT : 0;
		break;
	default:
		value = 0; /* REG_INTERRUPT: none is ever active */
		break;
	}
	pthread_mutex_unlock(&w->lock);
	memcpy(data, &value, length);
}

/* §16.5.4 */
static void reload_written(struct vmm_watchdog *w, uint32_t value)
{
	if (value & RELOAD_TIMED_OUT)
		w->timed_out = false;
	if ((value & RELOAD_RELOAD) && (w->lock_register & LOCK_ENABLED))
		(void)start(w, 1);
}

static void write_locked(struct vmm_watchdog *w, uint64_t offset, uint32_t value)
{
	if (w->n_unlocked < 2) {
		bool is_first = offset == REG_RELOAD && value == RELOAD_UNLOCK1;
		bool is_second = offset == REG_RELOAD && value == RELOAD_UNLOCK2;

		if (is_first)
			w->n_unlocked = 1;
		else
			w->n_unlocked = w->n_unlocked == 1 && is_second ? 2 : 0;
		return;
	}
	/* One write, then it is locked again. */
	w->n_unlocked = 0;
	if (offset == REG_PRELOAD1 || offset == REG_PRELOAD2)
		w->preload[offset == REG_PRELOAD2] = value & PRELOAD_MASK;
	else if (offset == REG_RELOAD)
		reload_written(w, value);
}

static void bar_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	struct vmm_watchdog *w = userdata;
	uint32_t value = 0;

	if (!IS_ALIGNED(offset, sizeof(value)) || length > sizeof(value))
		return;
	memcpy(&value, data, length);
	pthread_mutex_lock(&w->lock);
	write_locked(w, offset, value);
	pthread_mutex_unlock(&w->lock);
}

static const struct vmm_bus_ops bar_ops = {
	.read = bar_read,
	.write = bar_write,
};

static int make_function(struct vmm_watchdog *w)
{
	struct vmm_pci_function_config config = {
		.vendor_id = VENDOR_INTEL,
		.device_id = DEVICE_6300ESB_WATCHDOG,
		.class_code = CLASS_SYSTEM_PERIPHERAL,
		.bars[0] = { .size_bytes = BAR_BYTES, .ops = &bar_ops, .userdata = w },
		.ops = &pci_ops,
		.userdata = w,
	};
	uint8_t zeros[CONFIG_REGISTERS_BYTES] = { 0 }, writable[CONFIG_REGISTERS_BYTES] = { 0 };
	int r;

	writable[CONFIG_MODE - CONFIG_REGISTERS] = MODE_WRITABLE;
	writable[CONFIG_LOCK - CONFIG_REGISTERS] = LOCK_WRITABLE;
	r = vmm_pci_function_new(&config, &w->function);
	if (r < 0)
		return r;
	r = vmm_pci_add_registers(
		w->function, CONFIG_REGISTERS, zeros, writable, CONFIG_REGISTERS_BYTES);
	if (r < 0)
		return r;
	r = vmm_pci_bus_add(w->config.bus, w->function, w->config.slot);
	if (r < 0)
		return r;
	w->slot = (unsigned int)r;
	return 0;
}

int vmm_watchdog_new(const struct vmm_watchdog_config *config, struct vmm_watchdog **ret_watchdog)
{
	struct vmm_watchdog *w;
	int r;

	if (!config->bus)
		return -EINVAL;
	w = malloc(sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = (struct vmm_watchdog){
		.config = *config,
		.timer_fd = -EBADF,
		.preload = { PRELOAD_MASK, PRELOAD_MASK },
		.timed_out = config->has_expired,
	};
	pthread_mutex_init(&w->lock, NULL);
	w->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	r = w->timer_fd < 0 ? -errno : make_function(w);
	if (r < 0) {
		vmm_watchdog_free(w);
		return r;
	}
	*ret_watchdog = w;
	return 0;
}

struct vmm_watchdog *vmm_watchdog_free(struct vmm_watchdog *w)
{
	if (!w)
		return NULL;
	vmm_pci_function_free(w->function);
	vmm_base_close(w->timer_fd);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return NULL;
}

unsigned int vmm_watchdog_slot(const struct vmm_watchdog *w)
{
	return w->slot;
}

int vmm_watchdog_fd(const struct vmm_watchdog *w)
{
	return w->timer_fd;
}

/* A stage has run out. Returns 1 where the guest is to be told to have hung. */
static int stage_over(struct vmm_watchdog *w)
{
	bool reboots = !(w->mode & MODE_NO_REBOOT);
	int r;

	if (w->stage == 1)
		return start(w, 2);
	if (reboots)
		w->timed_out = true;
	r = w->lock_register & LOCK_FREE_RUNNING ? start(w, 1) : stop(w);
	return r < 0 ? r : reboots;
}

int vmm_watchdog_process(struct vmm_watchdog *w)
{
	int r = 0;

	pthread_mutex_lock(&w->lock);
	/* The clock decides, not the descriptor: the guest may have reloaded meanwhile. */
	(void)vmm_base_eventfd_clear(w->timer_fd, NULL);
	if (w->stage > 0 && !w->paused && vmm_base_now_nsec() >= w->deadline_nsec)
		r = stage_over(w);
	pthread_mutex_unlock(&w->lock);
	if (r > 0 && w->config.ops && w->config.ops->expired)
		w->config.ops->expired(w->config.userdata);
	return r < 0 ? r : 0;
}

int vmm_watchdog_pause(struct vmm_watchdog *w)
{
	uint64_t now = vmm_base_now_nsec();
	int r = 0;

	pthread_mutex_lock(&w->lock);
	if (!w->paused) {
		w->paused = true;
		w->left_nsec = w->deadline_nsec > now ? w->deadline_nsec - now : 0;
		r = set_timer(w, 0);
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

int vmm_watchdog_resume(struct vmm_watchdog *w)
{
	int r = 0;

	pthread_mutex_lock(&w->lock);
	if (w->paused) {
		w->paused = false;
		if (w->stage > 0) {
			w->deadline_nsec = vmm_base_now_nsec() + w->left_nsec;
			r = set_timer(w, w->deadline_nsec);
		}
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

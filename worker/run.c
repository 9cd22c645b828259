/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * run: the machine in motion: what vCPUs report, signals, the watchdog, pause, and the end.
 *
 *   | signal     | means                                        |
 *   |------------|----------------------------------------------|
 *   | SIGTERM    | stop; a second one is hard                   |
 *   | SIGRTMIN+4 | stop (machinectl poweroff)                   |
 *   | SIGINT     | reboot (machinectl reboot)                   |
 *   | SIGHUP     | reload: nothing can be changed this way yet  |
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "base/util.h"
#include "worker/machine.h"

#define POSTS_FINAL                                                                                \
	(MACHINE_POWERED_OFF | MACHINE_RESET | MACHINE_PANICKED | MACHINE_TRIPLE_FAULT |           \
		MACHINE_CANNOT_RUN | MACHINE_VCPU_FAILED | MACHINE_HUNG | MACHINE_HUNG_FAIL)

void machine_post(struct machine *machine, enum machine_post post)
{
	atomic_fetch_or(&machine->posted, post);
	if (post & POSTS_FINAL)
		atomic_store_explicit(&machine->over, true, memory_order_release);
	vmm_loop_event_signal(machine->posts);
}

/* ---- what life asks for ---- */

void machine_text(const struct machine *machine, char *text, size_t size)
{
	const struct guest_facts *facts = &machine->guest.facts;

	if (machine->life.state != VMM_STATE_RUNNING)
		life_text(&machine->life, text, size);
	else if (facts->shutdown[0])
		snprintf(text, size, "running, guest goes down (%s)", facts->shutdown);
	else if (facts->ready)
		snprintf(text, size, "running, guest %s%sis up", facts->hostname,
			facts->hostname[0] ? " " : "");
	else if (!machine->is_ready)
		snprintf(text, size, "running, guest boots");
	else
		life_text(&machine->life, text, size);
}

static void send_status(struct machine *machine)
{
	char text[VMM_DESCRIPTION_SIZE];

	machine_text(machine, text, sizeof(text));
	notify_send(&machine->notify, "STATUS=%s", text);
	control_event(machine, VMM_EVENT_STATE, 0, text);
}

int machine_press_button(struct machine *machine)
{
	if (machine->life.state == VMM_STATE_BUILDING || machine->life.state == VMM_STATE_ENDED)
		return -EBUSY;
	return vmm_ged_raise(machine->ged, VMM_GED_POWER_BUTTON);
}

int machine_ctrl_alt_del(struct machine *machine)
{
	return vmm_i8042_ctrl_alt_del(machine->i8042);
}

static void resume_all(struct machine *machine)
{
	if (machine->devices_paused && machine->guest_watchdog)
		vmm_watchdog_resume(machine->guest_watchdog);
	if (machine->devices_paused)
		for (size_t i = 0; i < machine->n_virtio; i++) {
			atomic_store(&machine->virtio[i].settling, false);
			if (machine_virtio_is_live(&machine->virtio[i]))
				vmm_virtio_resume(machine->virtio[i].device);
		}
	machine->devices_paused = false;
	vcpus_resume(machine);
}

static void act(struct machine *machine, unsigned int actions)
{
	if (actions & LIFE_RESUME) {
		control_paused(machine, -ECANCELED);
		resume_all(machine);
	}
	if (actions & LIFE_PRESS_BUTTON)
		machine_press_button(machine);
	if (actions & LIFE_CTRL_ALT_DEL)
		machine_ctrl_alt_del(machine);
	vmm_loop_timer_set(machine->tick, machine->life.next_nsec);
	if (actions & LIFE_FINISH)
		vmm_loop_quit(machine->loop, 0);
	if (actions != LIFE_NOTHING)
		send_status(machine);
}

static int on_tick(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct machine *machine = userdata;

	act(machine, life_tick(&machine->life, vmm_base_now_nsec()));
	return 0;
}

void machine_stop(struct machine *machine, enum vmm_how how)
{
	bool again = machine->life.stopping;

	log_message(&machine->log, LOG_PRIORITY_INFO,
		(struct log_about){ .id = LOG_ID_STOP_REQUESTED, .event = "stop-requested" },
		how == VMM_HOW_HARD || again ? "Stopping now."
					     : "Stopping: asking the guest to power off.");
	if (!again)
		notify_send(&machine->notify, "STOPPING=1");
	act(machine, life_stop(&machine->life, how, vmm_base_now_nsec()));
}

void machine_reboot(struct machine *machine, enum vmm_how how)
{
	act(machine, life_reboot(&machine->life, how, vmm_base_now_nsec()));
}

/* ---- pause ---- */

/* In the thread in which the last request ended. */
static void device_settled(void *userdata)
{
	struct machine_virtio *virtio = userdata;

	/* A resume may have been quicker. */
	if (atomic_exchange(&virtio->settling, false))
		vmm_loop_event_signal(virtio->machine->settled);
}

static bool all_settled(struct machine *machine)
{
	for (size_t i = 0; i < machine->n_virtio; i++)
		if (atomic_load(&machine->virtio[i].settling))
			return false;
	return true;
}

static int on_settled(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct machine *machine = userdata;

	if (machine->life.state == VMM_STATE_PAUSED && all_settled(machine))
		control_paused(machine, 0);
	return 0;
}

int machine_pause(struct machine *machine)
{
	int r;

	r = life_pause(&machine->life);
	if (r < 0)
		return r;
	r = vcpus_pause(machine);
	if (r < 0) {
		vcpus_resume(machine);
		life_resume(&machine->life);
		return r;
	}
	machine->devices_paused = true;
	if (machine->guest_watchdog)
		vmm_watchdog_pause(machine->guest_watchdog);
	for (size_t i = 0; i < machine->n_virtio; i++) {
		struct machine_virtio *virtio = &machine->virtio[i];

		if (!machine_virtio_is_live(virtio))
			continue;
		/* Before, as the callback may come before the call returns. */
		atomic_store(&virtio->settling, true);
		if (vmm_virtio_pause(virtio->device, device_settled, virtio) <= 0)
			atomic_store(&virtio->settling, false);
	}
	send_status(machine);
	return all_settled(machine) ? 0 : 1;
}

int machine_resume(struct machine *machine)
{
	int r;

	r = life_resume(&machine->life);
	if (r < 0)
		return r;
	control_paused(machine, -ECANCELED);
	resume_all(machine);
	send_status(machine);
	return 0;
}

/* ---- events ---- */

static void say_vcpu_failed(struct machine *machine)
{
	for (uint32_t i = 0; i < machine->vcpus.n_vcpus; i++) {
		const struct vcpu *vcpu = &machine->vcpus.vcpus[i];

		if (!vcpu->failed_step)
			continue;
		log_message(&machine->log, LOG_PRIORITY_ERROR,
			(struct log_about){ .id = LOG_ID_FAILED, .event = "failed" },
			"CPU %u failed: exit %d, detail 0x%llx 0x%llx, %s", i,
			(int)vcpu->last_exit.reason, (unsigned long long)vcpu->last_exit.detail[0],
			(unsigned long long)vcpu->last_exit.detail[1], strerror(-vcpu->result));
	}
}

static int on_posts(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	static const struct {
		enum machine_post post;
		enum vmm_end end;
		enum vmm_event event;
		enum log_priority priority;
		const char *id, *name, *text;
	} ends[] = {
		{ MACHINE_PANICKED, VMM_END_PANIC, VMM_EVENT_GUEST_PANICKED, LOG_PRIORITY_ERROR,
			LOG_ID_PANICKED, "panicked", "The guest panicked." },
		{ MACHINE_POWERED_OFF, VMM_END_POWEROFF, VMM_EVENT_POWERED_OFF, LOG_PRIORITY_INFO,
			LOG_ID_POWERED_OFF, "powered-off", "The guest powered off." },
		{ MACHINE_RESET, VMM_END_REBOOT, VMM_EVENT_RESET, LOG_PRIORITY_INFO,
			LOG_ID_REBOOTED, "rebooted", "The guest reboots." },
		{ MACHINE_TRIPLE_FAULT, VMM_END_TRIPLE_FAULT, VMM_EVENT_GUEST_PANICKED,
			LOG_PRIORITY_ERROR, LOG_ID_CRASHED, "crashed",
			"The guest crashed (triple fault)." },
		{ MACHINE_CANNOT_RUN, VMM_END_TRIPLE_FAULT, VMM_EVENT_GUEST_PANICKED,
			LOG_PRIORITY_ERROR, LOG_ID_CRASHED, "crashed",
			"The guest crashed (it runs into code that KVM cannot run)." },
		{ MACHINE_HUNG, VMM_END_REBOOT, VMM_EVENT_WATCHDOG, LOG_PRIORITY_WARNING,
			LOG_ID_CRASHED, "watchdog",
			"The guest has hung: its watchdog expired; it starts again." },
		{ MACHINE_HUNG_FAIL, VMM_END_WATCHDOG, VMM_EVENT_WATCHDOG, LOG_PRIORITY_ERROR,
			LOG_ID_CRASHED, "watchdog", "The guest has hung: its watchdog expired." },
		{ MACHINE_VCPU_FAILED, VMM_END_HOST_FAILURE, VMM_EVENT_STATE, LOG_PRIORITY_ERROR,
			LOG_ID_FAILED, "failed", "A CPU cannot go on." },
	};
	struct machine *machine = userdata;
	unsigned int posted = atomic_exchange(&machine->posted, 0);
	unsigned int actions;

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		if (!(posted & ends[i].post) || machine->life.state == VMM_STATE_ENDED)
			continue;
		if (ends[i].post & (MACHINE_VCPU_FAILED | MACHINE_CANNOT_RUN))
			say_vcpu_failed(machine);
		actions = life_end(&machine->life, ends[i].end);
		log_message(&machine->log, ends[i].priority,
			(struct log_about){ .id = ends[i].id, .event = ends[i].name }, "%s",
			ends[i].text);
		control_event(machine, ends[i].event, 0, ends[i].text);
		act(machine, actions);
	}
	return 0;
}

static int on_signal(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct machine *machine = userdata;
	struct signalfd_siginfo info;

	while (read(machine->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGTERM || info.ssi_signo == (uint32_t)SIGRTMIN + 4)
			machine_stop(machine, VMM_HOW_GRACEFUL);
		else if (info.ssi_signo == SIGINT)
			machine_reboot(machine, VMM_HOW_GRACEFUL);
	}
	return 0;
}

static void console_changed(void *userdata, unsigned int n_clients)
{
	struct machine *machine = userdata;

	log_message(&machine->log, LOG_PRIORITY_INFO,
		(struct log_about){ .id = LOG_ID_CONSOLE, .event = "console" },
		"%u attached to the console.", n_clients);
	control_event(machine, VMM_EVENT_CONSOLE, (int32_t)n_clients, NULL);
}

/* ---- readiness, and what the guest says of itself ---- */

static void become_ready(struct machine *machine)
{
	if (machine->is_ready)
		return;
	machine->is_ready = true;
	machine->ready_nsec = vmm_base_now_nsec();
	machine->console.awaited = NULL;
	vmm_loop_timer_set(machine->extend, 0);
	vsock_forget_port(&machine->vsock);
	notify_send(&machine->notify, "READY=1");
	send_status(machine);
	control_event(machine, VMM_EVENT_READY, 0, NULL);
}

/* What it has said, written on its console and read of its drives: one that is up and idle, or
 * hangs, does none of these. */
static uint64_t guest_progress(struct machine *machine)
{
	uint64_t progress = machine->guest.n_messages + ring_newest(&machine->console.ring);
	struct vmm_virtio_blk_status status;

	for (size_t i = 0; i < machine->n_virtio; i++) {
		struct machine_virtio *virtio = &machine->virtio[i];

		if (!machine_virtio_is_live(virtio) || !virtio->blk)
			continue;
		vmm_virtio_blk_get_status(virtio->blk, &status);
		progress += status.n_reads;
	}
	return progress;
}

/* With ReadyWhen=guest: as long as the guest goes on, its start does. */
static int on_extend(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct machine *machine = userdata;
	uint64_t progress = guest_progress(machine);

	if (progress != machine->seen_progress)
		notify_send(&machine->notify, "EXTEND_TIMEOUT_USEC=%llu",
			(unsigned long long)GUEST_EXTEND_USEC);
	machine->seen_progress = progress;
	vmm_loop_timer_set(machine->extend, vmm_base_now_nsec() + GUEST_EXTEND_NSEC);
	return 0;
}

static void seen_text(void *userdata)
{
	struct machine *machine = userdata;

	log_message(&machine->log, LOG_PRIORITY_INFO,
		(struct log_about){ .id = LOG_ID_GUEST_READY, .event = "guest-ready" },
		"The guest has written \"%s\": it is ready.", machine->spec->ready_text);
	become_ready(machine);
}

static void port_answers(struct machine *machine)
{
	log_message(&machine->log, LOG_PRIORITY_INFO,
		(struct log_about){ .id = LOG_ID_GUEST_READY, .event = "guest-ready" },
		"The guest answers on vsock port %u: it is ready, after %llu ms.",
		machine->spec->ready_port,
		(unsigned long long)(vmm_base_now_nsec() - machine->start_nsec) / 1000000);
	become_ready(machine);
}

static int wait_for_guest(struct machine *machine)
{
	int r = 0;

	/* The guest may have written already: everything is looked at. */
	machine->console.seen = seen_text;
	if (machine->spec->ready_text[0])
		machine->console.awaited = machine->spec->ready_text;
	if (machine->spec->ready_port != 0)
		r = vsock_await_port(machine, machine->spec->ready_port, port_answers);
	send_status(machine);
	/* That it runs is progress, whether or not it has come to writing. */
	machine->seen_progress = UINT64_MAX;
	on_extend(machine->extend, 0, machine);
	return r;
}

static void guest_changed(void *userdata)
{
	struct machine *machine = userdata;
	const struct guest_facts *facts = &machine->guest.facts;

	if (facts->shutdown[0] && !machine->guest_goes_down) {
		machine->guest_goes_down = true;
		log_message(&machine->log, LOG_PRIORITY_INFO,
			(struct log_about){
				.id = LOG_ID_GUEST_SHUTDOWN, .event = "guest-shutdown" },
			"The guest goes down: %s.", facts->shutdown);
	}
	if (facts->ready && !machine->guest_was_ready) {
		machine->guest_was_ready = true;
		log_message(&machine->log, LOG_PRIORITY_INFO,
			(struct log_about){ .id = LOG_ID_GUEST_READY, .event = "guest-ready" },
			"The guest %s%sis up, after %llu ms.", facts->hostname,
			facts->hostname[0] ? " " : "",
			(unsigned long long)(vmm_base_now_nsec() - machine->start_nsec) / 1000000);
		become_ready(machine);
	}
	send_status(machine);
}

/* ---- watchdog ---- */

/*
 * Each vCPU was kicked half an interval ago. Systemd hears of it where each has answered since,
 * and that this runs shows that the loop is alive.
 */
static int on_watchdog(struct vmm_loop_source *source, uint32_t events, void *userdata)
{
	struct machine *machine = userdata;
	struct vcpus *vcpus = &machine->vcpus;
	bool answered = machine->watchdog_asked;

	for (uint32_t i = 0; i < vcpus->n_vcpus; i++) {
		uint32_t n = vmm_vcpu_n_answers(vcpus->vcpus[i].vcpu);

		answered = answered && n != machine->watchdog_answers[i];
	}
	if (answered)
		notify_send(&machine->notify, "WATCHDOG=1");
	if (answered || !machine->watchdog_asked) {
		for (uint32_t i = 0; i < vcpus->n_vcpus; i++) {
			machine->watchdog_answers[i] = vmm_vcpu_n_answers(vcpus->vcpus[i].vcpu);
			vmm_vcpu_kick(vcpus->vcpus[i].vcpu);
		}
		machine->watchdog_asked = true;
	}
	/* A third: late answers have two more chances within the interval. */
	vmm_loop_timer_set(
		machine->watchdog, vmm_base_now_nsec() + machine->notify.watchdog_nsec / 3);
	return 0;
}

/* ---- the phases ---- */

int machine_prepare_run(struct machine *machine)
{
	sigset_t signals;
	int r;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGRTMIN + 4);
	/* Before the first thread, which inherits it. */
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	machine->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (machine->signal_fd < 0)
		return machine_fail_host(machine, -errno, "signals");
	r = vmm_loop_new(&machine->loop);
	if (r == 0)
		r = vmm_loop_add_fd(machine->loop, machine->signal_fd, EPOLLIN, on_signal, machine,
			&machine->signals);
	if (r == 0)
		r = vmm_loop_add_event(machine->loop, on_posts, machine, &machine->posts);
	if (r == 0)
		r = vmm_loop_add_event(machine->loop, on_settled, machine, &machine->settled);
	if (r == 0)
		r = machine_watch_errors(machine);
	if (r == 0)
		r = vmm_loop_add_timer(machine->loop, on_tick, machine, &machine->tick);
	if (r == 0)
		r = vmm_loop_add_timer(machine->loop, on_watchdog, machine, &machine->watchdog);
	if (r == 0)
		r = vmm_loop_add_timer(machine->loop, on_extend, machine, &machine->extend);
	guest_init(&machine->guest, machine->loop, guest_changed, machine);
	return r < 0 ? machine_fail_host(machine, r, "event loop") : 0;
}

int machine_run(struct machine *machine)
{
	int r = 0;

	machine->console.changed = console_changed;
	machine->console.userdata = machine;
	life_run(&machine->life);
	vcpus_open_gate(machine);
	machine->started_nsec = vmm_base_now_nsec();
	log_message(&machine->log, LOG_PRIORITY_INFO,
		(struct log_about){ .id = LOG_ID_STARTED, .event = "started" },
		"Started: %u CPUs, %llu MiB, after %llu us.", machine->spec->n_cpus,
		(unsigned long long)machine->spec->memory_bytes >> 20,
		(unsigned long long)(machine->started_nsec - machine->start_nsec) / 1000);
	if (machine->spec->ready == VMM_READY_GUEST)
		r = wait_for_guest(machine);
	else
		become_ready(machine);
	if (machine->notify.watchdog_nsec > 0)
		on_watchdog(machine->watchdog, 0, machine);

	if (r >= 0)
		r = vmm_loop_run(machine->loop);
	if (r < 0) {
		log_message(&machine->log, LOG_PRIORITY_ERROR,
			(struct log_about){ .id = LOG_ID_FAILED, .event = "failed" },
			"The event loop failed: %s", strerror(-r));
		life_end(&machine->life, VMM_END_HOST_FAILURE);
	}
	atomic_store(&machine->over, true);
	notify_send(&machine->notify, "STOPPING=1");
	vcpus_join(machine);
	console_drain(&machine->console);
	control_stop(machine);
	return life_exit_status(&machine->life);
}

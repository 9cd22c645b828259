/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * spawn-direct: workers are children of vmmd, for hosts without systemd as PID 1. Each runs
 * with a uid of its own in the sandbox that it builds itself. Only exit status 133, the
 * guest's reboot, starts it again.
 *
 * Workers outlive vmmd here too: the next one finds them by RUN_DIR/machine/NAME/state, where
 * pid and start time together name the process. It is no child then, and how it ends is known
 * from its last words on the control socket.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <systemd/sd-journal.h>
#include <time.h>

#include "base/util.h"
#include "broker.h"
#include "control.h"
#include "error.h"
#include "log.h"
#include "spawn-direct.h"
#include "spawn.h"
#include "sweep.h"
#include "worker/netns.h"
#include "worker/start.h"

#define START_USEC (UINT64_C(90) * 1000 * 1000)
#define STOP_USEC (UINT64_C(150) * 1000 * 1000)
#define FORCE_USEC (UINT64_C(3) * 1000 * 1000)
#define MAX_EXTEND_USEC (UINT64_C(600) * 1000 * 1000)

/* As StartLimitIntervalSec= and StartLimitBurst= of the unit: a guest that reboots at once,
 * again and again. */
#define BURST_USEC (UINT64_C(60) * 1000 * 1000)
enum {
	BURST_STARTS = 20,
};

/* machine->spawn */
struct worker {
	struct machine *machine; /* borrowed, outlives us */
	pid_t pid;
	int pidfd;       /* owned; -EBADF: no worker */
	bool child;      /* ours to wait for */
	bool stopping;   /* no new start */
	bool restarting; /* a new start, whatever the status */
	bool timed_out;
	uint64_t burst_since_usec;
	unsigned n_starts;            /* in this burst */
	sd_event_source *exit_source; /* owned */
	sd_event_source *timer;       /* owned */
};

static int start_worker(struct machine *machine);

static struct worker *worker_of(struct machine *machine)
{
	struct worker *worker = machine->spawn;

	if (!worker) {
		worker = malloc(sizeof(*worker));
		if (worker)
			*worker = (struct worker){ .machine = machine, .pidfd = -EBADF };
		machine->spawn = worker;
	}
	return worker;
}

static void forget_process(struct worker *worker)
{
	worker->exit_source = sd_event_source_disable_unref(worker->exit_source);
	worker->timer = sd_event_source_disable_unref(worker->timer);
	worker->pidfd = vmm_base_close(worker->pidfd);
	worker->pid = 0;
}

static int send_signal(struct worker *worker, int signal)
{
	if (worker->pidfd < 0)
		return -ESRCH;
	return pidfd_send_signal(worker->pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

/* ---- the end of a worker ---- */

static bool may_start_again(struct worker *worker)
{
	uint64_t now = vmm_base_now_nsec() / 1000;

	if (now - worker->burst_since_usec > BURST_USEC) {
		worker->burst_since_usec = now;
		worker->n_starts = 0;
	}
	return ++worker->n_starts <= BURST_STARTS;
}

/* status: as of exit, or minus a signal. */
static void ended(struct worker *worker, int status)
{
	struct machine *machine = worker->machine;
	bool again = worker->restarting || (status == VMM_WORKER_EXIT_REBOOT && !worker->stopping);
	bool timed_out = worker->timed_out;
	const char *result = status < 0 ? "signal" : machine_result_of_exit(status);
	int r;

	/* As systemd has it: one that had not yet learnt to handle SIGTERM has ended as asked. */
	if (status == -SIGTERM && worker->stopping) {
		status = VMM_WORKER_EXIT_POWEROFF;
		result = "success";
	}

	forget_process(worker);
	worker->restarting = false;
	worker->timed_out = false;
	if (again) {
		machine_set_unit(machine, UNIT_STARTING, 0);
		r = may_start_again(worker) ? 0 : -EAGAIN;
		if (r >= 0) {
			machine_set_restarts(machine, machine->n_restarts + 1);
			r = start_worker(machine);
		}
		if (r >= 0)
			return;
		machine_set_status(
			machine, "%s", r == -EAGAIN ? "the guest reboots too often" : strerror(-r));
		machine_set_result(machine, "resources", status);
		machine_set_unit(machine, UNIT_FAILED, 0);
		return;
	}
	machine_set_result(machine, timed_out ? "timeout" : result, status);
	if (status == VMM_WORKER_EXIT_CONFIG) {
		char reason[sizeof(machine->status_text)];

		memcpy(reason, machine->status_text, sizeof(reason));
		machine_set_failure(machine, reason);
	}
	if (status == VMM_WORKER_EXIT_POWEROFF || status == VMM_WORKER_EXIT_REBOOT) {
		machine_set_unit(machine, UNIT_INACTIVE, 0);
		return;
	}
	/* What one that was killed has said before is not about that. */
	if (status < 0)
		machine_set_status(machine, "%s", "");
	machine_explain_end(machine);
	machine_set_unit(machine, UNIT_FAILED, 0);
}

static int on_child(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct worker *worker = userdata;
	struct direct *direct = worker->machine->manager->spawn;

	if (direct->notify)
		notify_socket_drain(direct->notify);
	if (worker->machine->control)
		control_drain(worker->machine->control);
	ended(worker, info->si_code == CLD_EXITED ? info->si_status : -info->si_status);
	return 0;
}

static int on_pidfd(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct worker *worker = userdata;

	if (worker->machine->control)
		control_drain(worker->machine->control);
	/* It is no child: what it said last. */
	ended(worker, (int)vmm_worker_exit_status(worker->machine->worker_end));
	return 0;
}

/* ---- the start of a worker ---- */

static int watch_child(struct worker *worker)
{
	struct manager *manager = worker->machine->manager;
	int r;

	worker->pidfd = pidfd_open(worker->pid, 0);
	if (worker->pidfd < 0)
		return -errno;
	worker->child = true;
	r = sd_event_add_child(
		manager->event, &worker->exit_source, worker->pid, WEXITED, on_child, worker);
	if (r < 0)
		return r;
	/* The state first: what it said before it ended is read before its end. */
	return sd_event_source_set_priority(worker->exit_source, SD_EVENT_PRIORITY_NORMAL + 1);
}

static int start_worker(struct machine *machine)
{
	struct manager *manager = machine->manager;
	CLEANUP(close_p) int ours = -EBADF, theirs = -EBADF, log_fd = -EBADF;
	struct worker *worker = worker_of(machine);
	struct direct *direct = manager->spawn;
	struct worker_start start;
	int pair[2], r;
	pid_t pid;

	if (!worker)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	/* The worker's end waits. */
	if (fcntl(theirs, F_SETFL, 0) < 0)
		return -errno;
	log_fd = sd_journal_stream_fd(machine->unit, LOG_INFO, 1);
	start = (struct worker_start){
		.program = manager->worker,
		.name = machine->name,
		.notify_path = direct->notify ? direct->notify_path : NULL,
		.broker_fd = theirs,
		.netns_fd = direct->netns_fd,
		.output_fd = log_fd,
		.error_fd = log_fd,
	};
	r = worker_start(&start, &pid);
	if (r < 0)
		return r;
	worker->pid = pid;
	worker->stopping = false;
	r = watch_child(worker);
	if (r >= 0) {
		machine->handed = (struct machine_handed){
			.pid = pid,
			.uid = direct_choose_uid(machine),
			.n_restarts = machine->n_restarts,
		};
		r = direct_process_start(pid, &machine->handed.pid_start);
	}
	if (r >= 0) {
		machine_set_unit(machine, UNIT_STARTING, pid);
		r = broker_adopt(manager->broker, machine, &ours);
	}
	if (r < 0) {
		kill(pid, SIGKILL);
		/* Without a source nobody else waits for it; it has just been killed. */
		if (!worker->exit_source)
			waitpid(pid, NULL, 0);
	}
	return r;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct worker *worker = userdata;
	struct log_about about = { .name = worker->machine->name, .pid = worker->pid };

	log_line(LOG_WARNING, &about, "too slow, killing it");
	worker->timed_out = true;
	worker->stopping = true;
	send_signal(worker, SIGKILL);
	return 0;
}

static void set_timer(struct worker *worker, uint64_t usec)
{
	worker->timer = sd_event_source_disable_unref(worker->timer);
	if (sd_event_add_time_relative(worker->machine->manager->event, &worker->timer,
		    CLOCK_MONOTONIC, usec, 10000, on_timer, worker) < 0)
		log_warning("%s: no timer", worker->machine->name);
}

/* ---- operations ---- */

static void direct_start(struct job *job)
{
	struct machine *machine = job->machine;
	struct worker *worker = worker_of(machine);
	int r;

	if (machine_is_active(machine)) {
		job->watch_unit = true;
		job_accept(job);
		job_look(machine);
		return;
	}
	machine_set_restarts(machine, 0);
	machine_set_status(machine, "%s", "");
	machine_set_result(machine, "success", 0);
	if (worker)
		may_start_again(worker); /* by request: allowed, and counted */
	r = worker ? start_worker(machine) : -ENOMEM;
	if (r < 0) {
		job_fail(job, -VMMD_E_START_FAILED, strerror(-r));
		return;
	}
	set_timer(worker, START_USEC);
	job->watch_unit = true;
	job_accept(job);
}

static void direct_ready(struct machine *machine)
{
	struct worker *worker = machine->spawn;

	if (!worker || worker->pid == 0 || machine->unit_state != UNIT_STARTING)
		return;
	worker->timer = sd_event_source_disable_unref(worker->timer);
	machine_set_unit(machine, UNIT_ACTIVE, worker->pid);
	machine->handed.since_usec = machine->state_usec;
	machine->handed.since_monotonic_usec = machine->state_monotonic_usec;
	machine_save_handed(machine);
}

static void direct_stop(struct job *job)
{
	struct machine *machine = job->machine;
	struct worker *worker = machine->spawn;
	int r;

	if (!worker || worker->pid == 0) {
		job_finish(job, "done");
		return;
	}
	worker->stopping = true;
	r = send_signal(worker, SIGTERM);
	if (r < 0 && r != -ESRCH) {
		job_fail(job, r, strerror(-r));
		return;
	}
	set_timer(worker, STOP_USEC);
	job->watch_unit = true;
	job_accept(job);
	machine_set_unit(machine, UNIT_STOPPING, worker->pid);
}

static void direct_force(struct machine *machine)
{
	struct vmm_control_how hard = { .how = VMM_HOW_HARD };
	struct worker *worker = machine->spawn;
	int r = -ENOTCONN;

	if (!worker || worker->pid == 0)
		return;
	worker->stopping = true;
	if (machine->control)
		r = control_request(machine->control, VMM_CONTROL_STOP, &hard, sizeof(hard), -EBADF,
			NULL, NULL);
	if (r < 0)
		send_signal(worker, SIGKILL);
	else
		set_timer(worker, FORCE_USEC);
}

static void direct_restart(struct job *job)
{
	struct worker *worker = job->machine->spawn;

	if (!worker || worker->pid == 0) {
		job_fail(job, -VMMD_E_MACHINE_NOT_RUNNING, NULL);
		return;
	}
	worker->restarting = true;
	job->watch_unit = true;
	job_accept(job);
	send_signal(worker, SIGKILL);
}

static void direct_cancel(struct job *job)
{
	struct worker *worker = job->machine->spawn;

	if (job->kind != JOB_START || !worker || worker->pid == 0)
		return;
	worker->stopping = true;
	send_signal(worker, SIGTERM);
	set_timer(worker, FORCE_USEC);
}

static void direct_kill(
	struct machine *machine, bool all, int signal, spawn_done_t done, void *userdata)
{
	struct worker *worker = machine->spawn;
	int r = worker ? send_signal(worker, signal) : -ESRCH;

	done(userdata, r, r < 0 ? strerror(-r) : NULL);
}

static void direct_forget(struct machine *machine)
{
	struct worker *worker = machine->spawn;

	if (worker)
		forget_process(worker);
	free(worker);
	machine->spawn = NULL;
}

/* ---- workers of a vmmd before this one ---- */

static int find_worker(struct manager *manager, const char *name)
{
	struct machine *machine;
	struct worker *worker;
	uint64_t start;
	int r;

	r = manager_ensure(manager, name, &machine);
	if (r < 0)
		return r;
	r = machine_load_handed(machine);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	worker = worker_of(machine);
	if (!worker)
		return -ENOMEM;
	worker->pidfd = pidfd_open(machine->handed.pid, 0);
	if (worker->pidfd < 0 || direct_process_start(machine->handed.pid, &start) < 0 ||
		start != machine->handed.pid_start) {
		forget_process(worker);
		machine->handed = (struct machine_handed){};
		return 0;
	}
	worker->pid = machine->handed.pid;
	worker->child = false;
	r = sd_event_add_io(
		manager->event, &worker->exit_source, worker->pidfd, EPOLLIN, on_pidfd, worker);
	if (r >= 0)
		r = sd_event_source_set_priority(worker->exit_source, SD_EVENT_PRIORITY_NORMAL + 1);
	if (r < 0)
		return r;
	machine_set_restarts(machine, machine->handed.n_restarts);
	machine_set_unit(machine, UNIT_ACTIVE, worker->pid);
	machine_set_since(
		machine, machine->handed.since_usec, machine->handed.since_monotonic_usec);
	r = machine_connect_control(machine);
	if (r < 0)
		log_warning("%s: its worker cannot be reached: %s", name, strerror(-r));
	else
		sweep_machine(machine);
	return 0;
}

/* Of what a worker says: why it cannot start, and that it takes longer. READY=1 is an event of
 * the control socket. */
static void on_notify(void *userdata, pid_t pid, const char *line)
{
	struct direct *direct = userdata;
	struct manager *manager = direct->manager;
	unsigned long long usec;

	for (size_t i = 0; i < manager->n_machines; i++) {
		struct machine *machine = manager->machines[i];

		if (machine->leader != pid)
			continue;
		if (strncmp(line, "STATUS=", 7) == 0)
			machine_set_status(machine, "%s", line + 7);
		else if (machine->unit_state == UNIT_STARTING &&
			 sscanf(line, "EXTEND_TIMEOUT_USEC=%llu", &usec) == 1)
			set_timer(machine->spawn, MIN(usec, (unsigned long long)MAX_EXTEND_USEC));
		return;
	}
}

static int direct_enumerate(struct manager *manager)
{
	struct direct *direct = manager->spawn;
	CLEANUP(free_p) char *path = NULL;
	struct dirent *entry;
	DIR *dir;
	int r = 0;

	if (asprintf(&path, "%s/machine", manager->run_dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if ((size_t)snprintf(direct->notify_path, sizeof(direct->notify_path), "%s/notify",
		    manager->run_dir) < sizeof(direct->notify_path))
		r = notify_socket_new(
			manager->event, direct->notify_path, on_notify, direct, &direct->notify);
	if (!direct->notify)
		log_warning("workers cannot say why they fail: %s/notify: %s", manager->run_dir,
			strerror(r < 0 ? -r : ENAMETOOLONG));
	r = 0;
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (r >= 0 && (entry = readdir(dir)))
		if (config_name_valid(entry->d_name))
			r = find_worker(manager, entry->d_name);
	closedir(dir);
	if (r >= 0)
		manager_units_known(manager);
	return r;
}

static int direct_init(struct manager *manager)
{
	struct direct *direct = calloc(1, sizeof(*direct));
	int none = -EBADF;

	if (!direct)
		return -ENOMEM;
	direct->manager = manager;
	/* Not allowed to: then workers try, who report it. */
	if (vmm_netns_new(&direct->netns_fd) < 0)
		direct->netns_fd = -EBADF;
	manager->spawn = direct;
	return broker_new(manager, &none, &manager->broker);
}

static void direct_finish(struct manager *manager)
{
	struct direct *direct = manager->spawn;

	if (direct) {
		notify_socket_free(direct->notify);
		vmm_base_close(direct->netns_fd);
	}
	free(direct);
}

static void *direct_authenticate(
	struct machine *machine, const struct peer *peer, spawn_done_t done, void *userdata)
{
	done(userdata, -EPERM, "vmmd starts its workers itself");
	return NULL;
}

static void direct_authenticate_cancel(void *handle)
{
}

const struct spawner_ops spawner_direct = {
	.name = "direct",
	.init = direct_init,
	.finish = direct_finish,
	.enumerate = direct_enumerate,
	.forget = direct_forget,
	.start = direct_start,
	.stop = direct_stop,
	.restart = direct_restart,
	.force = direct_force,
	.cancel = direct_cancel,
	.worker_ready = direct_ready,
	.kill = direct_kill,
	.authenticate = direct_authenticate,
	.authenticate_cancel = direct_authenticate_cancel,
};

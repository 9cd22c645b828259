/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * ctl: what all verbs of vmmctl share: the options, the tables of verbs and options, the bus.
 *
 * A verb returns the exit status of the program: 0, 1 for a failure that it has already told of on
 * stderr, or what its help text says. Only one thread.
 */
#ifndef VMMCTL_CTL_H
#define VMMCTL_CTL_H

#include "value.h"

#define COLOR_OFF "\033[0m"
#define COLOR_UNDERLINE "\033[4m"
#define COLOR_BOLD "\033[1m"
#define COLOR_GREEN "\033[1;32m"
#define COLOR_YELLOW "\033[1;33m"
#define COLOR_RED "\033[1;31m"
#define COLOR_GREY "\033[90m"

enum json_mode {
	JSON_OFF,
	JSON_SHORT,
	JSON_PRETTY,
};

/* Words that options collect. */
struct words {
	char **items; /* owned */
	size_t n_items;
};

struct ctl {
	sd_bus *bus;          /* owned; NULL until ctl_connect() */
	pid_t agent_pid;      /* the polkit agent, 0 when there is none */
	pid_t pager_pid;      /* the same for the pager */
	const char *host;     /* borrowed; NULL: this one */
	const char *verb;     /* borrowed */
	const char *harmless; /* borrowed: an error of the bus that is none to this verb, or NULL */
	enum json_mode json;
	bool colors, legend, quiet, block, ask_password, pager;
	size_t columns; /* of the terminal; 0: no limit */

	/* list, status, show */
	bool full, value_only;
	struct words properties, states;
	unsigned n_lines;
	const char *output;
	/* start, stop, reboot, kill, enable */
	bool force, now, runtime;
	const char *signal, *whom, *job_mode;
	uint64_t timeout_usec;
	/* console, logs */
	bool steal, read_only, no_replay, follow;
	/* define, run */
	bool replace, detach, dry_run, keys;
	const char *root, *name, *kernel, *initrd, *append, *cpus, *memory;
	struct words drives, networks, settings;
	/* import-image, clone */
	const char *format, *size;
	/* top, metrics */
	uint64_t interval_usec, count;
	bool http;
	/* proxy, forward */
	bool fdpass;
	uint64_t idle_usec;
	const char *on_idle;
};

/* ---- verbs.c: the tables ---- */

struct option_info {
	const char *name;
	char letter;          /* 0: none */
	const char *argument; /* NULL: takes none */
	const char *help;
};

enum verb_group {
	GROUP_LOOK,
	GROUP_RUN,
	GROUP_DEVICES,
	GROUP_CONFIG,
	GROUP_REACH,
	GROUP_IMAGES,
	N_GROUPS,
};

struct verb {
	const char *name;
	const char *aliases;   /* separated by blanks; NULL: none */
	const char *arguments; /* as the usage line shows them */
	int min, max;          /* number of arguments; max -1: any */
	enum verb_group group;
	const char *summary;
	const char *options; /* names of the options that it knows beside the common ones; json is
				one of them: whoever prints data must have it */
	const char *details; /* for its help; NULL: none */
	int (*run)(struct ctl *ctl, char **arguments);
};

extern const struct option_info ctl_options[];
extern const size_t ctl_n_options;
extern const char *const ctl_common_options;
extern const struct verb ctl_verbs[];
extern const size_t ctl_n_verbs;

const struct verb *verb_find(const char *name);
bool verb_has_option(const struct verb *verb, const char *option);

/* The word of candidates (separated by blanks) that is nearest to word, NULL when none is near. */
char *nearest_word(const char *word, const char *candidates);

/* ---- pager.c ---- */

/* From here on stdout goes through a pager where that is of use. */
void ctl_open_pager(struct ctl *ctl);
void ctl_close_pager(struct ctl *ctl);

/* ---- bus.c ---- */

#define VMMD_NAME "org.vmmd1"
#define VMMD_PATH "/org/vmmd1"
#define VMMD_MANAGER "org.vmmd1.Manager"
#define VMMD_MACHINE "org.vmmd1.Machine"
#define VMMD_JOB "org.vmmd1.Job"
#define SYSTEMD_NAME "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"

/* 0, or tells of the failure and returns it. */
int ctl_connect(struct ctl *ctl);

/* For things that may need a password: lets polkit ask for it on the terminal. */
void ctl_open_agent(struct ctl *ctl);
void ctl_finish(struct ctl *ctl);

/*
 * Calls a method of the manager with the arguments that types and what follows say, and waits for
 * its reply, which is the caller's; ret_reply may be NULL. what names the machine or file in the
 * error message, NULL: none. 0, or tells of the failure and returns it.
 */
int ctl_call(struct ctl *ctl, const char *what, const char *member, sd_bus_message **ret_reply,
	const char *types, ...);

/* The same with a message that is complete where r is not negative; takes it over. */
int ctl_send(struct ctl *ctl, const char *what, sd_bus_message *message, int r);

/* The same for any service. -EALREADY: the error that is harmless here, told as a note. */
int ctl_call_to(struct ctl *ctl, const char *what, const char *service, const char *path,
	const char *interface, const char *member, sd_bus_message **ret_reply, const char *types,
	...);

/* "vmmctl: WHAT: TEXT" for an error of the bus; always negative. */
int ctl_bus_error(struct ctl *ctl, const char *what, const sd_bus_error *error, int r);

/* All properties of interface at path of service. quietly: no message on failure. */
int ctl_properties(struct ctl *ctl, const char *what, const char *service, const char *path,
	const char *interface, bool quietly, struct value *ret);

/* All properties of one machine; its object path in *ret_path, which may be NULL. */
int ctl_machine(struct ctl *ctl, const char *name, struct value *ret, char **ret_path);

/*
 * What vmmd finds wrong with a machine's configuration and what it names: the array that
 * VerifyMachine returns. Asks for no password. Negative, quietly, where vmmd cannot or must not
 * say.
 */
int ctl_verify(struct ctl *ctl, const char *name, struct value *ret);

/* The directory below which .vm files lie: --root=, or what vmmd says where it runs, or "" for /.
 */
char *ctl_config_root(const struct ctl *ctl);

/* Has systemd read its units again, and so the drop-ins that come of .vm files. Says what to do
 * where it cannot. */
void ctl_reload_systemd(struct ctl *ctl);

/* Says so when systemd has not read a machine's file as it is now. */
void ctl_warn_stale(struct ctl *ctl, const char *name);

/* Where a machine has gone that systemd would start at boot: not any more. Negative after telling.
 */
int ctl_disable_undefined(struct ctl *ctl, const char *name);

/* All machines: an array of objects as ctl_machine() gives, sorted by name. */
int ctl_machines(struct ctl *ctl, struct value *ret);

/*
 * The machine's name in an argument: NAME, vmm@NAME, vmm@NAME.service. NULL after telling that it
 * is none. Borrowed from the argument, which is changed.
 */
const char *ctl_machine_name(char *argument);

/* "vmmctl: TEXT" on stderr. */
void ctl_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void ctl_note(const struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- job.c ---- */

/* Jobs that are waited for. {} is none. */
struct jobs {
	struct job {
		char *path;    /* owned */
		char *machine; /* owned */
		char *result;  /* owned; NULL: still under way */
	} * items;             /* owned */
	size_t n_items;
	size_t n_pending;
	sd_bus_slot *slots[2]; /* owned */
	char *early;           /* owned; results that came before their job was added */
	bool lost;             /* vmmd has gone */
};

/* Before the first call that makes a job. */
int jobs_begin(struct ctl *ctl, struct jobs *jobs);
void jobs_add(struct jobs *jobs, const char *path, const char *machine);

/* Waits for all of them and tells of each that failed: 0 or 1, as an exit status. */
int jobs_wait(struct ctl *ctl, struct jobs *jobs);
void jobs_finish(struct jobs *jobs);

/* Where to look further when the machine has failed. */
void hint_at_log(const struct ctl *ctl, const char *name);

/* ---- format.c: for people ---- */

/* "512.0M"; "-" is for the caller to say. The result is the caller's. */
char *format_bytes(uint64_t bytes);
/* "3min 2s": the two largest units. */
char *format_duration(uint64_t usec);
/* "Sun 2026-11-22 08:30:12 UTC" */
char *format_time(uint64_t realtime_usec);
uint64_t realtime_usec(void);
const char *state_color(const char *state);
const char *state_glyph(const char *state);

/* The machine as JSON shows it: stable names, see json_names. Takes what ctl_machine() gives. */
struct value machine_to_json(const struct value *machine);

/* Copies what can be copied of value to JSON on stdout, as the options say. */
void ctl_print_json(const struct ctl *ctl, const struct value *value);

/* ---- wait.c ---- */

/* Follows what a machine does by signals. {} is none. */
struct watch {
	const char *name;      /* borrowed */
	struct value machine;  /* owned: its properties as far as they are known */
	bool removed;          /* its object has gone */
	bool renewed;          /* vmmd has come back: ask again */
	sd_bus_slot *slots[3]; /* owned */
};

/* Begins with nothing known; watch_refresh() asks vmmd. Both: 0, or tell and return the failure. */
int watch_begin(struct ctl *ctl, struct watch *watch, const char *name);
int watch_refresh(struct ctl *ctl, struct watch *watch);

/* Whether it is inactive or failed or gone, and the exit status that stands for how it ended. */
bool watch_has_ended(const struct watch *watch, int *ret_status);

/* Waits for that: the exit status, or a negative errno after telling of it. */
int watch_wait(struct ctl *ctl, struct watch *watch);
void watch_finish(struct watch *watch);

/* ---- console.c ---- */

/* Why attaching ended. */
enum console_end {
	CONSOLE_DETACHED, /* the escape sequence, or the reader of our output has gone */
	CONSOLE_ENDED,    /* the machine */
	CONSOLE_FAILED,   /* told of already */
};

/* Attaches stdin and stdout to the console of a machine that watch follows, over its reboots.
 * is_run: SIGTERM, SIGHUP and SIGINT stop the machine instead of the program, and one that has
 * ended already has ended. */
enum console_end console_attach(struct ctl *ctl, struct watch *watch, bool is_run);

/* ---- config-verbs.c ---- */

/* Tells of all messages; 0 when none is an error, 1 otherwise, as an exit status. */
struct config_messages;
int print_messages(
	const struct ctl *ctl, const struct config_messages *messages, struct value *json);

/* A memfd with text in it. Negative after telling. */
int text_to_fd(const char *text, size_t size);

/* All of a file, "-" for stdin; *ret is the caller's. Negative after telling. */
int read_text(const char *path, char **ret, size_t *ret_size);

/* "web" out of "/some/where/web.vm". The result is the caller's. */
char *name_of_file(const char *path);

/* ---- the verbs ---- */

int verb_list(struct ctl *ctl, char **arguments);
int verb_list_jobs(struct ctl *ctl, char **arguments);
int verb_cancel(struct ctl *ctl, char **arguments);
int verb_status(struct ctl *ctl, char **arguments);
int verb_show(struct ctl *ctl, char **arguments);
int verb_is_active(struct ctl *ctl, char **arguments);
int verb_logs(struct ctl *ctl, char **arguments);
int verb_start(struct ctl *ctl, char **arguments);
int verb_stop(struct ctl *ctl, char **arguments);
int verb_terminate(struct ctl *ctl, char **arguments);
int verb_reboot(struct ctl *ctl, char **arguments);
int verb_pause(struct ctl *ctl, char **arguments);
int verb_resume(struct ctl *ctl, char **arguments);
int verb_kill(struct ctl *ctl, char **arguments);
int verb_wait(struct ctl *ctl, char **arguments);
int verb_run(struct ctl *ctl, char **arguments);
int verb_define(struct ctl *ctl, char **arguments);
int verb_undefine(struct ctl *ctl, char **arguments);
int verb_cat(struct ctl *ctl, char **arguments);
int verb_edit(struct ctl *ctl, char **arguments);
int verb_verify(struct ctl *ctl, char **arguments);
int verb_doctor(struct ctl *ctl, char **arguments);
int verb_enable(struct ctl *ctl, char **arguments);
int verb_disable(struct ctl *ctl, char **arguments);
int verb_reload(struct ctl *ctl, char **arguments);
int verb_list_devices(struct ctl *ctl, char **arguments);
int verb_attach_drive(struct ctl *ctl, char **arguments);
int verb_detach_drive(struct ctl *ctl, char **arguments);
int verb_attach_network(struct ctl *ctl, char **arguments);
int verb_detach_network(struct ctl *ctl, char **arguments);
int verb_set_limits(struct ctl *ctl, char **arguments);
int verb_resize_drive(struct ctl *ctl, char **arguments);
int verb_memory(struct ctl *ctl, char **arguments);
int verb_console(struct ctl *ctl, char **arguments);
int verb_list_images(struct ctl *ctl, char **arguments);
int verb_import_image(struct ctl *ctl, char **arguments);
int verb_clone(struct ctl *ctl, char **arguments);
int verb_remove_image(struct ctl *ctl, char **arguments);
int verb_top(struct ctl *ctl, char **arguments);
int verb_monitor(struct ctl *ctl, char **arguments);
int verb_metrics(struct ctl *ctl, char **arguments);
int verb_ssh(struct ctl *ctl, char **arguments);
int verb_exec(struct ctl *ctl, char **arguments);
int verb_cp(struct ctl *ctl, char **arguments);
int verb_proxy(struct ctl *ctl, char **arguments);
int verb_forward(struct ctl *ctl, char **arguments);
int verb_help(struct ctl *ctl, char **arguments);

#endif

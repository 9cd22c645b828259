/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * config: .vm files. Reads /etc/vmm/NAME.vm (else /run/vmm, else /usr/lib/vmm) and the drop-ins
 * NAME.vm.d/NN.conf of all three directories into a struct vm_config. One table of keys
 * (config-keys.c) drives parsing, defaults, limits, "did you mean", and what documents or completes
 * keys.
 *
 * Syntax: [Section] lines, Key=Value lines, comments from # or ; at the start of a line, a
 * backslash at the end joins the next line. [Drive], [Network] and [Share] may stand several times;
 * in a drop-in a section whose Name= (a share's Tag=) is known changes that one. The lines of
 * [Unit], [Service] and [Install] are kept as they are, for the generator.
 *
 * Everything is bounded by the CONFIG_MAX_ values. A library without D-Bus, systemd or a log:
 * vmmd, vmmctl and the generator link it. It prints nothing: what is wrong comes back as
 * messages with file, line and key.
 *
 * Threads: no state of its own; an object belongs to one thread at a time.
 */
#ifndef VMMD_CONFIG_H
#define VMMD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
	CONFIG_MAX_FILE_BYTES = 256 * 1024,
	CONFIG_MAX_LINE_BYTES = 8 * 1024, /* a whole line, continuations included */
	CONFIG_MAX_VALUE_BYTES = 4 * 1024,
	CONFIG_MAX_SECTIONS = 256, /* a file */
	CONFIG_MAX_DROPINS = 64,
	CONFIG_MAX_DRIVES = 24,
	CONFIG_MAX_NETWORKS = 8,
	CONFIG_MAX_PAIRS = 8,     /* of queues, a network */
	CONFIG_MAX_FORWARDS = 32, /* of ports, a network */
	CONFIG_MAX_ZONE = 12,     /* characters: with vz- before it, it names a link */
	CONFIG_MAX_PMEM = 8,
	CONFIG_MAX_SHARES = 8,
	CONFIG_MAX_LINES = 1024, /* passed through, all files together */
	CONFIG_MAX_MESSAGES = 64,
	CONFIG_MAX_NAME = 27,
	CONFIG_MAX_MACHINES = 4096,
};

enum config_severity {
	CONFIG_WARNING,
	CONFIG_ERROR,
};

struct config_message {
	enum config_severity severity;
	char *file;    /* owned, never NULL */
	unsigned line; /* from 1; 0: the file as a whole */
	char *key;     /* owned, "[Section] Key=", "[Section]" or "" */
	char *text;    /* owned: the reason */
};

/* {} is an empty list. Takes CONFIG_MAX_MESSAGES, then counts only. */
struct config_messages {
	struct config_message *items; /* owned */
	size_t n_items;
	size_t n_errors; /* also those that no longer fit */
};

void config_messages_finish(struct config_messages *messages);

/* Adds one; -ENOMEM is the only failure. file and key may be NULL. */
int config_messages_add(struct config_messages *messages, enum config_severity severity,
	const char *file, unsigned line, const char *key, const char *format, ...)
	__attribute__((format(printf, 6, 7)));

/* "FILE:LINE: KEY: TEXT", without line and key where there are none. *ret is the caller's. */
int config_message_format(const struct config_message *message, char **ret);

/* The first error, NULL when there is none. */
const struct config_message *config_messages_first_error(const struct config_messages *messages);

/* Where a value was written. line 0: nowhere, it is the default. */
struct config_where {
	unsigned file; /* index into vm_config.files */
	unsigned line;
};

struct config_string {
	char *value; /* owned; NULL: not set */
	struct config_where where;
};

struct config_number {
	uint64_t value; /* sizes in bytes; choices as their index; booleans 0 or 1 */
	struct config_where where;
};

enum config_transport {
	CONFIG_TRANSPORT_PCI,
	CONFIG_TRANSPORT_MMIO,
};

enum config_console {
	CONFIG_CONSOLE_SERIAL,
	CONFIG_CONSOLE_VIRTIO,
};

enum config_watchdog {
	CONFIG_WATCHDOG_NO,
	CONFIG_WATCHDOG_RESTART,
	CONFIG_WATCHDOG_FAIL,
};

enum config_huge_pages {
	CONFIG_HUGE_PAGES_NO,
	CONFIG_HUGE_PAGES_TRANSPARENT,
	CONFIG_HUGE_PAGES_2M,
	CONFIG_HUGE_PAGES_1G,
};

enum config_cache {
	CONFIG_CACHE_WRITE_BACK,
	CONFIG_CACHE_WRITE_THROUGH,
	CONFIG_CACHE_DIRECT,
	CONFIG_CACHE_UNSAFE,
};

enum config_device {
	CONFIG_DEVICE_DISK,
	CONFIG_DEVICE_PMEM,
};

enum config_engine {
	CONFIG_ENGINE_AUTO,
	CONFIG_ENGINE_THREADS,
	CONFIG_ENGINE_IO_URING,
};

enum config_format {
	CONFIG_FORMAT_RAW,
	CONFIG_FORMAT_QCOW2,
	CONFIG_FORMAT_QED,
	CONFIG_FORMAT_VDI,
	CONFIG_FORMAT_VHDX,
	CONFIG_FORMAT_VMDK,
	CONFIG_FORMAT_VPC,
	CONFIG_N_FORMATS,
};

/* As it is written: "qcow2". */
const char *config_format_name(enum config_format format);

enum { CONFIG_MAX_READY_TEXT = 63 };

enum config_ready {
	CONFIG_READY_RUNNING,
	CONFIG_READY_GUEST,
};

struct config_machine {
	struct config_string description;
	struct config_number cpus;
	struct config_number memory_bytes;
	struct config_number huge_pages;   /* enum config_huge_pages */
	struct config_number prefault;     /* boolean */
	struct config_number transport;    /* enum config_transport */
	struct config_number packed_rings; /* boolean */
	struct config_number rng;          /* boolean */
	struct config_number console;      /* enum config_console */
	struct config_number watchdog;     /* enum config_watchdog */
	struct config_number balloon;      /* boolean */
	struct config_number hotplug_bytes;
	struct config_number ready_when; /* enum config_ready */
	struct config_string ready_text;
	struct config_number ready_port;    /* of the guest's vsock; 0: none */
	struct config_number rng_limit;     /* bytes a second; 0: none */
	struct config_number console_limit; /* bytes a second, of a virtio console; 0: none */
};

struct config_boot {
	struct config_string kernel;
	struct config_string initrd;
	struct config_string command_line; /* several CommandLine= joined by a blank */
};

struct config_vsock {
	struct config_number enabled;         /* boolean */
	struct config_number cid;             /* 0: made from the name */
	struct config_number vhost;           /* boolean: the host's kernel serves it */
	struct config_string host_ports;      /* see config_next_host_port() */
	struct config_number bandwidth_limit; /* bytes a second, each way; 0: none */
};

/* A token bucket. Without a limit it has no bursts. */
struct config_bucket {
	struct config_number limit; /* a second; 0: none */
	struct config_number burst; /* 0: chosen by the limiter */
	struct config_number one_time_burst;
};

struct config_limits {
	struct config_bucket bytes, operations;
};

struct config_drive {
	struct config_string name;
	struct config_string path;      /* either this */
	struct config_number device;    /* enum config_device */
	struct config_string socket;    /* or this: of a vhost-user-blk back end */
	struct config_number format;    /* enum config_format, of path */
	struct config_number reconnect; /* seconds */
	struct config_number read_only; /* boolean */
	struct config_number cache;     /* enum config_cache */
	struct config_number engine;    /* enum config_engine */
	struct config_number discard;   /* boolean */
	struct config_string serial;    /* not set: the name */
	struct config_number queues;
	struct config_number block_size; /* index of 512, 4096; the file's own where not set */
	struct config_limits limits;
	struct config_where where; /* of the section's first line */
};

struct config_network {
	struct config_string name;
	struct config_string bridge;
	struct config_string zone;      /* of the bridge vz-ZONE */
	struct config_string macvtap;   /* the link below: a macvtap, instead of a tap */
	struct config_number user;      /* boolean: passt, instead of a tap */
	struct config_string forward;   /* with user; see config_next_forward() */
	struct config_string socket;    /* of a vhost-user-net back end, instead of a tap */
	struct config_number reconnect; /* seconds */
	struct config_number vhost;     /* boolean: the host's kernel serves the tap */
	struct config_number queues;    /* pairs of them, each a descriptor of the tap */
	struct config_string mac;       /* "52:54:00:12:34:56"; not set: made from the names */
	struct config_limits receive, transmit;
	struct config_where where;
};

struct config_share {
	struct config_string tag;       /* its name, here and in the guest */
	struct config_string path;      /* either this directory */
	struct config_string socket;    /* or this: of a vhost-user-fs back end */
	struct config_number read_only; /* boolean, of path */
	struct config_number reconnect; /* seconds */
	struct config_where where;
};

/* Whether a unit of its own serves it: vmm-drive@.service, vmm-share@.service. */
bool config_drive_has_unit(const struct config_drive *drive);
bool config_share_has_unit(const struct config_share *share);

enum config_pass_section {
	CONFIG_PASS_UNIT,
	CONFIG_PASS_SERVICE,
	CONFIG_PASS_INSTALL,
	CONFIG_N_PASS_SECTIONS,
};

/* One "Key=Value" line of a section that is passed through. */
struct config_line {
	char *text; /* owned */
	struct config_where where;
};

struct config_pass {
	struct config_line *lines; /* owned */
	size_t n_lines;
};

struct vm_config {
	char *name;   /* owned */
	char **files; /* owned: [0] is NAME.vm, the drop-ins follow in the order they apply */
	size_t n_files;
	bool transient;       /* NAME.vm lies in /run/vmm */
	uint64_t fingerprint; /* of all that was read: changes when a file changes */
	struct config_machine machine;
	struct config_boot boot;
	struct config_vsock vsock;
	struct config_drive *drives; /* owned */
	size_t n_drives;
	struct config_network *networks; /* owned */
	size_t n_networks;
	struct config_share *shares; /* owned */
	size_t n_shares;
	struct config_pass pass[CONFIG_N_PASS_SECTIONS];
};

struct vm_config *vm_config_free(struct vm_config *config);

/* The file in which a value of config was written; NAME.vm for what was written nowhere. */
static inline const char *config_file_of(const struct vm_config *config, struct config_where where)
{
	return config->files[where.file < config->n_files ? where.file : 0];
}

/* ^[a-z0-9]([a-z0-9-]{0,25}[a-z0-9])?$ */
bool config_name_valid(const char *name);

/*
 * Reads the machine name below root ("" or NULL: the system's own; else a directory that the
 * three directories are looked for in, for tests and for a generator's dry run). Messages are
 * added in every case.
 *
 * 0 and *ret when it can be used, with or without warnings; -ENOENT: there is no such file;
 * -EINVAL: a bad name; -EBADMSG: messages hold at least one error; or what reading gave.
 */
int config_load(const char *root, const char *name, struct config_messages *messages,
	struct vm_config **ret);

/*
 * The same for one open file, without drop-ins. path is the name that messages use. Reads at
 * most CONFIG_MAX_FILE_BYTES from fd's start where it can seek.
 */
int config_load_fd(int fd, const char *path, const char *name, struct config_messages *messages,
	struct vm_config **ret);

/* The same for text in memory; need not end in NUL. */
int config_load_text(const char *text, size_t size, const char *path, const char *name,
	struct config_messages *messages, struct vm_config **ret);

/*
 * The whole contents of a file that may be a .vm file: checks type and size, not the text.
 * *ret_text is the caller's and has a NUL behind its *ret_size bytes.
 */
int config_read_fd(int fd, char **ret_text, size_t *ret_size);

/* The path of NAME.vm that counts. -ENOENT, or -EINVAL for a bad name. */
int config_find(const char *root, const char *name, char **ret_path);

/*
 * The names of all .vm files, sorted, each once. A file whose name is no VM name gives a
 * warning. free with config_names_free.
 */
int config_list(
	const char *root, struct config_messages *messages, char ***ret_names, size_t *ret_n);
void config_names_free(char **names, size_t n);

/* "512M": K, M, G, T are powers of 1024; without one, bytes. -EINVAL, -ERANGE. */
int config_parse_size(const char *text, uint64_t *ret_bytes);
int config_parse_bool(const char *text, bool *ret);

/*
 * The next "PORT:/run/PATH" of a list, which *at walks along: 1; 0 at its end; -EBADMSG where
 * there is something else. *ret_path is relative to /run, points into the list, and does not end
 * in NUL.
 */
int config_next_host_port(
	const char **at, uint32_t *ret_port, const char **ret_path, size_t *ret_length);

/* A port of the host that leads to one of the guest. */
struct config_forward {
	bool is_udp;
	char address[46]; /* IPv4 or IPv6, "": any of the host's */
	uint16_t host_port, guest_port;
};

/* The next "tcp:8080:80" or "udp:127.0.0.1:5353:53" of a list, as config_next_host_port(). */
int config_next_forward(const char **at, struct config_forward *ret);

/* The table of keys. */
enum config_type {
	CONFIG_TYPE_STRING, /* any text */
	CONFIG_TYPE_WORDS,  /* text; several assignments are joined, an empty one starts anew */
	CONFIG_TYPE_PATH,   /* absolute, without . and .. */
	CONFIG_TYPE_NAME,   /* a drive's, network's or share's name */
	CONFIG_TYPE_IFNAME, /* a network interface's name */
	CONFIG_TYPE_MAC,
	CONFIG_TYPE_NUMBER,
	CONFIG_TYPE_SIZE, /* config_parse_size() */
	CONFIG_TYPE_BOOL,
	CONFIG_TYPE_CHOICE,
};

struct config_key {
	const char *name;
	enum config_type type;
	bool required;
	size_t offset;    /* of the member in its section's struct */
	uint64_t minimum; /* numbers and sizes: limits, and what it must be a multiple of */
	uint64_t maximum;
	uint64_t multiple;
	const char *const *choices; /* ends in NULL */
	const char *fallback;       /* default, as it would be written; NULL: not set */
	const char *doc;            /* one sentence */
};

/* One kind of section: [Machine], [Drive], ... */
struct config_section {
	const char *name;
	bool repeated;                 /* each one is an object of its own, known by its Name= */
	enum config_pass_section pass; /* CONFIG_N_PASS_SECTIONS: it has keys of ours */
	size_t offset;                 /* in struct vm_config, where it is not repeated */
	const struct config_key *keys; /* NULL where its lines are passed through */
	size_t n_keys;
};

/* All sections, each with its keys, in the order in which they are documented. */
const struct config_section *config_sections(size_t *ret_n);

/* A type as people read it: "yes or no". */
const char *config_type_name(enum config_type type);

/* Writes the table for people, as reference: what `vmmctl verify --keys` and vmm.vm(5) show. */
void config_keys_print(FILE *stream);

#endif

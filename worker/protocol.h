/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * protocol: what vmmd and vmmd-worker say to each other. Linked into both.
 *
 * Broker, AF_UNIX SOCK_SEQPACKET, one connection a start. The worker connects and speaks first:
 *
 *   worker -> vmmd   HELLO {name}
 *   vmmd -> worker   HANDOVER {number of descriptors}, with the spec and the first descriptors
 *                    MORE_FDS {first index}, as often as it takes, up to 253 a message
 *             or     REFUSED {exit status, text}: the worker prints the text and exits
 *
 * The spec is one struct vmm_spec in a memfd sealed with F_SEAL_SEAL, SHRINK, GROW and WRITE:
 * nobody can change what was checked. It is descriptor 0 of the hand-over; the spec names the
 * others by their index, so that index 0 means "none". Each one is named exactly once.
 *
 * Control, AF_UNIX SOCK_SEQPACKET, any number of connections in the life of a VM (see
 * VMM_CONTROL_MAX_CLIENTS): requests with an id, one reply each with the same id, and events.
 *
 * Both sides take the other for hostile. Each decoder copies what it got into the caller's
 * structure, checks sizes, numbers, enumerations, flags, string ends and the number of
 * descriptors, and returns -EBADMSG for anything else; no decoder looks at memory that the
 * sender can still change. Integers are in host order: both ends are one machine. A member
 * named reserved is zero, and so is what follows the end of a string.
 *
 * Hostile inputs and what happens:
 *
 *   | input                                              | result                              |
 *   |----------------------------------------------------|-------------------------------------|
 *   | wrong magic, version, type, size, reserved bytes   | -EBADMSG (version: -EPROTONOSUPPORT)|
 *   | control: a type or a payload that is not known     | -EOPNOTSUPP, descriptors closed     |
 *   | string without its NUL, or with bytes after it     | -EBADMSG, spec: text names the field|
 *   | more or fewer descriptors than said                | -EBADMSG, all of them closed        |
 *   | truncated message or control data (MSG_TRUNC)      | -EBADMSG, all of them closed        |
 *   | a peer that says nothing                           | -ETIMEDOUT                          |
 *   | a peer that goes away                              | -ECONNRESET                         |
 *   | a spec that is not sealed, too small, or grows     | -EBADMSG with text                  |
 *   | index out of range, named twice, or never          | -EBADMSG with text                  |
 *
 * Threads: no state; any thread, one at a time a socket.
 */
#ifndef VMMD_WORKER_PROTOCOL_H
#define VMMD_WORKER_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMM_BROKER_PATH "/run/vmmd/broker.sock"

/* "vmmd" and a version; a change of any layout of broker or spec is a new version. */
#define VMM_PROTOCOL_MAGIC UINT32_C(0x646d6d76)
#define VMM_PROTOCOL_VERSION 4

/* Exit statuses of a worker, see the table "life of a VM". */
enum vmm_worker_exit {
	VMM_WORKER_EXIT_POWEROFF = 0, /* the guest powered off, or a stop that ended well */
	VMM_WORKER_EXIT_FAILURE = 1,  /* the host failed */
	VMM_WORKER_EXIT_CRASH = 70,   /* guest panic or triple fault */
	VMM_WORKER_EXIT_CONFIG = 78,  /* what was asked for cannot work */
	VMM_WORKER_EXIT_REBOOT = 133, /* the guest reboots: start again */
};

/* Sizes of strings count the NUL. */
#define VMM_NAME_SIZE 28
#define VMM_TEXT_SIZE 512
#define VMM_DEVICE_ID_SIZE 32
#define VMM_SERIAL_SIZE 21
#define VMM_COMMAND_LINE_SIZE 2048
#define VMM_DESCRIPTION_SIZE 128
#define VMM_READY_TEXT_SIZE 64

#define VMM_SPEC_MAX_CPUS 64
#define VMM_SPEC_MAX_DRIVES 32
#define VMM_SPEC_MAX_NETWORKS 16
#define VMM_SPEC_MAX_PMEM 8 /* of the drives */
#define VMM_SPEC_MAX_SHARES 16
#define VMM_SPEC_MAX_QUEUES 16 /* a drive; a network: pairs, see max taps */
#define VMM_SPEC_MAX_QUEUE_SIZE 1024
#define VMM_SPEC_MAX_TAPS 8 /* descriptors a network, one a queue pair */
#define VMM_SPEC_MAX_RECONNECT_MSEC 3600000
#define VMM_SPEC_MIN_MEMORY_BYTES (UINT64_C(1) << 20)
#define VMM_SPEC_MAX_MEMORY_BYTES (UINT64_C(1) << 40)

/* Descriptors in one hand-over, the spec included, and in one message (the kernel's limit). */
#define VMM_HANDOVER_MAX_FDS 400
#define VMM_MESSAGE_MAX_FDS 253

/* true where name is ^[a-z0-9]([a-z0-9-]{0,25}[a-z0-9])?$. */
bool vmm_name_is_valid(const char *name);

/* ---- the spec ---- */

/* Zero is the default of every member unless a comment says otherwise. */

enum vmm_spec_flag {
	VMM_SPEC_TRANSPARENT_HUGE = 1u << 0, /* memory: transparent huge pages */
	VMM_SPEC_PREFAULT = 1u << 1,         /* memory: allocated at the start */
	VMM_SPEC_SHARED_MEMORY = 1u << 2,    /* memory: a memfd, for back ends */
	VMM_SPEC_RNG = 1u << 3,              /* a virtio-rng */
	VMM_SPEC_BALLOON = 1u << 4,          /* a virtio-balloon */
	VMM_SPEC_VIRTIO_CONSOLE = 1u << 5,   /* the console is a virtio-console, hvc0 */
	VMM_SPEC_NO_CONSOLE_LOG = 1u << 6,   /* do not copy the console to the log */
	VMM_SPEC_WATCHDOG = 1u << 7,         /* a watchdog device for the guest */
	VMM_SPEC_SPLIT_RINGS = 1u << 8,      /* virtio devices do not offer packed rings */
};
#define VMM_SPEC_FLAGS UINT32_C(0x1ff)

enum vmm_transport {
	VMM_TRANSPORT_PCI = 0,
	VMM_TRANSPORT_MMIO,
	VMM_TRANSPORT_COUNT,
};

enum vmm_ready {
	VMM_READY_RUNNING = 0, /* the first vCPU is about to run its first instruction */
	VMM_READY_GUEST,       /* the guest says so */
	VMM_READY_COUNT,
};

enum vmm_watchdog_action {
	VMM_WATCHDOG_RESTART = 0, /* as a reboot of the guest */
	VMM_WATCHDOG_FAIL,        /* as a panic of the guest */
	VMM_WATCHDOG_COUNT,
};

enum vmm_cache {
	VMM_CACHE_WRITE_BACK = 0, /* host page cache, guest flushes honoured */
	VMM_CACHE_WRITE_THROUGH,  /* each write is stable when it completes */
	VMM_CACHE_DIRECT,         /* O_DIRECT was set by vmmd; flushes honoured */
	VMM_CACHE_UNSAFE,         /* guest flushes ignored */
	VMM_CACHE_COUNT,
};

enum vmm_engine {
	VMM_ENGINE_AUTO = 0,
	VMM_ENGINE_THREADS,
	VMM_ENGINE_IO_URING,
	VMM_ENGINE_COUNT,
};

/* A token bucket. rate_per_second 0: no limit, and the bursts are 0 too. */
struct vmm_spec_bucket {
	uint64_t rate_per_second;
	uint64_t burst;          /* 0: what the limiter chooses, see ratelimit.h */
	uint64_t one_time_burst; /* on top, once, never refilled */
};

struct vmm_spec_rate {
	struct vmm_spec_bucket bytes;
	struct vmm_spec_bucket ops;
};

enum vmm_spec_drive_flag {
	VMM_DRIVE_READ_ONLY = 1u << 0,
	VMM_DRIVE_DISCARD = 1u << 1, /* offer discard and write-zeroes */
	/* A virtio-pmem: a file, mapped; nothing else but its id counts. Not to be attached. */
	VMM_DRIVE_PMEM = 1u << 2,
	/*
	 * fd is a socket that is connected to a vhost-user back end, which alone knows its cache,
	 * engine, blocks, serial number and limits; READ_ONLY says what it was told. Needs
	 * VMM_SPEC_SHARED_MEMORY, as everything of vhost-user does.
	 */
	VMM_DRIVE_VHOST_USER = 1u << 3,
	VMM_DRIVE_UNIT = 1u << 4, /* that back end is vmm-drive@MACHINE:ID.service */
};
#define VMM_DRIVE_FLAGS UINT32_C(0x1f)

struct vmm_spec_drive {
	char id[VMM_DEVICE_ID_SIZE];  /* unique, [A-Za-z0-9._-]+ */
	char serial[VMM_SERIAL_SIZE]; /* printable ASCII; empty: the id, cut short */
	uint8_t reserved[3];
	uint32_t fd; /* index; a regular file or block device, open for what the flags say */
	uint32_t flags;
	uint32_t cache;
	uint32_t engine;
	uint32_t n_queues;    /* 0: chosen by the worker */
	uint32_t queue_size;  /* 0: 256; a power of two */
	uint32_t block_bytes; /* that the guest sees: 512 or 4096; 0: the file's */
	struct vmm_spec_rate rate;
};

struct vmm_spec_network {
	char id[VMM_DEVICE_ID_SIZE]; /* unique among the networks */
	uint8_t mac[6];              /* unicast */
	uint16_t mtu;                /* 0: not offered */
	uint32_t n_taps;             /* 1 or more */
	uint32_t tap_fds[VMM_SPEC_MAX_TAPS];
	uint32_t vhost_fds[VMM_SPEC_MAX_TAPS]; /* none, or one for each tap */
	uint32_t stream_fd; /* instead of taps: a connected unix stream (passt) */
	uint32_t queue_size;
	struct vmm_spec_rate receive_rate;
	struct vmm_spec_rate transmit_rate;
};

/* A vhost-user back end of a network, or of a drive, whose fd it is. */
struct vmm_spec_backend {
	uint32_t fd; /* network: a socket that is connected to it, instead of taps and stream */
	uint32_t reconnect_msec; /* how long one that went is waited for */
};

enum vmm_spec_share_flag {
	VMM_SHARE_UNIT = 1u << 0, /* its back end is vmm-share@MACHINE:ID.service */
};
#define VMM_SHARE_FLAGS UINT32_C(1)

/* A directory of the host, through a vhost-user-fs back end. */
struct vmm_spec_share {
	char id[VMM_DEVICE_ID_SIZE]; /* unique among the shares: the tag that the guest mounts */
	uint32_t fd;                 /* a socket that is connected to the back end */
	uint32_t queue_size;
	uint32_t reconnect_msec; /* as for drives */
	uint32_t flags;
};

struct vmm_spec {
	uint32_t magic;   /* VMM_PROTOCOL_MAGIC */
	uint32_t version; /* VMM_PROTOCOL_VERSION */
	uint32_t size;    /* sizeof(struct vmm_spec) */
	uint32_t n_fds;   /* as in the hand-over */

	char name[VMM_NAME_SIZE];
	uint32_t flags;
	char description[VMM_DESCRIPTION_SIZE];
	uint8_t uuid[16]; /* all zero: none */

	uint64_t memory_bytes;    /* whole pages */
	uint64_t huge_page_bytes; /* 0, 2 MiB or 1 GiB; memory is a multiple of it */
	uint32_t n_cpus;          /* 1 or more */
	uint32_t transport;
	uint32_t ready;
	char ready_text[VMM_READY_TEXT_SIZE]; /* of the console, stands for the guest's word */
	uint32_t ready_port;                  /* of the guest's vsock: the same, when it answers */

	/* Where a worker starts as root (direct spawn): who it becomes. 0 where it does not. */
	uint32_t uid;
	uint32_t gid;

	/* Descriptors. kvm and kernel must be given, control may be missing (no control). */
	uint32_t kvm_fd;
	uint32_t kernel_fd;
	uint32_t initrd_fd;
	uint32_t control_fd; /* listening, SOCK_SEQPACKET */
	char command_line[VMM_COMMAND_LINE_SIZE];

	uint32_t console_ring_bytes;   /* 0: 64 KiB; a power of two from 4 KiB to 1 MiB */
	uint32_t log_lines_per_second; /* console lines copied to the log; 0: 200 */

	uint32_t vsock_cid; /* 0: no vsock */
	uint32_t vsock_vhost_fd;
	uint32_t vsock_listen_fd; /* SOCK_STREAM, for clients that say CONNECT; 0: none */
	uint32_t watchdog_action; /* what follows when the guest's watchdog expires */
	struct vmm_spec_rate vsock_receive_rate;  /* towards the guest */
	struct vmm_spec_rate vsock_transmit_rate; /* from the guest */
	uint64_t balloon_bytes;
	uint64_t hotplug_bytes; /* memory on top that may be plugged; 0: none */
	struct vmm_spec_rate rng_rate;
	struct vmm_spec_rate console_rate; /* of a virtio-console's output */

	uint32_t n_drives;
	uint32_t n_networks;
	uint32_t n_shares;
	uint32_t reserved;
	struct vmm_spec_drive drives[VMM_SPEC_MAX_DRIVES];
	struct vmm_spec_network networks[VMM_SPEC_MAX_NETWORKS];
	struct vmm_spec_share shares[VMM_SPEC_MAX_SHARES];
	struct vmm_spec_backend drive_backends[VMM_SPEC_MAX_DRIVES];
	struct vmm_spec_backend network_backends[VMM_SPEC_MAX_NETWORKS];
};

/* A spec of this version that names nothing yet: what a sender starts from. */
void vmm_spec_init(struct vmm_spec *spec, const char *name);

/*
 * Checks all of spec, which must be a private copy, as one that came with n_fds descriptors
 * (itself included). Says nothing on what a worker implements. 0, or -EBADMSG and one line in
 * text that names the member and what is wrong with it; -EPROTONOSUPPORT for another version.
 */
int vmm_spec_check(
	const struct vmm_spec *spec, size_t size, size_t n_fds, char *text, size_t text_size);

/* The same for one device with n_fds descriptors (one more than there are, for index 0). */
int vmm_spec_check_drive(
	const struct vmm_spec_drive *drive, size_t n_fds, char *text, size_t text_size);
int vmm_spec_check_network(
	const struct vmm_spec_network *network, size_t n_fds, char *text, size_t text_size);

/* ---- broker ---- */

enum vmm_broker_type {
	VMM_BROKER_HELLO = 1,
	VMM_BROKER_HANDOVER,
	VMM_BROKER_MORE_FDS,
	VMM_BROKER_REFUSED,
};

struct vmm_broker_hello {
	uint32_t magic;
	uint32_t version;
	uint32_t type;
	uint32_t size; /* of this message */
	char name[VMM_NAME_SIZE];
	uint32_t reserved;
};

struct vmm_broker_answer {
	uint32_t magic;
	uint32_t version;
	uint32_t type;
	uint32_t size;
	uint32_t n_fds;       /* HANDOVER: in all its messages; MORE_FDS: in this one */
	uint32_t first_fd;    /* MORE_FDS: index of its first */
	uint32_t exit_status; /* REFUSED: 1 to 255 */
	uint32_t reserved;
	char text[VMM_TEXT_SIZE]; /* REFUSED: one line, printable */
};

/* What a worker got. */
struct vmm_handover {
	bool refused;
	int exit_status;               /* refused */
	char text[VMM_TEXT_SIZE];      /* refused, or why the answer was bad (may be empty) */
	struct vmm_spec *spec;         /* owned */
	int fds[VMM_HANDOVER_MAX_FDS]; /* owned; 0 was the spec's and is -EBADF */
	size_t n_fds;
};

/* Decoders: data is private to the caller. 0, -EBADMSG or -EPROTONOSUPPORT. */
int vmm_broker_decode_hello(const void *data, size_t size, struct vmm_broker_hello *ret_hello);
int vmm_broker_decode_answer(const void *data, size_t size, struct vmm_broker_answer *ret_answer);

/*
 * vmmd's side. The socket may be non-blocking: then -EAGAIN means "not yet" and nothing was lost.
 * Descriptors that come with a HELLO are closed, and it is -EBADMSG. -ECONNRESET at the end.
 */
int vmm_broker_receive_hello(int socket_fd, struct vmm_broker_hello *ret_hello);

/*
 * Sends the whole hand-over: writes spec (with n_fds set) into a sealed memfd, sends it as
 * descriptor 0 and fds[1 .. n_fds - 1] after it; fds[0] is ignored, all stay the caller's.
 * Waits at most timeout_nsec for the socket. -ETIMEDOUT, -EPIPE, or as for sendmsg.
 */
int vmm_broker_send_handover(int socket_fd, const struct vmm_spec *spec, const int *fds,
	size_t n_fds, uint64_t timeout_nsec);

/* text is cut to VMM_TEXT_SIZE; bytes that are not printable become '?'. Never waits: -EAGAIN. */
int vmm_broker_send_refused(int socket_fd, int exit_status, const char *text);

/* The worker's side. */
int vmm_broker_send_hello(int socket_fd, const char *name);

/*
 * Waits at most timeout_nsec in all. 0 also where ret_handover->refused; else what is in
 * *ret_handover is to be freed with vmm_handover_finish(). The spec is checked by
 * vmm_spec_check() and is the one for name. A failure leaves nothing but text.
 */
int vmm_broker_receive_handover(
	int socket_fd, const char *name, uint64_t timeout_nsec, struct vmm_handover *ret_handover);
void vmm_handover_finish(struct vmm_handover *handover);

/* ---- control ---- */

/*
 * A worker outlives the vmmd that started it, so this one hardly ever changes: what is new gets a
 * new type, and the payload of a type that there is stays as it is. A worker answers what it does
 * not know with -EOPNOTSUPP; vmmd passes over news that it does not know.
 */
#define VMM_CONTROL_VERSION 3
#define VMM_CONTROL_MAX_CLIENTS 4
#define VMM_CONTROL_MAX_SIZE 1024 /* of a message */
#define VMM_CONTROL_MAX_FDS (2 * VMM_SPEC_MAX_TAPS)
#define VMM_CONTROL_MAX_TIMEOUT_USEC UINT64_C(3600000000)
#define VMM_CONTROL_REPLY UINT32_C(0x80000000)

enum vmm_control_type {
	/* request: payload, descriptors -> payload of the reply */
	VMM_CONTROL_GET_STATUS = 1, /* - -> struct vmm_control_status */
	VMM_CONTROL_PAUSE,          /* - -> -; when it is answered, no vCPU runs */
	VMM_CONTROL_RESUME,         /* - -> - */
	VMM_CONTROL_POWER_BUTTON,   /* - -> - */
	VMM_CONTROL_CTRL_ALT_DEL,   /* - -> - */
	VMM_CONTROL_STOP,           /* struct vmm_control_how -> -; the worker ends with 0 */
	VMM_CONTROL_REBOOT,         /* struct vmm_control_how -> -; the worker ends with 133 */
	VMM_CONTROL_OPEN_CONSOLE,   /* struct vmm_control_console, 1 -> the same, with its id */
	VMM_CONTROL_RESIZE_CONSOLE, /* struct vmm_control_console -> - */
	VMM_CONTROL_SET_RATE,       /* struct vmm_control_set_rate -> - */
	VMM_CONTROL_RESIZE_DRIVE,   /* struct vmm_control_drive -> - */
	VMM_CONTROL_GET_DRIVE,      /* struct vmm_control_drive -> struct vmm_control_drive_stats */
	VMM_CONTROL_GET_STATS,      /* - -> struct vmm_control_stats */
	VMM_CONTROL_GET_DEVICE,     /* struct vmm_control_index -> struct vmm_control_device */
	VMM_CONTROL_ATTACH_DRIVE,   /* struct vmm_spec_drive, its own -> -; the guest was told */
	VMM_CONTROL_ATTACH_NETWORK, /* struct vmm_spec_network, its own -> -; the same */
	VMM_CONTROL_DETACH,         /* struct vmm_control_detach -> -; it is gone */
	VMM_CONTROL_CONNECT_VSOCK,  /* struct vmm_control_vsock_answer, 1 -> - */
	VMM_CONTROL_REFUSE_VSOCK,   /* struct vmm_control_vsock_answer -> - */
	VMM_CONTROL_GET_MEMORY,     /* - -> struct vmm_control_memory */
	VMM_CONTROL_SET_MEMORY,     /* struct vmm_control_memory_target -> - */
	VMM_CONTROL_CONNECT_BACKEND, /* struct vmm_control_backend_answer, 1 -> - */
	VMM_CONTROL_REFUSE_BACKEND,  /* struct vmm_control_backend_answer -> - */
	VMM_CONTROL_COUNT,

	/* without a request; id 0 */
	VMM_CONTROL_EVENT = 0x1000,  /* struct vmm_control_event */
	VMM_CONTROL_VSOCK_REQUEST,   /* struct vmm_control_vsock_request */
	VMM_CONTROL_BACKEND_REQUEST, /* struct vmm_control_backend_request */
};

/* Requests of the guest that wait for CONNECT_VSOCK or REFUSE_VSOCK at a time; more wait. */
#define VMM_CONTROL_MAX_VSOCK_REQUESTS 16

struct vmm_control_header {
	uint32_t magic;
	uint32_t version;
	uint32_t type;
	uint32_t size;  /* of the payload */
	uint64_t id;    /* the requester's; not 0 */
	int32_t result; /* reply: 0, or a negative errno and a text as payload (may be empty) */
	uint32_t reserved;
};

enum vmm_state {
	VMM_STATE_BUILDING = 0,
	VMM_STATE_RUNNING,
	VMM_STATE_PAUSED,
	VMM_STATE_STOPPING, /* somebody asked for a stop, the guest still runs */
	VMM_STATE_ENDED,    /* the guest is over; the worker is about to exit */
	VMM_STATE_COUNT,
};

/* Why a VM ended. */
enum vmm_end {
	VMM_END_NONE = 0,
	VMM_END_POWEROFF,     /* by the guest */
	VMM_END_REBOOT,       /* by the guest, or a stop with reboot */
	VMM_END_PANIC,        /* pvpanic */
	VMM_END_TRIPLE_FAULT, /* KVM_EXIT_SHUTDOWN */
	VMM_END_STOPPED,      /* hard, by request */
	VMM_END_HOST_FAILURE,
	VMM_END_WATCHDOG, /* the guest's expired, and that is to be a failure */
	VMM_END_COUNT,
};

struct vmm_control_status {
	uint32_t state;
	uint32_t end;
	uint32_t n_cpus;
	uint32_t transport;
	uint32_t n_drives;
	uint32_t n_networks;
	uint32_t n_consoles; /* attached */
	uint32_t n_button_presses;
	uint64_t memory_bytes;
	uint64_t start_usec;             /* CLOCK_MONOTONIC: exec of the worker */
	uint64_t ready_usec;             /* CLOCK_MONOTONIC: 0 until READY=1 was sent */
	char text[VMM_DESCRIPTION_SIZE]; /* as in STATUS= */
};

enum vmm_how {
	VMM_HOW_GRACEFUL = 0, /* ask the guest */
	VMM_HOW_HARD,         /* now */
	VMM_HOW_COUNT,
};

struct vmm_control_how {
	uint32_t how;
	uint32_t reserved;
};

enum vmm_console_flag {
	VMM_CONSOLE_STEAL = 1u << 0,     /* take the place of the writer, which is closed */
	VMM_CONSOLE_READ_ONLY = 1u << 1, /* what it sends is thrown away */
	VMM_CONSOLE_REPLAY = 1u << 2,    /* first what is in the ring */
};
#define VMM_CONSOLE_FLAGS UINT32_C(0x7)

/* The descriptor: a stream socket or a pty master's peer; the worker makes it non-blocking. */
struct vmm_control_console {
	uint32_t id; /* OPEN: 0 in the request; RESIZE: from the reply, or 0 for whoever writes */
	uint32_t flags;
	uint16_t rows; /* 0: unknown */
	uint16_t columns;
	uint32_t reserved;
};

struct vmm_control_drive {
	char id[VMM_DEVICE_ID_SIZE];
	uint64_t size_bytes; /* RESIZE: 0 asks for the file's size now; else 0 */
};

enum vmm_device_kind {
	VMM_DEVICE_NONE = 0,
	VMM_DEVICE_DRIVE,
	VMM_DEVICE_NETWORK,
	VMM_DEVICE_SHARE,
	VMM_DEVICE_KIND_COUNT,
};

/* Which members of a vmm_spec_rate count; those of the second are shifted by VMM_RATE_SECOND. */
enum vmm_rate_member {
	VMM_RATE_BYTES = 1u << 0,
	VMM_RATE_BYTES_BURST = 1u << 1,
	VMM_RATE_BYTES_ONE_TIME = 1u << 2,
	VMM_RATE_OPS = 1u << 3,
	VMM_RATE_OPS_BURST = 1u << 4,
	VMM_RATE_OPS_ONE_TIME = 1u << 5,
};
#define VMM_RATE_MEMBERS UINT32_C(0x3f)
#define VMM_RATE_SECOND 6

/* Members that do not count are 0 and stay as they are. A rate of 0 takes its bursts with it. */
struct vmm_control_set_rate {
	char id[VMM_DEVICE_ID_SIZE];
	uint32_t kind;
	uint32_t members;             /* 1 or more */
	struct vmm_spec_rate rate[2]; /* a drive's and none; a network's receive and transmit */
};

/*
 * The fd members of the spec of a device that is attached are indices into what comes with the
 * message, from 1 on: as in a hand-over.
 */

enum vmm_detach_flag {
	VMM_DETACH_FORCE = 1u << 0, /* when the time is over, it goes without the guest */
};
#define VMM_DETACH_FLAGS UINT32_C(0x1)

struct vmm_control_detach {
	char id[VMM_DEVICE_ID_SIZE];
	uint32_t kind;
	uint32_t flags;
	uint64_t timeout_usec; /* for the guest to give it up; 0 only with FORCE: is not asked */
};

/* To walk over all drives, networks and shares: 0, then what next says. */
struct vmm_control_index {
	uint32_t index;
	uint32_t reserved;
};

enum vmm_device_state {
	VMM_DEVICE_PRESENT = 0,
	VMM_DEVICE_COMING,  /* being attached */
	VMM_DEVICE_LEAVING, /* the guest was asked to give it up, or it is being taken apart */
	VMM_DEVICE_STATE_COUNT,
};

enum vmm_device_flag {
	VMM_DEVICE_READ_ONLY = 1u << 0,
	VMM_DEVICE_ATTACHED = 1u << 1, /* was not there at the start */
	VMM_DEVICE_LINK_DOWN = 1u << 2,
	VMM_DEVICE_LIMITED = 1u << 3, /* has been held back by its limits */
	VMM_DEVICE_PMEM = 1u << 4,    /* a drive that is persistent memory: has a size, no more */
	VMM_DEVICE_BROKEN = 1u << 5,  /* the guest has to reset it */
	VMM_DEVICE_VHOST_USER = 1u << 6,   /* another process serves it */
	VMM_DEVICE_VHOST = 1u << 7,        /* the host's kernel serves it */
	VMM_DEVICE_DISCONNECTED = 1u << 8, /* and that process has gone */
	VMM_DEVICE_FAILED = 1u << 9,       /* and has not come back in time */
};
#define VMM_DEVICE_FLAGS UINT32_C(0x3ff)

struct vmm_control_device {
	char id[VMM_DEVICE_ID_SIZE];
	uint32_t kind; /* NONE: there is no further one, and all else is 0 */
	uint32_t state;
	uint32_t flags;
	uint32_t engine;              /* drive: that really runs */
	uint32_t slot;                /* of the PCI bus; 0: none */
	uint32_t next;                /* index to ask for next */
	uint64_t size_bytes;          /* drive */
	uint64_t in_ops, in_bytes;    /* drive: read; network: received by the guest, frames; of a
					 back end: in_ops is how often one was taken */
	uint64_t out_ops, out_bytes;  /* drive: written; network: transmitted */
	uint64_t errors;              /* drive: failed requests; network: dropped frames */
	struct vmm_spec_rate rate[2]; /* as in vmm_control_set_rate */
};

struct vmm_control_drive_stats {
	char id[VMM_DEVICE_ID_SIZE];
	uint32_t engine; /* that really runs */
	uint32_t flags;  /* VMM_DRIVE_... */
	uint64_t size_bytes;
	uint64_t read_ops, read_bytes;
	uint64_t write_ops, write_bytes;
	uint64_t flush_ops;
	uint64_t errors;
};

/* Counters of the machine since it started; what follows n_cpus entries of exits is zero. */
struct vmm_control_stats {
	uint64_t time_usec; /* CLOCK_MONOTONIC: when they were read */
	uint32_t n_cpus;
	uint32_t reserved;
	uint64_t exits[VMM_SPEC_MAX_CPUS]; /* of each vCPU, to the worker */
};

/*
 * The guest wants to connect to a port of the host. Whoever answers first decides, with a
 * connected unix socket (SOCK_STREAM, or SOCK_SEQPACKET where it asks for that) or a refusal;
 * -ENOENT where that was too late. Without a client, the guest is refused.
 */
struct vmm_control_vsock_request {
	uint64_t id;
	uint32_t port;
	uint32_t guest_port;
	uint32_t seqpacket; /* 0 or 1 */
	uint32_t reserved;
};

struct vmm_control_vsock_answer {
	uint64_t id;
};

/*
 * The vhost-user back end of a device has gone: a new connection to it is asked for. Whoever
 * answers first decides, with a connected unix stream socket or a refusal; -ENOENT where that was
 * too late. After a refusal, and where nobody answers, it is asked for again.
 */
struct vmm_control_backend_request {
	uint64_t id; /* of this question */
	char device[VMM_DEVICE_ID_SIZE];
	uint32_t kind;
	uint32_t reserved;
};

struct vmm_control_backend_answer {
	uint64_t id;
};

enum vmm_memory_flag {
	VMM_MEMORY_BALLOON = 1u << 0,
	VMM_MEMORY_HOTPLUG = 1u << 1,
};
#define VMM_MEMORY_FLAGS UINT32_C(0x3)

/* The guest's statistics are UINT64_MAX where it has not given them. */
struct vmm_control_memory {
	uint32_t flags; /* what there is to change it with */
	uint32_t reserved;
	uint64_t base_bytes;     /* what it started with */
	uint64_t maximum_bytes;  /* base and all that can be plugged */
	uint64_t target_bytes;   /* what it was last told to have */
	uint64_t balloon_bytes;  /* given to the balloon */
	uint64_t plugged_bytes;  /* on top of base */
	uint64_t reported_bytes; /* given back by free page reporting, ever */
	uint64_t stats_usec;     /* CLOCK_MONOTONIC: of the statistics; 0: none yet */
	uint64_t free_bytes;
	uint64_t available_bytes;
	uint64_t total_bytes;
	uint64_t disk_caches_bytes;
	uint64_t swap_in_bytes, swap_out_bytes;
	uint64_t major_faults, minor_faults;
};

/*
 * What the guest should have: up to base by the balloon, above that by plugging. -EOPNOTSUPP where
 * the machine has not the device for it, -ERANGE above the maximum.
 */
struct vmm_control_memory_target {
	uint64_t bytes; /* whole pages; above base, whole blocks of 2 MiB or a huge page */
};

enum vmm_event {
	VMM_EVENT_STATE = 1,       /* state changed */
	VMM_EVENT_READY,           /* READY=1 was sent */
	VMM_EVENT_GUEST_PANICKED,  /* text: from where */
	VMM_EVENT_RESET,           /* the guest asked for a reset */
	VMM_EVENT_POWERED_OFF,     /* the guest powered off */
	VMM_EVENT_BLOCK_ERROR,     /* value: errno; text: the drive's id */
	VMM_EVENT_CONSOLE,         /* value: how many are attached */
	VMM_EVENT_DEVICE_BROKEN,   /* text: the device that needs a reset */
	VMM_EVENT_WATCHDOG,        /* the guest's watchdog has expired */
	VMM_EVENT_DEVICE_ATTACHED, /* value: enum vmm_device_kind; text: its id */
	VMM_EVENT_DEVICE_DETACHED, /* the same */
	VMM_EVENT_BACKEND_GONE,    /* the same: its back end has gone */
	VMM_EVENT_BACKEND_BACK,    /* the same: there is one again */
	VMM_EVENT_COUNT,
};

struct vmm_control_event {
	uint32_t event;
	uint32_t state;
	uint32_t end;
	int32_t value;
	uint64_t time_usec; /* CLOCK_MONOTONIC */
	char text[VMM_DESCRIPTION_SIZE];
};

struct vmm_control_message {
	struct vmm_control_header header;
	union {
		struct vmm_control_status status;
		struct vmm_control_how how;
		struct vmm_control_console console;
		struct vmm_control_drive drive;
		struct vmm_control_set_rate set_rate;
		struct vmm_control_index index;
		struct vmm_control_device device;
		struct vmm_control_detach detach;
		struct vmm_spec_drive attach_drive;
		struct vmm_spec_network attach_network;
		struct vmm_control_drive_stats drive_stats;
		struct vmm_control_stats stats;
		struct vmm_control_event event;
		struct vmm_control_vsock_request vsock_request;
		struct vmm_control_vsock_answer vsock_answer;
		struct vmm_control_backend_request backend_request;
		struct vmm_control_backend_answer backend_answer;
		struct vmm_control_memory memory;
		struct vmm_control_memory_target memory_target;
		char text[VMM_TEXT_SIZE]; /* of a failed reply */
		uint8_t bytes[VMM_CONTROL_MAX_SIZE - sizeof(struct vmm_control_header)];
	};
};

/*
 * As a worker reads them: requests; as vmmd does: replies and events. What is left is zero.
 * -EOPNOTSUPP for what a newer peer may well send: the header is in *ret_message then.
 */
int vmm_control_decode_request(
	const void *data, size_t size, size_t n_fds, struct vmm_control_message *ret_message);
int vmm_control_decode_answer(
	const void *data, size_t size, size_t n_fds, struct vmm_control_message *ret_message);

/*
 * Fill the header. payload may be NULL with size 0. fds stay the caller's. Never waits: -EAGAIN
 * where the peer does not read, then nothing was sent. -EPIPE.
 */
int vmm_control_send_request(int socket_fd, uint32_t type, uint64_t id, const void *payload,
	size_t payload_size, const int *fds, size_t n_fds);
int vmm_control_send_reply(int socket_fd, const struct vmm_control_header *request,
	const void *payload, size_t payload_size);
int vmm_control_send_failure(
	int socket_fd, const struct vmm_control_header *request, int result, const char *text);
/* What answers no request: an event, or a question of the worker to its clients. */
int vmm_control_notify(int socket_fd, uint32_t type, const void *payload, size_t payload_size);

/* The descriptors that came with a request. {} is none. */
struct vmm_control_fds {
	int fds[VMM_CONTROL_MAX_FDS]; /* owned; -EBADF: taken */
	size_t n_fds;
};

void vmm_control_fds_finish(struct vmm_control_fds *fds);

/* Never waits: -EAGAIN where nothing is there, -ECONNRESET at the end, else as the decoders. */
int vmm_control_receive_request(
	int socket_fd, struct vmm_control_message *ret_message, struct vmm_control_fds *ret_fds);
int vmm_control_receive_answer(int socket_fd, struct vmm_control_message *ret_message);

#endif

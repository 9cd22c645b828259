/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * control-wire: what is said on a worker's control socket, and how it is sent and taken; see
 * protocol.h. The worker's end is in control.h.
 */
#ifndef VMMD_WORKER_CONTROL_WIRE_H
#define VMMD_WORKER_CONTROL_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "worker/spec.h"

/*
 * A worker outlives the vmmd that started it, so this protocol hardly ever changes: what is new
 * gets a new type, and the payload of a type that there is stays as it is. A worker answers what it
 * does not know with -EOPNOTSUPP; vmmd passes over news that it does not know.
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

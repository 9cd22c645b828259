/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * spec: what a worker is told of its machine, once, at its start; see protocol.h for how, and for
 * what becomes of one that is not as it should be.
 */
#ifndef VMMD_WORKER_SPEC_H
#define VMMD_WORKER_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "vmmd" and a version; a change of any layout of broker or spec is a new version. */
#define VMM_PROTOCOL_MAGIC UINT32_C(0x646d6d76)
#define VMM_PROTOCOL_VERSION 4

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

/* Descriptors in one hand-over, the spec included. */
#define VMM_HANDOVER_MAX_FDS 400

/* true where name is ^[a-z0-9]([a-z0-9-]{0,25}[a-z0-9])?$. */
bool vmm_name_is_valid(const char *name);

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

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * machine: the one VM of a worker, and the phases that build it. Each phase is a function that
 * returns 0, or an exit status after machine_fail_...() has said what failed and why; nothing
 * is undone on failure, since the process ends and the kernel takes everything back.
 *
 *   | phase     | file      | what                                                             |
 *   |-----------|-----------|------------------------------------------------------------------|
 *   | handshake | main.c    | the spec and its descriptors                                     |
 *   | support   | build.c   | refuse what is well-formed and not implemented                   |
 *   | credentials | build.c | what the unit holds for the guest                                |
 *   | sandbox   | sandbox.c | namespaces, root, user, capabilities, limits, stray descriptors  |
 *   | memory    | build.c   | RAM below and above the hole                                     |
 *   | vm        | build.c   | KVM, memory slots, then interrupt controllers                    |
 *   | devices   | devices.c | serial port, platform, PCI                                       |
 *   | drives    | virtio.c  | virtio devices on their transport; net.c, backend.c, vsock.c     |
 *   | tables    | build.c   | ACPI, SMBIOS                                                     |
 *   | kernel    | build.c   | kernel, initrd, command line                                     |
 *   | control   | control.c | control socket                                                   |
 *   | vcpus     | vcpu.c    | threads, each up to the gate before its first instruction        |
 *   | hotplug   | hotplug.c | the thread that makes devices later                              |
 *   | seal      | sandbox.c | system call filter of the loop's thread                          |
 *   | run       | run.c     | open the gate, READY=1, the loop, the end                        |
 *
 * Threads: all of it belongs to the loop's thread, but for machine_post() and what says so.
 */
#ifndef VMMD_WORKER_MACHINE_H
#define VMMD_WORKER_MACHINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <vmmcore/acpi.h>
#include <vmmcore/bus.h>
#include <vmmcore/kvm.h>
#include <vmmcore/loader.h>
#include <vmmcore/loop.h>
#include <vmmcore/mem.h>
#include <vmmcore/pci.h>
#include <vmmcore/platform.h>
#include <vmmcore/serial.h>
#include <vmmcore/virtio-balloon.h>
#include <vmmcore/virtio-blk.h>
#include <vmmcore/virtio-console.h>
#include <vmmcore/virtio-mem.h>
#include <vmmcore/virtio-net.h>
#include <vmmcore/virtio-pmem.h>
#include <vmmcore/virtio-rng.h>
#include <vmmcore/virtio-vsock.h>
#include <vmmcore/virtio.h>
#include <vmmcore/watchdog.h>

#include "worker/backend.h"
#include "worker/console.h"
#include "worker/control.h"
#include "worker/credentials.h"
#include "worker/guest.h"
#include "worker/hotplug.h"
#include "worker/life.h"
#include "worker/log.h"
#include "worker/memory.h"
#include "worker/notify.h"
#include "worker/protocol.h"
#include "worker/sandbox.h"
#include "worker/unsafe.h"
#include "worker/vcpu.h"
#include "worker/vsock.h"

/* The gap below 4 GiB, see loader.h: a window for BARs, the ECAM, virtio-mmio devices. */
#define MACHINE_PCI_WINDOW_GPA VMM_LAYOUT_GAP_GPA
#define MACHINE_PCI_WINDOW_BYTES UINT64_C(0x20000000)
#define MACHINE_ECAM_GPA UINT64_C(0xe0000000)
#define MACHINE_MMIO_GPA UINT64_C(0xe8000000)

/* A kernel adds memory in pieces of up to 2 GiB, which begin at a multiple of that. */
#define MACHINE_HOTPLUG_ALIGNMENT (UINT64_C(2) << 30)

/* In what firmware would have below 1 MiB, which no guest takes for its own. */
#define MACHINE_VMGENID_GPA UINT64_C(0xd0000)
#define MACHINE_VMCLOCK_GPA UINT64_C(0xd1000)

#define MACHINE_MAX_VIRTIO (VMM_SPEC_MAX_DRIVES + VMM_SPEC_MAX_NETWORKS + VMM_SPEC_MAX_SHARES + 8)

/* What vCPU threads tell the loop's. */
enum machine_post {
	MACHINE_POWERED_OFF = 1 << 0,
	MACHINE_RESET = 1 << 1,
	MACHINE_PANICKED = 1 << 2,
	MACHINE_TRIPLE_FAULT = 1 << 3,
	MACHINE_CANNOT_RUN = 1 << 4,  /* guest code that KVM cannot run */
	MACHINE_VCPU_FAILED = 1 << 5, /* see struct vcpu */
	MACHINE_HUNG = 1 << 6,        /* its watchdog expired: to restart */
	MACHINE_HUNG_FAIL = 1 << 7,   /* the same: to fail */
};

struct machine_virtio;

/* A queue that the machine's loop serves. */
struct machine_queue {
	struct machine_virtio *virtio;
	unsigned int index;
	struct vmm_loop_source *source;
};

/* Of the devices that the machine's loop serves. */
#define MACHINE_MAX_QUEUES 8

/* A device on its transport. */
struct machine_virtio {
	char id[VMM_DEVICE_ID_SIZE];
	struct machine *machine;
	struct vmm_virtio_device *device; /* borrowed from the block */
	struct vmm_virtio_pci *pci;       /* owned; NULL on MMIO */
	struct vmm_virtio_mmio *mmio;     /* owned; NULL on PCI */
	uint64_t mmio_gpa;
	uint32_t gsi;
	int irq_fd; /* owned; -EBADF on PCI */

	enum vmm_device_kind kind; /* NONE: of another kind, which stays */
	struct hotplug_device plug;

	/* Each is of one kind. */
	const struct vmm_spec_drive *drive; /* borrowed from the spec, or from plug */
	struct vmm_blk_file *file;          /* owned */
	struct unsafe_backend unsafe;       /* where the drive's cache mode is that */
	struct vmm_virtio_blk *blk;         /* owned */
	struct vmm_net_tap *tap;            /* owned */
	struct vmm_net_stream *stream;      /* owned */
	struct vmm_virtio_net *net;         /* owned */
	struct backend backend;             /* where somebody else serves it */
	struct vmm_loop *loop;              /* owned: of a thread of its own */
	enum sandbox_thread thread_kind;    /* of that thread */
	const char *thread_name;            /* static */
	pthread_t thread;
	bool has_thread;
	struct vmm_spec_rate rate[2];       /* limits as they are, see vmm_control_set_rate */
	_Atomic int block_error;            /* of a drive, not told yet; negative */
	uint64_t next_error_nsec;           /* when the next may be told */
	pthread_barrier_t barrier;          /* the thread is in its sandbox */
	int thread_result;                  /* before the barrier */
	struct vmm_virtio_rng *rng;         /* owned */
	struct vmm_virtio_console *console; /* owned */
	struct vmm_virtio_balloon *balloon; /* owned */
	struct vmm_virtio_mem *hotplug;     /* owned */
	struct vmm_virtio_pmem *pmem;       /* owned: of a drive that has no blk */
	uint64_t pmem_bytes;
	struct machine_queue queues[MACHINE_MAX_QUEUES];
	struct vmm_loop_source *due; /* what a limit held back */
	atomic_bool settling;        /* a pause waits for its requests */
	atomic_bool broken;          /* it needs a reset, not told yet */
	uint64_t next_broken_nsec;   /* when the next may be told */
};

/* An edge-triggered line through an eventfd into the interrupt controller. */
struct machine_line {
	int fd; /* owned */
	struct vmm_irq_eventfd irq;
};

struct machine {
	const char *name;
	uint64_t start_nsec;
	uint64_t started_nsec;
	uint64_t ready_nsec;
	int exit_status;
	char failure[VMM_TEXT_SIZE];

	struct log log;
	struct notify notify;
	struct sandbox sandbox;
	struct life life;
	struct vmm_handover handover; /* owned */
	struct vmm_spec *spec;        /* borrowed from handover */
	struct credentials credentials;
	struct guest guest;
	bool guest_was_ready, guest_goes_down;
	bool is_ready;          /* READY=1 was sent */
	uint64_t seen_progress; /* of the guest, when systemd was last asked for more time */

	struct vmm_loop *loop; /* owned, as all of the loop's sources */
	struct vmm_loop_source *signals;
	struct vmm_loop_source *posts;    /* signalled by machine_post() */
	struct vmm_loop_source *tick;     /* life */
	struct vmm_loop_source *watchdog; /* WATCHDOG=1 */
	struct vmm_loop_source *guest_watchdog_due;
	struct vmm_loop_source *failed; /* signalled by machine_drive_failed() */
	struct vmm_loop_source *failed_timer;
	struct vmm_loop_source *extend;   /* EXTEND_TIMEOUT_USEC= until it is ready */
	struct vmm_loop_source *settled;  /* devices are paused */
	struct vmm_loop_source *backends; /* signalled by the threads of backend.c */
	uint64_t last_backend_question;
	_Atomic unsigned int posted; /* enum machine_post */
	atomic_bool over;            /* vCPUs run no more guest code */
	int signal_fd;

	struct vmm_mem *mem;
	struct vmm_kvm *kvm;
	struct vmm_vm *vm;
	struct vmm_bus *pio;
	struct vmm_bus *mmio;
	struct vmm_x86_entry entry;
	uint64_t rsdp_gpa;
	uint64_t hotplug_gpa;                            /* 0: none */
	struct vmm_loader_range pmem[VMM_SPEC_MAX_PMEM]; /* in the order of the drives */
	size_t n_pmem;

	struct machine_line serial_line, i8042_line, ged_line;
	struct vmm_serial *serial;
	struct vmm_rtc *rtc;
	struct vmm_i8042 *i8042;
	struct vmm_pvpanic *pvpanic;
	struct vmm_ged *ged;
	struct vmm_pci_bus *pci;
	struct vmm_watchdog *guest_watchdog; /* owned; may be NULL */
	struct vmm_vmclock *vmclock;
	struct machine_virtio virtio[MACHINE_MAX_VIRTIO];
	size_t n_virtio;

	struct console console;
	struct control control;
	struct hotplug hotplug;
	struct vsock vsock;
	struct memory memory;
	struct vcpus vcpus;

	uint32_t watchdog_answers[VMM_SPEC_MAX_CPUS];
	bool watchdog_asked;

	bool devices_paused;
};

/* Say why a phase failed and return the exit status: 78 for what was asked for, 1 for the host. */
int machine_fail_config(struct machine *machine, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
int machine_fail_host(struct machine *machine, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Descriptor of the hand-over by its index in the spec; -EBADF for 0. Borrowed. */
int machine_fd(const struct machine *machine, uint32_t index);

/* The same, and it is the caller's from now on. */
int machine_take_fd(struct machine *machine, uint32_t index);

/* Any thread. The final ones also make vCPUs stop at their next exit. */
void machine_post(struct machine *machine, enum machine_post post);

/* The phases that are not in another header. */
int machine_check_support(struct machine *machine);
int machine_read_credentials(struct machine *machine);
int machine_add_memory(struct machine *machine);
int machine_create_vm(struct machine *machine);
int machine_add_platform(struct machine *machine);
int machine_add_virtio(struct machine *machine);
int machine_write_tables(struct machine *machine);
int machine_load_kernel(struct machine *machine);
int machine_prepare_run(struct machine *machine);
int machine_run(struct machine *machine);

/* virtio.c */
/* NULL: there are too many. */
struct machine_virtio *machine_new_virtio(struct machine *machine, const char *id);
/* Whether the loop may touch it: it is there, and nobody makes or frees it. */
bool machine_virtio_is_live(const struct machine_virtio *virtio);
/* A drive; fd stays the caller's. later: it is attached to a machine that runs. */
int machine_build_drive(
	struct machine_virtio *virtio, const struct vmm_spec_drive *drive, int fd, bool later);
/* Puts virtio->device on the machine's transport. */
int machine_add_transport(struct machine *machine, struct machine_virtio *virtio);
struct vmm_ratelimit_config machine_limits(const struct vmm_spec_rate *rate);
struct machine_virtio *machine_find_drive(struct machine *machine, const char *id);
struct machine_virtio *machine_find_network(struct machine *machine, const char *id);
/* The same for one that is coming or going, too. */
struct machine_virtio *machine_find_any(
	struct machine *machine, const char *id, enum vmm_device_kind kind);
/* Of what has limits. -EINVAL changes nothing. */
int machine_set_rate(struct machine_virtio *virtio, const struct vmm_control_set_rate *set);
/* The first drive or network from index on, as clients see it. */
void machine_get_device(
	struct machine *machine, uint32_t index, struct vmm_control_device *ret_device);

/* Has the machine's loop serve all its queues. */
int machine_serve_queues(struct machine_virtio *virtio);

/* hvc.c */
int machine_add_console(struct machine *machine);
/* -EOPNOTSUPP where the console is a serial port, -ENOENT where somebody else writes to it. */
int machine_resize_console(struct machine *machine, const struct vmm_control_console *size);

/* pmem.c: the region of a drive, in the phase "memory" and from gpa on; and its device. */
int machine_map_pmem(struct machine *machine, const struct vmm_spec_drive *drive, uint64_t gpa);
int machine_add_pmem(struct machine *machine, const struct vmm_spec_drive *drive,
	const struct vmm_loader_range *range);

/* thread.c: a thread for virtio->loop, in the sandbox of that kind when this returns 0. */
int machine_start_thread(struct machine_virtio *virtio, enum sandbox_thread kind, const char *name);
/* Ends it, if there is one, and waits for that. */
void machine_stop_thread(struct machine_virtio *virtio);

/* errors.c: any thread; and the phase's part of run.c. */
void machine_drive_failed(void *userdata, enum vmm_blk_op op, int error);
void machine_device_broken(void *userdata);
int machine_watch_errors(struct machine *machine);

/* net.c */
/* Index i of spec is fds->fds[i - 1]; they stay the caller's. */
int machine_build_network(struct machine_virtio *virtio, const struct vmm_spec_network *spec,
	const struct vmm_control_fds *fds, bool later);
int machine_add_network(struct machine *machine, const struct vmm_spec_network *spec);

/* run.c: what control requests and signals ask for. */
void machine_text(const struct machine *machine, char *text, size_t size);
void machine_stop(struct machine *machine, enum vmm_how how);
void machine_reboot(struct machine *machine, enum vmm_how how);
int machine_press_button(struct machine *machine);
int machine_ctrl_alt_del(struct machine *machine);
/* 0: paused; 1: control_paused() is called when devices are; negative: it cannot. */
int machine_pause(struct machine *machine);
int machine_resume(struct machine *machine);

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * config: the table of sections and keys. A new key is a member of its section's struct and a
 * row here; nothing else in config knows it.
 */
#include "base/util.h"
#include "config-internal.h"

/* In the order of the enums of config.h. */
static const char *const transports[] = { "pci", "mmio", NULL };
static const char *const consoles[] = { "serial", "virtio", NULL };
static const char *const watchdogs[] = { "no", "restart", "fail", NULL };
static const char *const huge_pages[] = { "no", "transparent", "2M", "1G", NULL };
static const char *const devices[] = { "disk", "pmem", NULL };
static const char *const block_sizes[] = { "auto", "512", "4096", NULL };
static const char *const caches[] = { "writeback", "writethrough", "direct", "unsafe", NULL };
static const char *const readies[] = { "running", "guest", NULL };
static const char *const formats[] = { "raw", "qcow2", "qed", "vdi", "vhdx", "vmdk", "vpc", NULL };
static_assert(ARRAY_SIZE(formats) == CONFIG_N_FORMATS + 1, "in the order of the enum");
static const char *const engines[] = { "auto", "threads", "io_uring", NULL };

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)
#define TIB (MIB * MIB)
#define MACHINE(member) offsetof(struct config_machine, member)
#define BOOT(member) offsetof(struct config_boot, member)
#define VSOCK(member) offsetof(struct config_vsock, member)
#define DRIVE(member) offsetof(struct config_drive, member)
#define NETWORK(member) offsetof(struct config_network, member)
#define MAX_OPERATIONS (UINT64_C(1000) * 1000 * 1000)

/* The keys of a struct config_bucket at offset at. */
#define BUCKET_ROW(key, kind, most, at, member, text)                                              \
	{                                                                                          \
		.name = (key), .type = (kind), .maximum = (most),                                  \
		.offset = (at) + offsetof(struct config_bucket, member), .fallback = "0",          \
		.doc = (text)                                                                      \
	}
#define BUCKET_ROWS(stem, kind, most, at, text)                                                    \
	BUCKET_ROW(stem "Limit", kind, most, at, limit, text),                                     \
		BUCKET_ROW(stem "Burst", kind, most, at, burst,                                    \
			"How much of " stem                                                        \
			"Limit= is saved up at the most while nothing is asked for; "              \
			"0 is what it gives in 10 ms."),                                           \
		BUCKET_ROW(stem "OneTimeBurst", kind, most, at, one_time_burst,                    \
			"A burst on top of it that is there once, from the start on.")
#define SHARE(member) offsetof(struct config_share, member)

#define RECONNECT_DOC                                                                                   \
	"Seconds that a back end which has gone is waited for, while the guest sees a pause. Then the " \
	"device fails, and the machine goes on; 0 does not wait."

static const struct config_key machine_keys[] = {
	{ .name = "Description",
		.type = CONFIG_TYPE_STRING,
		.offset = MACHINE(description),
		.doc = "What the machine is for, one line for people." },
	{ .name = "CPUs",
		.type = CONFIG_TYPE_NUMBER,
		.offset = MACHINE(cpus),
		.minimum = 1,
		.maximum = 64,
		.fallback = "1",
		.doc = "Number of virtual CPUs." },
	{ .name = "Memory",
		.type = CONFIG_TYPE_SIZE,
		.offset = MACHINE(memory_bytes),
		.minimum = MIB,
		.maximum = TIB,
		.multiple = 4 * KIB,
		.fallback = "256M",
		.doc = "Size of the memory, in whole pages of 4K." },
	{ .name = "HugePages",
		.type = CONFIG_TYPE_CHOICE,
		.offset = MACHINE(huge_pages),
		.choices = huge_pages,
		.fallback = "no",
		.doc = "Take the memory from the host's pool of huge pages, whose size it must then be a "
		       "multiple of, or let the kernel use transparent ones." },
	{ .name = "Prefault",
		.type = CONFIG_TYPE_BOOL,
		.offset = MACHINE(prefault),
		.fallback = "no",
		.doc = "Allocate all of the memory at the start." },
	{ .name = "Transport",
		.type = CONFIG_TYPE_CHOICE,
		.offset = MACHINE(transport),
		.choices = transports,
		.fallback = "pci",
		.doc = "How the guest finds its virtio devices." },
	{ .name = "PackedRings",
		.type = CONFIG_TYPE_BOOL,
		.offset = MACHINE(packed_rings),
		.fallback = "yes",
		.doc = "Offer packed virtqueues too, which cost less; a driver that does not know them, and "
		       "any with no, uses split ones." },
	{ .name = "Rng",
		.type = CONFIG_TYPE_BOOL,
		.offset = MACHINE(rng),
		.fallback = "yes",
		.doc = "A virtio device that gives the guest random numbers of the host." },
	{ .name = "Console",
		.type = CONFIG_TYPE_CHOICE,
		.offset = MACHINE(console),
		.choices = consoles,
		.fallback = "serial",
		.doc = "The device that the console is: the serial port (ttyS0), or a virtio console (hvc0), "
		       "which is faster and has a size. What the guest writes to the serial port is shown "
		       "in both cases." },
	{ .name = "Watchdog",
		.type = CONFIG_TYPE_CHOICE,
		.offset = MACHINE(watchdog),
		.choices = watchdogs,
		.fallback = "no",
		.doc = "A watchdog timer (i6300esb) for the guest, and what follows when the guest no longer "
		       "serves it: a restart as at a reboot, or a failure as at a panic. Needs "
		       "Transport=pci." },
	{ .name = "Balloon",
		.type = CONFIG_TYPE_BOOL,
		.offset = MACHINE(balloon),
		.fallback = "no",
		.doc = "A virtio balloon: memory that the guest frees goes back to the host by itself, and "
		       "vmmctl memory changes how much the guest has." },
	{ .name = "HotplugMemory",
		.type = CONFIG_TYPE_SIZE,
		.offset = MACHINE(hotplug_bytes),
		.maximum = TIB,
		.multiple = 2 * MIB,
		.fallback = "0",
		.doc = "How much memory can be plugged on top of Memory= while the machine runs, by vmmctl "
		       "memory; costs nothing before." },
	{ .name = "ReadyWhen",
		.type = CONFIG_TYPE_CHOICE,
		.offset = MACHINE(ready_when),
		.choices = readies,
		.fallback = "running",
		.doc = "When the unit counts as started, so that what is ordered after it may start: when "
		       "the CPUs run, or when the guest's own systemd, 253 or later, says by vsock that "
		       "it is up, has written ReadyText=, or answers on ReadyPort=. It gets more time while it goes on." },
	{ .name = "ReadyText",
		.type = CONFIG_TYPE_STRING,
		.offset = MACHINE(ready_text),
		.maximum = CONFIG_MAX_READY_TEXT,
		.doc = "With ReadyWhen=guest, what a guest that is up has written on its console, for "
		       "one that cannot say so otherwise: \"login:\"." },
	{ .name = "ReadyPort",
		.type = CONFIG_TYPE_NUMBER,
		.offset = MACHINE(ready_port),
		.minimum = 1,
		.maximum = UINT32_MAX - 1,
		.doc = "With ReadyWhen=guest, a vsock port of the guest that a guest that is up answers, "
		       "for one that cannot say so otherwise: 22 of an SSH server. It is tried each "
		       "second." },
	{ .name = "RngBandwidthLimit",
		.type = CONFIG_TYPE_SIZE,
		.offset = MACHINE(rng_limit),
		.maximum = TIB,
		.fallback = "0",
		.doc = "Bytes a second that the guest gets from its virtio rng; 0 is no limit." },
	{ .name = "ConsoleBandwidthLimit",
		.type = CONFIG_TYPE_SIZE,
		.offset = MACHINE(console_limit),
		.maximum = TIB,
		.fallback = "0",
		.doc = "Bytes a second that the guest may write to a virtio console; 0 is no limit." },
};

static const struct config_key boot_keys[] = {
	{ .name = "Kernel",
		.type = CONFIG_TYPE_PATH,
		.required = true,
		.offset = BOOT(kernel),
		.doc = "The kernel: a bzImage, or an ELF image such as vmlinux." },
	{ .name = "Initrd",
		.type = CONFIG_TYPE_PATH,
		.offset = BOOT(initrd),
		.doc = "The initial RAM disk." },
	{ .name = "CommandLine",
		.type = CONFIG_TYPE_WORDS,
		.offset = BOOT(command_line),
		.maximum = 2047,
		.doc = "The kernel command line. Several are joined; an empty one starts anew." },
};

static const struct config_key vsock_keys[] = {
	{ .name = "Enabled",
		.type = CONFIG_TYPE_BOOL,
		.offset = VSOCK(enabled),
		.fallback = "yes",
		.doc = "A virtio socket device, through which host and guest talk without a network." },
	{ .name = "CID",
		.type = CONFIG_TYPE_NUMBER,
		.offset = VSOCK(cid),
		.minimum = 3,
		.maximum = UINT32_MAX - 1,
		.doc = "The guest's address, which only the guest sees; when it is not given, one is made "
		       "from the machine's name." },
	{ .name = "Vhost",
		.type = CONFIG_TYPE_BOOL,
		.offset = VSOCK(vhost),
		.fallback = "no",
		.doc = "The host's kernel (vhost-vsock) serves the device, not the machine's own process: the "
		       "host's programs and the guest's reach each other by AF_VSOCK and CID, whatever port "
		       "somebody listens on. Code of the kernel then reads what the guest writes: an attack "
		       "surface that the sandbox does not cover. The CID must be free on the host. vmmctl "
		       "does not reach such a vsock." },
	{ .name = "HostPorts",
		.type = CONFIG_TYPE_WORDS,
		.offset = VSOCK(host_ports),
		.doc = "The host's ports that the guest may connect to, each as PORT:PATH with the unix "
		       "socket below /run that serves it. Several are joined; an empty one starts anew." },
	{ .name = "BandwidthLimit",
		.type = CONFIG_TYPE_SIZE,
		.offset = VSOCK(bandwidth_limit),
		.maximum = TIB,
		.fallback = "0",
		.doc = "Bytes a second, to the guest and from it apart; 0 is no limit." },
};

static const struct config_key drive_keys[] = {
	{ .name = "Name",
		.type = CONFIG_TYPE_NAME,
		.required = true,
		.offset = DRIVE(name),
		.doc = "Name of the drive, by which it is known here." },
	{ .name = "Path",
		.type = CONFIG_TYPE_PATH,
		.offset = DRIVE(path),
		.doc = "A raw image or a block device, or an image of another Format=. A drive has either "
		       "Path= or Socket=." },
	{ .name = "Format",
		.type = CONFIG_TYPE_CHOICE,
		.offset = DRIVE(format),
		.choices = formats,
		.fallback = "raw",
		.doc = "What Path= is. It is never found out from the file. All but raw are read by "
		       "qemu-storage-daemon, which the unit vmm-drive@MACHINE:NAME runs in a sandbox that "
		       "has nothing but this file: an image with a backing file does not open. Each write goes "
		       "through to the host's disk before the guest hears of it, so that nothing is lost when "
		       "that program dies: slower than raw." },
	{ .name = "Socket",
		.type = CONFIG_TYPE_PATH,
		.offset = DRIVE(socket),
		.doc = "The unix socket of a vhost-user-blk back end, which serves the drive instead of the "
		       "machine's own engine, and which sees the guest's memory. Its cache, size of blocks, "
		       "limits and serial number are its own affair." },
	{ .name = "ReconnectSec",
		.type = CONFIG_TYPE_NUMBER,
		.offset = DRIVE(reconnect),
		.maximum = 3600,
		.fallback = "30",
		.doc = RECONNECT_DOC },
	{ .name = "Device",
		.type = CONFIG_TYPE_CHOICE,
		.offset = DRIVE(device),
		.choices = devices,
		.fallback = "disk",
		.doc = "What the guest sees: a disk (virtio-blk), or persistent memory (virtio-pmem): a file "
		       "of whole 2M that it maps, without a page cache of its own, and that must not become "
		       "shorter while it runs. Name= and Path= are then the only other keys; it can neither "
		       "be attached nor detached while the machine runs." },
	{ .name = "ReadOnly",
		.type = CONFIG_TYPE_BOOL,
		.offset = DRIVE(read_only),
		.fallback = "no",
		.doc = "Refuse writes. Several machines may share a drive that all of them only read." },
	{ .name = "Cache",
		.type = CONFIG_TYPE_CHOICE,
		.offset = DRIVE(cache),
		.choices = caches,
		.fallback = "writeback",
		.doc = "When a write is stable: at the guest's flush (writeback), when it completes "
		       "(writethrough); direct goes past the host's page cache; unsafe ignores flushes." },
	{ .name = "Engine",
		.type = CONFIG_TYPE_CHOICE,
		.offset = DRIVE(engine),
		.choices = engines,
		.fallback = "auto",
		.doc = "What carries out the requests." },
	{ .name = "Discard",
		.type = CONFIG_TYPE_BOOL,
		.offset = DRIVE(discard),
		.fallback = "no",
		.doc = "Give what the guest discards back to the host's file system." },
	{ .name = "Serial",
		.type = CONFIG_TYPE_STRING,
		.offset = DRIVE(serial),
		.doc = "The serial number that the guest sees, up to 20 printable characters; when it is not "
		       "given, the name." },
	{ .name = "Queues",
		.type = CONFIG_TYPE_NUMBER,
		.offset = DRIVE(queues),
		.minimum = 1,
		.maximum = 16,
		.fallback = "1",
		.doc = "Number of request queues; more than one is of use to a guest with several CPUs." },
	{ .name = "BlockSize",
		.type = CONFIG_TYPE_CHOICE,
		.offset = DRIVE(block_size),
		.choices = block_sizes,
		.fallback = "auto",
		.doc = "The smallest unit that the guest reads and writes; auto is 512 for files, and a block "
		       "device's own." },
	BUCKET_ROWS("IOPS", CONFIG_TYPE_NUMBER, MAX_OPERATIONS, DRIVE(limits.operations),
		"Requests a second; 0 is no limit."),
	BUCKET_ROWS("Bandwidth", CONFIG_TYPE_SIZE, TIB, DRIVE(limits.bytes),
		"Bytes a second, of reads and writes together; 0 is no limit."),
};

static const struct config_key network_keys[] = {
	{ .name = "Name",
		.type = CONFIG_TYPE_NAME,
		.required = true,
		.offset = NETWORK(name),
		.doc = "Name of the network interface." },
	{ .name = "Bridge",
		.type = CONFIG_TYPE_IFNAME,
		.offset = NETWORK(bridge),
		.doc = "The host's bridge that the interface's tap device is added to." },
	{ .name = "Zone",
		.type = CONFIG_TYPE_IFNAME,
		.offset = NETWORK(zone),
		.doc = "A network of the host's own that the interface is in, with all machines and "
		       "containers of that zone: the bridge vz-NAME, which is made with the first and goes "
		       "with the last. Up to 12 characters." },
	{ .name = "MACVTap",
		.type = CONFIG_TYPE_IFNAME,
		.offset = NETWORK(macvtap),
		.doc = "The host's network interface on whose network the guest is with its own hardware "
		       "address, by a macvtap link in bridge mode in place of the tap device. Guests of one "
		       "such interface see each other and the network, and not the host." },
	{ .name = "User",
		.type = CONFIG_TYPE_BOOL,
		.offset = NETWORK(user),
		.fallback = "no",
		.doc = "A network without rights on the host's, in place of the tap device: passt, which "
		       "the unit vmm-network@MACHINE:NAME runs in a sandbox and not as root, does for "
		       "the guest what an ordinary program may do." },
	{ .name = "Forward",
		.type = CONFIG_TYPE_WORDS,
		.offset = NETWORK(forward),
		.doc = "With User=yes, the host's ports that lead into the guest, each as "
		       "PROTOCOL:[ADDRESS:]PORT:PORT with tcp or udp, the host's port and the guest's: "
		       "tcp:8080:80, udp:127.0.0.1:5353:53, tcp:[::1]:8022:22. Without an address, on all "
		       "of the host's. Up to 32 are joined; an empty one starts anew." },
	{ .name = "Queues",
		.type = CONFIG_TYPE_NUMBER,
		.offset = NETWORK(queues),
		.minimum = 1,
		.maximum = CONFIG_MAX_PAIRS,
		.fallback = "1",
		.doc = "Number of queue pairs; more than one is of use to a guest with several CPUs." },
	{ .name = "Vhost",
		.type = CONFIG_TYPE_BOOL,
		.offset = NETWORK(vhost),
		.fallback = "no",
		.doc = "The host's kernel (vhost-net) moves the frames, not the machine's own process. "
		       "Faster, but code of the kernel then reads what the guest writes: an attack surface "
		       "that the sandbox does not cover." },
	{ .name = "Socket",
		.type = CONFIG_TYPE_PATH,
		.offset = NETWORK(socket),
		.doc = "The unix socket of a vhost-user-net back end, which takes the place of the tap device "
		       "and sees the guest's memory." },
	{ .name = "ReconnectSec",
		.type = CONFIG_TYPE_NUMBER,
		.offset = NETWORK(reconnect),
		.maximum = 3600,
		.fallback = "30",
		.doc = RECONNECT_DOC },
	{ .name = "MAC",
		.type = CONFIG_TYPE_MAC,
		.offset = NETWORK(mac),
		.doc = "Hardware address; when it is not given, one is made from the host's machine id and "
		       "the names of machine and interface: the same each time, another on each host." },
	BUCKET_ROWS("ReceiveBandwidth", CONFIG_TYPE_SIZE, TIB, NETWORK(receive.bytes),
		"Bytes a second that the guest receives; 0 is no limit."),
	BUCKET_ROWS("ReceivePacket", CONFIG_TYPE_NUMBER, MAX_OPERATIONS,
		NETWORK(receive.operations),
		"Packets a second that the guest receives; 0 is no limit."),
	BUCKET_ROWS("TransmitBandwidth", CONFIG_TYPE_SIZE, TIB, NETWORK(transmit.bytes),
		"Bytes a second that the guest transmits; 0 is no limit."),
	BUCKET_ROWS("TransmitPacket", CONFIG_TYPE_NUMBER, MAX_OPERATIONS,
		NETWORK(transmit.operations),
		"Packets a second that the guest transmits; 0 is no limit."),
};

static const struct config_key share_keys[] = {
	{ .name = "Tag",
		.type = CONFIG_TYPE_NAME,
		.required = true,
		.offset = SHARE(tag),
		.doc = "Name of the share, by which the guest mounts it: mount -t virtiofs TAG DIRECTORY." },
	{ .name = "Path",
		.type = CONFIG_TYPE_PATH,
		.offset = SHARE(path),
		.doc = "The host's directory. virtiofsd serves it, run in a sandbox by the unit "
		       "vmm-share@MACHINE:TAG. The guest has in it what root has: users and modes are the "
		       "guest's own. A share has either Path= or Socket=." },
	{ .name = "ReadOnly",
		.type = CONFIG_TYPE_BOOL,
		.offset = SHARE(read_only),
		.fallback = "no",
		.doc = "The directory of Path= cannot be changed by the guest." },
	{ .name = "Socket",
		.type = CONFIG_TYPE_PATH,
		.offset = SHARE(socket),
		.doc = "The unix socket of a vhost-user-fs back end that somebody else runs." },
	{ .name = "ReconnectSec",
		.type = CONFIG_TYPE_NUMBER,
		.offset = SHARE(reconnect),
		.maximum = 3600,
		.fallback = "30",
		.doc = RECONNECT_DOC " What the guest had open does not survive its back end." },
};

#define KEYS(table) .keys = (table), .n_keys = ARRAY_SIZE(table)
#define OURS .pass = CONFIG_N_PASS_SECTIONS

static const struct config_section sections[] = {
	{ "Machine", OURS, .offset = offsetof(struct vm_config, machine), KEYS(machine_keys) },
	{ "Boot", OURS, .offset = offsetof(struct vm_config, boot), KEYS(boot_keys) },
	{ "Vsock", OURS, .offset = offsetof(struct vm_config, vsock), KEYS(vsock_keys) },
	{ "Drive", OURS, .repeated = true, KEYS(drive_keys) },
	{ "Network", OURS, .repeated = true, KEYS(network_keys) },
	{ "Share", OURS, .repeated = true, KEYS(share_keys) },
	{ "Unit", .pass = CONFIG_PASS_UNIT },
	{ "Service", .pass = CONFIG_PASS_SERVICE },
	{ "Install", .pass = CONFIG_PASS_INSTALL },
};

const struct config_section *config_sections(size_t *ret_n)
{
	*ret_n = ARRAY_SIZE(sections);
	return sections;
}

const char *config_format_name(enum config_format format)
{
	return formats[format];
}

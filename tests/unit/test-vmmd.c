/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vmmd: its logic without bus and workers: names, states of units, results, specs, what is
 * opened. */
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/util.h"
#include "killed.h"
#include "machine.h"
#include "resources.h"
#include "spawn-systemd.h"
#include "spec-fill.h"
#include "tap.h"
#include "temporary-dir.h"
#include "unit.h"

static const char whole[] =
	"[Machine]\nDescription=\xc3\xa4\nCPUs=3\nMemory=1G\nHugePages=2M\n"
	"Transport=mmio\nPackedRings=no\nRng=no\nRngBandwidthLimit=4K\nPrefault=yes\n"
	"[Boot]\nKernel=/k\nInitrd=/i\nCommandLine=a b\n"
	"[Vsock]\nCID=77\nBandwidthLimit=2M\n"
	"[Drive]\nName=one\nPath=/1\nIOPSLimit=7\nBandwidthLimit=1M\nCache=direct\n"
	"IOPSBurst=70\nIOPSOneTimeBurst=700\nBandwidthBurst=2M\nBandwidthOneTimeBurst=3M\n"
	"[Drive]\nName=two\nPath=/2\nSerial=S 2\nQueues=4\nBlockSize=4096\nReadOnly=yes\nEngine=threads\nDiscard=yes\n"
	"[Network]\nName=lan\nMAC=52:54:00:01:02:03\n"
	"ReceiveBandwidthLimit=1K\nReceiveBandwidthBurst=2K\nReceivePacketLimit=3\n"
	"TransmitBandwidthLimit=4K\nTransmitPacketLimit=5\nTransmitPacketOneTimeBurst=6\n"
	"[Network]\nName=wan\nQueues=3\n";

static struct vm_config *load(const char *text)
{
	struct config_messages messages = {};
	struct vm_config *config = NULL;

	ck_assert_int_eq(
		config_load_text(text, strlen(text), "t.vm", "web", &messages, &config), 0);
	config_messages_finish(&messages);
	return config;
}

START_TEST(test_unit_names)
{
	static const char *const bad[] = { "", "vmm@.service", "vmm@web.socket", "xvmm@web.service",
		"vmm@Web.service", "vmm@web.service.service", "vmm@a/b.service", "vmm.service",
		"vmm@abcdefghijklmnopqrstuvwxyz01.service", "vmm@web" };
	char name[VMM_NAME_SIZE];

	ck_assert(machine_name_of_unit("vmm@web-1.service", name));
	ck_assert_str_eq(name, "web-1");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(!machine_name_of_unit(bad[i], name), "%s", bad[i]);
}
END_TEST

START_TEST(test_unit_facts)
{
	static const struct {
		struct unit_facts facts;
		enum unit_state state;
		const char *result;
		int exit_status;
	} rows[] = {
		{ { .active_state = "active", .result = "success" }, UNIT_ACTIVE, "success", 0 },
		{ { .active_state = "reloading" }, UNIT_ACTIVE, "success", 0 },
		{ { .active_state = "activating", .sub_state = "auto-restart" }, UNIT_STARTING,
			"success", 0 },
		/* 254 and later, between two lives. */
		{ { .active_state = "failed", .sub_state = "failed-before-auto-restart" },
			UNIT_STARTING, "success", 0 },
		{ { .active_state = "inactive", .job_id = 5 }, UNIT_STARTING, "success", 0 },
		{ { .active_state = "inactive" }, UNIT_INACTIVE, "success", 0 },
		{ {}, UNIT_INACTIVE, "success", 0 },
		{ { .active_state = "deactivating" }, UNIT_STOPPING, "success", 0 },
		{ { .active_state = "failed",
			  .result = "exit-code",
			  .exec_code = CLD_EXITED,
			  .exec_status = 78 },
			UNIT_FAILED, "configuration", 78 },
		{ { .active_state = "failed",
			  .result = "exit-code",
			  .exec_code = CLD_EXITED,
			  .exec_status = 70 },
			UNIT_FAILED, "guest-panic", 70 },
		{ { .active_state = "failed",
			  .result = "signal",
			  .exec_code = CLD_KILLED,
			  .exec_status = SIGKILL },
			UNIT_FAILED, "signal", -SIGKILL },
		{ { .active_state = "failed", .result = "start-limit-hit" }, UNIT_FAILED,
			"resources", 0 },
		{ { .active_state = "failed", .result = "something-new" }, UNIT_FAILED, "exit-code",
			0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		ck_assert_int_eq(unit_facts_state(&rows[i].facts), rows[i].state);
		ck_assert_str_eq(unit_facts_result(&rows[i].facts), rows[i].result);
		ck_assert_int_eq(unit_facts_exit_status(&rows[i].facts), rows[i].exit_status);
	}
}
END_TEST

START_TEST(test_tap_names)
{
	char one[IFNAMSIZ], two[IFNAMSIZ];
	uint8_t mac[6], other[6];
	struct config_network network = { .name.value = (char *)"lan" };

	tap_name("abcdefghijklmnopqrstuvwxyz0", &network, one);
	ck_assert_uint_lt(strlen(one), IFNAMSIZ);
	ck_assert_int_eq(strncmp(one, "vt-abcde-", 9), 0);
	tap_name("abcdefghijklmnopqrstuvwxyz1", &network, two);
	ck_assert_str_ne(one, two);
	/* A port of a bridge is not one that systemd-networkd's 80-vm-vt.network is for. */
	network.zone.value = (char *)"lab";
	tap_name("web", &network, one);
	ck_assert_int_eq(strncmp(one, "vb-web-", 7), 0);
	network.zone.value = NULL;
	network.bridge.value = (char *)"br0";
	tap_name("web", &network, two);
	ck_assert_str_eq(one, two);
	network.bridge.value = NULL;
	/* The names do not run into each other. */
	network.name.value = (char *)"bc";
	tap_name("a", &network, one);
	network.name.value = (char *)"c";
	tap_name("ab", &network, two);
	ck_assert_str_ne(one + strlen(one) - 6, two + strlen(two) - 6);
	network.name.value = (char *)"lan";
	tap_mac("web", &network, mac);
	tap_mac("web2", &network, other);
	ck_assert_int_eq(mac[0] & 3, 2);
	ck_assert_int_ne(memcmp(mac, other, 6), 0);
	network.mac.value = (char *)"52:54:00:aB:cD:ef";
	tap_mac("web", &network, mac);
	ck_assert_int_eq(memcmp(mac, "\x52\x54\x00\xab\xcd\xef", 6), 0);
}
END_TEST

/* Two hosts whose machines have the same names share a network without a clash. */
START_TEST(test_tap_mac_of_host)
{
	static const uint8_t hosts[2][16] = { { 1, 2, 3 }, { 1, 2, 3, [15] = 1 } };
	struct config_network network = { .name.value = (char *)"lan" };
	uint8_t macs[5][6], mac[6], own[16];

	tap_make_mac(hosts[0], "web", "lan", macs[0]);
	tap_make_mac(hosts[1], "web", "lan", macs[1]);
	tap_make_mac(hosts[0], "web", "wan", macs[2]);
	tap_make_mac(hosts[0], "db", "lan", macs[3]);
	tap_make_mac(NULL, "web", "lan", macs[4]);
	for (size_t i = 0; i < ARRAY_SIZE(macs); i++) {
		ck_assert_int_eq(macs[i][0] & 3, 2);
		for (size_t j = 0; j < i; j++)
			ck_assert_int_ne(memcmp(macs[i], macs[j], 6), 0);
	}
	/* The guest's files have them: they are the same with each version. */
	ck_assert_int_eq(memcmp(macs[0], "\xc2\x36\xf4\x94\x35\x47", 6), 0);
	ck_assert_int_eq(memcmp(macs[4], "\xf6\x6c\x03\x59\x75\xfd", 6), 0);
	/* This one's: of its machine id where it has one, and the same each time. */
	tap_make_mac(tap_host_id(own) ? own : NULL, "web", "lan", macs[0]);
	tap_mac("web", &network, mac);
	ck_assert_int_eq(memcmp(mac, macs[0], 6), 0);
	if (access("/etc/machine-id", F_OK) == 0 && tap_host_id(own))
		ck_assert_int_ne(memcmp(mac, macs[4], 6), 0);
}
END_TEST

static const struct spec_sockets sockets = { .control_fd = 98, .vsock_fd = 99 };

/* Each pair of queues has its own vhost: all taps first, then those, then the next network's. */
START_TEST(test_spec_vhost)
{
	static const char text[] = "[Boot]\nKernel=/k\n[Vsock]\nVhost=yes\n"
				   "[Network]\nName=a\nQueues=3\nVhost=yes\n"
				   "[Network]\nName=b\n"
				   "[Network]\nName=c\nVhost=yes\n";
	struct machine machine = { .name = "web", .config = load(text), .handed.uid = 61200 };
	struct resources_result result = { .n_fds = 12 };
	struct vmm_spec *spec = malloc(sizeof(*spec));
	int fds[VMM_HANDOVER_MAX_FDS];
	char reason[VMM_TEXT_SIZE] = "";
	size_t n;

	for (size_t i = 0; i < result.n_fds; i++)
		result.fds[i] = 100 + (int)i;
	n = spec_fill(spec, &machine, &result, &sockets, fds);
	ck_assert_uint_eq(n, 14);
	ck_assert_int_eq(vmm_spec_check(spec, sizeof(*spec), n, reason, sizeof(reason)), 0);
	ck_assert_str_eq(reason, "");
	ck_assert_uint_eq(spec->networks[0].n_taps, 3);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(fds[spec->networks[0].tap_fds[i]], 102 + i);
		ck_assert_int_eq(fds[spec->networks[0].vhost_fds[i]], 105 + i);
	}
	ck_assert_int_eq(fds[spec->networks[1].tap_fds[0]], 108);
	ck_assert_uint_eq(spec->networks[1].vhost_fds[0], 0);
	ck_assert_int_eq(fds[spec->networks[2].tap_fds[0]], 109);
	ck_assert_int_eq(fds[spec->networks[2].vhost_fds[0]], 110);
	ck_assert_int_eq(fds[spec->vsock_vhost_fd], 111);
	vm_config_free(machine.config);
	free(spec);
}
END_TEST

START_TEST(test_spec)
{
	struct machine machine = { .name = "web", .config = load(whole), .handed.uid = 61200 };
	struct resources_result result = { .n_fds = 9 };
	struct vmm_spec *spec = malloc(sizeof(*spec));
	int fds[VMM_HANDOVER_MAX_FDS];
	char text[VMM_TEXT_SIZE] = "";
	size_t n;

	for (size_t i = 0; i < result.n_fds; i++)
		result.fds[i] = 100 + (int)i;
	n = spec_fill(spec, &machine, &result, &sockets, fds);
	ck_assert_uint_eq(n, 12);
	ck_assert_int_eq(vmm_spec_check(spec, sizeof(*spec), n, text, sizeof(text)), 0);
	ck_assert_str_eq(text, "");
	ck_assert_uint_eq(spec->n_cpus, 3);
	ck_assert_uint_eq(spec->memory_bytes, UINT64_C(1) << 30);
	ck_assert_uint_eq(spec->huge_page_bytes, 2 << 20);
	ck_assert_uint_eq(spec->transport, VMM_TRANSPORT_MMIO);
	ck_assert_uint_eq(spec->flags, VMM_SPEC_PREFAULT | VMM_SPEC_SPLIT_RINGS);
	ck_assert_uint_eq(spec->uid, 61200);
	ck_assert_str_eq(spec->command_line, "a b");
	ck_assert_int_eq(fds[spec->kvm_fd], 100);
	ck_assert_int_eq(fds[spec->kernel_fd], 101);
	ck_assert_int_eq(fds[spec->initrd_fd], 102);
	ck_assert_int_eq(fds[spec->drives[0].fd], 103);
	ck_assert_int_eq(fds[spec->drives[1].fd], 104);
	ck_assert_uint_eq(spec->networks[0].n_taps, 1);
	ck_assert_uint_eq(spec->networks[1].n_taps, 3);
	ck_assert_int_eq(fds[spec->networks[1].tap_fds[0]], 106);
	ck_assert_int_eq(fds[spec->networks[1].tap_fds[2]], 108);
	ck_assert_int_eq(fds[spec->control_fd], 98);
	ck_assert_int_eq(fds[spec->vsock_listen_fd], 99);
	ck_assert_uint_eq(spec->vsock_cid, 77);
	ck_assert_str_eq(spec->drives[0].serial, "one");
	ck_assert_uint_eq(spec->drives[0].cache, VMM_CACHE_DIRECT);
	ck_assert_uint_eq(spec->drives[0].rate.ops.rate_per_second, 7);
	ck_assert_uint_eq(spec->drives[0].rate.bytes.rate_per_second, 1 << 20);
	ck_assert_uint_eq(spec->drives[0].rate.ops.burst, 70);
	ck_assert_uint_eq(spec->drives[0].rate.ops.one_time_burst, 700);
	ck_assert_uint_eq(spec->drives[0].rate.bytes.burst, 2 << 20);
	ck_assert_uint_eq(spec->drives[0].rate.bytes.one_time_burst, 3 << 20);
	ck_assert_uint_eq(spec->networks[0].receive_rate.bytes.rate_per_second, 1024);
	ck_assert_uint_eq(spec->networks[0].receive_rate.bytes.burst, 2048);
	ck_assert_uint_eq(spec->networks[0].receive_rate.ops.rate_per_second, 3);
	ck_assert_uint_eq(spec->networks[0].transmit_rate.bytes.rate_per_second, 4096);
	ck_assert_uint_eq(spec->networks[0].transmit_rate.ops.rate_per_second, 5);
	ck_assert_uint_eq(spec->networks[0].transmit_rate.ops.one_time_burst, 6);
	ck_assert_uint_eq(spec->drives[1].flags, VMM_DRIVE_READ_ONLY | VMM_DRIVE_DISCARD);
	ck_assert_uint_eq(spec->drives[1].engine, VMM_ENGINE_THREADS);
	ck_assert_str_eq(spec->drives[1].serial, "S 2");
	ck_assert_uint_eq(spec->drives[1].n_queues, 4);
	ck_assert_uint_eq(spec->drives[1].block_bytes, 4096);
	ck_assert_uint_eq(spec->vsock_receive_rate.bytes.rate_per_second, 2 << 20);
	ck_assert_uint_eq(spec->rng_rate.bytes.rate_per_second, 4096);
	ck_assert_int_eq(memcmp(spec->networks[0].mac, "\x52\x54\x00\x01\x02\x03", 6), 0);
	vm_config_free(machine.config);
	free(spec);
}
END_TEST

/* A description is cut where a character ends. */
static const struct {
	const char *text;
	pid_t pid;
	const char *thread; /* NULL: no such record */
	int64_t call;
} records[] = {
	{ "SECCOMP auid=4294967295 uid=61200 gid=61200 ses=4294967295 pid=812 "
	  "comm=766370752030 exe=\"/vmmd-worker\" sig=31 arch=c000003e syscall=257 compat=0 "
	  "ip=0x7f3 code=0x80000000",
		812, "vcpu 0", 257 },
	{ "6,1,2,-;audit: type=1326 audit(1.2:3): auid=1 uid=0 gid=0 ses=1 pid=812 "
	  "comm=\"vmmd-worker\" exe=\"/w\" sig=31 arch=c000003e syscall=41 compat=0",
		812, "vmmd-worker", 41 },
	/* A name that would take the terminal, or pretend to be more fields. */
	{ "SECCOMP pid=812 comm=1b5b41 sig=31 syscall=0", 812, "?[A", 0 },
	{ "SECCOMP pid=812 comm=\"pid=813\" sig=31 syscall=1", 813, NULL, 0 },
	/* Another process, another reason, another type of record. */
	{ "SECCOMP pid=8120 comm=\"a\" sig=31 syscall=1", 812, NULL, 0 },
	{ "SECCOMP ppid=812 comm=\"a\" sig=31 syscall=1", 812, NULL, 0 },
	{ "SECCOMP pid=812 comm=\"a\" sig=0 syscall=1", 812, NULL, 0 },
	{ "ANOM_ABEND pid=812 comm=\"a\" sig=31 syscall=1", 812, NULL, 0 },
	/* Cut short, or not numbers. */
	{ "", 812, NULL, 0 },
	{ "SECCOMP ", 812, NULL, 0 },
	{ "SECCOMP pid=812", 812, NULL, 0 },
	{ "SECCOMP pid=812 comm= sig=31 syscall=1", 812, NULL, 0 },
	{ "SECCOMP pid=812 comm=\"\" sig=31 syscall=1", 812, NULL, 0 },
	{ "SECCOMP pid=812 comm=zz sig=31 syscall=1", 812, NULL, 0 },
	{ "SECCOMP pid=812 comm=\"a\" sig=31 syscall=", 812, NULL, 0 },
	{ "SECCOMP pid=812 comm=\"a\" sig=31 syscall=1x", 812, NULL, 0 },
	{ "SECCOMP pid=812 comm=\"a\" sig=31 syscall=-1", 812, NULL, 0 },
	{ "SECCOMP pid=99999999999999999999 comm=\"a\" sig=31 syscall=1", 812, NULL, 0 },
};

START_TEST(test_audit_records)
{
	struct killed_record record;
	bool is_found = killed_parse(records[_i].text, records[_i].pid, &record);

	ck_assert_msg(is_found == (records[_i].thread != NULL), "%s", records[_i].text);
	if (!is_found)
		return;
	ck_assert_str_eq(record.thread, records[_i].thread);
	ck_assert_int_eq(record.call, records[_i].call);
}
END_TEST

START_TEST(test_long_description)
{
	struct resources_result result = { .n_fds = 2 };
	struct vmm_spec *spec = malloc(sizeof(*spec));
	struct machine machine = { .name = "web" };
	char text[1024] = "[Boot]\nKernel=/k\n[Vsock]\nEnabled=no\n[Machine]\nDescription=x";
	int fds[VMM_HANDOVER_MAX_FDS];
	char reason[VMM_TEXT_SIZE];

	for (int i = 0; i < 200; i++)
		strcat(text, "\xc3\xa4");
	machine.config = load(text);
	ck_assert_uint_eq(spec_fill(spec, &machine, &result, &sockets, fds), 4);
	ck_assert_uint_eq(spec->vsock_cid, 0);
	ck_assert_int_eq(vmm_spec_check(spec, sizeof(*spec), 4, reason, sizeof(reason)), 0);
	ck_assert_uint_eq(strlen(spec->description), VMM_DESCRIPTION_SIZE - 1);
	ck_assert_int_eq((unsigned char)spec->description[VMM_DESCRIPTION_SIZE - 2], 0xa4);
	vm_config_free(machine.config);
	free(spec);
}
END_TEST

/* ---- vsock ---- */

START_TEST(test_vsock_cid)
{
	char name[2] = "a";

	/* The same with each version. */
	ck_assert_uint_eq(vsock_default_cid("web"), 1318602381);
	ck_assert_uint_ne(vsock_default_cid("web"), vsock_default_cid("web2"));
	for (; name[0] <= 'z'; name[0]++) {
		ck_assert_uint_ge(vsock_default_cid(name), 3);
		ck_assert_uint_lt(vsock_default_cid(name), UINT32_MAX);
	}
}
END_TEST

/* A burst, then so many a second, however long it was quiet before. */
START_TEST(test_vsock_budget)
{
	struct vsock_budget budget = {};
	uint64_t now_usec = UINT64_C(1000000000);

	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < VSOCK_BURST; i++)
			ck_assert(vsock_budget_take(&budget, now_usec));
		ck_assert(!vsock_budget_take(&budget, now_usec));
		now_usec += 1000000;
		for (int i = 0; i < VSOCK_RATE; i++)
			ck_assert(vsock_budget_take(&budget, now_usec));
		ck_assert(!vsock_budget_take(&budget, now_usec));
		now_usec += UINT64_C(3600) * 1000000;
	}
}
END_TEST

static int listen_below_run(const char *path, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
	strcpy(address.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 4), 0);
	return fd;
}

START_TEST(test_vsock_host_ports)
{
	char run[] = "/run/test-vmmd-XXXXXX", path[128], link[128], ports[1024], byte;
	int listener, fd, peer;

	ck_assert_ptr_nonnull(mkdtemp(run));
	snprintf(path, sizeof(path), "%s/socket", run);
	snprintf(link, sizeof(link), "%s/link", run);
	listener = listen_below_run(path, SOCK_STREAM);
	ck_assert_int_eq(symlink(path, link), 0);
	snprintf(ports, sizeof(ports), "10:%s 11:%s/none  12:%s 13:%s 13:%s", path, run, link, run,
		path);
	ck_assert_int_eq(vsock_connect_host(ports, 10, false, &fd), 0);
	peer = accept(listener, NULL, NULL);
	ck_assert_int_ge(peer, 0);
	ck_assert_int_eq(write(fd, "x", 1), 1);
	ck_assert_int_eq(read(peer, &byte, 1), 1);
	vmm_base_close(peer);
	vmm_base_close(fd);
	ck_assert_int_eq(vsock_connect_host(ports, 10, true, &fd), -EPROTOTYPE);
	ck_assert_int_eq(vsock_connect_host(ports, 9, false, &fd), -EACCES);
	ck_assert_int_eq(vsock_connect_host("", 10, false, &fd), -EACCES);
	ck_assert_int_eq(vsock_connect_host(ports, 11, false, &fd), -ENOENT);
	/* No link is followed; what is no socket refuses. */
	ck_assert_int_ne(vsock_connect_host(ports, 12, false, &fd), 0);
	ck_assert_int_eq(vsock_connect_host(ports, 13, false, &fd), -ECONNREFUSED);
	/* Nobody accepts: its queue gets full, and nobody waits. */
	for (int i = 0; i < 64 && vsock_connect_host(ports, 10, false, &fd) == 0; i++)
		;
	ck_assert_int_eq(vsock_connect_host(ports, 10, false, &fd), -EAGAIN);
	vmm_base_close(listener);
	ck_assert_int_eq(vsock_connect_host(ports, 10, false, &fd), -ECONNREFUSED);
	unlink(path);
	unlink(link);
	rmdir(run);
}
END_TEST

/* ---- what is opened ---- */

/* %s of text is the directory. */
static struct vm_config *load_with_dir(const char *text)
{
	struct vm_config *config;
	char *full;

	ck_assert_int_gt(asprintf(&full, text, dir, dir, dir), 0);
	config = load(full);
	free(full);
	return config;
}

static const struct {
	const char *text;
	const char *said; /* NULL: all is well */
} openings[] = {
	{ "[Boot]\nKernel=%s/k\n", NULL },
	{ "[Boot]\nKernel=%s/empty\n", "t.vm:2: [Boot] Kernel=: \"%s/empty\" is empty" },
	{ "[Boot]\nKernel=%s/missing\n",
		"t.vm:2: [Boot] Kernel=: \"%s/missing\": No such file or directory" },
	{ "[Boot]\nKernel=%s/pipe\n", "t.vm:2: [Boot] Kernel=: \"%s/pipe\" is a pipe" },
	{ "[Boot]\nKernel=/dev/zero\n",
		"t.vm:2: [Boot] Kernel=: \"/dev/zero\" is a character device" },
	{ "[Boot]\nKernel=%s/k\nInitrd=%s/empty\n",
		"t.vm:3: [Boot] Initrd=: \"%s/empty\" is empty" },
	{ "[Boot]\nKernel=%s/k\nInitrd=%s/large\n[Machine]\nMemory=1M\n",
		"t.vm:3: [Boot] Initrd=: \"%s/large\" is larger than the memory" },
	{ "[Boot]\nKernel=%s/k\n[Drive]\nName=d\nPath=%s/d\n", NULL },
	{ "[Boot]\nKernel=%s/k\n[Drive]\nName=d\nPath=%s/odd\n",
		"t.vm:5: [Drive] Path=: \"%s/odd\" has 513 bytes, which are not whole sectors of 512" },
	{ "[Boot]\nKernel=%s/k\n[Drive]\nName=d\nPath=%s/empty\n",
		"t.vm:5: [Drive] Path=: \"%s/empty\" is empty" },
	{ "[Boot]\nKernel=%s/k\n[Drive]\nName=d\nPath=%s/locked\n",
		"t.vm:5: [Drive] Path=: \"%s/locked\" is in use by another machine or program" },
	{ "[Boot]\nKernel=%s/k\n[Drive]\nName=d\nPath=%s/locked\nReadOnly=yes\n",
		"t.vm:5: [Drive] Path=: \"%s/locked\" is in use by another machine or program" },
	{ "[Boot]\nKernel=%s/k\n[Network]\nName=n\nBridge=nobridge0\n",
		"t.vm:3: [Network]: \"n\": nobridge0: No such device" },
	/* What needs a unit, where there are none. */
	{ "[Boot]\nKernel=%s/k\n[Network]\nName=n\nUser=yes\n",
		"t.vm:5: [Network] User=: needs a unit of its own, and vmmd runs without systemd "
		"(--spawn=direct); Socket= of a back end that you start works here too" },
	{ "[Boot]\nKernel=%s/k\n[Share]\nTag=t\nPath=%s\n",
		"t.vm:5: [Share] Path=: needs a unit of its own, and vmmd runs without systemd "
		"(--spawn=direct); Socket= of a back end that you start works here too" },
	{ "[Boot]\nKernel=%s/k\n[Drive]\nName=d\nFormat=qcow2\nPath=%s/d\n",
		"t.vm:6: [Drive] Format=: needs a unit of its own, and vmmd runs without systemd "
		"(--spawn=direct); Socket= of a back end that you start works here too" },
	{ "[Boot]\nKernel=%s/k\n[Share]\nTag=t\nPath=%s/k\n",
		"t.vm:5: [Share] Path=: \"%s/k\" is no directory" },
};

START_TEST(test_openings)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct vm_config *config;
	char path[128], text[VMM_TEXT_SIZE], expected[VMM_TEXT_SIZE] = "";
	int locked;

	make_file("k", 100);
	make_file("empty", 0);
	make_file("large", 2 << 20);
	make_file("d", 4096);
	make_file("odd", 513);
	make_file("locked", 4096);
	snprintf(path, sizeof(path), "%s/pipe", dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	snprintf(path, sizeof(path), "%s/locked", dir);
	locked = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(fcntl(locked, F_OFD_SETLK, &lock), 0);

	config = load_with_dir(openings[_i].text);
	if (openings[_i].said)
		snprintf(expected, sizeof(expected), openings[_i].said, dir);
	for (int mode = RESOURCES_CHECK; mode <= RESOURCES_TAKE; mode++) {
		struct resources_result result;

		const struct resources_order order = {
			.mode = (enum resources_mode)mode,
			.lock_patience_msec = 50,
		};

		resources_take(config, &order, &result, text, sizeof(text));
		ck_assert_str_eq(text, expected);
		ck_assert_int_eq(result.error == 0, openings[_i].said == NULL);
		ck_assert_int_eq(result.exit_status, openings[_i].said ? 78 : 0);
		ck_assert_uint_eq(result.n_fds,
			openings[_i].said || mode == RESOURCES_CHECK ? 0 : 2 + config->n_drives);
		for (size_t i = 0; i < result.n_fds; i++)
			close(result.fds[i]);
	}
	vm_config_free(config);
	close(locked);
}
END_TEST

/* A lock that ends a moment after its worker is waited for. */
START_TEST(test_late_unlock)
{
	const struct resources_order order = { .mode = RESOURCES_TAKE,
		.lock_patience_msec = 20000 };
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct resources_result result;
	char path[128], text[VMM_TEXT_SIZE];
	struct vm_config *config;
	uint64_t began_nsec;
	int locked;
	pid_t pid;

	make_file("k", 100);
	make_file("d", 4096);
	config = load_with_dir("[Boot]\nKernel=%s/k\n[Drive]\nName=d\nPath=%s/d\n");
	snprintf(path, sizeof(path), "%s/d", dir);
	locked = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(fcntl(locked, F_OFD_SETLK, &lock), 0);
	began_nsec = vmm_base_now_nsec();
	pid = fork();
	if (pid == 0) {
		usleep(50000);
		_exit(0);
	}
	close(locked);
	ck_assert_int_eq(resources_take(config, &order, &result, text, sizeof(text)), 0);
	ck_assert_uint_ge(vmm_base_now_nsec() - began_nsec, 50000000);
	for (size_t i = 0; i < result.n_fds; i++)
		close(result.fds[i]);
	waitpid(pid, NULL, 0);
	vm_config_free(config);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vmmd");
	TCase *logic = unit_case(suite, "logic"), *opening = unit_case(suite, "opening");

	tcase_add_test(logic, test_unit_names);
	tcase_add_test(logic, test_unit_facts);
	tcase_add_test(logic, test_tap_names);
	tcase_add_test(logic, test_tap_mac_of_host);
	tcase_add_test(logic, test_spec);
	tcase_add_test(logic, test_spec_vhost);
	tcase_add_loop_test(logic, test_audit_records, 0, (int)ARRAY_SIZE(records));
	tcase_add_test(logic, test_long_description);
	tcase_add_test(logic, test_vsock_cid);
	tcase_add_test(logic, test_vsock_budget);
	/* Only root makes files there. */
	if (access("/run", W_OK) == 0)
		tcase_add_test(logic, test_vsock_host_ports);
	/* The first that is opened is /dev/kvm. */
	if (access("/dev/kvm", R_OK | W_OK) == 0 && access("/dev/net/tun", F_OK) == 0) {
		tcase_add_checked_fixture(opening, make_dir, remove_dir);
		tcase_add_loop_test(opening, test_openings, 0, ARRAY_SIZE(openings));
		tcase_add_test(opening, test_late_unlock);
	}
	return unit_run(suite);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* worker-protocol: names, the spec and the broker's part, from good to hostile. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/util.h"
#include "worker-protocol-fixture.h"
#include "worker/message.h"
#include "worker/protocol.h"

#define SECOND UINT64_C(1000000000)

static struct vmm_spec spec;
static char text[VMM_TEXT_SIZE];

static void setup(void)
{
	open_pair();
	vmm_spec_init(&spec, "web");
	spec.memory_bytes = 128 << 20;
	spec.n_cpus = 1;
	spec.n_fds = 3;
	spec.kvm_fd = 1;
	spec.kernel_fd = 2;
	memset(text, 0, sizeof(text));
}

static int check(void)
{
	return vmm_spec_check(&spec, sizeof(spec), spec.n_fds, text, sizeof(text));
}

START_TEST(names)
{
	static const char *const good[] = { "a", "0", "web", "web-1", "10-0",
		"abcdefghijklmnopqrstuvwxyz0" };
	static const char *const wrong[] = { "", "-", "a-", "-a", "Web", "a_b", "a.b", "a/b", "a b",
		"\xc3\xa4", "abcdefghijklmnopqrstuvwxyz01" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		ck_assert_msg(vmm_name_is_valid(good[i]), "%s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		ck_assert_msg(!vmm_name_is_valid(wrong[i]), "%s", wrong[i]);
}
END_TEST

static void add_drive(const char *id)
{
	struct vmm_spec_drive *drive = &spec.drives[spec.n_drives++];

	strcpy(drive->id, id);
	drive->fd = spec.n_fds++;
}

static void add_network(const char *id)
{
	struct vmm_spec_network *net = &spec.networks[spec.n_networks++];

	strcpy(net->id, id);
	net->mac[0] = 2;
	net->n_taps = 1;
	net->tap_fds[0] = spec.n_fds++;
}

/* Served by a back end. */
static void add_user_drive(const char *id)
{
	add_drive(id);
	spec.flags |= VMM_SPEC_SHARED_MEMORY;
	spec.drives[spec.n_drives - 1].flags = VMM_DRIVE_VHOST_USER;
	spec.drive_backends[spec.n_drives - 1].reconnect_msec = 30000;
}

static void add_user_network(const char *id)
{
	struct vmm_spec_network *net = &spec.networks[spec.n_networks];

	add_network(id);
	spec.flags |= VMM_SPEC_SHARED_MEMORY;
	net->n_taps = 0;
	spec.network_backends[spec.n_networks - 1].fd = net->tap_fds[0];
	net->tap_fds[0] = 0;
}

static void add_share(const char *id)
{
	struct vmm_spec_share *share = &spec.shares[spec.n_shares++];

	spec.flags |= VMM_SPEC_SHARED_MEMORY;
	strcpy(share->id, id);
	share->fd = spec.n_fds++;
}

START_TEST(spec_good)
{
	ck_assert_int_eq(check(), 0);
	add_drive("root");
	add_drive("data");
	add_network("lan");
	add_user_drive("qcow");
	add_user_network("user");
	add_share("home");
	add_share("data");
	strcpy(spec.command_line, "console=ttyS0 root=/dev/vda");
	ck_assert_msg(check() == 0, "%s", text);
}
END_TEST

/* Each row breaks one member of a good spec; the text must name it. */
#define BROKEN(name_, expected_, ...)                                                              \
	static void break_##name_(void)                                                            \
	{                                                                                          \
		__VA_ARGS__;                                                                       \
	}
#define BROKEN_TABLE(X)                                                                            \
	X(magic, "not a specification", spec.magic++)                                              \
	X(size, "bytes, ", spec.size++)                                                            \
	X(name_open, "name", memset(spec.name, 'a', sizeof(spec.name)))                            \
	X(name_hidden, "name", spec.name[20] = 'x')                                                \
	X(name_bad, "name", spec.name[0] = '/')                                                    \
	X(description, "description", spec.description[0] = '\n')                                  \
	X(command_line, "command line", memset(spec.command_line, 'a', sizeof(spec.command_line))) \
	X(command_line_control, "command line", strcpy(spec.command_line, "a\nb"))                 \
	X(flags, "flags", spec.flags = 1u << 31)                                                   \
	X(no_cpu, "CPUs", spec.n_cpus = 0)                                                         \
	X(cpus, "CPUs", spec.n_cpus = 65)                                                          \
	X(transport, "transport", spec.transport = 2)                                              \
	X(ready_text, "ready text", spec.ready_text[0] = 7)                                        \
	X(ready_port, "ready port", spec.ready_port = UINT32_MAX, spec.vsock_cid = 3)              \
	X(ready_port_without_vsock, "ready port", spec.ready_port = 22, spec.vsock_cid = 0)        \
	X(ready_way, "ready", spec.ready = 1)                                                      \
	X(ready, "ready", spec.ready = 2)                                                          \
	X(uid, "uid", spec.uid = 1000)                                                             \
	X(uid_all, "uid", spec.uid = spec.gid = UINT32_MAX)                                        \
	X(ring, "ring", spec.console_ring_bytes = 5000)                                            \
	X(ring_small, "ring", spec.console_ring_bytes = 2048)                                      \
	X(cid, "CID", spec.vsock_cid = 2)                                                          \
	X(cid_fd, "vsock", spec.vsock_vhost_fd = 1)                                                \
	X(cid_listen_fd, "vsock", spec.vsock_listen_fd = 1)                                        \
	X(cid_both, "vsock", spec.vsock_cid = 3; spec.vsock_vhost_fd = 1;                          \
		spec.vsock_listen_fd = 2)                                                          \
	X(cid_fd_port, "vsock: a port", spec.vsock_cid = 3; spec.vsock_vhost_fd = 1;               \
		spec.ready = 1; spec.ready_port = 22)                                              \
	X(cid_fd_rate, "vsock: a port", spec.vsock_cid = 3; spec.vsock_vhost_fd = 1;               \
		spec.vsock_transmit_rate.ops.rate_per_second = 1)                                  \
	X(cid_fd_range, "vsock", spec.vsock_cid = 3; spec.vsock_listen_fd = 3)                     \
	X(vsock_rate, "vsock", spec.vsock_transmit_rate.ops.burst = 1)                             \
	X(watchdog_action, "watchdog", spec.flags = VMM_SPEC_WATCHDOG; spec.watchdog_action = 2)   \
	X(no_watchdog, "watchdog", spec.watchdog_action = 1)                                       \
	X(console_rate, "console", spec.console_rate.ops.rate_per_second = 1)                      \
	X(no_memory, "memory", spec.memory_bytes = 0)                                              \
	X(memory_page, "memory", spec.memory_bytes += 512)                                         \
	X(memory_max, "memory", spec.memory_bytes = UINT64_MAX & ~UINT64_C(4095))                  \
	X(huge, "huge", spec.huge_page_bytes = 12345)                                              \
	X(huge_multiple, "memory", spec.huge_page_bytes = 1 << 30)                                 \
	X(hotplug, "hotplug", spec.hotplug_bytes = 1 << 20)                                        \
	X(hotplug_max, "hotplug", spec.hotplug_bytes = UINT64_C(2) << 40)                          \
	X(pmem, "persistent", add_drive("a");                                                      \
		spec.drives[0].flags = VMM_DRIVE_PMEM | VMM_DRIVE_READ_ONLY)                       \
	X(                                                                                         \
		pmem_many, "persistent", for (int i = 0; i < 9; i++) {                             \
			char id[2] = { (char)(97 + i) };                                           \
			add_drive(id);                                                             \
			spec.drives[i].flags = VMM_DRIVE_PMEM;                                     \
		})                                                                                 \
	X(balloon, "balloon", spec.balloon_bytes = 4096)                                           \
	X(no_kvm, "KVM", spec.kvm_fd = 0)                                                          \
	X(no_kernel, "kernel", spec.kernel_fd = 0)                                                 \
	X(fd_range, "initrd", spec.initrd_fd = 3)                                                  \
	X(fd_huge, "initrd", spec.initrd_fd = UINT32_MAX)                                          \
	X(fd_twice, "initrd", spec.initrd_fd = 2)                                                  \
	X(fd_unused, "used by nothing", spec.n_fds = 4)                                            \
	X(drives, "drives", spec.n_drives = 33)                                                    \
	X(drive_hidden, "drive 0", spec.drives[0].fd = 1)                                          \
	X(drive_name, "drive 0", add_drive(""))                                                    \
	X(drive_name_chars, "drive 0", add_drive("a/b"))                                           \
	X(drive_twice, "drive root", add_drive("root"), add_drive("root"))                         \
	X(drive_fd, "drive root", add_drive("root"), spec.drives[0].fd = 1)                        \
	X(drive_flags, "drive root", add_drive("root"), spec.drives[0].flags = 8)                  \
	X(drive_cache, "cache", add_drive("root"), spec.drives[0].cache = 4)                       \
	X(drive_engine, "engine", add_drive("root"), spec.drives[0].engine = 3)                    \
	X(drive_queues, "queues", add_drive("root"), spec.drives[0].n_queues = 17)                 \
	X(drive_queue, "queue size", add_drive("root"), spec.drives[0].queue_size = 7)             \
	X(drive_queue_max, "queue size", add_drive("root"), spec.drives[0].queue_size = 2048)      \
	X(drive_serial, "serial", add_drive("root"), memset(spec.drives[0].serial, 'a', 21))       \
	X(drive_serial_ascii, "serial", add_drive("root"), spec.drives[0].serial[0] = 1)           \
	X(drive_burst, "burst", add_drive("root"), spec.drives[0].rate.ops.burst = 1)              \
	X(drive_rate, "rate", add_drive("root"),                                                   \
		spec.drives[0].rate.bytes.rate_per_second = UINT64_MAX)                            \
	X(networks, "networks", spec.n_networks = 17)                                              \
	X(net_mac, "MAC", add_network("lan"), spec.networks[0].mac[0] = 1)                         \
	X(net_mtu, "MTU", add_network("lan"), spec.networks[0].mtu = 67)                           \
	X(net_taps, "taps", add_network("lan"), spec.networks[0].n_taps = 9)                       \
	X(net_none, "either", add_network("lan"), spec.networks[0].n_taps = 0)                     \
	X(net_hidden, "more desc", add_network("lan"), spec.networks[0].tap_fds[1] = 1)            \
	X(net_twice, "network lan", add_network("lan"), add_network("lan"))                        \
	X(net_both, "either", add_user_network("lan"), spec.networks[0].n_taps = 1)                \
	X(net_user_fd, "network lan", add_user_network("lan"), spec.network_backends[0].fd = 2)    \
	X(net_user_rate, "limits", add_user_network("lan"),                                        \
		spec.networks[0].transmit_rate.ops.rate_per_second = 1)                            \
	X(net_user_memory, "not shared", add_user_network("lan"), spec.flags = 0)                  \
	X(net_wait, "waits", add_network("lan"), spec.network_backends[0].reconnect_msec = 1)      \
	X(drive_user_cache, "back end's", add_user_drive("d"), spec.drives[0].cache = 1)           \
	X(drive_user_engine, "back end's", add_user_drive("d"), spec.drives[0].engine = 1)         \
	X(drive_user_serial, "back end's", add_user_drive("d"), spec.drives[0].serial[0] = 'a')    \
	X(drive_user_discard, "back end's", add_user_drive("d"),                                   \
		spec.drives[0].flags |= VMM_DRIVE_DISCARD)                                         \
	X(drive_user_blocks, "back end's", add_user_drive("d"), spec.drives[0].block_bytes = 512)  \
	X(drive_user_rate, "back end's", add_user_drive("d"),                                      \
		spec.drives[0].rate.ops.rate_per_second = 1)                                       \
	X(drive_user_memory, "not shared", add_user_drive("d"), spec.flags = 0)                    \
	X(drive_user_wait, "waits", add_user_drive("d"),                                           \
		spec.drive_backends[0].reconnect_msec = UINT32_MAX)                                \
	X(drive_wait, "waits", add_drive("d"), spec.drive_backends[0].reconnect_msec = 1)          \
	X(drive_fds, "beside", add_drive("d"), spec.drive_backends[0].fd = 1)                      \
	X(backend_hidden, "drive 1", spec.drive_backends[1].reconnect_msec = 1)                    \
	X(net_backend_hidden, "network 1", spec.network_backends[1].reconnect_msec = 1)            \
	X(reserved, "reserved", spec.reserved = 1)                                                 \
	X(shares, "shares", spec.n_shares = 17)                                                    \
	X(share_hidden, "share 3", spec.shares[3].queue_size = 256)                                \
	X(share_name, "share 0", add_share(""))                                                    \
	X(share_name_end, "share 0", add_share("a"); memset(spec.shares[0].id, 'a', 32))           \
	X(share_name_chars, "share 0", add_share("a b"))                                           \
	X(share_twice, "share a", add_share("a"), add_share("a"))                                  \
	X(share_no_fd, "share a", add_share("a"), spec.shares[0].fd = 0, spec.n_fds--)             \
	X(share_fd, "share a", add_share("a"), spec.shares[0].fd = 1)                              \
	X(share_queue, "queue size", add_share("a"), spec.shares[0].queue_size = 3)                \
	X(share_wait, "waits", add_share("a"), spec.shares[0].reconnect_msec = 3600001)            \
	X(share_flags, "unknown flags", add_share("a"), spec.shares[0].flags = 2)                  \
	X(share_memory, "not shared", add_share("a"), spec.flags = 0)

BROKEN_TABLE(BROKEN)

static const struct {
	const char *name;
	const char *expected;
	void (*break_it)(void);
} broken[] = {
#define BROKEN_ROW(name_, expected_, ...) { #name_, expected_, break_##name_ },
	BROKEN_TABLE(BROKEN_ROW)
};

START_TEST(spec_broken)
{
	broken[_i].break_it();
	ck_assert_msg(check() == -EBADMSG, "%s was let through", broken[_i].name);
	ck_assert_msg(strstr(text, broken[_i].expected), "%s: text \"%s\" does not say \"%s\"",
		broken[_i].name, text, broken[_i].expected);
}
END_TEST

START_TEST(spec_other_version)
{
	spec.version++;
	ck_assert_int_eq(check(), -EPROTONOSUPPORT);
	ck_assert_int_eq(vmm_spec_check(&spec, 4, 1, text, sizeof(text)), -EBADMSG);
}
END_TEST

START_TEST(hello_arrives)
{
	struct vmm_broker_hello hello;

	ck_assert_int_eq(vmm_broker_receive_hello(pair[1], &hello), -EAGAIN);
	ck_assert_int_eq(vmm_broker_send_hello(pair[0], "web-1"), 0);
	ck_assert_int_eq(vmm_broker_receive_hello(pair[1], &hello), 0);
	ck_assert_str_eq(hello.name, "web-1");
	ck_assert_int_eq(vmm_broker_send_hello(pair[0], "../x"), -EINVAL);
	pair[0] = vmm_base_close(pair[0]);
	ck_assert_int_eq(vmm_broker_receive_hello(pair[1], &hello), -ECONNRESET);
}
END_TEST

START_TEST(hello_hostile)
{
	struct vmm_broker_hello hello, got;
	unsigned int n_before;
	int fd;

	ck_assert_int_eq(vmm_broker_send_hello(pair[0], "web"), 0);
	ck_assert_int_eq(recv(pair[1], &hello, sizeof(hello), 0), sizeof(hello));
	for (size_t i = 0; i < sizeof(hello); i++) {
		struct vmm_broker_hello changed = hello;

		((uint8_t *)&changed)[i] ^= 0x80;
		ck_assert_int_lt(vmm_broker_decode_hello(&changed, sizeof(changed), &got), 0);
	}
	for (size_t size = 0; size < sizeof(hello); size++)
		ck_assert_int_eq(vmm_broker_decode_hello(&hello, size, &got), -EBADMSG);

	/* Descriptors that nobody asked for are closed. */
	fd = open_null();
	n_before = count_fds();
	ck_assert_int_eq(
		vmm_message_send(pair[0], 0, &hello, sizeof(hello), NULL, 0, (int[]){ fd, fd }, 2),
		0);
	ck_assert_int_eq(vmm_broker_receive_hello(pair[1], &got), -EBADMSG);
	ck_assert_uint_eq(count_fds(), n_before);
	vmm_base_close(fd);

	/* Longer than a HELLO. */
	ck_assert_int_eq(
		vmm_message_send(pair[0], 0, &hello, sizeof(hello), &hello, 1, NULL, 0), 0);
	ck_assert_int_eq(vmm_broker_receive_hello(pair[1], &got), -EBADMSG);
}
END_TEST

static int receive(struct vmm_handover *handover)
{
	return vmm_broker_receive_handover(pair[1], "web", SECOND / 5, handover);
}

START_TEST(handover_arrives)
{
	struct vmm_handover handover;
	unsigned int n_before = count_fds();
	int fd = open_null();
	int fds[3] = { -EBADF, fd, fd };

	ck_assert_int_eq(vmm_broker_send_handover(pair[0], &spec, fds, 3, SECOND), 0);
	ck_assert_int_eq(receive(&handover), 0);
	ck_assert(!handover.refused);
	ck_assert_uint_eq(handover.n_fds, 3);
	ck_assert_int_eq(memcmp(handover.spec, &spec, sizeof(spec)), 0);
	ck_assert_int_ge(fcntl(handover.fds[1], F_GETFD), 0);
	ck_assert(fcntl(handover.fds[2], F_GETFD) & FD_CLOEXEC);
	vmm_handover_finish(&handover);
	vmm_base_close(fd);
	ck_assert_uint_eq(count_fds(), n_before);
}
END_TEST

static void *send_in_thread(void *userdata)
{
	int *fds = userdata;

	return (void *)(intptr_t)vmm_broker_send_handover(pair[0], &spec, fds, spec.n_fds, SECOND);
}

START_TEST(handover_of_more_than_one_message)
{
	struct vmm_handover handover;
	struct stat status;
	unsigned int n_before = count_fds();
	int fds[VMM_HANDOVER_MAX_FDS];
	pthread_t thread;
	char name[16];
	void *result;

	for (int i = 0; i < 32; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		add_drive(name);
	}
	for (int i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		add_network(name);
		for (int j = 0; j < VMM_SPEC_MAX_TAPS; j++) {
			if (j > 0)
				spec.networks[i].tap_fds[j] = spec.n_fds++;
			spec.networks[i].vhost_fds[j] = spec.n_fds++;
		}
		spec.networks[i].n_taps = VMM_SPEC_MAX_TAPS;
	}
	ck_assert_uint_gt(spec.n_fds, VMM_MESSAGE_MAX_FDS);
	ck_assert_uint_le(spec.n_fds, VMM_HANDOVER_MAX_FDS);
	for (size_t i = 1; i < spec.n_fds; i++) {
		fds[i] = memfd_create("x", MFD_CLOEXEC);
		ck_assert_int_eq(ftruncate(fds[i], i), 0);
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, send_in_thread, fds), 0);
	ck_assert_int_eq(vmm_broker_receive_handover(pair[1], "web", SECOND, &handover), 0);
	pthread_join(thread, &result);
	ck_assert_ptr_null(result);
	ck_assert_uint_eq(handover.n_fds, spec.n_fds);
	for (size_t i = 1; i < spec.n_fds; i++) {
		ck_assert_int_eq(fstat(handover.fds[i], &status), 0);
		ck_assert_int_eq(status.st_size, i);
		vmm_base_close(fds[i]);
	}
	vmm_handover_finish(&handover);
	ck_assert_uint_eq(count_fds(), n_before);
}
END_TEST

START_TEST(refusal_arrives)
{
	struct vmm_handover handover;

	ck_assert_int_eq(vmm_broker_send_refused(pair[0], 78, "/etc/vmm/web.vm:3: \tno"), 0);
	ck_assert_int_eq(receive(&handover), 0);
	ck_assert(handover.refused);
	ck_assert_int_eq(handover.exit_status, 78);
	ck_assert_str_eq(handover.text, "/etc/vmm/web.vm:3: ?no");
	vmm_handover_finish(&handover);
}
END_TEST

START_TEST(silence_and_end)
{
	struct vmm_handover handover;

	ck_assert_int_eq(receive(&handover), -ETIMEDOUT);
	pair[0] = vmm_base_close(pair[0]);
	ck_assert_int_eq(receive(&handover), -ECONNRESET);
}
END_TEST

static void send_raw(uint32_t type, uint32_t n_said, uint32_t first, int *fds, size_t n_fds)
{
	struct vmm_broker_answer answer = {
		.magic = VMM_PROTOCOL_MAGIC,
		.version = VMM_PROTOCOL_VERSION,
		.type = type,
		.size = sizeof(answer),
		.n_fds = n_said,
		.first_fd = first,
	};

	ck_assert_int_eq(
		vmm_message_send(pair[0], 0, &answer, sizeof(answer), NULL, 0, fds, n_fds), 0);
}

START_TEST(handover_hostile)
{
	struct vmm_handover handover;
	int fd = open_null();
	int fds[3] = { fd, fd, fd };
	unsigned int n_before = count_fds();
	int memfd;

	/* More than announced, fewer, none, a gap, the wrong order, a spec that is no memfd. */
	send_raw(VMM_BROKER_HANDOVER, 2, 0, fds, 3);
	ck_assert_int_eq(receive(&handover), -EBADMSG);
	send_raw(VMM_BROKER_HANDOVER, 2, 0, fds, 1);
	ck_assert_int_eq(receive(&handover), -ETIMEDOUT);
	send_raw(VMM_BROKER_HANDOVER, 2, 0, NULL, 0);
	ck_assert_int_eq(receive(&handover), -EBADMSG);
	send_raw(VMM_BROKER_HANDOVER, 3, 0, fds, 1);
	send_raw(VMM_BROKER_MORE_FDS, 1, 2, fds, 1);
	ck_assert_int_eq(receive(&handover), -EBADMSG);
	send_raw(VMM_BROKER_MORE_FDS, 1, 1, fds, 1);
	ck_assert_int_eq(receive(&handover), -EBADMSG);
	send_raw(VMM_BROKER_HANDOVER, 3, 0, fds, 3);
	ck_assert_int_eq(receive(&handover), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(handover.text, "sealed"));

	/* The right bytes, but not sealed; sealed, but of the wrong size. */
	memfd = memfd_create("spec", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_eq(write(memfd, &spec, sizeof(spec)), sizeof(spec));
	fds[0] = memfd;
	send_raw(VMM_BROKER_HANDOVER, 3, 0, fds, 3);
	ck_assert_int_eq(receive(&handover), -EBADMSG);
	ck_assert_int_eq(ftruncate(memfd, 100), 0);
	ck_assert_int_eq(
		fcntl(memfd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
		0);
	send_raw(VMM_BROKER_HANDOVER, 3, 0, fds, 3);
	ck_assert_int_eq(receive(&handover), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(handover.text, "size"));
	vmm_base_close(memfd);

	/* Somebody else's. */
	fds[0] = -EBADF;
	ck_assert_int_eq(vmm_broker_send_handover(pair[0], &spec, fds, 3, SECOND), 0);
	ck_assert_int_eq(
		vmm_broker_receive_handover(pair[1], "other", SECOND, &handover), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(handover.text, "another"));
	ck_assert_uint_eq(count_fds(), n_before);
	vmm_base_close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("worker-protocol");
	TCase *tcase = unit_case(suite, "spec");

	tcase_add_checked_fixture(tcase, setup, close_pair);
	tcase_add_test(tcase, names);
	tcase_add_test(tcase, spec_good);
	tcase_add_loop_test(tcase, spec_broken, 0, ARRAY_SIZE(broken));
	tcase_add_test(tcase, spec_other_version);
	tcase = unit_case(suite, "broker");
	tcase_add_checked_fixture(tcase, setup, close_pair);
	tcase_add_test(tcase, hello_arrives);
	tcase_add_test(tcase, hello_hostile);
	tcase_add_test(tcase, handover_arrives);
	tcase_add_test(tcase, handover_of_more_than_one_message);
	tcase_add_test(tcase, refusal_arrives);
	tcase_add_test(tcase, silence_and_end);
	tcase_add_test(tcase, handover_hostile);
	add_control_tests(suite);
	return unit_run(suite);
}

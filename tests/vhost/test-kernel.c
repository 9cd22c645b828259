/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vhost with the kernel's own back ends: frames through vhost-net and a tap, packets through
 * vhost-vsock. For a machine that has those (the test bed); exits with 77 elsewhere.
 */
#include <vmmcore/virtio-vhost.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/vm_sockets.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/util.h"
#include "lib/driver.h"
#include "unit.h"

#define NET_HEADER_BYTES 12
#define FRAME_BYTES 1000
#define N_FRAMES 200
#define ETHERTYPE_TEST 0x88b5
#define TEST_PORT 0xabcd
#define CID 4242
#define VSOCK_PORT 1234
#define VSOCK_HEADER_BYTES 44
#define VSOCK_OP_REQUEST 1
#define VSOCK_OP_RST 3

enum { RX, TX };

static struct driver driver;
static struct vmm_virtio_vhost *vhost;
static int tap_fds[2] = { -EBADF, -EBADF }, packet_fd = -EBADF;

static void set_up(void)
{
	driver_init_shared(&driver);
}

static void tear_down(void)
{
	driver_detach(&driver);
	vhost = vmm_virtio_vhost_free(vhost);
	driver_finish(&driver);
	for (unsigned int i = 0; i < ARRAY_SIZE(tap_fds); i++)
		tap_fds[i] = vmm_base_close(tap_fds[i]);
	packet_fd = vmm_base_close(packet_fd);
}

static void make(const char *path, struct vmm_virtio_vhost_config *config)
{
	config->mem = driver.mem;
	for (unsigned int i = 0; i < MAX(config->n_pairs, 1u); i++) {
		config->vhost_fds[i] = open(path, O_RDWR | O_CLOEXEC);
		ck_assert_int_ge(config->vhost_fds[i], 0);
	}
	ck_assert_int_eq(vmm_virtio_vhost_new(config, &vhost), 0);
	for (unsigned int i = 0; i < MAX(config->n_pairs, 1u); i++)
		close(config->vhost_fds[i]);
	driver_attach(&driver, vmm_virtio_vhost_device(vhost));
}

/* A tap that is up, with so many queues, and a socket on the host's side of it. */
static void make_tap(unsigned int n_queues)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETHERTYPE_TEST),
	};

	if (n_queues > 1)
		request.ifr_flags |= IFF_MULTI_QUEUE;
	for (unsigned int i = 0; i < n_queues; i++) {
		tap_fds[i] = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
		ck_assert_int_ge(tap_fds[i], 0);
		ck_assert_int_eq(ioctl(tap_fds[i], TUNSETIFF, &request), 0);
	}
	packet_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETHERTYPE_TEST));
	ck_assert_int_ge(packet_fd, 0);
	address.sll_ifindex = (int)if_nametoindex(request.ifr_name);
	request.ifr_flags = IFF_UP;
	ck_assert_int_eq(ioctl(packet_fd, SIOCSIFFLAGS, &request), 0);
	ck_assert_int_eq(bind(packet_fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static void make_frame(uint8_t *frame, uint32_t number)
{
	memset(frame, 0xff, 6);
	memset(frame + 6, 2, 6);
	frame[12] = ETHERTYPE_TEST >> 8;
	frame[13] = ETHERTYPE_TEST & 0xff;
	for (unsigned int i = 14; i < FRAME_BYTES; i++)
		frame[i] = (uint8_t)(number * 31 + i);
}

START_TEST(test_net)
{
	struct vmm_virtio_vhost_config config = { .device_type = VMM_VHOST_NET };
	struct vmm_virtio_vhost_status status;
	uint8_t frame[FRAME_BYTES], got[2048];
	uint8_t *packet = driver_pointer(&driver, DRIVER_DATA_GPA, 4096);
	struct vring_buffer buffer = { .gpa = DRIVER_DATA_GPA };
	uint32_t len;

	make_tap(1);
	config.tap_fds[0] = tap_fds[0];
	make("/dev/vhost-net", &config);
	for (unsigned int round = 0; round < 2; round++) {
		/* The second time after a reset. */
		ck_assert(driver_start(&driver,
			VMM_VIRTIO_F_INDIRECT_DESC |
				(_i ? VMM_VIRTIO_F_EVENT_IDX | (UINT64_C(1) << 15) : 0),
			2, 256));
		for (uint32_t i = 0; i < N_FRAMES; i++) {
			make_frame(frame, i);
			memset(packet, 0, NET_HEADER_BYTES);
			memcpy(packet + NET_HEADER_BYTES, frame, FRAME_BYTES);
			buffer.len = NET_HEADER_BYTES + FRAME_BYTES;
			buffer.write = false;
			driver_add(&driver, TX, &buffer, 1, 0);
			ck_assert(driver_wait_used(&driver, TX, NULL, NULL));
			ck_assert_int_eq(recv(packet_fd, got, sizeof(got), 0), FRAME_BYTES);
			ck_assert_mem_eq(got, frame, FRAME_BYTES);

			make_frame(frame, i + 100);
			buffer.len = 2048;
			buffer.write = true;
			driver_add(&driver, RX, &buffer, 1, 0);
			ck_assert_int_eq(send(packet_fd, frame, FRAME_BYTES, 0), FRAME_BYTES);
			ck_assert(driver_wait_used(&driver, RX, NULL, &len));
			/* The host looks for neighbours on its side, at any time. */
			while (memcmp(packet + NET_HEADER_BYTES + 12, frame + 12, 2) != 0) {
				driver_add(&driver, RX, &buffer, 1, 0);
				ck_assert(driver_wait_used(&driver, RX, NULL, &len));
			}
			ck_assert_uint_eq(len, NET_HEADER_BYTES + FRAME_BYTES);
			ck_assert_mem_eq(packet + NET_HEADER_BYTES, frame, FRAME_BYTES);
		}
	}
	vmm_virtio_vhost_get_status(vhost, &status);
	ck_assert_int_eq(status.last_error, 0);
}
END_TEST

enum { TX1 = 3, CONTROL };

static void set_pairs(uint8_t n_pairs)
{
	uint8_t *data = driver_pointer(&driver, DRIVER_DATA_GPA, 8);
	const struct vring_buffer buffers[] = {
		{ .gpa = DRIVER_DATA_GPA, .len = 4 },
		{ .gpa = DRIVER_DATA_GPA + 4, .len = 1, .write = true },
	};

	memcpy(data, (uint8_t[]){ 4, 0, n_pairs, 0, 0xff }, 5);
	driver_add(&driver, CONTROL, buffers, ARRAY_SIZE(buffers), 0);
	ck_assert(driver_wait_used(&driver, CONTROL, NULL, NULL));
	ck_assert_uint_eq(data[4], 0);
}

/* UDP from a port for each, as the tap spreads flows. */
static void make_packet(uint8_t *frame, uint32_t number)
{
	static const uint8_t ip[] = { 8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1,
		192, 0, 2, 2 };
	uint16_t ports[] = { (uint16_t)(1024 + number), TEST_PORT };

	make_frame(frame, number);
	memcpy(frame + 12, ip, sizeof(ip));
	frame[16] = (FRAME_BYTES - 14) >> 8;
	frame[17] = (FRAME_BYTES - 14) & 0xff;
	memcpy(frame + 34, ports, sizeof(ports));
}

/* Where the buffers of both receive queues are, each in the order of its chains. */
static uint64_t buffer_gpa(unsigned int pair, uint32_t id)
{
	return DRIVER_DATA_GPA + (pair * 256 + id) * 2048;
}

/* How many of those have come; the host has frames of its own. */
static unsigned int count_packets(unsigned int pair)
{
	uint32_t id, len;
	unsigned int n = 0;
	uint16_t port;

	while (vring_get_used(&driver.rings[2 * pair], &id, &len)) {
		uint64_t gpa = buffer_gpa(pair, id) + NET_HEADER_BYTES;

		memcpy(&port, driver_pointer(&driver, gpa + 36, sizeof(port)), sizeof(port));
		if (port != TEST_PORT)
			continue;
		ck_assert_uint_eq(len, NET_HEADER_BYTES + FRAME_BYTES);
		n++;
	}
	return n;
}

static void receive_packets(unsigned int n_got[2])
{
	uint8_t frame[FRAME_BYTES];

	n_got[0] = n_got[1] = 0;
	for (uint32_t i = 0; i < N_FRAMES; i++) {
		make_packet(frame, i);
		ck_assert_int_eq(send(packet_fd, frame, FRAME_BYTES, 0), FRAME_BYTES);
	}
	for (int i = 0; i < 10000 && n_got[0] + n_got[1] < N_FRAMES; i++) {
		n_got[0] += count_packets(0);
		n_got[1] += count_packets(1);
		usleep(1000);
	}
	ck_assert_uint_eq(n_got[0] + n_got[1], N_FRAMES);
}

static void offer_buffers(void)
{
	for (uint32_t i = 0; i < 512; i++) {
		struct vring_buffer buffer = {
			.gpa = buffer_gpa(i / 256, i % 256),
			.len = 2048,
			.write = true,
		};

		ck_assert_uint_eq(driver_add(&driver, i / 256 * 2, &buffer, 1, 0), i % 256);
	}
}

/* Each pair sends, and none but those in use receives. */
START_TEST(test_net_pairs)
{
	struct vmm_virtio_vhost_config config = { .device_type = VMM_VHOST_NET, .n_pairs = 2 };
	const uint64_t features = (UINT64_C(1) << 17) | (UINT64_C(1) << 22);
	uint8_t frame[FRAME_BYTES], got[2048];
	uint8_t *packet = driver_pointer(&driver, DRIVER_DATA_GPA, 4096);
	struct vring_buffer buffer = {
		.gpa = DRIVER_DATA_GPA,
		.len = NET_HEADER_BYTES + FRAME_BYTES,
	};
	unsigned int n_got[2];

	make_tap(2);
	config.tap_fds[0] = tap_fds[0];
	config.tap_fds[1] = tap_fds[1];
	make("/dev/vhost-net", &config);
	for (unsigned int n_pairs = 1; n_pairs <= 2; n_pairs++) {
		ck_assert(driver_start(&driver, features, CONTROL + 1, 256));
		ck_assert_uint_eq(driver.features & features, features);
		set_pairs((uint8_t)n_pairs);
		for (uint32_t i = 0; i < N_FRAMES; i++) {
			unsigned int queue = i % n_pairs ? TX1 : TX;

			make_frame(frame, i);
			memset(packet, 0, NET_HEADER_BYTES);
			memcpy(packet + NET_HEADER_BYTES, frame, FRAME_BYTES);
			driver_add(&driver, queue, &buffer, 1, 0);
			ck_assert(driver_wait_used(&driver, queue, NULL, NULL));
			ck_assert_int_eq(recv(packet_fd, got, sizeof(got), 0), FRAME_BYTES);
			ck_assert_mem_eq(got, frame, FRAME_BYTES);
		}
		offer_buffers();
		receive_packets(n_got);
		ck_assert_uint_eq(n_got[1] > 0, n_pairs > 1);
	}
}
END_TEST

START_TEST(test_vsock)
{
	struct vmm_virtio_vhost_config config = { .device_type = VMM_VHOST_VSOCK, .cid = CID };
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK,
		.svm_cid = CID,
		.svm_port = VSOCK_PORT,
	};
	uint8_t *packet = driver_pointer(&driver, DRIVER_DATA_GPA, 8192);
	struct vring_buffer buffer = { .gpa = DRIVER_DATA_GPA, .len = 4096, .write = true };
	struct vring_buffer answer = { .gpa = DRIVER_DATA_GPA + 4096, .len = VSOCK_HEADER_BYTES };
	uint64_t cids[2], cid;
	uint32_t ports[2], len;
	int fd;

	make("/dev/vhost-vsock", &config);
	driver_config_read(&driver, 0, &cid, sizeof(cid));
	ck_assert_uint_eq(cid, CID);
	ck_assert(driver_start(&driver, 0, 3, 128));
	driver_add(&driver, RX, &buffer, 1, 0);
	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), -1);
	ck_assert_int_eq(errno, EINPROGRESS);
	/* The host's wish to connect arrives, is refused, and the host hears of that. */
	ck_assert(driver_wait_used(&driver, RX, NULL, &len));
	ck_assert_uint_eq(len, VSOCK_HEADER_BYTES);
	memcpy(cids, packet, sizeof(cids));
	memcpy(ports, packet + 16, sizeof(ports));
	ck_assert_uint_eq(cids[0], VMADDR_CID_HOST);
	ck_assert_uint_eq(cids[1], CID);
	ck_assert_uint_eq(ports[1], VSOCK_PORT);
	ck_assert_uint_eq(packet[30], VSOCK_OP_REQUEST);

	memcpy(packet + 4096, packet, VSOCK_HEADER_BYTES);
	memcpy(packet + 4096, &cids[1], 8);
	memcpy(packet + 4104, &cids[0], 8);
	memcpy(packet + 4112, &ports[1], 4);
	memcpy(packet + 4116, &ports[0], 4);
	packet[4096 + 30] = VSOCK_OP_RST;
	driver_add(&driver, TX, &answer, 1, 0);
	ck_assert(driver_wait_used(&driver, TX, NULL, NULL));
	for (unsigned int i = 0; i < 1000; i++) {
		socklen_t size = sizeof(int);
		int error = 0;

		ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
		if (error) {
			ck_assert_int_eq(error, ECONNRESET);
			close(fd);
			return;
		}
		usleep(1000);
	}
	ck_abort_msg("the host heard nothing of the refusal");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vhost in the kernel");
	TCase *tcase = unit_case(suite, "kernel");
	bool has_net = access("/dev/vhost-net", R_OK | W_OK) == 0;
	bool has_vsock = access("/dev/vhost-vsock", R_OK | W_OK) == 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!has_net && !has_vsock) {
		printf("no /dev/vhost-net and no /dev/vhost-vsock\n");
		return 77;
	}
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	if (has_net)
		tcase_add_loop_test(tcase, test_net, 0, 2);
	if (has_net)
		tcase_add_test(tcase, test_net_pairs);
	if (has_vsock)
		tcase_add_test(tcase, test_vsock);
	return unit_run(suite);
}

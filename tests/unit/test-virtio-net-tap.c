/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-net with a tap of the kernel, where one may be made. */
#include <linux/if_packet.h>
#include <stdio.h>

#include "virtio-net-fixture.h"

/* A tap in a network namespace of its own. -1 where that is not allowed. */
static int open_tap(struct ifreq *request)
{
	int fd;

	*request = (struct ifreq){ .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, request) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* With an address. */
static int make_tap(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct ifreq request;
	int fd = open_tap(&request), control;

	ck_assert_int_ge(fd, 0);
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	inet_pton(AF_INET, "192.0.2.1", &address.sin_addr);
	memcpy(&request.ifr_addr, &address, sizeof(address));
	ck_assert_int_eq(ioctl(control, SIOCSIFADDR, &request), 0);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	ck_assert_int_eq(ioctl(control, SIOCSIFFLAGS, &request), 0);
	close(control);
	return fd;
}

START_TEST(tap_answers_arp)
{
	CLEANUP(close_p) int fd = make_tap();
	struct vmm_virtio_net_config config;
	struct vmm_net_tap *tap;
	struct ether_arp *arp;
	uint8_t *frame;
	int not_tap = open("/dev/null", O_RDWR);

	ck_assert_int_eq(vmm_net_tap_new(&not_tap, 1, &tap), -EBADFD);
	close(not_tap);
	ck_assert_int_eq(vmm_net_tap_new(&fd, 1, &tap), 0);
	config = base_config(vmm_net_tap_backend(tap));
	begin(&config, F_USUAL | F_CSUM);
	ck_assert_uint_eq(driver.features & F_CSUM, F_CSUM);
	give_buffers(32, 2048);

	frame = driver_pointer(&driver, TX_GPA, HEADER + 60);
	memset(frame, 0, HEADER + 60);
	memset(frame + HEADER, 0xff, 6);
	memcpy(frame + HEADER + 6, mac, 6);
	frame[HEADER + 12] = 0x08;
	frame[HEADER + 13] = 0x06;
	arp = (struct ether_arp *)(frame + HEADER + 14);
	arp->arp_hrd = htons(ARPHRD_ETHER);
	arp->arp_pro = htons(ETHERTYPE_IP);
	arp->arp_hln = 6;
	arp->arp_pln = 4;
	arp->arp_op = htons(ARPOP_REQUEST);
	memcpy(arp->arp_sha, mac, 6);
	inet_pton(AF_INET, "192.0.2.2", arp->arp_spa);
	inet_pton(AF_INET, "192.0.2.1", arp->arp_tpa);
	{
		struct vring_buffer whole = { TX_GPA, HEADER + 60, false };

		driver_add(&driver, TRANSMIT, &whole, 1, 0);
	}
	ck_assert(driver_wait_used(&driver, TRANSMIT, NULL, NULL));
	/* The kernel says a few things of its own (IPv6), and then answers. */
	for (unsigned int i = 0;; i++) {
		const uint8_t *got = driver_pointer(&driver, RX_GPA + i * UINT64_C(65536), 2048);

		ck_assert_uint_lt(i, 32);
		ck_assert(driver_wait_used(&driver, RECEIVE, NULL, NULL));
		if (got[HEADER + 12] != 0x08 || got[HEADER + 13] != 0x06)
			continue;
		arp = (struct ether_arp *)(got + HEADER + 14);
		ck_assert_uint_eq(ntohs(arp->arp_op), ARPOP_REPLY);
		ck_assert_mem_eq(got + HEADER, mac, 6);
		break;
	}
	vmm_loop_quit(loop, 0);
	ck_assert_int_eq(pthread_join(loop_thread, NULL), 0);
	loop_runs = false;
	driver_detach(&driver);
	net = vmm_virtio_net_free(net);
	vmm_net_tap_free(tap);
}
END_TEST

/* The next of the test's own frames that leaves the tap; the kernel has some of its own. */
static void await_frame(int fd, uint8_t seed)
{
	uint8_t frame[256];

	do
		ck_assert_int_gt(recv(fd, frame, sizeof(frame), 0), 14);
	while (frame[12] != 0x88 || frame[13] != 0xb5);
	ck_assert_uint_eq(frame[14], seed);
}

static int listen_to(const struct ifreq *request)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	address.sll_ifindex = (int)if_nametoindex(request->ifr_name);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* A burst of frames comes out of the tap in its order, and nothing holds the tap afterwards. */
START_TEST(ring_carries_frames)
{
	struct ifreq request = { 0 };
	struct vmm_virtio_net_config config;
	struct vmm_net_tap *tap;
	int fd = make_tap(), listener, r;

	ck_assert_int_eq(ioctl(fd, TUNGETIFF, &request), 0);
	listener = listen_to(&request);
	ck_assert_int_eq(vmm_net_tap_new(&fd, 1, &tap), 0);
	r = vmm_net_tap_use_rings(tap);
	ck_assert_msg(r == 0 || r == -EPERM || r == -ENOSYS, "rings: %s", strerror(-r));
	config = base_config(vmm_net_tap_backend(tap));
	begin(&config, F_USUAL);
	for (unsigned int i = 0; i < 150; i++) {
		uint64_t gpa = TX_GPA + i % 30 * UINT64_C(4096);
		uint8_t *frame = driver_pointer(&driver, gpa, HEADER + 60);
		struct vring_buffer whole = { gpa, HEADER + 60, false };

		memset(frame, 0, HEADER + 60);
		memset(frame + HEADER, 0xff, 6);
		memcpy(frame + HEADER + 6, mac, 6);
		frame[HEADER + 12] = 0x88;
		frame[HEADER + 13] = 0xb5;
		frame[HEADER + 14] = (uint8_t)i;
		vring_add(&driver.rings[TRANSMIT], &whole, 1);
		if (i % 30 != 29)
			continue;
		driver_kick(&driver, TRANSMIT);
		for (unsigned int j = 0; j < 30; j++)
			ck_assert(driver_wait_used(&driver, TRANSMIT, NULL, NULL));
		for (unsigned int j = i - 29; j <= i; j++)
			await_frame(listener, (uint8_t)j);
	}
	ck_assert_uint_eq(status().n_transmitted, 150);
	ck_assert_uint_eq(status().n_transmit_dropped, 0);
	vmm_loop_quit(loop, 0);
	ck_assert_int_eq(pthread_join(loop_thread, NULL), 0);
	loop_runs = false;
	driver_detach(&driver);
	net = vmm_virtio_net_free(net);
	vmm_net_tap_free(tap);
	close(fd);
	/* Its name is free at once. */
	ck_assert_uint_eq(if_nametoindex(request.ifr_name), 0);
	close(listener);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio-net-tap");
	TCase *tcase = unit_case(suite, "tap");
	struct ifreq request;
	int fd = open_tap(&request);

	if (fd < 0) {
		printf("no tap can be made: %s\n", strerror(errno));
		return 77;
	}
	close(fd);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, tap_answers_arp);
	tcase_add_test(tcase, ring_carries_frames);
	return unit_run(suite);
}

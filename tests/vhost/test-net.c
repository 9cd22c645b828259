/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtio-vhost with a network that DPDK serves: dpdk-testpmd on a vhost-user port sends each frame
 * back with its two addresses swapped. It is killed and started again: frames may get lost then,
 * and go on afterwards. Exits with 77 where there is no dpdk-testpmd.
 */
#include <vmmcore/virtio-vhost.h>

#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "lib/driver.h"
#include "peer.h"
#include "unit.h"

#define TESTPMD "dpdk-testpmd"
#define SECOND_NSEC UINT64_C(1000000000)
#define HEADER_BYTES 12
#define FRAME_BYTES 1000
#define BUFFER_BYTES 2048
#define ETHERTYPE_TEST 0x88b5
#define N_FRAMES 500
#define N_KILLS 5

enum { RX, TX };

static struct driver driver;
static struct peer peer;
static struct vmm_virtio_vhost *vhost;
static uint32_t n_sent;

static const uint8_t addresses[2][6] = { { 2, 0, 0, 0, 0, 1 }, { 2, 0, 0, 0, 0, 2 } };

static void start_peer(void)
{
	char port[160];
	/* Without statistics to show it ends with its standard input. */
	const char *argv[] = { TESTPMD, "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry",
		"-m", "128", "-l", "0,1", "--vdev", port, "--", "--forward-mode=macswap",
		"--auto-start", "--total-num-mbufs=2048", "--stats-period=1000", NULL };

	snprintf(port, sizeof(port), "net_vhost0,iface=%s", peer.socket);
	peer_start(&peer, argv);
}

static void set_up(void)
{
	struct vmm_virtio_vhost_config config = {
		.device_type = VMM_VHOST_NET,
		.connect = peer_connect,
		.userdata = &peer,
		.reconnect_nsec = 60 * SECOND_NSEC,
	};
	int fd;

	peer_init(&peer);
	start_peer();
	fd = peer_wait_connect(&peer);
	ck_assert_int_ge(fd, 0);
	close(fd);
	driver_init_shared(&driver);
	config.mem = driver.mem;
	ck_assert_int_eq(vmm_virtio_vhost_new(&config, &vhost), 0);
	driver_attach(&driver, vmm_virtio_vhost_device(vhost));
	n_sent = 0;
}

static void tear_down(void)
{
	driver_detach(&driver);
	vhost = vmm_virtio_vhost_free(vhost);
	driver_finish(&driver);
	peer_finish(&peer);
}

static void make_frame(uint8_t *frame, uint32_t number, bool is_swapped)
{
	memcpy(frame, addresses[is_swapped], 6);
	memcpy(frame + 6, addresses[!is_swapped], 6);
	frame[12] = ETHERTYPE_TEST >> 8;
	frame[13] = ETHERTYPE_TEST & 0xff;
	memcpy(frame + 14, &number, sizeof(number));
	for (unsigned int i = 18; i < FRAME_BYTES; i++)
		frame[i] = (uint8_t)(number * 31 + i);
}

static void offer_buffer(void)
{
	struct vring_buffer buffer = { DRIVER_DATA_GPA, BUFFER_BYTES, true };

	driver_add(&driver, RX, &buffer, 1, 0);
}

static void send_frame(void)
{
	struct vring_buffer buffer = { DRIVER_DATA_GPA + BUFFER_BYTES, HEADER_BYTES + FRAME_BYTES,
		false };
	uint8_t *packet = driver_pointer(&driver, buffer.gpa, BUFFER_BYTES);

	memset(packet, 0, HEADER_BYTES);
	make_frame(packet + HEADER_BYTES, ++n_sent, false);
	driver_add(&driver, TX, &buffer, 1, 0);
	ck_assert(driver_wait_used(&driver, TX, NULL, NULL));
}

/* The frame that was sent last is in the buffer; an older one, of before a kill, is let pass. */
static bool check_frame(uint32_t len)
{
	const uint8_t *packet = driver_pointer(&driver, DRIVER_DATA_GPA, BUFFER_BYTES);
	uint8_t frame[FRAME_BYTES];
	uint32_t number;

	ck_assert_uint_eq(len, HEADER_BYTES + FRAME_BYTES);
	memcpy(&number, packet + HEADER_BYTES + 14, sizeof(number));
	ck_assert_uint_le(number, n_sent);
	make_frame(frame, number, true);
	ck_assert_mem_eq(packet + HEADER_BYTES, frame, FRAME_BYTES);
	return number == n_sent;
}

static void exchange(unsigned int n)
{
	uint32_t len;

	for (unsigned int i = 0; i < n; i++) {
		send_frame();
		ck_assert(driver_wait_used(&driver, RX, NULL, &len));
		ck_assert(check_frame(len));
		offer_buffer();
	}
}

/* Frames that come before the port forwards get lost: sent until one is back. */
static void reach(void)
{
	uint64_t end_nsec = vmm_base_now_nsec() + 30 * SECOND_NSEC;
	bool is_back = false;
	uint32_t id, len;

	while (!is_back) {
		ck_assert_msg(vmm_base_now_nsec() < end_nsec, "no frame has come back");
		send_frame();
		for (unsigned int i = 0; i < 20 && !is_back; i++) {
			usleep(5000);
			if (!vring_get_used(&driver.rings[RX], &id, &len))
				continue;
			is_back = check_frame(len);
			offer_buffer();
		}
	}
}

START_TEST(test_frames)
{
	static const uint64_t features[] = { 0, VMM_VIRTIO_F_INDIRECT_DESC,
		VMM_VIRTIO_F_EVENT_IDX };

	for (unsigned int i = 0; i < ARRAY_SIZE(features); i++) {
		ck_assert(driver_start(&driver, features[i] | UINT64_C(1) << 15, 2, 256));
		offer_buffer();
		reach();
		exchange(N_FRAMES);
	}
}
END_TEST

START_TEST(test_killed)
{
	struct vmm_virtio_vhost_status status;

	ck_assert(driver_start(&driver, UINT64_C(1) << 15, 2, 256));
	offer_buffer();
	for (unsigned int i = 0; i < N_KILLS; i++) {
		reach();
		exchange(50);
		peer_kill(&peer);
		start_peer();
	}
	reach();
	exchange(50);
	vmm_virtio_vhost_get_status(vhost, &status);
	ck_assert_uint_eq(status.n_connected, N_KILLS + 1);
	ck_assert(!status.failed);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vhost-user networks");
	TCase *tcase = unit_case(suite, TESTPMD);

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!peer_exists(TESTPMD))
		return 77;
	tcase_set_timeout(tcase, 240);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, test_frames);
	tcase_add_test(tcase, test_killed);
	return unit_run(suite);
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * tap-limit TAP send|receive BYTES N: what a tap allows: a loop that does nothing but send N frames
 * of BYTES to it, 32 with one system call where the host has io_uring, or receive them, a call
 * each. Frames, offloads and lines on standard output are those of the bench guest,
 * tests/perf/guest.
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <vmmcore/uring.h>

#include "base/util.h"

#define N_FRAMES 256
#define BATCH 32
#define MAX_BYTES 65536
#define MAX_WIRE_BYTES 1514
#define SEGMENT_BYTES 1448
#define HUGE_BYTES (2 << 20)

struct frame {
	struct virtio_net_hdr_v1 header;
	uint8_t data[];
};

static struct frame *frames[N_FRAMES];
static struct iovec iovs[N_FRAMES][2];

static void fail(const char *what)
{
	fprintf(stderr, "tap-limit: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static int open_tap(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int header_bytes = sizeof(struct virtio_net_hdr_v1);

	if (fd < 0)
		fail("/dev/net/tun");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		fail(name);
	if (ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) < 0 ||
		ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0)
		fail("offloads");
	return fd;
}

/* Close together, in huge pages where there are some: the best that memory can be. */
static void make_room(size_t size)
{
	size_t stride = (sizeof(*frames[0]) + size + 63) & ~(size_t)63;
	size_t all = (stride * N_FRAMES + HUGE_BYTES - 1) & ~(size_t)(HUGE_BYTES - 1);
	char *room = aligned_alloc(HUGE_BYTES, all);

	if (!room)
		fail("memory");
	madvise(room, all, MADV_HUGEPAGE);
	memset(room, 0, all);
	for (unsigned int i = 0; i < N_FRAMES; i++)
		frames[i] = (struct frame *)(room + i * stride);
}

static uint16_t checksum(const void *data)
{
	const uint8_t *bytes = data;
	uint32_t sum = 0;

	for (unsigned int i = 0; i < sizeof(struct iphdr); i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t) ~((sum & 0xffff) + (sum >> 16)));
}

static void make_frame(struct frame *frame, size_t size)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons((uint16_t)(size - ETH_HLEN)),
		.ttl = 64,
		.protocol = IPPROTO_TCP,
		.saddr = htonl(0x0a000001),
		.daddr = htonl(0x0a000002),
	};
	struct tcphdr tcp = { .doff = 5, .ack = 1 };

	if (size > MAX_WIRE_BYTES)
		frame->header = (struct virtio_net_hdr_v1){
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
			.hdr_len = ETH_HLEN + sizeof(ip) + sizeof(tcp),
			.gso_size = SEGMENT_BYTES,
			.csum_start = ETH_HLEN + sizeof(ip),
			.csum_offset = offsetof(struct tcphdr, check),
		};
	ip.check = checksum(&ip);
	frame->data[0] = frame->data[6] = 2;
	frame->data[12] = ETHERTYPE_IP >> 8;
	memcpy(frame->data + ETH_HLEN, &ip, sizeof(ip));
	memcpy(frame->data + ETH_HLEN + sizeof(ip), &tcp, sizeof(tcp));
}

static void await(int fd, short events)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };

	if (poll(&poll_fd, 1, -1) < 0)
		fail("poll");
}

static void send_one_by_one(int fd, unsigned long n)
{
	for (unsigned long i = 0; i < n;) {
		if (writev(fd, iovs[i % N_FRAMES], 2) > 0)
			i++;
		else if (errno == EAGAIN)
			await(fd, POLLOUT);
		else
			fail("writev");
	}
}

static void send_batch(int fd, struct vmm_uring *ring, unsigned long first, unsigned int n)
{
	uint64_t user_data;
	int32_t result;

	for (unsigned int i = 0; i < n; i++) {
		struct io_uring_sqe *sqe = vmm_uring_get(ring);

		sqe->opcode = IORING_OP_WRITEV;
		sqe->fd = fd;
		sqe->addr = (uintptr_t)iovs[(first + i) % N_FRAMES];
		sqe->len = 2;
		vmm_uring_put(ring);
	}
	errno = -vmm_uring_submit(ring);
	if (errno)
		fail("io_uring_enter");
	while (n > 0) {
		vmm_uring_wait(ring);
		for (; vmm_uring_pop(ring, &user_data, &result); n--)
			if (result < 0) {
				errno = -result;
				fail("a frame");
			}
	}
}

static void send_all(int fd, size_t size, unsigned long n)
{
	static const uint8_t operations[] = { IORING_OP_WRITEV };
	const struct vmm_uring_config config = {
		.fd = -EBADF,
		.operations = operations,
		.n_operations = 1,
		.sq_entries = BATCH,
		.cq_entries = BATCH,
	};
	struct vmm_uring *ring = NULL;

	for (unsigned int i = 0; i < N_FRAMES; i++)
		make_frame(frames[i], size);
	if (vmm_uring_new(&config, &ring) < 0)
		send_one_by_one(fd, n);
	for (unsigned long i = 0; ring && i < n; i += BATCH)
		send_batch(fd, ring, i, (unsigned int)MIN(n - i, (unsigned long)BATCH));
	vmm_uring_free(ring);
}

static void receive_all(int fd, unsigned long n)
{
	for (unsigned long i = 0; i < n;) {
		if (readv(fd, iovs[i % N_FRAMES], 2) > 0) {
			if (i++ == 0)
				puts("FIRST");
		} else if (errno == EAGAIN) {
			await(fd, POLLIN);
		} else {
			fail("readv");
		}
	}
}

int main(int argc, char **argv)
{
	size_t size = argc == 5 ? strtoul(argv[3], NULL, 10) : 0;
	unsigned long n = argc == 5 ? strtoul(argv[4], NULL, 10) : 0;
	bool receives;
	int fd;

	if (size < 60 || size > MAX_BYTES || n == 0) {
		fprintf(stderr, "usage: tap-limit TAP send|receive BYTES N\n");
		return EXIT_FAILURE;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	receives = strcmp(argv[2], "receive") == 0;
	fd = open_tap(argv[1]);
	make_room(size);
	for (unsigned int i = 0; i < N_FRAMES; i++) {
		iovs[i][0] = (struct iovec){ &frames[i]->header, sizeof(frames[i]->header) };
		iovs[i][1] = (struct iovec){ frames[i]->data, size };
	}
	puts("BEGIN");
	if (receives)
		receive_all(fd, n);
	else
		send_all(fd, size, n);
	puts("END");
	/* Whoever measures looks at the process, and then ends it. */
	for (;;)
		pause();
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * net-flood INTERFACE BYTES: sends frames out of an interface as fast as it takes them, until it
 * is ended: IPv4 with TCP, BYTES long; those that no wire could carry go out as one segment that
 * whoever receives it may cut. For tests/bench: what a guest behind a tap receives.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"

#define BATCH 32
#define MAX_WIRE_BYTES 1514
#define SEGMENT_BYTES 1448

static struct {
	struct virtio_net_hdr header;
	struct ether_header ethernet;
	struct iphdr ip;
	struct tcphdr tcp;
	uint8_t data[65536];
} __attribute__((packed)) frame;

static void fail(const char *what)
{
	fprintf(stderr, "net-flood: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static void make_frame(size_t size)
{
	static const size_t headers_bytes =
		sizeof(frame.ethernet) + sizeof(frame.ip) + sizeof(frame.tcp);

	if (size > MAX_WIRE_BYTES)
		frame.header = (struct virtio_net_hdr){
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
			.hdr_len = headers_bytes,
			.gso_size = SEGMENT_BYTES,
			.csum_start = sizeof(frame.ethernet) + sizeof(frame.ip),
			.csum_offset = offsetof(struct tcphdr, check),
		};
	memset(frame.ethernet.ether_dhost, 0xff, ETH_ALEN);
	frame.ethernet.ether_shost[0] = 2;
	frame.ethernet.ether_type = htons(ETHERTYPE_IP);
	frame.ip.version = 4;
	frame.ip.ihl = 5;
	frame.ip.tot_len = htons((uint16_t)(size - sizeof(frame.ethernet)));
	frame.ip.ttl = 64;
	frame.ip.protocol = IPPROTO_TCP;
	frame.ip.saddr = htonl(0x0a000001);
	frame.ip.daddr = htonl(0x0a000002);
	frame.tcp.doff = 5;
	frame.tcp.ack = 1;
}

int main(int argc, char **argv)
{
	size_t size = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec iov = { &frame, sizeof(frame.header) + size };
	int fd, one = 1;

	if (size < 60 || size > 65536) {
		fprintf(stderr, "usage: net-flood INTERFACE BYTES\n");
		return EXIT_FAILURE;
	}
	make_frame(size);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fail("socket");
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0)
		fail("options");
	address.sll_ifindex = (int)if_nametoindex(argv[1]);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail(argv[1]);
	for (unsigned int i = 0; i < BATCH; i++) {
		messages[i].msg_hdr.msg_iov = &iov;
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	for (;;) {
		/* A full queue is what is wanted. */
		if (sendmmsg(fd, messages, BATCH, 0) < 0 && errno != ENOBUFS && errno != EAGAIN)
			fail("sending");
	}
}

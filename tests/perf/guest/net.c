/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The bench guest: virtio-net, one queue pair (VIRTIO 1.2, 5.1), until n frames have passed:
 *
 *	bench=net op=send|receive size=BYTES n=N [to=all]
 *
 * Sent frames are IPv4 with TCP, from their Ethernet header on size bytes long; those that no
 * wire could carry are left to be cut, as an operating system does. Receive buffers are pages and
 * merged; "FIRST" is printed at the first frame.
 */
#include "guest.h"

#define QUEUE_SIZE 256
#define BUFFER_BYTES 4096
#define HEADER_BYTES 12
#define MAX_WIRE_BYTES 1514
#define SEGMENT_BYTES 1448
#define FRAME_HEADERS_BYTES 54

#define F_CSUM (UINT64_C(1) << 0)
#define F_GUEST_CSUM (UINT64_C(1) << 1)
#define F_GUEST_TSO4 (UINT64_C(1) << 7)
#define F_HOST_TSO4 (UINT64_C(1) << 11)
#define F_MRG_RXBUF (UINT64_C(1) << 15)
#define F_EVENT_IDX (UINT64_C(1) << 29)

struct net_header {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

static struct virtqueue receive_queue, send_queue;

static uint16_t swap16(uint64_t value)
{
	return (uint16_t)((value & 0xff) << 8 | (value >> 8 & 0xff));
}

/* Ethernet, IPv4 and TCP headers; who receives it looks at lengths and protocols only. */
static void make_frame(uint8_t *at, uint64_t size)
{
	struct net_header *header = (struct net_header *)at;
	uint8_t *frame = at + HEADER_BYTES, *ip = frame + 14, *tcp = ip + 20;
	uint32_t sum = 0;

	/* Memory of its own: what nobody has written to is all one page, which caches hold. */
	for (uint64_t i = FRAME_HEADERS_BYTES; i < size; i++)
		frame[i] = (uint8_t)i;
	if (size > MAX_WIRE_BYTES)
		*header =
			(struct net_header){ 1, 1, FRAME_HEADERS_BYTES, SEGMENT_BYTES, 34, 16, 0 };
	frame[0] = frame[6] = 2;
	/* Where others than the host are to see it. */
	for (unsigned int i = 0; i < 6 && option_is("to", "all"); i++)
		frame[i] = 0xff;
	frame[12] = 8;
	ip[0] = 0x45;
	*(uint16_t *)(ip + 2) = swap16(size - 14);
	ip[8] = 64;
	ip[9] = 6;
	ip[12] = ip[16] = 10;
	ip[15] = 1;
	ip[19] = 2;
	for (unsigned int i = 0; i < 20; i += 2)
		sum += *(uint16_t *)(ip + i);
	sum = (sum & 0xffff) + (sum >> 16);
	*(uint16_t *)(ip + 10) = (uint16_t) ~((sum & 0xffff) + (sum >> 16));
	tcp[12] = 0x50;
	tcp[13] = 0x10;
}

static uint64_t send_all(uint64_t size, uint64_t n)
{
	uint64_t sent = 0, done = 0;

	for (uint16_t i = 0; i < QUEUE_SIZE; i++) {
		uint8_t *at = arena(HEADER_BYTES + size, 64);

		make_frame(at, size);
		send_queue.descs[i] =
			(struct desc){ (uint64_t)at, (uint32_t)(HEADER_BYTES + size), 0, 0 };
	}
	print("BEGIN\n");
	for (; sent < n && sent < QUEUE_SIZE; sent++)
		queue_add(&send_queue, (uint16_t)sent);
	queue_kick(&send_queue);
	while (done < n) {
		bool added = false;
		uint16_t head;

		while (queue_used(&send_queue, &head)) {
			done++;
			if (sent < n) {
				queue_add(&send_queue, head);
				sent++;
				added = true;
			}
		}
		if (added)
			queue_kick(&send_queue);
		__builtin_ia32_pause();
	}
	return done;
}

static uint64_t receive_all(uint64_t n)
{
	uint64_t done = 0;
	unsigned int n_left = 0; /* buffers of the frame that is being looked at */

	for (uint16_t i = 0; i < QUEUE_SIZE; i++) {
		receive_queue.descs[i] = (struct desc){ (uint64_t)arena(BUFFER_BYTES, 4096),
			BUFFER_BYTES, DESC_WRITE, 0 };
		queue_add(&receive_queue, i);
	}
	queue_kick(&receive_queue);
	print("BEGIN\n");
	while (done < n) {
		bool added = false;
		uint16_t head;

		while (queue_used(&receive_queue, &head)) {
			const volatile struct net_header *header =
				(const volatile struct net_header *)receive_queue.descs[head].gpa;

			if (n_left == 0)
				n_left = header->num_buffers;
			if (n_left > 0 && --n_left == 0 && ++done == 1)
				print("FIRST\n");
			queue_add(&receive_queue, head);
			added = true;
		}
		if (added)
			queue_kick(&receive_queue);
		__builtin_ia32_pause();
	}
	return done;
}

void bench_net(void)
{
	uint64_t size = option("size", 64), n = option("n", 1000), done;
	struct device device;

	if (size < 60 || size > 65536)
		end_run("bad options");
	device_find(&device, 1, 0);
	device_start(&device,
		F_CSUM | F_GUEST_CSUM | F_GUEST_TSO4 | F_HOST_TSO4 | F_MRG_RXBUF | F_EVENT_IDX);
	if (!(device.features & F_MRG_RXBUF) ||
		(size > MAX_WIRE_BYTES && !(device.features & F_HOST_TSO4)))
		end_run("features missing");
	device_queue(&device, 0, QUEUE_SIZE, &receive_queue);
	device_queue(&device, 1, QUEUE_SIZE, &send_queue);
	device_ok(&device);
	done = option_is("op", "send") ? send_all(size, n) : receive_all(n);
	print("END");
	print_number("n", done);
	end_run("");
}

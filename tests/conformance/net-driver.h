/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: the driver's side of virtio-net, 5.1, for the cases in net*.c. */
#ifndef VMM_TESTS_NET_DRIVER_H
#define VMM_TESTS_NET_DRIVER_H

#include "conformance.h"
#include "target-net.h"

#define F_CSUM (UINT64_C(1) << 0)
#define F_GUEST_CSUM (UINT64_C(1) << 1)
#define F_CTRL_GUEST_OFFLOADS (UINT64_C(1) << 2)
#define F_MTU (UINT64_C(1) << 3)
#define F_MAC (UINT64_C(1) << 5)
#define F_GUEST_TSO4 (UINT64_C(1) << 7)
#define F_GUEST_TSO6 (UINT64_C(1) << 8)
#define F_HOST_TSO4 (UINT64_C(1) << 11)
#define F_HOST_TSO6 (UINT64_C(1) << 12)
#define F_MRG_RXBUF (UINT64_C(1) << 15)
#define F_STATUS (UINT64_C(1) << 16)
#define F_CTRL_VQ (UINT64_C(1) << 17)
#define F_GUEST_ANNOUNCE (UINT64_C(1) << 21)
#define F_MQ (UINT64_C(1) << 22)
#define F_CTRL_MAC_ADDR (UINT64_C(1) << 23)
#define ALL_DEVICE UINT64_C(0xffffff)

#define NEEDS_CSUM 1
#define DATA_VALID 2
#define GSO_TCPV4 1
#define GSO_TCPV6 4
#define GSO_UNKNOWN 0x33
#define HEADER_BYTES ((uint32_t)sizeof(struct net_frame_header))
#define MAX_FRAME 4096

/* Configuration space, 5.1.4. */
#define CONFIG_STATUS 6
#define CONFIG_MAX_PAIRS 8
#define CONFIG_MTU 10
#define LINK_UP 1
#define ANNOUNCE 2

struct sample {
	struct net_frame_header header;
	uint8_t frame[MAX_FRAME];
};

/* Starts with the device's features less some, and the queues that are left then. */
static inline void start_without(struct conf *c, uint64_t features)
{
	uint64_t wanted = ALL_DEVICE & ~features;
	unsigned int n = 2 * NET_PAIRS + 1;

	if (c->packed) {
		needs(c, F_PACKED, "packed ring");
		wanted |= F_PACKED;
	}
	if (!(wanted & F_CTRL_VQ))
		wanted &= ~(F_MQ | F_GUEST_ANNOUNCE | F_CTRL_MAC_ADDR | F_CTRL_GUEST_OFFLOADS);
	if (!(wanted & F_MQ))
		n = wanted & F_CTRL_VQ ? 3 : 2;
	CHECK(vdriver_start(&c->d, wanted, n, 64));
}

static inline unsigned int control_queue(struct conf *c)
{
	return c->d.features & F_MQ ? 2 * NET_PAIRS : 2;
}

static inline struct sample make_sample(uint32_t frame_bytes)
{
	struct sample sample = { .header = { 0 } };

	for (uint32_t i = 0; i < frame_bytes; i++)
		sample.frame[i] = (uint8_t)(i * 7 + frame_bytes);
	return sample;
}

/* The guest transmits it on pair 0; the frame is then the host's to judge. */
static inline void transmit(struct conf *c, const struct sample *sample, uint32_t frame_bytes)
{
	struct vring_buffer buffer = { 0, HEADER_BYTES + frame_bytes, false };
	uint32_t len;

	buffer.gpa = vdriver_alloc(&c->d, buffer.len);
	memcpy(c->m->ram + buffer.gpa, sample, buffer.len);
	CHECK(vdriver_transfer(&c->d, 1, &buffer, 1, &len));
	CHECK(len == 0);
}

static inline bool host_took(struct conf *c, const struct sample *sample, uint32_t frame_bytes)
{
	return c->target->host(NET_HOST_TOOK, sample, HEADER_BYTES + frame_bytes);
}

static inline bool host_took_nothing(struct conf *c)
{
	return c->target->host(NET_HOST_NOTHING, NULL, 0);
}

static inline void give(
	struct conf *c, uint8_t pair, const struct sample *sample, uint32_t frame_bytes)
{
	uint8_t data[1 + sizeof(*sample)];

	data[0] = pair;
	memcpy(data + 1, sample, HEADER_BYTES + frame_bytes);
	c->target->host(NET_HOST_GIVE, data, 1 + HEADER_BYTES + frame_bytes);
}

/* Offers one receive buffer, cleared; returns its address. */
static inline uint64_t offer_room(struct conf *c, uint16_t queue, uint32_t size)
{
	struct vring_buffer buffer = { vdriver_alloc(&c->d, size + 16), size, true };

	memset(c->m->ram + buffer.gpa, 0, size + 16);
	vdriver_send(&c->d, queue, &buffer, 1);
	return buffer.gpa;
}

static inline struct net_frame_header header_at(struct conf *c, uint64_t gpa)
{
	struct net_frame_header header;

	memcpy(&header, c->m->ram + gpa, sizeof(header));
	return header;
}

static inline uint32_t received(struct conf *c, uint16_t queue)
{
	uint32_t id, len;

	CHECK(vdriver_wait_used(&c->d, queue, &id, &len));
	return len;
}

static inline void expect_none_received(struct conf *c, uint16_t queue)
{
	uint32_t id, len;

	settle(c);
	CHECK(!vring_get_used(c->d.rings[queue], &id, &len));
}

/* A control command; its acknowledgement. */
static inline uint8_t command(
	struct conf *c, uint8_t class, uint8_t what, const void *data, uint32_t size)
{
	struct vring_buffer buffers[2];
	uint32_t len;

	buffers[0] = (struct vring_buffer){ vdriver_alloc(&c->d, 2 + size), 2 + size, false };
	buffers[1] = (struct vring_buffer){ vdriver_alloc(&c->d, 1), 1, true };
	c->m->ram[buffers[0].gpa] = class;
	c->m->ram[buffers[0].gpa + 1] = what;
	if (size > 0)
		memcpy(c->m->ram + buffers[0].gpa + 2, data, size);
	c->m->ram[buffers[1].gpa] = 0xee;
	CHECK(vdriver_transfer(&c->d, (uint16_t)control_queue(c), buffers, 2, &len));
	CHECK(len == 1);
	return c->m->ram[buffers[1].gpa];
}

static inline uint16_t config16(struct conf *c, uint64_t offset)
{
	return machine_read16(c->m, c->d.device + offset);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* conformance: virtio-net, 5.1. */
#include "net-driver.h"

/* ---- 5.1.2 to 5.1.5: queues, features, configuration ---- */

static void queues_of_all_pairs(struct conf *c)
{
	needs(c, F_MQ, "several queues");
	start_without(c, 0);
	vdriver_select(&c->d, 2 * NET_PAIRS);
	CHECK(vdriver_queue_max(&c->d) > 0);
	vdriver_select(&c->d, 2 * NET_PAIRS + 1);
	CHECK(vdriver_queue_max(&c->d) == 0);
	CHECK(command(c, 99, 0, NULL, 0) == 1);
}

static void control_is_queue_2_without_mq(struct conf *c)
{
	uint8_t mac[6] = { 0x52, 9, 9, 9, 9, 9 };

	start_without(c, F_MQ);
	CHECK(control_queue(c) == 2);
	CHECK(command(c, 1, 1, mac, 6) == 0);
}

static void offered_features_depend(struct conf *c)
{
	static const struct {
		uint64_t feature, needs;
	} dependencies[] = {
		{ F_GUEST_TSO4, F_GUEST_CSUM },
		{ F_GUEST_TSO6, F_GUEST_CSUM },
		{ F_HOST_TSO4, F_CSUM },
		{ F_HOST_TSO6, F_CSUM },
		{ F_CTRL_GUEST_OFFLOADS, F_CTRL_VQ },
		{ F_GUEST_ANNOUNCE, F_CTRL_VQ },
		{ F_MQ, F_CTRL_VQ },
		{ F_CTRL_MAC_ADDR, F_CTRL_VQ },
	};
	uint64_t offered = vdriver_offered(&c->d);

	CHECK(offered & F_CSUM && offered & F_MAC);
	for (size_t i = 0; i < sizeof(dependencies) / sizeof(dependencies[0]); i++)
		if (offered & dependencies[i].feature)
			CHECK(offered & dependencies[i].needs);
}

static void mac_address(struct conf *c)
{
	static const uint8_t mac[6] = NET_MAC;

	needs(c, F_MAC, "MAC");
	for (unsigned int i = 0; i < 6; i++)
		CHECK(machine_read8(c->m, c->d.device + i) == mac[i]);
}

static void max_pairs_and_mtu(struct conf *c)
{
	CHECK(config16(c, CONFIG_MAX_PAIRS) == NET_PAIRS);
	CHECK(config16(c, CONFIG_MTU) == NET_MTU);
}

static void configuration_is_read_only(struct conf *c)
{
	start_without(c, 0);
	for (unsigned int i = 0; i < 12; i++)
		machine_write8(c->m, c->d.device + i, 0xff);
	mac_address(c);
	max_pairs_and_mtu(c);
}

static void link_status(struct conf *c)
{
	uint8_t up = 0;

	start_without(c, 0);
	CHECK(config16(c, CONFIG_STATUS) == LINK_UP);
	vdriver_config_interrupts(&c->d);
	c->target->host(NET_HOST_LINK, &up, 1);
	settle(c);
	CHECK(config16(c, CONFIG_STATUS) == 0);
	CHECK(vdriver_config_interrupts(&c->d) == 1);
	up = 1;
	c->target->host(NET_HOST_LINK, &up, 1);
	settle(c);
	CHECK(config16(c, CONFIG_STATUS) == LINK_UP);
}

static void link_down_drops(struct conf *c)
{
	struct sample sample = make_sample(60);
	uint8_t up = 0;

	start_without(c, 0);
	c->target->host(NET_HOST_LINK, &up, 1);
	settle(c);
	offer_room(c, 0, 2048);
	give(c, 0, &sample, 60);
	expect_none_received(c, 0);
	transmit(c, &sample, 60);
	CHECK(host_took_nothing(c));
	up = 1;
	c->target->host(NET_HOST_LINK, &up, 1);
	settle(c);
	transmit(c, &sample, 60);
	CHECK(host_took(c, &sample, 60));
}

/* ---- 5.1.6.5: the control queue ---- */

static void unknown_commands_fail(struct conf *c)
{
	start_without(c, 0);
	CHECK(command(c, 0xfe, 0, NULL, 0) == 1);
	CHECK(command(c, 1, 0x77, "\0\0\0\0\0", 6) == 1);
	CHECK(command(c, 4, 1, "\1", 2) == 1);
}

/* A driver that kicks only where it is asked to, and then waits for the answer. */
static void polite_commands(struct conf *c, uint64_t features)
{
	uint64_t wanted = ALL_DEVICE | features | (c->packed ? F_PACKED : 0);
	uint32_t id, len;

	if (c->packed)
		needs(c, F_PACKED, "packed ring");
	CHECK(vdriver_start(&c->d, wanted, 2 * NET_PAIRS + 1, 64));
	for (unsigned int i = 0; i < 100; i++) {
		uint16_t queue = (uint16_t)control_queue(c), n = c->packed ? 2 : 1;
		struct vring_buffer buffers[2] = {
			{ vdriver_alloc(&c->d, 3), 3, false },
			{ vdriver_alloc(&c->d, 1), 1, true },
		};

		memset(c->m->ram + buffers[0].gpa, 0xfe, 3);
		vring_add(c->d.rings[queue], buffers, 2);
		if (vring_kick_wanted(c->d.rings[queue], features & F_EVENT_IDX, n))
			vdriver_kick(&c->d, queue);
		CHECK(vdriver_wait_used(&c->d, queue, &id, &len));
		CHECK(c->m->ram[buffers[1].gpa] == 1);
	}
}

static void commands_by_flag(struct conf *c)
{
	polite_commands(c, 0);
}

static void commands_by_event_index(struct conf *c)
{
	needs(c, F_EVENT_IDX, "event index");
	polite_commands(c, F_EVENT_IDX);
}

static void mac_can_be_set(struct conf *c)
{
	static const uint8_t mac[6] = { 0x52, 0x55, 9, 8, 7, 6 };
	static const uint8_t multicast[6] = { 0x53, 0x55, 9, 8, 7, 6 };

	needs(c, F_CTRL_MAC_ADDR, "MAC address by command");
	start_without(c, 0);
	CHECK(command(c, 1, 1, mac, 6) == 0);
	for (unsigned int i = 0; i < 6; i++)
		CHECK(machine_read8(c->m, c->d.device + i) == mac[i]);
	CHECK(command(c, 1, 1, multicast, 6) == 1);
	CHECK(command(c, 1, 1, mac, 5) == 1);
	CHECK(machine_read8(c->m, c->d.device) == mac[0]);
}

static void announce(struct conf *c)
{
	needs(c, F_GUEST_ANNOUNCE, "announcements");
	start_without(c, 0);
	vdriver_config_interrupts(&c->d);
	c->target->host(NET_HOST_ANNOUNCE, NULL, 0);
	settle(c);
	CHECK(config16(c, CONFIG_STATUS) == (LINK_UP | ANNOUNCE));
	CHECK(vdriver_config_interrupts(&c->d) == 1);
	CHECK(command(c, 3, 1, NULL, 0) == 1);
	CHECK(config16(c, CONFIG_STATUS) == (LINK_UP | ANNOUNCE));
	CHECK(command(c, 3, 0, NULL, 0) == 0);
	CHECK(config16(c, CONFIG_STATUS) == LINK_UP);
}

static void only_pair_0_at_first(struct conf *c)
{
	struct sample sample = make_sample(100);
	uint8_t one = 1;

	needs(c, F_MQ, "several queues");
	start_without(c, 0);
	CHECK(c->target->host(NET_HOST_IN_USE, &one, 1));
	offer_room(c, 2, 2048);
	give(c, 1, &sample, 100);
	expect_none_received(c, 2);
}

static void pairs_can_be_set(struct conf *c)
{
	struct sample sample = make_sample(100);
	uint16_t n = 2;
	uint8_t in_use = 2;

	needs(c, F_MQ, "several queues");
	start_without(c, 0);
	CHECK(command(c, 4, 0, &n, 2) == 0);
	CHECK(c->target->host(NET_HOST_IN_USE, &in_use, 1));
	offer_room(c, 2, 70000);
	give(c, 1, &sample, 100);
	CHECK(received(c, 2) == HEADER_BYTES + 100);
	n = in_use = 1;
	CHECK(command(c, 4, 0, &n, 2) == 0);
	CHECK(c->target->host(NET_HOST_IN_USE, &in_use, 1));
	offer_room(c, 2, 70000);
	give(c, 1, &sample, 100);
	expect_none_received(c, 2);
}

static void pairs_out_of_bounds(struct conf *c)
{
	static const uint16_t bad[] = { 0, NET_PAIRS + 1, 0x8000, 0xffff };
	uint8_t one = 1;

	needs(c, F_MQ, "several queues");
	start_without(c, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(command(c, 4, 0, &bad[i], 2) == 1);
	CHECK(c->target->host(NET_HOST_IN_USE, &one, 1));
}

static void offloads_can_be_turned_off(struct conf *c)
{
	uint64_t offloads = F_GUEST_CSUM;
	uint8_t told = 7;

	needs(c, F_CTRL_GUEST_OFFLOADS, "offloads by command");
	start_without(c, 0);
	/* 5.1.6.5.8: all that were negotiated are on at first. */
	CHECK(c->target->host(NET_HOST_OFFLOADS, &told, 1));
	CHECK(command(c, 5, 0, &offloads, 8) == 0);
	told = 1;
	CHECK(c->target->host(NET_HOST_OFFLOADS, &told, 1));
	offloads = F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6;
	CHECK(command(c, 5, 0, &offloads, 8) == 0);
	told = 7;
	CHECK(c->target->host(NET_HOST_OFFLOADS, &told, 1));
}

static void offloads_that_were_not_negotiated(struct conf *c)
{
	uint64_t offloads = F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6;
	uint8_t told = 1 | 2;

	needs(c, F_CTRL_GUEST_OFFLOADS, "offloads by command");
	start_without(c, F_GUEST_TSO6);
	CHECK(command(c, 5, 0, &offloads, 8) == 1);
	CHECK(c->target->host(NET_HOST_OFFLOADS, &told, 1));
}

static void no_room_for_the_acknowledgement(struct conf *c)
{
	struct vring_buffer buffer = { 0, 2, false };

	start_without(c, 0);
	buffer.gpa = vdriver_alloc(&c->d, 2);
	vdriver_send(&c->d, (uint16_t)control_queue(c), &buffer, 1);
	expect_needs_reset(c);
	recovers(c);
}

#define NET(clause, text, run)                                                                     \
	{                                                                                          \
		clause, text, run, ANY, 1                                                          \
	}

static const struct conf_case cases[] = {
	NET("5.1.2", "two queues a pair, and one for control", queues_of_all_pairs),
	NET("5.1.2", "without MQ the control queue is queue 2", control_is_queue_2_without_mq),
	NET("5.1.3.1", "no feature without those it needs", offered_features_depend),
	NET("5.1.4", "the MAC address", mac_address),
	NET("5.1.4.1", "the number of pairs and the MTU", max_pairs_and_mtu),
	NET("5.1.4", "the configuration is read-only", configuration_is_read_only),
	NET("5.1.4", "the status follows the link", link_status),
	NET("5.1.4", "frames are dropped while the link is down", link_down_drops),
	NET("5.1.6.5", "unknown commands fail", unknown_commands_fail),
	NET("5.1.6.5", "commands that are kicked for as the flag says", commands_by_flag),
	NET("5.1.6.5", "commands that are kicked for as the event says", commands_by_event_index),
	NET("5.1.6.5.2.1", "the MAC address can be set", mac_can_be_set),
	NET("5.1.6.5.4.2", "announce, and its acknowledgement", announce),
	NET("5.1.6.5.6.2", "only the first pair is used at first", only_pair_0_at_first),
	NET("5.1.6.5.6.2", "the number of pairs can be set", pairs_can_be_set),
	NET("5.1.6.5.6", "a number of pairs out of bounds", pairs_out_of_bounds),
	NET("5.1.6.5.8", "offloads can be turned off and on", offloads_can_be_turned_off),
	NET("5.1.6.5.8", "offloads that were not negotiated", offloads_that_were_not_negotiated),
	NET("5.1.6.5", "no room for the acknowledgement", no_room_for_the_acknowledgement),
};

const struct conf_group net_group = CONF_GROUP(cases);

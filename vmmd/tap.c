/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* tap: network interfaces of machines; see tap.h. */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <systemd/sd-id128.h>

#include "base/util.h"
#include "hash.h"
#include "zone.h"

/* Over both names, with something between that neither can hold. */
static uint64_t hash_names(uint64_t hash, const char *machine, const char *network)
{
	return hash_text(hash_step(hash_text(hash, machine), '/'), network);
}

uint64_t tap_hash(const char *machine, const char *network)
{
	return hash_names(HASH_BEGIN, machine, network);
}

void tap_name(const char *machine, const struct config_network *network, char name[IFNAMSIZ])
{
	snprintf(name, IFNAMSIZ, "%s-%.5s-%06" PRIx64,
		network->bridge.value || network->zone.value ? "vb" : "vt", machine,
		tap_hash(machine, network->name.value) & UINT64_C(0xffffff));
}

void tap_make_mac(const uint8_t host[16], const char *machine, const char *network, uint8_t mac[6])
{
	uint64_t hash = host ? hash_bytes(HASH_BEGIN, host, 16) : HASH_BEGIN;

	hash = hash_names(hash, machine, network);
	for (size_t i = 0; i < 6; i++)
		mac[i] = (uint8_t)(hash >> (8 * i));
	mac[0] = (uint8_t)((mac[0] & 0xfe) | 0x02);
}

bool tap_host_id(uint8_t host[16])
{
	static const sd_id128_t application =
		SD_ID128_MAKE(e1, 3a, 5c, 07, 96, d8, 42, 1f, a4, 6b, 0e, 71, c8, 25, f9, 33);
	sd_id128_t id;

	if (sd_id128_get_machine_app_specific(application, &id) < 0)
		return false;
	memcpy(host, id.bytes, sizeof(id.bytes));
	return true;
}

void tap_mac(const char *machine, const struct config_network *network, uint8_t mac[6])
{
	uint8_t host[16];
	unsigned byte[6];

	if (network->mac.value && sscanf(network->mac.value, "%2x:%2x:%2x:%2x:%2x:%2x", &byte[0],
					  &byte[1], &byte[2], &byte[3], &byte[4], &byte[5]) == 6) {
		for (size_t i = 0; i < 6; i++)
			mac[i] = (uint8_t)byte[i];
		return;
	}
	tap_make_mac(tap_host_id(host) ? host : NULL, machine, network->name.value, mac);
}

static int failed(int error, const char *what, char *reason, size_t reason_size)
{
	snprintf(reason, reason_size, "%s: %s", what, strerror(-error));
	return error;
}

int tap_check(const struct config_network *network, char *reason, size_t reason_size)
{
	if (access("/dev/net/tun", F_OK) < 0)
		return failed(-errno, "/dev/net/tun", reason, reason_size);
	if (network->bridge.value && if_nametoindex(network->bridge.value) == 0)
		return failed(-errno, network->bridge.value, reason, reason_size);
	return network->zone.value ? zone_check(network->zone.value, reason, reason_size) : 0;
}

/* A queue pair of the tap named in request, which is made with the first. */
static int open_pair(struct ifreq *request, int *ret_fd, char *reason, size_t reason_size)
{
	CLEANUP(close_p) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int header_bytes = TAP_HEADER_BYTES;

	if (fd < 0)
		return failed(-errno, "/dev/net/tun", reason, reason_size);
	if (ioctl(fd, TUNSETIFF, request) < 0)
		return failed(-errno, request->ifr_name, reason, reason_size);
	if (ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) < 0)
		return failed(-errno, "header size", reason, reason_size);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int take_up(const char *run_dir, const struct config_network *network, struct ifreq *request,
	char *reason, size_t reason_size)
{
	CLEANUP(close_p) int control_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq bridge = {};

	if (control_fd < 0)
		return failed(-errno, "socket", reason, reason_size);
	if (network->bridge.value) {
		snprintf(bridge.ifr_name, sizeof(bridge.ifr_name), "%s", network->bridge.value);
		bridge.ifr_ifindex = (int)if_nametoindex(request->ifr_name);
		if (ioctl(control_fd, SIOCBRADDIF, &bridge) < 0)
			return failed(-errno, network->bridge.value, reason, reason_size);
	}
	if (network->zone.value) {
		int r = zone_join(
			run_dir, network->zone.value, request->ifr_name, reason, reason_size);

		if (r < 0)
			return r;
	}
	if (ioctl(control_fd, SIOCGIFFLAGS, request) < 0)
		return failed(-errno, request->ifr_name, reason, reason_size);
	request->ifr_flags |= IFF_UP;
	if (ioctl(control_fd, SIOCSIFFLAGS, request) < 0)
		return failed(-errno, request->ifr_name, reason, reason_size);
	return 0;
}

int tap_open(const char *run_dir, const char *machine, const struct config_network *network,
	int ret_fds[CONFIG_MAX_PAIRS], char *reason, size_t reason_size)
{
	int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	int fds[CONFIG_MAX_PAIRS];
	struct ifreq request = {};
	size_t n = 0;
	int r = 0;

	if (network->queues.value > 1)
		flags |= IFF_MULTI_QUEUE;
	tap_name(machine, network, request.ifr_name);
	request.ifr_flags = (short)flags;
	while (r == 0 && n < network->queues.value) {
		r = open_pair(&request, &fds[n], reason, reason_size);
		n += r == 0;
	}
	if (r == 0)
		r = take_up(run_dir, network, &request, reason, reason_size);
	if (r == 0) {
		memcpy(ret_fds, fds, n * sizeof(fds[0]));
		return 0;
	}
	while (n > 0)
		vmm_base_close(fds[--n]);
	return r;
}

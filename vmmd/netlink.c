/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* netlink: see netlink.h. */
#include "netlink.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/util.h"

/* The kernel makes its answers no larger than that, rtnetlink(7). */
#define ANSWER_BYTES 65536

/* ---- what is sent ---- */

/* Room for so many bytes, zero, and for what aligns them; NULL: too long. */
static void *grow(struct netlink_message *message, size_t n_bytes)
{
	size_t aligned = NLMSG_ALIGN(n_bytes);
	void *at = message->bytes + message->n_bytes;

	if (message->too_long || n_bytes > NETLINK_MAX_BYTES ||
		aligned > NETLINK_MAX_BYTES - message->n_bytes) {
		message->too_long = true;
		return NULL;
	}
	message->n_bytes += aligned;
	return at;
}

void netlink_begin(struct netlink_message *message, uint16_t type, uint16_t flags,
	const struct ifinfomsg *link)
{
	struct nlmsghdr *header;

	*message = (struct netlink_message){};
	header = grow(message, sizeof(*header));
	*header = (struct nlmsghdr){ .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags };
	memcpy(grow(message, sizeof(*link)), link, sizeof(*link));
}

void netlink_put(struct netlink_message *message, uint16_t type, const void *data, size_t n_bytes)
{
	struct rtattr *attribute = grow(message, RTA_LENGTH(n_bytes));

	if (!attribute)
		return;
	*attribute = (struct rtattr){
		.rta_type = type,
		.rta_len = (unsigned short)RTA_LENGTH(n_bytes),
	};
	if (n_bytes > 0)
		memcpy(RTA_DATA(attribute), data, n_bytes);
}

void netlink_put_text(struct netlink_message *message, uint16_t type, const char *text)
{
	netlink_put(message, type, text, strlen(text) + 1);
}

void netlink_put_u32(struct netlink_message *message, uint16_t type, uint32_t value)
{
	netlink_put(message, type, &value, sizeof(value));
}

size_t netlink_nest(struct netlink_message *message, uint16_t type)
{
	size_t nest = message->n_bytes;

	netlink_put(message, type, NULL, 0);
	return nest;
}

void netlink_nest_end(struct netlink_message *message, size_t nest)
{
	if (!message->too_long)
		((struct rtattr *)(message->bytes + nest))->rta_len =
			(unsigned short)(message->n_bytes - nest);
}

/* ---- the socket ---- */

int netlink_open(struct netlink *netlink)
{
	const struct timeval timeout = { .tv_sec = NETLINK_TIMEOUT_SEC };
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	CLEANUP(close_p)
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	*netlink = (struct netlink){ .fd = TAKE_FD(fd) };
	return 0;
}

void netlink_close(struct netlink *netlink)
{
	vmm_base_close(netlink->fd);
	netlink->fd = -EBADF;
}

static int send_message(struct netlink *netlink, struct netlink_message *message)
{
	struct nlmsghdr *header = (struct nlmsghdr *)message->bytes;

	if (message->too_long)
		return -EMSGSIZE;
	header->nlmsg_len = (uint32_t)message->n_bytes;
	header->nlmsg_seq = ++netlink->sequence;
	return send(netlink->fd, message->bytes, message->n_bytes, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* What is said of each message of an answer. Goes on while handle gives 0. */
typedef int (*handle_t)(void *userdata, const struct nlmsghdr *header, bool *ret_end);

static int handle_all(struct netlink *netlink, const uint8_t *bytes, size_t n_bytes,
	handle_t handle, void *userdata, bool *ret_end)
{
	int r = 0;

	while (r == 0 && !*ret_end && n_bytes >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *header = (const struct nlmsghdr *)bytes;
		size_t n = header->nlmsg_len;

		if (n < sizeof(*header) || n > n_bytes)
			return -EBADMSG;
		/* Of an earlier one that nobody waited for to its end. */
		if (header->nlmsg_seq == netlink->sequence)
			r = handle(userdata, header, ret_end);
		n = MIN((size_t)NLMSG_ALIGN(n), n_bytes);
		bytes += n;
		n_bytes -= n;
	}
	return r;
}

static int receive(struct netlink *netlink, handle_t handle, void *userdata)
{
	CLEANUP(free_p) uint8_t *bytes = malloc(ANSWER_BYTES);
	bool end = false;
	int r = 0;

	if (!bytes)
		return -ENOMEM;
	while (r == 0 && !end) {
		ssize_t n = recv(netlink->fd, bytes, ANSWER_BYTES, MSG_TRUNC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (n == 0 || n > ANSWER_BYTES)
			return -EBADMSG;
		r = handle_all(netlink, bytes, (size_t)n, handle, userdata, &end);
	}
	return r;
}

static int read_error(const struct nlmsghdr *header)
{
	const struct nlmsgerr *error = NLMSG_DATA(header);

	if (header->nlmsg_len < NLMSG_LENGTH(sizeof(error->error)) || error->error > 0)
		return -EBADMSG;
	return error->error;
}

static int handle_acknowledgement(void *userdata, const struct nlmsghdr *header, bool *ret_end)
{
	if (header->nlmsg_type != NLMSG_ERROR)
		return 0;
	*ret_end = true;
	return read_error(header);
}

int netlink_call(struct netlink *netlink, struct netlink_message *message)
{
	int r = send_message(netlink, message);

	return r < 0 ? r : receive(netlink, handle_acknowledgement, NULL);
}

/* ---- links ---- */

/* Cuts what is too long. The attribute need not end in NUL. */
static void read_text(const struct rtattr *attribute, char *text, size_t size)
{
	size_t n = MIN(RTA_PAYLOAD(attribute), size - 1);

	memcpy(text, RTA_DATA(attribute), n);
	text[n] = 0;
}

static uint32_t read_u32(const struct rtattr *attribute)
{
	uint32_t value = 0;

	memcpy(&value, RTA_DATA(attribute), MIN(RTA_PAYLOAD(attribute), sizeof(value)));
	return value;
}

static void read_info(struct netlink_link *link, const struct rtattr *info)
{
	const struct rtattr *attribute = RTA_DATA(info);
	unsigned int left = (unsigned int)RTA_PAYLOAD(info);

	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
		if (attribute->rta_type == IFLA_INFO_KIND)
			read_text(attribute, link->kind, sizeof(link->kind));
}

static void read_attribute(struct netlink_link *link, const struct rtattr *attribute)
{
	switch (attribute->rta_type & NLA_TYPE_MASK) {
	case IFLA_IFNAME:
		read_text(attribute, link->name, sizeof(link->name));
		break;
	case IFLA_IFALIAS:
		read_text(attribute, link->alias, sizeof(link->alias));
		break;
	case IFLA_LINK:
		link->parent = (int)read_u32(attribute);
		break;
	case IFLA_MASTER:
		link->master = (int)read_u32(attribute);
		break;
	case IFLA_GROUP:
		link->group = read_u32(attribute);
		break;
	case IFLA_LINKINFO:
		read_info(link, attribute);
		break;
	default:
		break;
	}
}

static int read_link(const struct nlmsghdr *header, struct netlink_link *link)
{
	const struct ifinfomsg *info = NLMSG_DATA(header);
	const struct rtattr *attribute = IFLA_RTA(info);
	unsigned int left;

	if (header->nlmsg_len < NLMSG_SPACE(sizeof(*info)))
		return -EBADMSG;
	left = header->nlmsg_len - (unsigned int)NLMSG_SPACE(sizeof(*info));
	*link = (struct netlink_link){ .index = info->ifi_index, .flags = info->ifi_flags };
	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
		read_attribute(link, attribute);
	return 0;
}

static int handle_link(void *userdata, const struct nlmsghdr *header, bool *ret_end)
{
	int r;

	*ret_end = true;
	if (header->nlmsg_type == RTM_NEWLINK)
		return read_link(header, userdata);
	r = header->nlmsg_type == NLMSG_ERROR ? read_error(header) : 0;
	return r < 0 ? r : -EBADMSG;
}

int netlink_get(struct netlink *netlink, int index, const char *name, struct netlink_link *ret_link)
{
	const struct ifinfomsg info = { .ifi_index = index };
	struct netlink_message message;
	int r;

	netlink_begin(&message, RTM_GETLINK, 0, &info);
	if (index == 0)
		netlink_put_text(&message, IFLA_IFNAME, name);
	r = send_message(netlink, &message);
	return r < 0 ? r : receive(netlink, handle_link, ret_link);
}

struct list {
	netlink_found_t found;
	void *userdata;
	bool interrupted;
};

static int handle_listed(void *userdata, const struct nlmsghdr *header, bool *ret_end)
{
	struct list *list = userdata;
	struct netlink_link link;
	int r;

	list->interrupted |= header->nlmsg_flags & NLM_F_DUMP_INTR;
	switch (header->nlmsg_type) {
	case NLMSG_DONE:
		*ret_end = true;
		r = read_error(header);
		return r < 0 ? r : list->interrupted ? -EINTR : 0;
	case NLMSG_ERROR:
		*ret_end = true;
		r = read_error(header);
		return r < 0 ? r : -EBADMSG;
	case RTM_NEWLINK:
		r = read_link(header, &link);
		return r < 0 ? r : list->found(list->userdata, &link);
	default:
		return 0;
	}
}

int netlink_list(struct netlink *netlink, netlink_found_t found, void *userdata)
{
	const struct ifinfomsg info = {};
	struct list list = { .found = found, .userdata = userdata };
	struct netlink_message message;
	int r;

	netlink_begin(&message, RTM_GETLINK, NLM_F_DUMP, &info);
	r = send_message(netlink, &message);
	return r < 0 ? r : receive(netlink, handle_listed, &list);
}

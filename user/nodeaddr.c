// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "nodeaddr.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct rd_nodeaddrs {
	int netlink;
	struct event *readable;
	void (*changed)(void *context);
	void *context;
};

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	struct rd_nodeaddrs *nodeaddrs = context;
	char buffer[8192];

	(void)what;
	/* What changed does not matter, nor whether messages were lost: the list is
	 * read anew. */
	while (recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT) > 0 || errno == ENOBUFS)
		errno = 0;
	nodeaddrs->changed(nodeaddrs->context);
}

int rd_nodeaddrs_new(struct event_base *base, void (*changed)(void *context), void *context,
		     struct rd_nodeaddrs **ret_nodeaddrs, struct rd_error *error)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK,
				      .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
	struct rd_nodeaddrs *nodeaddrs = calloc(1, sizeof(*nodeaddrs));

	if (!nodeaddrs)
		return rd_error_set(error, -ENOMEM, "out of memory");
	nodeaddrs->changed = changed;
	nodeaddrs->context = context;
	nodeaddrs->netlink =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (nodeaddrs->netlink < 0 ||
	    bind(nodeaddrs->netlink, (struct sockaddr *)&address, sizeof(address))) {
		int r = rd_error_set(error, -errno, "cannot watch this node's addresses: %s",
				     strerror(errno));

		rd_nodeaddrs_free(nodeaddrs);
		return r;
	}
	nodeaddrs->readable =
		event_new(base, nodeaddrs->netlink, EV_READ | EV_PERSIST, on_readable, nodeaddrs);
	if (!nodeaddrs->readable || event_add(nodeaddrs->readable, NULL)) {
		rd_nodeaddrs_free(nodeaddrs);
		return rd_error_set(error, -ENOMEM, "out of memory");
	}
	*ret_nodeaddrs = nodeaddrs;
	return 0;
}

void rd_nodeaddrs_free(struct rd_nodeaddrs *nodeaddrs)
{
	if (!nodeaddrs)
		return;
	if (nodeaddrs->readable)
		event_free(nodeaddrs->readable);
	rd_close_cleanup(&nodeaddrs->netlink);
	free(nodeaddrs);
}

static struct rd_ip from_sockaddr(const struct sockaddr *address)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

	if (address->sa_family == AF_INET)
		return rd_ip_from_bytes(RD_FAMILY_4, (const uint8_t *)&in->sin_addr);
	if (address->sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
		return rd_ip_from_bytes(RD_FAMILY_6, (const uint8_t *)&in6->sin6_addr);
	return (struct rd_ip){0};
}

int rd_nodeaddrs_list(struct rd_ip **ret_ips, size_t *ret_n)
{
	struct ifaddrs *all;
	struct rd_ip *ips = NULL;
	size_t n = 0;
	int r = 0;

	if (getifaddrs(&all))
		return -errno;
	for (struct ifaddrs *one = all; !r && one; one = one->ifa_next) {
		struct rd_ip ip = one->ifa_addr ? from_sockaddr(one->ifa_addr) : (struct rd_ip){0};

		if (!ip.family)
			continue;
		r = rd_array_grow(&ips, n, sizeof(*ips));
		if (!r)
			ips[n++] = ip;
	}
	freeifaddrs(all);
	if (r) {
		free(ips);
		return r;
	}
	*ret_ips = ips;
	*ret_n = n;
	return 0;
}

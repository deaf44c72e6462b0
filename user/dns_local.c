// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_local.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "log.h"

/* The programs believe for so long that the server is there, and are told so often. */
#define ALIVE_NS 1000000000ULL
#define TELL_US 250000
#define DNS_PORT 53
#define MOST_ENDPOINTS 8

struct rd_dns_local {
	struct rd_dns_local_config config;
	char namespace[RD_LABEL_MAX];
	char name[RD_LABEL_MAX];
	struct rd_dns here;
	struct event *tell;
	struct rd_dns_server_address endpoints[MOST_ENDPOINTS]; /* as last set */
	size_t n_endpoints;
	uint32_t offset; /* random */
	bool failed;	 /* to tell the programs: said once */
};

static void tell(struct rd_dns_local *local, uint64_t until_ns)
{
	int r;

	local->here.until_ns = until_ns;
	r = rd_maps_serve_dns(local->config.maps, &local->here);
	if (r && !local->failed)
		rd_log(RD_LOG_WARN, "clients cannot be sent here, the endpoints are asked",
		       RD_TEXT("service", local->config.service), RD_TEXT("error", strerror(-r)));
	local->failed = r;
}

static void on_tell(evutil_socket_t fd, short what, void *context)
{
	struct rd_dns_local *local = context;

	(void)fd;
	(void)what;
	tell(local, rd_monotonic_ns() + ALIVE_NS);
}

void rd_dns_local_begin(struct rd_dns_local *local)
{
	struct timeval interval = {.tv_usec = TELL_US};

	if (event_pending(local->tell, EV_TIMEOUT, NULL) || event_add(local->tell, &interval))
		return;
	tell(local, rd_monotonic_ns() + ALIVE_NS);
	rd_log(RD_LOG_INFO, "answering on this node", RD_TEXT("service", local->config.service));
}

void rd_dns_local_end(struct rd_dns_local *local)
{
	event_del(local->tell);
	tell(local, 0);
}

/* Take a port's endpoints, each once, as far as there is room. */
static size_t take_endpoints(const struct rd_plan *plan, const struct rd_planned_port *port,
			     struct rd_dns_server_address *addresses)
{
	size_t n = 0;

	for (size_t i = 0; i < port->n_ranges; i++) {
		const struct rd_range *range = &port->ranges[i];

		for (uint32_t s = 0; s < range->count && n < MOST_ENDPOINTS; s++) {
			const struct rd_slot *slot = &plan->slots[range->first + s];
			struct rd_ip ip = rd_ip_from_bytes(range->family, slot->addr);
			bool known = false;

			for (size_t k = 0; k < n; k++)
				known |= !rd_ip_compare(&addresses[k].ip, &ip) &&
					 addresses[k].port == slot->port;
			if (!known)
				addresses[n++] = (struct rd_dns_server_address){.ip = ip,
										.port = slot->port};
		}
	}
	return n;
}

/* The first is asked first: let it be another one on another node. */
static void rotate(struct rd_dns_server_address *addresses, size_t n, uint32_t by)
{
	struct rd_dns_server_address rotated[MOST_ENDPOINTS];

	for (size_t i = 0; i < n; i++)
		rotated[i] = addresses[(i + by) % n];
	memcpy(addresses, rotated, n * sizeof(*addresses));
}

void rd_dns_local_follow(struct rd_dns_local *local, const struct rd_plan *plan)
{
	const struct rd_planned *service = rd_plan_find(plan, local->namespace, local->name);
	struct rd_dns_server_address addresses[MOST_ENDPOINTS] = {0};
	size_t n = 0;

	for (size_t i = 0; local->config.follow && service && i < service->n_ports; i++)
		if (service->ports[i].record.port == DNS_PORT &&
		    service->ports[i].record.protocol == IPPROTO_UDP)
			n = take_endpoints(plan, &service->ports[i], addresses);
	rotate(addresses, n, local->offset);
	if (!local->config.follow ||
	    (n == local->n_endpoints && !memcmp(addresses, local->endpoints, sizeof(addresses))))
		return;
	if (rd_dns_server_ask(local->config.server, addresses, n))
		return; /* the former ones stay, until the next change */
	memcpy(local->endpoints, addresses, sizeof(addresses));
	local->n_endpoints = n;
}

/* ---- life ----------------------------------------------------------------------------------- */

static int parse_service(struct rd_dns_local *local, struct rd_error *error)
{
	const char *text = local->config.service, *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : 0;

	if (!n || n >= sizeof(local->namespace) || !slash[1] || strchr(slash + 1, '/') ||
	    strlen(slash + 1) >= sizeof(local->name))
		return rd_error_usage(error,
				      "--dns-local-for takes NAMESPACE/NAME such as "
				      "kube-system/kube-dns, not %s",
				      text);
	memcpy(local->namespace, text, n);
	memcpy(local->name, slash + 1, strlen(slash + 1));
	return 0;
}

/* A client in a network namespace of its own must reach the address: it cannot be
 * loopback, or any. */
static int parse_addresses(struct rd_dns_local *local, struct rd_error *error)
{
	struct rd_dns *here = &local->here;

	for (const char *const *text = local->config.addresses; *text; text++) {
		struct rd_ip ip;
		uint16_t port;

		if (rd_ip_port_parse(*text, &ip, &port) || rd_ip_is_loopback(&ip) ||
		    rd_ip_is_any(&ip))
			continue;
		if (ip.family == RD_FAMILY_6 && !here->port6) {
			memcpy(here->addr6, ip.bytes, sizeof(here->addr6));
			here->port6 = port;
		}
		if (ip.family == RD_FAMILY_4 && !here->port4) {
			memcpy(here->addr4, ip.bytes, sizeof(here->addr4));
			here->port4 = port;
		}
	}
	if (!here->port4 && !here->port6)
		return rd_error_usage(error, "--dns-local-for needs --dns with an address of this "
					     "node that Pods reach, not loopback or any");
	return 0;
}

int rd_dns_local_new(const struct rd_dns_local_config *config, struct event_base *base,
		     struct rd_dns_local **ret_local, struct rd_error *error)
{
	struct rd_dns_local *local = calloc(1, sizeof(*local));
	int r;

	if (!local)
		return rd_error_set(error, -ENOMEM, "out of memory");
	local->config = *config;
	(void)!getrandom(&local->offset, sizeof(local->offset), GRND_NONBLOCK);
	r = parse_service(local, error) ?: parse_addresses(local, error);
	if (!r) {
		local->tell = event_new(base, -1, EV_PERSIST, on_tell, local);
		r = local->tell ? 0 : rd_error_set(error, -ENOMEM, "out of memory");
	}
	if (r) {
		rd_dns_local_free(local);
		return r;
	}
	*ret_local = local;
	return 0;
}

void rd_dns_local_free(struct rd_dns_local *local)
{
	if (!local)
		return;
	if (local->tell)
		event_free(local->tell);
	free(local);
}

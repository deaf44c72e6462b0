/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_server.h - the DNS server: the zone, upstreams for other names, and where
 * it is asked. What it is made of is below it; this puts it together.
 */
#ifndef REDIAL_DNS_SERVER_H
#define REDIAL_DNS_SERVER_H

#include "dns_lookup.h"

struct rd_dns_server;

struct rd_dns_server_config {
	const char *const
		*addresses; /* ADDRESS:PORT each; NULL-terminated; must outlive the server */
	struct rd_dns_zone_config zone;
	/* Whom to ask about other names: "none", a list of ADDRESS[:PORT] with
	 * commas between, or NULL: those of /etc/resolv.conf. */
	const char *upstreams;
	uint32_t mark;	   /* of every socket */
	const char *bpffs; /* by which watchers find it */
};

/*
 * Listen and serve, from the event loop on.
 *
 * @store: the names; must outlive the server
 * Returns 0 or -errno, with @error set.
 */
int rd_dns_server_new(const struct rd_dns_server_config *config, const struct rd_store *store,
		      struct event_base *base, struct rd_dns_server **ret_server,
		      struct rd_error *error);
void rd_dns_server_free(struct rd_dns_server *server);

/* How much of the names is in the store; at first nothing. */
void rd_dns_server_know(struct rd_dns_server *server, enum rd_dns_known known);

/* This node's addresses: the server's own, where it serves at all of them. */
void rd_dns_server_set_node(struct rd_dns_server *server, const struct rd_ip *ips, size_t n);

/* Whom to ask about other names from now on, in the place of those it was made
 * with. Returns 0, or -ENOMEM; then as before. */
int rd_dns_server_ask(struct rd_dns_server *server, const struct rd_dns_server_address *addresses,
		      size_t n);

/*
 * Where it was made without a word about upstreams: ask those whom the machine asks
 * now, if /etc/resolv.conf is another file than at the last look or has been written
 * since; or @always. One that cannot be read, or names nobody but us, changes nothing.
 */
void rd_dns_server_reread(struct rd_dns_server *server, bool always);

/* Whether no client waits for an upstream. */
bool rd_dns_server_is_idle(const struct rd_dns_server *server);

const struct rd_dns_numbers *rd_dns_server_numbers(const struct rd_dns_server *server);

#endif

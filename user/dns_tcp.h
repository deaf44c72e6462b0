/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_tcp.h - queries and answers over TCP (RFC 7766): any number on one
 * connection, answered as soon as each answer is there. Connections, what waits
 * in each of them, and how long it may be idle are bounded; where one more has
 * no place, the one that has been idle for longest is closed.
 */
#ifndef REDIAL_DNS_TCP_H
#define REDIAL_DNS_TCP_H

#include "dns_lookup.h"
#include "dns_watch.h"
#include "ip.h"

struct rd_dns_tcp;

/* @watch: whom to tell, or NULL. Returns 0 or -ENOMEM. */
int rd_dns_tcp_new(struct event_base *base, struct rd_dns_lookups *lookups,
		   struct rd_dns_watch *watch, struct rd_dns_tcp **ret_tcp);
/* Closes every connection. Before the lookups. */
void rd_dns_tcp_free(struct rd_dns_tcp *tcp);

/* Serve at one more address, as rd_dns_udp_listen does. */
int rd_dns_tcp_listen(struct rd_dns_tcp *tcp, const struct rd_ip *ip, uint16_t port, uint32_t mark,
		      struct rd_error *error);

#endif

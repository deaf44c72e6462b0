/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_lookup.h - from a query's bytes to an answer's: the cache, the zone, and
 * upstreams for what is not in the zone, which are asked once however many
 * clients wait for the same. Who the clients are, and how an answer gets to
 * them, concerns dns_udp.h and dns_tcp.h.
 */
#ifndef REDIAL_DNS_LOOKUP_H
#define REDIAL_DNS_LOOKUP_H

#include <event2/event.h>

#include "dns_numbers.h"
#include "dns_upstream.h"
#include "dns_zone.h"

struct rd_dns_lookups;
struct rd_dns_lookup;

/* Somebody who waits for an answer. It is part of what the transport keeps. */
struct rd_dns_waiter {
	struct rd_dns_waiter *next;
	struct rd_dns_lookup *lookup; /* NULL: it does not wait */
	enum rd_dns_transport transport;
	uint32_t source; /* a number of the client's address */
	uint64_t arrived_ns;
	struct rd_dns_question question;
	/* The answer; `wire` is valid until it returns. The waiter is its own
	 * again. NULL: there will be none. */
	void (*answered)(struct rd_dns_waiter *waiter, const uint8_t *wire, size_t n);
};

/*
 * @zone: must outlive this
 * @upstreams: whom to ask about other names; NULL: those are refused
 * @max_bytes: of the cache
 * Returns 0 or -ENOMEM.
 */
int rd_dns_lookups_new(struct event_base *base, struct rd_dns_zone *zone,
		       struct rd_dns_upstreams *upstreams, size_t max_bytes,
		       struct rd_dns_lookups **ret_lookups);
/* Before the upstreams. Who waits is told that there is no answer. */
void rd_dns_lookups_free(struct rd_dns_lookups *lookups);

enum rd_dns_served {
	RD_DNS_ANSWERED, /* the answer is written */
	RD_DNS_DROPPED,	 /* there is to be none */
	RD_DNS_WAITS,	 /* rd_dns_wait is to be called */
};

/*
 * Serve a query.
 *
 * @question: room for what was asked; filled in unless it is RD_DNS_DROPPED
 * @now_ns: monotonic
 * @out: room for RD_DNS_UDP_MAX or RD_DNS_TCP_MAX bytes
 */
enum rd_dns_served rd_dns_serve(struct rd_dns_lookups *lookups, const uint8_t *wire, size_t n,
				enum rd_dns_transport transport, uint64_t now_ns,
				struct rd_dns_question *question, uint8_t *out, size_t *ret_n);

/*
 * Wait for the answer to waiter->question, after RD_DNS_WAITS. transport,
 * source, arrived_ns and answered are set.
 * Returns whether it waits; if not, @out has the answer already.
 */
bool rd_dns_wait(struct rd_dns_lookups *lookups, struct rd_dns_waiter *waiter, uint8_t *out,
		 size_t *ret_n);
/* Wait no longer, if it does. */
void rd_dns_wait_cancel(struct rd_dns_waiter *waiter);

/* Whether nobody waits. */
bool rd_dns_lookups_are_idle(const struct rd_dns_lookups *lookups);

struct rd_dns_numbers *rd_dns_lookups_numbers(struct rd_dns_lookups *lookups);

#endif

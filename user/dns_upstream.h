/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_upstream.h - asks other resolvers, for names that are not ours to answer.
 *
 * Messages go through as bytes: what is in them concerns the caller. When an
 * upstream cannot be reached or does not answer in time, the next one is asked
 * as well, and for half a minute it is asked last; each is asked twice at most,
 * and a question ends after five times the time of a try. One that answers
 * SERVFAIL, REFUSED, NOTIMP or FORMERR is not asked again; the last such answer
 * is given if there is no better one. An answer that came truncated over UDP is
 * asked for again over TCP, and never given.
 *
 * An answer is believed if it comes from the address asked, to a socket of its
 * own with a random port, with the random id and the question of the query
 * (RFC 5452). Datagrams that are none are passed over, and when there are many,
 * TCP is the way as well.
 *
 * Every socket carries the agent's mark, so the datapath leaves it alone.
 */
#ifndef REDIAL_DNS_UPSTREAM_H
#define REDIAL_DNS_UPSTREAM_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "ip.h"
#include "util.h"

struct rd_dns_server_address {
	struct rd_ip ip;
	uint16_t port;	/* host order */
	uint32_t scope; /* interface index of a link-local address; 0: none */
};

struct rd_dns_upstream_config {
	uint32_t mark;	     /* SO_MARK of the sockets; 0: none */
	unsigned timeout_ms; /* of one try, not 0 */
	/* Questions under way; more are refused with -EBUSY. There are twice as many
	 * sockets at most. */
	unsigned max_pending;
};

struct rd_dns_upstreams;
struct rd_dns_pending;

/*
 * How a question ended. May ask and cancel others, and set whom to ask; must not
 * free the upstreams.
 *
 * @wire: the answer, with the query's own id; NULL: no upstream has answered.
 * Owned by the caller of this function, which keeps it until it returns.
 */
typedef void (*rd_dns_answered)(void *context, const uint8_t *wire, size_t n);

/* Returns 0 or -ENOMEM. */
int rd_dns_upstreams_new(const struct rd_dns_upstream_config *config, struct event_base *base,
			 struct rd_dns_upstreams **ret_upstreams);
/* Questions under way end without an answer and without a call. */
void rd_dns_upstreams_free(struct rd_dns_upstreams *upstreams);

/* Whom to ask from now on, in this order of preference. Questions under way go
 * on with those they began with. Returns 0 or -ENOMEM (then as before). */
int rd_dns_upstreams_set(struct rd_dns_upstreams *upstreams,
			 const struct rd_dns_server_address *addresses, size_t n);

/*
 * Ask.
 *
 * @wire: a whole, valid query; copied
 * @ret_pending: for rd_dns_upstreams_cancel, valid until @answered is called
 * Returns 0, -ENOENT (nobody to ask), -EBUSY or another -errno; then @answered
 * is not called. It is never called from within this function.
 */
int rd_dns_upstreams_ask(struct rd_dns_upstreams *upstreams, const uint8_t *wire, size_t n,
			 rd_dns_answered answered, void *context,
			 struct rd_dns_pending **ret_pending);
void rd_dns_upstreams_cancel(struct rd_dns_pending *pending);

#endif

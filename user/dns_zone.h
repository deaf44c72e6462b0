/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_zone.h - the names of Services (SERVICE-SEMANTICS H; Kubernetes's
 * DNS-Based Service Discovery 1.1.0): a question and the store give an answer.
 * Pure. The only file that knows ldns, which makes the records and the message.
 */
#ifndef REDIAL_DNS_ZONE_H
#define REDIAL_DNS_ZONE_H

#include "dns_answer.h"
#include "model.h"
#include "util.h"

/* How long a record, or that there is none, may be kept: Pods come and go. */
#define RD_DNS_TTL 5

struct rd_dns_zone;

struct rd_dns_zone_config {
	const char *domain; /* of the cluster, such as cluster.local */
	bool recursion;	    /* other names are answered as well, by upstreams */
	bool legacy_endpoints;
	uint32_t serial; /* of the zone; changes add to it */
};

/* How much of the names is in the store. */
enum rd_dns_known {
	RD_DNS_KNOWS_NOTHING, /* the first lists are not complete */
	RD_DNS_KNOWS_SOME,    /* something may be missing */
	RD_DNS_KNOWS_ALL,
};

/*
 * @store: read whenever a question is answered; must outlive the zone
 * Returns 0, -EINVAL for a domain that is none, or -ENOMEM, with @error set.
 */
int rd_dns_zone_new(const struct rd_dns_zone_config *config, const struct rd_store *store,
		    struct rd_dns_zone **ret_zone, struct rd_error *error);
void rd_dns_zone_free(struct rd_dns_zone *zone);

/* What of the names is known; at first nothing. */
void rd_dns_zone_know(struct rd_dns_zone *zone, enum rd_dns_known known);
/* The addresses of the server, for the name of it; the first of each family. */
void rd_dns_zone_set_server(struct rd_dns_zone *zone, const struct rd_ip *ips, size_t n);

/*
 * Answer a question of class IN.
 *
 * @ret_answer: to be freed with free
 * @ret_target: a name outside the zone that the answer leads to, where the rest
 * of it is; n is 0 if there is none
 * Returns 0; -ENOENT: the name is not one of ours; -EAGAIN: it is, and it is not
 * known yet what it stands for; -ENOMEM.
 */
int rd_dns_zone_answer(struct rd_dns_zone *zone, const struct rd_dns_question *question,
		       struct rd_dns_answer **ret_answer, struct rd_dns_name *ret_target);

/* A name that is not ours now, and may become so: where the number is that changes
 * before it does. NULL: it never will. */
const uint64_t *rd_dns_zone_watch(const struct rd_dns_zone *zone,
				  const struct rd_dns_question *question);

/*
 * An answer that leads outside, with what an upstream says of where it leads.
 *
 * @head: as rd_dns_zone_answer gave it, with a target
 * @tail: the answer to the same question about that target
 * @question: the one that @head answers
 * Returns 0, -EBADMSG or -ENOMEM.
 */
int rd_dns_zone_join(const struct rd_dns_answer *head, const struct rd_dns_answer *tail,
		     const struct rd_dns_question *question, struct rd_dns_answer **ret_answer);

#endif

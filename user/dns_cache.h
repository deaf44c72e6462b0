/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_cache.h - answers by question, in bounded memory: those of the zone, which
 * are so while their Service stays as it is, and those of upstreams, which are so
 * for some time. Pure: the time is handed in.
 */
#ifndef REDIAL_DNS_CACHE_H
#define REDIAL_DNS_CACHE_H

#include "dns_answer.h"

/* An upstream's answer that is out of date is kept for so long, for when no
 * upstream can be reached (RFC 8767). */
#define RD_DNS_STALE_NS (24ULL * 3600 * 1000000000)

struct rd_dns_cache;

/*
 * @max_bytes: of all answers together; when there are more, those go first that
 * nobody has asked for since it was last looked
 * Returns 0 or -ENOMEM.
 */
int rd_dns_cache_new(size_t max_bytes, struct rd_dns_cache **ret_cache);
void rd_dns_cache_free(struct rd_dns_cache *cache);

enum rd_dns_freshness {
	RD_DNS_NONE,  /* it is not known */
	RD_DNS_FRESH, /* it is so */
	RD_DNS_STALE, /* it was so; to be given out if it cannot be had anew */
};

/*
 * Look a question up.
 *
 * @ret_answer: owned by the cache, valid until it is next changed; NULL: none
 */
enum rd_dns_freshness rd_dns_cache_find(struct rd_dns_cache *cache,
					const struct rd_dns_question *question, uint64_t now_ns,
					struct rd_dns_answer **ret_answer);

/* Add an answer, in the place of the former one to its question. Takes
 * ownership; what is larger than an eighth of the cache is freed at once. */
void rd_dns_cache_put(struct rd_dns_cache *cache, const struct rd_dns_question *question,
		      struct rd_dns_answer *answer);

struct rd_dns_cache_numbers {
	uint64_t entries, bytes, evicted;
};
struct rd_dns_cache_numbers rd_dns_cache_numbers(const struct rd_dns_cache *cache);

#endif

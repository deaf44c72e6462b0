/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_numbers.h - what is counted of names asked for. Pure.
 */
#ifndef REDIAL_DNS_NUMBERS_H
#define REDIAL_DNS_NUMBERS_H

#include "dns_cache.h"

enum rd_dns_transport { RD_DNS_UDP, RD_DNS_TCP, RD_DNS_TRANSPORTS };

/* Types that are counted for themselves, and all others. */
enum rd_dns_counted_type {
	RD_DNS_COUNT_A,
	RD_DNS_COUNT_AAAA,
	RD_DNS_COUNT_SRV,
	RD_DNS_COUNT_PTR,
	RD_DNS_COUNT_OTHER,
	RD_DNS_COUNT_TYPES,
};
/* Codes up to REFUSED, and all others. */
#define RD_DNS_COUNT_RESULTS 7
/* Upper bounds of times: 10 µs and its fourfolds; the last has none. */
#define RD_DNS_BUCKETS 12
#define RD_DNS_FIRST_BUCKET_NS 10000ULL

struct rd_dns_numbers {
	uint64_t queries[RD_DNS_TRANSPORTS][RD_DNS_COUNT_TYPES][RD_DNS_COUNT_RESULTS];
	uint64_t dropped;		 /* what must not be answered, or could not be */
	uint64_t bucket[RD_DNS_BUCKETS]; /* each for itself, not cumulative */
	uint64_t sum_ns;
	uint64_t hits, misses, stale; /* of the cache */
	uint64_t asked, failed;	      /* of upstreams */
	uint64_t connections;	      /* TCP, open now */
	uint64_t closed_idle;	      /* TCP, closed to make room */
	struct rd_dns_cache_numbers cache;
};

/* A query was answered with a code. */
void rd_dns_count(struct rd_dns_numbers *numbers, enum rd_dns_transport transport,
		  const struct rd_dns_question *question, int code);
/* Answers took so long to be sent, each of `n`. */
void rd_dns_count_time(struct rd_dns_numbers *numbers, uint64_t ns, uint64_t n);

/* "udp", "A", "NXDOMAIN", for people and labels. */
const char *rd_dns_transport_name(enum rd_dns_transport transport);
const char *rd_dns_counted_type_name(enum rd_dns_counted_type type);
const char *rd_dns_result_name(size_t result);

#endif

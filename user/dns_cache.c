// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/* A bucket for so many bytes of answers: one or two answers. */
#define BYTES_FOR_EACH_BUCKET 512
#define FEWEST_BUCKETS 64

struct rd_dns_cache {
	struct rd_dns_answer **buckets;
	size_t mask;
	/* All answers in a ring, for the clock's hand (second chance). */
	struct rd_dns_answer *hand;
	size_t max_bytes;
	uint64_t seed;
	struct rd_dns_cache_numbers numbers;
};

int rd_dns_cache_new(size_t max_bytes, struct rd_dns_cache **ret_cache)
{
	struct rd_dns_cache *cache = calloc(1, sizeof(*cache));
	size_t n = FEWEST_BUCKETS;

	while (n < max_bytes / BYTES_FOR_EACH_BUCKET)
		n *= 2;
	if (cache)
		cache->buckets = calloc(n, sizeof(struct rd_dns_answer *));
	if (!cache || !cache->buckets) {
		free(cache);
		return -ENOMEM;
	}
	cache->mask = n - 1;
	cache->max_bytes = max_bytes;
	/* An address is a secret of this process: nobody can choose names that fall
	 * into one bucket. */
	cache->seed = (uint64_t)(uintptr_t)cache->buckets * 0x9e3779b97f4a7c15ULL;
	*ret_cache = cache;
	return 0;
}

void rd_dns_cache_free(struct rd_dns_cache *cache)
{
	struct rd_dns_answer *answer, *next;

	if (!cache)
		return;
	if (cache->hand)
		cache->hand->older->newer = NULL;
	for (answer = cache->hand; answer; answer = next) {
		next = answer->newer;
		free(answer);
	}
	free(cache->buckets);
	free(cache);
}

/* ---- the table --------------------------------------------------------------------------- */

static uint64_t mix(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_of(const struct rd_dns_cache *cache, const struct rd_dns_question *question)
{
	const uint8_t *key = question->key;
	size_t n = rd_dns_key_length(question);
	uint64_t hash = cache->seed ^ n;
	uint64_t word;

	for (; n >= sizeof(word); n -= sizeof(word), key += sizeof(word)) {
		memcpy(&word, key, sizeof(word));
		hash = mix(hash ^ word, 0xa0761d6478bd642fULL);
	}
	word = 0;
	memcpy(&word, key, n);
	return mix(hash ^ word, 0xe7037ed1a0b428dbULL);
}

static bool is_about(const struct rd_dns_answer *answer, const struct rd_dns_question *question,
		     uint64_t hash)
{
	size_t n = rd_dns_key_length(question);

	return answer->hash == hash && answer->length >= RD_DNS_HEADER + n &&
	       answer->dnssec == question->dnssec &&
	       answer->unchecked == !!(question->flags & RD_DNS_CD) &&
	       !memcmp(answer->wire + RD_DNS_HEADER, question->key, n);
}

static void drop(struct rd_dns_cache *cache, struct rd_dns_answer *answer)
{
	struct rd_dns_answer **link = &cache->buckets[answer->hash & cache->mask];

	while (*link != answer)
		link = &(*link)->chain;
	*link = answer->chain;
	if (cache->hand == answer)
		cache->hand = answer->newer == answer ? NULL : answer->newer;
	answer->older->newer = answer->newer;
	answer->newer->older = answer->older;
	cache->numbers.entries--;
	cache->numbers.bytes -= rd_dns_answer_size(answer);
	free(answer);
}

enum rd_dns_freshness rd_dns_cache_find(struct rd_dns_cache *cache,
					const struct rd_dns_question *question, uint64_t now_ns,
					struct rd_dns_answer **ret_answer)
{
	uint64_t hash = hash_of(cache, question);
	struct rd_dns_answer *answer = cache->buckets[hash & cache->mask];

	while (answer && !is_about(answer, question, hash))
		answer = answer->chain;
	*ret_answer = NULL;
	if (!answer)
		return RD_DNS_NONE;
	if ((answer->stamp && *answer->stamp != answer->stamp_value) ||
	    (answer->expires_ns && now_ns >= answer->expires_ns + RD_DNS_STALE_NS)) {
		drop(cache, answer);
		return RD_DNS_NONE;
	}
	answer->used = true;
	*ret_answer = answer;
	return answer->expires_ns && now_ns >= answer->expires_ns ? RD_DNS_STALE : RD_DNS_FRESH;
}

/* Let the hand go round until there is room. Who was used since it last came by
 * stays, once: it ends in its second round at the latest. */
static void make_room(struct rd_dns_cache *cache, size_t size)
{
	while (cache->hand && cache->numbers.bytes + size > cache->max_bytes) {
		struct rd_dns_answer *answer = cache->hand;

		if (answer->used) {
			answer->used = false;
			cache->hand = answer->newer;
			continue;
		}
		cache->numbers.evicted++;
		drop(cache, answer);
	}
}

void rd_dns_cache_put(struct rd_dns_cache *cache, const struct rd_dns_question *question,
		      struct rd_dns_answer *answer)
{
	uint64_t hash = hash_of(cache, question);
	struct rd_dns_answer *former = cache->buckets[hash & cache->mask];
	size_t size = rd_dns_answer_size(answer);

	while (former && !is_about(former, question, hash))
		former = former->chain;
	if (former)
		drop(cache, former);
	if (size > cache->max_bytes / 8) {
		free(answer);
		return;
	}
	make_room(cache, size);
	answer->hash = hash;
	answer->chain = cache->buckets[hash & cache->mask];
	cache->buckets[hash & cache->mask] = answer;
	/* Before the hand: it comes by last. */
	answer->newer = cache->hand ?: answer;
	answer->older = cache->hand ? cache->hand->older : answer;
	answer->older->newer = answer;
	answer->newer->older = answer;
	cache->hand = cache->hand ?: answer;
	cache->numbers.entries++;
	cache->numbers.bytes += size;
}

struct rd_dns_cache_numbers rd_dns_cache_numbers(const struct rd_dns_cache *cache)
{
	return cache->numbers;
}

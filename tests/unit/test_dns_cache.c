// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_cache.h"

#include <errno.h>

#include "unit/alloc_fail.h"
#include "unit/dns.h"

#define SECOND 1000000000ULL

static struct rd_dns_cache *cache;

static int set_up(void **fixture)
{
	(void)fixture;
	return rd_dns_cache_new(1 << 20, &cache);
}

static int tear_down(void **fixture)
{
	(void)fixture;
	rd_dns_cache_free(cache);
	return 0;
}

/* An answer without records. */
static struct rd_dns_answer *answer_to(const struct rd_dns_question *question)
{
	uint8_t wire[RD_DNS_UDP_MIN];
	struct rd_dns_answer *answer;
	size_t n = rd_dns_refusal_write(question, 0, 0, wire);

	n -= question->edns ? RD_DNS_OPT : 0;
	wire[11] = 0;
	assert_int_equal(rd_dns_answer_new(wire, n, question, &answer), 0);
	return answer;
}

static struct rd_dns_question numbered(unsigned i)
{
	char name[64];

	snprintf(name, sizeof(name), "name-%u.example.org", i);
	return question_of(name, LDNS_RR_TYPE_A);
}

static enum rd_dns_freshness find(const struct rd_dns_question *question, uint64_t now)
{
	struct rd_dns_answer *answer;
	enum rd_dns_freshness fresh = rd_dns_cache_find(cache, question, now, &answer);

	assert_int_equal(answer != NULL, fresh != RD_DNS_NONE);
	return fresh;
}

TEST(what_was_put_is_found_by_its_question)
{
	struct rd_dns_question a = question_of("a.example.org", LDNS_RR_TYPE_A);
	struct rd_dns_question type = question_of("a.example.org", LDNS_RR_TYPE_AAAA);
	struct rd_dns_question name = question_of("b.example.org", LDNS_RR_TYPE_A);
	struct rd_dns_question letters = question_of("A.Example.ORG", LDNS_RR_TYPE_A);
	struct rd_dns_question dnssec = a, unchecked = a;

	dnssec.dnssec = true;
	unchecked.flags |= RD_DNS_CD;
	rd_dns_cache_put(cache, &a, answer_to(&a));
	assert_int_equal(find(&a, 0), RD_DNS_FRESH);
	assert_int_equal(find(&letters, 0), RD_DNS_FRESH);
	assert_int_equal(find(&type, 0), RD_DNS_NONE);
	assert_int_equal(find(&name, 0), RD_DNS_NONE);
	assert_int_equal(find(&dnssec, 0), RD_DNS_NONE);
	assert_int_equal(find(&unchecked, 0), RD_DNS_NONE);
	rd_dns_cache_put(cache, &dnssec, answer_to(&dnssec));
	assert_int_equal(find(&dnssec, 0), RD_DNS_FRESH);
	assert_int_equal(rd_dns_cache_numbers(cache).entries, 2);
}

TEST(an_answer_takes_the_place_of_the_former_one)
{
	struct rd_dns_question a = question_of("a.example.org", LDNS_RR_TYPE_A);
	struct rd_dns_answer *second, *found;

	rd_dns_cache_put(cache, &a, answer_to(&a));
	second = answer_to(&a);
	rd_dns_cache_put(cache, &a, second);
	rd_dns_cache_find(cache, &a, 0, &found);
	assert_ptr_equal(found, second);
	assert_int_equal(rd_dns_cache_numbers(cache).entries, 1);
	assert_int_equal(rd_dns_cache_numbers(cache).bytes, rd_dns_answer_size(second));
}

TEST(an_answer_of_the_zone_ends_with_its_stamp)
{
	struct rd_dns_question a = question_of("a.example.org", LDNS_RR_TYPE_A);
	struct rd_dns_answer *answer = answer_to(&a);
	uint64_t stamp = 7;

	answer->stamp = &stamp;
	answer->stamp_value = 7;
	rd_dns_cache_put(cache, &a, answer);
	assert_int_equal(find(&a, 1000000 * SECOND), RD_DNS_FRESH);
	stamp = 8;
	assert_int_equal(find(&a, 0), RD_DNS_NONE);
	assert_int_equal(rd_dns_cache_numbers(cache).entries, 0);
	assert_int_equal(rd_dns_cache_numbers(cache).bytes, 0);
}

TEST(an_upstreams_answer_is_fresh_then_stale_then_gone)
{
	struct rd_dns_question a = question_of("a.example.org", LDNS_RR_TYPE_A);
	struct rd_dns_answer *answer = answer_to(&a);

	answer->expires_ns = 10 * SECOND;
	rd_dns_cache_put(cache, &a, answer);
	assert_int_equal(find(&a, 10 * SECOND - 1), RD_DNS_FRESH);
	assert_int_equal(find(&a, 10 * SECOND), RD_DNS_STALE);
	assert_int_equal(find(&a, 10 * SECOND + RD_DNS_STALE_NS - 1), RD_DNS_STALE);
	assert_int_equal(find(&a, 10 * SECOND + RD_DNS_STALE_NS), RD_DNS_NONE);
	assert_int_equal(rd_dns_cache_numbers(cache).entries, 0);
}

TEST(there_is_never_more_than_the_bound)
{
	for (unsigned i = 0; i < 20000; i++) {
		struct rd_dns_question question = numbered(i);

		rd_dns_cache_put(cache, &question, answer_to(&question));
		assert_true(rd_dns_cache_numbers(cache).bytes <= 1 << 20);
	}
	assert_true(rd_dns_cache_numbers(cache).bytes > (1 << 20) - 1000);
	assert_int_equal(rd_dns_cache_numbers(cache).entries + rd_dns_cache_numbers(cache).evicted,
			 20000);
}

TEST(what_is_asked_for_outlives_what_is_not)
{
	struct rd_dns_question asked = question_of("asked.example.org", LDNS_RR_TYPE_A);
	struct rd_dns_question never = question_of("never.example.org", LDNS_RR_TYPE_A);

	rd_dns_cache_put(cache, &asked, answer_to(&asked));
	rd_dns_cache_put(cache, &never, answer_to(&never));
	for (unsigned i = 0; i < 20000; i++) {
		struct rd_dns_question question = numbered(i);

		rd_dns_cache_put(cache, &question, answer_to(&question));
		if (i % 100 == 0)
			assert_int_equal(find(&asked, 0), RD_DNS_FRESH);
	}
	assert_int_equal(find(&never, 0), RD_DNS_NONE);
}

TEST(what_is_too_large_is_not_kept)
{
	struct rd_dns_question a = question_of("a.example.org", LDNS_RR_TYPE_A);

	rd_dns_cache_free(cache);
	assert_int_equal(rd_dns_cache_new(500, &cache), 0);
	rd_dns_cache_put(cache, &a, answer_to(&a));
	assert_int_equal(find(&a, 0), RD_DNS_NONE);
	assert_int_equal(rd_dns_cache_numbers(cache).bytes, 0);
}

TEST(an_empty_cache_has_nothing)
{
	struct rd_dns_question a = question_of("a.example.org", LDNS_RR_TYPE_A);

	assert_int_equal(find(&a, 0), RD_DNS_NONE);
}

TEST(out_of_memory_there_is_no_cache)
{
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		struct rd_dns_cache *other = NULL;
		int r = rd_dns_cache_new(1 << 16, &other);

		rd_dns_cache_free(other);
		if (!alloc_fail_end())
			break;
		assert_int_equal(r, -ENOMEM);
	}
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		ROW(what_was_put_is_found_by_its_question),
		ROW(an_answer_takes_the_place_of_the_former_one),
		ROW(an_answer_of_the_zone_ends_with_its_stamp),
		ROW(an_upstreams_answer_is_fresh_then_stale_then_gone),
		ROW(there_is_never_more_than_the_bound),
		ROW(what_is_asked_for_outlives_what_is_not),
		ROW(what_is_too_large_is_not_kept),
		ROW(an_empty_cache_has_nothing),
		ROW(out_of_memory_there_is_no_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

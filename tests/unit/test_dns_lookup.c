// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_lookup.h"

#include <errno.h>

#include "unit/alloc_fail.h"
#include "unit/dns.h"
#include "unit/objects.h"

#define SECOND 1000000000ULL

/* ---- the clock, and upstreams that answer when a test says so ------------------------- */

static uint64_t now;

uint64_t __wrap_rd_monotonic_ns(void);
uint64_t __wrap_rd_monotonic_ns(void)
{
	return now;
}

int __real_event_add(struct event *event, const struct timeval *patience);
int __wrap_event_add(struct event *event, const struct timeval *patience);
int __wrap_event_add(struct event *event, const struct timeval *patience)
{
	static const struct timeval moment = {0};

	return __real_event_add(event, patience ? &moment : NULL);
}

#define MOST_ASKED 1024
static struct rd_dns_pending {
	rd_dns_answered answered;
	void *context;
	struct rd_dns_question question;
	bool cancelled;
} asked[MOST_ASKED];
static size_t n_asked;
static int refusal; /* what asking comes to */

int __wrap_rd_dns_upstreams_ask(struct rd_dns_upstreams *upstreams, const uint8_t *wire, size_t n,
				rd_dns_answered answered, void *context,
				struct rd_dns_pending **ret_pending);
int __wrap_rd_dns_upstreams_ask(struct rd_dns_upstreams *upstreams, const uint8_t *wire, size_t n,
				rd_dns_answered answered, void *context,
				struct rd_dns_pending **ret_pending)
{
	struct rd_dns_pending *pending = &asked[n_asked];

	(void)upstreams;
	if (refusal)
		return refusal;
	assert_true(n_asked < MOST_ASKED);
	*pending = (struct rd_dns_pending){.answered = answered, .context = context};
	assert_int_equal(rd_dns_parse(wire, n, false, &pending->question), 0);
	n_asked++;
	*ret_pending = pending;
	return 0;
}

void __wrap_rd_dns_upstreams_cancel(struct rd_dns_pending *pending);
void __wrap_rd_dns_upstreams_cancel(struct rd_dns_pending *pending)
{
	pending->cancelled = true;
}

/* The upstream answers with one address, for so long. */
static void upstream_says(size_t i, const char *address, uint32_t ttl)
{
	uint8_t wire[1000];
	size_t n = rd_dns_refusal_write(&asked[i].question, 0, RD_DNS_RA, wire) - RD_DNS_OPT;
	struct rd_ip ip = to_ip(address);

	wire[7] = 1;
	wire[11] = 0;
	memcpy(wire + n, (uint8_t[]){0xc0, RD_DNS_HEADER, 0, 1, 0, 1}, 6);
	rd_dns_put32(wire + n + 6, ttl);
	rd_dns_put16(wire + n + 10, 4);
	memcpy(wire + n + 12, ip.bytes, 4);
	asked[i].answered(asked[i].context, wire, n + 16);
}

static void upstream_fails(size_t i)
{
	asked[i].answered(asked[i].context, NULL, 0);
}

/* ---- who asks ---------------------------------------------------------------------------- */

static struct event_base *base;
static struct rd_store store;
static struct rd_dns_zone *zone;
static struct rd_dns_lookups *lookups;

static int set_up(void **fixture)
{
	static const struct rd_dns_zone_config config = {.domain = "cluster.local",
							 .recursion = true};
	struct rd_error error;

	(void)fixture;
	now = 1000 * SECOND;
	n_asked = 0;
	refusal = 0;
	base = event_base_new();
	rd_store_init(&store);
	assert_int_equal(rd_dns_zone_new(&config, &store, &zone, &error), 0);
	rd_dns_zone_know(zone, RD_DNS_KNOWS_ALL);
	/* Never looked into: the functions above stand in for it. */
	return rd_dns_lookups_new(base, zone, (struct rd_dns_upstreams *)base, 1 << 20, &lookups);
}

static int tear_down(void **fixture)
{
	(void)fixture;
	rd_dns_lookups_free(lookups);
	rd_dns_zone_free(zone);
	rd_store_free(&store);
	event_base_free(base);
	return 0;
}

static char told[2000]; /* what the client was told, as message_text has it */
static uint16_t told_id;

/* "nothing" if it got no answer. */
static void tell(const uint8_t *wire, size_t n)
{
	snprintf(told, sizeof(told), "%.1000s", wire ? message_text(wire, n) : "nothing");
	told_id = wire ? rd_dns_get16(wire) : 0;
}

static void on_answered(struct rd_dns_waiter *waiter, const uint8_t *wire, size_t n)
{
	(void)waiter;
	tell(wire, n);
}

/* Ask; what comes at once is in `told`, else `waiter` waits. */
static const char *ask(const char *name, ldns_rr_type type, uint16_t id,
		       struct rd_dns_waiter *waiter)
{
	uint8_t query[RD_DNS_UDP_MIN], out[RD_DNS_UDP_MAX];
	struct rd_dns_question question;
	enum rd_dns_served served;
	size_t n = make_query(name, type, 0, query);

	rd_dns_put16(query, id);
	snprintf(told, sizeof(told), "dropped");
	served = rd_dns_serve(lookups, query, n, RD_DNS_UDP, now, &question, out, &n);
	if (served == RD_DNS_ANSWERED)
		tell(out, n);
	if (served != RD_DNS_WAITS)
		return told;
	*waiter = (struct rd_dns_waiter){.source = waiter->source,
					 .arrived_ns = now,
					 .question = question,
					 .answered = on_answered};
	snprintf(told, sizeof(told), "waits");
	if (!rd_dns_wait(lookups, waiter, out, &n))
		tell(out, n);
	return told;
}

#define WWW "NOERROR; is A 192.0.2.7"

TEST(a_service_is_answered_at_once_and_then_from_the_cache)
{
	const struct rd_dns_numbers *numbers = rd_dns_lookups_numbers(lookups);
	struct rd_dns_waiter waiter = {0};

	rd_store_put(&store, SERVICE(.name = "web", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	for (uint16_t id = 1; id <= 3; id++) {
		assert_string_equal(
			ask("web.default.svc.cluster.local", LDNS_RR_TYPE_A, id, &waiter),
			"NOERROR aa; is A 10.96.0.1");
		assert_int_equal(told_id, id);
	}
	assert_int_equal(numbers->hits, 2);
	assert_int_equal(numbers->misses, 1);
	rd_store_put(&store, SERVICE(.name = "web", .ip4 = "10.96.0.2", .ports = {{.port = 80}}));
	assert_string_equal(ask("web.default.svc.cluster.local", LDNS_RR_TYPE_A, 4, &waiter),
			    "NOERROR aa; is A 10.96.0.2");
	assert_int_equal(n_asked, 0);
}

TEST(a_name_outside_is_asked_for_once_however_many_wait)
{
	struct rd_dns_waiter first = {0}, second = {0}, third = {0};

	assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_A, 1, &first), "waits");
	assert_string_equal(ask("WWW.example.org", LDNS_RR_TYPE_A, 2, &second), "waits");
	assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_AAAA, 3, &third), "waits");
	assert_int_equal(n_asked, 2);
	told_id = 0;
	upstream_says(0, "192.0.2.7", 60);
	assert_string_equal(told, WWW);
	assert_in_range(told_id, 1, 2);
	assert_null(first.lookup);
	assert_null(second.lookup);
	assert_non_null(third.lookup);
	/* Its minute long it is known. */
	now += 59 * SECOND;
	assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_A, 4, &first), WWW);
	now += SECOND;
	assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_A, 5, &first), "waits");
	assert_int_equal(n_asked, 3);
	rd_dns_wait_cancel(&first);
	rd_dns_wait_cancel(&third);
}

TEST(a_failure_is_told_and_not_kept)
{
	struct rd_dns_waiter waiter = {0};

	for (size_t i = 0; i < 2; i++) {
		assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_A, 1, &waiter), "waits");
		upstream_fails(i);
		assert_string_equal(told, "SERVFAIL");
	}
	assert_int_equal(rd_dns_lookups_numbers(lookups)->failed, 2);
}

TEST(what_is_no_answer_is_a_failure)
{
	static const uint8_t nonsense[] = "nonsense, and more than a header";
	struct rd_dns_waiter waiter = {0};

	ask("www.example.org", LDNS_RR_TYPE_A, 1, &waiter);
	asked[0].answered(asked[0].context, nonsense, sizeof(nonsense));
	assert_string_equal(told, "SERVFAIL");
}

TEST(what_is_out_of_date_is_given_when_upstreams_fail_and_at_once_for_a_while)
{
	struct rd_dns_waiter waiter = {0};

	ask("www.example.org", LDNS_RR_TYPE_A, 1, &waiter);
	upstream_says(0, "192.0.2.7", 60);
	now += 100 * SECOND;
	assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_A, 2, &waiter), "waits");
	upstream_fails(1);
	assert_string_equal(told, WWW);
	now += 4 * SECOND;
	assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_A, 3, &waiter), WWW);
	now += 2 * SECOND;
	assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_A, 4, &waiter), "waits");
	upstream_says(2, "192.0.2.8", 60);
	assert_string_equal(told, "NOERROR; is A 192.0.2.8");
	assert_int_equal(rd_dns_lookups_numbers(lookups)->stale, 2);
}

TEST(a_client_does_not_wait_for_long_where_something_is_known)
{
	struct rd_dns_waiter waiter = {0};

	ask("www.example.org", LDNS_RR_TYPE_A, 1, &waiter);
	upstream_says(0, "192.0.2.7", 60);
	now += 100 * SECOND;
	assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_A, 2, &waiter), "waits");
	event_base_loop(base, EVLOOP_ONCE);
	assert_string_equal(told, WWW);
	/* Nor do others, while it is still asked for. */
	assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_A, 3, &waiter), WWW);
	assert_int_equal(n_asked, 2);
	upstream_says(1, "192.0.2.8", 60);
	assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_A, 4, &waiter),
			    "NOERROR; is A 192.0.2.8");
}

TEST(an_external_name_is_one_answer_with_what_the_upstream_says)
{
	struct rd_dns_waiter waiter = {0};
	static const char whole[] =
		"NOERROR; is CNAME www.example.org., www.example.org. is A 192.0.2.7";

	rd_store_put(&store, SERVICE(.name = "ext", .type = RD_TYPE_EXTERNAL_NAME,
				     .external_name = "www.example.org"));
	assert_string_equal(ask("ext.default.svc.cluster.local", LDNS_RR_TYPE_A, 1, &waiter),
			    "waits");
	upstream_says(0, "192.0.2.7", 60);
	assert_string_equal(told, whole);
	assert_string_equal(ask("ext.default.svc.cluster.local", LDNS_RR_TYPE_A, 2, &waiter),
			    whole);
	/* Until the Service says something else. */
	rd_store_put(&store, SERVICE(.name = "ext", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	assert_string_equal(ask("ext.default.svc.cluster.local", LDNS_RR_TYPE_A, 3, &waiter),
			    "NOERROR aa; is A 10.96.0.1");
}

TEST(an_address_that_becomes_a_services_is_not_the_upstreams_any_more)
{
	struct rd_dns_waiter waiter = {0};

	ask("1.0.96.10.in-addr.arpa", LDNS_RR_TYPE_PTR, 1, &waiter);
	/* Not a PTR record, but kept. */
	upstream_says(0, "192.0.2.7", 60);
	rd_store_put(&store, SERVICE(.name = "web", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	assert_string_equal(ask("1.0.96.10.in-addr.arpa", LDNS_RR_TYPE_PTR, 2, &waiter),
			    "NOERROR aa; is PTR web.default.svc.cluster.local.");
}

TEST(one_client_has_so_many_places_and_the_others_theirs)
{
	static struct rd_dns_waiter many[600];
	struct rd_dns_waiter other = {.source = 2};
	unsigned waiting = 0;
	char name[40];

	for (unsigned i = 0; i < RD_ARRAY_SIZE(many); i++) {
		many[i].source = 1;
		snprintf(name, sizeof(name), "n%u.example.org", i);
		if (!strcmp(ask(name, LDNS_RR_TYPE_A, 1, &many[i]), "waits"))
			waiting++;
		else
			assert_string_equal(told, "SERVFAIL");
	}
	assert_int_equal(waiting, 512);
	assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_A, 1, &other), "waits");
	/* A place that is given up is free. */
	rd_dns_wait_cancel(&many[0]);
	assert_string_equal(ask("more.example.org", LDNS_RR_TYPE_A, 1, &many[0]), "waits");
	for (unsigned i = 0; i < RD_ARRAY_SIZE(many); i++)
		rd_dns_wait_cancel(&many[i]);
	rd_dns_wait_cancel(&other);
}

TEST(who_has_gone_is_not_told)
{
	struct rd_dns_waiter gone = {0}, there = {0};

	ask("www.example.org", LDNS_RR_TYPE_A, 1, &gone);
	ask("www.example.org", LDNS_RR_TYPE_A, 2, &there);
	rd_dns_wait_cancel(&gone);
	rd_dns_wait_cancel(&gone);
	upstream_says(0, "192.0.2.7", 60);
	assert_int_equal(told_id, 2);
}

TEST(who_waits_at_the_end_is_told_that_nothing_comes)
{
	struct rd_dns_waiter waiter = {0};

	ask("www.example.org", LDNS_RR_TYPE_A, 1, &waiter);
	rd_dns_lookups_free(lookups);
	lookups = NULL;
	assert_string_equal(told, "nothing");
	assert_true(asked[0].cancelled);
}

TEST(upstreams_that_cannot_be_asked_are_a_failure)
{
	struct rd_dns_waiter waiter = {0};

	refusal = -EBUSY;
	assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_A, 1, &waiter), "SERVFAIL");
	assert_null(waiter.lookup);
}

TEST(without_upstreams_other_names_are_refused)
{
	struct rd_dns_waiter waiter = {0};

	rd_dns_lookups_free(lookups);
	assert_int_equal(rd_dns_lookups_new(base, zone, NULL, 1 << 20, &lookups), 0);
	assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_A, 1, &waiter), "REFUSED");
	rd_store_put(&store, SERVICE(.name = "ext", .type = RD_TYPE_EXTERNAL_NAME,
				     .external_name = "www.example.org"));
	assert_string_equal(ask("ext.default.svc.cluster.local", LDNS_RR_TYPE_A, 2, &waiter),
			    "NOERROR aa; is CNAME www.example.org.");
}

TEST(before_the_names_are_known_the_zone_fails_and_others_do_not)
{
	struct rd_dns_waiter waiter = {0};

	rd_dns_zone_know(zone, RD_DNS_KNOWS_NOTHING);
	assert_string_equal(ask("web.default.svc.cluster.local", LDNS_RR_TYPE_A, 1, &waiter),
			    "SERVFAIL");
	assert_string_equal(ask("www.example.org", LDNS_RR_TYPE_A, 2, &waiter), "waits");
	rd_dns_wait_cancel(&waiter);
}

TEST(out_of_memory_is_a_failure_and_nothing_leaks)
{
	rd_store_put(&store, SERVICE(.name = "ext", .type = RD_TYPE_EXTERNAL_NAME,
				     .external_name = "www.example.org"));
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		uint8_t query[RD_DNS_UDP_MIN], out[RD_DNS_UDP_MAX];
		struct rd_dns_waiter waiter = {.answered = on_answered};
		size_t bytes;
		bool waits = false;

		alloc_fail_end();
		bytes = make_query("ext.default.svc.cluster.local", LDNS_RR_TYPE_A, 0, query);
		alloc_fail_at(n);
		n_asked = 0;
		if (rd_dns_serve(lookups, query, bytes, RD_DNS_UDP, now, &waiter.question, out,
				 &bytes) == RD_DNS_WAITS)
			waits = rd_dns_wait(lookups, &waiter, out, &bytes);
		if (waits)
			upstream_says(0, "192.0.2.7", 0);
		if (!alloc_fail_end()) {
			assert_true(waits);
			break;
		}
		if (!waits)
			assert_int_equal(out[3] & RD_DNS_RCODE, RD_DNS_SERVFAIL);
	}
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		ROW(a_service_is_answered_at_once_and_then_from_the_cache),
		ROW(a_name_outside_is_asked_for_once_however_many_wait),
		ROW(a_failure_is_told_and_not_kept),
		ROW(what_is_no_answer_is_a_failure),
		ROW(what_is_out_of_date_is_given_when_upstreams_fail_and_at_once_for_a_while),
		ROW(a_client_does_not_wait_for_long_where_something_is_known),
		ROW(an_external_name_is_one_answer_with_what_the_upstream_says),
		ROW(an_address_that_becomes_a_services_is_not_the_upstreams_any_more),
		ROW(one_client_has_so_many_places_and_the_others_theirs),
		ROW(who_has_gone_is_not_told),
		ROW(who_waits_at_the_end_is_told_that_nothing_comes),
		ROW(upstreams_that_cannot_be_asked_are_a_failure),
		ROW(without_upstreams_other_names_are_refused),
		ROW(before_the_names_are_known_the_zone_fails_and_others_do_not),
		ROW(out_of_memory_is_a_failure_and_nothing_leaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

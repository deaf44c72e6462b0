// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_lookup.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "tree.h"

/* Who waits for upstreams: so many clients in all, so many of one address. */
#define MOST_WAITING 4096
#define MOST_OF_ONE 512
#define SOURCES 1024
/* A client gets what is out of date when the upstreams take longer than this
 * (RFC 8767), and at once for so long after they have failed. */
#define PATIENCE_US 1800000
#define RETRY_NS 5000000000ULL

/* A question that upstreams have been asked. */
struct rd_dns_lookup {
	RB_ENTRY(rd_dns_lookup) entry;
	struct rd_dns_lookups *lookups;
	struct rd_dns_pending *pending;
	struct rd_dns_question question; /* as the first who waits has asked it */
	struct rd_dns_question target;	 /* what the upstreams are asked */
	struct rd_dns_answer *head;	 /* the zone's part of the answer; NULL: it has none */
	uint64_t stamp_value;		 /* see rd_dns_zone_watch */
	struct rd_dns_waiter *waiters;
	struct event *patience; /* NULL: there is nothing to give meanwhile */
};

RB_HEAD(lookup_tree, rd_dns_lookup);

static int compare_lookups(const struct rd_dns_lookup *a, const struct rd_dns_lookup *b)
{
	const struct rd_dns_question *x = &a->question, *y = &b->question;

	return (int)x->name_length - (int)y->name_length
		       ?: memcmp(x->key, y->key, rd_dns_key_length(x))
		       ?: (int)x->dnssec - (int)y->dnssec
		       ?: (int)(x->flags & RD_DNS_CD) - (int)(y->flags & RD_DNS_CD);
}

RD_TREE_GENERATE(lookup_tree, rd_dns_lookup, entry, compare_lookups)

struct rd_dns_lookups {
	struct event_base *base;
	struct rd_dns_zone *zone;
	struct rd_dns_upstreams *upstreams;
	struct rd_dns_cache *cache;
	struct lookup_tree tree;
	unsigned n_waiting;
	uint16_t waiting_of[SOURCES];
	uint64_t chance;
	struct rd_dns_numbers numbers;
	uint8_t out[RD_DNS_TCP_MAX];
};

/* ---- numbers ----------------------------------------------------------------------------- */

struct rd_dns_numbers *rd_dns_lookups_numbers(struct rd_dns_lookups *lookups)
{
	lookups->numbers.cache = rd_dns_cache_numbers(lookups->cache);
	return &lookups->numbers;
}

bool rd_dns_lookups_are_idle(const struct rd_dns_lookups *lookups)
{
	return !lookups->n_waiting;
}

/* ---- what can be answered at once -------------------------------------------------------- */

static uint16_t recursion(const struct rd_dns_lookups *lookups)
{
	return lookups->upstreams ? RD_DNS_RA : 0;
}

static size_t write_code(struct rd_dns_lookups *lookups, enum rd_dns_transport transport,
			 const struct rd_dns_question *question, int code, uint8_t *out)
{
	rd_dns_count(&lookups->numbers, transport, question, code);
	return rd_dns_refusal_write(question, code, recursion(lookups), out);
}

static size_t write_answer(struct rd_dns_lookups *lookups, enum rd_dns_transport transport,
			   const struct rd_dns_question *question,
			   const struct rd_dns_answer *answer, uint64_t now_ns, uint8_t *out)
{
	rd_dns_count(&lookups->numbers, transport, question, rd_dns_answer_code(answer));
	return rd_dns_answer_write(answer, question, now_ns, &lookups->chance, out);
}

/* Ask the zone. Where the answer goes on outside, and that is to be followed, it
 * is handed over as @ret_head. Returns as rd_dns_zone_answer does, or 1 with a
 * head. */
static int ask_zone(struct rd_dns_lookups *lookups, const struct rd_dns_question *question,
		    struct rd_dns_answer **ret_answer, struct rd_dns_answer **ret_head,
		    struct rd_dns_name *ret_target)
{
	struct rd_dns_answer *answer;
	int r = rd_dns_zone_answer(lookups->zone, question, &answer, ret_target);

	if (r)
		return r;
	if (ret_target->n && lookups->upstreams && question->flags & RD_DNS_RD) {
		*ret_head = answer;
		return 1;
	}
	*ret_answer = answer;
	return 0;
}

static int code_of(int r)
{
	return r == -ENOENT ? RD_DNS_REFUSED : RD_DNS_SERVFAIL;
}

enum rd_dns_served rd_dns_serve(struct rd_dns_lookups *lookups, const uint8_t *wire, size_t n,
				enum rd_dns_transport transport, uint64_t now_ns,
				struct rd_dns_question *question, uint8_t *out, size_t *ret_n)
{
	struct rd_dns_answer *answer, *head = NULL;
	struct rd_dns_name target = {0};
	enum rd_dns_freshness fresh;
	int r = rd_dns_parse(wire, n, transport == RD_DNS_TCP, question);

	if (r == RD_DNS_DROP) {
		lookups->numbers.dropped++;
		return RD_DNS_DROPPED;
	}
	if (!r && question->class != RD_DNS_IN)
		r = RD_DNS_REFUSED;
	if (r) {
		*ret_n = write_code(lookups, transport, question, r, out);
		return RD_DNS_ANSWERED;
	}
	fresh = rd_dns_cache_find(lookups->cache, question, now_ns, &answer);
	if (fresh == RD_DNS_FRESH || (fresh == RD_DNS_STALE && now_ns < answer->retry_ns)) {
		lookups->numbers.hits += fresh == RD_DNS_FRESH;
		lookups->numbers.stale += fresh == RD_DNS_STALE;
		*ret_n = write_answer(lookups, transport, question, answer, now_ns, out);
		return RD_DNS_ANSWERED;
	}
	lookups->numbers.misses++;
	if (fresh == RD_DNS_STALE)
		return RD_DNS_WAITS;
	r = ask_zone(lookups, question, &answer, &head, &target);
	if (!r) {
		*ret_n = write_answer(lookups, transport, question, answer, now_ns, out);
		rd_dns_cache_put(lookups->cache, question, answer);
		return RD_DNS_ANSWERED;
	}
	if (r == 1)
		free(head); /* made again when it is waited for */
	if (r == 1 || (r == -ENOENT && lookups->upstreams && question->flags & RD_DNS_RD))
		return RD_DNS_WAITS;
	*ret_n = write_code(lookups, transport, question, code_of(r), out);
	return RD_DNS_ANSWERED;
}

/* ---- waiting ----------------------------------------------------------------------------- */

static uint16_t *waiting_of(struct rd_dns_lookups *lookups, const struct rd_dns_waiter *waiter)
{
	return &lookups->waiting_of[waiter->source % SOURCES];
}

static void leave(struct rd_dns_lookups *lookups, struct rd_dns_waiter *waiter)
{
	waiter->lookup = NULL;
	waiter->next = NULL;
	lookups->n_waiting--;
	--*waiting_of(lookups, waiter);
}

void rd_dns_wait_cancel(struct rd_dns_waiter *waiter)
{
	struct rd_dns_lookup *lookup = waiter->lookup;

	if (!lookup)
		return;
	for (struct rd_dns_waiter **link = &lookup->waiters; *link; link = &(*link)->next) {
		if (*link != waiter)
			continue;
		*link = waiter->next;
		break;
	}
	leave(lookup->lookups, waiter);
}

/* Answer all who wait. @answer NULL: nobody could say. */
static void answer_waiters(struct rd_dns_lookup *lookup, const struct rd_dns_answer *answer)
{
	struct rd_dns_lookups *lookups = lookup->lookups;
	uint64_t now = rd_monotonic_ns();
	struct rd_dns_waiter *waiter;

	while ((waiter = lookup->waiters)) {
		const struct rd_dns_question *question = &waiter->question;
		size_t n;

		lookup->waiters = waiter->next;
		leave(lookups, waiter);
		if (answer)
			n = write_answer(lookups, waiter->transport, question, answer, now,
					 lookups->out);
		else
			n = write_code(lookups, waiter->transport, question, RD_DNS_SERVFAIL,
				       lookups->out);
		rd_dns_count_time(&lookups->numbers, now - waiter->arrived_ns, 1);
		waiter->answered(waiter, lookups->out, n);
	}
}

static void end_lookup(struct rd_dns_lookup *lookup)
{
	RB_REMOVE(lookup_tree, &lookup->lookups->tree, lookup);
	if (lookup->patience)
		event_free(lookup->patience);
	free(lookup->head);
	free(lookup);
}

/* Make one answer of what has come, with the zone's part before it. */
static int make_answer(const struct rd_dns_lookup *lookup, const uint8_t *wire, size_t n,
		       struct rd_dns_answer **ret_answer)
{
	struct rd_dns_answer *answer, *whole;
	int r = rd_dns_answer_received(wire, n, &lookup->target, rd_monotonic_ns(), &answer);

	if (r)
		return r;
	if (rd_dns_answer_code(answer) != RD_DNS_NOERROR &&
	    rd_dns_answer_code(answer) != RD_DNS_NXDOMAIN)
		r = -EBADMSG;
	if (!r && lookup->head) {
		r = rd_dns_zone_join(lookup->head, answer, &lookup->question, &whole);
		if (!r) {
			free(answer);
			answer = whole;
		}
	}
	if (r)
		free(answer);
	else
		*ret_answer = answer;
	if (!r && !lookup->head)
		answer->stamp = rd_dns_zone_watch(lookup->lookups->zone, &lookup->question);
	if (!r && !lookup->head && answer->stamp)
		answer->stamp_value = lookup->stamp_value;
	return r;
}

/* Nobody could say: what was known before, or nothing. */
static void give_stale(struct rd_dns_lookup *lookup, bool failed)
{
	struct rd_dns_lookups *lookups = lookup->lookups;
	uint64_t now = rd_monotonic_ns();
	struct rd_dns_answer *answer;

	if (rd_dns_cache_find(lookups->cache, &lookup->question, now, &answer) == RD_DNS_STALE) {
		for (const struct rd_dns_waiter *w = lookup->waiters; w; w = w->next)
			lookups->numbers.stale++;
		if (failed)
			answer->retry_ns = now + RETRY_NS;
	}
	answer_waiters(lookup, answer);
}

static void on_answered(void *context, const uint8_t *wire, size_t n)
{
	struct rd_dns_lookup *lookup = context;
	struct rd_dns_lookups *lookups = lookup->lookups;
	struct rd_dns_answer *answer = NULL;

	lookup->pending = NULL;
	if (!wire || make_answer(lookup, wire, n, &answer)) {
		lookups->numbers.failed++;
		give_stale(lookup, true);
	} else {
		answer_waiters(lookup, answer);
		if (answer->expires_ns > answer->made_ns)
			rd_dns_cache_put(lookups->cache, &lookup->question, answer);
		else
			free(answer);
	}
	end_lookup(lookup);
}

static void on_impatient(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	give_stale(context, false);
}

/* What the upstreams are to be asked about. */
static void retarget(const struct rd_dns_question *question, const struct rd_dns_name *target,
		     struct rd_dns_question *ret_question)
{
	*ret_question = *question;
	ret_question->name_length = target->n;
	memcpy(ret_question->key, target->wire, target->n);
	rd_dns_put16(ret_question->key + target->n, question->type);
	rd_dns_put16(ret_question->key + target->n + 2, question->class);
}

/* Begin to ask. Returns 0, or -errno; then @lookup is as it was. */
static int ask(struct rd_dns_lookup *lookup, bool stale)
{
	struct rd_dns_lookups *lookups = lookup->lookups;
	struct timeval patience = {.tv_sec = PATIENCE_US / 1000000,
				   .tv_usec = PATIENCE_US % 1000000};
	struct rd_dns_answer *answer = NULL;
	struct rd_dns_name target = {0};
	uint8_t query[RD_DNS_QUERY_MAX];
	const uint64_t *watched;
	size_t n;
	int r = ask_zone(lookups, &lookup->question, &answer, &lookup->head, &target);

	/* It has become one that the zone answers by itself. */
	free(answer);
	if (r != 1 && r != -ENOENT)
		return r ?: -EAGAIN;
	watched = rd_dns_zone_watch(lookups->zone, &lookup->question);
	lookup->stamp_value = watched ? *watched : 0;
	lookup->target = lookup->question;
	if (lookup->head)
		retarget(&lookup->question, &target, &lookup->target);
	n = rd_dns_query_write(&lookup->target, query);
	r = rd_dns_upstreams_ask(lookups->upstreams, query, n, on_answered, lookup,
				 &lookup->pending);
	if (r)
		return r;
	lookups->numbers.asked++;
	if (stale) {
		lookup->patience = evtimer_new(lookups->base, on_impatient, lookup);
		if (lookup->patience)
			event_add(lookup->patience, &patience);
	}
	return 0;
}

static int begin_lookup(struct rd_dns_lookups *lookups, const struct rd_dns_question *question,
			bool stale, struct rd_dns_lookup **ret_lookup)
{
	struct rd_dns_lookup *lookup = calloc(1, sizeof(*lookup));
	int r;

	if (!lookup)
		return -ENOMEM;
	lookup->lookups = lookups;
	lookup->question = *question;
	r = ask(lookup, stale);
	if (r) {
		free(lookup->head);
		free(lookup);
		return r;
	}
	RB_INSERT(lookup_tree, &lookups->tree, lookup);
	*ret_lookup = lookup;
	return 0;
}

bool rd_dns_wait(struct rd_dns_lookups *lookups, struct rd_dns_waiter *waiter, uint8_t *out,
		 size_t *ret_n)
{
	struct rd_dns_lookup key = {.question = waiter->question};
	struct rd_dns_lookup *lookup = RB_FIND(lookup_tree, &lookups->tree, &key);
	struct rd_dns_answer *answer;
	enum rd_dns_freshness fresh =
		rd_dns_cache_find(lookups->cache, &waiter->question, waiter->arrived_ns, &answer);
	bool full =
		lookups->n_waiting >= MOST_WAITING || *waiting_of(lookups, waiter) >= MOST_OF_ONE;

	/* Others have run out of patience before. */
	if (lookup && lookup->patience && !evtimer_pending(lookup->patience, NULL) && answer)
		full = true;
	if (!full &&
	    (lookup || !begin_lookup(lookups, &waiter->question, fresh == RD_DNS_STALE, &lookup))) {
		waiter->lookup = lookup;
		waiter->next = lookup->waiters;
		lookup->waiters = waiter;
		lookups->n_waiting++;
		++*waiting_of(lookups, waiter);
		return true;
	}
	lookups->numbers.stale += fresh == RD_DNS_STALE;
	*ret_n = answer ? write_answer(lookups, waiter->transport, &waiter->question, answer,
				       waiter->arrived_ns, out)
			: write_code(lookups, waiter->transport, &waiter->question, RD_DNS_SERVFAIL,
				     out);
	return false;
}

/* ---- life -------------------------------------------------------------------------------- */

int rd_dns_lookups_new(struct event_base *base, struct rd_dns_zone *zone,
		       struct rd_dns_upstreams *upstreams, size_t max_bytes,
		       struct rd_dns_lookups **ret_lookups)
{
	struct rd_dns_lookups *lookups = calloc(1, sizeof(*lookups));
	int r;

	if (!lookups)
		return -ENOMEM;
	lookups->base = base;
	lookups->zone = zone;
	lookups->upstreams = upstreams;
	(void)!getrandom(&lookups->chance, sizeof(lookups->chance), GRND_NONBLOCK);
	lookups->chance |= 1;
	r = rd_dns_cache_new(max_bytes, &lookups->cache);
	if (r) {
		free(lookups);
		return r;
	}
	*ret_lookups = lookups;
	return 0;
}

void rd_dns_lookups_free(struct rd_dns_lookups *lookups)
{
	struct rd_dns_lookup *lookup;

	if (!lookups)
		return;
	while ((lookup = RB_ROOT(&lookups->tree))) {
		struct rd_dns_waiter *waiter;

		if (lookup->pending)
			rd_dns_upstreams_cancel(lookup->pending);
		while ((waiter = lookup->waiters)) {
			lookup->waiters = waiter->next;
			leave(lookups, waiter);
			waiter->answered(waiter, NULL, 0);
		}
		end_lookup(lookup);
	}
	rd_dns_cache_free(lookups->cache);
	free(lookups);
}

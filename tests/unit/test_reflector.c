// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reflector.h"
#include "unit/alloc_fail.h"
#include "util.h"

#define SECOND 1000000000ULL
#define QUIET (120 * SECOND)
#define FIRST 800 /* the first delay, without chance */
#define EMPTY_AGAIN 10000

/* The questions. */
#define WATCH "watch=1&allowWatchBookmarks=true&timeoutSeconds=300"
#define INITIAL "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
#define Q_STREAM WATCH INITIAL
#define Q_STREAM_AT_10 WATCH "&resourceVersion=10" INITIAL
#define Q_WATCH_AT_10 WATCH "&resourceVersion=10"
#define Q_LIST "limit=500&resourceVersion=0"
#define Q_PAGE "limit=500&continue=p2"
#define Q_WHOLE "resourceVersion=0"
#define Q_LIST_AT_10 "resourceVersion=10"
#define Q_LATEST "limit=500"
#define Q_LATEST_PAGE "limit=500&continue=p2"
#define Q_LATEST_WHOLE ""

/* ---- one reflector ---------------------------------------------------------------------- */

static struct rd_reflector reflector;
static uint64_t now;
static uint32_t chance;
static enum rd_asking asked;

static int set_up(void **state)
{
	(void)state;
	rd_reflector_init(&reflector, NULL, NULL, false);
	now = 1000 * SECOND;
	chance = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rd_reflector_free(&reflector);
	return 0;
}

static void begin_again(const char *label_selector, const char *field_selector, bool known)
{
	rd_reflector_free(&reflector);
	rd_reflector_init(&reflector, label_selector, field_selector, known);
}

static void expect_query(const char *what, const char *expected)
{
	_rd_free_ char *query = rd_reflector_query(&reflector, 300);

	assert_non_null(query);
	if (strcmp(query, expected))
		fail_msg("%s: \"%s\", not \"%s\"", what, query, expected);
}

/* Send what is next. */
static void ask(void)
{
	rd_reflector_begin(&reflector);
	asked = reflector.next;
}

/* What was asked has ended, long after it began and with events. */
static unsigned end_asked(enum rd_end end, unsigned retry_after)
{
	const struct rd_outcome outcome = {.asked = asked,
					   .end = end,
					   .retry_after = retry_after,
					   .any_event = true,
					   .lasted_ns = 5 * SECOND};

	return rd_reflector_ended(&reflector, &outcome, now, chance);
}

/* Ask, and it ends so. */
static unsigned fail_with(enum rd_end end)
{
	ask();
	return end_asked(end, 0);
}

/* Ask, and have another page. */
static unsigned next_page(const char *token)
{
	char *copy = strdup(token);

	assert_non_null(copy);
	ask();
	rd_reflector_page(&reflector, copy);
	return end_asked(RD_ENDED, 0);
}

/* ---- where it can be -------------------------------------------------------------------- */

static void at_stream(void)
{
	begin_again(NULL, NULL, false);
}

static void at_list(void)
{
	at_stream();
	assert_int_equal(fail_with(RD_NOT_KNOWN), 0);
}

static void at_page(void)
{
	at_list();
	assert_int_equal(next_page("p2"), 0);
}

static void at_whole(void)
{
	at_page();
	assert_int_equal(fail_with(RD_EXPIRED), 0);
}

static void at_watch(void)
{
	at_list();
	ask();
	assert_true(rd_reflector_complete(&reflector, "10", 3));
	assert_int_equal(end_asked(RD_ENDED, 0), 0);
}

static void at_list_again(void)
{
	at_watch();
	assert_int_equal(fail_with(RD_EXPIRED), 0);
}

static void at_latest(void)
{
	at_list_again();
	assert_int_equal(fail_with(RD_EXPIRED), 0);
}

static void at_latest_page(void)
{
	at_latest();
	assert_int_equal(next_page("p2"), 0);
}

static void at_latest_whole(void)
{
	at_latest_page();
	assert_int_equal(fail_with(RD_EXPIRED), 0);
}

/* The watch that a server which knows streams is asked for after one. */
static void at_watch_of_streams(void)
{
	at_stream();
	ask();
	assert_true(rd_reflector_complete(&reflector, "10", 3));
	assert_int_equal(end_asked(RD_ENDED, 0), 0);
}

static void at_stream_again(void)
{
	at_watch_of_streams();
	assert_int_equal(fail_with(RD_EXPIRED), 0);
}

/* A stream that goes on after its initial events: it was asked for as such. */
static void in_stream(void)
{
	at_stream();
	ask();
	assert_true(rd_reflector_complete(&reflector, "10", 3));
}

struct transition {
	void (*from)(void);
	const char *asks;
	enum rd_end end;
	const char *then; /* NULL: not said */
	unsigned delay;
	bool no_event;
	uint64_t lasted_ns; /* 0: 5 s */
};

#define ROW(from_, asks_, end_, then_, delay_, ...)                                                \
	{                                                                                          \
		.from = (from_), .asks = (asks_), .end = (end_), .then = (then_),                  \
		.delay = (delay_), __VA_ARGS__                                                     \
	}

static void expect_transitions(const struct transition *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct transition *row = &rows[i];
		struct rd_outcome outcome = {.end = row->end,
					     .any_event = !row->no_event,
					     .lasted_ns = row->lasted_ns ?: 5 * SECOND};
		char what[64];
		unsigned delay;

		snprintf(what, sizeof(what), "row %zu, end %d", i, row->end);
		row->from();
		if (row->asks) {
			expect_query(what, row->asks);
			ask();
		}
		outcome.asked = asked;
		now += QUIET + SECOND;
		delay = rd_reflector_ended(&reflector, &outcome, now, 0);
		if (delay != row->delay)
			fail_msg("%s: after %u ms, not %u", what, delay, row->delay);
		if (row->then)
			expect_query(what, row->then);
	}
}
#define EXPECT_TRANSITIONS(rows) expect_transitions(rows, RD_ARRAY_SIZE(rows))

/* ---- lists ------------------------------------------------------------------------------ */

TEST(F1_the_first_list_is_of_any_version_in_pages)
{
	at_list();
	expect_query("the first list", Q_LIST);
}

TEST(F1_a_list_again_is_at_the_last_version_without_pages)
{
	at_list_again();
	expect_query("the list again", Q_LIST_AT_10);
	/* As fresh as the last event. */
	at_watch();
	rd_reflector_advance(&reflector, "17");
	assert_int_equal(fail_with(RD_EXPIRED), 0);
	expect_query("the list again", "resourceVersion=17");
}

TEST(F1_F5_F6_only_a_list_itself_leads_to_one_without_version)
{
	static const struct transition rows[] = {
		ROW(at_list, Q_LIST, RD_EXPIRED, Q_LATEST, 0),
		ROW(at_list, Q_LIST, RD_TOO_LARGE, Q_LATEST, 0),
		ROW(at_list_again, Q_LIST_AT_10, RD_EXPIRED, Q_LATEST, 0),
		ROW(at_list_again, Q_LIST_AT_10, RD_TOO_LARGE, Q_LATEST, 0),
		ROW(at_page, Q_PAGE, RD_TOO_LARGE, Q_LATEST, 0),
		ROW(at_whole, Q_WHOLE, RD_EXPIRED, Q_LATEST, 0),
		ROW(at_whole, Q_WHOLE, RD_TOO_LARGE, Q_LATEST, 0),
		/* A watch does not skip the last version. */
		ROW(at_watch, Q_WATCH_AT_10, RD_EXPIRED, Q_LIST_AT_10, 0),
		ROW(at_watch, Q_WATCH_AT_10, RD_TOO_LARGE, Q_LIST_AT_10, FIRST),
		ROW(at_watch_of_streams, Q_WATCH_AT_10, RD_EXPIRED, Q_STREAM_AT_10, 0),
		ROW(at_watch_of_streams, Q_WATCH_AT_10, RD_TOO_LARGE, Q_STREAM_AT_10, FIRST),
		/* Without a version there is nothing left to leave out. */
		ROW(at_latest, Q_LATEST, RD_EXPIRED, NULL, FIRST),
		ROW(at_latest, Q_LATEST, RD_TOO_LARGE, NULL, FIRST),
		ROW(at_latest_whole, Q_LATEST_WHOLE, RD_EXPIRED, NULL, FIRST),
	};

	EXPECT_TRANSITIONS(rows);
}

TEST(F7_a_list_that_fails_otherwise_is_asked_for_again_later_from_its_begin)
{
	static const struct transition rows[] = {
		ROW(at_list, Q_LIST, RD_TOO_MANY, Q_LIST, FIRST),
		ROW(at_list, Q_LIST, RD_UNAUTHORIZED, Q_LIST, FIRST),
		ROW(at_list, Q_LIST, RD_UNREACHABLE, Q_LIST, FIRST),
		ROW(at_list, Q_LIST, RD_BROKEN, Q_LIST, FIRST),
		ROW(at_list, Q_LIST, RD_NOT_KNOWN, Q_LIST, FIRST),
		ROW(at_list, Q_LIST, RD_INVALID, Q_LIST, FIRST),
		ROW(at_page, Q_PAGE, RD_TOO_MANY, Q_LIST, FIRST),
		ROW(at_page, Q_PAGE, RD_UNAUTHORIZED, Q_LIST, FIRST),
		ROW(at_page, Q_PAGE, RD_UNREACHABLE, Q_LIST, FIRST),
		ROW(at_page, Q_PAGE, RD_BROKEN, Q_LIST, FIRST),
		ROW(at_page, Q_PAGE, RD_INVALID, Q_LIST, FIRST),
		ROW(at_whole, Q_WHOLE, RD_BROKEN, Q_LIST, FIRST),
		ROW(at_list_again, Q_LIST_AT_10, RD_TOO_MANY, Q_LIST_AT_10, FIRST),
		ROW(at_list_again, Q_LIST_AT_10, RD_UNAUTHORIZED, Q_LIST_AT_10, FIRST),
		ROW(at_list_again, Q_LIST_AT_10, RD_UNREACHABLE, Q_LIST_AT_10, FIRST),
		ROW(at_list_again, Q_LIST_AT_10, RD_BROKEN, Q_LIST_AT_10, FIRST),
		ROW(at_list_again, Q_LIST_AT_10, RD_NOT_KNOWN, Q_LIST_AT_10, FIRST),
		ROW(at_list_again, Q_LIST_AT_10, RD_INVALID, Q_LIST_AT_10, FIRST),
		ROW(at_latest, Q_LATEST, RD_UNREACHABLE, NULL, FIRST),
		ROW(at_latest, Q_LATEST, RD_INVALID, NULL, FIRST),
		ROW(at_latest_page, Q_LATEST_PAGE, RD_BROKEN, NULL, FIRST),
	};

	EXPECT_TRANSITIONS(rows);
}

TEST(F2_a_page_is_the_same_question_without_the_version)
{
	at_page();
	expect_query("the second page", Q_PAGE);
	assert_int_equal(next_page("p3"), 0);
	expect_query("the third page", "limit=500&continue=p3");
	at_latest_page();
	expect_query("the second page of the latest list", Q_LATEST_PAGE);
	begin_again("!a", "b=c", false);
	fail_with(RD_NOT_KNOWN);
	next_page("p2");
	expect_query("the second page",
		     "limit=500&continue=p2&labelSelector=%21a&fieldSelector=b%3Dc");
	ask();
	assert_true(rd_reflector_complete(&reflector, "10", 1));
	assert_int_equal(end_asked(RD_ENDED, 0), 0);
	expect_query("the watch", Q_WATCH_AT_10 "&labelSelector=%21a&fieldSelector=b%3Dc");
}

TEST(F2_a_token_that_has_expired_leads_to_the_whole_list_at_the_first_version)
{
	static const struct transition rows[] = {
		ROW(at_page, Q_PAGE, RD_EXPIRED, Q_WHOLE, 0),
		ROW(at_page, Q_PAGE, RD_NOT_KNOWN, Q_WHOLE, 0),
		ROW(at_latest_page, Q_LATEST_PAGE, RD_EXPIRED, Q_LATEST_WHOLE, 0),
		ROW(at_latest_page, Q_LATEST_PAGE, RD_NOT_KNOWN, Q_LATEST_WHOLE, 0),
	};

	EXPECT_TRANSITIONS(rows);
	/* The next list is in pages again. */
	at_whole();
	ask();
	assert_true(rd_reflector_complete(&reflector, "10", 1));
	end_asked(RD_ENDED, 0);
	fail_with(RD_EXPIRED);
	fail_with(RD_EXPIRED);
	expect_query("the latest list", Q_LATEST);
}

TEST(F3_a_list_is_followed_by_a_watch_from_its_version)
{
	at_list();
	ask();
	assert_true(rd_reflector_complete(&reflector, "10", 3));
	assert_int_equal(end_asked(RD_ENDED, 0), 0);
	assert_int_equal(reflector.next, RD_WATCH);
	expect_query("the watch", Q_WATCH_AT_10);
	/* Of the last page. */
	at_page();
	ask();
	assert_true(rd_reflector_complete(&reflector, "12", 3));
	assert_int_equal(end_asked(RD_ENDED, 0), 0);
	expect_query("the watch", WATCH "&resourceVersion=12");
	at_latest();
	ask();
	assert_true(rd_reflector_complete(&reflector, "9", 3));
	assert_int_equal(end_asked(RD_ENDED, 0), 0);
	expect_query("the watch", WATCH "&resourceVersion=9");
}

TEST(F3_the_server_is_told_when_to_end_a_watch)
{
	_rd_free_ char *short_watch = NULL, *long_watch = NULL;

	at_watch();
	short_watch = rd_reflector_query(&reflector, 0);
	long_watch = rd_reflector_query(&reflector, UINT32_MAX);
	assert_non_null(strstr(short_watch, "&timeoutSeconds=0&"));
	assert_non_null(strstr(long_watch, "&timeoutSeconds=4294967295&"));
}

/* ---- watches ----------------------------------------------------------------------------- */

TEST(F4_the_version_advances_in_a_watch_and_not_before_it)
{
	begin_again(NULL, NULL, false);
	ask();
	rd_reflector_advance(&reflector, "5");
	expect_query("in a stream", Q_STREAM);
	at_list();
	rd_reflector_advance(&reflector, "5");
	expect_query("in a list", Q_LIST);
	at_watch();
	rd_reflector_advance(&reflector, "a/b");
	expect_query("in a watch", WATCH "&resourceVersion=a%2Fb");
	rd_reflector_advance(&reflector, "9");
	expect_query("in a watch", WATCH "&resourceVersion=9");
	at_list_again();
	rd_reflector_advance(&reflector, "11");
	expect_query("in a list again", Q_LIST_AT_10);
	at_stream_again();
	rd_reflector_advance(&reflector, "11");
	expect_query("in a stream again", Q_STREAM_AT_10);
}

TEST(F8_a_watch_that_ends_is_continued_from_its_last_version)
{
	static const struct transition rows[] = {
		ROW(at_watch, Q_WATCH_AT_10, RD_ENDED, Q_WATCH_AT_10, 0),
		ROW(at_watch, Q_WATCH_AT_10, RD_BROKEN, Q_WATCH_AT_10, 0),
		ROW(at_watch, Q_WATCH_AT_10, RD_ENDED, Q_WATCH_AT_10, 0, .lasted_ns = 1),
		ROW(at_watch, Q_WATCH_AT_10, RD_BROKEN, Q_WATCH_AT_10, 0, .lasted_ns = 1),
		ROW(at_watch, Q_WATCH_AT_10, RD_ENDED, Q_WATCH_AT_10, 0, .no_event = true,
		    .lasted_ns = SECOND),
		ROW(at_watch, Q_WATCH_AT_10, RD_BROKEN, Q_WATCH_AT_10, 0, .no_event = true,
		    .lasted_ns = SECOND),
		ROW(in_stream, NULL, RD_ENDED, Q_WATCH_AT_10, 0),
		ROW(in_stream, NULL, RD_BROKEN, Q_WATCH_AT_10, 0),
	};

	EXPECT_TRANSITIONS(rows);
}

TEST(F8_a_very_short_watch_without_an_event_is_a_failure)
{
	static const struct transition rows[] = {
		ROW(at_watch, Q_WATCH_AT_10, RD_ENDED, Q_LIST_AT_10, FIRST, .no_event = true,
		    .lasted_ns = 1),
		ROW(at_watch, Q_WATCH_AT_10, RD_ENDED, Q_LIST_AT_10, FIRST, .no_event = true,
		    .lasted_ns = SECOND - 1),
		ROW(at_watch_of_streams, Q_WATCH_AT_10, RD_ENDED, Q_STREAM_AT_10, FIRST,
		    .no_event = true, .lasted_ns = 1),
		/* What broke off is asked for again, later. */
		ROW(at_watch, Q_WATCH_AT_10, RD_BROKEN, Q_WATCH_AT_10, FIRST, .no_event = true,
		    .lasted_ns = 1),
	};

	EXPECT_TRANSITIONS(rows);
}

TEST(F5_a_version_that_expired_leads_to_a_list_at_once_unless_the_watch_was_very_short)
{
	static const struct transition rows[] = {
		ROW(at_watch, Q_WATCH_AT_10, RD_EXPIRED, Q_LIST_AT_10, 0),
		ROW(at_watch, Q_WATCH_AT_10, RD_EXPIRED, Q_LIST_AT_10, 0, .lasted_ns = 1),
		ROW(at_watch, Q_WATCH_AT_10, RD_EXPIRED, Q_LIST_AT_10, 0, .no_event = true),
		ROW(at_watch, Q_WATCH_AT_10, RD_EXPIRED, Q_LIST_AT_10, FIRST, .no_event = true,
		    .lasted_ns = 1),
		ROW(in_stream, NULL, RD_EXPIRED, Q_STREAM_AT_10, 0),
	};

	EXPECT_TRANSITIONS(rows);
}

TEST(F7_a_server_that_is_busy_or_down_is_asked_for_the_same_watch_again)
{
	static const struct transition rows[] = {
		ROW(at_watch, Q_WATCH_AT_10, RD_TOO_MANY, Q_WATCH_AT_10, FIRST),
		ROW(at_watch, Q_WATCH_AT_10, RD_UNREACHABLE, Q_WATCH_AT_10, FIRST),
		ROW(at_watch, Q_WATCH_AT_10, RD_UNAUTHORIZED, Q_WATCH_AT_10, FIRST),
		ROW(in_stream, NULL, RD_TOO_MANY, Q_WATCH_AT_10, FIRST),
		ROW(at_watch, Q_WATCH_AT_10, RD_TOO_MANY, Q_WATCH_AT_10, FIRST, .no_event = true,
		    .lasted_ns = 1),
	};

	EXPECT_TRANSITIONS(rows);
}

TEST(F7_F8_any_other_failure_of_a_watch_leads_to_a_list_later)
{
	static const struct transition rows[] = {
		ROW(at_watch, Q_WATCH_AT_10, RD_INVALID, Q_LIST_AT_10, FIRST),
		ROW(at_watch, Q_WATCH_AT_10, RD_NOT_KNOWN, Q_LIST_AT_10, FIRST),
		ROW(at_watch_of_streams, Q_WATCH_AT_10, RD_INVALID, Q_STREAM_AT_10, FIRST),
		ROW(in_stream, NULL, RD_INVALID, Q_STREAM_AT_10, FIRST),
	};

	EXPECT_TRANSITIONS(rows);
}

/* ---- streams ------------------------------------------------------------------------------ */

TEST(F10_a_stream_is_asked_for_first_and_becomes_the_watch)
{
	expect_query("the stream", Q_STREAM);
	ask();
	assert_int_equal(asked, RD_STREAM);
	assert_false(reflector.synced);
	assert_true(rd_reflector_complete(&reflector, "10", 3));
	assert_true(reflector.synced);
	/* From here on it is a watch. */
	assert_int_equal(reflector.next, RD_WATCH);
	rd_reflector_advance(&reflector, "11");
	assert_int_equal(end_asked(RD_ENDED, 0), 0);
	expect_query("the watch", WATCH "&resourceVersion=11");
}

TEST(F10_a_stream_that_does_not_come_to_its_end_falls_back_to_a_list)
{
	static const struct transition rows[] = {
		ROW(at_stream, Q_STREAM, RD_NOT_KNOWN, Q_LIST, 0),
		ROW(at_stream, Q_STREAM, RD_EXPIRED, Q_LIST, 0),
		ROW(at_stream, Q_STREAM, RD_TOO_LARGE, Q_LIST, 0),
		ROW(at_stream, Q_STREAM, RD_ENDED, Q_LIST, FIRST),
		ROW(at_stream, Q_STREAM, RD_BROKEN, Q_LIST, FIRST),
		ROW(at_stream, Q_STREAM, RD_INVALID, Q_LIST, FIRST),
		ROW(at_stream_again, Q_STREAM_AT_10, RD_NOT_KNOWN, Q_LIST_AT_10, 0),
		ROW(at_stream_again, Q_STREAM_AT_10, RD_EXPIRED, Q_LIST_AT_10, 0),
		ROW(at_stream_again, Q_STREAM_AT_10, RD_TOO_LARGE, Q_LIST_AT_10, 0),
		ROW(at_stream_again, Q_STREAM_AT_10, RD_BROKEN, Q_LIST_AT_10, FIRST),
		/* It did not answer at all: that says nothing of streams. */
		ROW(at_stream, Q_STREAM, RD_TOO_MANY, Q_STREAM, FIRST),
		ROW(at_stream, Q_STREAM, RD_UNREACHABLE, Q_STREAM, FIRST),
		ROW(at_stream, Q_STREAM, RD_UNAUTHORIZED, Q_STREAM, FIRST),
		ROW(at_stream_again, Q_STREAM_AT_10, RD_UNREACHABLE, Q_STREAM_AT_10, FIRST),
	};

	EXPECT_TRANSITIONS(rows);
}

TEST(F10_a_server_that_does_not_know_streams_is_not_asked_for_one_again)
{
	at_watch();
	fail_with(RD_EXPIRED);
	expect_query("after not knowing it", Q_LIST_AT_10);
	/* One that broke off is. */
	at_stream();
	fail_with(RD_BROKEN);
	ask();
	assert_true(rd_reflector_complete(&reflector, "10", 3));
	end_asked(RD_ENDED, 0);
	fail_with(RD_EXPIRED);
	expect_query("after one that broke off", Q_STREAM_AT_10);
}

/* ---- delays -------------------------------------------------------------------------------- */

TEST(F9_delays_double_up_to_30_seconds)
{
	static const unsigned delays[] = {800,	 1600,	3200,  6400,  12800,
					  25600, 30000, 30000, 30000, 30000};

	for (size_t i = 0; i < RD_ARRAY_SIZE(delays); i++) {
		assert_int_equal(fail_with(RD_UNREACHABLE), delays[i]);
		now += delays[i] * 1000000ULL;
	}
}

TEST(F9_chance_makes_a_delay_up_to_twice_as_long)
{
	unsigned backoff = FIRST;
	bool least = false, most = false;

	for (uint32_t number = 0; number < 2000; number++) {
		unsigned delay;

		at_stream();
		chance = number;
		delay = fail_with(RD_UNREACHABLE);
		assert_in_range(delay, backoff, 2 * backoff);
		least |= delay == backoff;
		most |= delay == 2 * backoff;
	}
	assert_true(least && most);
	chance = UINT32_MAX;
	at_stream();
	for (unsigned i = 0; i < 20; i++) {
		assert_in_range(fail_with(RD_UNREACHABLE), backoff, 2 * backoff);
		backoff = 2 * backoff > 30000 ? 30000 : 2 * backoff;
	}
	chance = 30000;
	assert_int_equal(fail_with(RD_UNREACHABLE), 60000);
}

TEST(F9_delays_begin_anew_after_two_quiet_minutes_and_not_with_a_success)
{
	assert_int_equal(fail_with(RD_UNREACHABLE), 800);
	assert_int_equal(fail_with(RD_UNREACHABLE), 1600);
	now += QUIET;
	assert_int_equal(fail_with(RD_UNREACHABLE), 3200);
	now += QUIET + 1;
	assert_int_equal(fail_with(RD_UNREACHABLE), 800);
	ask();
	assert_true(rd_reflector_complete(&reflector, "10", 3));
	assert_int_equal(end_asked(RD_ENDED, 0), 0);
	assert_int_equal(fail_with(RD_ENDED), 0);
	assert_int_equal(fail_with(RD_UNREACHABLE), 1600);
	now += QUIET + 1;
	assert_int_equal(fail_with(RD_UNREACHABLE), 800);
}

TEST(F9_what_the_server_asks_for_is_done_ten_times_in_a_row)
{
	static const struct {
		void (*from)(void);
		const char *asks;
	} rows[] = {
		{at_stream, Q_STREAM},
		{at_list, Q_LIST},
		{at_page, Q_PAGE},
		{at_whole, Q_WHOLE},
		{at_list_again, Q_LIST_AT_10},
		{at_latest, Q_LATEST},
		{at_watch, Q_WATCH_AT_10},
	};
	static const enum rd_end ends[] = {RD_TOO_MANY, RD_INVALID};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows) * RD_ARRAY_SIZE(ends); i++) {
		enum rd_end end = ends[i % 2];

		rows[i / 2].from();
		for (unsigned try = 1; try <= 10; try++) {
			ask();
			assert_int_equal(end_asked(end, try), 1000 * try);
			/* The same again. */
			expect_query("after Retry-After", rows[i / 2].asks);
		}
		now += QUIET + 1;
		ask();
		assert_int_equal(end_asked(end, 7), FIRST);
		/* Of the next question it is done again. */
		ask();
		assert_int_equal(end_asked(end, 7), 7000);
	}
}

TEST(F9_what_is_answered_in_between_begins_the_count_anew)
{
	at_watch();
	for (unsigned i = 0; i < 50; i++) {
		ask();
		assert_int_equal(end_asked(RD_TOO_MANY, 2), 2000);
		if (i % 10 == 9)
			assert_int_equal(fail_with(RD_ENDED), 0);
	}
}

TEST(F9_no_server_has_us_wait_for_more_than_five_minutes)
{
	at_watch();
	ask();
	assert_int_equal(end_asked(RD_TOO_MANY, 300), 300000);
	ask();
	assert_int_equal(end_asked(RD_TOO_MANY, 301), 300000);
	ask();
	assert_int_equal(end_asked(RD_INVALID, UINT32_MAX), 300000);
}

TEST(F6_a_version_that_is_not_there_or_gone_is_not_waited_for)
{
	at_list_again();
	ask();
	assert_int_equal(end_asked(RD_TOO_LARGE, 1), 0);
	expect_query("the latest list", Q_LATEST);
	at_list_again();
	ask();
	assert_int_equal(end_asked(RD_EXPIRED, 1), 0);
	expect_query("the latest list", Q_LATEST);
}

/* ---- nothing --------------------------------------------------------------------------------- */

/* Ask, and hear that there is nothing. */
static unsigned hear_nothing(bool believed)
{
	ask();
	assert_int_equal(rd_reflector_complete(&reflector, "20", 0), believed);
	return end_asked(RD_ENDED, 0);
}

TEST(F11_nothing_where_something_was_is_believed_the_third_time)
{
	begin_again(NULL, NULL, true);
	assert_int_equal(hear_nothing(false), EMPTY_AGAIN);
	assert_false(reflector.synced);
	expect_query("the second time", Q_LATEST);
	assert_int_equal(hear_nothing(false), EMPTY_AGAIN);
	expect_query("the third time", Q_LATEST);
	assert_int_equal(hear_nothing(true), 0);
	expect_query("after it", WATCH "&resourceVersion=20");
	/* Then nothing is what is known. */
	fail_with(RD_EXPIRED);
	assert_int_equal(hear_nothing(true), 0);
}

TEST(F11_nothing_is_believed_where_nothing_was_known)
{
	begin_again(NULL, NULL, false);
	assert_int_equal(hear_nothing(true), 0);
	assert_int_equal(reflector.next, RD_WATCH);
	at_list();
	assert_int_equal(hear_nothing(true), 0);
	assert_int_equal(reflector.next, RD_WATCH);
}

TEST(F11_nothing_after_a_list_of_something_is_not_believed_at_once)
{
	at_list_again();
	assert_int_equal(hear_nothing(false), EMPTY_AGAIN);
	expect_query("the second time", Q_LATEST);
	/* It was a mistake. */
	ask();
	assert_true(rd_reflector_complete(&reflector, "21", 1));
	assert_int_equal(end_asked(RD_ENDED, 0), 0);
	expect_query("after it", WATCH "&resourceVersion=21");
	/* The next one is the first again. */
	fail_with(RD_EXPIRED);
	assert_int_equal(hear_nothing(false), EMPTY_AGAIN);
	assert_int_equal(hear_nothing(false), EMPTY_AGAIN);
	assert_int_equal(hear_nothing(true), 0);
}

TEST(F11_what_fails_in_between_says_nothing_for_nor_against)
{
	begin_again(NULL, NULL, true);
	hear_nothing(false);
	assert_int_equal(fail_with(RD_UNREACHABLE), FIRST);
	expect_query("the second time", Q_LATEST);
	assert_int_equal(fail_with(RD_BROKEN), 2 * FIRST);
	expect_query("the second time", Q_LATEST);
	assert_int_equal(hear_nothing(false), EMPTY_AGAIN);
	assert_int_equal(fail_with(RD_INVALID), 4 * FIRST);
	expect_query("the third time", Q_LATEST);
	assert_int_equal(hear_nothing(true), 0);
}

TEST(F11_pages_of_the_list_after_a_doubtful_one_follow_at_once)
{
	begin_again(NULL, NULL, true);
	hear_nothing(false);
	assert_int_equal(next_page("p2"), 0);
	expect_query("the second page", Q_LATEST_PAGE);
	assert_int_equal(next_page("p3"), 0);
	ask();
	assert_true(rd_reflector_complete(&reflector, "20", 1));
	assert_int_equal(end_asked(RD_ENDED, 0), 0);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

TEST(F11_each_list_or_stream_is_a_round_but_no_page_and_no_watch)
{
	uint32_t round = reflector.round;

	ask();
	assert_int_equal(reflector.round, round + 1);
	end_asked(RD_NOT_KNOWN, 0);
	ask();
	assert_int_equal(reflector.round, round + 2);
	end_asked(RD_BROKEN, 0);
	next_page("p2");
	assert_int_equal(reflector.round, round + 3);
	next_page("p3");
	assert_int_equal(reflector.round, round + 3);
	/* The whole list instead of its pages. */
	fail_with(RD_EXPIRED);
	assert_int_equal(reflector.round, round + 3);
	ask();
	assert_int_equal(reflector.round, round + 4);
	assert_true(rd_reflector_complete(&reflector, "10", 1));
	end_asked(RD_ENDED, 0);
	fail_with(RD_ENDED);
	fail_with(RD_EXPIRED);
	assert_int_equal(reflector.round, round + 4);
	ask();
	assert_int_equal(reflector.round, round + 5);
}

TEST(a_restart_asks_everything_anew_with_other_selectors)
{
	begin_again("a", "metadata.name=n1", true);
	ask();
	assert_true(rd_reflector_complete(&reflector, "10", 1));
	rd_reflector_restart(&reflector, NULL);
	expect_query("after a stream", Q_STREAM_AT_10 "&labelSelector=a");
	begin_again(NULL, "metadata.name=n1", true);
	fail_with(RD_NOT_KNOWN);
	next_page("p2");
	rd_reflector_restart(&reflector, NULL);
	expect_query("after a page", Q_LIST);
	rd_reflector_restart(&reflector, "b");
	expect_query("after that", Q_LIST "&fieldSelector=b");
}

TEST(F11_a_restart_while_nothing_is_doubted_goes_on_doubting)
{
	begin_again(NULL, "a", true);
	hear_nothing(false);
	rd_reflector_restart(&reflector, NULL);
	expect_query("the second time", Q_LATEST);
	assert_int_equal(hear_nothing(false), EMPTY_AGAIN);
	assert_int_equal(hear_nothing(true), 0);
	rd_reflector_restart(&reflector, NULL);
	expect_query("after it", WATCH "&resourceVersion=20" INITIAL);
}

TEST(F11_a_field_selector_refused_while_nothing_is_doubted_goes_on_doubting)
{
	begin_again(NULL, "b", true);
	hear_nothing(false);
	assert_int_equal(fail_with(RD_NOT_KNOWN), 0);
	expect_query("the second time", Q_LATEST);
	assert_int_equal(hear_nothing(false), EMPTY_AGAIN);
	assert_int_equal(hear_nothing(true), 0);
}

/* ---- selectors ----------------------------------------------------------------------------------
 */

TEST(F19_selectors_are_a_part_of_every_question_and_escaped)
{
#define SELECTORS                                                                                  \
	"&labelSelector=%21service.kubernetes.io%2Fservice-proxy-name"                             \
	"&fieldSelector=spec.clusterIP%21%3DNone"
	begin_again("!service.kubernetes.io/service-proxy-name", "spec.clusterIP!=None", false);
	expect_query("the stream", Q_STREAM SELECTORS);
	fail_with(RD_NOT_KNOWN);
	expect_query("the list", Q_LIST SELECTORS);
	next_page("p2");
	expect_query("a page", Q_PAGE SELECTORS);
	ask();
	assert_true(rd_reflector_complete(&reflector, "10", 1));
	end_asked(RD_ENDED, 0);
	expect_query("the watch", Q_WATCH_AT_10 SELECTORS);
	fail_with(RD_EXPIRED);
	expect_query("the list again", Q_LIST_AT_10 SELECTORS);
}

TEST(F19_a_field_selector_that_a_list_refuses_is_left_out)
{
	begin_again("a", "b", false);
	assert_int_equal(fail_with(RD_NOT_KNOWN), 0);
	expect_query("the list", Q_LIST "&labelSelector=a&fieldSelector=b");
	assert_int_equal(fail_with(RD_NOT_KNOWN), 0);
	expect_query("without", Q_LIST "&labelSelector=a");
	assert_int_equal(fail_with(RD_NOT_KNOWN), FIRST);
	expect_query("again", Q_LIST "&labelSelector=a");
	ask();
	assert_true(rd_reflector_complete(&reflector, "10", 1));
	end_asked(RD_ENDED, 0);
	expect_query("the watch", Q_WATCH_AT_10 "&labelSelector=a");
}

TEST(every_byte_of_a_value_is_escaped_as_rfc_3986_has_it)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (unsigned byte = 1; byte < 256; byte++) {
		const char value[] = {'x', (char)byte, 'y', '\0'};
		char expected[200];

		begin_again(value, NULL, false);
		fail_with(RD_NOT_KNOWN);
		if (strchr(plain, (int)byte))
			snprintf(expected, sizeof(expected), Q_LIST "&labelSelector=%s", value);
		else
			snprintf(expected, sizeof(expected), Q_LIST "&labelSelector=x%%%02Xy",
				 byte);
		expect_query("a selector", expected);
	}
	begin_again(NULL, NULL, false);
	fail_with(RD_NOT_KNOWN);
	next_page("a+b/c==&limit=1#é");
	expect_query("a token", "limit=500&continue=a%2Bb%2Fc%3D%3D%26limit%3D1%23%C3%A9");
}

TEST(a_token_of_many_bytes_is_taken_whole)
{
	static char token[5001], expected[6000];

	memset(token, 't', sizeof(token) - 1);
	snprintf(expected, sizeof(expected), "limit=500&continue=%s", token);
	at_list();
	next_page(token);
	expect_query("a long token", expected);
}

TEST(out_of_memory_is_no_question)
{
	begin_again("!service.kubernetes.io/service-proxy-name", "spec.clusterIP!=None", false);
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		_rd_free_ char *query = rd_reflector_query(&reflector, 300);

		if (!alloc_fail_end()) {
			assert_non_null(query);
			assert_true(n > 1);
			break;
		}
		assert_null(query);
	}
}

/* ---- whatever happens
 * ------------------------------------------------------------------------------ */

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	/* xorshift64, of Marsaglia. */
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32) % n;
}

/* What is true of every question. */
static void check_query(void)
{
	_rd_free_ char *query = rd_reflector_query(&reflector, 300);
	bool watch = reflector.next != RD_LIST;

	assert_non_null(query);
	assert_int_equal(strstr(query, "watch=1") != NULL, watch);
	assert_int_equal(strstr(query, "sendInitialEvents=true") != NULL,
			 reflector.next == RD_STREAM);
	/* resourceVersionMatch is refused without, and both or neither of these. */
	assert_int_equal(strstr(query, "resourceVersionMatch=") != NULL,
			 reflector.next == RD_STREAM);
	assert_int_equal(strstr(query, "timeoutSeconds=300") != NULL, watch);
	assert_non_null(strstr(query, "labelSelector=a"));
	if (strstr(query, "continue="))
		assert_null(strstr(query, "resourceVersion="));
	if (reflector.next == RD_WATCH)
		assert_non_null(strstr(query, "resourceVersion="));
	if (strstr(query, "resourceVersion=0"))
		assert_string_equal(reflector.version, "");
	assert_true(!strstr(query, "limit=") || !watch);
	/* What is doubted is asked of the latest version. */
	if (reflector.empties)
		assert_true(!watch && !strstr(query, "resourceVersion="));
}

/* An answer comes to the end of what there is, or to the end of a page. */
static void answer(uint32_t *version)
{
	const char *former = reflector.next == RD_WATCH ? NULL : reflector.version;
	char text[RD_VERSION_MAX], before[RD_VERSION_MAX];
	size_t n = random_below(3);

	snprintf(before, sizeof(before), "%s", reflector.version);
	snprintf(text, sizeof(text), "%u", ++*version);
	if (!former) {
		rd_reflector_advance(&reflector, text);
		assert_string_equal(reflector.version, text);
		return;
	}
	rd_reflector_advance(&reflector, text);
	assert_string_equal(reflector.version, before);
	if (asked == RD_LIST && random_below(3) == 0) {
		rd_reflector_page(&reflector, strdup(text));
		return;
	}
	if (!rd_reflector_complete(&reflector, text, n)) {
		/* Not believed: nothing, where there was something. */
		assert_int_equal(n, 0);
		assert_int_equal(reflector.next, RD_LIST);
		assert_string_equal(reflector.version, before);
		return;
	}
	assert_int_equal(reflector.next, RD_WATCH);
	assert_string_equal(reflector.version, text);
	assert_int_equal(reflector.known, n > 0);
}

/* How it ends: as it may, after such an answer. */
static struct rd_outcome random_outcome(bool answered)
{
	struct rd_outcome outcome = {
		.asked = asked,
		.end = answered && random_below(4) ? RD_ENDED
						   : (enum rd_end)random_below(RD_INVALID + 1),
		.any_event = answered || random_below(2),
		.lasted_ns = random_below(4) * (SECOND / 2),
	};

	/* A list that is complete has its head. */
	if (outcome.end == RD_ENDED && asked == RD_LIST && !answered)
		outcome.end = RD_BROKEN;
	if ((outcome.end == RD_TOO_MANY || outcome.end == RD_INVALID) && random_below(2))
		outcome.retry_after = random_below(600);
	return outcome;
}

static void walk(uint64_t seed)
{
	uint32_t version = 0, round, at_once = 0;

	random_state = seed;
	begin_again("a", random_below(2) ? "b" : NULL, random_below(2));
	for (unsigned step = 0; step < 2000; step++) {
		struct rd_outcome outcome;
		bool answered = random_below(2),
		     begins = reflector.next != RD_WATCH && !reflector.page;
		bool known = reflector.known;
		unsigned delay;

		check_query();
		round = reflector.round;
		ask();
		assert_int_equal(reflector.round, round + begins);
		if (answered)
			answer(&version);
		known |= reflector.known;
		outcome = random_outcome(answered);
		delay = rd_reflector_ended(&reflector, &outcome, now, random_below(UINT32_MAX));
		/* Only an answer makes less known, and nothing but begin a round. */
		assert_true(answered || reflector.known == known);
		assert_int_equal(reflector.round, round + begins);
		assert_true(delay <= 60000 || (outcome.retry_after && delay <= 300000));
		/* What says nothing is not asked for without a pause for long. */
		at_once = delay || answered
				  ? 0
				  : at_once + !outcome.any_event * (outcome.lasted_ns < SECOND);
		assert_in_range(at_once, 0, 6);
		now += delay * 1000000ULL + outcome.lasted_ns;
		if (!random_below(200))
			rd_reflector_restart(&reflector, random_below(2) ? "c" : NULL);
	}
}

TEST(F1_to_F11_whatever_a_server_does_the_questions_make_sense)
{
	for (uint64_t seed = 1; seed <= 300; seed++)
		walk(seed * 0x9e3779b97f4a7c15ULL);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(F1_the_first_list_is_of_any_version_in_pages),
		T(F1_a_list_again_is_at_the_last_version_without_pages),
		T(F1_F5_F6_only_a_list_itself_leads_to_one_without_version),
		T(F7_a_list_that_fails_otherwise_is_asked_for_again_later_from_its_begin),
		T(F2_a_page_is_the_same_question_without_the_version),
		T(F2_a_token_that_has_expired_leads_to_the_whole_list_at_the_first_version),
		T(F3_a_list_is_followed_by_a_watch_from_its_version),
		T(F3_the_server_is_told_when_to_end_a_watch),
		T(F4_the_version_advances_in_a_watch_and_not_before_it),
		T(F8_a_watch_that_ends_is_continued_from_its_last_version),
		T(F8_a_very_short_watch_without_an_event_is_a_failure),
		T(F5_a_version_that_expired_leads_to_a_list_at_once_unless_the_watch_was_very_short),
		T(F7_a_server_that_is_busy_or_down_is_asked_for_the_same_watch_again),
		T(F7_F8_any_other_failure_of_a_watch_leads_to_a_list_later),
		T(F10_a_stream_is_asked_for_first_and_becomes_the_watch),
		T(F10_a_stream_that_does_not_come_to_its_end_falls_back_to_a_list),
		T(F10_a_server_that_does_not_know_streams_is_not_asked_for_one_again),
		T(F9_delays_double_up_to_30_seconds),
		T(F9_chance_makes_a_delay_up_to_twice_as_long),
		T(F9_delays_begin_anew_after_two_quiet_minutes_and_not_with_a_success),
		T(F9_what_the_server_asks_for_is_done_ten_times_in_a_row),
		T(F9_what_is_answered_in_between_begins_the_count_anew),
		T(F9_no_server_has_us_wait_for_more_than_five_minutes),
		T(F6_a_version_that_is_not_there_or_gone_is_not_waited_for),
		T(F11_nothing_where_something_was_is_believed_the_third_time),
		T(F11_nothing_is_believed_where_nothing_was_known),
		T(F11_nothing_after_a_list_of_something_is_not_believed_at_once),
		T(F11_what_fails_in_between_says_nothing_for_nor_against),
		T(F11_pages_of_the_list_after_a_doubtful_one_follow_at_once),
		T(F11_each_list_or_stream_is_a_round_but_no_page_and_no_watch),
		T(a_restart_asks_everything_anew_with_other_selectors),
		T(F11_a_restart_while_nothing_is_doubted_goes_on_doubting),
		T(F11_a_field_selector_refused_while_nothing_is_doubted_goes_on_doubting),
		T(F19_selectors_are_a_part_of_every_question_and_escaped),
		T(F19_a_field_selector_that_a_list_refuses_is_left_out),
		T(every_byte_of_a_value_is_escaped_as_rfc_3986_has_it),
		T(a_token_of_many_bytes_is_taken_whole),
		T(out_of_memory_is_no_question),
		T(F1_to_F11_whatever_a_server_does_the_questions_make_sense),
	};

	return cmocka_run_group_tests_name("reflector", tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "log.h"
#include "repeat.h"

#define SECOND 1000000000ULL
#define BEGIN (1000 * SECOND)

static struct rd_repeats repeats;

static int empty(void **fixture)
{
	(void)fixture;
	memset(&repeats, 0, sizeof(repeats));
	return 0;
}

/* Say the same `times` times; returns how often it was written. */
static unsigned say(uint64_t hash, uint64_t now, unsigned times, struct rd_repeat *ret_ended)
{
	struct rd_repeat line = {.hash = hash, .event = "event"};
	unsigned written = 0;

	while (times--)
		written += rd_repeats_admit(&repeats, &line, now, ret_ended);
	return written;
}

/* ---- repeats ------------------------------------------------------------------------- */

TEST(what_is_said_ten_times_is_written_ten_times)
{
	struct rd_repeat ended;

	assert_int_equal(say(7, BEGIN, 10, &ended), 10);
	assert_false(rd_repeats_next_ended(&repeats, UINT64_MAX, &ended));
}

TEST(what_is_said_more_often_is_counted_and_summed_up_when_its_minute_ends)
{
	struct rd_repeat ended;

	assert_int_equal(say(7, BEGIN, 250, &ended), 10);
	assert_false(rd_repeats_next_ended(&repeats, BEGIN + 59 * SECOND, &ended));
	assert_true(rd_repeats_next_ended(&repeats, BEGIN + 60 * SECOND, &ended));
	assert_int_equal(ended.left_out, 240);
	assert_string_equal(ended.event, "event");
	assert_false(rd_repeats_next_ended(&repeats, UINT64_MAX, &ended));
	assert_int_equal(say(7, BEGIN + 60 * SECOND, 250, &ended), 10);
}

TEST(a_line_said_again_after_its_minute_gives_back_what_was_left_out)
{
	struct rd_repeat ended;

	say(7, BEGIN, 15, &ended);
	assert_int_equal(ended.left_out, 0);
	assert_int_equal(say(7, BEGIN + 61 * SECOND, 1, &ended), 1);
	assert_int_equal(ended.left_out, 5);
}

TEST(lines_are_counted_apart)
{
	struct rd_repeat ended;

	assert_int_equal(say(1, BEGIN, 20, &ended), 10);
	assert_int_equal(say(2, BEGIN, 20, &ended), 10);
	assert_int_equal(say(1, BEGIN, 20, &ended), 0);
}

TEST(a_full_table_gives_up_the_oldest_and_loses_no_count)
{
	struct rd_repeat ended;

	say(1, BEGIN, 13, &ended);
	for (uint64_t i = 0; i < RD_REPEATS - 1; i++) {
		assert_int_equal(say(100 + i, BEGIN + 1 + i, 1, &ended), 1);
		assert_int_equal(ended.left_out, 0);
	}
	assert_int_equal(say(1000, BEGIN + SECOND, 1, &ended), 1);
	assert_int_equal(ended.left_out, 3);
	assert_int_equal(ended.hash, 1);
}

TEST(hashes_tell_where_one_text_ends_and_the_next_begins)
{
	uint64_t a = rd_repeats_hash(rd_repeats_hash(1, "a"), "bc");

	assert_int_not_equal(a, rd_repeats_hash(rd_repeats_hash(1, "ab"), "c"));
	assert_int_not_equal(a, rd_repeats_hash(rd_repeats_hash(2, "a"), "bc"));
	assert_int_equal(a, rd_repeats_hash(rd_repeats_hash(1, "a"), "bc"));
}

/* ---- lines ---------------------------------------------------------------------------- */

static const char *rendered(enum rd_log_format format, const struct rd_log_field *fields, size_t n,
			    uint64_t repeated)
{
	static char line[10000];
	char text[8192];

	rd_log_render_fields(text, sizeof(text), format, fields, n);
	rd_log_render(line, sizeof(line), format, RD_LOG_WARN, "it happened", text, repeated,
		      1792000000ULL * SECOND + 7654321);
	return line;
}

TEST(text_has_keys_and_values_and_quotes_what_needs_it)
{
	struct rd_log_field fields[] = {RD_TEXT("file", "/a/b"), RD_TEXT("why", "no \"x\"\n"),
					RD_NUMBER("n", -3)};

	assert_string_equal(rendered(RD_LOG_TEXT, fields, 3, 0),
			    "warn: it happened file=/a/b why=\"no \\\"x\\\"\\x0a\" n=-3");
	assert_string_equal(rendered(RD_LOG_TEXT, fields, 1, 240),
			    "warn: it happened file=/a/b (repeated 240 times)");
}

TEST(json_has_the_time_the_level_numbers_and_escapes)
{
	struct rd_log_field fields[] = {RD_TEXT("file", "a\"b\\\n\x1b"), RD_NUMBER("n", -3)};

	assert_string_equal(rendered(RD_LOG_JSON, fields, 2, 0),
			    "{\"time\":\"2026-10-14T17:46:40.007Z\",\"level\":\"warn\","
			    "\"event\":\"it happened\",\"file\":\"a\\\"b\\\\\\u000a\\u001b\","
			    "\"n\":-3}");
	assert_string_equal(rendered(RD_LOG_JSON, NULL, 0, 5),
			    "{\"time\":\"2026-10-14T17:46:40.007Z\",\"level\":\"warn\","
			    "\"event\":\"it happened\",\"repeated\":5}");
}

TEST(json_is_utf8_whatever_a_name_is)
{
	struct rd_log_field good = RD_TEXT("x", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	/* Alone, too long, a surrogate, beyond the last, cut off. */
	struct rd_log_field bad = RD_TEXT("x", "\x80\xc0\xaf\xed\xa0\x80\xf5\xe2\x82");

	assert_non_null(strstr(rendered(RD_LOG_JSON, &good, 1, 0), good.text));
	assert_non_null(strstr(rendered(RD_LOG_JSON, &bad, 1, 0),
			       "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd"
			       "\\ufffd\"}"));
}

TEST(a_field_that_does_not_fit_is_left_out_whole)
{
	struct rd_log_field fields[] = {RD_TEXT("a", "1"), RD_TEXT("b", "2222222222")};
	char text[16];

	rd_log_render_fields(text, sizeof(text), RD_LOG_JSON, fields, 2);
	assert_string_equal(text, ",\"a\":\"1\"");
}

TEST(a_long_value_is_cut)
{
	char value[5000];
	struct rd_log_field field = {.key = "v", .text = value};
	const char *line;

	memset(value, 1, sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	line = rendered(RD_LOG_JSON, &field, 1, 0);
	assert_string_equal(line + strlen(line) - 8, "\\u0001\"}");
	assert_true(strlen(line) < 6200);
}

TEST(names_of_levels_and_formats)
{
	assert_int_equal(rd_log_level_parse("error"), RD_LOG_ERROR);
	assert_int_equal(rd_log_level_parse("loud"), -1);
	assert_int_equal(rd_log_format_parse("json"), RD_LOG_JSON);
	assert_int_equal(rd_log_format_parse("xml"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_is_said_ten_times_is_written_ten_times, empty),
		cmocka_unit_test_setup(
			what_is_said_more_often_is_counted_and_summed_up_when_its_minute_ends,
			empty),
		cmocka_unit_test_setup(
			a_line_said_again_after_its_minute_gives_back_what_was_left_out, empty),
		cmocka_unit_test_setup(lines_are_counted_apart, empty),
		cmocka_unit_test_setup(a_full_table_gives_up_the_oldest_and_loses_no_count, empty),
		cmocka_unit_test(hashes_tell_where_one_text_ends_and_the_next_begins),
		cmocka_unit_test(text_has_keys_and_values_and_quotes_what_needs_it),
		cmocka_unit_test(json_has_the_time_the_level_numbers_and_escapes),
		cmocka_unit_test(json_is_utf8_whatever_a_name_is),
		cmocka_unit_test(a_field_that_does_not_fit_is_left_out_whole),
		cmocka_unit_test(a_long_value_is_cut),
		cmocka_unit_test(names_of_levels_and_formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

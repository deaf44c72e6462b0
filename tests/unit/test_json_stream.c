// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "json_stream.h"
#include "unit/alloc_fail.h"
#include "util.h"

/* ---- what is heard ----------------------------------------------------------------- */

/* A line for each text: "I" for an item, "T" for another, and the text, without
 * the white space that means nothing. */
static char heard[1 << 18];
static size_t heard_bytes;
static bool literally; /* with it */
static unsigned texts;
static unsigned refused; /* the number of the text to refuse, from 1; 0: none */
static int refusal;

static int hear(void *context, const char *json, bool is_item)
{
	size_t n = strlen(json);

	assert_ptr_equal(context, heard);
	assert_true(heard_bytes + n + 4 < sizeof(heard));
	heard[heard_bytes++] = is_item ? 'I' : 'T';
	heard[heard_bytes++] = ' ';
	memcpy(heard + heard_bytes, json, n + 1);
	if (!literally)
		cJSON_Minify(heard + heard_bytes);
	heard_bytes += strlen(heard + heard_bytes);
	heard[heard_bytes++] = '\n';
	heard[heard_bytes] = '\0';
	return ++texts == refused ? refusal : 0;
}

static struct rd_json_stream stream_of(enum rd_json_mode mode, size_t limit)
{
	heard_bytes = texts = refused = 0;
	literally = false;
	heard[0] = '\0';
	return (struct rd_json_stream){
		.mode = mode, .limit = limit, .text = hear, .context = heard};
}

#define MUCH (1 << 20)

/* Feed in chunks of one size. */
static int feed_in_chunks(struct rd_json_stream *stream, const char *bytes, size_t n, size_t size)
{
	int r = 0;

	for (size_t at = 0; !r && at < n; at += size)
		r = rd_json_stream_feed(stream, bytes + at, n - at < size ? n - at : size);
	return r;
}

/* Feed in two parts, the first of @first bytes. Each part is a memory of its
 * own, so that a sanitizer sees who reads past its end. */
static int feed_in_two(struct rd_json_stream *stream, const char *bytes, size_t n, size_t first)
{
	const struct {
		const char *bytes;
		size_t n;
	} parts[] = {{bytes, first}, {bytes + first, n - first}};
	int r = 0;

	for (size_t i = 0; !r && i < RD_ARRAY_SIZE(parts); i++) {
		char *part = malloc(parts[i].n + !parts[i].n);

		assert_non_null(part);
		memcpy(part, parts[i].bytes, parts[i].n);
		r = rd_json_stream_feed(stream, part, parts[i].n);
		free(part);
	}
	return r;
}

static void check(struct rd_json_stream *stream, int r, int expected_r, const char *expected,
		  const char *how, size_t size)
{
	bool between = rd_json_stream_is_between(stream);

	rd_json_stream_reset(stream);
	if (r != expected_r)
		fail_msg("%s %zu: %d, not %d, after\n%s", how, size, r, expected_r, heard);
	if (strcmp(heard, expected))
		fail_msg("%s %zu:\n%s\nis not\n%s", how, size, heard, expected);
	if (!r && !between)
		fail_msg("%s %zu: something is half there", how, size);
}

/* However these bytes are split, this is what is heard. */
static void expect_however_split(enum rd_json_mode mode, size_t limit, const char *bytes, size_t n,
				 int r, const char *expected)
{
	static const size_t sizes[] = {1, 2, 3, 5, 7, 64, 1000, SIZE_MAX / 2};
	struct rd_json_stream stream;

	for (size_t i = 0; i < RD_ARRAY_SIZE(sizes); i++) {
		stream = stream_of(mode, limit);
		check(&stream, feed_in_chunks(&stream, bytes, n, sizes[i]), r, expected,
		      "in chunks of", sizes[i]);
	}
	for (size_t first = 0; first <= n; first++) {
		stream = stream_of(mode, limit);
		check(&stream, feed_in_two(&stream, bytes, n, first), r, expected, "split at",
		      first);
	}
}

struct row {
	const char *bytes;
	const char *expected;
};

static void expect_rows(enum rd_json_mode mode, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		expect_however_split(mode, MUCH, rows[i].bytes, strlen(rows[i].bytes), 0,
				     rows[i].expected);
}
#define EXPECT_ROWS(mode, rows) expect_rows(mode, rows, RD_ARRAY_SIZE(rows))

/* Each row is refused after what is expected. */
static void expect_refused(enum rd_json_mode mode, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		expect_however_split(mode, MUCH, rows[i].bytes, strlen(rows[i].bytes), -EBADMSG,
				     rows[i].expected);
}
#define EXPECT_REFUSED(mode, rows) expect_refused(mode, rows, RD_ARRAY_SIZE(rows))

/* ---- recorded answers of an API server ------------------------------------------------ */

static char *read_recorded(const char *name, size_t *ret_n)
{
	char *content = calloc(1, 65536);
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "tests/data/kube-api/%s", name);
	file = fopen(path, "re");
	if (!file)
		fail_msg("cannot open %s: run from the root of the repository", path);
	assert_non_null(content);
	*ret_n = fread(content, 1, 65535, file);
	fclose(file);
	assert_in_range(*ret_n, 1, 65534);
	return content;
}

/* The lines of a file with "T " before each: what a watch is to give. */
static char *lines_as_texts(const char *content)
{
	_rd_free_ char *copy = strdup(content);
	char *expected = NULL, *rest = NULL;
	size_t n;
	FILE *to = open_memstream(&expected, &n);

	assert_non_null(copy);
	assert_non_null(to);
	for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		fprintf(to, "T %s\n", line);
	fclose(to);
	return expected;
}

static const char *const watches[] = {
	"watch-endpointslices.ndjson",
	"watch-services.ndjson",
	"watch-initial-events-endpointslices.ndjson",
};

static const char *const lists[] = {
	"services-list.json",  "endpointslices-list.json", "endpointslices-page1.json",
	"endpoints-list.json", "nodes-list.json",
};

TEST(F12_every_split_of_a_recorded_watch_gives_the_same_texts)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(watches); i++) {
		size_t n;
		_rd_free_ char *bytes = read_recorded(watches[i], &n);
		_rd_free_ char *expected = lines_as_texts(bytes);

		expect_however_split(RD_JSON_DOCUMENTS, MUCH, bytes, n, 0, expected);
	}
}

/* A list as the JSON library reads it: each of its items, then the rest. */
static char *items_as_texts(const char *json)
{
	cJSON *root = cJSON_Parse(json), *item;
	char *expected = NULL, *text;
	size_t n;
	FILE *to = open_memstream(&expected, &n);

	assert_non_null(root);
	assert_non_null(to);
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "items")) {
		text = cJSON_PrintUnformatted(item);
		fprintf(to, "I %s\n", text);
		cJSON_free(text);
	}
	cJSON_ReplaceItemInObjectCaseSensitive(root, "items", cJSON_CreateArray());
	text = cJSON_PrintUnformatted(root);
	fprintf(to, "T %s\n", text);
	cJSON_free(text);
	fclose(to);
	cJSON_Delete(root);
	return expected;
}

TEST(F12_every_split_of_a_recorded_list_gives_the_same_items)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(lists); i++) {
		size_t n;
		_rd_free_ char *bytes = read_recorded(lists[i], &n);
		_rd_free_ char *expected = items_as_texts(bytes);

		assert_non_null(strstr(expected, "I {\"metadata\""));
		expect_however_split(RD_JSON_LIST, MUCH, bytes, n, 0, expected);
	}
}

TEST(F12_a_list_may_be_pretty_printed)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(lists); i++) {
		size_t n;
		_rd_free_ char *bytes = read_recorded(lists[i], &n);
		_rd_free_ char *expected = items_as_texts(bytes);
		cJSON *root = cJSON_Parse(bytes);
		char *pretty = cJSON_Print(root);

		assert_true(strlen(pretty) > n);
		expect_however_split(RD_JSON_LIST, MUCH, pretty, strlen(pretty), 0, expected);
		cJSON_free(pretty);
		cJSON_Delete(root);
	}
}

TEST(F12_a_list_asked_for_as_a_document_is_one_text)
{
	size_t n;
	_rd_free_ char *bytes = read_recorded("services-list.json", &n);
	_rd_free_ char *expected = lines_as_texts(bytes);

	expect_however_split(RD_JSON_DOCUMENTS, MUCH, bytes, n, 0, expected);
}

/* ---- documents ------------------------------------------------------------------------ */

TEST(F12_a_character_or_an_escape_may_end_in_the_next_chunk)
{
	static const struct row rows[] = {
		{"{\"a\":\"é\"}", "T {\"a\":\"é\"}\n"},
		{"{\"ключ\":\"日本語\"}{\"😀\":\"👩‍🚀\"}",
		 "T {\"ключ\":\"日本語\"}\nT {\"😀\":\"👩‍🚀\"}\n"},
		{"{\"a\":\"\\u00e9\\ud83d\\ude00\"}", "T {\"a\":\"\\u00e9\\ud83d\\ude00\"}\n"},
		{"{\"\\u0022\":\"\\u005c\"}{}", "T {\"\\u0022\":\"\\u005c\"}\nT {}\n"},
		{"{\"a\":\"\\\"\"}{\"b\":1}", "T {\"a\":\"\\\"\"}\nT {\"b\":1}\n"},
		{"{\"a\":\"\\\\\"}{\"b\":1}", "T {\"a\":\"\\\\\"}\nT {\"b\":1}\n"},
		{"{\"a\":\"\\\\\\\"}\"}{\"b\":1}", "T {\"a\":\"\\\\\\\"}\"}\nT {\"b\":1}\n"},
		{"{\"\\\\\":\"\\\\\\\\\",\"\\\"\":\"\"}",
		 "T {\"\\\\\":\"\\\\\\\\\",\"\\\"\":\"\"}\n"},
		{"{\"a\":\"\\n\\t\\/\\b\\f\\r\"}", "T {\"a\":\"\\n\\t\\/\\b\\f\\r\"}\n"},
	};

	EXPECT_ROWS(RD_JSON_DOCUMENTS, rows);
}

TEST(F12_brackets_and_spaces_in_strings_are_a_part_of_them)
{
	static const struct row rows[] = {
		{"{\"a\":\"}\"}", "T {\"a\":\"}\"}\n"},
		{"{\"a\":\"{\"}{\"b\":\"[\"}", "T {\"a\":\"{\"}\nT {\"b\":\"[\"}\n"},
		{"{\"}{\":[\"]\",\"}\"]}", "T {\"}{\":[\"]\",\"}\"]}\n"},
		{"{ \"a b\" : \" \t c \" }", "T {\"a b\":\" \t c \"}\n"},
		{"{\"a\":\"\\\"}{\"}", "T {\"a\":\"\\\"}{\"}\n"},
		{"{\"a\":\":,\"}", "T {\"a\":\":,\"}\n"},
	};

	EXPECT_ROWS(RD_JSON_DOCUMENTS, rows);
}

TEST(F12_what_stands_between_documents_is_any_white_space)
{
	static const struct row rows[] = {
		{"", ""},
		{" \r\n\t", ""},
		{"{}", "T {}\n"},
		{"{}{}{}", "T {}\nT {}\nT {}\n"},
		{"\n\n{}\r\n \t{\"a\":[]}\n", "T {}\nT {\"a\":[]}\n"},
		{"{\"a\":\n[1,\t2,\r\n {\"b\" : null}\n]\n}", "T {\"a\":[1,2,{\"b\":null}]}\n"},
	};

	EXPECT_ROWS(RD_JSON_DOCUMENTS, rows);
}

TEST(F8_what_is_no_sequence_of_objects_is_refused)
{
	static const struct row rows[] = {
		{"x", ""},
		{"[]", ""},
		{"\"{}\"", ""},
		{"null", ""},
		{"1", ""},
		{"}", ""},
		{"]{}", ""},
		{"{},{}", "T {}\n"},
		{"{}\n\x1f\x8b{}", "T {}\n"},
		{"{}}", "T {}\n"},
		{"{\"a\":1}\n<html>", "T {\"a\":1}\n"},
		{"\xef\xbb\xbf{}", ""},
	};

	EXPECT_REFUSED(RD_JSON_DOCUMENTS, rows);
	EXPECT_REFUSED(RD_JSON_LIST, rows);
}

TEST(F8_wrong_json_is_not_made_right)
{
	static const char *const rows[] = {
		"{\"a\":1 2}", "{\"a\":tr ue}", "{\"a\":- 1}", "{\"a\":1\n2}", "{\"a\":[1 2]}",
		"{\"a\":1]",   "{\"a\" \"b\"}", "{'a':1}",     "{\"a\":}",     "{\"a\":[}]}",
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_json_stream stream = stream_of(RD_JSON_DOCUMENTS, MUCH);
		cJSON *root = NULL;
		int r;

		literally = true;
		r = feed_in_chunks(&stream, rows[i], strlen(rows[i]), 1);
		if (heard_bytes)
			root = cJSON_ParseWithOpts(heard + 2, NULL, true);
		rd_json_stream_reset(&stream);
		if (root)
			fail_msg("%s is taken for %s", rows[i], heard + 2);
		assert_true(r == 0 || r == -EBADMSG);
	}
}

TEST(a_zero_byte_ends_no_text)
{
	static const char bytes[] = "{\"a\":{}\0}{\"b\":\"\0\"}";
	struct rd_json_stream stream = stream_of(RD_JSON_DOCUMENTS, MUCH);

	/* The texts are cut there, and so no JSON. */
	assert_int_equal(rd_json_stream_feed(&stream, bytes, sizeof(bytes) - 1), 0);
	assert_string_equal(heard, "T {\"a\":{}\nT {\"b\":\"\n");
	rd_json_stream_reset(&stream);
}

TEST(something_is_half_there_from_the_first_bracket_to_its_fellow)
{
	static const char bytes[] = " {\"a\":[\"}\"]} \n{}";
	struct rd_json_stream stream = stream_of(RD_JSON_DOCUMENTS, MUCH);

	assert_true(rd_json_stream_is_between(&stream));
	for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
		assert_int_equal(rd_json_stream_feed(&stream, bytes + i, 1), 0);
		assert_int_equal(rd_json_stream_is_between(&stream),
				 i < 1 || (i >= 11 && i < 14) || i == 15);
	}
	rd_json_stream_reset(&stream);
}

/* ---- lists ---------------------------------------------------------------------------- */

TEST(items_are_handed_over_one_by_one_and_then_the_rest)
{
	static const struct row rows[] = {
		{"{\"kind\":\"L\",\"items\":[{\"a\":1},{\"b\":[2,{}]}]}",
		 "I {\"a\":1}\nI {\"b\":[2,{}]}\nT {\"kind\":\"L\",\"items\":[]}\n"},
		{"{\"items\":[{\"a\":1}],\"kind\":\"L\",\"metadata\":{\"continue\":\"x\"}}",
		 "I {\"a\":1}\nT "
		 "{\"items\":[],\"kind\":\"L\",\"metadata\":{\"continue\":\"x\"}}\n"},
		{"{\"kind\":\"L\",\"items\":[{}],\"metadata\":{}}",
		 "I {}\nT {\"kind\":\"L\",\"items\":[],\"metadata\":{}}\n"},
		{"{\"kind\":\"L\",\"items\":[]}", "T {\"kind\":\"L\",\"items\":[]}\n"},
		{"{\"kind\":\"L\",\"items\":null}", "T {\"kind\":\"L\",\"items\":null}\n"},
		{"{\"kind\":\"L\"}", "T {\"kind\":\"L\"}\n"},
		{"{}", "T {}\n"},
		{"\n{ \"items\" : [ { \"a\" : 1 } , \n\t{ \"b\" : 2 }\r\n] }\n",
		 "I {\"a\":1}\nI {\"b\":2}\nT {\"items\":[]}\n"},
	};

	EXPECT_ROWS(RD_JSON_LIST, rows);
}

TEST(items_of_something_else_are_no_items)
{
	static const struct row rows[] = {
		{"{\"metadata\":{\"items\":[{\"x\":1}]},\"items\":[{\"a\":1}]}",
		 "I {\"a\":1}\nT {\"metadata\":{\"items\":[{\"x\":1}]},\"items\":[]}\n"},
		{"{\"items\":[{\"items\":[{\"a\":{\"items\":[{}]}},1]}],\"z\":[{\"items\":[{}]}]}",
		 "I {\"items\":[{\"a\":{\"items\":[{}]}},1]}\n"
		 "T {\"items\":[],\"z\":[{\"items\":[{}]}]}\n"},
		{"{\"kind\":\"items\",\"list\":[{\"a\":1}]}",
		 "T {\"kind\":\"items\",\"list\":[{\"a\":1}]}\n"},
		{"{\"a\":[\"items\",[{}],{\"items\":[{}]}]}",
		 "T {\"a\":[\"items\",[{}],{\"items\":[{}]}]}\n"},
		{"{\"kind\":\"items\",\"items\":[{\"kind\":\"items\"}]}",
		 "I {\"kind\":\"items\"}\nT {\"kind\":\"items\",\"items\":[]}\n"},
		{"{\"a\":\"items\",\"b\":{},\"c\":[{}]}",
		 "T {\"a\":\"items\",\"b\":{},\"c\":[{}]}\n"},
		{"{\"items\":{\"items\":[{}]}}", "T {\"items\":{\"items\":[{}]}}\n"},
		{"{\"items\":\"x\",\"y\":[{}]}", "T {\"items\":\"x\",\"y\":[{}]}\n"},
		{"{\"items\":7,\"y\":[{}]}", "T {\"items\":7,\"y\":[{}]}\n"},
		{"{\"items\":{},\"y\":[{}]}", "T {\"items\":{},\"y\":[{}]}\n"},
		{"{\"Items\":[{}],\"item\":[{}],\"itemss\":[{}],\"\":[{}],\"xitems\":[{}]}",
		 "T {\"Items\":[{}],\"item\":[{}],\"itemss\":[{}],\"\":[{}],\"xitems\":[{}]}\n"},
		{"{\"itemsitems\":[{}],\"itemsitemsitemsitems\":[{}]}",
		 "T {\"itemsitems\":[{}],\"itemsitemsitemsitems\":[{}]}\n"},
		/* Wrong JSON, which is the parser's to say. */
		{"{\"items\"[{}]}", "T {\"items\"[{}]}\n"},
		{"{\"it\":{\"ems\":1}[{}]}", "T {\"it\":{\"ems\":1}[{}]}\n"},
		{"{\"it\":\"ems\",\"ite\":\"ms\",\"i\":[{}]}",
		 "T {\"it\":\"ems\",\"ite\":\"ms\",\"i\":[{}]}\n"},
	};

	EXPECT_ROWS(RD_JSON_LIST, rows);
}

TEST(a_key_with_an_escape_is_not_items)
{
	static const struct row rows[] = {
		{"{\"items\\n\":[{}]}", "T {\"items\\n\":[{}]}\n"},
		{"{\"\\titems\":[{}]}", "T {\"\\titems\":[{}]}\n"},
		{"{\"it\\\"ems\":[{}]}", "T {\"it\\\"ems\":[{}]}\n"},
		{"{\"\\\\items\":[{}]}", "T {\"\\\\items\":[{}]}\n"},
	};

	EXPECT_ROWS(RD_JSON_LIST, rows);
}

TEST(nothing_may_follow_a_list)
{
	static const struct row rows[] = {
		{"{\"items\":[{\"a\":1}]}{}", "I {\"a\":1}\nT {\"items\":[]}\n"},
		{"{\"items\":[]}\n{\"items\":[{\"a\":1}]}", "T {\"items\":[]}\n"},
		{"{}\n ]", "T {}\n"},
	};

	EXPECT_REFUSED(RD_JSON_LIST, rows);
}

TEST(F12_strings_in_items_may_hold_what_ends_items)
{
	static const struct row rows[] = {
		{"{\"items\":[{\"a\":\"]},{\"},{\"b\":\"\\\"}],\"}]}",
		 "I {\"a\":\"]},{\"}\nI {\"b\":\"\\\"}],\"}\nT {\"items\":[]}\n"},
		{"{\"items\":[{\"é\":\"\\\\\"},{\"\\u0022\":\"日本\"}]}",
		 "I {\"é\":\"\\\\\"}\nI {\"\\u0022\":\"日本\"}\nT {\"items\":[]}\n"},
		{"{\"a\":\"{\\\"items\\\":[{}]}\",\"items\":[{\"items\":\"[\"}]}",
		 "I {\"items\":\"[\"}\nT {\"a\":\"{\\\"items\\\":[{}]}\",\"items\":[]}\n"},
	};

	EXPECT_ROWS(RD_JSON_LIST, rows);
}

TEST(items_that_are_no_objects_are_refused)
{
	static const struct row rows[] = {
		{"{\"items\":[1]}", ""},
		{"{\"items\":[null]}", ""},
		{"{\"items\":[\"x\"]}", ""},
		{"{\"items\":[[{}]]}", ""},
		{"{\"items\":[{\"a\":1},true]}", "I {\"a\":1}\n"},
		{"{\"items\":[{\"a\":1}}", "I {\"a\":1}\n"},
		{"{\"items\":[:", ""},
	};

	EXPECT_REFUSED(RD_JSON_LIST, rows);
}

/* ---- ceilings -------------------------------------------------------------------------- */

/* An object of exactly @n bytes: a string, or many small values. */
static char *object_of(size_t n, bool is_string)
{
	char *bytes = malloc(n + 1);

	assert_non_null(bytes);
	assert_true(n >= 8);
	if (is_string) {
		memset(bytes, 'x', n);
		memcpy(bytes, "{\"a\":\"", 6);
		memcpy(bytes + n - 2, "\"}", 2);
	} else {
		for (size_t i = 0; i < n; i++)
			bytes[i] = i % 2 ? ',' : '1';
		memcpy(bytes, "{\"a\":[", 6);
		memcpy(bytes + n - 2, "]}", 2);
	}
	bytes[n] = '\0';
	return bytes;
}

static void expect_of_length(size_t limit, size_t n, int r)
{
	for (unsigned is_string = 0; is_string < 2; is_string++) {
		_rd_free_ char *bytes = object_of(n, is_string);
		char expected[4096];

		snprintf(expected, sizeof(expected), "T %s\n", bytes);
		expect_however_split(RD_JSON_DOCUMENTS, limit, bytes, n, r, r ? "" : expected);
	}
}

TEST(a_text_as_long_as_the_limit_is_taken_and_a_longer_one_refused)
{
	static const size_t limits[] = {16, 64, 1000, 1023, 1024, 1025, 2048};

	for (size_t i = 0; i < RD_ARRAY_SIZE(limits); i++) {
		expect_of_length(limits[i], limits[i] - 1, 0);
		expect_of_length(limits[i], limits[i], 0);
		expect_of_length(limits[i], limits[i] + 1, -EFBIG);
		expect_of_length(limits[i], 2 * limits[i], -EFBIG);
	}
}

TEST(white_space_around_documents_does_not_count_to_the_limit)
{
	char bytes[600];

	memset(bytes, ' ', sizeof(bytes));
	memcpy(bytes + 200, "{}", 2);
	memcpy(bytes + 400, "{}", 2);
	expect_however_split(RD_JSON_DOCUMENTS, 16, bytes, sizeof(bytes), 0, "T {}\nT {}\n");
}

TEST(an_object_that_does_not_end_is_not_kept_beyond_the_limit)
{
	struct rd_json_stream stream = stream_of(RD_JSON_DOCUMENTS, 100000);
	char chunk[1000];
	size_t fed = 0;
	int r;

	memset(chunk, 'x', sizeof(chunk));
	assert_int_equal(rd_json_stream_feed(&stream, "{\"a\":\"", 6), 0);
	while (!(r = rd_json_stream_feed(&stream, chunk, sizeof(chunk))))
		fed += sizeof(chunk);
	assert_int_equal(r, -EFBIG);
	assert_in_range(fed, 99000, 100000);
	rd_json_stream_reset(&stream);
}

TEST(a_list_may_be_longer_than_the_limit_but_no_item_of_it)
{
	struct rd_json_stream stream = stream_of(RD_JSON_LIST, 64);

	assert_int_equal(rd_json_stream_feed(&stream, "{\"kind\":\"L\",\"items\":[", 21), 0);
	for (unsigned i = 0; i < 1000; i++) {
		_rd_free_ char *item = object_of(64, i % 2);

		assert_int_equal(rd_json_stream_feed(&stream, &","[!i], i > 0), 0);
		assert_int_equal(rd_json_stream_feed(&stream, item, 64), 0);
	}
	assert_int_equal(rd_json_stream_feed(&stream, "]}", 2), 0);
	assert_int_equal(texts, 1001);
	assert_string_equal(strrchr(heard, 'T'), "T {\"kind\":\"L\",\"items\":[]}\n");
	assert_true(rd_json_stream_is_between(&stream));
	rd_json_stream_reset(&stream);
}

TEST(an_item_longer_than_the_limit_is_refused)
{
	_rd_free_ char *good = object_of(64, true), *bad = object_of(65, true);
	_rd_free_ char *bytes = NULL, *expected = NULL;

	assert_true(asprintf(&bytes, "{\"items\":[%s,%s]}", good, bad) > 0);
	assert_true(asprintf(&expected, "I %s\n", good) > 0);
	expect_however_split(RD_JSON_LIST, 64, bytes, strlen(bytes), -EFBIG, expected);
}

TEST(the_rest_of_a_list_longer_than_the_limit_is_refused)
{
	static const char bytes[] =
		"{\"items\":[{\"a\":1}],\"kind\":\"a kind of quite some length, and then more\"}";

	expect_however_split(RD_JSON_LIST, 60, bytes, sizeof(bytes) - 1, -EFBIG, "I {\"a\":1}\n");
	expect_however_split(RD_JSON_LIST, sizeof(bytes), bytes, sizeof(bytes) - 1, 0,
			     "I {\"a\":1}\nT {\"items\":[],\"kind\":\"a kind of quite some length, "
			     "and then more\"}\n");
}

/* {"a":[[…]]} with @depth brackets open at the deepest. */
static char *nested(unsigned depth)
{
	char *bytes = calloc(1, 2 * (size_t)depth + 8);
	char *at = bytes;

	assert_non_null(bytes);
	at = stpcpy(at, "{\"a\":");
	for (unsigned i = 1; i < depth; i++)
		*at++ = '[';
	for (unsigned i = 1; i < depth; i++)
		*at++ = ']';
	*at = '}';
	return bytes;
}

TEST(nesting_has_a_limit)
{
	static const unsigned depths[] = {1, 2, 15, 127, 128};

	for (size_t i = 0; i < RD_ARRAY_SIZE(depths); i++) {
		_rd_free_ char *bytes = nested(depths[i]);
		_rd_free_ char *expected = lines_as_texts(bytes);

		if (depths[i] > 1)
			expect_however_split(RD_JSON_DOCUMENTS, MUCH, bytes, strlen(bytes), 0,
					     expected);
	}
	for (unsigned depth = 129; depth < 1000; depth += 290) {
		_rd_free_ char *bytes = nested(depth);

		expect_however_split(RD_JSON_DOCUMENTS, MUCH, bytes, strlen(bytes), -EBADMSG, "");
	}
}

TEST(the_nesting_of_an_item_counts_from_the_list)
{
	_rd_free_ char *deep = nested(126), *deeper = nested(127);
	_rd_free_ char *good = NULL, *bad = NULL, *expected = NULL;

	assert_true(asprintf(&good, "{\"items\":[%s]}", deep) > 0);
	assert_true(asprintf(&bad, "{\"items\":[%s]}", deeper) > 0);
	assert_true(asprintf(&expected, "I %s\nT {\"items\":[]}\n", deep) > 0);
	expect_however_split(RD_JSON_LIST, MUCH, good, strlen(good), 0, expected);
	expect_however_split(RD_JSON_LIST, MUCH, bad, strlen(bad), -EBADMSG, "");
}

/* ---- failures --------------------------------------------------------------------------- */

TEST(a_failure_stays_whatever_comes_then)
{
	struct rd_json_stream stream = stream_of(RD_JSON_DOCUMENTS, 16);

	assert_int_equal(rd_json_stream_feed(&stream, "{}x{}", 5), -EBADMSG);
	assert_int_equal(rd_json_stream_feed(&stream, "{}", 2), -EBADMSG);
	assert_int_equal(rd_json_stream_feed(&stream, "", 0), -EBADMSG);
	assert_string_equal(heard, "T {}\n");
	rd_json_stream_reset(&stream);
	assert_int_equal(rd_json_stream_feed(&stream, "{\"a\":\"0123456789\"}", 18), -EFBIG);
	assert_int_equal(rd_json_stream_feed(&stream, "{}", 2), -EFBIG);
	assert_string_equal(heard, "T {}\n");
	rd_json_stream_reset(&stream);
}

TEST(what_the_receiver_returns_ends_the_stream_after_that_text)
{
	static const char bytes[] = "{\"items\":[{\"a\":1},{\"b\":2}]}";
	static const int refusals[] = {-ECANCELED, -1, 1};

	for (unsigned nth = 1; nth <= 3; nth++) {
		for (size_t i = 0; i < RD_ARRAY_SIZE(refusals); i++) {
			struct rd_json_stream stream = stream_of(RD_JSON_LIST, MUCH);

			refused = nth;
			refusal = refusals[i];
			assert_int_equal(rd_json_stream_feed(&stream, bytes, sizeof(bytes) - 1),
					 refusal);
			assert_int_equal(texts, nth);
			assert_int_equal(rd_json_stream_feed(&stream, bytes, sizeof(bytes) - 1),
					 refusal);
			assert_int_equal(texts, nth);
			rd_json_stream_reset(&stream);
		}
	}
}

TEST(F8_what_is_half_there_is_forgotten_by_a_reset)
{
	static const struct row rows[] = {
		{"{\"a\":[{\"b\"", ""},
		{"{\"a\":\"\\", ""},
		{"{\"items\":[{\"a\":1},{\"b", "I {\"a\":1}\n"},
		{"{\"items\":[{\"a\":1}],\"items", "I {\"a\":1}\n"},
		{"{\"items\":", ""},
		{"{\"items\":[{}]}x", "I {}\nT {\"items\":[]}\n"},
	};
	static const char list[] = "{\"kind\":[],\"items\":[{\"c\":3}]}";

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_json_stream stream = stream_of(RD_JSON_LIST, 64);
		int r = rd_json_stream_feed(&stream, rows[i].bytes, strlen(rows[i].bytes));

		assert_true(r || !rd_json_stream_is_between(&stream));
		assert_string_equal(heard, rows[i].expected);
		rd_json_stream_reset(&stream);
		assert_true(rd_json_stream_is_between(&stream));
		assert_int_equal(stream.mode, RD_JSON_LIST);
		assert_int_equal(stream.limit, 64);
		heard_bytes = 0;
		assert_int_equal(rd_json_stream_feed(&stream, list, sizeof(list) - 1), 0);
		assert_string_equal(heard, "I {\"c\":3}\nT {\"kind\":[],\"items\":[]}\n");
		rd_json_stream_reset(&stream);
	}
}

TEST(a_stream_that_was_never_fed_can_be_reset)
{
	struct rd_json_stream stream = stream_of(RD_JSON_DOCUMENTS, 64);

	assert_int_equal(rd_json_stream_feed(&stream, NULL, 0), 0);
	assert_true(rd_json_stream_is_between(&stream));
	rd_json_stream_reset(&stream);
	rd_json_stream_reset(&stream);
	assert_string_equal(heard, "");
}

TEST(a_short_text_after_a_long_one_is_only_itself)
{
	struct rd_json_stream stream = stream_of(RD_JSON_DOCUMENTS, MUCH);
	static const size_t lengths[] = {100000, 8, 40000, 8, 60000, 9, 2000, 8};

	for (size_t i = 0; i < RD_ARRAY_SIZE(lengths); i++) {
		_rd_free_ char *bytes = object_of(lengths[i], true);

		heard_bytes = 0;
		assert_int_equal(feed_in_chunks(&stream, bytes, lengths[i], 777), 0);
		assert_memory_equal(heard + 2, bytes, lengths[i]);
		assert_int_equal(heard_bytes, lengths[i] + 3);
	}
	rd_json_stream_reset(&stream);
}

/* ---- out of memory ------------------------------------------------------------------------ */

static void expect_enomem(enum rd_json_mode mode, const char *bytes, size_t n, unsigned at_least)
{
	for (unsigned allocation = 1; alloc_fail_at(allocation); allocation++) {
		struct rd_json_stream stream = stream_of(mode, MUCH);
		int r = feed_in_chunks(&stream, bytes, n, 100);

		if (!alloc_fail_end()) {
			assert_int_equal(r, 0);
			assert_true(rd_json_stream_is_between(&stream));
			assert_true(allocation > at_least);
			rd_json_stream_reset(&stream);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_int_equal(rd_json_stream_feed(&stream, "{}", 2), -ENOMEM);
		rd_json_stream_reset(&stream);
	}
}

TEST(out_of_memory_is_enomem_and_stays)
{
	_rd_free_ char *large = object_of(100000, true);
	_rd_free_ char *small = object_of(3000, false);
	_rd_free_ char *list = NULL, *documents = NULL;

	assert_true(asprintf(&list, "{\"kind\":%s,\"items\":[%s,%s,%s],\"z\":%s}", small, small,
			     large, small, small) > 0);
	assert_true(asprintf(&documents, "%s%s%s", small, large, small) > 0);
	expect_enomem(RD_JSON_DOCUMENTS, documents, strlen(documents), 5);
	expect_enomem(RD_JSON_LIST, list, strlen(list), 8);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(F12_every_split_of_a_recorded_watch_gives_the_same_texts),
		cmocka_unit_test(F12_every_split_of_a_recorded_list_gives_the_same_items),
		cmocka_unit_test(F12_a_list_may_be_pretty_printed),
		cmocka_unit_test(F12_a_list_asked_for_as_a_document_is_one_text),
		cmocka_unit_test(F12_a_character_or_an_escape_may_end_in_the_next_chunk),
		cmocka_unit_test(F12_brackets_and_spaces_in_strings_are_a_part_of_them),
		cmocka_unit_test(F12_what_stands_between_documents_is_any_white_space),
		cmocka_unit_test(F8_what_is_no_sequence_of_objects_is_refused),
		cmocka_unit_test(F8_wrong_json_is_not_made_right),
		cmocka_unit_test(a_zero_byte_ends_no_text),
		cmocka_unit_test(something_is_half_there_from_the_first_bracket_to_its_fellow),
		cmocka_unit_test(items_are_handed_over_one_by_one_and_then_the_rest),
		cmocka_unit_test(items_of_something_else_are_no_items),
		cmocka_unit_test(a_key_with_an_escape_is_not_items),
		cmocka_unit_test(nothing_may_follow_a_list),
		cmocka_unit_test(F12_strings_in_items_may_hold_what_ends_items),
		cmocka_unit_test(items_that_are_no_objects_are_refused),
		cmocka_unit_test(a_text_as_long_as_the_limit_is_taken_and_a_longer_one_refused),
		cmocka_unit_test(white_space_around_documents_does_not_count_to_the_limit),
		cmocka_unit_test(an_object_that_does_not_end_is_not_kept_beyond_the_limit),
		cmocka_unit_test(a_list_may_be_longer_than_the_limit_but_no_item_of_it),
		cmocka_unit_test(an_item_longer_than_the_limit_is_refused),
		cmocka_unit_test(the_rest_of_a_list_longer_than_the_limit_is_refused),
		cmocka_unit_test(nesting_has_a_limit),
		cmocka_unit_test(the_nesting_of_an_item_counts_from_the_list),
		cmocka_unit_test(a_failure_stays_whatever_comes_then),
		cmocka_unit_test(what_the_receiver_returns_ends_the_stream_after_that_text),
		cmocka_unit_test(F8_what_is_half_there_is_forgotten_by_a_reset),
		cmocka_unit_test(a_stream_that_was_never_fed_can_be_reset),
		cmocka_unit_test(a_short_text_after_a_long_one_is_only_itself),
		cmocka_unit_test(out_of_memory_is_enomem_and_stays),
	};

	return cmocka_run_group_tests_name("json_stream", tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The YAML library allocates inside its shared library, so that running out of
 * memory cannot be injected here.
 */
#include "unit/unit.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

#include "yaml.h"

/* The documents handed over, in one normal form, one a line. */
struct collected {
	char text[8192];
	size_t n;
	int answer; /* what to return ... */
	size_t at;  /* ... at this document; 0: never */
};

static int collect(void *context, const char *json)
{
	struct collected *all = context;
	cJSON *parsed = cJSON_Parse(json);
	char *printed = parsed ? cJSON_PrintUnformatted(parsed) : NULL;

	all->n++;
	if (all->n > 1)
		strncat(all->text, "\n", sizeof(all->text) - strlen(all->text) - 1);
	strncat(all->text, printed ?: "no JSON", sizeof(all->text) - strlen(all->text) - 1);
	cJSON_free(printed);
	cJSON_Delete(parsed);
	return all->n == all->at ? all->answer : 0;
}

static int run(const char *yaml, size_t length, struct collected *all, struct rd_error *error)
{
	*error = (struct rd_error){0};
	return rd_yaml_documents(yaml, length, collect, all, error);
}

struct row {
	const char *yaml;
	const char *expected; /* the JSON, or the error */
};

static void expect_json(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct collected all = {0};
		struct rd_error error;

		if (run(rows[i].yaml, strlen(rows[i].yaml), &all, &error))
			fail_msg("row %zu: %s\n%s", i, error.text, rows[i].yaml);
		assert_string_equal(all.text, rows[i].expected);
		assert_string_equal(error.text, "");
	}
}

#define EXPECT_JSON(rows) expect_json((rows), RD_ARRAY_SIZE(rows))

TEST(documents_become_json)
{
	static const struct row rows[] = {
		{"a: 1\n", "{\"a\":1}"},
		{"a: 1", "{\"a\":1}"},
		{"a: 1\n---\nb: 2\n", "{\"a\":1}\n{\"b\":2}"},
		{"---\na: 1\n...\n---\nb: 2\n...\n", "{\"a\":1}\n{\"b\":2}"},
		{"# comment\na: 1 # more\n", "{\"a\":1}"},
		{"a:\n  b:\n  - c: x\n    d: y\n  - e\n",
		 "{\"a\":{\"b\":[{\"c\":\"x\",\"d\":\"y\"},\"e\"]}}"},
		{"a: {b: [1, 2], c: 'x'}\n", "{\"a\":{\"b\":[1,2],\"c\":\"x\"}}"},
		{"a: |\n  two\n  lines\n", "{\"a\":\"two\\nlines\\n\"}"},
		{"a: >-\n  one\n  line\n", "{\"a\":\"one line\"}"},
		{"\xef\xbb\xbf"
		 "a: 1\n",
		 "{\"a\":1}"},
		{"a: 1\r\nb: 2\r\n", "{\"a\":1,\"b\":2}"},
		{"a: \"\\u00e4 \\\"q\\\" \\\\\"\n", "{\"a\":\"\xc3\xa4 \\\"q\\\" \\\\\"}"},
		{"a: \xc3\xa4\n", "{\"a\":\"\xc3\xa4\"}"},
		{"8080: x\n", "{\"8080\":\"x\"}"},
		/* An anchor that nobody uses. */
		{"a: &x 1\nb: 2\n", "{\"a\":1,\"b\":2}"},
	};

	EXPECT_JSON(rows);
}

TEST(json_is_yaml)
{
	static const struct row rows[] = {
		{"{\"kind\":\"Service\",\"a\":[1,-2,true,false,null,\"x\"]}",
		 "{\"kind\":\"Service\",\"a\":[1,-2,true,false,null,\"x\"]}"},
		{"{\n\t\"a\": {\n\t\t\"b\": 1\n\t}\n}\n", "{\"a\":{\"b\":1}}"},
		{"{}", "{}"},
		{"[]", "[]"},
		/* And what looks like it. */
		{"{\"a\":1}\n---\n{\"b\":2}\n", "{\"a\":1}\n{\"b\":2}"},
		{"{\"a\":[1,],}", "{\"a\":[1]}"},
		{"{\"a\":1} # no comment in JSON\n", "{\"a\":1}"},
	};

	EXPECT_JSON(rows);
}

TEST(values_have_the_types_that_manifests_rest_on)
{
	static const struct row rows[] = {
		{"a: 80\n", "{\"a\":80}"},
		{"a: \"80\"\n", "{\"a\":\"80\"}"},
		{"a: '80'\n", "{\"a\":\"80\"}"},
		{"a: !!str 80\n", "{\"a\":\"80\"}"},
		{"a: true\nb: false\n", "{\"a\":true,\"b\":false}"},
		{"a: \"true\"\n", "{\"a\":\"true\"}"},
		{"a: None\n", "{\"a\":\"None\"}"},
		{"a: 10.96.0.1\nb: fd00::1\nc: 2026-01-01T00:00:00Z\n",
		 "{\"a\":\"10.96.0.1\",\"b\":\"fd00::1\",\"c\":\"2026-01-01T00:00:00Z\"}"},
		{"a:\nb: null\n", "{\"a\":null,\"b\":null}"},
		{"a: ''\n", "{\"a\":\"\"}"},
		/* No Norway: yes, no, on and off are words. */
		{"a: no\nb: on\n", "{\"a\":\"no\",\"b\":\"on\"}"},
	};

	EXPECT_JSON(rows);
}

TEST(tags_say_what_a_value_is)
{
	static const struct row rows[] = {
		{"a: !!str 80\nb: ! 80\nc: !!str true\nd: !!str\ne: ! ~\n",
		 "{\"a\":\"80\",\"b\":\"80\",\"c\":\"true\",\"d\":\"\",\"e\":\"~\"}"},
		{"a: !!int 80\nb: !!int \"80\"\nc: !!int -1\n", "{\"a\":80,\"b\":80,\"c\":-1}"},
		{"a: !!float 1.5\nb: !!float '2'\n", "{\"a\":1.5,\"b\":2}"},
		{"a: !!bool true\nb: !!bool 'FALSE'\n", "{\"a\":true,\"b\":false}"},
		{"a: !!null\nb: !!null ~\nc: !!null \"null\"\n",
		 "{\"a\":null,\"b\":null,\"c\":null}"},
		{"!!map {a: !!seq [!!int 1, !!str 2]}\n", "{\"a\":[1,\"2\"]}"},
		{"a: ! [1]\nb: ! {c: 1}\n", "{\"a\":[1],\"b\":{\"c\":1}}"},
		{"!!str a: 1\n!!int 80: 2\n", "{\"a\":1,\"80\":2}"},
		{"a: !<tag:yaml.org,2002:int> '80'\n", "{\"a\":80}"},
		{"%TAG !y! tag:yaml.org,2002:\n---\na: !y!int '80'\n", "{\"a\":80}"},
	};

	EXPECT_JSON(rows);
}

TEST(tags_that_are_unknown_or_wrong_are_refused_with_their_line)
{
#define WRONG "a value that is not what its tag says: "
	static const struct row rows[] = {
		{"a: 1\nb: !foo 1\n", "line 2: unknown tag: !foo"},
		{"a: !!binary aGk=\n", "line 1: unknown tag: !!binary"},
		{"a: !!integer 1\n", "line 1: unknown tag: !!integer"},
		{"a: !!set {x, y}\n", "line 1: unknown tag: !!set"},
		{"a:\n- !foo [1]\n", "line 2: unknown tag: !foo"},
		{"a: 1\n!foo b: 1\n", "line 2: unknown tag: !foo"},
		{"a: !<tag:example.com:x> 1\n", "line 1: unknown tag: !<tag:example.com:x>"},
		{"a: !!int x\n", "line 1: " WRONG "!!int"},
		{"a: !!int 1.5\n", "line 1: " WRONG "!!int"},
		{"a: !!int 1e3\n", "line 1: " WRONG "!!int"},
		{"a: !!int 0x1f\n", "line 1: " WRONG "!!int"},
		{"a: !!int\n", "line 1: " WRONG "!!int"},
		{"a: !!float .inf\n", "line 1: " WRONG "!!float"},
		{"a: 1\nb: !!bool yes\n", "line 2: " WRONG "!!bool"},
		{"a: !!bool ~\n", "line 1: " WRONG "!!bool"},
		{"a: !!null x\n", "line 1: " WRONG "!!null"},
		{"a: !!null true\n", "line 1: " WRONG "!!null"},
		{"a: !!map 1\n", "line 1: " WRONG "!!map"},
		{"a: !!str {b: 1}\n", "line 1: " WRONG "!!str"},
		{"a: !!map [1]\n", "line 1: " WRONG "!!map"},
		{"a: !!seq {b: 1}\n", "line 1: " WRONG "!!seq"},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct collected all = {0};
		struct rd_error error;

		if (run(rows[i].yaml, strlen(rows[i].yaml), &all, &error) != -EINVAL)
			fail_msg("row %zu is taken as %s", i, all.text);
		assert_string_equal(error.text, rows[i].expected);
	}
}

TEST(the_core_schemas_other_spellings_of_true_false_and_null_are_understood)
{
	static const struct row rows[] = {
		{"a: True\nb: FALSE\n", "{\"a\":true,\"b\":false}"},
		{"a: ~\nb: Null\nc: NULL\n", "{\"a\":null,\"b\":null,\"c\":null}"},
	};

	EXPECT_JSON(rows);
}

TEST(text_without_a_document_hands_nothing_over)
{
	static const char *const rows[] = {"", "\n", "# only a comment\n", "   \n\n"};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct collected all = {0};
		struct rd_error error;

		assert_int_equal(run(rows[i], strlen(rows[i]), &all, &error), 0);
		assert_int_equal(all.n, 0);
	}
}

TEST(an_empty_document_is_null)
{
	static const struct row rows[] = {
		{"---\n---\n", "null\nnull"},
		{"---\n---\na: 1\n", "null\n{\"a\":1}"},
	};

	EXPECT_JSON(rows);
}

TEST(only_the_given_length_is_read)
{
	struct collected all = {0};
	struct rd_error error;

	assert_int_equal(run("a: 1\nb: [", 5, &all, &error), 0);
	assert_string_equal(all.text, "{\"a\":1}");
}

TEST(what_is_not_yaml_is_refused_with_its_line)
{
	static const struct row rows[] = {
		{"a: b: c\n", "line 1: invalid nested block mapping on the same line"},
		{"a: 1\n\tb: 1\n", NULL},
		{"a:\n\tb: 1\n", "line 2: tab character may not be used as indentation"},
		{"a: [1,\n", NULL},
		{"a: {b\n", NULL},
		{"a: \"open\n", "line 1: double-quoted scalar without closing quote"},
		{"a: 1\na: 2\n", "line 2: duplicate key"},
		{"a: \"\xff\"\n", NULL},
		{"a: @x\n", "line 1: plain scalar cannot start with '@'"},
		{"{\"a\":1}}\n", NULL},
		{"{\n\"a\": [{\"b\": 1,\n\"b\": 2}]}", "line 3: duplicate key"},
		{"{\"a\":1} {\"b\":2}\n", NULL},
		{"a: 1\n b: 2\n", NULL},
		{"- a\nb: 1\n", NULL},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct collected all = {0};
		struct rd_error error;

		if (run(rows[i].yaml, strlen(rows[i].yaml), &all, &error) != -EINVAL)
			fail_msg("row %zu is taken: %s", i, all.text);
		if (rows[i].expected)
			assert_string_equal(error.text, rows[i].expected);
		assert_int_equal(strncmp(error.text, "line ", 5), 0);
	}
}

/* For these the library has no message. */
TEST(two_empty_keys_are_no_lack_of_memory)
{
	static const char *const rows[] = {": 1\n: 2\n", "{: 1, : 2}", "? \n? \n", "{:,:"};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct collected all = {0};
		struct rd_error error;

		assert_int_equal(run(rows[i], strlen(rows[i]), &all, &error), -EINVAL);
		assert_string_equal(error.text, "not YAML: perhaps two keys are empty");
	}
}

TEST(aliases_are_refused)
{
	static const char *const rows[] = {
		"a: &x 1\nb: *x\n",
		"a: *nobody\n",
		"x: &a [1]\ny:\n  <<: *a\n",
		/* A billion laughs. */
		"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
		"c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
		"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
		"g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: &h [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n",
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct collected all = {0};
		struct rd_error error;

		assert_int_equal(run(rows[i], strlen(rows[i]), &all, &error), -EINVAL);
		assert_non_null(strstr(error.text, "aliases not allowed"));
		assert_int_equal(all.n, 0);
	}
}

TEST(documents_before_the_wrong_one_have_been_handed_over)
{
	struct collected all = {0};
	struct rd_error error;
	static const char yaml[] = "a: 1\n---\nb: 2\n---\nc: [\n---\nd: 4\n";

	assert_int_equal(run(yaml, strlen(yaml), &all, &error), -EINVAL);
	assert_string_equal(all.text, "{\"a\":1}\n{\"b\":2}");
}

TEST(an_answer_other_than_0_ends_it_and_is_returned)
{
	struct collected all = {.answer = -EEXIST, .at = 2};
	struct rd_error error;
	static const char yaml[] = "a: 1\n---\nb: 2\n---\nc: 3\n";

	assert_int_equal(run(yaml, strlen(yaml), &all, &error), -EEXIST);
	assert_int_equal(all.n, 2);
	assert_string_equal(error.text, "");
	all = (struct collected){.answer = 7, .at = 1};
	assert_int_equal(run(yaml, strlen(yaml), &all, &error), 7);
	assert_int_equal(all.n, 1);
}

TEST(nesting_has_a_limit)
{
	static char yaml[100000];
	struct collected all = {0};
	struct rd_error error;

	memset(yaml, '[', sizeof(yaml));
	assert_int_equal(run(yaml, sizeof(yaml), &all, &error), -EINVAL);
	assert_string_equal(error.text, "line 1: Max depth (64) exceeded");
	for (size_t i = 0; i < sizeof(yaml); i++)
		yaml[i] = i % 2 ? ' ' : '-';
	assert_int_equal(run(yaml, sizeof(yaml), &all, &error), -EINVAL);
	assert_int_equal(all.n, 0);
}

TEST(a_zero_byte_is_not_yaml)
{
	static const char yaml[] = "a: 1\n\0b: 2\n";
	struct collected all = {0};
	struct rd_error error;

	/* As a crash leaves at the end of a file: what follows must not be lost
	 * in silence. */
	assert_int_equal(run(yaml, sizeof(yaml) - 1, &all, &error), -EINVAL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_become_json),
		cmocka_unit_test(json_is_yaml),
		cmocka_unit_test(values_have_the_types_that_manifests_rest_on),
		cmocka_unit_test(tags_say_what_a_value_is),
		cmocka_unit_test(tags_that_are_unknown_or_wrong_are_refused_with_their_line),
		cmocka_unit_test(
			the_core_schemas_other_spellings_of_true_false_and_null_are_understood),
		cmocka_unit_test(text_without_a_document_hands_nothing_over),
		cmocka_unit_test(an_empty_document_is_null),
		cmocka_unit_test(only_the_given_length_is_read),
		cmocka_unit_test(what_is_not_yaml_is_refused_with_its_line),
		cmocka_unit_test(two_empty_keys_are_no_lack_of_memory),
		cmocka_unit_test(aliases_are_refused),
		cmocka_unit_test(documents_before_the_wrong_one_have_been_handed_over),
		cmocka_unit_test(an_answer_other_than_0_ends_it_and_is_returned),
		cmocka_unit_test(nesting_has_a_limit),
		cmocka_unit_test(a_zero_byte_is_not_yaml),
	};

	return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}

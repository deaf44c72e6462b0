// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

#include "json.h"

static struct rd_error error;
static const struct rd_json_place place = {.kind = "thing", .name = "a", .error = &error};

static cJSON *parse(const char *text)
{
	cJSON *root;

	assert_int_equal(rd_json_parse(text, &root, &error), 0);
	return root;
}

TEST(text_that_is_not_json_is_refused_with_where)
{
	cJSON *root;

	assert_int_equal(rd_json_parse("{\"a\":x}", &root, &error), -EINVAL);
	assert_string_equal(error.text, "not JSON near \"x}\"");
	assert_int_equal(rd_json_parse("{} {}", &root, &error), -EINVAL);
}

TEST(members_are_read_by_their_type)
{
	cJSON *root =
		parse("{\"o\":{},\"l\":[1],\"s\":\"text\",\"e\":\"\",\"t\":true,\"f\":false}");
	const cJSON *item;
	const char *text;
	bool value;

	assert_int_equal(rd_json_object(&place, root, "o", &item), 0);
	assert_true(cJSON_IsObject(item));
	assert_int_equal(rd_json_array(&place, root, "l", &item), 0);
	assert_int_equal(cJSON_GetArraySize(item), 1);
	assert_int_equal(rd_json_string(&place, root, "s", "otherwise", &text), 0);
	assert_string_equal(text, "text");
	assert_int_equal(rd_json_string(&place, root, "e", "otherwise", &text), 0);
	assert_string_equal(text, "");
	assert_int_equal(rd_json_bool(&place, root, "t", false, &value), 0);
	assert_true(value);
	assert_int_equal(rd_json_bool(&place, root, "f", true, &value), 0);
	assert_false(value);
	cJSON_Delete(root);
}

static void check_absent(const cJSON *root)
{
	const cJSON *item = &(cJSON){0};
	const char *text;
	bool value;

	assert_null(rd_json_member(root, "a"));
	assert_int_equal(rd_json_object(&place, root, "a", &item), 0);
	assert_null(item);
	item = &(cJSON){0};
	assert_int_equal(rd_json_array(&place, root, "a", &item), 0);
	assert_null(item);
	assert_int_equal(rd_json_string(&place, root, "a", "otherwise", &text), 0);
	assert_string_equal(text, "otherwise");
	assert_int_equal(rd_json_bool(&place, root, "a", true, &value), 0);
	assert_true(value);
	assert_int_equal(rd_json_bool(&place, root, "a", false, &value), 0);
	assert_false(value);
}

TEST(an_absent_member_a_null_and_a_member_of_nothing_are_the_same)
{
	cJSON *absent = parse("{\"A\":1}"), *null = parse("{\"a\":null}"), *list = parse("[]");

	check_absent(absent);
	check_absent(null);
	check_absent(list);
	check_absent(NULL);
	assert_false(rd_json_has(absent, "a"));
	assert_true(rd_json_has(null, "a"));
	cJSON_Delete(absent);
	cJSON_Delete(null);
	cJSON_Delete(list);
}

TEST(a_member_of_another_type_is_refused_and_nothing_is_returned)
{
	static const char *const others[] = {"7", "\"text\"", "true", "{}", "[]"};

	for (size_t i = 0; i < RD_ARRAY_SIZE(others); i++) {
		char json[32];
		cJSON *root;
		const cJSON *item = NULL;
		const char *text = "before";
		bool value = true;

		snprintf(json, sizeof(json), "{\"a\":%s}", others[i]);
		root = parse(json);
		if (others[i][0] != '{') {
			assert_int_equal(rd_json_object(&place, root, "a", &item), -EINVAL);
			assert_string_equal(error.text, "thing a: a must be an object");
		}
		if (others[i][0] != '[') {
			assert_int_equal(rd_json_array(&place, root, "a", &item), -EINVAL);
			assert_string_equal(error.text, "thing a: a must be a list");
		}
		if (others[i][0] != '"') {
			assert_int_equal(rd_json_string(&place, root, "a", "", &text), -EINVAL);
			assert_string_equal(error.text, "thing a: a must be a string");
		}
		if (others[i][0] != 't') {
			assert_int_equal(rd_json_bool(&place, root, "a", false, &value), -EINVAL);
			assert_string_equal(error.text, "thing a: a must be true or false");
		}
		assert_null(item);
		assert_string_equal(text, "before");
		assert_true(value);
		cJSON_Delete(root);
	}
}

TEST(an_error_says_where_as_far_as_is_known)
{
	static const struct {
		struct rd_json_place place;
		const char *expected;
	} rows[] = {
		{{.kind = "Pod"}, "Pod without a name: is bad"},
		{{.kind = "Node", .name = "n1"}, "Node n1: is bad"},
		{{.kind = "Pod", .namespace = "shop", .name = "web"}, "Pod shop/web: is bad"},
		{{.kind = "user", .name = "me and you", .quoted = true},
		 "user \"me and you\": is bad"},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_json_place where = rows[i].place;

		where.error = &error;
		assert_int_equal(rd_json_fail(&where, "is %s", "bad"), -EINVAL);
		assert_string_equal(error.text, rows[i].expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_that_is_not_json_is_refused_with_where),
		cmocka_unit_test(members_are_read_by_their_type),
		cmocka_unit_test(an_absent_member_a_null_and_a_member_of_nothing_are_the_same),
		cmocka_unit_test(a_member_of_another_type_is_refused_and_nothing_is_returned),
		cmocka_unit_test(an_error_says_where_as_far_as_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

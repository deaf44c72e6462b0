// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "unit/alloc_fail.h"
#include "util.h"

static const struct {
	const char *bytes;
	const char *text;
} rows[] = {
	/* RFC 4648, 10. */
	{"", ""},
	{"f", "Zg=="},
	{"fo", "Zm8="},
	{"foo", "Zm9v"},
	{"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
	{"\xfb\xff\xbf", "+/+/"},
	{"\xff\xff\xff", "////"},
};

TEST(bytes_are_encoded)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		_rd_free_ char *text = rd_base64_encode(rows[i].bytes, strlen(rows[i].bytes));

		assert_non_null(text);
		assert_string_equal(text, rows[i].text);
	}
}

static void expect_bytes(const char *text, const char *bytes, size_t length)
{
	_rd_free_ char *decoded = NULL;
	size_t n = 77;

	if (rd_base64_decode(text, &decoded, &n))
		fail_msg("refused: %s", text);
	assert_int_equal(n, length);
	assert_memory_equal(decoded, bytes, length + 1);
}

TEST(text_is_decoded)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++)
		expect_bytes(rows[i].text, rows[i].bytes, strlen(rows[i].bytes));
}

TEST(zero_bytes_are_decoded)
{
	expect_bytes("AAAA", "\0\0\0", 3);
	expect_bytes("AA==", "\0", 1);
	expect_bytes("AAA=", "\0\0", 2);
}

TEST(line_breaks_are_passed_over)
{
	expect_bytes("Zm9v\nYmFy\r\n", "foobar", 6);
	expect_bytes("\nZ\nm\n9\nv\n", "foo", 3);
	expect_bytes("Zg=\n=\n", "f", 1);
	expect_bytes("\n", "", 0);
}

TEST(what_is_not_base64_is_refused)
{
	static const char *const wrong[] = {
		"Z",
		"Zm",
		"Zm9",
		"Zg=",
		"Zm9v=",
		"Zm9v====",
		"=",
		"==",
		"====",
		"Z===",
		"=Zg=",
		"Z=g=",
		"Zg==Zg==",
		"Zg==Z",
		"Zg== ",
		"Zm 9v",
		" Zm9v",
		"Zm9v\t",
		"Zm-_",
		"Zm9\xc3",
		"Zm9v!",
		/* Bits that are left over. */
		"Zh==",
		"Zm9=",
		"Z/==",
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(wrong); i++) {
		char *bytes = NULL;
		size_t n;

		if (rd_base64_decode(wrong[i], &bytes, &n) != -EINVAL)
			fail_msg("taken: %s", wrong[i]);
		assert_null(bytes);
	}
}

TEST(every_length_and_byte_comes_back)
{
	char bytes[256];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	for (size_t from = 0; from < sizeof(bytes); from++) {
		_rd_free_ char *text = rd_base64_encode(bytes + from, sizeof(bytes) - from);
		_rd_free_ char *back = NULL;
		size_t n = 0;

		assert_int_equal(rd_base64_decode(text, &back, &n), 0);
		assert_int_equal(n, sizeof(bytes) - from);
		assert_memory_equal(back, bytes + from, n);
	}
}

TEST(out_of_memory_is_told)
{
	char *bytes = NULL;
	size_t n;

	alloc_fail_at(1);
	assert_int_equal(rd_base64_decode("Zm9v", &bytes, &n), -ENOMEM);
	assert_true(alloc_fail_end());
	assert_null(bytes);
	alloc_fail_at(1);
	assert_null(rd_base64_encode("foo", 3));
	assert_true(alloc_fail_end());
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_are_encoded),
		cmocka_unit_test(text_is_decoded),
		cmocka_unit_test(zero_bytes_are_decoded),
		cmocka_unit_test(line_breaks_are_passed_over),
		cmocka_unit_test(what_is_not_base64_is_refused),
		cmocka_unit_test(every_length_and_byte_comes_back),
		cmocka_unit_test(out_of_memory_is_told),
	};

	return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}

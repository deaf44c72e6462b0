// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "unit/alloc_fail.h"
#include "util.h"

TEST(take_gives_the_value_and_leaves_null)
{
	char *text = strdup("x");
	char *was = text;
	char *taken = rd_take(text);

	assert_ptr_equal(taken, was);
	assert_null(text);
	free(taken);
}

TEST(cleanup_at_the_end_of_scope_frees_what_was_not_taken)
{
	char *kept = NULL;

	{
		_rd_free_ char *a = strdup("freed");
		_rd_free_ char *b = strdup("taken");
		_rd_free_ char *c = NULL;

		assert_non_null(a);
		assert_null(c);
		kept = rd_take(b);
	}
	assert_string_equal(kept, "taken");
	free(kept);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

TEST(a_text_is_copied_whole_or_as_far_as_it_fits)
{
	char to[4] = "xxx";

	rd_text_copy(to, sizeof(to), "ab");
	assert_string_equal(to, "ab");
	rd_text_copy(to, sizeof(to), "");
	assert_string_equal(to, "");
	rd_text_copy(to, sizeof(to), "abc");
	assert_string_equal(to, "abc");
	rd_text_copy(to, sizeof(to), "defg");
	assert_string_equal(to, "def");
}

TEST(close_at_the_end_of_scope_closes_and_preserves_errno)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	errno = EEXIST;
	{
		_rd_close_ int owned = fd;

		(void)owned;
	}
	assert_int_equal(errno, EEXIST);
	assert_false(is_open(fd));
}

TEST(close_of_no_descriptor_does_nothing)
{
	errno = EEXIST;
	{
		_rd_close_ int none = -1;

		(void)none;
	}
	assert_int_equal(errno, EEXIST);
}

TEST(fclose_at_the_end_of_scope_closes)
{
	int fd;

	{
		_rd_fclose_ FILE *file = fopen("/dev/null", "re");
		_rd_fclose_ FILE *none = NULL;

		assert_non_null(file);
		assert_null(none);
		fd = fileno(file);
		assert_true(is_open(fd));
	}
	assert_false(is_open(fd));
}

TEST(error_set_formats_and_returns_the_code)
{
	struct rd_error error = {0};

	assert_int_equal(rd_error_set(&error, -ENOSPC, "%s %d", "all", 3), -ENOSPC);
	assert_string_equal(error.text, "all 3");
}

TEST(a_text_too_long_for_an_error_is_cut)
{
	char text[1000];
	struct rd_error error = {0};

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(rd_error_set(&error, -EINVAL, "%s", text), -EINVAL);
	assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
}

TEST(an_array_grows_and_keeps_its_elements)
{
	int *array = NULL;

	for (size_t n = 0; n < 1000; n++) {
		assert_int_equal(rd_array_grow(&array, n, sizeof(*array)), 0);
		array[n] = (int)n;
	}
	for (int n = 0; n < 1000; n++)
		assert_int_equal(array[n], n);
	free(array);
}

TEST(an_array_grows_at_powers_of_two_only)
{
	char *array = NULL;

	for (size_t n = 0; n < 100; n++) {
		alloc_fail_at(n & (n - 1) ? 1 : 0);
		assert_int_equal(rd_array_grow(&array, n, sizeof(*array)), 0);
		assert_false(alloc_fail_end());
		array[n] = 'x';
	}
	free(array);
}

TEST(an_array_that_cannot_grow_is_as_it_was)
{
	int *array = NULL;
	int *before;

	alloc_fail_at(1);
	assert_int_equal(rd_array_grow(&array, 0, sizeof(*array)), -ENOMEM);
	assert_true(alloc_fail_end());
	assert_null(array);

	assert_int_equal(rd_array_grow(&array, 0, sizeof(*array)), 0);
	array[0] = 7;
	before = array;
	alloc_fail_at(1);
	assert_int_equal(rd_array_grow(&array, 1, sizeof(*array)), -ENOMEM);
	assert_true(alloc_fail_end());
	assert_ptr_equal(array, before);
	assert_int_equal(array[0], 7);
	free(array);
}

TEST(clocks_run_in_nanoseconds)
{
	uint64_t before = rd_monotonic_ns();

	assert_true(rd_monotonic_ns() >= before);
	/* After 2020, before 2100: a unit mistaken would show. */
	assert_in_range(rd_realtime_ns() / 1000000000U, 1577836800U, 4102444800U);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(take_gives_the_value_and_leaves_null),
		cmocka_unit_test(cleanup_at_the_end_of_scope_frees_what_was_not_taken),
		cmocka_unit_test(a_text_is_copied_whole_or_as_far_as_it_fits),
		cmocka_unit_test(close_at_the_end_of_scope_closes_and_preserves_errno),
		cmocka_unit_test(close_of_no_descriptor_does_nothing),
		cmocka_unit_test(fclose_at_the_end_of_scope_closes),
		cmocka_unit_test(error_set_formats_and_returns_the_code),
		cmocka_unit_test(a_text_too_long_for_an_error_is_cut),
		cmocka_unit_test(an_array_grows_and_keeps_its_elements),
		cmocka_unit_test(an_array_grows_at_powers_of_two_only),
		cmocka_unit_test(an_array_that_cannot_grow_is_as_it_was),
		cmocka_unit_test(clocks_run_in_nanoseconds),
	};

	return cmocka_run_group_tests_name("util", tests, NULL, NULL);
}

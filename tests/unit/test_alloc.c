// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <errno.h>
#include <string.h>

#include "alloc.h"
#include "unit/alloc_fail.h"

static void make(struct rd_alloc *alloc, uint32_t size)
{
	assert_int_equal(rd_alloc_new(alloc, size), 0);
}

/* Take, expecting these numbers. */
static void take(struct rd_alloc *alloc, uint32_t count, uint32_t expected)
{
	uint32_t first = UINT32_MAX;

	assert_int_equal(rd_alloc_take(alloc, count, &first), 0);
	assert_int_equal(first, expected);
}

static void refuse(struct rd_alloc *alloc, uint32_t count)
{
	uint32_t first = 4711;

	assert_int_equal(rd_alloc_take(alloc, count, &first), -ENOSPC);
	assert_int_equal(first, 4711);
}

TEST(numbers_are_taken_side_by_side)
{
	struct rd_alloc alloc;

	make(&alloc, 100);
	take(&alloc, 1, 0);
	take(&alloc, 10, 1);
	take(&alloc, 3, 11);
	assert_int_equal(alloc.used_count, 14);
	rd_alloc_free(&alloc);
}

TEST(a_number_given_back_is_taken_as_late_as_possible)
{
	struct rd_alloc alloc;

	make(&alloc, 8);
	take(&alloc, 2, 0);
	take(&alloc, 2, 2);
	rd_alloc_give(&alloc, 0, 2);
	take(&alloc, 2, 4);
	take(&alloc, 2, 6);
	take(&alloc, 2, 0);
	rd_alloc_free(&alloc);
}

TEST(everything_can_be_taken_and_not_one_more)
{
	static const uint32_t sizes[] = {1, 2, 63, 64, 65, 127, 128, 129, 1000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct rd_alloc alloc;

		make(&alloc, sizes[i]);
		take(&alloc, sizes[i], 0);
		refuse(&alloc, 1);
		rd_alloc_give(&alloc, 0, sizes[i]);
		for (uint32_t n = 0; n < sizes[i]; n++)
			take(&alloc, 1, n);
		refuse(&alloc, 1);
		rd_alloc_free(&alloc);
	}
}

TEST(more_than_there_is_is_refused)
{
	struct rd_alloc alloc;

	make(&alloc, 10);
	refuse(&alloc, 11);
	refuse(&alloc, UINT32_MAX);
	rd_alloc_free(&alloc);
	make(&alloc, 0);
	refuse(&alloc, 1);
	rd_alloc_free(&alloc);
}

TEST(a_run_must_be_whole)
{
	struct rd_alloc alloc;

	make(&alloc, 10);
	take(&alloc, 10, 0);
	rd_alloc_give(&alloc, 0, 4);
	rd_alloc_give(&alloc, 5, 4);
	refuse(&alloc, 5);
	assert_int_equal(alloc.used_count, 2);
	take(&alloc, 4, 0);
	take(&alloc, 4, 5);
	rd_alloc_free(&alloc);
}

TEST(a_run_does_not_go_round_the_end)
{
	struct rd_alloc alloc;

	make(&alloc, 10);
	take(&alloc, 8, 0);
	rd_alloc_give(&alloc, 0, 2);
	refuse(&alloc, 4);
	take(&alloc, 2, 8);
	take(&alloc, 2, 0);
	rd_alloc_free(&alloc);
}

TEST(a_run_may_lie_across_the_place_where_the_search_begins)
{
	struct rd_alloc alloc;

	make(&alloc, 10);
	take(&alloc, 4, 0);
	take(&alloc, 6, 4);
	rd_alloc_give(&alloc, 4, 6);
	take(&alloc, 3, 4);
	rd_alloc_give(&alloc, 4, 3);
	/* The search begins at 7; only 4 to 9 hold six. */
	take(&alloc, 6, 4);
	rd_alloc_free(&alloc);
}

TEST(full_words_are_passed_over)
{
	struct rd_alloc alloc;

	make(&alloc, 640);
	take(&alloc, 640, 0);
	rd_alloc_give(&alloc, 100, 1);
	rd_alloc_give(&alloc, 510, 4);
	take(&alloc, 4, 510);
	take(&alloc, 1, 100);
	refuse(&alloc, 1);
	rd_alloc_free(&alloc);
}

TEST(retired_numbers_wait_for_a_grace_period)
{
	struct rd_alloc alloc;

	make(&alloc, 4);
	take(&alloc, 4, 0);
	rd_alloc_retire(&alloc, 1, 2);
	assert_int_equal(alloc.used_count, 4);
	assert_int_equal(alloc.limbo_count, 2);
	refuse(&alloc, 1);
	rd_alloc_grace(&alloc);
	assert_int_equal(alloc.used_count, 2);
	assert_int_equal(alloc.limbo_count, 0);
	take(&alloc, 2, 1);
	refuse(&alloc, 1);
	rd_alloc_free(&alloc);
}

TEST(a_grace_period_frees_only_what_was_retired)
{
	struct rd_alloc alloc;

	make(&alloc, 70);
	take(&alloc, 70, 0);
	rd_alloc_grace(&alloc);
	refuse(&alloc, 1);
	rd_alloc_retire(&alloc, 63, 2);
	rd_alloc_grace(&alloc);
	rd_alloc_grace(&alloc);
	take(&alloc, 2, 63);
	refuse(&alloc, 1);
	rd_alloc_free(&alloc);
}

TEST(adopted_numbers_are_taken)
{
	struct rd_alloc alloc;

	make(&alloc, 10);
	assert_int_equal(rd_alloc_adopt(&alloc, 2, 3), 0);
	assert_int_equal(alloc.used_count, 3);
	/* Again, and with neighbours: what is taken stays so. */
	assert_int_equal(rd_alloc_adopt(&alloc, 2, 3), 0);
	assert_int_equal(rd_alloc_adopt(&alloc, 4, 2), 0);
	assert_int_equal(alloc.used_count, 4);
	take(&alloc, 4, 6);
	take(&alloc, 2, 0);
	refuse(&alloc, 1);
	rd_alloc_free(&alloc);
}

TEST(numbers_outside_are_not_adopted)
{
	static const struct {
		uint32_t first, count;
	} rows[] = {
		{.first = 10, .count = 1},
		{.first = 9, .count = 2},
		{.first = 0, .count = 11},
		{.first = UINT32_MAX, .count = 1},
		{.first = UINT32_MAX, .count = UINT32_MAX},
		{.first = 1, .count = UINT32_MAX},
	};
	struct rd_alloc alloc;

	make(&alloc, 10);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(rd_alloc_adopt(&alloc, rows[i].first, rows[i].count), -ERANGE);
	assert_int_equal(alloc.used_count, 0);
	assert_int_equal(rd_alloc_adopt(&alloc, 10, 0), 0);
	assert_int_equal(rd_alloc_adopt(&alloc, 9, 1), 0);
	take(&alloc, 9, 0);
	rd_alloc_free(&alloc);
}

/* Thousands of operations against an array of bytes. */
TEST(any_history_agrees_with_a_naive_model)
{
	enum { FREE, USED, LIMBO };
	enum { SIZE = 200 };
	static uint8_t model[SIZE];
	uint32_t seed = 20261122;
	struct rd_alloc alloc;

	make(&alloc, SIZE);
	for (int step = 0; step < 20000; step++) {
		uint32_t count, first, longest = 0, run = 0, used = 0;
		int r;

		seed = seed * 1664525U + 1013904223U;
		count = 1 + (seed >> 8) % 20;
		for (uint32_t n = 0; n < SIZE; n++) {
			run = model[n] == FREE ? run + 1 : 0;
			longest = run > longest ? run : longest;
		}
		if (seed >> 28 < 8) {
			r = rd_alloc_take(&alloc, count, &first);
			assert_int_equal(r, longest >= count ? 0 : -ENOSPC);
			for (uint32_t n = first; !r && n < first + count; n++) {
				assert_int_equal(model[n], FREE);
				model[n] = USED;
			}
		} else if (seed >> 28 < 15) {
			/* One run of what is used, retired or given. */
			first = (seed >> 13) % SIZE;
			for (run = 0; first + run < SIZE && model[first + run] == USED; run++)
				model[first + run] = seed >> 28 < 11 ? FREE : LIMBO;
			(seed >> 28 < 11 ? rd_alloc_give : rd_alloc_retire)(&alloc, first, run);
		} else {
			rd_alloc_grace(&alloc);
			for (uint32_t n = 0; n < SIZE; n++)
				model[n] = model[n] == LIMBO ? FREE : model[n];
		}
		for (uint32_t n = 0; n < SIZE; n++)
			used += model[n] != FREE;
		assert_int_equal(alloc.used_count, used);
	}
	rd_alloc_free(&alloc);
}

TEST(out_of_memory_leaves_nothing_behind)
{
	struct rd_alloc alloc;

	for (unsigned n = 1; alloc_fail_at(n); n++) {
		int r = rd_alloc_new(&alloc, 1000);

		if (!alloc_fail_end()) {
			assert_int_equal(r, 0);
			assert_int_equal(n, 3);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		/* As after rd_alloc_free, which may be called again. */
		rd_alloc_free(&alloc);
	}
	rd_alloc_free(&alloc);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_taken_side_by_side),
		cmocka_unit_test(a_number_given_back_is_taken_as_late_as_possible),
		cmocka_unit_test(everything_can_be_taken_and_not_one_more),
		cmocka_unit_test(more_than_there_is_is_refused),
		cmocka_unit_test(a_run_must_be_whole),
		cmocka_unit_test(a_run_does_not_go_round_the_end),
		cmocka_unit_test(a_run_may_lie_across_the_place_where_the_search_begins),
		cmocka_unit_test(full_words_are_passed_over),
		cmocka_unit_test(retired_numbers_wait_for_a_grace_period),
		cmocka_unit_test(a_grace_period_frees_only_what_was_retired),
		cmocka_unit_test(adopted_numbers_are_taken),
		cmocka_unit_test(numbers_outside_are_not_adopted),
		cmocka_unit_test(any_history_agrees_with_a_naive_model),
		cmocka_unit_test(out_of_memory_leaves_nothing_behind),
	};

	return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}

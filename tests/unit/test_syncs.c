// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include "syncs.h"
#include "util.h"

#define SECOND 1000000000ULL
#define MS 1000000ULL

/* A sync that ends well at that time, and takes none. */
static void sync_at(struct rd_syncs *syncs, uint64_t now)
{
	rd_syncs_ended(syncs, true, now, now, 7 * SECOND);
}

TEST(a_sync_goes_to_the_first_bucket_that_it_does_not_exceed)
{
	static const struct {
		uint64_t ns;
		size_t bucket;
	} rows[] = {
		{0, 0},
		{MS, 0},
		{MS + 1, 1},
		{16384 * MS, 14},
		{16384 * MS + 1, 15},
		{UINT32_MAX * MS, 15},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_syncs syncs = {0};

		rd_syncs_ended(&syncs, i % 2, 5, 5 + rows[i].ns, 7);
		assert_int_equal(syncs.took[rows[i].bucket], 1);
		assert_int_equal(syncs.took_sum_ns, rows[i].ns);
	}
}

TEST(I3_endpoints_go_to_the_first_bucket_of_kube_proxy_that_they_do_not_exceed)
{
	static const struct {
		uint64_t ms;
		size_t bucket;
	} rows[] = {
		{0, 0},	      {250, 0},	    {251, 1},	  {500, 1},	{501, 2},     {1000, 2},
		{1001, 3},    {59000, 60},  {59001, 61},  {60000, 61},	{60001, 62},  {115000, 72},
		{115001, 73}, {120000, 73}, {120001, 74}, {300000, 79}, {300001, 80}, {9000000, 80},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_syncs syncs = {0};

		rd_syncs_programmed(&syncs, SECOND, SECOND + rows[i].ms * MS);
		assert_int_equal(syncs.programmed[rows[i].bucket], 1);
		assert_int_equal(syncs.programmed_sum_ns, rows[i].ms * MS);
	}
}

TEST(I3_what_is_yet_to_happen_took_no_time)
{
	struct rd_syncs syncs = {0};

	rd_syncs_programmed(&syncs, 2 * SECOND, SECOND);
	assert_int_equal(syncs.programmed[0], 1);
	assert_int_equal(syncs.programmed_sum_ns, 0);
}

TEST(times_of_day_are_those_of_the_last_change_and_of_the_last_good_sync)
{
	struct rd_syncs syncs = {0};

	rd_syncs_queued(&syncs, 1, 11);
	rd_syncs_queued(&syncs, 2, 12);
	assert_int_equal(syncs.last_queued_ns, 12);
	assert_int_equal(syncs.last_sync_ns, 0);
	rd_syncs_ended(&syncs, true, 3, 4, 14);
	rd_syncs_ended(&syncs, false, 5, 6, 16);
	assert_int_equal(syncs.last_queued_ns, 12);
	assert_int_equal(syncs.last_sync_ns, 14);
}

TEST(I1_a_change_that_waits_for_more_than_60_seconds_is_not_timely)
{
	struct rd_syncs syncs = {0};

	sync_at(&syncs, SECOND);
	assert_true(rd_syncs_are_timely(&syncs, 1000 * SECOND));
	rd_syncs_queued(&syncs, 1000 * SECOND, 1);
	assert_true(rd_syncs_are_timely(&syncs, 1000 * SECOND));
	assert_true(rd_syncs_are_timely(&syncs, 1060 * SECOND));
	assert_false(rd_syncs_are_timely(&syncs, 1060 * SECOND + 1));
	sync_at(&syncs, 1061 * SECOND);
	assert_true(rd_syncs_are_timely(&syncs, 5000 * SECOND));
}

TEST(I1_of_several_changes_the_oldest_counts_and_a_failed_sync_is_none)
{
	struct rd_syncs syncs = {0};

	sync_at(&syncs, SECOND);
	rd_syncs_queued(&syncs, 100 * SECOND, 1);
	rd_syncs_queued(&syncs, 150 * SECOND, 1);
	rd_syncs_ended(&syncs, false, 151 * SECOND, 152 * SECOND, 1);
	assert_true(rd_syncs_are_timely(&syncs, 160 * SECOND));
	assert_false(rd_syncs_are_timely(&syncs, 161 * SECOND));
}

/* Nobody told of a change: the node's addresses, or what a signal reads again. */
TEST(I1_a_failed_sync_makes_a_change_wait_that_nobody_queued)
{
	struct rd_syncs syncs = {0};

	sync_at(&syncs, SECOND);
	rd_syncs_ended(&syncs, false, 100 * SECOND, 101 * SECOND, 1);
	assert_true(rd_syncs_are_timely(&syncs, 160 * SECOND));
	assert_false(rd_syncs_are_timely(&syncs, 161 * SECOND));
}

TEST(I1_until_the_first_sync_ends_well_nothing_is_late)
{
	struct rd_syncs syncs = {0};

	rd_syncs_queued(&syncs, SECOND, 1);
	assert_true(rd_syncs_are_timely(&syncs, 5000 * SECOND));
	rd_syncs_ended(&syncs, false, 2 * SECOND, 3 * SECOND, 1);
	assert_true(rd_syncs_are_timely(&syncs, 5000 * SECOND));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sync_goes_to_the_first_bucket_that_it_does_not_exceed),
		cmocka_unit_test(
			I3_endpoints_go_to_the_first_bucket_of_kube_proxy_that_they_do_not_exceed),
		cmocka_unit_test(I3_what_is_yet_to_happen_took_no_time),
		cmocka_unit_test(
			times_of_day_are_those_of_the_last_change_and_of_the_last_good_sync),
		cmocka_unit_test(I1_a_change_that_waits_for_more_than_60_seconds_is_not_timely),
		cmocka_unit_test(I1_of_several_changes_the_oldest_counts_and_a_failed_sync_is_none),
		cmocka_unit_test(I1_a_failed_sync_makes_a_change_wait_that_nobody_queued),
		cmocka_unit_test(I1_until_the_first_sync_ends_well_nothing_is_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

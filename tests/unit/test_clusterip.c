// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clusterip.h"
#include "unit/alloc_fail.h"

static struct rd_ip ip(const char *text)
{
	struct rd_ip parsed;

	assert_int_equal(rd_ip_parse(text, &parsed), 0);
	return parsed;
}

static struct rd_cidr cidr(const char *text)
{
	struct rd_cidr parsed;

	assert_int_equal(rd_cidr_parse(text, &parsed), 0);
	return parsed;
}

static void add(struct rd_ip_set *set, const char *text)
{
	struct rd_ip added = ip(text);

	assert_int_equal(rd_ip_set_add(set, &added), 0);
}

static bool has(const struct rd_ip_set *set, const char *text)
{
	struct rd_ip wanted = ip(text);

	return rd_ip_set_has(set, &wanted);
}

/* Pick for a Service and take what was picked. */
static struct rd_ip pick(struct rd_ip_set *taken, const char *range, const char *name)
{
	struct rd_cidr from = cidr(range);
	struct rd_ip picked;

	assert_int_equal(rd_clusterip_pick(&from, taken, "default", name, &picked), 0);
	assert_true(rd_cidr_contains(&from, &picked));
	assert_false(rd_ip_set_has(taken, &picked));
	assert_int_equal(rd_ip_set_add(taken, &picked), 0);
	return picked;
}

static void refuse(const struct rd_ip_set *taken, const char *range)
{
	struct rd_ip untouched = {.family = 77}, picked = untouched;
	struct rd_cidr from = cidr(range);

	assert_int_equal(rd_clusterip_pick(&from, taken, "default", "web", &picked), -ENOSPC);
	assert_memory_equal(&picked, &untouched, sizeof(picked));
}

TEST(a_set_has_what_was_added_of_both_families)
{
	struct rd_ip_set set = {0};

	add(&set, "10.0.0.1");
	add(&set, "10.0.0.1");
	add(&set, "fd00::1");
	assert_true(has(&set, "10.0.0.1"));
	assert_true(has(&set, "fd00::1"));
	assert_false(has(&set, "10.0.0.2"));
	assert_false(has(&set, "fd00::2"));
	rd_ip_set_clear(&set);
	assert_false(has(&set, "10.0.0.1"));
	rd_ip_set_clear(&set);
}

TEST(no_address_is_not_added)
{
	struct rd_ip_set set = {0};
	struct rd_ip none = {0};

	assert_int_equal(rd_ip_set_add(&set, &none), 0);
	assert_false(rd_ip_set_has(&set, &none));
	assert_true(RB_EMPTY(&set));
}

TEST(out_of_memory_leaves_the_set_as_it_was)
{
	struct rd_ip_set set = {0};
	struct rd_ip first = ip("10.0.0.1"), second = ip("10.0.0.2");

	for (unsigned n = 1; alloc_fail_at(n); n++) {
		int r = rd_ip_set_add(&set, &first);

		if (!alloc_fail_end()) {
			assert_int_equal(r, 0);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_true(RB_EMPTY(&set));
	}
	alloc_fail_at(1);
	/* What is there needs no memory. */
	assert_int_equal(rd_ip_set_add(&set, &first), 0);
	assert_int_equal(rd_ip_set_add(&set, &second), -ENOMEM);
	assert_true(alloc_fail_end());
	assert_true(rd_ip_set_has(&set, &first));
	assert_false(rd_ip_set_has(&set, &second));
	rd_ip_set_clear(&set);
}

TEST(a_name_gets_the_same_address_every_time)
{
	struct rd_ip_set none = {0};
	struct rd_cidr from = cidr("10.96.0.0/16");
	struct rd_ip first, second, other;

	assert_int_equal(rd_clusterip_pick(&from, &none, "default", "web", &first), 0);
	assert_int_equal(rd_clusterip_pick(&from, &none, "default", "web", &second), 0);
	assert_memory_equal(&first, &second, sizeof(first));
	assert_int_equal(rd_clusterip_pick(&from, &none, "shop", "web", &other), 0);
	assert_memory_not_equal(&first, &other, sizeof(first));
	assert_int_equal(rd_clusterip_pick(&from, &none, "default", "db", &other), 0);
	assert_memory_not_equal(&first, &other, sizeof(first));
}

/* An address once given must not change with a new release: clients may have
 * it. This is FNV-1a, of 32 bits, of "namespace/name". */
TEST(the_address_of_a_name_is_the_same_in_every_release)
{
	struct rd_ip_set none = {0};
	struct rd_cidr from = cidr("10.96.0.0/16");
	uint32_t hash = 2166136261U;
	uint32_t offset;
	struct rd_ip picked;

	for (const char *c = "default/web"; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 16777619U;
	offset = 1 + hash % 65534;
	assert_int_equal(rd_clusterip_pick(&from, &none, "default", "web", &picked), 0);
	assert_int_equal(picked.bytes[0], 10);
	assert_int_equal(picked.bytes[1], 96);
	assert_int_equal(picked.bytes[2] << 8 | picked.bytes[3], offset);
}

TEST(the_order_in_which_names_come_does_not_matter)
{
	static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
	struct rd_ip_set forth = {0}, back = {0};
	struct rd_ip picked[8];

	for (int i = 0; i < 8; i++)
		picked[i] = pick(&forth, "10.96.0.0/16", names[i]);
	for (int i = 7; i >= 0; i--) {
		struct rd_ip again = pick(&back, "10.96.0.0/16", names[i]);

		assert_memory_equal(&again, &picked[i], sizeof(again));
	}
	rd_ip_set_clear(&forth);
	rd_ip_set_clear(&back);
}

TEST(a_taken_address_gives_way_to_the_next)
{
	struct rd_ip_set taken = {0};
	struct rd_ip first = pick(&taken, "10.96.0.0/16", "web");
	struct rd_ip second = pick(&taken, "10.96.0.0/16", "web");

	assert_int_equal((first.bytes[2] << 8 | first.bytes[3]) + 1,
			 second.bytes[2] << 8 | second.bytes[3]);
	rd_ip_set_clear(&taken);
}

/* How many addresses a range gives, with none of them twice. */
static void exhaust(const char *range, int expected)
{
	struct rd_ip_set taken = {0};

	for (int i = 0; i < expected; i++) {
		char name[16];

		snprintf(name, sizeof(name), "svc-%d", i);
		pick(&taken, range, name);
	}
	refuse(&taken, range);
	rd_ip_set_clear(&taken);
}

TEST(the_first_address_and_in_ipv4_the_last_are_not_given)
{
	struct rd_ip_set taken = {0};
	struct rd_ip picked;

	exhaust("10.96.0.0/29", 6);
	exhaust("10.96.0.0/30", 2);
	exhaust("fd00::/125", 7);
	exhaust("fd00::/127", 1);

	for (int i = 0; i < 6; i++) {
		picked = pick(&taken, "10.96.0.8/29", "web");
		assert_in_range(picked.bytes[3], 9, 14);
	}
	for (int i = 0; i < 7; i++) {
		picked = pick(&taken, "fd00::8/125", "web");
		assert_in_range(picked.bytes[15], 9, 15);
	}
	rd_ip_set_clear(&taken);
}

TEST(a_range_too_small_has_no_address)
{
	struct rd_ip_set none = {0};

	refuse(&none, "10.96.0.0/31");
	refuse(&none, "10.96.0.1/32");
	refuse(&none, "fd00::1/128");
}

TEST(wide_ranges_are_no_trouble)
{
	static const char *const ranges[] = {"0.0.0.0/0", "10.0.0.0/8", "fd00::/96",
					     "fd00::/64", "fd00::/8",	"::/0"};
	struct rd_ip_set taken = {0};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		for (int n = 0; n < 20; n++)
			pick(&taken, ranges[i], "web");
	rd_ip_set_clear(&taken);
}

TEST(the_search_ends_after_65536_addresses)
{
	struct rd_ip_set taken = {0};
	struct rd_cidr from = cidr("10.0.0.0/8");
	struct rd_ip next = pick(&taken, "10.0.0.0/8", "web");

	/* Take what follows the place where the search for this name begins. */
	for (int i = 2; i < 65536; i++) {
		for (int byte = 3; byte > 0 && !++next.bytes[byte]; byte--)
			;
		assert_int_equal(rd_ip_set_add(&taken, &next), 0);
	}
	/* The last that is looked at is free; then it is not. */
	pick(&taken, "10.0.0.0/8", "web");
	refuse(&taken, "10.0.0.0/8");
	/* Another name begins elsewhere. */
	assert_int_equal(rd_clusterip_pick(&from, &taken, "default", "db", &next), 0);
	rd_ip_set_clear(&taken);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_set_has_what_was_added_of_both_families),
		cmocka_unit_test(no_address_is_not_added),
		cmocka_unit_test(out_of_memory_leaves_the_set_as_it_was),
		cmocka_unit_test(a_name_gets_the_same_address_every_time),
		cmocka_unit_test(the_address_of_a_name_is_the_same_in_every_release),
		cmocka_unit_test(the_order_in_which_names_come_does_not_matter),
		cmocka_unit_test(a_taken_address_gives_way_to_the_next),
		cmocka_unit_test(the_first_address_and_in_ipv4_the_last_are_not_given),
		cmocka_unit_test(a_range_too_small_has_no_address),
		cmocka_unit_test(wide_ranges_are_no_trouble),
		cmocka_unit_test(the_search_ends_after_65536_addresses),
	};

	return cmocka_run_group_tests_name("clusterip", tests, NULL, NULL);
}

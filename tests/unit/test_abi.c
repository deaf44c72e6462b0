// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <netinet/in.h>
#include <string.h>

#include "redial/abi.h"

TEST(a_word_gives_back_what_was_packed)
{
	static const struct {
		__u32 first, count, affinity;
		__u8 flags;
		__u64 word; /* but for the bit that is always set */
	} rows[] = {
		{.word = 0},
		{.first = 1, .word = 1},
		{.count = 1, .word = 1ULL << 24},
		{.affinity = 1, .word = 1ULL << 40},
		{.flags = 1, .word = 1ULL << 57},
		{.first = RD_MAX_SLOTS - 1, .word = 0xffffff},
		{.count = RD_MAX_COUNT, .word = 0xffffULL << 24},
		{.affinity = RD_MAX_AFFINITY, .word = 0x1ffffULL << 40},
		{.flags = 0x3f, .word = 0x3fULL << 57},
		{.first = 0x123456,
		 .count = 0xabcd,
		 .affinity = 86400,
		 .flags = RD_FLAG_DNS,
		 .word = (2ULL << 57) | (86400ULL << 40) | 0xabcd123456},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		__u64 word = rd_word(rows[i].first, rows[i].count, rows[i].affinity, rows[i].flags);

		assert_int_equal(word, rows[i].word | 1ULL << 63);
		assert_int_equal(rd_word_first(word), rows[i].first);
		assert_int_equal(rd_word_count(word), rows[i].count);
		assert_int_equal(rd_word_affinity(word), rows[i].affinity);
		assert_int_equal(rd_word_flags(word), rows[i].flags);
	}
}

/* What bpftool prints by the fields' names is what the programs read. */
TEST(the_fields_of_a_word_are_what_the_functions_read)
{
	struct rd_frontend frontend = {.word = rd_word(0x123456, 0xabcd, 86400, RD_FLAG_LOCAL)};

	assert_int_equal(frontend.first, 0x123456);
	assert_int_equal(frontend.count, 0xabcd);
	assert_int_equal(frontend.affinity_seconds, 86400);
	assert_int_equal(frontend.flags, RD_FLAG_LOCAL);
	assert_int_equal(frontend.live, 1);
}

static __u32 home(const struct rd_key *key, __u64 multiplier, __u32 bits)
{
	__u32 words[4];

	memcpy(words, key->addr, sizeof(words));
	return rd_key_home(multiplier, bits, words, key->tail, key->family);
}

static const __u64 multipliers[] = {1, 0x9e3779b97f4a7c15, 0xffffffffffffffff, 0x8000000000000001};

TEST(a_key_without_anything_has_no_tail_and_every_other_has_one)
{
	struct rd_key key = {0};

	assert_int_equal(key.tail, 0);
	key.family = RD_IPV4;
	assert_int_not_equal(key.tail, 0);
}

static __u8 seen[1 << 16];

/* Services of one port have the longest look-ups where they could not be better. */
TEST(all_ipv4_addresses_of_a_16_begin_at_places_of_their_own)
{
	for (size_t m = 0; m < sizeof(multipliers) / sizeof(multipliers[0]); m++) {
		struct rd_key key = {
			.addr = {10, 96}, .port = 80, .protocol = IPPROTO_TCP, .family = RD_IPV4};

		memset(seen, 0, sizeof(seen));
		for (__u32 host = 0; host < 1 << 16; host++) {
			key.addr[2] = (__u8)(host >> 8);
			key.addr[3] = (__u8)host;
			assert_int_equal(seen[home(&key, multipliers[m], 16)]++, 0);
		}
	}
}

/* As many keys as places: of the places about e^-1, 24,109, stay free. */
TEST(ipv6_addresses_that_differ_in_any_word_are_spread)
{
	for (int byte = 0; byte < 16; byte += 2) {
		struct rd_key key = {
			.addr = {0xfd, 1}, .port = 443, .protocol = IPPROTO_TCP, .family = RD_IPV6};
		int unused = 0;

		memset(seen, 0, sizeof(seen));
		for (__u32 host = 0; host < 1 << 16; host++) {
			key.addr[byte] = (__u8)(host >> 8);
			key.addr[byte + 1] = (__u8)host;
			seen[home(&key, 0x9e3779b97f4a7c15, 16)] = 1;
		}
		for (size_t i = 0; i < sizeof(seen); i++)
			unused += !seen[i];
		assert_in_range(unused, 0, 30000);
	}
}

TEST(the_home_is_inside_the_table_whatever_its_size)
{
	struct rd_key key = {.addr = {255, 255, 255, 255}, .port = 65535, .family = RD_IPV4};

	for (__u32 bits = 1; bits < 24; bits++)
		for (size_t m = 0; m < sizeof(multipliers) / sizeof(multipliers[0]); m++)
			assert_in_range(home(&key, multipliers[m], bits), 0, (1U << bits) - 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_word_gives_back_what_was_packed),
		cmocka_unit_test(the_fields_of_a_word_are_what_the_functions_read),
		cmocka_unit_test(a_key_without_anything_has_no_tail_and_every_other_has_one),
		cmocka_unit_test(all_ipv4_addresses_of_a_16_begin_at_places_of_their_own),
		cmocka_unit_test(ipv6_addresses_that_differ_in_any_word_are_spread),
		cmocka_unit_test(the_home_is_inside_the_table_whatever_its_size),
	};

	return cmocka_run_group_tests_name("abi", tests, NULL, NULL);
}

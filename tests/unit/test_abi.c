// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <netinet/in.h>
#include <string.h>

#include "redial/abi.h"

TEST(a_word_gives_back_what_was_packed)
{
	static const struct {
		__u32 first, count;
		__u16 fingerprint;
		__u64 word;
	} rows[] = {
		{.word = 0},
		{.first = 1, .word = 1},
		{.count = 1, .word = 1ULL << 24},
		{.fingerprint = 1, .word = 1ULL << 48},
		{.first = RD_MAX_SLOTS - 1, .word = 0xffffff},
		{.count = RD_MAX_COUNT, .word = 0xffffULL << 24},
		{.fingerprint = 0xffff, .word = 0xffffULL << 48},
		{.first = 0x123456,
		 .count = 0xabcd,
		 .fingerprint = 0xfedc,
		 .word = 0xfedc00abcd123456},
		{.first = RD_MAX_SLOTS - 1,
		 .count = RD_MAX_COUNT,
		 .fingerprint = 0xffff,
		 .word = 0xffff00ffffffffff},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		__u64 word = rd_word(rows[i].first, rows[i].count, 0, rows[i].fingerprint);

		assert_int_equal(word, rows[i].word);
		assert_int_equal(rd_word_first(word), rows[i].first);
		assert_int_equal(rd_word_count(word), rows[i].count);
		assert_int_equal(rd_word_fingerprint(word), rows[i].fingerprint);
	}
}

TEST(flags_in_a_word_disturb_nothing_else)
{
	__u64 word = rd_word(0x123456, 0xabcd, 0xff, 0xfedc);

	assert_int_equal(rd_word_first(word), 0x123456);
	assert_int_equal(rd_word_count(word), 0xabcd);
	assert_int_equal(rd_word_flags(word), 0xff);
	assert_int_equal(rd_word_fingerprint(word), 0xfedc);
}

/* Ports, protocols and scopes whose fingerprints are worth a look. */
static const struct {
	__u16 port;
	__u8 protocol, scope;
} kinds[] = {
	{.port = 80, .protocol = IPPROTO_TCP},
	{.port = 53, .protocol = IPPROTO_UDP},
	{.port = 65535, .protocol = IPPROTO_TCP, .scope = 1},
	{.port = 0, .protocol = IPPROTO_UDP, .scope = 255},
};

/* Write a 32-bit number as an address's bytes. */
static void to_bytes(__u8 *bytes, __u32 number)
{
	for (int i = 3; i >= 0; i--, number >>= 8)
		bytes[i] = (__u8)number;
}

TEST(an_ipv4_key_has_the_fingerprint_of_its_ipv6_form)
{
	for (__u32 i = 0; i < 1000; i++) {
		struct rd_key4 key4 = {
			.port = (__u16)(i * 257),
			.protocol = kinds[i % 4].protocol,
			.scope = kinds[i % 4].scope,
		};
		struct rd_key6 key6 = {
			.port = key4.port,
			.protocol = key4.protocol,
			.scope = key4.scope,
		};

		to_bytes(key4.addr, 0x0a600000 + i * 40503);
		memcpy(key6.addr, key4.addr, sizeof(key4.addr));
		assert_int_equal(rd_fingerprint4(&key4), rd_fingerprint6(&key6));
	}
}

static __u8 seen[1 << 16];

TEST(all_ipv4_addresses_of_a_16_have_different_fingerprints)
{
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		memset(seen, 0, sizeof(seen));
		for (__u32 host = 0; host < 1 << 16; host++) {
			struct rd_key4 key = {
				.port = kinds[k].port,
				.protocol = kinds[k].protocol,
				.scope = kinds[k].scope,
			};

			to_bytes(key.addr, 0x0a600000 | host);
			assert_int_equal(seen[rd_fingerprint4(&key)]++, 0);
		}
	}
}

TEST(all_ipv6_addresses_of_a_112_have_different_fingerprints)
{
	memset(seen, 0, sizeof(seen));
	for (__u32 host = 0; host < 1 << 16; host++) {
		struct rd_key6 key = {
			.addr = {0xfd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13},
			.port = 443,
			.protocol = IPPROTO_TCP,
		};

		key.addr[14] = (__u8)(host >> 8);
		key.addr[15] = (__u8)host;
		assert_int_equal(seen[rd_fingerprint6(&key)]++, 0);
	}
}

TEST(protocols_and_neighbouring_ports_of_one_address_have_different_fingerprints)
{
	struct rd_key4 key = {.addr = {10, 96, 0, 1}};

	for (__u16 port = 1; port < 2000; port++) {
		__u16 tcp, udp, next;

		key.port = port;
		key.protocol = IPPROTO_TCP;
		tcp = rd_fingerprint4(&key);
		key.protocol = IPPROTO_UDP;
		udp = rd_fingerprint4(&key);
		key.protocol = IPPROTO_TCP;
		key.port = (__u16)(port + 1);
		next = rd_fingerprint4(&key);
		assert_int_not_equal(tcp, udp);
		assert_int_not_equal(tcp, next);
	}
}

/* What bpftool prints by the fields' names is what the programs read. */
TEST(the_fields_of_a_word_are_what_the_functions_read)
{
	struct rd_frontend frontend = {.word = rd_word(0x123456, 0xabcd, 0x5a, 0xfedc)};

	assert_int_equal(frontend.first, 0x123456);
	assert_int_equal(frontend.count, 0xabcd);
	assert_int_equal(frontend.flags, 0x5a);
	assert_int_equal(frontend.fingerprint, 0xfedc);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_word_gives_back_what_was_packed),
		cmocka_unit_test(flags_in_a_word_disturb_nothing_else),
		cmocka_unit_test(the_fields_of_a_word_are_what_the_functions_read),
		cmocka_unit_test(an_ipv4_key_has_the_fingerprint_of_its_ipv6_form),
		cmocka_unit_test(all_ipv4_addresses_of_a_16_have_different_fingerprints),
		cmocka_unit_test(all_ipv6_addresses_of_a_112_have_different_fingerprints),
		cmocka_unit_test(
			protocols_and_neighbouring_ports_of_one_address_have_different_fingerprints),
	};

	return cmocka_run_group_tests_name("abi", tests, NULL, NULL);
}

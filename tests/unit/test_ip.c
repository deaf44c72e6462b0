// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ip.h"
#include "util.h"

static struct rd_ip ip(const char *text)
{
	struct rd_ip parsed;

	if (rd_ip_parse(text, &parsed))
		fail_msg("\"%s\" does not parse", text);
	return parsed;
}

static struct rd_cidr cidr(const char *text)
{
	struct rd_cidr parsed;

	if (rd_cidr_parse(text, &parsed))
		fail_msg("\"%s\" does not parse", text);
	return parsed;
}

TEST(addresses_are_parsed_and_written_in_their_usual_form)
{
	static const struct {
		const char *text, *written;
		enum rd_ip_family family;
	} rows[] = {
		{.text = "10.96.0.1", .written = "10.96.0.1", .family = RD_FAMILY_4},
		{.text = "0.0.0.0", .written = "0.0.0.0", .family = RD_FAMILY_4},
		{.text = "255.255.255.255", .written = "255.255.255.255", .family = RD_FAMILY_4},
		/* A16: decimal, whatever the zeros before. */
		{.text = "010.000.00.08", .written = "10.0.0.8", .family = RD_FAMILY_4},
		{.text = "00000000255.0.0.1", .written = "255.0.0.1", .family = RD_FAMILY_4},
		{.text = "fd00::1", .written = "fd00::1", .family = RD_FAMILY_6},
		{.text = "FD00:0:0::0001", .written = "fd00::1", .family = RD_FAMILY_6},
		{.text = "::", .written = "::", .family = RD_FAMILY_6},
		{.text = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		 .written = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		 .family = RD_FAMILY_6},
		{.text = "64:ff9b::10.0.0.1", .written = "64:ff9b::a00:1", .family = RD_FAMILY_6},
		{.text = "::ffff:10.96.0.1", .written = "10.96.0.1", .family = RD_FAMILY_4},
		{.text = "::FFFF:a60:1", .written = "10.96.0.1", .family = RD_FAMILY_4},
		{.text = "0:0:0:0:0:ffff:a60:1", .written = "10.96.0.1", .family = RD_FAMILY_4},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_ip parsed = ip(rows[i].text);
		char text[RD_IP_TEXT];

		assert_int_equal(parsed.family, rows[i].family);
		assert_string_equal(rd_ip_format(&parsed, text), rows[i].written);
		assert_ptr_equal(rd_ip_format(&parsed, text), text);
	}
}

TEST(an_ipv4_address_is_four_bytes_and_zeros)
{
	struct rd_ip expected = {.family = RD_FAMILY_4, .bytes = {1, 2, 3, 4}};
	struct rd_ip parsed;

	memset(&parsed, 0xff, sizeof(parsed));
	assert_int_equal(rd_ip_parse("1.2.3.4", &parsed), 0);
	assert_memory_equal(&parsed, &expected, sizeof(parsed));
	memset(&parsed, 0xff, sizeof(parsed));
	assert_int_equal(rd_ip_parse("::ffff:1.2.3.4", &parsed), 0);
	assert_memory_equal(&parsed, &expected, sizeof(parsed));
}

TEST(what_is_no_address_is_refused_and_the_output_untouched)
{
	static const char *const rows[] = {
		"",
		" ",
		"10",
		"10.0.0",
		"10.0.0.1.2",
		"10.0.0.",
		".10.0.0",
		"10..0.1",
		"10.0.0.256",
		"10.0.0.1 ",
		" 10.0.0.1",
		"10.0.0.-1",
		"10.0.0.+1",
		"0x0a.0.0.1",
		"10.0.0.1/8",
		"10.0.0.1:",
		"4294967296",
		"99999999999.0",
		"10.0.0.1x",
		"::1::",
		"fd00:::1",
		"fd00::1%eth0",
		"[fd00::1]",
		"fd00::1/64",
		"None",
		"localhost",
		"1:2:3:4:5:6",
		"fd00::12345",
		"::10.0.0.256",
		"a.b.c.d",
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_ip untouched = {.family = 77, .bytes = {1, 2, 3}};
		struct rd_ip parsed = untouched;

		if (rd_ip_parse(rows[i], &parsed) != -EINVAL)
			fail_msg("\"%s\" is taken for an address", rows[i]);
		assert_memory_equal(&parsed, &untouched, sizeof(parsed));
	}
}

TEST(no_address_is_written_as_a_dash)
{
	struct rd_ip none = {0};
	char text[RD_IP_TEXT];

	assert_string_equal(rd_ip_format(&none, text), "-");
}

TEST(an_ipv6_address_with_a_port_stands_in_brackets)
{
	struct rd_ip v4 = ip("10.0.0.1"), v6 = ip("fd00::1");
	struct rd_ip longest = ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	char text[RD_IP_PORT_TEXT];

	assert_string_equal(rd_ip_port_format(&v4, 80, text), "10.0.0.1:80");
	assert_string_equal(rd_ip_port_format(&v6, 80, text), "[fd00::1]:80");
	assert_string_equal(rd_ip_port_format(&longest, 65535, text),
			    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

TEST(addresses_are_ordered_by_family_then_bytes)
{
	static const char *const ascending[] = {
		"0.0.0.0",  "9.255.255.255", "10.0.0.1",	"10.0.0.2",
		"10.0.1.0", "128.0.0.1",     "255.255.255.255", "::",
		"::1",	    "1::",	     "fd00::1",		"fd00::2"};

	for (size_t i = 0; i < RD_ARRAY_SIZE(ascending); i++) {
		for (size_t j = 0; j < RD_ARRAY_SIZE(ascending); j++) {
			struct rd_ip a = ip(ascending[i]), b = ip(ascending[j]);
			int order = rd_ip_compare(&a, &b);

			assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
		}
	}
}

TEST(ranges_are_parsed)
{
	static const struct {
		const char *text, *base;
		uint8_t prefix;
	} rows[] = {
		{.text = "10.96.0.0/16", .base = "10.96.0.0", .prefix = 16},
		{.text = "0.0.0.0/0", .base = "0.0.0.0", .prefix = 0},
		{.text = "10.0.0.1/32", .base = "10.0.0.1", .prefix = 32},
		{.text = "10.0.0.128/25", .base = "10.0.0.128", .prefix = 25},
		{.text = "fd00:10:96::/112", .base = "fd00:10:96::", .prefix = 112},
		{.text = "::/0", .base = "::", .prefix = 0},
		{.text = "fd00::1/128", .base = "fd00::1", .prefix = 128},
		/* An IPv4 range, written as one of mapped addresses. */
		{.text = "::ffff:10.0.0.0/104", .base = "10.0.0.0", .prefix = 8},
		{.text = "::ffff:10.1.2.3/128", .base = "10.1.2.3", .prefix = 32},
		{.text = "::ffff:0:0/96", .base = "0.0.0.0", .prefix = 0},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_cidr parsed = cidr(rows[i].text);
		struct rd_ip base = ip(rows[i].base);

		assert_memory_equal(&parsed.base, &base, sizeof(base));
		assert_int_equal(parsed.prefix, rows[i].prefix);
	}
}

TEST(host_bits_of_a_range_are_cleared)
{
	static const struct {
		const char *text, *base;
	} rows[] = {
		{.text = "10.96.0.1/16", .base = "10.96.0.0"},
		{.text = "10.96.0.0/10", .base = "10.64.0.0"},
		{.text = "10.0.0.255/25", .base = "10.0.0.128"},
		{.text = "10.0.0.255/31", .base = "10.0.0.254"},
		{.text = "::ffff:10.1.2.3/104", .base = "10.0.0.0"},
		{.text = "128.0.0.0/0", .base = "0.0.0.0"},
		{.text = "fd00::1/127", .base = "fd00::"},
		{.text = "fd00:ffff::1/20", .base = "fd00:f000::"},
		{.text = "ffff::/0", .base = "::"},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_cidr parsed = cidr(rows[i].text);
		struct rd_ip base = ip(rows[i].base), address;

		assert_memory_equal(&parsed.base, &base, sizeof(base));
		address = base;
		assert_true(rd_cidr_contains(&parsed, &address));
	}
}

TEST(the_loopback_addresses_of_a_family_are_known)
{
	static const struct {
		const char *address;
		bool loopback;
	} rows[] = {
		{.address = "127.0.0.1", .loopback = true},
		{.address = "127.255.255.255", .loopback = true},
		{.address = "::1", .loopback = true},
		{.address = "::ffff:127.0.0.1", .loopback = true},
		{.address = "126.255.255.255"},
		{.address = "128.0.0.0"},
		{.address = "0.0.0.0"},
		{.address = "::"},
		{.address = "::2"},
		{.address = "7f00::1"},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_ip address = ip(rows[i].address);

		if (rd_ip_is_loopback(&address) != rows[i].loopback)
			fail_msg("%s", rows[i].address);
	}
}

TEST(what_is_no_range_is_refused_and_the_output_untouched)
{
	static const char *const rows[] = {
		"",
		"/",
		"10.96.0.0",
		"10.96.0.0/",
		"10.96.0.0/33",
		"10.96.0.0/-1",
		"10.96.0.0/+8",
		"10.96.0.0/ 8",
		"10.96.0.0/8x",
		"10.96.0.0/16/16",
		"10.96.0.0/99999999999999999999",
		"/16",
		"x/16",
		"fd00::/129",
		/* Mapped: neither of IPv4 nor of IPv6. */
		"::ffff:10.0.0.0/8",
		"::ffff:10.0.0.0/0",
		"::ffff:10.0.0.0/95",
		"::ffff:10.0.0.0/129",
		/* Longer than any address. */
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/8",
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_cidr untouched = {.prefix = 77};
		struct rd_cidr parsed = untouched;

		if (rd_cidr_parse(rows[i], &parsed) != -EINVAL)
			fail_msg("\"%s\" is taken for a range", rows[i]);
		assert_memory_equal(&parsed, &untouched, sizeof(parsed));
	}
}

TEST(a_range_contains_the_addresses_with_its_prefix)
{
	static const struct {
		const char *range, *address;
		bool inside;
	} rows[] = {
		{.range = "10.96.0.0/16", .address = "10.96.0.0", .inside = true},
		{.range = "10.96.0.0/16", .address = "10.96.255.255", .inside = true},
		{.range = "10.96.0.0/16", .address = "10.97.0.0"},
		{.range = "10.96.0.0/16", .address = "10.95.255.255"},
		{.range = "10.96.0.0/16", .address = "fd00::1"},
		{.range = "0.0.0.0/0", .address = "255.255.255.255", .inside = true},
		{.range = "0.0.0.0/0", .address = "::"},
		{.range = "10.0.0.1/32", .address = "10.0.0.1", .inside = true},
		{.range = "10.0.0.1/32", .address = "10.0.0.2"},
		{.range = "10.0.0.128/25", .address = "10.0.0.127"},
		{.range = "10.0.0.128/25", .address = "10.0.0.255", .inside = true},
		{.range = "fd00::/112", .address = "fd00::ffff", .inside = true},
		{.range = "fd00::/112", .address = "fd00::1:0"},
		{.range = "::/0", .address = "ffff::", .inside = true},
		{.range = "fd00::8/125", .address = "fd00::f", .inside = true},
		{.range = "fd00::8/125", .address = "fd00::10"},
	};
	struct rd_ip none = {0};
	struct rd_cidr all = cidr("0.0.0.0/0");

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_cidr range = cidr(rows[i].range);
		struct rd_ip address = ip(rows[i].address);

		if (rd_cidr_contains(&range, &address) != rows[i].inside)
			fail_msg("%s in %s", rows[i].address, rows[i].range);
	}
	assert_false(rd_cidr_contains(&all, &none));
}

TEST(an_address_is_read_from_as_many_bytes_as_its_family_has)
{
	static const uint8_t bytes[16] = {10, 96, 0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	struct rd_ip v4 = ip("10.96.0.1"), v6 = ip("a60:1:405:607:809:a0b:c0d:e0f");
	struct rd_ip read = rd_ip_from_bytes(RD_FAMILY_4, bytes);

	assert_memory_equal(&read, &v4, sizeof(read));
	read = rd_ip_from_bytes(RD_FAMILY_6, bytes);
	assert_memory_equal(&read, &v6, sizeof(read));
}

TEST(C13_an_address_with_a_port_is_parsed_as_it_is_written)
{
	static const struct {
		const char *text, *address;
		uint16_t port;
	} rows[] = {
		{.text = "10.0.0.1:80", .address = "10.0.0.1", .port = 80},
		{.text = "0.0.0.0:1", .address = "0.0.0.0", .port = 1},
		{.text = "255.255.255.255:65535", .address = "255.255.255.255", .port = 65535},
		{.text = "[fd00::1]:10256", .address = "fd00::1", .port = 10256},
		{.text = "[::]:80", .address = "::", .port = 80},
		{.text = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
		 .address = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		 .port = 65535},
		{.text = "[::ffff:10.0.0.1]:80", .address = "10.0.0.1", .port = 80},
		{.text = "[0000:0000:0000:0000:0000:ffff:255.255.255.255]:80",
		 .address = "255.255.255.255",
		 .port = 80},
		{.text = "010.0.0.1:080", .address = "10.0.0.1", .port = 80},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_ip expected = ip(rows[i].address), parsed, again;
		char text[RD_IP_PORT_TEXT];
		uint16_t port = 0;

		memset(&parsed, 0xff, sizeof(parsed));
		if (rd_ip_port_parse(rows[i].text, &parsed, &port))
			fail_msg("\"%s\" does not parse", rows[i].text);
		assert_memory_equal(&parsed, &expected, sizeof(parsed));
		assert_int_equal(port, rows[i].port);
		rd_ip_port_format(&parsed, port, text);
		port = 0;
		assert_int_equal(rd_ip_port_parse(text, &again, &port), 0);
		assert_memory_equal(&again, &expected, sizeof(again));
		assert_int_equal(port, rows[i].port);
	}
}

TEST(C13_what_is_no_address_with_a_port_is_refused_and_the_output_untouched)
{
	static const char *const rows[] = {
		"",
		":",
		":80",
		"[]:80",
		"[",
		"]",
		"[:80",
		"]:80",
		"10.0.0.1",
		"10.0.0.1:",
		"10.0.0.1:0",
		"10.0.0.1:65536",
		"10.0.0.1:4294967376",
		"10.0.0.1:99999999999999999999999",
		"10.0.0.1:-1",
		"10.0.0.1:+80",
		"10.0.0.1: 80",
		"10.0.0.1:80 ",
		" 10.0.0.1:80",
		"10.0.0.1:80x",
		"10.0.0.1:0x50",
		"10.0.0.1:http",
		"10.0.0.1:80:80",
		"10.0.0.1/8:80",
		"10.0.0:80",
		"[10.0.0.1]:80",
		"localhost:80",
		"*:80",
		"80",
		"fd00::1",
		"fd00::1:80",
		"::1:80",
		":::80",
		"[fd00::1]",
		"[fd00::1]:",
		"[fd00::1]80",
		"[fd00::1:80",
		"fd00::1]:80",
		"[fd00::1]]:80",
		"[[fd00::1]]:80",
		"[fd00::1] :80",
		"[fd00::1%eth0]:80",
		"[fd00::g]:80",
		/* Longer than any address. */
		"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:80",
		"000000000000000000000000000000000000000000000000000010.0.0.1:80",
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_ip untouched = {.family = 77, .bytes = {1, 2, 3}};
		struct rd_ip parsed = untouched;
		uint16_t port = 4711;

		if (rd_ip_port_parse(rows[i], &parsed, &port) != -EINVAL)
			fail_msg("\"%s\" is taken for an address with a port", rows[i]);
		assert_memory_equal(&parsed, &untouched, sizeof(parsed));
		assert_int_equal(port, 4711);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_parsed_and_written_in_their_usual_form),
		cmocka_unit_test(an_ipv4_address_is_four_bytes_and_zeros),
		cmocka_unit_test(what_is_no_address_is_refused_and_the_output_untouched),
		cmocka_unit_test(no_address_is_written_as_a_dash),
		cmocka_unit_test(an_ipv6_address_with_a_port_stands_in_brackets),
		cmocka_unit_test(addresses_are_ordered_by_family_then_bytes),
		cmocka_unit_test(ranges_are_parsed),
		cmocka_unit_test(host_bits_of_a_range_are_cleared),
		cmocka_unit_test(the_loopback_addresses_of_a_family_are_known),
		cmocka_unit_test(what_is_no_range_is_refused_and_the_output_untouched),
		cmocka_unit_test(a_range_contains_the_addresses_with_its_prefix),
		cmocka_unit_test(an_address_is_read_from_as_many_bytes_as_its_family_has),
		cmocka_unit_test(C13_an_address_with_a_port_is_parsed_as_it_is_written),
		cmocka_unit_test(
			C13_what_is_no_address_with_a_port_is_refused_and_the_output_untouched),
	};

	return cmocka_run_group_tests_name("ip", tests, NULL, NULL);
}

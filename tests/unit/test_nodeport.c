// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/objects.h"

#include <errno.h>
#include <stdio.h>

#include "nodeport.h"

static struct rd_nodeport_rule parse(const char *text)
{
	struct rd_nodeport_rule rule;

	if (rd_nodeport_parse(text, &rule))
		fail_msg("\"%s\" does not parse", text ?: "");
	return rule;
}

TEST(words_and_networks_are_parsed)
{
	static const struct {
		const char *text;
		bool all, primary, localhost;
		size_t n_cidrs;
	} rows[] = {
		{.text = NULL, .all = true},
		{.text = "all", .all = true},
		{.text = "primary", .primary = true},
		{.text = "localhost", .localhost = true},
		{.text = "primary,localhost", .primary = true, .localhost = true},
		{.text = "10.0.0.0/8", .n_cidrs = 1},
		{.text = "10.0.0.0/8,fd00::/8,primary", .primary = true, .n_cidrs = 2},
		{.text = "10.1.2.3/8", .n_cidrs = 1},
		{.text = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128", .n_cidrs = 1},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_nodeport_rule rule = parse(rows[i].text);

		assert_int_equal(rule.all, rows[i].all);
		assert_int_equal(rule.primary, rows[i].primary);
		assert_int_equal(rule.localhost, rows[i].localhost);
		assert_int_equal(rule.n_cidrs, rows[i].n_cidrs);
	}
}

TEST(what_is_neither_word_nor_network_is_refused_and_the_output_untouched)
{
	static const char *const rows[] = {
		"none",
		"All",
		"10.0.0.1",
		"10.0.0.0/33",
		"primary,x",
		"x,primary",
		",all",
		"all,,primary",
		" all",
		"10.0.0.0/8, fd00::/8",
		"a-word-that-is-much-longer-than-any-address-or-range-could-ever-be/8",
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_nodeport_rule rule, untouched;

		memset(&untouched, 0x5a, sizeof(untouched));
		rule = untouched;
		if (rd_nodeport_parse(rows[i], &rule) != -EINVAL)
			fail_msg("\"%s\" is taken for a list", rows[i]);
		assert_memory_equal(&rule, &untouched, sizeof(rule));
	}
}

TEST(networks_up_to_the_limit_and_not_one_more)
{
	char text[RD_NODEPORT_CIDRS * 16 + 32] = "";
	struct rd_nodeport_rule rule;
	size_t used = 0;

	for (int i = 0; i < RD_NODEPORT_CIDRS; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s10.%d.0.0/16",
					 i ? "," : "", i);
	assert_int_equal(parse(text).n_cidrs, RD_NODEPORT_CIDRS);
	/* Words need no room. */
	snprintf(text + used, sizeof(text) - used, ",primary");
	assert_true(parse(text).primary);
	snprintf(text + used, sizeof(text) - used, ",11.0.0.0/8");
	assert_int_equal(rd_nodeport_parse(text, &rule), -EINVAL);
}

/* A row: a list, an address of a node at 172.18.0.1 and fc00::1, and whether
 * NodePorts answer there. */
struct row {
	const char *list, *address;
	bool allowed;
};

static void expect_allowed(const struct row *rows, size_t n)
{
	_rd_object_ struct rd_object *node = NODE(.addresses = {"172.18.0.1", "fc00::1"});

	for (size_t i = 0; i < n; i++) {
		struct rd_nodeport_rule rule = parse(rows[i].list);
		struct rd_ip ip = to_ip(rows[i].address);

		if (rd_nodeport_allows(&rule, &ip, &node->node) != rows[i].allowed)
			fail_msg("%s in \"%s\"", rows[i].address, rows[i].list ?: "(NULL)");
	}
}

#define EXPECT_ALLOWED(rows) expect_allowed((rows), RD_ARRAY_SIZE(rows))

TEST(C6_by_default_node_ports_answer_at_every_address_of_a_node)
{
	static const struct row rows[] = {
		{NULL, "172.18.0.1", true}, {NULL, "fc00::1", true},
		{NULL, "10.9.9.9", true},   {NULL, "2001:db8::9", true},
		{"all", "10.9.9.9", true},  {"all,primary", "10.9.9.9", true},
	};

	EXPECT_ALLOWED(rows);
}

TEST(C6_primary_is_what_the_node_object_names)
{
	static const struct row rows[] = {
		{"primary", "172.18.0.1", true},	   {"primary", "fc00::1", true},
		{"primary", "172.18.0.2", false},	   {"primary", "fc00::2", false},
		{"primary", "127.0.0.1", false},	   {"primary,localhost", "127.0.0.1", true},
		{"primary,localhost", "172.18.0.1", true}, {"primary,localhost", "10.9.9.9", false},
	};
	struct rd_nodeport_rule rule = parse("primary");
	struct rd_ip ip = to_ip("172.18.0.1");

	EXPECT_ALLOWED(rows);
	assert_false(rd_nodeport_allows(&rule, &ip, NULL));
	rule = parse(NULL);
	assert_true(rd_nodeport_allows(&rule, &ip, NULL));
}

TEST(C6_networks_of_one_family_leave_the_other_unrestricted)
{
	static const struct row rows[] = {
		{"172.18.0.0/16", "172.18.0.1", true},
		{"172.18.0.0/16", "172.18.255.9", true},
		{"172.18.0.0/16", "172.19.0.1", false},
		{"172.18.0.0/16", "fc00::1", true},
		{"172.18.0.0/16", "2001:db8::9", true},
		{"fc00::/16", "fc00::1", true},
		{"fc00::/16", "2001:db8::9", false},
		{"fc00::/16", "10.9.9.9", true},
		{"172.18.0.0/16,fc00::/16", "2001:db8::9", false},
		{"172.18.0.0/16,fc00::/16", "10.9.9.9", false},
		{"172.18.0.0/16,10.0.0.0/8", "10.9.9.9", true},
		{"10.0.0.0/8,primary", "172.18.0.1", true},
		{"10.0.0.0/8,primary", "172.18.0.2", false},
		{"10.0.0.0/8,all", "172.18.0.2", true},
		{"0.0.0.0/0", "10.9.9.9", true},
	};

	EXPECT_ALLOWED(rows);
}

TEST(C7_ipv4s_loopback_is_among_all_and_where_it_is_named)
{
	static const struct row rows[] = {
		{NULL, "127.0.0.1", true},
		{"all", "127.9.9.9", true},
		{"localhost", "127.0.0.1", true},
		{"localhost", "172.18.0.1", false},
		{"localhost", "fc00::1", false},
		{"127.0.0.0/8", "127.0.0.1", true},
		{"127.0.0.1/32", "127.0.0.2", false},
		{"0.0.0.0/0", "127.0.0.1", true},
		{"172.18.0.0/16", "127.0.0.1", false},
		{"primary", "127.0.0.1", false},
	};

	EXPECT_ALLOWED(rows);
}

TEST(C7_ipv6s_loopback_is_never_a_node_ports_address)
{
	static const struct row rows[] = {
		{NULL, "::1", false},	   {"all", "::1", false},  {"localhost", "::1", false},
		{"::1/128", "::1", false}, {"::/0", "::1", false}, {"10.0.0.0/8", "::1", false},
		{"all", "::2", true},
	};

	EXPECT_ALLOWED(rows);
}

/* As it stands in kube-proxy: --nodeport-addresses with nothing in it. */
TEST(C6_an_empty_list_is_the_default)
{
	static const struct row rows[] = {
		{"", "172.18.0.1", true},
		{"", "fc00::1", true},
	};

	EXPECT_ALLOWED(rows);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_and_networks_are_parsed),
		cmocka_unit_test(
			what_is_neither_word_nor_network_is_refused_and_the_output_untouched),
		cmocka_unit_test(networks_up_to_the_limit_and_not_one_more),
		cmocka_unit_test(C6_by_default_node_ports_answer_at_every_address_of_a_node),
		cmocka_unit_test(C6_primary_is_what_the_node_object_names),
		cmocka_unit_test(C6_networks_of_one_family_leave_the_other_unrestricted),
		cmocka_unit_test(C6_an_empty_list_is_the_default),
		cmocka_unit_test(C7_ipv4s_loopback_is_among_all_and_where_it_is_named),
		cmocka_unit_test(C7_ipv6s_loopback_is_never_a_node_ports_address),
	};

	return cmocka_run_group_tests_name("nodeport", tests, NULL, NULL);
}

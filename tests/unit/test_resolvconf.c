// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "resolvconf.h"
#include "unit/alloc_fail.h"

static struct rd_resolvconf conf;

static void parse(const char *text)
{
	/* Of its own length, so that a byte read behind it is seen. */
	size_t n = strlen(text);
	_rd_free_ char *exact = malloc(n + !n);

	assert_non_null(exact);
	memcpy(exact, text, n);
	memset(&conf, 0xff, sizeof(conf));
	rd_resolvconf_parse(exact, n, &conf);
}

/* The servers' texts with a blank between, each with its scope. */
static const char *servers(void)
{
	static char text[RD_RESOLVCONF_SERVERS * (RD_IP_TEXT + IF_NAMESIZE)];
	size_t at = 0;

	*text = '\0';
	for (size_t i = 0; i < conf.n_servers; i++) {
		char ip[RD_IP_TEXT];

		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s%s%s", i ? " " : "",
				       rd_ip_format(&conf.servers[i].ip, ip),
				       *conf.servers[i].scope ? "%" : "", conf.servers[i].scope);
	}
	return text;
}

static const char *searches(void)
{
	static char text[RD_RESOLVCONF_SEARCHES * RD_RESOLVCONF_NAME];
	size_t at = 0;

	*text = '\0';
	for (size_t i = 0; i < conf.n_searches; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? " " : "",
				       conf.searches[i]);
	return text;
}

/* ---- reading --------------------------------------------------------------------------- */

TEST(servers_are_read_as_glibc_reads_them)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"", ""},
		{"nameserver 10.0.0.2\n", "10.0.0.2"},
		{"nameserver 10.0.0.2", "10.0.0.2"},
		{"nameserver\t10.0.0.2\n", "10.0.0.2"},
		{"nameserver   \t 10.0.0.2  \nnameserver fd00::2\n", "10.0.0.2 fd00::2"},
		{"nameserver fe80::1%eth0\n", "fe80::1%eth0"},
		{"nameserver fe80::1%2\n", "fe80::1%2"},
		{"nameserver 10.0.0.2 10.0.0.3\n", "10.0.0.2"},
		{"nameserver 10.0.0.2#of the site\n", "10.0.0.2"},
		{"nameserver 10.0.0.2;x\n", "10.0.0.2"},
		{"nameserver 10.0.0.2\r\nnameserver 10.0.0.3\r\n", "10.0.0.2 10.0.0.3"},
		{"nameserver 127.1\n", "127.0.0.1"},
		{"nameserver 010.0.0.1\n", "8.0.0.1"},
		{"nameserver ::ffff:10.0.0.2\n", "10.0.0.2"},
		{"nameserver 10.0.0.2\nnameserver 10.0.0.2\n", "10.0.0.2 10.0.0.2"},
		/* What is ignored. */
		{"# nameserver 10.0.0.2\n;nameserver 10.0.0.3\n", ""},
		{" nameserver 10.0.0.2\n", ""},
		{"nameserver\n", ""},
		{"nameserver \n", ""},
		{"nameserver", ""},
		{"nameservers 10.0.0.2\n", ""},
		{"nameserver10.0.0.2\n", ""},
		{"Nameserver 10.0.0.2\n", ""},
		{"nameserver #10.0.0.2\n", ""},
		{"nameserver dns.example\nnameserver 10.0.0.2\n", "10.0.0.2"},
		{"nameserver 10.0.0.256\n", ""},
		{"nameserver 10.0.0.2%eth0\n", ""},
		{"nameserver fe80::1%a-name-of-16-char\n", ""},
		{"nameserver fe80::1::2\n", ""},
		{"\n\n\nnameserver 10.0.0.2\n\n", "10.0.0.2"},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(cases); i++) {
		parse(cases[i].text);
		assert_string_equal(servers(), cases[i].expected);
	}
}

TEST(an_address_that_is_too_long_is_ignored)
{
	char text[400] = "nameserver ";

	memset(text + strlen(text), '1', 300);
	parse(text);
	assert_int_equal(conf.n_servers, 0);
}

TEST(more_servers_than_there_is_room_for_are_passed_over)
{
	char text[1024] = "";

	for (int i = 0; i < RD_RESOLVCONF_SERVERS + 3; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "nameserver 10.0.0.%d\n",
			 i);
	parse(text);
	assert_int_equal(conf.n_servers, RD_RESOLVCONF_SERVERS);
	assert_int_equal(conf.servers[RD_RESOLVCONF_SERVERS - 1].ip.bytes[3],
			 RD_RESOLVCONF_SERVERS - 1);
}

TEST(the_last_search_or_domain_counts)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"search a.example b.example\n", "a.example b.example"},
		{"search\ta.example \t b.example  \n", "a.example b.example"},
		{"search a.example. .\n", "a.example"},
		{"domain a.example b.example\n", "a.example"},
		{"search a.example b.example\nsearch c.example\n", "c.example"},
		{"domain a.example\nsearch b.example c.example\n", "b.example c.example"},
		{"search b.example c.example\ndomain a.example\n", "a.example"},
		{"search a.example\nsearch \n", ""},
		{"search a.example\nsearch\n", "a.example"},
		{"searching a.example\n", ""},
		{"search a.example\r\n", "a.example"},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(cases); i++) {
		parse(cases[i].text);
		assert_string_equal(searches(), cases[i].expected);
	}
}

TEST(names_to_search_have_limits)
{
	char text[RD_RESOLVCONF_SEARCHES * 8 + 600] = "search";
	char name[300];

	for (int i = 0; i < RD_RESOLVCONF_SEARCHES + 3; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " d%d", i);
	parse(text);
	assert_int_equal(conf.n_searches, RD_RESOLVCONF_SEARCHES);
	memset(name, 'a', sizeof(name));
	name[254] = '\0';
	snprintf(text, sizeof(text), "search %s b.example %s", name, name + 1);
	parse(text);
	assert_int_equal(conf.n_searches, 2);
	assert_string_equal(conf.searches[0], "b.example");
	assert_string_equal(conf.searches[1], name + 1);
}

TEST(options_are_numbers_with_limits)
{
	static const struct {
		const char *text;
		unsigned ndots, timeout, attempts;
	} cases[] = {
		{"", 1, 5, 2},
		{"options ndots:5 timeout:1 attempts:3\n", 5, 1, 3},
		{"options ndots:5\noptions timeout:2\n", 5, 2, 2},
		{"options\tndots:0\trotate\n", 0, 5, 2},
		{"options ndots:16 timeout:31 attempts:6\n", 15, 30, 5},
		{"options ndots:99999999999999999999 timeout:0 attempts:0\n", 15, 1, 1},
		{"options ndots: timeout:x attempts:-1\n", 0, 1, 1},
		{"options ndots:3x use-vc edns0\n", 3, 5, 2},
		{"options ndots\n", 1, 5, 2},
		{"options xndots:4\n", 1, 5, 2},
		{"option ndots:4\n", 1, 5, 2},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(cases); i++) {
		parse(cases[i].text);
		assert_int_equal(conf.ndots, cases[i].ndots);
		assert_int_equal(conf.timeout_seconds, cases[i].timeout);
		assert_int_equal(conf.attempts, cases[i].attempts);
	}
}

TEST(bytes_that_are_no_text_are_no_harm)
{
	static const char text[] = "nameserver 10.0.0.2\0x\nsearch a\0b c\nnameserver 10.0.0.3\n";

	rd_resolvconf_parse(text, sizeof(text) - 1, &conf);
	assert_string_equal(servers(), "10.0.0.3");
	assert_string_equal(searches(), "c");
}

TEST(a_file_is_read)
{
	char path[] = "/tmp/redial-resolvconf-XXXXXX";
	static const char text[] = "nameserver 10.0.0.2\nsearch a.example\n";
	int fd = mkstemp(path);
	struct rd_error error = {0};

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_int_equal(rd_resolvconf_read(path, &conf, &error), 0);
	assert_string_equal(servers(), "10.0.0.2");
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		int r = rd_resolvconf_read(path, &conf, &error);

		if (!alloc_fail_end())
			break;
		assert_int_equal(r, -ENOMEM);
	}
	unlink(path);
	assert_int_equal(rd_resolvconf_read(path, &conf, &error), -ENOENT);
	assert_non_null(strstr(error.text, path));
	assert_int_equal(rd_resolvconf_read("/tmp", &conf, &error), -EIO);
}

/* ---- whom to ask -------------------------------------------------------------------------- */

static size_t addresses(const char *text, const char *own, struct rd_dns_server_address *ret)
{
	struct rd_ip ip = {0};

	if (own)
		assert_int_equal(rd_ip_parse(own, &ip), 0);
	parse(text);
	return rd_resolvconf_servers(&conf, &ip, own != NULL, ret);
}

TEST(servers_are_asked_at_port_53)
{
	struct rd_dns_server_address found[RD_RESOLVCONF_SERVERS];
	char text[RD_IP_TEXT];

	assert_int_equal(addresses("nameserver 10.0.0.2\nnameserver fe80::1%lo\n"
				   "nameserver fe80::1%7\nnameserver fe80::1%nosuch\n",
				   NULL, found),
			 4);
	assert_string_equal(rd_ip_format(&found[0].ip, text), "10.0.0.2");
	assert_int_equal(found[0].port, 53);
	assert_int_equal(found[0].scope, 0);
	assert_int_equal(found[1].scope, if_nametoindex("lo"));
	assert_int_equal(found[2].scope, 7);
	assert_int_equal(found[3].scope, 0);
}

TEST(our_own_address_is_left_out)
{
	struct rd_dns_server_address found[RD_RESOLVCONF_SERVERS];
	static const char text[] = "nameserver 127.0.0.53\nnameserver 10.0.0.2\nnameserver ::1\n";

	assert_int_equal(addresses(text, "10.0.0.2", found), 2);
	assert_int_equal(found[0].ip.bytes[3], 53);
	assert_int_equal(addresses(text, "127.0.0.53", found), 2);
	assert_int_equal(found[0].ip.bytes[0], 10);
	assert_int_equal(addresses(text, "127.0.0.1", found), 3);
	assert_int_equal(addresses(text, "0.0.0.0", found), 1);
	assert_int_equal(found[0].ip.bytes[0], 10);
	assert_int_equal(addresses(text, "::", found), 1);
	assert_int_equal(addresses("nameserver 0.0.0.0\n", "0.0.0.0", found), 0);
}

/* ---- for a Pod ------------------------------------------------------------------------------ */

static struct rd_resolvconf_pod pod;
static struct rd_error error_;

static int for_pod(const char *namespace, const char *domain, const char *host)
{
	struct rd_ip ips[4];

	for (int i = 0; i < 4; i++) {
		assert_int_equal(rd_ip_parse("10.96.0.10", &ips[i]), 0);
		ips[i].bytes[3] += i;
	}
	parse(host);
	error_ = (struct rd_error){0};
	return rd_resolvconf_for_pod(ips, 1, namespace, domain, &conf, &pod, &error_);
}

TEST(a_pod_searches_the_cluster_first_then_what_the_node_does)
{
	_rd_free_ char *text = NULL;

	assert_int_equal(for_pod("shop", "cluster.local", "search corp.example example\n"), 0);
	text = rd_resolvconf_write(&pod);
	assert_string_equal(text, "search shop.svc.cluster.local svc.cluster.local cluster.local "
				  "corp.example example\n"
				  "nameserver 10.96.0.10\noptions ndots:5\n");
}

TEST(no_name_is_searched_twice)
{
	assert_int_equal(for_pod("a", "b.example", "search B.example x.example x.example _y\n"), 0);
	assert_int_equal(pod.n_searches, 5);
	assert_string_equal(pod.searches[3], "x.example");
	assert_string_equal(pod.searches[4], "_y");
}

TEST(what_is_no_name_is_not_handed_on)
{
	assert_int_equal(for_pod("a", "b", "search x\"y a..b .a \xff ok.example\n"), 0);
	assert_int_equal(pod.n_searches, 4);
	assert_string_equal(pod.searches[3], "ok.example");
}

TEST(a_pod_searches_no_more_than_the_kubelet_allows)
{
	char text[4096] = "search";

	for (int i = 0; i < RD_RESOLVCONF_SEARCHES; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " d%d.example", i);
	assert_int_equal(for_pod("a", "b", text), 0);
	assert_int_equal(pod.n_searches, RD_RESOLVCONF_SEARCHES);
	snprintf(text, sizeof(text), "search");
	for (int i = 0; i < 20; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " d%d.%060d.%060d", i, i,
			 i);
	assert_int_equal(for_pod("a", "b", text), 0);
	assert_true(pod.n_searches < 20);
	assert_true(pod.n_searches > 15);
}

TEST(a_pod_asks_three_servers_at_most)
{
	struct rd_ip ips[4];
	_rd_free_ char *text = NULL;

	for (int i = 0; i < 4; i++)
		assert_int_equal(rd_ip_parse(i ? "fd00::10" : "10.96.0.10", &ips[i]), 0);
	parse("");
	assert_int_equal(rd_resolvconf_for_pod(ips, 4, "a", "b", &conf, &pod, &error_), 0);
	text = rd_resolvconf_write(&pod);
	assert_string_equal(text, "search a.svc.b svc.b b\nnameserver 10.96.0.10\n"
				  "nameserver fd00::10\nnameserver fd00::10\noptions ndots:5\n");
}

TEST(what_cannot_be_a_name_is_refused)
{
	static const struct {
		const char *namespace, *domain, *expected;
	} cases[] = {
		{"", "b", "namespace"},	       {"a.b", "b", "namespace"}, {"a b", "b", "namespace"},
		{"a\nb", "b", "namespace"},    {"a", "", "domain"},	  {"a", ".b", "domain"},
		{"a", "b.", "domain"},	       {"a", "b..c", "domain"},	  {"a", "b c", "domain"},
		{"a", "b\nnameserver", "dom"},
	};
	char long_label[65], long_name[260];

	for (size_t i = 0; i < RD_ARRAY_SIZE(cases); i++) {
		assert_int_equal(for_pod(cases[i].namespace, cases[i].domain, ""), -EINVAL);
		assert_non_null(strstr(error_.text, cases[i].expected));
		assert_true(error_.usage);
	}
	memset(long_label, 'a', sizeof(long_label));
	long_label[64] = '\0';
	assert_int_equal(for_pod(long_label, "b", ""), -EINVAL);
	assert_int_equal(for_pod(long_label + 1, "b", ""), 0);
	memset(long_name, 'a', sizeof(long_name));
	for (size_t i = 50; i < sizeof(long_name); i += 50)
		long_name[i] = '.';
	long_name[253] = '\0';
	assert_int_equal(for_pod("a", long_name, ""), -EINVAL);
	long_name[247] = '\0';
	assert_int_equal(for_pod("a", long_name, ""), 0);
	assert_int_equal(strlen(pod.searches[0]), 253);
}

TEST(memory_that_runs_out_gives_no_text)
{
	assert_int_equal(for_pod("a", "b", ""), 0);
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		_rd_free_ char *text = rd_resolvconf_write(&pod);

		if (!alloc_fail_end())
			break;
		assert_null(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(servers_are_read_as_glibc_reads_them),
		cmocka_unit_test(an_address_that_is_too_long_is_ignored),
		cmocka_unit_test(more_servers_than_there_is_room_for_are_passed_over),
		cmocka_unit_test(the_last_search_or_domain_counts),
		cmocka_unit_test(names_to_search_have_limits),
		cmocka_unit_test(options_are_numbers_with_limits),
		cmocka_unit_test(bytes_that_are_no_text_are_no_harm),
		cmocka_unit_test(a_file_is_read),
		cmocka_unit_test(servers_are_asked_at_port_53),
		cmocka_unit_test(our_own_address_is_left_out),
		cmocka_unit_test(a_pod_searches_the_cluster_first_then_what_the_node_does),
		cmocka_unit_test(no_name_is_searched_twice),
		cmocka_unit_test(what_is_no_name_is_not_handed_on),
		cmocka_unit_test(a_pod_searches_no_more_than_the_kubelet_allows),
		cmocka_unit_test(a_pod_asks_three_servers_at_most),
		cmocka_unit_test(what_cannot_be_a_name_is_refused),
		cmocka_unit_test(memory_that_runs_out_gives_no_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

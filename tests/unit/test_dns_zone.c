// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_zone.h"

#include <errno.h>

#include "unit/alloc_fail.h"
#include "unit/dns.h"
#include "unit/objects.h"

static struct rd_store store;
static struct rd_dns_zone *zone;

static int set_up(void **fixture)
{
	static const struct rd_dns_zone_config config = {.domain = "cluster.local"};
	struct rd_error error;

	(void)fixture;
	rd_store_init(&store);
	assert_int_equal(rd_dns_zone_new(&config, &store, &zone, &error), 0);
	rd_dns_zone_know(zone, RD_DNS_KNOWS_ALL);
	return 0;
}

static int tear_down(void **fixture)
{
	(void)fixture;
	rd_dns_zone_free(zone);
	rd_store_free(&store);
	return 0;
}

/* The answer as message_text has it, or the error's name. */
static const char *ask(const char *name, ldns_rr_type type)
{
	struct rd_dns_question question = question_of(name, type);
	static char text[70000];
	struct rd_dns_answer *answer;
	struct rd_dns_name target;
	char outside[RD_DNS_NAME_TEXT];
	int r = rd_dns_zone_answer(zone, &question, &answer, &target);

	if (r)
		return r == -ENOENT ? "not ours" : r == -EAGAIN ? "not known" : strerror(-r);
	snprintf(text, sizeof(text), "%s%s%s", message_text(answer->wire, answer->length),
		 target.n ? "; goes on at " : "",
		 target.n ? rd_dns_name_format(target.wire, outside, sizeof(outside)) : "");
	free(answer);
	return text;
}

struct row {
	const char *name;
	ldns_rr_type type;
	const char *answer;
};

static void expect(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *answer = ask(rows[i].name, rows[i].type);

		if (strcmp(answer, rows[i].answer))
			fail_msg("%s type %u:\n%s\nbut not\n%s", rows[i].name, rows[i].type, answer,
				 rows[i].answer);
	}
}
#define EXPECT(...)                                                                                \
	expect((const struct row[]){__VA_ARGS__},                                                  \
	       sizeof((const struct row[]){__VA_ARGS__}) / sizeof(struct row))

#define A LDNS_RR_TYPE_A
#define AAAA LDNS_RR_TYPE_AAAA
#define SRV LDNS_RR_TYPE_SRV
#define PTR LDNS_RR_TYPE_PTR
#define TXT LDNS_RR_TYPE_TXT
#define CNAME LDNS_RR_TYPE_CNAME
#define NODATA "NOERROR aa; authority: cluster.local. is SOA"
#define NXDOMAIN "NXDOMAIN aa; authority: cluster.local. is SOA"

static void put(struct rd_object *object)
{
	rd_store_put(&store, object);
}

TEST(H1_a_service_is_its_cluster_ips)
{
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SERVICE(.name = "dual", .ip4 = "10.96.0.2", .ip6 = "fd00::2", .ports = {{.port = 80}}));
	put(SERVICE(.name = "six", .namespace = "other", .ip6 = "fd00::3",
		    .ports = {{.port = 80}}));
	EXPECT({"web.default.svc.cluster.local", A, "NOERROR aa; is A 10.96.0.1"},
	       {"web.default.svc.cluster.local", AAAA, NODATA},
	       {"dual.default.svc.cluster.local", A, "NOERROR aa; is A 10.96.0.2"},
	       {"dual.default.svc.cluster.local", AAAA, "NOERROR aa; is AAAA fd00::2"},
	       {"six.other.svc.cluster.local", A, NODATA},
	       {"six.other.svc.cluster.local", AAAA, "NOERROR aa; is AAAA fd00::3"},
	       {"web.other.svc.cluster.local", A, NXDOMAIN},
	       {"web.default.svc.cluster.local", TXT, NODATA});
}

TEST(H1_a_service_that_another_proxy_serves_has_its_name)
{
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .not_ours = true, .ports = {{.port = 80}}));
	EXPECT({"web.default.svc.cluster.local", A, "NOERROR aa; is A 10.96.0.1"});
}

TEST(H1_a_service_without_an_address_yet_exists)
{
	put(SERVICE(.name = "web", .ports = {{.port = 80}}));
	EXPECT({"web.default.svc.cluster.local", A, NODATA});
}

TEST(H2_a_named_port_has_an_srv_record)
{
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .ip6 = "fd00::1",
		    .ports = {{.name = "http", .port = 80},
			      {.name = "dns", .protocol = IPPROTO_UDP, .port = 53},
			      {.name = "sig", .protocol = IPPROTO_SCTP, .port = 5060}}));
	EXPECT({"_http._tcp.web.default.svc.cluster.local", SRV,
		"NOERROR aa; is SRV 0 100 80 web.default.svc.cluster.local.; more: "
		"web.default.svc.cluster.local. is A 10.96.0.1, "
		"web.default.svc.cluster.local. is AAAA fd00::1"},
	       {"_dns._udp.web.default.svc.cluster.local", SRV,
		"NOERROR aa; is SRV 0 100 53 web.default.svc.cluster.local.; more: "
		"web.default.svc.cluster.local. is A 10.96.0.1, "
		"web.default.svc.cluster.local. is AAAA fd00::1"},
	       {"_sig._sctp.web.default.svc.cluster.local", SRV,
		"NOERROR aa; is SRV 0 100 5060 web.default.svc.cluster.local.; more: "
		"web.default.svc.cluster.local. is A 10.96.0.1, "
		"web.default.svc.cluster.local. is AAAA fd00::1"},
	       {"_dns._tcp.web.default.svc.cluster.local", SRV, NXDOMAIN},
	       {"_http._tcp.web.default.svc.cluster.local", A, NODATA},
	       {"_tcp.web.default.svc.cluster.local", SRV, NODATA},
	       {"http._tcp.web.default.svc.cluster.local", SRV, NXDOMAIN},
	       {"_http.tcp.web.default.svc.cluster.local", SRV, NXDOMAIN},
	       {"x._http._tcp.web.default.svc.cluster.local", SRV, NXDOMAIN});
}

TEST(H2_a_port_without_a_name_has_none)
{
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	EXPECT({"_tcp.web.default.svc.cluster.local", SRV, NXDOMAIN},
	       {"_http._tcp.web.default.svc.cluster.local", SRV, NXDOMAIN},
	       {"_._tcp.web.default.svc.cluster.local", SRV, NXDOMAIN},
	       {"web.default.svc.cluster.local", SRV, NODATA});
}

TEST(H3_a_cluster_ip_leads_to_the_service)
{
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .ip6 = "fd00::1", .ports = {{.port = 80}}));
	EXPECT({"1.0.96.10.in-addr.arpa", PTR, "NOERROR aa; is PTR web.default.svc.cluster.local."},
	       {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", PTR,
		"NOERROR aa; is PTR web.default.svc.cluster.local."},
	       {"1.0.96.10.in-addr.arpa", A, "NOERROR aa; authority: is SOA"});
}

TEST(H3_an_address_that_is_nobodys_is_not_ours_to_answer)
{
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	EXPECT({"2.0.96.10.in-addr.arpa", PTR, "not ours"}, {"96.10.in-addr.arpa", PTR, "not ours"},
	       {"01.0.96.10.in-addr.arpa", PTR, "not ours"},
	       {"1.1.0.96.10.in-addr.arpa", PTR, "not ours"},
	       {"256.0.96.10.in-addr.arpa", PTR, "not ours"},
	       {"a.0.96.10.in-addr.arpa", PTR, "not ours"}, {"arpa", PTR, "not ours"});
}

TEST(H3_an_address_follows_its_services)
{
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	EXPECT({"1.0.96.10.in-addr.arpa", PTR,
		"NOERROR aa; is PTR web.default.svc.cluster.local."});
	rd_store_remove(&store, RD_SERVICE, "default", "web");
	put(SERVICE(.name = "new", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	EXPECT({"1.0.96.10.in-addr.arpa", PTR,
		"NOERROR aa; is PTR new.default.svc.cluster.local."});
}

TEST(H4_the_zone_says_its_version)
{
	EXPECT({"dns-version.cluster.local", TXT, "NOERROR aa; is TXT \"1.1.0\""},
	       {"DNS-Version.Cluster.LOCAL", TXT, "NOERROR aa; is TXT \"1.1.0\""},
	       {"dns-version.cluster.local", A, NODATA});
}

TEST(H4_names_are_compared_without_case)
{
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .ports = {{.name = "http", .port = 80}}));
	EXPECT({"WEB.Default.sVc.cluster.LOCAL", A, "NOERROR aa; is A 10.96.0.1"},
	       {"_HTTP._TCP.web.default.svc.cluster.local", SRV,
		"NOERROR aa; is SRV 0 100 80 web.default.svc.cluster.local.; more: "
		"web.default.svc.cluster.local. is A 10.96.0.1"});
}

TEST(the_zone_has_a_beginning_and_a_server)
{
	const struct rd_ip server[] = {to_ip("10.0.0.53"), to_ip("fd00::53"), to_ip("10.0.0.54")};

	EXPECT({"cluster.local", LDNS_RR_TYPE_SOA, "NOERROR aa; is SOA"},
	       {"cluster.local", LDNS_RR_TYPE_NS, "NOERROR aa; is NS ns.dns.cluster.local."},
	       {"ns.dns.cluster.local", A, NODATA});
	rd_dns_zone_set_server(zone, server, RD_ARRAY_SIZE(server));
	EXPECT({"cluster.local", LDNS_RR_TYPE_NS,
		"NOERROR aa; is NS ns.dns.cluster.local.; more: ns.dns.cluster.local. is A "
		"10.0.0.53, ns.dns.cluster.local. is AAAA fd00::53"},
	       {"ns.dns.cluster.local", A, "NOERROR aa; is A 10.0.0.53"},
	       {"ns.dns.cluster.local", AAAA, "NOERROR aa; is AAAA fd00::53"},
	       {"cluster.local", A, "NOERROR aa; authority: is SOA"},
	       {"dns.cluster.local", A, NODATA}, {"x.dns.cluster.local", A, NXDOMAIN});
}

TEST(names_between_exist_where_there_is_one_below_them)
{
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	EXPECT({"svc.cluster.local", A, NODATA}, {"default.svc.cluster.local", A, NODATA},
	       {"nobody.svc.cluster.local", A, NXDOMAIN}, {"pod.cluster.local", A, NXDOMAIN},
	       {"web.default.cluster.local", A, NXDOMAIN},
	       {"x.web.default.svc.cluster.local", A, NXDOMAIN},
	       {"a.b.c.d.e.f.g.cluster.local", A, NXDOMAIN}, {"local", A, "not ours"},
	       {"xcluster.local", A, "not ours"}, {"svc.cluster.local.example.org", A, "not ours"},
	       {".", A, "not ours"});
}

TEST(a_dot_within_a_label_is_no_dot_between_labels)
{
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	EXPECT({"web\\.default.svc.cluster.local", A, NXDOMAIN},
	       {"web\\000.default.svc.cluster.local", A, NXDOMAIN},
	       {"web.default.svc\\.cluster.local", A, "not ours"},
	       {"web.default\\000.svc.cluster.local", A, NXDOMAIN});
}

TEST(any_gets_one_small_record)
{
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	EXPECT({"web.default.svc.cluster.local", LDNS_RR_TYPE_ANY,
		"NOERROR aa; is HINFO \"RFC8482\" \"\""},
	       {"nobody.default.svc.cluster.local", LDNS_RR_TYPE_ANY, NXDOMAIN});
}

static void put_headless(void)
{
	put(SERVICE(.name = "db", .headless = true,
		    .ports = {{.name = "sql", .port = 5432}, {.name = "web", .port = 80}}));
	put(SLICE(.name = "db-1", .owner = "db", .headless = true, .ignored = true,
		  .ports = {{.name = "sql", .port = 15432}},
		  .endpoints = {{.ip = "10.244.0.2", .hostname = "db-1"},
				{.ip = "10.244.0.1", .hostname = "db-0"},
				{.ip = "10.244.0.3"},
				{.ip = "10.244.0.4", .not_ready = true}}));
	put(SLICE(.name = "db-2", .owner = "db", .headless = true, .ignored = true,
		  .ports = {{.name = "sql", .port = 15432}},
		  .endpoints = {{.ip = "fd00::1", .hostname = "db-0"}, {.ip = "fd00::2"}}));
}

TEST(H5_a_headless_service_is_its_ready_endpoints)
{
	put_headless();
	EXPECT({"db.default.svc.cluster.local", A,
		"NOERROR aa; is A 10.244.0.1, is A 10.244.0.2, is A 10.244.0.3"},
	       {"db.default.svc.cluster.local", AAAA,
		"NOERROR aa; is AAAA fd00::1, is AAAA fd00::2"},
	       {"db.default.svc.cluster.local", TXT, NODATA});
}

TEST(H5_without_a_ready_endpoint_it_does_not_exist)
{
	put(SERVICE(.name = "db", .headless = true, .ports = {{.name = "sql", .port = 5432}}));
	EXPECT({"db.default.svc.cluster.local", A, NXDOMAIN});
	put(SLICE(.name = "db", .owner = "db", .headless = true, .ignored = true,
		  .ports = {{.name = "sql", .port = 5432}},
		  .endpoints = {{.ip = "10.244.0.1", .hostname = "db-0", .not_ready = true}}));
	EXPECT({"db.default.svc.cluster.local", A, NXDOMAIN},
	       {"db-0.db.default.svc.cluster.local", A, NXDOMAIN},
	       {"_sql._tcp.db.default.svc.cluster.local", SRV, NXDOMAIN},
	       {"1.0.244.10.in-addr.arpa", PTR, "not ours"});
}

TEST(H5_unready_endpoints_are_published_where_the_service_says_so)
{
	put(SERVICE(.name = "db", .headless = true, .publish_not_ready = true));
	put(SLICE(.name = "db", .owner = "db", .headless = true, .ignored = true,
		  .endpoints = {{.ip = "10.244.0.1", .not_ready = true}}));
	EXPECT({"db.default.svc.cluster.local", A, "NOERROR aa; is A 10.244.0.1"});
}

TEST(H5_an_endpoint_has_a_name_of_its_own)
{
	put_headless();
	EXPECT({"db-0.db.default.svc.cluster.local", A, "NOERROR aa; is A 10.244.0.1"},
	       {"db-0.db.default.svc.cluster.local", AAAA, "NOERROR aa; is AAAA fd00::1"},
	       {"db-1.db.default.svc.cluster.local", AAAA, NODATA},
	       {"10-244-0-3.db.default.svc.cluster.local", A, "NOERROR aa; is A 10.244.0.3"},
	       {"fd00--2.db.default.svc.cluster.local", AAAA, "NOERROR aa; is AAAA fd00::2"},
	       {"10-244-0-1.db.default.svc.cluster.local", A, NXDOMAIN},
	       {"10-244-0-4.db.default.svc.cluster.local", A, NXDOMAIN},
	       {"x.db-0.db.default.svc.cluster.local", A, NXDOMAIN});
}

TEST(H5_the_name_of_an_address_is_one_that_a_host_can_have)
{
	put(SERVICE(.name = "db", .headless = true));
	put(SLICE(.name = "db", .owner = "db", .endpoints = {{.ip = "fd00::"}, {.ip = "::5"}}));
	EXPECT({"fd00--0.db.default.svc.cluster.local", AAAA, "NOERROR aa; is AAAA fd00::"},
	       {"0--5.db.default.svc.cluster.local", AAAA, "NOERROR aa; is AAAA ::5"});
}

TEST(H5_every_endpoint_has_an_srv_record_for_each_port_it_has)
{
	put_headless();
	EXPECT({"_sql._tcp.db.default.svc.cluster.local", SRV,
		"NOERROR aa; "
		"is SRV 0 100 15432 10-244-0-3.db.default.svc.cluster.local., "
		"is SRV 0 100 15432 db-0.db.default.svc.cluster.local., "
		"is SRV 0 100 15432 db-1.db.default.svc.cluster.local., "
		"is SRV 0 100 15432 fd00--2.db.default.svc.cluster.local.; more: "
		"10-244-0-3.db.default.svc.cluster.local. is A 10.244.0.3, "
		"db-0.db.default.svc.cluster.local. is A 10.244.0.1, "
		"db-0.db.default.svc.cluster.local. is AAAA fd00::1, "
		"db-1.db.default.svc.cluster.local. is A 10.244.0.2, "
		"fd00--2.db.default.svc.cluster.local. is AAAA fd00::2"},
	       {"_tcp.db.default.svc.cluster.local", SRV, NODATA},
	       {"_web._tcp.db.default.svc.cluster.local", SRV, NXDOMAIN},
	       {"_sql._udp.db.default.svc.cluster.local", SRV, NXDOMAIN});
}

TEST(H5_an_endpoints_address_leads_to_its_name)
{
	put_headless();
	put(SERVICE(.name = "more", .headless = true));
	put(SLICE(.name = "more", .owner = "more", .endpoints = {{.ip = "10.244.0.3"}}));
	EXPECT({"1.0.244.10.in-addr.arpa", PTR,
		"NOERROR aa; is PTR db-0.db.default.svc.cluster.local."},
	       {"3.0.244.10.in-addr.arpa", PTR,
		"NOERROR aa; is PTR 10-244-0-3.db.default.svc.cluster.local., "
		"is PTR 10-244-0-3.more.default.svc.cluster.local."},
	       {"4.0.244.10.in-addr.arpa", PTR, "not ours"});
}

TEST(H5_an_endpoint_that_becomes_ready_has_its_address_at_once)
{
	put_headless();
	EXPECT({"4.0.244.10.in-addr.arpa", PTR, "not ours"});
	put(SLICE(.name = "db-3", .owner = "db", .headless = true, .ignored = true,
		  .endpoints = {{.ip = "10.244.0.4"}}));
	EXPECT({"4.0.244.10.in-addr.arpa", PTR,
		"NOERROR aa; is PTR 10-244-0-4.db.default.svc.cluster.local."});
}

TEST(H5_pods_are_endpoints_as_the_controller_makes_them)
{
	put(SERVICE(.name = "db", .headless = true, .selector = {"app", "db"},
		    .ports = {{.name = "sql", .port = 5432, .target_name = "q"}}));
	put(POD(.name = "a", .labels = {"app", "db"}, .ip4 = "10.244.0.1", .hostname = "first",
		.subdomain = "db", .ports = {{.name = "q", .port = 99}}));
	put(POD(.name = "b", .labels = {"app", "db"}, .ip4 = "10.244.0.2", .hostname = "second",
		.subdomain = "other"));
	put(POD(.name = "c", .labels = {"app", "db"}, .ip4 = "10.244.0.3", .not_ready = true));
	put(POD(.name = "d", .labels = {"app", "db"}, .ip4 = "10.244.0.4", .terminating = true));
	put(POD(.name = "e", .labels = {"app", "db"}, .ip4 = "10.244.0.5", .ended = true));
	put(POD(.name = "f", .labels = {"app", "web"}, .ip4 = "10.244.0.6"));
	EXPECT({"db.default.svc.cluster.local", A, "NOERROR aa; is A 10.244.0.1, is A 10.244.0.2"},
	       {"first.db.default.svc.cluster.local", A, "NOERROR aa; is A 10.244.0.1"},
	       {"second.db.default.svc.cluster.local", A, NXDOMAIN},
	       {"10-244-0-2.db.default.svc.cluster.local", A, "NOERROR aa; is A 10.244.0.2"},
	       {"_sql._tcp.db.default.svc.cluster.local", SRV,
		"NOERROR aa; is SRV 0 100 99 first.db.default.svc.cluster.local.; more: "
		"first.db.default.svc.cluster.local. is A 10.244.0.1"});
}

TEST(H5_endpoints_count_where_they_would_be_mirrored)
{
	put(SERVICE(.name = "db", .headless = true));
	put(SLICE(.kind = RD_ENDPOINTS, .name = "db", .owner = "db",
		  .endpoints = {{.ip = "10.244.0.1"}}));
	EXPECT({"db.default.svc.cluster.local", A, "NOERROR aa; is A 10.244.0.1"});
	put(SERVICE(.name = "db", .headless = true, .selector = {"app", "db"}));
	EXPECT({"db.default.svc.cluster.local", A, NXDOMAIN});
}

TEST(H6_an_external_name_is_another_name)
{
	put(SERVICE(.name = "ext", .type = RD_TYPE_EXTERNAL_NAME, .external_name = "example.org"));
	EXPECT({"ext.default.svc.cluster.local", A,
		"NOERROR aa; is CNAME example.org.; goes on at example.org"},
	       {"ext.default.svc.cluster.local", CNAME, "NOERROR aa; is CNAME example.org."},
	       {"ext.default.svc.cluster.local", TXT,
		"NOERROR aa; is CNAME example.org.; goes on at example.org"},
	       {"x.ext.default.svc.cluster.local", A, NXDOMAIN});
}

TEST(H6_a_name_in_the_zone_is_followed)
{
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SERVICE(.name = "ext", .type = RD_TYPE_EXTERNAL_NAME,
		    .external_name = "web.default.svc.cluster.local"));
	put(SERVICE(.name = "far", .type = RD_TYPE_EXTERNAL_NAME,
		    .external_name = "ext.default.svc.cluster.local"));
	put(SERVICE(.name = "gone", .type = RD_TYPE_EXTERNAL_NAME,
		    .external_name = "nobody.default.svc.cluster.local"));
	EXPECT({"ext.default.svc.cluster.local", A,
		"NOERROR aa; is CNAME web.default.svc.cluster.local., "
		"web.default.svc.cluster.local. is A 10.96.0.1"},
	       {"far.default.svc.cluster.local", A,
		"NOERROR aa; is CNAME ext.default.svc.cluster.local., "
		"ext.default.svc.cluster.local. is CNAME web.default.svc.cluster.local., "
		"web.default.svc.cluster.local. is A 10.96.0.1"},
	       {"ext.default.svc.cluster.local", AAAA,
		"NOERROR aa; is CNAME web.default.svc.cluster.local.; "
		"authority: cluster.local. is SOA"},
	       {"gone.default.svc.cluster.local", A,
		"NXDOMAIN aa; is CNAME nobody.default.svc.cluster.local.; "
		"authority: cluster.local. is SOA"});
}

TEST(H6_names_in_a_circle_fail)
{
	put(SERVICE(.name = "a", .type = RD_TYPE_EXTERNAL_NAME,
		    .external_name = "b.default.svc.cluster.local"));
	put(SERVICE(.name = "b", .type = RD_TYPE_EXTERNAL_NAME,
		    .external_name = "a.default.svc.cluster.local"));
	assert_memory_equal(ask("a.default.svc.cluster.local", A), "SERVFAIL", 8);
}

TEST(H6_an_external_name_that_is_an_address_or_missing_has_nothing)
{
	put(SERVICE(.name = "ip", .type = RD_TYPE_EXTERNAL_NAME, .external_name = "192.0.2.1"));
	put(SERVICE(.name = "no", .type = RD_TYPE_EXTERNAL_NAME, .ip4 = "10.96.0.1"));
	EXPECT({"ip.default.svc.cluster.local", A, NODATA},
	       {"no.default.svc.cluster.local", A, NODATA},
	       {"1.0.96.10.in-addr.arpa", PTR, "not ours"});
}

TEST(H8_a_service_with_endpoints_written_by_hand_is_its_cluster_ip)
{
	put(SERVICE(.name = "db", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SLICE(.kind = RD_ENDPOINTS, .name = "db", .owner = "db", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "192.0.2.1"}}));
	EXPECT({"db.default.svc.cluster.local", A, "NOERROR aa; is A 10.96.0.1"},
	       {"1.2.0.192.in-addr.arpa", PTR, "not ours"});
}

TEST(before_everything_is_known_nothing_is_said)
{
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	rd_dns_zone_know(zone, RD_DNS_KNOWS_NOTHING);
	EXPECT({"web.default.svc.cluster.local", A, "not known"},
	       {"db.default.svc.cluster.local", A, "not known"},
	       {"1.0.96.10.in-addr.arpa", PTR, "not known"}, {"example.org", A, "not ours"});
}

TEST(while_something_may_be_missing_nothing_is_said_not_to_exist)
{
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	rd_dns_zone_know(zone, RD_DNS_KNOWS_SOME);
	EXPECT({"web.default.svc.cluster.local", A, "NOERROR aa; is A 10.96.0.1"},
	       {"web.default.svc.cluster.local", AAAA, NODATA},
	       {"db.default.svc.cluster.local", A, "not known"},
	       {"2.0.96.10.in-addr.arpa", PTR, "not known"});
}

/* Whether the answer to a question is said to have changed. */
static bool is_changed_by(const char *name, ldns_rr_type type, struct rd_object *object)
{
	struct rd_dns_question question = question_of(name, type);
	struct rd_dns_answer *answer;
	struct rd_dns_name target;
	bool changed;

	assert_int_equal(rd_dns_zone_answer(zone, &question, &answer, &target), 0);
	assert_true(*answer->stamp == answer->stamp_value);
	put(object);
	changed = *answer->stamp != answer->stamp_value;
	free(answer);
	return changed;
}

TEST(an_answer_holds_until_what_it_is_about_changes)
{
	const char *web = "web.default.svc.cluster.local", *db = "db.default.svc.cluster.local";

	put_headless();
	put(SERVICE(.name = "web", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	assert_false(is_changed_by(web, A, SERVICE(.name = "a", .ports = {{.port = 80}})));
	assert_true(is_changed_by(web, A, SERVICE(.name = "web", .ports = {{.port = 80}})));
	assert_true(is_changed_by(db, A, SLICE(.name = "db-4", .owner = "db")));
	assert_false(is_changed_by(db, A, SLICE(.name = "web", .owner = "web")));
	assert_true(is_changed_by("new.default.svc.cluster.local", A,
				  SERVICE(.name = "new", .ports = {{.port = 80}})));
	assert_true(
		is_changed_by("ns.svc.cluster.local", A,
			      SERVICE(.name = "n", .namespace = "ns", .ports = {{.port = 80}})));
	assert_true(is_changed_by("1.0.244.10.in-addr.arpa", PTR,
				  SLICE(.name = "db-5", .owner = "db")));
	assert_false(is_changed_by("1.0.244.10.in-addr.arpa", PTR,
				   SLICE(.name = "web", .owner = "web")));
}

TEST(what_is_too_much_for_any_message_is_left_out)
{
	struct rd_object *slice = SLICE(.name = "db", .owner = "db");
	const size_t many = 5000;
	const char *text;

	put(SERVICE(.name = "db", .headless = true));
	free(slice->slice.subsets->endpoints);
	slice->slice.subsets->endpoints = zeros(many, sizeof(struct rd_slice_endpoint));
	slice->slice.subsets->n_endpoints = many;
	for (size_t i = 0; i < many; i++)
		slice->slice.subsets->endpoints[i] = (struct rd_slice_endpoint){
			.ready = true, .ip = {RD_FAMILY_4, {10, 1, (uint8_t)(i >> 8), (uint8_t)i}}};
	put(slice);
	text = ask("db.default.svc.cluster.local", A);
	assert_memory_equal(text, "NOERROR aa; is A 10.1.0.0, is A 10.1.0.1, ", 40);
	assert_true(strlen(text) < 65535 && strlen(text) > 10000);
}

static struct rd_dns_answer *received(const char *text, const struct rd_dns_question *question)
{
	struct rd_dns_answer *answer;
	ldns_pkt *packet = ldns_pkt_new();
	ldns_rr *rr;
	uint8_t *wire;
	size_t n;

	assert_int_equal(ldns_rr_new_frm_str(&rr, text, 0, NULL, NULL), LDNS_STATUS_OK);
	ldns_pkt_set_qr(packet, true);
	ldns_pkt_push_rr(packet, LDNS_SECTION_ANSWER, rr);
	rr = ldns_rr_new();
	ldns_rr_set_owner(rr, ldns_dname_new_frm_str("example.org"));
	ldns_rr_set_type(rr, A);
	ldns_rr_set_question(rr, true);
	ldns_pkt_push_rr(packet, LDNS_SECTION_QUESTION, rr);
	assert_int_equal(ldns_pkt2wire(&wire, packet, &n), LDNS_STATUS_OK);
	assert_int_equal(rd_dns_answer_received(wire, n, question, 1000, &answer), 0);
	free(wire);
	ldns_pkt_free(packet);
	return answer;
}

TEST(H6_what_an_upstream_says_of_the_target_is_joined_on)
{
	struct rd_dns_question question = question_of("ext.default.svc.cluster.local", A);
	struct rd_dns_question outside = question_of("example.org", A);
	struct rd_dns_answer *head, *tail, *whole;
	struct rd_dns_name target;

	put(SERVICE(.name = "ext", .type = RD_TYPE_EXTERNAL_NAME, .external_name = "example.org"));
	assert_int_equal(rd_dns_zone_answer(zone, &question, &head, &target), 0);
	tail = received("example.org. 3 IN A 192.0.2.7", &outside);
	assert_int_equal(rd_dns_zone_join(head, tail, &question, &whole), 0);
	assert_string_equal(message_text(whole->wire, whole->length),
			    "NOERROR; is CNAME example.org., example.org. is A 192.0.2.7");
	assert_true(whole->expires_ns == 1000 + 3000000000ULL);
	free(head);
	free(tail);
	free(whole);
}

TEST(out_of_memory_is_said_and_nothing_leaks)
{
	struct rd_dns_question questions[] = {
		question_of("db.default.svc.cluster.local", A),
		question_of("_sql._tcp.db.default.svc.cluster.local", SRV),
		question_of("3.0.244.10.in-addr.arpa", PTR),
	};

	put_headless();
	for (size_t i = 0; i < RD_ARRAY_SIZE(questions); i++)
		for (unsigned n = 1; alloc_fail_at(n); n++) {
			struct rd_dns_answer *answer = NULL;
			struct rd_dns_name target;
			int r = rd_dns_zone_answer(zone, &questions[i], &answer, &target);

			free(answer);
			if (!alloc_fail_end())
				break;
			assert_int_equal(r, -ENOMEM);
		}
}

TEST(a_domain_that_is_none_is_refused)
{
	static const char *const domains[] = {
		"",
		".",
		"a..b",
		".a",
		"a b..",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaaaaaaaaa.local"};
	struct rd_dns_zone *other;
	struct rd_error error = {0};

	for (size_t i = 0; i < RD_ARRAY_SIZE(domains); i++) {
		struct rd_dns_zone_config config = {.domain = domains[i]};

		assert_int_equal(rd_dns_zone_new(&config, &store, &other, &error), -EINVAL);
		assert_true(error.usage);
	}
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		ROW(H1_a_service_is_its_cluster_ips),
		ROW(H1_a_service_that_another_proxy_serves_has_its_name),
		ROW(H1_a_service_without_an_address_yet_exists),
		ROW(H2_a_named_port_has_an_srv_record),
		ROW(H2_a_port_without_a_name_has_none),
		ROW(H3_a_cluster_ip_leads_to_the_service),
		ROW(H3_an_address_that_is_nobodys_is_not_ours_to_answer),
		ROW(H3_an_address_follows_its_services),
		ROW(H4_the_zone_says_its_version),
		ROW(H4_names_are_compared_without_case),
		ROW(the_zone_has_a_beginning_and_a_server),
		ROW(names_between_exist_where_there_is_one_below_them),
		ROW(a_dot_within_a_label_is_no_dot_between_labels),
		ROW(any_gets_one_small_record),
		ROW(H5_a_headless_service_is_its_ready_endpoints),
		ROW(H5_without_a_ready_endpoint_it_does_not_exist),
		ROW(H5_unready_endpoints_are_published_where_the_service_says_so),
		ROW(H5_an_endpoint_has_a_name_of_its_own),
		ROW(H5_the_name_of_an_address_is_one_that_a_host_can_have),
		ROW(H5_every_endpoint_has_an_srv_record_for_each_port_it_has),
		ROW(H5_an_endpoints_address_leads_to_its_name),
		ROW(H5_an_endpoint_that_becomes_ready_has_its_address_at_once),
		ROW(H5_pods_are_endpoints_as_the_controller_makes_them),
		ROW(H5_endpoints_count_where_they_would_be_mirrored),
		ROW(H6_an_external_name_is_another_name),
		ROW(H6_a_name_in_the_zone_is_followed),
		ROW(H6_names_in_a_circle_fail),
		ROW(H6_an_external_name_that_is_an_address_or_missing_has_nothing),
		ROW(H8_a_service_with_endpoints_written_by_hand_is_its_cluster_ip),
		ROW(before_everything_is_known_nothing_is_said),
		ROW(while_something_may_be_missing_nothing_is_said_not_to_exist),
		ROW(an_answer_holds_until_what_it_is_about_changes),
		ROW(what_is_too_much_for_any_message_is_left_out),
		ROW(H6_what_an_upstream_says_of_the_target_is_joined_on),
		ROW(out_of_memory_is_said_and_nothing_leaks),
		ROW(a_domain_that_is_none_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

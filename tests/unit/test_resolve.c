// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/objects.h"

#include <errno.h>
#include <stdio.h>

#include "resolve.h"
#include "unit/alloc_fail.h"

/* A store for one test. */
static struct rd_store store;

/* Where we are: node n1 in zone z1, unless a test says otherwise. */
static struct rd_locale here;

static int set_up(void **state)
{
	(void)state;
	here = (struct rd_locale){.node = "n1", .zone = "z1"};
	rd_store_init(&store);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rd_store_free(&store);
	return 0;
}

static void put(struct rd_object *object)
{
	rd_store_put(&store, object);
}

static char *append(char *at, const char *end, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static char *append(char *at, const char *end, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	at += vsnprintf(at, (size_t)(end - at), format, args);
	va_end(args);
	assert_true(at < end);
	return at;
}

/* Where a frontend listens; a NodePort as "*:30080" or "[*]:30080". */
static const char *describe_address(const struct rd_wanted_frontend *frontend,
				    char text[RD_IP_PORT_TEXT])
{
	const struct rd_ip none = {.family = frontend->ip.family};

	if (frontend->scope == RD_SCOPE_ADDRESS)
		return rd_ip_port_format(&frontend->ip, frontend->port, text);
	assert_int_equal(frontend->scope, RD_SCOPE_NODE_PORT);
	assert_memory_equal(&frontend->ip, &none, sizeof(none));
	snprintf(text, RD_IP_PORT_TEXT, none.family == RD_FAMILY_6 ? "[*]:%u" : "*:%u",
		 frontend->port);
	return text;
}

/* One line for each frontend: "name/TCP 10.96.0.1:80 > 10.0.0.1:80 10.0.0.2:80",
 * its flags before the ">". */
static void describe(const struct rd_wanted *wanted, char *at, const char *end)
{
	*at = '\0';
	for (size_t p = 0; p < wanted->n_ports; p++) {
		const struct rd_wanted_port *port = &wanted->ports[p];

		for (size_t f = 0; f < port->n_frontends; f++) {
			const struct rd_wanted_frontend *frontend = &port->frontends[f];
			const struct rd_wanted_set *set = &port->sets[frontend->set];
			char text[RD_IP_PORT_TEXT];

			assert_true(frontend->set < port->n_sets);
			assert_int_equal(frontend->ip.family, set->family);
			assert_false(frontend->flags & ~(RD_FLAG_LOCAL | RD_FLAG_DNS));
			at = append(at, end, "%s/%s %s%s%s >", port->name,
				    port->protocol == IPPROTO_TCP   ? "TCP"
				    : port->protocol == IPPROTO_UDP ? "UDP"
								    : "?",
				    describe_address(frontend, text),
				    frontend->flags & RD_FLAG_LOCAL ? " local" : "",
				    frontend->flags & RD_FLAG_DNS ? " dns" : "");
			for (size_t b = 0; b < set->n; b++) {
				assert_int_equal(set->backends[b].ip.family, set->family);
				at = append(at, end, " %s",
					    rd_ip_port_format(&set->backends[b].ip,
							      set->backends[b].port, text));
			}
			at = append(at, end, "\n");
		}
	}
}

static struct rd_object *find(const char *name)
{
	struct rd_object *service = rd_store_find(&store, RD_SERVICE, "default", name);

	assert_non_null(service);
	return service;
}

static void expect(const char *name, const char *expected)
{
	struct rd_wanted wanted;
	char text[2000];

	assert_int_equal(rd_resolve(&store, &here, find(name), &wanted), 0);
	assert_ptr_equal(wanted.service, find(name));
	describe(&wanted, text, text + sizeof(text));
	rd_wanted_free(&wanted);
	assert_string_equal(text, expected);
}

TEST(A9_ready_endpoints_of_a_slice_are_used_in_order_of_address_and_port)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80, .target_number = 9999}}));
	put(SLICE(.ports = {{.port = 8080}},
		  .endpoints = {{.ip = "10.0.1.1"}, {.ip = "10.0.0.2"}, {.ip = "9.0.0.1"}}));
	/* A9: the number is the slice's. */
	expect("web", "/TCP 10.96.0.1:80 > 9.0.0.1:8080 10.0.0.2:8080 10.0.1.1:8080\n");
}

TEST(C1_a_service_without_endpoints_has_a_frontend_with_an_empty_set)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	expect("web", "/TCP 10.96.0.1:80 >\n");
}

TEST(A8_endpoints_join_by_port_name_and_protocol)
{
	put(SERVICE(.ip4 = "10.96.0.1",
		    .ports = {{.name = "http", .port = 80},
			      {.name = "dns", .port = 53, .protocol = IPPROTO_UDP},
			      {.name = "dns-tcp", .port = 53},
			      {.name = "none", .port = 99}}));
	put(SLICE(.name = "a",
		  .ports = {{.name = "http", .port = 8080},
			    {.name = "dns", .port = 5353},
			    {.port = 1}},
		  .endpoints = {{.ip = "10.0.0.1"}}));
	put(SLICE(.name = "b",
		  .ports = {{.name = "http", .port = 8081},
			    {.name = "dns", .port = 5354, .protocol = IPPROTO_UDP},
			    {.name = "dns-tcp", .port = 5355}},
		  .endpoints = {{.ip = "10.0.0.2"}}));
	expect("web", "http/TCP 10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8081\n"
		      "dns/UDP 10.96.0.1:53 > 10.0.0.2:5354\n"
		      "dns-tcp/TCP 10.96.0.1:53 > 10.0.0.2:5355\n"
		      "none/TCP 10.96.0.1:99 >\n");
}

TEST(A7_sctp_ports_are_left_out_and_the_others_kept)
{
	put(SERVICE(.ip4 = "10.96.0.1",
		    .ports = {{.name = "a", .port = 80},
			      {.name = "b", .port = 81, .protocol = IPPROTO_SCTP},
			      {.name = "c", .port = 82}}));
	expect("web", "a/TCP 10.96.0.1:80 >\nc/TCP 10.96.0.1:82 >\n");
}

TEST(A1_A2_A3_services_that_are_not_to_be_programmed_have_no_ports)
{
	struct rd_wanted wanted;

	put(SERVICE(.name = "headless", .headless = true, .ports = {{.port = 80}}));
	put(SERVICE(.name = "external", .type = RD_TYPE_EXTERNAL_NAME, .ip4 = "10.96.0.1",
		    .ports = {{.port = 80}}));
	put(SERVICE(.name = "foreign", .not_ours = true, .ip4 = "10.96.0.2",
		    .ports = {{.port = 80}}));
	put(SERVICE(.name = "sctp", .ip4 = "10.96.0.3",
		    .ports = {{.port = 80, .protocol = IPPROTO_SCTP}}));
	for (size_t i = 0; i < 4; i++) {
		const char *const names[] = {"headless", "external", "foreign", "sctp"};

		expect(names[i], "");
		assert_int_equal(rd_resolve(&store, &here, find(names[i]), &wanted), 0);
		assert_int_equal(wanted.n_ports, 0);
		rd_wanted_free(&wanted);
		assert_int_equal(rd_is_programmed(&find(names[i])->service), i == 3);
	}
	put(SERVICE(.name = "node-port", .type = RD_TYPE_NODE_PORT));
	put(SERVICE(.name = "balancer", .type = RD_TYPE_LOAD_BALANCER));
	assert_true(rd_is_programmed(&find("node-port")->service));
	assert_true(rd_is_programmed(&find("balancer")->service));
}

TEST(A5_each_family_has_its_frontend_and_its_endpoints)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ip6 = "fd00:96::1", .ports = {{.port = 80}}));
	put(SLICE(.name = "v4", .ports = {{.port = 8080}}, .endpoints = {{.ip = "10.0.0.1"}}));
	put(SLICE(.name = "v6", .ports = {{.port = 8086}}, .endpoints = {{.ip = "fd00::1"}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:8080\n"
		      "/TCP [fd00:96::1]:80 > [fd00::1]:8086\n");
	put(SERVICE(.ip6 = "fd00:96::1", .ports = {{.port = 80}}));
	expect("web", "/TCP [fd00:96::1]:80 > [fd00::1]:8086\n");
	put(SERVICE(.ports = {{.port = 80}}));
	expect("web", "");
}

TEST(A13_slices_of_a_service_add_up_and_one_slice_takes_only_its_own_away)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SLICE(.name = "a", .ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1"}}));
	put(SLICE(.name = "b", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1"}, {.ip = "10.0.0.2"}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80 10.0.0.2:80\n");
	rd_store_remove(&store, RD_SLICE, "default", "b");
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
	/* A move between slices: never a gap. */
	put(SLICE(.name = "b", .ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1"}}));
	put(SLICE(.name = "a", .ports = {{.port = 80}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
	/* And to another Service. */
	put(SLICE(.name = "b", .owner = "other", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1"}}));
	expect("web", "/TCP 10.96.0.1:80 >\n");
}

TEST(A4_A12_slices_of_others_do_not_count)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SLICE(.name = "ignored", .ignored = true, .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1"}}));
	put(SLICE(.name = "nobodys", .owner = "", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.2"}}));
	put(SLICE(.namespace = "shop", .ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.3"}}));
	expect("web", "/TCP 10.96.0.1:80 >\n");
}

TEST(A13_one_address_with_different_ports_is_several_endpoints)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SLICE(.name = "a", .ports = {{.port = 81}}, .endpoints = {{.ip = "10.0.0.1"}}));
	put(SLICE(.name = "b", .ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1"}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80 10.0.0.1:81\n");
}

/* One row: the endpoints of one slice, and which of them are used. */
TEST(A13_B2_B8_conditions_decide_which_endpoints_are_used)
{
	static const struct {
		const char *what;
		struct endpoint_args endpoints[MOST];
		const char *used;
	} rows[] = {
		{.what = "ready ones only",
		 .endpoints = {{.ip = "10.0.0.1"}, {.ip = "10.0.0.2", .not_ready = true}},
		 .used = " 10.0.0.1:80"},
		{.what = "a terminating one not beside a ready one (B2)",
		 .endpoints = {{.ip = "10.0.0.1"},
			       {.ip = "10.0.0.2", .not_ready = true, .terminating = true}},
		 .used = " 10.0.0.1:80"},
		{.what = "all that terminate and serve, if none is ready (B2)",
		 .endpoints = {{.ip = "10.0.0.1", .not_ready = true, .terminating = true},
			       {.ip = "10.0.0.2", .not_ready = true, .terminating = true},
			       {.ip = "10.0.0.3",
				.not_ready = true,
				.not_serving = true,
				.terminating = true}},
		 .used = " 10.0.0.1:80 10.0.0.2:80"},
		{.what = "never one that is neither ready nor terminating (B2)",
		 .endpoints = {{.ip = "10.0.0.1", .not_ready = true}},
		 .used = ""},
		{.what = "one that is ready while terminating (B8)",
		 .endpoints = {{.ip = "10.0.0.1", .terminating = true},
			       {.ip = "10.0.0.2", .not_ready = true, .terminating = true}},
		 .used = " 10.0.0.1:80"},
		{.what = "ready is enough, serving or not",
		 .endpoints = {{.ip = "10.0.0.1", .not_serving = true}},
		 .used = " 10.0.0.1:80"},
		{.what = "of two the same, the one not terminating (A13)",
		 .endpoints = {{.ip = "10.0.0.1", .not_ready = true, .terminating = true},
			       {.ip = "10.0.0.1"}},
		 .used = " 10.0.0.1:80"},
		{.what = "in whatever order (A13)",
		 .endpoints = {{.ip = "10.0.0.1"},
			       {.ip = "10.0.0.1", .not_ready = true, .terminating = true}},
		 .used = " 10.0.0.1:80"},
		{.what = "also if that one is of no use (A13)",
		 .endpoints = {{.ip = "10.0.0.1", .not_ready = true, .terminating = true},
			       {.ip = "10.0.0.1", .not_ready = true}},
		 .used = ""},
		{.what = "of two the same and not terminating, the ready one",
		 .endpoints = {{.ip = "10.0.0.1", .not_ready = true}, {.ip = "10.0.0.1"}},
		 .used = " 10.0.0.1:80"},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct slice_args slice = {.ports = {{.port = 80}}};
		struct rd_wanted wanted;
		char text[500], expected[500];

		memcpy(slice.endpoints, rows[i].endpoints, sizeof(slice.endpoints));
		put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
		put(make_slice(slice));
		assert_int_equal(rd_resolve(&store, &here, find("web"), &wanted), 0);
		describe(&wanted, text, text + sizeof(text));
		rd_wanted_free(&wanted);
		snprintf(expected, sizeof(expected), "/TCP 10.96.0.1:80 >%s\n", rows[i].used);
		if (strcmp(text, expected))
			fail_msg("%s: %s", rows[i].what, text);
	}
}

TEST(B2_the_fallback_to_terminating_is_decided_for_each_port_and_family)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ip6 = "fd00:96::1",
		    .ports = {{.name = "a", .port = 80}, {.name = "b", .port = 81}}));
	put(SLICE(.name = "1", .ports = {{.name = "a", .port = 80}},
		  .endpoints = {{.ip = "10.0.0.1"}}));
	put(SLICE(.name = "2", .ports = {{.name = "a", .port = 80}, {.name = "b", .port = 81}},
		  .endpoints = {{.ip = "10.0.0.2", .not_ready = true, .terminating = true}}));
	put(SLICE(.name = "3", .ports = {{.name = "a", .port = 80}},
		  .endpoints = {{.ip = "fd00::2", .not_ready = true, .terminating = true}}));
	expect("web", "a/TCP 10.96.0.1:80 > 10.0.0.1:80\n"
		      "a/TCP [fd00:96::1]:80 > [fd00::2]:80\n"
		      "b/TCP 10.96.0.1:81 > 10.0.0.2:81\n"
		      "b/TCP [fd00:96::1]:81 >\n");
}

TEST(A17_A18_every_subset_of_endpoints_counts_for_a_service_without_a_selector)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.name = "a", .port = 80}}));
	put(SLICE(.kind = RD_ENDPOINTS,
		  .ports = {{.name = "a", .port = 8080}, {.name = "b", .port = 1}},
		  .endpoints = {{.ip = "10.0.0.1"}, {.ip = "10.0.0.2", .not_ready = true}},
		  .more_ports = {{.name = "a", .port = 8081}},
		  .more_endpoints = {{.ip = "10.0.0.3"}}));
	expect("web", "a/TCP 10.96.0.1:80 > 10.0.0.1:8080 10.0.0.3:8081\n");
	/* As the mirroring controller's slices would, beside other slices. */
	put(SLICE(.ports = {{.name = "a", .port = 80}}, .endpoints = {{.ip = "10.0.0.9"}}));
	expect("web", "a/TCP 10.96.0.1:80 > 10.0.0.1:8080 10.0.0.3:8081 10.0.0.9:80\n");
	/* A18: not to be mirrored. */
	put(SLICE(.kind = RD_ENDPOINTS, .ignored = true, .ports = {{.name = "a", .port = 8080}},
		  .endpoints = {{.ip = "10.0.0.1"}}));
	expect("web", "a/TCP 10.96.0.1:80 > 10.0.0.9:80\n");
}

TEST(A18_endpoints_do_not_count_for_a_service_with_a_selector)
{
	put(SERVICE(.ip4 = "10.96.0.1", .selector = {"app", "web"}, .ports = {{.port = 80}}));
	put(SLICE(.kind = RD_ENDPOINTS, .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1"}}));
	expect("web", "/TCP 10.96.0.1:80 >\n");
	put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.2"}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.2:80\n");
}

TEST(pods_that_a_selector_matches_are_endpoints)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ip6 = "fd00:96::1", .selector = {"app", "web"},
		    .ports = {{.port = 80, .target_number = 8080}}));
	put(POD(.name = "a", .labels = {"app", "web"}, .ip4 = "10.0.0.2", .ip6 = "fd00::2"));
	put(POD(.name = "b", .labels = {"app", "web", "x", "y"}, .ip4 = "10.0.0.1"));
	put(POD(.name = "other", .labels = {"app", "db"}, .ip4 = "10.0.0.3"));
	put(POD(.namespace = "shop", .labels = {"app", "web"}, .ip4 = "10.0.0.4"));
	put(POD(.name = "no-ip", .labels = {"app", "web"}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:8080\n"
		      "/TCP [fd00:96::1]:80 > [fd00::2]:8080\n");
}

TEST(no_pod_is_an_endpoint_of_a_service_without_a_selector)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(POD(.labels = {"app", "web"}, .ip4 = "10.0.0.1"));
	expect("web", "/TCP 10.96.0.1:80 >\n");
}

TEST(without_a_target_port_the_ports_own_number_is_used)
{
	put(SERVICE(.ip4 = "10.96.0.1", .selector = {"app", "web"}, .ports = {{.port = 80}}));
	put(POD(.labels = {"app", "web"}, .ip4 = "10.0.0.1"));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
}

TEST(a_named_target_port_is_looked_up_in_each_pod)
{
	put(SERVICE(.ip4 = "10.96.0.1", .selector = {"app", "web"},
		    .ports = {{.name = "http", .port = 80, .target_name = "web"},
			      {.name = "dns",
			       .port = 53,
			       .protocol = IPPROTO_UDP,
			       .target_name = "web"}}));
	put(POD(.name = "a", .labels = {"app", "web"}, .ip4 = "10.0.0.1",
		.ports = {{.name = "web", .port = 8080}}));
	put(POD(.name = "b", .labels = {"app", "web"}, .ip4 = "10.0.0.2",
		.ports = {{.name = "x", .port = 1},
			  {.name = "web", .port = 53, .protocol = IPPROTO_UDP},
			  {.name = "web", .port = 9090},
			  {.name = "web", .port = 9091}}));
	put(POD(.name = "none", .labels = {"app", "web"}, .ip4 = "10.0.0.3",
		.ports = {{.name = "http", .port = 80}}));
	expect("web", "http/TCP 10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:9090\n"
		      "dns/UDP 10.96.0.1:53 > 10.0.0.2:53\n");
}

/* What the endpoint controller makes of one Pod's state. */
TEST(a_pods_state_decides_whether_it_is_used)
{
	static const struct {
		const char *what;
		struct pod_args pod;
		bool publish_not_ready, used;
	} rows[] = {
		{.what = "ready", .used = true},
		{.what = "not ready", .pod = {.not_ready = true}},
		{.what = "not ready, published",
		 .pod = {.not_ready = true},
		 .publish_not_ready = true,
		 .used = true},
		{.what = "ready and terminating: the fallback",
		 .pod = {.terminating = true},
		 .used = true},
		{.what = "terminating and no longer ready",
		 .pod = {.terminating = true, .not_ready = true}},
		{.what = "the same, published",
		 .pod = {.terminating = true, .not_ready = true},
		 .publish_not_ready = true,
		 .used = true},
		{.what = "ended", .pod = {.ended = true}},
		{.what = "ended, published", .pod = {.ended = true}, .publish_not_ready = true},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct pod_args pod = rows[i].pod;
		struct rd_wanted wanted;

		pod.labels[0] = "app";
		pod.labels[1] = "web";
		pod.ip4 = "10.0.0.1";
		put(SERVICE(.ip4 = "10.96.0.1", .selector = {"app", "web"},
			    .publish_not_ready = rows[i].publish_not_ready,
			    .ports = {{.port = 80}}));
		put(make_pod(pod));
		assert_int_equal(rd_resolve(&store, &here, find("web"), &wanted), 0);
		if (wanted.ports[0].sets[0].n != rows[i].used)
			fail_msg("%s", rows[i].what);
		rd_wanted_free(&wanted);
	}
}

TEST(a_terminating_pod_is_not_used_beside_a_ready_one)
{
	put(SERVICE(.ip4 = "10.96.0.1", .selector = {"app", "web"}, .ports = {{.port = 80}}));
	put(POD(.name = "a", .labels = {"app", "web"}, .ip4 = "10.0.0.1", .terminating = true));
	put(POD(.name = "b", .labels = {"app", "web"}, .ip4 = "10.0.0.2"));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.2:80\n");
	/* publishNotReadyAddresses makes it ready (B8). */
	put(SERVICE(.ip4 = "10.96.0.1", .selector = {"app", "web"}, .publish_not_ready = true,
		    .ports = {{.port = 80}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80 10.0.0.2:80\n");
}

TEST(A13_pods_and_slices_that_say_the_same_are_one_endpoint)
{
	put(SERVICE(.ip4 = "10.96.0.1", .selector = {"app", "web"}, .ports = {{.port = 80}}));
	put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1"}}));
	put(POD(.labels = {"app", "web"}, .ip4 = "10.0.0.1"));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
}

TEST(A19_two_services_can_have_the_same_pods)
{
	put(SERVICE(.name = "a", .ip4 = "10.96.0.1", .selector = {"app", "web"},
		    .ports = {{.port = 80}}));
	put(SERVICE(.name = "b", .ip4 = "10.96.0.2", .selector = {"app", "web"},
		    .ports = {{.port = 80}}));
	put(POD(.labels = {"app", "web"}, .ip4 = "10.0.0.1"));
	expect("a", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
	rd_store_remove(&store, RD_SERVICE, "default", "a");
	expect("b", "/TCP 10.96.0.2:80 > 10.0.0.1:80\n");
}

/* ---- SERVICE-SEMANTICS, statement by statement ---------------------------------------------- */

#define EVERY_ADDRESS                                                                              \
	.type = RD_TYPE_LOAD_BALANCER, .external_ips = {"192.0.2.1"}, .lb_ips = {"192.0.2.2"},     \
	.ports = {{.port = 80, .node_port = 30080}}

TEST(A1_without_a_cluster_ip_there_is_no_frontend_of_any_kind)
{
	put(SERVICE(.headless = true, EVERY_ADDRESS));
	expect("web", "");
	put(SERVICE(EVERY_ADDRESS));
	expect("web", "");
}

TEST(A2_an_external_name_has_no_frontend_whatever_addresses_are_left_over)
{
	put(SERVICE(EVERY_ADDRESS, .ip4 = "10.96.0.1"));
	expect("web", "/TCP 10.96.0.1:80 >\n/TCP 192.0.2.1:80 >\n/TCP 192.0.2.2:80 >\n"
		      "/TCP *:30080 >\n");
	put(SERVICE(.ip4 = "10.96.0.1", .external_ips = {"192.0.2.1"}, .lb_ips = {"192.0.2.2"},
		    .type = RD_TYPE_EXTERNAL_NAME, .ports = {{.port = 80, .node_port = 30080}}));
	expect("web", "");
}

TEST(A3_another_proxys_label_takes_the_frontends_out_and_gives_them_back)
{
	put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1"}}));
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
	put(SERVICE(.ip4 = "10.96.0.1", .not_ours = true, .ports = {{.port = 80}}));
	expect("web", "");
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
}

TEST(A4_a_slice_labelled_headless_is_ignored_from_then_on)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1"}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
	put(SLICE(.ignored = true, .ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1"}}));
	expect("web", "/TCP 10.96.0.1:80 >\n");
}

TEST(A5_a_family_without_cluster_ip_has_nothing_else_either)
{
	put(SERVICE(.type = RD_TYPE_LOAD_BALANCER, .ip4 = "10.96.0.1",
		    .external_ips = {"2001:db8::1"}, .lb_ips = {"2001:db8::2"},
		    .ports = {{.port = 80, .node_port = 30080}}));
	expect("web", "/TCP 10.96.0.1:80 >\n/TCP *:30080 >\n");
}

TEST(A6_one_number_of_two_protocols_is_two_frontends_and_either_can_go)
{
	put(SLICE(.ports = {{.name = "t", .port = 80},
			    {.name = "u", .port = 80, .protocol = IPPROTO_UDP}},
		  .endpoints = {{.ip = "10.0.0.1"}}));
	put(SERVICE(.ip4 = "10.96.0.1",
		    .ports = {{.name = "t", .port = 80},
			      {.name = "u", .port = 80, .protocol = IPPROTO_UDP}}));
	expect("web", "t/TCP 10.96.0.1:80 > 10.0.0.1:80\nu/UDP 10.96.0.1:80 > 10.0.0.1:80\n");
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.name = "t", .port = 80}}));
	expect("web", "t/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
	put(SERVICE(.ip4 = "10.96.0.1",
		    .ports = {{.name = "u", .port = 80, .protocol = IPPROTO_UDP}}));
	expect("web", "u/UDP 10.96.0.1:80 > 10.0.0.1:80\n");
}

TEST(A7_sctp_has_no_frontend_at_any_address)
{
	put(SERVICE(.type = RD_TYPE_LOAD_BALANCER, .ip4 = "10.96.0.1", .ip6 = "fd00:96::1",
		    .external_ips = {"192.0.2.1"}, .lb_ips = {"192.0.2.2"},
		    .ports = {{.port = 80, .protocol = IPPROTO_SCTP, .node_port = 30080}}));
	expect("web", "");
}

TEST(A8_the_unnamed_port_matches_the_unnamed_port_only)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SLICE(.name = "a", .ports = {{.port = 81}}, .endpoints = {{.ip = "10.0.0.1"}}));
	put(SLICE(.name = "b", .ports = {{.name = "http", .port = 82}},
		  .endpoints = {{.ip = "10.0.0.2"}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:81\n");
}

TEST(A9_one_port_can_have_another_number_on_each_endpoint)
{
	put(SERVICE(.ip4 = "10.96.0.1",
		    .ports = {{.name = "http", .port = 80, .target_name = "web"}}));
	put(SLICE(.name = "a", .ports = {{.name = "http", .port = 8080}},
		  .endpoints = {{.ip = "10.0.0.1"}}));
	put(SLICE(.name = "b", .ports = {{.name = "http", .port = 9090}},
		  .endpoints = {{.ip = "10.0.0.2"}}));
	expect("web", "http/TCP 10.96.0.1:80 > 10.0.0.1:8080 10.0.0.2:9090\n");
}

TEST(A13_a_slice_that_goes_takes_only_its_own_endpoints)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SLICE(.name = "a", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1", .not_ready = true, .terminating = true}}));
	put(SLICE(.name = "b", .ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1"}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
	/* What the other slice says of the same endpoint shows again. */
	rd_store_remove(&store, RD_SLICE, "default", "b");
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
	rd_store_remove(&store, RD_SLICE, "default", "a");
	expect("web", "/TCP 10.96.0.1:80 >\n");
}

TEST(A13_of_two_entries_for_one_endpoint_the_kept_one_says_where_it_is)
{
	put(SERVICE(.ip4 = "10.96.0.1", .internal_local = true, .ports = {{.port = 80}}));
	put(SLICE(.name = "a", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1",
				 .node = "n1",
				 .not_ready = true,
				 .terminating = true}}));
	put(SLICE(.name = "b", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1", .node = "n2"}}));
	expect("web", "/TCP 10.96.0.1:80 >\n");
}

TEST(A14_a_slice_without_ports_or_endpoints_adds_nothing)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SLICE(.name = "a"));
	put(SLICE(.name = "b", .ports = {{.port = 80}}));
	put(SLICE(.name = "c", .endpoints = {{.ip = "10.0.0.1"}}));
	expect("web", "/TCP 10.96.0.1:80 >\n");
	put(SLICE(.name = "d", .ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.2"}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.2:80\n");
}

TEST(A15_slices_before_and_after_their_service_are_the_same)
{
	for (int slice_first = 0; slice_first < 2; slice_first++) {
		if (!slice_first)
			put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
		put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1"}}));
		if (slice_first)
			put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
		expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
		rd_store_remove(&store, RD_SERVICE, "default", "web");
		rd_store_remove(&store, RD_SLICE, "default", "web");
	}
}

TEST(A15_a_slice_given_to_another_service_leaves_nothing_behind)
{
	put(SERVICE(.name = "a", .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SERVICE(.name = "b", .ip4 = "10.96.0.2", .ports = {{.port = 80}}));
	put(SLICE(.name = "s", .owner = "a", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1"}}));
	put(SLICE(.name = "s", .owner = "b", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1"}}));
	expect("a", "/TCP 10.96.0.1:80 >\n");
	expect("b", "/TCP 10.96.0.2:80 > 10.0.0.1:80\n");
}

TEST(A17_endpoints_are_addresses_times_ports_of_each_subset)
{
	put(SERVICE(.ip4 = "10.96.0.1",
		    .ports = {{.name = "a", .port = 80}, {.name = "b", .port = 81}}));
	put(SLICE(.kind = RD_ENDPOINTS,
		  .ports = {{.name = "a", .port = 1}, {.name = "b", .port = 2}},
		  .endpoints = {{.ip = "10.0.0.1"}, {.ip = "10.0.0.2"}},
		  .more_ports = {{.name = "b", .port = 3}},
		  .more_endpoints = {{.ip = "10.0.0.1"}}));
	expect("web", "a/TCP 10.96.0.1:80 > 10.0.0.1:1 10.0.0.2:1\n"
		      "b/TCP 10.96.0.1:81 > 10.0.0.1:2 10.0.0.1:3 10.0.0.2:2\n");
}

TEST(A18_an_endpoint_not_ready_is_never_a_fallback)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SLICE(.kind = RD_ENDPOINTS, .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1", .not_ready = true}}));
	expect("web", "/TCP 10.96.0.1:80 >\n");
}

TEST(A18_endpoints_keep_their_node)
{
	put(SERVICE(.ip4 = "10.96.0.1", .internal_local = true, .ports = {{.port = 80}}));
	put(SLICE(.kind = RD_ENDPOINTS, .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1", .node = "n1"},
				{.ip = "10.0.0.2", .node = "n2"},
				{.ip = "10.0.0.3"}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
}

/* One row: the endpoints of one slice, and which of them a ClusterIP leads to. */
struct used {
	const char *what;
	struct endpoint_args endpoints[MOST];
	const char *used;
};

static void expect_used(bool internal_local, const struct used *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct slice_args slice = {.ports = {{.port = 80}}};
		struct rd_wanted wanted;
		char text[500], expected[500];

		memcpy(slice.endpoints, rows[i].endpoints, sizeof(slice.endpoints));
		put(SERVICE(.ip4 = "10.96.0.1", .internal_local = internal_local,
			    .ports = {{.port = 80}}));
		put(make_slice(slice));
		assert_int_equal(rd_resolve(&store, &here, find("web"), &wanted), 0);
		describe(&wanted, text, text + sizeof(text));
		rd_wanted_free(&wanted);
		snprintf(expected, sizeof(expected), "/TCP 10.96.0.1:80 >%s\n", rows[i].used);
		if (strcmp(text, expected))
			fail_msg("%s: %s", rows[i].what, text);
	}
}

#define EXPECT_USED(rows) expect_used(false, (rows), RD_ARRAY_SIZE(rows))
#define EXPECT_USED_LOCAL(rows) expect_used(true, (rows), RD_ARRAY_SIZE(rows))
#define OUTGOING .not_ready = true, .terminating = true

TEST(B2_terminating_endpoints_serve_when_none_is_ready)
{
	static const struct used rows[] = {
		{.what = "beside a ready one they do not",
		 .endpoints = {{.ip = "10.0.0.1"}, {.ip = "10.0.0.2", OUTGOING}},
		 .used = " 10.0.0.1:80"},
		{.what = "without one they do, wherever they are",
		 .endpoints = {{.ip = "10.0.0.1", .node = "n1", OUTGOING},
			       {.ip = "10.0.0.2", .node = "n2", OUTGOING},
			       {.ip = "10.0.0.3", OUTGOING}},
		 .used = " 10.0.0.1:80 10.0.0.2:80 10.0.0.3:80"},
		{.what = "if they serve",
		 .endpoints = {{.ip = "10.0.0.1", .not_serving = true, OUTGOING}},
		 .used = ""},
	};

	EXPECT_USED(rows);
}

TEST(B2_what_is_neither_ready_nor_terminating_is_never_used)
{
	static const struct used rows[] = {
		{.what = "alone", .endpoints = {{.ip = "10.0.0.1", .not_ready = true}}, .used = ""},
		{.what = "beside one that terminates",
		 .endpoints = {{.ip = "10.0.0.1", .not_ready = true}, {.ip = "10.0.0.2", OUTGOING}},
		 .used = " 10.0.0.2:80"},
	};

	EXPECT_USED(rows);
}

TEST(B3_the_local_set_is_what_is_ready_here_or_terminates_here)
{
	static const struct used rows[] = {
		{.what = "ready here",
		 .endpoints = {{.ip = "10.0.0.1", .node = "n1"},
			       {.ip = "10.0.0.2", .node = "n2"},
			       {.ip = "10.0.0.3"},
			       {.ip = "10.0.0.4", .node = "n1", OUTGOING},
			       {.ip = "10.0.0.5", .node = "n1", .not_ready = true}},
		 .used = " 10.0.0.1:80"},
		{.what = "terminating here, though others are ready elsewhere",
		 .endpoints = {{.ip = "10.0.0.1", .node = "n1", OUTGOING},
			       {.ip = "10.0.0.2", .node = "n2"}},
		 .used = " 10.0.0.1:80"},
		{.what = "not terminating elsewhere",
		 .endpoints = {{.ip = "10.0.0.1", .node = "n2", OUTGOING}},
		 .used = ""},
		{.what = "nothing here",
		 .endpoints = {{.ip = "10.0.0.1", .node = "n2"}},
		 .used = ""},
		{.what = "terminating here and not serving",
		 .endpoints = {{.ip = "10.0.0.1", .node = "n1", .not_serving = true, OUTGOING}},
		 .used = ""},
		{.what = "the whole name counts",
		 .endpoints = {{.ip = "10.0.0.1", .node = "n11"},
			       {.ip = "10.0.0.2", .node = "N1"},
			       {.ip = "10.0.0.3", .node = "n"}},
		 .used = ""},
	};

	EXPECT_USED_LOCAL(rows);
}

TEST(B3_a_node_without_a_name_has_nothing_local)
{
	static const struct used rows[] = {
		{.what = "no names at all", .endpoints = {{.ip = "10.0.0.1"}}, .used = ""},
		{.what = "an empty one", .endpoints = {{.ip = "10.0.0.1", .node = ""}}, .used = ""},
		{.what = "another's", .endpoints = {{.ip = "10.0.0.1", .node = "n1"}}, .used = ""},
	};

	here.node = "";
	EXPECT_USED_LOCAL(rows);
}

TEST(B4_hints_do_not_apply_to_the_local_set)
{
	static const struct used rows[] = {
		{.what = "here, for another zone and node",
		 .endpoints = {{.ip = "10.0.0.1",
				.node = "n1",
				.for_zones = {"z2"},
				.for_nodes = {"n2"}},
			       {.ip = "10.0.0.2",
				.node = "n2",
				.for_zones = {"z1"},
				.for_nodes = {"n1"}}},
		 .used = " 10.0.0.1:80"},
	};

	EXPECT_USED_LOCAL(rows);
}

TEST(B4_hints_do_not_apply_to_the_fallback)
{
	static const struct used rows[] = {
		{.what = "all that terminate, whomever they are for",
		 .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z1"}, OUTGOING},
			       {.ip = "10.0.0.2", .for_zones = {"z2"}, OUTGOING},
			       {.ip = "10.0.0.3", .for_nodes = {"n2"}, OUTGOING}},
		 .used = " 10.0.0.1:80 10.0.0.2:80 10.0.0.3:80"},
		/* Hints apply to what is ready, and one is: no fallback. */
		{.what = "no fallback beside a ready one elsewhere",
		 .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z1"}, OUTGOING},
			       {.ip = "10.0.0.2", .for_zones = {"z2"}}},
		 .used = " 10.0.0.2:80"},
	};

	EXPECT_USED(rows);
}

TEST(B5_hints_for_nodes_come_before_hints_for_zones)
{
	static const struct used rows[] = {
		{.what = "this zone's",
		 .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z1"}},
			       {.ip = "10.0.0.2", .for_zones = {"z2"}},
			       {.ip = "10.0.0.3", .for_zones = {"z2", "z1"}}},
		 .used = " 10.0.0.1:80 10.0.0.3:80"},
		{.what = "this node's",
		 .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z1"}, .for_nodes = {"n1"}},
			       {.ip = "10.0.0.2", .for_zones = {"z1"}, .for_nodes = {"n2"}}},
		 .used = " 10.0.0.1:80"},
		{.what = "one of several nodes",
		 .endpoints = {{.ip = "10.0.0.1", .for_nodes = {"n2"}},
			       {.ip = "10.0.0.2", .for_nodes = {"n3", "n1"}}},
		 .used = " 10.0.0.2:80"},
		{.what = "none for us that is outside our zone is left out",
		 .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z2"}, .for_nodes = {"n1"}},
			       {.ip = "10.0.0.2", .for_zones = {"z1"}, .for_nodes = {"n2"}}},
		 .used = " 10.0.0.1:80"},
	};

	EXPECT_USED(rows);
}

TEST(B6_hints_that_are_incomplete_or_name_nobody_here_are_ignored)
{
	static const struct used rows[] = {
		{.what = "one ready endpoint has none",
		 .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z1"}}, {.ip = "10.0.0.2"}},
		 .used = " 10.0.0.1:80 10.0.0.2:80"},
		{.what = "none names this zone",
		 .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z2"}},
			       {.ip = "10.0.0.2", .for_zones = {"z3"}}},
		 .used = " 10.0.0.1:80 10.0.0.2:80"},
		{.what = "no node hint names this node, but a zone hint this zone",
		 .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z1"}, .for_nodes = {"n2"}},
			       {.ip = "10.0.0.2", .for_zones = {"z2"}, .for_nodes = {"n3"}}},
		 .used = " 10.0.0.1:80"},
		{.what = "one lacks a node hint: by zone",
		 .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z1"}, .for_nodes = {"n1"}},
			       {.ip = "10.0.0.2", .for_zones = {"z1"}},
			       {.ip = "10.0.0.3", .for_zones = {"z2"}}},
		 .used = " 10.0.0.1:80 10.0.0.2:80"},
		{.what = "one lacks a node hint and another a zone hint",
		 .endpoints = {{.ip = "10.0.0.1", .for_nodes = {"n1"}},
			       {.ip = "10.0.0.2", .for_zones = {"z1"}}},
		 .used = " 10.0.0.1:80 10.0.0.2:80"},
		{.what = "an unready one without hints does not count",
		 .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z1"}},
			       {.ip = "10.0.0.2", .for_zones = {"z2"}},
			       {.ip = "10.0.0.3", .not_ready = true},
			       {.ip = "10.0.0.4", OUTGOING}},
		 .used = " 10.0.0.1:80"},
		{.what = "nor do an unready one's hints",
		 .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z2"}},
			       {.ip = "10.0.0.2", .for_zones = {"z1"}, .not_ready = true}},
		 .used = " 10.0.0.1:80"},
	};

	EXPECT_USED(rows);
}

TEST(B6_a_node_without_a_zone_takes_every_endpoint)
{
	static const struct used rows[] = {
		{.what = "hints for zones",
		 .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z1"}},
			       {.ip = "10.0.0.2", .for_zones = {"z2"}}},
		 .used = " 10.0.0.1:80 10.0.0.2:80"},
		{.what = "a hint with an empty name",
		 .endpoints = {{.ip = "10.0.0.1", .for_zones = {""}},
			       {.ip = "10.0.0.2", .for_zones = {"z2"}}},
		 .used = " 10.0.0.1:80 10.0.0.2:80"},
		{.what = "but hints for nodes still hold",
		 .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z1"}, .for_nodes = {"n1"}},
			       {.ip = "10.0.0.2", .for_zones = {"z1"}, .for_nodes = {"n2"}}},
		 .used = " 10.0.0.1:80"},
	};

	here.zone = "";
	EXPECT_USED(rows);
}

TEST(B6_hints_are_looked_at_for_each_port_and_family)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ip6 = "fd00:96::1", .ports = {{.port = 80}}));
	put(SLICE(.name = "4", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z1"}},
				{.ip = "10.0.0.2", .for_zones = {"z2"}}}));
	put(SLICE(.name = "6", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "fd00::1", .for_zones = {"z1"}}, {.ip = "fd00::2"}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n"
		      "/TCP [fd00:96::1]:80 > [fd00::1]:80 [fd00::2]:80\n");
}

TEST(B7_a_node_that_comes_into_another_zone_takes_the_endpoints_of_that)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1", .for_zones = {"z1"}},
							 {.ip = "10.0.0.2", .for_zones = {"z2"}}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
	here.zone = "z2";
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.2:80\n");
	here.zone = "";
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80 10.0.0.2:80\n");
}

TEST(B8_publish_not_ready_is_not_read_for_slices)
{
	put(SERVICE(.ip4 = "10.96.0.1", .publish_not_ready = true, .ports = {{.port = 80}}));
	put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1", .not_ready = true}}));
	expect("web", "/TCP 10.96.0.1:80 >\n");
	/* The slice controller says ready, and that is enough. */
	put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1", .terminating = true}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
}

/* An endpoint here and one elsewhere. */
static struct rd_object *here_and_there(void)
{
	return SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1", .node = "n1"},
							    {.ip = "10.0.0.2", .node = "n2"}});
}
#define HERE " > 10.0.0.1:80\n"
#define BOTH " > 10.0.0.1:80 10.0.0.2:80\n"

TEST(B9_the_internal_policy_is_the_cluster_ips_alone)
{
	put(here_and_there());
	put(SERVICE(EVERY_ADDRESS, .ip4 = "10.96.0.1", .internal_local = true));
	expect("web", "/TCP 10.96.0.1:80" HERE "/TCP 192.0.2.1:80" BOTH "/TCP 192.0.2.2:80" BOTH
		      "/TCP *:30080" BOTH);
}

TEST(B9_the_external_policy_does_not_concern_the_cluster_ip)
{
	put(here_and_there());
	put(SERVICE(EVERY_ADDRESS, .ip4 = "10.96.0.1", .external_local = true));
	expect("web", "/TCP 10.96.0.1:80" BOTH "/TCP 192.0.2.1:80" BOTH "/TCP 192.0.2.2:80" BOTH
		      "/TCP *:30080 local" BOTH);
}

TEST(B9_the_policy_local_counts_a_pods_node)
{
	put(SERVICE(.ip4 = "10.96.0.1", .internal_local = true, .selector = {"app", "web"},
		    .ports = {{.port = 80}}));
	put(POD(.name = "a", .node = "n1", .labels = {"app", "web"}, .ip4 = "10.0.0.1"));
	put(POD(.name = "b", .node = "n2", .labels = {"app", "web"}, .ip4 = "10.0.0.2"));
	put(POD(.name = "c", .labels = {"app", "web"}, .ip4 = "10.0.0.3"));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
}

TEST(C1_C4_the_policy_local_with_endpoints_elsewhere_only_is_an_empty_set)
{
	put(SERVICE(.ip4 = "10.96.0.1", .internal_local = true, .ports = {{.port = 80}}));
	put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.2", .node = "n2"}}));
	expect("web", "/TCP 10.96.0.1:80 >\n");
}

TEST(C8_external_ips_are_frontends_of_the_family_that_has_a_cluster_ip)
{
	put(SLICE(.ports = {{.port = 8080}}, .endpoints = {{.ip = "10.0.0.1"}}));
	put(SERVICE(.ip4 = "10.96.0.1", .external_ips = {"192.0.2.1", "192.0.2.2", "2001:db8::1"},
		    .ports = {{.port = 80}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:8080\n/TCP 192.0.2.1:80 > 10.0.0.1:8080\n"
		      "/TCP 192.0.2.2:80 > 10.0.0.1:8080\n");
	put(SERVICE(.ip4 = "10.96.0.1", .ip6 = "fd00:96::1",
		    .external_ips = {"192.0.2.1", "2001:db8::1"}, .ports = {{.port = 80}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:8080\n/TCP 192.0.2.1:80 > 10.0.0.1:8080\n"
		      "/TCP [fd00:96::1]:80 >\n/TCP [2001:db8::1]:80 >\n");
}

TEST(C8_external_ips_are_frontends_for_every_port)
{
	put(SERVICE(.ip4 = "10.96.0.1", .external_ips = {"192.0.2.1"},
		    .ports = {{.name = "a", .port = 80},
			      {.name = "b", .port = 80, .protocol = IPPROTO_UDP}}));
	expect("web", "a/TCP 10.96.0.1:80 >\na/TCP 192.0.2.1:80 >\n"
		      "b/UDP 10.96.0.1:80 >\nb/UDP 192.0.2.1:80 >\n");
}

TEST(C6_node_ports_are_those_of_node_port_and_load_balancer_services)
{
	static const struct {
		enum rd_service_type type;
		const char *expected;
	} rows[] = {
		{RD_TYPE_CLUSTER_IP, "/TCP 10.96.0.1:80 >\n/TCP [fd00:96::1]:80 >\n"},
		{RD_TYPE_NODE_PORT, "/TCP 10.96.0.1:80 >\n/TCP *:30080 >\n"
				    "/TCP [fd00:96::1]:80 >\n/TCP [*]:30080 >\n"},
		{RD_TYPE_LOAD_BALANCER, "/TCP 10.96.0.1:80 >\n/TCP *:30080 >\n"
					"/TCP [fd00:96::1]:80 >\n/TCP [*]:30080 >\n"},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		put(SERVICE(.type = rows[i].type, .ip4 = "10.96.0.1", .ip6 = "fd00:96::1",
			    .ports = {{.port = 80, .node_port = 30080}}));
		expect("web", rows[i].expected);
	}
	/* allocateLoadBalancerNodePorts: false. */
	put(SERVICE(.type = RD_TYPE_LOAD_BALANCER, .ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	expect("web", "/TCP 10.96.0.1:80 >\n");
}

TEST(C9_load_balancer_addresses_are_frontends_of_their_family)
{
	put(here_and_there());
	put(SERVICE(.type = RD_TYPE_LOAD_BALANCER, .ip4 = "10.96.0.1", .ip6 = "fd00:96::1",
		    .lb_ips = {"192.0.2.2", "2001:db8::2"}, .ports = {{.port = 80}}));
	expect("web", "/TCP 10.96.0.1:80" BOTH "/TCP 192.0.2.2:80" BOTH
		      "/TCP [fd00:96::1]:80 >\n/TCP [2001:db8::2]:80 >\n");
}

/* The load balancer's addresses that are frontends where this node has
 * `addresses` and the Service these ranges. */
static void expect_allowed(const char *const *ranges, const char *const *addresses, bool allowed4,
			   bool allowed6)
{
	struct service_args args = {
		EVERY_ADDRESS,
		.ip4 = "10.96.0.1",
		.ip6 = "fd00:96::1",
	};
	struct rd_ip ips[MOST];
	char expected[500];

	memcpy(args.source_ranges, ranges, sizeof(args.source_ranges));
	args.lb_ips[1] = "2001:db8::2";
	for (here.n_addresses = 0; addresses[here.n_addresses]; here.n_addresses++)
		ips[here.n_addresses] = to_ip(addresses[here.n_addresses]);
	here.addresses = ips;
	put(make_service(args));
	snprintf(expected, sizeof(expected),
		 "/TCP 10.96.0.1:80 >\n/TCP 192.0.2.1:80 >\n%s/TCP *:30080 >\n"
		 "/TCP [fd00:96::1]:80 >\n%s/TCP [*]:30080 >\n",
		 allowed4 ? "/TCP 192.0.2.2:80 >\n" : "",
		 allowed6 ? "/TCP [2001:db8::2]:80 >\n" : "");
	expect("web", expected);
	here.addresses = NULL;
	here.n_addresses = 0;
}

TEST(C10_source_ranges_decide_about_load_balancer_addresses_alone)
{
	static const struct {
		const char *ranges[MOST], *addresses[MOST];
		bool allowed4, allowed6;
	} rows[] = {
		{.addresses = {"172.18.0.2"}, .allowed4 = true, .allowed6 = true},
		{.ranges = {"172.18.0.0/16"},
		 .addresses = {"172.18.0.2"},
		 .allowed4 = true,
		 .allowed6 = true},
		/* Filtered by family: no range of one is no restriction of it. */
		{.ranges = {"10.0.0.0/8"},
		 .addresses = {"172.18.0.2", "fc00::2"},
		 .allowed6 = true},
		{.ranges = {"fd00::/8"}, .addresses = {"172.18.0.2", "fc00::2"}, .allowed4 = true},
		{.ranges = {"10.0.0.0/8", "fd00::/8"}, .addresses = {"172.18.0.2", "fc00::2"}},
		{.ranges = {"10.0.0.0/8", "fc00::/16"},
		 .addresses = {"172.18.0.2", "fc00::2"},
		 .allowed6 = true},
		/* Any range, and any address. */
		{.ranges = {"10.0.0.0/8", "172.18.0.2/32"},
		 .addresses = {"172.18.0.2"},
		 .allowed4 = true,
		 .allowed6 = true},
		{.ranges = {"10.0.0.0/8"},
		 .addresses = {"172.18.0.2", "10.1.2.3"},
		 .allowed4 = true,
		 .allowed6 = true},
		{.ranges = {"0.0.0.0/0", "::/0"},
		 .addresses = {"172.18.0.2", "fc00::2"},
		 .allowed4 = true,
		 .allowed6 = true},
		/* A node that does not know its addresses. */
		{.ranges = {"0.0.0.0/0", "::/0"}},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++)
		expect_allowed(rows[i].ranges, rows[i].addresses, rows[i].allowed4,
			       rows[i].allowed6);
}

TEST(C11_from_this_node_the_external_addresses_lead_everywhere)
{
	put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.2", .node = "n2"}}));
	put(SERVICE(EVERY_ADDRESS, .ip4 = "10.96.0.1", .internal_local = true,
		    .external_local = true));
	expect("web", "/TCP 10.96.0.1:80 >\n/TCP 192.0.2.1:80 > 10.0.0.2:80\n"
		      "/TCP 192.0.2.2:80 > 10.0.0.2:80\n/TCP *:30080 local > 10.0.0.2:80\n");
}

TEST(C11_from_this_node_the_external_addresses_follow_hints)
{
	put(SLICE(.ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1", .node = "n2", .for_zones = {"z1"}},
				{.ip = "10.0.0.2", .node = "n1", .for_zones = {"z2"}}}));
	put(SERVICE(EVERY_ADDRESS, .ip4 = "10.96.0.1", .external_local = true));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n/TCP 192.0.2.1:80 > 10.0.0.1:80\n"
		      "/TCP 192.0.2.2:80 > 10.0.0.1:80\n/TCP *:30080 local > 10.0.0.1:80\n");
}

/* This node, one with an endpoint, one without, and one of both families. */
static void put_nodes(void)
{
	put(NODE(.name = "n1", .addresses = {"172.18.0.1"}));
	put(NODE(.name = "n2", .addresses = {"172.18.0.2", "203.0.113.2"}));
	put(NODE(.name = "n3", .addresses = {"172.18.0.3"}));
	put(NODE(.name = "n4", .addresses = {"172.18.0.4", "fc00::4"}));
}

TEST(C12_another_nodes_node_port_with_the_policy_local_leads_to_what_runs_there)
{
	put_nodes();
	put(SLICE(.name = "4", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1", .node = "n1"},
				{.ip = "10.0.0.2", .node = "n2"},
				{.ip = "10.0.0.5", .node = "n2", OUTGOING},
				{.ip = "10.0.0.4", .node = "n4", OUTGOING},
				{.ip = "10.0.0.6"}}));
	put(SLICE(.name = "6", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "fd00::4", .node = "n4"}}));
	put(SERVICE(.type = RD_TYPE_NODE_PORT, .ip4 = "10.96.0.1", .ip6 = "fd00:96::1",
		    .external_local = true, .ports = {{.port = 80, .node_port = 30080}}));
	/* n3 has none: its address has no frontend, and *:30080 says "local". n4
	 * has one that terminates, in one family. */
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80 10.0.0.2:80 10.0.0.6:80\n"
		      "/TCP *:30080 local > 10.0.0.1:80 10.0.0.2:80 10.0.0.6:80\n"
		      "/TCP 172.18.0.2:30080 > 10.0.0.2:80\n"
		      "/TCP 203.0.113.2:30080 > 10.0.0.2:80\n"
		      "/TCP 172.18.0.4:30080 > 10.0.0.4:80\n"
		      "/TCP [fd00:96::1]:80 > [fd00::4]:80\n"
		      "/TCP [*]:30080 local > [fd00::4]:80\n"
		      "/TCP [fc00::4]:30080 > [fd00::4]:80\n");
}

TEST(C12_another_nodes_node_port_with_the_policy_cluster_is_as_this_nodes)
{
	put_nodes();
	put(here_and_there());
	put(SERVICE(.type = RD_TYPE_NODE_PORT, .ip4 = "10.96.0.1",
		    .ports = {{.port = 80, .node_port = 30080}}));
	expect("web", "/TCP 10.96.0.1:80" BOTH "/TCP *:30080" BOTH);
}

TEST(C12_without_a_node_port_no_nodes_address_is_a_frontend)
{
	put_nodes();
	put(here_and_there());
	put(SERVICE(.type = RD_TYPE_LOAD_BALANCER, .ip4 = "10.96.0.1", .external_local = true,
		    .lb_ips = {"192.0.2.2"}, .ports = {{.port = 80}}));
	expect("web", "/TCP 10.96.0.1:80" BOTH "/TCP 192.0.2.2:80" BOTH);
}

TEST(C12_an_endpoint_that_moves_to_another_node_moves_the_frontends)
{
	put_nodes();
	put(SERVICE(.type = RD_TYPE_NODE_PORT, .ip4 = "10.96.0.1", .external_local = true,
		    .ports = {{.port = 80, .node_port = 30080}}));
	put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.2", .node = "n4"}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.2:80\n/TCP *:30080 local > 10.0.0.2:80\n"
		      "/TCP 172.18.0.4:30080 > 10.0.0.2:80\n");
	put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.2", .node = "n3"}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.2:80\n/TCP *:30080 local > 10.0.0.2:80\n"
		      "/TCP 172.18.0.3:30080 > 10.0.0.2:80\n");
	rd_store_remove(&store, RD_NODE, "", "n3");
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.2:80\n/TCP *:30080 local > 10.0.0.2:80\n");
}

TEST(H10_what_the_node_answers_is_a_flag_of_port_53)
{
	put(SLICE(.ports = {{.name = "dns", .protocol = IPPROTO_UDP, .port = 5353},
			    {.name = "metrics", .port = 9153}},
		  .endpoints = {{.ip = "10.0.0.2"}}));
	put(SERVICE(.ip4 = "10.96.0.10",
		    .ports = {{.name = "dns", .protocol = IPPROTO_UDP, .port = 53},
			      {.name = "metrics", .port = 9153}}));
	for (size_t i = 0; i < 3; i++) {
		static const char *const others[] = {NULL, "default/we", "defaul/web"};

		here.dns_for = others[i];
		expect("web", "dns/UDP 10.96.0.10:53 > 10.0.0.2:5353\n"
			      "metrics/TCP 10.96.0.10:9153 > 10.0.0.2:9153\n");
	}
	here.dns_for = "default/web";
	expect("web", "dns/UDP 10.96.0.10:53 dns > 10.0.0.2:5353\n"
		      "metrics/TCP 10.96.0.10:9153 > 10.0.0.2:9153\n");
}

TEST(C13_balanced_services_with_the_policy_local_and_a_port_for_it_have_a_health_check)
{
	static const struct {
		struct service_args args;
		uint16_t port;
		bool has;
	} rows[] = {
		{.args = {.type = RD_TYPE_LOAD_BALANCER, .external_local = true},
		 .port = 30351,
		 .has = true},
		{.args = {.type = RD_TYPE_LOAD_BALANCER, .external_local = true}},
		{.args = {.type = RD_TYPE_LOAD_BALANCER}, .port = 30351},
		{.args = {.type = RD_TYPE_LOAD_BALANCER, .internal_local = true}, .port = 30351},
		{.args = {.type = RD_TYPE_NODE_PORT, .external_local = true}, .port = 30351},
		{.args = {.type = RD_TYPE_CLUSTER_IP, .external_local = true}, .port = 30351},
		{.args = {.type = RD_TYPE_EXTERNAL_NAME, .external_local = true}, .port = 30351},
		{.args = {.type = RD_TYPE_LOAD_BALANCER, .external_local = true, .not_ours = true},
		 .port = 30351},
		{.args = {.type = RD_TYPE_LOAD_BALANCER, .external_local = true, .headless = true},
		 .port = 30351},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_object *service = make_service(rows[i].args);

		service->service.health_check_port = rows[i].port;
		if (rd_has_health_check(&service->service) != rows[i].has)
			fail_msg("row %zu", i);
		rd_object_free(service);
	}
}

/* How many addresses of either family are ready here. */
static void expect_local_ready(uint32_t v4, uint32_t v6)
{
	uint32_t count = 77;

	assert_int_equal(rd_count_local_ready(&store, &here, find("web"), RD_FAMILY_4, &count), 0);
	assert_int_equal(count, v4);
	assert_int_equal(rd_count_local_ready(&store, &here, find("web"), RD_FAMILY_6, &count), 0);
	assert_int_equal(count, v6);
}

TEST(C13_addresses_that_are_ready_on_this_node_are_counted)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	expect_local_ready(0, 0);
	put(SLICE(.name = "a", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1", .node = "n1"},
				{.ip = "10.0.0.2", .node = "n2"},
				{.ip = "10.0.0.3"},
				{.ip = "10.0.0.4", .node = "n1", .not_ready = true},
				{.ip = "10.0.0.5", .node = "n1"}}));
	put(SLICE(.name = "b", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "fd00::1", .node = "n1"}}));
	put(SLICE(.name = "c", .owner = "other", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.6", .node = "n1"}}));
	put(SLICE(.name = "d", .ignored = true, .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.7", .node = "n1"}}));
	expect_local_ready(2, 1);
	here.node = "n2";
	expect_local_ready(1, 0);
	here.node = "n3";
	expect_local_ready(0, 0);
	/* A node without a name has nothing. */
	here.node = "";
	expect_local_ready(0, 0);
}

TEST(C13_what_terminates_is_not_counted_though_it_serves)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1",
							  .node = "n1",
							  .not_ready = true,
							  .terminating = true}}));
	expect_local_ready(0, 0);
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
}

TEST(C13_an_address_counts_once_whatever_its_ports_and_slices)
{
	put(SERVICE(.ip4 = "10.96.0.1",
		    .ports = {{.name = "a", .port = 80},
			      {.name = "b", .port = 81},
			      {.name = "c", .port = 82, .protocol = IPPROTO_UDP}}));
	put(SLICE(.name = "x",
		  .ports = {{.name = "a", .port = 8080},
			    {.name = "b", .port = 8081},
			    {.name = "c", .port = 8082, .protocol = IPPROTO_UDP}},
		  .endpoints = {{.ip = "10.0.0.1", .node = "n1"},
				{.ip = "10.0.0.2", .node = "n1"}}));
	put(SLICE(.name = "y", .ports = {{.name = "a", .port = 9090}},
		  .endpoints = {{.ip = "10.0.0.1", .node = "n1"}}));
	/* Of no port of the Service. */
	put(SLICE(.name = "z", .ports = {{.name = "other", .port = 1}},
		  .endpoints = {{.ip = "10.0.0.3", .node = "n1"}}));
	expect_local_ready(2, 0);
}

TEST(C13_an_address_ready_at_one_of_its_ports_counts)
{
	put(SERVICE(.ip4 = "10.96.0.1",
		    .ports = {{.name = "a", .port = 80}, {.name = "b", .port = 81}}));
	put(SLICE(.name = "x", .ports = {{.name = "a", .port = 8080}},
		  .endpoints = {{.ip = "10.0.0.1", .node = "n1", .not_ready = true}}));
	put(SLICE(.name = "y", .ports = {{.name = "b", .port = 8081}},
		  .endpoints = {{.ip = "10.0.0.1", .node = "n1"}}));
	expect_local_ready(1, 0);
}

TEST(C13_pods_are_counted_as_endpoints_are)
{
	put(SERVICE(.ip4 = "10.96.0.1", .selector = {"app", "web"}, .ports = {{.port = 80}}));
	put(POD(.name = "p1", .labels = {"app", "web"}, .node = "n1", .ip4 = "10.0.0.1",
		.ip6 = "fd00::1"));
	put(POD(.name = "p2", .labels = {"app", "web"}, .node = "n2", .ip4 = "10.0.0.2"));
	put(POD(.name = "p3", .labels = {"app", "db"}, .node = "n1", .ip4 = "10.0.0.3"));
	put(POD(.name = "p4", .labels = {"app", "web"}, .node = "n1", .ip4 = "10.0.0.4",
		.not_ready = true));
	expect_local_ready(1, 1);
}

TEST(C13_out_of_memory_leaves_the_count_untouched)
{
	put(SERVICE(.ip4 = "10.96.0.1", .selector = {"app", "web"}, .ports = {{.port = 80}}));
	put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1", .node = "n1"},
							 {.ip = "10.0.0.2", .node = "n1"},
							 {.ip = "10.0.0.3", .node = "n1"}}));
	put(POD(.labels = {"app", "web"}, .node = "n1", .ip4 = "10.0.0.4"));
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		uint32_t count = 77;
		int r = rd_count_local_ready(&store, &here, find("web"), RD_FAMILY_4, &count);

		if (!alloc_fail_end()) {
			assert_int_equal(r, 0);
			assert_int_equal(count, 4);
			assert_true(n > 1);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_int_equal(count, 77);
	}
}

TEST(A17_where_endpoints_are_all_there_is_they_count_for_every_service)
{
	put(SERVICE(.ip4 = "10.96.0.1", .selector = {"app", "web"}, .ports = {{.port = 80}}));
	put(SERVICE(.name = "kubernetes", .ip4 = "10.96.0.2", .ports = {{.port = 443}}));
	put(SLICE(.kind = RD_ENDPOINTS, .ports = {{.port = 8080}},
		  .endpoints = {{.ip = "10.0.0.1", .node = "n1"},
				{.ip = "10.0.0.2", .not_ready = true}}));
	/* One that is not to be mirrored is all the same the Service's own. */
	put(SLICE(.kind = RD_ENDPOINTS, .name = "kubernetes", .owner = "kubernetes",
		  .ignored = true, .ports = {{.port = 6443}}, .endpoints = {{.ip = "10.0.0.3"}}));
	expect("web", "/TCP 10.96.0.1:80 >\n");
	expect("kubernetes", "/TCP 10.96.0.2:443 >\n");
	expect_local_ready(0, 0);
	here.legacy_endpoints = true;
	put(SLICE(.name = "headless", .ignored = true, .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.9", .node = "n1"}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:8080\n");
	expect("kubernetes", "/TCP 10.96.0.2:443 > 10.0.0.3:6443\n");
	expect_local_ready(1, 0);
}

TEST(out_of_memory_leaves_the_output_untouched)
{
	struct rd_wanted wanted, untouched;
	char text[2000];

	put(SERVICE(.type = RD_TYPE_LOAD_BALANCER, .ip4 = "10.96.0.1", .ip6 = "fd00:96::1",
		    .selector = {"app", "web"}, .external_local = true,
		    .external_ips = {"192.0.2.1", "192.0.2.3"}, .lb_ips = {"192.0.2.2"},
		    .ports = {{.name = "a", .port = 80, .node_port = 30080},
			      {.name = "s", .port = 1, .protocol = IPPROTO_SCTP},
			      {.name = "b", .port = 81}}));
	put(SLICE(.ports = {{.name = "a", .port = 80}, {.name = "b", .port = 81}},
		  .endpoints = {{.ip = "10.0.0.1"},
				{.ip = "10.0.0.2"},
				{.ip = "10.0.0.3", .node = "n2"}}));
	put(NODE(.name = "n2", .addresses = {"172.18.0.2"}));
	put(POD(.labels = {"app", "web"}, .ip4 = "10.0.0.4", .ip6 = "fd00::4"));
	memset(&untouched, 0x5a, sizeof(untouched));
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		int r;

		wanted = untouched;
		r = rd_resolve(&store, &here, find("web"), &wanted);
		if (!alloc_fail_end()) {
			assert_int_equal(r, 0);
			assert_true(n > 10);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_memory_equal(&wanted, &untouched, sizeof(wanted));
	}
	describe(&wanted, text, text + sizeof(text));
#define FOUR_80 " > 10.0.0.1:80 10.0.0.2:80 10.0.0.3:80 10.0.0.4:80\n"
#define FOUR_81 " > 10.0.0.1:81 10.0.0.2:81 10.0.0.3:81 10.0.0.4:81\n"
	assert_string_equal(text,
			    "a/TCP 10.96.0.1:80" FOUR_80 "a/TCP 192.0.2.1:80" FOUR_80
			    "a/TCP 192.0.2.3:80" FOUR_80 "a/TCP 192.0.2.2:80" FOUR_80
			    "a/TCP *:30080 local" FOUR_80 "a/TCP 172.18.0.2:30080 > 10.0.0.3:80\n"
			    "a/TCP [fd00:96::1]:80 > [fd00::4]:80\n"
			    "a/TCP [*]:30080 local > [fd00::4]:80\n"
			    "b/TCP 10.96.0.1:81" FOUR_81 "b/TCP 192.0.2.1:81" FOUR_81
			    "b/TCP 192.0.2.3:81" FOUR_81 "b/TCP 192.0.2.2:81" FOUR_81
			    "b/TCP [fd00:96::1]:81 > [fd00::4]:81\n");
	rd_wanted_free(&wanted);
	/* And once more: freed is empty. */
	rd_wanted_free(&wanted);
}

#define RESOLVE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		RESOLVE_TEST(A9_ready_endpoints_of_a_slice_are_used_in_order_of_address_and_port),
		RESOLVE_TEST(C1_a_service_without_endpoints_has_a_frontend_with_an_empty_set),
		RESOLVE_TEST(A8_endpoints_join_by_port_name_and_protocol),
		RESOLVE_TEST(A7_sctp_ports_are_left_out_and_the_others_kept),
		RESOLVE_TEST(A1_A2_A3_services_that_are_not_to_be_programmed_have_no_ports),
		RESOLVE_TEST(A5_each_family_has_its_frontend_and_its_endpoints),
		RESOLVE_TEST(A13_slices_of_a_service_add_up_and_one_slice_takes_only_its_own_away),
		RESOLVE_TEST(A4_A12_slices_of_others_do_not_count),
		RESOLVE_TEST(A13_one_address_with_different_ports_is_several_endpoints),
		RESOLVE_TEST(A13_B2_B8_conditions_decide_which_endpoints_are_used),
		RESOLVE_TEST(B2_the_fallback_to_terminating_is_decided_for_each_port_and_family),
		RESOLVE_TEST(
			A17_A18_every_subset_of_endpoints_counts_for_a_service_without_a_selector),
		RESOLVE_TEST(A18_endpoints_do_not_count_for_a_service_with_a_selector),
		RESOLVE_TEST(pods_that_a_selector_matches_are_endpoints),
		RESOLVE_TEST(no_pod_is_an_endpoint_of_a_service_without_a_selector),
		RESOLVE_TEST(without_a_target_port_the_ports_own_number_is_used),
		RESOLVE_TEST(a_named_target_port_is_looked_up_in_each_pod),
		RESOLVE_TEST(a_pods_state_decides_whether_it_is_used),
		RESOLVE_TEST(a_terminating_pod_is_not_used_beside_a_ready_one),
		RESOLVE_TEST(A13_pods_and_slices_that_say_the_same_are_one_endpoint),
		RESOLVE_TEST(A19_two_services_can_have_the_same_pods),
		RESOLVE_TEST(A1_without_a_cluster_ip_there_is_no_frontend_of_any_kind),
		RESOLVE_TEST(A2_an_external_name_has_no_frontend_whatever_addresses_are_left_over),
		RESOLVE_TEST(A3_another_proxys_label_takes_the_frontends_out_and_gives_them_back),
		RESOLVE_TEST(A4_a_slice_labelled_headless_is_ignored_from_then_on),
		RESOLVE_TEST(A5_a_family_without_cluster_ip_has_nothing_else_either),
		RESOLVE_TEST(A6_one_number_of_two_protocols_is_two_frontends_and_either_can_go),
		RESOLVE_TEST(A7_sctp_has_no_frontend_at_any_address),
		RESOLVE_TEST(A8_the_unnamed_port_matches_the_unnamed_port_only),
		RESOLVE_TEST(A9_one_port_can_have_another_number_on_each_endpoint),
		RESOLVE_TEST(A13_a_slice_that_goes_takes_only_its_own_endpoints),
		RESOLVE_TEST(A13_of_two_entries_for_one_endpoint_the_kept_one_says_where_it_is),
		RESOLVE_TEST(A14_a_slice_without_ports_or_endpoints_adds_nothing),
		RESOLVE_TEST(A15_slices_before_and_after_their_service_are_the_same),
		RESOLVE_TEST(A15_a_slice_given_to_another_service_leaves_nothing_behind),
		RESOLVE_TEST(A17_endpoints_are_addresses_times_ports_of_each_subset),
		RESOLVE_TEST(A18_an_endpoint_not_ready_is_never_a_fallback),
		RESOLVE_TEST(A18_endpoints_keep_their_node),
		RESOLVE_TEST(B2_terminating_endpoints_serve_when_none_is_ready),
		RESOLVE_TEST(B2_what_is_neither_ready_nor_terminating_is_never_used),
		RESOLVE_TEST(B3_the_local_set_is_what_is_ready_here_or_terminates_here),
		RESOLVE_TEST(B3_a_node_without_a_name_has_nothing_local),
		RESOLVE_TEST(B4_hints_do_not_apply_to_the_local_set),
		RESOLVE_TEST(B4_hints_do_not_apply_to_the_fallback),
		RESOLVE_TEST(B5_hints_for_nodes_come_before_hints_for_zones),
		RESOLVE_TEST(B6_hints_that_are_incomplete_or_name_nobody_here_are_ignored),
		RESOLVE_TEST(B6_a_node_without_a_zone_takes_every_endpoint),
		RESOLVE_TEST(B6_hints_are_looked_at_for_each_port_and_family),
		RESOLVE_TEST(B7_a_node_that_comes_into_another_zone_takes_the_endpoints_of_that),
		RESOLVE_TEST(B8_publish_not_ready_is_not_read_for_slices),
		RESOLVE_TEST(B9_the_internal_policy_is_the_cluster_ips_alone),
		RESOLVE_TEST(B9_the_external_policy_does_not_concern_the_cluster_ip),
		RESOLVE_TEST(B9_the_policy_local_counts_a_pods_node),
		RESOLVE_TEST(C1_C4_the_policy_local_with_endpoints_elsewhere_only_is_an_empty_set),
		RESOLVE_TEST(C8_external_ips_are_frontends_of_the_family_that_has_a_cluster_ip),
		RESOLVE_TEST(C8_external_ips_are_frontends_for_every_port),
		RESOLVE_TEST(C6_node_ports_are_those_of_node_port_and_load_balancer_services),
		RESOLVE_TEST(C9_load_balancer_addresses_are_frontends_of_their_family),
		RESOLVE_TEST(C10_source_ranges_decide_about_load_balancer_addresses_alone),
		RESOLVE_TEST(C11_from_this_node_the_external_addresses_lead_everywhere),
		RESOLVE_TEST(C11_from_this_node_the_external_addresses_follow_hints),
		RESOLVE_TEST(
			C12_another_nodes_node_port_with_the_policy_local_leads_to_what_runs_there),
		RESOLVE_TEST(C12_another_nodes_node_port_with_the_policy_cluster_is_as_this_nodes),
		RESOLVE_TEST(C12_without_a_node_port_no_nodes_address_is_a_frontend),
		RESOLVE_TEST(C12_an_endpoint_that_moves_to_another_node_moves_the_frontends),
		RESOLVE_TEST(H10_what_the_node_answers_is_a_flag_of_port_53),
		RESOLVE_TEST(
			C13_balanced_services_with_the_policy_local_and_a_port_for_it_have_a_health_check),
		RESOLVE_TEST(C13_addresses_that_are_ready_on_this_node_are_counted),
		RESOLVE_TEST(C13_what_terminates_is_not_counted_though_it_serves),
		RESOLVE_TEST(C13_an_address_counts_once_whatever_its_ports_and_slices),
		RESOLVE_TEST(C13_an_address_ready_at_one_of_its_ports_counts),
		RESOLVE_TEST(C13_pods_are_counted_as_endpoints_are),
		RESOLVE_TEST(C13_out_of_memory_leaves_the_count_untouched),
		RESOLVE_TEST(A17_where_endpoints_are_all_there_is_they_count_for_every_service),
		RESOLVE_TEST(out_of_memory_leaves_the_output_untouched),
	};

	return cmocka_run_group_tests_name("resolve", tests, NULL, NULL);
}

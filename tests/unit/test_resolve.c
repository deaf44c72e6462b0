// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/objects.h"

#include <errno.h>
#include <stdio.h>

#include "resolve.h"
#include "unit/alloc_fail.h"

/* A store for one test. */
static struct rd_store store;

static int set_up(void **state)
{
	(void)state;
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

/* One line for each frontend: "name/TCP 10.96.0.1:80 > 10.0.0.1:80 10.0.0.2:80". */
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
			assert_int_equal(frontend->scope, RD_SCOPE_ADDRESS);
			at = append(at, end, "%s/%s %s >", port->name,
				    port->protocol == IPPROTO_TCP   ? "TCP"
				    : port->protocol == IPPROTO_UDP ? "UDP"
								    : "?",
				    rd_ip_port_format(&frontend->ip, frontend->port, text));
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

	assert_int_equal(rd_resolve(&store, find(name), &wanted), 0);
	assert_ptr_equal(wanted.service, find(name));
	describe(&wanted, text, text + sizeof(text));
	rd_wanted_free(&wanted);
	assert_string_equal(text, expected);
}

TEST(ready_endpoints_of_a_slice_are_used_in_order_of_address_and_port)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80, .target_number = 9999}}));
	put(SLICE(.ports = {{.port = 8080}},
		  .endpoints = {{.ip = "10.0.1.1"}, {.ip = "10.0.0.2"}, {.ip = "9.0.0.1"}}));
	/* A9: the number is the slice's. */
	expect("web", "/TCP 10.96.0.1:80 > 9.0.0.1:8080 10.0.0.2:8080 10.0.1.1:8080\n");
}

TEST(a_service_without_endpoints_has_a_frontend_with_an_empty_set)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	expect("web", "/TCP 10.96.0.1:80 >\n");
}

TEST(endpoints_join_by_port_name_and_protocol)
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

TEST(sctp_ports_are_left_out_and_the_others_kept)
{
	put(SERVICE(.ip4 = "10.96.0.1",
		    .ports = {{.name = "a", .port = 80},
			      {.name = "b", .port = 81, .protocol = IPPROTO_SCTP},
			      {.name = "c", .port = 82}}));
	expect("web", "a/TCP 10.96.0.1:80 >\nc/TCP 10.96.0.1:82 >\n");
}

TEST(services_that_are_not_to_be_programmed_have_no_ports)
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
		assert_int_equal(rd_resolve(&store, find(names[i]), &wanted), 0);
		assert_int_equal(wanted.n_ports, 0);
		rd_wanted_free(&wanted);
		assert_int_equal(rd_is_programmed(&find(names[i])->service), i == 3);
	}
	put(SERVICE(.name = "node-port", .type = RD_TYPE_NODE_PORT));
	put(SERVICE(.name = "balancer", .type = RD_TYPE_LOAD_BALANCER));
	assert_true(rd_is_programmed(&find("node-port")->service));
	assert_true(rd_is_programmed(&find("balancer")->service));
}

TEST(each_family_has_its_frontend_and_its_endpoints)
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

TEST(slices_of_a_service_add_up_and_one_slice_takes_only_its_own_away)
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

TEST(slices_of_others_do_not_count)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SLICE(.name = "ignored", .ignored = true, .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.1"}}));
	put(SLICE(.name = "nobodys", .owner = "", .ports = {{.port = 80}},
		  .endpoints = {{.ip = "10.0.0.2"}}));
	put(SLICE(.namespace = "shop", .ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.3"}}));
	expect("web", "/TCP 10.96.0.1:80 >\n");
}

TEST(one_address_with_different_ports_is_several_endpoints)
{
	put(SERVICE(.ip4 = "10.96.0.1", .ports = {{.port = 80}}));
	put(SLICE(.name = "a", .ports = {{.port = 81}}, .endpoints = {{.ip = "10.0.0.1"}}));
	put(SLICE(.name = "b", .ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1"}}));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80 10.0.0.1:81\n");
}

/* One row: the endpoints of one slice, and which of them are used. */
TEST(conditions_decide_which_endpoints_are_used)
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
		assert_int_equal(rd_resolve(&store, find("web"), &wanted), 0);
		describe(&wanted, text, text + sizeof(text));
		rd_wanted_free(&wanted);
		snprintf(expected, sizeof(expected), "/TCP 10.96.0.1:80 >%s\n", rows[i].used);
		if (strcmp(text, expected))
			fail_msg("%s: %s", rows[i].what, text);
	}
}

TEST(the_fallback_to_terminating_is_decided_for_each_port_and_family)
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

TEST(every_subset_of_endpoints_counts_for_a_service_without_a_selector)
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

TEST(endpoints_do_not_count_for_a_service_with_a_selector)
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
		assert_int_equal(rd_resolve(&store, find("web"), &wanted), 0);
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

TEST(pods_and_slices_that_say_the_same_are_one_endpoint)
{
	put(SERVICE(.ip4 = "10.96.0.1", .selector = {"app", "web"}, .ports = {{.port = 80}}));
	put(SLICE(.ports = {{.port = 80}}, .endpoints = {{.ip = "10.0.0.1"}}));
	put(POD(.labels = {"app", "web"}, .ip4 = "10.0.0.1"));
	expect("web", "/TCP 10.96.0.1:80 > 10.0.0.1:80\n");
}

TEST(two_services_can_have_the_same_pods)
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

TEST(out_of_memory_leaves_the_output_untouched)
{
	struct rd_wanted wanted, untouched;
	char text[1000];

	put(SERVICE(.ip4 = "10.96.0.1", .ip6 = "fd00:96::1", .selector = {"app", "web"},
		    .ports = {{.name = "a", .port = 80},
			      {.name = "s", .port = 1, .protocol = IPPROTO_SCTP},
			      {.name = "b", .port = 81}}));
	put(SLICE(.ports = {{.name = "a", .port = 80}, {.name = "b", .port = 81}},
		  .endpoints = {{.ip = "10.0.0.1"}, {.ip = "10.0.0.2"}, {.ip = "10.0.0.3"}}));
	put(POD(.labels = {"app", "web"}, .ip4 = "10.0.0.4", .ip6 = "fd00::4"));
	memset(&untouched, 0x5a, sizeof(untouched));
	for (unsigned n = 1; alloc_fail_at(n); n++) {
		int r;

		wanted = untouched;
		r = rd_resolve(&store, find("web"), &wanted);
		if (!alloc_fail_end()) {
			assert_int_equal(r, 0);
			assert_true(n > 10);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_memory_equal(&wanted, &untouched, sizeof(wanted));
	}
	describe(&wanted, text, text + sizeof(text));
	assert_string_equal(text,
			    "a/TCP 10.96.0.1:80 > 10.0.0.1:80 10.0.0.2:80 10.0.0.3:80 10.0.0.4:80\n"
			    "a/TCP [fd00:96::1]:80 > [fd00::4]:80\n"
			    "b/TCP 10.96.0.1:81 > 10.0.0.1:81 10.0.0.2:81 10.0.0.3:81 10.0.0.4:81\n"
			    "b/TCP [fd00:96::1]:81 > [fd00::4]:81\n");
	rd_wanted_free(&wanted);
	/* And once more: freed is empty. */
	rd_wanted_free(&wanted);
}

#define RESOLVE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		RESOLVE_TEST(ready_endpoints_of_a_slice_are_used_in_order_of_address_and_port),
		RESOLVE_TEST(a_service_without_endpoints_has_a_frontend_with_an_empty_set),
		RESOLVE_TEST(endpoints_join_by_port_name_and_protocol),
		RESOLVE_TEST(sctp_ports_are_left_out_and_the_others_kept),
		RESOLVE_TEST(services_that_are_not_to_be_programmed_have_no_ports),
		RESOLVE_TEST(each_family_has_its_frontend_and_its_endpoints),
		RESOLVE_TEST(slices_of_a_service_add_up_and_one_slice_takes_only_its_own_away),
		RESOLVE_TEST(slices_of_others_do_not_count),
		RESOLVE_TEST(one_address_with_different_ports_is_several_endpoints),
		RESOLVE_TEST(conditions_decide_which_endpoints_are_used),
		RESOLVE_TEST(the_fallback_to_terminating_is_decided_for_each_port_and_family),
		RESOLVE_TEST(every_subset_of_endpoints_counts_for_a_service_without_a_selector),
		RESOLVE_TEST(endpoints_do_not_count_for_a_service_with_a_selector),
		RESOLVE_TEST(pods_that_a_selector_matches_are_endpoints),
		RESOLVE_TEST(no_pod_is_an_endpoint_of_a_service_without_a_selector),
		RESOLVE_TEST(without_a_target_port_the_ports_own_number_is_used),
		RESOLVE_TEST(a_named_target_port_is_looked_up_in_each_pod),
		RESOLVE_TEST(a_pods_state_decides_whether_it_is_used),
		RESOLVE_TEST(a_terminating_pod_is_not_used_beside_a_ready_one),
		RESOLVE_TEST(pods_and_slices_that_say_the_same_are_one_endpoint),
		RESOLVE_TEST(two_services_can_have_the_same_pods),
		RESOLVE_TEST(out_of_memory_leaves_the_output_untouched),
	};

	return cmocka_run_group_tests_name("resolve", tests, NULL, NULL);
}

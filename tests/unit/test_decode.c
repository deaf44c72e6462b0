// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/unit.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "decode.h"
#include "unit/alloc_fail.h"

/* ---- objects as text ------------------------------------------------------------- */

static char text[16384];
static size_t used;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	used += (size_t)vsnprintf(text + used, sizeof(text) - used, format, args);
	va_end(args);
	assert_true(used < sizeof(text));
}

static const char *protocol_name(uint8_t protocol)
{
	return protocol == IPPROTO_TCP	  ? "TCP"
	       : protocol == IPPROTO_UDP  ? "UDP"
	       : protocol == IPPROTO_SCTP ? "SCTP"
					  : "?";
}

static void say_ip(const struct rd_ip *ip)
{
	char buffer[RD_IP_TEXT];

	if (ip->family)
		say(" %s", rd_ip_format(ip, buffer));
}

static void say_ips(const char *what, const struct rd_ip *ips, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		say("%s", i ? "" : what);
		say_ip(&ips[i]);
	}
}

static void say_ranges(const struct rd_cidr *ranges, size_t n)
{
	char buffer[RD_IP_TEXT];

	for (size_t i = 0; i < n; i++)
		say("%s %s/%u", i ? "" : " from", rd_ip_format(&ranges[i].base, buffer),
		    ranges[i].prefix);
}

static void say_hints(const char *what, char *const *names)
{
	for (size_t i = 0; names && names[i]; i++)
		say("%s%s", i ? "," : what, names[i]);
	say("%s", names ? ">" : "");
}

static void say_labels(const struct rd_label *labels, size_t n)
{
	for (size_t i = 0; i < n; i++)
		say(" %s=%s", labels[i].key, labels[i].value);
}

static void say_service(const struct rd_service_spec *service)
{
	static const char *const types[] = {"ClusterIP", "NodePort", "LoadBalancer",
					    "ExternalName"};

	say(" %s", types[service->type]);
	say_ip(&service->cluster_ip[0]);
	say_ip(&service->cluster_ip[1]);
	assert_false(service->assigned[0] || service->assigned[1]);
	say("%s%s", service->internal_local ? " internal-local" : "",
	    service->external_local ? " external-local" : "");
	if (service->affinity_seconds)
		say(" affinity=%u", service->affinity_seconds);
	say_ips(" external", service->external_ips, service->n_external_ips);
	say_ips(" ingress", service->lb_ips, service->n_lb_ips);
	say_ranges(service->source_ranges, service->n_source_ranges);
	say("%s%s%s", service->headless ? " headless" : "", service->not_ours ? " not-ours" : "",
	    service->publish_not_ready ? " publish-not-ready" : "");
	say_labels(service->selector, service->n_selector);
	if (service->external_name)
		say(" is %s", service->external_name);
	for (size_t i = 0; i < service->n_ports; i++) {
		const struct rd_service_port *port = &service->ports[i];

		say(" [%s/%s %u>", port->name, protocol_name(port->protocol), port->port);
		if (port->target_name)
			say("%s", port->target_name);
		else
			say("%u", port->target_number);
		if (port->node_port)
			say(" @%u", port->node_port);
		say("]");
	}
}

static void say_ports(const struct rd_slice_port *ports, size_t n)
{
	for (size_t i = 0; i < n; i++)
		say(" [%s/%s %u]", ports[i].name, protocol_name(ports[i].protocol), ports[i].port);
}

static void say_slice(const struct rd_slice_spec *slice)
{
	say(" of \"%s\"%s", slice->service, slice->ignored ? " ignored" : "");
	say("%s", slice->headless ? " headless" : "");
	for (size_t i = 0; i < slice->n_subsets; i++) {
		const struct rd_subset *subset = &slice->subsets[i];

		say(" (");
		say_ports(subset->ports, subset->n_ports);
		for (size_t e = 0; e < subset->n_endpoints; e++) {
			const struct rd_slice_endpoint *endpoint = &subset->endpoints[e];

			say_ip(&endpoint->ip);
			say(":%s%s%s", endpoint->ready ? "R" : "", endpoint->serving ? "S" : "",
			    endpoint->terminating ? "T" : "");
			if (endpoint->node)
				say("@%s", endpoint->node);
			if (endpoint->hostname)
				say("=%s", endpoint->hostname);
			say_hints("<zones ", endpoint->hint_zones);
			say_hints("<nodes ", endpoint->hint_nodes);
		}
		say(" )");
	}
}

static void say_pod(const struct rd_pod_spec *pod)
{
	say_ip(&pod->ip[0]);
	say_ip(&pod->ip[1]);
	if (pod->node)
		say(" @%s", pod->node);
	if (pod->hostname)
		say(" =%s", pod->hostname);
	if (pod->subdomain)
		say(" in %s", pod->subdomain);
	say("%s%s%s", pod->ready ? " ready" : "", pod->terminating ? " terminating" : "",
	    pod->ended ? " ended" : "");
	say_labels(pod->labels, pod->n_labels);
	say_ports(pod->ports, pod->n_ports);
}

static void say_node(const struct rd_node_spec *node)
{
	if (node->zone)
		say(" in %s", node->zone);
	say_ips(" at", node->addresses, node->n_addresses);
	say("%s", node->leaving ? " leaving" : "");
}

/* One line for each object. */
static const char *describe(const struct rd_decoded *decoded)
{
	used = 0;
	text[0] = '\0';
	for (size_t i = 0; i < decoded->n; i++) {
		const struct rd_object *object = decoded->objects[i];

		say("%s%s %s/%s", i ? "\n" : "", rd_kind_name(object->kind), object->namespace,
		    object->name);
		switch (object->kind) {
		case RD_SERVICE:
			say_service(&object->service);
			break;
		case RD_SLICE:
		case RD_ENDPOINTS:
			say_slice(&object->slice);
			break;
		case RD_POD:
			say_pod(&object->pod);
			break;
		case RD_NODE:
			say_node(&object->node);
			break;
		case RD_KINDS:
			break;
		}
	}
	return text;
}

struct row {
	const char *json;
	const char *expected; /* the objects, or the error */
};

static void expect_objects(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct rd_decoded decoded = {0};
		struct rd_error error = {0};

		if (rd_decode(rows[i].json, "test", &decoded, &error))
			fail_msg("row %zu: %s\n%s", i, error.text, rows[i].json);
		assert_string_equal(describe(&decoded), rows[i].expected);
		assert_string_equal(error.text, "");
		for (size_t o = 0; o < decoded.n; o++)
			assert_string_equal(decoded.objects[o]->origin, "test");
		rd_decoded_clear(&decoded);
	}
}

static void expect_errors(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct rd_decoded decoded = {0};
		struct rd_error error = {0};
		int r = rd_decode(rows[i].json, "test", &decoded, &error);

		rd_decoded_clear(&decoded);
		if (r != -EINVAL)
			fail_msg("row %zu gives %d: %s", i, r, rows[i].json);
		assert_string_equal(error.text, rows[i].expected);
	}
}

#define EXPECT_OBJECTS(rows) expect_objects((rows), RD_ARRAY_SIZE(rows))
#define EXPECT_ERRORS(rows) expect_errors((rows), RD_ARRAY_SIZE(rows))

/* ---- recorded answers of an API server ------------------------------------------------ */

static char *read_file(const char *path)
{
	_rd_fclose_ FILE *file = fopen(path, "re");
	char *content = calloc(1, 65536);

	if (!file)
		fail_msg("cannot open %s: run from the root of the repository", path);
	assert_non_null(content);
	assert_in_range(fread(content, 1, 65535, file), 1, 65534);
	return content;
}

static void expect_file(const char *path, const char *expected)
{
	_rd_free_ char *json = read_file(path);
	const struct row row = {.json = json, .expected = expected};

	expect_objects(&row, 1);
}

TEST(a_recorded_list_of_services_is_decoded)
{
	expect_file(
		"tests/data/kube-api/services-list.json",
		"Service default/kubernetes ClusterIP 10.96.0.1 [https/TCP 443>16443]\n"
		"Service example/backend-service ClusterIP 10.96.151.12 [/TCP 5000>5000]\n"
		"Service example/dns ClusterIP 10.96.0.10 [dns/UDP 53>53] [dns-tcp/TCP 53>53]\n"
		"Service example/empty ClusterIP 10.96.30.30 [/TCP 80>8080]\n"
		"Service example/frontend-service NodePort 10.96.173.32 [/TCP 3000>3000 @30300]\n"
		"Service example/lb LoadBalancer 10.96.40.40 external-local external 198.51.100.7 "
		"ingress 203.0.113.9 from 192.0.2.0/24 [/TCP 443>8443 @30443]\n"
		"Service example/sticky ClusterIP 10.96.20.20 affinity=60 [/TCP 80>8080]");
}

TEST(a_recorded_list_of_slices_is_decoded)
{
	static const char three[] = "10.244.0.5:RS@node1 10.244.0.6:RS@node1 10.244.1.9:RS@node2 )";
	char expected[2000];

	snprintf(expected, sizeof(expected),
		 "EndpointSlice default/kubernetes of \"kubernetes\" ( [https/TCP 16443] "
		 "192.0.2.10:RS )\n"
		 "EndpointSlice example/backend-service-1 of \"backend-service\" ( [/TCP 5000] %s\n"
		 "EndpointSlice example/dns-1 of \"dns\" ( [dns/UDP 53] [dns-tcp/TCP 53] %s\n"
		 "EndpointSlice example/frontend-service-1 of \"frontend-service\" ( [/TCP 3000] "
		 "%s\n"
		 "EndpointSlice example/lb-1 of \"lb\" ( [/TCP 8443] %s\n"
		 "EndpointSlice example/sticky-1 of \"sticky\" ( [/TCP 8080] %s",
		 three, three, three, three, three);
	expect_file("tests/data/kube-api/endpointslices-list.json", expected);
}

TEST(a_recorded_list_of_endpoints_is_decoded)
{
	expect_file("tests/data/kube-api/endpoints-list.json",
		    "Endpoints default/kubernetes of \"kubernetes\" ignored ( [https/TCP 16443] "
		    "192.0.2.10:RS )");
}

TEST(a_recorded_list_of_nodes_is_decoded)
{
	expect_file("tests/data/kube-api/nodes-list.json", "Node /node1 in z1 at 10.10.0.1");
}

TEST(a_recorded_creation_time_is_decoded)
{
	_rd_free_ char *json = read_file("tests/data/kube-api/endpoints-list.json");
	struct rd_decoded decoded = {0};
	struct rd_error error;

	assert_int_equal(rd_decode(json, "test", &decoded, &error), 0);
	assert_int_equal(decoded.objects[0]->created, 1795344622);
	rd_decoded_clear(&decoded);
}

/* ---- what is right ----------------------------------------------------------------------- */

#define SERVICE(spec) "{\"kind\":\"Service\",\"metadata\":{\"name\":\"web\"},\"spec\":" spec "}"
#define SLICE_OF_WEB                                                                               \
	"\"apiVersion\":\"discovery.k8s.io/"                                                       \
	"v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"web-1\",\"labels\":"             \
	"{\"kubernetes.io/service-name\":\"web\"}}"
#define SLICE(rest) "{" SLICE_OF_WEB "," rest "}"
#define ENDPOINTS(rest) "{\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"web\"}," rest "}"
#define POD(rest) "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"web-1\"}," rest "}"

TEST(services_are_decoded_with_the_defaults_of_the_api)
{
	static const struct row rows[] = {
		{SERVICE("{\"ports\":[{\"port\":80}]}"),
		 "Service default/web ClusterIP [/TCP 80>0]"},
		{"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\","
		 "\"namespace\":\"shop\"},\"spec\":{\"type\":\"NodePort\",\"clusterIP\":"
		 "\"10.96.0.1\",\"selector\":{\"app\":\"web\",\"tier\":\"\"},\"ports\":[{\"name\":"
		 "\"http\",\"protocol\":\"TCP\",\"port\":80,\"targetPort\":8080,\"nodePort\":"
		 "30080},{\"name\":\"dns\",\"protocol\":\"UDP\",\"port\":53,\"targetPort\":"
		 "\"dns-udp\"},{\"name\":\"s\",\"protocol\":\"SCTP\",\"port\":65535}]}}",
		 "Service shop/web NodePort 10.96.0.1 app=web tier= [http/TCP 80>8080 @30080] "
		 "[dns/UDP 53>dns-udp] [s/SCTP 65535>0]"},
		{SERVICE("{\"type\":\"LoadBalancer\",\"ports\":[{\"port\":1,\"targetPort\":0}]}"),
		 "Service default/web LoadBalancer [/TCP 1>0]"},
		/* null is as good as absent. */
		{"{\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"namespace\":null,"
		 "\"labels\":null},\"spec\":{\"type\":null,\"clusterIP\":null,\"clusterIPs\":null,"
		 "\"selector\":null,\"publishNotReadyAddresses\":null,\"ports\":[{\"name\":null,"
		 "\"protocol\":null,\"port\":80,\"targetPort\":null}]}}",
		 "Service default/web ClusterIP [/TCP 80>0]"},
		/* Addresses. */
		{SERVICE("{\"clusterIP\":\"\",\"ports\":[{\"port\":80}]}"),
		 "Service default/web ClusterIP [/TCP 80>0]"},
		{SERVICE("{\"clusterIP\":\"010.096.0.01\",\"ports\":[{\"port\":80}]}"),
		 "Service default/web ClusterIP 10.96.0.1 [/TCP 80>0]"},
		{SERVICE("{\"clusterIP\":\"fd00::1\",\"ports\":[{\"port\":80}]}"),
		 "Service default/web ClusterIP fd00::1 [/TCP 80>0]"},
		{SERVICE("{\"clusterIP\":\"10.96.0.1\",\"clusterIPs\":[\"10.96.0.1\",\"fd00::1\"],"
			 "\"ports\":[{\"port\":80}]}"),
		 "Service default/web ClusterIP 10.96.0.1 fd00::1 [/TCP 80>0]"},
		{SERVICE("{\"clusterIPs\":[\"fd00::1\",\"10.96.0.1\"],\"ports\":[{\"port\":80}]}"),
		 "Service default/web ClusterIP 10.96.0.1 fd00::1 [/TCP 80>0]"},
		{SERVICE("{\"clusterIPs\":[],\"ports\":[{\"port\":80}]}"),
		 "Service default/web ClusterIP [/TCP 80>0]"},
		/* Without frontends: ports may be absent. */
		{SERVICE("{\"clusterIP\":\"None\"}"), "Service default/web ClusterIP headless"},
		{SERVICE("{\"clusterIP\":\"None\",\"clusterIPs\":[\"None\"],\"ports\":"
			 "[{\"port\":80}]}"),
		 "Service default/web ClusterIP headless [/TCP 80>0]"},
		{SERVICE("{\"type\":\"ExternalName\",\"externalName\":\"example.com\"}"),
		 "Service default/web ExternalName is example.com"},
		{"{\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"labels\":"
		 "{\"service.kubernetes.io/service-proxy-name\":\"\"}},\"spec\":{\"ports\":"
		 "[{\"port\":80}]}}",
		 "Service default/web ClusterIP not-ours [/TCP 80>0]"},
		{SERVICE("{\"publishNotReadyAddresses\":true,\"ports\":[{\"port\":80}]}"),
		 "Service default/web ClusterIP publish-not-ready [/TCP 80>0]"},
		{SERVICE("{\"publishNotReadyAddresses\":false,\"ports\":[{\"port\":80}]}"),
		 "Service default/web ClusterIP [/TCP 80>0]"},
		/* One number for two protocols, as DNS has it. */
		{SERVICE("{\"ports\":[{\"name\":\"a\",\"port\":53},{\"name\":\"b\",\"port\":53,"
			 "\"protocol\":\"UDP\"}]}"),
		 "Service default/web ClusterIP [a/TCP 53>0] [b/UDP 53>0]"},
		/* Keys are told apart by case; what is not known is passed over. */
		{"{\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"Name\":\"x\"},\"spec\":"
		 "{\"Type\":\"NodePort\",\"CLUSTERIP\":\"None\",\"SessionAffinity\":\"ClientIP\","
		 "\"ports\":[{\"port\":80,\"Port\":81}]},\"status\":{\"loadBalancer\":{}}}",
		 "Service default/web ClusterIP [/TCP 80>0]"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(slices_are_decoded_with_the_defaults_of_the_api)
{
	static const struct row rows[] = {
		{SLICE("\"addressType\":\"IPv4\",\"ports\":[{\"port\":80}],\"endpoints\":"
		       "[{\"addresses\":[\"10.0.0.1\"]}]"),
		 "EndpointSlice default/web-1 of \"web\" ( [/TCP 80] 10.0.0.1:RS )"},
		{SLICE("\"ports\":[{\"name\":\"http\",\"protocol\":\"UDP\",\"port\":80}],"
		       "\"endpoints\":[{\"addresses\":[\"10.0.0.1\"]}]"),
		 "EndpointSlice default/web-1 of \"web\" ( [http/UDP 80] 10.0.0.1:RS )"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(B1_absent_conditions_are_ready_serving_and_not_terminating)
{
	static const struct row rows[] = {
		{SLICE("\"endpoints\":["
		       "{\"addresses\":[\"10.0.0.1\"],\"conditions\":{}},"
		       "{\"addresses\":[\"10.0.0.2\"],\"conditions\":null},"
		       "{\"addresses\":[\"10.0.0.3\"],\"conditions\":{\"ready\":null,\"serving\":"
		       "null,\"terminating\":null}},"
		       "{\"addresses\":[\"10.0.0.4\"],\"conditions\":{\"ready\":false}},"
		       "{\"addresses\":[\"10.0.0.5\"],\"conditions\":{\"ready\":false,\"serving\":"
		       "false,\"terminating\":true}},"
		       "{\"addresses\":[\"10.0.0.6\"],\"conditions\":{\"ready\":true,\"serving\":"
		       "true,\"terminating\":false}}]"),
		 "EndpointSlice default/web-1 of \"web\" ( 10.0.0.1:RS 10.0.0.2:RS 10.0.0.3:RS "
		 "10.0.0.4:S 10.0.0.5:T 10.0.0.6:RS )"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(A14_a_slice_may_have_null_for_endpoints_and_ports)
{
	static const struct row rows[] = {
		{SLICE("\"addressType\":\"IPv4\",\"endpoints\":null,\"ports\":null"),
		 "EndpointSlice default/web-1 of \"web\" ( )"},
		{"{" SLICE_OF_WEB "}", "EndpointSlice default/web-1 of \"web\" ( )"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(A10_a_slice_port_with_null_for_name_or_number_or_0_is_no_port)
{
	static const struct row rows[] = {
		{SLICE("\"ports\":[{\"name\":null,\"port\":80},{\"name\":\"a\",\"port\":null},"
		       "{\"name\":\"b\"},{\"name\":\"c\",\"port\":0},{\"name\":\"d\",\"port\":1},"
		       "{\"port\":2,\"protocol\":null}]"),
		 "EndpointSlice default/web-1 of \"web\" ( [d/TCP 1] [/TCP 2] )"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(A11_only_the_first_address_counts_and_fqdn_slices_do_not)
{
	static const struct row rows[] = {
		{SLICE("\"endpoints\":[{\"addresses\":[\"10.0.0.1\",\"10.0.0.2\",\"x\"]},"
		       "{\"addresses\":[]},{\"addresses\":null},{}]"),
		 "EndpointSlice default/web-1 of \"web\" ( 10.0.0.1:RS )"},
		{SLICE("\"addressType\":\"FQDN\",\"ports\":[{\"port\":80}],\"endpoints\":"
		       "[{\"addresses\":[\"example.com\"]}]"),
		 "EndpointSlice default/web-1 of \"web\" ignored ( )"},
		{SLICE("\"addressType\":\"IPv6\",\"endpoints\":[{\"addresses\":[\"fd00::1\"]}]"),
		 "EndpointSlice default/web-1 of \"web\" ( fd00::1:RS )"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(A16_leading_zeros_of_an_endpoints_address_are_decimal)
{
	static const struct row rows[] = {
		{SLICE("\"endpoints\":[{\"addresses\":[\"010.0.0.08\"]}]"),
		 "EndpointSlice default/web-1 of \"web\" ( 10.0.0.8:RS )"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(A12_a_slice_without_an_owner_is_nobodys)
{
	static const struct row rows[] = {
		{"{\"apiVersion\":\"discovery.k8s.io/"
		 "v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"a\"}}",
		 "EndpointSlice default/a of \"\" ( )"},
		{"{\"apiVersion\":\"discovery.k8s.io/"
		 "v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"a\",\"labels\":"
		 "{\"kubernetes.io/service-name\":\"\"}}}",
		 "EndpointSlice default/a of \"\" ( )"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(A4_a_slice_with_the_headless_label_is_ignored)
{
	static const struct row rows[] = {
		{"{\"apiVersion\":\"discovery.k8s.io/"
		 "v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"a\",\"labels\":"
		 "{\"kubernetes.io/service-name\":\"web\",\"service.kubernetes.io/headless\":"
		 "\"\"}},\"endpoints\":[{\"addresses\":[\"10.0.0.1\"]}]}",
		 "EndpointSlice default/a of \"web\" ignored headless ( 10.0.0.1:RS )"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(H5_hostnames_of_endpoints_and_pods_are_read)
{
	static const struct row rows[] = {
		{"{\"apiVersion\":\"discovery.k8s.io/"
		 "v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"a\"},\"endpoints\":"
		 "[{\"addresses\":[\"10.0.0.1\"],\"hostname\":\"db-0\"},"
		 "{\"addresses\":[\"10.0.0.2\"],\"hostname\":null},"
		 "{\"addresses\":[\"10.0.0.3\"],\"hostname\":\"\"}]}",
		 "EndpointSlice default/a of \"\" ( 10.0.0.1:RS=db-0 10.0.0.2:RS 10.0.0.3:RS )"},
		{"{\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"a\",\"labels\":"
		 "{\"service.kubernetes.io/headless\":\"\"}},\"subsets\":[{\"addresses\":"
		 "[{\"ip\":\"10.0.0.1\",\"hostname\":\"db-0\"}]}]}",
		 "Endpoints default/a of \"a\" headless ( 10.0.0.1:RS=db-0 )"},
		{POD("\"spec\":{\"hostname\":\"db-0\",\"subdomain\":\"db\"}"),
		 "Pod default/web-1 =db-0 in db ready"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(H6_an_external_name_is_a_domain)
{
	static const struct row rows[] = {
		{SERVICE("{\"type\":\"ExternalName\",\"externalName\":\"example.org.\"}"),
		 "Service default/web ExternalName is example.org"},
		{SERVICE("{\"type\":\"ExternalName\",\"externalName\":\"a_b.Example.org\"}"),
		 "Service default/web ExternalName is a_b.Example.org"},
		{SERVICE("{\"type\":\"ExternalName\",\"externalName\":\"192.0.2.1\"}"),
		 "Service default/web ExternalName is 192.0.2.1"},
		{SERVICE("{\"type\":\"ExternalName\"}"), "Service default/web ExternalName"},
		/* Of another type it means nothing. */
		{SERVICE("{\"externalName\":\"a..b\",\"ports\":[{\"port\":1}]}"),
		 "Service default/web ClusterIP [/TCP 1>0]"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(names_that_dns_cannot_carry_are_refused_with_a_reason)
{
#define LABEL63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define EXTERNAL(name) SERVICE("{\"type\":\"ExternalName\",\"externalName\":\"" name "\"}")
#define NO_DOMAIN(name) "Service default/web: externalName \"" name "\" is not a DNS name"
	static const struct row rows[] = {
		{EXTERNAL("a..b"), NO_DOMAIN("a..b")},
		{EXTERNAL("."), NO_DOMAIN(".")},
		{EXTERNAL(".a"), NO_DOMAIN(".a")},
		{EXTERNAL("a b"), NO_DOMAIN("a b")},
		{EXTERNAL("a.."), NO_DOMAIN("a..")},
		{EXTERNAL("a" LABEL63), NO_DOMAIN("a" LABEL63)},
		{SERVICE("{\"type\":\"ExternalName\",\"externalName\":7}"),
		 "Service default/web: externalName must be a string"},
		{POD("\"spec\":{\"hostname\":\"A\"}"),
		 "Pod default/web-1: hostname \"A\" is not a DNS label"},
		{POD("\"spec\":{\"subdomain\":\"a.b\"}"),
		 "Pod default/web-1: subdomain \"a.b\" is not a DNS label"},
	};

	EXPECT_ERRORS(rows);
}

TEST(a_slices_name_is_a_subdomain)
{
	static const struct row rows[] = {
		{"{\"apiVersion\":\"discovery.k8s.io/"
		 "v1\",\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/"
		 "v1\",\"metadata\":"
		 "{\"name\":\"a.b-c.1\"}}",
		 "EndpointSlice default/a.b-c.1 of \"\" ( )"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(A17_A18_endpoints_are_decoded_as_the_mirroring_controller_would)
{
	static const struct row rows[] = {
		{ENDPOINTS("\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\"},{\"ip\":"
			   "\"10.0.0.2\"}],\"notReadyAddresses\":[{\"ip\":\"10.0.0.3\"}],"
			   "\"ports\":[{\"port\":80}]},{\"addresses\":[{\"ip\":\"fd00::1\"}],"
			   "\"ports\":[{\"name\":\"b\",\"port\":81,\"protocol\":\"UDP\"}]}]"),
		 "Endpoints default/web of \"web\" ( [/TCP 80] 10.0.0.1:RS 10.0.0.2:RS 10.0.0.3:S "
		 ") ( [b/UDP 81] fd00::1:RS )"},
		{"{\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"web\"}}",
		 "Endpoints default/web of \"web\""},
		{ENDPOINTS("\"subsets\":null"), "Endpoints default/web of \"web\""},
		{ENDPOINTS("\"subsets\":[{\"addresses\":null,\"notReadyAddresses\":null,"
			   "\"ports\":null},{}]"),
		 "Endpoints default/web of \"web\" ( ) ( )"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(A18_endpoints_that_are_not_mirrored_are_ignored)
{
	static const struct row rows[] = {
		{"{\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"web\",\"labels\":"
		 "{\"endpointslice.kubernetes.io/skip-mirror\":\"true\"}}}",
		 "Endpoints default/web of \"web\" ignored"},
		{"{\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"web\",\"labels\":"
		 "{\"endpointslice.kubernetes.io/skip-mirror\":\"false\"}}}",
		 "Endpoints default/web of \"web\""},
		{"{\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"web\",\"annotations\":"
		 "{\"control-plane.alpha.kubernetes.io/leader\":\"{}\"}}}",
		 "Endpoints default/web of \"web\" ignored"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(pods_are_decoded_with_the_defaults_of_the_api)
{
	static const struct row rows[] = {
		{"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"web-1\"}}", "Pod default/web-1 ready"},
		{"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"web-1\","
		 "\"namespace\":\"shop\",\"labels\":{\"app\":\"web\",\"tier\":\"1\"}},\"spec\":"
		 "{\"containers\":[{\"ports\":[{\"name\":\"http\",\"containerPort\":8080},"
		 "{\"containerPort\":9090,\"protocol\":\"UDP\"}]},{\"ports\":[{\"name\":\"m\","
		 "\"containerPort\":1}]}]},\"status\":{\"podIP\":\"10.0.0.1\",\"podIPs\":[{\"ip\":"
		 "\"10.0.0.1\"},{\"ip\":\"fd00::1\"}],\"phase\":\"Running\",\"conditions\":"
		 "[{\"type\":\"Initialized\",\"status\":\"False\"},{\"type\":\"Ready\","
		 "\"status\":\"True\"}]}}",
		 "Pod shop/web-1 10.0.0.1 fd00::1 ready app=web tier=1 [http/TCP 8080] "
		 "[/UDP 9090] [m/TCP 1]"},
		/* Readiness: no conditions at all is ready, others without Ready are not. */
		{POD("\"status\":{\"conditions\":null}"), "Pod default/web-1 ready"},
		{POD("\"status\":{\"conditions\":[]}"), "Pod default/web-1"},
		{POD("\"status\":{\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"True\"}]"
		     "}"),
		 "Pod default/web-1"},
		{POD("\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}"),
		 "Pod default/web-1"},
		{POD("\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"Unknown\"}]}"),
		 "Pod default/web-1"},
		{POD("\"status\":{\"conditions\":[{\"type\":\"Ready\"}]}"), "Pod default/web-1"},
		{POD("\"status\":{\"phase\":\"Succeeded\"}"), "Pod default/web-1 ready ended"},
		{POD("\"status\":{\"phase\":\"Failed\"}"), "Pod default/web-1 ready ended"},
		{POD("\"status\":{\"phase\":\"Pending\"}"), "Pod default/web-1 ready"},
		{"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"web-1\",\"deletionTimestamp\":"
		 "\"2026-01-01T00:00:00Z\"}}",
		 "Pod default/web-1 ready terminating"},
		{"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"web-1\",\"deletionTimestamp\":null}}",
		 "Pod default/web-1 ready"},
		/* Addresses. */
		{POD("\"status\":{\"podIP\":\"\",\"podIPs\":[]}"), "Pod default/web-1 ready"},
		{POD("\"status\":{\"podIP\":\"fd00::1\"}"), "Pod default/web-1 fd00::1 ready"},
		{POD("\"status\":{\"podIPs\":[{\"ip\":\"10.0.0.1\"},{}]}"),
		 "Pod default/web-1 10.0.0.1 ready"},
		/* Init containers that run on beside the others have ports too. */
		{POD("\"spec\":{\"initContainers\":[{\"restartPolicy\":\"Always\",\"ports\":"
		     "[{\"name\":\"side\",\"containerPort\":2}]},{\"ports\":[{\"name\":\"once\","
		     "\"containerPort\":3}]},{\"restartPolicy\":\"Never\",\"ports\":[{\"name\":"
		     "\"never\",\"containerPort\":4}]}],\"containers\":[{\"ports\":[{\"name\":"
		     "\"main\",\"containerPort\":1}]},{},{\"ports\":null}]}"),
		 "Pod default/web-1 ready [main/TCP 1] [side/TCP 2]"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(an_object_without_an_api_version_is_taken_by_its_kind)
{
	static const struct row rows[] = {
		{"{\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"}}", "Node /n"},
		{"{\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"s\"}}",
		 "EndpointSlice default/s of \"\" ( )"},
		{"{\"kind\":\"EndpointSliceList\",\"items\":[{\"metadata\":{\"name\":\"s\"}}]}",
		 "EndpointSlice default/s of \"\" ( )"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(lists_are_decoded_with_and_without_kinds_on_their_items)
{
	static const struct row rows[] = {
		{"{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{\"apiVersion\":\"v1\","
		 "\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\"}},{\"kind\":\"Pod\","
		 "\"metadata\":{\"name\":\"p\"}}]}",
		 "Node /n1\nPod default/p ready"},
		{"{\"apiVersion\":\"v1\",\"kind\":\"NodeList\",\"items\":[{\"metadata\":"
		 "{\"name\":\"n1\"}},{\"metadata\":{\"name\":\"n2\"}}]}",
		 "Node /n1\nNode /n2"},
		{"{\"kind\":\"NodeList\",\"items\":[{\"kind\":\"Node\",\"metadata\":{\"name\":"
		 "\"n1\"}},{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"}}]}",
		 "Node /n1\nPod default/p ready"},
		{"{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSliceList\","
		 "\"items\":[{\"metadata\":{\"name\":\"s\"}}]}",
		 "EndpointSlice default/s of \"\" ( )"},
		{"{\"kind\":\"List\",\"items\":[]}", ""},
		{"{\"kind\":\"NodeList\",\"items\":null}", ""},
		/* A document that says nothing. */
		{"null", ""},
		{" null\n", ""},
	};

	EXPECT_OBJECTS(rows);
}

TEST(documents_add_to_what_was_decoded_before)
{
	struct rd_decoded decoded = {0};
	struct rd_error error;

	assert_int_equal(rd_decode("{\"kind\":\"Node\",\"metadata\":{\"name\":\"a\"}}", "1",
				   &decoded, &error),
			 0);
	assert_int_equal(rd_decode("{\"kind\":\"Node\",\"metadata\":{\"name\":\"b\"}}", "2",
				   &decoded, &error),
			 0);
	assert_string_equal(describe(&decoded), "Node /a\nNode /b");
	assert_string_equal(decoded.objects[1]->origin, "2");
	/* What was there before a mistake is still there. */
	assert_int_equal(rd_decode("{\"kind\":\"Node\",\"metadata\":{}}", "3", &decoded, &error),
			 -EINVAL);
	assert_int_equal(decoded.n, 2);
	rd_decoded_clear(&decoded);
	assert_int_equal(decoded.n, 0);
	rd_decoded_clear(&decoded);
}

/* What of kinds that are not used is counted, and named. */
static void expect_skipped(const char *json, size_t n, const char *kinds)
{
	struct rd_decoded decoded = {0};
	struct rd_error error = {0};

	if (rd_decode(json, "test", &decoded, &error))
		fail_msg("%s", error.text);
	assert_int_equal(decoded.n, 0);
	assert_int_equal(decoded.skipped, n);
	assert_string_equal(decoded.skipped_kinds, kinds);
	rd_decoded_clear(&decoded);
	assert_int_equal(decoded.skipped, 0);
	assert_string_equal(decoded.skipped_kinds, "");
}

TEST(kinds_that_are_not_used_are_counted_and_named_once)
{
	expect_skipped("{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":"
		       "\"web\"}}",
		       1, "Deployment");
	expect_skipped("{\"kind\":\"List\",\"items\":[{\"kind\":\"Secret\"},{\"kind\":"
		       "\"ConfigMap\"},{\"kind\":\"Secret\"}]}",
		       3, "Secret,ConfigMap");
	expect_skipped("{\"kind\":\"SecretList\",\"items\":[{},{}]}", 2, "Secret");
	/* What they say is not looked at. */
	expect_skipped("{\"kind\":\"Secret\",\"metadata\":7,\"spec\":[]}", 1, "Secret");
}

TEST(a_kind_of_another_api_group_is_another_kind)
{
	expect_skipped("{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\","
		       "\"metadata\":{\"name\":\"web\"}}",
		       1, "Service");
	expect_skipped("{\"apiVersion\":\"v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":"
		       "\"web\"}}",
		       1, "EndpointSlice");
	expect_skipped("{\"apiVersion\":\"discovery.k8s.iox/v1\",\"kind\":\"EndpointSlice\"}", 1,
		       "EndpointSlice");
	expect_skipped("{\"apiVersion\":\"discovery.k8s.io\",\"kind\":\"EndpointSlice\"}", 1,
		       "EndpointSlice");
	expect_skipped("{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"ServiceList\","
		       "\"items\":[{\"metadata\":{\"name\":\"web\"}}]}",
		       1, "Service");
	expect_skipped("{\"kind\":\"service\"}", 1, "service");
}

TEST(more_kinds_than_have_room_are_counted_all_the_same)
{
	struct rd_decoded decoded = {0};
	struct rd_error error;
	char json[200];

	for (int i = 0; i < 100; i++) {
		snprintf(json, sizeof(json), "{\"kind\":\"Kind%cNumber%d\"}", 'A' + i % 26, i);
		assert_int_equal(rd_decode(json, "test", &decoded, &error), 0);
	}
	assert_int_equal(decoded.skipped, 100);
	assert_true(strlen(decoded.skipped_kinds) < sizeof(decoded.skipped_kinds));
	assert_non_null(strstr(decoded.skipped_kinds, "KindANumber0,KindBNumber1,"));
	rd_decoded_clear(&decoded);
}

TEST(creation_times_are_seconds_since_the_epoch)
{
	static const struct {
		const char *time;
		int64_t created;
	} rows[] = {
		{"\"1970-01-01T00:00:00Z\"", 0},
		{"\"1970-01-01T00:01:00Z\"", 60},
		{"\"2026-11-22T10:50:22Z\"", 1795344622},
		{"\"2040-02-29T23:59:59Z\"", 2214172799},
		{"null", 0},
		{"\"\"", 0},
		{"\"yesterday\"", 0},
		{"\"2026-11-22T10:50:22+01:00\"", 0},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		struct rd_decoded decoded = {0};
		struct rd_error error;
		char json[200];

		snprintf(json, sizeof(json),
			 "{\"kind\":\"Node\",\"metadata\":{\"name\":\"a\",\"creationTimestamp\":%s}"
			 "}",
			 rows[i].time);
		assert_int_equal(rd_decode(json, "test", &decoded, &error), 0);
		assert_int_equal(decoded.objects[0]->created, rows[i].created);
		rd_decoded_clear(&decoded);
	}
}

static int64_t decode_trigger(const char *kind, const char *annotation)
{
	struct rd_decoded decoded = {0};
	struct rd_error error;
	char json[300];
	int64_t triggered;

	snprintf(json, sizeof(json),
		 "{\"kind\":\"%s\",\"metadata\":{\"name\":\"a\",\"annotations\":{"
		 "\"endpoints.kubernetes.io/last-change-trigger-time\":%s}}}",
		 kind, annotation);
	assert_int_equal(rd_decode(json, "test", &decoded, &error), 0);
	triggered = decoded.objects[0]->slice.triggered_ns;
	rd_decoded_clear(&decoded);
	return triggered;
}

TEST(I3_trigger_times_are_nanoseconds_and_anything_else_is_none)
{
	static const struct {
		const char *time;
		int64_t triggered;
	} rows[] = {
		{"\"2026-11-22T10:50:22Z\"", 1795344622000000000},
		{"\"2026-11-22T10:50:22.5Z\"", 1795344622500000000},
		{"\"2026-11-22T10:50:22.000000001Z\"", 1795344622000000001},
		{"\"2026-11-22T10:50:22.9999999999Z\"", 1795344622999999999},
		{"\"2262-04-11T23:47:16.854775807Z\"", INT64_MAX},
		{"\"2262-04-11T23:47:16.854775808Z\"", 0},
		{"\"9999-12-31T23:59:59Z\"", 0},
		{"\"1969-12-31T23:59:59Z\"", 0},
		{"\"2026-11-22T10:50:22\"", 0},
		{"\"2026-11-22T10:50:22.5\"", 0},
		{"\"2026-11-22T10:50:22Zulu\"", 0},
		{"\"2026-11-22T10:50:22+01:00\"", 0},
		{"\"\"", 0},
		{"\"now\"", 0},
		{"null", 0},
		{"7", 0},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		assert_int_equal(decode_trigger("EndpointSlice", rows[i].time), rows[i].triggered);
		assert_int_equal(decode_trigger("Endpoints", rows[i].time), rows[i].triggered);
	}
}

/* A name of n letters. */
static int decode_named(const char *kind, int n, struct rd_error *error)
{
	struct rd_decoded decoded = {0};
	char name[300], json[600];
	int r;

	memset(name, 'n', (size_t)n);
	name[n] = '\0';
	snprintf(json, sizeof(json),
		 "{\"kind\":\"%s\",\"metadata\":{\"name\":\"%s\"},\"spec\":{\"ports\":[{\"port\":"
		 "80}]}}",
		 kind, name);
	r = rd_decode(json, "test", &decoded, error);
	rd_decoded_clear(&decoded);
	return r;
}

TEST(names_are_as_long_as_kubernetes_allows_and_no_longer)
{
	struct rd_error error;

	assert_int_equal(decode_named("Service", 63, &error), 0);
	assert_int_equal(decode_named("Service", 64, &error), -EINVAL);
	assert_non_null(strstr(error.text, "is not a DNS label"));
	assert_int_equal(decode_named("Pod", 253, &error), 0);
	assert_int_equal(decode_named("Pod", 254, &error), -EINVAL);
	assert_non_null(strstr(error.text, "is not a DNS name"));
}

/* ---- what is wrong ------------------------------------------------------------------------- */

TEST(documents_that_are_wrong_are_refused_with_a_reason)
{
	static const struct row rows[] = {
		{"", "not JSON near \"\""},
		{"{\"kind\":\"Node\"", "not JSON near \"\""},
		{"{\"kind\":\"Node\"} x", "not JSON near \"x\""},
		{"{\"kind\":\"Node\"}{}", "not JSON near \"{}\""},
		{"{\"kind\":x0123456789abcdefgh}", "not JSON near \"x0123456789abcde\""},
		{"[]", "not a Kubernetes object: no kind"},
		{"7", "not a Kubernetes object: no kind"},
		{"\"Service\"", "not a Kubernetes object: no kind"},
		{"{}", "not a Kubernetes object: no kind"},
		{"{\"kind\":\"\"}", "not a Kubernetes object: no kind"},
		{"{\"kind\":null}", "not a Kubernetes object: no kind"},
		{"{\"Kind\":\"Service\"}", "not a Kubernetes object: no kind"},
		{"{\"kind\":7}", "object without a name: kind must be a string"},
		{"{\"kind\":\"Node\",\"apiVersion\":1}",
		 "object without a name: apiVersion must be a string"},
		{"{\"kind\":\"List\",\"items\":[{\"metadata\":{\"name\":\"a\"}}]}",
		 "not a Kubernetes object: no kind"},
		{"{\"kind\":\"List\",\"items\":[7]}", "not a Kubernetes object: no kind"},
		{"{\"kind\":\"NodeList\",\"items\":[null]}", "not a Kubernetes object: no kind"},
		/* The one mistake in a list spoils it. */
		{"{\"kind\":\"NodeList\",\"items\":[{\"metadata\":{\"name\":\"a\"}},{\"metadata\":"
		 "{\"name\":\"B\"}}]}",
		 "Node without a name: name \"B\" is not a DNS name"},
	};

	EXPECT_ERRORS(rows);
}

TEST(a_list_whose_items_are_no_list_is_refused)
{
	static const struct row rows[] = {
		{"{\"kind\":\"List\",\"items\":{}}", "List without a name: items must be a list"},
		{"{\"kind\":\"ServiceList\",\"items\":\"x\"}",
		 "ServiceList without a name: items must be a list"},
	};

	EXPECT_ERRORS(rows);
}

TEST(metadata_that_is_wrong_is_refused_with_a_reason)
{
	static const struct row rows[] = {
		{"{\"kind\":\"Node\"}", "Node without a name: metadata.name is missing"},
		{"{\"kind\":\"Node\",\"metadata\":7}",
		 "Node without a name: metadata must be an object"},
		{"{\"kind\":\"Node\",\"metadata\":{\"name\":7}}",
		 "Node without a name: name must be a string"},
		{"{\"kind\":\"Node\",\"metadata\":{\"name\":\"\"}}",
		 "Node without a name: metadata.name is missing"},
		{"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":7}}",
		 "Pod without a name: namespace must be a string"},
		{"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"\"}}",
		 "Pod without a name: namespace \"\" is not a DNS label"},
		{"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"a.b\"}}",
		 "Pod without a name: namespace \"a.b\" is not a DNS label"},
		{"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"-a\"}}",
		 "Pod without a name: name \"-a\" is not a DNS name"},
		{"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a.\"}}",
		 "Pod without a name: name \"a.\" is not a DNS name"},
		{"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a/b\"}}",
		 "Pod without a name: name \"a/b\" is not a DNS name"},
		{"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"\\u00e4\"}}",
		 "Pod without a name: name \"\xc3\xa4\" is not a DNS name"},
		{"{\"kind\":\"Service\",\"metadata\":{\"name\":\"a.b\"}}",
		 "Service without a name: name \"a.b\" is not a DNS label"},
		{"{\"kind\":\"Service\",\"metadata\":{\"name\":\"Web\"}}",
		 "Service without a name: name \"Web\" is not a DNS label"},
		{"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"creationTimestamp\":7}}",
		 "Pod without a name: creationTimestamp must be a string"},
	};

	EXPECT_ERRORS(rows);
}

TEST(services_that_are_wrong_are_refused_with_a_reason)
{
#define WEB "Service default/web: "
	static const struct row rows[] = {
		{"{\"kind\":\"Service\",\"metadata\":{\"name\":\"web\"}}", WEB "has no ports"},
		{SERVICE("7"), WEB "spec must be an object"},
		{SERVICE("{}"), WEB "has no ports"},
		{SERVICE("{\"ports\":[]}"), WEB "has no ports"},
		{SERVICE("{\"ports\":{}}"), WEB "ports must be a list"},
		{SERVICE("{\"type\":\"NodePort\"}"), WEB "has no ports"},
		{SERVICE("{\"type\":\"clusterIP\"}"),
		 WEB "type \"clusterIP\" is not a Service type"},
		{SERVICE("{\"type\":7}"), WEB "type must be a string"},
		{SERVICE("{\"type\":\"\"}"), WEB "type \"\" is not a Service type"},
		{SERVICE("{\"clusterIP\":7}"), WEB "clusterIP must be a string"},
		{SERVICE("{\"clusterIP\":\"10.96.0\"}"),
		 WEB "clusterIP \"10.96.0\" is not an IP address"},
		{SERVICE("{\"clusterIP\":\"none\"}"),
		 WEB "clusterIP \"none\" is not an IP address"},
		{SERVICE("{\"clusterIPs\":\"10.96.0.1\"}"), WEB "clusterIPs must be a list"},
		{SERVICE("{\"clusterIPs\":[7]}"), WEB "clusterIPs must hold strings"},
		{SERVICE("{\"clusterIPs\":[\"x\"]}"), WEB "clusterIP \"x\" is not an IP address"},
		{SERVICE("{\"clusterIP\":\"10.96.0.1\",\"clusterIPs\":[\"10.96.0.2\"]}"),
		 WEB "clusterIPs has two addresses of one family"},
		{SERVICE("{\"publishNotReadyAddresses\":\"true\"}"),
		 WEB "publishNotReadyAddresses must be true or false"},
		{SERVICE("{\"selector\":[]}"), WEB "selector must be an object"},
		{SERVICE("{\"selector\":{\"a\":\"b\",\"version\":1.1}}"),
		 WEB "selector.version must be a string"},
		{SERVICE("{\"selector\":{\"a\":null}}"), WEB "selector.a must be a string"},
		{"{\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"labels\":[]}}",
		 WEB "labels must be an object"},
		{SERVICE("{\"ports\":[7]}"), WEB "port must be a number"},
		{SERVICE("{\"ports\":[{}]}"), WEB "port must be a number"},
		{SERVICE("{\"ports\":[{\"port\":null}]}"), WEB "port must be a number"},
		{SERVICE("{\"ports\":[{\"port\":\"80\"}]}"), WEB "port must be a number"},
		{SERVICE("{\"ports\":[{\"port\":0}]}"),
		 WEB "port 0 is not a port, which is 1 to 65535"},
		{SERVICE("{\"ports\":[{\"port\":-1}]}"),
		 WEB "port -1 is not a port, which is 1 to 65535"},
		{SERVICE("{\"ports\":[{\"port\":65536}]}"),
		 WEB "port 65536 is not a port, which is 1 to 65535"},
		{SERVICE("{\"ports\":[{\"port\":80.5}]}"),
		 WEB "port 80.5 is not a port, which is 1 to 65535"},
		{SERVICE("{\"ports\":[{\"port\":1e99}]}"),
		 WEB "port 1e+99 is not a port, which is 1 to 65535"},
		{SERVICE("{\"ports\":[{\"port\":80,\"targetPort\":65536}]}"),
		 WEB "targetPort 65536 is not a port, which is 1 to 65535"},
		{SERVICE("{\"ports\":[{\"port\":80,\"targetPort\":-1}]}"),
		 WEB "targetPort -1 is not a port, which is 1 to 65535"},
		{SERVICE("{\"ports\":[{\"port\":80,\"targetPort\":true}]}"),
		 WEB "targetPort must be a number"},
		{SERVICE("{\"ports\":[{\"port\":80,\"targetPort\":\"\"}]}"),
		 WEB "targetPort \"\" is neither a number nor a port's name"},
		{SERVICE("{\"ports\":[{\"port\":80,\"targetPort\":\"Http\"}]}"),
		 WEB "targetPort \"Http\" is neither a number nor a port's name"},
		{SERVICE("{\"ports\":[{\"port\":80,\"protocol\":\"tcp\"}]}"),
		 WEB "protocol \"tcp\" is none of TCP, UDP and SCTP"},
		{SERVICE("{\"ports\":[{\"port\":80,\"protocol\":6}]}"),
		 WEB "protocol must be a string"},
		{SERVICE("{\"ports\":[{\"port\":80,\"name\":7}]}"), WEB "name must be a string"},
		{SERVICE("{\"ports\":[{\"port\":80,\"name\":\"a.b\"}]}"),
		 WEB "port name \"a.b\" is not a DNS label"},
		{SERVICE("{\"ports\":[{\"port\":80},{\"name\":\"b\",\"port\":81}]}"),
		 WEB "port 80 needs a name, because there are several"},
		{SERVICE("{\"ports\":[{\"name\":\"a\",\"port\":80},{\"port\":81}]}"),
		 WEB "port 81 needs a name, because there are several"},
		{SERVICE("{\"ports\":[{\"name\":\"a\",\"port\":80},{\"name\":\"a\",\"port\":81}]}"),
		 WEB "port name \"a\" appears twice"},
		{SERVICE("{\"ports\":[{\"name\":\"a\",\"port\":80},{\"name\":\"b\",\"port\":80}]}"),
		 WEB "port 80 appears twice"},
	};

	EXPECT_ERRORS(rows);
}

TEST(slices_that_are_wrong_are_refused_with_a_reason)
{
#define WEB_1 "EndpointSlice default/web-1: "
	static const struct row rows[] = {
		{SLICE("\"addressType\":\"ipv4\""),
		 WEB_1 "addressType \"ipv4\" is none of IPv4, IPv6 and FQDN"},
		{SLICE("\"addressType\":4"), WEB_1 "addressType must be a string"},
		{SLICE("\"endpoints\":{}"), WEB_1 "endpoints must be a list"},
		{SLICE("\"ports\":{}"), WEB_1 "ports must be a list"},
		{SLICE("\"ports\":[{\"port\":\"80\"}]"), WEB_1 "port must be a number"},
		{SLICE("\"ports\":[{\"port\":65536}]"),
		 WEB_1 "port 65536 is not a port, which is 1 to 65535"},
		{SLICE("\"ports\":[{\"port\":80,\"protocol\":\"QUIC\"}]"),
		 WEB_1 "protocol \"QUIC\" is none of TCP, UDP and SCTP"},
		{SLICE("\"ports\":[{\"port\":80,\"name\":\"A\"}]"),
		 WEB_1 "port name \"A\" is not a DNS label"},
		{SLICE("\"endpoints\":[{\"addresses\":\"10.0.0.1\"}]"),
		 WEB_1 "addresses must be a list"},
		{SLICE("\"endpoints\":[{\"addresses\":[7]}]"), WEB_1 "addresses must hold strings"},
		{SLICE("\"endpoints\":[{\"addresses\":[\"web.local\"]}]"),
		 WEB_1 "address \"web.local\" is not an IP address"},
		{SLICE("\"endpoints\":[{\"addresses\":[\"fd00::1\"]}]"),
		 WEB_1 "address fd00::1 is not of the slice's addressType"},
		{SLICE("\"addressType\":\"IPv6\",\"endpoints\":[{\"addresses\":[\"10.0.0.1\"]}]"),
		 WEB_1 "address 10.0.0.1 is not of the slice's addressType"},
		{SLICE("\"endpoints\":[{\"addresses\":[\"10.0.0.1\"],\"conditions\":[]}]"),
		 WEB_1 "conditions must be an object"},
		{SLICE("\"endpoints\":[{\"addresses\":[\"10.0.0.1\"],\"conditions\":{\"ready\":"
		       "\"True\"}}]"),
		 WEB_1 "ready must be true or false"},
		{SLICE("\"endpoints\":[{\"addresses\":[\"10.0.0.1\"],\"conditions\":{\"serving\":"
		       "1}}]"),
		 WEB_1 "serving must be true or false"},
		{SLICE("\"endpoints\":[{\"addresses\":[\"10.0.0.1\"],\"conditions\":"
		       "{\"terminating\":0}}]"),
		 WEB_1 "terminating must be true or false"},
		{"{\"apiVersion\":\"discovery.k8s.io/"
		 "v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"web-1\",\"labels\":"
		 "{\"kubernetes.io/service-name\":7}}}",
		 WEB_1 "kubernetes.io/service-name must be a string"},
		{ENDPOINTS("\"subsets\":{}"), "Endpoints default/web: subsets must be a list"},
		{ENDPOINTS("\"subsets\":[{\"addresses\":{}}]"),
		 "Endpoints default/web: addresses must be a list"},
		{ENDPOINTS("\"subsets\":[{\"notReadyAddresses\":{}}]"),
		 "Endpoints default/web: notReadyAddresses must be a list"},
		{ENDPOINTS("\"subsets\":[{\"addresses\":[{}]}]"),
		 "Endpoints default/web: ip \"\" is not an IP address"},
		{ENDPOINTS("\"subsets\":[{\"addresses\":[{\"ip\":7}]}]"),
		 "Endpoints default/web: ip must be a string"},
		{ENDPOINTS("\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\"}],\"ports\":"
			   "[{\"port\":80},{\"port\":99999}]}]"),
		 "Endpoints default/web: port 99999 is not a port, which is 1 to 65535"},
		{"{\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"web\",\"annotations\":[]}}",
		 "Endpoints default/web: annotations must be an object"},
		{"{\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"web\",\"annotations\":[]}}",
		 "EndpointSlice default/web: annotations must be an object"},
	};

	EXPECT_ERRORS(rows);
}

TEST(pods_that_are_wrong_are_refused_with_a_reason)
{
#define POD_1 "Pod default/web-1: "
	static const struct row rows[] = {
		{POD("\"spec\":7"), POD_1 "spec must be an object"},
		{POD("\"status\":7"), POD_1 "status must be an object"},
		{POD("\"status\":{\"phase\":7}"), POD_1 "phase must be a string"},
		{POD("\"status\":{\"podIP\":\"x\"}"), POD_1 "podIP \"x\" is not an IP address"},
		{POD("\"status\":{\"podIPs\":{}}"), POD_1 "podIPs must be a list"},
		{POD("\"status\":{\"podIPs\":[{\"ip\":\"x\"}]}"),
		 POD_1 "podIP \"x\" is not an IP address"},
		{POD("\"status\":{\"podIPs\":[{\"ip\":7}]}"), POD_1 "ip must be a string"},
		{POD("\"status\":{\"conditions\":{}}"), POD_1 "conditions must be a list"},
		{POD("\"status\":{\"conditions\":[{\"type\":7}]}"), POD_1 "type must be a string"},
		{POD("\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":true}]}"),
		 POD_1 "status must be a string"},
		{POD("\"spec\":{\"containers\":{}}"), POD_1 "containers must be a list"},
		{POD("\"spec\":{\"initContainers\":{}}"), POD_1 "initContainers must be a list"},
		{POD("\"spec\":{\"initContainers\":[{\"restartPolicy\":7}]}"),
		 POD_1 "restartPolicy must be a string"},
		{POD("\"spec\":{\"containers\":[{\"ports\":{}}]}"), POD_1 "ports must be a list"},
		{POD("\"spec\":{\"containers\":[{\"ports\":[{\"name\":\"a\"}]}]}"),
		 POD_1 "containerPort must be a number"},
		{POD("\"spec\":{\"containers\":[{\"ports\":[{\"name\":\"a\",\"containerPort\":1},"
		     "{\"name\":\"B\",\"containerPort\":1}]}]}"),
		 POD_1 "port name \"B\" is not a DNS label"},
		{POD("\"spec\":{\"containers\":[{\"ports\":[{\"containerPort\":70000}]}]}"),
		 POD_1 "containerPort 70000 is not a port, which is 1 to 65535"},
		{POD("\"spec\":{\"containers\":[{\"ports\":[{\"containerPort\":1,\"protocol\":"
		     "\"x\"}]}]}"),
		 POD_1 "protocol \"x\" is none of TCP, UDP and SCTP"},
		{"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"web-1\",\"labels\":{\"a\":1}}}",
		 POD_1 "labels.a must be a string"},
	};

	EXPECT_ERRORS(rows);
}

TEST(a_fraction_that_rounds_to_no_port_is_refused)
{
	static const struct row rows[] = {
		{SERVICE("{\"ports\":[{\"port\":80,\"targetPort\":0.5}]}"),
		 WEB "targetPort 0.5 is not a port, which is 1 to 65535"},
		{SLICE("\"ports\":[{\"port\":0.5}]"),
		 WEB_1 "port 0.5 is not a port, which is 1 to 65535"},
	};

	EXPECT_ERRORS(rows);
}

TEST(a_kind_that_ends_in_list_without_items_is_no_list)
{
	expect_skipped("{\"apiVersion\":\"example.com/v1\",\"kind\":\"AllowList\",\"metadata\":"
		       "{\"name\":\"a\"}}",
		       1, "AllowList");
}

TEST(a_kind_whose_name_is_part_of_anothers_is_named_too)
{
	expect_skipped("{\"kind\":\"List\",\"items\":[{\"kind\":\"CronJob\"},{\"kind\":\"Job\"}]}",
		       2, "CronJob,Job");
}

TEST(values_too_long_for_an_error_are_cut)
{
	char json[2000], longest[1000];
	struct rd_decoded decoded = {0};
	struct rd_error error;

	memset(longest, 'X', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	snprintf(json, sizeof(json), "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\"}}", longest);
	assert_int_equal(rd_decode(json, "test", &decoded, &error), -EINVAL);
	assert_true(strlen(error.text) < 150);
	snprintf(json, sizeof(json), "{\"kind\":\"%s\"}", longest);
	assert_int_equal(rd_decode(json, "test", &decoded, &error), 0);
	assert_int_equal(decoded.skipped, 1);
	rd_decoded_clear(&decoded);
}

TEST(nesting_has_a_limit)
{
	static char json[200002];
	struct rd_decoded decoded = {0};
	struct rd_error error;

	memset(json, '[', 100000);
	memset(json + 100000, ']', 100000);
	assert_int_equal(rd_decode(json, "test", &decoded, &error), -EINVAL);
	rd_decoded_clear(&decoded);
}

/* ---- traffic policies, external addresses, affinity, hints and nodes ---------------------------
 */

#define ONE_PORT "\"ports\":[{\"port\":80}]}"
#define WITH(fields) SERVICE("{" fields "," ONE_PORT)
#define STATUS(status)                                                                             \
	"{\"kind\":\"Service\",\"metadata\":{\"name\":\"web\"},\"spec\":{" ONE_PORT                \
	",\"status\":" status "}"
#define INGRESS(list) STATUS("{\"loadBalancer\":{\"ingress\":" list "}}")
#define IS_WEB "Service default/web ClusterIP"
#define PORT_80 " [/TCP 80>0]"

TEST(A3_the_proxy_name_label_and_the_exclude_annotation_make_a_service_not_ours)
{
#define LABELLED(meta)                                                                             \
	"{\"kind\":\"Service\",\"metadata\":{\"name\":\"web\"," meta "},\"spec\":{" ONE_PORT "}"
	static const struct row rows[] = {
		{LABELLED("\"labels\":{\"service.kubernetes.io/service-proxy-name\":\"x\"}"),
		 IS_WEB " not-ours" PORT_80},
		{LABELLED("\"labels\":{\"service.kubernetes.io/service-proxy-name\":null}"),
		 IS_WEB " not-ours" PORT_80},
		{LABELLED("\"annotations\":{\"service.kubernetes.io/service-proxy-name\":\"x\"}"),
		 IS_WEB PORT_80},
		{LABELLED("\"annotations\":{\"redial.io/exclude\":\"true\"}"),
		 IS_WEB " not-ours" PORT_80},
		{LABELLED("\"annotations\":{\"redial.io/exclude\":\"false\"}"), IS_WEB PORT_80},
		{LABELLED("\"annotations\":{\"redial.io/exclude\":\"\"}"), IS_WEB PORT_80},
		{LABELLED("\"annotations\":{\"redial.io/exclude\":null}"), IS_WEB PORT_80},
		{LABELLED("\"annotations\":null"), IS_WEB PORT_80},
		{LABELLED("\"labels\":{\"redial.io/exclude\":\"true\"}"), IS_WEB PORT_80},
	};
	static const struct row errors[] = {
		{LABELLED("\"annotations\":{\"redial.io/exclude\":true}"),
		 WEB "redial.io/exclude must be a string"},
		{LABELLED("\"annotations\":[]"), WEB "annotations must be an object"},
	};

	EXPECT_OBJECTS(rows);
	EXPECT_ERRORS(errors);
}

TEST(A5_each_family_has_the_address_that_is_of_it)
{
	static const struct row rows[] = {
		{WITH("\"ipFamilies\":[\"IPv6\",\"IPv4\"],\"clusterIP\":\"fd00::1\","
		      "\"clusterIPs\":[\"fd00::1\",\"10.96.0.1\"]"),
		 IS_WEB " 10.96.0.1 fd00::1" PORT_80},
		{WITH("\"ipFamilies\":[\"IPv6\"],\"clusterIPs\":[\"fd00::1\"]"),
		 IS_WEB " fd00::1" PORT_80},
		{WITH("\"clusterIP\":\"10.96.0.1\""), IS_WEB " 10.96.0.1" PORT_80},
	};

	EXPECT_OBJECTS(rows);
}

TEST(A10_a_slice_ports_protocol_is_tcp_unless_it_says_so)
{
	static const struct row rows[] = {
		{SLICE("\"ports\":[{\"name\":\"a\",\"port\":1},{\"name\":\"b\",\"port\":2,"
		       "\"protocol\":null},{\"name\":\"c\",\"port\":3,\"protocol\":\"SCTP\"}]"),
		 "EndpointSlice default/web-1 of \"web\" ( [a/TCP 1] [b/TCP 2] [c/SCTP 3] )"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(A12_who_manages_a_slice_does_not_matter)
{
	static const struct row rows[] = {
		{"{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":"
		 "{\"name\":\"a\",\"labels\":{\"kubernetes.io/service-name\":\"web\","
		 "\"endpointslice.kubernetes.io/managed-by\":\"me\"}}}",
		 "EndpointSlice default/a of \"web\" ( )"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(A16_leading_zeros_are_decimal_wherever_an_address_stands)
{
	static const struct row rows[] = {
		{WITH("\"clusterIP\":\"010.096.000.010\",\"externalIPs\":[\"0192.00.02.08\"],"
		      "\"loadBalancerSourceRanges\":[\"010.0.0.0/8\"]"),
		 IS_WEB " 10.96.0.10 external 192.0.2.8 from 10.0.0.0/8" PORT_80},
		{INGRESS("[{\"ip\":\"0192.0.02.09\"}]"), IS_WEB " ingress 192.0.2.9" PORT_80},
		{"{\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"},\"status\":{\"addresses\":[{"
		 "\"type\":\"InternalIP\",\"address\":\"0172.018.0.01\"}]}}",
		 "Node /n at 172.18.0.1"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(B3_endpoints_say_on_which_node_they_are)
{
	static const struct row rows[] = {
		{SLICE("\"endpoints\":[{\"addresses\":[\"10.0.0.1\"],\"nodeName\":\"n1\"},"
		       "{\"addresses\":[\"10.0.0.2\"],\"nodeName\":\"\"},"
		       "{\"addresses\":[\"10.0.0.3\"],\"nodeName\":null}]"),
		 "EndpointSlice default/web-1 of \"web\" ( 10.0.0.1:RS@n1 10.0.0.2:RS 10.0.0.3:RS "
		 ")"},
		{ENDPOINTS("\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\",\"nodeName\":\"n1\"},"
			   "{\"ip\":\"10.0.0.2\",\"nodeName\":\"\"}],\"notReadyAddresses\":[{"
			   "\"ip\":\"10.0.0.3\",\"nodeName\":\"n2\"}]}]"),
		 "Endpoints default/web of \"web\" ( 10.0.0.1:RS@n1 10.0.0.2:RS 10.0.0.3:S@n2 )"},
		{POD("\"spec\":{\"nodeName\":\"n1\"}"), "Pod default/web-1 @n1 ready"},
		{POD("\"spec\":{\"nodeName\":\"\"}"), "Pod default/web-1 ready"},
	};
	static const struct row errors[] = {
		{SLICE("\"endpoints\":[{\"addresses\":[\"10.0.0.1\"],\"nodeName\":7}]"),
		 WEB_1 "nodeName must be a string"},
		{ENDPOINTS("\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\",\"nodeName\":7}]}]"),
		 "Endpoints default/web: nodeName must be a string"},
		{POD("\"spec\":{\"nodeName\":[]}"), POD_1 "nodeName must be a string"},
	};

	EXPECT_OBJECTS(rows);
	EXPECT_ERRORS(errors);
}

TEST(B5_hints_are_decoded_and_an_empty_list_is_none)
{
#define HINTED(hints) SLICE("\"endpoints\":[{\"addresses\":[\"10.0.0.1\"],\"hints\":" hints "}]")
#define IS_HINTED(hints) "EndpointSlice default/web-1 of \"web\" ( 10.0.0.1:RS" hints " )"
	static const struct row rows[] = {
		{HINTED("{\"forZones\":[{\"name\":\"z1\"},{\"name\":\"z2\"}]}"),
		 IS_HINTED("<zones z1,z2>")},
		{HINTED("{\"forZones\":[{\"name\":\"z1\"}],\"forNodes\":[{\"name\":\"n1\"}]}"),
		 IS_HINTED("<zones z1><nodes n1>")},
		{HINTED("{\"forNodes\":[{\"name\":\"n1\"}]}"), IS_HINTED("<nodes n1>")},
		{HINTED("{\"forZones\":[],\"forNodes\":null}"), IS_HINTED("")},
		{HINTED("{}"), IS_HINTED("")},
		{HINTED("null"), IS_HINTED("")},
	};
	static const struct row errors[] = {
		{HINTED("[]"), WEB_1 "hints must be an object"},
		{HINTED("{\"forZones\":{}}"), WEB_1 "forZones must be a list"},
		{HINTED("{\"forZones\":[{\"name\":7}]}"), WEB_1 "name must be a string"},
		{HINTED("{\"forZones\":[{\"name\":\"z1\"},{\"name\":7}]}"),
		 WEB_1 "name must be a string"},
		{HINTED("{\"forNodes\":\"n1\"}"), WEB_1 "forNodes must be a list"},
	};

	EXPECT_OBJECTS(rows);
	EXPECT_ERRORS(errors);
}

TEST(B7_traffic_distribution_and_topology_annotations_are_not_read)
{
	static const struct row rows[] = {
		{"{\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"annotations\":"
		 "{\"service.kubernetes.io/topology-mode\":\"Auto\","
		 "\"service.kubernetes.io/topology-aware-hints\":7}},\"spec\":"
		 "{\"trafficDistribution\":\"PreferClose\"," ONE_PORT "}",
		 IS_WEB PORT_80},
		{WITH("\"trafficDistribution\":{\"anything\":7}"), IS_WEB PORT_80},
	};

	EXPECT_OBJECTS(rows);
}

TEST(B7_a_nodes_zone_and_addresses_are_decoded)
{
#define NODE(labels, addresses)                                                                    \
	"{\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\",\"labels\":" labels                      \
	"},\"status\":{\"addresses\":" addresses "}}"
	static const struct row rows[] = {
		{NODE("{\"topology.kubernetes.io/zone\":\"z1\"}",
		      "[{\"type\":\"InternalIP\",\"address\":\"172.18.0.2\"},"
		      "{\"type\":\"Hostname\",\"address\":\"n1\"},"
		      "{\"type\":\"ExternalIP\",\"address\":\"2001:db8::2\"},"
		      "{\"type\":\"InternalDNS\",\"address\":\"172.18.0.3\"}]"),
		 "Node /n1 in z1 at 172.18.0.2 2001:db8::2"},
		{NODE("{\"topology.kubernetes.io/zone\":\"\"}", "[]"), "Node /n1"},
		{NODE("{\"topology.kubernetes.io/region\":\"r\"}", "null"), "Node /n1"},
		{NODE("null", "[{},{\"type\":null,\"address\":null}]"), "Node /n1"},
	};
	static const struct row errors[] = {
		{NODE("[]", "[]"), "Node n1: labels must be an object"},
		{NODE("{\"topology.kubernetes.io/zone\":1}", "[]"),
		 "Node n1: topology.kubernetes.io/zone must be a string"},
		{NODE("{}", "{}"), "Node n1: addresses must be a list"},
		{NODE("{}", "[{\"type\":7}]"), "Node n1: type must be a string"},
		{NODE("{}", "[{\"type\":\"InternalIP\"}]"),
		 "Node n1: address \"\" is not an IP address"},
		{NODE("{}", "[{\"type\":\"ExternalIP\",\"address\":\"x\"}]"),
		 "Node n1: address \"x\" is not an IP address"},
		{NODE("{}", "[{\"type\":\"Hostname\",\"address\":7}]"),
		 "Node n1: address must be a string"},
		{"{\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\"},\"status\":7}",
		 "Node n1: status must be an object"},
	};

	EXPECT_OBJECTS(rows);
	EXPECT_ERRORS(errors);
}

TEST(I1_a_node_that_is_deleted_or_about_to_be_is_leaving)
{
#define TAINTED(taints)                                                                            \
	"{\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\"},\"spec\":{\"taints\":" taints "}}"
	static const struct row rows[] = {
		{"{\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\"}}", "Node /n1"},
		{"{\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\",\"deletionTimestamp\":"
		 "\"2026-11-22T10:50:22Z\"}}",
		 "Node /n1 leaving"},
		{"{\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\",\"deletionTimestamp\":null}}",
		 "Node /n1"},
		{TAINTED("[{\"key\":\"ToBeDeletedByClusterAutoscaler\",\"value\":\"1\","
			 "\"effect\":\"NoSchedule\"}]"),
		 "Node /n1 leaving"},
		{TAINTED("[{\"key\":\"node.kubernetes.io/not-ready\"},"
			 "{\"key\":\"ToBeDeletedByClusterAutoscaler\"},{\"key\":\"x\"}]"),
		 "Node /n1 leaving"},
		{TAINTED("[{\"key\":\"DeletionCandidateOfClusterAutoscaler\"}]"), "Node /n1"},
		{TAINTED("[{\"key\":\"node.kubernetes.io/unschedulable\"}]"), "Node /n1"},
		{TAINTED("[{\"key\":\"x\",\"value\":\"ToBeDeletedByClusterAutoscaler\"}]"),
		 "Node /n1"},
		{TAINTED("[]"), "Node /n1"},
		{TAINTED("null"), "Node /n1"},
	};
	static const struct row errors[] = {
		{TAINTED("{}"), "Node n1: taints must be a list"},
		{TAINTED("[{\"key\":7}]"), "Node n1: key must be a string"},
		{"{\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\"},\"spec\":[]}",
		 "Node n1: spec must be an object"},
	};

	EXPECT_OBJECTS(rows);
	EXPECT_ERRORS(errors);
}

TEST(B9_traffic_policies_are_cluster_unless_they_say_local)
{
	static const struct row rows[] = {
		{WITH("\"internalTrafficPolicy\":\"Local\""), IS_WEB " internal-local" PORT_80},
		{WITH("\"externalTrafficPolicy\":\"Local\""), IS_WEB " external-local" PORT_80},
		{WITH("\"internalTrafficPolicy\":\"Local\",\"externalTrafficPolicy\":\"Local\""),
		 IS_WEB " internal-local external-local" PORT_80},
		{WITH("\"internalTrafficPolicy\":\"Cluster\",\"externalTrafficPolicy\":"
		      "\"Cluster\""),
		 IS_WEB PORT_80},
		{WITH("\"internalTrafficPolicy\":null,\"externalTrafficPolicy\":null"),
		 IS_WEB PORT_80},
	};
	static const struct row errors[] = {
		{WITH("\"internalTrafficPolicy\":\"local\""),
		 WEB "internalTrafficPolicy \"local\" is neither Cluster nor Local"},
		{WITH("\"internalTrafficPolicy\":\"\""),
		 WEB "internalTrafficPolicy \"\" is neither Cluster nor Local"},
		{WITH("\"internalTrafficPolicy\":7"), WEB "internalTrafficPolicy must be a string"},
		{WITH("\"externalTrafficPolicy\":\"PreferLocal\""),
		 WEB "externalTrafficPolicy \"PreferLocal\" is neither Cluster nor Local"},
		{WITH("\"externalTrafficPolicy\":[]"),
		 WEB "externalTrafficPolicy must be a string"},
	};

	EXPECT_OBJECTS(rows);
	EXPECT_ERRORS(errors);
}

TEST(C6_node_ports_are_decoded_and_0_is_none)
{
#define NODE_PORT(number) SERVICE("{\"ports\":[{\"port\":80,\"nodePort\":" number "}]}")
	static const struct row rows[] = {
		{NODE_PORT("30080"), IS_WEB " [/TCP 80>0 @30080]"},
		{NODE_PORT("1"), IS_WEB " [/TCP 80>0 @1]"},
		{NODE_PORT("65535"), IS_WEB " [/TCP 80>0 @65535]"},
		{NODE_PORT("0"), IS_WEB PORT_80},
		{NODE_PORT("null"), IS_WEB PORT_80},
	};
	static const struct row errors[] = {
		{NODE_PORT("65536"), WEB "nodePort 65536 is not a port, which is 1 to 65535"},
		{NODE_PORT("-1"), WEB "nodePort -1 is not a port, which is 1 to 65535"},
		{NODE_PORT("30080.5"), WEB "nodePort 30080.5 is not a port, which is 1 to 65535"},
		{NODE_PORT("\"30080\""), WEB "nodePort must be a number"},
		{NODE_PORT("true"), WEB "nodePort must be a number"},
		{SERVICE("{\"healthCheckNodePort\":70000,\"ports\":[{\"port\":80}]}"),
		 WEB "healthCheckNodePort 70000 is not a port, which is 1 to 65535"},
	};

	EXPECT_OBJECTS(rows);
	EXPECT_ERRORS(errors);
}

TEST(a_fraction_that_rounds_to_no_node_port_is_refused)
{
	static const struct row rows[] = {
		{NODE_PORT("0.5"), WEB "nodePort 0.5 is not a port, which is 1 to 65535"},
	};

	EXPECT_ERRORS(rows);
}

TEST(C8_external_ips_are_decoded)
{
	static const struct row rows[] = {
		{WITH("\"externalIPs\":[\"192.0.2.1\",\"2001:db8::1\"]"),
		 IS_WEB " external 192.0.2.1 2001:db8::1" PORT_80},
		{WITH("\"externalIPs\":[]"), IS_WEB PORT_80},
		{WITH("\"externalIPs\":null"), IS_WEB PORT_80},
	};
	static const struct row errors[] = {
		{WITH("\"externalIPs\":\"192.0.2.1\""), WEB "externalIPs must be a list"},
		{WITH("\"externalIPs\":[7]"), WEB "externalIPs must hold strings"},
		{WITH("\"externalIPs\":[\"192.0.2.1\",null]"), WEB "externalIPs must hold strings"},
		{WITH("\"externalIPs\":[\"192.0.2.1\",\"192.0.2.0/24\"]"),
		 WEB "externalIPs \"192.0.2.0/24\" is not an IP address"},
		{WITH("\"externalIPs\":[\"\"]"), WEB "externalIPs \"\" is not an IP address"},
	};

	EXPECT_OBJECTS(rows);
	EXPECT_ERRORS(errors);
}

TEST(C9_ingress_addresses_with_the_mode_vip_or_none_are_decoded)
{
	static const struct row rows[] = {
		{INGRESS("[{\"ip\":\"192.0.2.2\"},{\"ip\":\"2001:db8::2\",\"ipMode\":\"VIP\"},"
			 "{\"ip\":\"192.0.2.3\",\"ipMode\":null}]"),
		 IS_WEB " ingress 192.0.2.2 2001:db8::2 192.0.2.3" PORT_80},
		{INGRESS("[{\"ip\":\"192.0.2.2\",\"ipMode\":\"Proxy\"},{\"hostname\":\"lb."
			 "example\"},"
			 "{\"ip\":\"\",\"hostname\":\"lb.example\"},{}]"),
		 IS_WEB PORT_80},
		/* A mode that is not known is not VIP; its address is not looked at. */
		{INGRESS("[{\"ip\":\"192.0.2.2\",\"ipMode\":\"Other\"},{\"ip\":\"x\",\"ipMode\":"
			 "\"Proxy\"}]"),
		 IS_WEB PORT_80},
		{INGRESS("[{\"ip\":\"192.0.2.2\",\"hostname\":\"lb.example\",\"ports\":[]}]"),
		 IS_WEB " ingress 192.0.2.2" PORT_80},
		{INGRESS("null"), IS_WEB PORT_80},
		{STATUS("{\"loadBalancer\":null}"), IS_WEB PORT_80},
		{STATUS("null"), IS_WEB PORT_80},
	};
	static const struct row errors[] = {
		{STATUS("7"), WEB "status must be an object"},
		{STATUS("{\"loadBalancer\":[]}"), WEB "loadBalancer must be an object"},
		{INGRESS("{}"), WEB "ingress must be a list"},
		{INGRESS("[{\"ip\":7}]"), WEB "ip must be a string"},
		{INGRESS("[{\"ip\":\"192.0.2.2\",\"ipMode\":7}]"), WEB "ipMode must be a string"},
		{INGRESS("[{\"ip\":\"lb.example\"}]"),
		 WEB "ingress ip \"lb.example\" is not an IP address"},
	};

	EXPECT_OBJECTS(rows);
	EXPECT_ERRORS(errors);
}

TEST(C10_source_ranges_may_have_white_space_around_them)
{
#define RANGES(list) WITH("\"loadBalancerSourceRanges\":" list)
	static const struct row rows[] = {
		{RANGES("[\"10.0.0.0/8\",\"fd00::/8\"]"),
		 IS_WEB " from 10.0.0.0/8 fd00::/8" PORT_80},
		{RANGES("[\" 10.0.0.0/8\",\"\\t192.0.2.0/24 \\n\",\"fd00::/8  \"]"),
		 IS_WEB " from 10.0.0.0/8 192.0.2.0/24 fd00::/8" PORT_80},
		{RANGES("[\"\\r\\f10.0.0.0/8\\u000b\\r\\n\"]"), IS_WEB " from 10.0.0.0/8" PORT_80},
		{RANGES("[\"10.1.2.3/8\"]"), IS_WEB " from 10.0.0.0/8" PORT_80},
		{RANGES("[\"::ffff:10.1.2.3/104\"]"), IS_WEB " from 10.0.0.0/8" PORT_80},
		{RANGES("[]"), IS_WEB PORT_80},
		{RANGES("null"), IS_WEB PORT_80},
	};
#define BAD_RANGE(text) WEB "loadBalancerSourceRanges \"" text "\" is not a network"
	static const struct row errors[] = {
		{RANGES("\"10.0.0.0/8\""), WEB "loadBalancerSourceRanges must be a list"},
		{RANGES("[7]"), WEB "loadBalancerSourceRanges must hold strings"},
		{RANGES("[\"10.0.0.0/8\",\"10.0.0.0\"]"), BAD_RANGE("10.0.0.0")},
		{RANGES("[\"10.0.0.0/33\"]"), BAD_RANGE("10.0.0.0/33")},
		{RANGES("[\"::ffff:10.0.0.0/8\"]"), BAD_RANGE("::ffff:10.0.0.0/8")},
		{RANGES("[\"10.0.0.0 /8\"]"), BAD_RANGE("10.0.0.0 /8")},
		{RANGES("[\"10.0.0.0/8 10.1.0.0/8\"]"), BAD_RANGE("10.0.0.0/8 10.1.0.0/8")},
		{RANGES("[\"\"]"), BAD_RANGE("")},
		{RANGES("[\"  \"]"), BAD_RANGE("  ")},
		{RANGES("[\"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/8\"]"),
		 BAD_RANGE("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/8")},
	};

	EXPECT_OBJECTS(rows);
	EXPECT_ERRORS(errors);
}

TEST(D1_affinity_lasts_3_hours_unless_its_timeout_says_otherwise)
{
#define AFFINITY(timeout)                                                                          \
	WITH("\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":"           \
	     "{\"timeoutSeconds\":" timeout "}}")
	static const struct row rows[] = {
		{WITH("\"sessionAffinity\":\"ClientIP\""), IS_WEB " affinity=10800" PORT_80},
		{AFFINITY("null"), IS_WEB " affinity=10800" PORT_80},
		{AFFINITY("1"), IS_WEB " affinity=1" PORT_80},
		{AFFINITY("86400"), IS_WEB " affinity=86400" PORT_80},
		{WITH("\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":"
		      "null}"),
		 IS_WEB " affinity=10800" PORT_80},
		{WITH("\"sessionAffinity\":\"None\""), IS_WEB PORT_80},
		{WITH("\"sessionAffinity\":null"), IS_WEB PORT_80},
		{WITH("\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":5}}"),
		 IS_WEB PORT_80},
	};
	static const struct row errors[] = {
		{AFFINITY("0"), WEB "timeoutSeconds must be a number from 1 to 86400"},
		{AFFINITY("-1"), WEB "timeoutSeconds must be a number from 1 to 86400"},
		{AFFINITY("86401"), WEB "timeoutSeconds must be a number from 1 to 86400"},
		{AFFINITY("1e99"), WEB "timeoutSeconds must be a number from 1 to 86400"},
		{AFFINITY("\"5\""), WEB "timeoutSeconds must be a number from 1 to 86400"},
		{WITH("\"sessionAffinity\":\"clientIP\""),
		 WEB "sessionAffinity \"clientIP\" is neither None nor ClientIP"},
		{WITH("\"sessionAffinity\":\"\""),
		 WEB "sessionAffinity \"\" is neither None nor ClientIP"},
		{WITH("\"sessionAffinity\":7"), WEB "sessionAffinity must be a string"},
		{WITH("\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":7"),
		 WEB "sessionAffinityConfig must be an object"},
		{WITH("\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":"
		      "7}"),
		 WEB "clientIP must be an object"},
	};

	EXPECT_OBJECTS(rows);
	EXPECT_ERRORS(errors);
}

TEST(a_timeout_that_is_a_fraction_is_refused)
{
	static const struct row rows[] = {
		{AFFINITY("86400.5"), WEB "timeoutSeconds must be a number from 1 to 86400"},
		{AFFINITY("1.5"), WEB "timeoutSeconds must be a number from 1 to 86400"},
	};

	EXPECT_ERRORS(rows);
}

/* ---- out of memory ------------------------------------------------------------------------- */

static const char everything[] =
	"{\"kind\":\"List\",\"items\":["
	"{\"kind\":\"Service\",\"metadata\":{\"name\":\"web\"},\"status\":{\"loadBalancer\":"
	"{\"ingress\":[{\"ip\":\"192.0.2.2\"},{\"hostname\":\"x\"}]}},\"spec\":{\"type\":"
	"\"LoadBalancer\",\"sessionAffinity\":\"ClientIP\",\"internalTrafficPolicy\":\"Local\","
	"\"externalTrafficPolicy\":\"Local\",\"externalIPs\":[\"192.0.2.1\",\"2001:db8::1\"],"
	"\"loadBalancerSourceRanges\":[\"10.0.0.0/8\",\" fd00::/8\"],\"selector\":{\"a\":\"b\","
	"\"c\":\"d\"},\"clusterIPs\":[\"10.96.0.1\"],\"ports\":[{\"name\":\"a\",\"port\":80,"
	"\"targetPort\":\"http\"},{\"name\":\"b\",\"port\":81}]}},"
	"{" SLICE_OF_WEB ",\"ports\":[{\"name\":\"a\",\"port\":80},{\"name\":\"b\",\"port\":81}],"
	"\"endpoints\":[{\"addresses\":[\"10.0.0.1\"],\"nodeName\":\"n1\",\"hints\":{\"forZones\":"
	"[{\"name\":\"z1\"},{\"name\":\"z2\"}],\"forNodes\":[{\"name\":\"n1\"},{\"name\":\"n2\"}]}}"
	","
	"{\"addresses\":[\"10.0.0.2\"],\"nodeName\":\"n2\",\"hints\":{\"forZones\":[{\"name\":"
	"\"z2\"}]}}]},"
	"{\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"web\"},\"subsets\":[{\"addresses\":"
	"[{\"ip\":\"10.0.0.1\",\"nodeName\":\"n1\"}],\"ports\":[{\"name\":\"a\",\"port\":1}]},{"
	"\"notReadyAddresses\":"
	"[{\"ip\":\"10.0.0.1\"}],\"ports\":[{\"name\":\"a\",\"port\":1}]}]},"
	"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"labels\":{\"a\":\"b\"}},\"spec\":"
	"{\"nodeName\":\"n1\",\"containers\":[{\"ports\":[{\"name\":\"x\",\"containerPort\":1},{"
	"\"containerPort\":2},"
	"{\"containerPort\":3}]}]}},"
	"{\"kind\":\"Secret\"},"
	"{\"kind\":\"Node\",\"metadata\":{\"name\":\"n\",\"labels\":"
	"{\"topology.kubernetes.io/zone\":\"z1\"}},\"status\":{\"addresses\":[{\"type\":"
	"\"InternalIP\",\"address\":\"172.18.0.2\"}]}}]}";

/* Decode with every allocation failing in turn, until it succeeds. */
static void run_out_of_memory(unsigned at_least)
{
	struct rd_decoded decoded = {0};

	for (unsigned n = 1;; n++) {
		struct rd_error error = {0};
		int r;

		alloc_fail_at(n);
		r = rd_decode(everything, "test", &decoded, &error);
		if (!alloc_fail_end()) {
			assert_int_equal(r, 0);
			assert_true(n > at_least);
			break;
		}
		rd_decoded_clear(&decoded);
		assert_int_equal(r, -ENOMEM);
		assert_string_equal(error.text, "out of memory");
	}
	assert_int_equal(decoded.n, 5);
	rd_decoded_clear(&decoded);
}

TEST(out_of_memory_in_the_decoder_is_enomem)
{
	run_out_of_memory(50);
}

static int hook_json(void **fixture)
{
	/* The linker makes these the ones that can fail. */
	cJSON_Hooks hooks = {.malloc_fn = malloc, .free_fn = free};

	(void)fixture;
	cJSON_InitHooks(&hooks);
	return 0;
}

static int unhook_json(void **fixture)
{
	(void)fixture;
	cJSON_InitHooks(NULL);
	return 0;
}

TEST(out_of_memory_in_the_json_library_leaks_nothing)
{
	struct rd_decoded decoded = {0};

	for (unsigned n = 1;; n++) {
		struct rd_error error;
		int r;

		alloc_fail_at(n);
		r = rd_decode(everything, "test", &decoded, &error);
		rd_decoded_clear(&decoded);
		if (!alloc_fail_end())
			break;
		assert_true(r < 0);
	}
}

TEST(out_of_memory_in_the_json_library_is_enomem)
{
	run_out_of_memory(300);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_recorded_list_of_services_is_decoded),
		cmocka_unit_test(a_recorded_list_of_slices_is_decoded),
		cmocka_unit_test(a_recorded_list_of_endpoints_is_decoded),
		cmocka_unit_test(a_recorded_list_of_nodes_is_decoded),
		cmocka_unit_test(a_recorded_creation_time_is_decoded),
		cmocka_unit_test(services_are_decoded_with_the_defaults_of_the_api),
		cmocka_unit_test(slices_are_decoded_with_the_defaults_of_the_api),
		cmocka_unit_test(B1_absent_conditions_are_ready_serving_and_not_terminating),
		cmocka_unit_test(A14_a_slice_may_have_null_for_endpoints_and_ports),
		cmocka_unit_test(A10_a_slice_port_with_null_for_name_or_number_or_0_is_no_port),
		cmocka_unit_test(A11_only_the_first_address_counts_and_fqdn_slices_do_not),
		cmocka_unit_test(A16_leading_zeros_of_an_endpoints_address_are_decimal),
		cmocka_unit_test(A12_a_slice_without_an_owner_is_nobodys),
		cmocka_unit_test(A4_a_slice_with_the_headless_label_is_ignored),
		cmocka_unit_test(H5_hostnames_of_endpoints_and_pods_are_read),
		cmocka_unit_test(H6_an_external_name_is_a_domain),
		cmocka_unit_test(names_that_dns_cannot_carry_are_refused_with_a_reason),
		cmocka_unit_test(a_slices_name_is_a_subdomain),
		cmocka_unit_test(A17_A18_endpoints_are_decoded_as_the_mirroring_controller_would),
		cmocka_unit_test(A18_endpoints_that_are_not_mirrored_are_ignored),
		cmocka_unit_test(pods_are_decoded_with_the_defaults_of_the_api),
		cmocka_unit_test(an_object_without_an_api_version_is_taken_by_its_kind),
		cmocka_unit_test(lists_are_decoded_with_and_without_kinds_on_their_items),
		cmocka_unit_test(documents_add_to_what_was_decoded_before),
		cmocka_unit_test(kinds_that_are_not_used_are_counted_and_named_once),
		cmocka_unit_test(a_kind_of_another_api_group_is_another_kind),
		cmocka_unit_test(more_kinds_than_have_room_are_counted_all_the_same),
		cmocka_unit_test(creation_times_are_seconds_since_the_epoch),
		cmocka_unit_test(I3_trigger_times_are_nanoseconds_and_anything_else_is_none),
		cmocka_unit_test(names_are_as_long_as_kubernetes_allows_and_no_longer),
		cmocka_unit_test(documents_that_are_wrong_are_refused_with_a_reason),
		cmocka_unit_test(a_list_whose_items_are_no_list_is_refused),
		cmocka_unit_test(metadata_that_is_wrong_is_refused_with_a_reason),
		cmocka_unit_test(services_that_are_wrong_are_refused_with_a_reason),
		cmocka_unit_test(slices_that_are_wrong_are_refused_with_a_reason),
		cmocka_unit_test(pods_that_are_wrong_are_refused_with_a_reason),
		cmocka_unit_test(a_fraction_that_rounds_to_no_port_is_refused),
		cmocka_unit_test(a_kind_that_ends_in_list_without_items_is_no_list),
		cmocka_unit_test(a_kind_whose_name_is_part_of_anothers_is_named_too),
		cmocka_unit_test(values_too_long_for_an_error_are_cut),
		cmocka_unit_test(nesting_has_a_limit),
		cmocka_unit_test(
			A3_the_proxy_name_label_and_the_exclude_annotation_make_a_service_not_ours),
		cmocka_unit_test(A5_each_family_has_the_address_that_is_of_it),
		cmocka_unit_test(A10_a_slice_ports_protocol_is_tcp_unless_it_says_so),
		cmocka_unit_test(A12_who_manages_a_slice_does_not_matter),
		cmocka_unit_test(A16_leading_zeros_are_decimal_wherever_an_address_stands),
		cmocka_unit_test(B3_endpoints_say_on_which_node_they_are),
		cmocka_unit_test(B5_hints_are_decoded_and_an_empty_list_is_none),
		cmocka_unit_test(B7_traffic_distribution_and_topology_annotations_are_not_read),
		cmocka_unit_test(B7_a_nodes_zone_and_addresses_are_decoded),
		cmocka_unit_test(I1_a_node_that_is_deleted_or_about_to_be_is_leaving),
		cmocka_unit_test(B9_traffic_policies_are_cluster_unless_they_say_local),
		cmocka_unit_test(C6_node_ports_are_decoded_and_0_is_none),
		cmocka_unit_test(a_fraction_that_rounds_to_no_node_port_is_refused),
		cmocka_unit_test(C8_external_ips_are_decoded),
		cmocka_unit_test(C9_ingress_addresses_with_the_mode_vip_or_none_are_decoded),
		cmocka_unit_test(C10_source_ranges_may_have_white_space_around_them),
		cmocka_unit_test(D1_affinity_lasts_3_hours_unless_its_timeout_says_otherwise),
		cmocka_unit_test(a_timeout_that_is_a_fraction_is_refused),
		cmocka_unit_test(out_of_memory_in_the_decoder_is_enomem),
		cmocka_unit_test_setup_teardown(out_of_memory_in_the_json_library_leaks_nothing,
						hook_json, unhook_json),
		cmocka_unit_test_setup_teardown(out_of_memory_in_the_json_library_is_enomem,
						hook_json, unhook_json),
	};

	return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}

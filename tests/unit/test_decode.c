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
	say("%s%s%s", service->headless ? " headless" : "", service->not_ours ? " not-ours" : "",
	    service->publish_not_ready ? " publish-not-ready" : "");
	say_labels(service->selector, service->n_selector);
	for (size_t i = 0; i < service->n_ports; i++) {
		const struct rd_service_port *port = &service->ports[i];

		say(" [%s/%s %u>", port->name, protocol_name(port->protocol), port->port);
		if (port->target_name)
			say("%s]", port->target_name);
		else
			say("%u]", port->target_number);
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
	for (size_t i = 0; i < slice->n_subsets; i++) {
		const struct rd_subset *subset = &slice->subsets[i];

		say(" (");
		say_ports(subset->ports, subset->n_ports);
		for (size_t e = 0; e < subset->n_endpoints; e++) {
			const struct rd_slice_endpoint *endpoint = &subset->endpoints[e];

			say_ip(&endpoint->ip);
			say(":%s%s%s", endpoint->ready ? "R" : "", endpoint->serving ? "S" : "",
			    endpoint->terminating ? "T" : "");
		}
		say(" )");
	}
}

static void say_pod(const struct rd_pod_spec *pod)
{
	say_ip(&pod->ip[0]);
	say_ip(&pod->ip[1]);
	say("%s%s%s", pod->ready ? " ready" : "", pod->terminating ? " terminating" : "",
	    pod->ended ? " ended" : "");
	say_labels(pod->labels, pod->n_labels);
	say_ports(pod->ports, pod->n_ports);
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
	expect_file("tests/data/kube-api/services-list.json",
		    "Service default/kubernetes ClusterIP 10.96.0.1 [https/TCP 443>16443]\n"
		    "Service example/backend-service ClusterIP 10.96.151.12 [/TCP 5000>5000]\n"
		    "Service example/dns ClusterIP 10.96.0.10 [dns/UDP 53>53] [dns-tcp/TCP 53>53]\n"
		    "Service example/empty ClusterIP 10.96.30.30 [/TCP 80>8080]\n"
		    "Service example/frontend-service NodePort 10.96.173.32 [/TCP 3000>3000]\n"
		    "Service example/lb LoadBalancer 10.96.40.40 [/TCP 443>8443]\n"
		    "Service example/sticky ClusterIP 10.96.20.20 [/TCP 80>8080]");
}

TEST(a_recorded_list_of_slices_is_decoded)
{
	static const char three[] = "10.244.0.5:RS 10.244.0.6:RS 10.244.1.9:RS )";
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
	expect_file("tests/data/kube-api/nodes-list.json", "Node /node1");
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
		 "Service shop/web NodePort 10.96.0.1 app=web tier= [http/TCP 80>8080] "
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
		 "Service default/web ExternalName"},
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
		 "{\"Type\":\"NodePort\",\"CLUSTERIP\":\"None\",\"sessionAffinity\":\"ClientIP\","
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
		/* B1. */
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
		/* A14. */
		{SLICE("\"addressType\":\"IPv4\",\"endpoints\":null,\"ports\":null"),
		 "EndpointSlice default/web-1 of \"web\" ( )"},
		{"{" SLICE_OF_WEB "}", "EndpointSlice default/web-1 of \"web\" ( )"},
		/* A10: no port at all; an absent name is "". */
		{SLICE("\"ports\":[{\"name\":null,\"port\":80},{\"name\":\"a\",\"port\":null},"
		       "{\"name\":\"b\"},{\"name\":\"c\",\"port\":0},{\"name\":\"d\",\"port\":1},"
		       "{\"port\":2,\"protocol\":null}]"),
		 "EndpointSlice default/web-1 of \"web\" ( [d/TCP 1] [/TCP 2] )"},
		/* A11: only the first address; none is no endpoint; FQDN is ignored. */
		{SLICE("\"endpoints\":[{\"addresses\":[\"10.0.0.1\",\"10.0.0.2\",\"x\"]},"
		       "{\"addresses\":[]},{\"addresses\":null},{}]"),
		 "EndpointSlice default/web-1 of \"web\" ( 10.0.0.1:RS )"},
		{SLICE("\"addressType\":\"FQDN\",\"ports\":[{\"port\":80}],\"endpoints\":"
		       "[{\"addresses\":[\"example.com\"]}]"),
		 "EndpointSlice default/web-1 of \"web\" ignored ( )"},
		{SLICE("\"addressType\":\"IPv6\",\"endpoints\":[{\"addresses\":[\"fd00::1\"]}]"),
		 "EndpointSlice default/web-1 of \"web\" ( fd00::1:RS )"},
		/* A16. */
		{SLICE("\"endpoints\":[{\"addresses\":[\"010.0.0.08\"]}]"),
		 "EndpointSlice default/web-1 of \"web\" ( 10.0.0.8:RS )"},
		/* A12: without an owner, or with an empty one. */
		{"{\"apiVersion\":\"discovery.k8s.io/"
		 "v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"a\"}}",
		 "EndpointSlice default/a of \"\" ( )"},
		{"{\"apiVersion\":\"discovery.k8s.io/"
		 "v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"a\",\"labels\":"
		 "{\"kubernetes.io/service-name\":\"\"}}}",
		 "EndpointSlice default/a of \"\" ( )"},
		/* A4: whatever the label's value. */
		{"{\"apiVersion\":\"discovery.k8s.io/"
		 "v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"a\",\"labels\":"
		 "{\"kubernetes.io/service-name\":\"web\",\"service.kubernetes.io/headless\":"
		 "\"\"}},\"endpoints\":[{\"addresses\":[\"10.0.0.1\"]}]}",
		 "EndpointSlice default/a of \"web\" ignored ( )"},
		/* A name is a subdomain, with dots. */
		{"{\"apiVersion\":\"discovery.k8s.io/"
		 "v1\",\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/"
		 "v1\",\"metadata\":"
		 "{\"name\":\"a.b-c.1\"}}",
		 "EndpointSlice default/a.b-c.1 of \"\" ( )"},
	};

	EXPECT_OBJECTS(rows);
}

TEST(endpoints_are_decoded_as_the_mirroring_controller_would)
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
		/* A18: skip-mirror only where it is "true"; the leader's annotation
		 * whatever it says. */
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

/* ---- out of memory ------------------------------------------------------------------------- */

static const char everything[] =
	"{\"kind\":\"List\",\"items\":["
	"{\"kind\":\"Service\",\"metadata\":{\"name\":\"web\"},\"spec\":{\"selector\":{\"a\":\"b\","
	"\"c\":\"d\"},\"clusterIPs\":[\"10.96.0.1\"],\"ports\":[{\"name\":\"a\",\"port\":80,"
	"\"targetPort\":\"http\"},{\"name\":\"b\",\"port\":81}]}},"
	"{" SLICE_OF_WEB ",\"ports\":[{\"name\":\"a\",\"port\":80},{\"name\":\"b\",\"port\":81}],"
	"\"endpoints\":[{\"addresses\":[\"10.0.0.1\"]},{\"addresses\":[\"10.0.0.2\"]}]},"
	"{\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"web\"},\"subsets\":[{\"addresses\":"
	"[{\"ip\":\"10.0.0.1\"}],\"ports\":[{\"name\":\"a\",\"port\":1}]},{\"notReadyAddresses\":"
	"[{\"ip\":\"10.0.0.1\"}],\"ports\":[{\"name\":\"a\",\"port\":1}]}]},"
	"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"labels\":{\"a\":\"b\"}},\"spec\":"
	"{\"containers\":[{\"ports\":[{\"name\":\"x\",\"containerPort\":1},{\"containerPort\":2},"
	"{\"containerPort\":3}]}]}},"
	"{\"kind\":\"Secret\"},"
	"{\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"}}]}";

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
	run_out_of_memory(30);
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
	run_out_of_memory(200);
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
		cmocka_unit_test(endpoints_are_decoded_as_the_mirroring_controller_would),
		cmocka_unit_test(pods_are_decoded_with_the_defaults_of_the_api),
		cmocka_unit_test(an_object_without_an_api_version_is_taken_by_its_kind),
		cmocka_unit_test(lists_are_decoded_with_and_without_kinds_on_their_items),
		cmocka_unit_test(documents_add_to_what_was_decoded_before),
		cmocka_unit_test(kinds_that_are_not_used_are_counted_and_named_once),
		cmocka_unit_test(a_kind_of_another_api_group_is_another_kind),
		cmocka_unit_test(more_kinds_than_have_room_are_counted_all_the_same),
		cmocka_unit_test(creation_times_are_seconds_since_the_epoch),
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
		cmocka_unit_test(out_of_memory_in_the_decoder_is_enomem),
		cmocka_unit_test_setup_teardown(out_of_memory_in_the_json_library_leaks_nothing,
						hook_json, unhook_json),
		cmocka_unit_test_setup_teardown(out_of_memory_in_the_json_library_is_enomem,
						hook_json, unhook_json),
	};

	return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}

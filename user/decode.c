// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "decode.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include "json.h"

/* The limits of the Kubernetes API (RFC 1123): labels and subdomains. */
#define LABEL_LENGTH (RD_LABEL_MAX - 1)
#define SUBDOMAIN_LENGTH 253

/* Of sessionAffinityConfig.clientIP.timeoutSeconds (D1). */
#define MAX_AFFINITY_SECONDS 86400
#define DEFAULT_AFFINITY_SECONDS 10800

/* ---- times ------------------------------------------------------------------ */

/* Seconds since the epoch; `ret_end` is what follows them. NULL: it is no time. */
static int64_t parse_seconds(const char *text, const char **ret_end)
{
	struct tm tm = {0};

	*ret_end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	return *ret_end ? (int64_t)timegm(&tm) : 0;
}

/* As creationTimestamp has it: RFC 3339 in UTC, whole seconds. 0: it is not. */
static int64_t parse_time(const char *text)
{
	const char *end;
	int64_t seconds = parse_seconds(text, &end);

	return end && *end == 'Z' ? seconds : 0;
}

/* Nanoseconds since the epoch, from the same with a fraction or without. */
static int64_t parse_time_ns(const char *text)
{
	int64_t ns, unit = 100000000;
	const char *c;

	if (__builtin_mul_overflow(parse_seconds(text, &c), (int64_t)1000000000, &ns) || !c)
		return 0;
	if (*c == '.')
		for (c++; isdigit((unsigned char)*c); c++, unit /= 10)
			if (__builtin_add_overflow(ns, unit * (*c - '0'), &ns))
				return 0;
	return *c == 'Z' && !c[1] && ns > 0 ? ns : 0;
}

/* ---- reading fields -------------------------------------------------------- */

/* A port number from a JSON number: 1..65535. */
static int to_port(const struct rd_json_place *place, const cJSON *item, const char *key,
		   uint16_t *ret_port)
{
	if (!cJSON_IsNumber(item))
		return rd_json_fail(place, "%s must be a number", key);
	if (item->valuedouble != (double)item->valueint || item->valueint < 1 ||
	    item->valueint > 65535)
		return rd_json_fail(place, "%s %g is not a port, which is 1 to 65535", key,
				    item->valuedouble);
	*ret_port = (uint16_t)item->valueint;
	return 0;
}

static int get_protocol(const struct rd_json_place *place, const cJSON *parent,
			uint8_t *ret_protocol)
{
	const char *text;
	int r = rd_json_string(place, parent, "protocol", "TCP", &text);

	if (r)
		return r;
	if (!strcmp(text, "TCP"))
		*ret_protocol = IPPROTO_TCP;
	else if (!strcmp(text, "UDP"))
		*ret_protocol = IPPROTO_UDP;
	else if (!strcmp(text, "SCTP"))
		*ret_protocol = IPPROTO_SCTP;
	else
		return rd_json_fail(place, "protocol \"%.32s\" is none of TCP, UDP and SCTP", text);
	return 0;
}

static int to_ip(const struct rd_json_place *place, const char *text, const char *key,
		 struct rd_ip *ret_ip)
{
	if (rd_ip_parse(text, ret_ip))
		return rd_json_fail(place, "%s \"%.64s\" is not an IP address", key, text);
	return 0;
}

static int copy_string(const char *text, char **ret_copy)
{
	*ret_copy = strdup(text);
	return *ret_copy ? 0 : -ENOMEM;
}

static bool is_name(const char *text, size_t longest, bool dots)
{
	size_t n = strlen(text);

	if (!n || n > longest)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool inner = i > 0 && i + 1 < n;
		unsigned char c = (unsigned char)text[i];

		if (!islower(c) && !isdigit(c) && !(inner && (c == '-' || (dots && c == '.'))))
			return false;
	}
	return true;
}

/* Labels that DNS can carry: the API is not as strict about names of others. */
static bool is_domain(const char *text)
{
	size_t label = 0;

	if (strlen(text) > SUBDOMAIN_LENGTH)
		return false;
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '.' ? !label : !isalnum(c) && c != '-' && c != '_')
			return false;
		label = c == '.' ? 0 : label + 1;
		if (label > LABEL_LENGTH)
			return false;
	}
	return label > 0;
}

/* A port's name: "" or a label. */
static int get_port_name(const struct rd_json_place *place, const cJSON *parent, char **ret_name)
{
	const char *text;
	int r = rd_json_string(place, parent, "name", "", &text);

	if (r)
		return r;
	if (*text && !is_name(text, LABEL_LENGTH, false))
		return rd_json_fail(place, "port name \"%.64s\" is not a DNS label", text);
	return copy_string(text, ret_name);
}

/* A name that may be missing: NULL then. */
static int get_name(const struct rd_json_place *place, const cJSON *parent, const char *key,
		    size_t longest, bool dots, char **ret_name)
{
	const char *text;
	int r = rd_json_string(place, parent, key, "", &text);

	if (r || !*text)
		return r;
	if (!is_name(text, longest, dots))
		return rd_json_fail(place, "%s \"%.64s\" is not a DNS %s", key, text,
				    dots ? "name" : "label");
	return copy_string(text, ret_name);
}

/* Allocate room for as many elements as the array has (at least one, so that
 * NULL always means out of memory). */
static void *elements(const cJSON *array, size_t size)
{
	return calloc((size_t)cJSON_GetArraySize(array) + 1, size);
}

static int get_labels(const struct rd_json_place *place, const cJSON *parent, const char *key,
		      struct rd_label **labels, size_t *n)
{
	const cJSON *object, *item;
	int r = rd_json_object(place, parent, key, &object);

	if (r)
		return r;
	*labels = elements(object, sizeof(**labels));
	if (!*labels)
		return -ENOMEM;
	cJSON_ArrayForEach(item, object) {
		struct rd_label *label = &(*labels)[*n];

		if (!cJSON_IsString(item))
			return rd_json_fail(place, "%s.%.64s must be a string", key, item->string);
		++*n;
		if (copy_string(item->string, &label->key) ||
		    copy_string(item->valuestring, &label->value))
			return -ENOMEM;
	}
	return 0;
}

/* A list of IP addresses. */
static int get_ips(const struct rd_json_place *place, const cJSON *parent, const char *key,
		   struct rd_ip **ips, size_t *n)
{
	const cJSON *list, *item;
	int r = rd_json_array(place, parent, key, &list);

	if (r)
		return r;
	*ips = elements(list, sizeof(**ips));
	if (!*ips)
		return -ENOMEM;
	cJSON_ArrayForEach(item, list) {
		if (!cJSON_IsString(item))
			return rd_json_fail(place, "%s must hold strings", key);
		r = to_ip(place, item->valuestring, key, &(*ips)[*n]);
		if (r)
			return r;
		++*n;
	}
	return 0;
}

/* ---- Service ---------------------------------------------------------------- */

static int decode_type(const struct rd_json_place *place, const cJSON *spec,
		       struct rd_service_spec *service)
{
	static const char *const names[] = {
		[RD_TYPE_CLUSTER_IP] = "ClusterIP",
		[RD_TYPE_NODE_PORT] = "NodePort",
		[RD_TYPE_LOAD_BALANCER] = "LoadBalancer",
		[RD_TYPE_EXTERNAL_NAME] = "ExternalName",
	};
	const char *text;
	int r = rd_json_string(place, spec, "type", names[RD_TYPE_CLUSTER_IP], &text);

	if (r)
		return r;
	for (size_t i = 0; i < RD_ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], text))
			continue;
		service->type = (enum rd_service_type)i;
		return 0;
	}
	return rd_json_fail(place, "type \"%.32s\" is not a Service type", text);
}

static int decode_cluster_ip(const struct rd_json_place *place, const char *text,
			     struct rd_service_spec *service)
{
	struct rd_ip ip;
	struct rd_ip *of_family;
	int r;

	if (!*text)
		return 0;
	if (!strcmp(text, "None")) {
		service->headless = true;
		return 0;
	}
	r = to_ip(place, text, "clusterIP", &ip);
	if (r)
		return r;
	of_family = &service->cluster_ip[ip.family == RD_FAMILY_6];
	if (of_family->family && rd_ip_compare(of_family, &ip))
		return rd_json_fail(place, "clusterIPs has two addresses of one family");
	*of_family = ip;
	return 0;
}

static int decode_cluster_ips(const struct rd_json_place *place, const cJSON *spec,
			      struct rd_service_spec *service)
{
	const cJSON *list, *item;
	const char *text;
	int r = rd_json_string(place, spec, "clusterIP", "", &text)
			?: decode_cluster_ip(place, text, service);

	r = r ?: rd_json_array(place, spec, "clusterIPs", &list);
	if (r)
		return r;
	cJSON_ArrayForEach(item, list) {
		if (!cJSON_IsString(item))
			return rd_json_fail(place, "clusterIPs must hold strings");
		r = decode_cluster_ip(place, item->valuestring, service);
		if (r)
			return r;
	}
	return 0;
}

static int decode_target(const struct rd_json_place *place, const cJSON *item,
			 struct rd_service_port *port)
{
	const cJSON *target = rd_json_member(item, "targetPort");

	if (!target || (cJSON_IsNumber(target) && target->valuedouble == 0))
		return 0;
	if (!cJSON_IsString(target))
		return to_port(place, target, "targetPort", &port->target_number);
	/* A port's name has a letter in it; "80" in quotes is a slip. */
	if (!is_name(target->valuestring, LABEL_LENGTH, false) ||
	    strspn(target->valuestring, "0123456789-") == strlen(target->valuestring))
		return rd_json_fail(place,
				    "targetPort \"%.64s\" is neither a number nor a port's name",
				    target->valuestring);
	return copy_string(target->valuestring, &port->target_name);
}

/* The nodePort, if there is one; 0 means none. */
static int decode_node_port(const struct rd_json_place *place, const cJSON *item,
			    struct rd_service_port *port)
{
	const cJSON *number = rd_json_member(item, "nodePort");

	if (!number || (cJSON_IsNumber(number) && number->valuedouble == 0))
		return 0;
	return to_port(place, number, "nodePort", &port->node_port);
}

static int decode_health_check_port(const struct rd_json_place *place, const cJSON *spec,
				    struct rd_service_spec *service)
{
	const cJSON *number = rd_json_member(spec, "healthCheckNodePort");

	if (!number || (cJSON_IsNumber(number) && number->valuedouble == 0))
		return 0;
	return to_port(place, number, "healthCheckNodePort", &service->health_check_port);
}

/* The API server refuses these too: names and (port, protocol) are unique, and
 * only a single port may be without a name. */
static int check_service_port(const struct rd_json_place *place,
			      const struct rd_service_spec *service,
			      const struct rd_service_port *port, int n_ports)
{
	if (n_ports > 1 && !*port->name)
		return rd_json_fail(place, "port %u needs a name, because there are several",
				    port->port);
	for (const struct rd_service_port *other = service->ports; other < port; other++) {
		if (!strcmp(other->name, port->name))
			return rd_json_fail(place, "port name \"%s\" appears twice", port->name);
		if (other->port == port->port && other->protocol == port->protocol)
			return rd_json_fail(place, "port %u appears twice", port->port);
	}
	return 0;
}

static int decode_service_ports(const struct rd_json_place *place, const cJSON *spec,
				struct rd_service_spec *service)
{
	const cJSON *list, *item;
	int r = rd_json_array(place, spec, "ports", &list);

	if (r)
		return r;
	service->ports = elements(list, sizeof(*service->ports));
	if (!service->ports)
		return -ENOMEM;
	cJSON_ArrayForEach(item, list) {
		struct rd_service_port *port = &service->ports[service->n_ports++];

		r = get_port_name(place, item, &port->name)
			    ?: get_protocol(place, item, &port->protocol);
		r = r
			    ?: to_port(place, cJSON_GetObjectItemCaseSensitive(item, "port"),
				       "port", &port->port);
		r = r ?: decode_target(place, item, port);
		r = r ?: decode_node_port(place, item, port);
		r = r ?: check_service_port(place, service, port, cJSON_GetArraySize(list));
		if (r)
			return r;
	}
	if (!service->n_ports && !service->headless && service->type != RD_TYPE_EXTERNAL_NAME)
		return rd_json_fail(place, "has no ports");
	return 0;
}

/* A traffic policy: Cluster, unless it says Local. */
static int get_policy(const struct rd_json_place *place, const cJSON *spec, const char *key,
		      bool *ret_local)
{
	const char *text;
	int r = rd_json_string(place, spec, key, "Cluster", &text);

	if (r)
		return r;
	if (strcmp(text, "Cluster") && strcmp(text, "Local"))
		return rd_json_fail(place, "%s \"%.32s\" is neither Cluster nor Local", key, text);
	*ret_local = !strcmp(text, "Local");
	return 0;
}

/* sessionAffinity and its timeout (D1). */
static int decode_affinity(const struct rd_json_place *place, const cJSON *spec,
			   struct rd_service_spec *service)
{
	const cJSON *config, *client_ip, *timeout;
	const char *text;
	int r = rd_json_string(place, spec, "sessionAffinity", "None", &text);

	r = r ?: rd_json_object(place, spec, "sessionAffinityConfig", &config);
	r = r ?: rd_json_object(place, config, "clientIP", &client_ip);
	if (r || !strcmp(text, "None"))
		return r;
	if (strcmp(text, "ClientIP"))
		return rd_json_fail(place, "sessionAffinity \"%.32s\" is neither None nor ClientIP",
				    text);
	timeout = rd_json_member(client_ip, "timeoutSeconds");
	if (timeout && (!cJSON_IsNumber(timeout) || timeout->valuedouble != timeout->valueint ||
			timeout->valueint < 1 || timeout->valueint > MAX_AFFINITY_SECONDS))
		return rd_json_fail(place, "timeoutSeconds must be a number from 1 to %d",
				    MAX_AFFINITY_SECONDS);
	service->affinity_seconds =
		timeout ? (uint32_t)timeout->valueint : DEFAULT_AFFINITY_SECONDS;
	return 0;
}

/* A load balancer's addresses: those that a node is to serve itself (C9). */
static int decode_ingress(const struct rd_json_place *place, const cJSON *root,
			  struct rd_service_spec *service)
{
	const cJSON *status, *balancer, *list, *item;
	const char *ip, *mode;
	int r = rd_json_object(place, root, "status", &status);

	r = r ?: rd_json_object(place, status, "loadBalancer", &balancer);
	r = r ?: rd_json_array(place, balancer, "ingress", &list);
	if (r)
		return r;
	service->lb_ips = elements(list, sizeof(*service->lb_ips));
	if (!service->lb_ips)
		return -ENOMEM;
	cJSON_ArrayForEach(item, list) {
		r = rd_json_string(place, item, "ip", "", &ip)
			    ?: rd_json_string(place, item, "ipMode", "VIP", &mode);
		if (!r && *ip && !strcmp(mode, "VIP"))
			r = to_ip(place, ip, "ingress ip", &service->lb_ips[service->n_lb_ips++]);
		if (r)
			return r;
	}
	return 0;
}

/* The text without white space around it, which the API allows (C10). */
static int copy_trimmed(const char *from, char to[RD_IP_TEXT])
{
	static const char space[] = " \t\n\v\f\r";
	size_t n;

	from += strspn(from, space);
	n = strcspn(from, space);
	if (n >= RD_IP_TEXT || from[n + strspn(from + n, space)])
		return -EINVAL;
	memcpy(to, from, n);
	to[n] = '\0';
	return 0;
}

static int decode_source_ranges(const struct rd_json_place *place, const cJSON *spec,
				struct rd_service_spec *service)
{
	const cJSON *list, *item;
	int r = rd_json_array(place, spec, "loadBalancerSourceRanges", &list);

	if (r)
		return r;
	service->source_ranges = elements(list, sizeof(*service->source_ranges));
	if (!service->source_ranges)
		return -ENOMEM;
	cJSON_ArrayForEach(item, list) {
		char text[RD_IP_TEXT];

		if (!cJSON_IsString(item))
			return rd_json_fail(place, "loadBalancerSourceRanges must hold strings");
		if (copy_trimmed(item->valuestring, text) ||
		    rd_cidr_parse(text, &service->source_ranges[service->n_source_ranges++]))
			return rd_json_fail(place,
					    "loadBalancerSourceRanges \"%.64s\" is not a network",
					    item->valuestring);
	}
	return 0;
}

/* Whom an ExternalName stands for. It may end with a dot. */
static int decode_external_name(const struct rd_json_place *place, const cJSON *spec,
				struct rd_service_spec *service)
{
	const char *text;
	int r = rd_json_string(place, spec, "externalName", "", &text);
	size_t n;

	if (r || !*text || service->type != RD_TYPE_EXTERNAL_NAME)
		return r;
	r = copy_string(text, &service->external_name);
	if (r)
		return r;
	n = strlen(text);
	if (n > 1 && text[n - 1] == '.')
		service->external_name[n - 1] = '\0';
	if (!is_domain(service->external_name))
		return rd_json_fail(place, "externalName \"%.64s\" is not a DNS name", text);
	return 0;
}

static int decode_service(const struct rd_json_place *place, const cJSON *root,
			  struct rd_object *object)
{
	struct rd_service_spec *service = &object->service;
	const cJSON *meta = rd_json_member(root, "metadata");
	const cJSON *spec, *labels, *annotations;
	const char *exclude;
	int r = rd_json_object(place, root, "spec", &spec);

	r = r ?: rd_json_object(place, meta, "labels", &labels);
	r = r ?: rd_json_object(place, meta, "annotations", &annotations);
	r = r ?: rd_json_string(place, annotations, "redial.io/exclude", "false", &exclude);
	if (r)
		return r;
	service->not_ours = rd_json_has(labels, "service.kubernetes.io/service-proxy-name") ||
			    !strcmp(exclude, "true");
	r = decode_type(place, spec, service);
	r = r ?: decode_cluster_ips(place, spec, service);
	r = r ?: decode_affinity(place, spec, service);
	r = r ?: get_policy(place, spec, "internalTrafficPolicy", &service->internal_local);
	r = r ?: get_policy(place, spec, "externalTrafficPolicy", &service->external_local);
	r = r ?: decode_health_check_port(place, spec, service);
	r = r
		    ?: get_ips(place, spec, "externalIPs", &service->external_ips,
			       &service->n_external_ips);
	r = r ?: decode_ingress(place, root, service);
	r = r ?: decode_source_ranges(place, spec, service);
	r = r
		    ?: rd_json_bool(place, spec, "publishNotReadyAddresses", false,
				    &service->publish_not_ready);
	r = r ?: get_labels(place, spec, "selector", &service->selector, &service->n_selector);
	r = r ?: decode_external_name(place, spec, service);
	return r ?: decode_service_ports(place, spec, service);
}

/* ---- EndpointSlice and Endpoints -------------------------------------------- */

/* A port that is null or has a null name or number is no port (A10); an absent
 * name is the API's default, "". */
static bool is_no_port(const cJSON *item)
{
	const cJSON *port = rd_json_member(item, "port");

	return cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(item, "name")) || !port ||
	       (cJSON_IsNumber(port) && port->valuedouble == 0);
}

static int decode_slice_ports(const struct rd_json_place *place, const cJSON *parent,
			      struct rd_subset *subset)
{
	const cJSON *list, *item;
	int r = rd_json_array(place, parent, "ports", &list);

	if (r)
		return r;
	subset->ports = elements(list, sizeof(*subset->ports));
	if (!subset->ports)
		return -ENOMEM;
	cJSON_ArrayForEach(item, list) {
		struct rd_slice_port *port = &subset->ports[subset->n_ports];

		if (is_no_port(item))
			continue;
		subset->n_ports++;
		r = get_port_name(place, item, &port->name)
			    ?: get_protocol(place, item, &port->protocol);
		r = r ?: to_port(place, rd_json_member(item, "port"), "port", &port->port);
		if (r)
			return r;
	}
	return 0;
}

/* The `key` of each element of a list of hints, NULL-terminated. */
static int get_hints(const struct rd_json_place *place, const cJSON *hints, const char *list_key,
		     char ***ret_names)
{
	const cJSON *list, *item;
	const char *name;
	size_t n = 0;
	int r = rd_json_array(place, hints, list_key, &list);

	if (r || !list || !cJSON_GetArraySize(list))
		return r;
	*ret_names = elements(list, sizeof(**ret_names));
	if (!*ret_names)
		return -ENOMEM;
	cJSON_ArrayForEach(item, list) {
		r = rd_json_string(place, item, "name", "", &name);
		r = r ?: copy_string(name, &(*ret_names)[n++]);
		if (r)
			return r;
	}
	return 0;
}

/* What of an endpoint says where it is, and for whom it is meant (B3, B5). */
static int decode_topology(const struct rd_json_place *place, const cJSON *item,
			   struct rd_slice_endpoint *endpoint)
{
	const char *node;
	const cJSON *hints;
	int r = rd_json_string(place, item, "nodeName", "", &node);

	r = r ?: rd_json_object(place, item, "hints", &hints);
	if (!r && *node)
		r = copy_string(node, &endpoint->node);
	r = r ?: get_hints(place, hints, "forZones", &endpoint->hint_zones);
	return r ?: get_hints(place, hints, "forNodes", &endpoint->hint_nodes);
}

static int decode_slice_endpoint(const struct rd_json_place *place, const cJSON *item, int family,
				 struct rd_subset *subset)
{
	struct rd_slice_endpoint *endpoint = &subset->endpoints[subset->n_endpoints];
	const cJSON *addresses, *conditions, *first;
	int r = rd_json_array(place, item, "addresses", &addresses);

	r = r ?: rd_json_object(place, item, "conditions", &conditions);
	if (r)
		return r;
	/* Only the first address counts, and without one it is no endpoint (A11). */
	first = cJSON_GetArrayItem(addresses, 0);
	if (!first)
		return 0;
	if (!cJSON_IsString(first))
		return rd_json_fail(place, "addresses must hold strings");
	r = to_ip(place, first->valuestring, "address", &endpoint->ip);
	if (r)
		return r;
	if (endpoint->ip.family != family)
		return rd_json_fail(place, "address %.64s is not of the slice's addressType",
				    first->valuestring);
	/* The defaults of absent conditions: B1. */
	r = rd_json_bool(place, conditions, "ready", true, &endpoint->ready);
	r = r ?: rd_json_bool(place, conditions, "serving", true, &endpoint->serving);
	r = r ?: rd_json_bool(place, conditions, "terminating", false, &endpoint->terminating);
	subset->n_endpoints++;
	r = r ?: get_name(place, item, "hostname", LABEL_LENGTH, false, &endpoint->hostname);
	return r ?: decode_topology(place, item, endpoint);
}

/* When what the endpoints follow from last changed (I3). It is for measuring
 * only: whatever it says, the endpoints are good. */
static int64_t trigger_time(const cJSON *annotations)
{
	const cJSON *time =
		rd_json_member(annotations, "endpoints.kubernetes.io/last-change-trigger-time");

	return cJSON_IsString(time) ? parse_time_ns(time->valuestring) : 0;
}

static int decode_slice(const struct rd_json_place *place, const cJSON *root,
			struct rd_object *object)
{
	struct rd_slice_spec *slice = &object->slice;
	const cJSON *meta = rd_json_member(root, "metadata");
	const cJSON *labels, *annotations, *list, *item;
	const char *service, *type;
	int family;
	int r = rd_json_object(place, meta, "labels", &labels);

	r = r ?: rd_json_object(place, meta, "annotations", &annotations);
	r = r ?: rd_json_string(place, labels, "kubernetes.io/service-name", "", &service);
	r = r ?: rd_json_string(place, root, "addressType", "IPv4", &type);
	r = r ?: rd_json_array(place, root, "endpoints", &list);
	r = r ?: copy_string(service, &slice->service);
	if (r)
		return r;
	slice->triggered_ns = trigger_time(annotations);
	slice->headless = rd_json_has(labels, "service.kubernetes.io/headless");
	slice->ignored = slice->headless || !strcmp(type, "FQDN");
	family = !strcmp(type, "IPv4") ? RD_FAMILY_4 : RD_FAMILY_6;
	if (strcmp(type, "IPv4") && strcmp(type, "IPv6") && strcmp(type, "FQDN"))
		return rd_json_fail(place, "addressType \"%.32s\" is none of IPv4, IPv6 and FQDN",
				    type);
	slice->subsets = calloc(1, sizeof(*slice->subsets));
	if (!slice->subsets)
		return -ENOMEM;
	slice->n_subsets = 1;
	slice->subsets->endpoints = elements(list, sizeof(*slice->subsets->endpoints));
	if (!slice->subsets->endpoints)
		return -ENOMEM;
	if (!strcmp(type, "FQDN"))
		return 0;
	r = decode_slice_ports(place, root, slice->subsets);
	cJSON_ArrayForEach(item, list)
		r = r ?: decode_slice_endpoint(place, item, family, slice->subsets);
	return r;
}

static int decode_addresses(const struct rd_json_place *place, const cJSON *list, bool ready,
			    struct rd_subset *subset)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, list) {
		struct rd_slice_endpoint *endpoint = &subset->endpoints[subset->n_endpoints];
		const char *text, *node;
		int r = rd_json_string(place, item, "ip", "", &text)
				?: to_ip(place, text, "ip", &endpoint->ip);

		if (r)
			return r;
		/* A mirrored not-ready endpoint: serving, but not terminating (A18). */
		endpoint->ready = ready;
		endpoint->serving = true;
		subset->n_endpoints++;
		r = rd_json_string(place, item, "nodeName", "", &node);
		if (!r && *node)
			r = copy_string(node, &endpoint->node);
		r = r
			    ?: get_name(place, item, "hostname", LABEL_LENGTH, false,
					&endpoint->hostname);
		if (r)
			return r;
	}
	return 0;
}

static int decode_subset(const struct rd_json_place *place, const cJSON *item,
			 struct rd_subset *subset)
{
	const cJSON *ready, *not_ready;
	int r = rd_json_array(place, item, "addresses", &ready);

	r = r ?: rd_json_array(place, item, "notReadyAddresses", &not_ready);
	if (r)
		return r;
	subset->endpoints = calloc((size_t)cJSON_GetArraySize(ready) +
					   (size_t)cJSON_GetArraySize(not_ready) + 1,
				   sizeof(*subset->endpoints));
	if (!subset->endpoints)
		return -ENOMEM;
	r = decode_slice_ports(place, item, subset);
	r = r ?: decode_addresses(place, ready, true, subset);
	return r ?: decode_addresses(place, not_ready, false, subset);
}

/* What the mirroring controller leaves alone: A18. */
static bool is_not_mirrored(const cJSON *labels, const cJSON *annotations)
{
	const cJSON *skip = rd_json_member(labels, "endpointslice.kubernetes.io/skip-mirror");

	return (cJSON_IsString(skip) && !strcmp(skip->valuestring, "true")) ||
	       rd_json_has(annotations, "control-plane.alpha.kubernetes.io/leader");
}

static int decode_endpoints(const struct rd_json_place *place, const cJSON *root,
			    struct rd_object *object)
{
	struct rd_slice_spec *slice = &object->slice;
	const cJSON *meta = rd_json_member(root, "metadata");
	const cJSON *labels, *annotations, *list, *item;
	int r = rd_json_object(place, meta, "labels", &labels);

	r = r ?: rd_json_object(place, meta, "annotations", &annotations);
	r = r ?: rd_json_array(place, root, "subsets", &list);
	r = r ?: copy_string(object->name, &slice->service);
	if (r)
		return r;
	slice->triggered_ns = trigger_time(annotations);
	slice->ignored = is_not_mirrored(labels, annotations);
	slice->headless = rd_json_has(labels, "service.kubernetes.io/headless");
	slice->subsets = elements(list, sizeof(*slice->subsets));
	if (!slice->subsets)
		return -ENOMEM;
	cJSON_ArrayForEach(item, list) {
		r = decode_subset(place, item, &slice->subsets[slice->n_subsets++]);
		if (r)
			return r;
	}
	return 0;
}

/* ---- Pod ----------------------------------------------------------------------- */

static int decode_pod_ip(const struct rd_json_place *place, const char *text,
			 struct rd_pod_spec *pod)
{
	struct rd_ip ip;
	int r;

	if (!*text)
		return 0;
	r = to_ip(place, text, "podIP", &ip);
	if (!r)
		pod->ip[ip.family == RD_FAMILY_6] = ip;
	return r;
}

static int decode_pod_ips(const struct rd_json_place *place, const cJSON *status,
			  struct rd_pod_spec *pod)
{
	const cJSON *list, *item;
	const char *text;
	int r = rd_json_string(place, status, "podIP", "", &text)
			?: decode_pod_ip(place, text, pod);

	r = r ?: rd_json_array(place, status, "podIPs", &list);
	if (r)
		return r;
	cJSON_ArrayForEach(item, list) {
		r = rd_json_string(place, item, "ip", "", &text) ?: decode_pod_ip(place, text, pod);
		if (r)
			return r;
	}
	return 0;
}

static int decode_ready(const struct rd_json_place *place, const cJSON *status, bool *ret_ready)
{
	const cJSON *list, *item;
	const char *type, *value;
	int r = rd_json_array(place, status, "conditions", &list);
	bool ready = !list;

	if (r)
		return r;
	cJSON_ArrayForEach(item, list) {
		r = rd_json_string(place, item, "type", "", &type)
			    ?: rd_json_string(place, item, "status", "", &value);
		if (r)
			return r;
		if (!strcmp(type, "Ready"))
			ready = !strcmp(value, "True");
	}
	*ret_ready = ready;
	return 0;
}

/* Append the named ports of one container. */
static int decode_container_ports(const struct rd_json_place *place, const cJSON *container,
				  struct rd_pod_spec *pod)
{
	const cJSON *list, *item;
	int r = rd_json_array(place, container, "ports", &list);

	if (r)
		return r;
	cJSON_ArrayForEach(item, list) {
		struct rd_slice_port port = {0};

		r = rd_array_grow(&pod->ports, pod->n_ports, sizeof(*pod->ports));
		r = r ?: get_port_name(place, item, &port.name);
		if (r)
			return r;
		pod->ports[pod->n_ports++] = port;
		r = get_protocol(place, item, &pod->ports[pod->n_ports - 1].protocol);
		r = r
			    ?: to_port(place,
				       cJSON_GetObjectItemCaseSensitive(item, "containerPort"),
				       "containerPort", &pod->ports[pod->n_ports - 1].port);
		if (r)
			return r;
	}
	return 0;
}

/* The ports a named targetPort is looked up in: of the containers, then of the
 * init containers that run on beside them. */
static int decode_containers(const struct rd_json_place *place, const cJSON *spec,
			     struct rd_pod_spec *pod)
{
	const cJSON *containers, *init, *item;
	const char *restart;
	int r = rd_json_array(place, spec, "containers", &containers);

	r = r ?: rd_json_array(place, spec, "initContainers", &init);
	if (r)
		return r;
	cJSON_ArrayForEach(item, containers) {
		r = decode_container_ports(place, item, pod);
		if (r)
			return r;
	}
	cJSON_ArrayForEach(item, init) {
		r = rd_json_string(place, item, "restartPolicy", "", &restart);
		if (!r && !strcmp(restart, "Always"))
			r = decode_container_ports(place, item, pod);
		if (r)
			return r;
	}
	return 0;
}

static int decode_pod(const struct rd_json_place *place, const cJSON *root,
		      struct rd_object *object)
{
	struct rd_pod_spec *pod = &object->pod;
	const cJSON *meta = rd_json_member(root, "metadata");
	const cJSON *spec, *status;
	const char *phase, *node;
	int r = rd_json_object(place, root, "spec", &spec);

	r = r ?: rd_json_object(place, root, "status", &status);
	r = r ?: rd_json_string(place, status, "phase", "", &phase);
	r = r ?: get_labels(place, meta, "labels", &pod->labels, &pod->n_labels);
	r = r ?: decode_pod_ips(place, status, pod);
	r = r ?: decode_ready(place, status, &pod->ready);
	if (r)
		return r;
	pod->ended = !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed");
	pod->terminating = rd_json_member(meta, "deletionTimestamp") != NULL;
	r = rd_json_string(place, spec, "nodeName", "", &node);
	if (!r && *node)
		r = copy_string(node, &pod->node);
	r = r ?: get_name(place, spec, "hostname", LABEL_LENGTH, false, &pod->hostname);
	r = r ?: get_name(place, spec, "subdomain", LABEL_LENGTH, false, &pod->subdomain);
	if (r)
		return r;
	return decode_containers(place, spec, pod);
}

/* ---- Node --------------------------------------------------------------------- */

static int decode_node(const struct rd_json_place *place, const cJSON *root,
		       struct rd_object *object)
{
	struct rd_node_spec *node = &object->node;
	const cJSON *meta = rd_json_member(root, "metadata");
	const cJSON *labels, *status, *list, *item;
	const cJSON *spec, *taints;
	const char *zone, *type, *address, *key;
	int r = rd_json_object(place, meta, "labels", &labels);

	r = r ?: rd_json_string(place, labels, "topology.kubernetes.io/zone", "", &zone);
	r = r ?: rd_json_object(place, root, "status", &status);
	r = r ?: rd_json_array(place, status, "addresses", &list);
	r = r ?: rd_json_object(place, root, "spec", &spec);
	r = r ?: rd_json_array(place, spec, "taints", &taints);
	if (!r && *zone)
		r = copy_string(zone, &node->zone);
	if (r)
		return r;
	node->leaving = rd_json_member(meta, "deletionTimestamp") != NULL;
	cJSON_ArrayForEach(item, taints) {
		r = rd_json_string(place, item, "key", "", &key);
		if (r)
			return r;
		node->leaving |= !strcmp(key, "ToBeDeletedByClusterAutoscaler");
	}
	node->addresses = elements(list, sizeof(*node->addresses));
	if (!node->addresses)
		return -ENOMEM;
	cJSON_ArrayForEach(item, list) {
		r = rd_json_string(place, item, "type", "", &type);
		r = r ?: rd_json_string(place, item, "address", "", &address);
		if (!r && (!strcmp(type, "InternalIP") || !strcmp(type, "ExternalIP")))
			r = to_ip(place, address, "address", &node->addresses[node->n_addresses++]);
		if (r)
			return r;
	}
	return 0;
}

/* ---- documents ------------------------------------------------------------------ */

static const struct kind {
	const char *api_group; /* of apiVersion, without the version */
	int (*decode)(const struct rd_json_place *place, const cJSON *root,
		      struct rd_object *object);
	bool cluster_scoped;
	bool label_name; /* the name is a DNS label, not a subdomain */
} kinds[] = {
	[RD_SERVICE] = {.api_group = "", .decode = decode_service, .label_name = true},
	[RD_SLICE] = {.api_group = "discovery.k8s.io", .decode = decode_slice},
	[RD_ENDPOINTS] = {.api_group = "", .decode = decode_endpoints},
	[RD_POD] = {.api_group = "", .decode = decode_pod},
	[RD_NODE] = {.api_group = "", .decode = decode_node, .cluster_scoped = true},
};
_Static_assert(RD_ARRAY_SIZE(kinds) == RD_KINDS, "a decoder for every kind");

/* The kind of that name and API group, or RD_KINDS. An object without an
 * apiVersion is taken by its kind alone, as items of an API list are. */
static enum rd_kind find_kind(const char *kind, const char *api_version)
{
	for (unsigned i = 0; i < RD_KINDS; i++) {
		size_t group = strlen(kinds[i].api_group);
		const char *slash = strchr(api_version, '/');

		if (strcmp(rd_kind_name(i), kind))
			continue;
		if (!*api_version || ((slash ? (size_t)(slash - api_version) : 0) == group &&
				      !strncmp(api_version, kinds[i].api_group, group)))
			return i;
	}
	return RD_KINDS;
}

/* Is `word` one of the words in `list`, which commas separate? */
static bool is_listed(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (; *list; list += strcspn(list, ","), list += *list == ',')
		if (strcspn(list, ",") == n && !strncmp(list, word, n))
			return true;
	return false;
}

static void note_skipped(struct rd_decoded *decoded, const char *kind)
{
	size_t used = strlen(decoded->skipped_kinds);

	decoded->skipped++;
	if (is_listed(decoded->skipped_kinds, kind) ||
	    used + strlen(kind) + 2 > sizeof(decoded->skipped_kinds))
		return;
	snprintf(decoded->skipped_kinds + used, sizeof(decoded->skipped_kinds) - used, "%s%s",
		 used ? "," : "", kind);
}

static int decode_meta(struct rd_json_place *place, const struct kind *kind, const cJSON *root,
		       struct rd_object *object)
{
	const char *name, *namespace, *created;
	const cJSON *meta;
	int r = rd_json_object(place, root, "metadata", &meta);

	r = r ?: rd_json_string(place, meta, "name", "", &name);
	r = r ?: rd_json_string(place, meta, "namespace", "default", &namespace);
	r = r ?: rd_json_string(place, meta, "creationTimestamp", "", &created);
	if (r)
		return r;
	if (!*name)
		return rd_json_fail(place, "metadata.name is missing");
	if (kind->cluster_scoped)
	namespace = "";
	else if (!is_name(namespace, LABEL_LENGTH, false)) return rd_json_fail(
		place, "namespace \"%.64s\" is not a DNS label", namespace);
	if (!is_name(name, kind->label_name ? LABEL_LENGTH : SUBDOMAIN_LENGTH, !kind->label_name))
		return rd_json_fail(place, "name \"%.64s\" is not a DNS %s", name,
				    kind->label_name ? "label" : "name");
	if (copy_string(namespace, &object->namespace) || copy_string(name, &object->name))
		return -ENOMEM;
	object->created = parse_time(created);
	place->namespace = kind->cluster_scoped ? NULL : object->namespace;
	place->name = object->name;
	return 0;
}

int rd_decode_tree(const cJSON *root, enum rd_kind kind, const char *origin,
		   struct rd_object **ret_object, struct rd_error *error)
{
	_rd_object_ struct rd_object *object = calloc(1, sizeof(*object));
	struct rd_json_place place = {.kind = rd_kind_name(kind), .error = error};
	int r;

	if (!object)
		return -ENOMEM;
	object->kind = kind;
	object->origin = origin;
	r = decode_meta(&place, &kinds[kind], root, object)
		    ?: kinds[kind].decode(&place, root, object);
	if (!r)
		*ret_object = rd_take(object);
	return r;
}

static int decode_object(const cJSON *root, const char *kind_text, const char *api_version,
			 const char *origin, struct rd_decoded *decoded, struct rd_error *error)
{
	enum rd_kind kind = find_kind(kind_text, api_version);
	_rd_object_ struct rd_object *object = NULL;
	int r;

	if (kind == RD_KINDS) {
		note_skipped(decoded, kind_text);
		return 0;
	}
	r = rd_decode_tree(root, kind, origin, &object, error)
		    ?: rd_array_grow(&decoded->objects, decoded->n, sizeof(struct rd_object *));
	if (!r)
		decoded->objects[decoded->n++] = rd_take(object);
	return r;
}

/* "ServiceList" and "List" give "Service" and "": what their items are, unless
 * they say so themselves. Returns false if the kind is no list. */
static bool item_kind(const char *list_kind, char *ret_kind, size_t size)
{
	size_t n = strlen(list_kind);

	if (n < strlen("List") || n - 4 >= size || strcmp(list_kind + n - 4, "List"))
		return false;
	memcpy(ret_kind, list_kind, n - 4);
	ret_kind[n - 4] = '\0';
	return true;
}

static int decode_any(const cJSON *root, const char *default_kind, const char *default_version,
		      const char *origin, struct rd_decoded *decoded, struct rd_error *error)
{
	struct rd_json_place place = {.kind = "object", .error = error};
	const char *kind, *version;
	const cJSON *items = NULL, *item;
	char item_default[64];
	int r;

	if (!cJSON_IsObject(root))
		return rd_error_set(error, -EINVAL, "not a Kubernetes object: no kind");
	r = rd_json_string(&place, root, "kind", default_kind, &kind);
	r = r ?: rd_json_string(&place, root, "apiVersion", default_version, &version);
	if (r)
		return r;
	if (!kind || !*kind)
		return rd_error_set(error, -EINVAL, "not a Kubernetes object: no kind");
	if (default_kind || !item_kind(kind, item_default, sizeof(item_default)) ||
	    (*item_default && !rd_json_has(root, "items")))
		return decode_object(root, kind, version, origin, decoded, error);
	place.kind = kind;
	r = rd_json_array(&place, root, "items", &items);
	cJSON_ArrayForEach(item, items)
		r = r
			    ?: decode_any(item, item_default, *item_default ? version : "", origin,
					  decoded, error);
	return r;
}

int rd_decode(const char *json, const char *origin, struct rd_decoded *decoded,
	      struct rd_error *error)
{
	cJSON *root;
	int r = rd_json_parse(json, &root, error);

	if (r)
		return r;
	/* An empty YAML document is not an object and not a mistake either. */
	r = cJSON_IsNull(root) ? 0 : decode_any(root, NULL, "", origin, decoded, error);
	cJSON_Delete(root);
	if (r == -ENOMEM)
		rd_error_set(error, r, "out of memory");
	return r;
}

void rd_decoded_clear(struct rd_decoded *decoded)
{
	for (size_t i = 0; i < decoded->n; i++)
		rd_object_free(decoded->objects[i]);
	free(decoded->objects);
	*decoded = (struct rd_decoded){0};
}

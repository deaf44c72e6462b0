/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * objects.h - Kubernetes objects as a test writes them, with defaults for what
 * it does not care about: namespace "default", protocol TCP, and endpoints and
 * Pods that are ready.
 */
#ifndef REDIAL_TESTS_OBJECTS_H
#define REDIAL_TESTS_OBJECTS_H

#include <netinet/in.h>
#include <string.h>

#include "model.h"
#include "unit/unit.h"
#include "util.h"

/* Lists of what a test names end with an element of zeros. */
#define MOST 8

struct port_args {
	const char *name;
	uint8_t protocol;
	uint16_t port; /* never 0 */
	uint16_t node_port;
	uint16_t target_number;
	const char *target_name;
};

struct endpoint_args {
	const char *ip;
	const char *node;
	const char *hostname;
	const char *for_zones[MOST], *for_nodes[MOST]; /* hints */
	bool not_ready;
	bool not_serving;
	bool terminating;
};

struct service_args {
	const char *namespace, *name;
	enum rd_service_type type;
	bool headless;
	bool not_ours;
	bool publish_not_ready;
	const char *ip4, *ip6;
	bool assigned; /* those addresses are ours to give */
	bool internal_local, external_local;
	uint32_t affinity_seconds;
	const char *external_ips[MOST], *lb_ips[MOST], *source_ranges[MOST];
	const char *selector[MOST]; /* key, value, key, value, … */
	const char *external_name;
	struct port_args ports[MOST];
};

struct slice_args {
	enum rd_kind kind; /* RD_SLICE unless RD_ENDPOINTS */
	const char *namespace, *name;
	const char *owner; /* "web" unless given */
	bool ignored;
	int64_t triggered_ns;
	bool headless;
	struct port_args ports[MOST];
	struct endpoint_args endpoints[MOST];
	/* A second subset, for RD_ENDPOINTS. */
	struct port_args more_ports[MOST];
	struct endpoint_args more_endpoints[MOST];
};

struct pod_args {
	const char *namespace, *name;
	const char *node;
	const char *hostname, *subdomain;
	const char *labels[MOST]; /* key, value, key, value, … */
	const char *ip4, *ip6;
	bool not_ready;
	bool terminating;
	bool ended;
	struct port_args ports[MOST];
};

struct node_args {
	const char *name; /* "n1" unless given */
	const char *zone;
	const char *addresses[MOST];
};

static inline char *text_copy(const char *text)
{
	char *copy = strdup(text);

	assert_non_null(copy);
	return copy;
}

static inline void *zeros(size_t n, size_t size)
{
	void *memory = calloc(n, size);

	assert_non_null(memory);
	return memory;
}

static inline struct rd_ip to_ip(const char *text)
{
	struct rd_ip ip = {0};

	if (text && rd_ip_parse(text, &ip))
		fail_msg("\"%s\" is no address", text);
	return ip;
}

static inline struct rd_object *make_object(enum rd_kind kind, const char *namespace,
					    const char *name)
{
	struct rd_object *object = zeros(1, sizeof(*object));

	object->kind = kind;
	object->namespace = text_copy(namespace ?: "default");
	object->name = text_copy(name);
	return object;
}

static inline struct rd_label *make_labels(const char *const *pairs, size_t *ret_n)
{
	struct rd_label *labels = zeros(MOST, sizeof(*labels));
	size_t n = 0;

	for (; 2 * n < MOST && pairs[2 * n]; n++) {
		labels[n].key = text_copy(pairs[2 * n]);
		labels[n].value = text_copy(pairs[2 * n + 1]);
	}
	*ret_n = n;
	return labels;
}

static inline struct rd_slice_port *make_ports(const struct port_args *args, size_t *ret_n)
{
	struct rd_slice_port *ports = zeros(MOST, sizeof(*ports));
	size_t n = 0;

	for (; n < MOST && args[n].port; n++) {
		ports[n].name = text_copy(args[n].name ?: "");
		ports[n].protocol = args[n].protocol ?: IPPROTO_TCP;
		ports[n].port = args[n].port;
	}
	*ret_n = n;
	return ports;
}

static inline struct rd_ip *make_ips(const char *const *texts, size_t *ret_n)
{
	struct rd_ip *ips = zeros(MOST, sizeof(*ips));
	size_t n = 0;

	for (; n < MOST && texts[n]; n++)
		ips[n] = to_ip(texts[n]);
	*ret_n = n;
	return ips;
}

static inline struct rd_cidr *make_cidrs(const char *const *texts, size_t *ret_n)
{
	struct rd_cidr *cidrs = zeros(MOST, sizeof(*cidrs));
	size_t n = 0;

	for (; n < MOST && texts[n]; n++)
		if (rd_cidr_parse(texts[n], &cidrs[n]))
			fail_msg("\"%s\" is no range", texts[n]);
	*ret_n = n;
	return cidrs;
}

/* NULL-terminated; NULL if there are none. */
static inline char **make_strings(const char *const *texts)
{
	char **strings = texts[0] ? zeros(MOST + 1, sizeof(*strings)) : NULL;

	for (size_t n = 0; n < MOST && texts[n]; n++)
		strings[n] = text_copy(texts[n]);
	return strings;
}

static inline struct rd_object *make_service(struct service_args args)
{
	struct rd_object *object = make_object(RD_SERVICE, args.namespace, args.name ?: "web");
	struct rd_service_spec *service = &object->service;

	service->type = args.type;
	service->headless = args.headless;
	service->not_ours = args.not_ours;
	service->publish_not_ready = args.publish_not_ready;
	service->cluster_ip[0] = to_ip(args.ip4);
	service->cluster_ip[1] = to_ip(args.ip6);
	service->assigned[0] = args.assigned && args.ip4;
	service->assigned[1] = args.assigned && args.ip6;
	service->internal_local = args.internal_local;
	service->external_local = args.external_local;
	service->affinity_seconds = args.affinity_seconds;
	service->external_ips = make_ips(args.external_ips, &service->n_external_ips);
	service->lb_ips = make_ips(args.lb_ips, &service->n_lb_ips);
	service->source_ranges = make_cidrs(args.source_ranges, &service->n_source_ranges);
	service->selector = make_labels(args.selector, &service->n_selector);
	service->external_name = args.external_name ? text_copy(args.external_name) : NULL;
	service->ports = zeros(MOST, sizeof(*service->ports));
	for (size_t i = 0; i < MOST && args.ports[i].port; i++) {
		service->ports[i] = (struct rd_service_port){
			.name = text_copy(args.ports[i].name ?: ""),
			.protocol = args.ports[i].protocol ?: IPPROTO_TCP,
			.port = args.ports[i].port,
			.node_port = args.ports[i].node_port,
			.target_number = args.ports[i].target_number,
			.target_name = args.ports[i].target_name
					       ? text_copy(args.ports[i].target_name)
					       : NULL,
		};
		service->n_ports++;
	}
	return object;
}
#define SERVICE(...) make_service((struct service_args){__VA_ARGS__})

static inline void make_subset(struct rd_subset *subset, const struct port_args *ports,
			       const struct endpoint_args *endpoints)
{
	subset->ports = make_ports(ports, &subset->n_ports);
	subset->endpoints = zeros(MOST, sizeof(*subset->endpoints));
	for (; subset->n_endpoints < MOST && endpoints[subset->n_endpoints].ip;
	     subset->n_endpoints++) {
		const struct endpoint_args *args = &endpoints[subset->n_endpoints];

		subset->endpoints[subset->n_endpoints] = (struct rd_slice_endpoint){
			.ip = to_ip(args->ip),
			.node = args->node ? text_copy(args->node) : NULL,
			.hostname = args->hostname ? text_copy(args->hostname) : NULL,
			.hint_zones = make_strings(args->for_zones),
			.hint_nodes = make_strings(args->for_nodes),
			.ready = !args->not_ready,
			.serving = !args->not_serving,
			.terminating = args->terminating,
		};
	}
}

static inline struct rd_object *make_slice(struct slice_args args)
{
	struct rd_object *object =
		make_object(args.kind ?: RD_SLICE, args.namespace, args.name ?: "web");

	object->slice.service = text_copy(args.owner ?: "web");
	object->slice.ignored = args.ignored;
	object->slice.triggered_ns = args.triggered_ns;
	object->slice.headless = args.headless;
	object->slice.subsets = zeros(2, sizeof(*object->slice.subsets));
	object->slice.n_subsets = args.more_ports[0].port ? 2 : 1;
	make_subset(&object->slice.subsets[0], args.ports, args.endpoints);
	if (args.more_ports[0].port)
		make_subset(&object->slice.subsets[1], args.more_ports, args.more_endpoints);
	return object;
}
#define SLICE(...) make_slice((struct slice_args){__VA_ARGS__})

static inline struct rd_object *make_pod(struct pod_args args)
{
	struct rd_object *object = make_object(RD_POD, args.namespace, args.name ?: "web-1");

	object->pod.node = args.node ? text_copy(args.node) : NULL;
	object->pod.hostname = args.hostname ? text_copy(args.hostname) : NULL;
	object->pod.subdomain = args.subdomain ? text_copy(args.subdomain) : NULL;
	object->pod.labels = make_labels(args.labels, &object->pod.n_labels);
	object->pod.ip[0] = to_ip(args.ip4);
	object->pod.ip[1] = to_ip(args.ip6);
	object->pod.ready = !args.not_ready;
	object->pod.terminating = args.terminating;
	object->pod.ended = args.ended;
	object->pod.ports = make_ports(args.ports, &object->pod.n_ports);
	return object;
}
#define POD(...) make_pod((struct pod_args){__VA_ARGS__})

static inline struct rd_object *make_node(struct node_args args)
{
	struct rd_object *object = make_object(RD_NODE, "", args.name ?: "n1");

	object->node.zone = args.zone ? text_copy(args.zone) : NULL;
	object->node.addresses = make_ips(args.addresses, &object->node.n_addresses);
	return object;
}
#define NODE(...) make_node((struct node_args){__VA_ARGS__})

#endif

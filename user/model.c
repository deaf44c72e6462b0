// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

static const char *const kind_names[] = {
	[RD_SERVICE] = "Service", [RD_SLICE] = "EndpointSlice", [RD_ENDPOINTS] = "Endpoints",
	[RD_POD] = "Pod",	  [RD_NODE] = "Node",
};
_Static_assert(RD_ARRAY_SIZE(kind_names) == RD_KINDS, "a name for every kind");

const char *rd_kind_name(enum rd_kind kind)
{
	return kind_names[kind];
}

/* ---- objects ------------------------------------------------------------ */

static void free_labels(struct rd_label *labels, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(labels[i].key);
		free(labels[i].value);
	}
	free(labels);
}

static void free_slice_ports(struct rd_slice_port *ports, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(ports[i].name);
	free(ports);
}

static void free_service(struct rd_service_spec *service)
{
	free_labels(service->selector, service->n_selector);
	for (size_t i = 0; i < service->n_ports; i++) {
		free(service->ports[i].name);
		free(service->ports[i].target_name);
	}
	free(service->ports);
	free(service->external_name);
	free(service->external_ips);
	free(service->lb_ips);
	free(service->source_ranges);
}

static void free_strings(char **strings)
{
	for (char **s = strings; s && *s; s++)
		free(*s);
	free(strings);
}

static void free_subset(struct rd_subset *subset)
{
	free_slice_ports(subset->ports, subset->n_ports);
	for (size_t i = 0; i < subset->n_endpoints; i++) {
		free(subset->endpoints[i].node);
		free(subset->endpoints[i].hostname);
		free_strings(subset->endpoints[i].hint_zones);
		free_strings(subset->endpoints[i].hint_nodes);
	}
	free(subset->endpoints);
}

static void free_slice(struct rd_slice_spec *slice)
{
	free(slice->service);
	for (size_t i = 0; i < slice->n_subsets; i++)
		free_subset(&slice->subsets[i]);
	free(slice->subsets);
}

static void free_pod(struct rd_pod_spec *pod)
{
	free(pod->node);
	free(pod->hostname);
	free(pod->subdomain);
	free_labels(pod->labels, pod->n_labels);
	free_slice_ports(pod->ports, pod->n_ports);
}

void rd_object_free(struct rd_object *object)
{
	if (!object)
		return;
	switch (object->kind) {
	case RD_SERVICE:
		free_service(&object->service);
		break;
	case RD_SLICE:
	case RD_ENDPOINTS:
		free_slice(&object->slice);
		break;
	case RD_POD:
		free_pod(&object->pod);
		break;
	case RD_NODE:
		free(object->node.zone);
		free(object->node.addresses);
		break;
	case RD_KINDS:
		break;
	}
	free(object->namespace);
	free(object->name);
	free(object);
}

/* ---- sets of Service names ----------------------------------------------- */

int rd_name_compare(const char *namespace_a, const char *name_a, const char *namespace_b,
		    const char *name_b)
{
	return strcmp(namespace_a, namespace_b) ?: strcmp(name_a, name_b);
}

static int compare_names(const struct rd_service_name *a, const struct rd_service_name *b)
{
	return rd_name_compare(a->namespace, a->name, b->namespace, b->name);
}

RD_TREE_GENERATE(rd_name_set, rd_service_name, entry, compare_names)

int rd_name_set_add(struct rd_name_set *set, const char *namespace, const char *name)
{
	struct rd_service_name *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return -ENOMEM;
	rd_text_copy(entry->namespace, sizeof(entry->namespace), namespace);
	rd_text_copy(entry->name, sizeof(entry->name), name);
	if (RB_INSERT(rd_name_set, set, entry))
		free(entry);
	return 0;
}

struct rd_service_name *rd_name_set_first(struct rd_name_set *set)
{
	return RB_MIN(rd_name_set, set);
}

struct rd_service_name *rd_name_set_next(struct rd_service_name *name)
{
	return RB_NEXT(rd_name_set, NULL, name);
}

void rd_name_set_drop(struct rd_name_set *set, struct rd_service_name *name)
{
	RB_REMOVE(rd_name_set, set, name);
	free(name);
}

void rd_name_set_clear(struct rd_name_set *set)
{
	struct rd_service_name *name;

	while ((name = RB_ROOT(set)))
		rd_name_set_drop(set, name);
}

/* ---- the store ------------------------------------------------------------ */

static int compare_keys(const struct rd_object *a, const struct rd_object *b)
{
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return rd_name_compare(a->namespace, a->name, b->namespace, b->name);
}

static int compare_owners(const struct rd_object *a, const struct rd_object *b)
{
	return rd_name_compare(a->namespace, a->slice.service, b->namespace, b->slice.service)
		       ?: compare_keys(a, b);
}

RD_TREE_GENERATE(rd_key_tree, rd_object, by_key, compare_keys)
RD_TREE_GENERATE(rd_owner_tree, rd_object, by_owner, compare_owners)

void rd_store_init(struct rd_store *store)
{
	*store = (struct rd_store){0};
}

static bool is_slice(const struct rd_object *object)
{
	return object->kind == RD_SLICE || object->kind == RD_ENDPOINTS;
}

static size_t stamp_index(const char *namespace, const char *name)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (; *namespace; namespace ++)
		hash = (hash ^ (uint8_t) * namespace) * 0x100000001b3;
	hash = (hash ^ '/') * 0x100000001b3;
	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 0x100000001b3;
	return (hash ^ hash >> 32) % RD_STAMPS;
}

const uint64_t *rd_store_stamp(const struct rd_store *store, const char *namespace,
			       const char *name)
{
	return &store->stamps[stamp_index(namespace, name)];
}

/* What a name stands for has changed. */
static void stamp(struct rd_store *store, const char *namespace, const char *service)
{
	store->stamp++;
	store->stamps[stamp_index(namespace, service)] = store->stamp;
	store->stamps[stamp_index(namespace, "")] = store->stamp;
}

void rd_store_touch(struct rd_store *store, const struct rd_object *service)
{
	stamp(store, service->namespace, service->name);
	store->addresses_stamp = store->stamp;
}

static void mark(struct rd_store *store, const char *namespace, const char *service)
{
	const struct rd_object *object = rd_store_find(store, RD_SERVICE, namespace, service);

	stamp(store, namespace, service);
	/* Of others the endpoints' addresses have no names. */
	if (!object || object->service.headless)
		store->addresses_stamp = store->stamp;
	if (!store->all_dirty && rd_name_set_add(&store->dirty, namespace, service))
		store->all_dirty = true;
}

/* Note the Services that an object's appearance or disappearance concerns. */
static void mark_concerned(struct rd_store *store, const struct rd_object *object)
{
	struct rd_object *service = NULL;

	switch (object->kind) {
	case RD_SERVICE:
		mark(store, object->namespace, object->name);
		store->addresses_stamp = store->stamp;
		break;
	case RD_SLICE:
	case RD_ENDPOINTS:
		mark(store, object->namespace, object->slice.service);
		break;
	case RD_POD:
		while ((service = rd_store_next(store, RD_SERVICE, object->namespace, service)))
			if (rd_selector_matches(&service->service, &object->pod))
				mark(store, service->namespace, service->name);
		break;
	case RD_NODE:
		store->nodes_changed = true;
		break;
	case RD_KINDS:
		break;
	}
}

static bool same_node(const struct rd_node_spec *a, const struct rd_node_spec *b)
{
	if (strcmp(a->zone ?: "", b->zone ?: "") || a->n_addresses != b->n_addresses)
		return false;
	for (size_t i = 0; i < a->n_addresses; i++)
		if (rd_ip_compare(&a->addresses[i], &b->addresses[i]))
			return false;
	return true;
}

static void detach(struct rd_store *store, struct rd_object *object)
{
	RB_REMOVE(rd_key_tree, &store->objects, object);
	if (is_slice(object))
		RB_REMOVE(rd_owner_tree, &store->slices, object);
	store->count[object->kind]--;
	mark_concerned(store, object);
}

static void keep_assigned(struct rd_service_spec *service, const struct rd_service_spec *former)
{
	if (service->headless || service->type == RD_TYPE_EXTERNAL_NAME ||
	    service->cluster_ip[0].family || service->cluster_ip[1].family)
		return;
	for (size_t i = 0; i < RD_ARRAY_SIZE(service->assigned); i++) {
		if (!former->assigned[i])
			continue;
		service->cluster_ip[i] = former->cluster_ip[i];
		service->assigned[i] = true;
	}
}

/* A trigger time that was seen before is no news: the same slice again. */
static void keep_pending(const struct rd_store *store, struct rd_slice_spec *slice,
			 const struct rd_slice_spec *former)
{
	bool same = former && former->triggered_ns == slice->triggered_ns;

	if (former && (same || former->pending_ns))
		slice->pending_ns = former->pending_ns;
	else if (slice->triggered_ns > store->started_ns)
		slice->pending_ns = slice->triggered_ns;
}

void rd_store_put(struct rd_store *store, struct rd_object *object)
{
	struct rd_object *former = RB_FIND(rd_key_tree, &store->objects, object);
	/* A Node reports itself every few minutes, and mostly the same. */
	bool node_same =
		former && object->kind == RD_NODE && same_node(&former->node, &object->node);
	bool nodes_changed = store->nodes_changed;

	if (is_slice(object))
		keep_pending(store, &object->slice, former ? &former->slice : NULL);
	if (former) {
		if (object->kind == RD_SERVICE)
			keep_assigned(&object->service, &former->service);
		detach(store, former);
		rd_object_free(former);
	}
	RB_INSERT(rd_key_tree, &store->objects, object);
	if (is_slice(object))
		RB_INSERT(rd_owner_tree, &store->slices, object);
	store->count[object->kind]++;
	mark_concerned(store, object);
	if (node_same)
		store->nodes_changed = nodes_changed;
}

struct rd_object *rd_store_find(const struct rd_store *store, enum rd_kind kind,
				const char *namespace, const char *name)
{
	struct rd_object key = {.kind = kind, .namespace = (char *)namespace, .name = (char *)name};

	return RB_FIND(rd_key_tree, (struct rd_key_tree *)&store->objects, &key);
}

void rd_store_remove(struct rd_store *store, enum rd_kind kind, const char *namespace,
		     const char *name)
{
	struct rd_object *object = rd_store_find(store, kind, namespace, name);

	if (!object)
		return;
	detach(store, object);
	rd_object_free(object);
}

struct rd_object *rd_store_next(const struct rd_store *store, enum rd_kind kind,
				const char *namespace, struct rd_object *previous)
{
	struct rd_object key = {
		.kind = kind, .namespace = (char *)(namespace ?: ""), .name = (char *)""};
	struct rd_object *next =
		previous ? RB_NEXT(rd_key_tree, NULL, previous)
			 : RB_NFIND(rd_key_tree, (struct rd_key_tree *)&store->objects, &key);

	if (!next || next->kind != kind || (namespace && strcmp(next->namespace, namespace)))
		return NULL;
	return next;
}

struct rd_object *rd_store_next_slice(const struct rd_store *store, const char *namespace,
				      const char *service, struct rd_object *previous)
{
	struct rd_object key = {.kind = RD_SERVICE,
				.namespace = (char *)namespace,
				.name = (char *)"",
				.slice.service = (char *)service};
	struct rd_object *next =
		previous ? RB_NEXT(rd_owner_tree, NULL, previous)
			 : RB_NFIND(rd_owner_tree, (struct rd_owner_tree *)&store->slices, &key);

	if (!next || rd_name_compare(next->namespace, next->slice.service, namespace, service))
		return NULL;
	return next;
}

void rd_store_free(struct rd_store *store)
{
	struct rd_object *object;

	while ((object = RB_ROOT(&store->objects))) {
		RB_REMOVE(rd_key_tree, &store->objects, object);
		rd_object_free(object);
	}
	rd_name_set_clear(&store->dirty);
	rd_store_init(store);
}

static const char *label_value(const struct rd_label *labels, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(labels[i].key, key))
			return labels[i].value;
	return NULL;
}

bool rd_selector_matches(const struct rd_service_spec *service, const struct rd_pod_spec *pod)
{
	for (size_t i = 0; i < service->n_selector; i++) {
		const char *value =
			label_value(pod->labels, pod->n_labels, service->selector[i].key);

		if (!value || strcmp(value, service->selector[i].value))
			return false;
	}
	return service->n_selector > 0;
}

uint16_t rd_target_port(const struct rd_service_port *port, const struct rd_pod_spec *pod)
{
	if (!port->target_name)
		return port->target_number ?: port->port;
	for (size_t i = 0; i < pod->n_ports; i++)
		if (pod->ports[i].protocol == port->protocol &&
		    !strcmp(pod->ports[i].name, port->target_name))
			return pod->ports[i].port;
	return 0;
}

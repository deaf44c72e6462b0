// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "dns_endpoints.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

struct list {
	struct rd_named_endpoint *items;
	size_t n;
};

static int add(struct list *list, const struct rd_named_endpoint *endpoint)
{
	int r = rd_array_grow(&list->items, list->n, sizeof(*list->items));

	if (!r)
		list->items[list->n++] = *endpoint;
	return r;
}

/* As for backends (see resolve.c), but that slices labelled headless count as
 * well: they are made for names. */
static bool counts(const struct rd_object *object, const struct rd_object *service,
		   bool legacy_endpoints)
{
	if (object->kind == RD_ENDPOINTS)
		return legacy_endpoints || (!object->slice.ignored && !service->service.n_selector);
	return object->slice.headless || !object->slice.ignored;
}

static int add_slices(struct list *list, const struct rd_store *store,
		      const struct rd_object *service, bool legacy_endpoints)
{
	bool all = service->service.publish_not_ready;
	struct rd_object *object = NULL;
	int r = 0;

	while ((object = rd_store_next_slice(store, service->namespace, service->name, object))) {
		if (!counts(object, service, legacy_endpoints))
			continue;
		for (size_t s = 0; s < object->slice.n_subsets; s++) {
			const struct rd_subset *subset = &object->slice.subsets[s];

			for (size_t e = 0; !r && e < subset->n_endpoints; e++) {
				const struct rd_slice_endpoint *from = &subset->endpoints[e];
				struct rd_named_endpoint endpoint = {.ip = from->ip,
								     .hostname = from->hostname,
								     .subset = subset};

				if (from->ready || all)
					r = add(list, &endpoint);
			}
		}
	}
	return r;
}

/* What the endpoint controller would make of the Pods that the selector
 * matches. */
static int add_pods(struct list *list, const struct rd_store *store,
		    const struct rd_object *service)
{
	struct rd_object *object = NULL;
	int r = 0;

	if (!service->service.n_selector)
		return 0;
	while (!r && (object = rd_store_next(store, RD_POD, service->namespace, object))) {
		const struct rd_pod_spec *pod = &object->pod;
		bool within = pod->subdomain && !strcmp(pod->subdomain, service->name);
		struct rd_named_endpoint endpoint = {.hostname = within ? pod->hostname : NULL,
						     .pod = pod};

		if (pod->ended || !rd_selector_matches(&service->service, pod) ||
		    (!service->service.publish_not_ready && (!pod->ready || pod->terminating)))
			continue;
		for (size_t i = 0; !r && i < RD_ARRAY_SIZE(pod->ip); i++) {
			endpoint.ip = pod->ip[i];
			if (endpoint.ip.family)
				r = add(list, &endpoint);
		}
	}
	return r;
}

static int compare_endpoints(const void *a, const void *b)
{
	const struct rd_named_endpoint *x = a, *y = b;

	return rd_ip_compare(&x->ip, &y->ip) ?: strcmp(x->hostname ?: "", y->hostname ?: "");
}

int rd_named_endpoints(const struct rd_store *store, const struct rd_object *service,
		       bool legacy_endpoints, struct rd_named_endpoint **ret_endpoints,
		       size_t *ret_n)
{
	struct list list = {0};
	int r = add_slices(&list, store, service, legacy_endpoints)
			?: add_pods(&list, store, service);

	if (r) {
		free(list.items);
		return r;
	}
	if (list.n)
		qsort(list.items, list.n, sizeof(*list.items), compare_endpoints);
	*ret_endpoints = list.items;
	*ret_n = list.n;
	return 0;
}

static uint16_t port_of_subset(const struct rd_subset *subset, const struct rd_service_port *port)
{
	for (size_t i = 0; i < subset->n_ports; i++)
		if (subset->ports[i].protocol == port->protocol &&
		    !strcmp(subset->ports[i].name, port->name))
			return subset->ports[i].port;
	return 0;
}

uint16_t rd_named_port(const struct rd_named_endpoint *endpoint, const struct rd_service_port *port)
{
	return endpoint->subset ? port_of_subset(endpoint->subset, port)
				: rd_target_port(port, endpoint->pod);
}

/* The label of an address, which the hostname comes before. */
static const char *label_of(const struct rd_ip *ip, const char *hostname, char *buffer)
{
	char text[RD_IP_TEXT];
	size_t n = 0;

	if (hostname)
		return hostname;
	rd_ip_format(ip, text);
	/* "::1" would begin with a dash, "fd00::" end with one, which a host's name
	 * must not. */
	if (*text == ':')
		buffer[n++] = '0';
	for (const char *c = text; *c; c++)
		buffer[n++] = *c == '.' || *c == ':' ? '-' : *c;
	if (buffer[n - 1] == '-')
		buffer[n++] = '0';
	buffer[n] = '\0';
	return buffer;
}

const char *rd_named_label(const struct rd_named_endpoint *endpoint, char *buffer)
{
	return label_of(&endpoint->ip, endpoint->hostname, buffer);
}

const char *rd_address_label(const struct rd_address_owner *owner, char *buffer)
{
	return label_of(&owner->ip, owner->hostname, buffer);
}

/* ---- by address ---------------------------------------------------------------------------- */

static int own(struct rd_address_index *index, const struct rd_address_owner *owner)
{
	int r = owner->ip.family ? rd_array_grow(&index->owners, index->n, sizeof(*owner)) : 0;

	if (!r && owner->ip.family)
		index->owners[index->n++] = *owner;
	return r;
}

/* An endpoint with one name in several slices is one; they come one after the
 * other. */
static int own_endpoints(struct rd_address_index *index, const struct rd_store *store,
			 const struct rd_object *service, bool legacy_endpoints)
{
	_rd_free_ struct rd_named_endpoint *endpoints = NULL;
	size_t n = 0;
	int r = rd_named_endpoints(store, service, legacy_endpoints, &endpoints, &n);

	for (size_t i = 0; !r && i < n; i++) {
		struct rd_address_owner owner = {.ip = endpoints[i].ip,
						 .is_endpoint = true,
						 .hostname = endpoints[i].hostname,
						 .service = service};

		if (!i || compare_endpoints(&endpoints[i - 1], &endpoints[i]))
			r = own(index, &owner);
	}
	return r;
}

static int own_service(struct rd_address_index *index, const struct rd_object *service)
{
	int r = 0;

	for (size_t i = 0; !r && i < RD_ARRAY_SIZE(service->service.cluster_ip); i++) {
		struct rd_address_owner owner = {.ip = service->service.cluster_ip[i],
						 .service = service};

		r = own(index, &owner);
	}
	return r;
}

static uint32_t *bucket_of(const struct rd_address_index *index, const struct rd_ip *ip)
{
	uint64_t words[2], hash;

	memcpy(words, ip->bytes, sizeof(words));
	hash = (words[0] * 0x9e3779b97f4a7c15ULL ^ words[1]) * 0xa0761d6478bd642fULL;
	return &index->buckets[(hash ^ hash >> 32) & (index->n_buckets - 1)];
}

/* Sorting would take several times as long. */
static int fill_buckets(struct rd_address_index *index)
{
	size_t n = 64;

	while (n < index->n)
		n *= 2;
	free(index->buckets);
	index->buckets = calloc(n, sizeof(*index->buckets));
	if (!index->buckets)
		return -ENOMEM;
	index->n_buckets = n;
	/* The first comes last into its bucket, and out of it first. */
	for (size_t i = index->n; i; i--) {
		uint32_t *bucket = bucket_of(index, &index->owners[i - 1].ip);

		index->owners[i - 1].next = *bucket;
		*bucket = (uint32_t)i;
	}
	return 0;
}

int rd_address_index_update(struct rd_address_index *index, const struct rd_store *store,
			    bool legacy_endpoints)
{
	struct rd_object *service = NULL;
	int r = 0;

	if (index->made && index->stamp == store->addresses_stamp)
		return 0;
	index->made = false;
	index->n = 0;
	while (!r && (service = rd_store_next(store, RD_SERVICE, NULL, service))) {
		if (service->service.type == RD_TYPE_EXTERNAL_NAME)
			continue;
		r = service->service.headless
			    ? own_endpoints(index, store, service, legacy_endpoints)
			    : own_service(index, service);
	}
	r = r ?: fill_buckets(index);
	if (r) {
		rd_address_index_clear(index);
		return r;
	}
	index->stamp = store->addresses_stamp;
	index->made = true;
	return 0;
}

const struct rd_address_owner *rd_address_index_next(const struct rd_address_index *index,
						     const struct rd_ip *ip,
						     const struct rd_address_owner *previous)
{
	uint32_t i = previous ? previous->next : *bucket_of(index, ip);

	for (; i; i = index->owners[i - 1].next)
		if (!rd_ip_compare(&index->owners[i - 1].ip, ip))
			return &index->owners[i - 1];
	return NULL;
}

void rd_address_index_clear(struct rd_address_index *index)
{
	free(index->owners);
	free(index->buckets);
	*index = (struct rd_address_index){0};
}

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
	const struct rd_pod_spec *pod = endpoint->pod;

	if (endpoint->subset)
		return port_of_subset(endpoint->subset, port);
	if (!port->target_name)
		return port->target_number ?: port->port;
	for (size_t i = 0; i < pod->n_ports; i++)
		if (pod->ports[i].protocol == port->protocol &&
		    !strcmp(pod->ports[i].name, port->target_name))
			return pod->ports[i].port;
	return 0;
}

const char *rd_named_label(const struct rd_named_endpoint *endpoint, char *buffer)
{
	char text[RD_IP_TEXT];
	size_t n = 0;

	if (endpoint->hostname)
		return endpoint->hostname;
	rd_ip_format(&endpoint->ip, text);
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

/* ---- by address ---------------------------------------------------------------------------- */

static int own(struct rd_address_index *index, const struct rd_ip *ip,
	       const struct rd_object *service, const char *label)
{
	struct rd_address_owner *owner;

	if (!ip->family)
		return 0;
	if (rd_array_grow(&index->owners, index->n, sizeof(*index->owners)))
		return -ENOMEM;
	owner = &index->owners[index->n++];
	owner->ip = *ip;
	owner->service = service;
	snprintf(owner->label, sizeof(owner->label), "%s", label);
	return 0;
}

static int own_endpoints(struct rd_address_index *index, const struct rd_store *store,
			 const struct rd_object *service, bool legacy_endpoints)
{
	_rd_free_ struct rd_named_endpoint *endpoints = NULL;
	char buffer[RD_DNS_OWN_LABEL];
	size_t n = 0;
	int r = rd_named_endpoints(store, service, legacy_endpoints, &endpoints, &n);

	for (size_t i = 0; !r && i < n; i++)
		r = own(index, &endpoints[i].ip, service, rd_named_label(&endpoints[i], buffer));
	return r;
}

static int compare_owners(const void *a, const void *b)
{
	const struct rd_address_owner *x = a, *y = b;

	return rd_ip_compare(&x->ip, &y->ip)
		       ?: rd_name_compare(x->service->namespace, x->service->name,
					  y->service->namespace, y->service->name)
		       ?: strcmp(x->label, y->label);
}

static void drop_duplicates(struct rd_address_index *index)
{
	size_t kept = 0;

	for (size_t i = 0; i < index->n; i++)
		if (!kept || compare_owners(&index->owners[kept - 1], &index->owners[i]))
			index->owners[kept++] = index->owners[i];
	index->n = kept;
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
		if (service->service.headless)
			r = own_endpoints(index, store, service, legacy_endpoints);
		else
			for (size_t i = 0; !r && i < RD_ARRAY_SIZE(service->service.cluster_ip);
			     i++)
				r = own(index, &service->service.cluster_ip[i], service, "");
	}
	if (r) {
		rd_address_index_clear(index);
		return r;
	}
	if (index->n)
		qsort(index->owners, index->n, sizeof(*index->owners), compare_owners);
	drop_duplicates(index);
	index->stamp = store->addresses_stamp;
	index->made = true;
	return 0;
}

const struct rd_address_owner *rd_address_index_find(const struct rd_address_index *index,
						     const struct rd_ip *ip, size_t *ret_n)
{
	size_t low = 0, high = index->n, n = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (rd_ip_compare(&index->owners[middle].ip, ip) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	while (low + n < index->n && !rd_ip_compare(&index->owners[low + n].ip, ip))
		n++;
	*ret_n = n;
	return n ? &index->owners[low] : NULL;
}

void rd_address_index_clear(struct rd_address_index *index)
{
	free(index->owners);
	*index = (struct rd_address_index){0};
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "resolve.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/* An endpoint of one Service port, before it is decided whether it is used. */
struct candidate {
	struct rd_backend backend;
	bool ready;
	bool serving;
	bool terminating;
};

struct candidates {
	struct candidate *items;
	size_t n;
};

static int add(struct candidates *all, const struct rd_ip *ip, uint16_t port, bool ready,
	       bool serving, bool terminating)
{
	int r = rd_array_grow(&all->items, all->n, sizeof(*all->items));

	if (r)
		return r;
	all->items[all->n++] = (struct candidate){
		.backend = {.ip = *ip, .port = port},
		.ready = ready,
		.serving = serving,
		.terminating = terminating,
	};
	return 0;
}

/* Endpoints join a Service port by its name and protocol (A8). */
static int add_subset(struct candidates *all, const struct rd_subset *subset,
		      const struct rd_service_port *port, uint8_t family)
{
	for (size_t p = 0; p < subset->n_ports; p++) {
		if (subset->ports[p].protocol != port->protocol ||
		    strcmp(subset->ports[p].name, port->name))
			continue;
		for (size_t e = 0; e < subset->n_endpoints; e++) {
			const struct rd_slice_endpoint *endpoint = &subset->endpoints[e];
			int r = 0;

			if (endpoint->ip.family == family)
				r = add(all, &endpoint->ip, subset->ports[p].port, endpoint->ready,
					endpoint->serving, endpoint->terminating);
			if (r)
				return r;
		}
	}
	return 0;
}

static int add_slices(struct candidates *all, const struct rd_store *store,
		      const struct rd_object *service, const struct rd_service_port *port,
		      uint8_t family)
{
	struct rd_object *object = NULL;

	while ((object = rd_store_next_slice(store, service->namespace, service->name, object))) {
		/* Endpoints count where the mirroring controller would make slices of
		 * them: not for a Service with a selector (A18). */
		if (object->slice.ignored ||
		    (object->kind == RD_ENDPOINTS && service->service.n_selector))
			continue;
		for (size_t i = 0; i < object->slice.n_subsets; i++) {
			int r = add_subset(all, &object->slice.subsets[i], port, family);

			if (r)
				return r;
		}
	}
	return 0;
}

/* The number of a Service's target port in one Pod, or 0: the Pod has no
 * container port of that name and protocol. */
static uint16_t target_port(const struct rd_service_port *port, const struct rd_pod_spec *pod)
{
	if (!port->target_name)
		return port->target_number ?: port->port;
	for (size_t i = 0; i < pod->n_ports; i++)
		if (pod->ports[i].protocol == port->protocol &&
		    !strcmp(pod->ports[i].name, port->target_name))
			return pod->ports[i].port;
	return 0;
}

/* What the endpoint controller would make of the Pods that the selector
 * matches. */
static int add_pods(struct candidates *all, const struct rd_store *store,
		    const struct rd_object *service, const struct rd_service_port *port,
		    uint8_t family)
{
	struct rd_object *object = NULL;

	if (!service->service.n_selector)
		return 0;
	while ((object = rd_store_next(store, RD_POD, service->namespace, object))) {
		const struct rd_pod_spec *pod = &object->pod;
		const struct rd_ip *ip = &pod->ip[family == RD_FAMILY_6];
		uint16_t number = target_port(port, pod);
		bool ready =
			service->service.publish_not_ready || (pod->ready && !pod->terminating);
		int r;

		if (pod->ended || !ip->family || !number ||
		    !rd_selector_matches(&service->service, pod))
			continue;
		r = add(all, ip, number, ready, pod->ready, pod->terminating);
		if (r)
			return r;
	}
	return 0;
}

static int compare_backends(const struct rd_backend *a, const struct rd_backend *b)
{
	return rd_ip_compare(&a->ip, &b->ip) ?: (int)a->port - (int)b->port;
}

/* By address and port; of two with the same, the one to keep first: not
 * terminating before terminating (A13), ready before not. */
static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return compare_backends(&x->backend, &y->backend)
		       ?: (int)x->terminating - (int)y->terminating
		       ?: (int)y->ready - (int)x->ready;
}

static void drop_duplicates(struct candidates *all)
{
	size_t kept = 0;

	if (all->n)
		qsort(all->items, all->n, sizeof(*all->items), compare_candidates);
	for (size_t i = 0; i < all->n; i++)
		if (!kept ||
		    compare_backends(&all->items[kept - 1].backend, &all->items[i].backend))
			all->items[kept++] = all->items[i];
	all->n = kept;
}

/* The endpoints in use: the ready ones; if there are none, those that are
 * terminating and still serving (B2). */
static int choose(const struct candidates *all, struct rd_wanted_set *set)
{
	bool any_ready = false;

	for (size_t i = 0; i < all->n; i++)
		any_ready |= all->items[i].ready;
	set->backends = calloc(all->n + 1, sizeof(*set->backends));
	if (!set->backends)
		return -ENOMEM;
	for (size_t i = 0; i < all->n; i++) {
		const struct candidate *c = &all->items[i];

		if (any_ready ? c->ready : c->serving && c->terminating)
			set->backends[set->n++] = c->backend;
	}
	return 0;
}

static int resolve_set(const struct rd_store *store, const struct rd_object *service,
		       const struct rd_service_port *port, struct rd_wanted_set *set)
{
	struct candidates all = {0};
	int r = add_slices(&all, store, service, port, set->family);

	r = r ?: add_pods(&all, store, service, port, set->family);
	if (!r) {
		drop_duplicates(&all);
		r = choose(&all, set);
	}
	free(all.items);
	return r;
}

static int resolve_port(const struct rd_store *store, const struct rd_object *service,
			const struct rd_service_port *port, struct rd_wanted_port *wanted)
{
	const struct rd_ip *cluster_ip = service->service.cluster_ip;

	wanted->name = port->name;
	wanted->port = port->port;
	wanted->protocol = port->protocol;
	wanted->sets = calloc(2, sizeof(*wanted->sets));
	wanted->frontends = calloc(2, sizeof(*wanted->frontends));
	if (!wanted->sets || !wanted->frontends)
		return -ENOMEM;
	for (size_t i = 0; i < 2; i++) {
		size_t set = wanted->n_sets;
		int r;

		if (!cluster_ip[i].family)
			continue;
		wanted->n_sets++;
		wanted->sets[set].family = cluster_ip[i].family;
		r = resolve_set(store, service, port, &wanted->sets[set]);
		if (r)
			return r;
		wanted->frontends[wanted->n_frontends++] = (struct rd_wanted_frontend){
			.ip = cluster_ip[i],
			.port = port->port,
			.scope = RD_SCOPE_ADDRESS,
			.set = set,
		};
	}
	return 0;
}

bool rd_is_programmed(const struct rd_service_spec *service)
{
	return !service->headless && !service->not_ours && service->type != RD_TYPE_EXTERNAL_NAME;
}

int rd_resolve(const struct rd_store *store, const struct rd_object *service,
	       struct rd_wanted *ret_wanted)
{
	const struct rd_service_spec *spec = &service->service;
	struct rd_wanted wanted = {.service = service};

	wanted.ports = calloc(spec->n_ports + 1, sizeof(*wanted.ports));
	if (!wanted.ports)
		return -ENOMEM;
	for (size_t i = 0; rd_is_programmed(spec) && i < spec->n_ports; i++) {
		int r = 0;

		/* There is no hook in SCTP's connect (A7). */
		if (spec->ports[i].protocol != IPPROTO_SCTP)
			r = resolve_port(store, service, &spec->ports[i],
					 &wanted.ports[wanted.n_ports++]);
		if (r) {
			rd_wanted_free(&wanted);
			return r;
		}
	}
	*ret_wanted = wanted;
	return 0;
}

void rd_wanted_free(struct rd_wanted *wanted)
{
	for (size_t i = 0; i < wanted->n_ports; i++) {
		for (size_t s = 0; s < wanted->ports[i].n_sets; s++)
			free(wanted->ports[i].sets[s].backends);
		free(wanted->ports[i].sets);
		free(wanted->ports[i].frontends);
	}
	free(wanted->ports);
	*wanted = (struct rd_wanted){0};
}

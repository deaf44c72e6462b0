// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "resolve.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/* An endpoint of one Service port, before it is decided whether it is used.
 * What it points at is borrowed from the store. */
struct candidate {
	struct rd_backend backend;
	bool ready;
	bool serving;
	bool terminating;
	const char *node;	 /* NULL: not known */
	char *const *hint_zones; /* NULL-terminated; NULL: none */
	char *const *hint_nodes;
	size_t order; /* in which it was found */
};

struct candidates {
	struct candidate *items;
	size_t n;
};

static int add(struct candidates *all, const struct candidate *candidate)
{
	int r = rd_array_grow(&all->items, all->n, sizeof(*all->items));

	if (!r) {
		all->items[all->n] = *candidate;
		all->items[all->n].order = all->n;
		all->n++;
	}
	return r;
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
			struct candidate candidate = {
				.backend = {.ip = endpoint->ip, .port = subset->ports[p].port},
				.ready = endpoint->ready,
				.serving = endpoint->serving,
				.terminating = endpoint->terminating,
				.node = endpoint->node,
				.hint_zones = endpoint->hint_zones,
				.hint_nodes = endpoint->hint_nodes,
			};

			if (endpoint->ip.family == family && add(all, &candidate))
				return -ENOMEM;
		}
	}
	return 0;
}

/* Endpoints count where the mirroring controller would make slices of them: not
 * for a Service with a selector (A18). */
static bool counts(const struct rd_object *object, const struct rd_locale *locale,
		   const struct rd_object *service)
{
	if (object->kind == RD_ENDPOINTS && locale->legacy_endpoints)
		return true;
	return !object->slice.ignored &&
	       !(object->kind == RD_ENDPOINTS && service->service.n_selector);
}

static int add_slices(struct candidates *all, const struct rd_store *store,
		      const struct rd_locale *locale, const struct rd_object *service,
		      const struct rd_service_port *port, uint8_t family)
{
	struct rd_object *object = NULL;

	while ((object = rd_store_next_slice(store, service->namespace, service->name, object))) {
		if (!counts(object, locale, service))
			continue;
		for (size_t i = 0; i < object->slice.n_subsets; i++) {
			int r = add_subset(all, &object->slice.subsets[i], port, family);

			if (r)
				return r;
		}
	}
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
		uint16_t number = rd_target_port(port, pod);
		struct candidate candidate = {
			.backend = {.ip = *ip, .port = number},
			.ready = service->service.publish_not_ready ||
				 (pod->ready && !pod->terminating),
			.serving = pod->ready,
			.terminating = pod->terminating,
			.node = pod->node,
		};

		if (pod->ended || !ip->family || !number ||
		    !rd_selector_matches(&service->service, pod))
			continue;
		if (add(all, &candidate))
			return -ENOMEM;
	}
	return 0;
}

static int compare_backends(const struct rd_backend *a, const struct rd_backend *b)
{
	return rd_ip_compare(&a->ip, &b->ip) ?: (int)a->port - (int)b->port;
}

/* By address and port; of two with the same, the one to keep first: not
 * terminating before terminating (A13), ready before not, the first found. */
static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return compare_backends(&x->backend, &y->backend)
		       ?: (int)x->terminating - (int)y->terminating
		       ?: (int)y->ready - (int)x->ready
		       ?: (x->order < y->order ? -1 : 1);
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

/* ---- which of them are used ------------------------------------------------------ */

/* What an endpoint must be: on a node, or named by a hint for one. */
typedef bool (*rule)(const struct candidate *candidate, const void *context);

static bool anywhere(const struct candidate *candidate, const void *context)
{
	(void)candidate;
	(void)context;
	return true;
}

static bool is_on_node(const struct candidate *candidate, const void *context)
{
	const char *node = context;

	return *node && candidate->node && !strcmp(candidate->node, node);
}

static bool names(char *const *hints, const char *name)
{
	for (; hints && *hints; hints++)
		if (*name && !strcmp(*hints, name))
			return true;
	return false;
}

static bool is_for_node(const struct candidate *candidate, const void *context)
{
	return names(candidate->hint_nodes, context);
}

static bool is_for_zone(const struct candidate *candidate, const void *context)
{
	return names(candidate->hint_zones, context);
}

/* The topology rule: by node, else by zone, where every ready endpoint has such
 * hints and one names us; else none (B5, B6). */
static rule topology(const struct candidates *all, const struct rd_locale *locale,
		     const void **ret_context)
{
	bool all_nodes = true, all_zones = true, our_node = false, our_zone = false;

	for (size_t i = 0; i < all->n; i++) {
		const struct candidate *c = &all->items[i];

		if (!c->ready)
			continue;
		all_nodes &= c->hint_nodes != NULL;
		all_zones &= c->hint_zones != NULL;
		our_node |= is_for_node(c, locale->node);
		our_zone |= is_for_zone(c, locale->zone);
	}
	if (all_nodes && our_node) {
		*ret_context = locale->node;
		return is_for_node;
	}
	*ret_context = locale->zone;
	return all_zones && our_zone ? is_for_zone : anywhere;
}

/*
 * Fill a set with the endpoints that are ready and fit `ready_rule`; if there
 * are none, with those that are terminating and still serving and fit
 * `fallback_rule` (B2, B3).
 */
static int fill_set(const struct candidates *all, rule ready_rule, rule fallback_rule,
		    const void *context, struct rd_wanted_set *set)
{
	set->backends = calloc(all->n + 1, sizeof(*set->backends));
	if (!set->backends)
		return -ENOMEM;
	for (size_t i = 0; i < all->n; i++)
		if (all->items[i].ready && ready_rule(&all->items[i], context))
			set->backends[set->n++] = all->items[i].backend;
	if (set->n)
		return 0;
	for (size_t i = 0; i < all->n; i++) {
		const struct candidate *c = &all->items[i];

		if (c->serving && c->terminating && fallback_rule(c, context))
			set->backends[set->n++] = c->backend;
	}
	return 0;
}

/* Endpoints anywhere, the near ones where hints say so. */
static int cluster_set(const struct candidates *all, const struct rd_locale *locale,
		       struct rd_wanted_set *set)
{
	const void *context;
	rule near = topology(all, locale, &context);

	return fill_set(all, near, anywhere, context, set);
}

/* Endpoints on one node. */
static int local_set(const struct candidates *all, const char *node, struct rd_wanted_set *set)
{
	return fill_set(all, is_on_node, is_on_node, node, set);
}

/* ---- a Service port ------------------------------------------------------------------ */

/* What a port's resolution works on. */
struct port_context {
	const struct rd_store *store;
	const struct rd_locale *locale;
	const struct rd_object *service;
	const struct rd_service_port *port;
	uint8_t family;
	uint8_t flags; /* of every frontend */
	struct candidates all;
	struct rd_wanted_port *wanted;
};

/* Append an empty set of the family; NULL: out of memory. */
static struct rd_wanted_set *new_set(struct port_context *c)
{
	struct rd_wanted_port *wanted = c->wanted;

	if (rd_array_grow(&wanted->sets, wanted->n_sets, sizeof(*wanted->sets)))
		return NULL;
	wanted->sets[wanted->n_sets] = (struct rd_wanted_set){.family = c->family};
	return &wanted->sets[wanted->n_sets++];
}

/* Append a frontend that leads to the set appended last. */
static int add_frontend(struct port_context *c, const struct rd_ip *ip, uint16_t port,
			uint8_t scope, uint8_t flags)
{
	struct rd_wanted_port *wanted = c->wanted;

	if (ip->family != c->family)
		return 0;
	if (rd_array_grow(&wanted->frontends, wanted->n_frontends, sizeof(*wanted->frontends)))
		return -ENOMEM;
	wanted->frontends[wanted->n_frontends++] = (struct rd_wanted_frontend){
		.ip = *ip,
		.port = port,
		.scope = scope,
		.flags = flags | c->flags,
		.set = wanted->n_sets - 1,
	};
	return 0;
}

static int add_frontends(struct port_context *c, const struct rd_ip *ips, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (add_frontend(c, &ips[i], c->port->port, RD_SCOPE_ADDRESS, 0))
			return -ENOMEM;
	return 0;
}

/*
 * Whether this node may use a load balancer's addresses. A socket's source is
 * not known before it is connected: this node's addresses stand for it. Where
 * they are not allowed, the address is left to whoever else handles it (C10).
 */
static bool is_source_allowed(const struct port_context *c)
{
	const struct rd_service_spec *spec = &c->service->service;
	bool any_of_family = false;

	for (size_t i = 0; i < spec->n_source_ranges; i++) {
		if (spec->source_ranges[i].base.family != c->family)
			continue;
		any_of_family = true;
		for (size_t a = 0; a < c->locale->n_addresses; a++)
			if (rd_cidr_contains(&spec->source_ranges[i], &c->locale->addresses[a]))
				return true;
	}
	return !any_of_family;
}

static bool has_node_port(const struct port_context *c)
{
	enum rd_service_type type = c->service->service.type;

	return c->port->node_port && (type == RD_TYPE_NODE_PORT || type == RD_TYPE_LOAD_BALANCER);
}

static bool is_node_port_address(const struct port_context *c, const struct rd_node_spec *node,
				 const struct rd_ip *ip)
{
	return !c->locale->nodeports || rd_nodeport_allows(c->locale->nodeports, ip, node);
}

/* A set that no frontend leads to, since there were `before`, holds slots for
 * nothing: take the last one back. */
static void drop_unused_set(struct port_context *c, size_t before)
{
	if (c->wanted->n_frontends == before)
		free(c->wanted->sets[--c->wanted->n_sets].backends);
}

/* The NodePort at the addresses of other nodes, with the policy Local: what
 * runs there. Where nothing does, it is refused (C12). */
static int add_other_nodes(struct port_context *c)
{
	struct rd_object *node = NULL;

	while ((node = rd_store_next(c->store, RD_NODE, NULL, node))) {
		size_t before = c->wanted->n_frontends;
		struct rd_wanted_set *set;

		if (!strcmp(node->name, c->locale->node))
			continue;
		set = new_set(c);
		if (!set || local_set(&c->all, node->name, set))
			return -ENOMEM;
		for (size_t i = 0; set->n && i < node->node.n_addresses; i++)
			if (is_node_port_address(c, &node->node, &node->node.addresses[i]) &&
			    add_frontend(c, &node->node.addresses[i], c->port->node_port,
					 RD_SCOPE_ADDRESS, 0))
				return -ENOMEM;
		drop_unused_set(c, before);
	}
	return 0;
}

/*
 * The addresses for which externalTrafficPolicy was made. From this node it
 * makes no difference: its clients get every endpoint (C11).
 */
static int add_external(struct port_context *c)
{
	const struct rd_service_spec *spec = &c->service->service;
	const struct rd_ip any = {.family = c->family};
	uint8_t flags = spec->external_local ? RD_FLAG_LOCAL : 0;
	size_t before = c->wanted->n_frontends;
	struct rd_wanted_set *set = new_set(c);

	if (!set || cluster_set(&c->all, c->locale, set))
		return -ENOMEM;
	if (add_frontends(c, spec->external_ips, spec->n_external_ips) ||
	    (is_source_allowed(c) && add_frontends(c, spec->lb_ips, spec->n_lb_ips)))
		return -ENOMEM;
	if (has_node_port(c) &&
	    add_frontend(c, &any, c->port->node_port, RD_SCOPE_NODE_PORT, flags))
		return -ENOMEM;
	drop_unused_set(c, before);
	return has_node_port(c) && spec->external_local ? add_other_nodes(c) : 0;
}

static int add_internal(struct port_context *c, const struct rd_ip *cluster_ip)
{
	struct rd_wanted_set *set = new_set(c);
	int r;

	if (!set)
		return -ENOMEM;
	r = c->service->service.internal_local ? local_set(&c->all, c->locale->node, set)
					       : cluster_set(&c->all, c->locale, set);
	return r ?: add_frontend(c, cluster_ip, c->port->port, RD_SCOPE_ADDRESS, 0);
}

static bool has_external(const struct port_context *c)
{
	const struct rd_service_spec *spec = &c->service->service;

	return spec->n_external_ips || spec->n_lb_ips || has_node_port(c);
}

/* One family of a Service port; a family without ClusterIP has nothing (A5). */
static int resolve_family(struct port_context *c)
{
	const struct rd_ip *cluster_ip = &c->service->service.cluster_ip[c->family == RD_FAMILY_6];
	int r;

	if (!cluster_ip->family)
		return 0;
	r = add_slices(&c->all, c->store, c->locale, c->service, c->port, c->family);
	r = r ?: add_pods(&c->all, c->store, c->service, c->port, c->family);
	if (!r) {
		drop_duplicates(&c->all);
		r = add_internal(c, cluster_ip);
	}
	if (!r && has_external(c))
		r = add_external(c);
	free(c->all.items);
	return r;
}

/* The flags of every frontend of a port. */
static uint8_t flags_of(const struct rd_locale *locale, const struct rd_object *service,
			const struct rd_service_port *port)
{
	size_t n = strlen(service->namespace);
	const char *at = locale->dns_for;
	bool is_dns = at && port->port == 53 && !strncmp(at, service->namespace, n) &&
		      at[n] == '/' && !strcmp(at + n + 1, service->name);

	return is_dns ? RD_FLAG_DNS : 0;
}

static int resolve_port(const struct rd_store *store, const struct rd_locale *locale,
			const struct rd_object *service, const struct rd_service_port *port,
			struct rd_wanted_port *wanted)
{
	static const uint8_t families[] = {RD_FAMILY_4, RD_FAMILY_6};

	wanted->name = port->name;
	wanted->port = port->port;
	wanted->protocol = port->protocol;
	for (size_t i = 0; i < RD_ARRAY_SIZE(families); i++) {
		struct port_context c = {
			.store = store,
			.locale = locale,
			.service = service,
			.port = port,
			.family = families[i],
			.flags = flags_of(locale, service, port),
			.wanted = wanted,
		};
		int r = resolve_family(&c);

		if (r)
			return r;
	}
	return 0;
}

bool rd_is_programmed(const struct rd_service_spec *service)
{
	return !service->headless && !service->not_ours && service->type != RD_TYPE_EXTERNAL_NAME;
}

bool rd_has_health_check(const struct rd_service_spec *service)
{
	return rd_is_programmed(service) && service->type == RD_TYPE_LOAD_BALANCER &&
	       service->external_local && service->health_check_port;
}

int rd_count_local_ready(const struct rd_store *store, const struct rd_locale *locale,
			 const struct rd_object *service, enum rd_ip_family family,
			 uint32_t *ret_count)
{
	const struct rd_service_spec *spec = &service->service;
	const struct rd_ip *last = NULL;
	struct candidates all = {0};
	uint32_t count = 0;
	int r = 0;

	for (size_t i = 0; !r && i < spec->n_ports; i++)
		r = add_slices(&all, store, locale, service, &spec->ports[i], family)
			    ?: add_pods(&all, store, service, &spec->ports[i], family);
	if (!r) {
		drop_duplicates(&all);
		for (size_t i = 0; i < all.n; i++) {
			const struct rd_ip *ip = &all.items[i].backend.ip;

			if (!all.items[i].ready || !is_on_node(&all.items[i], locale->node) ||
			    (last && !rd_ip_compare(last, ip)))
				continue;
			last = ip;
			count++;
		}
		*ret_count = count;
	}
	free(all.items);
	return r;
}

int rd_resolve(const struct rd_store *store, const struct rd_locale *locale,
	       const struct rd_object *service, struct rd_wanted *ret_wanted)
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
			r = resolve_port(store, locale, service, &spec->ports[i],
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

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "reconcile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "assign.h"
#include "log.h"
#include "resolve.h"
#include "system.h"
#include "tree.h"

/* A Service that could not be programmed, or not wholly: tried again with every
 * change. */
struct waiting {
	RB_ENTRY(waiting) entry;
	char namespace[RD_LABEL_MAX];
	char name[RD_LABEL_MAX];
	struct rd_error reason;
	bool whole; /* nothing of it is as it should be */
};

RB_HEAD(waiting_tree, waiting);

static int compare_waiting(const struct waiting *a, const struct waiting *b)
{
	return rd_name_compare(a->namespace, a->name, b->namespace, b->name);
}

RD_TREE_GENERATE(waiting_tree, waiting, entry, compare_waiting)

struct rd_reconciler {
	struct rd_reconciler_config config;
	struct rd_ip *addresses; /* this node's */
	size_t n_addresses;
	struct rd_plan plan;
	bool planned;  /* the plan knows what is in the maps */
	bool swept;    /* what the source does not know has been taken out */
	bool in_doubt; /* see rd_reconcile */
	struct waiting_tree waiting;
	struct rd_reconciled took; /* by the reconcile under way */
};

/* ---- who waits ------------------------------------------------------------- */

static struct waiting *find_waiting(struct rd_reconciler *reconciler, const char *namespace,
				    const char *name)
{
	struct waiting probe = {0};

	rd_text_copy(probe.namespace, sizeof(probe.namespace), namespace);
	rd_text_copy(probe.name, sizeof(probe.name), name);
	return RB_FIND(waiting_tree, &reconciler->waiting, &probe);
}

static void stop_waiting(struct rd_reconciler *reconciler, struct waiting *waiting)
{
	RB_REMOVE(waiting_tree, &reconciler->waiting, waiting);
	free(waiting);
}

/* Remember that a Service could not be programmed and say so, once. */
static int wait_for_room(struct rd_reconciler *reconciler, const struct rd_object *service,
			 const struct rd_error *reason, bool whole)
{
	struct waiting *waiting = find_waiting(reconciler, service->namespace, service->name);

	if (!waiting) {
		waiting = calloc(1, sizeof(*waiting));
		if (!waiting)
			return -ENOMEM;
		rd_text_copy(waiting->namespace, sizeof(waiting->namespace), service->namespace);
		rd_text_copy(waiting->name, sizeof(waiting->name), service->name);
		RB_INSERT(waiting_tree, &reconciler->waiting, waiting);
	}
	if (strcmp(waiting->reason.text, reason->text))
		rd_log(RD_LOG_WARN,
		       whole ? "Service refused, it will be tried again"
			     : "an address of a Service left out, it will be tried again",
		       RD_TEXT("namespace", service->namespace), RD_TEXT("service", service->name),
		       RD_TEXT("reason", reason->text));
	waiting->reason = *reason;
	waiting->whole = whole;
	return 0;
}

/* ---- one Service ----------------------------------------------------------- */

static size_t count_backends(const struct rd_wanted *wanted)
{
	size_t n = 0;

	for (size_t p = 0; p < wanted->n_ports; p++)
		for (size_t s = 0; s < wanted->ports[p].n_sets; s++)
			n += wanted->ports[p].sets[s].n;
	return n;
}

/* Say that a Service has lost its last endpoint, or never had one. */
static void say_empty(const struct rd_reconciler *reconciler, const struct rd_object *service)
{
	struct rd_object *pod = NULL;
	bool matched = false;

	while (!matched &&
	       (pod = rd_store_next(reconciler->config.store, RD_POD, service->namespace, pod)))
		matched = rd_selector_matches(&service->service, &pod->pod);
	rd_log(RD_LOG_WARN, "Service has no usable endpoint, connects are refused",
	       RD_TEXT("namespace", service->namespace), RD_TEXT("service", service->name),
	       RD_TEXT("why", !service->service.n_selector ? "it has no selector, and no "
							     "EndpointSlice or Endpoints"
			      : matched			   ? "no Pod of its selector is ready"
							   : "no Pod matches its selector"));
}

static const struct rd_planned *find_planned(const struct rd_reconciler *reconciler,
					     const struct rd_object *service)
{
	return rd_plan_find(&reconciler->plan, service->namespace, service->name);
}

static bool has_backend(const struct rd_wanted *wanted, const struct rd_planned_port *port,
			uint32_t family, const struct rd_slot *slot)
{
	for (size_t p = 0; p < wanted->n_ports; p++)
		for (size_t s = 0; s < wanted->ports[p].n_sets; s++) {
			const struct rd_wanted_set *set = &wanted->ports[p].sets[s];

			if (strcmp(wanted->ports[p].name, port->record.port_name) ||
			    (set->family == RD_FAMILY_6) != family)
				continue;
			for (size_t i = 0; i < set->n; i++)
				if (set->backends[i].port == slot->port &&
				    !memcmp(set->backends[i].ip.bytes, slot->addr,
					    sizeof(slot->addr)))
					return true;
		}
	return false;
}

/*
 * While a manifest has been unusable ever since the start, an endpoint that is
 * in the maps and not in the other manifests may be written there: the Service
 * stays as it was found.
 */
static bool is_doubtful(const struct rd_reconciler *reconciler, const struct rd_wanted *wanted)
{
	const struct rd_planned *planned;

	if (reconciler->swept || !reconciler->in_doubt)
		return false;
	planned = find_planned(reconciler, wanted->service);
	for (size_t p = 0; planned && p < planned->n_ports; p++) {
		const struct rd_planned_port *port = &planned->ports[p];

		for (size_t i = 0; i < port->n_ranges; i++) {
			const struct rd_range *range = &port->ranges[i];
			const struct rd_slot *slots = reconciler->plan.slots + range->first;

			for (uint32_t n = 0; n < range->count; n++)
				if (!has_backend(wanted, port, range->family, &slots[n]))
					return true;
		}
	}
	return false;
}

/* State what a Service should be, as far as its objects say. Returns what the
 * plan says. */
static int plan_wanted(struct rd_reconciler *reconciler, const struct rd_wanted *wanted,
		       struct rd_error *reason)
{
	const struct rd_object *service = wanted->service;
	bool is_news = false;
	int r;

	if (is_doubtful(reconciler, wanted))
		return 0;
	if (!wanted->n_ports)
		return rd_plan_remove(&reconciler->plan, service->namespace, service->name);
	if (!count_backends(wanted)) {
		const struct rd_planned *before = find_planned(reconciler, service);

		is_news = !before || rd_planned_slots(before);
	}
	r = rd_plan_service(&reconciler->plan, wanted, reason);
	if ((!r || r == -EEXIST) && is_news)
		say_empty(reconciler, service);
	return r;
}

static struct rd_locale locale_of(const struct rd_reconciler *reconciler)
{
	const struct rd_object *node =
		rd_store_find(reconciler->config.store, RD_NODE, "", reconciler->config.node_name);

	return (struct rd_locale){
		.node = reconciler->config.node_name,
		.zone = (node ? node->node.zone : NULL) ?: "",
		.addresses = reconciler->addresses,
		.n_addresses = reconciler->n_addresses,
		.nodeports = reconciler->config.nodeports,
		.legacy_endpoints = reconciler->config.legacy_endpoints,
		.dns_for = reconciler->config.dns_for,
	};
}

static struct rd_assigner assigner_of(struct rd_reconciler *reconciler)
{
	return (struct rd_assigner){
		.cidr = reconciler->config.service_cidr,
		.store = reconciler->config.store,
		.plan = &reconciler->plan,
	};
}

static int update_health_check(struct rd_reconciler *reconciler, const struct rd_locale *locale,
			       const struct rd_object *service)
{
	static const enum rd_ip_family families[] = {RD_FAMILY_4, RD_FAMILY_6};
	uint32_t ready[RD_ARRAY_SIZE(families)];

	if (!rd_has_health_check(&service->service)) {
		rd_healthchecks_remove(reconciler->config.checks, service->namespace,
				       service->name);
		return 0;
	}
	for (size_t i = 0; i < RD_ARRAY_SIZE(families); i++)
		if (rd_count_local_ready(reconciler->config.store, locale, service, families[i],
					 &ready[i]))
			return -ENOMEM;
	return rd_healthchecks_set(reconciler->config.checks, service->namespace, service->name,
				   service->service.health_check_port, ready);
}

static int plan_service(struct rd_reconciler *reconciler, const struct rd_locale *locale,
			const struct rd_object *service)
{
	struct waiting *waiting = find_waiting(reconciler, service->namespace, service->name);
	struct rd_error reason = {0};
	struct rd_assigner assigner = assigner_of(reconciler);
	struct rd_wanted wanted;
	uint64_t began, resolved;
	int r;

	if (rd_assign_is_needed(&assigner, service)) {
		rd_error_set(&reason, -ENOSPC, "no address is left in --service-cidr");
		return wait_for_room(reconciler, service, &reason, true);
	}
	began = rd_monotonic_ns();
	r = update_health_check(reconciler, locale, service)
		    ?: rd_resolve(reconciler->config.store, locale, service, &wanted);
	if (r)
		return r;
	resolved = rd_monotonic_ns();
	r = plan_wanted(reconciler, &wanted, &reason);
	rd_wanted_free(&wanted);
	reconciler->took.resolve_ns += resolved - began;
	reconciler->took.plan_ns += rd_monotonic_ns() - resolved;
	if (r == -ENOSPC || r == -EEXIST)
		return wait_for_room(reconciler, service, &reason, r == -ENOSPC);
	if (!r && waiting) {
		rd_log(RD_LOG_INFO, "Service is served now",
		       RD_TEXT("namespace", service->namespace), RD_TEXT("service", service->name));
		stop_waiting(reconciler, waiting);
	}
	return r;
}

/* ---- node addresses -------------------------------------------------------- */

/* The addresses of rd_nodeaddrs: this node's that the flag allows, and other
 * nodes' (C6, C7, C12). */
static int plan_nodes(struct rd_reconciler *reconciler)
{
	const struct rd_object *self =
		rd_store_find(reconciler->config.store, RD_NODE, "", reconciler->config.node_name);
	struct rd_object *node = NULL;
	int r = 0;

	rd_plan_begin_nodes(&reconciler->plan);
	for (size_t i = 0; !r && i < reconciler->n_addresses; i++) {
		const struct rd_ip *ip = &reconciler->addresses[i];

		if (rd_nodeport_allows(reconciler->config.nodeports, ip, self ? &self->node : NULL))
			r = rd_plan_node(&reconciler->plan, ip,
					 rd_ip_is_loopback(ip) ? RD_NODE_LOOPBACK : RD_NODE_THIS);
	}
	while (!r && (node = rd_store_next(reconciler->config.store, RD_NODE, NULL, node)))
		for (size_t i = 0; !r && node != self && i < node->node.n_addresses; i++)
			if (rd_nodeport_allows(reconciler->config.nodeports,
					       &node->node.addresses[i], &node->node))
				r = rd_plan_node(&reconciler->plan, &node->node.addresses[i],
						 RD_NODE_OTHER);
	return r;
}

/* Health check ports are where NodePorts are. Everywhere, they follow the
 * addresses by themselves. */
static int place_health_checks(struct rd_reconciler *reconciler)
{
	static const struct rd_ip everywhere[] = {{.family = RD_FAMILY_4}, {.family = RD_FAMILY_6}};
	const struct rd_object *self =
		rd_store_find(reconciler->config.store, RD_NODE, "", reconciler->config.node_name);
	_rd_free_ struct rd_ip *ips = NULL;
	size_t n = 0;

	if (reconciler->config.nodeports->all)
		return rd_healthchecks_listen_on(reconciler->config.checks, everywhere,
						 RD_ARRAY_SIZE(everywhere));
	for (size_t i = 0; i < reconciler->n_addresses; i++) {
		if (!rd_nodeport_allows(reconciler->config.nodeports, &reconciler->addresses[i],
					self ? &self->node : NULL))
			continue;
		if (rd_array_grow(&ips, n, sizeof(*ips)))
			return -ENOMEM;
		ips[n++] = reconciler->addresses[i];
	}
	return rd_healthchecks_listen_on(reconciler->config.checks, ips, n);
}

/* ---- Services in turn ------------------------------------------------------ */

/* A Service that is to be planned. */
struct turn {
	const struct rd_object *service;
	size_t order; /* by name */
	bool planned; /* it is in the maps */
};

/* The order in which Services are planned: who is in the maps keeps its place
 * and addresses; among the others the older first, then by name. */
static int compare_turns(const void *a, const void *b)
{
	const struct turn *x = a, *y = b;

	if (x->planned != y->planned)
		return x->planned ? -1 : 1;
	if (x->service->created != y->service->created)
		return x->service->created < y->service->created ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static int plan_in_turn(struct rd_reconciler *reconciler, struct turn *turns, size_t n)
{
	struct rd_locale locale = locale_of(reconciler);
	int r = 0;

	if (n)
		qsort(turns, n, sizeof(*turns), compare_turns);
	for (size_t i = 0; !r && i < n; i++)
		r = plan_service(reconciler, &locale, turns[i].service);
	return r;
}

/* The source does not have the Service any more, if it ever had. */
static int forget_service(struct rd_reconciler *reconciler, const char *namespace, const char *name)
{
	struct waiting *waiting = find_waiting(reconciler, namespace, name);

	if (waiting)
		stop_waiting(reconciler, waiting);
	rd_healthchecks_remove(reconciler->config.checks, namespace, name);
	return rd_plan_remove(&reconciler->plan, namespace, name);
}

/* Take the Services of `names` that are gone out of the plan, and plan the
 * others. */
static int plan_names(struct rd_reconciler *reconciler, struct rd_name_set *names)
{
	_rd_free_ struct turn *turns = NULL;
	struct rd_service_name *name;
	size_t n = 0;
	struct rd_assigner assigner = assigner_of(reconciler);
	int r = rd_assign(&assigner, names);

	for (name = rd_name_set_first(names); !r && name; name = rd_name_set_next(name)) {
		const struct rd_object *service = rd_store_find(
			reconciler->config.store, RD_SERVICE, name->namespace, name->name);

		if (!service) {
			r = forget_service(reconciler, name->namespace, name->name);
			continue;
		}
		r = rd_array_grow(&turns, n, sizeof(*turns));
		if (r)
			break;
		turns[n] = (struct turn){
			.service = service,
			.order = n,
			.planned = rd_plan_find(&reconciler->plan, name->namespace, name->name),
		};
		n++;
	}
	return r ?: plan_in_turn(reconciler, turns, n);
}

/* Who waits is considered with the others, so that the older comes first. */
static int add_waiting(const struct rd_reconciler *reconciler, struct rd_name_set *names)
{
	struct waiting *waiting;
	int r = 0;

	RB_FOREACH(waiting, waiting_tree, (struct waiting_tree *)&reconciler->waiting)
		r = r ?: rd_name_set_add(names, waiting->namespace, waiting->name);
	return r;
}

static int plan_waiting(struct rd_reconciler *reconciler)
{
	struct rd_name_set names = {0};
	int r = add_waiting(reconciler, &names) ?: plan_names(reconciler, &names);

	rd_name_set_clear(&names);
	return r;
}

/* Names of every Service in the store; and of those in the maps, unless it is
 * too early to take out what the store does not know. */
static int add_all_names(struct rd_reconciler *reconciler, struct rd_name_set *names)
{
	bool sweep = !reconciler->in_doubt;
	struct rd_planned *planned = NULL;
	struct rd_object *service = NULL;
	int r = 0;

	while (!r && (service = rd_store_next(reconciler->config.store, RD_SERVICE, NULL, service)))
		r = rd_name_set_add(names, service->namespace, service->name);
	while (!r && sweep && (planned = rd_plan_next(&reconciler->plan, planned)))
		r = rd_name_set_add(names, planned->namespace, planned->name);
	reconciler->swept = !r && sweep;
	return r;
}

/* ---- to the maps ----------------------------------------------------------- */

static int apply(struct rd_reconciler *reconciler)
{
	const struct rd_ops *ops;
	uint64_t writes, began;
	int r = rd_plan_take_ops(&reconciler->plan, &ops);

	if (r)
		return r;
	began = rd_monotonic_ns();
	r = rd_maps_apply(reconciler->config.maps, &reconciler->plan, ops, &writes);
	reconciler->took.writes += writes;
	reconciler->took.apply_ns += rd_monotonic_ns() - began;
	rd_plan_applied(&reconciler->plan);
	return r;
}

/* Wait until nothing uses what was retired. Only for when room is short: it
 * takes milliseconds. */
static int grace(struct rd_reconciler *reconciler)
{
	int r = rd_wait_for_programs();

	if (!r) {
		rd_maps_fold(reconciler->config.maps, &reconciler->plan);
		rd_plan_grace(&reconciler->plan);
	}
	return r;
}

static bool is_limbo_large(const struct rd_reconciler *reconciler)
{
	const struct rd_plan *plan = &reconciler->plan;

	return rd_plan_limbo(plan) > plan->limits.max_slots / 8 ||
	       plan->places.limbo_count > plan->places.size / 8;
}

static int plan_and_apply(struct rd_reconciler *reconciler, struct rd_name_set *names)
{
	int r = add_waiting(reconciler, names) ?: plan_names(reconciler, names);

	/* Again for those that waited for an address or room that has just been
	 * given up; and once more for what only a grace period sets free. */
	r = r ?: plan_waiting(reconciler) ?: apply(reconciler);
	if (r || (!is_limbo_large(reconciler) &&
		  (RB_EMPTY(&reconciler->waiting) || !rd_plan_limbo(&reconciler->plan))))
		return r;
	r = grace(reconciler);
	if (r || RB_EMPTY(&reconciler->waiting))
		return r;
	return plan_waiting(reconciler) ?: apply(reconciler);
}

/*
 * The changes of a Service's endpoints are in the maps: note how long ago what
 * triggered them was (I3).
 */
static void note_programmed(struct rd_reconciler *reconciler, const struct rd_service_name *name,
			    uint64_t now)
{
	const struct waiting *waiting = find_waiting(reconciler, name->namespace, name->name);
	bool planned = rd_plan_find(&reconciler->plan, name->namespace, name->name);
	struct rd_object *slice = NULL;

	/* The change will be in the maps when there is room, or a Service. */
	if ((waiting && waiting->whole) ||
	    !rd_store_find(reconciler->config.store, RD_SERVICE, name->namespace, name->name))
		return;
	while ((slice = rd_store_next_slice(reconciler->config.store, name->namespace, name->name,
					    slice))) {
		uint64_t trigger = (uint64_t)slice->slice.pending_ns;

		if (planned && trigger)
			rd_syncs_programmed(reconciler->config.syncs, trigger, now);
		slice->slice.pending_ns = 0;
	}
}

static void note_all_programmed(struct rd_reconciler *reconciler, struct rd_name_set *names)
{
	struct rd_service_name *name;
	uint64_t now = rd_realtime_ns();

	for (name = rd_name_set_first(names); name; name = rd_name_set_next(name))
		note_programmed(reconciler, name, now);
}

/* Make a plan of what is in the maps. */
static int adopt(struct rd_reconciler *reconciler)
{
	struct rd_maps *maps = reconciler->config.maps;
	struct rd_limits limits = rd_maps_limits(maps);
	int r;

	rd_plan_free(&reconciler->plan);
	/* What the former reconciler retired may still be in use. */
	r = rd_wait_for_programs() ?: rd_plan_new(&reconciler->plan, &limits);
	r = r ?: rd_maps_adopt(maps, &reconciler->plan);
	if (r)
		return r;
	reconciler->planned = true;
	reconciler->swept = false;
	reconciler->config.store->all_dirty = true;
	reconciler->config.store->nodes_changed = true;
	return 0;
}

static int reconcile(struct rd_reconciler *reconciler)
{
	struct rd_store *store = reconciler->config.store;
	struct rd_name_set names = {0};
	int r = reconciler->planned ? 0 : adopt(reconciler);

	if (r)
		return r;
	if (store->nodes_changed) {
		r = plan_nodes(reconciler) ?: place_health_checks(reconciler);
		if (r)
			return r;
		store->nodes_changed = false;
		store->all_dirty = true;
	}
	if (store->all_dirty || !reconciler->swept)
		r = add_all_names(reconciler, &names);
	while (!r && !RB_EMPTY(&store->dirty)) {
		struct rd_service_name *name = rd_name_set_first(&store->dirty);

		r = rd_name_set_add(&names, name->namespace, name->name);
		if (!r)
			rd_name_set_drop(&store->dirty, name);
	}
	if (!r) {
		store->all_dirty = false;
		r = plan_and_apply(reconciler, &names);
	}
	if (!r)
		note_all_programmed(reconciler, &names);
	rd_name_set_clear(&names);
	return r;
}

/* ---- the whole ------------------------------------------------------------- */

int rd_reconcile(struct rd_reconciler *reconciler, bool in_doubt,
		 struct rd_reconciled *ret_reconciled)
{
	int r;

	reconciler->took = (struct rd_reconciled){0};
	reconciler->in_doubt = in_doubt;
	r = reconcile(reconciler);
	if (r)
		reconciler->planned = false;
	*ret_reconciled = reconciler->took;
	return r;
}

int rd_reconciler_new(const struct rd_reconciler_config *config,
		      struct rd_reconciler **ret_reconciler)
{
	struct rd_reconciler *reconciler = calloc(1, sizeof(*reconciler));
	int r;

	if (!reconciler)
		return -ENOMEM;
	reconciler->config = *config;
	r = adopt(reconciler);
	if (r) {
		rd_reconciler_free(reconciler);
		return r;
	}
	*ret_reconciler = reconciler;
	return 0;
}

void rd_reconciler_free(struct rd_reconciler *reconciler)
{
	struct waiting *waiting;

	if (!reconciler)
		return;
	while ((waiting = RB_ROOT(&reconciler->waiting)))
		stop_waiting(reconciler, waiting);
	free(reconciler->addresses);
	rd_plan_free(&reconciler->plan);
	free(reconciler);
}

void rd_reconciler_set_addresses(struct rd_reconciler *reconciler, struct rd_ip *addresses,
				 size_t n)
{
	free(reconciler->addresses);
	reconciler->addresses = addresses;
	reconciler->n_addresses = n;
	reconciler->config.store->nodes_changed = true;
}

const struct rd_plan *rd_reconciler_plan(const struct rd_reconciler *reconciler)
{
	return &reconciler->plan;
}

void rd_reconciler_say_refused(const struct rd_reconciler *reconciler, struct rd_agent *said)
{
	struct waiting *waiting;

	said->refused_count = 0;
	memset(said->refused, 0, sizeof(said->refused));
	RB_FOREACH(waiting, waiting_tree, (struct waiting_tree *)&reconciler->waiting) {
		struct rd_refused *refused = &said->refused[said->refused_count];

		if (said->refused_count++ >= RD_REFUSED_SHOWN)
			continue;
		snprintf(refused->service, sizeof(refused->service), "%s/%s", waiting->namespace,
			 waiting->name);
		snprintf(refused->reason, sizeof(refused->reason), "%.127s", waiting->reason.text);
	}
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "agent.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "assign.h"
#include "datapath.h"
#include "dns_local.h"
#include "dns_server.h"
#include "healthcheck.h"
#include "log.h"
#include "nodeaddr.h"
#include "nodeport.h"
#include "plan.h"
#include "probes.h"
#include "resolve.h"
#include "source_dir.h"
#include "source_kube.h"
#include "system.h"
#include "version.h"

/* A burst of changes is applied at most this often; the first one after a quiet
 * time at once. */
#define COALESCE_NS 100000000ULL
/* After a failure to write the maps. */
#define RETRY_SECONDS 5
/* How often a person sees how far the first lists are. */
#define PROGRESS_US 100000
/* How often the agent says that it lives, for `redial status`. */
#define HEARTBEAT_SECONDS 5
/* Clients of the DNS server that were sent here are waited for, so often. */
#define LEAVE_US 50000
#define LEAVE_LOOKS 40
/* Sockets whose record has a slot of its own, before records spill. */
#define SOCKET_SLOTS (1U << 15)

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

struct agent {
	const struct rd_agent_config *config;
	struct event_base *base;
	struct event *reconcile_due;
	struct event *retry_due;
	struct event *heartbeat;
	struct event *progress; /* NULL: not shown */
	struct event *signals[3];
	struct rd_store store;
	struct rd_source_dir *dir; /* one of the two sources */
	struct rd_source_kube_config kube_config;
	struct rd_source_kube *kube;
	struct rd_nodeaddrs *nodeaddrs;
	struct rd_healthchecks *checks;
	struct rd_probes *probes;   /* NULL: not asked for */
	struct rd_dns_server *dns;  /* the same */
	struct rd_dns_local *local; /* the same */
	struct event *leave;	    /* when clients of `local` have been served */
	unsigned left;		    /* times that has been looked at */
	struct rd_nodeport_rule nodeport_rule;
	struct rd_ip *addresses; /* this node's */
	size_t n_addresses;
	bool addresses_changed;
	struct rd_datapath *datapath;
	struct rd_plan plan;
	bool planned; /* the plan knows what is in the maps */
	bool swept;   /* what the sources do not know has been taken out */
	struct waiting_tree waiting;
	struct rd_agent said;
	uint64_t reconciled_ns; /* monotonic; when the last reconcile ended */
	struct rd_syncs syncs;
	/* What the reconcile under way took, for the log. */
	uint64_t resolve_ns, plan_ns, apply_ns;
	int result;
	struct rd_error *error;
};

/* ---- the source --------------------------------------------------------------------- */

/* Whether something that the source once had may be missing from the store. */
static bool is_in_doubt(const struct agent *agent)
{
	return agent->dir && rd_source_dir_unknown(agent->dir);
}

/* Whether the store has all that the source has. Before, nothing is written
 * (A20). New maps do not have what is doubtful: they wait for its end. */
static bool is_complete(const struct agent *agent)
{
	if (is_in_doubt(agent) && rd_datapath_is_beside(agent->datapath))
		return false;
	return !agent->kube || rd_source_kube_complete(agent->kube);
}

static void collect(struct agent *agent)
{
	if (agent->dir)
		rd_source_dir_collect(agent->dir);
}

static void reread(struct agent *agent)
{
	if (agent->dir)
		rd_source_dir_reread(agent->dir);
	if (agent->kube)
		rd_source_kube_reread(agent->kube);
	if (agent->dns)
		rd_dns_server_reread(agent->dns, true);
}

static void note_seen(struct agent *agent)
{
	struct rd_agent *said = &agent->said;

	for (int kind = 0; kind < RD_KINDS; kind++)
		if (agent->kube)
			said->seen_ns[kind] = rd_source_kube_seen(agent->kube, (enum rd_kind)kind);
		else if (agent->dir && rd_source_dir_present(agent->dir))
			said->seen_ns[kind] = rd_realtime_ns();
	said->files_bad = agent->dir ? rd_source_dir_bad(agent->dir) : 0;
}

/* ---- status ---------------------------------------------------------------------- */

static void say_refused(struct agent *agent)
{
	struct rd_agent *said = &agent->said;
	struct waiting *waiting;

	said->refused_count = 0;
	memset(said->refused, 0, sizeof(said->refused));
	RB_FOREACH(waiting, waiting_tree, &agent->waiting) {
		struct rd_refused *refused = &said->refused[said->refused_count];

		if (said->refused_count++ >= RD_REFUSED_SHOWN)
			continue;
		snprintf(refused->service, sizeof(refused->service), "%s/%s", waiting->namespace,
			 waiting->name);
		snprintf(refused->reason, sizeof(refused->reason), "%.127s", waiting->reason.text);
	}
}

static void say(struct agent *agent)
{
	struct rd_agent *said = &agent->said;

	note_seen(agent);
	for (int kind = 0; kind < RD_KINDS; kind++)
		said->objects[kind] = agent->store.count[kind];
	say_refused(agent);
	rd_maps_say(rd_datapath_maps(agent->datapath), said);
}

static void begin_saying(struct agent *agent)
{
	struct rd_agent *said = &agent->said;

	said->pid = (uint32_t)getpid();
	said->started_ns = rd_realtime_ns();
	agent->store.started_ns = (int64_t)said->started_ns;
	said->max_services = agent->config->max_services;
	said->max_backends = agent->config->max_backends;
	said->outcomes_off = !rd_datapath_tracks_outcomes(agent->datapath);
	snprintf(said->version, sizeof(said->version), "%s", REDIAL_VERSION);
	snprintf(said->source, sizeof(said->source), "%s",
		 agent->config->manifests ?: agent->config->kube_access->server);
	snprintf(said->cgroup, sizeof(said->cgroup), "%s", agent->config->cgroup);
}

/* ---- reconcile: from the store to the maps ------------------------------------------------ */

static struct waiting *find_waiting(struct agent *agent, const char *namespace, const char *name)
{
	struct waiting probe = {0};

	snprintf(probe.namespace, sizeof(probe.namespace), "%s", namespace);
	snprintf(probe.name, sizeof(probe.name), "%s", name);
	return RB_FIND(waiting_tree, &agent->waiting, &probe);
}

static void stop_waiting(struct agent *agent, struct waiting *waiting)
{
	RB_REMOVE(waiting_tree, &agent->waiting, waiting);
	free(waiting);
}

/* Remember that a Service could not be programmed and say so, once. */
static int wait_for_room(struct agent *agent, const struct rd_object *service,
			 const struct rd_error *reason, bool whole)
{
	struct waiting *waiting = find_waiting(agent, service->namespace, service->name);

	if (!waiting) {
		waiting = calloc(1, sizeof(*waiting));
		if (!waiting)
			return -ENOMEM;
		snprintf(waiting->namespace, sizeof(waiting->namespace), "%s", service->namespace);
		snprintf(waiting->name, sizeof(waiting->name), "%s", service->name);
		RB_INSERT(waiting_tree, &agent->waiting, waiting);
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

static size_t count_backends(const struct rd_wanted *wanted)
{
	size_t n = 0;

	for (size_t p = 0; p < wanted->n_ports; p++)
		for (size_t s = 0; s < wanted->ports[p].n_sets; s++)
			n += wanted->ports[p].sets[s].n;
	return n;
}

static size_t count_slots(const struct rd_planned *planned)
{
	size_t n = 0;

	for (size_t p = 0; planned && p < planned->n_ports; p++)
		for (size_t i = 0; i < planned->ports[p].n_ranges; i++)
			n += planned->ports[p].ranges[i].count;
	return n;
}

static bool has_slots(struct rd_plan *plan)
{
	struct rd_planned *planned = NULL;

	while ((planned = rd_plan_next(plan, planned)))
		if (count_slots(planned))
			return true;
	return false;
}

/* Say that a Service has lost its last endpoint, or never had one. */
static void say_empty(const struct agent *agent, const struct rd_object *service)
{
	struct rd_object *pod = NULL;
	bool matched = false;

	while (!matched && (pod = rd_store_next(&agent->store, RD_POD, service->namespace, pod)))
		matched = rd_selector_matches(&service->service, &pod->pod);
	rd_log(RD_LOG_WARN, "Service has no usable endpoint, connects are refused",
	       RD_TEXT("namespace", service->namespace), RD_TEXT("service", service->name),
	       RD_TEXT("why", !service->service.n_selector ? "it has no selector, and no "
							     "EndpointSlice or Endpoints"
			      : matched			   ? "no Pod of its selector is ready"
							   : "no Pod matches its selector"));
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
static bool is_doubtful(const struct agent *agent, const struct rd_wanted *wanted,
			const struct rd_planned *planned)
{
	if (agent->swept || !is_in_doubt(agent))
		return false;
	for (size_t p = 0; planned && p < planned->n_ports; p++) {
		const struct rd_planned_port *port = &planned->ports[p];

		for (size_t i = 0; i < port->n_ranges; i++) {
			const struct rd_range *range = &port->ranges[i];
			const struct rd_slot *slots = agent->plan.slots + range->first;

			for (uint32_t n = 0; n < range->count; n++)
				if (!has_backend(wanted, port, range->family, &slots[n]))
					return true;
		}
	}
	return false;
}

/* State what a Service should be, as far as its objects say. Returns what the
 * plan says. */
static int plan_wanted(struct agent *agent, const struct rd_wanted *wanted, struct rd_error *reason)
{
	const struct rd_object *service = wanted->service;
	const struct rd_planned *before =
		rd_plan_find(&agent->plan, service->namespace, service->name);
	bool was_empty = before && !count_slots(before);
	int r;

	if (is_doubtful(agent, wanted, before))
		return 0;
	if (!wanted->n_ports)
		return rd_plan_remove(&agent->plan, service->namespace, service->name);
	r = rd_plan_service(&agent->plan, wanted, reason);
	if ((!r || r == -EEXIST) && !count_backends(wanted) && !was_empty)
		say_empty(agent, service);
	return r;
}

static struct rd_locale locale_of(const struct agent *agent)
{
	const struct rd_object *node =
		rd_store_find(&agent->store, RD_NODE, "", agent->config->node_name);

	return (struct rd_locale){
		.node = agent->config->node_name,
		.zone = (node ? node->node.zone : NULL) ?: "",
		.addresses = agent->addresses,
		.n_addresses = agent->n_addresses,
		.nodeports = &agent->nodeport_rule,
		.legacy_endpoints = agent->config->legacy_endpoints,
		.dns_for = agent->config->dns_local_for,
	};
}

static struct rd_assigner assigner_of(struct agent *agent)
{
	return (struct rd_assigner){
		.cidr = &agent->config->service_cidr,
		.store = &agent->store,
		.plan = &agent->plan,
	};
}

static int update_health_check(struct agent *agent, const struct rd_object *service)
{
	static const enum rd_ip_family families[] = {RD_FAMILY_4, RD_FAMILY_6};
	struct rd_locale locale = locale_of(agent);
	uint32_t ready[RD_ARRAY_SIZE(families)];

	if (!rd_has_health_check(&service->service)) {
		rd_healthchecks_remove(agent->checks, service->namespace, service->name);
		return 0;
	}
	for (size_t i = 0; i < RD_ARRAY_SIZE(families); i++)
		if (rd_count_local_ready(&agent->store, &locale, service, families[i], &ready[i]))
			return -ENOMEM;
	return rd_healthchecks_set(agent->checks, service->namespace, service->name,
				   service->service.health_check_port, ready);
}

static int plan_service(struct agent *agent, const struct rd_object *service)
{
	struct waiting *waiting = find_waiting(agent, service->namespace, service->name);
	struct rd_error reason = {0};
	struct rd_locale locale = locale_of(agent);
	struct rd_assigner assigner = assigner_of(agent);
	struct rd_wanted wanted;
	uint64_t began, resolved;
	int r;

	if (rd_assign_is_needed(&assigner, service)) {
		rd_error_set(&reason, -ENOSPC, "no address is left in --service-cidr");
		return wait_for_room(agent, service, &reason, true);
	}
	began = rd_monotonic_ns();
	r = update_health_check(agent, service)
		    ?: rd_resolve(&agent->store, &locale, service, &wanted);
	if (r)
		return r;
	resolved = rd_monotonic_ns();
	r = plan_wanted(agent, &wanted, &reason);
	rd_wanted_free(&wanted);
	agent->resolve_ns += resolved - began;
	agent->plan_ns += rd_monotonic_ns() - resolved;
	if (r == -ENOSPC || r == -EEXIST)
		return wait_for_room(agent, service, &reason, r == -ENOSPC);
	if (!r && waiting) {
		rd_log(RD_LOG_INFO, "Service is served now",
		       RD_TEXT("namespace", service->namespace), RD_TEXT("service", service->name));
		stop_waiting(agent, waiting);
	}
	return r;
}

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

/* The addresses of rd_nodeaddrs: this node's that the flag allows, and other
 * nodes' (C6, C7, C12). */
static int plan_nodes(struct agent *agent)
{
	const struct rd_object *self =
		rd_store_find(&agent->store, RD_NODE, "", agent->config->node_name);
	struct rd_object *node = NULL;
	int r = 0;

	rd_plan_begin_nodes(&agent->plan);
	for (size_t i = 0; !r && i < agent->n_addresses; i++) {
		const struct rd_ip *ip = &agent->addresses[i];

		if (rd_nodeport_allows(&agent->nodeport_rule, ip, self ? &self->node : NULL))
			r = rd_plan_node(&agent->plan, ip,
					 rd_ip_is_loopback(ip) ? RD_NODE_LOOPBACK : RD_NODE_THIS);
	}
	while (!r && (node = rd_store_next(&agent->store, RD_NODE, NULL, node)))
		for (size_t i = 0; !r && node != self && i < node->node.n_addresses; i++)
			if (rd_nodeport_allows(&agent->nodeport_rule, &node->node.addresses[i],
					       &node->node))
				r = rd_plan_node(&agent->plan, &node->node.addresses[i],
						 RD_NODE_OTHER);
	return r;
}

/* Health check ports are where NodePorts are. Everywhere, they follow the
 * addresses by themselves. */
static int place_health_checks(struct agent *agent)
{
	static const struct rd_ip everywhere[] = {{.family = RD_FAMILY_4}, {.family = RD_FAMILY_6}};
	const struct rd_object *self =
		rd_store_find(&agent->store, RD_NODE, "", agent->config->node_name);
	_rd_free_ struct rd_ip *ips = NULL;
	size_t n = 0;

	if (agent->nodeport_rule.all)
		return rd_healthchecks_listen_on(agent->checks, everywhere,
						 RD_ARRAY_SIZE(everywhere));
	for (size_t i = 0; i < agent->n_addresses; i++) {
		if (!rd_nodeport_allows(&agent->nodeport_rule, &agent->addresses[i],
					self ? &self->node : NULL))
			continue;
		if (rd_array_grow(&ips, n, sizeof(*ips)))
			return -ENOMEM;
		ips[n++] = agent->addresses[i];
	}
	return rd_healthchecks_listen_on(agent->checks, ips, n);
}

/* Read this node's addresses anew, if one has changed. */
static int refresh_addresses(struct agent *agent)
{
	struct rd_ip *addresses;
	size_t n;
	int r;

	if (!agent->addresses_changed)
		return 0;
	r = rd_nodeaddrs_list(&addresses, &n);
	if (r)
		return r;
	free(agent->addresses);
	agent->addresses = addresses;
	agent->n_addresses = n;
	agent->addresses_changed = false;
	if (agent->dns)
		rd_dns_server_set_node(agent->dns, addresses, n);
	agent->store.nodes_changed = true;
	return 0;
}

static int plan_in_turn(struct agent *agent, struct turn *turns, size_t n)
{
	int r = 0;

	if (n)
		qsort(turns, n, sizeof(*turns), compare_turns);
	for (size_t i = 0; !r && i < n; i++)
		r = plan_service(agent, turns[i].service);
	return r;
}

/* The source does not have the Service any more, if it ever had. */
static int forget_service(struct agent *agent, const char *namespace, const char *name)
{
	struct waiting *waiting = find_waiting(agent, namespace, name);

	if (waiting)
		stop_waiting(agent, waiting);
	rd_healthchecks_remove(agent->checks, namespace, name);
	return rd_plan_remove(&agent->plan, namespace, name);
}

/* Take the Services of `names` that are gone out of the plan, and plan the
 * others. */
static int plan_names(struct agent *agent, struct rd_name_set *names)
{
	_rd_free_ struct turn *turns = NULL;
	struct rd_service_name *name;
	size_t n = 0;
	struct rd_assigner assigner = assigner_of(agent);
	int r = rd_assign(&assigner, names);

	for (name = rd_name_set_first(names); !r && name; name = rd_name_set_next(name)) {
		const struct rd_object *service =
			rd_store_find(&agent->store, RD_SERVICE, name->namespace, name->name);

		if (!service) {
			r = forget_service(agent, name->namespace, name->name);
			continue;
		}
		r = rd_array_grow(&turns, n, sizeof(*turns));
		if (r)
			break;
		turns[n] = (struct turn){
			.service = service,
			.order = n,
			.planned = rd_plan_find(&agent->plan, name->namespace, name->name),
		};
		n++;
	}
	return r ?: plan_in_turn(agent, turns, n);
}

/* Who waits is considered with the others, so that the older comes first. */
static int add_waiting(const struct agent *agent, struct rd_name_set *names)
{
	struct waiting *waiting;
	int r = 0;

	RB_FOREACH(waiting, waiting_tree, (struct waiting_tree *)&agent->waiting)
		r = r ?: rd_name_set_add(names, waiting->namespace, waiting->name);
	return r;
}

static int plan_waiting(struct agent *agent)
{
	struct rd_name_set names = {0};
	int r = add_waiting(agent, &names) ?: plan_names(agent, &names);

	rd_name_set_clear(&names);
	return r;
}

/* Names of every Service in the store; and of those in the maps, unless it is
 * too early to take out what the store does not know. */
static int add_all_names(struct agent *agent, struct rd_name_set *names)
{
	bool sweep = !is_in_doubt(agent);
	struct rd_planned *planned = NULL;
	struct rd_object *service = NULL;
	int r = 0;

	while (!r && (service = rd_store_next(&agent->store, RD_SERVICE, NULL, service)))
		r = rd_name_set_add(names, service->namespace, service->name);
	while (!r && sweep && (planned = rd_plan_next(&agent->plan, planned)))
		r = rd_name_set_add(names, planned->namespace, planned->name);
	agent->swept = !r && sweep;
	return r;
}

static int apply(struct agent *agent)
{
	const struct rd_ops *ops;
	uint64_t writes, began;
	int r = rd_plan_take_ops(&agent->plan, &ops);

	if (r)
		return r;
	began = rd_monotonic_ns();
	r = rd_maps_apply(rd_datapath_maps(agent->datapath), &agent->plan, ops, &writes);
	agent->said.writes += writes;
	agent->apply_ns += rd_monotonic_ns() - began;
	rd_plan_applied(&agent->plan);
	if (!r && writes)
		agent->said.synced_ns = rd_realtime_ns();
	return r;
}

/* Wait until nothing uses what was retired. Only for when room is short: it
 * takes milliseconds. */
static int grace(struct agent *agent)
{
	int r = rd_wait_for_programs();

	if (!r) {
		rd_maps_fold(rd_datapath_maps(agent->datapath), &agent->plan);
		rd_plan_grace(&agent->plan);
	}
	return r;
}

static bool is_limbo_large(const struct agent *agent)
{
	const struct rd_plan *plan = &agent->plan;

	return rd_plan_limbo(plan) > plan->limits.max_slots / 8 ||
	       plan->places.limbo_count > plan->places.size / 8;
}

static int plan_and_apply(struct agent *agent, struct rd_name_set *names)
{
	int r = add_waiting(agent, names) ?: plan_names(agent, names);

	/* Again for those that waited for an address or room that has just been
	 * given up; and once more for what only a grace period sets free. */
	r = r ?: plan_waiting(agent) ?: apply(agent);
	if (r ||
	    (!is_limbo_large(agent) && (RB_EMPTY(&agent->waiting) || !rd_plan_limbo(&agent->plan))))
		return r;
	r = grace(agent);
	if (r || RB_EMPTY(&agent->waiting))
		return r;
	return plan_waiting(agent) ?: apply(agent);
}

/*
 * The changes of a Service's endpoints are in the maps: note how long ago what
 * triggered them was (I3).
 */
static void note_programmed(struct agent *agent, const struct rd_service_name *name, uint64_t now)
{
	const struct waiting *waiting = find_waiting(agent, name->namespace, name->name);
	bool planned = rd_plan_find(&agent->plan, name->namespace, name->name);
	struct rd_object *slice = NULL;

	/* The change will be in the maps when there is room, or a Service. */
	if ((waiting && waiting->whole) ||
	    !rd_store_find(&agent->store, RD_SERVICE, name->namespace, name->name))
		return;
	while ((slice = rd_store_next_slice(&agent->store, name->namespace, name->name, slice))) {
		uint64_t trigger = (uint64_t)slice->slice.pending_ns;

		if (planned && trigger)
			rd_syncs_programmed(&agent->syncs, trigger, now);
		slice->slice.pending_ns = 0;
	}
}

static void note_all_programmed(struct agent *agent, struct rd_name_set *names)
{
	struct rd_service_name *name;
	uint64_t now = rd_realtime_ns();

	for (name = rd_name_set_first(names); name; name = rd_name_set_next(name))
		note_programmed(agent, name, now);
}

/* Make a plan of what is in the maps. */
static int adopt(struct agent *agent)
{
	struct rd_maps *maps = rd_datapath_maps(agent->datapath);
	struct rd_limits limits = rd_maps_limits(maps);
	int r;

	rd_plan_free(&agent->plan);
	/* What the former agent retired may still be in use. */
	r = rd_wait_for_programs() ?: rd_plan_new(&agent->plan, &limits);
	r = r ?: rd_maps_adopt(maps, &agent->plan);
	if (r)
		return r;
	agent->planned = true;
	agent->swept = false;
	agent->store.all_dirty = true;
	agent->store.nodes_changed = true;
	return 0;
}

static int reconcile_once(struct agent *agent)
{
	struct rd_name_set names = {0};
	int r = agent->planned ? 0 : adopt(agent);

	r = r ?: refresh_addresses(agent);
	if (r)
		return r;
	if (agent->store.nodes_changed) {
		r = plan_nodes(agent) ?: place_health_checks(agent);
		if (r)
			return r;
		agent->store.nodes_changed = false;
		agent->store.all_dirty = true;
	}
	if (agent->store.all_dirty || !agent->swept)
		r = add_all_names(agent, &names);
	while (!r && !RB_EMPTY(&agent->store.dirty)) {
		struct rd_service_name *name = rd_name_set_first(&agent->store.dirty);

		r = rd_name_set_add(&names, name->namespace, name->name);
		if (!r)
			rd_name_set_drop(&agent->store.dirty, name);
	}
	if (!r) {
		agent->store.all_dirty = false;
		r = plan_and_apply(agent, &names);
	}
	if (!r)
		note_all_programmed(agent, &names);
	if (!r && agent->local)
		rd_dns_local_follow(agent->local, &agent->plan);
	rd_name_set_clear(&names);
	return r;
}

static void log_sync(const struct agent *agent, uint64_t writes_before, uint64_t began)
{
	if (agent->said.writes != writes_before || !agent->said.ready)
		rd_log(agent->said.ready ? RD_LOG_DEBUG : RD_LOG_INFO, "in sync",
		       RD_NUMBER("services", agent->plan.n_services),
		       RD_NUMBER("writes", agent->said.writes - writes_before),
		       RD_NUMBER("us", (rd_monotonic_ns() - began) / 1000),
		       RD_NUMBER("resolve_us", agent->resolve_ns / 1000),
		       RD_NUMBER("plan_us", agent->plan_ns / 1000),
		       RD_NUMBER("apply_us", agent->apply_ns / 1000));
}

/* The first complete state is in the maps: let the programs of this version
 * use them. */
static void become_ready(struct agent *agent)
{
	const struct rd_agent_config *config = agent->config;

	if (agent->said.ready)
		return;
	agent->result = rd_datapath_attach(agent->datapath, agent->error);
	if (agent->result) {
		event_base_loopbreak(agent->base);
		return;
	}
	agent->said.ready = 1;
	if (agent->local)
		rd_dns_local_begin(agent->local);
	rd_log(RD_LOG_INFO, "ready", RD_NUMBER("services", agent->plan.n_services),
	       RD_TEXT("cgroup", config->cgroup), RD_TEXT("bpffs", config->bpffs));
	rd_notify("READY=1");
}

/* Names are answered from the store; where something may be missing there, not
 * that it does not exist. */
static void tell_names(struct agent *agent)
{
	bool complete = !agent->kube || rd_source_kube_complete(agent->kube);

	if (agent->dns)
		rd_dns_server_know(agent->dns, !complete	    ? RD_DNS_KNOWS_NOTHING
					       : is_in_doubt(agent) ? RD_DNS_KNOWS_SOME
								    : RD_DNS_KNOWS_ALL);
}

/* Bring the maps to what the sources say. On failure the plan is thrown away:
 * the maps themselves are asked what they hold, a little later. */
static void reconcile(struct agent *agent)
{
	uint64_t began = rd_monotonic_ns();
	uint64_t writes = agent->said.writes;
	struct timeval later = {.tv_sec = RETRY_SECONDS};
	int r;

	agent->resolve_ns = agent->plan_ns = agent->apply_ns = 0;
	collect(agent);
	tell_names(agent);
	if (!is_complete(agent)) {
		say(agent);
		return;
	}
	r = reconcile_once(agent);
	agent->reconciled_ns = rd_monotonic_ns();
	rd_syncs_ended(&agent->syncs, !r, began, agent->reconciled_ns, rd_realtime_ns());
	if (r) {
		rd_log(RD_LOG_ERROR, "cannot write the maps, retrying",
		       RD_TEXT("error", strerror(-r)), RD_NUMBER("seconds", RETRY_SECONDS));
		agent->planned = false;
		event_add(agent->retry_due, &later);
	} else {
		log_sync(agent, writes, began);
		become_ready(agent);
	}
	say(agent);
}

/* ---- events --------------------------------------------------------------------------------- */

/* A source has news: now, or when the last reconcile is long enough ago. */
static void on_changed(void *context)
{
	struct agent *agent = context;
	uint64_t since = rd_monotonic_ns() - agent->reconciled_ns;
	struct timeval delay = {0};

	rd_syncs_queued(&agent->syncs, rd_monotonic_ns(), rd_realtime_ns());
	if (evtimer_pending(agent->reconcile_due, NULL))
		return;
	if (since < COALESCE_NS)
		delay.tv_usec = (suseconds_t)((COALESCE_NS - since) / 1000);
	event_add(agent->reconcile_due, &delay);
}

static void on_address_changed(void *context)
{
	struct agent *agent = context;

	agent->addresses_changed = true;
	on_changed(agent);
}

static void on_due(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	reconcile(context);
}

static void on_heartbeat(evutil_socket_t fd, short what, void *context)
{
	struct agent *agent = context;

	(void)fd;
	(void)what;
	rd_log_flush(false);
	if (agent->dns)
		rd_dns_server_reread(agent->dns, false);
	say(agent);
}

/* How much of the first lists has arrived, such as "services 4200, nodes 1". */
static void on_progress(evutil_socket_t fd, short what, void *context)
{
	struct agent *agent = context;
	char text[200] = "";
	size_t used = 0, count, sum = 0;
	const char *name;

	(void)fd;
	(void)what;
	for (size_t i = 0; rd_source_kube_heard(agent->kube, i, &name, &count); i++) {
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s %zu",
					 i ? ", " : "", name, count);
		sum += count;
	}
	if (rd_source_kube_complete(agent->kube)) {
		rd_log_progress(NULL);
		event_del(agent->progress);
	} else if (sum) {
		rd_log_progress(text);
	}
}

static int begin_progress(struct agent *agent)
{
	struct timeval interval = {.tv_usec = PROGRESS_US};

	if (!agent->config->show_progress || !agent->kube)
		return 0;
	agent->progress = event_new(agent->base, -1, EV_PERSIST, on_progress, agent);
	return agent->progress && !event_add(agent->progress, &interval) ? 0 : -ENOMEM;
}

/* Leave when those who were sent here have been answered, and at the second signal
 * at once. */
static void on_leave(evutil_socket_t fd, short what, void *context)
{
	struct agent *agent = context;
	struct timeval moment = {.tv_usec = LEAVE_US};

	(void)fd;
	(void)what;
	if (!agent->local || agent->left > LEAVE_LOOKS ||
	    (agent->left > 1 && rd_dns_server_is_idle(agent->dns))) {
		event_base_loopbreak(agent->base);
		return;
	}
	if (!agent->left++)
		rd_dns_local_end(agent->local);
	event_add(agent->leave, &moment);
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
	struct agent *agent = context;

	(void)what;
	if (number == SIGHUP) {
		rd_log(RD_LOG_INFO, "reading everything again");
		reread(agent);
		on_changed(agent);
		return;
	}
	if (agent->left)
		agent->left = LEAVE_LOOKS + 1;
	on_leave(-1, 0, agent);
}

static int prepare_events(struct agent *agent)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
	struct timeval interval = {.tv_sec = HEARTBEAT_SECONDS};

	agent->reconcile_due = evtimer_new(agent->base, on_due, agent);
	agent->retry_due = evtimer_new(agent->base, on_due, agent);
	agent->leave = evtimer_new(agent->base, on_leave, agent);
	agent->heartbeat = event_new(agent->base, -1, EV_PERSIST, on_heartbeat, agent);
	if (!agent->reconcile_due || !agent->retry_due || !agent->leave || !agent->heartbeat ||
	    event_add(agent->heartbeat, &interval))
		return -ENOMEM;
	for (size_t i = 0; i < RD_ARRAY_SIZE(numbers); i++) {
		agent->signals[i] = evsignal_new(agent->base, numbers[i], on_signal, agent);
		if (!agent->signals[i] || event_add(agent->signals[i], NULL))
			return -ENOMEM;
	}
	return 0;
}

/* Whether the maps say what the sources say, as far as is known. */
static bool is_healthy(void *context)
{
	const struct agent *agent = context;

	return agent->planned && agent->said.ready;
}

/* ---- life -------------------------------------------------------------------------------------
 */

static int open_source(struct agent *agent, struct rd_error *error)
{
	const struct rd_agent_config *config = agent->config;
	bool beside;

	if (config->manifests)
		return rd_source_dir_new(config->manifests, &agent->store, agent->base, on_changed,
					 agent, &agent->dir, error);
	beside = rd_datapath_is_beside(agent->datapath);
	agent->kube_config = (struct rd_source_kube_config){
		.access = config->kube_access,
		.node_name = config->node_name,
		.legacy_endpoints = config->legacy_endpoints,
		.known = {[RD_SERVICE] = beside || agent->plan.n_services,
			  [RD_SLICE] = beside || has_slots(&agent->plan)},
		.room = config->max_services + config->max_backends,
		.stall_seconds = config->stall_seconds,
		.mark = RD_MARK,
		.names = agent->dns,
	};
	return rd_source_kube_new(&agent->kube_config, &agent->store, agent->base, on_changed,
				  agent, &agent->kube, error);
}

/* What the probes and /metrics are answered with. */
static void look(void *context, struct rd_probed *ret_probed)
{
	struct agent *agent = context;
	const struct rd_object *node =
		rd_store_find(&agent->store, RD_NODE, "", agent->config->node_name);

	if (agent->dir || agent->kube)
		note_seen(agent);
	for (int kind = 0; kind < RD_KINDS; kind++)
		agent->said.objects[kind] = agent->store.count[kind];
	*ret_probed = (struct rd_probed){
		.plan = &agent->plan,
		.maps = rd_datapath_maps(agent->datapath),
		.own = {.said = &agent->said,
			.syncs = &agent->syncs,
			.outcomes = rd_datapath_tracks_outcomes(agent->datapath),
			.backends = agent->config->metrics_backends,
			.names = agent->dns ? rd_dns_server_numbers(agent->dns) : NULL},
		.ready = is_healthy(agent),
		/* An API server that was asked, and does not have it. */
		.leaving = node ? node->node.leaving : agent->kube && agent->said.seen_ns[RD_NODE],
	};
}

/* Begin to serve names: those of Services fail until they are known. */
static int start_names(struct agent *agent, struct rd_error *error)
{
	const struct rd_agent_config *config = agent->config;
	struct rd_dns_server_config dns = {
		.addresses = config->dns_addresses,
		.zone = {.domain = config->cluster_domain,
			 .legacy_endpoints = config->legacy_endpoints,
			 .serial = (uint32_t)(rd_realtime_ns() / 1000000000)},
		/* Its endpoints, when they are known. */
		.upstreams = config->dns_upstreams
				     ?: config->dns_local_for ? ""
							      : NULL,
		.mark = RD_MARK,
		.bpffs = config->bpffs,
	};
	struct rd_dns_local_config local = {
		.service = config->dns_local_for,
		.addresses = config->dns_addresses,
		.follow = !config->dns_upstreams,
		.maps = rd_datapath_maps(agent->datapath),
	};
	int r;

	if (!config->dns_addresses && config->dns_local_for)
		return rd_error_usage(error, "--dns-local-for needs --dns");
	if (!config->dns_addresses)
		return 0;
	r = rd_dns_server_new(&dns, &agent->store, agent->base, &agent->dns, error);
	local.server = agent->dns;
	if (!r && config->dns_local_for)
		r = rd_dns_local_new(&local, agent->base, &agent->local, error);
	return r;
}

static int start(struct agent *agent, struct rd_error *error)
{
	const struct rd_agent_config *config = agent->config;
	struct rd_datapath_config datapath = {
		.bpffs = config->bpffs,
		.cgroup = config->cgroup,
		.max_services = config->max_services,
		.max_backends = config->max_backends,
		.socket_slots = SOCKET_SLOTS,
		.track_outcomes = config->track_outcomes,
		.exclude_cgroups = config->exclude_cgroups,
		.exclude_netns = config->exclude_netns,
	};
	int r;

	agent->base = event_base_new();
	if (!agent->base || prepare_events(agent))
		return rd_error_set(error, -ENOMEM, "out of memory");
	r = rd_nodeport_parse(config->nodeport_addresses, &agent->nodeport_rule);
	if (r)
		return rd_error_set(error, r,
				    "--nodeport-addresses takes networks, or primary, localhost or "
				    "all, not %s",
				    config->nodeport_addresses);
	agent->addresses_changed = true;
	if (rd_healthchecks_new(agent->base, is_healthy, agent, &agent->checks))
		return rd_error_set(error, -ENOMEM, "out of memory");
	r = rd_nodeaddrs_new(agent->base, on_address_changed, agent, &agent->nodeaddrs, error);
	/* Answered from the loop on, when all of it is there. */
	if (!r && config->http_address)
		r = rd_probes_new(agent->base, config->http_address, look, agent, &agent->probes,
				  error);
	r = r ?: rd_datapath_open(&datapath, &agent->datapath, error);
	if (r)
		return r;
	if (rd_datapath_is_beside(agent->datapath))
		rd_log(RD_LOG_INFO,
		       "the pinned maps are of another layout or size: new ones are "
		       "filled beside them, then take their place",
		       RD_TEXT("bpffs", config->bpffs));
	r = start_names(agent, error);
	if (r)
		return r;
	begin_saying(agent);
	r = adopt(agent);
	if (r)
		return rd_error_set(error, r, "cannot read the maps in %s: %s", config->bpffs,
				    strerror(-r));
	r = open_source(agent, error);
	if (r)
		return r;
	if (begin_progress(agent))
		return rd_error_set(error, -ENOMEM, "out of memory");
	reconcile(agent);
	if (!agent->planned)
		return rd_error_set(error, -EIO, "cannot bring the maps up to date");
	return agent->result;
}

static void finish(struct agent *agent)
{
	struct waiting *waiting;

	while ((waiting = RB_ROOT(&agent->waiting)))
		stop_waiting(agent, waiting);
	/* Before the source: objects point at its file names. */
	rd_store_free(&agent->store);
	rd_source_dir_free(agent->dir);
	rd_source_kube_free(agent->kube);
	rd_nodeaddrs_free(agent->nodeaddrs);
	rd_healthchecks_free(agent->checks);
	rd_probes_free(agent->probes);
	rd_dns_local_free(agent->local);
	rd_dns_server_free(agent->dns);
	free(agent->addresses);
	rd_plan_free(&agent->plan);
	rd_datapath_close(agent->datapath);
	for (size_t i = 0; i < RD_ARRAY_SIZE(agent->signals); i++)
		if (agent->signals[i])
			event_free(agent->signals[i]);
	if (agent->reconcile_due)
		event_free(agent->reconcile_due);
	if (agent->retry_due)
		event_free(agent->retry_due);
	if (agent->leave)
		event_free(agent->leave);
	if (agent->heartbeat)
		event_free(agent->heartbeat);
	if (agent->progress)
		event_free(agent->progress);
	rd_log_progress(NULL);
	rd_log_flush(true);
	if (agent->base)
		event_base_free(agent->base);
	libevent_global_shutdown();
}

int rd_agent_run(const struct rd_agent_config *config, struct rd_error *error)
{
	struct agent agent = {.config = config, .error = error};
	bool done;
	int r;

	rd_store_init(&agent.store);
	r = start(&agent, error);
	if (!r) {
		event_base_dispatch(agent.base);
		r = agent.result;
		rd_notify("STOPPING=1");
		agent.said.pid = 0;
		say(&agent);
		rd_log(RD_LOG_INFO, config->detach_on_exit
					    ? "stopping, and detaching"
					    : "stopping; the datapath goes on working");
	}
	finish(&agent);
	if (!r && config->detach_on_exit)
		r = rd_datapath_cleanup(config->bpffs, &done, error);
	return r;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "agent.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datapath.h"
#include "dns_local.h"
#include "dns_server.h"
#include "healthcheck.h"
#include "log.h"
#include "nodeaddr.h"
#include "probes.h"
#include "reconcile.h"
#include "sockets.h"
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
/* For records of sockets, before they spill. */
#define SOCKET_SLOTS (1U << 15)

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
	bool addresses_changed; /* this node's */
	struct rd_datapath *datapath;
	struct rd_reconciler *reconciler;
	struct rd_agent said;
	uint64_t reconciled_ns; /* monotonic; when the last reconcile ended */
	bool failed;		/* it did */
	struct rd_syncs syncs;
	uint64_t spills; /* when slots of sockets were last taken back */
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

static void say(struct agent *agent)
{
	struct rd_agent *said = &agent->said;

	note_seen(agent);
	for (int kind = 0; kind < RD_KINDS; kind++)
		said->objects[kind] = agent->store.count[kind];
	rd_reconciler_say_refused(agent->reconciler, said);
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

/* ---- reconcile ----------------------------------------------------------------------- */

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
	agent->addresses_changed = false;
	if (agent->dns)
		rd_dns_server_set_node(agent->dns, addresses, n);
	rd_reconciler_set_addresses(agent->reconciler, addresses, n);
	return 0;
}

static void log_sync(const struct agent *agent, const struct rd_reconciled *did, uint64_t began)
{
	if (did->writes || !agent->said.ready)
		rd_log(agent->said.ready ? RD_LOG_DEBUG : RD_LOG_INFO, "in sync",
		       RD_NUMBER("services", rd_reconciler_plan(agent->reconciler)->n_services),
		       RD_NUMBER("writes", did->writes),
		       RD_NUMBER("us", (rd_monotonic_ns() - began) / 1000),
		       RD_NUMBER("resolve_us", did->resolve_ns / 1000),
		       RD_NUMBER("plan_us", did->plan_ns / 1000),
		       RD_NUMBER("apply_us", did->apply_ns / 1000));
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
	rd_log(RD_LOG_INFO, "ready",
	       RD_NUMBER("services", rd_reconciler_plan(agent->reconciler)->n_services),
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

/* Bring the maps to what the sources say; on failure again a little later. */
static void reconcile(struct agent *agent)
{
	uint64_t began = rd_monotonic_ns();
	struct timeval later = {.tv_sec = RETRY_SECONDS};
	struct rd_reconciled did = {0};
	int r;

	collect(agent);
	tell_names(agent);
	if (!is_complete(agent)) {
		say(agent);
		return;
	}
	r = refresh_addresses(agent) ?: rd_reconcile(agent->reconciler, is_in_doubt(agent), &did);
	agent->reconciled_ns = rd_monotonic_ns();
	agent->failed = r;
	agent->said.writes += did.writes;
	rd_syncs_ended(&agent->syncs, !r, began, agent->reconciled_ns, rd_realtime_ns());
	if (r) {
		rd_log(RD_LOG_ERROR, "cannot write the maps, retrying",
		       RD_TEXT("error", strerror(-r)), RD_NUMBER("seconds", RETRY_SECONDS));
		event_add(agent->retry_due, &later);
	} else {
		if (did.writes)
			agent->said.synced_ns = rd_realtime_ns();
		if (agent->local)
			rd_dns_local_follow(agent->local, rd_reconciler_plan(agent->reconciler));
		log_sync(agent, &did, began);
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

/* Records have spilled: perhaps slots can be had whose sockets are closed. */
static void sweep_sockets(struct agent *agent)
{
	struct rd_maps *maps = rd_datapath_maps(agent->datapath);
	uint64_t began = rd_monotonic_ns();
	struct rd_totals totals;
	int r;

	if (!agent->said.ready || rd_maps_totals(maps, &totals) || totals.spills == agent->spills)
		return;
	agent->spills = totals.spills;
	r = rd_sockets_sweep(agent->config->bpffs, maps);
	if (r < 0)
		rd_log(RD_LOG_WARN, "cannot take back slots of closed sockets",
		       RD_TEXT("error", strerror(-r)));
	else
		rd_log(RD_LOG_DEBUG, "took back slots of closed sockets", RD_NUMBER("slots", r),
		       RD_NUMBER("us", (rd_monotonic_ns() - began) / 1000));
}

static void on_heartbeat(evutil_socket_t fd, short what, void *context)
{
	struct agent *agent = context;

	(void)fd;
	(void)what;
	rd_log_flush(false);
	if (agent->dns)
		rd_dns_server_reread(agent->dns, false);
	sweep_sockets(agent);
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

	return !agent->failed && agent->said.ready;
}

/* ---- life -------------------------------------------------------------------------------------
 */

static bool has_slots(const struct rd_plan *plan)
{
	struct rd_planned *planned = NULL;

	while ((planned = rd_plan_next(plan, planned)))
		if (rd_planned_slots(planned))
			return true;
	return false;
}

static int open_source(struct agent *agent, struct rd_error *error)
{
	const struct rd_agent_config *config = agent->config;
	const struct rd_plan *plan = rd_reconciler_plan(agent->reconciler);
	bool beside;

	if (config->manifests)
		return rd_source_dir_new(config->manifests, &agent->store, agent->base, on_changed,
					 agent, &agent->dir, error);
	beside = rd_datapath_is_beside(agent->datapath);
	agent->kube_config = (struct rd_source_kube_config){
		.access = config->kube_access,
		.node_name = config->node_name,
		.legacy_endpoints = config->legacy_endpoints,
		.known = {[RD_SERVICE] = beside || plan->n_services,
			  [RD_SLICE] = beside || has_slots(plan)},
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
		.plan = rd_reconciler_plan(agent->reconciler),
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

static int open_reconciler(struct agent *agent, struct rd_error *error)
{
	const struct rd_agent_config *config = agent->config;
	struct rd_reconciler_config ours = {
		.store = &agent->store,
		.maps = rd_datapath_maps(agent->datapath),
		.checks = agent->checks,
		.syncs = &agent->syncs,
		.node_name = config->node_name,
		.service_cidr = &config->service_cidr,
		.nodeports = &agent->nodeport_rule,
		.legacy_endpoints = config->legacy_endpoints,
		.dns_for = config->dns_local_for,
	};
	int r = rd_reconciler_new(&ours, &agent->reconciler);

	return r ? rd_error_set(error, r, "cannot read the maps in %s: %s", config->bpffs,
				strerror(-r))
		 : 0;
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
	r = open_reconciler(agent, error) ?: open_source(agent, error);
	if (r)
		return r;
	if (begin_progress(agent))
		return rd_error_set(error, -ENOMEM, "out of memory");
	reconcile(agent);
	if (agent->failed)
		return rd_error_set(error, -EIO, "cannot bring the maps up to date");
	return agent->result;
}

static void finish(struct agent *agent)
{
	rd_reconciler_free(agent->reconciler);
	/* Before the source: objects point at its file names. */
	rd_store_free(&agent->store);
	rd_source_dir_free(agent->dir);
	rd_source_kube_free(agent->kube);
	rd_nodeaddrs_free(agent->nodeaddrs);
	rd_healthchecks_free(agent->checks);
	rd_probes_free(agent->probes);
	rd_dns_local_free(agent->local);
	rd_dns_server_free(agent->dns);
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

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cmd_show.c - status, services, backends and sockets. They read the pinned
 * maps, the way a restarting agent would, and so work with or without one.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "datapath.h"
#include "maps.h"
#include "sockets.h"
#include "system.h"
#include "view.h"

/* ---- again and again ------------------------------------------------------------------ */

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

/* Show once; with --watch every second, until SIGINT. */
static int show(int (*once)(const struct rd_settings *settings, struct rd_error *error),
		const struct rd_settings *settings, struct rd_error *error)
{
	struct sigaction action = {.sa_handler = interrupt};
	const struct timespec second = {.tv_sec = 1};
	int r;

	if (settings->again)
		sigaction(SIGINT, &action, NULL);
	do {
		r = once(settings, error);
		if (settings->again && !r && !interrupted)
			nanosleep(&second, NULL);
	} while (settings->again && !r && !interrupted);
	return r;
}

/* Between one print and the next: an empty screen, or an empty line. */
static void separate(const struct rd_settings *settings)
{
	static bool printed;

	if (settings->again && isatty(STDOUT_FILENO))
		fputs("\033[H\033[2J", stdout);
	else if (printed && settings->format != RD_FORMAT_JSON)
		putchar('\n');
	printed = true;
}

/* Print and free. */
static int finish(struct rd_table *tables, size_t n, const struct rd_settings *settings, int r,
		  struct rd_error *error)
{
	if (!r) {
		separate(settings);
		r = rd_tables_print(tables, n, settings->format);
		if (r)
			rd_error_set(error, r, "cannot print: %s", strerror(-r));
	}
	for (size_t i = 0; i < n; i++)
		rd_table_free(&tables[i]);
	return r;
}

/* ---- services ------------------------------------------------------------------- */

static const char *type_name(uint8_t type)
{
	static const char *const names[] = {
		[RD_TYPE_CLUSTER_IP] = "ClusterIP",
		[RD_TYPE_NODE_PORT] = "NodePort",
		[RD_TYPE_LOAD_BALANCER] = "LoadBalancer",
		[RD_TYPE_EXTERNAL_NAME] = "ExternalName",
	};

	return type < RD_ARRAY_SIZE(names) ? names[type] : "?";
}

/* "10.96.0.1", "fd00::1", both with a comma, or nothing. */
static void format_cluster_ips(const struct rd_service *record, char *text, size_t size)
{
	struct rd_ip ip4 = rd_ip_from_bytes(RD_FAMILY_4, record->cluster_ip4);
	struct rd_ip ip6 = rd_ip_from_bytes(RD_FAMILY_6, record->cluster_ip6);
	const struct rd_ip none4 = {.family = RD_FAMILY_4}, none6 = {.family = RD_FAMILY_6};
	bool has4 = rd_ip_compare(&ip4, &none4), has6 = rd_ip_compare(&ip6, &none6);
	char a[RD_IP_TEXT], b[RD_IP_TEXT];

	snprintf(text, size, "%s%s%s", has4 ? rd_ip_format(&ip4, a) : "", has4 && has6 ? "," : "",
		 has6 ? rd_ip_format(&ip6, b) : "");
}

/* The distinct endpoints of a Service port: those of its largest set in each
 * family. */
static uint32_t count_endpoints(const struct rd_planned_port *port)
{
	uint32_t most4 = 0, most6 = 0;

	for (size_t i = 0; i < port->n_ranges; i++) {
		const struct rd_range *range = &port->ranges[i];
		uint32_t *most = range->family == RD_FAMILY_6 ? &most6 : &most4;

		if (range->count > *most)
			*most = range->count;
	}
	return most4 + most6;
}

/* The affinity's seconds, and every address the port answers at:
 * "10.96.0.1:80,*:30080". */
static void add_frontends(const struct rd_planned *service, const struct rd_planned_port *port,
			  struct rd_table *table)
{
	const struct rd_planned_frontend *frontend;
	char text[1024] = "";
	uint32_t affinity = 0;
	size_t used = 0;

	LIST_FOREACH(frontend, &service->frontends, of_service)
	{
		const struct rd_key *key = &frontend->wanted.key;
		struct rd_ip ip = rd_ip_from_bytes(key->family, key->addr);
		char one[RD_IP_PORT_TEXT];

		if (frontend->wanted.service != port->id)
			continue;
		affinity = frontend->wanted.affinity_seconds;
		if (key->scope == RD_SCOPE_NODE_PORT)
			snprintf(one, sizeof(one), "%s:%u", key->family == RD_IPV4 ? "*" : "[*]",
				 key->port);
		else
			rd_ip_port_format(&ip, key->port, one);
		if (used + strlen(one) + 5 >= sizeof(text)) {
			used += (size_t)snprintf(text + used, sizeof(text) - used, ",...");
			break;
		}
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", used ? "," : "",
					 one);
	}
	rd_table_add(table, "%u", affinity);
	rd_table_add(table, "%s", text);
}

static void add_number(struct rd_table *table, uint64_t number)
{
	rd_table_add(table, "%llu", (unsigned long long)number);
}

static void add_service(const struct rd_view *view, const struct rd_planned *service,
			const struct rd_planned_port *port, struct rd_table *table)
{
	uint32_t endpoints = count_endpoints(port);
	struct rd_counts counts;
	char ips[2 * RD_IP_TEXT];

	rd_maps_count(&view->maps, port, &counts);
	format_cluster_ips(&port->record, ips, sizeof(ips));
	rd_table_add(table, "%s", service->namespace);
	rd_table_add(table, "%s", service->name);
	rd_table_add(table, "%s", type_name(port->record.type));
	rd_table_add(table, "%s", ips);
	rd_table_add(table, "%u", port->record.port);
	rd_table_add(table, "%s", rd_protocol_name(port->record.protocol));
	rd_table_add(table, "%u", endpoints);
	rd_table_tone(table, RD_TONE_WARNING, !endpoints);
	add_frontends(service, port, table);
	rd_table_add(table, "%s", port->record.port_name);
	rd_table_add(table, "%u", port->id);
	add_number(table, counts.connects);
	add_number(table, counts.flows);
	add_number(table, counts.refused + counts.refused_local);
	rd_table_tone(table, RD_TONE_WARNING, counts.refused + counts.refused_local);
	add_number(table, counts.failed + counts.timed_out);
	rd_table_tone(table, RD_TONE_WARNING, counts.failed + counts.timed_out);
	add_number(table, counts.open);
}

static int show_services(const struct rd_settings *settings, struct rd_error *error)
{
	static const struct rd_column columns[] = {
		{.key = "namespace"},
		{.key = "name"},
		{.key = "type"},
		{.key = "cluster_ip"},
		{.key = "port", .number = true},
		{.key = "protocol"},
		{.key = "endpoints", .number = true},
		{.key = "affinity_seconds", .wide = true, .number = true},
		{.key = "frontends", .wide = true},
		{.key = "port_name", .wide = true},
		{.key = "id", .wide = true, .number = true},
		{.key = "connects", .wide = true, .number = true},
		{.key = "flows", .wide = true, .number = true},
		{.key = "refused", .wide = true, .number = true},
		{.key = "failed", .wide = true, .number = true},
		{.key = "open", .wide = true, .number = true},
	};
	struct rd_table table = RD_TABLE("services", columns);
	const struct rd_planned *service = NULL;
	struct rd_view view;
	int r = rd_view_open(settings->bpffs, &view, error);

	while (!r && (service = rd_plan_next(&view.plan, (struct rd_planned *)service))) {
		for (size_t i = 0; i < service->n_ports; i++)
			if (rd_is_selected(settings, service->namespace, service->name))
				add_service(&view, service, &service->ports[i], &table);
	}
	rd_view_close(&view);
	return finish(&table, 1, settings, r, error);
}

/* ---- backends --------------------------------------------------------------------- */

/* Is this backend in an earlier range of the port? Sets overlap. */
static bool is_listed(const struct rd_view *view, const struct rd_planned_port *port, size_t n,
		      const struct rd_slot *backend)
{
	for (size_t i = 0; i < n; i++) {
		const struct rd_range *range = &port->ranges[i];

		for (uint32_t s = 0; s < range->count; s++)
			if (view->plan.slots[range->first + s].id == backend->id)
				return true;
	}
	return false;
}

static void add_outcomes(const struct rd_view *view, const struct rd_planned_port *port,
			 uint32_t id, struct rd_table *table)
{
	struct rd_backend_stats stats = rd_maps_outcomes(&view->maps, id);

	add_number(table, rd_maps_chosen(&view->maps, port, id));
	rd_table_add(table, "%u", stats.failed);
	rd_table_tone(table, RD_TONE_WARNING, stats.failed);
	rd_table_add(table, "%d", stats.open);
}

static void add_backends(const struct rd_view *view, const struct rd_planned *service,
			 const struct rd_planned_port *port, struct rd_table *table)
{
	for (size_t i = 0; i < port->n_ranges; i++) {
		const struct rd_range *range = &port->ranges[i];

		for (uint32_t s = 0; s < range->count; s++) {
			const struct rd_slot *slot = &view->plan.slots[range->first + s];
			struct rd_ip ip = rd_ip_from_bytes(range->family, slot->addr);
			char text[RD_IP_PORT_TEXT];

			if (is_listed(view, port, i, slot))
				continue;
			rd_table_add(table, "%s", service->namespace);
			rd_table_add(table, "%s", service->name);
			rd_table_add(table, "%u", port->record.port);
			rd_table_add(table, "%s", rd_protocol_name(port->record.protocol));
			rd_table_add(table, "%s", rd_ip_port_format(&ip, slot->port, text));
			rd_table_add(table, "%s", port->record.port_name);
			rd_table_add(table, "%u", slot->id);
			rd_table_add(table, "%u", range->first + s);
			add_outcomes(view, port, slot->id, table);
		}
	}
}

static int show_backends(const struct rd_settings *settings, struct rd_error *error)
{
	static const struct rd_column columns[] = {
		{.key = "namespace"},
		{.key = "name"},
		{.key = "port", .number = true},
		{.key = "protocol"},
		{.key = "backend"},
		{.key = "port_name", .wide = true},
		{.key = "id", .wide = true, .number = true},
		{.key = "slot", .wide = true, .number = true},
		{.key = "chosen", .wide = true, .number = true},
		{.key = "failed", .wide = true, .number = true},
		{.key = "open", .wide = true, .number = true},
	};
	struct rd_table table = RD_TABLE("backends", columns);
	const struct rd_planned *service = NULL;
	struct rd_view view;
	int r = rd_view_open(settings->bpffs, &view, error);

	while (!r && (service = rd_plan_next(&view.plan, (struct rd_planned *)service)))
		for (size_t i = 0; i < service->n_ports; i++)
			if (rd_is_selected(settings, service->namespace, service->name))
				add_backends(&view, service, &service->ports[i], &table);
	rd_view_close(&view);
	return finish(&table, 1, settings, r, error);
}

/* ---- sockets ------------------------------------------------------------------------ */

/* Call `visit` with the record of each open socket that has a slot. */
static int each_socket(const struct rd_view *view, const struct rd_settings *settings,
		       void (*visit)(void *context, const struct rd_socket *socket), void *context,
		       struct rd_error *error)
{
	int r = rd_sockets_each(settings->bpffs, &view->maps, visit, context);

	return r ? rd_error_set(error, r, "cannot read %s/" RD_SOCKETS_LINK ": %s", settings->bpffs,
				strerror(-r))
		 : 0;
}

struct socket_rows {
	const struct rd_view *view;
	const struct rd_settings *settings;
	struct rd_table *table;
};

static void add_socket(void *context, const struct rd_socket *socket)
{
	const struct rd_settings *settings = ((struct socket_rows *)context)->settings;
	const struct rd_view *view = ((struct socket_rows *)context)->view;
	struct rd_table *table = ((struct socket_rows *)context)->table;
	enum rd_ip_family family = socket->family == RD_IPV6 ? RD_FAMILY_6 : RD_FAMILY_4;
	struct rd_ip dialled = rd_ip_from_bytes(family, socket->dialled_addr);
	struct rd_ip backend = rd_ip_from_bytes(family, socket->backend_addr);
	const struct rd_planned *service = rd_view_dialled(view, socket);
	char text[RD_IP_PORT_TEXT];

	if (!rd_is_selected(settings, service ? service->namespace : "",
			    service ? service->name : ""))
		return;
	rd_table_add(table, "%s", rd_protocol_name(socket->protocol));
	rd_table_add(table, "%s", rd_ip_port_format(&dialled, socket->dialled_port, text));
	rd_table_add(table, "%s", rd_ip_port_format(&backend, socket->backend_port, text));
	rd_table_add(table, "%s", service ? service->namespace : "");
	rd_table_add(table, "%s", service ? service->name : "");
	rd_table_add(table, "%llu", (unsigned long long)socket->inode);
}

static int show_sockets(const struct rd_settings *settings, struct rd_error *error)
{
	static const struct rd_column columns[] = {
		{.key = "protocol"}, {.key = "dialled"},
		{.key = "backend"},  {.key = "namespace"},
		{.key = "name"},     {.key = "inode", .wide = true, .number = true},
	};
	struct rd_table table = RD_TABLE("sockets", columns);
	struct rd_view view;
	struct socket_rows rows = {.view = &view, .settings = settings, .table = &table};
	int r = rd_view_open(settings->bpffs, &view, error);

	if (!r)
		r = each_socket(&view, settings, add_socket, &rows, error);
	rd_view_close(&view);
	return finish(&table, 1, settings, r, error);
}

/* ---- status -------------------------------------------------------------------------- */

static void add_time(struct rd_table *table, uint64_t ns)
{
	time_t seconds = (time_t)(ns / 1000000000U);
	struct tm tm;
	char text[32];

	if (!ns || !gmtime_r(&seconds, &tm)) {
		rd_table_add(table, "%s", "");
		return;
	}
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	rd_table_add(table, "%s", text);
}

/* When the source last proved to be alive about all that it is asked for. */
static uint64_t last_seen(const struct rd_agent *agent)
{
	uint64_t seen = 0;

	for (size_t i = 0; i < RD_ARRAY_SIZE(agent->seen_ns); i++)
		if (agent->seen_ns[i] && (!seen || agent->seen_ns[i] < seen))
			seen = agent->seen_ns[i];
	return seen;
}

static void add_agent(const struct rd_settings *settings, const struct rd_agent *agent,
		      struct rd_table *table)
{
	bool running = rd_datapath_is_locked(settings->bpffs);

	rd_table_add(table, "%s",
		     !running	    ? "not running, the datapath goes on by itself"
		     : agent->ready ? "ready"
				    : "starting");
	rd_table_tone(table, RD_TONE_BAD, !running);
	rd_table_tone(table, RD_TONE_WARNING, running && !agent->ready);
	rd_table_add(table, "%u", running ? agent->pid : 0);
	rd_table_add(table, "%s", agent->version);
	rd_table_add(table, "%s", agent->cgroup);
	rd_table_add(table, "%s", agent->source);
	rd_table_add(table, "%u", agent->files_bad);
	rd_table_tone(table, RD_TONE_WARNING, agent->files_bad);
	add_time(table, agent->started_ns);
	add_time(table, agent->synced_ns);
	add_time(table, last_seen(agent));
	rd_table_add(table, "%llu", (unsigned long long)agent->writes);
	rd_table_add(table, "%u", agent->refused_count);
	rd_table_tone(table, RD_TONE_BAD, agent->refused_count);
}

static const char *hook_state(const struct rd_hook_state *hook, bool off)
{
	if (hook->program_id)
		return hook->cgroup_id ? "attached" : "its cgroup is gone";
	return off ? "off" : "not attached";
}

static void add_hooks(const struct rd_settings *settings, const struct rd_agent *agent,
		      struct rd_table *table)
{
	for (size_t i = 0; i < rd_datapath_hooks(); i++) {
		struct rd_hook_state hook = rd_datapath_hook(settings->bpffs, i);
		/* By choice, which is no mistake: --track-outcomes off. */
		bool off = !hook.program_id && agent->outcomes_off && !strcmp(hook.name, "sockops");

		rd_table_add(table, "%s", hook.name);
		rd_table_add(table, "%s", hook_state(&hook, off));
		rd_table_tone(table, RD_TONE_BAD, !off && (!hook.program_id || !hook.cgroup_id));
		rd_table_add(table, "%u", hook.program_id);
		rd_table_add(table, "%llu", (unsigned long long)hook.cgroup_id);
	}
}

static void add_fill(struct rd_table *table, const char *name, uint32_t used, uint32_t entries)
{
	rd_table_add(table, "%s", name);
	rd_table_add(table, "%u", used);
	rd_table_add(table, "%u", entries);
	rd_table_add(table, "%.1f%%", entries ? 100.0 * used / entries : 0);
	rd_table_tone(table, RD_TONE_WARNING, used > entries / 10 * 9);
}

static void count_socket(void *context, const struct rd_socket *socket)
{
	(void)socket;
	++*(uint32_t *)context;
}

/* Before the programs are attached there are none. */
static int count_sockets(const struct rd_view *view, const struct rd_settings *settings,
			 uint32_t *ret_count, struct rd_error *error)
{
	int r = each_socket(view, settings, count_socket, ret_count, error);

	return r == -ENOENT ? 0 : r;
}

static void add_maps(const struct rd_view *view, uint32_t sockets, struct rd_table *table)
{
	const uint32_t *entries = view->maps.entries;

	for (int i = 0; i < RD_MAPS; i++) {
		const char *name = rd_map_name((enum rd_map)i);

		if (i == RD_MAP_FRONTENDS)
			add_fill(table, name, view->plan.n_frontends,
				 view->plan.limits.max_frontends);
		if (i == RD_MAP_BACKENDS)
			add_fill(table, name, view->plan.ranges.used_count, entries[i]);
		if (i == RD_MAP_NODEADDRS)
			add_fill(table, name, view->plan.n_nodes, entries[i]);
		if (i == RD_MAP_SERVICES)
			add_fill(table, name, view->plan.ids.used_count, entries[i]);
		if (i == RD_MAP_SOCKETS)
			add_fill(table, name, sockets, entries[i]);
	}
}

/* Of the Services that are there now, and of the whole node. */
static int add_totals(const struct rd_view *view, struct rd_table *table)
{
	const struct rd_planned *service = NULL;
	struct rd_counts sum = {0}, one;
	struct rd_totals totals;
	int r = rd_maps_totals(&view->maps, &totals);

	if (r)
		return r;
	while ((service = rd_plan_next(&view->plan, (struct rd_planned *)service)))
		for (size_t i = 0; i < service->n_ports; i++) {
			rd_maps_count(&view->maps, &service->ports[i], &one);
			sum.connects += one.connects;
			sum.flows += one.flows;
			sum.refused += one.refused + one.refused_local;
			sum.failed += one.failed + one.timed_out;
			sum.open += one.open;
		}
	add_number(table, sum.connects);
	add_number(table, sum.flows);
	add_number(table, sum.refused);
	add_number(table, sum.failed);
	add_number(table, sum.open);
	add_number(table, totals.misses);
	add_number(table, totals.spills);
	return 0;
}

static void add_refused(const struct rd_agent *agent, struct rd_table *table)
{
	for (uint32_t i = 0; i < agent->refused_count && i < RD_REFUSED_SHOWN; i++) {
		rd_table_add(table, "%.*s", (int)sizeof(agent->refused[i].service),
			     agent->refused[i].service);
		rd_table_add(table, "%.*s", (int)sizeof(agent->refused[i].reason),
			     agent->refused[i].reason);
	}
}

static int show_status(const struct rd_settings *settings, struct rd_error *error)
{
	static const struct rd_column agent_columns[] = {
		{.key = "agent"},
		{.key = "pid", .number = true},
		{.key = "version"},
		{.key = "cgroup"},
		{.key = "source"},
		{.key = "files_not_used", .number = true},
		{.key = "started"},
		{.key = "last_change"},
		{.key = "source_seen"},
		{.key = "writes", .number = true},
		{.key = "services_refused", .number = true},
	};
	static const struct rd_column hook_columns[] = {
		{.key = "hook"},
		{.key = "state"},
		{.key = "program_id", .number = true},
		{.key = "cgroup_id", .number = true},
	};
	static const struct rd_column map_columns[] = {
		{.key = "map"},
		{.key = "used", .number = true},
		{.key = "entries", .number = true},
		{.key = "full"},
	};
	static const struct rd_column object_columns[] = {
		{.key = "kind"},
		{.key = "objects", .number = true},
		{.key = "seen"},
	};
	static const struct rd_column refused_columns[] = {
		{.key = "refused"},
		{.key = "reason"},
	};
	static const struct rd_column total_columns[] = {
		{.key = "connects", .number = true}, {.key = "flows", .number = true},
		{.key = "refused", .number = true},  {.key = "failed", .number = true},
		{.key = "open", .number = true},     {.key = "misses", .number = true},
		{.key = "spills", .number = true},
	};
	struct rd_table tables[] = {
		RD_TABLE("agent", agent_columns),     RD_TABLE("objects", object_columns),
		RD_TABLE("hooks", hook_columns),      RD_TABLE("maps", map_columns),
		RD_TABLE("refused", refused_columns), RD_TABLE("totals", total_columns),
	};
	struct rd_agent agent;
	struct rd_view view;
	uint32_t sockets = 0;
	int r = rd_view_open(settings->bpffs, &view, error);

	tables[0].record = tables[5].record = true;
	if (!r)
		r = count_sockets(&view, settings, &sockets, error);
	if (!r) {
		rd_maps_heard(&view.maps, &agent);
		add_agent(settings, &agent, &tables[0]);
		for (int kind = 0; kind < RD_KINDS; kind++) {
			rd_table_add(&tables[1], "%s", rd_kind_name((enum rd_kind)kind));
			rd_table_add(&tables[1], "%u", agent.objects[kind]);
			add_time(&tables[1], agent.seen_ns[kind]);
		}
		add_hooks(settings, &agent, &tables[2]);
		add_maps(&view, sockets, &tables[3]);
		add_refused(&agent, &tables[4]);
		r = add_totals(&view, &tables[5]);
		if (r)
			rd_error_set(error, r, "cannot read the counters: %s", strerror(-r));
	}
	rd_view_close(&view);
	return finish(tables, RD_ARRAY_SIZE(tables), settings, r, error);
}

/* ---- the commands ---------------------------------------------------------------------- */

int rd_cmd_status(const struct rd_settings *settings, struct rd_error *error)
{
	return show(show_status, settings, error);
}

int rd_cmd_services(const struct rd_settings *settings, struct rd_error *error)
{
	return show(show_services, settings, error);
}

int rd_cmd_backends(const struct rd_settings *settings, struct rd_error *error)
{
	return show(show_backends, settings, error);
}

int rd_cmd_sockets(const struct rd_settings *settings, struct rd_error *error)
{
	return show(show_sockets, settings, error);
}

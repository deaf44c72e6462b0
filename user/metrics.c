// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "metrics.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include "ip.h"
#include "model.h"

/* More than the longest thing that is written without looking at the room: a
 * family's head and one Service port's histogram. */
#define MARGIN (32 * 1024)
/* namespace="…",service="…",port="…",protocol="…", each name escaped. */
#define LABELS_MAX (4 * RD_LABEL_MAX + 64)

/* One Service port, as it was. */
struct row {
	char labels[LABELS_MAX];
	struct rd_counts counts;
	uint32_t endpoints; /* that can be chosen */
	uint32_t first_backend;
	uint32_t n_backends;
	uint8_t protocol;
	bool used; /* anything has been counted */
};

struct backend {
	uint32_t id;
	struct rd_ip ip;
	uint16_t port;
	uint64_t chosen, failed, open;
};

struct fill {
	const char *map;
	uint64_t entries;
	uint64_t capacity;
};

struct rd_metrics {
	struct rd_own_numbers own;
	struct rd_agent said;
	struct rd_syncs syncs;
	struct rd_dns_numbers names; /* if own.names is set */
	struct rd_totals totals;
	bool has_totals;
	struct fill fills[8];
	size_t n_fills;
	struct row *rows;
	size_t n_rows;
	struct backend *backends; /* of all rows, one after the other */
	size_t n_backends;
	/* Where the writing is. */
	size_t family; /* 0: the node's own, then those of families[] */
	size_t row;
	size_t backend; /* of the row */
	bool headed;	/* the family's head is written */
	size_t length;
	char text[RD_METRICS_PIECE + MARGIN];
};

/* ---- taking the numbers ---------------------------------------------------------------- */

size_t rd_metrics_escape(char *to, size_t size, const char *value)
{
	size_t n = 0;

	for (; *value; value++) {
		bool special = *value == '\\' || *value == '"' || *value == '\n';

		if (n + special + 1 >= size)
			break;
		if (special)
			to[n++] = '\\';
		to[n++] = *value == '\n' ? 'n' : *value;
	}
	/* A character of UTF-8 that was cut off in its middle. */
	if (*value && ((unsigned char)*value & 0xc0) == 0x80) {
		while (n && ((unsigned char)to[n - 1] & 0xc0) == 0x80)
			n--;
		n -= n > 0;
	}
	to[n] = '\0';
	return n;
}

static const char *protocol_name(uint8_t protocol)
{
	return protocol == IPPROTO_UDP ? "UDP" : protocol == IPPROTO_TCP ? "TCP" : "other";
}

static void label_row(struct row *row, const struct rd_service *record)
{
	char namespace[2 * RD_LABEL_MAX], name[2 * RD_LABEL_MAX];

	rd_metrics_escape(namespace, sizeof(namespace), record->namespace);
	rd_metrics_escape(name, sizeof(name), record->name);
	snprintf(row->labels, sizeof(row->labels),
		 "namespace=\"%s\",service=\"%s\",port=\"%u\",protocol=\"%s\"", namespace, name,
		 record->port, protocol_name(record->protocol));
}

static int compare_backends(const void *a, const void *b)
{
	const struct backend *left = a, *right = b;

	return (left->id > right->id) - (left->id < right->id);
}

static struct backend take_slot(const struct rd_maps *maps, enum rd_ip_family family,
				uint32_t index)
{
	const struct rd_slot *slot = &maps->backends[index];

	return (struct backend){
		.id = slot->id,
		.ip = rd_ip_from_bytes(family, slot->addr),
		.port = slot->port,
		.chosen = slot->chosen,
	};
}

/* Take a port's backends, each once however many of its sets it is in, to the end
 * of the array, which has room. Returns how many. */
static uint32_t take_backends(struct rd_metrics *metrics, const struct rd_maps *maps,
			      const struct rd_planned_port *port)
{
	struct backend *first = metrics->backends + metrics->n_backends;
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < port->n_ranges; i++)
		for (uint32_t s = 0; s < port->ranges[i].count; s++)
			first[n++] =
				take_slot(maps, port->ranges[i].family, port->ranges[i].first + s);
	/* Most ports have one set, and nothing is in a set twice. */
	if (port->n_ranges > 1)
		qsort(first, n, sizeof(*first), compare_backends);
	for (size_t i = 0; i < n; i++) {
		if (kept && first[kept - 1].id == first[i].id)
			first[kept - 1].chosen += first[i].chosen;
		else
			first[kept++] = first[i];
	}
	for (size_t i = 0; metrics->own.backends && i < kept; i++) {
		struct rd_backend_stats stats = rd_maps_outcomes(maps, first[i].id);

		first[i].failed = stats.failed;
		first[i].open = (uint32_t)stats.open;
	}
	return (uint32_t)kept;
}

static void take_port(struct rd_metrics *metrics, const struct rd_maps *maps,
		      const struct rd_planned_port *port)
{
	struct row *row = &metrics->rows[metrics->n_rows++];
	const struct rd_counts *counts = &row->counts;

	label_row(row, &port->record);
	row->protocol = port->record.protocol;
	rd_maps_count(maps, port, &row->counts);
	row->used = counts->connects || counts->flows || counts->refused || counts->refused_local;
	row->endpoints = take_backends(metrics, maps, port);
	if (!metrics->own.backends)
		return; /* the next port's take their place */
	row->first_backend = (uint32_t)metrics->n_backends;
	row->n_backends = row->endpoints;
	metrics->n_backends += row->n_backends;
}

static int take_ports(struct rd_metrics *metrics, const struct rd_plan *plan,
		      const struct rd_maps *maps)
{
	struct rd_planned *planned = NULL;
	size_t ports = 0, slots = 0, most = 0;

	while ((planned = rd_plan_next(plan, planned)))
		for (size_t p = 0; p < planned->n_ports; p++, ports++) {
			size_t n = 0;

			for (size_t i = 0; i < planned->ports[p].n_ranges; i++)
				n += planned->ports[p].ranges[i].count;
			slots += n;
			most = n > most ? n : most;
		}
	metrics->rows = calloc(ports + 1, sizeof(*metrics->rows));
	metrics->backends =
		calloc((metrics->own.backends ? slots : most) + 1, sizeof(*metrics->backends));
	if (!metrics->rows || !metrics->backends)
		return -ENOMEM;
	while ((planned = rd_plan_next(plan, planned)))
		for (size_t p = 0; p < planned->n_ports; p++)
			take_port(metrics, maps, &planned->ports[p]);
	return 0;
}

static void add_fill(struct rd_metrics *metrics, enum rd_map map, uint64_t entries,
		     uint64_t capacity)
{
	metrics->fills[metrics->n_fills++] = (struct fill){rd_map_name(map), entries, capacity};
}

static void take_fills(struct rd_metrics *metrics, const struct rd_plan *plan,
		       const struct rd_maps *maps)
{
	const struct rd_limits *limits = &plan->limits;

	add_fill(metrics, RD_MAP_SERVICES, plan->ids.used_count, limits->max_ports);
	add_fill(metrics, RD_MAP_FRONTENDS, plan->n_frontends, limits->max_frontends);
	add_fill(metrics, RD_MAP_BACKENDS, plan->ranges.used_count, limits->max_slots);
	add_fill(metrics, RD_MAP_BACKEND_STATS, plan->backend_ids.used_count,
		 plan->backend_ids.size);
	add_fill(metrics, RD_MAP_NODEADDRS, plan->n_nodes, maps->entries[RD_MAP_NODEADDRS]);
}

int rd_metrics_new(const struct rd_plan *plan, const struct rd_maps *maps,
		   const struct rd_own_numbers *own, struct rd_metrics **ret_metrics)
{
	struct rd_metrics *metrics = calloc(1, sizeof(*metrics));

	if (!metrics)
		return -ENOMEM;
	metrics->own = *own;
	metrics->said = *own->said;
	metrics->syncs = *own->syncs;
	if (own->names)
		metrics->names = *own->names;
	metrics->has_totals = !rd_maps_totals(maps, &metrics->totals);
	take_fills(metrics, plan, maps);
	if (take_ports(metrics, plan, maps)) {
		rd_metrics_free(metrics);
		return -ENOMEM;
	}
	*ret_metrics = metrics;
	return 0;
}

void rd_metrics_free(struct rd_metrics *metrics)
{
	if (!metrics)
		return;
	free(metrics->rows);
	free(metrics->backends);
	free(metrics);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* The room is there: see MARGIN. Tens of thousands of lines are written so, which
 * is why it is not snprintf. */
static void put(struct rd_metrics *metrics, const char *text)
{
	size_t n = strlen(text);

	if (n > sizeof(metrics->text) - metrics->length)
		n = sizeof(metrics->text) - metrics->length;
	memcpy(metrics->text + metrics->length, text, n);
	metrics->length += n;
}

static void put_number(struct rd_metrics *metrics, uint64_t number)
{
	char digits[21];
	size_t at = sizeof(digits) - 1;

	digits[at] = '\0';
	do
		digits[--at] = (char)('0' + number % 10);
	while (number /= 10);
	put(metrics, digits + at);
}

static void put_seconds(struct rd_metrics *metrics, uint64_t ns)
{
	char fraction[16];

	put_number(metrics, ns / 1000000000);
	snprintf(fraction, sizeof(fraction), ".%09u", (unsigned)(ns % 1000000000));
	put(metrics, fraction);
}

static void put_head(struct rd_metrics *metrics, const char *name, const char *type,
		     const char *help)
{
	const char *const words[] = {"# HELP ", name, " ",  help, "\n# TYPE ",
				     name,	" ",  type, "\n"};

	for (size_t i = 0; i < RD_ARRAY_SIZE(words); i++)
		put(metrics, words[i]);
}

/* The name, and labels if there are any. */
static void put_series(struct rd_metrics *metrics, const char *name, const char *labels,
		       const char *more)
{
	put(metrics, name);
	if (*labels || *more) {
		put(metrics, "{");
		put(metrics, labels);
		put(metrics, more);
		put(metrics, "}");
	}
	put(metrics, " ");
}

static void put_line(struct rd_metrics *metrics, const char *name, const char *labels,
		     const char *more, uint64_t value)
{
	put_series(metrics, name, labels, more);
	put_number(metrics, value);
	put(metrics, "\n");
}

static void put_time(struct rd_metrics *metrics, const char *name, const char *labels, uint64_t ns)
{
	put_series(metrics, name, labels, "");
	put_seconds(metrics, ns);
	put(metrics, "\n");
}

/* ---- the node's own ----------------------------------------------------------------------------
 */

static void write_one(struct rd_metrics *metrics, const char *name, const char *type,
		      const char *help, uint64_t value)
{
	put_head(metrics, name, type, help);
	put_line(metrics, name, "", "", value);
}

static void write_one_time(struct rd_metrics *metrics, const char *name, const char *type,
			   const char *help, uint64_t ns)
{
	put_head(metrics, name, type, help);
	put_time(metrics, name, "", ns);
}

static void write_build(struct rd_metrics *metrics)
{
	char version[2 * sizeof(metrics->said.version)], labels[128];

	rd_metrics_escape(version, sizeof(version), metrics->said.version);
	snprintf(labels, sizeof(labels), "version=\"%s\",map_layout=\"%u\"", version,
		 RD_LAYOUT_VERSION);
	put_head(metrics, "redial_build_info", "gauge", "The agent's version, always 1.");
	put_line(metrics, "redial_build_info", labels, "", 1);
}

struct histogram {
	const char *name, *help;
	const uint64_t *bucket; /* each for itself; the last one has no bound */
	size_t n;
	uint32_t (*bound_ms)(size_t bucket);
	uint64_t sum_ns;
};

static void write_histogram(struct rd_metrics *metrics, const struct histogram *histogram)
{
	char series[80], le[32];
	uint64_t count = 0;

	put_head(metrics, histogram->name, "histogram", histogram->help);
	snprintf(series, sizeof(series), "%s_bucket", histogram->name);
	for (size_t i = 0; i < histogram->n; i++) {
		uint32_t ms = i + 1 < histogram->n ? histogram->bound_ms(i) : 0;

		count += histogram->bucket[i];
		if (ms)
			snprintf(le, sizeof(le), "le=\"%u.%03u\"", ms / 1000, ms % 1000);
		else
			snprintf(le, sizeof(le), "le=\"+Inf\"");
		put_line(metrics, series, le, "", count);
	}
	snprintf(series, sizeof(series), "%s_sum", histogram->name);
	put_time(metrics, series, "", histogram->sum_ns);
	snprintf(series, sizeof(series), "%s_count", histogram->name);
	put_line(metrics, series, "", "", count);
}

static void write_syncs(struct rd_metrics *metrics, const char *name, const char *help)
{
	write_histogram(metrics, &(struct histogram){.name = name,
						     .help = help,
						     .bucket = metrics->syncs.took,
						     .n = RD_SYNC_BUCKETS,
						     .bound_ms = rd_sync_bound_ms,
						     .sum_ns = metrics->syncs.took_sum_ns});
}

static void write_programmings(struct rd_metrics *metrics)
{
	write_histogram(
		metrics,
		&(struct histogram){.name = "kubeproxy_network_programming_duration_seconds",
				    .help = "How long endpoints took from what changed them to "
					    "the maps.",
				    .bucket = metrics->syncs.programmed,
				    .n = RD_PROGRAMMING_BUCKETS,
				    .bound_ms = rd_programming_bound_ms,
				    .sum_ns = metrics->syncs.programmed_sum_ns});
}

static void write_fills(struct rd_metrics *metrics)
{
	for (int capacity = 0; capacity < 2; capacity++) {
		const char *name = capacity ? "redial_map_capacity" : "redial_map_entries";

		put_head(metrics, name, "gauge",
			 capacity ? "Entries that the map has room for."
				  : "Entries of the map that are taken.");
		for (size_t i = 0; i < metrics->n_fills; i++) {
			const struct fill *fill = &metrics->fills[i];
			char label[64];

			snprintf(label, sizeof(label), "map=\"%s\"", fill->map);
			put_line(metrics, name, label, "",
				 capacity ? fill->capacity : fill->entries);
		}
	}
}

static void write_source(struct rd_metrics *metrics)
{
	static const char objects[] = "redial_source_objects";
	static const char seen[] = "redial_source_last_seen_timestamp_seconds";
	char label[64];

	put_head(metrics, objects, "gauge", "Objects that the source has, by kind.");
	for (int kind = 0; kind < RD_KINDS; kind++) {
		snprintf(label, sizeof(label), "kind=\"%s\"", rd_kind_name((enum rd_kind)kind));
		put_line(metrics, objects, label, "", metrics->said.objects[kind]);
	}
	put_head(metrics, seen, "gauge",
		 "When the source last proved to be alive, by kind; a kind not asked for is "
		 "not listed.");
	for (int kind = 0; kind < RD_KINDS; kind++) {
		snprintf(label, sizeof(label), "kind=\"%s\"", rd_kind_name((enum rd_kind)kind));
		if (metrics->said.seen_ns[kind])
			put_time(metrics, seen, label, metrics->said.seen_ns[kind]);
	}
	write_one(metrics, "redial_manifests_bad", "gauge",
		  "Manifests that cannot be used; their last good state stands in.",
		  metrics->said.files_bad);
}

static void write_process(struct rd_metrics *metrics)
{
	const struct rd_own_numbers *own = &metrics->own;

	write_one_time(metrics, "process_cpu_seconds_total", "counter",
		       "Processor time of the agent, user and system.", own->processor_ns);
	write_one(metrics, "process_resident_memory_bytes", "gauge",
		  "Resident memory of the agent.", own->resident_bytes);
	write_one(metrics, "process_virtual_memory_bytes", "gauge", "Virtual memory of the agent.",
		  own->virtual_bytes);
	write_one(metrics, "process_open_fds", "gauge", "Open file descriptors of the agent.",
		  own->open_fds);
	write_one(metrics, "process_max_fds", "gauge", "File descriptors the agent may open.",
		  own->max_fds);
	write_one_time(metrics, "process_start_time_seconds", "gauge", "When the agent started.",
		       metrics->said.started_ns);
}

/* Of all kinds of queries those that there have been. */
static void write_queries(struct rd_metrics *metrics)
{
	static const char name[] = "redial_dns_queries_total";
	const struct rd_dns_numbers *names = &metrics->names;
	char labels[96];

	put_head(metrics, name, "counter", "Queries answered, by type and result.");
	for (int p = 0; p < RD_DNS_TRANSPORTS; p++)
		for (int t = 0; t < RD_DNS_COUNT_TYPES; t++)
			for (size_t r = 0; r < RD_DNS_COUNT_RESULTS; r++) {
				if (!names->queries[p][t][r])
					continue;
				snprintf(labels, sizeof(labels),
					 "proto=\"%s\",type=\"%s\",result=\"%s\"",
					 rd_dns_transport_name((enum rd_dns_transport)p),
					 rd_dns_counted_type_name((enum rd_dns_counted_type)t),
					 rd_dns_result_name(r));
				put_line(metrics, name, labels, "", names->queries[p][t][r]);
			}
}

static void write_query_times(struct rd_metrics *metrics)
{
	static const char name[] = "redial_dns_duration_seconds";
	const struct rd_dns_numbers *names = &metrics->names;
	uint64_t count = 0;
	char le[48];

	put_head(metrics, name, "histogram", "How long a query took to be answered.");
	for (unsigned i = 0; i < RD_DNS_BUCKETS; i++) {
		uint64_t bound = RD_DNS_FIRST_BUCKET_NS << (2 * i);

		count += names->bucket[i];
		if (i == RD_DNS_BUCKETS - 1)
			snprintf(le, sizeof(le), "le=\"+Inf\"");
		else
			snprintf(le, sizeof(le), "le=\"%u.%06u\"", (unsigned)(bound / 1000000000),
				 (unsigned)(bound % 1000000000 / 1000));
		put_line(metrics, "redial_dns_duration_seconds_bucket", le, "", count);
	}
	put_time(metrics, "redial_dns_duration_seconds_sum", "", names->sum_ns);
	put_line(metrics, "redial_dns_duration_seconds_count", "", "", count);
}

static void write_names(struct rd_metrics *metrics)
{
	const struct rd_dns_numbers *names = &metrics->names;
	const struct {
		const char *name, *type, *help;
		uint64_t value;
	} rows[] = {
		{"redial_dns_dropped_total", "counter",
		 "Packets that must not be answered, and answers that could not be sent.",
		 names->dropped},
		{"redial_dns_cache_hits_total", "counter", "Queries answered from the cache.",
		 names->hits},
		{"redial_dns_cache_misses_total", "counter",
		 "Queries that the cache had no answer to.", names->misses},
		{"redial_dns_cache_stale_total", "counter",
		 "Queries answered with what was out of date, because no upstream answered.",
		 names->stale},
		{"redial_dns_cache_entries", "gauge", "Answers in the cache.",
		 names->cache.entries},
		{"redial_dns_cache_bytes", "gauge", "What they take.", names->cache.bytes},
		{"redial_dns_cache_evicted_total", "counter",
		 "Answers taken out of the cache for want of room.", names->cache.evicted},
		{"redial_dns_upstream_queries_total", "counter",
		 "Questions that upstreams were asked.", names->asked},
		{"redial_dns_upstream_failures_total", "counter",
		 "Those that none of them has answered.", names->failed},
		{"redial_dns_tcp_connections", "gauge", "TCP connections that are open now.",
		 names->connections},
		{"redial_dns_tcp_closed_idle_total", "counter",
		 "TCP connections closed to make room for others.", names->closed_idle},
	};

	write_queries(metrics);
	write_query_times(metrics);
	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++)
		write_one(metrics, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
}

static void write_node(struct rd_metrics *metrics)
{
	write_build(metrics);
	if (metrics->has_totals) {
		write_one(metrics, "redial_misses_total", "counter",
			  "Connects and sends that looked at the maps and were no Service's.",
			  metrics->totals.misses);
		write_one(metrics, "redial_socket_spills_total", "counter",
			  "Records of sockets whose slots others had.", metrics->totals.spills);
	}
	write_one(metrics, "redial_ready", "gauge",
		  "Whether the first complete state is in the maps.", metrics->said.ready);
	write_one(metrics, "redial_services_refused", "gauge",
		  "Services that are in the source and not, or not wholly, in the maps.",
		  metrics->said.refused_count);
	write_one(metrics, "redial_map_writes_total", "counter",
		  "Map elements that this agent has written or deleted.", metrics->said.writes);
	write_fills(metrics);
	write_source(metrics);
	write_syncs(metrics, "redial_sync_duration_seconds",
		    "How long it took to bring the maps to what the source says.");
	write_syncs(metrics, "kubeproxy_sync_proxy_rules_duration_seconds",
		    "The same under the name that kube-proxy gives it.");
	write_programmings(metrics);
	write_one_time(metrics, "kubeproxy_sync_proxy_rules_last_timestamp_seconds", "gauge",
		       "When the last sync ended well.", metrics->syncs.last_sync_ns);
	write_one_time(metrics, "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", "gauge",
		       "When a change was last noticed.", metrics->syncs.last_queued_ns);
	if (metrics->own.names)
		write_names(metrics);
	write_process(metrics);
}

/* ---- of Services and their backends
 * --------------------------------------------------------------- */

/* Which rows have a line of a family. */
enum when {
	ALWAYS,
	USED,	  /* anything was counted for the port */
	USED_UDP, /* and it is UDP */
	USED_TCP, /* and it is TCP, and outcomes are counted */
	COUNTED,  /* this itself was counted */
};

struct family {
	const char *name, *type, *help;
	void (*write)(struct rd_metrics *metrics, const struct family *family,
		      const struct row *row);
	enum when when;
	size_t count; /* offset in struct rd_counts */
	bool backends;
};

static uint64_t count_of(const struct row *row, size_t offset)
{
	return *(const uint64_t *)((const char *)&row->counts + offset);
}

static void write_count(struct rd_metrics *metrics, const struct family *family,
			const struct row *row)
{
	put_line(metrics, family->name, row->labels, "", count_of(row, family->count));
}

static void write_endpoints(struct rd_metrics *metrics, const struct family *family,
			    const struct row *row)
{
	put_line(metrics, family->name, row->labels, "", row->endpoints);
}

static void write_refused(struct rd_metrics *metrics, const struct family *family,
			  const struct row *row)
{
	put_line(metrics, family->name, row->labels, ",reason=\"no_endpoints\"",
		 row->counts.refused);
	if (row->counts.refused_local)
		put_line(metrics, family->name, row->labels, ",reason=\"policy_local\"",
			 row->counts.refused_local);
}

static void write_latency(struct rd_metrics *metrics, const struct family *family,
			  const struct row *row)
{
	static const char *const bounds[] = {
		",le=\"0.000128\"", ",le=\"0.000512\"", ",le=\"0.002048\"", ",le=\"0.008192\"",
		",le=\"0.032768\"", ",le=\"0.131072\"", ",le=\"0.524288\"", ",le=\"+Inf\"",
	};
	_Static_assert(RD_ARRAY_SIZE(bounds) == RD_LATENCY_BUCKETS, "a bound for each bucket");
	uint64_t count = 0;
	char series[80];

	snprintf(series, sizeof(series), "%s_bucket", family->name);
	for (size_t i = 0; i < RD_LATENCY_BUCKETS; i++) {
		count += row->counts.latency[i];
		put_line(metrics, series, row->labels, bounds[i], count);
	}
	snprintf(series, sizeof(series), "%s_sum", family->name);
	put_time(metrics, series, row->labels, row->counts.latency_us * 1000);
	snprintf(series, sizeof(series), "%s_count", family->name);
	put_line(metrics, series, row->labels, "", count);
}

/* One line for one backend, whose number is in stats. */
static void write_backend(struct rd_metrics *metrics, const struct family *family,
			  const struct row *row, const struct backend *backend)
{
	char address[RD_IP_PORT_TEXT], label[RD_IP_PORT_TEXT + 16];
	uint64_t value;

	memcpy(&value, (const char *)backend + family->count, sizeof(value));
	snprintf(label, sizeof(label), ",backend=\"%s\"",
		 rd_ip_port_format(&backend->ip, backend->port, address));
	put_line(metrics, family->name, row->labels, label, value);
}

#define COUNT(field) .write = write_count, .count = offsetof(struct rd_counts, field)
#define BACKEND(field) .backends = true, .count = offsetof(struct backend, field)
static const struct family families[] = {
	{"redial_service_connects_total", "counter", "Sockets whose connect() was redialled.",
	 .when = ALWAYS, COUNT(connects)},
	{"redial_service_endpoints", "gauge", "Endpoints that can be chosen on this node.",
	 .when = ALWAYS, .write = write_endpoints},
	{"redial_service_flows_total", "counter",
	 "Flows that unconnected UDP sockets took up with the Service.", .when = USED_UDP,
	 COUNT(flows)},
	{"redial_service_refused_total", "counter", "Connects and sends that were refused.",
	 .when = USED, .write = write_refused},
	{"redial_service_affinity_hits_total", "counter",
	 "Connects and flows that got their client's backend of before.", .when = COUNTED,
	 COUNT(affinity_hits)},
	{"redial_service_tcp_established_total", "counter", "TCP connects that succeeded.",
	 .when = USED_TCP, COUNT(established)},
	{"redial_service_tcp_failed_total", "counter",
	 "TCP connects that were refused or reset by the backend, or found no way to it.",
	 .when = USED_TCP, COUNT(failed)},
	{"redial_service_tcp_timed_out_total", "counter", "TCP connects that got no answer.",
	 .when = USED_TCP, COUNT(timed_out)},
	{"redial_service_tcp_open", "gauge", "TCP connections that are established now.",
	 .when = USED_TCP, COUNT(open)},
	{"redial_service_tcp_connect_duration_seconds", "histogram",
	 "How long TCP took to connect, from the first packet to the answer.", .when = USED_TCP,
	 .write = write_latency},
	{"redial_backend_chosen_total", "counter",
	 "Connects and flows that were given to the backend.", BACKEND(chosen)},
	{"redial_backend_tcp_open", "gauge",
	 "TCP connections to the backend that are established now.", .when = USED_TCP,
	 BACKEND(open)},
	{"redial_backend_tcp_failed_total", "counter",
	 "TCP connects to the backend that failed or timed out.", .when = USED_TCP,
	 BACKEND(failed)},
};

static bool has_line(const struct rd_metrics *metrics, const struct family *family,
		     const struct row *row)
{
	switch (family->when) {
	case ALWAYS:
		return true;
	case USED:
		return row->used;
	case USED_UDP:
		return row->used && row->protocol == IPPROTO_UDP;
	case USED_TCP:
		return row->used && row->protocol == IPPROTO_TCP && metrics->own.outcomes;
	case COUNTED:
		return count_of(row, family->count) > 0;
	}
	return false;
}

/* Write what fits of one row. Returns whether that was all of it. */
static bool write_row(struct rd_metrics *metrics, const struct family *family,
		      const struct row *row)
{
	if (!has_line(metrics, family, row))
		return true;
	if (!family->backends) {
		family->write(metrics, family, row);
		return true;
	}
	for (; metrics->backend < row->n_backends; metrics->backend++) {
		if (metrics->length >= RD_METRICS_PIECE)
			return false;
		write_backend(metrics, family, row,
			      &metrics->backends[row->first_backend + metrics->backend]);
	}
	metrics->backend = 0;
	return true;
}

bool rd_metrics_next(struct rd_metrics *metrics, const char **ret_data, size_t *ret_length)
{
	metrics->length = 0;
	if (!metrics->family) {
		write_node(metrics);
		metrics->family = 1;
	}
	while (metrics->family <= RD_ARRAY_SIZE(families)) {
		const struct family *family = &families[metrics->family - 1];
		bool skipped = family->backends && !metrics->own.backends;

		if (metrics->length >= RD_METRICS_PIECE)
			break;
		if (!skipped && !metrics->headed)
			put_head(metrics, family->name, family->type, family->help);
		metrics->headed = true;
		while (!skipped && metrics->row < metrics->n_rows &&
		       metrics->length < RD_METRICS_PIECE &&
		       write_row(metrics, family, &metrics->rows[metrics->row]))
			metrics->row++;
		if (!skipped && metrics->row < metrics->n_rows)
			break;
		metrics->row = 0;
		metrics->headed = false;
		metrics->family++;
	}
	*ret_data = metrics->text;
	*ret_length = metrics->length;
	return metrics->length > 0;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cmd_explain.c - what a connect to an address would do, and why: the steps of
 * the program, taken again from here, on the maps that it has. And where a
 * socket went.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "commands.h"
#include "inspect.h"
#include "log.h"
#include "nodeaddr.h"
#include "reason.h"
#include "source_dir.h"
#include "system.h"
#include "view.h"

enum { RESULT, STEPS, BACKENDS, ENDPOINTS, PARTS };

/* What is being explained, and what has been found out. */
struct question {
	const struct rd_settings *settings;
	struct rd_view *view;
	struct rd_table *tables;
	struct rd_key key; /* what was dialled */
	struct rd_ip ip;
	uint32_t pid;			  /* 0: only a network namespace is known */
	uint64_t netns;			  /* cookie; 0: not known */
	bool served;			  /* a program of redial's runs for this process */
	uint32_t program;		  /* its id */
	const struct rd_planned *service; /* NULL: none is at the address */
	const struct rd_planned_port *port;
	struct rd_frontend frontend;
	uint8_t scope; /* at which it was found */
	bool local;    /* refused by the policy Local */
	const char *verdict;
	const char *because;
};

__attribute__((format(printf, 3, 4))) static void step(struct question *q, const char *name,
						       const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	rd_table_add(&q->tables[STEPS], "%s", name);
	rd_table_add(&q->tables[STEPS], "%s", text);
}

/* The first reason counts. */
static void decide(struct question *q, const char *verdict, const char *because)
{
	if (q->verdict)
		return;
	q->verdict = verdict;
	q->because = because;
}

static bool is_ipv6(const struct question *q)
{
	return q->key.family == RD_IPV6;
}

/* ---- whose connect, and which programs it meets --------------------------------- */

/* Number of the hook in rd_datapath_hook. */
static struct rd_hook_state connect_hook(const struct question *q)
{
	struct rd_hook_state hook = {0};

	for (size_t i = 0; i < rd_datapath_hooks(); i++) {
		hook = rd_datapath_hook(q->settings->bpffs, i);
		if (!strcmp(hook.name, is_ipv6(q) ? "connect6" : "connect4"))
			break;
	}
	return hook;
}

/* Programs of others run before redial's and change what it sees, or after and
 * change what it did. */
static void explain_others(struct question *q, const struct rd_place *place)
{
	struct rd_running running[RD_RUNNING_MAX];
	int n = rd_inspect_hook(place->path, is_ipv6(q), running);
	bool others = false, seen = false;

	if (n < 0) {
		step(q, "other programs", "cannot be known: %s", strerror(-n));
		return;
	}
	for (int i = 0; i < n; i++)
		seen |= running[i].id == q->program;
	if (!seen && q->program) {
		step(q, "other programs", "redial's program %u does not run in this cgroup",
		     q->program);
		q->served = false;
	}
	for (int i = 0, after = 0; i < n; i++) {
		if (running[i].id == q->program) {
			after = 1;
			continue;
		}
		others = true;
		step(q, "other program", "%s (id %u) runs %s redial's, and may %s",
		     *running[i].name ? running[i].name : "one without a name", running[i].id,
		     after ? "after" : "before",
		     after ? "rewrite the address again" : "rewrite the address that redial sees");
	}
	if (!others)
		step(q, "other programs", "none on this hook of the cgroup or those above it");
}

static void explain_place(struct question *q, uint64_t cgroup_id)
{
	struct rd_place place;
	int r = rd_inspect_place(q->pid, &place);

	if (r) {
		step(q, "cgroup", "cannot be known: %s", strerror(-r));
		return;
	}
	q->served = rd_place_is_below(&place, cgroup_id);
	step(q, "cgroup", "%s, which is %s the cgroup that is served", place.path,
	     q->served ? "in" : "NOT in");
	if (q->served)
		explain_others(q, &place);
}

static void explain_hook(struct question *q)
{
	struct rd_hook_state hook = connect_hook(q);

	q->program = hook.program_id;
	q->served = hook.program_id && hook.cgroup_id;
	if (!hook.program_id)
		step(q, "hook", "%s: nothing is attached", hook.name);
	else if (!hook.cgroup_id)
		step(q, "hook", "%s: program %u, whose cgroup is gone", hook.name, q->program);
	else
		step(q, "hook", "%s: program %u is attached to cgroup %llu", hook.name, q->program,
		     (unsigned long long)hook.cgroup_id);
	if (!q->served) {
		decide(q, "left alone", "redial's program is not attached");
		return;
	}
	if (q->pid)
		explain_place(q, hook.cgroup_id);
	else
		step(q, "cgroup", "not asked about: taken to be served; name a process with --pid");
	if (!q->served)
		decide(q, "left alone", "redial's program does not run for this process");
}

/* ---- the look-up ------------------------------------------------------------------- */

static bool filter_has(const struct question *q, uint32_t bit)
{
	return q->view->maps.filter->bits[bit / 64] >> bit % 64 & 1;
}

static bool filter_has_address(const struct question *q)
{
	uint32_t words[4];

	memcpy(words, q->key.addr, sizeof(words));
	return filter_has(q, rd_filter_address_bit(words[0] ^ words[1] ^ words[2] ^ words[3]));
}

/* Take the frontend with this key, if it is in the maps. */
static bool take_frontend(struct question *q, const struct rd_key *key)
{
	const struct rd_planned_frontend *frontend = rd_plan_frontend(&q->view->plan, key);

	if (!frontend)
		return false;
	q->service = frontend->service;
	q->frontend = frontend->wanted;
	q->port = rd_plan_port(&q->view->plan, frontend->wanted.service);
	q->scope = key->scope;
	return q->port != NULL;
}

static void find_node_port(struct question *q, const struct rd_constants *constants)
{
	static const char *const kinds[] = {
		[RD_NODE_THIS] = "this node's",
		[RD_NODE_OTHER] = "another node's",
		[RD_NODE_LOOPBACK] = "this node's loopback",
	};
	struct rd_key key = q->key;
	uint32_t node;

	if (!rd_inspect_node(&q->view->maps, &q->ip, &node) || node >= RD_ARRAY_SIZE(kinds)) {
		step(q, "node address", "it is no node's: no NodePort answers there");
		return;
	}
	step(q, "node address", "it is %s", kinds[node]);
	if (node == RD_NODE_LOOPBACK && q->netns != constants->host_netns) {
		step(q, "node address", "of the node's own network namespace, which this is not");
		return;
	}
	memset(key.addr, 0, sizeof(key.addr));
	key.scope = RD_SCOPE_NODE_PORT;
	if (take_frontend(q, &key))
		q->local = node == RD_NODE_OTHER && rd_word_flags(q->frontend.word) & RD_FLAG_LOCAL;
}

static void find_service(struct question *q, const struct rd_constants *constants)
{
	bool address = filter_has_address(q);
	bool port = filter_has(q, rd_filter_port_bit(q->key.port));

	step(q, "filter", "the address %s a Service's, the port %s a NodePort",
	     address ? "may be" : "is not", port ? "may be" : "is not");
	if (address)
		take_frontend(q, &q->key);
	if (!q->service && port)
		find_node_port(q, constants);
	if (!q->service) {
		step(q, "frontend", "none for %s port %u at this address",
		     rd_protocol_name(q->key.protocol), q->key.port);
		decide(q, "left alone", "no Service has this address, port and protocol");
		return;
	}
	step(q, "frontend", "Service %s/%s, port %u%s%s, %s", q->service->namespace,
	     q->service->name, q->port->record.port, *q->port->record.port_name ? " " : "",
	     q->port->record.port_name,
	     q->scope == RD_SCOPE_NODE_PORT ? "by its NodePort" : "by its address");
}

/* ---- who is left alone ----------------------------------------------------------------- */

static bool is_excluded_cgroup(const struct question *q, const struct rd_constants *constants)
{
	struct rd_place place;

	if (!q->pid || rd_inspect_place(q->pid, &place))
		return false;
	for (uint32_t i = 0; i < constants->excluded_cgroups && i < RD_EXCLUDED_MAX; i++)
		if (rd_place_is_below(&place, constants->excluded_cgroup[i]))
			return true;
	return false;
}

static bool is_excluded_netns(const struct question *q, const struct rd_constants *constants)
{
	for (uint32_t i = 0; i < constants->excluded_netnss && i < RD_EXCLUDED_MAX; i++)
		if (q->netns == constants->excluded_netns[i])
			return true;
	return false;
}

static void explain_excluded(struct question *q, const struct rd_constants *constants, int known)
{
	bool cgroup = is_excluded_cgroup(q, constants), netns = is_excluded_netns(q, constants);

	if (known)
		step(q, "excluded", "cannot be known: the program's constants cannot be read");
	else if (!cgroup && !netns)
		step(q, "excluded", "no, neither the cgroup nor the network namespace");
	else
		step(q, "excluded", "yes, by --exclude-%s", cgroup ? "cgroup" : "netns");
	if (cgroup || netns)
		decide(q, "left alone",
		       cgroup ? "its cgroup is excluded" : "its network namespace is excluded");
}

/* ---- the choice ---------------------------------------------------------------------------- */

static const struct rd_slot *slot_of(const struct question *q, uint32_t index)
{
	return &q->view->plan.slots[rd_word_first(q->frontend.word) + index];
}

static void format_backend(const struct question *q, const uint8_t *addr, uint16_t port,
			   char text[RD_IP_PORT_TEXT])
{
	struct rd_ip ip = rd_ip_from_bytes(is_ipv6(q) ? RD_FAMILY_6 : RD_FAMILY_4, addr);

	rd_ip_port_format(&ip, port, text);
}

static void list_backends(struct question *q)
{
	struct rd_table *table = &q->tables[BACKENDS];

	for (uint32_t i = 0; i < rd_word_count(q->frontend.word); i++) {
		const struct rd_slot *slot = slot_of(q, i);
		char text[RD_IP_PORT_TEXT];

		format_backend(q, slot->addr, slot->port, text);
		rd_table_add(table, "%s", text);
		rd_table_add(table, "%u", slot->id);
		rd_table_add(table, "%llu",
			     (unsigned long long)rd_maps_chosen(&q->view->maps, q->port, slot->id));
		rd_table_add(table, "%d", rd_maps_outcomes(&q->view->maps, slot->id).open);
	}
}

static bool is_backend(const struct question *q, const struct rd_pinned *pinned)
{
	for (uint32_t i = 0; i < rd_word_count(q->frontend.word); i++)
		if (slot_of(q, i)->port == pinned->port &&
		    !memcmp(slot_of(q, i)->addr, pinned->addr, is_ipv6(q) ? 16 : 4))
			return true;
	return false;
}

static void explain_affinity(struct question *q)
{
	struct rd_client client = {.netns = q->netns,
				   .service = q->frontend.service,
				   .family = is_ipv6(q) ? RD_IPV6 : RD_IPV4};
	double timeout = q->frontend.affinity_seconds, age;
	char text[RD_IP_PORT_TEXT];
	struct rd_pinned pinned;

	if (!q->frontend.affinity_seconds) {
		step(q, "affinity", "the Service has none: every backend has the same chance");
		return;
	}
	if (!q->netns || !rd_inspect_affinity(&q->view->maps, &client, &pinned)) {
		step(q, "affinity", "of %.0f s, and no entry for %s", timeout,
		     q->netns ? "this network namespace" : "a network namespace not known");
		return;
	}
	age = ((double)rd_monotonic_ns() - (double)pinned.used_ns) / 1e9;
	format_backend(q, pinned.addr, pinned.port, text);
	if (age >= timeout)
		step(q, "affinity", "of %.0f s; the entry for %s is %.0f s old, too old", timeout,
		     text, age);
	else if (!is_backend(q, &pinned))
		step(q, "affinity", "of %.0f s; the entry is for %s, no backend any more", timeout,
		     text);
	else
		step(q, "affinity", "of %.0f s; this client has %s: entry %.0f s old, %.0f s left",
		     timeout, text, age, timeout - age);
}

/* Whether the Service is answered on this node now (H10). */
static bool is_answered_here(struct question *q)
{
	const struct rd_dns *dns = q->view->maps.dns;
	char text[RD_IP_PORT_TEXT];

	if (!(rd_word_flags(q->frontend.word) & RD_FLAG_DNS))
		return false;
	if (!(is_ipv6(q) ? dns->port6 : dns->port4) || dns->until_ns < rd_monotonic_ns()) {
		step(q, "answered here", "not now: the agent's DNS server is not there");
		return false;
	}
	format_backend(q, is_ipv6(q) ? dns->addr6 : dns->addr4,
		       is_ipv6(q) ? dns->port6 : dns->port4, text);
	step(q, "answered here", "by the agent's DNS server at %s", text);
	decide(q, "redialled", "to the agent on this node");
	return true;
}

static void explain_choice(struct question *q, const struct rd_constants *constants)
{
	uint32_t n = q->local ? 0 : rd_word_count(q->frontend.word);

	if (is_answered_here(q))
		return;
	if (n) {
		step(q, "backends", "%u", n);
		list_backends(q);
		explain_affinity(q);
		decide(q, "redialled", n == 1 ? "to its one backend" : "to one of its backends");
		return;
	}
	step(q, "backends", "%s: the connect reads %s",
	     q->local ? "none on that node, and the policy is Local" : "none",
	     constants->has_set_retval ? "ECONNREFUSED" : "ECONNREFUSED, before Linux 5.18 EPERM");
	decide(q, "refused",
	       q->local ? "externalTrafficPolicy is Local, and that node has no endpoint"
			: "no endpoint can be used");
}

/* ---- the source --------------------------------------------------------------------------------
 */

static void on_change(void *context)
{
	(void)context;
}

/* The address that the agent assigned is in the maps only. */
static void assign(const struct question *q, struct rd_object *service)
{
	const struct rd_service *record = &q->port->record;
	struct rd_ip ips[2] = {rd_ip_from_bytes(RD_FAMILY_4, record->cluster_ip4),
			       rd_ip_from_bytes(RD_FAMILY_6, record->cluster_ip6)};
	const struct rd_ip none[2] = {{.family = RD_FAMILY_4}, {.family = RD_FAMILY_6}};

	for (size_t i = 0; i < RD_ARRAY_SIZE(ips); i++)
		if (!service->service.cluster_ip[i].family && rd_ip_compare(&ips[i], &none[i]))
			service->service.cluster_ip[i] = ips[i];
}

static void list_endpoints(struct question *q, const struct rd_reasoned *reasoned, size_t n)
{
	struct rd_table *table = &q->tables[ENDPOINTS];
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		char text[RD_IP_PORT_TEXT] = "";

		if (reasoned[i].ip.family && reasoned[i].port)
			rd_ip_port_format(&reasoned[i].ip, reasoned[i].port, text);
		else if (reasoned[i].ip.family)
			rd_ip_format(&reasoned[i].ip, text);
		used += reasoned[i].reason == RD_REASON_USED;
		rd_table_add(table, "%s", text);
		rd_table_add(table, "%s", rd_reason_text(reasoned[i].reason));
		rd_table_add(table, "%s", rd_kind_name(reasoned[i].object->kind));
		rd_table_add(table, "%s", reasoned[i].object->name);
		rd_table_add(table, "%s", reasoned[i].node ?: "");
	}
	step(q, "endpoints", "%zu in %s, %zu of them used", n, q->settings->manifests, used);
}

static void reason(struct question *q, const struct rd_store *store)
{
	_rd_free_ struct rd_reasoned *reasoned = NULL;
	_rd_free_ struct rd_ip *addresses = NULL;
	struct utsname host;
	const struct rd_object *node;
	struct rd_locale locale = {0};
	struct rd_dialled dialled = {.ip = q->ip,
				     .port = q->key.port,
				     .protocol = q->key.protocol,
				     .scope = q->scope,
				     .refused = q->local};
	struct rd_object *service =
		rd_store_find(store, RD_SERVICE, q->service->namespace, q->service->name);
	size_t n = 0;
	int r;

	if (!service) {
		step(q, "endpoints", "%s has no such Service", q->settings->manifests);
		return;
	}
	assign(q, service);
	uname(&host);
	locale.node = q->settings->node_name ?: host.nodename;
	node = rd_store_find(store, RD_NODE, "", locale.node);
	locale.zone = (node ? node->node.zone : NULL) ?: "";
	/* Without them, only Services with loadBalancerSourceRanges differ. */
	if (rd_nodeaddrs_list(&addresses, &locale.n_addresses))
		locale.n_addresses = 0;
	locale.addresses = addresses;
	r = rd_reason(store, &locale, service, &dialled, &reasoned, &n);
	if (r)
		step(q, "endpoints", "by what %s says, the Service is not at this address",
		     q->settings->manifests);
	else
		list_endpoints(q, reasoned, n);
}

/* Why endpoints are used or not is known to the source alone. */
static int explain_endpoints(struct question *q, struct rd_error *error)
{
	struct event_base *base = NULL;
	struct rd_source_dir *source = NULL;
	struct rd_store store;
	int r = 0;

	if (!q->settings->manifests) {
		step(q, "endpoints",
		     "the maps have only those used; which others there are, and why they are "
		     "left out, the source knows: --manifests DIR");
		return 0;
	}
	rd_store_init(&store);
	base = event_base_new();
	r = base ? rd_source_dir_new(q->settings->manifests, &store, base, on_change, NULL, &source,
				     error)
		 : rd_error_set(error, -ENOMEM, "out of memory");
	if (!r) {
		rd_source_dir_collect(source);
		reason(q, &store);
		rd_source_dir_free(source);
	}
	rd_store_free(&store);
	if (base)
		event_base_free(base);
	return r;
}

/* ---- an address
 * ------------------------------------------------------------------------------------ */

static void print_result(struct question *q)
{
	struct rd_table *table = &q->tables[RESULT];
	char text[RD_IP_PORT_TEXT];

	rd_table_add(table, "%s", q->verdict);
	rd_table_add(table, "%s", q->because);
	rd_table_add(table, "%s", rd_ip_port_format(&q->ip, q->key.port, text));
	rd_table_add(table, "%s", rd_protocol_name(q->key.protocol));
	rd_table_add(table, "%u", q->pid);
	rd_table_add(table, "%llu", (unsigned long long)q->netns);
	rd_table_add(table, "%s", q->service ? q->service->namespace : "");
	rd_table_add(table, "%s", q->service ? q->service->name : "");
	rd_table_add(table, "%u", q->port ? q->port->record.port : 0);
	rd_table_add(table, "%u", q->service && !q->local ? rd_word_count(q->frontend.word) : 0);
}

static int explain(struct question *q, struct rd_error *error)
{
	struct rd_constants constants;
	int unknown, r = 0;

	explain_hook(q);
	unknown = rd_inspect_constants(q->program, &constants);
	find_service(q, &constants);
	if (q->service) {
		explain_excluded(q, &constants, unknown);
		explain_choice(q, &constants);
		r = explain_endpoints(q, error);
	}
	step(q, "kube-proxy",
	     "not looked at: where it runs, it translates the packets of what is left alone");
	print_result(q);
	return r;
}

/* From where: the process, its network namespace. This process if not said. */
static int set_client(struct question *q, struct rd_error *error)
{
	const char *netns = q->settings->netns;
	char path[64];

	if (netns && q->settings->pid)
		return rd_error_usage(error, "--pid or --netns, not both");
	q->pid = q->settings->pid ?: netns ? 0 : (uint32_t)getpid();
	snprintf(path, sizeof(path), "/proc/%u/ns/net", q->pid);
	if (q->pid && access(path, F_OK))
		return rd_error_set(error, -ESRCH, "no process %u", q->pid);
	q->netns = rd_netns_cookie(netns ?: path);
	if (!q->netns && netns)
		return rd_error_set(error, -EINVAL, "%s is not a network namespace", netns);
	return 0;
}

static int set_address(struct question *q, struct rd_error *error)
{
	uint16_t port;

	if (!q->settings->name || q->settings->namespace ||
	    rd_ip_port_parse(q->settings->name, &q->ip, &port))
		return rd_error_usage(error, "explain takes ADDRESS:PORT, such as 10.96.0.10:53 or "
					     "[fd00::1]:53, or --pid N --fd M");
	q->key.family = q->ip.family;
	memcpy(q->key.addr, q->ip.bytes, sizeof(q->key.addr));
	q->key.port = port;
	q->key.protocol = q->settings->udp ? IPPROTO_UDP : IPPROTO_TCP;
	return 0;
}

static int print_and_free(struct rd_table *tables, size_t n, const struct rd_settings *settings,
			  int r, struct rd_error *error)
{
	if (!r) {
		r = rd_tables_print(tables, n, settings->format);
		if (r)
			rd_error_set(error, r, "cannot print: %s", strerror(-r));
	}
	for (size_t i = 0; i < n; i++)
		rd_table_free(&tables[i]);
	return r;
}

static int explain_address(const struct rd_settings *settings, struct rd_error *error)
{
	static const struct rd_column result[] = {
		{.key = "verdict"},
		{.key = "because"},
		{.key = "address"},
		{.key = "protocol"},
		{.key = "pid", .number = true},
		{.key = "netns", .number = true},
		{.key = "namespace"},
		{.key = "name"},
		{.key = "port", .number = true},
		{.key = "backends", .number = true},
	};
	static const struct rd_column steps[] = {{.key = "step"}, {.key = "found"}};
	static const struct rd_column backends[] = {
		{.key = "backend"},
		{.key = "id", .number = true},
		{.key = "chosen", .number = true},
		{.key = "open", .number = true},
	};
	static const struct rd_column endpoints[] = {
		{.key = "endpoint"}, {.key = "state"}, {.key = "kind"},
		{.key = "object"},   {.key = "node"},
	};
	struct rd_table tables[PARTS] = {
		[RESULT] = RD_TABLE("result", result),
		[STEPS] = RD_TABLE("steps", steps),
		[BACKENDS] = RD_TABLE("backends", backends),
		[ENDPOINTS] = RD_TABLE("endpoints", endpoints),
	};
	struct rd_view view = {.maps = RD_MAPS_NONE};
	struct question q = {.settings = settings, .view = &view, .tables = tables};
	int r = set_address(&q, error) ?: set_client(&q, error);

	tables[RESULT].record = true;
	for (size_t i = 0; i < PARTS; i++)
		tables[i].whole = true;
	if (r)
		return r;
	r = rd_view_open(settings->bpffs, &view, error) ?: explain(&q, error);
	rd_view_close(&view);
	return print_and_free(tables, PARTS, settings, r, error);
}

/* ---- a socket
 * ----------------------------------------------------------------------------------------- */

static const char *state_name(int fd, int protocol)
{
	static const char *const names[] = {
		[TCP_ESTABLISHED] = "ESTABLISHED",
		[TCP_SYN_SENT] = "SYN_SENT",
		[TCP_SYN_RECV] = "SYN_RECV",
		[TCP_FIN_WAIT1] = "FIN_WAIT1",
		[TCP_FIN_WAIT2] = "FIN_WAIT2",
		[TCP_TIME_WAIT] = "TIME_WAIT",
		[TCP_CLOSE] = "CLOSE",
		[TCP_CLOSE_WAIT] = "CLOSE_WAIT",
		[TCP_LAST_ACK] = "LAST_ACK",
		[TCP_LISTEN] = "LISTEN",
		[TCP_CLOSING] = "CLOSING",
	};
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	if (protocol != IPPROTO_TCP || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) ||
	    info.tcpi_state >= RD_ARRAY_SIZE(names))
		return "";
	return names[info.tcpi_state] ?: "";
}

/* What getsockname or getpeername answers, or "". */
static void format_name(int fd, int (*get)(int, struct sockaddr *, socklen_t *),
			char text[RD_IP_PORT_TEXT])
{
	struct sockaddr_storage name = {0};
	socklen_t length = sizeof(name);
	char address[INET6_ADDRSTRLEN] = "";
	uint16_t port = 0;
	struct rd_ip ip;

	*text = '\0';
	if (get(fd, (struct sockaddr *)&name, &length))
		return;
	if (name.ss_family == AF_INET) {
		inet_ntop(AF_INET, &((struct sockaddr_in *)&name)->sin_addr, address,
			  sizeof(address));
		port = ntohs(((struct sockaddr_in *)&name)->sin_port);
	} else if (name.ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&name)->sin6_addr, address,
			  sizeof(address));
		port = ntohs(((struct sockaddr_in6 *)&name)->sin6_port);
	}
	if (!rd_ip_parse(address, &ip))
		rd_ip_port_format(&ip, port, text);
}

static int option(int fd, int name)
{
	int value = 0;
	socklen_t length = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &length) ? 0 : value;
}

static void add_address(struct rd_table *table, uint8_t family, const uint8_t *addr, uint16_t port)
{
	struct rd_ip ip = rd_ip_from_bytes(family == RD_IPV6 ? RD_FAMILY_6 : RD_FAMILY_4, addr);
	char text[RD_IP_PORT_TEXT];

	rd_table_add(table, "%s", rd_ip_port_format(&ip, port, text));
}

/* The record, or empty cells. */
static void add_record(const struct rd_view *view, const struct rd_socket *record, bool found,
		       struct rd_table *table)
{
	const struct rd_planned *service = found ? rd_view_dialled(view, record) : NULL;

	if (found) {
		add_address(table, record->family, record->dialled_addr, record->dialled_port);
		add_address(table, record->family, record->backend_addr, record->backend_port);
	} else {
		rd_table_add(table, "%s", "");
		rd_table_add(table, "%s", "");
	}
	rd_table_add(table, "%s", service ? service->namespace : "");
	rd_table_add(table, "%s", service ? service->name : "");
}

static void add_flows(const struct rd_flows *flows, struct rd_table *table)
{
	for (size_t i = 0; i < RD_FLOWS; i++) {
		const struct rd_flow *flow = &flows->flow[i];

		if (!flow->family)
			continue;
		add_address(table, flow->family, flow->dialled_addr, flow->dialled_port);
		add_address(table, flow->family, flow->backend_addr, flow->backend_port);
	}
}

static int describe_socket(const struct rd_view *view, int fd, struct rd_table *tables,
			   struct rd_error *error)
{
	struct rd_socket record = {0};
	struct rd_flows flows;
	char text[RD_IP_PORT_TEXT];
	enum rd_map map;
	int protocol = option(fd, SO_PROTOCOL);
	int found = rd_inspect_socket(&view->maps, fd, &record, &map);
	bool sent = found >= 0 && rd_inspect_flows(&view->maps, fd, &flows);
	struct stat stat = {0};

	if (found < 0)
		return rd_error_set(error, found, "that descriptor is no socket");
	(void)fstat(fd, &stat);
	rd_table_add(&tables[0], "%s", found || sent ? "redialled" : "left alone");
	rd_table_add(&tables[0], "%s", found ? rd_map_name(map) : "");
	rd_table_add(&tables[0], "%s",
		     protocol == IPPROTO_TCP || protocol == IPPROTO_UDP
			     ? rd_protocol_name((uint8_t)protocol)
			     : "other");
	rd_table_add(&tables[0], "%s", state_name(fd, protocol));
	add_record(view, &record, found, &tables[0]);
	format_name(fd, getpeername, text);
	rd_table_add(&tables[0], "%s", text);
	format_name(fd, getsockname, text);
	rd_table_add(&tables[0], "%s", text);
	rd_table_add(&tables[0], "%llu", (unsigned long long)stat.st_ino);
	if (sent)
		add_flows(&flows, &tables[1]);
	return 0;
}

static int parse_descriptor(const char *text, uint32_t *ret_fd, struct rd_error *error)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || number > INT32_MAX)
		return rd_error_usage(error, "--fd takes a descriptor's number, not %s", text);
	*ret_fd = (uint32_t)number;
	return 0;
}

static int open_socket(const struct rd_settings *settings, struct rd_error *error)
{
	uint32_t number = 0;
	int fd, r = parse_descriptor(settings->fd, &number, error);

	if (r)
		return r;
	if (!settings->pid || settings->name || settings->netns)
		return rd_error_usage(error, "--fd goes with --pid and nothing else");
	fd = rd_inspect_descriptor(settings->pid, number);
	if (fd == -ESRCH)
		return rd_error_set(error, fd, "no process %u", settings->pid);
	if (fd == -EBADF)
		return rd_error_set(error, fd, "process %u has no descriptor %u", settings->pid,
				    number);
	return fd < 0 ? rd_error_set(error, fd, "cannot look at descriptor %u of process %u: %s",
				     number, settings->pid, strerror(-fd))
		      : fd;
}

static int explain_socket(const struct rd_settings *settings, struct rd_error *error)
{
	static const struct rd_column socket[] = {
		{.key = "verdict"},
		{.key = "record"},
		{.key = "protocol"},
		{.key = "state"},
		{.key = "dialled"},
		{.key = "backend"},
		{.key = "namespace"},
		{.key = "name"},
		{.key = "peer"},
		{.key = "local"},
		{.key = "inode", .number = true},
	};
	static const struct rd_column flows[] = {{.key = "dialled"}, {.key = "backend"}};
	struct rd_table tables[] = {RD_TABLE("socket", socket), RD_TABLE("flows", flows)};
	_rd_close_ int fd = open_socket(settings, error);
	struct rd_view view;
	int r;

	if (fd < 0)
		return fd;
	tables[0].record = true;
	r = rd_view_open(settings->bpffs, &view, error)
		    ?: describe_socket(&view, fd, tables, error);
	rd_view_close(&view);
	return print_and_free(tables, RD_ARRAY_SIZE(tables), settings, r, error);
}

int rd_cmd_explain(const struct rd_settings *settings, struct rd_error *error)
{
	return settings->fd ? explain_socket(settings, error) : explain_address(settings, error);
}

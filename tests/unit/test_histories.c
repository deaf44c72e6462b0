// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Random histories of objects go through the store, rd_resolve and a plan into
 * simulated maps. After every step those are compared with what a naive model,
 * made from SERVICE-SEMANTICS A, B and C6 to C12, says of the objects as they
 * are then: for each address, port and protocol no frontend, or whose it is,
 * its flags and exactly which endpoints.
 *
 * The world is so small that Services meet at addresses and endpoints repeat.
 * It is drawn in small numbers and bit masks, from which the objects are made;
 * the model reads the numbers and shares nothing with user/.
 *
 * REDIAL_TEST_SEED=n runs history n alone and tells what happens in it.
 */
#include "unit/objects.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "resolve.h"
#include "unit/simulated_maps.h"

#define HISTORIES 3000
#define STEPS 20

/* ---- the world ---------------------------------------------------------------------- */

enum {
	SERVICES = 4,
	SLICES = 6, /* and an Endpoints object for each Service */
	PODS = 5,
	NODES = 3,
	ZONES = 3, /* of the third one there is no node */
	NAMES = 3,
	PORTS = 3,
	PLACES = 4, /* endpoints in a subset */
	ADDRESSES = 6,
	NODE_ADDRESS = 3, /* from here on they are Nodes' */
	ENDPOINTS = 5,
	NUMBERS = 6,
	BACKENDS = ENDPOINTS * NUMBERS,
	RANGES = 4,
	RULES = 4,
	NONE = -1,
};

static const struct {
	const char *namespace, *name;
} service_names[SERVICES] = {{"default", "a"}, {"default", "b"}, {"default", "c"}, {"shop", "a"}};
static const char *const slice_names[SLICES] = {"s0", "s1", "s2", "s3", "s4", "s5"};
static const char *const pod_names[PODS] = {"p0", "p1", "p2", "p3", "p4"};
static const char *const node_names[NODES] = {"n0", "n1", "n2"};
static const char *const zone_names[ZONES] = {"z0", "z1", "z2"};
enum { UDP_NAME = 1 };
static const char *const port_names[NAMES] = {"", "dns", "dns-tcp"};
static const char *const owners[] = {"a", "b", "c", "", "nobody"};
static const char *const label_keys[] = {"app", "tier"};

enum { IPV4, IPV6, FAMILIES };

/* What frontends listen on; the Nodes' addresses among them. */
static const char *const addresses[FAMILIES][ADDRESSES] = {
	{"10.96.0.1", "10.96.0.2", "10.96.0.3", "192.168.0.1", "192.168.0.2", "192.168.0.3"},
	{"fd00:96::1", "fd00:96::2", "fd00:96::3", "fd00:1::1", "fd00:1::2", "fd00:1::3"},
};
static const char *const endpoint_ips[FAMILIES][ENDPOINTS] = {
	{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"},
	{"fd00::1", "fd00::2", "fd00::3", "fd00::4", "fd00::5"},
};
/* Of ports: Services' are among the first three, NodePorts among the last two. */
static const uint16_t numbers[NUMBERS] = {80, 443, 30080, 8080, 8081, 30081};
static const int node_ports[] = {2, 5};

/* Where this node is in a range: its addresses are the first of the Nodes'. */
static const struct {
	const char *text;
	int family;
	bool has_us;
} ranges[RANGES] = {{"192.168.0.0/30", IPV4, true},
		    {"203.0.113.0/24", IPV4, false},
		    {"fd00:1::/64", IPV6, true},
		    {"2001:db8::/32", IPV6, false}};

/* Values of --nodeport-addresses; NULL: no rule at all. */
enum { SOME_IPV4 = 3 };
static const char *const rules[RULES] = {NULL, "all", "primary", "192.168.0.3/32"};

/* Where a field is an int, it is an index into the tables above, or NONE. Where
 * it is unsigned, it is bits of such indices. */
struct port {
	int name, number;
	int node_port, target_number, target_name; /* of Services only */
	uint8_t protocol;
};

struct service {
	bool present, headless, not_ours, publish_not_ready, internal_local, external_local;
	int64_t created;
	enum rd_service_type type;
	uint32_t affinity_seconds;
	int cluster_ip[FAMILIES];
	unsigned external_ips[FAMILIES], lb_ips[FAMILIES], ranges, selector;
	struct port ports[PORTS];
	size_t n_ports;
};

struct endpoint {
	int family, ip, node;
	unsigned zones, nodes; /* hints */
	bool ready, serving, terminating;
};

struct subset {
	struct port ports[PORTS];
	size_t n_ports;
	struct endpoint endpoints[PLACES];
	size_t n_endpoints;
};

struct slice {
	bool present, ignored;
	int owner; /* not of Endpoints */
	struct subset subsets[2];
	size_t n_subsets;
};

struct pod {
	bool present, ready, terminating, ended;
	int node, ip[FAMILIES];
	unsigned labels;
	struct port ports[PORTS];
	size_t n_ports;
};

struct node {
	bool present;
	int zone;
	unsigned addresses[FAMILIES];
};

static struct world {
	struct service services[SERVICES];
	struct slice slices[SLICES + SERVICES];
	struct pod pods[PODS];
	struct node nodes[NODES];
	int here; /* this node, or NONE: its name is not known */
	int rule;
} world;

static const char *slice_namespace(int i)
{
	if (i >= SLICES)
		return service_names[i - SLICES].namespace;
	return i == SLICES - 1 ? "shop" : "default";
}

static const char *slice_name(int i)
{
	return i >= SLICES ? service_names[i - SLICES].name : slice_names[i];
}

static const char *slice_owner(int i)
{
	return i >= SLICES ? slice_name(i) : owners[world.slices[i].owner];
}

static const char *pod_namespace(int i)
{
	return i == PODS - 1 ? "shop" : "default";
}

/* ---- the naive model -------------------------------------------------------------- */

/* What the histories are to come across, so that this is not about nothing. */
enum sight {
	MIRRORED,
	POD_MATCHED,
	ENTRIES_CLASH,
	ALL_READY,
	NONE_AT_ALL,
	FELL_BACK,
	NEAR_BY_NODE,
	NEAR_BY_ZONE,
	HINTS_IGNORED,
	LOCAL_READY,
	LOCAL_FELL_BACK,
	SOURCE_NOT_ALLOWED,
	AT_OTHER_NODE,
	RULED_OUT,
	LEFT_OUT,
	CHANGED_HANDS,
	SIGHTS,
};
static const char *const sight_names[SIGHTS] = {
	"mirrored Endpoints",
	"a Pod that a selector matches",
	"two entries for one endpoint",
	"all that is ready",
	"no endpoint",
	"the fallback to terminating endpoints",
	"hints for this node",
	"hints for this zone",
	"hints that are ignored",
	"a local set",
	"a local fallback",
	"a source that is not allowed",
	"a NodePort at another node",
	"an address where no NodePort answers",
	"an address that another Service has",
	"an address that changes hands",
};
static unsigned sights[SIGHTS];

/* The endpoints of a Service port in one family, by address and number. */
struct entry {
	bool there;
	struct endpoint endpoint;
};

/* A13: one entry for an address and number, rather one that is not terminating.
 * Of such the ready one; then the first. */
static void add_entry(struct entry *entry, const struct endpoint *endpoint)
{
	const struct endpoint *other = &entry->endpoint;

	sights[ENTRIES_CLASH] += entry->there;
	if (!entry->there || (other->terminating && !endpoint->terminating) ||
	    (other->terminating == endpoint->terminating && !other->ready && endpoint->ready))
		*entry = (struct entry){.there = true, .endpoint = *endpoint};
}

/* A4, A8, A9, A12, A13, A17, A18. */
static void add_slices(int s, const struct port *port, int family, struct entry *entries)
{
	for (int i = 0; i < SLICES + SERVICES; i++) {
		const struct slice *slice = &world.slices[i];

		if (!slice->present || slice->ignored ||
		    strcmp(slice_namespace(i), service_names[s].namespace) ||
		    strcmp(slice_owner(i), service_names[s].name))
			continue;
		if (i >= SLICES && world.services[s].selector)
			continue;
		sights[MIRRORED] += i >= SLICES;
		for (size_t u = 0; u < slice->n_subsets; u++) {
			const struct subset *subset = &slice->subsets[u];

			for (size_t p = 0; p < subset->n_ports; p++)
				for (size_t e = 0; e < subset->n_endpoints; e++)
					if (subset->ports[p].name == port->name &&
					    subset->ports[p].protocol == port->protocol &&
					    subset->endpoints[e].family == family)
						add_entry(
							&entries[subset->endpoints[e].ip * NUMBERS +
								 subset->ports[p].number],
							&subset->endpoints[e]);
		}
	}
}

/* The index of the number that a Pod has for a Service port, or NONE. */
static int number_in_pod(const struct port *port, const struct pod *pod)
{
	if (port->target_name == NONE)
		return port->target_number == NONE ? port->number : port->target_number;
	for (size_t p = 0; p < pod->n_ports; p++)
		if (pod->ports[p].name == port->target_name &&
		    pod->ports[p].protocol == port->protocol)
			return pod->ports[p].number;
	return NONE;
}

/* Pods as the endpoint controller would write them into slices (B8). */
static void add_pods(int s, const struct port *port, int family, struct entry *entries)
{
	const struct service *service = &world.services[s];

	for (int i = 0; i < PODS; i++) {
		const struct pod *pod = &world.pods[i];
		struct endpoint endpoint = {.node = pod->node,
					    .ready = service->publish_not_ready ||
						     (pod->ready && !pod->terminating),
					    .serving = pod->ready,
					    .terminating = pod->terminating};
		int number = number_in_pod(port, pod);

		if (!pod->present || pod->ended || pod->ip[family] == NONE || number == NONE ||
		    strcmp(pod_namespace(i), service_names[s].namespace) || !service->selector ||
		    service->selector & ~pod->labels)
			continue;
		sights[POD_MATCHED]++;
		add_entry(&entries[pod->ip[family] * NUMBERS + number], &endpoint);
	}
}

static bool has(unsigned bits, int i)
{
	return i != NONE && bits >> i & 1;
}

static int our_zone(void)
{
	return world.here != NONE && world.nodes[world.here].present ? world.nodes[world.here].zone
								     : NONE;
}

/* B2, B4, B5, B6. */
static uint32_t cluster_set(const struct entry *entries)
{
	uint32_t ready = 0, by_node = 0, by_zone = 0, fallback = 0;
	bool all_nodes = true, all_zones = true;

	for (int b = 0; b < BACKENDS; b++) {
		const struct endpoint *endpoint = &entries[b].endpoint;
		uint32_t bit = 1U << b;

		if (!entries[b].there)
			continue;
		if (endpoint->serving && endpoint->terminating)
			fallback |= bit;
		if (!endpoint->ready)
			continue;
		ready |= bit;
		all_nodes &= endpoint->nodes != 0;
		all_zones &= endpoint->zones != 0;
		by_node |= has(endpoint->nodes, world.here) ? bit : 0;
		by_zone |= has(endpoint->zones, our_zone()) ? bit : 0;
	}
	if (!ready) {
		sights[fallback ? FELL_BACK : NONE_AT_ALL]++;
		return fallback;
	}
	if (all_nodes && by_node) {
		sights[NEAR_BY_NODE]++;
		return by_node;
	}
	if (all_zones && by_zone) {
		sights[NEAR_BY_ZONE]++;
		return by_zone;
	}
	sights[by_node || by_zone ? HINTS_IGNORED : ALL_READY]++;
	return ready;
}

/* B3, B4. */
static uint32_t local_set(const struct entry *entries, int node)
{
	uint32_t ready = 0, fallback = 0;

	for (int b = 0; b < BACKENDS; b++) {
		const struct endpoint *endpoint = &entries[b].endpoint;

		if (!entries[b].there || node == NONE || endpoint->node != node)
			continue;
		if (endpoint->ready)
			ready |= 1U << b;
		if (endpoint->serving && endpoint->terminating)
			fallback |= 1U << b;
	}
	sights[LOCAL_READY] += ready != 0;
	sights[LOCAL_FELL_BACK] += !ready && fallback;
	return ready ?: fallback;
}

/* Keys of frontends, numbered. The address after the last is "any node's". */
#define KEYS (FAMILIES * (ADDRESSES + 1) * NUMBERS * 2)

static int key_number(int family, int address, int number, uint8_t protocol)
{
	return ((family * (ADDRESSES + 1) + address) * NUMBERS + number) * 2 +
	       (protocol == IPPROTO_UDP);
}

/* What a Service says of a key. */
struct claim {
	bool there;
	const struct port *port;
	uint32_t backends; /* none: connects are refused (C1) */
	uint8_t flags;
};
static struct claim claims[SERVICES][KEYS];

static void claim(int s, int key, const struct port *port, uint32_t backends, uint8_t flags)
{
	if (claims[s][key].there)
		return;
	claims[s][key] =
		(struct claim){.there = true, .port = port, .backends = backends, .flags = flags};
}

/* C6: as --nodeport-addresses says. */
static bool does_node_port_answer(int family, int address)
{
	return world.rule != SOME_IPV4 || family == IPV6 || address == ADDRESSES - 1;
}

/* C10, with this node's addresses for the source. */
static bool is_source_allowed(const struct service *service, int family)
{
	bool any = false;

	for (int i = 0; i < RANGES; i++) {
		if (!has(service->ranges, i) || ranges[i].family != family)
			continue;
		if (ranges[i].has_us)
			return true;
		any = true;
	}
	sights[SOURCE_NOT_ALLOWED] += any;
	return !any;
}

/* C6, C11, C12. */
static void claim_node_port(int s, const struct port *port, int family, const struct entry *entries)
{
	const struct service *service = &world.services[s];

	if (port->node_port == NONE ||
	    (service->type != RD_TYPE_NODE_PORT && service->type != RD_TYPE_LOAD_BALANCER))
		return;
	claim(s, key_number(family, ADDRESSES, port->node_port, port->protocol), port,
	      cluster_set(entries), service->external_local ? RD_FLAG_LOCAL : 0);
	for (int n = 0; service->external_local && n < NODES; n++) {
		uint32_t there = local_set(entries, n);

		if (!world.nodes[n].present || n == world.here || !there)
			continue;
		for (int a = 0; a < ADDRESSES; a++) {
			if (!has(world.nodes[n].addresses[family], a))
				continue;
			sights[does_node_port_answer(family, a) ? AT_OTHER_NODE : RULED_OUT]++;
			if (does_node_port_answer(family, a))
				claim(s, key_number(family, a, port->node_port, port->protocol),
				      port, there, 0);
		}
	}
}

/* A1, A2, A3, A5, A6, A7, B9, C8, C9, C11. */
static void claim_all(int s)
{
	const struct service *service = &world.services[s];

	memset(claims[s], 0, sizeof(claims[s]));
	if (!service->present || service->headless || service->not_ours ||
	    service->type == RD_TYPE_EXTERNAL_NAME)
		return;
	for (size_t i = 0; i < FAMILIES * service->n_ports; i++) {
		const struct port *port = &service->ports[i / FAMILIES];
		int family = i % FAMILIES;
		struct entry entries[BACKENDS] = {0};

		if (port->protocol == IPPROTO_SCTP || service->cluster_ip[family] == NONE)
			continue;
		add_slices(s, port, family, entries);
		add_pods(s, port, family, entries);
		claim(s,
		      key_number(family, service->cluster_ip[family], port->number, port->protocol),
		      port,
		      service->internal_local ? local_set(entries, world.here)
					      : cluster_set(entries),
		      0);
		for (int a = 0; a < ADDRESSES; a++)
			if (has(service->external_ips[family], a) ||
			    (has(service->lb_ips[family], a) && is_source_allowed(service, family)))
				claim(s, key_number(family, a, port->number, port->protocol), port,
				      cluster_set(entries), 0);
		claim_node_port(s, port, family, entries);
	}
}

/* Of those that claim a key nobody had: the older, then the first by name, which
 * is their order in the table. NONE: nobody does. */
static int first_claimant(int key)
{
	int first = NONE;

	for (int s = 0; s < SERVICES; s++)
		if (claims[s][key].there &&
		    (first == NONE || world.services[s].created < world.services[first].created))
			first = s;
	return first;
}

/* ---- the world as objects ------------------------------------------------------------ */

static struct rd_store store;
static bool is_telling;

/* The texts that bits stand for, appended to a list. */
static void add_texts(const char **list, unsigned bits, const char *const *texts)
{
	while (*list)
		list++;
	for (; bits; bits &= bits - 1)
		*list++ = texts[__builtin_ctz(bits)];
}

static void fill_ports(struct port_args *args, const struct port *ports, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		args[i].name = port_names[ports[i].name];
		args[i].protocol = ports[i].protocol;
		args[i].port = numbers[ports[i].number];
		if (ports[i].node_port != NONE)
			args[i].node_port = numbers[ports[i].node_port];
		if (ports[i].target_number != NONE)
			args[i].target_number = numbers[ports[i].target_number];
		if (ports[i].target_name != NONE)
			args[i].target_name = port_names[ports[i].target_name];
	}
}

static struct rd_object *service_object(int s)
{
	const struct service *service = &world.services[s];
	struct service_args args = {
		.namespace = service_names[s].namespace,
		.name = service_names[s].name,
		.type = service->type,
		.headless = service->headless,
		.not_ours = service->not_ours,
		.publish_not_ready = service->publish_not_ready,
		.internal_local = service->internal_local,
		.external_local = service->external_local,
		.affinity_seconds = service->affinity_seconds,
	};
	struct rd_object *object;

	for (int f = 0; f < FAMILIES; f++) {
		add_texts(args.external_ips, service->external_ips[f], addresses[f]);
		add_texts(args.lb_ips, service->lb_ips[f], addresses[f]);
	}
	if (service->cluster_ip[IPV4] != NONE)
		args.ip4 = addresses[IPV4][service->cluster_ip[IPV4]];
	if (service->cluster_ip[IPV6] != NONE)
		args.ip6 = addresses[IPV6][service->cluster_ip[IPV6]];
	for (int i = 0, n = 0; i < RANGES; i++)
		if (has(service->ranges, i))
			args.source_ranges[n++] = ranges[i].text;
	for (int i = 0, n = 0; i < (int)RD_ARRAY_SIZE(label_keys); i++)
		if (has(service->selector, i)) {
			args.selector[n++] = label_keys[i];
			args.selector[n++] = "yes";
		}
	fill_ports(args.ports, service->ports, service->n_ports);
	object = make_service(args);
	object->created = service->created;
	return object;
}

static void fill_subset(const struct subset *subset, struct port_args *ports,
			struct endpoint_args *endpoints)
{
	fill_ports(ports, subset->ports, subset->n_ports);
	for (size_t i = 0; i < subset->n_endpoints; i++) {
		const struct endpoint *endpoint = &subset->endpoints[i];

		endpoints[i].ip = endpoint_ips[endpoint->family][endpoint->ip];
		endpoints[i].node = endpoint->node == NONE ? NULL : node_names[endpoint->node];
		endpoints[i].not_ready = !endpoint->ready;
		endpoints[i].not_serving = !endpoint->serving;
		endpoints[i].terminating = endpoint->terminating;
		add_texts(endpoints[i].for_zones, endpoint->zones, zone_names);
		add_texts(endpoints[i].for_nodes, endpoint->nodes, node_names);
	}
}

static struct rd_object *slice_object(int i)
{
	const struct slice *slice = &world.slices[i];
	struct slice_args args = {
		.kind = i < SLICES ? RD_SLICE : RD_ENDPOINTS,
		.namespace = slice_namespace(i),
		.name = slice_name(i),
		.owner = slice_owner(i),
		.ignored = slice->ignored,
	};

	fill_subset(&slice->subsets[0], args.ports, args.endpoints);
	if (slice->n_subsets == 2)
		fill_subset(&slice->subsets[1], args.more_ports, args.more_endpoints);
	return make_slice(args);
}

static struct rd_object *pod_object(int i)
{
	const struct pod *pod = &world.pods[i];
	struct pod_args args = {
		.namespace = pod_namespace(i),
		.name = pod_names[i],
		.node = pod->node == NONE ? NULL : node_names[pod->node],
		.ip4 = pod->ip[IPV4] == NONE ? NULL : endpoint_ips[IPV4][pod->ip[IPV4]],
		.ip6 = pod->ip[IPV6] == NONE ? NULL : endpoint_ips[IPV6][pod->ip[IPV6]],
		.not_ready = !pod->ready,
		.terminating = pod->terminating,
		.ended = pod->ended,
		/* A label that it has not, it has with another value or not at all. */
		.labels = {label_keys[0], has(pod->labels, 0) ? "yes" : "no",
			   has(pod->labels, 1) ? label_keys[1] : NULL, "yes"},
	};

	fill_ports(args.ports, pod->ports, pod->n_ports);
	return make_pod(args);
}

static struct rd_object *node_object(int i)
{
	const struct node *node = &world.nodes[i];
	struct node_args args = {
		.name = node_names[i],
		.zone = node->zone == NONE ? NULL : zone_names[node->zone],
	};

	for (int f = 0; f < FAMILIES; f++)
		add_texts(args.addresses, node->addresses[f], addresses[f]);
	return make_node(args);
}

static void tell(const char *verb, enum rd_kind kind, const char *namespace, const char *name)
{
	if (is_telling)
		print_message("  %s %s %s%s%s\n", verb, rd_kind_name(kind), namespace,
			      *namespace ? "/" : "", name);
}

static void put(struct rd_object *object)
{
	tell("put", object->kind, object->namespace, object->name);
	rd_store_put(&store, object);
}

static void take_out(enum rd_kind kind, const char *namespace, const char *name)
{
	tell("remove", kind, namespace, name);
	rd_store_remove(&store, kind, namespace, name);
}

/* ---- chance ---------------------------------------------------------------------------- */

static uint64_t random_state;

/* xorshift64*: a number below `limit`. */
static uint32_t below(uint32_t limit)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 2685821657736338717ULL) >> 33) % limit;
}

/* It happens once in so many times. */
static bool once_in(uint32_t times)
{
	return below(times) == 0;
}

static int index_or_none(uint32_t limit, uint32_t none_once_in)
{
	return once_in(none_once_in) ? NONE : (int)below(limit);
}

/* Ports with different names. Most have the protocol that goes with the name, so
 * that those of Services and slices meet. */
static size_t random_ports(struct port *ports, size_t n)
{
	uint32_t shift = below(NAMES);

	for (size_t i = 0; i < n; i++) {
		int name = (int)((i + shift) % NAMES);

		ports[i] = (struct port){
			.name = name,
			.number = (int)below(NUMBERS),
			.node_port = NONE,
			.target_number = NONE,
			.target_name = NONE,
			.protocol = (name == UDP_NAME) != once_in(5) ? IPPROTO_UDP : IPPROTO_TCP,
		};
	}
	return n;
}

/* As the API has it: no number twice for one protocol. */
static void random_service_ports(struct service *service)
{
	size_t n = random_ports(service->ports, 1 + below(PORTS)), kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct port *port = &service->ports[kept], *other = service->ports;

		*port = service->ports[i];
		port->number = (int)below(3);
		port->node_port = once_in(3) ? NONE : node_ports[below(2)];
		port->target_number = index_or_none(NUMBERS, 2);
		port->target_name = port->target_number == NONE ? index_or_none(NAMES, 2) : NONE;
		if (once_in(16))
			port->protocol = IPPROTO_SCTP;
		while (other < port &&
		       (other->number != port->number || other->protocol != port->protocol))
			other++;
		if (other < port)
			continue;
		for (other = service->ports; other < port; other++)
			if (other->node_port == port->node_port &&
			    other->protocol == port->protocol)
				port->node_port = NONE;
		kept++;
	}
	service->n_ports = kept;
}

static void random_addresses(struct service *service)
{
	for (int f = 0; f < FAMILIES; f++) {
		service->cluster_ip[f] = index_or_none(once_in(8) ? ADDRESSES : 3, f ? 2 : 8);
		service->external_ips[f] = once_in(3) ? 1U << below(ADDRESSES) : 0;
		service->lb_ips[f] =
			once_in(3) ? 1U << below(ADDRESSES) | 1U << below(ADDRESSES) : 0;
	}
	if (service->headless)
		service->cluster_ip[IPV4] = service->cluster_ip[IPV6] = NONE;
}

static struct service random_service(void)
{
	static const enum rd_service_type types[] = {RD_TYPE_CLUSTER_IP, RD_TYPE_NODE_PORT,
						     RD_TYPE_LOAD_BALANCER};
	struct service service = {
		.present = true,
		.headless = once_in(16),
		.not_ours = once_in(12),
		.publish_not_ready = once_in(4),
		.internal_local = once_in(3),
		.external_local = once_in(2),
		.created = 1 + below(3),
		.type = once_in(16) ? RD_TYPE_EXTERNAL_NAME : types[below(3)],
		.affinity_seconds = once_in(4) ? 1 + below(86400) : 0,
		.ranges = once_in(3) ? below(1 << RANGES) : 0,
		.selector = once_in(2) ? below(4) : 0,
	};

	random_addresses(&service);
	random_service_ports(&service);
	return service;
}

enum hints { NO_HINTS, ZONE_HINTS, BOTH_HINTS, SOME_HINTS };

static struct endpoint random_endpoint(int family, enum hints hints, bool leaving)
{
	struct endpoint endpoint = {
		.family = family,
		.ip = (int)below(ENDPOINTS),
		.node = index_or_none(NODES, 6),
		.ready = !leaving && !once_in(4),
		.serving = !once_in(4),
		.terminating = leaving || once_in(8),
	};

	if (hints == BOTH_HINTS || (hints == SOME_HINTS && once_in(2)))
		endpoint.nodes = 1 + below((1 << NODES) - 1);
	if (hints == BOTH_HINTS || hints == ZONE_HINTS || (hints == SOME_HINTS && once_in(2)))
		endpoint.zones = 1 + below((1 << ZONES) - 1);
	return endpoint;
}

/* A slice, or Endpoints, where what is not ready is nothing else either and
 * there are no hints (A17, A18). */
static struct slice random_slice(bool is_slice)
{
	struct slice slice = {
		.present = true,
		.ignored = once_in(12),
		.owner = (int)(once_in(8) ? below(RD_ARRAY_SIZE(owners)) : below(3)),
		.n_subsets = is_slice ? 1 : 1 + below(2),
	};
	enum hints hints = is_slice ? below(4) : NO_HINTS;
	bool leaving = is_slice && once_in(4);

	for (size_t u = 0; u < slice.n_subsets; u++) {
		struct subset *subset = &slice.subsets[u];
		int family = once_in(3) ? IPV6 : IPV4;

		subset->n_ports = random_ports(subset->ports, once_in(12) ? 0 : 1 + below(PORTS));
		subset->n_endpoints = subset->n_ports && !once_in(8) ? 1 + below(PLACES) : 0;
		for (size_t e = 0; e < subset->n_endpoints; e++) {
			struct endpoint *endpoint = &subset->endpoints[e];

			*endpoint =
				random_endpoint(is_slice ? family : (int)below(2), hints, leaving);
			endpoint->serving |= !is_slice;
			endpoint->terminating &= is_slice;
		}
	}
	return slice;
}

static struct pod random_pod(void)
{
	struct pod pod = {
		.present = true,
		.ready = !once_in(3),
		.terminating = once_in(4),
		.ended = once_in(8),
		.node = index_or_none(NODES, 8),
		.ip = {index_or_none(ENDPOINTS, 8), index_or_none(ENDPOINTS, 2)},
		.labels = below(4),
	};

	pod.n_ports = random_ports(pod.ports, below(PORTS + 1));
	return pod;
}

/* A node has its own address; some have another one's, too. */
static struct node random_node(int i)
{
	struct node node = {.present = true, .zone = index_or_none(2, 6)};

	for (int f = 0; f < FAMILIES; f++) {
		node.addresses[f] = once_in(6) ? 0 : 1U << (NODE_ADDRESS + i);
		if (once_in(6))
			node.addresses[f] |= 1U << (NODE_ADDRESS + below(NODES));
	}
	return node;
}

/* ---- what happens ------------------------------------------------------------------------ */

enum what { REMOVE, RECREATE, REPLACE, ALTER };

static enum what random_what(bool present)
{
	static const enum what whats[] = {REMOVE,  RECREATE, REPLACE, REPLACE,
					  REPLACE, ALTER,    ALTER,   ALTER};

	return present ? whats[below(RD_ARRAY_SIZE(whats))] : REPLACE;
}

static void change_service(int s)
{
	struct service *service = &world.services[s], was = *service;
	enum what what = random_what(was.present);

	if (what <= RECREATE)
		take_out(RD_SERVICE, service_names[s].namespace, service_names[s].name);
	service->present = false;
	if (what == REMOVE)
		return;
	*service = random_service();
	if (was.present && what != RECREATE)
		service->created = was.created;
	if (what == ALTER) {
		*service = was;
		switch (below(5)) {
		case 0:
			random_addresses(service);
			break;
		case 1:
			random_service_ports(service);
			break;
		case 2:
			service->internal_local ^= 1;
			service->external_local ^= below(2);
			break;
		case 3:
			service->not_ours ^= 1;
			break;
		default:
			service->affinity_seconds = service->affinity_seconds ? 0 : 10800;
		}
	}
	put(service_object(s));
}

static void change_slice(int i)
{
	struct slice *slice = &world.slices[i], was = *slice;
	enum what what = random_what(was.present);
	struct subset *subset = &slice->subsets[0];

	if (what <= RECREATE)
		take_out(i < SLICES ? RD_SLICE : RD_ENDPOINTS, slice_namespace(i), slice_name(i));
	slice->present = false;
	if (what == REMOVE)
		return;
	*slice = random_slice(i < SLICES);
	if (what == ALTER && i < SLICES) {
		struct endpoint *endpoint = &subset->endpoints[below(PLACES)];
		int owner = slice->owner;

		*slice = was;
		if (once_in(3))
			slice->owner = owner;
		else if (endpoint < &subset->endpoints[subset->n_endpoints])
			*endpoint = random_endpoint(endpoint->family, below(4), once_in(3));
	}
	put(slice_object(i));
}

static void change_pod(int i)
{
	enum what what = random_what(world.pods[i].present);

	if (what <= RECREATE)
		take_out(RD_POD, pod_namespace(i), pod_names[i]);
	world.pods[i].present = false;
	if (what == REMOVE)
		return;
	if (what == ALTER)
		world.pods[i].ready ^= 1;
	else
		world.pods[i] = random_pod();
	world.pods[i].present = true;
	put(pod_object(i));
}

static void change_node(int i)
{
	enum what what = random_what(world.nodes[i].present);

	if (what <= RECREATE)
		take_out(RD_NODE, "", node_names[i]);
	world.nodes[i].present = false;
	if (what == REMOVE)
		return;
	world.nodes[i] = random_node(i);
	put(node_object(i));
}

static void change_something(void)
{
	switch (below(10)) {
	case 0:
	case 1:
	case 2:
		change_service((int)below(SERVICES));
		break;
	case 3:
	case 4:
	case 5:
		change_slice((int)below(SLICES));
		break;
	case 6:
		change_slice(SLICES + (int)below(SERVICES));
		break;
	case 7:
	case 8:
		change_pod((int)below(PODS));
		break;
	default:
		change_node((int)below(NODES));
	}
}

/* ---- from the store to the maps ------------------------------------------------------------ */

static struct rd_locale here;
static struct rd_plan plan;
static bool waiting[SERVICES]; /* an address was left out */

/* As the agent does it. */
static void plan_service(int s)
{
	const struct rd_object *object = rd_store_find(
		&store, RD_SERVICE, service_names[s].namespace, service_names[s].name);
	struct rd_error error = {0};
	struct rd_wanted wanted;
	int r;

	assert_int_equal(rd_resolve(&store, &here, object, &wanted), 0);
	r = wanted.n_ports ? rd_plan_service(&plan, &wanted, &error)
			   : rd_plan_remove(&plan, object->namespace, object->name);
	rd_wanted_free(&wanted);
	if (r && r != -EEXIST)
		fail_msg("%s/%s: %d, %s", object->namespace, object->name, r, error.text);
	waiting[s] = r == -EEXIST;
}

static bool is_planned(int s)
{
	return rd_plan_find(&plan, service_names[s].namespace, service_names[s].name);
}

/* The order of the agent's turns: those in the maps, the older, by name. */
static bool is_before(int a, int b)
{
	if (is_planned(a) != is_planned(b))
		return is_planned(a);
	return world.services[a].created < world.services[b].created;
}

static void plan_in_turn(const bool *which)
{
	bool todo[SERVICES];

	memcpy(todo, which, sizeof(todo));
	for (int n = 0; n < SERVICES; n++) {
		int first = NONE;

		for (int s = 0; s < SERVICES; s++)
			if (todo[s] && (first == NONE || is_before(s, first)))
				first = s;
		if (first == NONE)
			return;
		todo[first] = false;
		plan_service(first);
	}
}

/* Plan the Services that the store says are concerned, then those that wait.
 * Returns how many were. */
static unsigned reconcile(bool all)
{
	bool concerned[SERVICES] = {0};
	unsigned n = 0;

	here.zone = our_zone() == NONE ? "" : zone_names[our_zone()];
	all |= store.all_dirty || store.nodes_changed;
	for (int s = 0; s < SERVICES; s++) {
		struct rd_service_name *name = rd_name_set_first(&store.dirty);

		while (name && rd_name_compare(name->namespace, name->name,
					       service_names[s].namespace, service_names[s].name))
			name = rd_name_set_next(name);
		n += all || name;
		concerned[s] = (all || name) && world.services[s].present;
		if (!world.services[s].present && (all || name)) {
			assert_int_equal(rd_plan_remove(&plan, service_names[s].namespace,
							service_names[s].name),
					 0);
			waiting[s] = false;
		}
	}
	rd_name_set_clear(&store.dirty);
	store.all_dirty = store.nodes_changed = false;
	plan_in_turn(concerned);
	plan_in_turn(waiting);
	return n;
}

/* ---- the comparison -------------------------------------------------------------------------- */

/* Who has each key, since the last comparison. */
static int owner[KEYS];

static struct rd_ip address_ips[FAMILIES][ADDRESSES], backend_ips[FAMILIES][ENDPOINTS];

static int find_ip(const struct rd_ip *ips, int n, const uint8_t *bytes)
{
	for (int i = 0; i < n; i++)
		if (!memcmp(ips[i].bytes, bytes, sizeof(ips[i].bytes)))
			return i;
	return NONE;
}

static int find_number(uint16_t number)
{
	for (int i = 0; i < NUMBERS; i++)
		if (numbers[i] == number)
			return i;
	return NONE;
}

static int family_of(const struct rd_key *key)
{
	return key->family == RD_IPV6 ? IPV6 : IPV4;
}

static int number_of_key(const struct rd_key *key)
{
	static const uint8_t nothing[16];
	int number = find_number(key->port);
	int address = find_ip(address_ips[family_of(key)], ADDRESSES, key->addr);

	if (key->scope == RD_SCOPE_NODE_PORT)
		address = memcmp(key->addr, nothing, sizeof(nothing)) ? NONE : ADDRESSES;
	assert_true(address != NONE && number != NONE);
	assert_true(key->protocol == IPPROTO_TCP || key->protocol == IPPROTO_UDP);
	return key_number(family_of(key), address, number, key->protocol);
}

static int service_of(const struct rd_service *record)
{
	for (int s = 0; s < SERVICES; s++)
		if (!strcmp(record->namespace, service_names[s].namespace) &&
		    !strcmp(record->name, service_names[s].name))
			return s;
	return NONE;
}

#define WRONG(key, ...)                                                                            \
	do {                                                                                       \
		int rest_ = (key) / 2 / NUMBERS;                                                   \
		int address_ = rest_ % (ADDRESSES + 1);                                            \
                                                                                                   \
		print_error("%s IPv%d port %u/%s: ",                                               \
			    address_ == ADDRESSES ? "NodePort"                                     \
						  : addresses[rest_ / (ADDRESSES + 1)][address_],  \
			    rest_ / (ADDRESSES + 1) == IPV6 ? 6 : 4, numbers[(key) / 2 % NUMBERS], \
			    (key) % 2 ? "UDP" : "TCP");                                            \
		fail_msg(__VA_ARGS__);                                                             \
	} while (0)

static const char *describe_backends(int family, uint32_t backends, char text[1024])
{
	char *at = text;

	*at = '\0';
	for (; backends; backends &= backends - 1) {
		int b = __builtin_ctz(backends);

		at += snprintf(at, (size_t)(text + 1024 - at), " %s:%u",
			       endpoint_ips[family][b / NUMBERS], numbers[b % NUMBERS]);
	}
	return text;
}

/* The backends that a word leads to; each there once. */
static uint32_t backends_of(int key, const struct rd_frontend *frontend)
{
	uint32_t first = rd_word_first(frontend->word), backends = 0;
	int family = family_of(&frontend->key);

	for (uint32_t i = 0; i < rd_word_count(frontend->word); i++) {
		const struct rd_slot *slot = &sim.slots[first + i];
		int ip = find_ip(backend_ips[family], ENDPOINTS, slot->addr);
		int number = find_number(slot->port);

		if (ip == NONE || number == NONE || has(backends, ip * NUMBERS + number))
			WRONG(key, "slot %u is no endpoint, or one twice", first + i);
		if (plan.slot_port[first + i] != frontend->service)
			WRONG(key, "slot %u is another Service's", first + i);
		backends |= 1U << (ip * NUMBERS + number);
	}
	return backends;
}

static void compare(int key, const struct rd_frontend *frontend, const struct claim *claim, int s)
{
	const struct rd_service *record = &sim.names[frontend->service];
	uint32_t backends = backends_of(key, frontend);

	if (backends != claim->backends) {
		int family = family_of(&frontend->key);
		char is[1024], should_be[1024];

		WRONG(key, "leads to%s, not to%s", describe_backends(family, backends, is),
		      describe_backends(family, claim->backends, should_be));
	}
	if (rd_word_flags(frontend->word) != claim->flags)
		WRONG(key, "the flags are %u, not %u", rd_word_flags(frontend->word), claim->flags);
	if (frontend->affinity_seconds != world.services[s].affinity_seconds)
		WRONG(key, "the affinity is another");
	if (strcmp(record->port_name, port_names[claim->port->name]) ||
	    record->port != numbers[claim->port->number] ||
	    record->protocol != claim->port->protocol || record->type != world.services[s].type)
		WRONG(key, "the name is another port's");
}

/*
 * Who has an address and still claims it keeps it. One that nobody has goes to
 * the first of those that claim it; where several Services have changed in one
 * step, to any, because what one gives up another may take in its turn.
 */
static void check_owner(int key, int now, bool one_changed)
{
	int first = first_claimant(key);

	if (now == NONE && first != NONE)
		WRONG(key, "there is nothing, but %s/%s claims it", service_names[first].namespace,
		      service_names[first].name);
	if (now != NONE && !claims[now][key].there)
		WRONG(key, "it is still there, of %s/%s", service_names[now].namespace,
		      service_names[now].name);
	if (owner[key] != NONE && claims[owner[key]][key].there && now != owner[key])
		WRONG(key, "it has been taken from %s/%s", service_names[owner[key]].namespace,
		      service_names[owner[key]].name);
	if (now != owner[key] && one_changed && now != first)
		WRONG(key, "%s/%s has it, others are older", service_names[now].namespace,
		      service_names[now].name);
	sights[CHANGED_HANDS] += owner[key] != NONE && now != NONE && now != owner[key];
	owner[key] = now;
}

static void check_waiting(void)
{
	for (int s = 0; s < SERVICES; s++) {
		bool left_out = false;

		for (int key = 0; key < KEYS; key++)
			left_out |= claims[s][key].there && owner[key] != s;
		sights[LEFT_OUT] += left_out;
		if (left_out != waiting[s])
			fail_msg("%s/%s %s addresses, the plan says otherwise",
				 service_names[s].namespace, service_names[s].name,
				 left_out ? "lacks" : "has all its");
	}
}

/* There is a name for each port of the Services that are served, and no other. */
static void check_names(void)
{
	size_t n = 0, expected = 0;

	for (int i = 0; i < SIM_PORTS; i++)
		n += sim.has_name[i];
	for (int s = 0; s < SERVICES; s++) {
		const struct service *service = &world.services[s];

		for (size_t p = 0; p < service->n_ports; p++)
			expected += service->present && !service->headless && !service->not_ours &&
				    service->type != RD_TYPE_EXTERNAL_NAME &&
				    service->ports[p].protocol != IPPROTO_SCTP;
	}
	assert_int_equal(n, expected);
}

static void check_maps(bool one_changed)
{
	const struct rd_frontend *found[KEYS] = {0};

	for (int i = 0; i < SIM_PLACES; i++)
		if (sim.places[i].word)
			found[number_of_key(&sim.places[i].key)] = &sim.places[i];
	for (int s = 0; s < SERVICES; s++)
		claim_all(s);
	for (int key = 0; key < KEYS; key++) {
		int now = found[key] ? service_of(&sim.names[found[key]->service]) : NONE;

		check_owner(key, now, one_changed);
		if (now != NONE)
			compare(key, found[key], &claims[now][key], now);
	}
	check_waiting();
	check_names();
}

/* ---- histories ----------------------------------------------------------------------------- */

/* Sets are small, and there is room for those of several steps. */
static const struct rd_limits limits = {.max_services = SERVICES,
					.max_ports = SIM_PORTS,
					.max_frontends = SIM_FRONTENDS,
					.frontend_bits = 6,
					.multiplier = 0x9e3779b97f4a7c15,
					.max_slots = SIM_SLOTS};

/* Where a failure is; a seed of 0: there was none. */
static uint64_t seed;
static int step;

static int set_up(void **state)
{
	(void)state;
	for (int f = 0; f < FAMILIES; f++) {
		for (int i = 0; i < ADDRESSES; i++)
			address_ips[f][i] = to_ip(addresses[f][i]);
		for (int i = 0; i < ENDPOINTS; i++)
			backend_ips[f][i] = to_ip(endpoint_ips[f][i]);
	}
	return 0;
}

static int say_where(void **state)
{
	(void)state;
	if (seed)
		print_error("That was step %d of REDIAL_TEST_SEED=%llu\n", step,
			    (unsigned long long)seed);
	return 0;
}

static void begin_history(void)
{
	static const struct rd_ip *const first[] = {&address_ips[IPV4][NODE_ADDRESS],
						    &address_ips[IPV6][NODE_ADDRESS]};
	static struct rd_nodeport_rule rule;
	static struct rd_ip ours[RD_ARRAY_SIZE(first)];

	random_state = seed * 0x9e3779b97f4a7c15ULL + 1;
	memset(&world, 0, sizeof(world));
	memset(waiting, 0, sizeof(waiting));
	for (int key = 0; key < KEYS; key++)
		owner[key] = NONE;
	for (size_t i = 0; i < RD_ARRAY_SIZE(first); i++)
		ours[i] = *first[i];
	world.here = once_in(10) ? NONE : 0;
	world.rule = (int)below(RULES);
	assert_int_equal(rd_nodeport_parse(rules[world.rule], &rule), 0);
	here = (struct rd_locale){
		.node = world.here == NONE ? "" : node_names[world.here],
		.addresses = ours,
		.n_addresses = RD_ARRAY_SIZE(ours),
		.nodeports = rules[world.rule] ? &rule : NULL,
	};
	rd_store_init(&store);
	sim_begin(&plan, limits);
}

static void take_step(void)
{
	uint32_t changes = once_in(2) ? 1 : 2 + below(3);
	unsigned concerned;

	if (is_telling)
		print_message("step %d\n", step);
	/* There is something to begin with. */
	for (uint32_t n = step ? changes : 30; n; n--)
		change_something();
	concerned = reconcile(false);
	sim_sync(&plan);
	check_maps(concerned <= 1);
	/* Here and there a grace period; at the latest when room gets short. */
	if (once_in(4) || rd_plan_limbo(&plan) > 600)
		sim_grace(&plan);
	if (once_in(20)) {
		struct sim_counts counts;

		sim_restart(&plan);
		reconcile(true);
		counts = sim_sync(&plan);
		/* A successor finds all as it should be. */
		assert_int_equal(counts.puts + counts.gone + counts.names + counts.gone_names, 0);
		check_maps(true);
	}
}

static void end_history(void)
{
	rd_store_free(&store);
	rd_store_init(&store);
	memset(&world, 0, sizeof(world));
	world.here = NONE;
	reconcile(true);
	sim_sync(&plan);
	check_maps(false);
	sim_grace(&plan);
	assert_int_equal(plan.ids.used_count + plan.backend_ids.used_count +
				 plan.ranges.used_count + plan.places.used_count,
			 0);
	rd_plan_free(&plan);
}

static void run_history(void)
{
	begin_history();
	for (step = 0; step < STEPS; step++)
		take_step();
	end_history();
}

TEST(any_history_of_objects_leads_to_what_the_semantics_say_of_them)
{
	const char *wish = getenv("REDIAL_TEST_SEED");

	if (wish) {
		is_telling = true;
		seed = strtoull(wish, NULL, 10);
		run_history();
		seed = 0;
		return;
	}
	for (seed = 1; seed <= HISTORIES; seed++)
		run_history();
	seed = 0;
	for (int i = 0; i < SIGHTS; i++)
		if (sights[i] < HISTORIES / 10)
			fail_msg("the histories came across %s %u times only", sight_names[i],
				 sights[i]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			any_history_of_objects_leads_to_what_the_semantics_say_of_them, set_up,
			say_where),
	};

	return cmocka_run_group_tests_name("histories", tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A plan is tested against simulated maps, see simulated_maps.h.
 */
#include "unit/unit.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "plan.h"
#include "unit/alloc_fail.h"
#include "unit/simulated_maps.h"

/* ---- what a test wants ----------------------------------------------------------- */

/* Endpoint sets are bit masks over a fixed row of endpoints: two ports on each
 * of 16 addresses, in order. */
#define ENDPOINTS 32
#define MOST 3

struct set_args {
	bool v6;
	uint32_t members;
};

struct frontend_args {
	uint8_t ip; /* 10.96.0.ip or fd00:96::ip, by the family of the set */
	size_t set;
	bool node_port; /* and no address */
	uint8_t flags;
};

struct port_args {
	const char *name; /* NULL: "" */
	uint16_t port;	  /* 0: 80 */
	bool udp;
	struct set_args sets[MOST];
	size_t n_sets;
	struct frontend_args frontends[MOST];
	size_t n_frontends;
};

struct service_args {
	const char *name;
	struct port_args ports[MOST];
	size_t n_ports;
	uint32_t affinity_seconds;
};

/* A Service with one port, one IPv4 address and these endpoints. */
#define SIMPLE(name_, ip_, members_)                                                               \
	((struct service_args){.name = (name_),                                                    \
			       .n_ports = 1,                                                       \
			       .ports = {{.n_sets = 1,                                             \
					  .sets = {{.members = (members_)}},                       \
					  .n_frontends = 1,                                        \
					  .frontends = {{.ip = (ip_)}}}}})

struct node_args {
	uint8_t ip; /* 10.96.0.ip or fd00:96::ip */
	bool v6;
	enum rd_node node;
};

static struct rd_backend endpoint(bool v6, unsigned i)
{
	struct rd_backend backend = {.port = (uint16_t)(8080 + i % 2)};

	backend.ip = v6 ? (struct rd_ip){.family = RD_FAMILY_6, .bytes = {0xfd, 0, [15] = 1}}
			: (struct rd_ip){.family = RD_FAMILY_4, .bytes = {10, 1, 0, 1}};
	backend.ip.bytes[v6 ? 15 : 3] += (uint8_t)(i / 2);
	return backend;
}

static struct rd_ip virtual_ip(bool v6, uint8_t n)
{
	if (v6)
		return (struct rd_ip){.family = RD_FAMILY_6, .bytes = {0xfd, 0, 0, 0x96, [15] = n}};
	return (struct rd_ip){.family = RD_FAMILY_4, .bytes = {10, 96, 0, n}};
}

static struct rd_nodeaddr nodeaddr(const struct node_args *args)
{
	struct rd_ip ip = virtual_ip(args->v6, args->ip);
	struct rd_nodeaddr address = {.family = ip.family};

	memcpy(address.addr, ip.bytes, sizeof(address.addr));
	return address;
}

/* Where a frontend listens. */
static struct rd_ip frontend_ip(const struct port_args *port, const struct frontend_args *frontend)
{
	bool v6 = port->sets[frontend->set].v6;

	if (frontend->node_port)
		return (struct rd_ip){.family = v6 ? RD_FAMILY_6 : RD_FAMILY_4};
	return virtual_ip(v6, frontend->ip);
}

static size_t fill_set(const struct set_args *args, struct rd_backend *backends)
{
	size_t n = 0;

	for (unsigned i = 0; i < ENDPOINTS; i++)
		if (args->members >> i & 1)
			backends[n++] = endpoint(args->v6, i);
	return n;
}

/* Room for a Service as the plan takes it. */
struct wanted_room {
	struct rd_object service;
	struct rd_wanted wanted;
	struct rd_wanted_port ports[MOST];
	struct rd_wanted_set sets[MOST][MOST];
	struct rd_wanted_frontend frontends[MOST][MOST];
	struct rd_backend backends[MOST][MOST][ENDPOINTS];
};

static const struct rd_wanted *to_wanted(const struct service_args *args, struct wanted_room *room)
{
	memset(room, 0, sizeof(*room));
	room->service.namespace = (char *)"default";
	room->service.name = (char *)args->name;
	room->service.service.affinity_seconds = args->affinity_seconds;
	room->wanted = (struct rd_wanted){
		.service = &room->service, .ports = room->ports, .n_ports = args->n_ports};
	for (size_t p = 0; p < args->n_ports; p++) {
		const struct port_args *port = &args->ports[p];

		room->ports[p] = (struct rd_wanted_port){
			.name = port->name ?: "",
			.port = port->port ?: 80,
			.protocol = port->udp ? IPPROTO_UDP : IPPROTO_TCP,
			.sets = room->sets[p],
			.n_sets = port->n_sets,
			.frontends = room->frontends[p],
			.n_frontends = port->n_frontends,
		};
		for (size_t s = 0; s < port->n_sets; s++)
			room->sets[p][s] = (struct rd_wanted_set){
				.family = port->sets[s].v6 ? RD_FAMILY_6 : RD_FAMILY_4,
				.backends = room->backends[p][s],
				.n = fill_set(&port->sets[s], room->backends[p][s]),
			};
		for (size_t f = 0; f < port->n_frontends; f++)
			room->frontends[p][f] = (struct rd_wanted_frontend){
				.ip = frontend_ip(port, &port->frontends[f]),
				.port = port->port ?: 80,
				.scope = port->frontends[f].node_port ? RD_SCOPE_NODE_PORT
								      : RD_SCOPE_ADDRESS,
				.flags = port->frontends[f].flags,
				.set = port->frontends[f].set,
			};
	}
	return &room->wanted;
}

static int state_service(struct rd_plan *plan, struct service_args args, struct rd_error *error)
{
	struct wanted_room room;

	return rd_plan_service(plan, to_wanted(&args, &room), error);
}

/* State a Service that must be taken. */
static void state(struct rd_plan *plan, struct service_args args)
{
	struct rd_error error = {0};

	if (state_service(plan, args, &error))
		fail_msg("%s: %s", args.name, error.text);
}

static void refuse(struct rd_plan *plan, struct service_args args, int code, const char *text)
{
	struct rd_error error = {0};

	assert_int_equal(state_service(plan, args, &error), code);
	assert_string_equal(error.text, text);
}

static void drop(struct rd_plan *plan, const char *name)
{
	assert_int_equal(rd_plan_remove(plan, "default", name), 0);
}

/* ---- looking at the simulated maps ------------------------------------------------ */

static const struct rd_limits roomy = {
	.max_services = 64,
	.max_ports = SIM_PORTS,
	.max_frontends = SIM_FRONTENDS,
	.frontend_bits = 5,
	.multiplier = 0x9e3779b97f4a7c15,
	.max_slots = SIM_SLOTS,
};

/* Apply, expecting so many operations of each kind. */
static void expect_ops(struct rd_plan *plan, struct sim_counts expected)
{
	struct sim_counts counts = sim_sync(plan);

	assert_int_equal(counts.slots, expected.slots);
	assert_int_equal(counts.names, expected.names);
	assert_int_equal(counts.puts, expected.puts);
	assert_int_equal(counts.gone, expected.gone);
	assert_int_equal(counts.gone_names, expected.gone_names);
}

/* The same of node addresses and the filter. */
static void expect_filter_ops(struct rd_plan *plan, size_t nodes, size_t set, size_t clear)
{
	struct sim_counts counts = sim_sync(plan);

	assert_int_equal(counts.nodes, nodes);
	assert_int_equal(counts.filter_set, set);
	assert_int_equal(counts.filter_clear, clear);
}

static struct rd_key key_of_frontend(const struct port_args *port,
				     const struct frontend_args *frontend)
{
	struct rd_ip ip = frontend_ip(port, frontend);
	struct rd_key key = {
		.port = port->port ?: 80,
		.protocol = port->udp ? IPPROTO_UDP : IPPROTO_TCP,
		.family = ip.family == RD_FAMILY_6 ? RD_IPV6 : RD_IPV4,
		.scope = frontend->node_port ? RD_SCOPE_NODE_PORT : RD_SCOPE_ADDRESS,
	};

	memcpy(key.addr, ip.bytes, sizeof(key.addr));
	return key;
}

static struct rd_key key_of(bool v6, uint8_t ip, uint16_t port, bool udp)
{
	struct rd_key key = {
		.port = port ?: 80,
		.protocol = udp ? IPPROTO_UDP : IPPROTO_TCP,
		.family = v6 ? RD_IPV6 : RD_IPV4,
	};
	struct rd_ip address = virtual_ip(v6, ip);

	memcpy(key.addr, address.bytes, sizeof(key.addr));
	return key;
}

/* The value of the IPv4 frontend 10.96.0.ip:80/TCP, which must be there. */
static struct rd_frontend value_of(uint8_t ip)
{
	struct rd_key key = key_of(false, ip, 80, false);
	const struct rd_frontend *frontend = sim_find(&key);

	if (!frontend)
		fail_msg("10.96.0.%u:80 is not in the map", ip);
	return *frontend;
}

static bool is_there(uint8_t ip)
{
	struct rd_key key = key_of(false, ip, 80, false);

	return sim_find(&key);
}

/* Does a word of the maps lead to exactly these endpoints? NULL: yes. */
static const char *wrong(const struct rd_frontend *value, const struct set_args *set,
			 const char *service, uint8_t flags, uint32_t affinity_seconds)
{
	struct rd_backend backends[ENDPOINTS];
	uint32_t first = rd_word_first(value->word), count = rd_word_count(value->word);
	size_t n = fill_set(set, backends);

	if (rd_word_flags(value->word) != flags)
		return "the flags are others";
	if (value->affinity_seconds != affinity_seconds)
		return "the affinity is another";
	if (value->service >= SIM_PORTS || !sim.has_name[value->service])
		return "the service id has no name";
	if (strcmp(sim.names[value->service].name, service))
		return "the service id is another Service's";
	if (count != n)
		return "the set has another size";
	for (uint32_t i = 0; i < count; i++) {
		const struct rd_slot *slot = &sim.slots[first + i];

		if (memcmp(slot->addr, backends[i].ip.bytes, sizeof(slot->addr)) ||
		    slot->port != backends[i].port)
			return "another endpoint is in the slot";
		if (slot->pad || slot->chosen)
			return "the slot is not clean";
	}
	return NULL;
}

/* The IPv4 frontend 10.96.0.ip:80/TCP is this Service's and leads there. */
static void expect_set(uint8_t ip, const char *service, uint32_t members)
{
	struct set_args set = {.members = members};
	struct rd_frontend value = value_of(ip);
	const char *why = wrong(&value, &set, service, 0, 0);

	if (why)
		fail_msg("10.96.0.%u: %s", ip, why);
}

/* The id of an endpoint in the set that an IPv4 frontend leads to. */
static uint32_t id_of(uint8_t ip, unsigned member)
{
	struct rd_frontend value = value_of(ip);
	struct rd_backend wanted = endpoint(false, member);

	for (uint32_t i = 0; i < rd_word_count(value.word); i++) {
		const struct rd_slot *slot = &sim.slots[rd_word_first(value.word) + i];

		if (!memcmp(slot->addr, wanted.ip.bytes, 16) && slot->port == wanted.port)
			return slot->id;
	}
	fail_msg("endpoint %u is not in the set", member);
	return 0;
}

/* ---- tests ---------------------------------------------------------------------------- */

TEST(a_service_becomes_slots_a_name_and_a_frontend)
{
	struct rd_plan plan;
	const struct rd_planned_port *port;
	struct rd_key key = key_of(false, 1, 80, false);

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("web", 1, 0x7));
	expect_ops(&plan, (struct sim_counts){.slots = 1, .names = 1, .puts = 1});
	expect_set(1, "web", 0x7);
	assert_ptr_equal(rd_plan_frontend(&plan, &key)->service,
			 rd_plan_find(&plan, "default", "web"));
	port = rd_plan_port(&plan, value_of(1).service);
	assert_non_null(port);
	assert_string_equal(port->record.namespace, "default");
	assert_string_equal(port->record.name, "web");
	assert_int_equal(port->record.port, 80);
	assert_int_equal(port->record.protocol, IPPROTO_TCP);
	rd_plan_free(&plan);
}

TEST(a_names_record_says_what_the_service_is)
{
	struct wanted_room room;
	struct service_args args = SIMPLE("web", 1, 0x1);
	struct rd_error error;
	const struct rd_service *record;
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	args.ports[0].name = "http";
	args.ports[0].port = 8443;
	args.ports[0].udp = true;
	to_wanted(&args, &room);
	room.service.service.type = RD_TYPE_LOAD_BALANCER;
	room.service.service.cluster_ip[0] = virtual_ip(false, 1);
	room.service.service.cluster_ip[1] = virtual_ip(true, 1);
	assert_int_equal(rd_plan_service(&plan, &room.wanted, &error), 0);
	sim_sync(&plan);
	record = &sim.names[rd_plan_find(&plan, "default", "web")->ports[0].id];
	assert_string_equal(record->namespace, "default");
	assert_string_equal(record->name, "web");
	assert_string_equal(record->port_name, "http");
	assert_memory_equal(record->cluster_ip4, virtual_ip(false, 1).bytes, 4);
	assert_memory_equal(record->cluster_ip6, virtual_ip(true, 1).bytes, 16);
	assert_int_equal(record->port, 8443);
	assert_int_equal(record->protocol, IPPROTO_UDP);
	assert_int_equal(record->type, RD_TYPE_LOAD_BALANCER);

	/* One word of it changes: one name is written and nothing else. */
	room.service.service.type = RD_TYPE_CLUSTER_IP;
	assert_int_equal(rd_plan_service(&plan, &room.wanted, &error), 0);
	expect_ops(&plan, (struct sim_counts){.names = 1});
	rd_plan_free(&plan);
}

TEST(a_service_without_endpoints_has_a_word_that_counts_none)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("web", 1, 0));
	expect_ops(&plan, (struct sim_counts){.names = 1, .puts = 1});
	assert_int_equal(rd_word_count(value_of(1).word), 0);
	state(&plan, SIMPLE("web", 1, 0x3));
	expect_ops(&plan, (struct sim_counts){.slots = 1, .puts = 1});
	expect_set(1, "web", 0x3);
	state(&plan, SIMPLE("web", 1, 0));
	expect_ops(&plan, (struct sim_counts){.puts = 1});
	expect_set(1, "web", 0);
	sim_grace(&plan);
	assert_int_equal(plan.ranges.used_count, 0);
	assert_int_equal(plan.backend_ids.used_count, 0);
	rd_plan_free(&plan);
}

TEST(stating_the_same_again_gives_no_operation)
{
	struct service_args args = {
		.name = "web",
		.n_ports = 2,
		.ports = {{.name = "a",
			   .n_sets = 2,
			   .sets = {{.members = 0x7}, {.v6 = true, .members = 0x3}},
			   .n_frontends = 3,
			   .frontends = {{.ip = 1}, {.ip = 1, .set = 1}, {.ip = 9}}},
			  {.name = "b", .port = 81, .n_sets = 1, .n_frontends = 1}},
	};
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	expect_ops(&plan, (struct sim_counts){.slots = 0});
	state(&plan, args);
	expect_ops(&plan, (struct sim_counts){.slots = 2, .names = 2, .puts = 4});
	state(&plan, args);
	expect_ops(&plan, (struct sim_counts){.slots = 0});
	assert_int_equal(rd_plan_limbo(&plan), 0);
	rd_plan_free(&plan);
}

TEST(frontends_of_one_set_share_its_range_and_equal_sets_do_too)
{
	struct service_args args = {
		.name = "web",
		.n_ports = 1,
		.ports = {{.n_sets = 2,
			   .sets = {{.members = 0x7}, {.members = 0x7}},
			   .n_frontends = 3,
			   .frontends = {{.ip = 1}, {.ip = 2}, {.ip = 3, .set = 1}}}},
	};
	struct rd_plan plan;
	uint32_t id;

	sim_begin(&plan, roomy);
	state(&plan, args);
	expect_ops(&plan, (struct sim_counts){.slots = 1, .names = 1, .puts = 3});
	assert_int_equal(rd_word_first(value_of(1).word), rd_word_first(value_of(2).word));
	assert_int_equal(rd_word_first(value_of(1).word), rd_word_first(value_of(3).word));
	assert_int_equal(plan.ranges.used_count, 3);

	/* One of them changes: the other keeps the range, the endpoints their ids. */
	id = id_of(1, 0);
	args.ports[0].sets[1].members = 0x3;
	state(&plan, args);
	expect_ops(&plan, (struct sim_counts){.slots = 1, .puts = 1});
	expect_set(1, "web", 0x7);
	expect_set(3, "web", 0x3);
	assert_int_equal(id_of(1, 0), id);
	assert_int_equal(id_of(3, 0), id);
	assert_int_equal(plan.backend_ids.used_count, 3);

	/* And equal again. */
	args.ports[0].sets[1].members = 0x7;
	state(&plan, args);
	expect_ops(&plan, (struct sim_counts){.puts = 1});
	sim_grace(&plan);
	assert_int_equal(plan.ranges.used_count, 3);
	assert_int_equal(plan.backend_ids.used_count, 3);
	rd_plan_free(&plan);
}

TEST(an_unchanged_set_keeps_its_range_while_another_changes)
{
	struct service_args args = {
		.name = "web",
		.n_ports = 2,
		.ports = {{.name = "a",
			   .n_sets = 1,
			   .sets = {{.members = 0x7}},
			   .n_frontends = 1,
			   .frontends = {{.ip = 1}}},
			  {.name = "b",
			   .n_sets = 1,
			   .sets = {{.members = 0x7}},
			   .n_frontends = 1,
			   .frontends = {{.ip = 2}}}},
	};
	struct rd_plan plan;
	struct rd_frontend before;

	sim_begin(&plan, roomy);
	state(&plan, args);
	sim_sync(&plan);
	before = value_of(1);
	args.ports[1].sets[0].members = 0xf;
	state(&plan, args);
	expect_ops(&plan, (struct sim_counts){.slots = 1, .puts = 1});
	assert_int_equal(value_of(1).word, before.word);
	expect_set(2, "web", 0xf);
	rd_plan_free(&plan);
}

TEST(a_changed_endpoint_keeps_the_ids_of_the_others)
{
	struct rd_plan plan;
	uint32_t first, second, third;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("web", 1, 0x7));
	sim_sync(&plan);
	first = id_of(1, 0);
	second = id_of(1, 1);
	third = id_of(1, 2);
	assert_int_not_equal(first, second);
	assert_int_not_equal(second, third);
	state(&plan, SIMPLE("web", 1, 0xd));
	expect_ops(&plan, (struct sim_counts){.slots = 1, .puts = 1});
	expect_set(1, "web", 0xd);
	assert_int_equal(id_of(1, 0), first);
	assert_int_equal(id_of(1, 2), third);
	/* The gone one's id is not the new one's. */
	assert_int_not_equal(id_of(1, 3), second);
	sim_grace(&plan);
	assert_int_equal(plan.backend_ids.used_count, 3);
	assert_int_equal(plan.ranges.used_count, 3);
	rd_plan_free(&plan);
}

TEST(the_same_endpoint_of_two_services_has_two_ids)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("a", 1, 0x1));
	state(&plan, SIMPLE("b", 2, 0x1));
	sim_sync(&plan);
	assert_int_not_equal(id_of(1, 0), id_of(2, 0));
	rd_plan_free(&plan);
}

TEST(a_removed_service_leaves_nothing)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("web", 1, 0x7));
	state(&plan, SIMPLE("other", 2, 0x7));
	sim_sync(&plan);
	drop(&plan, "nobody");
	expect_ops(&plan, (struct sim_counts){.slots = 0});
	drop(&plan, "web");
	expect_ops(&plan, (struct sim_counts){.gone = 1, .gone_names = 1});
	assert_false(is_there(1));
	expect_set(2, "other", 0x7);
	assert_null(rd_plan_find(&plan, "default", "web"));
	drop(&plan, "web");
	expect_ops(&plan, (struct sim_counts){.slots = 0});
	assert_true(rd_plan_limbo(&plan) > 0);
	drop(&plan, "other");
	sim_sync(&plan);
	sim_grace(&plan);
	assert_int_equal(plan.ids.used_count, 0);
	assert_int_equal(plan.backend_ids.used_count, 0);
	assert_int_equal(plan.ranges.used_count, 0);
	assert_int_equal(plan.n_services, 0);
	assert_int_equal(plan.n_frontends, 0);
	assert_int_equal(plan.places.used_count, 0);
	rd_plan_free(&plan);
}

TEST(a_service_that_comes_and_goes_in_one_batch_leaves_nothing)
{
	const struct rd_ops *ops;
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("web", 1, 0x7));
	drop(&plan, "web");
	assert_int_equal(rd_plan_take_ops(&plan, &ops), 0);
	assert_int_equal(ops->n_puts, 0);
	assert_int_equal(ops->n_gone, 0);
	sim_apply(&plan, ops);
	rd_plan_applied(&plan);
	for (size_t i = 0; i < SIM_PORTS; i++)
		assert_false(sim.has_name[i]);
	rd_plan_free(&plan);
}

TEST(a_port_taken_out_of_a_service_goes_alone)
{
	struct service_args args = {
		.name = "web",
		.n_ports = 2,
		.ports = {{.name = "a",
			   .n_sets = 1,
			   .sets = {{.members = 0x7}},
			   .n_frontends = 1,
			   .frontends = {{.ip = 1}}},
			  {.name = "b",
			   .n_sets = 1,
			   .sets = {{.members = 0x3}},
			   .n_frontends = 1,
			   .frontends = {{.ip = 2}}}},
	};
	struct rd_plan plan;
	uint32_t id;

	sim_begin(&plan, roomy);
	state(&plan, args);
	sim_sync(&plan);
	id = value_of(2).service;
	args.ports[0] = args.ports[1];
	args.n_ports = 1;
	state(&plan, args);
	expect_ops(&plan, (struct sim_counts){.gone = 1, .gone_names = 1});
	assert_false(is_there(1));
	assert_int_equal(value_of(2).service, id);
	assert_null(rd_plan_port(&plan, value_of(2).service == 0 ? 1 : 0));
	rd_plan_free(&plan);
}

TEST(a_new_address_of_a_service_replaces_the_old)
{
	struct rd_plan plan;
	struct rd_frontend before;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("web", 1, 0x7));
	sim_sync(&plan);
	before = value_of(1);
	state(&plan, SIMPLE("web", 2, 0x7));
	expect_ops(&plan, (struct sim_counts){.puts = 1, .gone = 1});
	assert_false(is_there(1));
	assert_int_equal(rd_word_first(value_of(2).word), rd_word_first(before.word));
	assert_int_equal(value_of(2).service, before.service);
	rd_plan_free(&plan);
}

TEST(an_address_that_another_service_has_is_left_out)
{
	struct service_args args = SIMPLE("b", 1, 0x3);
	struct rd_plan plan;
	struct rd_key key = key_of(false, 1, 80, false);

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("a", 1, 0x1));
	args.ports[0].n_frontends = 2;
	args.ports[0].frontends[1].ip = 2;
	refuse(&plan, args, -EEXIST, "10.96.0.1:80 is the address of default/a");
	sim_sync(&plan);
	expect_set(1, "a", 0x1);
	expect_set(2, "b", 0x3);
	assert_string_equal(rd_plan_frontend(&plan, &key)->service->name, "a");
	/* Stating it again does not change that, and nothing is written. */
	refuse(&plan, args, -EEXIST, "10.96.0.1:80 is the address of default/a");
	expect_ops(&plan, (struct sim_counts){.slots = 0});
	rd_plan_free(&plan);
}

TEST(an_error_names_the_first_of_several_addresses_of_others)
{
	struct service_args args = {
		.name = "c",
		.n_ports = 1,
		.ports = {{.n_sets = 2,
			   .sets = {{.v6 = true}, {.v6 = false}},
			   .n_frontends = 2,
			   .frontends = {{.ip = 2}, {.ip = 1, .set = 1}}}},
	};
	struct service_args b = {
		.name = "b",
		.n_ports = 1,
		.ports = {{.n_sets = 1,
			   .sets = {{.v6 = true}},
			   .n_frontends = 1,
			   .frontends = {{.ip = 2}}}},
	};
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("a", 1, 0x1));
	state(&plan, b);
	refuse(&plan, args, -EEXIST, "[fd00:96::2]:80 is the address of default/b");
	sim_sync(&plan);
	rd_plan_free(&plan);
}

TEST(an_address_given_up_in_a_batch_can_be_taken_in_the_same)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("a", 1, 0x1));
	refuse(&plan, SIMPLE("b", 1, 0x2), -EEXIST, "10.96.0.1:80 is the address of default/a");
	sim_sync(&plan);
	drop(&plan, "a");
	state(&plan, SIMPLE("b", 1, 0x2));
	expect_ops(&plan, (struct sim_counts){.puts = 1, .gone = 1, .gone_names = 1});
	expect_set(1, "b", 0x2);
	/* The same when its owner moves to another address. */
	state(&plan, SIMPLE("b", 2, 0x2));
	state(&plan, SIMPLE("c", 1, 0x4));
	expect_ops(&plan, (struct sim_counts){.slots = 1, .names = 1, .puts = 2, .gone = 1});
	expect_set(1, "c", 0x4);
	expect_set(2, "b", 0x2);
	rd_plan_free(&plan);
}

TEST(two_services_can_exchange_their_addresses_in_one_batch)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("a", 1, 0x1));
	state(&plan, SIMPLE("b", 2, 0x2));
	sim_sync(&plan);
	refuse(&plan, SIMPLE("a", 2, 0x1), -EEXIST, "10.96.0.2:80 is the address of default/b");
	state(&plan, SIMPLE("b", 1, 0x2));
	state(&plan, SIMPLE("a", 2, 0x1));
	expect_ops(&plan, (struct sim_counts){.puts = 2, .gone = 2});
	expect_set(1, "b", 0x2);
	expect_set(2, "a", 0x1);
	rd_plan_free(&plan);
}

TEST(deleted_and_recreated_in_one_batch_is_put_before_it_is_deleted)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("web", 1, 0x3));
	sim_sync(&plan);
	drop(&plan, "web");
	state(&plan, SIMPLE("web", 1, 0x3));
	expect_ops(&plan, (struct sim_counts){
				  .slots = 1, .names = 1, .puts = 1, .gone = 1, .gone_names = 1});
	expect_set(1, "web", 0x3);
	/* Under another name. */
	drop(&plan, "web");
	state(&plan, SIMPLE("new", 1, 0x3));
	expect_ops(&plan, (struct sim_counts){
				  .slots = 1, .names = 1, .puts = 1, .gone = 1, .gone_names = 1});
	expect_set(1, "new", 0x3);
	/* A new address: only that one remains (A19). */
	drop(&plan, "new");
	state(&plan, SIMPLE("new", 2, 0x3));
	expect_ops(&plan, (struct sim_counts){
				  .slots = 1, .names = 1, .puts = 1, .gone = 1, .gone_names = 1});
	assert_false(is_there(1));
	expect_set(2, "new", 0x3);
	rd_plan_free(&plan);
}

TEST(the_same_address_twice_in_a_service_is_one_frontend)
{
	struct service_args args = SIMPLE("web", 1, 0x3);
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	args.ports[0].n_frontends = 2;
	args.ports[0].frontends[1].ip = 1;
	state(&plan, args);
	expect_ops(&plan, (struct sim_counts){.slots = 1, .names = 1, .puts = 1});
	state(&plan, args);
	expect_ops(&plan, (struct sim_counts){.slots = 0});
	rd_plan_free(&plan);
}

TEST(services_are_iterated_in_order_of_their_names)
{
	struct rd_planned *service = NULL;
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	assert_null(rd_plan_next(&plan, NULL));
	state(&plan, SIMPLE("b", 1, 0));
	state(&plan, SIMPLE("c", 2, 0));
	state(&plan, SIMPLE("a", 3, 0));
	service = rd_plan_next(&plan, NULL);
	assert_string_equal(service->name, "a");
	service = rd_plan_next(&plan, service);
	assert_string_equal(service->name, "b");
	service = rd_plan_next(&plan, service);
	assert_string_equal(service->name, "c");
	assert_null(rd_plan_next(&plan, service));
	assert_null(rd_plan_port(&plan, 77));
	assert_null(rd_plan_port(&plan, UINT32_MAX));
	rd_plan_free(&plan);
}

/* ---- what does not fit ------------------------------------------------------------------ */

/* A copy of what the plan says of itself, to see that a refusal left no trace. */
struct trace {
	uint32_t services, frontends, places, ids, backend_ids, ranges, limbo;
};

static struct trace trace_of(const struct rd_plan *plan)
{
	return (struct trace){
		.services = plan->n_services,
		.frontends = plan->n_frontends,
		.places = plan->places.used_count,
		.ids = plan->ids.used_count,
		.backend_ids = plan->backend_ids.used_count,
		.ranges = plan->ranges.used_count,
		.limbo = rd_plan_limbo(plan),
	};
}

static void refuse_without_a_trace(struct rd_plan *plan, struct service_args args, const char *text)
{
	struct trace before = trace_of(plan), after;

	refuse(plan, args, -ENOSPC, text);
	after = trace_of(plan);
	assert_memory_equal(&before, &after, sizeof(before));
	expect_ops(plan, (struct sim_counts){.slots = 0});
}

TEST(services_up_to_the_limit_and_not_one_more)
{
	struct rd_limits limits = roomy;
	struct rd_plan plan;

	limits.max_services = 2;
	sim_begin(&plan, limits);
	state(&plan, SIMPLE("a", 1, 0x1));
	state(&plan, SIMPLE("b", 2, 0x1));
	sim_sync(&plan);
	refuse_without_a_trace(&plan, SIMPLE("c", 3, 0x1),
			       "there are 2 Services already, see --max-services");
	assert_null(rd_plan_find(&plan, "default", "c"));
	/* Those that are in may change, and one that goes makes room at once. */
	state(&plan, SIMPLE("b", 2, 0x3));
	drop(&plan, "a");
	state(&plan, SIMPLE("c", 3, 0x1));
	sim_sync(&plan);
	expect_set(2, "b", 0x3);
	expect_set(3, "c", 0x1);
	rd_plan_free(&plan);
}

TEST(service_ports_up_to_the_limit_and_not_one_more)
{
	struct service_args two = {
		.name = "b",
		.n_ports = 2,
		.ports = {{.name = "x",
			   .n_sets = 1,
			   .sets = {{.members = 0x3}},
			   .n_frontends = 1,
			   .frontends = {{.ip = 2}}},
			  {.name = "y",
			   .n_sets = 1,
			   .sets = {{.members = 0x3}},
			   .n_frontends = 1,
			   .frontends = {{.ip = 3}}}},
	};
	struct rd_limits limits = roomy;
	struct rd_plan plan;

	limits.max_ports = 2;
	sim_begin(&plan, limits);
	state(&plan, SIMPLE("a", 1, 0x1));
	sim_sync(&plan);
	refuse_without_a_trace(&plan, two, "all 2 Service ports are in use, see --max-services");
	/* An id that is given up is free after a grace period only. */
	drop(&plan, "a");
	refuse(&plan, two, -ENOSPC, "all 2 Service ports are in use, see --max-services");
	sim_sync(&plan);
	sim_grace(&plan);
	state(&plan, two);
	sim_sync(&plan);
	expect_set(2, "b", 0x3);
	expect_set(3, "b", 0x3);
	rd_plan_free(&plan);
}

TEST(frontends_of_both_families_up_to_the_limit_and_not_one_more)
{
	struct service_args six = {
		.name = "six",
		.n_ports = 1,
		.ports = {{.n_sets = 1,
			   .sets = {{.v6 = true, .members = 0x3}},
			   .n_frontends = 2,
			   .frontends = {{.ip = 1}, {.ip = 2}}}},
	};
	struct service_args three = SIMPLE("b", 2, 0x3);
	struct rd_limits limits = roomy;
	struct rd_plan plan;

	limits.max_frontends = 4;
	sim_begin(&plan, limits);
	state(&plan, SIMPLE("a", 1, 0x1));
	state(&plan, six);
	sim_sync(&plan);
	three.ports[0].n_frontends = 2;
	three.ports[0].frontends[1].ip = 3;
	refuse_without_a_trace(&plan, three, "all 4 addresses are in use, see --max-services");
	three.ports[0].n_frontends = 1;
	state(&plan, three);
	sim_sync(&plan);
	/* One that is in and wants more stays as it was. */
	three.ports[0].n_frontends = 2;
	three.ports[0].sets[0].members = 0x7;
	refuse_without_a_trace(&plan, three, "all 4 addresses are in use, see --max-services");
	expect_set(2, "b", 0x3);
	six.ports[0].n_frontends = 3;
	six.ports[0].frontends[2].ip = 3;
	refuse_without_a_trace(&plan, six, "all 4 addresses are in use, see --max-services");
	rd_plan_free(&plan);
}

TEST(slots_of_both_families_up_to_the_limit_and_not_one_more)
{
	struct rd_limits limits = roomy;
	struct rd_plan plan;
	struct service_args six = SIMPLE("six", 1, 0x0f);

	limits.max_slots = 12;
	sim_begin(&plan, limits);
	six.ports[0].sets[0].v6 = true;
	state(&plan, SIMPLE("a", 1, 0x0f));
	state(&plan, six);
	sim_sync(&plan);
	refuse_without_a_trace(&plan, SIMPLE("b", 2, 0x1f),
			       "no room for 5 endpoints among 12 slots, see --max-backends");
	state(&plan, SIMPLE("b", 2, 0x0f));
	sim_sync(&plan);
	/* A change needs room beside what it replaces. */
	refuse_without_a_trace(&plan, SIMPLE("b", 2, 0x01),
			       "no room for 1 endpoints among 12 slots, see --max-backends");
	expect_set(2, "b", 0x0f);
	/* What goes is free after a grace period only. */
	drop(&plan, "a");
	refuse(&plan, SIMPLE("b", 2, 0x01), -ENOSPC,
	       "no room for 1 endpoints among 12 slots, see --max-backends");
	sim_sync(&plan);
	sim_grace(&plan);
	state(&plan, SIMPLE("b", 2, 0x01));
	sim_sync(&plan);
	expect_set(2, "b", 0x01);
	rd_plan_free(&plan);
}

TEST(a_service_with_one_set_too_many_is_refused_whole)
{
	struct service_args args = {
		.name = "web",
		.n_ports = 2,
		.ports = {{.name = "a",
			   .n_sets = 2,
			   .sets = {{.members = 0x7}, {.v6 = true, .members = 0x7}},
			   .n_frontends = 2,
			   .frontends = {{.ip = 1}, {.ip = 1, .set = 1}}},
			  {.name = "b",
			   .n_sets = 1,
			   .sets = {{.members = 0x1ff}},
			   .n_frontends = 1,
			   .frontends = {{.ip = 2}}}},
	};
	struct rd_limits limits = roomy;
	struct rd_plan plan;

	limits.max_slots = 9;
	sim_begin(&plan, limits);
	refuse_without_a_trace(&plan, args,
			       "no room for 9 endpoints among 9 slots, see --max-backends");
	assert_null(rd_plan_find(&plan, "default", "web"));
	/* The same for a Service that is in, some of whose ids would stay. */
	args.ports[1].sets[0].members = 0x1;
	state(&plan, args);
	sim_sync(&plan);
	args.ports[0].sets[0].members = 0x9;
	args.ports[1].sets[0].members = 0x1ff;
	refuse_without_a_trace(&plan, args,
			       "no room for 9 endpoints among 9 slots, see --max-backends");
	expect_set(1, "web", 0x7);
	expect_set(2, "web", 0x1);
	rd_plan_free(&plan);
}

TEST(a_set_that_a_word_cannot_count_is_refused)
{
	static struct rd_backend backends[RD_MAX_COUNT + 1];
	struct rd_limits limits = roomy;
	struct service_args args = SIMPLE("web", 1, 0);
	struct wanted_room room;
	struct rd_error error = {0};
	struct rd_plan plan;

	limits.max_slots = 1 << 18;
	sim_begin(&plan, limits);
	for (size_t i = 0; i < RD_MAX_COUNT + 1; i++) {
		backends[i].ip = (struct rd_ip){.family = RD_FAMILY_4};
		backends[i].ip.bytes[0] = 10;
		backends[i].ip.bytes[1] = (uint8_t)(i >> 16);
		backends[i].ip.bytes[2] = (uint8_t)(i >> 8);
		backends[i].ip.bytes[3] = (uint8_t)i;
		backends[i].port = 80;
	}
	to_wanted(&args, &room);
	room.sets[0][0].backends = backends;
	room.sets[0][0].n = RD_MAX_COUNT + 1;
	assert_int_equal(rd_plan_service(&plan, &room.wanted, &error), -ENOSPC);
	assert_string_equal(error.text, "no room for 65536 endpoints among 262144 slots, see "
					"--max-backends");
	room.sets[0][0].n = RD_MAX_COUNT;
	assert_int_equal(rd_plan_service(&plan, &room.wanted, &error), 0);
	rd_plan_free(&plan);
}

TEST(a_full_map_is_never_overfilled_while_operations_are_performed)
{
	struct rd_limits limits = roomy;
	struct rd_error error = {0};
	struct rd_plan plan;
	int r;

	limits.max_frontends = 2;
	sim_begin(&plan, limits);
	state(&plan, SIMPLE("a", 1, 0x1));
	state(&plan, SIMPLE("b", 2, 0x1));
	sim_sync(&plan);
	/* Puts come before deletes: a's element is still there when c's is put. */
	drop(&plan, "a");
	r = state_service(&plan, SIMPLE("c", 3, 0x1), &error);
	assert_true(r == 0 || r == -ENOSPC);
	sim_sync(&plan);
	state(&plan, SIMPLE("c", 3, 0x1));
	sim_sync(&plan);
	expect_set(3, "c", 0x1);
	rd_plan_free(&plan);
}

/* ---- grace ---------------------------------------------------------------------------------- */

TEST(retired_ranges_are_not_used_again_before_a_grace_period)
{
	struct rd_limits limits = roomy;
	struct rd_error error;
	struct rd_plan plan;
	uint32_t retired;

	limits.max_slots = 4;
	sim_begin(&plan, limits);
	state(&plan, SIMPLE("web", 1, 0x3));
	sim_sync(&plan);
	retired = rd_word_first(value_of(1).word);
	state(&plan, SIMPLE("web", 1, 0x5));
	sim_sync(&plan);
	assert_int_equal(rd_plan_limbo(&plan), 3); /* two slots, one id */
	assert_int_equal(state_service(&plan, SIMPLE("web", 1, 0x9), &error), -ENOSPC);
	expect_set(1, "web", 0x5);
	sim_grace(&plan);
	state(&plan, SIMPLE("web", 1, 0x9));
	sim_sync(&plan);
	expect_set(1, "web", 0x9);
	assert_int_equal(rd_word_first(value_of(1).word), retired);
	rd_plan_free(&plan);
}

/* ---- places ---------------------------------------------------------------------------------- */

/* All look-ups begin at the same two places. */
static struct rd_limits crowded(void)
{
	struct rd_limits limits = roomy;

	limits.frontend_bits = 1;
	return limits;
}

static uint32_t place_of(uint8_t ip)
{
	struct rd_key key = key_of(false, ip, 80, false);
	const struct rd_frontend *frontend = sim_find(&key);

	if (!frontend)
		fail_msg("10.96.0.%u:80 is not in the map", ip);
	return (uint32_t)(frontend - sim.places);
}

/* Four Services at 10.96.0.1 to .4. */
static void begin_crowded(struct rd_plan *plan)
{
	sim_begin(plan, crowded());
	state(plan, SIMPLE("a", 1, 0x1));
	state(plan, SIMPLE("b", 2, 0x1));
	state(plan, SIMPLE("c", 3, 0x1));
	state(plan, SIMPLE("d", 4, 0x1));
	sim_sync(plan);
}

static size_t count_keys(void)
{
	size_t n = 0;

	for (size_t i = 0; i < SIM_PLACES; i++)
		n += sim.places[i].key.tail != 0;
	return n;
}

TEST(a_place_is_not_used_again_before_a_grace_period)
{
	struct rd_plan plan;
	bool is_used = false;
	uint32_t place;

	begin_crowded(&plan);
	/* One that others are behind. */
	place = place_of(1) < place_of(2) ? place_of(1) : place_of(2);
	drop(&plan, place == place_of(1) ? "a" : "b");
	sim_sync(&plan);
	state(&plan, SIMPLE("e", 5, 0x1));
	sim_sync(&plan);
	assert_int_not_equal(place_of(5), place);
	sim_grace(&plan);
	/* Half of all begin at its home. */
	for (int i = 0; i < 7; i++) {
		uint8_t ip = (uint8_t)(6 + i);

		state(&plan,
		      SIMPLE(((const char *[]){"f", "g", "h", "i", "j", "k", "l"})[i], ip, 0x1));
		sim_sync(&plan);
		is_used |= place_of(ip) == place;
	}
	assert_true(is_used);
	rd_plan_free(&plan);
}

TEST(look_ups_end_again_where_nothing_is_behind)
{
	struct rd_plan plan;

	begin_crowded(&plan);
	assert_int_equal(count_keys(), 4);
	drop(&plan, "a");
	drop(&plan, "b");
	drop(&plan, "c");
	drop(&plan, "d");
	sim_sync(&plan);
	assert_int_equal(count_keys(), 4);
	sim_grace(&plan);
	assert_int_equal(sim_sync(&plan).emptied, 4);
	assert_int_equal(count_keys(), 0);
	rd_plan_free(&plan);
}

TEST(an_address_may_change_hands_for_ever_in_the_room_of_a_few_places)
{
	static const char *const names[] = {"x", "y"};
	struct rd_plan plan;

	begin_crowded(&plan);
	for (int i = 0; i < 1000; i++) {
		drop(&plan, names[i % 2]);
		state(&plan, SIMPLE(names[(i + 1) % 2], 9, 0x1));
		sim_sync(&plan);
		expect_set(9, names[(i + 1) % 2], 0x1);
		assert_true(place_of(9) < 16);
		if (i % 3 == 2)
			sim_grace(&plan);
	}
	rd_plan_free(&plan);
}

/* Between taking a place and being written it holds up those behind it. */
TEST(what_comes_and_goes_in_one_batch_does_not_hide_who_came_after_it)
{
	struct rd_plan plan;

	sim_begin(&plan, crowded());
	for (uint8_t ip = 1; ip < 9; ip++)
		state(&plan,
		      SIMPLE(((const char *[]){"a", "b", "c", "d", "e", "f", "g", "h"})[ip - 1], ip,
			     0x1));
	for (int i = 0; i < 7; i++)
		drop(&plan, ((const char *[]){"a", "b", "c", "d", "e", "f", "g"})[i]);
	/* That they are reached is seen by sim_apply. */
	sim_sync(&plan);
	expect_set(8, "h", 0x1);
	drop(&plan, "h");
	sim_sync(&plan);
	sim_grace(&plan);
	sim_sync(&plan);
	assert_int_equal(count_keys(), 0);
	rd_plan_free(&plan);
}

TEST(a_service_whose_address_finds_no_place_is_refused_whole)
{
	struct rd_plan plan;

	begin_crowded(&plan);
	for (uint32_t i = 0; i < rd_limits_places(&sim.limits); i++)
		assert_int_equal(rd_alloc_adopt(&plan.places, i, 1), 0);
	refuse_without_a_trace(&plan, SIMPLE("e", 5, 0x1),
			       "all 128 addresses are in use, see --max-services");
	rd_plan_free(&plan);
}

TEST(an_adopted_frontend_that_no_look_up_comes_to_is_written_anew)
{
	struct rd_frontend lost;
	struct rd_plan plan;

	begin_crowded(&plan);
	lost = value_of(4);
	sim.places[place_of(4)].word = 0;
	sim.places[500] = lost;
	sim_restart(&plan);
	state(&plan, SIMPLE("a", 1, 0x1));
	state(&plan, SIMPLE("b", 2, 0x1));
	state(&plan, SIMPLE("c", 3, 0x1));
	state(&plan, SIMPLE("d", 4, 0x1));
	sim_sync(&plan);
	expect_set(4, "d", 0x1);
	assert_int_equal(sim.places[500].word, 0);
	rd_plan_free(&plan);
}

/* An agent that dies between the two writes of an address that changes hands leaves
 * it in two places, each with a Service that has a name. */
TEST(an_address_in_two_places_is_its_present_owners_after_a_restart)
{
	for (int i = 0; i < 2; i++) {
		/* Whoever is found first. */
		const char *former = i ? "a" : "b", *present = i ? "b" : "a";
		struct rd_frontend old;
		struct rd_service name;
		struct rd_error error;
		struct rd_plan plan;
		uint32_t place;
		int r;

		sim_begin(&plan, crowded());
		state(&plan, SIMPLE(former, 1, 0x1));
		sim_sync(&plan);
		place = place_of(1);
		old = value_of(1);
		name = sim.names[old.service];
		drop(&plan, former);
		state(&plan, SIMPLE(present, 1, 0x2));
		sim_sync(&plan);
		sim.places[place] = old;
		sim.names[old.service] = name;
		sim.has_name[old.service] = true;
		sim_restart(&plan);
		r = state_service(&plan, SIMPLE(present, 1, 0x2), &error);
		assert_true(r == 0 || r == -EEXIST);
		drop(&plan, former);
		if (r)
			state(&plan, SIMPLE(present, 1, 0x2));
		expect_ops(&plan, (struct sim_counts){.gone = 1, .gone_names = 1});
		expect_set(1, present, 0x2);
		assert_int_equal(sim.places[place].word, 0);
		rd_plan_free(&plan);
	}
}

/* ---- adoption ------------------------------------------------------------------------------ */

/* Two Services with all that a Service can have. */
static void state_two(struct rd_plan *plan)
{
	static const struct service_args two[] = {
		{.name = "a",
		 .n_ports = 2,
		 .ports = {{.name = "x",
			    .n_sets = 2,
			    .sets = {{.members = 0x7}, {.v6 = true, .members = 0x3}},
			    .n_frontends = 3,
			    .frontends = {{.ip = 1}, {.ip = 1, .set = 1}, {.ip = 9}}},
			   {.name = "y", .port = 53, .udp = true, .n_sets = 1, .n_frontends = 1}}},
		{.name = "b",
		 .n_ports = 1,
		 .ports = {{.n_sets = 1,
			    .sets = {{.members = 0xf0}},
			    .n_frontends = 1,
			    .frontends = {{.ip = 2}}}}},
	};

	state(plan, two[0]);
	state(plan, two[1]);
}

TEST(what_was_adopted_and_is_stated_again_gives_no_operation)
{
	struct rd_plan plan;
	struct trace before, after;

	sim_begin(&plan, roomy);
	state_two(&plan);
	sim_sync(&plan);
	before = trace_of(&plan);
	sim_restart(&plan);
	expect_ops(&plan, (struct sim_counts){.slots = 0});
	state_two(&plan);
	expect_ops(&plan, (struct sim_counts){.slots = 0});
	after = trace_of(&plan);
	assert_memory_equal(&before, &after, sizeof(before));
	expect_set(1, "a", 0x7);
	expect_set(9, "a", 0x7);
	expect_set(2, "b", 0xf0);
	rd_plan_free(&plan);
}

TEST(what_was_adopted_and_has_changed_keeps_what_has_not)
{
	struct rd_plan plan;
	uint32_t id, service;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("web", 1, 0x7));
	sim_sync(&plan);
	id = id_of(1, 0);
	service = value_of(1).service;
	sim_restart(&plan);
	state(&plan, SIMPLE("web", 1, 0x9));
	expect_ops(&plan, (struct sim_counts){.slots = 1, .puts = 1});
	expect_set(1, "web", 0x9);
	assert_int_equal(id_of(1, 0), id);
	assert_int_equal(value_of(1).service, service);
	rd_plan_free(&plan);
}

TEST(what_was_adopted_and_is_removed_leaves_nothing)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state_two(&plan);
	sim_sync(&plan);
	sim_restart(&plan);
	assert_non_null(rd_plan_find(&plan, "default", "a"));
	drop(&plan, "a");
	drop(&plan, "b");
	expect_ops(&plan, (struct sim_counts){.gone = 5, .gone_names = 3});
	sim_grace(&plan);
	assert_int_equal(plan.ids.used_count, 0);
	assert_int_equal(plan.backend_ids.used_count, 0);
	assert_int_equal(plan.ranges.used_count, 0);
	rd_plan_free(&plan);
}

TEST(an_adopted_address_stays_with_the_service_that_has_it)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("z", 1, 0x1));
	sim_sync(&plan);
	sim_restart(&plan);
	refuse(&plan, SIMPLE("a", 1, 0x2), -EEXIST, "10.96.0.1:80 is the address of default/z");
	state(&plan, SIMPLE("z", 1, 0x1));
	sim_sync(&plan);
	expect_set(1, "z", 0x1);
	rd_plan_free(&plan);
}

/* Put a frontend into the simulated map by hand. */
static void plant(uint8_t ip, uint32_t first, uint32_t count, uint32_t service)
{
	struct rd_frontend value = {.key = key_of(false, ip, 80, false),
				    .service = service,
				    .word = rd_word(first, count, 0, 0)};

	sim_set_bit(sim_bit_of(value.key.addr));
	sim_plant(&value);
}

/* Take the operations and perform them without the checks of sim_apply. */
static const struct rd_ops *take(struct rd_plan *plan)
{
	const struct rd_ops *ops = NULL;

	assert_int_equal(rd_plan_take_ops(plan, &ops), 0);
	return ops;
}

TEST(adopted_frontends_that_make_no_sense_are_deleted)
{
	const struct rd_ops *ops;
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("web", 1, 0x3));
	sim_sync(&plan);
	plant(2, 0, 2, 77);		       /* a Service that has no name */
	plant(3, 0, 2, UINT32_MAX);	       /* nor can have one */
	plant(4, SIM_SLOTS - 1, 2, 0);	       /* a range that ends outside the map */
	plant(5, RD_MAX_SLOTS - 1, 1, 0);      /* or begins there */
	plant(6, SIM_SLOTS, RD_MAX_COUNT, 77); /* both */
	sim_restart(&plan);
	ops = take(&plan);
	assert_int_equal(ops->n_gone, 5);
	assert_int_equal(ops->n_puts, 0);
	for (size_t i = 0; i < ops->n_gone; i++) {
		assert_in_range(ops->gone[i].value.key.addr[3], 2, 6);
		assert_memory_equal(&ops->gone[i].value, &sim.places[ops->gone[i].place],
				    sizeof(ops->gone[i].value));
	}
	rd_plan_applied(&plan);
	state(&plan, SIMPLE("web", 1, 0x3));
	ops = take(&plan);
	assert_int_equal(ops->n_slots + ops->n_puts + ops->n_gone, 0);
	rd_plan_free(&plan);
}

TEST(an_address_of_no_sense_can_be_taken_in_the_first_batch)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	plant(1, 0, 0, 77);
	sim_restart(&plan);
	state(&plan, SIMPLE("web", 1, 0x3));
	expect_ops(&plan, (struct sim_counts){.slots = 1, .names = 1, .puts = 1, .gone = 1});
	expect_set(1, "web", 0x3);
	rd_plan_free(&plan);
}

TEST(slots_that_an_orphaned_frontend_leads_to_are_not_written_before_it_is_gone)
{
	const struct rd_ops *ops;
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	plant(2, 0, 2, 77);
	sim_restart(&plan);
	state(&plan, SIMPLE("web", 1, 0x3));
	/* A connect to the orphan must not reach web's endpoints. */
	ops = take(&plan);
	assert_int_equal(ops->n_slots, 1);
	assert_true(ops->slots[0].first >= 2);
	rd_plan_free(&plan);
}

TEST(a_word_that_somebody_changed_is_written_anew)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("web", 1, 0x3));
	sim_sync(&plan);
	for (size_t i = 0; i < SIM_PLACES; i++)
		if (sim.places[i].word)
			sim.places[i].word ^= 1ULL << 50;
	sim_restart(&plan);
	state(&plan, SIMPLE("web", 1, 0x3));
	expect_ops(&plan, (struct sim_counts){.puts = 1});
	expect_set(1, "web", 0x3);
	rd_plan_free(&plan);
}

TEST(a_name_outside_the_limits_is_not_adopted)
{
	struct rd_service record = {.namespace = "default", .name = "web"};
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	assert_int_equal(rd_plan_adopt_service(&plan, SIM_PORTS, &record), -ERANGE);
	assert_int_equal(rd_plan_adopt_service(&plan, UINT32_MAX, &record), -ERANGE);
	assert_null(rd_plan_find(&plan, "default", "web"));
	assert_int_equal(rd_plan_adopt_service(&plan, SIM_PORTS - 1, &record), 0);
	assert_non_null(rd_plan_find(&plan, "default", "web"));
	rd_plan_free(&plan);
}

TEST(an_adopted_backend_id_out_of_range_does_no_harm)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("web", 1, 0x3));
	sim_sync(&plan);
	sim.slots[rd_word_first(value_of(1).word)].id = 2 * SIM_SLOTS + 64 * 64;
	sim_restart(&plan);
	/* Giving it back must not write outside the allocator. */
	drop(&plan, "web");
	sim_sync(&plan);
	sim_grace(&plan);
	assert_int_equal(plan.backend_ids.used_count, 0);
	rd_plan_free(&plan);
}

TEST(adopted_ranges_that_overlap_and_ids_that_repeat_do_not_spoil_the_counting)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("a", 1, 0xf));
	state(&plan, SIMPLE("b", 2, 0xf));
	sim_sync(&plan);
	/* Somebody else wrote: b leads into the middle of a. */
	plant(2, rd_word_first(value_of(1).word) + 2, 4, value_of(2).service);
	sim_restart(&plan);
	drop(&plan, "a");
	drop(&plan, "b");
	sim_sync(&plan);
	sim_grace(&plan);
	assert_int_equal(plan.ranges.used_count, 0);
	assert_int_equal(plan.backend_ids.used_count, 0);
	rd_plan_free(&plan);
}

/* ---- node addresses, the filter, and what a value says ----------------------------------------
 */

static void state_nodes(struct rd_plan *plan, const struct node_args *nodes, size_t n)
{
	rd_plan_begin_nodes(plan);
	for (size_t i = 0; i < n; i++) {
		struct rd_ip ip = virtual_ip(nodes[i].v6, nodes[i].ip);

		assert_int_equal(rd_plan_node(plan, &ip, nodes[i].node), 0);
	}
}

/* What the maps say of a node's address, or RD_NODE_GONE. */
static uint32_t node_at(bool v6, uint8_t ip)
{
	struct node_args args = {.ip = ip, .v6 = v6};
	struct rd_nodeaddr address = nodeaddr(&args);
	const struct sim_node *node = sim_find_node(&address);

	return node ? node->node : RD_NODE_GONE;
}

TEST(a_frontends_bit_is_set_with_the_first_and_cleared_with_the_last_of_its_address)
{
	struct service_args two = {
		.name = "web",
		.n_ports = 2,
		.ports = {{.name = "a", .n_sets = 1, .n_frontends = 1, .frontends = {{.ip = 1}}},
			  {.name = "b",
			   .port = 81,
			   .n_sets = 1,
			   .n_frontends = 1,
			   .frontends = {{.ip = 1}}}},
	};
	struct rd_plan plan;
	uint32_t bit = sim_bit_of(virtual_ip(false, 1).bytes);

	sim_begin(&plan, roomy);
	state(&plan, two);
	expect_filter_ops(&plan, 0, 1, 0);
	assert_true(sim_bit(bit));
	state(&plan, two);
	expect_filter_ops(&plan, 0, 0, 0);
	two.n_ports = 1;
	state(&plan, two);
	expect_filter_ops(&plan, 0, 0, 0);
	assert_true(sim_bit(bit));
	/* A value that changes is no reason to touch it. */
	two.ports[0].sets[0].members = 0x3;
	state(&plan, two);
	expect_filter_ops(&plan, 0, 0, 0);
	drop(&plan, "web");
	expect_filter_ops(&plan, 0, 0, 1);
	assert_false(sim_bit(bit));
	rd_plan_free(&plan);
}

TEST(each_family_has_a_bit_for_its_address)
{
	struct service_args args = {
		.name = "web",
		.n_ports = 1,
		.ports = {{.n_sets = 2,
			   .sets = {{.members = 1}, {.v6 = true}},
			   .n_frontends = 2,
			   .frontends = {{.ip = 1}, {.ip = 1, .set = 1}}}},
	};
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, args);
	expect_filter_ops(&plan, 0, 2, 0);
	assert_true(sim_bit(sim_bit_of(virtual_ip(false, 1).bytes)));
	assert_true(sim_bit(sim_bit_of(virtual_ip(true, 1).bytes)));
	drop(&plan, "web");
	expect_filter_ops(&plan, 0, 0, 2);
	rd_plan_free(&plan);
}

TEST(a_bit_that_is_dropped_and_taken_up_again_in_one_batch_is_not_cleared)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("a", 1, 0x1));
	sim_sync(&plan);
	/* The same key. */
	drop(&plan, "a");
	state(&plan, SIMPLE("b", 1, 0x1));
	expect_filter_ops(&plan, 0, 0, 0);
	/* Another key of the same address, from Service to Service. */
	for (int i = 0; i < 4; i++) {
		struct service_args args = SIMPLE(i % 2 ? "b" : "a", 1, 0x1);
		const struct rd_ops *ops = NULL;

		args.ports[0].port = (uint16_t)(81 + i);
		drop(&plan, i % 2 ? "a" : "b");
		state(&plan, args);
		assert_int_equal(rd_plan_take_ops(&plan, &ops), 0);
		assert_int_equal(ops->n_puts, 1);
		assert_int_equal(ops->n_gone, 1);
		assert_int_equal(ops->n_filter_clear, 0);
		sim_apply(&plan, ops);
		rd_plan_applied(&plan);
	}
	assert_true(sim_bit(sim_bit_of(virtual_ip(false, 1).bytes)));
	rd_plan_free(&plan);
}

TEST(a_bit_that_two_addresses_share_stays_while_one_of_them_does)
{
	struct service_args args = SIMPLE("other", 1, 0x1);
	struct rd_ip v4 = virtual_ip(false, 1), v6 = {.family = RD_FAMILY_6};
	struct wanted_room room;
	struct rd_error error;
	struct rd_plan plan;

	memcpy(v6.bytes + 12, v4.bytes, 4);
	assert_int_equal(sim_bit_of(v4.bytes), sim_bit_of(v6.bytes));
	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("web", 1, 0x1));
	args.ports[0].sets[0].v6 = true;
	to_wanted(&args, &room);
	room.frontends[0][0].ip = v6;
	assert_int_equal(rd_plan_service(&plan, &room.wanted, &error), 0);
	expect_filter_ops(&plan, 0, 1, 0);
	drop(&plan, "web");
	expect_filter_ops(&plan, 0, 0, 0);
	assert_true(sim_bit(sim_bit_of(v4.bytes)));
	drop(&plan, "other");
	expect_filter_ops(&plan, 0, 0, 1);
	rd_plan_free(&plan);
}

TEST(a_service_that_comes_and_goes_in_one_batch_leaves_the_filter_alone)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, SIMPLE("web", 1, 0x1));
	drop(&plan, "web");
	expect_filter_ops(&plan, 0, 0, 0);
	rd_plan_free(&plan);
}

TEST(a_node_port_has_a_key_without_address_and_its_ports_bit)
{
	struct service_args args = {
		.name = "web",
		.n_ports = 1,
		.ports = {{.port = 30080,
			   .n_sets = 1,
			   .sets = {{.members = 0x3}},
			   .n_frontends = 1,
			   .frontends = {{.node_port = true, .flags = RD_FLAG_LOCAL}}}},
	};
	struct rd_key key = key_of_frontend(&args.ports[0], &args.ports[0].frontends[0]);
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state(&plan, args);
	expect_filter_ops(&plan, 0, 1, 0);
	assert_true(sim_bit(rd_filter_port_bit(30080)));
	assert_non_null(sim_find(&key));
	assert_int_equal(key.scope, RD_SCOPE_NODE_PORT);
	assert_memory_equal(key.addr, ((uint8_t[16]){0}), 16);
	assert_int_equal(rd_word_flags(sim_find(&key)->word), RD_FLAG_LOCAL);
	/* Whoever has it keeps it. */
	args.name = "other";
	refuse(&plan, args, -EEXIST, "node port 30080/TCP is taken by default/web");
	drop(&plan, "other");
	drop(&plan, "web");
	expect_filter_ops(&plan, 0, 0, 1);
	assert_null(sim_find(&key));
	rd_plan_free(&plan);
}

TEST(node_addresses_are_written_changed_and_deleted_as_stated)
{
	static const struct node_args nodes[] = {
		{.ip = 100, .node = RD_NODE_THIS},
		{.ip = 101, .node = RD_NODE_OTHER},
		{.ip = 100, .v6 = true, .node = RD_NODE_OTHER},
	};
	static const struct node_args changed[] = {
		{.ip = 100, .node = RD_NODE_OTHER},
		{.ip = 101, .node = RD_NODE_OTHER},
		{.ip = 102, .node = RD_NODE_LOOPBACK},
	};
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state_nodes(&plan, nodes, 3);
	expect_filter_ops(&plan, 3, 0, 0);
	assert_int_equal(node_at(false, 100), RD_NODE_THIS);
	assert_int_equal(node_at(false, 101), RD_NODE_OTHER);
	assert_int_equal(node_at(true, 100), RD_NODE_OTHER);
	assert_int_equal(node_at(true, 101), RD_NODE_GONE);
	state_nodes(&plan, nodes, 3);
	expect_filter_ops(&plan, 0, 0, 0);
	/* Without a statement nothing is forgotten. */
	expect_filter_ops(&plan, 0, 0, 0);
	state_nodes(&plan, changed, 3);
	expect_filter_ops(&plan, 3, 0, 0);
	assert_int_equal(node_at(false, 100), RD_NODE_OTHER);
	assert_int_equal(node_at(false, 102), RD_NODE_LOOPBACK);
	assert_int_equal(node_at(true, 100), RD_NODE_GONE);
	state_nodes(&plan, NULL, 0);
	expect_filter_ops(&plan, 3, 0, 0);
	rd_plan_free(&plan);
}

TEST(of_a_node_address_stated_twice_the_first_statement_counts)
{
	static const struct node_args nodes[] = {
		{.ip = 100, .node = RD_NODE_THIS},
		{.ip = 100, .node = RD_NODE_OTHER},
	};
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state_nodes(&plan, nodes, 2);
	expect_filter_ops(&plan, 1, 0, 0);
	assert_int_equal(node_at(false, 100), RD_NODE_THIS);
	state_nodes(&plan, nodes + 1, 1);
	expect_filter_ops(&plan, 1, 0, 0);
	assert_int_equal(node_at(false, 100), RD_NODE_OTHER);
	rd_plan_free(&plan);
}

static const struct node_args node_addresses[] = {
	{.ip = 100, .node = RD_NODE_THIS},
	{.ip = 101, .node = RD_NODE_OTHER},
	{.ip = 100, .v6 = true, .node = RD_NODE_LOOPBACK},
};

TEST(node_addresses_that_were_adopted_and_are_stated_again_give_no_operation)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state_two(&plan);
	state_nodes(&plan, node_addresses, 3);
	sim_sync(&plan);
	sim_restart(&plan);
	expect_filter_ops(&plan, 0, 0, 0);
	state_two(&plan);
	state_nodes(&plan, node_addresses, 3);
	expect_filter_ops(&plan, 0, 0, 0);
	state_nodes(&plan, node_addresses, 2);
	expect_filter_ops(&plan, 1, 0, 0);
	state_nodes(&plan, NULL, 0);
	drop(&plan, "a");
	drop(&plan, "b");
	assert_int_equal(sim_sync(&plan).nodes, 2);
	rd_plan_free(&plan);
}

TEST(an_adopted_frontend_that_makes_no_sense_takes_its_bit_with_it)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	plant(2, 0, 0, 77);
	sim_restart(&plan);
	expect_filter_ops(&plan, 0, 0, 1);
	assert_false(is_there(2));
	rd_plan_free(&plan);
}

TEST(D1_flags_and_affinity_are_in_the_values_and_a_change_is_one_put)
{
	struct service_args args = SIMPLE("web", 1, 0x3);
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	args.affinity_seconds = 10800;
	args.ports[0].frontends[0].flags = RD_FLAG_DNS;
	args.ports[0].n_frontends = 2;
	args.ports[0].frontends[1].ip = 2;
	state(&plan, args);
	sim_sync(&plan);
	assert_int_equal(value_of(1).affinity_seconds, 10800);
	assert_int_equal(value_of(2).affinity_seconds, 10800);
	assert_int_equal(rd_word_flags(value_of(2).word), 0);
	assert_int_equal(rd_word_flags(value_of(1).word), RD_FLAG_DNS);
	args.affinity_seconds = 5;
	state(&plan, args);
	expect_ops(&plan, (struct sim_counts){.puts = 2});
	assert_int_equal(value_of(1).affinity_seconds, 5);
	sim_restart(&plan);
	state(&plan, args);
	expect_ops(&plan, (struct sim_counts){.slots = 0});
	state(&plan, SIMPLE("web", 1, 0x3));
	expect_ops(&plan, (struct sim_counts){.puts = 1, .gone = 1});
	expect_set(1, "web", 0x3);
	rd_plan_free(&plan);
}

/* ---- out of memory --------------------------------------------------------------------------- */

TEST(a_plan_that_cannot_be_made_is_enomem)
{
	struct rd_plan plan;

	for (unsigned n = 1; alloc_fail_at(n); n++) {
		int r = rd_plan_new(&plan, &roomy);

		if (!alloc_fail_end()) {
			assert_int_equal(r, 0);
			assert_true(n > 10);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		rd_plan_free(&plan);
	}
	rd_plan_free(&plan);
	rd_plan_free(&plan);
}

/* A history that meets every kind of operation. Returns 0 or -ENOMEM. */
static int history(struct rd_plan *plan)
{
	static const struct service_args first = {
		.name = "a",
		.n_ports = 2,
		.ports = {{.name = "x",
			   .n_sets = 2,
			   .sets = {{.members = 0x7}, {.v6 = true, .members = 0x3}},
			   .n_frontends = 3,
			   .frontends = {{.ip = 1}, {.ip = 1, .set = 1}, {.ip = 9}}},
			  {.name = "y", .port = 53, .udp = true, .n_sets = 1, .n_frontends = 1}},
	};
	static const struct service_args changed = {
		.name = "a",
		.n_ports = 1,
		.ports = {{.name = "z",
			   .n_sets = 1,
			   .sets = {{.members = 0x6}},
			   .n_frontends = 1,
			   .frontends = {{.ip = 3}}}},
	};
	struct rd_ip node = virtual_ip(false, 100), other = virtual_ip(true, 101);
	const struct rd_ops *ops;
	struct rd_error error;
	int r = state_service(plan, first, &error)
			?: state_service(plan, SIMPLE("b", 2, 0xf), &error);

	r = r ?: rd_plan_node(plan, &node, RD_NODE_THIS);
	r = r ?: rd_plan_node(plan, &other, RD_NODE_OTHER);
	r = r ?: rd_plan_take_ops(plan, &ops);
	if (r)
		return r;
	rd_plan_applied(plan);
	rd_plan_begin_nodes(plan);
	r = rd_plan_node(plan, &node, RD_NODE_OTHER);
	r = r ?: rd_plan_remove(plan, "default", "b") ?: state_service(plan, changed, &error);
	r = r ?: state_service(plan, SIMPLE("c", 2, 0x3), &error);
	r = r ?: rd_plan_take_ops(plan, &ops);
	if (r)
		return r;
	rd_plan_applied(plan);
	rd_plan_grace(plan);
	return 0;
}

TEST(a_plan_that_ran_out_of_memory_can_be_thrown_away)
{
	struct rd_plan plan;

	for (unsigned n = 1;; n++) {
		int r;

		sim_begin(&plan, roomy);
		alloc_fail_at(n);
		r = history(&plan);
		if (!alloc_fail_end()) {
			assert_int_equal(r, 0);
			assert_true(n > 40);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		rd_plan_free(&plan);
	}
	rd_plan_free(&plan);
}

TEST(an_adoption_that_ran_out_of_memory_can_be_thrown_away)
{
	struct rd_plan plan;

	sim_begin(&plan, roomy);
	state_two(&plan);
	state_nodes(&plan, node_addresses, 3);
	sim_sync(&plan);
	for (unsigned n = 1;; n++) {
		int r;

		rd_plan_free(&plan);
		assert_int_equal(rd_plan_new(&plan, &roomy), 0);
		alloc_fail_at(n);
		r = sim_adopt(&plan);
		if (!alloc_fail_end()) {
			assert_int_equal(r, 0);
			assert_true(n > 10);
			break;
		}
		assert_int_equal(r, -ENOMEM);
	}
	state_two(&plan);
	state_nodes(&plan, node_addresses, 3);
	expect_filter_ops(&plan, 0, 0, 0);
	expect_ops(&plan, (struct sim_counts){.slots = 0});
	rd_plan_free(&plan);
}

/* ---- any history ------------------------------------------------------------------------------
 */

#define SERVICES 10
#define MODEL_NODES 12

static uint64_t seed; /* what the history in work began with, for the message */
static uint64_t random_state;

/* xorshift64*: a number below `limit`. */
static uint32_t below(uint32_t limit)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 2685821657736338717ULL) >> 33) % limit;
}

/* The naive model: the Services as last accepted, and who has each address. */
struct held {
	bool there;
	struct rd_key key;
	size_t service;
	struct set_args set;
	uint8_t flags;
	uint32_t affinity_seconds;
};

static struct model {
	struct service_args services[SERVICES];
	bool present[SERVICES];
	struct held held[SERVICES * MOST * MOST];
	struct node_args nodes[MODEL_NODES];
	size_t n_nodes;
} model;

static const char *const service_names[SERVICES] = {"s0", "s1", "s2", "s3", "s4",
						    "s5", "s6", "s7", "s8", "s9"};

static struct held *holder(const struct rd_key *key)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(model.held); i++)
		if (model.held[i].there && !memcmp(&model.held[i].key, key, sizeof(*key)))
			return &model.held[i];
	return NULL;
}

static void model_remove(size_t service)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(model.held); i++)
		if (model.held[i].service == service)
			model.held[i].there = false;
	model.present[service] = false;
}

/* Returns what rd_plan_service should: 0 or -EEXIST. */
static int model_state(size_t service, const struct service_args *args)
{
	int r = 0;

	model_remove(service);
	model.present[service] = true;
	model.services[service] = *args;
	for (size_t p = 0; p < args->n_ports; p++) {
		const struct port_args *port = &args->ports[p];

		for (size_t f = 0; f < port->n_frontends; f++) {
			const struct set_args *set = &port->sets[port->frontends[f].set];
			struct rd_key key = key_of_frontend(port, &port->frontends[f]);
			const struct held *other = holder(&key);
			size_t i = 0;

			if (other) {
				r = other->service == service ? r : -EEXIST;
				continue;
			}
			while (model.held[i].there)
				i++;
			model.held[i] = (struct held){.there = true,
						      .key = key,
						      .service = service,
						      .set = *set,
						      .flags = port->frontends[f].flags,
						      .affinity_seconds = args->affinity_seconds};
		}
	}
	return r;
}

static uint32_t random_members(void)
{
	switch (below(4)) {
	case 0:
		return 0;
	case 1:
		return 1U << below(ENDPOINTS);
	case 2:
		return below(1 << 12);
	default:
		return below(1 << 16) << below(16);
	}
}

static struct service_args random_service(size_t service)
{
	static const char *const names[] = {"", "a", "b", "c"};
	struct service_args args = {.name = service_names[service]};
	size_t shift = below(4);

	args.n_ports = 1 + below(MOST);
	args.affinity_seconds = below(4) ? 0 : 1 + below(86400);
	for (size_t p = 0; p < args.n_ports; p++) {
		struct port_args *port = &args.ports[p];

		port->name = names[(p + shift) % 4];
		port->port = (uint16_t)(80 + below(2));
		port->udp = below(4) == 0;
		port->n_sets = 1 + below(MOST);
		for (size_t s = 0; s < port->n_sets; s++) {
			port->sets[s].v6 = below(3) == 0;
			port->sets[s].members =
				s && below(3) == 0 ? port->sets[s - 1].members : random_members();
		}
		port->n_frontends = below(MOST + 1);
		for (size_t f = 0; f < port->n_frontends; f++) {
			port->frontends[f].set = below((uint32_t)port->n_sets);
			port->frontends[f].ip = (uint8_t)(1 + below(24));
			port->frontends[f].node_port = below(6) == 0;
			if (port->frontends[f].node_port && below(2))
				port->frontends[f].flags |= RD_FLAG_LOCAL;
		}
	}
	return args;
}

/* The last accepted state with one of its sets changed a little. */
static struct service_args changed_service(size_t service)
{
	struct service_args args = model.services[service];
	struct port_args *port = &args.ports[below((uint32_t)args.n_ports)];

	port->sets[below((uint32_t)port->n_sets)].members ^= 1U << below(ENDPOINTS);
	return args;
}

#define FAIL_SEED(...)                                                                             \
	do {                                                                                       \
		print_error(__VA_ARGS__);                                                          \
		fail_msg(" (seed %llu)", (unsigned long long)seed);                                \
	} while (0)

static void change_something(struct rd_plan *plan, bool tight)
{
	size_t service = below(SERVICES);
	struct service_args args;
	struct rd_error error = {0};
	struct model before = model;
	int expected, r;

	if (below(5) == 0) {
		drop(plan, service_names[service]);
		model_remove(service);
		return;
	}
	args = model.present[service] && below(2) ? changed_service(service)
						  : random_service(service);
	expected = model_state(service, &args);
	r = state_service(plan, args, &error);
	if (r == -ENOSPC && tight) {
		if (!*error.text)
			FAIL_SEED("a refusal without a text");
		model = before;
		return;
	}
	if (r != expected)
		FAIL_SEED("stating %s gives %d (%s), not %d", args.name, r, error.text, expected);
}

/* Backend ids: one for each endpoint of a Service port, in all its ranges, and
 * no two endpoints with the same. */
static void check_ids(void)
{
	static struct rd_slot by_id[2 * SIM_SLOTS];
	static bool used[2 * SIM_SLOTS];

	memset(used, 0, sizeof(used));
	for (size_t i = 0; i < SIM_PLACES; i++) {
		const struct rd_frontend *frontend = &sim.places[i];
		uint32_t first = rd_word_first(frontend->word);
		uint32_t count = rd_word_count(frontend->word);

		if (!frontend->word)
			continue;

		for (uint32_t s = first; s < first + count; s++) {
			const struct rd_slot *slot = &sim.slots[s];

			if (slot->id >= 2 * sim.limits.max_slots)
				FAIL_SEED("backend id %u is out of range", slot->id);
			if (used[slot->id] && memcmp(&by_id[slot->id], slot, sizeof(*slot)))
				FAIL_SEED("backend id %u stands for two endpoints", slot->id);
			used[slot->id] = true;
			by_id[slot->id] = *slot;
		}
	}
}

static void check_nodes(void)
{
	size_t there = 0, stated = 0;

	for (size_t i = 0; i < SIM_NODES; i++)
		there += sim.nodes[i].there;
	for (size_t i = 0; i < model.n_nodes; i++) {
		struct rd_nodeaddr address = nodeaddr(&model.nodes[i]);
		const struct sim_node *node = sim_find_node(&address);
		size_t first = 0;

		while (model.nodes[first].ip != model.nodes[i].ip ||
		       model.nodes[first].v6 != model.nodes[i].v6)
			first++;
		stated += first == i;
		if (!node || node->node != model.nodes[first].node)
			FAIL_SEED("a node address is not what was first stated");
	}
	if (there != stated)
		FAIL_SEED("there are node addresses that nobody stated");
}

/* Some of them are the addresses of Services, too, and some are there twice. */
static void change_nodes(struct rd_plan *plan)
{
	model.n_nodes = below(MODEL_NODES + 1);
	for (size_t i = 0; i < model.n_nodes; i++)
		model.nodes[i] = (struct node_args){
			.ip = (uint8_t)(16 + below(16)), .v6 = below(3) == 0, .node = below(3)};
	state_nodes(plan, model.nodes, model.n_nodes);
}

static void check_maps(void)
{
	size_t held = 0;

	for (size_t i = 0; i < RD_ARRAY_SIZE(model.held); i++) {
		const struct held *h = &model.held[i];
		const struct rd_frontend *frontend;
		const char *why;

		if (!h->there)
			continue;
		held++;
		frontend = sim_find(&h->key);
		why = frontend ? wrong(frontend, &h->set, service_names[h->service], h->flags,
				       h->affinity_seconds)
			       : "it is not there";
		if (why)
			FAIL_SEED("a frontend of %s: %s", service_names[h->service], why);
	}
	if (sim_count() != held)
		FAIL_SEED("there are frontends that nobody wants");
	for (size_t id = 0; id < SIM_PORTS; id++)
		for (size_t s = 0; sim.has_name[id] && s < SERVICES; s++)
			if (!strcmp(sim.names[id].name, service_names[s]) && !model.present[s])
				FAIL_SEED("the name of %s is left over", service_names[s]);
	check_ids();
	check_nodes();
}

/* A new agent, which states everything again: nothing is written that a
 * program sees. */
static void restart_and_state_all(struct rd_plan *plan, bool tight)
{
	struct model before = model, after;
	bool gained = false;
	struct sim_counts counts;

	sim_restart(plan);
	for (size_t s = 0; s < SERVICES; s++) {
		struct rd_error error = {0};
		struct service_args args = model.services[s];
		struct model kept = model;
		int expected, r;

		if (!model.present[s])
			continue;
		expected = model_state(s, &args);
		r = state_service(plan, args, &error);
		if (r == -ENOSPC && tight)
			model = kept;
		else if (r != expected)
			FAIL_SEED("restating %s gives %d (%s)", args.name, r, error.text);
	}
	/* A Service may have gained an address that another had given up. */
	after = model;
	model = before;
	for (size_t i = 0; i < RD_ARRAY_SIZE(after.held); i++) {
		const struct held *was = holder(&after.held[i].key);

		gained |= after.held[i].there && (!was || was->service != after.held[i].service);
	}
	model = after;
	state_nodes(plan, model.nodes, model.n_nodes);
	counts = sim_sync(plan);
	if (counts.nodes)
		FAIL_SEED("a restart writes %zu node addresses", counts.nodes);
	if (!gained && counts.filter_set + counts.filter_clear)
		FAIL_SEED("a restart writes the filter");
	if (!gained && counts.puts + counts.gone + counts.names + counts.gone_names)
		FAIL_SEED("a restart writes %zu words, deletes %zu", counts.puts, counts.gone);
}

static void random_history(struct rd_limits limits, bool tight, int steps)
{
	struct rd_plan plan;

	random_state = seed * 0x9e3779b97f4a7c15ULL + 1;
	limits.multiplier *= 2 * seed + 1;
	memset(&model, 0, sizeof(model));
	sim_begin(&plan, limits);
	for (int step = 0; step < steps; step++) {
		for (uint32_t n = below(4); n; n--)
			change_something(&plan, tight);
		if (below(4) == 0)
			change_nodes(&plan);
		sim_sync(&plan);
		check_maps();
		/* Without room to spare a grace period comes at the latest then. */
		if (below(4) == 0 || (!tight && rd_plan_limbo(&plan) > 600))
			sim_grace(&plan);
		if (below(20) == 0) {
			restart_and_state_all(&plan, tight);
			check_maps();
		}
	}
	for (size_t s = 0; s < SERVICES; s++) {
		drop(&plan, service_names[s]);
		model_remove(s);
	}
	model.n_nodes = 0;
	state_nodes(&plan, NULL, 0);
	sim_sync(&plan);
	check_maps();
	sim_grace(&plan);
	if (plan.ids.used_count || plan.backend_ids.used_count || plan.ranges.used_count ||
	    plan.places.used_count)
		FAIL_SEED("something is left taken when all is gone");
	rd_plan_free(&plan);
}

TEST(any_history_leads_to_what_was_wanted_without_tearing)
{
	for (seed = 1; seed <= 1000; seed++)
		random_history(roomy, false, 60);
}

TEST(any_history_in_narrow_maps_leads_to_what_was_accepted_without_tearing)
{
	/* Frontends with room for the puts that come before the deletes. */
	static const struct rd_limits narrow = {
		.max_services = 7,
		.max_ports = 14,
		.max_frontends = 64,
		.frontend_bits = 5,
		.multiplier = 0x9e3779b97f4a7c15,
		.max_slots = 60,
	};

	for (seed = 1; seed <= 1000; seed++)
		random_history(narrow, true, 60);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_service_becomes_slots_a_name_and_a_frontend),
		cmocka_unit_test(a_names_record_says_what_the_service_is),
		cmocka_unit_test(a_service_without_endpoints_has_a_word_that_counts_none),
		cmocka_unit_test(stating_the_same_again_gives_no_operation),
		cmocka_unit_test(frontends_of_one_set_share_its_range_and_equal_sets_do_too),
		cmocka_unit_test(an_unchanged_set_keeps_its_range_while_another_changes),
		cmocka_unit_test(a_changed_endpoint_keeps_the_ids_of_the_others),
		cmocka_unit_test(the_same_endpoint_of_two_services_has_two_ids),
		cmocka_unit_test(a_removed_service_leaves_nothing),
		cmocka_unit_test(a_service_that_comes_and_goes_in_one_batch_leaves_nothing),
		cmocka_unit_test(a_port_taken_out_of_a_service_goes_alone),
		cmocka_unit_test(a_new_address_of_a_service_replaces_the_old),
		cmocka_unit_test(an_address_that_another_service_has_is_left_out),
		cmocka_unit_test(an_error_names_the_first_of_several_addresses_of_others),
		cmocka_unit_test(an_address_given_up_in_a_batch_can_be_taken_in_the_same),
		cmocka_unit_test(two_services_can_exchange_their_addresses_in_one_batch),
		cmocka_unit_test(deleted_and_recreated_in_one_batch_is_put_before_it_is_deleted),
		cmocka_unit_test(the_same_address_twice_in_a_service_is_one_frontend),
		cmocka_unit_test(services_are_iterated_in_order_of_their_names),
		cmocka_unit_test(services_up_to_the_limit_and_not_one_more),
		cmocka_unit_test(service_ports_up_to_the_limit_and_not_one_more),
		cmocka_unit_test(frontends_of_both_families_up_to_the_limit_and_not_one_more),
		cmocka_unit_test(slots_of_both_families_up_to_the_limit_and_not_one_more),
		cmocka_unit_test(a_service_with_one_set_too_many_is_refused_whole),
		cmocka_unit_test(a_set_that_a_word_cannot_count_is_refused),
		cmocka_unit_test(a_full_map_is_never_overfilled_while_operations_are_performed),
		cmocka_unit_test(retired_ranges_are_not_used_again_before_a_grace_period),
		cmocka_unit_test(a_place_is_not_used_again_before_a_grace_period),
		cmocka_unit_test(look_ups_end_again_where_nothing_is_behind),
		cmocka_unit_test(an_address_may_change_hands_for_ever_in_the_room_of_a_few_places),
		cmocka_unit_test(what_comes_and_goes_in_one_batch_does_not_hide_who_came_after_it),
		cmocka_unit_test(a_service_whose_address_finds_no_place_is_refused_whole),
		cmocka_unit_test(an_adopted_frontend_that_no_look_up_comes_to_is_written_anew),
		cmocka_unit_test(an_address_in_two_places_is_its_present_owners_after_a_restart),
		cmocka_unit_test(what_was_adopted_and_is_stated_again_gives_no_operation),
		cmocka_unit_test(what_was_adopted_and_has_changed_keeps_what_has_not),
		cmocka_unit_test(what_was_adopted_and_is_removed_leaves_nothing),
		cmocka_unit_test(an_adopted_address_stays_with_the_service_that_has_it),
		cmocka_unit_test(adopted_frontends_that_make_no_sense_are_deleted),
		cmocka_unit_test(an_address_of_no_sense_can_be_taken_in_the_first_batch),
		cmocka_unit_test(
			slots_that_an_orphaned_frontend_leads_to_are_not_written_before_it_is_gone),
		cmocka_unit_test(a_word_that_somebody_changed_is_written_anew),
		cmocka_unit_test(a_name_outside_the_limits_is_not_adopted),
		cmocka_unit_test(an_adopted_backend_id_out_of_range_does_no_harm),
		cmocka_unit_test(
			adopted_ranges_that_overlap_and_ids_that_repeat_do_not_spoil_the_counting),
		cmocka_unit_test(
			a_frontends_bit_is_set_with_the_first_and_cleared_with_the_last_of_its_address),
		cmocka_unit_test(each_family_has_a_bit_for_its_address),
		cmocka_unit_test(
			a_bit_that_is_dropped_and_taken_up_again_in_one_batch_is_not_cleared),
		cmocka_unit_test(a_bit_that_two_addresses_share_stays_while_one_of_them_does),
		cmocka_unit_test(
			a_service_that_comes_and_goes_in_one_batch_leaves_the_filter_alone),
		cmocka_unit_test(a_node_port_has_a_key_without_address_and_its_ports_bit),
		cmocka_unit_test(node_addresses_are_written_changed_and_deleted_as_stated),
		cmocka_unit_test(of_a_node_address_stated_twice_the_first_statement_counts),
		cmocka_unit_test(
			node_addresses_that_were_adopted_and_are_stated_again_give_no_operation),
		cmocka_unit_test(an_adopted_frontend_that_makes_no_sense_takes_its_bit_with_it),
		cmocka_unit_test(D1_flags_and_affinity_are_in_the_values_and_a_change_is_one_put),
		cmocka_unit_test(a_plan_that_cannot_be_made_is_enomem),
		cmocka_unit_test(a_plan_that_ran_out_of_memory_can_be_thrown_away),
		cmocka_unit_test(an_adoption_that_ran_out_of_memory_can_be_thrown_away),
		cmocka_unit_test(any_history_leads_to_what_was_wanted_without_tearing),
		cmocka_unit_test(
			any_history_in_narrow_maps_leads_to_what_was_accepted_without_tearing),
	};

	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}

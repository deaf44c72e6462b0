// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "unit/simulated_maps.h"

#include <string.h>

struct sim sim;

static uint32_t home_of(const struct rd_key *key)
{
	uint32_t words[4];

	memcpy(words, key->addr, sizeof(words));
	return rd_key_home(sim.limits.multiplier, sim.limits.frontend_bits, words, key->tail,
			   key->family);
}

static bool is_key(uint32_t place, const struct rd_key *key)
{
	return !memcmp(&sim.places[place].key, key, sizeof(*key));
}

struct rd_frontend *sim_find(const struct rd_key *key)
{
	uint32_t home = home_of(key);

	for (uint32_t i = home; i < home + RD_PROBES && sim.places[i].key.tail; i++)
		if (is_key(i, key) && sim.places[i].word)
			return &sim.places[i];
	return NULL;
}

size_t sim_count(void)
{
	size_t n = 0;

	for (size_t i = 0; i < SIM_PLACES; i++)
		n += sim.places[i].word != 0;
	return n;
}

void sim_plant(const struct rd_frontend *value)
{
	struct rd_frontend *there = sim_find(&value->key);
	uint32_t place = home_of(&value->key);

	while (sim.places[place].key.tail)
		place++;
	*(there ?: &sim.places[place]) = *value;
}

uint32_t sim_bit_of(const uint8_t addr[16])
{
	uint32_t words[4];

	memcpy(words, addr, sizeof(words));
	return rd_filter_address_bit(words[0] ^ words[1] ^ words[2] ^ words[3]);
}

bool sim_bit(uint32_t bit)
{
	return sim.filter[bit / 64] >> bit % 64 & 1;
}

void sim_set_bit(uint32_t bit)
{
	assert_true(bit < RD_FILTER_BITS);
	sim.filter[bit / 64] |= 1ULL << bit % 64;
}

static void sim_clear_bit(uint32_t bit)
{
	assert_true(bit < RD_FILTER_BITS);
	sim.filter[bit / 64] &= ~(1ULL << bit % 64);
}

static uint32_t bit_of_key(const struct rd_key *key)
{
	return key->scope == RD_SCOPE_NODE_PORT ? rd_filter_port_bit(key->port)
						: sim_bit_of(key->addr);
}

/* At any time: what an application could dial must pass the filter. */
static void sim_check_filter(void)
{
	for (size_t i = 0; i < SIM_PLACES; i++)
		if (sim.places[i].word && !sim_bit(bit_of_key(&sim.places[i].key)))
			fail_msg("a frontend whose bit is not set");
}

/* And when all is done no bit is set that nothing needs. */
static void sim_check_filter_exact(void)
{
	static uint64_t needed[RD_FILTER_BITS / 64];

	memset(needed, 0, sizeof(needed));
	for (size_t i = 0; i < SIM_PLACES; i++) {
		uint32_t bit = bit_of_key(&sim.places[i].key);

		if (sim.places[i].word)
			needed[bit / 64] |= 1ULL << bit % 64;
	}
	assert_false(memcmp(needed, sim.filter, sizeof(needed)));
}

struct sim_node *sim_find_node(const struct rd_nodeaddr *address)
{
	for (size_t i = 0; i < SIM_NODES; i++)
		if (sim.nodes[i].there && !memcmp(&sim.nodes[i].address, address, sizeof(*address)))
			return &sim.nodes[i];
	return NULL;
}

static void sim_node_op(const struct rd_op_node *op)
{
	struct sim_node *node = sim_find_node(&op->address);

	if (op->node == RD_NODE_GONE) {
		assert_non_null(node);
		node->there = false;
		return;
	}
	for (size_t i = 0; !node; i++)
		if (!sim.nodes[i].there)
			node = &sim.nodes[i];
	*node = (struct sim_node){.there = true, .address = op->address, .node = op->node};
}

/* Everything that a program could be reading now is in use until a grace. */
static void sim_note_use(void)
{
	for (size_t i = 0; i < SIM_PLACES; i++) {
		const struct rd_frontend *frontend = &sim.places[i];
		uint32_t first = rd_word_first(frontend->word);

		if (!frontend->word)
			continue;
		sim.place_in_use[i] = true;
		for (uint32_t s = 0; s < rd_word_count(frontend->word); s++)
			if (first + s < SIM_SLOTS)
				sim.in_use[first + s] = true;
	}
	for (size_t i = 0; i < SIM_PORTS; i++)
		sim.id_in_use[i] |= sim.has_name[i];
}

/* Does a look-up come as far as this place? */
static bool is_reached(uint32_t place)
{
	uint32_t home = home_of(&sim.places[place].key);

	if (place < home || place >= home + RD_PROBES)
		return false;
	for (uint32_t i = home; i < place; i++)
		if (!sim.places[i].key.tail)
			return false;
	return true;
}

/* At any time: what could be found before can be found now, but for what is gone;
 * in the end, everything. */
static void sim_check_reach(const bool *since)
{
	for (uint32_t i = 0; i < SIM_PLACES; i++)
		if (sim.places[i].word && (!since || since[i]) && !is_reached(i))
			fail_msg("no look-up comes to the frontend in place %u", i);
}

static void sim_check_each_once(void)
{
	for (uint32_t i = 0; i < SIM_PLACES; i++)
		for (uint32_t other = i + 1; sim.places[i].word && other < SIM_PLACES; other++)
			if (sim.places[other].word && is_key(i, &sim.places[other].key))
				fail_msg("the key in place %u is in place %u as well", i, other);
}

static void sim_empty(uint32_t place)
{
	assert_true(place < SIM_PLACES);
	if (sim.places[place].word || sim.place_in_use[place])
		fail_msg("place %u is emptied while it is in use", place);
	sim.places[place].key = (struct rd_key){0};
}

static void sim_put(const struct rd_op_frontend *op)
{
	struct rd_frontend *frontend = &sim.places[op->place];

	assert_true(op->place < SIM_PLACES && op->value.key.tail);
	if (!op->is_new) {
		assert_true(frontend->word && is_key(op->place, &op->value.key));
		assert_int_equal(frontend->service, op->value.service);
	} else if (frontend->word || sim.place_in_use[op->place]) {
		fail_msg("a key is written into place %u while that is in use", op->place);
	}
	if (op->is_new && op->value.word && sim_count() >= sim.limits.max_frontends)
		fail_msg("there are more frontends than there may be");
	*frontend = op->value;
}

void sim_apply(const struct rd_plan *plan, const struct rd_ops *ops)
{
	bool since[SIM_PLACES];

	sim_note_use();
	for (uint32_t i = 0; i < SIM_PLACES; i++)
		since[i] = sim.places[i].word && is_reached(i);
	for (size_t i = 0; i < ops->n_emptied; i++) {
		sim_empty(ops->emptied[i]);
		sim_check_reach(since);
	}
	for (size_t i = 0; i < ops->n_filter_set; i++)
		sim_set_bit(ops->filter_set[i]);
	for (size_t i = 0; i < ops->n_nodes; i++)
		sim_node_op(&ops->nodes[i]);
	for (size_t i = 0; i < ops->n_slots; i++) {
		const struct rd_range *range = &ops->slots[i];

		assert_true(range->first + range->count <= sim.limits.max_slots);
		for (uint32_t s = range->first; s < range->first + range->count; s++) {
			/* Torn-free, and no reuse before a grace period. */
			if (sim.in_use[s])
				fail_msg("slot %u is written while it is in use", s);
			sim.slots[s] = plan->slots[s];
		}
	}
	for (size_t i = 0; i < ops->n_names; i++) {
		uint32_t id = ops->names[i].id;
		const struct rd_planned_port *port = rd_plan_port(plan, id);

		assert_true(id < sim.limits.max_ports);
		if (!port)
			continue;
		if (sim.id_in_use[id])
			assert_string_equal(sim.names[id].name, port->record.name);
		sim.has_name[id] = true;
		sim.names[id] = port->record;
	}
	for (size_t i = 0; i < ops->n_puts; i++) {
		assert_true(!ops->puts[i].value.word || sim.has_name[ops->puts[i].value.service]);
		sim_put(&ops->puts[i]);
		sim_check_filter();
		sim_check_reach(since);
	}
	for (size_t i = 0; i < ops->n_gone; i++) {
		struct rd_frontend *frontend = &sim.places[ops->gone[i].place];

		assert_memory_equal(frontend, &ops->gone[i].value, sizeof(*frontend));
		frontend->word = 0;
	}
	sim_check_reach(NULL);
	sim_check_each_once();
	for (size_t i = 0; i < ops->n_gone_names; i++)
		sim.has_name[ops->gone_names[i]] = false;
	for (size_t i = 0; i < ops->n_filter_clear; i++) {
		sim_clear_bit(ops->filter_clear[i]);
		sim_check_filter();
	}
	sim_check_filter_exact();
	/* A name outlives all that carries its id. */
	for (size_t i = 0; i < SIM_PLACES; i++)
		assert_true(!sim.places[i].word || sim.has_name[sim.places[i].service]);
	sim_note_use();
}

struct sim_counts sim_sync(struct rd_plan *plan)
{
	const struct rd_ops *ops = NULL;
	struct sim_counts counts;

	assert_int_equal(rd_plan_take_ops(plan, &ops), 0);
	counts = (struct sim_counts){.slots = ops->n_slots,
				     .names = ops->n_names,
				     .puts = ops->n_puts,
				     .gone = ops->n_gone,
				     .gone_names = ops->n_gone_names,
				     .nodes = ops->n_nodes,
				     .filter_set = ops->n_filter_set,
				     .filter_clear = ops->n_filter_clear,
				     .emptied = ops->n_emptied};
	sim_apply(plan, ops);
	rd_plan_applied(plan);
	return counts;
}

void sim_grace(struct rd_plan *plan)
{
	rd_plan_grace(plan);
	assert_int_equal(rd_plan_limbo(plan), 0);
	memset(sim.in_use, 0, sizeof(sim.in_use));
	memset(sim.place_in_use, 0, sizeof(sim.place_in_use));
	memset(sim.id_in_use, 0, sizeof(sim.id_in_use));
	sim_note_use();
}

int sim_adopt(struct rd_plan *plan)
{
	int r = 0;

	for (uint32_t id = 0; !r && id < SIM_PORTS; id++)
		if (sim.has_name[id])
			r = rd_plan_adopt_service(plan, id, &sim.names[id]);
	for (uint32_t i = 0; !r && i < rd_limits_places(&sim.limits); i++)
		r = rd_plan_adopt_frontend(plan, i, &sim.places[i], sim.slots);
	for (size_t i = 0; !r && i < SIM_NODES; i++)
		if (sim.nodes[i].there)
			r = rd_plan_adopt_node(plan, &sim.nodes[i].address, sim.nodes[i].node);
	return r;
}

void sim_restart(struct rd_plan *plan)
{
	rd_plan_free(plan);
	assert_int_equal(rd_plan_new(plan, &sim.limits), 0);
	memset(sim.in_use, 0, sizeof(sim.in_use));
	memset(sim.place_in_use, 0, sizeof(sim.place_in_use));
	memset(sim.id_in_use, 0, sizeof(sim.id_in_use));
	sim_note_use();
	assert_int_equal(sim_adopt(plan), 0);
}

void sim_begin(struct rd_plan *plan, struct rd_limits limits)
{
	memset(&sim, 0, sizeof(sim));
	assert_true(rd_limits_places(&limits) <= SIM_PLACES);
	sim.limits = limits;
	assert_int_equal(rd_plan_new(plan, &limits), 0);
}

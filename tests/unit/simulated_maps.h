/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * simulated_maps.h - the maps as plain arrays, on which a plan's operations are
 * performed step by step, as datapath performs them, and which are looked at as
 * a BPF program looks at the real ones. What must never be seen there fails the
 * test: a slot written while it is in use, an address that does not pass the
 * filter, a map that overflows, an id without a name.
 */
#ifndef REDIAL_TESTS_SIMULATED_MAPS_H
#define REDIAL_TESTS_SIMULATED_MAPS_H

#include "plan.h"
#include "unit/unit.h"

#define SIM_FRONTENDS 128
#define SIM_PLACES (SIM_FRONTENDS + RD_PROBES)
#define SIM_PORTS 128
#define SIM_SLOTS 2048
#define SIM_NODES 64

struct sim_node {
	bool there;
	struct rd_nodeaddr address;
	uint32_t node;
};

struct sim {
	uint64_t filter[RD_FILTER_BITS / 64];
	struct sim_node nodes[SIM_NODES];
	struct rd_limits limits;
	struct rd_frontend places[SIM_PLACES];
	bool has_name[SIM_PORTS];
	struct rd_service names[SIM_PORTS];
	struct rd_slot slots[SIM_SLOTS];
	/* What a program may still use: referenced since the last grace period. */
	bool in_use[SIM_SLOTS];
	bool place_in_use[SIM_PLACES];
	bool id_in_use[SIM_PORTS];
};

/* The maps of the test in work. */
extern struct sim sim;

/* What one round of operations consisted of. */
struct sim_counts {
	size_t slots, names, puts, gone, gone_names;
	size_t nodes, filter_set, filter_clear, emptied;
};

/* Empty maps, and a new plan for them. The limits are at most the sizes above. */
void sim_begin(struct rd_plan *plan, struct rd_limits limits);
/* Take the plan's operations, perform and check them. */
struct sim_counts sim_sync(struct rd_plan *plan);
void sim_apply(const struct rd_plan *plan, const struct rd_ops *ops);
/* No program uses any more what is not in the maps. */
void sim_grace(struct rd_plan *plan);
/* A new agent: it waits for the programs and adopts what is in the maps. */
void sim_restart(struct rd_plan *plan);
int sim_adopt(struct rd_plan *plan);

/* The live frontend with this key, as a program looks for it; or NULL. */
struct rd_frontend *sim_find(const struct rd_key *key);
struct sim_node *sim_find_node(const struct rd_nodeaddr *address);
/* Live frontends. */
size_t sim_count(void);
/* Put a frontend where a program finds it, in the place of another with its key. */
void sim_plant(const struct rd_frontend *value);

/* The filter's bit of an address; whether a bit is set; set it. */
uint32_t sim_bit_of(const uint8_t addr[16]);
bool sim_bit(uint32_t bit);
void sim_set_bit(uint32_t bit);

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * plan.h - what is in the maps, and how to get from there to what is wanted.
 * Pure: the plan computes operations, datapath.h performs them.
 *
 * The life of a plan: create it; adopt what is in the maps; then, again and
 * again, state what each changed Service should be, take the operations, apply
 * them. The plan takes what it hands out for done. If an operation fails, or a
 * function here returns -ENOMEM, the plan no longer knows what is in the maps:
 * throw it away and adopt anew.
 *
 * Keys, places and slots are those of abi.h.
 */
#ifndef REDIAL_PLAN_H
#define REDIAL_PLAN_H

#include <sys/queue.h>

#include "alloc.h"
#include "resolve.h"
#include "util.h"

struct rd_limits {
	uint32_t max_services;	/* Services */
	uint32_t max_ports;	/* Service ports: entries of rd_services */
	uint32_t max_frontends; /* in rd_frontends: three places of four */
	uint32_t frontend_bits; /* rd_frontends has 2^bits places and RD_PROBES more */
	uint64_t multiplier;	/* see rd_key_home */
	uint32_t max_slots;	/* entries of rd_backends */
};

/* A run of slots in rd_backends. */
struct rd_range {
	enum rd_ip_family family; /* of the addresses */
	uint32_t first;
	uint32_t count;
};

struct rd_planned;

/* A frontend that is in the maps, or will be. Of two with one key, one is going. */
struct rd_planned_frontend {
	LIST_ENTRY(rd_planned_frontend) of_service;
	SLIST_ENTRY(rd_planned_frontend) touched;
	uint32_t place;
	struct rd_frontend wanted; /* its word is meaningful if service */
	uint64_t actual;	   /* the word in the map; 0: it is not there */
	struct rd_planned *service;
	bool is_touched;
	bool is_drafted; /* the Service in work has it */
	bool was_passed; /* as its place was before */
};

/* One Service port. `ranges` are its endpoint sets, none twice. */
struct rd_planned_port {
	uint32_t id;
	struct rd_service record;
	struct rd_range *ranges;
	size_t n_ranges;
};

/* A Service. */
struct rd_planned {
	RB_ENTRY(rd_planned) entry;
	char namespace[RD_LABEL_MAX];
	char name[RD_LABEL_MAX];
	struct rd_planned_port *ports;
	size_t n_ports;
	LIST_HEAD(, rd_planned_frontend) frontends;
};

/* An address of rd_nodeaddrs. */
struct rd_planned_node {
	RB_ENTRY(rd_planned_node) entry;
	struct rd_nodeaddr address;
	uint32_t actual; /* enum rd_node, or RD_NODE_GONE */
	uint32_t wanted;
};

RB_HEAD(rd_node_tree, rd_planned_node);
RB_HEAD(rd_planned_tree, rd_planned);

/* Entries of rd_services to write, frontends to write or delete. */
struct rd_op_name {
	uint32_t id; /* of a Service port, which has the record; unless it is gone again */
	bool is_new; /* its counters begin at 0 */
};
struct rd_op_node {
	struct rd_nodeaddr address;
	uint32_t node; /* enum rd_node, or RD_NODE_GONE: delete it */
};
#define RD_NODE_GONE UINT32_MAX

struct rd_op_frontend {
	uint32_t place;
	bool is_new; /* there is no word in the place: write the key first */
	struct rd_frontend value;
};

/*
 * To be performed in this order, each kind wholly before the next: what a
 * frontend's word points at is there before the word, and a name outlives all
 * that carries its id.
 */
struct rd_ops {
	const uint32_t *emptied; /* places of rd_frontends: look-ups end there again */
	size_t n_emptied;
	uint32_t *filter_set; /* numbers of bits of rd_filter */
	size_t n_filter_set;
	struct rd_op_node *nodes;
	size_t n_nodes;
	struct rd_range *slots; /* write these from the plan's slots */
	size_t n_slots;
	uint32_t *new_backends; /* ids whose counters begin at 0 */
	size_t n_new_backends;
	struct rd_op_name *names;
	size_t n_names;
	struct rd_op_frontend *puts; /* a word of 0: what came and went, and others are behind it */
	size_t n_puts;
	struct rd_op_frontend *gone; /* `value` is what was there */
	size_t n_gone;
	uint32_t *gone_names;
	size_t n_gone_names;
	struct rd_range *retired; /* slots that are given up: see rd_maps_fold */
	size_t n_retired;
	uint32_t *filter_clear;
	size_t n_filter_clear;
};

struct rd_plan {
	struct rd_limits limits;
	struct rd_planned_tree services;
	uint32_t n_services;
	struct rd_planned **by_id;	 /* max_ports pointers; NULL: the id is free */
	struct rd_planned_frontend **at; /* by place; NULL: nothing is there */
	bool *is_passed;		 /* by place: look-ups do not end there */
	uint32_t *emptied;		 /* for the operations */
	struct rd_alloc places;
	uint32_t n_frontends; /* in the maps, or soon */
	SLIST_HEAD(, rd_planned_frontend) touched;
	struct rd_slot *slots; /* what the map holds, or will, but for what it counts */
	uint32_t *slot_port;   /* of which Service port each slot is, or was; its id */
	struct rd_node_tree nodes;
	uint32_t n_nodes;	/* in the tree */
	uint32_t *filter_count; /* per bit of rd_filter: frontends that need it */
	struct rd_alloc ranges; /* of slots */
	struct rd_alloc ids;	/* of Service ports */
	struct rd_alloc backend_ids;
	struct rd_ops ops;
};

/* Returns 0 or -ENOMEM. */
int rd_plan_new(struct rd_plan *plan, const struct rd_limits *limits);
void rd_plan_free(struct rd_plan *plan);

/* ---- adopting what is in the maps: names, then frontends ------------------- */

/* Take over an entry of rd_services. Returns 0, -ENOMEM, or -ERANGE for an id
 * that the limits do not allow. */
int rd_plan_adopt_service(struct rd_plan *plan, uint32_t id, const struct rd_service *record);

/* The places of rd_frontends. */
uint32_t rd_limits_places(const struct rd_limits *limits);

/*
 * Take over a place of rd_frontends and the slots its frontend points at.
 *
 * @slots: the whole of rd_backends
 * Returns 0 or -ENOMEM. A frontend that makes no sense (an unknown Service, a
 * range outside the map) will be deleted with the first operations.
 */
int rd_plan_adopt_frontend(struct rd_plan *plan, uint32_t place, const struct rd_frontend *value,
			   const struct rd_slot *slots);

/* Take over an entry of rd_nodeaddrs. Returns 0 or -ENOMEM. */
int rd_plan_adopt_node(struct rd_plan *plan, const struct rd_nodeaddr *address, uint32_t node);

/* ---- stating what is wanted ------------------------------------------------- */

/*
 * Make a Service what it should be: its names, frontends and endpoint sets, all
 * of it or nothing.
 *
 * An endpoint set that has not changed keeps its range, an endpoint that stays
 * keeps its id. An address that another Service has is left out: who has it
 * keeps it.
 * Returns 0; -EEXIST if addresses were left out, with @error naming the first;
 * -ENOSPC if the Service does not fit, with @error saying what is full, and
 * then it stays as it was; -ENOMEM.
 */
int rd_plan_service(struct rd_plan *plan, const struct rd_wanted *wanted, struct rd_error *error);

/* Take a Service out, if it is there. Returns 0 or -ENOMEM. */
int rd_plan_remove(struct rd_plan *plan, const char *namespace, const char *name);

/* Forget which node addresses are wanted, and state them anew, one by one; of
 * an address stated twice the first statement counts. Returns 0 or -ENOMEM. */
void rd_plan_begin_nodes(struct rd_plan *plan);
int rd_plan_node(struct rd_plan *plan, const struct rd_ip *ip, enum rd_node node);

/* Collect the operations that lead from the maps to what was stated.
 * @ret_ops: owned by the plan, valid until rd_plan_applied
 * Returns 0 or -ENOMEM. */
int rd_plan_take_ops(struct rd_plan *plan, const struct rd_ops **ret_ops);
/* The operations last taken are in the maps; forget them. */
void rd_plan_applied(struct rd_plan *plan);

/* How much a grace period would set free, and: one has passed since the last
 * operations were applied. */
uint32_t rd_plan_limbo(const struct rd_plan *plan);
void rd_plan_grace(struct rd_plan *plan);

/* ---- looking ------------------------------------------------------------------ */

struct rd_planned *rd_plan_find(const struct rd_plan *plan, const char *namespace,
				const char *name);
/* In order of namespace and name; begin with NULL. */
struct rd_planned *rd_plan_next(const struct rd_plan *plan, struct rd_planned *previous);
/* How many slots a Service has, for all its ports; of NULL none. */
size_t rd_planned_slots(const struct rd_planned *planned);
/* The Service port that has this id, or NULL. */
const struct rd_planned_port *rd_plan_port(const struct rd_plan *plan, uint32_t id);
/* Where the endpoint of a slot that has been given up is now, in rd_backends.
 * Returns false if it is gone. */
bool rd_plan_moved(const struct rd_plan *plan, uint32_t slot, uint32_t *ret_slot);
/* The frontend that a Service has at this address, or NULL. */
const struct rd_planned_frontend *rd_plan_frontend(const struct rd_plan *plan,
						   const struct rd_key *key);

#endif

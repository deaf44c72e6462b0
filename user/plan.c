// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "plan.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* ---- order ---------------------------------------------------------------------- */

static int compare_planned(const struct rd_planned *a, const struct rd_planned *b)
{
	return rd_name_compare(a->namespace, a->name, b->namespace, b->name);
}

static int compare_nodes(const struct rd_planned_node *a, const struct rd_planned_node *b)
{
	return memcmp(&a->address, &b->address, sizeof(a->address));
}

RD_TREE_GENERATE(rd_node_tree, rd_planned_node, entry, compare_nodes)
RD_TREE_GENERATE(rd_planned_tree, rd_planned, entry, compare_planned)

/* The order of slots in a range: by address, then port. */
static int compare_slots(const struct rd_slot *a, const struct rd_slot *b)
{
	return memcmp(a->addr, b->addr, sizeof(a->addr)) ?: a->port - b->port;
}

/* ---- life ------------------------------------------------------------------------ */

uint32_t rd_limits_places(const struct rd_limits *limits)
{
	return (1U << limits->frontend_bits) + RD_PROBES;
}

int rd_plan_new(struct rd_plan *plan, const struct rd_limits *limits)
{
	uint32_t places = rd_limits_places(limits);
	int r;

	*plan = (struct rd_plan){.limits = *limits};
	r = rd_alloc_new(&plan->ids, limits->max_ports);
	r = r ?: rd_alloc_new(&plan->backend_ids, limits->max_slots);
	r = r ?: rd_alloc_new(&plan->ranges, limits->max_slots);
	r = r ?: rd_alloc_new(&plan->places, places);
	plan->at = calloc(places, sizeof(struct rd_planned_frontend *));
	plan->is_passed = calloc(places, sizeof(*plan->is_passed));
	plan->emptied = calloc(places, sizeof(*plan->emptied));
	plan->slots = calloc(limits->max_slots, sizeof(*plan->slots));
	plan->slot_port = calloc(limits->max_slots, sizeof(*plan->slot_port));
	plan->by_id = calloc(limits->max_ports, sizeof(struct rd_planned *));
	plan->filter_count = calloc(RD_FILTER_BITS, sizeof(*plan->filter_count));
	if (!plan->at || !plan->is_passed || !plan->emptied || !plan->slots || !plan->slot_port ||
	    !plan->by_id || !plan->filter_count)
		r = -ENOMEM;
	if (r)
		rd_plan_free(plan);
	return r;
}

static void free_ports(struct rd_planned_port *ports, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(ports[i].ranges);
	free(ports);
}

static void clear_ops(struct rd_ops *ops)
{
	free(ops->filter_set);
	free(ops->filter_clear);
	free(ops->nodes);
	free(ops->slots);
	free(ops->new_backends);
	free(ops->names);
	free(ops->puts);
	free(ops->gone);
	free(ops->gone_names);
	free(ops->retired);
	*ops = (struct rd_ops){0};
}

void rd_plan_free(struct rd_plan *plan)
{
	struct rd_planned *service;
	struct rd_planned_node *node;

	while ((node = RB_ROOT(&plan->nodes))) {
		RB_REMOVE(rd_node_tree, &plan->nodes, node);
		free(node);
	}
	for (uint32_t i = 0; plan->at && i < rd_limits_places(&plan->limits); i++)
		free(plan->at[i]);
	while ((service = RB_ROOT(&plan->services))) {
		RB_REMOVE(rd_planned_tree, &plan->services, service);
		free_ports(service->ports, service->n_ports);
		free(service);
	}
	free(plan->at);
	free(plan->is_passed);
	free(plan->emptied);
	free(plan->slots);
	free(plan->slot_port);
	rd_alloc_free(&plan->places);
	rd_alloc_free(&plan->ranges);
	rd_alloc_free(&plan->ids);
	rd_alloc_free(&plan->backend_ids);
	free(plan->by_id);
	free(plan->filter_count);
	clear_ops(&plan->ops);
	*plan = (struct rd_plan){0};
}

/* ---- services and their ports ------------------------------------------------- */

struct rd_planned *rd_plan_find(const struct rd_plan *plan, const char *namespace, const char *name)
{
	struct rd_planned key = {0};

	rd_text_copy(key.namespace, sizeof(key.namespace), namespace);
	rd_text_copy(key.name, sizeof(key.name), name);
	return RB_FIND(rd_planned_tree, (struct rd_planned_tree *)&plan->services, &key);
}

struct rd_planned *rd_plan_next(const struct rd_plan *plan, struct rd_planned *previous)
{
	return previous ? RB_NEXT(rd_planned_tree, NULL, previous)
			: RB_MIN(rd_planned_tree, (struct rd_planned_tree *)&plan->services);
}

size_t rd_planned_slots(const struct rd_planned *planned)
{
	size_t n = 0;

	for (size_t p = 0; planned && p < planned->n_ports; p++)
		for (size_t i = 0; i < planned->ports[p].n_ranges; i++)
			n += planned->ports[p].ranges[i].count;
	return n;
}

const struct rd_planned_port *rd_plan_port(const struct rd_plan *plan, uint32_t id)
{
	const struct rd_planned *service = id < plan->limits.max_ports ? plan->by_id[id] : NULL;

	for (size_t i = 0; service && i < service->n_ports; i++)
		if (service->ports[i].id == id)
			return &service->ports[i];
	return NULL;
}

static struct rd_planned *new_planned(struct rd_plan *plan, const char *namespace, const char *name)
{
	struct rd_planned *service = calloc(1, sizeof(*service));

	if (!service)
		return NULL;
	rd_text_copy(service->namespace, sizeof(service->namespace), namespace);
	rd_text_copy(service->name, sizeof(service->name), name);
	LIST_INIT(&service->frontends);
	RB_INSERT(rd_planned_tree, &plan->services, service);
	plan->n_services++;
	return service;
}

static const struct rd_planned_port *port_named(const struct rd_planned *service, const char *name)
{
	for (size_t i = 0; service && i < service->n_ports; i++)
		if (!strcmp(service->ports[i].record.port_name, name))
			return &service->ports[i];
	return NULL;
}

/* ---- frontends -------------------------------------------------------------------- */

static uint32_t home_of(const struct rd_plan *plan, const struct rd_key *key)
{
	uint32_t words[4];

	memcpy(words, key->addr, sizeof(words));
	return rd_key_home(plan->limits.multiplier, plan->limits.frontend_bits, words, key->tail,
			   key->family);
}

/* From `place` on, the first place where a frontend with this key is, or the end
 * of the search for it. */
static uint32_t search(const struct rd_plan *plan, const struct rd_key *key, uint32_t place,
		       uint32_t end)
{
	while (place < end && plan->is_passed[place] &&
	       !(plan->at[place] && !memcmp(&plan->at[place]->wanted.key, key, sizeof(*key))))
		place++;
	return place;
}

/* For every frontend with this key. */
#define FOREACH_WITH_KEY(frontend, plan, key)                                                      \
	for (uint32_t home_ = home_of(plan, key), end_ = home_ + RD_PROBES,                        \
		      place_ = search(plan, key, home_, end_);                                     \
	     place_ < end_ && ((frontend) = (plan)->at[place_]);                                   \
	     place_ = search(plan, key, place_ + 1, end_))

const struct rd_planned_frontend *rd_plan_frontend(const struct rd_plan *plan,
						   const struct rd_key *key)
{
	const struct rd_planned_frontend *frontend;

	FOREACH_WITH_KEY(frontend, plan, key)
		if (frontend->service)
			return frontend;
	return NULL;
}

/* The frontend that leads from this key to this Service port, or NULL. */
static struct rd_planned_frontend *find_frontend(const struct rd_plan *plan,
						 const struct rd_frontend *wanted)
{
	struct rd_planned_frontend *frontend;

	FOREACH_WITH_KEY(frontend, plan, &wanted->key)
		if (frontend->wanted.service == wanted->service)
			return frontend;
	return NULL;
}

static struct rd_planned_frontend *new_frontend(struct rd_plan *plan, uint32_t place,
						const struct rd_frontend *value)
{
	struct rd_planned_frontend *frontend = calloc(1, sizeof(*frontend));

	if (!frontend)
		return NULL;
	frontend->place = place;
	frontend->wanted = *value;
	frontend->was_passed = plan->is_passed[place];
	(void)rd_alloc_adopt(&plan->places, place, 1);
	plan->is_passed[place] = true;
	plan->at[place] = frontend;
	plan->n_frontends++;
	return frontend;
}

static void free_frontend(struct rd_plan *plan, struct rd_planned_frontend *frontend)
{
	plan->at[frontend->place] = NULL;
	plan->n_frontends--;
	free(frontend);
}

static bool is_passed_behind(const struct rd_plan *plan, uint32_t place)
{
	return place + 1 < plan->places.size && plan->is_passed[place + 1];
}

/* After a grace period: let look-ups end at places that had a key, where no other
 * one is behind them. */
static void empty_places(struct rd_plan *plan)
{
	const struct rd_alloc *places = &plan->places;
	struct rd_ops *ops = &plan->ops;

	ops->emptied = plan->emptied;
	for (uint32_t i = rd_alloc_next_limbo(places, 0); i < places->size;
	     i = rd_alloc_next_limbo(places, i + 1)) {
		for (uint32_t n = i + 1; n && plan->is_passed[n - 1] && !plan->at[n - 1] &&
					 !is_passed_behind(plan, n - 1);
		     n--) {
			plan->emptied[ops->n_emptied++] = n - 1;
			plan->is_passed[n - 1] = false;
		}
	}
}

static void touch(struct rd_plan *plan, struct rd_planned_frontend *frontend)
{
	if (frontend->is_touched)
		return;
	frontend->is_touched = true;
	SLIST_INSERT_HEAD(&plan->touched, frontend, touched);
}

static int compare_keys(const struct rd_key *a, const struct rd_key *b)
{
	return a->scope - b->scope ?: a->family - b->family
					      ?: memcmp(a->addr, b->addr, sizeof(a->addr))
					      ?: a->port - b->port;
}

/* In an order that people like to read. */
static void own(struct rd_planned_frontend *frontend, struct rd_planned *service)
{
	struct rd_planned_frontend *before = NULL, *next;

	LIST_FOREACH(next, &service->frontends, of_service)
	{
		if (compare_keys(&frontend->wanted.key, &next->wanted.key) < 0)
			break;
		before = next;
	}
	frontend->service = service;
	if (before)
		LIST_INSERT_AFTER(before, frontend, of_service);
	else
		LIST_INSERT_HEAD(&service->frontends, frontend, of_service);
}

static void disown_all(struct rd_plan *plan, struct rd_planned *service)
{
	struct rd_planned_frontend *frontend;

	while ((frontend = LIST_FIRST(&service->frontends))) {
		LIST_REMOVE(frontend, of_service);
		frontend->service = NULL;
		touch(plan, frontend);
	}
}

static struct rd_key key_of(const struct rd_wanted_frontend *frontend, uint8_t protocol)
{
	struct rd_key key = {.port = frontend->port,
			     .protocol = protocol,
			     .family = frontend->ip.family,
			     .scope = frontend->scope};

	/* Of a NodePort the address is "none", all zero. */
	memcpy(key.addr, frontend->ip.bytes, sizeof(key.addr));
	return key;
}

/* ---- the filter ---------------------------------------------------------------------- */

static uint32_t filter_bit(const struct rd_key *key)
{
	uint32_t words[4];

	if (key->scope == RD_SCOPE_NODE_PORT)
		return rd_filter_port_bit(key->port);
	memcpy(words, key->addr, sizeof(words));
	return rd_filter_address_bit(words[0] ^ words[1] ^ words[2] ^ words[3]);
}

/* A frontend comes into the maps. */
static int filter_add(struct rd_plan *plan, const struct rd_key *key)
{
	uint32_t bit = filter_bit(key);
	struct rd_ops *ops = &plan->ops;

	if (plan->filter_count[bit]++)
		return 0;
	if (rd_array_grow(&ops->filter_set, ops->n_filter_set, sizeof(*ops->filter_set)))
		return -ENOMEM;
	ops->filter_set[ops->n_filter_set++] = bit;
	return 0;
}

/* One leaves them. Whether its bit is still needed is seen at the end. */
static int filter_drop(struct rd_plan *plan, const struct rd_key *key)
{
	uint32_t bit = filter_bit(key);
	struct rd_ops *ops = &plan->ops;

	if (--plan->filter_count[bit])
		return 0;
	if (rd_array_grow(&ops->filter_clear, ops->n_filter_clear, sizeof(*ops->filter_clear)))
		return -ENOMEM;
	ops->filter_clear[ops->n_filter_clear++] = bit;
	return 0;
}

static void keep_needed_bits(struct rd_plan *plan)
{
	struct rd_ops *ops = &plan->ops;
	size_t kept = 0;

	for (size_t i = 0; i < ops->n_filter_clear; i++)
		if (!plan->filter_count[ops->filter_clear[i]])
			ops->filter_clear[kept++] = ops->filter_clear[i];
	ops->n_filter_clear = kept;
}

/* ---- node addresses --------------------------------------------------------------------- */

static struct rd_planned_node *find_or_add_node(struct rd_plan *plan,
						const struct rd_nodeaddr *address)
{
	struct rd_planned_node probe = {.address = *address};
	struct rd_planned_node *node = RB_FIND(rd_node_tree, &plan->nodes, &probe);

	if (node)
		return node;
	node = calloc(1, sizeof(*node));
	if (!node)
		return NULL;
	*node = (struct rd_planned_node){
		.address = *address, .actual = RD_NODE_GONE, .wanted = RD_NODE_GONE};
	RB_INSERT(rd_node_tree, &plan->nodes, node);
	plan->n_nodes++;
	return node;
}

int rd_plan_adopt_node(struct rd_plan *plan, const struct rd_nodeaddr *address, uint32_t value)
{
	struct rd_planned_node *node = find_or_add_node(plan, address);

	if (!node)
		return -ENOMEM;
	node->actual = node->wanted = value;
	return 0;
}

void rd_plan_begin_nodes(struct rd_plan *plan)
{
	struct rd_planned_node *node;

	RB_FOREACH(node, rd_node_tree, &plan->nodes)
		node->wanted = RD_NODE_GONE;
}

int rd_plan_node(struct rd_plan *plan, const struct rd_ip *ip, enum rd_node value)
{
	struct rd_nodeaddr address = {.family = ip->family};
	struct rd_planned_node *node;

	memcpy(address.addr, ip->bytes, sizeof(address.addr));
	node = find_or_add_node(plan, &address);
	if (!node)
		return -ENOMEM;
	if (node->wanted == RD_NODE_GONE)
		node->wanted = value;
	return 0;
}

static int take_node(struct rd_plan *plan, struct rd_planned_node *node)
{
	struct rd_ops *ops = &plan->ops;
	bool is_in = node->wanted != RD_NODE_GONE;

	if (node->actual != node->wanted) {
		if (rd_array_grow(&ops->nodes, ops->n_nodes, sizeof(*ops->nodes)))
			return -ENOMEM;
		ops->nodes[ops->n_nodes++] =
			(struct rd_op_node){.address = node->address, .node = node->wanted};
		node->actual = node->wanted;
	}
	if (!is_in) {
		RB_REMOVE(rd_node_tree, &plan->nodes, node);
		plan->n_nodes--;
		free(node);
	}
	return 0;
}

/* ---- adopting ---------------------------------------------------------------------- */

int rd_plan_adopt_service(struct rd_plan *plan, uint32_t id, const struct rd_service *record)
{
	struct rd_planned *service = rd_plan_find(plan, record->namespace, record->name);

	if (rd_alloc_adopt(&plan->ids, id, 1))
		return -ERANGE;
	service = service ?: new_planned(plan, record->namespace, record->name);
	if (!service || rd_array_grow(&service->ports, service->n_ports, sizeof(*service->ports)))
		return -ENOMEM;
	service->ports[service->n_ports++] = (struct rd_planned_port){.id = id, .record = *record};
	plan->by_id[id] = service;
	return 0;
}

/* Does a range make sense as endpoints of this Service port: inside the map, and
 * either what the port has already or nobody's? */
static bool is_sound(const struct rd_plan *plan, const struct rd_planned_port *port,
		     const struct rd_range *range, const struct rd_slot *slots)
{
	if (range->first > plan->limits.max_slots ||
	    range->count > plan->limits.max_slots - range->first)
		return false;
	for (size_t i = 0; i < port->n_ranges; i++)
		if (!memcmp(&port->ranges[i], range, sizeof(*range)))
			return true;
	for (uint32_t i = range->first; i < range->first + range->count; i++)
		if (slots[i].id >= plan->backend_ids.size || rd_alloc_is_used(&plan->ranges, i))
			return false;
	return true;
}

/* Keep the slots of a frontend that makes no sense from being written before it
 * is gone, if they are nobody else's. */
static void set_aside(struct rd_plan *plan, const struct rd_range *range)
{
	struct rd_alloc *ranges = &plan->ranges;

	for (uint64_t n = range->first; n < (uint64_t)range->first + range->count; n++) {
		if (n >= ranges->size || rd_alloc_is_used(ranges, (uint32_t)n))
			continue;
		(void)rd_alloc_adopt(ranges, (uint32_t)n, 1);
		rd_alloc_retire(ranges, (uint32_t)n, 1);
	}
}

static int adopt_range(struct rd_plan *plan, struct rd_planned_port *port,
		       const struct rd_range *range, const struct rd_slot *slots)
{
	for (size_t i = 0; i < port->n_ranges; i++)
		if (port->ranges[i].family == range->family &&
		    port->ranges[i].first == range->first)
			return 0;
	if (rd_array_grow(&port->ranges, port->n_ranges, sizeof(*port->ranges)))
		return -ENOMEM;
	port->ranges[port->n_ranges++] = *range;
	(void)rd_alloc_adopt(&plan->ranges, range->first, range->count);
	for (uint32_t i = range->first; i < range->first + range->count; i++) {
		plan->slots[i] = slots[i];
		plan->slots[i].chosen = 0;
		plan->slot_port[i] = port->id;
		(void)rd_alloc_adopt(&plan->backend_ids, slots[i].id, 1);
	}
	return 0;
}

/* Is it where a look-up finds it? */
static bool is_in_reach(const struct rd_plan *plan, uint32_t place, const struct rd_key *key)
{
	uint32_t home = home_of(plan, key);

	return place >= home && place < home + RD_PROBES;
}

int rd_plan_adopt_frontend(struct rd_plan *plan, uint32_t place, const struct rd_frontend *value,
			   const struct rd_slot *slots)
{
	struct rd_range range = {.family = value->key.family == RD_IPV6 ? RD_FAMILY_6 : RD_FAMILY_4,
				 .first = rd_word_first(value->word),
				 .count = rd_word_count(value->word)};
	struct rd_planned_port *port = (struct rd_planned_port *)rd_plan_port(plan, value->service);
	struct rd_planned_frontend *frontend;

	if (!value->key.tail)
		return 0;
	if (!value->word) {
		/* One has been here, and programs may not yet be done with it. */
		plan->is_passed[place] = true;
		(void)rd_alloc_adopt(&plan->places, place, 1);
		rd_alloc_retire(&plan->places, place, 1);
		return 0;
	}
	frontend = new_frontend(plan, place, value);
	if (!frontend)
		return -ENOMEM;
	frontend->actual = value->word;
	plan->filter_count[filter_bit(&value->key)]++;
	if (!port || !is_in_reach(plan, place, &value->key) ||
	    !is_sound(plan, port, &range, slots)) {
		set_aside(plan, &range);
		touch(plan, frontend);
		return 0;
	}
	own(frontend, plan->by_id[value->service]);
	return range.count ? adopt_range(plan, port, &range, slots) : 0;
}

/* ---- endpoint sets --------------------------------------------------------------- */

static const struct rd_slot *range_slots(const struct rd_plan *plan, const struct rd_range *range)
{
	return plan->slots + range->first;
}

static int compare_slots_search(const void *a, const void *b)
{
	return compare_slots(a, b);
}

/* The id that this address and port have in one of the ranges.
 * Returns false if they are in none. */
static bool find_backend_id(const struct rd_plan *plan, const struct rd_range *ranges, size_t n,
			    enum rd_ip_family family, const struct rd_slot *backend,
			    uint32_t *ret_id)
{
	for (size_t i = 0; i < n; i++) {
		const struct rd_slot *found;

		if (ranges[i].family != family)
			continue;
		found = bsearch(backend, range_slots(plan, &ranges[i]), ranges[i].count,
				sizeof(*found), compare_slots_search);
		if (!found)
			continue;
		*ret_id = found->id;
		return true;
	}
	return false;
}

bool rd_plan_moved(const struct rd_plan *plan, uint32_t slot, uint32_t *ret_slot)
{
	const struct rd_planned_port *port = rd_plan_port(plan, plan->slot_port[slot]);
	const struct rd_slot *was = &plan->slots[slot];

	for (size_t i = 0; port && i < port->n_ranges; i++) {
		const struct rd_slot *found =
			bsearch(was, range_slots(plan, &port->ranges[i]), port->ranges[i].count,
				sizeof(*found), compare_slots_search);

		if (!found || found->id != was->id)
			continue;
		*ret_slot = (uint32_t)(found - plan->slots);
		return true;
	}
	return false;
}

static struct rd_slot to_slot(const struct rd_backend *backend)
{
	struct rd_slot slot = {.port = backend->port};

	memcpy(slot.addr, backend->ip.bytes, sizeof(slot.addr));
	return slot;
}

static bool holds_set(const struct rd_plan *plan, const struct rd_range *range,
		      const struct rd_wanted_set *set)
{
	const struct rd_slot *slots = range_slots(plan, range);

	if (range->family != set->family || range->count != set->n)
		return false;
	for (size_t i = 0; i < set->n; i++) {
		struct rd_slot slot = to_slot(&set->backends[i]);

		if (compare_slots(&slot, &slots[i]))
			return false;
	}
	return true;
}

static const struct rd_range *find_range(const struct rd_plan *plan, const struct rd_range *ranges,
					 size_t n, const struct rd_wanted_set *set)
{
	for (size_t i = 0; i < n; i++)
		if (holds_set(plan, &ranges[i], set))
			return &ranges[i];
	return NULL;
}

static bool has_range(const struct rd_planned_port *port, const struct rd_range *range)
{
	for (size_t i = 0; port && i < port->n_ranges; i++)
		if (port->ranges[i].family == range->family &&
		    port->ranges[i].first == range->first)
			return true;
	return false;
}

/* How the ids and ranges of a port that is no longer needed are returned: at
 * once if no program can have seen them, else through limbo. */
typedef void (*give_back_fn)(struct rd_alloc *alloc, uint32_t first, uint32_t count);

/* Give back those of `port`'s ranges and backend ids that `kept` has not. */
static void give_back_ranges(struct rd_plan *plan, const struct rd_planned_port *port,
			     const struct rd_planned_port *kept, give_back_fn give_back)
{
	for (size_t i = 0; i < port->n_ranges; i++) {
		const struct rd_range *range = &port->ranges[i];
		const struct rd_slot *slots = range_slots(plan, range);
		uint32_t id;

		for (uint32_t s = 0; s < range->count; s++)
			if (!find_backend_id(plan, port->ranges, i, range->family, &slots[s],
					     &id) &&
			    !(kept && find_backend_id(plan, kept->ranges, kept->n_ranges,
						      range->family, &slots[s], &id)))
				give_back(&plan->backend_ids, slots[s].id, 1);
		if (!has_range(kept, range))
			give_back(&plan->ranges, range->first, range->count);
	}
}

/* Write a new range for `set` into the plan's slots.
 * Returns 0, -ENOSPC or -ENOMEM; then nothing is taken. */
static int fill_range(struct rd_plan *plan, const struct rd_planned_port *old,
		      const struct rd_planned_port *port, const struct rd_wanted_set *set,
		      struct rd_range *ret_range)
{
	struct rd_range range = {.family = set->family, .count = (uint32_t)set->n};
	struct rd_ops *ops = &plan->ops;
	struct rd_slot *slots;
	int r;

	if (set->n > RD_MAX_COUNT || set->n > plan->backend_ids.size - plan->backend_ids.used_count)
		return -ENOSPC;
	for (size_t i = 0; i < set->n; i++)
		if (rd_array_grow(&ops->new_backends, ops->n_new_backends + i,
				  sizeof(*ops->new_backends)))
			return -ENOMEM;
	r = rd_alloc_take(&plan->ranges, range.count, &range.first);
	if (r)
		return r;
	slots = plan->slots + range.first;
	for (uint32_t i = 0; i < range.count; i++) {
		struct rd_slot slot = to_slot(&set->backends[i]);

		if (!(old && find_backend_id(plan, old->ranges, old->n_ranges, range.family, &slot,
					     &slot.id)) &&
		    !find_backend_id(plan, port->ranges, port->n_ranges, range.family, &slot,
				     &slot.id)) {
			/* Enough ids were free above; a single one always fits. */
			(void)rd_alloc_take(&plan->backend_ids, 1, &slot.id);
			ops->new_backends[ops->n_new_backends++] = slot.id;
		}
		slots[i] = slot;
		plan->slot_port[range.first + i] = port->id;
	}
	*ret_range = range;
	return 0;
}

/*
 * The range for a set: one that another set of this port has got already, an
 * old one that holds just these endpoints, or a new one. An empty set has none.
 * Returns 0, -ENOSPC or -ENOMEM; on failure nothing is taken.
 */
static int place_set(struct rd_plan *plan, const struct rd_planned_port *old,
		     struct rd_planned_port *port, const struct rd_wanted_set *set,
		     struct rd_range *ret_range)
{
	const struct rd_range *known;
	struct rd_range range = {.family = set->family};
	int r;

	if (!set->n) {
		*ret_range = range;
		return 0;
	}
	known = find_range(plan, port->ranges, port->n_ranges, set);
	if (known) {
		*ret_range = *known;
		return 0;
	}
	r = rd_array_grow(&port->ranges, port->n_ranges, sizeof(*port->ranges));
	if (r)
		return r;
	known = old ? find_range(plan, old->ranges, old->n_ranges, set) : NULL;
	if (known)
		range = *known;
	else
		r = fill_range(plan, old, port, set, &range);
	if (r)
		return r;
	port->ranges[port->n_ranges++] = range;
	*ret_range = range;
	return 0;
}

/* ---- planning one Service --------------------------------------------------------- */

/* A frontend of a draft. */
struct drafted {
	struct rd_frontend value;
	struct rd_planned_frontend *planned; /* once it has a place */
	bool is_new;			     /* it had none before */
};

/* The new state of a Service while it is not certain that all of it fits. */
struct draft {
	struct rd_planned *old; /* NULL: the Service is new */
	struct rd_planned_port *ports;
	size_t n_ports;
	struct drafted *frontends;
	size_t n_frontends;
};

static void free_draft(struct draft *draft)
{
	free_ports(draft->ports, draft->n_ports);
	free(draft->frontends);
}

/* Take back what the draft took: ids and ranges its Service did not have. */
static void abandon(struct rd_plan *plan, struct draft *draft)
{
	for (size_t i = 0; i < draft->n_ports; i++) {
		const struct rd_planned_port *port = &draft->ports[i];
		const struct rd_planned_port *old = port_named(draft->old, port->record.port_name);

		give_back_ranges(plan, port, old, rd_alloc_give);
		if (!old)
			rd_alloc_give(&plan->ids, port->id, 1);
	}
}

static void fill_record(const struct rd_wanted *wanted, const struct rd_wanted_port *port,
			struct rd_service *record)
{
	const struct rd_object *service = wanted->service;

	*record = (struct rd_service){
		.port = port->port,
		.protocol = port->protocol,
		.type = (uint8_t)service->service.type,
	};
	rd_text_copy(record->namespace, sizeof(record->namespace), service->namespace);
	rd_text_copy(record->name, sizeof(record->name), service->name);
	rd_text_copy(record->port_name, sizeof(record->port_name), port->name);
	if (service->service.cluster_ip[0].family)
		memcpy(record->cluster_ip4, service->service.cluster_ip[0].bytes, 4);
	if (service->service.cluster_ip[1].family)
		memcpy(record->cluster_ip6, service->service.cluster_ip[1].bytes, 16);
}

static int draft_port(struct rd_plan *plan, struct draft *draft, const struct rd_wanted *wanted,
		      const struct rd_wanted_port *want, struct rd_error *error)
{
	const struct rd_planned_port *old = port_named(draft->old, want->name);
	struct rd_planned_port *port = &draft->ports[draft->n_ports];
	_rd_free_ struct rd_range *ranges = calloc(want->n_sets + 1, sizeof(*ranges));
	int r = 0;

	if (!ranges)
		return -ENOMEM;
	if (old)
		port->id = old->id;
	else
		r = rd_alloc_take(&plan->ids, 1, &port->id);
	if (r)
		return rd_error_set(error, r, "all %u Service ports are in use, see --max-services",
				    plan->limits.max_ports);
	draft->n_ports++;
	fill_record(wanted, want, &port->record);
	for (size_t i = 0; i < want->n_sets; i++) {
		r = place_set(plan, old, port, &want->sets[i], &ranges[i]);
		if (r)
			return rd_error_set(error, r,
					    "no room for %zu endpoints among %u slots, see "
					    "--max-backends",
					    want->sets[i].n, plan->limits.max_slots);
	}
	for (size_t i = 0; i < want->n_frontends; i++) {
		const struct rd_range *range = &ranges[want->frontends[i].set];

		draft->frontends[draft->n_frontends++].value = (struct rd_frontend){
			.key = key_of(&want->frontends[i], want->protocol),
			.service = port->id,
			.word = rd_word(range->first, range->count,
					wanted->service->service.affinity_seconds,
					want->frontends[i].flags),
		};
	}
	return 0;
}

/* Returns -EEXIST, with @error naming what another Service has. */
static int say_taken(const struct rd_key *key, const struct rd_planned *owner,
		     struct rd_error *error)
{
	struct rd_ip ip = rd_ip_from_bytes(key->family, key->addr);
	char text[RD_IP_PORT_TEXT];

	if (key->scope == RD_SCOPE_NODE_PORT)
		return rd_error_set(error, -EEXIST, "node port %u/%s is taken by %s/%s", key->port,
				    key->protocol == IPPROTO_UDP ? "UDP" : "TCP", owner->namespace,
				    owner->name);
	return rd_error_set(error, -EEXIST, "%s is the address of %s/%s",
			    rd_ip_port_format(&ip, key->port, text), owner->namespace, owner->name);
}

/* Drop from the draft the frontends that other Services have.
 * Returns 0 or -EEXIST, with @error naming the first. */
static int drop_conflicts(const struct rd_plan *plan, struct draft *draft, struct rd_error *error)
{
	size_t kept = 0;
	int r = 0;

	for (size_t i = 0; i < draft->n_frontends; i++) {
		const struct rd_key *key = &draft->frontends[i].value.key;
		const struct rd_planned_frontend *taken = rd_plan_frontend(plan, key);

		if (!taken || taken->service == draft->old) {
			draft->frontends[kept++] = draft->frontends[i];
			continue;
		}
		if (!r)
			r = say_taken(key, taken->service, error);
	}
	draft->n_frontends = kept;
	return r;
}

/* Give a frontend of the draft a place: the first after its home that nobody
 * has. An address may be given twice, as external and as load balancer's say:
 * then the first counts. Returns 0, -ENOSPC or -ENOMEM. */
static int place_frontend(struct rd_plan *plan, struct drafted *drafted)
{
	uint32_t home = home_of(plan, &drafted->value.key), place = home;
	const struct rd_planned_frontend *same;

	FOREACH_WITH_KEY(same, plan, &drafted->value.key)
		if (same->is_drafted)
			return 0;
	drafted->planned = find_frontend(plan, &drafted->value);
	if (!drafted->planned) {
		while (place < home + RD_PROBES && rd_alloc_is_used(&plan->places, place))
			place++;
		if (place == home + RD_PROBES || plan->n_frontends == plan->limits.max_frontends)
			return -ENOSPC;
		drafted->is_new = true;
		drafted->planned = new_frontend(plan, place, &drafted->value);
	}
	if (!drafted->planned)
		return -ENOMEM;
	drafted->planned->is_drafted = true;
	return 0;
}

/* A frontend that has never been in the map gives its place back. */
static void displace(struct rd_plan *plan, struct rd_planned_frontend *frontend)
{
	plan->is_passed[frontend->place] = frontend->was_passed;
	rd_alloc_give(&plan->places, frontend->place, 1);
	free_frontend(plan, frontend);
}

/* The draft gives its places back, the last one first. */
static void displace_frontends(struct rd_plan *plan, struct draft *draft)
{
	for (size_t i = draft->n_frontends; i-- > 0;) {
		struct drafted *drafted = &draft->frontends[i];

		if (drafted->planned)
			drafted->planned->is_drafted = false;
		if (drafted->planned && drafted->is_new)
			displace(plan, drafted->planned);
	}
}

/* Frontends that are to be deleted count as long as they are in the map: new
 * ones are written before they go. */
static int place_frontends(struct rd_plan *plan, struct draft *draft, struct rd_error *error)
{
	int r = 0;

	if (!draft->old && plan->n_services >= plan->limits.max_services)
		return rd_error_set(error, -ENOSPC,
				    "there are %u Services already, see "
				    "--max-services",
				    plan->limits.max_services);
	for (size_t i = 0; !r && i < draft->n_frontends; i++)
		r = place_frontend(plan, &draft->frontends[i]);
	if (r == -ENOSPC) {
		displace_frontends(plan, draft);
		return rd_error_set(error, r, "all %u addresses are in use, see --max-services",
				    plan->limits.max_frontends);
	}
	return r;
}

/* Note the operations on names and slots, and retire what is left behind. */
static int commit_ports(struct rd_plan *plan, const struct rd_planned *old,
			const struct draft *draft)
{
	struct rd_ops *ops = &plan->ops;

	for (size_t i = 0; i < draft->n_ports; i++) {
		const struct rd_planned_port *port = &draft->ports[i];
		const struct rd_planned_port *was = port_named(old, port->record.port_name);

		if (!was || memcmp(&was->record, &port->record, sizeof(port->record))) {
			if (rd_array_grow(&ops->names, ops->n_names, sizeof(*ops->names)))
				return -ENOMEM;
			ops->names[ops->n_names++] =
				(struct rd_op_name){.id = port->id, .is_new = !was};
		}
		for (size_t n = 0; n < port->n_ranges; n++) {
			if (has_range(was, &port->ranges[n]))
				continue;
			if (rd_array_grow(&ops->slots, ops->n_slots, sizeof(*ops->slots)))
				return -ENOMEM;
			ops->slots[ops->n_slots++] = port->ranges[n];
		}
	}
	return 0;
}

static int retire_ports(struct rd_plan *plan, const struct rd_planned *old,
			const struct draft *draft)
{
	struct rd_planned as_new = {.ports = draft->ports, .n_ports = draft->n_ports};
	struct rd_ops *ops = &plan->ops;

	for (size_t i = 0; old && i < old->n_ports; i++) {
		const struct rd_planned_port *port = &old->ports[i];
		const struct rd_planned_port *kept = port_named(&as_new, port->record.port_name);

		for (size_t n = 0; n < port->n_ranges; n++) {
			if (has_range(kept, &port->ranges[n]))
				continue;
			if (rd_array_grow(&ops->retired, ops->n_retired, sizeof(*ops->retired)))
				return -ENOMEM;
			ops->retired[ops->n_retired++] = port->ranges[n];
		}
		give_back_ranges(plan, port, kept, rd_alloc_retire);
		if (kept)
			continue;
		if (rd_array_grow(&ops->gone_names, ops->n_gone_names, sizeof(*ops->gone_names)))
			return -ENOMEM;
		ops->gone_names[ops->n_gone_names++] = port->id;
		rd_alloc_retire(&plan->ids, port->id, 1);
		plan->by_id[port->id] = NULL;
	}
	return 0;
}

static void commit_frontends(struct rd_plan *plan, struct rd_planned *service,
			     const struct draft *draft)
{
	disown_all(plan, service);
	for (size_t i = 0; i < draft->n_frontends; i++) {
		struct rd_planned_frontend *frontend = draft->frontends[i].planned;

		if (!frontend)
			continue;
		frontend->is_drafted = false;
		frontend->wanted = draft->frontends[i].value;
		own(frontend, service);
		touch(plan, frontend);
	}
}

static int commit(struct rd_plan *plan, const char *namespace, const char *name,
		  struct draft *draft)
{
	struct rd_planned *service = draft->old;
	int r;

	r = commit_ports(plan, draft->old, draft) ?: retire_ports(plan, draft->old, draft);
	if (r)
		return r;
	service = service ?: new_planned(plan, namespace, name);
	if (!service)
		return -ENOMEM;
	free_ports(service->ports, service->n_ports);
	service->n_ports = draft->n_ports;
	service->ports = rd_take(draft->ports);
	draft->n_ports = 0;
	for (size_t i = 0; i < service->n_ports; i++)
		plan->by_id[service->ports[i].id] = service;
	commit_frontends(plan, service, draft);
	return 0;
}

int rd_plan_service(struct rd_plan *plan, const struct rd_wanted *wanted, struct rd_error *error)
{
	const struct rd_object *service = wanted->service;
	struct draft draft = {.old = rd_plan_find(plan, service->namespace, service->name)};
	size_t n_frontends = 0;
	int conflict = 0, r = 0;

	for (size_t i = 0; i < wanted->n_ports; i++)
		n_frontends += wanted->ports[i].n_frontends;
	draft.ports = calloc(wanted->n_ports ?: 1, sizeof(*draft.ports));
	draft.frontends = calloc(n_frontends + 1, sizeof(*draft.frontends));
	if (!draft.ports || !draft.frontends)
		r = -ENOMEM;
	for (size_t i = 0; !r && i < wanted->n_ports; i++)
		r = draft_port(plan, &draft, wanted, &wanted->ports[i], error);
	if (!r) {
		conflict = drop_conflicts(plan, &draft, error);
		r = place_frontends(plan, &draft, error);
	}
	if (r == -ENOSPC)
		abandon(plan, &draft);
	r = r ?: commit(plan, service->namespace, service->name, &draft);
	free_draft(&draft);
	return r ?: conflict;
}

int rd_plan_remove(struct rd_plan *plan, const char *namespace, const char *name)
{
	struct draft nothing = {.old = rd_plan_find(plan, namespace, name)};
	int r;

	if (!nothing.old)
		return 0;
	r = retire_ports(plan, nothing.old, &nothing);
	if (r)
		return r;
	disown_all(plan, nothing.old);
	RB_REMOVE(rd_planned_tree, &plan->services, nothing.old);
	plan->n_services--;
	free_ports(nothing.old->ports, nothing.old->n_ports);
	free(nothing.old);
	return 0;
}

/* ---- operations -------------------------------------------------------------------- */

static int note_put(struct rd_plan *plan, const struct rd_planned_frontend *frontend, uint64_t word)
{
	struct rd_ops *ops = &plan->ops;
	struct rd_op_frontend op = {
		.place = frontend->place, .is_new = !frontend->actual, .value = frontend->wanted};

	if (rd_array_grow(&ops->puts, ops->n_puts, sizeof(*ops->puts)))
		return -ENOMEM;
	op.value.word = word;
	ops->puts[ops->n_puts++] = op;
	return 0;
}

static int note_gone(struct rd_plan *plan, const struct rd_planned_frontend *frontend)
{
	struct rd_ops *ops = &plan->ops;
	struct rd_op_frontend op = {.place = frontend->place, .value = frontend->wanted};

	if (rd_array_grow(&ops->gone, ops->n_gone, sizeof(*ops->gone)))
		return -ENOMEM;
	op.value.word = frontend->actual;
	ops->gone[ops->n_gone++] = op;
	return filter_drop(plan, &frontend->wanted.key);
}

static int take_frontend(struct rd_plan *plan, struct rd_planned_frontend *frontend)
{
	uint64_t word = frontend->service ? frontend->wanted.word : 0;
	int r;

	if (word) {
		r = frontend->actual == word ? 0 : note_put(plan, frontend, word);
		if (!r && !frontend->actual)
			r = filter_add(plan, &frontend->wanted.key);
		frontend->actual = word;
		return r;
	}
	if (!frontend->actual &&
	    (frontend->was_passed || !is_passed_behind(plan, frontend->place))) {
		displace(plan, frontend);
		return 0;
	}
	/* If it came and went: others are behind it, whom look-ups are to reach. */
	r = frontend->actual ? note_gone(plan, frontend) : note_put(plan, frontend, 0);
	rd_alloc_retire(&plan->places, frontend->place, 1);
	free_frontend(plan, frontend);
	return r;
}

int rd_plan_take_ops(struct rd_plan *plan, const struct rd_ops **ret_ops)
{
	struct rd_planned_frontend *frontend;
	struct rd_planned_node *node, *next;

	for (node = RB_MIN(rd_node_tree, &plan->nodes); node; node = next) {
		next = RB_NEXT(rd_node_tree, &plan->nodes, node);
		if (take_node(plan, node))
			return -ENOMEM;
	}
	while ((frontend = SLIST_FIRST(&plan->touched))) {
		int r;

		SLIST_REMOVE_HEAD(&plan->touched, touched);
		frontend->is_touched = false;
		r = take_frontend(plan, frontend);
		if (r)
			return r;
	}
	keep_needed_bits(plan);
	*ret_ops = &plan->ops;
	return 0;
}

void rd_plan_applied(struct rd_plan *plan)
{
	clear_ops(&plan->ops);
}

uint32_t rd_plan_limbo(const struct rd_plan *plan)
{
	return plan->ids.limbo_count + plan->backend_ids.limbo_count + plan->ranges.limbo_count +
	       plan->places.limbo_count;
}

void rd_plan_grace(struct rd_plan *plan)
{
	empty_places(plan);
	rd_alloc_grace(&plan->places);
	rd_alloc_grace(&plan->ids);
	rd_alloc_grace(&plan->backend_ids);
	rd_alloc_grace(&plan->ranges);
}

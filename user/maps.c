// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const map_names[] = {
	[RD_MAP_FRONTENDS] = "rd_frontends",
	[RD_MAP_BACKENDS] = "rd_backends",
	[RD_MAP_SOCKETS] = "rd_sockets",
	[RD_MAP_SPILL] = "rd_spill",
	[RD_MAP_UDP_FLOWS] = "rd_udp_flows",
	[RD_MAP_FILTER] = "rd_filter",
	[RD_MAP_NODEADDRS] = "rd_nodeaddrs",
	[RD_MAP_AFFINITY] = "rd_affinity",
	[RD_MAP_SERVICE_STATS] = "rd_service_stats",
	[RD_MAP_BACKEND_STATS] = "rd_backend_stats",
	[RD_MAP_LATENCY] = "rd_latency",
	[RD_MAP_TOTALS] = "rd_totals",
	[RD_MAP_RANDOM] = "rd_random",
	[RD_MAP_EVENTS] = "rd_events",
	[RD_MAP_WATCH] = "rd_watch",
	[RD_MAP_DNS] = "rd_dns",
	[RD_MAP_DNS_LIFE] = "rd_dns_life",
	[RD_MAP_SERVICES] = "rd_services",
	[RD_MAP_AGENT] = "rd_agent",
};
_Static_assert(RD_ARRAY_SIZE(map_names) == RD_MAPS, "a name for every map");

const char *rd_map_name(enum rd_map map)
{
	return map_names[map];
}

/* ---- opening and mapping ---------------------------------------------------- */

/* The arrays that are mapped, and their value sizes. */
static const struct mapped {
	enum rd_map map;
	size_t value_size;
	size_t pointer; /* offset in struct rd_maps */
} mapped[] = {
	{RD_MAP_FRONTENDS, sizeof(struct rd_frontend), offsetof(struct rd_maps, frontends)},
	{RD_MAP_BACKENDS, sizeof(struct rd_slot), offsetof(struct rd_maps, backends)},
	{RD_MAP_SOCKETS, sizeof(struct rd_socket), offsetof(struct rd_maps, sockets)},
	{RD_MAP_FILTER, sizeof(struct rd_filter), offsetof(struct rd_maps, filter)},
	{RD_MAP_SERVICE_STATS, sizeof(struct rd_service_stats),
	 offsetof(struct rd_maps, service_stats)},
	{RD_MAP_BACKEND_STATS, sizeof(struct rd_backend_stats),
	 offsetof(struct rd_maps, backend_stats)},
	{RD_MAP_LATENCY, sizeof(struct rd_latency), offsetof(struct rd_maps, latency)},
	{RD_MAP_WATCH, sizeof(struct rd_watch), offsetof(struct rd_maps, watch)},
	{RD_MAP_DNS, sizeof(struct rd_dns), offsetof(struct rd_maps, dns)},
	{RD_MAP_AGENT, sizeof(struct rd_agent), offsetof(struct rd_maps, agent)},
};

static void **pointer_of(struct rd_maps *maps, const struct mapped *m)
{
	return (void **)((char *)maps + m->pointer);
}

static size_t length_of(const struct rd_maps *maps, const struct mapped *m)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (m->value_size * maps->entries[m->map] + page - 1) / page * page;
}

int rd_maps_map(struct rd_maps *maps)
{
	for (int i = 0; i < RD_MAPS; i++) {
		struct bpf_map_info info = {0};
		__u32 length = sizeof(info);

		if (bpf_obj_get_info_by_fd(maps->fd[i], &info, &length))
			return -errno;
		maps->entries[i] = info.max_entries;
	}
	for (size_t i = 0; i < RD_ARRAY_SIZE(mapped); i++) {
		const struct mapped *m = &mapped[i];
		void *memory = mmap(NULL, length_of(maps, m),
				    PROT_READ | (maps->writable ? PROT_WRITE : 0), MAP_SHARED,
				    maps->fd[m->map], 0);

		if (memory == MAP_FAILED)
			return -errno;
		*pointer_of(maps, m) = memory;
	}
	return 0;
}

void rd_maps_close(struct rd_maps *maps)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(mapped); i++)
		if (*pointer_of(maps, &mapped[i]))
			munmap(*pointer_of(maps, &mapped[i]), length_of(maps, &mapped[i]));
	for (int i = 0; i < RD_MAPS; i++)
		rd_close_cleanup(&maps->fd[i]);
	rd_close_cleanup(&maps->life);
	*maps = RD_MAPS_NONE;
}

/* Each processor begins at another place, or all would choose alike. */
static int seed_random(const struct rd_maps *maps)
{
	int processors = libbpf_num_possible_cpus(), r = 0;
	_rd_free_ uint64_t *states = NULL;
	__u32 zero = 0;

	if (processors < 0)
		return processors;
	states = calloc((size_t)processors, sizeof(*states));
	if (!states)
		return -ENOMEM;
	for (int i = 0; !r && i < processors; i++)
		if (getrandom(&states[i], sizeof(*states), 0) != sizeof(*states))
			r = -errno;
	if (!r && bpf_map_update_elem(maps->fd[RD_MAP_RANDOM], &zero, states, BPF_ANY))
		r = -errno;
	return r;
}

int rd_maps_seed(struct rd_maps *maps)
{
	uint64_t drawn;
	int r;

	if (maps->filter->multiplier)
		return 0;
	r = seed_random(maps);
	if (r)
		return r;
	if (getrandom(&drawn, sizeof(drawn), 0) != sizeof(drawn))
		return -errno;
	maps->filter->multiplier = drawn | 1;
	return 0;
}

static int open_pin(const char *bpffs, enum rd_map map)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s/%s", bpffs, map_names[map]) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

int rd_maps_check_layout(const char *bpffs, struct rd_error *error)
{
	_rd_close_ int fd = open_pin(bpffs, RD_MAP_AGENT);
	struct bpf_map_info info = {0};
	__u32 length = sizeof(info);
	_rd_free_ __u32 *value = NULL;
	__u32 zero = 0;

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return rd_error_set(error, fd, "cannot open the maps pinned in %s: %s", bpffs,
				    strerror(-fd));
	if (bpf_obj_get_info_by_fd(fd, &info, &length))
		return rd_error_set(error, -errno, "cannot look at the maps pinned in %s: %s",
				    bpffs, strerror(errno));
	value = calloc(1, info.value_size + sizeof(*value));
	if (!value || bpf_map_lookup_elem(fd, &zero, value))
		return rd_error_set(error, -EIO, "cannot read the maps pinned in %s", bpffs);
	if (value[0] == RD_LAYOUT_VERSION || !value[0])
		return 0;
	return rd_error_set(error, -EPROTO,
			    "the maps pinned in %s have layout %u and this redial uses layout %d: "
			    "use the other version, or run 'redial cleanup --bpffs %s' first",
			    bpffs, value[0], RD_LAYOUT_VERSION, bpffs);
}

int rd_maps_open(const char *bpffs, struct rd_maps *ret_maps, struct rd_error *error)
{
	struct rd_maps maps = RD_MAPS_NONE;
	int r = rd_maps_check_layout(bpffs, error);

	if (r)
		return r;
	for (int i = 0; i < RD_MAPS; i++) {
		maps.fd[i] = open_pin(bpffs, (enum rd_map)i);
		if (maps.fd[i] >= 0)
			continue;
		r = maps.fd[i];
		rd_maps_close(&maps);
		if (r == -ENOENT)
			return rd_error_set(error, r,
					    "nothing of redial is pinned in %s: is the agent "
					    "running, and with this --bpffs?",
					    bpffs);
		if (r == -EPERM || r == -EACCES)
			return rd_error_set(error, r, "not permitted to open %s: run as root",
					    bpffs);
		return rd_error_set(error, r, "cannot open %s/%s: %s", bpffs, map_names[i],
				    strerror(-r));
	}
	r = rd_maps_map(&maps);
	if (r) {
		rd_maps_close(&maps);
		return rd_error_set(error, r, "cannot map the maps pinned in %s: %s", bpffs,
				    strerror(-r));
	}
	*ret_maps = maps;
	return 0;
}

/* ---- limits -------------------------------------------------------------------- */

struct rd_limits rd_limits_of(uint32_t max_services, uint32_t max_backends)
{
	struct rd_limits limits = {
		.max_services = max_services,
		/* Five ports to four Services, and three addresses to each Service, node
		 * ports among them: an average, what is full is said by name. */
		.max_ports = max_services + (max_services + 3) / 4,
		.max_frontends = max_services * 3,
		/* A changed set is written beside the old one before it replaces it, and
		 * ranges wait for a grace period before they are used again. */
		.max_slots = max_backends + max_backends / 8 + 64,
	};

	/* A quarter of the places stays free, so that look-ups are short. */
	while ((3ULL << limits.frontend_bits) / 4 < limits.max_frontends)
		limits.frontend_bits++;
	return limits;
}

struct rd_limits rd_maps_limits(const struct rd_maps *maps)
{
	/* rd_services is five quarters of the Services, rounded up. */
	struct rd_limits limits = rd_limits_of(maps->entries[RD_MAP_SERVICES] * 4ULL / 5, 0);

	limits.max_slots = maps->entries[RD_MAP_BACKENDS];
	limits.multiplier = maps->filter->multiplier;
	return limits;
}

/* ---- reading ----------------------------------------------------------------------- */

/*
 * Read a whole hash map.
 *
 * @keys, @values: room for every entry the map can have
 * Returns how many there are, or -errno.
 */
static int64_t read_all(int fd, uint32_t entries, void *keys, size_t key_size, void *values,
			size_t value_size)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	uint32_t total = 0, position = 0;
	bool first = true;

	while (total < entries) {
		uint32_t n = entries - total;
		int r = bpf_map_lookup_batch(fd, first ? NULL : &position, &position,
					     (char *)keys + total * key_size,
					     (char *)values + total * value_size, &n, &opts);

		if (r && errno != ENOENT)
			return -errno;
		total += n;
		first = false;
		if (r)
			break;
	}
	return total;
}

/* An entry of rd_services. */
struct named {
	__u32 id;
	const struct rd_service *record;
};

/* By port and protocol, the order in which a Service's ports are listed. */
static int compare_named(const void *a, const void *b)
{
	const struct rd_service *x = ((const struct named *)a)->record;
	const struct rd_service *y = ((const struct named *)b)->record;

	return (int)x->port - (int)y->port ?: (int)x->protocol - (int)y->protocol;
}

static int adopt_services(const struct rd_maps *maps, struct rd_plan *plan)
{
	uint32_t entries = maps->entries[RD_MAP_SERVICES];
	_rd_free_ __u32 *ids = calloc(entries, sizeof(*ids));
	_rd_free_ struct rd_service *records = calloc(entries, sizeof(*records));
	_rd_free_ struct named *sorted = calloc(entries, sizeof(*sorted));
	int64_t n;

	if (!ids || !records || !sorted)
		return -ENOMEM;
	n = read_all(maps->fd[RD_MAP_SERVICES], entries, ids, sizeof(*ids), records,
		     sizeof(*records));
	for (int64_t i = 0; i < n; i++) {
		records[i].namespace[RD_LABEL_MAX - 1] = '\0';
		records[i].name[RD_LABEL_MAX - 1] = '\0';
		records[i].port_name[RD_LABEL_MAX - 1] = '\0';
		sorted[i] = (struct named){.id = ids[i], .record = &records[i]};
	}
	if (n > 0)
		qsort(sorted, (size_t)n, sizeof(*sorted), compare_named);
	for (int64_t i = 0; i < n; i++) {
		int r = rd_plan_adopt_service(plan, sorted[i].id, sorted[i].record);

		if (r && r != -ERANGE)
			return r;
	}
	return n < 0 ? (int)n : 0;
}

static int adopt_frontends(const struct rd_maps *maps, struct rd_plan *plan)
{
	uint32_t places = rd_limits_places(&plan->limits);
	int r = places > maps->entries[RD_MAP_FRONTENDS] ? -EPROTO : 0;

	for (uint32_t i = 0; !r && i < places; i++) {
		struct rd_frontend frontend = maps->frontends[i];

		r = rd_plan_adopt_frontend(plan, i, &frontend, maps->backends);
	}
	return r;
}

static int adopt_nodes(const struct rd_maps *maps, struct rd_plan *plan)
{
	uint32_t entries = maps->entries[RD_MAP_NODEADDRS];
	_rd_free_ struct rd_nodeaddr *keys = calloc(entries, sizeof(*keys));
	_rd_free_ __u32 *values = calloc(entries, sizeof(*values));
	int64_t n;

	if (!keys || !values)
		return -ENOMEM;
	n = read_all(maps->fd[RD_MAP_NODEADDRS], entries, keys, sizeof(*keys), values,
		     sizeof(*values));
	for (int64_t i = 0; i < n; i++)
		if (rd_plan_adopt_node(plan, &keys[i], values[i]))
			return -ENOMEM;
	return n < 0 ? (int)n : 0;
}

int rd_maps_adopt(const struct rd_maps *maps, struct rd_plan *plan)
{
	int r = adopt_nodes(maps, plan);

	return r ?: adopt_services(maps, plan) ?: adopt_frontends(maps, plan);
}

/* ---- writing -------------------------------------------------------------------------- */

/* Many in one system call; all of them at once would touch memory that is new. */
static int put_names(struct rd_maps *maps, const struct rd_plan *plan, const struct rd_ops *ops,
		     uint64_t *writes)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	struct rd_service records[64];
	__u32 ids[RD_ARRAY_SIZE(records)];
	size_t i = 0;

	while (i < ops->n_names) {
		uint32_t n = 0;
		int r;

		for (; i < ops->n_names && n < RD_ARRAY_SIZE(records); i++) {
			const struct rd_planned_port *port = rd_plan_port(plan, ops->names[i].id);

			if (!port)
				continue;
			ids[n] = port->id;
			records[n++] = port->record;
		}
		if (!n)
			continue;
		r = bpf_map_update_batch(maps->fd[RD_MAP_SERVICES], ids, records, &n, &opts);
		*writes += n;
		if (r)
			return -errno;
	}
	return 0;
}

/* Programs are reading: of a new frontend they find nothing before its word. */
static void put_frontend(struct rd_maps *maps, const struct rd_op_frontend *op)
{
	struct rd_frontend *frontend = &maps->frontends[op->place];

	if (op->is_new) {
		memcpy(frontend->key.addr, op->value.key.addr, sizeof(frontend->key.addr));
		frontend->service = op->value.service;
		__atomic_store_n(&frontend->key.tail, op->value.key.tail, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&frontend->word, op->value.word, __ATOMIC_RELEASE);
}

/* From here on, unconnected UDP sockets look again, and so does a connect that
 * has found nothing meanwhile. */
static void next_epoch(struct rd_maps *maps)
{
	__atomic_fetch_add(&maps->filter->epoch, 1, __ATOMIC_SEQ_CST);
}

static int write_node(struct rd_maps *maps, const struct rd_op_node *op)
{
	int fd = maps->fd[RD_MAP_NODEADDRS];

	if (op->node != RD_NODE_GONE)
		return bpf_map_update_elem(fd, &op->address, &op->node, BPF_ANY) ? -errno : 0;
	return bpf_map_delete_elem(fd, &op->address) && errno != ENOENT ? -errno : 0;
}

/* Hand on what a slot that is given up has counted. Programs may go on counting
 * there until the next grace period. */
static void fold_slot(struct rd_maps *maps, const struct rd_plan *plan, uint32_t slot)
{
	__u64 *chosen = &maps->backends[slot].chosen;
	uint32_t moved;
	uint64_t n;

	if (!*(volatile __u64 *)chosen)
		return;
	n = __atomic_exchange_n(chosen, 0, __ATOMIC_RELAXED);
	if (rd_plan_moved(plan, slot, &moved))
		__atomic_fetch_add(&maps->backends[moved].chosen, n, __ATOMIC_RELAXED);
	else
		__atomic_fetch_add(&maps->service_stats[plan->slot_port[slot]].chosen, n,
				   __ATOMIC_RELAXED);
}

void rd_maps_fold(struct rd_maps *maps, const struct rd_plan *plan)
{
	const struct rd_alloc *ranges = &plan->ranges;

	for (uint32_t i = rd_alloc_next_limbo(ranges, 0); i < ranges->size;
	     i = rd_alloc_next_limbo(ranges, i + 1))
		fold_slot(maps, plan, i);
}

int rd_maps_apply(struct rd_maps *maps, const struct rd_plan *plan, const struct rd_ops *ops,
		  uint64_t *ret_writes)
{
	int r = 0;

	*ret_writes = 0;
	/* Before anything has these ids; no program uses what they counted before. */
	for (size_t i = 0; i < ops->n_new_backends; i++)
		if (ops->new_backends[i] < maps->entries[RD_MAP_BACKEND_STATS])
			maps->backend_stats[ops->new_backends[i]] = (struct rd_backend_stats){0};
	for (size_t i = 0; i < ops->n_names; i++)
		if (ops->names[i].is_new) {
			maps->service_stats[ops->names[i].id] = (struct rd_service_stats){0};
			if (ops->names[i].id < maps->entries[RD_MAP_LATENCY])
				maps->latency[ops->names[i].id] = (struct rd_latency){0};
		}
	for (size_t i = 0; i < ops->n_slots; i++) {
		memcpy(maps->backends + ops->slots[i].first, plan->slots + ops->slots[i].first,
		       ops->slots[i].count * sizeof(*maps->backends));
		*ret_writes += ops->slots[i].count;
	}
	for (size_t i = 0; i < ops->n_emptied; i++)
		maps->frontends[ops->emptied[i]].key = (struct rd_key){0};
	for (size_t i = 0; i < ops->n_filter_set; i++)
		maps->filter->bits[ops->filter_set[i] / 64] |= 1ULL << ops->filter_set[i] % 64;
	for (size_t i = 0; i < ops->n_nodes; i++, ++*ret_writes) {
		r = write_node(maps, &ops->nodes[i]);
		if (r)
			return r;
	}
	r = put_names(maps, plan, ops, ret_writes);
	if (r)
		return r;
	/* The bits and slots before any word that points at them. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (size_t i = 0; i < ops->n_puts; i++, ++*ret_writes)
		put_frontend(maps, &ops->puts[i]);
	if (ops->n_puts && ops->n_gone)
		next_epoch(maps);
	for (size_t i = 0; i < ops->n_gone; i++, ++*ret_writes)
		__atomic_store_n(&maps->frontends[ops->gone[i].place].word, 0, __ATOMIC_RELEASE);
	for (size_t i = 0; i < ops->n_retired; i++)
		for (uint32_t s = 0; s < ops->retired[i].count; s++)
			fold_slot(maps, plan, ops->retired[i].first + s);
	if (ops->n_puts || ops->n_gone || ops->n_nodes)
		next_epoch(maps);
	for (size_t i = 0; i < ops->n_gone_names; i++, ++*ret_writes)
		if (bpf_map_delete_elem(maps->fd[RD_MAP_SERVICES], &ops->gone_names[i]) &&
		    errno != ENOENT)
			return -errno;
	for (size_t i = 0; i < ops->n_filter_clear; i++)
		maps->filter->bits[ops->filter_clear[i] / 64] &=
			~(1ULL << ops->filter_clear[i] % 64);
	return 0;
}

/* ---- counters ------------------------------------------------------------------------------ */

/* How often the slots of a port were chosen: those of one backend, or all. */
static uint64_t count_slots(const struct rd_maps *maps, const struct rd_planned_port *port,
			    const uint32_t *id)
{
	uint64_t n = 0;

	for (size_t i = 0; i < port->n_ranges; i++) {
		const struct rd_range *range = &port->ranges[i];

		for (uint32_t s = range->first; s < range->first + range->count; s++)
			if (!id || *id == maps->backends[s].id)
				n += maps->backends[s].chosen;
	}
	return n;
}

/* A socket may outlive its Service, and then close on another's account. */
static uint32_t positive(__s32 open)
{
	return open > 0 ? (uint32_t)open : 0;
}

void rd_maps_count(const struct rd_maps *maps, const struct rd_planned_port *port,
		   struct rd_counts *ret_counts)
{
	const struct rd_service_stats *stats = &maps->service_stats[port->id];
	uint64_t chosen = stats->chosen + count_slots(maps, port, NULL);
	uint64_t flows = stats->flows;

	*ret_counts = (struct rd_counts){
		/* They are read one after the other while programs count. */
		.connects = chosen > flows ? chosen - flows : 0,
		.flows = flows,
		.refused = stats->refused,
		.refused_local = stats->refused_local,
		.affinity_hits = stats->affinity_hits,
		.established = stats->established,
		.failed = stats->failed,
		.timed_out = stats->timed_out,
		.open = positive(stats->open),
		.latency_us = stats->latency_us,
	};
	for (size_t i = 0; i < RD_LATENCY_BUCKETS && port->id < maps->entries[RD_MAP_LATENCY]; i++)
		ret_counts->latency[i] = maps->latency[port->id].bucket[i];
}

uint64_t rd_maps_chosen(const struct rd_maps *maps, const struct rd_planned_port *port, uint32_t id)
{
	return count_slots(maps, port, &id);
}

struct rd_backend_stats rd_maps_outcomes(const struct rd_maps *maps, uint32_t id)
{
	struct rd_backend_stats stats = {0};

	if (id < maps->entries[RD_MAP_BACKEND_STATS])
		stats = maps->backend_stats[id];
	stats.open = (__s32)positive(stats.open);
	return stats;
}

int rd_maps_totals(const struct rd_maps *maps, struct rd_totals *ret_totals)
{
	int processors = libbpf_num_possible_cpus();
	_rd_free_ struct rd_totals *each = NULL;
	__u32 zero = 0;

	if (processors < 0)
		return processors;
	each = calloc((size_t)processors, sizeof(*each));
	if (!each)
		return -ENOMEM;
	if (bpf_map_lookup_elem(maps->fd[RD_MAP_TOTALS], &zero, each))
		return -errno;
	*ret_totals = (struct rd_totals){0};
	for (int i = 0; i < processors; i++) {
		ret_totals->misses += each[i].misses;
		ret_totals->spills += each[i].spills;
	}
	return 0;
}

/* ---- the responder on this node ----------------------------------------------------------- */

/* Put a socket into rd_dns_life that will be gone when this process is. Only one
 * that has a port can be in there. */
static int begin_life(struct rd_maps *maps)
{
	_rd_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in loopback = {.sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	__u32 zero = 0;

	if (maps->life >= 0)
		return 0;
	if (fd < 0 || bind(fd, (struct sockaddr *)&loopback, sizeof(loopback)) ||
	    bpf_map_update_elem(maps->fd[RD_MAP_DNS_LIFE], &zero, &fd, BPF_ANY))
		return -errno;
	maps->life = fd;
	fd = -1;
	return 0;
}

int rd_maps_serve_dns(struct rd_maps *maps, const struct rd_dns *dns)
{
	int r = begin_life(maps);

	/* Programs read the address only before the time. */
	if (r || memcmp(maps->dns->addr4, dns->addr4, sizeof(*dns) - sizeof(dns->until_ns))) {
		__atomic_store_n(&maps->dns->until_ns, 0, __ATOMIC_SEQ_CST);
		*maps->dns = (struct rd_dns){0};
	}
	if (r)
		return r;
	memcpy(maps->dns->addr4, dns->addr4, sizeof(*dns) - sizeof(dns->until_ns));
	__atomic_store_n(&maps->dns->until_ns, dns->until_ns, __ATOMIC_SEQ_CST);
	return 0;
}

/* ---- records that others write ---------------------------------------------------------- */

bool rd_maps_socket(const struct rd_maps *maps, uint32_t index, struct rd_socket *ret_socket)
{
	struct rd_socket first, second;

	/* Programs write without a lock: take what two looks agree on. */
	for (int tries = 0; tries < 100; tries++) {
		memcpy(&first, maps->sockets + index, sizeof(first));
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		memcpy(&second, maps->sockets + index, sizeof(second));
		if (memcmp(&first, &second, sizeof(first)))
			continue;
		if (!first.inode || first.inode == RD_SOCKET_WRITTEN)
			return false;
		*ret_socket = first;
		return true;
	}
	return false;
}

bool rd_maps_socket_of(const struct rd_maps *maps, uint64_t inode, struct rd_socket *ret_socket)
{
	for (uint32_t i = 0; i < maps->entries[RD_MAP_SOCKETS]; i++)
		if (rd_maps_socket(maps, i, ret_socket) && ret_socket->inode == inode)
			return true;
	return false;
}

bool rd_maps_service(const struct rd_maps *maps, uint32_t id, struct rd_service *ret_service)
{
	if (bpf_map_lookup_elem(maps->fd[RD_MAP_SERVICES], &id, ret_service))
		return false;
	ret_service->namespace[RD_LABEL_MAX - 1] = '\0';
	ret_service->name[RD_LABEL_MAX - 1] = '\0';
	ret_service->port_name[RD_LABEL_MAX - 1] = '\0';
	return true;
}

void rd_maps_say(struct rd_maps *maps, const struct rd_agent *agent)
{
	uint32_t sequence = maps->agent->sequence | 1;
	size_t body = offsetof(struct rd_agent, pid);

	__atomic_store_n(&maps->agent->sequence, sequence, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memcpy((char *)maps->agent + body, (const char *)agent + body, sizeof(*agent) - body);
	maps->agent->layout = RD_LAYOUT_VERSION;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&maps->agent->sequence, sequence + 1, __ATOMIC_RELAXED);
}

void rd_maps_heard(const struct rd_maps *maps, struct rd_agent *ret_agent)
{
	/* An agent that died in the middle leaves the sequence odd: take it so. */
	for (int tries = 0; tries < 1000; tries++) {
		uint32_t before = __atomic_load_n(&maps->agent->sequence, __ATOMIC_ACQUIRE);

		memcpy(ret_agent, maps->agent, sizeof(*ret_agent));
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (!(before & 1) &&
		    before == __atomic_load_n(&maps->agent->sequence, __ATOMIC_RELAXED))
			break;
	}
	/* Text that another writer left without an end. */
	ret_agent->version[sizeof(ret_agent->version) - 1] = '\0';
	ret_agent->source[sizeof(ret_agent->source) - 1] = '\0';
	ret_agent->cgroup[sizeof(ret_agent->cgroup) - 1] = '\0';
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * maps.h - the BPF maps as the agent and the commands use them: open what is
 * pinned, read it into a plan, write a plan's operations.
 */
#ifndef REDIAL_MAPS_H
#define REDIAL_MAPS_H

#include "plan.h"

enum rd_map {
	RD_MAP_FRONTENDS,
	RD_MAP_BACKENDS,
	RD_MAP_SOCKETS,
	RD_MAP_SPILL,
	RD_MAP_UDP_FLOWS,
	RD_MAP_FILTER,
	RD_MAP_NODEADDRS,
	RD_MAP_AFFINITY,
	RD_MAP_SERVICE_STATS,
	RD_MAP_BACKEND_STATS,
	RD_MAP_LATENCY,
	RD_MAP_TOTALS,
	RD_MAP_RANDOM,
	RD_MAP_EVENTS,
	RD_MAP_WATCH,
	RD_MAP_DNS,
	RD_MAP_DNS_LIFE,
	RD_MAP_SERVICES,
	RD_MAP_AGENT,
	RD_MAPS
};

/* The name of a map, in the BPF object and as a pin. */
const char *rd_map_name(enum rd_map map);

struct rd_maps {
	int fd[RD_MAPS]; /* owned; -1: not open */
	uint32_t entries[RD_MAPS];
	bool writable;
	int life; /* a socket, in rd_dns_life; -1: none */
	/* Mapped memory of the arrays; read-only unless writable. */
	struct rd_frontend *frontends;
	struct rd_slot *backends;
	struct rd_socket *sockets;
	struct rd_filter *filter;
	struct rd_service_stats *service_stats;
	struct rd_backend_stats *backend_stats;
	struct rd_latency *latency;
	struct rd_watch *watch;
	struct rd_dns *dns;
	struct rd_agent *agent;
};

/* A value to begin with: nothing open. */
#define RD_MAPS_NONE ((struct rd_maps){.fd = {[0 ... RD_MAPS - 1] = -1}, .life = -1})

/*
 * Open the maps pinned in `bpffs`.
 *
 * Returns 0; -ENOENT if nothing is pinned there; -EPROTO if the layout is of
 * another version; other -errno. @error says what to do. @ret_maps must be
 * closed.
 */
int rd_maps_open(const char *bpffs, struct rd_maps *ret_maps, struct rd_error *error);

/* Map the arrays of maps whose descriptors are set. Returns 0 or -errno. */
int rd_maps_map(struct rd_maps *maps);
void rd_maps_close(struct rd_maps *maps);

/* Draw the random numbers that maps that are new begin with. Returns 0 or -errno. */
int rd_maps_seed(struct rd_maps *maps);

/* Check the layout version of the maps pinned in `bpffs`.
 * Returns 0, also if there are none yet, -EPROTO or another -errno. */
int rd_maps_check_layout(const char *bpffs, struct rd_error *error);

/* The limits for given flags, but for the multiplier, and those that opened maps
 * were made for. */
struct rd_limits rd_limits_of(uint32_t max_services, uint32_t max_backends);
struct rd_limits rd_maps_limits(const struct rd_maps *maps);

/* Read all that is in the maps into a plan just created. While an agent writes
 * them the result is a mixture of before and after.
 * Returns 0 or -errno. */
int rd_maps_adopt(const struct rd_maps *maps, struct rd_plan *plan);

/* Perform operations taken from `plan`.
 * @ret_writes: elements written or deleted, also on failure
 * Returns 0 or -errno; after a failure the maps hold a part of them. */
int rd_maps_apply(struct rd_maps *maps, const struct rd_plan *plan, const struct rd_ops *ops,
		  uint64_t *ret_writes);

/* A copy of rd_sockets[index] that no program was writing.
 * Returns false if the slot is free. */
bool rd_maps_socket(const struct rd_maps *maps, uint32_t index, struct rd_socket *ret_socket);

/* The record of the open socket whose inode has this number, if it has a slot. */
bool rd_maps_socket_of(const struct rd_maps *maps, uint64_t inode, struct rd_socket *ret_socket);

/* The names of a Service port, from rd_services. Returns false if there is none
 * with this id. */
bool rd_maps_service(const struct rd_maps *maps, uint32_t id, struct rd_service *ret_service);

/* What has been counted for a Service port since it was first served. */
struct rd_counts {
	uint64_t connects; /* sockets that connect() redialled */
	uint64_t flows;	   /* taken up by unconnected UDP sockets */
	uint64_t refused;
	uint64_t refused_local;
	uint64_t affinity_hits;
	uint64_t established; /* TCP, with --track-outcomes */
	uint64_t failed;
	uint64_t timed_out;
	uint64_t open;			      /* now */
	uint64_t latency[RD_LATENCY_BUCKETS]; /* see struct rd_latency */
	uint64_t latency_us;
};

/* Count for one Service port of a plan that was adopted from these maps. */
void rd_maps_count(const struct rd_maps *maps, const struct rd_planned_port *port,
		   struct rd_counts *ret_counts);

/* The same for one of its backends, by its id: how often it was chosen. */
uint64_t rd_maps_chosen(const struct rd_maps *maps, const struct rd_planned_port *port,
			uint32_t id);

/* What became of TCP connects to a backend, by its id. `open` is not negative;
 * all is 0 where nobody asked for it. */
struct rd_backend_stats rd_maps_outcomes(const struct rd_maps *maps, uint32_t id);

/* Of the whole node: connects that were no Service's, and records of sockets
 * that had no slot of their own. Returns 0 or -errno. */
int rd_maps_totals(const struct rd_maps *maps, struct rd_totals *ret_totals);

/* Hand on what slots in limbo have counted: to the endpoint's new slot, or to its
 * Service port. After a grace period and before rd_plan_grace. */
void rd_maps_fold(struct rd_maps *maps, const struct rd_plan *plan);

/*
 * From now on the clients of frontends with RD_FLAG_DNS come here, for as long
 * as the calling process lives and until dns->until_ns, or until this is called
 * again. until_ns 0: no longer.
 *
 * Returns 0 or -errno.
 */
int rd_maps_serve_dns(struct rd_maps *maps, const struct rd_dns *dns);

/* The agent's words of itself: write, or take a consistent copy. */
void rd_maps_say(struct rd_maps *maps, const struct rd_agent *agent);
void rd_maps_heard(const struct rd_maps *maps, struct rd_agent *ret_agent);

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * syncs.h - how the maps follow the sources: since when a change waits, when one
 * was last in the maps, how long that took, and whether it is good enough to be
 * called alive. Pure: who tells what happened says when.
 *
 * Two clocks: `now_ns` and `began_ns` are monotonic, `realtime_ns` is the time of
 * day.
 */
#ifndef REDIAL_SYNCS_H
#define REDIAL_SYNCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Buckets are kube-proxy's; the last one has no bound. Each counts for itself. */

/* 1 ms and its doubles. */
#define RD_SYNC_BUCKETS 16
uint32_t rd_sync_bound_ms(size_t bucket);

/* 250 and 500 ms, each second to 59, each fifth to 115, each thirtieth to 300. */
#define RD_PROGRAMMING_BUCKETS (2 + 59 + 12 + 7 + 1)
uint32_t rd_programming_bound_ms(size_t bucket);

struct rd_syncs {
	uint64_t waiting_since_ns; /* monotonic; the oldest change not applied; 0: none */
	uint64_t last_queued_ns;   /* realtime; a change was noticed; 0: never */
	uint64_t last_sync_ns;	   /* realtime; a sync ended well; 0: never */
	/* How long a sync took, and endpoints from their change to the maps. */
	uint64_t took[RD_SYNC_BUCKETS];
	uint64_t took_sum_ns;
	uint64_t programmed[RD_PROGRAMMING_BUCKETS];
	uint64_t programmed_sum_ns;
};

/* A change was noticed. */
void rd_syncs_queued(struct rd_syncs *syncs, uint64_t now_ns, uint64_t realtime_ns);

/* A sync is over. If it did not end well, what it was to apply goes on waiting. */
void rd_syncs_ended(struct rd_syncs *syncs, bool well, uint64_t began_ns, uint64_t now_ns,
		    uint64_t realtime_ns);

/* Endpoints are in the maps, of which something that happened at `trigger_ns` is
 * the cause. The clocks of two machines are not quite the same: what was yet to
 * happen took no time. */
void rd_syncs_programmed(struct rd_syncs *syncs, uint64_t trigger_ns, uint64_t realtime_ns);

/* Whether no change has waited for too long, which is more than 60 s: twice
 * kube-proxy's sync period (I1). Until the first sync ends well it is starting,
 * and may take its time. */
bool rd_syncs_are_timely(const struct rd_syncs *syncs, uint64_t now_ns);

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * stats.h - the counters. A connect counts in the slot of its backend, whose
 * cache line it has at hand; what is rarer counts by Service.
 */
#ifndef REDIAL_STATS_H
#define REDIAL_STATS_H

#include "backend.h"
#include "maps.h"
#include "service.h"

static __always_inline struct rd_service_stats *rd_stats_of(__u32 service)
{
	return bpf_map_lookup_elem(&rd_service_stats, &service);
}

#define rd_count(counter) __sync_fetch_and_add(&(counter), 1)

/* A backend was given to a connect. */
static __always_inline void rd_count_connect(const struct rd_found *found,
					     const struct rd_choice *choice)
{
	struct rd_service_stats *stats;

	rd_count(*choice->chosen);
	if (!choice->again)
		return;
	stats = rd_stats_of(found->service);
	if (stats)
		rd_count(stats->affinity_hits);
}

/* A backend was given to a flow of an unconnected UDP socket. */
static __always_inline void rd_count_flow(const struct rd_found *found,
					  const struct rd_choice *choice)
{
	struct rd_service_stats *stats = rd_stats_of(found->service);

	rd_count_connect(found, choice);
	if (stats)
		rd_count(stats->flows);
}

static __always_inline void rd_count_refusal(const struct rd_found *found)
{
	struct rd_service_stats *service = rd_stats_of(found->service);

	if (!service)
		return;
	if (found->local)
		rd_count(service->refused_local);
	else
		rd_count(service->refused);
}

/* The record of a socket is given up: if it was connected, it is no longer. */
static __always_inline void rd_count_close(struct rd_socket *record)
{
	struct rd_service_stats *stats;
	struct rd_backend_stats *backend;
	__u32 id;

	if (!record || !record->established)
		return;
	record->established = 0;
	id = record->backend;
	stats = rd_stats_of(record->service);
	backend = bpf_map_lookup_elem(&rd_backend_stats, &id);
	if (stats)
		__sync_fetch_and_sub(&stats->open, 1);
	if (backend)
		__sync_fetch_and_sub(&backend->open, 1);
}

static __always_inline struct rd_totals *rd_totals_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&rd_totals, &zero);
}

static __always_inline void rd_count_miss(void)
{
	struct rd_totals *totals = rd_totals_here();

	if (totals)
		totals->misses++;
}

static __always_inline void rd_count_spill(void)
{
	struct rd_totals *totals = rd_totals_here();

	if (totals)
		totals->spills++;
}

#endif

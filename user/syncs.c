// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "syncs.h"

#define LATE_NS 60000000000ULL

uint32_t rd_sync_bound_ms(size_t bucket)
{
	return 1U << bucket;
}

uint32_t rd_programming_bound_ms(size_t bucket)
{
	uint32_t i = (uint32_t)bucket;

	if (i < 2)
		return 250 * (i + 1);
	if (i < 61)
		return 1000 * (i - 1);
	if (i < 73)
		return 60000 + 5000 * (i - 61);
	return 120000 + 30000 * (i - 73);
}

/* The first bucket of n whose bound the duration does not exceed. */
static size_t bucket_of(uint64_t ns, uint32_t (*bound_ms)(size_t bucket), size_t n)
{
	size_t i = 0;

	while (i + 1 < n && ns > bound_ms(i) * 1000000ULL)
		i++;
	return i;
}

void rd_syncs_queued(struct rd_syncs *syncs, uint64_t now_ns, uint64_t realtime_ns)
{
	syncs->last_queued_ns = realtime_ns;
	if (!syncs->waiting_since_ns)
		syncs->waiting_since_ns = now_ns;
}

void rd_syncs_ended(struct rd_syncs *syncs, bool well, uint64_t began_ns, uint64_t now_ns,
		    uint64_t realtime_ns)
{
	uint64_t took = now_ns - began_ns;

	syncs->took[bucket_of(took, rd_sync_bound_ms, RD_SYNC_BUCKETS)]++;
	syncs->took_sum_ns += took;
	if (well) {
		syncs->waiting_since_ns = 0;
		syncs->last_sync_ns = realtime_ns;
	} else if (!syncs->waiting_since_ns) {
		syncs->waiting_since_ns = began_ns;
	}
}

void rd_syncs_programmed(struct rd_syncs *syncs, uint64_t trigger_ns, uint64_t realtime_ns)
{
	uint64_t took = realtime_ns > trigger_ns ? realtime_ns - trigger_ns : 0;

	syncs->programmed[bucket_of(took, rd_programming_bound_ms, RD_PROGRAMMING_BUCKETS)]++;
	syncs->programmed_sum_ns += took;
}

bool rd_syncs_are_timely(const struct rd_syncs *syncs, uint64_t now_ns)
{
	return !syncs->last_sync_ns || !syncs->waiting_since_ns ||
	       now_ns - syncs->waiting_since_ns <= LATE_NS;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * outcome.h - what becomes of a TCP connect that was redialled: a sock_ops
 * program notes when its first packet is sent and whether it is answered. The
 * kernel calls it a few times for every connection; for those that are no
 * Service's it ends after a look for the socket's record.
 */
#ifndef REDIAL_OUTCOME_H
#define REDIAL_OUTCOME_H

#include "kernel.h"
#include "maps.h"
#include "socket.h"
#include "stats.h"

#define ETIMEDOUT 110

static __always_inline __u32 rd_now_us(void)
{
	return bpf_ktime_get_ns() / 1000;
}

static __always_inline void rd_count_latency(const struct rd_socket *record,
					     struct rd_service_stats *stats)
{
	__u32 service = record->service, bucket = 0;
	struct rd_latency *latency = bpf_map_lookup_elem(&rd_latency, &service);
	__u32 us = rd_now_us() - record->began_us;

	if (!latency || !record->began_us)
		return;
	__sync_fetch_and_add(&stats->latency_us, us);
#pragma clang loop unroll(disable)
	for (us >>= 7; us && bucket < RD_LATENCY_BUCKETS - 1; us >>= 2)
		bucket++;
	rd_count(latency->bucket[bucket % RD_LATENCY_BUCKETS]);
}

/* The connect under way has ended: established or not. */
static __always_inline void rd_outcome(struct bpf_sock_ops *ops, struct rd_socket *record)
{
	struct rd_service_stats *stats = rd_stats_of(record->service);
	__u32 id = record->backend;
	struct rd_backend_stats *backend = bpf_map_lookup_elem(&rd_backend_stats, &id);

	if (!stats)
		return;
	if (ops->args[1] == BPF_TCP_ESTABLISHED) {
		record->established = 1;
		rd_count(stats->established);
		rd_count(stats->open);
		if (backend)
			rd_count(backend->open);
		rd_count_latency(record, stats);
		return;
	}
	/* The application may also have lost patience: no error, and no answer. */
	if (rd_error_of(ops->sk) == ETIMEDOUT || !rd_error_of(ops->sk))
		rd_count(stats->timed_out);
	else
		rd_count(stats->failed);
	if (backend)
		rd_count(backend->failed);
}

#endif

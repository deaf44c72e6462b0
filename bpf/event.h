/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * event.h - tell who watches. Nobody does mostly: then it is one load of a line
 * that nobody writes. A ring that is full, or not read, costs the application
 * no more than that: the record is dropped and counted.
 */
#ifndef REDIAL_EVENT_H
#define REDIAL_EVENT_H

#include "address.h"
#include "backend.h"
#include "maps.h"
#include "service.h"

static __always_inline struct rd_watch *rd_watched(void)
{
	__u32 zero = 0;
	struct rd_watch *watch = bpf_map_lookup_elem(&rd_watch, &zero);

	if (!watch || !watch->until_ns || watch->until_ns < bpf_ktime_get_coarse_ns())
		return NULL;
	return watch;
}

/* @choice: NULL for a refusal */
static __always_inline void rd_tell(struct bpf_sock_addr *ctx, enum rd_form form,
				    const struct rd_peer *dialled, const struct rd_found *found,
				    const struct rd_choice *choice, enum rd_decision decision)
{
	struct rd_watch *watch = rd_watched();
	struct rd_event_record *record;

	if (!watch || (watch->refusals && decision != RD_REFUSED))
		return;
	record = bpf_ringbuf_reserve(&rd_events, sizeof(*record), 0);
	if (!record) {
		__sync_fetch_and_add(&watch->dropped, 1);
		return;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->time_ns = bpf_ktime_get_ns();
	record->cgroup = bpf_get_current_cgroup_id();
	record->netns = bpf_get_netns_cookie(ctx);
	record->pid = bpf_get_current_pid_tgid() >> 32;
	record->service = found->service;
	rd_addr_store(record->dialled_addr, dialled->addr, form);
	record->dialled_port = dialled->port;
	if (choice) {
		rd_addr_store(record->backend_addr, choice->peer.addr, form);
		record->backend_port = choice->peer.port;
	}
	record->family = rd_family(form);
	record->protocol = ctx->protocol;
	record->decision = decision;
	bpf_get_current_comm(record->command, sizeof(record->command));
	/* Waking the watcher would cost the application more than all the rest: it
	 * looks by itself, often enough. */
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
}

#endif

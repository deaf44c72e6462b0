/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow.h - unconnected UDP: which backend a socket has for each Service it
 * talks to, in its sk_storage. A socket keeps a backend for as long as that is
 * eligible, however the set changes around it.
 *
 * Two threads that send on one socket at once may both begin a flow; the
 * kernel does not lock the socket for sendmsg. Each writes a place of its own,
 * and the one that is found first is used from then on.
 */
#ifndef REDIAL_FLOW_H
#define REDIAL_FLOW_H

#include "address.h"
#include "backend.h"
#include "kernel.h"
#include "maps.h"

static __always_inline struct rd_flows *rd_flows_get(struct bpf_sock_addr *ctx, __u64 flags)
{
	return bpf_sk_storage_get(&rd_udp_flows, ctx->sk, 0, flags);
}

/* The flow last sent on, if that can be had at little cost. Every load from the
 * kernel's memory is checked, so there are few.
 * @ret_flow: of the addresses what `form` uses; untouched when nothing is found */
static __always_inline _Bool rd_flow_last(struct bpf_sock_addr *ctx, enum rd_form form,
					  struct rd_flow *ret_flow)
{
	const struct rd_flows *flows = rd_storage_peek(ctx->sk, &rd_udp_flows);
	const struct rd_flow *flow;

	if (!flows)
		return 0;
	flow = &flows->flow[flows->last % RD_FLOWS];
	ret_flow->epoch = flow->epoch;
	rd_addr_load((__be32 *)ret_flow->dialled_addr, flow->dialled_addr, form);
	rd_addr_load((__be32 *)ret_flow->backend_addr, flow->backend_addr, form);
	ret_flow->rest = *(const volatile __u64 *)&flow->rest;
	return 1;
}

static __always_inline _Bool rd_flow_is_to(const struct rd_flow *flow,
					   const struct rd_peer *dialled, enum rd_form form)
{
	return flow->family == rd_family(form) && flow->dialled_port == dialled->port &&
	       rd_addr_equal(flow->dialled_addr, dialled->addr, form);
}

static __always_inline _Bool rd_flow_is_from(const struct rd_flow *flow,
					     const struct rd_peer *backend, enum rd_form form)
{
	return flow->family == rd_family(form) && flow->backend_port == backend->port &&
	       rd_addr_equal(flow->backend_addr, backend->addr, form);
}

/*
 * The index of the flow to, or from, this peer; RD_FLOWS if there is none.
 *
 * A global function: the verifier walks the loop once by itself, and what the
 * caller does with the index once, not once for each index.
 */
__noinline __u32 rd_flow_search(const struct rd_flows *flows, const struct rd_peer *peer,
				__u32 form, _Bool from)
{
	if (!flows || !peer)
		return RD_FLOWS;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < RD_FLOWS; i++) {
		const struct rd_flow *flow = &flows->flow[i];

		/* They are filled in order. */
		if (!flow->family)
			break;
		if (from ? rd_flow_is_from(flow, peer, form) : rd_flow_is_to(flow, peer, form))
			return i;
	}
	return RD_FLOWS;
}

/* The flow that was last sent on if it is to, or from, this peer; else the
 * first that is; or NULL. @ret_index: its index. */
static __always_inline struct rd_flow *rd_flow_find(struct rd_flows *flows,
						    const struct rd_peer *peer, enum rd_form form,
						    _Bool from, __u32 *ret_index)
{
	__u32 index = flows->last % RD_FLOWS;
	struct rd_flow *last = &flows->flow[index];

	if (!(from ? rd_flow_is_from(last, peer, form) : rd_flow_is_to(last, peer, form))) {
		/* The verifier wants every byte of an argument set. */
		struct rd_peer whole = {.port = peer->port};

		rd_addr_store((__u8 *)whole.addr, peer->addr, form);
		index = rd_flow_search(flows, &whole, form, from);
		if (index >= RD_FLOWS)
			return NULL;
	}
	*ret_index = index;
	return &flows->flow[index];
}

/* The flow to this Service's address, or NULL. It becomes the last one. */
static __always_inline struct rd_flow *rd_flow_to(struct rd_flows *flows,
						  const struct rd_peer *dialled, enum rd_form form)
{
	struct rd_flow *flow;
	__u32 index;

	flow = rd_flow_find(flows, dialled, form, 0, &index);
	if (flow && flows->last != index)
		flows->last = index;
	return flow;
}

/* The flow that this backend answers, or NULL. If there are several, because
 * two Services have the backend, the one last sent on comes first. */
static __always_inline struct rd_flow *
rd_flow_from(struct rd_flows *flows, const struct rd_peer *backend, enum rd_form form)
{
	__u32 index;

	return rd_flow_find(flows, backend, form, 1, &index);
}

static __always_inline void rd_flow_set_backend(struct rd_flow *flow, const struct rd_peer *backend,
						enum rd_form form, __u64 epoch)
{
	rd_addr_store(flow->backend_addr, backend->addr, form);
	flow->backend_port = backend->port;
	flow->epoch = epoch;
}

static __always_inline void rd_flow_add(struct rd_flows *flows, const struct rd_peer *dialled,
					const struct rd_peer *backend, enum rd_form form,
					__u64 epoch)
{
	struct rd_flow *flow = &flows->flow[flows->next % RD_FLOWS];

	flows->last = flows->next++;
	rd_addr_store(flow->dialled_addr, dialled->addr, form);
	flow->dialled_port = dialled->port;
	rd_flow_set_backend(flow, backend, form, epoch);
	*(volatile __u8 *)&flow->family = rd_family(form);
}

/* The socket sends to this address itself: what comes from there is no longer
 * a Service's answer. */
static __always_inline void rd_flow_forget(struct rd_flows *flows, const struct rd_peer *backend,
					   enum rd_form form)
{
	struct rd_flow *flow = rd_flow_from(flows, backend, form);

	if (flow)
		flow->dialled_port = flow->backend_port = 0;
}

#endif

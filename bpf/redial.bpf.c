// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * redial.bpf.c - the hooks. Each is a few lines: it names its form of address
 * and calls the shared body.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "address.h"
#include "backend.h"
#include "dns.h"
#include "event.h"
#include "flow.h"
#include "maps.h"
#include "outcome.h"
#include "service.h"
#include "socket.h"
#include "stats.h"

#define ECONNREFUSED 111

enum rd_verdict {
	RD_DENY = 0,
	RD_PROCEED = 1,
};

/* The application reads ECONNREFUSED, as it would from a host where nothing
 * listens (SERVICE-SEMANTICS C2). */
static __always_inline int rd_refuse(struct bpf_sock_addr *ctx, enum rd_form form,
				     const struct rd_peer *dialled, const struct rd_found *found)
{
	rd_count_refusal(found);
	rd_tell(ctx, form, dialled, found, NULL, RD_REFUSED);
	if (rd_has_set_retval)
		bpf_set_retval(-ECONNREFUSED);
	return RD_DENY;
}

/*
 * The body of both connect hooks: if the destination is a Service, connect the
 * socket to one of its backends instead. In any doubt the connect goes on
 * untranslated. A refused connect leaves the socket as it was, record and all.
 */
static __always_inline int rd_redial(struct bpf_sock_addr *ctx, enum rd_form form)
{
	const struct rd_filter *filter = rd_filter_get();
	struct rd_peer dialled = rd_peer_load(ctx, form);
	struct rd_choice choice;
	struct rd_found found;
	_Bool here;

	if (!filter || !rd_service_find(ctx, filter, &dialled, form, &found)) {
		rd_count_miss();
		rd_socket_forget(ctx);
		return RD_PROCEED;
	}
	here = rd_dns_choose(&found, form, &choice);
	if (!here && !rd_word_count(found.word))
		return rd_refuse(ctx, form, &dialled, &found);
	if (!here && !rd_backend_choose(ctx, &found, form, &choice)) {
		rd_socket_forget(ctx);
		return RD_PROCEED;
	}
	rd_socket_remember(ctx, form, &dialled, &choice, found.service);
	rd_peer_store(ctx, form, &choice.peer);
	rd_tell(ctx, form, &dialled, &found, &choice, RD_CONNECTED);
	/* Last: it waits for the backend's cache line, and all after it would as well. */
	rd_count_connect(&found, &choice);
	return RD_PROCEED;
}

/* Send where the flow leads, if it was found eligible in this epoch. */
static __always_inline _Bool rd_send_on(struct bpf_sock_addr *ctx, enum rd_form form,
					const struct rd_flow *flow, __u64 epoch)
{
	struct rd_peer backend;

	if (flow->epoch != epoch)
		return 0;
	rd_addr_load(backend.addr, flow->backend_addr, form);
	backend.port = flow->backend_port;
	rd_peer_store(ctx, form, &backend);
	return 1;
}

/*
 * The body of both sendmsg hooks, which run for a datagram with an address: as
 * redial, but the socket keeps the backend it was given for a Service for as
 * long as that is one.
 */
static __always_inline int rd_send(struct bpf_sock_addr *ctx, enum rd_form form)
{
	const struct rd_filter *filter = rd_filter_get();
	struct rd_peer dialled = rd_peer_load(ctx, form);
	struct rd_choice choice = {};
	struct rd_peer former = {};
	struct rd_flows *flows;
	struct rd_flow *flow;
	struct rd_found found;
	struct rd_flow last;
	_Bool here, kept;
	__u64 epoch;

	if (!filter)
		return RD_PROCEED;
	/* Read before the look-up, so that a change during it is noticed later. */
	epoch = *(const volatile __u64 *)&filter->epoch;
	if (rd_flow_last(ctx, form, &last) && rd_flow_is_to(&last, &dialled, form) &&
	    rd_send_on(ctx, form, &last, epoch))
		return RD_PROCEED;
	flows = rd_flows_get(ctx, 0);
	flow = flows ? rd_flow_to(flows, &dialled, form) : NULL;
	if (flow && rd_send_on(ctx, form, flow, epoch))
		return RD_PROCEED;
	if (flow) {
		rd_addr_load(former.addr, flow->backend_addr, form);
		former.port = flow->backend_port;
	}
	if (!rd_service_find(ctx, filter, &dialled, form, &found)) {
		if (flows)
			rd_flow_forget(flows, &dialled, form);
		return RD_PROCEED;
	}
	here = rd_dns_choose(&found, form, &choice);
	if (!here && !rd_word_count(found.word))
		return rd_refuse(ctx, form, &dialled, &found);
	kept = flow && !here && rd_backend_find(found.word, &former, form, &choice);
	if (!here && !kept && !rd_backend_choose(ctx, &found, form, &choice))
		return RD_PROCEED;
	if (here)
		epoch = RD_ASK_AGAIN;
	if (!kept && !(flow && !rd_peer_compare(&former, &choice.peer, form))) {
		rd_count_flow(&found, &choice);
		rd_tell(ctx, form, &dialled, &found, &choice, RD_FLOW);
	}
	if (flow) {
		rd_flow_set_backend(flow, &choice.peer, form, epoch);
	} else {
		flows = flows ?: rd_flows_get(ctx, BPF_SK_STORAGE_GET_F_CREATE);
		/* Without memory the datagram goes its way, and an answer would come
		 * from the backend's own address. */
		if (flows)
			rd_flow_add(flows, &dialled, &choice.peer, form, epoch);
	}
	rd_peer_store(ctx, form, &choice.peer);
	return RD_PROCEED;
}

/* Put the Service in the backend's place. */
static __always_inline void rd_show(struct bpf_sock_addr *ctx, enum rd_form form,
				    const __u8 *dialled_addr, __u16 dialled_port)
{
	struct rd_peer dialled;

	rd_addr_load(dialled.addr, dialled_addr, form);
	dialled.port = dialled_port;
	rd_peer_store(ctx, form, &dialled);
}

/* If the peer is the backend of what this socket is connected to, or of a flow,
 * show the Service. */
static __always_inline void rd_show_service(struct bpf_sock_addr *ctx, enum rd_form form,
					    const struct rd_socket *record,
					    const struct rd_flows *flows)
{
	struct rd_peer peer = rd_peer_load(ctx, form);

	if (record && record->family == rd_family(form) && record->backend_port == peer.port &&
	    rd_addr_equal(record->backend_addr, peer.addr, form)) {
		rd_show(ctx, form, record->dialled_addr, record->dialled_port);
	} else if (flows) {
		const struct rd_flow *flow = rd_flow_from((struct rd_flows *)flows, &peer, form);

		if (flow)
			rd_show(ctx, form, flow->dialled_addr, flow->dialled_port);
	}
}

/* The body of both getpeername hooks: the peer of a redialled socket is the
 * Service it dialled, for as long as it is connected to that backend. */
static __always_inline int rd_getpeername(struct bpf_sock_addr *ctx, enum rd_form form)
{
	rd_show_service(ctx, form, rd_socket_find(ctx->sk), NULL);
	return RD_PROCEED;
}

/* The body of both recvmsg hooks: a datagram from a backend comes from the
 * Service that this socket sent to, or is connected to. A record outlives the
 * connection: no hook tells of connect(AF_UNSPEC). */
static __always_inline int rd_receive(struct bpf_sock_addr *ctx, enum rd_form form)
{
	_Bool connected = ctx->sk->state == BPF_TCP_ESTABLISHED;
	struct rd_peer peer = rd_peer_load(ctx, form);
	struct rd_flow last;

	if (!connected && rd_flow_last(ctx, form, &last) && rd_flow_is_from(&last, &peer, form)) {
		rd_show(ctx, form, last.dialled_addr, last.dialled_port);
		return RD_PROCEED;
	}
	rd_show_service(ctx, form, connected ? rd_socket_find(ctx->sk) : NULL, rd_flows_get(ctx, 0));
	return RD_PROCEED;
}

SEC("cgroup/connect4")
int rd_connect4(struct bpf_sock_addr *ctx)
{
	return rd_redial(ctx, RD_FORM_IP4);
}

SEC("cgroup/connect6")
int rd_connect6(struct bpf_sock_addr *ctx)
{
	return rd_is_mapped(ctx) ? rd_redial(ctx, RD_FORM_MAPPED) : rd_redial(ctx, RD_FORM_IP6);
}

/* A mapped destination of an AF_INET6 socket comes here, not to sendmsg6. */
SEC("cgroup/sendmsg4")
int rd_sendmsg4(struct bpf_sock_addr *ctx)
{
	return rd_send(ctx, RD_FORM_IP4);
}

SEC("cgroup/sendmsg6")
int rd_sendmsg6(struct bpf_sock_addr *ctx)
{
	return rd_send(ctx, RD_FORM_IP6);
}

SEC("cgroup/recvmsg4")
int rd_recvmsg4(struct bpf_sock_addr *ctx)
{
	return rd_receive(ctx, RD_FORM_IP4);
}

SEC("cgroup/recvmsg6")
int rd_recvmsg6(struct bpf_sock_addr *ctx)
{
	return rd_is_mapped(ctx) ? rd_receive(ctx, RD_FORM_MAPPED) : rd_receive(ctx, RD_FORM_IP6);
}

SEC("cgroup/getpeername4")
int rd_getpeername4(struct bpf_sock_addr *ctx)
{
	return rd_getpeername(ctx, RD_FORM_IP4);
}

SEC("cgroup/getpeername6")
int rd_getpeername6(struct bpf_sock_addr *ctx)
{
	return rd_is_mapped(ctx) ? rd_getpeername(ctx, RD_FORM_MAPPED)
				 : rd_getpeername(ctx, RD_FORM_IP6);
}

/* Optional, see --track-outcomes. */
SEC("sockops")
int rd_sockops(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk = ops->sk;
	struct rd_socket *record;

	if (ops->op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
		record = sk ? rd_socket_find(sk) : NULL;
		if (!record)
			return RD_PROCEED;
		record->began_us = rd_now_us();
		bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_STATE_CB_FLAG);
	} else if (ops->op == BPF_SOCK_OPS_STATE_CB) {
		record = sk ? rd_socket_find(sk) : NULL;
		if (record && ops->args[0] == BPF_TCP_SYN_SENT)
			rd_outcome(ops, record);
		/* The other side's FIN is not yet the end. */
		if (ops->args[1] == BPF_TCP_ESTABLISHED || ops->args[1] == BPF_TCP_CLOSE_WAIT)
			return RD_PROCEED;
		rd_count_close(record);
		bpf_sock_ops_cb_flags_set(ops, 0);
	}
	return RD_PROCEED;
}

/* The state of each slot that is not free, for who reads links/sockets. */
SEC("iter/bpf_map_elem")
int rd_list_sockets(struct bpf_iter__bpf_map_elem *ctx)
{
	const struct rd_socket *record = ctx->value;
	const __u32 *slot = ctx->key;
	struct rd_socket_state state;

	if (!slot || !record || !record->dentry)
		return 0;
	state.slot = *slot;
	state.inode = *(const volatile __u64 *)&record->inode;
	if (state.inode == RD_SOCKET_WRITTEN)
		return 0;
	state.is_open = state.inode && rd_is_open(record->dentry & ~RD_SLOT_LEAVING, state.inode);
	bpf_seq_write(ctx->meta->seq, &state, sizeof(state));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

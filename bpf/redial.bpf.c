// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * redial.bpf.c - the hooks. Each is a few lines: it names its form of address
 * and calls the shared body.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "address.h"
#include "maps.h"
#include "service.h"
#include "socket.h"

#define ECONNREFUSED 111

enum rd_verdict {
	RD_DENY = 0,
	RD_PROCEED = 1,
};

/* The application reads ECONNREFUSED, as it would from a host where nothing
 * listens (SERVICE-SEMANTICS C2). */
static __always_inline int rd_refuse(void)
{
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
	struct rd_peer dialled = rd_peer_load(ctx, form);
	struct rd_choice choice;
	__u64 word;

	if (!rd_frontend_find(&dialled, ctx->protocol, form, &word)) {
		rd_socket_forget(ctx);
		return RD_PROCEED;
	}
	if (!rd_word_count(word))
		return rd_refuse();
	if (!rd_backend_choose(word, form, &choice)) {
		rd_socket_forget(ctx);
		return RD_PROCEED;
	}
	rd_socket_remember(ctx, form, &dialled, &choice);
	rd_peer_store(ctx, form, &choice.peer);
	return RD_PROCEED;
}

/*
 * The body of both getpeername hooks: the peer of a redialled socket is the
 * Service it dialled, for as long as it is connected to that backend.
 */
static __always_inline int rd_show_dialled(struct bpf_sock_addr *ctx, enum rd_form form)
{
	const struct rd_socket *record = rd_socket_find(ctx);
	struct rd_peer peer = rd_peer_load(ctx, form);

	if (!record || record->family != rd_family(form) || record->backend_port != peer.port ||
	    !rd_addr_equal(record->backend_addr, peer.addr, form))
		return RD_PROCEED;
	rd_addr_load(peer.addr, record->dialled_addr, form);
	peer.port = record->dialled_port;
	rd_peer_store(ctx, form, &peer);
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

SEC("cgroup/getpeername4")
int rd_getpeername4(struct bpf_sock_addr *ctx)
{
	return rd_show_dialled(ctx, RD_FORM_IP4);
}

SEC("cgroup/getpeername6")
int rd_getpeername6(struct bpf_sock_addr *ctx)
{
	return rd_is_mapped(ctx) ? rd_show_dialled(ctx, RD_FORM_MAPPED)
				 : rd_show_dialled(ctx, RD_FORM_IP6);
}

SEC("cgroup/sock_release")
int rd_sock_release(struct bpf_sock *ctx)
{
	rd_socket_release(bpf_get_socket_cookie(ctx));
	return RD_PROCEED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

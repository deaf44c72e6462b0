/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * socket.h - what a socket dialled: remember, find, forget.
 *
 * The record of a socket is in one of its slots of rd_sockets, or, if other live
 * sockets have those, in its sk_storage. The kernel runs connect, getpeername
 * and release of one socket under that socket's lock, so a record has one
 * writer at a time; only the claim of a free slot is a race between sockets.
 *
 * A socket can have two records: it spilled, a slot became free, it dialled
 * again. The slots are looked at first and both are forgotten together.
 */
#ifndef REDIAL_SOCKET_H
#define REDIAL_SOCKET_H

#include "address.h"
#include "backend.h"
#include "kernel.h"
#include "maps.h"
#include "stats.h"

/* The slot in which the socket's record is, or NULL. */
static __always_inline struct rd_socket *rd_socket_slot(__u64 cookie)
{
	__u32 near = rd_socket_near(cookie, rd_socket_mask);
	__u32 far = rd_socket_far(cookie, rd_socket_mask);
	struct rd_socket *record = bpf_map_lookup_elem(&rd_sockets, &near);

	if (record && record->cookie == cookie)
		return record;
	record = bpf_map_lookup_elem(&rd_sockets, &far);
	return record && record->cookie == cookie ? record : NULL;
}

static __always_inline struct rd_socket *rd_socket_claim_slot(__u64 cookie, __u32 number)
{
	struct rd_socket *record = bpf_map_lookup_elem(&rd_sockets, &number);

	if (!record || record->cookie || __sync_val_compare_and_swap(&record->cookie, 0, cookie))
		return NULL;
	return record;
}

/* Where the socket's record is to be; NULL if there is no memory for it. */
static __always_inline struct rd_socket *rd_socket_claim(struct bpf_sock_addr *ctx)
{
	/* Without a cookie it has no record, and the far slot need not be looked at. */
	_Bool known = rd_cookie_peek(ctx);
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct rd_socket *record = known ? rd_socket_slot(cookie) : NULL;

	if (!record)
		record = rd_socket_claim_slot(cookie, rd_socket_near(cookie, rd_socket_mask));
	if (!record)
		record = rd_socket_claim_slot(cookie, rd_socket_far(cookie, rd_socket_mask));
	if (record || !ctx->sk)
		return record;
	record = bpf_sk_storage_get(&rd_spill, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!record)
		return NULL;
	rd_count_spill();
	record->cookie = cookie;
	return record;
}

/*
 * Record where the socket is about to be connected. If there is no memory for
 * a spilled record nothing is recorded: the connection works all the same and
 * getpeername shows the backend. So it is with the kernel's own sockets, whose
 * end nobody would tell.
 */
static __always_inline void rd_socket_remember(struct bpf_sock_addr *ctx, enum rd_form form,
					       const struct rd_peer *dialled,
					       const struct rd_choice *choice, __u32 service)
{
	struct rd_socket *record;

	if (ctx->sk && rd_is_the_kernels(ctx->sk))
		return;
	record = rd_socket_claim(ctx);
	if (!record)
		return;
	record->family = 0;
	rd_addr_store(record->dialled_addr, dialled->addr, form);
	rd_addr_store(record->backend_addr, choice->peer.addr, form);
	record->dialled_port = dialled->port;
	record->backend_port = choice->peer.port;
	record->service = service;
	record->backend = choice->id;
	record->protocol = ctx->protocol;
	record->established = 0;
	record->began_ns = 0;
	*(volatile __u8 *)&record->family = rd_family(form);
}

/* The socket's record, or NULL. */
static __always_inline const struct rd_socket *rd_socket_find(struct bpf_sock_addr *ctx)
{
	__u64 cookie = rd_cookie_peek(ctx);
	struct rd_socket *record;

	/* Most sockets have never been given one, and so no record. */
	if (!cookie)
		return NULL;
	record = rd_socket_slot(cookie);
	if (record)
		return record;
	return ctx->sk ? bpf_sk_storage_get(&rd_spill, ctx->sk, 0, 0) : NULL;
}

/* Give the socket's slot back, if it has it. */
static __always_inline void rd_socket_release(__u64 cookie)
{
	struct rd_socket *record = rd_socket_slot(cookie);

	if (!record)
		return;
	rd_count_close(record);
	*(volatile __u8 *)&record->family = 0;
	*(volatile __u64 *)&record->cookie = 0;
}

/* The socket is about to be connected to something that is no Service. */
static __always_inline void rd_socket_forget(struct bpf_sock_addr *ctx)
{
	__u64 cookie = rd_cookie_peek(ctx);

	if (!cookie)
		return;
	rd_socket_release(cookie);
	if (!ctx->sk || !rd_has_storage(ctx->sk))
		return;
	rd_count_close(bpf_sk_storage_get(&rd_spill, ctx->sk, 0, 0));
	bpf_sk_storage_delete(&rd_spill, ctx->sk);
}

#endif

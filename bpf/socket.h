/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * socket.h - what a socket dialled: remember, find, forget.
 *
 * The record of a socket is in one of its slots of rd_sockets or, if others have
 * those, in its sk_storage. The kernel runs connect and getpeername of one socket
 * under that socket's lock, and a slot belongs to one open socket at most (see
 * abi.h), so a record has one writer at a time. The record says whose it is by its
 * cookie, which the kernel gives to no other socket.
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

/* The record with this cookie if one of the dentry's slots has it, or NULL. */
static __always_inline struct rd_socket *rd_socket_slotted(const void *dentry, __u64 cookie)
{
	__u32 slot = rd_socket_slot(rd_low_half(dentry), rd_socket_shift), other = slot ^ 1;
	struct rd_socket *record = bpf_map_lookup_elem(&rd_sockets, &slot);

	if (record && record->cookie == cookie)
		return record;
	record = bpf_map_lookup_elem(&rd_sockets, &other);
	return record && record->cookie == cookie ? record : NULL;
}

/* The slot if it is the dentry's, or free and becomes the dentry's; or NULL. */
static __always_inline struct rd_socket *rd_socket_take(const void *dentry, __u32 slot)
{
	struct rd_socket *record = bpf_map_lookup_elem(&rd_sockets, &slot);
	__u64 owner;

	if (!record)
		return NULL;
	owner = *(volatile __u64 *)&record->dentry;
	if (owner == (__u64)dentry)
		return record;
	if (owner || __sync_val_compare_and_swap(&record->dentry, 0, (__u64)dentry))
		return NULL;
	return record;
}

/* Where the socket's record is to be written; NULL if there is no memory for it. */
static __always_inline struct rd_socket *rd_socket_claim(struct bpf_sock_addr *ctx)
{
	const void *dentry = rd_dentry_of(ctx->sk);
	__u32 slot = rd_socket_slot(rd_low_half(dentry), rd_socket_shift);
	__u64 cookie = rd_cookie_peek(ctx);
	struct rd_socket *record = NULL;

	/* The kernel's own sockets have none. */
	if (dentry) {
		/* Without a cookie it has no record yet. */
		record = cookie ? rd_socket_slotted(dentry, cookie) : NULL;
		record = record ?: rd_socket_take(dentry, slot) ?: rd_socket_take(dentry, slot ^ 1);
		if (record)
			return record;
		rd_count_spill();
	}
	return bpf_sk_storage_get(&rd_spill, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
}

/*
 * Record where the socket is about to be connected. If there is no memory for
 * a spilled record nothing is recorded: the connection works all the same and
 * getpeername shows the backend.
 */
static __always_inline void rd_socket_remember(struct bpf_sock_addr *ctx, enum rd_form form,
					       const struct rd_peer *dialled,
					       const struct rd_choice *choice, __u32 service)
{
	struct rd_socket *record = rd_socket_claim(ctx);

	if (!record)
		return;
	*(volatile __u64 *)&record->cookie = RD_SOCKET_WRITTEN;
	rd_addr_store(record->dialled_addr, dialled->addr, form);
	rd_addr_store(record->backend_addr, choice->peer.addr, form);
	record->dialled_port = dialled->port;
	record->backend_port = choice->peer.port;
	record->began_us = 0;
	record->rest = ((struct rd_socket){.backend = choice->id,
					   .protocol = ctx->protocol,
					   .service = service,
					   .family = rd_family(form)})
			       .rest;
	*(volatile __u64 *)&record->cookie = bpf_get_socket_cookie(ctx);
}

/* The socket's record, or NULL. */
static __always_inline const struct rd_socket *rd_socket_find(struct bpf_sock_addr *ctx)
{
	__u64 cookie = rd_cookie_peek(ctx);

	/* Most sockets have never been given one, and so no record. */
	if (!cookie)
		return NULL;
	return rd_socket_slotted(rd_dentry_of(ctx->sk), cookie)
		       ?: bpf_sk_storage_get(&rd_spill, ctx->sk, 0, 0);
}

/* The socket is about to be connected to something that is no Service. */
static __always_inline void rd_socket_forget(struct bpf_sock_addr *ctx)
{
	__u64 cookie = rd_cookie_peek(ctx);
	struct rd_socket *record;

	if (!cookie)
		return;
	record = rd_socket_slotted(rd_dentry_of(ctx->sk), cookie);
	if (record)
		*(volatile __u64 *)&record->cookie = 0;
	if (rd_has_storage(ctx->sk))
		bpf_sk_storage_delete(&rd_spill, ctx->sk);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * socket.h - what a socket dialled: remember, find, forget.
 *
 * The record of a socket is in one of its slots of rd_sockets or, if others have
 * those, in its sk_storage. The kernel runs connect and getpeername of one socket
 * under that socket's lock, and a slot belongs to one open socket at most (see
 * abi.h), so a record has one writer at a time.
 *
 * A slot may still have the record of a socket that had the dentry before. Every
 * connect of this one overwrites or forgets it; until then, and for a socket that was
 * accepted, which never connects, the inode's number says whose it is.
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

/* The slot if it is the dentry's, or NULL. */
static __always_inline struct rd_socket *rd_socket_own(const struct dentry *dentry, __u32 slot)
{
	struct rd_socket *record = bpf_map_lookup_elem(&rd_sockets, &slot);

	return record && (*(volatile __u64 *)&record->dentry & ~RD_SLOT_LEAVING) == (__u64)dentry
		       ? record
		       : NULL;
}

/* The same, unless it is being taken back and has the record of another inode. */
static __always_inline struct rd_socket *rd_socket_keep(const struct dentry *dentry, __u64 inode,
							__u32 slot)
{
	struct rd_socket *record = rd_socket_own(dentry, slot);

	return record && (!(record->dentry & RD_SLOT_LEAVING) || record->inode == inode) ? record
											 : NULL;
}

/* The slot if it is free, and from now on the dentry's; or NULL. */
static __always_inline struct rd_socket *rd_socket_take(const struct dentry *dentry, __u32 slot)
{
	struct rd_socket *record = bpf_map_lookup_elem(&rd_sockets, &slot);

	if (!record || record->dentry ||
	    __sync_val_compare_and_swap(&record->dentry, 0, (__u64)dentry))
		return NULL;
	return record;
}

/* The slot that the dentry has, or NULL. */
static __always_inline struct rd_socket *rd_socket_slotted(const struct dentry *dentry, __u64 inode)
{
	__u32 slot = rd_socket_slot(rd_low_half(dentry), rd_socket_shift);

	return rd_socket_keep(dentry, inode, slot) ?: rd_socket_keep(dentry, inode, slot ^ 1);
}

/* What the socket has in rd_spill, or NULL. */
static __always_inline struct rd_socket *rd_socket_spilled(struct bpf_sock *sk)
{
	return rd_has_storage(sk) ? bpf_sk_storage_get(&rd_spill, sk, 0, 0) : NULL;
}

/* Where the socket's record is to be written; NULL if there is no memory for it. */
static __always_inline struct rd_socket *rd_socket_claim(struct bpf_sock_addr *ctx,
							 const struct dentry *dentry, __u64 inode)
{
	__u32 slot = rd_socket_slot(rd_low_half(dentry), rd_socket_shift);
	struct rd_socket *record;

	/* The kernel's own sockets have none. */
	if (dentry) {
		record = rd_socket_slotted(dentry, inode)
				 ?: rd_socket_take(dentry, slot)
				 ?: rd_socket_take(dentry, slot ^ 1);
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
	const struct dentry *dentry = rd_dentry_of(ctx->sk);
	__u64 inode = dentry ? rd_inode_of(dentry) : 0;
	struct rd_socket *record = rd_socket_claim(ctx, dentry, inode);

	if (!record)
		return;
	*(volatile __u64 *)&record->inode = RD_SOCKET_WRITTEN;
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
	*(volatile __u64 *)&record->inode = inode;
}

/* The socket's record, or NULL. */
static __always_inline struct rd_socket *rd_socket_find(struct bpf_sock *sk)
{
	const struct dentry *dentry = rd_dentry_of(sk);
	__u64 inode = dentry ? rd_inode_of(dentry) : 0;
	struct rd_socket *record = dentry ? rd_socket_slotted(dentry, inode) : NULL;

	return record && record->inode == inode ? record : rd_socket_spilled(sk);
}

/* Whatever is in the slot, if it is the dentry's, is forgotten. */
static __always_inline void rd_socket_clear(const struct dentry *dentry, __u32 slot)
{
	struct rd_socket *record = rd_socket_own(dentry, slot);

	if (record)
		*(volatile __u64 *)&record->inode = 0;
}

/* The socket is about to be connected to something that is no Service. */
static __always_inline void rd_socket_forget(struct bpf_sock_addr *ctx)
{
	const struct dentry *dentry = rd_dentry_of(ctx->sk);
	__u32 slot = rd_socket_slot(rd_low_half(dentry), rd_socket_shift);

	if (dentry) {
		rd_socket_clear(dentry, slot);
		rd_socket_clear(dentry, slot ^ 1);
	}
	if (rd_has_storage(ctx->sk))
		bpf_sk_storage_delete(&rd_spill, ctx->sk);
}

#endif

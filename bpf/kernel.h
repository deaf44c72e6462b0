/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * kernel.h - what is read from the kernel's own sockets: the cookie, without
 * giving one, and a few things that no helper tells. libbpf relocates the
 * offsets to the running kernel's (CO-RE).
 */
#ifndef REDIAL_KERNEL_H
#define REDIAL_KERNEL_H

#include <linux/bpf.h>
#include <linux/version.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

struct rd_atomic64 {
	long long counter;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct inode {
};
struct dentry {
	struct inode *d_inode;
};
struct path {
	struct dentry *dentry;
};
struct file {
	struct path f_path;
};
struct sock;
struct socket {
	struct file *file;
	struct sock *sk;
};
struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};
struct sock_common {
	struct rd_atomic64 skc_cookie;
};
struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
	int sk_err;
	void *sk_bpf_storage;
};
struct bpf_local_storage_map {
	__u16 cache_idx;
};
struct bpf_local_storage_data {
	struct bpf_local_storage_map *smap;
	__u8 data[];
};
struct bpf_local_storage {
	struct bpf_local_storage_data *cache[1];
};
struct seq_file {
};
struct bpf_iter_meta {
	struct seq_file *seq;
};
struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	void *key;
	void *value;
};
#pragma clang attribute pop

/* Linux 6.2. The agent says whether it is there; if not, this is dead code. */
extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym __weak;

static __always_inline const struct sock *rd_kernel_sock(const void *sk)
{
	return bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct sock));
}

/* For programs that are loaded only where the kernel can look. */
static __always_inline __u64 rd_cookie_of(const void *sk)
{
	return rd_kernel_sock(sk)->__sk_common.skc_cookie.counter;
}

/* The socket's cookie, or 0 if it has none, and so no record. On a kernel that
 * cannot look, it is given one. */
static __always_inline __u64 rd_cookie_peek(struct bpf_sock_addr *ctx)
{
	return rd_has_rdonly_cast ? rd_cookie_of(ctx->sk) : bpf_get_socket_cookie(ctx);
}

/* Whether anything is stored for the socket: asking for something in particular
 * is dearer. Where the kernel cannot look, perhaps. */
static __always_inline _Bool rd_has_storage(const void *sk)
{
	return !rd_has_rdonly_cast || rd_kernel_sock(sk)->sk_bpf_storage;
}

/* Linux 6.17 casts to no type as well: whatever is there, to be read. libbpf says
 * which Linux it is. */
extern int LINUX_KERNEL_VERSION __kconfig;

static __always_inline _Bool rd_can_read_memory(void)
{
	return rd_has_rdonly_cast && LINUX_KERNEL_VERSION >= KERNEL_VERSION(6, 17, 0);
}

/*
 * What the socket has in the sk_storage `map`, to be read; or NULL: then only
 * bpf_sk_storage_get() knows. It looks where that looks first
 * (bpf_local_storage_lookup), without the call, which is dearer than what is done
 * with the answer. Lives as long as the program runs.
 */
static __always_inline const void *rd_storage_peek(const void *sk, void *map)
{
	const struct bpf_local_storage_map *storage_map;
	const void *storage, *data;
	const void *const *cache;

	if (!rd_can_read_memory())
		return NULL;
	storage = rd_kernel_sock(sk)->sk_bpf_storage;
	if (!storage)
		return NULL;
	storage_map = bpf_rdonly_cast(map, bpf_core_type_id_kernel(struct bpf_local_storage_map));
	cache = bpf_rdonly_cast(storage, 0) +
		bpf_core_field_offset(struct bpf_local_storage, cache);
	data = bpf_rdonly_cast(cache[storage_map->cache_idx], 0);
	if (!data || *(void *const *)(data + bpf_core_field_offset(struct bpf_local_storage_data,
								   smap)) != storage_map)
		return NULL;
	return data + bpf_core_field_offset(struct bpf_local_storage_data, data);
}

static __always_inline int rd_error_of(const void *sk)
{
	return sk ? rd_kernel_sock(sk)->sk_err : 0;
}

/*
 * The address of the dentry that is this socket's and no other's, or NULL. The
 * kernel's own sockets have no file (NFS), or that of a socket above them (MPTCP's
 * first subflow, SMC). Reads of what is no memory give 0.
 */
static __always_inline const void *rd_dentry_of(const void *sk)
{
	const __u64 inode_at = bpf_core_field_offset(struct socket_alloc, vfs_inode);
	const struct sock *object = sk;
	const struct socket *socket;
	const struct dentry *dentry;

	if (rd_has_rdonly_cast) {
		socket = rd_kernel_sock(sk)->sk_socket;
		dentry = socket->file->f_path.dentry;
		return socket->sk == sk && (void *)dentry->d_inode == (void *)socket + inode_at
			       ? dentry
			       : NULL;
	}
	/* The verifier forbids arithmetic with a socket's address, but not with
	 * what is read from where one happens to be. */
	bpf_probe_read_kernel(&object, sizeof(object), &sk);
	socket = BPF_CORE_READ(object, sk_socket);
	dentry = BPF_CORE_READ(socket, file, f_path.dentry);
	return BPF_CORE_READ(socket, sk) == object &&
			       (void *)BPF_CORE_READ(dentry, d_inode) == (void *)socket + inode_at
		       ? dentry
		       : NULL;
}

/* The low half of an address: for the verifier a number like any other. */
static __always_inline __u32 rd_low_half(const void *address)
{
	__u32 low;

	asm("%0 = %1" : "=w"(low) : "w"((__u32)(unsigned long)address));
	return low;
}

/* Whether the dentry is, at the moment, that of the socket with this cookie. For
 * tracing programs. @dentry: any number */
static __always_inline _Bool rd_is_open(__u64 dentry, __u64 cookie)
{
	struct inode *inode = BPF_CORE_READ((struct dentry *)dentry, d_inode);
	struct socket_alloc *alloc =
		(void *)inode - bpf_core_field_offset(struct socket_alloc, vfs_inode);

	return inode &&
	       (__u64)BPF_CORE_READ(alloc, socket.sk, __sk_common.skc_cookie.counter) == cookie;
}

#endif

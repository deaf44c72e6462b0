/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * kernel.h - what is read from the kernel's own sockets, because no helper tells
 * it, or none as cheaply. libbpf relocates the offsets to the running kernel's
 * (CO-RE).
 */
#ifndef REDIAL_KERNEL_H
#define REDIAL_KERNEL_H

#include <linux/bpf.h>
#include <linux/magic.h>
#include <linux/version.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct super_block {
	unsigned long s_magic;
};
struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
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
struct socket {
	struct file *file;
};
struct sock {
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
 * The dentry of the socket's file, or NULL: sockets of the kernel's own (NFS) have none.
 * The one that MPTCP dials with has that of the program's socket above it. Reads of what
 * is no memory give 0.
 */
static __always_inline const struct dentry *rd_dentry_of(const void *sk)
{
	const struct sock *object = sk;

	if (rd_has_rdonly_cast)
		return rd_kernel_sock(sk)->sk_socket->file->f_path.dentry;
	/* The verifier forbids arithmetic with a socket's address, but not with
	 * what is read from where one happens to be. */
	bpf_probe_read_kernel(&object, sizeof(object), &sk);
	return BPF_CORE_READ(object, sk_socket, file, f_path.dentry);
}

/* The number of a dentry's inode, which `ls -l /proc/PID/fd` shows of a socket. The
 * kernel counts through 32 bits before it gives one again (get_next_ino); never 0. */
static __always_inline __u64 rd_inode_of(const struct dentry *dentry)
{
	return rd_has_rdonly_cast ? dentry->d_inode->i_ino : BPF_CORE_READ(dentry, d_inode, i_ino);
}

/* The low half of an address: for the verifier a number like any other. */
static __always_inline __u32 rd_low_half(const void *address)
{
	__u32 low;

	asm("%0 = %1" : "=w"(low) : "w"((__u32)(unsigned long)address));
	return low;
}

/* Whether the dentry is, at the moment, that of a socket whose inode has this number.
 * For tracing programs. @dentry: any number */
static __always_inline _Bool rd_is_open(__u64 dentry, __u64 number)
{
	const struct inode *inode = BPF_CORE_READ((const struct dentry *)dentry, d_inode);

	return BPF_CORE_READ(inode, i_ino) == number &&
	       BPF_CORE_READ(inode, i_sb, s_magic) == SOCKFS_MAGIC;
}

#endif

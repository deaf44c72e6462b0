/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * kernel.h - what is read from the kernel's own sockets: the cookie, without
 * giving one, and a few things that no helper tells. libbpf relocates the
 * offsets to the running kernel's (CO-RE).
 */
#ifndef REDIAL_KERNEL_H
#define REDIAL_KERNEL_H

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

struct rd_atomic64 {
	long long counter;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct sock_common {
	struct rd_atomic64 skc_cookie;
};
struct sock {
	struct sock_common __sk_common;
	unsigned char sk_kern_sock : 1;
	int sk_err;
	void *sk_bpf_storage;
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

/* Whether anything is stored for the socket: asking for something in particular
 * is dearer. Where the kernel cannot look, perhaps. */
static __always_inline _Bool rd_has_storage(const void *sk)
{
	return !rd_has_rdonly_cast || rd_kernel_sock(sk)->sk_bpf_storage;
}

/*
 * Whether the kernel opened the socket, for itself (NFS) or beneath another
 * (MPTCP's subflows). The release hook does not run for these (inet_release in
 * net/ipv4/af_inet.c).
 */
static __always_inline _Bool rd_is_the_kernels(const void *sk)
{
	const struct sock *object = sk;

	if (!rd_has_rdonly_cast) {
		/* The verifier forbids arithmetic with a socket's address, but not with
		 * what is read from where one happens to be. */
		bpf_probe_read_kernel(&object, sizeof(object), &sk);
		return BPF_CORE_READ_BITFIELD_PROBED(object, sk_kern_sock);
	}
	object = rd_kernel_sock(sk);
	return BPF_CORE_READ_BITFIELD(object, sk_kern_sock);
}

static __always_inline int rd_error_of(const void *sk)
{
	return sk ? rd_kernel_sock(sk)->sk_err : 0;
}

/* The socket's cookie, or 0 if it has none, and so no record. On a kernel that
 * cannot look, it is given one. */
static __always_inline __u64 rd_cookie_peek(struct bpf_sock_addr *ctx)
{
	if (!rd_has_rdonly_cast)
		return bpf_get_socket_cookie(ctx);
	if (!ctx->sk)
		return 0;
	return rd_cookie_of(ctx->sk);
}

#endif

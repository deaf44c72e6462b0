/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * address.h - the destination in a struct bpf_sock_addr, whatever its form.
 *
 * The hooks share one body. What differs between them is the form in which the
 * kernel hands over the destination, and that is all in this file. `form` is a
 * constant at every call, so each program keeps only its own branch.
 */
#ifndef REDIAL_ADDRESS_H
#define REDIAL_ADDRESS_H

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "redial/abi.h"

enum rd_form {
	RD_FORM_IP4,	/* AF_INET */
	RD_FORM_IP6,	/* AF_INET6 */
	RD_FORM_MAPPED, /* AF_INET6, ::ffff:a.b.c.d: IPv4 on the wire */
};

/* An address, in words as the kernel has it, and a port in host order. IPv4,
 * mapped or not: addr[0], the rest unset. */
struct rd_peer {
	__be32 addr[4];
	__u16 port;
};

static __always_inline __u8 rd_family(enum rd_form form)
{
	return form == RD_FORM_IP6 ? RD_IPV6 : RD_IPV4;
}

/* The form of the destination that an AF_INET6 hook was given (RFC 4291,
 * 2.5.5.2). The kernel does not send these to the IPv4 hooks. */
static __always_inline _Bool rd_is_mapped(const struct bpf_sock_addr *ctx)
{
	return !ctx->user_ip6[0] && !ctx->user_ip6[1] && ctx->user_ip6[2] == bpf_htonl(0xffff);
}

/*
 * The verifier accepts a context field only at a constant offset from the
 * context itself, but the compiler likes to compute a field's address once and
 * share it between branches. Hiding where the pointer came from, at each group
 * of accesses, keeps it from that; no instruction is emitted.
 */
#define rd_fresh_ctx(ctx) asm volatile("" : "+r"(ctx))

static __always_inline struct rd_peer rd_peer_load(const struct bpf_sock_addr *ctx,
						   enum rd_form form)
{
	struct rd_peer peer;

	rd_fresh_ctx(ctx);
	if (form == RD_FORM_IP4) {
		peer.addr[0] = ctx->user_ip4;
	} else if (form == RD_FORM_MAPPED) {
		peer.addr[0] = ctx->user_ip6[3];
	} else {
		peer.addr[0] = ctx->user_ip6[0];
		peer.addr[1] = ctx->user_ip6[1];
		peer.addr[2] = ctx->user_ip6[2];
		peer.addr[3] = ctx->user_ip6[3];
	}
	/* user_port is 32 bits wide and holds 16 bits in network order. */
	peer.port = bpf_ntohs((__be16)ctx->user_port);
	return peer;
}

static __always_inline void rd_peer_store(struct bpf_sock_addr *ctx, enum rd_form form,
					  const struct rd_peer *peer)
{
	rd_fresh_ctx(ctx);
	if (form == RD_FORM_IP4) {
		ctx->user_ip4 = peer->addr[0];
	} else if (form == RD_FORM_MAPPED) {
		ctx->user_ip6[3] = peer->addr[0];
	} else {
		ctx->user_ip6[0] = peer->addr[0];
		ctx->user_ip6[1] = peer->addr[1];
		ctx->user_ip6[2] = peer->addr[2];
		ctx->user_ip6[3] = peer->addr[3];
	}
	ctx->user_port = bpf_htons(peer->port);
}

/* Between words here and the bytes of abi.h: as many as `form` uses. Every
 * address in abi.h is aligned to a word. */
static __always_inline void rd_addr_load(__be32 *to, const __u8 *from, enum rd_form form)
{
	const __be32 *words = (const __be32 *)from;

	to[0] = words[0];
	if (form == RD_FORM_IP6) {
		to[1] = words[1];
		to[2] = words[2];
		to[3] = words[3];
	}
}

static __always_inline void rd_addr_store(__u8 *to, const __be32 *from, enum rd_form form)
{
	__be32 *words = (__be32 *)to;

	words[0] = from[0];
	if (form == RD_FORM_IP6) {
		words[1] = from[1];
		words[2] = from[2];
		words[3] = from[3];
	}
}

static __always_inline _Bool rd_addr_equal(const __u8 *a, const __be32 *b, enum rd_form form)
{
	const __be32 *words = (const __be32 *)a;

	if (form == RD_FORM_IP6)
		return words[0] == b[0] && words[1] == b[1] && words[2] == b[2] && words[3] == b[3];
	return words[0] == b[0];
}

/* The words folded into one, as the filter takes them. */
static __always_inline __u32 rd_addr_fold(const __be32 *addr, enum rd_form form)
{
	if (form == RD_FORM_IP6)
		return addr[0] ^ addr[1] ^ addr[2] ^ addr[3];
	return addr[0];
}

#endif

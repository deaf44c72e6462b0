/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * service.h - from a dialled address to a Service: the look-up.
 */
#ifndef REDIAL_SERVICE_H
#define REDIAL_SERVICE_H

#include "address.h"
#include "maps.h"

/* A recycled element is met at most once in a great while, several in a row
 * never: the agent would have to rewrite the table between two instructions,
 * again and again. */
#define RD_LOOKUP_TRIES 4

/* A frontend's value, as one reader saw it. */
struct rd_found {
	__u64 word;
	__u32 service;
	__u32 affinity_seconds;
	_Bool local; /* the policy Local took its endpoints away */
};

static __always_inline const struct rd_filter *rd_filter_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&rd_filter, &zero);
}

static __always_inline _Bool rd_filter_has(const struct rd_filter *filter, __u32 bit)
{
	return filter->bits[bit >> 6] >> (bit & 63) & 1;
}

/*
 * Find the frontend with this key.
 *
 * @ret_found: untouched when nothing is found
 */
static __always_inline _Bool rd_frontend_get(const __be32 *addr, __u16 port, __u8 protocol,
					     __u8 scope, enum rd_form form,
					     struct rd_found *ret_found)
{
	struct rd_key4 key4 = {};
	struct rd_key6 key6 = {};
	__u16 fingerprint = rd_fingerprint(rd_addr_fold(addr, form), port, protocol, scope);

	if (form == RD_FORM_IP6) {
		rd_addr_store(key6.addr, addr, form);
		key6.port = port;
		key6.protocol = protocol;
		key6.scope = scope;
	} else {
		rd_addr_store(key4.addr, addr, form);
		key4.port = port;
		key4.protocol = protocol;
		key4.scope = scope;
	}

#pragma clang loop unroll(disable)
	for (int i = 0; i < RD_LOOKUP_TRIES; i++) {
		const volatile struct rd_frontend *frontend =
			form == RD_FORM_IP6 ? bpf_map_lookup_elem(&rd_frontends6, &key6)
					    : bpf_map_lookup_elem(&rd_frontends4, &key4);
		struct rd_found found = {};

		if (!frontend)
			return 0;
		found.word = frontend->word;
		found.service = frontend->service;
		found.affinity_seconds = frontend->affinity_seconds;
		/* The rest belongs to the word if that has not changed meanwhile. */
		if (rd_word_fingerprint(found.word) == fingerprint &&
		    frontend->word == found.word) {
			*ret_found = found;
			return 1;
		}
	}
	return 0;
}

/*
 * Find the Service whose NodePort `peer` is. On this node's addresses every
 * endpoint serves, whatever the external traffic policy (C11). On another
 * node's, with the policy Local, those of that node do (C12): if it has some,
 * its address is a frontend, and what is found here is a refusal.
 */
static __always_inline _Bool rd_node_port_get(struct bpf_sock_addr *ctx, const struct rd_peer *peer,
					      enum rd_form form, struct rd_found *ret_found)
{
	struct rd_nodeaddr address = {.family = rd_family(form)};
	__be32 any[4] = {};
	struct rd_found found;
	const __u32 *node;

	rd_addr_store(address.addr, peer->addr, form);
	node = bpf_map_lookup_elem(&rd_nodeaddrs, &address);
	if (!node || (*node == RD_NODE_LOOPBACK && bpf_get_netns_cookie(ctx) != rd_host_netns))
		return 0;
	if (!rd_frontend_get(any, peer->port, ctx->protocol, RD_SCOPE_NODE_PORT, form, &found))
		return 0;
	found.local = *node == RD_NODE_OTHER && rd_word_flags(found.word) & RD_FLAG_LOCAL;
	if (found.local)
		found.word = 0;
	*ret_found = found;
	return 1;
}

/* Whether the socket is the agent's own, or its process or network namespace is
 * to be left alone. The latter costs nothing where nobody is excluded: the
 * counts are constants to the verifier. */
static __always_inline _Bool rd_is_excluded(struct bpf_sock_addr *ctx)
{
	if (ctx->sk && ctx->sk->mark == RD_MARK)
		return 1;
	for (__u32 i = 0; i < RD_EXCLUDED; i++) {
		if (i < rd_excluded_cgroups &&
		    bpf_get_current_ancestor_cgroup_id(rd_excluded_level[i]) ==
			    rd_excluded_cgroup[i])
			return 1;
		if (i < rd_excluded_netnss && bpf_get_netns_cookie(ctx) == rd_excluded_netns[i])
			return 1;
	}
	return 0;
}

/* Find the Service that `peer` is an address of, for this process. */
static __always_inline _Bool rd_service_find(struct bpf_sock_addr *ctx,
					     const struct rd_filter *filter,
					     const struct rd_peer *peer, enum rd_form form,
					     struct rd_found *ret_found)
{
	__u32 fold = rd_addr_fold(peer->addr, form);

	return ((rd_filter_has(filter, rd_filter_address_bit(fold)) &&
		 rd_frontend_get(peer->addr, peer->port, ctx->protocol, RD_SCOPE_ADDRESS, form,
				 ret_found)) ||
		(rd_filter_has(filter, rd_filter_port_bit(peer->port)) &&
		 rd_node_port_get(ctx, peer, form, ret_found))) &&
	       !rd_is_excluded(ctx);
}

#endif

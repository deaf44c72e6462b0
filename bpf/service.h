/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * service.h - from a dialled address to a Service: the look-up.
 */
#ifndef REDIAL_SERVICE_H
#define REDIAL_SERVICE_H

#include "address.h"
#include "maps.h"

/* A frontend changes its place while one looks for it at most once in a great
 * while, several times never: the agent would have to go through a grace period
 * between two instructions, again and again. */
#define RD_LOOKUP_TRIES 4

#define RD_NOWHERE 0xffffffffU

/* A frontend, as one reader saw it. */
struct rd_found {
	__u64 word;
	__u32 service;
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

/* Whether this is the live frontend of an address and the rest of its key.
 * @tail: see struct rd_key */
static __always_inline _Bool rd_frontend_is(const struct rd_frontend *frontend, const __be32 *addr,
					    __u32 tail, enum rd_form form)
{
	return frontend->key.tail == tail && rd_addr_equal(frontend->key.addr, addr, form) &&
	       frontend->word;
}

/*
 * The place of the live frontend with this key, or one outside the map.
 *
 * A global function: the verifier walks the loop once by itself.
 */
__noinline __u32 rd_frontend_search(const struct rd_key *key, __u32 home)
{
	if (!key)
		return RD_NOWHERE;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < RD_PROBES; i++) {
		__u32 place = home + i;
		const struct rd_frontend *frontend = bpf_map_lookup_elem(&rd_frontends, &place);

		if (!frontend || !frontend->key.tail)
			break;
		if (rd_frontend_is(frontend, (const __be32 *)key->addr, key->tail, RD_FORM_IP6))
			return place;
	}
	return RD_NOWHERE;
}

/*
 * Find the frontend with this key.
 *
 * @ret_found: untouched when nothing is found
 */
static __always_inline _Bool rd_frontend_get(const struct rd_filter *filter, const __be32 *addr,
					     __u16 port, __u8 protocol, enum rd_scope scope,
					     enum rd_form form, struct rd_found *ret_found)
{
	/* Put together in a register: what is stored in parts and loaded as a word
	 * has to wait until the parts are in the cache. */
	const struct rd_key rest = {
		.port = port, .protocol = protocol, .family = rd_family(form), .scope = scope};
	__u32 place =
		rd_key_home(filter->multiplier, rd_frontend_bits, addr, rest.tail, rd_family(form));
	const struct rd_frontend *frontend = bpf_map_lookup_elem(&rd_frontends, &place);
	__u64 word;

	/* Most are at home. */
	if (frontend && !rd_frontend_is(frontend, addr, rest.tail, form)) {
		struct rd_key key = {.tail = rest.tail};

		rd_addr_store(key.addr, addr, form);
		place = rd_frontend_search(&key, place);
		frontend = bpf_map_lookup_elem(&rd_frontends, &place);
	}
	if (!frontend)
		return 0;
	word = *(const volatile __u64 *)&frontend->word;
	if (!word)
		return 0;
	*ret_found = (struct rd_found){.word = word, .service = frontend->service};
	return 1;
}

/*
 * Find the Service whose NodePort `peer` is. On this node's addresses every
 * endpoint serves, whatever the external traffic policy (C11). On another
 * node's, with the policy Local, those of that node do (C12): if it has some,
 * its address is a frontend, and what is found here is a refusal.
 */
static __always_inline _Bool rd_node_port_get(struct bpf_sock_addr *ctx,
					      const struct rd_filter *filter,
					      const struct rd_peer *peer, enum rd_form form,
					      struct rd_found *ret_found)
{
	struct rd_nodeaddr address = {.family = rd_family(form)};
	__be32 any[4] = {};
	struct rd_found found;
	const __u32 *node;

	rd_addr_store(address.addr, peer->addr, form);
	node = bpf_map_lookup_elem(&rd_nodeaddrs, &address);
	if (!node || (*node == RD_NODE_LOOPBACK && bpf_get_netns_cookie(ctx) != rd_host_netns))
		return 0;
	if (!rd_frontend_get(filter, any, peer->port, ctx->protocol, RD_SCOPE_NODE_PORT, form,
			     &found))
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
	if (ctx->sk->mark == RD_MARK)
		return 1;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < rd_excluded_cgroups && i < RD_EXCLUDED; i++)
		if (bpf_get_current_ancestor_cgroup_id(rd_excluded_level[i]) ==
		    rd_excluded_cgroup[i])
			return 1;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < rd_excluded_netnss && i < RD_EXCLUDED; i++)
		if (bpf_get_netns_cookie(ctx) == rd_excluded_netns[i])
			return 1;
	return 0;
}

static __always_inline _Bool rd_service_look(struct bpf_sock_addr *ctx,
					     const struct rd_filter *filter,
					     const struct rd_peer *peer, enum rd_form form,
					     struct rd_found *ret_found)
{
	__u32 fold = rd_addr_fold(peer->addr, form), port = peer->port;

	/* The barriers keep the compiler from working out bits ahead of the loop around
	 * this, to store them until they are needed, if ever. */
	barrier_var(fold);
	if (rd_filter_has(filter, rd_filter_address_bit(fold)) &&
	    rd_frontend_get(filter, peer->addr, peer->port, ctx->protocol, RD_SCOPE_ADDRESS, form,
			    ret_found))
		return 1;
	barrier_var(port);
	return rd_filter_has(filter, rd_filter_port_bit(port)) &&
	       rd_node_port_get(ctx, filter, peer, form, ret_found);
}

/* Find the Service that `peer` is an address of, for this process. */
static __always_inline _Bool rd_service_find(struct bpf_sock_addr *ctx,
					     const struct rd_filter *filter,
					     const struct rd_peer *peer, enum rd_form form,
					     struct rd_found *ret_found)
{
	const volatile __u64 *epoch = &filter->epoch;

#pragma clang loop unroll(disable)
	for (int i = 0; i < RD_LOOKUP_TRIES; i++) {
		__u64 before = *epoch;

		if (rd_service_look(ctx, filter, peer, form, ret_found))
			return !rd_is_excluded(ctx);
		if (*epoch == before)
			break;
	}
	return 0;
}

#endif

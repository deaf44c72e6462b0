/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * backend.h - from a Service to one of its backends: the choice.
 */
#ifndef REDIAL_BACKEND_H
#define REDIAL_BACKEND_H

#include <bpf/bpf_endian.h>

#include "address.h"
#include "maps.h"
#include "service.h"

struct rd_choice {
	struct rd_peer peer;
	__u32 id;
	__u64 *chosen; /* its slot's counter */
	_Bool again;   /* it is what the client had before */
};

/* Read one slot. Returns false if it is not in the map, which only a map that
 * is not ours can cause. */
static __always_inline _Bool rd_backend_read(__u32 index, enum rd_form form,
					     struct rd_choice *ret_choice)
{
	struct rd_slot *slot = bpf_map_lookup_elem(&rd_backends, &index);

	if (!slot)
		return 0;
	rd_addr_load(ret_choice->peer.addr, slot->addr, form);
	ret_choice->peer.port = slot->port;
	ret_choice->id = slot->id;
	ret_choice->chosen = &slot->chosen;
	return 1;
}

/*
 * A random number, by SplitMix64 (Steele, Lea and Flood, Fast Splittable Pseudorandom
 * Number Generators, 2014), here and not by a helper, which costs a connect 10 ns more.
 * A program that preempts another one in the middle may draw the same number.
 */
static __always_inline __u32 rd_draw(void)
{
	__u32 zero = 0;
	__u64 *state = bpf_map_lookup_elem(&rd_random, &zero), mixed;

	if (!state)
		return 0;
	*state += 0x9e3779b97f4a7c15ULL;
	mixed = *state;
	mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9ULL;
	mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebULL;
	return mixed >> 32;
}

/* Each backend of the range with the same chance (SERVICE-SEMANTICS B10). */
static __always_inline _Bool rd_backend_random(__u64 word, enum rd_form form,
					       struct rd_choice *ret_choice)
{
	__u32 slot = rd_word_first(word) + (__u32)((__u64)rd_draw() * rd_word_count(word) >> 32);

	return rd_backend_read(slot, form, ret_choice);
}

/* Order of two peers, as the agent sorts a range: by address, then port. */
static __always_inline int rd_peer_compare(const struct rd_peer *a, const struct rd_peer *b,
					   enum rd_form form)
{
	for (int i = 0; i < (form == RD_FORM_IP6 ? 4 : 1); i++) {
		__u32 x = bpf_ntohl(a->addr[i]), y = bpf_ntohl(b->addr[i]);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return (int)a->port - (int)b->port;
}

/* Find a peer among the backends of the range, by bisection. */
static __always_inline _Bool rd_backend_find(__u64 word, const struct rd_peer *peer,
					     enum rd_form form, struct rd_choice *ret_choice)
{
	__u32 low = rd_word_first(word), high = low + rd_word_count(word);

#pragma clang loop unroll(disable)
	for (int i = 0; i <= RD_COUNT_BITS; i++) {
		__u32 middle = low + (high - low) / 2;
		int order;

		if (low >= high || !rd_backend_read(middle, form, ret_choice))
			return 0;
		order = rd_peer_compare(peer, &ret_choice->peer, form);
		if (!order)
			return 1;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return 0;
}

/* The backend this client has been pinned to, if that is still one, and the
 * time has not run out; it begins anew (D3). */
static __always_inline _Bool rd_affinity_find(const struct rd_client *client,
					      const struct rd_found *found, enum rd_form form,
					      __u64 now, struct rd_choice *ret_choice)
{
	struct rd_pinned *pinned = bpf_map_lookup_elem(&rd_affinity, client);
	struct rd_peer peer = {};

	if (!pinned || now - pinned->used_ns >= rd_word_affinity(found->word) * 1000000000ULL)
		return 0;
	rd_addr_load(peer.addr, pinned->addr, form);
	peer.port = pinned->port;
	if (*(volatile __u64 *)&pinned->netns != client->netns ||
	    *(volatile __u32 *)&pinned->service != client->service)
		return 0;
	if (!rd_backend_find(found->word, &peer, form, ret_choice))
		return 0;
	pinned->used_ns = now;
	return 1;
}

static __always_inline _Bool rd_backend_pinned(struct bpf_sock_addr *ctx,
					       const struct rd_found *found, enum rd_form form,
					       struct rd_choice *ret_choice)
{
	struct rd_client client = {.netns = bpf_get_netns_cookie(ctx),
				   .service = found->service,
				   .family = rd_family(form)};
	__u64 now = bpf_ktime_get_coarse_ns();
	struct rd_pinned pinned = {
		.used_ns = now, .netns = client.netns, .service = client.service};

	ret_choice->again = rd_affinity_find(&client, found, form, now, ret_choice);
	if (ret_choice->again)
		return 1;
	if (!rd_backend_random(found->word, form, ret_choice))
		return 0;
	rd_addr_store(pinned.addr, ret_choice->peer.addr, form);
	pinned.port = ret_choice->peer.port;
	/* No room cannot be: the oldest entry makes way. */
	bpf_map_update_elem(&rd_affinity, &client, &pinned, BPF_ANY);
	return 1;
}

/* Choose a backend of a Service that has some. */
static __always_inline _Bool rd_backend_choose(struct bpf_sock_addr *ctx,
					       const struct rd_found *found, enum rd_form form,
					       struct rd_choice *ret_choice)
{
	ret_choice->again = 0;
	if (rd_word_affinity(found->word))
		return rd_backend_pinned(ctx, found, form, ret_choice);
	return rd_backend_random(found->word, form, ret_choice);
}

#endif

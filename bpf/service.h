/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * service.h - from a dialled address to a backend: look-up and choice.
 */
#ifndef REDIAL_SERVICE_H
#define REDIAL_SERVICE_H

#include "address.h"
#include "maps.h"

/* A recycled element is met at most once in a great while, several in a row
 * never: the agent would have to rewrite the table between two instructions,
 * again and again. */
#define RD_LOOKUP_TRIES 4

struct rd_choice {
	struct rd_peer peer;
	__u32 id;
	__u32 service;
};

/*
 * Find the word of the frontend at `dialled`.
 *
 * @ret_word: untouched when nothing is found
 * Returns false if no Service has this address, port and protocol.
 */
static __always_inline _Bool rd_frontend_find(const struct rd_peer *dialled, __u8 protocol,
					      enum rd_form form, __u64 *ret_word)
{
	struct rd_key4 key4 = {};
	struct rd_key6 key6 = {};
	__u16 fingerprint;

	if (form == RD_FORM_IP6) {
		rd_addr_store(key6.addr, dialled->addr, form);
		key6.port = dialled->port;
		key6.protocol = protocol;
		fingerprint = rd_fingerprint6(&key6);
	} else {
		rd_addr_store(key4.addr, dialled->addr, form);
		key4.port = dialled->port;
		key4.protocol = protocol;
		fingerprint = rd_fingerprint4(&key4);
	}

#pragma clang loop unroll(disable)
	for (int i = 0; i < RD_LOOKUP_TRIES; i++) {
		const struct rd_frontend *frontend =
			form == RD_FORM_IP6 ? bpf_map_lookup_elem(&rd_frontends6, &key6)
					    : bpf_map_lookup_elem(&rd_frontends4, &key4);
		__u64 word;

		if (!frontend)
			return 0;
		word = *(const volatile __u64 *)&frontend->word;
		if (rd_word_fingerprint(word) == fingerprint) {
			*ret_word = word;
			return 1;
		}
	}
	return 0;
}

/*
 * Choose one backend of the range in `word`, each with the same chance
 * (SERVICE-SEMANTICS B10), anew for every connection.
 *
 * Returns false if the range is not in the map, which only a map that is not
 * ours can cause.
 */
static __always_inline _Bool rd_backend_choose(__u64 word, enum rd_form form,
					       struct rd_choice *ret_choice)
{
	__u32 slot = rd_word_first(word) +
		     (__u32)((__u64)bpf_get_prandom_u32() * rd_word_count(word) >> 32);

	if (form == RD_FORM_IP6) {
		const struct rd_backend6 *b = bpf_map_lookup_elem(&rd_backends6, &slot);

		if (!b)
			return 0;
		rd_addr_load(ret_choice->peer.addr, b->addr, form);
		ret_choice->peer.port = b->port;
		ret_choice->id = b->id;
		ret_choice->service = b->service;
	} else {
		const struct rd_backend4 *b = bpf_map_lookup_elem(&rd_backends4, &slot);

		if (!b)
			return 0;
		rd_addr_load(ret_choice->peer.addr, b->addr, form);
		ret_choice->peer.port = b->port;
		ret_choice->id = b->id;
		ret_choice->service = b->service;
	}
	return 1;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns.h - the DNS responder of this node's agent, in the place of a Service's
 * endpoints, for as long as the agent lives and says so.
 */
#ifndef REDIAL_DNS_H
#define REDIAL_DNS_H

#include "address.h"
#include "backend.h"
#include "maps.h"
#include "stats.h"

/* Is the agent there? Should it die, the kernel takes its socket out of the map
 * at once; should it hang, the time runs out. */
static __always_inline _Bool rd_dns_is_served(const struct rd_dns *dns)
{
	__u32 zero = 0;
	struct bpf_sock *socket;

	if (dns->until_ns < bpf_ktime_get_coarse_ns())
		return 0;
	socket = bpf_map_lookup_elem(&rd_dns_life, &zero);
	if (!socket)
		return 0;
	bpf_sk_release(socket);
	return 1;
}

/* Choose the responder, if this Service is answered on the node. */
static __always_inline _Bool rd_dns_choose(const struct rd_found *found, enum rd_form form,
					   struct rd_choice *ret_choice)
{
	struct rd_service_stats *stats;
	const struct rd_dns *dns;
	__u32 zero = 0;

	if (!(rd_word_flags(found->word) & RD_FLAG_DNS))
		return 0;
	dns = bpf_map_lookup_elem(&rd_dns, &zero);
	stats = rd_stats_of(found->service);
	ret_choice->peer.port = !dns ? 0 : form == RD_FORM_IP6 ? dns->port6 : dns->port4;
	if (!stats || !dns || !ret_choice->peer.port || !rd_dns_is_served(dns))
		return 0;
	rd_addr_load(ret_choice->peer.addr, form == RD_FORM_IP6 ? dns->addr6 : dns->addr4, form);
	ret_choice->id = RD_NO_BACKEND;
	ret_choice->chosen = &stats->chosen;
	ret_choice->again = 0;
	return 1;
}

#endif

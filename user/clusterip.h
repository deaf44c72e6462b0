/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * clusterip.h - the address given to a Service whose manifest names none. Pure.
 */
#ifndef REDIAL_CLUSTERIP_H
#define REDIAL_CLUSTERIP_H

#include <stdbool.h>

#include "ip.h"
#include "tree.h"

/* A set of addresses. */
struct rd_ip_entry {
	RB_ENTRY(rd_ip_entry) entry;
	struct rd_ip ip;
};
RB_HEAD(rd_ip_set, rd_ip_entry);

/* Add an address, unless it is there or is "none". Returns 0 or -ENOMEM. */
int rd_ip_set_add(struct rd_ip_set *set, const struct rd_ip *ip);
bool rd_ip_set_has(const struct rd_ip_set *set, const struct rd_ip *ip);
void rd_ip_set_clear(struct rd_ip_set *set);

/*
 * Pick an address of `cidr` that is not in `taken` for a Service. The search
 * begins at a place that the Service's name decides, so that the same manifests
 * get the same addresses on every machine, whatever the order they are read in,
 * unless two names meet. The first address of the range (the network's) and,
 * for IPv4, the last are not given.
 *
 * Returns 0 or -ENOSPC, after at most 65,536 addresses.
 */
int rd_clusterip_pick(const struct rd_cidr *cidr, const struct rd_ip_set *taken,
		      const char *namespace, const char *name, struct rd_ip *ret_ip);

#endif

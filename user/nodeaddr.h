/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * nodeaddr.h - this node's own addresses, as the kernel has them and as they
 * change (rtnetlink).
 */
#ifndef REDIAL_NODEADDR_H
#define REDIAL_NODEADDR_H

#include <event2/event.h>

#include "ip.h"
#include "util.h"

struct rd_nodeaddrs;

/*
 * Begin to watch.
 *
 * @changed: called from the event loop when an address came or went
 * Returns 0 or -errno, with @error set.
 */
int rd_nodeaddrs_new(struct event_base *base, void (*changed)(void *context), void *context,
		     struct rd_nodeaddrs **ret_nodeaddrs, struct rd_error *error);
void rd_nodeaddrs_free(struct rd_nodeaddrs *nodeaddrs);

/* The addresses now; IPv6 link-local ones are left out, which need a scope to
 * be dialled. The caller frees @ret_ips. Returns 0 or -errno. */
int rd_nodeaddrs_list(struct rd_ip **ret_ips, size_t *ret_n);

#endif

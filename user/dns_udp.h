/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_udp.h - queries and answers over UDP, many with each system call.
 *
 * An address has several sockets, and a client's address decides which of them
 * its queries go to: a flood from one address fills one queue, and the others
 * are served in turn with it.
 */
#ifndef REDIAL_DNS_UDP_H
#define REDIAL_DNS_UDP_H

#include "dns_lookup.h"
#include "dns_watch.h"
#include "ip.h"

struct rd_dns_udp;

/* Serve from now on. @watch: whom to tell, or NULL. Returns 0 or -ENOMEM. */
int rd_dns_udp_new(struct event_base *base, struct rd_dns_lookups *lookups,
		   struct rd_dns_watch *watch, struct rd_dns_udp **ret_udp);
/* Who waits is forgotten. Before the lookups. */
void rd_dns_udp_free(struct rd_dns_udp *udp);

/*
 * Serve at one more address; 0.0.0.0 and :: are all addresses of one family.
 *
 * @port: host order
 * @mark: SO_MARK of the sockets
 * Returns 0 or -errno, with @error set.
 */
int rd_dns_udp_listen(struct rd_dns_udp *udp, const struct rd_ip *ip, uint16_t port, uint32_t mark,
		      struct rd_error *error);

#endif

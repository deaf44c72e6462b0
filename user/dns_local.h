/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_local.h - a Service that is answered on this node, as the cluster's DNS
 * (SERVICE-SEMANTICS H10): the programs send its clients to the DNS server here,
 * and that asks the Service's endpoints about names that are not in its zone.
 *
 * The programs are told again and again that this goes on. Should the agent
 * hang, or die, they turn to the endpoints: see struct rd_dns in abi.h.
 */
#ifndef REDIAL_DNS_LOCAL_H
#define REDIAL_DNS_LOCAL_H

#include <event2/event.h>

#include "dns_server.h"
#include "maps.h"

struct rd_dns_local;

struct rd_dns_local_config {
	const char *service;	      /* namespace/name */
	const char *const *addresses; /* of the server: ADDRESS:PORT, NULL-terminated; one of each
				       * family is used */
	bool follow;		      /* ask the Service's endpoints */
	struct rd_dns_server *server; /* must outlive this */
	struct rd_maps *maps;	      /* the same */
};

/*
 * Prepare; clients come only after rd_dns_local_begin.
 * Returns 0 or -errno, with @error set.
 */
int rd_dns_local_new(const struct rd_dns_local_config *config, struct event_base *base,
		     struct rd_dns_local **ret_local, struct rd_error *error);
void rd_dns_local_free(struct rd_dns_local *local);

/* All names are known: clients are sent here from now on. */
void rd_dns_local_begin(struct rd_dns_local *local);
/* The endpoints may have changed: those in the plan are asked from now on. */
void rd_dns_local_follow(struct rd_dns_local *local, const struct rd_plan *plan);
/* No more clients are sent here; some may be on their way. */
void rd_dns_local_end(struct rd_dns_local *local);

#endif

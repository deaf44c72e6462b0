/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * healthcheck.h - the health check ports of LoadBalancer Services with the
 * external policy Local: a balancer outside asks every node there whether it
 * has an endpoint, and sends it traffic if it has (SERVICE-SEMANTICS C13).
 *
 * This file logs: a port that somebody else has concerns a person, and the
 * Service works all the same.
 */
#ifndef REDIAL_HEALTHCHECK_H
#define REDIAL_HEALTHCHECK_H

#include <event2/event.h>

#include "ip.h"

struct rd_healthchecks;

/*
 * @healthy: whether the agent keeps the maps up to date; when it does not, no
 * Service is answered for
 * Returns 0 or -ENOMEM.
 */
int rd_healthchecks_new(struct event_base *base, bool (*healthy)(void *context), void *context,
			struct rd_healthchecks **ret_checks);
void rd_healthchecks_free(struct rd_healthchecks *checks);

/* Where every port is listened on from now on. Returns 0 or -ENOMEM. */
int rd_healthchecks_listen_on(struct rd_healthchecks *checks, const struct rd_ip *ips, size_t n);

/*
 * Answer for a Service, or change the answer.
 *
 * @port: host order
 * @ready: endpoints on this node, IPv4 and IPv6; a request counts those of the
 * family it came by
 * Returns 0 or -ENOMEM.
 */
int rd_healthchecks_set(struct rd_healthchecks *checks, const char *namespace, const char *name,
			uint16_t port, const uint32_t ready[2]);
/* Answer for it no longer, if ever. */
void rd_healthchecks_remove(struct rd_healthchecks *checks, const char *namespace,
			    const char *name);

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reconcile.h - from the store to the maps: Services are resolved, planned and
 * written. Knows what the maps hold, and which Services wait for an address or
 * for room.
 */
#ifndef REDIAL_RECONCILE_H
#define REDIAL_RECONCILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "healthcheck.h"
#include "ip.h"
#include "maps.h"
#include "model.h"
#include "nodeport.h"
#include "plan.h"
#include "syncs.h"

/* All of it is borrowed, and outlives the reconciler. */
struct rd_reconciler_config {
	struct rd_store *store;
	struct rd_maps *maps;
	struct rd_healthchecks *checks;
	struct rd_syncs *syncs;		    /* is told how long changes took */
	const char *node_name;		    /* this node's; "": not known */
	const struct rd_cidr *service_cidr; /* of no family: no addresses are given */
	const struct rd_nodeport_rule *nodeports;
	bool legacy_endpoints; /* Endpoints, not EndpointSlices */
	const char *dns_for;   /* see struct rd_locale */
};

struct rd_reconciler;

/* What one reconcile did. */
struct rd_reconciled {
	uint64_t writes; /* map elements written or deleted */
	uint64_t resolve_ns, plan_ns, apply_ns;
};

/*
 * Find out what the maps hold.
 *
 * @ret_reconciler: to be freed
 * Returns 0, or -errno: the maps cannot be read.
 */
int rd_reconciler_new(const struct rd_reconciler_config *config,
		      struct rd_reconciler **ret_reconciler);
void rd_reconciler_free(struct rd_reconciler *reconciler);

/* This node's addresses; @addresses is taken over. Effective with the next
 * reconcile, as all that changes in the store. */
void rd_reconciler_set_addresses(struct rd_reconciler *reconciler, struct rd_ip *addresses,
				 size_t n);

/*
 * Bring the maps to what the store says.
 *
 * @in_doubt: something that the source once had may be missing from the store:
 *	nothing is taken out of the maps for that
 * Returns 0 or -errno; then some of it may have been written, and the next call
 * begins with asking the maps what they hold.
 */
int rd_reconcile(struct rd_reconciler *reconciler, bool in_doubt,
		 struct rd_reconciled *ret_reconciled);

/* What is in the maps; borrowed. After a failure it is not to be relied on. */
const struct rd_plan *rd_reconciler_plan(const struct rd_reconciler *reconciler);

/* State which Services are not, or not wholly, in the maps, and why. */
void rd_reconciler_say_refused(const struct rd_reconciler *reconciler, struct rd_agent *said);

#endif

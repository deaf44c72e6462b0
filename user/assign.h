/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * assign.h - ClusterIPs for Services whose manifest names none: who gets which,
 * and who keeps the one that it had. Pure.
 */
#ifndef REDIAL_ASSIGN_H
#define REDIAL_ASSIGN_H

#include "model.h"
#include "plan.h"

/* Where addresses come from, and where those that were given stand. */
struct rd_assigner {
	const struct rd_cidr *cidr; /* --service-cidr; of no family: none are given */
	struct rd_store *store;
	const struct rd_plan *plan; /* of what is in the maps */
};

/* Whether a Service is to have an address, and has none. */
bool rd_assign_is_needed(const struct rd_assigner *assigner, const struct rd_object *service);

/*
 * Give every Service of `names` that needs one an address: first to those that
 * had one before this agent started, then to the others, who get none that
 * anybody has or had. Who gets none for want of room needs one still. Returns 0
 * or -ENOMEM.
 */
int rd_assign(const struct rd_assigner *assigner, struct rd_name_set *names);

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * probes.h - what the agent answers over HTTP: /metrics, and /healthz, /livez
 * and /readyz with the meaning that kube-proxy gives them.
 */
#ifndef REDIAL_PROBES_H
#define REDIAL_PROBES_H

#include <event2/event.h>

#include "metrics.h"

/* What the answers are made of, when they are asked for. */
struct rd_probed {
	const struct rd_plan *plan;
	const struct rd_maps *maps;
	struct rd_own_numbers own; /* but for the process's, which are added */
	bool ready;		   /* the maps are what the source says */
	bool leaving;		   /* this Node is being deleted, or drained for that */
};

struct rd_probes;

/*
 * Answer at `address`, ADDRESS:PORT.
 *
 * @look: fills in what is so; called from the event loop
 * Returns 0 or -errno, with @error set.
 */
int rd_probes_new(struct event_base *base, const char *address,
		  void (*look)(void *context, struct rd_probed *ret_probed), void *context,
		  struct rd_probes **ret_probes, struct rd_error *error);
void rd_probes_free(struct rd_probes *probes);

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * source_kube.h - a Kubernetes API server as the source of objects: Services,
 * EndpointSlices (or Endpoints) and Nodes, listed and watched
 * (SERVICE-SEMANTICS F).
 *
 * Objects go to the store as they arrive. What a new list does not have is
 * taken out when it is complete, and nothing before. An object that cannot be
 * used stays as it was. While the server is away, everything does.
 *
 * This file logs, because what is wrong with the server concerns a person and
 * nobody above can do anything about it.
 */
#ifndef REDIAL_SOURCE_KUBE_H
#define REDIAL_SOURCE_KUBE_H

#include <event2/event.h>

#include "kubeconfig.h"
#include "model.h"
#include "util.h"

struct rd_source_kube;

struct rd_source_kube_config {
	const struct rd_kube_access *access;
	const char *node_name;
	bool legacy_endpoints;	/* Endpoints in the place of EndpointSlices */
	bool known[RD_KINDS];	/* the maps have something of this kind, see reflector.h */
	uint32_t room;		/* how many objects the maps have room for */
	unsigned stall_seconds; /* a watch that is silent for so long is begun anew */
	uint32_t mark;		/* of the sockets to the server */
	bool names;		/* what has a name and no frontend is wanted as well */
};

/*
 * Begin to list and watch.
 *
 * @config: what it points at must outlive the source
 * @store: where objects are put; must outlive the source
 * @changed: called from the event loop when the store has changed
 * Returns 0 or -errno, with @error set.
 */
int rd_source_kube_new(const struct rd_source_kube_config *config, struct rd_store *store,
		       struct event_base *base, void (*changed)(void *context), void *context,
		       struct rd_source_kube **ret_source, struct rd_error *error);
void rd_source_kube_free(struct rd_source_kube *source);

/* Has every list been heard to its end once? Before that the store has only a
 * part of what there is. */
bool rd_source_kube_complete(const struct rd_source_kube *source);

/*
 * How many objects of a list have arrived so far.
 *
 * @i: of the lists, from 0
 * @ret_name: of what, such as "services"
 * Returns false if there is no such list.
 */
bool rd_source_kube_heard(const struct rd_source_kube *source, size_t i, const char **ret_name,
			  size_t *ret_count);

/* List everything again. */
void rd_source_kube_reread(struct rd_source_kube *source);

/* When the server last proved to be alive about a kind: CLOCK_REALTIME in ns.
 * 0: never, or the kind is not watched. */
uint64_t rd_source_kube_seen(const struct rd_source_kube *source, enum rd_kind kind);

#endif

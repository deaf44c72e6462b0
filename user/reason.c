// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "reason.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

const char *rd_reason_text(enum rd_reason reason)
{
	static const char *const texts[] = {
		[RD_REASON_USED] = "used",
		[RD_REASON_NOT_READY] = "not ready",
		[RD_REASON_NOT_SERVING] = "terminating, and not serving",
		[RD_REASON_TERMINATING] = "terminating, while others are ready",
		[RD_REASON_OTHER_NODE] = "on another node, and the policy is Local",
		[RD_REASON_HINTS] = "for another zone or node, by its hints",
		[RD_REASON_NO_PORT] = "has no port of that name and protocol",
		[RD_REASON_OTHER_FAMILY] = "of the other IP family",
		[RD_REASON_ENDED] = "its Pod has ended",
		[RD_REASON_NOT_COUNTED] = "its object does not count for this Service",
	};
	_Static_assert(RD_ARRAY_SIZE(texts) == RD_REASONS, "a text for every reason");

	return texts[reason];
}

/* What it works on. */
struct reasoning {
	const struct rd_store *store;
	const struct rd_locale *locale;
	const struct rd_object *service;
	const struct rd_service_port *port;
	const struct rd_wanted_set *set; /* NULL: none is used */
	uint8_t family;
	bool local; /* the policy Local chose the set */
	struct rd_reasoned *found;
	size_t n;
};

/* What an object says of an endpoint's state. */
struct state {
	bool ready, serving, terminating;
};

static bool is_used(const struct reasoning *r, const struct rd_ip *ip, uint16_t port)
{
	for (size_t i = 0; r->set && i < r->set->n; i++)
		if (!rd_ip_compare(&r->set->backends[i].ip, ip) && r->set->backends[i].port == port)
			return true;
	return false;
}

/* Of an endpoint that has the port and the family. */
static enum rd_reason reason_of(const struct reasoning *r, const struct rd_ip *ip, uint16_t port,
				struct state state)
{
	if (is_used(r, ip, port))
		return RD_REASON_USED;
	if (state.ready)
		return r->local ? RD_REASON_OTHER_NODE : RD_REASON_HINTS;
	if (!state.terminating)
		return RD_REASON_NOT_READY;
	if (!state.serving)
		return RD_REASON_NOT_SERVING;
	/* Were no other ready, it would be used, but for the policy. */
	return r->local && !(r->set && r->set->n) ? RD_REASON_OTHER_NODE : RD_REASON_TERMINATING;
}

static int note(struct reasoning *r, const struct rd_object *object, const struct rd_ip *ip,
		uint16_t port, const char *node, enum rd_reason reason)
{
	if (rd_array_grow(&r->found, r->n, sizeof(*r->found)))
		return -ENOMEM;
	r->found[r->n++] = (struct rd_reasoned){
		.object = object, .ip = *ip, .port = port, .node = node, .reason = reason};
	return 0;
}

/* ---- slices and Endpoints ------------------------------------------------------------- */

/* See resolve.c: where the mirroring controller would make slices of them. */
static bool is_counted(const struct reasoning *r, const struct rd_object *object)
{
	if (object->kind == RD_ENDPOINTS && r->locale->legacy_endpoints)
		return true;
	return !object->slice.ignored &&
	       !(object->kind == RD_ENDPOINTS && r->service->service.n_selector);
}

static uint16_t port_of(const struct reasoning *r, const struct rd_subset *subset)
{
	for (size_t i = 0; i < subset->n_ports; i++)
		if (subset->ports[i].protocol == r->port->protocol &&
		    !strcmp(subset->ports[i].name, r->port->name))
			return subset->ports[i].port;
	return 0;
}

static int note_subset(struct reasoning *r, const struct rd_object *object,
		       const struct rd_subset *subset)
{
	uint16_t port = port_of(r, subset);

	for (size_t i = 0; i < subset->n_endpoints; i++) {
		const struct rd_slice_endpoint *e = &subset->endpoints[i];
		struct state state = {e->ready, e->serving, e->terminating};
		enum rd_reason reason = !is_counted(r, object)	    ? RD_REASON_NOT_COUNTED
					: e->ip.family != r->family ? RD_REASON_OTHER_FAMILY
					: !port			    ? RD_REASON_NO_PORT
						: reason_of(r, &e->ip, port, state);

		if (note(r, object, &e->ip, port, e->node, reason))
			return -ENOMEM;
	}
	return 0;
}

static int note_slices(struct reasoning *r)
{
	struct rd_object *object = NULL;

	while ((object = rd_store_next_slice(r->store, r->service->namespace, r->service->name,
					     object)))
		for (size_t i = 0; i < object->slice.n_subsets; i++)
			if (note_subset(r, object, &object->slice.subsets[i]))
				return -ENOMEM;
	return 0;
}

/* ---- Pods ------------------------------------------------------------------------------- */

static uint16_t port_of_pod(const struct reasoning *r, const struct rd_pod_spec *pod)
{
	if (!r->port->target_name)
		return r->port->target_number ?: r->port->port;
	for (size_t i = 0; i < pod->n_ports; i++)
		if (pod->ports[i].protocol == r->port->protocol &&
		    !strcmp(pod->ports[i].name, r->port->target_name))
			return pod->ports[i].port;
	return 0;
}

static int note_pod(struct reasoning *r, const struct rd_object *object)
{
	const struct rd_pod_spec *pod = &object->pod;
	const struct rd_ip *ip = &pod->ip[r->family == RD_FAMILY_6];
	uint16_t port = port_of_pod(r, pod);
	struct state state = {
		.ready = r->service->service.publish_not_ready || (pod->ready && !pod->terminating),
		.serving = pod->ready,
		.terminating = pod->terminating,
	};
	enum rd_reason reason = pod->ended    ? RD_REASON_ENDED
				: !ip->family ? RD_REASON_OTHER_FAMILY
				: !port	      ? RD_REASON_NO_PORT
					      : reason_of(r, ip, port, state);

	return note(r, object, ip->family ? ip : &pod->ip[r->family != RD_FAMILY_6], port,
		    pod->node, reason);
}

static int note_pods(struct reasoning *r)
{
	struct rd_object *object = NULL;

	while ((object = rd_store_next(r->store, RD_POD, r->service->namespace, object)))
		if (rd_selector_matches(&r->service->service, &object->pod) && note_pod(r, object))
			return -ENOMEM;
	return 0;
}

/* ---- all of them -------------------------------------------------------------------------- */

static const struct rd_wanted_frontend *frontend_of(const struct rd_wanted_port *port,
						    const struct rd_dialled *dialled)
{
	for (size_t i = 0; i < port->n_frontends; i++) {
		const struct rd_wanted_frontend *f = &port->frontends[i];

		if (f->scope == dialled->scope && f->port == dialled->port &&
		    f->ip.family == dialled->ip.family &&
		    (f->scope == RD_SCOPE_NODE_PORT || !rd_ip_compare(&f->ip, &dialled->ip)))
			return f;
	}
	return NULL;
}

static const struct rd_service_port *spec_port(const struct rd_service_spec *spec,
					       const struct rd_wanted_port *wanted)
{
	for (size_t i = 0; i < spec->n_ports; i++)
		if (spec->ports[i].protocol == wanted->protocol &&
		    spec->ports[i].port == wanted->port &&
		    !strcmp(spec->ports[i].name, wanted->name))
			return &spec->ports[i];
	return NULL;
}

/* Does a policy Local apply there? At a NodePort of another node's address it
 * does where that is a frontend of its own (C12). */
static bool is_local(const struct rd_service_spec *spec, const struct rd_service_port *port,
		     const struct rd_dialled *dialled)
{
	const struct rd_ip *cluster_ip = &spec->cluster_ip[dialled->ip.family == RD_FAMILY_6];

	if (dialled->scope == RD_SCOPE_ADDRESS && !rd_ip_compare(cluster_ip, &dialled->ip))
		return spec->internal_local;
	return spec->external_local && (dialled->refused || (dialled->scope == RD_SCOPE_ADDRESS &&
							     dialled->port == port->node_port));
}

/* Find the port and the set that were dialled. Returns 0 or -ENOENT. */
static int find_set(struct reasoning *r, const struct rd_wanted *wanted,
		    const struct rd_dialled *dialled)
{
	for (size_t i = 0; i < wanted->n_ports; i++) {
		const struct rd_wanted_port *port = &wanted->ports[i];
		const struct rd_wanted_frontend *frontend = frontend_of(port, dialled);

		if (port->protocol != dialled->protocol || !frontend)
			continue;
		r->port = spec_port(&r->service->service, port);
		r->set = dialled->refused ? NULL : &port->sets[frontend->set];
		break;
	}
	if (!r->port)
		return -ENOENT;
	r->local = is_local(&r->service->service, r->port, dialled);
	return 0;
}

int rd_reason(const struct rd_store *store, const struct rd_locale *locale,
	      const struct rd_object *service, const struct rd_dialled *dialled,
	      struct rd_reasoned **ret_reasoned, size_t *ret_n)
{
	struct reasoning reasoning = {
		.store = store,
		.locale = locale,
		.service = service,
		.family = dialled->ip.family,
	};
	struct rd_wanted wanted;
	int r = rd_resolve(store, locale, service, &wanted);

	if (r)
		return r;
	r = find_set(&reasoning, &wanted, dialled);
	r = r ?: note_slices(&reasoning) ?: note_pods(&reasoning);
	rd_wanted_free(&wanted);
	if (r) {
		free(reasoning.found);
		return r;
	}
	*ret_reasoned = reasoning.found;
	*ret_n = reasoning.n;
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * resolve.h - what a Service means: from the objects in the store to the
 * frontends and endpoint sets that should be in the maps. Pure.
 */
#ifndef REDIAL_RESOLVE_H
#define REDIAL_RESOLVE_H

#include "model.h"
#include "nodeport.h"

/* Where this agent is: what "local" and "this zone" mean. */
struct rd_locale {
	const char *node;	       /* this node's name; "": not known */
	const char *zone;	       /* this node's zone; "": not known */
	const struct rd_ip *addresses; /* this node's, for source ranges */
	size_t n_addresses;
	const struct rd_nodeport_rule *nodeports; /* where NodePorts answer; NULL: everywhere */
	bool legacy_endpoints; /* Endpoints are all there is: there are no slices */
	const char *dns_for;   /* namespace/name of the Service whose port 53 is answered on this
				* node (H10); NULL: none */
};

/* One endpoint that may be dialled. Port in host order. */
struct rd_backend {
	struct rd_ip ip;
	uint16_t port;
};

/* An endpoint set: sorted by address, then port, without duplicates. Empty:
 * connects are refused. */
struct rd_wanted_set {
	uint8_t family;
	struct rd_backend *backends;
	size_t n;
};

/* An address that leads to one of the sets. Port in host order. */
struct rd_wanted_frontend {
	struct rd_ip ip; /* RD_SCOPE_NODE_PORT: only the family */
	uint16_t port;
	uint8_t scope; /* enum rd_scope */
	uint8_t flags; /* enum rd_flag */
	size_t set;    /* index into the port's sets */
};

/* One Service port. */
struct rd_wanted_port {
	const char *name; /* borrowed from the Service */
	uint16_t port;
	uint8_t protocol;
	struct rd_wanted_set *sets;
	size_t n_sets;
	struct rd_wanted_frontend *frontends;
	size_t n_frontends;
};

/* A Service. Without ports it is not to be programmed. */
struct rd_wanted {
	const struct rd_object *service; /* borrowed */
	struct rd_wanted_port *ports;
	size_t n_ports;
};

/*
 * Resolve one Service (SERVICE-SEMANTICS A, B, C6 to C12).
 *
 * @ret_wanted: the caller frees it with rd_wanted_free; it borrows from
 * @service and is valid until the store changes
 * Returns 0 or -ENOMEM; then @ret_wanted is untouched.
 */
int rd_resolve(const struct rd_store *store, const struct rd_locale *locale,
	       const struct rd_object *service, struct rd_wanted *ret_wanted);
void rd_wanted_free(struct rd_wanted *wanted);

/*
 * Count the addresses on this node at which an endpoint of the Service is
 * ready, whatever its ports (C13).
 *
 * Returns 0 or -ENOMEM.
 */
int rd_count_local_ready(const struct rd_store *store, const struct rd_locale *locale,
			 const struct rd_object *service, enum rd_ip_family family,
			 uint32_t *ret_count);

/* Whether a load balancer outside asks this Service's health check port (C13). */
bool rd_has_health_check(const struct rd_service_spec *service);

/* Whether a Service of this kind has frontends at all (A1, A2, A3). */
bool rd_is_programmed(const struct rd_service_spec *service);

#endif

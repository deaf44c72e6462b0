/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * resolve.h - what a Service means: from the objects in the store to the
 * frontends and endpoint sets that should be in the maps. Pure.
 */
#ifndef REDIAL_RESOLVE_H
#define REDIAL_RESOLVE_H

#include "model.h"

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
	struct rd_ip ip;
	uint16_t port;
	uint8_t scope; /* enum rd_scope */
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
 * Resolve one Service (SERVICE-SEMANTICS A1 to A18, B1, B2).
 *
 * @ret_wanted: the caller frees it with rd_wanted_free; it borrows from
 * @service and is valid until the store changes
 * Returns 0 or -ENOMEM; then @ret_wanted is untouched.
 */
int rd_resolve(const struct rd_store *store, const struct rd_object *service,
	       struct rd_wanted *ret_wanted);
void rd_wanted_free(struct rd_wanted *wanted);

/* Whether a Service of this kind has frontends at all (A1, A2, A3). */
bool rd_is_programmed(const struct rd_service_spec *service);

#endif

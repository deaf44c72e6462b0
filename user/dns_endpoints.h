/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_endpoints.h - the endpoints of headless Services, as names see them, and
 * whose an address is (SERVICE-SEMANTICS H3, H5). Pure.
 */
#ifndef REDIAL_DNS_ENDPOINTS_H
#define REDIAL_DNS_ENDPOINTS_H

#include "model.h"

/* An endpoint's own label: its hostname, or its address with dashes. */
#define RD_DNS_OWN_LABEL 64

/* An endpoint of a headless Service that has names: it is ready, or is to be
 * published all the same. What it points at is borrowed from the store. */
struct rd_named_endpoint {
	struct rd_ip ip;
	const char *hostname;		/* NULL: none */
	const struct rd_subset *subset; /* whose ports it has; NULL: it is a Pod */
	const struct rd_pod_spec *pod;
};

/*
 * The endpoints of a headless Service that have names, by address and hostname,
 * each pair as often as it is found with other ports.
 *
 * @legacy_endpoints: Endpoints are all there is: there are no slices
 * @ret_endpoints: to be freed; valid until the store changes
 * Returns 0 or -ENOMEM.
 */
int rd_named_endpoints(const struct rd_store *store, const struct rd_object *service,
		       bool legacy_endpoints, struct rd_named_endpoint **ret_endpoints,
		       size_t *ret_n);

/* The number that a Service's port has at an endpoint; 0: the endpoint does not
 * have it. Host order. */
uint16_t rd_named_port(const struct rd_named_endpoint *endpoint,
		       const struct rd_service_port *port);

/* The endpoint's own label; `buffer` has RD_DNS_OWN_LABEL bytes. Returns it, or
 * the hostname. */
const char *rd_named_label(const struct rd_named_endpoint *endpoint, char *buffer);

/* Whose an address is. What it points at is borrowed from the store. */
struct rd_address_owner {
	struct rd_ip ip;
	bool is_endpoint;     /* of a headless Service; else it is the Service's own */
	const char *hostname; /* the endpoint's; NULL: none */
	const struct rd_object *service;
	uint32_t next; /* of its bucket, from 1; 0: none */
};

/* Every address that has a name, by address. */
struct rd_address_index {
	struct rd_address_owner *owners;
	uint32_t *buckets; /* of owners, from 1; 0: empty */
	size_t n, n_buckets;
	uint64_t stamp; /* the store's addresses_stamp when it was made */
	bool made;
};

/* Make the index anew, if it is out of date. Returns 0 or -ENOMEM. */
int rd_address_index_update(struct rd_address_index *index, const struct rd_store *store,
			    bool legacy_endpoints);
/* The owners of an address, in order of their Services: begin with @previous NULL;
 * ends with NULL. Only right after an update. */
const struct rd_address_owner *rd_address_index_next(const struct rd_address_index *index,
						     const struct rd_ip *ip,
						     const struct rd_address_owner *previous);
/* As rd_named_label. */
const char *rd_address_label(const struct rd_address_owner *owner, char *buffer);
void rd_address_index_clear(struct rd_address_index *index);

#endif

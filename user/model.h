/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * model.h - the Kubernetes objects redial knows, and the store of those it has
 * been told of. Pure: no I/O, no JSON, no clock.
 *
 * An object is a value with everything in it; the store owns what is put into
 * it. Whoever changes the store is told nothing; the store notes which Services
 * the change may concern, and the agent asks for those.
 */
#ifndef REDIAL_MODEL_H
#define REDIAL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ip.h"
#include "redial/abi.h"
#include "tree.h"

enum rd_kind { RD_SERVICE, RD_SLICE, RD_ENDPOINTS, RD_POD, RD_NODE, RD_KINDS };

/* "Service", "EndpointSlice", … */
const char *rd_kind_name(enum rd_kind kind);

struct rd_label {
	char *key;
	char *value;
};

/* A Service's spec.ports[]. Of the target port one is set, or neither, which
 * means the port's own number. */
struct rd_service_port {
	char *name; /* "" if unnamed */
	uint8_t protocol;
	uint16_t port;
	uint16_t node_port;	/* 0: none */
	uint16_t target_number; /* 0: none */
	char *target_name;	/* NULL: none */
};

struct rd_service_spec {
	enum rd_service_type type;
	bool headless;		    /* clusterIP is "None" */
	bool not_ours;		    /* label service.kubernetes.io/service-proxy-name, or
				     * annotation redial.io/exclude */
	bool publish_not_ready;	    /* publishNotReadyAddresses */
	struct rd_ip cluster_ip[2]; /* [0] IPv4, [1] IPv6; family 0: none */
	bool assigned[2];	    /* the address is ours to give, and given */
	bool internal_local;	    /* internalTrafficPolicy Local */
	bool external_local;	    /* externalTrafficPolicy Local */
	uint16_t health_check_port; /* healthCheckNodePort; 0: none */
	uint32_t affinity_seconds;  /* sessionAffinity ClientIP; 0: None */
	struct rd_ip *external_ips;
	size_t n_external_ips;
	struct rd_ip *lb_ips; /* status.loadBalancer.ingress[].ip with ipMode VIP */
	size_t n_lb_ips;
	struct rd_cidr *source_ranges; /* loadBalancerSourceRanges */
	size_t n_source_ranges;
	struct rd_label *selector;
	size_t n_selector;
	char *external_name; /* of an ExternalName; NULL: none */
	struct rd_service_port *ports;
	size_t n_ports;
};

/* A port of an EndpointSlice or of an Endpoints subset. */
struct rd_slice_port {
	char *name; /* "" if unnamed */
	uint8_t protocol;
	uint16_t port;
};

struct rd_slice_endpoint {
	struct rd_ip ip;
	char *node;	   /* nodeName; NULL: not known */
	char *hostname;	   /* a DNS label; NULL: none */
	char **hint_zones; /* NULL-terminated; NULL: none */
	char **hint_nodes;
	bool ready;
	bool serving;
	bool terminating;
};

/* Every endpoint here has every port here. */
struct rd_subset {
	struct rd_slice_port *ports;
	size_t n_ports;
	struct rd_slice_endpoint *endpoints;
	size_t n_endpoints;
};

/* An EndpointSlice (one subset) or an Endpoints object (any number). */
struct rd_slice_spec {
	char *service; /* the owner's name; "": none, the slice is ignored */
	bool ignored;  /* by the datapath: labelled headless, or not to be mirrored */
	bool headless; /* labelled headless: it counts for names */
	struct rd_subset *subsets;
	size_t n_subsets;
	int64_t triggered_ns; /* annotation last-change-trigger-time; 0: none */
	int64_t pending_ns;   /* the earliest of those that are not in the maps yet, kept by the
			       * store until whoever applies it takes it; 0: none */
};

struct rd_pod_spec {
	char *node;	 /* spec.nodeName; NULL: none */
	char *hostname;	 /* spec.hostname; NULL: none */
	char *subdomain; /* spec.subdomain: the Service that the hostname is in; NULL: none */
	struct rd_label *labels;
	size_t n_labels;
	struct rd_ip ip[2];
	bool ready;		     /* condition Ready, or no conditions at all */
	bool terminating;	     /* deletionTimestamp */
	bool ended;		     /* phase Succeeded or Failed: never an endpoint */
	struct rd_slice_port *ports; /* the named ports of its containers */
	size_t n_ports;
};

struct rd_node_spec {
	char *zone;		 /* label topology.kubernetes.io/zone; NULL: none */
	struct rd_ip *addresses; /* InternalIP and ExternalIP */
	size_t n_addresses;
	bool leaving; /* deletionTimestamp, or the autoscaler is about to delete it */
};

struct rd_object {
	RB_ENTRY(rd_object) by_key;
	RB_ENTRY(rd_object) by_owner; /* RD_SLICE and RD_ENDPOINTS only */
	enum rd_kind kind;
	char *namespace; /* "" for a Node */
	char *name;
	int64_t created;    /* seconds since the epoch; 0: not known */
	const char *origin; /* where it comes from; owned by the source */
	uint32_t round;	    /* the source's own: in which list it was named last */
	union {
		struct rd_service_spec service;
		struct rd_slice_spec slice;
		struct rd_pod_spec pod;
		struct rd_node_spec node;
	};
};

void rd_object_free(struct rd_object *object);
static inline void rd_object_cleanup(struct rd_object **object)
{
	rd_object_free(*object);
}
#define _rd_object_ __attribute__((cleanup(rd_object_cleanup)))

/* A Service's name, held by value in the sets of names below. */
struct rd_service_name {
	RB_ENTRY(rd_service_name) entry;
	char namespace[RD_LABEL_MAX];
	char name[RD_LABEL_MAX];
};
RB_HEAD(rd_name_set, rd_service_name);

/* Order by namespace, then name: the order of every list redial prints. */
int rd_name_compare(const char *namespace_a, const char *name_a, const char *namespace_b,
		    const char *name_b);

/* Add a name, unless it is there. Returns 0 or -ENOMEM. */
int rd_name_set_add(struct rd_name_set *set, const char *namespace, const char *name);
struct rd_service_name *rd_name_set_first(struct rd_name_set *set);
struct rd_service_name *rd_name_set_next(struct rd_service_name *name);
void rd_name_set_drop(struct rd_name_set *set, struct rd_service_name *name);
void rd_name_set_clear(struct rd_name_set *set);

RB_HEAD(rd_key_tree, rd_object);
RB_HEAD(rd_owner_tree, rd_object);

/* Every change of what a Service means gives it another stamp. Those of several
 * Services may be kept as one. */
#define RD_STAMPS 4096

struct rd_store {
	struct rd_key_tree objects;
	struct rd_owner_tree slices;
	struct rd_name_set dirty;
	bool all_dirty;	    /* the set could not grow: consider every Service */
	bool nodes_changed; /* a Node's zone or addresses, or which there are */
	int64_t started_ns; /* earlier trigger times are never pending */
	uint32_t count[RD_KINDS];
	uint64_t stamp;		    /* of the last change of all */
	uint64_t addresses_stamp;   /* of the last that concerns whose an address is */
	uint64_t stamps[RD_STAMPS]; /* see rd_store_stamp */
};

void rd_store_init(struct rd_store *store);
void rd_store_free(struct rd_store *store);

/* Add an object, or replace the one of its kind, namespace and name. Takes
 * ownership. A replaced Service hands the address it was assigned on to its
 * successor, unless that one names its own; a slice its pending trigger time. */
void rd_store_put(struct rd_store *store, struct rd_object *object);
/* Remove and free, if present. */
void rd_store_remove(struct rd_store *store, enum rd_kind kind, const char *namespace,
		     const char *name);

struct rd_object *rd_store_find(const struct rd_store *store, enum rd_kind kind,
				const char *namespace, const char *name);

/*
 * Where the stamp of a Service, or of all the Services of a namespace, is kept:
 * while the number there is the same, so is what they mean.
 *
 * @name: "": all those of the namespace
 */
const uint64_t *rd_store_stamp(const struct rd_store *store, const char *namespace,
			       const char *name);
/* A Service was changed in place. */
void rd_store_touch(struct rd_store *store, const struct rd_object *service);

/* Iterate the objects of one kind in order; @namespace NULL means all of them.
 * Begin with @previous NULL; ends with NULL. */
struct rd_object *rd_store_next(const struct rd_store *store, enum rd_kind kind,
				const char *namespace, struct rd_object *previous);
/* The same over the slices and Endpoints that a Service owns. */
struct rd_object *rd_store_next_slice(const struct rd_store *store, const char *namespace,
				      const char *service, struct rd_object *previous);

/* Does a Pod with these labels match this selector? An empty selector matches
 * nothing: such a Service has its endpoints written by hand. */
bool rd_selector_matches(const struct rd_service_spec *service, const struct rd_pod_spec *pod);

/* The number of a Service's target port in one Pod, in host order; 0: the Pod has no
 * container port of that name and protocol. */
uint16_t rd_target_port(const struct rd_service_port *port, const struct rd_pod_spec *pod);

#endif

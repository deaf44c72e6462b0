/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * agent.h - the composition root: sources fill the store, what is in the store
 * is resolved and planned, operations are applied. One thread, one event loop.
 */
#ifndef REDIAL_AGENT_H
#define REDIAL_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "ip.h"
#include "kubeconfig.h"
#include "util.h"

/* One source: a directory, or an API server. */
struct rd_agent_config {
	const char *manifests;			  /* the directory; NULL: an API server */
	const struct rd_kube_access *kube_access; /* how to reach it */
	bool legacy_endpoints;			  /* Endpoints, not EndpointSlices */
	unsigned stall_seconds; /* how long a silent watch is believed to be alive */
	const char *bpffs;
	const char *cgroup;
	const char *node_name;
	struct rd_cidr service_cidr;
	const char *nodeport_addresses;	    /* see --nodeport-addresses */
	const char *const *exclude_cgroups; /* NULL-terminated, or NULL */
	const char *const *exclude_netns;
	uint32_t max_services;
	uint32_t max_backends;
	const char *http_address; /* ADDRESS:PORT of /metrics and probes; NULL: none */
	bool metrics_backends;	  /* each backend's numbers in /metrics as well */
	bool track_outcomes;
	bool detach_on_exit;
	const char *const *dns_addresses; /* NULL-terminated; NULL: no names are served */
	const char *cluster_domain;
	const char *dns_upstreams; /* see dns_server.h */
	const char *dns_local_for; /* see dns_local.h; NULL: none */
	bool show_progress;	   /* of the first lists, on stderr, which is a terminal */
};

/*
 * Run until SIGTERM or SIGINT. Tells the service manager when the first
 * complete state is in the maps and the programs are attached.
 *
 * Returns 0 after a signal, or -errno with @error if it could not start; what
 * was pinned before goes on working either way.
 */
int rd_agent_run(const struct rd_agent_config *config, struct rd_error *error);

#endif

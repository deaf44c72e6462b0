/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * nodeport.h - on which addresses NodePorts answer: --nodeport-addresses
 * (SERVICE-SEMANTICS C6, C7). Pure.
 */
#ifndef REDIAL_NODEPORT_H
#define REDIAL_NODEPORT_H

#include "model.h"

#define RD_NODEPORT_CIDRS 32

struct rd_nodeport_rule {
	bool all;	/* "all", the default */
	bool primary;	/* "primary": those that the Node object names */
	bool localhost; /* "localhost" */
	struct rd_cidr cidrs[RD_NODEPORT_CIDRS];
	size_t n_cidrs;
};

/* Parse a list of networks and words, separated by commas; NULL is "all".
 * Returns 0 or -EINVAL (also for too many). */
int rd_nodeport_parse(const char *text, struct rd_nodeport_rule *ret_rule);

/*
 * Does a NodePort answer at this address of a node?
 *
 * Never at ::1. At IPv4's loopback unless the rule says otherwise. Networks of
 * one family leave the other one unrestricted.
 * @node: the node's object; NULL: not known, and nothing is primary
 */
bool rd_nodeport_allows(const struct rd_nodeport_rule *rule, const struct rd_ip *ip,
			const struct rd_node_spec *node);

#endif

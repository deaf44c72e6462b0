/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * view.h - what is pinned, as the commands look at it: the maps, and the plan
 * that a restarting agent would adopt from them.
 */
#ifndef REDIAL_VIEW_H
#define REDIAL_VIEW_H

#include "maps.h"
#include "options.h"
#include "plan.h"

struct rd_view {
	struct rd_maps maps;
	struct rd_plan plan;
};

/* Open what is pinned in `bpffs`. Returns 0 or -errno with @error saying what to
 * do; @view must be closed either way. */
int rd_view_open(const char *bpffs, struct rd_view *view, struct rd_error *error);
void rd_view_close(struct rd_view *view);

/* The Service at this address, also if it is a node's and the port a NodePort;
 * NULL: none. */
const struct rd_planned *rd_view_owner(const struct rd_view *view, struct rd_key key);

/* The Service that a socket dialled: whose id the record has, if that is still
 * who has the address. Otherwise it was deleted, and NULL. */
const struct rd_planned *rd_view_dialled(const struct rd_view *view,
					 const struct rd_socket *socket);

/* Whether the command line's -n and operand mean this Service. */
bool rd_is_selected(const struct rd_settings *settings, const char *namespace, const char *name);

/* "TCP" or "UDP". */
const char *rd_protocol_name(uint8_t protocol);

#endif

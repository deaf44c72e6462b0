// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "view.h"

#include <netinet/in.h>
#include <string.h>

int rd_view_open(const char *bpffs, struct rd_view *view, struct rd_error *error)
{
	struct rd_limits limits;
	int r;

	*view = (struct rd_view){.maps = RD_MAPS_NONE};
	r = rd_maps_open(bpffs, &view->maps, error);
	if (r)
		return r;
	limits = rd_maps_limits(&view->maps);
	r = rd_plan_new(&view->plan, &limits) ?: rd_maps_adopt(&view->maps, &view->plan);
	return r ? rd_error_set(error, r, "cannot read the maps: %s", strerror(-r)) : 0;
}

void rd_view_close(struct rd_view *view)
{
	rd_plan_free(&view->plan);
	rd_maps_close(&view->maps);
}

const struct rd_planned *rd_view_owner(const struct rd_view *view, struct rd_key key)
{
	const struct rd_planned_frontend *frontend = rd_plan_frontend(&view->plan, &key);

	if (!frontend) {
		memset(key.addr, 0, sizeof(key.addr));
		key.scope = RD_SCOPE_NODE_PORT;
		frontend = rd_plan_frontend(&view->plan, &key);
	}
	return frontend ? frontend->service : NULL;
}

const struct rd_planned *rd_view_dialled(const struct rd_view *view, const struct rd_socket *socket)
{
	struct rd_key key = {.port = socket->dialled_port,
			     .protocol = socket->protocol,
			     .family = socket->family};
	const struct rd_planned *owner;

	memcpy(key.addr, socket->dialled_addr, key.family == RD_IPV6 ? 16 : 4);
	owner = rd_view_owner(view, key);
	return owner && rd_plan_port(&view->plan, socket->service) &&
			       view->plan.by_id[socket->service] == owner
		       ? owner
		       : NULL;
}

bool rd_is_selected(const struct rd_settings *settings, const char *namespace, const char *name)
{
	return (!settings->namespace || !strcmp(settings->namespace, namespace)) &&
	       (!settings->name || !strcmp(settings->name, name));
}

const char *rd_protocol_name(uint8_t protocol)
{
	return protocol == IPPROTO_UDP ? "UDP" : "TCP";
}

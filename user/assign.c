// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "assign.h"

#include <errno.h>

#include "clusterip.h"
#include "resolve.h"
#include "util.h"

bool rd_assign_is_needed(const struct rd_assigner *assigner, const struct rd_object *service)
{
	const struct rd_service_spec *spec = &service->service;

	return rd_is_programmed(spec) && !spec->cluster_ip[0].family &&
	       !spec->cluster_ip[1].family && assigner->cidr->base.family;
}

/* The address that a Service in the maps has, as far as it is ours to give. */
static struct rd_ip planned_address(const struct rd_assigner *assigner,
				    const struct rd_planned *planned)
{
	const struct rd_cidr *cidr = assigner->cidr;
	const struct rd_service *record;
	struct rd_ip ip;

	if (!planned || !planned->n_ports)
		return (struct rd_ip){0};
	record = &planned->ports[0].record;
	ip = rd_ip_from_bytes((enum rd_ip_family)cidr->base.family, cidr->base.family == RD_FAMILY_6
									    ? record->cluster_ip6
									    : record->cluster_ip4);
	return rd_cidr_contains(cidr, &ip) ? ip : (struct rd_ip){0};
}

/* Give a Service the address it had before this agent started, or a free one. */
static int assign_address(const struct rd_assigner *assigner, struct rd_ip_set *taken,
			  struct rd_object *service, bool pinned_only)
{
	const struct rd_cidr *cidr = assigner->cidr;
	size_t v6 = cidr->base.family == RD_FAMILY_6;
	struct rd_ip ip = planned_address(
		assigner, rd_plan_find(assigner->plan, service->namespace, service->name));

	if (pinned_only && (!ip.family || rd_ip_set_has(taken, &ip)))
		return 0;
	/* Without one it waits for room, see plan_service. */
	if (!pinned_only && rd_clusterip_pick(cidr, taken, service->namespace, service->name, &ip))
		return 0;
	service->service.cluster_ip[v6] = ip;
	service->service.assigned[v6] = true;
	return rd_ip_set_add(taken, &ip);
}

static int assign_in_turn(const struct rd_assigner *assigner, struct rd_name_set *names,
			  struct rd_ip_set *taken, bool pinned_only)
{
	struct rd_service_name *name;
	int r = 0;

	for (name = rd_name_set_first(names); !r && name; name = rd_name_set_next(name)) {
		struct rd_object *service =
			rd_store_find(assigner->store, RD_SERVICE, name->namespace, name->name);

		if (service && rd_assign_is_needed(assigner, service))
			r = assign_address(assigner, taken, service, pinned_only);
	}
	return r;
}

static bool any_needs_address(const struct rd_assigner *assigner, struct rd_name_set *names)
{
	struct rd_service_name *name;

	for (name = rd_name_set_first(names); name; name = rd_name_set_next(name)) {
		const struct rd_object *service =
			rd_store_find(assigner->store, RD_SERVICE, name->namespace, name->name);

		if (service && rd_assign_is_needed(assigner, service))
			return true;
	}
	return false;
}

int rd_assign(const struct rd_assigner *assigner, struct rd_name_set *names)
{
	struct rd_planned *planned = NULL;
	struct rd_object *service = NULL;
	struct rd_ip_set taken = {0};
	int r = 0;

	if (!assigner->cidr->base.family || !any_needs_address(assigner, names))
		return 0;
	while ((service = rd_store_next(assigner->store, RD_SERVICE, NULL, service)))
		for (size_t i = 0; i < RD_ARRAY_SIZE(service->service.cluster_ip); i++)
			r = r ?: rd_ip_set_add(&taken, &service->service.cluster_ip[i]);
	r = r ?: assign_in_turn(assigner, names, &taken, true);
	while (!r && (planned = rd_plan_next(assigner->plan, planned))) {
		struct rd_ip ip = planned_address(assigner, planned);

		r = rd_ip_set_add(&taken, &ip);
	}
	r = r ?: assign_in_turn(assigner, names, &taken, false);
	rd_ip_set_clear(&taken);
	return r;
}

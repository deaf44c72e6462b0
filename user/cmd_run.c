// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "agent.h"
#include "commands.h"
#include "datapath.h"
#include "log.h"
#include "system.h"

/* A network in full, without host bits, which in a flag are a slip. */
static int parse_network(const char *text, struct rd_cidr *ret_cidr)
{
	char address[RD_IP_TEXT];
	struct rd_cidr cidr;
	struct rd_ip ip;

	snprintf(address, sizeof(address), "%.*s", (int)strcspn(text, "/"), text);
	if (rd_cidr_parse(text, &cidr) || rd_ip_parse(address, &ip) ||
	    rd_ip_compare(&ip, &cidr.base))
		return -EINVAL;
	*ret_cidr = cidr;
	return 0;
}

int rd_cmd_run(const struct rd_settings *settings, struct rd_error *error)
{
	_rd_free_ char *root = rd_cgroup2_mount();
	struct rd_agent_config config = {
		.manifests = settings->manifests,
		.bpffs = settings->bpffs,
		.cgroup = settings->cgroup ?: root,
		.nodeport_addresses = settings->nodeport_addresses,
		.exclude_cgroups = settings->exclude_cgroups,
		.exclude_netns = settings->exclude_netns,
		.max_services = settings->max_services,
		.max_backends = settings->max_backends,
		.detach_on_exit = settings->detach_on_exit,
	};
	struct utsname host;
	int level = rd_log_level_parse(settings->log_level);

	if (!config.manifests)
		return rd_error_usage(error, "name a source: --manifests DIR");
	if (level < 0)
		return rd_error_usage(error, "--log-level takes error, warn, info or debug");
	if (parse_network(settings->service_cidr, &config.service_cidr))
		return rd_error_usage(error,
				      "--service-cidr takes a network such as 10.96.0.0/16, not %s",
				      settings->service_cidr);
	if (!config.cgroup)
		return rd_error_set(error, -ENODEV,
				    "no cgroup2 is mounted: 'mount -t cgroup2 none DIR', or name "
				    "one with --cgroup");
	uname(&host);
	config.node_name = settings->node_name ?: host.nodename;
	rd_log_set_level((enum rd_log_level)level);
	if (level == RD_LOG_DEBUG)
		rd_datapath_verbose();
	return rd_agent_run(&config, error);
}

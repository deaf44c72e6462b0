// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent.h"
#include "commands.h"
#include "datapath.h"
#include "kubeconfig.h"
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

/* Find out how to reach the API server, if that is the source. */
static int find_server(const struct rd_settings *settings, struct rd_kube_access *access,
		       struct rd_error *error)
{
	int sources = (settings->manifests != NULL) + settings->kubernetes +
		      (settings->kubeconfig != NULL);
	int r = 0;

	if (sources != 1)
		return rd_error_usage(error, "name one source: --manifests DIR, --kubernetes or "
					     "--kubeconfig FILE");
	if (strcmp(settings->endpoints_api, "endpointslices") &&
	    strcmp(settings->endpoints_api, "endpoints"))
		return rd_error_usage(error,
				      "--endpoints-api takes endpointslices or endpoints, "
				      "not %s",
				      settings->endpoints_api);
	if (settings->kubernetes)
		r = rd_kube_access_in_cluster(NULL, access, error);
	else if (settings->kubeconfig)
		r = rd_kube_access_load(settings->kubeconfig, settings->context, access, error);
	return r
		       ?: settings->server
			  ? rd_kube_access_set_server(access, settings->server, error)
			  : 0;
}

int rd_cmd_run(const struct rd_settings *settings, struct rd_error *error)
{
	struct rd_kube_access access = {0};
	_rd_free_ char *root = rd_cgroup2_mount();
	int format = rd_log_format_parse(settings->log_format);
	struct rd_agent_config config = {
		.manifests = settings->manifests,
		.kube_access = &access,
		.legacy_endpoints = !strcmp(settings->endpoints_api, "endpoints"),
		.stall_seconds = settings->stall_seconds,
		.http_address = settings->http_address,
		.metrics_backends = settings->metrics_backends,
		.dns_addresses = *settings->dns_addresses ? settings->dns_addresses : NULL,
		.cluster_domain = settings->cluster_domain,
		.dns_upstreams = settings->dns_upstreams,
		.dns_local_for = settings->dns_local_for,
		.bpffs = settings->bpffs,
		.cgroup = settings->cgroup ?: root,
		.nodeport_addresses = settings->nodeport_addresses,
		.exclude_cgroups = settings->exclude_cgroups,
		.exclude_netns = settings->exclude_netns,
		.max_services = settings->max_services,
		.max_backends = settings->max_backends,
		.track_outcomes = !strcmp(settings->track_outcomes, "on"),
		.detach_on_exit = settings->detach_on_exit,
		.show_progress = isatty(STDERR_FILENO) && format == RD_LOG_TEXT,
	};
	struct utsname host;
	int level = rd_log_level_parse(settings->log_level);
	int r;

	if (strcmp(settings->track_outcomes, "on") && strcmp(settings->track_outcomes, "off"))
		return rd_error_usage(error, "--track-outcomes takes on or off, not %s",
				      settings->track_outcomes);
	if (level < 0)
		return rd_error_usage(error, "--log-level takes error, warn, info or debug");
	if (format < 0)
		return rd_error_usage(error, "--log-format takes text or json, not %s",
				      settings->log_format);
	rd_log_set_format((enum rd_log_format)format);
	/* The API server gives its Services their addresses by itself. */
	if (settings->manifests && parse_network(settings->service_cidr, &config.service_cidr))
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
	r = find_server(settings, &access, error) ?: rd_agent_run(&config, error);
	rd_kube_access_free(&access);
	return r;
}

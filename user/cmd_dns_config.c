// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cmd_dns_config.c - the resolv.conf of a Pod or container that is to ask redial
 * for names, or the same as a Pod's dnsConfig.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "resolvconf.h"

#define DNS_PORT 53

static int parse_server(const char *text, struct rd_ip *ret_ip, struct rd_error *error)
{
	uint16_t port = DNS_PORT;

	if (rd_ip_parse(text, ret_ip) && rd_ip_port_parse(text, ret_ip, &port))
		return rd_error_usage(error, "--dns takes an ADDRESS such as 10.96.0.10, not %s",
				      text);
	if (!memcmp(ret_ip->bytes, (const uint8_t[16]){0}, 16))
		return rd_error_usage(error, "%s is no address that a Pod can ask", text);
	if (port != DNS_PORT)
		return rd_error_usage(error,
				      "resolv.conf names no ports: redial must answer at port %d, "
				      "not at %s",
				      DNS_PORT, text);
	return 0;
}

static int parse_servers(const char *const *texts, struct rd_ip *servers, size_t *ret_n,
			 struct rd_error *error)
{
	size_t n = 0;
	int r = 0;

	if (!*texts)
		return rd_error_usage(error, "say where redial answers for names: --dns ADDRESS");
	for (; !r && texts[n]; n++) {
		if (n == RD_RESOLVCONF_POD_SERVERS)
			return rd_error_usage(error, "a Pod asks %d servers at most",
					      RD_RESOLVCONF_POD_SERVERS);
		r = parse_server(texts[n], &servers[n], error);
	}
	*ret_n = n;
	return r;
}

static void add_servers(cJSON *list, const struct rd_resolvconf_pod *pod)
{
	char text[RD_IP_TEXT];

	for (size_t i = 0; i < pod->n_servers; i++)
		cJSON_AddItemToArray(list,
				     cJSON_CreateString(rd_ip_format(&pod->servers[i], text)));
}

static void add_searches(cJSON *list, const struct rd_resolvconf_pod *pod)
{
	for (size_t i = 0; i < pod->n_searches; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(pod->searches[i]));
}

static void add_ndots(cJSON *list)
{
	cJSON *option = cJSON_CreateObject();
	char text[16];

	snprintf(text, sizeof(text), "%d", RD_RESOLVCONF_POD_NDOTS);
	cJSON_AddStringToObject(option, "name", "ndots");
	cJSON_AddStringToObject(option, "value", text);
	cJSON_AddItemToArray(list, option);
}

/* A Pod's dnsConfig; NULL: out of memory. */
static char *write_json(const struct rd_resolvconf_pod *pod)
{
	cJSON *root = cJSON_CreateObject();
	char *text;

	add_servers(cJSON_AddArrayToObject(root, "nameservers"), pod);
	add_searches(cJSON_AddArrayToObject(root, "searches"), pod);
	add_ndots(cJSON_AddArrayToObject(root, "options"));
	text = cJSON_Print(root);
	cJSON_Delete(root);
	return text;
}

int rd_cmd_dns_config(const struct rd_settings *settings, struct rd_error *error)
{
	_rd_free_ struct rd_resolvconf *host = calloc(1, sizeof(*host));
	struct rd_ip servers[RD_RESOLVCONF_POD_SERVERS];
	_rd_free_ char *text = NULL;
	struct rd_resolvconf_pod pod;
	size_t n_servers = 0;
	int r;

	if (!host)
		return rd_error_set(error, -ENOMEM, "out of memory");
	r = parse_servers(settings->dns_addresses, servers, &n_servers, error);
	if (r)
		return r;
	/* Without one, the node searches nothing. */
	r = rd_resolvconf_read(RD_RESOLVCONF_PATH, host, error);
	if (r && r != -ENOENT)
		return r;
	r = rd_resolvconf_for_pod(servers, n_servers, settings->namespace ?: "default",
				  settings->cluster_domain, host, &pod, error);
	if (r)
		return r;
	text = settings->format == RD_FORMAT_JSON ? write_json(&pod) : rd_resolvconf_write(&pod);
	if (!text)
		return rd_error_set(error, -ENOMEM, "out of memory");
	fputs(text, stdout);
	if (settings->format == RD_FORMAT_JSON)
		putchar('\n');
	return fflush(stdout) || ferror(stdout) ? rd_error_set(error, -EIO, "cannot print") : 0;
}

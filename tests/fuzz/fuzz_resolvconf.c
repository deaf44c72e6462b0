// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * libFuzzer target: any bytes as a resolv.conf. What is read is within its
 * limits; what is written for a Pod of it is read again as the same.
 */
#include <stdlib.h>
#include <string.h>

#include "resolvconf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool what)
{
	if (!what)
		abort();
}

static void check(const struct rd_resolvconf *conf)
{
	struct rd_dns_server_address addresses[RD_RESOLVCONF_SERVERS];

	require(conf->n_servers <= RD_RESOLVCONF_SERVERS);
	require(conf->n_searches <= RD_RESOLVCONF_SEARCHES);
	require(conf->ndots <= 15 && conf->timeout_seconds >= 1 && conf->timeout_seconds <= 30 &&
		conf->attempts >= 1 && conf->attempts <= 5);
	for (size_t i = 0; i < conf->n_searches; i++)
		require(memchr(conf->searches[i], '\0', RD_RESOLVCONF_NAME) && *conf->searches[i]);
	for (size_t i = 0; i < conf->n_servers; i++)
		require(conf->servers[i].ip.family &&
			memchr(conf->servers[i].scope, '\0', IF_NAMESIZE));
	require(rd_resolvconf_servers(conf, NULL, 0, addresses) == conf->n_servers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rd_resolvconf conf, again;
	struct rd_ip server = {.family = RD_FAMILY_4, .bytes = {10, 96, 0, 10}};
	struct rd_resolvconf_pod pod;
	struct rd_error error;
	char *text;

	rd_resolvconf_parse((const char *)data, size, &conf);
	check(&conf);
	require(!rd_resolvconf_for_pod(&server, 1, "a", "cluster.local", &conf, &pod, &error));
	text = rd_resolvconf_write(&pod);
	require(text);
	rd_resolvconf_parse(text, strlen(text), &again);
	free(text);
	require(again.n_servers == 1 && again.n_searches == pod.n_searches && again.ndots == 5);
	for (size_t i = 0; i < pod.n_searches; i++)
		require(!strcmp(again.searches[i], pod.searches[i]));
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "monitor_names.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dns_watch.h"

static void format_time(uint64_t ns, char *text, size_t size)
{
	time_t seconds = (time_t)(ns / 1000000000U);
	struct tm tm = {0};
	size_t used;

	gmtime_r(&seconds, &tm);
	used = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + used, size - used, ".%03uZ", (unsigned)(ns / 1000000U % 1000U));
}

/* The type as people know it, or its number as RFC 3597 writes it. */
static const char *type_name(uint16_t type, char *text, size_t size)
{
	static const struct {
		uint16_t type;
		const char *name;
	} names[] = {
		{RD_DNS_A, "A"},     {RD_DNS_NS, "NS"},	  {RD_DNS_CNAME, "CNAME"},
		{RD_DNS_SOA, "SOA"}, {RD_DNS_PTR, "PTR"}, {15, "MX"},
		{RD_DNS_TXT, "TXT"}, {RD_DNS_SRV, "SRV"}, {RD_DNS_AAAA, "AAAA"},
		{65, "HTTPS"},	     {RD_DNS_ANY, "ANY"},
	};

	for (size_t i = 0; i < RD_ARRAY_SIZE(names); i++)
		if (names[i].type == type)
			return names[i].name;
	snprintf(text, size, "TYPE%u", type);
	return text;
}

static void print_text(const struct rd_dns_seen *seen, const char *time, const char *client,
		       const char *type, const char *name, const char *result)
{
	printf("%-24s  %-24s  %-3s  %-5s  %-40s  %-8s  %3u  %llu.%03llu ms\n", time, client,
	       rd_dns_transport_name((enum rd_dns_transport)seen->transport), type, name, result,
	       seen->records, (unsigned long long)(seen->took_ns / 1000000),
	       (unsigned long long)(seen->took_ns / 1000 % 1000));
}

static void print_json(const struct rd_dns_seen *seen, const char *time, const char *client,
		       const char *type, const char *name, const char *result)
{
	static const struct rd_column columns[] = {
		{.key = "time"},
		{.key = "client"},
		{.key = "transport"},
		{.key = "type"},
		{.key = "name"},
		{.key = "result"},
		{.key = "records", .number = true},
		{.key = "us", .number = true},
	};
	struct rd_table table = RD_TABLE("names", columns);
	_rd_free_ char *line = NULL;

	rd_table_add(&table, "%s", time);
	rd_table_add(&table, "%s", client);
	rd_table_add(&table, "%s", rd_dns_transport_name((enum rd_dns_transport)seen->transport));
	rd_table_add(&table, "%s", type);
	rd_table_add(&table, "%s", name);
	rd_table_add(&table, "%s", result);
	rd_table_add(&table, "%u", seen->records);
	rd_table_add(&table, "%llu", (unsigned long long)(seen->took_ns / 1000));
	line = rd_table_line(&table, 0);
	rd_table_free(&table);
	printf("%s\n", line ?: "");
}

static void print(const struct rd_settings *settings, const struct rd_dns_seen *seen)
{
	size_t result =
		seen->code < RD_DNS_COUNT_RESULTS - 1 ? seen->code : RD_DNS_COUNT_RESULTS - 1;
	char time[40], client[RD_IP_PORT_TEXT], type[16], name[RD_DNS_NAME_TEXT];
	bool json = settings->format == RD_FORMAT_JSON;

	format_time(seen->time_ns, time, sizeof(time));
	rd_ip_port_format(&seen->client, seen->port, client);
	rd_dns_name_format(seen->name, name, sizeof(name));
	(json ? print_json : print_text)(seen, time, client,
					 type_name(seen->type, type, sizeof(type)), name,
					 rd_dns_result_name(result));
}

static void say_dropped(uint64_t *said, uint64_t dropped)
{
	if (dropped <= *said)
		return;
	fprintf(stderr, "redial monitor: %llu dropped, there was no room for them\n",
		(unsigned long long)(dropped - *said));
	*said = dropped;
}

static int loop(const struct rd_settings *settings, int fd, int signals, struct rd_error *error)
{
	struct pollfd polled[] = {{.fd = signals, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	uint64_t said = 0;
	uint32_t lines = 0;

	while (!settings->count || lines < settings->count) {
		struct rd_dns_seen seen;
		ssize_t n;

		if (poll(polled, RD_ARRAY_SIZE(polled), -1) < 0)
			continue;
		if (polled[0].revents)
			return 0;
		n = recv(fd, &seen, sizeof(seen), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(seen))
			return rd_error_set(error, -ECONNRESET,
					    "the agent has ended, or somebody else watches now");
		say_dropped(&said, seen.dropped);
		print(settings, &seen);
		lines++;
		/* A reader that has gone is an end like any other. */
		if (fflush(stdout))
			return errno == EPIPE ? 0 : rd_error_set(error, -errno, "cannot write");
	}
	return 0;
}

int rd_monitor_names(const struct rd_settings *settings, int signals, struct rd_error *error)
{
	_rd_close_ int fd = -1;
	int r;

	if (settings->namespace || settings->name || settings->backend || settings->process ||
	    settings->refused)
		return rd_error_usage(error, "--names goes with --count and --output only");
	r = rd_dns_watch_connect(settings->bpffs, error);
	if (r < 0)
		return r;
	fd = r;
	return loop(settings, fd, signals, error);
}

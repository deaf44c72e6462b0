// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define LIVE (RD_CMD_MONITOR | RD_CMD_TOP)
#define TABLES (RD_CMD_STATUS | RD_CMD_SERVICES | RD_CMD_BACKENDS | RD_CMD_SOCKETS | LIVE)
#define AGAIN (RD_CMD_STATUS | RD_CMD_SERVICES | RD_CMD_BACKENDS | RD_CMD_SOCKETS)
#define MAPS (TABLES | RD_CMD_EXPLAIN | RD_CMD_RUN | RD_CMD_CHECK | RD_CMD_CLEANUP)

enum type { FLAG, TEXT, COUNT, FORMAT, TEXTS };

static const struct option_row {
	const char *name;
	char letter; /* 0: none */
	enum type type;
	size_t offset; /* in struct rd_settings */
	unsigned commands;
	const char *argument;
	const char *help;
} rows[] = {
#define FIELD(field) offsetof(struct rd_settings, field)
	{"manifests", 0, TEXT, FIELD(manifests), RD_CMD_RUN | RD_CMD_EXPLAIN, "DIR",
	 "read Services, EndpointSlices, Endpoints, Pods and Nodes from the *.yaml, *.yml and "
	 "*.json below DIR, and follow their changes"},
	{"kubernetes", 0, FLAG, FIELD(kubernetes), RD_CMD_RUN, NULL,
	 "watch the API server of the cluster that this runs in, as its service account"},
	{"kubeconfig", 0, TEXT, FIELD(kubeconfig), RD_CMD_RUN, "FILE",
	 "watch the API server that FILE names"},
	{"context", 0, TEXT, FIELD(context), RD_CMD_RUN, "NAME",
	 "the context of --kubeconfig to use (default: its current one)"},
	{"server", 0, TEXT, FIELD(server), RD_CMD_RUN, "URL",
	 "the API server's own address, such as https://10.0.0.1:6443, where the one that is "
	 "given otherwise is a Service's and nothing but redial makes it work"},
	{"endpoints-api", 0, TEXT, FIELD(endpoints_api), RD_CMD_RUN, "NAME",
	 "endpointslices, or endpoints for clusters without them (default endpointslices)"},
	{"stall-timeout", 0, COUNT, FIELD(stall_seconds), RD_CMD_RUN, "SECONDS",
	 "ask anew when a watch has been silent for so long (default 150)"},
	{"http-bind-address", 0, TEXT, FIELD(http_address), RD_CMD_RUN, "ADDRESS:PORT",
	 "answer /metrics, /healthz, /livez and /readyz there (default: nowhere)"},
	{"metrics-backends", 0, FLAG, FIELD(metrics_backends), RD_CMD_RUN, NULL,
	 "give each backend's numbers in /metrics as well"},
	{"dns", 0, TEXTS, FIELD(dns_addresses), RD_CMD_RUN, "ADDRESS:PORT",
	 "answer for the names of Services there, over UDP and TCP; may be given 8 times (default: "
	 "nowhere)"},
	{"dns", 0, TEXTS, FIELD(dns_addresses), RD_CMD_DNS_CONFIG, "ADDRESS",
	 "where redial answers for names, at port 53; may be given 3 times"},
	{"cluster-domain", 0, TEXT, FIELD(cluster_domain), RD_CMD_RUN | RD_CMD_DNS_CONFIG, "DOMAIN",
	 "what the names of Services end with (default cluster.local)"},
	{"dns-upstream", 0, TEXT, FIELD(dns_upstreams), RD_CMD_RUN, "LIST",
	 "who is asked for other names: addresses separated by commas, or none (default: the "
	 "servers of /etc/resolv.conf)"},
	{"dns-local-for", 0, TEXT, FIELD(dns_local_for), RD_CMD_RUN, "NAMESPACE/NAME",
	 "answer here what this node's clients ask that Service at port 53, and ask its endpoints "
	 "for other names (default: none)"},
	{"service-cidr", 0, TEXT, FIELD(service_cidr), RD_CMD_RUN, "CIDR",
	 "where Services of manifests without a clusterIP get their address from (default "
	 "10.96.0.0/16)"},
	{"node-name", 0, TEXT, FIELD(node_name), RD_CMD_RUN | RD_CMD_EXPLAIN, "NAME",
	 "this node's name, as in nodeName and Node objects (default: the host name)"},
	{"nodeport-addresses", 0, TEXT, FIELD(nodeport_addresses), RD_CMD_RUN, "LIST",
	 "where NodePorts answer: networks, primary, localhost or all, separated by commas "
	 "(default all)"},
	{"exclude-cgroup", 0, TEXTS, FIELD(exclude_cgroups), RD_CMD_RUN, "PATH",
	 "leave processes below this cgroup2 directory alone; may be given 8 times"},
	{"exclude-netns", 0, TEXTS, FIELD(exclude_netns), RD_CMD_RUN, "PATH",
	 "leave this network namespace alone; may be given 8 times"},
	{"cgroup", 0, TEXT, FIELD(cgroup), RD_CMD_RUN | RD_CMD_CHECK, "PATH",
	 "the cgroup2 directory whose processes are served (default: the cgroup2 root)"},
	{"bpffs", 0, TEXT, FIELD(bpffs), MAPS, "DIR",
	 "where maps and links are pinned (default /sys/fs/bpf/redial)"},
	{"max-services", 0, COUNT, FIELD(max_services), RD_CMD_RUN, "N",
	 "room for so many Services (default 16384)"},
	{"max-backends", 0, COUNT, FIELD(max_backends), RD_CMD_RUN, "N",
	 "room for so many endpoints of all Services together (default 114688)"},
	{"track-outcomes", 0, TEXT, FIELD(track_outcomes), RD_CMD_RUN, "on|off",
	 "count which TCP connects to Services succeed, and how long they take; it costs every TCP "
	 "connection a little (default off)"},
	{"detach-on-exit", 0, FLAG, FIELD(detach_on_exit), RD_CMD_RUN, NULL,
	 "remove everything when the agent ends, instead of leaving it at work"},
	{"log-level", 0, TEXT, FIELD(log_level), RD_CMD_RUN, "LEVEL",
	 "error, warn, info or debug (default info)"},
	{"log-format", 0, TEXT, FIELD(log_format), RD_CMD_RUN, "text|json",
	 "what a line of the log is: key=value pairs, or a JSON object (default text)"},
	{"namespace", 'n', TEXT, FIELD(namespace),
	 RD_CMD_SERVICES | RD_CMD_BACKENDS | RD_CMD_SOCKETS | LIVE, "NS",
	 "only Services of namespace NS"},
	{"namespace", 'n', TEXT, FIELD(namespace), RD_CMD_DNS_CONFIG, "NS",
	 "of the Pod that is to ask (default default)"},
	{"backend", 0, TEXT, FIELD(backend), RD_CMD_MONITOR, "ADDRESS[:PORT]",
	 "only what went to this backend"},
	{"process", 0, TEXT, FIELD(process), RD_CMD_MONITOR, "NAME|ID",
	 "only decisions for this process: the name of its program, its id, or its Pod's name"},
	{"refused", 0, FLAG, FIELD(refused), RD_CMD_MONITOR, NULL, "only what was refused"},
	{"names", 0, FLAG, FIELD(names), RD_CMD_MONITOR, NULL,
	 "not decisions but queries for names, as the agent answers them (run --dns)"},
	{"interval", 0, COUNT, FIELD(interval_seconds), RD_CMD_TOP, "SECONDS",
	 "from one table to the next (default 1)"},
	{"count", 0, COUNT, FIELD(count), LIVE, "N", "end after N lines, or N tables"},
	{"output", 'o', FORMAT, FIELD(format), RD_CMD_DNS_CONFIG, "FORMAT",
	 "json: a Pod's dnsConfig (default a resolv.conf)"},
	{"output", 'o', FORMAT, FIELD(format), TABLES | RD_CMD_EXPLAIN | RD_CMD_CHECK, "FORMAT",
	 "table, wide or json (default table)"},
	{"pid", 0, COUNT, FIELD(pid), RD_CMD_EXPLAIN, "N",
	 "what process N would meet (default: this one)"},
	{"netns", 0, TEXT, FIELD(netns), RD_CMD_EXPLAIN, "PATH",
	 "what a process in this network namespace would meet, such as /run/netns/NAME"},
	{"udp", 0, FLAG, FIELD(udp), RD_CMD_EXPLAIN, NULL, "the UDP port, not the TCP port"},
	{"fd", 0, TEXT, FIELD(fd), RD_CMD_EXPLAIN, "M",
	 "with --pid and without an address: what its socket M dialled, and where it went"},
	{"watch", 'w', FLAG, FIELD(again), AGAIN, NULL, "print anew every second, until SIGINT"},
	{"help", 'h', FLAG, FIELD(help), ~0U, NULL, "print this"},
#undef FIELD
};

static void *field(struct rd_settings *settings, const struct option_row *row)
{
	return (char *)settings + row->offset;
}

/* A whole number from 1 to 4194304: enough for any map, and far from every
 * overflow. */
static int set_count(uint32_t *value, const struct option_row *row, const char *text,
		     struct rd_error *error)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || !number || number > 4194304)
		return rd_error_usage(error, "--%s takes a number from 1 to 4194304, not %s",
				      row->name, text);
	*value = (uint32_t)number;
	return 0;
}

static int set_format(enum rd_format *format, const char *text, struct rd_error *error)
{
	static const char *const names[] = {
		[RD_FORMAT_TABLE] = "table", [RD_FORMAT_WIDE] = "wide", [RD_FORMAT_JSON] = "json"};

	for (size_t i = 0; i < RD_ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], text))
			continue;
		*format = (enum rd_format)i;
		return 0;
	}
	return rd_error_usage(error, "--output takes table, wide or json, not %s", text);
}

static int add_text(const char **texts, const struct option_row *row, const char *text,
		    struct rd_error *error)
{
	size_t n = 0;

	while (texts[n])
		n++;
	if (n == RD_EXCLUDE_MAX)
		return rd_error_set(error, -EINVAL, "--%s may be given %d times", row->name,
				    RD_EXCLUDE_MAX);
	texts[n] = text;
	return 0;
}

static int set(struct rd_settings *settings, const struct option_row *row, const char *text,
	       struct rd_error *error)
{
	switch (row->type) {
	case FLAG:
		*(bool *)field(settings, row) = true;
		return 0;
	case TEXT:
		if (!*text)
			return rd_error_usage(error, "--%s must not be empty", row->name);
		*(const char **)field(settings, row) = text;
		return 0;
	case TEXTS:
		return add_text(field(settings, row), row, text, error);
	case COUNT:
		return set_count(field(settings, row), row, text, error);
	case FORMAT:
		return set_format(field(settings, row), text, error);
	}
	return -EINVAL;
}

/* The operand: NAME or NAMESPACE/NAME. */
static int set_operand(const struct rd_command *command, struct rd_settings *settings, char *text,
		       struct rd_error *error)
{
	char *slash = strchr(text, '/');

	if (!command->operand || settings->name)
		return rd_error_usage(error, "unexpected argument %s", text);
	settings->name = slash ? slash + 1 : text;
	if (slash) {
		*slash = '\0';
		settings->namespace = text;
	}
	if (!*settings->name || (settings->namespace && !*settings->namespace))
		return rd_error_usage(error, "a Service is named NAMESPACE/NAME or NAME");
	return 0;
}

int rd_options_parse(const struct rd_command *command, int argc, char **argv,
		     struct rd_settings *ret_settings, struct rd_error *error)
{
	struct rd_settings settings = {
		.bpffs = "/sys/fs/bpf/redial",
		.service_cidr = "10.96.0.0/16",
		.max_services = 16384,
		.max_backends = 114688,
		.endpoints_api = "endpointslices",
		.cluster_domain = "cluster.local",
		.stall_seconds = 150,
		.track_outcomes = "off",
		.log_level = "info",
		.log_format = "text",
		.interval_seconds = 1,
	};
	struct option longs[RD_ARRAY_SIZE(rows) + 1] = {0};
	char shorts[2 * RD_ARRAY_SIZE(rows) + 2] = ":";
	size_t n_longs = 0, n_shorts = 1;
	int r = 0, found;

	for (size_t i = 0; i < RD_ARRAY_SIZE(rows); i++) {
		if (!(rows[i].commands & command->bit))
			continue;
		/* The row's number, above every character. */
		longs[n_longs++] = (struct option){.name = rows[i].name,
						   .has_arg = rows[i].argument != NULL,
						   .val = 256 + (int)i};
		if (!rows[i].letter)
			continue;
		shorts[n_shorts++] = rows[i].letter;
		if (rows[i].argument)
			shorts[n_shorts++] = ':';
	}
	opterr = 0;
	while (!r && (found = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		size_t row = (size_t)found - 256;

		if (found == '?' || found == ':')
			return rd_error_usage(error, "%s %s, see 'redial %s --help'",
					      found == ':' ? "a value is missing after"
							   : "unknown option",
					      argv[optind - 1], command->name);
		for (size_t i = 0; found < 256 && i < RD_ARRAY_SIZE(rows); i++)
			if (rows[i].letter == found)
				row = i;
		r = set(&settings, &rows[row], optarg ?: "", error);
	}
	for (; !r && optind < argc; optind++)
		r = set_operand(command, &settings, argv[optind], error);
	if (!r)
		*ret_settings = settings;
	return r;
}

bool rd_options_next(unsigned commands, size_t *next, struct rd_option *ret_option)
{
	const struct option_row *row;

	while (*next < RD_ARRAY_SIZE(rows) && !(rows[*next].commands & commands))
		++*next;
	if (*next == RD_ARRAY_SIZE(rows))
		return false;
	row = &rows[(*next)++];
	*ret_option = (struct rd_option){.name = row->name,
					 .letter = row->letter,
					 .argument = row->argument,
					 .help = row->help,
					 .many = row->type == TEXTS};
	return true;
}

/* Print `text` in lines of at most 56 characters, the first after `column`. */
static void print_wrapped(const char *text, int column)
{
	while (*text) {
		size_t n = strlen(text);

		if (n > 56)
			for (n = 56; n > 0 && text[n] != ' '; n--)
				continue;
		printf("%.*s\n", (int)n, text);
		text += n + (text[n] == ' ');
		if (*text)
			printf("%*s", column, "");
	}
}

void rd_options_help(const struct rd_command *command)
{
	struct rd_option option;
	size_t next = 0;

	printf("Usage: redial %s [OPTION...]%s%s\n\n%s\n\n", command->name,
	       command->operand ? " " : "", command->operand ?: "", command->summary);
	while (rd_options_next(command->bit, &next, &option)) {
		char head[64];

		snprintf(head, sizeof(head), "%c%c%s --%s %s", option.letter ? '-' : ' ',
			 option.letter ?: ' ', option.letter ? "," : " ", option.name,
			 option.argument ?: "");
		printf("  %-26s", head);
		if (strlen(head) > 25)
			printf("\n%28s", "");
		print_wrapped(option.help, 28);
	}
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * options.h - every option of every command, as data: parsing and --help come
 * from one table.
 */
#ifndef REDIAL_OPTIONS_H
#define REDIAL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "table.h"
#include "util.h"

/* How often an --exclude option may be given. */
#define RD_EXCLUDE_MAX 8

/* What the options set; a command reads those that it takes. */
struct rd_settings {
	const char *manifests;
	bool kubernetes;
	const char *kubeconfig;
	const char *context;
	const char *server;
	const char *endpoints_api;
	uint32_t stall_seconds;
	const char *http_address;
	bool metrics_backends;
	const char *bpffs;
	const char *cgroup;
	const char *node_name;
	const char *service_cidr;
	const char *nodeport_addresses;
	const char *exclude_cgroups[RD_EXCLUDE_MAX + 1]; /* NULL-terminated */
	const char *exclude_netns[RD_EXCLUDE_MAX + 1];
	uint32_t max_services;
	uint32_t max_backends;
	const char *dns_addresses[RD_EXCLUDE_MAX + 1]; /* NULL-terminated */
	const char *cluster_domain;
	const char *dns_upstreams;
	const char *dns_local_for;
	const char *log_level;
	const char *log_format;
	const char *track_outcomes;
	bool detach_on_exit;
	enum rd_format format;
	const char *namespace;
	const char *name; /* the operand [NAMESPACE/]NAME; NULL: all */
	const char *backend;
	const char *process;
	bool refused;
	bool names;
	uint32_t count; /* 0: no end */
	uint32_t interval_seconds;
	uint32_t pid; /* 0: not given */
	const char *netns;
	const char *fd;
	bool udp;
	bool again; /* --watch */
	bool help;
};

enum rd_command_bit {
	RD_CMD_RUN = 1 << 0,
	RD_CMD_STATUS = 1 << 1,
	RD_CMD_SERVICES = 1 << 2,
	RD_CMD_BACKENDS = 1 << 3,
	RD_CMD_SOCKETS = 1 << 4,
	RD_CMD_CHECK = 1 << 5,
	RD_CMD_CLEANUP = 1 << 6,
	RD_CMD_VERSION = 1 << 7,
	RD_CMD_MONITOR = 1 << 8,
	RD_CMD_TOP = 1 << 9,
	RD_CMD_EXPLAIN = 1 << 10,
	RD_CMD_MAN = 1 << 11,
	RD_CMD_COMPLETION = 1 << 12,
	RD_CMD_DNS_CONFIG = 1 << 13,
};

struct rd_command {
	const char *name;
	enum rd_command_bit bit;
	const char *operand; /* for the usage line; NULL: takes none */
	const char *summary;
	/* Returns 0 or -errno, with @error set. */
	int (*run)(const struct rd_settings *settings, struct rd_error *error);
};

/*
 * Parse the arguments after the command's name.
 *
 * @argv: argv[0] is the command's name
 * Returns 0, or -EINVAL with @error set.
 */
int rd_options_parse(const struct rd_command *command, int argc, char **argv,
		     struct rd_settings *ret_settings, struct rd_error *error);

/* An option, as a person is told about it. */
struct rd_option {
	const char *name;
	char letter;	      /* 0: none */
	const char *argument; /* what stands for its value; NULL: takes none */
	const char *help;
	bool many; /* may be given several times */
};

/*
 * The next option of those that any of @commands takes, in the order of --help.
 *
 * @commands: enum rd_command_bit, or-ed
 * @next: 0 at first
 * Returns false when there are no more.
 */
bool rd_options_next(unsigned commands, size_t *next, struct rd_option *ret_option);

/* Print the usage of one command to stdout. */
void rd_options_help(const struct rd_command *command);

#endif

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
	const char *bpffs;
	const char *cgroup;
	const char *node_name;
	const char *service_cidr;
	const char *nodeport_addresses;
	const char *exclude_cgroups[RD_EXCLUDE_MAX + 1]; /* NULL-terminated */
	const char *exclude_netns[RD_EXCLUDE_MAX + 1];
	uint32_t max_services;
	uint32_t max_backends;
	const char *log_level;
	const char *track_outcomes;
	bool detach_on_exit;
	enum rd_format format;
	const char *namespace;
	const char *name; /* the operand [NAMESPACE/]NAME; NULL: all */
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

/* Print the usage of one command to stdout. */
void rd_options_help(const struct rd_command *command);

#endif

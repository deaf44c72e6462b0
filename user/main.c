// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * main.c - from an argument to a subcommand, and from its result to an exit
 * status: 0 done, 1 failed, 2 wrong usage.
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const struct rd_command commands[] = {
	{"run", RD_CMD_RUN, NULL, "Serve the Services of a source until SIGTERM.", rd_cmd_run},
	{"status", RD_CMD_STATUS, NULL, "The agent, its programs, its maps and its source.",
	 rd_cmd_status},
	{"services", RD_CMD_SERVICES, "[[NAMESPACE/]NAME]", "The Services in the maps.",
	 rd_cmd_services},
	{"backends", RD_CMD_BACKENDS, "[[NAMESPACE/]NAME]", "The endpoints of each Service port.",
	 rd_cmd_backends},
	{"sockets", RD_CMD_SOCKETS, "[[NAMESPACE/]NAME]",
	 "Open sockets that dialled a Service, and the backend each has.", rd_cmd_sockets},
	{"check", RD_CMD_CHECK, NULL, "What this machine has and lacks for redial to run.",
	 rd_cmd_check},
	{"cleanup", RD_CMD_CLEANUP, NULL, "Detach and unpin everything.", rd_cmd_cleanup},
	{"version", RD_CMD_VERSION, NULL, "Versions of redial, libbpf and the map layout.",
	 rd_cmd_version},
};

static void print_usage(FILE *out)
{
	fputs("Usage: redial COMMAND [OPTION...]\n\n"
	      "Kubernetes Services at the socket: connect() goes straight to a backend Pod.\n\n",
	      out);
	for (size_t i = 0; i < RD_ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fputs("\n'redial COMMAND --help' explains a command's options.\n", out);
}

static const struct rd_command *find_command(const char *name)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	const struct rd_command *command = find_command(name);
	struct rd_settings settings;
	struct rd_error error = {0};

	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		print_usage(stdout);
		return EXIT_DONE;
	}
	if (!command) {
		if (*name)
			fprintf(stderr, "redial: no command %s, see 'redial --help'\n", name);
		else
			print_usage(stderr);
		return EXIT_USAGE;
	}
	if (!rd_options_parse(command, argc - 1, argv + 1, &settings, &error)) {
		if (settings.help) {
			rd_options_help(command);
			return EXIT_DONE;
		}
		if (!command->run(&settings, &error))
			return EXIT_DONE;
	}
	fprintf(stderr, "redial %s: %s\n", name, error.text);
	return error.usage ? EXIT_USAGE : EXIT_FAILED;
}

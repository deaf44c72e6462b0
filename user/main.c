// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * main.c - from an argument to a subcommand, and from its result to an exit
 * status: 0 done, 1 failed, 2 wrong usage.
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "log.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static void print_usage(FILE *out)
{
	fputs("Usage: redial COMMAND [OPTION...]\n\n"
	      "Kubernetes Services at the socket: connect() goes straight to a backend Pod.\n\n",
	      out);
	for (const struct rd_command *command = rd_commands; command->name; command++)
		fprintf(out, "  %-10s %s\n", command->name, command->summary);
	fputs("\n'redial COMMAND --help' explains a command's options.\n", out);
}

static const struct rd_command *find_command(const char *name)
{
	for (const struct rd_command *command = rd_commands; command->name; command++)
		if (!strcmp(command->name, name))
			return command;
	return NULL;
}

/* The one line about a failure; among log lines that are JSON it is one. */
static void complain(const char *command, const char *text)
{
	if (rd_log_get_format() == RD_LOG_JSON)
		rd_log(RD_LOG_ERROR, "failed", RD_TEXT("command", command), RD_TEXT("error", text));
	else
		fprintf(stderr, "redial %s: %s\n", command, text);
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
	complain(name, error.text);
	return error.usage ? EXIT_USAGE : EXIT_FAILED;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * commands.h - the subcommands. Each returns 0 or -errno with @error set; main
 * turns that into an exit status.
 */
#ifndef REDIAL_COMMANDS_H
#define REDIAL_COMMANDS_H

#include "options.h"

int rd_cmd_run(const struct rd_settings *settings, struct rd_error *error);
int rd_cmd_status(const struct rd_settings *settings, struct rd_error *error);
int rd_cmd_services(const struct rd_settings *settings, struct rd_error *error);
int rd_cmd_backends(const struct rd_settings *settings, struct rd_error *error);
int rd_cmd_sockets(const struct rd_settings *settings, struct rd_error *error);
int rd_cmd_monitor(const struct rd_settings *settings, struct rd_error *error);
int rd_cmd_top(const struct rd_settings *settings, struct rd_error *error);
int rd_cmd_explain(const struct rd_settings *settings, struct rd_error *error);
int rd_cmd_check(const struct rd_settings *settings, struct rd_error *error);
int rd_cmd_cleanup(const struct rd_settings *settings, struct rd_error *error);
int rd_cmd_version(const struct rd_settings *settings, struct rd_error *error);
int rd_cmd_dns_config(const struct rd_settings *settings, struct rd_error *error);
int rd_cmd_man(const struct rd_settings *settings, struct rd_error *error);
int rd_cmd_completion(const struct rd_settings *settings, struct rd_error *error);

/* All of them; the last one has no name. */
extern const struct rd_command rd_commands[];

#endif

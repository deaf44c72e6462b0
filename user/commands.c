// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "commands.h"

const struct rd_command rd_commands[] = {
	{"run", RD_CMD_RUN, NULL, "Serve the Services of a source until SIGTERM.", rd_cmd_run},
	{"status", RD_CMD_STATUS, NULL, "The agent, its programs, its maps and its source.",
	 rd_cmd_status},
	{"services", RD_CMD_SERVICES, "[[NAMESPACE/]NAME]", "The Services in the maps.",
	 rd_cmd_services},
	{"backends", RD_CMD_BACKENDS, "[[NAMESPACE/]NAME]", "The endpoints of each Service port.",
	 rd_cmd_backends},
	{"sockets", RD_CMD_SOCKETS, "[[NAMESPACE/]NAME]",
	 "Open sockets that dialled a Service, and the backend each has.", rd_cmd_sockets},
	{"monitor", RD_CMD_MONITOR, "[[NAMESPACE/]NAME]", "Decisions as they happen, a line each.",
	 rd_cmd_monitor},
	{"top", RD_CMD_TOP, "[[NAMESPACE/]NAME]", "The busiest Services, again and again.",
	 rd_cmd_top},
	{"explain", RD_CMD_EXPLAIN, "[ADDRESS:PORT]",
	 "What a connect to an address would do, and why; or where a socket went.", rd_cmd_explain},
	{"check", RD_CMD_CHECK, NULL, "What this machine has and lacks for redial to run.",
	 rd_cmd_check},
	{"cleanup", RD_CMD_CLEANUP, NULL, "Detach and unpin everything.", rd_cmd_cleanup},
	{"version", RD_CMD_VERSION, NULL, "Versions of redial, libbpf and the map layout.",
	 rd_cmd_version},
	{"man", RD_CMD_MAN, NULL, "This program's man page, for man(1).", rd_cmd_man},
	{"completion", RD_CMD_COMPLETION, "bash|zsh", "What a shell completes, as a script for it.",
	 rd_cmd_completion},
	{.name = NULL},
};

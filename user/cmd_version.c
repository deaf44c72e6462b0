// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <bpf/libbpf.h>
#include <stdio.h>

#include "commands.h"
#include "redial/abi.h"
#include "version.h"

int rd_cmd_version(const struct rd_settings *settings, struct rd_error *error)
{
	(void)settings;
	(void)error;
	printf("redial %s\nlibbpf %s\nmap layout %d\n", REDIAL_VERSION, libbpf_version_string() + 1,
	       RD_LAYOUT_VERSION);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <stdio.h>

#include "commands.h"
#include "datapath.h"

int rd_cmd_cleanup(const struct rd_settings *settings, struct rd_error *error)
{
	bool done = false;
	int r = rd_datapath_cleanup(settings->bpffs, &done, error);

	if (!r)
		printf(done ? "detached and unpinned what was in %s\n"
			    : "nothing was pinned in %s\n",
		       settings->bpffs);
	return r;
}

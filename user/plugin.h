/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * plugin.h - one run of an exec credential plugin beside the event loop: its
 * environment, its output up to a limit, its end.
 */
#ifndef REDIAL_PLUGIN_H
#define REDIAL_PLUGIN_H

#include <event2/event.h>

#include "kubeconfig.h"
#include "util.h"

struct rd_plugin;

/*
 * Run access->exec. It gets KUBERNETES_EXEC_INFO, an empty stdin and a process
 * group of its own, and is killed, with that group, after 30 s or when it
 * prints more than 1 MiB.
 *
 * @done: called once, from the event loop: with what the plugin printed (a NUL
 *        follows; wiped by rd_plugin_free), or with an error that names the
 *        plugin and quotes the last line it wrote to stderr. May free the plugin.
 * Returns 0 or -errno, with @error set, if it cannot be started.
 */
int rd_plugin_start(const struct rd_kube_access *access, struct event_base *base,
		    void (*done)(void *context, const char *output, size_t length,
				 const struct rd_error *error),
		    void *context, struct rd_plugin **ret_plugin, struct rd_error *error);

/* Kills it if it still runs; `done` is not called then. */
void rd_plugin_free(struct rd_plugin *plugin);

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * system.h - what redial asks of the machine it runs on.
 */
#ifndef REDIAL_SYSTEM_H
#define REDIAL_SYSTEM_H

#include <stdbool.h>
#include <stdint.h>

/* The mount point of cgroup2, from /proc/self/mounts: on hybrid systems it is
 * not /sys/fs/cgroup. Returns a string to free, or NULL. */
char *rd_cgroup2_mount(void);

bool rd_is_cgroup2(const char *path);
/* Whether `path`, or the directory it would be made in, is on a bpffs. */
bool rd_is_bpffs(const char *path);

/* How far below the root of cgroup2 the cgroup at `path` is, as the kernel
 * counts: the root is 0. -1: it is no cgroup, or its root is not mounted. */
int rd_cgroup_level(const char *path);

/* Whether this process has a capability (capabilities(7)). */
bool rd_has_capability(unsigned capability);

/* The id by which the kernel names the cgroup at `path`, or 0. */
uint64_t rd_cgroup_id(const char *path);

/* The cookie of the network namespace at `path` (such as /run/netns/NAME or
 * /proc/PID/ns/net), or of this process for NULL; 0 if there is none. */
uint64_t rd_netns_cookie(const char *path);

/* Wait until every BPF program that was running at the call has ended: an RCU
 * grace period, some milliseconds. Returns 0 or -errno. */
int rd_wait_for_programs(void);

/* Tell the service manager, if there is one (sd_notify(3)), e.g. "READY=1". */
void rd_notify(const char *state);

#endif

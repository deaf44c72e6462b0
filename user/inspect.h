/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * inspect.h - what the kernel knows of one process, one socket, one hook and
 * one key: for those who ask why.
 */
#ifndef REDIAL_INSPECT_H
#define REDIAL_INSPECT_H

#include <limits.h>

#include "datapath.h"

/* Where a process is in cgroup2. */
struct rd_place {
	char path[PATH_MAX]; /* of its cgroup's directory */
	uint64_t ids[64];    /* of the cgroup and those above it, itself first */
	size_t n_ids;
};

/* Returns 0; -ESRCH if there is no such process; -ENOENT if its cgroup cannot
 * be seen from here; -ENODEV without cgroup2. */
int rd_inspect_place(uint32_t pid, struct rd_place *ret_place);
bool rd_place_is_below(const struct rd_place *place, uint64_t cgroup_id);

/* What the agent wrote into a program when it loaded it. */
struct rd_constants {
	uint64_t host_netns;
	bool has_set_retval;
	uint32_t excluded_cgroups;
	uint64_t excluded_cgroup[RD_EXCLUDED_MAX];
	uint32_t excluded_netnss;
	uint64_t excluded_netns[RD_EXCLUDED_MAX];
};

/* Returns 0 or -errno, if they cannot be read. */
int rd_inspect_constants(uint32_t program_id, struct rd_constants *ret_constants);

/* A program that runs on a hook, in the order in which they run. */
struct rd_running {
	uint32_t id;
	char name[16]; /* "": it cannot be looked at */
};

#define RD_RUNNING_MAX 64

/*
 * The programs that run at a connect in the cgroup at `path`, those of the
 * cgroups above it included.
 *
 * Returns how many, at most RD_RUNNING_MAX, or -errno.
 */
int rd_inspect_hook(const char *path, bool ipv6, struct rd_running ret_running[RD_RUNNING_MAX]);

/* Look up one key. Returns whether it is there. */
bool rd_inspect_node(const struct rd_maps *maps, const struct rd_ip *ip, uint32_t *ret_node);
bool rd_inspect_affinity(const struct rd_maps *maps, const struct rd_client *client,
			 struct rd_pinned *ret_pinned);

/* Get a copy of another process's descriptor. Returns it, or -errno. */
int rd_inspect_descriptor(uint32_t pid, uint32_t fd);

/*
 * The record of a socket, by a descriptor of it.
 *
 * @ret_map: where it was found
 * Returns 1; 0 if it has none: it was not redialled; -errno if `fd` is no socket.
 */
int rd_inspect_socket(const struct rd_maps *maps, int fd, struct rd_socket *ret_record,
		      enum rd_map *ret_map);
/* The Services that an unconnected UDP socket talked to. Returns whether any. */
bool rd_inspect_flows(const struct rd_maps *maps, int fd, struct rd_flows *ret_flows);

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * datapath.h - programs, links and pins: what makes the maps act.
 *
 * Everything is pinned in one directory of a bpffs, the maps under their names
 * and the links under links/. The agent's death changes nothing; a new agent
 * takes the pinned maps and replaces the programs through their links, each
 * atomically.
 */
#ifndef REDIAL_DATAPATH_H
#define REDIAL_DATAPATH_H

#include "maps.h"

struct rd_datapath_config {
	const char *bpffs;  /* directory on a bpffs, made if missing */
	const char *cgroup; /* whose processes are served */
	uint32_t max_services;
	uint32_t max_backends;
	uint32_t socket_slots; /* a power of two, 2 at least */
	bool track_outcomes;   /* count what becomes of TCP connects, where the kernel can */
	/* Who is left alone; at most RD_EXCLUDED_MAX of each, NULL-terminated. */
	const char *const *exclude_cgroups;
	const char *const *exclude_netns;
};

#define RD_EXCLUDED_MAX 8

struct rd_datapath;

/*
 * Load the programs, with the pinned maps or with new ones, which are then
 * pinned. Nothing is attached yet, and what a former agent attached goes on.
 * Pinned maps of another layout or size go on with it: the new ones are filled
 * beside them.
 * The directory is locked: one agent per directory.
 *
 * Returns 0 or -errno, with @error saying what to do.
 */
int rd_datapath_open(const struct rd_datapath_config *config, struct rd_datapath **ret_datapath,
		     struct rd_error *error);

/* The maps; owned by the datapath. */
struct rd_maps *rd_datapath_maps(struct rd_datapath *datapath);

/* Whether other maps are pinned and at work, until the next attach. */
bool rd_datapath_is_beside(const struct rd_datapath *datapath);

/* Whether it counts what becomes of TCP connects: asked for, and the kernel can. */
bool rd_datapath_tracks_outcomes(const struct rd_datapath *datapath);

/* Put the programs to work: attach and pin each, or replace its predecessor;
 * and pin the maps in the place of others.
 * Returns 0 or -errno; what was attached before the failure stays. */
int rd_datapath_attach(struct rd_datapath *datapath, struct rd_error *error);

/* Let go of descriptors and lock. What is pinned goes on working. */
void rd_datapath_close(struct rd_datapath *datapath);

/* Detach and unpin everything in `bpffs`. Refuses while an agent runs there.
 * @ret_done: whether there was anything
 * Returns 0 or -errno. */
int rd_datapath_cleanup(const char *bpffs, bool *ret_done, struct rd_error *error);

/* Is an agent running on this directory? */
bool rd_datapath_is_locked(const char *bpffs);

/* The hooks, for those who list them. */
struct rd_hook_state {
	const char *name;    /* "connect4", … */
	uint32_t program_id; /* 0: not attached */
	uint64_t cgroup_id;  /* 0: the cgroup is gone */
};
size_t rd_datapath_hooks(void);
/* The state of hook number `i`, from its pinned link. */
struct rd_hook_state rd_datapath_hook(const char *bpffs, size_t i);

/* Send libbpf's debug output to stderr too. */
void rd_datapath_verbose(void);

#endif

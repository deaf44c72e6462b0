/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * watch.h - read decisions as they happen: say in rd_watch that somebody does,
 * and take the records out of rd_events. A ring has one reader, so there is a
 * lock: flock on the pinned rd_watch, which is not what the agent locks.
 */
#ifndef REDIAL_WATCH_H
#define REDIAL_WATCH_H

#include <limits.h>

#include "maps.h"

/* Records go on being written for so long after the last renewal. */
#define RD_WATCH_NS 3000000000ULL

struct ring_buffer;

struct rd_watcher {
	int lock;	       /* the pinned rd_watch, locked; -1: not open */
	char path[PATH_MAX];   /* of that */
	struct rd_watch *page; /* mapped writable */
	struct ring_buffer *ring;
	uint64_t began_ns; /* what is older was left by another reader */
	uint64_t until_ns; /* what we last wrote; 0: nothing yet */
	uint64_t dropped;  /* as last told */
	bool (*take)(void *context, const struct rd_event_record *record);
	void *context;
};

/*
 * Become the reader of maps pinned in `bpffs`. What is in the ring is thrown
 * away; nothing is written to it before rd_watcher_renew.
 *
 * @maps: must outlive the watcher
 * @refusals: have only these written, so that connects cost nothing
 * @take: is given each record; returns whether there is room for another one
 * Returns 0; -EBUSY if there is a reader already; other -errno. @watcher must
 * stay where it is, and be closed either way.
 */
int rd_watcher_open(struct rd_watcher *watcher, const char *bpffs, const struct rd_maps *maps,
		    bool refusals,
		    bool (*take)(void *context, const struct rd_event_record *record),
		    void *context, struct rd_error *error);

/* Take records until there is none, or no room for more. Returns 0 or -errno. */
int rd_watcher_read(struct rd_watcher *watcher);

/* Have records written from now on, for RD_WATCH_NS. Returns for how many
 * nanoseconds before that none were, because the last call was too long ago. */
uint64_t rd_watcher_renew(struct rd_watcher *watcher);

/* How many records found the ring full since the last call. */
uint64_t rd_watcher_dropped(struct rd_watcher *watcher);

/* Whether these maps are no longer what is pinned: nobody writes there. */
bool rd_watcher_is_replaced(const struct rd_watcher *watcher);

/* Nobody watches any more. */
void rd_watcher_close(struct rd_watcher *watcher);

#endif

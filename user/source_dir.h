/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * source_dir.h - a directory of manifests as the source of objects.
 *
 * Every *.yaml, *.yml and *.json below the directory counts, whole or not at
 * all: a file with one mistake is reported in one line and what it said before
 * stays in force. So does everything if the directory itself disappears. Names
 * that begin with a dot are passed over (an editor's files, and the real
 * directories behind a Kubernetes volume's links).
 *
 * This file logs, because what is wrong with a file concerns a person and
 * nobody above can do anything about it.
 */
#ifndef REDIAL_SOURCE_DIR_H
#define REDIAL_SOURCE_DIR_H

#include <event2/event.h>

#include "model.h"
#include "util.h"

struct rd_source_dir;

/*
 * Begin to watch `directory`. Nothing is read before the first collect.
 *
 * @store: where objects are put; must outlive the source
 * @changed: called from the event loop when a collect is due
 * Returns 0 or -errno, with @error set.
 */
int rd_source_dir_new(const char *directory, struct rd_store *store, struct event_base *base,
		      void (*changed)(void *context), void *context,
		      struct rd_source_dir **ret_source, struct rd_error *error);
void rd_source_dir_free(struct rd_source_dir *source);

/* Read what has changed below the directory into the store. */
void rd_source_dir_collect(struct rd_source_dir *source);

/* Read everything again at the next collect, changed or not. */
void rd_source_dir_reread(struct rd_source_dir *source);

/* Files that could not be used as they are now. */
uint32_t rd_source_dir_bad(const struct rd_source_dir *source);
/* Those of them that have never been usable: what they say is not known. */
uint32_t rd_source_dir_unknown(const struct rd_source_dir *source);
/* Is the directory there? */
bool rd_source_dir_present(const struct rd_source_dir *source);

#endif

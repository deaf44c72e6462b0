/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sockets.h - the slots of rd_sockets: which have a record of an open socket, and
 * which can be taken back. Only the kernel knows; a pinned program asks it.
 */
#ifndef REDIAL_SOCKETS_H
#define REDIAL_SOCKETS_H

#include "maps.h"

/*
 * Call `visit` with the record of every open socket that has a slot; a socket may
 * be closed when it is visited. The maps are those pinned in `bpffs`.
 * Returns 0 or -errno.
 */
int rd_sockets_each(const char *bpffs, const struct rd_maps *maps,
		    void (*visit)(void *context, const struct rd_socket *record), void *context);

/*
 * Take back the slots whose sockets are closed. Takes a grace period if there are
 * some. Only the agent may, since it is alone.
 * Returns how many were taken back, or -errno.
 */
int rd_sockets_sweep(const char *bpffs, struct rd_maps *maps);

#endif

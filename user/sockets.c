// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "sockets.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "system.h"

/* Ask the kernel. @ret_states: to be freed. Returns their number or -errno. */
static int read_states(const char *bpffs, const struct rd_maps *maps,
		       struct rd_socket_state **ret_states)
{
	uint32_t n = 0, room = maps->entries[RD_MAP_SOCKETS];
	struct rd_socket_state *states;
	char path[PATH_MAX];
	FILE *list;
	int r = 0;

	if (snprintf(path, sizeof(path), "%s/" RD_SOCKETS_LINK, bpffs) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	list = fopen(path, "re");
	if (!list)
		return -errno;
	states = calloc(room, sizeof(*states));
	if (!states)
		r = -ENOMEM;
	while (!r && n < room && fread(&states[n], sizeof(*states), 1, list) == 1)
		n += states[n].slot < room;
	if (!r && ferror(list))
		r = -errno;
	fclose(list);
	if (r) {
		free(states);
		return r;
	}
	*ret_states = states;
	return (int)n;
}

int rd_sockets_each(const char *bpffs, const struct rd_maps *maps,
		    void (*visit)(void *context, const struct rd_socket *record), void *context)
{
	struct rd_socket_state *states = NULL;
	int n = read_states(bpffs, maps, &states);
	struct rd_socket record;

	for (int i = 0; i < n; i++)
		if (states[i].is_open && rd_maps_socket(maps, states[i].slot, &record) &&
		    record.inode == states[i].inode)
			visit(context, &record);
	free(states);
	return n < 0 ? n : 0;
}

/* A program that saw the slot as its socket's may be writing there: let no other
 * come after it. Of open sockets, undo what an agent that died then has left. */
static void announce(struct rd_socket *record, const struct rd_socket_state *state)
{
	if (state->is_open)
		__atomic_fetch_and(&record->dentry, ~RD_SLOT_LEAVING, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_or(&record->dentry, RD_SLOT_LEAVING, __ATOMIC_SEQ_CST);
}

/* Those programs have ended. Returns whether none of them took the slot. */
static bool take_back(struct rd_socket *record, uint64_t inode)
{
	if (__atomic_load_n(&record->inode, __ATOMIC_SEQ_CST) != inode) {
		__atomic_fetch_and(&record->dentry, ~RD_SLOT_LEAVING, __ATOMIC_SEQ_CST);
		return false;
	}
	__atomic_store_n(&record->inode, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&record->dentry, 0, __ATOMIC_SEQ_CST);
	return true;
}

int rd_sockets_sweep(const char *bpffs, struct rd_maps *maps)
{
	struct rd_socket_state *states = NULL;
	int n = read_states(bpffs, maps, &states), closed = 0, taken = 0, r = n < 0 ? n : 0;

	for (int i = 0; i < n; i++) {
		announce(&maps->sockets[states[i].slot], &states[i]);
		if (!states[i].is_open)
			states[closed++] = states[i];
	}
	if (closed)
		r = rd_wait_for_programs();
	for (int i = 0; !r && i < closed; i++)
		taken += take_back(&maps->sockets[states[i].slot], states[i].inode);
	free(states);
	return r ?: taken;
}

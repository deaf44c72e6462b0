// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * libFuzzer target: any bytes as a cgroup's path. What is found in it is made of
 * digits and dashes, and is the same after what is not printable has been
 * replaced, which is how `redial monitor` comes to read it.
 *
 * The first two bytes are the size of the copy.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cgroupname.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool what)
{
	if (!what)
		abort();
}

/* The copy is as long as there is room for, and as printable as it says. */
static void copy(const char *path, size_t size, char *to)
{
	rd_copy_printable(to, size, path);
	require(strlen(to) == (strlen(path) < size ? strlen(path) : size - 1));
	for (const char *c = to; *c; c++)
		require(*c >= ' ' && *c <= '~' && (*c == path[c - to] || *c == '?'));
}

static void check(const struct rd_cgroup_owner *owner)
{
	size_t uid = strnlen(owner->pod_uid, sizeof(owner->pod_uid));
	size_t id = strnlen(owner->container, sizeof(owner->container));

	require(uid == 0 || uid == 32 || uid == 36);
	require(id == 0 || id == 64);
	for (size_t i = 0; i < uid; i++)
		require(isxdigit((unsigned char)owner->pod_uid[i]) || owner->pod_uid[i] == '-');
	for (size_t i = 0; i < id; i++)
		require(isxdigit((unsigned char)owner->container[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd_cgroup_owner owner, again;
	char *path, *printable;
	size_t room;

	if (size < 2)
		return 0;
	room = 1 + (data[0] | (size_t)data[1] << 8) % 512;
	path = calloc(size - 1, 1);
	printable = malloc(size - 1 > room ? size - 1 : room);
	require(path && printable);
	memcpy(path, data + 2, size - 2);
	copy(path, room, printable);
	copy(path, size - 1, printable);
	rd_cgroup_owner_parse(path, &owner);
	check(&owner);
	rd_cgroup_owner_parse(printable, &again);
	require(!strcmp(owner.pod_uid, again.pod_uid));
	require(!strcmp(owner.container, again.container));
	free(path);
	free(printable);
	return 0;
}

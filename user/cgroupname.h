/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cgroupname.h - who a cgroup is: its path, and if the kubelet made it, the
 * container and the Pod.
 */
#ifndef REDIAL_CGROUPNAME_H
#define REDIAL_CGROUPNAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a path says by itself. */
struct rd_cgroup_owner {
	char pod_uid[40];   /* "" if it is no Pod's */
	char container[72]; /* the runtime's id, 64 digits; "" if it is no container's */
};

/* Read the names that kubelets and container runtimes give their cgroups, with
 * the systemd driver and with the cgroupfs driver. */
void rd_cgroup_owner_parse(const char *path, struct rd_cgroup_owner *ret_owner);

/* Every field is printable ASCII. */
struct rd_cgroup_name {
	uint64_t id;
	uint64_t looked_ns; /* CLOCK_MONOTONIC; 0: the entry is free */
	char path[256];	    /* below the cgroup2 mount, "/" for itself; "": gone */
	struct rd_cgroup_owner owner;
	char pod[256]; /* the container's host name, which is the Pod's; "": not known */
};

#define RD_CGROUP_NAMES 512

struct rd_cgroup_names {
	char *mount; /* where cgroup2 is mounted; NULL: nowhere */
	int mount_fd;
	char host[72]; /* name of this machine */
	/* Every cgroup, where the kernel does not open one by its id. */
	struct rd_cgroup_path {
		uint64_t id;
		char *path;
	} * paths;
	size_t n_paths;
	uint64_t walked_ns; /* CLOCK_MONOTONIC; 0: never */
	struct rd_cgroup_name names[RD_CGROUP_NAMES];
};

/* Returns NULL if there is no memory. */
struct rd_cgroup_names *rd_cgroup_names_new(void);
void rd_cgroup_names_free(struct rd_cgroup_names *names);

/* Look a cgroup up by its id. What was found is remembered: ids are not used
 * twice; what was not is tried again a second later. Never NULL; valid until
 * the next call. */
const struct rd_cgroup_name *rd_cgroup_name(struct rd_cgroup_names *names, uint64_t id);

/* Copy text that anybody may have written: what is not printable ASCII becomes
 * "?", and what does not fit is cut. */
void rd_copy_printable(char *to, size_t size, const char *from);

#endif

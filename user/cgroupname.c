// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "cgroupname.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "system.h"
#include "util.h"

/* FILEID_KERNFS of the kernel: a file handle that is the cgroup's id. */
#define KERNFS_HANDLE 0xfe
/* What was not found is looked for again after this. */
#define RETRY_NS 1000000000U

void rd_copy_printable(char *to, size_t size, const char *from)
{
	size_t n = 0;

	for (; from[n] && n + 1 < size; n++)
		to[n] = from[n] >= ' ' && from[n] <= '~' ? from[n] : '?';
	to[n] = '\0';
}

/* ---- what a path says ------------------------------------------------------------ */

static size_t hex_digits(const char *text, size_t length)
{
	size_t n = 0;

	while (n < length && isxdigit((unsigned char)text[n]))
		n++;
	return n;
}

/* A UID: 8-4-4-4-12 digits, with "_" for "-" where systemd would take it for a
 * step down, or 32 digits for a static Pod. */
static bool is_uid(const char *text, size_t length)
{
	if (length == 32)
		return hex_digits(text, length) == length;
	for (size_t i = 0; i < length; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' && text[i] != '_' : !isxdigit((unsigned char)text[i]))
			return false;
	}
	return length == 36;
}

static size_t without_suffix(const char *part, size_t length, const char *suffix)
{
	size_t n = strlen(suffix);

	return length > n && !memcmp(part + length - n, suffix, n) ? length - n : length;
}

/* "podUID" or "kubepods-burstable-podUID.slice". */
static void parse_pod(const char *part, size_t length, struct rd_cgroup_owner *owner)
{
	length = without_suffix(part, length, ".slice");
	for (size_t i = 0; i + 3 < length; i++) {
		if (memcmp(part + i, "pod", 3) || (i && part[i - 1] != '-') ||
		    !is_uid(part + i + 3, length - i - 3))
			continue;
		snprintf(owner->pod_uid, sizeof(owner->pod_uid), "%.*s", (int)(length - i - 3),
			 part + i + 3);
		for (char *c = owner->pod_uid; *c; c++)
			*c = *c == '_' ? '-' : *c;
	}
}

/* "ID", "cri-containerd-ID.scope", "crio-ID.scope" or "docker-ID.scope". */
static void parse_container(const char *part, size_t length, struct rd_cgroup_owner *owner)
{
	length = without_suffix(part, length, ".scope");
	if (length < 64 || (length > 64 && part[length - 65] != '-') ||
	    hex_digits(part + length - 64, 64) != 64)
		return;
	snprintf(owner->container, sizeof(owner->container), "%.64s", part + length - 64);
}

void rd_cgroup_owner_parse(const char *path, struct rd_cgroup_owner *ret_owner)
{
	*ret_owner = (struct rd_cgroup_owner){0};
	while (*path) {
		size_t length = strcspn(path, "/");

		parse_pod(path, length, ret_owner);
		parse_container(path, length, ret_owner);
		path += length + (path[length] == '/');
	}
}

/* ---- what the machine says ------------------------------------------------------- */

/* Open the cgroup with this id, without a walk; that takes CAP_DAC_READ_SEARCH.
 * Returns a descriptor or -1. */
static int open_by_id(const struct rd_cgroup_names *names, uint64_t id)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + sizeof(id)];
	} u = {.handle = {.handle_bytes = sizeof(id), .handle_type = KERNFS_HANDLE}};

	memcpy(u.handle.f_handle, &id, sizeof(id));
	return open_by_handle_at(names->mount_fd, &u.handle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void forget_paths(struct rd_cgroup_names *names)
{
	for (size_t i = 0; i < names->n_paths; i++)
		free(names->paths[i].path);
	free(names->paths);
	names->paths = NULL;
	names->n_paths = 0;
}

/* Note the cgroups below `path`. What cannot be read is left out. */
static void walk(struct rd_cgroup_names *names, const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		char *below = NULL;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.' ||
		    rd_array_grow(&names->paths, names->n_paths, sizeof(*names->paths)) ||
		    asprintf(&below, "%s/%s", path, entry->d_name) < 0)
			continue;
		names->paths[names->n_paths++] =
			(struct rd_cgroup_path){.id = entry->d_ino, .path = below};
		walk(names, below);
	}
	if (directory)
		closedir(directory);
}

static int open_walked(const struct rd_cgroup_names *names, uint64_t id)
{
	for (size_t i = 0; i < names->n_paths; i++)
		if (names->paths[i].id == id)
			return open(names->paths[i].path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return -1;
}

/* Open the cgroup with this id. Walks once a second at most. */
static int open_cgroup(struct rd_cgroup_names *names, uint64_t id)
{
	int fd = open_by_id(names, id);

	if (fd >= 0 || errno != EPERM || !names->mount)
		return fd;
	fd = open_walked(names, id);
	if (fd >= 0 || (names->walked_ns && rd_monotonic_ns() - names->walked_ns < RETRY_NS))
		return fd;
	forget_paths(names);
	walk(names, names->mount);
	names->walked_ns = rd_monotonic_ns();
	return open_walked(names, id);
}

/* The path of a descriptor, NULL if it was removed. To be freed. */
static char *path_of(int fd)
{
	char link[64], *path = calloc(1, PATH_MAX);

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (path && readlink(link, path, PATH_MAX - 1) > 0 && !strstr(path, " (deleted)"))
		return path;
	free(path);
	return NULL;
}

/* Read a small file that must be one. Returns the bytes read, with a NUL after
 * them, or -1. */
static ssize_t read_small(int fd, char *text, size_t size)
{
	struct stat st;
	ssize_t n =
		fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) ? -1 : read(fd, text, size - 1);

	if (n >= 0)
		text[n] = '\0';
	return n;
}

/* A process of the cgroup, as /proc here numbers it; 0: none that is seen. */
static int first_process(int cgroup)
{
	_rd_close_ int fd = openat(cgroup, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	char text[32];

	return read_small(fd, text, sizeof(text)) > 0 ? (int)strtol(text, NULL, 10) : 0;
}

static bool is_host_name(const char *text)
{
	for (const char *c = text; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '-' && *c != '.')
			return false;
	return *text;
}

/*
 * The host name in a container: of its /etc/hostname, which runtimes put there.
 * The container's links lead nowhere outside of it, and what is no plain file
 * is not waited for.
 */
static void read_host_name(int process, char *name, size_t size)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	_rd_close_ int root = -1, fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/root", process);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root >= 0)
		fd = (int)syscall(SYS_openat2, root, "etc/hostname", &how, sizeof(how));
	if (read_small(fd, name, size) < 0)
		*name = '\0';
	name[strcspn(name, "\n")] = '\0';
	if (!is_host_name(name))
		*name = '\0';
}

static void look_up(struct rd_cgroup_names *names, struct rd_cgroup_name *name)
{
	_rd_close_ int fd = open_cgroup(names, name->id);
	_rd_free_ char *path = fd < 0 ? NULL : path_of(fd);
	size_t prefix = names->mount ? strlen(names->mount) : 0;
	int process;

	if (!path || strncmp(path, names->mount, prefix))
		return;
	rd_copy_printable(name->path, sizeof(name->path), path[prefix] ? path + prefix : "/");
	rd_cgroup_owner_parse(name->path, &name->owner);
	process = name->owner.container[0] ? first_process(fd) : 0;
	if (process > 0)
		read_host_name(process, name->pod, sizeof(name->pod));
	/* In the host's network a Pod has the node's name. */
	if (!strcmp(name->pod, names->host))
		name->pod[0] = '\0';
}

struct rd_cgroup_names *rd_cgroup_names_new(void)
{
	struct rd_cgroup_names *names = calloc(1, sizeof(*names));
	struct utsname host;

	if (!names)
		return NULL;
	names->mount = rd_cgroup2_mount();
	names->mount_fd =
		names->mount ? open(names->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (!uname(&host))
		snprintf(names->host, sizeof(names->host), "%s", host.nodename);
	return names;
}

void rd_cgroup_names_free(struct rd_cgroup_names *names)
{
	if (!names)
		return;
	forget_paths(names);
	free(names->mount);
	rd_close_cleanup(&names->mount_fd);
	free(names);
}

const struct rd_cgroup_name *rd_cgroup_name(struct rd_cgroup_names *names, uint64_t id)
{
	struct rd_cgroup_name *name = &names->names[id % RD_CGROUP_NAMES];
	uint64_t now = rd_monotonic_ns();
	bool complete = name->path[0] && (!name->owner.container[0] || name->pod[0]);

	if (name->looked_ns && name->id == id && (complete || now - name->looked_ns < RETRY_NS))
		return name;
	*name = (struct rd_cgroup_name){.id = id, .looked_ns = now};
	look_up(names, name);
	return name;
}

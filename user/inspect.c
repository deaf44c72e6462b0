// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "inspect.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "system.h"

/* ---- the process ------------------------------------------------------------------ */

/* The line "0::/path" of /proc/PID/cgroup, without its end. */
static int read_cgroup_line(uint32_t pid, char *text, size_t size)
{
	char path[64];
	_rd_fclose_ FILE *file = NULL;

	snprintf(path, sizeof(path), "/proc/%u/cgroup", pid);
	file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? -ESRCH : -errno;
	while (fgets(text, (int)size, file)) {
		text[strcspn(text, "\n")] = '\0';
		if (!strncmp(text, "0::/", 4))
			return 0;
	}
	return -ENOENT;
}

/* The ids of the cgroup at `place->path` and those above it. */
static void read_ids(struct rd_place *place)
{
	char path[PATH_MAX];
	char *slash;

	snprintf(path, sizeof(path), "%s", place->path);
	while (place->n_ids < RD_ARRAY_SIZE(place->ids) && rd_cgroup_id(path)) {
		place->ids[place->n_ids++] = rd_cgroup_id(path);
		slash = strrchr(path, '/');
		if (!slash || slash == path)
			return;
		*slash = '\0';
	}
}

int rd_inspect_place(uint32_t pid, struct rd_place *ret_place)
{
	_rd_free_ char *root = rd_cgroup2_mount();
	char line[PATH_MAX];
	int r = read_cgroup_line(pid, line, sizeof(line));

	*ret_place = (struct rd_place){0};
	if (r)
		return r;
	if (!root)
		return -ENODEV;
	/* "/../x" is outside of what is mounted here. */
	if (strstr(line, "/..") ||
	    snprintf(ret_place->path, sizeof(ret_place->path), "%s%s", root,
		     strcmp(line + 3, "/") ? line + 3 : "") >= (int)sizeof(ret_place->path))
		return -ENOENT;
	read_ids(ret_place);
	return ret_place->n_ids ? 0 : -ENOENT;
}

bool rd_place_is_below(const struct rd_place *place, uint64_t cgroup_id)
{
	for (size_t i = 0; i < place->n_ids; i++)
		if (place->ids[i] == cgroup_id)
			return true;
	return false;
}

/* ---- a program's constants --------------------------------------------------------- */

static const struct constant {
	const char *name; /* in the BPF object */
	size_t offset;	  /* in struct rd_constants */
	size_t size;
} constants[] = {
#define CONSTANT(variable, field)                                                                  \
	{                                                                                          \
		variable, offsetof(struct rd_constants, field),                                    \
			sizeof(((struct rd_constants *)0)->field)                                  \
	}
	CONSTANT("rd_host_netns", host_netns),
	CONSTANT("rd_has_set_retval", has_set_retval),
	CONSTANT("rd_excluded_cgroups", excluded_cgroups),
	CONSTANT("rd_excluded_cgroup", excluded_cgroup),
	CONSTANT("rd_excluded_netnss", excluded_netnss),
	CONSTANT("rd_excluded_netns", excluded_netns),
#undef CONSTANT
};

/* Take the constants out of a section's memory, where the map's types say they
 * are. Returns 0, or -ENOENT unless all of them are there. */
static int take_constants(const struct btf *btf, const struct btf_type *section, const char *memory,
			  struct rd_constants *ret_constants)
{
	const struct btf_var_secinfo *variable = btf_var_secinfos(section);
	size_t found = 0;

	for (unsigned v = 0; v < btf_vlen(section); v++, variable++) {
		const struct btf_type *type = btf__type_by_id(btf, variable->type);
		const char *name = btf__name_by_offset(btf, type->name_off);

		for (size_t i = 0; i < RD_ARRAY_SIZE(constants); i++) {
			if (strcmp(constants[i].name, name) || variable->size != constants[i].size)
				continue;
			memcpy((char *)ret_constants + constants[i].offset,
			       memory + variable->offset, variable->size);
			found++;
		}
	}
	return found == RD_ARRAY_SIZE(constants) ? 0 : -ENOENT;
}

static int read_section(int map, const struct bpf_map_info *info,
			struct rd_constants *ret_constants)
{
	struct btf *btf = btf__load_from_kernel_by_id(info->btf_id);
	const struct btf_type *section = btf ? btf__type_by_id(btf, info->btf_value_type_id) : NULL;
	_rd_free_ char *memory = calloc(1, info->value_size);
	__u32 zero = 0;
	int r = -ENOENT;

	if (memory && section && btf_is_datasec(section) &&
	    !bpf_map_lookup_elem(map, &zero, memory))
		r = take_constants(btf, section, memory, ret_constants);
	btf__free(btf);
	return r;
}

int rd_inspect_constants(uint32_t program_id, struct rd_constants *ret_constants)
{
	_rd_close_ int program = bpf_prog_get_fd_by_id(program_id);
	__u32 ids[64];
	struct bpf_prog_info info = {.nr_map_ids = RD_ARRAY_SIZE(ids),
				     .map_ids = (__u64)(uintptr_t)ids};
	__u32 length = sizeof(info);

	*ret_constants = (struct rd_constants){0};
	if (program < 0 || bpf_obj_get_info_by_fd(program, &info, &length))
		return -errno;
	for (__u32 i = 0; i < info.nr_map_ids && i < RD_ARRAY_SIZE(ids); i++) {
		_rd_close_ int map = bpf_map_get_fd_by_id(ids[i]);
		struct bpf_map_info of_map = {0};
		__u32 size = sizeof(of_map);

		if (map >= 0 && !bpf_obj_get_info_by_fd(map, &of_map, &size) &&
		    strstr(of_map.name, ".rodata"))
			return read_section(map, &of_map, ret_constants);
	}
	return -ENOENT;
}

/* ---- a hook ------------------------------------------------------------------------- */

static void look_at(uint32_t id, struct rd_running *ret_running)
{
	_rd_close_ int fd = bpf_prog_get_fd_by_id(id);
	struct bpf_prog_info info = {0};
	__u32 length = sizeof(info);

	*ret_running = (struct rd_running){.id = id};
	if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &length))
		memcpy(ret_running->name, info.name, sizeof(ret_running->name) - 1);
}

int rd_inspect_hook(const char *path, bool ipv6, struct rd_running ret_running[RD_RUNNING_MAX])
{
	_rd_close_ int cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	__u32 ids[RD_RUNNING_MAX], n = RD_RUNNING_MAX;

	if (cgroup < 0 ||
	    bpf_prog_query(cgroup, ipv6 ? BPF_CGROUP_INET6_CONNECT : BPF_CGROUP_INET4_CONNECT,
			   BPF_F_QUERY_EFFECTIVE, NULL, ids, &n))
		return -errno;
	for (__u32 i = 0; i < n; i++)
		look_at(ids[i], &ret_running[i]);
	return (int)n;
}

/* ---- a key ---------------------------------------------------------------------------- */

bool rd_inspect_node(const struct rd_maps *maps, const struct rd_ip *ip, uint32_t *ret_node)
{
	struct rd_nodeaddr key = {.family = ip->family};

	memcpy(key.addr, ip->bytes, sizeof(key.addr));
	return !bpf_map_lookup_elem(maps->fd[RD_MAP_NODEADDRS], &key, ret_node);
}

bool rd_inspect_affinity(const struct rd_maps *maps, const struct rd_client *client,
			 struct rd_pinned *ret_pinned)
{
	return !bpf_map_lookup_elem(maps->fd[RD_MAP_AFFINITY], client, ret_pinned);
}

/* ---- a socket -------------------------------------------------------------------------- */

int rd_inspect_descriptor(uint32_t pid, uint32_t fd)
{
	_rd_close_ int process = (int)syscall(SYS_pidfd_open, pid, 0);
	int copy;

	if (process < 0)
		return -errno;
	copy = (int)syscall(SYS_pidfd_getfd, process, fd, 0);
	return copy < 0 ? -errno : copy;
}

int rd_inspect_socket(const struct rd_maps *maps, int fd, struct rd_socket *ret_record,
		      enum rd_map *ret_map)
{
	struct stat stat;

	if (fstat(fd, &stat))
		return -errno;
	if (!S_ISSOCK(stat.st_mode))
		return -ENOTSOCK;
	*ret_map = RD_MAP_SOCKETS;
	if (rd_maps_socket_of(maps, stat.st_ino, ret_record))
		return 1;
	*ret_map = RD_MAP_SPILL;
	return !bpf_map_lookup_elem(maps->fd[RD_MAP_SPILL], &fd, ret_record) && ret_record->inode;
}

bool rd_inspect_flows(const struct rd_maps *maps, int fd, struct rd_flows *ret_flows)
{
	return !bpf_map_lookup_elem(maps->fd[RD_MAP_UDP_FLOWS], &fd, ret_flows);
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "redial.skel.h"
#include "system.h"

/* Of all nodes together; not preallocated. */
#define NODE_ADDRESSES 16384U
/* Pairs of a client and a Service port with session affinity; when there are
 * more, the one longest not used makes way. */
#define AFFINITY_ENTRIES 8192U

/* Some 2,000 records: a watcher that reads ten times a second keeps up with
 * 20,000 connects a second. */
#define EVENT_BYTES (256U << 10)

struct rd_datapath {
	struct rd_datapath_config config;
	char *bpffs;
	char *cgroup;
	int lock, cgroup_lock;
	bool made_directory;
	bool beside; /* what is pinned is of another make: new maps take its place when
		      * the programs are attached */
	struct redial_bpf *skeleton;
	struct rd_maps maps;
};

/* Every hook: the program in the skeleton and the link's pin. */
static const struct hook {
	const char *name;
	enum bpf_attach_type type;
	size_t program; /* offset of the struct bpf_program * in the skeleton's progs */
	bool outcomes;	/* only with track_outcomes */
} hooks[] = {
#define HOOK(name_, type_)                                                                         \
	{                                                                                          \
		.name = #name_, .type = (type_),                                                   \
		.program = offsetof(struct redial_bpf, progs.rd_##name_)                           \
	}
	{
		.name = "sockops",
		.type = BPF_CGROUP_SOCK_OPS,
		.program = offsetof(struct redial_bpf, progs.rd_sockops),
		.outcomes = true,
	},
	HOOK(getpeername4, BPF_CGROUP_INET4_GETPEERNAME),
	HOOK(getpeername6, BPF_CGROUP_INET6_GETPEERNAME),
	HOOK(recvmsg4, BPF_CGROUP_UDP4_RECVMSG),
	HOOK(recvmsg6, BPF_CGROUP_UDP6_RECVMSG),
	/* Last: once connects are redialled, the rest must be in place. */
	HOOK(sendmsg4, BPF_CGROUP_UDP4_SENDMSG),
	HOOK(sendmsg6, BPF_CGROUP_UDP6_SENDMSG),
	HOOK(connect4, BPF_CGROUP_INET4_CONNECT),
	HOOK(connect6, BPF_CGROUP_INET6_CONNECT),
#undef HOOK
};

/* ---- libbpf's messages ------------------------------------------------------- */

static bool verbose;
static char last_warning[256];

void rd_datapath_verbose(void)
{
	verbose = true;
}

static int print_message(enum libbpf_print_level level, const char *format, va_list args)
{
	va_list again;

	va_copy(again, args);
	if (level == LIBBPF_WARN)
		vsnprintf(last_warning, sizeof(last_warning), format, again);
	va_end(again);
	last_warning[strcspn(last_warning, "\n")] = '\0';
	return verbose ? vfprintf(stderr, format, args) : 0;
}

/* ---- paths and locks ----------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static int path_of(char path[PATH_MAX], const char *format,
							 ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(path, PATH_MAX, format, args);
	va_end(args);
	return n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* Take the directory's lock. Returns a descriptor, -EWOULDBLOCK or -errno. */
static int lock_directory(const char *bpffs)
{
	int fd = open(bpffs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

bool rd_datapath_is_locked(const char *bpffs)
{
	_rd_close_ int fd = lock_directory(bpffs);

	return fd == -EWOULDBLOCK;
}

/* Remove what is empty. Returns 0 or -errno; what is in use stays, and that is
 * no error. */
static int remove_directories(const char *bpffs)
{
	char path[PATH_MAX];
	int r = path_of(path, "%s/links", bpffs);

	if (r)
		return r;
	if ((rmdir(path) && errno != ENOENT && errno != ENOTEMPTY) ||
	    (rmdir(bpffs) && errno != ENOTEMPTY && errno != EBUSY))
		return -errno;
	return 0;
}

/* Make a directory unless it is there. Returns 1 if it was made. */
static int make_directory(const char *path, struct rd_error *error)
{
	if (!mkdir(path, 0700))
		return 1;
	return errno == EEXIST
		       ? 0
		       : rd_error_set(error, -errno, "cannot make %s: %s", path, strerror(errno));
}

/* ---- links -------------------------------------------------------------------------- */

static int link_path(char path[PATH_MAX], const char *bpffs, const struct hook *hook)
{
	return path_of(path, "%s/links/%s", bpffs, hook->name);
}

static int link_info(struct bpf_link *link, struct bpf_link_info *ret_info)
{
	__u32 length = sizeof(*ret_info);

	*ret_info = (struct bpf_link_info){0};
	return bpf_obj_get_info_by_fd(bpf_link__fd(link), ret_info, &length) ? -errno : 0;
}

/* Does somebody else's program of redial's sit on this hook of the cgroup? A
 * second one would be accepted by the kernel and make everything twice. */
static bool is_taken(int cgroup, const struct hook *hook)
{
	__u32 ids[64], n = RD_ARRAY_SIZE(ids);
	char name[BPF_OBJ_NAME_LEN];

	if (bpf_prog_query(cgroup, hook->type, 0, NULL, ids, &n))
		return false;
	snprintf(name, sizeof(name), "rd_%s", hook->name);
	for (__u32 i = 0; i < n; i++) {
		_rd_close_ int fd = bpf_prog_get_fd_by_id(ids[i]);
		struct bpf_prog_info info = {0};
		__u32 length = sizeof(info);

		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &length) &&
		    !strcmp(info.name, name))
			return true;
	}
	return false;
}

/*
 * See, before anything is made, that every hook can be attached or taken over:
 * a pinned link must be on our cgroup, or dead, and nobody else's redial may be
 * there.
 */
static int check_hook(const struct rd_datapath *dp, const struct hook *hook, int cgroup,
		      struct rd_error *error)
{
	struct bpf_link_info info = {0};
	struct bpf_link *link;
	char path[PATH_MAX];
	int r = link_path(path, dp->bpffs, hook);

	if (r)
		return rd_error_set(error, r, "%s is too long", dp->bpffs);
	link = bpf_link__open(path);
	if (link)
		r = link_info(link, &info);
	else
		r = errno == ENOENT ? 0 : -errno;
	bpf_link__destroy(link);
	if (r)
		return rd_error_set(error, r, "cannot look at %s: %s", path, strerror(-r));
	if (info.cgroup.cgroup_id && info.cgroup.cgroup_id != rd_cgroup_id(dp->cgroup))
		return rd_error_set(error, -EBUSY,
				    "the programs pinned in %s are attached to another cgroup "
				    "than %s: run 'redial cleanup --bpffs %s' first",
				    dp->bpffs, dp->cgroup, dp->bpffs);
	if (!info.cgroup.cgroup_id && is_taken(cgroup, hook))
		return rd_error_set(error, -EBUSY,
				    "another redial is attached to %s: run 'redial cleanup' with "
				    "its --bpffs first",
				    dp->cgroup);
	return 0;
}

static int check_hooks(const struct rd_datapath *dp, struct rd_error *error)
{
	_rd_close_ int cgroup = open(dp->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	if (cgroup < 0)
		return rd_error_set(error, -errno, "cannot open %s: %s", dp->cgroup,
				    strerror(errno));
	for (size_t i = 0; !r && i < RD_ARRAY_SIZE(hooks); i++)
		r = check_hook(dp, &hooks[i], cgroup, error);
	return r;
}

static int prepare_directory(struct rd_datapath *dp, struct rd_error *error)
{
	char path[PATH_MAX];
	int r;

	if (!rd_is_bpffs(dp->bpffs))
		return rd_error_set(error, -ENODEV,
				    "%s is not on a bpffs: 'mount -t bpf bpf /sys/fs/bpf', or "
				    "name another with --bpffs",
				    dp->bpffs);
	if (!rd_is_cgroup2(dp->cgroup))
		return rd_error_set(error, -ENODEV,
				    "%s is not a cgroup2 directory: name one with --cgroup",
				    dp->cgroup);
	r = make_directory(dp->bpffs, error);
	dp->made_directory = r == 1;
	if (r >= 0)
		r = path_of(path, "%s/links", dp->bpffs) ?: make_directory(path, error);
	if (r < 0)
		return r;
	dp->lock = lock_directory(dp->bpffs);
	if (dp->lock == -EWOULDBLOCK)
		return rd_error_set(error, -EBUSY,
				    "another agent is running on %s: stop it first, or use "
				    "another --bpffs",
				    dp->bpffs);
	return dp->lock < 0 ? rd_error_set(error, dp->lock, "cannot lock %s: %s", dp->bpffs,
					   strerror(-dp->lock))
			    : 0;
}

/* ---- loading ---------------------------------------------------------------------- */

static struct bpf_map *skeleton_map(const struct rd_datapath *dp, enum rd_map map)
{
	return bpf_object__find_map_by_name(dp->skeleton->obj, rd_map_name(map));
}

static uint32_t wanted_entries(const struct rd_datapath *dp, enum rd_map map)
{
	struct rd_limits limits = rd_limits_of(dp->config.max_services, dp->config.max_backends);

	switch (map) {
	case RD_MAP_FRONTENDS:
		return rd_limits_places(&limits);
	case RD_MAP_BACKENDS:
		return limits.max_slots;
	case RD_MAP_BACKEND_STATS:
		return dp->config.track_outcomes ? limits.max_slots : 1;
	case RD_MAP_SERVICES:
	case RD_MAP_SERVICE_STATS:
		return limits.max_ports;
	case RD_MAP_LATENCY:
		return dp->config.track_outcomes ? limits.max_ports : 1;
	case RD_MAP_EVENTS:
		return EVENT_BYTES;
	case RD_MAP_SOCKETS:
		return dp->config.socket_slots;
	case RD_MAP_AGENT:
	case RD_MAP_FILTER:
	case RD_MAP_TOTALS:
	case RD_MAP_RANDOM:
	case RD_MAP_WATCH:
	case RD_MAP_DNS:
	case RD_MAP_DNS_LIFE:
		return 1;
	case RD_MAP_NODEADDRS:
		return NODE_ADDRESSES;
	case RD_MAP_AFFINITY:
		return AFFINITY_ENTRIES;
	case RD_MAP_SPILL:
	case RD_MAP_UDP_FLOWS:
	case RD_MAPS:
		break;
	}
	return 0;
}

/* Open a pinned map. Returns a descriptor, -ENOENT or another -errno. */
static int open_map(const struct rd_datapath *dp, enum rd_map map, struct bpf_map_info *ret_info)
{
	__u32 length = sizeof(*ret_info);
	char path[PATH_MAX];
	int r = path_of(path, "%s/%s", dp->bpffs, rd_map_name(map));
	int fd = r ? r : bpf_obj_get(path);

	if (fd < 0)
		return r ?: -errno;
	*ret_info = (struct bpf_map_info){0};
	if (bpf_obj_get_info_by_fd(fd, ret_info, &length)) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

/* Outcomes that are no longer asked for keep their maps: a former agent's counts
 * are not worth less for it. */
static bool is_of_size(const struct rd_datapath *dp, enum rd_map map,
		       const struct bpf_map_info *info)
{
	uint32_t wanted = wanted_entries(dp, map);
	bool of_outcomes = map == RD_MAP_BACKEND_STATS || map == RD_MAP_LATENCY;

	return !wanted || info->max_entries == wanted ||
	       (of_outcomes && info->max_entries > wanted);
}

/*
 * Look at what is pinned: whether it is what this agent would make, in layout
 * and sizes. The agent's own map is pinned last and unpinned first, so that
 * without it the others cannot be relied on.
 */
static int look_at_pins(struct rd_datapath *dp, bool *ret_same_layout, struct rd_error *error)
{
	int r = rd_maps_check_layout(dp->bpffs, error);
	bool any = false, agent = false;

	dp->beside = r == -EPROTO;
	for (int i = 0; (!r || dp->beside) && i < RD_MAPS; i++) {
		struct bpf_map_info info;
		_rd_close_ int fd = open_map(dp, (enum rd_map)i, &info);

		if (fd < 0 && fd != -ENOENT)
			return rd_error_set(error, fd, "cannot open %s/%s: %s", dp->bpffs,
					    rd_map_name((enum rd_map)i), strerror(-fd));
		any |= fd >= 0;
		agent |= fd >= 0 && i == RD_MAP_AGENT;
		dp->beside |= fd >= 0 && !is_of_size(dp, (enum rd_map)i, &info);
	}
	dp->beside |= any && !agent;
	*ret_same_layout = !r && agent;
	return dp->beside ? 0 : r;
}

/* What sockets dialled is known to these, and is still so with another set of
 * Services in maps of other sizes. */
static bool is_of_sockets(enum rd_map map)
{
	return map == RD_MAP_SOCKETS || map == RD_MAP_SPILL || map == RD_MAP_UDP_FLOWS;
}

static int prepare_map(struct rd_datapath *dp, enum rd_map map, bool same_layout)
{
	uint32_t entries = wanted_entries(dp, map);
	struct bpf_map_info info;
	_rd_close_ int fd = -1;
	int r = entries ? bpf_map__set_max_entries(skeleton_map(dp, map), entries) : 0;

	if (r || (dp->beside && !(same_layout && is_of_sockets(map))))
		return r;
	fd = open_map(dp, map, &info);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	return is_of_size(dp, map, &info) ? bpf_map__reuse_fd(skeleton_map(dp, map), fd) : 0;
}

static int prepare_maps(struct rd_datapath *dp, struct rd_error *error)
{
	bool same_layout = false;
	int r = look_at_pins(dp, &same_layout, error);

	for (int i = 0; !r && i < RD_MAPS; i++)
		r = prepare_map(dp, (enum rd_map)i, same_layout);
	return r;
}

/* Remove what is pinned in a directory and not known here: another version's.
 * @done: becomes true if there is something */
static int remove_unknown(const char *path, bool (*is_known)(const char *name), bool *done,
			  struct rd_error *error)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int r = 0;

	if (!directory)
		return errno == ENOENT ? 0
				       : rd_error_set(error, -errno, "cannot read %s: %s", path,
						      strerror(errno));
	while (!r && (entry = readdir(directory))) {
		if (entry->d_type == DT_DIR || is_known(entry->d_name))
			continue;
		if (unlinkat(dirfd(directory), entry->d_name, 0))
			r = rd_error_set(error, -errno, "cannot remove %s/%s: %s", path,
					 entry->d_name, strerror(errno));
		*done = true;
	}
	closedir(directory);
	return r;
}

static bool is_known_map(const char *name)
{
	for (int i = 0; i < RD_MAPS; i++)
		if (!strcmp(name, rd_map_name((enum rd_map)i)))
			return true;
	/* Somebody else's. */
	return strncmp(name, "rd_", 3);
}

static int pin_map(struct rd_datapath *dp, enum rd_map map, struct rd_error *error)
{
	char path[PATH_MAX];
	int r = path_of(path, "%s/%s", dp->bpffs, rd_map_name(map));

	if (r)
		return r;
	if (dp->beside && unlink(path) && errno != ENOENT)
		return rd_error_set(error, -errno, "cannot unpin %s: %s", path, strerror(errno));
	if (bpf_obj_pin(bpf_map__fd(skeleton_map(dp, map)), path) && errno != EEXIST)
		return rd_error_set(error, -errno, "cannot pin %s: %s", path, strerror(errno));
	return 0;
}

/* Pin every map, in the place of what is pinned there if it is of another
 * make. Should this be cut short, see look_at_pins. */
static int pin_maps(struct rd_datapath *dp, struct rd_error *error)
{
	char agent[PATH_MAX];
	int r = path_of(agent, "%s/%s", dp->bpffs, rd_map_name(RD_MAP_AGENT));
	bool any;

	if (!r && dp->beside && unlink(agent) && errno != ENOENT)
		return rd_error_set(error, -errno, "cannot unpin %s: %s", agent, strerror(errno));
	for (int i = 0; !r && i < RD_MAPS; i++)
		r = pin_map(dp, (enum rd_map)i, error);
	return r || !dp->beside ? r : remove_unknown(dp->bpffs, is_known_map, &any, error);
}

static int take_maps(struct rd_datapath *dp)
{
	for (int i = 0; i < RD_MAPS; i++) {
		dp->maps.fd[i] =
			fcntl(bpf_map__fd(skeleton_map(dp, (enum rd_map)i)), F_DUPFD_CLOEXEC, 3);
		if (dp->maps.fd[i] < 0)
			return -errno;
	}
	dp->maps.writable = true;
	return rd_maps_map(&dp->maps) ?: rd_maps_seed(&dp->maps);
}

static bool has_kernel_function(const char *name)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool has = btf && btf__find_by_name_kind(btf, name, BTF_KIND_FUNC) > 0;

	btf__free(btf);
	return has;
}

static int set_excluded(struct rd_datapath *dp, struct rd_error *error)
{
	const char *const *cgroup = dp->config.exclude_cgroups;
	const char *const *netns = dp->config.exclude_netns;

	for (__u32 i = 0; cgroup && cgroup[i]; i++) {
		int level = rd_cgroup_level(cgroup[i]);

		if (!rd_is_cgroup2(cgroup[i]) || level < 0)
			return rd_error_set(error, -EINVAL,
					    "--exclude-cgroup %s is not a cgroup2 directory",
					    cgroup[i]);
		dp->skeleton->rodata->rd_excluded_cgroup[i] = rd_cgroup_id(cgroup[i]);
		dp->skeleton->rodata->rd_excluded_level[i] = level;
		dp->skeleton->rodata->rd_excluded_cgroups = i + 1;
	}
	for (__u32 i = 0; netns && netns[i]; i++) {
		uint64_t cookie = rd_netns_cookie(netns[i]);

		if (!cookie)
			return rd_error_set(error, -EINVAL,
					    "--exclude-netns %s is not a network namespace",
					    netns[i]);
		dp->skeleton->rodata->rd_excluded_netns[i] = cookie;
		dp->skeleton->rodata->rd_excluded_netnss = i + 1;
	}
	return 0;
}

static int check_capabilities(struct rd_error *error)
{
	static const struct {
		unsigned capability;
		const char *name;
	} needed[] = {{CAP_BPF, "CAP_BPF"},
		      {CAP_NET_ADMIN, "CAP_NET_ADMIN"},
		      {CAP_PERFMON, "CAP_PERFMON"}};

	for (size_t i = 0; i < RD_ARRAY_SIZE(needed); i++)
		if (!rd_has_capability(needed[i].capability) && !rd_has_capability(CAP_SYS_ADMIN))
			return rd_error_set(error, -EPERM,
					    "not permitted to load BPF programs, %s is missing: "
					    "run as root, or see 'redial check'",
					    needed[i].name);
	return 0;
}

/* Two agents on one cgroup would redial everything twice. */
static int lock_cgroup(struct rd_datapath *dp, struct rd_error *error)
{
	dp->cgroup_lock = lock_directory(dp->cgroup);
	if (dp->cgroup_lock >= 0)
		return 0;
	if (dp->cgroup_lock == -EWOULDBLOCK)
		return rd_error_set(error, -EBUSY,
				    "another redial is running on %s: stop it first, and run "
				    "'redial cleanup' with its --bpffs",
				    dp->cgroup);
	return rd_error_set(error, dp->cgroup_lock, "cannot lock %s: %s", dp->cgroup,
			    strerror(-dp->cgroup_lock));
}

static int load(struct rd_datapath *dp, struct rd_error *error)
{
	int r;

	*error->text = '\0';
	dp->skeleton = redial_bpf__open();
	if (!dp->skeleton)
		return rd_error_set(error, -errno, "cannot open the BPF object: %s", last_warning);
	dp->skeleton->rodata->rd_socket_shift = 33 - (__u32)ffs((int)dp->config.socket_slots);
	dp->skeleton->rodata->rd_frontend_bits =
		rd_limits_of(dp->config.max_services, dp->config.max_backends).frontend_bits;
	dp->skeleton->rodata->rd_has_rdonly_cast = has_kernel_function("bpf_rdonly_cast");
	dp->skeleton->rodata->rd_host_netns = rd_netns_cookie(NULL);
	r = set_excluded(dp, error);
	if (r)
		return r;
	dp->skeleton->rodata->rd_has_set_retval =
		libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval,
					NULL) == 1;
	/* It reads the kernel's sockets. */
	dp->config.track_outcomes &= dp->skeleton->rodata->rd_has_rdonly_cast;
	bpf_program__set_autoload(dp->skeleton->progs.rd_sockops, dp->config.track_outcomes);
	r = prepare_maps(dp, error);
	if (r)
		return *error->text ? r
				    : rd_error_set(error, r, "cannot prepare the maps: %s",
						   strerror(-r));
	r = redial_bpf__load(dp->skeleton);
	if (r == -EPERM)
		return rd_error_set(error, r,
				    "not permitted to load BPF programs: run as root, "
				    "or see 'redial check'");
	if (r)
		return rd_error_set(error, r,
				    "the kernel does not take the BPF programs (%s): 'redial "
				    "check' says what is missing: %s",
				    strerror(-r), last_warning);
	r = dp->beside ? 0 : pin_maps(dp, error);
	r = r ?: take_maps(dp);
	if (r && !*error->text)
		rd_error_set(error, r, "cannot map the maps: %s", strerror(-r));
	return r;
}

int rd_datapath_open(const struct rd_datapath_config *config, struct rd_datapath **ret_datapath,
		     struct rd_error *error)
{
	struct rd_datapath *dp = calloc(1, sizeof(*dp));
	int r = 0;

	if (!dp)
		return rd_error_set(error, -ENOMEM, "out of memory");
	dp->config = *config;
	dp->lock = dp->cgroup_lock = -1;
	dp->maps = RD_MAPS_NONE;
	dp->bpffs = strdup(config->bpffs);
	dp->cgroup = strdup(config->cgroup);
	if (!dp->bpffs || !dp->cgroup)
		r = rd_error_set(error, -ENOMEM, "out of memory");
	libbpf_set_print(print_message);
	r = r ?: prepare_directory(dp, error) ?: check_capabilities(error);
	r = r ?: lock_cgroup(dp, error) ?: check_hooks(dp, error) ?: load(dp, error);
	if (r) {
		if (dp->made_directory)
			remove_directories(config->bpffs);
		rd_datapath_close(dp);
		return r;
	}
	*ret_datapath = dp;
	return 0;
}

struct rd_maps *rd_datapath_maps(struct rd_datapath *datapath)
{
	return &datapath->maps;
}

void rd_datapath_close(struct rd_datapath *datapath)
{
	if (!datapath)
		return;
	rd_maps_close(&datapath->maps);
	redial_bpf__destroy(datapath->skeleton);
	rd_close_cleanup(&datapath->lock);
	rd_close_cleanup(&datapath->cgroup_lock);
	free(datapath->bpffs);
	free(datapath->cgroup);
	free(datapath);
}

/* ---- attaching ----------------------------------------------------------------------- */

static int attach_new(struct rd_datapath *dp, const struct hook *hook,
		      const struct bpf_program *program, const char *path, struct rd_error *error)
{
	_rd_close_ int cgroup = open(dp->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct bpf_link *link;
	int r = 0;

	if (cgroup < 0)
		return rd_error_set(error, -errno, "cannot open %s: %s", dp->cgroup,
				    strerror(errno));
	link = bpf_program__attach_cgroup(program, cgroup);
	if (!link)
		return rd_error_set(error, -errno, "cannot attach %s to %s: %s", hook->name,
				    dp->cgroup, strerror(errno));
	if (bpf_link__pin(link, path))
		r = rd_error_set(error, -errno, "cannot pin %s: %s", path, strerror(errno));
	/* Pinned, it stays attached; not pinned, this detaches it. */
	bpf_link__destroy(link);
	return r;
}

/* Replace the program of a pinned link. Returns 1 if the link is dead because
 * its cgroup was removed, and has been unpinned. */
static int replace(const struct hook *hook, struct bpf_link *link, struct bpf_program *program,
		   const char *path, struct rd_error *error)
{
	int r = bpf_link__update_program(link, program);

	if (r != -ENOLINK)
		return r ? rd_error_set(error, r, "cannot replace %s: %s", hook->name, strerror(-r))
			 : 0;
	unlink(path);
	return 1;
}

static int attach(struct rd_datapath *dp, const struct hook *hook, struct rd_error *error)
{
	struct bpf_program *program;
	struct bpf_link *link;
	char path[PATH_MAX];
	int r = link_path(path, dp->bpffs, hook);

	if (r)
		return rd_error_set(error, r, "%s is too long", dp->bpffs);
	memcpy(&program, (char *)dp->skeleton + hook->program, sizeof(program));
	link = bpf_link__open(path);
	if (!link)
		return errno == ENOENT ? attach_new(dp, hook, program, path, error)
				       : rd_error_set(error, -errno, "cannot open %s: %s", path,
						      strerror(errno));
	r = replace(hook, link, program, path, error);
	bpf_link__destroy(link);
	return r == 1 ? attach_new(dp, hook, program, path, error) : r;
}

/* Detach and unpin one hook; connects first, as the table's end. */
static int remove_link(const char *bpffs, const struct hook *hook, bool *done,
		       struct rd_error *error)
{
	struct bpf_link *link;
	char path[PATH_MAX];
	int r = link_path(path, bpffs, hook);

	if (r)
		return rd_error_set(error, r, "%s is too long", bpffs);
	link = bpf_link__open(path);
	if (!link)
		return errno == ENOENT ? 0
				       : rd_error_set(error, -errno, "cannot open %s: %s", path,
						      strerror(errno));
	*done = true;
	/* Whoever else holds the link, it acts no longer. */
	r = bpf_link__detach(link);
	bpf_link__destroy(link);
	if (unlink(path) || r)
		return rd_error_set(error, r ?: -errno, "cannot remove %s: %s", path,
				    strerror(r ? -r : errno));
	return 0;
}

static bool is_known_link(const char *name)
{
	for (size_t i = 0; i < RD_ARRAY_SIZE(hooks); i++)
		if (!strcmp(name, hooks[i].name))
			return true;
	return false;
}

/* Unpin the list of sockets, and what only another version attached. */
static int remove_other_links(const char *bpffs, bool *done, struct rd_error *error)
{
	char path[PATH_MAX];
	int r = path_of(path, "%s/links", bpffs);

	return r ? rd_error_set(error, r, "%s is too long", bpffs)
		 : remove_unknown(path, is_known_link, done, error);
}

/* Pin the list of sockets, which is made whenever somebody reads the pin. */
static int pin_sockets(const struct rd_datapath *dp, struct rd_error *error)
{
	union bpf_iter_link_info info = {
		.map.map_fd = (__u32)bpf_map__fd(skeleton_map(dp, RD_MAP_SOCKETS))};
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_link *link;
	char path[PATH_MAX];
	int r = path_of(path, "%s/" RD_SOCKETS_LINK, dp->bpffs);

	if (r)
		return rd_error_set(error, r, "%s is too long", dp->bpffs);
	link = bpf_program__attach_iter(dp->skeleton->progs.rd_list_sockets, &opts);
	if (!link || bpf_link__pin(link, path))
		r = rd_error_set(error, -errno, "cannot pin %s: %s", path, strerror(errno));
	bpf_link__destroy(link);
	return r;
}

int rd_datapath_attach(struct rd_datapath *datapath, struct rd_error *error)
{
	bool done;
	int r;

	for (size_t i = 0; i < RD_ARRAY_SIZE(hooks); i++) {
		bool wanted = !hooks[i].outcomes || datapath->config.track_outcomes;

		r = wanted ? attach(datapath, &hooks[i], error)
			   : remove_link(datapath->bpffs, &hooks[i], &done, error);
		if (r)
			return r;
	}
	r = remove_other_links(datapath->bpffs, &done, error) ?: pin_sockets(datapath, error);
	if (r)
		return r;
	if (datapath->beside) {
		r = pin_maps(datapath, error);
		if (r)
			return *error->text ? r
					    : rd_error_set(error, r, "cannot pin the maps: %s",
							   strerror(-r));
		datapath->beside = false;
	}
	return 0;
}

bool rd_datapath_tracks_outcomes(const struct rd_datapath *datapath)
{
	return datapath->config.track_outcomes;
}

bool rd_datapath_is_beside(const struct rd_datapath *datapath)
{
	return datapath->beside;
}

size_t rd_datapath_hooks(void)
{
	return RD_ARRAY_SIZE(hooks);
}

struct rd_hook_state rd_datapath_hook(const char *bpffs, size_t i)
{
	struct rd_hook_state state = {.name = hooks[i].name};
	struct bpf_link_info info;
	struct bpf_link *link;
	char path[PATH_MAX];

	libbpf_set_print(print_message);
	if (link_path(path, bpffs, &hooks[i]))
		return state;
	link = bpf_link__open(path);
	if (link && !link_info(link, &info)) {
		state.program_id = info.prog_id;
		state.cgroup_id = info.cgroup.cgroup_id;
	}
	bpf_link__destroy(link);
	return state;
}

/* ---- removal --------------------------------------------------------------------------- */

static int remove_map(const char *bpffs, enum rd_map map, bool *done, struct rd_error *error)
{
	char path[PATH_MAX];
	int r = path_of(path, "%s/%s", bpffs, rd_map_name(map));

	if (r)
		return rd_error_set(error, r, "%s is too long", bpffs);
	if (!unlink(path)) {
		*done = true;
		return 0;
	}
	return errno == ENOENT
		       ? 0
		       : rd_error_set(error, -errno, "cannot remove %s: %s", path, strerror(errno));
}

int rd_datapath_cleanup(const char *bpffs, bool *ret_done, struct rd_error *error)
{
	_rd_close_ int lock = lock_directory(bpffs);
	bool done = false;
	int r = 0;

	*ret_done = false;
	if (lock == -ENOENT)
		return 0;
	if (lock == -EWOULDBLOCK)
		return rd_error_set(error, -EBUSY, "an agent is running on %s: stop it first",
				    bpffs);
	if (lock < 0)
		return rd_error_set(error, lock, "cannot open %s: %s", bpffs, strerror(-lock));
	if (!rd_is_bpffs(bpffs))
		return rd_error_set(error, -ENODEV, "%s is not on a bpffs", bpffs);
	libbpf_set_print(print_message);
	for (size_t i = RD_ARRAY_SIZE(hooks); !r && i-- > 0;)
		r = remove_link(bpffs, &hooks[i], &done, error);
	for (int i = 0; !r && i < RD_MAPS; i++)
		r = remove_map(bpffs, (enum rd_map)i, &done, error);
	r = r ?: remove_unknown(bpffs, is_known_map, &done, error);
	r = r ?: remove_other_links(bpffs, &done, error);
	*ret_done = done;
	if (r)
		return r;
	r = remove_directories(bpffs);
	return r ? rd_error_set(error, r, "cannot remove %s: %s", bpffs, strerror(-r)) : 0;
}

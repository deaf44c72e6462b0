// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/membarrier.h>
#include <mntent.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "util.h"

char *rd_cgroup2_mount(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *entry;
	char *found = NULL;

	if (!mounts)
		return NULL;
	while (!found && (entry = getmntent(mounts)))
		if (!strcmp(entry->mnt_type, "cgroup2"))
			found = strdup(entry->mnt_dir);
	endmntent(mounts);
	return found;
}

static bool is_on(const char *path, long magic)
{
	struct statfs fs;

	return !statfs(path, &fs) && (long)fs.f_type == magic;
}

bool rd_is_cgroup2(const char *path)
{
	return is_on(path, CGROUP2_SUPER_MAGIC);
}

bool rd_is_bpffs(const char *path)
{
	_rd_free_ char *copy = strdup(path);

	return copy && (is_on(path, BPF_FS_MAGIC) ||
			(access(path, F_OK) && is_on(dirname(copy), BPF_FS_MAGIC)));
}

int rd_cgroup_level(const char *path)
{
	_rd_free_ char *real = realpath(path, NULL);
	int level = 0;

	if (!real || !rd_is_cgroup2(real))
		return -1;
	/* Up to where this mount of it ends. */
	for (char *up = dirname(real); rd_is_cgroup2(up) && strcmp(up, "/"); up = dirname(up))
		level++;
	return level;
}

bool rd_has_capability(unsigned capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	if (syscall(SYS_capget, &header, data))
		return false;
	return data[capability / 32].effective >> capability % 32 & 1;
}

uint64_t rd_cgroup_id(const char *path)
{
	struct stat st;

	return rd_is_cgroup2(path) && !stat(path, &st) ? st.st_ino : 0;
}

uint64_t rd_netns_cookie(const char *path)
{
	_rd_close_ int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	_rd_close_ int other = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	_rd_close_ int fd = -1;
	socklen_t length = sizeof(uint64_t);
	uint64_t cookie = 0;

	if (home < 0 || (path && (other < 0 || setns(other, CLONE_NEWNET))))
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length))
		cookie = 0;
	if (path && setns(home, CLONE_NEWNET))
		return 0;
	return cookie;
}

int rd_wait_for_programs(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) ? -errno : 0;
}

void rd_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_rd_close_ int fd = -1;
	size_t length;

	if (!path || (*path != '/' && *path != '@') || strlen(path) >= sizeof(address.sun_path))
		return;
	length = strlen(path);
	memcpy(address.sun_path, path, length);
	if (*path == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* Nobody listening is nothing to mend here. */
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cmd_check.c - what this kernel and this machine can do, and what is missing.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "commands.h"
#include "system.h"

static bool can_bpf(const struct rd_settings *settings)
{
	(void)settings;
	return rd_has_capability(CAP_BPF) || rd_has_capability(CAP_SYS_ADMIN);
}

static bool can_attach(const struct rd_settings *settings)
{
	(void)settings;
	return rd_has_capability(CAP_NET_ADMIN);
}

static bool can_read_kernel(const struct rd_settings *settings)
{
	(void)settings;
	return rd_has_capability(CAP_PERFMON) || rd_has_capability(CAP_SYS_ADMIN);
}

static bool has_bpffs(const struct rd_settings *settings)
{
	return rd_is_bpffs(settings->bpffs);
}

static bool has_cgroup2(const struct rd_settings *settings)
{
	_rd_free_ char *root = rd_cgroup2_mount();
	const char *path = settings->cgroup ?: root;

	return path && rd_is_cgroup2(path);
}

static bool has_helper(enum bpf_func_id helper)
{
	return libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, helper, NULL) == 1;
}

static bool has_sock_addr(const struct rd_settings *settings)
{
	(void)settings;
	return libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, NULL) == 1;
}

static bool has_iterators(const struct rd_settings *settings)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool has = btf && btf__find_by_name_kind(btf, "bpf_iter_bpf_map_elem", BTF_KIND_FUNC) > 0;

	(void)settings;
	btf__free(btf);
	return has;
}

static bool has_sk_storage(const struct rd_settings *settings)
{
	(void)settings;
	return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SK_STORAGE, NULL) == 1;
}

static bool has_set_retval(const struct rd_settings *settings)
{
	(void)settings;
	return has_helper(BPF_FUNC_set_retval);
}

static bool has_membarrier(const struct rd_settings *settings)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	(void)settings;
	return commands >= 0 && commands & MEMBARRIER_CMD_GLOBAL;
}

static const struct requirement {
	const char *name;
	bool (*holds)(const struct rd_settings *settings);
	bool optional;
	const char *remedy;
} requirements[] = {
	{"CAP_BPF", can_bpf, false, "run as root, or give the process CAP_BPF"},
	{"CAP_NET_ADMIN", can_attach, false, "run as root, or give the process CAP_NET_ADMIN"},
	{"CAP_PERFMON", can_read_kernel, false, "run as root, or give the process CAP_PERFMON"},
	{"cgroup2", has_cgroup2, false, "mount -t cgroup2 none DIR, or name one with --cgroup"},
	{"bpffs", has_bpffs, false, "mount -t bpf bpf /sys/fs/bpf, or name one with --bpffs"},
	{"cgroup/sock_addr programs", has_sock_addr, false, "CONFIG_CGROUP_BPF, Linux 5.10"},
	{"BPF iterators of maps", has_iterators, false, "CONFIG_DEBUG_INFO_BTF, Linux 5.10"},
	{"sk_storage maps", has_sk_storage, false, "CONFIG_BPF_SYSCALL with BTF, Linux 5.10"},
	{"membarrier", has_membarrier, false,
	 "CONFIG_MEMBARRIER, and a kernel without nohz_full CPUs"},
	{"bpf_set_retval", has_set_retval, true,
	 "Linux 5.18; without it a refused connect reads EPERM, not ECONNREFUSED"},
};

int rd_cmd_check(const struct rd_settings *settings, struct rd_error *error)
{
	static const struct rd_column columns[] = {
		{.key = "feature"},
		{.key = "state"},
		{.key = "remedy"},
	};
	struct rd_table table = RD_TABLE("check", columns);
	const struct requirement *missing = NULL;
	struct utsname kernel;
	int r;

	libbpf_set_print(NULL);
	uname(&kernel);
	rd_table_add(&table, "kernel");
	rd_table_add(&table, "%s", kernel.release);
	rd_table_add(&table, "%s", "");
	for (size_t i = 0; i < RD_ARRAY_SIZE(requirements); i++) {
		const struct requirement *requirement = &requirements[i];
		bool holds = requirement->holds(settings);

		rd_table_add(&table, "%s", requirement->name);
		rd_table_add(&table, "%s",
			     holds		     ? "ok"
			     : requirement->optional ? "absent"
						     : "missing");
		rd_table_add(&table, "%s", holds ? "" : requirement->remedy);
		if (!holds && !requirement->optional && !missing)
			missing = requirement;
	}
	r = rd_tables_print(&table, 1, settings->format);
	rd_table_free(&table);
	if (r)
		return rd_error_set(error, r, "cannot print: %s", strerror(-r));
	return missing ? rd_error_set(error, -ENOTSUP, "redial cannot run here: %s: %s",
				      missing->name, missing->remedy)
		       : 0;
}

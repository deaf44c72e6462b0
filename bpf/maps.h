/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * maps.h - the maps, and the constants the agent sets before loading. What a
 * key and a value mean stands in include/redial/abi.h. The sizes here are
 * placeholders: the agent sets max_entries from its flags.
 */
#ifndef REDIAL_MAPS_H
#define REDIAL_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "redial/abi.h"

/* Places of rd_frontends, but for the last RD_PROBES: two to this power. */
const volatile __u32 rd_frontend_bits = 0;

/* 32 less the bits of a slot's number in rd_sockets. */
const volatile __u32 rd_socket_shift = 0;

/* Whether the kernel has bpf_set_retval (5.18). Without it a refused connect
 * reads EPERM instead of ECONNREFUSED. */
const volatile _Bool rd_has_set_retval = 0;

/* Whether the kernel has bpf_rdonly_cast (6.2). */
const volatile _Bool rd_has_rdonly_cast = 0;

/* The cookie of the node's own network namespace. */
const volatile __u64 rd_host_netns = 0;

/* Who is left alone, a few of each: the ids and levels of cgroups, for all that
 * is below them, and the cookies of network namespaces. */
#define RD_EXCLUDED 8
const volatile __u32 rd_excluded_cgroups = 0;
const volatile __u64 rd_excluded_cgroup[RD_EXCLUDED] = {};
const volatile __s32 rd_excluded_level[RD_EXCLUDED] = {};
const volatile __u32 rd_excluded_netnss = 0;
const volatile __u64 rd_excluded_netns[RD_EXCLUDED] = {};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rd_frontend);
} rd_frontends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rd_slot);
} rd_backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rd_socket);
} rd_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct rd_socket);
} rd_spill SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rd_filter);
} rd_filter SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct rd_nodeaddr);
	__type(value, __u32);
} rd_nodeaddrs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct rd_client);
	__type(value, struct rd_pinned);
} rd_affinity SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct rd_flows);
} rd_udp_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rd_service_stats);
} rd_service_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rd_backend_stats);
} rd_backend_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rd_latency);
} rd_latency SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rd_dns);
} rd_dns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} rd_dns_life SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} rd_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rd_watch);
} rd_watch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rd_totals);
} rd_totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} rd_random SEC(".maps");

/* For people and for the agent; no program reads these two. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rd_service);
} rd_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rd_agent);
} rd_agent SEC(".maps");

#endif
